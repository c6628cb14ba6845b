package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// contents returns what is in a directory, by name; "" for a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	all := map[string]string{}
	for _, e := range entries {
		text, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		all[e.Name()] = string(text)
	}
	return all
}

func TestAFileIsReplacedWhole(t *testing.T) {
	for name, write := range map[string]func(string, []byte, os.FileMode) error{"Write": Write, "Replace": Replace} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a")
		check(t, write(path, []byte("one"), 0o600))
		old, err := os.Open(path)
		check(t, err)
		defer old.Close()
		check(t, write(path, []byte("two, longer"), 0o664))
		if got := contents(t, dir); len(got) != 1 || got["a"] != "two, longer" {
			t.Errorf("%s: got %q", name, got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o664 {
			t.Errorf("%s: got mode %v, %v, whatever the umask is", name, info.Mode(), err)
		}
		b := make([]byte, 20)
		if n, _ := old.Read(b); string(b[:n]) != "one" {
			t.Errorf("%s: who has the old file open reads %q", name, b[:n])
		}
	}
}

func TestWhatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	check(t, os.MkdirAll(filepath.Join(path, "below"), 0o755)) // no file can take its place
	if err := Replace(path, []byte("x"), 0o644); err == nil {
		t.Error("a directory was replaced")
	}
	if err := Write(filepath.Join(dir, "missing", "a"), []byte("x"), 0o644); err == nil {
		t.Error("a file was written in a directory that is not there")
	}
	f, err := Create(dir)
	check(t, err)
	if err := Rename(f, path); err == nil {
		t.Error("Rename replaced a directory")
	}
	if _, err := f.Write([]byte("x")); err != nil {
		t.Errorf("Rename closed the file: %v", err)
	}
	f.Close()
	if err := Commit(f, filepath.Join(dir, "closed")); err == nil {
		t.Error("a file was committed that could not be synced")
	}
	f, err = Create(dir)
	check(t, err)
	Discard(f)
	if got := contents(t, dir); len(got) != 1 {
		t.Errorf("files are left: %q", got)
	}
}

func TestAFileInTheMakingIsForItsUserAlone(t *testing.T) {
	f, err := Create(t.TempDir())
	check(t, err)
	defer Discard(f)
	if info, err := f.Stat(); err != nil || info.Mode() != 0o600 {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
}

func TestUnfinishedFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir) // as a process leaves it that is killed
	check(t, err)
	f.Close()
	check(t, os.WriteFile(filepath.Join(dir, "kept.new-1"), nil, 0o644))
	RemoveUnfinished(dir, time.Minute)
	if got := contents(t, dir); len(got) != 2 {
		t.Errorf("what may be in the making was removed: %q is left", got)
	}
	old := time.Now().Add(-time.Hour)
	check(t, os.Chtimes(f.Name(), old, old))
	RemoveUnfinished(dir, time.Minute)
	if got := contents(t, dir); len(got) != 1 {
		t.Errorf("got %q, want what has another name alone", got)
	}
	RemoveUnfinished(filepath.Join(dir, "missing"), 0) // there is nothing to remove
}
