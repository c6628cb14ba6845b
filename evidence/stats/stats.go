// Package stats compares how often something happened in two conditions, and says how
// sure that is. It is pure: counts in, figures out. docs/evidence.md has the method, why
// it was chosen, and how often it is wrong.
package stats

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// A Block is a stretch of time, and how often something happened in it.
type Block struct {
	At      int     // its number in time: blocks whose numbers follow one another are neighbours
	Stratum int     // what it is compared within, such as the hour of the day
	B       bool    // it is of the second condition, else of the first
	Hours   float64 // for how long something could be observed
	Count   float64
}

// A Ratio says how the rate in condition B compares with that in A.
type Ratio struct {
	CountA, CountB float64
	HoursA, HoursB float64 // of strata that have blocks of both conditions; no other ones are compared

	Ratio      float64 // of B's rate to A's; +Inf where there was nothing in A, NaN where there was nothing in either
	Low, High  float64 // 95 % confidence interval
	P          float64 // two-sided, that a ratio as far from 1 comes by chance
	Dispersion float64 // the variance of counts, as a multiple of what independent events have; at least 1
	Freedom    int     // degrees of freedom that the dispersion rests on; 0 where there are too few blocks for an interval

	tails        int     // those of the distribution that the interval is of
	nullA, nullB float64 // what would be expected in each, had nothing changed
}

// Level is how sure intervals are.
const Level = 0.95

// What simulations chose: docs/evidence.md has them.
const (
	neighbours  = 2       // so many blocks apart, counts are taken to depend on one another
	usualNoise  = 0.8     // so many standard errors above 1, a dispersion is taken for chance
	independent = 1 << 20 // degrees of freedom that are as good as no end of them
)

// A stratum is the blocks of both conditions that are compared with one another.
type stratum struct {
	hours, counts [2]float64 // of A, and of B
	base          float64    // the rate in A that fits both
}

func (s *stratum) all() float64 { return s.counts[0] + s.counts[1] }

// Compare compares two conditions. It takes rates to be those of the strata, times the
// ratio in B, and their variance to be the same multiple of the mean throughout.
func Compare(blocks []Block) Ratio {
	all := strataOf(blocks)
	r := Ratio{Ratio: math.NaN(), Low: 0, High: math.Inf(1), P: 1, Dispersion: 1}
	for _, s := range all.in {
		r.HoursA += s.hours[0]
		r.HoursB += s.hours[1]
		r.CountA += s.counts[0]
		r.CountB += s.counts[1]
		r.nullA += s.all() * s.hours[0] / (s.hours[0] + s.hours[1])
		r.nullB += s.all() * s.hours[1] / (s.hours[0] + s.hours[1])
	}
	if r.CountA+r.CountB == 0 {
		return r
	}
	r.Ratio = fit(all, r.CountA, r.CountB)
	r.disperse(blocks, all)
	if r.Freedom > 0 {
		r.interval(all)
	}
	return r
}

// strata are those that have blocks of both conditions, by what blocks call them.
type strata struct {
	of map[int]*stratum
	in []*stratum // in the order of their first blocks, so that sums are the same each time
}

func strataOf(blocks []Block) (all strata) {
	all.of = map[int]*stratum{}
	for i := range blocks {
		b := &blocks[i]
		if b.Hours <= 0 {
			continue
		}
		s := all.of[b.Stratum]
		if s == nil {
			s = &stratum{}
			all.of[b.Stratum], all.in = s, append(all.in, s)
		}
		s.hours[b.arm()] += b.Hours
		s.counts[b.arm()] += b.Count
	}
	oneSided := func(s *stratum) bool { return s.hours[0] == 0 || s.hours[1] == 0 }
	maps.DeleteFunc(all.of, func(_ int, s *stratum) bool { return oneSided(s) })
	all.in = slices.DeleteFunc(all.in, oneSided)
	return all
}

func (b *Block) arm() int {
	if b.B {
		return 1
	}
	return 0
}

// fit returns the ratio that makes the events in B as many as they are, and gives each
// stratum its base.
func fit(all strata, countA, countB float64) float64 {
	switch {
	case countB == 0:
		return withBases(all, 0)
	case countA == 0:
		return withBases(all, math.Inf(1))
	}
	low, high := -40.0, 40.0 // of the logarithm
	for range 80 {
		mid := (low + high) / 2
		r, expected := math.Exp(mid), 0.0
		for _, s := range all.in {
			expected += s.all() * r * s.hours[1] / (s.hours[0] + r*s.hours[1])
		}
		if expected < countB {
			low = mid
		} else {
			high = mid
		}
	}
	return withBases(all, round(math.Exp((low+high)/2)))
}

// round keeps nine digits: a ratio of small counts, such as 7 to 8, is exactly that.
func round(x float64) float64 {
	shift := math.Pow(10, 9-math.Ceil(math.Log10(x)))
	return math.Round(x*shift) / shift
}

func withBases(all strata, ratio float64) float64 {
	for _, s := range all.in {
		if s.base = s.all() / (s.hours[0] + ratio*s.hours[1]); math.IsInf(ratio, 1) {
			s.base = s.all() / s.hours[1] // the rate in B
		}
	}
	return ratio
}

// expected returns how many events fit a block.
func (r *Ratio) expected(b *Block, s *stratum) float64 {
	switch {
	case math.IsInf(r.Ratio, 1):
		return s.base * b.Hours * float64(b.arm())
	case b.B:
		return s.base * b.Hours * r.Ratio
	}
	return s.base * b.Hours
}

// disperse estimates how much more counts vary than those of independent events do: from
// what is left of each block when strata and conditions are taken off, and from how
// much of that neighbours share.
func (r *Ratio) disperse(blocks []Block, within strata) {
	type rest struct {
		at, arm int
		left    float64
	}
	var all []rest
	variance, used := 0.0, map[int]bool{}
	for i := range blocks {
		b := &blocks[i]
		s := within.of[b.Stratum]
		if s == nil || b.Hours <= 0 {
			continue
		}
		fits := r.expected(b, s)
		if fits == 0 {
			continue
		}
		used[b.Stratum] = true
		variance += fits * (1 - fits/s.all())
		all = append(all, rest{b.At, b.arm(), b.Count - fits})
	}
	r.Freedom = len(all) - len(used)
	if r.CountA > 0 && r.CountB > 0 {
		r.Freedom--
	}
	if r.Freedom <= 0 || variance <= 0 {
		r.Freedom = 0
		return
	}
	if r.CountA > 0 && r.CountB > 0 {
		variance *= float64(r.Freedom) / float64(r.Freedom+1)
	}
	slices.SortFunc(all, func(a, b rest) int { return cmp.Compare(a.at, b.at) })
	own, shared := 0.0, 0.0
	for i := range all {
		own += all[i].left * all[i].left
		for j := i + 1; j < len(all) && all[j].at-all[i].at <= neighbours; j++ {
			if all[j].arm == all[i].arm {
				shared += 2 * all[i].left * all[j].left
			}
		}
	}
	if own/variance <= 1+usualNoise*math.Sqrt(2/float64(r.Freedom)) {
		r.tails = independent // as independent events are, or more regular
		return
	}
	r.Dispersion = max(1, own/variance, (own+shared)/variance)
	mean, spread := own/float64(len(all)), 0.0
	for i := range all {
		spread += square(square(all[i].left) - mean)
	}
	sure := 1.0 // how sure the dispersion is, beside that of normal values, which have twice the square of their variance here
	if spread > 0 {
		sure = min(1, 2*square(mean)*float64(len(all))/spread)
	}
	r.tails = max(1, int(float64(r.Freedom)*sure/2))
}

// interval fills in the interval and P: as many events as would be as sure, had they been
// independent, fall into B or A by the toss of a coin whose bias the ratio is (Jeffreys).
func (r *Ratio) interval(all strata) {
	a, b := r.CountA, r.CountB
	odds := r.odds(all)
	loss := 1.0 // what strata of unequal parts cost
	if a > 0 && b > 0 {
		exact := 0.0
		for _, s := range all.in {
			p := r.Ratio * s.hours[1] / (s.hours[0] + r.Ratio*s.hours[1])
			exact += s.all() * p * (1 - p)
		}
		loss = exact / (a * b / (a + b))
	}
	scale := loss / r.Dispersion
	t := StudentQuantile((1+Level)/2, r.tails)
	wide := scale * square(NormalQuantile((1+Level)/2)/t)
	tail := (1 - Level) / 2
	if b > 0 {
		p := BetaQuantile(tail, b*wide+0.5, a*wide+0.5)
		r.Low = p / (1 - p) / odds
	}
	if a > 0 {
		p := BetaQuantile(1-tail, b*wide+0.5, a*wide+0.5)
		r.High = p / (1 - p) / odds
	}
	lower := Beta(odds/(1+odds), b*scale+0.5, a*scale+0.5) // how sure it is that the ratio is below 1
	z := NormalQuantile(min(lower, 1-lower))
	r.P = min(1, 2*Student(z, r.tails))
}

// odds returns how many events would be in B for each in A, had nothing changed.
func (r *Ratio) odds(all strata) float64 {
	a, b := 0.0, 0.0
	for _, s := range all.in {
		a += s.base * s.hours[0]
		b += s.base * s.hours[1]
	}
	return b / a
}

// Power is how likely it is that a change of the rate to this part would have been seen,
// at this level of P.
func (r *Ratio) Power(part, alpha float64) float64 {
	if r.Freedom <= 0 {
		return 0
	}
	t := -StudentQuantile(alpha/2, r.tails)
	return Student(math.Abs(math.Log(part))/r.spread(part, 1)-t, r.tails)
}

// spread is the standard error of the logarithm of the ratio, were it so, and had the
// observation of B lasted so many times as long.
func (r *Ratio) spread(part, longer float64) float64 {
	return math.Sqrt(r.Dispersion * (1/r.nullA + 1/(part*longer*r.nullB)))
}

// Longer returns how many hours more of B would have to be observed for Power to be what
// is wanted; +Inf where no length of B is enough, since A was too short.
func (r *Ratio) Longer(part, alpha, power float64) float64 {
	if r.Freedom <= 0 || r.nullB == 0 {
		return math.Inf(1)
	}
	return r.enough(func(more float64) float64 {
		rest := square(r.standardError(part, alpha, power, 1+more/(r.HoursA+r.HoursB)))/r.Dispersion - 1/r.nullA // what B may add to the variance
		if rest <= 0 {
			return math.Inf(1)
		}
		return max(0, (1/(rest*part*r.nullB)-1)*r.HoursB)
	})
}

// Both returns how many hours of each condition would be enough, were both observed for
// as long. Where there are too few blocks to know the dispersion, counts are taken to be
// independent: it is that many at least.
func (r *Ratio) Both(part, alpha, power float64) float64 {
	if r.nullA+r.nullB == 0 {
		return math.Inf(1)
	}
	rate := (r.nullA + r.nullB) / (r.HoursA + r.HoursB)
	return r.enough(func(hours float64) float64 {
		return r.Dispersion * (1 + 1/part) / (square(r.standardError(part, alpha, power, 2*hours/(r.HoursA+r.HoursB))) * rate)
	})
}

// standardError is the largest one of the logarithm of the ratio with which Power is what is
// wanted, had so many times as much been observed: then the dispersion is surer, too.
func (r *Ratio) standardError(part, alpha, power, longer float64) float64 {
	tails := independent
	if r.Freedom > 0 && r.tails < independent {
		tails = int(min(independent, max(1, float64(r.tails)*longer)))
	}
	return math.Abs(math.Log(part)) / (-StudentQuantile(alpha/2, tails) + StudentQuantile(power, tails))
}

// enough returns about how many hours are as many as are needed where so many are observed:
// not fewer, as what is needed becomes less with each.
func (r *Ratio) enough(needed func(hours float64) float64) float64 {
	hours := needed(0)
	if r.Freedom <= 0 || r.tails >= independent { // the same, however long it is observed
		return hours
	}
	for range 4 { // too few and too many by turns
		hours = needed(hours)
	}
	return hours
}

// Adjusted returns p-values that hold for all of several comparisons: of those that are
// at most q, a part of q or less is expected to be by chance (Benjamini and Hochberg).
func Adjusted(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	out, least := make([]float64, len(p)), 1.0
	for rank := len(order) - 1; rank >= 0; rank-- {
		least = min(least, p[order[rank]]*float64(len(p))/float64(rank+1))
		out[order[rank]] = least
	}
	return out
}

func square(x float64) float64 { return x * x }
