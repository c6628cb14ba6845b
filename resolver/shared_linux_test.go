package resolver

import (
	"fmt"
	"net"
	"net/netip"
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
	s, book := startServer(t, Options{Readers: 1}, up)
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
	if row := book.last(t, names); row.Source != querylog.FromUpstream || row.Elapsed <= 0 {
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
	for i := range 3 {
		if got := data(ask(t, s, "udp", fmt.Sprintf("n%d.example.", i), dns.TypeA)); got != "A 192.0.2.2" {
			t.Errorf("answer %q", got)
		}
	}
	if asked, next := silent.Asked.Load(), good.Asked.Load(); asked > 3 || next != 3 {
		t.Errorf("the silent one was asked %d times, the next %d times, want once each for 3 names", asked, next)
	}
}

// TestForgeriesOnASharedSocket has somebody who knows the port send wrong ids,
// wrong questions and queries: none is taken for the answer, and the query goes
// on by TCP at last.
func TestForgeriesOnASharedSocket(t *testing.T) {
	dnstest.CheckLeaks(t)
	forged := [...]func([]byte){
		func(b []byte) { b[0] ^= 0xff },              // another id
		func(b []byte) { b[2] &^= 0x80 },             // a query
		func(b []byte) { b[13] = 'x' },               // another name
		func(b []byte) { b[len(b)-5]++ },             // not as long as it says
		func(b []byte) { b[2] |= 2 << 3 },            // another opcode
		func(b []byte) { b[5] = 2 },                  // two questions
		func(b []byte) { copy(b[12:], "\x01a\x00") }, // a shorter name
		func(b []byte) { b[4], b[5] = 0xff, 0xff },   // questions without end
	}
	addr := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
		for _, forge := range forged {
			b := dnstest.AnswerTo(query, "192.0.2.66")
			forge(b)
			send(b)
		}
	}, dnstest.ServeTCP("192.0.2.1"))
	s, _ := startServer(t, Options{Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: addr}}, Patience: 5 * time.Second, Budget: 20 * time.Second}})
	if got := data(ask(t, s, "udp", "www.example.", dns.TypeA)); got != "A 192.0.2.1" {
		t.Errorf("answer %q, want the one that came by TCP", got)
	}
	if got := s.Upstreams()[0].Strays; got < 4 {
		t.Errorf("%d strays counted", got)
	}
}

// TestCloseAnswersWhatIsPending stops the server while queries wait on a shared
// socket: they get SERVFAIL, and nothing is left behind.
func TestCloseAnswersWhatIsPending(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, book := startServer(t, Options{}, dnstest.Start(t, dnstest.Silence))
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
	if row := book.last(t, 10); row.Source != querylog.FromError {
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
