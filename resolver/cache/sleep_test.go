package cache

import (
	"testing"
	"time"
	"unsafe"
)

// set returns t as time.Now would after the wall clock was set forward by d, which the
// clock that only runs knows nothing of.
func set(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	type clocks struct {
		wall uint64 // a bit that says that there is a monotonic reading, 33 of seconds since 1885, 30 of nanoseconds
		ext  int64  // the monotonic reading
	}
	c := (*clocks)(unsafe.Pointer(&at))
	c.wall += uint64(d/time.Second) << 30
	return at
}

// A wall clock that is set neither ends an answer nor keeps it.
func TestClockThatIsSetChangesNothing(t *testing.T) {
	for _, step := range []time.Duration{24 * time.Hour, -24 * time.Hour, 20 * 365 * 24 * time.Hour} {
		c := newTestCache(1 << 20)
		q := cacheQuestion(t, "www.example.")
		e := keptFor(q, time.Minute, 20)
		c.Put(q, e)
		now := set(t, e.StoredAt(), step)
		if got := now.Round(0).Sub(e.StoredAt().Round(0)); got != step || now.Sub(e.StoredAt()) != 0 {
			t.Fatalf("the test's clock is wrong: %v, %v", got, now.Sub(e.StoredAt()))
		}
		if _, ok := c.Get(q, now.Add(59*time.Second), nil); !ok {
			t.Errorf("set by %v: gone before its time", step)
		}
		if _, ok := c.Get(q, now.Add(61*time.Second), nil); ok {
			t.Errorf("set by %v: there after its time", step)
		}
		later := keptFor(q, time.Minute, 20)
		later.At = now.Add(2 * time.Minute)
		c.Put(q, later)
		if got, ok := c.Get(q, now.Add(179*time.Second), nil); !ok || got.StoredAt().Sub(now) != 2*time.Minute {
			t.Errorf("set by %v: what came after it is %v, %v", step, got, ok)
		}
	}
}

// What the machine slept through has gone by.
func TestSleepGoesBy(t *testing.T) {
	c := newTestCache(1 << 20)
	q, other := cacheQuestion(t, "www.example."), cacheQuestion(t, "other.example.")
	now := time.Now()
	e := keptFor(q, time.Hour, 20)
	e.At = now
	c.Put(q, e)
	c.Advance(50 * time.Minute)
	if got, ok := c.Get(q, now, nil); !ok || now.Sub(got.StoredAt()) != 50*time.Minute {
		t.Errorf("after 50 minutes of sleep: %+v, %v", got, ok)
	}
	late := keptFor(other, time.Hour, 20)
	late.At = now
	c.Put(other, late)
	c.Advance(11 * time.Minute)
	if _, ok := c.Get(q, now, nil); ok {
		t.Error("there after an hour of sleep")
	}
	if got, ok := c.Get(other, now, nil); !ok || now.Sub(got.StoredAt()) != 11*time.Minute {
		t.Errorf("what came in between: %+v, %v", got, ok)
	}
}

// A name is forgotten whole, and alone.
func TestFlushOfAName(t *testing.T) {
	c := newTestCache(1 << 20)
	names := []string{"www.example.", "example.", "a.www.example."}
	for _, name := range names {
		for typ := range uint16(50) {
			q := cacheQuestion(t, name)
			q.Type, q.DO = typ+1, typ%2 == 0
			c.Put(q, keptFor(q, time.Hour, 20))
			has(c, q)
		}
	}
	if n := c.FlushName(&cacheQuestion(t, "www.example.").Name); n != 50 {
		t.Errorf("%d entries forgotten, want 50", n)
	}
	for i := range c.shards {
		checkShard(t, &c.shards[i])
	}
	left := map[string]int{}
	c.Items(nil, time.Now(), func(it *Item) bool {
		left[it.Question.Name.String()]++
		if it.State != Fresh || it.Hits != 1 || it.Left > time.Hour || it.Left < time.Hour-time.Minute {
			t.Errorf("%+v", it)
		}
		return true
	})
	if len(left) != 2 || left["example"]+left["example."] != 50 {
		t.Errorf("left: %v", left)
	}
	if u := c.Look(time.Now()); u.Entries != 100 || u.States[Fresh] != 100 || u.Size != 1<<20 {
		t.Errorf("%+v", u)
	}
}
