package geo

import "net/netip"

// specials are addresses that are nobody's on the Internet: of the IANA registries of
// special-purpose addresses (RFC 6890) those that are not globally reachable.
var specials = []struct {
	prefix, why string
}{
	{"0.0.0.0/8", "this network"},
	{"10.0.0.0/8", "private"},
	{"100.64.0.0/10", "shared by a provider's customers"},
	{"127.0.0.0/8", "loopback"},
	{"169.254.0.0/16", "link-local"},
	{"172.16.0.0/12", "private"},
	{"192.0.0.0/24", "of protocols"},
	{"192.0.2.0/24", "of documentation"},
	{"192.168.0.0/16", "private"},
	{"198.18.0.0/15", "of benchmarks"},
	{"198.51.100.0/24", "of documentation"},
	{"203.0.113.0/24", "of documentation"},
	{"224.0.0.0/4", "multicast"},
	{"240.0.0.0/4", "reserved"},
	{"::/127", "loopback or none"},
	{"64:ff9b::/96", "a translation of an IPv4 address"},
	{"64:ff9b:1::/48", "a translation of an IPv4 address"},
	{"100::/64", "discarded"},
	{"2001:db8::/32", "of documentation"},
	{"2002::/16", "a tunnel (6to4)"},
	{"3fff::/20", "of documentation"},
	{"fc00::/7", "private"},
	{"fe80::/10", "link-local"},
	{"ff00::/8", "multicast"},
}

// special returns why an address is nobody's; "" for one that is somebody's.
func special(addr netip.Addr) string {
	if !addr.IsValid() {
		return "none"
	}
	for _, s := range specials {
		if netip.MustParsePrefix(s.prefix).Contains(addr) {
			return s.why
		}
	}
	return ""
}
