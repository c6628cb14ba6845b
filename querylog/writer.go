package querylog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/devices"
)

// Times of the writer.
const (
	windowMin    = 10 * time.Second
	windowMax    = 60 * time.Second
	windowFull   = time.Second          // where memory or policies that are held ask for an early end
	storeShare   = 40                   // a window lasts so many times as long as storing it will take
	perRowFirst  = 5 * time.Microsecond // what a row takes, until it was measured
	rowsMeasured = 1000                 // rows from which on a commit is a measure of what a row takes
	retryEvery   = 10 * time.Second
	tornRetry    = time.Second
	beatEvery    = 10 * time.Second
	keepJournal  = time.Minute // after the commit: a power cut may undo what SQLite has not yet synced
	bindBudget   = 50 * time.Millisecond
	backlogMax   = 16 // windows that may wait on disk for the store
)

// A writer journals, folds and stores. It is one goroutine's; what it shares
// with Append stands in Log under its mutex.
type writer struct {
	l     *Log
	lock  *dirLock
	store *store
	clock clockGuard

	seg    *segment  // of the open window; nil while nothing is journaled
	number int64     // of the open window; 0 until it has one
	latest int64     // the largest number ever seen
	window content   // the rest of the open window
	full   bool      // its fold nears its limit
	since  time.Time // of the open window's first content; zero while it has none

	waiting *windowData // a window kept in memory until the store takes it
	backlog []int64     // windows in the journal alone, oldest first
	done    []doneFile  // journals of stored windows

	spare      []byte // the hit buffer not in use
	lastFlush  time.Time
	lastClose  time.Time // of a window
	lastBeat   time.Time
	lastTry    time.Time // of what failed
	lastTorn   time.Time
	lastRetain time.Time
	held       string        // why nothing is deleted by age
	rows       int           // of the open window, at the last flush
	perRow     time.Duration // that storing takes the processor
	failures   map[string]string
	crashed    time.Time // when the process before was last alive, if it crashed
}

// content is what a window has besides its fold, and how much of it is in the
// journal.
type content struct {
	events   []Event
	bindings []devices.Binding
	written  struct{ events, bindings int }
}

// A doneFile is a file to be deleted at a time.
type doneFile struct {
	path string
	at   time.Time
}

func newWriter(l *Log) *writer {
	return &writer{l: l, failures: make(map[string]string), clock: newClockGuard(l.o.Now), perRow: perRowFirst}
}

// open takes the directory and the store as far as they can be had. The error
// is an *InUseError.
func (w *writer) open() error {
	err := w.attach()
	var used *InUseError
	if errors.As(err, &used) {
		return err
	}
	w.reportCrash() // also where there is no store yet
	w.l.addEvent(Event{Kind: KindStart, Detail: fmt.Sprintf("process %d", os.Getpid())})
	w.flush()
	return nil
}

// attach takes what is missing of directory, lock and store, and stores what
// the journal has.
func (w *writer) attach() error {
	w.lastTry = time.Now()
	if err := w.attachDir(); err != nil {
		return w.failed("directory", err)
	}
	w.mended("directory")
	if err := w.attachStore(); err != nil {
		return w.failed("store", err)
	}
	w.mended("store")
	return nil
}

func (w *writer) attachDir() error {
	if w.lock != nil {
		return nil
	}
	dir := w.l.o.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, crashed, err := lockDir(dir, w.l.o.Now())
	if lock == nil {
		return err
	}
	w.lock, w.crashed = lock, crashed
	if err != nil {
		return err
	}
	left, err := segments(dir)
	if err != nil {
		return err
	}
	w.backlog = append(w.backlog, left...)
	for _, n := range left {
		w.latest = max(w.latest, n)
	}
	if stale, _ := filepath.Glob(filepath.Join(dir, journalDir, "*.new")); len(stale) > 0 {
		for _, path := range stale {
			os.Remove(path)
		}
	}
	return nil
}

func (w *writer) attachStore() error {
	if w.store == nil {
		if err := w.openStore(); err != nil {
			return err
		}
	}
	if err := w.storeBacklog(); err != nil {
		return err
	}
	w.reportCrash()
	return w.storeWaiting()
}

// openStore opens the store, a damaged one under a new name.
func (w *writer) openStore() error {
	s, err := openStore(w.l.o.Dir)
	if isCorrupt(err) {
		if err := w.setStoreAside(err); err != nil {
			return err
		}
		s, err = openStore(w.l.o.Dir)
	}
	if err != nil {
		return err
	}
	kept, next, err := s.bindings()
	if err != nil {
		s.close()
		return err
	}
	if aside, _ := filepath.Glob(s.path + ".corrupt-*"); s.created && len(aside) > 0 {
		next = uint64(w.l.o.Now().UnixMilli()) // numbers were given that are not known here
	}
	if err := w.clock.load(s, w.crashed); err != nil {
		s.close()
		return err
	}
	w.store = s
	w.takeReported()
	w.latest = max(w.latest, s.position)
	if w.number != 0 && w.number <= s.position { // begun while the store could not be read
		w.renumber()
	}
	w.l.mu.Lock()
	w.l.kept, w.l.nextID, w.l.keptErr = kept, next, nil
	w.l.mu.Unlock()
	return nil
}

func (w *writer) setStoreAside(why error) error {
	if w.store != nil {
		w.store.close()
		w.store = nil
	}
	to, err := setAside(filepath.Join(w.l.o.Dir, storeName), w.l.o.Now(), "-wal", "-shm")
	if err != nil {
		return errors.Join(why, err)
	}
	w.l.o.Logger.Error("query log: the store is damaged; it was set aside and a new one begun", "file", to, "error", why)
	w.l.addEvent(Event{Kind: KindStore, Subject: filepath.Base(to), Detail: "damaged, set aside, and a new one begun: " + why.Error()})
	return nil
}

// replaceStore sets a damaged store aside and begins a new one.
func (w *writer) replaceStore(why error) error {
	if err := w.setStoreAside(why); err != nil {
		return err
	}
	return w.openStore()
}

// storeBacklog stores the windows that are in the journal alone.
func (w *writer) storeBacklog() error {
	for len(w.backlog) > 0 {
		n := w.backlog[0]
		if n > w.store.position {
			if err := w.storeJournal(n); err != nil {
				return err
			}
		} else {
			w.done = append(w.done, doneFile{segmentPath(w.l.o.Dir, n), time.Now()})
		}
		w.backlog = w.backlog[1:]
	}
	return nil
}

func (w *writer) storeJournal(n int64) error {
	p, err := readSegment(w.l.o.Dir, n)
	if err != nil {
		return err
	}
	path := segmentPath(w.l.o.Dir, n)
	if p.last > w.crashed.UnixMilli() && !w.crashed.IsZero() {
		w.crashed = time.UnixMilli(p.last)
	}
	if len(p.rows)+len(p.events)+len(p.bindings) > 0 {
		data := windowData{number: n, node: cmpOr(p.node, w.l.o.Node), entries: p.entries, events: p.events, bindings: p.bindings}
		if err := w.commit(&data); err != nil {
			return err
		}
		w.numberBindings(p)
	}
	if p.bad == 0 && p.lost == 0 {
		w.done = append(w.done, doneFile{path, time.Now().Add(keepJournal)})
		return nil
	}
	to, err := setAside(path, w.l.o.Now()) // whoever gets the error says so
	w.l.o.Logger.Error("query log: a journal is damaged; what could be read is stored and the file set aside",
		"file", to, "lookups lost", p.lost, "unreadable bytes", p.bad)
	w.l.addEvent(Event{Kind: KindLost, Subject: filepath.Base(to), Since: Time{time.UnixMilli(p.start)}, Until: Time{fromMilli(p.last)},
		Detail: fmt.Sprintf("the journal of a window is damaged: %d lookups read, %d or more lost, %d bytes unreadable", p.lookups, p.lost, p.bad)})
	w.l.mu.Lock()
	w.l.stats.GivenUp += p.lost
	w.l.mu.Unlock()
	return err
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// numberBindings sees to it that no number found in the journal is given again,
// and that what ended there has ended.
func (w *writer) numberBindings(p *replay) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	for _, c := range p.clients {
		if c.binding != nil && c.binding.ID >= w.l.nextID {
			w.l.nextID = c.binding.ID + 1
			w.l.kept = append(w.l.kept, *c.binding)
		}
	}
	for _, b := range p.bindings {
		if b.ID >= w.l.nextID {
			w.l.nextID = b.ID + 1
			w.l.kept = append(w.l.kept, b)
		} else if i := slices.IndexFunc(w.l.kept, func(k devices.Binding) bool { return k.ID == b.ID }); i >= 0 && !b.Until.IsZero() {
			w.l.kept[i].Until, w.l.kept[i].Seen = b.Until, b.Seen
		}
	}
}

// reportCrash records that the process before ended without notice.
func (w *writer) reportCrash() {
	if w.crashed.IsZero() {
		return
	}
	now := w.l.o.Now()
	w.l.o.Logger.Warn("query log: the server before did not stop in an orderly way", "last sign of life", w.crashed)
	w.l.addEvent(Event{Kind: KindCrash, Since: Time{w.crashed}, Until: Time{now},
		Detail: "the server before ended without notice; lookups of its last second may be missing, and none were seen until this start"})
	w.crashed = time.Time{}
}

// run is the writer's life.
func (w *writer) run() {
	defer close(w.l.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.l.some:
			if rest := flushEvery - time.Since(w.lastFlush); rest > 0 {
				timer.Reset(rest)
				continue
			}
		case <-w.l.much:
		case done := <-w.l.flushes:
			w.step()
			close(done)
			timer.Reset(w.next())
			continue
		case <-timer.C:
		case <-w.l.stop:
			w.l.err = w.finish()
			return
		}
		w.step()
		timer.Reset(w.next())
	}
}

// next returns how long the writer may sleep if nobody calls it.
func (w *writer) next() time.Duration {
	wait := beatEvery
	if !w.since.IsZero() {
		wait = min(wait, max(w.l.o.window-time.Since(w.since), flushEvery))
	}
	if w.torn() {
		wait = min(wait, tornRetry)
	}
	if w.store != nil && w.store.old != nil {
		wait = min(wait, migrateEvery)
	}
	return wait
}

// step does what is due.
func (w *writer) step() {
	w.watchClock()
	if len(w.failures) > 0 && time.Since(w.lastTry) >= retryEvery {
		w.attach()
	}
	w.flush()
	if w.due() {
		w.closeWindow()
	}
	w.giveBack()
	w.mendJournal()
	w.beat()
	w.retain()
	w.migrate()
	w.sweep()
}

// migrate copies some more of a store of version 1.
func (w *writer) migrate() {
	if w.store == nil {
		return
	}
	_, err := w.store.migrateStep()
	w.takeReported()
	if isCorrupt(err) {
		err = w.replaceStore(err)
	}
	if err != nil {
		w.failed("migration", err)
	} else {
		w.mended("migration")
	}
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.stats.Migration = w.store.migration()
}

func (w *writer) takeReported() {
	for _, e := range w.store.takeReported() {
		w.l.o.Logger.Info("query log: "+e.Detail, "file", e.Subject)
		w.l.addEvent(e)
	}
}

func (w *writer) watchClock() {
	event, jumped := w.clock.watch()
	if !jumped {
		return
	}
	w.l.o.Logger.Warn("query log: " + event.Detail)
	w.l.addEvent(event)
	if w.store != nil {
		w.clock.save(w.store)
	}
}

// beat writes a sign of life.
func (w *writer) beat() {
	if w.lock == nil || time.Since(w.lastBeat) < beatEvery {
		return
	}
	w.lastBeat = time.Now()
	w.lock.alive(w.l.o.Now()) // a failure shows elsewhere, and only makes a gap look wider
}

// sweep deletes the journals of windows that were stored long enough ago.
func (w *writer) sweep() {
	w.done = slices.DeleteFunc(w.done, func(d doneFile) bool {
		return time.Since(d.at) >= 0 && os.Remove(d.path) == nil
	})
}

// due reports whether the open window is to be closed: after 10 s, or earlier
// where memory or held policies ask for it; but with many rows as late, up to
// 60 s, as keeps the store's share of the processor small.
func (w *writer) due() bool {
	if w.since.IsZero() || w.lock == nil || w.waiting != nil {
		return false
	}
	age := time.Since(w.since)
	if w.store == nil {
		return age >= windowMax && w.seg != nil && len(w.backlog) < backlogMax
	}
	if w.full {
		return age >= min(windowFull, w.l.o.window)
	}
	return age >= min(max(w.l.o.window, storeShare*time.Duration(w.rows)*w.perRow), windowMax)
}

// closeWindow ends the open window and stores it. What the store does not take
// stays in the journal, or in memory where the journal is not whole.
func (w *writer) closeWindow() error {
	b := w.take(w.nextFold())
	w.resolveClosed(&b)
	w.full = false
	whole := w.lock != nil && !b.torn && w.writeBatch(&b) == nil
	w.forgetHidden(b.old)
	data := &windowData{number: w.number, node: w.l.o.Node, entries: b.old.entries, events: w.window.events, bindings: w.window.bindings}
	if b.old.coarse > 0 {
		data.events = append(data.events, w.foldedEvent(b.old))
	}
	path := ""
	if w.seg != nil {
		w.seg.close()
		path = w.seg.path
	}
	w.seg, w.number, w.since, w.window = nil, 0, time.Time{}, content{}
	w.lastClose = time.Now()
	if data.number == 0 { // never journaled: take the number now
		data.number = w.newNumber()
	}
	if path == "" && w.lock != nil {
		path = segmentPath(w.l.o.Dir, data.number)
	}
	if w.store == nil && whole {
		w.backlog = append(w.backlog, data.number)
		w.setLimit(0)
		return nil
	}
	err := w.commit(data)
	switch {
	case err == nil:
		w.done = append(w.done, doneFile{path, time.Now().Add(keepJournal)})
		w.setLimit(0)
	case whole:
		w.storeFailed(err)
		w.backlog = append(w.backlog, data.number)
		w.setLimit(0)
	default:
		w.storeFailed(err)
		w.waiting = data
		w.setLimit(b.old.memory())
	}
	return err
}

// storeWaiting stores the window that waits in memory.
func (w *writer) storeWaiting() error {
	if w.waiting == nil {
		return nil
	}
	if w.waiting.number <= w.store.position {
		w.waiting.number = w.newNumber()
	}
	if err := w.commit(w.waiting); err != nil {
		return err
	}
	w.done = append(w.done, doneFile{segmentPath(w.l.o.Dir, w.waiting.number), time.Now()})
	w.waiting = nil
	w.setLimit(0)
	return nil
}

// setLimit leaves the open fold the memory that a waiting window does not take.
func (w *writer) setLimit(waiting int) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.limit = max(w.l.o.MaxMemory-waiting, w.l.o.MaxMemory/4)
}

// forgetHidden counts the lookups of devices that turned out to have opted out.
func (w *writer) forgetHidden(f *fold) {
	var n uint64
	for i := range f.rows {
		if f.rows[i].state == hidden {
			n += f.rows[i].count
		}
	}
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.stats.OptedOut += n
}

func (w *writer) foldedEvent(f *fold) Event {
	now := w.l.o.Now()
	return Event{
		Time: Time{now}, Node: w.l.o.Node, Kind: KindFolded, Since: Time{time.UnixMilli(f.start)}, Until: Time{now},
		Detail: fmt.Sprintf("%d of %d lookups are counted without their name, as there was no memory for more rows", f.coarse, f.lookups),
	}
}

// commit stores a window. Where the store turns out to be damaged it is set
// aside, and the window is the first of a new one.
func (w *writer) commit(data *windowData) error {
	if w.store == nil {
		return errNoStore
	}
	runtime.LockOSThread() // threadTime is the commit's alone
	defer runtime.UnlockOSThread()
	begun := threadTime()
	rows, lookups, err := w.store.commit(data)
	if isCorrupt(err) {
		if err = w.replaceStore(err); err == nil {
			rows, lookups, err = w.store.commit(data)
		}
	}
	if err != nil {
		return fmt.Errorf("storing a window of the log: %w", err)
	}
	if rows >= rowsMeasured {
		w.perRow = (threadTime() - begun) / time.Duration(rows)
	}
	size, _ := w.store.size()
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.stats.Rows += rows
	w.l.stats.Stored += lookups
	w.l.stats.LastCommit = w.l.o.Now()
	w.l.stats.Bytes = size
	return nil
}

var errNoStore = errors.New("the store is not open")

// newNumber returns a number for a window: larger than any before, and about
// the time in seconds, so that a store begun anew does not use numbers again.
func (w *writer) newNumber() int64 {
	w.latest = min(max(w.latest+1, w.l.o.Now().Unix()), maxWindow)
	return w.latest
}

// renumber gives the open window a number behind the store's position.
func (w *writer) renumber() {
	if w.seg != nil {
		os.Remove(w.seg.path)
	}
	w.number = w.newNumber()
	w.tear()
}

// failed remembers that something does not work, and says so once.
func (w *writer) failed(what string, err error) error {
	w.lastTry = time.Now()
	text := err.Error()
	_, known := w.failures[what]
	w.failures[what] = text
	w.setError()
	if !known {
		w.l.o.Logger.Error("query log: the "+what+" fails; lookups are counted in memory meanwhile", "error", err)
		w.l.addEvent(Event{Kind: KindFailure, Subject: what, Detail: text})
	}
	return err
}

// storeFailed is failed for a commit. Why there is no store is known already.
func (w *writer) storeFailed(err error) {
	if !errors.Is(err, errNoStore) {
		w.failed("store", err)
	}
}

// mended forgets a failure.
func (w *writer) mended(what string) {
	if _, failing := w.failures[what]; !failing {
		return
	}
	delete(w.failures, what)
	w.setError()
	w.l.o.Logger.Info("query log: the " + what + " works again")
	w.l.addEvent(Event{Kind: KindRecovered, Subject: what, Detail: "works again"})
}

func (w *writer) setError() {
	var all []string
	for what, text := range w.failures {
		all = append(all, what+": "+text)
	}
	slices.Sort(all)
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.stats.LastError = strings.Join(all, "; ")
}

// finish stores what is left, records the stop and gives everything back.
func (w *writer) finish() error {
	w.l.mu.Lock()
	w.l.events = append(w.l.events, Event{Time: Time{w.l.o.Now()}, Node: w.l.o.Node, Kind: KindStop, Detail: "in an orderly way"})
	w.l.mu.Unlock()
	var err error
	if len(w.failures) > 0 {
		err = w.attach()
	}
	if w.waiting != nil {
		w.giveUp(w.waiting)
	}
	if e := w.closeWindow(); e != nil && err == nil {
		err = e
	}
	if w.waiting != nil {
		w.giveUp(w.waiting)
	}
	if w.store != nil {
		_, _, e := w.store.conn.WALCheckpoint("", sqlite3.CHECKPOINT_TRUNCATE)
		if e == nil {
			for i := range w.done {
				w.done[i].at = time.Time{}
			}
			w.sweep()
		}
		err = errors.Join(err, e, w.store.close())
	}
	if w.lock != nil {
		err = errors.Join(err, w.lock.release(w.l.o.Now()))
	}
	return err
}

// giveUp counts the lookups of a window that nothing would take.
func (w *writer) giveUp(data *windowData) {
	var n uint64
	for _, e := range data.entries {
		n += e.Count
	}
	w.waiting = nil
	if n == 0 {
		return
	}
	w.l.o.Logger.Error("query log: lookups are lost: neither the store nor the journal took them", "lookups", n)
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.stats.GivenUp += n
}
