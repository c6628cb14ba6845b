package format

import (
	"net/netip"
	"regexp"
	"strings"
)

// dnsmasqAdvice says what to do instead of some options of dnsmasq that block no
// name.
var dnsmasqAdvice = map[string]string{
	"addn-hosts": "put the hosts file itself into lists.d", "conf-file": "put the file itself into lists.d", "conf-dir": "put the files themselves into lists.d",
	"hostsdir": "put the hosts files themselves into lists.d", "servers-file": "put the file itself into lists.d",
	"cname": "write @@ or a local record in own.txt", "ptr-record": "write a local record in own.txt", "host-record": "write a local record in own.txt",
	"resolv-file": "servers go into the setting upstreams",
}

// dnsmasqOptions are the options of dnsmasq 2.90, by name; lists are seen to
// begin with some.
var dnsmasqOptions = wordSet(`add-cpe-id add-mac add-subnet addn-hosts address-record alias all-servers auth-peer auth-sec-servers auth-server
	auth-soa auth-ttl auth-zone bind-dynamic bind-interfaces bogus-priv bootp-dynamic bridge-interface caa-record cache-rr cache-size
	clear-on-reload cname conf-dir conf-file conf-script connmark-allowlist connmark-allowlist-enable conntrack dhcp-alternate-port
	dhcp-authoritative dhcp-boot dhcp-broadcast dhcp-circuitid dhcp-client-update dhcp-duid dhcp-fqdn dhcp-generate-names dhcp-host
	dhcp-hostsdir dhcp-hostsfile dhcp-ignore dhcp-ignore-clid dhcp-ignore-names dhcp-lease-max dhcp-leasefile dhcp-luascript dhcp-mac
	dhcp-match dhcp-name-match dhcp-no-override dhcp-option dhcp-option-force dhcp-optsdir dhcp-optsfile dhcp-proxy dhcp-pxe-vendor
	dhcp-range dhcp-rapid-commit dhcp-relay dhcp-remoteid dhcp-reply-delay dhcp-script dhcp-scriptuser dhcp-sequential-ip dhcp-subscrid
	dhcp-ttl dhcp-userclass dhcp-vendorclass dns-forward-max dns-loop-detect dns-rr dnssec dnssec-check-unsigned dnssec-debug dnssec-limits
	dnssec-no-timecheck dnssec-timestamp domain domain-needed dumpfile dumpmask dynamic-host edns-packet-max enable-dbus enable-ra
	enable-tftp enable-ubus except-interface expand-hosts fast-dns-retry filter-A filter-AAAA filter-rr filterwin2k group host-record
	hostsdir ignore-address interface interface-name ipset keep-in-foreground leasefile-ro listen-address local-service local-ttl
	localise-queries localmx log-async log-debug log-dhcp log-facility log-queries max-cache-ttl max-port max-tcp-connections max-ttl
	min-cache-ttl min-port mx-host mx-target naptr-record neg-ttl nftset no-daemon no-dhcp-interface no-dhcpv4-interface
	no-dhcpv6-interface no-hosts no-ident no-negcache no-ping no-poll no-resolv no-round-robin pid-file port port-limit proxy-dnssec
	ptr-record pxe-prompt pxe-service query-port quiet-dhcp quiet-dhcp6 quiet-ra quiet-tftp ra-param read-ethers rebind-domain-ok
	rebind-localhost-ok resolv-file rev-server script-arp script-on-renewal selfmx servers-file shared-network srv-host stop-dns-rebind
	strict-order strip-mac strip-subnet synth-domain tag-if tftp-lowercase tftp-max tftp-mtu tftp-no-blocksize tftp-no-fail
	tftp-port-range tftp-root tftp-secure tftp-single-port tftp-unique-root trust-anchor txt-record umbrella use-stale-cache user`)

func wordSet(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

// dnsmasq reads address=, server=, local= and bogus-nxdomain= and reports
// whether the line was one of dnsmasq's.
func (p *parser) dnsmasq(s string) bool {
	if s[0] != '-' && (s[0] < 'a' || s[0] > 'z') {
		return false
	}
	rule, comment := cutHash(s)
	key, value, valued := strings.Cut(rule, "=")
	key = strings.TrimSpace(strings.TrimPrefix(key, "--"))
	switch key {
	case "address", "server", "local", "bogus-nxdomain":
		if !valued {
			return false
		}
	default:
		return p.dnsmasqOption(s, key, valued)
	}
	s, value = rule, strings.TrimSpace(value)
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
		one := key + "=/" + name + "/" + target
		if r.Action == Answer {
			x := *r.Extra
			x.Text, r.Extra = one, &x
		}
		p.dnsmasqName(r, one, name)
	}
	return true
}

// dnsmasqOption refuses an option that is no rule, and reports whether key is one.
func (p *parser) dnsmasqOption(s, key string, valued bool) bool {
	if !dnsmasqOptions[key] || !valued && !strings.Contains(key, "-") && key != "dnssec" {
		return false // a word such as "port", "domain" or "user" alone is anybody's
	}
	do, known := dnsmasqAdvice[key]
	if !known {
		do = "it is ignored"
	}
	if valued {
		key += "="
	}
	p.bad(NotHonoured, s, "%s is an option of dnsmasq, not a rule: %s", key, do)
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
	if key == "address" {
		return p.dnsmasqAddress(s, target)
	}
	r = Rule{Form: Dnsmasq}
	switch target {
	case "":
		return r, true
	case "#": // the usual upstreams
		r.Action = Allow
		return r, true
	case "0.0.0.0": // dnsmasq 2.90 takes it for "#", who writes it hardly does
		p.bad(NotHonoured, s, "dnsmasq asks its usual servers where 0.0.0.0 stands: leave it out to block, write # to allow")
		return r, false
	}
	if a, err := netip.ParseAddr(target); err == nil && isNowhere(a.Unmap()) {
		p.bad(NotHonoured, s, "dnsmasq looks for a server at %s, and blocks nothing: write address=, or leave out %s, to block", target, target)
		return r, false
	}
	p.bad(NotHonoured, s, "sends names to another server, it blocks none: leave out %s to block them", printable(target))
	return r, false
}

// dnsmasqAddress reads the target of address=, with which dnsmasq answers by
// itself.
func (p *parser) dnsmasqAddress(s, target string) (r Rule, ok bool) {
	r = Rule{Form: DnsmasqAddress}
	if target == "" || target == "#" {
		return r, true
	}
	a, err := netip.ParseAddr(target)
	switch {
	case err != nil:
		p.bad(NotHonoured, s, "%s is no address: write one, or nothing to block", printable(target))
		return r, false
	case isNowhere(a.Unmap()):
		return r, true
	case !p.mayAnswer():
		p.refuseAnswer(s)
		return r, false
	}
	r.Action = Answer
	r.Extra = &Extra{Reply: Records, Records: []Record{addressRecord(a.Unmap())}}
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
	case name[0] == '.': // dnsmasq 2.90 reads /.example.com/ as /example.com/
		p.putName(r, name[1:], oneLabel)
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
	if prefix = prefix.Masked(); prefix.Bits() == 0 {
		p.bad(EveryName, s, "matches every answer: write a longer prefix")
		return
	}
	if !p.mayBlockPrefix(s, prefix) {
		return
	}
	p.put(Rule{Form: Dnsmasq, Match: Address, Extra: &Extra{Text: strings.Clone(s), Prefix: prefix, Reply: NXDomain}})
}
