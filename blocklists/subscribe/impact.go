package subscribe

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"telltale/blocklists/format"
	"telltale/dnswire"
	"telltale/sorting"
)

// maxEssential is how many names that must work an update may newly block.
const maxEssential = 20

// maxNewIPv4 and maxNewIPv6 are how much of the Internet's addresses an update
// may newly block: a /8 of IPv4, a /24 of IPv6.
const (
	maxNewIPv4 = 1 << (32 - 8)
	maxNewIPv6 = 1 << (64 - 24) // in /64
)

// A nameSet finds which of some names the rules of a list are about.
type nameSet struct {
	names  []string
	wires  []string
	byName map[string][]int // names that are meant with all below them, by wire name
	below  map[string][]int // the names that are, or are below, a wire name
}

// knownNames are names that an update is compared with.
type knownNames struct {
	essential *nameSet // that must work
	listed    *nameSet // that shipped lists block
}

// knownNames are the names there are now. They are not kept: an update is rare, and
// they take more memory than the list of a small home.
func (s *Subscriber) knownNames() (*knownNames, error) {
	var essential, listed []string
	if s.Known != nil {
		var err error
		if essential, listed, err = s.Known(); err != nil {
			return nil, fmt.Errorf("the names that updates are compared with: %w", err)
		}
	}
	return &knownNames{newNameSet(essential), newNameSet(listed)}, nil
}

// newNameSet makes a set of names. One that begins with "=" is meant alone, any
// other with all below it.
func newNameSet(names []string) *nameSet {
	s := &nameSet{byName: map[string][]int{}, below: map[string][]int{}}
	for _, name := range names {
		name, exact := strings.CutPrefix(name, "=")
		wire, err := dnswire.AppendName(nil, name)
		if err != nil {
			continue // it cannot be asked for, nor blocked
		}
		if !exact {
			s.byName[string(wire)] = append(s.byName[string(wire)], len(s.wires))
		}
		for at := 0; wire[at] != 0; at += 1 + int(wire[at]) {
			above := string(wire[at:])
			s.below[above] = append(s.below[above], len(s.wires))
		}
		s.names, s.wires = append(s.names, name), append(s.wires, string(wire))
	}
	return s
}

// matching calls yield with each name that a rule matches, and with each name
// below which it matches something; whole tells one from the other.
func (s *nameSet) matching(r *format.Rule, yield func(i int, whole bool)) {
	switch r.Match {
	case format.Pattern:
		re, err := regexp.Compile(r.Regex)
		if err != nil {
			return // the parser has compiled it
		}
		invert := r.Extra != nil && r.Extra.Invert
		for i, name := range s.names {
			if re.MatchString(name) != invert {
				yield(i, true)
			}
		}
		if invert {
			return
		}
		if example, ok := format.Example(r.Regex); ok {
			if wire, err := dnswire.AppendName(nil, example); err == nil {
				s.above(wire, yield)
			}
		}
	case format.Subtree, format.Exact, format.Below:
		for _, i := range s.below[string(r.Name)] {
			same := s.wires[i] == string(r.Name)
			if r.Match == format.Subtree || same == (r.Match == format.Exact) {
				yield(i, true)
			} else if same && r.Match == format.Below {
				yield(i, false)
			}
		}
		s.above(r.Name, yield)
	}
}

// above calls yield with each name that a wire name is below of.
func (s *nameSet) above(wire []byte, yield func(i int, whole bool)) {
	if len(wire) == 0 || wire[0] == 0 {
		return
	}
	for at := 1 + int(wire[0]); wire[at] != 0; at += 1 + int(wire[at]) {
		for _, i := range s.byName[string(wire[at:])] {
			yield(i, false)
		}
	}
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

// An impact is what a list does to names that are known, and to addresses.
type impact struct {
	known    *knownNames
	blocked  map[int]bool // names that must work, or something below them
	allowed  map[int]bool // names that must work
	excepted map[int]bool // names that shipped lists block, or something below them
	prefixes []netip.Prefix
}

func newImpact(known *knownNames) *impact {
	return &impact{known: known, blocked: map[int]bool{}, allowed: map[int]bool{}, excepted: map[int]bool{}}
}

// add looks at one rule of a list. Blocks for some clients or types only leave the
// name to all others.
func (m *impact) add(r *format.Rule) {
	s, x := m.known, r.Extra
	some := x != nil && len(x.Clients)+len(x.Tags)+len(x.Types)+len(x.NotTypes) > 0
	switch {
	case r.Action == format.Allow:
		s.listed.matching(r, func(i int, _ bool) { m.excepted[i] = true })
		if !some {
			s.essential.matching(r, func(i int, whole bool) {
				if whole && (x == nil || !isBelowAny(s.essential.wires[i], x.DenyAllow)) {
					m.allowed[i] = true
				}
			})
		}
	case r.Action != format.Block && r.Action != format.Answer || some:
	case r.Match == format.Address:
		m.prefixes = append(m.prefixes, x.Prefix)
	case r.Match == format.Server: // whom names of a list are served by is not known here
	default:
		s.essential.matching(r, func(i int, whole bool) {
			if !whole || x == nil || !isBelowAny(s.essential.wires[i], x.DenyAllow) {
				m.blocked[i] = true
			}
		})
	}
}

// left is what the list blocks of what must work and does not except.
func (m *impact) left() map[int]bool {
	for i := range m.allowed {
		delete(m.blocked, i)
	}
	return m.blocked
}

// span returns how many addresses of IPv4, and how many /64 of IPv6, prefixes
// have together.
func span(prefixes []netip.Prefix) (v4, v6 uint64) {
	prefixes = slices.Clone(prefixes)
	sorting.By(prefixes, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var last netip.Prefix
	for _, p := range prefixes {
		if last.IsValid() && last.Overlaps(p) {
			continue // it is within the last one
		}
		last = p
		if p.Addr().Is4() {
			v4 += 1 << (32 - p.Bits())
		} else {
			v6 += 1 << max(0, 64-p.Bits())
		}
	}
	return v4, v6
}

// impactOf reads the list at path for what it does.
func (s *Subscriber) impactOf(path string, l List, known *knownNames) (*impact, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := format.OpenLimit(f, 10*s.MaxSize)
	if err != nil {
		return nil, err
	}
	m := newImpact(known)
	format.Parse(text, l.options(), m.add)
	return m, nil
}

// harm says what an update newly does that a person should look at before it is
// in force; "" for nothing.
func (s *Subscriber) harm(l List, after *impact) string {
	blocked := after.left()
	v4, v6 := span(after.prefixes)
	excepts := l.Exceptions && len(after.excepted) > 0
	if len(blocked) <= maxEssential && v4 <= maxNewIPv4 && v6 <= maxNewIPv6 && !excepts {
		return ""
	}
	before, err := s.impactOf(s.path(l.Name), l, after.known)
	if err != nil {
		return "" // there is no copy: the list is taken as it is
	}
	if n, some := newOf(after.known.essential, before.left(), blocked); n > maxEssential {
		return fmt.Sprintf("newly blocks %d names that must work, among them %s", n, some)
	}
	if n, some := newOf(after.known.listed, before.excepted, after.excepted); n > 0 && excepts {
		return fmt.Sprintf("newly excepts %d names that shipped lists know, among them %s", n, some)
	}
	had4, had6 := span(before.prefixes)
	switch {
	case v4 > had4+maxNewIPv4:
		return fmt.Sprintf("newly blocks answers with %d million addresses of IPv4", (v4-had4)>>20)
	case v6 > had6+maxNewIPv6:
		return fmt.Sprintf("newly blocks answers with %d prefixes of IPv6 of 32 bits", (v6-had6)>>32)
	}
	return ""
}

// newOf returns how many of a set are after and not before, and names some.
func newOf(set *nameSet, before, after map[int]bool) (n int, some string) {
	var names []string
	for i, name := range set.names {
		if !after[i] || before[i] {
			continue
		}
		if n++; len(names) < 3 {
			names = append(names, name)
		}
	}
	return n, strings.Join(names, ", ")
}
