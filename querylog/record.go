// Package querylog keeps what was asked: it journals records as they come,
// folds them into rows, stores the rows in SQLite and reads them back. It also
// keeps the quality ledger, which says where the log has gaps.
//
// Lookups are counted in windows. Two goroutines write them: the journal's, which
// never touches SQLite and never waits for it, and the store's, which may wait
// for other processes, and commits windows in the order of a queue. A window is
// always in one of these states:
//
//	state       its lookups are in                  who has it   goes on to
//	open        the fold; within 100 ms, and while  journal      waiting, when it is closed
//	            that can be written, its journal
//	waiting     its journal, or memory, or both     the queue    committing, as the first of the queue
//	committing  as waiting                          store        stored, or waiting where the store does not take it
//	stored      rows; its journal is kept until     store        (end: the journal is deleted)
//	            they are in the store's main file
//	lost        nowhere                             -            (end: counted, with its interval, in the ledger)
//
// No window is committed past one that waits. A window that its journal does not
// hold whole is only closed for a store that is ready, since it has to wait in
// memory: there is one of these at most, and the open one, both bounded. A window
// is lost where the server ends and neither the journal nor the store took it, or
// where its journal is damaged or gone before it is stored. What would be lost if
// the process ended now is in the lock's file, which is written in place; the next
// start puts it into the ledger. What was left in the journal by an earlier
// process waits before all others.
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
	FromStale    Source = 8 // what was cached, after its time: upstreams gave no answer (RFC 8767)
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
	ClientID  string           // by which the client named itself; "" for none
	Binding   *devices.Binding // in force now; nil: not known yet, the writer asks Options.Bind
	Name      []byte           // wire form, lower case
	Alias     []byte           // the alias in the answer that decided; nil if Name itself did
	Verdict   blocklists.Verdict
	Type      uint16
	Rcode     uint8
	Source    Source
	Transport Transport
	Upstream  string // the ID of the one that was asked for this lookup and gave the answer; "" for none. It must stay as it is
	TTL       uint32 // the largest TTL served, seconds; 0 where no record was
}
