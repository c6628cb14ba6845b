package rules

import (
	"fmt"
	"slices"

	"telltale/blocklists/format"
)

// Text returns a rule as its author wrote it where that was kept, else in
// canonical spelling. Format has the only spelling there is.
func (s *Set) Text(r *Record, d Detail) string {
	rule := format.Rule{Form: r.Form, Match: d.Match, Action: d.Action, Important: d.Important, Name: r.Name, Extra: s.ExtraOf(d)}
	if r.Kind.IsReply() {
		rule.Extra = &format.Extra{Reply: s.Reply}
	}
	return string(rule.AppendText(nil))
}

// Key is equal for rules that say the same with the given action.
func (s *Set) Key(r *Record, d Detail, action format.Action) string {
	var x format.Extra
	if have := s.ExtraOf(d); have != nil {
		x = *have
	}
	sorted := func(types []uint16) []uint16 { return slices.Sorted(slices.Values(types)) }
	x.Types, x.NotTypes = sorted(x.Types), sorted(x.NotTypes)
	x.Clients, x.Tags = slices.Sorted(slices.Values(x.Clients)), slices.Sorted(slices.Values(x.Tags))
	return fmt.Sprintf("%x %v %v %v %q %v %v %x %q %q %v %v %v %v", r.Name, d.Match, action, d.Important, s.regex(d.Rule),
		x.Types, x.NotTypes, x.DenyAllow, x.Clients, x.Tags, s.ReplyOf(r.Kind, d), x.Records, x.Invert, x.Prefix)
}
