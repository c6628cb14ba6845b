package config

import (
	"testing"
	"time"
)

func TestRecurrences(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		t.Helper()
		when, err := time.ParseInLocation("2006-01-02 15:04", text, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, c := range []struct{ text, now, latest, next, since, until string }{
		{"daily 06:00", "2026-11-25 06:00", "2026-11-25 06:00", "2026-11-26 06:00", "2026-11-24 00:00", "2026-11-25 00:00"},
		{"Daily  6:00", "2026-11-25 05:59", "2026-11-24 06:00", "2026-11-25 06:00", "2026-11-23 00:00", "2026-11-24 00:00"},
		{"mon 07:30", "2026-11-23 07:29", "2026-11-16 07:30", "2026-11-23 07:30", "2026-11-09 00:00", "2026-11-16 00:00"},
		{"monday 07:30", "2026-11-29 23:59", "2026-11-23 07:30", "2026-11-30 07:30", "2026-11-16 00:00", "2026-11-23 00:00"},
		{"sun 00:00", "2026-11-25 12:00", "2026-11-22 00:00", "2026-11-29 00:00", "2026-11-15 00:00", "2026-11-22 00:00"},
		{"monthly 00:05", "2026-01-01 00:04", "2025-12-01 00:05", "2026-01-01 00:05", "2025-11-01 00:00", "2025-12-01 00:00"},
		{"monthly 00:05", "2026-03-31 12:00", "2026-03-01 00:05", "2026-04-01 00:05", "2026-02-01 00:00", "2026-03-01 00:00"},
		{"daily 12:00", "2026-03-29 13:00", "2026-03-29 12:00", "2026-03-30 12:00", "2026-03-28 00:00", "2026-03-29 00:00"}, // clocks are set forward
		{"daily 00:00", "2026-10-26 00:30", "2026-10-26 00:00", "2026-10-27 00:00", "2026-10-25 00:00", "2026-10-26 00:00"}, // a day of 25 hours
	} {
		r, expected := parseRecurrence(c.text)
		if expected != "" {
			t.Errorf("%s: expected %s", c.text, expected)
			continue
		}
		if got := r.Latest(at(c.now)); !got.Equal(at(c.latest)) {
			t.Errorf("%s at %s: latest %s, want %s", c.text, c.now, got, c.latest)
		}
		if got := r.Next(at(c.now)); !got.Equal(at(c.next)) {
			t.Errorf("%s at %s: next %s, want %s", c.text, c.now, got, c.next)
		}
		since, until := r.Period(r.Latest(at(c.now)))
		if !since.Equal(at(c.since)) || !until.Equal(at(c.until)) {
			t.Errorf("%s at %s: of %s to %s, want %s to %s", c.text, c.now, since, until, c.since, c.until)
		}
	}
	for _, text := range []string{"", "daily", "06:00", "daily 24:00", "daily 6", "hourly 06:00", "mon-fri 06:00", "mon 06:00 tue 07:00", "daily 25:00"} {
		if r, expected := parseRecurrence(text); expected == "" {
			t.Errorf("%q was read as %+v", text, r)
		}
	}
}
