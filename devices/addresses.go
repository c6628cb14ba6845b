package devices

import (
	"fmt"
	"net/netip"
	"time"

	"telltale/sorting"
)

// An address is one the kernel has shown, the user has configured or somebody
// has asked from.
type address struct {
	addr      netip.Addr
	holder    *held    // in force; nil while a prefix covers the address or nobody has asked
	station   *station // the last MAC seen at the address; nil: none
	index     int      // of the address in station.addresses
	link      int      // interface index of that neighbour entry
	listed    bool     // the entry is still in the table
	reachable bool     // the kernel has confirmed the station, and not withdrawn it since
	reached   uint32   // tick at which that ended last
	lease     *lease   // nil: none
	called    string   // by the router, while nothing but the address is known; "" for none
	disagreed bool     // it has been said that lease and station differ
	asked     bool     // somebody has asked from it: it is bound even if bare
	own       bool     // of this machine
	ownMAC    string
	since     uint32 // tick at which the station came to the address
	confirmed uint32 // tick at which the address was last known to be in use, but for holder.seen
	changes   int    // of MAC, each within contestedTicks of the one before
	changedAt uint32 // tick of the last
	contested uint32 // tick until which it is contested; 0: it is not
}

// last returns the tick at which the address was last known to be in use.
func (a *address) last() uint32 {
	if a.holder == nil {
		return a.confirmed
	}
	return max(a.confirmed, a.holder.seen.Load())
}

// A station is a MAC with the addresses it answers for.
type station struct {
	mac       string
	addresses []*address
	ipv4      int    // how many of them
	shared    uint32 // tick until which it counts as holding several IPv4 addresses at once; 0: it does not
}

// addAddress returns the address, a new one where it is not known yet.
func (l *state) addAddress(addr netip.Addr, t tick) *address {
	a := l.addresses[addr]
	if a == nil {
		if len(l.addresses) >= l.max {
			l.evict(t)
		}
		a = &address{addr: addr}
		l.addresses[addr] = a
	}
	return a
}

// forget forgets a and ends its binding.
func (l *state) forget(a *address, t tick) {
	l.unbind(a, t)
	l.station(a, "", t)
	delete(l.contested, a)
	delete(l.addresses, a.addr)
}

// evict forgets a sixteenth of the addresses: bare ones first,
// which a stranger can make up, then those longest unseen.
func (l *state) evict(t tick) {
	type candidate struct {
		a    *address
		last uint32
		bare bool
	}
	var list []candidate
	for _, a := range l.addresses {
		if !l.pinned(a) {
			list = append(list, candidate{a, a.last(), a.station == nil && a.lease == nil})
		}
	}
	sorting.By(list, func(c, d candidate) int {
		if c.bare != d.bare {
			if c.bare {
				return -1
			}
			return 1
		}
		return int(int32(c.last - d.last))
	})
	list = list[:min(len(list), l.max/16+1)]
	for _, c := range list {
		l.forget(c.a, t)
	}
	if len(list) > 0 && (l.evicted == 0 || t.number-l.evicted >= uint32(time.Hour/tickLength)) {
		l.evicted = t.number
		l.addReport(t, "bindings-evicted", "", fmt.Sprintf("more than %d addresses: the longest unseen are forgotten", l.max))
	}
}

// limit says, once an hour, that addresses are no longer bound one by one.
func (l *state) limit(t tick) {
	if l.limited == 0 || t.number-l.limited >= uint32(time.Hour/tickLength) {
		l.limited = t.number
		l.addReport(t, "bindings-limited", "", fmt.Sprintf("more than %d new addresses within a day: further ones are bound together", l.max))
	}
}

// station sets the MAC at a; "" for none.
func (l *state) station(a *address, mac string, t tick) {
	a.reachable, a.reached = false, 0
	if s := a.station; s != nil {
		last := s.addresses[len(s.addresses)-1]
		s.addresses[a.index], last.index = last, a.index
		s.addresses[len(s.addresses)-1] = nil
		s.addresses = s.addresses[:len(s.addresses)-1]
		l.count(s, a, -1)
		if len(s.addresses) == 0 {
			delete(l.stations, s.mac)
			delete(l.shared, s)
		}
		a.station = nil
	}
	if mac == "" {
		return
	}
	s := l.stations[mac]
	if s == nil {
		s = &station{mac: mac}
		l.stations[mac] = s
	}
	a.station, a.index, a.since = s, len(s.addresses), t.number
	s.addresses = append(s.addresses, a)
	l.count(s, a, 1)
}

// count keeps the number of s's IPv4 addresses.
func (l *state) count(s *station, a *address, by int) {
	if !a.addr.Is4() {
		return
	}
	s.ipv4 += by
	if s.ipv4 > 1 {
		l.several[s] = true
	} else {
		delete(l.several, s)
	}
}
