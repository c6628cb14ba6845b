package blocklists

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/dnswire"
)

// An exception of unbound's is known to be one at the end of its file only; it is of
// its line all the same.
func TestRulesOfEarlierLinesAreOfTheirLines(t *testing.T) {
	text := "local-zone: \"a.example\" transparent\n" + strings.Repeat("\n", 200) + "local-zone: \"b.example\" static\n"
	p := policyOf(t, Options{Dir: files(t, map[string]string{"a.txt": text})})
	for ask, want := range map[string]int{"a.example": 1, "b.example": 202} {
		if got := p.Rule(p.Decide(name(t, ask), dnswire.TypeA, 0).Rule).Line; got != want {
			t.Errorf("%s is of line %d, want %d", ask, got, want)
		}
	}
}

const zoneHead = "$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\n"

var precedence = []struct {
	fact    string
	own     string
	shipped string
	a, b    string // user lists a.txt and b.txt
	sub     string // a subscribed list, sub
	options func(*Options)
	ask     string
	qtype   uint16
	group   Group
	want    string
}{
	{fact: "an unlisted name passes", a: "ads.example", ask: "www.example", want: "pass"},
	{fact: "a domain line blocks the name", a: "ads.example", ask: "ads.example", want: "block a ads.example"},
	{fact: "a domain line blocks what is below", a: "ads.example", ask: "x.y.ads.example", want: "block a ads.example"},
	{fact: "a domain line blocks no name that only ends alike", a: "ads.example", ask: "notads.example", want: "pass"},
	{fact: "a domain line does not block its parent", a: "ads.example", ask: "example", want: "pass"},
	{fact: "= blocks the name", a: "=ads.example", ask: "ads.example", want: "block a =ads.example"},
	{fact: "= does not block below", a: "=ads.example", ask: "x.ads.example", want: "pass"},
	{fact: "*. blocks the name too", a: "*.ads.example", ask: "ads.example", want: "block a *.ads.example"},
	{fact: "hosts block the name alone", a: "0.0.0.0 ads.example", ask: "x.ads.example", want: "pass"},
	{fact: "hosts block the name", a: "0.0.0.0 one.example two.example", ask: "two.example", want: "block a 0.0.0.0 two.example"},
	{fact: "AdBlock syntax blocks below", a: "||ads.example^", ask: "x.ads.example", want: "block a ||ads.example^"},
	{fact: "an exception wins over a block, however specific", a: "x.ads.example", b: "@@ads.example", ask: "x.ads.example", want: "allow b @@ads.example"},
	{fact: "$important wins over an exception", a: "||ads.example^$important", b: "@@||x.ads.example^", ask: "x.ads.example", want: "block a ||ads.example^$important"},
	{fact: "an important exception wins over $important", a: "||x.ads.example^$important", b: "@@||ads.example^$important", ask: "x.ads.example", want: "allow b @@||ads.example^$important"},
	{fact: "the user's block wins over an important exception", own: "ads.example", a: "@@||ads.example^$important", ask: "ads.example", want: "block own ads.example"},
	{fact: "the user's exception wins over $important", own: "@@ads.example", a: "||ads.example^$important", ask: "ads.example", want: "allow own @@ads.example"},
	{fact: "of the user's rules the most specific wins", own: "@@ads.example\nx.ads.example", ask: "x.ads.example", want: "block own x.ads.example"},
	{fact: "of the user's rules the exception wins a tie", own: "ads.example\n@@ads.example", ask: "ads.example", want: "allow own @@ads.example"},
	{fact: "the name alone is more specific than a subtree", own: "@@ads.example\n=ads.example", ask: "ads.example", want: "block own =ads.example"},
	{fact: "more labels name the rule", a: "ads.example", b: "x.ads.example", ask: "x.ads.example", want: "block b x.ads.example"},
	{fact: "hosts are more specific than a subtree", a: "ads.example", b: "0.0.0.0 ads.example", ask: "ads.example", want: "block b 0.0.0.0 ads.example"},
	{fact: "the first file name wins a tie", a: "ads.example", b: "ads.example", ask: "ads.example", want: "block a ads.example"},
	{fact: "the configured order wins a tie", a: "ads.example", b: "ads.example", ask: "ads.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "b", Order: -1}} }, want: "block b ads.example"},
	{fact: "a regex is the least specific", a: "/^ads\\./", b: "example.org", ask: "ads.example.org", want: "block b example.org"},
	{fact: "a regex blocks", a: "/^ads[0-9]+\\./", ask: "ads7.example", want: "block a /^ads[0-9]+\\./"},

	{fact: "an exception of dnsmasq does not reach below a more specific block of its file",
		a: "server=/ads.example/#\naddress=/x.ads.example/", ask: "x.ads.example", want: "block a address=/x.ads.example/"},
	{fact: "an exception of dnsmasq reaches another file's more specific block",
		a: "server=/ads.example/#", b: "x.ads.example", ask: "x.ads.example", want: "allow a server=/ads.example/#"},

	{fact: "of two zones of unbound for a name the last counts: a block",
		a: "local-zone: \"ads.example\" transparent\nlocal-zone: \"ads.example\" always_null", ask: "ads.example", want: "block a local-zone: \"ads.example\" always_null"},
	{fact: "of two zones of unbound for a name the last counts: an exception",
		a: "local-zone: \"ads.example\" always_null\nlocal-zone: \"ads.example\" transparent", ask: "ads.example", want: "allow a local-zone: \"ads.example\" transparent"},

	{fact: "an observing list observes", a: "ads.example", ask: "ads.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "a", Observe: true}} }, want: "observe a ads.example"},
	{fact: "an observing list's exception does not reach others", a: "@@ads.example", b: "ads.example", ask: "ads.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "a", Observe: true}} }, want: "block b ads.example"},
	{fact: "an observing list's exception holds for itself", a: "ads.example\n@@x.ads.example", ask: "x.ads.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "a", Observe: true}} }, want: "pass"},
	{fact: "an enforcing exception holds for an observing list", a: "ads.example", b: "@@ads.example", ask: "ads.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "a", Observe: true}} }, want: "allow b @@ads.example"},
	{fact: "an enforcing block goes before a more specific observing one", a: "x.ads.example", b: "ads.example", ask: "x.ads.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "a", Observe: true}} }, want: "block b ads.example"},
	{fact: "observing everything turns a block into observe", a: "ads.example", ask: "ads.example",
		options: func(o *Options) { o.Observe = true }, want: "observe a ads.example"},
	{fact: "observing everything leaves local answers", own: "192.168.1.9 nas.lan", ask: "nas.lan",
		options: func(o *Options) { o.Observe = true }, want: "answer own 192.168.1.9 nas.lan"},
	{fact: "a group may observe", a: "ads.example", ask: "ads.example", group: 1,
		options: func(o *Options) { o.Groups = []GroupSettings{{Observe: true}} }, want: "observe a ads.example"},
	{fact: "a group's observing is its own", a: "ads.example", ask: "ads.example",
		options: func(o *Options) { o.Groups = []GroupSettings{{Observe: true}} }, want: "block a ads.example"},
	{fact: "a group observes until its time", a: "ads.example", ask: "ads.example", group: 1,
		options: func(o *Options) { o.Groups = []GroupSettings{{ObserveUntil: time.Now().Add(-time.Second)}} }, want: "block a ads.example"},
	{fact: "a list may be off for a group", a: "ads.example", b: "ads.example", ask: "ads.example", group: 1,
		options: func(o *Options) { o.Groups = []GroupSettings{{Lists: []GroupList{{Name: "a", Is: ListOffFor}}}} }, want: "block b ads.example"},
	{fact: "a list may be on for a group alone", a: "ads.example", ask: "ads.example", group: 1,
		options: func(o *Options) {
			off := false
			o.Lists = []ListSettings{{Name: "a", Enabled: &off}}
			o.Groups = []GroupSettings{{Lists: []GroupList{{Name: "a", Is: ListOnFor}}}}
		}, want: "block a ads.example"},
	{fact: "a list that is on for a group alone has no say for others", a: "ads.example", ask: "ads.example",
		options: func(o *Options) {
			off := false
			o.Lists = []ListSettings{{Name: "a", Enabled: &off}}
			o.Groups = []GroupSettings{{Lists: []GroupList{{Name: "a", Is: ListOnFor}}}}
		}, want: "pass"},
	{fact: "a list that is not enabled has no say", a: "ads.example", ask: "ads.example",
		options: func(o *Options) { off := false; o.Lists = []ListSettings{{Name: "a", Enabled: &off}} }, want: "pass"},
	{fact: "match: exact takes domain lines for the name alone", a: "ads.example", ask: "x.ads.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "a", Exact: true}} }, want: "pass"},

	{fact: "tier telemetry is blocked", shipped: "t.example #@ vendor=V tier=telemetry", ask: "t.example", want: "block vendor t.example"},
	{fact: "tier mixed is observed", shipped: "t.example #@ vendor=V tier=mixed breaks=\"a thing\"", ask: "t.example", want: "observe vendor t.example"},
	{fact: "tier mixed is blocked where that is wanted", shipped: "t.example #@ vendor=V tier=mixed", ask: "t.example",
		options: func(o *Options) { o.Tier = "mixed" }, want: "block vendor t.example"},
	{fact: "a list has a tier limit of its own", shipped: "t.example #@ vendor=V tier=mixed", ask: "t.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "vendor", Tier: "mixed"}} }, want: "block vendor t.example"},
	{fact: "tier essential is never blocked by a shipped list", shipped: "t.example #@ vendor=V tier=essential", ask: "t.example", want: "pass"},
	{fact: "what a shipped list knows to be essential is not blocked by its parent's rule",
		shipped: "t.example #@ vendor=V tier=telemetry\n#@ name=c.t.example vendor=V tier=essential", ask: "c.t.example", want: "pass"},
	{fact: "a user's list may block what is essential", a: "c.t.example",
		shipped: "#@ name=c.t.example vendor=V tier=essential", ask: "c.t.example", want: "block a c.t.example"},
	{fact: "a more specific block goes before an essential parent",
		shipped: "#@ name=t.example vendor=V tier=essential\nads.t.example #@ vendor=V tier=telemetry", ask: "ads.t.example", want: "block vendor ads.t.example"},
	{fact: "the user's own rule is enforced whatever its tier", own: "t.example #@ tier=mixed", ask: "t.example", want: "block own t.example"},

	{fact: "$dnstype limits the types", a: "||ads.example^$dnstype=AAAA", ask: "ads.example", want: "pass"},
	{fact: "$dnstype names its type", a: "||ads.example^$dnstype=AAAA", ask: "ads.example", qtype: dnswire.TypeAAAA, want: "block a ||ads.example^$dnstype=AAAA"},
	{fact: "an exact block lets the delegation be proved", a: "=ads.example", ask: "ads.example", qtype: dnswire.TypeDS, want: "pass"},
	{fact: "a hosts line lets the delegation be proved", a: "0.0.0.0 ads.example", ask: "ads.example", qtype: dnswire.TypeDNSKEY, want: "pass"},
	{fact: "a pattern lets the delegation be proved", a: "/^ads\\./", ask: "ads.example", qtype: dnswire.TypeDS, want: "pass"},
	{fact: "a block of everything below does not", a: "ads.example", ask: "ads.example", qtype: dnswire.TypeDS, want: "block a ads.example"},
	{fact: "but for an exception below it", a: "ads.example", own: "@@ok.x.ads.example", ask: "ads.example", qtype: dnswire.TypeDS, want: "pass"},
	{fact: "at each name on the way to the exception", a: "ads.example", own: "@@ok.x.ads.example", ask: "x.ads.example", qtype: dnswire.TypeDS, want: "pass"},
	{fact: "and not beside it", a: "ads.example", own: "@@ok.x.ads.example", ask: "y.ads.example", qtype: dnswire.TypeDS, want: "block a ads.example"},
	{fact: "and for $denyallow", a: "||ads.example^$denyallow=ok.ads.example", ask: "ads.example", qtype: dnswire.TypeDS, want: "pass"},
	{fact: "a rule that names the type means it", a: "=ads.example\n||ads.example^$dnstype=DS", ask: "ads.example", qtype: dnswire.TypeDS, want: "block a ||ads.example^$dnstype=DS"},
	{fact: "HTTPS for another port is asked of the name", a: "=ads.example", ask: "_8443._https.ads.example", qtype: dnswire.TypeHTTPS, want: "block a =ads.example"},
	{fact: "SVCB, too", a: "=ads.example", ask: "_8443._https.ads.example", qtype: dnswire.TypeSVCB, want: "block a =ads.example"},
	{fact: "an exception for the name holds for its other ports", a: "ads.example", b: "@@=x.ads.example", ask: "_1._https.x.ads.example", qtype: dnswire.TypeHTTPS, want: "allow b @@=x.ads.example"},
	{fact: "other types are not", a: "=ads.example", ask: "_8443._https.ads.example", qtype: dnswire.TypeTXT, want: "pass"},
	{fact: "$denyallow spares what it names", a: "||example.org^$denyallow=good.example.org", ask: "x.good.example.org", want: "pass"},
	{fact: "$denyallow spares nothing else", a: "||example.org^$denyallow=good.example.org", ask: "bad.example.org", want: "block a ||example.org^$denyallow=good.example.org"},
	{fact: "$badfilter removes the rule of its own list", a: "||ads.example^\n||ads.example^$badfilter", ask: "ads.example", want: "pass"},
	{fact: "$badfilter removes no rule of another list", a: "||ads.example^", b: "||ads.example^$badfilter", ask: "ads.example", want: "block a ||ads.example^"},
	{fact: "$badfilter of the user's own file removes rules of every list", a: "||ads.example^", own: "||ads.example^$badfilter", ask: "ads.example", want: "pass"},
	{fact: "$badfilter removes only the same rule", a: "||ads.example^$important\n||ads.example^$badfilter", ask: "ads.example", want: "block a ||ads.example^$important"},
	{fact: "$badfilter does not remove an exception", a: "@@||ads.example^", own: "||ads.example^$badfilter", ask: "ads.example", want: "allow a @@||ads.example^"},
	{fact: "$client holds for its group", a: "||ads.example^$client=tv", ask: "ads.example", group: 1,
		options: func(o *Options) { o.Groups = []GroupSettings{{Name: "x", ClientNames: []string{"TV"}}} }, want: "block a ||ads.example^$client=tv"},
	{fact: "$client does not hold for others", a: "||ads.example^$client=tv", ask: "ads.example",
		options: func(o *Options) { o.Groups = []GroupSettings{{Name: "x", ClientNames: []string{"TV"}}} }, want: "pass"},
	{fact: "$client=~ holds for all others", a: "||ads.example^$client=~tv", ask: "ads.example",
		options: func(o *Options) { o.Groups = []GroupSettings{{Name: "tv"}} }, want: "block a ||ads.example^$client=~tv"},
	{fact: "$client by address holds for the group that has it", a: "||ads.example^$client=192.168.1.0/24", ask: "ads.example", group: 1,
		options: func(o *Options) {
			o.Groups = []GroupSettings{{Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.1.7/32")}}}
		}, want: "block a ||ads.example^$client=192.168.1.0/24"},
	{fact: "$ctag holds for its group", a: "||ads.example^$ctag=device_tv", ask: "ads.example", group: 1,
		options: func(o *Options) { o.Groups = []GroupSettings{{Tags: []string{"device_tv"}}} }, want: "block a ||ads.example^$ctag=device_tv"},
	{fact: "until= ends a rule", a: "ads.example #@ until=2020-01-01", ask: "ads.example", want: "pass"},
	{fact: "a rule holds before its until=", a: "ads.example #@ until=2999-01-01", ask: "ads.example", want: "block a ads.example"},

	{fact: "an exception of a subscription holds for its own blocks", sub: "ads.example\n@@ok.ads.example", ask: "ok.ads.example", want: "allow sub @@ok.ads.example"},
	{fact: "an exception of a subscription does not hold for another list's", a: "ads.example", sub: "@@ads.example", ask: "ads.example", want: "block a ads.example"},
	{fact: "nor does it where it spares a block of its own", a: "ads.example", sub: "ads.example\n@@ads.example", ask: "ads.example", want: "block a ads.example"},
	{fact: "nor does an important one", shipped: "t.example #@ vendor=V tier=telemetry", sub: "@@||t.example^$important", ask: "t.example", want: "block vendor t.example"},
	{fact: "nor does a pattern", shipped: "t.example #@ vendor=V tier=telemetry", sub: "@@/^t\\.example$/", ask: "t.example", want: "block vendor t.example"},
	{fact: "an exception of a subscription that nothing of its own blocks does nothing", sub: "@@ads.example", ask: "ads.example", want: "pass"},
	{fact: "an exception of a subscription does not hold for an important block of its own", sub: "||ads.example^$important\n@@ads.example", ask: "ads.example", want: "block sub ||ads.example^$important"},
	{fact: "an important one does", sub: "||ads.example^$important\n@@||ads.example^$important", ask: "ads.example", want: "allow sub @@||ads.example^$important"},
	{fact: "an exception of a subscription does not hide what another list observes", a: "ads.example", sub: "ads.example\n@@ads.example", ask: "ads.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "a", Observe: true}} }, want: "observe a ads.example"},
	{fact: "exceptions: true lets them hold for all lists", a: "ads.example", sub: "@@ads.example", ask: "ads.example",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "sub", Subscribed: true, Exceptions: true}} }, want: "allow sub @@ads.example"},
	{fact: "a user's own list file excepts for all lists", a: "ads.example", b: "@@ads.example", ask: "ads.example", want: "allow b @@ads.example"},
	{fact: "a $badfilter of a subscription removes no shipped rule", shipped: "||t.example^", sub: "||t.example^$badfilter", ask: "t.example", want: "block vendor ||t.example^"},
	{fact: "an exception of a public suffix is held back", a: "ads.co.uk", b: "@@||co.uk^", ask: "ads.co.uk", want: "block a ads.co.uk"},
	{fact: "an exception of everything is held back", a: "ads.example", b: "@@/.*/\n@@*", ask: "ads.example", want: "block a ads.example"},
	{fact: "an exception of a public suffix holds where the list may", a: "ads.co.uk", b: "@@||co.uk^", ask: "ads.co.uk",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "b", Suffixes: true}} }, want: "allow b @@||co.uk^"},

	{fact: "a star of a zone reaches what is below its name", a: zoneHead + "*.cc.example CNAME .", ask: "a.b.cc.example", want: "block a *.cc.example CNAME ."},
	{fact: "a star does not reach below a name in the zone", a: zoneHead + "*.cc.example CNAME .\nok.cc.example CNAME rpz-passthru.", ask: "s.ok.cc.example", want: "pass"},
	{fact: "nor that name", a: zoneHead + "*.cc.example CNAME .\nok.cc.example CNAME rpz-passthru.", ask: "ok.cc.example", want: "allow a ok.cc.example CNAME rpz-passthru."},
	{fact: "nor below another star", a: zoneHead + "*.cc.example CNAME .\n*.ok.cc.example CNAME rpz-passthru.", ask: "s.ok.cc.example", want: "allow a *.ok.cc.example CNAME rpz-passthru."},
	{fact: "it reaches beside it", a: zoneHead + "*.cc.example CNAME .\nok.cc.example CNAME rpz-passthru.", ask: "s.cc.example", want: "block a *.cc.example CNAME ."},
	{fact: "names of another list do not stop it", a: zoneHead + "*.cc.example CNAME .", b: "0.0.0.0 ok.cc.example", ask: "s.ok.cc.example", want: "block a *.cc.example CNAME ."},
	{fact: "a star outside zones reaches everything below", a: "||*.cc.example^\n@@=ok.cc.example", ask: "s.ok.cc.example", want: "block a ||*.cc.example^"},
	{fact: "a local record answers", own: "192.168.1.9 nas.lan", ask: "nas.lan", want: "answer own 192.168.1.9 nas.lan"},
	{fact: "a local record does not answer below", own: "192.168.1.9 nas.lan", ask: "x.nas.lan", want: "pass"},
	{fact: "a local record answers its reverse name", own: "192.168.1.9 nas.lan", ask: "9.1.168.192.in-addr.arpa", qtype: dnswire.TypePTR, want: "answer own 192.168.1.9 nas.lan"},
	{fact: "another list's address is refused", a: "192.168.1.9 bank.example", ask: "bank.example", want: "pass"},
	{fact: "a public suffix is held back", a: "co.uk", ask: "example.co.uk", want: "pass"},
	{fact: "a public suffix is blocked where the list may", a: "||co.uk^", ask: "example.co.uk",
		options: func(o *Options) { o.Lists = []ListSettings{{Name: "a", Suffixes: true}} }, want: "block a ||co.uk^"},
	{fact: "the user's own file may block a public suffix", own: "||co.uk^", ask: "example.co.uk", want: "block own ||co.uk^"},
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	for _, c := range precedence {
		t.Run(c.fact, func(t *testing.T) {
			contents := map[string]string{}
			for file, text := range map[string]string{"own.txt": c.own, "a.txt": c.a, "b.txt": c.b} {
				if text != "" {
					contents[file] = text + "\n"
				}
			}
			o := Options{Dir: files(t, contents), Shipped: shippedFS(map[string]string{"vendor.txt": c.shipped})}
			if c.sub != "" {
				o.Subscribed = []Source{{Name: "sub", Path: filepath.Join(files(t, map[string]string{"sub.txt": c.sub + "\n"}), "sub.txt")}}
			}
			if c.options != nil {
				c.options(&o)
			}
			if c.qtype == 0 {
				c.qtype = dnswire.TypeA
			}
			if got := said(policyOf(t, o).Decide(name(t, c.ask), c.qtype, c.group)); got != c.want {
				t.Errorf("%s: got %q, want %q", c.ask, got, c.want)
			}
		})
	}
}

func TestPatternsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range maxPatterns + 10 {
		fmt.Fprintf(&b, "/^p%d-[0-9]+\\.example$/\n", i)
	}
	s := loaded(t, Options{Dir: files(t, map[string]string{"a.txt": b.String()})})
	if got, want := s.says(t, "p7-1.example"), `block a /^p7-[0-9]+\.example$/`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := s.of(t, "a").Warnings; len(got) != 1 || !strings.HasPrefix(got[0], "10 patterns are not in force") {
		t.Errorf("warnings: got %q", got)
	}
}
