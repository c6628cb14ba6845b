package querylog

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
	"telltale/dnswire"
)

// createTotals are the tables of what outlives rows.
const createTotals = `CREATE TABLE total_key ( -- what an hourly total is of
	id      INTEGER PRIMARY KEY,
	node    INTEGER NOT NULL,
	device  TEXT NOT NULL,
	vendor  TEXT NOT NULL, -- this and the next three as a rule or a list says, '' where none does
	product TEXT NOT NULL,
	purpose TEXT NOT NULL,
	tier    TEXT NOT NULL,
	verdict INTEGER NOT NULL,
	last    INTEGER NOT NULL, -- the latest hour of which there is one, in hours since 1970
	UNIQUE (node, device, vendor, product, purpose, tier, verdict)
) STRICT;
CREATE TABLE total ( -- of one hour
	id         INTEGER PRIMARY KEY, -- hours since 1970 << 24 | total_key.id
	lookups    INTEGER NOT NULL,
	attempts   INTEGER NOT NULL, -- that began in the hour
	as_lookups INTEGER NOT NULL, -- of them, lookups that each counted as one
	names      INTEGER NOT NULL, -- different ones
	first      INTEGER NOT NULL, -- milliseconds from the beginning of the hour
	last       INTEGER NOT NULL
) STRICT;
CREATE TABLE total_name ( -- hashes of the names that were counted, while the hour is not long over
	total INTEGER NOT NULL, -- total.id
	name  INTEGER NOT NULL,
	PRIMARY KEY (total, name)
) STRICT, WITHOUT ROWID;
`

// metaTotalsFrom is the key of the first window whose rows are in totals, in the
// store's meta table.
const metaTotalsFrom = "totals_from"

// metaTotalsBegan is the key of the time of that window, Unix milliseconds, in the store's meta table, once the window may be deleted.
const metaTotalsBegan = "totals_began"

// keepTotalsBegan keeps when totals began, before windows are deleted, in a store that had none at first.
const keepTotalsBegan = `INSERT OR IGNORE INTO meta SELECT '` + metaTotalsBegan + `', first FROM window WHERE id >= (SELECT value FROM meta WHERE key = '` + metaTotalsFrom + `') ORDER BY id LIMIT 1`

// metaTotalsDeleted is the key of the last hour, since 1970, of which totals were ever deleted while its rows may be kept, in the
// store's meta table; 0 for none. Totals that are there of an hour up to it may be of an import since, and of some of its rows alone.
const metaTotalsDeleted = "totals_deleted"

// beginTotals gives totals to a store that has none. Its rows are not counted again:
// who reads counts those that are there.
const beginTotals = createTotals + `INSERT INTO meta SELECT '` + metaTotalsFrom + `', coalesce((SELECT value FROM meta WHERE key = 'position'), 0) + 1;
INSERT INTO meta VALUES ('` + metaTotalsDeleted + `', 0);
`

// Bits of total.id.
const (
	totalKeyBits = 24
	totalKeyMask = 1<<totalKeyBits - 1
)

// A totaller adds the rows of a window to the totals of their hours.
type totaller struct {
	s    *store
	sums map[windowKey]*windowSum
	last *windowSum // of the row before
	key  windowKey

	now     int64             // the hour, as the clock showed it
	ids     map[totalOf]int64 // numbers of total_key
	counted map[totalName]bool
}

// A windowKey tells sums of a window apart. Several may be of one total.
type windowKey struct {
	hour       int64 // since 1970
	node       int64
	device     string
	annotation int64 // 0 where it does not count
	verdict    blocklists.Action
}

type windowSum struct {
	of                           totalOf
	lookups, attempts, asLookups uint64
	first, last                  int64 // Unix milliseconds
	names                        map[int64]bool
}

// A totalOf is what a total is of: a row of total_key.
type totalOf struct {
	node                                   int64
	device, vendor, product, purpose, tier string
	verdict                                blocklists.Action
}

type totalName struct{ total, name int64 }

func newTotaller(s *store) *totaller {
	t := &totaller{s: s}
	t.forget()
	return t
}

// forget drops what is remembered of transactions, one of which may have been undone.
func (t *totaller) forget() {
	t.sums, t.last = map[windowKey]*windowSum{}, nil
	t.ids, t.counted = map[totalOf]int64{}, map[totalName]bool{}
}

// add adds a row, whose annotation has a number in the store.
func (t *totaller) add(node int64, e *entry, annotation int64) {
	if e.Level < blocklists.ByList {
		annotation = 0 // whose domain it is does not make it telemetry
	}
	key := windowKey{hourOf(e.First) / hourMilli, node, deviceOf(e.Addr, e.Binding), annotation, e.Action}
	sum := t.last
	if sum == nil || key != t.key {
		if sum = t.sums[key]; sum == nil {
			sum = &windowSum{of: totalOf{node: node, device: key.device, verdict: e.Action}, first: e.First, last: e.Last, names: map[int64]bool{}}
			if annotation != 0 {
				a := e.Annotation
				sum.of.vendor, sum.of.product, sum.of.purpose, sum.of.tier = a.Vendor, a.Product, a.Purpose, a.Tier
			}
			t.sums[key] = sum
		}
		t.last, t.key = sum, key
	}
	sum.lookups += e.Count
	sum.attempts += uint64(e.Attempts)
	sum.asLookups += uint64(e.AsLookups)
	sum.first, sum.last = min(sum.first, e.First), max(sum.last, e.Last)
	if len(e.Name) > 0 {
		sum.names[nameHash(e.Name)] = true
	}
}

// flush stores the sums of a window.
func (t *totaller) flush() error { return t.flushBy(t.store) }

// flushBy has put store the sums.
func (t *totaller) flushBy(put func(hour int64, sum *windowSum) error) error {
	for key, sum := range t.sums {
		if err := put(key.hour, sum); err != nil {
			return err
		}
	}
	clear(t.sums)
	t.last = nil
	if len(t.ids) > remembered {
		clear(t.ids)
	}
	return nil
}

const namesCounted = 16 << 10 // that a totaller knows to be counted

func (t *totaller) store(hour int64, sum *windowSum) error {
	key, err := t.id(&sum.of, hour)
	if err != nil {
		return err
	}
	id, begin := totalID(hour, key), hour*hourMilli
	if hour < t.now-namesKept { // which names are counted is not known any more: so many at least
		return t.s.run("total_late", id, int64(sum.lookups), int64(sum.attempts), int64(sum.asLookups), int64(len(sum.names)), sum.first-begin, sum.last-begin)
	}
	names := int64(0)
	var room [namesAtOnce]int64
	waiting := room[:0]
	for _, name := range slices.Sorted(maps.Keys(sum.names)) { // in the order of the table's pages
		known := totalName{id, name}
		if t.counted[known] {
			continue
		}
		if len(t.counted) >= namesCounted {
			clear(t.counted)
		}
		t.counted[known] = true
		if waiting = append(waiting, name); len(waiting) == namesAtOnce {
			n, err := t.count(id, waiting)
			if err != nil {
				return err
			}
			names += n
			waiting = waiting[:0]
		}
	}
	n, err := t.count(id, waiting)
	if err != nil {
		return err
	}
	names += n
	return t.s.run("total", id, int64(sum.lookups), int64(sum.attempts), int64(sum.asLookups), names, sum.first-begin, sum.last-begin)
}

// count keeps that names are counted in a total, and returns how many were not yet.
func (t *totaller) count(total int64, names []int64) (n int64, err error) {
	stmt, each := t.s.insert["total_name"], 1
	if len(names) == namesAtOnce {
		stmt, each = t.s.insert["total_names"], namesAtOnce
	}
	for i, name := range names {
		stmt.BindInt64(2*(i%each)+1, total)
		stmt.BindInt64(2*(i%each)+2, name)
		if i%each == each-1 {
			if err := stmt.Exec(); err != nil {
				return n, err
			}
			n += t.s.conn.Changes()
		}
	}
	return n, nil
}

func totalID(hour, key int64) int64 { return hour<<totalKeyBits | key }

// id returns the number of what a total is of.
func (t *totaller) id(of *totalOf, hour int64) (int64, error) {
	if id, ok := t.ids[*of]; ok && t.counted[totalName{totalID(hour, id), keyUsed}] {
		return id, nil
	}
	stmt := t.s.insert["total_key"]
	stmt.BindInt64(1, of.node)
	for i, text := range []string{of.device, of.vendor, of.product, of.purpose, of.tier} {
		stmt.BindText(i+2, text)
	}
	stmt.BindInt64(7, int64(of.verdict))
	stmt.BindInt64(8, hour)
	id, err := t.s.returned(stmt)
	if err == nil && id > totalKeyMask {
		err = fmt.Errorf("there are more than %d kinds of totals", totalKeyMask)
	}
	if err == nil {
		t.ids[*of] = id
		t.counted[totalName{totalID(hour, id), keyUsed}] = true
	}
	return id, err
}

// keyUsed stands for no name: a key is known to have its latest hour.
const keyUsed = 0

// nameHash is FNV-1a of a name in wire form. It is stored, and never changes.
func nameHash(wire []byte) int64 {
	h := uint64(14695981039346656037)
	for _, c := range wire {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return int64(max(h, 1))
}

const addTotal = `INSERT INTO total VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET lookups = lookups + excluded.lookups, attempts = attempts + excluded.attempts,
	as_lookups = as_lookups + excluded.as_lookups, first = min(first, excluded.first), last = max(last, excluded.last)`

// totalStatements are those that a totaller uses.
var totalStatements = map[string]string{
	"total_key": `INSERT INTO total_key (node, device, vendor, product, purpose, tier, verdict, last) VALUES (?,?,?,?,?,?,?,?)
		ON CONFLICT DO UPDATE SET last = max(last, excluded.last) RETURNING id`,
	"total":       addTotal + `, names = names + excluded.names`,
	"total_late":  addTotal + `, names = max(names, excluded.names)`,
	"total_name":  `INSERT OR IGNORE INTO total_name VALUES (?,?)`,
	"total_names": `INSERT OR IGNORE INTO total_name VALUES ` + strings.Repeat(`,(?,?)`, namesAtOnce)[1:],
}

// forgetTotals deletes up to so many of the totals of a device (of all where it is ""), and of a node (0 for any), those of hours that
// are whole in its span, and all that is kept of it beside totals once none is left. done is
// false where there are more.
func (s *store) forgetTotals(d *DeviceSpan, node, most int64) (n int64, done bool, err error) {
	low, end := int64(0), int64(1)<<(63-totalKeyBits)-1
	if !d.From.IsZero() {
		low = hourOf(d.From.UnixMilli()+hourMilli-1) / hourMilli
	}
	if !d.Until.IsZero() {
		end = hourOf(d.Until.UnixMilli()) / hourMilli
	}
	keys := fmt.Sprintf(`& %d IN (SELECT id FROM total_key WHERE %s)`, totalKeyMask, totalsOf)
	args := []any{totalID(low, 0), totalID(end, 0), d.Device, node}
	err = s.transact(func() error {
		s.totals.forget()
		err := s.texts(`DELETE FROM total WHERE id IN (SELECT id FROM total WHERE id >= ?1 AND id < ?2 AND id `+keys+` LIMIT ?5)`, nil, append(args, most)...)
		n = s.conn.Changes()
		if done = n < most; err != nil || !done {
			return err
		}
		if err := s.texts(`DELETE FROM total_name WHERE total >= ?1 AND total < ?2 AND total `+keys, nil, args...); err != nil {
			return err
		}
		if d.From.IsZero() && d.Until.IsZero() {
			return s.texts(`DELETE FROM total_key WHERE `+totalsOf, nil, nil, nil, d.Device, node)
		}
		return nil
	})
	return n, done && err == nil, err
}

// totalsOf chooses the keys of totals of a device, "" for all, and of a node, 0 for any.
const totalsOf = `(?3 = '' OR device = ?3) AND (?4 = 0 OR node = ?4)`

// partHours returns the hours, since 1970, of which a part is in the span and another is not.
func (d *DeviceSpan) partHours() (hours []int64) {
	for _, at := range []time.Time{d.From, d.Until} {
		ms := at.UnixMilli()
		if hour := hourOf(ms) / hourMilli; !at.IsZero() && ms != hourOf(ms) && !slices.Contains(hours, hour) {
			hours = append(hours, hour)
		}
	}
	return hours
}

// countAgain makes the totals of a device in an hour, of a node (0 for any), again, of the rows that are left of it: a part of the hour is forgotten. What was
// deleted by age is not in them any more.
func (s *store) countAgain(device string, node, hour int64) error {
	return s.transact(func() error {
		s.totals.forget()
		for table, column := range map[string]string{"total": "id", "total_name": "total"} {
			err := s.texts(fmt.Sprintf(`DELETE FROM %[1]s WHERE %[2]s >= ?1 AND %[2]s < ?2 AND %[2]s & %[3]d IN (SELECT id FROM total_key WHERE %[4]s)`, table, column, totalKeyMask, totalsOf),
				nil, totalID(hour, 0), totalID(hour+1, 0), device, node)
			if err != nil {
				return err
			}
		}
		sums := map[totalOf]*windowSum{}
		for _, table := range rowTables {
			if err := s.sumRows(sums, table, device, node, hour); err != nil {
				return err
			}
		}
		put := s.totals.store
		if shipped, err := s.number(`SELECT count(*) FROM sqlite_schema WHERE name = 'shipped_counted'`); err != nil {
			return err
		} else if shipped > 0 { // a centre's: its nodes' totals of the hour are to come
			put = s.totals.storeCounted
		}
		for _, sum := range sums {
			if err := put(hour, sum); err != nil {
				return err
			}
		}
		return nil
	})
}

// sumRows adds the rows of a table that a device has in an hour, of a node (0 for any).
func (s *store) sumRows(sums map[totalOf]*windowSum, table, device string, node, hour int64) error {
	begin, end := hour*hourMilli, (hour+1)*hourMilli
	low, err := s.number(firstWindowSince, begin)
	if err != nil {
		return err
	}
	high, err := s.number(windowBehindUntil, end-1)
	if err != nil {
		return err
	}
	var failed error
	err = s.texts(fmt.Sprintf(`SELECT r.node, r.verdict, r.level, coalesce(a.vendor, ''), coalesce(a.product, ''), coalesce(a.purpose, ''), coalesce(a.tier, ''), r.count, r.attempts, r.as_lookups, r.first, `+lastOfRow+`, m.name
		FROM %[1]s r LEFT JOIN annotation a ON a.id = r.annotation LEFT JOIN %[1]s_name m ON m.id = %[2]s
		WHERE r.id >= ?1 AND r.id < ?2 AND r.first >= ?3 AND r.first < ?4 AND (?6 = 0 OR r.node = ?6) AND (r.binding IN (SELECT id FROM binding WHERE device = ?5) OR r.binding = 0 AND 'addr:' || r.client = ?5)`, table, nameOfRow("name")),
		func(stmt *sqlite3.Stmt) {
			n, text := stmt.ColumnInt64, stmt.ColumnText
			of := totalOf{node: n(0), device: device, verdict: blocklists.Action(n(1))}
			if blocklists.Level(n(2)) >= blocklists.ByList {
				of.vendor, of.product, of.purpose, of.tier = text(3), text(4), text(5), text(6)
			}
			sum := sums[of]
			if sum == nil {
				sum = &windowSum{of: of, first: n(10), last: n(11), names: map[int64]bool{}}
				sums[of] = sum
			}
			sum.lookups += uint64(n(7))
			sum.attempts += uint64(n(8))
			sum.asLookups += uint64(n(9))
			sum.first, sum.last = min(sum.first, n(10)), max(sum.last, n(11))
			if stmt.ColumnType(12) != sqlite3.NULL {
				name, err := dnswire.ParseName(text(12))
				failed = cmp.Or(failed, err)
				sum.names[nameHash(name.Wire())] = true
			}
		}, low<<rowBits, high<<rowBits, begin, end, device, node)
	return cmp.Or(err, failed)
}

// deleteOldestTotals deletes up to so many of the oldest totals of a range, within a transaction, and keeps up to which hour any were deleted.
func (s *store) deleteOldestTotals(low, end, most int64) (n int64, err error) {
	last, err := s.number(`SELECT coalesce(max(id), -1) FROM (SELECT id FROM total WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3)`, low, end, most)
	if err != nil || last < 0 {
		return 0, err
	}
	before, err := s.meta(metaTotalsDeleted)
	if err != nil {
		return 0, err
	}
	if err := s.setMeta(metaTotalsDeleted, max(before, last>>totalKeyBits)); err != nil {
		return 0, err
	}
	err = s.exec(`DELETE FROM total WHERE id >= ?1 AND id <= ?2`, low, last)
	return s.conn.Changes(), err
}

// knowDeletedTotals notes in a store of an earlier program, which did not keep up to which hour totals were deleted, that any of those before
// now may have been.
func (s *store) knowDeletedTotals() error {
	known, err := s.number(`SELECT EXISTS (SELECT 1 FROM meta WHERE key = '` + metaTotalsDeleted + `')`)
	if err != nil || known != 0 {
		return err
	}
	return s.exec(fmt.Sprintf(`INSERT INTO meta SELECT '%s', max(coalesce((SELECT max(id) FROM total) >> %d, 0), coalesce((SELECT max(last) FROM window) / %d, 0))`, metaTotalsDeleted, totalKeyBits, hourMilli))
}

// deleteTotals returns the step of retention that deletes totals of hours before a
// time, but for those that were counted while the clock was not set.
func deleteTotals(before time.Time) func(*storer) (bool, error) {
	low, end := before.Add(-hoursDated).UnixMilli()/hourMilli, before.UnixMilli()/hourMilli
	return func(s *storer) (done bool, err error) {
		most := int64(s.retention.batch)
		err = s.store.transact(func() error {
			n, err := s.store.deleteOldestTotals(totalID(low, 0), totalID(end, 0), most)
			if done = n < most; err != nil || !done {
				return err
			}
			s.store.totals.forget()
			return s.store.exec(`DELETE FROM total_key WHERE last >= ?1 AND last < ?2`, low, end)
		})
		return done, err
	}
}

// namesKept is how long after its hour a name is still known to be counted: windows
// of an hour are stored some time after it.
const namesKept = 2

// deleteTotalNames deletes what tells names of hours that are over apart.
func (s *storer) deleteTotalNames() (done bool, err error) {
	most := int64(s.retention.batch)
	hour := s.l.o.Now().UnixMilli() / hourMilli
	err = s.store.transact(func() error {
		s.store.totals.forget()
		return s.store.exec(`DELETE FROM total_name WHERE (total, name) IN (SELECT total, name FROM total_name WHERE total < ?1 ORDER BY total, name LIMIT ?2)`,
			totalID(hour-namesKept, 0), most)
	})
	return s.store.conn.Changes() < most, err
}

// totalsShare is which part of the store's largest size totals may take while rows of
// listed names are deleted for it: a quarter.
const totalsShare = 4

const totalBytes = 40 // about what a total takes, with its part of total_key

// deleteTotalsOverLimit returns the step that deletes the oldest totals while the
// store is larger than it may be: those beyond a part of it, or all where share is 0.
func deleteTotalsOverLimit(maxBytes int64, share int64) func(*storer) (bool, error) {
	return func(s *storer) (bool, error) {
		size, err := s.store.size()
		if err != nil || size <= maxBytes/10*9 || size <= maxBytes && s.retention.deleted.overLimit+s.retention.deleted.totals == 0 {
			return true, err
		}
		if share > 0 {
			many := maxBytes / share / totalBytes
			n, err := s.store.number(`SELECT count(*) FROM (SELECT 1 FROM total LIMIT ?1)`, many)
			if err != nil || n < many {
				return true, err
			}
		}
		most := int64(s.retention.batch)
		n := int64(0)
		err = s.store.transact(func() (err error) {
			n, err = s.store.deleteOldestTotals(0, math.MaxInt64, most)
			return err
		})
		s.retention.deleted.totals += n
		return n == 0, err
	}
}

// totalsPage reads the totals of a page, in one transaction. What they are of is read once each, until another process writes.
func (db *database) totalsPage(f *TotalsFilter, p *totalPage, keys *totalKeys) error {
	commit, err := db.begin()
	if err != nil {
		return err
	}
	defer commit()
	version, err := db.number(`PRAGMA data_version`)
	if err != nil {
		return err
	}
	if version != keys.version { // numbers may stand for others
		*keys = totalKeys{version: version, read: keys.read}
	}
	return db.storedTotals(f, p.low, p.end, keys, p.add)
}

// storedTotals calls each with the totals that f chooses of hours from low on, up to
// end, in the order of the hours. What they are of is read once each.
func (db *database) storedTotals(f *TotalsFilter, low, end int64, keys *totalKeys, each func(keptTotal)) error {
	where, args := f.whereKey()
	sql := `SELECT id, lookups, attempts, as_lookups, names, first, last FROM total WHERE id >= ? AND id < ?` + where + ` ORDER BY id`
	var failed error
	err := db.query(sql, append([]any{totalID(low, 0), totalID(end, 0)}, args...), func(stmt *sqlite3.Stmt) bool {
		id := stmt.ColumnInt64(0)
		of := keys.of(id & totalKeyMask)
		if of == nil {
			if of, failed = db.totalKey(id & totalKeyMask); of == nil {
				return failed == nil
			}
			keys.put(id&totalKeyMask, of)
		}
		n := stmt.ColumnInt64
		begin := id >> totalKeyBits * hourMilli
		each(keptTotal{of, uint64(n(1)), uint64(n(2)), uint64(n(3)), uint64(n(4)), begin, begin + n(5), begin + n(6)})
		return true
	})
	return cmp.Or(err, failed, db.rows.err)
}

// totalKeys are what numbers of total_key stand for. Most stores have few, with small numbers.
type totalKeys struct {
	small []*Total
	large map[int64]*Total

	version int64 // of the store, in which they were read
	read    int   // how many were read, also in versions before
}

const smallKeys = 4_096

func (k *totalKeys) of(key int64) *Total {
	if key < int64(len(k.small)) {
		return k.small[key]
	}
	return k.large[key]
}

func (k *totalKeys) put(key int64, of *Total) {
	k.read++
	of.Alike = k.read
	switch {
	case key >= smallKeys && k.large == nil:
		k.large = map[int64]*Total{key: of}
	case key >= smallKeys:
		k.large[key] = of
	default:
		for int64(len(k.small)) <= key {
			k.small = append(k.small, nil)
		}
		k.small[key] = of
	}
}

// totalKey returns what a number of total_key stands for; nil for nothing.
func (db *database) totalKey(key int64) (of *Total, err error) {
	err = db.query(`SELECT node, device, vendor, product, purpose, tier, verdict FROM total_key WHERE id = ?`, []any{key}, func(stmt *sqlite3.Stmt) bool {
		text := stmt.ColumnText
		of = &Total{Node: db.rows.node(stmt.ColumnInt64(0)), Device: text(1), Vendor: text(2), Product: text(3), Purpose: text(4), Tier: text(5), Verdict: verdictWords.of(stmt.ColumnInt64(6))}
		return false
	})
	return of, err
}

// whereKey is the condition on a total that f chooses what it is of.
func (f *TotalsFilter) whereKey() (sql string, args []any) {
	var conditions []string
	if len(f.Devices) > 0 {
		conditions = append(conditions, `device IN (`+strings.Repeat(",?", len(f.Devices))[1:]+`)`)
		for _, d := range f.Devices {
			args = append(args, d)
		}
	}
	if f.Vendor != "" {
		conditions = append(conditions, `vendor = ? COLLATE NOCASE`)
		args = append(args, f.Vendor)
	}
	if f.Others {
		conditions = append(conditions, `vendor = ''`)
	}
	if conditions == nil {
		return "", nil
	}
	return fmt.Sprintf(` AND id & %d IN (SELECT id FROM total_key WHERE %s)`, totalKeyMask, strings.Join(conditions, ` AND `)), args
}
