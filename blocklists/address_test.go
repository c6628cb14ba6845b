package blocklists

import (
	"net/netip"
	"testing"

	"telltale/dnswire"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestDecideAddress(t *testing.T) {
	p := policyOf(t, Options{Dir: files(t, map[string]string{
		"zone.txt": "$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\n24.0.2.0.192.rpz-ip CNAME .\n32.7.2.0.192.rpz-ip CNAME rpz-passthru.\n48.zz.1.db8.2001.rpz-ip CNAME *.\n",
	})})
	for _, c := range []struct{ fact, addr, want string }{
		{"an address in a listed prefix", "192.0.2.9", "block"},
		{"an address in no listed prefix", "192.0.3.9", "pass"},
		{"an exception of a longer prefix", "192.0.2.7", "pass"},
		{"IPv4 inside IPv6", "::ffff:192.0.2.9", "block"},
		{"IPv6", "2001:db8:1::5", "block"},
		{"IPv6 with a zone", "2001:db8:1::5%eth0", "block"},
		{"IPv6 elsewhere", "2001:db8:2::5", "pass"},
	} {
		t.Run(c.fact, func(t *testing.T) {
			n := name(t, "www.example")
			v, decides := p.DecideAddress(p.Decide(n, dnswire.TypeA, 0), n, addr(c.addr), dnswire.TypeA, 0)
			if got := v.Action.String(); got != c.want || decides != (got == "block") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	var none *Policy
	n := name(t, "www.example")
	if v, decides := none.DecideAddress(Verdict{}, n, addr("192.0.2.9"), dnswire.TypeA, 0); v.Action != Pass || decides {
		t.Errorf("no policy: got %v, want pass", v.Action)
	}
}
