package querylog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// some fills a log with rows in the store and in the journal and returns its
// directory, the first lookup's time, and the log.
func some(t *testing.T) (string, time.Time, *Log) {
	t.Helper()
	p := policy(t, testList)
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, Node: "n"})
	rng := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	for range 12 {
		for range 80 {
			l.Append([]Record{somebody(rng, p, time.Now())})
		}
		time.Sleep(9 * time.Second)
	}
	for range 20 {
		l.Append([]Record{somebody(rng, p, time.Now())})
	}
	time.Sleep(200 * time.Millisecond)
	return dir, start, l
}

func TestFiltersAgreeWithTheSlowWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, start, l := some(t)
		defer l.Close()
		all := rows(t, dir, Filter{})
		open := 0
		for i, r := range all {
			if r.Open {
				open++
			}
			if i > 0 && all[i-1].ID >= r.ID {
				t.Fatalf("row %d is not behind the one before", i)
			}
		}
		if open == 0 || open == len(all) {
			t.Fatalf("got %d open rows of %d, want some", open, len(all))
		}
		for _, f := range []Filter{
			{}, {Verdict: "block"}, {Verdict: "ALLOW"}, {Verdict: "pass", Limit: 7}, {Limit: 1}, {Limit: open}, {Limit: open + 5}, {Limit: 100_000},
			{Vendor: "xiaomi"}, {Vendor: "nobody"}, {Device: "device1"}, {Device: "DEVICE2"}, {Device: "10.0.0.1"}, {Device: "nobody"},
			{Devices: []DeviceSpan{{Device: "device1"}, {Device: "nobody"}}}, {Device: "device2", Devices: []DeviceSpan{{Device: "device1"}}}, {Devices: []DeviceSpan{{Device: "nobody"}}},
			{Without: []DeviceSpan{{Device: "device1"}}},
			{Name: "tracker"}, {Name: "Tracker.Example."}, {Name: "*.example"}, {Name: "?.example"}, {Name: "a*r.example"}, {Name: "[ab]*"},
			{Name: ".tracker.example"}, {Name: ".Example."}, {Name: ".racker.example"}, {Name: "trücker"}, {Name: ".trücker.example"},
			{Name: "=tracker.example"}, {Name: "=Tracker.Example."}, {Name: "=racker.example"}, {Name: "=trücker.example"}, {Name: "=."}, {Names: []string{"=tracker.example", ".nobody.example"}}, {Names: []string{"=shop.example", "=nobody.example"}},
			{Since: start.Add(40 * time.Second)}, {Until: start.Add(40 * time.Second)},
			{Since: start.Add(30 * time.Second), Until: start.Add(60 * time.Second), Verdict: "block", Limit: 3},
			{Since: start.Add(time.Hour)}, {Until: start.Add(-time.Hour)}, {Since: start.Add(105 * time.Second)},
			{Before: all[len(all)/2].ID}, {Before: all[len(all)-2].ID, Limit: 5}, {Before: 1}, {After: all[3].ID, Before: all[len(all)/2].ID, Name: ".tracker.example", Limit: 4},
		} {
			norm, err := f.normal()
			if err != nil {
				t.Fatal(err)
			}
			var want []Row
			for _, r := range all {
				if norm.matches(&r) {
					want = append(want, r)
				}
			}
			if f.Limit > 0 {
				want = want[max(0, len(want)-f.Limit):]
			}
			if got := rows(t, dir, f); !slices.Equal(got, want) {
				t.Errorf("%+v: got %d rows, want %d", f, len(got), len(want))
			}
			checkTops(t, dir, f, norm, all)
		}
		r, _ := OpenReader(dir)
		listed, unlisted, err := r.OldestRows(context.Background())
		if end := start.Add(windowMin); err != nil || listed.Before(start) || listed.After(end) || unlisted.Before(start) || unlisted.After(end) {
			t.Errorf("got rows from %v and %v on, and %v; want both within the first window from %v on", listed, unlisted, err, start)
		}
		for _, err := range r.Rows(context.Background(), Filter{Verdict: "maybe"}) {
			if err == nil || !strings.Contains(err.Error(), "observe") {
				t.Errorf("got %v for a verdict that there is not, want the ones that there are", err)
			}
		}
	})
}

// "=NAME" chooses the rows that are counted beside the name: an alias is another's, and the root has a name.
func TestANameAloneChoosesWhatIsCountedOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		defer l.Close()
		p, alias, root := policy(t, testList), wire(t, "tracker.example"), wire(t, ".")
		for _, kept := range []time.Duration{time.Hour, 0} { // stored, and still open
			l.Append([]Record{lookup(t, p, time.Now(), phone(6), "tracker.example"), lookup(t, p, time.Now(), phone(6), "a.tracker.example")})
			for range 5 {
				r := lookup(t, p, time.Now(), phone(6), "shop.example")
				r.Alias = alias
				l.Append([]Record{r})
			}
			r := lookup(t, p, time.Now(), phone(6), "root.example")
			r.Name = root
			l.Append([]Record{r})
			l.Flush()
			time.Sleep(kept)
		}
		reader, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		top, err := reader.Top(t.Context(), "names", Filter{}, 0)
		if err != nil || len(top) != 4 {
			t.Fatalf("got %+v, %v; want four names", top, err)
		}
		for _, line := range top {
			for _, f := range []Filter{{Name: "=" + line.Key}, {Names: []string{"=" + line.Key, "=nobody.example"}}} {
				count := uint64(0)
				for _, r := range rows(t, dir, f) {
					count += r.Count
				}
				if count != line.Count {
					t.Errorf("%+v: rows of %d lookups, want %d as the name has", f, count, line.Count)
				}
			}
		}
		var shops uint64
		for _, r := range rows(t, dir, Filter{Names: []string{"=nobody.example", ".tracker.example"}}) {
			if r.Name == "shop.example" {
				shops += r.Count
			}
		}
		if shops != 10 {
			t.Errorf("%d lookups with the alias are found beside a name alone, want 10", shops)
		}
		for _, f := range []Filter{{Name: "="}, {Names: []string{"=", "=shop.example"}}} {
			if _, err := f.Chooser(); !errors.Is(err, ErrNoName) {
				t.Errorf("%+v: got %v, want that there is no name", f, err)
			}
		}
	})
}

func checkTops(t *testing.T, dir string, f, norm Filter, all []Row) {
	t.Helper()
	r, _ := OpenReader(dir)
	for what, column := range topColumns {
		want := map[string]uint64{}
		var attempts, wantAttempts uint64
		var wantTiers, gotTiers Tiers
		for _, row := range all {
			if key, ok := column.of(&row); ok && norm.matches(&row) {
				want[key] += row.Count
				wantAttempts += uint64(row.Attempts)
				wantTiers.add(tiersOf(&row))
			}
		}
		top, err := r.Top(context.Background(), what, f, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]uint64{}
		for i, row := range top {
			got[row.Key] = row.Count
			gotTiers.add(row.Tiers)
			attempts += row.Attempts
			if i > 0 && (top[i-1].Attempts < row.Attempts || top[i-1].Attempts == row.Attempts && top[i-1].Count < row.Count) {
				t.Errorf("top %s: line %d is larger than the one before", what, i)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v: top %s: got %v, want %v", f, what, got, want)
		}
		if attempts != wantAttempts {
			t.Errorf("%+v: top %s: got %d attempts, want %d", f, what, attempts, wantAttempts)
		}
		if gotTiers != wantTiers {
			t.Errorf("%+v: top %s: got tiers %v, want %v", f, what, gotTiers, wantTiers)
		}
	}
}

// Pages one after the other are all rows, whichever way, however long a page is.
func TestPagesAreAllRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, _, l := some(t)
		defer l.Close()
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []Filter{{}, {Name: ".tracker.example"}, {Device: "device1", Verdict: "block"}, {Name: "nobody.example"}, {Name: "=tracker.example"}, {Devices: []DeviceSpan{{Device: "device1"}}}, {Vendor: "xiaomi", Verdict: "observe"}} {
			for _, n := range []int{31, 1000} {
				newest, all := []Row(nil), rows(t, dir, f)
				slices.Reverse(all)
				if err := r.Newest(t.Context(), f, n, func(row *Row) bool { newest = append(newest, *row); return true }); err != nil || !slices.Equal(newest, all[:min(n, len(all))]) {
					t.Errorf("%+v: got %d newest rows of %d, %v, want %d", f, len(newest), len(all), err, min(n, len(all)))
				}
				for _, oldest := range []bool{false, true} {
					want := rows(t, dir, f)
					if oldest {
						want = slices.DeleteFunc(want, func(r Row) bool { return r.Open })
					} else {
						slices.Reverse(want)
					}
					var got []Row
					at := f
					for more := true; more; {
						var page []Row
						if page, more, err = r.Page(t.Context(), at, n, oldest); err != nil {
							t.Fatal(err)
						}
						if len(page) > n || more && len(page) < n {
							t.Fatalf("%+v by %d: got a page of %d rows", f, n, len(page))
						}
						if got = append(got, page...); len(page) > 0 && oldest {
							at.After = page[len(page)-1].ID
						} else if len(page) > 0 {
							at.Before = page[len(page)-1].ID
						}
					}
					if !slices.Equal(got, want) {
						t.Errorf("%+v by %d, oldest first %v: got %d rows, want %d", f, n, oldest, len(got), len(want))
					}
				}
			}
		}
	})
}

func TestFollowShowsEachClosedRowOnceAndOpenOnesMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		ctx, cancel := context.WithCancel(context.Background())
		closed, seen := map[int64]int{}, map[string]uint64{}
		firstSeen := map[string]time.Duration{}
		counts := map[string]uint64{}
		var asked sync.Map // name to time
		done := make(chan error)
		r, _ := OpenReader(dir)
		go func() {
			done <- r.Follow(ctx, Filter{}, func(row Row) error {
				if seen[row.Name] == 0 {
					at, _ := asked.Load(row.Name)
					firstSeen[row.Name] = time.Since(at.(time.Time))
				}
				seen[row.Name]++
				if !row.Open {
					closed[row.ID]++
					counts[row.Name] += row.Count
				}
				return nil
			})
		}()
		for i := range 40 {
			name := fmt.Sprintf("n%d.example", i)
			asked.Store(name, time.Now())
			for range 3 {
				l.Append([]Record{lookup(t, nil, time.Now(), phone(1), name)})
				time.Sleep(700 * time.Millisecond)
			}
		}
		time.Sleep(15 * time.Second)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
		for id, n := range closed {
			if n != 1 {
				t.Errorf("row %d came %d times closed, want once", id, n)
			}
		}
		for i := range 40 {
			name := fmt.Sprintf("n%d.example", i)
			if counts[name] != 3 {
				t.Errorf("%s: got %d lookups in closed rows, want 3", name, counts[name])
			}
			if firstSeen[name] > time.Second {
				t.Errorf("%s was shown after %v, want within a second", name, firstSeen[name])
			}
		}
		closeLog(t, l)
	})
}

func TestFollowEndsWithTheErrorOfItsFunction(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "x.example")})
	closeLog(t, l)
	r, _ := OpenReader(dir)
	want := errors.New("enough")
	if got := r.Follow(context.Background(), Filter{}, func(Row) error { return want }); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReadingWhileWindowsAreStored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, window: 20 * time.Millisecond})
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "x.example")})
			time.Sleep(time.Millisecond)
		}
	}()
	var last uint64
	for range 100 {
		n := total(rows(t, dir, Filter{}))["x.example"]
		if n < last {
			t.Fatalf("got %d lookups after %d, want none to vanish", n, last)
		}
		last = n
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	<-done
	closeLog(t, l)
	if got, want := total(rows(t, dir, Filter{}))["x.example"], l.Stats().Appended; got != want || want == 0 {
		t.Errorf("got %d lookups, want %d", got, want)
	}
}

func TestReadingLeavesNoFiles(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "x.example")})
	closeLog(t, l)
	before, _ := filepath.Glob(filepath.Join(dir, "*"))
	rows(t, dir, Filter{})
	if after, _ := filepath.Glob(filepath.Join(dir, "*")); !slices.Equal(before, after) {
		t.Errorf("got files %v after reading, want %v", after, before)
	}
	if os.Getuid() != 0 {
		os.Chmod(dir, 0o500)
		defer os.Chmod(dir, 0o700)
		if got := len(rows(t, dir, Filter{})); got != 1 {
			t.Errorf("got %d rows from a directory that cannot be written, want 1", got)
		}
	}
}

func TestAnEmptyDirectoryHasNoRows(t *testing.T) {
	if got := rows(t, t.TempDir(), Filter{Since: time.Now()}); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
	if _, err := OpenReader(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("got no error from a directory that is not there")
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"*", "a.b", true}, {"a*", "a", true}, {"a*c", "abbc", true}, {"a*c", "abbd", false}, {"?", "", false},
		{"?b", "ab", true}, {"*.x.*", "a.x.b.x.c", true}, {"a*a*a", "aa", false}, {"a*a*a", "aaa", true}, {"[a]", "a", false},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %v, want %v", c.pattern, c.s, got, c.want)
		}
	}
}

// All that a reader of one moment is asked is answered from files that were opened once:
// they may be gone, and what is written meanwhile is not seen.
func TestAReaderOfOneMomentOpensTheLogOnce(t *testing.T) { synctest.Test(t, testOneMoment) }

func testOneMoment(t *testing.T) {
	dir, _, log := some(t)
	ctx := context.Background()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	answers := func(r *Reader) string {
		t.Helper()
		var b strings.Builder
		say := func(what any, err error) {
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%v\n", what)
		}
		for _, what := range []string{"names", "devices", "vendors", "purposes"} {
			top, err := r.Top(ctx, what, Filter{}, 0)
			say(top, err)
		}
		hours, err := r.Hours(ctx, time.Time{}, time.Time{})
		say(hours, err)
		since, gap, err := r.AttemptsSince(ctx)
		say(fmt.Sprint(since, gap), err)
		listed, unlisted, err := r.OldestRows(ctx)
		say(fmt.Sprint(listed, unlisted), err)
		bindings, err := r.Bindings(ctx)
		say(bindings, err)
		events, err := r.Ledger(ctx, time.Time{}, time.Time{})
		say(events, err)
		n := 0
		for _, err := range r.Rows(ctx, Filter{}) {
			n++
			if err != nil {
				t.Fatal(err)
			}
		}
		say(n, nil)
		return b.String()
	}
	want := answers(r)
	moment, err := r.AtOnce(ctx)
	if err != nil {
		t.Fatal(err)
	}
	log.Report("test", "of another moment", "")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	if position, err := moment.held.store.number(`SELECT value FROM meta WHERE key = 'position'`); err != nil || position != moment.held.position {
		t.Errorf("the store is at %d, its position was %d: %v", position, moment.held.position, err)
	}
	for range 2 {
		if got := answers(moment); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	if err := moment.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := OpenReader(dir + "-gone")
	if err != nil {
		t.Fatal(err)
	}
	if events, err := after.Ledger(ctx, time.Time{}, time.Time{}); err != nil || !slices.ContainsFunc(events, func(e Event) bool { return e.Subject == "of another moment" }) {
		t.Errorf("%v, %v", events, err)
	}
}
