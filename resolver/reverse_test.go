package resolver

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// The names of addresses are asked of those alone that the settings have for them.
func TestReverseAsksNobodyElse(t *testing.T) {
	dnstest.CheckLeaks(t)
	var mu sync.Mutex
	asked, times := map[string]bool{}, 0
	names := func(name string) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			question := q.Question[0]
			mu.Lock()
			asked[question.Name+" "+name] = true
			times++
			mu.Unlock()
			m := new(dns.Msg).SetReply(q)
			switch {
			case question.Qtype != dns.TypePTR || strings.HasPrefix(question.Name, "9."):
				m.Rcode = dns.RcodeNameError
			case strings.HasPrefix(question.Name, "7."):
				m.Rcode = dns.RcodeServerFailure
			default:
				m.Answer = []dns.RR{&dns.PTR{Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 600}, Ptr: name}}
			}
			_ = w.WriteMsg(m)
		}
	}
	asks := func() int { mu.Lock(); defer mu.Unlock(); return times }
	up, company := dnstest.Start(t, names("Nas.lan.")), dnstest.Start(t, names("pc.company.example."))
	s, _ := startServer(t, Options{}, up)
	if err := s.SetForwards([]upstream.Forward{{Zones: []string{"10.in-addr.arpa"}, Servers: []upstream.Server{{Addr: company.Addr}}}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr, name string
		fails      bool
	}{
		{"192.168.1.20", "Nas.lan", false}, {"fd00::20", "Nas.lan", false}, {"10.1.2.3", "pc.company.example", false},
		{"192.168.1.9", "", false}, {"192.168.1.7", "", true}, {"192.168.1.20", "Nas.lan", false},
	} {
		name, life, err := s.Reverse(t.Context(), netip.MustParseAddr(c.addr), false)
		if !strings.EqualFold(name, c.name) || (err != nil) != c.fails || name != "" && (life <= 0 || life > 600*time.Second) {
			t.Errorf("%s: got %q for %v, %v; want %q", c.addr, name, life, err, c.name)
		}
	}
	for _, a := range []string{"8.8.4.4", "2a00::1", "127.0.0.1", "::1"} {
		if name, _, err := s.Reverse(t.Context(), netip.MustParseAddr(a), false); !errors.Is(err, upstream.ErrNoPrivate) {
			t.Errorf("%s: got %q, %v; want nobody to be asked", a, name, err)
		}
	}
	before := asks()
	for _, fresh := range []bool{false, true} {
		if name, _, err := s.Reverse(t.Context(), netip.MustParseAddr("192.168.1.20"), fresh); err != nil || !strings.EqualFold(name, "Nas.lan") || (asks() > before) != fresh {
			t.Errorf("fresh %v: got %q, %v, and somebody was asked: %v", fresh, name, err, asks() > before)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, q := range []string{"4.4.8.8.in-addr.arpa. Nas.lan.", "3.2.1.10.in-addr.arpa. Nas.lan.", "20.1.168.192.in-addr.arpa. pc.company.example."} {
		if asked[q] {
			t.Errorf("the wrong one was asked: %s", q)
		}
	}
}
