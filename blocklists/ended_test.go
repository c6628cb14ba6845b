package blocklists

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const loadsDir = "TELLTALE_TEST_LOADS"

// TestLoads is not a test but the process that the next one starts. It is killed
// when there is a mark: the clock is looked at between reading a list and having it
// in force.
func TestLoads(t *testing.T) {
	dir := os.Getenv(loadsDir)
	if dir == "" {
		t.Skip("skipped: it is another test's process")
	}
	cache := filepath.Join(dir, "cache")
	loaded(t, Options{Dir: filepath.Join(dir, "lists"), CacheDir: cache, Now: func() time.Time {
		if len(marksIn(cache)) > 0 {
			self, err := os.FindProcess(os.Getpid())
			check(t, err)
			check(t, self.Kill())
			select {}
		}
		return time.Now()
	}})
}

func marksIn(cache string) []string {
	found, _ := filepath.Glob(filepath.Join(cache, "lists", "*"+readingMark))
	return found
}

// What ended the process while it was being compiled is left out at the next
// start, which says so; the other lists are in force.
func TestWhatEndedTheProcessIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	lists, cache := filepath.Join(dir, "lists"), filepath.Join(dir, "cache")
	check(t, os.Mkdir(lists, 0o755))
	write(t, filepath.Join(lists, "a.txt"), "one.example\n")
	var large strings.Builder // by what its rules say of themselves
	for i := range 15_000 {
		fmt.Fprintf(&large, "n%d.example #@ vendor=V%d product=%0200d\n", i, i, i)
	}
	write(t, filepath.Join(lists, "b.txt"), large.String())
	write(t, filepath.Join(lists, "c.txt"), "three.example\n")

	child := exec.Command(os.Args[0], "-test.run=^TestLoads$")
	child.Env = append(os.Environ(), loadsDir+"="+dir)
	if out, err := child.CombinedOutput(); len(marksIn(cache)) != 1 {
		t.Fatalf("got %v, marks %q, want a process that was killed and left a mark\n%s", err, marksIn(cache), out)
	}
	told := &reports{}
	s := loaded(t, Options{Dir: lists, CacheDir: cache, Report: told.add})
	if got := s.of(t, "b"); !strings.Contains(got.Failed, "was being compiled when Telltale ended") || got.Rules != 0 {
		t.Errorf("got %d rules, %q, want that it is left out", got.Rules, got.Failed)
	}
	for _, ask := range []string{"one.example", "three.example"} {
		if got := s.says(t, ask); !strings.HasPrefix(got, "block") {
			t.Errorf("%s: got %q, want the other lists in force", ask, got)
		}
	}
	if !told.has("list-failed b") {
		t.Errorf("reported: got %q", told.all())
	}
	s.reload()
	if got := s.of(t, "b"); got.Rules != 0 {
		t.Error("it is read at the next look, though the file is as it was")
	}
	check(t, s.Accept("b"))
	if got := s.of(t, "b"); got.Failed != "" || got.Rules == 0 {
		t.Errorf("accepted by hand: got %+v", got)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "lists", "*ing")); len(left) != 0 {
		t.Errorf("marks are left: %q", left)
	}
}

func TestAListThatWasLeftOutIsReadWhenItChanges(t *testing.T) {
	dir, cache := files(t, map[string]string{"a.txt": "one.example\n", "b.txt": "two.example\n"}), t.TempDir()
	o := Options{Dir: dir, CacheDir: cache}
	s := loaded(t, o)
	for _, src := range s.sources {
		kind := readingMark
		if src.name == "a" {
			kind = placingMark // of the two, b alone is to blame
		}
		s.markLocked(src, lookAt(src.path), kind)
		check(t, os.Remove(s.setPath(src)))
	}
	s = loaded(t, o)
	if got := s.says(t, "one.example") + ", " + s.says(t, "two.example"); got != "block a one.example, pass" {
		t.Errorf("got %s, want b alone left out", got)
	}
	write(t, filepath.Join(dir, "b.txt"), "two.example\nthree.example\n")
	s.reload()
	if got := s.says(t, "two.example"); got != "block b two.example" || s.of(t, "b").Failed != "" {
		t.Errorf("changed: got %s, %q", got, s.of(t, "b").Failed)
	}
}

// annotated returns a list of which each rule has an annotation of its own.
func annotated(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "n%d.example #@ purpose=p%d source=https://example.org/%d/%s\n", i, i, i, strings.Repeat("x", 100))
	}
	return b.String()
}

// A list takes no more memory than there is for it: its annotations go first, then
// rules with modifiers, and one with too many rules is refused as a whole.
func TestAListTakesNoMoreMemoryThanThereIs(t *testing.T) {
	const n, memory = 60_000, 16 << 20
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	dir := files(t, map[string]string{"a.txt": annotated(n), "own.txt": "mine.example #@ purpose=mine\n"})
	before := heap()
	s := loaded(t, Options{Dir: dir, CacheDir: t.TempDir(), Memory: memory})
	if got := heap() - before; got > memory {
		t.Errorf("the lists take %d MB, want %d at most", got>>20, memory>>20)
	}
	st := s.of(t, "a")
	if st.Rules != n {
		t.Errorf("got %d rules, want all %d", st.Rules, n)
	}
	if got := st.Bad[len(st.Bad)-1].Why; !strings.Contains(got, "annotations and 0 rules with modifiers, from this line on, are left out: there is no more memory") {
		t.Errorf("said: got %q", got)
	}
	if got := s.says(t, fmt.Sprintf("n%d.example", n-1)); !strings.HasPrefix(got, "block a") {
		t.Errorf("the last rule: got %q", got)
	}
	runtime.KeepAlive(s)
}

func TestRulesWithModifiersAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "||n%d.example^$dnstype=A,client=192.0.2.%d|198.51.100.%d\n", i, i%200, i%250)
	}
	dir := files(t, map[string]string{"a.txt": b.String()})
	s := loaded(t, Options{Dir: dir, CacheDir: t.TempDir(), Memory: 8 << 20})
	st := s.of(t, "a")
	if st.Rules == 0 || st.Rules > 10_000 || !strings.Contains(st.Bad[len(st.Bad)-1].Why, "rules with modifiers, from this line on, are left out") {
		t.Errorf("got %d rules and said %v, want those there is memory for", st.Rules, st.Bad)
	}
}

func TestAListWithTooManyRulesForTheMemoryIsRefused(t *testing.T) {
	dir, cache := files(t, map[string]string{"a.txt": "old.example\n", "b.txt": "two.example\n"}), t.TempDir()
	s := loaded(t, Options{Dir: dir, CacheDir: cache, Memory: 2 << 20})
	write(t, filepath.Join(dir, "a.txt"), numbered(200_000))
	s.reload()
	if got := s.of(t, "a"); !strings.Contains(got.Failed, "too many rules for the memory there is (1 MB for this list)") || got.Rules != 1 {
		t.Errorf("got %d rules, %q, want the last good one", got.Rules, got.Failed)
	}
	if got := s.says(t, "old.example") + ", " + s.says(t, "two.example"); got != "block a old.example, block b two.example" {
		t.Errorf("got %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "lists", ".new-*")); len(left) != 0 {
		t.Errorf("files are left: %q", left)
	}
}
