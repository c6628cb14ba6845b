package cache

import (
	"encoding/binary"
	"net/netip"
	"time"

	"telltale/dnswire"
)

// An Entry is what an upstream said, kept as bytes, or that none said anything.
// It is policy-free: what the lists say about it is decided each time it is
// served. One goroutine has it.
type Entry struct {
	dnswire.Stored
	At           time.Time     // when it was made, or taken from the cache
	Age          time.Duration // how old it was then
	Life         time.Duration // how long it is served from the cache
	MaxTTL       uint32        // the largest TTL in it when stored, seconds
	Aliases      []byte        // the names the answer leads to, one wire name after another
	Hints        []netip.Addr  // the addresses in SVCB and HTTPS records
	Servers      []byte        // the name servers of its zone, see dnswire.Sanitized
	Private      bool          // it holds private addresses
	Inside       bool          // an upstream with a private address gave it
	HasAddresses bool
	Unanswered   bool   // no upstream gave an answer (RFC 9520)
	Stale        bool   // its time is over, and it is served for want of anything newer (RFC 8767)
	Due          bool   // its time is nearly over, and it is asked for often: ask again. Said once
	Failures     uint8  // how many times in a row it was a resolution failure
	Epoch        uint32 // the availability epoch in which upstreams were asked

	// Passed is the policy and the group by which nothing the answer leads to is
	// blocked or observed: 0 for none, else generation<<32 | group.
	Passed uint64

	kept keptAt // where the cache has it
	buf  []byte // what the cache puts it in
	text string // the last that was in EDE
}

// Failures are remembered for 1 s, doubled each time in a row up to 30 s
// (RFC 9520, 3.2).
const (
	firstFailure = time.Second
	lastFailure  = 30 * time.Second
)

// The timers of RFC 8767, 5, but for how long the client waits, and how long an
// answer may be served after its time.
const (
	staleTTL = 30               // seconds
	recheck  = 30 * time.Second // after upstreams gave no answer
)

// makeStale makes e what clients get of it after its time. Nobody vouches for it any
// more: signatures end, too.
func (e *Entry) makeStale(now time.Time) {
	e.Stale, e.AD, e.At, e.Age, e.MaxTTL = true, false, now, 0, staleTTL
	for _, off := range e.TTLs {
		binary.BigEndian.PutUint32(e.Wire[off:], staleTTL)
	}
	e.EDE = dnswire.EDE{Code: dnswire.EDEStale, Text: "upstreams give no answer; this is their last"}
	if e.Rcode == dnswire.NXDomain {
		e.EDE.Code = dnswire.EDEStaleNXDomain
	}
}

// NewFailure makes an entry that says why there is no answer.
func NewFailure(ede dnswire.EDE, now time.Time) *Entry {
	e := &Entry{At: now, Unanswered: true}
	e.Rcode, e.EDE = dnswire.ServFail, ede
	return e
}

// StoredAt returns when e was new. Where e is served, Age says it without a calculation
// of dates.
func (e *Entry) StoredAt() time.Time { return e.At.Add(-e.Age) }

// IsFailure reports whether e is a resolution failure (RFC 9520, 2), as no
// answer or as an answer.
func (e *Entry) IsFailure() bool {
	return e.Unanswered || e.Rcode != dnswire.Success && e.Rcode != dnswire.NXDomain
}

// IsVerdict reports whether e is a failure that a validator explains: an answer of
// before must not be served in its place.
func (e *Entry) IsVerdict() bool { return e.IsFailure() && e.Wire != nil && e.EDE.IsVerdict() }

// KeepFailure gives e the lifetime of a resolution failure in the availability
// epoch in which upstreams were asked. last is what the cache held before, if
// anything.
func (e *Entry) KeepFailure(last *Entry, epoch uint32) {
	e.Failures, e.Epoch = 1, epoch
	if last != nil && last.Failures > 0 && last.Epoch == epoch && e.StoredAt().Sub(last.StoredAt())-last.Life < lastFailure {
		e.Failures = min(last.Failures+1, 6)
	}
	e.Life = min(firstFailure<<(e.Failures-1), lastFailure)
}

// SetPassed remembers, also in the cache, by what policy and group e passed.
func (e *Entry) SetPassed(by uint64) {
	e.Passed = by
	e.kept.setPassed(by)
}

// Addresses yields the addresses of e's records.
func (e *Entry) Addresses(yield func(netip.Addr) bool) {
	for _, a := range e.Hints {
		if !yield(a) {
			return
		}
	}
	for _, off := range e.TTLs {
		size := int(binary.BigEndian.Uint16(e.Wire[off+4:]))
		data := e.Wire[int(off)+6 : int(off)+6+size]
		switch binary.BigEndian.Uint16(e.Wire[off-4:]) {
		case dnswire.TypeA, dnswire.TypeAAAA:
			if a, ok := netip.AddrFromSlice(data); ok && !yield(a) {
				return
			}
		}
	}
}
