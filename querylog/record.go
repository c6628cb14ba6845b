// Package querylog keeps what was asked: it journals records as they come,
// folds them into rows, stores the rows in SQLite and reads them back. It also
// keeps the quality ledger, which says where the log has gaps.
package querylog

import (
	"net/netip"
	"time"

	"telltale/blocklists"
	"telltale/devices"
)

// A Source says where an answer came from.
type Source uint8

const (
	FromPolicy Source = iota + 1 // a list, a local record or a special name
	FromCache
	FromUpstream
	FromError   // no upstream gave an answer
	FromRebind  // the upstream's answer was refused: a private address in a public name
	Shed        // too many queries were waiting; no reply was sent
	FromFailure // a cached resolution failure (RFC 9520)
)

// A Transport is how a query came.
type Transport uint8

const (
	UDP Transport = iota + 1
	TCP
)

// A Record is one lookup. Its Name refers to the caller's memory: Append copies
// what it keeps.
type Record struct {
	Time      time.Time
	Elapsed   time.Duration
	Client    netip.Addr       // as it came, zone removed, IPv4 unmapped
	Binding   *devices.Binding // in force now; nil: not known yet, the writer asks Options.Bind
	Name      []byte           // wire form, lower case
	Alias     []byte           // the alias in the answer that decided; nil if Name itself did
	Verdict   blocklists.Verdict
	Type      uint16
	Rcode     uint8
	Source    Source
	Transport Transport
	TTL       uint32 // the largest TTL served, seconds; 0 where no record was
}
