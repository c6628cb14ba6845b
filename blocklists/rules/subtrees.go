package rules

import (
	"telltale/blocklists/format"
	"telltale/dnswire"
)

// Subtrees are names whose lower names are looked for in lists. Nil is none.
type Subtrees struct {
	names map[string]bool
	ends  map[string]bool // the last two labels of each
}

// NewSubtrees makes a set of names in wire form.
func NewSubtrees(names [][]byte) *Subtrees {
	s := &Subtrees{names: map[string]bool{}, ends: map[string]bool{}}
	for _, name := range names {
		s.names[string(name)] = true
		if end, ok := lastTwo(name); ok {
			s.ends[string(end)] = true
		}
	}
	return s
}

// above reports whether one of the names is above the given one. Names of one label
// are not considered.
func (s *Subtrees) above(name []byte) bool {
	if end, ok := lastTwo(name); !ok || !s.ends[string(end)] {
		return false // nearly every name
	}
	for name = parent(name); len(name) > 1; name = parent(name) {
		if s.names[string(name)] {
			return true
		}
	}
	return false
}

// lastTwo returns the last two labels of a wire name; ok is false where it has one.
func lastTwo(name []byte) (end []byte, ok bool) {
	if len(name) < 2 {
		return nil, false
	}
	for {
		next := parent(name)
		if len(next) <= 1 {
			return nil, false
		}
		if after := parent(next); len(after) <= 1 {
			return name, true
		}
		name = next
	}
}

// maxNear is how many names of one list are kept in Meta.Near.
const maxNear = 200

// near keeps the name of a rule that blocks something below one of the subtrees;
// of a pattern, a name that it matches.
func (w *writer) near(r *format.Rule) {
	if w.subtrees == nil || len(w.set.Near) >= maxNear || r.Action != format.Block && r.Action != format.Answer {
		return
	}
	name := r.Name
	if r.Match == format.Pattern {
		name = exampleOf(r.Regex)
	}
	if len(name) > 1 && w.subtrees.above(name) {
		if r.Match == format.Below { // not the name itself
			name = append([]byte{1, 'x'}, name...)
		}
		w.set.Near = append(w.set.Near, nameText(name))
	}
}

// exampleOf returns a name in wire form that a regular expression matches; nil
// where none was found.
func exampleOf(re string) []byte {
	text, ok := format.Example(re)
	if !ok {
		return nil
	}
	name, err := dnswire.AppendName(nil, text)
	if err != nil {
		return nil
	}
	return name
}
