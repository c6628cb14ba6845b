//go:build race

package querylog

// few returns how many of n random cases are tried: the race detector makes work
// of a second take ten.
func few(n int) int { return n / 5 }
