package blocklists

import "time"

// What time alone changes: rules end, observing ends, schedules turn, a pause
// ends. Decide has no clock: at each such time the policy is made anew, of the
// wall clock as it then is.

// isDueLocked reports whether the policy is of another time than now: because
// something has changed since, or because the clock was set back.
func (s *Store) isDueLocked() bool {
	now := s.opts.now().Round(0)
	return now.Before(s.asOf.wall) || !s.due.IsZero() && !now.Before(s.due)
}

// nextTurnLocked returns when the next rule or observation ends, or schedule
// turns; zero for never.
func (s *Store) nextTurnLocked(now *instant) (first time.Time) {
	end := func(until time.Time) {
		if left := now.remaining(until); left > 0 {
			first = sooner(first, now.wall.Add(left))
		}
	}
	for i := range s.lists {
		for _, a := range s.lists[i].Set.Annotations {
			end(a.Until)
		}
	}
	s.eachObservation(func(_ string, until time.Time) { end(until) })
	s.eachSchedule(func(_ string, schedule *Schedule) { first = sooner(first, schedule.next(now.wall)) })
	return first
}

// tellTurnsLocked reports what has turned since the policy in force was made.
func (s *Store) tellTurnsLocked(now *instant) {
	if s.asOf.wall.IsZero() {
		return
	}
	s.eachObservation(func(whose string, until time.Time) {
		if s.asOf.isBefore(until) && !now.isBefore(until) {
			s.opts.report("observe-ended", whose, "its time was over: "+until.UTC().Format(time.RFC3339))
		}
	})
	s.eachSchedule(func(whose string, schedule *Schedule) {
		if is := schedule.outside(now.wall); is != "" && schedule.holds(s.asOf.wall) {
			s.opts.report("schedule", whose, is)
		} else if is == "" && !schedule.holds(s.asOf.wall) {
			s.opts.report("schedule", whose, "in force: schedule "+schedule.Text)
		}
	})
}

// eachObservation calls yield with whatever observes until some time.
func (s *Store) eachObservation(yield func(whose string, until time.Time)) {
	yield("everything", s.opts.ObserveUntil)
	for i := range s.opts.Lists {
		yield(s.opts.Lists[i].Name, s.opts.Lists[i].ObserveUntil)
	}
	for i := range s.opts.Groups {
		yield(s.opts.Groups[i].Name, s.opts.Groups[i].ObserveUntil)
		yield(s.opts.Groups[i].Name, s.opts.Groups[i].GroupObserveUntil)
	}
}

// eachSchedule calls yield with the schedules of lists and groups.
func (s *Store) eachSchedule(yield func(whose string, schedule *Schedule)) {
	for i := range s.opts.Lists {
		yield(s.opts.Lists[i].Name, &s.opts.Lists[i].Schedule)
	}
	for i := range s.opts.Groups {
		yield(s.opts.Groups[i].Name, &s.opts.Groups[i].Schedule)
	}
}

// sooner returns the earlier of two times, of which either may be zero for never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
