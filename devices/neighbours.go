package devices

import (
	"context"
	"net/netip"
)

// Neighbours tells which hardware address answers for an address on the links
// of this machine, and what those links are. The kernel is one; tests bring
// another.
type Neighbours interface {
	// Follow calls change with all that is known, then with each change, until
	// ctx ends, and returns why it cannot go on. It may call change from several
	// goroutines, none of which outlives it.
	Follow(ctx context.Context, change func(Change)) error

	// Ask looks up one address now, as long as ctx allows. The address is unmapped;
	// its zone, if it has one, says which interface is meant.
	Ask(ctx context.Context, a netip.Addr) (Entry, bool)

	// Probe makes a's hardware address known if there is one on a link of this
	// machine: a Change comes when it is. It returns false where none can come. The
	// address is as in Ask.
	Probe(a netip.Addr) bool
}

// A Change is what has changed at Neighbours.
type Change struct {
	Whole   bool    // Entries are the whole table: what is not in it is gone
	Lost    bool    // changes before this one were lost
	Entries []Entry // in the order in which they became known
	Links   *Links  // nil: as before
}

// An Entry is one entry of the neighbour table.
type Entry struct {
	Addr      netip.Addr
	MAC       string // lower case with colons; "" when Gone
	Interface int    // index
	Confirmed bool   // it has just answered, so the address is in use now
	Gone      bool   // the entry has left the table
}

// Links are the networks this machine is on.
type Links struct {
	Own      []OwnAddress
	OnLink   []netip.Prefix // IPv6 prefixes whose addresses are reached without a router
	Gateways []netip.Addr   // next hops of default routes, without zones
	Router   netip.Addr     // the one that packets take, with its zone where it has one; not valid: there is none, or nobody can say
}

// An OwnAddress is an address of this machine.
type OwnAddress struct {
	Addr netip.Addr
	MAC  string // of its interface; "" where it has none
}
