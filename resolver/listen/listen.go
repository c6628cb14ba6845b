// Package listen receives queries over UDP, TCP and TLS and sends replies: the sockets,
// their batches, who is admitted, and what is left unread in an overload. What is
// in a query, and what its answer is, its Handler knows.
package listen

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"telltale/resolver/listen/certs"
	"telltale/resolver/overload"
)

// A Handler answers what is received. Its methods may be called by any goroutine.
type Handler interface {
	// NewBatchHandler returns what answers the packets of one UDP socket.
	NewBatchHandler(*UDPConn) BatchHandler
	// NewStreamHandler returns what answers the messages of one connection or request.
	NewStreamHandler(Correspondent) StreamHandler
}

// A BatchHandler answers packets of a UDP socket. It is called by the socket's
// reader alone, and must not wait.
type BatchHandler interface {
	// ServeBatch answers the n packets that the socket holds, and returns the time
	// at which it began.
	ServeBatch(n int) (began time.Time)
}

// A StreamHandler answers messages of a Correspondent. It is called by the reader of
// that alone, and must not wait for upstreams.
type StreamHandler interface {
	// ServeMessage answers a message by exactly one Send, now or later. It
	// returns false where nobody knows any more whether that will come.
	ServeMessage(packet []byte) (ok bool)
}

// Options are what listeners need. The zero value of a func does nothing.
type Options struct {
	// Addrs are the addresses to answer on, over UDP and TCP; a zero port is chosen
	// by the kernel, the same for both.
	Addrs []netip.AddrPort
	// TLS are the addresses to answer on by DNS over TLS (RFC 7858).
	TLS []netip.AddrPort
	// Certificates are those that clients of encrypted transports are shown.
	Certificates *certs.Source
	// QUIC are the addresses of DNS over QUIC, with Certificates.
	QUIC []netip.AddrPort
	// HTTPS are the addresses of DNS over HTTPS, with Certificates. HTTP are those of the
	// same in clear, which TrustedProxies alone may use.
	HTTPS, HTTP []netip.AddrPort
	// TrustedProxies are reverse proxies of HTTP, which say whom they ask for.
	TrustedProxies []netip.Prefix
	// Names are those of this server, in lower case: a client that calls it ID.NAME calls
	// itself ID.
	Names []string
	// ProxyProtocol are whose connections begin with a header of the PROXY protocol, which
	// says whose they really are.
	ProxyProtocol []netip.Prefix
	// Readers is how many sockets share each UDP address; 0: one for each
	// processor, at most 4.
	Readers int
	// Streams bounds the connections, of TCP and TLS together; half of the files that the process may have
	// open do so too.
	Streams int
	// StreamTimes bound how long a connection may take.
	StreamTimes StreamTimes
	// ClientPrefix is how many bits tell IPv6 clients apart.
	ClientPrefix int

	Handler Handler
	// Allowed reports whether a client may ask; those who may not are refused by
	// the handler, and share one part of the connections.
	Allowed func(netip.Addr) bool
	// AllowedID reports whether a client that calls itself so may ask over an encrypted
	// transport, wherever it is.
	AllowedID func(id string) bool
	// ReportOverload tells what an overload cost; client is "" for all together.
	ReportOverload func(client, detail string)
	// Unnamed reports whether a client must not be named in such reports.
	Unnamed func(netip.Addr) bool
	// CatchPanic runs what serves one connection, and reports false where that panicked: the
	// connection ends then, and no other. Without it the program does.
	CatchPanic func(f func()) (ok bool)
	Logger     *slog.Logger
}

// Listeners are all addresses to answer on. Methods may be called by any
// goroutine.
type Listeners struct {
	options  Options
	all      []*listener
	tls      []*net.TCPListener
	web      []*webListener
	quic     []*quicListener
	streams  *streams
	gate     gate   // of messages that come alone
	requests *share // the same, under way
	stats    counters
	reach    *reachability

	stopped context.Context // ended by Stop
	stop    context.CancelFunc
	readers sync.WaitGroup // of sockets and connections
	writers sync.WaitGroup // of connections
}

// A listener is one address to answer on, over UDP and TCP.
type listener struct {
	addr netip.AddrPort
	udp  []*UDPConn
	tcp  *net.TCPListener
}

type counters struct {
	unread, unsent, streamsRefused, streamsReplaced, streamsCut                    atomic.Uint64
	acceptsFailed, proxiesRefused, handshakes, handshakesResumed, handshakesFailed atomic.Uint64
	requestsBad, requestsRefused                                                   atomic.Uint64
}

// greeted counts a handshake that is done.
func (c *counters) greeted(resumed bool) {
	c.handshakes.Add(1)
	if resumed {
		c.handshakesResumed.Add(1)
	}
}

// Stats are counters since the start, and the connections open now.
type Stats struct {
	Unread          uint64 // packets that the kernel dropped: more came than could be answered
	Unsent          uint64 // replies that the kernel did not take
	StreamsRefused  uint64 // connections beyond the bound
	StreamsReplaced uint64 // idle connections closed to make room for others
	StreamsCut      uint64 // connections closed on slow or wrong clients
	AcceptsFailed   uint64 // connections that could not be taken: too many open files
	ProxiesRefused  uint64 // connections of trusted proxies that did not say whose they are
	Streams         int

	Handshakes        uint64 // of TLS that were completed
	HandshakesResumed uint64 // of these, those of clients that were here before
	HandshakesFailed  uint64

	RequestsBad     uint64 // requests of HTTPS and QUIC without a query
	RequestsRefused uint64 // requests beyond the bound, or not answered
}

// portTries is how often a port is chosen anew that is free for UDP and taken
// for TCP.
const portTries = 20

// Open binds all addresses, so that a server that starts answers on all. Nothing
// is read before Start.
func Open(o Options) (*Listeners, error) {
	if o.Readers == 0 {
		o.Readers = min(runtime.NumCPU(), 4) // not GOMAXPROCS, which leaves room for others
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if most := descriptorLimit() / 2; o.Streams > most {
		o.Logger.Warn("fewer TCP connections are taken than are set: this process may have too few open files (see ulimit -n, LimitNOFILE)",
			"connections", most, "set", o.Streams, "open files", descriptorLimit())
		o.Streams = most
	}
	l := &Listeners{options: o, reach: newReachability()}
	l.streams = newStreams(o.Streams, o.StreamTimes, &l.stats)
	if o.CatchPanic != nil {
		l.streams.catchPanic = o.CatchPanic
	}
	l.requests = newShare(max(requestsFor*o.Streams, 1))
	l.stopped, l.stop = context.WithCancel(context.Background())
	for _, addr := range o.Addrs {
		var one *listener
		var err error
		for try := 0; one == nil && try < portTries; try++ {
			if one, err = bindBoth(addr, o.Readers, &l.stats, l.reach); err != nil && addr.Port() != 0 {
				break
			}
		}
		if errors.Is(err, syscall.EAFNOSUPPORT) && addr.Addr().IsUnspecified() && len(o.Addrs) > 1 {
			o.Logger.Warn("this machine has no such addresses: not listening there", "listen", addr)
			continue
		}
		if err != nil {
			l.Close()
			return nil, err
		}
		if !isOfThisMachine(addr.Addr()) {
			o.Logger.Warn("this machine does not have the address yet: queries to it are answered once it does", "listen", addr)
		}
		l.all = append(l.all, one)
	}
	for _, addr := range o.TLS {
		if o.Certificates == nil {
			l.Close()
			return nil, errors.New("listening by TLS takes a certificate")
		}
		tcp, err := bindTCP(addr)
		if errors.Is(err, syscall.EAFNOSUPPORT) && addr.Addr().IsUnspecified() && len(o.TLS) > 1 {
			continue // said above
		}
		if err != nil {
			l.Close()
			return nil, err
		}
		l.tls = append(l.tls, tcp)
	}
	if err := errors.Join(l.listenWeb(), l.listenQUIC()); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// isOfThisMachine reports whether an interface has the address, as far as that can
// be known.
func isOfThisMachine(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil || addr.IsUnspecified() || addr.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().WithZone("") == addr.WithZone("")
	})
}

func bindBoth(addr netip.AddrPort, readers int, stats *counters, reach *reachability) (*listener, error) {
	udp, bound, err := listenUDP(addr, readers, stats, reach)
	if err != nil {
		return nil, &PortError{Addr: addr, Err: err, Holder: portHolder("udp", addr)}
	}
	l := &listener{addr: bound, udp: udp}
	if l.tcp, err = bindTCP(bound); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func bindTCP(addr netip.AddrPort) (*net.TCPListener, error) {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6" // and IPv6 alone: IPv4 has a socket of its own
	}
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, Control: controlEarly(addr.Addr())}
	tcp, err := config.Listen(context.Background(), network, addr.String())
	if err != nil {
		return nil, &PortError{Addr: addr, Err: err, Holder: portHolder("tcp", addr)}
	}
	return tcp.(*net.TCPListener), nil
}

func (l *listener) close() {
	for _, c := range l.udp {
		c.Close()
	}
	if l.tcp != nil {
		l.tcp.Close()
	}
}

// Addrs returns the addresses bound.
func (l *Listeners) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(l.all))
	for _, one := range l.all {
		addrs = append(addrs, one.addr)
	}
	return addrs
}

// TLSAddrs returns the addresses bound for TLS.
func (l *Listeners) TLSAddrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, tcp := range l.tls {
		addrs = append(addrs, tcp.Addr().(*net.TCPAddr).AddrPort())
	}
	return addrs
}

// Stats returns the counters as they stand.
func (l *Listeners) Stats() Stats {
	c := &l.stats
	return Stats{
		Unread: c.unread.Load(), Unsent: c.unsent.Load(),
		StreamsRefused: c.streamsRefused.Load(), StreamsReplaced: c.streamsReplaced.Load(), StreamsCut: c.streamsCut.Load(), Streams: l.streams.count(),
		AcceptsFailed: c.acceptsFailed.Load(), ProxiesRefused: c.proxiesRefused.Load(),
		Handshakes: c.handshakes.Load(), HandshakesResumed: c.handshakesResumed.Load(), HandshakesFailed: c.handshakesFailed.Load(),
		RequestsBad: c.requestsBad.Load(), RequestsRefused: c.requestsRefused.Load(),
	}
}

// Start begins to read.
func (l *Listeners) Start() {
	for _, one := range l.all {
		for _, conn := range one.udp {
			l.readers.Go(func() { l.readUDP(conn) })
		}
		l.readers.Go(func() { l.accept(one.tcp, l.takeTCP) })
	}
	if len(l.tls) > 0 {
		config := l.options.Certificates.Config(protocolDoT) // one: a session is resumed by any address
		for _, tcp := range l.tls {
			l.readers.Go(func() { l.accept(tcp, l.takeTLS(config)) })
		}
	}
	l.startWeb()
	l.startQUIC()
}

// Stop ends all reading. Sockets stay open for replies under way.
func (l *Listeners) Stop() {
	l.stop()
	for _, one := range l.all {
		for _, c := range one.udp {
			c.wake()
		}
		one.tcp.Close()
	}
	for _, tcp := range l.tls {
		tcp.Close()
	}
	l.gate.close()
	for _, wl := range l.web {
		wl.stop()
	}
	for _, ql := range l.quic {
		ql.stop()
	}
	l.streams.stop()
}

// WaitReaders returns when, after Stop, nothing is read any more.
func (l *Listeners) WaitReaders() {
	l.readers.Wait()
	l.gate.inside.Wait()
}

// Close closes the sockets; after Start, Stop must have been called. Answers to
// connections are still written; nothing else may use a socket any more.
func (l *Listeners) Close() {
	l.stop()
	l.readers.Wait()
	l.writers.Wait()
	l.reach.close()
	for _, one := range l.all {
		one.close()
	}
	for _, tcp := range l.tls {
		tcp.Close()
	}
	for _, wl := range l.web {
		wl.tcp.Close()
	}
	for _, ql := range l.quic {
		ql.close()
	}
}

// readUDP answers queries from conn until Stop.
func (l *Listeners) readUDP(conn *UDPConn) {
	handler := l.options.Handler.NewBatchHandler(conn)
	monitor := l.newMonitor(conn)
	for l.stopped.Err() == nil {
		if err := conn.read(l.stopped, handler, monitor); err != nil && l.stopped.Err() == nil {
			l.options.Logger.Error("cannot receive queries", "error", err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	monitor.Close(time.Now())
}

func (l *Listeners) newMonitor(conn *UDPConn) *overload.Monitor {
	return overload.NewMonitor(overload.Options{
		Socket: conn, Prefix6: l.options.ClientPrefix,
		Dropped: func(packets uint64) { l.stats.unread.Add(packets) },
		Report:  l.options.ReportOverload, Unnamed: l.options.Unnamed,
	})
}

func addrPortOf(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := u.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
