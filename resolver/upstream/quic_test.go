//go:build !small

package upstream

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"telltale/resolver/dnstest"
)

// A server that ends its connections loses no query.
func TestQUICIsDialledAgainWithItsQueries(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	var asked atomic.Int64
	var s *dnstest.QUICServer
	s = dnstest.StartQUIC(t, c, func(conn *quic.Conn, query []byte) []byte {
		if asked.Add(1)%20 == 5 {
			s.Drop() // with the query and others on it
		}
		return answerOne(query)
	})
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{{Addr: s.Addr, Transport: QUIC, Name: "dns.example"}}})
	for i := range 60 {
		if got := lookupA(t, u, fmt.Sprintf("n%d.example", i)); got != "NOERROR 192.0.2.1" {
			t.Errorf("got %q", got)
		}
	}
	if n := s.Connections.Load(); n < 3 {
		t.Errorf("%d connections, want that some were ended", n)
	}
}

// A session is resumed, and no query is sent before the handshake has ended.
func TestQUICWithoutEarlyData(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	var resumed, early atomic.Int64
	s := dnstest.StartQUIC(t, c, func(conn *quic.Conn, query []byte) []byte {
		if state := conn.ConnectionState(); state.TLS.DidResume {
			resumed.Add(1)
			if state.Used0RTT {
				early.Add(1)
			}
		}
		return answerOne(query)
	})
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{{Addr: s.Addr, Transport: QUIC, Name: "dns.example"}}, streamIdle: 10 * time.Millisecond})
	dnstest.WaitFor(t, func() bool {
		if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
			t.Fatalf("got %q", got)
		}
		dnstest.WaitFor(t, func() bool { return s.Open.Load() == 0 }, func() string { return "an idle connection is still open" })
		return resumed.Load() > 0
	}, func() string { return "no session is resumed" })
	if n := early.Load(); n > 0 {
		t.Errorf("%d queries on connections with early data", n)
	}
}

// Where nobody is, or somebody speaks no QUIC, the next is asked, and the state says so.
func TestQUICServerThatIsNone(t *testing.T) {
	dnstest.CheckLeaks(t)
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c := dnstest.NewCertificate(t, never(), "dns.example")
	byHTTP := dnstest.StartHTTP3(t, c, nil)
	next := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	for name, test := range map[string]struct {
		addr netip.AddrPort
		want string
	}{
		"silent":         {socket.LocalAddr().(*net.UDPAddr).AddrPort(), "was silent"},
		"other protocol": {byHTTP.Addr, "offers no TLS that can be used"},
	} {
		t.Run(name, func(t *testing.T) {
			u := startClient(t, Options{Roots: c.Roots, Patience: 50 * time.Millisecond, Servers: []Server{{Addr: test.addr, Transport: QUIC, Name: "dns.example"}, {Addr: next.Addr}}})
			if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.2" {
				t.Errorf("got %q, want the next upstream's answer", got)
			}
			dnstest.WaitFor(t, func() bool { st := u.Status()[0]; return st.State == Down && strings.Contains(st.Why, test.want) },
				func() string { return fmt.Sprintf("%+v", u.Status()[0]) })
		})
	}
}
