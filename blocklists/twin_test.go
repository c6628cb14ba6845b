package blocklists

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"telltale/blocklists/format"
	"telltale/blocklists/rules"
	"telltale/dnswire"
)

// A twin judges like a Policy, slowly and by the book: every rule of every list
// is held against the name, and the words of DESIGN.md are followed one by one.
type twin struct {
	lists   []twinList // in the order in which they win ties
	observe bool
	mixed   bool
}

type twinList struct {
	name    string
	kind    Kind
	observe bool
	alone   bool // its exceptions hold for its own blocks alone
	rules   []twinRule
}

// A twinRule is a rule with what is compared with names: made once, since a twin
// is slow enough.
type twinRule struct {
	format.Rule
	text    string // ".ads.example"
	pattern *regexp.Regexp
}

func newTwinRule(r format.Rule) twinRule {
	r.Name = bytes.Clone(r.Name)
	t := twinRule{Rule: r, text: "." + string(dnswire.AppendText(nil, r.Name))}
	if r.Match == format.Pattern {
		t.pattern = regexp.MustCompile(r.Regex)
	}
	return t
}

type twinMatch struct {
	list *twinList
	rule *twinRule
	at   int // of the list
}

func (tw *twin) matching(name *dnswire.Name, qtype uint16) (ms []twinMatch) {
	for i := range tw.lists {
		for j := range tw.lists[i].rules {
			if r := &tw.lists[i].rules[j]; twinMatches(r, name, qtype) && !isStoppedInZone(r, tw.lists[i].rules, name) {
				ms = append(ms, twinMatch{&tw.lists[i], r, i})
			}
		}
	}
	return ms
}

// isStoppedInZone reports whether a star of a zone ends at another name of it.
func isStoppedInZone(r *twinRule, zone []twinRule, name *dnswire.Name) bool {
	if r.Match != format.Below || !slices.ContainsFunc(zone, func(z twinRule) bool { return z.Form == format.Zone }) {
		return false
	}
	text := "." + name.String()
	return slices.ContainsFunc(zone, func(z twinRule) bool {
		if z.Match == format.Pattern || len(z.Name) == 0 {
			return false
		}
		return strings.HasSuffix(text, z.text) && z.text != r.text && strings.HasSuffix(z.text, r.text)
	})
}

func twinMatches(r *twinRule, name *dnswire.Name, qtype uint16) bool {
	text, rule := "."+name.String(), r.text
	switch r.Match {
	case format.Exact:
		if text != rule {
			return false
		}
	case format.Subtree:
		if !strings.HasSuffix(text, rule) {
			return false
		}
	case format.Below:
		if !strings.HasSuffix(text, rule) || text == rule {
			return false
		}
	case format.Pattern:
		if !r.pattern.MatchString(name.String()) {
			return false
		}
	}
	if r.Extra == nil {
		return true
	}
	for _, deny := range r.Extra.DenyAllow {
		if strings.HasSuffix(text, "."+string(dnswire.AppendText(nil, deny))) {
			return false
		}
	}
	for _, no := range r.Extra.NotTypes {
		if no == qtype {
			return false
		}
	}
	if len(r.Extra.Types) == 0 {
		return true
	}
	return bytes.Contains([]byte(fmt.Sprint(r.Extra.Types)), []byte(fmt.Sprint(qtype)))
}

// isOpenBelow reports whether a block leaves names below one unblocked.
func (tw *twin) isOpenBelow(m *twinMatch, name *dnswire.Name) bool {
	x := m.rule.Extra
	switch {
	case m.rule.Action != format.Block, x != nil && len(x.Types)+len(x.NotTypes) > 0:
		return false
	case m.rule.Match == format.Exact, m.rule.Match == format.Pattern, x != nil && len(x.DenyAllow) > 0:
		return true
	}
	for _, l := range tw.lists {
		for _, r := range l.rules {
			if r.Action == format.Allow && r.Match != format.Pattern && r.text != "."+name.String() && strings.HasSuffix(r.text, "."+name.String()) {
				return true
			}
		}
	}
	return false
}

// specificity is more labels, then the name alone, then a subtree, then a regex.
func (m *twinMatch) specificity() int {
	if m.rule.Match == format.Pattern {
		return 0
	}
	labels := strings.Count(m.rule.text, ".")
	if m.rule.Match == format.Exact {
		return 10*labels + 2
	}
	return 10*labels + 1
}

func (m *twinMatch) tier() string {
	if m.rule.Annotation == nil {
		return ""
	}
	return m.rule.Annotation.Tier
}

func (tw *twin) enforced(m *twinMatch) bool {
	if m.list.observe {
		return false
	}
	return m.rule.Action != format.Block || m.list.kind == OwnList || m.tier() != "mixed" || tw.mixed
}

// blocks reports whether a rule would block, enforced or observing.
func (tw *twin) blocks(m *twinMatch, ms []twinMatch) bool {
	if m.rule.Action != format.Block {
		return false
	}
	if m.list.kind != Shipped {
		return true
	}
	if m.tier() == "essential" || m.tier() == "owner" {
		return false
	}
	for i := range ms { // a shipped list never blocks what is essential
		e := &ms[i]
		if e.list.kind == Shipped && e.tier() == "essential" && e.specificity() >= m.specificity() {
			return false
		}
	}
	return true
}

// reaches reports whether an exception holds here.
func (tw *twin) reaches(m *twinMatch, ms []twinMatch) bool {
	if m.rule.Form != format.Dnsmasq && m.rule.Form != format.DnsmasqAddress && m.rule.Form != format.Unbound && m.rule.Form != format.Zone {
		return true
	}
	for i := range ms {
		b := &ms[i]
		known := b.list.kind == Shipped && (b.tier() == "essential" || b.tier() == "owner")
		before := b.specificity() > m.specificity() || // in a zone, the first policy of a name counts
			b.specificity() == m.specificity() && m.rule.Form == format.Zone && b.rule.Line < m.rule.Line
		if b.at == m.at && b.rule.Action == format.Block && !known && before {
			return false
		}
	}
	return true
}

// best returns the first, by precedence, of the matches that are wanted.
func best(ms []twinMatch, wanted func(*twinMatch) bool, less func(a, b *twinMatch) bool) *twinMatch {
	var found []*twinMatch
	for i := range ms {
		if wanted(&ms[i]) {
			found = append(found, &ms[i])
		}
	}
	if len(found) == 0 {
		return nil
	}
	sort.SliceStable(found, func(i, j int) bool { return less(found[i], found[j]) })
	return found[0]
}

// bySpecificity leaves ties in the order of lists and lines.
func bySpecificity(a, b *twinMatch) bool { return a.specificity() > b.specificity() }

// A twinVerdict is what a twin decides.
type twinVerdict struct {
	action   string
	m        *twinMatch // nil for none
	enforced bool       // it is an enforced rule that decides
}

func (v twinVerdict) String() string {
	if v.m == nil {
		return v.action
	}
	return fmt.Sprintf("%s %s:%d", v.action, v.m.list.name, v.m.rule.Line)
}

func (tw *twin) decide(name *dnswire.Name, qtype uint16) string {
	return tw.decided(name, qtype, nil).String()
}

// decided decides a name; blocks that are spared are left out.
func (tw *twin) decided(name *dnswire.Name, qtype uint16, spared func(twinMatch) bool) twinVerdict {
	ms := tw.matching(name, qtype)
	if qtype == dnswire.TypeDS {
		ms = slices.DeleteFunc(ms, func(m twinMatch) bool { return tw.isOpenBelow(&m, name) })
	}
	if spared != nil {
		ms = slices.DeleteFunc(ms, func(m twinMatch) bool { return m.rule.Action == format.Block && spared(m) })
	}
	ownOf := func(m *twinMatch) bool { return m.list.kind == OwnList }
	isAllow := func(m *twinMatch) bool { return m.rule.Action == format.Allow }
	// The exceptions of a list that is alone with them are looked at first: what they
	// spare is no block any more, and for others they are not there.
	sparedOf := func(m *twinMatch) bool { return m.list.alone && !m.list.observe && tw.spared(m, ms) }
	for _, step := range []struct {
		wanted func(*twinMatch) bool
		less   func(a, b *twinMatch) bool
	}{
		{func(m *twinMatch) bool { return ownOf(m) && (isAllow(m) || m.rule.Action == format.Block) },
			func(a, b *twinMatch) bool {
				if a.specificity() != b.specificity() {
					return a.specificity() > b.specificity()
				}
				return isAllow(a) && !isAllow(b)
			}},
		{func(m *twinMatch) bool { return isAllow(m) && m.rule.Important && tw.reaches(m, ms) }, bySpecificity},
		{func(m *twinMatch) bool { return tw.blocks(m, ms) && m.rule.Important }, bySpecificity},
		{func(m *twinMatch) bool { return isAllow(m) && tw.reaches(m, ms) }, bySpecificity},
		{func(m *twinMatch) bool { return tw.blocks(m, ms) }, bySpecificity},
	} {
		m := best(ms, func(m *twinMatch) bool {
			if m.list.alone && isAllow(m) || sparedOf(m) {
				return false
			}
			return tw.enforced(m) && step.wanted(m)
		}, step.less)
		switch {
		case m == nil:
			continue
		case isAllow(m):
			return twinVerdict{"allow", m, true}
		case tw.observe:
			return twinVerdict{"observe", m, true}
		}
		return twinVerdict{"block", m, true}
	}
	m := best(ms, func(m *twinMatch) bool {
		return !tw.enforced(m) && tw.blocks(m, ms) && !tw.spared(m, ms)
	}, bySpecificity)
	if m != nil {
		return twinVerdict{"observe", m, false}
	}
	m = best(ms, func(m *twinMatch) bool {
		return m.list.alone && isAllow(m) && tw.enforced(m) && tw.reaches(m, ms) && slices.ContainsFunc(ms, func(b twinMatch) bool {
			return b.at == m.at && b.rule.Action == format.Block && (m.rule.Important || !b.rule.Important)
		})
	}, bySpecificity)
	if m != nil {
		return twinVerdict{"allow", m, true}
	}
	return twinVerdict{action: "pass"}
}

// strength is the place of a rule among those of DESIGN.md's list of precedence.
func strength(m *twinMatch) int {
	allow := m.rule.Action == format.Allow
	switch {
	case m.list.kind == OwnList:
		return 1
	case allow && m.list.alone:
		return 6
	case allow && m.rule.Important:
		return 2
	case m.rule.Important:
		return 3
	case allow:
		return 4
	}
	return 5
}

// decideAlias decides a question that is not blocked by itself together with one
// alias. An exception for the question spares it from what it is stronger than; what
// a shipped list knows of the question goes before what shipped lists say of the alias.
func (tw *twin) decideAlias(name, alias *dnswire.Name, qtype uint16) string {
	asked := tw.decided(name, qtype, nil)
	known, ms := false, tw.matching(name, qtype)
	for _, m := range ms {
		if m.list.kind == Shipped && (m.tier() == "essential" || m.tier() == "mixed" && m.rule.Action == format.Block) {
			known = true
		}
	}
	if qtype == dnswire.TypeDS {
		ms = slices.DeleteFunc(ms, func(m twinMatch) bool { return tw.isOpenBelow(&m, name) })
	}
	led := tw.decided(alias, qtype, func(b twinMatch) bool {
		return known && b.list.kind == Shipped || b.list.alone && slices.ContainsFunc(ms, func(e twinMatch) bool {
			return e.at == b.at && e.rule.Action == format.Allow && tw.reaches(&e, ms) && (e.rule.Important || !b.rule.Important)
		})
	})
	would := led.action == "block" || led.action == "observe"
	switch {
	case !would:
	case asked.action == "pass":
		return led.String() + " by alias"
	case asked.action == "allow":
		if led.enforced && strength(led.m) < strength(asked.m) {
			return led.String() + " by alias"
		}
	case asked.action == "observe" && led.enforced && !asked.enforced:
		return led.String() + " by alias"
	}
	return asked.String()
}

// spared reports whether an exception of the rule's own list wins over it.
func (tw *twin) spared(m *twinMatch, ms []twinMatch) bool {
	for i := range ms {
		e := &ms[i]
		if e.at != m.at || e.rule.Action != format.Allow {
			continue
		}
		if m.list.kind == OwnList {
			if e.specificity() >= m.specificity() {
				return true
			}
			continue
		}
		if tw.reaches(e, ms) && (e.rule.Important || !m.rule.Important) {
			return true
		}
	}
	return false
}

func (tw *twin) attribute(name *dnswire.Name, qtype uint16) string {
	ms := tw.matching(name, qtype)
	if slices.ContainsFunc(ms, func(m twinMatch) bool {
		return m.list.kind == Shipped && m.rule.Annotation != nil && m.tier() != "owner"
	}) {
		ms = slices.DeleteFunc(ms, func(m twinMatch) bool { return m.list.kind == Subscribed })
	}
	for _, owner := range []bool{false, true} {
		m := best(ms, func(m *twinMatch) bool { return m.rule.Annotation != nil && (m.tier() == "owner") == owner },
			func(a, b *twinMatch) bool {
				if a.specificity() != b.specificity() {
					return a.specificity() > b.specificity()
				}
				if (a.list.kind == Shipped) != (b.list.kind == Shipped) {
					return a.list.kind == Shipped
				}
				if a.list.kind == OwnList && b.list.kind == OwnList && a.rule.Action != b.rule.Action {
					return a.rule.Action == format.Allow
				}
				return false
			})
		if m != nil {
			return fmt.Sprintf("%s:%d", m.list.name, m.rule.Line)
		}
	}
	return ""
}

// randomLists makes lists that are full of conflicts.
func randomLists(r *rand.Rand) map[string]string {
	lists := map[string]string{}
	labels := []string{"a", "b", "c", "ads"}
	domain := func() string {
		n := "test.example"
		for range r.IntN(4) {
			n = labels[r.IntN(len(labels))] + "." + n
		}
		return n
	}
	tiers := []string{"telemetry", "mixed", "essential", "owner"}
	for _, file := range []string{"own.txt", "a.txt", "b.txt", "c.txt", "d.txt", "s1.txt", "s2.txt"} {
		var b strings.Builder
		for range r.IntN(8) {
			note := ""
			if r.IntN(3) == 0 || file[0] == 's' {
				note = " #@ vendor=V tier=" + tiers[r.IntN(len(tiers))]
			}
			n := domain()
			switch r.IntN(20) {
			case 0, 1, 2:
				fmt.Fprintf(&b, "%s%s\n", n, note)
			case 3:
				fmt.Fprintf(&b, "=%s%s\n", n, note)
			case 4:
				fmt.Fprintf(&b, "0.0.0.0 %s%s\n", n, note)
			case 5, 6:
				fmt.Fprintf(&b, "@@%s%s\n", n, note)
			case 7:
				fmt.Fprintf(&b, "@@=%s\n", n)
			case 8:
				fmt.Fprintf(&b, "||%s^$important\n", n)
			case 9:
				fmt.Fprintf(&b, "@@||%s^$important\n", n)
			case 10:
				fmt.Fprintf(&b, "server=/%s/#\n", n)
			case 11:
				fmt.Fprintf(&b, "address=/%s/\n", n)
			case 12:
				fmt.Fprintf(&b, "||%s^$dnstype=AAAA\n", n)
			case 13:
				fmt.Fprintf(&b, "||%s^$denyallow=%s\n", n, domain())
			case 14:
				fmt.Fprintf(&b, "/^%s\\..*example$/\n", labels[r.IntN(len(labels))])
			case 15:
				fmt.Fprintf(&b, "%s CNAME .\n*.%s CNAME .\n", n, n)
			case 16:
				fmt.Fprintf(&b, "*.%s CNAME *.\n", n)
			case 17:
				fmt.Fprintf(&b, "%s CNAME rpz-passthru.\n", n)
			case 18:
				fmt.Fprintf(&b, "local-zone: \"%s\" always_nxdomain\n", n)
			case 19:
				fmt.Fprintf(&b, "#@ name=%s vendor=V tier=%s\n", n, tiers[2+r.IntN(2)])
			}
		}
		lists[file] = b.String()
	}
	return lists
}

// pair makes a policy and its twin of the same lists.
func pair(t testing.TB, lists map[string]string, o Options) (*Policy, *twin) {
	shipped := fstest.MapFS{}
	s := &Store{opts: o, write: true, log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.index = rules.NewIndex("", false, nil, s.log)
	tw := &twin{observe: o.Observe, mixed: o.Tier == "mixed"}
	for _, file := range []string{"a.txt", "b.txt", "c.txt", "d.txt", "own.txt", "s1.txt", "s2.txt"} { // as they win ties
		kind := UserList
		switch {
		case file == "own.txt":
			kind = OwnList
		case file == "c.txt" || file == "d.txt":
			kind = Subscribed
		case file[0] == 's':
			kind = Shipped
			shipped[file] = &fstest.MapFile{Data: []byte(lists[file])}
		}
		settings := o.settingsFor(ListName(file), ListName(file), kind)
		fo := settings.FormatOptions(ListName(file), kind)
		got, err := rules.Read(strings.NewReader(lists[file]), rules.ReadOptions{Format: fo, AnySuffix: true})
		check(t, err)
		s.sources = append(s.sources, &source{name: ListName(file), kind: kind, settings: settings, used: true, set: got.Set})
		tl := twinList{name: ListName(file), kind: kind, observe: settings.Observe, alone: kind == Subscribed && !settings.Exceptions}
		format.Parse(strings.NewReader(lists[file]), fo, func(r *format.Rule) {
			tl.rules = append(tl.rules, newTwinRule(*r))
		})
		tw.lists = append(tw.lists, tl)
	}
	names, active, err := s.assignIDsLocked()
	check(t, err)
	return compile(&s.opts, active, names, &instant{wall: time.Now()}), tw
}

func compareTwins(t testing.TB, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	lists := randomLists(r)
	o := Options{Observe: r.IntN(8) == 0}
	if r.IntN(3) == 0 {
		o.Tier = "mixed"
	}
	for _, l := range []string{"a", "b", "d", "own"} {
		o.Lists = append(o.Lists, ListSettings{Name: l, Subscribed: l == "d", Observe: r.IntN(4) == 0, Exceptions: r.IntN(3) == 0})
	}
	p, tw := pair(t, lists, o)
	labels := []string{"a", "b", "c", "ads", "x"}
	var together decidedTogether
	for range 60 {
		ask := "test.example"
		for range r.IntN(4) {
			ask = labels[r.IntN(len(labels))] + "." + ask
		}
		n := name(t, ask)
		qtype := []uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeDS}[r.IntN(3)]
		v := p.Decide(n, qtype, 0)
		together.add(t, p, n, qtype, v)
		got, want := v.Action.String(), tw.decide(n, qtype)
		if v.Rule != 0 {
			rule := p.Rule(v.Rule)
			got += fmt.Sprintf(" %s:%d", rule.List, rule.Line)
		}
		if got != want {
			t.Fatalf("seed %d: %s %s: got %q, want %q\n%v\n%+v", seed, ask, dnswire.TypeString(qtype), got, want, show(lists), o)
		}
		if v.Action != Block {
			led := "test.example"
			for range r.IntN(4) {
				led = labels[r.IntN(len(labels))] + "." + led
			}
			compareAlias(t, p, tw, v, n, name(t, led), qtype, fmt.Sprintf("seed %d: %v\n%+v", seed, show(lists), o))
		}
		attr := ""
		if v.Attr != 0 {
			rule := p.Rule(v.Attr)
			attr = fmt.Sprintf("%s:%d", rule.List, rule.Line)
		}
		if want := tw.attribute(n, qtype); attr != want {
			t.Fatalf("seed %d: %s: attributed to %q, want %q\n%v", seed, ask, attr, want, show(lists))
		}
		c := p.Consider(n, qtype, 0)
		if c.Verdict != v || v.Rule != 0 && c.Matches[0].ID != v.Rule {
			t.Fatalf("seed %d: %s: Consider says otherwise than Decide: %+v", seed, ask, c)
		}
	}
}

// A decidedTogether is questions that are looked up at once, and what was decided of each
// alone.
type decidedTogether struct {
	batch    Batch
	names    []*dnswire.Name
	types    []uint16
	verdicts []Verdict
}

func (d *decidedTogether) add(t testing.TB, p *Policy, n *dnswire.Name, qtype uint16, v Verdict) {
	t.Helper()
	d.names, d.types, d.verdicts = append(d.names, n), append(d.types, qtype), append(d.verdicts, v)
	if len(d.names) < 20 {
		return
	}
	p.LookUp(d.names, &d.batch)
	for i, n := range d.names {
		if got := p.DecideIn(&d.batch, i, n, d.types[i], 0); got != d.verdicts[i] {
			t.Fatalf("%s %s: got %+v together, want %+v", n, dnswire.TypeString(d.types[i]), got, d.verdicts[i])
		}
	}
	d.names, d.types, d.verdicts = nil, nil, nil
}

// compareAlias compares what is decided of a question together with an alias.
func compareAlias(t testing.TB, p *Policy, tw *twin, v Verdict, n, alias *dnswire.Name, qtype uint16, where string) {
	t.Helper()
	joint, decides := p.DecideAlias(v, n, alias, qtype, 0)
	got, want := joint.Action.String(), tw.decideAlias(n, alias, qtype)
	if joint.Rule != 0 {
		rule := p.Rule(joint.Rule)
		got += fmt.Sprintf(" %s:%d", rule.List, rule.Line)
	}
	if decides {
		got += " by alias"
	}
	if got != want {
		t.Fatalf("%s -> %s %s: got %q, want %q\n%s", n, alias, dnswire.TypeString(qtype), got, want, where)
	}
}

func show(lists map[string]string) string {
	var b strings.Builder
	for file, text := range lists {
		fmt.Fprintf(&b, "-- %s --\n%s", file, text)
	}
	return b.String()
}

func TestDecideAgreesWithItsTwin(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds(150)) {
		compareTwins(t, seed)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { compareTwins(t, seed) })
}

func TestDecideDoesNotAllocate(t *testing.T) {
	most := 0.0
	if raced {
		most = 1 // with the race detector a sync.Pool forgets at random what it is given
	}
	dir := files(t, map[string]string{
		"a.txt":   "ads.example\n||imp.example^$important\n||t.example^$dnstype=A\n/^track[0-9]+\\.example$/\n",
		"own.txt": "@@ok.ads.example\n192.168.1.9 nas.lan\n",
		"z.txt":   "$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\n24.0.2.0.192.rpz-ip CNAME .\n",
	})
	shipped := shippedFS(map[string]string{"vendor.txt": "#@ name=example tier=owner vendor=V\nads.example #@ vendor=V tier=telemetry\n"})
	p := policyOf(t, Options{Dir: dir, Shipped: shipped, Groups: []GroupSettings{{Observe: true}}})
	for _, ask := range []string{"ads.example", "x.y.ads.example", "ok.ads.example", "nas.lan", "imp.example", "t.example", "track7.example", "www.unlisted.org", "_8443._https.ads.example"} {
		n := name(t, ask)
		for _, qtype := range []uint16{dnswire.TypeA, dnswire.TypeHTTPS, dnswire.TypeDS} {
			if got := testing.AllocsPerRun(1000, func() { p.Decide(n, qtype, 1) }); got > most {
				t.Errorf("%s %s: %v allocations", ask, dnswire.TypeString(qtype), got)
			}
		}
	}
	var batch Batch
	asked := []*dnswire.Name{name(t, "x.y.ads.example"), name(t, "track7.example"), name(t, "www.unlisted.org"), name(t, "_8443._https.ads.example")}
	together := func() {
		p.LookUp(asked, &batch)
		for i, n := range asked {
			p.DecideIn(&batch, i, n, dnswire.TypeHTTPS, 1)
		}
	}
	together() // its room is made once
	if got := testing.AllocsPerRun(1000, together); got > float64(len(asked))*most {
		t.Errorf("together: %v allocations", got)
	}
	nas, www, ads := name(t, "nas.lan"), name(t, "www.unlisted.org"), name(t, "x.y.ads.example")
	v := p.Decide(nas, dnswire.TypeA, 0)
	if got := testing.AllocsPerRun(1000, func() {
		p.Records(v, dnswire.TypeA)
		p.ListName(v.Rule)
		p.Custom(v)
		p.DecideAddress(v, nas, addr("192.0.2.7"), dnswire.TypeA, 0)
		p.DecideAlias(Verdict{}, www, ads, dnswire.TypeA, 0)
	}); got > most {
		t.Errorf("what an answer is made of: %v allocations", got)
	}
}
