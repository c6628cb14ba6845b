package main

import (
	"strings"
	"testing"
)

// The help of a command lists its flags and those of the settings that each command has; the help of
// serve has all settings.
func TestHelpListsFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct {
		args  []string
		want  []string
		never []string
	}{
		{[]string{"report", "--help"}, []string{"Usage:\n  telltale report", "\nFlags:\n", "--since", "\nSettings:\n", "--data-dir", "lists the other settings"}, []string{"--lists-dir", "[=true|false]"}},
		{[]string{"serve", "--help"}, []string{"\nSettings:\n", "--data-dir", "--lists-dir"}, []string{"lists the other settings", "[=true|false]"}},
		{[]string{"lists", "--help"}, []string{"\nCommands:\n", "accept", "\nSettings:\n"}, []string{"--lists-dir"}},
	} {
		out, exit := commandIn(t, dir, c.args...)
		if exit != 0 {
			t.Errorf("%v: exit status %d", c.args, exit)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: %q is not in\n%s", c.args, want, out)
			}
		}
		for _, never := range c.never {
			if strings.Contains(out, never) {
				t.Errorf("%v: %q is in\n%s", c.args, never, out)
			}
		}
	}
}

// Commands that only have others below them refuse what is none of those.
func TestGroupsOfCommandsRefuseOtherWords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, group := range []string{"fleet", "experiment", "token", "web", "evidence"} {
		out, exit := commandIn(t, dir, group, "foobarbaz")
		if want := "'telltale " + group + "' has no command \"foobarbaz\""; exit != 2 || !strings.Contains(out, want) {
			t.Errorf("%s foobarbaz: got exit status %d and %q, want 2 and %q", group, exit, out, want)
		}
		out, exit = commandIn(t, dir, group)
		if exit != 0 || !strings.Contains(out, "Usage:\n  telltale "+group+" [command]\n") {
			t.Errorf("%s: got exit status %d and\n%s", group, exit, out)
		}
	}
	out, exit := commandIn(t, dir, "fleet", "stauts")
	if want := `did you mean "status"?`; exit != 2 || !strings.Contains(out, want) {
		t.Errorf("fleet stauts: got exit status %d and %q, want 2 and %q", exit, out, want)
	}
}
