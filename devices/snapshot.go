package devices

import (
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"
)

// held is a binding in force together with when it was last in use. The two are
// neighbours in memory: who looks a binding up reads its first fields.
type held struct {
	seen atomic.Uint32 // tick of the last lookup
	lost atomic.Bool   // another device has the address, which the snapshot may not say yet
	Binding
}

// mark notes a use at tick. It writes once a tick at most, so that lookups of
// the same address on several processors share the memory.
func (h *held) mark(tick uint32) {
	if h.seen.Load() != tick {
		h.seen.Store(tick)
	}
}

// A snapshot is what Lookup reads: the bindings of addresses in a hash table cut
// into shards, and those of prefixes. It never changes. The next one shares the
// shards without a change, so that one new binding among 100,000 costs two small
// copies and not a new table.
type snapshot struct {
	seed     seed
	shards   []shard // a power of two of them
	size     int     // addresses in all shards
	prefixes prefixTable[*held]
	ids      idTable

	forwarded macTable
}

// A shard is an open-addressing hash table: a power of two of slots, at most
// three quarters of them taken.
type shard []slot

type slot struct {
	key  point
	held *held // nil: empty
}

// A seed keeps strangers from choosing addresses that meet in one shard.
type seed [2]uint64

// hash mixes as wyhash does: the two halves of a product of 128 bits, twice.
func (s *seed) hash(p point) uint64 {
	hi, lo := bits.Mul64(p.hi^s[0], p.lo^s[1])
	hi, lo = bits.Mul64(hi^s[1], lo^0x9e3779b97f4a7c15)
	return hi ^ lo
}

const (
	fewShards  = 16
	shardSize  = 64 // addresses wanted in a shard when the table is cut anew
	shardLimit = 2 * shardSize
)

func newSnapshot(random seed) *snapshot {
	s := &snapshot{seed: random, shards: make([]shard, fewShards)}
	empty := make(shard, 1)
	for i := range s.shards {
		s.shards[i] = empty
	}
	return s
}

// find returns what holds a, which is valid and unmapped; nil also where that has just lost
// it to another device.
func (s *snapshot) find(a netip.Addr) *held {
	key := pointOf(a)
	hash := s.seed.hash(key)
	if h := s.shards[hash&uint64(len(s.shards)-1)].find(key, hash); h != nil {
		if h.lost.Load() {
			return nil
		}
		return h
	}
	h, _ := s.prefixes.find(a)
	return h
}

// find uses the upper half of the hash, as the lower one has chosen the shard.
func (s shard) find(key point, hash uint64) *held {
	mask := uint32(len(s) - 1)
	for i := uint32(hash>>32) & mask; ; i = (i + 1) & mask {
		slot := &s[i]
		if slot.held == nil || slot.key == key {
			return slot.held
		}
	}
}

// with returns the snapshot in which each address of changes is held by its
// value, by nobody where that is nil.
func (s *snapshot) with(changes map[netip.Addr]*held) *snapshot {
	type change struct {
		key  point
		hash uint64
		held *held
	}
	next := &snapshot{seed: s.seed, shards: slices.Clone(s.shards), size: s.size, prefixes: s.prefixes, ids: s.ids, forwarded: s.forwarded}
	byShard := make(map[uint64][]change)
	for a, h := range changes {
		key := pointOf(a)
		hash := s.seed.hash(key)
		i := hash & uint64(len(s.shards)-1)
		byShard[i] = append(byShard[i], change{key, hash, h})
	}
	for i, list := range byShard {
		old := s.shards[i]
		gone := make(map[point]bool, len(list))
		grow := 0
		for _, c := range list {
			gone[c.key] = true
			if c.held != nil {
				grow++
			}
		}
		fresh := newShard(old.size() + grow)
		for _, slot := range old {
			if slot.held != nil && !gone[slot.key] {
				fresh.put(slot.key, s.seed.hash(slot.key), slot.held)
			}
		}
		for _, c := range list {
			if c.held != nil {
				fresh.put(c.key, c.hash, c.held)
			}
		}
		next.shards[i] = fresh
		next.size += fresh.size() - old.size()
	}
	if n := len(next.shards); next.size > n*shardLimit || n > fewShards && next.size < n*shardSize/8 {
		next.cut()
	}
	return next
}

// cut spreads the addresses over as many shards as suit their number.
func (s *snapshot) cut() {
	n := fewShards
	for n*shardSize < s.size {
		n *= 2
	}
	sizes := make([]int, n)
	old := s.shards
	each := func(f func(key point, hash uint64, h *held)) {
		for _, shard := range old {
			for _, slot := range shard {
				if slot.held != nil {
					f(slot.key, s.seed.hash(slot.key), slot.held)
				}
			}
		}
	}
	each(func(_ point, hash uint64, _ *held) { sizes[hash&uint64(n-1)]++ })
	s.shards = make([]shard, n)
	for i, size := range sizes {
		s.shards[i] = newShard(size)
	}
	each(func(key point, hash uint64, h *held) { s.shards[hash&uint64(n-1)].put(key, hash, h) })
}

// newShard returns a shard with room for size addresses and an empty slot more.
func newShard(size int) shard {
	n := 1
	for n*3 < size*4+3 {
		n *= 2
	}
	return make(shard, n)
}

func (s shard) put(key point, hash uint64, h *held) {
	mask := uint32(len(s) - 1)
	i := uint32(hash>>32) & mask
	for s[i].held != nil {
		i = (i + 1) & mask
	}
	s[i] = slot{key, h}
}

func (s shard) size() (n int) {
	for i := range s {
		if s[i].held != nil {
			n++
		}
	}
	return n
}
