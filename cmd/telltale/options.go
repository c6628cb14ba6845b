package main

import (
	"crypto/sha256"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/blocklists/format"
	"telltale/config"
	"telltale/devices"
	"telltale/fleet/authority"
	"telltale/querylog"
	"telltale/resolver"
	"telltale/resolver/upstream"
)

// What each part takes, as the settings say it. Functions here depend on their
// arguments alone; app.go adds what one part knows for another.

func logOptions(cfg *config.Config) querylog.Options {
	return querylog.Options{
		Dir: cfg.Data.Dir, Node: nodeName(cfg), Off: !cfg.Log.Enabled, NoUnlisted: cfg.Log.Unlisted == 0,
		Retention:  querylog.Retention{Listed: cfg.Log.Listed, Unlisted: cfg.Log.Unlisted, Totals: cfg.Log.Totals, MaxBytes: int64(cfg.Log.Size)},
		AttemptGap: cfg.Log.Attempt, Unsealed: !cfg.Log.Seal,
	}
}

func serverOptions(cfg *config.Config, s *membership) resolver.Options {
	size := int64(cfg.Cache.Size)
	if size == 0 {
		size = -1
	}
	keep := ""
	if cfg.Cache.Keep && cfg.Cache.Size > 0 {
		keep = filepath.Join(cfg.Cache.Dir, "answers")
	}
	return resolver.Options{
		Keep:   keep,
		Listen: cfg.Listen.DNS, ListenTLS: cfg.Listen.TLS, ListenQUIC: cfg.Listen.QUIC, ListenHTTPS: cfg.Listen.HTTPS, ProxyProtocol: cfg.Listen.ProxyProtocol,
		ListenHTTP: cfg.Listen.HTTP, TrustedProxies: cfg.Listen.TrustedProxies, Names: cfg.TLS.Names,
		Upstreams: upstreamOptions(cfg, s), CacheSize: size, Settings: serverSettings(cfg),
		Waiting: cfg.Limits.Waiting, Streams: cfg.Limits.TCPConnections, ClientPrefix: cfg.Limits.ClientPrefix,
	}
}

// nodeName returns what this machine is called in its log: what the settings say, or by
// which name it joined a fleet, or the host's name.
func nodeName(cfg *config.Config) string {
	if cfg.Node != "" {
		return cfg.Node
	}
	if name := authority.NodeName(identityDir(cfg)); name != "" {
		return name
	}
	name, _ := os.Hostname()
	return name
}

func serverSettings(cfg *config.Config) resolver.Settings {
	return resolver.Settings{
		Stale:    cfg.Cache.Stale,
		Prefetch: cfg.Cache.Prefetch,
		MinTTL:   cfg.Cache.MinTTL, MaxTTL: cfg.Cache.MaxTTL, NegativeTTL: cfg.Cache.NegativeTTL,
		RebindAllow: cfg.Rebind.Allow, DNS64: translation(cfg),
		ForwardTest: !cfg.Special.Test, ForwardLocal: !cfg.Special.Local, ForwardCanaries: !cfg.Special.Canaries,
		Designated: len(cfg.Listen.TLS)+len(cfg.Listen.HTTPS)+len(cfg.Listen.QUIC) > 0,
		Forwarders: cfg.Identity.Forwarders,
	}
}

// transports are the words of the settings for how an upstream is asked.
var transports = map[string]upstream.Transport{
	"": upstream.UDP, "tcp": upstream.TCP, "tls": upstream.TLS, "https": upstream.HTTPS, "h3": upstream.H3, "quic": upstream.QUIC,
}

func upstreamOptions(cfg *config.Config, s *membership) upstream.Options {
	return upstream.Options{
		Servers: upstreams(cfg), Forwards: forwards(cfg, s), Choice: choice(cfg), Bootstrap: cfg.Bootstrap, AddressFile: filepath.Join(cfg.Cache.Dir, "upstream-addresses.json"),
	}
}

// translation is how IPv6 addresses are made.
func translation(cfg *config.Config) resolver.DNS64 {
	d := resolver.DNS64{Find: cfg.DNS64.Prefix == "auto", Exclude: cfg.DNS64.Exclude}
	d.Prefix, _ = netip.ParsePrefix(cfg.DNS64.Prefix) // none for a word
	return d
}

func upstreams(cfg *config.Config) []upstream.Server {
	var all []upstream.Server
	for i := range cfg.Upstreams {
		u := &cfg.Upstreams[i]
		s := serverAt(u.Address)
		s.Addresses, s.TrustAD, s.Subnet = u.Addresses, u.TrustAD, u.Subnet
		for _, p := range u.Pins {
			s.Pins = append(s.Pins, upstream.Pin{Sum: p})
		}
		all = append(all, s)
	}
	return all
}

// strategies are the words of the settings for which upstream is asked.
var strategies = map[string]upstream.Strategy{"in-order": upstream.InOrder, "fastest": upstream.Fastest, "parallel": upstream.Parallel}

func choice(cfg *config.Config) upstream.Choice {
	return upstream.Choice{Strategy: strategies[cfg.Strategy], NoHedging: !cfg.Hedging}
}

func serverAt(a config.ServerAddress) upstream.Server {
	s := upstream.Server{Addr: a.AddrPort, Transport: transports[a.Transport], Router: a.Router, Host: a.Host, Name: a.Name, Path: a.Path}
	for hashes := []byte(a.Hashes); len(hashes) > 0; hashes = hashes[sha256.Size:] {
		s.Pins = append(s.Pins, upstream.Pin{Certificate: true, Sum: [sha256.Size]byte(hashes[:sha256.Size])})
	}
	return s
}

// forwards are the zones with servers of their own, for everybody or for some devices.
func forwards(cfg *config.Config, s *membership) []upstream.Forward {
	var all []upstream.Forward
	for i := range cfg.Forward {
		of := &cfg.Forward[i]
		f := upstream.Forward{Zones: of.Domains(), For: of.For()}
		for k := range cfg.Devices {
			d := &cfg.Devices[k]
			if slices.Contains(of.Devices, d.Name) {
				f.Devices = append(f.Devices, s.numbersOf(d.Name)...)
			}
		}
		for _, group := range of.Groups {
			f.Members = append(f.Members, s.membersOf(group)...)
		}
		for _, a := range cfg.Forward[i].Upstreams {
			f.Servers = append(f.Servers, serverAt(a))
		}
		all = append(all, f)
	}
	return all
}

// modes are the words of the settings for how a blocked name is answered.
var modes = map[string]blocklists.Mode{
	"null": blocklists.Null, "nxdomain": blocklists.NXDomain, "nodata": blocklists.NoData, "refused": blocklists.Refuse,
	"custom": blocklists.Custom,
}

// modeOf returns the first mode that is set; nil for none.
func modeOf(words ...string) *blocklists.Mode {
	for _, w := range words {
		if m, ok := modes[w]; ok {
			return &m
		}
	}
	return nil
}

// listOptions are the settings of the lists.
func listOptions(cfg *config.Config, s *membership, edition *catalog.Edition) blocklists.Options {
	o := blocklists.Options{
		Dir: cfg.Lists.Dir, CacheDir: cfg.Cache.Dir,
		Shipped: edition.FS(), Edition: edition.Name(), Claims: edition.Claims,
		Mode: modes[cfg.Blocking.Mode], TTL: cfg.Blocking.TTL, Tier: cfg.Blocking.Tier,
	}
	o.Observe, o.ObserveUntil = observe(cfg.Blocking.Observe)
	for _, a := range cfg.Blocking.Custom {
		if a.Is4() {
			o.Custom4 = a
		} else {
			o.Custom6 = a
		}
	}
	for i := range cfg.Lists.Settings {
		o.Lists = append(o.Lists, listSettings(&cfg.Lists.Settings[i]))
	}
	for i := range cfg.Lists.Subscriptions {
		s := &cfg.Lists.Subscriptions[i]
		l := listSettings(&s.List)
		l.Subscribed, l.Annotation = true, annotation(&s.Annotation)
		o.Lists = append(o.Lists, l)
	}
	return o
}

// stoppedListOptions are those of commands where no server runs.
func stoppedListOptions(cfg *config.Config) blocklists.Options {
	edition, _ := editionInForce(cfg) // doctor says why it is not the fetched one
	s := newNumbers(cfg)
	o := listOptions(cfg, s, edition)
	o.Groups = groupSettings(cfg, s, cfg, s)
	kept, _ := readTemporary(temporaryPath(cfg), time.Now()) // the server says what is wrong
	o.Temporary = s.inLists(kept)
	o.Subscribed = copies(cfg)
	named := ""
	if cfg.Local.DeviceSuffix != "" {
		named = devices.Hosts(deviceList(cfg, s), cfg.Local.DeviceSuffix)
	}
	o.Local = localLists(cfg, named)
	return o
}

func listSettings(l *config.List) blocklists.ListSettings {
	s := blocklists.ListSettings{
		Name: l.Name, Enabled: &l.Enabled, Mode: modeOf(l.Mode), Exact: l.Match == "exact",
		Format: l.Format, Answers: l.Answers, Suffixes: l.Suffixes, Exceptions: l.Exceptions, Tier: l.Tier, Order: l.Order, Schedule: schedule(&l.Schedule),
	}
	s.Observe, s.ObserveUntil = observe(l.Observe)
	if s.Format == "auto" {
		s.Format = ""
	}
	return s
}

// observe says whether to observe for good, or else until when; zero for not at all.
func observe(o config.Observe) (always bool, until time.Time) {
	return o.On && o.Until.IsZero(), o.Until
}

func schedule(s *config.Schedule) blocklists.Schedule {
	out := blocklists.Schedule{Text: s.Text}
	for _, w := range s.Windows {
		out.Windows = append(out.Windows, blocklists.Window(w))
	}
	return out
}

func annotation(a *config.Annotation) *format.Annotation {
	if *a == (config.Annotation{}) {
		return nil
	}
	return &format.Annotation{
		Vendor: a.Vendor, Product: a.Product, Purpose: a.Purpose, Tier: a.Tier, Region: a.Region, Source: a.Source, Breaks: a.Breaks,
	}
}

// leaseFiles returns the files of leases that are configured, and what finds more.
func leaseFiles(cfg *config.Config) (files []devices.LeaseFile, find func() []devices.LeaseFile) {
	for _, f := range cfg.Identity.Leases {
		files = append(files, devices.LeaseFile{Path: f.Path, Kind: f.Kind})
	}
	if cfg.Identity.FindLeases {
		find = devices.FoundLeaseFiles
	}
	return files, find
}

func deviceList(cfg *config.Config, s *membership) []devices.Device {
	var all []devices.Device
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		all = append(all, devices.Device{
			Name: d.Name, MACs: d.MACs, Addresses: d.Addresses, Prefixes: d.Prefixes, ClientIDs: d.ClientIDs,
			Group: s.numbers[d.Name], NoLog: !d.Log,
		})
	}
	return all
}
