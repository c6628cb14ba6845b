package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"telltale/querylog"
)

// topKeys are what Top counts by: the key, what it is called, and which rows have one.
var topKeys = map[string]struct{ key, label, where string }{
	"names":    {`name`, `''`, `1`},
	"devices":  {`device`, `argMax(toString(device_name), (last, id))`, `1`},
	"vendors":  {`vendor`, `''`, ofVendor},
	"purposes": {`purpose`, `''`, ofVendor},
}

// ofVendor is the condition that a rule or a list says whose a row's name is.
const ofVendor = `attribution IN ('rule', 'list') AND vendor != ''`

func topNumber(name string, of func(*querylog.TopRow) *uint64) column[querylog.TopRow] {
	return column[querylog.TopRow]{name: name, take: func(r *rowReader, t *querylog.TopRow) { *of(t) = r.u64() }}
}

var topColumns = []column[querylog.TopRow]{
	{name: "key", take: func(r *rowReader, t *querylog.TopRow) { t.Key = r.text() }},
	{name: "label", take: func(r *rowReader, t *querylog.TopRow) { t.Label = r.text() }},
	topNumber(`sum(count)`, func(t *querylog.TopRow) *uint64 { return &t.Count }),
	topNumber(`sum(attempts)`, func(t *querylog.TopRow) *uint64 { return &t.Attempts }),
	topNumber(`sum(as_lookups)`, func(t *querylog.TopRow) *uint64 { return &t.AsLookups }),
	topNumber(`sumIf(count, verdict = 'block')`, func(t *querylog.TopRow) *uint64 { return &t.Blocked }),
	topNumber(`sumIf(count, verdict = 'unknown')`, func(t *querylog.TopRow) *uint64 { return &t.Unknown }),
	topNumber(`sumIf(count, tier = 'telemetry' AND attribution != 'owner')`, func(t *querylog.TopRow) *uint64 { return &t.Tiers.Telemetry }),
	topNumber(`sumIf(count, tier = 'mixed' AND attribution != 'owner')`, func(t *querylog.TopRow) *uint64 { return &t.Tiers.Mixed }),
	topNumber(`sumIf(count, tier = 'essential' AND attribution != 'owner')`, func(t *querylog.TopRow) *uint64 { return &t.Tiers.Essential }),
	topNumber(`sumIf(count, imported != '')`, func(t *querylog.TopRow) *uint64 { return &t.Imported }),
	topNumber(`count()`, func(t *querylog.TopRow) *uint64 { return &t.Rows }),
	{name: "first", take: func(r *rowReader, t *querylog.TopRow) { t.First = querylog.Time{Time: time.UnixMilli(r.i64())} }},
	{name: "last", take: func(r *rowReader, t *querylog.TopRow) { t.Last = querylog.Time{Time: time.UnixMilli(r.i64())} }},
}

// Top counts the lookups that a filter chooses by "names", "devices", "vendors" or "purposes".
func (r *Reader) Top(ctx context.Context, what string, f querylog.Filter, n int) ([]querylog.TopRow, error) {
	by, ok := topKeys[what]
	if !ok {
		return nil, fmt.Errorf("no top of %q: there are names, devices, vendors and purposes", what)
	}
	where, err := r.where(&f, false)
	if err != nil {
		return nil, err
	}
	sql := `SELECT toString(` + by.key + `), toString(` + by.label + `)`
	for _, c := range topColumns[2 : len(topColumns)-2] {
		sql += `, toUInt64(` + c.name + `)`
	}
	sql += `, toInt64(min(first)), toInt64(max(last)) FROM lookup FINAL WHERE ` + where + ` AND ` + by.where + ` GROUP BY ` + by.key
	lines := map[string]*querylog.TopRow{}
	var all []querylog.TopRow
	err = each(ctx, r, r.query("lookup", sql), topColumns, func(of []querylog.TopRow) error {
		for i := range of {
			if have := lines[of[i].Key]; have != nil {
				have.Add(of[i])
			} else {
				lines[of[i].Key] = &of[i]
			}
		}
		return nil
	})
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	for _, line := range lines {
		all = append(all, *line)
	}
	slices.SortFunc(all, func(a, b querylog.TopRow) int {
		return cmp.Or(cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	if n > 0 && len(all) > n {
		all = all[:n]
	}
	return all, nil
}

var askings = []column[querylog.Asking]{
	{take: func(r *rowReader, a *querylog.Asking) { a.Device = r.text() }},
	{take: func(r *rowReader, a *querylog.Asking) { a.Name = r.text() }},
	{take: func(r *rowReader, a *querylog.Asking) { a.Last = time.UnixMilli(r.i64()) }},
}

// Asked returns which devices asked for which of some names since a time.
func (r *Reader) Asked(ctx context.Context, since time.Time, names []string) ([]querylog.Asking, error) {
	if len(names) == 0 {
		return nil, nil
	}
	where, err := r.where(&querylog.Filter{Since: since, Names: names}, false)
	if err != nil {
		return nil, err
	}
	type key struct{ device, name string }
	last := map[key]time.Time{}
	err = each(ctx, r, r.query("lookup", `SELECT toString(device), name, toInt64(max(last)) FROM lookup WHERE `+where+` GROUP BY device, name`), askings, func(of []querylog.Asking) error {
		for _, a := range of {
			if k := (key{a.Device, a.Name}); a.Last.After(last[k]) {
				last[k] = a.Last
			}
		}
		return nil
	})
	var all []querylog.Asking
	for k, at := range last {
		all = append(all, querylog.Asking{Device: k.device, Name: k.name, Last: at})
	}
	return all, err
}

// An oldest is the time of the row with the lowest number.
type oldest struct{ id, first int64 }

var oldests = []column[oldest]{
	fixed("id", "", func(o *oldest) int64 { return o.id }, func(o *oldest, v int64) { o.id = v }),
	fixed("first", "", func(o *oldest) int64 { return o.first }, func(o *oldest, v int64) { o.first = v }),
}

// OldestRows returns the time of the oldest row of listed names and of all others.
func (r *Reader) OldestRows(ctx context.Context) (listed, unlisted time.Time, err error) {
	for i, of := range []*time.Time{&unlisted, &listed} {
		var first oldest
		// The rows with the lowest numbers are those of the lowest times, and partitions are by time.
		sql := fmt.Sprintf(`SELECT min(id), argMin(first, id) FROM lookup WHERE listed = %[1]d`, i)
		if !r.uneven {
			sql += fmt.Sprintf(` AND first <= (SELECT min(first) FROM lookup WHERE listed = %d) + %d`, i, 2*evenness)
		}
		err := each(ctx, r, r.query("lookup", sql+` HAVING count() > 0`), oldests, func(rows []oldest) error {
			for _, o := range rows {
				if first.id == 0 || o.id < first.id {
					first = o
				}
			}
			return nil
		})
		if err != nil {
			return listed, unlisted, cmp.Or(ctx.Err(), err)
		}
		if first.id != 0 {
			*of = time.UnixMilli(first.first)
		}
	}
	return listed, unlisted, nil
}

// AttemptsSince returns from when on rows have attempts: since the first node began.
func (r *Reader) AttemptsSince(ctx context.Context) (since time.Time, gap time.Duration, err error) {
	first := int64(math.MaxInt64)
	for _, of := range []struct{ table, column string }{{"window", "first"}, {"ledger", "time"}} {
		err := each(ctx, r, r.query(of.table, fmt.Sprintf(`SELECT toInt64(min(%s)) FROM %s HAVING count() > 0`, of.column, of.table)), numbers, func(all []int64) error {
			for _, n := range all {
				first = min(first, n)
			}
			return nil
		})
		if err != nil {
			return since, 0, cmp.Or(ctx.Err(), err)
		}
	}
	if first == math.MaxInt64 {
		return since, 0, nil
	}
	return time.UnixMilli(first), querylog.DefaultAttempt, nil
}

// Coverage returns what the nodes recorded between two times, what not, and why: the gaps of each of them.
func (r *Reader) Coverage(ctx context.Context, since, until time.Time) (c querylog.Coverage, err error) {
	now := r.now()
	if until.IsZero() || until.After(now) {
		until = now
	}
	if since.After(until) {
		since = until
	}
	c.Since, c.Until = querylog.Time{Time: since}, querylog.Time{Time: until}
	all, err := r.ledger(ctx)
	if err != nil {
		return c, err
	}
	listed, unlisted, err := r.OldestRows(ctx)
	if err != nil {
		return c, err
	}
	c.Listed, c.Unlisted = querylog.Time{Time: listed}, querylog.Time{Time: unlisted}
	c.OldestListed, c.OldestUnlisted = c.Listed, c.Unlisted
	var hour, window int64
	for _, q := range []struct {
		table, sql string
		to         *int64
	}{
		{"total", `SELECT toInt64(min(hour)) FROM total HAVING count() > 0`, &hour}, {"window", `SELECT toInt64(min(first)) FROM window HAVING count() > 0`, &window},
	} {
		err := each(ctx, r, r.query(q.table, q.sql), numbers, func(of []int64) error {
			for _, n := range of {
				if *q.to == 0 || n < *q.to {
					*q.to = n
				}
			}
			return nil
		})
		if err != nil {
			return c, cmp.Or(ctx.Err(), err)
		}
	}
	c.Totals = querylog.Time{Time: fromMilli(hour)}
	for _, at := range []time.Time{listed, unlisted, fromMilli(window)} {
		if !at.IsZero() && (c.Begin.IsZero() || at.Before(c.Begin.Time)) {
			c.Begin = querylog.Time{Time: at}
		}
	}
	of, alive := map[string][]querylog.Event{}, map[string]time.Time{}
	err = each(ctx, r, r.query("node", `SELECT `+namesOf(nodes)+` FROM node FINAL`), nodes, func(all []node) error {
		for i := range all {
			n := &all[i]
			if of[n.name] = nil; alive[n.name].Before(fromMilli(n.last)) {
				alive[n.name] = fromMilli(n.last)
			}
		}
		return nil
	})
	if err != nil {
		return c, cmp.Or(ctx.Err(), err)
	}
	for i := range all {
		e := &all[i].Event
		if of[e.Node] = append(of[e.Node], *e); alive[e.Node].Before(e.Time.Time) {
			alive[e.Node] = e.Time.Time
		}
		if c.Begin.IsZero() || e.Time.Before(c.Begin.Time) && all[i].ID == all[0].ID {
			c.Begin = e.Time
		}
	}
	if !c.Begin.IsZero() {
		c.AttemptsSince, c.AttemptGap = c.Begin, querylog.DefaultAttempt
	}
	addGaps(&c, of, alive, now)
	return c, nil
}

// addGaps adds the gaps of each node.
func addGaps(c *querylog.Coverage, of map[string][]querylog.Event, alive map[string]time.Time, now time.Time) {
	if len(of) == 0 {
		c.AddGaps(nil, time.Time{}, now)
		return
	}
	for name, events := range of {
		slices.SortStableFunc(events, func(a, b querylog.Event) int { return a.Time.Compare(b.Time.Time) })
		own := *c
		own.Gaps = nil
		if len(of) > 1 && len(events) > 0 {
			own.Begin = events[0].Time
		}
		own.AddGaps(events, alive[name], now)
		for _, g := range own.Gaps {
			if len(of) > 1 {
				g.Detail = "node " + name + ": " + g.Detail
			}
			c.Gaps = append(c.Gaps, g)
		}
	}
	c.SortGaps()
}

// A VendorOf is what a device asked of a vendor's names.
type VendorOf struct {
	Device, Vendor    string
	Lookups, Attempts uint64
	First, Last       querylog.Time
}

var vendorColumns = []column[VendorOf]{
	same("device", func(v *VendorOf) *string { return &v.Device }),
	same("vendor", func(v *VendorOf) *string { return &v.Vendor }),
	amount("lookups", func(v *VendorOf) *uint64 { return &v.Lookups }),
	amount("attempts", func(v *VendorOf) *uint64 { return &v.Attempts }),
	at("first", func(v *VendorOf) *querylog.Time { return &v.First }),
	at("last", func(v *VendorOf) *querylog.Time { return &v.Last }),
}

// Vendors returns what each device asked of each vendor's names in the hours between two times, of
// the totals of all nodes.
func (r *Reader) Vendors(ctx context.Context, since, until time.Time) (all []VendorOf, err error) {
	type key struct{ device, vendor string }
	places := map[key]int{}
	sql := fmt.Sprintf(`SELECT toString(device), toString(vendor), toUInt64(sum(lookups)), toUInt64(sum(attempts)), min(first), max(last) FROM total FINAL WHERE hour >= %d AND hour < %d AND vendor != '' GROUP BY device, vendor`,
		since.Truncate(time.Hour).UnixMilli(), until.UnixMilli())
	err = each(ctx, r, r.query("total", sql), vendorColumns, func(of []VendorOf) error {
		for _, v := range of {
			k := key{v.Device, v.Vendor}
			n, ok := places[k]
			if !ok {
				places[k] = len(all)
				all = append(all, v)
				continue
			}
			have := &all[n]
			have.Lookups, have.Attempts = have.Lookups+v.Lookups, have.Attempts+v.Attempts
			have.First, have.Last = earlier(have.First, v.First), later(have.Last, v.Last)
		}
		return nil
	})
	return all, err
}

func earlier(a, b querylog.Time) querylog.Time {
	if b.Before(a.Time) {
		return b
	}
	return a
}

func later(a, b querylog.Time) querylog.Time {
	if a.Before(b.Time) {
		return b
	}
	return a
}
