package config

import (
	"strconv"
	"strings"
	"time"
)

// Schedule is when in the week something is in force, by the machine's wall
// clock. Without windows it is always.
type Schedule struct {
	Text    string // as written, in lower case and with single spaces
	Windows []Window
}

// Window is a time of day on some days of the week.
type Window struct {
	Days     uint8 // a bit for each day, 1<<time.Weekday
	From, To int   // minutes of the day, up to 24*60; where To is not after From, it is of the next day
}

// String returns s as it is written in the file.
func (s Schedule) String() string { return s.Text }

const (
	everyDay      = 0x7f
	scheduleShape = "days and times such as mon-fri 16:00-20:00, sat 10:00-12:00"
)

// parseSchedule reads windows with commas between them. Each is days and a time:
// days that stand alone are those of the next time ("mon, wed 16:00-18:00"), and
// a single time without days is that of every day. When it cannot, it returns
// what was expected.
func parseSchedule(text string) (s Schedule, expected string) {
	text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
	var days uint8     // of the next time
	pending := ""      // where they stand
	everyDays := false // a time had no days
	parts := strings.Split(text, ",")
	for _, part := range parts {
		for _, word := range strings.Fields(part) {
			if d, ok := parseDays(word); ok {
				days, pending = days|d, word
				continue
			}
			from, to, ok := parseTimes(word)
			switch {
			case !ok:
				return s, scheduleShape
			case from == to:
				return s, "a time that ends later than it begins: for the whole day write 00:00-24:00"
			case days == 0:
				days, everyDays = everyDay, true
			}
			s.Windows = append(s.Windows, Window{Days: days, From: from, To: to})
			days, pending = 0, ""
		}
	}
	switch {
	case pending != "":
		return s, "a time behind " + quote(pending) + ": for the whole day write 00:00-24:00"
	case len(s.Windows) == 0:
		return s, scheduleShape
	case everyDays && len(s.Windows) > 1 && !allEveryDay(s.Windows):
		return s, "days before each time, or before none"
	}
	s.Text = text
	return s, ""
}

func allEveryDay(windows []Window) bool {
	for _, w := range windows {
		if w.Days != everyDay {
			return false
		}
	}
	return true
}

// parseDays reads a day of the week, or a range of them, which may go over the
// end of the week.
func parseDays(word string) (days uint8, ok bool) {
	first, last, ranged := strings.Cut(word, "-")
	from, ok := weekday(first)
	if !ok {
		return 0, false
	}
	to := from
	if ranged {
		if to, ok = weekday(last); !ok {
			return 0, false
		}
	}
	for day := from; ; day = (day + 1) % 7 {
		days |= 1 << day
		if day == to {
			return days, true
		}
	}
}

// weekday reads the name of a day, or its first three letters.
func weekday(word string) (time.Weekday, bool) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		name := strings.ToLower(day.String())
		if word == name || word == name[:3] {
			return day, true
		}
	}
	return 0, false
}

func parseTimes(word string) (from, to int, ok bool) {
	first, last, _ := strings.Cut(word, "-")
	from, ok = parseClock(first)
	if !ok || from == 24*60 {
		return 0, 0, false
	}
	to, ok = parseClock(last)
	return from, to, ok
}

// parseClock reads a time of day, up to 24:00, as minutes.
func parseClock(word string) (minutes int, ok bool) {
	hours, rest, _ := strings.Cut(word, ":")
	if len(hours) < 1 || len(hours) > 2 || len(rest) != 2 || strings.ContainsAny(word, "+-") {
		return 0, false
	}
	h, err := strconv.Atoi(hours)
	m, err2 := strconv.Atoi(rest)
	return h*60 + m, err == nil && err2 == nil && m < 60 && h*60+m <= 24*60
}
