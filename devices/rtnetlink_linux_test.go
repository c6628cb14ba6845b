package devices

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// message is a fixed part followed by attributes, in the machine's byte order.
func message(fixed []byte, attributes ...[]byte) []byte {
	return slices.Concat(append([][]byte{fixed}, attributes...)...)
}

func attribute(kind uint16, value ...byte) []byte {
	b := appendAttribute(nil, kind, value)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func ndmsg(family byte, link uint32, state uint16, flags byte) []byte {
	b := make([]byte, sizeofNdMsg)
	b[0], b[10] = family, flags
	binary.NativeEndian.PutUint32(b[4:], link)
	binary.NativeEndian.PutUint16(b[8:], state)
	return b
}

func TestParseNeighbour(t *testing.T) {
	dst := attribute(unix.NDA_DST, 192, 168, 1, 5)
	dst6 := attribute(unix.NDA_DST, append([]byte{0xfd}, make([]byte, 15)...)...)
	mac := attribute(unix.NDA_LLADDR, 0, 0x1b, 0x21, 0, 0, 3)
	v4 := func(state uint16) []byte { return ndmsg(unix.AF_INET, 7, state, 0) }
	a, a6 := addr("192.168.1.5"), addr("fd00::")
	for _, c := range []struct {
		name string
		data []byte
		gone bool
		want Entry
		ok   bool
	}{
		{"reachable is confirmed", message(v4(unix.NUD_REACHABLE), dst, mac), false, Entry{a, macLaptop, 7, true, false}, true},
		{"permanent is confirmed", message(v4(unix.NUD_PERMANENT), dst, mac), false, Entry{a, macLaptop, 7, true, false}, true},
		{"stale has a MAC", message(v4(unix.NUD_STALE), dst, mac), false, Entry{a, macLaptop, 7, false, false}, true},
		{"delay has a MAC", message(v4(unix.NUD_DELAY), dst, mac), false, Entry{a, macLaptop, 7, false, false}, true},
		{"probe has a MAC", message(v4(unix.NUD_PROBE), dst, mac), false, Entry{a, macLaptop, 7, false, false}, true},
		{"IPv6", message(ndmsg(unix.AF_INET6, 7, unix.NUD_STALE, 0), dst6, mac), false, Entry{a6, macLaptop, 7, false, false}, true},
		{"failed has none, whatever it says", message(v4(unix.NUD_FAILED), dst, mac), false, Entry{a, "", 7, false, true}, true},
		{"incomplete has none", message(v4(unix.NUD_INCOMPLETE), dst), false, Entry{a, "", 7, false, true}, true},
		{"deleted", message(v4(unix.NUD_STALE), dst, mac), true, Entry{a, "", 7, false, true}, true},
		{"other attributes are skipped", message(v4(unix.NUD_STALE), attribute(unix.NDA_CACHEINFO, make([]byte, 16)...), dst, mac), false, Entry{a, macLaptop, 7, false, false}, true},
		{"a proxied entry is ours, not a neighbour's", message(ndmsg(unix.AF_INET, 7, unix.NUD_STALE, unix.NTF_PROXY), dst, mac), false, Entry{}, false},
		{"a bridge's table is another", message(ndmsg(unix.AF_BRIDGE, 7, unix.NUD_STALE, 0), mac), false, Entry{}, false},
		{"no address", message(v4(unix.NUD_STALE), mac), false, Entry{}, false},
		{"an address of the other family", message(v4(unix.NUD_STALE), dst6, mac), false, Entry{}, false},
		{"cut short", v4(unix.NUD_STALE)[:8], false, Entry{}, false},
		{"nothing", nil, false, Entry{}, false},
	} {
		got, ok := parseNeighbour(c.data, c.gone)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
	for name, data := range map[string][]byte{
		"an entry without ARP":    message(v4(unix.NUD_NOARP), dst, mac),
		"the zero MAC":            message(v4(unix.NUD_STALE), dst, attribute(unix.NDA_LLADDR, 0, 0, 0, 0, 0, 0)),
		"a tunnel's IPv4 address": message(v4(unix.NUD_STALE), dst, attribute(unix.NDA_LLADDR, 10, 0, 0, 1)),
		"no MAC at all":           message(v4(unix.NUD_STALE), dst),
	} {
		if got, ok := parseNeighbour(data, false); ok && !got.Gone {
			t.Errorf("%s: got %+v, want nothing", name, got)
		}
	}
}

func rtmsg(family, bits, protocol, kind byte) []byte {
	return []byte{family, bits, 0, 0, unix.RT_TABLE_MAIN, protocol, 0, kind, 0, 0, 0, 0}
}

func setFlags(rtmsg []byte, flags uint32) []byte {
	binary.NativeEndian.PutUint32(rtmsg[8:], flags)
	return rtmsg
}

func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func TestParseRoute(t *testing.T) {
	hop := func(gateway byte) []byte {
		g := attribute(unix.RTA_GATEWAY, 10, 0, 0, gateway)
		b := binary.NativeEndian.AppendUint16(nil, uint16(sizeofNextHop+len(g)))
		b = append(b, 0, 0)
		return append(append(b, u32(3)...), g...)
	}
	six := append([]byte{0x20, 1, 0xd, 0xb8}, make([]byte, 12)...)
	for _, c := range []struct {
		name    string
		data    []byte
		want    route
		ok      bool
		matters bool
	}{
		{"a default route", message(rtmsg(unix.AF_INET, 0, unix.RTPROT_STATIC, unix.RTN_UNICAST), attribute(unix.RTA_GATEWAY, 10, 0, 0, 1), attribute(unix.RTA_OIF, u32(3)...)),
			route{prefix: netip.MustParsePrefix("0.0.0.0/0"), gateways: []netip.Addr{addr("10.0.0.1")}, link: 3, protocol: unix.RTPROT_STATIC, table: unix.RT_TABLE_MAIN}, true, true},
		{"a default route by two gateways", message(rtmsg(unix.AF_INET, 0, unix.RTPROT_STATIC, unix.RTN_UNICAST), attribute(unix.RTA_MULTIPATH, append(hop(1), hop(2)...)...)),
			route{prefix: netip.MustParsePrefix("0.0.0.0/0"), gateways: []netip.Addr{addr("10.0.0.1"), addr("10.0.0.2")}, hopLinks: []int{3, 3}, protocol: unix.RTPROT_STATIC, table: unix.RT_TABLE_MAIN}, true, true},
		{"a default route of another table, with a metric, whose link is down", message(setFlags(rtmsg(unix.AF_INET, 0, unix.RTPROT_STATIC, unix.RTN_UNICAST), unix.RTNH_F_LINKDOWN),
			attribute(unix.RTA_GATEWAY, 10, 0, 0, 1), attribute(unix.RTA_TABLE, u32(1000)...), attribute(unix.RTA_PRIORITY, u32(100)...)),
			route{prefix: netip.MustParsePrefix("0.0.0.0/0"), gateways: []netip.Addr{addr("10.0.0.1")}, protocol: unix.RTPROT_STATIC, table: 1000, metric: 100, dead: true}, true, true},
		{"IPv4 by an IPv6 gateway", message(rtmsg(unix.AF_INET, 0, unix.RTPROT_STATIC, unix.RTN_UNICAST), attribute(unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), six...)...)),
			route{prefix: netip.MustParsePrefix("0.0.0.0/0"), gateways: []netip.Addr{addr("2001:db8::")}, link: 0, protocol: unix.RTPROT_STATIC, table: unix.RT_TABLE_MAIN}, true, true},
		{"a default route to a link has no gateway", message(rtmsg(unix.AF_INET6, 0, unix.RTPROT_BOOT, unix.RTN_UNICAST), attribute(unix.RTA_OIF, u32(3)...)),
			route{prefix: netip.MustParsePrefix("::/0"), gateways: nil, link: 3, protocol: unix.RTPROT_BOOT, table: unix.RT_TABLE_MAIN}, true, false},
		{"an advertised prefix on a link", message(rtmsg(unix.AF_INET6, 64, rtprotRA, unix.RTN_UNICAST), attribute(unix.RTA_DST, six...), attribute(unix.RTA_OIF, u32(3)...)),
			route{prefix: netip.MustParsePrefix("2001:db8::/64"), gateways: nil, link: 3, protocol: rtprotRA, table: unix.RT_TABLE_MAIN}, true, true},
		{"half the Internet on a tunnel", message(rtmsg(unix.AF_INET6, 3, unix.RTPROT_BOOT, unix.RTN_UNICAST), attribute(unix.RTA_DST, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), attribute(unix.RTA_OIF, u32(3)...)),
			route{prefix: netip.MustParsePrefix("2000::/3"), gateways: nil, link: 3, protocol: unix.RTPROT_BOOT, table: unix.RT_TABLE_MAIN}, true, false},
		{"a prefix behind a router", message(rtmsg(unix.AF_INET6, 64, rtprotRA, unix.RTN_UNICAST), attribute(unix.RTA_DST, six...), attribute(unix.RTA_GATEWAY, six...)),
			route{prefix: netip.MustParsePrefix("2001:db8::/64"), gateways: []netip.Addr{addr("2001:db8::")}, link: 0, protocol: rtprotRA, table: unix.RT_TABLE_MAIN}, true, false},
		{"a local address is no route", message(rtmsg(unix.AF_INET, 32, unix.RTPROT_KERNEL, unix.RTN_LOCAL), attribute(unix.RTA_DST, 10, 0, 0, 1)), route{}, false, false},
		{"a length beyond the address", message(rtmsg(unix.AF_INET, 33, unix.RTPROT_KERNEL, unix.RTN_UNICAST), attribute(unix.RTA_DST, 10, 0, 0, 1)), route{}, false, false},
		{"MPLS", message(rtmsg(28, 20, unix.RTPROT_STATIC, unix.RTN_UNICAST)), route{}, false, false},
	} {
		got, ok := parseRoute(c.data)
		if ok != c.ok || ok && (!reflect.DeepEqual(got, c.want) || got.matters() != c.matters) {
			t.Errorf("%s: got %+v, %v, matters %v, want %+v, %v, matters %v", c.name, got, ok, got.matters(), c.want, c.ok, c.matters)
		}
	}
}

// The router is the gateway that packets take.
func TestWhichRouteIsTheRouters(t *testing.T) {
	links := map[int]interfaceName{3: {name: "eth0"}}
	by := func(prefix, gateway string, metric uint32) route {
		return route{prefix: netip.MustParsePrefix(prefix), gateways: []netip.Addr{addr(gateway)}, link: 3, table: unix.RT_TABLE_MAIN, metric: metric}
	}
	with := func(r route, change func(*route)) route {
		change(&r)
		return r
	}
	four, six := by("0.0.0.0/0", "10.0.0.1", 100), by("::/0", "fe80::1", 1024)
	for _, c := range []struct {
		fact   string
		routes []route
		want   string
	}{
		{"no route", nil, "invalid IP"},
		{"the only one", []route{four}, "10.0.0.1"},
		{"the lowest metric", []route{four, by("0.0.0.0/0", "10.0.0.2", 50), by("0.0.0.0/0", "10.0.0.3", 600)}, "10.0.0.2"},
		{"the first where they are equal", []route{four, by("0.0.0.0/0", "10.0.0.2", 100)}, "10.0.0.1"},
		{"IPv4 before IPv6", []route{by("::/0", "fe80::1", 1), four}, "10.0.0.1"},
		{"IPv6 where there is no IPv4", []route{six, by("::/0", "2001:db8::1", 2000)}, "fe80::1%eth0"},
		{"the link of a next hop", []route{with(six, func(r *route) { r.link, r.hopLinks = 0, []int{3, 4} })}, "fe80::1%eth0"},
		{"a link without a name", []route{with(six, func(r *route) { r.link = 9 })}, "invalid IP"},
		{"not a tunnel's own table", []route{with(four, func(r *route) { r.table = 51820 })}, "invalid IP"},
		{"not over a link that is down", []route{with(four, func(r *route) { r.dead = true }), by("0.0.0.0/0", "10.0.0.2", 600)}, "10.0.0.2"},
		{"not a route to a link", []route{with(four, func(r *route) { r.gateways = nil })}, "invalid IP"},
		{"not half the Internet", []route{by("0.0.0.0/1", "10.0.0.1", 0)}, "invalid IP"},
	} {
		var best *route
		for i := range c.routes {
			if c.routes[i].isBetterRouter(best) {
				best = &c.routes[i]
			}
		}
		got := netip.Addr{}
		if best != nil {
			got = best.gateway(links)
		}
		if got.String() != c.want {
			t.Errorf("%s: got %v, want %s", c.fact, got, c.want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	ifaddr := func(family, bits byte) []byte { return append([]byte{family, bits, 0, 0}, u32(3)...) }
	for _, c := range []struct {
		name string
		data []byte
		want interfaceAddress
		ok   bool
	}{
		{"an address and its prefix", message(ifaddr(unix.AF_INET, 24), attribute(unix.IFA_ADDRESS, 10, 0, 0, 1), attribute(unix.IFA_LOCAL, 10, 0, 0, 1)),
			interfaceAddress{addr("10.0.0.1"), netip.PrefixFrom(addr("10.0.0.1"), 24), 3}, true},
		{"a point-to-point link: ours and theirs", message(ifaddr(unix.AF_INET, 32), attribute(unix.IFA_ADDRESS, 10, 0, 0, 2), attribute(unix.IFA_LOCAL, 10, 0, 0, 1)),
			interfaceAddress{addr("10.0.0.1"), netip.PrefixFrom(addr("10.0.0.2"), 32), 3}, true},
		{"IPv6 says it once", message(ifaddr(unix.AF_INET6, 64), attribute(unix.IFA_ADDRESS, append([]byte{0xfd}, make([]byte, 15)...)...)),
			interfaceAddress{addr("fd00::"), netip.PrefixFrom(addr("fd00::"), 64), 3}, true},
		{"none", ifaddr(unix.AF_INET, 24), interfaceAddress{}, false},
		{"a length beyond the address", message(ifaddr(unix.AF_INET, 64), attribute(unix.IFA_ADDRESS, 10, 0, 0, 1)), interfaceAddress{}, false},
	} {
		if got, ok := parseAddress(c.data); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

// FuzzRtnetlink: whatever the kernel may say one day, nothing panics and what is
// taken is sound.
func FuzzRtnetlink(f *testing.F) {
	f.Add(message(ndmsg(unix.AF_INET, 7, unix.NUD_REACHABLE, 0), attribute(unix.NDA_DST, 10, 0, 0, 1), attribute(unix.NDA_LLADDR, 0, 1, 2, 3, 4, 5)))
	f.Add(message(rtmsg(unix.AF_INET, 0, unix.RTPROT_STATIC, unix.RTN_UNICAST), attribute(unix.RTA_GATEWAY, 10, 0, 0, 1)))
	f.Add(message(rtmsg(unix.AF_INET, 0, 0, unix.RTN_UNICAST), attribute(unix.RTA_MULTIPATH, 16, 0, 0, 0, 3, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 1)))
	f.Add(message([]byte{unix.AF_INET6, 64, 0, 0, 3, 0, 0, 0}, attribute(unix.IFA_ADDRESS, make([]byte, 16)...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, ok := parseNeighbour(data, false); ok && (!e.Addr.IsValid() || e.Gone == individual(e.MAC)) {
			t.Errorf("neighbour: %+v", e)
		}
		if a, ok := parseAddress(data); ok && (!a.addr.IsValid() || !a.prefix.IsValid()) {
			t.Errorf("address: %+v", a)
		}
		if r, ok := parseRoute(data); ok && (!r.prefix.IsValid() || slices.ContainsFunc(r.gateways, func(g netip.Addr) bool { return !g.IsValid() })) {
			t.Errorf("route: %+v", r)
		}
		parseLink(data)
	})
}
