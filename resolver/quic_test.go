//go:build !small

package resolver

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/listen"
)

// dialQUIC connects from an address, and calls the server name.
func (s *encrypted) dialQUIC(from, name string) *quic.Conn {
	s.t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)})
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &quic.Transport{Conn: udp}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(s.QUICAddrs()[0]),
		&tls.Config{RootCAs: s.roots, ServerName: name, NextProtos: []string{"doq"}}, nil)
	s.t.Cleanup(func() { transport.Close(); udp.Close() })
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func onStream(t testing.TB, conn *quic.Conn, sent []byte) (*dns.Msg, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	stream.SetDeadline(time.Now().Add(20 * time.Second))
	stream.Write(sent)
	stream.Close()
	all, err := io.ReadAll(stream)
	if err != nil {
		return nil, err
	}
	var m dns.Msg
	if len(all) < 2 || int(binary.BigEndian.Uint16(all)) != len(all)-2 {
		return nil, fmt.Errorf("%d octets: %x", len(all), all)
	}
	return &m, m.Unpack(all[2:])
}

func doqQuery(t testing.TB, name string, typ uint16, change ...func(*dns.Msg)) []byte {
	return dnstest.Framed(packetOf(t, name, typ, append(change, func(m *dns.Msg) { m.Id = 0 })...))
}

func TestQUICAnswers(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
	conn := s.dialQUIC("127.0.0.1", "phone."+serverName)
	const queries = 3 * 64 // more than may be under way
	results := make(chan error, queries)
	for i := range queries {
		go func() {
			m, err := onStream(t, conn, doqQuery(t, fmt.Sprintf("n%d.example.", i), dns.TypeA))
			if err == nil && (data(m) != "A 192.0.2.1" || m.Id != 0) {
				err = fmt.Errorf("%v", m)
			}
			results <- err
		}()
	}
	for range queries {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if row := s.recorded.last(t, queries); row.Transport != querylog.QUIC || row.ClientID != "phone" || row.Client.String() != "127.0.0.1" {
		t.Errorf("logged %+v", row)
	}
	padded := func(m *dns.Msg) {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 9)})
	}
	m, err := onStream(t, conn, doqQuery(t, "localhost.", dns.TypeA, padded))
	if err != nil {
		t.Fatal(err)
	}
	m.Compress = true
	if size := m.Len(); size != 468 {
		t.Errorf("a padded reply of %d octets, want 468", size)
	}
}

// What RFC 9250, 4.3.3 calls a fatal error ends the connection; what takes too long ends
// its stream. Another client is served all the while.
func TestQUICBadInput(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{streamTimes: listen.StreamTimes{Query: 3 * time.Second}})
	good := doqQuery(t, "localhost.", dns.TypeA)
	reply := bytes.Clone(good)
	reply[4] |= 0x80
	for _, test := range []struct {
		fact string
		sent []byte
	}{
		{"an id", dnstest.Framed(packetOf(t, "localhost.", dns.TypeA))},
		{"two queries", append(bytes.Clone(good), good...)},
		{"an octet behind", append(bytes.Clone(good), 0)},
		{"an end too early", good[:20]},
		{"no length", good[:1]},
		{"nothing", nil},
		{"a short message", []byte{0, 3, 0, 0, 0}},
		{"a long message", append([]byte{0xff, 0xff}, make([]byte, 0xffff)...)},
		{"a reply", reply},
		{"keepalive", doqQuery(t, "localhost.", dns.TypeA, func(m *dns.Msg) {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
		})},
	} {
		conn := s.dialQUIC("127.0.0.1", serverName)
		m, err := onStream(t, conn, test.sent)
		if closed, ok := errors.AsType[*quic.ApplicationError](err); !ok || closed.ErrorCode != 2 || !closed.Remote {
			t.Errorf("%s: %v, %v, want the connection closed for a protocol error", test.fact, m, err)
		}
	}
	if got := s.Stats().RequestsBad; got != 10 {
		t.Errorf("%d bad requests counted, want 10", got)
	}
	conn := s.dialQUIC("127.0.0.1", serverName)
	stream, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	stream.Write(good[:20])
	stream.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadAll(stream); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stalled query: %v, want its stream reset", err)
	}
	if m, err := onStream(t, conn, good); err != nil || data(m) != "A 127.0.0.1" {
		t.Errorf("another stream of the same connection: %v, %v", m, err)
	}
	if _, err := conn.OpenUniStream(); err == nil {
		t.Error("a stream of one direction may be opened")
	}
}

// Packets that are no QUIC are dropped, and cost no connection.
func TestQUICGarbage(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{})
	udp, err := net.Dial("udp", s.QUICAddrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	packet := make([]byte, 1200)
	for i := range 2000 {
		rand.Read(packet)
		if i%2 == 0 { // an Initial of version 1, by its first octets
			copy(packet, []byte{0xc3, 0, 0, 0, 1, 8})
		}
		udp.Write(packet[:200+i%1000])
	}
	if m, err := onStream(t, s.dialQUIC("127.0.0.1", serverName), doqQuery(t, "localhost.", dns.TypeA)); err != nil || data(m) != "A 127.0.0.1" {
		t.Errorf("a client: %v, %v", m, err)
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Streams <= 1 }, says("no connection but the client's"))
}

// While many clients greet, the next has to prove its address; one that does is served.
// Those that never end greeting take a bounded number of connections.
func TestQUICGreetingsAreBounded(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{Streams: 512, streamTimes: listen.StreamTimes{Handshake: 20 * time.Second}})
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: udp}
	t.Cleanup(func() { transport.Close(); udp.Close() })
	var retried bool
	for range 40 { // each sends its first packet, and hears nothing
		greeting := firstPacket(t, transport)
		raw, err := net.Dial("udp", s.QUICAddrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		raw.Write(greeting)
		raw.SetReadDeadline(time.Now().Add(20 * time.Second))
		b := make([]byte, 2000)
		n, err := raw.Read(b)
		retried = retried || err == nil && n > 5 && b[0]>>4 == 0xf // a Retry (RFC 9000, 17.2.5)
	}
	if !retried {
		t.Error("nobody had to prove its address")
	}
	if got := s.Stats().Streams; got > 20 {
		t.Errorf("%d connections are taken by clients that never greet to the end", got)
	}
	if m, err := onStream(t, s.dialQUIC("127.0.0.1", serverName), doqQuery(t, "localhost.", dns.TypeA)); err != nil || data(m) != "A 127.0.0.1" {
		t.Errorf("one that proves its address: %v, %v", m, err)
	}
}

// firstPacket returns the first packet with which a client greets.
func firstPacket(t *testing.T, transport *quic.Transport) []byte {
	t.Helper()
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		transport.Dial(ctx, server.LocalAddr(), &tls.Config{ServerName: serverName, NextProtos: []string{"doq"}}, nil)
	}()
	b := make([]byte, 2000)
	server.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, _, err := server.ReadFromUDP(b)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
	return b[:n]
}

func TestHTTP3(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{})
	_, header := s.doh(s.client("127.0.0.1", serverName, true), "/dns-query", "localhost.", dns.TypeA)
	want := fmt.Sprintf(`h3=":%d"; ma=86400`, s.HTTPSAddrs()[0].Port())
	if got := header.Get("Alt-Svc"); got != want {
		t.Errorf("Alt-Svc %q, want %q", got, want)
	}
	c := s.clientHTTP3()
	m, _ := s.doh(c, "/dns-query/phone", "localhost.", dns.TypeA)
	if data(m) != "A 127.0.0.1" {
		t.Errorf("%v", m)
	}
	if row := s.recorded.last(t, 2); row.Transport != querylog.HTTPS || row.ClientID != "phone" || row.Client.String() != "127.0.0.1" {
		t.Errorf("logged %+v", row)
	}
	r, err := c.Post("https://"+serverName+"/dns-query", "application/dns-message", bytes.NewReader(packetOf(t, "localhost.", dns.TypeA)))
	if err != nil {
		t.Fatal(err)
	}
	if r.ProtoMajor != 3 || data(dohReply(t, r)) != "A 127.0.0.1" {
		t.Errorf("%s: %v", r.Proto, r)
	}
	for target, status := range map[string]int{"/": 404, "/dns-query": 400} {
		r, err := c.Get("https://" + serverName + target)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != status {
			t.Errorf("%s: %s, want %d", target, r.Status, status)
		}
	}
}

// A stream on which no request comes ends, wherever within the head it falls silent, and the
// connection goes on.
func TestSilentHTTP3StreamsEnd(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{streamTimes: listen.StreamTimes{Handshake: 2 * time.Second, IdleTLS: time.Minute}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.HTTPSAddrs()[0].String(), &tls.Config{RootCAs: s.roots, ServerName: serverName, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Skipf("skipped: no handshake in the time for one on this machine: %v", err)
	}
	defer conn.CloseWithError(0, "")
	const frameHeaders = 1
	for _, sent := range [][]byte{{frameHeaders}, {frameHeaders, 40, 0, 0}} {
		stream, err := conn.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		stream.SetDeadline(time.Now().Add(20 * time.Second))
		stream.Write(sent)
		var reset *quic.StreamError
		if _, err := stream.Read(make([]byte, 1)); !errors.As(err, &reset) {
			t.Errorf("%x: got %v, want that the stream ends", sent, err)
		}
	}
	if err := conn.Context().Err(); err != nil {
		t.Errorf("the connection ended, too: %v", context.Cause(conn.Context()))
	}
}

// A client of HTTP/3 is told of a stop: it does not wait for answers until it finds out.
func TestHTTP3ClientsAreToldOfAStop(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.HTTPSAddrs()[0].String(), &tls.Config{RootCAs: s.roots, ServerName: serverName, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	// A client's handshake ends before the server's. The server's first stream says that it serves the
	// connection; one that it does not serve yet is refused.
	if _, err := conn.AcceptUniStream(ctx); err != nil {
		t.Fatal(err)
	}
	s.Close()
	select {
	case <-conn.Context().Done():
	case <-ctx.Done():
	}
	var told *quic.ApplicationError
	if !errors.As(context.Cause(conn.Context()), &told) || told.ErrorCode != quic.ApplicationErrorCode(http3.ErrCodeNoError) || !told.Remote {
		t.Errorf("the connection ends with %v", context.Cause(conn.Context()))
	}
}

// clientHTTP3 returns a client of HTTP/3.
func (s *encrypted) clientHTTP3() *http.Client {
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, ServerName: serverName},
		Dial: func(ctx context.Context, _ string, config *tls.Config, settings *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, s.HTTPSAddrs()[0].String(), config, settings)
		}}
	s.t.Cleanup(func() { transport.Close() })
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// No query is answered before the handshake is complete.
func TestNoQueryByZeroRTT(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{})
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: udp}
	t.Cleanup(func() { transport.Close(); udp.Close() })
	config := &tls.Config{RootCAs: s.roots, ServerName: serverName, NextProtos: []string{"doq"}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		conn, err := transport.DialEarly(ctx, net.UDPAddrFromAddrPort(s.QUICAddrs()[0]), config, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := onStream(t, conn, doqQuery(t, "localhost.", dns.TypeA)); err != nil || data(m) != "A 127.0.0.1" {
			t.Errorf("%v, %v", m, err)
		}
		if state := conn.ConnectionState(); state.Used0RTT {
			t.Error("0-RTT was accepted")
		}
		conn.CloseWithError(0, "")
		cancel()
	}
	if got := s.Stats().HandshakesResumed; got != 1 {
		t.Errorf("%d handshakes resumed, want 1", got)
	}
}

// What waits for an upstream when the server ends is answered over QUIC, too.
func TestQUICAnswersWhenTheServerEnds(t *testing.T) {
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; dnstest.AnswerA("192.0.2.1")(w, q) })
	s := startEncrypted(t, Options{}, up)
	conn := s.dialQUIC("127.0.0.1", serverName)
	got := make(chan *dns.Msg, 1)
	go func() {
		m, err := onStream(t, conn, doqQuery(t, "www.example.", dns.TypeA))
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	dnstest.WaitFor(t, func() bool { return s.Stats().Waiting == 1 }, says("it waits"))
	s.Close()
	close(open)
	if m := <-got; m != nil && m.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v, want SERVFAIL", m)
	}
}

// A client from a public address is answered over encrypted transports, with an id that
// nobody can guess; never over UDP and TCP, and never with another id.
func TestRoamingClients(t *testing.T) {
	dnstest.CheckLeaks(t)
	const home, away, secret = "127.0.0.1", "127.0.0.7", "k3vq7xw2hfz5p6tbn4ryqmsa"
	s := startEncrypted(t, Options{
		Allowed:   func(a netip.Addr) bool { return a.String() == home },
		AllowedID: func(id string) bool { return id == secret },
	})
	if c, err := dialerFrom(away, "tcp").Dial("tcp", s.Addrs()[0].String()); err != nil {
		t.Skip("this machine has 127.0.0.1 alone: ", err)
	} else {
		c.Close()
	}
	plain := func(network string) func(from, id string) (*dns.Msg, error) {
		return func(from, _ string) (*dns.Msg, error) {
			c := dns.Client{Net: network, Timeout: 20 * time.Second, Dialer: dialerFrom(from, network)}
			m, _, err := c.Exchange(new(dns.Msg).SetQuestion("localhost.", dns.TypeA), s.Addrs()[0].String())
			return m, err
		}
	}
	named := func(id string) string {
		if id == "" {
			return serverName
		}
		return id + "." + serverName
	}
	ways := []struct {
		name string
		ask  func(from, id string) (*dns.Msg, error)
		id   bool // an id can be said
	}{
		{"UDP", plain("udp"), false},
		{"TCP", plain("tcp"), false},
		{"TLS", func(from, id string) (*dns.Msg, error) { return s.overTLS(from, named(id)) }, true},
		{"HTTPS, the id in the path", func(from, id string) (*dns.Msg, error) {
			m, _ := s.doh(s.client(from, serverName, true), "/dns-query/"+id, "localhost.", dns.TypeA)
			return m, nil
		}, true},
		{"QUIC", func(from, id string) (*dns.Msg, error) {
			return onStream(t, s.dialQUIC(from, named(id)), doqQuery(t, "localhost.", dns.TypeA))
		}, true},
		{"HTTPS, the id in the server's name", func(from, id string) (*dns.Msg, error) {
			m, _ := s.doh(s.client(from, named(id), false), "/dns-query", "localhost.", dns.TypeA)
			return m, nil
		}, true},
	}
	for _, way := range ways {
		for _, from := range []string{home, away} {
			for _, id := range []string{"", "phone", secret[:len(secret)-1] + "b", secret} {
				m, err := way.ask(from, id)
				if err != nil {
					t.Errorf("%s from %s as %q: %v", way.name, from, id, err)
					continue
				}
				want := dns.RcodeRefused
				if from == home || way.id && id == secret {
					want = dns.RcodeSuccess
				}
				if m.Rcode != want {
					t.Errorf("%s from %s as %q: %s, want %s", way.name, from, id, dns.RcodeToString[m.Rcode], dns.RcodeToString[want])
				}
			}
		}
	}
}
