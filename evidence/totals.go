package evidence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"telltale/querylog"
)

// rowsUpTo is the longest period of which all rows are read. Of a longer one, whole
// hours are read from totals.
const rowsUpTo = 100 * 24 * time.Hour

// strayHours is how long before the oldest row of a table rows may still be dated: a
// window is stored as one, and its rows are not in the order of their times.
const strayHours = 2 * time.Hour

// A source says where the lookups of an hour are read from.
type source int

const (
	fromRows   source = iota
	fromTotals        // rows that there are count for nothing
	fromBoth          // rows, and of totals what rows lack
)

// A plan says what is read of a period: rows, or hourly totals.
type plan struct {
	since, until time.Time
	totals       bool // totals can be read: they have no addresses
	long         bool // all whole hours are read from totals
	others       bool // also those of names that are no vendor's
	listed       rowsKept
	other        rowsKept
	rows         []timeSpan // in which rows are read
}

type timeSpan struct{ since, until time.Time }

// rowsKept says of which hours a table has rows: of none before gone, and of all from
// whole on.
type rowsKept struct{ gone, whole time.Time }

// newRowsKept makes it of the oldest row of all, and of those that were recorded here:
// imported ones may be older, of a time whose own rows are gone.
func newRowsKept(oldest, own querylog.Time, until time.Time) rowsKept {
	k := rowsKept{until, until}
	if !oldest.IsZero() {
		k.gone = oldest.Truncate(time.Hour).Add(-strayHours)
	}
	if !own.IsZero() {
		k.whole = own.Truncate(time.Hour).Add(time.Hour)
	}
	return k
}

func newPlan(o *Options, c *querylog.Coverage, since, until time.Time) plan {
	p := plan{
		since: since, until: until, totals: o.Whose.Device == "", others: o.Vendor == "",
		listed: newRowsKept(c.OldestListed, c.Listed, until), other: newRowsKept(c.OldestUnlisted, c.Unlisted, until), rows: []timeSpan{{since, until}},
	}
	if p.long = p.totals && until.Sub(since) > rowsUpTo; p.long {
		p.rows = nil
		first, last := since.Truncate(time.Hour), until.Truncate(time.Hour)
		if first.Before(since) {
			p.rows = append(p.rows, timeSpan{since, first.Add(time.Hour)})
		}
		if last.Before(until) {
			p.rows = append(p.rows, timeSpan{last, until})
		}
	}
	return p
}

// source returns where lookups of an hour are read from.
func (p *plan) source(listed bool, at time.Time) source {
	hour, kept := at.Truncate(time.Hour), &p.other
	if listed {
		kept = &p.listed
	}
	switch {
	case !p.totals || !listed && !p.others:
		return fromRows
	case p.long && !hour.Before(p.since) && !hour.Add(time.Hour).After(p.until), hour.Before(kept.gone):
		return fromTotals
	case hour.Before(kept.whole):
		return fromBoth
	}
	return fromRows
}

// end returns until when totals are read; it is not after since where none are.
func (p *plan) end() time.Time {
	switch end := p.listed.whole; {
	case !p.totals:
		return p.since
	case p.long:
		return p.until
	case p.others && p.other.whole.After(end):
		return p.other.whole
	default:
		return end
	}
}

// A totalKey tells totals apart.
type totalKey struct {
	hour                                            int64
	device, vendor, product, purpose, tier, verdict string
}

// totalSums are totals from which rows are taken off.
type totalSums map[totalKey]*querylog.Total

func (s totalSums) add(t *querylog.Total) {
	key := totalKey{t.Hour.Unix(), t.Device, t.Vendor, t.Product, t.Purpose, t.Tier, t.Verdict}
	have := s[key]
	if have == nil {
		one := *t
		one.Alike = 0 // totals of several readings come together
		s[key] = &one
		return
	}
	have.Lookups += t.Lookups
	have.Attempts += t.Attempts
	have.Names = max(have.Names, t.Names)
	have.First, have.Last = earlier(have.First, t.First), later(have.Last, t.Last)
}

// takeOff takes off what a row counts. Lookups that came since the totals were read
// are in none.
func (s totalSums) takeOff(row *querylog.Row) {
	key := totalKey{hour: row.Time.Truncate(time.Hour).Unix(), device: row.Device, verdict: row.Verdict}
	if row.Attribution == "rule" || row.Attribution == "list" {
		key.vendor, key.product, key.purpose, key.tier = row.Vendor, row.Product, row.Purpose, row.Tier
	}
	if t := s[key]; t != nil {
		t.Lookups -= min(t.Lookups, row.Count)
		t.Attempts -= min(t.Attempts, uint64(row.Attempts))
	}
}

// readTotals adds the totals of hours that have no rows, or whose rows are not read.
// It returns those of hours of which some rows may be deleted, before rows are read:
// what comes meanwhile is then not counted twice.
func (r *reading) readTotals(ctx context.Context, log Log) (totalSums, error) {
	missing := totalSums{}
	return missing, r.eachTotal(ctx, log, missing, r.addTotal)
}

// eachTotal calls each with the totals of hours whose rows are not read, and adds those of hours of which some rows may be deleted to missing.
func (r *reading) eachTotal(ctx context.Context, log Log, missing totalSums, each func(*querylog.Total)) error {
	end := r.plan.end()
	if end.After(r.until) {
		end = r.until
	}
	if !end.After(r.since) {
		return nil
	}
	f := querylog.TotalsFilter{Since: r.since, Until: end, Vendor: r.o.Vendor}
	for _, s := range r.o.Whose.Devices {
		if !slices.Contains(f.Devices, s.Device) {
			f.Devices = append(f.Devices, s.Device)
		}
	}
	if whole := r.plan.listed.whole; !r.plan.long && whole.Before(end) { // from there on listed names are read from rows
		if whole.After(r.since) {
			f.Until = whole
			if err := r.eachTotalOf(ctx, log, f, missing, each); err != nil {
				return err
			}
			f.Since = whole
		}
		f.Until, f.Others = end, true
	}
	return r.eachTotalOf(ctx, log, f, missing, each)
}

func (r *reading) eachTotalOf(ctx context.Context, log Log, f querylog.TotalsFilter, missing totalSums, each func(*querylog.Total)) error {
	for t, err := range log.Totals(ctx, f) {
		if err != nil {
			return err
		}
		if !r.has(&t) {
			continue
		}
		switch r.plan.source(t.Vendor != "", t.Hour.Time) {
		case fromTotals:
			each(&t)
		case fromBoth:
			missing.add(&t)
		}
	}
	r.addAlikes() // another reading has other numbers
	return nil
}

// has reports whether a total is of the period and the devices. It is where its first
// lookup is, as rows are.
func (r *reading) has(t *querylog.Total) bool {
	if t.First.Before(r.since) || !t.First.Before(r.until) {
		return false
	}
	w := &r.o.Whose
	return (len(w.Devices) == 0 || querylog.AnyHas(w.Devices, t.Device, t.First.Time)) && !querylog.AnyHas(w.Without, t.Device, t.First.Time)
}

// addTotal adds a total: the names of its lookups are not known, nor what their device
// rests on.
func (r *reading) addTotal(t *querylog.Total) {
	one := Count{Attempts: t.Attempts, Lookups: t.Lookups}
	if r.isImported(t.Hour.Time) { // some of it at least
		one.importedAttempts, one.importedLookups = t.Attempts, t.Lookups
		if r.recordedOf(t.Hour.Time) > 0 {
			r.mixed += t.Lookups
		} else {
			r.elsewhere += t.Lookups
		}
	}
	a, steady := r.alikeTotal(t)
	a.add(t, one)
	hour := a.device.hour(t.Hour.Time)
	switch {
	case t.Vendor != "":
		hour.listed.add(one)
		r.addTime(a.place.vendor, t.Verdict, one, t.First.Time)
	default:
		hour.other = true
		if t.Hour.Equal(r.coverage.Totals.Time) {
			r.began[t.Device] += t.Lookups
		}
	}
	if !steady {
		r.addAlike(a)
	}
}

// An alikeTotals is the sum of totals that are alike. What is added up of the whole period is added
// to once for all of them.
type alikeTotals struct {
	device   *deviceSum
	place    *place // nil for names that are no vendor's, as the next
	nameless *nameSum
	verdict  string

	sum         Count
	first, last querylog.Time
	mostNames   uint64
}

func (a *alikeTotals) add(t *querylog.Total, one Count) {
	if a.first.IsZero() {
		a.first = t.First
	}
	a.sum.add(one)
	a.first, a.last = earlier(a.first, t.First), later(a.last, t.Last)
	a.mostNames = max(a.mostNames, t.Names)
}

// alikeTotal returns the sum that a total belongs to: made anew for what is like nothing, and where a device may be another
// from one hour to the next, which is not steady.
func (r *reading) alikeTotal(t *querylog.Total) (a *alikeTotals, steady bool) {
	steady = t.Alike != 0 && r.o.Changes != nil && len(r.o.Changes) == 0
	if a := r.alikeTotals[t.Alike]; steady && a != nil {
		return a, true
	}
	a = &alikeTotals{device: r.deviceAt(t.Device, t.First), verdict: t.Verdict}
	if t.Vendor != "" {
		a.place = r.place(placeKey{a.device, t.Vendor, t.Product, t.Purpose, t.Tier})
		a.nameless = r.name(a.place.vendor, "", t.First)
		a.nameless.devices[a.device.Device.Device] = true
	}
	if steady {
		if len(r.alikeTotals) >= maxAlikes {
			r.addAlikes()
		}
		r.alikeTotals[t.Alike] = a
		return a, true
	}
	if today := r.o.Today(t.Device, t.Last.Time); today != a.device.Device.Device {
		r.splits[a.device.Device.Device] = true
	}
	return a, false
}

// addAlikes adds all sums of totals that are alike.
func (r *reading) addAlikes() {
	for _, a := range r.alikeTotals {
		r.addAlike(a)
	}
	clear(r.alikeTotals)
}

// addAlike adds a sum of totals to those of the whole period.
func (r *reading) addAlike(a *alikeTotals) {
	d := a.device
	r.asked.add(a.verdict, a.sum)
	r.totals.Asked.add(a.sum)
	r.seen(d, "", a.first, &a.last)
	d.Asked.add(a.verdict, a.sum)
	if a.place == nil {
		return
	}
	r.totals.Listed.add(a.sum)
	r.addWhole(a.place, d, a.verdict, a.sum, a.first, a.last)
	n := a.nameless
	n.Counts.add(a.verdict, a.sum)
	n.First, n.Last = earlier(n.First, a.first), later(n.Last, a.last)
	a.place.vendor.mostNames = max(a.place.vendor.mostNames, a.mostNames)
}

// isImported reports whether lookups of an hour may be imported: totals do not say so.
func (r *reading) isImported(hour time.Time) bool {
	return slices.ContainsFunc(r.coverage.Imports, func(i querylog.ImportedLog) bool {
		return i.First.Before(hour.Add(time.Hour)) && !i.Last.Before(hour)
	})
}

// within returns the part of an hour that is in the period.
func (r *reading) within(hour time.Time) (from, until time.Time) {
	from, until = hour, hour.Add(time.Hour)
	if from.Before(r.since) {
		from = r.since
	}
	if until.After(r.until) {
		until = r.until
	}
	return from, until
}

// recordedOf returns for how long of an hour, as far as it is in the period, lookups were
// recorded here.
func (r *reading) recordedOf(hour time.Time) time.Duration {
	key := hour.Unix() / 3600
	recorded, known := r.recordedHours[key]
	if !known { // there are many totals of an hour, and may be many gaps
		recorded = r.coverage.RecordedIn(r.within(hour))
		r.recordedHours[key] = recorded
	}
	return recorded
}

// settleAlone finds for how long lookups were recorded, without the hours of which listed
// names are read from totals that may have imported lookups, too. Where rows have all that
// totals have, they say which are imported, and the hour counts.
func (r *reading) settleAlone(ctx context.Context, log Log, missing totalSums) error {
	r.alone = r.coverage.Recorded()
	if len(r.coverage.Imports) == 0 {
		return nil
	}
	slots, cells := make([]time.Duration, len(r.timeline.Slots)), make([]time.Duration, len(r.hours))
	for hour := r.since.Truncate(time.Hour); hour.Before(r.until); hour = hour.Add(time.Hour) {
		of := r.plan.source(true, hour)
		if of == fromRows || !r.isImported(hour) || r.recordedOf(hour) == 0 {
			continue
		}
		if of == fromBoth {
			if whole, err := r.rowsHave(ctx, log, missing, hour); err != nil || whole {
				if err != nil {
					return err
				}
				continue
			}
		}
		r.mixedHours[hour.Unix()/3600] = true
		r.alone -= r.recordedOf(hour)
		from, until := r.within(hour)
		for from.Before(until) { // hours of the zone may begin within it
			next := nextHour(from.In(r.o.Zone))
			if next.After(until) {
				next = until
			}
			recorded := r.coverage.RecordedIn(from, next)
			slots[r.timeline.at(from)] += recorded
			cells[cellOf(from.In(r.o.Zone))] += recorded
			from = next
		}
	}
	for i, left := range slots {
		r.timeline.Slots[i].Unrated = seconds(left)
	}
	for i, left := range cells {
		r.hours[i].Unrated = seconds(left)
	}
	return nil
}

// rowsHave reports whether rows of an hour have all lookups of listed names that totals have.
func (r *reading) rowsHave(ctx context.Context, log Log, totals totalSums, hour time.Time) (bool, error) {
	rest := totalSums{}
	for key, t := range totals {
		if key.hour == hour.Unix() && key.vendor != "" {
			one := *t
			rest[key] = &one
		}
	}
	f := r.sumFilter()
	f.Since, f.Until = hour, hour.Add(time.Hour)
	for s, err := range log.Sums(ctx, f) {
		if err != nil {
			return false, err
		}
		if s.Part != querylog.Named {
			rest.takeOff(&s.Row)
		}
	}
	for _, t := range rest {
		if t.Lookups > 0 {
			return false, nil
		}
	}
	return true, nil
}

// readDeleted adds what is known of rows that were deleted before there were totals:
// how many lookups each device made in an hour.
func (r *reading) readDeleted(ctx context.Context, log Log) error {
	return r.eachDeleted(ctx, log, r.addDeleted)
}

// eachDeleted calls each with what is left of such hours.
func (r *reading) eachDeleted(ctx context.Context, log Log, each func(*querylog.Hour)) error {
	if !r.plan.totals || !r.plan.others {
		return nil // they have no vendor, and no address
	}
	until, first := r.until, r.coverage.Totals.Time
	if !first.IsZero() && first.Before(until) {
		until = first
	}
	if !until.After(r.since) {
		return nil
	}
	hours, err := log.Hours(ctx, r.since, until)
	if err != nil {
		return err
	}
	w := &r.o.Whose
	for i := range hours {
		h := &hours[i]
		at := h.Hour.Time
		if at.Equal(first) {
			h.Lookups -= min(h.Lookups, r.began[h.Device])
		}
		if at.Before(r.until) && h.Lookups > 0 && (r.o.Device == "" || querylog.AnyHas(w.Devices, h.Device, at)) && !querylog.AnyHas(w.Without, h.Device, at) {
			each(h)
		}
	}
	return nil
}

// totalsCaveats say what is not known since totals were read, and why they were.
func (r *reading) totalsCaveats() (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	c := &r.coverage
	switch {
	case !r.plan.totals:
		return nil
	case r.plan.long:
		add("the period is longer than %d days, so it is read from hourly totals: names, who lists them, owners of other names, and how surely devices are known are not in them. A report of a shorter period has these", rowsUpTo/(24*time.Hour))
	case r.totals.Listed.Lookups > 0 && c.Listed.IsZero():
		add("no rows of listed names are kept: lookups are counted from hourly totals, without names, who lists them, and how surely the device is known")
	case r.totals.Listed.Lookups > 0:
		add("rows of listed names are kept since %s: earlier lookups are counted from hourly totals, without names, who lists them, and how surely the device is known", Short(c.Listed.Time, r.o.Zone))
	}
	begin := r.since
	if c.Begin.After(begin) {
		begin = c.Begin.Time
	}
	if from := c.Totals.Time; from.After(begin.Add(time.Hour)) && (c.Listed.IsZero() || c.Listed.After(from)) {
		add("hourly totals are kept since %s: earlier lookups whose rows are deleted are in no number", Short(from, r.o.Zone))
	}
	formats := map[string]bool{}
	for _, i := range c.Imports {
		formats[i.Format] = true
	}
	from := strings.Join(slices.Sorted(maps.Keys(formats)), ", ")
	if r.elsewhere > 0 {
		add("%s lookups that are counted from hourly totals are of hours in which nothing was recorded here: they were imported from the log of another server (%s). Rates leave them out, since for how long it recorded is not known, and what it did not keep is not known of them", Number(r.elsewhere), from)
	}
	if r.mixed > 0 {
		add("%s lookups that are counted from hourly totals are of hours in which lookups were recorded here and others imported from the log of another server (%s): totals do not tell them apart, and rates leave these hours out", Number(r.mixed), from)
	}
	if r.totals.Listed.Lookups == 0 {
		return all
	}
	for _, at := range []time.Time{r.since, r.until} {
		if _, offset := at.In(r.o.Zone).Zone(); offset%3600 != 0 {
			add("hours of the totals do not begin with those of the time zone: lookups may be shown up to half an hour or more from the day or hour in which they came")
			break
		}
	}
	var split []string
	for device := range r.splits {
		split = append(split, r.label(device))
	}
	if slices.Sort(split); len(split) > 0 {
		add("of %s another device was made within an hour that is read from totals: the lookups of that hour are shown as those of the device that made the first", strings.Join(split, ", "))
	}
	return all
}

// why is the word for why totals were read.
func (r *reading) why() string {
	switch {
	case r.plan.long:
		return "long"
	case r.totals.Asked.Lookups > 0:
		return "deleted"
	}
	return "none"
}
