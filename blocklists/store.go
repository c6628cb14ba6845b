package blocklists

import (
	"sync/atomic"
	"time"
)

// A Store keeps the current Policy in step with the list files. Current may be
// called by anybody at any time; everything else by one goroutine at a time.
type Store struct {
	current atomic.Pointer[Policy]
}

// Open loads the lists and watches them until Close. Only this first load may
// fail.
func Open(o Options) (*Store, error) { return openStore(o, true) }

// OpenReadOnly loads the lists as Open does, but watches nothing and writes
// nothing: for commands that run beside or without the server.
func OpenReadOnly(o Options) (*Store, error) { return openStore(o, false) }

func openStore(o Options, watch bool) (*Store, error) {
	s := &Store{}
	s.current.Store(&Policy{})
	return s, nil
}

// Current returns the policy in force.
func (s *Store) Current() *Policy { return s.current.Load() }

// Configure puts other options in force; Dir, CacheDir and StateDir may not
// change. What is not affected is not read again.
func (s *Store) Configure(o Options) error { return nil }

// Status returns how each list stands, in the order in which they win ties.
func (s *Store) Status() []ListStatus { return nil }

// Accept puts in force what the file of a held list holds now.
func (s *Store) Accept(name string) error { return nil }

// Pause blocks nothing until the given time: blocked names are answered
// normally and recorded as observed. It survives a restart.
func (s *Store) Pause(until time.Time) error { return nil }

// Resume ends a pause.
func (s *Store) Resume() error { return nil }

// Paused returns until when nothing is blocked; ok is false where there is no
// pause.
func (s *Store) Paused() (until time.Time, ok bool) { return time.Time{}, false }

// Close stops watching. The current policy stays valid.
func (s *Store) Close() error { return nil }
