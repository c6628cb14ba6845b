package resolver

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/querylog"
)

func cacheQuestion(t testing.TB, name string) *dnswire.Question {
	t.Helper()
	q := &dnswire.Question{Type: dnswire.TypeA, Class: dnswire.ClassIN}
	if err := q.Name.Set(name); err != nil {
		t.Fatal(err)
	}
	return q
}

// keptFor returns an entry of some octets that lives for d.
func keptFor(d time.Duration, octets int) *entry {
	now := time.Now()
	return &entry{stored: now, dies: now.Add(d), Stored: dnswire.Stored{Wire: make([]byte, octets), TTLs: make([]uint16, 2)}}
}

func newTestCache(size int64) *cache { return newCache(size, new(atomic.Uint32)) }

// oneShard sees to it that all questions of a test lie in one shard.
func oneShard(t testing.TB, c *cache, n int) []*dnswire.Question {
	var list []*dnswire.Question
	for i := 0; len(list) < n; i++ {
		q := cacheQuestion(t, fmt.Sprintf("n%d.example.", i))
		if c.shard(c.hash(q)) == &c.shards[0] {
			list = append(list, q)
		}
	}
	return list
}

func TestEvictionPassesOverWhatWasServed(t *testing.T) {
	c := newTestCache(cacheShards * 4000)
	qs := oneShard(t, c, 12)
	for _, q := range qs[:4] { // four of about 500 octets each, eight have room
		c.put(q, keptFor(time.Hour, 100))
	}
	c.get(qs[0], time.Now())
	c.get(qs[2], time.Now())
	before := len(c.shards[0].m)
	for _, q := range qs[4:] {
		c.put(q, keptFor(time.Hour, 100))
	}
	if before != 4 || len(c.shards[0].m) >= 12 {
		t.Fatalf("%d, then %d entries: the test's sizes are off", before, len(c.shards[0].m))
	}
	for i, want := range []bool{true, false, true, false} {
		if got := c.peek(qs[i]) != nil; got != want {
			t.Errorf("entry %d is kept: %v, want %v", i, got, want)
		}
	}
	if c.peek(qs[11]) == nil {
		t.Error("the newest entry is gone")
	}
}

// sieve is the algorithm as its authors wrote it down, on a slice.
type sieve struct {
	queue []string // newest first
	seen  map[string]bool
	hand  int
	room  int
}

func (s *sieve) get(k string) bool {
	for _, have := range s.queue {
		if have == k {
			s.seen[k] = true
			return true
		}
	}
	return false
}

func (s *sieve) put(k string) {
	s.queue = append([]string{k}, s.queue...)
	s.hand++ // it stays at its entry
	if len(s.queue) <= s.room {
		return
	}
	if s.hand >= len(s.queue) || s.hand < 0 {
		s.hand = len(s.queue) - 1
	}
	for s.seen[s.queue[s.hand]] {
		delete(s.seen, s.queue[s.hand])
		if s.hand--; s.hand < 0 {
			s.hand = len(s.queue) - 1
		}
	}
	s.queue = append(s.queue[:s.hand:s.hand], s.queue[s.hand+1:]...)
	if s.hand--; s.hand < 0 {
		s.hand = len(s.queue) // none: begin at the oldest
	}
}

func TestEvictionAgreesWithSlowTwin(t *testing.T) {
	c := newTestCache(cacheShards * 20_000)
	qs := oneShard(t, c, 100)
	one := keptFor(time.Hour, 100)
	size := func() int64 { e := *keptEntry(one, qs[10]); return e.size() }()
	c.shards[0].max = 20 * size // names of like length
	qs = qs[10:90]
	twin := &sieve{seen: map[string]bool{}, room: 20, hand: 1 << 30}
	random := rand.New(rand.NewPCG(3, 4))
	for step := range 5000 {
		q := qs[min(random.IntN(len(qs)), random.IntN(len(qs)))]
		if len(q.Name.Wire()) != len(qs[0].Name.Wire()) {
			continue
		}
		k := q.Name.String()
		_, got := c.get(q, time.Now())
		want := twin.get(k)
		if got != want {
			t.Fatalf("step %d: %s is kept: %v, want %v", step, k, got, want)
		}
		if !got {
			c.put(q, keptFor(time.Hour, 100))
			twin.put(k)
			if twin.hand > len(twin.queue) {
				twin.hand = 1 << 30
			}
		}
	}
}

func keptEntry(e *entry, q *dnswire.Question) *entry {
	c := newTestCache(1 << 20)
	c.put(q, e)
	return c.peek(q)
}

func TestBytesAreBoundedAsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("measures the heap")
	}
	const bound = 8 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := newTestCache(bound)
	for i := range 60_000 {
		c.put(cacheQuestion(t, fmt.Sprintf("host-%d.some-domain.example.", i)), keptFor(time.Hour, 90))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	_, bytes := c.usage()
	heap := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	if bytes > bound {
		t.Errorf("%d bytes counted, want at most %d", bytes, bound)
	}
	if heap > bytes+bytes/4 {
		t.Errorf("%d bytes of heap for %d counted", heap, bytes)
	}
	runtime.KeepAlive(c)
}

func TestQuestionsOfOneHashAreTold(t *testing.T) {
	c := newTestCache(1 << 20)
	a, b := cacheQuestion(t, "a.example."), cacheQuestion(t, "b.example.")
	c.put(a, keptFor(time.Hour, 100))
	hash := c.hash(b)
	c.shard(hash).m[hash] = c.shard(c.hash(a)).m[c.hash(a)] // as if the hashes were the same
	if _, ok := c.get(b, time.Now()); ok {
		t.Error("the answer to another question")
	}
	for _, change := range []func(*dnswire.Question){
		func(q *dnswire.Question) { q.Type = dnswire.TypeAAAA }, func(q *dnswire.Question) { q.DO = true }, func(q *dnswire.Question) { q.CD = true },
	} {
		q := cacheQuestion(t, "a.example.")
		change(q)
		if e := c.peek(a); e == nil || e.key.holds(q) {
			t.Errorf("%v is taken for %v", q.Type, a.Type)
		}
	}
}

func TestWhatMayNotBeKeptIsNot(t *testing.T) {
	q := cacheQuestion(t, "a.example.")
	c := newTestCache(1 << 20)
	c.put(q, keptFor(0, 100))
	if c.peek(q) != nil {
		t.Error("TTL 0 is kept")
	}
	c.put(q, keptFor(time.Hour, 60_000))
	if c.peek(q) != nil {
		t.Error("an answer larger than a quarter of its shard is kept")
	}
	c.put(q, keptFor(time.Minute, 100))
	if _, ok := c.get(q, time.Now().Add(59*time.Second)); !ok {
		t.Error("gone before its time")
	}
	if _, ok := c.get(q, time.Now().Add(time.Minute)); ok {
		t.Error("served after its time")
	}
	off := newTestCache(-1)
	off.put(q, keptFor(time.Hour, 100))
	if off.peek(q) != nil {
		t.Error("kept, though there is to be no cache")
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
			for range 5000 {
				q := qs[random.IntN(len(qs))]
				if e, ok := c.get(q, time.Now()); !ok {
					c.put(q, keptFor(time.Hour, random.IntN(500)))
				} else if !e.key.holds(q) {
					t.Error("the answer to another question")
				}
				if random.IntN(1000) == 0 {
					c.flush()
				}
			}
		})
	}
	hands.Wait()
	entries, bytes := 0, int64(0)
	for i := range c.shards {
		for n := c.shards[i].head; n != nil; n = n.next {
			entries++
			bytes += n.size()
		}
	}
	if e, b := c.usage(); e != entries || b != bytes {
		t.Errorf("%d entries, %d bytes counted; %d, %d in the queues", e, b, entries, bytes)
	}
}

func TestFailuresDoubleAndAreForgotten(t *testing.T) {
	start := time.Now()
	fail := func(at time.Duration, last *entry, weather uint32) *entry {
		e := newFailure(dnswire.EDE{}, start.Add(at))
		e.keepFailure(last, weather)
		return e
	}
	var last *entry
	at := time.Duration(0)
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		last = fail(at, last, 1)
		if got := last.dies.Sub(last.stored); got != want*time.Second {
			t.Errorf("failure %d lives for %v, want %v", i+1, got, want*time.Second)
		}
		at += last.dies.Sub(last.stored)
	}
	if e := fail(at, last, 2); e.failed != 1 {
		t.Error("upstreams have come up since: that is no failure in a row")
	}
	if e := fail(at+time.Hour, last, 1); e.failed != 1 {
		t.Error("an hour later: that is no failure in a row")
	}
	good := keptFor(time.Hour, 100)
	if e := fail(at, good, 0); e.failed != 1 {
		t.Error("there was an answer: that is no failure in a row")
	}
}

// A network that was down and is back must not go on failing from memory.
func TestFailuresEndWhenUpstreamsComeUp(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	up := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if broken.Load() {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
			return
		}
		answerA("192.0.2.1")(w, q)
	})
	var ahead atomic.Int64
	s, book := startServer(t, Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}, up)
	rows := 0
	ask := func(want querylog.Source) *dns.Msg {
		r := ask(t, s, "udp", "www.example.", dns.TypeA)
		rows++
		if got := book.last(t, rows).Source; got != want {
			t.Errorf("lookup %d logged from %v, want %v", rows, got, want)
		}
		return r
	}
	for range 7 { // until it is remembered as long as it may be
		ask(querylog.FromUpstream)
		ahead.Add(int64(30 * time.Second))
	}
	ask(querylog.FromUpstream)
	ahead.Add(int64(29 * time.Second))
	ask(querylog.FromCache)
	h := s.upstreams.set.Load().all[0].health
	s.upstreams.judge(h, UpstreamDown, "was silent")
	ask(querylog.FromCache)
	broken.Store(false)
	s.upstreams.judge(h, UpstreamUp, "")
	if r := ask(querylog.FromUpstream); data(r) != "A 192.0.2.1" {
		t.Errorf("after the upstream is back: %v", r)
	}
}

// Where nobody was asked there is nothing to spare upstreams, and nothing to
// remember.
func TestNobodyToAskIsNotRemembered(t *testing.T) {
	s, book := startServer(t, Options{})
	for i := range 2 {
		ask(t, s, "udp", "www.example.", dns.TypeA)
		if row := book.last(t, i+1); row.Source != querylog.FromError {
			t.Errorf("logged from %v", row.Source)
		}
	}
	up := startUpstream(t, answerA("192.0.2.1"))
	s.SetUpstreams([]Upstream{{Addr: up.addr}})
	if r := ask(t, s, "udp", "www.example.", dns.TypeA); data(r) != "A 192.0.2.1" {
		t.Errorf("%v", r)
	}
}

// A failure served from memory says so in the log.
func TestFailureFromMemory(t *testing.T) {
	dead := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeHINFO {
			answerA("192.0.2.1")(w, q) // it is up
			return
		}
		w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
	})
	s, book := startServer(t, Options{}, dead)
	for i, want := range []querylog.Source{querylog.FromError, querylog.FromFailure} {
		r := ask(t, s, "udp", "www.example.", dns.TypeA)
		if row := book.last(t, i+1); row.Source != want || r.Rcode != dns.RcodeServerFailure {
			t.Errorf("%d: %s, logged from %v, want %v", i, dns.RcodeToString[r.Rcode], row.Source, want)
		}
	}
}
