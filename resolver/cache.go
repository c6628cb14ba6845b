package resolver

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"telltale/dnswire"
)

// A key is what decides an upstream's answer: a question, and whether the client
// wants DNSSEC records (DO) or validates itself (CD). No option of a client is
// part of it, so that none can split or poison it.
type key struct {
	name string // wire form
	typ  uint16
	bits uint8 // 1: DO, 2: CD
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

func newKey(q *dnswire.Question) key {
	return key{name: string(q.Name.Wire()), typ: q.Type, bits: keyBits(q)}
}

const cacheShards = 16

// A cache holds entries by question, in memory of a fixed size that has no
// pointers. When it is full, what was not served since the hand last came by
// goes first (SIEVE: Zhang et al., NSDI 2024). Any goroutine may use it.
type cache struct {
	seed    maphash.Seed
	epoch   time.Time // what times in records are counted from
	shards  [cacheShards]cacheShard
	weather *atomic.Uint32 // of the upstreams: failures hold as long as it does
}

// A cacheShard is the records of the questions whose hash leads to it: each in a
// chain of those with the like hash, and in the queue for eviction.
type cacheShard struct {
	mu sync.RWMutex
	cacheMemory
	table  []uint32 // the first record of each chain, by hash; a power of two
	serial uint32   // of the entry put last
	head   uint32   // newest
	tail   uint32   // oldest
	hand   uint32   // where eviction goes on, towards the head
}

// newCache returns a cache of size bytes at most; of none if size is negative.
func newCache(size int64, weather *atomic.Uint32) *cache {
	c := &cache{seed: maphash.MakeSeed(), epoch: time.Now(), weather: weather}
	for i := range c.shards {
		c.shards[i].cacheMemory = newCacheMemory(size / cacheShards)
	}
	return c
}

// hash returns a keyed hash of q, so that clients cannot make keys collide.
func (c *cache) hash(q *dnswire.Question) uint64 {
	h := maphash.Bytes(c.seed, q.Name.Wire())
	h ^= (uint64(q.Type)<<2 | uint64(keyBits(q))) * 0x9e3779b97f4a7c15
	return h
}

func (c *cache) shard(hash uint64) *cacheShard { return &c.shards[hash>>32%cacheShards] }

// get returns what is known of q and still holds at now, in into if that is not
// nil. It holds until into is used again.
func (c *cache) get(q *dnswire.Question, now time.Time, into *entry) (*entry, bool) {
	hash := c.hash(q)
	s := c.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	at := s.findLocked(uint32(hash), q)
	if at == 0 {
		return nil, false
	}
	r := s.record(at)
	if now.Sub(c.epoch) >= r.dies() || r.failed > 0 && r.weather != c.weather.Load() {
		return nil, false
	}
	if !r.visited.Load() { // a line that is only read stays shared between processors
		r.visited.Store(true)
	}
	return c.copyLocked(s, at, into), true
}

// peek returns the entry of q even if its time is over; nil if there is none.
func (c *cache) peek(q *dnswire.Question) *entry {
	hash := c.hash(q)
	s := c.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if at := s.findLocked(uint32(hash), q); at != 0 {
		return c.copyLocked(s, at, nil)
	}
	return nil
}

func (c *cache) copyLocked(s *cacheShard, at uint32, into *entry) *entry {
	if into == nil {
		into = new(entry)
	}
	r := s.record(at)
	s.load(r, into)
	into.stored, into.dies = c.epoch.Add(r.stored), c.epoch.Add(r.dies())
	into.kept = keptAt{s, at, r.serial}
	return into
}

// put keeps e as the answer to q, if it may be kept at all.
func (c *cache) put(q *dnswire.Question, e *entry) {
	if e.dies.Sub(e.stored) < time.Second {
		return
	}
	var room [512]byte
	f, data, ok := encodeEntry(room[:0], q, e)
	if !ok {
		return
	}
	f.stored = e.stored.Sub(c.epoch)
	hash := c.hash(q)
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.putLocked(uint32(hash), q, &f, data); at != 0 {
		e.kept = keptAt{s, at, s.serial}
	}
}

// putLocked keeps f and its data as what is known of q, in the place in the queue
// that q has. It returns the record, or 0 if there is no room for it.
func (s *cacheShard) putLocked(hash uint32, q *dnswire.Question, f *facts, data []byte) (at uint32) {
	if len(data) > s.largest() {
		return 0
	}
	if s.serial++; s.serial == 0 {
		s.serial = 1 // 0 is of records that hold nothing
	}
	if at = s.findLocked(hash, q); at != 0 {
		s.drop(s.record(at))
	}
	for at == 0 && s.records.left() == 0 || s.cells.left() < cellsOf(len(data)) {
		s.evictLocked(at)
	}
	if at == 0 {
		at = s.appendLocked(hash)
	}
	s.store(s.record(at), s.serial, f, data)
	return at
}

// appendLocked puts a new record at the head of the queue. There must be one left.
func (s *cacheShard) appendLocked(hash uint32) (at uint32) {
	at = s.records.take()
	s.growLocked()
	chain, r := s.chain(hash), s.record(at)
	r.hash, r.chain, r.newer, r.older = hash, *chain, 0, s.head
	*chain = at
	if s.head != 0 {
		s.record(s.head).newer = at
	}
	if s.head = at; s.tail == 0 {
		s.tail = at
	}
	return at
}

// findLocked returns the record of q, 0 if there is none.
func (s *cacheShard) findLocked(hash uint32, q *dnswire.Question) uint32 {
	if len(s.table) == 0 {
		return 0
	}
	for at := *s.chain(hash); at != 0; at = s.record(at).chain {
		if r := s.record(at); r.hash == hash && r.typ == q.Type && r.bits == keyBits(q) && s.named(r, q.Name.Wire()) {
			return at
		}
	}
	return 0
}

func (s *cacheShard) chain(hash uint32) *uint32 { return &s.table[int(hash)&(len(s.table)-1)] }

// growLocked doubles the table when there are more records than chains.
func (s *cacheShard) growLocked() {
	if s.records.used <= len(s.table) {
		return
	}
	s.table = make([]uint32, max(64, 2*len(s.table)))
	for at := s.head; at != 0; at = s.record(at).older {
		r := s.record(at)
		chain := s.chain(r.hash)
		r.chain, *chain = *chain, at
	}
}

// evictLocked lets the next record go that is not the one to keep.
func (s *cacheShard) evictLocked(keep uint32) {
	at := s.hand
	if at == 0 {
		at = s.tail
	}
	for r := s.record(at); at == keep || r.visited.Load(); r = s.record(at) {
		r.visited.Store(false)
		if at = r.newer; at == 0 {
			at = s.tail
		}
	}
	r := s.record(at)
	s.hand = r.newer
	if r.newer != 0 {
		s.record(r.newer).older = r.older
	} else {
		s.head = r.older
	}
	if r.older != 0 {
		s.record(r.older).newer = r.newer
	} else {
		s.tail = r.newer
	}
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
	shard  *cacheShard // nil: nowhere
	record uint32
	serial uint32
}

// pass remembers with what is kept by what policy and group it passed.
func (k keptAt) pass(by uint64) {
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

// flush forgets everything.
func (c *cache) flush() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.cacheMemory = s.emptied()
		s.table, s.head, s.tail, s.hand = nil, 0, 0, 0
		s.mu.Unlock()
	}
}

// usage returns how many entries there are, and the bytes they take.
func (c *cache) usage() (entries int, bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries += s.records.used
		bytes += s.bytes()
		s.mu.RUnlock()
	}
	return entries, bytes
}
