// Package resolver is the DNS server: listeners, the story of a query, the
// cache and the upstreams. The story is told in answer.go: parse, decide,
// answer, finish.
package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/querylog"
)

// A Server answers queries. Its methods may be called by any goroutine.
type Server struct {
	policy     func() *blocklists.Policy
	append     func([]querylog.Record)
	binding    func(netip.Addr) *devices.Binding
	allowed    func(netip.Addr) bool
	report     func(kind, subject, detail string)
	now        func() time.Time
	logger     *slog.Logger
	healthText []byte // RDATA of the health name's TXT
	prefix6    int    // bits that tell IPv6 clients apart

	settings    atomic.Pointer[settings]
	cookies     cookies
	cache       *cache
	flights     *flights
	upstreams   *upstreams
	short       *shortWay
	redirecting chan struct{} // a place for each redirected query that waits
	streams     *streams
	stats       stats

	listeners []*listener
	ctx       context.Context // ends when the server stops
	stop      context.CancelFunc
	work      sync.WaitGroup // readers, connections and flights
}

// New binds the addresses of o and returns a Server that does not answer yet.
func New(o Options) (*Server, error) {
	o.setDefaults()
	set, err := newSettings(o.Settings)
	if err != nil {
		return nil, err
	}
	s := &Server{
		policy: o.Policy, append: o.Log, binding: o.Binding, allowed: o.Allowed, report: o.Report, now: o.Now, logger: o.Logger, prefix6: o.ClientPrefix,
		cookies: newCookies(), flights: newFlights(o.Waiting, o.ClientPrefix), streams: newStreams(o.Streams), redirecting: make(chan struct{}, maxRedirects),
	}
	text := "telltale " + o.Version
	s.healthText = append([]byte{byte(len(text))}, text...)
	s.settings.Store(set)
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.listen(o.Listen, o.Readers); err != nil {
		s.closeListeners()
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
	s.short = newShortWay(s)
	if s.upstreams, err = newUpstreams(up); err != nil {
		s.closeListeners()
		return nil, err
	}
	s.cache = newCache(o.CacheSize, &s.upstreams.weather)
	return s, nil
}

// Start begins to answer.
func (s *Server) Start() {
	for _, l := range s.listeners {
		for _, conn := range l.udp {
			s.work.Go(func() { s.serveUDP(conn) })
		}
		s.work.Go(func() { s.serveTCP(l.tcp) })
	}
}

// Close stops answering, lets queries under way end, and returns when nothing
// of the server runs any more. It may be called more than once.
func (s *Server) Close() error {
	if s.ctx.Err() != nil {
		return nil
	}
	s.stop()
	s.wakeListeners()
	s.short.close()
	s.work.Wait()
	s.closeListeners()
	s.upstreams.close()
	return nil
}

// Check returns what New and Configure would refuse of settings.
func (o *Settings) Check() error {
	_, err := newSettings(*o)
	return err
}

// Configure changes the settings in force.
func (s *Server) Configure(o Settings) error {
	set, err := newSettings(o)
	if err != nil {
		return err
	}
	s.settings.Store(set)
	return nil
}

// SetUpstreams changes the upstreams in force, and forgets what the old ones
// said.
func (s *Server) SetUpstreams(servers []Upstream) {
	s.upstreams.setServers(servers)
	s.cache.flush()
}

// Upstreams returns how the upstreams do.
func (s *Server) Upstreams() []UpstreamStatus { return s.upstreams.status() }

// Addrs returns the addresses the server answers on.
func (s *Server) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(s.listeners))
	for _, l := range s.listeners {
		addrs = append(addrs, l.addr)
	}
	return addrs
}

// prepare fills in what a query has beside its packet. policy is that of its
// batch.
func (s *Server) prepare(q *query, policy *blocklists.Policy, now time.Time) {
	q.policy, q.received = policy, now
	q.binding = s.binding(q.client.Addr())
}

// guard runs f, and counts a panic in it as a defect instead of ending the
// process: a defect must not take a household's DNS down, and is no defence.
func (s *Server) guard(f func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			s.stats.defects.Add(1)
			s.logger.Error("a query caused a defect; please report it", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}

// maxPacket is the largest query this server reads, in octets. A question with
// an OPT of padding and cookies takes some hundreds.
const maxPacket = 4096
