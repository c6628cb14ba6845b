package querylog

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"time"

	"telltale/blocklists/format"
	"telltale/devices"
)

// The journal is one file for each window that is not yet in the store:
// journalMagic, then frames. A frame is frameMagic, the length of its payload and
// a CRC-32C (each 4 octets, little endian), and the payload: its number within
// the file, the lookups counted in the file before it, and entries. The CRC is
// of the window's number (8 octets, little endian) and the payload, so that a
// frame of another window is never taken. docs/querylog.md has the whole of it.
const (
	journalMagic  = "TELLTALE JOURNAL 3\n"
	journalMagic2 = "TELLTALE JOURNAL 2\n" // read only, as the next: see replay2.go
	journalMagic1 = "TELLTALE JOURNAL 1\n"
	frameMagic    = "\xf7TJ\x01"
	frameHeader   = 12
	maxFrame      = 1 << 20
	frameFull     = 256 << 10 // a frame is closed when it has grown so far
)

// Kinds of entries. The letters never change. Rows, clients, rules, annotations
// and strings carry their numbers, so that one that is lost never gives another
// its meaning.
const (
	entryWindow     = 'W' // window number, start, node
	entryClient     = 'C'
	entryRule       = 'R'
	entryAnnotation = 'A' // an annotation
	entryRow        = 'L' // a row of which nothing is counted yet
	entryState      = 'S' // a row with what it has counted so far
	entryMoved      = 'M' // a row that is another by now
	entryHidden     = 'X' // a row that is not kept
	entryHits       = 'H' // lookups, each a row and a time
	entryEvent      = 'E' // a line of the quality ledger
	entryBinding    = 'B' // a binding that no row needs yet
	entryAsLookups  = 'U' // how many of a row's attempts are lookups that each counted as one
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Bits of a lookup's first number in entryHits, below the row's number.
const (
	hitMore    = 1 << 0 // its time to an answer and its TTL follow
	hitAttempt = 1 << 1 // an attempt begins with it
	hitShift   = 2
)

// frameSum returns the checksum of a frame's payload in the journal of a window.
func frameSum(window int64, payload []byte) uint32 {
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], uint64(window))
	return crc32.Update(crc32.Checksum(number[:], castagnoli), castagnoli, payload)
}

// An encoder makes the frames of a window's journal. What it remembers to keep
// them small is bounded.
type encoder struct {
	number  int64  // of the window
	out     []byte // whole frames
	at      int    // where the open frame begins in out; -1 for none
	seq     uint64 // of the next frame
	lookups uint64 // in the frames before the open one
	inFrame uint64

	texts          map[string]uint64
	rules          map[ruleText]uint64
	annotations    map[format.Annotation]uint64
	nextRule       uint64 // numbers given out, not the size of the maps
	nextAnnotation uint64
	nextClient     uint64
	clients        map[uint32]uint64 // place in the fold -> number

	writing rowEncoder
}

// A rowEncoder makes the columns of one row. What they refer to is written to the
// frame first, where it has not been yet.
type rowEncoder struct {
	*encoder
	slot   uint32 // of the row's client in the fold
	fields []byte
}

func (w *rowEncoder) uint(v uint64) { w.fields = binary.AppendUvarint(w.fields, v) }

func (w *rowEncoder) bytes(b []byte) {
	w.uint(uint64(len(b)))
	w.fields = append(w.fields, b...)
}

const remembered = 2048 // rules, annotations and texts an encoder knows again

func newEncoder(window int64) *encoder {
	e := &encoder{number: window, at: -1, texts: make(map[string]uint64), clients: make(map[uint32]uint64)}
	e.rules, e.annotations = make(map[ruleText]uint64), make(map[format.Annotation]uint64)
	e.writing.encoder = e
	return e
}

// begin opens a frame where none is open, or the open one is full.
func (e *encoder) begin() {
	if e.at >= 0 && len(e.out)-e.at < frameFull {
		return
	}
	e.end()
	e.at = len(e.out)
	e.out = append(e.out, frameMagic+"\x00\x00\x00\x00\x00\x00\x00\x00"...)
	e.uint(e.seq)
	e.uint(e.lookups)
	e.seq++
}

// end closes the open frame.
func (e *encoder) end() {
	if e.at < 0 {
		return
	}
	payload := e.out[e.at+frameHeader:]
	binary.LittleEndian.PutUint32(e.out[e.at+4:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(e.out[e.at+8:], frameSum(e.number, payload))
	e.lookups += e.inFrame
	e.at, e.inFrame = -1, 0
}

// take returns the frames made so far, valid until the next call.
func (e *encoder) take() []byte {
	e.end()
	out := e.out
	e.out = e.out[:0]
	if cap(e.out) > frameFull {
		e.out = nil
	}
	return out
}

func (e *encoder) uint(v uint64) { e.out = binary.AppendUvarint(e.out, v) }
func (e *encoder) int(v int64)   { e.out = binary.AppendVarint(e.out, v) }
func (e *encoder) kind(k byte)   { e.out = append(e.out, k) }

func (e *encoder) bytes(b []byte) {
	e.uint(uint64(len(b)))
	e.out = append(e.out, b...)
}

func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.out = append(e.out, s...)
}

// text writes a string that is likely to come again: its number, from 2 on; or 0,
// then the number that it has from now on and the string; or 1, then the string
// alone.
func (e *encoder) text(s string) {
	if n, ok := e.texts[s]; ok {
		e.uint(n)
		return
	}
	if len(e.texts) >= remembered {
		e.uint(1)
	} else {
		n := uint64(len(e.texts)) + 2
		e.texts[s] = n
		e.uint(0)
		e.uint(n)
	}
	e.string(s)
}

func (e *encoder) window(start int64, node string) {
	e.begin()
	e.kind(entryWindow)
	e.int(e.number)
	e.int(start)
	e.string(node)
}

func (e *encoder) binding(b *devices.Binding) {
	e.uint(b.ID)
	e.text(b.Device)
	e.text(b.Name)
	addr, _ := b.Addr.MarshalBinary()
	e.bytes(addr)
	e.text(b.MAC)
	prefix, _ := b.Prefix.MarshalBinary()
	e.bytes(prefix)
	e.uint(uint64(b.Source))
	e.uint(uint64(b.Confidence))
	e.int(b.From.UnixMilli())
	e.uint(uint64(b.Group))
}

func (e *encoder) keptBinding(b *devices.Binding) {
	e.begin()
	e.kind(entryBinding)
	e.binding(b)
	e.bool(b.NoLog)
	e.int(milli(b.Until))
	e.int(milli(b.Seen))
}

func (e *encoder) bool(b bool) {
	if b {
		e.kind(1)
	} else {
		e.kind(0)
	}
}

// client returns the number of the fold's client at slot, written before if it
// had none.
func (e *encoder) client(slot uint32, c client) uint64 {
	if n, ok := e.clients[slot]; ok {
		return n
	}
	n := e.nextClient
	e.nextClient++
	e.clients[slot] = n
	e.kind(entryClient)
	e.uint(n)
	addr, _ := c.addr.MarshalBinary()
	e.bytes(addr)
	e.bool(c.binding != nil)
	if c.binding != nil {
		e.binding(c.binding)
	}
	return n
}

// rule returns the number of a rule, from 1 on, written before if it had none; 0
// for no rule.
func (e *encoder) rule(r ruleText) uint64 {
	if r == (ruleText{}) {
		return 0
	}
	if n, ok := e.rules[r]; ok {
		return n
	}
	if len(e.rules) >= remembered {
		clear(e.rules)
	}
	e.nextRule++
	e.rules[r] = e.nextRule
	e.kind(entryRule)
	e.uint(e.nextRule)
	e.text(r.List)
	e.uint(uint64(r.Line))
	e.string(r.Text)
	return e.nextRule
}

func (e *encoder) annotation(a *format.Annotation) uint64 {
	if a == nil {
		return 0
	}
	if n, ok := e.annotations[*a]; ok {
		return n
	}
	if len(e.annotations) >= remembered {
		clear(e.annotations)
	}
	e.nextAnnotation++
	e.annotations[*a] = e.nextAnnotation
	e.kind(entryAnnotation)
	e.uint(e.nextAnnotation)
	for _, s := range annotationTexts(a) {
		e.text(*s)
	}
	return e.nextAnnotation
}

// annotationTexts returns the fields that are kept, in the order in which the
// journal and the store have them.
func annotationTexts(a *format.Annotation) [10]*string {
	return [...]*string{&a.Vendor, &a.Product, &a.Purpose, &a.Tier, &a.Region, &a.Source, &a.Breaks, &a.Since,
		&a.Confidence, &a.Software}
}

// row writes the fold's row at place i. With state it writes what the row has
// counted too.
func (e *encoder) row(f *fold, i int, state bool) {
	e.begin()
	row := &f.rows[i]
	switch row.state {
	case moved:
		e.kind(entryMoved)
		e.uint(uint64(i))
		e.uint(uint64(row.key))
		return
	case hidden:
		e.kind(entryHidden)
		e.uint(uint64(i))
		return
	}
	r := f.describe(i)
	if state {
		r.count(row, f.attemptsOf(i))
		e.inFrame += row.count
	}
	e.entry(i, binary.LittleEndian.Uint32(f.keyOf(row)), &r, state)
}

// entry writes the columns of a row, the client of which stands at slot in the
// fold.
func (e *encoder) entry(number int, slot uint32, r *entry, state bool) {
	w := &e.writing
	w.slot, w.fields = slot, w.fields[:0]
	for c := range journaled {
		if state || !c.counted {
			c.put(w, r)
		}
	}
	kind := byte(entryRow)
	if state {
		kind = entryState
	}
	e.kind(kind)
	e.uint(uint64(number))
	e.bytes(w.fields)
}

// A hitBuffer holds lookups for the journal as Append made them.
type hitBuffer struct {
	buf  []byte
	n    uint64
	last int64 // Unix milliseconds of the last one
}

// add appends a lookup of row at ms. A lookup that was slower, or was told a
// larger TTL, than any other of its row carries both.
func (h *hitBuffer) add(row uint32, ms int64, more bool, elapsed, ttl uint32) {
	v := uint64(row) << hitShift
	if more {
		v |= hitMore
	}
	h.buf = binary.AppendUvarint(h.buf, v)
	h.buf = binary.AppendVarint(h.buf, ms-h.last)
	if more {
		h.buf = binary.AppendUvarint(h.buf, uint64(elapsed))
		h.buf = binary.AppendUvarint(h.buf, uint64(ttl))
	}
	h.last = ms
	h.n++
}

// hits writes what a buffer holds. Its times are relative to start.
func (e *encoder) hits(h *hitBuffer, start int64) {
	if h.n == 0 {
		return
	}
	e.begin()
	e.kind(entryHits)
	e.int(start)
	e.uint(h.n)
	e.bytes(h.buf)
	e.inFrame += h.n
}

// asLookups writes how many more of the attempts of rows are lookups.
func (e *encoder) asLookups(rows map[uint32]uint32) {
	for row, n := range rows {
		e.begin()
		e.kind(entryAsLookups)
		e.uint(uint64(row))
		e.uint(uint64(n))
	}
}

func (e *encoder) event(v *Event) {
	e.begin()
	e.kind(entryEvent)
	e.int(v.Time.UnixMilli())
	e.int(milli(v.Since.Time))
	e.int(milli(v.Until.Time))
	e.text(v.Kind)
	e.string(v.Subject)
	e.string(v.Detail)
}

// milli is UnixMilli, with 0 for the zero time.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// addrFrom is the reverse of Addr.MarshalBinary, without error.
func addrFrom(b []byte) netip.Addr {
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
