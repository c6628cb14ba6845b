//go:build !linux

package listen

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"telltale/resolver/overload"
	"telltale/resolver/packets"
)

// A UDPConn is a UDP socket that is read a packet at a time, where the kernel has
// no batches. Send may be called by any goroutine; the rest by its reader alone.
type UDPConn struct {
	stats    *counters
	conn     *net.UDPConn
	p4       *ipv4.PacketConn // set on an IPv4 wildcard
	p6       *ipv6.PacketConn // set on an IPv6 wildcard
	buf      [packets.MaxSize]byte
	n        int
	from     netip.AddrPort
	to       netip.Addr
	ifindex  uint32
	wildcard bool
}

func listenUDP(addr netip.AddrPort, readers int, stats *counters, _ *reachability) (conns []*UDPConn, bound netip.AddrPort, err error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, bound, err
	}
	c := &UDPConn{stats: stats, conn: conn, wildcard: addr.Addr().IsUnspecified()}
	if c.wildcard && addr.Addr().Is4() {
		c.p4 = ipv4.NewPacketConn(conn)
		err = c.p4.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	} else if c.wildcard {
		c.p6 = ipv6.NewPacketConn(conn)
		err = c.p6.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	}
	if err != nil {
		conn.Close()
		return nil, bound, err
	}
	bound = netip.AddrPortFrom(addr.Addr(), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	return []*UDPConn{c}, bound, nil
}

func (c *UDPConn) read(stopped context.Context, handler BatchHandler, _ *overload.Monitor) error {
	for stopped.Err() == nil {
		if err := c.receive(); err != nil {
			return err
		}
		handler.ServeBatch(1)
	}
	return nil
}

func (c *UDPConn) receive() (err error) {
	var from net.Addr
	switch {
	case c.p4 != nil:
		var cm *ipv4.ControlMessage
		if c.n, cm, from, err = c.p4.ReadFrom(c.buf[:]); err == nil && cm != nil {
			c.to, _ = netip.AddrFromSlice(cm.Dst.To4())
			c.ifindex = uint32(cm.IfIndex)
		}
	case c.p6 != nil:
		var cm *ipv6.ControlMessage
		if c.n, cm, from, err = c.p6.ReadFrom(c.buf[:]); err == nil && cm != nil {
			c.to, _ = netip.AddrFromSlice(cm.Dst)
			c.ifindex = uint32(cm.IfIndex)
		}
	default:
		c.n, c.from, err = c.conn.ReadFromUDPAddrPort(c.buf[:])
		return err
	}
	if err == nil {
		c.from = from.(*net.UDPAddr).AddrPort()
	}
	return err
}

// Packet returns the packet received, and says in path who sent it and to which of
// our addresses.
func (c *UDPConn) Packet(_ int, path *packets.Path) (packet []byte, ok bool) {
	path.Client = netip.AddrPortFrom(c.from.Addr().Unmap(), c.from.Port())
	path.Local, path.Interface = c.to, c.ifindex
	return c.buf[:c.n], c.n > 0 && c.from.Port() != 0
}

// SendReplies sends the replies of a batch, which is one packet.
func (c *UDPConn) SendReplies(replies []packets.Reply) {
	path := packets.Path{Client: netip.AddrPortFrom(c.from.Addr().Unmap(), c.from.Port()), Local: c.to, Interface: c.ifindex}
	for i := range replies {
		c.Send(&path, replies[i].Data)
	}
}

// Send sends one reply, from any goroutine.
func (c *UDPConn) Send(path *packets.Path, reply []byte) {
	if len(reply) == 0 {
		return
	}
	var err error
	to := net.UDPAddrFromAddrPort(path.Client)
	switch {
	case c.p4 != nil && path.Local.IsValid():
		_, err = c.p4.WriteTo(reply, &ipv4.ControlMessage{Src: path.Local.AsSlice()}, to)
	case c.p6 != nil && path.Local.IsValid():
		_, err = c.p6.WriteTo(reply, &ipv6.ControlMessage{Src: path.Local.AsSlice()}, to)
	default:
		_, err = c.conn.WriteToUDPAddrPort(reply, path.Client)
	}
	if err != nil {
		c.stats.unsent.Add(1)
	}
}

// An Outbox sends replies to clients of several sockets.
type Outbox struct{}

// Add sends a reply.
func (*Outbox) Add(c *UDPConn, path *packets.Path, reply []byte) { c.Send(path, reply) }

// Flush does nothing.
func (*Outbox) Flush() {}

// An overload is not known of here, and nothing is done about it.

// Backlog says that it is not known.
func (c *UDPConn) Backlog() overload.Backlog { return overload.Backlog{Buffer: overload.UnknownBuffer} }

// SetReceiveBuffer does nothing.
func (c *UDPConn) SetReceiveBuffer(int) {}

// SetTimeout does nothing.
func (c *UDPConn) SetTimeout(time.Duration) {}

// LimitRates does nothing.
func (c *UDPConn) LimitRates([]overload.RateLimit, int) {}

// wake makes a blocked reader return.
func (c *UDPConn) wake() { c.conn.SetReadDeadline(time.Unix(1, 0)) }

// Close gives the socket up. Nobody may use it any more.
func (c *UDPConn) Close() { c.conn.Close() }
