package devices

import (
	"fmt"
	"net/netip"
	"time"
)

// A lease is what DHCP servers' files say of an address. It never changes: a renewal
// makes another one.
type lease struct {
	mac      string // "" where the file does not say whose the address is
	guessed  bool   // the MAC is the one of the client's DUID
	disputed bool   // another file gives the address to another MAC
	host     string // the client's host name; "" for none
	class    string // its vendor class; "" for none
	file     string
	until    time.Time // zero: without end
	at       uint32    // tick at which it was seen to be given or renewed
}

// applyLease takes what the leases say of addr now; nil: nobody has it by a lease any
// more.
func (l *state) applyLease(addr netip.Addr, now *lease, t tick) {
	a := l.addresses[addr]
	if a == nil {
		if now == nil || addr.IsMulticast() || addr.IsUnspecified() || addr.IsLoopback() {
			return
		}
		if l.begun && l.fresh.TokensAt(t.time) < 1 {
			l.limit(t)
			return
		}
		a = l.addAddress(addr, t)
	}
	before := a.lease
	a.lease = now
	if now != nil {
		now.at = t.number
		if now.mac != "" && !individual(now.mac) {
			now.mac = ""
		}
		if now.mac != "" && (before == nil || before.mac != now.mac) {
			a.reachable = false // what the kernel had confirmed was before
		}
		l.learnName(now.mac, now.host, FromLease, t)
		l.addressMoved(a, t)
	}
	l.update(a, t)
}

// neighbourHolds reports whether the neighbour table decides who has a, where a lease
// names another MAC: the kernel has seen the MAC answer since the lease was given or
// renewed.
func (a *address) neighbourHolds() bool { return a.reachable || a.reached > a.lease.at }

// disagrees reports whether the neighbour table and a lease name different MACs.
func (a *address) disagrees() bool {
	return !a.own && a.lease != nil && a.lease.mac != "" && a.station != nil && a.station.mac != a.lease.mac
}

// addLease adds to e what the lease of a says.
func (e *evidence) addLease(a *address) {
	if a.own || a.lease == nil {
		return
	}
	e.host = a.lease.host
	switch {
	case a.lease.mac == "" && a.station != nil:
		e.host = "" // whose it is, the file does not say
	case a.lease.mac == "":
	case a.station != nil && a.station.mac == a.lease.mac:
	case a.station != nil && a.neighbourHolds():
		e.disputed, e.host = true, ""
	default:
		e.disputed = a.station != nil || a.lease.disputed
		e.mac, e.leased, e.guessed = a.lease.mac, true, a.lease.guessed
	}
}

// reportDisagreement says once that the neighbour table and a lease name different MACs
// for a.
func (l *state) reportDisagreement(a *address, t tick) {
	differ := a.disagrees()
	if differ == a.disagreed {
		return
	}
	a.disagreed = differ
	if !differ {
		return
	}
	holds := "the lease"
	if a.neighbourHolds() {
		holds = "the neighbour table"
	}
	l.addReport(t, "lease-disagrees", a.addr.String(),
		fmt.Sprintf("%s gives it to %s, and %s answers for it in the neighbour table: it is bound by %s, with low confidence", a.lease.file, a.lease.mac, a.station.mac, holds))
}

// A LeaseOf is what the files of DHCP servers say of an address.
type LeaseOf struct {
	MAC, Host, Class string // "" where unknown
	File             string
	Until            time.Time // zero: without end
	Neighbour        string    // the MAC in the neighbour table, where it is another one
}

// Leases returns what the files of DHCP servers say now, by address.
func (l *Ledger) Leases() map[netip.Addr]LeaseOf {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[netip.Addr]LeaseOf{}
	for addr, a := range l.addresses {
		if a.lease == nil {
			continue
		}
		of := LeaseOf{a.lease.mac, a.lease.host, a.lease.class, a.lease.file, a.lease.until, ""}
		if a.disagrees() {
			of.Neighbour = a.station.mac
		}
		all[addr] = of
	}
	return all
}
