//go:build !small

package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Codes of DNS over QUIC (RFC 9250, 4.3) and HTTP/3 (RFC 9114, 8.1).
const (
	doqNoError          = 0x0
	doqRequestCancelled = 0x3
	http3NoError        = 0x100
)

// Bounds of what a server may make us hold on a connection by QUIC.
const (
	quicStreamWindow = 1 << 17
	quicWindow       = 1 << 20
	quicIdle         = 2 * streamIdle // the end of one that our own limit has not closed
	http3Streams     = 8              // that the server may open: three, and some that are to be ignored
)

// newQUIC returns what carries queries to a server by DNS over QUIC.
func (u *Client) newQUIC(h *health, s Server, retired <-chan struct{}) carrier {
	config := u.tlsConfig(s, "doq")
	return u.newRequester(h, retired, func(ctx context.Context) (requestConn, error) {
		c, err := u.dialQUIC(ctx, h, config, -1)
		if err != nil {
			return nil, err
		}
		return &doqConn{c}, nil
	})
}

// newHTTP3 returns what carries queries to a server by HTTP/3.
func (u *Client) newHTTP3(h *health, s Server, retired <-chan struct{}) carrier {
	target, config := newRequestTarget(s), u.tlsConfig(s, "h3")
	transport := &http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxResponseHeader}
	return u.newRequester(h, retired, func(ctx context.Context) (requestConn, error) {
		c, err := u.dialQUIC(ctx, h, config, http3Streams)
		if err != nil {
			return nil, err
		}
		return &http3Conn{c, transport.NewClientConn(c.conn), target}, nil
	})
}

// A quicConn is a connection by QUIC, on a socket of its own.
type quicConn struct {
	conn      *quic.Conn
	transport *quic.Transport
	socket    *net.UDPConn
}

// dialQUIC opens a connection, on which the server may open so many streams. No query is sent
// before the handshake has ended: early data could be sent again by others (RFC 9250, 4.5).
func (u *Client) dialQUIC(ctx context.Context, h *health, config *tls.Config, streams int64) (quicConn, error) {
	addrs, err := u.addresses(ctx, h)
	if err != nil {
		return quicConn{}, err
	}
	settings := &quic.Config{
		HandshakeIdleTimeout: mostDial, MaxIdleTimeout: quicIdle, MaxIncomingStreams: -1, MaxIncomingUniStreams: streams,
		MaxStreamReceiveWindow: quicStreamWindow, InitialStreamReceiveWindow: quicStreamWindow,
		MaxConnectionReceiveWindow: quicWindow, InitialConnectionReceiveWindow: quicStreamWindow,
	}
	c, err := dialFirst(ctx, addrs, func(ctx context.Context, addr netip.AddrPort) (quicConn, error) {
		return dialOneQUIC(ctx, addr, config, settings)
	}, func(c quicConn) { c.end(doqNoError) })
	if err != nil {
		u.doubt(h)
		return c, err
	}
	h.connectedTo(c.conn.RemoteAddr())
	return c, nil
}

func dialOneQUIC(ctx context.Context, addr netip.AddrPort, config *tls.Config, settings *quic.Config) (quicConn, error) {
	socket, err := net.ListenUDP("udp", nil) // the kernel chooses the port; the handshake is what is hard to guess
	if err != nil {
		return quicConn{}, err
	}
	hearRefusals(socket, addr.Addr(), true)
	c := quicConn{transport: &quic.Transport{Conn: socket}, socket: socket}
	c.conn, err = c.transport.Dial(ctx, net.UDPAddrFromAddrPort(addr), config, settings)
	if err == nil {
		hearRefusals(socket, addr.Addr(), false)
		return c, nil
	}
	c.transport.Close()
	socket.Close()
	var problem *quic.TransportError
	switch {
	case ctx.Err() != nil:
		return quicConn{}, ctx.Err()
	case errors.As(err, &problem) && problem.ErrorCode.IsCryptoError():
		return quicConn{}, &handshakeError{err}
	}
	return quicConn{}, err
}

func (c quicConn) ended() <-chan struct{} { return c.conn.Context().Done() }

// end closes the connection, and says why.
func (c quicConn) end(code quic.ApplicationErrorCode) {
	c.conn.CloseWithError(code, "")
	c.transport.Close()
	c.socket.Close()
}

// A doqConn carries queries by DNS over QUIC, each on a stream of its own (RFC 9250, 4.2).
type doqConn struct{ quicConn }

func (c *doqConn) close() { c.end(doqNoError) }

func (c *doqConn) request(ctx context.Context, query []byte) (*exchangeBuffer, int, error) {
	stream, err := c.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer context.AfterFunc(ctx, func() {
		stream.CancelRead(doqRequestCancelled)
		stream.CancelWrite(doqRequestCancelled)
	})()
	if _, err = stream.Write(query); err == nil {
		err = stream.Close() // it is the only one
	}
	var b *exchangeBuffer
	var size int
	if err == nil {
		b, size, err = readFramed(stream)
	}
	if err != nil {
		stream.CancelWrite(doqRequestCancelled)
	}
	stream.CancelRead(doqNoError) // what is behind the reply is of no use
	return b, size, quicProblem(err)
}

// quicProblem makes the end of a stream alone an error of its request.
func quicProblem(err error) error {
	var stream *quic.StreamError
	switch {
	case errors.As(err, &stream):
		return &requestError{err: errReset, again: true}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &requestError{err: err}
	}
	return err
}

// isQUICTimeout reports whether nothing came from a server by QUIC.
func isQUICTimeout(err error) bool {
	var idle *quic.IdleTimeoutError
	var handshake *quic.HandshakeTimeoutError
	return errors.As(err, &idle) || errors.As(err, &handshake)
}

// An http3Conn carries queries by HTTP/3.
type http3Conn struct {
	quicConn
	client *http3.ClientConn
	target *requestTarget
}

func (c *http3Conn) close() { c.end(http3NoError) }

func (c *http3Conn) request(ctx context.Context, query []byte) (*exchangeBuffer, int, error) {
	response, err := c.client.RoundTrip(c.target.request(ctx, query[2:]))
	if err != nil {
		return nil, 0, quicProblem(err)
	}
	b, size, err := readResponse(response)
	return b, size, quicProblem(err)
}
