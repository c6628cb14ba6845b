package evidence

import (
	"sort"
	"time"

	"telltale/querylog"
)

// Lengths up to which a timeline's slots are hours, and days.
const (
	hoursUpTo = 50 * time.Hour
	daysUpTo  = 120 * 24 * time.Hour
)

// NightEnd is the hour at which a night ends that begins at midnight.
const NightEnd = 6

// newTimeline divides a period by hours, days or weeks of the calendar in a zone.
// The first slot and the last may be shorter.
func newTimeline(since, until time.Time, zone *time.Location, c *querylog.Coverage) Timeline {
	step := "week"
	switch length := until.Sub(since); {
	case length <= hoursUpTo:
		step = "hour"
	case length <= daysUpTo:
		step = "day"
	}
	return slotsOf(since, until, zone, step, c)
}

// slotsOf divides a period by a step.
func slotsOf(since, until time.Time, zone *time.Location, step string, c *querylog.Coverage) Timeline {
	t := Timeline{Step: step, Slots: []Slot{}}
	for at := since; at.Before(until); {
		next := nextSlot(at.In(zone), t.Step)
		if next.After(until) {
			next = until
		}
		t.Slots = append(t.Slots, Slot{Since: querylog.Time{Time: at}, Until: querylog.Time{Time: next}, Recorded: seconds(c.RecordedIn(at, next))})
		at = next
	}
	return t
}

// nextSlot returns when the slot ends in which at is.
func nextSlot(at time.Time, step string) time.Time {
	y, m, d := at.Date()
	switch step {
	case "hour":
		return nextHour(at)
	case "week":
		d += (8 - int(at.Weekday())) % 7 // Mondays
		if at.Weekday() == time.Monday {
			d += 7
		}
	default:
		d++
	}
	next := time.Date(y, m, d, 0, 0, 0, 0, at.Location())
	for !next.After(at) { // a day that no clock begins at midnight
		next = next.Add(time.Hour)
	}
	return next
}

// nextHour returns the next time at which clocks show a full hour.
func nextHour(at time.Time) time.Time {
	past := time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
	return at.Add(time.Hour - past)
}

// at returns the slot of a time in the period.
func (t *Timeline) at(when time.Time) int {
	return sort.Search(len(t.Slots)-1, func(i int) bool { return t.Slots[i].Until.After(when) })
}

// count adds lookups of a verdict.
func (s *Slot) count(verdict string, one Count) {
	s.Count.add(one)
	switch verdict {
	case "block":
		s.Blocked.add(one)
	case "unknown":
		s.Unknown.add(one)
	}
}

// Times are when some lookups came, in a period and by hour of the week.
type Times struct {
	Coverage Coverage `json:"coverage"`
	Timeline Timeline `json:"timeline"`
	Hours    []Cell   `json:"hours"`

	zone *time.Location
}

// NewTimes returns those of no lookup, of a period with this coverage.
func NewTimes(since, until time.Time, zone *time.Location, c *querylog.Coverage) *Times {
	if zone == nil {
		zone = time.UTC
	}
	return &Times{Coverage: NewCoverage(c, zone), Timeline: newTimeline(since, until, zone, c), Hours: newHours(since, until, zone, c), zone: zone}
}

// Add adds the lookups of a row that is in the period.
func (t *Times) Add(row *querylog.Row) {
	if len(t.Timeline.Slots) == 0 {
		return
	}
	one := countOf(row)
	t.Timeline.Slots[t.Timeline.at(row.Time.Time)].count(row.Verdict, one)
	t.Hours[cellOf(row.Time.In(t.zone))].add(one)
}

// newHours returns the hours of a week, with how much of each was recorded.
func newHours(since, until time.Time, zone *time.Location, c *querylog.Coverage) []Cell {
	cells := make([]Cell, 7*24)
	for i := range cells {
		cells[i].Weekday, cells[i].Hour = i/24, i%24
	}
	left := make([]time.Duration, len(cells))
	for at := since.In(zone); at.Before(until); {
		next := nextHour(at)
		if next.After(until) {
			next = until
		}
		left[cellOf(at)] += c.RecordedIn(at, next)
		at = next
	}
	for i := range cells {
		cells[i].Recorded = seconds(left[i])
	}
	return cells
}

// cellOf returns the place of a time, in its zone, among the hours of a week.
func cellOf(at time.Time) int { return (int(at.Weekday())+6)%7*24 + at.Hour() }
