package devices

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// A tick is a time with its number in units of tickLength, in which uses are
// remembered.
type tick struct {
	time   time.Time
	number uint32
}

// at returns when the tick with a number was, by today's clock; the zero time for
// 0.
func (t tick) at(number uint32) time.Time {
	if number == 0 {
		return time.Time{}
	}
	return t.time.Round(0).Add(-time.Duration(int32(t.number-number)) * tickLength)
}

// seenAt returns when b was last in use, by the number of a tick; the zero time for
// never. Its address may have been in use before b began, as somebody else's.
func (t tick) seenAt(number uint32, b *Binding) time.Time {
	if number == 0 {
		return time.Time{}
	}
	return later(b.From, t.at(number))
}

// A state is what a Ledger knows, guarded by its mutex: what the kernel and the
// configuration say of each address, and the bindings that follow from it.
type state struct {
	config    *configuration
	begun     bool // facts lead to bindings; before, they are only gathered
	nextID    uint64
	max       int // addresses
	addresses map[netip.Addr]*address
	stations  map[string]*station // by MAC
	several   map[*station]bool   // those with more than one IPv4 address
	shared    map[*station]bool   // those whose shared is not 0
	contested map[*address]bool   // those whose contested is not 0
	quiet     map[string]bool     // MACs of forgotten devices, which are not bound until they ask

	names     map[string]learnedName // how devices call themselves, by MAC
	called    map[string]string      // the MAC that had such a name first, by the name in lower case
	announced announcements
	reverse   map[netip.Addr]reversal // addresses whose names were looked up

	gateways      []netip.Addr
	gatewayMACs   map[string]bool
	gatewaysMoved bool // a gateway's MAC may have changed

	prefixes    map[netip.Prefix]*held
	prefixTable prefixTable[*held]
	ids         clientIDs
	forwarded   forwardedMACs
	overflow    [2]*held // what holds the IPv4 and IPv6 addresses beyond the bound of new ones

	resumable map[extent]Binding // of earlier runs, still open and not taken up yet
	past      []Binding          // ended, the latest last

	fresh    *rate.Limiter // new bindings
	unbound  bool          // a whole table is being read: fresh does not count
	reports  *rate.Limiter
	withheld int    // reports since the last that was written
	limited  uint32 // tick of the last report of fresh being empty
	evicted  uint32 // tick of the last report of an eviction

	// What waits to be published, and reported by Keep and Report.
	changed         map[netip.Addr]*held         // nil: nobody holds it any more
	awaited         map[netip.Addr]chan struct{} // addresses that Identify waits for; closed when bound
	prefixesChanged bool
	pending         []Binding
	pendingReports  []report
}

func newState(c *configuration, limit int) state {
	return state{
		config:      c,
		nextID:      1,
		max:         limit,
		addresses:   make(map[netip.Addr]*address),
		stations:    make(map[string]*station),
		several:     make(map[*station]bool),
		shared:      make(map[*station]bool),
		contested:   make(map[*address]bool),
		names:       make(map[string]learnedName),
		called:      make(map[string]string),
		announced:   newAnnouncements(),
		reverse:     make(map[netip.Addr]reversal),
		quiet:       make(map[string]bool),
		gatewayMACs: make(map[string]bool),
		prefixes:    make(map[netip.Prefix]*held),
		ids:         newClientIDs(),
		forwarded:   newForwardedMACs(),
		resumable:   make(map[extent]Binding),
		fresh:       rate.NewLimiter(rate.Limit(float64(limit)/(24*time.Hour).Seconds()), limit),
		reports:     rate.NewLimiter(rate.Every(time.Minute), 60),
		changed:     make(map[netip.Addr]*held),
		awaited:     make(map[netip.Addr]chan struct{}),
	}
}

// An extent is what a binding covers.
type extent struct {
	addr   netip.Addr
	prefix netip.Prefix
	device string // where it is client ids that are bound
	mac    string // where it is a MAC behind a forwarder
}

func (b *Binding) extent() extent {
	switch {
	case b.Source == Forwarder:
		return extent{mac: b.MAC}
	case b.isOfID():
		return extent{device: b.Device}
	}
	return extent{addr: b.Addr, prefix: b.Prefix}
}

// A report is for the quality ledger: see Options.Report.
type report struct{ kind, subject, detail string }

// begin turns the facts gathered so far into bindings.
func (l *state) begin(t tick) {
	l.begun, l.unbound = true, true
	l.updateGateways(t)
	l.reconfigure(l.config, t)
	l.unbound = false
	for _, b := range l.resumable {
		l.endBinding(b, t)
	}
	clear(l.resumable)
}

// reconfigure puts c in force.
func (l *state) reconfigure(c *configuration, t tick) {
	l.config = c
	l.bindPrefixes(t)
	l.bindIDs(t)
	l.bindForwarded(t)
	for addr := range c.addresses {
		l.addAddress(addr, t)
	}
	for _, a := range l.addresses {
		l.update(a, t)
	}
}

// inForce returns the bindings in force, with when they were last in use.
func (l *state) inForce(t tick) []Binding {
	list := make([]Binding, 0, len(l.addresses)+len(l.prefixes))
	add := func(h *held, seen uint32) {
		b := h.Binding
		b.Seen = t.seenAt(seen, &b)
		list = append(list, b)
	}
	for _, a := range l.addresses {
		if a.holder != nil {
			add(a.holder, a.last())
		}
	}
	for _, h := range l.prefixes {
		add(h, h.seen.Load())
	}
	for _, h := range l.ids.byDevice {
		add(h, h.seen.Load())
	}
	for _, h := range l.forwarded.byMAC {
		add(h, h.seen.Load())
	}
	for _, h := range l.overflow {
		if h != nil {
			add(h, h.seen.Load())
		}
	}
	return list
}

// addReport writes a report, unless there were too many.
func (l *state) addReport(t tick, kind, subject, detail string) {
	if !l.reports.AllowN(t.time, 1) {
		l.withheld++
		return
	}
	if l.withheld > 0 {
		detail = fmt.Sprintf("%s (and %d reports before this one that were not written)", detail, l.withheld)
		l.withheld = 0
	}
	l.pendingReports = append(l.pendingReports, report{kind, subject, detail})
}
