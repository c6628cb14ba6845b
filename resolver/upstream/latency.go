package upstream

import (
	"math/bits"
	"time"
)

const (
	latencySteps  = 8                 // parts of each doubling: what is said is at most an eighth too much
	latencySizes  = 22 * latencySteps // up to 16 s
	latencyWindow = 512               // answers of one window; what is said rests on the last one or two
	leastAnswers  = 50                // fewer say nothing about what is usual
)

// latencies are how long the last answers took, by size. The zero value has none.
type latencies struct {
	windows [2][latencySizes]uint16 // this one, and the one before
	counts  [2]int
	now     int // which of them is this one

	all uint64        // answers there ever were
	sum time.Duration // of these together
}

// add takes in an answer.
func (l *latencies) add(took time.Duration) {
	if l.counts[l.now] >= latencyWindow {
		l.now = 1 - l.now
		l.windows[l.now], l.counts[l.now] = [latencySizes]uint16{}, 0
	}
	l.windows[l.now][latencySize(took)]++
	l.all++
	l.sum += max(took, 0)
	l.counts[l.now]++
}

// count returns how many answers the percentiles rest on.
func (l *latencies) count() int { return l.counts[0] + l.counts[1] }

// percentile returns how long p of a hundred answers took at most; 0 where there were none.
func (l *latencies) percentile(p int) time.Duration {
	wanted := (l.count()*p + 99) / 100
	if wanted == 0 {
		return 0
	}
	seen := 0
	for i := range latencySizes {
		if seen += int(l.windows[0][i]) + int(l.windows[1][i]); seen >= wanted {
			return latencyBound(i)
		}
	}
	return latencyBound(latencySizes - 1)
}

// latencySize returns which size a time is of: microseconds one by one up to
// latencySteps, then so many parts of each doubling.
func latencySize(took time.Duration) int {
	us := uint64(max(took, 0) / time.Microsecond)
	if us < latencySteps {
		return int(us)
	}
	shift := bits.Len64(us) - bits.Len64(latencySteps)
	return min(latencySteps*shift+int(us>>shift), latencySizes-1)
}

// latencyBound returns the longest time of a size.
func latencyBound(size int) time.Duration {
	if size < latencySteps {
		return time.Duration(size+1) * time.Microsecond
	}
	shift := size/latencySteps - 1
	return time.Duration(size%latencySteps+latencySteps+1) << shift * time.Microsecond
}
