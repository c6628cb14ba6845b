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

// The numbers are stored and never change.
const (
	FromPolicy   Source = 1 // a list, a local record or a special name
	FromCache    Source = 2
	FromUpstream Source = 3
	FromError    Source = 4 // no upstream gave an answer
	FromRebind   Source = 5 // the upstream's answer was refused: a private address in a public name
	Shed         Source = 6 // too many queries were waiting; no reply was sent
	FromFailure  Source = 7 // a cached resolution failure (RFC 9520)
)

// String returns the source as a row has it.
func (s Source) String() string { return sourceWords.of(int64(s)) }

// A Transport is how a query came.
type Transport uint8

// The numbers are stored and never change.
const (
	UDP   Transport = 1
	TCP   Transport = 2
	TLS   Transport = 3
	HTTPS Transport = 4
	QUIC  Transport = 5
)

// String returns the transport as a row has it.
func (t Transport) String() string { return transportWords.of(int64(t)) }

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
