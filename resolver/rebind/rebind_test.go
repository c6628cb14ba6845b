package rebind

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"telltale/dnswire"
)

func TestPrivateAddresses(t *testing.T) {
	for _, test := range []struct {
		addr string
		want bool
	}{
		{"192.168.1.1", true}, {"10.0.0.1", true}, {"172.16.0.1", true}, {"172.32.0.1", false}, {"169.254.1.1", true}, {"127.0.0.1", true}, {"127.9.9.9", true},
		{"100.64.0.1", true}, {"100.127.255.255", true}, {"100.128.0.1", false}, {"192.0.2.1", false}, {"8.8.8.8", false},
		{"0.0.0.0", false}, {"::", false}, // how servers that filter say no
		{"::1", true}, {"fe80::1", true}, {"fd00::1", true}, {"fc00::1", true}, {"fec0::1", true}, {"2001:db8::1", false},
		{"::ffff:192.168.1.1", true}, {"::ffff:8.8.8.8", false},
		{"::192.168.1.1", true}, {"::8.8.8.8", false},
		{"::ffff:0:192.168.1.1", true}, {"::ffff:0:8.8.8.8", false},
		{"64:ff9b::192.168.1.1", true}, {"64:ff9b::8.8.8.8", false},
		{"64:ff9b:1::192.168.1.1", true}, {"64:ff9b:1::8.8.8.8", false}, {"64:ff9b:1:abcd::10.0.0.1", true},
		{"64:ff9b:1:c0a8:1:100::", true},        // 192.168.1.1 behind a prefix of 48 bits,
		{"64:ff9b:1:ffc0:a8:101::", true},       // of 56,
		{"64:ff9b:1:ffff:c0:a801:100::", true},  // of 64
		{"64:ff9b:1:808:8:800::", false},        // 8.8.8.8 behind one of 48
		{"64:ff9b:1:c0a8:1:101:808:808", false}, // 8.8.8.8 behind one of 96: what is before it is no address
		{"2002:c0a8:101::1", true}, {"2002:808:808::1", false},
	} {
		if got := IsPrivate(netip.MustParseAddr(test.addr)); got != test.want {
			t.Errorf("%s: private %v, want %v", test.addr, got, test.want)
		}
	}
}

func TestWhoMayLeadInside(t *testing.T) {
	p, err := New([]string{"corp.example.com", "intern.example.net."})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, addrs string
		inside      bool
		want        Reason
	}{
		{"evil.com", "192.168.1.1", false, Refused},
		{"evil.com", "192.168.1.1", true, Refused},
		{"evil.com", "8.8.8.8 192.168.1.1", false, Refused},
		{"evil.duckdns.org", "192.168.1.1", false, Refused}, // anybody may have a name there
		{"nas.lan", "192.168.1.9", false, NotPublic},
		{"nas.home.arpa", "192.168.1.9", true, NotPublic},
		{"server.internal", "10.0.0.1", false, NotPublic},
		{"corp.example.com", "10.0.0.1", false, Allowed},
		{"a.b.corp.example.com", "10.0.0.1", false, Allowed},
		{"notcorp.example.com", "10.0.0.1", false, Refused},
		{"x.intern.example.net", "10.0.0.1", false, Allowed},
		{"192-168-1-20.0123456789abcdef.plex.direct", "192.168.1.20", false, ByDesign},
		{"plex.direct.evil.com", "192.168.1.20", false, Refused},
		{"dns.msftncsi.com", "fd3e:4f5a:5b81::1", false, ByDesign},
		{"dns.msftncsi.com", "fd3e:4f5a:5b81::2", false, Refused},
		{"x.dns.msftncsi.com", "fd3e:4f5a:5b81::1", false, Refused},
		{"laptop.tail1234.ts.net", "100.101.102.103", false, ByDesign},
		{"laptop.tail1234.ts.net", "192.168.1.1", false, Refused},
		{"fritz.box", "192.168.178.1", true, OfRouter},
		{"nas.fritz.box", "192.168.178.20", true, OfRouter},
		{"fritz.box", "192.168.178.1", false, Refused}, // from outside it is a stranger's
		{"shop.com.dbl.spamhaus.org", "127.0.1.2", false, ByDesign},
		{"shop.com.dbl.spamhaus.org", "127.0.0.1", false, Refused},
		{"shop.com.dbl.spamhaus.org", "192.168.1.1", false, Refused},
		{"shop.com.dbl.lists.org", "127.0.1.2", false, Refused}, // for rebind.allow
		{"4z9p5tjmcbnblehp4557z1d136.avqs.mcafee.com", "127.0.4.8", false, ByDesign},
		{"2.0.0.127.dbl.lists.org", "127.0.0.2", false, DNSList},
		{"1.2.3.4.evil.com", "127.0.0.1", false, Refused}, // a written address is no key to this machine
		{"1.2.3.4.evil.com", "127.0.0.2 127.0.0.1", false, Refused},
		{"1.2.3.4.evil.com", "192.168.1.1", false, Refused},
		{"1.2.3.4.com", "127.0.0.2", false, Refused},
		{"1.2.3.400.evil.com", "127.0.0.2", false, Refused},
		{"2.0.0.127.dbl.lists.org", "::ffff:127.0.0.2", false, DNSList},
		{"2.0.0.127.dbl.lists.org", "64:ff9b::127.0.0.2", false, Refused},
		{strings.Repeat("a.", 32) + "v6.lists.org", "127.0.0.2", false, DNSList},
		{strings.Repeat("g.", 32) + "v6.lists.org", "127.0.0.2", false, Refused},
	} {
		name, err := dnswire.ParseName(test.name)
		if err != nil {
			t.Fatal(err)
		}
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(test.addrs) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		if got := p.Judge(&name, slices.Values(addrs), test.inside); got != test.want {
			t.Errorf("%s to %s, inside %v: %v, want %v", test.name, test.addrs, test.inside, got, test.want)
		}
	}
	all, err := New([]string{"."})
	if err != nil {
		t.Fatal(err)
	}
	name, _ := dnswire.ParseName("evil.com")
	if got := all.Judge(&name, slices.Values([]netip.Addr{netip.MustParseAddr("10.0.0.1")}), false); got != Allowed {
		t.Errorf("all are allowed: got %v", got)
	}
}

// Each exception names a domain, is found, and says where it is known from.
func TestExceptionsAreSourced(t *testing.T) {
	for i := range exceptions {
		e := &exceptions[i]
		name, err := dnswire.ParseName(e.domain)
		if err != nil || known(&name) != e || !isPublic(&name) {
			t.Errorf("%s: found %v, %v; want a public name that is there once", e.domain, known(&name), err)
		}
		if u, err := url.Parse(e.source); err != nil || u.Scheme != "https" || u.Host == "" {
			t.Errorf("%s: source %q is no address of a page", e.domain, e.source)
		}
		if slices.ContainsFunc(e.addresses, func(p netip.Prefix) bool { return !IsPrivate(p.Addr()) }) {
			t.Errorf("%s: %v are not all private", e.domain, e.addresses)
		}
	}
}
