package evidence

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale/devices"
	"telltale/querylog"
)

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
