//go:build !small

package listen

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// DNS over QUIC (RFC 9250), and HTTP/3 (RFC 9114) for DNS over HTTPS. quic-go speaks
// QUIC. A client whose address is not proven gets at most three times what it sends (RFC
// 9000, 8.1); while many greet at once, it has to prove its address first (Retry), so
// that made-up addresses take nothing. Nothing is answered before the handshake is
// complete (0-RTT): such data can be sent again by whoever saw it, which RFC 9250, 4.5
// allows for queries, but then the log would have lookups that nobody made.
const (
	protocolDoQ = "doq"

	quicStreams  = 64 // queries of one connection at once
	quicGreeting = 16 // clients that greet at once before the next has to prove its address
	quicWindow   = 16 << 10
)

// Error codes of DNS over QUIC (RFC 9250, 4.3).
const (
	doqNoError       quic.ApplicationErrorCode = 0x0
	doqInternalError quic.ApplicationErrorCode = 0x1
	doqProtocolError quic.ApplicationErrorCode = 0x2
	doqExcessiveLoad quic.ApplicationErrorCode = 0x4
)

// A quicListener is one address on which QUIC is spoken: DNS, or HTTP/3.
type quicListener struct {
	l         *Listeners
	udp       *net.UDPConn
	transport *quic.Transport
	listener  *quic.Listener
	h3        *http3.Server // nil: DNS over QUIC
	conns     sync.Map      // by *quic.Conn: with which code they are told of a stop
	greeting  atomic.Int32  // connections that are not yet made
}

// bindQUIC binds an address.
func bindQUIC(addr netip.AddrPort) (*net.UDPConn, error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	config := net.ListenConfig{Control: controlEarly(addr.Addr())}
	conn, err := config.ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, &PortError{Addr: addr, Err: err, Holder: portHolder("udp", addr)}
	}
	return conn.(*net.UDPConn), nil
}

// listenQUIC binds the addresses of DNS over QUIC.
func (l *Listeners) listenQUIC() error {
	o := &l.options
	if len(o.QUIC) > 0 && o.Certificates == nil {
		return errors.New("listening by QUIC takes a certificate")
	}
	for _, addr := range o.QUIC {
		udp, err := bindQUIC(addr)
		if errors.Is(err, syscall.EAFNOSUPPORT) && addr.Addr().IsUnspecified() && len(o.QUIC) > 1 {
			continue // this machine has no such addresses
		}
		if err != nil {
			return err
		}
		l.quic = append(l.quic, &quicListener{l: l, udp: udp})
	}
	return nil
}

// listenHTTP3 binds an address of DNS over HTTPS by HTTP/3.
func (w *web) listenHTTP3(addr netip.AddrPort) error {
	udp, err := bindQUIC(addr)
	if err != nil {
		return err
	}
	h3 := &http3.Server{Handler: w, MaxHeaderBytes: requestHeader, IdleTimeout: w.l.streams.times.IdleTLS}
	w.l.quic = append(w.l.quic, &quicListener{l: w.l, udp: udp, h3: h3})
	return nil
}

// start begins to greet clients.
func (ql *quicListener) start() error {
	times := &ql.l.streams.times
	protocols := []string{protocolDoQ}
	config := &quic.Config{
		HandshakeIdleTimeout: times.Handshake, MaxIdleTimeout: times.IdleTLS,
		MaxIncomingStreams: quicStreams, MaxIncomingUniStreams: -1, // RFC 9250, 4.2 has none
		InitialStreamReceiveWindow: quicWindow, MaxStreamReceiveWindow: quicWindow,
		InitialConnectionReceiveWindow: 4 * quicWindow, MaxConnectionReceiveWindow: 16 * quicWindow,
	}
	if ql.h3 != nil {
		protocols = []string{http3.NextProtoH3}
		config.MaxIncomingUniStreams = 8 // three that HTTP/3 has, and some that it may ignore
	}
	ql.transport = &quic.Transport{
		Conn:                ql.udp,
		VerifySourceAddress: func(net.Addr) bool { return ql.greeting.Load() >= quicGreeting },
		ConnContext:         ql.admit,
	}
	settings := ql.l.options.Certificates.Config(protocols...)
	settings.MinVersion = tls.VersionTLS13 // RFC 9001, 4.2
	var err error
	ql.listener, err = ql.transport.Listen(settings, config)
	return err
}

// A quicConn is a connection of QUIC.
type quicConn struct {
	requester
	conn    atomic.Pointer[quic.Conn] // nil while it is being made
	greeted func()                    // it greets no longer
}

// quicKey is the key of a connection's *quicConn in its context.
type quicKey struct{}

// Close ends the connection, and does not wait for that.
func (c *quicConn) Close() error {
	if conn := c.conn.Load(); conn != nil {
		go conn.CloseWithError(doqExcessiveLoad, "")
	}
	return nil
}

var errNoRoom = errors.New("no room for a connection")

// admit takes a client in that greets, or refuses it.
func (ql *quicListener) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	c := &quicConn{}
	c.closer, c.stopRead = c, func() {}
	c.waits = func() bool { return c.conn.Load() == nil || c.asking.Load() > 0 }
	c.opens()
	client := addrPortOf(info.RemoteAddr)
	if !ql.l.admit(&c.place, client.Addr()) {
		return nil, errNoRoom
	}
	ql.greeting.Add(1)
	c.greeted = sync.OnceFunc(func() { ql.greeting.Add(-1) })
	context.AfterFunc(ctx, func() {
		c.greeted()
		if c.conn.Load() == nil {
			ql.l.stats.handshakesFailed.Add(1)
		}
		ql.l.streams.remove(&c.place)
	})
	ctx = context.WithValue(ctx, quicKey{}, c)
	return context.WithValue(ctx, connKey{}, &c.requester), nil
}

// accept takes connections that are made until the listener is closed.
func (ql *quicListener) accept() {
	for {
		conn, err := ql.listener.Accept(context.Background())
		if err != nil {
			return
		}
		state := conn.ConnectionState().TLS
		ql.l.stats.greeted(state.DidResume)
		c := conn.Context().Value(quicKey{}).(*quicConn)
		c.greeted()
		c.conn.Store(conn)
		if ql.h3 != nil {
			ql.l.writers.Go(func() { ql.serveHTTP3(conn) })
			continue
		}
		ql.l.writers.Go(func() { ql.serve(conn, &c.requester, strings.ToLower(state.ServerName)) })
	}
}

// serveHTTP3 answers the requests of a connection. http3.Server would let a stream be silent for as
// long as the connection is there; here the head of a request has the time of a handshake, and ServeHTTP says
// how long the rest may take.
func (ql *quicListener) serveHTTP3(conn *quic.Conn) {
	ql.conns.Store(conn, quic.ApplicationErrorCode(http3.ErrCodeNoError))
	defer ql.conns.Delete(conn)
	server, err := ql.h3.NewRawServerConn(conn)
	if err != nil {
		return
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	streams.Go(func() {
		for {
			stream, err := conn.AcceptUniStream(conn.Context())
			if err != nil {
				return
			}
			streams.Go(func() { server.HandleUnidirectionalStream(stream) })
		}
	})
	for {
		stream, err := conn.AcceptStream(conn.Context())
		if err != nil {
			return
		}
		stream.SetReadDeadline(time.Now().Add(ql.l.streams.times.Handshake))
		streams.Go(func() { server.HandleRequestStream(stream) })
	}
}

// serve answers the queries of a connection, each on a stream of its own, at most
// quicStreams at once.
func (ql *quicListener) serve(conn *quic.Conn, c *requester, serverName string) {
	ql.conns.Store(conn, doqNoError)
	defer ql.conns.Delete(conn)
	arrival := Arrival{Transport: QUIC, ServerName: serverName, ClientID: ql.l.idOfServerName(serverName)}
	for {
		stream, err := conn.AcceptStream(conn.Context())
		if err != nil {
			return
		}
		arrival := arrival
		arrival.Client = addrPortOf(conn.RemoteAddr()) // which may have moved
		account := ql.l.account(&arrival)
		ql.l.streams.recount(&c.place, account)
		if !ql.l.requests.take(account) {
			ql.l.stats.requestsRefused.Add(1)
			conn.CloseWithError(doqExcessiveLoad, "too many queries are under way")
			return
		}
		c.begin()
		ql.l.writers.Go(func() {
			defer ql.l.requests.give(account)
			defer c.end()
			if !ql.l.streams.catchPanic(func() { ql.answer(conn, stream, newMessage(arrival)) }) {
				ql.abort(stream)
			}
		})
	}
}

// answer answers the query of one stream.
func (ql *quicListener) answer(conn *quic.Conn, stream *quic.Stream, m *message) {
	times := &ql.l.streams.times
	stream.SetReadDeadline(time.Now().Add(times.Query))
	packet, err := readQuery(stream)
	switch {
	case err == errProtocol:
		ql.l.stats.requestsBad.Add(1)
		conn.CloseWithError(doqProtocolError, "no query as RFC 9250 has it")
		return
	case err != nil: // it was taken back, or did not come in time
		ql.l.stats.streamsCut.Add(1)
		ql.abort(stream)
		return
	}
	if ql.l.hand(packet, m) != nil {
		ql.l.stats.requestsRefused.Add(1)
		ql.abort(stream)
		return
	}
	select {
	case reply := <-m.reply:
		if len(reply) == 0 { // it was shed, or a rule drops it
			ql.l.stats.requestsRefused.Add(1)
			ql.abort(stream)
			return
		}
		stream.SetWriteDeadline(time.Now().Add(times.Write))
		if _, err := stream.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reply)), uint16(len(reply))), reply...)); err != nil {
			ql.l.stats.streamsCut.Add(1)
			ql.abort(stream)
			return
		}
		stream.Close()
	case <-stream.Context().Done(): // nobody waits for the answer any more; it is logged all the same
		ql.abort(stream)
	}
}

func (ql *quicListener) abort(stream *quic.Stream) {
	stream.CancelRead(quic.StreamErrorCode(doqInternalError))
	stream.CancelWrite(quic.StreamErrorCode(doqInternalError))
}

// quicSends is how long a connection may take to send what was written to its streams: it
// does that in a goroutine of its own, and says nothing when it has.
const quicSends = 50 * time.Millisecond

// stop ends reading. Answers under way are still written, by the goroutine that it
// begins.
func (ql *quicListener) stop() {
	if ql.listener == nil {
		return
	}
	ql.listener.Close()
	times := &ql.l.streams.times
	ql.l.writers.Go(func() {
		end := time.Now().Add(times.Answer + times.Write)
		for time.Now().Before(end) && !ql.l.requests.isEmpty() {
			time.Sleep(10 * time.Millisecond)
		}
		told := false
		ql.conns.Range(func(conn, code any) bool { // each returns when that is sent
			if !told {
				time.Sleep(quicSends)
				told = true
			}
			conn.(*quic.Conn).CloseWithError(code.(quic.ApplicationErrorCode), "")
			return true
		})
		ql.transport.Close() // what is being connected ends, and is not told
		ql.udp.Close()
	})
}

func (ql *quicListener) close() {
	if ql.listener == nil { // it was never started
		ql.udp.Close()
	}
}

// SpeaksQUIC reports whether this program was built with QUIC and HTTP/3.
const SpeaksQUIC = true

// QUICAddrs returns the addresses bound for DNS over QUIC, or for HTTP/3.
func (l *Listeners) QUICAddrs(h3 bool) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, ql := range l.quic {
		if (ql.h3 != nil) == h3 {
			addrs = append(addrs, addrPortOf(ql.udp.LocalAddr()))
		}
	}
	return addrs
}

// startQUIC begins to answer by QUIC.
func (l *Listeners) startQUIC() {
	for _, ql := range l.quic {
		if err := ql.start(); err != nil {
			l.options.Logger.Error("cannot answer by QUIC", "listen", ql.udp.LocalAddr(), "error", err)
			continue
		}
		l.readers.Go(ql.accept)
	}
}
