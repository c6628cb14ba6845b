package cache

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"telltale/dnswire"
)

// A memory is where the entries of a shard lie: a record of a fixed size for
// each, and what differs in size in as many cells as it takes. Both are numbered
// from 1 on, taken from the system as they are first used, and kept for the
// next. There are no pointers for the garbage collector to follow. Its shard's
// lock guards it.
type memory struct {
	records pool[record]
	cells   pool[cell]
}

// A record is the place of an entry: what is known of it but for its data, and
// its neighbours.
type record struct {
	facts
	passed atomic.Uint64 // see Entry.Passed
	use    atomic.Uint32 // its queue, and how often it was served: see useMain
	hash   uint32        // the part of it that is not the shard's
	chain  uint32        // the next record of the same hash
	newer  uint32        // towards the head
	older  uint32        // towards the tail
	retry  uint32        // until when upstreams are not asked again, seconds since the cache was made; see Cache.Defer
	serial uint32        // never the same again, in its shard; 0: it holds nothing
	first  uint32        // cell of its data
}

// facts are an entry's fields, but for what needs room.
type facts struct {
	storedAt time.Duration // since the cache was made
	life     uint32        // seconds
	maxTTL   uint32        // see Entry.MaxTTL
	epoch    uint32        // see Entry.Epoch

	// What the data is: the reply with the question's name in lower case, or that
	// name where there is no reply; then so many octets of each of these.
	wire, aliases, ttls, hints uint16
	rcode, ede                 uint16
	variant                    variant
	name, text                 uint8
	failures                   uint8
	flags                      flags
}

// flags are the facts of an entry that are true or not.
type flags uint8

const (
	flagAD flags = 1 << iota
	flagPrivate
	flagInside
	flagAddrs
	flagUnanswered
)

func (f *flags) set(flag flags, is bool) {
	if is {
		*f |= flag
	}
}

// A cell is a piece of an entry's data. Its size is a line of a processor's cache.
type cell struct {
	next uint32 // of the same entry; 0: none
	data [cellData]byte
}

// recordCost is a record's size, its share of the table, and of the hashes of what is
// gone.
const (
	recordCost = 80 + 8 + 4
	cellSize   = 64
	cellData   = cellSize - 4
)

// newMemory returns memory of so many bytes at most. It is divided once, for
// entries of two cells: where each grew at the other's cost, a flood of large
// answers would leave room for few small ones ever after.
func newMemory(size int64) memory {
	n := int(max(size, 0) / (recordCost + 2*cellSize))
	return memory{records: pool[record]{max: n}, cells: pool[cell]{max: 2 * n}}
}

// emptied returns memory of the same size with nothing in it.
func (m *memory) emptied() memory {
	return memory{records: pool[record]{max: m.records.max}, cells: pool[cell]{max: m.cells.max}}
}

// bytes returns how much memory is in use.
func (m *memory) bytes() int64 {
	return int64(m.records.used)*recordCost + int64(m.cells.used)*cellSize
}

// largest is the most data that an entry may have.
func (m *memory) largest() int { return m.cells.max / 4 * cellData }

func cellsOf(data int) int { return (data + cellData - 1) / cellData }

func (m *memory) record(at uint32) *record { return m.records.at(at) }

func (f *facts) expires() time.Duration { return f.storedAt + time.Duration(f.life)*time.Second }
func (f *facts) is(flag flags) bool     { return f.flags&flag != 0 }

// nameAt is where the name begins in the data.
func (f *facts) nameAt() int {
	if f.wire > 0 {
		return dnswire.HeaderLen
	}
	return 0
}

// size returns how many octets the data are.
func (f *facts) size() int {
	return max(int(f.wire), int(f.name)) + int(f.aliases) + int(f.ttls) + int(f.hints) + int(f.text)
}

// encodeEntry returns e as the answer to q in the form in which it is kept, the
// data appended to dst. It returns false if it cannot be kept.
func encodeEntry(dst []byte, q *dnswire.Question, e *Entry) (f facts, data []byte, ok bool) {
	name := q.Name.Wire()
	data = dst
	if e.Wire != nil {
		if e.Question != len(name)+4 || len(e.Wire) < dnswire.HeaderLen+e.Question {
			return f, nil, false
		}
		data = append(data, e.Wire[:dnswire.HeaderLen]...)
		data = append(data, name...)
		data = append(data, e.Wire[dnswire.HeaderLen+len(name):]...)
	} else {
		data = append(data, name...)
	}
	data = append(data, e.Aliases...)
	for _, off := range e.TTLs {
		data = binary.LittleEndian.AppendUint16(data, off)
	}
	hints := len(data)
	for _, a := range e.Hints {
		data = append(data, byte(a.BitLen()/8))
		data = append(data, a.AsSlice()...)
	}
	data = append(data, e.Servers...) // their first octet is none of a hint
	hints = len(data) - hints
	data = append(data, e.EDE.Text...)
	if len(e.Wire) > 0xffff || len(e.Aliases) > 0xffff || 2*len(e.TTLs) > 0xffff || hints > 0xffff || len(e.EDE.Text) > 0xff {
		return f, nil, false
	}
	f.life, f.maxTTL, f.epoch = uint32(e.Life/time.Second), e.MaxTTL, e.Epoch
	f.wire, f.aliases, f.ttls, f.hints = uint16(len(e.Wire)), uint16(len(e.Aliases)), uint16(2*len(e.TTLs)), uint16(hints)
	f.rcode, f.ede, f.name, f.text = e.Rcode, e.EDE.Code, uint8(len(name)), uint8(len(e.EDE.Text))
	f.variant, f.failures = variantOf(q), e.Failures
	if e.Rcode == dnswire.NXDomain && e.Wire != nil && len(e.Aliases) == 0 { // else it is of the last alias
		f.variant.typ = allTypes
	}
	f.flags.set(flagAD, e.AD)
	f.flags.set(flagPrivate, e.Private)
	f.flags.set(flagInside, e.Inside)
	f.flags.set(flagAddrs, e.HasAddresses)
	f.flags.set(flagUnanswered, e.Unanswered)
	return f, data, true
}

// load makes e what r and its data say, but for the times. What e held before is
// overwritten.
func (m *memory) load(r *record, e *Entry) {
	e.buf = m.data(e.buf[:0], r)
	e.Life, e.MaxTTL, e.Epoch, e.Failures, e.Passed = time.Duration(r.life)*time.Second, r.maxTTL, r.epoch, r.failures, r.passed.Load()
	e.Stale, e.Due = false, false
	e.Rcode, e.EDE.Code, e.Question = r.rcode, r.ede, int(r.name)+4
	e.AD, e.Private, e.Inside, e.HasAddresses, e.Unanswered = r.is(flagAD), r.is(flagPrivate), r.is(flagInside), r.is(flagAddrs), r.is(flagUnanswered)
	data := e.buf
	if r.wire > 0 {
		e.Wire, data = data[:r.wire], data[r.wire:]
	} else {
		e.Wire, data = nil, data[r.name:]
	}
	e.Aliases, data = data[:r.aliases], data[r.aliases:]
	e.TTLs = e.TTLs[:0]
	for ; len(e.TTLs) < int(r.ttls)/2; data = data[2:] {
		e.TTLs = append(e.TTLs, binary.LittleEndian.Uint16(data))
	}
	e.Hints, e.Servers = e.Hints[:0], nil
	for hints := data[:r.hints]; len(hints) > 0; {
		if hints[0] >= dnswire.ServerItem {
			e.Servers = hints
			break
		}
		size := 1 + int(hints[0])
		a, _ := netip.AddrFromSlice(hints[1:size])
		e.Hints, hints = append(e.Hints, a), hints[size:]
	}
	e.EDE.Text = ""
	if text := data[r.hints:]; len(text) > 0 {
		if e.text != string(text) {
			e.text = string(text) // most often the same as the last time
		}
		e.EDE.Text = e.text
	}
}

// data appends the data of r.
func (m *memory) data(dst []byte, r *record) []byte {
	at := r.first
	for left := r.size(); left > 0; left -= cellData {
		c := m.cells.at(at)
		dst = append(dst, c.data[:min(left, cellData)]...)
		at = c.next
	}
	return dst
}

// named reports whether r is of the name, in wire form and lower case.
func (m *memory) named(r *record, name []byte) bool {
	if int(r.name) != len(name) {
		return false
	}
	c := m.cells.at(r.first)
	for from := r.nameAt(); ; from = 0 {
		n := min(len(name), cellData-from)
		if !bytes.Equal(c.data[from:from+n], name[:n]) {
			return false
		}
		if name = name[n:]; len(name) == 0 {
			return true
		}
		c = m.cells.at(c.next)
	}
}

// store makes r hold what f and data say, in cells of its own. There must be
// enough of them left.
func (m *memory) store(r *record, serial uint32, f *facts, data []byte) {
	r.facts, r.serial, r.first, r.retry = *f, serial, 0, 0
	r.passed.Store(0)
	for link := &r.first; len(data) > 0; {
		*link = m.cells.take()
		c := m.cells.at(*link)
		data = data[copy(c.data[:], data):]
		c.next, link = 0, &c.next
	}
}

// drop gives r's cells back and makes it hold nothing.
func (m *memory) drop(r *record) {
	for at := r.first; at != 0; {
		next := m.cells.at(at).next
		m.cells.giveBack(at)
		at = next
	}
	r.first, r.serial = 0, 0
}

// A pool is a number of places for a T, which are numbered from 1 on. It takes
// memory in chunks as they are first used.
type pool[T any] struct {
	max    int // places
	used   int // of them
	made   int // that were ever used
	free   []uint32
	chunks []*[chunk]T
}

const chunk = 128 // places

func (p *pool[T]) at(i uint32) *T { return &p.chunks[i/chunk][i%chunk] }

// has reports whether i is a place that was ever used.
func (p *pool[T]) has(i uint32) bool { return int(i) <= p.made }

// left returns how many places can be taken.
func (p *pool[T]) left() int { return p.max - p.used }

// take returns a place, with whatever it held before. There must be one left.
func (p *pool[T]) take() uint32 {
	p.used++
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		return i
	}
	p.made++
	if p.made/chunk >= len(p.chunks) {
		p.chunks = append(p.chunks, new([chunk]T))
	}
	return uint32(p.made)
}

func (p *pool[T]) giveBack(i uint32) {
	p.used--
	p.free = append(p.free, i)
}
