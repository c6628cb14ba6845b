package stats

import "math"

// NormalQuantile returns the x that a standard normal value is below with probability p.
func NormalQuantile(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }

// Normal returns the probability that a standard normal value is below x.
func Normal(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }

// Beta returns the probability that a value of the beta distribution is below x: the
// regularized incomplete beta function, by its continued fraction (DLMF 8.17.22).
func Beta(x, a, b float64) float64 {
	switch {
	case !(x > 0):
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2): // where the fraction converges slowly
		return 1 - Beta(1-x, b, a)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x)) / a
	const tiny = 1e-300
	f, c, d := 1.0, 1.0, 0.0
	for i := range 10_000 {
		m := float64(i / 2)
		term := 1.0
		switch {
		case i == 0:
		case i%2 == 0:
			term = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		default:
			term = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		if d = 1 + term*d; math.Abs(d) < tiny {
			d = tiny
		}
		d = 1 / d
		if c = 1 + term/c; math.Abs(c) < tiny {
			c = tiny
		}
		f *= c * d
		if math.Abs(1-c*d) < 1e-13 {
			break
		}
	}
	return front * (f - 1)
}

// BetaQuantile returns the x that a value of the beta distribution is below with
// probability p.
func BetaQuantile(p, a, b float64) float64 {
	low, high := 0.0, 1.0
	for range 100 {
		mid := (low + high) / 2
		if mid == low || mid == high {
			break
		}
		if Beta(mid, a, b) < p {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// Student returns the probability that a value of Student's t distribution is below t.
func Student(t float64, freedom int) float64 {
	if freedom > 10_000 {
		return Normal(t)
	}
	n := float64(freedom)
	tail := Beta(n/(n+t*t), n/2, 0.5) / 2
	if t > 0 {
		return 1 - tail
	}
	return tail
}

// StudentQuantile returns the t that a value of Student's distribution is below with
// probability p.
func StudentQuantile(p float64, freedom int) float64 {
	switch {
	case p < 0.5:
		return -StudentQuantile(1-p, freedom)
	case freedom > 10_000:
		return NormalQuantile(p)
	}
	n := float64(freedom)
	x := BetaQuantile(2*(1-p), n/2, 0.5)
	return math.Sqrt(n * (1 - x) / x)
}
