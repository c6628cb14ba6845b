package peersettings

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// readDnsmasq takes over what a file of dnsmasq's options says of names, servers and
// devices.
func (p *pihole) readDnsmasq(path string) error {
	body, err := p.readText(path)
	if err != nil {
		return err
	}
	line := 0
	for text := range strings.Lines(string(body)) {
		line++
		text, _, _ = strings.Cut(text, " #")
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, value, _ := strings.Cut(text, "=")
		p.option(strings.TrimSpace(key), strings.TrimSpace(value), Place{filepath.Base(path), line, strings.TrimSpace(key)})
	}
	return nil
}

// option takes over one option of dnsmasq.
func (p *pihole) option(key, value string, at Place) {
	own := p.list("own")
	switch key {
	case "address":
		names, target := slashed(value)
		if names == nil {
			p.leave(at, "an address for every name, or for those without a dot: there is no such rule")
		}
		for _, name := range names {
			p.rule(own, addressRule(name, target), at)
		}
	case "server", "local":
		p.serverOption(value, at)
	case "rev-server":
		cidr, server, _ := strings.Cut(value, ",")
		p.forward([]string{cidr}, []string{serverOf(server)}, at)
	case "cname":
		p.cname(value, at)
	case "host-record":
		p.hostRecord(value, at)
	case "ptr-record":
		name, target, _ := strings.Cut(value, ",")
		p.rule(own, name+" PTR "+target, at)
	case "txt-record":
		name, data, _ := strings.Cut(value, ",")
		p.rule(own, name+` TXT "`+strings.Trim(data, `"`)+`"`, at)
	case "bogus-nxdomain":
		p.rule(p.list(piholeRules), "bogus-nxdomain="+value, at)
	case "addn-hosts":
		if !filepath.IsAbs(value) {
			p.leave(at, "a hosts file without its directory: name it in local.hosts")
			return
		}
		if p.length("local.hosts") == 0 {
			p.set("local.hosts", sequence(), at)
		}
		p.add("local.hosts", text(value), at)
	case "dhcp-host":
		p.dhcpHost(value, at)
	case "domain-needed", "bogus-priv", "expand-hosts", "localise-queries", "no-resolv", "cache-size", "log-queries", "log-facility", "log-async", "local-ttl", "dns-forward-max", "stop-dns-rebind", "rebind-localhost-ok":
		// as Telltale is by itself, or of no concern here
	case "rebind-domain-ok":
		names, _ := slashed(value + "/")
		for _, name := range names {
			p.add("rebind.allow", text(name), at)
		}
	default:
		p.leave(at, "an option of dnsmasq that has no counterpart here")
	}
}

// slashed takes /NAME/NAME/TARGET apart.
func slashed(value string) (names []string, target string) {
	rest, ok := strings.CutPrefix(value, "/")
	if !ok {
		return nil, value
	}
	parts := strings.Split(rest, "/")
	for _, name := range parts[:len(parts)-1] {
		if name = strings.TrimPrefix(strings.TrimPrefix(name, "*"), "."); name != "" {
			names = append(names, name)
		}
	}
	return names, parts[len(parts)-1]
}

// addressRule returns the rule of own.txt for a name, and all below it, that dnsmasq
// answers with an address.
func addressRule(name, target string) string {
	switch addr, err := netip.ParseAddr(target); {
	case target == "":
		return "||" + name + "^$dnsrewrite=NXDOMAIN"
	case target == "#", err == nil && addr.IsUnspecified():
		return "||" + name + "^"
	}
	return "||" + name + "^$dnsrewrite=" + target
}

// serverOption takes over server= and local=, which are one option.
func (p *pihole) serverOption(value string, at Place) {
	names, server := slashed(value)
	switch {
	case names != nil && strings.Contains(value, "://") && hasPassword(value): // and its slashes are no names
		p.leave(at, passwordLeft)
	case names == nil && server != "" && !strings.HasPrefix(value, "/"):
		p.upstream(serverOf(server), at)
	case names == nil:
		p.leave(at, "servers for names without a dot: there is no such setting")
	case server == "#":
		p.leave(at, "an exception from servers of a zone: there is no such setting")
	case server == "":
		for _, name := range names {
			p.rule(p.list("own"), "||"+name+"^$dnsrewrite=NXDOMAIN", at)
		}
	default:
		p.forward(names, []string{serverOf(server)}, at)
	}
}

// serverOf writes ADDRESS#PORT as ADDRESS:PORT, and a URL, which dnsmasq does not know, as it is.
func serverOf(server string) string {
	server = strings.TrimSpace(server)
	own, _, from := strings.Cut(server, "@") // the interface or address to ask from
	address, port, has := strings.Cut(own, "#")
	if _, err := netip.ParseAddr(address); err != nil && (from || strings.Contains(server, "://")) {
		return server // what is in front of "@" may be a password
	}
	if !has || port == "53" {
		return address
	}
	return net.JoinHostPort(address, port)
}

// cname takes over NAME[,NAME...],TARGET[,TTL].
func (p *pihole) cname(value string, at Place) {
	parts := strings.Split(value, ",")
	ttl := ""
	if last := parts[len(parts)-1]; len(parts) > 2 && last != "" && strings.Trim(last, "0123456789") == "" {
		ttl, parts = last+" ", parts[:len(parts)-1]
	}
	if len(parts) < 2 {
		p.leave(at, "no name and its target")
		return
	}
	target := strings.TrimSpace(parts[len(parts)-1])
	for _, name := range parts[:len(parts)-1] {
		p.rule(p.list("own"), strings.TrimSpace(name)+" "+ttl+"CNAME "+target, at)
	}
}

// hostRecord takes over NAME[,NAME...][,ADDRESS][,ADDRESS][,TTL].
func (p *pihole) hostRecord(value string, at Place) {
	var names []string
	for _, part := range strings.Split(value, ",") {
		part = strings.TrimSpace(part)
		if addr, err := netip.ParseAddr(part); err == nil {
			for _, name := range names {
				p.host(addr, name, at)
			}
		} else if strings.Trim(part, "0123456789") != "" {
			names = append(names, part)
		}
	}
}

// host takes over a name and its address.
func (p *pihole) host(addr netip.Addr, name string, at Place) {
	if p.rule(p.list("own"), addr.String()+" "+name, at) && p.hostOf[strings.ToLower(name)] == "" {
		p.hostOf[strings.ToLower(name)] = addr.String()
		if _, has := p.nameOf[addr.String()]; !has {
			p.nameOf[addr.String()] = name
		}
	}
}

// dhcpHost takes over who gets which address and name of DHCP: as a device.
func (p *pihole) dhcpHost(value string, at Place) {
	var macs, addrs []string
	name := ""
	for _, part := range strings.Split(value, ",") {
		part = strings.TrimSpace(part)
		inBrackets := strings.TrimSuffix(strings.TrimPrefix(part, "["), "]")
		if mac, err := net.ParseMAC(part); err == nil {
			macs = append(macs, mac.String())
		} else if addr, err := netip.ParseAddr(inBrackets); err == nil {
			addrs = append(addrs, addr.String())
		} else if strings.Contains(part, ":") || strings.Trim(part, "0123456789hmd") == "" || slices.Contains([]string{"ignore", "infinite"}, part) {
			continue // tags, ids, lease times
		} else if name == "" {
			name = part
		}
	}
	if len(macs) == 0 {
		p.leave(at, "no MAC: a device is known by one, or by an address")
		return
	}
	p.fixed = append(p.fixed, fixedHost{macs: macs, addrs: addrs, name: name, at: at})
	p.leave(at, "taken over as a device; its address is given out by whoever is your DHCP server, and Telltale is none")
}

// A fixedHost is a device that DHCP knows.
type fixedHost struct {
	macs, addrs []string
	name        string
	at          Place
	used        bool
}
