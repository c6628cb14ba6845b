package listen

import (
	"context"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"telltale/resolver/overload"
	"telltale/resolver/packets"
)

// A UDPConn is a blocking UDP socket that is read by one thread in batches. Send
// may be called by any goroutine; the rest by its reader alone.
type UDPConn struct {
	fd       int
	v6       bool
	wildcard bool // replies must name the address the query came to
	batch    *packets.Receiver
	thread   chan int // the id of the thread that reads it, once
	stats    *counters
	reach    *reachability
}

// What the kernel should hold while a reader is busy, in octets of SO_RCVBUF, of
// which it gives twice as much, if net.core.rmem_max allows. It is as much as a
// slow machine answers in time, until the overload monitor knows how fast this
// one is.
const (
	receiveBuffer    = 1 << 20
	maxReceiveBuffer = 4 << 20
	// sendBuffer is SO_SNDBUF, so twice what there is by default, and what any user may
	// set. It is full before replies to addresses that nobody has fill the kernel's
	// table of neighbours, which all senders of the machine share (see reachability).
	sendBuffer = 212_992
)

// listenUDP binds addr for as many readers, and returns the address bound.
func listenUDP(addr netip.AddrPort, readers int, stats *counters, reach *reachability) (conns []*UDPConn, bound netip.AddrPort, err error) {
	// With SO_REUSEPORT a second server of the same user would be bound as well,
	// and get half of the queries. So first bind alone.
	alone, bound, err := BindUDP(addr, false)
	if err != nil {
		return nil, bound, err
	}
	if readers == 1 {
		alone.stats, alone.reach = stats, reach
		return []*UDPConn{alone}, bound, nil
	}
	alone.Close()
	for range readers {
		c, _, err := BindUDP(bound, true)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, bound, err
		}
		c.stats, c.reach = stats, reach
		conns = append(conns, c)
	}
	return conns, bound, nil
}

// BindUDP returns a socket that is bound to addr, and the address bound. Sockets
// that share an address get a part of its clients each.
func BindUDP(addr netip.AddrPort, share bool) (_ *UDPConn, bound netip.AddrPort, err error) {
	c := &UDPConn{v6: addr.Addr().Is6(), wildcard: addr.Addr().IsUnspecified(), thread: make(chan int, 1), stats: new(counters), reach: newReachability()}
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_PKTINFO
	if c.v6 {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if c.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, bound, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // best effort
	unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)    // best effort
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
	bindEarly(c.fd, addr.Addr())
	sa, err := packets.Sockaddr(addr)
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
	c.batch = packets.NewReceiver(c.v6, c.wildcard)
	return c, bound, nil
}

// read receives batches and has them answered until stopped ends. It locks its
// thread: a socket that blocks in the kernel costs a thread anyway, and this one
// does nothing else.
func (c *UDPConn) read(stopped context.Context, handler BatchHandler, monitor *overload.Monitor) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	select {
	case c.thread <- unix.Gettid():
	default: // not its first time
	}
	for stopped.Err() == nil {
		n, err := c.Receive()
		if err != nil && err != unix.EINTR && err != unix.EAGAIN {
			return err
		}
		began := handler.ServeBatch(n)
		monitor.Account(c, n, n == packets.BatchSize, began)
	}
	return nil
}

// Receive waits for packets and returns how many came.
func (c *UDPConn) Receive() (n int, err error) { return c.batch.Receive(c.fd) }

// Packet returns the i-th packet received, and says in path who sent it and to
// which of our addresses.
func (c *UDPConn) Packet(i int, path *packets.Path) (packet []byte, ok bool) {
	packet, path.Client, ok = c.batch.Packet(i)
	if ok && c.wildcard {
		path.Local, path.Interface = c.batch.Local(i)
	}
	return packet, ok
}

// Client returns who sent the i-th packet received.
func (c *UDPConn) Client(i int) netip.Addr {
	_, from, _ := c.batch.Packet(i)
	return from.Addr()
}

// SendReplies sends the replies of a batch.
func (c *UDPConn) SendReplies(replies []packets.Reply) {
	all := len(replies)
	if c.reach.isActive() {
		replies = slices.DeleteFunc(replies, func(r packets.Reply) bool { return !c.reach.mayReply(c.Client(r.Slot)) })
	}
	sent := 0
	if len(replies) > 0 {
		var full bool
		if sent, full = c.batch.SendReplies(c.fd, replies, c.wildcard); full {
			c.reach.sendBufferFull()
		}
	}
	if sent < all {
		c.stats.unsent.Add(uint64(all - sent))
	}
}

// Send sends one reply, from any goroutine.
func (c *UDPConn) Send(path *packets.Path, reply []byte) {
	if len(reply) == 0 {
		return
	}
	if c.reach.isActive() && !c.reach.mayReply(path.Client.Addr()) {
		c.stats.unsent.Add(1)
		return
	}
	sa, err := sockaddrOf(path)
	if err == nil {
		err = unix.Sendmsg(c.fd, reply, c.source(path), sa, unix.MSG_DONTWAIT)
	}
	if err != nil {
		c.stats.unsent.Add(1)
	}
	if err == unix.EAGAIN || err == unix.ENOBUFS {
		c.reach.sendBufferFull()
	}
}

// sockaddrOf returns the client's address for the kernel.
func sockaddrOf(path *packets.Path) (unix.Sockaddr, error) {
	addr, port := path.Client.Addr(), int(path.Client.Port())
	if addr.Is4() {
		return &unix.SockaddrInet4{Port: port, Addr: addr.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: port, Addr: addr.As16()}
	if zone := addr.Zone(); zone != "" {
		index, err := strconv.ParseUint(zone, 10, 32) // as Packet made it
		if err != nil {
			return nil, err
		}
		sa.ZoneId = uint32(index)
	}
	return sa, nil
}

// source returns the control message by which a reply leaves from the address
// its query came to.
func (c *UDPConn) source(path *packets.Path) []byte {
	if !c.wildcard || !path.Local.IsValid() {
		return nil
	}
	if c.v6 {
		info := unix.Inet6Pktinfo{Addr: path.Local.As16()}
		if path.Local.IsLinkLocalUnicast() {
			info.Ifindex = path.Interface
		}
		return unix.PktInfo6(&info)
	}
	return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: path.Local.As4()})
}

// An Outbox holds replies to clients of several sockets back, until they are sent
// together. It belongs to one goroutine.
type Outbox struct {
	last   *UDPConn
	sender packets.Sender
}

// Add takes a reply, which must stay as it is until Flush returns.
func (o *Outbox) Add(c *UDPConn, path *packets.Path, reply []byte) {
	if c != o.last || o.sender.Len() == packets.BatchSize {
		o.Flush()
		o.last = c
	}
	if c.reach.isActive() && !c.reach.mayReply(path.Client.Addr()) || !o.sender.AddTo(reply, path, c.wildcard) {
		c.stats.unsent.Add(1)
	}
}

// Flush sends all.
func (o *Outbox) Flush() {
	if n := o.sender.Len(); n > 0 {
		sent, full := o.sender.Flush(o.last.fd)
		o.last.stats.unsent.Add(uint64(n - sent))
		if full {
			o.last.reach.sendBufferFull()
		}
	}
	o.last = nil
}

// wake makes a blocked reader return, so that it sees the end.
func (c *UDPConn) wake() {
	unix.Shutdown(c.fd, unix.SHUT_RD) // ENOTCONN, but it wakes the reader all the same
}

// Close gives the socket up. Nobody may use it any more.
func (c *UDPConn) Close() {
	if c.fd > 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// Backlog returns what waits at the socket.
func (c *UDPConn) Backlog() overload.Backlog {
	m, err := packets.SocketMemory(c.fd)
	if err != nil {
		return overload.Backlog{Buffer: overload.UnknownBuffer}
	}
	return overload.Backlog{Used: m[packets.MemoryQueued], Buffer: m[packets.MemoryReceiveBuffer], Drops: m[packets.MemoryDrops]}
}

// SetReceiveBuffer sets how many octets may wait at the socket, as the kernel counts
// them. It gives what net.core.rmem_max allows.
func (c *UDPConn) SetReceiveBuffer(octets int) {
	unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, min(octets/2, maxReceiveBuffer)) // doubled by the kernel; best effort
}

// SetTimeout bounds how long a receive waits for packets; 0 does not.
func (c *UDPConn) SetTimeout(d time.Duration) {
	wait := unix.NsecToTimeval(d.Nanoseconds())
	unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait) // best effort
}

// LimitRates makes the kernel drop packets of some clients before they are queued.
func (c *UDPConn) LimitRates(limits []overload.RateLimit, prefix6 int) {
	if len(limits) == 0 {
		unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) // ENOENT without one
		return
	}
	raw, err := overload.Filter(limits, c.v6, prefix6)
	if err != nil {
		return
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	unix.SetsockoptSockFprog(c.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
