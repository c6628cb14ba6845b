package rhythm

import (
	"math"
	"slices"
	"time"
)

const (
	leastSaid    = 8           // attempts of which anything is said
	leastBeats   = 8           // intervals that a heartbeat is found in
	leastPeriod  = 45          // seconds
	mostPeriod   = 26 * 3600   // seconds: a day, and a tenth of it
	mostMissed   = 6           // periods that an interval of beats has; a longer one is a pause
	searched     = 400         // intervals that periods are tried on
	tried        = 80          // periods that are tried
	leastSupport = 5.5         // logarithm of how much likelier a period is than random times; see docs/evidence.md
	leastOfEach  = 0.25        // of it, so much for each interval
	beatMissing  = 0.2         // share of beats that are taken to be missing
	strayOf      = 0.1         // share of intervals that are taken to be of something else
	leastOnce    = 0.4         // share of intervals that are one period
	toSigma      = 1.4826      // a normal distribution's standard deviation by its median absolute deviation
	nearOurs     = 0.1         // of a period: so close to the TTL it may be of it
	gapMostly    = 1.6         // attempt gaps: a period below may be of them
	daily        = 20 * 3600   // seconds: a longer period may be of days
	night        = 6           // hours from midnight on
	inNight      = time.Hour   // in which a batch comes
	leastNights  = 4           // with a batch
	bootWithin   = time.Minute // of the first attempt at another name
	bootSilent   = 2           // whole hours before, in which the device asked nothing
	leastBoots   = 4
	leastUse     = 0.9 // share of attempts
	mostHours    = 0.8 // share of hours
)

// jitters are the standard deviations that are tried, as parts of a period. The largest is
// the one by which periods are searched for.
var jitters = []float64{0.02, 0.05, 0.1}

// findBeat looks for a steady period in intervals, in seconds, between attempts that follow
// one another with nothing missing in between. Attempts cannot begin closer to one another
// than the gap. Of each period it asks how much likelier the intervals are with it than at
// random times: see support.
func findBeat(intervals []float64, gap float64) *Beat {
	if len(intervals) < leastBeats {
		return nil
	}
	sample := sampleOf(intervals)
	best, period := math.Inf(-1), 0.0
	for _, p := range periods(sample) {
		if s, _ := support(sample, p, gap, jitters[len(jitters)-1]); s > best {
			best, period = s, p
		}
	}
	if period == 0 {
		return nil
	}
	for range 3 {
		period = refine(intervals, period)
	}
	best, n := math.Inf(-1), 0
	for _, jitter := range jitters {
		s, of := support(intervals, period, gap, jitter)
		best, n = max(best, s), of
	}
	if best < max(leastSupport, leastOfEach*float64(n)) || period < leastPeriod || period > mostPeriod {
		return nil
	}
	b := describe(intervals, period)
	if b != nil {
		b.support = best
	}
	return b
}

// sampleOf returns intervals, evenly so many at most.
func sampleOf(intervals []float64) []float64 {
	if len(intervals) <= searched {
		return intervals
	}
	out := make([]float64, searched)
	for i := range out {
		out[i] = intervals[i*len(intervals)/searched]
	}
	return out
}

// periods returns the periods to be tried: intervals themselves, the longest first, since an
// interval with no beat missing is one.
func periods(sample []float64) []float64 {
	sorted := slices.Clone(sample)
	slices.Sort(sorted)
	sorted = sorted[:len(sorted)-len(sorted)/10]
	out := make([]float64, 0, tried)
	for i := range tried {
		p := sorted[len(sorted)-1-i*len(sorted)/tried]
		if len(out) == 0 || p < 0.99*out[len(out)-1] {
			out = append(out, p)
		}
	}
	return out
}

// refine returns the median of what intervals near a multiple of p say that p is.
func refine(intervals []float64, p float64) float64 {
	var of []float64
	for _, d := range intervals {
		m := math.Round(d / p)
		if m >= 1 && m <= mostMissed && math.Abs(d-m*p) < 0.3*p {
			of = append(of, d/m)
		}
	}
	if len(of) == 0 {
		return p
	}
	return median(of)
}

// support returns the logarithm of how much likelier intervals are with a period than at
// random times, and how many of them say something of it. With a period, an interval is a
// multiple of it with normal jitter, which is a part of the period and grows as the root of
// the multiple, and one beat in beatMissing is missing; one in strayOf comes at any time. At
// random times it is the gap and an exponential time. One of more than mostMissed periods is
// a pause and says nothing; where these are too many, the period has no support.
func support(intervals []float64, p, gap, jitter float64) (float64, int) {
	n, mean := 0, 0.0
	for _, d := range intervals {
		if math.Round(d/p) <= mostMissed {
			n++
			mean += max(d-gap, 0)
		}
	}
	if n < leastBeats || 10*n < 6*len(intervals) {
		return math.Inf(-1), n
	}
	mean = max(mean/float64(n), 1)
	var beats [mostMissed + 1]float64 // by the multiple, the logarithm of how likely one is at its height, to a random time
	for m := range beats {
		beats[m] = math.Log((1-strayOf)/strayOf*(1-beatMissing)*mean/(jitter*p*math.Sqrt(2*math.Pi*float64(max(m, 1))))) + float64(m-1)*math.Log(beatMissing)
	}
	sum, product := float64(n)*math.Log(strayOf), 1.0 // a product of few costs fewer logarithms
	for _, d := range intervals {
		m := math.Round(d / p)
		if m < 1 || m > mostMissed {
			continue
		}
		z := (d - m*p) / (jitter * p)
		product *= 1 + math.Exp(min(beats[int(m)]-z*z/(2*m)+max(d-gap, 0)/mean, 300))
		if product > 1e150 {
			sum, product = sum+math.Log(product), 1
		}
	}
	return sum + math.Log(product), n
}

// score returns the mean cosine of where intervals end when each is laid around a circle of
// length p: 1 where all are multiples of p. An interval shorter than half of p counts as -1.
func score(intervals []float64, p float64) float64 {
	sum, n := 0.0, 0
	for _, d := range intervals {
		switch m := math.Round(d / p); {
		case m < 1:
			sum--
			n++
		case m <= mostMissed:
			sum += math.Cos(2 * math.Pi * d / p)
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// describe says of a period what intervals do; nil where most of them are several periods.
func describe(intervals []float64, p float64) *Beat {
	b := &Beat{Period: p, Score: score(intervals, p), Beats: 1}
	slots, once, several := 0, 0, 0
	var off []float64
	for _, d := range intervals {
		switch m := math.Round(d / p); {
		case m > mostMissed:
			b.Pauses++
		case m >= 1:
			b.Beats++
			slots += int(m)
			off = append(off, math.Abs(d-m*p))
			if several++; m == 1 {
				once++
			}
		}
	}
	if slots == 0 || float64(once) < leastOnce*float64(several) {
		return nil
	}
	b.Present = float64(several) / float64(slots)
	b.Jitter = toSigma * median(off)
	return b
}

// median sorts.
func median(of []float64) float64 {
	slices.Sort(of)
	n := len(of)
	if n%2 == 1 {
		return of[n/2]
	}
	return (of[n/2-1] + of[n/2]) / 2
}
