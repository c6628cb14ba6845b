//go:build !unix

package listen

import "math"

// descriptorLimit returns how many files the process may have open: as many as it
// likes.
func descriptorLimit() int { return math.MaxInt }
