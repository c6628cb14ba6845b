package rules

import "telltale/blocklists/format"

// Rule returns a rule as the parser gave it, but for its line and annotation.
func (s *Set) Rule(r *Record, d Detail) format.Rule {
	rule := format.Rule{Form: r.Form, Match: d.Match, Action: d.Action, Important: d.Important, Name: r.Name, Regex: s.regex(r.Rule), Extra: s.ExtraOf(d)}
	if r.Kind.IsReply() {
		rule.Extra = &format.Extra{Reply: s.Reply}
	}
	return rule
}

// Text returns a rule as its author wrote it where that was kept, else in canonical
// spelling.
func (s *Set) Text(r *Record, d Detail) string {
	rule := s.Rule(r, d)
	return string(rule.AppendText(nil))
}

// Key is equal for rules that say the same. That of a $badfilter rule is that of the
// rule which it removes.
func (s *Set) Key(r *Record, d Detail) string {
	rule := s.Rule(r, d)
	return rule.Key()
}
