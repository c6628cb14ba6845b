package querylog

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"telltale/devices"
)

// A Batch is a part of a store's log on its way to another one, which joins the logs of many nodes: windows, whole
// and in order, with what the store has of them at the time. Rows, lines of the ledger, bindings and windows never
// change once they are stored, so that two batches agree wherever both have something; what retention deleted in
// between is in the earlier one alone.
//
// (Store, window, place) is the key of a row and of a line of the ledger: Row.Store and Row.ID.
type Batch struct {
	Store string // random id of the store that the windows are of
	Node  string // the node that keeps it

	// Windows numbered above From and up to To are all in the batch, but for those of imported rows. To is
	// the last one of it.
	From, To int64

	// Begin is the window before the first one that is of the store: 0, or where a copy became another store. Behind it, or behind what
	// the centre has, a batch may begin.
	Begin int64

	Windows  []BatchWindow     // in order
	Bindings []devices.Binding // that rows name, and others of devices with lookups that began or ended about the time; ID is of the store
	Totals   []Total           // of the hours that the windows are in, of all that the store had when the batch was made: of equal keys (Batch.Node for Total.Node) the larger numbers are right

	memory int // see Memory
}

// Memory returns about how many octets a batch that was read takes.
func (b *Batch) Memory() int { return b.memory }

// A BatchWindow is a window of a batch.
type BatchWindow struct {
	Number      int64
	First, Last int64 // Unix milliseconds, of its lookups
	RowsStored  int64 // that it had when it was stored, also of those that do not travel
	Lookups     int64 // of them

	Events []Event // lines of the ledger, each at its place

	entries []batchEntry
}

// A batchEntry is a row of a window.
type batchEntry struct {
	place int64
	entry
}

// A BatchRow is a row of a batch.
type BatchRow struct {
	Row
	Listed bool // of a listed name: kept as long as these
}

// Rows calls each with the rows of a batch as a Reader of its store gives them, in order, until it returns false.
func (b *Batch) Rows(each func(*BatchRow) bool) {
	for i := range b.Windows {
		w := &b.Windows[i]
		for j := range w.entries {
			e := &w.entries[j]
			row := BatchRow{e.row(w.Number<<rowBits|e.place, b.Node), e.listed()}
			row.Store, row.Open = b.Store, false
			if !each(&row) {
				return
			}
		}
	}
}

// Lines calls each with the lines of the ledger and their numbers, in order, until it returns false.
func (b *Batch) Lines(each func(*LedgerLine) bool) {
	for i := range b.Windows {
		w := &b.Windows[i]
		for j := range w.Events {
			line := LedgerLine{w.Events[j], w.Number<<rowBits | int64(j)}
			line.Node = b.Node
			if !each(&line) {
				return
			}
		}
	}
}

// Len returns how many rows the batch has.
func (b *Batch) Len() (rows int) {
	for i := range b.Windows {
		rows += len(b.Windows[i].entries)
	}
	return rows
}

// batchMagic begins a batch. A number that follows is the version of the schema by which it was made: a centre of an
// earlier one does not know all its columns.
const batchMagic = "TELLTALE BATCH 1\n"

// Bounds of what a batch may have, so that a small text does not take much memory.
const (
	batchWindows = 1 << 16
	batchMemory  = 384 << 20 // octets that what is read of it may take, its texts left out
)

// Octets that one takes in memory, about.
const (
	sizeOfRow     = 400
	sizeOfBinding = 250
	sizeOfTotal   = 250
	sizeOfEvent   = 150
)

// sizeOfEntries are those of the entries that frames of a batch have; others have no place in one.
var sizeOfEntries = map[byte]int{entryWindow: 0, entryClient: 250, entryRule: 80, entryAnnotation: 250, entryState: sizeOfRow, entryEvent: sizeOfEvent, entryBinding: sizeOfBinding}

var errBatch = errors.New("the batch is damaged: it is cut off, or no batch")

// A NewerBatchError says that a later version of this program made a batch.
type NewerBatchError struct{ Have, Known int }

func (e *NewerBatchError) Error() string {
	return fmt.Sprintf("the batch has schema %d and this version knows %d: update the centre, then the nodes", e.Have, e.Known)
}

// Append appends the batch to text. Rows are in the form of the journal's, which package querylog makes of its columns.
func (b *Batch) Append(text []byte) []byte {
	p := batchWriter{text}
	p.out = append(p.out, batchMagic...)
	p.uint(schemaVersion)
	p.string(b.Store)
	p.string(b.Node)
	p.int(b.From)
	p.int(b.To)
	p.int(b.Begin)
	p.uint(uint64(len(b.Windows)))
	for i := range b.Windows {
		w := &b.Windows[i]
		for _, v := range [...]int64{w.Number, w.First, w.Last, w.RowsStored, w.Lookups} {
			p.int(v)
		}
		p.uint(uint64(len(w.entries)))
		p.uint(uint64(len(w.Events)))
		p.string(string(w.frames(b.Node)))
	}
	p.uint(uint64(len(b.Bindings)))
	e := newEncoder(0)
	for i := range b.Bindings {
		e.keptBinding(&b.Bindings[i])
	}
	p.string(string(e.take()))
	p.uint(uint64(len(b.Totals)))
	texts := newEncoder(0) // of the texts that come again
	for i := range b.Totals {
		texts.total(&b.Totals[i])
	}
	p.string(string(texts.out))
	return p.out
}

// A batchWriter appends numbers and texts.
type batchWriter struct{ out []byte }

func (p *batchWriter) uint(v uint64) { p.out = binary.AppendUvarint(p.out, v) }
func (p *batchWriter) int(v int64)   { p.out = binary.AppendVarint(p.out, v) }
func (p *batchWriter) string(s string) {
	p.uint(uint64(len(s)))
	p.out = append(p.out, s...)
}

// frames returns what the window has in the frames of a journal.
func (w *BatchWindow) frames(node string) []byte {
	e := newEncoder(w.Number)
	e.window(w.First, node)
	clients := map[client]uint32{}
	for i := range w.entries {
		r := &w.entries[i]
		c := client{addr: r.Addr, binding: r.Binding}
		slot, known := clients[c]
		if !known {
			slot = uint32(len(clients))
			clients[c] = slot
		}
		e.begin()
		e.entry(int(r.place), slot, &r.entry, true)
	}
	for i := range w.Events {
		e.event(&w.Events[i])
	}
	return e.take()
}

// total writes a total but for its node, which is the batch's.
func (e *encoder) total(t *Total) {
	e.int(t.Hour.UnixMilli() / hourMilli)
	for _, s := range [...]string{t.Device, t.Vendor, t.Product, t.Purpose, t.Tier, t.Verdict} {
		e.text(s)
	}
	for _, n := range [...]uint64{t.Lookups, t.Attempts, t.AsLookups, t.Names} {
		e.uint(n)
	}
	e.int(t.First.UnixMilli() - t.Hour.UnixMilli())
	e.int(t.Last.UnixMilli() - t.Hour.UnixMilli())
}

// A batchReader reads a batch.
type batchReader struct {
	ctx  context.Context
	left int // octets of memory that what is still to come may take
}

// take takes memory for so many of a size.
func (r *batchReader) take(n uint64, size int) bool {
	if n > uint64(r.left/max(size, 1)) {
		return false
	}
	r.left -= int(n) * size
	return true
}

// frames reads frames, all of which must be whole and in order, with so many rows, ledger lines and bindings. At
// the first one that is not, or has more, it stops: who has sent them may be anybody.
func (r *batchReader) frames(p *replay, frames []byte, rows, events, bindings uint64) error {
	p.version, p.batch = 3, true
	for len(frames) > 0 {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		n, whole := p.whole(frames)
		if !whole {
			return errBatch
		}
		c := cursor{b: frames[frameHeader:n]}
		seq, _ := c.uint(), c.uint()
		if c.err != nil || seq != p.next {
			return errBatch
		}
		p.next++
		for len(c.b) > 0 {
			size, known := sizeOfEntries[c.b[0]]
			if !known || !r.take(1, size) {
				return errBatch
			}
			p.entry(&c)
			if !c.known() || uint64(len(p.taken)) > rows || uint64(len(p.events)) > events || uint64(len(p.bindings)) > bindings || len(p.texts) > remembered {
				return errBatch
			}
		}
		frames = frames[n:]
	}
	if uint64(len(p.taken)) != rows || uint64(len(p.events)) != events || uint64(len(p.bindings)) != bindings {
		return errBatch
	}
	return nil
}

// ParseBatch reads a batch: all of it, or it returns why not. The error is a *NewerBatchError where a later version
// made it.
func ParseBatch(ctx context.Context, text []byte) (*Batch, error) {
	if len(text) < len(batchMagic) || string(text[:len(batchMagic)]) != batchMagic {
		return nil, errBatch
	}
	c := &cursor{b: text[len(batchMagic):]}
	if v := c.uint(); c.err == nil && v > schemaVersion {
		return nil, &NewerBatchError{int(min(v, 1<<30)), schemaVersion}
	}
	b := &Batch{Store: string(c.bytes()), Node: string(c.bytes()), From: c.int(), To: c.int(), Begin: c.int()}
	windows := c.uint()
	if c.err != nil || windows > batchWindows || b.From < 0 || b.Begin < 0 || b.To < b.From || b.To > maxWindow || len(b.Store) == 0 || len(b.Store) > 64 || len(b.Node) > 255 {
		return nil, errBatch
	}
	r, last := &batchReader{ctx: ctx, left: batchMemory}, b.From
	for range windows {
		w, err := r.window(c, last, b.To, b.Node)
		if err != nil {
			return nil, err
		}
		last = w.Number
		b.Windows = append(b.Windows, w)
	}
	if windows == 0 || last != b.To { // what is not in it must not be taken for stored
		return nil, errBatch
	}
	if err := r.bindings(c, b); err != nil {
		return nil, err
	}
	if err := r.totals(c, b); err != nil {
		return nil, err
	}
	if c.err != nil || len(c.b) > 0 {
		return nil, errBatch
	}
	b.memory = batchMemory - r.left + len(text)
	return b, nil
}

// window reads a window numbered behind last, up to most.
func (r *batchReader) window(c *cursor, last, most int64, node string) (w BatchWindow, err error) {
	for _, v := range [...]*int64{&w.Number, &w.First, &w.Last, &w.RowsStored, &w.Lookups} {
		*v = c.int()
	}
	rows, events := c.uint(), c.uint()
	frames := c.bytes()
	if c.err != nil || w.Number <= last || w.Number > most || w.First > w.Last || w.RowsStored < 0 || w.Lookups < 0 || rows > uint64(w.RowsStored) || events >= 1<<rowBits || rows > uint64(r.left/sizeOfRow) || events > uint64(r.left/sizeOfEvent) {
		return w, errBatch
	}
	p := &replay{window: w.Number}
	if err := r.frames(p, frames, rows, events, 0); err != nil {
		return w, err
	}
	if p.node != node {
		return w, errBatch
	}
	slices.SortFunc(p.taken, func(a, b batchEntry) int { return cmp.Compare(a.place, b.place) })
	for i := range p.taken {
		e := &p.taken[i]
		if !isDated(e.First) || !isDated(e.Last) || e.Last < e.First {
			return w, fmt.Errorf("%w: row %d of window %d has no time", errBatch, e.place, w.Number)
		}
		if e.Count == 0 || i > 0 && e.place == p.taken[i-1].place {
			return w, errBatch
		}
	}
	w.entries, w.Events = p.taken, p.events
	return w, nil
}

// isDated reports whether a number of milliseconds is that of a year with four digits: others cannot be written.
func isDated(ms int64) bool {
	const first, last = -62135596800000, 253402300799999
	return ms >= first && ms <= last
}

func (r *batchReader) bindings(c *cursor, b *Batch) error {
	n := c.uint()
	frames := c.bytes()
	if c.err != nil || n > uint64(r.left/sizeOfBinding) {
		return errBatch
	}
	p := &replay{}
	if err := r.frames(p, frames, 0, 0, n); err != nil {
		return err
	}
	b.Bindings = p.bindings
	return nil
}

func (r *batchReader) totals(c *cursor, b *Batch) error {
	n := c.uint()
	t := &cursor{b: c.bytes()}
	if c.err != nil || !r.take(n, sizeOfTotal) {
		return errBatch
	}
	p := replay{version: 3}
	for range n {
		var total Total
		hour := t.int()
		if !isDated(hour) || !isDated(hour*hourMilli) {
			return errBatch
		}
		total.Hour, total.Node = Time{time.UnixMilli(hour * hourMilli)}, b.Node
		for _, s := range [...]*string{&total.Device, &total.Vendor, &total.Product, &total.Purpose, &total.Tier, &total.Verdict} {
			*s = p.text(t)
		}
		for _, n := range [...]*uint64{&total.Lookups, &total.Attempts, &total.AsLookups, &total.Names} {
			if *n = t.uint(); *n > 1<<62 {
				return errBatch
			}
		}
		first, last := t.int(), t.int()
		if t.err != nil || t.unknown || len(p.texts) > remembered || first < 0 || first > last || last > 1<<40 || verdictWords.number(total.Verdict) < 0 {
			return errBatch
		}
		total.First, total.Last = Time{time.UnixMilli(hour*hourMilli + first)}, Time{time.UnixMilli(hour*hourMilli + last)}
		b.Totals = append(b.Totals, total)
	}
	if len(t.b) > 0 {
		return errBatch
	}
	return nil
}
