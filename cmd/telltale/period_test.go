package main

import (
	"strings"
	"testing"
	"time"

	"errors"
	"github.com/spf13/cobra"
	"regexp"
)

func TestTimesAsPeopleSayThem(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(month time.Month, d, h, m int) time.Time { return time.Date(2026, month, d, h, m, 0, 0, berlin) }
	now := at(11, 28, 9, 30) // a Saturday
	for text, want := range map[string]time.Time{
		"":                     {},
		"now":                  now,
		"09:30":                now,
		"09:29:59":             now.Add(-time.Second),
		"20:10":                at(11, 27, 20, 10),
		"90m":                  at(11, 28, 8, 0),
		"2h":                   at(11, 28, 7, 30),
		"1h30m":                at(11, 28, 8, 0),
		"24 hours ago":         at(11, 27, 9, 30),
		"7d":                   at(11, 21, 9, 30),
		"7 days ago":           at(11, 21, 9, 30),
		"1.5d":                 at(11, 26, 21, 30),
		"2w":                   at(11, 14, 9, 30),
		"3 months":             at(8, 28, 9, 30),
		"today":                at(11, 28, 0, 0),
		"Today 07:00":          at(11, 28, 7, 0),
		"yesterday":            at(11, 27, 0, 0),
		"yesterday 18:00":      at(11, 27, 18, 0),
		"monday":               at(11, 23, 0, 0),
		"mon 18:00":            at(11, 23, 18, 0),
		"Saturday":             at(11, 28, 0, 0),
		"sat 09:30":            now,
		"sat 18:00":            at(11, 21, 18, 0), // today's is still to come
		"tues":                 at(11, 24, 0, 0),
		"2026-11-20":           at(11, 20, 0, 0),
		"2026-11-20 15:04":     at(11, 20, 15, 4),
		"2026-11-20T15:04":     at(11, 20, 15, 4),
		"2026-11-20T15:04:00Z": time.Date(2026, 11, 20, 15, 4, 0, 0, time.UTC),
	} {
		got, err := parseTime(text, now, false)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"25:00", "tomorrow", "mo", "2026-13-01", "2026-11-20 25:00", "-2h", "7 d x", "\x1b[2J", "yesterday noon", "t", "2026-11-20Txx"} {
		got, err := parseTime(text, now, false)
		if err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		} else if strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%q: the error has a control character", text)
		}
	}
}

// A day of the calendar has 23 or 25 hours where clocks are changed; an hour has 60
// minutes always.
func TestTimesWhereClocksAreChanged(t *testing.T) {
	zone := func(name string) *time.Location {
		z, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	berlin, saoPaulo := zone("Europe/Berlin"), zone("America/Sao_Paulo")
	for _, c := range []struct {
		text string
		now  string
		zone *time.Location
		late bool
		want string
	}{
		{"1d", "2026-03-29T12:00:00+02:00", berlin, false, "2026-03-28T12:00:00+01:00"},
		{"24h", "2026-03-29T12:00:00+02:00", berlin, false, "2026-03-28T11:00:00+01:00"},
		{"yesterday", "2026-03-30T12:00:00+02:00", berlin, false, "2026-03-29T00:00:00+01:00"},
		{"today", "2026-03-29T12:00:00+02:00", berlin, false, "2026-03-29T00:00:00+01:00"},
		{"sun 02:30", "2026-03-30T12:00:00+02:00", berlin, false, "2026-03-29T03:00:00+02:00"}, // no clock shows it
		{"2026-10-25 02:30", "2026-10-30T12:00:00+01:00", berlin, false, "2026-10-25T02:30:00+02:00"},
		{"2026-10-25 02:30", "2026-10-30T12:00:00+01:00", berlin, true, "2026-10-25T02:30:00+01:00"},
		{"1d", "2026-10-26T02:30:00+01:00", berlin, false, "2026-10-25T02:30:00+02:00"},
		{"1 month ago", "2026-03-31T12:00:00+02:00", berlin, false, "2026-02-28T12:00:00+01:00"},
		{"2018-11-04", "2018-12-01T12:00:00-02:00", saoPaulo, false, "2018-11-04T01:00:00-02:00"}, // began at one o'clock
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseTime(c.text, now.In(c.zone), c.late)
		if err != nil || got.Format(time.RFC3339) != c.want {
			t.Errorf("%q at %s: got %v, %v, want %s", c.text, c.now, got.Format(time.RFC3339), err, c.want)
		}
	}
}

func TestPeriodsOfFlags(t *testing.T) {
	now := time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		flags, fallback, want string
	}{
		{"", "", "- -"},
		{"", "24h", "27T09:30 -"},
		{"--until=2026-11-20", "24h", "19T00:00 20T00:00"},
		{"--last=7d", "24h", "21T09:30 -"},
		{"--since=7d", "", "21T09:30 -"},
		{"--since=yesterday --until=today", "", "27T00:00 28T00:00"},
		{"--since=yesterday --tz=America/New_York", "", "27T05:00 -"},
		{"--last=7d --since=7d", "", "--last is another way"},
		{"--last=yesterday", "", "no length of time"},
		{"--last=0", "", "no length of time"},
		{"--last=0d", "", "no length of time"},
		{"--since=now", "", "28T09:30 -"}, // from now on
		{"--since=yesterday --until=yesterday", "", "no time is in between"},
		{"--since=today --until=yesterday", "", "is after --until"},
		{"--since=2026-11-29", "", "still to come"},
		{"--tz=Mars/Olympus", "", `no time zone "Mars/Olympus" is known`},
		{"--tz=../../etc/passwd", "", "no time zone"},
		{"--since=soon", "", `"soon" is no time`},
	} {
		var p period
		cmd := &cobra.Command{Use: "x"}
		p.add(cmd, c.fallback)
		if err := cmd.ParseFlags(strings.Fields(c.flags)); err != nil {
			t.Fatal(err)
		}
		since, until, err := p.read(now)
		got := ""
		for _, at := range []time.Time{since, until} {
			if at.IsZero() {
				got += "- "
			} else {
				got += at.UTC().Format("02T15:04 ")
			}
		}
		if got = strings.TrimSpace(got); err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.flags, got, c.want)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"7d", "mon 18:00", "yesterday", "2026-11-20T15:04", "24 hours ago", "15:04"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := parseTime(s, now, false); err == nil && s != "" && at.IsZero() && !strings.Contains(s, "0001-01-01") {
			t.Errorf("%q is the zero time", s)
		}
	})
}

// An error about a period calls it as who asked does: a request has no command line.
func TestWrongPeriodsAreCalledAsTheyWereGiven(t *testing.T) {
	for _, p := range []period{
		{since: "someday"}, {until: "someday"}, {tz: "Nowhere"}, {since: "2126-01-01"}, {since: "2026-03-02", until: "2026-03-02"}, {since: "2026-03-02", until: "2026-03-01"},
	} {
		now := time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC)
		_, _, err := p.read(now)
		if err == nil || !errors.Is(err, errUsage) {
			t.Errorf("%+v: got %v, want a wrong command line", p, err)
		}
		p.api = true
		_, _, err = p.read(now)
		if err == nil || errors.Is(err, errUsage) || !regexp.MustCompile("^(from|until|tz)[: ]").MatchString(err.Error()) {
			t.Errorf("%+v of a request: got %v, want the parameter's name first", p, err)
		}
	}
}

// Of what is past already there must be some time.
func TestAPastPeriodHasALength(t *testing.T) {
	now := time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC)
	for since, wrong := range map[string]bool{"now": true, "0h": true, "1h": false} {
		p := period{since: since}
		if _, _, err := p.readPast(now); (err != nil) != wrong || wrong && !errors.Is(err, errUsage) {
			t.Errorf("%s: got %v", since, err)
		}
	}
}
