package devices

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
)

// held is a binding in force together with when it was last in use.
type held struct {
	Binding
	seen atomic.Uint32 // tick of the last lookup
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
	seed     maphash.Seed
	shards   []*shard // a power of two of them
	size     int      // addresses in all shards
	prefixes prefixTable[*held]
}

// A shard is an open-addressing hash table of at most three quarters of its
// slots, a power of two of them.
type shard struct {
	slots []slot
	size  int
}

type slot struct {
	key  [16]byte
	held *held // nil: empty
}

const (
	fewShards  = 16
	shardSize  = 64 // addresses wanted in a shard when the table is cut anew
	shardLimit = 2 * shardSize
)

func newSnapshot(seed maphash.Seed) *snapshot {
	s := &snapshot{seed: seed, shards: make([]*shard, fewShards)}
	empty := &shard{slots: make([]slot, 1)}
	for i := range s.shards {
		s.shards[i] = empty
	}
	return s
}

// find returns what holds a, which is valid and unmapped.
func (s *snapshot) find(a netip.Addr) *held {
	key := a.As16()
	hash := maphash.Bytes(s.seed, key[:])
	if h := s.shards[hash&uint64(len(s.shards)-1)].find(key, hash); h != nil {
		return h
	}
	h, _ := s.prefixes.find(a)
	return h
}

// find uses the upper half of the hash, as the lower one has chosen the shard.
func (s *shard) find(key [16]byte, hash uint64) *held {
	mask := uint32(len(s.slots) - 1)
	for i := uint32(hash>>32) & mask; ; i = (i + 1) & mask {
		slot := &s.slots[i]
		if slot.held == nil || slot.key == key {
			return slot.held
		}
	}
}

// with returns the snapshot in which each address of changes is held by its
// value, by nobody where that is nil.
func (s *snapshot) with(changes map[netip.Addr]*held) *snapshot {
	type change struct {
		key  [16]byte
		hash uint64
		held *held
	}
	next := &snapshot{seed: s.seed, shards: append([]*shard(nil), s.shards...), size: s.size, prefixes: s.prefixes}
	byShard := make(map[uint64][]change)
	for a, h := range changes {
		key := a.As16()
		hash := maphash.Bytes(s.seed, key[:])
		i := hash & uint64(len(s.shards)-1)
		byShard[i] = append(byShard[i], change{key, hash, h})
	}
	for i, list := range byShard {
		old := s.shards[i]
		gone := make(map[[16]byte]bool, len(list))
		grow := 0
		for _, c := range list {
			gone[c.key] = true
			if c.held != nil {
				grow++
			}
		}
		fresh := newShard(old.size + grow)
		for _, slot := range old.slots {
			if slot.held != nil && !gone[slot.key] {
				fresh.put(slot.key, maphash.Bytes(s.seed, slot.key[:]), slot.held)
			}
		}
		for _, c := range list {
			if c.held != nil {
				fresh.put(c.key, c.hash, c.held)
			}
		}
		next.shards[i] = fresh
		next.size += fresh.size - old.size
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
	each := func(f func(key [16]byte, hash uint64, h *held)) {
		for _, shard := range old {
			for _, slot := range shard.slots {
				if slot.held != nil {
					f(slot.key, maphash.Bytes(s.seed, slot.key[:]), slot.held)
				}
			}
		}
	}
	each(func(_ [16]byte, hash uint64, _ *held) { sizes[hash&uint64(n-1)]++ })
	s.shards = make([]*shard, n)
	for i, size := range sizes {
		s.shards[i] = newShard(size)
	}
	each(func(key [16]byte, hash uint64, h *held) { s.shards[hash&uint64(n-1)].put(key, hash, h) })
}

// newShard returns a shard with room for size addresses and an empty slot more.
func newShard(size int) *shard {
	n := 1
	for n*3 < size*4+3 {
		n *= 2
	}
	return &shard{slots: make([]slot, n)}
}

func (s *shard) put(key [16]byte, hash uint64, h *held) {
	mask := uint32(len(s.slots) - 1)
	i := uint32(hash>>32) & mask
	for s.slots[i].held != nil {
		i = (i + 1) & mask
	}
	s.slots[i] = slot{key, h}
	s.size++
}
