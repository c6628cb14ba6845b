package upstream

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A Strategy says whom of several upstreams that are up a question is put to.
type Strategy uint8

const (
	InOrder  Strategy = iota // the first
	Fastest                  // the one that answers soonest, and now and then another
	Parallel                 // all of them at once: the first answer is taken
)

// A Choice is how Servers are asked. Those of a Forward are always asked in order.
type Choice struct {
	Strategy  Strategy
	NoHedging bool // a question waits for its upstream until that has failed or is silent
}

// SetChoice changes how Servers are asked from now on.
func (u *Client) SetChoice(c Choice) { u.choice.Store(&c) }

// Bounds of hedging: a question whose upstream is later than it usually is goes to
// another one, too.
const (
	leastHedge  = 50 * time.Millisecond // nobody waits noticeably for less
	hedgeShare  = 20                    // of so many queries one may go out twice
	mostHedges  = 8                     // that may go out twice in a row, where few did before
	exploreEach = 20                    // of so many queries one goes to another than the fastest
	favourFor   = time.Second           // the fastest is chosen again after so long
	favourBonus = 5                     // another has to be faster by a fifth
)

// hedges bound how many queries to one upstream go out twice, so that a network that
// has become slow is not asked twice as much. Any goroutine may use it.
type hedges struct {
	mu      sync.Mutex
	seen    uint64 // queries, the last time
	credit  uint64 // in queries: hedgeShare of them are one
	started bool
	count   uint64
}

// take reports whether a query may go out twice, and takes in that it does. queries is
// how many there were.
func (h *hedges) take(queries uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.started {
		h.started, h.credit = true, mostHedges*hedgeShare
	}
	h.credit = min(h.credit+queries-h.seen, mostHedges*hedgeShare)
	h.seen = queries
	if h.credit < hedgeShare {
		return false
	}
	h.credit -= hedgeShare
	h.count++
	return true
}

// taken returns how many queries went out twice.
func (h *hedges) taken() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// mayHedgeNow reports whether a query that h is late for may go out twice, and counts that it does.
func (u *Client) mayHedgeNow(h *health) bool {
	may := h.hedges.take(h.queries.Load())
	if may {
		u.hedged.Add(1)
	}
	return may
}

// Hedged returns how many queries went to another upstream, too, since the start, also of upstreams
// that are none any more.
func (u *Client) Hedged() uint64 { return u.hedged.Load() }

// hedgeAfter returns how long m, one of members, may take before a query goes to
// another, too; 0: as long as it likes.
func (u *Client) hedgeAfter(m *Upstream, members []*Upstream) time.Duration {
	c := u.choice.Load()
	usual := m.timing.usual()
	if c.NoHedging || usual == 0 {
		return 0
	}
	if !slices.ContainsFunc(members, func(o *Upstream) bool { return c.mayHedge(m, o) }) {
		return 0
	}
	return max(usual, leastHedge)
}

// mayHedge reports whether what m is late for may be asked of o. In order, only of one of the
// same kind: who put the router first did not mean names of the home for a public server, nor
// what goes encrypted for one that is asked in clear.
func (c *Choice) mayHedge(m, o *Upstream) bool {
	if o.health == m.health || o.rank() != rankUp {
		return false
	}
	return c.Strategy != InOrder || o.private == m.private && (o.isEncrypted() || !m.isEncrypted())
}

func (u *Upstream) isEncrypted() bool { return u.server.Transport.IsEncrypted() }

// A favourite is the fastest of a set for some time.
type favourite struct {
	member *Upstream
	until  time.Time
}

// fastest returns the member that answers soonest of those that are up; nil where none
// is. Who is chosen stays so for some time, and unless another is clearly faster.
func (s *serverSet) fastest(now time.Time) *Upstream {
	f := s.favourite.Load()
	if f != nil && f.member.rank() == rankUp && now.Before(f.until) && f.until.Sub(now) <= favourFor {
		return f.member
	}
	var best *Upstream
	for _, m := range s.all {
		if m.rank() == rankUp && (best == nil || m.timing.srtt() < best.timing.srtt()) {
			best = m // one that was never measured is the fastest, until it is
		}
	}
	if best == nil {
		return nil
	}
	if f != nil && f.member.rank() == rankUp && best.timing.srtt() > f.member.timing.srtt()*(favourBonus-1)/favourBonus {
		best = f.member
	}
	s.favourite.Store(&favourite{best, now.Add(favourFor)})
	return best
}

// turnToExplore reports whether a query is one of those that find out whether another
// upstream has become the fastest.
func (u *Client) turnToExplore() bool { return u.explored.Add(1)%exploreEach == 0 }

// preferFastest orders those of list that are up by how soon they answer, the favourite
// of set first; where explore says so another one before it.
func (set *serverSet) preferFastest(list []candidate, explore bool) {
	up := 0
	for up < len(list) && list[up].rank() == rankUp {
		up++
	}
	list = list[:up]
	best := set.fastest(time.Now())
	slices.SortStableFunc(list, func(a, b candidate) int {
		switch {
		case a.Upstream == b.Upstream:
			return 0
		case a.Upstream == best:
			return -1
		case b.Upstream == best:
			return 1
		}
		return int(a.timing.srtt() - b.timing.srtt())
	})
	if explore && up > 1 {
		i := 1 + rand.IntN(up-1)
		list[0], list[i] = list[i], list[0]
	}
}
