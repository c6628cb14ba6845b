// Package rebind says whether a name may lead to a private address. A web page can
// reach into a home by a name of its own that leads there (DNS rebinding), so
// public names may not, but for those that do by design.
package rebind

import (
	"iter"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"telltale/dnswire"
)

// A Reason says why a name may lead to private addresses.
type Reason uint8

const (
	Refused   Reason = iota // it may not
	NotPublic               // it is not under a suffix where the public can have names
	Allowed                 // the user allows it
	ByDesign                // it is known to do so wherever it is asked
	OfRouter                // it is known as a router's, and a server inside said so
	DNSList                 // it asks a DNS list about an address (RFC 5782)
	Forwarded               // the user has it asked of servers of its own
)

// String returns the reason as explain writes it.
func (r Reason) String() string {
	switch r {
	case Refused:
		return "a public name must not lead to a private address"
	case NotPublic:
		return "the name is not under a public suffix"
	case Allowed:
		return "rebind.allow allows it"
	case ByDesign:
		return "the name is known to do so by design"
	case OfRouter:
		return "the name is known as a router's own"
	case DNSList:
		return "it is the answer of a DNS list"
	case Forwarded:
		return "the name is in a zone of forward"
	}
	return "unknown"
}

// A Policy is the user's settings. It never changes.
type Policy struct {
	allow []dnswire.Name
}

// New makes a policy that allows names at and below domains; "." allows all.
func New(domains []string) (*Policy, error) {
	p := &Policy{}
	for _, domain := range domains {
		n, err := dnswire.ParseName(domain)
		if err != nil {
			return nil, err
		}
		p.allow = append(p.allow, n)
	}
	return p, nil
}

// Judge returns why name, as the question had it, may lead to those of addrs that
// are private. Inside says that a server with a private address gave them.
func (p *Policy) Judge(name *dnswire.Name, addrs iter.Seq[netip.Addr], inside bool) Reason {
	for i := range p.allow {
		if isWithin(name, &p.allow[i]) {
			return Allowed
		}
	}
	if !isPublic(name) {
		return NotPublic
	}
	if e := known(name); e != nil && (inside || !e.inside) && e.covers(addrs) {
		if e.inside {
			return OfRouter
		}
		return ByDesign
	}
	if beginsReversed(name) && listAnswers.covers(addrs) {
		return DNSList
	}
	return Refused
}

// isWithin reports whether name is domain or below it.
func isWithin(name, domain *dnswire.Name) bool {
	return name.Labels() >= domain.Labels() && string(name.Suffix(domain.Labels())) == string(domain.Wire())
}

// isPublic reports whether a name is in the public tree. Domains that sell or give
// away names below them (duckdns.org) are: anybody may have one. home.arpa is not,
// though it has a public suffix: it is the home's own (RFC 8375), and only asked
// of servers inside.
func isPublic(name *dnswire.Name) bool {
	if string(name.Suffix(2)) == "\x04home\x04arpa\x00" {
		return false
	}
	suffix, icann := publicsuffix.PublicSuffix(name.String())
	return icann || strings.Contains(suffix, ".")
}

// beginsReversed reports whether a name begins with an IPv4 address in four
// labels or an IPv6 address in 32, and goes on for two labels at least.
func beginsReversed(name *dnswire.Name) bool {
	labels := strings.Split(name.String(), ".")
	if len(labels) >= 4+2 {
		if _, err := netip.ParseAddr(strings.Join(labels[:4], ".")); err == nil {
			return true
		}
	}
	if len(labels) < 32+2 {
		return false
	}
	for _, l := range labels[:32] {
		if len(l) != 1 || !strings.Contains("0123456789abcdef", l) {
			return false
		}
	}
	return true
}
