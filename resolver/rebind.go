package resolver

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"telltale/dnswire"
	"telltale/resolver/cache"
)

// settings are Settings as the query path uses them. They never change.
type settings struct {
	Settings
	rebindAllow []dnswire.Name
}

func newSettings(o Settings) (*settings, error) {
	s := &settings{Settings: o}
	for _, domain := range o.RebindAllow {
		n, err := dnswire.ParseName(domain)
		if err != nil {
			return nil, err
		}
		s.rebindAllow = append(s.rebindAllow, n)
	}
	return s, nil
}

// mayRebind reports whether name may lead to the private addresses in e: where
// it is not under an ICANN suffix (a company's own zone), where the user allows
// it, and where only 127.0.0.0/8 is meant and the name begins with a reversed
// address, as in DNS lists (RFC 5782, 2.1).
func (s *settings) mayRebind(name *dnswire.Name, e *cache.Entry) bool {
	for i := range s.rebindAllow {
		if d := &s.rebindAllow[i]; string(name.Suffix(d.Labels())) == string(d.Wire()) {
			return true
		}
	}
	text := name.String()
	return !underICANN(text) || !e.LAN && beginsReversed(text)
}

// underICANN reports whether a name is in the public tree. Domains that sell or
// give away names below them (duckdns.org) are: anybody may have one.
func underICANN(name string) bool {
	suffix, icann := publicsuffix.PublicSuffix(name)
	return icann || strings.Contains(suffix, ".")
}

// beginsReversed reports whether a name begins with an IPv4 address in four
// labels or an IPv6 address in 32.
func beginsReversed(name string) bool {
	labels := strings.Split(name, ".")
	if len(labels) > 4 {
		if _, err := netip.ParseAddr(strings.Join(labels[:4], ".")); err == nil {
			return true
		}
	}
	if len(labels) <= 32 {
		return false
	}
	for _, l := range labels[:32] {
		if len(l) != 1 || !strings.Contains("0123456789abcdef", l) {
			return false
		}
	}
	return true
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052

// isPrivate reports whether an address is one that a public name has no business
// with: private, link-local or loopback, also inside an IPv6 address. 0.0.0.0 and
// :: pass: they are how upstreams that filter say no.
func isPrivate(a netip.Addr) bool {
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	a = a.Unmap()
	return a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsLoopback()
}

// appendRebind appends the refusal of a private address.
func appendRebind(dst []byte, q *query, s *Server) []byte {
	q.ttl = 0
	return dnswire.AppendEmpty(dst, &q.Question, dnswire.ServFail, s.cookies.answer(q),
		dnswire.EDE{Code: dnswire.EDEFiltered, Text: "private address in a public name (rebind.allow)"})
}
