package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/blocklists/subscribe"
	"telltale/breakage"
	"telltale/config"
	"telltale/devices"
	"telltale/devices/corrections"
	"telltale/devices/oui"
	"telltale/dnstap/send"
	"telltale/evidence/alert"
	"telltale/evidence/witness"
	"telltale/metrics"
	"telltale/querylog"
	"telltale/resolver"
	"telltale/resolver/listen/certs"
	"telltale/resolver/listen/certs/acme"
	"telltale/resolver/upstream"
	"telltale/web"
	"telltale/web/access"
)

// An app is a running Telltale: every part built from its settings.
type app struct {
	checking sync.Mutex                     // held while a list's text is looked over for the API
	load     func() (*config.Config, error) // reads the settings anew
	cfg      atomic.Pointer[config.Config]  // those in force
	allow    atomic.Pointer[[]netip.Prefix]
	logger   *slog.Logger
	level    *slog.LevelVar
	started  time.Time

	log       *querylog.Log
	blocked   *breakage.Table   // of the last hour, in memory alone
	searches  *searches         // for the blocked name that a device needs
	corrected *corrections.File // what people say of devices
	makers    oui.Registry      // who made devices
	api       http.Handler      // for the control socket and the network
	access    *access.Store     // who may use the API from the network
	network   *consoleServer    // which serves it there
	looked    lookedUp          // see membership.looked

	signatures signatures // of what devices are

	forgettingRuns atomic.Bool // a device is being forgotten
	ledger         atomic.Pointer[devices.Ledger]
	lists          *blocklists.Store
	server         *resolver.Server

	certificates *certs.Source // of encrypted transports; nil for none
	acme         *acme.Client  // gets one of them; nil for none

	applying      sync.Mutex     // held while anything is put in force
	experimenting sync.Mutex     // held while a line of an experiment is written
	loaded        *config.Config // as read last: also what needs a restart
	refused       atomic.Value   // a string: why those on disk are not in force; "" where they are
	groups        *groupNumbers
	clashed       map[string]bool    // what was said of groups that clash
	selected      *membership        // in force
	forwarded     []upstream.Forward // in force
	temporary     *temporaryFile
	named         string        // the names of devices that are in force, as hosts lines
	renamed       chan struct{} // of one: they, or who has which settings, may be others now
	routerMoved   chan struct{} // of one: the default gateway may be another now

	reports reportFiles // of the settings

	askingDestinations sync.Mutex                              // names are asked for, or forgotten
	stopAsking         atomic.Pointer[context.CancelCauseFunc] // ends what asks for them; nil for nobody

	witnesses *witness.Sender // to which checkpoints of the sealed log go
	alerts    *alert.Teller   // tells what the log shows by itself

	tap      atomic.Pointer[send.Sender]    // of dnstap; nil: it goes nowhere
	counts   atomic.Pointer[metrics.Counts] // of lookups; nil: nobody asks for them
	metrics  *httpListeners                 // answers who asks for them
	recorded recordedState                  // of the last day
	lastDay  keptDay                        // for findings

	settingsWatch failure // of watching the settings file

	subscriptions *subscribe.Subscriber
	catalogue     *subscribe.Subscriber           // of later editions, where a URL is set
	edition       atomic.Pointer[catalog.Edition] // in force
	fetched       chan struct{}                   // of one: a list was fetched
	work          sync.WaitGroup

	marking sync.Mutex
	marked  map[string]string // findings that the ledger has as begun, and what they said

	markedNetwork map[string]string // those of doctor --network

	live  liveLog       // who follows the log by the API
	reads chan struct{} // held by each answer of the API that reads the log
	owned sync.Map      // the same of one account or token, by its name
	kept  keptCatalog   // for answers of the API

	bundles   keptBundles // that the API made
	observing sync.Mutex  // held while the list of candidates is changed by the API

	background     context.Context // ends when the server is to stop
	stopBackground context.CancelFunc
}

// build makes the parts in the order in which they need each other. When one
// fails, those made before it are closed.
func build(cfg *config.Config, load func() (*config.Config, error), logger *slog.Logger, level *slog.LevelVar) (_ *app, err error) {
	a := &app{load: load, loaded: cfg, groups: &groupNumbers{byName: map[string]uint16{}}, clashed: map[string]bool{}, logger: logger, level: level, started: time.Now(), renamed: make(chan struct{}, 1), routerMoved: make(chan struct{}, 1), reads: make(chan struct{}, mostReads), lastDay: newKeptDay()}
	a.background, a.stopBackground = context.WithCancel(context.Background())
	a.api = web.SharedHandler(a.apiOptions) // no request comes before all is made
	a.refused.Store("")
	a.cfg.Store(cfg)
	a.blocked, a.searches = breakage.NewTable(a.bind, time.Now), newSearches()
	a.allow.Store(&cfg.Access.Allow)
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if err := checkDataDir(cfg.Data.Dir); err != nil {
		return nil, err
	}
	if err := makeLists(cfg.Lists.Dir); err != nil {
		return nil, err
	}
	makeGroupRules(cfg)
	edition, editionErr := editionInForce(cfg)
	a.edition.Store(edition)
	a.witnesses = witness.New(a.witnessOptions(cfg))
	if !small {
		a.alerts = alert.New(a.alertOptions(cfg))
	}
	if a.log, err = querylog.Open(a.logOptions(cfg)); err != nil {
		return nil, err
	}
	a.tellEditionFailed(editionErr)
	if a.corrected, err = corrections.Open(correctionsPath(cfg), time.Now); err != nil {
		a.logger.Error("what people corrected of devices is not in force until this is put right", "error", err)
	}
	a.openAccess(cfg)
	if a.temporary, err = openTemporary(temporaryPath(cfg), time.Now()); err != nil {
		a.logger.Error("pauses are over", "error", err)
	}
	if a.selected, err = a.selectLocked(cfg); err != nil {
		return nil, err
	}
	known, next, err := a.log.Bindings()
	if err != nil {
		a.logger.Warn("earlier devices are not known", "error", err)
	}
	a.makers.Use(cfg.Identity.Makers)
	leases, find := leaseFiles(cfg)
	forgotten, _ := readForgetting(cfg) // resumeForgetting says what is wrong
	if forgotten != nil {               // the rest is done once all runs
		whole := forgotten.whole()
		known = slices.DeleteFunc(known, func(b devices.Binding) bool { return whole[b.Device] })
	}
	ledger, err := devices.Open(devices.Options{
		Leases: leases, FindLeases: find, Announcements: cfg.Identity.Announcements,
		Devices: deviceList(cfg, a.selected), Settings: a.selected.settings(), Known: known, NextID: next, Keep: a.keepBinding, Report: a.log.Report, Logger: logger, RouterMoved: func() { wake(a.routerMoved) },
	})
	if err != nil {
		return nil, err
	}
	a.ledger.Store(ledger)
	if err := a.openSubscriptions(cfg); err != nil {
		return nil, err
	}
	if err := a.openCatalogue(cfg); err != nil {
		return nil, err
	}
	a.removeTrials() // of a server that was killed: the data directory is ours by now
	a.named = a.deviceNames(cfg)
	if a.lists, err = blocklists.Open(a.listOptions(cfg, a.selected, a.named)); err != nil {
		return nil, err
	}
	if err := errors.Join(a.openACME(cfg), a.openCertificates(cfg)); err != nil {
		return nil, err
	}
	a.forwarded = forwards(cfg, a.selected)
	if a.server, err = resolver.New(a.serverOptions(cfg)); err != nil {
		return nil, err
	}
	if !small {
		a.network, a.metrics = a.newNetwork(), a.newMetrics()
	}
	a.useTap(cfg)
	a.reportClashesLocked(cfg)
	return a, a.reselectLocked() // rules may name devices, and devices may be known from before
}

// close closes the parts, the last one made first.
func (a *app) close() error {
	a.stopBackground()
	var errs []error
	if a.network != nil {
		a.network.close()
	}
	a.bundles.close()
	if ledger := a.ledger.Load(); ledger != nil {
		ledger.SetReverse(nil) // it asks the server
	}
	if a.metrics != nil {
		a.metrics.close() // it asks all parts
	}
	if a.server != nil {
		errs = append(errs, a.server.Close())
	}
	if tap := a.tap.Load(); tap != nil {
		tap.Close()
	}
	if a.certificates != nil {
		a.certificates.Close()
	}
	if a.access != nil {
		errs = append(errs, a.access.Close())
	}
	if a.lists != nil {
		errs = append(errs, a.lists.Close())
	}
	if ledger := a.ledger.Load(); ledger != nil {
		errs = append(errs, ledger.Close())
	}
	if a.log != nil {
		errs = append(errs, a.log.Close())
	}
	return errors.Join(errs...)
}

// allowed reports whether a client may ask at all.
func (a *app) allowed(client netip.Addr) bool {
	if a.ledger.Load().Local(client) {
		return true
	}
	client = client.WithZone("")
	for _, p := range *a.allow.Load() {
		if p.Contains(client) {
			return true
		}
	}
	return false
}

// bind is the log writer's question who holds an address, and calls itself id.
func (a *app) bind(addr netip.Addr, id string) *devices.Binding {
	return a.bindBy((*devices.Ledger).Ask, addr, id)
}

// bindNow is bind for who has no time to wait for the kernel.
func (a *app) bindNow(addr netip.Addr, id string) *devices.Binding {
	return a.bindBy((*devices.Ledger).Bind, addr, id)
}

func (a *app) bindBy(ask func(*devices.Ledger, netip.Addr) *devices.Binding, addr netip.Addr, id string) *devices.Binding {
	ledger := a.ledger.Load()
	if ledger == nil {
		return nil
	}
	b := ask(ledger, addr)
	if id != "" {
		b = ledger.Named(id, b)
	}
	return b
}

// reverseLookup is how names of addresses are looked up; nil where they are not.
func (a *app) reverseLookup(cfg *config.Config) devices.ReverseLookup {
	if !cfg.Identity.Reverse {
		return nil
	}
	return a.server.Reverse
}

func (a *app) logOptions(cfg *config.Config) querylog.Options {
	o := logOptions(cfg)
	o.MaxMemory = logMemory(memoryBound())
	o.Bind, o.BindNow, o.Logger, o.Signed = a.bind, a.bindNow, a.logger, a.offerCheckpoint
	o.Discovered, o.Shipping = discovered(a.cfg.Load), shipping(cfg)
	o.Program = "telltale " + buildVersion() + ", catalogue " + a.edition.Load().String()
	return o
}

// useTap sends lookups from now on to where settings say. What waits for who took them until
// now goes there yet.
func (a *app) useTap(cfg *config.Config) {
	var tap *send.Sender
	if cfg.Dnstap.To == "" {
		a.server.SetTap(nil)
	} else {
		tap = send.New(send.Options{To: cfg.Dnstap.To, Identity: nodeName(cfg), Version: "telltale " + buildVersion(), Dial: a.dial, Bind: a.bind, Logger: a.logger})
		a.server.SetTap(tap.Add)
	}
	if before := a.tap.Swap(tap); before != nil {
		a.work.Go(before.Close)
	}
}

func (a *app) serverOptions(cfg *config.Config) resolver.Options {
	o, ledger := serverOptions(cfg, a.selected), a.ledger.Load()
	o.Policy, o.Log, o.Allowed = a.lists.Current, a.record, a.allowed
	o.Binding, o.Identify, o.ByDevice = ledger.Lookup, ledger.Identify, ledger.ByMAC
	o.Named, o.AllowedID, o.Forwarded = ledger.Named, ledger.MayRoam, ledger.Forwarded
	o.Report, o.Logger = a.log.Report, a.logger
	o.Certificates = a.certificates
	o.Upstreams.Gateway, o.Upstreams.GatewayMoved = ledger.Router, a.routerMoved
	return o
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
#   www.lan CNAME nas.lan  any record, as in a zone file
`
)
