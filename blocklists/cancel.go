package blocklists

import (
	"fmt"
	"strings"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// cancel obeys $badfilter: it finds the rules that are otherwise the same. An
// observing list cancels only rules of its own, and only the user's own file
// those of the user's own file.
func (p *Policy) cancel() {
	for i := range p.lists {
		l := &p.lists[i]
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
	want := ruleKey(&rec, l.set.extraOf(d), d.match, cancels(l.set.extraOf(d)), d.important, l.set.regex(d.rule))
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
		if ruleKey(&found, other.extraOf(fd), fd.match, fd.action, fd.important, other.regex(rule)) == want {
			p.cancelled[id] = struct{}{}
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

// ruleKey is equal for rules that say the same.
func ruleKey(r *record, x *format.Extra, m format.Match, action format.Action, important bool, regex string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%x %v %v %v %q", r.name, m, action, important, regex)
	if x != nil {
		fmt.Fprintf(&b, " %v %v %x %q %q %v %v %v %v", x.Types, x.NotTypes, x.DenyAllow, x.Clients, x.Tags, x.Reply, x.Records, x.Invert, x.Prefix)
		return b.String()
	}
	b.WriteString(noExtra)
	return b.String()
}

var noExtra = fmt.Sprintf(" %v %v %x %q %q %v %v %v %v", []uint16(nil), []uint16(nil), [][]byte(nil), []string(nil), []string(nil),
	format.Default, []format.Record(nil), false, format.Extra{}.Prefix)

// detailOf returns the details of any rule, plain ones included.
func (s *ruleSet) detailOf(r *record) detail {
	if d, ok := s.detail(r.rule); ok {
		return d
	}
	d := detail{rule: r.rule, match: r.match, form: r.form}
	if r.allow {
		d.action = format.Allow
	}
	return d
}
