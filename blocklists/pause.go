package blocklists

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"telltale/atomicfile"
)

const pauseFile = "pause.json"

// A pause ends at a time by the wall clock, or when as much time has gone by.
type pause struct {
	until time.Time
	firstKnown
}

func (s *Store) newPause(until time.Time) *pause {
	now := s.instant()
	return &pause{until.Round(0), firstKnown{now.wall, now.steady}}
}

// remaining returns how long blocking is paused yet.
func (s *Store) remaining(p *pause) time.Duration {
	return p.firstKnown.remaining(p.until, s.opts.now().Round(0), s.opts.steady())
}

type pauseState struct {
	Until time.Time `json:"until"`
}

// ErrPauseEnds means that a pause was asked for that is over already.
var ErrPauseEnds = errors.New("a pause must end in the future")

// Pause blocks nothing until the given time: blocked names are answered
// normally and recorded as observed. It survives a restart and ends by itself.
// Where it cannot be kept on disk it is in force nevertheless, and the error
// says that a restart ends it.
func (s *Store) Pause(until time.Time) error {
	if !s.write {
		return errReadOnly
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !until.After(s.opts.now()) {
		return ErrPauseEnds
	}
	s.paused.Store(s.newPause(until))
	s.opts.report("pause", "everything", "until "+until.UTC().Format(time.RFC3339))
	s.recompileLocked()
	if err := s.savePause(until); err != nil {
		return fmt.Errorf("nothing is blocked until %s, but a restart would end that: %s cannot be written: %s",
			until.Local().Format(time.DateTime), s.pausePath(), reason(err))
	}
	return nil
}

// Resume ends a pause; where there is none it does nothing.
func (s *Store) Resume() error {
	if !s.write {
		return errReadOnly
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused.Load() == nil {
		return nil
	}
	err := s.endPauseLocked("by hand")
	s.recompileLocked()
	return err
}

// Paused returns until when nothing is blocked; ok is false where there is no
// pause.
func (s *Store) Paused() (until time.Time, ok bool) {
	p := s.paused.Load()
	if p == nil {
		return time.Time{}, false
	}
	left := s.remaining(p)
	switch {
	case left <= 0:
		return time.Time{}, false
	case left < p.until.Sub(s.opts.now().Round(0))-time.Second:
		return s.opts.now().Add(left), true // the clock was set back, and not only trimmed
	}
	return p.until, true
}

func (s *Store) endPauseLocked(how string) error {
	s.paused.Store(nil)
	s.opts.report("resume", "everything", how)
	path := s.pausePath()
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the pause is over but may come back with a restart: %w", err)
	}
	return nil
}

// endDuePauseLocked ends a pause whose time has come.
func (s *Store) endDuePauseLocked() {
	if p := s.paused.Load(); p == nil || s.remaining(p) > 0 {
		return
	}
	if err := s.endPauseLocked("its time was over"); err != nil {
		s.log.Warn("pause file", "err", err)
	}
}

// loadPause takes up the pause of an earlier run.
func (s *Store) loadPause() {
	path := s.pausePath()
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var st pauseState
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	if err != nil {
		s.log.Warn("pause file cannot be read and is not obeyed", "path", path, "err", err)
		return
	}
	s.paused.Store(s.newPause(st.Until))
	if s.write {
		s.endDuePauseLocked()
	}
}

func (s *Store) savePause(until time.Time) error {
	path := s.pausePath()
	if path == "" {
		return nil
	}
	b, err := json.Marshal(pauseState{Until: until})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Replace(path, append(b, '\n'), 0o600)
}

func (s *Store) pausePath() string {
	dir := cmp.Or(s.opts.StateDir, s.opts.CacheDir)
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, pauseFile)
}
