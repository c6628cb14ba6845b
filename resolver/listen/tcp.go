package listen

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// accept takes connections until the listener is closed.
func (l *Listeners) accept(tcp *net.TCPListener) {
	for {
		conn, err := tcp.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors, most likely
			l.options.Logger.Error("cannot accept connections", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		st := newStream(l.streams, conn, Arrival{Client: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), Transport: TCP})
		if !l.admit(&st.place, st.arrival.Client.Addr()) {
			conn.Close()
			continue
		}
		l.serve(st)
	}
}

// admit takes a client's connection in; false where there is no room for it.
func (l *Listeners) admit(p *place, client netip.Addr) bool {
	if l.options.Allowed(client) {
		p.account = accountOf(client, l.options.ClientPrefix)
	}
	if !l.streams.admit(p) {
		l.stats.streamsRefused.Add(1)
		return false
	}
	return true
}

// serve answers what comes on an admitted connection, on a goroutine of its own.
func (l *Listeners) serve(st *Stream) {
	st.handler = l.options.Handler.NewStreamHandler(st)
	l.readers.Add(1)
	l.writers.Go(func() {
		st.read()
		l.readers.Done()
		st.finish()
	})
}
