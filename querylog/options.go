package querylog

import (
	"log/slog"
	"net/netip"
	"time"

	"telltale/devices"
	"telltale/querylog/seal"
)

// Defaults of Options.
const (
	DefaultListed    = 365 * 24 * time.Hour
	DefaultUnlisted  = 24 * time.Hour
	DefaultTotals    = 3 * 365 * 24 * time.Hour
	DefaultMaxBytes  = 1 << 30
	DefaultMaxMemory = 6 << 20
	DefaultAttempt   = 30 * time.Second
)

// Options say where and how long to keep the log. Zero fields mean the
// defaults.
type Options struct {
	Dir       string    // the data directory; made with mode 0700 if it is not there
	Node      string    // id of this node, kept with each row; "local" unless set
	Retention Retention // how long, and how much
	Program   string    // what the ledger says of the program when it starts: its version and its lists'

	Off        bool // lookups are not kept at all; the ledger is
	NoUnlisted bool // lookups of unlisted names are counted by device and hour, and their names never kept

	Unsealed bool // rows and the ledger are not sealed

	// Signed, where it is not nil, is told each checkpoint that is signed. The store's
	// goroutine calls it: it must not wait.
	Signed func(c seal.Checkpoint, note []byte)

	// Bind names the holder of an address that came without a binding, where it
	// called itself id. It is asked within a second of the lookup, by the writer, so
	// it may ask the kernel. Nil, or a nil result, leaves such rows with the bare address.
	Bind func(addr netip.Addr, id string) *devices.Binding

	// BindNow is Bind without asking the kernel, for addresses that come while Bind
	// waits for it: they are bound by what is known, the bare address as a rule. Nil: they keep no binding.
	BindNow func(addr netip.Addr, id string) *devices.Binding

	Shipping Shipping // which rows are shipped to a centre until Ship says otherwise: of those that are deleted before, the ledger says so

	// AttemptGap is the silence that ends an attempt; 0 for DefaultAttempt. A change
	// is a line of the ledger.
	AttemptGap time.Duration

	// Discovered returns which of the bindings are of devices whose unlisted rows are kept
	// as long as listed ones; ok is false where nobody knows at present: then those known
	// last are kept, and where rows were kept before this start, none is deleted by age. It is asked once an hour, by the store's goroutine. Nil: of none.
	Discovered func(bindings []devices.Binding) (kept map[uint64]bool, ok bool)

	MaxMemory int          // bytes that rows not yet stored may take; 0 for DefaultMaxMemory
	Logger    *slog.Logger // nil for slog.Default()
	Now       func() time.Time

	window time.Duration // instead of windowMin, for tests
	perRow time.Duration // instead of perRowFirst, for tests

	attemptMemory int // bytes for attempts instead of a quarter of MaxMemory, for tests
}

// Retention says when rows are deleted. In each field 0 means the default and
// a negative value no limit.
type Retention struct {
	Listed   time.Duration // rows of listed names, and the ledger
	Unlisted time.Duration // rows of all other names, but for devices of Options.Discovered; hourly totals remain
	Totals   time.Duration // hourly totals
	MaxBytes int64         // size of the store; the oldest unlisted rows go first, then totals beyond a quarter of it, then the oldest listed rows
}
