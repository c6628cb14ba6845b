package devices

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// who is the device Lookup names, "" for nobody yet.
func (l *Ledger) who(a string) string {
	if b := l.Lookup(addr(a)); b != nil {
		return b.Device
	}
	return ""
}

func wantDevice(t *testing.T, l *Ledger, fact, a, want string) {
	t.Helper()
	if got := l.who(a); got != want {
		t.Errorf("%s: %s: got %q, want %q", fact, a, got, want)
	}
}

func TestBothFamiliesOfAMACAreOneDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop), entry("fd00::5", macLaptop))
		l, k := open(t, f, Options{})
		wantDevice(t, l, "known from the start", "192.168.1.5", "mac:"+macLaptop)
		wantDevice(t, l, "known from the start", "fd00::5", "mac:"+macLaptop)
		wantDevice(t, l, "as it may come from a socket", "::ffff:192.168.1.5", "mac:"+macLaptop)
		wantDevice(t, l, "not known", "192.168.1.6", "")
		f.show(entry("192.168.1.60", macLaptop))
		wantDevice(t, l, "the device changed its address", "192.168.1.60", "mac:"+macLaptop)
		time.Sleep(5 * time.Minute) // only the new address is in use
		l.Lookup(addr("192.168.1.60"))
		time.Sleep(time.Minute)
		if b := l.Lookup(addr("192.168.1.60")); b.Confidence != High {
			t.Errorf("a changed address: got %v confidence, want high", b.Confidence)
		}
		if n := k.reports("mac-shared"); n != 0 {
			t.Errorf("a changed address was taken for a repeater")
		}
	})
}

func TestABindingEndsWhenAnotherMACHasTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop))
		l, k := open(t, f, Options{})
		first := l.Lookup(addr("192.168.1.5"))
		kept := *first

		f.show(gone("192.168.1.5"))
		if got := l.Lookup(addr("192.168.1.5")); got != first {
			t.Errorf("an entry's expiry: got %v, want the binding as before", got)
		}
		f.show(entry("192.168.1.5", macLaptop))
		if got := l.Lookup(addr("192.168.1.5")); got != first {
			t.Errorf("the same MAC again: got %v, want the binding as before", got)
		}
		f.show(entry("192.168.1.5", macTV))
		second := l.Lookup(addr("192.168.1.5"))
		if second.ID == first.ID || second.Device != "mac:"+macTV {
			t.Errorf("another MAC: got %+v, want a new binding", second)
		}
		if *first != kept {
			t.Errorf("history was relabelled: got %+v, want %+v", *first, kept)
		}
		history := k.at("192.168.1.5")
		if len(history) != 3 || history[1].ID != first.ID || history[1].Until.IsZero() || history[1].Seen.IsZero() || history[2].ID != second.ID {
			t.Errorf("reported: got %+v, want begin, end, begin", history)
		}
	})
}

func TestABindingEndsAfter24HoursUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop), entry("192.168.1.6", macTV))
		l, k := open(t, f, Options{Devices: []Device{{Name: "nas", Addresses: []netip.Addr{addr("192.168.1.9")}}}})
		first := l.Lookup(addr("192.168.1.5"))
		time.Sleep(23 * time.Hour)
		l.Lookup(addr("192.168.1.5"))
		time.Sleep(2 * time.Hour)
		if got := l.Lookup(addr("192.168.1.5")); got != first {
			t.Errorf("seen 2 hours ago: got %v, want the binding as before", got)
		}
		wantDevice(t, l, "unseen for 25 hours", "192.168.1.6", "")
		wantDevice(t, l, "configured and never seen", "192.168.1.9", "nas")
		ended := k.at("192.168.1.6")
		if len(ended) != 2 || ended[1].Until.Sub(ended[1].Seen) < 24*time.Hour || ended[1].Until.Sub(ended[1].Seen) > 24*time.Hour+2*time.Minute {
			t.Errorf("reported: got %+v, want an end 24 hours after it was seen", ended)
		}
		f.silent[addr("192.168.1.6")] = entry("192.168.1.6", macTV)
		if b := l.Ask(addr("192.168.1.6")); b.Device != "mac:"+macTV || b.ID == ended[1].ID {
			t.Errorf("back after 25 hours: got %+v, want a new binding of the same device", b)
		}
	})
}

func TestSettingTheClockEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		jump := time.Duration(0)
		f := newTable(entry("192.168.1.5", macLaptop))
		l, _ := open(t, f, Options{Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(jump)
		}})
		mu.Lock()
		jump = -50 * 365 * 24 * time.Hour // Add moves the monotonic reading too: the worst case
		mu.Unlock()
		time.Sleep(time.Hour)
		wantDevice(t, l, "after a jump back", "192.168.1.5", "mac:"+macLaptop)
	})
}

func TestSeveralIPv4AddressesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop), entry("192.168.1.6", macLaptop), entry("fd00::5", macLaptop), entry("192.168.1.7", macTV))
		l, k := open(t, f, Options{})
		before := l.Lookup(addr("192.168.1.5"))
		for range 6 {
			time.Sleep(10 * time.Second)
			l.Lookup(addr("192.168.1.5"))
			l.Lookup(addr("192.168.1.6"))
		}
		for _, a := range []string{"192.168.1.5", "192.168.1.6", "fd00::5"} {
			if b := l.Lookup(addr(a)); b.Confidence != Low || b.Device != "mac:"+macLaptop {
				t.Errorf("a MAC in use at two addresses: %s: got %v, want low confidence", a, b)
			}
		}
		if before.Confidence != High || l.Lookup(addr("192.168.1.7")).Confidence != High {
			t.Error("a binding changed that must not")
		}
		if n := k.reports("mac-shared"); n != 1 {
			t.Errorf("reports: got %d, want 1", n)
		}
		for range 400 {
			l.Lookup(addr("192.168.1.5"))
			time.Sleep(10 * time.Minute)
		}
		if b := l.Lookup(addr("192.168.1.5")); b == nil || b.Confidence != High {
			t.Errorf("days after the other address was left: got %+v, want high confidence", b)
		}
	})
}

func TestTheGatewaysMAC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.1", macGateway), entry("192.168.1.5", macGateway), entry("192.168.1.6", macTV))
		f.first.Links = &Links{Gateways: []netip.Addr{addr("192.168.1.1"), addr("fe80::1%eth0")}}
		l, _ := open(t, f, Options{})
		confidence := func(a string) Confidence { return l.Lookup(addr(a)).Confidence }
		if confidence("192.168.1.1") != Low || confidence("192.168.1.5") != Low || confidence("192.168.1.6") != High {
			t.Error("the gateway's MAC must be of low confidence at each address, and no other")
		}
		f.show(entry("fe80::1", macTV))
		if confidence("192.168.1.6") != Low {
			t.Error("a gateway known by its link-local address only")
		}
		f.change(Change{Links: &Links{Gateways: []netip.Addr{addr("fe80::1")}}})
		if confidence("192.168.1.1") != High || confidence("192.168.1.6") != Low {
			t.Error("a gateway that is no longer one")
		}
		if got := l.Gateways(); len(got) != 1 || got[0] != addr("fe80::1") {
			t.Errorf("gateways: got %v", got)
		}
	})
}

func TestAnAddressTwoMACsFightFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop))
		l, k := open(t, f, Options{})
		for range 20 {
			f.show(entry("192.168.1.5", macTV))
			f.show(entry("192.168.1.5", macLaptop))
		}
		wantDevice(t, l, "contested", "192.168.1.5", "addr:192.168.1.5")
		if n := len(k.at("192.168.1.5")); n > 10 {
			t.Errorf("bindings reported: got %d, want few", n)
		}
		if n := k.reports("address-contested"); n != 1 {
			t.Errorf("reports: got %d, want 1", n)
		}
		time.Sleep(11 * time.Minute)
		wantDevice(t, l, "quiet for 10 minutes", "192.168.1.5", "mac:"+macLaptop)
	})
}

func TestALinkLocalAddressOnTwoLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("fe80::1", macLaptop), entry("fe80::1", macTV).on(2), entry("fe80::2", macLaptop), entry("fe80::2", macLaptop).on(2))
		l, _ := open(t, f, Options{})
		wantDevice(t, l, "two MACs on two links", "fe80::1", "addr:fe80::1")
		wantDevice(t, l, "with a zone it is the same", "fe80::1%eth0", "addr:fe80::1")
		wantDevice(t, l, "one MAC on two links", "fe80::2", "mac:"+macLaptop)
	})
}

// A clock that is set back while a binding is in force does not let it end before
// it began.
func TestABindingEndsAfterItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var setBack atomic.Int64
		f := newTable(entry("192.168.1.5", macTV))
		_, k := open(t, f, Options{Now: func() time.Time { return time.Now().Add(-time.Duration(setBack.Load())) }})
		setBack.Store(int64(3 * time.Hour))
		f.show(entry("192.168.1.5", macLaptop))
		history := k.at("192.168.1.5")
		if len(history) != 3 || history[1].Until.Before(history[1].From) {
			t.Errorf("got %+v, want begin, an end not before it, begin", history)
		}
	})
}

// An address was in use before the binding that holds it now began: that is no use
// of the binding, nor is a device last seen before it was first.
func TestNothingIsSeenBeforeItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		l, k := open(t, f, Options{})
		f.show(entry("192.168.1.5", macTV))
		l.Lookup(addr("192.168.1.5"))
		time.Sleep(time.Minute)
		if err := l.Configure([]Device{{Name: "tv", MACs: []string{macTV}}}, Settings{}); err != nil {
			t.Fatal(err)
		}
		for _, d := range l.List() {
			if !d.Last.IsZero() && d.Last.Before(d.First) {
				t.Errorf("%s: last %v, first %v", d.Device, d.Last, d.First)
			}
			for _, b := range d.Bindings {
				if !b.Seen.IsZero() && b.Seen.Before(b.From) {
					t.Errorf("%s: seen %v, from %v", b.Covers(), b.Seen, b.From)
				}
			}
		}
		f.show(entry("192.168.1.5", macLaptop))
		for _, b := range k.at("192.168.1.5") {
			if !b.Until.IsZero() && b.Seen.Before(b.From) {
				t.Errorf("ended: seen %v, from %v", b.Seen, b.From)
			}
		}
	})
}

// A query from an address that is new waits until the kernel knows whose it is.
func TestIdentify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		f.silent[addr("192.168.1.5")] = entry("192.168.1.5", macTV)
		l, k := open(t, f, Options{Devices: []Device{{Name: "tv", MACs: []string{macTV}}}})
		if !l.ByMAC() {
			t.Error("a device is configured by its MAC, and ByMAC says no")
		}
		if b := l.Identify(addr("192.168.1.5")); b == nil || b.Device != "tv" {
			t.Errorf("the kernel knew: got %+v", b)
		} else if kept := k.at("192.168.1.5"); len(kept) != 1 || kept[0].ID != b.ID {
			t.Errorf("a binding is kept before it is used: got %+v", kept)
		}
		if len(f.probed) != 0 {
			t.Errorf("probed %v, want nothing: the kernel knew", f.probed)
		}

		f.probe = func(a netip.Addr) bool {
			go func() { // the device answers a moment later
				time.Sleep(3 * time.Millisecond)
				f.changes <- Change{Entries: []Entry{entry(a.String(), macTV)}}
			}()
			return true
		}
		start := time.Now()
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if b := l.Identify(addr("192.168.1.6")); b == nil || b.Device != "tv" {
					t.Errorf("the kernel had to resolve it: got %+v", b)
				}
			})
		}
		both.Wait()
		if took := time.Since(start); took > 10*time.Millisecond || len(f.probed) != 1 {
			t.Errorf("took %v and %d probes, want 3 ms and 1", took, len(f.probed))
		}

		f.probe = func(netip.Addr) bool { return true } // nobody answers
		start = time.Now()
		if b := l.Identify(addr("192.168.1.7")); b != nil {
			t.Errorf("nobody answered: got %+v", b)
		}
		if took := time.Since(start); took < identifyWait || took > 2*identifyWait {
			t.Errorf("nobody answered: waited %v, want %v", took, identifyWait)
		}
		f.probe = func(a netip.Addr) bool { // two devices answer, one right after the other
			go func() {
				time.Sleep(3 * time.Millisecond)
				f.changes <- Change{Entries: []Entry{entry(a.String(), macTV), entry(a.String(), macLaptop)}}
			}()
			return true
		}
		if b := l.Identify(addr("192.168.1.8")); b == nil || b.Device != "mac:"+macLaptop {
			t.Errorf("two devices answered: got %+v, want the later", b)
		}
		f.probe = nil // not on a link
		start = time.Now()
		if b := l.Identify(addr("10.9.9.9")); b != nil || time.Since(start) != 0 {
			t.Errorf("behind a router: got %+v after %v, want nothing at once", b, time.Since(start))
		}
		f.show(entry("192.168.1.7", macTV))
		wantDevice(t, l, "the neighbour came later", "192.168.1.7", "tv")
		if len(l.awaited) != 0 {
			t.Errorf("%d addresses are still awaited", len(l.awaited))
		}
		if err := l.Configure([]Device{{Name: "tv", Addresses: []netip.Addr{addr("192.168.1.5")}}}, Settings{}); err != nil || l.ByMAC() {
			t.Errorf("no device is configured by its MAC any more, and ByMAC says yes (%v)", err)
		}
	})
}

// Strangers who make up addresses cost a bounded number of questions.
func TestIdentifyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		l, _ := open(t, f, Options{Devices: []Device{{Name: "tv", MACs: []string{macTV}}}})
		for i := range 4 * askRate {
			l.Identify(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		}
		if f.asked > askRate || len(f.probed) > askRate {
			t.Errorf("%d questions and %d probes at once, want at most %d", f.asked, len(f.probed), askRate)
		}
	})
}

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		f.silent[addr("192.168.1.5")] = entry("192.168.1.5", macLaptop)
		l, k := open(t, f, Options{Devices: []Device{{Name: "guests", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}})
		b := l.Ask(addr("::ffff:192.168.1.5"))
		if b.Device != "mac:"+macLaptop || b.Addr != addr("192.168.1.5") {
			t.Errorf("the kernel knew: got %+v", b)
		}
		if reported := k.at("192.168.1.5"); len(reported) != 1 || reported[0].ID != b.ID {
			t.Errorf("a binding is kept before it is used: got %+v", reported)
		}
		bare := l.Ask(addr("192.168.1.6"))
		if bare.Device != "addr:192.168.1.6" || bare.Source != BareAddress {
			t.Errorf("the kernel did not know: got %+v", bare)
		}
		asked := f.asked
		if l.Ask(addr("192.168.1.6")) != bare || f.asked != asked {
			t.Error("a bound address is not asked for again")
		}
		if b := l.Ask(addr("10.1.2.3")); b.Device != "guests" || f.asked != asked {
			t.Errorf("a configured prefix needs no question: got %+v", b)
		}
		if b := l.Ask(netip.Addr{}); b == nil || b.Source != BareAddress {
			t.Errorf("no address at all: got %+v", b)
		}
		if got := l.Bind(addr("192.168.1.5")); got != b {
			t.Errorf("what is known needs no question: got %+v", got)
		}
		if b := l.Bind(addr("192.168.1.7")); b.Device != "addr:192.168.1.7" || b.Confidence != Low || f.asked != asked {
			t.Errorf("there was no time to ask: got %+v after %d questions, want %d", b, f.asked, asked)
		}
		time.Sleep(time.Second)
		if l.Lookup(addr("192.168.1.6")) != bare {
			t.Error("Lookup does not know what Ask bound")
		}
		f.show(entry("192.168.1.6", macTV))
		wantDevice(t, l, "the neighbour came later", "192.168.1.6", "mac:"+macTV)
		if bare.Device != "addr:192.168.1.6" {
			t.Error("history was relabelled")
		}
	})
}

func TestQuestionsToTheKernelAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		l, _ := open(t, f, Options{})
		for i := range 5000 {
			l.Ask(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		}
		if f.asked > askRate {
			t.Errorf("questions within one second: got %d, want at most %d", f.asked, askRate)
		}
	})
}

func TestConfigureLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop), entry("192.168.7.5", macTV))
		l, k := open(t, f, Options{})
		first := l.Lookup(addr("192.168.1.5"))
		steps := []struct {
			name    string
			devices []Device
			want    map[string]string
		}{
			{"naming a MAC", []Device{{Name: "laptop", MACs: []string{macLaptop}}},
				map[string]string{"192.168.1.5": "laptop", "192.168.7.5": "mac:" + macTV}},
			{"a prefix covers what is known and what is not", []Device{{Name: "laptop", MACs: []string{macLaptop}}, {Name: "lab", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}}},
				map[string]string{"192.168.1.5": "laptop", "192.168.7.5": "lab", "192.168.7.77": "lab", "192.168.8.1": ""}},
			{"an address within it", []Device{{Name: "nas", Addresses: []netip.Addr{addr("192.168.7.77")}}, {Name: "lab", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}}},
				map[string]string{"192.168.1.5": "mac:" + macLaptop, "192.168.7.5": "lab", "192.168.7.77": "nas"}},
			{"nothing is configured any more", nil,
				map[string]string{"192.168.1.5": "mac:" + macLaptop, "192.168.7.5": "mac:" + macTV, "192.168.7.6": "", "192.168.7.77": "addr:192.168.7.77"}},
		}
		for _, s := range steps {
			if err := l.Configure(s.devices, Settings{}); err != nil {
				t.Fatal(err)
			}
			for a, want := range s.want {
				wantDevice(t, l, s.name, a, want)
			}
		}
		if first.Device != "mac:"+macLaptop {
			t.Error("history was relabelled")
		}
		if err := l.Configure([]Device{{Name: "mac:x"}}, Settings{}); err == nil {
			t.Error("a mistake was accepted")
		}
		wantDevice(t, l, "after a mistake", "192.168.1.5", "mac:"+macLaptop)
		began, ended := make(map[uint64]int), make(map[uint64]int)
		for _, b := range k.bindings {
			if b.Until.IsZero() {
				began[b.ID]++
			} else {
				ended[b.ID]++
			}
		}
		for id, n := range ended {
			if n != 1 || began[id] != 1 {
				t.Errorf("binding %d: began %d times, ended %d times", id, began[id], n)
			}
		}
	})
}

func TestThisHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		f.first.Links = &Links{Own: []OwnAddress{{addr("192.168.1.2"), macTV}, {addr("fd00::2"), macTV}}}
		l, _ := open(t, f, Options{})
		for a, want := range map[string]Confidence{"127.0.0.1": High, "127.9.9.9": High, "::1": High, "192.168.1.2": Medium, "fd00::2": Medium} {
			if b := l.Lookup(addr(a)); b == nil || b.Device != "this-host" || b.Confidence != want {
				t.Errorf("%s: got %+v, want this host with %v confidence", a, b, want)
			}
		}
		f.change(Change{Links: &Links{Own: []OwnAddress{{addr("192.168.1.3"), macTV}}}})
		wantDevice(t, l, "a new address of this machine", "192.168.1.3", "this-host")
		if b := l.Lookup(addr("fd00::2")); b != nil && b.Device == "this-host" {
			t.Errorf("an address this machine left: got %+v", b)
		}
		if err := l.Configure([]Device{{Name: "server", MACs: []string{macTV}, Addresses: []netip.Addr{addr("127.0.0.5")}}}, Settings{}); err != nil {
			t.Fatal(err)
		}
		wantDevice(t, l, "this machine has a name", "192.168.1.3", "server")
		wantDevice(t, l, "a configured loopback address", "127.0.0.5", "server")
		wantDevice(t, l, "loopback", "127.0.0.1", "this-host")
	})
}

func TestARestartGoesOnWithTheSameBindings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := []Device{{Name: "lab", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, {Name: "nas", Addresses: []netip.Addr{addr("192.168.1.9")}}}
		f := newTable(entry("192.168.1.5", macLaptop), entry("192.168.1.6", macTV), entry("192.168.1.8", macPhone))
		l, k := open(t, f, Options{Devices: config})
		ids := make(map[string]uint64)
		for _, a := range []string{"127.0.0.1", "10.1.1.1", "192.168.1.5", "192.168.1.6", "192.168.1.8", "192.168.1.9"} {
			ids[a] = l.Lookup(addr(a)).ID
		}
		ids["203.0.113.1"] = l.Ask(addr("203.0.113.1")).ID
		l.Close()
		known := k.all()
		var largest uint64
		for _, b := range known {
			largest = max(largest, b.ID)
		}

		time.Sleep(time.Hour)
		f = newTable(entry("192.168.1.6", macLaptop), entry("192.168.1.8", macPhone)) // .5 has expired, .6 has another MAC
		l, k = open(t, f, Options{Devices: config, Known: known})
		for _, a := range []string{"127.0.0.1", "10.1.1.1", "192.168.1.5", "192.168.1.8", "192.168.1.9", "203.0.113.1"} {
			if b := l.Lookup(addr(a)); b == nil || b.ID != ids[a] {
				t.Errorf("%s: got %+v, want binding %d to go on", a, b, ids[a])
			}
		}
		if b := l.Lookup(addr("192.168.1.6")); b.ID <= largest || b.Device != "mac:"+macLaptop {
			t.Errorf("another MAC meanwhile: got %+v, want a new binding", b)
		}
		if reported := k.at("192.168.1.6"); len(reported) != 2 || reported[0].ID != ids["192.168.1.6"] || reported[0].Until.IsZero() {
			t.Errorf("reported: got %+v, want an end and a beginning", reported)
		}
		if n := len(k.bindings); n != 2 {
			t.Errorf("reported of %d bindings, want 2: what goes on is not new", n)
		}
		l.Close()

		time.Sleep(48 * time.Hour)
		l, _ = open(t, newTable(entry("192.168.1.8", macPhone)), Options{Devices: config, Known: known, NextID: 1000})
		if b := l.Lookup(addr("192.168.1.8")); b == nil || b.ID != ids["192.168.1.8"] {
			t.Errorf("two days later, the kernel says the same: got %+v, want binding %d to go on", b, ids["192.168.1.8"])
		}
		wantDevice(t, l, "two days later nothing is known", "192.168.1.5", "")
		if b := l.Ask(addr("192.168.1.5")); b.ID < 1000 {
			t.Errorf("id: got %d, want at least NextID", b.ID)
		}
	})
}

func TestABindingWhoseEndWasNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now().Add(-time.Hour)
		known := []Binding{
			{ID: 7, Device: "mac:" + macTV, Name: macTV, Addr: addr("192.168.1.5"), MAC: macTV, Source: Neighbour, Confidence: High, From: began},
			{ID: 5, Device: "mac:" + macLaptop, Name: macLaptop, Addr: addr("192.168.1.5"), MAC: macLaptop, Source: Neighbour, Confidence: High, From: began.Add(-time.Hour)},
		}
		l, k := open(t, newTable(), Options{Known: known})
		if b := l.Lookup(addr("192.168.1.5")); b == nil || b.ID != 7 {
			t.Errorf("got %+v, want the later binding to go on", b)
		}
		if reported := k.at("192.168.1.5"); len(reported) != 1 || reported[0].ID != 5 || !reported[0].Until.Equal(began) {
			t.Errorf("reported: got %+v, want the end of the earlier when the later began", reported)
		}
	})
}

// Of the bindings that ended before the start, the newest are kept for List, and no more.
func TestEndedBindingsOfEarlierRunsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var known []Binding
		for i := range maxPast + 10 {
			until := time.Now().Add(-time.Hour + time.Duration(i)*time.Millisecond)
			known = append(known, Binding{ID: uint64(i + 1), Device: "mac:" + macTV, Name: macTV, Addr: addr("192.168.1.5"), MAC: macTV, Source: Neighbour, Confidence: High, From: until.Add(-time.Minute), Until: until})
		}
		l, _ := open(t, newTable(), Options{Known: known})
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.past) != maxPast || l.past[0].ID != 11 {
			t.Errorf("got %d ended bindings from number %d on, want %d from 11 on", len(l.past), l.past[0].ID, maxPast)
		}
	})
}

// Neighbours that have another MAC each time use up the day's new bindings too, and
// it is said that there are none left.
func TestNeighboursThatChangeTheirMACsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const neighbours, most = 9, 10
		entries := func(round int) (all []Entry) {
			for i := range neighbours {
				all = append(all, entry(fmt.Sprintf("192.168.1.%d", 1+i), fmt.Sprintf("02:00:00:00:%02x:%02x", round, i)))
			}
			return all
		}
		f := newTable(entries(0)...)
		l, k := open(t, f, Options{MaxAddresses: most})
		for round := 1; round < 4; round++ {
			f.change(Change{Entries: entries(round)})
			time.Sleep(2 * time.Second)
		}
		l.Close()
		ids := map[uint64]bool{}
		for i := range neighbours {
			for _, b := range k.at(fmt.Sprintf("192.168.1.%d", 1+i)) {
				ids[b.ID] = true
			}
		}
		if len(ids) > neighbours+most+1 {
			t.Errorf("got %d bindings, want the first %d and %d new ones", len(ids), neighbours, most)
		}
		if n := k.reports("bindings-limited"); n != 1 {
			t.Errorf("got %d reports that bindings are limited, want 1", n)
		}
	})
}

func TestWithoutANeighbourTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop))
		f.setFailure(errors.New("no netlink in this sandbox"))
		l, k := open(t, f, Options{})
		if b := l.Ask(addr("192.168.1.5")); b.Device != "addr:192.168.1.5" {
			t.Errorf("got %+v, want the bare address", b)
		}
		time.Sleep(time.Hour)
		if n := k.reports("neighbours-unavailable"); n != 1 {
			t.Errorf("reports: got %d, want 1", n)
		}
		f.setFailure(nil)
		time.Sleep(2 * time.Minute)
		wantDevice(t, l, "the table can be read at last", "192.168.1.5", "mac:"+macLaptop)
		if n := k.reports("neighbours-back"); n != 1 {
			t.Errorf("reports: got %d, want 1", n)
		}
	})
}

func TestLostEventsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop))
		l, k := open(t, f, Options{})
		f.change(Change{Whole: true, Lost: true, Entries: []Entry{entry("192.168.1.6", macTV)}})
		wantDevice(t, l, "in the new table", "192.168.1.6", "mac:"+macTV)
		wantDevice(t, l, "not in it: an expired entry ends nothing", "192.168.1.5", "mac:"+macLaptop)
		if n := k.reports("neighbours-lost"); n != 1 {
			t.Errorf("reports: got %d, want 1", n)
		}
	})
}

func TestEntriesThatSayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", "00:00:00:00:00:00"), entry("192.168.1.6", "01:00:5e:00:00:01"), entry("192.168.1.7", "ff:ff:ff:ff:ff:ff"),
			entry("192.168.1.8", ""), entry("224.0.0.1", macTV), entry("ff02::1", macTV), entry("0.0.0.0", macTV), entry("127.0.0.1", macTV))
		l, _ := open(t, f, Options{})
		for _, a := range []string{"192.168.1.5", "192.168.1.6", "192.168.1.7", "192.168.1.8", "224.0.0.1", "ff02::1", "0.0.0.0"} {
			wantDevice(t, l, "not a device's entry", a, "")
		}
		wantDevice(t, l, "loopback is never a neighbour", "127.0.0.1", "this-host")
	})
}

func TestStrangersCannotFillTheBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop))
		l, k := open(t, f, Options{MaxAddresses: 1000})
		ids := make(map[uint64]bool)
		for i := range 5000 {
			b := l.Ask(netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)}))
			ids[b.ID] = true
		}
		if len(ids) > 1001 {
			t.Errorf("bindings of 5000 made-up addresses: got %d, want about 1000", len(ids))
		}
		if b := l.Ask(addr("fd00:1::1")); !b.Prefix.IsValid() || b.Confidence != Low {
			t.Errorf("one stranger too many: got %+v, want the binding of them all", b)
		}
		l.mu.Lock()
		n := len(l.addresses)
		l.mu.Unlock()
		if n > 1000 {
			t.Errorf("addresses held: got %d, want at most 1000", n)
		}
		wantDevice(t, l, "a neighbour stays", "192.168.1.5", "mac:"+macLaptop)
		time.Sleep(time.Second)
		for _, kind := range []string{"bindings-limited", "bindings-evicted"} {
			if n := k.reports(kind); n != 1 {
				t.Errorf("%s: got %d reports, want 1", kind, n)
			}
		}
		time.Sleep(25 * time.Hour)
		if b := l.Ask(addr("fd00:1::1")); b.Prefix.IsValid() {
			t.Errorf("a day later: got %+v, want its own binding", b)
		}
	})
}

func TestABindingIsKeptBeforeItIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l *Ledger
		kept := 0
		keep := func(b Binding) {
			if l == nil || !b.Until.IsZero() {
				return
			}
			kept++
			if seen := l.Lookup(b.Addr); seen != nil && seen.ID == b.ID {
				t.Errorf("%v: Lookup knew binding %d before the store did", b.Addr, b.ID)
			}
		}
		f := newTable()
		opened, _ := open(t, f, Options{Keep: keep})
		l = opened
		f.show(entry("192.168.1.5", macLaptop))
		f.show(entry("192.168.1.5", macTV))
		l.Ask(addr("192.168.1.6"))
		if err := l.Configure([]Device{{Name: "tv", MACs: []string{macTV}}}, Settings{}); err != nil {
			t.Fatal(err)
		}
		if kept != 4 {
			t.Errorf("bindings kept: got %d, want 4", kept)
		}
	})
}

func TestLookupLearnsWithin100Milliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		l, _ := open(t, f, Options{})
		for i := range 20 {
			a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
			f.changes <- Change{Entries: []Entry{{Addr: a, MAC: macOf(i + 1), Interface: 1}}}
			time.Sleep(publishEvery)
			synctest.Wait()
			if l.Lookup(a) == nil {
				t.Fatalf("%v is not known 100 ms after its neighbour was", a)
			}
		}
	})
}

func TestReportsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		l, k := open(t, f, Options{})
		for i := range 500 {
			a := fmt.Sprintf("fe80::%x", i+1)
			f.changes <- Change{Entries: []Entry{entry(a, macLaptop), entry(a, macTV).on(2)}}
		}
		time.Sleep(time.Second)
		if n := k.reports("address-contested"); n != 60 {
			t.Errorf("reports: got %d, want 60", n)
		}
		time.Sleep(2 * time.Minute)
		f.show(entry("fe80::f00", macLaptop), entry("fe80::f00", macTV).on(2))
		l.mu.Lock()
		withheld := l.withheld
		l.mu.Unlock()
		if n := k.reports("address-contested"); n != 61 || withheld != 0 {
			t.Errorf("minutes later: got %d reports, %d still withheld, want 61 and 0", n, withheld)
		}
	})
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{ConfiguredMAC.String(), "configured-mac"},
		{BareAddress.String(), "bare-address"},
		{ThisHost.String(), "this-host"},
		{Source(99).String(), "unknown"},
		{Low.String(), "low"},
		{High.String(), "high"},
		{Confidence(99).String(), "unknown"},
		{(&Binding{Addr: addr("10.0.0.1")}).Covers(), "10.0.0.1"},
		{(&Binding{Addr: addr("10.0.0.0"), Prefix: netip.MustParsePrefix("10.0.0.0/8")}).Covers(), "10.0.0.0/8"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macLaptop), entry("fd00::5", macLaptop))
		l, _ := open(t, f, Options{Devices: []Device{{Name: "laptop", MACs: []string{macLaptop}, Group: 2}, {Name: "absent", MACs: []string{macTV}}}})
		start := time.Now()
		time.Sleep(time.Minute)
		l.Lookup(addr("fd00::5"))
		f.show(entry("192.168.1.5", macPhone))
		list := l.List()
		var names []string
		for _, d := range list {
			names = append(names, d.Name)
		}
		if want := []string{macPhone, "absent", "laptop", "this-host"}; !reflect.DeepEqual(names, want) {
			t.Fatalf("devices: got %v, want %v", names, want)
		}
		laptop := list[2]
		if !laptop.Configured || laptop.Group != 2 || laptop.Source != ConfiguredMAC || laptop.Confidence != High || !laptop.First.Equal(start) ||
			laptop.Last.Sub(start) < 50*time.Second || len(laptop.Bindings) != 2 || !laptop.Bindings[0].Until.IsZero() || laptop.Bindings[1].Until.IsZero() {
			t.Errorf("laptop: got %+v", laptop)
		}
		if absent := list[1]; !absent.Configured || absent.Source != 0 || len(absent.Bindings) != 0 {
			t.Errorf("a device never seen: got %+v", absent)
		}
	})
}

func TestLookupAndLocalAllocateNothing(t *testing.T) {
	l, addresses := ledgerOf(t, 1000)
	for _, c := range []struct {
		name string
		call func()
	}{
		{"Lookup of a bound address", func() { l.Lookup(addresses[7]) }},
		{"Lookup of a mapped address", func() { l.Lookup(netip.AddrFrom16(addresses[8].As16())) }},
		{"Lookup of an unknown address", func() { l.Lookup(netip.AddrFrom4([4]byte{192, 0, 2, 1})) }},
		{"Lookup within a prefix", func() { l.Lookup(netip.AddrFrom4([4]byte{127, 0, 0, 1})) }},
		{"Local", func() { l.Local(addresses[9]) }},
	} {
		if n := testing.AllocsPerRun(1000, c.call); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func TestEverythingAtOnce(t *testing.T) {
	f := newTable()
	l, _ := open(t, f, Options{MaxAddresses: 500})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 300 {
				a := netip.AddrFrom4([4]byte{10, byte(g % 2), byte(i >> 4), byte(i)})
				l.Ask(a)
				l.Lookup(a)
				l.Local(a)
				switch {
				case g == 0 && i%50 == 0:
					l.List()
				case g == 1 && i%50 == 0:
					if err := l.Configure([]Device{{Name: fmt.Sprint("d", i), Prefixes: []netip.Prefix{netip.PrefixFrom(a, 24)}}}, Settings{}); err != nil {
						t.Error(err)
					}
				case g == 2:
					f.changes <- Change{Entries: []Entry{{Addr: a, MAC: macOf(i), Interface: 1}}, Links: &Links{OnLink: []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}}}
				}
			}
		})
	}
	all.Wait()
}

// Who has lost an address is not named any more, also before the next snapshot is published.
func TestWhoHasLostAnAddressIsNotNamedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.5", macTV), entry("192.168.1.6", macTV))
		l, _ := open(t, f, Options{Devices: []Device{{Name: "tv", MACs: []string{macTV}}}})
		f.changes <- Change{Entries: []Entry{entry("192.168.1.7", macLaptop)}} // is published, and the next change waits
		synctest.Wait()
		f.changes <- Change{Entries: []Entry{entry("192.168.1.5", macLaptop)}}
		synctest.Wait()
		if b := l.Lookup(addr("192.168.1.5")); b != nil && b.MAC != macLaptop {
			t.Errorf("got %+v, which has the address no more", b)
		}
		if b := l.Forwarded([6]byte{}, false, addr("192.168.1.5")); b == nil || b.MAC != macLaptop {
			t.Errorf("behind a forwarder: got %+v", b)
		}
		if b := l.Identify(addr("192.168.1.5")); b == nil || b.MAC != macLaptop {
			t.Errorf("got %+v, want who has the address", b)
		}
		wantDevice(t, l, "its other address", "192.168.1.6", "tv")
	})
}
