package devices

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"telltale/devices/leases"
)

// The router knows names of devices that have their address from it. It is asked for them
// beside the queries, a few at a time, where nothing better names a device.

const (
	reverseBatch = 16              // addresses in a tick
	reverseWait  = 5 * time.Second // for one answer
	mostReverse  = 8192            // addresses of which it is known when to ask again

	leastNamed   = 10 * time.Minute // how long a name is kept, whatever its TTL
	mostNamed    = 24 * time.Hour
	leastUnnamed = time.Hour // and that there is none
	mostUnnamed  = 6 * time.Hour
	reverseAgain = 10 * time.Minute // after a failure, at most: the first time it is a tick
)

// A reversal is when the name of an address may be looked up again.
type reversal struct {
	mac      string // whose the address was; "" where that was not known
	again    uint32 // tick
	failures uint8  // in a row
	fresh    bool   // another had the address before: an answer that somebody keeps may be of that one
}

// A nameless is an address whose name is to be looked up.
type nameless struct {
	addr  netip.Addr
	mac   string // whose it is; "" where that is not known
	fresh bool
}

// A ReverseLookup returns the name that a private address has, "" for none, and how long
// that holds. With fresh, no answer from before counts.
type ReverseLookup func(ctx context.Context, a netip.Addr, fresh bool) (name string, life time.Duration, err error)

// SetReverse lets devices that nothing better names be shown by the names that lookup
// returns for their addresses. It is called by one goroutine, never for a query. nil: nobody
// is asked. The one before is not called any more when SetReverse returns.
func (l *Ledger) SetReverse(lookup ReverseLookup) {
	l.reverseMu.Lock()
	defer l.reverseMu.Unlock()
	if l.stopReverse != nil {
		l.stopReverse()
		l.stopReverse = nil
	}
	if lookup == nil {
		return
	}
	l.stopReverse = l.background(func(ctx context.Context) { l.lookUpNames(ctx, lookup) })
}

// lookUpNames looks names up until ctx ends.
func (l *Ledger) lookUpNames(ctx context.Context, lookup ReverseLookup) {
	ticker := time.NewTicker(tickLength)
	defer ticker.Stop()
	for {
		for _, n := range l.unnamed() {
			if !l.lookUpName(ctx, lookup, n) {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// lookUpName looks a name up. It returns false where there was no answer. What it is said
// of an address that has become another's meanwhile does not count.
func (l *Ledger) lookUpName(ctx context.Context, lookup ReverseLookup, n nameless) bool {
	timeout, cancel := context.WithTimeout(ctx, reverseWait)
	name, life, err := lookup(timeout, n.addr, n.fresh)
	cancel()
	if ctx.Err() != nil {
		return false
	}
	l.mu.Lock()
	r := l.reverse[n.addr]
	r.mac, r.fresh = n.mac, n.fresh && err != nil
	switch {
	case err != nil:
		life = min(tickLength<<r.failures, reverseAgain)
		r.failures = min(r.failures+1, 10)
	case name != "":
		life, r.failures = min(max(life, leastNamed), mostNamed), 0
	default:
		life, r.failures = min(max(life, leastUnnamed), mostUnnamed), 0
	}
	t := l.currentTick()
	r.again = t.number + uint32(life/tickLength)
	l.reverse[n.addr] = r
	if err == nil && l.macAt(l.addresses[n.addr]) == n.mac {
		l.reverseNamed(n.addr, name, t)
	}
	l.mu.Unlock()
	l.wakePublisher()
	return err == nil
}

// unnamed returns some addresses whose names are to be looked up now.
func (l *Ledger) unnamed() (list []nameless) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.currentTick()
	for addr, a := range l.addresses {
		if len(list) == reverseBatch {
			break
		}
		r, known := l.reverse[addr]
		mac := l.macAt(a)
		moved := known && r.mac != mac
		if known && !moved && int32(t.number-r.again) < 0 || !known && len(l.reverse) >= mostReverse {
			continue
		}
		if addr.IsPrivate() && l.wantsName(a, t) {
			list = append(list, nameless{addr, mac, moved || r.fresh})
		}
	}
	return list
}

// wantsName reports whether what has a is shown by a name of the router, if it has one.
func (l *state) wantsName(a *address, t tick) bool {
	if a.holder == nil || a.own || a.contested != 0 {
		return false
	}
	switch a.holder.Source {
	case Neighbour, Lease:
		mac := l.macAt(a)
		n, named := l.names[mac]
		return mac != "" && (!named || n.source == FromRouter || n.source == FromMDNS && t.number-n.tick >= unseenTicks)
	case BareAddress:
		return a.lease == nil || a.lease.host == ""
	}
	return false
}

// reverseNamed takes it that the router calls addr by name, "" for none.
func (l *state) reverseNamed(addr netip.Addr, name string, t tick) {
	a := l.addresses[addr]
	if a == nil || !l.wantsName(a, t) {
		return
	}
	name = leases.HostName(name)
	if strings.Contains(name, strings.ReplaceAll(addr.String(), ".", "-")) {
		name = "" // it says the address again
	}
	if mac := l.macAt(a); mac != "" {
		l.learnName(mac, name, FromRouter, t)
		l.update(a, t) // it may have its MAC by a lease alone
		return
	}
	if a.holder.Source == BareAddress && a.called != name {
		a.called = name
		l.update(a, t)
	}
}

// sweepReverse forgets when to ask again for addresses that are not known any more.
func (l *state) sweepReverse(t tick) {
	for addr, r := range l.reverse {
		if l.addresses[addr] == nil || int32(t.number-r.again) >= int32(unseenTicks) {
			delete(l.reverse, addr)
		}
	}
}
