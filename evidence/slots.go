package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"telltale/querylog"
	"telltale/sorting"
)

// A SlotLog is what slots are read from: *querylog.Reader.
type SlotLog interface {
	Log
	Top(ctx context.Context, what string, f querylog.Filter, n int) ([]querylog.TopRow, error)
}

// SlotOptions say what is counted by hours or days.
type SlotOptions struct {
	Options        // Compare, Program and Notes have no effect
	Of      string // devices, vendors, purposes or names
	Step    string // hour or day
	Name    string // of one name, as querylog.Filter has it
	Verdict string // of one verdict
}

// MostSlots is how many hours or days a period has at most that is counted by them.
const MostSlots = 5_000

// ErrManySlots means that a period has more.
var ErrManySlots = errors.New("the period is too long")

// A CountSlot is what was asked for in an hour or a day, the busiest line first.
type CountSlot struct {
	Since    querylog.Time `json:"since"`
	Until    querylog.Time `json:"until"`
	Recorded int64         `json:"recorded" doc:"Seconds in which lookups were recorded here."`
	Whole    bool          `json:"whole" doc:"No lookup is known to be missing: only then does what is not there mean that there was none."`
	Asked    *SlotLine     `json:"asked,omitempty" doc:"All lines together. Not there where nobody can say: nothing is recorded, and something may be missing."`
	Lines    []SlotLine    `json:"lines"`
}

// A SlotLine is what is counted of a device, a vendor, a purpose or a name in a slot.
type SlotLine struct {
	Key      string         `json:"key"`
	Label    string         `json:"label,omitempty" doc:"Of a device: what it is called today."`
	Count    uint64         `json:"count" doc:"Lookups."`
	Attempts uint64         `json:"attempts" doc:"That began; 0 also where they were not counted."`
	Blocked  uint64         `json:"blocked" doc:"Lookups that were blocked."`
	Unknown  uint64         `json:"unknown,omitempty" doc:"Lookups of which the log of another server did not say what was decided."`
	Tiers    querylog.Tiers `json:"tiers"`
	Imported uint64         `json:"imported,omitempty" doc:"Lookups whose rows say that another server recorded them."`
	Totals   uint64         `json:"totals,omitempty" doc:"Lookups that are read from hourly totals, since rows of them are deleted, or the period is long."`
	First    querylog.Time  `json:"first,omitzero"`
	Last     querylog.Time  `json:"last,omitzero"`
}

func (l *SlotLine) add(m *SlotLine) {
	if l.First.IsZero() {
		l.First = m.First
	}
	l.First, l.Last = earlier(l.First, m.First), later(l.Last, m.Last)
	l.Count += m.Count
	l.Attempts += m.Attempts
	l.Blocked += m.Blocked
	l.Unknown += m.Unknown
	l.Tiers.Telemetry += m.Tiers.Telemetry
	l.Tiers.Mixed += m.Tiers.Mixed
	l.Tiers.Essential += m.Tiers.Essential
	l.Imported += m.Imported
	l.Totals += m.Totals
}

// EachSlot calls each with the hours or days of a period, in their order, and returns what was recorded of the
// period. A row is in the slot of its first lookup, as it is in reports, so that the sum over slots is that of the period.
// Devices, vendors and purposes are read from hourly totals where a report reads them.
func EachSlot(ctx context.Context, log SlotLog, o SlotOptions, each func(*CountSlot) error) (Coverage, error) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Today == nil {
		o.Today, o.Changes = func(identity string, _ time.Time) string { return identity }, []time.Time{}
	}
	if n := int(o.Until.Sub(o.Since) / (time.Hour * time.Duration(map[string]int{"hour": 1, "day": 24}[o.Step]))); n > MostSlots {
		return Coverage{}, fmt.Errorf("%w: the period has about %s %ss, and at most %s are counted one by one; choose a shorter one", ErrManySlots, Number(uint64(n)), o.Step, Number(MostSlots))
	}
	r, err := newReading(ctx, log, &o.Options, o.Since, o.Until)
	if err != nil {
		return Coverage{}, err
	}
	c := slotCounter{r: r, o: &o, times: slotsOf(o.Since, o.Until, o.Zone, o.Step, &r.coverage)}
	if o.Of == "names" || o.Name != "" || !r.plan.totals {
		err = c.eachOfRows(ctx, log, each)
	} else {
		err = c.eachOfSums(ctx, log, each)
	}
	return r.coverageOf(), err
}

// A slotCounter counts by slots.
type slotCounter struct {
	r     *reading
	o     *SlotOptions
	times Timeline
	lines []map[string]*SlotLine // by slot, then by key
}

// eachOfRows reads rows alone, one slot after the other: a period has any number of names.
func (c *slotCounter) eachOfRows(ctx context.Context, log SlotLog, each func(*CountSlot) error) error {
	f := c.o.Whose
	f.Name, f.Vendor, f.Verdict, f.ByFirst = c.o.Name, c.o.Vendor, c.o.Verdict, true
	for i := range c.times.Slots {
		f.Since, f.Until = c.times.Slots[i].Since.Time, c.times.Slots[i].Until.Time
		lines := map[string]*SlotLine{}
		err := c.topOfRows(ctx, log, f, func(t *querylog.TopRow) {
			sum(lines, c.key(t.Key, t.First.Time)).add(&SlotLine{
				Count: t.Count, Attempts: t.Attempts, Blocked: t.Blocked, Unknown: t.Unknown, Tiers: t.Tiers, Imported: t.Imported, First: t.First, Last: t.Last,
			})
		})
		if err == nil {
			err = each(c.slot(i, lines))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// topOfRows calls each with what rows of a slot are counted by. Identities that become another device within the slot are counted in its parts.
func (c *slotCounter) topOfRows(ctx context.Context, log SlotLog, f querylog.Filter, each func(*querylog.TopRow)) error {
	at, end := f.Since, f.Until
	var ends []time.Time
	if c.o.Of == "devices" {
		for _, change := range c.o.Changes {
			if change.After(at) && change.Before(end) {
				ends = append(ends, change)
			}
		}
		sorting.By(ends, func(a, b time.Time) int { return a.Compare(b) })
	}
	for _, until := range append(ends, end) {
		f.Since, f.Until = at, until
		rows, err := log.Top(ctx, c.o.Of, f, 0)
		if err != nil {
			return err
		}
		for i := range rows {
			each(&rows[i])
		}
		at = until
	}
	return nil
}

// key is under which key something is counted: a device under its identity of today.
func (c *slotCounter) key(key string, at time.Time) string {
	if c.o.Of == "devices" {
		return c.o.Today(key, at)
	}
	return key
}

// eachOfSums reads what a report of the period reads.
func (c *slotCounter) eachOfSums(ctx context.Context, log Log, each func(*CountSlot) error) error {
	c.lines = make([]map[string]*SlotLine, len(c.times.Slots))
	for i := range c.lines {
		c.lines[i] = map[string]*SlotLine{}
	}
	missing := totalSums{}
	err := c.r.eachTotal(ctx, log, missing, c.addTotal)
	if err != nil {
		return err
	}
	f := c.r.sumFilter()
	for _, span := range c.r.plan.rows {
		f.Since, f.Until = span.since, span.until
		for s, err := range log.Sums(ctx, f) {
			if err != nil {
				return err
			}
			if s.Part != querylog.Named { // whose lookups are told by the hour as well
				c.addSum(s, missing)
			}
		}
	}
	for _, t := range missing {
		if t.Lookups > 0 {
			c.addTotal(t)
		}
	}
	if c.o.Of == "devices" && c.o.Verdict == "" {
		if err := c.r.eachDeleted(ctx, log, c.addDeleted); err != nil {
			return err
		}
	}
	for i, lines := range c.lines {
		c.lines[i] = nil
		if err := each(c.slot(i, lines)); err != nil {
			return err
		}
	}
	return nil
}

func (c *slotCounter) addSum(s *querylog.Sum, missing totalSums) {
	row := &s.Row
	listed := isListed(row)
	switch c.r.plan.source(listed, row.Time.Time) {
	case fromTotals:
		return
	case fromBoth:
		missing.takeOff(row)
	}
	one := SlotLine{Count: row.Count, Attempts: uint64(row.Attempts), First: row.Time, Last: row.Last}
	if row.Imported != "" {
		one.Imported = row.Count
	}
	tier := row.Tier
	if row.Attribution == "owner" {
		tier = ""
	}
	c.add(row.Device, listed, row.Vendor, row.Purpose, tier, row.Verdict, &one)
}

func (c *slotCounter) addTotal(t *querylog.Total) {
	one := SlotLine{Count: t.Lookups, Attempts: t.Attempts, Totals: t.Lookups, First: t.First, Last: t.Last}
	if t.Vendor == "" && t.Hour.Equal(c.r.coverage.Totals.Time) {
		c.r.began[t.Device] += t.Lookups
	}
	c.add(t.Device, t.Vendor != "", t.Vendor, t.Purpose, t.Tier, t.Verdict, &one)
}

// addDeleted adds what is left of an hour of rows that were deleted before there were totals: of no name, verdict or attempt.
func (c *slotCounter) addDeleted(h *querylog.Hour) {
	at := h.Hour
	if at.Before(c.r.since) {
		at = querylog.Time{Time: c.r.since}
	}
	c.add(h.Device, false, "", "", "", "", &SlotLine{Count: h.Lookups, Totals: h.Lookups, First: at, Last: at})
}

// add adds lookups to the line of their slot.
func (c *slotCounter) add(device string, listed bool, vendor, purpose, tier, verdict string, one *SlotLine) {
	if c.o.Verdict != "" && verdict != c.o.Verdict {
		return
	}
	var key string
	switch {
	case c.o.Of == "devices":
		key = c.key(device, one.First.Time)
	case !listed:
		return
	case c.o.Of == "vendors":
		key = vendor
	default:
		key = purpose
	}
	switch verdict {
	case "block":
		one.Blocked = one.Count
	case "unknown":
		one.Unknown = one.Count
	}
	switch tier {
	case "telemetry":
		one.Tiers.Telemetry = one.Count
	case "mixed":
		one.Tiers.Mixed = one.Count
	case "essential":
		one.Tiers.Essential = one.Count
	}
	sum(c.lines[c.times.at(one.First.Time)], key).add(one)
}

// slot returns a slot with its lines.
func (c *slotCounter) slot(i int, lines map[string]*SlotLine) *CountSlot {
	of := &c.times.Slots[i]
	s := &CountSlot{Since: of.Since, Until: of.Until, Recorded: of.Recorded, Whole: c.isWhole(of.Since.Time, of.Until.Time), Lines: make([]SlotLine, 0, len(lines))}
	var all SlotLine
	for key, line := range lines {
		if line.Key = key; c.o.Of == "devices" && c.o.Options.Name != nil {
			line.Label = c.o.Options.Name(key)
		}
		s.Lines = append(s.Lines, *line)
		all.add(line)
	}
	sorting.By(s.Lines, func(a, b SlotLine) int {
		attempts := cmp.Compare(b.Attempts, a.Attempts)
		if c.r.unit != UnitAttempts {
			attempts = 0
		}
		return cmp.Or(attempts, cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	if s.Whole || len(lines) > 0 {
		s.Asked = &all
	}
	return s
}

// isWhole reports whether nothing is known to be missing between two times of what is counted.
func (c *slotCounter) isWhole(since, until time.Time) bool {
	if !c.r.coverage.IsWhole(since, until) {
		return false
	}
	if slices.ContainsFunc(c.r.notLogged, func(s querylog.Span) bool { return s.Since.Before(until) && s.Until.After(since) }) {
		return false
	}
	byName := c.o.Of == "names" || c.o.Name != ""
	ofRows := byName || c.o.Of == "devices" && !c.r.plan.totals
	if unlisted := c.r.coverage.Unlisted; ofRows && c.o.Vendor == "" && (unlisted.IsZero() || unlisted.After(since)) {
		return false // rows of other names are deleted
	}
	return !slices.ContainsFunc(c.r.coverage.Gaps, func(g querylog.Gap) bool {
		if !g.Since.Before(until) || !g.Until.After(since) {
			return false
		}
		switch g.Effect {
		case querylog.Undated:
			return true
		case querylog.Unnamed:
			return c.o.Of != "devices" || byName
		case querylog.Removed:
			return byName || !c.r.plan.totals
		case querylog.Unbound:
			return c.o.Of == "devices" || c.o.Device != ""
		}
		return false
	})
}
