package blocklists

// attribute returns the rule that says most specifically who wants the name:
// the annotated one, or else the one that names the owner.
func (p *Policy) attribute(ms []match) (RuleID, Level) {
	best, known := -1, p.shippedSay(ms)
	for i := range ms {
		m := &ms[i]
		if m.annotation == 0 || known && p.lists[m.list].kind == Subscribed {
			continue
		}
		if best < 0 || m.tellsMore(&ms[best]) {
			best = i
		}
	}
	switch {
	case best < 0:
		return 0, Unattributed
	case ms[best].flags&owner != 0:
		return ms[best].id, ByOwner
	}
	return ms[best].id, ByRule
}

// shippedSay reports whether a shipped list annotates a name or one above it as more
// than somebody's: subscriptions do not say otherwise then.
func (p *Policy) shippedSay(ms []match) bool {
	for i := range ms {
		if m := &ms[i]; m.annotation != 0 && m.flags&(shipped|owner) == shipped {
			return true
		}
	}
	return false
}

// tellsMore reports whether m attributes rather than o, both being annotated.
func (m *match) tellsMore(o *match) bool {
	if (m.flags^o.flags)&owner != 0 {
		return o.flags&owner != 0
	}
	if m.rank != o.rank {
		return m.rank > o.rank
	}
	if (m.flags^o.flags)&shipped != 0 {
		return m.flags&shipped != 0
	}
	return m.precedes(o)
}

// attributeByList attributes by a whole list's annotation where no rule does:
// the deciding rule's list, or else that of the most specific match.
func (p *Policy) attributeByList(v *Verdict, ms []match, decider int) {
	if v.Level == ByRule {
		return
	}
	if decider >= 0 {
		if p.lists[ms[decider].list].annotation != nil {
			v.Attr, v.Level = 0, ByList
			return
		}
		if len(ms) == 1 {
			return // nearly every listed name
		}
	}
	best := -1
	for i := range ms {
		if p.lists[ms[i].list].annotation != nil && (best < 0 || ms[i].precedes(&ms[best])) {
			best = i
		}
	}
	if best >= 0 {
		v.Attr, v.Level = ms[best].id, ByList
	}
}
