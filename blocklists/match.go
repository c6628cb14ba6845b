package blocklists

import (
	"bytes"
	"sync"

	"telltale/blocklists/format"
	"telltale/blocklists/matcher"
	"telltale/blocklists/rules"
	"telltale/dnswire"
)

// matches appends every rule that matches the question.
func (p *Policy) matches(name *dnswire.Name, qtype uint16, g Group, ms []match) []match {
	var room [24]matcher.Hit
	return p.matchesOf(p.lookup(name, room[:0]), name, qtype, g, ms)
}

// lookup appends the rules with this name or one above it.
func (p *Policy) lookup(name *dnswire.Name, hits []matcher.Hit) []matcher.Hit {
	if p.names == nil {
		return hits
	}
	return p.names.Lookup(name, hits)
}

// matchesOf appends every rule that matches the question: those of hits which do,
// and patterns.
func (p *Policy) matchesOf(hits []matcher.Hit, name *dnswire.Name, qtype uint16, g Group, ms []match) []match {
	for i, h := range hits {
		from := len(ms)
		ms = p.matchHit(h, name, qtype, g, ms)
		if p.zones && i > 0 && len(ms) > from && p.isStopped(&ms[from], h, hits[:i]) {
			ms = ms[:from]
		}
	}
	if len(p.patterns) > 0 {
		ms = p.matchPatterns(name, qtype, g, ms)
	}
	return ms
}

// isStopped reports whether a match is a star of a zone that does not reach the name
// asked for, because a name in between, or that very name, is in the zone (RFC 4592,
// 3.3.1). Closer are the hits that are more specific, or equally so and earlier. In a
// list that holds a zone every name counts as the zone's.
func (p *Policy) isStopped(m *match, h matcher.Hit, closer []matcher.Hit) bool {
	l := &p.lists[m.list]
	if !l.zone || !l.isBelow(m, h) {
		return false
	}
	for _, c := range closer {
		id, _ := rules.Split(c.Payload)
		if at, _ := p.find(id); c.Labels > h.Labels && at == int(m.list) {
			return true
		}
	}
	return false
}

// isBelow reports whether a rule matches only what is below its name.
func (l *policyList) isBelow(m *match, h matcher.Hit) bool {
	switch _, k := rules.Split(h.Payload); k {
	case rules.BlockBelow, rules.ReplyBelow, rules.AllowBelow:
		return true
	case rules.Detailed:
		d, _ := l.set.Detail(m.rule)
		return d.Match == format.Below
	}
	return false
}

func (p *Policy) matchHit(h matcher.Hit, name *dnswire.Name, qtype uint16, g Group, ms []match) []match {
	id, k := rules.Split(h.Payload)
	whole := int(h.Labels) == name.Labels()
	switch k {
	case rules.BlockExact, rules.ReplyExact, rules.AllowExact:
		if !whole {
			return ms
		}
	case rules.BlockBelow, rules.ReplyBelow, rules.AllowBelow:
		if whole {
			return ms
		}
	}
	at, rule := p.find(id)
	if at < 0 {
		return ms
	}
	l, pg := &p.lists[at], p.group(g)
	m := match{id: id, rule: rule, list: uint16(at), rank: uint16(h.Labels)<<2 | 1, flags: l.flags}
	switch {
	case k == rules.Detailed:
		d, ok := l.set.Detail(rule)
		if !ok || !p.holds(id, &d, l, whole, name, qtype, g) {
			return ms
		}
		if d.Match == format.Exact {
			m.rank++
		}
		l.addDetail(&m, &d, pg)
	case k >= rules.AllowSubtree:
		m.action, m.effect = format.Allow, l.exceptionEffect()
		if k == rules.AllowScoped {
			m.flags |= scoped
		}
	default:
		m.effect = l.plainBlockFor(pg)
		if k.IsReply() {
			m.reply = l.set.Reply
		}
	}
	if k == rules.BlockExact || k == rules.ReplyExact || k == rules.AllowExact {
		m.rank++
	}
	if pg.lists != nil {
		m.heed(pg.lists[at])
	}
	if isDelegation(qtype) && p.isOpenBelow(&m, k, name) || p.isCancelled(id) {
		m.effect = silent
	}
	return append(ms, m)
}

// isDelegation reports whether a type is what validators need of a name to prove
// what is below it (RFC 4035, 5). It carries no address.
func isDelegation(qtype uint16) bool { return qtype == dnswire.TypeDS || qtype == dnswire.TypeDNSKEY }

// isOpenBelow reports whether a block leaves names below the one asked for unblocked,
// so that its delegation must be provable.
func (p *Policy) isOpenBelow(m *match, k rules.Kind, name *dnswire.Name) bool {
	if m.action != format.Block || m.flags&byType != 0 {
		return false // a rule that names the type means it
	}
	if k == rules.BlockExact || k == rules.ReplyExact {
		return true
	}
	l := &p.lists[m.list]
	if d, ok := l.set.Detail(m.rule); ok && k == rules.Detailed {
		x := l.set.ExtraOf(d)
		if d.Match == format.Exact || d.Match == format.Pattern || x != nil && len(x.DenyAllow) > 0 {
			return true
		}
	}
	for i := range p.lists {
		if p.lists[i].set.ExceptsBelow(name.Wire()) {
			return true
		}
	}
	return false
}

// heed makes of a rule what a group makes of its list.
func (m *match) heed(is listState) {
	switch {
	case is == listIsOff:
		m.effect = silent
	case is == listObserves && m.effect == enforced:
		m.effect = observing
	}
}

func (p *Policy) isCancelled(id RuleID) bool {
	if len(p.cancelled) == 0 {
		return false
	}
	_, ok := p.cancelled[id]
	return ok
}

// commonFlags returns the flags that each of the list's rules has.
func (l *policyList) commonFlags() uint16 {
	switch {
	case l.kind.isOwn():
		return own
	case l.kind == Shipped:
		return shipped
	case l.confined:
		return confined
	}
	return 0
}

// addDetail fills in what a rule's details say, for a member of g.
func (l *policyList) addDetail(m *match, d *rules.Detail, g *policyGroup) {
	m.action, m.annotation = d.Action, d.Annotation
	if x := l.set.ExtraOf(*d); x != nil {
		m.reply = x.Reply
		if len(x.Types)+len(x.NotTypes) > 0 {
			m.flags |= byType
		}
	}
	if d.Important {
		m.flags |= important
	}
	n := l.set.AnnotationOf(*d)
	if n != nil {
		if l.kind != Shipped && !n.Until.IsZero() && *n == (format.Annotation{Until: n.Until}) {
			m.annotation = 0 // an end says nothing of whose the name is
		}
		switch n.Tier {
		case "essential":
			if l.kind == Shipped {
				m.flags |= essential
			}
		case "owner":
			m.flags |= owner
		}
	}
	switch d.Action {
	case format.Known, format.Cancel:
		m.effect = silent
	case format.Unanswer:
		m.effect = l.exceptionEffect()
	case format.Allow:
		m.effect = l.exceptionEffect()
		if rules.IsScoped(d.Form) {
			m.flags |= scoped
		}
		if d.Form == format.Zone {
			m.flags |= inZone
		}
	default:
		m.effect = l.blockEffect(n, l.enforcesMixed(g))
		if d.Action == format.Answer && l.by == ByListPause {
			m.effect = enforced // local answers stay
		}
	}
}

// holds reports whether a rule with details matches the question.
func (p *Policy) holds(id RuleID, d *rules.Detail, l *policyList, whole bool, name *dnswire.Name, qtype uint16, g Group) bool {
	if d.Match == format.Exact && !whole || d.Match == format.Below && whole {
		return false
	}
	if _, dead := p.dead[id]; dead {
		return false
	}
	x := l.set.ExtraOf(*d)
	if x == nil {
		return true
	}
	if !rules.HoldsForType(x, qtype) {
		return false
	}
	for _, below := range x.DenyAllow {
		if rules.IsBelow(name, below) {
			return false
		}
	}
	if len(x.Clients)+len(x.Tags) > 0 && !p.holdsFor(id, g) {
		return false
	}
	return true
}

// texts lends the room in which patterns read a name.
var texts = sync.Pool{New: func() any { b := make([]byte, 0, 4*dnswire.MaxName); return &b }}

func (p *Policy) matchPatterns(name *dnswire.Name, qtype uint16, g Group, ms []match) []match {
	room := texts.Get().(*[]byte)
	text := dnswire.AppendText((*room)[:0], name.Wire())
	for i := range p.patterns {
		ms = p.matchPattern(&p.patterns[i], text, name, qtype, g, ms)
	}
	texts.Put(room)
	return ms
}

func (p *Policy) matchPattern(r *pattern, text []byte, name *dnswire.Name, qtype uint16, g Group, ms []match) []match {
	matches := bytes.Contains(text, r.literal) && r.re.Match(text)
	if matches == r.invert {
		return ms // nearly always
	}
	at, rule := p.find(r.id)
	l := &p.lists[at]
	d, ok := l.set.Detail(rule)
	if !ok || !p.holds(r.id, &d, l, true, name, qtype, g) {
		return ms
	}
	m := match{id: r.id, rule: rule, list: uint16(at), effect: enforced, flags: l.flags}
	pg := p.group(g)
	l.addDetail(&m, &d, pg)
	m.heed(pg.state(at))
	if p.isCancelled(r.id) || isDelegation(qtype) && p.isOpenBelow(&m, rules.Detailed, name) {
		m.effect = silent
	}
	return append(ms, m)
}
