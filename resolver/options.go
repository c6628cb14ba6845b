package resolver

import (
	"log/slog"
	"net/netip"
	"time"

	"telltale/blocklists"
	"telltale/clock"
	"telltale/devices"
	"telltale/querylog"
	"telltale/resolver/listen"
	"telltale/resolver/listen/certs"
	"telltale/resolver/upstream"
)

// Options are what a Server needs. The zero value of a field means its default.
type Options struct {
	// Listen are the addresses to answer on, over UDP and TCP; a zero port is
	// chosen by the kernel, the same for both.
	Listen []netip.AddrPort
	// ListenTLS are the addresses to answer on by DNS over TLS, with Certificates.
	ListenTLS    []netip.AddrPort
	Certificates *certs.Source
	// ListenQUIC are the addresses to answer on by DNS over QUIC, with Certificates.
	ListenQUIC []netip.AddrPort
	// ListenHTTPS are the addresses to answer on by DNS over HTTPS, with Certificates.
	// ListenHTTP are those of the same in clear, which the reverse proxies of
	// TrustedProxies alone may use; they say whom they ask for.
	ListenHTTPS, ListenHTTP []netip.AddrPort
	TrustedProxies          []netip.Prefix
	// Names are those by which clients of encrypted transports know this server, in lower
	// case, without a dot at the end. Addresses among them are none.
	Names []string
	// ProxyProtocol are whose connections say by that protocol whose they really are.
	ProxyProtocol []netip.Prefix
	// Readers is how many sockets share each UDP address; 0: one for each
	// processor, at most 4.
	Readers int

	// Policy returns the policy in force; it is asked once per batch. nil: none.
	Policy func() *blocklists.Policy
	// Log takes a batch of records and must not keep it. nil: no log.
	Log func([]querylog.Record)
	// Binding returns who holds an address now, nil if nobody knows yet. It must
	// not wait. nil: nobody is known.
	Binding func(netip.Addr) *devices.Binding
	// Identify returns who holds an address that Binding does not know, nil where
	// that cannot be found out. It may wait some milliseconds. It is used while
	// ByDevice reports that answers may depend on it. nil: never.
	Identify func(netip.Addr) *devices.Binding
	ByDevice func() bool
	// Named returns who it is that calls itself id, where held is who holds its
	// address; nil for nobody known. It must not wait. nil: an id means nothing.
	Named func(id string, held *devices.Binding) *devices.Binding
	// Forwarded returns who a client behind a trusted forwarder is, by the MAC, the
	// address or both that the forwarder says; nil for nobody known. It must not wait.
	// nil: nobody is.
	Forwarded func(mac [6]byte, hasMAC bool, addr netip.Addr) *devices.Binding
	// Allowed reports whether a client may ask at all. nil: loopback only.
	Allowed func(netip.Addr) bool
	// AllowedID reports whether a client that calls itself id may ask over TLS, HTTPS
	// and QUIC, wherever it is. nil: none.
	AllowedID func(id string) bool

	Upstreams upstream.Options
	// CacheSize bounds the cache, in bytes; 0: 16 MiB; negative: no cache.
	CacheSize int64
	// Keep is a file in which answers are kept for the next start; "": none.
	Keep string
	// Waiting bounds the queries that wait for an upstream; what comes beyond is
	// shed and counted. 0: 4096.
	Waiting int
	// Streams bounds the connections of TCP, TLS, HTTPS and QUIC together. 0: 512.
	Streams int
	// streamTimes bound how long a connection may take; shorter in tests.
	streamTimes listen.StreamTimes
	// stalePatience is shorter in tests, too.
	stalePatience time.Duration
	// clocks and slept are this machine's, and keptRetry is longer.
	clocks    func() clock.Reading
	slept     func() time.Duration
	keptRetry time.Duration
	// ClientPrefix is how many bits tell IPv6 clients apart where each gets a
	// share. 0: 128, since all devices of a home have the first 64 in common.
	ClientPrefix int

	Settings Settings

	// Report tells the quality ledger what bears on the log's completeness.
	Report func(kind, subject, detail string)
	Logger *slog.Logger
	Now    func() time.Time
}

// Settings are the options that Configure can change while serving.
type Settings struct {
	// Stale is how long after its time an answer is served where upstreams give
	// none (RFC 8767); 0: not at all.
	Stale time.Duration
	// Prefetch asks for popular names again shortly before their time is over.
	Prefetch bool
	// MinTTL and MaxTTL are bounds for the TTLs of answers, NegativeTTL is the most
	// for those that say that there is nothing; 0: none. They are served, too.
	MinTTL, MaxTTL, NegativeTTL time.Duration
	// RebindAllow are domains below which an answer may hold private addresses.
	RebindAllow []string
	// ForwardTest and ForwardLocal send names under .test and .local upstream
	// instead of answering NXDOMAIN (RFC 6761, RFC 6762).
	ForwardTest, ForwardLocal bool
	// DNS64 is whether and how IPv6 addresses are made of IPv4 ones.
	DNS64 DNS64
	// ForwardCanaries resolves the names by which browsers and phones ask
	// whether to use their own encrypted DNS, instead of answering NXDOMAIN.
	ForwardCanaries bool
	// Designated lets clients find out by which encrypted transports the server can be
	// asked (RFC 9462). It takes addresses to listen on for one, and a name of the server.
	Designated bool
	// Forwarders are whose word counts on whose query they pass on (EDNS options).
	Forwarders []netip.Prefix
}

func (o *Options) setDefaults() {
	if o.Policy == nil {
		o.Policy = func() *blocklists.Policy { return nil }
	}
	if o.Log == nil {
		o.Log = func([]querylog.Record) {}
	}
	if o.Binding == nil {
		o.Binding = func(netip.Addr) *devices.Binding { return nil }
	}
	if o.ByDevice == nil {
		o.ByDevice = func() bool { return o.Identify != nil }
	}
	if o.Allowed == nil {
		o.Allowed = netip.Addr.IsLoopback
	}
	if o.Named == nil {
		o.Named = func(_ string, held *devices.Binding) *devices.Binding { return held }
	}
	if o.Forwarded == nil {
		o.Forwarded = func([6]byte, bool, netip.Addr) *devices.Binding { return nil }
	}
	if o.AllowedID == nil {
		o.AllowedID = func(string) bool { return false }
	}
	if o.CacheSize == 0 {
		o.CacheSize = 16 << 20
	}
	if o.Waiting == 0 {
		o.Waiting = 4096
	}
	if o.Streams == 0 {
		o.Streams = 512
	}
	if o.ClientPrefix == 0 {
		o.ClientPrefix = 128
	}
	if o.Report == nil {
		o.Report = func(kind, subject, detail string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.clocks == nil {
		o.clocks = clock.Read
	}
	if o.slept == nil {
		o.slept = clock.Slept
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}
