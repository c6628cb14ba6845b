package subscribe

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// maxEssential is how many names that must work an update may newly block.
const maxEssential = 20

// essentials are the names that must work, to be found from above.
type essentials struct {
	names []string
	wires []string
	below map[string][]int // the names that are, or are below, a wire name
}

func newEssentials(names []string) *essentials {
	e := &essentials{below: map[string][]int{}}
	for _, name := range names {
		wire, err := dnswire.AppendName(nil, name)
		if err != nil {
			continue // it cannot be asked for, nor blocked
		}
		for at := 0; wire[at] != 0; at += 1 + int(wire[at]) {
			above := string(wire[at:])
			e.below[above] = append(e.below[above], len(e.wires))
		}
		e.names, e.wires = append(e.names, name), append(e.wires, string(wire))
	}
	return e
}

// A toll is which of the names that must work a list blocks, by their number.
type toll struct{ blocked, allowed map[int]bool }

func newToll() *toll { return &toll{map[int]bool{}, map[int]bool{}} }

// add looks at one rule of a list. Rules for some clients or types only leave the
// name to all others.
func (e *essentials) add(t *toll, r *format.Rule) {
	into := t.blocked
	switch r.Action {
	case format.Allow:
		into = t.allowed
	case format.Block, format.Answer:
	default:
		return
	}
	x := r.Extra
	if x != nil && len(x.Clients)+len(x.Tags)+len(x.Types)+len(x.NotTypes) > 0 {
		return
	}
	for _, i := range e.matching(r) {
		if x == nil || !isBelowAny(e.wires[i], x.DenyAllow) {
			into[i] = true
		}
	}
}

// matching returns the names a rule matches.
func (e *essentials) matching(r *format.Rule) (found []int) {
	switch r.Match {
	case format.Pattern:
		re, err := regexp.Compile(r.Regex)
		if err != nil {
			return nil // the parser has compiled it
		}
		for i, name := range e.names {
			if re.MatchString(name) != (r.Extra != nil && r.Extra.Invert) {
				found = append(found, i)
			}
		}
	case format.Subtree:
		return e.below[string(r.Name)]
	case format.Exact, format.Below:
		for _, i := range e.below[string(r.Name)] {
			if (e.wires[i] == string(r.Name)) == (r.Match == format.Exact) {
				found = append(found, i)
			}
		}
	}
	return found
}

func isBelowAny(wire string, zones [][]byte) bool {
	for _, zone := range zones {
		for at := 0; wire[at] != 0; at += 1 + int(wire[at]) {
			if wire[at:] == string(zone) {
				return true
			}
		}
	}
	return false
}

// left is what the list blocks and does not except.
func (t *toll) left() map[int]bool {
	for i := range t.allowed {
		delete(t.blocked, i)
	}
	return t.blocked
}

// tollOf reads the list at path for the names it blocks.
func (s *Subscriber) tollOf(path string, l List) (*toll, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := format.OpenLimit(f, 10*s.MaxSize)
	if err != nil {
		return nil, err
	}
	t := newToll()
	format.Parse(text, l.options(), func(r *format.Rule) { s.essentials.add(t, r) })
	return t, nil
}

// newlyBlocked says that an update blocks too much that must work and that the
// copy does not; "" if it does not.
func (s *Subscriber) newlyBlocked(l List, r *reading) string {
	now := r.toll.left()
	if len(now) <= maxEssential {
		return ""
	}
	before, err := s.tollOf(s.path(l.Name), l)
	if err != nil {
		return "" // there is no copy: the list is taken as it is
	}
	for i := range before.left() {
		delete(now, i)
	}
	if len(now) <= maxEssential {
		return ""
	}
	var some []string
	for i, name := range s.essentials.names {
		if now[i] && len(some) < 3 {
			some = append(some, name)
		}
	}
	return fmt.Sprintf("newly blocks %d names that must work, among them %s", len(now), strings.Join(some, ", "))
}
