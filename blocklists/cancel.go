package blocklists

import (
	"telltale/blocklists/format"
	"telltale/blocklists/rules"
	"telltale/dnswire"
)

// cancel obeys $badfilter: it finds the rules that are otherwise the same. A list
// cancels rules of its own; the user's own file those of every list.
func (p *Policy) cancel() {
	for i := range p.lists {
		l := &p.lists[i]
		if l.outside != "" {
			continue
		}
		for _, d := range l.set.Details {
			if _, dead := p.dead[l.id(d.Rule)]; dead || d.Action != format.Cancel {
				continue
			}
			p.cancelRule(i, d)
		}
	}
}

func (p *Policy) cancelRule(by int, d rules.Detail) {
	l := &p.lists[by]
	rec, err := l.set.Record(d.Rule)
	if err != nil {
		return
	}
	want := l.set.Key(&rec, d)
	for _, id := range p.rulesAt(&rec, d.Match) {
		at, rule := p.find(id)
		if at < 0 || !p.mayCancel(by, at) {
			continue
		}
		other := p.lists[at].set
		found, err := other.Record(rule)
		if err != nil {
			continue
		}
		if other.Key(&found, other.DetailOf(&found)) == want {
			p.cancelled[id] = l.id(d.Rule)
		}
	}
}

func (p *Policy) mayCancel(by, at int) bool {
	return by == at || p.lists[by].kind == OwnList && p.lists[by].exceptionEffect() == enforced
}

// rulesAt returns the rules that have the very name of a record, or, for
// patterns, all patterns.
func (p *Policy) rulesAt(rec *rules.Record, m format.Match) (ids []RuleID) {
	if m == format.Pattern {
		for i := range p.patterns {
			ids = append(ids, p.patterns[i].id)
		}
		return ids
	}
	var name dnswire.Name
	if _, err := name.Read(rec.Name, 0); err != nil {
		return nil
	}
	for _, h := range p.names.Lookup(&name, nil) {
		if int(h.Labels) == name.Labels() {
			id, _ := rules.Split(h.Payload)
			ids = append(ids, id)
		}
	}
	return ids
}
