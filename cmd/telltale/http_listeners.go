package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// An httpListeners answers HTTP on the addresses of a setting. Others can take their place
// while it does.
type httpListeners struct {
	setting string                          // web.listen
	server  func() *http.Server             // makes that of an address
	open    func(net.Listener) net.Listener // bounds what an address takes
	logger  *slog.Logger

	work sync.WaitGroup

	mu       sync.Mutex // held from prepare to commit or discard
	wanted   []netip.AddrPort
	answered map[netip.AddrPort]*answeredAddress
}

// An answeredAddress has a server of its own, so that its connections end with it.
type answeredAddress struct {
	server   *http.Server
	listener net.Listener
}

// endTime is how long a request may go on whose address is not answered on any more.
const endTime = 2 * time.Second

// An addressChange is addresses that are bound, and not answered on yet. It holds the lock of
// what it changes until commit or discard.
type addressChange struct {
	l      *httpListeners
	to     []netip.AddrPort
	added  map[netip.AddrPort]*answeredAddress
	parked []netip.AddrPort // closed so that others could be bound
}

// prepare binds those addresses that are not answered on yet. Where that fails, all stays as
// it was.
func (l *httpListeners) prepare(to []netip.AddrPort) (*addressChange, error) {
	l.mu.Lock()
	c := &addressChange{l: l, to: to, added: map[netip.AddrPort]*answeredAddress{}}
	if err := c.bind(); err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

// bind binds addresses. One that is to go and has the same port is closed first: 0.0.0.0
// cannot be had beside it.
func (c *addressChange) bind() error {
	for _, addr := range c.to {
		if c.l.answered[addr] != nil || c.added[addr] != nil {
			continue
		}
		for old, at := range c.l.answered {
			if old.Port() == addr.Port() && !slices.Contains(c.to, old) && !slices.Contains(c.parked, old) {
				at.listener.Close()
				c.parked = append(c.parked, old)
			}
		}
		listener, err := c.l.listen(addr)
		if err != nil {
			return fmt.Errorf("%s: %w (take another address or port, or end what has it)", c.l.setting, err)
		}
		c.added[addr] = &answeredAddress{c.l.server(), listener}
	}
	return nil
}

// discard leaves in force what is.
func (c *addressChange) discard() {
	l := c.l
	defer l.mu.Unlock()
	for _, at := range c.added {
		at.listener.Close()
	}
	for _, addr := range c.parked {
		listener, err := l.listen(addr)
		if err != nil {
			l.failed(addr, err)
			l.end(l.answered[addr])
			delete(l.answered, addr)
			continue
		}
		l.answered[addr].listener = listener
		l.serve(addr)
	}
}

// commit answers on what was bound, and no longer on what is not wanted. Requests that are
// answered now have some time to end.
func (c *addressChange) commit() {
	l := c.l
	defer l.mu.Unlock()
	for addr, at := range l.answered {
		if !slices.Contains(c.to, addr) {
			at.listener.Close()
			l.end(at)
			delete(l.answered, addr)
		}
	}
	for addr, at := range c.added {
		l.answered[addr] = at
		l.serve(addr)
	}
	l.wanted = c.to
}

func (l *httpListeners) listen(addr netip.AddrPort) (net.Listener, error) {
	listener, err := net.Listen(networkOf(addr), addr.String())
	if err != nil {
		return nil, err
	}
	return l.open(listener), nil
}

// networkOf keeps 0.0.0.0 to IPv4, so that [::] may stand beside it.
func networkOf(addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return "tcp4"
	}
	return "tcp6"
}

func (l *httpListeners) serve(addr netip.AddrPort) {
	at := *l.answered[addr]
	l.work.Go(func() {
		if err := at.server.Serve(at.listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			l.failed(addr, err)
		}
	})
}

func (l *httpListeners) failed(addr netip.AddrPort, err error) {
	l.logger.Error(l.setting+": an address is not answered on any more", "address", addr, "error", err)
}

// end ends the requests and the connections of an address.
func (l *httpListeners) end(at *answeredAddress) {
	l.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTime)
		defer cancel()
		if at.server.Shutdown(ctx) != nil {
			at.server.Close() // streams do not end by themselves
		}
	})
}

// addrs returns where it answers, with the ports that were chosen for 0.
func (l *httpListeners) addrs() (all []netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, addr := range l.wanted {
		if at := l.answered[addr]; at != nil {
			if tcp, ok := at.listener.Addr().(*net.TCPAddr); ok {
				all = append(all, tcp.AddrPort())
			}
		}
	}
	return all
}

// close ends all of it.
func (l *httpListeners) close() {
	if c, err := l.prepare(nil); err == nil {
		c.commit()
	}
	l.work.Wait()
}
