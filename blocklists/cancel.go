package blocklists

import (
	"fmt"
	"slices"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// cancel obeys $badfilter: it finds the rules that are otherwise the same. An
// observing list cancels only rules of its own, and only the user's own file
// those of the user's own file.
func (p *Policy) cancel() {
	for i := range p.lists {
		l := &p.lists[i]
		if l.outside != "" {
			continue
		}
		for _, d := range l.set.details {
			if _, dead := p.dead[l.id(d.rule)]; dead || d.action != format.Cancel {
				continue
			}
			p.cancelRule(i, d)
		}
	}
}

func (p *Policy) cancelRule(by int, d detail) {
	l := &p.lists[by]
	rec, err := l.set.record(d.rule)
	if err != nil {
		return
	}
	want := l.set.key(&rec, d, cancels(l.set.extraOf(d)))
	for _, id := range p.rulesAt(&rec, d.match) {
		at, rule := p.find(id)
		if at < 0 || !p.mayCancel(by, at) {
			continue
		}
		other := p.lists[at].set
		found, err := other.record(rule)
		if err != nil {
			continue
		}
		fd := other.detailOf(&found)
		if other.key(&found, fd, fd.action) == want {
			p.cancelled[id] = l.id(d.rule)
		}
	}
}

func (p *Policy) mayCancel(by, at int) bool {
	switch {
	case by == at:
		return true
	case p.lists[by].observe:
		return false
	}
	return p.lists[at].kind != OwnList
}

// rulesAt returns the rules that have the very name of a record, or, for
// patterns, all patterns.
func (p *Policy) rulesAt(rec *record, m format.Match) (ids []RuleID) {
	if m == format.Pattern {
		for i := range p.patterns {
			ids = append(ids, p.patterns[i].id)
		}
		return ids
	}
	var name dnswire.Name
	if _, err := name.Read(rec.name, 0); err != nil {
		return nil
	}
	for _, h := range p.names.Lookup(&name, nil) {
		if int(h.Labels) == name.Labels() {
			ids = append(ids, RuleID(h.Payload>>kindBits))
		}
	}
	return ids
}

func cancels(x *format.Extra) format.Action {
	if x == nil {
		return format.Block
	}
	return x.Cancels
}

// key is equal for rules that say the same with the given action.
func (s *ruleSet) key(r *record, d detail, action format.Action) string {
	var x format.Extra
	if have := s.extraOf(d); have != nil {
		x = *have
	}
	sorted := func(types []uint16) []uint16 { return slices.Sorted(slices.Values(types)) }
	x.Types, x.NotTypes = sorted(x.Types), sorted(x.NotTypes)
	x.Clients, x.Tags = slices.Sorted(slices.Values(x.Clients)), slices.Sorted(slices.Values(x.Tags))
	return fmt.Sprintf("%x %v %v %v %q %v %v %x %q %q %v %v %v %v", r.name, d.match, action, d.important, s.regex(d.rule),
		x.Types, x.NotTypes, x.DenyAllow, x.Clients, x.Tags, s.replyOf(r.kind, d), x.Records, x.Invert, x.Prefix)
}
