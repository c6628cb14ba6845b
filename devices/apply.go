package devices

import (
	"fmt"
	"net/netip"
	"slices"
)

// apply takes a change from Neighbours.
func (l *state) apply(c Change, t tick) {
	if c.Lost {
		l.addReport(t, "neighbours-lost", "", "the kernel dropped changes of the neighbour table: it was read again")
	}
	if c.Links != nil {
		l.applyLinks(c.Links, t)
	}
	if c.Whole {
		for _, a := range l.addresses {
			a.listed = false
			a.confirm(false, t)
		}
	}
	l.unbound = c.Whole
	for _, e := range c.Entries {
		l.applyEntry(e, t)
	}
	l.unbound = false
	l.updateGateways(t)
}

// applyEntry takes an entry of the neighbour table.
func (l *state) applyEntry(e Entry, t tick) {
	addr := plain(e.Addr)
	a := l.addresses[addr]
	if e.Gone {
		if a != nil && a.link == e.Interface {
			a.listed = false // the binding stays: an entry's expiry says nothing
			a.confirm(false, t)
			l.update(a, t)
		}
		return
	}
	if !individual(e.MAC) || !addr.IsValid() || addr.IsMulticast() || addr.IsUnspecified() || addr.IsLoopback() {
		return
	}
	if a == nil {
		if l.begun && !l.unbound && l.fresh.TokensAt(t.time) < 1 {
			l.limit(t)
			return
		}
		a = l.addAddress(addr, t)
	}
	if a.station != nil && a.station.mac == e.MAC {
		a.link, a.listed = e.Interface, true
		if e.Confirmed {
			a.confirmed = t.number
		}
		a.confirm(e.Confirmed, t)
	} else {
		if a.station != nil {
			l.contest(a, e, t)
		}
		l.station(a, e.MAC, t)
		a.link, a.listed, a.confirmed = e.Interface, true, t.number
		a.confirm(e.Confirmed, t)
		a.called = ""
		delete(l.reverse, addr)
		l.addressMoved(a, t)
		l.gatewaysMoved = l.gatewaysMoved || slices.Contains(l.gateways, addr)
	}
	l.update(a, t)
}

// confirm notes whether the kernel has just confirmed the MAC at a, or no longer does.
func (a *address) confirm(reachable bool, t tick) {
	if a.reachable && !reachable {
		a.reached = t.number
	}
	a.reachable = reachable
}

// contest counts a change of MAC at a. A link-local address on two links is two
// devices that cannot be told apart without a zone; any other whose MAC changes
// to and fro is claimed by two.
func (l *state) contest(a *address, e Entry, t tick) {
	if a.changes > 0 && t.number-a.changedAt >= contestedTicks {
		a.changes = 0
	}
	a.changes++
	a.changedAt = t.number
	was := a.contested
	switch {
	case a.addr.IsLinkLocalUnicast() && a.addr.Is6() && a.listed && a.link != e.Interface:
		a.contested = t.number + unseenTicks
	case a.changes >= contestedAfter:
		a.contested = max(a.contested, t.number+contestedTicks)
	}
	if a.contested == 0 {
		return
	}
	l.contested[a] = true
	if was == 0 {
		l.addReport(t, "address-contested", a.addr.String(), fmt.Sprintf("both %s and %s answer for it: it is bound bare", a.station.mac, e.MAC))
	}
}

// applyLinks takes the machine's own addresses and its gateways.
func (l *state) applyLinks(links *Links, t tick) {
	own := make(map[netip.Addr]string, len(links.Own))
	for _, o := range links.Own {
		own[plain(o.Addr)] = o.MAC
	}
	for _, a := range l.addresses {
		if _, still := own[a.addr]; a.own && !still {
			a.own, a.ownMAC = false, ""
			l.update(a, t)
		}
	}
	for addr, mac := range own {
		a := l.addAddress(addr, t)
		if a.own && a.ownMAC == mac {
			continue
		}
		a.own, a.ownMAC = true, mac
		l.update(a, t)
	}
	l.gateways = l.gateways[:0:0]
	for _, g := range links.Gateways {
		l.gateways = append(l.gateways, plain(g))
	}
	l.gatewaysMoved = true
}

// updateGateways updates the bindings that rest on the MAC of a gateway where that,
// or which the gateways are, has changed.
func (l *state) updateGateways(t tick) {
	if !l.gatewaysMoved {
		return
	}
	l.gatewaysMoved = false
	before := l.gatewayMACs
	l.gatewayMACs = make(map[string]bool)
	for _, g := range l.gateways {
		if a := l.addresses[g]; a != nil && a.station != nil {
			l.gatewayMACs[a.station.mac] = true
		}
	}
	for mac := range before {
		if !l.gatewayMACs[mac] {
			l.updateStation(l.stations[mac], t)
		}
	}
	for mac := range l.gatewayMACs {
		if !before[mac] {
			l.updateStation(l.stations[mac], t)
		}
	}
}
