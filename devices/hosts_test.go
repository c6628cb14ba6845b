package devices

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLabel(t *testing.T) {
	for name, want := range map[string]string{
		"tv": "tv", "Living room TV": "living-room-tv", "Anna's phone": "annas-phone", "Anna’s phone": "annas-phone", "TV (cellar)": "tv-cellar",
		"-a--b-": "a-b", "nas.lan": "nas-lan", "_x_": "x", "42": "42", "Küche": "xn--kche-0ra", "客厅电视": "xn--imrr2qhlwzzs",
		"!!!": "", "": "", "xn--": "xn", strings.Repeat("a", 70): strings.Repeat("a", 63), strings.Repeat("a", 62) + " b c": strings.Repeat("a", 62),
		strings.Repeat("ü", 63): "",
	} {
		if got := Label(name); got != want {
			t.Errorf("Label(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestHostsAreTheAddressesThatDevicesHoldNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tv, repeater = "06:00:00:00:00:01", "06:00:00:00:00:02"
		f := newTable(entry("192.168.1.10", tv), entry("fd00::10", tv), entry("fe80::10", tv),
			entry("192.168.1.20", repeater), entry("192.168.1.21", repeater), entry("192.168.1.30", "06:00:00:00:00:03"))
		f.first.Links = &Links{Gateways: []netip.Addr{addr("192.168.1.20")}}
		l, _ := open(t, f, Options{Devices: []Device{
			{Name: "TV", MACs: []string{tv}, Addresses: []netip.Addr{addr("192.168.1.9")}},
			{Name: "Repeater", MACs: []string{repeater}},
			{Name: "Lab", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.9.0/24")}},
			{Name: "Here", Addresses: []netip.Addr{addr("127.0.0.5"), addr("fe80::5")}},
		}})
		wantHosts(t, l, "192.168.1.10 tv.lan", "192.168.1.9 tv.lan", "fd00::10 tv.lan")
		f.show(gone("192.168.1.10"), entry("192.168.1.10", "06:00:00:00:00:03"), entry("192.168.1.11", tv))
		wantHosts(t, l, "192.168.1.11 tv.lan", "192.168.1.9 tv.lan", "fd00::10 tv.lan")
		if err := l.Configure([]Device{{Name: "other", MACs: []string{tv}}}, Settings{}); err != nil {
			t.Fatal(err)
		}
		wantHosts(t, l, "192.168.1.11 other.lan", "fd00::10 other.lan")
	})
}

func TestADeviceOfManyAddressesHasTheNewest(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var all []Binding
	for i := range 9 {
		all = append(all, Binding{Device: "tv", Source: ConfiguredMAC, Confidence: High, From: now.Add(time.Duration(i) * time.Hour), Addr: addr("fd00::" + strconv.Itoa(i+1))})
	}
	config, err := configure([]Device{{Name: "tv", MACs: []string{"06:00:00:00:00:01"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hosts(config, all, "lan"), "fd00::6 tv.lan\nfd00::7 tv.lan\nfd00::8 tv.lan\nfd00::9 tv.lan\n"; got != want {
		t.Errorf("hosts are\n%s, want\n%s", got, want)
	}
}

func wantHosts(t *testing.T, l *Ledger, lines ...string) {
	t.Helper()
	if got, want := l.Hosts("lan"), strings.Join(lines, "\n")+"\n"; got != want {
		t.Errorf("hosts are\n%s, want\n%s", got, want)
	}
}
