package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestATemplateEndsWithItsCommand(t *testing.T) {
	for name, want := range map[string]string{"opt-out": "--device DEVICE [--vendor VENDOR]\n", "side-by-side": "--device DEVICE --device OTHER [--vendor VENDOR]\n"} {
		c, err := templateNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := (&cli{out: &out}).showTemplate(c); err != nil || !strings.Contains(out.String(), "--template "+name+" "+want) || strings.Contains(out.String(), "its maker") {
			t.Errorf("%s: %v, got\n%s", name, err, out.String())
		}
	}
}

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
