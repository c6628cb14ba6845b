package blocklists

import "telltale/blocklists/format"

// text returns a rule as its author wrote it where that was kept, else in
// canonical spelling. Format has the only spelling there is.
func (s *ruleSet) text(r *record, d detail) string {
	rule := format.Rule{Form: r.form, Match: d.match, Action: d.action, Important: d.important, Name: r.name, Extra: s.extraOf(d)}
	if r.kind.isReply() {
		rule.Extra = &format.Extra{Reply: s.Reply}
	}
	return string(rule.AppendText(nil))
}
