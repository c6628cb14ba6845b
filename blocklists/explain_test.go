package blocklists

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

func TestExplain(t *testing.T) {
	p := policyOf(t, Options{
		Dir: files(t, map[string]string{
			"a.txt": "x.vendor.example #@ vendor=Mine purpose=ads\n@@||vendor.example^\n",
			"b.txt": "||vendor.example^$important\n",
		}),
		Shipped: shippedFS(map[string]string{"vendor.txt": "#@ vendor=Vendor source=https://vendor.example/doc tier=telemetry\nx.vendor.example #@ purpose=analytics\n#@ name=vendor.example tier=owner\n"}),
		Lists:   []ListSettings{{Name: "c", Observe: true}},
	})
	e := p.Explain(name(t, "x.vendor.example"), dnswire.TypeA, 0)
	if got, want := said(e.Verdict), "block b ||vendor.example^$important"; got != want {
		t.Errorf("verdict: got %q, want %q", got, want)
	}
	if e.Decider == nil || e.Decider != &e.Matches[0] {
		t.Errorf("the decider is not the first match: %+v", e.Matches)
	}
	var order []string
	for _, m := range e.Matches {
		order = append(order, m.Rule.List+" "+m.Rule.Text)
	}
	want := []string{"b ||vendor.example^$important", "a @@||vendor.example^", "a x.vendor.example", "vendor x.vendor.example", "vendor #@ name=vendor.example"}
	if len(order) != len(want) {
		t.Fatalf("matches: got %q, want %q", order, want)
	}
	for i := range want {
		if order[i] != want[i] {
			t.Errorf("match %d: got %q, want %q", i, order[i], want[i])
		}
	}
	if e.Shipped == nil || e.Shipped.Vendor != "Vendor" || e.Shipped.Purpose != "analytics" {
		t.Errorf("what the shipped lists say: got %+v", e.Shipped)
	}
	if e.User == nil || e.User.Vendor != "Mine" {
		t.Errorf("what the user's lists say: got %+v", e.User)
	}
	if e.Attr == nil || e.Attr.Kind != Shipped {
		t.Errorf("the shipped annotation attributes on a tie: got %+v", e.Attr)
	}
	if got, want := e.Why, "an important rule goes before exceptions that are not"; got != want {
		t.Errorf("why: got %q, want %q", got, want)
	}
}

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

func TestExplainFoldsWhatAListRepeats(t *testing.T) {
	p := policyOf(t, Options{Dir: files(t, map[string]string{
		"a.txt": "# a\n" + strings.Repeat("x.example\n||x.example^\n", 200) + "=x.example\n||x.example^$dnstype=A\n/^x\\./\n/^x.e/\n",
		"b.txt": "x.example #@ until=2020-01-01\nx.example #@ until=2020-01-01\n",
	})})
	e := p.Explain(name(t, "x.example"), dnswire.TypeA, 0)
	var got []string
	for _, m := range e.Matches {
		got = append(got, fmt.Sprintf("%s:%d %s +%d", m.Rule.List, m.Rule.Line, m.Rule.Text, m.More))
	}
	want := []string{
		"a:402 =x.example +0", "a:2 x.example +399", "a:403 ||x.example^$dnstype=A +0", "a:404 /^x\\./ +0", "a:405 /^x.e/ +0", "b:1 x.example +1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if e.Decider == nil || e.Decider.Rule.Line != 402 {
		t.Errorf("decider: got %+v", e.Decider)
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
	groups := []GroupSettings{{Name: "tv", ClientNames: []string{"tv"}}, {Name: "phone", Lists: []GroupList{{Name: "b", On: true}}}, {Name: "tablet"}}
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
