package rebind

import "net/netip"

var (
	siteLocal  = netip.MustParsePrefix("fec0::/10")       // RFC 3879
	shared     = netip.MustParsePrefix("100.64.0.0/10")   // RFC 6598
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291, 2.5.5.1
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765, 2.1
)

// IsShared reports whether an address is of the shared address space (RFC 6598).
func IsShared(a netip.Addr) bool { return shared.Contains(a) }

// IsPrivate reports whether an address is one that a public name has no business
// with: private, shared by a carrier's customers, link-local, site-local or
// loopback, also where it is an IPv4 address inside an IPv6 one. 0.0.0.0 and ::
// are not: they are how servers that filter say no.
func IsPrivate(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsUnspecified() {
		return false
	}
	if a.Is4() {
		return isPrivate4(a)
	}
	if a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsLoopback() || siteLocal.Contains(a) {
		return true
	}
	b := a.As16()
	in := func(at int) bool { return isPrivate4(netip.AddrFrom4([4]byte(b[at : at+4]))) }
	switch {
	case nat64.Contains(a), compatible.Contains(a), translated.Contains(a):
		return in(12)
	case sixToFour.Contains(a):
		return in(2)
	case nat64Local.Contains(a):
		return isPrivateNAT64(&b)
	}
	return false
}

func isPrivate4(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsLoopback() || shared.Contains(a)
}

// isPrivateNAT64 reports whether an address in a prefix for local NAT64 can stand
// for a private one. A network may use a prefix of any length there; the octets
// behind the IPv4 address are zero, and so is the ninth (RFC 6052, 2.2).
func isPrivateNAT64(b *[16]byte) bool {
	if b[8] != 0 {
		return isPrivate4(netip.AddrFrom4([4]byte(b[12:])))
	}
	for _, form := range [...][4]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}, {12, 13, 14, 15}} {
		var v4 [4]byte
		for i, at := range form {
			v4[i] = b[at]
		}
		rest := byte(0)
		for _, c := range b[form[3]+1:] {
			rest |= c
		}
		if rest == 0 && isPrivate4(netip.AddrFrom4(v4)) {
			return true
		}
	}
	return false
}
