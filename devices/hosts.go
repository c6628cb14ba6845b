package devices

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"telltale/sorting"
)

// Label returns the label of a domain name that stands for a device's name: letters and
// digits in lower case, a hyphen for each run of anything else, apostrophes left out,
// and A-labels for letters beyond ASCII (RFC 5891). It is "" where nothing is left.
func Label(name string) string {
	var b strings.Builder
	hyphen := false
	for _, r := range strings.ToLower(name) {
		switch {
		case r == '\'' || r == '’':
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			if hyphen && b.Len() > 0 {
				b.WriteByte('-')
			}
			hyphen = false
			b.WriteRune(r)
		default:
			hyphen = true
		}
	}
	label, err := idna.Lookup.ToASCII(b.String())
	switch {
	case err != nil:
		return ""
	case len(label) > 63 && strings.HasPrefix(label, "xn--"):
		return "" // a part of it means something else
	case len(label) > 63:
		return strings.TrimRight(label[:63], "-")
	}
	return label
}

// mostHosts bounds the addresses of a family that a device's name has: with IPv6 a device
// makes new ones each day.
const mostHosts = 4

// Hosts returns lines of a hosts file that give configured devices names in domain:
// those of the addresses that the settings say, and of those that they hold now.
func (l *Ledger) Hosts(domain string) string {
	l.mu.Lock()
	current, config := l.inForce(l.currentTick()), l.config
	l.mu.Unlock()
	return hosts(config, current, domain)
}

// Hosts returns what Ledger.Hosts does of devices none of which was seen yet.
func Hosts(devices []Device, domain string) string {
	config, err := configure(devices)
	if err != nil {
		return ""
	}
	return hosts(config, nil, domain)
}

func hosts(config *configuration, current []Binding, domain string) string {
	held := map[string][]Binding{}
	for _, d := range config.names {
		for _, a := range d.Addresses {
			if a = plain(a); isHost(a) {
				held[d.Name] = append(held[d.Name], Binding{Addr: a, Source: ConfiguredAddress})
			}
		}
	}
	for _, b := range current {
		// A MAC of low confidence stands for others, too: a repeater, the gateway.
		if b.Source == ConfiguredMAC && b.Confidence > Low && isHost(b.Addr) && config.addresses[b.Addr] == nil {
			held[b.Device] = append(held[b.Device], b)
		}
	}
	var lines []string
	for name, all := range held {
		label := Label(name)
		if label == "" {
			continue
		}
		for _, a := range newest(all) {
			lines = append(lines, a.String()+" "+label+"."+domain+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// isHost reports whether others can reach a device at an address wherever they are in
// the network.
func isHost(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

// newest returns the addresses that the settings say, and else those bound last.
func newest(all []Binding) (addrs []netip.Addr) {
	sorting.By(all, func(b, c Binding) int {
		return cmp.Or(cmp.Compare(c.Source, b.Source), c.From.Compare(b.From), b.Addr.Compare(c.Addr))
	})
	left := map[bool]int{false: mostHosts, true: mostHosts}
	for _, b := range all {
		if left[b.Addr.Is4()] > 0 || b.Source == ConfiguredAddress {
			left[b.Addr.Is4()]--
			addrs = append(addrs, b.Addr)
		}
	}
	return addrs
}
