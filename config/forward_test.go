package config

import (
	"slices"
	"strings"
	"testing"
)

func TestForwardZones(t *testing.T) {
	for text, want := range map[string]string{
		"lan": "lan", "Fritz.Box.": "fritz.box", "168.192.in-addr.arpa": "168.192.in-addr.arpa",
		"10.0.0.0/8": "10.in-addr.arpa", "192.168.178.0/24": "178.168.192.in-addr.arpa", "192.168.178.1": "1.178.168.192.in-addr.arpa",
		"172.16.0.0/14": "16.172.in-addr.arpa 17.172.in-addr.arpa 18.172.in-addr.arpa 19.172.in-addr.arpa",
		"172.17.3.4/15": "16.172.in-addr.arpa 17.172.in-addr.arpa",
		"0.0.0.0/0":     "in-addr.arpa",
		"2001:db8::/32": "8.b.d.0.1.0.0.2.ip6.arpa", "fd00::/8": "d.f.ip6.arpa",
		"fc00::/7": "c.f.ip6.arpa d.f.ip6.arpa",
	} {
		zone, ok := parseZone(text)
		f := Forward{Zones: []string{zone}}
		if got := strings.Join(f.Domains(), " "); !ok || got != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, ok, want)
		}
		if again, ok := parseZone(zone); again != zone || !ok {
			t.Errorf("%s: written as %s, and read as %s", text, zone, again)
		}
	}
	for _, text := range []string{"", ".", "a..b", "10.0.0.0/33", "a/8", strings.Repeat("a", 64)} {
		if got, ok := parseZone(text); ok {
			t.Errorf("%q: got %s, want none", text, got)
		}
	}
}

// Each reverse zone of a prefix holds an address of it, and the zones of the two halves
// of a prefix are those of the whole, or below it.
func TestReverseZonesOfHalves(t *testing.T) {
	for _, text := range []string{"10.0.0.0/8", "10.128.0.0/9", "192.168.4.0/22", "2001:db8::/33", "fc00::/7"} {
		p, _ := parsePrefix(text)
		whole := reverseZones(p)
		low, _ := p.Addr().Prefix(p.Bits() + 1)
		for _, zone := range reverseZones(low) {
			if !slices.ContainsFunc(whole, func(w string) bool { return zone == w || strings.HasSuffix(zone, "."+w) }) {
				t.Errorf("%s of %s is in none of %v", zone, low, whole)
			}
		}
	}
}

func TestForwardMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"[{zones: [lan], upstreams: []}]":                                                "telltale.yaml:1: forward[0]: no upstreams; expected at least one server in each entry",
		"[{zones: [], upstreams: [192.168.1.1]}]":                                        "telltale.yaml:1: forward[0]: no zones; expected at least one domain or prefix in each entry",
		"[{upstreams: [192.168.1.1]}]":                                                   "no zones",
		"[{zones: [lan]}]":                                                               "no upstreams",
		"[{zones: [.], upstreams: [192.168.1.1]}]":                                       "a domain such as lan",
		"[{zones: [lan], upstreams: [0.0.0.0]}]":                                         "the address and port of a resolver",
		"[{zones: [lan], upstreams: [fritz.box]}]":                                       "ADDRESS:PORT",
		"[{zones: [lan], upstreams: [192.168.1.1, '192.168.1.1:53']}]":                   "a second time",
		"[{zones: [lan, Lan.], upstreams: [192.168.1.1]}]":                               `telltale.yaml:1: forward[0].zones[1]: found "lan" a second time, first as forward[0].zones[0]`,
		"[{zones: [lan], upstreams: [10.0.0.1]}, {zones: [lan], upstreams: [10.0.0.2]}]": "forward[1].zones[0]",
		"[{zones: [10.0.0.0/8, 10.in-addr.arpa], upstreams: [10.0.0.1]}]":                "a second time",
		"[{zones: [lan], upstreams: [127.0.0.1]}]":                                       "telltale.yaml:1: forward[0].upstreams[0]: found \"127.0.0.1:53\", where this server itself listens (listen.dns)",
		"[{zones: [a.onion], upstreams: [10.0.0.1]}]":                                    "always answered here",
		"[{zones: [lan], upstreams: [10.0.0.1], trust: true}]":                           "no such setting",
	} {
		_, err := build("telltale.yaml", []byte("forward: "+text), nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
	if _, err := build("telltale.yaml", []byte("forward: [{zones: [lan], upstreams: ['127.0.0.1:5353', '[fd00::1]:53']}]"), nil, nil); err != nil {
		t.Error(err)
	}
}
