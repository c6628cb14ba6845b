package rhythm

import (
	"math"
	"slices"
	"time"
)

const (
	leastSaid   = 8           // attempts of which anything is said
	leastBeats  = 8           // intervals that a heartbeat is found in
	leastPeriod = 45          // seconds
	mostPeriod  = 26 * 3600   // seconds: a day, and a tenth of it
	mostMissed  = 6           // periods that an interval of beats has; a longer one is a pause
	searched    = 400         // intervals that periods are tried on
	tried       = 80          // periods that are tried
	leastScore  = 0.3         // however many intervals there are
	scoreOf     = 2.6         // a score is significant from scoreOf by the root of the number of intervals on; see docs/evidence.md
	tieOf       = 0.03        // a longer period is preferred where its score is at most so much less
	leastOnce   = 0.4         // share of intervals that are one period
	toSigma     = 1.4826      // a normal distribution's standard deviation by its median absolute deviation
	nearOurs    = 0.1         // of a period: so close to the TTL it may be of it
	gapMostly   = 1.6         // attempt gaps: a period below may be of them
	daily       = 20 * 3600   // seconds: a longer period may be of days
	night       = 6           // hours from midnight on
	inNight     = time.Hour   // in which a batch comes
	leastNights = 4           // with a batch
	bootWithin  = time.Minute // of the first attempt at another name
	bootSilent  = 2           // whole hours before, in which the device asked nothing
	leastBoots  = 4
	leastUse    = 0.9 // share of attempts
	mostHours   = 0.8 // share of hours
)

// findBeat looks for a steady period in intervals, in seconds, between attempts that follow
// one another with nothing missing in between. An interval d fits a period p by the cosine
// of its angle when time is wound around a circle of length p (Rayleigh's test against a
// given direction, of intervals instead of times: a period that drifts has no fixed
// phase). One shorter than half of p contradicts p, and one of more than mostMissed is a
// pause and says nothing. The score is the mean of what all say.
func findBeat(intervals []float64) *Beat {
	if len(intervals) < leastBeats {
		return nil
	}
	sample := sampleOf(intervals)
	best, period := -1.0, 0.0
	for _, p := range periods(sample) {
		s, _ := score(sample, p)
		if s > best+tieOf || s > best && p > 0.9*period {
			best, period = s, p
		}
	}
	for range 3 {
		period = refine(intervals, period)
	}
	s, n := score(intervals, period)
	if s < math.Max(leastScore, scoreOf/math.Sqrt(float64(n))) || period < leastPeriod || period > mostPeriod {
		return nil
	}
	return describe(intervals, period, s)
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

// score returns how well intervals fit a period, and how many say something of it; -1 where
// these are too few.
func score(intervals []float64, p float64) (float64, int) {
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
	if n < leastBeats || 10*n < 6*len(intervals) {
		return -1, n
	}
	return sum / float64(n), n
}

// describe says of a period what intervals do; nil where most of them are several periods.
func describe(intervals []float64, p, score float64) *Beat {
	b := &Beat{Period: p, Score: score, Beats: 1}
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
