package resolver

import (
	"net/netip"
	"testing"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/resolver/upstream"
)

func TestSpecialOf(t *testing.T) {
	const block, local = blocklists.Block, blocklists.Answer
	zones, err := upstream.NewZones([]upstream.Forward{{
		Zones:   []string{"corp.test", "office.local", "home.arpa", "168.192.in-addr.arpa", "localhost"},
		Servers: []upstream.Server{{Addr: netip.MustParseAddrPort("192.168.1.1:53")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	forward := Settings{ForwardTest: true, ForwardLocal: true, ForwardCanaries: true}
	for _, c := range []struct {
		fact    string
		name    string
		typ     uint16
		lists   blocklists.Action
		set     Settings
		private bool
		zones   *upstream.Zones
		want    Special
	}{
		{fact: "localhost is this machine", name: "localhost", want: Special{blocklists.SpecialLocalhost, Loopback}},
		{fact: "a list cannot block localhost", name: "a.localhost", lists: block, want: Special{blocklists.SpecialLocalhost, Loopback}},
		{fact: "a local record cannot move localhost", name: "localhost", lists: local, want: Special{blocklists.SpecialLocalhost, Loopback}},
		{fact: "onion never exists", name: "foo.onion", lists: local, want: Special{blocklists.SpecialOnion, NameError}},
		{fact: "alt never exists", name: "foo.alt", want: Special{blocklists.SpecialAlt, NameError}},
		{fact: "invalid never exists", name: "foo.invalid", want: Special{blocklists.SpecialInvalid, NameError}},
		{fact: "but the name a health check asks for", name: HealthName, typ: dnswire.TypeTXT, want: Special{blocklists.SpecialServer, Health}},
		{fact: "which has a text alone", name: HealthName, typ: dnswire.TypeA, want: Special{blocklists.SpecialInvalid, NameError}},
		{fact: "test does not exist, listed or not", name: "a.test", lists: block, want: Special{blocklists.SpecialTest, NameError}},
		{fact: "unless it is forwarded", name: "a.test", set: forward},
		{fact: "or has a local record", name: "a.test", lists: local},
		{fact: "local is not for DNS", name: "printer.local", want: Special{blocklists.SpecialLocal, NameError}},
		{fact: "unless it is forwarded, too", name: "printer.local", set: forward},
		{fact: "a canary is dead", name: "use-application-dns.net", want: Special{blocklists.SpecialCanary, NameError}},
		{fact: "unless canaries are forwarded", name: "mask.icloud.com", set: forward},
		{fact: "a name below a canary is none", name: "x.mask.icloud.com"},
		{fact: "resolver.arpa has nothing", name: "_dns.resolver.arpa", lists: block, want: Special{blocklists.SpecialResolverArpa, NoData}},
		{fact: "unless it has a local record", name: "_dns.resolver.arpa", lists: local},
		{fact: "or says how this server can be asked", name: "_dns.resolver.arpa", typ: dnswire.TypeSVCB, set: Settings{Designated: true}, want: Special{blocklists.SpecialResolverArpa, Designated}},
		{fact: "which no other type does", name: "_dns.resolver.arpa", typ: dnswire.TypeA, set: Settings{Designated: true}, want: Special{blocklists.SpecialResolverArpa, NoData}},
		{fact: "a canary may have a local record", name: "mask.icloud.com", lists: local},
		{fact: "home.arpa does not exist without a private upstream", name: "nas.home.arpa", want: Special{blocklists.SpecialHomeArpa, NameError}},
		{fact: "home.arpa is asked of a private upstream alone", name: "nas.home.arpa", private: true, want: Special{Reply: PrivateOnly}},
		{fact: "a list may block home.arpa", name: "nas.home.arpa", lists: block},
		{fact: "a private reverse zone does not exist either", name: "9.1.168.192.in-addr.arpa", typ: dnswire.TypePTR, want: Special{blocklists.SpecialPrivateReverse, NameError}},
		{fact: "and is asked of a private upstream", name: "9.1.168.192.in-addr.arpa", typ: dnswire.TypePTR, private: true, want: Special{Reply: PrivateOnly}},
		{fact: "a local record has its reverse", name: "9.1.168.192.in-addr.arpa", typ: dnswire.TypePTR, lists: local},
		{fact: "127.0.0.1 is localhost", name: "1.0.0.127.in-addr.arpa", typ: dnswire.TypePTR, private: true, want: Special{blocklists.SpecialLocalhost, Loopback}},
		{fact: "a public reverse zone is like any other", name: "8.8.8.8.in-addr.arpa", typ: dnswire.TypePTR},
		{fact: "a zone of test may be forwarded", name: "a.corp.test", zones: zones},
		{fact: "and the rest of test does not exist", name: "a.test", zones: zones, want: Special{blocklists.SpecialTest, NameError}},
		{fact: "a zone of local may be forwarded", name: "office.local", zones: zones},
		{fact: "and the rest of local does not exist", name: "printer.local", zones: zones, want: Special{blocklists.SpecialLocal, NameError}},
		{fact: "home.arpa is asked where it is forwarded", name: "nas.home.arpa", zones: zones},
		{fact: "and of no other private upstream", name: "nas.home.arpa", private: true, zones: zones},
		{fact: "a private reverse zone is asked where it is forwarded", name: "9.1.168.192.in-addr.arpa", typ: dnswire.TypePTR, zones: zones},
		{fact: "another one does not exist", name: "9.1.0.10.in-addr.arpa", typ: dnswire.TypePTR, zones: zones, want: Special{blocklists.SpecialPrivateReverse, NameError}},
		{fact: "localhost cannot be forwarded", name: "localhost", zones: zones, want: Special{blocklists.SpecialLocalhost, Loopback}},
		{fact: "any other name is not special", name: "onion.example", lists: block},
	} {
		t.Run(c.fact, func(t *testing.T) {
			if c.typ == 0 {
				c.typ = dnswire.TypeA
			}
			n, err := dnswire.ParseName(c.name)
			if err != nil {
				t.Fatal(err)
			}
			if got := SpecialOf(&n, c.typ, c.lists, &c.set, c.private, c.zones.Of(0)); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if c.want != (Special{}) && isOrdinary(&n) {
				t.Error("it is taken for a name like any other")
			}
		})
	}
}

func TestUpstreamsHavePrivateOnes(t *testing.T) {
	self := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
	for _, c := range []struct {
		upstream string
		want     bool
	}{
		{"192.168.1.1:53", true}, {"[fe80::1]:53", true}, {"9.9.9.9:53", false}, {"127.0.0.1:53", false}, {"127.0.0.1:5353", true},
	} {
		o := upstream.Options{Servers: []upstream.Server{{Addr: netip.MustParseAddrPort(c.upstream)}}}
		if got := o.HasPrivate(self); got != c.want {
			t.Errorf("%s: got %t, want %t", c.upstream, got, c.want)
		}
	}
}
