package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type change struct {
	c   *Config
	err error
}

// follow starts Watch on file, and returns what Load makes of it after each
// change.
func follow(t *testing.T, file string) <-chan change {
	t.Helper()
	first, err := Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan change, 100), make(chan struct{})
	go func() {
		defer close(done)
		Watch(ctx, file, nil, first, nil, nil, func() {
			c, err := Load(file, nil, nil)
			changes <- change{c, err}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return changes
}

func next(t *testing.T, changes <-chan change) change {
	t.Helper()
	select {
	case got := <-changes:
		return got
	case <-time.After(30 * time.Second): // the poll, three times
		t.Fatal("no change was reported")
		return change{}
	}
}

func TestAnEditBeforeTheWatchBeginsIsReported(t *testing.T) {
	file := filepath.Join(t.TempDir(), "telltale.yaml")
	for _, text := range []string{"node: before", "node: after"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := build(file, []byte("node: before"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second) // less than the poll
	defer cancel()
	reported := false
	Watch(ctx, file, nil, old, nil, nil, func() { reported = true; cancel() })
	if !reported {
		t.Error("an edit between reading and watching was not reported")
	}
}

func TestWaysToChangeTheFile(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []struct {
		name string
		edit func(t *testing.T, dir, file, text string)
	}{
		{"in place", func(t *testing.T, dir, file, text string) { write(t, file, text) }},
		{"by a rename over it", func(t *testing.T, dir, file, text string) {
			write(t, file+"~", text)
			if err := os.Rename(file+"~", file); err != nil {
				t.Fatal(err)
			}
		}},
		{"by removing and writing it anew", func(t *testing.T, dir, file, text string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			write(t, file, text)
		}},
		{"by a link to another directory", func(t *testing.T, dir, file, text string) {
			elsewhere := t.TempDir()
			write(t, filepath.Join(elsewhere, "new"), text)
			if err := os.Symlink(filepath.Join(elsewhere, "new"), file+"~"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(file+"~", file); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "telltale.yaml")
		write(t, file, "node: before")
		changes := follow(t, file)
		f.edit(t, dir, file, "node: after")
		if got := next(t, changes); got.err != nil || got.c.Node != "after" {
			t.Errorf("%s: got %+v", f.name, got)
		}
	}
}

func TestAConfigMapIsSwapped(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "telltale.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "node: one")
	file := filepath.Join(dir, "telltale.yaml")
	if err := os.Symlink("..data/telltale.yaml", file); err != nil {
		t.Fatal(err)
	}
	changes := follow(t, file)
	for _, name := range []string{"two", "three"} {
		version(".."+name, "node: "+name)
		if got := next(t, changes); got.err != nil || got.c.Node != name {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestABrokenFileChangesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "telltale.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("node: one")
	changes := follow(t, file)

	write("nod: two")
	if got := next(t, changes); got.c != nil || got.err == nil || !strings.Contains(got.err.Error(), "did you mean node?") {
		t.Errorf("broken: got %+v", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := next(t, changes); got.c != nil || got.err == nil || !strings.Contains(got.err.Error(), "no such file") {
		t.Errorf("gone: got %+v", got)
	}
	write("node: three")
	if got := next(t, changes); got.err != nil || got.c.Node != "three" {
		t.Errorf("repaired: got %+v", got)
	}
	if len(changes) != 0 {
		t.Errorf("got %d changes more, want none", len(changes))
	}
}
