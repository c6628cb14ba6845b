package listen

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// accept takes connections until the listener is closed.
func (l *Listeners) accept(tcp *net.TCPListener, take func(*net.TCPConn, netip.AddrPort)) {
	var failed time.Time // when that was said last
	for {
		conn, err := tcp.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.stats.acceptsFailed.Add(1)
			if time.Since(failed) > time.Minute {
				failed = time.Now()
				l.options.Logger.Error("cannot accept connections", "error", err)
			}
			if !isDescriptorLimit(err) || !l.streams.makeRoom() {
				time.Sleep(100 * time.Millisecond)
			}
			continue
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if l.hasProxyHeader(from.Addr()) {
			l.takeProxied(conn, from, take)
			continue
		}
		take(conn, from)
	}
}

// isDescriptorLimit reports whether err says that this process, or the system, has
// as many files open as it may have.
func isDescriptorLimit(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// takeTCP serves a connection of plain TCP.
func (l *Listeners) takeTCP(conn *net.TCPConn, client netip.AddrPort) {
	st := newStream(l.streams, conn, Arrival{Client: client, Transport: TCP, Idle: l.streams.times.Idle})
	if l.admit(&st.place, client.Addr()) {
		l.serve(st)
	}
}

// admit takes a client's connection in. Where there is no room for it, it is closed.
func (l *Listeners) admit(p *place, client netip.Addr) bool {
	if l.options.Allowed(client) {
		p.account = accountOf(client, l.options.ClientPrefix)
	}
	if !l.streams.admit(p) {
		l.stats.streamsRefused.Add(1)
		p.close()
		return false
	}
	return true
}

// serve answers what comes on an admitted connection, on a goroutine of its own.
func (l *Listeners) serve(st *Stream) {
	st.handler = l.options.Handler.NewStreamHandler(st)
	l.readers.Add(1)
	l.writers.Go(func() {
		st.guard(st.read)
		l.readers.Done()
		st.finish()
	})
}
