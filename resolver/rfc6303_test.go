package resolver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/resolver/upstream"
)

// zonesOfRFC6303 are all zones of RFC 6303, 4.1 to 4.6, those that RFC 7793 adds, and
// home.arpa (RFC 8375).
func zonesOfRFC6303() []string {
	zones := []string{
		"10.in-addr.arpa", "168.192.in-addr.arpa",
		"0.in-addr.arpa", "127.in-addr.arpa", "254.169.in-addr.arpa", "2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa",
		"113.0.203.in-addr.arpa", "255.255.255.255.in-addr.arpa",
		strings.Repeat("0.", 32) + "ip6.arpa", "1." + strings.Repeat("0.", 31) + "ip6.arpa",
		"d.f.ip6.arpa", "8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa",
		"home.arpa",
	}
	for i := 16; i <= 31; i++ {
		zones = append(zones, fmt.Sprintf("%d.172.in-addr.arpa", i))
	}
	for i := 64; i <= 127; i++ {
		zones = append(zones, fmt.Sprintf("%d.100.in-addr.arpa", i))
	}
	return zones
}

// No name of these zones is for a public server: it is asked of servers with a private
// address alone, and where there is none it does not exist.
func TestAllZonesOfRFC6303StayInTheNetwork(t *testing.T) {
	for _, zone := range zonesOfRFC6303() {
		for _, name := range []string{zone, "1." + zone, "b._dns-sd._udp." + zone} {
			n, err := dnswire.ParseName(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, typ := range []uint16{dns.TypePTR, dns.TypeSOA, dns.TypeA} {
				if one := strings.HasSuffix(zone, strings.Repeat("0.", 31)+"ip6.arpa"); one && (name != zone || zone[0] == '1' && typ == dns.TypePTR) {
					continue // one address has no names below, and that of localhost is answered here
				}
				if got := SpecialOf(&n, typ, blocklists.Pass, &Settings{}, true, upstream.DeviceZones{}); got.Reply != PrivateOnly {
					t.Errorf("%s %s with a private upstream: %+v, want that only such are asked", name, dns.TypeToString[typ], got)
				}
				if got := SpecialOf(&n, typ, blocklists.Pass, &Settings{}, false, upstream.DeviceZones{}); got.Rule == 0 || got.Reply != NameError {
					t.Errorf("%s %s without one: %+v, want NXDOMAIN", name, dns.TypeToString[typ], got)
				}
			}
		}
	}
	for _, name := range []string{
		"15.172.in-addr.arpa", "32.172.in-addr.arpa", "63.100.in-addr.arpa", "128.100.in-addr.arpa", "9.in-addr.arpa", "11.in-addr.arpa",
		"3.0.192.in-addr.arpa", "167.192.in-addr.arpa", "254.255.255.255.in-addr.arpa", "c.e.f.ip6.arpa", "7.e.f.ip6.arpa", "e.f.ip6.arpa",
		"9.b.d.0.1.0.0.2.ip6.arpa", "arpa", "in-addr.arpa", "ip6.arpa", "xhome.arpa",
	} {
		n, err := dnswire.ParseName(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := SpecialOf(&n, dns.TypePTR, blocklists.Pass, &Settings{}, true, upstream.DeviceZones{}); got != (Special{}) {
			t.Errorf("%s: %+v, want that it is asked of anybody", name, got)
		}
	}
}
