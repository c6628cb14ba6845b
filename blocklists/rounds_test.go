package blocklists

// rounds is how many of n random rounds a test makes: all, or an eighth of them with
// the race detector, which has nothing to find in one goroutine. `make test` runs the
// tests that call it without the detector, too.
func rounds(n int) int {
	if raced {
		return max(n/8, 1)
	}
	return n
}
