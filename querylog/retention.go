package querylog

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"telltale/querylog/seal"
)

const (
	retainEvery  = time.Hour
	stepTime     = 25 * time.Millisecond // that a step of retention should take: journaling does not wait for it, but windows do
	deleteFirst  = 500                   // rows deleted in the first step; then as many as take stepTime
	deleteMost   = 20_000
	deleteLeast  = 50
	vacuumPages  = 200   // given back in a step
	vacuumMost   = 2_000 // in a run
	bindingsPage = 5_000 // rows looked at in a step for the bindings they refer to
)

// A retentionRun is retention in the course of a run, which is made in steps: a
// window that is to be stored comes first.
type retentionRun struct {
	last     time.Time // begin of the last run
	steps    []func(*storer) (done bool, err error)
	batch    int    // rows to delete in a step
	held     string // why nothing is deleted by age
	deleted  deleted
	vacuumed int

	unshipped unshippedSum // that were deleted
}

// deleted says what a run has deleted.
type deleted struct {
	listed, overLimit int64 // rows of listed names by age; rows of any kind by the size cap
	totals            int64 // by the size cap
}

func (d *deleted) detail() string {
	switch {
	case d.totals > 0:
		return fmt.Sprintf("%d of the oldest rows and %d of the oldest hourly totals deleted, as the store reached its largest size", d.overLimit, d.totals)
	case d.overLimit > 0:
		return fmt.Sprintf("%d of the oldest rows deleted, as the store reached its largest size", d.overLimit)
	case d.listed > 0:
		return fmt.Sprintf("%d rows of listed names deleted by age", d.listed)
	}
	return ""
}

// retain does one step of deleting what is too old or too much, once an hour,
// and reports whether more is due at once.
func (s *storer) retain() (more bool) {
	r := &s.retention
	if len(r.steps) == 0 {
		if !r.last.IsZero() && time.Since(r.last) < retainEvery {
			return false
		}
		s.beginRetention()
	}
	begun := time.Now()
	done, err := r.steps[0](s)
	if isCorrupt(err) {
		if err = s.replaceStore(err); err == nil {
			r.steps = nil
			return true
		}
	}
	if err != nil {
		r.steps = nil
		s.failed(err)
		return false
	}
	if s.failing {
		s.succeeded()
	}
	r.adapt(time.Since(begun))
	if done {
		r.steps, r.batch = r.steps[1:], deleteFirst // what the next one deletes may take longer
	}
	if len(r.steps) == 0 {
		if detail := r.deleted.detail(); detail != "" {
			s.l.addEvent(Event{Kind: KindRetention, Detail: detail})
		}
		s.tellUnshipped()
	}
	return true
}

// adapt chooses how much the next step does by how long the last one took.
func (r *retentionRun) adapt(took time.Duration) {
	if took > stepTime {
		r.batch = max(r.batch/2, deleteLeast)
	} else if took < stepTime/2 {
		r.batch = min(r.batch*2, deleteMost)
	}
}

// beginRetention plans the steps of a run.
func (s *storer) beginRetention() {
	r := &s.retention
	r.last, r.deleted, r.vacuumed, r.steps = time.Now(), deleted{}, 0, nil
	if r.batch == 0 {
		r.batch = deleteFirst
	}
	o := s.l.o.Retention
	ok, held := s.clock.mayDelete()
	if held != r.held && held != "" {
		s.l.addEvent(Event{Kind: KindClock, Detail: "nothing is deleted by age for now: " + held})
	}
	r.held = held
	r.steps = append(r.steps, (*storer).addAge)
	if ok {
		now := time.UnixMilli(s.clock.mark().steady)
		if o.Unlisted >= 0 {
			r.steps = append(r.steps, s.deleteUnlisted(now.Add(-o.Unlisted), now.Add(-max(o.Listed, o.Unlisted)), o.Listed >= 0), deleteNames("unlisted"))
		}
		if o.Listed >= 0 {
			before := now.Add(-o.Listed).Truncate(24 * time.Hour) // once a day is often enough, and one line in the ledger
			r.steps = append(r.steps, deleteBefore("listed", before), deleteNames("listed"), (*storer).deleteUnusedSums, deleteOthers(before, s.l.o.Now().Add(-o.Listed)), deleteBindings(before))
			if o.Totals >= 0 {
				r.steps = append(r.steps, deleteLedger(now.Add(-max(o.Listed, o.Totals)).Truncate(24*time.Hour)))
			}
		}
	}
	r.steps = append(r.steps, (*storer).deleteTotalNames)
	if ok && o.Totals >= 0 {
		r.steps = append(r.steps, deleteTotals(s.l.o.Now().Add(-o.Totals)))
	}
	if o.MaxBytes > 0 {
		r.steps = append(r.steps, deleteOverLimit("unlisted", o.MaxBytes), deleteTotalsOverLimit(o.MaxBytes, totalsShare), deleteOverLimit("listed", o.MaxBytes),
			deleteTotalsOverLimit(o.MaxBytes, 0), deleteNames("unlisted"), deleteNames("listed"), (*storer).deleteUnusedSums)
	}
	r.steps = append(r.steps, (*storer).vacuum, (*storer).saveClock)
}

// addAge keeps how far the store has come at this steady time.
func (s *storer) addAge() (bool, error) {
	return true, s.store.transact(func() error { return s.store.addAge(s.clock.mark().steady) })
}

// deleteBefore deletes the rows of a table that are older than a steady time.
func deleteBefore(table string, before time.Time) func(*storer) (bool, error) {
	return func(s *storer) (bool, error) {
		end, err := s.store.endBefore(before)
		if err != nil || end == 0 {
			return true, err
		}
		n, err := s.deleteChunk(table, end, s.retention.batch, seal.ByAge)
		if table == "listed" {
			s.retention.deleted.listed += n
		}
		return n < int64(s.retention.batch), err
	}
}

// A discovery is which bindings are of devices whose unlisted rows are kept longer.
type discovery struct {
	store    *store
	bindings map[uint64]bool
	passed   int64  // the last row that was looked at: what is left up to it is kept
	imports  uint64 // batches that were stored before: they may be before it
}

// metaUnlistedFrom is the key of the first unlisted row from which on there are those of all
// devices, in the meta table; not there while none was kept longer than others.
const metaUnlistedFrom = "unlisted_from"

// deleteUnlisted returns the step that deletes unlisted rows that are older than a steady
// time, but for those of devices that a person wants more of; these, where limited, that are
// older than another one.
func (s *storer) deleteUnlisted(before, longer time.Time, limited bool) func(*storer) (bool, error) {
	d := &s.discovery
	if s.l.o.Discovered == nil {
		return deleteBefore("unlisted", before)
	}
	all, err := s.store.allBindings()
	if err != nil {
		return func(*storer) (bool, error) { return true, err }
	}
	kept, ok := s.l.o.Discovered(all)
	if !ok {
		switch from, err := s.store.meta(metaUnlistedFrom); {
		case d.store == s.store && len(d.bindings) > 0:
			kept = d.bindings // those known last
		case err != nil || from != 0: // some are kept, and nobody knows whose: all wait
			return func(*storer) (bool, error) { return true, err }
		}
	}
	if len(kept) == 0 {
		d.bindings, d.passed = nil, 0
		return deleteBefore("unlisted", before)
	}
	for id := range d.bindings {
		if !kept[id] { // its rows are deleted now
			d.passed = 0
		}
	}
	if d.imports != s.imports || d.store != s.store {
		d.passed = 0
	}
	d.store, d.bindings, d.imports = s.store, kept, s.imports
	list := listOf(kept)
	old := limited
	return func(s *storer) (bool, error) {
		if old {
			done, err := deleteBefore("unlisted", longer)(s)
			old = !done
			return false, err
		}
		end, err := s.store.endBefore(before)
		if err != nil || end == 0 {
			return true, err
		}
		last, err := s.store.deleteOthersThan(list, d.passed, end, s.retention.batch)
		if err == nil {
			d.passed = max(d.passed, last)
		}
		return last >= end-1, err
	}
}

// listOf writes numbers as SQL has them.
func listOf(numbers map[uint64]bool) string {
	var list []byte
	for i, id := range slices.Sorted(maps.Keys(numbers)) {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendUint(list, id, 10)
	}
	return string(list)
}

// deleteOthersThan looks at the next unlisted rows behind one and before an end, so many at
// most, and deletes those that are of none of the bindings in a list. It returns the last
// row looked at; end-1 behind the last one.
func (s *store) deleteOthersThan(list string, behind, end int64, most int) (last int64, err error) {
	last, err = s.number(`SELECT coalesce((SELECT id FROM unlisted WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT 1 OFFSET ?3), ?2 - 1)`, behind, end, int64(most-1))
	if err != nil || last <= behind {
		return max(last, behind), err
	}
	return last, s.transact(func() error {
		if err := s.setMeta(metaUnlistedFrom, end); err != nil {
			return err
		}
		_, err := s.deleteRows("unlisted", fmt.Sprintf(`SELECT id FROM unlisted WHERE id > %d AND id <= ?1 AND binding NOT IN (%s)`, behind, list), last)
		return err
	})
}

// deleteChunk deletes up to so many of the oldest rows of a table. Those that are to be shipped and were not are counted.
func (s *storer) deleteChunk(table string, end int64, most int, why string) (int64, error) {
	u := s.retention.unshipped
	if s.shipping.has(table) {
		if err := s.store.countUnshipped(table, end, most, &u); err != nil {
			return 0, err
		}
	}
	n, err := s.store.deleteChunk(table, end, most, s.removal(seal.KindRow, why))
	if err == nil {
		s.retention.unshipped = u
	}
	return n, err
}

// deleteChunk deletes up to so many of the oldest rows of a table, keeping how many
// unlisted ones there were in an hour. Imported ones are in totals in every store. Of
// sealed ones it is stated.
func (s *store) deleteChunk(table string, end int64, most int, stated *seal.Removal) (n int64, err error) {
	err = s.transact(func() error {
		if table == "listed" {
			if err := s.seal.stateOldest(stated, table, end, most); err != nil {
				return err
			}
		}
		n, err = s.deleteRows(table, fmt.Sprintf(`SELECT id FROM %s WHERE id < ?1 ORDER BY id LIMIT %d`, table, most), end)
		if err != nil {
			return err
		}
		if table == "listed" && n > 0 {
			if err := s.seal.destroyOld(); err != nil {
				return err
			}
			return s.dropDays()
		}
		return nil
	})
	return n, err
}

// deleteRows deletes the rows of a table that a query with one parameter chooses, within a
// transaction, keeping how many unlisted ones there were in an hour.
func (s *store) deleteRows(table, chosen string, parameter int64) (int64, error) {
	if table == "unlisted" {
		err := s.exec(`INSERT INTO hour
			SELECT r.first - r.first % 3600000, r.node, coalesce(b.device, 'addr:' || r.client, ''), sum(r.count)
			FROM unlisted r LEFT JOIN binding b ON b.id = r.binding
			WHERE r.id IN (`+chosen+`) AND r.import = 0 GROUP BY 1, 2, 3
			ON CONFLICT DO UPDATE SET lookups = lookups + excluded.lookups`, parameter)
		if err != nil {
			return 0, err
		}
	}
	if err := s.exec(`DELETE FROM `+table+` WHERE id IN (`+chosen+`)`, parameter); err != nil {
		return 0, err
	}
	return s.conn.Changes(), nil
}

// deleteNames deletes the names that no row of a table has any more.
func deleteNames(table string) func(*storer) (bool, error) {
	return func(s *storer) (bool, error) {
		n, err := s.store.deleteNames(table, s.retention.batch)
		return n < int64(s.retention.batch), err
	}
}

// deleteUnusedSums deletes sums by day of rows that are deleted.
func (s *storer) deleteUnusedSums() (bool, error) {
	n, err := s.store.deleteUnused()
	return n == 0, err
}

// deleteOthers deletes what is kept as long as rows of listed names: what is known of
// windows, and how many lookups of deleted unlisted rows there were in an hour.
func deleteOthers(before, hours time.Time) func(*storer) (bool, error) {
	return func(s *storer) (done bool, err error) {
		end, err := s.store.endBefore(before)
		if err != nil || end == 0 {
			return true, err
		}
		most := int64(s.retention.batch)
		err = s.store.transact(func() error {
			if err := s.store.exec(keepTotalsBegan); err != nil {
				return err
			}
			err := s.store.exec(`DELETE FROM window WHERE id IN (SELECT id FROM window WHERE id < ?1 ORDER BY id LIMIT ?2)`, end>>rowBits, most)
			if done = s.store.conn.Changes() < most; err != nil || !done {
				return err
			}
			return s.store.exec(`DELETE FROM hour WHERE hour < ?1 AND hour > ?2`, hours.UnixMilli(), hours.Add(-hoursDated).UnixMilli())
		})
		return done, err
	}
}

// deleteLedger deletes events that are older than a steady time. They are kept as long
// as totals: without them nobody knows what totals are missing.
func deleteLedger(before time.Time) func(*storer) (bool, error) {
	return func(s *storer) (done bool, err error) {
		end, err := s.store.endBefore(before)
		if err != nil || end == 0 {
			return true, err
		}
		most := int64(s.retention.batch)
		err = s.store.transact(func() error {
			if err := s.store.seal.stateOldest(s.removal(seal.KindLedger, seal.ByAge), "ledger", end, int(most)); err != nil {
				return err
			}
			err := s.store.exec(`DELETE FROM ledger WHERE id IN (SELECT id FROM ledger WHERE id < ?1 ORDER BY id LIMIT ?2)`, end, most)
			done = s.store.conn.Changes() < most
			return err
		})
		return done, err
	}
}

// hoursDated is how old a total may look: one that looks older was counted while
// the clock was not set, and is kept.
const hoursDated = 20 * 365 * 24 * time.Hour

// A bindingScan looks for bindings to which no row refers any more.
type bindingScan struct {
	unused  map[int64]bool
	after   map[string]int64 // by table: the last row looked at
	imports uint64           // batches that were stored before it began
}

// deleteBindings returns the step that deletes bindings that began before a time,
// are not the last of their address (where they have none, of their device), and to which no row refers. Imported ones
// are nobody's last. It looks at all rows, a page in each step, and begins again where rows
// were imported meanwhile: they may be before those it has looked at.
func deleteBindings(before time.Time) func(*storer) (bool, error) {
	var scan *bindingScan
	return func(s *storer) (bool, error) {
		if scan == nil || scan.imports != s.imports {
			scan = &bindingScan{map[int64]bool{}, map[string]int64{}, s.imports}
			err := s.store.numbers(`SELECT id FROM binding WHERE since < ?1 AND (id >= ?2 OR id NOT IN (SELECT max(id) FROM binding WHERE id < ?2 GROUP BY addr, CASE addr WHEN '' THEN device END))`,
				func(id int64) { scan.unused[id] = true }, before.UnixMilli(), importedBindings)
			return len(scan.unused) == 0, err
		}
		for _, table := range []string{"listed", "unlisted"} {
			n, err := s.store.scanBindings(scan, table)
			if err != nil || n == bindingsPage {
				return false, err
			}
		}
		// Both are looked at to their ends, and no window comes in between.
		return true, s.store.transact(func() error {
			for id := range scan.unused {
				if err := s.store.exec(`DELETE FROM binding WHERE id = ?`, id); err != nil {
					return err
				}
			}
			s.store.forgetBindings()
			return nil
		})
	}
}

// scanBindings looks at the next rows of a table, and returns how many.
func (s *store) scanBindings(scan *bindingScan, table string) (n int, err error) {
	stmt, _, err := s.conn.Prepare(fmt.Sprintf(`SELECT id, binding FROM %s WHERE id > ? ORDER BY id LIMIT %d`, table, bindingsPage))
	if err != nil {
		return 0, err
	}
	defer stmt.Close()
	stmt.BindInt64(1, scan.after[table])
	for stmt.Step() {
		scan.after[table] = stmt.ColumnInt64(0)
		delete(scan.unused, stmt.ColumnInt64(1))
		n++
	}
	return n, stmt.Err()
}

// numbers calls each with every number that a query gives.
func (s *store) numbers(sql string, each func(int64), args ...int64) error {
	stmt, _, err := s.conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for i, a := range args {
		stmt.BindInt64(i+1, a)
	}
	for stmt.Step() {
		each(stmt.ColumnInt64(0))
	}
	return stmt.Err()
}

const rowOctets = 100 // about what a row takes, with its name

// deleteOverLimit deletes the oldest rows of a table while the store is larger
// than it may be, until it is a tenth below.
func deleteOverLimit(table string, maxBytes int64) func(*storer) (bool, error) {
	return func(s *storer) (bool, error) {
		const all = 1<<63 - 1
		size, err := s.store.size()
		goal := maxBytes / 10 * 9
		if err != nil || size <= goal || size <= maxBytes && s.retention.deleted.overLimit == 0 {
			return true, err
		}
		most := min(int64(s.retention.batch), (size-goal)/rowOctets+deleteLeast) // a step that was quick must not delete more than there is reason to
		n, err := s.deleteChunk(table, all, int(most), seal.BySize)
		s.retention.deleted.overLimit += n
		if err == nil { // their names are much of what they take
			_, err = s.store.deleteNames(table, 2*s.retention.batch)
		}
		if err == nil {
			_, err = s.store.deleteUnused()
		}
		return n == 0, err
	}
}

// vacuum gives free pages back to the file system.
func (s *storer) vacuum() (bool, error) {
	free, err := s.store.number(`PRAGMA freelist_count`)
	if err != nil || free == 0 || s.retention.vacuumed >= vacuumMost {
		return true, err
	}
	s.retention.vacuumed += vacuumPages
	return false, s.store.conn.Exec(fmt.Sprintf(`PRAGMA incremental_vacuum(%d)`, vacuumPages)) // a row for each page: exec would stop at the first
}

// saveClock keeps the steady time where no window is stored for long.
func (s *storer) saveClock() (bool, error) {
	return true, s.store.transact(func() error { return s.store.saveState(s.store.position, 0, s.clock.mark()) })
}
