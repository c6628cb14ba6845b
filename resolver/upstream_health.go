package resolver

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An UpstreamState says whether an upstream is asked.
type UpstreamState uint8

const (
	UpstreamUp      UpstreamState = iota // asked in its turn
	UpstreamFailing                      // answers, but with failures: asked after those that are up
	UpstreamDown                         // does not answer: not asked until a probe is answered
	UpstreamLooped                       // asks this server in turn: not asked
	UpstreamSelf                         // is this server: never asked
)

var stateNames = []string{"up", "failing", "down", "looped", "self"}

func (s UpstreamState) String() string { return stateNames[s] }

// MarshalText returns what String returns.
func (s UpstreamState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *UpstreamState) UnmarshalText(text []byte) error {
	at := slices.Index(stateNames, string(text))
	if at < 0 {
		return fmt.Errorf("%q is no state of an upstream", text)
	}
	*s = UpstreamState(at)
	return nil
}

// An UpstreamStatus is what is known of an upstream.
type UpstreamStatus struct {
	Addr     netip.AddrPort `json:"addr"`
	Source   string         `json:"from"` // "configured", or the path of a resolv.conf
	TrustAD  bool           `json:"trust_ad"`
	Private  bool           `json:"private"`
	State    UpstreamState  `json:"state"`
	Why      string         `json:"why,omitempty"` // why it is not up
	Since    time.Time      `json:"since"`         // the last change of State
	Queries  uint64         `json:"queries"`       // clients' queries it was asked, probes not counted
	Failures uint64         `json:"failures"`      // those of Queries it gave no answer to
	Strays   uint64         `json:"strays"`        // packets that came from its address but did not fit the query
	SRTT     time.Duration  `json:"srtt"`          // smoothed time to an answer, ns; 0: none yet
}

// A pace is how often upstreams are probed.
type pace struct {
	least  time.Duration // between two probes of one upstream, and the first pause when it is down
	most   time.Duration // the longest pause while it is down or failing
	loop   time.Duration // the pause while it is looped
	poll   time.Duration // between two readings of resolv.conf without an event
	settle time.Duration // without an event, before a changed resolv.conf is read
}

func (p pace) orDefault() pace {
	return pace{
		least:  cmp.Or(p.least, time.Second),
		most:   cmp.Or(p.most, 15*time.Second),
		loop:   cmp.Or(p.loop, time.Minute),
		poll:   cmp.Or(p.poll, 10*time.Second),
		settle: cmp.Or(p.settle, 200*time.Millisecond),
	}
}

// suspectAfter failures in a row, an upstream is probed.
const suspectAfter = 3

// A health is what is known of an upstream. Queries only count; the state is
// changed by the upstream's one watcher, so that no name a client can ask for
// decides whether an upstream is up.
type health struct {
	addr     netip.AddrPort
	queries  atomic.Uint64
	failures atomic.Uint64
	strays   atomic.Uint64
	answers  atomic.Uint64 // good ones
	srtt     atomic.Int64  // smoothed, in nanoseconds
	streak   atomic.Int32  // failures since the last good answer
	plain    atomic.Int64  // until this Unix second it is asked without EDNS
	state    atomic.Uint32 // an UpstreamState
	nudge    chan struct{} // holds one while a probe is wanted
	stop     context.CancelFunc

	mu    sync.Mutex
	why   string
	since time.Time
}

// startHealth begins to watch a server.
func (u *upstreams) startHealth(addr netip.AddrPort) *health {
	ctx, stop := context.WithCancel(u.ctx)
	h := &health{addr: addr, nudge: make(chan struct{}, 1), stop: stop, since: u.now()}
	u.tasks.Go(func() { u.watch(ctx, h) })
	return h
}

func (h *health) is(s UpstreamState) bool { return h.state.Load() == uint32(s) }

// hurry asks for a probe as soon as the pace allows one.
func (h *health) hurry() {
	select {
	case h.nudge <- struct{}{}:
	default:
	}
}

// answeredAfter counts a good answer.
func (h *health) answeredAfter(took time.Duration) {
	h.answers.Add(1)
	if h.streak.Load() != 0 {
		h.streak.Store(0)
	}
	if old := h.srtt.Load(); old != 0 {
		took = time.Duration(old) + (took-time.Duration(old))/8 // RFC 6298, 2.3
	}
	h.srtt.Store(int64(took))
	if h.is(UpstreamDown) {
		h.hurry()
	}
}

// failed counts a query that got no answer. What is our own fault, or may be
// the question's, does not speak against the upstream.
func (h *health) failed(how outcome) {
	h.failures.Add(1)
	switch how {
	case unsupported, notSent:
		return
	case unreachable:
		h.hurry()
	}
	if h.streak.Add(1) >= suspectAfter {
		h.hurry()
	}
}

// reason returns why the upstream is not up.
func (h *health) reason() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

func (h *health) status() UpstreamStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return UpstreamStatus{
		Addr: h.addr, State: UpstreamState(h.state.Load()), Why: h.why, Since: h.since,
		Queries: h.queries.Load(), Failures: h.failures.Load(), Strays: h.strays.Load(),
		SRTT: time.Duration(h.srtt.Load()),
	}
}

// watch probes a server at the start, whenever somebody doubts it, and while it
// is not up; it ends with ctx.
func (u *upstreams) watch(ctx context.Context, h *health) {
	pause := u.pace.least
	for {
		state, why := u.probe(ctx, h)
		if ctx.Err() != nil {
			return
		}
		u.judge(h, state, why)
		if state == UpstreamUp {
			pause = u.pace.least
		}
		if !h.rest(ctx, u.pace, pause) {
			return
		}
		pause = min(2*pause, u.pace.most)
	}
}

// rest waits until the next probe is due, and returns false when ctx has ended.
func (h *health) rest(ctx context.Context, p pace, pause time.Duration) bool {
	soonest := time.After(p.least)
	var due <-chan time.Time // never, while it is up
	switch {
	case h.is(UpstreamLooped):
		due = time.After(p.loop)
	case !h.is(UpstreamUp):
		due = time.After(pause)
	}
	select {
	case <-ctx.Done():
		return false
	case <-due:
	case <-h.nudge:
	}
	select {
	case <-ctx.Done():
		return false
	case <-soonest:
		return true
	}
}

// judge sets the state, and says so where it changes.
func (u *upstreams) judge(h *health, state UpstreamState, why string) {
	h.mu.Lock()
	old := UpstreamState(h.state.Swap(uint32(state)))
	h.why = why
	if old != state {
		h.since = u.now()
	}
	h.mu.Unlock()
	if state == UpstreamUp {
		h.streak.Store(0)
	}
	if old == state {
		return
	}
	if state == UpstreamUp {
		u.weather.Add(1)
	}
	switch state {
	case UpstreamUp:
		u.log.Info("upstream is up again", "upstream", h.addr)
	case UpstreamLooped:
		u.log.Error("upstream dropped: it asks this server in turn; give Telltale another upstream",
			"upstream", h.addr, "mend", addUpstreams)
	default:
		u.log.Warn("upstream is "+state.String(), "upstream", h.addr, "why", why)
	}
	u.report("upstream-"+state.String(), h.addr.String(), why)
}

// isLocalServer reports whether an address can only be a server of this machine or
// its network. Shared space (100.64.0.0/10, RFC 6598) is a provider's, and so
// is not private.
func isLocalServer(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
}

// isSelf reports whether a server at addr is this one, which listens at self. Of
// the loopback addresses a wildcard listener covers, only the usual one counts:
// 127.0.0.11 in a container is another server behind the same port.
func isSelf(addr netip.AddrPort, self []netip.AddrPort) bool {
	for _, l := range self {
		l = netip.AddrPortFrom(l.Addr().Unmap(), l.Port())
		if l == addr {
			return true
		}
		if l.Addr().IsUnspecified() && l.Port() == addr.Port() && isOwnAddress(addr.Addr()) {
			return true
		}
	}
	return false
}

func isOwnAddress(a netip.Addr) bool {
	if a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a == netip.IPv6Loopback() {
		return true
	}
	if a.IsLoopback() {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false // the loop probe will tell
	}
	for _, n := range own {
		if p, err := netip.ParsePrefix(n.String()); err == nil && p.Addr() == a.WithZone("") {
			return true
		}
	}
	return false
}
