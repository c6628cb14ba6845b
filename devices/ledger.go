package devices

import (
	"cmp"
	"context"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	publishEvery = 100 * time.Millisecond // at most so often does Lookup see something new
	tickLength   = 10 * time.Second       // how exactly the last use of a binding is known
	openWait     = 2 * time.Second        // for the first look at the neighbour table
	askWait      = 250 * time.Millisecond // for one question to the kernel
	identifyWait = 250 * time.Millisecond // for the kernel to resolve an address that a query waits for
	askRate      = 500                    // questions to the kernel in a second

	unseenTicks    = uint32(24 * time.Hour / tickLength)   // a binding unseen for so long ends
	sweepTicks     = uint32(time.Minute / tickLength)      // between two searches for such bindings
	contestedTicks = uint32(10 * time.Minute / tickLength) // an address is contested for so long after the last change of MAC
	contestedAfter = 4                                     // changes of MAC, each within that time of the one before

	// An address costs about 600 octets: 10 MB on a small router of 32 bits, 80 MB
	// on a machine of 64.
	defaultMaxAddresses = 1 << (14 + 3*(bits.UintSize/64))

	maxPast = 8192 // ended bindings kept for List; the store has all
)

// Options says what a Ledger starts from. The zero value follows the kernel's
// neighbour table and knows no device by name.
type Options struct {
	Devices []Device  // the configured devices
	Known   []Binding // bindings of earlier runs, from the store
	NextID  uint64    // first free binding id; 0 means one more than the largest in Known

	// Keep is called once with each new binding, before Lookup or Ask returns it, and
	// once more with Until set when it ends. It is called from one goroutine at a
	// time, never from Lookup, and must neither call Ask nor wait for a caller of it.
	Keep func(Binding)

	// Report takes what limits the trust in bindings, for the quality ledger. It
	// is called as Keep is. Kinds: neighbours-unavailable, neighbours-back,
	// neighbours-lost, address-contested, mac-shared, bindings-evicted,
	// bindings-limited, lease-file, lease-disagrees, name-claimed.
	Report func(kind, subject, detail string)

	// RouterMoved is called when Router has changed, with locks held: it must return at
	// once, and not call the Ledger. nil: nobody is told.
	RouterMoved func()

	Logger *slog.Logger
	Now    func() time.Time

	// MaxAddresses bounds the addresses held in memory, and in a day the new
	// bindings of addresses nobody configured; 0 means 131072, on 32-bit machines 16384.
	MaxAddresses int

	Neighbours Neighbours // where neighbours come from; nil means the kernel, over netlink on Linux

	Settings Settings // beside those of Devices; Configure and SetSettings change them

	// Leases are the files of DHCP servers, and FindLeases returns more of them, which
	// may come and go; nil: there are none. SetLeases changes both.
	Leases     []LeaseFile
	FindLeases func() []LeaseFile
	LeasePoll  time.Duration // how often files are looked at without a sign of a change; 0 means each 10 s

	Announcements bool // whether what devices say to everybody on their link is listened to; SetAnnouncements changes it
}

// A Ledger knows which device holds which address. All its methods may be
// called from any goroutine.
type Ledger struct {
	// Read by Lookup and Local, and seldom written.
	published atomic.Pointer[snapshot]
	links     atomic.Pointer[links]
	tick      atomic.Uint32
	byMAC     atomic.Bool

	neighbours Neighbours
	keep       func(Binding)
	moved      func() // see Options.RouterMoved
	report     func(kind, subject, detail string)
	logger     *slog.Logger
	now        func() time.Time
	started    time.Time
	max        int
	asks       *rate.Limiter // questions to the kernel
	leasePoll  time.Duration

	leasesChanged chan struct{} // of one: other files of leases are in force
	context       context.Context
	stop          context.CancelFunc
	running       sync.WaitGroup
	wake          chan struct{} // of one: there is something to publish
	linksMoved    chan struct{} // of one: the interfaces may be others now

	// reporting is held while Keep and Report are called, and taken before mu.
	reporting sync.Mutex

	hearingMu   sync.Mutex // guards the two that follow; taken before mu
	hearing     *hearing   // what listens to announcements; nil: nothing
	stopHearing func()

	reverseMu   sync.Mutex // guards what follows
	stopReverse func()     // nil: no names are looked up

	mu sync.Mutex // guards what follows
	state
	leaseFiles  []LeaseFile
	findLeases  func() []LeaseFile
	leaseStatus []LeaseStatus
}

// tickBase leaves room for the ticks of bindings seen before the start.
const tickBase = 2 * unseenTicks

// Open reads the neighbour table once, waiting at most two seconds for it, and
// follows it until Close.
func Open(o Options) (*Ledger, error) {
	config, err := configure(o.Devices)
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		neighbours: o.Neighbours,
		keep:       o.Keep,
		moved:      o.RouterMoved,
		report:     o.Report,
		logger:     o.Logger,
		now:        o.Now,
		max:        cmp.Or(o.MaxAddresses, defaultMaxAddresses),
		asks:       rate.NewLimiter(askRate, askRate),
		leasePoll:  o.LeasePoll,
		wake:       make(chan struct{}, 1),
		linksMoved: make(chan struct{}, 1),

		leasesChanged: make(chan struct{}, 1),
		leaseFiles:    slices.Clone(o.Leases),
		findLeases:    o.FindLeases,
	}
	if l.neighbours == nil {
		l.neighbours = kernelNeighbours()
	}
	if l.keep == nil {
		l.keep = func(Binding) {}
	}
	if l.moved == nil {
		l.moved = func() {}
	}
	if l.report == nil {
		l.report = func(kind, subject, detail string) {}
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.started = l.now()
	l.tick.Store(tickBase)
	l.links.Store(&links{})
	l.published.Store(newSnapshot(seed{rand.Uint64(), rand.Uint64()}))
	config.settings = o.Settings
	l.state = newState(config, l.max)
	l.byMAC.Store(config.byMAC())
	l.restore(o.Known, o.NextID, l.currentTick())
	l.context, l.stop = context.WithCancel(context.Background())

	known := make(chan struct{})
	l.running.Go(func() { l.follow(sync.OnceFunc(func() { close(known) })) })
	timeout, cancel := context.WithTimeout(l.context, openWait)
	defer cancel()
	select {
	case <-known:
	case <-timeout.Done():
		l.logger.Warn("the neighbour table has not been read yet", "waited", openWait)
	}
	l.startLeases(timeout)
	l.mu.Lock()
	l.begin(l.currentTick())
	l.mu.Unlock()
	l.publish()
	l.running.Go(l.run)
	l.SetAnnouncements(o.Announcements)
	return l, nil
}

// Close stops following the neighbour table. Lookup and Ask go on to answer
// from what was known.
func (l *Ledger) Close() error {
	l.stop()
	l.running.Wait()
	l.publish()
	return nil
}

// Lookup returns the binding of a in force now, nil when nothing is known of a
// yet. It neither locks nor allocates, and marks the binding as seen.
func (l *Ledger) Lookup(a netip.Addr) *Binding {
	if !a.IsValid() {
		return nil
	}
	h := l.published.Load().find(a.Unmap())
	if h == nil {
		return nil
	}
	h.mark(l.tick.Load())
	return &h.Binding
}

// Ask returns the binding of a, never nil: where none is in force it asks the
// kernel once, for at most 250 ms, and else binds the bare address. It takes an
// address with its zone, which tells link-local neighbours apart.
func (l *Ledger) Ask(a netip.Addr) *Binding { return l.bind(a, l.mayAsk) }

// Bind is Ask for who has no time to wait for the kernel.
func (l *Ledger) Bind(a netip.Addr) *Binding {
	return l.bind(a, func(netip.Addr) bool { return false })
}

// bind returns the binding of a; where none is in force it asks the kernel, if it may.
func (l *Ledger) bind(a netip.Addr, mayAsk func(netip.Addr) bool) *Binding {
	bare := plain(a)
	l.mu.Lock()
	h := l.holder(bare)
	l.mu.Unlock()
	if h == nil {
		var e Entry
		known := false
		if mayAsk(a) {
			e, known = l.askKernel(a)
		}
		l.mu.Lock()
		t := l.currentTick()
		if known {
			e.Addr = bare
			l.applyEntry(e, t)
		}
		h = l.ask(bare, t)
		l.mu.Unlock()
		l.wakePublisher()
	}
	h.mark(l.tick.Load())
	l.flushReports(nil) // also where h is an earlier caller's: it must have been kept before it is used
	return &h.Binding
}

// background runs f beside the rest, until stop is called, which waits for its end, or the
// ledger is closed.
func (l *Ledger) background(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(l.context)
	done := make(chan struct{})
	l.running.Go(func() { defer close(done); f(ctx) })
	return func() { cancel(); <-done }
}

// ByMAC reports whether a device has settings by its MAC, so that who holds an
// address that nobody has used before may decide how it is answered.
func (l *Ledger) ByMAC() bool { return l.byMAC.Load() }

// Identify is Ask for a query that waits for its decision: it returns nil where
// the kernel cannot say within 250 ms who holds a, and then binds nothing, since a
// moment later the kernel may know.
func (l *Ledger) Identify(a netip.Addr) *Binding {
	bare := plain(a)
	l.mu.Lock()
	h := l.holder(bare)
	l.mu.Unlock()
	if h == nil && l.mayAsk(a) {
		if h = l.bindKnown(a, bare); h == nil {
			h = l.await(a, bare)
		}
	}
	if h == nil {
		return nil
	}
	h.mark(l.tick.Load())
	l.flushReports(nil)
	return &h.Binding
}

// bindKnown binds a, whose bare form is bare, if the kernel knows its MAC.
func (l *Ledger) bindKnown(a, bare netip.Addr) *held {
	e, ok := l.askKernel(a)
	if !ok {
		return nil
	}
	e.Addr = bare
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.currentTick()
	l.applyEntry(e, t)
	l.updateGateways(t)
	l.wakePublisher()
	return l.holder(bare)
}

// await makes the kernel resolve a, and waits until it has.
func (l *Ledger) await(a, bare netip.Addr) *held {
	l.mu.Lock()
	bound, already := l.awaited[bare]
	if !already {
		bound = make(chan struct{})
		l.awaited[bare] = bound
	}
	l.mu.Unlock()
	if already || l.neighbours.Probe(a.Unmap()) {
		timeout := time.NewTimer(identifyWait)
		defer timeout.Stop()
		select {
		case <-bound:
		case <-timeout.C:
		case <-l.context.Done():
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.awaited[bare] == bound && !already {
		delete(l.awaited, bare)
	}
	return l.holder(bare)
}

// mayAsk reports whether the kernel may be asked of a once more: not too often
// within a second, so that strangers keep nobody busy.
func (l *Ledger) mayAsk(a netip.Addr) bool {
	return a.IsValid() && l.context.Err() == nil && l.asks.AllowN(l.now(), 1)
}

// askKernel looks a up in the kernel's table. mayAsk must have allowed it.
func (l *Ledger) askKernel(a netip.Addr) (Entry, bool) {
	ctx, cancel := context.WithTimeout(l.context, askWait)
	defer cancel()
	return l.neighbours.Ask(ctx, a.Unmap())
}

// Configure puts another set of configured devices in force, and other settings.
// Bindings that are no longer right end and others begin; none is changed. An error
// names every mistake in devices, and then nothing has changed.
func (l *Ledger) Configure(devices []Device, s Settings) error {
	config, err := configure(devices)
	if err != nil {
		return err
	}
	config.settings = s
	l.mu.Lock()
	l.reconfigure(config, l.currentTick())
	l.mu.Unlock()
	l.byMAC.Store(config.byMAC())
	l.publish()
	return nil
}

// SetSettings puts other settings of devices in force, as Configure does.
func (l *Ledger) SetSettings(s Settings) {
	l.mu.Lock()
	config := *l.config
	config.settings = s
	l.reconfigure(&config, l.currentTick())
	l.mu.Unlock()
	l.byMAC.Store(config.byMAC())
	l.publish()
}

// run publishes what has changed, and lets time pass.
func (l *Ledger) run() {
	ticker := time.NewTicker(tickLength)
	defer ticker.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for {
		select {
		case <-l.context.Done():
			return
		case <-ticker.C:
			l.mu.Lock()
			t := l.currentTick()
			l.tick.Store(t.number)
			l.expire(t)
			l.mu.Unlock()
			l.wakePublisher()
		case <-l.wake:
			l.publish()
			pause.Reset(publishEvery)
			select {
			case <-l.context.Done():
				return
			case <-pause.C:
			}
		}
	}
}

// currentTick returns the time as the state counts it. Ticks go by the monotonic
// clock, so that setting the clock ends no binding.
func (l *Ledger) currentTick() tick {
	now := l.now()
	return tick{now, tickBase + uint32(max(0, now.Sub(l.started)/tickLength))}
}

// wakePublisher says that there is something to publish.
func (l *Ledger) wakePublisher() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// publish lets Lookup see what the state says, after Keep was called with it.
func (l *Ledger) publish() {
	l.flushReports(func() func() {
		if len(l.changed) == 0 && !l.prefixesChanged && !l.ids.changed && !l.forwarded.changed {
			return nil
		}
		next := l.published.Load().with(l.changed)
		clear(l.changed)
		next.prefixes, l.prefixesChanged = l.prefixTable, false
		if l.ids.changed {
			next.ids, l.ids.changed = l.idTable(), false
		}
		if l.forwarded.changed {
			next.forwarded, l.forwarded.changed = l.macTable(), false
		}
		return func() { l.published.Store(next) }
	})
}

// flushReports calls Keep and Report with what waits for them, in order. Under the
// same lock it calls prepare, which may be nil, and last what that returned.
func (l *Ledger) flushReports(prepare func() func()) {
	l.reporting.Lock()
	defer l.reporting.Unlock()
	l.mu.Lock()
	bindings, reports := l.pending, l.pendingReports
	l.pending, l.pendingReports = nil, nil
	var then func()
	if prepare != nil {
		then = prepare()
	}
	l.mu.Unlock()
	for _, b := range bindings {
		l.keep(b)
	}
	for _, n := range reports {
		l.logger.Warn("devices: "+n.kind, "subject", n.subject, "detail", n.detail)
		l.report(n.kind, n.subject, n.detail)
	}
	if then != nil {
		then()
	}
}

// apply takes a change from Neighbours. It is called with mu held.
func (l *Ledger) apply(c Change, t tick) {
	if c.Links != nil {
		if before := l.links.Swap(newLinks(c.Links)); before.router != c.Links.Router {
			l.moved()
		}
		select {
		case l.linksMoved <- struct{}{}:
		default:
		}
	}
	l.state.apply(c, t)
}

// follow keeps the state in step with the neighbour table, and does with the
// addresses of the interfaces alone while there is none. It calls known when
// the first change has come.
func (l *Ledger) follow(known func()) {
	const longest = time.Minute
	wait, missing := time.Second, false
	for l.context.Err() == nil {
		err := l.neighbours.Follow(l.context, func(c Change) {
			l.mu.Lock()
			if missing && c.Whole {
				l.addReport(l.currentTick(), "neighbours-back", "", "the neighbour table is followed again")
				wait, missing = time.Second, false
			}
			l.apply(c, l.currentTick())
			l.mu.Unlock()
			known()
			l.wakePublisher()
		})
		if l.context.Err() != nil {
			return
		}
		l.mu.Lock()
		if !missing {
			missing = true
			l.addReport(l.currentTick(), "neighbours-unavailable", "", "new addresses are bound bare: "+err.Error())
		}
		if links, ok := interfaceLinks(); ok {
			l.apply(Change{Links: links}, l.currentTick())
		}
		l.mu.Unlock()
		known()
		l.wakePublisher()
		select {
		case <-l.context.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// InForce returns the bindings in force.
func (l *Ledger) InForce() []Binding {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inForce(l.currentTick())
}

// List returns every device the ledger knows, by name, with the bindings in
// force and as many of the past ones as it remembers.
func (l *Ledger) List() []DeviceStatus {
	l.mu.Lock()
	t := l.currentTick()
	current, past, config := l.inForce(t), slices.Clone(l.past), l.config
	l.mu.Unlock()
	return status(current, past, config)
}
