package devices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/time/rate"

	"telltale/devices/announce"
)

// What devices say to everybody on their link is listened to by sockets that are bound to
// the groups' addresses, so that they get nothing else: what is sent to this machine alone
// stays with who serves the port here. Nothing is ever sent by them.

// A group is whom devices say something to.
type group struct {
	name   string
	to     netip.AddrPort
	read   func(packet []byte) (announce.Message, error)
	hopAll bool // packets leave with the largest hop limit, so that one that came through a router has a smaller one
}

// groups returns those that are listened to: multicast DNS (RFC 6762, 3), and SSDP. The
// hop limit of SSDP is small (UPnP Device Architecture 2.0, 1.1.2) and says nothing.
func groups() []group {
	return []group{
		{"mDNS", netip.MustParseAddrPort("224.0.0.251:5353"), announce.ParseMDNS, true},
		{"mDNS", netip.MustParseAddrPort("[ff02::fb]:5353"), announce.ParseMDNS, true},
		{"SSDP", netip.MustParseAddrPort("239.255.255.250:1900"), announce.ParseSSDP, false},
		{"SSDP", netip.MustParseAddrPort("[ff02::c]:1900"), announce.ParseSSDP, false},
	}
}

const (
	lookForLinks  = 30 * time.Second // between two looks at the interfaces without a sign of a change
	maxLinks      = 16               // interfaces that are listened on
	largestHops   = 255              // RFC 6762, 11
	readRate      = 300              // packets a second, of all; the kernel drops what is not read
	floodPause    = 50 * time.Millisecond
	announcerRate = 20 // packets a second that are parsed of one address, and of those that share its bucket
	announcerMost = 100
)

// AnnouncementStatus is how far devices are heard.
type AnnouncementStatus struct {
	On        bool
	Links     []string // names of the interfaces that are listened on
	Addresses int      // of which something was heard within 24 hours
	Packets   uint64
	Foreign   uint64 // not of the link: neither counts what they say
	Malformed uint64
	Limited   uint64 // too many at once
	Beyond    uint64 // of addresses for which there was no room
	Problem   string // why something is not listened to; "" for none
}

// hearing is what listens. It belongs to the Ledger that it tells.
type hearing struct {
	ledger  *Ledger
	sockets map[socketOf]*groupSocket
	running sync.WaitGroup
	seed    maphash.Seed

	mu      sync.Mutex
	links   map[int]link
	buckets [256]*rate.Limiter // by address
	total   *rate.Limiter
	status  AnnouncementStatus // but for Addresses and Beyond
}

// A socketOf is what a socket is for.
type socketOf struct {
	to   netip.AddrPort
	link int // index of its interface
}

// A link is an interface that is listened on.
type link struct {
	name     string
	prefixes []netip.Prefix // of its addresses
}

// has reports whether a is an address of the link.
func (l *link) has(a netip.Addr) bool {
	a = a.WithZone("")
	if a.Is6() && a.IsLinkLocalUnicast() {
		return true
	}
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// SetAnnouncements begins or ends to listen to what devices say to everybody on their link.
func (l *Ledger) SetAnnouncements(on bool) {
	l.hearingMu.Lock()
	defer l.hearingMu.Unlock()
	switch {
	case on && l.hearing == nil:
		l.hearing = newHearing(l)
		l.stopHearing = l.background(l.hearing.run)
	case !on && l.hearing != nil:
		l.stopHearing()
		l.hearing = nil
		l.mu.Lock()
		l.announced = newAnnouncements()
		l.forgetNames(FromMDNS, l.currentTick())
		l.mu.Unlock()
		l.wakePublisher()
	}
}

// AnnouncementStatus returns how far devices are heard.
func (l *Ledger) AnnouncementStatus() (st AnnouncementStatus) {
	l.hearingMu.Lock()
	if h := l.hearing; h != nil {
		h.mu.Lock()
		st = h.status
		st.On, st.Links = true, slices.Clone(h.status.Links)
		h.mu.Unlock()
	}
	l.hearingMu.Unlock()
	l.mu.Lock()
	st.Addresses, st.Beyond = len(l.announced.by), l.announced.beyond
	l.mu.Unlock()
	return st
}

// hear takes a message that an address sent to its link. onLink reports whether an address
// is one of that link.
func (l *Ledger) hear(from netip.Addr, m *announce.Message, onLink func(netip.Addr) bool) {
	l.mu.Lock()
	l.state.hear(plain(from), m, onLink, l.currentTick())
	l.mu.Unlock()
	l.wakePublisher()
}

func newHearing(l *Ledger) *hearing {
	h := &hearing{ledger: l, sockets: map[socketOf]*groupSocket{}, seed: maphash.MakeSeed(), links: map[int]link{}, total: rate.NewLimiter(readRate, readRate)}
	for i := range h.buckets {
		h.buckets[i] = rate.NewLimiter(announcerRate, announcerMost)
	}
	return h
}

// run listens until ctx ends.
func (h *hearing) run(ctx context.Context) {
	defer h.running.Wait()
	defer h.closeAll()
	for {
		h.listen(ctx, linksNow)
		select {
		case <-ctx.Done():
			return
		case <-h.ledger.linksMoved:
		case <-time.After(lookForLinks):
		}
	}
}

func (h *hearing) closeAll() {
	for of, s := range h.sockets {
		s.Close()
		delete(h.sockets, of)
	}
}

// listen opens a socket for each group on each interface that has none yet, and closes those
// of interfaces that are gone. Of what goes wrong it says the first, in the order of the
// interfaces: the next time it is the same.
func (h *hearing) listen(ctx context.Context, linksNow func() (map[int]link, error)) {
	links, err := linksNow()
	for of, s := range h.sockets {
		if _, still := links[of.link]; !still || s.broken.Load() {
			s.Close()
			delete(h.sockets, of)
		}
	}
	h.mu.Lock()
	h.links = links
	h.mu.Unlock()
	problem := ""
	if err != nil {
		problem = fmt.Sprintf("the interfaces cannot be read: %v", err)
	}
	heard := map[string]bool{}
	for _, index := range slices.Sorted(maps.Keys(links)) {
		l := links[index]
		for _, g := range groups() {
			of := socketOf{g.to, index}
			if h.sockets[of] == nil {
				if g.to.Addr().Is4() && !slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() }) {
					continue // nobody is heard there
				}
				s, err := openGroup(g, index)
				if err != nil {
					problem = cmp.Or(problem, fmt.Sprintf("%s to %s on %s: %v", g.name, g.to, l.name, err))
					continue
				}
				h.sockets[of] = s
				h.running.Go(func() { h.follow(ctx, s) })
			}
			heard[l.name] = true
		}
	}
	h.mu.Lock()
	changed := problem != h.status.Problem
	h.status.Problem, h.status.Links = problem, h.status.Links[:0:0]
	for name := range heard {
		h.status.Links = append(h.status.Links, name)
	}
	slices.Sort(h.status.Links)
	h.mu.Unlock()
	if changed && problem != "" {
		h.ledger.logger.Warn("devices: what devices say of themselves is not heard", "error", problem)
	}
}

// linksNow returns the interfaces on which devices can be heard, by index.
func linksNow() (map[int]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	const wanted = net.FlagUp | net.FlagMulticast
	links := map[int]link{}
	for _, i := range all {
		if i.Flags&(wanted|net.FlagLoopback|net.FlagPointToPoint) != wanted || len(links) == maxLinks {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil || len(addrs) == 0 {
			continue // an interface that has just gone, or a port of a bridge
		}
		l := link{name: i.Name}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if addr, ok := netip.AddrFromSlice(n.IP); ok {
					bits, _ := n.Mask.Size()
					l.prefixes = append(l.prefixes, netip.PrefixFrom(addr.Unmap(), bits).Masked())
				}
			}
		}
		links[i.Index] = l
	}
	return links, nil
}

// follow takes packets of one socket until it is closed.
func (h *hearing) follow(ctx context.Context, s *groupSocket) {
	packet := make([]byte, announce.MaxPacket+1)
	for {
		n, from, hops, link, err := s.receive(packet)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.broken.Store(true)
			}
			return
		}
		if link == s.link { // else another socket of ours has it, too
			h.take(&s.group, packet[:n], from, hops, link)
		}
		for !h.total.AllowN(h.ledger.now(), 1) {
			h.count(&h.status.Limited)
			select {
			case <-ctx.Done():
				return
			case <-time.After(floodPause):
			}
		}
	}
}

// take takes a packet that came to a group on a link. hops is its hop limit; 0 where that
// is not known.
func (h *hearing) take(g *group, packet []byte, from netip.Addr, hops, index int) {
	from = plain(from)
	h.mu.Lock()
	h.status.Packets++
	l, ok := h.links[index]
	h.mu.Unlock()
	switch {
	case !ok || !l.has(from) || from.IsUnspecified() || from.IsMulticast() || g.hopAll && hops != 0 && hops != largestHops:
		h.count(&h.status.Foreign)
		return
	case !h.bucket(from).AllowN(h.ledger.now(), 1):
		h.count(&h.status.Limited)
		return
	}
	m, err := g.read(packet)
	if err != nil {
		h.count(&h.status.Malformed)
		return
	}
	if len(m.Hosts)+len(m.Names)+len(m.Models)+len(m.Services)+len(m.Software) > 0 {
		h.ledger.hear(from, &m, l.has)
	}
}

// bucket returns the limiter of the packets of an address.
func (h *hearing) bucket(a netip.Addr) *rate.Limiter {
	b := a.As16()
	return h.buckets[maphash.Bytes(h.seed, b[:])%uint64(len(h.buckets))]
}

func (h *hearing) count(n *uint64) {
	h.mu.Lock()
	*n++
	h.mu.Unlock()
}

// A groupSocket gets what is sent to a group on one interface.
type groupSocket struct {
	group
	link   int
	conn   net.PacketConn
	v4     *ipv4.PacketConn // one of the two
	v6     *ipv6.PacketConn
	broken atomic.Bool // it is of no use any more: another one is opened for it
}

// openGroup begins to listen to a group on the interface with an index.
func openGroup(g group, index int) (*groupSocket, error) {
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return nil, err
	}
	conn, err := bindGroup(g.to, index)
	if err != nil {
		return nil, err
	}
	s := &groupSocket{group: g, link: index, conn: conn}
	to := net.UDPAddrFromAddrPort(g.to)
	if g.to.Addr().Is4() {
		s.v4 = ipv4.NewPacketConn(conn)
		err = errors.Join(s.v4.JoinGroup(i, to), s.v4.SetControlMessage(ipv4.FlagTTL|ipv4.FlagInterface, true))
	} else {
		s.v6 = ipv6.NewPacketConn(conn)
		err = errors.Join(s.v6.JoinGroup(i, to), s.v6.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// receive waits for a packet. hops is 0 where it is not known, link the index of the
// interface that it came on.
func (s *groupSocket) receive(b []byte) (n int, from netip.Addr, hops, link int, err error) {
	var src net.Addr
	link = s.link
	if s.v4 != nil {
		var c *ipv4.ControlMessage
		if n, c, src, err = s.v4.ReadFrom(b); c != nil {
			hops, link = c.TTL, c.IfIndex
		}
	} else {
		var c *ipv6.ControlMessage
		if n, c, src, err = s.v6.ReadFrom(b); c != nil {
			hops, link = c.HopLimit, c.IfIndex
		}
	}
	if u, ok := src.(*net.UDPAddr); ok {
		from = u.AddrPort().Addr()
	}
	return n, from, hops, link, err
}

func (s *groupSocket) Close() { s.conn.Close() }
