package devices

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestAForgottenDeviceIsKnownAgainOnceItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop), entry("fd00::5", macLaptop), entry("192.168.1.6", macTV))
		l, k := open(t, f, Options{Devices: []Device{{Name: "nas", Addresses: []netip.Addr{addr("192.168.1.9")}}}})
		l.Ask(addr("192.168.1.77"))
		ids := []uint64{l.Lookup(addr("192.168.1.5")).ID, l.Lookup(addr("fd00::5")).ID, l.Ask(addr("192.168.1.77")).ID}
		before := len(k.all())
		got := l.Forget(map[string]bool{"mac:" + macLaptop: true, "addr:192.168.1.77": true})
		slices.Sort(got)
		slices.Sort(ids)
		if !slices.Equal(got, ids) {
			t.Errorf("in force were %v, want %v", got, ids)
		}
		f.show(entry("192.168.1.5", macLaptop), entry("192.168.1.50", macLaptop), entry("192.168.1.6", macTV)) // it is still there
		time.Sleep(time.Hour)
		wantDevice(t, l, "forgotten", "192.168.1.5", "")
		wantDevice(t, l, "forgotten, and a new address", "192.168.1.50", "")
		wantDevice(t, l, "forgotten", "192.168.1.77", "")
		wantDevice(t, l, "another", "192.168.1.6", "mac:"+macTV)
		wantDevice(t, l, "another", "192.168.1.9", "nas")
		if n := len(k.all()); n != before {
			t.Errorf("%d bindings were kept since", n-before)
		}
		for _, d := range l.List() {
			if d.Device == "mac:"+macLaptop || d.Device == "addr:192.168.1.77" {
				t.Errorf("%s is still listed", d.Device)
			}
		}
		if b := l.Ask(addr("192.168.1.5")); b.Device != "mac:"+macLaptop || slices.Contains(ids, b.ID) {
			t.Errorf("it asks again: got %+v, want a new binding", b)
		}
		f.show(entry("fd00::5", macLaptop))
		wantDevice(t, l, "known again", "fd00::5", "mac:"+macLaptop)
		if b := l.Ask(addr("192.168.1.77")); b.Device != "addr:192.168.1.77" || slices.Contains(ids, b.ID) {
			t.Errorf("it asks again: got %+v, want a new binding", b)
		}
	})
}

// So is one that is known by its lease, or by what a forwarder says, alone.
func TestForgottenLeasesAndForwardedMACs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := open(t, newTable(), Options{})
		leased(l, "192.168.1.30", &lease{mac: phoneMAC})
		ids := []uint64{l.Lookup(addr("192.168.1.30")).ID, l.by(tvMAC, "").ID}
		before := len(k.all())
		got := l.Forget(map[string]bool{"mac:" + phoneMAC: true, "mac:" + tvMAC: true})
		slices.Sort(got)
		slices.Sort(ids)
		if !slices.Equal(got, ids) {
			t.Errorf("in force were %v, want %v", got, ids)
		}
		leased(l, "192.168.1.30", &lease{mac: phoneMAC}) // it was renewed
		time.Sleep(25 * time.Hour)
		wantDevice(t, l, "forgotten", "192.168.1.30", "")
		if n := len(k.all()); n != before {
			t.Errorf("%d bindings were kept since", n-before)
		}
		if all := l.List(); slices.ContainsFunc(all, func(d DeviceStatus) bool { return d.Device == "mac:"+phoneMAC || d.Device == "mac:"+tvMAC }) {
			t.Errorf("they are still listed: %+v", all)
		}
		if b := l.Ask(addr("192.168.1.30")); b.Device != "mac:"+phoneMAC || slices.Contains(ids, b.ID) {
			t.Errorf("it asks again: got %+v, want a new binding", b)
		}
		if b := l.by(tvMAC, ""); b.Device != "mac:"+tvMAC || slices.Contains(ids, b.ID) {
			t.Errorf("it asks again: got %+v, want a new binding", b)
		}
	})
}
