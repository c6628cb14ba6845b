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
	first, some := make(map[string]string), 0 // by domain and client
	for i := range c.Forward {
		f, key := &c.Forward[i], fmt.Sprintf("forward[%d]", i)
		if len(f.Zones) == 0 && !f.IsForSome() && !d.wrong(key+".zones") {
			d.mistake(key, "no zones", "at least one domain or prefix in each entry that is for everybody; without, devices or groups whose names are all asked there")
		}
		if f.IsForSome() {
			some++
		}
		c.checkForwardClients(d, f, key)
		if len(f.Zones) == 0 {
			uniqueZone(d, first, f, "", key, "all names")
		}
		for k, zone := range f.Zones {
			at := fmt.Sprintf("%s.zones[%d]", key, k)
			for _, domain := range domainsOf(zone) {
				if !uniqueZone(d, first, f, domain, at, quote(zone)) {
					break
				}
			}
			for _, never := range neverForwarded {
				if zone == never || strings.HasSuffix(zone, "."+never) {
					d.mistake(at, "found "+quote(zone), "a zone that another server may answer for: "+never+" is always answered here")
				}
			}
		}
		c.checkForwardUpstreams(d, f, key)
	}
	if some > mostForSome {
		d.mistake("forward", fmt.Sprintf("%d entries with devices or groups", some), fmt.Sprintf("at most %d of them", mostForSome))
	}
}

// mostForSome is how many entries may name devices or groups: upstream.MostViews.
const mostForSome = 100

// IsForSome reports whether f is for the devices and groups it names, and nobody else.
func (f *Forward) IsForSome() bool { return len(f.Devices)+len(f.Groups) > 0 }

// clients returns whom f is for, in words; "" for everybody.
func (f *Forward) clients() []string {
	if !f.IsForSome() {
		return []string{""}
	}
	return f.For()
}

// For returns whom alone f is for, in words; nil for everybody.
func (f *Forward) For() (all []string) {
	for _, name := range f.Devices {
		all = append(all, "device "+name)
	}
	for _, name := range f.Groups {
		all = append(all, "group "+name)
	}
	return all
}

// uniqueZone reports a domain that another entry has for the same clients, and returns
// false then.
func uniqueZone(d *decoding, first map[string]string, f *Forward, domain, at, found string) bool {
	for _, who := range f.clients() {
		place := domain + " " + who
		if other, taken := first[place]; taken {
			if who != "" {
				found += " for " + who
			}
			d.mistake(at, "found "+found+" a second time, first as "+other, "each zone once")
			return false
		}
		first[place] = at
	}
	return true
}

// checkForwardClients finds names of devices and groups that there are none of.
func (c *Config) checkForwardClients(d *decoding, f *Forward, key string) {
	var devices, groups []string
	for i := range c.Devices {
		devices = append(devices, c.Devices[i].Name)
	}
	for i := range c.Groups {
		groups = append(groups, c.Groups[i].Name)
	}
	for _, part := range []struct {
		key          string
		names, known []string
	}{{"devices", f.Devices, devices}, {"groups", f.Groups, groups}} {
		for k, name := range part.names {
			at := fmt.Sprintf("%s.%s[%d]", key, part.key, k)
			if name == "" || slices.Contains(part.known, name) || d.wrong(part.key) {
				continue
			}
			d.mistakes.add(Mistake{
				Key: at, Where: d.place(at), Found: "found " + quote(name), Expected: "the name of an entry of " + part.key, Nearest: nearest(name, part.known),
			})
		}
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
