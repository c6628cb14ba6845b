package querylog

import (
	"runtime/debug"
	"slices"
	"time"

	"telltale/devices"
)

// A batch is what came since the last flush.
type batch struct {
	fold fold // its header alone: what describe reads
	hits hitBuffer
	torn bool
	old  *fold // the fold itself, where the window is over
}

// flush journals what came since the last one.
func (w *writer) flush() {
	b := w.takeResolved()
	if len(b.fold.rows)+len(w.window.events)+len(w.window.bindings) > 0 && w.since.IsZero() {
		w.since = time.Now()
	}
	if !b.torn { // else mendJournal writes it
		w.journal(&b)
	}
	if cap(b.hits.buf) <= 2*hitsFull {
		w.spare = b.hits.buf
	}
}

func (w *writer) journal(b *batch) {
	if w.lock == nil {
		w.tear()
		return
	}
	if err := w.writeBatch(b); err != nil {
		w.tear()
		w.failed("journal", err)
		return
	}
	if w.seg != nil && w.seg.size > journalMax {
		w.tear() // written anew it is shorter
	}
}

// take takes what came since the last flush. With a next fold the window is
// over.
func (w *writer) take(next *fold) (b batch) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	return w.takeLocked(next)
}

// takeResolved is take where the window goes on.
func (w *writer) takeResolved() batch {
	w.lockResolved()
	defer w.l.mu.Unlock()
	return w.takeLocked(nil)
}

// lockResolved takes the log's lock at a moment when the binding of every client
// has been asked for: a row that is written cannot move to another client. The
// clients that come while others are asked for follow, until bindBudget is used
// up; then they keep the bare address.
func (w *writer) lockResolved() {
	l, begun := w.l, time.Now()
	l.mu.Lock()
	for len(l.fold.unresolved) > 0 {
		f := l.fold // only the writer puts another in its place
		slots, clients := f.unresolved, f.clients
		f.unresolved = nil
		found := make([]*devices.Binding, len(slots))
		if time.Since(begun) < bindBudget {
			l.mu.Unlock()
			copy(found, w.ask(slots, clients))
			l.mu.Lock()
		}
		w.answer(f, slots, found)
	}
}

func (w *writer) takeLocked(next *fold) (b batch) {
	l := w.l
	w.lastFlush = time.Now()
	f := l.fold
	b.fold = f.header()
	b.hits, b.torn = l.hits, l.torn
	w.full, w.rows = f.memory() > l.limit/2 || len(f.policies) > 2, len(f.rows)
	w.window.events = append(w.window.events, l.events...)
	w.window.bindings = append(w.window.bindings, l.bindings...)
	l.events, l.bindings = nil, nil
	if next != nil {
		b.old, l.torn = f, false
		l.stats.Folded += f.coarse
		f = next
		l.fold, l.limit = f, max(l.o.MaxMemory-b.old.memory(), l.o.MaxMemory/4)
	}
	l.hits = hitBuffer{buf: w.spare[:0], last: f.start}
	w.spare = nil
	return b
}

// nextFold returns an empty fold with memory for as much as the open one holds.
func (w *writer) nextFold() *fold {
	w.l.mu.Lock()
	rows, keys := len(w.l.fold.rows), len(w.l.fold.keys)
	w.l.mu.Unlock()
	return newFoldFor(w.l.o.Now(), rows, keys)
}

// giveBack lets go of memory for which there is no use while nobody asks.
func (w *writer) giveBack() {
	if !w.since.IsZero() {
		return
	}
	w.spare = nil
	if w.dropRoom() {
		debug.FreeOSMemory() // the runtime would keep it for minutes, as nothing is allocated now
	}
}

// dropRoom puts a small fold in the place of one that has memory for many rows
// and has had none since the last window.
func (w *writer) dropRoom() bool {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	if !w.l.fold.roomy() || time.Since(w.lastClose) < windowMin {
		return false
	}
	w.l.fold = newFold(w.l.o.Now())
	w.l.hits = hitBuffer{last: w.l.fold.start}
	return true
}

// resolveClosed gives the clients that came just before the window's end their
// bindings.
func (w *writer) resolveClosed(b *batch) {
	f := b.old
	w.answer(f, f.unresolved, w.ask(f.unresolved, f.clients))
	b.fold = f.header()
}

// ask returns the binding of each client, nil where there is none.
func (w *writer) ask(slots []uint32, clients []client) []*devices.Binding {
	bind := w.l.o.Bind
	if bind == nil || len(slots) == 0 {
		return nil
	}
	found := make([]*devices.Binding, len(slots))
	begun := time.Now()
	for i, slot := range slots {
		if i > 0 && time.Since(begun) > bindBudget {
			break // the rest keep the bare address: someone makes addresses up
		}
		found[i] = bind(clients[slot].addr)
	}
	return found
}

// answer gives clients what ask found.
func (w *writer) answer(f *fold, slots []uint32, found []*devices.Binding) {
	from := 0
	if w.seg != nil {
		from = w.seg.rows
	}
	f.resolve(slots, found, from)
}

// writeBatch appends a batch to the segment of the open window, which it makes
// if there is none.
func (w *writer) writeBatch(b *batch) error {
	if len(b.fold.rows)+len(w.window.events)+len(w.window.bindings) == 0 {
		return nil
	}
	fresh := w.seg == nil
	if fresh {
		if err := w.beginSegment(b.fold.start); err != nil {
			return err
		}
	}
	w.writeContent()
	for ; w.seg.rows < len(b.fold.rows); w.seg.rows++ {
		w.seg.enc.row(&b.fold, w.seg.rows, false)
	}
	b.fold.texts.forget()
	w.seg.enc.hits(&b.hits, b.fold.start)
	err := w.seg.write(w.seg.enc.take())
	if err == nil && fresh {
		err = w.seg.rename()
	}
	w.countJournal()
	return err
}

// beginSegment makes the journal of the open window, under its later name only
// when its first frames are in it.
func (w *writer) beginSegment(start int64) error {
	if w.number == 0 {
		w.number = w.newNumber()
	}
	seg, err := createSegment(w.l.o.Dir, w.number)
	if err != nil {
		return err
	}
	w.seg = seg
	w.window.written.events, w.window.written.bindings = 0, 0
	seg.enc.window(start, w.l.o.Node)
	return nil
}

// writeContent encodes the events and bindings that are not in the segment.
func (w *writer) writeContent() {
	c := &w.window
	for ; c.written.events < len(c.events); c.written.events++ {
		w.seg.enc.event(&c.events[c.written.events])
	}
	for ; c.written.bindings < len(c.bindings); c.written.bindings++ {
		w.seg.enc.keptBinding(&c.bindings[c.written.bindings])
	}
}

func (w *writer) countJournal() {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.stats.Journal = w.seg.size
}

// tear gives the segment up: what is in the file stays, what comes is counted
// in the fold alone, until mendJournal writes the whole window anew.
func (w *writer) tear() {
	if w.seg != nil {
		w.seg.close()
		w.seg = nil
	}
	w.lastTorn = time.Now()
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.torn = true
	w.l.hits.reset(w.l.fold.start)
}

// mendJournal writes the open window anew, as rows with what they have counted,
// where the journal lacks something of it.
func (w *writer) mendJournal() {
	if w.lock == nil || !w.torn() || time.Since(w.lastTorn) < tornRetry {
		return
	}
	if err := w.rewrite(); err != nil {
		w.tear()
		w.failed("journal", err)
		return
	}
	w.mended("journal")
}

func (w *writer) torn() bool {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	return w.l.torn
}

func (w *writer) rewrite() error {
	w.lockResolved()
	l := w.l
	f := l.fold.header()
	f.rows = slices.Clone(f.rows)
	l.torn = false
	l.hits.reset(f.start)
	l.mu.Unlock()
	if len(f.rows)+len(w.window.events)+len(w.window.bindings) == 0 {
		return nil
	}
	if err := w.beginSegment(f.start); err != nil {
		return err
	}
	w.writeContent()
	for ; w.seg.rows < len(f.rows); w.seg.rows++ {
		w.seg.enc.row(&f, w.seg.rows, true)
		if len(w.seg.enc.out) > frameFull {
			if err := w.seg.write(w.seg.enc.take()); err != nil {
				return err
			}
		}
	}
	f.texts.forget()
	if err := w.seg.write(w.seg.enc.take()); err != nil {
		return err
	}
	w.countJournal()
	return w.seg.rename()
}
