package querylog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
)

// Sums by day are what reports read instead of rows of listed names: for each UTC day
// and binding, how many lookups and attempts there were by the hour, and by the name. The store makes them of its rows, some time
// after these came, in steps. meta.summed is the last row that is in them: a
// row with a higher number is in none, and every other is, but for the days that
// summed_day says are not whole. Where a row comes before that number, the sums of its
// day are made again; where some are deleted from the middle, all are.

// createDaySums are the tables of sums by day.
const createDaySums = `CREATE TABLE summed_day ( -- the days that sums are of
	day   INTEGER PRIMARY KEY, -- since 1970, UTC
	low   INTEGER NOT NULL,    -- listed.id of its first row, as far as rows are summed
	high  INTEGER NOT NULL,    -- and of its last
	whole INTEGER NOT NULL     -- 0: it has no sums, since some of its rows are deleted, or they would be too many
) STRICT;
CREATE TABLE day_sum ( -- sums of a day's rows of listed names
	id      INTEGER PRIMARY KEY,
	day     INTEGER NOT NULL,
	binding INTEGER NOT NULL, -- binding.id; 0 for none
	sums    BLOB NOT NULL,    -- see docs/querylog.md
	UNIQUE (day, binding)
) STRICT;
`

// createSumAgain is the column for days whose sums are made again while those of others stay.
const createSumAgain = `ALTER TABLE summed_day ADD COLUMN again INTEGER NOT NULL DEFAULT 0; -- where it is not whole: the last row that is in the sums that are made again; -1: they are to be begun; 0: they are not made
`

// Values of summed_day.again. Others are rows.
const (
	sumsStay    = 0
	sumsToBegin = -1
)

// metaSummed is the key of the last row that is in sums, in the store's meta table;
// sumsGone where all sums are to be deleted.
const (
	metaSummed = "summed"
	sumsGone   = -1
)

const (
	dayMilli      = 24 * hourMilli
	sumEvery      = 15 * time.Minute // rest where all rows are summed
	sumAge        = 2 * time.Minute  // of a row that is summed: who records a capture stores rows that are as old
	sumRowsMin    = 200
	sumRowsMax    = 5_000
	sumsOfBinding = 4_096   // by hour, and by name, that a binding may have in a day: of more, rows are read
	sumOctets     = 1 << 20 // of sums that a step reads or deletes, but for the last
	sumsOfDay     = 4 << 20 // octets of sums that a day may have: of more, rows are read
)

// dayOf returns the number of the UTC day of a time.
func dayOf(ms int64) int64 { return (ms - (ms%dayMilli+dayMilli)%dayMilli) / dayMilli }

// A sumCount is what a sum counts.
type sumCount struct {
	lookups, attempts uint64
	first, last       int64 // Unix milliseconds
}

func (c *sumCount) add(d *sumCount) {
	if c.lookups == 0 {
		c.first, c.last = d.first, d.last
	}
	c.lookups += d.lookups
	c.attempts += d.attempts
	c.first, c.last = min(c.first, d.first), max(c.last, d.last)
}

// A sumKind is what sums of a binding's day have in common.
type sumKind struct {
	client     string // NULL as ""
	annotation int64
	level      blocklists.Level
	verdict    int64
	imported   int64
}

// An hourSum is of the lookups of an hour, by their first one.
type hourSum struct {
	hour int64 // of the day
	sumKind
	sumCount
}

// A nameSum is of the lookups of a name in a day.
type nameSum struct {
	name, alias        string
	attrList, attrLine int64
	sumKind
	sumCount
	id int64 // of the last row
}

type hourKey struct {
	hour int64
	of   sumKind
}

type nameKey struct {
	name, alias        string
	attrList, attrLine int64
	of                 sumKind
}

// A daySum is the sums of a binding's day.
type daySum struct {
	hours []hourSum
	names []nameSum

	byHour map[hourKey]int // made by the first add
	byName map[nameKey]int
}

// A summedRow is what a row brings to sums.
type summedRow struct {
	id, binding int64
	name        nameSum
}

// add adds a row.
func (d *daySum) add(r *summedRow) {
	if d.byHour == nil {
		d.byHour, d.byName = make(map[hourKey]int, len(d.hours)), make(map[nameKey]int, len(d.names))
		for i := range d.hours {
			d.byHour[hourKey{d.hours[i].hour, d.hours[i].sumKind}] = i
		}
		for i := range d.names {
			d.byName[d.names[i].key()] = i
		}
	}
	n := &r.name
	key := hourKey{(hourOf(n.first) - dayOf(n.first)*dayMilli) / hourMilli, n.sumKind}
	at, ok := d.byHour[key]
	if !ok {
		at = len(d.hours)
		d.byHour[key] = at
		d.hours = append(d.hours, hourSum{hour: key.hour, sumKind: key.of})
	}
	d.hours[at].add(&n.sumCount)
	if n.level < blocklists.ByList {
		return // reports do not name it
	}
	if at, ok = d.byName[n.key()]; !ok {
		at = len(d.names)
		d.byName[n.key()] = at
		d.names = append(d.names, nameSum{name: n.name, alias: n.alias, attrList: n.attrList, attrLine: n.attrLine, sumKind: n.sumKind})
	}
	d.names[at].add(&n.sumCount)
	d.names[at].id = max(d.names[at].id, r.id)
}

func (n *nameSum) key() nameKey {
	return nameKey{n.name, n.alias, n.attrList, n.attrLine, n.sumKind}
}

// sumsFormat is the first octet of encoded sums.
const sumsFormat = 1

// encode returns the sums of a day as they are stored. docs/querylog.md describes them.
func (d *daySum) encode(day int64) []byte {
	texts := map[string]uint64{}
	var table []byte
	text := func(s string) uint64 {
		n, ok := texts[s]
		if !ok {
			n = uint64(len(texts))
			texts[s] = n
			table = append(binary.AppendUvarint(table, uint64(len(s))), s...)
		}
		return n
	}
	var b []byte
	uint := func(all ...uint64) {
		for _, v := range all {
			b = binary.AppendUvarint(b, v)
		}
	}
	of := func(s *sumKind, c *sumCount) {
		uint(text(s.client), uint64(s.annotation), uint64(s.level), uint64(s.verdict), uint64(s.imported), c.lookups, c.attempts)
		b = binary.AppendVarint(b, c.first-day*dayMilli)
		b = binary.AppendVarint(b, c.last-c.first)
	}
	uint(uint64(len(d.hours)))
	for i := range d.hours {
		s := &d.hours[i]
		uint(uint64(s.hour))
		of(&s.sumKind, &s.sumCount)
	}
	uint(uint64(len(d.names)))
	id := int64(0)
	for i := range d.names {
		s := &d.names[i]
		uint(text(s.name), text(s.alias), uint64(s.attrList), uint64(s.attrLine))
		b = binary.AppendVarint(b, s.id-id)
		id = s.id
		of(&s.sumKind, &s.sumCount)
	}
	all := binary.AppendUvarint([]byte{sumsFormat}, uint64(len(texts)))
	return append(append(all, table...), b...)
}

var errSums = errors.New("sums of a day cannot be read")

// decode reads encoded sums of a day. Texts that known has are not made again.
func (d *daySum) decode(b []byte, day int64, known map[string]string) error {
	c := cursor{b: b}
	*d = daySum{hours: d.hours[:0], names: d.names[:0]}
	if c.byte() != sumsFormat {
		return errSums
	}
	n := c.uint()
	if n > uint64(len(c.b)) {
		return errSums
	}
	texts := make([]string, n)
	for i := range texts {
		t := c.bytes()
		s, ok := known[string(t)]
		if !ok {
			s = string(t)
			known[s] = s
		}
		texts[i] = s
	}
	text := func() string {
		if n := c.uint(); n < uint64(len(texts)) {
			return texts[n]
		}
		c.err = errSums
		return ""
	}
	of := func(s *sumKind, sum *sumCount) {
		s.client, s.annotation, s.level, s.verdict, s.imported = text(), int64(c.uint()), blocklists.Level(c.uint()), int64(c.uint()), int64(c.uint())
		sum.lookups, sum.attempts = c.uint(), c.uint()
		sum.first = day*dayMilli + c.int()
		sum.last = sum.first + c.int()
	}
	for range c.uint() {
		s := hourSum{hour: int64(c.uint())}
		of(&s.sumKind, &s.sumCount)
		if c.err != nil {
			return errSums
		}
		d.hours = append(d.hours, s)
	}
	id := int64(0)
	for range c.uint() {
		s := nameSum{name: text(), alias: text(), attrList: int64(c.uint()), attrLine: int64(c.uint()), id: id + c.int()}
		id = s.id
		of(&s.sumKind, &s.sumCount)
		if c.err != nil {
			return errSums
		}
		d.names = append(d.names, s)
	}
	if c.err != nil {
		return errSums
	}
	return nil
}

// selectSummed is the query of the rows that are to be summed next.
var selectSummed = `SELECT r.id, r.binding, r.first, ` + lastOfRow + `, r.count, r.attempts, r.client, r.annotation, r.level, r.verdict, r.import, r.attr_list, r.attr_line, m.name, l.name
	FROM listed r LEFT JOIN listed_name m ON m.id = ` + nameOfRow("name") + ` LEFT JOIN listed_name l ON l.id = ` + nameOfRow("alias") + `
	WHERE r.id > ? AND r.id < ? ORDER BY r.id LIMIT ?`

// A summer adds rows to the sums of their days, in one transaction.
type summer struct {
	s    *store
	days map[int64]*summedDay
	last int64  // row
	read int    // octets of sums
	only *int64 // the day whose rows are added; nil: all
}

// A summedDay is a day in a summer's hands.
type summedDay struct {
	low, high int64
	whole     bool
	again     int64
	octets    int64             // of its stored sums
	sums      map[int64]*daySum // by binding
}

// sumStep adds up to so many rows before a number to the sums, or makes others fit the rows
// there are, and reports whether there was something to do.
func (s *store) sumStep(most int, end int64) (any bool, err error) {
	summed, err := s.meta(metaSummed)
	if err != nil {
		return false, err
	}
	if summed == sumsGone {
		_, err := s.deleteSums()
		return true, err
	}
	if left, err := s.number(`SELECT EXISTS (SELECT 1 FROM listed WHERE id > ? AND id < ?)`, summed, end); err != nil || left != 0 {
		if err != nil {
			return false, err
		}
		w := &summer{s: s, days: map[int64]*summedDay{}, last: summed}
		return true, s.transact(func() error {
			if _, err := w.addRows(most, end); err != nil {
				return err
			}
			return errors.Join(w.store(), s.setMeta(metaSummed, w.last))
		})
	}
	if n, err := s.deleteUnused(); err != nil || n > 0 {
		return true, err
	}
	if any, err := s.sumAgain(most, summed); err != nil || any {
		return true, err
	}
	return s.readSums()
}

// sumAgain adds up to so many rows to the sums of a day that are made again. A day to which
// rows came a moment ago waits: more may come.
func (s *store) sumAgain(most int, summed int64) (any bool, err error) {
	number, day := int64(0), summedDay{sums: map[int64]*daySum{}}
	err = s.texts(`SELECT day, low, high, again, (SELECT coalesce(sum(length(sums)), 0) FROM day_sum WHERE day_sum.day = summed_day.day) FROM summed_day WHERE whole = 0 AND again <> 0`, func(stmt *sqlite3.Stmt) {
		n := stmt.ColumnInt64(0)
		at, touched := s.sumsTouched[n]
		if touched && time.Since(at) < sumAge || any {
			return
		}
		delete(s.sumsTouched, n)
		any, number = true, n
		day.low, day.high, day.again, day.octets = stmt.ColumnInt64(1), stmt.ColumnInt64(2), stmt.ColumnInt64(3), stmt.ColumnInt64(4)
	})
	if err != nil || !any {
		return false, err
	}
	day.whole = true
	w := &summer{s: s, days: map[int64]*summedDay{number: &day}, last: max(day.again, day.low-1), only: &number}
	return true, s.transact(func() error {
		all, err := w.addRows(most, min(day.high, summed)+1)
		if err != nil {
			return err
		}
		if err := w.store(); err != nil || !day.whole || all {
			return err
		}
		return s.exec(`UPDATE summed_day SET whole = 0, again = ? WHERE day = ?`, w.last, number)
	})
}

// addRows adds the next rows before a number, until it has read many sums, and reports whether it has
// added all.
func (w *summer) addRows(most int, end int64) (all bool, err error) {
	stmt, _, err := w.s.conn.Prepare(selectSummed)
	if err != nil {
		return false, err
	}
	defer stmt.Close()
	stmt.BindInt64(1, w.last)
	stmt.BindInt64(2, end)
	stmt.BindInt64(3, int64(most))
	n, text := stmt.ColumnInt64, stmt.ColumnText
	rows := 0
	for w.read < sumOctets && stmt.Step() {
		rows++
		r := summedRow{id: n(0), binding: n(1), name: nameSum{name: text(13), alias: text(14), attrList: n(11), attrLine: n(12),
			sumKind:  sumKind{text(6), n(7), blocklists.Level(n(8)), n(9), n(10)},
			sumCount: sumCount{uint64(n(4)), uint64(n(5)), n(2), n(3)}}}
		if err := w.add(&r); err != nil {
			return false, err
		}
		w.last = r.id
	}
	return rows < most && w.read < sumOctets, stmt.Err()
}

// add adds a row to the sums of its day, which it reads the first time.
func (w *summer) add(r *summedRow) error {
	number := dayOf(r.name.first)
	if w.only != nil && number != *w.only {
		return nil
	}
	day := w.days[number]
	if day == nil {
		day = &summedDay{low: r.id, whole: true, sums: map[int64]*daySum{}}
		err := w.s.texts(`SELECT low, high, whole, again, (SELECT sum(length(sums)) FROM day_sum WHERE day_sum.day = summed_day.day) FROM summed_day WHERE day = ?`, func(stmt *sqlite3.Stmt) {
			day.low, day.high, day.whole, day.again, day.octets = stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2) == 1, stmt.ColumnInt64(3), stmt.ColumnInt64(4)
		}, number)
		if err != nil {
			return err
		}
		w.days[number] = day
	}
	day.high = max(day.high, r.id)
	if !day.whole {
		return nil
	}
	sum := day.sums[r.binding]
	if sum == nil {
		sum = &daySum{}
		var failed error
		err := w.s.texts(`SELECT sums FROM day_sum WHERE day = ? AND binding = ?`, func(stmt *sqlite3.Stmt) {
			b := stmt.ColumnRawBlob(0)
			w.read += len(b)
			day.octets -= int64(len(b))
			failed = sum.decode(b, number, map[string]string{})
		}, number, r.binding)
		if err != nil {
			return err
		}
		if failed != nil {
			w.s.unreadable = append(w.s.unreadable, number)
			day.whole, day.again = false, sumsToBegin
			return nil
		}
		day.sums[r.binding] = sum
	}
	sum.add(r)
	if max(len(sum.hours), len(sum.names)) > sumsOfBinding {
		day.whole, day.again = false, sumsStay
	}
	return nil
}

// store stores the sums of the days that have changed. Those that a day had are deleted
// later where it has none any more.
func (w *summer) store() error {
	for number, day := range w.days {
		encoded := map[int64][]byte{}
		for binding, sum := range day.sums {
			encoded[binding] = sum.encode(number)
			day.octets += int64(len(encoded[binding]))
		}
		if day.whole && day.octets > sumsOfDay {
			day.whole, day.again = false, sumsStay
		}
		whole := int64(0)
		if day.whole {
			whole, day.again = 1, sumsStay
			for binding, sums := range encoded {
				if err := w.s.storeSum(number, binding, sums); err != nil {
					return err
				}
			}
		}
		err := w.s.exec(`INSERT INTO summed_day VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET high = excluded.high, whole = excluded.whole, again = excluded.again`, number, day.low, day.high, whole, day.again)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *store) storeSum(day, binding int64, sums []byte) error {
	stmt, _, err := s.conn.Prepare(`INSERT INTO day_sum (day, binding, sums) VALUES (?,?,?) ON CONFLICT DO UPDATE SET sums = excluded.sums`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	stmt.BindInt64(1, day)
	stmt.BindInt64(2, binding)
	stmt.BindBlob(3, sums)
	return stmt.Exec()
}

// dropSums makes all sums be made again, in the transaction at hand: rows are deleted that
// are not the oldest.
func (s *store) dropSums() error {
	return s.exec(fmt.Sprintf(`UPDATE meta SET value = %d WHERE key = '%s' AND value <> 0`, sumsGone, metaSummed))
}

// deleteSums deletes some of the sums that are dropped, and reports whether none is
// left.
func (s *store) deleteSums() (done bool, err error) {
	err = s.transact(func() error {
		n, err := s.deleteOf(`SELECT id, length(sums) FROM day_sum ORDER BY id`)
		if done = n == 0; err != nil || !done {
			return err
		}
		return errors.Join(s.exec(`DELETE FROM summed_day`), s.setMeta(metaSummed, 0))
	})
	return done && err == nil, err
}

// deleteUnused deletes some of the sums of days that are not whole, and returns how many.
func (s *store) deleteUnused() (n int, err error) {
	const unused = ` FROM summed_day s JOIN day_sum d ON d.day = s.day WHERE s.whole = 0 AND s.again <= 0`
	if any, err := s.number(`SELECT EXISTS (SELECT 1` + unused + `)`); err != nil || any == 0 {
		return 0, err
	}
	err = s.transact(func() (err error) {
		n, err = s.deleteOf(`SELECT d.id, length(d.sums)` + unused)
		return err
	})
	return n, err
}

// deleteOf deletes sums that a query chooses, until they are many octets: a large one takes
// long, as what it had is overwritten.
func (s *store) deleteOf(query string) (n int, err error) {
	stmt, _, err := s.conn.Prepare(query)
	if err != nil {
		return 0, err
	}
	var ids []int64
	for octets := int64(0); octets < sumOctets && stmt.Step(); octets += stmt.ColumnInt64(1) {
		ids = append(ids, stmt.ColumnInt64(0))
	}
	if err := errors.Join(stmt.Err(), stmt.Close()); err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := s.exec(`DELETE FROM day_sum WHERE id = ?`, id); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// dropDays makes the days of which the oldest rows were deleted have no sums, in the
// same transaction.
func (s *store) dropDays() error {
	oldest, err := s.number(`SELECT coalesce(min(id), ?) FROM listed`, math.MaxInt64)
	if err != nil {
		return err
	}
	return errors.Join(s.exec(`UPDATE summed_day SET whole = 0, again = 0 WHERE low < ?`, oldest),
		s.exec(`DELETE FROM summed_day WHERE high < ? AND NOT EXISTS (SELECT 1 FROM day_sum d WHERE d.day = summed_day.day)`, oldest))
}

// A rowRange is from a row to another.
type rowRange struct{ low, high int64 }

// sumDaysAgain makes the sums of days be made again, in the transaction at hand: these rows of theirs
// came, and may be before the last that is summed.
func (s *store) sumDaysAgain(came map[int64]rowRange) error {
	summed, err := s.meta(metaSummed)
	if err != nil || summed <= 0 {
		return err
	}
	for day, rows := range came {
		if rows.low > summed {
			continue
		}
		err := s.exec(`INSERT INTO summed_day VALUES (?1,?2,?3,0,?4) ON CONFLICT DO UPDATE SET low = min(low, ?2), high = max(high, ?3),
			whole = 0, again = CASE WHEN whole = 0 AND (again = 0 OR again > 0 AND again < ?2) THEN again ELSE ?4 END`, day, rows.low, rows.high, sumsToBegin)
		if err != nil {
			return err
		}
		if s.sumsTouched == nil {
			s.sumsTouched = map[int64]time.Time{}
		}
		s.sumsTouched[day] = time.Now()
	}
	return nil
}

// readSums reads the next of the stored sums, once after the store was opened, and makes those
// of days with one that cannot be read be made again. It reports whether there was one.
func (s *store) readSums() (any bool, err error) {
	if s.sumsRead < 0 {
		return false, nil
	}
	var bad []int64
	var sums daySum
	read := 0
	known := map[string]string{}
	stmt, _, err := s.conn.Prepare(`SELECT id, day, sums FROM day_sum WHERE id > ? ORDER BY id`)
	if err != nil {
		return false, err
	}
	stmt.BindInt64(1, s.sumsRead)
	for read < sumOctets && stmt.Step() {
		any = true
		s.sumsRead = stmt.ColumnInt64(0)
		b := stmt.ColumnRawBlob(2)
		read += len(b)
		if day := stmt.ColumnInt64(1); sums.decode(b, day, known) != nil {
			bad = append(bad, day)
		}
	}
	if err := errors.Join(stmt.Err(), stmt.Close()); err != nil {
		return false, err
	}
	if !any {
		s.sumsRead = -1
	}
	if len(bad) == 0 {
		return any, nil
	}
	s.unreadable = append(s.unreadable, bad...)
	return true, s.transact(func() error {
		for _, day := range bad {
			if err := s.exec(`UPDATE summed_day SET whole = 0, again = ? WHERE day = ?`, sumsToBegin, day); err != nil {
				return err
			}
		}
		return nil
	})
}

// addSums sums the rows of listed names that came since, and then makes sets of names, in steps, while nothing else is
// to be done. The rest between steps is that of a migration, for the same reason. While a
// device is forgotten there are no sums: they would have rows of it that are not deleted yet.
func (s *storer) addSums() {
	if s.store.old != nil || s.forgetting.Load() != nil || time.Now().Before(s.sumAt) {
		return
	}
	s.sumRows = min(max(s.sumRows, sumRowsMin), sumRowsMax)
	begun := time.Now()
	any, err := s.store.sumStep(s.sumRows, s.l.o.Now().Add(-sumAge).Unix()<<rowBits)
	if !any && err == nil { // names are looked through meanwhile, too
		any, err = s.store.nameSetStep()
	}
	took := time.Since(begun)
	s.tellUnreadable()
	switch {
	case took > stepTime:
		s.sumRows /= 2
	case took < stepTime/2:
		s.sumRows *= 2
	}
	s.sumAt = begun.Add(sumEvery)
	if any {
		s.uncheckpointed = true
		s.sumAt = time.Now().Add(max(migrateEvery, migrateRest*took))
	}
	if isCorrupt(err) {
		err = s.replaceStore(err)
	}
	if err != nil {
		s.failed(err)
	}
}

// tellUnreadable says of which days sums could not be read.
func (s *storer) tellUnreadable() {
	days := s.store.unreadable
	s.store.unreadable = nil
	slices.Sort(days)
	for _, day := range slices.Compact(days) {
		s.l.o.Logger.Warn("query log: sums of a day cannot be read; they are made again from its rows, which reports read until then",
			"file", s.store.path, "day", time.UnixMilli(day*dayMilli).UTC().Format(time.DateOnly))
	}
}
