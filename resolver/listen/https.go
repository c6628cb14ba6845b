package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"telltale/dnswire"
	"telltale/resolver/packets"
)

// DNS over HTTPS (RFC 8484). net/http speaks HTTP/1.1 and HTTP/2, and bounds what one
// connection may cost: handlers at work are at most requestStreams (a client that
// resets streams faster than their handlers end is sent away when four times as many
// wait: rapid reset, CVE-2023-44487); a header is at most requestHeader, also over many
// CONTINUATION frames (CVE-2023-45288); more than 10,000 frames that wait to be sent in
// answer to SETTINGS and PING end the connection (CVE-2019-9512, -9515). Here is what it
// leaves open: how many connections there are, for whom, and for how long.
const (
	dnsPath        = "/dns-query"
	dnsMediaType   = "application/dns-message"
	requestStreams = 64       // requests of one connection at once
	requestHeader  = 16 << 10 // octets; a GET has its query there, half as long again in base64
	requestsFor    = 8        // requests at once, for each connection that may be open
)

// A web answers DNS over HTTPS.
type web struct{ l *Listeners }

// A webListener is one address of a web.
type webListener struct {
	web    *web
	tcp    *net.TCPListener
	clear  bool // without TLS, for trusted proxies alone
	server *http.Server
	conns  chan net.Conn // taken, for the server to accept
}

// connKey is the key of a connection's *requester in the context of its requests.
type connKey struct{}

// listenWeb binds the addresses of DNS over HTTPS.
func (l *Listeners) listenWeb() error {
	o := &l.options
	if len(o.HTTPS) > 0 && o.Certificates == nil {
		return errors.New("listening by HTTPS takes a certificate")
	}
	w := &web{l}
	for _, part := range []struct {
		addrs []netip.AddrPort
		clear bool
	}{{o.HTTPS, false}, {o.HTTP, true}} {
		for _, addr := range part.addrs {
			err := w.listen(addr, part.clear)
			if errors.Is(err, syscall.EAFNOSUPPORT) && addr.Addr().IsUnspecified() && len(part.addrs) > 1 {
				continue // this machine has no such addresses
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// listen binds an address: of HTTP in clear, or of HTTPS and HTTP/3.
func (w *web) listen(addr netip.AddrPort, clear bool) error {
	for try := 1; ; try++ {
		tcp, err := bindTCP(addr)
		if err != nil {
			return err
		}
		if !clear {
			err = w.listenHTTP3(netip.AddrPortFrom(addr.Addr(), tcp.Addr().(*net.TCPAddr).AddrPort().Port()))
		}
		if err == nil {
			w.l.web = append(w.l.web, w.newListener(tcp, clear))
			return nil
		}
		tcp.Close()
		if addr.Port() != 0 || try >= portTries {
			return err
		}
	}
}

func (w *web) newListener(tcp *net.TCPListener, clear bool) *webListener {
	wl := &webListener{web: w, tcp: tcp, clear: clear, conns: make(chan net.Conn)}
	protocols, times := new(http.Protocols), &w.l.streams.times
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!clear)
	protocols.SetUnencryptedHTTP2(clear)
	wl.server = &http.Server{
		Handler: w, Protocols: protocols, MaxHeaderBytes: requestHeader,
		IdleTimeout: times.IdleTLS, ReadHeaderTimeout: times.Handshake, ReadTimeout: times.Handshake,
		WriteTimeout: times.Handshake + times.Answer + times.Write,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: requestStreams, MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 256 << 10,
			CountError: func(string) { w.l.stats.streamsCut.Add(1) }, // what a client does wrong in HTTP/2
		},
		ErrorLog: log.New(&badClients{w.l}, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if t, ok := c.(*tls.Conn); ok {
				c = t.NetConn()
			}
			return context.WithValue(ctx, connKey{}, &c.(*webConn).requester)
		},
	}
	return wl
}

// badClients counts what net/http would log: what clients did wrong.
type badClients struct{ l *Listeners }

func (b *badClients) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("TLS handshake error")) {
		b.l.stats.handshakesFailed.Add(1)
	} else {
		b.l.stats.streamsCut.Add(1)
	}
	return len(line), nil
}

// WebAddrs returns the addresses bound for HTTPS, or for HTTP in clear.
func (l *Listeners) WebAddrs(clear bool) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, wl := range l.web {
		if wl.clear == clear {
			addrs = append(addrs, wl.tcp.Addr().(*net.TCPAddr).AddrPort())
		}
	}
	return addrs
}

// startWeb begins to answer DNS over HTTPS.
func (l *Listeners) startWeb() {
	for _, wl := range l.web {
		l.readers.Go(func() { l.accept(wl.tcp, wl.take) })
		l.writers.Go(wl.serve)
	}
}

// serve answers until stop.
func (wl *webListener) serve() {
	if wl.clear {
		wl.server.Serve(wl)
		return
	}
	stats := &wl.web.l.stats
	config := wl.web.l.options.Certificates.Config("h2", "http/1.1")
	config.VerifyConnection = func(c tls.ConnectionState) error {
		stats.greeted(c.DidResume)
		return nil
	}
	wl.server.TLSConfig = config
	wl.server.ServeTLS(wl, "", "")
}

// stop ends reading. Answers under way are still written, by the goroutines that it
// begins.
func (wl *webListener) stop() {
	wl.tcp.Close()
	times := &wl.web.l.streams.times
	ctx, cancel := context.WithTimeout(context.Background(), times.Answer+times.Write)
	wl.web.l.writers.Go(func() {
		defer cancel()
		wl.server.Shutdown(ctx)
		wl.server.Close()
	})
	wl.web.l.writers.Go(func() { // Shutdown would wait for connections that have not begun to ask
		defer cancel()
		const flush = 200 * time.Millisecond // for what handlers that have ended left to be written
		for ctx.Err() == nil && !wl.web.l.requests.isEmpty() {
			time.Sleep(10 * time.Millisecond)
		}
		select {
		case <-ctx.Done():
		case <-time.After(flush):
		}
	})
}

// take admits a connection, and hands it to the server.
func (wl *webListener) take(conn *net.TCPConn, client netip.AddrPort) {
	l := wl.web.l
	c := &webConn{TCPConn: conn, streams: l.streams}
	c.init(conn, func() bool { return c.asking.Load() > 0 })
	c.stopRead = func() {} // Shutdown does
	c.isProxy = l.isTrustedProxy(client.Addr())
	if !wl.clear {
		c.altSvc = fmt.Sprintf(`h3=":%d"; ma=86400`, wl.tcp.Addr().(*net.TCPAddr).Port)
	}
	if wl.clear && !c.isProxy {
		l.stats.streamsRefused.Add(1)
		conn.Close()
		return
	}
	if !l.admit(&c.place, client.Addr()) {
		return
	}
	select {
	case wl.conns <- c:
	case <-l.stopped.Done():
		c.Close()
	}
}

// Accept returns the next connection that was taken (net.Listener).
func (wl *webListener) Accept() (net.Conn, error) {
	select {
	case c := <-wl.conns:
		return c, nil
	case <-wl.web.l.stopped.Done():
		return nil, net.ErrClosed
	}
}

// Addr returns the address bound (net.Listener).
func (wl *webListener) Addr() net.Addr { return wl.tcp.Addr() }

// Close stops accepting (net.Listener).
func (wl *webListener) Close() error { return wl.tcp.Close() }

// A requester is a connection on which requests come, with its place among all.
type requester struct {
	place
	asking atomic.Int32 // requests at work
	altSvc string       // where HTTP/3 is, for who does not speak it (RFC 7838); "" for nowhere
}

func (c *requester) begin() { c.asking.Add(1) }

func (c *requester) end() {
	c.used.Store(time.Now().UnixNano())
	c.asking.Add(-1)
}

// A webConn is a connection of TCP.
type webConn struct {
	*net.TCPConn
	requester
	streams *streams
}

// Close closes the connection, and gives up its place.
func (c *webConn) Close() error {
	c.streams.remove(&c.place)
	return c.TCPConn.Close()
}

// isTrustedProxy reports whether a client is a reverse proxy that says for whom it asks.
func (l *Listeners) isTrustedProxy(a netip.Addr) bool {
	return isAmong(l.options.TrustedProxies, a)
}

// isAmong reports whether an address is in one of these networks.
func isAmong(all []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a.WithZone("")) })
}

// A refusal is an answer to a request without a query.
type refusal struct {
	status int
	text   string
}

var (
	errNoPath   = &refusal{http.StatusNotFound, "DNS over HTTPS is at " + dnsPath + ", or " + dnsPath + "/ID with the id of a client"}
	errMethod   = &refusal{http.StatusMethodNotAllowed, "DNS over HTTPS is asked by GET or POST"}
	errMedia    = &refusal{http.StatusUnsupportedMediaType, "a query is of the type " + dnsMediaType}
	errTooLarge = &refusal{http.StatusRequestEntityTooLarge, "no query is as long as this"}
	errSlow     = &refusal{http.StatusRequestTimeout, "the query did not come in time"}
	errNoQuery  = &refusal{http.StatusBadRequest, "no query: GET has it in dns=, in base64url without padding (RFC 8484), POST as its body"}
	errNoClient = &refusal{http.StatusBadRequest, "the proxy does not say for whom it asks: let it set X-Forwarded-For"}
	errBusy     = &refusal{http.StatusServiceUnavailable, "too many queries are under way"}
	errInternal = &refusal{http.StatusInternalServerError, "internal error"}
)

// ServeHTTP answers one request.
func (w *web) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*requester)
	c.begin()
	defer c.end()
	header := out.Header()
	if c.altSvc != "" {
		header["Alt-Svc"] = []string{c.altSvc}
	}
	var limits *http.ResponseController
	if r.ProtoMajor == 3 { // http3.Server has no time limits of its own
		limits = http.NewResponseController(out)
		limits.SetReadDeadline(time.Now().Add(w.l.streams.times.Handshake))
	}
	reply, why := w.answer(r, c)
	if limits != nil {
		limits.SetWriteDeadline(time.Now().Add(w.l.streams.times.Write))
	}
	if why != nil {
		w.refuse(out, why)
		return
	}
	header["Content-Type"] = []string{dnsMediaType}
	header["Cache-Control"] = []string{"no-store"}
	if seconds, ok := dnswire.Freshness(reply); ok {
		header["Cache-Control"] = []string{"private, max-age=" + strconv.FormatUint(uint64(seconds), 10)} // answers differ by who asks
	}
	header["Content-Length"] = []string{strconv.Itoa(len(reply))}
	out.Write(reply)
}

func (w *web) refuse(out http.ResponseWriter, why *refusal) {
	switch why {
	case errBusy:
		w.l.stats.requestsRefused.Add(1)
	case errInternal:
	default:
		w.l.stats.requestsBad.Add(1)
	}
	if why == errMethod {
		out.Header().Set("Allow", "GET, POST")
	}
	http.Error(out, why.text, why.status)
}

// answer returns the reply to the query in a request, which came on c.
func (w *web) answer(r *http.Request, c *requester) ([]byte, *refusal) {
	arrival, why := w.arrivalOf(r, c)
	if why != nil {
		return nil, why
	}
	account := w.l.account(&arrival)
	if !w.l.requests.take(account) {
		return nil, errBusy
	}
	defer w.l.requests.give(account)
	if !c.isProxy {
		w.l.streams.recount(&c.place, account)
	}
	packet, why := queryOf(r)
	if why != nil {
		return nil, why
	}
	m := newMessage(arrival)
	if why := w.l.hand(packet, m); why != nil {
		return nil, why
	}
	select {
	case reply := <-m.reply:
		if len(reply) == 0 {
			return nil, errBusy // it was shed, or a rule drops it
		}
		return reply, nil
	case <-r.Context().Done(): // the client has gone; what it asked is answered and logged all the same
		return nil, errBusy
	}
}

// arrivalOf returns who asks, and by which name.
func (w *web) arrivalOf(r *http.Request, c *requester) (a Arrival, why *refusal) {
	id, ok := idOfPath(r.URL.Path)
	if !ok {
		return a, errNoPath
	}
	a.Transport, a.ClientID = HTTPS, id
	if r.TLS != nil {
		a.ServerName = strings.ToLower(r.TLS.ServerName)
	}
	if a.ClientID == "" {
		a.ClientID = w.l.idOfServerName(a.ServerName)
	}
	if a.Client, ok = w.clientOf(r, c); !ok {
		return a, errNoClient
	}
	return a, nil
}

// idOfPath returns the client id in a path, "" where it has none, and whether queries
// are answered there at all.
func idOfPath(path string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(path, dnsPath)
	if !ok || rest == "" {
		return "", ok
	}
	if rest == "/" {
		return "", true
	}
	if rest[0] != '/' {
		return "", false
	}
	return CleanClientID(rest[1:])
}

// clientOf returns who asks: the other end of the connection, or, where that is a
// trusted proxy, whom it asks for. X-Forwarded-For is read from its right end, which
// the proxy has written: the first address that is no trusted proxy's is the client's;
// what stands before it anybody may have made up.
func (w *web) clientOf(r *http.Request, c *requester) (client netip.AddrPort, ok bool) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if err != nil || !c.isProxy {
		return from, err == nil
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := forwardedAddr(strings.TrimSpace(hops[i]))
		if !ok {
			return netip.AddrPort{}, false
		}
		client = netip.AddrPortFrom(hop, 0)
		if !w.l.isTrustedProxy(hop) {
			break
		}
	}
	return client, true
}

// forwardedAddr reads an address of X-Forwarded-For, which some proxies write with a
// port, and IPv6 ones with brackets.
func forwardedAddr(text string) (netip.Addr, bool) {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return a.Unmap().WithZone(""), err == nil
}

// queryOf returns the query in a request.
func queryOf(r *http.Request) (packet []byte, why *refusal) {
	switch r.Method {
	case http.MethodGet:
		packet, why = queryOfURL(r.URL)
	case http.MethodPost:
		packet, why = queryOfBody(r)
	default:
		return nil, errMethod
	}
	if why == nil && (len(packet) < dnswire.HeaderLen || packet[2]&0x80 != 0) { // nobody answers a response
		return nil, errNoQuery
	}
	return packet, why
}

func queryOfURL(u *url.URL) ([]byte, *refusal) {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(values["dns"]) != 1 {
		return nil, errNoQuery
	}
	text := values["dns"][0]
	if base64.RawURLEncoding.DecodedLen(len(text)) > packets.MaxSize {
		return nil, errTooLarge
	}
	packet, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, errNoQuery
	}
	return packet, nil
}

func queryOfBody(r *http.Request) ([]byte, *refusal) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != dnsMediaType {
		return nil, errMedia
	}
	if r.ContentLength > packets.MaxSize {
		return nil, errTooLarge
	}
	packet, err := io.ReadAll(io.LimitReader(r.Body, packets.MaxSize+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errSlow
	case err != nil:
		return nil, errNoQuery
	case len(packet) > packets.MaxSize:
		return nil, errTooLarge
	}
	return packet, nil
}
