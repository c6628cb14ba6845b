package stats

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// A process makes up when something happens within some hours, from midnight on.
type process struct {
	name string
	make func(r *rand.Rand, hours int, rate float64) []float64 // times, in hours
}

func poisson(r *rand.Rand, hours int, rate float64) (all []float64) {
	for at := r.ExpFloat64() / rate; at < float64(hours); at += r.ExpFloat64() / rate {
		all = append(all, at)
	}
	return all
}

// bursts come independently, by a day's course or not; a burst has so many events in the
// mean (geometric), 5 minutes apart in the mean. The variance of counts is 2*mean-1 times
// that of independent events, were hours long beside bursts.
func bursts(mean float64, daily bool) func(r *rand.Rand, hours int, rate float64) []float64 {
	return func(r *rand.Rand, hours int, rate float64) (all []float64) {
		begin := poisson
		if daily {
			begin = diurnal
		}
		for _, at := range begin(r, hours+24, rate/mean) {
			for at -= 24; ; at += r.ExpFloat64() / 12 {
				if at >= 0 && at < float64(hours) {
					all = append(all, at)
				}
				if r.Float64() < 1/mean {
					break
				}
			}
		}
		return all
	}
}

// dailyCourse is how the rate goes through a day: asleep from 23 to 7, busy from 18 to 22.
func dailyCourse(at float64) float64 {
	switch hour := math.Mod(at, 24); {
	case hour < 7 || hour >= 23:
		return 0.1
	case hour >= 18 && hour < 22:
		return 2.5
	}
	return (24 - 8*0.1 - 4*2.5) / 12
}

func diurnal(r *rand.Rand, hours int, rate float64) (all []float64) {
	for _, at := range poisson(r, hours, 2.5*rate) {
		if r.Float64() < dailyCourse(at)/2.5 {
			all = append(all, at)
		}
	}
	return all
}

var processes = []process{{"Poisson", poisson}, {"bursts of 2", bursts(2, false)}, {"bursts of 4", bursts(4, false)}, {"diurnal", diurnal}, {"diurnal, bursts of 4", bursts(4, true)}}

// observe makes the blocks of an experiment of two phases: one after the other, compared
// within hours of the day.
func observe(r *rand.Rand, p *process, hours int, rate, ratio float64) []Block {
	all := make([]Block, 2*hours)
	for i := range all {
		all[i] = Block{At: i, Stratum: i % 24, B: i >= hours, Hours: 1}
	}
	for _, at := range p.make(r, hours, rate) {
		all[int(at)].Count++
	}
	for _, at := range p.make(r, hours, rate*ratio) { // 48 hours on, it is the same time of day
		all[hours+int(at)].Count++
	}
	return all
}

// runs is how many experiments are made up for each figure: few in make test.
func runs(few int) int {
	if n, err := strconv.Atoi(os.Getenv("FINDINGS_RUNS")); err == nil && n > 0 {
		return n
	}
	return few
}

// Intervals have the true ratio in them as often as they say.
func TestIntervalsCoverTheTruth(t *testing.T) {
	n := runs(150)
	slack := 4 * math.Sqrt(Level*(1-Level)/float64(n))
	for pi := range processes {
		p := &processes[pi]
		for _, c := range []struct {
			hours       int
			rate, ratio float64
		}{{48, 4, 1}, {48, 4, 0.5}, {48, 1, 1}, {24, 4, 0.5}, {168, 1, 0.5}} {
			if n < 1000 && (c.hours != 48 || c.rate != 4) {
				continue
			}
			r := rand.New(rand.NewPCG(15, uint64(pi)))
			covered, found := 0, 0
			for range n {
				got := Compare(observe(r, p, c.hours, c.rate, c.ratio))
				if got.Low <= c.ratio && c.ratio <= got.High {
					covered++
				}
				if got.P <= 0.05 && got.Ratio < 1 {
					found++
				}
			}
			share := float64(covered) / float64(n)
			t.Logf("%-20s %3d h each, %v an hour, ratio %v: %.1f %% cover, %.1f %% found to fall", p.name, c.hours, c.rate, c.ratio, 100*share, 100*float64(found)/float64(n))
			low, high := 0.93, 0.97
			if n < 1000 {
				low, high = Level-slack, min(1, Level+slack)
			}
			if share < low || share > high {
				t.Errorf("%s, %d h, %v an hour, ratio %v: %.1f %% of intervals cover the truth", p.name, c.hours, c.rate, c.ratio, 100*share)
			}
		}
	}
}

// Methods that were weighed, side by side: docs/evidence.md has the figures.
func TestMethodsBesideOneAnother(t *testing.T) {
	n := runs(0)
	if n == 0 {
		t.Skip("FINDINGS_RUNS is not set: make bench does, with BENCH_SECTIONS=findings")
	}
	for pi := range processes {
		p := &processes[pi]
		for _, ratio := range []float64{1, 0.5} {
			r := rand.New(rand.NewPCG(16, uint64(pi)))
			var plain, negative, ours, permuted struct{ cover, fell int }
			count := func(into *struct{ cover, fell int }, low, high, p, got float64) {
				if low <= ratio && ratio <= high {
					into.cover++
				}
				if p <= 0.05 && got < 1 {
					into.fell++
				}
			}
			m := n / 4 // permutations are slow
			for range m {
				blocks := observe(r, p, 48, 4, ratio)
				got := Compare(blocks)
				count(&ours, got.Low, got.High, got.P, got.Ratio)
				low, high, pv := asPoisson(&got)
				count(&plain, low, high, pv, got.Ratio)
				low, high, pv = asNegativeBinomial(blocks, &got)
				count(&negative, low, high, pv, got.Ratio)
				count(&permuted, 0, math.Inf(1), permutation(r, blocks, 200), got.Ratio)
			}
			part := func(k int) string { return fmt.Sprintf("%.1f %%", 100*float64(k)/float64(m)) }
			t.Logf("%-20s ratio %v: cover, found to fall: Poisson %s %s; negative binomial %s %s; permuted hours - %s; ours %s %s", p.name, ratio,
				part(plain.cover), part(plain.fell), part(negative.cover), part(negative.fell), part(permuted.fell), part(ours.cover), part(ours.fell))
		}
	}
}

func asPoisson(r *Ratio) (low, high, p float64) {
	se := math.Sqrt(1/r.CountA + 1/r.CountB)
	z := math.Log(r.Ratio) / se
	return r.Ratio * math.Exp(-1.96*se), r.Ratio * math.Exp(1.96*se), 2 * Normal(-math.Abs(z))
}

// asNegativeBinomial takes hours to be independent, their variance m+m²/k, k by moments.
func asNegativeBinomial(blocks []Block, r *Ratio) (low, high, p float64) {
	all := strataOf(blocks)
	withBases(all, r.Ratio)
	over, squares := 0.0, 0.0
	for i := range blocks {
		fits := r.expected(&blocks[i], all.of[blocks[i].Stratum])
		over += square(blocks[i].Count-fits) * float64(len(blocks)) / float64(r.Freedom)
		over -= fits
		squares += fits * fits
	}
	k := max(0, over/squares) // 1/k
	var mean, variance [2]float64
	for i := range blocks {
		fits := r.expected(&blocks[i], all.of[blocks[i].Stratum])
		mean[blocks[i].arm()] += fits
		variance[blocks[i].arm()] += fits + k*fits*fits
	}
	se := math.Sqrt(variance[0]/square(mean[0]) + variance[1]/square(mean[1]))
	t := StudentQuantile(0.975, r.Freedom)
	return r.Ratio * math.Exp(-t*se), r.Ratio * math.Exp(t*se), 2 * Student(-math.Abs(math.Log(r.Ratio)/se), r.Freedom)
}

// permutation exchanges hours of the same time of day between the conditions.
func permutation(r *rand.Rand, blocks []Block, times int) float64 {
	difference := func() (d float64) {
		for i := range blocks {
			d += blocks[i].Count * float64(2*blocks[i].arm()-1)
		}
		return d
	}
	blocks = slices.Clone(blocks)
	seen, as := math.Abs(difference()), 1
	slices.SortStableFunc(blocks, func(a, b Block) int { return cmp.Compare(a.Stratum, b.Stratum) })
	for range times {
		for at := 0; at < len(blocks); {
			end := at
			for end < len(blocks) && blocks[end].Stratum == blocks[at].Stratum {
				end++
			}
			in := blocks[at:end]
			r.Shuffle(len(in), func(i, j int) { in[i].B, in[j].B = in[j].B, in[i].B })
			at = end
		}
		if math.Abs(difference()) >= seen {
			as++
		}
	}
	return float64(as) / float64(times+1)
}
