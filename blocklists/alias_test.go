package blocklists

import (
	"testing"

	"telltale/dnswire"
)

func TestAliasesAreWeighedLikeNames(t *testing.T) {
	observed := func(o *Options) { o.Lists = []ListSettings{{Name: "a", Observe: true}} }
	for _, c := range []struct {
		fact                          string
		own, a, b, shipped, elsewhere string
		options                       func(*Options)
		group                         Group
		want                          string // the verdict of shop.example, which leads to x.tracker.example
	}{
		{fact: "an alias nobody lists", want: "pass"},
		{fact: "a blocked alias", a: "tracker.example", want: "block a tracker.example by alias"},
		{fact: "a list's exception for the question spares the alias from lists", a: "tracker.example", b: "@@shop.example", want: "allow b @@shop.example"},
		{fact: "but not from the user's own block", own: "tracker.example", a: "@@shop.example", want: "block own tracker.example by alias"},
		{fact: "nor from an important one", a: "||tracker.example^$important", b: "@@shop.example", want: "block a ||tracker.example^$important by alias"},
		{fact: "an important exception spares it from important blocks", a: "||tracker.example^$important", b: "@@||shop.example^$important", want: "allow b @@||shop.example^$important"},
		{fact: "but not from the user's own", own: "tracker.example", b: "@@||shop.example^$important", want: "block own tracker.example by alias"},
		{fact: "the user's own exception spares it from everything", own: "@@shop.example\ntracker.example", a: "||tracker.example^$important", want: "allow own @@shop.example"},
		{fact: "an exception for the alias lifts its own blocks", a: "tracker.example\n@@x.tracker.example", want: "pass"},
		{fact: "an observed alias of a name nobody lists", a: "tracker.example", options: observed, want: "observe a tracker.example by alias"},
		{fact: "an observed alias of an excepted name", a: "tracker.example", b: "@@shop.example", options: observed, want: "allow b @@shop.example"},
		{fact: "an enforced alias of an observed name", a: "shop.example", b: "tracker.example", options: observed, want: "block b tracker.example by alias"},
		{fact: "a paused own block of the alias of an excepted name", own: "tracker.example", a: "@@shop.example",
			options: func(o *Options) { o.Observe = true }, want: "observe own tracker.example by alias"},

		{fact: "a shipped block of the alias", shipped: "tracker.example #@ vendor=V tier=telemetry", want: "block vendor tracker.example by alias"},
		{fact: "of what a shipped list says is mixed the alias is not blocked by shipped lists",
			shipped: "shop.example #@ vendor=V tier=mixed\ntracker.example #@ vendor=V tier=telemetry", want: "observe vendor shop.example"},
		{fact: "of what a shipped list says is essential neither",
			shipped: "#@ name=shop.example vendor=V tier=essential\ntracker.example #@ vendor=V tier=telemetry", want: "pass"},
		{fact: "nor observed", shipped: "#@ name=shop.example vendor=V tier=essential\ntracker.example #@ vendor=V tier=mixed", want: "pass"},
		{fact: "also where two shipped lists say so",
			shipped: "#@ name=shop.example vendor=V tier=essential", elsewhere: "tracker.example #@ vendor=V tier=telemetry", want: "pass"},
		{fact: "a user's list blocks it all the same", a: "tracker.example",
			shipped: "shop.example #@ vendor=V tier=mixed\ntracker.example #@ vendor=V tier=telemetry", want: "block a tracker.example by alias"},
		{fact: "an owner says nothing about that", shipped: "#@ name=shop.example vendor=V tier=owner\ntracker.example #@ vendor=V tier=telemetry", want: "block vendor tracker.example by alias"},
		{fact: "nor does a list of somebody else", a: "#@ name=shop.example vendor=V tier=essential", shipped: "tracker.example #@ vendor=V tier=telemetry", want: "block vendor tracker.example by alias"},
	} {
		t.Run(c.fact, func(t *testing.T) {
			o := Options{
				Dir:     files(t, map[string]string{"own.txt": c.own + "\n", "a.txt": c.a + "\n", "b.txt": c.b + "\n"}),
				Shipped: shippedFS(map[string]string{"vendor.txt": c.shipped, "other.txt": c.elsewhere}),
			}
			if c.options != nil {
				c.options(&o)
			}
			p, shop := policyOf(t, o), name(t, "shop.example")
			v, decides := p.DecideAlias(p.Decide(shop, dnswire.TypeA, c.group), shop, name(t, "x.tracker.example"), dnswire.TypeA, c.group)
			got := said(v)
			if decides {
				got += " by alias"
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// What an exception for the question spares is an override, and so the name is
// listed.
func TestAnExceptionThatSparesAnAliasHasOverridden(t *testing.T) {
	p := policyOf(t, Options{Dir: files(t, map[string]string{"a.txt": "tracker.example\n", "own.txt": "@@shop.example\n"})})
	shop := name(t, "shop.example")
	v := p.Decide(shop, dnswire.TypeA, 0)
	if v.Overrode {
		t.Error("nothing is blocked of the name itself")
	}
	if v, _ = p.DecideAlias(v, shop, name(t, "tracker.example"), dnswire.TypeA, 0); v.Action != Allow || !v.Overrode || !v.Listed() {
		t.Errorf("got %+v", v)
	}
}

func TestAddressesAreWeighedLikeNames(t *testing.T) {
	zone := "$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\n32.66.2.0.192.rpz-ip CNAME .\n"
	for _, c := range []struct{ fact, own, b, want string }{
		{"a blocked address", "", "", "block"},
		{"a list's exception for the question", "", "@@shop.example", "allow"},
		{"the user's own", "@@shop.example", "", "allow"},
	} {
		t.Run(c.fact, func(t *testing.T) {
			p := policyOf(t, Options{Dir: files(t, map[string]string{"a.txt": zone, "own.txt": c.own + "\n", "b.txt": c.b + "\n"})})
			shop := name(t, "shop.example")
			v, _ := p.DecideAddress(p.Decide(shop, dnswire.TypeA, 0), shop, addr("192.0.2.66"), dnswire.TypeA, 0)
			if got := v.Action.String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
