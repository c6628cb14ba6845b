package devices

import (
	"fmt"

	"telltale/sorting"
)

// expire ends what has lasted its time.
func (l *state) expire(t tick) {
	for a := range l.contested {
		if a.contested <= t.number {
			a.contested, a.changes = 0, 0
			delete(l.contested, a)
			l.update(a, t)
		}
	}
	for s := range l.several {
		l.checkShared(s, t)
	}
	for s := range l.shared {
		if s.shared <= t.number {
			s.shared = 0
			delete(l.shared, s)
			l.updateStation(s, t)
		}
	}
	if t.number%sweepTicks == 0 {
		l.sweep(t)
	}
}

// checkShared finds out whether s holds several IPv4 addresses at once: two were
// used after s had come to both. A device that changed its address leaves the old one.
func (l *state) checkShared(s *station, t tick) {
	if s.shared > t.number+unseenTicks/2 {
		return // known, and not to be forgotten for long
	}
	type use struct{ since, last uint32 }
	uses := make([]use, 0, s.ipv4)
	for _, a := range s.addresses {
		if a.addr.Is4() {
			uses = append(uses, use{a.since, a.last()})
		}
	}
	sorting.By(uses, func(u, v use) int { return int(int32(u.since - v.since)) })
	several, last := false, uint32(0)
	for _, u := range uses {
		several = several || last > u.since && u.last > u.since
		last = max(last, u.last)
	}
	if !several {
		return
	}
	was := s.shared
	s.shared = t.number + unseenTicks
	l.shared[s] = true
	if was == 0 {
		l.addReport(t, "mac-shared", s.mac, fmt.Sprintf("it answers for %d IPv4 addresses: a repeater or proxy ARP hides the devices behind it", s.ipv4))
		l.updateStation(s, t)
	}
}

// sweep ends what was unseen for 24 hours.
func (l *state) sweep(t tick) {
	for _, a := range l.addresses {
		if int32(t.number-a.last()) >= int32(unseenTicks) && !l.pinned(a) && a.lease == nil {
			l.forget(a, t)
		}
	}
	l.sweepIDs(t)
	l.sweepForwarded(t)
	l.sweepNames(t)
	l.sweepAnnounced(t)
	l.sweepReverse(t)
	for i, h := range l.overflow {
		if h != nil && int32(t.number-h.seen.Load()) >= int32(unseenTicks) {
			l.end(h, t)
			l.overflow[i] = nil
		}
	}
}
