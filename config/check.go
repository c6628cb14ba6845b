package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

// derive fills in what follows from other settings.
func (c *Config) derive() {
	if c.Cache.Dir == "" {
		c.Cache.Dir = filepath.Join(c.Data.Dir, "cache")
	}
	if c.Control.Socket == "" {
		c.Control.Socket = filepath.Join(c.Data.Dir, "telltale.sock")
	}
	if c.Center.Dir == "" {
		c.Center.Dir = filepath.Join(c.Data.Dir, "center")
	}
	for i := range c.Reports {
		if r := &c.Reports[i]; r.Dir == "" {
			r.Dir = filepath.Join(c.Data.Dir, "reports")
		}
	}
}

// check finds what is wrong with values that are each valid alone.
func (c *Config) check(d *decoding) {
	c.checkAddresses(d)
	c.checkNumbers(d)
	c.checkLists(d)
	c.checkCatalog(d)
	c.checkDevices(d)
	c.checkIdentity(d)
	c.checkReports(d)
	c.checkWitness(d)
	c.checkAlerts(d)
	c.checkWeb(d)
	c.checkFleet(d)
}

// checkWeb refuses what would let nobody in, or say nothing.
func (c *Config) checkWeb(d *decoding) {
	w := &c.Web
	first := make(map[string]string)
	for i, a := range w.Listen {
		key := fmt.Sprintf("web.listen[%d]", i)
		if !a.IsValid() || a.Port() == 0 {
			continue
		}
		unique(d, first, a.String(), key, "address")
		for _, by := range []listening{{"dns", c.Listen.DNS}, {"tls", c.Listen.TLS}, {"https", c.Listen.HTTPS}, {"http", c.Listen.HTTP}} {
			if slices.Contains(by.addrs, a) {
				d.mistake(key, "found "+quote(a.String())+", which listen."+by.name+" has", "another port")
			}
		}
		if slices.Contains(c.Metrics.Listen, a) {
			d.mistake(key, "found "+quote(a.String())+", which metrics.listen has", "another port")
		}
	}
	for i := 0; i < len(w.Path); i++ {
		if b := w.Path[i]; !strings.ContainsRune("/-_.~", rune(b)) && (b < '0' || b > '9') && (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') {
			d.mistake("web.path", "found "+quote(w.Path), "a path of letters, digits, - _ . ~ and /")
			break
		}
	}
	if w.Path != "" && (w.Path[0] != '/' || w.Path != path.Clean(w.Path) || w.Path == "/") {
		d.mistake("web.path", "found "+quote(w.Path), "a path that begins with / and does not end with it, such as /telltale")
	}
	for i, h := range w.Hosts {
		if strings.HasPrefix(h, "*") {
			d.mistake(fmt.Sprintf("web.hosts[%d]", i), "found "+quote(h), "a whole name")
		}
	}
	refuseInternet(d, "web.proxies", w.Proxies, "the addresses of your reverse proxies: they may say who asks, and by which name")
	switch {
	case w.TLS == WebTLSOwn && w.Certificate == "" && !d.wrong("web.certificate"):
		d.mistake("web.certificate", "no certificate to show", "the file of one, since web.tls is own")
	case w.TLS == WebTLSOwn && w.Key == "" && !d.wrong("web.key"):
		d.mistake("web.key", "no key", "the file of the certificate's key, since web.tls is own")
	case w.TLS == WebTLSShared && len(c.TLS.Certificates) == 0 && c.TLS.Authority != LocalAuthority && c.TLS.ACME.Directory == "":
		d.mistake("web.tls", "no certificate to share", "the files of one in tls.certificates, or tls.authority: local, or tls.acme")
	}
}

// checkWitness refuses to send checkpoints in clear, where whoever is on the way could
// answer in the witness's place.
func (c *Config) checkWitness(d *decoding) {
	w := &c.Evidence.Witness
	if every := w.Every; (every < time.Minute || every > 30*24*time.Hour) && !d.wrong("evidence.witness.every") {
		d.mistake("evidence.witness.every", "found "+durationText(every), "1m to 30d")
	}
	for _, of := range []struct{ key, value string }{{"evidence.witness.dir", w.Dir}, {"evidence.witness.url", w.URL}, {"evidence.witness.timestamp", w.Timestamp}} {
		if of.value != "" && !c.Log.Seal {
			d.mistake(of.key, "nothing to send: log.seal is false", "log.seal: true, or no witness")
		}
	}
	u, err := url.Parse(w.URL)
	if w.URL == "" || err != nil || u.Scheme == "https" {
		return
	}
	if a, err := netip.ParseAddr(u.Hostname()); err != nil || !a.IsLoopback() {
		d.mistake("evidence.witness.url", "it is not encrypted", "an https URL; http is for an address of this machine, such as http://127.0.0.1:8080/")
	}
}

func (c *Config) checkReports(d *decoding) {
	first := make(map[string]string)
	for i := range c.Reports {
		r, key := &c.Reports[i], fmt.Sprintf("reports[%d]", i)
		if r.Name == "" {
			d.missing(key, "name")
		} else {
			unique(d, first, strings.ToLower(r.Name), key+".name", "name")
		}
		if r.When.Every == "" {
			d.missing(key, "when")
		}
		if r.Keep < 1 && !d.wrong(key+".keep") {
			d.mistake(key+".keep", fmt.Sprintf("found %d", r.Keep), "at least 1")
		}
	}
}

func (c *Config) checkIdentity(d *decoding) {
	refuseInternet(d, "identity.forwarders", c.Identity.Forwarders, "the addresses of your forwarders: they say who asks, and are believed")
	first := make(map[string]string)
	for i, f := range c.Identity.Leases {
		key := fmt.Sprintf("identity.leases[%d]", i)
		if f.Path == "" {
			d.missing(key, "path")
			continue
		}
		unique(d, first, f.Path, key+".path", "path")
	}
}

func (c *Config) checkAddresses(d *decoding) {
	if len(c.Listen.DNS) == 0 {
		d.mistake("listen.dns", "no address", "at least one ADDRESS:PORT")
	}
	first := make(map[string]string)
	for _, by := range []listening{{"dns", c.Listen.DNS}, {"tls", c.Listen.TLS}, {"https", c.Listen.HTTPS}, {"http", c.Listen.HTTP}} { // by TCP
		for i, a := range by.addrs {
			if key := fmt.Sprintf("listen.%s[%d]", by.name, i); a.IsValid() && a.Port() != 0 {
				unique(d, first, a.String(), key, "address")
			}
		}
	}
	for i, a := range c.Metrics.Listen {
		if key := fmt.Sprintf("metrics.listen[%d]", i); a.IsValid() && a.Port() != 0 && !d.wrong(key) {
			unique(d, first, a.String(), key, "address")
		}
	}
	clear(first)
	for _, by := range []listening{{"dns", c.Listen.DNS}, {"https", c.Listen.HTTPS}, {"quic", c.Listen.QUIC}} { // by UDP
		for i, a := range by.addrs {
			if key := fmt.Sprintf("listen.%s[%d]", by.name, i); a.IsValid() && a.Port() != 0 && !d.wrong(key) {
				unique(d, first, a.String(), key, "address")
			}
		}
	}
	if len(c.Listen.HTTP) > 0 && len(c.Listen.TrustedProxies) == 0 {
		d.mistake("listen.http", "nobody may use it", "the addresses of your reverse proxies in listen.trusted_proxies")
	}
	refuseInternet(d, "listen.trusted_proxies", c.Listen.TrustedProxies, "the addresses of your reverse proxies: they may say who asks")
	refuseInternet(d, "listen.proxy_protocol", c.Listen.ProxyProtocol, "the addresses of your proxies: they say whose a connection is, and are believed")
	c.checkCertificates(d)
	c.checkACME(d)
	c.checkUpstreams(d)
	c.checkForward(d)
	refuseInternet(d, "access.allow", c.Access.Allow, "the networks to be served: an open resolver is used for attacks on others")
}

// refuseInternet makes each prefix a mistake that is every address.
func refuseInternet(d *decoding, key string, prefixes []netip.Prefix, expected string) {
	for i, p := range prefixes {
		if p.IsValid() && p.Bits() == 0 {
			d.mistake(fmt.Sprintf("%s[%d]", key, i), fmt.Sprintf("found %q, the whole Internet", p), expected)
		}
	}
}

// A listening is the addresses of one setting below listen.
type listening struct {
	name  string
	addrs []netip.AddrPort
}

func (c *Config) checkCertificates(d *decoding) {
	first := make(map[string]string)
	for i, f := range c.TLS.Certificates {
		key := fmt.Sprintf("tls.certificates[%d]", i)
		if f.Certificate == "" {
			d.missing(key, "certificate")
		}
		if f.Key == "" {
			d.missing(key, "key")
		}
		unique(d, first, f.Certificate, key+".certificate", "file")
	}
	for _, by := range []listening{{"tls", c.Listen.TLS}, {"quic", c.Listen.QUIC}, {"https", c.Listen.HTTPS}} {
		if len(by.addrs) > 0 && len(c.TLS.Certificates) == 0 && c.TLS.Authority != LocalAuthority && c.TLS.ACME.Directory == "" {
			d.mistake("listen."+by.name, "no certificate to show", "the files of one in tls.certificates, or tls.authority: local, or tls.acme")
		}
	}
	if c.TLS.Authority == LocalAuthority && len(c.TLS.Names) == 0 {
		d.mistake("tls.names", "no name", "at least one, which clients use")
	}
}

func (c *Config) checkACME(d *decoding) {
	a := &c.TLS.ACME
	switch {
	case a.Directory == "":
		return
	case !strings.HasPrefix(a.Directory, "https://"):
		d.mistake("tls.acme.directory", "found "+quote(a.Directory), "an https URL")
	case !a.AcceptTerms:
		d.mistake("tls.acme.accept_terms", "the authority's terms are not accepted", "true, once you have read them")
	case len(a.Names) == 0:
		d.mistake("tls.acme.names", "no name", "the names that the certificate is for")
	case a.Hook == "" && a.AcmeDNS == "" && len(a.UpdateServers) == 0:
		d.mistake("tls.acme", "none of update_servers, hook and acme_dns is set", "one of them, by which names are proven")
	case a.Hook == "" && a.AcmeDNS == "" && a.UpdateKey == "":
		d.mistake("tls.acme.update_key", "no key for updates", "a file as tsig-keygen writes it")
	}
}

func (c *Config) checkNumbers(d *decoding) {
	if ttl := c.Blocking.TTL; ttl%time.Second != 0 || ttl > 24*time.Hour {
		d.mistake("blocking.ttl", "found "+durationText(ttl), "whole seconds, at most 24h")
	}
	if c.Blocking.Mode == "custom" && len(c.Blocking.Custom) == 0 {
		d.mistake("blocking.mode", "custom without addresses", "the addresses to answer with in blocking.custom")
	}
	if stale := c.Cache.Stale; stale > maxStale {
		d.mistake("cache.stale", "found "+durationText(stale), "at most 3d (RFC 8767), or 0 for not at all")
	}
	c.checkTTLs(d)
	if n := c.Limits.Waiting; n < 1 {
		d.mistake("limits.waiting", fmt.Sprintf("found %d", n), "at least 1")
	}
	if n := c.Limits.TCPConnections; n < 1 {
		d.mistake("limits.tcp_connections", fmt.Sprintf("found %d", n), "at least 1")
	}
	if n := c.Limits.ClientPrefix; n < 1 || n > 128 {
		d.mistake("limits.client_prefix", fmt.Sprintf("found %d", n), "1 to 128")
	}
	if gap := c.Log.Attempt; gap < time.Second || gap > time.Hour {
		d.mistake("log.attempt_gap", "found "+durationText(gap), "1s to 1h")
	}
	if n := c.Log.Size; n < 1e6 {
		d.mistake("log.size", "found "+n.String(), "at least 1MB")
	}
}

// maxStale is the longest that RFC 8767, 5 recommends.
const maxStale = 3 * 24 * time.Hour

// checkTTLs finds bounds of TTLs that cannot be.
func (c *Config) checkTTLs(d *decoding) {
	for _, bound := range []struct {
		key   string
		value time.Duration
		most  string
	}{{"cache.min_ttl", c.Cache.MinTTL, "1h"}, {"cache.max_ttl", c.Cache.MaxTTL, "24h"}, {"cache.negative_ttl", c.Cache.NegativeTTL, "3h"}} {
		if most, _ := time.ParseDuration(bound.most); bound.value%time.Second != 0 || bound.value > most {
			d.mistake(bound.key, "found "+durationText(bound.value), "whole seconds, at most "+bound.most+", or 0 for none")
		}
	}
	if most := c.Cache.MaxTTL; most > 0 && c.Cache.MinTTL > most {
		d.mistake("cache.min_ttl", "found "+durationText(c.Cache.MinTTL)+", more than cache.max_ttl, "+durationText(most), "at most that")
	}
}

func (c *Config) checkLists(d *decoding) {
	first := make(map[string]string)
	for i, s := range c.Lists.Subscriptions {
		key := fmt.Sprintf("lists.subscriptions[%d]", i)
		c.checkList(d, &s.List, key, first)
		if s.URL == "" {
			d.missing(key, "url")
		}
		if s.Refresh < time.Minute {
			d.mistake(key+".refresh", "found "+durationText(s.Refresh), "at least 1m")
		}
	}
	for i := range c.Lists.Settings {
		c.checkList(d, &c.Lists.Settings[i], fmt.Sprintf("lists.settings[%d]", i), first)
	}
}

// checkCatalog refuses a catalogue that anybody could have written. There is no
// key of this project yet that could stand in for one of the person's choice.
func (c *Config) checkCatalog(d *decoding) {
	switch {
	case c.Catalog.URL != "" && c.Catalog.Key == "" && !d.wrong("catalog.key"):
		d.mistake("catalog.url", "no catalog.key beside it", "the public key of whoever publishes the catalogue: what is fetched says what is blocked")
	case c.Catalog.Key != "" && c.Catalog.URL == "" && !d.wrong("catalog.url"):
		d.mistake("catalog.key", "no catalog.url beside it", "where the catalogue that is signed by it is fetched from")
	}
}

func (c *Config) checkList(d *decoding, l *List, key string, first map[string]string) {
	if l.Name == "" {
		d.missing(key, "name")
	} else {
		unique(d, first, strings.ToLower(l.Name), key+".name", "name")
	}
	c.checkMode(d, l.Mode, key)
}

func (c *Config) checkMode(d *decoding, mode, key string) {
	if mode == "custom" && len(c.Blocking.Custom) == 0 {
		d.mistake(key+".mode", "custom without addresses", "the addresses to answer with in blocking.custom")
	}
}

func (c *Config) checkDevices(d *decoding) {
	groups := make(map[string]string)
	for i, g := range c.Groups {
		key := fmt.Sprintf("groups[%d]", i)
		if g.Name == "" {
			d.missing(key, "name")
		} else {
			unique(d, groups, g.Name, key+".name", "name")
		}
		c.checkMode(d, g.Mode, key)
		if _, err := time.LoadLocation(g.TimeZone); err != nil {
			d.mistake(key+".time_zone", "found "+quote(g.TimeZone)+", which this machine does not know", "a name such as Europe/Berlin; the package tzdata has them")
		}
		for k, words := range g.Makers {
			if !strings.ContainsFunc(words, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
				d.mistake(fmt.Sprintf("%s.maker[%d]", key, k), "found "+quote(words), "one or more words of a company's name, e.g. Samsung")
			}
		}
		lists := make(map[string]string)
		for _, of := range []struct {
			key   string
			names []string
		}{{"lists_on", g.ListsOn}, {"lists_off", g.ListsOff}, {"lists_observe", g.ListsObserve}} {
			for k, name := range of.names {
				unique(d, lists, name, fmt.Sprintf("%s.%s[%d]", key, of.key, k), "list")
			}
		}
	}
	devices, held, ids := make(map[string]string), make(map[string]string), make(map[string]string)
	for i := range c.Devices {
		c.checkDevice(d, &c.Devices[i], fmt.Sprintf("devices[%d]", i), groups, devices, held, ids)
	}
}

func (c *Config) checkDevice(d *decoding, v *Device, key string, groups, devices, held, ids map[string]string) {
	switch {
	case v.Name == "":
		d.missing(key, "name")
	case v.Name == "this-host", strings.HasPrefix(v.Name, "mac:"), strings.HasPrefix(v.Name, "addr:"), strings.HasPrefix(v.Name, "id:"):
		d.mistake(key+".name", "found "+quote(v.Name)+", as devices without a name are called", "another name")
	default:
		unique(d, devices, v.Name, key+".name", "name")
	}
	if len(v.MACs)+len(v.Addresses)+len(v.Prefixes)+len(v.ClientIDs) == 0 {
		d.mistake(key, "nothing to know the device by", "mac, address, prefix or client_id")
	}
	for _, mac := range v.MACs {
		unique(d, held, mac, key+".mac", "MAC")
	}
	for _, a := range v.Addresses {
		unique(d, held, a.String(), key+".address", "address")
	}
	for _, p := range v.Prefixes {
		unique(d, held, p.String(), key+".prefix", "prefix")
	}
	for _, id := range v.ClientIDs {
		unique(d, ids, id, key+".client_id", "client id")
	}
	if _, ok := groups[v.Group]; v.Group != "" && !ok {
		d.mistakes.add(Mistake{
			Key:      key + ".group",
			Where:    d.place(key + ".group"),
			Found:    "found " + quote(v.Group),
			Expected: "the name of an entry of groups",
			Nearest:  nearest(v.Group, slices.Sorted(maps.Keys(groups))),
		})
	}
	c.checkMode(d, v.Mode, key)
}

// missing reports an entry without a setting it must have, unless that setting
// was given and found wrong.
func (d *decoding) missing(key, name string) {
	if _, given := d.where[key+"."+name]; given || d.wrong(key) {
		return
	}
	d.mistake(key, "no "+name, "one in every entry")
}

// wrong reports whether key, or something in it, already has its mistake.
func (d *decoding) wrong(key string) bool {
	for i := range d.mistakes {
		if k := d.mistakes[i].Key; k == key || strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

// unique reports a value that another key, in first, already has. The zero
// value, left where something was wrong, is nobody's.
func unique(d *decoding, first map[string]string, value, key, what string) {
	if value == "" || strings.HasPrefix(value, "invalid") {
		return
	}
	if other, taken := first[value]; taken {
		d.mistake(key, "found "+quote(value)+" a second time, first as "+other, "each "+what+" once")
		return
	}
	first[value] = key
}
