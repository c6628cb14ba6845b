//go:build !race

package querylog

// few returns how many of n random cases are tried: all of them.
func few(n int) int { return n }
