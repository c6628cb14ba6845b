package blocklists

import (
	"errors"
	"slices"
	"time"

	"telltale/blocklists/matcher"
	"telltale/blocklists/rules"
)

// Compiled files are in use for as long as the server runs. Others may write to
// them, and a disk may change them by itself: the first is looked for often, and
// all of their content is read each minute, or less often where that is slow.
const (
	lookTime  = 10 * time.Second
	checkTime = time.Minute
	checkPart = 100                  // of the time, one part at most is spent on reading
	pauseTime = 5 * time.Millisecond // between two blocks
)

// untilCheck returns how long after a check that took busy the next one begins.
func untilCheck(busy time.Duration) time.Duration {
	return max(checkTime-lookTime, checkPart*busy) // it is begun at a look
}

// checkIfDue reads all of the compiled files if that is due, else it looks. It
// returns when all is due next.
func (s *Store) checkIfDue(now, due time.Time) (next time.Time) {
	all := !now.Before(due)
	busy := s.checkCompiled(!all)
	if !all {
		return due
	}
	return now.Add(untilCheck(busy))
}

// checkCompiled looks whether the compiled files in use are as they were written,
// and replaces what is not. Where only looks are asked for, it reads those alone
// that somebody has written to. It returns how long it was busy.
func (s *Store) checkCompiled(looks bool) (busy time.Duration) {
	s.mu.Lock()
	lists, image := slices.Clone(s.lists), s.index.Image()
	s.mu.Unlock()
	start, paused := time.Now(), time.Duration(0)
	pause := func() error {
		from := time.Now()
		select {
		case <-s.done:
			return errClosing
		case <-time.After(pauseTime):
			paused += time.Since(from)
			return nil
		}
	}
	for i := range lists {
		err := lists[i].Set.Check(looks, pause)
		if errors.Is(err, rules.ErrDamaged) {
			s.replaceSet(lists[i].Set, err)
		}
	}
	if err := s.imageCheck.Check(image, looks, pause); errors.Is(err, matcher.ErrFile) {
		s.rebuild(err)
	}
	return time.Since(start) - paused
}

// replaceSet reads a list from its text again, whose compiled file is damaged.
func (s *Store) replaceSet(set *rules.Set, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.sources, func(src *source) bool { return src.set == set })
	if i < 0 {
		return // there is another by now
	}
	src := s.sources[i]
	s.log.Error("a compiled list is damaged and is read again from its text", "list", src.name, "err", why)
	s.opts.report("cache-damaged", src.name, why.Error())
	s.rereadLocked(src)
	if src.set == nil { // its text cannot be read: what is damaged still blocks
		src.set = set
		return
	}
	if err := s.publishLocked(); err != nil {
		s.failLocked(src.name, err)
	}
}
