//go:build !linux

package upstream

// A Shared is not to be had where the kernel has no batches.
type Shared struct{}

// NewShared returns shared sockets on which nothing can be asked.
func NewShared(SharedOptions) *Shared { return nil }

// Ask reports that q cannot be asked here.
func (*Shared) Ask(Query, *QueryBatch) bool { return false }

// Close does nothing.
func (*Shared) Close() {}

// A QueryBatch is the queries of one batch to upstreams.
type QueryBatch struct{}

// Flush does nothing.
func (*QueryBatch) Flush() {}
