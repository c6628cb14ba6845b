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
		conn := tls.Server(raw, config)
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
			l.serve(st) // on another goroutine: a handshake's stack is large
		})
	}
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
