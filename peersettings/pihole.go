package peersettings

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"

	"telltale/sorting"
)

const (
	tomlFile    = "pihole.toml"     // version 6
	setupFile   = "setupVars.conf"  // version 5
	ftlFile     = "pihole-FTL.conf" // version 5
	hostsFile   = "custom.list"     // version 5; version 6 makes it of the settings
	gravityFile = "gravity.db"
	piholeRules = "pi-hole" // the list of its own rules
)

// A pihole reads the settings of Pi-hole.
type pihole struct {
	*Draft
	dir  string
	toml bool // pihole.toml was read: older files are left from before

	dnsmasqD bool // pihole.toml says that files of dnsmasq.d are read

	nameOf map[string]string // names by address
	hostOf map[string]string // addresses by name, in lower case
	fixed  []fixedHost
	setup  map[string]string // setupVars.conf
	own    map[string]bool   // groups by name
	groups []clientGroup
	again  bool
}

// A piholeFile is one that Pi-hole's directory may have, the ones that say what others
// mean first.
type piholeFile struct {
	name string
	read func(path string) error
}

func (p *pihole) files() []piholeFile {
	if p.nameOf == nil {
		p.nameOf, p.hostOf, p.own = map[string]string{}, map[string]string{}, map[string]bool{}
	}
	before := func(read func(string) error) func(string) error {
		return func(path string) error {
			if p.toml {
				p.leave(Place{File: filepath.Base(path)}, "left from version 5, since there is a %s: not read", tomlFile)
				return nil
			}
			return read(path)
		}
	}
	return []piholeFile{{tomlFile, p.readTOML}, {setupFile, before(p.readSetup)}, {ftlFile, before(p.readFTL)}, {hostsFile, before(p.readHosts)}, {gravityFile, p.readGravity}}
}

// readDnsmasqDirs reads what people wrote into dnsmasq.d. Static addresses of version
// 5 name devices, so this comes before finishPihole.
func (p *pihole) readDnsmasqDirs() error {
	for _, dir := range []string{filepath.Join(p.dir, "dnsmasq.d"), filepath.Join(filepath.Dir(p.dir), "dnsmasq.d")} {
		files, _ := filepath.Glob(filepath.Join(dir, "*.conf"))
		for _, path := range files {
			base := filepath.Base(path)
			if strings.HasPrefix(base, "01-pihole") || strings.HasPrefix(base, "02-pihole-dhcp") || strings.HasPrefix(base, "06-rfc6761") {
				continue // Pi-hole makes them of its settings
			}
			if p.toml && !p.dnsmasqD {
				p.leave(Place{File: base}, "not read there: misc.etc_dnsmasq_d of %s is not true", tomlFile)
				continue
			}
			if err := p.unlessEmpty(p.readDnsmasq(path), path); err != nil {
				return err
			}
		}
	}
	return nil
}

// piholeModes are Telltale's words.
var piholeModes = map[string]string{"NULL": "null", "NX": "nxdomain", "NXDOMAIN": "nxdomain", "NODATA": "nodata"}

func (p *pihole) mode(mode string, v4, v6 string, at Place) {
	mode = strings.ToUpper(strings.ReplaceAll(mode, "-", "_"))
	if word_, known := piholeModes[mode]; known {
		if word_ != "null" {
			p.set("blocking.mode", word(word_), at)
		}
		return
	}
	custom := sequence()
	for _, addr := range []string{v4, v6} {
		addr, _, _ = strings.Cut(addr, "/")
		if _, err := netip.ParseAddr(addr); err == nil && (addr == v4 || mode == "IP" || len(custom.Content) == 0) {
			custom.Content = append(custom.Content, text(addr))
		}
	}
	if (mode == "IP" || mode == "IP_NODATA_AAAA") && len(custom.Content) > 0 {
		p.set("blocking.mode", word("custom"), at)
		p.set("blocking.custom", custom, at)
		return
	}
	p.leave(at, "a mode that has no counterpart without addresses: blocked names are answered with 0.0.0.0 and ::")
}

// readSetup reads setupVars.conf.
func (p *pihole) readSetup(path string) error {
	p.Product = cmp.Or(p.Product, "Pi-hole 5")
	p.setup = map[string]string{}
	places := map[string]Place{}
	err := p.assignments(path, func(key, value string, at Place) {
		p.setup[key] = value // of two, Pi-hole takes the last
		places[key] = at
	})
	if err != nil {
		return err
	}
	keys := slices.Collect(mapsKeys(places))
	sorting.By(keys, func(a, b string) int { return cmp.Compare(places[a].Line, places[b].Line) })
	for _, key := range keys {
		p.setupVar(key, p.setup[key], places[key])
	}
	if p.setup["REV_SERVER"] == "true" {
		p.revServer("true,"+p.setup["REV_SERVER_CIDR"]+","+p.setup["REV_SERVER_TARGET"]+","+p.setup["REV_SERVER_DOMAIN"], places["REV_SERVER"])
	}
	return nil
}

func mapsKeys(m map[string]Place) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// assignments reads KEY=VALUE lines.
func (p *pihole) assignments(path string, each func(key, value string, at Place)) error {
	body, err := p.readText(path)
	if err != nil {
		return err
	}
	line, some, bad := 0, false, false
	for text := range strings.Lines(string(body)) {
		line++
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";") {
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			bad = true
			p.leave(Place{filepath.Base(path), line, ""}, "not a line KEY=VALUE")
			continue
		}
		some = true
		key = strings.TrimSpace(key)
		each(key, strings.Trim(strings.TrimSpace(value), `"'`), Place{filepath.Base(path), line, clean(key)})
	}
	switch {
	case !some && bad:
		return fmt.Errorf("%s: no settings in it", path)
	case !some:
		return fmt.Errorf("%s: %w", path, errEmpty)
	}
	return nil
}

func (p *pihole) setupVar(key, value string, at Place) {
	switch {
	case strings.HasPrefix(key, "PIHOLE_DNS_"):
		p.upstream(serverOf(value), at)
	case key == "BLOCKING_ENABLED" && value == "false":
		p.set("blocking.observe", word("true"), at)
	case key == "QUERY_LOGGING" && value == "false":
		p.set("log.enabled", word("false"), at)
	case key == "HOSTRECORD" && value != "":
		p.hostRecord(value, at)
	case key == "PIHOLE_DOMAIN" && value != "":
		p.domain(value, at)
	case key == "DNSSEC" && value == "true":
		p.leave(at, noDNSSEC)
	case key == "DHCP_ACTIVE" && value == "true":
		p.leave(at, noDHCP)
	case key == "DNSMASQ_LISTENING" && value == "all":
		p.leave(at, listensToAll)
	case isSecret(key):
		p.leave(at, "a secret, which is not copied: Telltale has no page to log in to")
	case strings.HasPrefix(key, "API_EXCLUDE_") && value != "":
		p.leave(at, "nothing can be left out of views of the log; log: false of a device or group keeps nothing of it")
	default:
		if _, concerns := setupSilent[key]; !concerns && !strings.HasPrefix(key, "DHCP_") && !strings.HasPrefix(key, "REV_SERVER") {
			p.leave(at, "not known here, and not looked at")
		}
	}
}

const (
	noDNSSEC     = "Telltale does not validate by itself: ask an upstream that does, with trust_ad"
	noDHCP       = "Telltale is no DHCP server: docs/routers.md says what can be one"
	listensToAll = "Telltale answers private networks and those of this machine, and others by access.allow alone"
)

// isSecret reports whether a key's value is a password, or what stands for one.
func isSecret(key string) bool {
	key = strings.ToLower(key)
	for _, part := range []string{"password", "pwhash", "totp", "token", "secret", "app_pw", "cli_pw"} {
		if strings.Contains(key, part) {
			return true
		}
	}
	return false
}

// setupSilent is what Telltale does by itself, or what is of no concern here.
var setupSilent = map[string]bool{
	"BLOCKING_ENABLED": true, "QUERY_LOGGING": true, "HOSTRECORD": true, "PIHOLE_DOMAIN": true, "DNSSEC": true, "DNSMASQ_LISTENING": true,
	"DNS_FQDN_REQUIRED": true, "DNS_BOGUS_PRIV": true, "PIHOLE_INTERFACE": true, "IPV4_ADDRESS": true, "IPV6_ADDRESS": true,
	"INSTALL_WEB_SERVER": true, "INSTALL_WEB_INTERFACE": true, "LIGHTTPD_ENABLED": true, "CACHE_SIZE": true, "WEBTHEME": true, "WEBUIBOXEDLAYOUT": true,
	"TEMPERATUREUNIT": true, "TEMPERATURE_UNIT": true, "TEMPERATURE_LIMIT": true, "ADMIN_EMAIL": true, "API_QUERY_LOG_SHOW": true, "API_PRIVACY_MODE": true,
	"API_EXCLUDE_CLIENTS": true, "API_EXCLUDE_DOMAINS": true, "WEBENABLED": true, "GRAVITY_TMPDIR": true, "WEB_PORTS": true,
}

// readFTL reads pihole-FTL.conf.
func (p *pihole) readFTL(path string) error {
	p.Product = cmp.Or(p.Product, "Pi-hole 5")
	return p.assignments(path, func(key, value string, at Place) {
		switch key {
		case "BLOCKINGMODE":
			p.mode(value, p.setup["IPV4_ADDRESS"], p.setup["IPV6_ADDRESS"], at)
		case "BLOCK_TTL":
			p.set("blocking.ttl", text(value+"s"), at)
		case "PRIVACYLEVEL":
			p.privacy(value, at)
		case "MOZILLA_CANARY", "BLOCK_ICLOUD_PR":
			p.canaries(value, at)
		case "LOCAL_IPV4", "LOCAL_IPV6", "RATE_LIMIT", "MAXDBDAYS", "DBFILE", "DBINTERVAL", "PIDFILE", "SOCKETFILE", "LOGFILE", "RESOLVE_IPV4", "RESOLVE_IPV6":
		default:
			p.leave(at, "has no counterpart here")
		}
	})
}

func (p *pihole) privacy(level string, at Place) {
	if level != "0" && level != "" {
		p.leave(at, "names and clients are not hidden in the log: log.unlisted says how long names that no list has are kept, and log: false of a device keeps nothing of it")
	}
}

func (p *pihole) canaries(value string, at Place) {
	if value == "false" {
		p.set("special.canaries", word("false"), at)
		p.leave(at, "the names by which Firefox and Apple's devices ask whether to go round this server are one setting here: special.canaries")
	}
}

// readHosts reads custom.list.
func (p *pihole) readHosts(path string) error {
	body, err := p.readText(path)
	if err != nil {
		if errors.Is(err, errEmpty) {
			return nil // as it is made
		}
		return err
	}
	line := 0
	for text := range strings.Lines(string(body)) {
		line++
		p.hostsLine(text, Place{filepath.Base(path), line, ""})
	}
	return nil
}

// hostsLine takes over ADDRESS NAME [NAME...].
func (p *pihole) hostsLine(line string, at Place) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return
	}
	addr, err := netip.ParseAddr(fields[0])
	if err != nil || len(fields) < 2 {
		p.leave(at, "not an address and its names")
		return
	}
	for _, name := range fields[1:] {
		p.host(addr, name, at)
	}
}

// domain says what becomes of the domain that Pi-hole alone answers for.
func (p *pihole) domain(name string, at Place) {
	p.leave(at, "names below %s that are known nowhere go to the upstreams: ||%s^$dnsrewrite=NXDOMAIN in own.txt keeps them", quoted(clean(name)), clean(name))
}

// revServer takes over ENABLED,PREFIX,SERVER[#PORT][,DOMAIN].
func (p *pihole) revServer(value string, at Place) {
	parts := strings.Split(value, ",")
	if len(parts) < 3 {
		p.leave(at, "not ENABLED,PREFIX,SERVER,DOMAIN")
		return
	}
	if strings.TrimSpace(parts[0]) != "true" {
		p.leave(at, "it is off there")
		return
	}
	var zones []string
	cidr := strings.TrimSpace(parts[1])
	if addr, err := netip.ParseAddr(cidr); err == nil {
		cidr = netip.PrefixFrom(addr, addr.BitLen()).String()
	}
	zones = append(zones, cidr)
	if len(parts) > 3 && strings.TrimSpace(parts[3]) != "" {
		zones = append(zones, strings.TrimSpace(parts[3]))
	}
	p.forward(zones, []string{serverOf(parts[2])}, at)
}

// readTOML reads pihole.toml.
func (p *pihole) readTOML(path string) error {
	body, err := p.readText(path)
	if err != nil {
		return err
	}
	var all map[string]any
	if err := toml.Unmarshal(body, &all); err != nil {
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, _ := at.Position()
			return fmt.Errorf("%s:%d: not TOML as Pi-hole writes it: %s", path, row, strings.TrimPrefix(err.Error(), "toml: "))
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, ok := all["dns"].(map[string]any); !ok {
		return fmt.Errorf("%s: no settings of Pi-hole: there is no section dns", path)
	}
	p.toml = true
	p.Product = "Pi-hole 6"
	t := &tomlSettings{pihole: p, file: filepath.Base(path), lines: map[string]int{}, changed: map[string]bool{}, values: map[string]any{}, used: map[string]bool{}}
	t.index(string(body))
	t.flatten("", all)
	t.dns()
	t.rest()
	return nil
}

// A tomlSettings is pihole.toml, its values by their keys.
type tomlSettings struct {
	*pihole
	file    string
	lines   map[string]int
	changed map[string]bool // Pi-hole says beside it that it is not the default
	values  map[string]any
	used    map[string]bool
}

// index finds the line of each key. FTL writes a key a line.
func (t *tomlSettings) index(body string) {
	section, key, line := "", "", 0
	for text := range strings.Lines(body) {
		line++
		text = strings.TrimSpace(text)
		if rest, ok := strings.CutPrefix(text, "["); ok && strings.Contains(rest, "]") && !strings.ContainsAny(rest, `",`) {
			section, _, _ = strings.Cut(rest, "]")
			key = ""
			continue
		}
		if name, _, ok := strings.Cut(text, "="); ok && !strings.HasPrefix(text, "#") && !strings.HasPrefix(text, `"`) {
			key = strings.TrimPrefix(section+"."+strings.TrimSpace(name), ".")
			t.lines[key] = line
		}
		if key != "" && strings.Contains(text, "### CHANGED") {
			t.changed[key] = true
		}
	}
}

func (t *tomlSettings) flatten(key string, value any) {
	if m, ok := value.(map[string]any); ok {
		for name, v := range m {
			t.flatten(strings.TrimPrefix(key+"."+name, "."), v)
		}
		return
	}
	t.values[key] = value
}

func (t *tomlSettings) at(key string) Place {
	return Place{t.file, t.lines[key], clean(key)}
}

// value returns a setting as a text, and counts it as looked at.
func (t *tomlSettings) value(key string) string {
	t.used[key] = true
	if v, ok := t.values[key]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// all returns the texts of a setting that has several.
func (t *tomlSettings) all(key string) (texts []string) {
	t.used[key] = true
	list, _ := t.values[key].([]any)
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			t.leave(t.at(key), "not a text")
		}
		texts = append(texts, s)
	}
	return texts
}

func (t *tomlSettings) each(key string, take func(value string, at Place)) {
	for i, value := range t.all(key) {
		at := t.at(key)
		at.Key = fmt.Sprintf("%s[%d]", at.Key, i)
		take(value, at)
	}
}

func (t *tomlSettings) dns() {
	t.each("dns.upstreams", func(value string, at Place) { t.upstream(serverOf(value), at) })
	t.each("dns.hosts", t.hostsLine)
	t.each("dns.cnameRecords", t.cname)
	t.each("dns.revServers", t.revServer)
	t.each("dhcp.hosts", t.dhcpHost)
	t.dnsmasqD = t.value("misc.etc_dnsmasq_d") == "true"
	t.each("misc.dnsmasq_lines", func(value string, at Place) {
		key, value, _ := strings.Cut(value, "=")
		t.option(strings.TrimSpace(key), strings.TrimSpace(value), at)
	})
	if value := t.value("dns.hostRecord"); value != "" {
		t.hostRecord(value, t.at("dns.hostRecord"))
	}
	if port := t.value("dns.port"); port != "" && port != "53" {
		t.set("listen.dns", sequence("0.0.0.0:"+port, "[::]:"+port), t.at("dns.port"))
	}
	if t.value("dns.blocking.active") == "false" {
		t.set("blocking.observe", word("true"), t.at("dns.blocking.active"))
	}
	if mode := t.value("dns.blocking.mode"); mode != "" {
		v4, v6 := t.value("dns.reply.blocking.IPv4"), t.value("dns.reply.blocking.IPv6")
		if t.value("dns.reply.blocking.force4") != "true" {
			v4 = ""
		}
		if t.value("dns.reply.blocking.force6") != "true" {
			v6 = ""
		}
		t.mode(mode, v4, v6, t.at("dns.blocking.mode"))
	}
	if ttl := t.value("dns.blockTTL"); ttl != "" && ttl != "2" {
		t.set("blocking.ttl", text(ttl+"s"), t.at("dns.blockTTL"))
	}
	if t.value("dns.queryLogging") == "false" {
		t.set("log.enabled", word("false"), t.at("dns.queryLogging"))
	}
	for _, key := range []string{"dns.specialDomains.mozillaCanary", "dns.specialDomains.iCloudPrivateRelay"} {
		t.canaries(t.value(key), t.at(key))
	}
	if name := t.value("dns.domain.name"); name != "" && t.value("dns.domain.local") != "false" {
		t.domain(name, t.at("dns.domain.name"))
	}
	t.privacy(t.value("misc.privacylevel"), t.at("misc.privacylevel"))
	for _, off := range []struct{ key, value, why string }{
		{"dns.dnssec", "true", noDNSSEC}, {"dhcp.active", "true", noDHCP}, {"dns.listeningMode", "ALL", listensToAll},
		{"dns.CNAMEdeepInspect", "false", "the names that an answer leads to are always looked at"},
		{"dns.EDNS0ECS", "false", "who says for whom he asks is believed only where identity.forwarders names him"},
		{"dns.analyzeOnlyAandAAAA", "true", "all types are recorded"},
		{"dns.ignoreLocalhost", "true", "lookups of this machine are recorded; log: false of a device keeps nothing of it"},
	} {
		if t.value(off.key) == off.value {
			t.leave(t.at(off.key), off.why)
		}
	}
}

// rest leaves what was not looked at and is not as it is by itself.
func (t *tomlSettings) rest() {
	keys := make([]string, 0, len(t.values))
	for key := range t.values {
		keys = append(keys, key)
	}
	sorting.By(keys, func(a, b string) int { return cmp.Or(cmp.Compare(t.lines[a], t.lines[b]), cmp.Compare(a, b)) })
	for _, key := range keys {
		section, _, _ := strings.Cut(key, ".")
		switch {
		case t.used[key]:
		case isSecret(key):
			if fmt.Sprint(t.values[key]) != "" && t.values[key] != true && t.values[key] != false {
				t.leave(t.at(key), "a secret, which is not copied: Telltale has no page to log in to")
			}
		case section == "dns" && tomlSilent[key]:
		case t.changed[key] && section == "debug":
		case t.changed[key] && slices.Contains([]string{"webserver", "files", "database", "ntp", "resolver"}, section):
			t.leave(t.at(key), "of Pi-hole's page and files: of no concern here")
		case t.changed[key]:
			t.leave(t.at(key), "has no counterpart here")
		}
	}
}

// tomlSilent is what Telltale does by itself.
var tomlSilent = map[string]bool{
	"dns.domainNeeded": true, "dns.bogusPriv": true, "dns.interface": true, "dns.expandHosts": true, "dns.localise": true, "dns.blockESNI": true,
	"dns.cache.size": true, "dns.cache.optimizer": true, "dns.piholePTR": true, "dns.showDNSSEC": true, "dns.blocking.edns": true, "dns.rateLimit.count": true, "dns.rateLimit.interval": true,
}

// finishPihole writes what needs all files: devices, and what is different for them.
func (p *pihole) finishPihole() {
	if p.again || p.nameOf == nil {
		return
	}
	p.again = true
	for i := range p.fixed {
		if h := &p.fixed[i]; !h.used {
			m := mapping()
			put(m, "name", text(nameOf(h.name, "device "+h.macs[0], p.deviceNames)))
			put(m, "mac", sequence(h.macs...))
			p.add("devices", m, h.at)
		}
	}
}

// A piholeClient is what a client of Pi-hole is known by.
type piholeClient struct {
	by, value string
	fixed     *fixedHost
}

// known returns by what a client is known: an address, a MAC, or the name of a host
// whose address is known. It reports whether a device can be known so here.
func (p *pihole) known(client string) (c piholeClient, ok bool) {
	if addr, err := netip.ParseAddr(client); err == nil {
		c = piholeClient{by: "address", value: addr.String()}
	} else if mac, err := net.ParseMAC(client); err == nil {
		c = piholeClient{by: "mac", value: mac.String()}
	} else if addr := p.hostOf[strings.ToLower(client)]; addr != "" {
		c = piholeClient{by: "address", value: addr}
	}
	for i := range p.fixed {
		if h := &p.fixed[i]; slices.Contains(h.macs, c.value) || slices.Contains(h.addrs, c.value) {
			c.fixed = h
		}
	}
	return c, c.by != ""
}

// device adds a client of Pi-hole as a device.
func (p *pihole) device(c piholeClient, comment, group string, at Place) {
	name, by, values := cmp.Or(comment, p.nameOf[c.value]), c.by, sequence(c.value)
	if h := c.fixed; h != nil {
		h.used = true
		name, by, values = cmp.Or(name, h.name), "mac", sequence(h.macs...)
	}
	m := mapping()
	put(m, "name", text(nameOf(name, "client "+c.value, p.deviceNames)))
	put(m, by, values)
	if group != "" {
		put(m, "group", text(group))
		p.groupEntry(group)
	}
	p.add("devices", m, at)
}

// A clientGroup is a set of groups of Pi-hole that clients are in together. In Pi-hole
// a client has what any of its groups has; here it is in one group, which says all.
type clientGroup struct {
	in   map[int64]bool
	name string // here; "" for those of everybody
}

// groupFor returns the group of clients that are in these of Pi-hole's.
func (p *pihole) groupFor(in map[int64]bool, names map[int64]string) *clientGroup {
	for i := range p.groups {
		if mapsEqual(p.groups[i].in, in) {
			return &p.groups[i]
		}
	}
	if len(p.groups) > mostGroups {
		p.failed = fmt.Errorf("its clients are in more than %d combinations of groups: fewer can be taken over", mostGroups)
		return &p.groups[0]
	}
	var parts []string
	for _, id := range sortedIDs(in) {
		if id != 0 {
			parts = append(parts, wordOf(names[id], "group-"+strconv.FormatInt(id, 10)))
		}
	}
	name := strings.Join(parts, "-")
	switch {
	case len(in) == 0:
		name = "nothing-blocked"
	case !in[0]:
		name += "-alone"
	}
	if len(name) > 80 {
		name = name[:80]
	}
	p.groups = append(p.groups, clientGroup{in, unlike(name, "-", p.own)})
	return &p.groups[len(p.groups)-1]
}

func mapsEqual(a, b map[int64]bool) bool {
	return len(a) == len(b) && slices.Equal(sortedIDs(a), sortedIDs(b))
}

func sortedIDs(ids map[int64]bool) (all []int64) {
	for id := range ids {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// meets reports whether two sets have one in common.
func meets(a, b map[int64]bool) bool {
	for id := range a {
		if b[id] {
			return true
		}
	}
	return false
}

// groupEntry returns the entry of a group in the settings, made where it is not there.
func (p *pihole) groupEntry(name string) *yaml.Node {
	for _, n := range p.within("groups", yaml.SequenceNode).Content {
		if n.Content[keyIn(n, "name")+1].Value == name {
			return n
		}
	}
	m := mapping()
	put(m, "name", text(name))
	p.add("groups", m, Place{File: gravityFile, Key: "group"})
	return m
}

// addTo adds a text to a list within a mapping.
func addTo(m *yaml.Node, key, value string) {
	at := keyIn(m, key)
	if at < 0 {
		put(m, key, sequence())
		at = keyIn(m, key)
	}
	m.Content[at+1].Content = append(m.Content[at+1].Content, text(value))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !isMissing(err)
}
