package blocklists

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/dnswire"
)

// TestEditsOfALargeListAgreeWithANewStart edits a large list, and beside it small
// ones, many times, and compares every verdict with that of a store that has
// read the files for the first time.
func TestEditsOfALargeListAgreeWithANewStart(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 9))
	dir, cache := t.TempDir(), t.TempDir()
	var lines []string
	name1 := func() string { return fmt.Sprintf("n%d.example%d.org", r.IntN(9000), r.IntN(50)) }
	forms := []string{"%s", "@@%s", "=%s", "||%s^$important", "%s #@ vendor=V", "0.0.0.0 %s other.example"}
	for range 7000 {
		lines = append(lines, fmt.Sprintf(forms[r.IntN(len(forms))], name1()))
	}
	big := filepath.Join(dir, "big.txt")
	save := func() { write(t, big, strings.Join(lines, "\n")+"\n") }
	save()
	clk := newClock()
	s := loaded(t, Options{Dir: dir, CacheDir: cache, Now: clk.now})
	patched := 0
	for round := range max(rounds(40), 14) { // compacted twice at least
		switch r.IntN(6) {
		case 5: // lines in many places
			for range 1 + r.IntN(9) {
				lines[r.IntN(len(lines))] = name1()
			}
		case 0: // one line in the middle
			lines[r.IntN(len(lines))] = name1()
		case 1: // lines go
			at := r.IntN(len(lines) - 50)
			lines = slices.Delete(lines, at, at+r.IntN(50))
		case 2: // lines come
			at := r.IntN(len(lines))
			for range 1 + r.IntN(20) {
				lines = slices.Insert(lines, at, "@@"+name1())
			}
		case 3: // at the end
			lines = append(lines, name1(), "="+name1())
		case 4: // another list
			write(t, filepath.Join(dir, fmt.Sprintf("small%d.txt", r.IntN(14))), name1()+"\n@@"+name1()+"\n")
		}
		save()
		if round%7 == 6 {
			s.compact()
		}
		s.reload()
		for _, l := range s.lists {
			if len(l.Extents) > 1 {
				patched++
			}
		}
		fresh := policyOf(t, Options{Dir: dir, Now: clk.now})
		for range 300 {
			ask := name1()
			if r.IntN(3) == 0 {
				ask = "sub." + ask
			}
			n := name(t, ask)
			got, want := full(s.Current().Decide(n, dnswire.TypeA, 0)), full(fresh.Decide(n, dnswire.TypeA, 0))
			if got != want {
				t.Fatalf("round %d: %s: got %q, want %q", round, ask, got, want)
			}
		}
	}
	if patched == 0 {
		t.Error("no edit of the large list was taken as a patch")
	}
	check(t, s.Close())
	again := loaded(t, Options{Dir: dir, CacheDir: cache, Now: clk.now})
	fresh := policyOf(t, Options{Dir: dir, Now: clk.now})
	for range 2000 {
		n := name(t, name1())
		if got, want := full(again.Current().Decide(n, 1, 0)), full(fresh.Decide(n, 1, 0)); got != want {
			t.Fatalf("after a restart: %s: got %q, want %q", n, got, want)
		}
	}
}

// full is a verdict with the places of its rules.
func full(v Verdict) string {
	r, a := v.Policy.Rule(v.Rule), v.Policy.Rule(v.Attr)
	return fmt.Sprintf("%v %v %s:%d %q, %v by %s:%d %q", v.Action, v.Mode, r.List, r.Line, r.Text, v.Level, a.List, a.Line, a.Text)
}

func TestDamagedCacheIsBuiltAgain(t *testing.T) {
	for _, c := range []struct {
		fact string
		harm func(t *testing.T, cache string)
	}{
		{"the image is cut short", func(t *testing.T, cache string) { check(t, os.Truncate(filepath.Join(cache, "names.image"), 100)) }},
		{"the image is something else", func(t *testing.T, cache string) { write(t, filepath.Join(cache, "names.image"), "hello") }},
		{"a compiled list is cut short", func(t *testing.T, cache string) {
			check(t, os.Truncate(filepath.Join(cache, "lists", "user-a.rules"), 500))
		}},
		{"a compiled list has a wrong octet", func(t *testing.T, cache string) {
			path := filepath.Join(cache, "lists", "user-a.rules")
			b, err := os.ReadFile(path)
			check(t, err)
			b[200] ^= 1
			check(t, os.WriteFile(path, b, 0o600))
		}},
		{"the cache is gone", func(t *testing.T, cache string) { check(t, os.RemoveAll(cache)) }},
	} {
		t.Run(c.fact, func(t *testing.T) {
			dir, cache := files(t, map[string]string{"a.txt": numbered(300)}), t.TempDir()
			o := Options{Dir: dir, CacheDir: cache}
			check(t, loaded(t, o).Close())
			c.harm(t, cache)
			s := loaded(t, o)
			if got, want := s.says(t, "n250.example"), "block a n250.example"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestCompiledListCutShortUnderneath(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "a.txt"), numbered(40_000)) // too large to be kept in memory
	told := &reports{}
	s := loaded(t, Options{Dir: dir, CacheDir: cache, Report: told.add})
	check(t, os.Truncate(filepath.Join(cache, "lists", "user-a.rules"), 1000))
	if got, want := s.Current().Decide(name(t, "n39999.example"), 1, 0).Action, Block; got != want {
		t.Errorf("a decision needs no rule's text: got %v, want %v", got, want)
	}
	s.mu.Lock()
	s.index.Drop()
	check(t, s.publishLocked())
	s.mu.Unlock()
	if got, want := s.says(t, "n39999.example"), "block a n39999.example"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !told.has("cache-damaged a") {
		t.Errorf("not reported: %v", told.seen)
	}
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "ads.example\n"})
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	told := &reports{}
	s := loaded(t, Options{Dir: dir, CacheDir: file, Report: told.add})
	if got, want := s.says(t, "ads.example"), "block a ads.example"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !told.has("cache-failed lists") {
		t.Errorf("not reported: %v", told.seen)
	}
}

func TestConfigure(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "ads.example\n", "b.txt": "other.example\n"})
	s := loaded(t, Options{Dir: dir, CacheDir: t.TempDir()})
	off := false
	for _, step := range []struct {
		fact string
		o    Options
		ask  string
		want string
	}{
		{"a list observes", Options{Lists: []ListSettings{{Name: "a", Observe: true}}}, "ads.example", "observe a ads.example"},
		{"a list is read in another way", Options{Lists: []ListSettings{{Name: "a", Exact: true}}}, "x.ads.example", "pass"},
		{"and back", Options{}, "x.ads.example", "block a ads.example"},
		{"a list is switched off", Options{Lists: []ListSettings{{Name: "a", Enabled: &off}}}, "ads.example", "pass"},
		{"and on", Options{}, "ads.example", "block a ads.example"},
		{"everything observes", Options{Observe: true}, "other.example", "observe b other.example"},
	} {
		check(t, s.Configure(step.o))
		if got := s.says(t, step.ask); got != step.want {
			t.Errorf("%s: got %q, want %q", step.fact, got, step.want)
		}
	}
	check(t, s.Configure(Options{TTL: 30 * time.Second}))
	if got, want := s.Current().TTL(), uint32(30); got != want {
		t.Errorf("TTL: got %d, want %d", got, want)
	}
}

func TestImageCutShortUnderneath(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "a.txt"), numbered(60_000))
	told := &reports{}
	s := openStoreT(t, Options{Dir: dir, CacheDir: cache, Report: told.add, Poll: -1})
	check(t, os.Truncate(filepath.Join(cache, "names.image"), 4096))
	eventually(t, "all names are blocked again", func() bool {
		for i := 0; i < 60_000; i += 997 {
			n := name(t, fmt.Sprintf("n%d.example", i))
			if s.Current().Decide(n, dnswire.TypeA, 0).Action != Block {
				return false
			}
		}
		return true
	})
	if !told.has("cache-damaged names") {
		t.Error("not reported")
	}
}

// TestZonesAreSmallInMemory holds that the rules of a zone, which all say how to
// answer, are as plain as others.
func TestZonesAreSmallInMemory(t *testing.T) {
	var b strings.Builder
	b.WriteString("$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "n%d.example CNAME .\n*.n%d.example CNAME .\n", i, i)
	}
	b.WriteString("x.example CNAME *.\ny.example CNAME *.\n")
	s := loaded(t, Options{Dir: files(t, map[string]string{"zone.txt": b.String()})})
	set := s.sources[0].set
	if len(set.Details) != 2 || len(set.Extras) != 1 {
		t.Errorf("got %d rules with details and %d extras, want 2 and 1", len(set.Details), len(set.Extras))
	}
	for ask, want := range map[string]string{"n7.example": "n7.example CNAME .", "a.n7.example": "*.n7.example CNAME .", "x.example": "x.example CNAME *."} {
		v := s.Current().Decide(name(t, ask), dnswire.TypeA, 0)
		if got := s.Current().Rule(v.Rule).Text; got != want {
			t.Errorf("%s: got %q, want %q", ask, got, want)
		}
	}
}

// TestEditsAtDistantPlacesLeaveTheBase holds that a large list that is edited in
// some places is not built again, and judges as one that was read afresh.
func TestEditsAtDistantPlacesLeaveTheBase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lines := strings.Split(strings.TrimSpace(numbered(60_000)), "\n")
	path := filepath.Join(dir, "a.txt")
	write(t, path, strings.Join(lines, "\n"))
	s := loaded(t, Options{Dir: dir, CacheDir: t.TempDir()})
	lines[3] = "first.example"
	lines = slices.Delete(lines, 20_000, 20_003)
	lines = slices.Insert(lines, 40_000, "third.example", "n12.example")
	lines = append(lines, "last.example")
	write(t, path, strings.Join(lines, "\n"))
	s.reload()
	if got := len(s.lists[0].Extents); got < 5 || got > 9 {
		t.Errorf("got %d extents, want about 8", got)
	}
	fresh := policyOf(t, Options{Dir: dir})
	ask := append(slices.Clone(lines), "n3.example", "n20001.example")
	for i := range 60_000 {
		ask = append(ask, fmt.Sprintf("x.n%d.example", i))
	}
	edited := []int{3, 20_000, 40_000, len(lines)} // and in ask, 60,000 names on, those below them
	near := func(i int) bool {
		return slices.ContainsFunc(edited, func(at int) bool { return i%60_000 > at-50 && i%60_000 < at+50 })
	}
	for i, a := range ask {
		if raced && i%11 > 0 && !near(i) {
			continue
		}
		got, want := full(s.Current().Decide(name(t, a), dnswire.TypeA, 0)), full(fresh.Decide(name(t, a), dnswire.TypeA, 0))
		if got != want {
			t.Fatalf("%s: got %q, want %q", a, got, want)
		}
	}
}
