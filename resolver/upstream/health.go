package upstream

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

	"telltale/dnswire"
)

// An State says whether an upstream is asked.
type State uint8

const (
	Up      State = iota // asked in its turn
	Failing              // answers, but with failures: asked after those that are up
	Down                 // does not answer: not asked until a probe is answered
	Looped               // asks this server in turn: not asked
	Self                 // is this server: never asked
)

var stateNames = []string{"up", "failing", "down", "looped", "self"}

func (s State) String() string { return stateNames[s] }

// MarshalText returns what String returns.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *State) UnmarshalText(text []byte) error {
	at := slices.Index(stateNames, string(text))
	if at < 0 {
		return fmt.Errorf("%q is no state of an upstream", text)
	}
	*s = State(at)
	return nil
}

// An Status is what is known of an upstream.
type Status struct {
	ID        string         `json:"id"`
	Addr      netip.AddrPort `json:"addr"` // of one by name the last that worked; not valid where there is none
	Transport Transport      `json:"transport"`
	Source    string         `json:"from"`            // "configured", "forward", or the path of a resolv.conf
	Zones     []string       `json:"zones,omitempty"` // that it alone is asked for; none: all others
	For       []string       `json:"for,omitempty"`   // who alone asks it, see Forward.For; none: everybody
	Router    bool           `json:"router,omitempty"`
	TrustAD   bool           `json:"trust_ad"`
	Private   bool           `json:"private"`
	State     State          `json:"state"`
	Why       string         `json:"why,omitempty"` // why it is not up
	Since     time.Time      `json:"since"`         // the last change of State
	Queries   uint64         `json:"queries"`       // clients' queries it was asked, probes not counted
	Failures  uint64         `json:"failures"`      // those of Queries it gave no answer to
	Returned  uint64         `json:"returned"`      // questions that it asked this server while it was being asked them
	Strays    uint64         `json:"strays"`        // packets that came from its address but did not fit the query
	SRTT      time.Duration  `json:"srtt"`          // smoothed time to an answer, ns; 0: none yet
	Answers   uint64         `json:"answers"`       // good ones
	Latency   Latency        `json:"latency"`
	Timed     uint64         `json:"-"`                // answers to clients' queries since the start whose time was taken
	Time      time.Duration  `json:"-"`                // theirs together
	ByKind    []KindCount    `json:"failures_by_kind"` // what Failures are; those that there were
	LastError string         `json:"last_error"`       // what became of the last one of them; empty: there was none
	LastAt    time.Time      `json:"last_error_at"`
	Hedged    uint64         `json:"hedged"` // those of Queries that went to another, too, since it was late
}

// A KindCount is how many failures of a kind there were.
type KindCount struct {
	Kind  string // one of failureKinds
	Count uint64
}

// A pace is how often upstreams are probed.
type pace struct {
	least time.Duration // between two probes of one upstream, and the first pause when it is down
	most  time.Duration // the longest pause while it is down or failing
	loop  time.Duration // the pause while it is looped
	poll  time.Duration // between two readings of resolv.conf without an event
	quiet time.Duration // without an event, before a changed resolv.conf is read
}

func (p pace) orDefault() pace {
	return pace{
		least: cmp.Or(p.least, time.Second),
		most:  cmp.Or(p.most, 2500*time.Millisecond),
		loop:  cmp.Or(p.loop, time.Minute),
		poll:  cmp.Or(p.poll, 10*time.Second),
		quiet: cmp.Or(p.quiet, 200*time.Millisecond),
	}
}

// suspectAfter failures in a row, an upstream is probed.
const suspectAfter = 3

// A health is what is known of an upstream. It goes down, or fails, only when its
// one watcher finds so: no name that a client can ask for decides that. It is up as
// soon as it replies to anything.
type health struct {
	server    Server // with an ID; what it says of trust is its members'
	id        string
	addr      netip.AddrPort
	home      *dnswire.Question              // what a server of a Forward can answer; nil: one that is asked for all names
	carrier   carrier                        // carries its queries; nil: they go by UDP
	place     atomic.Pointer[netip.AddrPort] // where one by name was connected to; nil: nowhere yet
	queries   atomic.Uint64
	failures  [outcomes]atomic.Uint64
	lastFail  atomic.Int64  // when the last one was, Unix nanoseconds; 0: there was none
	lastKind  atomic.Uint32 // its outcome
	lastStray atomic.Int64  // when the last packet came that fits no query, Unix nanoseconds; 0: none did
	strays    atomic.Uint64
	returned  atomic.Uint64 // questions that it sent back to this server
	replies   atomic.Uint64 // of any kind
	answers   atomic.Uint64 // good ones
	streak    atomic.Int32  // failures since the last good answer
	silences  atomic.Int32  // time-outs since the last reply
	state     atomic.Uint32 // a State
	wanted    chan struct{} // holds one while a probe is wanted
	stop      context.CancelFunc
	timing    timing
	modes     modes
	letters   letters
	hedges    hedges

	probedAnswers atomic.Uint64 // answers when last probed

	mu    sync.Mutex
	why   string
	since time.Time
	asked *dnswire.Question // a client's, that a probe is to ask; nil: none
	doubt *dnswire.Question // was answered without EDNS after silence with it; nil: none
}

// Ranks order upstreams: the lowest is asked first, and those above ranks not at all.
const (
	rankUp      = 0
	rankSilent  = 1 // up, but silent lately
	rankFailing = 2
	ranks       = 3
)

// rank returns when the upstream's turn is.
func (h *health) rank() uint8 {
	switch State(h.state.Load()) {
	case Up:
		if h.silences.Load() >= suspectAfter {
			return rankSilent
		}
		return rankUp
	case Failing:
		return rankFailing
	}
	return ranks
}

// startHealth begins to watch a server.
func (u *Client) startHealth(s Server, home *dnswire.Question) *health {
	ctx, stop := context.WithCancel(u.ctx)
	h := &health{server: s, id: s.ID, addr: s.Addr, home: home, wanted: make(chan struct{}, 1), stop: stop, since: u.now()}
	h.timing.begin(u.patience, u.leastPatience)
	h.carrier = u.newCarrier(h, s, ctx.Done())
	u.tasks.Go(func() { u.watch(ctx, h) })
	return h
}

func (h *health) is(s State) bool { return h.state.Load() == uint32(s) }

// requestProbe asks for a probe as soon as the pace allows one.
func (h *health) requestProbe() {
	select {
	case h.wanted <- struct{}{}:
	default:
	}
}

// heard takes in a reply by UDP to a query that was sent at these times and in these
// modes, and reports whether EDNS may be in the way (see modes.replied).
func (u *Client) heard(m *Upstream, sent []time.Time, how []mode, kind replyKind, opt bool, size int, now time.Time) (doubtful bool) {
	h := m.health
	h.timing.replied(sent, now)
	if kind == replyGood && !m.probing {
		h.timing.answered(now.Sub(sent[0]))
	}
	doubtful = h.modes.replied(how, kind, opt, size, now)
	u.setUp(h)
	return doubtful
}

// setUp takes in a reply: nothing is down that replies.
func (u *Client) setUp(h *health) {
	h.replies.Add(1)
	if h.silences.Load() != 0 {
		h.silences.Store(0)
	}
	if h.is(Down) {
		u.setState(h, Up, "")
		h.requestProbe() // its watcher must learn of it
	}
}

// answered counts a good answer.
func (h *health) answered() {
	h.answers.Add(1)
	if h.streak.Load() != 0 {
		h.streak.Store(0)
	}
	if h.is(Failing) {
		h.requestProbe()
	}
}

// silentOnce counts that there was no reply in the time that the upstream needs.
func (h *health) silentOnce() {
	if h.silences.Add(1) >= suspectAfter {
		h.requestProbe()
	}
}

// failed counts a query that got no answer. What is our own fault, or may be
// the question's, does not speak against the upstream.
func (h *health) failed(how outcome) {
	h.countFailure(how, time.Now())
	switch how {
	case unsupported, notSent:
		return
	case unreachable, badCertificate, noTLS, httpFailed:
		h.requestProbe()
	}
	if h.streak.Add(1) >= suspectAfter {
		h.requestProbe()
	}
}

// stray counts a packet that fits no query.
func (h *health) stray() {
	h.strays.Add(1)
	h.lastStray.Store(time.Now().UnixNano())
}

// strayedSince reports whether a packet has come since then that fits no query.
func (h *health) strayedSince(began time.Time) bool { return h.lastStray.Load() >= began.UnixNano() }

// countFailure counts a query that got no answer.
func (h *health) countFailure(how outcome, now time.Time) {
	h.failures[how].Add(1)
	h.lastKind.Store(uint32(how))
	h.lastFail.Store(now.UnixNano())
}

// lastError returns what became of the last query without an answer, and when.
func (h *health) lastError() (text string, at time.Time) {
	ns := h.lastFail.Load()
	if ns == 0 {
		return "", at
	}
	how := outcome(h.lastKind.Load())
	text = how.String()
	if how == servFailed {
		text = "answered SERVFAIL"
	}
	if h.carrier != nil && (how == unreachable || how == badCertificate || how == noTLS || how == httpFailed) {
		text = cmp.Or(h.carrier.lastProblem(), text)
	}
	return text, time.Unix(0, ns)
}

// wantAnswerTo has a client's question asked by a probe.
func (h *health) wantAnswerTo(q *dnswire.Question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked == nil {
		h.asked = bare(q)
	}
	h.requestProbe()
}

// doubtEDNS has a probe find out whether the upstream answers queries with EDNS at
// all. q was answered without.
func (h *health) doubtEDNS(q *dnswire.Question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.doubt == nil {
		h.doubt = bare(q)
	}
	h.requestProbe()
}

// questions returns what wantAnswerTo and doubtEDNS were given since the last time.
func (h *health) questions() (asked, doubt *dnswire.Question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	asked, doubt, h.asked, h.doubt = h.asked, h.doubt, nil, nil
	return asked, doubt
}

// bare returns what of q goes to upstreams.
func bare(q *dnswire.Question) *dnswire.Question {
	return &dnswire.Question{Name: q.Name, Type: q.Type, Class: q.Class, CD: q.CD}
}

// reason returns why the upstream is not up.
func (h *health) reason() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

func (h *health) status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Status{
		ID: h.id, Addr: h.at(), Router: h.server.Router, Transport: h.server.Transport, State: State(h.state.Load()), Why: h.why, Since: h.since,
		Queries: h.queries.Load(), Strays: h.strays.Load(), Returned: h.returned.Load(),
		SRTT: h.timing.srtt(), Answers: h.answers.Load(), Latency: h.timing.latency(), Hedged: h.hedges.taken(),
	}
	for how := range h.failures {
		if n := h.failures[how].Load(); n > 0 {
			s.Failures += n
			s.ByKind = append(s.ByKind, KindCount{failureKinds[how], n})
		}
	}
	s.LastError, s.LastAt = h.lastError()
	s.Timed, s.Time = h.timing.total()
	return s
}

// watch probes a server at the start, whenever somebody doubts it, and while it
// is not up; it ends with ctx.
func (u *Client) watch(ctx context.Context, h *health) {
	pause := u.pace.least
	for {
		state, why := u.probe(ctx, h)
		if ctx.Err() != nil {
			return
		}
		u.setState(h, state, why)
		if state == Up {
			pause = u.pace.least
		}
		if !h.waitForProbe(ctx, u.pace, pause) {
			return
		}
		pause = min(2*pause, u.pace.most)
	}
}

// waitForProbe waits until the next probe is due, and returns false when ctx has ended.
func (h *health) waitForProbe(ctx context.Context, p pace, pause time.Duration) bool {
	soonest := time.After(p.least)
	var due <-chan time.Time // never, while it is up
	switch {
	case h.is(Looped):
		due = time.After(p.loop)
	case !h.is(Up):
		due = time.After(pause)
	}
	select {
	case <-ctx.Done():
		return false
	case <-due:
	case <-h.wanted:
	}
	select {
	case <-ctx.Done():
		return false
	case <-soonest:
		return true
	}
}

// networkChanged has all be probed that are not up: the network may have come up.
func (u *Client) networkChanged() {
	for _, set := range append(u.sets(), u.bootstrap.set.Load()) {
		for _, m := range set.all {
			if m.is(Down) {
				m.requestProbe()
			}
		}
	}
}

// setState sets the state, and says so where it changes.
func (u *Client) setState(h *health, state State, why string) {
	h.mu.Lock()
	old := State(h.state.Swap(uint32(state)))
	h.why = why
	if old != state {
		h.since = u.now()
	}
	h.mu.Unlock()
	if state == Up {
		h.streak.Store(0)
		h.silences.Store(0)
	}
	if old == state {
		return
	}
	if state == Up {
		u.epoch.Add(1)
	}
	switch state {
	case Up:
		u.log.Info("upstream is up again", "upstream", h.id)
	case Looped:
		u.log.Error("upstream dropped: it asks this server in turn; give Telltale another upstream",
			"upstream", h.id, "remedy", addUpstreams)
	default:
		u.log.Warn("upstream is "+state.String(), "upstream", h.id, "why", why)
	}
	u.report("upstream-"+state.String(), h.id, why)
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
