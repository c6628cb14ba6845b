package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telltale/config"
	"telltale/resolver/listen/certs"
	"telltale/web"
	"telltale/web/ui"
)

// A consoleServer serves the API and the console on the addresses of web.listen.
type consoleServer struct {
	handler *web.Network
	server  *http.Server
	serving sync.WaitGroup

	greeting atomic.Pointer[tls.Config] // nil: in clear
	proxies  atomic.Pointer[[]netip.Prefix]

	bounds connectionBounds

	mu        sync.Mutex
	settings  config.Web // in force
	listeners map[netip.AddrPort]*boundedListener
	own       *certs.Source // of web.tls own; nil for none
}

// Bounds of what strangers can hold, of all addresses together. Behind a proxy all connections are its own.
const (
	networkConnections = 256
	networkPerClient   = 32
	networkWriteTime   = 30 * time.Second // for each write: a client that reads nothing is cut off
)

// serverMessages are what package http says. Strangers cause most of it.
type serverMessages struct{ logger *slog.Logger }

func (m serverMessages) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte("panic")) {
		m.logger.Error("a request of the network met an internal error", "error", string(text))
	} else {
		m.logger.Debug("web.listen", "message", string(bytes.TrimSpace(text)))
	}
	return len(text), nil
}

// newNetwork returns what serves nothing yet.
func (a *app) newNetwork() *consoleServer {
	n := &consoleServer{listeners: map[netip.AddrPort]*boundedListener{}}
	n.handler = web.NewNetwork(a.api, a.newProber(web.Files(ui.Files())), a.access, a.logger)
	n.server = &http.Server{
		Handler: n.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(serverMessages{a.logger}, "", 0),
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 32},
	}
	n.proxies.Store(&[]netip.Prefix{})
	return n
}

// A networkChange is settings that can be put in force: their addresses are bound, and
// their certificate is read. It holds the server's lock until commit or discard.
type networkChange struct {
	a        *app
	n        *consoleServer
	to       config.Web
	greeting *tls.Config
	own      *certs.Source
	added    map[netip.AddrPort]*boundedListener
	parked   []netip.AddrPort // closed so that others could be bound
}

// prepareNetwork binds what settings name. Where that fails, what was in force stays.
func (a *app) prepareNetwork(n *consoleServer, w config.Web) (*networkChange, error) {
	n.mu.Lock()
	c := &networkChange{a: a, n: n, to: w, added: map[netip.AddrPort]*boundedListener{}}
	var err error
	if c.greeting, c.own, err = a.networkTLS(w, n.settings, n.own); err == nil {
		err = c.bind()
	}
	if err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

// bind listens on those addresses that are not listened on yet. One that is to go and
// has the same port is closed first: 0.0.0.0 cannot be had beside it.
func (c *networkChange) bind() error {
	for _, addr := range c.to.Listen {
		if c.n.listeners[addr] != nil || c.added[addr] != nil {
			continue
		}
		for old, l := range c.n.listeners {
			if old.Port() == addr.Port() && !slices.Contains(c.to.Listen, old) && !slices.Contains(c.parked, old) {
				l.Close()
				c.parked = append(c.parked, old)
			}
		}
		l, err := c.n.listen(addr)
		if err != nil {
			return fmt.Errorf("web.listen: %w (take another address or port, or end what has it)", err)
		}
		c.added[addr] = l
	}
	return nil
}

// discard leaves in force what is.
func (c *networkChange) discard() {
	defer c.n.mu.Unlock()
	for _, l := range c.added {
		l.Close()
	}
	for _, addr := range c.parked {
		l, err := c.n.listen(addr)
		if err != nil {
			c.a.logger.Error("web.listen: an address is not answered on any more", "address", addr, "error", err)
			delete(c.n.listeners, addr)
			continue
		}
		c.serve(addr, l)
	}
	if c.own != nil && c.own != c.n.own {
		c.own.Close()
	}
}

// commit puts it in force.
func (c *networkChange) commit() {
	n := c.n
	defer n.mu.Unlock()
	n.greeting.Store(c.greeting)
	n.proxies.Store(&c.to.Proxies)
	n.handler.Use(&web.NetworkSettings{Path: c.to.Path, Hosts: c.to.Hosts, Proxies: c.to.Proxies})
	for addr, l := range n.listeners {
		if !slices.Contains(c.to.Listen, addr) {
			l.Close()
			delete(n.listeners, addr)
		}
	}
	for addr, l := range c.added {
		c.serve(addr, l)
		c.a.warnInClear(addr, c.to)
	}
	if n.own != nil && n.own != c.own {
		n.own.Close()
	}
	n.settings, n.own = c.to, c.own
}

func (c *networkChange) serve(addr netip.AddrPort, l *boundedListener) {
	c.n.listeners[addr] = l
	c.n.serving.Go(func() {
		if err := c.n.server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			c.a.logger.Error("web.listen: an address is not answered on any more", "address", addr, "error", err)
		}
	})
}

func (n *consoleServer) listen(addr netip.AddrPort) (*boundedListener, error) {
	l, err := net.Listen(networkOf(addr), addr.String())
	if err != nil {
		return nil, err
	}
	return &boundedListener{Listener: l, server: n}, nil
}

// warnInClear says that others can read along.
func (a *app) warnInClear(addr netip.AddrPort, w config.Web) {
	if w.TLS == "none" && !addr.Addr().IsLoopback() && len(w.Proxies) == 0 {
		a.logger.Warn("web.listen: the console answers in clear, so that whoever is on the way reads pass phrases: set web.tls where you do not trust the network", "address", addr)
	}
}

// networkTLS returns by what clients are greeted; nil for nothing, in clear. was and had
// are the settings and the source in force.
func (a *app) networkTLS(w, was config.Web, had *certs.Source) (*tls.Config, *certs.Source, error) {
	protocols := []string{"h2", "http/1.1"}
	switch {
	case len(w.Listen) == 0:
		return nil, nil, nil
	case w.TLS == config.WebTLSShared && a.certificates == nil:
		return nil, nil, errors.New("web.tls: the certificates of tls are not in use yet: they come into force with a restart")
	case w.TLS == config.WebTLSShared:
		return a.certificates.Config(protocols...), nil, nil
	case w.TLS != config.WebTLSOwn:
		return nil, nil, nil
	case had != nil && was.Certificate == w.Certificate && was.Key == w.Key:
		return had.Config(protocols...), had, nil
	}
	own, err := certs.Open(certs.Options{Files: []certs.Files{{Certificate: w.Certificate, Key: w.Key}}, Logger: a.logger})
	if err != nil {
		return nil, nil, fmt.Errorf("web.certificate: %w", err)
	}
	return own.Config(protocols...), own, nil
}

// networkOf keeps 0.0.0.0 to IPv4, so that [::] may stand beside it.
func networkOf(addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// addrs returns where it listens, with the ports that were chosen for 0.
func (n *consoleServer) addrs() (all []netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, addr := range n.settings.Listen {
		if l := n.listeners[addr]; l != nil {
			if at, ok := l.Addr().(*net.TCPAddr); ok {
				all = append(all, at.AddrPort())
			}
		}
	}
	return all
}

// close ends all listening and all requests.
func (n *consoleServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if n.server.Shutdown(ctx) != nil {
		n.server.Close() // streams do not end by themselves
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.listeners {
		l.Close()
	}
	n.serving.Wait()
	if n.own != nil {
		n.own.Close()
	}
}

// A boundedListener takes as many connections as the bounds of its server allow.
type boundedListener struct {
	net.Listener
	server *consoleServer
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		bounds, client := &l.server.bounds, clientOf(c)
		if !bounds.take(client, *l.server.proxies.Load()) {
			c.Close()
			continue
		}
		bounded := &boundedConn{Conn: c, done: sync.OnceFunc(func() { bounds.release(client) })}
		if greeting := l.server.greeting.Load(); greeting != nil {
			return tls.Server(bounded, greeting), nil
		}
		return bounded, nil
	}
}

// clientOf returns the address of a connection.
func clientOf(c net.Conn) netip.Addr {
	at, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return at.AddrPort().Addr().Unmap().WithZone("")
}

// connectionBounds let so many connections be open at once, and of one client only a part.
type connectionBounds struct {
	mu        sync.Mutex
	open      int
	perClient map[netip.Addr]int
}

// hostOf returns as what a client is counted: of IPv6 by the prefix that a host has.
func hostOf(client netip.Addr) netip.Addr {
	if p, err := client.Prefix(64); err == nil && client.Is6() {
		return p.Addr()
	}
	return client
}

func (b *connectionBounds) take(client netip.Addr, proxies []netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	isProxy := slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(client) })
	host := hostOf(client)
	if b.open >= networkConnections || !isProxy && b.perClient[host] >= networkPerClient {
		return false
	}
	if b.perClient == nil {
		b.perClient = map[netip.Addr]int{}
	}
	b.open++
	b.perClient[host]++
	return true
}

func (b *connectionBounds) release(client netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	host := hostOf(client)
	b.open--
	if b.perClient[host]--; b.perClient[host] == 0 {
		delete(b.perClient, host)
	}
}

// A boundedConn bounds the time of each write.
type boundedConn struct {
	net.Conn
	done func()
}

func (c *boundedConn) Write(b []byte) (int, error) {
	c.Conn.SetWriteDeadline(time.Now().Add(networkWriteTime))
	return c.Conn.Write(b)
}

func (c *boundedConn) Close() error {
	defer c.done()
	return c.Conn.Close()
}
