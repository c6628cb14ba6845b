package blocklists

import (
	"net/netip"

	"telltale/blocklists/format"
)

// newAddressRules returns none.
func newAddressRules() *addressRules { return &addressRules{ids: map[netip.Prefix][]RuleID{}} }

// addressRules are the rules on addresses, by prefix.
type addressRules struct {
	ids   map[netip.Prefix][]RuleID
	bits4 []int // the lengths that occur, the longest first
	bits6 []int
}

func (a *addressRules) add(prefix netip.Prefix, id RuleID) {
	prefix = prefix.Masked()
	a.ids[prefix] = append(a.ids[prefix], id)
	lengths := &a.bits6
	if prefix.Addr().Is4() {
		lengths = &a.bits4
	}
	*lengths = addLength(*lengths, prefix.Bits())
}

// each calls yield with each rule on a prefix that addr is in, and its length, the
// longest first.
func (a *addressRules) each(addr netip.Addr, yield func(id RuleID, bits int)) {
	addr = addr.Unmap().WithZone("")
	lengths := a.bits6
	if addr.Is4() {
		lengths = a.bits4
	}
	for _, bits := range lengths {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		for _, id := range a.ids[prefix] {
			yield(id, bits)
		}
	}
}

func (p *Policy) matchAddress(addr netip.Addr, g Group, ms []match) []match {
	p.addresses.each(addr, func(id RuleID, bits int) { ms = p.matchAddressRule(id, bits, g, ms) })
	return ms
}

func (p *Policy) matchAddressRule(id RuleID, bits int, g Group, ms []match) []match {
	m, x, ok := p.matchInAnswer(id, uint16(bits)<<2, g)
	if !ok {
		return ms
	}
	// The answers of the name's other type stay: 0.0.0.0 beside them does no harm, but
	// :: goes before a good IPv4 address, and NXDOMAIN or an error denies both.
	if !x.Prefix.Addr().Is4() || p.modeFor(&p.lists[m.list], g) != Null {
		m.flags |= byType
	}
	return append(ms, m)
}

// matchInAnswer returns a rule that matches something in an answer; false where it holds
// for others alone.
func (p *Policy) matchInAnswer(id RuleID, rank uint16, g Group) (m match, x *format.Extra, ok bool) {
	at, rule := p.find(id)
	l := &p.lists[at]
	d, ok := l.set.Detail(rule)
	if !ok {
		return m, nil, false
	}
	x = l.set.ExtraOf(d)
	if len(x.Clients)+len(x.Tags) > 0 && !p.holdsFor(id, g) {
		return m, nil, false
	}
	m = match{id: id, rule: rule, list: uint16(at), rank: rank, flags: l.flags}
	pg := p.group(g)
	l.addDetail(&m, &d, pg)
	if d.Action == format.Answer {
		m.action = format.Block // there is no name here whose records it could be
	}
	m.heed(pg.state(at))
	if p.isCancelled(id) {
		m.effect = silent
	}
	return m, x, true
}
