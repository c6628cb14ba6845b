package experiment

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"telltale/devices"
	"telltale/querylog"
)

// A Log is what experiments are read from: *querylog.Reader.
type Log interface {
	Sums(ctx context.Context, f querylog.SumFilter) iter.Seq2[*querylog.Sum, error]
	Ledger(ctx context.Context, since, until time.Time) ([]querylog.Event, error)
	Coverage(ctx context.Context, since, until time.Time) (querylog.Coverage, error)
	Totals(ctx context.Context, f querylog.TotalsFilter) iter.Seq2[querylog.Total, error]
	Bindings(ctx context.Context) ([]devices.Binding, error)
}

// A phase is one as it was.
type phase struct {
	Phase
	number       int
	since, until time.Time
}

// phasesOf returns the phases of an experiment up to a time.
func phasesOf(e *Experiment, until time.Time) (all []phase) {
	if e.Started.IsZero() {
		return nil
	}
	since := e.Started.Time
	next := func(at time.Time) {
		all = append(all, phase{e.Plan.Phases[len(all)], len(all), since, at})
		since = at
	}
	for i := range e.Marks {
		if e.Marks[i].Next {
			next(e.Marks[i].At.Time)
		}
	}
	next(until)
	return all
}

// A block is a stretch of a phase in which attempts are counted.
type block struct {
	since, until time.Time
	condition    string
	phase        int
	at, stratum  int
	excluded     string // why it is not compared; "" for a good one
}

// blocksOf cuts phases into blocks. What is left at the end of a phase is no block.
func (r *reading) blocksOf() (all []block) {
	length := time.Duration(r.e.Plan.Block) * time.Second
	for i := range r.phases {
		p := &r.phases[i]
		at := p.since.Add(time.Duration(r.e.Plan.Settle) * time.Second)
		for ; !at.Add(length).After(p.until); at = at.Add(length) {
			b := block{since: at, until: at.Add(length), condition: p.Condition, phase: i, at: len(all) + 100*i} // phases are no neighbours
			switch r.e.Plan.Match {
			case ByHour:
				b.stratum = at.Add(length / 2).In(r.zone).Hour()
			case ByPair:
				b.stratum = i / 2
			}
			all = append(all, b)
		}
	}
	return all
}

// gapWords are why blocks with gaps are not compared.
var gapWords = map[querylog.Effect]string{
	querylog.Unrecorded: "not recorded", querylog.Incomplete: "lookups are missing", querylog.Unnamed: "lookups without their names",
	querylog.Undated: "the clock was set", querylog.Uncounted: "attempts were not counted", querylog.Removed: "rows were deleted",
}

// exclude marks the blocks that a gap touches, and returns what is to be said of gaps
// besides.
func (r *reading) exclude(gaps []querylog.Gap) {
	for i := range gaps {
		g := &gaps[i]
		why := gapWords[g.Effect]
		switch {
		case g.Effect == querylog.Unblocked && (g.Kind == "pause" || g.Kind == "observe"):
			if r.throughout(g) || !r.concerns(g.Subject) {
				continue
			}
			why = "blocking was paused"
			if g.Kind == "observe" {
				why = "nothing was blocked, to observe"
			}
		case g.Effect == querylog.Uncounted && r.unit == unitLookups:
			continue
		case why == "":
			continue
		}
		for j := range r.blocks {
			if b := &r.blocks[j]; b.excluded == "" && g.Since.Before(b.until) && g.Until.After(b.since) {
				b.excluded = why
			}
		}
	}
}

// throughout reports whether something held during the whole experiment: then it is the
// same in all phases.
func (r *reading) throughout(g *querylog.Gap) bool {
	return !g.Since.After(r.e.Started.Time) && !g.Until.Before(r.until)
}

// concerns reports whether a pause may have been of a device of the experiment. Of a group
// or a list nobody knows today.
func (r *reading) concerns(subject string) bool {
	of, name, _ := strings.Cut(subject, " ")
	switch of {
	case "device":
		return slices.ContainsFunc(r.devices, func(d *deviceReading) bool {
			return slices.ContainsFunc(d.words, func(w string) bool { return strings.EqualFold(w, name) })
		})
	case "vendor":
		return r.e.Plan.Vendor == "" || strings.EqualFold(r.e.Plan.Vendor, name)
	}
	return true
}

// exclude marks the blocks in which lookups of the device were not recorded by the settings:
// that it asked for nothing then is not known, whoever says that it was there.
func (d *deviceReading) exclude(r *reading, bindings []devices.Binding) {
	d.unrecorded = (&querylog.Filter{Devices: d.was}).NotLogged(bindings, r.e.Started.Time, r.until)
	for i := range d.unrecorded {
		for k := range r.blocks {
			if s, b := &d.unrecorded[i], &r.blocks[k]; s.Since.Before(b.until) && s.Until.After(b.since) {
				d.excluded[k] = "lookups of the device were not recorded (log: false)"
			}
		}
	}
}

// silence is how many hours without any lookup make a device one that was not there.
const silence = 3

// A counter is what was counted of one thing, by block.
type counter struct {
	what, vendor, purpose string
	counts, blocked       []float64
	seen                  map[string]bool // conditions in which it was seen at all, in blocks or not
	settled               map[string]bool // those in which it was seen later than what is left out at their beginnings
	names                 map[string]bool // of which it is
}

// A deviceReading is what is read of one device.
type deviceReading struct {
	Device
	planned Device   // as the plan has it
	words   []string // that it is known by
	was     []querylog.DeviceSpan
	there   map[int64]bool // hours since 1970 in which it asked for anything

	excluded   []string        // by block: why it is not compared of this device; "" for a good one
	unrecorded []querylog.Span // when lookups of it were not recorded, in order and apart

	total    *counter
	needed   []float64 // by block: attempts of total at names that the device needs (essential)
	purposes map[string]*counter
	products map[string]*counter
	names    map[string]*counter
}

func (d *deviceReading) counter(of map[string]*counter, key string, blocks int) *counter {
	c := of[key]
	if c == nil {
		c = &counter{what: key, counts: make([]float64, blocks), blocked: make([]float64, blocks), seen: map[string]bool{}, settled: map[string]bool{}, names: map[string]bool{}}
		of[key] = c
	}
	return c
}

const (
	unitAttempts = "attempts"
	unitLookups  = "lookups"
)

// keptNames bounds the names that are kept apart, whoever makes them up.
const keptNames = 5000

// read adds up what a device asked for.
func (r *reading) read(ctx context.Context, log Log, d *deviceReading) error {
	if len(r.blocks) == 0 {
		return nil
	}
	f := querylog.SumFilter{Since: r.e.Started.Time, Until: r.until, Devices: d.was, Vendor: r.e.Plan.Vendor, Rows: true}
	for s, err := range log.Sums(ctx, f) {
		if err != nil {
			return err
		}
		if row := &s.Row; row.Imported == "" && row.Vendor != "" && (row.Attribution == "rule" || row.Attribution == "list") && !r.isExcluded(row.Name, row.Alias) {
			r.add(d, row)
		}
	}
	return r.presence(ctx, log, d)
}

func (r *reading) isExcluded(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return name != "" && slices.ContainsFunc(r.e.Plan.Exclude, func(x string) bool { return name == x || strings.HasSuffix(name, "."+x) })
	})
}

func (r *reading) add(d *deviceReading, row *querylog.Row) {
	n := float64(row.Attempts)
	if r.unit == unitLookups {
		n = float64(row.Count)
	}
	condition, settled := r.conditionAt(row.Time.Time), false
	if last := row.Last.Add(-time.Duration(r.e.Plan.Settle) * time.Second); !last.Before(r.e.Started.Time) {
		settled = r.conditionAt(row.Last.Time) == condition && r.phaseAt(last) == r.phaseAt(row.Last.Time)
	}
	at := r.blockAt(row.Time.Time)
	name := row.Name
	if d.names[name] == nil && len(d.names) >= keptNames {
		name = ""
	}
	if at >= 0 && row.Tier == "essential" {
		d.needed[at] += n
	}
	product, named := d.counter(d.products, row.Vendor+"\n"+row.Product, len(r.blocks)), d.counter(d.names, name, len(r.blocks))
	product.what, product.vendor = row.Product, row.Vendor
	if name != "" {
		named.vendor, named.purpose = row.Vendor, row.Purpose
	}
	for _, c := range []*counter{d.total, d.counter(d.purposes, row.Purpose, len(r.blocks)), product, named} {
		c.seen[condition], c.names[name] = true, true
		c.settled[condition] = c.settled[condition] || settled
		if at < 0 {
			continue
		}
		c.counts[at] += n
		if row.Verdict == "block" {
			c.blocked[at] += n
		}
	}
}

// blockAt returns the block that a time is in; -1 for none.
func (r *reading) blockAt(at time.Time) int {
	i, found := slices.BinarySearchFunc(r.blocks, at, func(b block, t time.Time) int { return b.since.Compare(t) })
	if !found {
		i--
	}
	if i < 0 || !at.Before(r.blocks[i].until) {
		return -1
	}
	return i
}

func (r *reading) conditionAt(at time.Time) string {
	if i := r.phaseAt(at); i >= 0 {
		return r.phases[i].Condition
	}
	return ""
}

// phaseAt returns which phase a time is in; -1 for none.
func (r *reading) phaseAt(at time.Time) int {
	i := len(r.phases) - 1
	for i >= 0 && at.Before(r.phases[i].since) {
		i--
	}
	return i
}

// presence finds the blocks in which a device is not taken to have been there: those in a
// silence of three whole hours or more, of all names.
func (r *reading) presence(ctx context.Context, log Log, d *deviceReading) error {
	if r.e.Plan.Present == Always {
		return nil
	}
	f := querylog.TotalsFilter{Since: r.e.Started.Add(-silence * time.Hour), Until: r.until.Add(silence * time.Hour)}
	for i := range d.was {
		f.Devices = append(f.Devices, d.was[i].Device)
	}
	for t, err := range log.Totals(ctx, f) {
		if err != nil {
			return err
		}
		if t.Lookups > 0 && querylog.AnyHas(d.was, t.Device, t.First.Time) && !r.hasImports(t.Hour.Time) {
			d.there[t.Hour.Unix()/3600] = true
		}
	}
	for i := range r.imports { // totals do not tell the lookups apart that were imported
		f := querylog.SumFilter{Since: r.imports[i].First.Truncate(time.Hour), Until: r.imports[i].Last.Truncate(time.Hour).Add(time.Hour), Devices: d.was, Rows: true}
		if margin := r.e.Started.Add(-silence * time.Hour); f.Since.Before(margin) {
			f.Since = margin
		}
		if margin := r.until.Add(silence * time.Hour); f.Until.After(margin) {
			f.Until = margin
		}
		for s, err := range log.Sums(ctx, f) {
			if err != nil {
				return err
			}
			if s.Row.Imported == "" {
				d.there[s.Row.Time.Unix()/3600] = true
			}
		}
	}
	for i := range r.blocks {
		b := &r.blocks[i]
		first, last := b.since.Unix()/3600, b.until.Add(-time.Second).Unix()/3600
		absent := true
		for hour := first; hour <= last && absent; hour++ {
			absent = d.silentAt(hour)
		}
		if absent && d.excluded[i] == "" {
			d.excluded[i] = "the device asked for nothing at all for three hours or more"
		}
	}
	return nil
}

// hasImports reports whether an hour may have lookups that were imported.
func (r *reading) hasImports(hour time.Time) bool {
	return slices.ContainsFunc(r.imports, func(l querylog.ImportedLog) bool {
		return hour.Add(time.Hour).After(l.First.Time) && !hour.After(l.Last.Time)
	})
}

// silentAt reports whether an hour is in a silence of so many hours.
func (d *deviceReading) silentAt(hour int64) bool {
	run := int64(0)
	for h := hour; !d.there[h] && run < silence; h-- {
		run++
	}
	if run == 0 {
		return false
	}
	for h := hour + 1; !d.there[h] && run < silence; h++ {
		run++
	}
	return run >= silence
}
