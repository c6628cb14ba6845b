package blocklists

import (
	"time"

	"telltale/watch"
)

const idleTime = 30 * time.Second // without a change, before the index is compacted

// watchedPaths returns what a change of which may concern a list.
func (s *Store) watchedPaths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var paths []string
	if s.opts.Dir != "" {
		paths = append(paths, s.opts.Dir)
	}
	for _, src := range s.sources {
		if src.path != "" {
			paths = append(paths, src.path)
		}
	}
	return paths
}

// watchFailed says that edits are found late, or no longer.
func (s *Store) watchFailed(err error) {
	if err == nil {
		s.log.Info("list files are watched again")
		return
	}
	s.log.Warn("list files cannot be watched", "err", err)
}

// run keeps the policy in step until Close.
func (s *Store) run(w *watch.Watcher) {
	defer w.Close()
	s.keepInStep(w.C, w.Follow)
}

func (s *Store) keepInStep(changes <-chan struct{}, follow func(...string)) {
	timer := time.NewTimer(s.untilDue())
	defer timer.Stop()
	idle := time.NewTimer(idleTime)
	defer idle.Stop()
	looks := time.NewTicker(lookTime)
	defer looks.Stop()
	checking := make(chan time.Time, 1) // has the time of the next check while there is none
	checking <- time.Now().Add(checkTime)
	compacted := make(chan struct{}, 1)
	compacted <- struct{}{}
	look := func() {
		follow(s.watchedPaths()...) // before the files are read, lest a change in between be missed
		if s.reload() {
			idle.Reset(idleTime)
		}
		follow(s.watchedPaths()...) // there may be others now
		timer.Reset(s.untilDue())
	}
	look() // files may have changed since they were loaded
	for {
		select {
		case <-s.done:
			return
		case <-changes:
			look()
		case <-s.wake:
			timer.Reset(s.untilDue())
		case <-timer.C:
			look()
		case <-idle.C:
			select {
			case <-compacted:
				s.running.Go(func() { s.compact(); compacted <- struct{}{} })
			default: // still at it
			}
		case now := <-looks.C:
			select {
			case due := <-checking:
				s.running.Go(func() { checking <- s.checkIfDue(now, due) })
			default: // still at it
			}
		case err := <-s.faults:
			s.rebuild(err)
		}
	}
}

// rebuild replaces an image whose file can no longer be read.
func (s *Store) rebuild(fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Error("compiled names cannot be read any more and are built again", "err", fault)
	s.opts.report("cache-damaged", "names", fault.Error())
	s.index.Drop()
	if err := s.publishLocked(); err != nil {
		s.failLocked("names", err)
	}
}

// untilDue returns how long nothing is to be done unless a file changes.
func (s *Store) untilDue() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	const longestWait = time.Hour // clocks may jump
	due := s.due
	for _, src := range s.sources {
		if src.oddSince.IsZero() || src.held {
			continue
		}
		if t := src.oddSince.Add(patience); due.IsZero() || t.Before(due) {
			due = t
		}
	}
	if due.IsZero() {
		return longestWait
	}
	return max(10*time.Millisecond, min(due.Sub(s.opts.now()), longestWait))
}
