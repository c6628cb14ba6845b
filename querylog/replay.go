package querylog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/devices"
)

// A replay reads a journal file, all at once or as it grows, and counts as the
// fold did that wrote it. It takes any bytes and never fails: what cannot be
// read is left out and counted as lost.
type replay struct {
	window int64
	start  int64
	node   string

	rows     []replayRow
	events   []Event
	bindings []devices.Binding

	clients     []replayClient
	rules       []ruleText
	annotations []*format.Annotation
	texts       []string

	frames  uint64
	next    uint64 // number of the frame to come
	lookups uint64 // counted
	lost    uint64 // lookups of the file that are not counted
	bad     int    // bytes that are no frames, a torn end left out
	last    int64  // Unix milliseconds of the latest lookup or event
	begun   bool   // journalMagic was there
}

type replayRow struct {
	entry
	state rowState
	to    uint32 // of a moved row
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
	if !p.begun {
		if len(b) < len(journalMagic) {
			return 0
		}
		if !bytes.HasPrefix(b, []byte(journalMagic)) {
			p.bad = len(b)
			return len(b)
		}
		p.begun, read = true, len(journalMagic)
	}
	for read < len(b) {
		n, whole := frame(b[read:])
		if whole {
			p.frame(b[read+frameHeader : read+n])
			read += n
			continue
		}
		next := nextFrame(b[read+1:])
		if next < 0 {
			break
		}
		p.bad += next + 1
		read += next + 1
	}
	return read
}

// frame returns the length of the frame that b begins with, and whether it is
// whole.
func frame(b []byte) (n int, whole bool) {
	if len(b) < frameHeader || string(b[:4]) != frameMagic {
		return 0, false
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if size > maxFrame || int(size) > len(b)-frameHeader {
		return 0, false
	}
	n = frameHeader + int(size)
	return n, crc32.Checksum(b[frameHeader:n], castagnoli) == binary.LittleEndian.Uint32(b[8:])
}

// nextFrame returns where the next whole frame begins in b, or -1.
func nextFrame(b []byte) int {
	for off := 0; ; off++ {
		i := bytes.Index(b[off:], []byte(frameMagic))
		if i < 0 {
			return -1
		}
		off += i
		if _, whole := frame(b[off:]); whole {
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
	switch c.byte() {
	case entryWindow:
		p.window, p.start = c.int(), c.int()
		p.node = string(c.bytes())
	case entryClient:
		r := replayClient{addr: c.bytes()}
		r.addr = bytes.Clone(r.addr)
		if c.byte() == 1 {
			b := p.binding(c)
			r.binding = &b
		}
		p.clients = append(p.clients, r)
	case entryRule:
		p.rules = append(p.rules, ruleText{p.text(c), int(min(c.uint(), math.MaxInt32)), string(c.bytes())})
	case entryAnnotation:
		var a format.Annotation
		for _, s := range annotationTexts(&a) {
			*s = p.text(c)
		}
		p.annotations = append(p.annotations, &a)
	case entryRow:
		p.row(c, false)
	case entryState:
		p.row(c, true)
	case entryMoved:
		p.rows = append(p.rows, replayRow{state: moved, to: uint32(min(c.uint(), math.MaxUint32))})
	case entryHidden:
		p.rows = append(p.rows, replayRow{state: hidden})
	case entryHits:
		p.hits(c)
	case entryEvent:
		v := Event{Time: Time{fromMilli(c.int())}, Since: Time{fromMilli(c.int())}, Until: Time{fromMilli(c.int())}}
		v.Kind, v.Subject, v.Detail = p.text(c), string(c.bytes()), string(c.bytes())
		v.Node = p.node
		p.last = max(p.last, milli(v.Time.Time))
		p.events = append(p.events, v)
	case entryBinding:
		b := p.binding(c)
		b.NoLog = c.byte() == 1
		b.Until, b.Seen = fromMilli(c.int()), fromMilli(c.int())
		p.bindings = append(p.bindings, b)
	default:
		c.err = errEntry
	}
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

func (p *replay) row(c *cursor, state bool) {
	var r replayRow
	client, rule, attr, annotation := c.uint(), c.uint(), c.uint(), c.uint()
	verdict, rcode, from, g := c.byte(), c.byte(), c.byte(), c.byte()
	r.Type = uint16(c.uint())
	r.Name, r.Alias = bytes.Clone(c.bytes()), bytes.Clone(c.bytes())
	r.Action, r.Level = blocklists.Action(verdict>>4), blocklists.Level(verdict&15)
	r.Rcode, r.Source, r.Transport, r.Grain = rcode, Source(from>>4), Transport(from&15), min(grain(g), byNobody)
	if client < uint64(len(p.clients)) {
		r.Addr, r.Binding = addrFrom(p.clients[client].addr), p.clients[client].binding
	}
	if rule--; rule < uint64(len(p.rules)) {
		r.Rule = p.rules[rule]
	}
	if attr--; attr < uint64(len(p.rules)) {
		r.Attr = p.rules[attr]
	}
	if annotation--; annotation < uint64(len(p.annotations)) {
		r.Annotation = p.annotations[annotation]
	}
	if state {
		r.Count, r.First, r.Last = c.uint(), c.int(), c.int()
		r.Elapsed, r.TTL = uint32(c.uint()), uint32(c.uint())
		p.lookups += r.Count
		p.last = max(p.last, r.Last)
	}
	p.rows = append(p.rows, r)
}

func (p *replay) hits(c *cursor) {
	ms, n := c.int(), c.uint()
	h := cursor{b: c.bytes()}
	if c.err != nil {
		return
	}
	for ; n > 0 && h.err == nil; n-- {
		v := h.uint()
		ms += h.int()
		var elapsed, ttl uint64
		if v&1 == 1 {
			elapsed, ttl = h.uint(), h.uint()
		}
		row := p.target(v >> 1)
		if h.err != nil || row == nil {
			p.lost++
			continue
		}
		if row.Count == 0 {
			row.First, row.Last = ms, ms
		}
		row.Count++
		row.First, row.Last = min(row.First, ms), max(row.Last, ms)
		row.Elapsed, row.TTL = max(row.Elapsed, uint32(elapsed)), max(row.TTL, uint32(ttl))
		p.lookups++
		p.last = max(p.last, ms)
	}
	p.lost += min(n, 1<<32) // the buffer was shorter than it said
}

// target returns the row that counts the lookups of the row at place i, or nil.
func (p *replay) target(i uint64) *replayRow {
	for range 8 { // moves of moves; never a loop
		if i >= uint64(len(p.rows)) {
			return nil
		}
		row := &p.rows[i]
		if row.state != moved {
			return row
		}
		i = uint64(row.to)
	}
	return nil
}

// entries returns a row with its place for each that is to be written.
func (p *replay) entries(yield func(int, *entry) bool) {
	for i := range p.rows {
		row := &p.rows[i]
		if row.state == live && row.Count > 0 && !yield(i, &row.entry) {
			return
		}
	}
}

// text reads what encoder.text wrote.
func (p *replay) text(c *cursor) string {
	switch n := c.uint(); n {
	case 0:
		s := strings.Clone(string(c.bytes()))
		p.texts = append(p.texts, s)
		return s
	case 1:
		return string(c.bytes())
	default:
		if n-2 >= uint64(len(p.texts)) {
			return ""
		}
		return p.texts[n-2]
	}
}

var errEntry = errors.New("not a journal entry")

// A cursor reads from the front of b; after the first mistake everything is
// zero.
type cursor struct {
	b   []byte
	err error
}

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
