package querylog

import (
	"net/netip"
	"slices"
	"time"

	"telltale/devices"
)

const bindBudget = 50 * time.Millisecond // for asking who has new addresses, at each flush, and as long again for binding the rest unasked

// A batch is what came since the last flush.
type batch struct {
	fold       fold // its header alone: what describe reads
	lookups    uint64
	hits       hitBuffer
	incomplete bool
	old        *fold // the fold itself, where the window is over

	asLookups map[uint32]uint32 // by row: attempts of hits that are lookups
}

// flush journals what came since the last one.
func (j *journaler) flush() {
	b := j.takeResolved()
	j.countAttempts(&b, j.l.fold) // none but this goroutine puts another in its place
	if len(b.fold.rows)+len(j.content.events)+len(j.content.bindings) > 0 && j.since.IsZero() {
		j.since = time.Now()
	}
	if !b.incomplete { // else rewriteJournal writes it
		j.writeOrInvalidate(&b)
	} else {
		j.exposed.add(j.wall)
	}
	if cap(b.hits.buf) <= 2*hitsFull {
		j.spare = b.hits.buf
	}
}

func (j *journaler) writeOrInvalidate(b *batch) {
	if j.lock == nil || !j.listed {
		j.invalidate()
		return
	}
	if err := j.writeBatch(b); err != nil {
		j.invalidate()
		j.l.failed("journal", err)
		return
	}
	if j.seg != nil && j.seg.size > journalMax {
		j.invalidate() // written anew it is shorter
	}
}

// takeResolved takes what came since the last flush; the window goes on.
func (j *journaler) takeResolved() batch {
	j.lockResolved()
	defer j.l.mu.Unlock()
	return j.takeLocked(nil)
}

// lockResolved takes the log's lock at a moment when the binding of every client
// has been asked for: a row that is written cannot move to another client. The
// clients that come while others are asked for follow, until the time for that is used
// up; then they have no binding.
func (j *journaler) lockResolved() {
	l, t := j.l, bindTime{begun: time.Now()}
	l.mu.Lock()
	for len(l.fold.unresolved) > 0 {
		f := l.fold // only this goroutine puts another in its place
		slots, clients := f.unresolved, f.clients
		f.unresolved = nil
		var found []*devices.Binding
		if t.binder(&l.o) != nil {
			l.mu.Unlock()
			found = j.ask(slots, clients, &t)
			l.mu.Lock()
		}
		j.answer(f, slots, found)
	}
}

// takeLocked takes what came since the last flush. With a next fold the window is
// over. The log's lock is held.
func (j *journaler) takeLocked(next *fold) (b batch) {
	l := j.l
	j.lastFlush = time.Now()
	f := l.fold
	b.fold, b.lookups = f.header(), f.lookups
	b.hits, b.incomplete = l.hits, l.incomplete
	j.full, j.rows, j.held = f.memory() > l.limit/2, len(f.rows), f.held()
	j.content.events = append(j.content.events, l.events...)
	j.content.bindings = append(j.content.bindings, l.bindings...)
	j.content.pending.add(l.unwritten)
	l.events, l.bindings, l.unwritten = nil, nil, pending{}
	if next != nil {
		b.old, l.incomplete = f, false
		l.stats.Folded += f.coarse
		f = next
		l.fold = f
	}
	l.takeHitsLocked(j.spare, f.start)
	j.spare = nil
	return b
}

// takeHitsLocked makes the hits to come go to another buffer.
func (l *Log) takeHitsLocked(spare []byte, start int64) {
	l.hits, l.hitsFull = hitBuffer{buf: spare[:0], last: start}, false
}

// countAttempts finds which lookups of a batch begin an attempt, and counts them in
// its fold.
func (j *journaler) countAttempts(b *batch, f *fold) {
	before := j.attempts.memory()
	b.asLookups = j.attempts.countAttempts(f, &b.fold, &b.hits)
	for _, n := range b.asLookups {
		j.asLookups += uint64(n)
	}
	if memory := j.attempts.memory(); memory != before {
		j.l.mu.Lock()
		j.l.attempts = memory
		j.l.mu.Unlock()
		j.l.setLimit(j.q.look().memory)
	}
}

// nextFold returns an empty fold with memory for as much as the open one holds.
func (j *journaler) nextFold() *fold {
	j.l.mu.Lock()
	rows, keys := len(j.l.fold.rows), len(j.l.fold.keys)
	j.l.mu.Unlock()
	return newFoldFor(j.l.o.Now(), rows, keys)
}

// resolveClosed gives the clients that came just before the window's end their
// bindings.
func (j *journaler) resolveClosed(b *batch) {
	f := b.old
	j.answer(f, f.unresolved, j.ask(f.unresolved, f.clients, &bindTime{begun: time.Now()}))
	b.fold = f.header()
}

// A bindTime is how much time is left to bind clients.
type bindTime struct {
	begun   time.Time
	without time.Time // since when the kernel is not asked any more; zero: it is
}

// binder returns by what the next client is bound; nil: there is no time left.
func (t *bindTime) binder(o *Options) func(netip.Addr, string) *devices.Binding {
	switch {
	case t.without.IsZero() && time.Since(t.begun) < bindBudget:
		return o.Bind
	case o.BindNow == nil:
		return nil
	case t.without.IsZero():
		t.without = time.Now() // the last one may have waited for longer than there was time
	}
	if time.Since(t.without) < bindBudget {
		return o.BindNow
	}
	return nil
}

// ask returns the binding of each client, nil where there is none.
func (j *journaler) ask(slots []uint32, clients []client, t *bindTime) []*devices.Binding {
	if len(slots) == 0 {
		return nil
	}
	found := make([]*devices.Binding, len(slots))
	for i, slot := range slots {
		bind := t.binder(&j.l.o)
		if bind == nil {
			break // the rest have no binding: someone makes addresses up
		}
		found[i] = bind(clients[slot].addr, clients[slot].id)
	}
	return found
}

// answer gives clients what ask found.
func (j *journaler) answer(f *fold, slots []uint32, found []*devices.Binding) {
	from := 0
	if j.seg != nil {
		from = j.seg.rows
	}
	f.resolve(slots, found, from)
}

// writeBatch appends a batch to the segment of the open window, which it makes
// if there is none.
func (j *journaler) writeBatch(b *batch) error {
	if len(b.fold.rows)+len(j.content.events)+len(j.content.bindings) == 0 {
		return nil
	}
	fresh := j.seg == nil
	if fresh {
		if err := j.beginSegment(b.fold.start); err != nil {
			return err
		}
	}
	j.writeContent()
	for ; j.seg.rows < len(b.fold.rows); j.seg.rows++ {
		j.seg.enc.row(&b.fold, j.seg.rows, false)
	}
	b.fold.texts.forget()
	j.seg.enc.hits(&b.hits, b.fold.start)
	j.seg.enc.asLookups(b.asLookups)
	err := j.seg.write(j.seg.enc.take())
	if err == nil && fresh {
		err = j.seg.rename()
	}
	if err == nil {
		j.inFile = b.lookups
		j.eventsWritten()
	}
	j.countJournal()
	return err
}

// eventsWritten says that the journal has the lines of the ledger about what the
// lock's file says too.
func (j *journaler) eventsWritten() {
	written := j.content.pending
	if written == (pending{}) {
		return
	}
	j.content.pending = pending{}
	j.lock.update(j.l.o.Now(), func(s *lockState) { s.written(written) })
}

// beginSegment makes the journal of the open window, under its later name only
// when its first frames are in it.
func (j *journaler) beginSegment(start int64) error {
	if j.number == 0 {
		j.number = j.q.number(j.l.o.Now())
		j.lock.update(j.l.o.Now(), func(s *lockState) { s.given = j.number })
	}
	seg, err := createSegment(j.l.o.Dir, j.number)
	if err != nil {
		return err
	}
	j.seg = seg
	j.content.written.events, j.content.written.bindings = 0, 0
	seg.enc.window(start, j.l.o.Node)
	return nil
}

// writeContent encodes the events and bindings that are not in the segment.
func (j *journaler) writeContent() {
	c := &j.content
	for ; c.written.events < len(c.events); c.written.events++ {
		j.seg.enc.event(&c.events[c.written.events])
	}
	for ; c.written.bindings < len(c.bindings); c.written.bindings++ {
		j.seg.enc.keptBinding(&c.bindings[c.written.bindings])
	}
}

func (j *journaler) countJournal() {
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	j.l.stats.Journal = j.seg.size
}

// invalidate gives the segment up: what is in the file stays, what comes is
// counted in the fold alone, until rewriteJournal writes the whole window anew.
func (j *journaler) invalidate() {
	if j.seg != nil {
		j.seg.discard()
		j.seg = nil
	}
	j.lastRewrite = time.Now()
	j.exposed.add(j.wall)
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	j.l.incomplete = true
}

func (j *journaler) incomplete() bool {
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	return j.l.incomplete
}

// rewriteJournal writes the open window anew, as rows with what they have
// counted, where the journal lacks something of it.
func (j *journaler) rewriteJournal() {
	if j.lock == nil || !j.listed || !j.incomplete() || time.Since(j.lastRewrite) < rewriteEvery {
		return
	}
	if err := j.rewrite(); err != nil {
		j.invalidate()
		j.l.failed("journal", err)
		return
	}
	j.exposed = wallSpan{}
	j.l.recovered("journal")
}

func (j *journaler) rewrite() error {
	if j.seg != nil { // Append gave the journal up
		j.seg.close()
		j.seg = nil
	}
	j.lockResolved()
	l := j.l
	b := batch{fold: l.fold.header(), hits: l.hits}
	f := &b.fold
	f.rows = slices.Clone(f.rows)
	lookups := l.fold.lookups
	l.incomplete = false
	l.takeHitsLocked(nil, f.start)
	l.mu.Unlock()
	j.countAttempts(&b, l.fold)
	if len(f.rows)+len(j.content.events)+len(j.content.bindings) == 0 {
		return nil
	}
	if err := j.beginSegment(f.start); err != nil {
		return err
	}
	j.writeContent()
	for ; j.seg.rows < len(f.rows); j.seg.rows++ {
		j.seg.enc.row(f, j.seg.rows, true)
		if len(j.seg.enc.out) > frameFull {
			if err := j.seg.write(j.seg.enc.take()); err != nil {
				return err
			}
		}
	}
	f.texts.forget()
	if err := j.seg.write(j.seg.enc.take()); err != nil {
		return err
	}
	j.countJournal()
	if err := j.seg.rename(); err != nil {
		return err
	}
	j.inFile = lookups
	j.eventsWritten()
	return nil
}
