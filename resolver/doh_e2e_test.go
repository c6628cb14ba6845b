//go:build e2e

package resolver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// freePort returns a port of loopback that nobody listens on.
func freePort(t *testing.T) int {
	udp, tcp := dnstest.ListenBoth(t)
	defer udp.Close()
	defer tcp.Close()
	return udp.LocalAddr().(*net.UDPAddr).Port
}

// Knot Resolver answers by DNS over HTTPS and by DNS over TLS, at an address, by name with an
// address that is looked up, and with a pin in place of its authority.
func TestE2EKnotByHTTPSAndTLS(t *testing.T) {
	byHTTPS, byTLS := freePort(t), freePort(t)
	c := dnstest.NewCertificate(t, time.Now().Add(24*time.Hour), "dns.example")
	program := dnstest.Knot(fmt.Sprintf(`net.tls('DIR/cert', 'DIR/key')
net.listen('127.0.0.1', %d, { kind = 'doh2' })
net.listen('127.0.0.1', %d, { kind = 'tls' })
local function answer(address) return policy.ANSWER({ [kres.type.A] = { rdata = kres.str2ip(address), ttl = 300 } }) end
policy.add(policy.suffix(answer('192.0.2.1'), { todname('a.example') }))
policy.add(policy.suffix(answer('127.0.0.1'), { todname('dns.example') }))
policy.add(policy.suffix(answer('192.0.2.2'), { todname('many.example') }))
policy.add(policy.suffix(policy.DENY, { todname('example') }))
`, byHTTPS, byTLS))
	program.Files = map[string]string{"key": c.Key, "cert": c.Cert}
	plain := netip.MustParseAddrPort(dnstest.StartProgram(t, program))

	local := netip.MustParseAddr("127.0.0.1")
	pin := upstream.KeyPin(c.TLS.Leaf)
	strange := dnstest.NewCertificate(t, time.Now().Add(24*time.Hour), "dns.example").Roots
	for _, test := range []struct {
		name    string
		to      upstream.Server
		trusted bool
	}{
		{"HTTPS", upstream.Server{Addr: netip.AddrPortFrom(local, uint16(byHTTPS)), Transport: upstream.HTTPS, Name: "dns.example", Path: "/dns-query"}, true},
		{"HTTPS by GET", upstream.Server{Addr: netip.AddrPortFrom(local, uint16(byHTTPS)), Transport: upstream.HTTPS, Name: "dns.example", Path: "/dns-query{?dns}"}, true},
		{"HTTPS by name", upstream.Server{Addr: netip.AddrPortFrom(netip.Addr{}, uint16(byHTTPS)), Transport: upstream.HTTPS, Host: "dns.example", Path: "/dns-query"}, true},
		{"HTTPS with a pin", upstream.Server{Addr: netip.AddrPortFrom(local, uint16(byHTTPS)), Transport: upstream.HTTPS, Path: "/dns-query", Pins: []upstream.Pin{pin}}, false},
		{"TLS by name", upstream.Server{Addr: netip.AddrPortFrom(netip.Addr{}, uint16(byTLS)), Transport: upstream.TLS, Host: "dns.example"}, true},
		{"TLS with a pin", upstream.Server{Addr: netip.AddrPortFrom(local, uint16(byTLS)), Transport: upstream.TLS, Pins: []upstream.Pin{pin}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			roots := strange
			if test.trusted {
				roots = c.Roots
			}
			s, _ := startServer(t, Options{Upstreams: upstream.Options{
				Servers: []upstream.Server{test.to}, Bootstrap: []netip.AddrPort{plain}, Roots: roots, Patience: 5 * time.Second, Budget: 20 * time.Second,
			}})
			if got := askA(t, s, "a.example."); got != "192.0.2.1" {
				t.Errorf("a.example: got %s, want 192.0.2.1", got)
			}
			if got := askA(t, s, "none.example."); got != "NXDOMAIN" {
				t.Errorf("none.example: got %s, want NXDOMAIN", got)
			}
			var tasks sync.WaitGroup
			for i := range 20 {
				tasks.Go(func() {
					for k := range 20 {
						if got := askA(t, s, "n"+strconv.Itoa(20*i+k)+".many.example."); got != "192.0.2.2" {
							t.Errorf("got %s, want 192.0.2.2", got)
						}
					}
				})
			}
			tasks.Wait()
			st := s.Upstreams()[0]
			if st.State != upstream.Up || st.Transport != test.to.Transport || st.Failures != 0 || st.Queries < 402 {
				t.Errorf("status: got %+v", st)
			}
		})
	}
	t.Run("another path", func(t *testing.T) {
		to := upstream.Server{Addr: netip.AddrPortFrom(local, uint16(byHTTPS)), Transport: upstream.HTTPS, Name: "dns.example", Path: "/other"}
		s, _ := startServer(t, Options{Upstreams: upstream.Options{Servers: []upstream.Server{to}, Roots: c.Roots}})
		dnstest.WaitFor(t, func() bool {
			st := s.Upstreams()[0]
			return st.State != upstream.Up && strings.Contains(st.Why, "HTTP status 4")
		},
			func() string { return fmt.Sprintf("%+v", s.Upstreams()[0]) })
	})
	t.Run("another name", func(t *testing.T) {
		to := upstream.Server{Addr: netip.AddrPortFrom(local, uint16(byHTTPS)), Transport: upstream.HTTPS, Name: "other.example", Path: "/dns-query"}
		s, _ := startServer(t, Options{Upstreams: upstream.Options{Servers: []upstream.Server{to}, Roots: c.Roots}})
		dnstest.WaitFor(t, func() bool { return s.Upstreams()[0].State == upstream.Down }, func() string { return fmt.Sprintf("%+v", s.Upstreams()[0]) })
		if got := askA(t, s, "n.many.example."); got != "SERVFAIL" {
			t.Errorf("with a certificate that is not valid: got %s, want SERVFAIL", got)
		}
	})
}

// askA asks a server for an address, and returns it or the response code.
func askA(t *testing.T, s *Server, name string) string {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(name, dns.TypeA), s.Addrs()[0].String())
	if err != nil {
		return err.Error()
	}
	if len(r.Answer) == 1 {
		return r.Answer[0].(*dns.A).A.String()
	}
	return dns.RcodeToString[r.Rcode]
}
