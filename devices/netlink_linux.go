package devices

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// kernel is the neighbour table of Linux, over rtnetlink(7). It needs no
// privilege.
type kernel struct {
	namespace int // file descriptor of a network namespace; 0: the process's

	linkLocal atomic.Pointer[[]int] // interfaces that have a link-local address
}

func kernelNeighbours() Neighbours { return &kernel{} }

const (
	eventBuffer   = 1 << 20                // octets; the kernel may grant fewer
	afterLoss     = 250 * time.Millisecond // before the table is read again
	linksQuiet    = 200 * time.Millisecond // addresses and routes come in bursts
	dumpAttempts  = 3                      // for a table that changes while it is read
	mostLinkLocal = 64                     // interfaces asked for a link-local address without a zone
)

// Follow reads the table and then its changes. When the kernel had to drop
// changes (ENOBUFS) it begins again with a new socket, whose queue is empty.
func (k *kernel) Follow(ctx context.Context, change func(Change)) error {
	lost := false
	for {
		err := k.follow(ctx, lost, change)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		lost = true
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(afterLoss):
		}
	}
}

// follow subscribes first and reads the tables then, so that nothing falls
// between the two.
func (k *kernel) follow(ctx context.Context, lost bool, change func(Change)) error {
	events, err := k.subscribe()
	if err != nil {
		return err
	}
	defer events.Close()
	tables, err := k.dial()
	if err != nil {
		return err
	}
	defer tables.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		events.Close()
		tables.Close()
	})()

	entries, err := readNeighbours(tables)
	if err != nil {
		return err
	}
	links, err := k.readLinks(tables)
	if err != nil {
		return err
	}
	change(Change{Whole: true, Lost: lost, Entries: entries, Links: links})

	moved := make(chan struct{}, 1)
	var following sync.WaitGroup
	following.Go(func() { k.followLinks(ctx, tables, moved, change) })
	err = receive(events, moved, change)
	cancel()
	following.Wait()
	return err
}

// receive passes on what changes in the neighbour table, and that something of
// the links moved, until the socket fails.
func receive(events *netlink.Conn, moved chan<- struct{}, change func(Change)) error {
	for {
		messages, err := events.Receive()
		if err != nil {
			return fmt.Errorf("following the neighbour table: %w", err)
		}
		var entries []Entry
		for _, m := range messages {
			switch m.Header.Type {
			case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
				if e, ok := parseNeighbour(m.Data, m.Header.Type == unix.RTM_DELNEIGH); ok {
					entries = append(entries, e)
				}
			case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
				if r, ok := parseRoute(m.Data); !ok || !r.matters() {
					continue
				}
				signal(moved)
			case unix.RTM_NEWADDR, unix.RTM_DELADDR:
				signal(moved)
			}
		}
		if len(entries) > 0 {
			change(Change{Entries: entries})
		}
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// followLinks reads addresses and routes again a moment after they moved. When
// that fails, what was known stays until the next move.
func (k *kernel) followLinks(ctx context.Context, tables *netlink.Conn, moved <-chan struct{}, change func(Change)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-moved:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(linksQuiet):
		}
		if links, err := k.readLinks(tables); err == nil {
			change(Change{Links: links})
		}
	}
}

// dial opens a socket for questions.
func (k *kernel) dial() (*netlink.Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: k.namespace})
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return c, nil
}

// subscribe opens a socket for changes.
func (k *kernel) subscribe() (*netlink.Conn, error) {
	c, err := k.dial()
	if err != nil {
		return nil, err
	}
	for _, group := range []uint32{
		unix.RTNLGRP_NEIGH,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	} {
		if err := c.JoinGroup(group); err != nil {
			c.Close()
			return nil, fmt.Errorf("netlink group %d: %w", group, err)
		}
	}
	_ = c.SetReadBuffer(eventBuffer) // the default serves too, with more losses
	return c, nil
}

// dump reads a whole table, again if it changed meanwhile.
func dump(c *netlink.Conn, kind netlink.HeaderType, question []byte) ([]netlink.Message, error) {
	for attempt := 1; ; attempt++ {
		messages, err := c.Execute(netlink.Message{
			Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump},
			Data:   question,
		})
		if err != nil {
			return nil, err
		}
		interrupted := slices.ContainsFunc(messages, func(m netlink.Message) bool {
			return m.Header.Flags&netlink.DumpInterrupted != 0
		})
		if !interrupted || attempt == dumpAttempts {
			return messages, nil
		}
	}
}

// readNeighbours returns the table, entries that have just answered last: they
// win where an address is on two links.
func readNeighbours(c *netlink.Conn) ([]Entry, error) {
	var stale, confirmed []Entry
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		messages, err := dump(c, unix.RTM_GETNEIGH, neighbourQuestion(family, netip.Addr{}, 0))
		if err != nil {
			return nil, fmt.Errorf("reading the neighbour table: %w", err)
		}
		for _, m := range messages {
			e, ok := parseNeighbour(m.Data, false)
			switch {
			case !ok || m.Data[0] != family || e.Gone:
			case e.Confirmed:
				confirmed = append(confirmed, e)
			default:
				stale = append(stale, e)
			}
		}
	}
	return append(stale, confirmed...), nil
}

// readLinks returns the addresses, on-link prefixes and gateways of the machine.
func (k *kernel) readLinks(c *netlink.Conn) (*Links, error) {
	names := make(map[int]interfaceName)
	messages, err := dump(c, unix.RTM_GETLINK, make([]byte, sizeofIfInfo))
	if err != nil {
		return nil, fmt.Errorf("reading the interfaces: %w", err)
	}
	for _, m := range messages {
		if link, of, ok := parseLink(m.Data); ok {
			names[link] = of
		}
	}
	var out Links
	var router *route
	var linkLocal []int
	messages, err = dump(c, unix.RTM_GETADDR, make([]byte, sizeofIfAddr))
	if err != nil {
		return nil, fmt.Errorf("reading the interfaces' addresses: %w", err)
	}
	for _, m := range messages {
		a, ok := parseAddress(m.Data)
		if !ok {
			continue
		}
		out.add(a.addr, names[a.link].mac)
		if a.addr.Is4() {
			continue
		}
		out.OnLink = append(out.OnLink, netip.PrefixFrom(a.addr, a.addr.BitLen()), a.prefix)
		if a.addr.IsLinkLocalUnicast() && !slices.Contains(linkLocal, a.link) && len(linkLocal) < mostLinkLocal {
			linkLocal = append(linkLocal, a.link)
		}
	}
	k.linkLocal.Store(&linkLocal)
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		question := make([]byte, sizeofRtMsg)
		question[0] = family
		messages, err := dump(c, unix.RTM_GETROUTE, question)
		if err != nil {
			return nil, fmt.Errorf("reading the routes: %w", err)
		}
		for _, m := range messages {
			r, ok := parseRoute(m.Data)
			if ok && m.Data[0] == family && r.isBetterRouter(router) {
				router = &r
			}
			switch {
			case !ok || m.Data[0] != family || !r.matters():
			case r.prefix.Bits() == 0:
				out.Gateways = append(out.Gateways, r.gateways...)
			default:
				out.OnLink = append(out.OnLink, r.prefix)
			}
		}
	}
	if router != nil {
		out.Router = router.gateway(names)
	}
	return &out, nil
}

// matters reports whether Links show r: a default route by a gateway, or an IPv6
// prefix that the kernel or a router advertisement put on a link. Tunnels route
// half the Internet to a link without a gateway, under other protocols.
func (r *route) matters() bool {
	if r.prefix.Bits() == 0 {
		return len(r.gateways) > 0
	}
	return r.prefix.Addr().Is6() && len(r.gateways) == 0 && (r.protocol == unix.RTPROT_KERNEL || r.protocol == rtprotRA)
}

// Ask asks the kernel which link a is on, and which MAC has it there. The latter
// question needs Linux 5.0; before that, nothing is found.
func (k *kernel) Ask(ctx context.Context, a netip.Addr) (Entry, bool) {
	c, err := k.dial()
	if err != nil {
		return Entry{}, false
	}
	defer c.Close()
	deadline, ok := ctx.Deadline()
	if ok {
		_ = c.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()

	var found Entry
	for _, link := range k.linksOf(c, a) {
		e, ok := ask(c, a, link)
		switch {
		case !ok:
		case found.MAC != "" && found.MAC != e.MAC:
			return Entry{}, false // two devices, and no zone to tell which
		default:
			found = e
		}
	}
	return found, found.MAC != ""
}

// discard is the port of the datagrams by which Probe makes the kernel resolve an
// address (RFC 863).
const discard = 9

// Probe sends an empty datagram to a, if it is on a link: the kernel must resolve
// the address for that. A device that has just taken an address may ask from it
// before the kernel has had a reason to.
func (k *kernel) Probe(a netip.Addr) bool {
	c, err := k.dial()
	if err != nil {
		return false
	}
	links := k.linksOf(c, a)
	c.Close()
	if len(links) != 1 {
		return false
	}
	if a.Is6() && a.IsLinkLocalUnicast() {
		a = a.WithZone(strconv.Itoa(links[0]))
	}
	u, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, discard)))
	if err != nil {
		return false
	}
	defer u.Close()
	_, err = u.Write(nil)
	return err == nil
}

// linksOf returns the interfaces a may be a neighbour on: one, but for
// link-local addresses without a zone.
func (k *kernel) linksOf(c *netlink.Conn, a netip.Addr) []int {
	if zone := a.Zone(); zone != "" {
		if index, err := strconv.Atoi(zone); err == nil {
			return []int{index}
		}
		if i, err := net.InterfaceByName(zone); err == nil {
			return []int{i.Index}
		}
		return nil
	}
	if a.Is6() && a.IsLinkLocalUnicast() {
		if links := k.linkLocal.Load(); links != nil {
			return *links
		}
		return nil
	}
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request},
		Data:   routeQuestion(a),
	})
	if err != nil || len(answers) != 1 {
		return nil
	}
	r, ok := parseRoute(answers[0].Data)
	if !ok || len(r.gateways) > 0 || r.link == 0 {
		return nil // behind a router, or this machine itself
	}
	return []int{r.link}
}

// ask looks a up on one link.
func ask(c *netlink.Conn, a netip.Addr, link int) (Entry, bool) {
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETNEIGH, Flags: netlink.Request},
		Data:   neighbourQuestion(familyOf(a), a, link),
	})
	if err != nil || len(answers) != 1 {
		return Entry{}, false
	}
	e, ok := parseNeighbour(answers[0].Data, false)
	return e, ok && !e.Gone
}
