package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// parseZone returns a domain as parseDomain does, or a prefix.
func parseZone(text string) (string, bool) {
	if p, ok := parsePrefix(text); ok {
		return p.String(), true
	}
	zone, ok := parseDomain(text)
	return zone, ok && zone != "."
}

// Domains returns the zones, for a prefix those of its addresses' reverse names.
func (f *Forward) Domains() []string {
	var all []string
	for _, zone := range f.Zones {
		all = append(all, domainsOf(zone)...)
	}
	return all
}

func domainsOf(zone string) []string {
	if p, err := netip.ParsePrefix(zone); err == nil {
		return reverseZones(p)
	}
	return []string{zone}
}

// reverseZones returns the zones of the reverse names of p's addresses: one, or as many
// as it takes where p does not end with an octet, or with a hexadecimal digit of an
// IPv6 address (RFC 1035, 3.5; RFC 3596, 2.5).
func reverseZones(p netip.Prefix) []string {
	width, digit, end := 8, "%d", "in-addr.arpa"
	values := p.Addr().AsSlice()
	if p.Addr().Is6() {
		width, digit, end = 4, "%x", "ip6.arpa"
		octets := values
		values = nil
		for _, b := range octets {
			values = append(values, b>>4, b&0xf)
		}
	}
	labels, rest := []string{end}, p.Bits()%width
	for _, v := range values[:p.Bits()/width] {
		labels = append(labels, fmt.Sprintf(digit, v))
	}
	if rest == 0 {
		return []string{zoneOf(labels)}
	}
	var all []string
	for i := range 1 << (width - rest) {
		last := fmt.Sprintf(digit, int(values[p.Bits()/width])+i)
		all = append(all, zoneOf(append(slices.Clone(labels), last)))
	}
	return all
}

// zoneOf returns the zone of labels, the one nearest to the root first.
func zoneOf(labels []string) string {
	labels = slices.Clone(labels)
	slices.Reverse(labels)
	return strings.Join(labels, ".")
}

// neverForwarded are domains that are answered here whatever is set.
var neverForwarded = []string{"localhost", "invalid", "onion", "alt", "resolver.arpa"}

func (c *Config) checkForward(d *decoding) {
	first := make(map[string]string)
	for i := range c.Forward {
		f, key := &c.Forward[i], fmt.Sprintf("forward[%d]", i)
		if len(f.Zones) == 0 && !d.wrong(key+".zones") {
			d.mistake(key, "no zones", "at least one domain or prefix in each entry")
		}
		for k, zone := range f.Zones {
			at := fmt.Sprintf("%s.zones[%d]", key, k)
			for _, domain := range domainsOf(zone) {
				if other, taken := first[domain]; taken {
					d.mistake(at, "found "+quote(zone)+" a second time, first as "+other, "each zone once")
					break
				}
				first[domain] = at
			}
			for _, never := range neverForwarded {
				if zone == never || strings.HasSuffix(zone, "."+never) {
					d.mistake(at, "found "+quote(zone), "a zone that another server may answer for: "+never+" is always answered here")
				}
			}
		}
		c.checkForwardUpstreams(d, f, key)
	}
}

func (c *Config) checkForwardUpstreams(d *decoding, f *Forward, key string) {
	if len(f.Upstreams) == 0 && !d.wrong(key+".upstreams") {
		d.mistake(key, "no upstreams", "at least one server in each entry")
	}
	first := make(map[string]string)
	for k, a := range f.Upstreams {
		at := fmt.Sprintf("%s.upstreams[%d]", key, k)
		switch {
		case !a.IsSet(), !c.checkServer(d, a, nil, at):
		case c.isListening(a.AddrPort):
			d.mistake(at, fmt.Sprintf("found %q, where this server itself listens (listen.dns)", a), "another server")
		default:
			unique(d, first, a.String(), at, "address")
		}
	}
}

// isListening reports whether a is an address of listen.dns, as far as the settings
// alone can say.
func (c *Config) isListening(a netip.AddrPort) bool {
	return slices.ContainsFunc(c.Listen.DNS, func(l netip.AddrPort) bool {
		here := a.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a.Addr() == netip.IPv6Loopback()
		return l == a || l.Addr().IsUnspecified() && here && l.Port() == a.Port()
	})
}
