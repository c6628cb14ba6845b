package upstream

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// An asker asks on shared sockets and keeps what comes of it.
type asker struct {
	t      testing.TB
	client *Client
	shared *Shared
	batch  QueryBatch

	mu       sync.Mutex
	answers  []string
	fallback []Start
}

type askedQuery struct{ question *dnswire.Question }

func (q *askedQuery) Question() *dnswire.Question { return q.question }

func newAsker(t testing.TB, o Options, servers ...netip.AddrPort) *asker {
	a := &asker{t: t, client: startClient(t, o, servers...)}
	a.shared = NewShared(SharedOptions{
		Client: a.client, NewReceiver: func() Receiver { return a }, CatchPanic: func(f func()) bool { f(); return true },
		Fallback: func(_ Query, start Start) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.fallback = append(a.fallback, start)
		},
	})
	t.Cleanup(a.shared.Close)
	return a
}

func (a *asker) Answered(q Query, answer *Answer, _ uint32, _ time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers = append(a.answers, q.Question().Name.String()+" "+describe(a.t, *answer, nil))
}

func (a *asker) Flush() {}

// ask asks for a name in a batch of its own.
func (a *asker) ask(name string) {
	a.t.Helper()
	if !a.shared.Ask(&askedQuery{questionOf(a.t, name, dnswire.TypeA)}, &a.batch) {
		a.t.Fatalf("%s cannot be asked", name)
	}
	a.batch.Flush()
}

// wait waits until so many have ended, by an answer or the fallback.
func (a *asker) wait(n int) {
	a.t.Helper()
	dnstest.WaitFor(a.t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.answers)+len(a.fallback) >= n
	}, func() string {
		return fmt.Sprintf("%d answers and %d given to the fallback, want %d", len(a.answers), len(a.fallback), n)
	})
}

func (a *asker) sockets() (open []*sharedSocket) {
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	for _, s := range a.shared.open {
		open = append(open, s)
	}
	return open
}

func TestSharedSocketsAreGivenUp(t *testing.T) {
	dnstest.CheckLeaks(t)
	now := time.Now()
	s := &sharedSocket{opened: now}
	if s.worn(now.Add(socketAge)) || !s.worn(now.Add(socketAge+1)) || !s.worn(now.Add(-1)) {
		t.Error("a socket's age does not end it")
	}
	if s.asked = socketQueries; !s.worn(now) {
		t.Error("its queries do not end it")
	}

	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	a := newAsker(t, Options{}, up.Addr)
	for i := range 20 {
		a.ask(fmt.Sprintf("n%d.example", i))
	}
	a.wait(20)
	before := a.sockets()
	if len(before) < 3 || len(before) > sharedPorts {
		t.Errorf("20 queries by %d sockets", len(before))
	}
	for _, s := range before {
		s.retire()
	}
	dnstest.WaitFor(t, func() bool { return len(a.sockets()) == 0 }, func() string { return "what is given up is not closed" })
	a.ask("last.example") // and the reader begins anew
	a.wait(21)
}

// Four packets that fit nothing end a socket; one fewer does not.
func TestStraysEndASharedSocket(t *testing.T) {
	for strays, want := range map[int]bool{maxStrays - 1: false, maxStrays: true} {
		t.Run(fmt.Sprint(strays), func(t *testing.T) {
			dnstest.CheckLeaks(t)
			udp, tcp := dnstest.ListenBoth(t)
			tcp.Close()
			var task sync.WaitGroup
			task.Go(func() {
				for b := make([]byte, 4096); ; {
					if _, _, err := udp.ReadFromUDPAddrPort(b); err != nil {
						return
					}
				}
			})
			a := newAsker(t, Options{Patience: 5 * time.Second, pace: pace{least: time.Hour}}, udp.LocalAddr().(*net.UDPAddr).AddrPort())
			time.Sleep(20 * time.Millisecond) // the probe
			a.ask("www.example")
			one := a.sockets()[0]
			name, err := unix.Getsockname(one.fd)
			if err != nil {
				t.Fatal(err)
			}
			port := uint16(name.(*unix.SockaddrInet4).Port)
			for i := range strays {
				udp.WriteToUDPAddrPort([]byte{byte(i), 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0}, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
			}
			strayed := func() bool { one.mu.Lock(); defer one.mu.Unlock(); return one.strays >= strays }
			dnstest.WaitFor(t, strayed, func() string { return "not counted" })
			if got := one.worn(time.Now()); got != want {
				t.Errorf("given up: %v", got)
			}
			if want {
				a.wait(1)
				if a.fallback[0].How != AskTCP || a.fallback[0].Tried != one.member {
					t.Errorf("%+v, want TCP", a.fallback[0])
				}
			}
			one.mu.Lock()
			if pending := len(one.pending) > 0; pending == want {
				t.Errorf("still believed: %v", pending)
			}
			one.mu.Unlock()
			udp.Close()
			task.Wait()
		})
	}
}

func TestPortsOfSharedSocketsAreRandom(t *testing.T) {
	low, high, inOrder, last := 1<<16, 0, 0, 0
	const draws = 200
	for range draws {
		fd, err := connectRandom(netip.MustParseAddrPort("127.0.0.1:53"))
		if err != nil {
			t.Fatal(err)
		}
		name, err := unix.Getsockname(fd)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		port := name.(*unix.SockaddrInet4).Port
		if port > last {
			inOrder++
		}
		low, high, last = min(low, port), max(high, port), port
	}
	if low < firstPort || low > 16000 || high < 60000 || inOrder < draws/3 || inOrder > draws*2/3 {
		t.Errorf("ports from %d to %d, %d above the one before; want nearly all of %d to 65535", low, high, inOrder, firstPort)
	}
}

// A reply that comes after its time is its query's all the same, and no stray.
func TestLateRepliesToSharedSockets(t *testing.T) {
	dnstest.CheckLeaks(t)
	release := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	a := newAsker(t, Options{Patience: 50 * time.Millisecond}, up.Addr)
	a.ask("www.example")
	a.wait(1)
	if len(a.fallback) != 1 || a.fallback[0].How != AskLast {
		t.Errorf("%+v, want it given to the fallback, this upstream last", a.fallback)
	}
	close(release)
	a.wait(2)
	if len(a.answers) != 1 || a.answers[0] != "www.example NOERROR 192.0.2.1" {
		t.Errorf("%q", a.answers)
	}
	if st := a.client.Status()[0]; st.Strays != 0 || st.SRTT < 3*time.Millisecond {
		t.Errorf("%+v, want no stray, and the time learnt", st)
	}
}

// A socket that cannot be connected is closed: an upstream that cannot be reached does not use up descriptors.
func TestASocketThatCannotBeConnectedIsClosed(t *testing.T) {
	open := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(files)
	}
	const n = 200
	before := open()
	for range n {
		if fd, err := connectRandom(netip.MustParseAddrPort("255.255.255.255:53")); err == nil { // a socket has to ask for broadcasts
			unix.Close(fd)
			t.Fatal("a socket is connected to the broadcast address")
		}
	}
	if after := open(); after-before > n/2 {
		t.Errorf("%d descriptors were open, and %d are after %d sockets that could not be connected", before, after, n)
	}
}

// What is overdue goes to the fallback once: what was hedged is with it already, and is a failure then.
func TestOverdueQueriesGoToTheFallbackOnce(t *testing.T) {
	dnstest.CheckLeaks(t)
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	a := newAsker(t, Options{}, up.Addr)
	now := time.Now()
	q := &askedQuery{questionOf(t, "a.example", dnswire.TypeA)}
	ago := func(d time.Duration) pendingQuery {
		return pendingQuery{query: q, sent: now.Add(-d), limit: time.Second}
	}
	hedged, late, older := ago(2*time.Second), ago(2*time.Second), ago(lateWithin)
	hedged.hedged, late.late, older.late = true, true, true
	s := &sharedSocket{shared: a.shared, member: a.client.set.Load().all[0], ended: map[uint16]struct{}{},
		pending: map[uint16]pendingQuery{1: hedged, 2: ago(time.Second), 3: ago(time.Second - 1), 4: late, 5: older}}
	if !s.sweep(now, false) {
		t.Error("nothing is waited for")
	}
	if len(a.fallback) != 1 || !a.fallback[0].Began.Equal(now.Add(-time.Second)) || a.fallback[0].Tried != s.member {
		t.Errorf("the fallback has %+v, want what was not hedged", a.fallback)
	}
	if n := s.member.health.failures[silent].Load(); n != 1 {
		t.Errorf("%d failures, want that of what was hedged", n)
	}
	if _, ended := s.ended[5]; !s.pending[1].late || !s.pending[2].late || s.pending[3].late || !s.pending[4].late || !ended || len(s.pending) != 4 {
		t.Errorf("pending %+v, ended %v", s.pending, s.ended)
	}
	s.sweep(now, false)
	if len(a.fallback) != 1 {
		t.Errorf("the fallback has it %d times", len(a.fallback))
	}
}
