package main

import (
	"testing"
	"time"
)

func TestATimeOfDayIsThePastOne(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 3, 1, 9, 30, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"09:30":                time.Date(2026, 3, 1, 9, 30, 0, 0, zone),
		"09:29:59":             time.Date(2026, 3, 1, 9, 29, 59, 0, zone),
		"20:10":                time.Date(2026, 2, 28, 20, 10, 0, 0, zone),
		"2h":                   time.Date(2026, 3, 1, 7, 30, 0, 0, zone),
		"7d":                   time.Date(2026, 2, 22, 9, 30, 0, 0, zone),
		"2026-02-27":           time.Date(2026, 2, 27, 0, 0, 0, 0, zone),
		"2026-02-27 15:04":     time.Date(2026, 2, 27, 15, 4, 0, 0, zone),
		"2026-02-27T15:04:05Z": time.Date(2026, 2, 27, 15, 4, 5, 0, time.UTC),
		"":                     {},
	} {
		got, err := parseTime(text, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"25:00", "yesterday", "7 d"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestAPartOfANameInAnyScript(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "",
		"Tracker.Example.":   "tracker.example",
		"track":              "track",
		"*.example":          "*.example",
		"münchen.example":    "xn--mnchen-3ya.example",
		"*.MÜNCHEN.example":  "*.xn--mnchen-3ya.example",
		"телеметрия.example": "xn--e1aaammh3akf6k.example",
	} {
		if got, err := parseNamePart(text); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	if got, err := parseNamePart("mün*.example"); err == nil {
		t.Errorf("got %q for a half label, want an error", got)
	}
}
