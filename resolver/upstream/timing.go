package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of how long an upstream may be silent before a query is sent again.
const (
	leastTimeout = 100 * time.Millisecond // forwarders answer from a cache or ask on: their times vary
	mostTimeout  = 3 * time.Second        // so that something else is tried within a query's budget
	usualEach    = 10                     // so many answers, and what is usual is looked at again
	steadyResend = 600 * time.Millisecond // the pause between sendings grows to this, or to the time-out
)

// A timing is how long an upstream takes to answer, and so how long it may be
// silent: the smoothed time and four times its spread (RFC 6298), doubled for each
// time-out in a row until there is an answer. Any goroutine may use it.
type timing struct {
	timeout  atomic.Int64  // in force, nanoseconds
	smoothed atomic.Int64  // time to an answer, nanoseconds; 0: none yet
	longest  atomic.Int64  // that it takes but for one answer in a hundred, nanoseconds; 0: unknown
	least    time.Duration // of timeout, where that is more than leastTimeout

	mu       sync.Mutex
	spread   time.Duration
	quickest time.Duration // of all answers to what was sent once; 0: none yet
	answers  latencies     // to what clients asked
}

// A Latency is how long the last answers took, up to 1,024 of them.
type Latency struct {
	P50, P90, P99 time.Duration // 0: there was none yet
	Answers       int           // that they rest on
}

// latency returns how long the last answers took.
func (t *timing) latency() Latency {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &t.answers
	return Latency{a.percentile(50), a.percentile(90), a.percentile(99), a.count()}
}

// total returns how many answers there ever were, and how long they took together.
func (t *timing) total() (n uint64, sum time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answers.all, t.answers.sum
}

// answered takes in that a client's question was answered so long after it was sent first.
func (t *timing) answered(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answers.add(took)
	if n := t.answers.count(); n >= leastAnswers && n%usualEach == 0 {
		t.longest.Store(int64(t.answers.percentile(99)))
	}
}

// usual returns how long the upstream takes but for one answer in a hundred; 0 where
// too little is known.
func (t *timing) usual() time.Duration { return time.Duration(t.longest.Load()) }

// begin sets the time-out of an upstream of which nothing is known, and the least that it
// may come to.
func (t *timing) begin(timeout, least time.Duration) {
	t.least = least
	t.timeout.Store(int64(timeout))
}

// current returns how long the upstream may be silent.
func (t *timing) current() time.Duration { return time.Duration(t.timeout.Load()) }

// srtt returns the smoothed time to an answer; 0: none yet.
func (t *timing) srtt() time.Duration { return time.Duration(t.smoothed.Load()) }

// replied takes in that a reply came at now to what was sent at these times.
func (t *timing) replied(sent []time.Time, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	took := max(now.Sub(t.sendingLocked(sent, now)), 1)
	if len(sent) == 1 && (t.quickest == 0 || took < t.quickest) {
		t.quickest = took
	}
	smoothed := t.srtt()
	if smoothed == 0 {
		smoothed, t.spread = took, took/2
	} else {
		off := took - smoothed
		t.spread += (max(off, -off) - t.spread) / 4
		smoothed += off / 8
	}
	t.smoothed.Store(int64(max(smoothed, 1)))
	t.timeout.Store(int64(max(min(max(smoothed+4*t.spread, leastTimeout), mostTimeout), t.least)))
}

// sendingLocked returns which sending it was that was answered: the last, unless
// the upstream was never nearly that quick.
func (t *timing) sendingLocked(sent []time.Time, now time.Time) time.Time {
	for i := len(sent) - 1; i > 0; i-- {
		if now.Sub(sent[i]) >= t.quickest/2 {
			return sent[i]
		}
	}
	return sent[0]
}

// timedOut takes in that there was no answer for so long. Of many queries that
// waited at the same time only the first counts.
func (t *timing) timedOut(waited time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.current(); waited >= now {
		t.timeout.Store(int64(max(min(2*now, mostTimeout), t.least)))
	}
}

// resendAfter returns the pause before a query that was sent so many times is sent
// again. timeout was in force when it was sent first.
func resendAfter(timeout time.Duration, sent int) time.Duration {
	return min(timeout<<min(max(sent, 1)-1, 8), max(timeout, steadyResend))
}
