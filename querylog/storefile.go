package querylog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// openStore opens the store, a damaged one under a new name.
func (s *storer) openStore() error {
	err := s.openOnce()
	if isCorrupt(err) {
		if err = s.setStoreAside(err); err == nil {
			err = s.openOnce()
		}
	}
	return err
}

func (s *storer) openOnce() error {
	dir := s.l.o.Dir
	if err := s.checkWAL(filepath.Join(dir, storeName)); err != nil {
		return err
	}
	st, err := openStore(dir)
	if err != nil {
		return err
	}
	st.conn.SetInterrupt(s.ctx)
	if err := s.adopt(st); err != nil {
		st.close()
		return err
	}
	return nil
}

// adopt takes over what the store knows.
func (s *storer) adopt(st *store) error {
	kept, next, err := st.bindings()
	if err != nil {
		return err
	}
	if aside, _ := filepath.Glob(st.path + asideMark + "*"); st.created && len(aside) > 0 {
		next = uint64(s.l.o.Now().UnixMilli()) // numbers were given that are not known here
	}
	if err := s.clock.load(st); err != nil {
		return err
	}
	if s.file, err = os.Stat(st.path); err != nil {
		return err
	}
	if s.counted, err = s.keepAttemptGap(st); err != nil {
		return err
	}
	s.store = st
	st.countFrames()
	s.takeReported()
	s.q.seen(st.position)
	st.opened = st.position
	gap, err := s.findGap()
	if err != nil {
		s.store = nil
		return err
	}
	if gap.lookups > 0 {
		have, _ := st.lookups()
		s.lock.Load().update(s.l.o.Now(), func(l *lockState) { // once, whatever happens before it is in the ledger
			l.gap.widen(gap)
			l.stored, l.lookups = st.position, have
		})
	}
	if err := s.openSeal(); err != nil {
		s.store = nil
		return err
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.l.kept, s.l.nextID, s.l.keptErr = kept, next, nil
	return nil
}

// A storeGap is what the store lacks of what the lock's file says was stored.
type storeGap struct {
	loss
	position, stored int64 // the windows behind the first, up to the second
}

// widen adds another gap, of a later store or the same.
func (g *storeGap) widen(h storeGap) {
	if h.lookups == 0 {
		return
	}
	if g.lookups == 0 {
		g.position = h.position
	}
	g.position, g.stored = min(g.position, h.position), max(g.stored, h.stored)
	g.add(h.loss)
}

// findGap compares the store with what the lock's file says was stored.
func (s *storer) findGap() (g storeGap, err error) {
	had := s.lock.Load().get()
	have, err := s.store.lookups()
	if err != nil || had.stored == 0 || s.store.position >= had.stored || had.lookups <= have {
		return g, err
	}
	g = storeGap{loss{lookups: had.lookups - have, until: had.until}, s.store.position, had.stored}
	g.since, err = s.store.number(`SELECT coalesce(max(last), 0) FROM window`)
	if had.unmoved != 0 { // earlier, where the clock was set back
		g.since = min(g.since, had.unmoved)
	}
	return g, err
}

// reportGap records the rows that the store had and has not any more, as soon as
// it is known which journals there are: what is in them is stored again.
func (s *storer) reportGap() {
	lock := s.lock.Load()
	state := lock.get()
	g := state.gap
	if g.lookups == 0 || s.store == nil || !s.q.isListed() {
		return
	}
	for _, n := range s.q.found() {
		if n > g.stored || state.passed.has(n) { // the store never had it
			continue
		}
		if has, err := s.store.has(n); err == nil && !has { // maybe it had it under a later number
			if p, err := readSegment(s.l.o.Dir, n); err == nil {
				g.lookups -= min(g.lookups, p.lookups)
			}
		}
	}
	lock.update(s.l.o.Now(), func(l *lockState) {
		l.gap = storeGap{}
		l.lost.add(g.loss)
	})
	if g.lookups > 0 {
		s.l.o.Logger.Error("query log: the store lacks rows that it had", "lookups", g.lookups)
		s.l.addLostOf(g.loss, "the store lacks the rows of %d lookups that it had taken: it was damaged and set aside, or replaced, or its write-ahead log was damaged")
	}
}

// setStoreAside gives a damaged store another name. What journals still have is
// stored again in the next one; reportGap says how much the log lacks then.
func (s *storer) setStoreAside(why error) error {
	s.l.readers.closeAll()
	if s.store != nil {
		s.store.close()
		s.store = nil
	}
	to, err := setAside(filepath.Join(s.l.o.Dir, storeName), s.l.o.Now(), "-wal", "-shm")
	if err != nil {
		return errors.Join(why, err)
	}
	s.l.o.Logger.Error("query log: the store is damaged; it was set aside and a new one begun", "file", to, "error", why)
	s.l.addEvent(Event{Kind: KindStore, Subject: filepath.Base(to),
		Detail: "damaged, set aside, and a new one begun, in which what journals still have is stored again: " + why.Error()})
	s.storeAgain()
	s.lock.Load().update(s.l.o.Now(), func(l *lockState) {
		l.gap.widen(storeGap{loss{lookups: l.lookups, until: l.until}, 0, l.stored})
		l.forgetStore()
	})
	return nil
}

// storeAgain gives the journals of stored windows back to the queue, for a new
// store.
func (s *storer) storeAgain() {
	var numbers []int64
	for _, d := range s.done {
		if _, err := os.Stat(segmentPath(s.l.o.Dir, d.window)); err == nil {
			numbers = append(numbers, d.window)
		}
	}
	s.done = nil
	s.q.putAgain(numbers)
}

// leave records that the store's rows are not in the log any more, in an event
// whose detail takes their lookups. Until it is written the lock's file says so.
func (s *storer) leave(e Event) {
	had := s.lock.Load().get()
	e.Until, e.Detail = Time{fromMilli(had.until)}, fmt.Sprintf(e.Detail, had.lookups)
	s.l.addEvent(e)
	s.lock.Load().update(s.l.o.Now(), func(l *lockState) {
		if !s.q.isListed() || len(s.done) > 0 { // journals of its windows are left, and are not the next store's
			l.passFrom(l.gap.stored)
		}
		l.forgetStore()
		l.lost.add(loss{lookups: had.lookups, until: had.until})
	})
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.l.unwritten.add(pending{lost: had.lookups})
}

// replaceStore sets a damaged store aside and begins a new one.
func (s *storer) replaceStore(why error) error {
	if err := s.setStoreAside(why); err != nil {
		return err
	}
	if err := s.openStore(); err != nil {
		return err
	}
	s.reportGap() // while the window at hand is in the queue
	return nil
}

// checkIdentity notices that the store's file was removed or replaced, and opens
// what is there now: what is written into a removed file is lost.
func (s *storer) checkIdentity() error {
	if s.store == nil || time.Since(s.lastIdentity) < identityEvery {
		return nil
	}
	s.lastIdentity = time.Now()
	if s.sameFile() {
		return nil
	}
	s.store.busyTimeout = 0
	s.checkpointNow() // so that the file is whole, wherever it was moved to
	for i := range s.done {
		s.done[i].at = time.Time{} // the next store must not take them too
	}
	s.sweep()
	s.l.readers.closeAll()
	s.store.close()
	s.store = nil
	s.l.o.Logger.Error("query log: the store's file was removed or replaced while the server ran; what is there now is used, or a new one begun", "file", storeName)
	s.leave(Event{Kind: KindStore, Subject: storeName, Detail: "removed or replaced while the server ran: the rows of %d lookups are in the file that was there"})
	select { // whoever moves it away may not have come to its other files, and must not get the new store's
	case <-time.After(movedPause):
	case <-s.ctx.Done():
	}
	if err := s.openStore(); err != nil {
		return s.failed(err)
	}
	return nil
}

func (s *storer) sameFile() bool {
	now, err := os.Stat(s.store.path)
	return err == nil && os.SameFile(now, s.file)
}
