package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/breakage"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

// brokePeriod is how far back what was blocked is looked at, unless a person says
// otherwise.
const brokePeriod = 15 * time.Minute

// record takes the lookups of a batch: for the log, those that were blocked for who
// asks what broke, and for who asks for metrics.
func (a *app) record(recs []querylog.Record) {
	a.log.Append(recs)
	a.blocked.Append(recs)
	if counts := a.counts.Load(); counts != nil {
		counts.Add(recs)
	}
}

// A suspected device is one of which somebody asks what broke.
type suspected struct {
	devices.DeviceStatus
	name     string
	spans    []querylog.DeviceSpan // all that it was
	suspects []breakage.Suspect
	since    time.Time
	until    time.Time // when somebody asked
	missed   int
}

// broke lists what was blocked of a device lately, the likeliest cause first.
func (a *app) broke(ctx context.Context, who string, seconds int64) (web.Breakage, error) {
	d, err := a.suspect(ctx, who, time.Duration(seconds)*time.Second)
	if err != nil {
		return web.Breakage{}, err
	}
	b := web.Breakage{Device: d.Device, Name: d.name, Since: d.since.UTC(), Until: d.until.UTC(), Suspects: suspectsOf(d.suspects), Missed: d.missed}
	if s, ok := a.searches.of(d.Device, time.Now()); ok {
		b.Search = &s
	}
	return b, nil
}

// suspect finds a device, and ranks what was blocked of it in a time until now.
func (a *app) suspect(ctx context.Context, who string, last time.Duration) (*suspected, error) {
	if last == 0 {
		last = brokePeriod
	}
	if last > breakage.Kept {
		return nil, web.Invalid(fmt.Errorf("what was blocked is kept for %s: 'telltale log --verdict block' has what was before", breakage.Kept))
	}
	s, ids, err := a.findKnown(ctx, who)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	d := &suspected{DeviceStatus: s, name: ids.name(s.Device), spans: identitiesOf(&s, ids), since: now.Add(-last), until: now}
	blocked, missed := a.blocked.Of(d.spans, d.since)
	d.missed = missed
	known := breakage.Known{Called: now, Since: d.since, Changed: a.listChanges(now), Catalogue: a.catalogued()}
	if len(blocked) > 0 {
		if known.Before, known.LogFrom, err = a.blockedBefore(ctx, d); err != nil {
			a.logger.Warn("what was blocked before is not known", "error", err)
		}
	}
	d.suspects = breakage.Rank(blocked, &known)
	return d, nil
}

// identitiesOf returns all that a device was, and the addresses it holds: they are its
// identity as long as nobody knows better.
func identitiesOf(d *devices.DeviceStatus, ids *identities) []querylog.DeviceSpan {
	spans := slices.Clone(ids.of[d.Device])
	if len(spans) == 0 {
		spans = []querylog.DeviceSpan{{Device: d.Device}}
	}
	for i := range d.Bindings {
		b := &d.Bindings[i]
		bare := querylog.DeviceSpan{Device: "addr:" + b.Addr.String(), From: b.From}
		if b.Until.IsZero() && b.Addr.IsValid() && !b.Prefix.IsValid() && ids.last(bare.Device) == bare.Device {
			bare.From = time.Time{}
			if !slices.Contains(spans, bare) {
				spans = append(spans, bare)
			}
		}
	}
	return spans
}

// blockedBefore returns the names that were blocked of a device before the period, by
// the log, and from when on that says it; zero where it does not.
func (a *app) blockedBefore(ctx context.Context, d *suspected) (names map[string]bool, from time.Time, err error) {
	cfg := a.cfg.Load()
	if !cfg.Log.Enabled || d.NoLog {
		return nil, from, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r := a.log.Reader()
	oldest, _, err := r.OldestRows(ctx)
	if err != nil || oldest.IsZero() {
		return nil, from, err
	}
	from = d.until.Add(-breakage.History)
	if oldest.After(from) {
		from = oldest
	}
	top, err := r.Top(ctx, "names", querylog.Filter{Devices: d.spans, Device: d.Device, Since: from, Until: d.since, Verdict: blocklists.Block.String()}, 0)
	if err != nil {
		return nil, time.Time{}, err
	}
	names = map[string]bool{}
	for i := range top {
		names[top[i].Key] = true
	}
	return names, from, nil
}

// listChanges returns when a list changed last, and whether a rule came with that.
func (a *app) listChanges(now time.Time) func(list, rule string) (time.Time, bool) {
	changed := map[string]time.Time{}
	for _, l := range a.lists.Status() {
		if l.Kind == blocklists.UserList {
			changed[l.Name] = l.Modified
		}
	}
	for _, s := range a.subscriptions.Status() {
		changed[s.Name] = s.Fetched
	}
	added := map[string][]string{}
	return func(list, rule string) (time.Time, bool) {
		at := changed[list]
		if at.IsZero() || now.Sub(at) > 24*time.Hour {
			return at, false
		}
		rules, known := added[list]
		if !known {
			if d, err := a.subscriptions.Diff(list); err == nil { // else there is nothing to compare
				rules = d.Added
			}
			added[list] = rules
		}
		return at, slices.Contains(rules, rule)
	}
}

// catalogued returns what the catalogue in force says of a name. The catalogue is read
// once, where it is asked.
func (a *app) catalogued() func(name string) breakage.Entry {
	var known *catalog.Catalog
	read := false
	return func(name string) breakage.Entry {
		if !read {
			read = true
			var err error
			if known, err = a.edition.Load().Load(); err != nil {
				a.logger.Warn("the catalogue cannot be read", "error", err)
			}
		}
		if known == nil {
			return breakage.Entry{}
		}
		for _, e := range known.Name(name) {
			if e.Tier != "owner" {
				return breakageOf(&e)
			}
		}
		return breakage.Entry{}
	}
}

// breakageOf returns what an entry says of what breaks.
func breakageOf(e *catalog.Entry) breakage.Entry {
	reported := slices.ContainsFunc(e.Claims, func(c catalog.Claim) bool {
		return c.Kind == catalog.StatesBreakage || c.Kind == catalog.VendorDocuments
	})
	return breakage.Entry{Tier: e.Tier, Breaks: e.Breaks, Reported: reported && e.Breaks != "", Disputed: e.Contested}
}

// stillBlocked returns those suspects that a trial may tell of: that are blocked now,
// and not by a rule of the user's own.
func (a *app) stillBlocked(d *suspected) (all []breakage.Suspect) {
	policy := a.lists.Current()
	group := policy.GroupOf(d.Group, d.address())
	for _, s := range d.suspects {
		name, err := dnswire.ParseName(s.Name)
		if err != nil || s.Own {
			continue
		}
		blocked := s.Alias != "" // what the answer leads to is not known here
		for _, typ := range []uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeHTTPS} {
			blocked = blocked || policy.Decide(&name, typ, group).Action == blocklists.Block
		}
		if blocked {
			all = append(all, s)
		}
	}
	return all
}

// address returns an address that the device holds.
func (d *suspected) address() (addr netip.Addr) {
	for i := range d.Bindings {
		if b := &d.Bindings[i]; b.Until.IsZero() && b.Addr.IsValid() {
			return b.Addr
		}
	}
	return addr
}

// maxClients is how many addresses of a device rules are written for.
const maxClients = 32

// clientsInRules returns by what rules know a device: its name in the settings, or its
// identity; where that is an address, the addresses it holds.
func (a *app) clientsInRules(d *suspected) ([]string, error) {
	cfg := a.cfg.Load()
	named := map[string]bool{}
	for i := range cfg.Devices {
		named[cfg.Devices[i].Name] = true
	}
	var clients []string
	known := named[d.Device] || isIdentity(d.Device) && !strings.HasPrefix(d.Device, "addr:")
	if known {
		clients = append(clients, d.Device)
	}
	held := slices.DeleteFunc(slices.Clone(d.Bindings), func(b devices.Binding) bool { return !b.Until.IsZero() })
	sorting.StableBy(held, func(b, c devices.Binding) int { // what covers most first
		switch {
		case b.Prefix.IsValid() == c.Prefix.IsValid():
			return 0
		case b.Prefix.IsValid():
			return -1
		}
		return 1
	})
	for i := range held {
		b := &held[i]
		client := b.Device
		if !named[client] {
			switch {
			case known:
				continue // it is in the device of today
			case b.Prefix.IsValid():
				client = b.Prefix.String()
			case b.Addr.IsValid() && b.Source != devices.Forwarder:
				client = b.Addr.Unmap().WithZone("").String()
			default:
				continue // what another server calls it
			}
		}
		if !slices.Contains(clients, client) && len(clients) < maxClients {
			clients = append(clients, client)
		}
	}
	if len(clients) == 0 {
		return nil, errors.New("it holds no address now, so that no rule can be for it: have it ask something, or name it under devices in the settings")
	}
	return clients, nil
}

// suspectsOf returns suspects as the API has them.
func suspectsOf(all []breakage.Suspect) []web.Suspect {
	out := []web.Suspect{}
	for i := range all {
		s := &all[i]
		one := web.Suspect{
			Name: s.Name, First: s.First.UTC(), Last: s.Last.UTC(), Lookups: s.Lookups, Weight: s.Weight, Reasons: []web.Reason{},
			Alias: s.Alias, List: s.List, Line: s.Line, Rule: s.Rule, Vendor: s.Vendor, Product: s.Product, Purpose: s.Purpose, Tier: s.Tier,
		}
		for _, r := range s.Reasons {
			one.Reasons = append(one.Reasons, web.Reason(r))
		}
		out = append(out, one)
	}
	return out
}

// forgetBlocked lets go of what was blocked of devices, and ends a search on one that is
// forgotten whole.
func (a *app) forgetBlocked(f *forgetting) {
	a.blocked.Forget(f.Devices)
	for device := range f.whole() {
		if err := a.endSearch(device); err != nil && !errors.Is(err, errNoSearch) {
			a.logger.Error("rules of a search stay in own.txt until their time is over", "error", err)
		}
	}
}

// findingOf returns what a search has found, as others may know it.
func (a *app) findingOf(s *searching, found *breakage.Suspect, now time.Time) breakage.Finding {
	entry := a.catalogued()
	f := breakage.Finding{
		Suspect: *found, Edition: a.edition.Load().Name(), Version: buildVersion(), Names: len(s.suspects), Questions: s.search.Asked(), At: now,
		Entry: entry(found.Name),
	}
	if f.Entry.Tier == "" && found.Alias != "" {
		f.Entry = entry(found.Alias)
	}
	for _, l := range a.lists.Status() {
		if l.Name == found.List && (l.Kind == blocklists.Shipped || l.Kind == blocklists.Subscribed) {
			f.List = l.Name
		}
	}
	return f
}
