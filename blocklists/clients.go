package blocklists

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"telltale/blocklists/format"
	"telltale/blocklists/rules"
	"telltale/dnswire"
	"telltale/sorting"
)

// GroupOf returns the group of who asks from an address, with the settings of
// that number. It does not allocate, and only looks at the address where there
// is a rule about some.
func (p *Policy) GroupOf(settings uint16, client netip.Addr) Group {
	if p == nil || len(p.ranges.prefixes) == 0 {
		return Group(settings)
	}
	return Group(settings) | Group(p.ranges.find(client))<<16
}

func (g Group) settings() int { return int(g & 0xffff) }
func (g Group) inRange() int  { return int(g &^ overStream >> 16) }

// A clientRanges numbers the address ranges that rules name, from 1. All that
// rules can tell of an address is the smallest range that it is in: any other
// one that has it has all of that.
type clientRanges struct {
	numbers  map[netip.Prefix]uint16
	prefixes []netip.Prefix // by number; none for 0
	bits4    []int          // the lengths that occur, the longest first
	bits6    []int
}

const maxRanges = 1<<15 - 1

// add numbers a range, and reports whether there was room for it.
func (r *clientRanges) add(prefix netip.Prefix) bool {
	if _, have := r.numbers[prefix]; have {
		return true
	}
	if r.numbers == nil {
		r.numbers, r.prefixes = map[netip.Prefix]uint16{}, make([]netip.Prefix, 1)
	}
	if len(r.prefixes) > maxRanges {
		return false
	}
	r.numbers[prefix] = uint16(len(r.prefixes))
	r.prefixes = append(r.prefixes, prefix)
	lengths := &r.bits6
	if prefix.Addr().Is4() {
		lengths = &r.bits4
	}
	*lengths = addLength(*lengths, prefix.Bits())
	return true
}

// find returns the number of the smallest range that has an address; 0 for none.
func (r *clientRanges) find(a netip.Addr) uint16 {
	a = a.Unmap()
	lengths := r.bits6
	if a.Is4() {
		lengths = r.bits4
	}
	for _, bits := range lengths {
		if prefix, err := a.Prefix(bits); err == nil {
			if n, ok := r.numbers[prefix]; ok {
				return n
			}
		}
	}
	return 0
}

// addLength adds a prefix length to those that occur, the longest first.
func addLength(lengths []int, bits int) []int {
	if !slices.Contains(lengths, bits) {
		lengths = append(lengths, bits)
		sorting.By(lengths, func(a, b int) int { return b - a })
	}
	return lengths
}

// A limit says for whom a rule with $client or $ctag holds.
type limit struct {
	settings []reach        // by the number of settings
	wanted   []netip.Prefix // addresses, for whom neither is said
	unwanted []netip.Prefix // never for these
}

// Clients returns the names by which $client of rules means devices, in order.
func (p *Policy) Clients() []string {
	if p == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(p.clients))
}

// A reach is whether a rule holds for devices with some settings.
type reach uint8

const (
	never    reach = iota // its tags, or a name that it excludes, say so
	byRange               // if the address is wanted
	wherever              // unless the address is unwanted
)

// holdsFor reports whether a rule with $client or $ctag holds for a group.
func (p *Policy) holdsFor(id RuleID, g Group) bool {
	l := p.limited[id]
	if l == nil || g.settings() >= len(l.settings) || l.settings[g.settings()] == never {
		return false
	}
	var at netip.Prefix
	if n := g.inRange(); n > 0 && n < len(p.ranges.prefixes) {
		at = p.ranges.prefixes[n]
	}
	if isWithinAny(at, l.unwanted) {
		return false
	}
	return l.settings[g.settings()] == wherever || isWithinAny(at, l.wanted)
}

func isWithinAny(prefix netip.Prefix, all []netip.Prefix) bool {
	for _, p := range all {
		if p.Bits() <= prefix.Bits() && p.Contains(prefix.Addr()) {
			return true
		}
	}
	return false
}

// addLimit notes for whom a rule with $client or $ctag holds. Addresses hold for
// who asks from there, and for the devices whose settings name them. Who has no
// settings has no name and no tag. It reports whether there is room for the
// rule's addresses; where there is none, it holds for nobody.
func (p *Policy) addLimit(id RuleID, x *format.Extra, groups []GroupSettings) bool {
	l := &limit{settings: make([]reach, len(groups)+1)}
	p.limited[id] = l
	for _, v := range x.Clients {
		v, no := strings.CutPrefix(v, "~")
		prefix, ok := clientRange(v)
		switch {
		case !ok:
			p.clients[v] = struct{}{}
		case !p.ranges.add(prefix):
			return false
		case no:
			l.unwanted = append(l.unwanted, prefix)
		default:
			l.wanted = append(l.wanted, prefix)
		}
	}
	for i := range l.settings {
		var s GroupSettings
		if i > 0 {
			s = groups[i-1]
		}
		l.settings[i] = s.reachedBy(x)
	}
	return true
}

func (s *GroupSettings) reachedBy(x *format.Extra) reach {
	clients, someWanted := chosen(x.Clients, s.isClient)
	tags, tagWanted := chosen(x.Tags, s.hasTag)
	switch {
	case clients == excluded || tags == excluded || tags == unsaid && tagWanted:
		return never
	case clients == unsaid && someWanted:
		return byRange
	}
	return wherever
}

// rangesFor returns the addresses that rules which may match a name want.
func (p *Policy) rangesFor(name *dnswire.Name) (all []netip.Prefix) {
	if len(p.ranges.prefixes) == 0 {
		return nil
	}
	add := func(id RuleID) {
		if l := p.limited[id]; l != nil {
			all = append(all, l.wanted...)
		}
	}
	for _, h := range p.lookup(name, nil) {
		id, _ := rules.Split(h.Payload)
		add(id)
	}
	for i := range p.patterns {
		add(p.patterns[i].id)
	}
	return all
}

// A choice is what a list of values, where ~ excludes, says of something.
type choice uint8

const (
	unsaid choice = iota
	included
	excluded
)

// chosen returns what values say, and whether they include anything at all: if
// not, all that is not excluded is meant.
func chosen(values []string, is func(string) bool) (c choice, some bool) {
	for _, v := range values {
		v, no := strings.CutPrefix(v, "~")
		some = some || !no
		switch {
		case !is(v):
		case no:
			return excluded, some
		default:
			c = included
		}
	}
	return c, some
}

// clientRange reads the address or prefix that a client is named by, if it is.
func clientRange(v string) (prefix netip.Prefix, ok bool) {
	if a, err := netip.ParseAddr(v); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(v)
	return prefix.Masked(), err == nil
}

func (s *GroupSettings) isClient(v string) bool {
	if prefix, ok := clientRange(v); ok {
		return slices.ContainsFunc(s.Addresses, func(own netip.Prefix) bool { return isWithinAny(own, []netip.Prefix{prefix}) })
	}
	if strings.EqualFold(v, s.Name) && s.Name != "" {
		return true
	}
	return slices.ContainsFunc(s.ClientNames, func(name string) bool { return strings.EqualFold(v, name) })
}

func (s *GroupSettings) hasTag(v string) bool {
	return slices.ContainsFunc(s.Tags, func(tag string) bool { return strings.EqualFold(v, tag) })
}
