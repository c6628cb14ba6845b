package blocklists

import (
	"cmp"
	"slices"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// An Explanation says why a name is judged as it is.
type Explanation struct {
	Name    string
	Type    string
	Verdict Verdict
	Why     string             // one sentence: why the decider won
	Matches []Match            // every rule that matches, the most weighty first
	Decider *Match             // in Matches; nil where nothing decided
	Attr    *Match             // in Matches: the rule, or a rule of the list, that attributes; nil for none
	Shipped *format.Annotation // what the shipped lists say of the name; nil for nothing
	User    *format.Annotation // what the user's lists say; nil for nothing
}

// A Match is one rule that matches a name.
type Match struct {
	ID        RuleID
	Rule      Rule
	Path      string // of the list's file; "" for a shipped list
	Kind      Kind   // of the list
	Action    format.Action
	Important bool
	Enforced  bool   // false where the rule only observes, or attributes
	Note      string // why it has no say, or how far, where that is not all
}

// Explain judges the question like Decide, and says why. It reads the texts of
// the rules, so it may wait for a disk.
func (p *Policy) Explain(name *dnswire.Name, qtype uint16, g Group) Explanation {
	e := Explanation{Name: name.String(), Type: dnswire.TypeString(qtype)}
	if p == nil {
		e.Why = "no lists are loaded"
		return e
	}
	ms := p.matches(name, qtype, g, nil)
	e.Verdict = p.judge(ms, g)
	at, _ := decider(ms)
	e.Why = p.why(ms, at, &e.Verdict, g)
	e.Shipped, e.User = p.annotations(ms)

	guard := guardOf(ms)
	slices.SortStableFunc(ms, func(a, b match) int { return p.inOrder(&a, &b, ms, guard, e.Verdict.Rule) })
	for i := range ms {
		e.Matches = append(e.Matches, p.show(&ms[i], ms, guard, g))
	}
	attr := e.Verdict.Attr
	if attr == 0 && e.Verdict.Level == ByList {
		attr = e.Verdict.Rule
	}
	for i := range e.Matches {
		m := &e.Matches[i]
		if m.ID == e.Verdict.Rule {
			e.Decider = m
		}
		if m.ID == attr {
			e.Attr = m
		}
	}
	return e
}

// inOrder compares two rules by what they weigh: the decider, then the others by
// precedence, then those that observe, then those that have no say.
func (p *Policy) inOrder(a, b *match, ms []match, guard int, decider RuleID) int {
	weight := func(m *match) int {
		if m.id == decider {
			return -1
		}
		if c := m.class(ms, guard); c != noClass {
			return c
		}
		return classes + int(enforced-m.state)
	}
	if c := cmp.Compare(weight(a), weight(b)); c != 0 {
		return c
	}
	if a.outweighs(b) {
		return -1
	}
	return 1
}

func (p *Policy) show(m *match, ms []match, guard int, g Group) Match {
	l := &p.lists[m.list]
	return Match{
		ID: m.id, Rule: p.Rule(m.id), Path: l.path, Kind: l.kind, Action: m.action,
		Important: m.flags&important != 0, Enforced: m.class(ms, guard) != noClass,
		Note: p.limits(m, ms, guard, g),
	}
}

// limits says why a rule does not have the say that its text claims.
func (p *Policy) limits(m *match, ms []match, guard int, g Group) string {
	l := &p.lists[m.list]
	if off := p.group(g).off; off != nil && off[m.list] {
		return "the list is off for this group"
	}
	switch {
	case m.action == format.Known:
		return "attributes only: known, not blocked"
	case m.action == format.Cancel:
		return "removes the rule that is otherwise the same"
	case m.action == format.Unanswer:
		return "removes rules that answer in a way of their own"
	case m.state == silent && m.flags&replies != 0:
		return "removed by an exception with $dnsrewrite"
	case m.state == silent:
		return "shipped as essential or as an owner, so never blocked"
	case m.flags&shipped != 0 && m.action != format.Allow && int(m.rank) <= guard:
		return "yields to an entry that is essential"
	case m.action == format.Allow && m.flags&scoped != 0 && m.limitedBy(ms):
		return "does not reach here: its list has a more specific block"
	case m.state == observing && l.observe:
		return "the list only observes"
	case m.state == observing:
		return "tier mixed, which only observes unless blocking.tier is mixed"
	}
	return ""
}

// why says in one sentence why the decider won.
func (p *Policy) why(ms []match, at int, v *Verdict, g Group) string {
	switch {
	case len(ms) == 0:
		return "no rule matches"
	case at < 0 && v.Action == Observe:
		return "no enforced rule matches, and the most specific observing one would block"
	case at < 0:
		return "rules match, but none of them blocks or allows"
	}
	m := &ms[at]
	var why string
	switch m.class(ms, guardOf(ms)) {
	case byOwn:
		why = "the user's own rules go before all others, and this is the most specific of them"
	case byImportantException:
		why = "an important exception goes before all rules but the user's own"
	case byImportant:
		why = "an important rule goes before exceptions that are not"
	case byException:
		why = "an exception goes before a block"
		if !v.Overrode {
			why = "an exception matches, and nothing that it would have to win over"
		}
	default:
		why = "no exception matches, and this is the most specific block"
	}
	if v.Action != Observe {
		return why
	}
	if p.observe {
		return why + "; everything is only observed now"
	}
	return why + "; the group is only observed now"
}

// annotations returns what the shipped lists and the others say most
// specifically of a name.
func (p *Policy) annotations(ms []match) (ours, theirs *format.Annotation) {
	best := [2]int{-1, -1}
	for i := range ms {
		m, who := &ms[i], 1
		if m.flags&shipped != 0 {
			who = 0
		}
		if m.note != 0 && (best[who] < 0 || m.tellsMore(&ms[best[who]])) {
			best[who] = i
		}
	}
	note := func(i int) *format.Annotation {
		if i < 0 {
			return nil
		}
		return p.lists[ms[i].list].set.Notes[ms[i].note-1]
	}
	return note(best[0]), note(best[1])
}
