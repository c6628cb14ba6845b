//go:build !race

package querylog

// raced is whether the race detector is on.
const raced = false
