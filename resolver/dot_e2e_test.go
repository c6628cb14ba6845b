//go:build e2e

package resolver

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// unbound, which many run as their own resolver, answers by DNS over TLS.
func TestE2EUnboundByTLS(t *testing.T) {
	udp, tcp := dnstest.ListenBoth(t)
	port := udp.LocalAddr().(*net.UDPAddr).Port
	udp.Close()
	tcp.Close()
	c := dnstest.NewCertificate(t, time.Now().Add(24*time.Hour), "dns.example")
	program := dnstest.Unbound(fmt.Sprintf(`interface: 127.0.0.1@%d
tls-port: %d
tls-service-key: "DIR/key"
tls-service-pem: "DIR/cert"
local-zone: "example." static
local-data: "a.example. 300 IN A 192.0.2.1"
local-zone: "many.example." redirect
local-data: "many.example. 300 IN A 192.0.2.2"
`, port, port), "")
	program.Files = map[string]string{"key": c.Key, "cert": c.Cert}
	dnstest.StartProgram(t, program)

	by := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	s, _ := startServer(t, Options{Upstreams: upstream.Options{
		Servers: []upstream.Server{{Addr: by, Transport: upstream.TLS, Name: "dns.example"}}, Roots: c.Roots, Patience: 5 * time.Second, Budget: 20 * time.Second,
	}})
	ask := func(name string) string { return askA(t, s, name) }
	if got := ask("a.example."); got != "192.0.2.1" {
		t.Errorf("a.example: got %s, want 192.0.2.1", got)
	}
	if got := ask("none.example."); got != "NXDOMAIN" {
		t.Errorf("none.example: got %s, want NXDOMAIN", got)
	}
	var tasks sync.WaitGroup
	for i := range 50 {
		tasks.Go(func() {
			for k := range 20 {
				if got := ask("n" + strconv.Itoa(20*i+k) + ".many.example."); got != "192.0.2.2" {
					t.Errorf("got %s, want 192.0.2.2", got)
				}
			}
		})
	}
	tasks.Wait()
	st := s.Upstreams()[0]
	if st.State != upstream.Up || st.Transport != upstream.TLS || st.Failures != 0 || st.Queries < 1002 {
		t.Errorf("status: got %+v", st)
	}

	// With another name the certificate is not valid, and nobody is asked.
	s.SetUpstreams([]upstream.Server{{Addr: by, Transport: upstream.TLS, Name: "other.example"}})
	dnstest.WaitFor(t, func() bool { return s.Upstreams()[0].State == upstream.Down }, func() string { return fmt.Sprintf("%+v", s.Upstreams()[0]) })
	if got := ask("n.many.example."); got != "SERVFAIL" {
		t.Errorf("with a certificate that is not valid: got %s, want SERVFAIL", got)
	}
}
