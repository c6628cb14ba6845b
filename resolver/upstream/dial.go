package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"
)

// staggered is how long one address of a server is tried before the next is, too
// (RFC 8305, 5).
const staggered = 250 * time.Millisecond

// dialLimit returns how long a connection may take to be there.
func (h *health) dialLimit() time.Duration {
	return min(max(4*h.timing.current(), leastDial), mostDial)
}

// deadAfter returns how long nothing may come on a connection while somebody waits.
func (h *health) deadAfter() time.Duration { return max(2*h.timing.current(), leastDead) }

// dialTLS opens a connection to the server by TLS; without a config, by TCP alone. raw is
// what conn rests on.
func (u *Client) dialTLS(ctx context.Context, h *health, config *tls.Config) (raw, conn net.Conn, err error) {
	addrs, err := u.addresses(ctx, h)
	if err != nil {
		return nil, nil, err
	}
	both, err := dialFirst(ctx, addrs, func(ctx context.Context, addr netip.AddrPort) (dialled, error) {
		return dialOne(ctx, addr, config)
	}, func(d dialled) { d.raw.Close() })
	if err != nil {
		u.doubt(h)
		return nil, nil, err
	}
	h.connectedTo(both.raw.RemoteAddr())
	return both.raw, both.conn, nil
}

// addresses returns where the server is, its port with each.
func (u *Client) addresses(ctx context.Context, h *health) ([]netip.AddrPort, error) {
	s := &h.server
	if s.Host == "" {
		return []netip.AddrPort{s.Addr}, nil
	}
	addrs := s.Addresses
	if len(addrs) == 0 {
		var err error
		if addrs, err = u.bootstrap.addresses(ctx, s.Host); err != nil {
			return nil, err
		}
	}
	var all []netip.AddrPort
	for _, a := range addrs {
		all = append(all, netip.AddrPortFrom(a, s.Addr.Port()))
	}
	return all, nil
}

// doubt takes in that nobody was at any address of a server.
func (u *Client) doubt(h *health) {
	if s := &h.server; s.Host != "" && len(s.Addresses) == 0 {
		u.bootstrap.doubt(s.Host)
	}
}

// connectedTo takes in where a server by name is.
func (h *health) connectedTo(a net.Addr) {
	if h.server.Host == "" {
		return
	}
	if at, err := netip.ParseAddrPort(a.String()); err == nil {
		h.place.Store(&at)
	}
}

// at returns where the server is, as far as that is known.
func (h *health) at() netip.AddrPort {
	if place := h.place.Load(); place != nil {
		return *place
	}
	return h.addr
}

type dialled struct{ raw, conn net.Conn }

func dialOne(ctx context.Context, addr netip.AddrPort, config *tls.Config) (dialled, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if err != nil || config == nil {
		return dialled{raw, raw}, err
	}
	secure := tls.Client(raw, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		if ctx.Err() != nil {
			return dialled{}, ctx.Err()
		}
		return dialled{}, &handshakeError{err}
	}
	return dialled{raw, secure}, nil
}

// dialFirst dials addresses, each a little after the one before or when that has failed,
// and returns the first connection that is there. Others are dropped. The error is that of
// a handshake, if there was one, else the first.
func dialFirst[T any](ctx context.Context, addrs []netip.AddrPort, dial func(context.Context, netip.AddrPort) (T, error), drop func(T)) (T, error) {
	if len(addrs) == 1 {
		return dial(ctx, addrs[0])
	}
	type attempt struct {
		conn T
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan attempt)
	var best T
	var problem error
	next := time.NewTimer(0)
	defer next.Stop()
	has := false
	for begun, ended := 0, 0; ended < begun || begun < len(addrs) && !has; {
		start := next.C
		if has || begun == len(addrs) {
			start = nil
		}
		select {
		case <-start:
			addr := addrs[begun]
			begun++
			go func() {
				conn, err := dial(ctx, addr)
				done <- attempt{conn, err}
			}()
			next.Reset(staggered)
		case a := <-done:
			ended++
			switch {
			case a.err == nil && has:
				drop(a.conn)
			case a.err == nil:
				best, has = a.conn, true
				cancel() // the others end at once
			default:
				problem = worse(problem, a.err)
				next.Reset(0)
			}
		}
	}
	if has {
		return best, nil
	}
	return best, problem
}

// worse returns which of two errors says more of a server.
func worse(a, b error) error {
	var handshake *handshakeError
	if a == nil || errors.As(b, &handshake) && !errors.As(a, &handshake) {
		return b
	}
	return a
}
