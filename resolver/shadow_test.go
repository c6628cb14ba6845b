package resolver

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

func TestWhereANameLeadsIsAskedWithoutALookup(t *testing.T) {
	dnstest.CheckLeaks(t)
	var fails atomic.Bool
	zone := map[string]string{
		"data.vendor.example. A":  "data.vendor.example. 60 CNAME edge.cdn.example.\nedge.cdn.example. 60 A 198.51.100.7\nedge.cdn.example. 60 A 198.51.100.6",
		"vendor.example. NS":      "vendor.example. 60 NS ns1.dns.example.\nvendor.example. 60 NS ns2.dns.example.",
		"data.vendor.example. NS": "data.vendor.example. 60 CNAME edge.cdn.example.",
	}
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		text, ok := zone[q.Question[0].Name+" "+dns.TypeToString[q.Question[0].Qtype]]
		if !ok {
			m.Rcode = dns.RcodeNameError
		}
		if fails.Load() {
			m.Rcode, text = dns.RcodeServerFailure, ""
		}
		p := dns.NewZoneParser(strings.NewReader(text), "", "")
		for rr, more := p.Next(); more; rr, more = p.Next() {
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})
	s, log := startServer(t, Options{}, up)
	for _, c := range []struct {
		name string
		typ  uint16
		want Resolved
	}{
		{"data.vendor.example", dnswire.TypeA, Resolved{Aliases: []string{"edge.cdn.example"}, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("198.51.100.6")}}},
		{"vendor.example", dnswire.TypeNS, Resolved{Servers: []string{"ns1.dns.example", "ns2.dns.example"}}},
		{"data.vendor.example", dnswire.TypeNS, Resolved{Missing: "NODATA", Aliases: []string{"edge.cdn.example"}}},
		{"gone.vendor.example", dnswire.TypeA, Resolved{Missing: "NXDOMAIN"}},
	} {
		got, err := s.Resolve(t.Context(), c.name, c.typ)
		if err != nil || got.Missing != c.want.Missing || !slices.Equal(got.Aliases, c.want.Aliases) || !slices.Equal(got.Addresses, c.want.Addresses) || !slices.Equal(got.Servers, c.want.Servers) {
			t.Errorf("%s %d: got %+v, %v, want %+v", c.name, c.typ, got, err, c.want)
		}
	}
	fails.Store(true)
	if got, err := s.Resolve(t.Context(), "other.vendor.example", dnswire.TypeA); err == nil {
		t.Errorf("got %+v of an upstream that fails", got)
	}
	if n := s.Stats().Queries; n != 0 || len(log.rows) != 0 {
		t.Errorf("%d queries are counted and %d are logged", n, len(log.rows))
	}
}

// What this server answers by itself does not reach an upstream either where a stranger's
// NS record or alias names it.
func TestSpecialNamesAreNotResolved(t *testing.T) {
	dnstest.CheckLeaks(t)
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if name := q.Question[0].Name; !strings.HasSuffix(name, "vendor.example.") {
			t.Errorf("the upstream is asked for %s", name)
		}
		w.WriteMsg(new(dns.Msg).SetReply(q))
	})
	s, _ := startServer(t, Options{}, up)
	for _, name := range []string{"abcdef.onion", "x.alt", "nas.localhost", "a.invalid", "a.test", "printer.local", "Printer.LOCAL.", "nas.home.arpa", "1.1.168.192.in-addr.arpa", "_dns.resolver.arpa", "use-application-dns.net"} {
		for _, typ := range []uint16{dnswire.TypeA, dnswire.TypeNS} {
			if got, err := s.Resolve(t.Context(), name, typ); !errors.Is(err, ErrSpecial) {
				t.Errorf("%s: got %+v, %v", name, got, err)
			}
		}
	}
	for _, name := range []string{"vendor.example", "local.vendor.example"} {
		if got, err := s.Resolve(t.Context(), name, dnswire.TypeA); err != nil || got.Missing != "NODATA" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
