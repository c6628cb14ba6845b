package querylog

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// pageRows are read in one transaction: the writer must not wait for whoever
// looks at the rows.
const pageRows = 1000

// rows calls each with the rows f chooses whose number is above after, in order,
// until it returns false. f.Limit are the newest of them.
func (s *snapshot) rows(f Filter, after int64, each func(Row) bool) error {
	open := s.openRows(&f)
	if f.Limit > 0 {
		open = open[max(0, len(open)-f.Limit):]
	}
	more, err := s.storedRows(&f, after, len(open), each)
	if err != nil || !more {
		return err
	}
	for i := range open {
		if !each(open[i]) {
			return nil
		}
	}
	return nil
}

// newest calls each with the newest n rows that f chooses, the newest first, until it returns false.
func (s *snapshot) newest(f Filter, n int, each func(*Row) bool) error {
	for _, row := range slices.Backward(s.openRows(&f)) {
		if n--; n < 0 || !each(&row) {
			return nil
		}
	}
	m, err := s.merge(&f, 0, true)
	if err != nil {
		return err
	}
	return m.some(n, each)
}

// openRows returns the rows of the journal that f chooses, in order.
func (s *snapshot) openRows(f *Filter) (open []Row) {
	for _, p := range s.open {
		if p.window <= s.position { // stored since
			continue
		}
		for i, e := range p.entries {
			if f.only != "" && e.table() != f.only {
				continue
			}
			row := e.row(p.window<<rowBits|int64(i), p.node)
			row.Store = s.id
			if f.matches(&row) {
				open = append(open, row)
			}
		}
	}
	return open
}

// storedRows is rows for those in the store. open is how many follow.
func (s *snapshot) storedRows(f *Filter, after int64, open int, each func(Row) bool) (more bool, err error) {
	if f.Limit > 0 && open >= f.Limit {
		return true, nil
	}
	m, err := s.merge(f, after, f.Limit > 0)
	if err != nil {
		return false, err
	}
	if f.Limit > 0 {
		var newest []Row
		if err := m.some(f.Limit-open, func(row *Row) bool { newest = append(newest, *row); return true }); err != nil {
			return false, err
		}
		for _, row := range slices.Backward(newest) {
			if !each(row) {
				return false, nil
			}
		}
		return true, nil
	}
	for {
		row, err := m.next()
		if err != nil || row == nil {
			return err == nil, err
		}
		if !each(*row) {
			return false, nil
		}
	}
}

// A merged is the rows of both stores in the order of their numbers. A row that
// was copied meanwhile comes from both and is told once.
type merged struct {
	cursors []*cursorOfRows
	down    bool
	last    int64
	begun   bool
}

// merge begins to read the rows f chooses behind after, downwards from the
// newest or upwards.
func (s *snapshot) merge(f *Filter, after int64, down bool) (*merged, error) {
	m := &merged{down: down}
	for _, db := range s.databases() {
		from := after
		if db == s.old {
			from = max(after, s.copied)
		}
		c := &cursorOfRows{db: db, f: f, down: down, store: s.id}
		m.cursors = append(m.cursors, c)
		if down {
			var err error
			if c.rest, err = s.whole(db, f, from); err != nil {
				return nil, err
			}
			if c.hours, err = newHourIndex(db, f); err != nil {
				return nil, err
			}
			continue
		}
		spans, err := s.spans(db, f, from)
		if err != nil {
			return nil, err
		}
		c.spans = spans
	}
	return m, nil
}

// next returns the next row, valid until the next call; nil behind the last.
func (m *merged) next() (*Row, error) {
	for {
		var first *cursorOfRows
		for _, c := range m.cursors {
			if err := c.fill(); err != nil {
				return nil, err
			}
			if len(c.page) > 0 && (first == nil || (c.page[0].ID < first.page[0].ID) != m.down) {
				first = c
			}
		}
		if first == nil {
			return nil, nil
		}
		row := &first.page[0]
		first.page = first.page[1:]
		if m.begun && row.ID == m.last {
			continue
		}
		m.begun, m.last = true, row.ID
		return row, nil
	}
}

// some calls each with the next n rows, until it returns false.
func (m *merged) some(n int, each func(*Row) bool) error {
	for ; n > 0; n-- {
		if row, err := m.next(); err != nil || row == nil || !each(row) {
			return err
		}
	}
	return nil
}

// A span is a range of rows' numbers, both ends excluded.
type span struct {
	after, end int64
	names      *spanNames // nil where they are not known, or many
	looked     bool       // for names
}

// spanNames are the numbers of names in a span of one period that a filter chooses, by table.
type spanNames [len(rowTables)][]int64

// fewNames is how many names of a span are compared with rows one by one.
const fewNames = 32

// whole returns the range in which rows of f's time can be in a store.
func (s *snapshot) whole(db *database, f *Filter, after int64) (span, error) {
	low, high, err := db.bounds(f)
	if f.Before > 0 {
		high = min(high, f.Before)
	}
	return span{after: max(after, f.After, low-1), end: min((s.position+1)<<rowBits, high)}, err
}

// spans returns where the rows f chooses can be in a store, upwards.
func (s *snapshot) spans(db *database, f *Filter, after int64) ([]span, error) {
	whole, err := s.whole(db, f, after)
	if err != nil || whole.after >= whole.end {
		return nil, err
	}
	if f.name.empty() || !db.layout.names {
		return []span{whole}, nil
	}
	return db.named(f, whole)
}

// named returns the parts of a range in which rows with a name that f chooses can be,
// upwards.
func (db *database) named(f *Filter, in span) (spans []span, err error) {
	periods, err := db.periods(f, in)
	for _, p := range periods {
		spans = append(spans, span{after: max(in.after, p<<periodRows-1), end: min(in.end, (p+1)<<periodRows)})
	}
	return spans, err
}

// bounds returns the numbers between which the rows of f's time can be. What is before the oldest window may have rows of any
// time: unlisted rows may be kept longer than what is known of windows.
func (db *database) bounds(f *Filter) (low, end int64, err error) {
	end = 1<<63 - 1
	bound := func(sql string, at time.Time) int64 {
		key := windowBound{sql, at.UnixMilli()}
		id, known := db.windows[key]
		if !known && err == nil {
			if id, err = db.number(sql, key.at); err != nil {
				return 0
			}
			if db.windows == nil || len(db.windows) >= boundsKept {
				db.windows = map[windowBound]int64{}
			}
			db.windows[key] = id
		}
		return id << rowBits
	}
	if !f.Since.IsZero() {
		low = bound(firstWindowSince, f.Since)
	}
	if !f.Until.IsZero() {
		end = bound(windowBehindUntil, f.Until)
	}
	return low, end, err
}

// The windows between which rows of a time can be.
const (
	firstWindowSince  = `SELECT CASE WHEN min(id) = (SELECT min(id) FROM window) THEN 0 ELSE coalesce(min(id), (SELECT max(id) + 1 FROM window), 0) END FROM window WHERE last >= ?`
	windowBehindUntil = `SELECT coalesce((SELECT id FROM window WHERE first <= ? ORDER BY id DESC LIMIT 1), (SELECT min(id) - 1 FROM window), 0) + 1`
)

// A windowBound is what was asked of windows: each looks at many, and a report asks the same
// of them several times.
type windowBound struct {
	sql string
	at  int64
}

const boundsKept = 256 // that a connection knows

// periods returns the periods in which a name that f chooses was asked for,
// upwards, and those of whose set it is seen that they are likely to have one. Every name within the span is looked at, but
// for those of periods that have a set, and no row.
func (db *database) periods(f *Filter, in span) (all []int64, err error) {
	for _, table := range rowTables {
		likely, ranges, err := db.mayHave(&f.name, table, periodRange{max(in.after, 0) >> periodRows, (in.end - 1) >> periodRows})
		if err != nil {
			return nil, err
		}
		all = append(all, likely...)
		where, args := f.name.where(`m.name`)
		sql := fmt.Sprintf(`SELECT DISTINCT m.id >> %d FROM %s_name m WHERE m.id BETWEEN ? AND ? AND %s`, nameBits, table, where)
		for _, r := range ranges {
			err = db.query(sql, append([]any{r.first << nameBits, r.last<<nameBits | (1<<nameBits - 1)}, args...), func(stmt *sqlite3.Stmt) bool {
				all = append(all, stmt.ColumnInt64(0))
				return true
			})
			if err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// namesIn returns the numbers of the names that f chooses in a span of one period; nil where there are many,
// or where aliases are chosen otherwise than names.
func (db *database) namesIn(f *Filter, in span) (*spanNames, error) {
	if f.name.empty() || !db.layout.names || f.aliased() == aliasOther {
		return nil, nil
	}
	var found spanNames
	where, args := f.name.where(`s.name`)
	period := (in.end - 1) >> periodRows
	for i, table := range rowTables {
		if f.only != "" && table != f.only {
			continue
		}
		sql := fmt.Sprintf(`SELECT s.id & %d FROM %s_name s WHERE s.id BETWEEN ? AND ? AND %s LIMIT %d`, 1<<nameBits-1, table, where, fewNames+1)
		err := db.query(sql, append([]any{period << nameBits, period<<nameBits | (1<<nameBits - 1)}, args...), func(stmt *sqlite3.Stmt) bool {
			found[i] = append(found[i], stmt.ColumnInt64(0))
			return true
		})
		if err != nil || len(found[i]) > fewNames {
			return nil, err
		}
	}
	return &found, nil
}

// A cursorOfRows reads the rows of one store in pages.
type cursorOfRows struct {
	db    *database
	f     *Filter
	spans []span // still to be read, the next one first
	rest  span   // to be read after these, downwards
	looks int64  // periods that were taken of it last
	down  bool
	store string
	hours *hourIndex // nil where it does not tell
	page  []Row      // not told yet
	buf   []Row      // that page is in
}

// fill reads the next page where the one at hand is used up.
func (c *cursorOfRows) fill() (err error) {
	for len(c.page) == 0 && (len(c.spans) > 0 || c.rest.after < c.rest.end) {
		if len(c.spans) == 0 {
			if err := c.look(); err != nil {
				return err
			}
			continue
		}
		n := pageRows
		if c.f.Limit > 0 {
			n = min(n, c.f.Limit)
		}
		if c.f.page > 0 {
			n = min(n, c.f.page)
		}
		in := &c.spans[0]
		if !in.looked {
			if in.names, err = c.db.namesIn(c.f, *in); err != nil {
				return err
			}
			in.looked = true
		}
		page, err := c.read(*in, n)
		if err != nil {
			return err
		}
		c.page = page
		if len(page) < n {
			c.spans = c.spans[1:]
		} else if last := page[len(page)-1].ID; c.down {
			in.end = last
		} else {
			in.after = last
		}
	}
	return nil
}

// look takes the next periods to be read downwards, twice as many each time, and of
// those the ones in which there is a name that f chooses: who wants the newest rows
// need not wait until all names were looked at, nor all rows of a table that has none.
func (c *cursorOfRows) look() (err error) {
	c.looks = max(2*c.looks, 4)
	first := max((c.rest.end-1)>>periodRows-c.looks+1, 0)
	if c.hours != nil && c.looks >= fewPeriods {
		first = 0
	}
	part := span{after: max(c.rest.after, first<<periodRows-1), end: c.rest.end}
	c.rest.end = part.after + 1
	if c.rest.after >= part.after {
		c.rest = span{}
	}
	parts := []span{part}
	if c.hours != nil {
		if parts, err = c.hours.spans(part); err != nil {
			return err
		}
	}
	if c.f.name.empty() || !c.db.layout.names {
		c.spans = parts
		return nil
	}
	c.spans = nil
	for _, part := range parts {
		named, err := c.db.named(c.f, part)
		if err != nil {
			return err
		}
		slices.Reverse(named)
		c.spans = append(c.spans, named...)
	}
	return nil
}

// read returns up to n rows of a span.
func (c *cursorOfRows) read(in span, n int) (page []Row, err error) {
	var sql string
	var args []any
	for i, table := range rowTables {
		if c.f.only != "" && table != c.f.only || in.names != nil && len(in.names[i]) == 0 {
			continue
		}
		where, a := c.f.where(c.db.layout, table, in)
		if sql != "" {
			sql += ` UNION ALL `
		}
		sql += c.db.layout.selectRows(i, c.f.says, where)
		args = append(append(args, in.after, in.end), a...)
	}
	if sql == "" { // none has the name
		return nil, nil
	}
	order := "ASC"
	if c.down {
		order = "DESC"
	}
	sql += fmt.Sprintf(` ORDER BY 1 %s LIMIT %d`, order, n)
	page = c.buf[:0]
	c.db.rows.columns, c.db.rows.says = c.f.says.columns(), c.f.says
	err = c.db.query(sql, args, func(stmt *sqlite3.Stmt) bool {
		page = append(page, Row{Store: c.store})
		c.db.rows.read(stmt, &page[len(page)-1])
		return c.db.rows.err == nil
	})
	c.buf = page
	return page, cmp.Or(err, c.db.rows.err)
}
