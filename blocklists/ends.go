package blocklists

import "time"

// A time until which something holds (a pause, a rule's until=, an observation) is
// over by the wall clock or by the steady clock, whichever comes first: a clock that
// was ahead and is set back must not make an hour's pause last for three.

// ends knows when each end was first heard of. It belongs to Store.mu.
type ends struct{ known map[int64]firstKnown } // by the end's Unix nanoseconds

type firstKnown struct {
	wall   time.Time
	steady time.Duration
}

// remaining returns how much of the time until end is left; 0 or less for none.
func (f firstKnown) remaining(end, wall time.Time, steady time.Duration) time.Duration {
	return min(end.Sub(wall), end.Sub(f.wall)-(steady-f.steady))
}

// An instant is a time by both clocks.
type instant struct {
	wall   time.Time
	steady time.Duration
	ends   *ends // nil: by the wall clock alone
}

// remaining returns how much of the time until end is left; 0 or less for none, as
// for the zero time.
func (t *instant) remaining(end time.Time) time.Duration {
	if end.IsZero() {
		return 0
	}
	left := end.Sub(t.wall)
	if t.ends == nil || left <= 0 {
		return left
	}
	first, ok := t.ends.known[end.UnixNano()]
	if !ok {
		first = firstKnown{t.wall, t.steady}
		t.ends.known[end.UnixNano()] = first
	}
	return first.remaining(end, t.wall, t.steady)
}

// isBefore reports whether an end is still to come.
func (t *instant) isBefore(end time.Time) bool { return t.remaining(end) > 0 }

// instant returns the time that it is now.
func (s *Store) instant() instant {
	return instant{wall: s.opts.now().Round(0), steady: s.opts.steady(), ends: &s.ends}
}
