package blocklists

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

func TestAttribution(t *testing.T) {
	shipped := shippedFS(map[string]string{"vendor.txt": "t.vendor.example #@ vendor=Vendor purpose=analytics tier=telemetry\n#@ name=vendor.example vendor=Vendor tier=owner\n#@ name=ok.vendor.example vendor=Vendor tier=essential breaks=sign-in\n"})
	for _, c := range []struct {
		fact, list, ask string
		note            bool // the list has an annotation of its own
		want            string
		level           Level
	}{
		{fact: "a rule's own annotation", ask: "t.vendor.example", want: "Vendor", level: ByRule},
		{fact: "a shipped annotation attributes a user's block", list: "x.t.vendor.example", ask: "x.t.vendor.example", want: "Vendor", level: ByRule},
		{fact: "a more specific annotation of the user's goes before", list: "x.t.vendor.example #@ vendor=Else", ask: "x.t.vendor.example", want: "Else", level: ByRule},
		{fact: "an end alone attributes nothing", list: "@@x.t.vendor.example #@ until=2099-01-01", ask: "x.t.vendor.example", want: "Vendor", level: ByRule},
		{fact: "an end alone is nobody's", list: "@@n.example #@ until=2099-01-01", ask: "n.example", want: "", level: Unattributed},
		{fact: "on a tie the shipped one goes before", list: "t.vendor.example #@ vendor=Else", ask: "t.vendor.example", want: "Vendor", level: ByRule},
		{fact: "the owner when nobody says more", list: "q.vendor.example", ask: "q.vendor.example", want: "Vendor", level: ByOwner},
		{fact: "the list's annotation before the owner", list: "q.vendor.example", note: true, ask: "q.vendor.example", want: "Listed", level: ByList},
		{fact: "an owner also of what passes", ask: "www.vendor.example", want: "Vendor", level: ByOwner},
		{fact: "what is essential is attributed by rule", ask: "ok.vendor.example", want: "Vendor", level: ByRule},
		{fact: "a name that only ends alike has no owner", ask: "notvendor.example", want: "", level: Unattributed},
	} {
		t.Run(c.fact, func(t *testing.T) {
			o := Options{Shipped: shipped, Dir: files(t, map[string]string{"a.txt": c.list + "\n"})}
			if c.note {
				o.Lists = []ListSettings{{Name: "a", Annotation: annotation("Listed")}}
			}
			p := policyOf(t, o)
			v := p.Decide(name(t, c.ask), dnswire.TypeA, 0)
			got := ""
			if n := p.Attribution(v); n != nil {
				got = n.Vendor
			}
			if got != c.want || v.Level != c.level {
				t.Errorf("got %q by %q, want %q by %q", got, v.Level, c.want, c.level)
			}
		})
	}
}

func TestSubscriptionsDoNotRelabelWhatIsShipped(t *testing.T) {
	for _, c := range []struct{ fact, shipped, sub, own, ask, want string }{
		{fact: "below a shipped entry", shipped: "t.example #@ vendor=Xiaomi tier=telemetry",
			sub: "#@ name=x.t.example vendor=Apple tier=essential", ask: "x.t.example", want: "Xiaomi rule"},
		{fact: "at a shipped entry", shipped: "t.example #@ vendor=Xiaomi tier=telemetry", sub: "t.example #@ vendor=Apple", ask: "t.example", want: "Xiaomi rule"},
		{fact: "elsewhere a subscription says it", shipped: "t.example #@ vendor=Xiaomi tier=telemetry", sub: "u.example #@ vendor=Apple", ask: "u.example", want: "Apple rule"},
		{fact: "who owns a domain says nothing of what is below", shipped: "#@ name=example vendor=Xiaomi tier=owner",
			sub: "x.example #@ vendor=Xiaomi purpose=ads", ask: "x.example", want: "Xiaomi rule"},
		{fact: "the user's own file may say otherwise", shipped: "t.example #@ vendor=Xiaomi tier=telemetry", own: "x.t.example #@ vendor=Mine",
			sub: "y.x.t.example #@ vendor=Apple", ask: "y.x.t.example", want: "Mine rule"},
		{fact: "a rule that a $badfilter removes keeps attributing", shipped: "||t.example^ #@ vendor=Xiaomi tier=telemetry", own: "||t.example^$badfilter",
			ask: "t.example", want: "Xiaomi rule"},
	} {
		t.Run(c.fact, func(t *testing.T) {
			o := Options{Dir: files(t, map[string]string{"own.txt": c.own + "\n"}), Shipped: shippedFS(map[string]string{"vendor.txt": c.shipped})}
			o.Subscribed = []Source{{Name: "sub", Path: filepath.Join(files(t, map[string]string{"sub.txt": c.sub + "\n"}), "sub.txt")}}
			p := policyOf(t, o)
			v := p.Decide(name(t, c.ask), dnswire.TypeA, 0)
			got := ""
			if a := p.Attribution(v); a != nil {
				got = a.Vendor + " " + v.Level.String()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAttributionStaysWhenTheServerAnswersByItself(t *testing.T) {
	p := policyOf(t, Options{
		Dir:   files(t, map[string]string{"a.txt": "vendor.test\n"}),
		Lists: []ListSettings{{Name: "a", Annotation: annotation("Listed")}},
	})
	v := p.Decide(name(t, "vendor.test"), dnswire.TypeA, 0)
	v = p.DecideSpecial(v, SpecialTest)
	if n := p.Attribution(v); n == nil || n.Vendor != "Listed" || v.Level != ByList {
		t.Errorf("got %+v by %q, want Listed by list", n, v.Level)
	}
	if got := said(v); got != "answer special test (RFC 6761)" {
		t.Errorf("got %q", got)
	}
}

func TestEssentialNamesThatAreBlockedAreWarnedOf(t *testing.T) {
	s := loaded(t, Options{
		Dir:     files(t, map[string]string{"a.txt": "vendor.example\n"}),
		Shipped: shippedFS(map[string]string{"vendor.txt": "#@ name=ok.vendor.example vendor=Vendor tier=essential breaks=\"signing in\"\n"}),
	})
	got := s.of(t, "a").Warnings
	if len(got) != 1 || got[0] != "ok.vendor.example is blocked, which breaks: signing in" {
		t.Errorf("got %q", got)
	}
}

func TestEssentialNamesThatAreBlockedForSomeAreWarnedOf(t *testing.T) {
	groups := []GroupSettings{{Name: "tv", ClientNames: []string{"tv"}}, {Name: "phone", Lists: []GroupList{{Name: "b", Is: ListOnFor}}}, {Name: "tablet"}}
	off := false
	s := loaded(t, Options{
		Dir: files(t, map[string]string{
			"a.txt": "||ok.vendor.example^$client=tv|192.168.1.5\n||six.vendor.example^$dnstype=AAAA,client=tablet\n",
			"b.txt": "ok.vendor.example\n",
		}),
		Groups: groups, Lists: []ListSettings{{Name: "b", Enabled: &off}},
		Shipped: shippedFS(map[string]string{"vendor.txt": "#@ name=ok.vendor.example vendor=Vendor tier=essential breaks=\"signing in\"\n#@ name=six.vendor.example vendor=Vendor tier=essential breaks=updates\n"}),
	})
	for list, want := range map[string][]string{
		"a": {"ok.vendor.example is blocked for tv, 192.168.1.5, which breaks: signing in", "six.vendor.example is blocked for tablet, which breaks: updates"},
		"b": {"ok.vendor.example is blocked for phone, which breaks: signing in"},
	} {
		if got := s.of(t, list).Warnings; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", list, got, want)
		}
	}
}

func TestManyBlockedEssentialNamesAreCounted(t *testing.T) {
	var shipped strings.Builder
	for i := range 23 {
		fmt.Fprintf(&shipped, "#@ name=n%d.vendor.example vendor=Vendor tier=essential\n", i)
	}
	s := loaded(t, Options{
		Dir:     files(t, map[string]string{"a.txt": "vendor.example\n"}),
		Shipped: shippedFS(map[string]string{"vendor.txt": shipped.String()}),
	})
	got := s.of(t, "a").Warnings
	if len(got) != 21 || got[20] != "and 3 more names that must work are blocked" {
		t.Errorf("got %d, the last %q", len(got), got[len(got)-1])
	}
}

func annotation(vendor string) *format.Annotation { return &format.Annotation{Vendor: vendor} }
