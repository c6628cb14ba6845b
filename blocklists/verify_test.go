package blocklists

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// overwrite changes each octet of a part of a file, in place.
func overwrite(t *testing.T, path string, from, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	b := make([]byte, n)
	_, err = f.ReadAt(b, from)
	check(t, err)
	for i := range b {
		b[i] ^= 0x55 // another one, whatever it was
	}
	_, err = f.WriteAt(b, from)
	check(t, err)
	check(t, f.Close())
}

func only(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: got %q, %v, want one file", pattern, found, err)
	}
	return found[0]
}

func TestDamagedCompiledFilesAreBuiltAgain(t *testing.T) {
	t.Parallel()
	const most = 60_000 // so many that the rules stay in their file
	for _, test := range []struct {
		name   string
		file   string
		looks  bool
		damage func(t *testing.T, path string, size int64)
		told   string
	}{
		{"names overwritten, found by looking", "names.image", true, func(t *testing.T, path string, size int64) { overwrite(t, path, 100, size-200) }, "cache-damaged names"},
		{"an octet of the names changed", "names.image", true, func(t *testing.T, path string, size int64) { overwrite(t, path, size/2, 1) }, "cache-damaged names"},
		{"names overwritten, found by reading", "names.image", false, func(t *testing.T, path string, size int64) { overwrite(t, path, size/2, size/4) }, "cache-damaged names"},
		{"rules overwritten", "lists/*.rules", true, func(t *testing.T, path string, size int64) { overwrite(t, path, size/2, 100) }, "cache-damaged a"},
		{"rules cut", "lists/*.rules", true, func(t *testing.T, path string, size int64) { check(t, os.Truncate(path, size/2)) }, "cache-damaged a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cache, told := t.TempDir(), &reports{}
			dir := files(t, map[string]string{"a.txt": numbered(most)})
			s := loaded(t, Options{Dir: dir, CacheDir: cache, Report: told.add})
			s.checkCompiled(false)
			if told.has(test.told) {
				t.Fatal("what is whole was found to be damaged")
			}
			path := only(t, filepath.Join(cache, test.file))
			before, err := os.ReadFile(path)
			check(t, err)
			test.damage(t, path, int64(len(before)))
			s.checkCompiled(test.looks)
			if !told.has(test.told) {
				t.Errorf("reported: got %q, want %s", told.all(), test.told)
			}
			for _, ask := range []string{"n0.example", "n1234.example", "n59999.example"} {
				if got, want := s.says(t, ask), "block a "+ask; got != want {
					t.Errorf("afterwards: got %q, want %q", got, want)
				}
			}
			after, err := os.ReadFile(only(t, filepath.Join(cache, test.file)))
			if err != nil || len(after) < len(before)*9/10 || bytes.Equal(after, make([]byte, len(after))) {
				t.Errorf("the file afterwards: got %d octets, %v, want %d", len(after), err, len(before))
			}
			reported := len(told.all())
			s.checkCompiled(false)
			if got := told.all(); len(got) != reported {
				t.Errorf("checked again: reported %q", got[reported:])
			}
		})
	}
}

func TestAllIsReadEachMinuteWhereThatIsCheap(t *testing.T) {
	for _, test := range []struct{ busy, want time.Duration }{
		{0, 50 * time.Second}, // and 10 s at most until the next look
		{500 * time.Millisecond, 50 * time.Second},
		{2 * time.Second, 200 * time.Second}, // as on a card, with too little memory to keep the files
	} {
		if got := untilCheck(test.busy); got != test.want {
			t.Errorf("after %v of reading: got %v, want %v", test.busy, got, test.want)
		}
	}
	s := loaded(t, Options{Dir: files(t, map[string]string{"a.txt": "one.example\n"}), CacheDir: t.TempDir()})
	now := time.Now()
	if due := now.Add(time.Nanosecond); !s.checkIfDue(now, due).Equal(due) {
		t.Error("a look puts the reading off")
	}
	if next := s.checkIfDue(now, now); next.Sub(now) < 50*time.Second {
		t.Errorf("the reading after one is due in %v", next.Sub(now))
	}
}
