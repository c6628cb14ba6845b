// Package cache keeps what upstreams said, in memory of a fixed size that the
// garbage collector does not look into.
package cache

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"telltale/dnswire"
)

// A Key is what decides an upstream's answer: a question, whether the client
// wants DNSSEC records (DO) or validates itself (CD), and which servers answer it. No
// option of a client is part of it, so that none can split or poison it.
type Key struct {
	name string // wire form
	typ  uint16
	bits uint8 // 1: DO, 2: CD
	view uint8 // see dnswire.Question.View
}

// keyBits returns the bits of q's key.
func keyBits(q *dnswire.Question) (bits uint8) {
	if q.DO {
		bits |= 1
	}
	if q.CD {
		bits |= 2
	}
	return bits
}

// NewKey returns the key of q.
func NewKey(q *dnswire.Question) Key {
	return Key{name: string(q.Name.Wire()), typ: q.Type, bits: keyBits(q), view: q.View}
}

// A variant is what tells the entries of a name apart.
type variant struct {
	typ  uint16 // 0: of all types
	bits uint8
	view uint8 // answers of different servers are never served one for the other
}

// allTypes is the type of an NXDOMAIN: it says of the name that it does not exist
// (RFC 2308, 5; RFC 8020, 2). No question has it.
const allTypes = 0

func variantOf(q *dnswire.Question) variant { return variant{q.Type, keyBits(q), q.View} }

const shardCount = 16

// A Cache holds entries by question, in memory of a fixed size that has no
// pointers. When it is full, what goes first is what was not served since it came: a
// scan fills a tenth and no more (see evict.go). Any goroutine may use it.
type Cache struct {
	seed    maphash.Seed
	size    int64
	start   time.Time    // what times in records are counted from
	slept   atomic.Int64 // how long the machine has slept since, ns: the process's clock stood still
	shards  [shardCount]shard
	current *atomic.Uint32 // the availability epoch: failures hold as long as it does
	stale   atomic.Int64   // how long what has expired may be served where upstreams give no answer, ns
}

// A shard is the records of the questions whose hash leads to it: each in a
// chain of those with the same hash, and in a queue for eviction.
type shard struct {
	mu sync.RWMutex
	memory
	table   []uint32 // the first record of each chain, by hash; a power of two
	serial  uint32   // of the entry put last
	evicted uint64   // records that had to go for others
	queues
}

// New returns a cache of size bytes at most; of none if size is negative.
func New(size int64, current *atomic.Uint32) *Cache {
	c := &Cache{seed: maphash.MakeSeed(), size: max(size, 0), start: time.Now(), current: current}
	for i := range c.shards {
		c.shards[i].memory = newMemory(size / shardCount)
	}
	return c
}

// hash returns a keyed hash of a name, so that clients cannot make keys collide.
func (c *Cache) hash(n *dnswire.Name) uint64 { return maphash.Bytes(c.seed, n.Wire()) }

// mix makes the hash of a name that of one of its variants.
func (v variant) mix(hash uint64) uint64 {
	return hash ^ (uint64(v.view)<<18|uint64(v.typ)<<2|uint64(v.bits))*0x9e3779b97f4a7c15
}

func (c *Cache) shard(hash uint64) *shard { return &c.shards[hash>>32%shardCount] }

// elapsed returns how long after its making the cache is at now. It is counted by the
// clock that nobody sets, and the time for which the machine has slept.
func (c *Cache) elapsed(now time.Time) time.Duration {
	return now.Sub(c.start) + time.Duration(c.slept.Load())
}

// Advance says that the machine has slept for so long: everything is older by that.
func (c *Cache) Advance(slept time.Duration) { c.slept.Add(int64(slept)) }

// SetStale says how long after its time an answer may be served where upstreams give
// none; 0: not at all.
func (c *Cache) SetStale(d time.Duration) { c.stale.Store(int64(d)) }

// A holding is what there is of a question.
type holding uint8

const (
	nothing  holding = iota
	expired          // its time is over; it is served where upstreams give no answer
	deferred         // the same, and lately they gave none: they are not asked again for now
	holds
)

// Get returns what is known of q and is to be served at now, in into if that is not
// nil. It holds until into is used again. What is not to be served, but would be if
// upstreams gave no answer, is returned with false.
func (c *Cache) Get(q *dnswire.Question, now time.Time, into *Entry) (*Entry, bool) {
	return c.get(q, keyBits(q), now, into)
}

// GetSigned is Get for what a question with DO brought, which has all that q asks
// for, and DNSSEC records beside.
func (c *Cache) GetSigned(q *dnswire.Question, now time.Time) (*Entry, bool) {
	return c.get(q, keyBits(q)|1, now, nil)
}

func (c *Cache) get(q *dnswire.Question, bits uint8, now time.Time, into *Entry) (*Entry, bool) {
	e, found := c.find(q, bits, now, into)
	if found == deferred {
		e.makeStale(now)
	}
	return e, found >= deferred
}

// GetStale returns what is served as the answer to q where upstreams give none: as
// long as it holds it is not stale. It returns nil where there is nothing.
func (c *Cache) GetStale(q *dnswire.Question, now time.Time) *Entry {
	e, found := c.find(q, keyBits(q), now, nil)
	if found == expired || found == deferred {
		e.makeStale(now)
	}
	return e
}

// find returns what there is of q: of its type, or of all types. What holds comes
// first, and then what is newer.
func (c *Cache) find(q *dnswire.Question, bits uint8, now time.Time, into *Entry) (*Entry, holding) {
	hash := c.hash(&q.Name)
	e, found := c.getVariant(hash, &q.Name, variant{q.Type, bits, q.View}, now, into)
	if found == holds {
		return e, found
	}
	if found != nothing {
		into = nil
	}
	other, foundOther := c.getVariant(hash, &q.Name, variant{allTypes, bits, q.View}, now, into)
	if foundOther == holds || foundOther != nothing && (found == nothing || other.Age < e.Age) {
		return other, foundOther
	}
	return e, found
}

func (c *Cache) getVariant(hash uint64, n *dnswire.Name, v variant, now time.Time, into *Entry) (*Entry, holding) {
	hash = v.mix(hash)
	s := c.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	at := s.findLocked(uint32(hash), n, v)
	if at == 0 {
		return nil, nothing
	}
	r, elapsed := s.record(at), c.elapsed(now)
	found := c.holdingLocked(r, elapsed)
	if found == nothing {
		return nil, found
	}
	if found >= deferred {
		r.served()
	}
	e := c.copyLocked(s, at, into)
	e.At, e.Age = now, elapsed-r.storedAt
	e.Due = found == holds && r.failures == 0 && r.fallsDue(r.expires()-elapsed)
	return e, found
}

// holdingLocked says what r is worth so long after the cache was made.
func (c *Cache) holdingLocked(r *record, at time.Duration) holding {
	switch left := r.expires() - at; {
	case r.failures > 0:
		if left <= 0 || r.epoch != c.current.Load() {
			return nothing
		}
	case left > 0:
	case -left >= time.Duration(c.stale.Load()):
		return nothing
	case r.retry > 0 && at < time.Duration(r.retry)*time.Second && r.epoch == c.current.Load():
		return deferred
	default:
		return expired
	}
	return holds
}

// Defer has what there is of q, if its time is over, served without asking
// upstreams for a while: those asked in an availability epoch gave no answer. It
// reports whether there is anything.
func (c *Cache) Defer(q *dnswire.Question, now time.Time, epoch uint32) bool {
	at := c.elapsed(now)
	deferred, hash := false, c.hash(&q.Name)
	for _, v := range [2]variant{variantOf(q), {allTypes, keyBits(q), q.View}} {
		h := v.mix(hash)
		deferred = c.shard(h).deferOf(c, uint32(h), &q.Name, v, at, epoch) || deferred
	}
	return deferred
}

func (s *shard) deferOf(c *Cache, hash uint32, n *dnswire.Name, v variant, at time.Duration, epoch uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	place := s.findLocked(hash, n, v)
	if place == 0 {
		return false
	}
	r := s.record(place)
	if r.failures > 0 || c.holdingLocked(r, at) == nothing {
		return false
	}
	r.retry, r.epoch = uint32((at+recheck+time.Second-1)/time.Second), epoch
	return true
}

// Peek returns the entry of q even if its time is over; nil if there is none.
func (c *Cache) Peek(q *dnswire.Question) *Entry {
	v := variantOf(q)
	hash := v.mix(c.hash(&q.Name))
	s := c.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if at := s.findLocked(uint32(hash), &q.Name, v); at != 0 {
		e := c.copyLocked(s, at, nil)
		e.At, e.Age = c.start.Add(s.record(at).storedAt-time.Duration(c.slept.Load())), 0
		return e
	}
	return nil
}

// copyLocked copies a record into an entry; who asked for it says how old it is.
func (c *Cache) copyLocked(s *shard, at uint32, into *Entry) *Entry {
	if into == nil {
		into = new(Entry)
	}
	r := s.record(at)
	s.load(r, into)
	into.kept = keptAt{s, at, r.serial}
	return into
}

// Put keeps e as the answer to q, if it may be kept at all. A failure does not take
// the place of an answer that may still be served.
func (c *Cache) Put(q *dnswire.Question, e *Entry) {
	if e.Life < time.Second || e.IsFailure() && !e.IsVerdict() && c.Defer(q, e.At, e.Epoch) {
		return
	}
	var buf [512]byte
	f, data, ok := encodeEntry(buf[:0], q, e)
	if !ok {
		return
	}
	f.storedAt = c.elapsed(e.At) - e.Age
	hash := f.variant.mix(c.hash(&q.Name))
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.putLocked(uint32(hash), &q.Name, &f, data); at != 0 {
		e.kept = keptAt{s, at, s.serial}
	}
}

// putLocked keeps f and its data as what is known of q, in the place in the queue
// that q has. It returns the record, or 0 if there is no room for it.
func (s *shard) putLocked(hash uint32, n *dnswire.Name, f *facts, data []byte) (at uint32) {
	if len(data) > s.largest() {
		return 0
	}
	if s.serial++; s.serial == 0 {
		s.serial = 1 // 0 is of records that hold nothing
	}
	if at = s.findLocked(hash, n, f.variant); at != 0 {
		s.drop(s.record(at))
		s.record(at).renewed()
	}
	for at == 0 && s.records.left() == 0 || s.cells.left() < cellsOf(len(data)) {
		s.evictLocked(at)
		s.evicted++
	}
	if at == 0 {
		at = s.appendLocked(hash)
		s.addLocked(at)
	}
	s.store(s.record(at), s.serial, f, data)
	return at
}

// appendLocked puts a new record into the table. There must be one left.
func (s *shard) appendLocked(hash uint32) (at uint32) {
	at = s.records.take()
	s.growLocked()
	chain, r := s.chain(hash), s.record(at)
	r.hash, r.chain = hash, *chain
	*chain = at
	return at
}

// findLocked returns the record of q, 0 if there is none.
func (s *shard) findLocked(hash uint32, n *dnswire.Name, v variant) uint32 {
	if len(s.table) == 0 {
		return 0
	}
	for at := *s.chain(hash); at != 0; at = s.record(at).chain {
		if r := s.record(at); r.hash == hash && r.variant == v && s.named(r, n.Wire()) {
			return at
		}
	}
	return 0
}

func (s *shard) chain(hash uint32) *uint32 { return &s.table[int(hash)&(len(s.table)-1)] }

// growLocked doubles the table when there are more records than chains.
func (s *shard) growLocked() {
	if s.records.used <= len(s.table) {
		return
	}
	s.table = make([]uint32, max(64, 2*len(s.table)))
	for _, q := range []*queue{&s.fresh, &s.main} {
		for at := q.head; at != 0; at = s.record(at).older {
			r := s.record(at)
			chain := s.chain(r.hash)
			r.chain, *chain = *chain, at
		}
	}
}

// removeLocked takes a record out of the table and gives back what it has.
func (s *shard) removeLocked(at uint32) {
	r := s.record(at)
	chain := s.chain(r.hash)
	for *chain != at {
		chain = &s.record(*chain).chain
	}
	*chain = r.chain
	s.drop(r)
	s.records.giveBack(at)
}

// A keptAt is where an entry is kept, as long as that has its serial.
type keptAt struct {
	shard  *shard // nil: nowhere
	record uint32
	serial uint32
}

// setPassed remembers with what is kept by what policy and group it passed.
func (k keptAt) setPassed(by uint64) {
	if k.shard == nil {
		return
	}
	k.shard.mu.RLock()
	defer k.shard.mu.RUnlock()
	if k.shard.records.has(k.record) {
		if r := k.shard.record(k.record); r.serial == k.serial {
			r.passed.Store(by)
		}
	}
}

// Flush forgets everything.
func (c *Cache) Flush() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.memory = s.emptied()
		s.table, s.queues = nil, queues{}
		s.mu.Unlock()
	}
}
