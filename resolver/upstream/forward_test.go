package upstream

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

func TestZonesFindTheLongest(t *testing.T) {
	server := []Server{{Addr: netip.MustParseAddrPort("192.0.2.1:53")}}
	zones, err := NewZones([]Forward{{[]string{"lan", "b.lan", "example.com"}, server}, {[]string{"a.b.lan"}, server}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"lan": "lan", "x.lan": "lan", "B.LAN": "b.lan", "x.y.b.lan": "b.lan", "a.b.lan": "a.b.lan", "x.a.b.lan": "a.b.lan",
		"xlan": "", "com": "", "example.com": "example.com", "notexample.com": "", ".": "", "lan.example": "",
	} {
		got := ""
		if z := zones.Find(nameOf(t, name)); z != nil {
			got = z.Name
		}
		if got != want {
			t.Errorf("%s: got zone %q, want %q", name, got, want)
		}
	}
	var none *Zones
	if z := none.Find(nameOf(t, "x.lan")); z != nil {
		t.Errorf("no zones have %v", z)
	}
	for _, bad := range [][]Forward{
		{{[]string{"lan"}, nil}}, {{nil, server}}, {{[]string{"lan", "LAN."}, server}},
		{{[]string{"lan"}, server}, {[]string{"lan"}, server}}, {{[]string{"a..b"}, server}}, {{[]string{"lan"}, []Server{{}}}},
	} {
		if _, err := NewZones(bad); err == nil {
			t.Errorf("%v is no error", bad)
		}
	}
}

func nameOf(t *testing.T, text string) *dnswire.Name {
	t.Helper()
	n := new(dnswire.Name)
	if err := n.Set(text); err != nil {
		t.Fatal(err)
	}
	return n
}

// A server that may be asked for all names is not asked for those of a zone, even where
// nobody else answers, and a zone's server not for other names.
func TestForwardedNamesAreAskedOfNobodyElse(t *testing.T) {
	dnstest.CheckLeaks(t)
	var mu sync.Mutex
	var general, zone string
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		general += q.Question[0].Name
		mu.Unlock()
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	router := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype != dns.TypeSOA { // whether it is there
			mu.Lock()
			zone += q.Question[0].Name
			mu.Unlock()
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
			return
		}
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	u, err := New(Options{Servers: []Server{{Addr: up.Addr}}, Forwards: []Forward{{[]string{"lan"}, []Server{{Addr: router.Addr}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for name, private := range map[string]bool{"a.lan": false, "b.lan": true} {
		q := &dnswire.Question{Name: *nameOf(t, name), Type: dnswire.TypeA, Class: dnswire.ClassIN}
		var err error
		if private {
			_, err = u.ExchangePrivate(t.Context(), q, Start{})
		} else {
			_, err = u.Exchange(t.Context(), q, Start{})
		}
		if e, ok := err.(*Error); !ok || e.Code != dnswire.EDENetworkError && e.Code != dnswire.EDENoReachable || !strings.Contains(e.Text, router.Addr.String()) {
			t.Errorf("%s: got %v, want an error of %v", name, err, router.Addr)
		}
	}
	q := &dnswire.Question{Name: *nameOf(t, "www.example"), Type: dnswire.TypeA, Class: dnswire.ClassIN}
	a, err := u.Exchange(t.Context(), q, Start{})
	if err != nil {
		t.Fatal(err)
	}
	if !u.Asks(a.Upstream, nameOf(t, "www.example")) || u.Asks(a.Upstream, nameOf(t, "a.lan")) {
		t.Error("got the general upstream asked for a zone, or not for other names")
	}
	a.Release()
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(general, "lan") || strings.Contains(zone, "www") {
		t.Errorf("asked %q of the upstream, %q of the zone's", general, zone)
	}
	if st := u.Status(); len(st) != 2 || st[0].Zones != nil || strings.Join(st[1].Zones, " ") != "lan" {
		t.Errorf("status %+v", st)
	}
}

// A server that is this one is not asked, and a zone that has no other fails at once.
func TestForwardToItself(t *testing.T) {
	dnstest.CheckLeaks(t)
	self := netip.MustParseAddrPort("127.0.0.1:5399")
	u, err := New(Options{
		ResolvConf: t.TempDir() + "/none", Self: func() []netip.AddrPort { return []netip.AddrPort{self} },
		Forwards: []Forward{{[]string{"lan"}, []Server{{Addr: self}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	q := &dnswire.Question{Name: *nameOf(t, "a.lan"), Type: dnswire.TypeA, Class: dnswire.ClassIN}
	_, err = u.Exchange(t.Context(), q, Start{})
	if e, ok := err.(*Error); !ok || !e.Unasked || !strings.Contains(e.Text, "lan") {
		t.Errorf("got %v", err)
	}
	if st := u.Status(); len(st) != 1 || st[0].State != Self || st[0].Zones == nil {
		t.Errorf("status %+v", st)
	}
}
