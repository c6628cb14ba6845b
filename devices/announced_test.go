package devices

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale/devices/announce"
	"telltale/devices/leases"
)

var homeLink = netip.MustParsePrefix("192.168.1.0/24")

// says lets an address say something to its link. Only within synctest.
func (l *Ledger) says(from string, m announce.Message) {
	l.hear(addr(from), &m, func(a netip.Addr) bool { return homeLink.Contains(a) || a.IsLinkLocalUnicast() })
	time.Sleep(2 * publishEvery)
	synctest.Wait()
}

// host is a message of a host's name, and of what else it says.
func host(name, at string, services ...string) announce.Message {
	return announce.Message{Hosts: []announce.Host{{Name: name, Addr: addr(at)}}, Services: services}
}

func wantName(t *testing.T, l *Ledger, fact, at, want string) {
	t.Helper()
	if b := l.Lookup(addr(at)); b == nil || b.Name != want {
		t.Errorf("%s: %s is shown as %+v, want %q", fact, at, b, want)
	}
}

func TestDevicesAreShownByTheNamesThatTheyAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.20", macTV), entry("fe80::20", macTV), entry("192.168.1.5", macLaptop))
		l, _ := open(t, f, Options{})
		l.says("192.168.1.20", host("Bravia", "192.168.1.20", "_airplay._tcp"))
		wantName(t, l, "by its host name", "192.168.1.20", "Bravia ("+macTV[9:]+")")
		wantName(t, l, "all its addresses", "fe80::20", "Bravia ("+macTV[9:]+")")
		wantDevice(t, l, "a name is no identity", "192.168.1.20", "mac:"+macTV)
		l.says("fe80::20", announce.Message{Names: []string{"Living Room"}, Models: []string{"BRAVIA 4K"}, Services: []string{"_googlecast._tcp"}})
		l.says("fe80::20", host("Bravia", "192.168.1.20")) // of the same MAC
		want := map[netip.Addr]Announced{
			addr("192.168.1.20"): {Names: []string{"Bravia"}, Services: []string{"_airplay._tcp"}},
			addr("fe80::20"):     {Names: []string{"Living Room", "Bravia"}, Models: []string{"BRAVIA 4K"}, Services: []string{"_googlecast._tcp"}},
		}
		got := l.Announced()
		for a, n := range got {
			if n.Heard.IsZero() {
				t.Errorf("%s: it is not said when it was heard", a)
			}
			n.Heard = time.Time{}
			got[a] = n
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		wantName(t, l, "a name stands for an hour", "192.168.1.20", "Bravia ("+macTV[9:]+")")
		time.Sleep(2 * time.Hour)
		l.Lookup(addr("192.168.1.20"))
		l.says("fe80::20", announce.Message{Names: []string{"Living Room"}})
		wantName(t, l, "what people call it", "192.168.1.20", "Living Room ("+macTV[9:]+")")
		time.Sleep(25 * time.Hour)
		if got := l.Announced(); len(got) != 0 {
			t.Errorf("after a day of silence: got %+v", got)
		}
	})
}

func TestALeaseNamesADeviceBetterThanItsAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, newTable(entry("192.168.1.20", macTV)), Options{})
		l.says("192.168.1.20", host("bravia", "192.168.1.20"))
		l.leased("192.168.1.20", macTV, "tv-of-the-lease")
		wantName(t, l, "the lease's", "192.168.1.20", "tv-of-the-lease ("+macTV[9:]+")")
		time.Sleep(25 * time.Hour)
		l.says("192.168.1.20", host("bravia", "192.168.1.20"))
		wantName(t, l, "the lease's still", "192.168.1.20", "tv-of-the-lease ("+macTV[9:]+")")
	})
}

// leased gives an address to a MAC, as a lease file does.
func (l *Ledger) leased(at, mac, host string) {
	l.mu.Lock()
	l.applyLease(addr(at), &lease{mac: mac, host: leases.HostName(host), file: "test"}, l.currentTick())
	l.mu.Unlock()
	l.wakePublisher()
	time.Sleep(2 * publishEvery)
	synctest.Wait()
}

func TestADeviceThatIsKnownLaterHasTheNameItAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		l, _ := open(t, f, Options{})
		l.says("192.168.1.20", host("bravia", "192.168.1.20"))
		f.show(entry("192.168.1.20", macTV))
		wantName(t, l, "now it is in the neighbour table", "192.168.1.20", "bravia ("+macTV[9:]+")")
		f.show(entry("192.168.1.20", macLaptop))
		wantName(t, l, "another device has the address", "192.168.1.20", macLaptop)
		if got := l.Announced(); len(got) != 0 {
			t.Errorf("what the device before it said: got %+v", got)
		}
	})
}

func TestNobodyTakesTheNameOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const macLiar = "00:1b:21:00:00:66"
		f := newTable(entry("192.168.1.20", macTV), entry("192.168.1.5", macLaptop), entry("192.168.1.66", macLiar), entry("192.168.1.7", "00:1b:21:00:00:07"))
		l, k := open(t, f, Options{Devices: []Device{{Name: "Anna's phone", MACs: []string{macLaptop}}}})
		l.leased("192.168.1.7", "00:1b:21:00:00:07", "nas")
		l.says("192.168.1.20", host("Bravia", "192.168.1.20"))
		for _, name := range []string{"bravia", "annas-phone", "NAS"} {
			l.says("192.168.1.66", host(name, "192.168.1.66"))
		}
		l.says("192.168.1.66", host("evil", "192.168.1.20"))
		wantName(t, l, "who claims names", "192.168.1.66", macLiar)
		wantDevice(t, l, "who claims names", "192.168.1.66", "mac:"+macLiar)
		wantName(t, l, "whose name was claimed", "192.168.1.20", "Bravia ("+macTV[9:]+")")
		wantName(t, l, "whose name was claimed", "192.168.1.5", "Anna's phone")
		want := []Claim{{"evil", "mac:" + macTV, true}, {"NAS", "mac:00:1b:21:00:00:07", false}, {"annas-phone", "Anna's phone", false}, {"bravia", "mac:" + macTV, false}}
		if got := l.Announced()[addr("192.168.1.66")].Claims; !reflect.DeepEqual(got, want) {
			t.Errorf("claims are %+v, want %+v", got, want)
		}
		if n := k.reports("name-claimed"); n != 4 {
			t.Errorf("%d claims are in the ledger, want 4", n)
		}
		for i := range 100 {
			l.says("192.168.1.66", host(fmt.Sprint("x", i), "192.168.1.20"))
		}
		if n := k.reports("name-claimed"); n > 10 {
			t.Errorf("%d lines of the ledger for a flood of claims", n)
		}
		l.says("192.168.1.5", host("Annas-Phone", "192.168.1.5"))
		if got := l.Announced()[addr("192.168.1.5")].Claims; got != nil {
			t.Errorf("its own name: claims are %+v", got)
		}
		l.says("192.168.1.66", announce.Message{Hosts: []announce.Host{{Name: "bravia", Addr: addr("192.168.1.66")}, {Name: "honest", Addr: addr("192.168.1.66")}}})
		wantName(t, l, "its own name, beside one that it claims", "192.168.1.66", "honest ("+macLiar[9:]+")")
	})
}

func TestWhoPassesOnWhatOthersSayHasNoneOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const macReflector = "00:1b:21:00:00:99"
		l, _ := open(t, newTable(entry("192.168.1.9", macReflector)), Options{})
		l.says("192.168.1.9", announce.Message{Services: []string{"_ipp._tcp"}, Models: []string{"printer"}})
		l.says("192.168.1.9", host("printer", "10.0.0.7", "_ipp._tcp"))
		l.says("192.168.1.9", announce.Message{Services: []string{"_airplay._tcp"}})
		l.says("192.168.1.9", host("router", "192.168.1.9", "_ssh._tcp"))
		got := l.Announced()[addr("192.168.1.9")]
		if !got.Relays || len(got.Models) != 0 || !reflect.DeepEqual(got.Services, []string{"_ssh._tcp"}) || !reflect.DeepEqual(got.Names, []string{"router"}) {
			t.Errorf("got %+v, want what it said with its own address", got)
		}
		// A device that also says an address of a network of its own is none of these.
		l.says("192.168.1.10", announce.Message{Hosts: []announce.Host{{Name: "nas", Addr: addr("172.17.0.1")}, {Name: "nas", Addr: addr("192.168.1.10")}}, Services: []string{"_smb._tcp"}})
		if got := l.Announced()[addr("192.168.1.10")]; got.Relays || !reflect.DeepEqual(got.Services, []string{"_smb._tcp"}) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestNoNameForWhatHidesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.1", macTV), entry("192.168.1.5", macLaptop))
		f.first.Links = &Links{Gateways: []netip.Addr{addr("192.168.1.1")}, Own: []OwnAddress{{addr("192.168.1.2"), "00:1b:21:00:00:02"}}}
		l, _ := open(t, f, Options{})
		l.says("192.168.1.1", host("router", "192.168.1.1"))
		wantName(t, l, "the gateway", "192.168.1.1", macTV)
		l.says("192.168.1.2", host("telltale", "192.168.1.2"))
		if _, ok := l.Announced()[addr("192.168.1.2")]; ok {
			t.Error("what this machine says is kept")
		}
		l.says("192.168.1.5", host("telltale", "192.168.1.2"))
		if got := l.Announced()[addr("192.168.1.5")].Claims; !reflect.DeepEqual(got, []Claim{{"telltale", thisHost, true}}) {
			t.Errorf("claims are %+v", got)
		}
	})
}

func TestAFloodOfAnnouncersLeavesTheKnownOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, newTable(entry("192.168.1.20", macTV), entry("192.168.1.5", macLaptop)), Options{})
		l.says("192.168.1.20", host("bravia", "192.168.1.20"))
		long := strings.Repeat("x", 60)
		for i := range 3000 {
			m := announce.Message{}
			for k := range 40 {
				m.Services = append(m.Services, fmt.Sprint(long, k))
			}
			l.hear(netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}).Next(), &m, homeLink.Contains)
		}
		l.says("192.168.1.5", host("laptop", "192.168.1.5"))
		got := l.Announced()
		if len(got) > maxStrangers+2 || len(got[addr("192.168.1.20")].Names) == 0 || len(got[addr("192.168.1.5")].Names) == 0 {
			t.Errorf("%d addresses are kept, among them %+v and %+v", len(got), got[addr("192.168.1.20")], got[addr("192.168.1.5")])
		}
		for a, n := range got {
			if len(n.Services) > mostServices {
				t.Errorf("%s has %d services", a, len(n.Services))
			}
		}
		if l.AnnouncementStatus().Beyond == 0 {
			t.Error("those for which there was no room were not counted")
		}
		time.Sleep(time.Hour)
		l.says("192.168.1.99", host("new", "192.168.1.99"))
		if _, ok := l.Announced()[addr("192.168.1.99")]; !ok {
			t.Error("after an hour of silence there is no room for another one")
		}
	})
}

func TestForgettingReachesAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, newTable(entry("192.168.1.20", macTV), entry("192.168.1.5", macLaptop)), Options{})
		l.says("192.168.1.20", host("bravia", "192.168.1.20"))
		l.says("192.168.1.5", host("bravia", "192.168.1.5"))
		l.Forget(map[string]bool{"mac:" + macTV: true})
		got := l.Announced()
		if _, ok := got[addr("192.168.1.20")]; ok || len(got[addr("192.168.1.5")].Claims) != 0 {
			t.Errorf("got %+v", got)
		}
		l.says("192.168.1.5", host("bravia", "192.168.1.5"))
		wantName(t, l, "nobody else has the name any more", "192.168.1.5", "bravia ("+macLaptop[9:]+")")
	})
}
