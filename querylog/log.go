package querylog

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	"telltale/clock"
	"telltale/devices"
)

// A Log is the writing side of the query log. Its methods may be called by any
// number of goroutines; those that take something never wait for a disk.
type Log struct {
	o       Options
	some    chan struct{}      // there is something to journal
	much    chan struct{}      // there is a lot
	opened  time.Time          // on the wall clock
	flushes chan chan struct{} // who waits until all so far is in the journal
	ends    chan chan struct{} // who waits until all so far is in a closed window
	storer  *storer
	readers keptStores

	importTurn chan struct{} // full while somebody imports

	stop    chan struct{}
	stopped chan struct{}
	err     error // of closing; set before stopped is closed

	mu         sync.Mutex
	fold       *fold
	limit      int          // bytes the fold may take
	batch      *lookupBatch // nil until it is needed
	hits       hitBuffer
	hitsFull   bool // until they are taken, lookups are counted in their rows alone
	attempts   int  // bytes that telling attempts apart takes
	incomplete bool // the journal lacks something: it must be written anew from the fold
	closed     bool
	events     []Event
	bindings   []devices.Binding
	unwritten  pending // what the lock's file says until the events that say so are written
	stats      Stats
	failures   map[string]string // by what fails
	forgotten  map[uint64]bool   // bindings with which nothing is recorded any more; nil for none
	kept       []devices.Binding // as found in the store
	nextID     uint64
	keptErr    error
}

// Stats are a Log's figures since it was opened.
type Stats struct {
	Appended   uint64    `json:"appended"`    // lookups taken
	Stored     uint64    `json:"stored"`      // lookups in committed rows, those of an earlier process included
	GivenUp    uint64    `json:"given_up"`    // lookups that could not be kept
	OptedOut   uint64    `json:"opted_out"`   // lookups of devices that opted out; nothing else is kept of them
	Folded     uint64    `json:"folded"`      // lookups counted without their name, for want of memory
	Rows       uint64    `json:"rows"`        // rows committed
	OpenRows   int       `json:"open_rows"`   // rows not yet committed
	Journal    int64     `json:"journal"`     // bytes in the journal
	Bytes      int64     `json:"bytes"`       // of the store in use
	LastCommit time.Time `json:"last_commit"` // zero for never
	LastError  string    `json:"last_error"`  // "" while all is well

	Migration *Migration `json:"migration,omitempty"` // of a store of version 1; nil where there is none
}

// Sizes of what waits for the journal.
const (
	hitsFull  = 64 << 10  // bytes at which the writer is called early
	hitsMax   = 512 << 10 // bytes at which the journal is given up until it can be written anew; more where the log has more memory
	hitsPart  = 12        // then it is this part of that
	eventsMax = 10_000
)

// Open opens the log in a data directory, stores what an earlier process left
// in the journal, and records the start, and the crash if there was one. The
// error is an *InUseError, with which no second server must start. Whatever
// else is wrong (a directory that cannot be written, a full disk, a store of a
// newer version) does not stop the service: the Log counts in memory and tries
// again every ten seconds, and Stats.LastError says what is the matter.
func Open(o Options) (*Log, error) { return openWith(o, clock.Synchronised) }

// openWith is Open with another way to ask whether the clock is synchronised.
func openWith(o Options, synced func() bool) (*Log, error) {
	o.Node = cmp.Or(o.Node, "local")
	o.MaxMemory = cmp.Or(o.MaxMemory, DefaultMaxMemory)
	o.Retention.Listed = cmp.Or(o.Retention.Listed, DefaultListed)
	o.Retention.Unlisted = cmp.Or(o.Retention.Unlisted, DefaultUnlisted)
	o.Retention.Totals = cmp.Or(o.Retention.Totals, DefaultTotals)
	o.Retention.MaxBytes = cmp.Or(o.Retention.MaxBytes, DefaultMaxBytes)
	o.window = cmp.Or(o.window, windowMin)
	o.AttemptGap = max(cmp.Or(o.AttemptGap, DefaultAttempt), time.Millisecond)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Log{
		o: o, limit: o.MaxMemory, opened: o.Now(), fold: newFold(o.Now()), keptErr: errors.New("the query log is not open yet"),
		failures: make(map[string]string),
		some:     make(chan struct{}, 1), much: make(chan struct{}, 1),
		importTurn: make(chan struct{}, 1),
		flushes:    make(chan chan struct{}), ends: make(chan chan struct{}), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	clock, q := newClockGuard(o.Now), newWindowQueue(cmp.Or(o.perRow, perRowFirst))
	clock.synced = synced
	s := newStorer(l, q, clock)
	l.storer = s
	j := &journaler{l: l, q: q, clock: clock, store: s, attempts: newAttemptCounter(o.AttemptGap.Milliseconds(), cmp.Or(o.attemptMemory, o.MaxMemory/4))}
	if err := j.open(); err != nil {
		return nil, err
	}
	s.open()
	detail := fmt.Sprintf("process %d", os.Getpid())
	if o.Off {
		detail += detailOff
	}
	l.addEvent(Event{Kind: KindStart, Subject: o.Program, Detail: detail})
	j.restoreAttempts()
	j.flush()
	go s.run()
	go j.run()
	return l, nil
}

// detailOff ends the detail of a start where no lookups are kept: Coverage reads it.
const detailOff = "; no lookups are kept"

// Append takes lookups. It copies what it keeps and does not allocate but to
// grow; where memory runs short it counts more coarsely.
func (l *Log) Append(recs []Record) {
	if l.o.Off || len(recs) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Appended += uint64(len(recs))
	if l.closed {
		l.stats.GivenUp += uint64(len(recs))
		return
	}
	before := len(l.hits.buf)
	for len(recs) > 0 {
		n := min(len(recs), countedMost)
		l.addAllLocked(recs[:n])
		recs = recs[n:]
	}
	l.wakeLocked(before)
}

// countedMost is how many lookups are counted together at most: what their rows are found by
// is made for all of them before the first row is looked for.
const countedMost = 32

// A lookupBatch is the room for that.
type lookupBatch struct {
	recs    [countedMost]*Record
	keys    [countedMost]lookupKey
	room    [countedMost][]byte // of keyRoom octets each
	touched uint32
}

// fewLookups are as many as gain nothing by that.
const fewLookups = 4

func (l *Log) addAllLocked(recs []Record) {
	if len(recs) < fewLookups {
		for i := range recs {
			l.addLocked(&recs[i])
		}
		return
	}
	if l.batch == nil {
		l.batch = new(lookupBatch)
		for i, room := range l.batch.room {
			l.batch.room[i] = append(room, make([]byte, keyRoom)...)
		}
	}
	b, n := l.batch, 0
	for i := range recs {
		r := &recs[i]
		if l.isOptedOutLocked(r) {
			continue
		}
		b.recs[n] = r
		l.fold.keyFor(&b.keys[n], b.room[n], r, l.finest(r), l.limit)
		n++
	}
	b.touched += l.fold.fetch(b.keys[:n])
	for i, r := range b.recs[:n] {
		ms := r.Time.UnixMilli()
		l.hitLocked(r, l.fold.count(&b.keys[i], r, ms, l.limit), ms)
	}
	clear(b.recs[:n])
}

func (l *Log) addLocked(r *Record) {
	if l.isOptedOutLocked(r) {
		return
	}
	ms := r.Time.UnixMilli()
	l.hitLocked(r, l.fold.add(r, ms, l.finest(r), l.limit), ms)
}

// isOptedOutLocked reports whether nothing is kept of a lookup, and counts it then.
func (l *Log) isOptedOutLocked(r *Record) bool {
	if b := r.Binding; b == nil || !b.NoLog && (l.forgotten == nil || !l.forgotten[b.ID]) {
		return false
	}
	l.stats.OptedOut++
	return true
}

// finest returns the finest granularity of a row that counts a lookup.
func (l *Log) finest(r *Record) granularity {
	if l.o.NoUnlisted && !r.Verdict.Listed() {
		return byRule
	}
	return byName
}

// hitLocked notes a lookup that is counted in a row for the journal.
func (l *Log) hitLocked(r *Record, at uint32, ms int64) {
	row := &l.fold.rows[at]
	elapsed := uint32(min(max(r.Elapsed.Microseconds(), 0), math.MaxUint32))
	more := elapsed > row.elapsed || r.TTL > row.ttl
	if more {
		row.elapsed, row.ttl = max(row.elapsed, elapsed), max(row.ttl, r.TTL)
	}
	if l.hitsFull {
		row.unmarked++
		return
	}
	l.hits.add(at, ms, more, elapsed, r.TTL)
	if len(l.hits.buf) > max(hitsMax, l.o.MaxMemory/hitsPart) {
		l.hitsFull, l.incomplete = true, true
	}
}

// wakeLocked calls the writer when the first lookup has come, and when many
// have.
func (l *Log) wakeLocked(before int) {
	n := len(l.hits.buf)
	if before < hitsFull && n >= hitsFull {
		wake(l.much)
	} else if before == 0 && n > 0 {
		wake(l.some)
	}
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // called already
	}
}

// Report records an event in the quality ledger: what kind, what it is about (a
// list, an upstream), and the rest in words.
func (l *Log) Report(kind, subject, detail string) {
	l.addEvent(Event{Kind: kind, Subject: subject, Detail: detail})
}

func (l *Log) addEvent(e Event) {
	e.Time, e.Node = Time{l.o.Now()}, l.o.Node
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.events) >= eventsMax {
		l.o.Logger.Warn("query log: an event is not in the ledger", "kind", e.Kind, "subject", e.Subject, "detail", e.Detail)
		return
	}
	l.events = append(l.events, e)
	wake(l.some)
}

// KeepBinding keeps a binding for as long as rows refer to it.
func (l *Log) KeepBinding(b devices.Binding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.bindings) >= eventsMax {
		return // the rows that need it bring it along
	}
	l.bindings = append(l.bindings, b)
	wake(l.some)
}

// Bindings returns the bindings found in the store when it was opened, and the
// first number that was never given to a binding. With an error there are none
// and the number is far above any that may have been given.
func (l *Log) Bindings() (kept []devices.Binding, nextID uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keptErr != nil {
		return nil, uint64(l.o.Now().UnixMilli()), l.keptErr
	}
	kept, l.kept = l.kept, nil
	return kept, l.nextID, nil
}

// Flush returns when all that was appended before is where a Reader sees it, as
// far as it can be written at all.
func (l *Log) Flush() {
	done := make(chan struct{})
	select {
	case l.flushes <- done:
		<-done
	case <-l.stopped:
	}
}

// Stats returns the figures so far.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.OpenRows += len(l.fold.rows)
	s.Folded += l.fold.coarse
	return s
}

// Close stores what is left, records the clean stop and gives the directory
// back. Lookups appended later are given up.
func (l *Log) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		close(l.stop)
	}
	<-l.stopped
	return l.err
}
