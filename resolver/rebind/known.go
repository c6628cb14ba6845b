package rebind

import (
	"iter"
	"net/netip"

	"telltale/dnswire"
)

// An exception is a public domain that leads to private addresses by design.
type exception struct {
	domain    string
	alone     bool           // the name itself, and nothing below it
	inside    bool           // only a server with a private address may say so
	addresses []netip.Prefix // which private ones; nil: any
	source    string         // where that is said
}

var (
	loopback = netip.MustParsePrefix("127.0.0.0/8")
	// listAnswers are what a DNS list answers with (RFC 5782, 2.1); 127.0.0.1 means
	// nothing there, and this machine everywhere else.
	listAnswers = exception{addresses: []netip.Prefix{loopback}}
	localhost   = netip.MustParseAddr("127.0.0.1")
)

// exceptions are kept few. A domain belongs here if its names lead to private
// addresses wherever they are asked, by its owner's intention and not by that of
// whoever can get a name below it; or if it is a router's own name, and then only
// where a server inside the home says so.
var exceptions = []exception{
	{domain: "plex.direct", source: "https://support.plex.tv/articles/206225077-how-to-use-secure-server-connections/"},
	{domain: "dns.msftncsi.com", alone: true, addresses: prefixes("fd3e:4f5a:5b81::1/128"),
		source: "https://learn.microsoft.com/en-us/windows-server/networking/ncsi/ncsi-frequently-asked-questions"},
	{domain: "ts.net", addresses: prefixes("100.64.0.0/10", "fd7a:115c:a1e0::/48"), source: "https://tailscale.com/kb/1081/magicdns"},

	// Lists of domains and of hashes kept in DNS; lists of addresses are known by the
	// shape of the question.
	{domain: "dbl.spamhaus.org", addresses: []netip.Prefix{loopback}, source: spamhaus},
	{domain: "dq.spamhaus.net", addresses: []netip.Prefix{loopback}, source: spamhaus},
	{domain: "multi.surbl.org", addresses: []netip.Prefix{loopback}, source: "https://tamingdns.com/rbl/surbl"},
	{domain: "avqs.mcafee.com", addresses: []netip.Prefix{loopback}, source: mcafee},
	{domain: "avts.mcafee.com", addresses: []netip.Prefix{loopback}, source: mcafee},

	// Routers.
	{domain: "fritz.box", inside: true, source: "https://www.heise.de/ratgeber/Gefaehrdete-Router-Verkehr-mit-dubiosen-Internetdomains-verhindern-9720655.html"},
	{domain: "router.asus.com", inside: true, source: "https://github.com/gwarser/filter-lists/issues/26"},
	{domain: "routerlogin.net", inside: true, source: netgear},
	{domain: "routerlogin.com", inside: true, source: netgear},
	{domain: "tplinkwifi.net", inside: true, source: "https://www.manualowl.com/m/TP-Link/Archer-AX6000/Manual/531428?page=94"},
}

const (
	spamhaus = "https://docs.spamhaus.com/datasets/docs/source/10-data-type-documentation/datasets/040-zones.html"
	mcafee   = "https://kcm.trellix.com/corporate/index?page=content&id=KB53782"
	netgear  = "https://www.manualowl.com/m/Netgear/WNDR4700/Manual/437597?page=19"
)

// byName are exceptions by the wire form of their domain.
var byName = func() map[string]*exception {
	m := make(map[string]*exception, len(exceptions))
	for i := range exceptions {
		wire, err := dnswire.AppendName(nil, exceptions[i].domain)
		if err == nil { // a test sees to it
			m[string(wire)] = &exceptions[i]
		}
	}
	return m
}()

func prefixes(text ...string) (all []netip.Prefix) {
	for _, t := range text {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

// known returns the exception for a name, nil for none.
func known(name *dnswire.Name) *exception {
	for k := name.Labels(); k > 0; k-- {
		if e := byName[string(name.Suffix(k))]; e != nil && (!e.alone || k == name.Labels()) {
			return e
		}
	}
	return nil
}

// covers reports whether e is for all of addrs that are private.
func (e *exception) covers(addrs iter.Seq[netip.Addr]) bool {
	if e.addresses == nil {
		return true
	}
	for a := range addrs {
		if IsPrivate(a) && !e.has(a.Unmap()) {
			return false
		}
	}
	return true
}

func (e *exception) has(a netip.Addr) bool {
	for _, p := range e.addresses {
		if p.Contains(a) && a != localhost {
			return true
		}
	}
	return false
}
