package blocklists

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"telltale/dnswire"
)

var clientCases = []struct {
	fact string
	rule string
	from string
	as   uint16 // settings
	want bool
}{
	{"an address", "$client=192.168.1.5", "192.168.1.5", 0, true},
	{"another address", "$client=192.168.1.5", "192.168.1.6", 0, false},
	{"a prefix", "$client=192.168.1.0/24", "192.168.1.6", 0, true},
	{"an address outside of a prefix", "$client=192.168.1.0/24", "192.168.2.6", 0, false},
	{"a prefix written with an address in it", "$client=192.168.1.7/24", "192.168.1.6", 0, true},
	{"an address of IPv6", "$client=2001:db8::5", "2001:db8::5", 0, true},
	{"a link-local address, whatever its zone", "$client=fe80::5", "fe80::5%eth0", 0, true},
	{"an address mapped into IPv6", "$client=192.168.1.5", "::ffff:192.168.1.5", 0, true},
	{"an address that is excluded", "$client=~192.168.1.5", "192.168.1.5", 0, false},
	{"all others where one is excluded", "$client=~192.168.1.5", "192.168.1.6", 0, true},
	{"a prefix but for an address", "$client=192.168.1.0/24|~192.168.1.5", "192.168.1.5", 0, false},
	{"the rest of that prefix", "$client=192.168.1.0/24|~192.168.1.5", "192.168.1.6", 0, true},
	{"who is not in it", "$client=192.168.1.0/24|~192.168.1.5", "192.168.2.6", 0, false},
	{"an address or a name: the address", "$client=tv|192.168.1.5", "192.168.1.5", 0, true},
	{"an address or a name: the name", "$client=tv|192.168.1.5", "192.168.9.9", 1, true},
	{"an address or a name: neither", "$client=tv|192.168.1.5", "192.168.9.9", 0, false},
	{"a device known by its MAC asks from the address", "$client=192.168.1.5", "192.168.1.5", 1, true},
	{"a device known by its MAC asks from an excluded address", "$client=~192.168.1.5", "192.168.1.5", 1, false},
	{"a device known by its MAC asks from another address", "$client=~192.168.1.5", "192.168.1.6", 1, true},
	{"an address but for a name", "$client=192.168.1.0/24|~tv", "192.168.1.5", 1, false},
	{"a device configured with the address, whatever it asks from", "$client=192.168.1.20", "fe80::20", 2, true},
	{"a device configured with an excluded address, whatever it asks from", "$client=~192.168.1.20", "fe80::20", 2, false},
	{"an address with a tag that it has", "$client=192.168.1.5,ctag=kids", "192.168.1.5", 1, true},
	{"an address with a tag that it has not", "$client=192.168.1.5,ctag=kids", "192.168.1.5", 0, false},
	{"nobody knows from where", "$client=192.168.1.0/24", "", 0, false},
}

func TestClientsByAddress(t *testing.T) {
	groups := []GroupSettings{
		{Name: "tv", ClientNames: []string{"tv"}, Tags: []string{"kids"}},
		{Name: "phone", ClientNames: []string{"phone"}, Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.1.20/32")}},
	}
	for _, c := range clientCases {
		// Other rules of other lists name ranges around and within, which must make no difference.
		dir := files(t, map[string]string{
			"a.txt": "||ads.example^" + c.rule + "\n",
			"b.txt": "||other.example^$client=192.168.0.0/16|192.168.1.4/31|~fe80::/10|2001:db8::/64\n",
		})
		p := policyOf(t, Options{Dir: dir, Groups: groups})
		from, _ := netip.ParseAddr(c.from)
		if got := p.Decide(name(t, "ads.example"), dnswire.TypeA, p.GroupOf(c.as, from)).Action == Block; got != c.want {
			t.Errorf("%s: %s from %s: got %v, want %v", c.fact, c.rule, c.from, got, c.want)
		}
	}
}

// holdsForClient is what $client means, word by word.
func holdsForClient(values []string, from netip.Addr, s *GroupSettings) bool {
	is := func(v string) bool {
		if prefix, err := netip.ParsePrefix(v); err == nil {
			return prefix.Contains(from)
		}
		if a, err := netip.ParseAddr(v); err == nil {
			return a == from
		}
		return v == s.Name
	}
	wanted, some := false, false
	for _, v := range values {
		if v, no := strings.CutPrefix(v, "~"); no {
			if is(v) {
				return false
			}
			continue
		}
		some = true
		wanted = wanted || is(v)
	}
	return wanted || !some
}

func TestClientsAgreeWithTheirTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	values := []string{"tv", "phone", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "10.1.2.4", "10.1.2.2/31", "0.0.0.0/0", "2001:db8::/32", "2001:db8::7", "::/0"}
	addrs := []string{"10.1.2.3", "10.1.2.4", "10.1.2.9", "10.1.9.9", "10.9.9.9", "192.0.2.1", "2001:db8::7", "2001:db8::8", "fe80::1"}
	groups := []GroupSettings{{Name: "tv"}, {Name: "phone"}}
	for range rounds(200) {
		var text strings.Builder
		rules := make([][]string, 6)
		for i := range rules {
			for range 1 + r.IntN(4) {
				v := values[r.IntN(len(values))]
				if r.IntN(3) == 0 {
					v = "~" + v
				}
				rules[i] = append(rules[i], v)
			}
			fmt.Fprintf(&text, "||n%d.example^$client=%s\n", i, strings.Join(rules[i], "|"))
		}
		p := policyOf(t, Options{Dir: files(t, map[string]string{"a.txt": text.String()}), Groups: groups})
		for i, rule := range rules {
			for _, a := range addrs {
				for as, s := range slices.Concat([]GroupSettings{{}}, groups) {
					from := netip.MustParseAddr(a)
					got := p.Decide(name(t, fmt.Sprintf("n%d.example", i)), dnswire.TypeA, p.GroupOf(uint16(as), from)).Action == Block
					if want := holdsForClient(rule, from, &s); got != want {
						t.Fatalf("%v from %s as %q: got %v, want %v\n%s", rule, a, s.Name, got, want, &text)
					}
				}
			}
		}
	}
}

func TestAPolicyWithoutRulesForAddressesLooksAtNone(t *testing.T) {
	p := policyOf(t, Options{Dir: files(t, map[string]string{"a.txt": "ads.example\n||tv.example^$client=tv\n"})})
	if got := p.GroupOf(7, addr("192.168.1.5")); got != 7 {
		t.Errorf("got %#x, want 7", got)
	}
	if got := (*Policy)(nil).GroupOf(7, addr("192.168.1.5")); got != 7 {
		t.Errorf("without a policy: got %#x, want 7", got)
	}
}

func TestMoreClientsThanCanBeToldApart(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range maxRanges {
		fmt.Fprintf(&text, "||ads%d.example^$client=10.%d.%d.%d\n", i>>9, i>>16, i>>8&0xff, i&0xff)
	}
	text.WriteString("||late.example^$client=~192.168.1.5\n||early.example^$client=10.0.0.1\n")
	s := loaded(t, Options{Dir: files(t, map[string]string{"a.txt": text.String()})})
	p := s.Current()
	for ask, want := range map[string]Action{"late.example": Pass, "early.example": Block} {
		if got := p.Decide(name(t, ask), dnswire.TypeA, p.GroupOf(0, addr("10.0.0.1"))).Action; got != want {
			t.Errorf("%s: got %v, want %v", ask, got, want)
		}
	}
	if w := s.of(t, "a").Warnings; len(w) != 1 || !strings.HasPrefix(w[0], "1 rules for some clients are not in force") {
		t.Errorf("warnings: got %q", w)
	}
}

func TestGroupOfDoesNotAllocate(t *testing.T) {
	p := policyOf(t, Options{Dir: files(t, map[string]string{"a.txt": "||ads.example^$client=192.168.1.0/24|~192.168.1.5|2001:db8::/32\n"})})
	n := name(t, "ads.example")
	for _, a := range []netip.Addr{addr("192.168.1.5"), addr("192.168.1.6"), addr("fe80::1%eth0")} {
		if got := testing.AllocsPerRun(1000, func() { p.Decide(n, dnswire.TypeA, p.GroupOf(0, a)) }); got != 0 {
			t.Errorf("%v: %v allocations", a, got)
		}
	}
}

func BenchmarkGroupOf(b *testing.B) {
	for fact, text := range map[string]string{
		"no-rule-for-addresses": "ads.example\n",
		"three-lengths":         "||ads.example^$client=192.168.1.0/24|~192.168.1.5|10.0.0.0/8\n",
	} {
		b.Run(fact, func(b *testing.B) {
			p := policyOf(b, Options{Dir: files(b, map[string]string{"a.txt": text})})
			from := addr("192.168.1.77")
			for b.Loop() {
				p.GroupOf(1, from)
			}
		})
	}
}
