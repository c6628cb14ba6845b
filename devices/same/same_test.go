package same

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func phone(id string, from, to time.Duration, host string) Device {
	return Device{ID: id, MadeUp: true, Hosts: []string{host}, Kind: "phone", Vendor: "Apple", First: noon.Add(from), Last: noon.Add(to)}
}

func TestSuggestions(t *testing.T) {
	const h = time.Hour
	old, fresh := phone("old", -48*h, 0, "Annas-iPhone"), phone("new", h/2, 9*h, "annas-iphone")
	with := func(d Device, change func(*Device)) Device { change(&d); return d }
	for _, c := range []struct {
		what string
		all  []Device
		want string // new=old
	}{
		{"the same host name, one after the other", []Device{old, fresh}, "new=old"},
		{"in another order", []Device{fresh, old}, "new=old"},
		{"the host name alone, a week later", []Device{old, with(fresh, func(d *Device) { d.First, d.Kind = noon.Add(7*24*h), "" })}, "new=old"},
		{"both there for hours", []Device{with(old, func(d *Device) { d.Last = noon.Add(5 * h) }), fresh}, ""},
		{"another kind", []Device{old, with(fresh, func(d *Device) { d.Kind = "tv" })}, ""},
		{"a MAC that a manufacturer gave", []Device{old, with(fresh, func(d *Device) { d.MadeUp = false })}, ""},
		{"the old one had such a MAC", []Device{with(old, func(d *Device) { d.MadeUp = false }), fresh}, "new=old"},
		{"a person said what it is", []Device{old, with(fresh, func(d *Device) { d.Settled = true })}, ""},
		{"a name that many have, days later", []Device{with(old, func(d *Device) { d.Hosts, d.Vendor = []string{"iPhone"}, "" }), with(fresh, func(d *Device) { d.Hosts, d.First = []string{"iPhone"}, noon.Add(50*h) })}, ""},
		{"the same kind and vendor, one right after the other", []Device{with(old, func(d *Device) { d.Hosts = []string{"iPhone"} }), with(fresh, func(d *Device) { d.Hosts = []string{"iPhone-2"} })}, "new=old"},
		{"the same kind alone, days later", []Device{with(old, func(d *Device) { d.Hosts = nil }), with(fresh, func(d *Device) { d.First = noon.Add(50 * h) })}, ""},
		{"two that it could have been", []Device{old, with(old, func(d *Device) { d.ID = "other" }), fresh}, ""},
		{"nothing in common", []Device{with(old, func(d *Device) { d.Hosts, d.Kind = nil, "" }), fresh}, ""},
		{"long ago", []Device{old, with(fresh, func(d *Device) { d.First = noon.Add(40 * 24 * h) })}, ""},
		{"a chain", []Device{old, fresh, phone("newest", 10*h, 20*h, "Annas-iPhone")}, "newest=new new=old"},
	} {
		var got []string
		for _, s := range Suggest(c.all, noon.Add(12*h)) {
			got = append(got, s.New+"="+s.Old)
			if len(s.Reasons) == 0 {
				t.Errorf("%s: no reasons", c.what)
			}
		}
		want := strings.Fields(c.want)
		if len(got) != len(want) || !sameWords(got, want) {
			t.Errorf("%s: got %v, want %v", c.what, got, want)
		}
	}
}

// A guest network whose phones make up a MAC each day has thousands of devices that are alike.
func TestAlikeDevicesAreNotKeptInPairs(t *testing.T) {
	var all []Device
	for i := range 5000 {
		at := time.Duration(i-5000) * time.Minute
		all = append(all, phone(fmt.Sprint(i), at, at+time.Second, "guest"))
	}
	all = append(all, phone("last", time.Hour, 2*time.Hour, "annas"), phone("newest", 2*time.Hour, 3*time.Hour, "annas"))
	var got []Suggestion
	kept := testing.AllocsPerRun(1, func() { got = Suggest(all, noon.Add(4*time.Hour)) })
	if kept > 10*most {
		t.Errorf("%.0f times something was kept, of %d devices that are compared", kept, most)
	}
	if len(got) != 1 || got[0].New != "newest" || got[0].Old != "last" {
		t.Errorf("got %+v, want the two that are like nothing else", got)
	}
}

func sameWords(a, b []string) bool {
	in := map[string]bool{}
	for _, w := range a {
		in[w] = true
	}
	for _, w := range b {
		if !in[w] {
			return false
		}
	}
	return true
}
