package blocklists

import (
	"net/netip"

	"telltale/blocklists/format"
	"telltale/blocklists/matcher"
	"telltale/dnswire"
)

// DecideAlias decides a question together with an alias that its answer leads to
// (CNAME, DNAME, a target of HTTPS or SVCB). V is what was decided of the question
// so far: by Decide, then by this method and DecideAddress of what came before in
// the answer. It returns the verdict of all that, and whether the alias decides.
//
// Rules for the alias and rules for the question's own name are decided by one
// precedence: an exception for the question spares the alias from the blocks that
// it would win over on the question itself. One thing is different: what a shipped
// list says of the question's own name (mixed, essential) wins over what shipped
// lists say of its alias, which they know from other names.
func (p *Policy) DecideAlias(v Verdict, name, alias *dnswire.Name, qtype uint16, g Group) (Verdict, bool) {
	if p == nil {
		return v, false
	}
	if qtype == dnswire.TypeHTTPS || qtype == dnswire.TypeSVCB {
		if owner, ok := alias.PortOwner(); ok {
			alias = &owner
		}
	}
	var room [24]matcher.Hit
	hits := p.lookup(alias, room[:0])
	if len(hits) == 0 && len(p.patterns) == 0 {
		return v, false // nearly every alias
	}
	return p.decideWithAlias(v, name, hits, alias, qtype, g)
}

// decideWithAlias is DecideAlias for an alias that some rule may match.
func (p *Policy) decideWithAlias(v Verdict, name *dnswire.Name, hits []matcher.Hit, alias *dnswire.Name, qtype uint16, g Group) (Verdict, bool) {
	var room [24]match
	return p.decideWith(v, name, p.matchesOf(hits, alias, qtype, g, room[:0]), qtype, g)
}

// DecideAddress decides a question together with an address that its answer holds,
// as DecideAlias does, by the lists' rules on addresses (RPZ's rpz-ip). The longest
// prefix is the most specific.
func (p *Policy) DecideAddress(v Verdict, name *dnswire.Name, addr netip.Addr, qtype uint16, g Group) (Verdict, bool) {
	if p == nil || p.addresses == nil {
		return v, false
	}
	var room [24]match
	return p.decideWith(v, name, p.matchAddress(addr, g, room[:0]), qtype, g)
}

// decideWith decides a question together with the rules that match something in its
// answer.
func (p *Policy) decideWith(v Verdict, name *dnswire.Name, answer []match, qtype uint16, g Group) (Verdict, bool) {
	if len(answer) == 0 {
		return v, false
	}
	if qtype == dnswire.TypeHTTPS || qtype == dnswire.TypeSVCB {
		if owner, ok := name.PortOwner(); ok {
			name = &owner
		}
	}
	var room [24]match
	asked := p.matches(name, qtype, g, room[:0])
	if p.saysMixedOrEssential(asked) {
		silenceShipped(answer)
	}
	silenceExcepted(asked, answer)
	return v.with(p.decideAmong(answer, g))
}

// saysMixedOrEssential reports whether a shipped list has an entry of tier mixed or
// essential among the rules that match a question.
func (p *Policy) saysMixedOrEssential(ms []match) bool {
	for i := range ms {
		m := &ms[i]
		if m.flags&essential != 0 || m.flags&shipped != 0 && m.action == format.Block && p.annotationOf(m).Tier == "mixed" {
			return true
		}
	}
	return false
}

// annotationOf returns what is said about a rule, or else about its list.
func (p *Policy) annotationOf(m *match) format.Annotation {
	l := &p.lists[m.list]
	switch {
	case m.annotation != 0:
		return *l.set.Annotations[m.annotation-1]
	case l.annotation != nil:
		return *l.annotation
	}
	return format.Annotation{}
}

// silenceShipped takes the blocks of shipped lists out.
func silenceShipped(ms []match) {
	for i := range ms {
		if m := &ms[i]; m.flags&shipped != 0 && m.action != format.Allow {
			m.effect = silent
		}
	}
}

// silenceExcepted takes out the blocks of lists whose exceptions hold for their own
// blocks alone, where such an exception matches what was asked.
func silenceExcepted(asked, answer []match) {
	for i := range asked {
		e := &asked[i]
		if e.action != format.Allow || e.flags&confined == 0 || e.effect == silent || e.flags&scoped != 0 && e.limitedBy(asked) {
			continue
		}
		for j := range answer {
			b := &answer[j]
			if b.list == e.list && b.action != format.Allow && (e.flags&important != 0 || b.flags&important == 0) {
				b.effect = silent
			}
		}
	}
}

// with returns the verdict of a question, so far v, whose answer leads to something
// that gets the verdict a by itself, and whether that one decides.
func (v Verdict) with(a Verdict) (Verdict, bool) {
	if a.Action != Block && a.Action != Observe {
		return v, false
	}
	enforced := !a.ObservedBy.isRule()
	switch v.Action {
	case Pass:
		return a, true
	case Observe:
		if a.Action == Block || enforced && v.ObservedBy.isRule() {
			return a, true
		}
	case Allow:
		if enforced && a.Class < v.Class {
			return a, true
		}
		v.Overrode = true
	}
	return v, false
}

// isRule reports whether the rule itself only observes, so that it takes no part
// where another one is enforced.
func (o ObservedBy) isRule() bool {
	return o == ByListObserve || o == ByTier || o == ByListPause || o == ByListWindow
}
