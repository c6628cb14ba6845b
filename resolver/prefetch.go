package resolver

import (
	"sync/atomic"

	"telltale/resolver/upstream"
)

// A name that is asked for often is asked for again shortly before its answer ends, so
// that nobody has to wait for it. It is no lookup of a device's: nothing of it is in the
// log. What upstreams are asked so is a tenth of all at most.

// prefetches are what may be asked without a client that waits. Any goroutine may use
// them.
type prefetches struct{ credit atomic.Int64 }

const (
	prefetchCost      = 9                  // queries of clients for one of ours
	maxPrefetchCredit = 100 * prefetchCost // what a quiet time leaves for a busy one
)

// earn counts a query for a client.
func (p *prefetches) earn() {
	if p.credit.Load() < maxPrefetchCredit {
		p.credit.Add(1)
	}
}

// spend reports whether one of ours is allowed, and counts it.
func (p *prefetches) spend() bool {
	for {
		have := p.credit.Load()
		if have < prefetchCost {
			return false
		}
		if p.credit.CompareAndSwap(have, have-prefetchCost) {
			return true
		}
	}
}

// prefetch asks upstreams for q, which has its answer, for the cache.
func (s *Server) prefetch(q *query) {
	if q.explained || !s.settings.Load().Prefetch || !s.prefetches.spend() {
		return
	}
	f, ok := s.flights.begin(&q.Question, q.private)
	if !ok {
		return // it is under way
	}
	s.stats.prefetched.Add(1)
	if q.batch == nil || f.private || !s.shared.Ask(f, q.batch) {
		s.fallback(f, upstream.Start{})
	}
}
