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
	zones, err := NewZones([]Forward{{Zones: []string{"lan", "b.lan", "example.com"}, Servers: server}, {Zones: []string{"a.b.lan"}, Servers: server}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"lan": "lan", "x.lan": "lan", "B.LAN": "b.lan", "x.y.b.lan": "b.lan", "a.b.lan": "a.b.lan", "x.a.b.lan": "a.b.lan",
		"xlan": "", "com": "", "example.com": "example.com", "notexample.com": "", ".": "", "lan.example": "",
	} {
		got := ""
		if z := zones.Of(0).Find(nameOf(t, name)); z != nil {
			got = z.Name
		}
		if got != want {
			t.Errorf("%s: got zone %q, want %q", name, got, want)
		}
	}
	var none *Zones
	if z := none.Of(1).Find(nameOf(t, "x.lan")); z != nil {
		t.Errorf("no zones have %v", z)
	}
	for _, bad := range [][]Forward{
		{{Zones: []string{"lan"}}}, {{Servers: server}}, {{Zones: []string{"lan", "LAN."}, Servers: server}},
		{{Zones: []string{"lan"}, Servers: server}, {Zones: []string{"lan"}, Servers: server}}, {{Zones: []string{"a..b"}, Servers: server}},
		{{Zones: []string{"lan"}, Servers: []Server{{}}}}, {{For: []string{"group kids"}}},
	} {
		if _, err := NewZones(bad); err == nil {
			t.Errorf("%v is no error", bad)
		}
	}
}

// A device has the longest zone, its own before its group's, that before everybody's, and all
// names only where no zone is named.
func TestZonesOfADevice(t *testing.T) {
	forward := func(address string, zones ...string) Forward {
		return Forward{Zones: zones, Servers: []Server{{Addr: netip.AddrPortFrom(netip.MustParseAddr(address), 53)}}}
	}
	of := func(f Forward, devices, members []uint16) Forward {
		f.For, f.Devices, f.Members = []string{"some"}, devices, members
		return f
	}
	zones, err := NewZones([]Forward{
		of(forward("192.0.2.1", "lan", "corp.example"), nil, []uint16{1, 2}),
		forward("192.0.2.2", "lan", "deep.corp.example"),
		of(forward("192.0.2.3", "lan"), []uint16{2}, nil),
		of(forward("192.0.2.4"), nil, []uint16{2, 3}),
		of(forward("192.0.2.5"), nil, nil), // of a group without devices
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		device          uint16
		name, zone, all string
	}{
		{0, "x.lan", "192.0.2.2", ""}, {0, "corp.example", "", ""}, {9, "x.lan", "192.0.2.2", ""},
		{1, "x.lan", "192.0.2.1", ""}, {1, "www.corp.example", "192.0.2.1", ""}, {1, "www.deep.corp.example", "192.0.2.2", ""}, {1, "www.example", "", ""},
		{2, "x.lan", "192.0.2.3", "192.0.2.4"}, {2, "corp.example", "192.0.2.1", "192.0.2.4"}, {2, "www.example", "", "192.0.2.4"},
		{3, "x.lan", "192.0.2.2", "192.0.2.4"}, {3, ".", "", "192.0.2.4"},
	} {
		text := func(z *Zone) string {
			if z == nil {
				return ""
			}
			return z.Servers[0].Addr.Addr().String()
		}
		d := zones.Of(c.device)
		if zone, all := text(d.Find(nameOf(t, c.name))), text(d.All()); zone != c.zone || all != c.all {
			t.Errorf("device %d, %s: zone by %q and all by %q, want %q and %q", c.device, c.name, zone, all, c.zone, c.all)
		}
	}
}

// A view stays that of the same zones and servers, and is never another's at once.
func TestViewsStayAsForwardsChange(t *testing.T) {
	dnstest.CheckLeaks(t)
	a, b := dnstest.Start(t, dnstest.AnswerA("192.0.2.1")), dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	of := func(up *dnstest.Upstream, devices ...uint16) Forward {
		return Forward{Servers: []Server{{Addr: up.Addr}}, For: []string{"some"}, Devices: devices}
	}
	u := startClient(t, Options{Servers: []Server{{Addr: a.Addr}}, Forwards: []Forward{of(a, 1), of(b, 2)}})
	view := func(device uint16) uint8 { return u.View(device, nameOf(t, "www.example"), false) }
	one, two := view(1), view(2)
	if one == 0 || two == 0 || one == two || view(3) != 0 {
		t.Fatalf("views %d, %d and %d", one, two, view(3))
	}
	if err := u.SetForwards([]Forward{of(b, 1, 3)}); err != nil {
		t.Fatal(err)
	}
	if view(1) != two || view(3) != two || view(2) != 0 {
		t.Errorf("the devices of the one that stays have views %d and %d, want %d, and the other %d", view(1), view(3), two, view(2))
	}
	q := &dnswire.Question{Name: *nameOf(t, "www.example"), Type: dnswire.TypeA, Class: dnswire.ClassIN, View: one}
	if _, err := u.Exchange(t.Context(), q, Start{}); err == nil {
		t.Error("what is asked of servers that are gone is asked of others")
	}
	if err := u.SetForwards([]Forward{of(a, 1), of(b, 2)}); err != nil {
		t.Fatal(err)
	}
	if view(2) != two || view(1) == two || view(1) == 0 {
		t.Errorf("views %d and %d", view(1), view(2))
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
	u, err := New(Options{Servers: []Server{{Addr: up.Addr}}, Forwards: []Forward{{Zones: []string{"lan"}, Servers: []Server{{Addr: router.Addr}}}}})
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
	if !u.Asks(a.Upstream, &dnswire.Question{Name: *nameOf(t, "www.example")}) || u.Asks(a.Upstream, &dnswire.Question{Name: *nameOf(t, "a.lan")}) {
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
		Forwards: []Forward{{Zones: []string{"lan"}, Servers: []Server{{Addr: self}}}},
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
