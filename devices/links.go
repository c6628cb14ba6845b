package devices

import (
	"net"
	"net/netip"
	"slices"

	"telltale/sorting"
)

// shortestOnLink is the shortest IPv6 prefix believed to be that of a link. A
// link's is 64 bits long (RFC 4291, 2.5.1); a shorter one than this is a tunnel's
// way of saying "everything", and would open the resolver to it.
const shortestOnLink = 48

// links is what Local and Gateways read. It never changes.
type links struct {
	onLink   prefixTable[struct{}]
	gateways []netip.Addr
	router   netip.Addr
}

func newLinks(l *Links) *links {
	onLink := make(map[netip.Prefix]struct{})
	for _, p := range l.OnLink {
		if p.Addr().Is6() && !p.Addr().Is4In6() && p.Bits() >= shortestOnLink {
			onLink[p.Masked()] = struct{}{}
		}
	}
	gateways := make([]netip.Addr, 0, len(l.Gateways))
	for _, a := range l.Gateways {
		gateways = append(gateways, plain(a))
	}
	sorting.By(gateways, netip.Addr.Compare)
	return &links{makePrefixTable(onLink), slices.Compact(gateways), l.Router}
}

// Local reports whether a is an address a home's client may have: loopback,
// private (RFC 1918, RFC 4193), link-local, or IPv6 inside an on-link prefix of
// this machine's interfaces as they are now. It neither locks nor allocates.
func (l *Ledger) Local(a netip.Addr) bool {
	a = a.Unmap()
	if a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return true
	}
	if !a.Is6() {
		return false
	}
	_, ok := l.links.Load().onLink.find(a)
	return ok
}

// Gateways returns the next hops of this machine's default routes, without
// zones; none where the platform does not tell.
func (l *Ledger) Gateways() []netip.Addr { return slices.Clone(l.links.Load().gateways) }

// Router returns the gateway that packets to anywhere take now: of the default route with the
// lowest metric, of IPv4 if there is one. A link-local address has its zone. It is not valid while there
// is no such route, and where the platform does not tell.
func (l *Ledger) Router() netip.Addr { return l.links.Load().router }

// interfaceLinks asks the portable way, for where there is no better one: it
// knows neither gateways nor prefixes without an address of ours.
func interfaceLinks() (*Links, bool) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, false
	}
	var out Links
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			return nil, false
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			addr, ok := netip.AddrFromSlice(n.IP)
			if !ok {
				continue
			}
			addr = addr.Unmap()
			out.add(addr, i.HardwareAddr.String())
			if bits, _ := n.Mask.Size(); addr.Is6() {
				out.OnLink = append(out.OnLink, netip.PrefixFrom(addr, bits))
			}
		}
	}
	return &out, true
}

// add adds an address of this machine, on an interface with the address mac.
// Loopback needs no adding.
func (l *Links) add(a netip.Addr, mac string) {
	if a.IsLoopback() || a.IsUnspecified() {
		return
	}
	if !individual(mac) {
		mac = ""
	}
	l.Own = append(l.Own, OwnAddress{plain(a), mac})
}
