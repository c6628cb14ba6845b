package querylog

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"telltale/devices"
)

// Unlisted rows of a device of which a person wants more live as long as listed ones, those
// of others a day (here a day and six hours); when that is taken back they go at the next run, and what is in hours and
// in rows is all that there was.
func TestUnlistedRowsOfADeviceAreKeptLonger(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var on, unknown atomic.Bool
		other := *phone(7)
		other.Device = "mac:02:00:00:00:00:02"
		on.Store(true)
		l := open(t, Options{Dir: dir, Retention: Retention{Listed: 24 * time.Hour, Unlisted: 6 * time.Hour}, Discovered: func(all []devices.Binding) (map[uint64]bool, bool) {
			kept := map[uint64]bool{}
			for _, b := range all {
				if on.Load() && b.Device == phone(6).Device {
					kept[b.ID] = true
				}
			}
			return kept, !unknown.Load()
		}})
		lookups := uint64(0)
		look := func(hours int) {
			for range hours {
				l.Append([]Record{lookup(t, p, time.Now(), phone(6), "kept.example"), lookup(t, p, time.Now(), &other, "other.example")})
				lookups += 2
				time.Sleep(time.Hour)
			}
			synctest.Wait()
		}
		wants := func(when string, keptLeast, keptMost, otherLeast, otherMost int) {
			t.Helper()
			got := map[string]int{}
			oldest := time.Now()
			all := uint64(0)
			for _, r := range rows(t, dir, Filter{}) {
				got[r.Name]++
				all += r.Count
				if r.Name == "other.example" && r.Time.Before(oldest) {
					oldest = r.Time.Time
				}
			}
			if n := got["kept.example"]; n < keptLeast || n > keptMost {
				t.Errorf("%s: got %d rows of the device that is kept, want %d to %d", when, n, keptLeast, keptMost)
			}
			if n := got["other.example"]; n < otherLeast || n > otherMost {
				t.Errorf("%s: got %d rows of the other device, want %d to %d", when, n, otherLeast, otherMost)
			}
			r, _ := OpenReader(dir)
			defer r.Close()
			c, err := r.Coverage(context.Background(), time.Now().Add(-time.Hour), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if d := c.Unlisted.Sub(oldest).Abs(); d > 2*time.Hour {
				t.Errorf("%s: rows of all are said to be there since %v, want %v", when, c.Unlisted, oldest)
			}
			if keptLeast > otherMost && !c.OldestUnlisted.Before(c.Unlisted.Add(-9*time.Hour)) {
				t.Errorf("%s: the oldest row is said to be of %v", when, c.OldestUnlisted)
			}
			hours, err := r.Hours(context.Background(), time.Time{}, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range hours {
				all += h.Lookups
			}
			if all != lookups {
				t.Errorf("%s: %d lookups are in rows and in hours, want %d", when, all, lookups)
			}
		}
		look(20)
		wants("after 20 hours", 18, 20, 5, 9)
		closeLog(t, l)
		l = open(t, l.o) // what it looked at is not kept
		look(2)
		wants("after a restart", 20, 22, 5, 9)
		unknown.Store(true)
		look(3)
		wants("while nobody knows, by those known last", 23, 25, 5, 9)
		closeLog(t, l)
		l = open(t, l.o)
		look(3)
		wants("while nobody knows since the start", 26, 28, 8, 12)
		unknown.Store(false)
		on.Store(false)
		look(3)
		wants("taken back", 5, 9, 5, 9)
		on.Store(true)
		look(32)
		if n := len(rows(t, dir, Filter{Name: "kept.example"})); n < 23 || n > 27 {
			t.Errorf("got %d rows of the device that is kept, want those of as long as listed ones live", n)
		}
		closeLog(t, l)
	})
}

// Where no rows were ever kept longer, a file of corrections that cannot be read keeps
// those of nobody.
func TestUnlistedRowsAreDeletedWhereNobodyEverKeptThem(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, Retention: Retention{Listed: 24 * time.Hour, Unlisted: 6 * time.Hour}, Discovered: func([]devices.Binding) (map[uint64]bool, bool) { return nil, false }})
		for range 12 {
			l.Append([]Record{lookup(t, p, time.Now(), phone(6), "private.example")})
			time.Sleep(time.Hour)
		}
		synctest.Wait()
		if n := len(rows(t, dir, Filter{})); n < 5 || n > 9 {
			t.Errorf("got %d rows, want those of 6 hours", n)
		}
		closeLog(t, l)
	})
}
