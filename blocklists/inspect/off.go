package inspect

import (
	"bytes"
	"io"
	"regexp"
	"slices"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/blocklists/rules"
	"telltale/dnswire"
)

// Rules of lists that are off are no part of a decision. Who asks why a name is
// decided as it is wants to see them all the same: a rule that was written and
// does nothing is what most questions are about.

// matchesOff returns the rules that match in lists that are off.
func matchesOff(lists []blocklists.OffList, name *dnswire.Name, qtype uint16) (found []blocklists.Match) {
	for i := range lists {
		found = append(found, matchesIn(&lists[i], name, qtype)...)
	}
	return found
}

// matchesIn reads a list through and returns its rules for a question. What cannot
// be read has none: nobody relies on it.
func matchesIn(l *blocklists.OffList, name *dnswire.Name, qtype uint16) (found []blocklists.Match) {
	f, err := l.Open()
	if err != nil {
		return nil
	}
	defer f.Close()
	r, err := format.Open(io.LimitReader(f, rules.MaxFile))
	if err != nil {
		return nil
	}
	text := dnswire.AppendText(nil, name.Wire())
	format.Parse(r, l.Format, func(r *format.Rule) {
		if rules.IsReverse(r) || !isAbout(r, name, text, qtype) {
			return
		}
		m := blocklists.Match{
			Rule: blocklists.Rule{List: l.Name, Line: r.Line, Text: string(r.AppendText(nil)), Annotation: r.Annotation},
			Path: l.Path, Kind: l.Kind, Action: r.Action, Important: r.Important, Limit: blocklists.ListOff,
		}
		if i := slices.IndexFunc(found, func(o blocklists.Match) bool { return o.Rule.Text == m.Rule.Text }); i >= 0 {
			found[i].More++
			return
		}
		found = append(found, m)
	})
	return found
}

// isAbout reports whether a rule as it was read matches a question, whoever asks.
// Text is the name in presentation form.
func isAbout(r *format.Rule, name *dnswire.Name, text []byte, qtype uint16) bool {
	x := r.Extra
	switch r.Match {
	case format.Exact:
		if !bytes.Equal(name.Wire(), r.Name) {
			return false
		}
	case format.Subtree, format.Below:
		if !rules.IsBelow(name, r.Name) || r.Match == format.Below && len(name.Wire()) == len(r.Name) {
			return false
		}
	case format.Pattern:
		re, err := regexp.Compile(r.Regex)
		if err != nil || re.Match(text) == (x != nil && x.Invert) {
			return false
		}
	default:
		return false
	}
	if x == nil {
		return true
	}
	return rules.HoldsForType(x, qtype) && !slices.ContainsFunc(x.DenyAllow, func(below []byte) bool { return rules.IsBelow(name, below) })
}
