package blocklists

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"time"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// Rules that would match but are not in force are no part of a decision. Who asks
// why a name is judged as it is wants to see them all the same: a rule that was
// written and does nothing is what most questions are about.

const listOff = "the list is off"

// Explain is Policy.Explain by the policy in force, with what the lists say that
// are off. It reads those as a whole, so it may take a second.
func (s *Store) Explain(name *dnswire.Name, qtype uint16, g Group) Explanation {
	return s.Current().explain(name, qtype, g, s.matchesOff(name, qtype))
}

// idle returns the rules of the policy's lists that match but have ended, or are
// removed by a $badfilter.
func (p *Policy) idle(name *dnswire.Name, qtype uint16, g Group) (found []Match) {
	if len(p.dead)+len(p.cancelled) == 0 {
		return nil
	}
	all := *p
	all.dead, all.cancelled = nil, nil
	all.patterns = slices.Clone(p.patterns)
	for id := range p.dead {
		if at, rule := p.find(id); at >= 0 {
			if re, literal := p.lists[at].set.compiled(rule); re != nil {
				all.patterns = append(all.patterns, pattern{re: re, literal: literal, id: id})
			}
		}
	}
	ms := slices.DeleteFunc(all.matches(name, qtype, g, nil), func(m match) bool { return p.whyIdle(m.id) == "" })
	ms, more := p.fold(ms)
	slices.SortFunc(ms, func(a, b match) int { return int(a.id) - int(b.id) })
	for i := range ms {
		m := p.show(&ms[i])
		m.Note, m.More = p.whyIdle(m.ID), more[m.ID]
		found = append(found, m)
	}
	return found
}

// whyIdle says why a rule is not in force; "" where it is.
func (p *Policy) whyIdle(id RuleID) string {
	if by, cancelled := p.cancelled[id]; cancelled {
		r := p.Rule(by)
		return fmt.Sprintf("removed by the $badfilter of %s:%d", r.List, r.Line)
	}
	if _, dead := p.dead[id]; !dead {
		return ""
	}
	at, rule := p.find(id)
	l := &p.lists[at]
	d, _ := l.set.detail(rule)
	n := l.set.noteOf(d)
	if n == nil || n.Until.Equal(format.Ended) {
		return "not in force: its until= cannot be read"
	}
	return "ended " + n.Until.Local().Format(time.DateTime)
}

// matchesOff returns the rules that match in lists that are off.
func (s *Store) matchesOff(name *dnswire.Name, qtype uint16) (found []Match) {
	for _, src := range s.offLists() {
		found = append(found, src.matches(name, qtype)...)
	}
	return found
}

// An offList is a list that is not loaded.
type offList struct {
	name, path string
	kind       Kind
	settings   ListSettings
	shipped    fs.FS
}

func (s *Store) offLists() (off []offList) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, src := range s.sources {
		if !src.used {
			off = append(off, offList{src.name, src.path, src.kind, src.settings, s.opts.Shipped})
		}
	}
	return off
}

func (l *offList) open() (io.ReadCloser, error) {
	if l.kind == Shipped {
		return l.shipped.Open(l.name + ".txt")
	}
	f, _, err := openList(l.path)
	return f, err
}

// matches reads a list through, and returns its rules for a question. What cannot
// be read has none: nobody relies on it.
func (l *offList) matches(name *dnswire.Name, qtype uint16) (found []Match) {
	f, err := l.open()
	if err != nil {
		return nil
	}
	defer f.Close()
	r, err := format.Open(io.LimitReader(f, maxFile))
	if err != nil {
		return nil
	}
	text := dnswire.AppendText(nil, name.Wire())
	format.Parse(r, l.settings.formatOptions(l.name, l.kind), func(r *format.Rule) {
		if isReverse(r) || !isAbout(r, name, text, qtype) {
			return
		}
		m := Match{
			Rule: Rule{List: l.name, Line: r.Line, Text: string(r.AppendText(nil)), Annotation: r.Note},
			Path: l.path, Kind: l.kind, Action: r.Action, Important: r.Important, Note: listOff,
		}
		if i := slices.IndexFunc(found, func(o Match) bool { return o.Rule.Text == m.Rule.Text }); i >= 0 {
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
		if !isBelow(name, r.Name) || r.Match == format.Below && len(name.Wire()) == len(r.Name) {
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
	return holdsForType(x, qtype) && !slices.ContainsFunc(x.DenyAllow, func(below []byte) bool { return isBelow(name, below) })
}
