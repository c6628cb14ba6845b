package listen

import (
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

// DNS over HTTPS (RFC 8484). HTTP/2, which nearly all clients speak, is read and written
// here (http2.go); net/http speaks HTTP/1.1, quic-go HTTP/3 (quic.go).
const (
	dnsPath        = "/dns-query"
	dnsMediaType   = "application/dns-message"
	requestStreams = 64                  // requests of one connection at once
	requestHeader  = 16 << 10            // octets; a GET has its query there, half as long again in base64
	requestsFor    = 8                   // requests at once, for each connection that may be open
	cachePrivate   = "private, max-age=" // answers differ by who asks
	cacheNothing   = "no-store"
	allowedMethods = "GET, POST"
)

// A web answers DNS over HTTPS.
type web struct {
	l    *Listeners
	date dateText
}

// A dateText is the time as HTTP writes it, made once a second. Any goroutine may use it.
type dateText struct{ last atomic.Pointer[datedText] }

type datedText struct {
	second int64
	text   string
}

func (d *dateText) at(now time.Time) string {
	last := d.last.Load()
	if last == nil || last.second != now.Unix() {
		last = &datedText{now.Unix(), now.UTC().Format(http.TimeFormat)}
		d.last.Store(last)
	}
	return last.text
}

// A webListener is one address of a web.
type webListener struct {
	web    *web
	tcp    *net.TCPListener
	clear  bool // without TLS, for trusted proxies alone
	tls    *tls.Config
	server *http.Server  // of HTTP/1.1
	conns  chan net.Conn // of HTTP/1.1, for the server to accept
}

// connKey is the key of a connection's *requester in the context of its requests.
type connKey struct{}

// listenWeb binds the addresses of DNS over HTTPS.
func (l *Listeners) listenWeb() error {
	o := &l.options
	if len(o.HTTPS) > 0 && o.Certificates == nil {
		return errors.New("listening by HTTPS takes a certificate")
	}
	w := &web{l: l}
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
	if !clear {
		wl.tls = w.l.options.Certificates.Config("h2", "http/1.1")
	}
	wl.server = &http.Server{
		Handler: w, Protocols: protocols, MaxHeaderBytes: requestHeader,
		IdleTimeout: times.IdleTLS, ReadHeaderTimeout: times.Handshake, ReadTimeout: times.Handshake,
		WriteTimeout: times.Handshake + times.Answer + times.Write,
		ErrorLog:     log.New(&badClients{w.l}, "", 0),
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
	b.l.stats.streamsCut.Add(1)
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
		l.writers.Go(func() { wl.server.Serve(wl) })
	}
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

// take admits a connection, and lets it be served.
func (wl *webListener) take(conn *net.TCPConn, client netip.AddrPort) {
	l := wl.web.l
	c := &webConn{TCPConn: conn, client: client, streams: l.streams}
	c.init(conn, func() bool { return c.asking.Load() > 0 })
	c.stopRead = c.stopReading
	c.isProxy = l.isTrustedProxy(client.Addr())
	if !wl.clear && SpeaksQUIC {
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
	l.readers.Add(1)
	l.writers.Go(func() { wl.greet(c) })
}

// greet finds out which HTTP a client speaks, and lets it be answered. It ends what take
// has begun of l.readers.
func (wl *webListener) greet(c *webConn) {
	l := wl.web.l
	arrival := Arrival{Client: c.client, Transport: HTTPS}
	if wl.clear {
		head, isHTTP2, ok := c.readHead(l.streams)
		switch {
		case !ok:
			c.Close()
			l.readers.Done()
		case isHTTP2:
			wl.web.serveHTTP2(c, &c.requester, arrival, head, l.readers.Done)
		default:
			c.head = head
			wl.giveToServer(c, c)
		}
		return
	}
	conn := tls.Server(c, wl.tls)
	if !l.handshake(conn) {
		c.Close()
		l.readers.Done()
		return
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != "h2" {
		wl.giveToServer(c, conn)
		return
	}
	arrival.ServerName = strings.ToLower(state.ServerName)
	arrival.ClientID = l.idOfServerName(arrival.ServerName)
	l.writers.Go(func() { wl.web.serveHTTP2(conn, &c.requester, arrival, nil, l.readers.Done) }) // a handshake's stack is large
}

// giveToServer lets net/http answer a connection.
func (wl *webListener) giveToServer(c *webConn, conn net.Conn) {
	defer wl.web.l.readers.Done()
	c.handed.Store(true)
	c.SetReadDeadline(time.Time{}) // which a stop may have set
	select {
	case wl.conns <- conn:
	case <-wl.web.l.stopped.Done():
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
	client  netip.AddrPort // who is at its other end, or whom a proxy names
	streams *streams
	head    []byte      // what has been read and is yet to be
	handed  atomic.Bool // net/http has it
}

// stopReading lets nothing be read any more, but where net/http reads, which is told by
// Shutdown.
func (c *webConn) stopReading() {
	if !c.handed.Load() {
		c.SetReadDeadline(time.Unix(1, 0))
	}
}

// readHead reads as much as tells whether a client begins to speak HTTP/2; ok is false
// where it says nothing in time.
func (c *webConn) readHead(streams *streams) (head []byte, isHTTP2, ok bool) {
	c.SetReadDeadline(time.Now().Add(streams.times.Handshake))
	if streams.stopped.Load() { // it may have been stopped before the deadline was set
		return nil, false, false
	}
	for head = make([]byte, 0, len(http2Preface)); ; {
		if !strings.HasPrefix(http2Preface, string(head)) {
			return head, false, true
		}
		if len(head) == len(http2Preface) {
			return head, true, true
		}
		n, err := c.TCPConn.Read(head[len(head):cap(head)])
		if head = head[:len(head)+n]; n == 0 && err != nil {
			return nil, false, false
		}
	}
}

// Read reads what comes, and before that what has been read already.
func (c *webConn) Read(b []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(b, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.TCPConn.Read(b)
}

// RemoteAddr returns whose the connection is.
func (c *webConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.client) }

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
	errHeader   = &refusal{http.StatusRequestHeaderFieldsTooLarge, "the header is longer than any request's"}
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
	header["Cache-Control"] = []string{cacheNothing}
	if seconds, ok := dnswire.Freshness(reply); ok {
		header["Cache-Control"] = []string{cachePrivate + strconv.FormatUint(uint64(seconds), 10)}
	}
	header["Content-Length"] = []string{strconv.Itoa(len(reply))}
	out.Write(reply)
}

func (w *web) refuse(out http.ResponseWriter, why *refusal) {
	w.count(why)
	if why == errMethod {
		out.Header().Set("Allow", allowedMethods)
	}
	http.Error(out, why.text, why.status)
}

// count counts a refusal.
func (w *web) count(why *refusal) {
	switch why {
	case errBusy:
		w.l.stats.requestsRefused.Add(1)
	case errInternal:
	default:
		w.l.stats.requestsBad.Add(1)
	}
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
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return a, errNoClient
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if a.Client, ok = w.clientOf(from, strings.Join(r.Header["X-Forwarded-For"], ","), c); !ok {
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
func (w *web) clientOf(from netip.AddrPort, forwarded string, c *requester) (client netip.AddrPort, ok bool) {
	if !c.isProxy {
		return from, true
	}
	hops := strings.Split(forwarded, ",")
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
		packet, why = queryOfURL(r.URL.RawQuery, nil)
	case http.MethodPost:
		packet, why = queryOfBody(r)
	default:
		return nil, errMethod
	}
	if why == nil {
		why = checkQuery(packet)
	}
	return packet, why
}

// checkQuery says what is wrong with what is no query: nobody answers a response.
func checkQuery(packet []byte) *refusal {
	if len(packet) < dnswire.HeaderLen || packet[2]&0x80 != 0 {
		return errNoQuery
	}
	return nil
}

var inURL = base64.RawURLEncoding.Strict()

// queryOfURL returns what a URL's query has as dns=. It uses room, if that is large
// enough, also where it returns nothing.
func queryOfURL(query string, room []byte) ([]byte, *refusal) {
	text, ok := dnsOf(query)
	switch {
	case !ok || strings.ContainsAny(text, "\r\n"): // which the decoder skips
		return room[:0], errNoQuery
	case inURL.DecodedLen(len(text)) > packets.MaxSize:
		return room[:0], errTooLarge
	}
	room = append(room[:0], text...)
	room, err := inURL.AppendDecode(room, room)
	if err != nil {
		return room[:0], errNoQuery
	}
	return room[:copy(room, room[len(text):])], nil
}

// dnsOf returns the value of dns in a URL's query, which has one; it reads what url.ParseQuery
// reads, and keeps nothing else.
func dnsOf(query string) (text string, ok bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if strings.Contains(pair, ";") {
			return "", false
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return "", false
		}
		if name != "dns" {
			continue
		}
		if ok {
			return "", false
		}
		text, ok = value, true
	}
	return text, ok
}

// isDNSMedia reports whether a media type is that of DNS, with whatever parameters.
func isDNSMedia(media string) bool {
	if media == dnsMediaType {
		return true
	}
	plain, _, err := mime.ParseMediaType(media)
	return err == nil && plain == dnsMediaType
}

func queryOfBody(r *http.Request) ([]byte, *refusal) {
	if !isDNSMedia(r.Header.Get("Content-Type")) {
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
