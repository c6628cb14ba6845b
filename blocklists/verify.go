package blocklists

import (
	"errors"
	"slices"
	"time"

	"telltale/blocklists/matcher"
	"telltale/blocklists/rules"
)

// Compiled files are in use for as long as the server runs, and others may write
// to them: that is looked for often, and all of their content is read now and then.
const (
	lookTime  = 10 * time.Second
	checkTime = time.Hour
	pauseTime = 5 * time.Millisecond // between two blocks
)

// checkCompiled looks whether the compiled files in use are as they were written,
// and replaces what is not. Where only looks are asked for, it reads those alone
// that somebody has written to.
func (s *Store) checkCompiled(looks bool) {
	s.mu.Lock()
	lists, image := slices.Clone(s.lists), s.index.Image()
	s.mu.Unlock()
	pause := func() error {
		select {
		case <-s.done:
			return errClosing
		case <-time.After(pauseTime):
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
