package dns64

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestAnnouncements(t *testing.T) {
	const (
		rdnss = "1903000000000e1020010db8000000000000000000000001"
		p96   = "260207080064ff9b0000000000000000" // for 1800 s
	)
	hour := time.Hour
	for _, c := range []struct {
		name, options string
		want          []Announcement
	}{
		{"the well-known prefix", p96, []Announcement{{WellKnown, hour / 2}}},
		{"behind another option", rdnss + p96, []Announcement{{WellKnown, hour / 2}}},
		{"64 bits", "26020e1120010db80122034400000000", []Announcement{{netip.MustParsePrefix("2001:db8:122:344::/64"), hour}}},
		{"56 bits, and what is behind them is not read", "26020e1220010db8012203ff00000000", []Announcement{{netip.MustParsePrefix("2001:db8:122:300::/56"), hour}}},
		{"48 bits", "26020e1320010db80122000000000000", []Announcement{{netip.MustParsePrefix("2001:db8:122::/48"), hour}}},
		{"40 bits", "26020e1420010db80100000000000000", []Announcement{{netip.MustParsePrefix("2001:db8:100::/40"), hour}}},
		{"32 bits", "26020e1520010db80000000000000000", []Announcement{{netip.MustParsePrefix("2001:db8::/32"), hour}}},
		{"for as long as can be said", "2602fff80064ff9b0000000000000000", []Announcement{{WellKnown, 65528 * time.Second}}},
		{"no more", "260200000064ff9b0000000000000000", []Announcement{{WellKnown, 0}}},
		{"two", "260200000064ff9b0000000000000000" + "26020e1520010db80000000000000000",
			[]Announcement{{WellKnown, 0}, {netip.MustParsePrefix("2001:db8::/32"), hour}}},
		{"a length that has no meaning", "26020e160064ff9b0000000000000000", nil},
		{"bits 64 to 71 are not zero", "26020e1020010db80000000001000000", nil},
		{"an option of another size", "260307080064ff9b00000000000000000000000000000000", nil},
		{"cut off", p96[:30], nil},
		{"an option without a size", "2600" + p96, nil},
		{"nothing", "", nil},
		{"an octet", "26", nil},
	} {
		options, err := hex.DecodeString(c.options)
		if err != nil {
			t.Fatal(err)
		}
		if got := Announcements(options); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzAnnouncements(f *testing.F) {
	f.Add([]byte("\x26\x02\x07\x08\x00\x64\xff\x9b\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, options []byte) {
		before := bytes.Clone(options)
		all := Announcements(options)
		for _, a := range all {
			if !IsPrefix(a.Prefix) || a.Lifetime < 0 || a.Lifetime > 65528*time.Second {
				t.Errorf("got %v", a)
			}
		}
		if len(all) > len(options)/16 || !bytes.Equal(options, before) {
			t.Errorf("%d of %d octets", len(all), len(options))
		}
	})
}

func TestAnnouncedPrefixesHoldForTheirTime(t *testing.T) {
	one, two := netip.MustParsePrefix("2001:db8:1::/96"), netip.MustParsePrefix("2001:db8:2::/96")
	begin := time.Now()
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	var a Announced
	want := func(now int, prefix netip.Prefix, until int) {
		t.Helper()
		p, u := a.InForce(at(now))
		if p != prefix || p.IsValid() && !u.Equal(at(until)) {
			t.Errorf("at %d: got %v until %v, want %v until %d", now, p, u.Sub(begin), prefix, until)
		}
	}
	want(0, netip.Prefix{}, 0)
	a.Add(1, Announcement{one, 0}, at(0))
	want(0, netip.Prefix{}, 0)
	a.Add(1, Announcement{one, 100 * time.Second}, at(0))
	a.Add(1, Announcement{two, 1000 * time.Second}, at(1))
	want(2, one, 100) // it stays while it holds
	a.Add(1, Announcement{one, 100 * time.Second}, at(50))
	want(51, one, 150)
	want(150, two, 1001)
	a.Add(2, Announcement{one, 100 * time.Second}, at(200))
	a.Add(1, Announcement{two, 0}, at(201)) // its router says that it is over
	want(202, one, 300)
	a.Forget(1)
	want(203, one, 300)
	a.Forget(2)
	want(204, netip.Prefix{}, 0)
}

// A host that announces on one link keeps nothing of another out, nor its own link's router.
func TestAnnouncedPrefixesAreBoundedByLink(t *testing.T) {
	now := time.Now()
	numbered := func(i byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, i}), 96) }
	real := netip.MustParsePrefix("2001:db8:1::/96")
	const guests, home = 2, 1
	var a Announced
	for i := range byte(20) {
		a.Add(guests, Announcement{numbered(i), time.Duration(i+1) * time.Hour}, now)
	}
	if len(a.all) != maxOfLink {
		t.Errorf("got %d, want %d", len(a.all), maxOfLink)
	}
	if got, _ := a.InForce(now); got != numbered(18) { // those that ended first have gone
		t.Errorf("of the guests' link: got %v, want %v", got, numbered(18))
	}
	a.Add(home, Announcement{real, time.Hour}, now)
	a.Forget(guests)
	if got, _ := a.InForce(now); got != real {
		t.Errorf("without the guests' link: got %v, want %v", got, real)
	}
	for i := range byte(20) {
		a.Add(home, Announcement{numbered(i), 2 * time.Hour}, now)
	}
	a.Add(home, Announcement{real, time.Hour}, now)
	if len(a.all) != maxOfLink || a.all[1].prefix != real {
		t.Errorf("got %v, want the latest, %v, among %d", a.all, real, maxOfLink)
	}
}
