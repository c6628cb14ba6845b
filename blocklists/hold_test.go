package blocklists

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A clock is set by hand.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// numbered returns a list of n names.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "n%d.example\n", i)
	}
	return b.String()
}

func (s *Store) of(t testing.TB, list string) ListStatus {
	t.Helper()
	for _, st := range s.Status() {
		if st.Name == list {
			return st
		}
	}
	t.Fatalf("no list %s", list)
	return ListStatus{}
}

// loaded opens a store that reloads only when told to.
func loaded(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := load(o, true)
	check(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		fact    string
		before  int // rules
		file    string
		becomes string // "-" for removed
		held    bool
	}{
		{"a large list that becomes empty is held", 100, "a.txt", "", true},
		{"a large list that becomes HTML is held", 100, "a.txt", "<!DOCTYPE html><html><body>n1.example</body></html>\n", true},
		{"a large list that becomes binary is held", 100, "a.txt", "\x7fELF\x00\x01\x02\x00\x00\x00\x00\x00", true},
		{"a large list of only comments is obeyed", 100, "a.txt", "# nothing today\n", false},
		{"a large list that is removed is obeyed", 100, "a.txt", "-", false},
		{"a large list that shrinks is obeyed", 1000, "a.txt", "other.example\n", false},
		{"a small list that becomes empty is held", 1, "a.txt", "", true},
		{"a small list that becomes HTML is held", 3, "a.txt", "<!DOCTYPE html><html><body>n1.example</body></html>\n", true},
		{"a small list that becomes JSON is held", 3, "a.txt", "{\"n1.example\": 1}\n", true},
		{"a small list that becomes zeros is held", 3, "a.txt", "\x00\x00\x00\x00\x00\x00\x00\x00", true},
		{"a small list of only comments is obeyed", 3, "a.txt", "# nothing today\n", false},
		{"the user's own file is obeyed when empty", 100, "own.txt", "", false},
	} {
		t.Run(c.fact, func(t *testing.T) {
			clk, told := newClock(), &reports{}
			dir := files(t, map[string]string{c.file: numbered(c.before)})
			path, list := filepath.Join(dir, c.file), ListName(c.file)
			s := loaded(t, Options{Dir: dir, CacheDir: t.TempDir(), Now: clk.now, Report: told.add})
			if c.becomes == "-" {
				check(t, os.Remove(path))
			} else {
				write(t, path, c.becomes)
			}
			s.reload()
			inForce := strings.HasPrefix(s.says(t, "n0.example"), "block")
			if inForce != c.held {
				t.Fatalf("at once: old rules in force: got %v, want %v", inForce, c.held)
			}
			if told.has("list-held " + list) {
				t.Fatal("held before an editor had its 2 s")
			}
			clk.advance(2 * time.Second)
			s.reload()
			if got := told.has("list-held " + list); got != c.held {
				t.Errorf("held: got %v, want %v", got, c.held)
			}
			if !c.held {
				return
			}
			if s.of(t, list).Held == "" {
				t.Error("the status does not say that it is held")
			}
			write(t, path, numbered(c.before+1))
			s.reload()
			if !told.has("list-recovered "+list) || s.of(t, list).Held != "" {
				t.Error("repaired, and still held")
			}
			if got, want := s.of(t, list).Added, 1; got != want {
				t.Errorf("added: got %d, want %d", got, want)
			}
		})
	}
}

func TestHeldListIsAccepted(t *testing.T) {
	clk, told := newClock(), &reports{}
	dir, cache := files(t, map[string]string{"a.txt": numbered(200)}), t.TempDir()
	o := Options{Dir: dir, CacheDir: cache, Now: clk.now, Report: told.add}
	s := loaded(t, o)
	if err := s.Accept("a"); err == nil {
		t.Error("a list that is not held was accepted")
	}
	write(t, filepath.Join(dir, "a.txt"), "")
	s.reload()
	clk.advance(3 * time.Second)
	s.reload()
	check(t, s.Accept("a"))
	if got, want := s.says(t, "n0.example"), "pass"; got != want {
		t.Errorf("after: got %q, want %q", got, want)
	}
	if !told.has("list-accepted a") || s.of(t, "a").Held != "" {
		t.Error("not reported as accepted, or still held")
	}
	again := loaded(t, o)
	if got, want := again.says(t, "n1.example"), "pass"; got != want {
		t.Errorf("after a restart: got %q, want %q", got, want)
	}
}

func TestLastGoodRulesSurviveARestart(t *testing.T) {
	for _, c := range []struct {
		fact string
		harm func(t *testing.T, path string)
	}{
		{"the file has become empty", func(t *testing.T, path string) { write(t, path, "") }},
		{"the file has become HTML", func(t *testing.T, path string) { write(t, path, "<html>502</html>") }},
		{"the file may be written by others", func(t *testing.T, path string) { check(t, os.Chmod(path, 0o606)) }},
		{"the file has become a directory", func(t *testing.T, path string) {
			check(t, os.Remove(path))
			check(t, os.Mkdir(path, 0o700))
		}},
		{"the file has become a FIFO", func(t *testing.T, path string) {
			check(t, os.Remove(path))
			check(t, syscall.Mkfifo(path, 0o600))
		}},
		{"the file has become a loop of links", func(t *testing.T, path string) {
			check(t, os.Remove(path))
			check(t, os.Symlink(path, path))
		}},
	} {
		t.Run(c.fact, func(t *testing.T) {
			dir, cache := files(t, map[string]string{"a.txt": numbered(150)}), t.TempDir()
			o := Options{Dir: dir, CacheDir: cache}
			check(t, loaded(t, o).Close())
			c.harm(t, filepath.Join(dir, "a.txt"))
			told := &reports{}
			o.Report = told.add
			s := loaded(t, o)
			if got, want := s.says(t, "n1.example"), "block a n1.example"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestUnreadableListsAreReported(t *testing.T) {
	for _, c := range []struct {
		fact string
		make func(t *testing.T, path string)
		why  string
	}{
		{"a directory", func(t *testing.T, path string) { check(t, os.Mkdir(path, 0o700)) }, "is a directory"},
		{"a FIFO", func(t *testing.T, path string) { check(t, syscall.Mkfifo(path, 0o600)) }, "is a FIFO"},
		{"a loop of links", func(t *testing.T, path string) { check(t, os.Symlink(path, path)) }, "too many levels"},
		{"a link to nothing", func(t *testing.T, path string) { check(t, os.Symlink("/nonexistent", path)) }, "no such file"},
		{"a file that all may write to", func(t *testing.T, path string) {
			write(t, path, "x.example\n")
			check(t, os.Chmod(path, 0o666))
		}, "chmod o-w"},
		{"a device", func(t *testing.T, path string) { check(t, os.Symlink("/dev/zero", path)) }, "not a regular file"},
		{"a file without permission", func(t *testing.T, path string) {
			if os.Getuid() == 0 {
				t.Skip("root may read everything")
			}
			write(t, path, "x.example\n")
			check(t, os.Chmod(path, 0))
		}, "permission denied"},
	} {
		t.Run(c.fact, func(t *testing.T) {
			dir := files(t, map[string]string{"good.txt": "ads.example\n"})
			c.make(t, filepath.Join(dir, "bad.txt"))
			told := &reports{}
			s := loaded(t, Options{Dir: dir, CacheDir: t.TempDir(), Report: told.add})
			if got := s.of(t, "bad").Failed; !strings.Contains(got, c.why) {
				t.Errorf("why: got %q, want it to contain %q", got, c.why)
			}
			if !told.has("list-failed bad") {
				t.Error("not reported")
			}
			if got, want := s.says(t, "ads.example"), "block good ads.example"; got != want {
				t.Errorf("the other list: got %q, want %q", got, want)
			}
		})
	}
}

func TestFirstLoadFailsLoudly(t *testing.T) {
	if _, err := Open(Options{Dir: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a directory that is not there: got no error")
	}
}

func TestListOfNonsense(t *testing.T) {
	dir := files(t, map[string]string{
		"a.txt": "good.example\n" + strings.Repeat("x", 1<<20) + "\nbad..name\nalso.good.example\n" + "nul\x00byte.example\n",
	})
	s := loaded(t, Options{Dir: dir})
	if got, want := s.says(t, "also.good.example"), "block a also.good.example"; got != want {
		t.Errorf("the lines that are rules: got %q, want %q", got, want)
	}
	st := s.of(t, "a")
	if got, want := st.BadSeen, 3; got != want {
		t.Errorf("bad lines: got %d, want %d: %v", got, want, st.Bad)
	}
}
