package stats

import (
	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// NormalQuantile returns the x that a standard normal value is below with probability p.
func NormalQuantile(p float64) float64 { return distuv.UnitNormal.Quantile(p) }

// Normal returns the probability that a standard normal value is below x.
func Normal(x float64) float64 { return distuv.UnitNormal.CDF(x) }

// Beta returns the probability that a value of the beta distribution is below x.
func Beta(x, a, b float64) float64 { return mathext.RegIncBeta(a, b, min(max(x, 0), 1)) }

// BetaQuantile returns the x that a value of the beta distribution is below with
// probability p.
func BetaQuantile(p, a, b float64) float64 { return mathext.InvRegIncBeta(a, b, p) }

// Student returns the probability that a value of Student's t distribution is below t.
func Student(t float64, freedom int) float64 { return student(freedom).CDF(t) }

// StudentQuantile returns the t that a value of Student's distribution is below with
// probability p.
func StudentQuantile(p float64, freedom int) float64 { return student(freedom).Quantile(p) }

func student(freedom int) distuv.StudentsT {
	return distuv.StudentsT{Sigma: 1, Nu: float64(freedom)}
}
