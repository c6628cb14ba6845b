// Package upstream asks the servers that answer for the names Telltale does not
// answer itself: whom, how, for how long, and what a reply must be to be believed.
package upstream

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telltale/dnswire"
)

// A Server is a server to ask.
type Server struct {
	// ID names the server in status, log and reports. It stays when the address
	// does not; empty: the address, as a URL where Transport is not UDP.
	ID        string
	Addr      netip.AddrPort // of one with a Host, and of the Router, the port alone
	Router    bool           // it is the default gateway, wherever that is; only without encryption
	Transport Transport
	Host      string       // its name, where Addr has no address; empty: it has. Only with encryption
	Addresses []netip.Addr // where Host is; none: those of Options.Bootstrap know
	Name      string       // what its certificate must be valid for; empty: Host, or the address
	Path      string       // of HTTPS and H3: path and query of its URL; {?dns} at the end: it is asked by GET
	Pins      []Pin        // one of which must fit; none: any valid certificate
	Subnet    netip.Prefix // said to it as where clients are (RFC 7871); not valid: nothing is
	TrustAD   bool         // it validates, and the way to it is trusted: its AD bit may be passed on
}

// id returns what names the server.
func (s *Server) id() string {
	return cmp.Or(s.ID, s.defaultID(netip.AddrPortFrom(s.Addr.Addr().Unmap(), s.Addr.Port())))
}

// check returns why the address cannot be a server's.
func (s *Server) check() error {
	if s.Router {
		if s.Transport.IsEncrypted() || s.Host != "" || s.Addr.Port() == 0 {
			return errors.New("upstream router: with encryption, a name, or without a port")
		}
		return nil
	}
	if s.Host != "" {
		if !s.Transport.IsEncrypted() || s.Addr.Port() == 0 {
			return fmt.Errorf("upstream %s: a name without a port, or without encryption", s.Host)
		}
		return nil
	}
	if !s.Addr.IsValid() || s.Addr.Port() == 0 || s.Addr.Addr().IsUnspecified() || s.Addr.Addr().IsMulticast() {
		return fmt.Errorf("upstream %v: not the address and port of a server", s.Addr)
	}
	return nil
}

// Options says whom to ask. The zero value asks the system's resolvers
// as they change, and never anybody else.
type Options struct {
	Servers    []Server // in order of preference; empty: those of ResolvConf
	ResolvConf string   // a resolv.conf(5) to follow; default /etc/resolv.conf

	// Forwards are zones with servers of their own, which neither Servers nor
	// ResolvConf are asked for.
	Forwards []Forward

	// Bootstrap are resolvers that are asked for the addresses of servers by name, and for
	// nothing else.
	Bootstrap []netip.AddrPort
	// AddressFile is where those addresses are kept over a restart; empty: nowhere.
	AddressFile string

	// Gateway returns the address of the default gateway, where a Router is; not valid
	// while there is none. It must not wait. GatewayMoved gets a value when it may be another.
	// nil: nobody can say.
	Gateway      func() netip.Addr
	GatewayMoved <-chan struct{}

	// Self returns where this server listens, so that an upstream that is this
	// server is dropped. It is called whenever the upstreams change.
	Self func() []netip.AddrPort

	// Roots are the authorities whose certificates are valid; nil: those of the system.
	Roots *x509.CertPool

	Choice Choice // how Servers are asked

	// Patience is how long an upstream may be silent of which nothing is known, and at least
	// how long one may of which more is known; default: 400 ms, and no such bound.
	Patience time.Duration
	Budget   time.Duration // how long one query may take in all; default 4.8 s

	// Epoch is the availability epoch. It changes whenever there may be answers where
	// there were none: an upstream has come up, or there are others. Failures from
	// before are to be forgotten. nil: nobody looks at it.
	Epoch *atomic.Uint32
	// Late takes an answer that came when nobody waited for it any more. It must not
	// keep it. nil: nobody waits for such.
	Late func(q *dnswire.Question, a *Answer)
	// Changed is called when other servers are asked than before, but not for the
	// first; nil: nobody is told.
	Changed func()

	Logger *slog.Logger
	Report func(kind, subject, detail string) // what a person should hear of; may be nil
	Now    func() time.Time

	pace       pace
	streamIdle time.Duration // of connections; default streamIdle
}

// A Client asks the first upstream that is up, and the next when one is silent,
// refuses or fails. All methods may be called by any goroutine at any time.
//
// By Exchange queries share nothing but what is known of an upstream: each has its
// own socket and its own buffer, so a slow upstream holds up only those who asked it.
type Client struct {
	patience      time.Duration
	leastPatience time.Duration
	budget        time.Duration
	pace          pace
	roots         *x509.CertPool
	self          func() []netip.AddrPort
	gateway       func() netip.Addr
	log           *slog.Logger
	report        func(kind, subject, detail string)
	now           func() time.Time
	file          string // the resolv.conf to follow
	onLate        func(*dnswire.Question, *Answer)
	changed       func()
	late          atomic.Int64 // conversations that wait for late replies
	hedged        atomic.Uint64

	choice   atomic.Pointer[Choice] // never nil
	explored atomic.Uint32          // queries, to find whose turn to explore it is
	set      atomic.Pointer[serverSet]
	forwards atomic.Pointer[forwarding] // never nil

	bootstrap bootstrap

	epoch *atomic.Uint32 // see Options.Epoch

	streamIdle time.Duration // see Options.streamIdle

	probes probeLog
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu         sync.Mutex
	servers    []Server           // as set
	forwarded  []Forward          // as set
	router     netip.Addr         // the last default gateway there was; not valid: there was none yet
	stopFollow context.CancelFunc // nil while the servers are configured ones
	watchErr   error              // of what follows resolv.conf; nil while it is watched
}

// A serverSet is whom to ask at one time. It never changes; the health of its
// members does.
type serverSet struct {
	all     []*Upstream
	private []*Upstream // those of all with a private address
	dropped []Status    // listed, but never to be asked
	none    *Error      // what exchange says when all is empty
	zones   []string    // that they are asked for; nil: all that have no servers of their own
	clients []string    // who asks them, see Forward.For; nil: everybody
	inOrder bool        // they are of a Forward

	favourite atomic.Pointer[favourite] // see fastest
}

// An Upstream is a server in use: a member of a set.
type Upstream struct {
	*health
	trustAD bool
	subnet  []byte // the option with Server.Subnet; nil: none
	private bool
	local   bool   // its address is this machine's, from which clients ask too
	source  string // "configured", "forward", or the path of a resolv.conf
	zones   []string
	clients []string
	probing bool // it is its watcher that asks: no client's question

	probeLetters uint32 // of what a watcher asks
}

// ID names the upstream; it is not its address.
func (u *Upstream) ID() string { return u.id }

// TrustAD reports whether the upstream validates, and the way to it is trusted.
func (u *Upstream) TrustAD() bool { return u.trustAD }

// Private reports whether the upstream's address is a private one, as
// isLocalServer says.
func (u *Upstream) Private() bool { return u.private }

// An Answer is an upstream's reply, checked by checkReply but otherwise as it
// came: with the upstream's OPT and whatever it added of its own accord.
type Answer struct {
	Wire     []byte // not truncated; valid until Release
	Upstream *Upstream

	buffer *exchangeBuffer
}

// Release gives the answer's memory back. Nothing may refer to wire afterwards,
// and of several copies of an answer only one may be released. An answer that
// is never released costs the pool one buffer and does no harm.
func (a *Answer) Release() {
	if a.buffer != nil {
		a.buffer.release()
	}
	a.Wire, a.buffer = nil, nil
}

// An Error says why no upstream gave an answer, as the client is told by
// an Extended DNS Error (RFC 8914).
type Error struct {
	Code    uint16
	Text    string
	Unasked bool // nobody was asked
}

func (e *Error) Error() string { return e.Text }

// ErrNoPrivate means that there is no upstream with a private address.
var ErrNoPrivate = errors.New("no upstream has a private address")

// New returns a client whose upstreams are already in use: they are taken to be
// up until a probe says otherwise. Only an address that cannot be one is an
// error; that there is no upstream at all is not.
func New(o Options) (*Client, error) {
	for _, s := range o.Servers {
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	u := &Client{
		patience:      cmp.Or(o.Patience, 400*time.Millisecond),
		leastPatience: o.Patience,
		budget:        cmp.Or(o.Budget, 4800*time.Millisecond),
		pace:          o.pace.orDefault(),
		roots:         o.Roots,
		self:          o.Self,
		gateway:       o.Gateway,
		log:           o.Logger,
		report:        o.Report,
		now:           o.Now,
		file:          o.ResolvConf,
		epoch:         o.Epoch,
		onLate:        o.Late,
		changed:       o.Changed,

		streamIdle: cmp.Or(o.streamIdle, streamIdle),
	}
	if u.self == nil {
		u.self = func() []netip.AddrPort { return nil }
	}
	if u.gateway == nil {
		u.gateway = func() netip.Addr { return netip.Addr{} }
	}
	u.router = u.gateway()
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	if u.report == nil {
		u.report = func(kind, subject, detail string) {}
	}
	if u.now == nil {
		u.now = time.Now
	}
	if u.epoch == nil {
		u.epoch = new(atomic.Uint32)
	}
	if u.changed == nil {
		u.changed = func() {}
	}
	if u.file == "" {
		u.file = resolvConf
	}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	u.SetChoice(o.Choice)
	u.set.Store(&serverSet{none: noUpstream("")})
	u.forwards.Store(&forwarding{})
	u.bootstrap = bootstrap{client: u, file: o.AddressFile, names: map[string]*serverName{}}
	u.bootstrap.set.Store(&serverSet{})
	u.bootstrap.load()
	if err := u.SetBootstrap(o.Bootstrap); err != nil {
		u.cancel()
		return nil, err
	}
	if err := u.SetForwards(o.Forwards); err != nil {
		u.cancel()
		return nil, err
	}
	u.followNetwork()
	u.SetServers(o.Servers)
	u.tasks.Go(func() { u.followGateway(o.GatewayMoved) })
	return u, nil
}

// SetServers asks these from now on, or the system's resolvers if there are
// none. What is known of a server that stays is kept; all are probed again.
func (u *Client) SetServers(servers []Server) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ctx.Err() != nil {
		return
	}
	if u.stopFollow != nil {
		u.stopFollow()
		u.stopFollow, u.watchErr = nil, nil
	}
	u.servers = servers
	if len(servers) > 0 {
		u.swapLocked(servers, "configured")
		return
	}
	var ctx context.Context
	ctx, u.stopFollow = context.WithCancel(u.ctx)
	found, source := readResolvers(u.file)
	u.swapLocked(found, source)
	u.tasks.Go(func() { u.follow(ctx, found, source) })
}

// Close ends the probes and the watch of resolv.conf, and waits for them.
// Queries in flight end by their own context or budget.
func (u *Client) Close() {
	u.mu.Lock()
	u.cancel()
	u.mu.Unlock()
	u.tasks.Wait()
}

// swapLocked replaces the set.
func (u *Client) swapLocked(servers []Server, source string) {
	old := u.set.Load()
	next := u.newSetLocked(servers, source, old, nil)
	next.none = noUpstream(source)
	if u.lacksRouterLocked(servers) {
		next.none = noRouter()
	}
	u.set.Store(next)
	u.epoch.Add(1)
	old.stopOthers(next)
	if len(next.all) == 0 && len(next.dropped) > 0 && u.lacksRouterLocked(servers) {
		u.log.Warn("no upstream yet: there is no default route, and so no router to ask")
		u.report("upstream-none", source, next.none.Text)
		return
	}
	if len(next.all) == 0 {
		u.log.Error("no upstream: names that no list answers get SERVFAIL", "from", source, "remedy", addUpstreams)
		u.report("upstream-none", source, next.none.Text)
		return
	}
	u.log.Info("upstreams", "ask", next.ids(), "from", source)
}

// newSetLocked returns a set of those servers that are not this one. What old knows of
// a server is kept. home is what any of them can answer; nil: what every resolver can.
func (u *Client) newSetLocked(servers []Server, source string, old *serverSet, home *dnswire.Question) *serverSet {
	next := &serverSet{}
	self := u.self()
	var seen []Server
	for _, s := range servers {
		if s.Router {
			s.Addr = netip.AddrPortFrom(u.router, s.Addr.Port())
			if !u.router.IsValid() {
				next.dropped = append(next.dropped, Status{
					ID: s.id(), Router: true, Transport: s.Transport, Source: source, State: Down, Why: "has no address: there is no default route", Since: u.now(),
				})
				continue
			}
		}
		once := s.plain()
		addr, id := once.Addr, once.ID
		if slices.ContainsFunc(seen, func(other Server) bool { return once.is(&other) }) || s.check() != nil {
			continue
		}
		seen = append(seen, once)
		if once.all(func(a netip.Addr) bool { return isSelf(netip.AddrPortFrom(a, addr.Port()), self) }) {
			next.dropped = append(next.dropped, Status{
				ID: id, Addr: addr, Transport: s.Transport, Source: source, State: Self, Why: "it is this server", Since: u.now(),
			})
			u.log.Error("upstream dropped: it is this server itself", "upstream", id, "from", source)
			u.report("upstream-self", id, "listed in "+source+", but it is this server itself; not asked")
			continue
		}
		h := old.health(&once)
		if h == nil {
			h = u.startHealth(once, home)
		} else {
			h.requestProbe()
		}
		m := &Upstream{health: h, trustAD: s.TrustAD, subnet: subnetOption(s.Subnet), private: once.all(isLocalServer), local: once.all(isOwnAddress), source: source}
		next.all = append(next.all, m)
		if m.private {
			next.private = append(next.private, m)
		}
	}
	return next
}

// ids returns the upstreams in order of preference, for the log.
func (s *serverSet) ids() []string {
	var list []string
	for _, m := range s.all {
		list = append(list, m.id)
	}
	return list
}

// health returns what is known of a member; nil if it is none. server has an ID, and
// says nothing of trust.
func (s *serverSet) health(server *Server) *health {
	for _, m := range s.all {
		if m.server.is(server) {
			return m.health
		}
	}
	return nil
}

// addUpstreams is the line that a server without upstreams needs.
const addUpstreams = `add "upstreams: [ADDRESS:PORT]" to telltale.yaml`

func noUpstream(source string) *Error {
	text := "no upstream: " + addUpstreams
	if source != "" && source != "configured" {
		text = "no usable upstream in " + source + ": " + addUpstreams
	}
	return &Error{dnswire.EDENotReady, text, true}
}

// Exchange asks for q and returns the first upstream's answer that is one. Any
// error is an *Error, or that of ctx.
//
// What it promises is that the answer fits the question and came from one of the
// servers, and that an answer or an error is there within the budget.
//
// Names of zones that are forwarded are asked of their own servers alone.
func (u *Client) Exchange(ctx context.Context, q *dnswire.Question, start Start) (Answer, error) {
	if start.Only != "" {
		return u.askOnly(ctx, q, start)
	}
	set := u.forwardSet(q)
	if set == nil {
		set = u.set.Load()
	}
	if len(set.all) == 0 {
		return Answer{}, set.none
	}
	return u.ask(ctx, q, set, set.all, start)
}

// ExchangePrivate is Exchange for names that only a server of this network may
// hear of (RFC 6303, RFC 8375). It returns ErrNoPrivate if there is none.
func (u *Client) ExchangePrivate(ctx context.Context, q *dnswire.Question, start Start) (Answer, error) {
	forward := u.forwardSet(q)
	if forward != nil && forward.zones != nil {
		return u.Exchange(ctx, q, start)
	}
	if start.Only != "" {
		if m := u.Find(start.Only); m != nil && !m.private {
			return Answer{}, ErrNoPrivate
		}
		return u.askOnly(ctx, q, start)
	}
	set := forward
	if set == nil {
		set = u.set.Load()
	}
	if len(set.private) == 0 {
		return Answer{}, ErrNoPrivate
	}
	return u.ask(ctx, q, set, set.private, start)
}

// Find returns the upstream with an ID, or at an address; nil if there is none.
func (u *Client) Find(id string) *Upstream {
	for _, set := range u.sets() {
		for _, m := range set.all {
			if m.id == id || m.addr.String() == id || m.addr.Addr().String() == id {
				return m
			}
		}
	}
	return nil
}

// sets returns whom to ask for what clients want: the general servers, then those of each
// Forward.
func (u *Client) sets() []*serverSet {
	return append([]*serverSet{u.set.Load()}, u.forwards.Load().sets...)
}

// askOnly asks the one upstream that a person names.
func (u *Client) askOnly(ctx context.Context, q *dnswire.Question, start Start) (Answer, error) {
	m := u.Find(start.Only)
	if m == nil {
		return Answer{}, &Error{dnswire.EDENotReady, "no upstream " + start.Only, true}
	}
	watched := *m
	watched.probing = true
	x := u.newExchange(q, []candidate{{Upstream: &watched, outcome: silent, counted: true}})
	x.probe, x.trace = true, start.Trace
	a, err := x.run(ctx, 0, false)
	a.Upstream = m
	return a, err
}

// At returns the upstream at another machine's address; nil if there is none. What
// comes from there while it is asked the same may be a question sent back.
func (u *Client) At(addr netip.Addr) *Upstream {
	if m := u.set.Load().at(addr); m != nil {
		return m
	}
	for _, set := range u.forwards.Load().sets {
		if m := set.at(addr); m != nil {
			return m
		}
	}
	return nil
}

func (s *serverSet) at(addr netip.Addr) *Upstream {
	for _, m := range s.all {
		if m.server.has(addr) && !m.local {
			return m
		}
	}
	return nil
}

// ReturnedBy takes in that m asked this server what it was being asked itself, and had
// no answer to.
func (u *Client) ReturnedBy(m *Upstream) {
	if m.returned.Add(1) == 1 {
		u.log.Warn("an upstream sends some names back to this server: they are answered SERVFAIL", "upstream", m.id,
			"remedy", "let it resolve them itself, or give Telltale another upstream")
		u.report("upstream-returns", m.id, "it asked this server for names that it was being asked for; they are answered SERVFAIL")
	}
}

// Timeout returns how long m may be silent.
func (u *Upstream) Timeout() time.Duration { return u.timing.current() }

// HasPrivate reports whether ExchangePrivate has anybody to ask for a device.
func (u *Client) HasPrivate(device uint16) bool {
	if len(u.set.Load().private) > 0 {
		return true
	}
	f := u.forwards.Load()
	all := f.zones.Of(device).All()
	return all != nil && len(f.sets[all.forward].private) > 0
}

// Status returns a line for each upstream, in order of preference, then those
// that were dropped; first of the general ones, then of each Forward, then of Bootstrap.
func (u *Client) Status() []Status {
	var list []Status
	for _, set := range u.sets() {
		list = set.status(list)
	}
	return u.bootstrap.set.Load().status(list)
}

// status appends a line for each server.
func (s *serverSet) status(list []Status) []Status {
	for _, m := range s.all {
		st := m.status()
		st.Source, st.TrustAD, st.Private, st.Zones, st.For = m.source, m.trustAD, m.private, m.zones, m.clients
		list = append(list, st)
	}
	return append(list, s.dropped...)
}

// first returns the upstream that is asked first; nil where there is none.
func (u *Client) first() *Upstream {
	set := u.set.Load()
	if u.choice.Load().Strategy == Fastest {
		if m := set.fastest(u.now()); m != nil {
			return m
		}
	}
	var best *Upstream
	for _, m := range set.all {
		if r := m.rank(); r < ranks && (best == nil || r < best.rank()) {
			if best = m; r == 0 {
				break
			}
		}
	}
	return best
}
