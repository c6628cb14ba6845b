package devices

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// A trusted forwarder says by EDNS options whose query it passes on: a MAC, an address, or
// both. A MAC is bound by itself, without an address, as a client id is: the device is
// behind the forwarder, and its address means something there alone.

// maxForwarded bounds the MACs that forwarders have named: those in force, and the new
// ones of a day.
const maxForwarded = 4096

// A macTable is what holds each MAC that a forwarder named. It never changes.
type macTable map[[6]byte]*held

type forwardedMACs struct {
	byMAC   map[[6]byte]*held
	resumed map[[6]byte]uint32 // MACs of an earlier run, and the tick when they were last in use
	new     *rate.Limiter
	limited uint32 // tick of the last report of new being empty
	changed bool   // what is published is not this
}

func newForwardedMACs() forwardedMACs {
	return forwardedMACs{
		byMAC: make(map[[6]byte]*held), resumed: make(map[[6]byte]uint32),
		new: rate.NewLimiter(rate.Limit(float64(maxForwarded)/(24*time.Hour).Seconds()), maxForwarded),
	}
}

// Forwarded returns the binding of a client behind a forwarder, who says its MAC, its
// address, or both. It returns nil where neither tells who that is. It may lock for a
// moment, and does not wait for the kernel.
func (l *Ledger) Forwarded(mac [6]byte, hasMAC bool, addr netip.Addr) *Binding {
	known := l.published.Load()
	if !isClientAddress(addr) {
		addr = netip.Addr{}
	}
	h := known.forwarded[mac]
	if h == nil && !hasMAC && addr.IsValid() {
		h = known.find(addr.Unmap())
	}
	if h == nil {
		h = l.bindClient(mac, hasMAC, plain(addr))
	}
	if h == nil {
		return nil
	}
	h.mark(l.tick.Load())
	return &h.Binding
}

// bindClient binds a client behind a forwarder.
func (l *Ledger) bindClient(mac [6]byte, hasMAC bool, addr netip.Addr) (h *held) {
	l.mu.Lock()
	t := l.currentTick()
	if hasMAC {
		h = l.forwardedMAC(mac, t)
	}
	if h == nil && addr.IsValid() {
		h = l.ask(addr, t)
	}
	l.mu.Unlock()
	l.wakePublisher()
	l.flushReports(nil) // it must have been kept before it is used
	return h
}

// isClientAddress reports whether a can be that of a client that a forwarder names.
func isClientAddress(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// octetsOf returns a MAC of six octets as a forwarder says it.
func octetsOf(mac string) (out [6]byte, ok bool) {
	hw, err := net.ParseMAC(mac)
	return out, err == nil && len(hw) == 6 && copy(out[:], hw) == 6
}

// forwardedMAC returns what holds a MAC that a forwarder named, a new binding where it is
// not known yet; nil where there are too many, or it is no device's.
func (l *state) forwardedMAC(mac [6]byte, t tick) *held {
	if h := l.forwarded.byMAC[mac]; h != nil {
		return h
	}
	text := net.HardwareAddr(mac[:]).String()
	if !l.begun || !individual(text) {
		return nil
	}
	configured := l.config.macs[text] != nil
	if !configured && (len(l.forwarded.byMAC) >= maxForwarded || !l.forwarded.new.AllowN(t.time, 1)) {
		if l.forwarded.limited == 0 || t.number-l.forwarded.limited >= uint32(time.Hour/tickLength) {
			l.forwarded.limited = t.number
			l.addReport(t, "bindings-limited", "", fmt.Sprintf("forwarders named more than %d new MACs within a day: further ones are known by their address", maxForwarded))
		}
		return nil
	}
	h := l.start(l.identifyForwarded(text), true, t)
	h.seen.Store(t.number)
	l.forwarded.byMAC[mac], l.forwarded.changed = h, true
	return h
}

// identifyForwarded returns the binding of a MAC that a forwarder named. Who can send
// under the forwarder's address can name any.
func (l *state) identifyForwarded(mac string) Binding {
	b := Binding{MAC: mac}
	confidence := Medium
	if l.gatewayMACs[mac] {
		confidence = Low
	}
	if d := l.config.macs[mac]; d != nil {
		return l.config.withSettings(d.named(b, Forwarder, confidence))
	}
	b = unnamed(b, "mac:"+mac, Forwarder, confidence)
	b.showName(l.names[mac].name)
	return l.config.withSettings(b)
}

// bindForwarded makes the bindings of MACs that forwarders named what the configuration
// says.
func (l *state) bindForwarded(t tick) {
	for mac, last := range l.forwarded.resumed {
		if h := l.forwardedMAC(mac, t); h != nil {
			h.seen.Store(last)
		}
	}
	clear(l.forwarded.resumed)
	for mac := range l.forwarded.byMAC {
		l.updateForwarded(mac, t)
	}
}

// updateForwarded makes the binding of a MAC that a forwarder named, if it has one, what
// the facts say now.
func (l *state) updateForwarded(mac [6]byte, t tick) {
	h := l.forwarded.byMAC[mac]
	if h == nil {
		return
	}
	want := l.identifyForwarded(h.MAC)
	if h.alike(&want) {
		return
	}
	seen := h.seen.Load()
	l.end(h, t)
	next := l.start(want, true, t)
	next.seen.Store(seen)
	l.forwarded.byMAC[mac], l.forwarded.changed = next, true
}

// sweepForwarded ends what was unseen for 24 hours.
func (l *state) sweepForwarded(t tick) {
	for mac, h := range l.forwarded.byMAC {
		if int32(t.number-h.seen.Load()) >= int32(unseenTicks) {
			l.end(h, t)
			delete(l.forwarded.byMAC, mac)
			l.forwarded.changed = true
		}
	}
}

func (l *state) macTable() macTable {
	table := make(macTable, len(l.forwarded.byMAC))
	for mac, h := range l.forwarded.byMAC {
		table[mac] = h
	}
	return table
}
