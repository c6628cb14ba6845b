package config

import (
	"strings"
	"time"
)

// Recurrence is when something is done again and again: at a time of each day, of a day
// of the week, or of the first day of the month, by the machine's wall clock.
type Recurrence struct {
	Text    string // as written, in lower case and with single spaces
	Every   string // day, week or month; "" for never
	Weekday time.Weekday
	Minutes int // of the day
}

// String returns r as it is written in the file.
func (r Recurrence) String() string { return r.Text }

const recurrenceShape = "daily 06:00, a day of the week such as mon 06:00, or monthly 06:00"

// parseRecurrence reads a day and a time. When it cannot, it returns what was expected.
func parseRecurrence(text string) (r Recurrence, expected string) {
	words := strings.Fields(strings.ToLower(text))
	if len(words) != 2 {
		return r, recurrenceShape
	}
	minutes, ok := parseClock(words[1])
	if !ok || minutes == 24*60 {
		return r, recurrenceShape
	}
	r = Recurrence{Text: strings.Join(words, " "), Minutes: minutes}
	switch words[0] {
	case "daily":
		r.Every = "day"
	case "monthly":
		r.Every = "month"
	default:
		r.Every = "week"
		if r.Weekday, ok = weekday(words[0]); !ok {
			return Recurrence{}, recurrenceShape
		}
	}
	return r, ""
}

// Latest returns the last time it was due, now included, in the zone of now.
func (r Recurrence) Latest(now time.Time) time.Time {
	if at := r.turn(now, 0); !at.After(now) {
		return at
	}
	return r.turn(now, -1)
}

// Next returns the first time at which it is due after now.
func (r Recurrence) Next(now time.Time) time.Time {
	if at := r.turn(now, 0); at.After(now) {
		return at
	}
	return r.turn(now, 1)
}

// turn returns the time that is in the day, week or month of now, or n of them later.
func (r Recurrence) turn(now time.Time, n int) time.Time {
	y, m, d := now.Date()
	switch r.Every {
	case "month":
		m, d = m+time.Month(n), 1
	case "week":
		d += int(r.Weekday-now.Weekday()) + 7*n
	default:
		d += n
	}
	return time.Date(y, m, d, r.Minutes/60, r.Minutes%60, 0, 0, now.Location())
}

// Period returns the whole day, the seven days, or the whole month before the day on
// which it is due.
func (r Recurrence) Period(due time.Time) (since, until time.Time) {
	y, m, d := due.Date()
	at := func(m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, due.Location()) }
	switch r.Every {
	case "month":
		return at(m-1, 1), at(m, 1)
	case "week":
		return at(m, d-7), at(m, d)
	}
	return at(m, d-1), at(m, d)
}
