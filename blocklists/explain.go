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
	Enforced  bool   // false where the rule only observes, or attributes, or has no say
	Note      string // why it has no say, or how far, where that is not all
	More      int    // further rules of the list to the same end, on later lines
}

// Explain judges the question like Decide, and says why. It reads the texts of
// the rules, so it may wait for a disk.
func (p *Policy) Explain(name *dnswire.Name, qtype uint16, g Group) Explanation {
	return p.explain(name, qtype, g, nil)
}

// explain is Explain with matches of lists that are not in the policy.
func (p *Policy) explain(name *dnswire.Name, qtype uint16, g Group, off []Match) Explanation {
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

	ms, more := p.fold(ms)
	guard := guardOf(ms)
	slices.SortStableFunc(ms, func(a, b match) int { return p.inOrder(&a, &b, ms, guard, e.Verdict.Rule) })
	for i := range ms {
		m := p.show(&ms[i])
		m.Enforced, m.Note, m.More = ms[i].class(ms, guard) != NoClass, p.limits(&ms[i], ms, guard, g), more[m.ID]
		e.Matches = append(e.Matches, m)
	}
	e.Matches = append(e.Matches, p.idle(name, qtype, g)...)
	e.Matches = append(e.Matches, off...)
	e.point()
	return e
}

// point finds the rules that decide and attribute among the matches.
func (e *Explanation) point() {
	attr := e.Verdict.Attr
	if attr == 0 && e.Verdict.Level == ByList {
		attr = e.Verdict.Rule
	}
	for i := range e.Matches {
		m := &e.Matches[i]
		switch {
		case m.ID == 0:
			continue
		case m.ID == e.Verdict.Rule:
			e.Decider = m
		}
		if m.ID == attr {
			e.Attr = m
		}
	}
}

// AnswerBy says that the server answers by itself, by a built-in rule, and how.
// No rule of a list has a say then.
func (e *Explanation) AnswerBy(rule RuleID, how string) {
	e.Verdict = e.Verdict.Policy.DecideSpecial(e.Verdict, rule)
	for i := range e.Matches {
		m := &e.Matches[i]
		if m.Enforced {
			m.Enforced, m.Note = false, "the server answers this name by itself"
		}
	}
	r, _ := special(rule)
	e.Matches = slices.Insert(e.Matches, 0, Match{ID: rule, Rule: r, Kind: Shipped, Action: format.Answer, Enforced: true})
	e.Why = "answered by this server itself (" + how + "), whatever lists say: " + r.Text
	e.Decider, e.Attr = nil, nil
	e.point()
}

// fold leaves one rule, the first, of those of a list that say the same of a
// name, and returns by its id how many more there were.
func (p *Policy) fold(ms []match) (kept []match, more map[RuleID]int) {
	type key struct {
		list, rank uint16
		note       uint32
		action     format.Action
		reply      format.Reply
		state      standing
		flags      uint8
	}
	more = map[RuleID]int{}
	at := map[key]int{}
	for _, m := range ms {
		k := key{m.list, m.rank, m.note, m.action, m.reply, m.state, m.flags}
		i, seen := at[k]
		if !seen || !p.isPlain(&m) {
			if !seen && p.isPlain(&m) {
				at[k] = len(kept)
			}
			kept = append(kept, m)
			continue
		}
		first := &kept[i]
		n := more[first.id] + 1
		if m.rule < first.rule {
			delete(more, first.id)
			*first = m
		}
		more[first.id] = n
	}
	return kept, more
}

// isPlain reports whether a rule is a name, and holds without conditions.
func (p *Policy) isPlain(m *match) bool {
	d, ok := p.lists[m.list].set.detail(m.rule)
	return !ok || d.extra == 0 && d.match != format.Pattern
}

// inOrder compares two rules by what they weigh: the decider, then the others by
// classOrder, then those that observe, then those that have no say.
func (p *Policy) inOrder(a, b *match, ms []match, guard int, decider RuleID) int {
	weight := func(m *match) int {
		if m.id == decider {
			return -1
		}
		if i := slices.Index(classOrder[:], m.class(ms, guard)); i >= 0 {
			return i
		}
		return len(classOrder) + int(enforced-m.state)
	}
	if c := cmp.Compare(weight(a), weight(b)); c != 0 {
		return c
	}
	if a.outweighs(b) {
		return -1
	}
	return 1
}

// show returns what can be said of a rule by itself.
func (p *Policy) show(m *match) Match {
	l := &p.lists[m.list]
	return Match{ID: m.id, Rule: p.Rule(m.id), Path: l.path, Kind: l.kind, Action: m.action, Important: m.flags&important != 0}
}

// limits says why a rule does not have the say that its text claims.
func (p *Policy) limits(m *match, ms []match, guard int, g Group) string {
	l := &p.lists[m.list]
	if l.outside != "" {
		return "the list is " + l.outside
	}
	if off := p.group(g).off; off != nil && off[m.list] {
		if g == 0 {
			return listOff
		}
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
	return v.Class.reason(v.Overrode) + p.reasonObserved(v, g)
}

// reason says why a rule of the class decided.
func (c Class) reason(overrode bool) string {
	switch c {
	case OwnRule:
		return "the user's own rules go before all others, and this is the most specific of them"
	case ImportantException:
		return "an important exception goes before all rules but the user's own"
	case ImportantBlock:
		return "an important rule goes before exceptions that are not"
	case Exception:
		if !overrode {
			return "an exception matches, and nothing that it would have to win over"
		}
		return "an exception goes before a block"
	}
	return "no exception matches, and this is the most specific block"
}

// reasonObserved continues the sentence of a verdict with what made it Observe.
func (p *Policy) reasonObserved(v *Verdict, g Group) string {
	switch v.ObservedBy {
	case ByPause:
		return "; blocking is paused now"
	case ByEverything:
		return "; everything is only observed now"
	case ByDevice:
		return "; the device is only observed now"
	case ByGroup:
		return "; the device's group is only observed now"
	case BySchedule:
		return "; for this device's group lists are " + p.group(g).outside
	case ByStreamAnswer:
		return "; the rule only sends clients to TCP, and the question did not come by UDP"
	}
	return ""
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
