package resolver

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// portsOf counts the source ports from which an upstream is asked, probes apart.
func portsOf(t testing.TB, handle dns.HandlerFunc) (*dnstest.Upstream, func() int) {
	var mu sync.Mutex
	ports := map[int]bool{}
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if a, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			mu.Lock()
			ports[a.Port] = true
			mu.Unlock()
		}
		handle(w, q)
	})
	return up, func() int { mu.Lock(); defer mu.Unlock(); return len(ports) }
}

func TestQueriesShareSockets(t *testing.T) {
	dnstest.CheckLeaks(t)
	up, ports := portsOf(t, dnstest.AnswerA("192.0.2.1"))
	s, recorded := startServer(t, Options{Readers: 1}, up)
	const names = 50
	for i := range names {
		if got := data(ask(t, s, "udp", fmt.Sprintf("n%d.example.", i), dns.TypeA)); got != "A 192.0.2.1" {
			t.Errorf("answer %q", got)
		}
	}
	// By the fallback each would have a port of its own.
	if got := ports(); got > names/2 {
		t.Errorf("%d queries came from %d ports: they did not share sockets", names, got)
	}
	if row := recorded.last(t, names); row.Source != querylog.FromUpstream || row.Elapsed <= 0 {
		t.Errorf("logged %+v", row)
	}
	if got := s.Upstreams()[0]; got.Queries < names || got.Failures != 0 || got.SRTT <= 0 {
		t.Errorf("status %+v", got)
	}
}

// TestSilenceOnASharedSocketAsksTheNext has the first upstream fall silent after
// its probe: the next must be asked, and nobody wait for the whole budget.
func TestSilenceOnASharedSocketAsksTheNext(t *testing.T) {
	dnstest.CheckLeaks(t)
	silent, good := dnstest.Start(t, dnstest.Silence), dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	s, _ := startServer(t, Options{Upstreams: upstream.Options{Patience: 50 * time.Millisecond, Budget: 20 * time.Second}}, silent, good)
	begun := time.Now()
	for i := range 3 {
		if got := data(ask(t, s, "udp", fmt.Sprintf("n%d.example.", i), dns.TypeA)); got != "A 192.0.2.2" {
			t.Errorf("answer %q", got)
		}
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("three answers took %v, want none that waits for the whole budget", took)
	}
	// More often on a machine where an answer takes so long that it is asked for again.
	if asked, next := silent.Asked.Load(), good.Asked.Load(); asked == 0 || next < 3 {
		t.Errorf("the silent one was asked %d times, the next %d times, want the next once at least for 3 names", asked, next)
	}
}

// forgeries are packets from the upstream's address and port to that of the query.
// None is to be taken for its answer. All but the first have the right id.
var forgeries = map[string]func(query []byte) []byte{
	"another id":                     forged(func(b []byte) []byte { b[0] ^= 0xff; return b }),
	"a query":                        forged(func(b []byte) []byte { b[2] &^= 0x80; return b }),
	"another name":                   forged(func(b []byte) []byte { b[13] = 'x'; return b }),
	"another type":                   forged(func(b []byte) []byte { b[endOfQuestion(b)-3] = 28; return b }),
	"another class":                  forged(func(b []byte) []byte { b[endOfQuestion(b)-1] = 3; return b }),
	"not as long as it says":         forged(func(b []byte) []byte { b[len(b)-5]++; return b }),
	"another opcode":                 forged(func(b []byte) []byte { b[2] |= 2 << 3; return b }),
	"two questions":                  forged(func(b []byte) []byte { b[5] = 2; return b }),
	"no question, but an answer":     forged(func(b []byte) []byte { b[5] = 0; return b }),
	"no question, and NXDOMAIN":      func(q []byte) []byte { return []byte{q[0], q[1], 0x81, 0x83, 0, 0, 0, 0, 0, 0, 0, 0} },
	"less than a header":             forged(func(b []byte) []byte { return b[:11] }),
	"a long packet for another name": forged(func(b []byte) []byte { b[13] = 'x'; return append(b, make([]byte, 5000)...) }),
	"a long packet that is a query":  forged(func(b []byte) []byte { b[2] &^= 0x80; return append(b, make([]byte, 5000)...) }),
	"truncated, for another name":    forged(func(b []byte) []byte { b[13] = 'x'; b[2] |= 2; return b }),
}

func forged(spoil func([]byte) []byte) func([]byte) []byte {
	return func(query []byte) []byte { return spoil(dnstest.AnswerTo(query, "192.0.2.66")) }
}

// endOfQuestion is where the question of a message ends.
func endOfQuestion(b []byte) int {
	at := 12
	for b[at] != 0 {
		at += 1 + int(b[at])
	}
	return at + 5
}

func TestForgeriesOnASharedSocketAreWaitedPast(t *testing.T) {
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			var udp, tcp atomic.Int64
			addr := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
				udp.Add(1)
				send(forge(query))
				send(dnstest.AnswerTo(query, "192.0.2.1"))
			}, func(c net.Conn) { tcp.Add(1); dnstest.ServeTCP("192.0.2.77")(c) })
			s, _ := startServer(t, Options{Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: addr}}, Patience: 5 * time.Second, Budget: 20 * time.Second}})
			if got := data(ask(t, s, "udp", "www.example.", dns.TypeA)); got != "A 192.0.2.1" {
				t.Errorf("answer %q", got)
			}
			if got := s.Upstreams()[0].Strays; got != 1 || udp.Load() != 1 || tcp.Load() != 0 {
				t.Errorf("%d strays, %d queries by UDP, %d by TCP; want 1, 1 and none", got, udp.Load(), tcp.Load())
			}
		})
	}
}

// Somebody knows the port, and guesses ids: after four wrong ones nothing that comes
// by UDP is believed, of no query that is under way.
func TestGuessedIDsTurnAllToTCP(t *testing.T) {
	dnstest.CheckLeaks(t)
	var udp atomic.Int64
	addr := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
		udp.Add(1)
		b := dnstest.AnswerTo(query, "192.0.2.66")
		for i := range uint16(100) { // the last of them finds it
			id := binary.BigEndian.Uint16(query) - 99 + i
			binary.BigEndian.PutUint16(b, id)
			send(b)
		}
	}, dnstest.ServeTCP("192.0.2.1"))
	s, _ := startServer(t, Options{Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: addr}}, Patience: 5 * time.Second, Budget: 20 * time.Second}})
	if got := askAll(t, s, "n%d.example.", 20); got != 20 {
		t.Errorf("%d of 20 answers are those that came by TCP", got)
	}
	// More than one for a name where the machine takes so long that it is asked for again.
	if udp.Load() == 0 {
		t.Error("no query came by UDP")
	}
}

// A packet of the right id from elsewhere does not reach a connected socket.
func TestSharedSocketsHearTheirUpstreamAlone(t *testing.T) {
	dnstest.CheckLeaks(t)
	for _, from := range []string{"127.0.0.1:0", "127.0.0.2:0"} { // another port, another address
		spoofer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)))
		if err != nil {
			t.Fatal(err)
		}
		defer spoofer.Close()
		udp, tcp := dnstest.ListenBoth(t)
		tcp.Close()
		var task sync.WaitGroup
		task.Go(func() {
			for b := make([]byte, 4096); ; {
				n, client, err := udp.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				spoofer.WriteToUDPAddrPort(dnstest.AnswerTo(b[:n], "192.0.2.66"), client)
				udp.WriteToUDPAddrPort(dnstest.AnswerTo(b[:n], "192.0.2.1"), client)
			}
		})
		s, _ := startServer(t, Options{Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: udp.LocalAddr().(*net.UDPAddr).AddrPort()}}}})
		if got := askAll(t, s, "n%d.example.", 10); got != 10 {
			t.Errorf("from %s: %d of 10 answers are as expected", from, got)
		}
		if got := s.Upstreams()[0].Strays; got != 0 {
			t.Errorf("from %s: %d strays", from, got)
		}
		udp.Close()
		task.Wait()
	}
}

// Ids are drawn anew for each query, ports for each socket; and there are many.
func TestIDsAndPortsOfSharedSockets(t *testing.T) {
	dnstest.CheckLeaks(t)
	var mu sync.Mutex
	ids, ports := map[uint16]int{}, map[int]int{}
	inOrder, last := 0, uint16(0)
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		ids[q.Id]++
		ports[w.RemoteAddr().(*net.UDPAddr).Port]++
		if q.Id > last {
			inOrder++
		}
		last = q.Id
		mu.Unlock()
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	s, _ := startServer(t, Options{Readers: 1}, up)
	const draws = 600
	for i := range draws / 20 {
		askAll(t, s, fmt.Sprint("r", i, ".n%d.example."), 20)
	}
	mu.Lock()
	defer mu.Unlock()
	// Of 600 draws, 2.7 pairs are expected to meet.
	if len(ids) < draws-20 || inOrder < draws/3 || inOrder > draws*2/3 {
		t.Errorf("%d ids in %d queries, %d of them above the one before", len(ids), draws, inOrder)
	}
	if len(ports) < 6 {
		t.Errorf("%d queries from %d ports", draws, len(ports))
	}
	most := 0
	for _, n := range ports {
		most = max(most, n)
	}
	if most > draws/2 {
		t.Errorf("%d of %d queries from one port", most, draws)
	}
}

// Repeated and late replies answer a query that was asked: they are no forgeries.
func TestRepeatedRepliesAreNoForgeries(t *testing.T) {
	dnstest.CheckLeaks(t)
	var tcp atomic.Int64
	addr := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
		for range 4 {
			send(dnstest.AnswerTo(query, "192.0.2.1"))
		}
	}, func(c net.Conn) { tcp.Add(1); dnstest.ServeTCP("192.0.2.1")(c) })
	s, _ := startServer(t, Options{Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: addr}}}})
	if got := askAll(t, s, "n%d.example.", 30); got != 30 {
		t.Errorf("%d of 30 answered", got)
	}
	time.Sleep(50 * time.Millisecond) // for the last repetitions
	if st := s.Upstreams()[0]; st.Strays != 0 || tcp.Load() != 0 || st.Queries != 30 || st.Failures != 0 {
		t.Errorf("%+v, %d connections", st, tcp.Load())
	}
}

// A reply that is longer than what can be received is asked for by TCP, whether it
// says that it was truncated or not.
func TestRepliesLongerThanABuffer(t *testing.T) {
	dnstest.CheckLeaks(t)
	for _, size := range []int{2000, 4090, 4096, 4097, 9000} {
		var udp atomic.Int64
		addr := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
			udp.Add(1)
			b := dnstest.AnswerTo(query, "192.0.2.1")
			send(append(b, make([]byte, size-len(b))...)) // as if there were more
		}, dnstest.ServeTCP("192.0.2.1"))
		s, _ := startServer(t, Options{Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: addr}}, Patience: 5 * time.Second, Budget: 20 * time.Second}})
		if got := data(ask(t, s, "udp", "www.example.", dns.TypeA)); got != "A 192.0.2.1" {
			t.Errorf("%d octets: %q", size, got)
		}
		if st := s.Upstreams()[0]; st.Strays != 0 || udp.Load() != 1 {
			t.Errorf("%d octets: %d strays, %d queries by UDP", size, st.Strays, udp.Load())
		}
		s.Close()
	}
}

// TestCloseAnswersWhatIsPending stops the server while queries wait on a shared
// socket: they get SERVFAIL, and nothing is left behind.
func TestCloseAnswersWhatIsPending(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, recorded := startServer(t, Options{}, dnstest.Start(t, dnstest.Silence))
	c, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 10 {
		b, _ := new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.example.", i), dns.TypeA).Pack()
		c.Write(b)
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Waiting == 10 }, func() string { return fmt.Sprint(s.Stats().Waiting, " wait") })
	s.Close()
	if row := recorded.last(t, 10); row.Source != querylog.FromError {
		t.Errorf("logged %+v", row)
	}
	if s.Stats().Waiting != 0 {
		t.Errorf("%d still wait", s.Stats().Waiting)
	}
}

// TestSharedSocketsUnderLoad asks from many clients at once while the upstream
// loses packets: each gets the answer to its own question.
func TestSharedSocketsUnderLoad(t *testing.T) {
	dnstest.CheckLeaks(t)
	var n atomic.Int64
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if n.Add(1)%20 == 0 {
			return // lost
		}
		var i int
		fmt.Sscanf(q.Question[0].Name, "n%d.", &i)
		dnstest.AnswerA(fmt.Sprintf("192.0.%d.%d", 2+i/250, i%250))(w, q)
	})
	s, _ := startServer(t, Options{Upstreams: upstream.Options{Patience: 100 * time.Millisecond, Budget: 20 * time.Second}}, up)
	var done sync.WaitGroup
	for client := range 8 {
		done.Go(func() {
			for i := client; i < 400; i += 8 {
				want := fmt.Sprintf("A 192.0.%d.%d", 2+i/250, i%250)
				if got := data(ask(t, s, "udp", fmt.Sprintf("n%d.example.", i), dns.TypeA)); got != want {
					t.Errorf("n%d: answer %q, want %q", i, got, want)
				}
			}
		})
	}
	done.Wait()
}

func TestRepliesFromManySockets(t *testing.T) {
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	s, _ := startServer(t, Options{Listen: []netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0"), netip.MustParseAddrPort("0.0.0.0:0"),
	}}, up)
	for i, at := range s.Addrs() {
		if at.Addr().IsUnspecified() {
			at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), at.Port())
		}
		c := dns.Client{Timeout: patienceOfTests}
		r, _, err := c.Exchange(new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.example.", i), dns.TypeA), at.String())
		if err != nil || data(r) != "A 192.0.2.1" {
			t.Errorf("asked at %s: %v, %v", at, r, err)
		}
	}
}

const patienceOfTests = 10 * time.Second

// What a shared socket is late for goes to the next upstream, too, and the first answer
// is taken.
func TestALateQueryOfASharedSocketIsHedged(t *testing.T) {
	free := make(chan struct{})
	first := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if strings.HasPrefix(q.Question[0].Name, "hold") {
			<-free
		}
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	t.Cleanup(func() { close(free) })
	second := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	s, _ := startServer(t, Options{}, first, second)
	n := 0
	dnstest.WaitFor(t, func() bool {
		for range 60 { // what is usual is known then
			n++
			ask(t, s, "udp", fmt.Sprintf("n%d.example.", n), dns.TypeA)
		}
		if got := data(ask(t, s, "udp", fmt.Sprintf("hold%d.example.", n), dns.TypeA)); got != "A 192.0.2.2" {
			t.Errorf("got %s, want the second's answer", got)
		}
		return s.Upstreams()[0].Hedged > 0
	}, func() string { return fmt.Sprintf("no query was hedged: %+v", s.Upstreams()[0]) })
}
