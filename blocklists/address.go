package blocklists

import (
	"net/netip"

	"telltale/blocklists/format"
)

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

func (p *Policy) matchAddress(addr netip.Addr, g Group, ms []match) []match {
	addr = addr.Unmap().WithZone("")
	lengths := p.addresses.bits6
	if addr.Is4() {
		lengths = p.addresses.bits4
	}
	for _, bits := range lengths {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		for _, id := range p.addresses.ids[prefix] {
			ms = p.matchAddressRule(id, bits, g, ms)
		}
	}
	return ms
}

func (p *Policy) matchAddressRule(id RuleID, bits int, g Group, ms []match) []match {
	at, rule := p.find(id)
	l := &p.lists[at]
	d, ok := l.set.Detail(rule)
	if !ok {
		return ms
	}
	if x := l.set.ExtraOf(d); len(x.Clients)+len(x.Tags) > 0 && !p.holdsFor(id, g) {
		return ms
	}
	m := match{id: id, rule: rule, list: uint16(at), rank: uint16(bits) << 2, flags: l.flags}
	l.addDetail(&m, &d)
	// The answers of the name's other type stay: 0.0.0.0 beside them does no harm, but
	// :: goes before a good IPv4 address, and NXDOMAIN or an error denies both.
	if prefix := l.set.ExtraOf(d).Prefix; !prefix.Addr().Is4() || p.modeFor(l, g) != Null {
		m.flags |= byType
	}
	if d.Action == format.Answer {
		m.action = format.Block // there is no name here whose records it could be
	}
	if p.isOut(id, at, g) {
		m.effect = silent
	}
	return append(ms, m)
}
