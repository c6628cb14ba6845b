package rhythm

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"telltale/devices"
	"telltale/querylog"
	"telltale/sorting"
)

// A Log is what rhythms are read from: *querylog.Reader.
type Log interface {
	Begun(ctx context.Context, f querylog.Filter, listed bool) iter.Seq2[*querylog.Row, error]
	Coverage(ctx context.Context, since, until time.Time) (querylog.Coverage, error)
	Totals(ctx context.Context, f querylog.TotalsFilter) iter.Seq2[querylog.Total, error]
	Bindings(ctx context.Context) ([]devices.Binding, error)
}

// Options say whose rhythms are wanted, and of which time.
type Options struct {
	Since, Until time.Time
	Zone         *time.Location // of nights; nil for UTC
	ZoneName     string         // as shown

	Whose    querylog.Filter // chooses rows by Device, Devices and Without alone
	Vendor   string          // of one vendor's names; "" for all
	Unlisted bool            // also of names that no list has, as long as their rows are kept

	// Today returns which device it is today that had an identity at a time, Was all that
	// one of today was, and Name what it is called. Nil: the same.
	Today func(identity string, at time.Time) string
	Was   func(device string) []querylog.DeviceSpan
	Name  func(device string) string
}

// Findings are the rhythms of a period.
type Findings struct {
	Since    querylog.Time `json:"since"`
	Until    querylog.Time `json:"until"`
	Zone     string        `json:"zone"`     // of nights
	Length   int64         `json:"length"`   // seconds
	Recorded int64         `json:"recorded"` // seconds in which a server recorded lookups, of one device those of it
	Gap      float64       `json:"gap"`      // seconds of silence that end an attempt
	Rhythms  []Rhythm      `json:"rhythms"`  // by device, those with a rhythm first
	Caveats  []string      `json:"caveats"`

	NotLogged map[string][]querylog.Span `json:"-"` // by device, when the settings kept its lookups out of the log
}

const (
	stripParts = 120
	maxSeries  = 20_000 // names of devices
	hour       = 3600   // seconds
)

// A reading is what was read of a log.
type reading struct {
	o        *Options
	coverage querylog.Coverage
	since    int64 // Unix milliseconds from when on attempts are counted
	gap      time.Duration

	series   map[seriesKey]*series
	rules    map[seriesKey][]*series
	devices  map[string]*device
	first    int64     // hour since 1970 of the beginning
	observed *observed // of devices of which all was logged

	notLogged map[string][]querylog.Span // by device, when its lookups were kept out of the log

	left, imported uint64 // attempts
}

type span struct{ since, until int64 } // Unix milliseconds

// Observed is when a device was observed.
type observed struct {
	missing  []span // in which attempts may be missing or misdated, in order
	recorded []bool // hours from the first one on, whether all but minutes of them was recorded
	known    []bool // hours of those in which totals have no imported lookups
}

type seriesKey struct {
	device, name string // name is "" of a rule
	list         string
	line         int
}

// A series is the attempts at a name.
type series struct {
	Rhythm
	key    seriesKey
	listed bool
	list   string        // that has it, by its last row
	more   map[int64]int // by time, how many attempts more than one began in the row; nil for nowhere
}

// A device is what is known of when it asked anything.
type device struct {
	*observed
	present []bool    // hours
	others  []float64 // lookups of names of no vendor in an hour
	inUse   []bool
	series  []*series // of names
	starts  []start
}

// A start is the first attempt after hours of silence, and the first one at another name.
type start struct {
	at, second int64 // second is 0 for none
	first      *series
}

// Make reads a log and says which rhythms it shows.
func Make(ctx context.Context, log Log, o Options) (*Findings, error) {
	r, err := read(ctx, log, &o)
	if err != nil {
		return nil, err
	}
	f := &Findings{
		Since: querylog.Time{Time: o.Since}, Until: querylog.Time{Time: o.Until}, Zone: o.ZoneName, Length: int64(r.coverage.Length().Seconds()),
		Recorded: int64(r.coverage.Recorded().Seconds()), Gap: r.gap.Seconds(), Rhythms: []Rhythm{}, Caveats: []string{}, NotLogged: r.notLogged,
	}
	for _, s := range r.all() {
		r.find(s)
		f.Rhythms = append(f.Rhythms, s.Rhythm)
	}
	sorting.By(f.Rhythms, func(a, b Rhythm) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.Device, b.Device), cmp.Compare(slices.Index(Kinds, a.Kind), slices.Index(Kinds, b.Kind)),
			cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Listed, b.Listed))
	})
	f.Caveats = append(f.Caveats, r.caveats()...)
	return f, nil
}

func read(ctx context.Context, log Log, o *Options) (*reading, error) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Today == nil {
		o.Today = func(identity string, _ time.Time) string { return identity }
	}
	if o.Was == nil {
		o.Was = func(device string) []querylog.DeviceSpan { return []querylog.DeviceSpan{{Device: device}} }
	}
	if o.Name == nil {
		o.Name = func(device string) string { return device }
	}
	c, err := log.Coverage(ctx, o.Since, o.Until)
	if err != nil {
		return nil, err
	}
	r := &reading{o: o, coverage: c, gap: c.AttemptGap, since: o.Since.UnixMilli(), series: map[seriesKey]*series{}, rules: map[seriesKey][]*series{}, devices: map[string]*device{}}
	if c.AttemptsSince.After(o.Since) {
		r.since = c.AttemptsSince.UnixMilli()
	}
	r.first = o.Since.Unix() / hour
	if err := r.findNotLogged(ctx, log); err != nil {
		return nil, err
	}
	r.observed = r.observedOf(&r.coverage)
	if err := r.readRows(ctx, log); err != nil {
		return nil, err
	}
	return r, r.readHours(ctx, log)
}

// findNotLogged finds when the settings kept lookups of the devices that are wanted out of
// the log. Where one alone is wanted, that was not recorded.
func (r *reading) findNotLogged(ctx context.Context, log Log) error {
	bindings, err := log.Bindings(ctx)
	if err != nil {
		return err
	}
	bindings = slices.DeleteFunc(slices.Clone(bindings), func(b devices.Binding) bool { return !b.NoLog })
	whose, one := &r.o.Whose, len(r.o.Whose.Devices) > 0
	r.notLogged = map[string][]querylog.Span{}
	of := func(identity string, at time.Time) {
		today := r.o.Today(identity, at)
		one = one && today == r.o.Today(whose.Devices[0].Device, whose.Devices[0].From)
		if _, ok := r.notLogged[today]; !ok {
			r.notLogged[today] = (&querylog.Filter{Devices: r.o.Was(today)}).NotLogged(bindings, r.o.Since, r.o.Until)
		}
	}
	if whose.Device != "" { // an address
		one = true
		r.notLogged[whose.Device] = whose.NotLogged(bindings, r.o.Since, r.o.Until)
	}
	for _, d := range whose.Devices {
		of(d.Device, d.From)
	}
	for i := range bindings {
		if len(whose.Devices) > 0 || whose.Device != "" {
			break
		}
		b := &bindings[i]
		until := b.Until
		if until.IsZero() {
			until = r.o.Until
		}
		for _, at := range []time.Time{b.From, until} { // a person may have said since which device it was from some time on
			if !querylog.AnyHas(whose.Without, b.Device, at) {
				of(b.Device, at)
			}
		}
	}
	maps.DeleteFunc(r.notLogged, func(_ string, spans []querylog.Span) bool { return len(spans) == 0 })
	if one {
		for _, spans := range r.notLogged {
			r.coverage.AddNotLogged(spans)
		}
	}
	return nil
}

// observedOf finds where intervals cannot be measured, and which hours were recorded.
func (r *reading) observedOf(c *querylog.Coverage) *observed {
	o := &observed{}
	for _, g := range c.Gaps {
		if g.Effect != querylog.Unblocked && g.Effect != querylog.Unbound {
			o.missing = append(o.missing, span{g.Since.UnixMilli(), g.Until.UnixMilli()})
		}
	}
	sorting.By(o.missing, func(a, b span) int { return cmp.Compare(a.since, b.since) })
	kept := o.missing[:0]
	for _, m := range o.missing {
		if n := len(kept); n > 0 && m.since <= kept[n-1].until {
			kept[n-1].until = max(kept[n-1].until, m.until)
		} else {
			kept = append(kept, m)
		}
	}
	o.missing = kept
	end := (r.o.Until.Unix() + hour - 1) / hour
	o.recorded = make([]bool, max(end-r.first, 0))
	at := 0
	for i := range o.recorded {
		since, until := (r.first+int64(i))*hour*1000, (r.first+int64(i)+1)*hour*1000
		missing := int64(0)
		for at < len(o.missing) && o.missing[at].until < since {
			at++
		}
		for _, m := range o.missing[at:] {
			if m.since >= until {
				break
			}
			missing += min(m.until, until) - max(m.since, since)
		}
		o.recorded[i] = missing < hour*1000/10 && since >= r.since-hour*1000
	}
	o.known = slices.Clone(o.recorded)
	for _, l := range c.Imports { // totals do not tell the lookups apart that were imported
		for i := max(l.First.Unix()/hour-r.first, 0); i < min(l.Last.Unix()/hour+1-r.first, int64(len(o.known))); i++ {
			o.known[i] = false
		}
	}
	return o
}

// readRows reads when attempts begin.
func (r *reading) readRows(ctx context.Context, log Log) error {
	f := r.o.Whose
	f.Since, f.Until, f.Vendor = r.o.Since, r.o.Until, r.o.Vendor
	for row, err := range log.Begun(ctx, f, !r.o.Unlisted) {
		if err != nil {
			return err
		}
		at := row.Time.UnixMilli()
		if row.Time.Before(r.o.Since) || !row.Time.Before(r.o.Until) || row.Name == "" {
			continue
		}
		if row.Imported != "" { // also from before attempts were counted here
			r.imported += uint64(row.Attempts)
			continue
		}
		if at < r.since {
			continue
		}
		r.add(row, at)
	}
	return nil
}

func (r *reading) add(row *querylog.Row, at int64) {
	listed := row.Vendor != "" && (row.Attribution == "rule" || row.Attribution == "list")
	if r.o.Vendor != "" && !listed {
		return
	}
	key := seriesKey{device: r.o.Today(row.Device, row.Time.Time), name: row.Name}
	s := r.series[key]
	if s == nil {
		if len(r.series) >= maxSeries {
			r.left += uint64(row.Attempts)
			return
		}
		key.name = strings.Clone(key.name)
		s = &series{key: key, Rhythm: Rhythm{Device: key.device, Label: r.o.Name(key.device), Name: key.name, Names: 1}}
		r.series[key] = s
		d := r.device(key.device)
		d.series = append(d.series, s)
	}
	if listed { // what its last row says
		s.listed = true
		s.Vendor, s.Product, s.Purpose, s.Tier, s.Listed = row.Vendor, row.Product, row.Purpose, row.Tier, row.AttributionList
		s.list = row.AttributionList
		if row.AttributionLine > 0 {
			s.Listed = fmt.Sprintf("%s:%d", row.AttributionList, row.AttributionLine)
		}
		if row.Attribution == "rule" {
			s.key.list, s.key.line = row.AttributionList, row.AttributionLine
		}
	}
	s.TTL, s.Here = max(s.TTL, row.TTL), s.Here || row.Verdict == "answer"
	s.times = append(s.times, at)
	if row.Attempts > 1 {
		if s.more == nil {
			s.more = map[int64]int{}
		}
		s.more[at] += int(row.Attempts) - 1
	}
}

// attempts returns how many began in the row of a time, or in rows of the same time.
func (s *series) attempts(i int) int {
	if i > 0 && s.times[i-1] == s.times[i] {
		return 1
	}
	return 1 + s.more[s.times[i]]
}

func (r *reading) device(today string) *device {
	d := r.devices[today]
	if d == nil {
		hours := len(r.observed.recorded)
		d = &device{observed: r.observed, present: make([]bool, hours), others: make([]float64, hours), inUse: make([]bool, hours)}
		spans := r.notLogged[today]
		if r.o.Whose.Device != "" { // an address, whoever had it
			spans = r.notLogged[r.o.Whose.Device]
		}
		if len(spans) > 0 {
			c := r.coverage
			c.AddNotLogged(spans)
			d.observed = r.observedOf(&c)
		}
		r.devices[today] = d
	}
	return d
}

// readHours reads in which hours devices asked, and whether for names of no vendor.
func (r *reading) readHours(ctx context.Context, log Log) error {
	f := querylog.TotalsFilter{Since: r.o.Since, Until: r.o.Until}
	for _, d := range r.o.Whose.Devices {
		f.Devices = append(f.Devices, d.Device)
	}
	for t, err := range log.Totals(ctx, f) {
		if err != nil {
			return err
		}
		d := r.devices[r.o.Today(t.Device, t.Hour.Time)]
		i := t.Hour.Unix()/hour - r.first
		if d == nil || i < 0 || i >= int64(len(d.recorded)) || d.recorded[i] && !d.known[i] {
			continue
		}
		d.present[i] = true
		if t.Vendor == "" {
			d.others[i] += float64(t.Lookups)
		}
	}
	for _, s := range r.series {
		slices.Sort(s.times)
	}
	for _, d := range r.devices {
		r.findUse(d)
		r.findStarts(d)
	}
	return nil
}

// findUse says in which hours a device is used: it asks for names of no vendor at least a
// quarter as often as in the mean.
func (r *reading) findUse(d *device) {
	sum, n := 0.0, 0.0
	for i, v := range d.others {
		if d.known[i] {
			sum += v
			n++
		}
	}
	for i, v := range d.others {
		d.inUse[i] = d.known[i] && v > 0 && v >= sum/n/4
	}
}

// findStarts finds when a device began to ask after whole hours, recorded ones, in which
// it asked nothing.
func (r *reading) findStarts(d *device) {
	of := map[int64]*start{}
	for i := bootSilent; i < len(d.present); i++ {
		silent := d.present[i] && d.known[i]
		for k := 1; k <= bootSilent; k++ {
			silent = silent && !d.present[i-k] && d.known[i-k]
		}
		if silent {
			of[r.first+int64(i)] = &start{}
		}
	}
	if len(of) < leastBoots {
		return
	}
	slices.SortFunc(d.series, func(a, b *series) int { return cmp.Compare(a.Name, b.Name) }) // for one result
	for _, s := range d.series {
		before := int64(-1)
		for _, at := range s.times {
			h := at / 1000 / hour
			st := of[h]
			if st == nil || h == before { // its first one alone
				continue
			}
			before = h
			switch {
			case st.first == nil || at < st.at:
				st.second, st.at, st.first = st.at, at, s
			case st.second == 0 || at < st.second:
				st.second = at
			}
		}
	}
	for _, st := range of {
		if st.second != 0 {
			d.starts = append(d.starts, *st)
		}
	}
}

// all returns the series of which rhythms are said: of listed names unless others are
// wanted, and of rules that several names of a device are under.
func (r *reading) all() (out []*series) {
	for _, s := range r.series {
		if !s.listed && !r.o.Unlisted {
			continue
		}
		out = append(out, s)
		if s.key.list != "" {
			key := seriesKey{device: s.key.device, list: s.key.list, line: s.key.line}
			r.rules[key] = append(r.rules[key], s)
		}
	}
	for key, of := range r.rules {
		if len(of) < 2 {
			continue
		}
		slices.SortFunc(of, func(a, b *series) int { return cmp.Compare(a.Name, b.Name) })
		rule := &series{key: key, Rhythm: of[0].Rhythm, listed: true}
		rule.Names, rule.Name, rule.times, rule.more = len(of), commonDomain(of), nil, map[int64]int{}
		var times []int64
		for _, s := range of {
			times = append(times, s.times...)
			rule.TTL, rule.Here = max(rule.TTL, s.TTL), rule.Here || s.Here
			for at, n := range s.more {
				rule.more[at] = max(rule.more[at], n)
			}
		}
		slices.Sort(times)
		for _, at := range times { // attempts at several names at once are one
			if n := len(rule.times); n == 0 || at-rule.times[n-1] >= r.gap.Milliseconds() {
				rule.times = append(rule.times, at)
			}
		}
		out = append(out, rule)
	}
	return out
}

// commonDomain is the domain that names have in common, with a star.
func commonDomain(of []*series) string {
	labels := strings.Split(of[0].Name, ".")
	n := len(labels)
	for _, s := range of[1:] {
		other := strings.Split(s.Name, ".")
		same := 0
		for same < n && same < len(other) && labels[len(labels)-1-same] == other[len(other)-1-same] {
			same++
		}
		n = same
	}
	return "*." + strings.Join(labels[len(labels)-n:], ".")
}

// find says of a series which rhythm it has.
func (r *reading) find(s *series) {
	for i := range s.times {
		s.Attempts += uint64(s.attempts(i))
	}
	s.First, s.Last = r.time(s.times[0]), r.time(s.times[len(s.times)-1])
	s.Strip = r.strip(s)
	s.Beat = findBeat(r.devices[s.Device].intervals(s.times), r.gap.Seconds())
	s.ours(r.gap)
	if len(s.times) >= leastNights {
		s.Nights = r.findNights(s)
	}
	d, often := r.devices[s.Device], len(s.times) >= leastSaid && s.Nights == nil
	if often && s.Names == 1 && (s.Beat == nil || s.Beat.Period >= daily) { // a device may be switched on day by day
		s.Boots = d.findBoots(s)
	}
	if often && s.Beat == nil && s.Boots == nil {
		s.Use = r.findUseOf(d, s.times)
	}
	s.decide()
	s.times = nil
}

func (r *reading) time(ms int64) querylog.Time {
	return querylog.Time{Time: time.UnixMilli(ms)}
}

// intervals returns the seconds between attempts between which nothing is missing.
func (d *device) intervals(times []int64) []float64 {
	out := make([]float64, 0, len(times))
	at := 0
	for i := 1; i < len(times); i++ {
		for at < len(d.missing) && d.missing[at].until < times[i-1] {
			at++
		}
		if at < len(d.missing) && d.missing[at].since <= times[i] {
			continue
		}
		out = append(out, float64(times[i]-times[i-1])/1000)
	}
	return out
}

// strip counts attempts in parts of the period.
func (r *reading) strip(s *series) []int {
	d := r.devices[s.Device]
	out := make([]int, stripParts)
	since, until := r.o.Since.UnixMilli(), r.o.Until.UnixMilli()
	length := max(until-since, 1)
	part := func(i int) int64 { return since + int64(i)*length/stripParts }
	at := 0
	for i := range out {
		for at < len(d.missing) && d.missing[at].until < part(i+1) {
			at++
		}
		if at < len(d.missing) && d.missing[at].since <= part(i) || part(i+1) <= r.since {
			out[i] = -1
		}
	}
	for k, t := range s.times {
		i := min(int((t-since)*stripParts/length), stripParts-1)
		out[i] = max(out[i], 0) + s.attempts(k)
	}
	return out
}

// findNights looks for the hour between midnight and six o'clock in which most attempts
// of all are, night after night.
func (r *reading) findNights(s *series) *Nights {
	if s.Beat != nil && s.Beat.Period < daily {
		return nil
	}
	type event struct {
		second int // of the day
		night  int // days since 1970
		n      int // attempts
	}
	var events []event
	dayOf := func(t time.Time) int {
		y, m, d := t.Date()
		return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / (24 * hour))
	}
	for i, ms := range s.times {
		t := time.UnixMilli(ms).In(r.o.Zone)
		if t.Hour() < night {
			events = append(events, event{t.Hour()*hour + t.Minute()*60 + t.Second(), dayOf(t), s.attempts(i)})
		}
	}
	if len(events) < leastNights || 10*len(events) < 7*len(s.times) {
		return nil
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.second, b.second) })
	low, high := 0, 0
	for from, to := 0, 0; from < len(events); from++ {
		for to < len(events) && events[to].second-events[from].second <= int(inNight.Seconds()) {
			to++
		}
		if to-from > high-low {
			low, high = from, to
		}
	}
	per := map[int]uint64{}
	n := &Nights{}
	for _, e := range events[low:high] {
		per[e.night] += uint64(e.n)
		n.Most = max(n.Most, per[e.night])
	}
	n.With = len(per)
	d := r.devices[s.Device]
	clock := func(second int) string { return fmt.Sprintf("%02d:%02d", second/hour, second/60%60) }
	n.Since, n.Until = clock(events[low].second), clock(events[high-1].second)
	year, month, day := r.o.Since.In(r.o.Zone).Date()
	for begin := time.Date(year, month, day, 0, 0, 0, 0, r.o.Zone); begin.Before(r.o.Until); begin = begin.AddDate(0, 0, 1) { // also the last day, of which there may be the night alone
		middle := begin.Add(time.Duration(events[low].second) * time.Second)
		if i := middle.Unix()/hour - r.first; i >= 0 && i < int64(len(d.recorded)) && d.recorded[i] && middle.Before(r.o.Until) && !middle.Before(r.o.Since) {
			n.Of++
		} else if per[dayOf(begin)] > 0 {
			n.Of++ // the hour was recorded in part, and has it
		}
	}
	if n.With < leastNights || 10*n.With < 6*n.Of || 10*(high-low) < 7*len(s.times) {
		return nil
	}
	return n
}

// findBoots says at how many starts of a device a name was asked for within a minute of
// the first other one; nil where that may be chance, or is a lesser part of all.
func (d *device) findBoots(s *series) *Boots {
	b := &Boots{}
	for i := range d.starts {
		st := &d.starts[i]
		at := st.at
		if st.first == s {
			at = st.second
		}
		b.Of++
		k, _ := slices.BinarySearch(s.times, at-bootWithin.Milliseconds())
		if k < len(s.times) && s.times[k] <= at+bootWithin.Milliseconds() {
			b.With++
		}
	}
	present := 0
	for _, p := range d.present {
		if p {
			present++
		}
	}
	if b.With < leastBoots || 2*b.With < b.Of || 3*b.With < len(s.times) {
		return nil
	}
	chance := 1 - math.Exp(-float64(len(s.times))*2*bootWithin.Seconds()/(float64(present)*hour))
	if atLeast(b.With, b.Of, chance) > 1e-4 {
		return nil
	}
	return b
}

// findUseOf says how many attempts are in hours in which the device is used; nil where that
// may be chance, or the device is used nearly always.
func (r *reading) findUseOf(d *device, times []int64) *Use {
	low, high := times[0]/1000/hour-r.first, times[len(times)-1]/1000/hour-r.first
	hours, used := 0, 0
	for i := low; i <= high; i++ {
		if d.known[i] {
			hours++
			if d.inUse[i] {
				used++
			}
		}
	}
	n, in := 0, 0
	for _, at := range times {
		if i := at/1000/hour - r.first; d.known[i] {
			n++
			if d.inUse[i] {
				in++
			}
		}
	}
	if n < leastSaid || hours == 0 {
		return nil
	}
	u := &Use{Share: float64(in) / float64(n), Hours: float64(used) / float64(hours)}
	if u.Share < leastUse || u.Hours > mostHours || atLeast(in, n, u.Hours) > 1e-3 {
		return nil
	}
	return u
}

// atLeast is the chance of k or more of n where each has the chance p.
func atLeast(k, n int, p float64) float64 {
	if p <= 0 || p >= 1 {
		return max(0, min(1, math.Ceil(p)))
	}
	logOf := func(n int) float64 { v, _ := math.Lgamma(float64(n) + 1); return v }
	sum := 0.0
	for i := k; i <= n; i++ {
		sum += math.Exp(logOf(n) - logOf(i) - logOf(n-i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(1, sum)
}

func (r *reading) caveats() (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch since := r.coverage.AttemptsSince; {
	case since.IsZero():
		add("attempts were not counted in this period, so no rhythm can be found")
	case since.After(r.o.Since.Add(time.Minute)):
		add("attempts are counted since %s: what came before is left out", since.In(r.o.Zone).Format("Mon 2 Jan 15:04"))
	}
	for _, who := range slices.Sorted(maps.Keys(r.notLogged)) {
		add("%s", querylog.NotLoggedText(r.o.Name(who), r.notLogged[who], r.o.Until, r.o.Zone))
	}
	if r.imported > 0 {
		add("%d attempts were imported from the log of another server and are left out, since for how long it recorded is not known", r.imported)
	}
	if !slices.Equal(r.observed.known, r.observed.recorded) {
		add("in hours of which lookups were imported no starts of a device are looked for, nor whether it is used: what it asked of this server alone is not known by the hour")
	}
	if r.left > 0 {
		add("there were more than %d names of devices: %d attempts at further ones are left out", maxSeries, r.left)
	}
	if r.o.Unlisted {
		add("rows of names that no list has are kept for a day unless the settings say otherwise, or discovery is on for the device: their rhythm is that of the time of which there are rows")
	}
	return append(all,
		"times are those at which attempts begin, exact to a window of the log (10 to 60 s): attempts that begin in one window have one time; what asks more often than once in twice the attempt gap, without a pause, is one attempt",
		"a rhythm says when a device asks, and not why: a clock, a queue and a person with habits can look alike")
}
