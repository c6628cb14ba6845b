package querylog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"net/netip"
	"strings"
	"time"

	"telltale/blocklists/format"
	"telltale/devices"
)

// A replay reads the journal of a window, all at once or as it grows, and counts
// as the fold did that wrote it. It takes any bytes and never fails: what cannot
// be read, and what refers to something that could not be read, is left out and
// counted as lost. So a row never has more lookups than were made, and never
// another device, name or rule than they had.
type replay struct {
	window int64 // set before the first feed
	start  int64
	node   string

	rows     []*replayRow // by number; nil for one that was not read
	events   []Event
	bindings []devices.Binding

	clients     map[uint64]*replayClient
	rules       map[uint64]ruleText
	annotations map[uint64]*format.Annotation
	texts       map[uint64]string

	frames  uint64
	next    uint64 // number of the frame to come
	lookups uint64 // counted
	lost    uint64 // lookups of the file that are not counted; at least so many
	bad     int    // bytes that are no frames, an incomplete end left out
	last    int64  // Unix milliseconds of the latest lookup or event
	version int    // of the format; 0 until journalMagic was read

	ordered ordered // version 1

	batch bool         // of a batch, whose rows come in any order
	taken []batchEntry // its rows
}

type replayRow struct {
	entry
	state rowState
	to    uint64 // of a moved row
}

type replayClient struct {
	addr    []byte
	binding *devices.Binding
}

// feed reads the whole frames at the beginning of b and returns how many bytes
// they take. The rest is the beginning of a frame that is still being written,
// or was when the writer ended. What is damaged is passed over where whole
// frames follow it.
func (p *replay) feed(b []byte) (read int) {
	if p.version == 0 {
		if len(b) < len(journalMagic) {
			return 0
		}
		switch string(b[:len(journalMagic)]) {
		case journalMagic:
			p.version = 3
		case journalMagic2:
			p.version = 2
		case journalMagic1:
			p.version = 1
		default:
			p.bad += len(b)
			return len(b)
		}
		read = len(journalMagic)
	}
	for read < len(b) {
		n, whole := p.whole(b[read:])
		if whole {
			p.frame(b[read+frameHeader : read+n])
			read += n
			continue
		}
		next := p.nextFrame(b[read+1:])
		if next < 0 {
			break
		}
		p.bad += next + 1
		read += next + 1
	}
	return read
}

// end says that nothing follows rest, what feed left of the last bytes. A frame
// that is there in its full length was damaged, one that is cut short was being
// written when the writer ended.
func (p *replay) end(rest []byte) {
	if n, _ := frameLength(rest); n > 0 {
		p.bad += len(rest)
	}
}

// frameLength returns the length of the frame that b begins with, 0 where b does
// not hold all of it or begins with something else, and its checksum.
func frameLength(b []byte) (n int, sum uint32) {
	if len(b) < frameHeader || string(b[:len(frameMagic)]) != frameMagic {
		return 0, 0
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if size > maxFrame || int(size) > len(b)-frameHeader {
		return 0, 0
	}
	return frameHeader + int(size), binary.LittleEndian.Uint32(b[8:])
}

// whole returns the length of the frame that b begins with, and whether it is
// whole and valid.
func (p *replay) whole(b []byte) (n int, whole bool) {
	n, sum := frameLength(b)
	if n == 0 {
		return 0, false
	}
	payload := b[frameHeader:n]
	if p.version == 1 {
		return n, crc32.Checksum(payload, castagnoli) == sum
	}
	return n, frameSum(p.window, payload) == sum
}

// nextFrame returns where the next whole frame begins in b, or -1.
func (p *replay) nextFrame(b []byte) int {
	for off := 0; ; off++ {
		i := bytes.Index(b[off:], []byte(frameMagic))
		if i < 0 {
			return -1
		}
		off += i
		if _, whole := p.whole(b[off:]); whole {
			return off
		}
	}
}

// frame counts the entries of one frame.
func (p *replay) frame(payload []byte) {
	c := cursor{b: payload}
	seq, before := c.uint(), c.uint()
	if c.err != nil || seq < p.next {
		return // one that was read already
	}
	if seq > p.next {
		p.ordered.gap = true
	}
	p.next = seq + 1
	p.frames++
	if before > p.lookups+p.lost && before-p.lookups < 1<<48 {
		p.lost = before - p.lookups
	}
	for len(c.b) > 0 && c.err == nil {
		p.entry(&c)
	}
}

func (p *replay) entry(c *cursor) {
	c.unknown = false
	switch c.byte() {
	case entryWindow:
		if n := c.int(); p.version == 1 {
			p.window = n
		}
		p.start = c.int()
		p.node = string(c.bytes())
	case entryClient:
		n := p.number(c, &p.ordered.clients)
		r := replayClient{addr: bytes.Clone(c.bytes())}
		if c.byte() == 1 {
			b := p.binding(c)
			r.binding = &b
		}
		if c.known() {
			put(&p.clients, n, &r)
		}
	case entryRule:
		n := p.number(c, &p.ordered.rules)
		r := ruleText{p.text(c), int(min(c.uint(), math.MaxInt32)), string(c.bytes())}
		if c.known() {
			put(&p.rules, n, r)
		}
	case entryAnnotation:
		n := p.number(c, &p.ordered.annotations)
		var a format.Annotation
		for _, s := range annotationTexts(&a) {
			*s = p.text(c)
		}
		if c.known() {
			put(&p.annotations, n, &a)
		}
	case entryRow:
		p.row(c, false)
	case entryState:
		p.row(c, true)
	case entryMoved:
		n := p.number(c, &p.ordered.rows)
		p.put(n, &replayRow{state: moved, to: c.uint()})
	case entryHidden:
		p.put(p.number(c, &p.ordered.rows), &replayRow{state: hidden})
	case entryHits:
		p.hits(c)
	case entryAsLookups:
		row, n := p.target(c.uint()), c.uint()
		if c.err == nil && row != nil {
			row.AsLookups += uint32(min(n, uint64(row.Attempts-min(row.AsLookups, row.Attempts))))
		}
	case entryEvent:
		v := Event{Time: Time{fromMilli(c.int())}, Since: Time{fromMilli(c.int())}, Until: Time{fromMilli(c.int())}}
		v.Kind, v.Subject, v.Detail = p.text(c), string(c.bytes()), string(c.bytes())
		v.Node = p.node
		if c.known() {
			p.last = max(p.last, milli(v.Time.Time))
			p.events = append(p.events, v)
		}
	case entryBinding:
		b := p.binding(c)
		b.NoLog = c.byte() == 1
		b.Until, b.Seen = fromMilli(c.int()), fromMilli(c.int())
		if c.known() {
			p.bindings = append(p.bindings, b)
		}
	default:
		c.err = errEntry
	}
}

func put[V any](m *map[uint64]V, n uint64, v V) {
	if *m == nil {
		*m = make(map[uint64]V)
	}
	(*m)[n] = v
}

// put keeps a row under its number.
func (p *replay) put(n uint64, r *replayRow) {
	if n >= 1<<rowBits || p.ordered.gap && p.version == 1 {
		return
	}
	if p.batch {
		p.taken = append(p.taken, batchEntry{int64(n), r.entry})
		return
	}
	if n >= uint64(len(p.rows)) {
		p.rows = append(p.rows, make([]*replayRow, n+1-uint64(len(p.rows)))...)
	}
	p.rows[n] = r
}

func (p *replay) binding(c *cursor) (b devices.Binding) {
	b.ID, b.Device, b.Name = c.uint(), p.text(c), p.text(c)
	b.Addr = addrFrom(c.bytes())
	b.MAC = p.text(c)
	b.Prefix.UnmarshalBinary(c.bytes()) // one that is damaged stays invalid
	b.Source, b.Confidence = devices.Source(c.uint()), devices.Confidence(c.uint())
	b.From, b.Group = time.UnixMilli(c.int()), uint16(c.uint())
	return b
}

// referred returns what an entry refers to by its number. One that was not read
// makes the entry unknown.
func referred[V any](c *cursor, m map[uint64]V, n uint64) (v V) {
	v, ok := m[n]
	if !ok {
		c.unknown = true
	}
	return v
}

// client returns the client with a number, as of an entry.
func (p *replay) client(c *cursor, n uint64) (addr netip.Addr, b *devices.Binding) {
	if client := referred(c, p.clients, n); client != nil {
		return addrFrom(client.addr), client.binding
	}
	return addr, nil
}

// rule returns the rule with a number; 0 is none.
func (p *replay) rule(c *cursor, n uint64) (r ruleText) {
	if n == 0 {
		return r
	}
	return referred(c, p.rules, n-p.base())
}

// annotation returns the annotation with a number; 0 is none.
func (p *replay) annotation(c *cursor, n uint64) *format.Annotation {
	if n == 0 {
		return nil
	}
	return referred(c, p.annotations, n-p.base())
}

// row reads the columns of a row. Where a version with fewer of them wrote it,
// the others are zero; what is behind them a later version wrote.
func (p *replay) row(c *cursor, state bool) {
	if p.version < 3 {
		p.row2(c, state)
		return
	}
	var r replayRow
	n := c.uint()
	fields := cursor{b: c.bytes()}
	for column := range journaled {
		if (state || !column.counted) && len(fields.b) > 0 {
			column.take(p, &fields, &r.entry)
		}
	}
	c.unknown = c.unknown || fields.unknown
	if c.err == nil {
		c.err = fields.err
	}
	p.keep(c, n, &r)
}

// keep counts a row that was read.
func (p *replay) keep(c *cursor, n uint64, r *replayRow) {
	if !c.known() || p.ordered.gap && p.version == 1 {
		p.skip(r.Count)
		return
	}
	p.lookups += r.Count
	p.last = max(p.last, r.Last)
	p.put(n, r)
}

// skip counts lookups that were read but cannot be told what they were of.
func (p *replay) skip(n uint64) {
	p.lost += min(n, 1<<48)
}

func (p *replay) hits(c *cursor) {
	ms, n := c.int(), c.uint()
	h := cursor{b: c.bytes()}
	if c.err != nil {
		return
	}
	shift := hitShift
	if p.version == 1 {
		shift = 1
	}
	for ; n > 0 && h.err == nil; n-- {
		v := h.uint()
		ms += h.int()
		var elapsed, ttl uint64
		if v&hitMore != 0 {
			elapsed, ttl = h.uint(), h.uint()
		}
		row := p.target(v >> shift)
		if h.err != nil || row == nil || p.ordered.gap && p.version == 1 {
			p.skip(1)
			continue
		}
		if row.Count == 0 {
			row.First, row.Last = ms, ms
		}
		row.Count++
		row.First, row.Last = min(row.First, ms), max(row.Last, ms)
		row.Elapsed, row.TTL = max(row.Elapsed, uint32(elapsed)), max(row.TTL, uint32(ttl))
		if p.version != 1 && v&hitAttempt != 0 {
			row.Attempts++
			if row.Granularity != byName {
				row.AsLookups++
			}
		}
		p.lookups++
		p.last = max(p.last, ms)
	}
	p.skip(min(n, 1<<32)) // the buffer was shorter than it said
}

// target returns the row that counts the lookups of the row with a number, or
// nil where it was not read.
func (p *replay) target(n uint64) *replayRow {
	for range 8 { // moves of moves; never a loop
		if n >= uint64(len(p.rows)) || p.rows[n] == nil {
			return nil
		}
		row := p.rows[n]
		if row.state != moved {
			return row
		}
		n = row.to
	}
	return nil
}

// entries returns a row with its number for each that is to be written.
func (p *replay) entries(yield func(int, *entry) bool) {
	for i, row := range p.rows {
		if row != nil && row.state == live && row.Count > 0 && !yield(i, &row.entry) {
			return
		}
	}
}

// text reads what encoder.text wrote.
func (p *replay) text(c *cursor) string {
	switch n := c.uint(); n {
	case 0:
		if p.version == 1 {
			n = p.ordered.texts + 2
			p.ordered.texts++
		} else {
			n = c.uint()
		}
		s := strings.Clone(string(c.bytes()))
		put(&p.texts, n, s)
		return s
	case 1:
		return string(c.bytes())
	default:
		return referred(c, p.texts, n)
	}
}

var errEntry = errors.New("not a journal entry")

// A cursor reads from the front of b; after the first mistake everything is
// zero.
type cursor struct {
	b       []byte
	err     error
	unknown bool // the entry refers to a number that was not read
}

// known reports whether the entry at hand was read with all it refers to.
func (c *cursor) known() bool { return c.err == nil && !c.unknown }

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.err = errEntry
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) uint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.err = nil, errEntry
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) int() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.b, c.err = nil, errEntry
		return 0
	}
	c.b = c.b[n:]
	return v
}

// bytes returns a part of b, not a copy.
func (c *cursor) bytes() []byte {
	n := c.uint()
	if n > uint64(len(c.b)) {
		c.b, c.err = nil, errEntry
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}
