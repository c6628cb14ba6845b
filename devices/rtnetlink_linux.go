package devices

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The messages of rtnetlink(7) that matter here. Their integers are in the
// machine's byte order, addresses in network order. A parser returns false for
// what is malformed and for what is of no interest.

const (
	sizeofNdMsg    = 12
	sizeofIfAddr   = 8
	sizeofIfInfo   = 16
	sizeofRtMsg    = 12
	sizeofNextHop  = 8
	rtprotRA       = 9    // RTPROT_RA
	validNeighbour = 0xde // NUD_REACHABLE, STALE, DELAY, PROBE and PERMANENT: the address has a MAC
)

// parseNeighbour reads an ndmsg of IPv4 or IPv6.
func parseNeighbour(data []byte, gone bool) (Entry, bool) {
	if len(data) < sizeofNdMsg || !isIP(data[0]) || data[10]&unix.NTF_PROXY != 0 {
		return Entry{}, false
	}
	state := binary.NativeEndian.Uint16(data[8:])
	e := Entry{
		Interface: int(int32(binary.NativeEndian.Uint32(data[4:]))),
		Confirmed: state&(unix.NUD_REACHABLE|unix.NUD_PERMANENT) != 0,
		Gone:      gone || state&validNeighbour == 0,
	}
	ok := attributes(data[sizeofNdMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.NDA_DST:
			e.Addr, _ = netip.AddrFromSlice(value)
		case unix.NDA_LLADDR:
			e.MAC = net.HardwareAddr(value).String()
		}
	})
	if !ok || !e.Addr.IsValid() || e.Addr.Is4() != (data[0] == unix.AF_INET) {
		return Entry{}, false
	}
	if e.Gone {
		e.MAC, e.Confirmed = "", false
		return e, true
	}
	return e, state&unix.NUD_NOARP == 0 && individual(e.MAC)
}

// An interfaceAddress is one address of this machine.
type interfaceAddress struct {
	addr   netip.Addr
	prefix netip.Prefix // reached on the link
	link   int
}

// parseAddress reads an ifaddrmsg of IPv4 or IPv6.
func parseAddress(data []byte) (interfaceAddress, bool) {
	if len(data) < sizeofIfAddr || !isIP(data[0]) {
		return interfaceAddress{}, false
	}
	var local, peer netip.Addr // the same but on point-to-point links
	ok := attributes(data[sizeofIfAddr:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			peer, _ = netip.AddrFromSlice(value)
		}
	})
	if !local.IsValid() {
		local = peer
	}
	if !peer.IsValid() {
		peer = local
	}
	a := interfaceAddress{local, netip.PrefixFrom(peer, int(data[1])), int(int32(binary.NativeEndian.Uint32(data[4:])))}
	return a, ok && a.prefix.IsValid()
}

// An interfaceName is what an interface is called, and its MAC.
type interfaceName struct{ name, mac string }

// parseLink reads an ifinfomsg.
func parseLink(data []byte) (link int, of interfaceName, ok bool) {
	if len(data) < sizeofIfInfo {
		return 0, of, false
	}
	ok = attributes(data[sizeofIfInfo:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_ADDRESS:
			of.mac = net.HardwareAddr(value).String()
		case unix.IFLA_IFNAME:
			of.name = unix.ByteSliceToString(value)
		}
	})
	return int(int32(binary.NativeEndian.Uint32(data[4:]))), of, ok
}

// A route is where packets to a prefix go.
type route struct {
	prefix   netip.Prefix
	gateways []netip.Addr // none: the destination is on the link
	link     int          // interface index; 0 where there are several next hops
	protocol byte         // who made the route
	hopLinks []int        // of each gateway its interface, where there are several; 0: link
	table    uint32       // in which it is
	metric   uint32       // the lowest is taken
	dead     bool         // its link is down
}

// parseRoute reads an rtmsg of an IPv4 or IPv6 unicast route.
func parseRoute(data []byte) (route, bool) {
	if len(data) < sizeofRtMsg || !isIP(data[0]) || data[7] != unix.RTN_UNICAST {
		return route{}, false
	}
	const unusable = unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN
	r := route{protocol: data[5], table: uint32(data[4]), dead: binary.NativeEndian.Uint32(data[8:])&unusable != 0}
	dst := netip.IPv4Unspecified()
	if data[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	ok := attributes(data[sizeofRtMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			if len(value) == 4 {
				r.link = int(int32(binary.NativeEndian.Uint32(value)))
			}
		case unix.RTA_TABLE:
			if len(value) == 4 {
				r.table = binary.NativeEndian.Uint32(value)
			}
		case unix.RTA_PRIORITY:
			if len(value) == 4 {
				r.metric = binary.NativeEndian.Uint32(value)
			}
		case unix.RTA_MULTIPATH:
			r.hops(value)
		default:
			r.hop(kind, value)
		}
	})
	r.prefix = netip.PrefixFrom(dst, int(data[1]))
	return r, ok && r.prefix.IsValid()
}

// hop reads the gateway, which may be of the other family (RTA_VIA).
func (r *route) hop(kind uint16, value []byte) {
	switch {
	case kind == unix.RTA_GATEWAY:
	case kind == unix.RTA_VIA && len(value) > 2:
		value = value[2:]
	default:
		return
	}
	if a, ok := netip.AddrFromSlice(value); ok && !a.IsUnspecified() {
		r.gateways = append(r.gateways, a)
	}
}

// hops reads the rtnexthops of a route with several gateways.
func (r *route) hops(b []byte) {
	for len(b) >= sizeofNextHop {
		n := int(binary.NativeEndian.Uint16(b))
		if n < sizeofNextHop || n > len(b) {
			return
		}
		attributes(b[sizeofNextHop:n], r.hop)
		for len(r.hopLinks) < len(r.gateways) {
			r.hopLinks = append(r.hopLinks, int(int32(binary.NativeEndian.Uint32(b[4:]))))
		}
		b = b[min((n+3)&^3, len(b)):]
	}
}

// gateway returns the first next hop, a link-local one with the name of its interface as
// its zone; not valid where that is not known.
func (r *route) gateway(links map[int]interfaceName) netip.Addr {
	a, link := r.gateways[0], r.link
	if len(r.hopLinks) > 0 {
		link = r.hopLinks[0]
	}
	if !a.Is6() || !a.IsLinkLocalUnicast() {
		return a
	}
	if links[link].name == "" {
		return netip.Addr{}
	}
	return a.WithZone(links[link].name)
}

// isBetterRouter reports whether packets to anywhere rather take r than best: a default
// route of the main table, the lowest metric of those, and of IPv4 if there is one.
func (r *route) isBetterRouter(best *route) bool {
	if r.prefix.Bits() != 0 || len(r.gateways) == 0 || r.table != unix.RT_TABLE_MAIN || r.dead {
		return false
	}
	if best == nil {
		return true
	}
	if r.prefix.Addr().Is4() != best.prefix.Addr().Is4() {
		return r.prefix.Addr().Is4()
	}
	return r.metric < best.metric
}

// attributes calls each with every attribute of b, and reports whether b was
// well-formed.
func attributes(b []byte, each func(kind uint16, value []byte)) bool {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return false
	}
	for d.Next() {
		each(d.Type(), d.Bytes())
	}
	return d.Err() == nil
}

func isIP(family byte) bool { return family == unix.AF_INET || family == unix.AF_INET6 }

// neighbourQuestion asks for the entry of a on a link; for a dump, a is the zero
// address and link 0.
func neighbourQuestion(family byte, a netip.Addr, link int) []byte {
	b := make([]byte, sizeofNdMsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], uint32(link))
	if !a.IsValid() {
		return b
	}
	return appendAttribute(b, unix.NDA_DST, a.AsSlice())
}

// routeQuestion asks for the route packets to a take.
func routeQuestion(a netip.Addr) []byte {
	b := make([]byte, sizeofRtMsg)
	b[0], b[1] = familyOf(a), byte(a.BitLen())
	return appendAttribute(b, unix.RTA_DST, a.AsSlice())
}

// appendAttribute appends an attribute whose value is four or sixteen octets.
func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, value...)
}

func familyOf(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
