package querylog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"telltale/devices"
	"telltale/sorting"
)

// Times of the store's goroutine.
const (
	rowsMeasured    = 1000                   // rows from which on a commit is a measure of what a row takes
	busyTimeout     = 5 * time.Second        // for another process that holds the store's lock
	stopTimeout     = 250 * time.Millisecond // the same when the server stops: what is in the journal is stored by the next one
	stopMemory      = 5 * time.Second        // the same for a window that is in memory alone
	checkpointEvery = time.Minute
	journalKept     = 10 * time.Minute // at most, where no checkpoint succeeds
	identityEvery   = time.Second
	movedPause      = time.Second // until a new store is begun in the place of one that was removed
)

// A storer commits windows, in the order of the queue, deletes what is too old
// and keeps the store's file in shape. It is one goroutine's, the only one that
// touches SQLite, and may wait for other processes: nobody waits for it.
type storer struct {
	l     *Log
	q     *windowQueue
	clock *clockGuard
	lock  atomic.Pointer[dirLock] // the journal's goroutine brings it

	store   *store
	file    fs.FileInfo // of the store as it was opened
	counted bool        // its rows have attempts

	stop    context.CancelFunc // ends what the store's connection is doing
	ctx     context.Context
	ending  chan struct{} // no window comes any more
	stopped chan struct{}
	err     error // of ending; set before stopped is closed

	done           []doneFile // journals of stored windows
	failing        bool       // the store did not take what it was last given
	lastTry        time.Time
	lastIdentity   time.Time
	lastCheckpoint time.Time
	uncheckpointed bool
	migrateAt      time.Time // when the next step of a migration is due
	sumAt          time.Time // and the next step of summing rows
	sumRows        int       // in a step
	shipping       Shipping
	retention      retentionRun
	discovery      discovery
	forgetting     atomic.Pointer[forgetRun] // a device; nil for none
	importing      atomic.Pointer[importRun] // what another server logged; nil for nothing
	importCounter  *importCounter            // of the batch before; nil for none
	imports        uint64                    // batches that were stored
	signer         signer
}

// A doneFile is the journal of a window that was stored at a time. It is kept
// until the rows are in the store's main file: until then a power cut or a
// damaged write-ahead log would lose them.
type doneFile struct {
	window int64
	at     time.Time
}

func newStorer(l *Log, q *windowQueue, clock *clockGuard) *storer {
	s := &storer{l: l, q: q, shipping: l.o.Shipping, clock: clock, ending: make(chan struct{}), stopped: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// open takes the store as far as it can be had, stores what earlier processes
// left in the journal, and learns which bindings there are.
func (s *storer) open() {
	s.tryStore()
	s.learnBindings()
	s.storeWindows()
}

// run is the store goroutine's life.
func (s *storer) run() {
	defer close(s.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.q.more:
		case <-timer.C:
		case <-s.ending:
			s.err = s.finish()
			return
		}
		more := s.step()
		wait := s.wait()
		if more {
			wait = 0
		}
		timer.Reset(wait)
	}
}

// wait returns how long the goroutine may sleep if nobody calls it.
func (s *storer) wait() time.Duration {
	if s.store == nil || s.failing {
		return max(retryEvery-time.Since(s.lastTry), time.Millisecond)
	}
	if s.forgetting.Load() != nil {
		return forgetRetry
	}
	if s.store.old != nil {
		return min(max(time.Until(s.migrateAt), time.Millisecond), heartbeatEvery)
	}
	return min(max(time.Until(s.sumAt), time.Millisecond), heartbeatEvery)
}

// step does what is due, and reports whether more is due at once.
func (s *storer) step() (more bool) {
	if s.store == nil || s.failing {
		if time.Since(s.lastTry) < retryEvery {
			return false
		}
		if s.tryStore() != nil {
			return false
		}
	}
	s.checkIdentity()
	if s.storeWindows() != nil || s.store == nil {
		return false
	}
	if s.forget() || s.store != nil && s.runImport() {
		s.limitWAL()
		return true
	}
	if s.store == nil {
		return false
	}
	more = s.retain()
	s.limitWAL()
	if more {
		return true
	}
	s.migrate()
	if s.store == nil {
		return false
	}
	s.limitWAL()
	if s.addSums(); s.store == nil {
		return false
	}
	s.limitWAL()
	s.checkpoint()
	s.sweep()
	return false
}

// migrate copies some more of a store of version 1, where that is due. A step is
// sized to be short; one that takes long got little processor, as others want it
// too, and what answers queries waits for it at times (the collector stops the
// world only when every thread runs): then the rest is long as well.
func (s *storer) migrate() {
	if time.Now().Before(s.migrateAt) {
		return
	}
	begun := time.Now()
	_, err := s.store.migrateStep()
	s.migrateAt = time.Now().Add(max(migrateEvery, migrateRest*time.Since(begun)))
	s.takeReported()
	if isCorrupt(err) {
		err = s.replaceStore(err)
	}
	if err != nil {
		s.l.failed("migration", err)
	} else {
		s.l.recovered("migration")
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.l.stats.Migration = nil
	if s.store != nil {
		s.l.stats.Migration = s.store.migration()
	}
}

// takeReported puts what the store reported of itself into the ledger.
func (s *storer) takeReported() {
	for _, e := range s.store.takeReported() {
		s.l.o.Logger.Info("query log: "+e.Detail, "file", e.Subject)
		s.l.addEvent(e)
	}
}

// tryStore opens the store where it is not open.
func (s *storer) tryStore() error {
	s.lastTry = time.Now()
	if s.store != nil {
		return nil
	}
	if s.lock.Load() == nil {
		return errNoStore // the directory is not ours yet: journaler says why
	}
	if err := s.openStore(); err != nil {
		return s.failed(err)
	}
	s.succeeded()
	return nil
}

var (
	errNoStore = errors.New("the store is not open")
	errJournal = errors.New("the journal of a window cannot be read")
)

func (s *storer) failed(err error) error {
	s.lastTry, s.failing = time.Now(), true
	s.q.setReady(false)
	if s.ctx.Err() != nil {
		return err // the server stops: finish says what is lost by that
	}
	return s.l.failed("store", err)
}

func (s *storer) succeeded() {
	s.failing = false
	s.q.setReady(true)
	s.l.recovered("store")
}

// storeWindows commits the windows that wait, in order. It ends at the first one
// that the store does not take.
func (s *storer) storeWindows() error {
	for {
		s.reportGap()
		w := s.q.first()
		if w == nil {
			return nil
		}
		if s.store == nil {
			s.q.failed()
			s.releasePolicies(w)
			return errNoStore
		}
		if err := s.storeWindow(w); err != nil {
			s.q.failed()
			s.releasePolicies(w)
			return s.failed(err)
		}
		s.q.done()
		s.limitWAL()
		s.l.setLimit(s.q.look().memory)
		if s.failing {
			s.succeeded()
		}
	}
}

// releasePolicies lets go of the policies that a window in memory refers to: it
// may have to wait for long.
func (s *storer) releasePolicies(w *window) {
	if w.fold != nil {
		w.fold.release(w.fold.textsOf(w.fold.closePolicies(true)))
	}
}

// storeWindow commits one window, which is then stored, or was lost and is
// counted.
func (s *storer) storeWindow(w *window) error {
	if w.found && w.number <= s.store.opened {
		stored, err := s.store.has(w.number)
		if isCorrupt(err) {
			err = s.replaceStore(err)
		}
		if err != nil {
			return err
		}
		if stored {
			s.done = append(s.done, doneFile{w.number, time.Now()})
			return nil
		}
	}
	if w.data != nil {
		if err := s.commit(w, w.data); err != nil {
			return err
		}
		s.done = append(s.done, doneFile{w.number, time.Now()})
		return nil
	}
	return s.storeJournal(w)
}

// storeJournal commits a window that is in its journal alone.
func (s *storer) storeJournal(w *window) error {
	p, err := readSegment(s.l.o.Dir, w.number)
	if errors.Is(err, fs.ErrNotExist) {
		s.l.giveUp(w.lookups)
		s.l.addLost(loss{w.lookups, w.span.first, w.span.last}, "the journal of a window was removed: %d lookups")
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errJournal, err)
	}
	if len(p.rows)+len(p.events)+len(p.bindings) > 0 {
		data := windowData{node: cmp.Or(p.node, s.l.o.Node), entries: p.entries, events: p.events, bindings: p.bindings}
		if err := s.commit(w, &data); err != nil {
			return err
		}
	}
	if p.bad == 0 && p.lost == 0 {
		s.done = append(s.done, doneFile{w.number, time.Now()})
		return nil
	}
	return s.setJournalAside(w, p)
}

// setJournalAside keeps a damaged journal, of which was stored what could be
// read.
func (s *storer) setJournalAside(w *window, p *replay) error {
	lost := p.lost
	if w.lookups > p.lookups+lost {
		lost = w.lookups - p.lookups
	}
	to, err := setAside(segmentPath(s.l.o.Dir, w.number), s.l.o.Now())
	s.l.o.Logger.Error("query log: a journal is damaged; what could be read is stored and the file set aside",
		"file", to, "lookups lost", lost, "unreadable bytes", p.bad)
	since, until := p.start, max(p.last, p.start)
	if !w.found {
		since, until = w.span.first, w.span.last
	}
	s.l.addEvent(Event{Kind: KindLost, Subject: filepath.Base(to), Since: Time{fromMilli(since)}, Until: Time{fromMilli(until)},
		Detail: fmt.Sprintf("the journal of a window is damaged: %d lookups read, %d or more lost, %d bytes unreadable", p.lookups, lost, p.bad)})
	s.l.giveUp(lost)
	if err != nil {
		s.l.failed("journal", err)
	}
	return nil
}

// commit stores a window. Where the store turns out to be damaged, or not to be
// there any more, the window is the first of a new one.
func (s *storer) commit(w *window, data *windowData) error {
	err := s.commitOnce(w, data)
	if isCorrupt(err) {
		if err = s.replaceStore(err); err == nil {
			err = s.commitOnce(w, data)
		}
	}
	if err == nil && !s.sameFile() { // it went into a file that is not there any more
		s.lastIdentity = time.Time{}
		if err = s.checkIdentity(); err == nil {
			err = s.commitOnce(w, data)
		}
	}
	if err != nil {
		return fmt.Errorf("storing a window of the log: %w", err)
	}
	return nil
}

func (s *storer) commitOnce(w *window, data *windowData) error {
	if s.store == nil {
		return errNoStore
	}
	runtime.LockOSThread() // threadTime is the commit's alone
	defer runtime.UnlockOSThread()
	begun := threadTime()
	data.number, data.alias = w.number, 0
	if data.number <= s.store.position {
		data.number, data.alias = s.q.number(s.l.o.Now()), w.number
	}
	data.clock = s.clock.mark()
	rows, lookups, err := s.store.commit(data)
	if err != nil {
		return err
	}
	if rows >= rowsMeasured {
		s.q.setPerRow((threadTime() - begun) / time.Duration(rows))
	}
	s.uncheckpointed = true
	s.countCommit(w, data, rows, lookups)
	return nil
}

func (s *storer) countCommit(w *window, data *windowData, rows, lookups uint64) {
	size, _ := s.store.size()
	total, err := s.store.lookups()
	now := s.l.o.Now()
	s.lock.Load().update(now, func(l *lockState) {
		l.stored, l.until = data.number, max(data.span.last, l.until)
		if l.unmoved == 0 || data.span.first < l.unmoved {
			l.unmoved = data.span.first
		}
		if err == nil {
			l.lookups = total
		}
		l.written(w.pending)
		if l.passed.has(w.number) {
			l.passed.behind = w.number
		}
		if !w.whole {
			l.memory.sub(w.missing)
		}
	})
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Rows += rows
	l.stats.Stored += lookups
	l.stats.LastCommit = now
	l.stats.Bytes = size
}

// learnBindings sees to it that no number of a binding that is in a journal is
// given again, and that what ended there has ended.
func (s *storer) learnBindings() {
	if s.store == nil {
		return
	}
	for _, n := range s.q.found() {
		if p, err := readSegment(s.l.o.Dir, n); err == nil {
			s.l.learnBindings(p)
		}
	}
}

func (l *Log) learnBindings(p *replay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add := func(b devices.Binding) {
		switch i := slices.IndexFunc(l.kept, func(k devices.Binding) bool { return k.ID == b.ID }); {
		case b.ID >= l.nextID:
			l.nextID = b.ID + 1
			l.kept = append(l.kept, b)
		case i < 0:
			l.kept = append(l.kept, b)
		case !b.Until.IsZero():
			l.kept[i].Until, l.kept[i].Seen = b.Until, b.Seen
		}
	}
	for _, c := range p.clients {
		if c.binding != nil {
			add(*c.binding)
		}
	}
	for _, b := range p.bindings {
		add(b)
	}
	sorting.By(l.kept, func(a, b devices.Binding) int { return cmp.Compare(a.ID, b.ID) })
}

// checkpoint moves what the write-ahead log has to the store's main file, which
// also syncs it, while nothing waits. Where other processes' reading leaves some
// of it, the next one does. It also signs what the last move left unsigned, where
// nothing was stored since.
func (s *storer) checkpoint() {
	quiet := !s.uncheckpointed && !s.lastCheckpoint.IsZero() && s.signingDue()
	if !s.uncheckpointed && !quiet || time.Since(s.lastCheckpoint) < checkpointEvery {
		return
	}
	s.lastCheckpoint = time.Now()
	s.checkpointNow()
}

// checkpointNow reports whether all was moved.
func (s *storer) checkpointNow() (all bool) {
	if all = s.emptyWAL(); all {
		s.allMoved()
	}
	return all
}

// limitWAL moves what the write-ahead log has where that is much.
func (s *storer) limitWAL() {
	if s.store != nil && s.store.frames >= walLarge && s.moveWAL() {
		s.allMoved()
	}
}

// allMoved says that the journals of stored windows are not needed any more.
func (s *storer) allMoved() {
	s.uncheckpointed = false
	for i := range s.done {
		s.done[i].at = time.Time{}
	}
	if time.Since(s.signer.at) >= signEvery {
		s.sign()
		s.openKeyAgain() // what it states is signed the next time
	}
}

// sweep deletes the journals of stored windows that are not needed any more.
func (s *storer) sweep() {
	s.done = slices.DeleteFunc(s.done, func(d doneFile) bool {
		if time.Since(d.at) < journalKept {
			return false
		}
		err := os.Remove(segmentPath(s.l.o.Dir, d.window))
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
}

// end makes the goroutine store what is left and end, and returns what could not
// be kept.
func (s *storer) end() error {
	close(s.ending)
	interrupt := time.AfterFunc(stopTimeout, s.stop)
	<-s.stopped
	interrupt.Stop()
	s.stop()
	return s.err
}

// finish stores what is left. What is in the journal may stay there for the next
// start, so that a stop does not wait for who holds the store; only what is in
// memory alone is worth a wait, and lost where nothing takes it.
func (s *storer) finish() error {
	s.interruptible()
	if s.store == nil {
		s.lastTry = time.Time{}
		s.tryStore()
	}
	var lost error
	taking := s.store != nil
	for w := s.q.first(); w != nil; w = s.q.first() {
		if taking {
			err := s.storeLast(w)
			taking = err == nil || errors.Is(err, errJournal) // one that cannot be read waits for a later start
			if err != nil && !w.whole {
				lost = errors.Join(lost, err)
			}
		}
		if !taking && !w.whole {
			s.lose(w)
		}
		s.q.done()
	}
	return errors.Join(lost, s.closeStore())
}

// interruptible makes the store's connection usable again after end interrupted
// what it was doing.
func (s *storer) interruptible() {
	s.ctx = context.Background()
	if s.store != nil {
		s.store.conn.SetInterrupt(s.ctx)
	}
}

func (s *storer) storeLast(w *window) error {
	timeout := stopTimeout
	if s.q.look().unjournaled > 0 {
		timeout = stopMemory
	}
	s.store.busyTimeout = timeout
	s.lastIdentity = time.Time{}
	if err := s.checkIdentity(); err != nil {
		return err
	}
	return s.storeWindow(w)
}

// lose counts the lookups of a window that nothing took. The lock's file, which
// is written in place, tells the next start.
func (s *storer) lose(w *window) {
	if w.missing == 0 {
		return
	}
	s.l.o.Logger.Error("query log: lookups are lost: neither the store nor the journal took them", "lookups", w.missing)
	s.l.giveUp(w.missing)
	s.lock.Load().update(s.l.o.Now(), func(l *lockState) { l.lost.add(loss{w.missing, w.span.first, w.span.last}) })
}

// closeStore closes the store without waiting for who reads it.
func (s *storer) closeStore() error {
	s.l.readers.close()
	if s.store == nil {
		return nil
	}
	s.store.conn.SetInterrupt(context.Background())
	s.store.busyTimeout = 0
	if s.checkpointNow() {
		s.sign()
		s.sweep()
	}
	err := s.store.close()
	s.store = nil
	return err
}
