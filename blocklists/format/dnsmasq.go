package format

import (
	"net/netip"
	"regexp"
	"strings"
)

// dnsmasqSettings are dnsmasq's settings that lists are seen to hold but that
// block no name.
var dnsmasqSettings = map[string]string{
	"addn-hosts": "put the hosts file itself into lists.d", "conf-file": "put the file itself into lists.d", "conf-dir": "put the files themselves into lists.d",
	"cname": "write @@ or a local record in own.txt", "ptr-record": "write a local record in own.txt", "host-record": "write a local record in own.txt",
	"address-record": "", "ipset": "", "nftset": "", "rev-server": "", "alias": "", "txt-record": "", "srv-host": "", "mx-host": "",
	"ignore-address": "", "rebind-domain-ok": "", "no-resolv": "", "filter-rr": "", "domain": "", "interface-name": "",
}

// dnsmasq reads address=, server=, local= and bogus-nxdomain= and reports
// whether the line was one of dnsmasq's.
func (p *parser) dnsmasq(s string) bool {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return false
	}
	key = strings.TrimSpace(strings.TrimPrefix(key, "--"))
	do, known := dnsmasqSettings[key]
	switch key {
	case "address", "server", "local", "bogus-nxdomain":
	default:
		if known {
			if do == "" {
				do = "remove the line"
			}
			p.bad(NotHonoured, s, "%s= blocks no name: %s", key, do)
		}
		return known
	}
	value, comment := cutHash(value)
	p.annotate(comment)
	if key == "bogus-nxdomain" {
		p.bogus(s, value)
		return true
	}
	names, target, ok := domains(value)
	if !ok {
		p.bad(NotHonoured, s, "%s= without /names/ blocks none: write %s=/example.com/ (servers go into the setting upstreams)", key, key)
		return true
	}
	r, ok := p.dnsmasqTarget(s, key, target)
	if !ok {
		return true
	}
	for _, name := range names {
		p.dnsmasqName(r, s, name)
	}
	return true
}

// cutHash cuts off a comment, before which dnsmasq wants a space: "#" also means
// "the usual servers".
func cutHash(s string) (rest, comment string) {
	for i := 1; i < len(s); i++ {
		if s[i] == '#' && (s[i-1] == ' ' || s[i-1] == '\t') {
			return strings.TrimSpace(s[:i]), s[i:]
		}
	}
	return strings.TrimSpace(s), ""
}

// domains takes "/a/b/target" apart.
func domains(value string) (names []string, target string, ok bool) {
	if !strings.HasPrefix(value, "/") {
		return nil, "", false
	}
	parts := strings.Split(value[1:], "/")
	if len(parts) < 2 {
		return nil, "", false
	}
	return parts[:len(parts)-1], parts[len(parts)-1], true
}

// dnsmasqTarget decides what a line does with its names.
func (p *parser) dnsmasqTarget(s, key, target string) (r Rule, ok bool) {
	r = Rule{Form: Dnsmasq}
	if target == "" || key == "address" && target == "#" {
		return r, true
	}
	if target == "#" { // server=/x/#: the usual upstreams
		r.Action = Allow
		return r, true
	}
	a, err := netip.ParseAddr(target)
	switch {
	case err != nil && key == "address":
		p.bad(NotHonoured, s, "%s is no address: write one, or nothing to block", printable(target))
		return r, false
	case err == nil && isNowhere(a.Unmap()):
		return r, true
	case key != "address":
		p.bad(NotHonoured, s, "sends names to another server, it blocks none: leave out %s to block them", printable(target))
		return r, false
	case !p.mayAnswer():
		p.refuseAnswer(s)
		return r, false
	}
	r.Action = Answer
	r.Extra = &Extra{Text: strings.Clone(s), Reply: Records, Records: []Record{addressRecord(a.Unmap())}}
	return r, true
}

// dnsmasqName emits the rule for one name between slashes. A star before it
// matches any beginning (dnsmasq 2.86).
func (p *parser) dnsmasqName(r Rule, whole, name string) {
	switch {
	case name == "":
		p.bad(NotHonoured, whole, "// means all names of one label: name them")
	case name == "#", name == "*":
		p.everyName(r, whole)
	case strings.HasPrefix(name, "*."):
		r.Match = Below
		p.putName(r, name[2:], oneLabel)
	case name[0] == '*':
		wire, ok := p.name(name[1:], oneLabel)
		if ok && len(wire) > 0 {
			suffix := strings.ToLower(strings.TrimSuffix(name[1:], "."))
			p.putPattern(r, whole, regexp.QuoteMeta(suffix)+"$", suffix)
		}
	default:
		p.putName(r, name, oneLabel)
	}
}

// bogus reads bogus-nxdomain=ADDRESS[/PREFIX], which blocks by what is answered.
func (p *parser) bogus(s, value string) {
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		a, err := netip.ParseAddr(value)
		if err != nil || a.Zone() != "" {
			p.bad(IPAddress, s, "bogus-nxdomain needs an address: write bogus-nxdomain=192.0.2.1")
			return
		}
		prefix = netip.PrefixFrom(a, a.BitLen())
	}
	if prefix.Bits() == 0 {
		p.bad(EveryName, s, "matches every answer: write a longer prefix")
		return
	}
	p.put(Rule{Form: Dnsmasq, Match: Address, Extra: &Extra{Text: strings.Clone(s), Prefix: prefix.Masked(), Reply: NXDomain}})
}
