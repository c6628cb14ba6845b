package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestStepsAreDoneAsAnswered has a step that is meant to be done, and one of what only --purge
// or a person's own answer removes.
func TestStepsAreDoneAsAnswered(t *testing.T) {
	for _, c := range []struct {
		flags, typed, done string
	}{
		{"yes", "", "plain"},
		{"yes purge", "", "plain kept"},
		{"dry", "", ""},
		{"dry purge", "", ""},
		{"dry yes", "", ""},
		{"", "\n\n", "plain"},
		{"", "n\ny\n", "kept"},
		{"", "y\nn\n", "plain"},
		{"purge", "\n\n", "plain kept"},
	} {
		var out bytes.Buffer
		var done []string
		do := func(what string) func(context.Context) error {
			return func(context.Context) error { done = append(done, what); return nil }
		}
		cl := &cli{in: strings.NewReader(c.typed), out: &out, err: &out}
		has := func(flag string) bool { return strings.Contains(c.flags, flag) }
		in := &installer{cl: cl, dry: has("dry"), yes: has("yes"), purge: has("purge"), questions: questioner{in: cl.in, out: cl.out}}
		if err := in.run(context.Background(), []step{{"Do it?", false, do("plain")}, {"Remove it?", true, do("kept")}}); err != nil {
			t.Errorf("%q: %v", c.flags, err)
		}
		if got := strings.Join(done, " "); got != c.done {
			t.Errorf("%q, %q typed: done %q, want %q\n%s", c.flags, c.typed, got, c.done, out.String())
		}
	}
}
