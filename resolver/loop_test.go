package resolver

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// A router that sends some names back to its clients' DNS server, here by an address
// of its own: such a name fails soon, all others are answered.
func TestUpstreamThatSendsSomeNamesBack(t *testing.T) {
	dnstest.CheckLeaks(t)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)})
	if err != nil {
		t.Skip("this machine has 127.0.0.1 alone: ", err)
	}
	var s *Server
	ready := make(chan struct{})
	router := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		<-ready
		if !strings.HasSuffix(strings.ToLower(q.Question[0].Name), ".lan.") {
			dnstest.AnswerA("192.0.2.1")(w, q)
			return
		}
		c := dns.Client{Timeout: 20 * time.Second, Dialer: dialerFrom("127.0.0.9", "udp")}
		if r, _, err := c.Exchange(q.Copy(), s.Addrs()[0].String()); err == nil {
			r.Id = q.Id
			w.WriteMsg(r)
		}
	})}
	var done sync.WaitGroup
	done.Go(func() { router.ActivateAndServe() })
	t.Cleanup(func() { router.Shutdown(); done.Wait() })
	var mu sync.Mutex
	var kinds []string
	s, _ = startServer(t, Options{
		Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}}, Patience: 400 * time.Millisecond, Budget: 20 * time.Second},
		Report: func(kind, subject, _ string) {
			mu.Lock()
			defer mu.Unlock()
			kinds = append(kinds, kind+" "+subject)
		},
	})
	close(ready)
	if got := askAll(t, s, "n%d.example.", 5); got != 5 { // and how quick it is becomes known
		t.Errorf("%d of 5 other names answered", got)
	}
	began := time.Now()
	r := ask(t, s, "udp", "printer.lan.", dns.TypeA)
	if took := time.Since(began); r.Rcode != dns.RcodeServerFailure || took > 15*time.Second {
		t.Errorf("%s after %v, want SERVFAIL before the budget is spent", dns.RcodeToString[r.Rcode], took)
	}
	st := s.Upstreams()[0]
	if st.Returned == 0 || st.State != upstream.Up || st.Strays != 0 {
		t.Errorf("%+v, want it up, and the returned question counted", st)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(kinds) != 1 || kinds[0] != "upstream-returns "+st.ID {
		t.Errorf("reported %q", kinds)
	}
}

// Clients of this machine have an upstream's address where that is here too.
func TestClientsBesideALocalUpstreamAreNoLoop(t *testing.T) {
	up := dnstest.Start(t, after(700*time.Millisecond, dnstest.AnswerA("192.0.2.1")))
	s, _ := startServer(t, Options{}, up)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if got := data(ask(t, s, "udp", "www.example.", dns.TypeA)); got != "A 192.0.2.1" {
				t.Errorf("answer %q", got)
			}
		})
	}
	all.Wait()
	if s.upstreams.At(netip.MustParseAddr("127.0.0.1")) != nil || s.Upstreams()[0].Returned != 0 {
		t.Error("this machine is taken for an upstream elsewhere")
	}
}
