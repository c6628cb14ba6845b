package blocklists

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale/blocklists/format"
	"telltale/blocklists/rules"
	"telltale/dnswire"
	"telltale/sorting"
)

// A Consideration is a decision with everything it was made of, for showing.
type Consideration struct {
	Verdict Verdict
	Matches []Match            // every rule that matches, by precedence; those not in force last
	Shipped *format.Annotation // what the shipped lists say of the name; nil for nothing
	User    *format.Annotation // what the user's lists say; nil for nothing
	Because string             // what Verdict.ObservedBy leaves open, see Policy.Because
}

// A Match is one rule that matches a name.
type Match struct {
	ID        RuleID
	Rule      Rule
	Path      string // of the list's file; "" for a shipped list
	Kind      Kind   // of the list
	Action    format.Action
	Important bool
	Enforced  bool   // false where the rule only observes, or attributes, or takes no part
	Limit     Limit  // why it takes no part, or how far it reaches, where that is not all
	Detail    string // of the limit
	More      int    // further rules of the list to the same end, on later lines
}

// A Limit is why a rule does not do what its text says.
type Limit uint8

const (
	Unlimited            Limit = iota
	ListOutside                // its list's schedule; Detail says until when
	ListOff                    // its list is off
	ListOffForGroup            // its list is off for who asks
	AnnotatesOnly              // it is known and not blocked
	CancelsRule                // $badfilter: it removes the rule that is otherwise the same
	RemovesRewrites            // @@...$dnsrewrite: it removes rules that answer in a way of their own
	RewriteRemoved             // by such an exception
	NeverBlocks                // shipped as essential or as an owner
	YieldsToEssential          // to an entry of a shipped list
	LimitedByOwnList           // its list has a more specific block
	OwnBlocksOnly              // its list's exceptions hold for its own blocks alone, and none matches
	SparedByOwnList            // its list has an exception
	ListObserves               // its list only observes
	ListObservesForGroup       // its list only observes for who asks
	ListPaused                 // its list is paused; Detail says until when
	TierObserves               // tier mixed, which is not enforced
	Cancelled                  // by the $badfilter that Detail names
	Ended                      // at the time that Detail says
	EndUnreadable              // its until= cannot be read
	AnsweredByServer           // the server answers the name by itself
	OtherTypes                 // it holds for other types than the one asked for
	OtherClients               // it holds for those that Detail names
)

// Consider decides the question like Decide and says what it did so by. It reads
// the texts of the rules, so it may wait for a disk.
func (p *Policy) Consider(name *dnswire.Name, qtype uint16, g Group) Consideration {
	if p == nil {
		return Consideration{}
	}
	if qtype == dnswire.TypeHTTPS || qtype == dnswire.TypeSVCB {
		if owner, ok := name.PortOwner(); ok {
			name = &owner
		}
	}
	ms := p.matches(name, qtype, g, nil)
	c := Consideration{Verdict: p.decideAmong(ms, g)}
	c.Because = p.Because(c.Verdict, g)
	c.Shipped, c.User = p.annotations(ms)

	ms, more := p.fold(ms)
	mustWork := essentialRank(ms)
	sorting.StableBy(ms, func(a, b match) int { return p.inOrder(&a, &b, ms, mustWork, c.Verdict.Rule) })
	for i := range ms {
		m := p.show(&ms[i])
		m.Enforced, m.More = ms[i].class(ms, mustWork) != NoClass, more[m.ID]
		m.Limit = p.limit(&ms[i], ms, mustWork, g)
		switch m.Limit {
		case ListOutside:
			m.Detail = p.lists[ms[i].list].outside
		case ListPaused:
			m.Detail = p.Because(Verdict{Rule: m.ID, ObservedBy: p.lists[ms[i].list].by}, g)
		case Cancelled:
			by := p.Rule(p.cancelled[m.ID])
			m.Detail = fmt.Sprintf("%s:%d", by.List, by.Line)
		}
		c.Matches = append(c.Matches, m)
	}
	c.Matches = append(c.Matches, p.elsewhere(name, qtype, g)...)
	c.Matches = append(c.Matches, p.ended(name, qtype, g)...)
	return c
}

// fold leaves one rule, the first, of those of a list that say the same of a
// name, and returns by its id how many more there were.
func (p *Policy) fold(ms []match) (kept []match, more map[RuleID]int) {
	type key struct {
		list, rank uint16
		note       uint32
		action     format.Action
		reply      format.Reply
		effect     effect
		flags      uint16
	}
	more = map[RuleID]int{}
	at := map[key]int{}
	for _, m := range ms {
		k := key{m.list, m.rank, m.annotation, m.action, m.reply, m.effect, m.flags}
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
	d, ok := p.lists[m.list].set.Detail(m.rule)
	return !ok || d.Extra == 0 && d.Match != format.Pattern
}

// inOrder compares two rules by precedence: the decider, then the others by
// classOrder, then those that observe, then those that take no part.
func (p *Policy) inOrder(a, b *match, ms []match, mustWork int, decider RuleID) int {
	place := func(m *match) int {
		if m.id == decider {
			return -1
		}
		if i := slices.Index(classOrder[:], m.class(ms, mustWork)); i >= 0 {
			return i
		}
		return len(classOrder) + int(enforced-m.effect)
	}
	if c := cmp.Compare(place(a), place(b)); c != 0 {
		return c
	}
	if a.precedes(b) {
		return -1
	}
	return 1
}

// show returns what can be said of a rule by itself.
func (p *Policy) show(m *match) Match {
	l := &p.lists[m.list]
	return Match{ID: m.id, Rule: p.Rule(m.id), Path: l.path, Kind: l.kind, Action: m.action, Important: m.flags&important != 0}
}

// limit says why a rule does not do what its text says.
func (p *Policy) limit(m *match, ms []match, mustWork int, g Group) Limit {
	l := &p.lists[m.list]
	if l.outside != "" {
		return ListOutside
	}
	if p.isCancelled(m.id) {
		return Cancelled
	}
	pg := p.group(g)
	if pg.state(int(m.list)) == listIsOff {
		if g.settings() == 0 {
			return ListOff
		}
		return ListOffForGroup
	}
	switch {
	case m.action == format.Known:
		return AnnotatesOnly
	case m.action == format.Cancel:
		return CancelsRule
	case m.action == format.Unanswer:
		return RemovesRewrites
	case m.effect == silent && m.reply != format.Default:
		return RewriteRemoved
	case m.effect == silent:
		return NeverBlocks
	case m.flags&shipped != 0 && m.action != format.Allow && int(m.rank) <= mustWork:
		return YieldsToEssential
	case m.action == format.Allow && m.flags&scoped != 0 && m.limitedBy(ms):
		return LimitedByOwnList
	case m.action == format.Allow && m.flags&confined != 0 && !m.sparesOwn(ms):
		return OwnBlocksOnly
	case m.action != format.Allow && m.flags&confined != 0 && m.excepted(ms):
		return SparedByOwnList
	case m.effect != observing:
		return Unlimited
	}
	switch p.whyObserving(m, g) {
	case ByListPause, ByListWindow:
		return ListPaused
	case ByListObserve:
		if l.by == NotObserved {
			return ListObservesForGroup
		}
		return ListObserves
	}
	return TierObserves
}

// elsewhere returns the rules for a name that do not hold for this question: those
// for other clients, or for other types.
func (p *Policy) elsewhere(name *dnswire.Name, qtype uint16, g Group) (found []Match) {
	ids := make([]RuleID, 0, len(p.limited))
	whole := map[RuleID]bool{}
	for _, h := range p.lookup(name, nil) {
		id, k := rules.Split(h.Payload)
		if k == rules.Detailed {
			ids = append(ids, id)
			whole[id] = int(h.Labels) == name.Labels()
		}
	}
	text := dnswire.AppendText(nil, name.Wire())
	for i := range p.patterns {
		if r := &p.patterns[i]; r.re.Match(text) {
			ids = append(ids, r.id)
			whole[r.id] = true
		}
	}
	for _, id := range ids {
		at, rule := p.find(id)
		if at < 0 {
			continue
		}
		l := &p.lists[at]
		d, ok := l.set.Detail(rule)
		if !ok || l.set.ExtraOf(d) == nil || p.holds(id, &d, l, whole[id], name, qtype, g) {
			continue
		}
		if limit, detail := p.whereHolds(id, &d, l, whole[id], name, qtype); limit != Unlimited {
			m := match{id: id, rule: rule, list: uint16(at), flags: l.flags}
			l.addDetail(&m, &d, p.group(g))
			shown := p.show(&m)
			shown.Limit, shown.Detail = limit, detail
			found = append(found, shown)
		}
	}
	return found
}

// whereHolds says for whom, or for which types, a rule holds that does not hold for a
// question; Unlimited where it does not match the name.
func (p *Policy) whereHolds(id RuleID, d *rules.Detail, l *policyList, whole bool, name *dnswire.Name, qtype uint16) (Limit, string) {
	x := l.set.ExtraOf(*d)
	clients := slices.Concat(x.Clients, x.Tags)
	types := !rules.HoldsForType(x, qtype)
	if _, dead := p.dead[id]; dead || d.Match == format.Exact && !whole || d.Match == format.Below && whole {
		return Unlimited, ""
	}
	if slices.ContainsFunc(x.DenyAllow, func(below []byte) bool { return rules.IsBelow(name, below) }) {
		return Unlimited, ""
	}
	switch {
	case types:
		return OtherTypes, ""
	case len(clients) > 0:
		return OtherClients, strings.Join(clients, ", ")
	}
	return Unlimited, ""
}

// ended returns the rules that match but have ended.
func (p *Policy) ended(name *dnswire.Name, qtype uint16, g Group) (found []Match) {
	if len(p.dead) == 0 {
		return nil
	}
	all := *p
	all.dead = nil
	all.patterns = slices.Clone(p.patterns)
	for id := range p.dead {
		if at, rule := p.find(id); at >= 0 {
			if re, literal := p.lists[at].set.Compiled(rule); re != nil {
				all.patterns = append(all.patterns, pattern{re: re, literal: literal, id: id, invert: all.inverts(id)})
			}
		}
	}
	ms := slices.DeleteFunc(all.matches(name, qtype, g, nil), func(m match) bool { _, dead := p.dead[m.id]; return !dead })
	ms, more := p.fold(ms)
	sorting.By(ms, func(a, b match) int { return int(a.id) - int(b.id) })
	for i := range ms {
		m := p.show(&ms[i])
		m.More = more[m.ID]
		m.Limit, m.Detail = p.whenEnded(m.ID)
		found = append(found, m)
	}
	return found
}

// whenEnded says when a rule that is no longer in force ended.
func (p *Policy) whenEnded(id RuleID) (why Limit, detail string) {
	at, rule := p.find(id)
	l := &p.lists[at]
	d, _ := l.set.Detail(rule)
	a := l.set.AnnotationOf(d)
	if a == nil || a.Until.Equal(format.Ended) {
		return EndUnreadable, ""
	}
	return Ended, a.Until.Local().Format(time.DateTime)
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
		if m.annotation != 0 && (best[who] < 0 || m.tellsMore(&ms[best[who]])) {
			best[who] = i
		}
	}
	note := func(i int) *format.Annotation {
		if i < 0 {
			return nil
		}
		return p.lists[ms[i].list].set.Annotations[ms[i].annotation-1]
	}
	return note(best[0]), note(best[1])
}
