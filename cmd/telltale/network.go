package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"reflect"
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
	*httpListeners
	handler *web.Network

	greeting atomic.Pointer[tls.Config] // nil: in clear
	proxies  atomic.Pointer[[]netip.Prefix]

	bounds connectionBounds

	// Guarded by the lock of httpListeners.
	settings config.Web    // in force
	own      *certs.Source // of web.tls own; nil for none
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
	n := &consoleServer{handler: web.NewNetwork(a.api, a.newProber(web.Files(ui.Files())), a.access, a.logger)}
	n.httpListeners = &httpListeners{
		setting: "web.listen", logger: a.logger, answered: map[netip.AddrPort]*answeredAddress{},
		open: func(l net.Listener) net.Listener { return &boundedListener{Listener: l, server: n} },
		server: func() *http.Server {
			return &http.Server{
				Handler: n.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
				ErrorLog: log.New(serverMessages{a.logger}, "", 0),
				HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 32},
			}
		},
	}
	n.proxies.Store(&[]netip.Prefix{})
	return n
}

// A networkChange is settings that can be put in force: their addresses are bound, and
// their certificate is read. It holds the server's lock until commit or discard.
type networkChange struct {
	*addressChange
	a        *app
	n        *consoleServer
	to       config.Web
	greeting *tls.Config
	own      *certs.Source
}

// prepareNetwork binds what settings name. Where that fails, what was in force stays.
func (a *app) prepareNetwork(n *consoleServer, w config.Web) (*networkChange, error) {
	bound, err := n.prepare(w.Listen)
	if err != nil {
		return nil, err
	}
	c := &networkChange{addressChange: bound, a: a, n: n, to: w}
	if c.greeting, c.own, err = a.networkTLS(w, n.settings, n.own); err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

// discard leaves in force what is.
func (c *networkChange) discard() {
	if c.own != nil && c.own != c.n.own {
		c.own.Close()
	}
	c.addressChange.discard()
}

// commit puts it in force.
func (c *networkChange) commit() {
	n := c.n
	n.greeting.Store(c.greeting)
	n.proxies.Store(&c.to.Proxies)
	n.handler.Use(&web.NetworkSettings{Path: c.to.Path, Hosts: c.to.Hosts, Proxies: c.to.Proxies})
	for addr := range c.added {
		c.a.warnInClear(addr, c.to)
	}
	if n.own != nil && n.own != c.own {
		n.own.Close()
	}
	n.settings, n.own = c.to, c.own
	c.addressChange.commit()
}

// A listenersChange is what can be put in force of web and metrics.
type listenersChange struct {
	a           *app
	web         *networkChange
	metrics     *addressChange
	counted, to config.Metrics
}

// prepareListeners binds the addresses of changed settings. Where one cannot be had, what is
// in force stays. A change ends by commit, or by end.
func (a *app) prepareListeners(was, is *config.Config) (*listenersChange, error) {
	c := &listenersChange{a: a, counted: was.Metrics, to: is.Metrics}
	var err error
	if !reflect.DeepEqual(was.Web, is.Web) {
		if c.web, err = a.prepareNetwork(a.network, is.Web); err != nil {
			return nil, err
		}
	}
	if !reflect.DeepEqual(was.Metrics, is.Metrics) {
		if c.metrics, err = a.metrics.prepare(is.Metrics.Listen); err != nil {
			c.end()
			return nil, err
		}
	}
	return c, nil
}

// commit puts it in force.
func (c *listenersChange) commit() {
	if c.web != nil {
		c.web.commit()
		c.web = nil
	}
	if c.metrics != nil {
		c.a.countLookups(c.counted, c.to)
		c.metrics.commit()
		c.metrics = nil
	}
}

// end leaves in force what is, unless commit was called.
func (c *listenersChange) end() {
	if c.web != nil {
		c.web.discard()
	}
	if c.metrics != nil {
		c.metrics.discard()
	}
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

// close ends all listening and all requests.
func (n *consoleServer) close() {
	n.httpListeners.close()
	n.mu.Lock()
	defer n.mu.Unlock()
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
