//go:build !linux

package resolver

import (
	"math"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"telltale/querylog"
)

// A udpConn is a UDP socket that is read a packet at a time, where the kernel
// has no batches. Its send and log may be called by any goroutine; the rest by
// its reader alone.
type udpConn = *singleConn

type singleConn struct {
	srv      *Server
	conn     *net.UDPConn
	p4       *ipv4.PacketConn // set on an IPv4 wildcard
	p6       *ipv6.PacketConn // set on an IPv6 wildcard
	buf      [maxPacket]byte
	n        int
	from     netip.AddrPort
	to       netip.Addr
	ifindex  uint32
	wildcard bool
}

func listenUDP(addr netip.AddrPort, readers int) (conns []udpConn, bound netip.AddrPort, err error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, bound, err
	}
	c := &singleConn{conn: conn, wildcard: addr.Addr().IsUnspecified()}
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
	return []udpConn{c}, bound, nil
}

func (c *singleConn) serve(r *reader) error {
	for r.srv.ctx.Err() == nil {
		if err := c.receive(); err != nil {
			return err
		}
		r.batch(1)
	}
	return nil
}

func (c *singleConn) receive() (err error) {
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

func (c *singleConn) packet(i int, q *query) (packet []byte, ok bool) {
	q.client = netip.AddrPortFrom(c.from.Addr().Unmap(), c.from.Port())
	q.local, q.ifindex = c.to, c.ifindex
	return c.buf[:c.n], c.n > 0 && c.from.Port() != 0
}

func (c *singleConn) flush(out []outgoing) {
	for i := range out {
		c.send(out[i].q, out[i].reply)
	}
}

// send sends one reply, from any goroutine.
func (c *singleConn) send(q *query, reply []byte) {
	if len(reply) == 0 {
		return
	}
	var err error
	to := net.UDPAddrFromAddrPort(q.client)
	switch {
	case c.p4 != nil && q.local.IsValid():
		_, err = c.p4.WriteTo(reply, &ipv4.ControlMessage{Src: q.local.AsSlice()}, to)
	case c.p6 != nil && q.local.IsValid():
		_, err = c.p6.WriteTo(reply, &ipv6.ControlMessage{Src: q.local.AsSlice()}, to)
	default:
		_, err = c.conn.WriteToUDPAddrPort(reply, q.client)
	}
	if err != nil {
		c.srv.stats.unsent.Add(1)
	}
}

// log appends one record, from any goroutine.
func (c *singleConn) log(q *query, reply []byte, source querylog.Source) {
	c.srv.append([]querylog.Record{q.record(reply, source, c.srv.now())})
}

// An overload is not known of here, and nothing is done about it.
func (c *singleConn) backlog() backlog       { return backlog{room: math.MaxUint32} }
func (c *singleConn) setRoom(int)            {}
func (c *singleConn) patience(time.Duration) {}
func (c *singleConn) thin([]thinning, int)   {}

// wake makes a blocked reader return.
func (c *singleConn) wake() { c.conn.SetReadDeadline(time.Unix(1, 0)) }

// close gives the socket up. Nobody may use it any more.
func (c *singleConn) close() { c.conn.Close() }
