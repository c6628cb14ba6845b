package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale/devices"
	"telltale/querylog"
)

// A Reader reads the merged log. Every question is asked of all shards.
type Reader struct {
	client *client
	uneven bool // no partition may be left out by time
	now    func() time.Time
}

// OpenReader opens the log for reading alone: no table is made, and none of another version is read. done ends it.
func OpenReader(ctx context.Context, a Address) (r *Reader, done func(), err error) {
	c := newClient(a)
	r = &Reader{client: c, now: time.Now}
	if err = c.readable(ctx); err == nil {
		r.uneven, err = c.isUneven(ctx)
	}
	if err != nil {
		c.close()
		return nil, nil, err
	}
	return r, c.close, nil
}

var errWide = errors.New("names with letters beyond ASCII cannot be looked for in ClickHouse: write them as xn--")

// each asks all shards at once. read is called for one after the other, in their order, once it has all rows of
// that one; rows of a shard that was asked twice are told once.
func each[T any](ctx context.Context, r *Reader, st *statement, columns []column[T], read func([]T) error) error {
	type result struct {
		rows []T
		err  error
	}
	results := make([]result, len(r.client.shards))
	var wait sync.WaitGroup
	for i, sh := range r.client.shards {
		wait.Go(func() {
			got := &results[i]
			got.err = r.client.anyOf(ctx, sh, st, func(in *rowReader) (err error) {
				got.rows, err = readAll(in, columns)
				return err
			})
		})
	}
	wait.Wait()
	for i := range results {
		if results[i].err != nil {
			return results[i].err
		}
	}
	for i := range results {
		if err := read(results[i].rows); err != nil {
			return err
		}
	}
	return nil
}

// query is a statement that reads a table.
func (r *Reader) query(table, sql string) *statement {
	return &statement{sql: sql + ` FORMAT RowBinary`, table: table, settings: readingSettings(&r.client.a)}
}

// A slice is a range of rows' numbers, from low up to but without end, and how many rows are in it.
type slice struct{ low, end, first, last, rows int64 }

var slices1 = []column[slice]{
	fixed("low", "", func(s *slice) int64 { return s.low }, func(s *slice, v int64) { s.low = v }),
	fixed("first", "", func(s *slice) int64 { return s.first }, func(s *slice, v int64) { s.first = v }),
	fixed("last", "", func(s *slice) int64 { return s.last }, func(s *slice, v int64) { s.last = v }),
	fixed("rows", "", func(s *slice) int64 { return s.rows }, func(s *slice, v int64) { s.rows = v }),
}

const (
	sliceRows    = 50_000 // that are read at once, about
	sliceSeconds = 256    // of windows' numbers that are never read apart
)

// slicesOf returns ranges in which there are rows of a condition, by their numbers.
func (r *Reader) slicesOf(ctx context.Context, where string) (all []slice, err error) {
	sql := fmt.Sprintf(`SELECT toInt64(intDiv(id, %d)) AS low, toInt64(min(first)), toInt64(max(first)), toInt64(count()) FROM lookup WHERE %s GROUP BY low`, int64(sliceSeconds)<<rowBits, where)
	byLow := map[int64]slice{}
	err = each(ctx, r, r.query("lookup", sql), slices1, func(of []slice) error {
		for _, s := range of {
			if have, ok := byLow[s.low]; ok {
				s.first, s.last, s.rows = min(s.first, have.first), max(s.last, have.last), s.rows+have.rows
			}
			byLow[s.low] = s
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for low, s := range byLow {
		s.low = low * sliceSeconds << rowBits
		s.end = s.low + sliceSeconds<<rowBits
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b slice) int { return cmp.Compare(a.low, b.low) })
	joined := all[:0]
	for _, s := range all {
		if n := len(joined); n > 0 && joined[n-1].rows+s.rows <= sliceRows {
			have := &joined[n-1]
			have.end, have.first, have.last, have.rows = s.end, min(have.first, s.first), max(have.last, s.last), have.rows+s.rows
			continue
		}
		joined = append(joined, s)
	}
	return joined, nil
}

// rowsOf reads the rows of a condition within a slice, by number and store. A row that is there twice is the same
// both times, so that FINAL, which takes several times as long, is not needed to tell it once.
func (r *Reader) rowsOf(ctx context.Context, where string, in *slice, columns []column[lookup]) (all []lookup, err error) {
	sql := fmt.Sprintf(`SELECT %s FROM lookup WHERE id >= %d AND id < %d AND first >= %d AND first <= %d AND %s ORDER BY id, store`, namesOf(columns), in.low, in.end, in.first, in.last, where)
	st := r.query("lookup", sql)
	delete(st.settings, "optimize_move_to_prewhere")
	err = each(ctx, r, st, columns, func(of []lookup) error {
		all = append(all, of...)
		return nil
	})
	if len(r.client.shards) > 1 {
		sortRows(all)
	}
	return slices.CompactFunc(all, func(a, b lookup) bool { return a.ID == b.ID && a.store == b.store }), err
}

func sortRows(all []lookup) {
	slices.SortStableFunc(all, func(a, b lookup) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.store, b.store)) })
}

// upwards calls each with the rows of a filter, by their numbers.
func (r *Reader) upwards(ctx context.Context, f *querylog.Filter, begun bool, columns []column[lookup], each func(*lookup) bool) error {
	where, err := r.where(f, begun)
	if err != nil {
		return err
	}
	parts, err := r.slicesOf(ctx, where)
	if err != nil {
		return err
	}
	for i := range parts {
		rows, err := r.rowsOf(ctx, where, &parts[i], columns)
		if err != nil {
			return err
		}
		for j := range rows {
			if !each(&rows[j]) {
				return nil
			}
		}
	}
	return nil
}

// newest returns at least the n newest rows of a filter where there are so many, the newest first. Where
// a number is in several stores, all its rows are there, or none.
func (r *Reader) newest(ctx context.Context, f *querylog.Filter, n int) (all []lookup, err error) {
	where, err := r.where(f, false)
	if err != nil {
		return nil, err
	}
	end, err := r.end(ctx)
	if err != nil {
		return nil, err
	}
	if f.Before > 0 {
		end = min(end, f.Before)
	}
	for back := int64(600); ; back *= 8 { // seconds
		low := max(end-back<<rowBits, 0)
		if len(f.Devices) > 0 && f.DeviceWord() == "" || back > 1<<31 { // rows of a device stand together
			low = 0
		}
		all, err = r.last(ctx, where, low, end, n)
		if err != nil || len(all) >= n || low == 0 {
			return all, err
		}
	}
}

// end returns a number behind all rows.
func (r *Reader) end(ctx context.Context) (end int64, err error) {
	err = each(ctx, r, r.query("node", `SELECT toInt64(max(upto)) FROM node`), numbers, func(of []int64) error {
		for _, n := range of {
			end = max(end, (n+1)<<rowBits)
		}
		return nil
	})
	return end, err
}

var numbers = []column[int64]{fixed("", "", func(v *int64) int64 { return *v }, func(v *int64, n int64) { *v = n })}

// A found is the key of a row, and what it is found by.
type found struct {
	device    string
	first, id int64
	store     uint64
}

var founds = []column[found]{
	plain("device", func(f *found) *string { return &f.device }),
	fixed("first", "", func(f *found) int64 { return f.first }, func(f *found, v int64) { f.first = v }),
	{name: "store", put: func(w *rowWriter, f *found) { w.u64(f.store) }, take: func(r *rowReader, f *found) { f.store = r.u64() }},
	fixed("id", "", func(f *found) int64 { return f.id }, func(f *found, v int64) { f.id = v }),
}

// last returns the n newest rows between two numbers, and those with the number of the last of them.
func (r *Reader) last(ctx context.Context, where string, low, end int64, n int) (all []lookup, err error) {
	if low > 0 {
		where += fmt.Sprintf(` AND id >= %d`, low)
		if !r.uneven {
			where += fmt.Sprintf(` AND first >= %d`, low>>rowBits*1000-evenness)
		}
	}
	where += fmt.Sprintf(` AND id < %d`, end)
	// First the keys alone: most columns of most rows need not be read. A row that is there twice is found twice.
	var keys []found
	sql := fmt.Sprintf(`SELECT toString(device), first, store, id FROM (SELECT DISTINCT device, first, store, id FROM lookup WHERE %s) ORDER BY id DESC, store DESC LIMIT %d`, where, n)
	err = each(ctx, r, r.query("lookup", sql), founds, func(of []found) error {
		keys = append(keys, of...)
		return nil
	})
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	slices.SortFunc(keys, func(a, b found) int { return cmp.Or(cmp.Compare(b.id, a.id), cmp.Compare(b.store, a.store)) })
	keys = keys[:min(n, len(keys))]
	lowest := keys[len(keys)-1].id
	first, most := keys[0].first, keys[0].first
	names := map[string]bool{}
	for i := range keys {
		names[keys[i].device] = true
		first, most = min(first, keys[i].first), max(most, keys[i].first)
	}
	in := &slice{low: lowest, end: end, first: first, last: most}
	if len(names) <= 50 { // beside it: more than that do not leave much out
		var quoted []string
		for name := range names {
			quoted = append(quoted, name)
		}
		where += ` AND device IN (` + quoteAll(quoted) + `)`
	}
	if all, err = r.rowsOf(ctx, where, in, lookups); err != nil {
		return nil, err
	}
	if len(all) < len(keys) {
		return nil, fmt.Errorf("%d rows were found and %d are there: some were deleted meanwhile; ask again", len(keys), len(all))
	}
	slices.Reverse(all)
	return all, nil
}

// Rows returns the rows that a filter chooses, the newest last.
func (r *Reader) Rows(ctx context.Context, f querylog.Filter) iter.Seq2[querylog.Row, error] {
	return func(yield func(querylog.Row, error) bool) {
		var err error
		if f.Limit > 0 {
			var rows []lookup
			rows, err = r.newest(ctx, &f, f.Limit)
			rows = rows[:min(f.Limit, len(rows))]
			for _, row := range slices.Backward(rows) {
				if !yield(row.Row, nil) {
					return
				}
			}
		} else {
			err = r.upwards(ctx, &f, false, lookups, func(l *lookup) bool { return yield(l.Row, nil) })
		}
		if err != nil {
			yield(querylog.Row{}, cmp.Or(ctx.Err(), err))
		}
	}
}

// Page returns about n of the rows that a filter chooses: rows with the same number, of several stores, are never
// parted, since who goes on does so by the number. It is more than n only where more than n have one number.
func (r *Reader) Page(ctx context.Context, f querylog.Filter, n int, oldest bool) (rows []querylog.Row, more bool, err error) {
	var all []lookup
	if oldest {
		err = r.upwards(ctx, &f, false, lookups, func(l *lookup) bool {
			if len(all) > n && l.ID != all[len(all)-1].ID {
				return false
			}
			all = append(all, *l)
			return true
		})
	} else {
		all, err = r.newest(ctx, &f, n+1)
	}
	if err != nil {
		return nil, false, cmp.Or(ctx.Err(), err)
	}
	end := pageEnd(all, n)
	for i := range all[:end] {
		rows = append(rows, all[i].Row)
	}
	return rows, len(all) > end, nil
}

// pageEnd returns how many of rows are on a page of n.
func pageEnd(all []lookup, n int) int {
	if len(all) <= n {
		return len(all)
	}
	end := n
	for end > 0 && all[end].ID == all[end-1].ID {
		end--
	}
	if end == 0 { // all of the page have one number
		for end = n; end < len(all) && all[end].ID == all[0].ID; end++ {
		}
	}
	return end
}

// Begun returns the rows that a filter chooses in which an attempt begins.
func (r *Reader) Begun(ctx context.Context, f querylog.Filter, listed bool) iter.Seq2[*querylog.Row, error] {
	return func(yield func(*querylog.Row, error) bool) {
		f.Listed = f.Listed || listed
		err := r.upwards(ctx, &f, true, begunColumns, func(l *lookup) bool { return yield(&l.Row, nil) })
		if err != nil {
			yield(nil, cmp.Or(ctx.Err(), err))
		}
	}
}

// some returns columns by name.
func some(names string) (all []column[lookup]) {
	for name := range strings.FieldsSeq(names) {
		i := slices.IndexFunc(lookups, func(c column[lookup]) bool { return c.name == name })
		all = append(all, lookups[i])
	}
	return all
}

const summedNames = `store id first last count attempts device device_name mac binding binding_source binding_confidence client attribution vendor product purpose tier source region breaks
	confidence independent contested verdict imported`

var (
	summedColumns   = some(summedNames + ` name alias attribution_list attribution_line`)
	namelessColumns = some(summedNames)
	begunColumns    = some(summedNames + ` name alias attribution_list attribution_line ttl`)
)

// Sums returns the rows that a filter chooses by their first lookup, each by itself: listed ones first.
func (r *Reader) Sums(ctx context.Context, f querylog.SumFilter) iter.Seq2[*querylog.Sum, error] {
	return func(yield func(*querylog.Sum, error) bool) {
		for _, listed := range []bool{true, false} {
			columns := summedColumns
			if !listed {
				columns = namelessColumns
			}
			rows := querylog.Filter{Device: f.Device, Devices: f.Devices, Without: f.Without, Vendor: f.Vendor, Until: f.Until}
			where, err := r.where(&rows, false)
			if err == nil {
				where += fmt.Sprintf(` AND listed = %d AND first >= %d`, map[bool]int{true: 1}[listed], f.Since.UnixMilli())
				var more bool
				if more, err = r.sums(ctx, &f, where, columns, yield); err == nil && !more {
					return
				}
			}
			if err != nil {
				yield(nil, cmp.Or(ctx.Err(), err))
				return
			}
		}
	}
}

func (r *Reader) sums(ctx context.Context, f *querylog.SumFilter, where string, columns []column[lookup], yield func(*querylog.Sum, error) bool) (more bool, err error) {
	parts, err := r.slicesOf(ctx, where)
	if err != nil {
		return false, err
	}
	var sum querylog.Sum
	for i := range parts {
		rows, err := r.rowsOf(ctx, where, &parts[i], columns)
		if err != nil {
			return false, err
		}
		for j := range rows {
			if at := rows[j].Time.Time; at.Before(f.Since) || !at.Before(f.Until) { // to the nanosecond
				continue
			}
			if sum.Row = rows[j].Row; !yield(&sum, nil) {
				return false, nil
			}
		}
	}
	return true, nil
}

// Totals returns the totals that a filter chooses, by their hours.
func (r *Reader) Totals(ctx context.Context, f querylog.TotalsFilter) iter.Seq2[querylog.Total, error] {
	return func(yield func(querylog.Total, error) bool) {
		where := []string{`1`}
		if !f.Since.IsZero() {
			where = append(where, fmt.Sprintf(`hour > %d`, f.Since.UnixMilli()-3_600_000))
		}
		if !f.Until.IsZero() {
			where = append(where, fmt.Sprintf(`hour <= %d`, f.Until.UnixMilli()))
		}
		if len(f.Devices) > 0 {
			where = append(where, `device IN (`+quoteAll(f.Devices)+`)`)
		}
		if f.Vendor != "" {
			where = append(where, `lower(vendor) = `+quote(asciiLower(f.Vendor)))
		}
		if f.Others {
			where = append(where, `vendor = ''`)
		}
		// Rows of a node whose store was restored are in totals of both stores.
		var all []querylog.Total
		at := map[querylog.Total]int{}
		sql := `SELECT ` + namesOf(totals) + ` FROM total FINAL WHERE ` + strings.Join(where, ` AND `) + ` ORDER BY hour, store, device, vendor, product, purpose, tier, verdict`
		err := each(ctx, r, r.query("total", sql), totals, func(of []total) error {
			for i := range of {
				t := &of[i].Total
				if !f.Since.IsZero() && !t.Hour.Add(time.Hour).After(f.Since) || !f.Until.IsZero() && !t.Hour.Before(f.Until) {
					continue
				}
				key := querylog.Total{Hour: t.Hour, Node: t.Node, Device: t.Device, Vendor: t.Vendor, Product: t.Product, Purpose: t.Purpose, Tier: t.Tier, Verdict: t.Verdict}
				if n, ok := at[key]; ok {
					mergeTotal(&all[n], t)
					continue
				}
				at[key] = len(all)
				all = append(all, *t)
			}
			return nil
		})
		if err != nil {
			yield(querylog.Total{}, cmp.Or(ctx.Err(), err))
			return
		}
		if len(r.client.shards) > 1 {
			slices.SortStableFunc(all, func(a, b querylog.Total) int { return a.Hour.Compare(b.Hour.Time) })
		}
		for i := range all {
			if !yield(all[i], nil) {
				return
			}
		}
	}
}

func mergeTotal(t, u *querylog.Total) {
	t.Lookups += u.Lookups
	t.Attempts += u.Attempts
	t.AsLookups += u.AsLookups
	t.Names = max(t.Names, u.Names)
	if u.First.Before(t.First.Time) {
		t.First = u.First
	}
	if t.Last.Before(u.Last.Time) {
		t.Last = u.Last
	}
}

// Presence returns the hours in which each device was there.
func (r *Reader) Presence(ctx context.Context, since, until time.Time) (all []querylog.Presence, err error) {
	type key struct {
		hour   int64
		device string
	}
	at := map[key]int{}
	for t, err := range r.Totals(ctx, querylog.TotalsFilter{Since: since, Until: until}) {
		if err != nil {
			return nil, err
		}
		k := key{t.Hour.UnixMilli(), t.Device}
		if n, ok := at[k]; ok {
			all[n].Lookups += t.Lookups
			continue
		}
		at[k] = len(all)
		all = append(all, querylog.Presence{Hour: t.Hour, Device: t.Device, Lookups: t.Lookups})
	}
	slices.SortStableFunc(all, func(a, b querylog.Presence) int {
		return cmp.Or(a.Hour.Compare(b.Hour.Time), cmp.Compare(a.Device, b.Device))
	})
	return all, nil
}

// Hours returns nothing: nodes ship totals, in which all lookups are.
func (r *Reader) Hours(context.Context, time.Time, time.Time) ([]querylog.Hour, error) {
	return nil, nil
}

// ledger returns all lines, in order.
func (r *Reader) ledger(ctx context.Context) (all []ledgerLine, err error) {
	err = each(ctx, r, r.query("ledger", `SELECT `+namesOf(lines)+` FROM ledger FINAL ORDER BY id, store`), lines, func(of []ledgerLine) error {
		all = append(all, of...)
		return nil
	})
	slices.SortStableFunc(all, func(a, b ledgerLine) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.store, b.store)) })
	return all, err
}

// Ledger returns the lines of all nodes between two times, in order.
func (r *Reader) Ledger(ctx context.Context, since, until time.Time) (events []querylog.Event, err error) {
	all, err := r.ledger(ctx)
	for i := range all {
		if e := &all[i].Event; (since.IsZero() || !e.Time.Before(since)) && (until.IsZero() || !e.Time.After(until)) {
			events = append(events, *e)
		}
	}
	return events, err
}

// Bindings returns the bindings of all nodes, by their numbers, which are unique within a store alone.
func (r *Reader) Bindings(ctx context.Context) (all []devices.Binding, err error) {
	err = each(ctx, r, r.query("binding", `SELECT `+namesOf(bindings)+` FROM binding FINAL ORDER BY id, store`), bindings, func(of []binding) error {
		for i := range of {
			all = append(all, of[i].Binding)
		}
		return nil
	})
	if len(r.client.shards) > 1 {
		slices.SortStableFunc(all, func(a, b devices.Binding) int { return cmp.Compare(a.ID, b.ID) })
	}
	return all, err
}
