package config

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBytesAreWrittenAsTheyAreRead(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "1": 1, "999": 999, "64MB": 64e6, "64MiB": 64 << 20, "1GiB": 1 << 30, "3TB": 3e12, "7kB": 7e3,
	} {
		got, ok := parseBytes(text)
		if !ok || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, ok, want)
		}
		if got.String() != text {
			t.Errorf("%s: written as %s", text, got)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1e3", "0x10", "inf", "nan", "1_000", "99999999999TB", "1 M"} {
		if got, ok := parseBytes(text); ok {
			t.Errorf("%q: got %d, want none", text, got)
		}
	}
}

func TestDurationsAreWrittenAsTheyAreRead(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "10s": 10 * time.Second, "5m": 5 * time.Minute, "24h": 24 * time.Hour, "365d": 365 * 24 * time.Hour, "90m": 90 * time.Minute,
	} {
		got, ok := parseDuration(text)
		if !ok || got != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, ok, want)
		}
		back, ok := parseDuration(formatDuration(got))
		if !ok || back != got {
			t.Errorf("%s: written as %s, which is %s", text, formatDuration(got), back)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "1d-1h", "+1h", "5", "106752d", "106751d24h"} {
		if got, ok := parseDuration(text); ok {
			t.Errorf("%q: got %s, want none", text, got)
		}
	}
}

func TestParseSchedule(t *testing.T) {
	const weekdays = 1<<time.Monday | 1<<time.Tuesday | 1<<time.Wednesday | 1<<time.Thursday | 1<<time.Friday
	for text, want := range map[string][]Window{
		"mon-fri 16:00-20:00, sat 10:00-12:00": {{weekdays, 16 * 60, 20 * 60}, {1 << time.Saturday, 10 * 60, 12 * 60}},
		" Mon-Fri  16:00-20:00 ":               {{weekdays, 16 * 60, 20 * 60}},
		"22:00-06:00":                          {{everyDay, 22 * 60, 6 * 60}},
		"8:00-9:30, 12:00-13:00":               {{everyDay, 8 * 60, 9*60 + 30}, {everyDay, 12 * 60, 13 * 60}},
		"mon, wed 16:00-18:00":                 {{1<<time.Monday | 1<<time.Wednesday, 16 * 60, 18 * 60}},
		"monday wednesday 16:00-18:00":         {{1<<time.Monday | 1<<time.Wednesday, 16 * 60, 18 * 60}},
		"fri-mon 00:00-24:00":                  {{1<<time.Friday | 1<<time.Saturday | 1<<time.Sunday | 1<<time.Monday, 0, 24 * 60}},
		"sun-sat 20:00-24:00":                  {{everyDay, 20 * 60, 24 * 60}},
	} {
		got, expected := parseSchedule(text)
		if expected != "" || !slices.Equal(got.Windows, want) {
			t.Errorf("%q: got %v, expected %q, want %v", text, got.Windows, expected, want)
		}
		if again, _ := parseSchedule(got.String()); !slices.Equal(again.Windows, want) {
			t.Errorf("%q: written as %q it is another", text, got)
		}
	}
	for text, want := range map[string]string{
		"":                                 scheduleShape,
		"evenings":                         scheduleShape,
		"mon 25:00-26:00":                  scheduleShape,
		"mon 16:00":                        scheduleShape,
		"mon 16-20":                        scheduleShape,
		"mon 16:00-20:60":                  scheduleShape,
		"mon 24:00-06:00":                  scheduleShape,
		"mon -1:00-06:00":                  scheduleShape,
		"mon-fry 16:00-20:00":              scheduleShape,
		"mon 16:00-16:00":                  "a time that ends later than it begins: for the whole day write 00:00-24:00",
		"mon-fri 16:00-20:00, sat":         `a time behind "sat": for the whole day write 00:00-24:00`,
		"mon 16:00-18:00, 19:00-20:00":     "days before each time, or before none",
		"22:00-06:00, sat-sun 00:00-24:00": "days before each time, or before none",
	} {
		if got, expected := parseSchedule(text); expected != want {
			t.Errorf("%q: got %v, expected %q, want %q", text, got.Windows, expected, want)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	f.Add("mon-fri 16:00-20:00, sat 10:00-12:00")
	f.Add("22:00-06:00")
	f.Fuzz(func(t *testing.T, text string) {
		s, expected := parseSchedule(text)
		if expected != "" {
			return
		}
		if len(s.Windows) == 0 {
			t.Error("a schedule without windows is one that is always in force")
		}
		for _, w := range s.Windows {
			if w.Days == 0 || w.Days > everyDay || w.From < 0 || w.From >= 24*60 || w.To < 0 || w.To > 24*60 || w.From == w.To {
				t.Errorf("%q: got %+v", text, w)
			}
		}
		if again, expected := parseSchedule(s.String()); expected != "" || !slices.Equal(again.Windows, s.Windows) {
			t.Errorf("%q: written as %q it is another", text, s)
		}
	})
}

func TestDiffKnowsWhatNeedsARestart(t *testing.T) {
	was, is := withDefaults(), withDefaults()
	is.Blocking.TTL = time.Minute
	is.Data.Dir = "/srv"
	is.Devices = []Device{{Name: "tv"}}
	live, restart := Diff(was, is)
	if len(live) != 2 || live[0] != "blocking.ttl" || live[1] != "devices" || len(restart) != 1 || restart[0] != "data.dir" {
		t.Errorf("got live %v, restart %v", live, restart)
	}
}

// formatDuration returns d as it is written in the file: "365d", "24h", "10s".
func formatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d > day && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	case d == 0:
		return "0"
	}
	text := d.String()
	text = strings.TrimSuffix(text, "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(text, "m0s")]
	return strings.TrimSuffix(text, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(text, "h0m")]
}
