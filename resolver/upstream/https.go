package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"telltale/dnswire"
)

const (
	dnsMessage = "application/dns-message" // the type of queries and replies (RFC 8484, 6)
	byGET      = "{?dns}"                  // at the end of a path: the query goes there (RFC 8484, 3)

	maxResponseHeader = 16 << 10
	maxMessage        = 1<<16 - 1
)

// An httpError means that a server has answered a request with no DNS message.
type httpError struct{ why string }

func (e *httpError) Error() string { return e.why }

// A requestTarget is where HTTP requests with queries go. It never changes.
type requestTarget struct {
	url    *url.URL
	get    bool
	header http.Header // the same for each request
}

func newRequestTarget(s Server) *requestTarget {
	host := s.tlsName()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := s.Addr.Port(); port != 443 {
		host += ":" + strconv.Itoa(int(port))
	}
	path, get := strings.CutSuffix(s.Path, byGET)
	path, query, _ := strings.Cut(path, "?")
	t := &requestTarget{get: get, header: http.Header{"Accept": {dnsMessage}, "User-Agent": nil}}
	t.url = &url.URL{Scheme: "https", Host: host, RawQuery: query}
	if plain, err := url.PathUnescape(path); err == nil {
		t.url.Path, t.url.RawPath = plain, path
	}
	if !get {
		t.header["Content-Type"] = []string{dnsMessage}
	}
	return t
}

// request returns the request with a query. It says nothing of this program, of a client, or
// of earlier requests.
func (t *requestTarget) request(ctx context.Context, query []byte) *http.Request {
	r := &http.Request{Method: http.MethodPost, URL: t.url, Host: t.url.Host, Header: t.header, ProtoMajor: 2}
	if t.get {
		u := *t.url
		u.RawQuery = "dns=" + base64.RawURLEncoding.EncodeToString(query)
		r.Method, r.URL = http.MethodGet, &u
	} else {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(query)), int64(len(query))
	}
	return r.WithContext(ctx)
}

// readResponse reads the reply from a response, and ends it.
func readResponse(response *http.Response) (*exchangeBuffer, int, error) {
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, 0, failedResponse("answered HTTP status %d %s instead of a DNS message", response.StatusCode, http.StatusText(response.StatusCode))
	}
	if is, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); is != dnsMessage {
		return nil, 0, failedResponse("answered with something of the type %.60q instead of a DNS message", response.Header.Get("Content-Type"))
	}
	if response.ContentLength > maxMessage {
		return nil, 0, failedResponse("answered with %d octets, more than a DNS message can have", response.ContentLength)
	}
	b, size, err := readReply(response.Body)
	if errors.Is(err, errTooLong) {
		return nil, 0, failedResponse("answered with more octets than a DNS message can have")
	}
	if err == nil {
		if age, err := strconv.ParseUint(response.Header.Get("Age"), 10, 31); err == nil {
			passTime(b.reply[:size], uint32(age))
		}
	}
	return b, size, err
}

func failedResponse(format string, args ...any) error {
	return &requestError{err: &httpError{fmt.Sprintf(format, args...)}}
}

// passTime takes seconds that a reply has spent in a cache of HTTP off the lifetimes of its
// records (RFC 8484, 5.1).
func passTime(reply []byte, age uint32) {
	if age == 0 || len(reply) < dnswire.HeaderLen {
		return
	}
	off := dnswire.HeaderLen
	for range binary.BigEndian.Uint16(reply[4:]) {
		if off = skipOwner(reply, off); off == 0 || off+4 > len(reply) {
			return
		}
		off += 4
	}
	for range int(binary.BigEndian.Uint16(reply[6:])) + int(binary.BigEndian.Uint16(reply[8:])) + int(binary.BigEndian.Uint16(reply[10:])) {
		if off = skipOwner(reply, off); off == 0 || off+10 > len(reply) {
			return
		}
		if ttl := binary.BigEndian.Uint32(reply[off+4:]); binary.BigEndian.Uint16(reply[off:]) != dnswire.TypeOPT {
			binary.BigEndian.PutUint32(reply[off+4:], ttl-min(ttl, age))
		}
		off += 10 + int(binary.BigEndian.Uint16(reply[off+8:]))
	}
}

// newHTTPS returns what carries queries to a server by HTTPS.
func (u *Client) newHTTPS(h *health, s Server, retired <-chan struct{}) carrier {
	target, config := newRequestTarget(s), u.tlsConfig(s, "h2")
	return u.newRequester(h, retired, func(ctx context.Context) (requestConn, error) {
		return u.dialHTTPS(ctx, h, target, config)
	})
}

// errNoHTTP2 means that a server speaks TLS, but not HTTP/2 by it.
var errNoHTTP2 = errors.New("it offers no HTTP/2")

// dialHTTPS opens a connection by HTTP/2. The transport of net/http is made for it alone, and
// so are its pool and its settings.
func (u *Client) dialHTTPS(ctx context.Context, h *health, target *requestTarget, config *tls.Config) (requestConn, error) {
	only := new(http.Protocols)
	only.SetHTTP2(true)
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			_, conn, err := u.dialTLS(ctx, h, config)
			if err == nil && conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
				conn.Close()
				return nil, &handshakeError{errNoHTTP2}
			}
			return conn, err
		},
		DisableCompression: true, MaxResponseHeaderBytes: maxResponseHeader, Protocols: only,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 2 * maxMessage, MaxReceiveBufferPerConnection: 1 << 20},
	}
	conn, err := transport.NewClientConn(ctx, "https", "server:443")
	if err != nil {
		return nil, err
	}
	c := &httpsConn{conn: conn, target: target, over: make(chan struct{})}
	conn.SetStateHook(func(conn *http.ClientConn) {
		if conn.Err() != nil {
			c.once.Do(func() { close(c.over) })
		}
	})
	return c, nil
}

// An httpsConn is a connection by HTTP/2.
type httpsConn struct {
	conn   *http.ClientConn
	target *requestTarget
	over   chan struct{}
	once   sync.Once // closes over
}

func (c *httpsConn) ended() <-chan struct{} { return c.over }

func (c *httpsConn) close() { c.conn.Close() }

func (c *httpsConn) request(ctx context.Context, query []byte) (*exchangeBuffer, int, error) {
	response, err := c.conn.RoundTrip(c.target.request(ctx, query[2:]))
	if err != nil {
		return nil, 0, streamProblem(err)
	}
	b, size, err := readResponse(response)
	return b, size, streamProblem(err)
}

// An http2Error is what net/http says of a stream that the server has ended; it hands it out
// as any struct with these fields.
type http2Error struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e http2Error) Error() string { return "a stream was reset" }

// streamProblem makes the end of a stream alone an error of its request.
func streamProblem(err error) error {
	var stream http2Error
	if err != nil && errors.As(err, &stream) {
		return &requestError{err: errReset, again: true}
	}
	return err
}

// errReset means that a server has ended a request without a reply.
var errReset = errors.New("the server has ended the request")
