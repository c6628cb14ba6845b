package fleet

import (
	"maps"
	"sync"
	"time"
)

// Reasons for which a batch is not stored, as ReceiverStats has them. They never change.
const (
	RefusedBusy        = "busy"       // more come than can be taken just now
	RefusedCut         = "cut"        // it did not come whole
	RefusedDamaged     = "damaged"    // it cannot be read
	RefusedDiverged    = "diverged"   // its store is a copy, or another node's
	RefusedGap         = "gap"        // windows before it are missing
	RefusedNewer       = "newer"      // of a newer version
	RefusedNode        = "node"       // of another node than the certificate
	RefusedStore       = "store"      // the store cannot be written
	RefusedUnstorable  = "unstorable" // it is whole, and has no place in the store
	countedRefusals    = 9            // of these
	mostCountedNodes   = 1000         // that are told apart
	insertBoundsNumber = 11           // of InsertBounds
)

// Refusals are all reasons, in order.
var Refusals = [countedRefusals]string{RefusedBusy, RefusedCut, RefusedDamaged, RefusedDiverged, RefusedGap, RefusedNewer, RefusedNode, RefusedStore, RefusedUnstorable}

// InsertBounds are those of ReceiverStats.Inserts.
var InsertBounds = [insertBoundsNumber]time.Duration{
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 10 * time.Second, time.Minute,
}

// ReceiverStats are what a Receiver has done since its start.
type ReceiverStats struct {
	Batches uint64 // that are stored
	Rows    uint64 // of those that are new
	Bytes   uint64 // of the batches, packed
	Refused map[string]uint64

	Inserts     [insertBoundsNumber + 1]uint64 // by how long they took: each above the bound before, and at most its own
	InsertTime  time.Duration                  // of all of them
	StoreErrors uint64                         // inserts that failed
	Failing     bool                           // the last one did
	Waiting     int                            // batches that wait to be stored

	Last map[string]time.Time // by node, when its last batch was stored; of the first 1,000 nodes that sent one
}

// receiverCounts are a Receiver's counts. Any goroutine may use them.
type receiverCounts struct {
	mu    sync.Mutex
	stats ReceiverStats
}

// inserted counts an insert into the store.
func (c *receiverCounts) inserted(took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := 0
	for i < len(InsertBounds) && took > InsertBounds[i] {
		i++
	}
	c.stats.Inserts[i]++
	c.stats.InsertTime += took
	if c.stats.Failing = err != nil; err != nil {
		c.stats.StoreErrors++
	}
}

// stored counts a batch that is stored.
func (c *receiverCounts) stored(node string, rows, size int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Batches++
	c.stats.Rows += uint64(rows)
	c.stats.Bytes += uint64(size)
	if c.stats.Last == nil {
		c.stats.Last = map[string]time.Time{}
	}
	if _, known := c.stats.Last[node]; known || len(c.stats.Last) < mostCountedNodes {
		c.stats.Last[node] = now
	}
}

func (c *receiverCounts) refused(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stats.Refused == nil {
		c.stats.Refused = map[string]uint64{}
	}
	c.stats.Refused[why]++
}

// Stats returns what the receiver has done since its start.
func (r *Receiver) Stats() ReceiverStats {
	r.counts.mu.Lock()
	defer r.counts.mu.Unlock()
	s := r.counts.stats
	s.Refused, s.Last, s.Waiting = maps.Clone(s.Refused), maps.Clone(s.Last), len(r.batches)
	return s
}
