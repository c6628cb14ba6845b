package evidence

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"telltale/devices"
	"telltale/evidence/experiment"
	"telltale/querylog"
	"telltale/sorting"
)

// maxChanges bounds the names that are listed as new, and as gone.
const maxChanges = 500

// compare adds to a report how the period before was.
func compare(r *Report, now, before *reading) {
	unit := UnitLookups
	if now.unit == UnitAttempts && before.unit == UnitAttempts {
		unit = UnitAttempts
	}
	trend := func(a, b Count) Trend {
		t := Trend{Before: before.perHour(b, unit), Now: now.perHour(a, unit)}
		if t.Before > 0 && seconds(now.alone) > 0 {
			change := t.Now/t.Before - 1
			t.Change = &change
		}
		return t
	}
	r.Before = &Before{
		Since: querylog.Time{Time: before.since}, Until: querylog.Time{Time: before.until}, Coverage: before.coverageOf(), Rated: seconds(before.alone),
		Unit: unit, Listed: before.listed.Count, Trend: trend(now.listed.Count, before.listed.Count),
	}
	for i := range r.Vendors {
		v := &r.Vendors[i]
		was := Count{}
		if b := before.vendors[v.Vendor]; b != nil {
			was = b.counts.Count
		}
		t := trend(v.Counts.Count, was)
		v.Trend = &t
	}
	for i := range r.Devices {
		d := &r.Devices[i]
		was := Count{}
		if b := before.devices[d.Device]; b != nil {
			was = b.Listed.Count
		}
		t := trend(d.Listed.Count, was)
		d.Trend = &t
	}
	if before.coverage.Recorded() < time.Second {
		r.Caveats = append(r.Caveats, "nothing is recorded of the period before: there is nothing to compare with")
		return
	}
	if now.coverage.Recorded() < time.Second {
		return
	}
	r.New = changes(now, before)
	r.Gone = changes(before, now)
	if pausedOnce(&now.coverage) != pausedOnce(&before.coverage) {
		r.Caveats = append(r.Caveats, "lists were not in force for a part of one of the two periods: they do not compare")
	}
}

func pausedOnce(c *querylog.Coverage) bool {
	return slices.ContainsFunc(c.Gaps, func(g querylog.Gap) bool { return g.Effect == querylog.Unblocked })
}

// changes are the listed names that a has and b has not. Where b has lookups of a vendor
// whose names are not told apart, nobody knows which of a's they were.
func changes(a, b *reading) []Change {
	all := []Change{}
	for vendor, v := range a.vendors {
		other := b.vendors[vendor]
		for name, n := range v.names {
			if name == "" || other != nil && (other.names[name] != nil || other.names[""] != nil) {
				continue
			}
			all = append(all, Change{name, vendor, n.Tier, n.Purpose, n.First, n.Last, n.Counts.Count})
		}
	}
	sorting.By(all, func(x, y Change) int { return a.order(x.Count, y.Count, x.Name, y.Name) })
	return all[:min(len(all), maxChanges)]
}

// GoneText says what it means that names of the period before are missing: where the
// record has a gap, that is not known.
func (r *Report) GoneText() string {
	if r.Coverage.Whole {
		return "Listed names that were asked for in the period before, and of which no lookup was recorded in this one:"
	}
	return "Listed names that were asked for in the period before and are not among what was recorded of this one. The record has gaps, so whether they were asked for is not known:"
}

// NewText is GoneText of names that the period before has not.
func (r *Report) NewText() string {
	if r.Before != nil && r.Before.Coverage.Whole {
		return "Listed names of which no lookup was recorded in the period before:"
	}
	return "Listed names that are not among what was recorded of the period before. That record has gaps, so whether they were asked for then is not known:"
}

// NoneText says that nothing was recorded, and no more than the record allows.
func (r *Report) NoneText() string {
	of := "names listed as a vendor's"
	if r.About.Vendor != "" {
		of = "names listed as those of " + r.About.Vendor
	}
	if domain, ok := strings.CutPrefix(r.About.Vendor, ObservedVendor); ok {
		of = "names that you observe below " + domain
	}
	who := ""
	if r.About.Device != "" {
		who = " by " + r.About.Label
	}
	if r.Coverage.Whole {
		return "No lookup of " + of + who + " was recorded, and the record has no known gap."
	}
	if r.Coverage.Recorded == 0 {
		return "Nothing was recorded in this period: it says nothing of " + of + "."
	}
	return "What was recorded has none of " + of + who + ". The record has gaps, so whether there were any is not known."
}

// addHistory adds who the device was, and what happened.
func addHistory(ctx context.Context, log Log, r *Report, now *reading) error {
	events, err := log.Ledger(ctx, now.since, now.until)
	if err != nil {
		return err
	}
	others, err := now.experimentsOfOthers(ctx, log, events)
	if err != nil {
		return err
	}
	for i := range events {
		if text, ok := markerText(&events[i]); ok && !now.o.pausesOther(events[i].Kind, events[i].Subject, events[i].Time.Time) && !(isOfExperiment(events[i]) && others[events[i].Subject]) {
			r.Markers = append(r.Markers, Marker{events[i].Time, events[i].Kind, text})
		}
	}
	for _, n := range now.o.Notes {
		if !n.Time.Before(now.since) && n.Time.Before(now.until) {
			r.Markers = append(r.Markers, n)
		}
	}
	sorting.StableBy(r.Markers, func(a, b Marker) int { return a.Time.Compare(b.Time.Time) })
	if more := len(r.Markers) - maxMarkers; more > 0 {
		r.Markers, r.MarkersMore = slices.Clone(r.Markers[more:]), more
	}
	if now.o.Device == "" {
		return nil
	}
	bindings, err := log.Bindings(ctx)
	if err != nil {
		return err
	}
	for i := range bindings {
		if b := &bindings[i]; now.isOf(b) && now.overlaps(b) {
			r.Identity = append(r.Identity, Identity{
				Device: b.Device, Covers: b.Covers(), MAC: b.MAC, Source: b.Source.String(), Confidence: b.Confidence.String(),
				From: querylog.Time{Time: b.From}, Until: querylog.Time{Time: b.Until},
			})
		}
	}
	sorting.StableBy(r.Identity, func(a, b Identity) int { return a.From.Compare(b.From.Time) })
	if more := len(r.Identity) - maxIdents; more > 0 {
		r.Identity, r.IdentityMore = slices.Clone(r.Identity[more:]), more
	}
	return nil
}

func (r *reading) isOf(b *devices.Binding) bool {
	if addr, err := netip.ParseAddr(r.o.Whose.Device); err == nil {
		return b.Addr == addr
	}
	end := b.Until
	if end.IsZero() || end.After(r.until) {
		end = r.until
	}
	return slices.ContainsFunc(r.o.Whose.Devices, func(s querylog.DeviceSpan) bool {
		return s.Device == b.Device && (s.Until.IsZero() || b.From.Before(s.Until)) && (s.From.IsZero() || end.After(s.From))
	})
}

func (r *reading) overlaps(b *devices.Binding) bool {
	return b.From.Before(r.until) && (b.Until.IsZero() || b.Until.After(r.since))
}

// markers are the events that may explain a change, and what they are called.
var markers = map[string]string{
	querylog.KindStart: "the server started", querylog.KindStop: "the server stopped", querylog.KindCrash: "the server had ended without notice",
	querylog.KindSuspended: "the server did not run", querylog.KindClock: "the clock was set", querylog.KindRetention: "rows were deleted",
	"list-added": "a list was added", "reload": "a list changed", "reload-failed": "lists could not be put in force", "list-failed": "a list could not be read or fetched",
	"list-held": "an update of a list was held back", "list-accepted": "an update of a list was accepted", "catalogue": "another edition of the shipped lists",
	"pause": "blocking was paused", "resume": "the pause ended", "observe": "blocking was off to observe", "schedule": "a schedule's turn", "observe-ended": "an observation ended",
	"config-changed": "settings changed", "note": "note",
	querylog.KindExperimentStarted: "an experiment began", querylog.KindExperimentMarked: "a mark of an experiment", querylog.KindExperimentStopped: "an experiment ended", querylog.KindExperimentCancelled: "an experiment was given up",
	"destination-moved": "a name led to another operator or country",
}

// pausesOther reports whether a line of the ledger is of a pause of another device than that of
// the report: it says nothing of this one.
func (o *Options) pausesOther(kind, subject string, at time.Time) bool {
	device, ok := strings.CutPrefix(subject, "device ")
	if o.Device == "" || !ok || !slices.Contains([]string{"pause", "resume", "observe", "observe-ended"}, kind) {
		return false
	}
	return !strings.EqualFold(device, o.Device) && !querylog.AnyHas(o.Whose.Devices, device, at) && (o.Today == nil || o.Today(device, at) != o.Device)
}

func isOfExperiment(e querylog.Event) bool {
	return e.Kind == querylog.KindExperimentStarted || e.Kind == querylog.KindExperimentMarked || e.Kind == querylog.KindExperimentStopped || e.Kind == querylog.KindExperimentCancelled
}

// experimentsOfOthers returns the experiments of a report of one device that are at others:
// their plans say which devices they are of.
func (r *reading) experimentsOfOthers(ctx context.Context, log Log, events []querylog.Event) (map[string]bool, error) {
	if r.o.Device == "" || !slices.ContainsFunc(events, isOfExperiment) {
		return nil, nil
	}
	events, err := log.Ledger(ctx, time.Time{}, r.until) // a plan may be older than the period
	if err != nil {
		return nil, err
	}
	others := map[string]bool{}
	for _, e := range experiment.All(events) {
		others[e.Name] = e.Problem == "" && !slices.ContainsFunc(e.Plan.Devices, func(d experiment.Device) bool {
			return d.Device == r.o.Device || querylog.AnyHas(r.o.Whose.Devices, d.Device, e.Planned.Time)
		})
	}
	return others, nil
}

func markerText(e *querylog.Event) (string, bool) {
	word, ok := markers[e.Kind]
	if !ok || e.Kind == querylog.KindClock && e.Since.IsZero() { // a clock in doubt explains no change
		return "", false
	}
	text := word
	for _, s := range []string{e.Subject, experiment.LineText(e)} {
		if s != "" {
			text = fmt.Sprintf("%s: %s", text, s)
		}
	}
	return text, true
}
