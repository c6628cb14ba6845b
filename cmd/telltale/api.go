package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"telltale/blocklists/inspect"
	"telltale/blocklists/subscribe"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver"
	"telltale/resolver/upstream"
	"telltale/web"
)

// What the API is answered by. A function here gathers what the parts say, and
// makes of it what the API speaks of.

func (a *app) apiOptions() web.Options {
	o := web.Options{
		Status: a.status, Health: a.health, Findings: a.findings, MarkNetwork: a.markNetwork,
		Lists: a.listStatus, ListDiff: a.listDiff, AcceptList: a.acceptList, RefreshList: a.refreshLists,
		Subscribe: a.subscribe, Unsubscribe: a.unsubscribe,
		Catalogue: a.catalogueStatus, UpdateCatalogue: a.updateCatalogue, AcceptCatalogue: a.acceptCatalogue,
		AddRule: a.addRule, RemoveRule: a.removeRule,
		ListMistakes: a.listMistakes, Presets: presets, CheckList: a.checkList,
		Settings: a.settings, ChangeSettings: a.changeSettings,
		RuleFile: a.ruleFile, RuleFiles: a.ruleFiles, PutRules: a.putRules, RemoveRuleLine: a.removeRuleLine, PreviewRules: a.previewRules,
		Cached: a.cached, FlushCache: a.flushCache, CacheStats: a.cacheStats, RotateKey: a.rotateKey,
		Upstreams: a.upstreamStatus, Devices: a.deviceStatus, History: a.history,
		Corrections: a.corrections, Correct: a.correct, Bypass: a.bypass, UndoCorrection: a.undoCorrection, Forget: a.forget,
		Broke: a.broke, BeginSearch: a.beginSearch, AnswerSearch: a.answerSearch, StopSearch: a.stopSearch,
		Explain: a.explain, Query: a.query,
		Temporary: a.temporaries, Pause: a.pause, Resume: a.resume, FlushLog: a.log.Flush,
		Access: a.access, Identity: a.identityOf, LinkURLs: a.linkURLs, Report: a.log.Report,
	}
	if small {
		o.NoReading = true
		o.AskDestinations = func(context.Context) (web.DestinationsAsked, error) {
			return web.DestinationsAsked{}, web.Invalid(errAbsent("'telltale destinations'"))
		}
		o.Import = absentCall[*querylog.ImportBatch, querylog.Imported]("'telltale import'")
		o.PlanExperiment = absentCall[web.NewExperiment, web.ExperimentLine]("'telltale experiment'")
		o.StepExperiment = absentCall[web.ExperimentStep, web.ExperimentLine]("'telltale experiment'")
		return o
	}
	o.Reading = a.apiReading()
	o.AskDestinations, o.Import = a.askDestinations, a.importLog
	o.PlanExperiment, o.StepExperiment = a.planExperiment, a.stepExperiment
	return o
}

func (a *app) status() web.Status {
	st := web.Status{
		Version: buildVersion(), PID: os.Getpid(), Started: a.started.UTC(), Settings: a.settingsStatus(), Catalogue: a.catalogueStatus(),
		Listen: a.listensOn(), Certificates: a.certificateStatus(), Server: web.Counters(a.server.Stats()), Upstreams: a.upstreamStatus(), Log: a.log.Stats(), Gateways: []string{},
	}
	for _, addr := range a.ledger.Load().Gateways() {
		st.Gateways = append(st.Gateways, addr.String())
	}
	st.Leases = []web.LeaseFile{}
	for _, f := range a.ledger.Load().LeaseStatus() {
		st.Leases = append(st.Leases, web.LeaseFile(f))
	}
	st.Announcements = web.Announcements(a.ledger.Load().AnnouncementStatus())
	makers := a.makers.Status()
	st.Makers = web.MakerFiles{Files: append([]string{}, makers.Files...), Time: makers.Time.UTC(), Problem: makers.Problem}
	st.Unwatched, st.Reports, st.Witnesses = a.unwatched(), a.reportStatus(), a.witnessStatus()
	st.Alerts, st.Discovery, st.Streams = a.alertStatus(), a.discoveryStatus(), a.live.status()
	st.Console = a.consoleStatus()
	st.Ending = []web.EndingRule{}
	for _, e := range a.lists.Current().Ending() {
		st.Ending = append(st.Ending, web.EndingRule{Rule: e.Rule.Text, List: e.Rule.List, Line: e.Rule.Line, Until: e.Until.UTC()})
	}
	st.Temporary = a.temporaries()
	return st
}

// temporaries are what is paused or only observed now.
func (a *app) temporaries() []web.Temporary {
	all := []web.Temporary{}
	for _, t := range a.lists.Current().Temporary() {
		all = append(all, temporaryStatus(&t))
	}
	return all
}

func (a *app) upstreamStatus() []web.Upstream {
	all := []web.Upstream{}
	for _, u := range a.server.Upstreams() {
		all = append(all, upstreamOf(&u))
	}
	return all
}

// upstreamOf returns an upstream as the API and --json have it.
func upstreamOf(u *upstream.Status) web.Upstream {
	out := web.Upstream{
		ID: u.ID, Addr: addressText(u.Addr), Transport: u.Transport.String(), Source: u.Source, Zones: u.Zones, For: u.For, Router: u.Router, TrustAD: u.TrustAD, Private: u.Private, State: u.State.String(), Why: u.Why,
		Since: u.Since.UTC(), Queries: u.Queries, Failures: u.Failures, Returned: u.Returned, Strays: u.Strays, SRTT: u.SRTT,
		Answers: u.Answers, Latency: web.Latency(u.Latency), ByKind: map[string]uint64{}, LastError: u.LastError, LastAt: u.LastAt.UTC(), Hedged: u.Hedged,
	}
	for _, k := range u.ByKind {
		out.ByKind[k.Kind] = k.Count
	}
	return out
}

// addressText returns an address as text; empty for that of a server that is not found yet.
func addressText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// unwatched returns whose changes come in force late.
func (a *app) unwatched() []web.Unwatched {
	all := []web.Unwatched{}
	for _, part := range []struct {
		files string
		err   error
	}{
		{filesSettings, a.settingsWatch.err()},
		{filesLists, a.lists.WatchErr()},
		{filesResolvConf, a.server.ResolvConfErr()},
	} {
		if part.err != nil {
			all = append(all, web.Unwatched{Files: part.files, Why: part.err.Error()})
		}
	}
	return all
}

// What Unwatched.Files says. The words never change.
const (
	filesSettings   = "settings"
	filesLists      = "lists"
	filesResolvConf = "resolv.conf"
)

func (a *app) settingsStatus() web.Settings {
	cfg := a.cfg.Load()
	s := web.Settings{File: cfg.File, Overlay: cfg.Overlay, Refused: a.refusal()}
	if !cfg.LastGood.IsZero() {
		s.LastGood = &cfg.LastGood
	}
	return s
}

func (a *app) listStatus() []web.List {
	return listsOf(withUpdates(a.lists.Status(), a.subscriptions.Status()))
}

// knownDevices are the devices of the ledger, each once, and who is who.
func (a *app) knownDevices() ([]devices.DeviceStatus, *identities) {
	all := a.ledger.Load().List()
	ids := newIdentities(a.cfg.Load(), bindingsOf(all), a.corrected.All())
	return ids.oneEach(all), ids
}

// deviceStatus are the devices with all that is known of them.
func (a *app) deviceStatus(ctx context.Context) []web.Device {
	known, ids := a.knownDevices()
	facts := a.factsOf(ctx, known, ids)
	facts.suggestSame(known, ids)
	return devicesAs(known, ids, facts)
}

// boundDevices are the devices with their bindings and leases alone.
func (a *app) boundDevices() []web.Device {
	known, ids := a.knownDevices()
	return devicesAs(known, ids, &deviceFacts{leases: a.ledger.Load().Leases(), announced: a.ledger.Load().Announced()})
}

func devicesAs(known []devices.DeviceStatus, ids *identities, facts *deviceFacts) []web.Device {
	all := []web.Device{}
	for i := range known {
		all = append(all, deviceOf(&known[i], ids, facts))
	}
	return all
}

// explain judges a name as the running server does.
func (a *app) explain(ctx context.Context, q web.Question) (web.Explanation, error) {
	e, _, err := a.explainAs(ctx, q, "")
	return e, err
}

// query answers a question as the running server does, or as one upstream does.
func (a *app) query(ctx context.Context, q web.Lookup) (web.Resolution, error) {
	e, story, err := a.explainAs(ctx, web.Question{Name: q.Name, Type: q.Type, Device: q.Device}, q.Upstream)
	if err != nil {
		return web.Resolution{}, err
	}
	return resolutionOf(&e, story), nil
}

// explainAs judges a name, and tells the story of its answer unless q is offline.
// Where there is an upstream, that alone is asked.
func (a *app) explainAs(ctx context.Context, q web.Question, upstream string) (out web.Explanation, story *resolver.Story, err error) {
	name, err := parseName(q.Name)
	if err != nil {
		return out, nil, web.Invalid(err)
	}
	typ, ok := dnswire.ParseType(q.Type)
	if !ok {
		return out, nil, web.Invalid(fmt.Errorf("%q is no record type", q.Type))
	}
	settings, addr, err := a.asker(q.Device)
	if err != nil {
		return out, nil, web.NotFound(err)
	}
	group := a.lists.Current().GroupOf(settings, addr)
	e := inspect.Explain(a.lists, &name, typ, group)
	out = explanationOf(e, a.server.Special(&name, typ, e.Verdict.Action, settings), zoneFor(a.server.Zones(settings), &name))
	out.Edition = a.edition.Load().Name()
	a.applying.Lock()
	lines, clashes := a.selected.whence(a.cfg.Load(), settings)
	a.applying.Unlock()
	out.Settings = append(lines, clashes...)
	if q.Offline {
		return out, nil, nil
	}
	story, err = a.server.Explain(ctx, &name, typ, resolver.Asker{Binding: &devices.Binding{Group: settings}, Client: addr, Upstream: upstream})
	switch {
	case err == resolver.ErrNoUpstream:
		return out, nil, web.NotFound(fmt.Errorf("there is no upstream %q; 'telltale upstreams' lists them", upstream))
	case err != nil:
		return out, nil, err
	}
	addStory(&out, story, group)
	return out, story, nil
}

// asker returns the settings and the address with which somebody asks: an
// address, or a device by what findDevice takes; "" is anybody.
func (a *app) asker(who string) (settings uint16, addr netip.Addr, err error) {
	if who == "" {
		return 0, addr, nil
	}
	if addr, err := netip.ParseAddr(who); err == nil {
		if b := a.ledger.Load().Lookup(addr); b != nil {
			return b.Group, addr, nil
		}
		a.applying.Lock()
		defer a.applying.Unlock()
		return a.selected.ofAddress(addr), addr, nil // as it will ask
	}
	all, ids := a.knownDevices()
	d, ok := findDevice(all, ids, who)
	if !ok {
		return 0, addr, fmt.Errorf("no device %q is known; 'telltale devices' lists them", who)
	}
	if len(d.Bindings) == 0 {
		return d.Group, addr, nil
	}
	b := &d.Bindings[len(d.Bindings)-1]
	if i := slices.IndexFunc(d.Bindings, func(b devices.Binding) bool { return b.Addr.IsValid() }); i >= 0 { // a client id has none
		b = &d.Bindings[i]
	}
	a.applying.Lock()
	defer a.applying.Unlock()
	settings, _ = a.selected.of(b) // what is kept of one that is over is of its time
	return settings, b.Addr, nil
}

// findDevice finds a device by any identity it has, a name that it is or was shown by,
// its MAC, or an address: who holds it goes before who had it.
func findDevice(all []devices.DeviceStatus, ids *identities, who string) (devices.DeviceStatus, bool) {
	device, known := ids.device(who)
	for _, is := range []func(*devices.DeviceStatus) bool{
		func(d *devices.DeviceStatus) bool { return d.Device == who || strings.EqualFold(d.Name, who) },
		func(d *devices.DeviceStatus) bool { return known && d.Device == device },
		func(d *devices.DeviceStatus) bool {
			return slices.ContainsFunc(d.Bindings, func(b devices.Binding) bool { return b.Until.IsZero() && b.Covers() == who })
		},
		func(d *devices.DeviceStatus) bool {
			return slices.ContainsFunc(d.Bindings, func(b devices.Binding) bool { return b.Covers() == who || b.MAC == who })
		},
	} {
		for i := range all {
			if is(&all[i]) {
				return all[i], true
			}
		}
	}
	return devices.DeviceStatus{}, false
}

// acceptList puts in force what is held back of a list: an update that was
// fetched, or what its file holds now.
func (a *app) acceptList(name string) error {
	for _, s := range a.subscriptions.Status() {
		if s.Name == name && s.Held != nil {
			if err := a.subscriptions.Accept(name); err != nil {
				return err
			}
			return a.applyLists()
		}
	}
	return a.lists.Accept(name)
}

// listDiff returns what the last update of a subscribed list changed; or what the
// update that is held back would.
func (a *app) listDiff(name string, held bool) (web.Diff, error) {
	compare := a.subscriptions.Diff
	if held {
		compare = a.subscriptions.HeldDiff
	}
	d, err := compare(name)
	return web.Diff{
		Added: append([]string{}, d.Added...), Removed: append([]string{}, d.Removed...), AddedTotal: d.AddedTotal, RemovedTotal: d.RemovedTotal,
	}, err
}

// refreshLists fetches lists now, and tells each step.
func (a *app) refreshLists(ctx context.Context, names []string, step func(web.Refreshed)) error {
	return a.subscriptions.Refresh(ctx, names, func(p subscribe.Progress) {
		line := web.Refreshed{Name: p.Name, Bytes: p.Bytes, Total: p.Total, Done: p.Done, Rules: p.Rules}
		if p.Done {
			line.Outcome = p.Outcome.String()
		}
		if p.Outcome == subscribe.Updated || p.Outcome == subscribe.Unchanged {
			// So that what is said is so, also where the list came a moment ago.
			if err := a.applyLists(); err != nil {
				line.Error = err.Error()
			}
			line.Rules, line.Bad = a.inForce(p)
		}
		if p.Err != nil {
			line.Error = p.Err.Error()
		}
		step(line)
	})
}

// health asks the server's own listeners, as a client does.
func (a *app) health(ctx context.Context) (web.Health, error) {
	start := time.Now()
	addrs := a.server.Addrs()
	if len(addrs) == 0 {
		return web.Health{}, errors.New("listen.dns names no address to ask")
	}
	for _, addr := range addrs {
		if err := askHealth(ctx, addr); err != nil {
			return web.Health{}, err
		}
	}
	return web.Health{Version: buildVersion(), Listener: addrs[0].String(), Took: time.Since(start)}, nil
}
