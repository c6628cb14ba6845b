package devices

import (
	"strings"
	"time"

	"telltale/devices/leases"
	"telltale/sorting"
)

// restore takes the bindings of earlier runs. What they say of addresses seen
// within the last 24 hours counts as if the kernel had said it; older ones are
// taken up again only if the kernel or the configuration says the same.
func (l *state) restore(known []Binding, nextID uint64, t tick) {
	for _, b := range known {
		l.nextID = max(l.nextID, b.ID+1)
		if !b.Until.IsZero() {
			l.past = append(l.past, b)
		}
	}
	l.nextID = max(l.nextID, nextID)
	for _, b := range known {
		if !b.Until.IsZero() {
			continue
		}
		at := b.extent()
		if double, ok := l.resumable[at]; ok { // the end of the earlier was lost: it ended when the later began
			if double.ID > b.ID {
				b, double = double, b
			}
			l.endBinding(double, tick{later(double.From, b.From), t.number})
		}
		l.resumable[at] = b
	}
	sorting.By(l.past, func(b, c Binding) int { return b.Until.Compare(c.Until) })
	l.past = l.past[max(0, len(l.past)-maxPast):]
	for _, b := range l.resumable {
		l.resume(b, t)
	}
}

// resume takes an open binding of an earlier run as a fact.
func (l *state) resume(b Binding, t tick) {
	age := max(0, t.time.Sub(later(b.From, b.Seen)))
	if b.Prefix.IsValid() || age >= 24*time.Hour {
		return
	}
	last := t.number - uint32(age/tickLength)
	switch b.Source {
	case ClientID:
		if id, ok := strings.CutPrefix(b.Device, idPrefix); ok && IsClientID(id) && len(l.ids.resumed) < maxClaimed {
			l.ids.resumed[id] = last
		}
	case Forwarder:
		if mac, ok := octetsOf(b.MAC); ok && len(l.forwarded.resumed) < maxForwarded {
			l.forwarded.resumed[mac] = last
			l.resumeName(&b, last)
		}
	case BareAddress:
		a := l.addAddress(b.Addr, t)
		a.asked, a.confirmed = true, last
		if name := b.ownName(); leases.HostName(name) == name {
			a.called = name
		}
	case ConfiguredMAC, ConfiguredAddress, Neighbour:
		if !individual(b.MAC) || b.Source == ConfiguredMAC && b.Confidence == Medium && !locallyAdministered(b.MAC) {
			return // the latter was by a lease, which says it again
		}
		l.resumeName(&b, last)
		a := l.addAddress(b.Addr, t)
		l.station(a, b.MAC, tick{t.time, last})
		a.confirmed = last
		if b.Confidence == Low { // why is not kept: shared is the cautious reason
			a.station.shared = t.number + unseenTicks
			l.shared[a.station] = true
		}
	}
}
