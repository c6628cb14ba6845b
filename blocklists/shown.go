package blocklists

import "telltale/blocklists/rules"

// Rules calls yield with each rule that ids name and its place among them, in
// their order, as Rule has it. Of ids that ascend, those that are near each
// other in a list's file are read at once, which costs a fraction of as many
// calls of Rule.
func (p *Policy) Rules(ids []RuleID, yield func(i int, r Rule)) {
	var numbers []uint32
	for i := 0; i < len(ids); i += max(len(numbers), 1) {
		list := -1
		if list, numbers = p.run(ids[i:], numbers[:0]); list < 0 {
			yield(i, p.Rule(ids[i])) // built in, or unknown
			continue
		}
		l := &p.lists[list]
		l.set.RecordsOf(numbers, func(k int, r rules.Record, err error) { yield(i+k, l.rule(&r, err)) })
	}
}

// run returns the list of the first of ids, and the rules in it of that one and
// those behind it as far as they ascend in the same list.
func (p *Policy) run(ids []RuleID, numbers []uint32) (list int, _ []uint32) {
	list = -1
	for _, id := range ids {
		in, rule := -1, uint32(0)
		if _, ok := special(id); !ok && p != nil {
			in, rule = p.find(id)
		}
		if len(numbers) == 0 {
			list = in
		}
		if in < 0 || in != list || len(numbers) > 0 && rule < numbers[len(numbers)-1] {
			break
		}
		numbers = append(numbers, rule)
	}
	return list, numbers
}

// rule returns a record for showing, or what is known where it cannot be read.
func (l *policyList) rule(r *rules.Record, err error) Rule {
	if err != nil {
		return Rule{List: l.name}
	}
	d := l.set.DetailOf(r)
	return Rule{List: l.name, Line: r.Line, Text: l.set.Text(r, d), Annotation: l.set.AnnotationOf(d)}
}
