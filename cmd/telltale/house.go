package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/blocklists/format"
	"telltale/blocklists/subscribe"
	"telltale/config"
	"telltale/devices"
	"telltale/querylog"
	"telltale/resolver"
)

// A house is a running Telltale: every room built from its part of the settings.
type house struct {
	first   *config.Config                // those of the start
	cfg     atomic.Pointer[config.Config] // those in force, but for what needs a restart
	allow   atomic.Pointer[[]netip.Prefix]
	logger  *slog.Logger
	level   *slog.LevelVar
	started time.Time

	log    *querylog.Log
	ledger atomic.Pointer[devices.Ledger]
	lists  *blocklists.Store
	server *resolver.Server

	subscriptions *subscribe.Subscriber
	fetched       chan struct{} // of one: a list was fetched
	work          sync.WaitGroup
}

// build builds the house in the order in which rooms need each other. What it
// has built when something fails is torn down again.
func build(cfg *config.Config, logger *slog.Logger, level *slog.LevelVar) (_ *house, err error) {
	h := &house{first: cfg, logger: logger, level: level, started: time.Now()}
	h.cfg.Store(cfg)
	h.allow.Store(&cfg.Access.Allow)
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if err := makeLists(cfg.Lists.Dir); err != nil {
		return nil, err
	}
	if h.log, err = querylog.Open(h.logOptions(cfg)); err != nil {
		return nil, err
	}
	known, next, err := h.log.Bindings()
	if err != nil {
		h.logger.Warn("earlier devices are not known", "error", err)
	}
	ledger, err := devices.Open(devices.Options{
		Devices: deviceList(cfg), Known: known, NextID: next, Keep: h.log.KeepBinding, Report: h.log.Note, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	h.ledger.Store(ledger)
	if err := h.openSubscriptions(cfg); err != nil {
		return nil, err
	}
	if h.lists, err = blocklists.Open(h.listOptions(cfg)); err != nil {
		return nil, err
	}
	h.server, err = resolver.New(h.serverOptions(cfg))
	return h, err
}

// close tears the house down, the last room first.
func (h *house) close() error {
	var errs []error
	if h.server != nil {
		errs = append(errs, h.server.Close())
	}
	if h.lists != nil {
		errs = append(errs, h.lists.Close())
	}
	if ledger := h.ledger.Load(); ledger != nil {
		errs = append(errs, ledger.Close())
	}
	if h.log != nil {
		errs = append(errs, h.log.Close())
	}
	return errors.Join(errs...)
}

// allowed reports whether a client may ask at all.
func (h *house) allowed(a netip.Addr) bool {
	if h.ledger.Load().Local(a) {
		return true
	}
	a = a.WithZone("")
	for _, p := range *h.allow.Load() {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// bind is the log writer's question who holds an address.
func (h *house) bind(a netip.Addr) *devices.Binding {
	if ledger := h.ledger.Load(); ledger != nil {
		return ledger.Ask(a)
	}
	return nil
}

func (h *house) logOptions(cfg *config.Config) querylog.Options {
	return querylog.Options{
		Dir: cfg.Data.Dir, Node: nodeName(cfg), Bind: h.bind, Off: !cfg.Log.Enabled, NoUnlisted: cfg.Log.Unlisted == 0,
		Retention: retention(cfg), Logger: h.logger,
	}
}

func retention(cfg *config.Config) querylog.Retention {
	return querylog.Retention{Listed: cfg.Log.Listed, Unlisted: cfg.Log.Unlisted, MaxBytes: int64(cfg.Log.Size)}
}

func nodeName(cfg *config.Config) string {
	if cfg.Node != "" {
		return cfg.Node
	}
	name, _ := os.Hostname()
	return name
}

func (h *house) serverOptions(cfg *config.Config) resolver.Options {
	size := int64(cfg.Cache.Size)
	if size == 0 {
		size = -1
	}
	return resolver.Options{
		Listen: cfg.Listen.DNS, Policy: h.lists.Current, Log: h.log.Append, Binding: h.ledger.Load().Lookup, Allowed: h.allowed,
		Upstreams: resolver.UpstreamOptions{Servers: upstreams(cfg)}, CacheSize: size,
		Waiting: cfg.Limits.Waiting, Streams: cfg.Limits.TCPConnections, ClientPrefix: cfg.Limits.ClientPrefix, Settings: serverSettings(cfg),
		Report: h.log.Note, Logger: h.logger, Version: buildVersion(),
	}
}

func serverSettings(cfg *config.Config) resolver.Settings {
	return resolver.Settings{
		RebindAllow: cfg.Rebind.Allow,
		ForwardTest: !cfg.Special.Test, ForwardLocal: !cfg.Special.Local, ForwardCanaries: !cfg.Special.Canaries,
	}
}

func upstreams(cfg *config.Config) []resolver.Upstream {
	var all []resolver.Upstream
	for _, u := range cfg.Upstreams {
		all = append(all, resolver.Upstream{Addr: u.Address, TrustAD: u.TrustAD})
	}
	return all
}

// makeLists makes the directory of list files and the user's own file in it, if
// they are not there yet.
func makeLists(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("lists.dir: %w (make it, or set lists.dir to a directory of yours)", err)
	}
	own := filepath.Join(dir, ownFile)
	f, err := os.OpenFile(own, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil // it is there, or may not be: then there are no rules of the user's own
	}
	_, err = f.WriteString(ownTemplate)
	return errors.Join(err, f.Close())
}

const (
	ownFile     = "own.txt"
	ownTemplate = `# Your own rules. They win over all other lists. Save, and they are in force.
#
#   ads.example            blocks the name and everything below it
#   =ads.example           blocks the name alone
#   @@good.ads.example     allows it, whatever other lists say
#   192.168.1.9 nas.lan    a name of your own network, and its reverse
`
)

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
func listOptions(cfg *config.Config) blocklists.Options {
	o := blocklists.Options{
		Dir: cfg.Lists.Dir, CacheDir: cfg.Cache.Dir, StateDir: cfg.Data.Dir, Shipped: catalog.FS(),
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
		l.Annotation = annotation(&s.Annotation)
		o.Lists = append(o.Lists, l)
	}
	for i := range cfg.Devices {
		o.Groups = append(o.Groups, deviceGroup(cfg, &cfg.Devices[i]))
	}
	return o
}

// stoppedListOptions are those of commands where no server runs.
func stoppedListOptions(cfg *config.Config) blocklists.Options {
	o := listOptions(cfg)
	o.Subscribed = copies(cfg)
	return o
}

func listSettings(l *config.List) blocklists.ListSettings {
	s := blocklists.ListSettings{
		Name: l.Name, Enabled: &l.Enabled, Mode: modeOf(l.Mode), Exact: l.Match == "exact",
		Format: l.Format, Answers: l.Answers, Suffixes: l.Suffixes, Tier: l.Tier, Order: l.Order, Schedule: schedule(&l.Schedule),
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

// deviceGroup makes a configured device a group of its own, the n-th device
// group n: it has settings, and rules may name it.
func deviceGroup(cfg *config.Config, d *config.Device) blocklists.GroupSettings {
	g := blocklists.GroupSettings{Name: d.Name, Mode: modeOf(d.Mode), ClientNames: []string{d.Name}}
	g.Observe, g.ObserveUntil = observe(d.Observe)
	for _, a := range d.Addresses {
		g.Addresses = append(g.Addresses, netip.PrefixFrom(a, a.BitLen()))
	}
	g.Addresses = append(g.Addresses, d.Prefixes...)
	at := slices.IndexFunc(cfg.Groups, func(c config.Group) bool { return c.Name == d.Group })
	if d.Group == "" || at < 0 {
		return g
	}
	of := cfg.Groups[at]
	always, until := observe(of.Observe)
	g.Observe = g.Observe || always
	if until.After(g.ObserveUntil) {
		g.ObserveUntil = until
	}
	g.Schedule = schedule(&of.Schedule)
	g.Mode = modeOf(d.Mode, of.Mode)
	g.Tags = []string{of.Name}
	return g
}

func deviceList(cfg *config.Config) []devices.Device {
	var all []devices.Device
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		all = append(all, devices.Device{
			Name: d.Name, MACs: d.MACs, Addresses: d.Addresses, Prefixes: d.Prefixes, Group: uint16(i + 1), NoLog: !d.Log,
		})
	}
	return all
}

// apply puts changed settings in force as far as that is possible while
// serving, and says what is not.
func (h *house) apply(cfg *config.Config, err error) {
	if err != nil {
		h.logger.Error("the changed settings are not in force: what was in force stays", "error", err)
		h.log.Note("config-refused", "settings", err.Error())
		return
	}
	old := h.cfg.Load()
	live, changed := config.Diff(old, cfg)
	if len(live)+len(changed) == 0 {
		return
	}
	_, restart := config.Diff(h.first, cfg)
	if err := h.applyLive(old, cfg, live); err != nil {
		h.logger.Error("the changed settings are not wholly in force", "error", err)
		h.log.Note("config-refused", "settings", err.Error())
		return
	}
	h.cfg.Store(cfg)
	if len(live) > 0 {
		h.logger.Info("changed settings are in force", "keys", live)
	}
	if len(restart) > 0 {
		h.logger.Warn("changed settings come into force with a restart", "keys", restart)
	}
	h.log.Note("config-changed", "settings", fmt.Sprintf("in force: %v; with a restart: %v", live, restart))
}

func (h *house) applyLive(old, cfg *config.Config, live []string) error {
	if err := h.ledger.Load().Configure(deviceList(cfg)); err != nil {
		return err
	}
	if err := h.configureLists(cfg); err != nil {
		return err
	}
	if err := h.server.Configure(serverSettings(cfg)); err != nil {
		return err
	}
	if slices.Contains(live, "upstreams") {
		h.server.SetUpstreams(upstreams(cfg))
	}
	h.allow.Store(&cfg.Access.Allow)
	return setLevel(h.level, cfg.Messages.Level)
}

func (h *house) configureLists(cfg *config.Config) error {
	h.subscriptions.Set(subscriptionLists(cfg))
	return h.lists.Configure(h.listOptions(cfg))
}

func (h *house) listOptions(cfg *config.Config) blocklists.Options {
	o := listOptions(cfg)
	o.Subscribed = subscribed(h.subscriptions)
	o.Report, o.Logger = h.log.Note, h.logger
	return o
}

func setLevel(level *slog.LevelVar, word string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(word)); err != nil {
		return err
	}
	level.Set(l)
	return nil
}
