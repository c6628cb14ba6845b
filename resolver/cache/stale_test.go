package cache

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"telltale/dnswire"
)

// A staleTwin is what a cache has of one name, as RFC 8767 has it, on a map.
type staleTwin struct {
	known map[variant]*known
	epoch uint32
	stale time.Duration
}

type known struct {
	mark     uint16 // tells answers apart
	stored   time.Duration
	life     time.Duration
	failed   bool
	epoch    uint32        // of a failure, or of the last time in vain
	deferred time.Duration // until when; 0: not
}

func (w *staleTwin) holds(k *known, now time.Duration) bool {
	return k != nil && now < k.stored+k.life && (!k.failed || k.epoch == w.epoch)
}

func (w *staleTwin) isStale(k *known, now time.Duration) bool {
	return k != nil && !k.failed && now >= k.stored+k.life && now < k.stored+k.life+w.stale
}

// best returns what is served of both: what holds, then the newer.
func (w *staleTwin) best(typ uint16, now time.Duration) *known {
	own, all := w.known[variant{typ: typ}], w.known[variant{typ: allTypes}]
	switch {
	case w.holds(own, now):
		return own
	case w.holds(all, now):
		return all
	case !w.isStale(own, now):
		own = nil
	}
	if w.isStale(all, now) && (own == nil || all.stored > own.stored) {
		return all
	}
	return own
}

func (w *staleTwin) get(typ uint16, now time.Duration) (k *known, ok, stale bool) {
	k = w.best(typ, now)
	if k == nil {
		return nil, false, false
	}
	stale = !w.holds(k, now)
	return k, !stale || now < k.deferred && k.epoch == w.epoch, stale
}

func (w *staleTwin) put(v variant, k *known) {
	if k.failed && w.putOff(v.typ, k.stored, k.epoch) {
		return
	}
	w.known[v] = k
}

func (w *staleTwin) putOff(typ uint16, now time.Duration, epoch uint32) (any bool) {
	for _, v := range []variant{{typ: typ}, {typ: allTypes}} {
		if k := w.known[v]; k != nil && !k.failed && (w.holds(k, now) || w.isStale(k, now)) {
			k.deferred, k.epoch, any = (now + 30*time.Second + time.Second - 1).Truncate(time.Second), epoch, true
		}
	}
	return any
}

func TestStaleAnswersAgreeWithSlowTwin(t *testing.T) {
	var epoch atomic.Uint32
	c := New(1<<20, &epoch)
	twin := &staleTwin{known: map[variant]*known{}}
	random := rand.New(rand.NewPCG(7, 8))
	q := [2]*dnswire.Question{cacheQuestion(t, "www.example."), cacheQuestion(t, "www.example.")}
	q[1].Type = dnswire.TypeAAAA
	now := time.Duration(0)
	seen := map[string]int{}
	for step := range 12_000 {
		question := q[random.IntN(2)]
		now += time.Duration(random.Int64N(int64(40 * time.Second)))
		at := c.start.Add(now)
		switch random.IntN(12) {
		case 0:
			epoch.Add(1)
			twin.epoch++
		case 1:
			if random.IntN(40) == 0 {
				c.Flush()
				clear(twin.known)
			}
		case 2:
			twin.stale = []time.Duration{0, time.Minute, time.Hour}[random.IntN(3)]
			c.SetStale(twin.stale)
		case 3, 4:
			k := &known{mark: uint16(step), stored: now, life: time.Duration(1+random.IntN(100)) * time.Second}
			e := keptFor(question, k.life, 8)
			e.At, e.TTLs = at, nil
			v := variantOf(question)
			if random.IntN(4) == 0 {
				e.Rcode, v.typ = dnswire.NXDomain, allTypes
			}
			binary.BigEndian.PutUint16(e.Wire, k.mark)
			c.Put(question, e)
			twin.put(v, k)
		case 5:
			e := NewFailure(dnswire.EDE{}, at)
			e.KeepFailure(c.Peek(question), epoch.Load())
			k := &known{stored: now, life: e.Life, failed: true, epoch: twin.epoch}
			c.Put(question, e)
			twin.put(variantOf(question), k)
		case 6:
			if got, want := c.Defer(question, at, epoch.Load()), twin.putOff(question.Type, now, twin.epoch); got != want {
				t.Fatalf("step %d: there is something to serve instead: %v, want %v", step, got, want)
			}
		}
		want, wantOK, wantStale := twin.get(question.Type, now)
		e, ok := c.Get(question, at, nil)
		got := fmt.Sprintf("served %v", ok)
		text := fmt.Sprintf("served %v", wantOK)
		if e != nil && !e.Unanswered {
			got += fmt.Sprintf(" answer %d stale %v", binary.BigEndian.Uint16(e.Wire), e.Stale)
		}
		if want != nil && !want.failed {
			text += fmt.Sprintf(" answer %d stale %v", want.mark, wantStale && wantOK)
		}
		if got != text || (e == nil) != (want == nil) {
			t.Fatalf("step %d at %v: %s, want %s", step, now, got, text)
		}
		seen[fmt.Sprint(want != nil, wantOK, wantStale)]++
		if e := c.GetStale(question, at); (e == nil) != (want == nil) || e != nil && (e.Stale != wantStale || !want.failed && binary.BigEndian.Uint16(e.Wire) != want.mark) {
			t.Fatalf("step %d: in want of an answer %+v, want %+v", step, e, want)
		}
	}
	for _, kind := range []string{"false false false", "true true false", "true true true", "true false true"} {
		if seen[kind] < 150 {
			t.Errorf("%s was seen %d times: %v", kind, seen[kind], seen)
		}
	}
}

// What is served after its time says so, and for how long it may be kept.
func TestStaleAnswerSaysSo(t *testing.T) {
	for _, test := range []struct {
		rcode uint16
		ede   uint16
	}{{dnswire.Success, 3}, {dnswire.NXDomain, 19}} {
		c := newTestCache(1 << 20)
		c.SetStale(time.Hour)
		q := cacheQuestion(t, "www.example.")
		e := keptFor(q, time.Minute, 20)
		e.Rcode, e.AD, e.MaxTTL = test.rcode, true, 300
		e.TTLs = []uint16{uint16(len(e.Wire) - 8), uint16(len(e.Wire) - 4)}
		binary.BigEndian.PutUint32(e.Wire[len(e.Wire)-4:], 5000)
		c.Put(q, e)
		now := time.Now().Add(2 * time.Minute)
		got := c.GetStale(q, now)
		if got == nil || !got.Stale || got.AD || got.EDE.Code != test.ede || got.MaxTTL != 30 || !got.StoredAt().Equal(now) {
			t.Fatalf("%+v", got)
		}
		for _, off := range got.TTLs {
			if ttl := binary.BigEndian.Uint32(got.Wire[off:]); ttl != 30 {
				t.Errorf("a TTL of %d, want 30", ttl)
			}
		}
	}
}

// A validator's verdict is newer than what it is about.
func TestVerdictTakesThePlaceOfAnAnswer(t *testing.T) {
	c := newTestCache(1 << 20)
	c.SetStale(time.Hour)
	q := cacheQuestion(t, "www.example.")
	c.Put(q, keptFor(q, time.Minute, 20))
	bogus := keptFor(q, 0, 0)
	bogus.Rcode, bogus.EDE.Code, bogus.TTLs = dnswire.ServFail, 6, nil
	bogus.At = time.Now().Add(2 * time.Minute)
	bogus.KeepFailure(nil, 0)
	c.Put(q, bogus)
	if e, ok := c.Get(q, bogus.StoredAt(), nil); !ok || e.Rcode != dnswire.ServFail {
		t.Errorf("%+v, %v", e, ok)
	}
	if e := c.GetStale(q, bogus.StoredAt().Add(time.Minute)); e != nil {
		t.Errorf("served after it: %+v", e)
	}
}
