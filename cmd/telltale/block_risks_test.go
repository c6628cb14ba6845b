package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestABlockThatBreaksMuchIsAskedFor(t *testing.T) {
	for typed, want := range map[string]int{"y\n": 0, "n\n": 1, "\n": 1, "what\nYES\n": 0} {
		dir := t.TempDir()
		var out bytes.Buffer
		exit := commandWith(context.Background(), strings.NewReader(typed), []string{"block", "google.com", "--data-dir", dir, "--lists-dir", dir},
			&out, &out, []string{"XDG_RUNTIME_DIR=" + dir})
		if exit != want || !strings.Contains(out.String(), "a whole domain of Google") {
			t.Errorf("%q: exit status %d, want %d\n%s", typed, exit, want, out.String())
		}
	}
}
