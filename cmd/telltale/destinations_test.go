package main

import (
	"testing"
	"time"
)

func TestWhenNamesAreDueAtNight(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	for now, want := range map[string]string{
		"2026-11-28 03:16": "2026-11-27 03:17",
		"2026-11-28 03:17": "2026-11-28 03:17",
		"2026-11-28 23:59": "2026-11-28 03:17",
		"2026-11-01 00:00": "2026-10-31 03:17",
		"2026-10-25 03:30": "2026-10-25 03:17", // the night in which the clock is set back
	} {
		at, err := time.ParseInLocation("2006-01-02 15:04", now, berlin)
		if err != nil {
			t.Fatal(err)
		}
		if got := nightBefore(at).Format("2006-01-02 15:04"); got != want {
			t.Errorf("%s: got %s, want %s", now, got, want)
		}
	}
}
