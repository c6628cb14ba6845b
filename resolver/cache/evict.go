package cache

import "time"

// What goes when there is no room is decided by S3-FIFO (Yang et al., SOSP 2023). What
// comes is put into a queue of a tenth of all. Where it was served by the time that it
// leaves that, it goes on to the main queue, else out, and its hash is remembered: where
// it comes again soon, it goes to the main queue at once. There it goes round as often
// as it was served, and then out. A hit changes no queue: it counts, and that by a
// reader's lock.

// queues are all records of a shard, by age.
type queues struct {
	fresh, main queue
	gone        []uint32 // hashes of what left fresh unserved, by place; 0: none. nil until the first
}

// A queue is records of which each knows its neighbours.
type queue struct {
	head  uint32 // newest
	tail  uint32 // oldest
	count int
}

// The bits of record.use.
const (
	useMain   = 1 << 31 // it is in the main queue
	useRounds = 3       // how often it was served, up to this; in the main queue less the rounds that it made
	useHit    = 4       // one of useHits
	useHits   = 15 * useHit
	useDue    = 1 << 30 // it is being asked for again: see Entry.Due
)

// served counts that r was served. Its line stays shared between processors once there
// is nothing to count: it is only read.
func (r *record) served() {
	was := r.use.Load()
	now := was
	if now&useRounds != useRounds {
		now++
	}
	if now&useHits != useHits {
		now += useHit
	}
	if now != was {
		r.use.Store(now)
	}
}

// renewed counts that an answer has come in r's place: somebody asked for it.
func (r *record) renewed() {
	now := r.use.Load() &^ (useHits | useDue)
	if now&useRounds != useRounds {
		now++
	}
	r.use.Store(now)
}

// popular is how often an answer is served before it is asked for again in time.
const popular = 3

// fallsDue reports whether r, whose answer holds for so long, is to be asked for again.
// It says so once for each answer: in the last tenth of its life, if it is popular.
func (r *record) fallsDue(left time.Duration) bool {
	if left >= time.Duration(r.life)*time.Second/10 {
		return false
	}
	was := r.use.Load()
	return was&useHits >= popular*useHit && was&useDue == 0 && r.use.CompareAndSwap(was, was|useDue)
}

// queueOf returns the queue that r is in.
func (s *shard) queueOf(r *record) *queue {
	if r.use.Load()&useMain != 0 {
		return &s.main
	}
	return &s.fresh
}

// addLocked puts a new record into the queue where it belongs.
func (s *shard) addLocked(at uint32) {
	r := s.record(at)
	r.use.Store(0)
	if place := s.placeOf(r.hash); place != nil && *place == r.hash|1 {
		*place = 0
		r.use.Store(useMain)
	}
	s.pushLocked(s.queueOf(r), at)
}

// placeOf returns where a hash is remembered; nil where none is.
func (s *shard) placeOf(hash uint32) *uint32 {
	if s.gone == nil {
		return nil
	}
	return &s.gone[uint64(hash)*uint64(len(s.gone))>>32]
}

// pushLocked puts a record at the head of q.
func (s *shard) pushLocked(q *queue, at uint32) {
	r := s.record(at)
	r.newer, r.older = 0, q.head
	if q.head != 0 {
		s.record(q.head).newer = at
	} else {
		q.tail = at
	}
	q.head = at
	q.count++
}

// popLocked takes the record at the tail of q, which has one, out of it.
func (s *shard) popLocked(q *queue) (at uint32) {
	at = q.tail
	s.unlinkLocked(q, at)
	return at
}

// evictLocked lets a record go, but not the one to keep. There must be another.
func (s *shard) evictLocked(keep uint32) {
	for s.fresh.count > 0 && (s.main.count == 0 || 10*s.fresh.count >= s.records.used) {
		at := s.popLocked(&s.fresh)
		r := s.record(at)
		if at == keep || r.use.Load()&useRounds > 0 {
			r.use.Store(r.use.Load()&^useRounds | useMain)
			s.pushLocked(&s.main, at)
			continue
		}
		if s.gone == nil {
			s.gone = make([]uint32, s.records.max)
		}
		*s.placeOf(r.hash) = r.hash | 1
		s.removeLocked(at)
		return
	}
	for {
		at := s.popLocked(&s.main)
		r := s.record(at)
		if at != keep && r.use.Load()&useRounds == 0 {
			s.removeLocked(at)
			return
		}
		if r.use.Load()&useRounds > 0 {
			r.use.Add(^uint32(0))
		}
		s.pushLocked(&s.main, at)
	}
}
