package resolver

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/listen"
	"telltale/resolver/listen/certs"
)

// startTLS is startStreams with DNS over TLS, and returns what a client trusts.
func startTLS(t *testing.T, o Options, times listen.StreamTimes, upstreams ...*dnstest.Upstream) (*Server, *recorder, *tls.Config) {
	t.Helper()
	c := dnstest.NewCertificate(t, time.Now().Add(5*24*time.Hour), "dns.example", "127.0.0.1")
	certificate, key := c.Files(t)
	var err error
	if o.Certificates, err = certs.Open(certs.Options{Files: []certs.Files{{Certificate: certificate, Key: key}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Certificates.Close)
	o.ListenTLS = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	s, recorded := startStreams(t, o, times, upstreams...)
	return s, recorded, &tls.Config{RootCAs: c.Roots, ServerName: "dns.example", NextProtos: []string{"dot"}}
}

// dialTLS connects as a client does that checks the certificate.
func dialTLS(t *testing.T, s *Server, config *tls.Config) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", s.TLSAddrs()[0].String(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// exchange sends a query on a connection and returns the next reply.
func exchange(t *testing.T, c net.Conn, name string, typ uint16, change ...func(*dns.Msg)) (r *dns.Msg, size int) {
	t.Helper()
	if _, err := c.Write(dnstest.Framed(packetOf(t, name, typ, change...))); err != nil {
		t.Fatal(err)
	}
	b, err := readFramed(c)
	if err != nil {
		t.Fatal(err)
	}
	r = new(dns.Msg)
	if err := r.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return r, len(b)
}

func TestDNSOverTLS(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, recorded, config := startTLS(t, Options{}, listen.StreamTimes{}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
	for n, c := range []struct {
		protocols []string
		version   uint16
		protocol  string
	}{{[]string{"dot"}, tls.VersionTLS13, "dot"}, {nil, tls.VersionTLS12, ""}} {
		config := config.Clone()
		config.NextProtos, config.MaxVersion = c.protocols, c.version
		conn := dialTLS(t, s, config)
		if state := conn.ConnectionState(); state.NegotiatedProtocol != c.protocol || state.Version != c.version {
			t.Errorf("protocol %q, version %x", state.NegotiatedProtocol, state.Version)
		}
		if r, _ := exchange(t, conn, "localhost.", dns.TypeA); data(r) != "A 127.0.0.1" {
			t.Errorf("at once: %v", r)
		}
		if r, _ := exchange(t, conn, fmt.Sprintf("n%d.example.", n), dns.TypeA); data(r) != "A 192.0.2.1" {
			t.Errorf("by an upstream: %v", r)
		}
		row := recorded.last(t, 2*n+2)
		if row.Transport != querylog.TLS || row.Source != querylog.FromUpstream || row.Client.String() != "127.0.0.1" {
			t.Errorf("the log has %v %v %v", row.Transport, row.Source, row.Client)
		}
	}
	if got := s.Stats(); got.Handshakes != 2 || got.HandshakesFailed != 0 || got.StreamsCut != 0 {
		t.Errorf("%+v", got)
	}
}

// Sessions are resumed: a phone that comes back costs no signature.
func TestSessionsAreResumed(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _, config := startTLS(t, Options{}, listen.StreamTimes{})
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i := range 3 {
		c := dialTLS(t, s, config)
		exchange(t, c, "localhost.", dns.TypeA) // the ticket comes with or before the answer
		if got := c.ConnectionState().DidResume; got != (i > 0) {
			t.Errorf("connection %d: resumed %v", i, got)
		}
		c.Close()
	}
	if got := s.Stats(); got.Handshakes != 3 || got.HandshakesResumed != 2 {
		t.Errorf("%d handshakes, %d resumed, want 3 and 2", got.Handshakes, got.HandshakesResumed)
	}
}

// A rawClient is what a client's TLS is on: it may keep what is sent, to send it as one, and
// counts the records that come.
type rawClient struct {
	net.Conn
	keeps   bool
	kept    []byte
	records int
	rest    []byte // of a record that has begun to come
}

func (c *rawClient) Write(b []byte) (int, error) {
	if !c.keeps {
		return c.Conn.Write(b)
	}
	c.kept = append(c.kept, b...)
	return len(b), nil
}

func (c *rawClient) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for c.rest = append(c.rest, b[:n]...); len(c.rest) >= 5; c.records++ {
		size := 5 + int(binary.BigEndian.Uint16(c.rest[3:]))
		if len(c.rest) < size {
			break
		}
		c.rest = c.rest[size:]
	}
	return n, err
}

// dialRawTLS connects, and greets the server.
func dialRawTLS(t *testing.T, s *Server, config *tls.Config) (*rawClient, *tls.Conn) {
	t.Helper()
	c, err := net.Dial("tcp", s.TLSAddrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	raw := &rawClient{Conn: c}
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return raw, conn
}

// Clients send each query in a record of its own. The answers to those that came together
// are one all the same: a record and a call for each cost more than the answers.
func TestAnswersToRecordsThatCameTogetherAreWrittenTogether(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _, config := startTLS(t, Options{}, unhurried, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
	raw, conn := dialRawTLS(t, s, config)
	exchange(t, conn, "localhost.", dns.TypeA)
	raw.keeps, raw.records = true, 0
	const queries = 20
	for i := range queries {
		name := "localhost."
		if i == queries/2 {
			name = "later.example." // by an upstream
		}
		conn.Write(dnstest.Framed(packetOf(t, name, dns.TypeA)))
	}
	raw.Conn.Write(raw.kept)
	for i := range queries {
		if _, err := readFramed(conn); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	if got := raw.records; got > queries/3 { // the kernel may hand them over in parts
		t.Errorf("%d records for %d answers", got, queries)
	}
}

// What a client sends after a pause is what is read, also where it sent more before than the buffer
// of a connection that waits takes.
func TestRecordsOfManyQueriesAreReadWhole(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _, config := startTLS(t, Options{}, unhurried)
	for name, queries := range map[string][]int{"few": {30, 2, 30, 1}, "as many": {30, 30, 2, 30}, "of all sizes": {1, 500, 1, 500, 12, 12}} {
		t.Run(name, func(t *testing.T) {
			conn, id := dialTLS(t, s, config), uint16(0)
			for _, n := range queries {
				var burst []byte
				for i := range n {
					b := packetOf(t, "localhost.", dns.TypeA)
					binary.BigEndian.PutUint16(b, id+uint16(i))
					burst = append(burst, dnstest.Framed(b)...)
				}
				conn.Write(burst) // in one record, but for the largest
				for range n {     // once all are answered, the server waits
					b, err := readFramed(conn)
					if err != nil {
						t.Fatalf("answer %d: %v", id, err)
					}
					if got := binary.BigEndian.Uint16(b); got != id {
						t.Fatalf("got the answer to query %d, want that to %d", got, id)
					}
					id++
				}
			}
		})
	}
}

// A record of which an octet comes now and then does not make its connection less idle.
func TestRecordsThatComeSlowlyEndTheirConnection(t *testing.T) {
	dnstest.CheckLeaks(t)
	times := unhurried
	times.IdleTLS = 100 * time.Millisecond
	s, _, config := startTLS(t, Options{}, times)
	raw, conn := dialRawTLS(t, s, config)
	raw.keeps = true
	conn.Write(make([]byte, 4000))
	for _, octet := range raw.kept { // for 40 s, if nobody minds
		if _, err := raw.Conn.Write([]byte{octet}); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := io.Copy(io.Discard, raw.Conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is open")
	}
}

// Replies are padded only where the query was, and only where nobody can read them
// (RFC 8467, 4).
func TestPaddedQueriesArePaddedReplies(t *testing.T) {
	dnstest.CheckLeaks(t)
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	policy := openLists(t, blocklists.Options{}, map[string]string{"ads.txt": "ads.example\n"})
	s, _, config := startTLS(t, Options{Policy: withPolicy(policy)}, listen.StreamTimes{}, up)
	encrypted, plain := dialTLS(t, s, config), dialStream(t, s)
	padded := func(m *dns.Msg) {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 60)})
	}
	for _, name := range []string{"www.example.", "www.example.", "ads.example.", "localhost.", "x.invalid.", "version.bind."} {
		for _, c := range []struct {
			what   string
			conn   net.Conn
			change func(*dns.Msg)
			want   bool
		}{
			{"encrypted, padded", encrypted, padded, true}, {"encrypted, not padded", encrypted, func(*dns.Msg) {}, false},
			{"plain, padded", plain, padded, false}, {"encrypted, without EDNS", encrypted, func(m *dns.Msg) { m.Extra = nil }, false},
		} {
			r, size := exchange(t, c.conn, name, dns.TypeA, c.change)
			if is := size%468 == 0; is != c.want {
				t.Errorf("%s %s: %d octets, want a multiple of 468: %v\n%v", name, c.what, size, c.want, r)
			}
		}
	}
}

// A client on a connection is told how long it may be idle, if it asks (RFC 7828);
// one on UDP is not.
func TestKeepalive(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _, config := startTLS(t, Options{}, listen.StreamTimes{Idle: 7 * time.Second, IdleTLS: 21 * time.Second})
	asks := func(m *dns.Msg) {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
	}
	keepalive := func(r *dns.Msg) int {
		for _, o := range r.IsEdns0().Option {
			if k, ok := o.(*dns.EDNS0_TCP_KEEPALIVE); ok {
				return int(k.Timeout)
			}
		}
		return -1
	}
	plain, _ := exchange(t, dialStream(t, s), "localhost.", dns.TypeA, asks)
	silent, _ := exchange(t, dialStream(t, s), "localhost.", dns.TypeA)
	encrypted, _ := exchange(t, dialTLS(t, s, config), "localhost.", dns.TypeA, asks)
	packet := ask(t, s, "udp", "localhost.", dns.TypeA, asks)
	for what, c := range map[string]struct {
		r    *dns.Msg
		want int
	}{"TCP": {plain, 70}, "TCP, not asked": {silent, -1}, "TLS": {encrypted, 210}, "UDP": {packet, -1}} {
		if got := keepalive(c.r); got != c.want {
			t.Errorf("%s: %d tenths of a second, want %d", what, got, c.want)
		}
	}
}

// An answer that is known at once does not wait for one that is not (RFC 7766, 7).
func TestAnswersComeOutOfOrder(t *testing.T) {
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; dnstest.AnswerA("192.0.2.1")(w, q) })
	s, _, config := startTLS(t, Options{}, listen.StreamTimes{}, up)
	for what, c := range map[string]net.Conn{"tcp": dialStream(t, s), "tls": dialTLS(t, s, config)} {
		var sent []byte
		for id, name := range []string{"slow-" + what + ".example.", "localhost.", "slow2-" + what + ".example.", "x.localhost."} {
			b := packetOf(t, name, dns.TypeA)
			binary.BigEndian.PutUint16(b, uint16(id))
			sent = append(sent, dnstest.Framed(b)...)
		}
		c.Write(sent)
		for _, want := range []uint16{1, 3} {
			b, err := readFramed(c)
			if err != nil || binary.BigEndian.Uint16(b) != want {
				t.Fatalf("%s: answer %x, %v, want that of %d", what, b, err, want)
			}
		}
	}
	close(open)
}

// Who does not do its part of a handshake, or does it wrongly, costs a connection for
// a while, and nobody else anything.
func TestBadHandshakes(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _, config := startTLS(t, Options{}, listen.StreamTimes{Handshake: 2 * time.Second})
	bad := map[string][]byte{
		"nothing":                nil,
		"a query without TLS":    dnstest.Framed(packetOf(t, "localhost.", dns.TypeA)),
		"HTTP":                   []byte("GET / HTTP/1.1\r\nHost: dns.example\r\n\r\n"),
		"half a hello":           {22, 3, 1, 0, 200, 1, 0, 0},
		"a record of 64 KiB":     append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 70000)...),
		"an endless handshake":   append([]byte{22, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff}, make([]byte, 16379)...),
		"an alert":               {21, 3, 3, 0, 2, 2, 40},
		"data before a key":      {23, 3, 3, 0, 3, 1, 2, 3},
		"a version of its own":   {22, 9, 9, 0, 4, 1, 2, 3, 4},
		"an empty record":        {22, 3, 3, 0, 0},
		"zeros":                  make([]byte, 1000),
		"a hello of SSL 2":       {0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10},
		"an old version's hello": hello(t, tls.VersionTLS11),
	}
	var all sync.WaitGroup
	for name, sent := range bad {
		all.Go(func() {
			c, err := net.Dial("tcp", s.TLSAddrs()[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			c.Write(sent)
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the connection is still open", name)
			}
		})
	}
	all.Wait()
	dnstest.WaitFor(t, func() bool { return s.Stats().HandshakesFailed == uint64(len(bad)) && s.Stats().Streams == 0 },
		func() string { return fmt.Sprintf("%d of %d handshakes failed", s.Stats().HandshakesFailed, len(bad)) })
	config.Time = time.Now
	c := dialTLS(t, s, config)
	if r, _ := exchange(t, c, "localhost.", dns.TypeA); data(r) != "A 127.0.0.1" {
		t.Errorf("a normal client: %v", r)
	}
	if _, err := c.NetConn().Write([]byte("garbage behind the handshake")); err != nil {
		t.Fatal(err)
	}
	if _, err := readFramed(c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("garbage behind the handshake: %v, want the connection closed", err)
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Streams == 0 }, says("closed"))
}

// hello returns what a client of an old version sends first.
func hello(t *testing.T, version uint16) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	go tls.Client(theirs, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version, InsecureSkipVerify: true}).Handshake()
	defer theirs.Close()
	b := make([]byte, 4096)
	n, err := ours.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// Connections of both kinds share one bound, and one client's part.
func TestConnectionsOfTLSAreBounded(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _, config := startTLS(t, Options{Streams: 8}, unhurried) // 2 of them for one client
	silent := dialTo(t, s.TLSAddrs()[0])                        // sends nothing at all
	first := dialTLS(t, s, config)
	exchange(t, first, "localhost.", dns.TypeA)
	third := dialStream(t, s)
	if !isServed(t, third, "localhost.") {
		t.Error("the third connection is not served")
	}
	silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the silent one: %v, want it closed", err)
	}
	exchange(t, first, "localhost.", dns.TypeA)
	if got := s.Stats(); got.Streams != 2 || got.StreamsReplaced != 1 {
		t.Errorf("%+v", got)
	}
}

func dialTo(t *testing.T, addr netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A server that stops answers what it owes, also by TLS, and waits for nobody's
// handshake.
func TestCloseEndsConnectionsOfTLS(t *testing.T) {
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; dnstest.AnswerA("192.0.2.1")(w, q) })
	s, _, config := startTLS(t, Options{}, listen.StreamTimes{IdleTLS: 10 * time.Minute, Handshake: 10 * time.Minute}, up)
	waiting, idle, silent := dialTLS(t, s, config), dialTLS(t, s, config), dialTo(t, s.TLSAddrs()[0])
	waiting.Write(dnstest.Framed(packetOf(t, "www.example.", dns.TypeA)))
	exchange(t, idle, "localhost.", dns.TypeA)
	dnstest.WaitFor(t, func() bool { return s.Stats().Waiting == 1 && s.Stats().Streams == 3 }, says("all are there"))
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	if b, err := readFramed(waiting); err != nil || b[3]&0xf != dns.RcodeServerFailure {
		t.Errorf("who waits: %x, %v, want SERVFAIL", b, err)
	}
	if _, err := readFramed(idle); !errors.Is(err, io.EOF) {
		t.Errorf("who is idle: %v, want the end as TLS says it", err)
	}
	silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("who is silent: the connection is still open")
	}
	<-closed
	close(open)
}

// The numbers of the log are of the same transports.
func TestTransports(t *testing.T) {
	for from, want := range map[listen.Transport]string{listen.UDP: "udp", listen.TCP: "tcp", listen.TLS: "tls", listen.HTTPS: "https", listen.QUIC: "quic"} {
		if got := transports[from].String(); got != want {
			t.Errorf("%d is %s in the log, want %s", from, got, want)
		}
	}
}
