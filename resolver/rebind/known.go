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
	{domain: "dbl.spamhaus.org", addresses: []netip.Prefix{loopback}, source: "https://www.spamhaus.org/faqs/domain-blocklist/"},
	{domain: "dq.spamhaus.net", addresses: []netip.Prefix{loopback}, source: "https://docs.spamhaus.com/datasets/docs/source/40-real-world-usage/PublicMirrors/MTAs/020-Postfix.html"},
	{domain: "multi.surbl.org", addresses: []netip.Prefix{loopback}, source: "https://www.surbl.org/lists"},
	{domain: "multi.uribl.com", addresses: []netip.Prefix{loopback}, source: "https://uribl.com/about.shtml"},
	{domain: "avqs.mcafee.com", addresses: []netip.Prefix{loopback}, source: "https://kcm.trellix.com/corporate/index?page=content&id=KB53782"},
	{domain: "avts.mcafee.com", addresses: []netip.Prefix{loopback}, source: "https://kcm.trellix.com/corporate/index?page=content&id=KB53782"},

	// Routers.
	{domain: "fritz.box", inside: true, source: "https://fritz.com/en/apps/knowledge-base/FRITZ-Box-7590/1_Opening-the-FRITZ-Box-user-interface/"},
	{domain: "router.asus.com", inside: true, source: "https://www.asus.com/support/faq/1005263/"},
	{domain: "asusrouter.com", inside: true, source: "https://www.asus.com/support/faq/1005263/"},
	{domain: "routerlogin.net", inside: true, source: "https://kb.netgear.com/119/What-is-routerlogin-net"},
	{domain: "routerlogin.com", inside: true, source: "https://kb.netgear.com/119/What-is-routerlogin-net"},
	{domain: "orbilogin.com", inside: true, source: "https://kb.netgear.com/000036078/How-do-I-log-in-to-my-Orbi-WiFi-System"},
	{domain: "orbilogin.net", inside: true, source: "https://kb.netgear.com/000036078/How-do-I-log-in-to-my-Orbi-WiFi-System"},
	{domain: "tplinkwifi.net", inside: true, source: "https://www.tp-link.com/us/support/faq/87/"},
	{domain: "tplinkmodem.net", inside: true, source: "https://www.tp-link.com/us/support/faq/87/"},
	{domain: "tplinkrepeater.net", inside: true, source: "https://www.tp-link.com/us/support/faq/87/"},
	{domain: "miwifi.com", inside: true, source: "https://www.mi.com/global/support/faq/details/KA-06763/"},
	{domain: "my.keenetic.net", inside: true, source: "https://help.keenetic.com/hc/en-us/articles/360000422000"},
	{domain: "router.synology.com", inside: true, source: "https://kb.synology.com/en-global/SRM/tutorial/How_do_I_connect_to_my_Synology_Router"},
}

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
