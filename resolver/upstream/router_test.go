package upstream

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// startAt starts a server at another address of this machine, on the port of another one.
func startAt(t *testing.T, address string, port uint16, handle dns.HandlerFunc) {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), port)))
	if err != nil {
		t.Skipf("skipped: the same port is not free at %s: %v", address, err)
	}
	ready := make(chan struct{})
	s := &dns.Server{PacketConn: conn, Handler: handle, NotifyStartedFunc: func() { close(ready) }}
	done := make(chan error)
	go func() { done <- s.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		s.Shutdown()
		<-done
	})
}

// The default gateway is asked wherever it is: not before there is one, at the new address
// after a change, and at the last while there is none.
func TestTheRouterIsFollowed(t *testing.T) {
	dnstest.CheckLeaks(t)
	first := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	port := first.Addr.Port()
	startAt(t, "127.0.0.2", port, dnstest.AnswerA("192.0.2.2"))
	router := Server{Router: true, Addr: netip.AddrPortFrom(netip.Addr{}, port)}
	var gateway atomic.Pointer[netip.Addr]
	gateway.Store(new(netip.Addr))
	moved := make(chan struct{}, 1)
	var changed atomic.Int64
	u := startClient(t, Options{
		Servers: []Server{router}, Forwards: []Forward{{Zones: []string{"lan"}, Servers: []Server{router}}},
		Gateway: func() netip.Addr { return *gateway.Load() }, GatewayMoved: moved, Changed: func() { changed.Add(1) },
	})
	for _, name := range []string{"www.example", "nas.lan"} {
		q := &dnswire.Question{Name: *nameOf(t, name), Type: dnswire.TypeA, Class: dnswire.ClassIN}
		if _, err := u.Exchange(t.Context(), q, Start{}); err == nil || !strings.Contains(err.Error(), "there is no default route") {
			t.Errorf("%s: without a route: %v", name, err)
		}
	}
	if st := u.Status(); len(st) != 2 || !strings.HasPrefix(st[0].ID, "router:") || st[0].State != Down || !strings.Contains(st[0].Why, "no default route") {
		t.Errorf("without a route: %+v", st)
	}
	if u.HasPrivate(0) {
		t.Error("without a route there is somebody private to ask")
	}
	for i, step := range []struct{ at, answer string }{{"127.0.0.1", "192.0.2.1"}, {"127.0.0.2", "192.0.2.2"}, {"", "192.0.2.2"}, {"127.0.0.1", "192.0.2.1"}} {
		at, _ := netip.ParseAddr(step.at)
		before := changed.Load()
		gateway.Store(&at)
		moved <- struct{}{}
		if at.IsValid() {
			dnstest.WaitFor(t, func() bool { return changed.Load() > before }, func() string { return "nobody is told of the other router" })
			if st := u.Status()[0]; st.Addr.Addr() != at {
				t.Errorf("step %d: it is asked at %v", i, st.Addr)
			}
		} else {
			time.Sleep(20 * time.Millisecond) // nothing is to happen
		}
		for _, name := range []string{"www.example", "nas.lan"} {
			if got := lookupA(t, u, name); got != "NOERROR "+step.answer {
				t.Errorf("step %d: %s is %s, want %s", i, name, got, step.answer)
			}
		}
		if !u.HasPrivate(0) || u.Find(router.id()) == nil {
			t.Errorf("step %d: the router is not found", i)
		}
	}
}

func TestARouterIsNeverThisServer(t *testing.T) {
	dnstest.CheckLeaks(t)
	self := netip.MustParseAddrPort("127.0.0.1:53")
	u := startClient(t, Options{
		Servers: []Server{{Router: true, Addr: netip.AddrPortFrom(netip.Addr{}, 53)}},
		Gateway: func() netip.Addr { return self.Addr() }, Self: func() []netip.AddrPort { return []netip.AddrPort{self} },
	})
	if st := u.Status(); len(st) != 1 || st[0].ID != "router" || st[0].State != Self {
		t.Errorf("got %+v", st)
	}
}

func TestServersThatCannotBeTheRouter(t *testing.T) {
	for _, s := range []Server{{Router: true}, {Router: true, Addr: netip.AddrPortFrom(netip.Addr{}, 853), Transport: TLS}} {
		if s.check() == nil {
			t.Errorf("%+v may be one", s)
		}
	}
}
