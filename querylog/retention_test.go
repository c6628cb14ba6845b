package querylog

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A hand-set clock: the wall clock is this far ahead of the running one.
type wallClock struct{ ahead atomic.Int64 }

func (c *wallClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func TestRetentionByTier(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, Retention: Retention{Listed: 2 * 24 * time.Hour}})
		start := time.Now()
		for range 24 * 5 {
			for _, name := range []string{"tracker.example", "x.example", "y.example"} {
				l.Append([]Record{lookup(t, p, time.Now(), phone(6), name)})
			}
			time.Sleep(time.Hour)
		}
		synctest.Wait()
		got := map[string]int{}
		oldest := map[string]time.Time{}
		for _, r := range rows(t, dir, Filter{}) {
			if got[r.Name]++; got[r.Name] == 1 {
				oldest[r.Name] = r.Time.Time
			}
		}
		if n := got["x.example"]; n < 23 || n > 26 {
			t.Errorf("got %d hours of an unlisted name, want a day", n)
		}
		if n := got["tracker.example"]; n < 24*2-1 || n > 24*4+1 {
			t.Errorf("got %d hours of a listed name, want two days to four", n)
		}
		r, _ := OpenReader(dir)
		hours, err := r.Hours(context.Background(), time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		var totals uint64
		for _, h := range hours {
			if h.Lookups != 2 || h.Device != "mac:02:00:00:00:00:01" {
				t.Errorf("got %+v, want the two lookups of the device in each hour", h)
			}
			totals += h.Lookups
		}
		if totals < 2*24-8 || hours[0].Hour.Before(start.Add(24*time.Hour)) {
			t.Errorf("got totals of %d lookups from %v on, want those of some two days", totals, hours[0].Hour)
		}
		closeLog(t, l)
	})
}

func TestRetentionWaitsForAClockThatCanBeRelied(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		ahead  time.Duration // the wall clock jumps by so much
		synced bool
		after  time.Duration // and after so much more time
		want   int           // rows left of the one that is old by then
	}{
		{"a steady clock", 0, true, 26 * time.Hour, 0},
		{"an hour forward", time.Hour, true, 26 * time.Hour, 0},
		{"a week forward, at once", 7 * 24 * time.Hour, true, 3 * time.Hour, 1},
		{"a week forward, almost a day later", 7 * 24 * time.Hour, true, 22 * time.Hour, 1},
		{"a week forward, more than a day later", 7 * 24 * time.Hour, true, 26 * time.Hour, 0},
		{"never synchronised, less than a day after the start", 23*time.Hour + 30*time.Minute, false, 21 * time.Hour, 1},
		{"never synchronised, more than a day after the start", 0, false, 28 * time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				clock := &wallClock{}
				l, err := openWith(Options{Dir: dir, Logger: quiet(), Now: clock.now}, func() bool { return c.synced })
				if err != nil {
					t.Fatal(err)
				}
				l.Append([]Record{lookup(t, nil, clock.now(), phone(6), "old.example")})
				time.Sleep(time.Minute)
				clock.ahead.Store(int64(c.ahead))
				time.Sleep(c.after)
				synctest.Wait()
				if got := len(rows(t, dir, Filter{Name: "old.example"})); got != c.want {
					t.Errorf("got %d rows, want %d", got, c.want)
				}
				closeLog(t, l)
			})
		})
	}
}

func TestAJumpWhileTheServerWasDownHoldsDeletionToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		l.Append([]Record{lookup(t, nil, time.Now(), phone(6), "old.example")})
		closeLog(t, l)
		time.Sleep(3 * 24 * time.Hour)
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{time.Hour, 1}, {12 * time.Hour, 1}, {13 * time.Hour, 0}} {
			l := open(t, Options{Dir: dir})
			time.Sleep(c.after)
			closeLog(t, l)
			if got := len(rows(t, dir, Filter{Name: "old.example"})); got != c.want {
				t.Errorf("after another %v: got %d rows, want %d", c.after, got, c.want)
			}
		}
	})
}

func TestClockJumpsAreInTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		clock := &wallClock{}
		l := open(t, Options{Dir: dir, Now: clock.now})
		for _, ahead := range []time.Duration{time.Second, time.Hour, -time.Hour} {
			time.Sleep(time.Minute)
			clock.ahead.Add(int64(ahead))
		}
		time.Sleep(time.Minute)
		closeLog(t, l)
		var jumps []string
		for _, n := range events(t, dir) {
			if n.Kind == KindClock {
				jumps = append(jumps, n.Detail)
			}
		}
		want := []string{"the clock was set forward by 1h0m0s", "the clock was set back by 1h0m0s"}
		if fmt.Sprint(jumps) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", jumps, want)
		}
	})
}

// retain makes a whole run of retention over a store.
func retain(t *testing.T, s *store, r Retention) deleted {
	t.Helper()
	l := &Log{o: Options{Retention: r, Logger: quiet(), Now: time.Now}, failures: map[string]string{}}
	w := newStorer(l, newWindowQueue(perRowFirst), newClockGuard(time.Now))
	w.clock.synced = func() bool { return true }
	w.store = s
	for w.retain() {
	}
	if l.stats.LastError != "" {
		t.Fatal(l.stats.LastError)
	}
	return w.retention.deleted
}

func TestTheSizeCapTakesTheOldestUnlistedRowsFirst(t *testing.T) {
	t.Parallel()
	p := policy(t, "listed.example\n")
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	at := time.UnixMilli(1_700_000_000_000)
	for window := range int64(4) {
		f := newFold(at)
		for i := range 6_000 {
			name := fmt.Sprintf("a-name-of-some-length-%d.x%d.example", i, window)
			if i%10 == 0 {
				name = fmt.Sprintf("n%d.x%d.listed.example", i, window)
			}
			r := lookup(t, p, at, phone(1), name)
			f.add(&r, r.Time.UnixMilli(), byName, 1<<30)
		}
		if _, _, err := s.commit(&windowData{number: (window + 1) << periodBits, node: "n", entries: f.entries}); err != nil {
			t.Fatal(err)
		}
	}
	count := func(table string, window int64) int64 {
		n, err := s.number(fmt.Sprintf(`SELECT count(*) FROM %s WHERE id >> %d = %d`, table, periodRows, window))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	retain(t, s, Retention{Listed: -1, Unlisted: -1}) // the names of totals that are over, whose room is not the cap's to make
	size, err := s.size()
	if err != nil {
		t.Fatal(err)
	}
	d := retain(t, s, Retention{MaxBytes: size - size/4, Listed: -1, Unlisted: -1})
	after, _ := s.size()
	if after > size-size/4 || d.overLimit == 0 || d.detail() == "" {
		t.Errorf("got %d bytes of %d, %+v, want a quarter less and that it is said", after, size, d)
	}
	if n := count("unlisted", 1); n != 0 {
		t.Errorf("got %d of the oldest unlisted rows, want none", n)
	}
	if n := count("unlisted", 4); n != 5_400 {
		t.Errorf("got %d of the newest unlisted rows, want all 5400", n)
	}
	if n := count("listed", 1); n != 600 {
		t.Errorf("got %d of the oldest listed rows, want all 600 while there were unlisted ones", n)
	}
	retain(t, s, Retention{MaxBytes: 32 << 10, Listed: -1, Unlisted: -1})
	if n := count("listed", 1) + count("listed", 4); n != 0 {
		t.Errorf("got %d listed rows, want none when there is no other way", n)
	}
	if err := s.conn.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.path); err != nil || info.Size() > size/2 {
		t.Errorf("got a file of %d bytes, %v, want it to have shrunk from %d", info.Size(), err, size)
	}
	if names, err := s.number(`SELECT (SELECT count(*) FROM listed_name) + (SELECT count(*) FROM unlisted_name)`); err != nil || names != 0 {
		t.Errorf("got %d names, %v, want none without a row", names, err)
	}
	totals, err := s.number(`SELECT sum(lookups) FROM hour`)
	if err != nil || totals != 4*5_400 {
		t.Errorf("got totals of %d unlisted lookups, %v, want %d", totals, err, 4*5_400)
	}
}

// Where steps were quick, the next may delete many rows: not more than are too many.
func TestTheSizeCapDeletesNoMoreThanIsTooMuch(t *testing.T) {
	t.Parallel()
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	p := policy(t, "listed.example\n")
	at := time.UnixMilli(1_700_000_000_000)
	f := newFold(at)
	for i := range 12_000 {
		r := lookup(t, p, at, phone(1), fmt.Sprintf("a-name-of-some-length-%d.example", i))
		f.add(&r, r.Time.UnixMilli(), byName, 1<<30)
	}
	if _, _, err := s.commit(&windowData{number: 1 << periodBits, node: "n", entries: f.entries}); err != nil {
		t.Fatal(err)
	}
	size, err := s.size()
	if err != nil {
		t.Fatal(err)
	}
	w := newStorer(&Log{o: Options{Logger: quiet(), Now: time.Now}, failures: map[string]string{}}, newWindowQueue(perRowFirst), newClockGuard(time.Now))
	w.store = s
	for done, step := false, deleteOverLimit("unlisted", size-size/50); !done; {
		w.retention.batch = deleteMost
		if done, err = step(w); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := s.number(`SELECT count(*) FROM unlisted`); err != nil || left < 3_000 {
		t.Errorf("%d rows of 12,000 are left, %v", left, err)
	}
}

// TestTheClockMayBeSetOften sets the clock forward by 23 hours each hour, which is
// no jump that is feared: rows grow old by the time that went by.
func TestTheClockMayBeSetOften(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		clock := &wallClock{}
		l := open(t, Options{Dir: dir, Now: clock.now, Retention: Retention{Listed: 20 * 24 * time.Hour}})
		l.Append([]Record{lookup(t, p, clock.now(), phone(6), "tracker.example")})
		for range 30 {
			time.Sleep(time.Hour)
			clock.ahead.Add(int64(23 * time.Hour))
		}
		synctest.Wait()
		if got := len(rows(t, dir, Filter{})); got != 1 {
			t.Errorf("got %d rows of a listed name after 30 hours, want the one there was", got)
		}
		closeLog(t, l)
	})
}

// TestRowsOfAClockThatWasNotSetAreKept begins a log while the clock stands at
// 1970, as a machine without a battery does, and sets it right.
func TestRowsOfAClockThatWasNotSetAreKept(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		clock := &wallClock{}
		right := time.Now()
		clock.ahead.Store(int64(time.Unix(100, 0).Sub(right)))
		l := open(t, Options{Dir: dir, Now: clock.now})
		l.Append([]Record{lookup(t, p, clock.now(), phone(6), "tracker.example"), lookup(t, p, clock.now(), phone(6), "x.example")})
		time.Sleep(time.Minute)
		clock.ahead.Store(0)
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		if got := total(rows(t, dir, Filter{})); got["tracker.example"] != 1 || got["x.example"] != 1 {
			t.Errorf("got %v after 20 hours, want both", got)
		}
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if got := total(rows(t, dir, Filter{})); got["tracker.example"] != 1 || got["x.example"] != 0 {
			t.Errorf("got %v after 30 hours, want the listed name alone", got)
		}
		closeLog(t, l)
	})
}
