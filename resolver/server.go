// Package resolver is the DNS server. It has the story of a query, told in
// answer.go: parse, decide, answer, finish. The packages below it have what the
// story needs: listen (sockets and connections of clients), upstream (whom to
// ask), cache, overload, rebind (private addresses in answers), and packets (batches
// of UDP packets).
package resolver

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"telltale/blocklists"
	"telltale/clock"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/listen"
	"telltale/resolver/listen/certs"
	"telltale/resolver/upstream"
)

// A Server answers queries. Its methods may be called by any goroutine.
type Server struct {
	policy         func() *blocklists.Policy
	append         func([]querylog.Record)
	tap            atomic.Pointer[Tap] // nil: nobody wants it
	binding        func(netip.Addr) *devices.Binding
	byDevice       func() bool
	named          func(id string, held *devices.Binding) *devices.Binding
	forwarded      func(mac [6]byte, hasMAC bool, addr netip.Addr) *devices.Binding
	allowed        func(netip.Addr) bool
	allowedID      func(id string) bool
	report         func(kind, subject, detail string)
	now            func() time.Time
	logger         *slog.Logger
	identifyClient func(netip.Addr) *devices.Binding // may wait; nil: nobody can say

	settings      atomic.Pointer[settings]
	found64       atomic.Pointer[netip.Prefix] // the prefix of upstreams' DNS64; nil for none
	announced64   atomic.Pointer[netip.Prefix] // that which a router announces; nil for none
	refind64      chan struct{}                // of one: it may be another now
	cookies       cookies
	names         []string      // of this server
	certificates  *certs.Source // of its encrypted transports; nil for none
	cache         *cache.Cache
	flights       *flights
	waiters       sync.Pool // of *waiter
	streamQueries sync.Pool // of *streamQuery
	upstreams     *upstream.Client
	epoch         atomic.Uint32 // see upstream.Options
	shared        *upstream.Shared
	listeners     *listen.Listeners
	patience      time.Duration // see stalePatience
	identifying   chan struct{} // a place for each query whose client is being identified
	prefetches    prefetches
	answersFile   string // the file of answers for the next start; "": none
	cacheSize     int64
	clocks        func() clock.Reading
	slept         func() time.Duration // see clock.Slept
	keptRetry     time.Duration
	keeping       sync.Mutex  // held while the file is written
	flushed       atomic.Bool // since the start: answers of before it are not wanted any more
	keptMu        sync.Mutex
	kept          Kept // guarded by keptMu
	started       atomic.Bool
	stats         stats
	readersMu     sync.Mutex
	readers       []*reader // of UDP sockets; guarded by readersMu

	ctx  context.Context // ends when the server stops
	stop context.CancelFunc
	work sync.WaitGroup // flights
}

// New binds the addresses of o and returns a Server that does not answer yet.
func New(o Options) (*Server, error) {
	o.setDefaults()
	set, err := newSettings(o.Settings)
	if err != nil {
		return nil, err
	}
	s := &Server{
		policy: o.Policy, append: o.Log, binding: o.Binding, named: o.Named, forwarded: o.Forwarded, allowed: o.Allowed, allowedID: o.AllowedID, report: o.Report, now: o.Now, logger: o.Logger,
		cookies: newCookies(), names: o.Names, certificates: o.Certificates, flights: newFlights(o.Waiting, o.ClientPrefix),
		byDevice: o.ByDevice, identifyClient: o.Identify, identifying: make(chan struct{}, maxIdentifying),
	}
	s.refind64 = make(chan struct{}, 1)
	s.patience = cmp.Or(o.stalePatience, stalePatience)
	s.settings.Store(set)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.waiters.New, s.streamQueries.New = makeWaiter, makeStreamQuery
	o.streamTimes.Answer = cmp.Or(o.streamTimes.Answer, exchangeBudget)
	s.listeners, err = listen.Open(listen.Options{
		Addrs: o.Listen, TLS: o.ListenTLS, QUIC: o.ListenQUIC, HTTPS: o.ListenHTTPS, HTTP: o.ListenHTTP, Certificates: o.Certificates, Names: o.Names,
		TrustedProxies: o.TrustedProxies, ProxyProtocol: o.ProxyProtocol, Readers: o.Readers, Streams: o.Streams, StreamTimes: o.streamTimes, ClientPrefix: o.ClientPrefix,
		Handler: s, Allowed: o.Allowed, AllowedID: o.AllowedID, ReportOverload: s.reportOverload, Unnamed: s.isUnlogged, CatchPanic: s.catchPanic, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	up := o.Upstreams
	up.Self = s.Addrs
	if up.Logger == nil {
		up.Logger = o.Logger
	}
	if up.Report == nil {
		up.Report = o.Report
	}
	if up.Now == nil {
		up.Now = o.Now
	}
	up.Epoch, up.Late, up.Changed = &s.epoch, s.keepLate, s.forgetAnswers
	s.cache = cache.New(o.CacheSize, &s.epoch)
	s.answersFile, s.cacheSize, s.clocks, s.slept, s.keptRetry = o.Keep, max(o.CacheSize, 0), o.clocks, o.slept, cmp.Or(o.keptRetry, keptRetry)
	s.kept.File = o.Keep
	s.cache.SetStale(o.Settings.Stale)
	if s.upstreams, err = upstream.New(up); err != nil {
		s.listeners.Close()
		return nil, err
	}
	s.shared = upstream.NewShared(upstream.SharedOptions{
		Client: s.upstreams, NewReceiver: func() upstream.Receiver { return &deliveries{srv: s} }, Fallback: s.fallback, CatchPanic: s.catchPanic,
	})
	s.work.Add(1) // until Close: readers may begin flights
	return s, nil
}

// Start begins to answer.
func (s *Server) Start() {
	s.work.Go(s.followPrefix64)
	s.work.Go(s.watchSleep)
	if s.answersFile != "" {
		s.work.Go(s.keepAnswers)
	}
	s.started.Store(true)
	s.listeners.Start()
}

// Close stops answering, lets queries under way end, and returns when nothing
// of the server runs any more. It may be called more than once.
func (s *Server) Close() error {
	if s.ctx.Err() != nil {
		return nil
	}
	s.stop()
	s.listeners.Stop()
	s.shared.Close()
	s.listeners.WaitReaders()
	s.work.Done()
	s.work.Wait()
	if k, kept := s.Kept(); kept && k.Waiting == "" && s.started.Load() { // else what is there may still be of use
		s.saveAnswers()
	}
	s.listeners.Close()
	s.upstreams.Close()
	return nil
}

// Check returns what New and Configure would refuse of settings.
func (o *Settings) Check() error {
	_, err := newSettings(*o)
	return err
}

// LowerOtherThreads gives the threads that read queries a higher priority than
// all others of the process. On a machine of one core a reader has to compete
// with the log's writer, a list being compiled and as many of the collector's
// workers as GOMAXPROCS allows; once it has used up an equal share it would wait
// for whole time slices of theirs. It needs no privilege, and what is not
// permitted is left as it is.
func (s *Server) LowerOtherThreads() { s.listeners.LowerOtherThreads() }

// Configure changes the settings in force.
func (s *Server) Configure(o Settings) error {
	set, err := newSettings(o)
	if err != nil {
		return err
	}
	s.settings.Store(set)
	s.cache.SetStale(o.Stale)
	s.lookAgain64()
	return nil
}

// SetUpstreams changes the upstreams in force, and forgets what the old ones
// said.
func (s *Server) SetUpstreams(servers []upstream.Server) {
	s.upstreams.SetServers(servers)
	s.forgetAnswers()
}

// SetChoice changes how the upstreams are asked.
func (s *Server) SetChoice(c upstream.Choice) { s.upstreams.SetChoice(c) }

// SetBootstrap changes who is asked for the addresses of upstreams by name.
func (s *Server) SetBootstrap(resolvers []netip.AddrPort) error {
	return s.upstreams.SetBootstrap(resolvers)
}

// SetForwards changes which zones are asked of servers of their own, and forgets what
// was said before. An error is what upstream.NewZones would refuse; then nothing has
// changed.
func (s *Server) SetForwards(forwards []upstream.Forward) error {
	if err := s.upstreams.SetForwards(forwards); err != nil {
		return err
	}
	s.forgetAnswers()
	return nil
}

// Zones returns the zones with servers of their own as a device has them, by its settings.
func (s *Server) Zones(device uint16) upstream.DeviceZones { return s.upstreams.Zones().Of(device) }

// viewOf returns the number of what answers q for a name, its own or the one it is led to.
func (s *Server) viewOf(q *query, name *dnswire.Name, private bool) uint8 {
	device := q.device()
	if device == 0 {
		return 0
	}
	return s.upstreams.View(device, name, private)
}

// forgetAnswers forgets what upstreams have said, and are about to say to who asks
// already: who asks from now on has the answers of those that are asked now.
func (s *Server) forgetAnswers() {
	s.flights.renew()
	s.cache.Flush()
	s.lookAgain64()
}

// Upstreams returns how the upstreams do.
func (s *Server) Upstreams() []upstream.Status { return s.upstreams.Status() }

// ResolvConfErr returns why a changed resolv.conf is only found by polling; nil
// where it is found at once or not followed.
func (s *Server) ResolvConfErr() error { return s.upstreams.WatchErr() }

// Addrs returns the addresses the server answers on.
func (s *Server) Addrs() []netip.AddrPort { return s.listeners.Addrs() }

// TLSAddrs returns the addresses the server answers on by TLS.
func (s *Server) TLSAddrs() []netip.AddrPort { return s.listeners.TLSAddrs() }

// HTTPSAddrs and HTTPAddrs return the addresses the server answers on by HTTPS, and by
// HTTP for proxies.
func (s *Server) HTTPSAddrs() []netip.AddrPort { return s.listeners.WebAddrs(false) }
func (s *Server) HTTPAddrs() []netip.AddrPort  { return s.listeners.WebAddrs(true) }

// QUICAddrs returns the addresses the server answers on by QUIC.
func (s *Server) QUICAddrs() []netip.AddrPort { return s.listeners.QUICAddrs(false) }

// prepare fills in what a query has beside its packet. policy is that of its
// batch.
func (s *Server) prepare(q *query, policy *blocklists.Policy, now time.Time) {
	q.policy, q.received = policy, now
	q.binding = s.binding(q.path.Client.Addr())
	if q.clientID != "" {
		q.binding = s.named(q.clientID, q.binding)
	}
}

// catchPanic runs f, and counts a panic in it as an internal error instead of ending
// the process: it must not take a household's DNS down, and is no defence.
func (s *Server) catchPanic(f func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			s.stats.internalErrors.Add(1)
			s.logger.Error("a query caused an internal error; please report it", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}

// reportOverload has what an overload cost recorded.
func (s *Server) reportOverload(client, detail string) {
	s.logger.Warn("overload: "+detail, "client", client)
	s.report("overload", client, detail)
}

// isUnlogged reports whether nothing may be recorded of who has an address.
func (s *Server) isUnlogged(a netip.Addr) bool {
	b := s.binding(a)
	return b != nil && b.NoLog
}
