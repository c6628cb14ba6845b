package cache

import (
	"time"

	"telltale/dnswire"
)

// An Item is one entry of the cache as it lies there, for people and for keeping.
type Item struct {
	Entry
	Question dnswire.Question // Type is 0 where it is the answer for all types of the name
	State    State
	Left     time.Duration // until its time is over; negative: since then
	Hits     int           // how often it was served since it came, up to 15
}

// A State says what an entry is worth.
type State uint8

const (
	Fresh    State = iota // it is served
	Failure               // the same, and it says that there was no answer
	Expired               // it is served where upstreams give no answer
	Deferred              // it is served without asking upstreams, which gave no answer lately
	Over                  // it is not served any more; its room is not needed yet
)

var stateNames = [...]string{"fresh", "failure", "expired", "deferred", "over"}

func (s State) String() string { return stateNames[s] }

// stateLocked returns what r is worth.
func (c *Cache) stateLocked(r *record, elapsed time.Duration) State {
	switch c.holdingLocked(r, elapsed) {
	case holds:
		if r.failures > 0 {
			return Failure
		}
		return Fresh
	case expired:
		return Expired
	case deferred:
		return Deferred
	}
	return Over
}

// itemLocked copies a record.
func (c *Cache) itemLocked(s *shard, at uint32, now time.Time) *Item {
	r, elapsed := s.record(at), c.elapsed(now)
	it := &Item{State: c.stateLocked(r, elapsed), Left: r.expires() - elapsed, Hits: int(r.use.Load() & useHits / useHit)}
	c.copyLocked(s, at, &it.Entry)
	it.At, it.Age = now, elapsed-r.storedAt
	name := it.buf[r.nameAt():]
	if _, err := it.Question.Name.Read(name, 0); err != nil {
		return nil // cannot be: it was put in as a name
	}
	it.Question.Type, it.Question.Class = r.variant.typ, dnswire.ClassIN
	it.Question.DO, it.Question.CD, it.Question.View = r.variant.bits&1 != 0, r.variant.bits&2 != 0, r.variant.view
	return it
}

// Items yields the entries of a name, of all where that is nil, until yield returns
// false: of each shard the least popular and oldest first. A shard is locked while it
// is copied, never while yield runs.
func (c *Cache) Items(name *dnswire.Name, now time.Time, yield func(*Item) bool) {
	for i := range c.shards {
		for _, it := range c.itemsOf(&c.shards[i], name, now) {
			if !yield(it) {
				return
			}
		}
	}
}

func (c *Cache) itemsOf(s *shard, name *dnswire.Name, now time.Time) (items []*Item) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, q := range []*queue{&s.fresh, &s.main} {
		for at := q.tail; at != 0; at = s.record(at).newer {
			if name == nil || s.named(s.record(at), name.Wire()) {
				if it := c.itemLocked(s, at, now); it != nil {
					items = append(items, it)
				}
			}
		}
	}
	return items
}

// FlushName forgets all there is of a name, but not of others, and returns how many
// entries that were.
func (c *Cache) FlushName(name *dnswire.Name) (n int) {
	for i := range c.shards {
		n += c.shards[i].flushName(name)
	}
	return n
}

func (s *shard) flushName(name *dnswire.Name) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range []*queue{&s.fresh, &s.main} {
		for at := q.tail; at != 0; {
			newer := s.record(at).newer
			if s.named(s.record(at), name.Wire()) {
				s.unlinkLocked(q, at)
				s.removeLocked(at)
				n++
			}
			at = newer
		}
	}
	return n
}

// unlinkLocked takes a record out of q.
func (s *shard) unlinkLocked(q *queue, at uint32) {
	r := s.record(at)
	if r.newer != 0 {
		s.record(r.newer).older = r.older
	} else {
		q.head = r.older
	}
	if r.older != 0 {
		s.record(r.older).newer = r.newer
	} else {
		q.tail = r.newer
	}
	q.count--
}

// InUse returns how many entries there are, and the bytes they take.
func (c *Cache) InUse() (entries int, bytes int64) {
	u := c.Totals()
	return u.Entries, u.Bytes
}

// Totals returns what the cache holds, without States: it looks at no entry.
func (c *Cache) Totals() Usage {
	u := Usage{Size: c.size}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		u.Entries += s.records.used
		u.Bytes += s.bytes()
		u.Evicted += s.evicted
		s.mu.RUnlock()
	}
	return u
}

// A Usage is what a cache holds.
type Usage struct {
	Entries int
	Bytes   int64         // of memory in use
	Size    int64         // what may be in use
	States  map[State]int // entries in each
	Evicted uint64        // entries that had to go for others
}

// Look returns what the cache holds at now. It looks at every entry.
func (c *Cache) Look(now time.Time) Usage {
	u := Usage{States: map[State]int{}, Size: c.size}
	for i := range c.shards {
		c.lookAt(&c.shards[i], c.elapsed(now), &u)
	}
	return u
}

func (c *Cache) lookAt(s *shard, elapsed time.Duration, u *Usage) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	u.Entries += s.records.used
	u.Bytes += s.bytes()
	u.Evicted += s.evicted
	for _, q := range []*queue{&s.fresh, &s.main} {
		for at := q.tail; at != 0; at = s.record(at).newer {
			u.States[c.stateLocked(s.record(at), elapsed)]++
		}
	}
}
