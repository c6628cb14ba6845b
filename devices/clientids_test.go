package devices

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	secretID = "k3vq7xw2hfz5p6tbn4ryqmsa"
	macKid   = "02:00:00:00:00:31"
)

// called is the device of who asks from an address and calls itself id.
func (l *Ledger) called(id, a string) string {
	if b := l.Named(id, l.Lookup(addr(a))); b != nil {
		return b.Device
	}
	return ""
}

func TestWhoNamesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop), entry("192.168.1.31", macKid))
		l, _ := open(t, f, Options{Devices: []Device{
			{Name: "phone", ClientIDs: []string{secretID, "phone"}},
			{Name: "kid", MACs: []string{macKid}},
			{Name: "nas", Addresses: []netip.Addr{addr("192.168.1.9")}},
			{Name: "lab", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}},
		}})
		for _, c := range []struct{ fact, id, from, want string }{
			{"a configured id", "phone", "192.168.1.5", "phone"},
			{"one from nowhere near", secretID, "203.0.113.8", "phone"},
			{"a configured id goes before a configured MAC", "phone", "192.168.1.31", "phone"},
			{"an id that nobody configured is an identity", "tablet", "192.168.1.5", "id:tablet"},
			{"the same from another address", "tablet", "192.168.1.5", "id:tablet"},
			{"a configured MAC goes before an id that nobody configured", "tablet", "192.168.1.31", "kid"},
			{"and a configured address", "tablet", "192.168.1.9", "nas"},
			{"and a configured prefix", "tablet", "10.9.3.3", "lab"},
			{"whose address nobody knows yet, it may be a configured MAC's", "tablet", "192.168.1.77", ""},
		} {
			if got := l.called(c.id, c.from); got != c.want {
				t.Errorf("%s: got %q, want %q", c.fact, got, c.want)
			}
		}
		b := l.Named("phone", nil)
		if b.Source != ConfiguredClientID || b.Confidence != Medium || b.Addr.IsValid() || b.Covers() != "client-id" {
			t.Errorf("got %+v, want a binding of no address, and not the best as one of the ids is short", b)
		}
		if b := l.Named("tablet", l.Lookup(addr("192.168.1.5"))); b.Source != ClientID || b.Confidence != Low || b.Name != "tablet" {
			t.Errorf("got %+v, want the client's own word", b)
		}
		time.Sleep(time.Second)
		if got := l.called("tablet", "192.168.1.5"); got != "id:tablet" {
			t.Errorf("once it is published: got %q", got)
		}
		for id, want := range map[string]bool{secretID: true, "phone": false, "tablet": false, "k3vq7xw2hfz5p6tbn4ryqmsb": false} {
			if got := l.MayRoam(id); got != want {
				t.Errorf("%s may roam: %v, want %v", id, got, want)
			}
		}
	})
}

func TestSecretIDs(t *testing.T) {
	for id, want := range map[string]bool{
		secretID: true, "k3vq7xw2hfz5p6tbn4ry": true, "k3vq7xw2hfz5p6tbn4r": false,
		strings.Repeat("a", 40): false, strings.Repeat("phone", 8): false, "": false,
	} {
		if got := IsSecretID(id); got != want {
			t.Errorf("%q: %v, want %v", id, got, want)
		}
	}
}

func TestClientIDsAreLabels(t *testing.T) {
	for id, want := range map[string]bool{
		"phone": true, "a": true, "0-9": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, "-a": false, "a-": false, "A": false, "a.b": false, "a_b": false, "é": false, "a b": false, "../x": false,
	} {
		if got := IsClientID(id); got != want {
			t.Errorf("%q: %v, want %v", id, got, want)
		}
	}
	for fact, d := range map[string]Device{
		"no label":        {Name: "a", ClientIDs: []string{"a.b"}},
		"a name for none": {Name: "id:a"},
	} {
		if err := Check([]Device{d}); err == nil {
			t.Errorf("%s is taken", fact)
		}
	}
	if err := Check([]Device{{Name: "a", ClientIDs: []string{"x"}}, {Name: "b", ClientIDs: []string{"x"}}}); err == nil {
		t.Error("an id of two devices is taken")
	}
}

// Ids that somebody makes up cost a bounded number of bindings, and nobody else his.
func TestMadeUpClientIDsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := open(t, newTable(entry("192.168.1.5", macLaptop)), Options{Devices: []Device{{Name: "phone", ClientIDs: []string{"phone"}}}})
		for i := range 2 * maxClaimed {
			l.called(fmt.Sprintf("x%d", i), "192.168.1.5")
		}
		if got := l.called("further", "192.168.1.5"); got != "mac:"+macLaptop {
			t.Errorf("beyond the bound: got %q, want the device of the address", got)
		}
		if got := l.called("x0", "192.168.1.5"); got != "id:x0" {
			t.Errorf("the first: got %q", got)
		}
		if got := l.called("phone", "192.168.1.5"); got != "phone" {
			t.Errorf("a configured one: got %q", got)
		}
		time.Sleep(time.Second)
		if got := k.reports("bindings-limited"); got != 1 {
			t.Errorf("%d reports of the bound, want 1", got)
		}
		if got := len(l.published.Load().ids); got != maxClaimed+1 {
			t.Errorf("%d ids held, want %d", got, maxClaimed+1)
		}
		time.Sleep(25 * time.Hour)
		if got := len(l.published.Load().ids); got != 1 {
			t.Errorf("%d ids are held after a day unseen, want the configured one", got)
		}
	})
}

func TestClientIDsAreConfiguredWhileServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, newTable(entry("192.168.1.5", macLaptop)), Options{})
		if got := l.called("tablet", "192.168.1.5"); got != "id:tablet" {
			t.Fatalf("got %q", got)
		}
		if err := l.Configure([]Device{{Name: "tablet of mum", ClientIDs: []string{"tablet"}, Group: 3}}, Settings{}); err != nil {
			t.Fatal(err)
		}
		if b := l.Named("tablet", l.Lookup(addr("192.168.1.5"))); b.Device != "tablet of mum" || b.Group != 3 {
			t.Errorf("got %+v", b)
		}
		l.Configure(nil, Settings{})
		if got := l.called("tablet", "192.168.1.5"); got != "id:tablet" {
			t.Errorf("no longer configured: got %q", got)
		}
	})
}

// A restart goes on with the bindings that there were.
func TestClientIDsAreResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(entry("192.168.1.5", macLaptop))
		config := []Device{{Name: "phone", ClientIDs: []string{"phone"}}, {Name: "tv", ClientIDs: []string{"tv"}}}
		l, k := open(t, table, Options{Devices: config})
		phone, tv := l.Named("phone", nil), l.Named("tv", nil)
		guest := l.Named("guest", l.Lookup(addr("192.168.1.5")))
		time.Sleep(time.Second)
		l.Close()
		l, _ = open(t, newTable(entry("192.168.1.5", macLaptop)), Options{Devices: config, Known: k.all()})
		for id, before := range map[string]*Binding{"phone": phone, "tv": tv, "guest": guest} {
			if b := l.Named(id, l.Lookup(addr("192.168.1.5"))); b.ID != before.ID || b.Device != before.Device {
				t.Errorf("%s: got %+v, want %+v", id, b, before)
			}
		}
	})
}

func TestNamedDoesNotAllocateOnceKnown(t *testing.T) {
	l, _ := open(t, newTable(entry("192.168.1.5", macLaptop)), Options{Devices: []Device{{Name: "phone", ClientIDs: []string{"phone"}}}})
	held := l.Lookup(addr("192.168.1.5"))
	if n := testing.AllocsPerRun(100, func() { l.Named("phone", held) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
