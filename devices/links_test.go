package devices

import (
	"net/netip"
	"testing"
	"testing/synctest"
)

func TestLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		f.first.Links = &Links{OnLink: []netip.Prefix{netip.MustParsePrefix("2001:db8:1:2::7/64"), netip.MustParsePrefix("2001:db8:9::1/128"), netip.MustParsePrefix("2000::/3"), netip.MustParsePrefix("198.51.100.0/24")}}
		l, _ := open(t, f, Options{})
		check := func(when string, facts map[string]bool) {
			t.Helper()
			for a, want := range facts {
				if got := l.Local(addr(a)); got != want {
					t.Errorf("%s: %s: got %v, want %v", when, a, got, want)
				}
			}
		}
		check("at first", map[string]bool{
			"127.0.0.1": true, "::1": true, "10.1.2.3": true, "172.16.0.1": true, "172.32.0.1": false, "192.168.1.1": true,
			"169.254.1.1": true, "fe80::1": true, "fe80::1%eth0": true, "fd00::1": true, "fc00::1": true, "::ffff:192.168.1.1": true,
			"8.8.8.8": false, "::ffff:8.8.8.8": false, "100.64.0.1": false, "0.0.0.0": false, "::": false, "224.0.0.1": false, "ff02::1": false,
			"2001:db8:1:2::99": true, "2001:db8:1:3::1": false, // the prefix of a link, and one beside it
			"2001:db8:9::1": true, "2001:db8:9::2": false, // one address
			"2001:db8:ffff::1": false, // 2000::/3 is no link
			"198.51.100.7":     false, // public IPv4 never
		})
		f.change(Change{Links: &Links{OnLink: []netip.Prefix{netip.MustParsePrefix("2001:db8:1:3::/64")}}})
		check("after the prefix changed", map[string]bool{"2001:db8:1:2::99": false, "2001:db8:1:3::1": true})
		if l.Local(netip.Addr{}) {
			t.Error("no address is local")
		}
	})
}

func TestInterfaceLinks(t *testing.T) {
	links, ok := interfaceLinks()
	if !ok {
		t.Skip("interfaces cannot be read here")
	}
	for _, o := range links.Own {
		if o.Addr.IsLoopback() || !o.Addr.IsValid() {
			t.Errorf("an own address: got %v", o.Addr)
		}
	}
}
