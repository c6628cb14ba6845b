package blocklists

import (
	"telltale/blocklists/format"
	"telltale/blocklists/matcher"
	"telltale/dnswire"
)

// A match is a rule that matches a question, with what its place among others depends on.
type match struct {
	id         RuleID
	rule       uint32 // in its list
	annotation uint32 // in its list's annotations, from 1; 0 for none
	list       uint16
	rank       uint16 // how specific: more labels, then the name alone, then a subtree, then a pattern
	action     format.Action
	reply      format.Reply
	effect     effect
	flags      uint16
}

const (
	important uint16 = 1 << iota
	own              // of the user's own file
	shipped          // of a shipped list
	scoped           // an exception that a more specific block of its own list limits
	essential        // a shipped list says that it must work
	owner            // says only who owns it
	confined         // of a list whose exceptions hold for its own blocks alone
	byType           // holds for some types of record alone
	inZone           // of a response policy zone, where the first policy of a name counts
)

// An effect is what a rule does where it matches.
type effect uint8

const (
	silent    effect = iota // it attributes at most
	observing               // it would block, and that is recorded
	enforced
)

// classOrder is the classes in the order in which they win, as DESIGN.md and
// docs/lists.md describe it. This is its only place.
var classOrder = [...]Class{OwnRule, ImportantException, ImportantBlock, Exception, ListBlock}

// classes is one more than the highest number of a class.
const classes = ListException + 1

// class returns the class of an enforced rule, NoClass for one that does not take
// part. MustWork is the rank of the most specific entry that a shipped list calls
// essential.
func (m *match) class(ms []match, mustWork int) Class {
	if m.effect != enforced {
		return NoClass
	}
	switch {
	case m.action == format.Allow:
		if m.flags&(scoped|own) == scoped && m.limitedBy(ms) || m.flags&confined != 0 && !m.sparesOwn(ms) {
			return NoClass
		}
	case m.flags&shipped != 0 && int(m.rank) <= mustWork, m.flags&confined != 0 && m.excepted(ms):
		return NoClass
	}
	return m.ofClass()
}

// ofClass returns the class that a rule has by itself.
func (m *match) ofClass() Class {
	switch {
	case m.flags&own != 0:
		return OwnRule
	case m.action == format.Allow && m.flags&confined != 0:
		return ListException
	case m.action == format.Allow && m.flags&important != 0:
		return ImportantException
	case m.action == format.Allow:
		return Exception
	case m.flags&important != 0:
		return ImportantBlock
	}
	return ListBlock
}

// limitedBy reports whether the list of an exception has a more specific block or,
// in a zone, an earlier one for the same name.
func (m *match) limitedBy(ms []match) bool {
	for i := range ms {
		o := &ms[i]
		before := o.rank > m.rank || o.rank == m.rank && m.flags&inZone != 0 && o.rule < m.rule
		if o.list == m.list && before && (o.action == format.Block || o.action == format.Answer) && o.effect != silent {
			return true
		}
	}
	return false
}

// precedes reports whether m goes before o, both being of one class.
func (m *match) precedes(o *match) bool {
	if m.rank != o.rank {
		return m.rank > o.rank
	}
	if m.flags&o.flags&own != 0 && (m.action == format.Allow) != (o.action == format.Allow) {
		return m.action == format.Allow
	}
	if m.list != o.list {
		return m.list < o.list
	}
	return m.rule < o.rule
}

// Decide decides the question (name, qtype) asked by a member of g. It neither
// allocates nor waits, and the same question to the same policy is decided the
// same for ever. HTTPS and SVCB of _PORT._https.NAME (RFC 9460, 2.3) are decided as
// those of NAME.
func (p *Policy) Decide(name *dnswire.Name, qtype uint16, g Group) Verdict {
	if p == nil {
		return Verdict{}
	}
	if isService(name, qtype) {
		return p.decideService(name, qtype, g)
	}
	var room [24]matcher.Hit
	hits := p.lookup(name, room[:0])
	if len(hits) == 0 && len(p.patterns) == 0 {
		return Verdict{Policy: p} // nearly every name
	}
	return p.decide(hits, name, qtype, g)
}

// isService reports whether a question may be for a service at another port.
func isService(name *dnswire.Name, qtype uint16) bool {
	return (qtype == dnswire.TypeHTTPS || qtype == dnswire.TypeSVCB) && name.Wire()[0] > 1 && name.Wire()[1] == '_'
}

// decideService is Decide for such a question.
func (p *Policy) decideService(name *dnswire.Name, qtype uint16, g Group) Verdict {
	if owner, ok := name.PortOwner(); ok {
		name = &owner
	}
	var room [24]matcher.Hit
	return p.decide(p.lookup(name, room[:0]), name, qtype, g)
}

// decide is Decide for what some rule may match.
func (p *Policy) decide(hits []matcher.Hit, name *dnswire.Name, qtype uint16, g Group) Verdict {
	var room [24]match
	ms := p.matchesOf(hits, name, qtype, g, room[:0])
	if len(ms) == 0 {
		return Verdict{Policy: p}
	}
	return p.decideAmong(ms, g)
}

// decideAmong decides by the rules that match.
func (p *Policy) decideAmong(ms []match, g Group) Verdict {
	v := Verdict{Policy: p}
	i, spared, blocked := 0, -1, true
	if len(ms) != 1 || !ms[0].blocksAlone() { // as nearly every listed name
		exceptRewrites(ms)
		i, spared, blocked = decider(ms)
		v.Attr, v.Level = p.attribute(ms)
	}
	if i < 0 {
		if i = observer(ms); i >= 0 {
			m := &ms[i]
			v.Action, v.Rule, v.Class, v.ObservedBy = Observe, m.id, m.ofClass(), p.whyObserving(m, g)
			p.attributeByList(&v, ms, i)
			return v
		}
		if i = spared; i < 0 {
			p.attributeByList(&v, ms, -1)
			return v
		}
	}
	m := &ms[i]
	v.Rule, v.Class = m.id, m.ofClass()
	p.attributeByList(&v, ms, i)
	switch m.action {
	case format.Allow:
		v.Action, v.Overrode = Allow, blocked
	case format.Answer:
		v.Action, v.Mode = Answer, Records
	default:
		if v.ObservedBy = p.observes(m, &v, g); v.ObservedBy != NotObserved {
			v.Action = Observe
		} else {
			v.Action, v.Mode = Block, p.modeOf(m, g)
		}
	}
	return v
}

// whyObserving says why a rule for a member of g only observes.
func (p *Policy) whyObserving(m *match, g Group) ObservedBy {
	l, pg := &p.lists[m.list], p.group(g)
	var n *format.Annotation
	if m.annotation != 0 {
		n = l.set.Annotations[m.annotation-1]
	}
	return l.whyObserving(n, pg, pg.state(int(m.list)))
}

// observes returns what makes an enforced block one that is only observed for a
// group, where v has its attribution; NotObserved where nothing does.
func (p *Policy) observes(m *match, v *Verdict, g Group) ObservedBy {
	switch by := p.group(g).observedBy; {
	case p.observedBy != NotObserved:
		return p.observedBy
	case by != NotObserved:
		return by
	case g&overStream != 0 && m.reply == format.Truncate:
		return ByStreamAnswer
	}
	return p.vendorBy(v)
}

// blocksAlone reports whether the rule blocks and attributes nothing, whoever asks,
// where it is the only one that matches.
func (m *match) blocksAlone() bool {
	return m.effect == enforced && m.action == format.Block && m.annotation == 0
}

// exceptRewrites obeys @@...$dnsrewrite: it silences the rules that reply in a way of
// their own. A list that observes, or whose exceptions hold for itself, silences only
// its own, and only the user's own file those of the user's own file.
func exceptRewrites(ms []match) {
	for i := range ms {
		by := &ms[i]
		if by.action != format.Unanswer {
			continue
		}
		for j := range ms {
			m := &ms[j]
			mine := m.list == by.list
			if m.reply != format.Default && (mine || by.effect == enforced && by.flags&confined == 0 && m.flags&own == 0) {
				m.effect = silent
			}
		}
		by.effect = silent
	}
}

// decider returns the rule that decides, -1 where no enforced one does; the exception
// that spares a name from its own list's blocks, -1 for none; and whether any rule,
// also an observing one, would block.
func decider(ms []match) (at, spared int, blocked bool) {
	mustWork := essentialRank(ms)
	var best [classes]int // by class, from 1; 0 for none
	for i := range ms {
		m := &ms[i]
		if m.effect != silent && m.action != format.Allow {
			blocked = true
		}
		c := m.class(ms, mustWork)
		if c != NoClass && (best[c] == 0 || m.precedes(&ms[best[c]-1])) {
			best[c] = i + 1
		}
	}
	for _, c := range classOrder {
		if best[c] > 0 {
			return best[c] - 1, best[ListException] - 1, blocked
		}
	}
	return -1, best[ListException] - 1, blocked
}

// essentialRank returns the rank of the most specific entry that a shipped list calls
// essential, -1 for none: shipped lists do not block what is no more specific.
func essentialRank(ms []match) int {
	rank := -1
	for i := range ms {
		if ms[i].flags&essential != 0 {
			rank = max(rank, int(ms[i].rank))
		}
	}
	return rank
}

// observer returns the most specific rule that would block if it were enforced,
// -1 for none. The exceptions of its own list are the only ones it knows.
func observer(ms []match) int {
	best, mustWork := -1, essentialRank(ms)
	for i := range ms {
		m := &ms[i]
		if m.effect != observing || m.action == format.Allow || m.flags&shipped != 0 && int(m.rank) <= mustWork || m.excepted(ms) {
			continue
		}
		if best < 0 || m.precedes(&ms[best]) {
			best = i
		}
	}
	return best
}

// sparesOwn reports whether an exception wins over a block of its own list.
func (m *match) sparesOwn(ms []match) bool {
	for i := range ms {
		b := &ms[i]
		if b.list == m.list && b.effect != silent && b.action != format.Allow && (m.flags&important != 0 || b.flags&important == 0) {
			return true
		}
	}
	return false
}

// excepted reports whether a rule's own list has an exception that wins over it.
func (m *match) excepted(ms []match) bool {
	for i := range ms {
		e := &ms[i]
		switch {
		case e.list != m.list || e.action != format.Allow || e.effect == silent:
		case e.flags&own != 0:
			if e.rank >= m.rank {
				return true
			}
		case e.flags&scoped != 0 && e.limitedBy(ms):
		case e.flags&important != 0 || m.flags&important == 0:
			return true
		}
	}
	return false
}

func (p *Policy) group(g Group) *policyGroup {
	if n := g.settings(); n > 0 && n < len(p.ofs) {
		return &p.groups[p.ofs[n]]
	}
	return &p.groups[0]
}

// modeOf returns how a block is answered: as the rule says, else as the group,
// the list or the configuration does.
func (p *Policy) modeOf(m *match, g Group) Mode {
	l := &p.lists[m.list]
	switch m.reply {
	case format.NullIP:
		return Null
	case format.NXDomain:
		return NXDomain
	case format.NoData:
		return NoData
	case format.Refuse:
		return Refuse
	case format.Drop:
		return Drop
	case format.Truncate:
		return Truncate
	}
	if m.flags&byType != 0 {
		return NoData // answers of one name must agree across types
	}
	return p.modeFor(l, g)
}

// modeFor returns how a list's blocks are answered for a group.
func (p *Policy) modeFor(l *policyList, g Group) Mode {
	switch pg := p.group(g); {
	case pg.hasMode:
		return pg.mode
	case l.hasMode:
		return l.mode
	}
	return p.mode
}
