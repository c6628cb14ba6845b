//go:build !linux

package listen

// A reachability knows nothing where the kernel has no table of neighbours to ask.
type reachability struct{}

func newReachability() *reachability { return nil }

func (*reachability) close() {}
