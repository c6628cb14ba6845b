package querylog

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// A Sum is a row, or several of an hour or a day that reports need not tell apart: their
// lookups and attempts together, between the first and the last, with the number of the
// last row. What else rows that are summed differ in is empty.
type Sum struct {
	Row
	Part  SumPart
	Alike int // sums with the same number, of one reading, differ in times, counts, and what names are; 0: nothing is known
}

// A SumPart says what of its lookups a Sum tells. Lookups of a Hourly one are told once more
// by the name: their names are those of Named ones.
type SumPart int

const (
	Single SumPart = iota // all
	Hourly                // all but the names; of one hour
	Named                 // the names
)

// A SumFilter chooses the rows whose sums are wanted: by their first lookup, from Since
// up to but without Until.
type SumFilter struct {
	Since, Until time.Time
	Device       string // as these are in Filter
	Devices      []DeviceSpan
	Without      []DeviceSpan
	Vendor       string

	Apart []time.Time // lookups before and from each on are not summed
	Rows  bool        // nothing is
}

// Sums returns sums of the rows that f chooses: those that the store has made of the
// rows of listed names, for whole UTC days, and all other rows. Names of unlisted ones are left out. A Sum is valid until the next.
func (r *Reader) Sums(ctx context.Context, f SumFilter) iter.Seq2[*Sum, error] {
	return func(yield func(*Sum, error) bool) {
		s, err := r.look(ctx, nil)
		if err == nil {
			defer s.close()
			err = s.sums(&f, func(sum *Sum) bool { return yield(sum, nil) })
		}
		if err != nil {
			yield(nil, cmp.Or(ctx.Err(), err))
		}
	}
}

// A timeSpan is a time from since on, up to but without until.
type timeSpan struct{ since, until time.Time }

// errEnough ends a reading.
var errEnough = errors.New("enough is read")

func (s *snapshot) sums(f *SumFilter, each func(*Sum) bool) error {
	summed, days, err := s.storedSums(f, each)
	if err == errEnough {
		return nil
	}
	if err != nil {
		return err
	}
	var rest []timeSpan
	at := f.Since
	for _, in := range days {
		rest = append(rest, timeSpan{at, in.since})
		at = in.until
	}
	rest = append(rest, timeSpan{at, f.Until})
	read := func(in timeSpan, table string, after int64) error {
		if !in.since.Before(in.until) {
			return nil
		}
		rows, err := (&Filter{Since: in.since, Until: in.until, Device: f.Device, Devices: f.Devices, Without: f.Without, Vendor: f.Vendor, After: after}).normal()
		if err != nil {
			return err
		}
		if rows.only, rows.says = table, summedColumns; table == "unlisted" {
			rows.says = namelessColumns
		}
		sum, more := Sum{}, true
		err = s.rows(rows, 0, func(row Row) bool {
			if row.Time.Before(in.since) || !row.Time.Before(in.until) {
				return true
			}
			sum.Row = row
			more = each(&sum)
			return more
		})
		if err == nil && !more {
			err = errEnough
		}
		return err
	}
	for _, in := range rest {
		if err = cmp.Or(err, read(in, "listed", 0)); err != nil {
			break
		}
	}
	for _, in := range days {
		if err = cmp.Or(err, read(in, "listed", summed)); err != nil {
			break
		}
	}
	if err = cmp.Or(err, read(timeSpan{f.Since, f.Until}, "unlisted", 0)); err == errEnough {
		return nil
	}
	return err
}

// storedSums calls each with the sums that f chooses, and returns of which days they
// are, and the last row that is in them. Windows that were stored meanwhile are then read from the store.
func (s *snapshot) storedSums(f *SumFilter, each func(*Sum) bool) (summed int64, days []timeSpan, err error) {
	if f.Rows || f.Device != "" || s.old != nil || s.store == nil || s.store.version < versionOfDaySums {
		return 0, nil, nil
	}
	low, end := dayOf(f.Since.UnixMilli()+dayMilli-1), dayOf(f.Until.UnixMilli())
	if f.Since.Nanosecond()%int(time.Millisecond) != 0 {
		low = dayOf(f.Since.UnixMilli() + dayMilli)
	}
	if low >= end {
		return 0, nil, nil
	}
	db := s.store
	if !s.held { // else it is in a transaction, and has the position of that
		if err := db.conn.Exec(`BEGIN`); err != nil {
			return 0, nil, err
		}
		defer db.conn.Exec(`COMMIT`)
	}
	err = db.query(`SELECT (SELECT value FROM meta WHERE key = 'position'), (SELECT value FROM meta WHERE key = '`+metaSummed+`')`, nil, func(stmt *sqlite3.Stmt) bool {
		if summed = stmt.ColumnInt64(1); !s.held {
			s.position = stmt.ColumnInt64(0)
		}
		return true
	})
	if err != nil || summed <= 0 {
		return 0, nil, err
	}
	apart, err := db.daysApart(f, low, end)
	if err != nil {
		return 0, nil, err
	}
	if err := db.eachSum(f, low, end, apart, each); err != nil {
		return 0, nil, err
	}
	for day := low; day < end; day++ {
		if apart[day] {
			continue
		}
		in := timeSpan{time.UnixMilli(day * dayMilli), time.UnixMilli((day + 1) * dayMilli)}
		if n := len(days); n > 0 && days[n-1].until.Equal(in.since) {
			days[n-1].until = in.until
		} else {
			days = append(days, in)
		}
	}
	return summed, days, nil
}

// daysApart returns the days of which rows are read.
func (db *database) daysApart(f *SumFilter, low, end int64) (map[int64]bool, error) {
	apart := map[int64]bool{}
	add := func(at time.Time) {
		if ms := at.UnixMilli(); !at.IsZero() && (ms%dayMilli != 0 || at.Nanosecond()%int(time.Millisecond) != 0) {
			apart[dayOf(ms)] = true
		}
	}
	for _, at := range f.Apart {
		add(at)
	}
	for _, spans := range [][]DeviceSpan{f.Devices, f.Without} {
		for i := range spans {
			add(spans[i].From)
			add(spans[i].Until)
		}
	}
	err := db.query(`SELECT day FROM summed_day WHERE day >= ? AND day < ? AND whole = 0`, []any{low, end}, func(stmt *sqlite3.Stmt) bool {
		apart[stmt.ColumnInt64(0)] = true
		return true
	})
	return apart, err
}

// eachSum calls each with the stored sums of days from low on, up to end. A day with sums that
// cannot be read is added to those whose rows are read.
func (db *database) eachSum(f *SumFilter, low, end int64, apart map[int64]bool, each func(*Sum) bool) error {
	sql, args := `SELECT day, binding, sums FROM day_sum WHERE day >= ? AND day < ?`, []any{low, end}
	if len(f.Devices) > 0 {
		sql += ` AND binding IN (SELECT id FROM binding WHERE device IN (` + strings.Repeat(",?", len(f.Devices))[1:] + `) UNION SELECT 0)`
		for i := range f.Devices {
			args = append(args, f.Devices[i].Device)
		}
	}
	r := sumReader{db: db, f: f, rows: Filter{Devices: f.Devices, Without: f.Without, Vendor: f.Vendor}, known: map[string]string{}, of: map[sumRowKey]*sumRow{}, each: each}
	err := db.query(sql+` ORDER BY day`, args, func(stmt *sqlite3.Stmt) bool {
		day := stmt.ColumnInt64(0)
		if day != r.day {
			r.err = r.readDay()
			r.day = day
		}
		if r.err == nil && !apart[day] && r.decode(stmt.ColumnInt64(1), stmt.ColumnRawBlob(2), day) != nil {
			apart[day] = true
			r.read = 0
		}
		return r.err == nil
	})
	if err = cmp.Or(err, r.err); err == nil {
		err = r.readDay()
	}
	return cmp.Or(err, db.rows.err)
}

// A sumReader makes Sums of stored ones.
type sumReader struct {
	db    *database
	f     *SumFilter
	rows  Filter // the same as f, but for the times
	day   int64
	sums  []boundSum // of the day; the first read of them are to be told
	read  int
	known map[string]string
	of    map[sumRowKey]*sumRow // rows with what sums have in common
	alike int
	each  func(*Sum) bool
	err   error
}

// A boundSum is the sums of a binding's day.
type boundSum struct {
	binding int64
	daySum
}

type sumRowKey struct {
	binding int64
	sumKind
}

// decode reads encoded sums of a day, to be told when all of it is read. Of texts it knows, it keeps few: a period has any number.
func (r *sumReader) decode(binding int64, b []byte, day int64) error {
	if len(r.known) >= readerKnows {
		clear(r.known)
	}
	if r.read == len(r.sums) {
		r.sums = append(r.sums, boundSum{})
	}
	s := &r.sums[r.read]
	s.binding = binding
	err := s.decode(b, day, r.known)
	if err == nil {
		r.read++
	}
	return err
}

// readDay calls each with the sums of a day.
func (r *sumReader) readDay() error {
	for i := range r.sums[:r.read] {
		if err := r.tell(&r.sums[i]); err != nil {
			return err
		}
	}
	r.read = 0
	return nil
}

// tell calls each with the sums of a binding's day, those by the hour first.
func (r *sumReader) tell(s *boundSum) error {
	var sum Sum
	var kinds dayKinds
	tell := func(of *sumKind, c *sumCount, name *nameSum) bool {
		row := kinds.row(r, s.binding, of)
		sum.Row, sum.Alike = row.Row, row.alike
		sum.Time, sum.Last, sum.Count, sum.Attempts = Time{time.UnixMilli(c.first)}, Time{time.UnixMilli(c.last)}, c.lookups, uint32(min(c.attempts, math.MaxUint32))
		sum.Part = Hourly
		if name != nil {
			sum.Part = Named
			sum.ID, sum.Name, sum.Alias, sum.AttributionLine = name.id, name.name, name.alias, int(name.attrLine)
			sum.AttributionList = r.db.rows.list(name.attrList)
		}
		return !r.chosen(&sum.Row) || r.each(&sum)
	}
	for i := range s.hours {
		if h := &s.hours[i]; !tell(&h.sumKind, &h.sumCount, nil) {
			return errEnough
		}
	}
	for i := range s.names {
		if n := &s.names[i]; !tell(&n.sumKind, &n.sumCount, n) {
			return errEnough
		}
	}
	return nil
}

func (r *sumReader) chosen(row *Row) bool {
	return (r.f.Vendor == "" || equalFold(row.Vendor, r.f.Vendor)) && r.rows.matchesDevice(row)
}

// A sumRow is a row of what sums have in common.
type sumRow struct {
	Row
	alike int
}

// dayKinds are the first kinds of sums of a binding's day: a day has many sums, and few kinds.
type dayKinds struct {
	kinds [16]sumKind
	rows  [16]*sumRow
	n     int
}

func (k *dayKinds) row(r *sumReader, binding int64, of *sumKind) *sumRow {
	for i := range k.n {
		if k.kinds[i] == *of {
			return k.rows[i]
		}
	}
	row := r.row(sumRowKey{binding, *of})
	if k.n < len(k.kinds) {
		k.kinds[k.n], k.rows[k.n] = *of, row
		k.n++
	}
	return row
}

// row returns a row of what sums have in common.
func (r *sumReader) row(key sumRowKey) *sumRow {
	row := r.of[key]
	if row == nil {
		d := &r.db.rows
		r.alike++
		row = &sumRow{alike: r.alike}
		row.Row = Row{Verdict: verdictWords.of(key.verdict), Attribution: levelWords.of(int64(key.level))}
		if b := d.boundTo(key.binding); b != nil {
			row.bound(b.Binding, b.addr)
		}
		row.cameFrom(key.client)
		row.annotated(d.annotation(key.annotation))
		row.Imported = d.imported(key.imported)
		if len(r.of) >= readerKnows {
			clear(r.of)
		}
		r.of[key] = row
	}
	return row
}
