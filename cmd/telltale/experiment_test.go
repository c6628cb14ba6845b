package main

import (
	"testing"
	"time"
)

func TestLengthsOfPhases(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"}, {30 * time.Second, "30s"}, {5 * time.Minute, "5m"}, {10 * time.Minute, "10m"}, {30 * time.Minute, "30m"},
		{90 * time.Minute, "1h30m"}, {10 * time.Hour, "10h"}, {48 * time.Hour, "48h"}, {90 * time.Second, "1m30s"}, {time.Hour + 10*time.Second, "1h0m10s"},
	} {
		if got := spanText(c.d); got != c.want {
			t.Errorf("%v: got %q, want %q", c.d, got, c.want)
		}
	}
}
