package blocklists

import (
	"fmt"
	"time"
)

// A Schedule is when in the week something is in force, by the wall clock. The
// zero Schedule is always.
type Schedule struct {
	Text    string         // as it is written, for showing
	Windows []Window       // in any order; they may overlap
	Zone    *time.Location // whose wall clock; nil for the machine's
}

// A Window is a time of day on some days of the week.
type Window struct {
	Days     uint8 // a bit for each day, 1<<time.Weekday
	From, To int   // minutes of the day, up to 24*60; where To is not after From, it is of the next day
}

const (
	minutesOfDay  = 24 * 60
	minutesOfWeek = 7 * minutesOfDay
)

func (s *Schedule) at(t time.Time) time.Time {
	if s.Zone == nil {
		return t.Local()
	}
	return t.In(s.Zone)
}

// holds reports whether it is in force at t. An hour that the clocks skip is not
// waited for, and one that they show twice is in force twice.
func (s *Schedule) holds(t time.Time) bool {
	if len(s.Windows) == 0 {
		return true
	}
	t = s.at(t)
	minute, day := t.Hour()*60+t.Minute(), t.Weekday()
	for _, w := range s.Windows {
		today, yesterday := w.Days&(1<<day) != 0, w.Days&(1<<((day+6)%7)) != 0
		switch {
		case w.From < w.To:
			if today && w.From <= minute && minute < w.To {
				return true
			}
		case today && w.From <= minute, yesterday && minute < w.To:
			return true
		}
	}
	return false
}

// outside says that it is not in force at t; "" where it is.
func (s *Schedule) outside(t time.Time) string {
	if s.holds(t) {
		return ""
	}
	next := s.next(t)
	if next.IsZero() {
		return fmt.Sprintf("not in force: schedule %s", s.Text)
	}
	return fmt.Sprintf("not in force until %s: schedule %s", s.at(next).Format("Mon 15:04 MST"), s.Text)
}

// next returns when holds changes after t; zero for never.
func (s *Schedule) next(t time.Time) time.Time {
	if len(s.Windows) == 0 {
		return time.Time{}
	}
	t = s.at(t)
	now := s.holds(t)
	for end := t.Add((minutesOfWeek + minutesOfDay) * time.Minute); t.Before(end); {
		// As long as the clocks are not changed they go on as time does.
		stop := end
		if _, changed := t.ZoneBounds(); !changed.IsZero() && changed.Before(end) {
			stop = changed
		}
		first := stop
		s.boundaries(t, func(at time.Time) {
			if at.Before(first) && s.holds(at) != now {
				first = at
			}
		})
		if s.holds(first) != now {
			return first
		}
		t = stop
	}
	return time.Time{}
}

// boundaries calls yield with the next time after t at which each window begins
// or ends, as if the clocks were not changed before.
func (s *Schedule) boundaries(t time.Time, yield func(time.Time)) {
	minute := t.Add(-time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	since := int(t.Weekday())*minutesOfDay + t.Hour()*60 + t.Minute() // the week began
	after := func(boundary int) {
		wait := (boundary-since+2*minutesOfWeek-1)%minutesOfWeek + 1
		yield(minute.Add(time.Duration(wait) * time.Minute))
	}
	for _, w := range s.Windows {
		for day := range 7 {
			if w.Days&(1<<day) == 0 {
				continue
			}
			from, to := day*minutesOfDay+w.From, day*minutesOfDay+w.To
			if w.To <= w.From {
				to += minutesOfDay
			}
			after(from)
			after(to)
		}
	}
}
