package listen

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"time"
)

// protocolDoT is DNS over TLS in ALPN (RFC 7858, 11; IANA).
const protocolDoT = "dot"

// takeTLS greets a client, and then serves its connection as one of TCP. Nobody waits
// for the greeting. It counts as a connection all the while, by which there are no
// more such goroutines than connections.
func (l *Listeners) takeTLS(config *tls.Config) func(*net.TCPConn, netip.AddrPort) {
	return func(raw *net.TCPConn, client netip.AddrPort) {
		below := &belowTLS{TCPConn: raw}
		conn := tls.Server(below, config)
		st := newStream(l.streams, conn, Arrival{Client: client, Transport: TLS, Idle: l.streams.times.IdleTLS})
		if !l.admit(&st.place, client.Addr()) {
			return
		}
		l.readers.Add(1)
		l.writers.Go(func() {
			defer l.readers.Done()
			if !l.handshake(conn) {
				st.close()
				l.streams.remove(&st.place)
				return
			}
			st.arrival.ServerName = strings.ToLower(conn.ConnectionState().ServerName)
			st.arrival.ClientID = l.idOfServerName(st.arrival.ServerName)
			l.streams.recount(&st.place, l.account(&st.arrival))
			below.stream = st
			l.serve(st) // on another goroutine: a handshake's stack is large
		})
	}
}

// belowTLS is what a connection of TLS is on. It tells the Stream of it when the records
// that have come are read, which TLS keeps for itself.
type belowTLS struct {
	*net.TCPConn
	stream *Stream // nil until the client has been greeted
}

// Read reads what comes next.
func (c *belowTLS) Read(b []byte) (int, error) {
	if c.stream != nil && !c.stream.beforeWaiting() {
		return 0, net.ErrClosed
	}
	return c.TCPConn.Read(b)
}

// handshake greets a client; false where it does not do its part in time. What
// strangers send is no error to log.
func (l *Listeners) handshake(conn *tls.Conn) bool {
	conn.SetDeadline(time.Now().Add(l.streams.times.Handshake))
	if l.streams.stopped.Load() { // it may have been stopped before the deadline was set
		return false
	}
	if err := conn.Handshake(); err != nil {
		l.stats.handshakesFailed.Add(1)
		return false
	}
	l.stats.greeted(conn.ConnectionState().DidResume)
	conn.SetDeadline(time.Time{})
	return true
}
