package blocklists

import (
	"time"

	"telltale/blocklists/format"
	"telltale/blocklists/rules"
)

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
	for i := range s.opts.Temporary {
		end(s.opts.Temporary[i].Until)
	}
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
	for i := range s.lists {
		l := &s.lists[i]
		eachEnding(l.kind, l.Set, func(rule uint32, until time.Time) {
			if s.asOf.isBefore(until) && !now.isBefore(until) {
				s.opts.report("rule-ended", textOf(l.Set, rule), "its time was over: "+until.UTC().Format(time.RFC3339))
			}
		})
	}
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

// eachEnding calls yield with each rule of the user's own file that ends.
func eachEnding(kind Kind, set *rules.Set, yield func(rule uint32, until time.Time)) {
	if kind != OwnList {
		return
	}
	for _, d := range set.Details {
		if a := set.AnnotationOf(d); a != nil && !a.Until.IsZero() && !a.Until.Equal(format.Ended) {
			yield(d.Rule, a.Until)
		}
	}
}

// textOf returns a rule as its author wrote it, or in canonical spelling.
func textOf(set *rules.Set, rule uint32) string {
	rec, err := set.Record(rule)
	if err != nil {
		return "a rule"
	}
	return set.Text(&rec, set.DetailOf(&rec))
}

// An Ending is a rule of the user's own that ends.
type Ending struct {
	Rule  Rule
	Until time.Time
}

// Ending returns the rules of the user's own file that are in force until some time, at
// most as many as anybody reads.
func (p *Policy) Ending() (all []Ending) {
	if p == nil {
		return nil
	}
	const most = 100
	for i := range p.lists {
		l := &p.lists[i]
		eachEnding(l.kind, l.set, func(rule uint32, until time.Time) {
			id := l.id(rule)
			if _, dead := p.dead[id]; !dead && len(all) < most {
				all = append(all, Ending{p.Rule(id), until})
			}
		})
	}
	return all
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
