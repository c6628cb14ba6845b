package devices

import (
	"net/netip"
	"slices"
	"time"
)

// evidence gathers what is known of a.
func (l *state) evidence(a *address, now uint32) evidence {
	e := evidence{addr: a.addr, own: a.own, contested: a.contested > now, called: a.called}
	if a.own {
		e.mac = a.ownMAC
		return e
	}
	if a.station != nil {
		e.mac = a.station.mac
	}
	e.addLease(a)
	if s := l.stations[e.mac]; s != nil {
		e.shared, e.gateway = s.shared > now, l.gatewayMACs[e.mac]
	}
	return e
}

// update makes the binding of a what the facts say now: the one in force stays if
// it says the same, else it ends and another begins.
func (l *state) update(a *address, t tick) {
	if !l.begun {
		return
	}
	e := l.evidence(a, t.number)
	want := l.config.identify(e)
	switch want.Source {
	case Neighbour, Lease, BareAddress:
		want.showName(l.calledBy(&e))
	}
	want = l.config.withSettings(want)
	l.reportDisagreement(a, t)
	if a.holder != nil && a.holder.seen.Load() != 0 {
		a.asked = true
	}
	bind := true
	switch want.Source {
	case ConfiguredPrefix:
		bind = false
	case BareAddress:
		bind = a.asked || a.contested > t.number
	case Neighbour, Lease:
		if l.quiet[want.MAC] {
			if bind = a.asked; bind {
				delete(l.quiet, want.MAC)
			}
		}
	}
	if bind && a.holder != nil && a.holder.alike(&want) {
		return
	}
	if a.holder != nil && (!bind || a.holder.Device != want.Device) {
		a.holder.lost.Store(true) // a lookup before the next snapshot is not its
	}
	l.unbind(a, t)
	if bind {
		l.bind(a, want, t)
	}
	if !bind && !a.asked && !a.own && a.station == nil && a.lease == nil {
		delete(l.addresses, a.addr)
	}
}

// updateStation updates the bindings of all addresses of s, which may be nil.
func (l *state) updateStation(s *station, t tick) {
	if s == nil {
		return
	}
	for _, a := range slices.Clone(s.addresses) {
		l.update(a, t)
	}
}

// unbind ends the binding of a, if it has one.
func (l *state) unbind(a *address, t tick) {
	if a.holder == nil {
		return
	}
	a.confirmed = a.last()
	l.end(a.holder, t)
	a.holder = nil
	l.changed[a.addr] = nil
}

// bind begins a binding of a.
func (l *state) bind(a *address, b Binding, t tick) {
	if a.holder = l.start(b, l.pinned(a), t); a.holder == nil {
		return
	}
	a.holder.seen.Store(a.confirmed)
	l.changed[a.addr] = a.holder
	if c := l.awaited[a.addr]; c != nil {
		close(c)
		delete(l.awaited, a.addr)
	}
}

// start begins b or takes up the binding of an earlier run that says the same.
// It returns nil where there have been too many new bindings, unless b is wanted
// by the configuration.
func (l *state) start(b Binding, wanted bool, t tick) *held {
	at := b.extent()
	if before, ok := l.resumable[at]; ok {
		delete(l.resumable, at)
		before.Seen = time.Time{}
		if before.alike(&b) {
			return &held{Binding: before}
		}
		l.endBinding(before, t)
	}
	if !wanted && !l.unbound && !l.fresh.AllowN(t.time, 1) {
		l.limit(t)
		return nil
	}
	b.ID, b.From = l.nextID, t.time.Round(0)
	l.nextID++
	l.pending = append(l.pending, b)
	return &held{Binding: b}
}

// end ends the binding of h.
func (l *state) end(h *held, t tick) {
	b := h.Binding
	b.Seen = t.seenAt(h.seen.Load(), &b)
	l.endBinding(b, t)
}

// endBinding ends b, which no longer is in force.
func (l *state) endBinding(b Binding, t tick) {
	b.Until = later(b.From, t.time.Round(0))
	l.pending = append(l.pending, b)
	l.past = append(l.past, b)
	if len(l.past) >= 2*maxPast {
		l.past = append(l.past[:0:0], l.past[len(l.past)-maxPast:]...)
	}
}

// pinned reports whether a stays however long it is unseen.
func (l *state) pinned(a *address) bool {
	return a.own || l.config.addresses[a.addr] != nil || slices.Contains(l.gateways, a.addr)
}

// holder returns what holds addr; nil: nothing yet.
func (l *state) holder(addr netip.Addr) *held {
	if a := l.addresses[addr]; a != nil && a.holder != nil {
		return a.holder
	}
	if !addr.IsValid() {
		return nil
	}
	h, _ := l.prefixTable.find(addr)
	return h
}

// ask returns what holds addr, binding the bare address if it must.
func (l *state) ask(addr netip.Addr, t tick) *held {
	l.updateGateways(t)
	if h := l.holder(addr); h != nil {
		return h
	}
	a := l.addresses[addr]
	if a == nil {
		if !addr.IsValid() || l.fresh.TokensAt(t.time) < 1 {
			return l.overflowBinding(addr, t)
		}
		a = l.addAddress(addr, t)
	}
	a.asked, a.confirmed = true, t.number
	l.update(a, t)
	if a.holder == nil {
		return l.overflowBinding(addr, t)
	}
	return a.holder
}

// overflowBinding returns the one binding of all the addresses, of addr's family,
// that are beyond the bound of new ones.
func (l *state) overflowBinding(addr netip.Addr, t tick) *held {
	family, prefix := 0, netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if !addr.Is4() {
		family, prefix = 1, netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if addr.IsValid() {
		l.limit(t)
	}
	if l.overflow[family] == nil {
		b := l.config.withSettings(unnamed(Binding{Addr: prefix.Addr(), Prefix: prefix}, "addr:"+prefix.String(), BareAddress, Low))
		l.overflow[family] = l.start(b, true, t)
	}
	return l.overflow[family]
}

// bindPrefixes makes the bindings of prefixes what the configuration says. That
// of loopback is this machine's.
func (l *state) bindPrefixes(t tick) {
	want := map[netip.Prefix]Binding{}
	for _, p := range []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")} {
		want[p] = unnamed(Binding{}, thisHost, ThisHost, High)
	}
	for p, d := range l.config.prefixes {
		want[p] = d.named(Binding{}, ConfiguredPrefix, Medium)
	}
	for p, b := range want {
		b.Addr, b.Prefix = p.Addr(), p
		want[p] = l.config.withSettings(b)
	}
	for p, h := range l.prefixes {
		if b := want[p]; h.alike(&b) {
			delete(want, p)
			continue
		}
		l.end(h, t)
		delete(l.prefixes, p)
	}
	for p, b := range want {
		l.prefixes[p] = l.start(b, true, t)
	}
	l.prefixTable, l.prefixesChanged = makePrefixTable(l.prefixes), true
}
