package rhythm

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// runs is how many series of each process are made: FINDINGS_RUNS where a person, or make
// bench, wants more than what a test has time for.
func runs(few int) int {
	if n, err := strconv.Atoi(os.Getenv("FINDINGS_RUNS")); err == nil {
		return n
	}
	return few
}

// testGap is the attempt gap, in seconds, as it is where no setting changes it.
const testGap = 30

// attemptsOf merges lookups into attempts, as the log does, and returns the intervals
// between their beginnings, as far as there are n attempts.
func attemptsOf(next func() float64, n int) []float64 {
	const gap = testGap
	var out []float64
	at, last, begun := 0.0, math.Inf(-1), math.Inf(-1)
	for lookups := 0; len(out) < n-1 && lookups < 100*n; lookups++ {
		at = next()
		if at-last >= gap {
			if !math.IsInf(begun, -1) {
				out = append(out, at-begun)
			}
			begun = at
		}
		last = at
	}
	return out
}

// heartbeats are processes with a period.
var heartbeats = []struct {
	what  string
	least float64 // of them are found
	next  func(r *rand.Rand, p float64) func() float64
}{
	{"a timer set anew at each beat, up to a tenth early or late", 0.95, func(r *rand.Rand, p float64) func() float64 {
		at := 0.0
		return func() float64 { at += p * (0.9 + 0.2*r.Float64()); return at }
	}},
	{"a timer of fixed times, each beat up to a tenth later", 0.95, func(r *rand.Rand, p float64) func() float64 {
		k := 0.0
		return func() float64 { k++; return p * (k + 0.1*r.Float64()) }
	}},
	{"a timer of fixed times, each beat up to a tenth early or late", 0.95, func(r *rand.Rand, p float64) func() float64 {
		k := 0.0
		return func() float64 { k++; return p * (k - 0.1 + 0.2*r.Float64()) }
	}},
	{"a timer set anew at each beat, early or late by a standard deviation of a tenth", 0.95, func(r *rand.Rand, p float64) func() float64 {
		at := 0.0
		return func() float64 { at += p * (1 + 0.1*r.NormFloat64()); return at }
	}},
}

// Heartbeats are found in series of 20 beats of which a fifth is missing, and their periods
// are the true ones.
func TestHeartbeatsAreFound(t *testing.T) {
	many := runs(60)
	for _, h := range heartbeats {
		for _, p := range []float64{60, 300, 3600, 6 * 3600, 24 * 3600} {
			r := rand.New(rand.NewPCG(1, uint64(p)))
			found, off := 0, 0
			for range many {
				next := h.next(r, p)
				var times []float64
				for range 20 { // 20 beats are due
					at := next()
					if r.Float64() >= 0.2 {
						times = append(times, at)
					}
				}
				b := findBeat(intervalsOf(times), testGap)
				switch {
				case b == nil:
				case math.Abs(b.Period/p-1) > 0.1:
					off++
				default:
					found++
				}
			}
			if share := float64(found) / float64(many); share < h.least {
				t.Errorf("%s, period %g s: %.3f found, %.3f with another period", h.what, p, share, float64(off)/float64(many))
			} else {
				t.Logf("%s, period %g s: %.4f found, %.4f with another period", h.what, p, share, float64(off)/float64(many))
			}
		}
	}
}

// Attempts at random times between the beats, as many as a fifth of the beats that are due,
// do not hide a heartbeat of many beats, nor most of those of few.
func TestHeartbeatsAreFoundAmongOtherAttempts(t *testing.T) {
	many := runs(60)
	for _, c := range []struct {
		beats  int
		others float64 // for each beat that is due
		least  float64
	}{{20, 0.1, 0.85}, {20, 0.2, 0.65}, {200, 0.1, 0.95}, {200, 0.2, 0.95}} {
		const p = 3600.0
		r := rand.New(rand.NewPCG(2, uint64(c.beats)))
		found := 0
		for range many {
			next := heartbeats[0].next(r, p)
			var times []float64
			for range c.beats {
				if at := next(); r.Float64() >= 0.2 {
					times = append(times, at)
				}
			}
			for at, end := 0.0, times[len(times)-1]; ; times = append(times, at) {
				if at += p / c.others * r.ExpFloat64(); at > end {
					break
				}
			}
			slices.Sort(times)
			if b := findBeat(intervalsOf(times), testGap); b != nil && math.Abs(b.Period/p-1) < 0.1 {
				found++
			}
		}
		share := float64(found) / float64(many)
		t.Logf("%d beats, and %g other attempts for each: %.3f found", c.beats, c.others, share)
		if share < c.least {
			t.Errorf("%d beats, and %g other attempts for each: %.3f found, want %g", c.beats, c.others, share, c.least)
		}
	}
}

func intervalsOf(times []float64) (out []float64) {
	for i := 1; i < len(times); i++ {
		out = append(out, math.Abs(times[i]-times[i-1]))
	}
	return out
}

// irregular are processes without a period.
var irregular = []struct {
	what string
	next func(r *rand.Rand, mean float64) func() float64
}{
	{"Poisson", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 { at += mean * r.ExpFloat64(); return at }
	}},
	{"bursts of five on average, a hundred times as dense", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 {
			if r.Float64() < 0.2 {
				at += 5 * mean * r.ExpFloat64()
			} else {
				at += mean / 20 * r.ExpFloat64()
			}
			return at
		}
	}},
	{"bursts of twenty on average", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 {
			if r.Float64() < 0.05 {
				at += 20 * mean * r.ExpFloat64()
			} else {
				at += mean / 5 * r.ExpFloat64()
			}
			return at
		}
	}},
	{"by day four times as much as by night", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 {
			for {
				at += mean / 2 * r.ExpFloat64()
				if day := math.Mod(at, 86400); day > 7*3600 && day < 23*3600 || r.Float64() < 0.25 {
					return at
				}
			}
		}
	}},
	{"heavy tails (log-normal, sigma 1.5)", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 { at += mean * math.Exp(1.5*r.NormFloat64()); return at }
	}},
}

// At most one in a hundred series without a period is said to have one, of few attempts and
// of many, of rare ones and of such as the attempt gap shapes.
func TestFalseHeartbeatsAreRare(t *testing.T) {
	many := runs(40)
	for _, process := range irregular {
		all, of := 0, 0
		for _, mean := range []float64{20, 60, 600, 7200} {
			for _, n := range []int{12, 20, 50, 300} {
				r := rand.New(rand.NewPCG(uint64(n), uint64(mean)))
				found := 0
				for range many {
					if findBeat(attemptsOf(process.next(r, mean), n), testGap) != nil {
						found++
					}
				}
				if share := float64(found) / float64(many); many >= 1000 && share > 0.01 {
					t.Errorf("%s, a lookup each %g s, %d attempts: %.4f are said to have a period", process.what, mean, n, share)
				}
				all, of = all+found, of+many
			}
		}
		share := float64(all) / float64(of)
		t.Logf("%s: %.4f of %d series", process.what, share, of)
		if share > 0.01 {
			t.Errorf("%s: %.4f are said to have a period", process.what, share)
		}
	}
}
