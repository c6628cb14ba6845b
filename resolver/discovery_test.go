package resolver

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
)

// A client that knows an address finds out by which encrypted transports it can be
// asked, and under which name.
func TestDesignatedResolvers(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{Settings: Settings{Designated: true}})
	want := strings.Join([]string{
		fmt.Sprintf(`1 dns.example. alpn="h2,h3" port="%d" ipv4hint="127.0.0.1" dohpath="/dns-query{?dns}"`, s.HTTPSAddrs()[0].Port()),
		fmt.Sprintf(`2 dns.example. alpn="doq" port="%d" ipv4hint="127.0.0.1"`, s.QUICAddrs()[0].Port()),
		fmt.Sprintf(`3 dns.example. alpn="dot" port="%d" ipv4hint="127.0.0.1"`, s.TLSAddrs()[0].Port()),
	}, "\n")
	for _, network := range []string{"udp", "tcp"} {
		r := ask(t, s.Server, network, "_dns.resolver.arpa.", dns.TypeSVCB)
		var got []string
		for _, rr := range r.Answer {
			got = append(got, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("over %s: got\n%s\nwant\n%s", network, strings.Join(got, "\n"), want)
		}
	}
	// Who follows it gets there, and can check the address (RFC 9462, 4.2).
	if err := s.verifies("127.0.0.1"); err != nil {
		t.Errorf("the certificate: %v", err)
	}
	for _, other := range []struct {
		name string
		typ  uint16
	}{{"_dns.resolver.arpa.", dns.TypeA}, {"_dns.resolver.arpa.", dns.TypeHTTPS}, {"resolver.arpa.", dns.TypeSVCB}, {"x._dns.resolver.arpa.", dns.TypeSVCB}} {
		if r := ask(t, s.Server, "udp", other.name, other.typ); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 || len(r.Ns) != 1 {
			t.Errorf("%s %s: %v, want NODATA", other.name, dns.TypeToString[other.typ], r)
		}
	}
}

// Without an encrypted transport, or a certificate for a name, there is nothing to say.
func TestNothingIsDesignatedWithoutAName(t *testing.T) {
	dnstest.CheckLeaks(t)
	plain, _ := startServer(t, Options{Settings: Settings{Designated: true}, Names: []string{serverName}})
	unnamed := startEncrypted(t, Options{Settings: Settings{Designated: true}, Names: []string{"127.0.0.1", "other.example"}})
	star := startEncrypted(t, Options{Settings: Settings{Designated: true}, Names: []string{"*." + serverName}})
	off := startEncrypted(t, Options{})
	for fact, s := range map[string]*Server{"no encrypted transport": plain, "no certificate for the name": unnamed.Server, "no name but with a star": star.Server, "not wanted": off.Server} {
		if r := ask(t, s, "udp", "_dns.resolver.arpa.", dns.TypeSVCB); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 || len(r.Ns) != 1 {
			t.Errorf("%s: %v, want NODATA", fact, r)
		}
	}
}

// verifies reports what a client thinks of the server's certificate, where it knows an
// address alone.
func (s *encrypted) verifies(host string) error {
	m, err := s.overTLS("127.0.0.1", host)
	if err == nil && m.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("%v", m)
	}
	return err
}

// Where a socket is for all addresses, the hint is that to which the query came.
func TestDesignationsAreWhereTheQueryCame(t *testing.T) {
	d := designation{alpn: []string{"dot"}, ports: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:853")}, usual: 853}
	var s Server
	for _, test := range []struct {
		fact   string
		path   [2]string // client, local
		stream bool
		ports  string
		want   string
	}{
		{"the address of the packet", [2]string{"192.0.2.9:1", "192.0.2.1"}, false, "0.0.0.0:853", "192.0.2.1"},
		{"IPv6", [2]string{"[2001:db8::9]:1", "2001:db8::1"}, false, "[::]:853", "2001:db8::1"},
		{"an address that is listened on", [2]string{"192.0.2.9:1", ""}, false, "192.0.2.2:853", "192.0.2.2"},
		{"of the other family", [2]string{"[2001:db8::9]:1", ""}, false, "192.0.2.2:853", "invalid IP"},
		{"unknown", [2]string{"192.0.2.9:1", ""}, false, "0.0.0.0:853", "invalid IP"},
	} {
		q := &query{}
		q.path.Client = netip.MustParseAddrPort(test.path[0])
		q.path.Local, _ = netip.ParseAddr(test.path[1])
		if got := s.addressOf(q, []netip.AddrPort{netip.MustParseAddrPort(test.ports)}); got.String() != test.want {
			t.Errorf("%s: %s, want %s", test.fact, got, test.want)
		}
	}
	data := d.append(nil, 3, []byte("\x03dns\x07example\x00"), netip.MustParseAddr("2001:db8::1"))
	rr, off, err := dns.UnpackRR(append([]byte("\x00\x00\x40\x00\x01\x00\x00\x00\x00\x00"+string(rune(len(data)))), data...), 0)
	if err != nil || off != 11+len(data) || !strings.HasSuffix(rr.String(), `3 dns.example. alpn="dot" ipv6hint="2001:db8::1"`) {
		t.Errorf("%v, %v: the usual port is not said", rr, err)
	}
}
