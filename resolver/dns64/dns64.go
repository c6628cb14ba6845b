// Package dns64 makes IPv6 addresses of IPv4 ones, for networks in which clients that
// have IPv6 alone reach the rest by a translator (NAT64): how an address is embedded in
// a prefix (RFC 6052), which addresses are (RFC 6147), and how the prefix of a network
// is found (RFC 7050). It is pure.
package dns64

import (
	"net/netip"
	"slices"
)

// WellKnown is the prefix that stands for global IPv4 addresses in any network (RFC
// 6052, 2.1).
var WellKnown = netip.MustParsePrefix("64:ff9b::/96")

// Mapped are IPv4-mapped addresses: nobody can connect to one (RFC 6147, 5.1.4).
var Mapped = netip.MustParsePrefix("::ffff:0:0/96")

// Known are the addresses of ipv4only.arpa (RFC 7050, 8.2).
var Known = [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 170}), netip.AddrFrom4([4]byte{192, 0, 0, 171})}

// lengths are the lengths that a prefix may have, the longest first: by the code that announcements have for each (RFC 8781, 4).
var lengths = [...]int{96, 64, 56, 48, 40, 32}

// IsPrefix reports whether p can hold IPv4 addresses: bits 64 to 71 are zero in any
// address (RFC 6052, 2.2).
func IsPrefix(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is6() && !p.Addr().Is4In6() && p == p.Masked() && slices.Contains(lengths[:], p.Bits()) && p.Addr().As16()[8] == 0
}

// Embed returns the address that stands for a in p.
func Embed(p netip.Prefix, a netip.Addr) netip.Addr {
	b, v4 := p.Addr().As16(), a.As4()
	at := p.Bits() / 8
	for _, octet := range v4 {
		if at == 8 {
			at++
		}
		b[at] = octet
		at++
	}
	return netip.AddrFrom16(b)
}

// Extract returns the address that a stands for; false where a is not in p.
func Extract(p netip.Prefix, a netip.Addr) (netip.Addr, bool) {
	if !p.Contains(a) {
		return netip.Addr{}, false
	}
	b := a.As16()
	var v4 [4]byte
	at := p.Bits() / 8
	for i := range v4 {
		if at == 8 {
			at++
		}
		v4[i] = b[at]
		at++
	}
	return netip.AddrFrom4(v4), true
}

// Find returns the prefix by which somebody made addrs of those of ipv4only.arpa (RFC
// 7050, 3); false where nobody did.
func Find(addrs []netip.Addr) (netip.Prefix, bool) {
	for _, a := range addrs {
		for _, bits := range lengths {
			p := netip.PrefixFrom(a, bits).Masked()
			if !IsPrefix(p) {
				continue
			}
			// What stands behind the address is zero, so it stands there once.
			if v4, _ := Extract(p, a); slices.Contains(Known[:], v4) && Embed(p, v4) == a {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

// neverGlobal are the IPv4 addresses that mean the same nowhere else, beside those that
// netip knows (RFC 6890).
var neverGlobal = [...]netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
}

// thisNetwork holds 0.0.0.0, by which names are blocked.
var thisNetwork = netip.MustParsePrefix("0.0.0.0/8")

// Translates reports whether a translator of p leads to a: not to what is no address of
// a host, and by the well-known prefix to global addresses alone (RFC 6052, 3.1).
func Translates(p netip.Prefix, a netip.Addr) bool {
	switch {
	case !a.Is4() || thisNetwork.Contains(a) || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return false
	case p != WellKnown:
		return true
	}
	return !a.IsPrivate() && !slices.ContainsFunc(neverGlobal[:], func(p netip.Prefix) bool { return p.Contains(a) })
}
