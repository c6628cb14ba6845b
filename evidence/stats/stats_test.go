package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Percentage points as tables print them: NIST/SEMATECH e-Handbook of Statistical
// Methods, 1.3.6.7.1 and 1.3.6.7.2.
func TestQuantilesAreThoseOfTables(t *testing.T) {
	for _, c := range []struct{ got, want float64 }{
		{NormalQuantile(0.975), 1.960}, {NormalQuantile(0.95), 1.645}, {NormalQuantile(0.995), 2.576}, {Normal(1.0), 0.84134},
		{StudentQuantile(0.975, 1), 12.706}, {StudentQuantile(0.975, 5), 2.571}, {StudentQuantile(0.95, 10), 1.812}, {StudentQuantile(0.99, 30), 2.457},
		{StudentQuantile(0.9, 3), 1.638}, {StudentQuantile(0.5, 7), 0}, {StudentQuantile(0.025, 5), -2.571},
	} {
		if math.Abs(c.got-c.want) > 0.0006 {
			t.Errorf("%v, want %v", c.got, c.want)
		}
	}
}

// Beta(k, n-k+1) is the upper tail of a binomial distribution, which can be added up.
func TestBetaIsTheBinomialTail(t *testing.T) {
	for _, n := range []int{1, 5, 30, 200} {
		for _, p := range []float64{0.01, 0.3, 0.5, 0.97} {
			for k := 1; k <= n; k += 1 + n/7 {
				sum := 0.0
				for i := k; i <= n; i++ {
					a, _ := math.Lgamma(float64(n + 1))
					b, _ := math.Lgamma(float64(i + 1))
					c, _ := math.Lgamma(float64(n - i + 1))
					sum += math.Exp(a - b - c + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
				}
				if got := Beta(p, float64(k), float64(n-k+1)); math.Abs(got-sum) > 1e-9 {
					t.Errorf("n=%d k=%d p=%v: %v, want %v", n, k, p, got, sum)
				}
			}
		}
	}
	for _, p := range []float64{0.001, 0.025, 0.5, 0.975} {
		if got := Beta(BetaQuantile(p, 0.5, 40.5), 0.5, 40.5); math.Abs(got-p) > 1e-9 {
			t.Errorf("quantile of %v: %v", p, got)
		}
	}
}

// The example of Benjamini and Hochberg 1995, section 3.2: at 0.05 four of fifteen stand.
func TestAdjustedIsThatOfBenjaminiAndHochberg(t *testing.T) {
	p := []float64{0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000}
	got := Adjusted(p)
	n := 0
	for _, q := range got {
		if q <= 0.05 {
			n++
		}
	}
	if n != 4 || math.Abs(got[0]-0.0015) > 1e-9 || got[14] != 1 {
		t.Errorf("%d stand; %v", n, got)
	}
	if got := Adjusted(nil); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}

// hours are blocks of an hour each, in strata of their own place in the day.
func hours(strata int, a, b []float64) (all []Block) {
	for i, n := range append(append([]float64{}, a...), b...) {
		all = append(all, Block{At: i, Stratum: i % strata, B: i >= len(a), Hours: 1, Count: n})
	}
	return all
}

func TestARatioOfPlainCounts(t *testing.T) {
	r := Compare(hours(1, []float64{4, 5, 3, 4, 4, 4}, []float64{2, 2, 1, 3, 2, 2}))
	if r.CountA != 24 || r.CountB != 12 || r.HoursA != 6 || r.HoursB != 6 || math.Abs(r.Ratio-0.5) > 1e-9 || r.Dispersion != 1 || r.Freedom != 10 {
		t.Errorf("%+v", r)
	}
	if !(r.Low < 0.3 && r.Low > 0.15 && r.High > 0.9 && r.High < 1.2) || !(r.P > 0.03 && r.P < 0.1) {
		t.Errorf("%+v", r)
	}
}

// What is none in one condition has a bound on one side alone.
func TestNothingInOneCondition(t *testing.T) {
	some, none := []float64{1, 2, 0, 1, 1, 1, 2, 0, 1, 1, 1, 1}, make([]float64, 12)
	r := Compare(hours(1, some, none))
	if r.Ratio != 0 || r.Low != 0 || !(r.High > 0.05 && r.High < 0.5) || r.P > 0.005 {
		t.Errorf("stopped: %+v", r)
	}
	r = Compare(hours(1, none, some))
	if !math.IsInf(r.Ratio, 1) || !math.IsInf(r.High, 1) || r.Low < 2 || r.P > 0.005 {
		t.Errorf("appeared: %+v", r)
	}
	r = Compare(hours(1, []float64{0, 0}, []float64{0, 0}))
	if !math.IsNaN(r.Ratio) || r.P != 1 || r.Power(0.5, 0.05) != 0 || !math.IsInf(r.Longer(0.5, 0.05, 0.8), 1) {
		t.Errorf("nothing: %+v", r)
	}
	if r = Compare(nil); r.P != 1 {
		t.Errorf("no block: %+v", r)
	}
}

// Hours of a day that one condition alone has are not compared: a device that is asleep
// in A and used in B would seem to report more.
func TestStrataOfOneConditionAreLeftOut(t *testing.T) {
	all := []Block{{0, 3, false, 1, 0}, {1, 4, false, 1, 2}, {2, 4, false, 1, 2}, {3, 4, true, 1, 2}, {4, 4, true, 1, 2}, {5, 12, true, 1, 50}}
	r := Compare(all)
	if r.HoursA != 2 || r.HoursB != 2 || math.Abs(r.Ratio-1) > 1e-9 || r.CountB != 4 {
		t.Errorf("%+v", r)
	}
}

// A day's course is no dispersion where strata are its hours, and is one where they are not.
func TestStrataTakeTheDaysCourseOff(t *testing.T) {
	day := []float64{0, 0, 9, 9}
	a := append(append([]float64{}, day...), day...)
	with, without := Compare(hours(4, a, a)), Compare(hours(1, a, a))
	if with.Dispersion != 1 || without.Dispersion < 4 {
		t.Errorf("dispersion %v with strata, %v without", with.Dispersion, without.Dispersion)
	}
}

// Longer is as long as makes the power what is wanted.
func TestLongerReachesThePower(t *testing.T) {
	var a, b []float64
	for range 24 {
		a, b = append(a, 1), append(b, 1)
	}
	r := Compare(hours(1, a, b[:8]))
	more := r.Longer(0.5, 0.05, 0.8)
	if r.Power(0.5, 0.05) >= 0.8 || more <= 0 || math.IsInf(more, 1) {
		t.Fatalf("power %v, longer %v", r.Power(0.5, 0.05), more)
	}
	longer := r
	longer.nullB *= (r.HoursB + more) / r.HoursB
	if got := longer.Power(0.5, 0.05); math.Abs(got-0.8) > 0.01 {
		t.Errorf("after %v hours more the power is %v", more, got)
	}
	if short := Compare(hours(1, a[:3], b)); !math.IsInf(short.Longer(0.5, 0.05, 0.8), 1) || math.IsInf(short.Both(0.5, 0.05, 0.8), 1) {
		t.Errorf("a first condition of 3 hours: %v, %v", short.Longer(0.5, 0.05, 0.8), short.Both(0.5, 0.05, 0.8))
	}
}

// The same counts give the same figures to the last digit, which a report may print.
func TestFiguresAreTheSameEachTime(t *testing.T) {
	blocks := observe(rand.New(rand.NewPCG(3, 3)), &processes[3], 72, 4, 0.7)
	first := Compare(blocks)
	for range 20 {
		if got := Compare(blocks); got != first {
			t.Fatalf("got %+v, and %+v before", got, first)
		}
	}
}

// With few blocks the dispersion is not sure, and with more of them it is: so much is needed
// as is enough when so much is observed, and not what would be with as few blocks.
func TestHowLongItTakesCountsThatMoreIsKnownThen(t *testing.T) {
	a, b := []float64{0, 9, 1, 8, 0, 7, 1, 9}, []float64{7, 0, 8, 1, 9, 0, 9, 1}
	r := Compare(hours(1, a, b))
	if r.tails >= independent || r.Power(0.5, 0.05) >= 0.8 {
		t.Fatalf("%+v, power %v", r, r.Power(0.5, 0.05))
	}
	both := r.Both(0.5, 0.05, 0.8)
	longer := r
	longer.tails = int(float64(r.tails) * both / r.HoursA)
	longer.nullA, longer.nullB = r.nullA*both/r.HoursA, r.nullB*both/r.HoursB
	if got := longer.Power(0.5, 0.05); got < 0.79 || got > 0.86 {
		t.Errorf("after %v hours of each the power is %v", both, got)
	}
	few := Compare(hours(1, a[:1], b[:1])) // too few for an interval
	if few.Freedom != 0 || !math.IsInf(few.Longer(0.5, 0.05, 0.8), 1) || math.IsInf(few.Both(0.5, 0.05, 0.8), 1) {
		t.Errorf("%+v: %v, %v", few, few.Longer(0.5, 0.05, 0.8), few.Both(0.5, 0.05, 0.8))
	}
}
