package blocklists

// Rules calls yield with each rule that ids name and its place among them, in
// their order, as Rule has it. Of ids that ascend, those that are near each
// other in a list's file are read at once, which costs a fraction of as many
// calls of Rule.
func (p *Policy) Rules(ids []RuleID, yield func(i int, r Rule)) {
	var rules []uint32
	for i := 0; i < len(ids); i += max(len(rules), 1) {
		list := -1
		if list, rules = p.run(ids[i:], rules[:0]); list < 0 {
			yield(i, p.Rule(ids[i])) // built in, or unknown
			continue
		}
		l := &p.lists[list]
		l.set.recordsOf(rules, func(k int, r record, err error) { yield(i+k, l.rule(&r, err)) })
	}
}

// run returns the list of the first of ids, and the rules in it of that one and
// those behind it as far as they ascend in the same list.
func (p *Policy) run(ids []RuleID, rules []uint32) (list int, _ []uint32) {
	list = -1
	for _, id := range ids {
		in, rule := -1, uint32(0)
		if _, ok := special(id); !ok && p != nil {
			in, rule = p.find(id)
		}
		if len(rules) == 0 {
			list = in
		}
		if in < 0 || in != list || len(rules) > 0 && rule < rules[len(rules)-1] {
			break
		}
		rules = append(rules, rule)
	}
	return list, rules
}

// rule returns a record for showing, or what is known where it cannot be read.
func (l *policyList) rule(r *record, err error) Rule {
	if err != nil {
		return Rule{List: l.name}
	}
	d := l.set.detailOf(r)
	return Rule{List: l.name, Line: r.line, Text: l.set.text(r, d), Annotation: l.set.noteOf(d)}
}
