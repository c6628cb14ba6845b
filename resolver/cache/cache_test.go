package cache

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale/dnswire"
)

func cacheQuestion(t testing.TB, name string) *dnswire.Question {
	t.Helper()
	q := &dnswire.Question{Type: dnswire.TypeA, Class: dnswire.ClassIN}
	if err := q.Name.Set(name); err != nil {
		t.Fatal(err)
	}
	return q
}

// keptFor returns an answer to q, with so many octets behind the question, that
// lives for d.
func keptFor(q *dnswire.Question, d time.Duration, octets int) *Entry {
	now := time.Now()
	e := &Entry{At: now, Life: d}
	e.Wire = append(make([]byte, dnswire.HeaderLen), q.Name.Wire()...)
	e.Wire = append(e.Wire, make([]byte, 4+octets)...)
	e.Question, e.TTLs = len(q.Name.Wire())+4, make([]uint16, 2)
	return e
}

// has reports whether c keeps an answer to q.
func has(c *Cache, q *dnswire.Question) bool {
	_, ok := c.Get(q, time.Now(), nil)
	return ok
}

// find is findLocked for one goroutine.
func (s *shard) find(hash uint32, q *dnswire.Question) uint32 {
	return s.findLocked(hash, &q.Name, variantOf(q))
}

func newTestCache(size int64) *Cache { return New(size, new(atomic.Uint32)) }

// oneShard sees to it that all questions of a test lie in one shard.
func oneShard(t testing.TB, c *Cache, n int) []*dnswire.Question {
	var list []*dnswire.Question
	for i := 0; len(list) < n; i++ {
		q := cacheQuestion(t, fmt.Sprintf("n%d.example.", i))
		if c.shard(variantOf(q).mix(c.hash(&q.Name))) == &c.shards[0] {
			list = append(list, q)
		}
	}
	return list
}

func TestEvictionPassesOverWhatWasServed(t *testing.T) {
	c := newTestCache(shardCount * 4 * (recordCost + 2*cellSize))
	qs := oneShard(t, c, 7)
	for _, q := range qs[:4] {
		c.Put(q, keptFor(q, time.Hour, 10))
	}
	has(c, qs[0])
	has(c, qs[2])
	for _, q := range qs[4:6] {
		c.Put(q, keptFor(q, time.Hour, 10))
	}
	for i, want := range []bool{true, false, true, false, true, true} {
		if got := c.Peek(qs[i]) != nil; got != want {
			t.Errorf("entry %d is kept: %v, want %v", i, got, want)
		}
	}
}

// A slowShard is the eviction on slices, the newest first.
type slowShard struct {
	fresh, main []*slowItem
	gone        map[int]string // by the place where the hash of a name is remembered
	place       func(name string) int
	capacity    int
}

type slowItem struct {
	name   string
	rounds int
}

func (s *slowShard) find(name string) *slowItem {
	for _, it := range slices.Concat(s.fresh, s.main) {
		if it.name == name {
			return it
		}
	}
	return nil
}

// use is a hit, or an answer that comes again.
func (s *slowShard) use(name string) bool {
	it := s.find(name)
	if it != nil {
		it.rounds = min(it.rounds+1, 3)
	}
	return it != nil
}

func (s *slowShard) put(name string) {
	if s.use(name) {
		return
	}
	if len(s.fresh)+len(s.main) == s.capacity {
		s.evict()
	}
	it := []*slowItem{{name: name}}
	if s.gone[s.place(name)] == name {
		delete(s.gone, s.place(name))
		s.main = append(it, s.main...)
		return
	}
	s.fresh = append(it, s.fresh...)
}

func last[T any](list *[]T) T {
	at := len(*list) - 1
	it := (*list)[at]
	*list = (*list)[:at]
	return it
}

func (s *slowShard) evict() {
	for len(s.fresh) > 0 && (len(s.main) == 0 || len(s.fresh)*10 >= s.capacity) {
		it := last(&s.fresh)
		if it.rounds == 0 {
			s.gone[s.place(it.name)] = it.name
			return
		}
		it.rounds = 0
		s.main = append([]*slowItem{it}, s.main...)
	}
	for {
		it := last(&s.main)
		if it.rounds == 0 {
			return
		}
		it.rounds--
		s.main = append([]*slowItem{it}, s.main...)
	}
}

func TestEvictionAgreesWithSlowTwin(t *testing.T) {
	const capacity = 40
	c := newTestCache(shardCount * capacity * (recordCost + 2*cellSize))
	qs := oneShard(t, c, 180)
	hashes := map[string]uint32{}
	for _, q := range qs {
		hashes[q.Name.String()] = uint32(variantOf(q).mix(c.hash(&q.Name)))
	}
	twin := &slowShard{capacity: capacity, gone: map[int]string{}, place: func(name string) int { return int(uint64(hashes[name]) * capacity >> 32) }}
	random := rand.New(rand.NewPCG(3, 4))
	back := 0
	for step := range 20_000 {
		q := qs[min(random.IntN(len(qs)), random.IntN(len(qs)))]
		k := q.Name.String()
		got, want := has(c, q), twin.use(k)
		if got != want {
			t.Fatalf("step %d: %s is kept: %v, want %v", step, k, got, want)
		}
		if !got || random.IntN(20) == 0 {
			if twin.gone[twin.place(k)] == k {
				back++
			}
			c.Put(q, keptFor(q, time.Hour, 10))
			twin.put(k)
		}
	}
	if back < 100 {
		t.Errorf("%d came again soon after they went: too few to see that it matters", back)
	}
}

func TestBytesAreBoundedAsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("measures the heap")
	}
	const bound = 8 << 20
	for _, test := range []struct {
		name            string
		entries, octets int
	}{
		{"many small answers", 60_000, 16},
		{"answers of all sizes", 60_000, 90},
		{"few large answers", 4000, 4000},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			c := newTestCache(bound)
			for i := range test.entries {
				q := cacheQuestion(t, fmt.Sprintf("host-%d.some-domain.example.", i))
				c.Put(q, keptFor(q, time.Hour, test.octets))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			entries, bytes := c.InUse()
			heap := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			if bytes > bound {
				t.Errorf("%d bytes counted, want at most %d", bytes, bound)
			}
			if heap > bound+bound/20 { // chunks are taken whole
				t.Errorf("%d bytes of heap, want at most %d", heap, bound)
			}
			if bytes < bound/2 {
				t.Errorf("%d bytes in %d entries, though there is room for %d", bytes, entries, bound)
			}
			runtime.KeepAlive(c)
		})
	}
}

// A record's cost is what it takes, and there is nothing in it to follow.
func TestCacheMemoryIsAsCounted(t *testing.T) {
	if got := reflect.TypeFor[record]().Size(); got+8+4 > recordCost {
		t.Errorf("a record takes %d octets, and up to 12 of the table and of what is gone; counted are %d", got, recordCost)
	}
	if got := reflect.TypeFor[cell]().Size(); got != cellSize {
		t.Errorf("a cell takes %d octets, counted are %d", got, cellSize)
	}
}

func randomEntry(random *rand.Rand, q *dnswire.Question, start time.Time) *Entry {
	some := func(n int) []byte {
		b := make([]byte, random.IntN(n))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	e := keptFor(q, time.Duration(1+random.IntN(100_000))*time.Second, random.IntN(400))
	e.At = start.Add(time.Duration(random.Int64N(int64(time.Hour))))
	e.Life = time.Duration(1+random.IntN(1<<30)) * time.Second
	copy(e.Wire[dnswire.HeaderLen+e.Question:], some(500))
	e.TTLs = e.TTLs[:0]
	for range random.IntN(20) {
		e.TTLs = append(e.TTLs, uint16(random.Uint32()))
	}
	if random.IntN(4) == 0 { // no answer
		e.Wire, e.TTLs, e.Unanswered = nil, nil, true
	}
	e.Aliases = some(300)
	for range random.IntN(3) {
		e.Hints = append(e.Hints, netip.AddrFrom4([4]byte{192, 0, 2, byte(random.Uint32())}), netip.AddrFrom16([16]byte{0x20, 1, 15: byte(random.Uint32())}))
	}
	for range random.IntN(3) {
		e.Servers = append(e.Servers, "\xc0\x02ns\x07example\x00\x84\xc0\x00\x02\x01"...)
	}
	e.MaxTTL, e.Epoch = random.Uint32(), random.Uint32()
	e.Rcode, e.AD, e.Private, e.Inside, e.HasAddresses = uint16(random.IntN(1<<12)), random.IntN(2) == 0, random.IntN(2) == 0, random.IntN(2) == 0, random.IntN(2) == 0
	if e.IsFailure() {
		e.Failures = uint8(1 + random.IntN(6))
	}
	if random.IntN(2) == 0 {
		e.EDE = dnswire.EDE{Code: uint16(random.Uint32()), Text: string(some(200))}
	}
	return e
}

// entryText is all that an entry says, the places where the cache has it left out.
func entryText(e *Entry) string {
	return fmt.Sprintf("%x %x %v %v %v %v %v | %v %v %v %x %v %v %v %v %v %v %v", e.Wire, e.Servers, e.Question, e.TTLs, e.Rcode, e.AD, e.EDE,
		e.StoredAt().UnixNano(), e.Life, e.MaxTTL, e.Aliases, e.Hints, e.Private, e.Inside, e.HasAddresses, e.Unanswered, e.Failures, e.Epoch)
}

func TestWhatIsKeptComesBackAsItWas(t *testing.T) {
	c := newTestCache(4 << 20)
	random := rand.New(rand.NewPCG(5, 6))
	twin, failed := map[string]string{}, map[string]bool{}
	var qs []*dnswire.Question
	for i := range 300 {
		qs = append(qs, cacheQuestion(t, strings.Repeat("long-label.", random.IntN(20))+fmt.Sprintf("n%d.example.", i)))
	}
	into, found := new(Entry), 0
	for step := range 20_000 {
		q := qs[random.IntN(len(qs))]
		k := q.Name.String()
		if random.IntN(3) == 0 {
			e := randomEntry(random, q, c.start)
			if e.IsFailure() && twin[k] != "" && !failed[k] {
				continue // an answer keeps its place
			}
			c.Put(q, e)
			twin[k], failed[k] = entryText(e), e.IsFailure()
		}
		var got *Entry
		if step%2 == 0 {
			got = c.Peek(q)
		} else if hash := variantOf(q).mix(c.hash(&q.Name)); c.shard(hash).find(uint32(hash), q) != 0 {
			s, at := c.shard(hash), c.shard(hash).find(uint32(hash), q)
			got = c.copyLocked(s, at, into)
			got.At, got.Age = c.start.Add(time.Hour), time.Hour-s.record(at).storedAt
		}
		if got == nil && twin[k] == "" {
			continue
		}
		found++
		if got == nil || entryText(got) != twin[k] {
			t.Fatalf("step %d, %s:\n got %s\nwant %s", step, k, entryText(got), twin[k])
		}
	}
	if found < 10_000 {
		t.Errorf("only %d were there: the test's sizes are off", found)
	}
}

func TestQuestionsOfOneHashAreTold(t *testing.T) {
	s := &shard{memory: newMemory(1 << 20)}
	c := newTestCache(1 << 20)
	var qs []*dnswire.Question
	for i := range 200 {
		qs = append(qs, cacheQuestion(t, fmt.Sprintf("n%d.example.", i)))
		f, data, _ := encodeEntry(nil, qs[i], keptFor(qs[i], time.Hour, i))
		s.putLocked(7, &qs[i].Name, &f, data) // as if the hashes were the same
	}
	for i, q := range qs {
		at := s.find(7, q)
		if at == 0 {
			t.Fatalf("%s is not found", q.Name.String())
		}
		if e := c.copyLocked(s, at, nil); len(e.Wire) != dnswire.HeaderLen+e.Question+i || e.Question != len(q.Name.Wire())+4 {
			t.Errorf("%s: the answer to another question", q.Name.String())
		}
	}
	for _, change := range []func(*dnswire.Question){
		func(q *dnswire.Question) { q.Type = dnswire.TypeAAAA }, func(q *dnswire.Question) { q.DO = true }, func(q *dnswire.Question) { q.CD = true },
		func(q *dnswire.Question) { q.Name.Set("n200.example.") }, func(q *dnswire.Question) { q.Name.Set("example.") },
	} {
		q := cacheQuestion(t, "n100.example.")
		change(q)
		if s.find(7, q) != 0 {
			t.Errorf("%v %s is taken for another", q.Type, q.Name.String())
		}
	}
}

// What is judged clean is what was judged, not what has come into its place.
func TestOnlyWhatWasJudgedIsRememberedAsClean(t *testing.T) {
	c := newTestCache(1 << 20)
	q := cacheQuestion(t, "a.example.")
	c.Put(q, keptFor(q, time.Hour, 10))
	old := c.Peek(q)
	old.kept.setPassed(5)
	if got := c.Peek(q).Passed; got != 5 {
		t.Errorf("passed by %d, want 5", got)
	}
	c.Put(q, keptFor(q, time.Hour, 10))
	old.kept.setPassed(6)
	if got := c.Peek(q).Passed; got != 0 {
		t.Errorf("a new answer passed by %d, want 0: nobody has looked at it", got)
	}
	c.Flush()
	old.kept.setPassed(7)
	c.Put(q, keptFor(q, time.Hour, 10))
	old.kept.setPassed(7)
	if got := c.Peek(q).Passed; got != 0 {
		t.Errorf("after a flush passed by %d, want 0", got)
	}
}

func TestWhatMayNotBeKeptIsNot(t *testing.T) {
	q := cacheQuestion(t, "a.example.")
	c := newTestCache(1 << 20)
	c.Put(q, keptFor(q, 0, 100))
	if c.Peek(q) != nil {
		t.Error("TTL 0 is kept")
	}
	c.Put(q, keptFor(q, time.Hour, 60_000))
	if c.Peek(q) != nil {
		t.Error("an answer larger than a quarter of its shard is kept")
	}
	c.Put(q, keptFor(q, time.Minute, 100))
	if _, ok := c.Get(q, time.Now().Add(59*time.Second), nil); !ok {
		t.Error("gone before its time")
	}
	if _, ok := c.Get(q, time.Now().Add(time.Minute), nil); ok {
		t.Error("served after its time")
	}
	for _, size := range []int64{-1, 1, 1000} {
		off := newTestCache(size)
		off.Put(q, keptFor(q, time.Hour, 100))
		if off.Peek(q) != nil {
			t.Errorf("kept in %d bytes", size)
		}
	}
}

func TestCacheUnderManyHands(t *testing.T) {
	c := newTestCache(1 << 17)
	var qs []*dnswire.Question
	for i := range 500 {
		qs = append(qs, cacheQuestion(t, fmt.Sprintf("n%d.example.", i)))
	}
	var hands sync.WaitGroup
	for h := range 4 {
		hands.Go(func() {
			random := rand.New(rand.NewPCG(uint64(h), 0))
			into := new(Entry)
			for range 5000 {
				q := qs[random.IntN(len(qs))]
				if e, ok := c.Get(q, time.Now(), into); !ok {
					c.Put(q, keptFor(q, time.Hour, random.IntN(500)))
				} else if name := q.Name.Wire(); string(e.Wire[dnswire.HeaderLen:][:len(name)]) != string(name) {
					t.Error("the answer to another question")
				} else {
					e.SetPassed(uint64(h))
				}
				if random.IntN(1000) == 0 {
					c.Flush()
				}
			}
		})
	}
	hands.Wait()
	for i := range c.shards {
		checkShard(t, &c.shards[i])
	}
}

// checkShard walks everything a shard has.
func checkShard(t *testing.T, s *shard) {
	t.Helper()
	records, cells := 0, 0
	for _, q := range []*queue{&s.fresh, &s.main} {
		older, count := uint32(0), 0
		for at := q.tail; at != 0; at = s.record(at).newer {
			r := s.record(at)
			count++
			cells += cellsOf(r.size())
			if r.older != older || r.serial == 0 || s.queueOf(r) != q {
				t.Fatalf("record %d: older is %d, want %d; serial %d; of this queue: %v", at, r.older, older, r.serial, s.queueOf(r) == q)
			}
			older = at
		}
		if q.head != older || q.count != count {
			t.Errorf("the head is %d, want %d; %d counted, want %d", q.head, older, q.count, count)
		}
		records += count
	}
	chained := 0
	for i := range s.table {
		for at := s.table[i]; at != 0; at = s.record(at).chain {
			chained++
		}
	}
	if records != s.records.used || chained != records || cells != s.cells.used {
		t.Errorf("%d records in the queues, %d in chains, %d counted; %d cells, %d counted", records, chained, s.records.used, cells, s.cells.used)
	}
}

func TestFailuresDoubleAndAreForgotten(t *testing.T) {
	start := time.Now()
	fail := func(at time.Duration, last *Entry, epoch uint32) *Entry {
		e := NewFailure(dnswire.EDE{}, start.Add(at))
		e.KeepFailure(last, epoch)
		return e
	}
	var last *Entry
	at := time.Duration(0)
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		last = fail(at, last, 1)
		if got := last.Life; got != want*time.Second {
			t.Errorf("failure %d lives for %v, want %v", i+1, got, want*time.Second)
		}
		at += last.Life
	}
	if e := fail(at, last, 2); e.Failures != 1 {
		t.Error("upstreams have come up since: that is no failure in a row")
	}
	if e := fail(at+time.Hour, last, 1); e.Failures != 1 {
		t.Error("an hour later: that is no failure in a row")
	}
	good := keptFor(cacheQuestion(t, "a.example."), time.Hour, 100)
	if e := fail(at, good, 0); e.Failures != 1 {
		t.Error("there was an answer: that is no failure in a row")
	}
}

// An NXDOMAIN says of a name that it does not exist, whatever type it was asked
// for (RFC 2308, 5), but of the name at the end of an alias chain it says nothing
// about the first.
func TestNXDOMAINIsForAllTypes(t *testing.T) {
	c := newTestCache(1 << 20)
	q := cacheQuestion(t, "gone.example.")
	e := keptFor(q, time.Hour, 10)
	e.Rcode = dnswire.NXDomain
	c.Put(q, e)
	of := func(change func(*dnswire.Question)) *dnswire.Question {
		q := cacheQuestion(t, "gone.example.")
		change(q)
		return q
	}
	for _, test := range []struct {
		name string
		q    *dnswire.Question
		want bool
	}{
		{"the same", q, true},
		{"another type", of(func(q *dnswire.Question) { q.Type = dnswire.TypeAAAA }), true},
		{"with DO", of(func(q *dnswire.Question) { q.DO = true }), false},
		{"with CD", of(func(q *dnswire.Question) { q.CD = true }), false},
		{"another name", cacheQuestion(t, "here.example."), false},
		{"a name below", cacheQuestion(t, "x.gone.example."), false},
	} {
		if got := has(c, test.q); got != test.want {
			t.Errorf("%s: found %v, want %v", test.name, got, test.want)
		}
	}
	if _, ok := c.Get(q, time.Now().Add(2*time.Hour), nil); ok {
		t.Error("an NXDOMAIN is served when its time is over")
	}

	q = cacheQuestion(t, "alias.example.")
	e = keptFor(q, time.Hour, 10)
	e.Rcode, e.Aliases = dnswire.NXDomain, []byte("\x04gone\x07example\x00")
	c.Put(q, e)
	other := cacheQuestion(t, "alias.example.")
	if other.Type = dnswire.TypeAAAA; !has(c, q) || has(c, other) {
		t.Errorf("an alias that leads to no name: A %v, AAAA %v, want A alone", has(c, q), has(c, other))
	}
}

// What a question with DO brought is found for one without, and not the other way.
func TestSignedAnswersAreFound(t *testing.T) {
	c := newTestCache(1 << 20)
	plain, signed := cacheQuestion(t, "a.example."), cacheQuestion(t, "a.example.")
	signed.DO = true
	c.Put(signed, keptFor(signed, time.Hour, 10))
	if _, ok := c.GetSigned(plain, time.Now()); !ok || has(c, plain) {
		t.Errorf("found %v as signed and %v as plain, want true and false", ok, has(c, plain))
	}
	other := cacheQuestion(t, "b.example.")
	c.Put(other, keptFor(other, time.Hour, 10))
	if _, ok := c.GetSigned(other, time.Now()); ok {
		t.Error("an answer without signatures is found as one with them")
	}
}
