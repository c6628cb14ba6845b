package querylog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"telltale/devices"
)

// Times of the journal's goroutine.
const (
	windowMin      = 10 * time.Second
	windowMax      = 60 * time.Second
	windowFull     = time.Second // where memory or policies that are held ask for an early end
	storeShare     = 40          // a window lasts so many times as long as storing it will take
	flushEvery     = 100 * time.Millisecond
	rewriteEvery   = time.Second // after a journal could not be written
	retryEvery     = 10 * time.Second
	heartbeatEvery = 10 * time.Second
	exposedEvery   = time.Second // heartbeats while lookups are in memory alone
)

// A journaler takes what Append counted to the journal, and closes windows. It
// is one goroutine's, which never touches SQLite and never waits for it: what it
// shares with Append stands in Log under its mutex, what it shares with the
// store's goroutine in the windowQueue.
type journaler struct {
	l     *Log
	q     *windowQueue
	clock *clockGuard
	store *storer // whose end it waits for

	lock   *dirLock
	ends   []chan struct{} // who waits for the end of the open window
	listed bool            // the windows that an earlier process left are in the queue

	seg     *segment  // of the open window; nil while nothing is journaled
	number  int64     // of the open window; 0 until it has one
	content content   // the rest of the open window
	since   time.Time // of the open window's first content; zero while it has none
	rows    int       // of the open window, at the last flush
	held    int       // policies that it refers to
	full    bool      // it nears its limit
	inFile  uint64    // lookups of the open window that its journal has
	exposed wallSpan  // while its journal lacks some; zero while it does not
	wall    wallSpan  // of the step at hand: the time, and the one before the clock was set
	span    wallSpan  // of the open window

	attempts  *attemptCounter
	asLookups uint64 // lookups of the open window that had no room to tell to which attempt they belong

	spare       []byte // the hit buffer not in use
	lastFlush   time.Time
	lastClose   time.Time // of a window
	lastBeat    time.Time
	lastTry     time.Time // of the directory
	lastRewrite time.Time
	wakeAt      time.Time // when the goroutine should run at the latest
	wokeLast    time.Time
}

// content is what a window has besides its fold, and how much of it is in the
// journal.
type content struct {
	events   []Event
	bindings []devices.Binding
	written  struct{ events, bindings int }
	pending  pending // what the lock's file says, and the events too
}

// open takes the directory as far as it can be had. The error is an *InUseError,
// which is the caller's to tell: nothing is counted in memory then.
func (j *journaler) open() error {
	j.watchClock()
	j.lastTry = time.Now()
	err := j.takeDir()
	var used *InUseError
	switch {
	case errors.As(err, &used):
		return err
	case err != nil:
		j.l.failed("directory", err)
	}
	return nil
}

// attach takes what is missing of directory, lock and the journals that are
// there.
func (j *journaler) attach() error {
	j.lastTry = time.Now()
	if err := j.takeDir(); err != nil {
		return j.l.failed("directory", err)
	}
	j.l.recovered("directory")
	return nil
}

func (j *journaler) takeDir() error {
	dir := j.l.o.Dir
	if j.lock == nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		lock, before, err := lockDir(dir, j.l.o.Now())
		if lock == nil {
			return err
		}
		j.lock = lock
		j.q.seen(max(before.stored, before.given))
		j.reportCrash(before)
		j.reportLost(lock.get().lost)
		j.store.lock.Store(lock)
		if err != nil {
			return err
		}
	}
	if j.listed {
		return nil
	}
	left, err := segments(dir)
	if err != nil {
		j.lock.update(j.l.o.Now(), (*lockState).pass)
		return err
	}
	removeUnfinished(dir)
	j.listed = true
	j.q.putFound(left)
	return nil
}

// reportCrash records that the process before ended without notice, or one before
// it of which nothing could be written. Its last sign of life is a heartbeat or a
// write to a journal.
func (j *journaler) reportCrash(before lockState) {
	crash := before.crash
	if before.state == stateRunning {
		now := j.l.o.Now()
		alive := time.UnixMilli(before.alive)
		if written := lastWritten(j.l.o.Dir); written.After(alive) && written.Before(now) {
			alive = written
		}
		j.l.o.Logger.Warn("query log: the server before did not stop in an orderly way", "last sign of life", alive)
		crash.add(gapOf(alive, now))
	}
	if crash == (wallSpan{}) {
		return
	}
	j.lock.update(j.l.o.Now(), func(s *lockState) { s.crash = crash })
	j.l.addEvent(Event{Kind: KindCrash, Since: Time{fromMilli(crash.first)}, Until: Time{fromMilli(crash.last)},
		Detail: "the server before ended without notice; lookups of its last second may be missing, and none were seen until the next start"})
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	j.l.unwritten.crash = true
}

// gapOf returns in which time no server ran, as the clock showed it: from its last
// sign of life until now. Where the clock was set back since, nobody knows when: so
// nor is it known since when, and what came before that is dated later than now.
func gapOf(alive, now time.Time) wallSpan {
	if now.Before(alive) {
		return wallSpan{0, alive.Add(heartbeatEvery).UnixMilli()}
	}
	return wallSpan{alive.UnixMilli(), now.UnixMilli()}
}

// reportLost records the lookups that an earlier process could give to nobody
// but the lock's file.
func (j *journaler) reportLost(lost loss) {
	if lost.lookups == 0 {
		return
	}
	j.l.o.Logger.Error("query log: the server before lost lookups that it could not write anywhere", "lookups", lost.lookups)
	j.l.addLostOf(lost, "%d lookups are missing: when the server before ended they were in memory alone, as neither the journal nor the store could be written, or the store had lost them")
}

// run is the journal goroutine's life.
func (j *journaler) run() {
	defer close(j.l.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	j.wokeLast = time.Now()
	j.wakeAt = j.wokeLast
	for {
		var flushed chan struct{}
		select {
		case <-j.l.some:
			if rest := flushEvery - time.Since(j.lastFlush); rest > 0 {
				timer.Reset(rest)
				j.wakeAt = time.Now().Add(rest)
				continue
			}
		case <-j.l.much:
		case flushed = <-j.l.flushes:
		case end := <-j.l.ends:
			j.ends = append(j.ends, end)
		case <-timer.C:
		case <-j.l.stop:
			j.l.err = j.finish()
			return
		}
		j.watchPause()
		j.step()
		if flushed != nil {
			close(flushed)
		}
		wait := j.next()
		timer.Reset(wait)
		j.wokeLast = time.Now()
		j.wakeAt = j.wokeLast.Add(wait)
	}
}

// next returns how long the goroutine may sleep if nobody calls it.
func (j *journaler) next() time.Duration {
	wait := heartbeatEvery
	if !j.since.IsZero() {
		end := j.l.o.window
		if j.full || j.held > 2 {
			end = min(windowFull, end)
		}
		wait = min(wait, max(end-time.Since(j.since), flushEvery))
	}
	if len(j.ends) > 0 {
		wait = min(wait, flushEvery)
	}
	if j.incomplete() {
		wait = min(wait, rewriteEvery)
	}
	if j.lock.get().memory.lookups > 0 {
		wait = min(wait, max(exposedEvery-time.Since(j.lastBeat), 0))
	}
	return wait
}

// step does what is due.
func (j *journaler) step() {
	j.watchClock()
	if j.span.add(j.wall); j.since.IsZero() {
		j.span = j.wall // it has nothing yet
	}
	if (j.lock == nil || !j.listed) && time.Since(j.lastTry) >= retryEvery {
		j.attach()
	}
	j.flush()
	if j.due() {
		j.closeWindow()
	}
	j.tellEnded()
	j.releasePolicies()
	j.giveBack()
	j.rewriteJournal()
	j.heartbeat()
}

func (j *journaler) watchClock() {
	now := j.l.o.Now().UnixMilli()
	j.wall = wallSpan{now, now}
	if event, jumped := j.clock.watch(); jumped {
		j.wall.add(wallSpan{event.Since.UnixMilli(), event.Since.UnixMilli()})
		j.l.o.Logger.Warn("query log: " + event.Detail)
		j.l.addEvent(event)
	}
}

// pauseNoted is how late the goroutine must run for the process to count as
// paused.
const pauseNoted = 5 * time.Second

// watchPause notices that the process did not run for a while: it was stopped, or
// had no processor. What was asked meanwhile waited, and is dated when it was
// read, or was dropped.
func (j *journaler) watchPause() {
	late := time.Since(j.wakeAt)
	if late < pauseNoted {
		return
	}
	now := j.l.o.Now()
	since := now.Add(-time.Since(j.wokeLast))
	j.l.o.Logger.Warn("query log: the process did not run for a while", "at least", late.Round(time.Millisecond))
	j.l.addEvent(Event{Kind: KindSuspended, Since: Time{since}, Until: Time{now},
		Detail: fmt.Sprintf("the process was stopped or got no processor for %v or more: lookups of this time are dated at its end, or were not seen", late.Round(time.Millisecond))})
}

// heartbeat writes a sign of life, and what a crash would lose.
func (j *journaler) heartbeat() {
	if j.lock == nil {
		return
	}
	memory, age := j.inMemory(), time.Since(j.lastBeat)
	changed := (memory.lookups == 0) != (j.lock.get().memory.lookups == 0)
	if age < heartbeatEvery && !changed && (memory.lookups == 0 || age < exposedEvery) {
		return
	}
	j.lastBeat = time.Now()
	j.lock.update(j.l.o.Now(), func(s *lockState) { s.memory = memory }) // a failure shows elsewhere, and only makes a gap look wider
}

// inMemory returns the lookups that would be lost if the process ended now, but
// for those of the last flushEvery.
func (j *journaler) inMemory() loss {
	s := j.q.look()
	lost := loss{lookups: s.unjournaled, since: s.span.first, until: s.span.last}
	if j.exposed != (wallSpan{}) {
		j.exposed.add(j.wall)
		j.l.mu.Lock()
		n := j.l.fold.lookups
		j.l.mu.Unlock()
		if n > j.inFile {
			lost.add(loss{n - j.inFile, j.exposed.first, j.exposed.last})
		}
	}
	return lost
}

// due reports whether the open window is to be closed: after 10 s, or earlier
// where memory or held policies ask for it; but with many rows as late, up to
// 60 s, as keeps the store's share of the processor small. A window that its
// journal does not hold whole is only closed for a store that is ready for it,
// as it has to wait in memory.
func (j *journaler) due() bool {
	if j.since.IsZero() || j.lock == nil {
		return false
	}
	q := j.q.look()
	if whole := j.seg != nil && !j.incomplete(); whole && q.waiting >= backlogMax || !whole && (q.waiting > 0 || !q.ready) {
		return false
	}
	age := time.Since(j.since)
	switch {
	case len(j.ends) > 0:
		return true
	case j.full || j.held > 2:
		return age >= min(windowFull, j.l.o.window)
	case !q.ready:
		return age >= windowMax
	}
	return age >= min(max(j.l.o.window, storeShare*time.Duration(j.rows)*q.perRow), windowMax)
}

// closeWindow ends the open window and gives it to the store.
func (j *journaler) closeWindow() {
	j.watchClock()
	j.span.add(j.wall)
	next := j.nextFold()
	j.lockResolved()
	b := j.takeLocked(next)
	j.l.mu.Unlock()
	j.resolveClosed(&b)
	j.countAttempts(&b, b.old)
	whole := j.lock != nil && j.listed && !b.incomplete && j.writeBatch(&b) == nil && j.seg.linked()
	j.countHidden(b.old)
	w := &window{number: j.number, whole: whole, fold: b.old, lookups: b.old.lookups, missing: b.old.lookups - min(j.inFile, b.old.lookups),
		span: j.span, pending: j.content.pending}
	w.data = &windowData{node: j.l.o.Node, entries: b.old.entries, events: j.content.events, bindings: j.content.bindings}
	if b.old.coarse > 0 {
		w.data.events = append(w.data.events, j.foldedEvent(b.old))
	}
	if n := j.asLookups + b.old.unmarked(); n > 0 {
		w.data.events = append(w.data.events, j.asLookupsEvent(b.old, n))
	}
	if j.seg != nil {
		j.seg.close()
	}
	if w.number == 0 { // never journaled
		w.number = j.q.number(j.l.o.Now())
	}
	j.seg, j.number, j.since, j.content = nil, 0, time.Time{}, content{}
	j.rows, j.held, j.full, j.inFile, j.exposed, j.span, j.asLookups = 0, 0, false, 0, wallSpan{}, j.wall, 0
	j.lastClose = time.Now()
	j.q.put(w)
	j.l.setLimit(j.q.look().memory)
}

// tellEnded tells who waits for the end of the open window, where that was closed, or
// has nothing.
func (j *journaler) tellEnded() {
	if !j.since.IsZero() {
		return
	}
	for _, end := range j.ends {
		close(end)
	}
	j.ends = nil
}

func (j *journaler) foldedEvent(f *fold) Event {
	now := j.l.o.Now()
	return Event{
		Time: Time{now}, Node: j.l.o.Node, Kind: KindFolded, Since: Time{time.UnixMilli(f.start)}, Until: Time{now},
		Detail: fmt.Sprintf("%d of %d lookups are counted without their name, and each as an attempt, as there was no memory for more rows", f.coarse, f.lookups),
	}
}

// unmarked returns the lookups that were not looked at for attempts.
func (f *fold) unmarked() (n uint64) {
	for i := range f.rows {
		n += uint64(f.rows[i].unmarked)
	}
	return n
}

func (j *journaler) asLookupsEvent(f *fold, n uint64) Event {
	now := j.l.o.Now()
	return Event{
		Time: Time{now}, Node: j.l.o.Node, Kind: KindAttempts, Since: Time{time.UnixMilli(f.start)}, Until: Time{now},
		Detail: fmt.Sprintf("%d of %d lookups are each counted as an attempt, as there was no memory to tell which belong together", n, f.lookups),
	}
}

// countHidden counts the lookups of devices that turned out to have opted out.
func (j *journaler) countHidden(f *fold) {
	var n uint64
	for i := range f.rows {
		if f.rows[i].state == hidden {
			n += f.rows[i].count
		}
	}
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	j.l.stats.OptedOut += n
}

// releasePolicies lets go of the policies that were in force before the present
// one, where the open window keeps several and cannot be closed.
func (j *journaler) releasePolicies() {
	if j.held <= 2 || time.Since(j.since) < 2*windowFull {
		return
	}
	l := j.l
	l.mu.Lock()
	closed := l.fold.closePolicies(false)
	f := l.fold.header()
	l.mu.Unlock()
	texts := f.textsOf(closed)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fold.release(texts)
	j.held = l.fold.held()
}

// giveBack lets go of memory for which there is no use while nobody asks.
func (j *journaler) giveBack() {
	if !j.since.IsZero() {
		return
	}
	j.spare = nil
	dropped := j.attempts.giveBack(j.l.o.Now().UnixMilli())
	if dropped {
		j.l.mu.Lock()
		j.l.attempts = j.attempts.memory()
		j.l.mu.Unlock()
	}
	if j.dropFold() || dropped {
		debug.FreeOSMemory() // the runtime would keep it for minutes, as nothing is allocated now
	}
}

// dropFold puts a small fold in the place of one that has memory for many rows
// and has had none since the last window.
func (j *journaler) dropFold() bool {
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	if !j.l.fold.oversized() || time.Since(j.lastClose) < windowMin {
		return false
	}
	j.l.fold = newFold(j.l.o.Now())
	j.l.takeHitsLocked(nil, j.l.fold.start)
	return true
}

// finish closes the last window, waits until the store has taken what it takes,
// and gives the directory back. The error says that something is lost.
func (j *journaler) finish() error {
	l := j.l
	l.mu.Lock()
	l.events = append(l.events, Event{Time: Time{l.o.Now()}, Node: l.o.Node, Kind: KindStop, Detail: "in an orderly way"})
	l.mu.Unlock()
	var err error
	if j.lock == nil || !j.listed {
		err = j.attach()
	}
	if j.lock != nil && j.incomplete() {
		j.lastRewrite = time.Time{}
		j.rewriteJournal()
	}
	j.closeWindow()
	err = errors.Join(err, j.store.end())
	if j.lock != nil {
		err = errors.Join(err, j.lock.release(l.o.Now()))
	}
	return err
}

// removeUnfinished removes journals that never got their name.
func removeUnfinished(dir string) {
	unfinished, _ := filepath.Glob(filepath.Join(dir, journalDir, "*.new"))
	for _, path := range unfinished {
		os.Remove(path)
	}
}

// lastWritten returns when a journal was last written, zero for none.
func lastWritten(dir string) (at time.Time) {
	files, _ := os.ReadDir(filepath.Join(dir, journalDir))
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
	}
	return at
}
