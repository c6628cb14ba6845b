package upstream

import (
	"math"
	"time"

	"telltale/dnswire"
)

// askAll asks all candidates that are up at the same time, and returns whose turn is
// next.
func (x *exchange) askAll() (next int) {
	for i := range x.list {
		if c := &x.list[i]; c.rank() == rankUp && !c.counted {
			x.ask(i)
		}
		if x.list[i].counted {
			next = i + 1
		}
	}
	return next
}

// mayHedge returns who is to be asked, too, and after how long, if the i-th candidate,
// which was just asked and gets wait, is later than usual; -1 for nobody.
func (x *exchange) mayHedge(i int, wait time.Duration) (hedge int, after time.Duration) {
	if i < 0 || x.probe || x.hedge != nil || x.choice.NoHedging || x.list[i].sent > 1 {
		return -1, wait
	}
	usual := x.list[i].timing.usual()
	hedge = x.hedgeOf(i)
	if usual == 0 || hedge < 0 {
		return -1, wait
	}
	if after = max(usual, leastHedge); after >= wait {
		return -1, wait
	}
	return hedge, after
}

// isHedged asks the k-th candidate since the i-th is late, if that may be, and reports
// whether it does.
func (x *exchange) isHedged(i, k int) bool {
	late := &x.list[i]
	if late.done || !x.client.mayHedgeNow(late.health) {
		return false
	}
	x.hedge, x.heldFor = &x.list[k], late
	x.ask(k)
	return true
}

// hedgeOf returns whom to ask, too, while the i-th candidate is late; -1 for nobody.
func (x *exchange) hedgeOf(i int) int {
	for k := range x.list {
		if c := &x.list[k]; !c.counted && !c.done && x.choice.mayHedge(x.list[i].Upstream, c.Upstream) {
			return k
		}
	}
	return -1
}

// hold keeps back what the hedge says of a name, where that is that there is none. In
// order, the one that is late comes first, and may know it: it has the time that it
// has without hedging. hold reports whether it does.
func (x *exchange) hold(c *candidate, r *result) bool {
	if x.choice.Strategy != InOrder || c != x.hedge || x.held.Wire != nil || !isNegative(r.answer.Wire) {
		return false
	}
	late := x.heldFor
	if late.done || !time.Now().Before(late.due) {
		return false
	}
	x.held, r.answer = r.answer, Answer{}
	x.heldEnds = late.due
	c.outcome, c.done, c.failed = answered, true, true
	if !x.probe {
		c.answered()
	}
	return true
}

// isNegative reports whether an answer says that there is no such name or record.
func isNegative(wire []byte) bool {
	return wire[3]&0xf == dnswire.NXDomain || wire[6] == 0 && wire[7] == 0
}

// heldLeft returns how long what is held stays so.
func (x *exchange) heldLeft() time.Duration {
	if x.held.Wire == nil {
		return math.MaxInt64
	}
	return max(time.Until(x.heldEnds), 0)
}

// isHeldLongEnough reports whether what is held is the answer now.
func (x *exchange) isHeldLongEnough() bool {
	return x.held.Wire != nil && (x.heldFor.done || !time.Now().Before(x.heldEnds))
}
