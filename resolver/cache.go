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

// holds reports whether k is the key of q.
func (k *key) holds(q *dnswire.Question) bool {
	return k.typ == q.Type && k.bits == keyBits(q) && k.name == string(q.Name.Wire())
}

const cacheShards = 16

// A cache holds entries by question, up to a bound in bytes. When it is full,
// what was not served since the hand last came by goes first (SIEVE: Zhang et
// al., NSDI 2024). Any goroutine may use it.
type cache struct {
	seed    maphash.Seed
	shards  [cacheShards]cacheShard
	weather *atomic.Uint32 // of the upstreams: failures hold as long as it does
}

type cacheShard struct {
	mu    sync.RWMutex
	m     map[uint64]*node
	max   int64
	bytes int64
	head  *node // newest
	tail  *node // oldest
	hand  *node // where eviction goes on, towards the head
}

// A node is an entry's place in its shard's queue.
type node struct {
	*entry
	hash       uint64
	prev, next *node // towards the head, towards the tail
}

// newCache returns a cache of size bytes at most; of none if size is negative.
func newCache(size int64, weather *atomic.Uint32) *cache {
	c := &cache{seed: maphash.MakeSeed(), weather: weather}
	for i := range c.shards {
		c.shards[i] = cacheShard{m: map[uint64]*node{}, max: size / cacheShards}
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

// get returns what is known of q and still holds at now.
func (c *cache) get(q *dnswire.Question, now time.Time) (*entry, bool) {
	e := c.peek(q)
	if e == nil || !now.Before(e.dies) || e.failed > 0 && e.weather != c.weather.Load() {
		return nil, false
	}
	if !e.visited.Load() { // a line that is only read stays shared between processors
		e.visited.Store(true)
	}
	return e, true
}

// peek returns the entry of q even if its time is over; nil if there is none.
func (c *cache) peek(q *dnswire.Question) *entry {
	hash := c.hash(q)
	s := c.shard(hash)
	s.mu.RLock()
	n := s.m[hash]
	s.mu.RUnlock()
	if n == nil || !n.key.holds(q) {
		return nil
	}
	return n.entry
}

// put keeps e as the answer to q, if it may be kept at all.
func (c *cache) put(q *dnswire.Question, e *entry) {
	if !e.dies.After(e.stored) {
		return
	}
	e.key = newKey(q)
	hash := c.hash(q)
	s := c.shard(hash)
	if e.size() > s.max/4 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.m[hash]; old != nil {
		s.bytes += e.size() - old.size()
		s.m[hash] = s.replaceLocked(old, e)
	} else {
		n := &node{entry: e, hash: hash, next: s.head}
		if s.head != nil {
			s.head.prev = n
		}
		if s.head = n; s.tail == nil {
			s.tail = n
		}
		s.m[hash] = n
		s.bytes += e.size()
	}
	for s.bytes > s.max {
		s.evictLocked()
	}
}

// replaceLocked puts e in old's place in the queue. Readers may still hold old.
func (s *cacheShard) replaceLocked(old *node, e *entry) *node {
	n := &node{entry: e, hash: old.hash, prev: old.prev, next: old.next}
	if n.prev != nil {
		n.prev.next = n
	} else {
		s.head = n
	}
	if n.next != nil {
		n.next.prev = n
	} else {
		s.tail = n
	}
	if s.hand == old {
		s.hand = n
	}
	return n
}

func (s *cacheShard) evictLocked() {
	n := s.hand
	if n == nil {
		n = s.tail
	}
	for n.visited.Load() {
		n.visited.Store(false)
		if n = n.prev; n == nil {
			n = s.tail
		}
	}
	s.hand = n.prev
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		s.head = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		s.tail = n.prev
	}
	delete(s.m, n.hash)
	s.bytes -= n.size()
}

// flush forgets everything.
func (c *cache) flush() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.m, s.bytes = map[uint64]*node{}, 0
		s.head, s.tail, s.hand = nil, nil, nil
		s.mu.Unlock()
	}
}

// usage returns how many entries there are, and their bytes.
func (c *cache) usage() (entries int, bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries += len(s.m)
		bytes += s.bytes
		s.mu.RUnlock()
	}
	return entries, bytes
}
