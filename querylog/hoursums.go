package querylog

import (
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
)

// Sums by hour are what readers of a running log know of the rows of hours that they were asked about: how many
// lookups each binding had of each kind, without names. They are in memory alone, made of the rows of the store when
// they are first asked for, and grow with them: what an hour has need not be read again.

const (
	hoursAtOnce  = 32 * 24 // hours that one question may want
	hourRowsKept = 150_000 // sums of all hours: about ten megabytes
	hourKinds    = 8_192
	hoursKeptFor = 30 * time.Minute // after the last question
	hoursBehind  = 180              // windows that are added to the hours that are known; of more, hours are read anew
)

// hourSums are sums by hour of a store. Any goroutine may use them; the zero value is ready.
type hourSums struct {
	changed atomic.Int64 // counts changes of rows that were in the store already
	below   atomic.Int64 // that were of rows below this one

	mu    sync.Mutex // held while rows are read: who wants the same hours waits, and need not read them
	seen  int64      // of changed
	store string
	upto  int64 // the hours that are known have all rows up to this one
	hours map[int64]*hourOfRows
	kinds map[hourKind]*hourKind
	drop  *time.Timer // forgets all; nil until there is something
}

// An hourKind is what rows have in common whose lookups are counted together.
type hourKind struct {
	table   int
	binding int64
	sumKind

	number int
	row    *Row // what they say; nil until they are asked for
}

// An hourRow is the rows of one kind in an hour.
type hourRow struct {
	*hourKind
	rows, asLookups uint64
	sumCount
}

// An hourOfRows is an hour, since 1970, of rows by their first lookup.
type hourOfRows struct {
	low  int64 // its first row
	rows []hourRow
	at   map[*hourKind]int // nil until a row is added
}

// rowsChanged says that rows below one were deleted, or came, among those that were stored before.
func (h *hourSums) rowsChanged(below int64) {
	for {
		before := h.below.Load()
		if h.below.CompareAndSwap(before, max(before, below)) {
			break
		}
	}
	h.changed.Add(1)
}

// forgetAll forgets the hours.
func (h *hourSums) forgetAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clearLocked()
}

func (h *hourSums) clearLocked() { h.hours, h.kinds, h.upto = nil, nil, 0 }

var errManyHours = errors.New("too many sums by hour")

// isWhole reports whether an hour begins at a time. A time that is not set is none.
func isWhole(at time.Time) bool {
	return at.IsZero() || at.UnixMilli()%hourMilli == 0 && at.Nanosecond()%int(time.Millisecond) == 0
}

// areWhole reports whether devices are these for whole hours.
func areWhole(all ...[]DeviceSpan) bool {
	for _, spans := range all {
		for i := range spans {
			if !isWhole(spans[i].From) || !isWhole(spans[i].Until) {
				return false
			}
		}
	}
	return true
}

// byHour returns the sums of the hours that lie between two times, and which these are: from since on up to but without
// until. A zero until is after all. The sums have all rows that are in the store at the position
// that s has then, and no others. ok is false where nothing can be told so.
func (s *snapshot) byHour(since, until time.Time) (rows []hourRow, in timeSpan, ok bool, err error) {
	h := s.byHours
	if h == nil || s.held || s.old != nil || s.store == nil || s.store.version != schemaVersion || since.IsZero() {
		return nil, in, false, nil
	}
	first := (since.UnixMilli() + hourMilli - 1) / hourMilli
	if first*hourMilli == since.UnixMilli() && !isWhole(since) {
		first++
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.changed.Load(); n != h.seen { // before the rows are looked at
		h.dropLocked(h.below.Swap(0))
		h.seen = n
	}
	commit, err := s.store.begin()
	if err != nil {
		return nil, in, false, err
	}
	defer commit()
	var newest int64
	err = s.store.query(`SELECT (SELECT value FROM meta WHERE key = 'position'), (SELECT max(last) FROM window)`, nil, func(stmt *sqlite3.Stmt) bool {
		s.position, newest = stmt.ColumnInt64(0), stmt.ColumnInt64(1)
		return true
	})
	if err != nil {
		return nil, in, false, err
	}
	end := max(newest/hourMilli+1, first)
	if !until.IsZero() && until.UnixMilli() <= newest {
		end = until.UnixMilli() / hourMilli
	}
	if first >= end || end-first > hoursAtOnce {
		return nil, in, false, nil
	}
	switch err := h.fillLocked(s, first, end); {
	case err == errManyHours:
		return nil, in, false, nil
	case err != nil:
		h.clearLocked()
		return nil, in, false, err
	}
	for at := first; at < end; at++ {
		rows = append(rows, h.hours[at].rows...)
	}
	for i := range rows {
		if k := rows[i].hourKind; k.row == nil {
			k.row = s.store.rowOfKind(k.binding, &k.sumKind)
		}
	}
	if err := s.store.rows.err; err != nil {
		h.clearLocked()
		return nil, in, false, err
	}
	return rows, timeSpan{time.UnixMilli(first * hourMilli), time.UnixMilli(end * hourMilli)}, true, nil
}

// dropLocked forgets the hours that have a row below one.
func (h *hourSums) dropLocked(below int64) {
	if below == math.MaxInt64 {
		h.clearLocked()
		return
	}
	for at, of := range h.hours {
		if of.low < below {
			delete(h.hours, at)
		}
	}
}

// fillLocked makes hours known, within a transaction of the snapshot's store.
func (h *hourSums) fillLocked(s *snapshot, first, end int64) error {
	if h.drop == nil {
		h.drop = time.AfterFunc(hoursKeptFor, h.forgetAll)
	} else {
		h.drop.Reset(hoursKeptFor)
	}
	if h.store != s.id || len(h.kinds) > hourKinds {
		h.clearLocked()
		h.store = s.id
	}
	if h.hours == nil {
		h.hours, h.kinds = map[int64]*hourOfRows{}, map[hourKind]*hourKind{}
	}
	upto := (s.position+1)<<rowBits - 1
	if err := h.growLocked(s, upto); err != nil {
		return err
	}
	h.upto = upto
	for at := first; at < end; at++ {
		if h.hours[at] != nil {
			continue
		}
		behind := at + 1
		for behind < end && h.hours[behind] == nil && behind-at < 24 {
			behind++
		}
		if err := h.readLocked(s, at, behind); err != nil {
			return err
		}
		if h.countLocked() > hourRowsKept {
			for n := range h.hours {
				if n < first || n >= end {
					delete(h.hours, n)
				}
			}
			if h.countLocked() > hourRowsKept {
				h.clearLocked()
				return errManyHours
			}
		}
		at = behind - 1
	}
	return nil
}

func (h *hourSums) countLocked() (n int) {
	for _, of := range h.hours {
		n += len(of.rows)
	}
	return n
}

// growLocked adds the rows that came since to the hours that are known.
func (h *hourSums) growLocked(s *snapshot, upto int64) error {
	if len(h.hours) == 0 || upto <= h.upto {
		if upto < h.upto {
			clear(h.hours)
		}
		return nil
	}
	var windows, oldest int64
	err := s.store.query(`SELECT count(*), min(first) FROM window WHERE id > ? AND id <= ?`, []any{h.upto >> rowBits, upto >> rowBits}, func(stmt *sqlite3.Stmt) bool {
		windows, oldest = stmt.ColumnInt64(0), stmt.ColumnInt64(1)
		return true
	})
	if err != nil || windows == 0 {
		return err
	}
	if windows > hoursBehind {
		for at := range h.hours {
			if at >= oldest/hourMilli {
				delete(h.hours, at)
			}
		}
		return nil
	}
	return h.rowsLocked(s, span{after: h.upto, end: upto + 1}, math.MinInt64, math.MaxInt64)
}

// readLocked makes hours known that are not.
func (h *hourSums) readLocked(s *snapshot, first, end int64) error {
	for at := first; at < end; at++ {
		h.hours[at] = &hourOfRows{low: math.MaxInt64}
	}
	low, high, err := s.store.bounds(&Filter{Since: time.UnixMilli(first * hourMilli), Until: time.UnixMilli(end * hourMilli)})
	if err == nil {
		err = h.rowsLocked(s, span{after: max(low-1, -1), end: min(high, h.upto+1)}, first*hourMilli, end*hourMilli)
	}
	for at := first; at < end; at++ {
		h.hours[at].at = nil
	}
	return err
}

// rowsLocked adds the rows of a range of numbers and of a time to the hours that are known.
func (h *hourSums) rowsLocked(s *snapshot, in span, from, until int64) error {
	for table, name := range rowTables {
		var key hourKind
		var kind *hourKind
		sql := `SELECT r.id, r.binding, r.client, r.annotation, r.level, r.verdict, r.import, r.first, ` + lastOfRow + `, r.count, r.attempts, r.as_lookups
			FROM ` + name + ` r WHERE r.id > ? AND r.id < ? AND r.first >= ? AND r.first < ?`
		err := s.store.query(sql, []any{in.after, in.end, from, until}, func(stmt *sqlite3.Stmt) bool {
			n := stmt.ColumnInt64
			of := h.hours[hourOf(n(7))/hourMilli]
			if of == nil {
				return true
			}
			is := hourKind{table: table, binding: n(1), sumKind: sumKind{annotation: n(3), level: blocklists.Level(n(4)), verdict: n(5), imported: n(6)}}
			if client := stmt.ColumnRawText(2); len(client) > 0 {
				is.client = string(client)
			}
			if kind == nil || is != key {
				if key, kind = is, h.kinds[is]; kind == nil {
					made := is
					made.number = len(h.kinds)
					kind = &made
					h.kinds[is] = kind
				}
			}
			of.add(n(0), kind, &hourRow{rows: 1, asLookups: uint64(n(11)), sumCount: sumCount{uint64(n(9)), uint64(n(10)), n(7), n(8)}})
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (of *hourOfRows) add(id int64, kind *hourKind, row *hourRow) {
	of.low = min(of.low, id)
	if of.at == nil {
		of.at = make(map[*hourKind]int, len(of.rows))
		for i := range of.rows {
			of.at[of.rows[i].hourKind] = i
		}
	}
	i, ok := of.at[kind]
	if !ok {
		i = len(of.rows)
		of.at[kind] = i
		of.rows = append(of.rows, hourRow{hourKind: kind})
	}
	have := &of.rows[i]
	have.rows += row.rows
	have.asLookups += row.asLookups
	have.sumCount.add(&row.sumCount)
}

// rowOfKind returns a row of what sums have in common.
func (db *database) rowOfKind(binding int64, of *sumKind) *Row {
	d := &db.rows
	row := &Row{Verdict: verdictWords.of(of.verdict), Attribution: levelWords.of(int64(of.level))}
	if b := d.boundTo(binding); b != nil {
		row.bound(b.Binding, b.addr)
	}
	row.cameFrom(of.client)
	row.annotated(d.annotation(of.annotation))
	row.Imported = d.imported(of.imported)
	return row
}

// topByHour is topStored for what sums by hour can tell. ok is false where they cannot.
func (s *snapshot) topByHour(c topColumn, f *Filter, t tops) (ok bool, err error) {
	if !c.byHour || !f.name.empty() || f.Device != "" || f.After != 0 || f.Before != 0 || f.only != "" || f.begun || !areWhole(f.Devices, f.Without) {
		return false, nil
	}
	rows, in, ok, err := s.byHour(f.Since, f.Until)
	if err != nil || !ok {
		return ok, err
	}
	labelled := c.label != `''`
	for i := range rows {
		h := &rows[i]
		row := *h.row
		row.Time, row.Last, row.Count, row.Attempts, row.AsLookups = Time{time.UnixMilli(h.first)}, Time{time.UnixMilli(h.last)}, h.lookups, 0, 0
		if key, chosen := c.of(&row); chosen && f.matchesKind(&row) {
			line := topOf(key, &row, labelled)
			line.Attempts, line.AsLookups, line.Rows = h.attempts, h.asLookups, h.rows
			t.add(line)
		}
	}
	parts := []Filter{*f} // rows that began before, and have a lookup in f's time
	parts[0].Until, parts[0].beganBefore = in.since, in.since.UnixMilli()
	if !f.Until.IsZero() && f.Until.After(in.until) {
		behind := *f
		behind.Since, behind.beganFrom = in.until, in.until.UnixMilli()
		parts = append(parts, behind)
	}
	for i := range parts {
		part := &parts[i]
		err := s.eachSpan(part, func(db *database, in span) error { return db.top(c, part, in, t) })
		if err != nil {
			return true, err
		}
	}
	return true, nil
}

// matchesKind reports whether a row is chosen, but for its time and its names.
func (f *Filter) matchesKind(r *Row) bool {
	return (f.Verdict == "" || r.Verdict == f.Verdict) && (f.Vendor == "" || equalFold(r.Vendor, f.Vendor)) && f.matchesDevice(r)
}

// hourlyAlike is above the numbers of sums that are alike which stored sums have.
const hourlyAlike = 1 << 30

// unlistedByHour calls each with the sums by hour of unlisted rows that f chooses, and returns of which time these are; of none where
// hours cannot tell.
func (s *snapshot) unlistedByHour(f *SumFilter, each func(*Sum) bool) (in timeSpan, err error) {
	if f.Rows || f.Device != "" || !areWhole(f.Devices, f.Without) || slices.ContainsFunc(f.Apart, func(at time.Time) bool { return !isWhole(at) }) {
		return timeSpan{}, nil
	}
	chosen := Filter{Devices: f.Devices, Without: f.Without, Vendor: f.Vendor}
	sum := Sum{Part: Hourly}
	rows, in, ok, err := s.byHour(f.Since, f.Until)
	if err != nil || !ok {
		return timeSpan{}, err
	}
	for i := range rows {
		h := &rows[i]
		if h.table == 0 {
			continue
		}
		sum.Row, sum.Alike = *h.row, hourlyAlike+h.number
		sum.Time, sum.Last, sum.Count, sum.Attempts = Time{time.UnixMilli(h.first)}, Time{time.UnixMilli(h.last)}, h.lookups, uint32(min(h.attempts, math.MaxUint32))
		if chosen.matchesKind(&sum.Row) && !each(&sum) {
			return in, errEnough
		}
	}
	return in, nil
}
