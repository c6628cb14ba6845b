package resolver

import (
	"net"
	"net/netip"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"telltale/querylog"
)

// A udpConn is a blocking UDP socket that is read by one thread in batches. Its
// send and log may be called by any goroutine; the rest by its reader alone.
type udpConn = *batchConn

type batchConn struct {
	srv      *Server
	fd       int
	v6       bool
	wildcard bool // replies must name the address the query came to
	batch    *messages
	thread   chan int // the id of the thread that reads it, once
}

// What the kernel should hold while a reader is busy, in octets of SO_RCVBUF, of
// which it gives twice as much, if net.core.rmem_max allows. It is as much as a
// slow machine answers in time, until overload.go knows how fast this one is.
const (
	receiveBuffer    = 1 << 20
	maxReceiveBuffer = 4 << 20
)

// listenUDP binds addr for as many readers, and returns the address bound.
func listenUDP(addr netip.AddrPort, readers int) (conns []udpConn, bound netip.AddrPort, err error) {
	// With SO_REUSEPORT a second server of the same user would be bound as well,
	// and get half of the queries. So first bind alone.
	alone, bound, err := bindUDP(addr, false)
	if err != nil || readers == 1 {
		return []udpConn{alone}, bound, err
	}
	alone.close()
	for range readers {
		c, _, err := bindUDP(bound, true)
		if err != nil {
			for _, c := range conns {
				c.close()
			}
			return nil, bound, err
		}
		conns = append(conns, c)
	}
	return conns, bound, nil
}

func bindUDP(addr netip.AddrPort, share bool) (_ udpConn, bound netip.AddrPort, err error) {
	c := &batchConn{v6: addr.Addr().Is6(), wildcard: addr.Addr().IsUnspecified(), thread: make(chan int, 1)}
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_PKTINFO
	if c.v6 {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if c.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, bound, err
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // best effort
	unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 50_000})
	if c.v6 {
		if err = unix.SetsockoptInt(c.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return nil, bound, err
		}
	}
	if share {
		if err = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return nil, bound, err
		}
	}
	if c.wildcard {
		if err = unix.SetsockoptInt(c.fd, level, option, 1); err != nil {
			return nil, bound, err
		}
	}
	sa, err := sockaddr(addr)
	if err != nil {
		return nil, bound, err
	}
	if err = unix.Bind(c.fd, sa); err != nil {
		return nil, bound, err
	}
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		return nil, bound, err
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		bound = netip.AddrPortFrom(addr.Addr(), uint16(name.Port))
	case *unix.SockaddrInet6:
		bound = netip.AddrPortFrom(addr.Addr(), uint16(name.Port))
	}
	c.batch = newMessages(c.v6, c.wildcard)
	return c, bound, nil
}

func sockaddr(addr netip.AddrPort) (unix.Sockaddr, error) {
	if addr.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	if zone := addr.Addr().Zone(); zone != "" {
		iface, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, err
		}
		sa.ZoneId = uint32(iface.Index)
	}
	return sa, nil
}

// serve receives and answers batches until the server stops. It locks its
// thread: a socket that blocks in the kernel costs a thread anyway, and this
// one does nothing else.
func (c *batchConn) serve(r *reader) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	select {
	case c.thread <- unix.Gettid():
	default: // not its first time
	}
	for r.srv.ctx.Err() == nil {
		n, err := c.batch.receive(c.fd)
		if err != nil && err != unix.EINTR && err != unix.EAGAIN {
			return err
		}
		r.batch(n)
	}
	return nil
}

// packet returns the i-th packet received, and says in q who sent it and to
// which of our addresses.
func (c *batchConn) packet(i int, q *query) (packet []byte, ok bool) {
	packet, q.client, ok = c.batch.packet(i)
	if ok && c.wildcard {
		q.local, q.ifindex = c.batch.local(i)
	}
	return packet, ok && q.client.Port() != 0
}

// flush sends the replies of a batch.
func (c *batchConn) flush(out []outgoing) {
	sent := c.batch.send(c.fd, out, c.wildcard)
	if sent < len(out) {
		c.srv.stats.unsent.Add(uint64(len(out) - sent))
	}
}

// send sends one reply, from any goroutine.
func (c *batchConn) send(q *query, reply []byte) {
	if len(reply) == 0 {
		return
	}
	sa, err := sockaddrOf(q)
	if err == nil {
		err = unix.Sendmsg(c.fd, reply, c.source(q), sa, unix.MSG_DONTWAIT)
	}
	if err != nil {
		c.srv.stats.unsent.Add(1)
	}
}

// log appends one record, from any goroutine.
func (c *batchConn) log(q *query, reply []byte, source querylog.Source) {
	c.srv.append([]querylog.Record{q.record(reply, source, c.srv.now())})
}

// sockaddrOf returns the client's address for the kernel.
func sockaddrOf(q *query) (unix.Sockaddr, error) {
	addr, port := q.client.Addr(), int(q.client.Port())
	if addr.Is4() {
		return &unix.SockaddrInet4{Port: port, Addr: addr.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: port, Addr: addr.As16()}
	if zone := addr.Zone(); zone != "" {
		index, err := strconv.ParseUint(zone, 10, 32) // as packet made it
		if err != nil {
			return nil, err
		}
		sa.ZoneId = uint32(index)
	}
	return sa, nil
}

// source returns the control message by which a reply leaves from the address
// its query came to.
func (c *batchConn) source(q *query) []byte {
	if !c.wildcard || !q.local.IsValid() {
		return nil
	}
	if c.v6 {
		info := unix.Inet6Pktinfo{Addr: q.local.As16()}
		if q.local.IsLinkLocalUnicast() {
			info.Ifindex = q.ifindex
		}
		return unix.PktInfo6(&info)
	}
	return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: q.local.As4()})
}

// wake makes a blocked reader return, so that it sees the server's end.
func (c *batchConn) wake() {
	unix.Shutdown(c.fd, unix.SHUT_RD) // ENOTCONN, but it wakes the reader all the same
}

// close gives the socket up. Nobody may use it any more.
func (c *batchConn) close() {
	if c.fd > 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}
