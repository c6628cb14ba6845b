package peersettings

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	adguardFile    = "AdGuardHome.yaml"
	adguardKnown   = 34 // the latest schema that was read in its source
	adguardOldest  = 20
	adguardRules   = "adguard-home" // the list of its own rules
	adguardDataDir = "data/filters" // where it keeps what it fetched, beside the settings
)

// An adguard reads AdGuardHome.yaml.
type adguard struct {
	*Draft
	path string
	file string
	root *yaml.Node
	used map[*yaml.Node]bool

	hostsAnswer bool // rules like lines of a hosts file answer with their address
}

func (d *Draft) readAdguard(path string) error {
	body, err := d.readText(path)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(body, &doc); err != nil {
		return fmt.Errorf("%s%s: not YAML as AdGuard Home writes it: is the file cut off, or was it edited?", path, yamlLine(err, body))
	}
	a := &adguard{Draft: d, path: path, file: filepath.Base(path), used: map[*yaml.Node]bool{}}
	if len(doc.Content) == 1 {
		a.root = doc.Content[0]
	}
	if a.root == nil || a.root.Kind != yaml.MappingNode {
		return fmt.Errorf("%s: no settings of AdGuard Home, nor of Pi-hole", path)
	}
	version, err := strconv.Atoi(a.value("schema_version"))
	switch {
	case err != nil && a.get("dns") != nil:
		return fmt.Errorf("%s: it has no schema_version, which stands near its end: is the file cut off?", path)
	case err != nil || a.get("dns") == nil:
		return fmt.Errorf("%s: no settings of AdGuard Home, nor of Pi-hole", path)
	case version < adguardOldest:
		return fmt.Errorf("%s: schema %d is too old: start an AdGuard Home of 2023 or later once, which brings it forward", path, version)
	case version > adguardKnown:
		d.leave(a.at("schema_version"), "schema %d is later than %d, the last that is known here: read as far as it is known", version, adguardKnown)
	}
	d.Product = fmt.Sprintf("AdGuard Home, schema %d", version)
	a.take("schema_version")
	if err := a.noAliases(a.root); err != nil {
		return err
	}
	a.listening()
	a.servers()
	a.blocking()
	a.lists()
	a.rewrites()
	a.clients()
	a.logging()
	a.rest("", a.root)
	return nil
}

var (
	yamlLineSaid = regexp.MustCompile(`^yaml: line ([0-9]+):`)
	yamlAnchor   = regexp.MustCompile(`^yaml: unknown anchor '(.*)' referenced`)
)

// yamlLine returns ":LINE" of what is wrong, "" where it is not known. The text of the
// error may have a value in it.
func yamlLine(err error, body []byte) string {
	if m := yamlLineSaid.FindStringSubmatch(err.Error()); m != nil {
		return ":" + m[1]
	}
	if m := yamlAnchor.FindStringSubmatch(err.Error()); m != nil {
		if before, _, ok := bytes.Cut(body, []byte("*"+m[1])); ok {
			return fmt.Sprintf(":%d", 1+bytes.Count(before, []byte("\n")))
		}
	}
	return ""
}

// noAliases fails where a value stands for another one: AdGuard Home writes none, and
// a few of them can stand for gigabytes.
func (a *adguard) noAliases(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		return fmt.Errorf("%s:%d: an alias, which AdGuard Home does not write", a.path, n.Line)
	}
	return errors.Join(slices.Collect(func(yield func(error) bool) {
		for _, c := range n.Content {
			if err := a.noAliases(c); err != nil {
				yield(err)
				return
			}
		}
	})...)
}

// get returns the value of the first of some keys with dots that is there; nil for none.
func (a *adguard) get(keys ...string) *yaml.Node {
	for _, key := range keys {
		n := a.root
		for _, part := range strings.Split(key, ".") {
			at := -1
			if n.Kind == yaml.MappingNode {
				at = keyIn(n, part)
			}
			if at < 0 {
				n = nil
				break
			}
			n = n.Content[at+1]
		}
		if n != nil {
			return n
		}
	}
	return nil
}

// take returns a value as get does, and counts it as looked at.
func (a *adguard) take(keys ...string) *yaml.Node {
	n := a.get(keys...)
	if n != nil {
		a.used[n] = true
	}
	return n
}

func (a *adguard) value(keys ...string) string { return scalar(a.take(keys...)) }

func scalar(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// in returns the value of a key of a mapping; nil for none.
func in(m *yaml.Node, key string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	if at := keyIn(m, key); at >= 0 {
		return m.Content[at+1]
	}
	return nil
}

// items returns what a sequence has; nothing for anything else.
func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

func (a *adguard) at(key string) Place {
	at := Place{File: a.file, Key: key}
	if n := a.get(key); n != nil {
		at.Line = n.Line
	}
	return at
}

func (a *adguard) place(n *yaml.Node, key string, args ...any) Place {
	if len(args) > 0 {
		key = fmt.Sprintf(key, args...)
	}
	return Place{File: a.file, Line: n.Line, Key: clean(key)}
}

func (a *adguard) listening() {
	port := a.value("dns.port")
	if port == "" {
		port = "53"
	}
	at := a.at("dns.bind_hosts")
	hosts := items(a.take("dns.bind_hosts"))
	if len(hosts) > 0 && a.value("dns.serve_plain_dns") != "false" {
		n := sequence()
		for _, host := range hosts {
			n.Content = append(n.Content, text(net.JoinHostPort(host.Value, port)))
		}
		a.set("listen.dns", n, at)
	}
	if a.value("tls.enabled") != "true" {
		for _, key := range tlsKeys {
			a.take("tls." + key)
		}
		return
	}
	certificate, key := a.value("tls.certificate_path"), a.value("tls.private_key_path")
	for _, inline := range []string{"tls.certificate_chain", "tls.private_key"} {
		if a.value(inline) != "" {
			a.leave(a.at(inline), "it is written into the settings themselves and was not copied: put it into a file of its own, and name that in tls.certificates")
		}
	}
	if certificate == "" || key == "" {
		a.leave(a.at("tls.enabled"), "no certificate in files: encrypted transports are off until tls.certificates, or tls.authority: local, is set")
		for _, key := range tlsKeys {
			a.take("tls." + key)
		}
		return
	}
	m := mapping()
	put(m, "certificate", text(certificate))
	put(m, "key", text(key))
	a.add("tls.certificates", m, a.at("tls.certificate_path"))
	if name := a.value("tls.server_name"); name != "" {
		a.set("tls.names", sequence(name), a.at("tls.server_name"))
	}
	for _, by := range [][2]string{{"port_dns_over_tls", "tls"}, {"port_https", "https"}, {"port_dns_over_quic", "quic"}} {
		port := a.value("tls." + by[0])
		if port == "" || port == "0" {
			continue
		}
		n := sequence()
		for _, host := range hosts {
			n.Content = append(n.Content, text(net.JoinHostPort(host.Value, port)))
		}
		a.set("listen."+by[1], n, a.at("tls."+by[0]))
	}
}

// tlsKeys are what is looked at where encrypted transports are on.
var tlsKeys = []string{"server_name", "port_https", "port_dns_over_tls", "port_dns_over_quic", "certificate_path", "private_key_path"}

// privateNets are what AdGuard Home takes for private addresses, as far as they have
// reverse names of their own to ask for.
var privateNets = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}

func (a *adguard) servers() {
	for i, n := range items(a.take("dns.upstream_dns")) {
		a.server(n.Value, a.place(n, "dns.upstream_dns[%d]", i), nil)
	}
	mode := a.value("dns.upstream_mode")
	switch {
	case mode == "parallel" || a.value("dns.all_servers") == "true":
		a.set("upstream_strategy", word("parallel"), a.at("dns.upstream_mode"))
	case mode == "fastest_addr" || a.value("dns.fastest_addr") == "true":
		a.leave(a.at("dns.upstream_mode"), "addresses are not tried for the fastest one: the servers that answer soonest are asked")
		fallthrough
	case a.length("upstreams") > 1:
		a.set("upstream_strategy", word("fastest"), a.at("dns.upstream_mode"))
	}
	for i, n := range items(a.take("dns.fallback_dns")) {
		a.leave(a.place(n, "dns.fallback_dns[%d]", i), "servers for when all others fail: add it to upstreams as the last, with upstream_strategy: in-order")
	}
	for i, n := range items(a.take("dns.bootstrap_dns")) {
		at := a.place(n, "dns.bootstrap_dns[%d]", i)
		if hasPassword(n.Value) {
			a.leave(at, passwordLeft)
			continue
		}
		a.add("upstream_bootstrap", text(strings.TrimPrefix(n.Value, "udp://")), at)
	}
	a.localServers()
	if a.value("dns.use_dns64") == "true" {
		prefix := "auto"
		if all := items(a.take("dns.dns64_prefixes")); len(all) > 0 {
			prefix = all[0].Value
		}
		a.set("dns64.prefix", text(prefix), a.at("dns.use_dns64"))
	}
	for _, ttl := range [][2]string{{"dns.cache_ttl_min", "cache.min_ttl"}, {"dns.cache_ttl_max", "cache.max_ttl"}} {
		if seconds := a.value(ttl[0]); seconds != "" && seconds != "0" {
			a.set(ttl[1], text(seconds+"s"), a.at(ttl[0]))
		}
	}
}

// localServers takes over who is asked for the names of private addresses.
func (a *adguard) localServers() {
	on, all := a.value("dns.use_private_ptr_resolvers") == "true", items(a.take("dns.local_ptr_upstreams"))
	nets := privateNets
	if own := items(a.take("dns.private_networks")); len(own) > 0 {
		nets = nil
		for _, n := range own {
			nets = append(nets, n.Value)
		}
	}
	for i, n := range all {
		at := a.place(n, "dns.local_ptr_upstreams[%d]", i)
		if !on {
			a.leave(at, "it is off (dns.use_private_ptr_resolvers)")
			continue
		}
		a.server(n.Value, at, nets)
	}
}

// server takes over a line of upstreams. Zones are what it is asked for, where its
// line does not say; none for all.
func (a *adguard) server(line string, at Place, zones []string) {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return
	}
	if rest, ok := strings.CutPrefix(line, "[/"); ok {
		names, servers, closed := strings.Cut(rest, "/]")
		if !closed {
			a.leave(at, "no /] behind its domains")
			return
		}
		zones = nil
		for _, name := range strings.Split(names, "/") {
			if name == "" {
				a.leave(at, "servers for names without a dot: there is no such setting")
				return
			}
			if below, ok := strings.CutPrefix(name, "*."); ok {
				a.leave(at, "taken over for %s, too, and not only for what is below it", quoted(below))
				name = below
			}
			zones = append(zones, name)
		}
		line = servers
	}
	servers := []string{line} // without domains, a line is one server
	if len(zones) > 0 {
		servers = strings.Fields(line)
	}
	if slices.Contains(servers, "#") {
		a.leave(at, "an exception from servers of a zone: there is no such setting")
		return
	}
	if slices.ContainsFunc(servers, hasPassword) {
		a.leave(at, passwordLeft)
		return
	}
	if len(zones) > 0 {
		a.forward(zones, servers, at)
		return
	}
	for _, server := range servers {
		a.upstream(server, at)
	}
}

// blockingModes are Telltale's words.
var blockingModes = map[string]string{"": "null", "default": "null", "null_ip": "null", "nxdomain": "nxdomain", "refused": "refused", "custom_ip": "custom"}

func (a *adguard) blocking() {
	at := a.at("filtering.blocking_mode")
	said := a.value("filtering.blocking_mode", "dns.blocking_mode")
	mode, known := blockingModes[said]
	a.hostsAnswer = said == "" || said == "default"
	if !known {
		a.leave(at, "a mode that is not known here")
		mode = "null"
	}
	v4, v6 := a.value("filtering.blocking_ipv4", "dns.blocking_ipv4"), a.value("filtering.blocking_ipv6", "dns.blocking_ipv6")
	if mode == "custom" {
		custom := sequence()
		for _, addr := range []string{v4, v6} {
			if addr != "" {
				custom.Content = append(custom.Content, text(addr))
			}
		}
		a.set("blocking.custom", custom, a.at("filtering.blocking_ipv4"))
	}
	if mode != "null" {
		a.set("blocking.mode", word(mode), at)
	}
	if ttl := a.value("filtering.blocked_response_ttl", "dns.blocked_response_ttl"); ttl != "" && ttl != "10" {
		a.set("blocking.ttl", text(ttl+"s"), a.at("filtering.blocked_response_ttl"))
	}
	for _, key := range []string{"protection_enabled", "filtering_enabled"} {
		if a.value("filtering."+key, "dns."+key) == "false" {
			a.set("blocking.observe", word("true"), a.at("filtering."+key))
		}
	}
	rules := a.list(adguardRules)
	for i, n := range items(a.take("dns.bogus_nxdomain")) {
		a.rule(rules, "bogus-nxdomain="+n.Value, a.place(n, "dns.bogus_nxdomain[%d]", i))
	}
	for i, n := range items(a.take("dns.blocked_hosts")) {
		if !slices.Contains([]string{"version.bind", "id.server", "hostname.bind"}, n.Value) { // its defaults
			a.rule(rules, plainToAdblock(n.Value)+"$dnsrewrite=REFUSED,important", a.place(n, "dns.blocked_hosts[%d]", i))
		}
	}
}

// plainToAdblock writes a name that is meant alone as an AdBlock rule.
func plainToAdblock(name string) string {
	if strings.ContainsAny(name, "|^*/") {
		return name
	}
	return "|" + name + "^"
}

func (a *adguard) lists() {
	for i, n := range items(a.take("filters")) {
		at := a.place(n, "filters[%d]", i)
		a.subscribe(scalar(in(n, "url")), scalar(in(n, "name")), scalar(in(n, "enabled")) == "true", true, at)
	}
	if hours := a.value("filtering.filters_update_interval", "dns.filters_update_interval"); hours == "0" {
		a.leave(a.at("filtering.filters_update_interval"), "lists are fetched every day; refresh of a subscription sets another time")
	} else if hours != "" && hours != "24" && a.length("lists.subscriptions") > 0 {
		for _, n := range a.within("lists.subscriptions", yaml.SequenceNode).Content {
			put(n, "refresh", text(hours+"h"))
		}
	}
	rules := a.list(adguardRules)
	for i, n := range items(a.take("user_rules")) {
		line := strings.TrimSpace(n.Value)
		switch {
		case line == "":
		case strings.HasPrefix(line, "!"), strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "##"):
			rules.comment(strings.TrimLeft(line, "!# "))
		default:
			if fields := strings.Fields(line); len(fields) > 1 && !a.hostsAnswer {
				if _, err := netip.ParseAddr(fields[0]); err == nil {
					line = strings.Join(append([]string{"0.0.0.0"}, fields[1:]...), " ")
				}
			}
			a.rule(rules, line, a.place(n, "user_rules[%d]", i))
		}
	}
	for i, n := range items(a.take("whitelist_filters")) {
		a.allowList(n, a.place(n, "whitelist_filters[%d]", i))
	}
}

// allowList takes over a list whose names are allowed, as it is now.
func (a *adguard) allowList(n *yaml.Node, at Place) {
	if scalar(in(n, "enabled")) != "true" {
		a.leave(at, "a list of what is allowed, and off: there are no such subscriptions")
		return
	}
	id := scalar(in(n, "id"))
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		a.leave(at, "a list of what is allowed, whose id is no number: there are no such subscriptions, and its copy is found by its id")
		return
	}
	body, err := a.readBelow(filepath.Dir(a.path), filepath.Join(adguardDataDir, id+".txt"))
	if err != nil {
		a.leave(at, "a list of what is allowed: there are no such subscriptions, and there is no copy of it in %s", adguardDataDir)
		return
	}
	l := a.list(unlike(wordOf("allow-"+scalar(in(n, "name")), "allow"), "-", a.listNames))
	skipped := 0
	for line := range strings.Lines(string(body)) {
		for _, rule := range allowing(strings.TrimSpace(line), "important") {
			before := len(a.Left)
			if !a.rule(l, rule, at) {
				a.Left = a.Left[:before]
				skipped++
			}
		}
	}
	a.leave(at, "there are no subscriptions to what is allowed: %d rules of today's copy are in %s.txt, which is not fetched again; %d lines of it are no rules here", l.counts, l.Name, skipped)
}

// allowing returns a line of a list of what is allowed as exceptions.
func allowing(line, modifier string) (rules []string) {
	if line == "" || strings.HasPrefix(line, "!") || strings.HasPrefix(line, "#") {
		return nil
	}
	with := func(rule string) string {
		switch {
		case modifier == "":
			return "@@" + rule
		case strings.Contains(rule, "$") && !strings.HasSuffix(rule, "$/"):
			return "@@" + rule + "," + modifier
		}
		return "@@" + rule + "$" + modifier
	}
	line, _, _ = strings.Cut(line, " #")
	if fields := strings.Fields(line); len(fields) > 1 {
		if _, err := netip.ParseAddr(fields[0]); err != nil {
			return []string{with(line)}
		}
		for _, name := range fields[1:] {
			rules = append(rules, with("|"+name+"^"))
		}
		return rules
	}
	return []string{with(plainToAdblock(strings.TrimPrefix(strings.TrimSpace(line), "@@")))}
}

func (a *adguard) rewrites() {
	own, off := a.list("own"), a.value("filtering.rewrites_enabled") == "false"
	for i, n := range items(a.take("filtering.rewrites", "dns.rewrites")) {
		at := a.place(n, "filtering.rewrites[%d]", i)
		if off || scalar(in(n, "enabled")) == "false" {
			a.leave(at, "it is off there")
			continue
		}
		a.rule(own, rewrite(strings.ToLower(scalar(in(n, "domain"))), scalar(in(n, "answer"))), at)
	}
}

// rewrite returns the rule of own.txt that answers as a rewrite does.
func rewrite(domain, answer string) string {
	pattern := "|" + domain + "^"
	wild := strings.HasPrefix(domain, "*.")
	if wild {
		pattern = "||" + domain + "^"
	}
	switch addr, err := netip.ParseAddr(answer); {
	case answer == "A" || answer == "AAAA":
		return "@@" + pattern + "$dnsrewrite,dnstype=" + answer
	case strings.EqualFold(answer, domain):
		return "@@" + pattern + "$dnsrewrite"
	case wild:
		return pattern + "$dnsrewrite=" + answer
	case err != nil:
		return domain + " CNAME " + answer
	case addr.IsUnspecified(), addr.IsLoopback():
		return pattern + "$dnsrewrite=" + answer
	case addr.Is4():
		return domain + " A " + answer
	}
	return domain + " AAAA " + answer
}

func (a *adguard) clients() {
	list := a.take("clients.persistent")
	if list == nil {
		list = a.take("clients")
	}
	for i, n := range items(list) {
		a.client(n, a.place(n, "clients.persistent[%d]", i))
	}
	for _, key := range []string{"whois", "arp", "rdns", "dhcp", "hosts"} {
		a.take("clients.runtime_sources." + key) // devices are known here by other means
	}
	for i, n := range items(a.take("dns.allowed_clients")) {
		at := a.place(n, "dns.allowed_clients[%d]", i)
		if !isAddrs(n.Value) {
			a.leave(at, "only networks can be served alone: access.allow")
			continue
		}
		a.leave(at, "private networks and those of this machine are always served, others by access.allow: a private network cannot be kept out")
		if !isPrivate(n.Value) {
			a.add("access.allow", text(n.Value), at)
		}
	}
	for i, n := range items(a.take("dns.disallowed_clients")) {
		a.leave(a.place(n, "dns.disallowed_clients[%d]", i), "single clients cannot be refused: your firewall can")
	}
}

func isAddrs(value string) bool {
	_, err := netip.ParseAddr(value)
	_, err2 := netip.ParsePrefix(value)
	return err == nil || err2 == nil
}

func isPrivate(value string) bool {
	addr, err := netip.ParseAddr(value)
	if p, err2 := netip.ParsePrefix(value); err != nil && err2 == nil {
		addr = p.Addr()
	}
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()
}

// client takes over a client with its name.
func (a *adguard) client(n *yaml.Node, at Place) {
	said := scalar(in(n, "name"))
	m, name := mapping(), nameOf(said, "client", a.deviceNames)
	if name != said {
		a.leave(at, "its name is %s here, also for rules with $client: a name is printable, of at most 60 octets, has no slashes, and is no other's", quoted(name))
	}
	put(m, "name", text(name))
	by := map[string]*yaml.Node{}
	for _, id := range items(in(n, "ids")) {
		kind := "client_id"
		if _, err := netip.ParseAddr(id.Value); err == nil {
			kind = "address"
		} else if _, err := netip.ParsePrefix(id.Value); err == nil {
			kind = "prefix"
		} else if _, err := net.ParseMAC(id.Value); err == nil {
			kind = "mac"
		}
		if by[kind] == nil {
			by[kind] = sequence()
			put(m, kind, by[kind])
		}
		by[kind].Content = append(by[kind].Content, text(id.Value))
	}
	if tags := items(in(n, "tags")); len(tags) > 0 {
		put(m, "tag", sequence(values(tags)...))
	}
	if scalar(in(n, "use_global_settings")) == "false" {
		if scalar(in(n, "filtering_enabled")) == "false" {
			put(m, "observe", word("true"))
		}
		for _, what := range []string{"parental_enabled", "safebrowsing_enabled"} {
			if scalar(in(n, what)) == "true" {
				a.leave(a.place(in(n, what), at.Key+"."+what), "Telltale asks no service whether a name is dangerous or for adults")
			}
		}
		if safe := in(n, "safe_search"); scalar(in(safe, "enabled")) == "true" {
			a.leave(a.place(safe, at.Key+".safe_search"), "Telltale does not rewrite search engines to their safe mode")
		}
	}
	if scalar(in(n, "ignore_querylog")) == "true" {
		put(m, "log", word("false"))
	}
	if scalar(in(n, "use_global_blocked_services")) == "false" {
		a.services(in(n, "blocked_services"), at.Key+".blocked_services")
	}
	a.add("devices", m, at)
	a.clientServers(n, name, at)
}

// clientServers takes over servers that one client alone is to ask.
func (a *adguard) clientServers(n *yaml.Node, name string, at Place) {
	var servers []string
	for i, u := range items(in(n, "upstreams")) {
		line, at := strings.TrimSpace(u.Value), a.place(u, "%s.upstreams[%d]", at.Key, i)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[/"):
			a.leave(at, "a zone of one client: write it into forward, with zones and devices")
		case hasPassword(line):
			a.leave(at, passwordLeft)
		default:
			servers = append(servers, strings.Fields(line)...)
		}
	}
	if len(servers) > 0 {
		m := mapping()
		put(m, "devices", sequence(name))
		put(m, "upstreams", sequence(servers...))
		a.add("forward", m, a.place(in(n, "upstreams"), at.Key+".upstreams"))
	}
}

func values(nodes []*yaml.Node) (all []string) {
	for _, n := range nodes {
		all = append(all, n.Value)
	}
	return all
}

// services leaves services that are blocked by their names in AdGuard Home's program.
func (a *adguard) services(n *yaml.Node, key string) {
	ids := items(in(n, "ids"))
	if ids == nil {
		ids = items(n) // up to schema 20
	}
	for i, id := range ids {
		a.leave(a.place(id, "%s.ids[%d]", key, i), "the service %s is a list within AdGuard Home: subscribe to one, or block its names in own.txt", quoted(clean(id.Value)))
	}
}

func (a *adguard) logging() {
	if a.value("querylog.enabled") == "false" {
		a.set("log.enabled", word("false"), a.at("querylog.enabled"))
	}
	a.services(a.take("filtering.blocked_services", "dns.blocked_services"), "filtering.blocked_services")
	for _, off := range [][2]string{
		{"filtering.safe_search.enabled", "Telltale does not rewrite search engines to their safe mode"},
		{"dhcp.enabled", "Telltale is no DHCP server: docs/routers.md says what can be one"},
		{"dns.edns_client_subnet.enabled", "upstreams are told nothing of clients: client_subnet of an upstream tells one a part of an address"},
		{"dns.enable_dnssec", "Telltale does not ask for DNSSEC by itself: an upstream that validates says so where its entry has trust_ad"},
	} {
		if a.value(off[0]) == "true" {
			a.leave(a.at(off[0]), off[1])
		}
	}
}

// rest leaves what was not looked at, unless it is as AdGuard Home has it by itself, or
// of no concern here.
func (a *adguard) rest(key string, n *yaml.Node) {
	if a.used[n] {
		return
	}
	if why, ok := adguardSecrets[key]; ok && !isUsual(n, "") {
		a.leave(a.place(n, "%s", key), why)
		return
	}
	usual, known := adguardUsual[key]
	switch {
	case known && usual.value == "*":
	case known && isUsual(n, usual.value):
	case known:
		a.leave(a.place(n, "%s", key), usual.why)
	case n.Kind == yaml.MappingNode && (key == "" || adguardSections[key]):
		for i := 0; i+1 < len(n.Content); i += 2 {
			next := n.Content[i].Value
			if key != "" {
				next = key + "." + next
			}
			a.rest(next, n.Content[i+1])
		}
	case n.Kind == yaml.ScalarNode && scalar(n) == "", n.Kind != yaml.ScalarNode && len(n.Content) == 0:
	default:
		a.leave(a.place(n, "%s", key), "not known here, and not looked at")
	}
}

// isUsual reports whether a value is the usual one, whose alternatives are between bars.
func isUsual(n *yaml.Node, usual string) bool {
	if n.Kind != yaml.ScalarNode {
		return !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.Value != "|.^" }) // which it leaves out of the log by itself
	}
	return slices.Contains(strings.Split(usual, "|"), scalar(n))
}

var adguardSections = map[string]bool{"http": true, "dns": true, "tls": true, "querylog": true, "statistics": true, "filtering": true, "clients": true, "clients.runtime_sources": true, "dhcp": true, "log": true, "os": true}

var adguardSecrets = map[string]string{
	"users":                 "names and passwords of AdGuard Home's page are not copied: Telltale has no such page",
	"tls.private_key":       "a secret, which is not copied",
	"tls.certificate_chain": "not copied: it is written into the settings themselves",
}

// A usualValue is what AdGuard Home has where nobody sets it ("*": of no concern here),
// and why another one has no counterpart.
type usualValue struct{ value, why string }

const ownLimit = "not copied: what a client may ask is bounded by limits here, in another way"

var adguardUsual = map[string]usualValue{
	"http": {"*", ""}, "language": {"*", ""}, "theme": {"*", ""}, "auth_attempts": {"*", ""}, "block_auth_min": {"*", ""},
	"log": {"*", ""}, "os": {"*", ""}, "statistics": {"*", ""}, "debug_pprof": {"*", ""}, "web_session_ttl": {"*", ""},
	"bind_host": {"*", ""}, "bind_port": {"*", ""}, "unsafe_use_custom_update_index_url": {"*", ""},
	"http_proxy":                      {"", "Telltale fetches its lists without a proxy"},
	"dhcp":                            {"*", ""},
	"dns.anonymize_client_ip":         {"false", "addresses are not shortened in the log: log: false of a device or group keeps nothing of it"},
	"dns.upstream_dns_file":           {"", "the file is not read: write its lines into upstreams and forward"},
	"dns.ratelimit":                   {"20", ownLimit},
	"dns.ratelimit_subnet_len_ipv4":   {"24", ownLimit},
	"dns.ratelimit_subnet_len_ipv6":   {"56", ownLimit},
	"dns.ratelimit_whitelist":         {"", ownLimit},
	"dns.refuse_any":                  {"*", ""},
	"dns.upstream_timeout":            {"*", ""},
	"dns.fastest_timeout":             {"*", ""},
	"dns.trusted_proxies":             {"*", ""},
	"dns.cache_enabled":               {"true", "the cache is never off; cache.size: 0 keeps no answers"},
	"dns.cache_size":                  {"*", ""},
	"dns.cache_optimistic":            {"*", ""},
	"dns.cache_optimistic_answer_ttl": {"*", ""},
	"dns.cache_optimistic_max_age":    {"*", ""},
	"dns.aaaa_disabled":               {"false", "IPv6 addresses cannot be hidden of all names; of one name, by ||NAME^$dnstype=AAAA"},
	"dns.enable_dnssec":               {"*", ""},
	"dns.edns_client_subnet":          {"*", ""},
	"dns.max_goroutines":              {"*", ""},
	"dns.handle_ddr":                  {"*", ""},
	"dns.ipset":                       {"", "addresses are not put into sets of the firewall"},
	"dns.ipset_file":                  {"", "addresses are not put into sets of the firewall"},
	"dns.bootstrap_prefer_ipv6":       {"*", ""},
	"dns.dns64_prefixes":              {"*", ""},
	"dns.serve_http3":                 {"*", ""},
	"dns.use_http3_upstreams":         {"false", "HTTP/3 is asked of where the upstream is written h3://"},
	"dns.serve_plain_dns":             {"true", "plain DNS cannot be off"},
	"dns.hostsfile_enabled":           {"false", "no hosts file is read by itself: name it in local.hosts"},
	"dns.pending_requests":            {"*", ""},
	"filtering.parental_enabled":      {"false", "Telltale asks no service whether a name is for adults"},
	"filtering.safebrowsing_enabled":  {"false", "Telltale asks no service whether a name is dangerous"},
	"filtering.safe_search":           {"*", ""},
	"filtering.protection_disabled_until": {
		"", "a pause: see 'telltale pause'",
	},
	"filtering.parental_block_host":     {"*", ""},
	"filtering.safebrowsing_block_host": {"*", ""},
	"filtering.safe_fs_patterns":        {"*", ""},
	"filtering.max_http_size":           {"*", ""},
	"filtering.safebrowsing_cache_size": {"*", ""},
	"filtering.safesearch_cache_size":   {"*", ""},
	"filtering.parental_cache_size":     {"*", ""},
	"filtering.cache_time":              {"*", ""},
	"querylog.dir_path":                 {"*", ""},
	"querylog.ignored":                  {"", "names cannot be kept out of the log; log: false of a device or group keeps nothing of it"},
	"querylog.ignored_enabled":          {"*", ""},
	"querylog.interval":                 {"*", ""},
	"querylog.size_memory":              {"*", ""},
	"querylog.file_enabled":             {"*", ""},
	"tls.force_https":                   {"*", ""},
	"tls.enabled":                       {"*", ""},
	"tls.port_dnscrypt":                 {"0|", "DNSCrypt is not spoken to clients"},
	"tls.dnscrypt_config_file":          {"*", ""},
	"tls.strict_sni_check":              {"false", "there is no such check"},
	"tls.override_tls_ciphers":          {"*", ""},
	"tls.allow_unencrypted_doh":         {"false", "DNS over HTTPS in clear is for reverse proxies: listen.http and listen.trusted_proxies"},
}
