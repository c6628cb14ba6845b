package evidence

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"telltale/devices"
	"telltale/querylog"
	"telltale/sorting"
)

// A Log is what reports are read from: *querylog.Reader, and a household of tests.
type Log interface {
	Sums(ctx context.Context, f querylog.SumFilter) iter.Seq2[*querylog.Sum, error]
	Ledger(ctx context.Context, since, until time.Time) ([]querylog.Event, error)
	Bindings(ctx context.Context) ([]devices.Binding, error)
	Coverage(ctx context.Context, since, until time.Time) (querylog.Coverage, error)
	Totals(ctx context.Context, f querylog.TotalsFilter) iter.Seq2[querylog.Total, error]
	Hours(ctx context.Context, since, until time.Time) ([]querylog.Hour, error)
}

// Options say what a report is about.
type Options struct {
	Since, Until time.Time
	Zone         *time.Location // nil for UTC
	ZoneName     string         // as shown

	Device  string          // of one device: its identity today, or an address; "" for all
	Whose   querylog.Filter // chooses its rows, or all rows, by Device, Devices and Without alone
	Vendor  string          // of one vendor; "" for all
	Compare bool            // with the period of the same length before

	Program string
	Now     time.Time

	// Today returns which device it is today that had an identity at a time, and Name
	// what it is called. Nil: the same, and as it was shown last.
	Today   func(identity string, at time.Time) string
	Changes []time.Time // all times at which Today changes what it returns; nil: not known
	Name    func(device string) string

	// Discovered has the devices of today whose rows of names that no list has are kept
	// as long as those of listed ones, and since when.
	Discovered map[string]time.Time

	Notes []Marker // what people noted
}

// Bounds of what is kept apart, whoever makes up names.
const (
	maxNames   = 20_000 // of listed names in a report; further ones are counted together by vendor
	maxFlows   = 1_000
	maxMarkers = 200
	maxIdents  = 100
	maxAlikes  = 4_096 // that are remembered of sums that are alike
)

// Make reads a log and says what it shows.
func Make(ctx context.Context, log Log, o Options) (*Report, error) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Today == nil {
		o.Today, o.Changes = func(identity string, _ time.Time) string { return identity }, []time.Time{}
	}
	now, err := newReading(ctx, log, &o, o.Since, o.Until)
	if err != nil {
		return nil, err
	}
	var before *reading
	if o.Compare {
		if before, err = newReading(ctx, log, &o, periodBefore(&o), o.Since); err != nil {
			return nil, err
		}
		if err := before.read(ctx, log); err != nil {
			return nil, err
		}
	}
	if err := now.read(ctx, log); err != nil {
		return nil, err
	}
	r := now.report()
	if before != nil {
		compare(r, now, before)
	}
	if err := addHistory(ctx, log, r, now); err != nil {
		return nil, err
	}
	return r, nil
}

// periodBefore returns when the period of the same length before begins: a week of
// the calendar is as long as another, also where clocks are changed.
func periodBefore(o *Options) time.Time {
	since, until := o.Since.In(o.Zone), o.Until.In(o.Zone)
	dayOf := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }
	days := int(dayOf(until).Sub(dayOf(since)) / (24 * time.Hour))
	if days > 0 && since.AddDate(0, 0, days).Equal(until) {
		return since.AddDate(0, 0, -days)
	}
	return since.Add(-until.Sub(since))
}

// report makes what was added up a report.
func (r *reading) report() *Report {
	o := r.o
	out := &Report{
		Version: Version, Made: querylog.Time{Time: o.Now}, Program: o.Program, Since: querylog.Time{Time: r.since}, Until: querylog.Time{Time: r.until}, Zone: o.ZoneName, Location: o.Zone,
		About: About{Kind: "household", Device: o.Device, Vendor: o.Vendor}, Coverage: r.coverageOf(), Attempts: r.attempts, Unit: r.unit,
		Asked: r.asked, Deleted: r.deleted, Totals: r.totals, Listed: r.listed, Tiers: tiersOf(r.tiers), PerHour: r.perHour(r.listed.Count, r.unit), Rated: seconds(r.alone),
		Timeline: r.timeline, Hours: r.hours, New: []Change{}, Gone: []Change{}, Identity: []Identity{}, Destinations: []Destination{}, Countries: []Country{}, Markers: []Marker{},
		Caveats: append([]string{}, caveats(&r.coverage, o.Zone, r.plan.totals)...), Proves: proves, Limits: limits,
		Vendors: []Vendor{}, Owners: []Owner{}, Devices: []Device{}, Flows: []Flow{}, Confidence: []Confidence{},
	}
	switch {
	case o.Device != "" && o.Vendor != "":
		out.About.Kind = "vendor-of-device"
	case o.Device != "":
		out.About.Kind = "device"
	case o.Vendor != "":
		out.About.Kind = "vendor"
	}
	out.About.Label = o.Device
	if d := r.devices[o.Device]; d != nil {
		out.About.Label = d.Label
	} else if o.Name != nil && o.Device != "" {
		out.About.Label = o.Name(o.Device)
	}
	out.Totals.Why = r.why()
	out.Night = r.night()
	if _, missing := r.unlistedFrom(); o.Vendor == "" && (r.plan.totals || !missing) {
		out.Silent = r.silent()
	}
	for _, v := range r.vendors {
		out.Vendors = append(out.Vendors, r.vendor(v))
		if strings.EqualFold(v.vendor, o.Vendor) {
			out.About.Vendor = v.vendor
		}
	}
	sorting.By(out.Vendors, func(a, b Vendor) int { return r.order(a.Counts.Count, b.Counts.Count, a.Vendor, b.Vendor) })
	for owner, counts := range r.owners {
		out.Owners = append(out.Owners, Owner{owner, *counts})
	}
	sorting.By(out.Owners, func(a, b Owner) int { return r.order(a.Counts.Count, b.Counts.Count, a.Owner, b.Owner) })
	for _, d := range r.devices {
		out.Devices = append(out.Devices, r.deviceOf(d))
	}
	sorting.By(out.Devices, func(a, b Device) int {
		return cmp.Or(r.order(a.Listed.Count, b.Listed.Count, "", ""), r.order(a.Asked.Count, b.Asked.Count, a.Device, b.Device))
	})
	for k, c := range r.flows {
		out.Flows = append(out.Flows, Flow{r.label(k.device), k.vendor, k.purpose, *c})
	}
	sorting.By(out.Flows, func(a, b Flow) int {
		return r.order(a.Count, b.Count, a.Device+"\x00"+a.Vendor+"\x00"+a.Purpose, b.Device+"\x00"+b.Vendor+"\x00"+b.Purpose)
	})
	for word, c := range r.confidence {
		out.Confidence = append(out.Confidence, Confidence{word, *c})
	}
	sorting.By(out.Confidence, func(a, b Confidence) int { return compareConfidence(a.Confidence, b.Confidence) })
	r.addCaveats(out)
	return out
}

// order compares what is shown by its count, the largest first.
func (r *reading) order(a, b Count, nameA, nameB string) int {
	return cmp.Or(cmp.Compare(b.In(r.unit), a.In(r.unit)), cmp.Compare(b.Lookups, a.Lookups), cmp.Compare(nameA, nameB))
}

func (r *reading) perHour(c Count, unit string) float64 {
	if seconds(r.alone) > 0 {
		return float64(c.OwnIn(unit)) / r.alone.Hours()
	}
	return 0
}

func (r *reading) label(device string) string {
	if d := r.devices[device]; d != nil {
		return d.Label
	}
	return device
}

func (r *reading) night() (n Night) {
	recorded, all := int64(0), int64(0)
	for i := range r.hours {
		c := &r.hours[i]
		all += c.Recorded
		if c.Hour < NightEnd {
			recorded += c.Recorded
			n.Attempts += c.Attempts
			n.Lookups += c.Lookups
		}
	}
	n.Share = part(n.In(r.unit), r.listed.In(r.unit))
	n.Recorded = part(uint64(recorded), uint64(all))
	return n
}

func part(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func (r *reading) silent() *Silent {
	s := &Silent{}
	for _, d := range r.devices {
		for _, day := range d.days {
			for i := range day {
				if h := &day[i]; !h.other && h.listed.Lookups > 0 {
					s.Hours++
					s.Attempts += h.listed.Attempts
					s.Lookups += h.listed.Lookups
				}
			}
		}
	}
	s.Share = part(s.In(r.unit), r.listed.In(r.unit))
	return s
}

func (r *reading) vendor(v *vendorSum) Vendor {
	out := Vendor{
		Vendor: v.vendor, Counts: v.counts, PerHour: r.perHour(v.counts.Count, r.unit), Night: part(v.night.In(r.unit), v.counts.In(r.unit)),
		First: v.first, Last: v.last, Tiers: tiersOf(v.tiers), Products: r.byCount(v.products), Purposes: []Purpose{}, Names: []Name{},
		Sources: []string{}, Devices: []string{}, Series: v.series,
	}
	for p, c := range v.purposes {
		out.Purposes = append(out.Purposes, Purpose{p[0], p[1], *c})
	}
	sorting.By(out.Purposes, func(a, b Purpose) int { return r.order(a.Count, b.Count, a.Purpose+" "+a.Tier, b.Purpose+" "+b.Tier) })
	for name, n := range v.names {
		n.Name.Devices = len(n.devices)
		out.Names = append(out.Names, n.Name)
		if name != "" {
			out.NamesLeast++
		}
	}
	out.NamesLeast = max(out.NamesLeast, v.mostNames)
	sorting.By(out.Names, func(a, b Name) int { return r.order(a.Counts.Count, b.Counts.Count, a.Name, b.Name) })
	for i := range out.Names {
		for _, s := range out.Names[i].Sources {
			if !slices.Contains(out.Sources, s) && len(out.Sources) < 200 {
				out.Sources = append(out.Sources, s)
			}
		}
	}
	for d := range v.devices {
		out.Devices = append(out.Devices, r.label(d))
	}
	slices.Sort(out.Devices)
	return out
}

// byCount returns words, the busiest first.
func (r *reading) byCount(m map[string]*Count) []string {
	words := make([]string, 0, len(m))
	for w := range m {
		words = append(words, w)
	}
	sorting.By(words, func(a, b string) int { return r.order(*m[a], *m[b], a, b) })
	return words
}

func tiersOf(m map[string]*Count) []Tier {
	out := []Tier{}
	for _, word := range []string{"telemetry", "mixed", "essential"} {
		if c := m[word]; c != nil {
			out = append(out, Tier{word, *c})
		}
	}
	var rest []string
	for word := range m {
		if word != "telemetry" && word != "mixed" && word != "essential" {
			rest = append(rest, word)
		}
	}
	slices.Sort(rest)
	for _, word := range rest {
		out = append(out, Tier{word, *m[word]})
	}
	return out
}

func (r *reading) deviceOf(d *deviceSum) Device {
	out := d.Device
	out.PerHour = r.perHour(out.Listed.Count, r.unit)
	out.Vendors, out.Confidence = []VendorPart{}, []string{}
	for _, v := range r.byCount(d.vendors) {
		out.Vendors = append(out.Vendors, VendorPart{v, *d.vendors[v]})
	}
	for c := range d.confidence {
		out.Confidence = append(out.Confidence, c)
	}
	sorting.By(out.Confidence, compareConfidence)
	return out
}

// compareConfidence orders the surest first.
func compareConfidence(a, b string) int {
	order := []string{"high", "medium", "low"}
	place := func(s string) int {
		if i := slices.Index(order, s); i >= 0 {
			return i
		}
		return len(order)
	}
	return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
}

// importedFrom returns the kinds of logs of which the report has imported lookups: of those
// in totals, all that these may be of.
func (r *reading) importedFrom() []string {
	all := map[string]bool{}
	for from := range r.imported {
		all[from] = true
	}
	if r.elsewhere+r.mixed > 0 {
		for _, i := range r.coverage.Imports {
			all[i.Format] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (r *reading) addCaveats(out *Report) {
	add := func(format string, args ...any) { out.Caveats = append(out.Caveats, fmt.Sprintf(format, args...)) }
	switch r.attempts.Counted {
	case "none":
		add("attempts were not counted in this period: numbers are lookups as received, retries included")
	case "part":
		add("attempts are counted since %s: rates and shares are of lookups as received, retries included", Short(r.attempts.Since.Time, r.o.Zone))
	}
	if n := r.unlogged; n > 0 {
		add("%s", notLoggedText(n))
	}
	if unlisted, missing := r.unlistedFrom(); r.o.Vendor == "" && !r.plan.long && missing {
		from := "no longer kept"
		if !unlisted.IsZero() {
			from = "kept since " + Short(unlisted, r.o.Zone)
		}
		if n := len(r.o.Discovered); n > 0 && r.o.Device == "" {
			from += fmt.Sprintf(" (for longer of %d with discovery on)", n)
		}
		if r.plan.totals {
			add("rows of names that no list has are %s; of earlier ones only how many there were by hour, device and decision is known", from)
		} else {
			add("rows of names that no list has are %s; earlier lookups of them are in no number, since hourly totals have no addresses, so it is not known when the device asked for nothing else", from)
		}
	}
	for _, from := range slices.Sorted(maps.Keys(r.imported)) {
		add("%s lookups were imported from the log of another server (%s): rates leave them out, since for how long it recorded is not known, and what it did not keep is not known of them", Number(r.imported[from]), from)
	}
	if n := r.asked.Unknown.Lookups; n > 0 {
		add("of %s lookups it is not known whether they were blocked: the log of another server that they were imported from does not say (%s)", Number(n), strings.Join(r.importedFrom(), ", "))
	}
	if n := r.listed.Blocked.Lookups; n > 0 && r.unit == UnitAttempts && slices.Contains(r.importedFrom(), "dnsmasq") {
		add("an attempt counts as what was decided of its first lookup, and dnsmasq may block lookups of A of a name and pass those of other types on: of the %s lookups of listed names, %s were blocked", Number(r.listed.Lookups), Number(n))
	}
	for _, text := range r.totalsCaveats() {
		add("%s", text)
	}
	if r.names >= maxNames {
		add("there were more than %s listed names: further ones are counted together", Number(maxNames))
	}
}
