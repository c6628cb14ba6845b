package config

import (
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

func TestObserveEnds(t *testing.T) {
	noon := time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC)
	for _, f := range []struct {
		name string
		o    Observe
		want bool
	}{
		{"off", Observe{}, false},
		{"on", Observe{On: true}, true},
		{"before its end", Observe{On: true, Until: noon.Add(time.Second)}, true},
		{"at its end", Observe{On: true, Until: noon}, false},
	} {
		if got := f.o.At(noon); got != f.want {
			t.Errorf("%s: got %v, want %v", f.name, got, f.want)
		}
	}
}

func TestDiffKnowsWhatNeedsARestart(t *testing.T) {
	was, is := Default(), Default()
	is.Blocking.TTL = time.Minute
	is.Data.Dir = "/srv"
	is.Devices = []Device{{Name: "tv"}}
	live, restart := Diff(was, is)
	if len(live) != 2 || live[0] != "blocking.ttl" || live[1] != "devices" || len(restart) != 1 || restart[0] != "data.dir" {
		t.Errorf("got live %v, restart %v", live, restart)
	}
}
