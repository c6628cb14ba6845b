package devices

import (
	"maps"
	"net/netip"
	"slices"
)

// Forget drops all that is known of devices, without a word to Keep, and returns the
// numbers of the bindings that were in force. A device that is still in the neighbour
// table, or has a lease, is not bound again until it asks.
func (l *Ledger) Forget(devices map[string]bool) (inForce []uint64) {
	l.reporting.Lock() // nothing of them is on its way to Keep
	l.mu.Lock()
	inForce = l.state.forgetDevices(devices)
	l.mu.Unlock()
	l.reporting.Unlock()
	l.publish()
	return inForce
}

func (l *state) forgetDevices(devices map[string]bool) (inForce []uint64) {
	words := map[string]bool{} // subjects of reports
	were := map[netip.Addr]bool{}
	drop := func(h *held) bool {
		if h == nil || !devices[h.Device] {
			return false
		}
		inForce = append(inForce, h.ID)
		words[h.MAC], words[h.Addr.String()] = true, true
		were[h.Addr] = true
		return true
	}
	for _, a := range l.addresses {
		if a.station != nil && devices["mac:"+a.station.mac] {
			l.quiet[a.station.mac] = true
		}
		if a.lease != nil && devices["mac:"+a.lease.mac] {
			l.quiet[a.lease.mac] = true
		}
		if !drop(a.holder) {
			continue
		}
		a.holder, a.asked, a.called = nil, false, ""
		a.changes, a.contested = 0, 0
		delete(l.contested, a)
		l.changed[a.addr] = nil
		if a.station == nil && a.lease == nil && !l.pinned(a) {
			delete(l.addresses, a.addr)
		}
	}
	for identity, h := range l.ids.byDevice {
		if drop(h) {
			delete(l.ids.byDevice, identity)
			l.ids.changed = true
		}
	}
	for mac, h := range l.forwarded.byMAC {
		if drop(h) {
			delete(l.forwarded.byMAC, mac)
			l.forwarded.changed = true
		}
	}
	for i, h := range l.overflow {
		if drop(h) {
			l.overflow[i] = nil
		}
	}
	for mac := range l.names {
		if devices["mac:"+mac] {
			delete(l.names, mac)
		}
	}
	l.indexNames()
	l.forgetAnnounced(devices, were)
	of := func(b Binding) bool { return devices[b.Device] }
	l.past = slices.DeleteFunc(l.past, of)
	l.pending = slices.DeleteFunc(l.pending, of)
	delete(words, "")
	l.pendingReports = slices.DeleteFunc(l.pendingReports, func(r report) bool { return words[r.subject] })
	maps.DeleteFunc(l.resumable, func(_ extent, b Binding) bool { return of(b) })
	return inForce
}
