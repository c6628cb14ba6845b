package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones by name also where the machine has none

	"github.com/spf13/cobra"
)

// A period is the flags that say which time is meant, and in which zone.
type period struct {
	since, until, last, tz string

	fallback string         // of since, where neither it nor last is given
	api      bool           // they are parameters of the API, and not flags
	zone     *time.Location // in which times are read and shown; set by read
}

func (p *period) add(c *cobra.Command, fallback string) {
	p.fallback = fallback
	since := `from then on: 2h, 7d, yesterday, "mon 18:00", 15:04, 2006-01-02 or RFC 3339`
	if fallback != "" {
		since += " (default " + fallback + ")"
	}
	f := c.Flags()
	f.StringVar(&p.since, "since", "", since)
	f.StringVar(&p.until, "until", "", "until then; a day without a time is its beginning")
	f.StringVar(&p.last, "last", "", "another way to write --since: 24h, 7d, 2w")
	f.StringVar(&p.tz, "tz", "", "the zone in which times are meant and shown, such as Europe/Berlin (default: the machine's)")
	complete(c, "since", "24h", "7d", "30d", "today", "yesterday", "monday")
	complete(c, "until", "today", "yesterday", "1h")
	complete(c, "last", "24h", "7d", "30d")
}

// name returns what errors call a flag: of the API, --since is from.
func (p *period) name(flag string) string {
	switch {
	case !p.api:
		return "--" + flag
	case flag == "since":
		return "from"
	}
	return flag
}

// wrong returns an error of a period: the API has no command line.
func (p *period) wrong(format string, args ...any) error {
	if p.api {
		return fmt.Errorf(format, args...)
	}
	return usage(format, args...)
}

// read returns the times that the flags mean; zero where there is no bound.
func (p *period) read(now time.Time) (since, until time.Time, err error) {
	if p.zone, err = parseZone(p.tz); err != nil {
		return since, until, p.wrong("%s: %v", p.name("tz"), err)
	}
	now = now.In(p.zone)
	if until, err = parseTime(p.until, now, true); err != nil {
		return since, until, p.wrong("%s: %v", p.name("until"), err)
	}
	switch {
	case p.last != "" && p.since != "":
		return since, until, p.wrong("--last is another way to write --since: give one of them")
	case p.last != "":
		if length, ok := parseSpan(p.last); !ok || length == (span{}) {
			return since, until, p.wrong("--last: %q is no length of time; 24h, 7d and 2w are", p.last)
		}
		since, err = parseTime(p.last, now, false)
	case p.since != "":
		since, err = parseTime(p.since, now, false)
	case p.fallback != "":
		end := now
		if !until.IsZero() {
			end = until
		}
		since, err = parseTime(p.fallback, end, false)
	}
	if err != nil {
		return since, until, p.wrong("%s: %v", p.name("since"), err)
	}
	return since, until, p.check(since, until, now)
}

// readPast returns the same, of what can be recorded already: until is at most now.
func (p *period) readPast(now time.Time) (since, until time.Time, err error) {
	since, until, err = p.read(now)
	if until.IsZero() || until.After(now) {
		until = now
	}
	if err == nil {
		err = p.check(since, until, now)
	}
	return since, until, err
}

func (p *period) check(since, until, now time.Time) error {
	text := func(t time.Time) string { return t.In(p.zone).Format("2006-01-02 15:04:05 MST") }
	switch {
	case since.After(now):
		return p.wrong("%s: %s is still to come", p.name("since"), text(since))
	case until.IsZero() || since.Before(until):
		return nil
	case since.Equal(until):
		return p.wrong("%s and %s are both %s: no time is in between. A day without a time is its beginning, so the end of a day is the next day", p.name("since"), p.name("until"), text(since))
	}
	return p.wrong("%s (%s) is after %s (%s)", p.name("since"), text(since), p.name("until"), text(until))
}

// parseZone reads the name of a time zone; "" is the machine's.
func parseZone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "local") {
		return time.Local, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("no time zone %q is known; Europe/Berlin, America/New_York and UTC are", printable(name))
	}
	return zone, nil
}

// zoneName returns a zone's name as --tz takes it, or as clocks show it where it is
// the machine's and has none.
func zoneName(zone *time.Location, at time.Time) string {
	if name := zone.String(); name != "Local" {
		return name
	}
	if name := os.Getenv("TZ"); name != "" {
		if _, err := time.LoadLocation(name); err == nil {
			return name
		}
	}
	if path, err := os.Readlink("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(path, "/zoneinfo/"); ok {
			return name
		}
	}
	name, _ := at.In(zone).Zone()
	return name
}

// A span is a length of time as people say it. Days, weeks and months are those of
// the calendar: where clocks are changed, a day has 23 or 25 hours.
type span struct {
	days, months int
	exact        time.Duration
}

var spanPattern = regexp.MustCompile(`^(\d+) ?(min|minutes?|hours?|d|days?|w|weeks?|months?)$`)

func parseSpan(s string) (span, bool) {
	s = strings.TrimSuffix(s, " ago")
	if m := spanPattern.FindStringSubmatch(s); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > 100_000 {
			return span{}, false
		}
		switch {
		case strings.HasPrefix(m[2], "min"):
			return span{exact: time.Duration(n) * time.Minute}, true
		case m[2][0] == 'h':
			return span{exact: time.Duration(n) * time.Hour}, true
		case m[2][0] == 'd':
			return span{days: n}, true
		case m[2][0] == 'w':
			return span{days: 7 * n}, true
		}
		return span{months: n}, true
	}
	age, err := parseAge(s)
	return span{exact: age}, err == nil && age >= 0
}

// before returns the time that is so long before t.
func (s span) before(t time.Time) time.Time {
	if s.days != 0 || s.months != 0 {
		y, m, d := t.Date()
		if s.months != 0 { // the last day of a month stays the last one: no 31 June becomes 1 July
			last := time.Date(y, m-time.Month(s.months)+1, 0, 0, 0, 0, 0, time.UTC).Day()
			m, d = m-time.Month(s.months), min(d, last)
		}
		t = wallTime(y, m, d-s.days, time.Duration(t.Hour())*time.Hour+time.Duration(t.Minute())*time.Minute+time.Duration(t.Second())*time.Second+time.Duration(t.Nanosecond()),
			t.Location(), false)
	}
	return t.Add(-s.exact)
}

// parseTime reads a point in time as people say it: a length of time before now, a
// day, a time of day, both, or RFC 3339. What could be several is the last one that
// is not after now. A day is its beginning; of a time that a clock shows twice, late
// says whether the second is meant. "" is no time.
func parseTime(s string, now time.Time, late bool) (time.Time, error) {
	word := strings.Join(strings.Fields(strings.ToLower(s)), " ")
	if word == "" {
		return time.Time{}, nil
	}
	if word == "now" {
		return now, nil
	}
	if span, ok := parseSpan(word); ok {
		return span.before(now), nil
	}
	if t, err := time.Parse(time.RFC3339, strings.TrimSpace(s)); err == nil {
		return t.In(now.Location()), nil
	}
	day, clock, _ := strings.Cut(strings.Replace(word, "t", " ", dateHasT(word)), " ")
	if clock == "" && strings.Contains(day, ":") {
		day, clock = "", day
	}
	at, err := parseClock(clock)
	if err != nil {
		return time.Time{}, notATime(s)
	}
	y, m, d := now.Date()
	wall := func(d int) time.Time { return wallTime(y, m, d, at, now.Location(), late) }
	switch day {
	case "today":
		return wall(d), nil
	case "yesterday":
		return wall(d - 1), nil
	case "":
		return lastNotAfter(now, wall(d), wall(d-1)), nil
	}
	if weekday, ok := parseWeekday(day); ok {
		d -= (int(now.Weekday()) - int(weekday) + 7) % 7
		return lastNotAfter(now, wall(d), wall(d-7)), nil
	}
	date, err := time.Parse("2006-01-02", day)
	if err != nil {
		return time.Time{}, notATime(s)
	}
	y, m, d = date.Date()
	return wall(d), nil
}

func notATime(s string) error {
	return fmt.Errorf("%q is no time; 2h, 7d, yesterday, \"mon 18:00\", 15:04, 2006-01-02 and RFC 3339 are", printable(s))
}

// dateHasT is how many letters t stand between a date and a time: 1 or 0.
func dateHasT(word string) int {
	if len(word) > 10 && word[10] == 't' && word[4] == '-' {
		return 1
	}
	return 0
}

func lastNotAfter(now, t, before time.Time) time.Time {
	if t.After(now) {
		return before
	}
	return t
}

// parseClock reads a time of day as the time since midnight; "" is midnight.
func parseClock(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		t, err = time.Parse("15:04:05", s)
	}
	return t.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)), err
}

func parseWeekday(s string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := strings.ToLower(d.String()); s == name || len(s) >= 3 && strings.HasPrefix(name, s) {
			return d, true
		}
	}
	return 0, false
}

// wallTime returns when clocks of a zone show a time of a day. Of a time that they
// show twice it is the first, or with late the second; of one that they pass over,
// the moment at which they are set forward.
func wallTime(y int, m time.Month, d int, clock time.Duration, zone *time.Location, late bool) time.Time {
	shown := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Add(clock)
	offset := func(t time.Time) time.Duration {
		_, seconds := t.In(zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	before, after := offset(shown.Add(-24*time.Hour)), offset(shown.Add(24*time.Hour))
	first, second := shown.Add(-before).In(zone), shown.Add(-after).In(zone)
	shows := func(t time.Time) bool { return offset(t) == shown.Sub(t) }
	switch {
	case shows(first) && (!late || !shows(second)):
		return first
	case shows(second):
		return second
	}
	change, _ := first.ZoneBounds()
	return change
}
