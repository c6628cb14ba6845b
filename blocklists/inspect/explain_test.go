package inspect

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"telltale/blocklists"
	"telltale/dnswire"
)

func TestExplain(t *testing.T) {
	p := policyOf(t, blocklists.Options{
		Dir: files(t, map[string]string{
			"a.txt": "x.vendor.example #@ vendor=Mine purpose=ads\n@@||vendor.example^\n",
			"b.txt": "||vendor.example^$important\n",
		}),
		Shipped: shippedFS(map[string]string{"vendor.txt": "#@ vendor=Vendor source=https://vendor.example/doc tier=telemetry\nx.vendor.example #@ purpose=analytics\n#@ name=vendor.example tier=owner\n"}),
		Lists:   []blocklists.ListSettings{{Name: "c", Observe: true}},
	})
	e := ExplainPolicy(p, name(t, "x.vendor.example"), dnswire.TypeA, 0)
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
	if e.Attr == nil || e.Attr.Kind != blocklists.Shipped {
		t.Errorf("the shipped annotation attributes on a tie: got %+v", e.Attr)
	}
	if got, want := e.Why, "an important rule goes before exceptions that are not"; got != want {
		t.Errorf("why: got %q, want %q", got, want)
	}
}

func TestExplainFoldsWhatAListRepeats(t *testing.T) {
	p := policyOf(t, blocklists.Options{Dir: files(t, map[string]string{
		"a.txt": "# a\n" + strings.Repeat("x.example\n||x.example^\n", 200) + "=x.example\n||x.example^$dnstype=A\n/^x\\./\n/^x.e/\n",
		"b.txt": "x.example #@ until=2020-01-01\nx.example #@ until=2020-01-01\n",
	})})
	e := ExplainPolicy(p, name(t, "x.example"), dnswire.TypeA, 0)
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

// Explain and the log name one reason: that of the verdict.
func TestExplainNamesWhatObserves(t *testing.T) {
	for _, c := range []struct {
		fact    string
		options blocklists.Options
		group   blocklists.Group
		want    string
	}{
		{"everything", blocklists.Options{Observe: true}, 0, "this is the most specific block; everything is only observed now"},
		{"a device", blocklists.Options{Groups: []blocklists.GroupSettings{{Observe: true}}}, 1, "this is the most specific block; the device is only observed now"},
		{"its group", blocklists.Options{Groups: []blocklists.GroupSettings{{GroupObserve: true}}}, 1, "this is the most specific block; the device's group is only observed now"},
		{"a list", blocklists.Options{Lists: []blocklists.ListSettings{{Name: "a", Observe: true}}}, 0, "the most specific observing one would block"},
	} {
		t.Run(c.fact, func(t *testing.T) {
			c.options.Dir = files(t, map[string]string{"a.txt": "ads.example\n"})
			e := ExplainPolicy(policyOf(t, c.options), name(t, "ads.example"), dnswire.TypeA, c.group)
			if !strings.HasSuffix(e.Why, c.want) {
				t.Errorf("got %q, want %q", e.Why, c.want)
			}
		})
	}
}

func TestRulesForOthersAreShown(t *testing.T) {
	p := policyOf(t, blocklists.Options{Dir: files(t, map[string]string{
		"a.txt": "||n.example^$ctag=kids\n||n.example^$client=tv|192.0.2.7\n||n.example^$dnstype=AAAA\n/^n\\./$client=tv\n||n.example^$denyallow=n.example\n=example\n",
	})})
	e := ExplainPolicy(p, name(t, "n.example"), dnswire.TypeA, 0)
	var got []string
	for i := range e.Matches {
		got = append(got, e.Matches[i].Rule.Text+": "+Limit(&e.Matches[i]))
	}
	want := []string{
		"||n.example^$ctag=kids: holds for other clients: kids",
		"||n.example^$client=tv|192.0.2.7: holds for other clients: tv, 192.0.2.7",
		"||n.example^$dnstype=AAAA: holds for other types than the one asked for",
		"/^n\\./$client=tv: holds for other clients: tv",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if e.Why != "no rule that is in force here matches" {
		t.Errorf("why: got %q", e.Why)
	}
}

// Whatever limits a rule, or makes a verdict only observe, is said in words.
func TestEveryLimitIsSaid(t *testing.T) {
	for l := blocklists.Unlimited + 1; l <= blocklists.OtherClients; l++ {
		if Limit(&blocklists.Match{Limit: l}) == "" {
			t.Errorf("limit %d has no words", l)
		}
	}
	for by := blocklists.NotObserved + 1; by <= blocklists.ByStreamAnswer; by++ {
		if Reason(&blocklists.Verdict{Action: blocklists.Observe, Class: blocklists.ListBlock, ObservedBy: by}, "off") == Reason(&blocklists.Verdict{Class: blocklists.ListBlock}, "") {
			t.Errorf("%v is not said", by)
		}
	}
}
