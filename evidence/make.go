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

// A reading is a period of the log, added up.
type reading struct {
	o        *Options
	since    time.Time
	until    time.Time
	coverage querylog.Coverage
	attempts Attempts
	unit     string
	plan     plan

	unlogged  int             // of all devices, those whose lookups the settings kept out of the log for a time
	notLogged []querylog.Span // when

	asked, listed Counts
	deleted       uint64
	totals        Totals
	began         map[string]uint64 // lookups of others in the hour in which totals began, by identity
	splits        map[string]bool   // devices that became another one within an hour that is read from totals
	tiers         map[string]*Count
	vendors       map[string]*vendorSum
	owners        map[string]*Counts
	devices       map[string]*deviceSum
	places        map[placeKey]*place
	alikes        map[int]*alikeSums
	alikeTotals   map[int]*alikeTotals
	flows         map[flowKey]*Count
	confidence    map[string]*Count
	imported      map[string]uint64 // lookups, by the kind of log they are imported from
	names         int
	timeline      Timeline
	hours         []Cell
	quarters      [4]quarter // that were asked for last

	elsewhere, mixed uint64                  // lookups of totals of hours that are imported, and of hours of which some may be
	alone            time.Duration           // recorded, without mixedHours
	recordedHours    map[int64]time.Duration // since 1970: what recordedOf has found
	mixedHours       map[int64]bool          // since 1970: lookups of listed names are read from totals, of which some may be imported
}

type vendorSum struct {
	vendor      string
	counts      Counts
	night       Count
	first, last querylog.Time
	tiers       map[string]*Count
	products    map[string]*Count
	purposes    map[[2]string]*Count
	names       map[string]*nameSum
	mostNames   uint64 // different ones in an hour, as a total says
	devices     map[string]bool
	series      []uint64
}

type nameSum struct {
	Name
	devices            map[string]bool
	described, aliased int64 // the number of the row that says what the name is, and that of the alias
	by                 listedBy
}

// A listedBy says who lists a name.
type listedBy struct {
	list   string
	line   int
	source string
}

type deviceSum struct {
	Device
	vendors    map[string]*Count
	confidence map[string]bool
	days       map[int64]*deviceDay // since 1970
	today      *deviceDay           // the one that hour returned an hour of last, and its number
	number     int64
	kinds      []placeKey // some of its places, those in use
	places     []*place
}

// A deviceDay is the hours of a UTC day.
type deviceDay [24]deviceHour

// A deviceHour is what tells whether a device was silent but for what is listed.
type deviceHour struct {
	listed Count
	other  bool
}

type flowKey struct{ device, vendor, purpose string }

// A place has the sums to which lookups of one device, of one vendor's names of one
// kind, are added.
type place struct {
	vendor                                                         *vendorSum
	ofDevice, flow, tier, vendorTier, vendorProduct, vendorPurpose *Count
}

type placeKey struct {
	device                         *deviceSum
	vendor, product, purpose, tier string
}

// A quarter of an hour is in one slot of the timeline, and in one hour of the week.
type quarter struct {
	number     int64 // since 1970
	slot, cell int
	night      bool
}

func newReading(ctx context.Context, log Log, o *Options, since, until time.Time) (*reading, error) {
	c, err := log.Coverage(ctx, since, until)
	if err != nil {
		return nil, err
	}
	c.Gaps = slices.DeleteFunc(slices.Clone(c.Gaps), func(g querylog.Gap) bool { return o.pausesOther(g.Kind, g.Subject, g.Since.Time) })
	if on := o.Discovered[o.Device]; o.Device != "" && !on.IsZero() && on.Before(c.Unlisted.Time) { // its rows are there since then, or since the oldest of all
		c.Unlisted = later(querylog.Time{Time: on}, c.OldestUnlisted)
	}
	bindings, err := log.Bindings(ctx)
	if err != nil {
		return nil, err
	}
	unlogged, notLogged := 0, []querylog.Span(nil)
	if o.Device != "" {
		c.AddNotLogged(o.Whose.NotLogged(bindings, since, c.Until.Time))
	} else {
		unlogged, notLogged = findNotLogged(bindings, o, since, until)
	}
	r := &reading{
		o: o, since: since, until: until, coverage: c, unlogged: unlogged, notLogged: notLogged,
		tiers: map[string]*Count{}, vendors: map[string]*vendorSum{}, owners: map[string]*Counts{}, devices: map[string]*deviceSum{},
		flows: map[flowKey]*Count{}, confidence: map[string]*Count{}, imported: map[string]uint64{}, mixedHours: map[int64]bool{}, recordedHours: map[int64]time.Duration{}, places: map[placeKey]*place{}, alikes: map[int]*alikeSums{}, alikeTotals: map[int]*alikeTotals{}, splits: map[string]bool{}, began: map[string]uint64{},
		timeline: newTimeline(since, until, o.Zone, &c), hours: newHours(since, until, o.Zone, &c),
	}
	for i := range r.quarters {
		r.quarters[i].number = -1 << 62
	}
	r.attempts = Attempts{Counted: "none", Since: c.AttemptsSince, Gap: c.AttemptGap.Seconds()}
	r.unit = UnitLookups
	first := since
	if c.Begin.After(first) {
		first = c.Begin.Time
	}
	switch from := c.AttemptsSince.Time; {
	case from.IsZero() || !from.Before(until):
	case from.After(first.Add(time.Second)):
		r.attempts.Counted = "part"
	default:
		r.attempts.Counted, r.unit = "all", UnitAttempts
	}
	r.plan = newPlan(o, &c, since, until)
	return r, nil
}

// findNotLogged finds, where all devices are wanted, of how many the settings kept lookups out of the log, and when.
func findNotLogged(bindings []devices.Binding, o *Options, since, until time.Time) (unlogged int, spans []querylog.Span) {
	of := map[string]bool{}
	for i := range bindings {
		b := &bindings[i]
		if !b.NoLog {
			continue
		}
		for _, s := range (&querylog.Filter{Devices: []querylog.DeviceSpan{{Device: b.Device, From: b.From, Until: b.Until}}}).NotLogged(bindings[i:i+1], since, until) {
			if !querylog.AnyHas(o.Whose.Without, b.Device, s.Since) {
				of[o.Today(b.Device, s.Since)] = true
				spans = append(spans, s)
			}
		}
	}
	return len(of), spans
}

// coverageOf says what was recorded.
func (r *reading) coverageOf() Coverage {
	c := newCoverage(&r.coverage, r.o)
	if r.unlogged > 0 {
		c.Whole = false
		c.Text += fmt.Sprintf("; not of %s all the time (log: false)", Plural(uint64(r.unlogged), "device"))
	}
	return c
}

// unlistedFrom is since when rows of names that no list has are kept; missing reports whether some of the period are deleted.
func (r *reading) unlistedFrom() (from time.Time, missing bool) {
	from = r.coverage.Unlisted.Time
	if r.coverage.Recorded() == 0 { // imported ones alone
		from = r.coverage.OldestUnlisted.Time
	}
	return from, from.IsZero() || from.After(r.since.Add(time.Minute))
}

// read adds up the rows whose first lookup is in the period, so that a row is in
// one period alone, and the totals of hours whose rows are not read.
func (r *reading) read(ctx context.Context, log Log) error {
	missing, err := r.readTotals(ctx, log)
	if err != nil {
		return err
	}
	if err := r.settleAlone(ctx, log, missing); err != nil {
		return err
	}
	f := r.sumFilter()
	for _, span := range r.plan.rows {
		f.Since, f.Until = span.since, span.until
		clear(r.alikes)
		for sum, err := range log.Sums(ctx, f) {
			if err != nil {
				return err
			}
			r.add(sum, missing)
		}
	}
	for _, t := range missing {
		if t.Lookups > 0 {
			r.addTotal(t)
		}
	}
	return r.readDeleted(ctx, log)
}

// sumFilter chooses the rows that are read, of all times.
func (r *reading) sumFilter() querylog.SumFilter {
	w := &r.o.Whose
	return querylog.SumFilter{Device: w.Device, Devices: w.Devices, Without: w.Without, Vendor: r.o.Vendor, Apart: append([]time.Time{r.plan.listed.gone}, r.o.Changes...), Rows: r.rowsOnly()}
}

// rowsOnly reports whether sums of an hour or a day may tell too little: where hours of the
// zone are not those of sums, or devices may be others within a day.
func (r *reading) rowsOnly() bool {
	if r.o.Changes == nil {
		return true
	}
	for at := r.since; at.Before(r.until); at = at.AddDate(0, 0, 1) {
		if _, offset := at.In(r.o.Zone).Zone(); offset%3600 != 0 {
			return true
		}
	}
	_, offset := r.until.In(r.o.Zone).Zone()
	return offset%3600 != 0
}

// add adds a row, or what a sum of several tells, and takes it off the totals that have it, too.
func (r *reading) add(s *querylog.Sum, missing totalSums) {
	row := &s.Row
	listed := isListed(row)
	if s.Part == querylog.Named {
		r.addNamed(row, listed)
		return
	}
	if !listed && row.Vendor != "" && row.Attribution == "owner" && !r.plan.long {
		sum(r.owners, row.Vendor).add(row.Verdict, countOf(row))
	}
	switch r.plan.source(listed, row.Time.Time) {
	case fromTotals:
		return
	case fromBoth:
		missing.takeOff(row)
	}
	if row.Imported != "" {
		r.imported[row.Imported] += row.Count
	}
	one := countOf(row)
	if len(r.mixedHours) > 0 && r.mixedHours[row.Time.Unix()/3600] { // the rest of the hour is in no rate
		one.importedAttempts, one.importedLookups = one.Attempts, one.Lookups
	}
	r.asked.add(row.Verdict, one)
	a := r.alike(s)
	d := a.device
	r.seen(d, row.DeviceName, row.Time, &row.Last)
	d.Asked.add(row.Verdict, one)
	if !r.plan.long {
		if a.confidence == nil {
			a.confidence = sum(r.confidence, row.BindingConfidence)
			d.confidence[row.BindingConfidence] = true
		}
		a.confidence.add(one)
	}
	hour := d.hour(row.Time.Time)
	if !listed {
		hour.other = true
		return
	}
	hour.listed.add(one)
	if a.place == nil {
		a.place = r.place(placeKey{d, row.Vendor, row.Product, row.Purpose, row.Tier})
	}
	p := a.place
	r.addListed(p, d, row.Verdict, one, row.Time, row.Last)
	if s.Part == querylog.Single {
		r.addName(p.vendor, d.Device.Device, row, one)
	}
}

// An alikeSums is to which sums lookups are added of sums that are alike, on one day: days within which a
// device became another are read from rows.
type alikeSums struct {
	day        int64
	device     *deviceSum
	confidence *Count
	place      *place
}

// alike returns it, made anew for what is like nothing.
func (r *reading) alike(s *querylog.Sum) *alikeSums {
	day := s.Time.Unix() / 86400
	a := r.alikes[s.Alike]
	if a == nil || s.Alike == 0 || a.day != day {
		a = &alikeSums{day: day, device: r.deviceAt(s.Device, s.Time)}
		if s.Alike != 0 {
			if len(r.alikes) >= maxAlikes {
				clear(r.alikes)
			}
			r.alikes[s.Alike] = a
		}
	}
	return a
}

// addNamed adds a name's lookups of a day to it.
func (r *reading) addNamed(row *querylog.Row, listed bool) {
	v := r.vendors[row.Vendor] // that hours of the same lookups have made
	if !listed || v == nil || r.plan.source(listed, row.Time.Time) == fromTotals {
		return
	}
	r.addName(v, r.o.Today(row.Device, row.Time.Time), row, countOf(row))
}

// isListed reports whether a rule or a list says of a row's name whose it is.
func isListed(row *querylog.Row) bool {
	return row.Vendor != "" && (row.Attribution == "rule" || row.Attribution == "list")
}

// place returns the sums that a key stands for.
func (r *reading) place(key placeKey) *place {
	d := key.device
	for i := range d.kinds { // a device has few, and to compare them is faster than to find one of all
		if d.kinds[i] == key {
			return d.places[i]
		}
	}
	p := r.places[key]
	if p == nil {
		p = r.newPlace(key)
		r.places[key] = p
	}
	if len(d.kinds) < placesKnown {
		d.kinds, d.places = append(d.kinds, key), append(d.places, p)
	}
	return p
}

// placesKnown is how many places a deviceSum has at hand.
const placesKnown = 16

func (r *reading) newPlace(key placeKey) *place {
	v := r.vendors[key.vendor]
	if v == nil {
		v = &vendorSum{
			vendor: key.vendor, tiers: map[string]*Count{}, products: map[string]*Count{}, purposes: map[[2]string]*Count{},
			names: map[string]*nameSum{}, devices: map[string]bool{}, series: make([]uint64, len(r.timeline.Slots)),
		}
		r.vendors[key.vendor] = v
	}
	flow := flowKey{key.device.Device.Device, key.vendor, key.purpose}
	if len(r.flows) >= maxFlows && r.flows[flow] == nil {
		flow = flowKey{}
	}
	p := &place{
		vendor: v, ofDevice: sum(key.device.vendors, key.vendor), flow: sum(r.flows, flow), tier: sum(r.tiers, key.tier), vendorTier: sum(v.tiers, key.tier),
		vendorPurpose: sum(v.purposes, [2]string{key.purpose, key.tier}), vendorProduct: new(Count),
	}
	if key.product != "" {
		p.vendorProduct = sum(v.products, key.product)
	}
	v.devices[key.device.Device.Device] = true
	return p
}

// addListed adds lookups of listed names, whoever says how many they were.
func (r *reading) addListed(p *place, d *deviceSum, verdict string, one Count, first, last querylog.Time) {
	r.addWhole(p, d, verdict, one, first, last)
	r.addTime(p.vendor, verdict, one, first.Time)
}

// addWhole adds lookups of listed names to the sums of the whole period.
func (r *reading) addWhole(p *place, d *deviceSum, verdict string, one Count, first, last querylog.Time) {
	v := p.vendor
	d.Listed.add(verdict, one)
	r.listed.add(verdict, one)
	v.counts.add(verdict, one)
	for _, c := range []*Count{p.ofDevice, p.flow, p.tier, p.vendorTier, p.vendorProduct, p.vendorPurpose} {
		c.add(one)
	}
	if v.first.IsZero() {
		v.first = first
	}
	v.first, v.last = earlier(v.first, first), later(v.last, last)
}

// addTime adds lookups of listed names to the sums of when they came.
func (r *reading) addTime(v *vendorSum, verdict string, one Count, at time.Time) {
	q := r.quarterOf(at)
	r.hours[q.cell].add(one)
	r.timeline.Slots[q.slot].count(verdict, one)
	v.series[q.slot] += one.In(r.unit)
	if q.night {
		v.night.add(one)
	}
}

// quarterOf returns where in the timeline and in the week a time is. Zones differ from
// one another by quarters of an hour.
func (r *reading) quarterOf(at time.Time) *quarter {
	number := at.Unix() / 900
	q := &r.quarters[number&3] // what comes in the order of hours is of any of their quarters
	if q.number != number {
		local := at.In(r.o.Zone)
		*q = quarter{number, r.timeline.at(at), cellOf(local), local.Hour() < NightEnd}
	}
	return q
}

// addName adds a row's lookups to its name's, and takes over what it says of that.
func (r *reading) addName(v *vendorSum, device string, row *querylog.Row, one Count) {
	name := row.Name
	if r.plan.long || v.names[name] == nil && name != "" && r.names >= maxNames {
		name = ""
	}
	n := r.name(v, name, row.Time)
	n.Counts.add(row.Verdict, one)
	n.First, n.Last = earlier(n.First, row.Time), later(n.Last, row.Last)
	n.devices[device] = true
	if name != "" {
		n.describe(name, row)
	}
}

// name returns the sum of a vendor's name; "" is that of names that are not told apart.
func (r *reading) name(v *vendorSum, name string, first querylog.Time) *nameSum {
	n := v.names[name]
	if n == nil {
		r.names++
		n = &nameSum{devices: map[string]bool{}}
		n.First, n.Sources = first, []string{}
		v.names[name] = n
	}
	return n
}

// describe takes over what a row says of its name.
func (n *nameSum) describe(name string, row *querylog.Row) {
	n.Name.Name = name
	if row.Alias != "" && row.ID >= n.aliased {
		n.Alias, n.aliased = row.Alias, row.ID
	}
	if row.ID < n.described {
		return
	}
	n.described = row.ID
	n.Product, n.Purpose, n.Tier, n.Region, n.Breaks = row.Product, row.Purpose, row.Tier, row.Region, row.Breaks
	n.Attribution, n.Confidence, n.Independent, n.Contested = row.Attribution, row.Confidence, row.Independent, row.Contested
	if by := (listedBy{row.AttributionList, row.AttributionLine, row.Source}); by != n.by { // most sums of a name say the same
		n.by, n.ListedBy = by, by.list
		if by.line > 0 {
			n.ListedBy += fmt.Sprintf(":%d", by.line)
		}
		n.Sources = nonNil(strings.Fields(by.source))
	}
}

// device returns the sum of the device that had an identity at a time, when it asked
// first; last is nil where only the hour is known.
func (r *reading) device(identity, label string, at querylog.Time, last *querylog.Time) *deviceSum {
	d := r.deviceAt(identity, at)
	r.seen(d, label, at, last)
	return d
}

// deviceAt returns the sum of the device that had an identity at a time.
func (r *reading) deviceAt(identity string, at querylog.Time) *deviceSum {
	identity = r.o.Today(identity, at.Time)
	d := r.devices[identity]
	if d == nil {
		d = &deviceSum{vendors: map[string]*Count{}, confidence: map[string]bool{}, days: map[int64]*deviceDay{}}
		d.Device = Device{Device: identity}
		r.devices[identity] = d
	}
	return d
}

// seen takes over that a device asked first and last at a time, and what it was called.
func (r *reading) seen(d *deviceSum, label string, at querylog.Time, last *querylog.Time) {
	if last != nil {
		if d.First.IsZero() {
			d.First = at
		}
		d.First, d.Last = earlier(d.First, at), later(d.Last, *last)
	}
	switch {
	case r.o.Name == nil:
		d.Label = cmp.Or(label, d.Label, d.Device.Device)
	case d.Label == "":
		d.Label = r.o.Name(d.Device.Device) // as it is called today
	}
}

func (d *deviceSum) hour(at time.Time) *deviceHour {
	hour := at.Unix() / 3600
	if number := hour / 24; d.today == nil || d.number != number {
		d.today, d.number = d.days[number], number
		if d.today == nil {
			d.today = new(deviceDay)
			d.days[number] = d.today
		}
	}
	return &d.today[hour%24]
}

// addDeleted adds the total of an hour of rows that are deleted: of no name and no
// verdict, attempts of it are not known.
func (r *reading) addDeleted(h *querylog.Hour) {
	r.deleted += h.Lookups
	r.asked.Lookups += h.Lookups
	d := r.device(h.Device, "", h.Hour, nil)
	d.Asked.Lookups += h.Lookups
	d.hour(h.Hour.Time).other = true
}

func sum[K comparable, V any](m map[K]*V, key K) *V {
	v := m[key]
	if v == nil {
		v = new(V)
		m[key] = v
	}
	return v
}

func earlier(a, b querylog.Time) querylog.Time {
	if b.Before(a.Time) {
		return b
	}
	return a
}

func later(a, b querylog.Time) querylog.Time {
	if b.After(a.Time) {
		return b
	}
	return a
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
