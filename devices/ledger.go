package devices

import (
	"log/slog"
	"net/netip"
	"time"
)

// Options says what a Ledger starts from. The zero value follows the kernel's
// neighbour table and knows no device by name.
type Options struct {
	Devices []Device  // the configured devices
	Known   []Binding // bindings of earlier runs, from the store
	NextID  uint64    // first free binding id; 0 means one more than the largest in Known

	// Keep is told once of each new binding, and once more with Until set when it
	// ends. It is never called from Lookup, one call at a time, and must not wait
	// for a caller of Ask.
	Keep func(Binding)

	// Report takes what limits the trust in bindings, for the quality ledger.
	Report func(kind, subject, detail string)

	Logger       *slog.Logger
	Now          func() time.Time
	MaxAddresses int        // addresses held in memory; 0 means 131072
	Neighbours   Neighbours // where neighbours come from; nil means the kernel, over netlink on Linux
}

// A Ledger knows which device holds which address. All its methods may be
// called from any goroutine.
type Ledger struct {
}

// Open reads the neighbour table once, waiting at most two seconds for it, and
// follows it until Close.
func Open(o Options) (*Ledger, error) { return &Ledger{}, nil }

// Close stops following the neighbour table. Lookup and Ask go on to answer
// from what was known.
func (l *Ledger) Close() error { return nil }

// Lookup returns the binding of a in force now, nil when nothing is known of a
// yet. It neither locks nor allocates, and marks the binding as seen.
func (l *Ledger) Lookup(a netip.Addr) *Binding { return nil }

// Ask returns the binding of a, never nil: where none is in force it asks the
// kernel once, for at most 250 ms, and else binds the bare address.
func (l *Ledger) Ask(a netip.Addr) *Binding { return nil }

// Configure puts another set of configured devices in force. Bindings that are
// no longer right end and others begin; none is changed. An error names every
// mistake in d and changes nothing.
func (l *Ledger) Configure(d []Device) error { return nil }

// List returns every device the ledger knows, with its bindings, by name.
func (l *Ledger) List() []DeviceStatus { return nil }

// Local reports whether a is an address a home's client may have: loopback,
// private (RFC 1918, RFC 4193), link-local, or IPv6 inside an on-link prefix of
// this machine's interfaces as they are now. It neither locks nor allocates.
func (l *Ledger) Local(a netip.Addr) bool { return false }

// Gateways returns the next hops of this machine's default routes.
func (l *Ledger) Gateways() []netip.Addr { return nil }
