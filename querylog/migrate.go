package querylog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists/format"
	"telltale/devices"
)

// A store of version 1 is a file of its own, oldStoreName. It is brought forward
// while lookups go on: a new store takes every window from the beginning, and
// the old one's rows are copied to it in steps, in the order of their numbers.
// meta.copied is the last one that is copied; it is committed with the rows, so
// that a step is done whole or not at all, however the process ends. Readers
// read the old store's rows behind it beside the new store's. The old file is
// deleted when all of it is in the new one and on the disk.
//
// The new file has another name because the old one's must not be given to it:
// a process that reads the old store would delete the new one's write-ahead log
// when it closes (SQLite, "How To Corrupt An SQLite Database File", 2.5).

// States of the migration, in meta under "migration". They are stored and never
// change.
const (
	migrationRuns = 1
	migrationDone = 2
)

const (
	migrateStepTime = 25 * time.Millisecond // that a step should take
	migrateRowsMin  = 50
	migrateRowsMax  = 5_000
	migrateEvery    = 50 * time.Millisecond // rest between two steps, at least
	migrateRest     = 2                     // and so many times as long as the step took
	migrateSpare    = 64 << 20              // bytes of the disk that the copy leaves free
)

// An oldStore is a store of version 1 that is being copied.
type oldStore struct {
	conn   *sqlite3.Conn
	path   string
	copied int64 // the last row's number
	rows   int64 // copied so far
	first  int64 // the smallest number there is, and the largest
	last   int64
	limit  int // rows of the next step

	nodes, lists, annotations map[int64]int64 // its numbers to the new store's
	bindings                  map[int64]int64 // those that differ
	names                     map[string]*nameTable

	plan   []copyColumn
	behind map[string]*sqlite3.Stmt // of a table: the last of so many rows behind one, and how many
	read   map[string]*sqlite3.Stmt // of a table: all between two
}

// Migration says how far a store of version 1 is copied.
type Migration struct {
	Rows    int64   `json:"rows"`    // copied so far
	Percent float64 `json:"percent"` // of the time that the old store is about
}

// migration returns how far the copy is, nil where there is none.
func (s *store) migration() *Migration {
	o := s.old
	if o == nil {
		return nil
	}
	m := &Migration{Rows: o.rows}
	if all := o.last - o.first; all > 0 {
		m.Percent = math.Floor(1000*min(max(float64(o.copied-o.first)/float64(all), 0), 1)) / 10
	}
	return m
}

// openOld opens the store of version 1, where there is one, and begins the
// migration or goes on with it. Until that has succeeded nothing may be stored:
// it says which windows are stored already.
func (s *store) openOld() error {
	path := filepath.Join(filepath.Dir(s.path), oldStoreName)
	state, err := s.meta("migration")
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if state == migrationRuns {
			s.report(Event{Kind: KindLost, Subject: oldStoreName, Detail: "the store of version 1 is gone; what was not copied yet is lost"})
			return s.setMeta("migration", migrationDone)
		}
		return nil
	} else if err != nil {
		return err
	}
	o, err := s.beginOld(path, state)
	if isCorrupt(err) && errors.Is(err, errOld) {
		return s.leaveOld(path, err)
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	s.old = o
	return nil
}

// beginOld returns the old store, nil where nothing of it is to be copied.
func (s *store) beginOld(path string, state int64) (o *oldStore, err error) {
	o = &oldStore{path: path, limit: migrateRowsMin, plan: newCopyPlan(), read: map[string]*sqlite3.Stmt{}, behind: map[string]*sqlite3.Stmt{}, names: map[string]*nameTable{}}
	if o.conn, err = openSQLite(path, 0); err != nil {
		return nil, err
	}
	o.conn.BusyTimeout(5 * time.Second)
	version, err := o.number(`PRAGMA user_version`)
	switch {
	case err != nil:
		o.close()
		return nil, err
	case version == 0: // it never was a store
		o.close()
		return nil, nil
	case version > 2:
		o.close()
		return nil, &NewerError{path, int(version), schemaVersion}
	case version == 2 && state == migrationDone:
		o.close()
		return nil, removeStore(path)
	}
	if err := s.prepareOld(o, state); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (s *store) prepareOld(o *oldStore, state int64) error {
	take := s.takeTables
	if state == migrationRuns { // gone on with
		take = s.mapNumbers
	}
	if err := s.transact(func() error { return take(o) }); err != nil {
		s.forget()
		return err
	}
	if state != migrationRuns {
		s.report(Event{Kind: KindMigration, Subject: oldStoreName, Detail: "the store of version 1 begins to be copied to " + storeName})
	}
	// The program of before refuses the file from now on: it would add to it.
	if err := o.conn.Exec(`PRAGMA user_version = 2; PRAGMA query_only = ON; PRAGMA cache_size = -512`); err != nil {
		return ofOld(err)
	}
	for _, table := range rowTables {
		o.names[table] = newNameTable(s, table)
	}
	return o.prepare(s)
}

// prepare makes the statements that read the old store, and finds where it is.
func (o *oldStore) prepare(s *store) (err error) {
	prepare := func(sql string) (stmt *sqlite3.Stmt) {
		if err == nil {
			stmt, _, err = o.conn.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
			err = ofOld(err)
		}
		return stmt
	}
	for table, columns := range map[string][]string{"listed": columns1, "unlisted": columns1, "ledger": ledgerColumns} {
		o.behind[table] = prepare(fmt.Sprintf(`SELECT max(id), count(*) FROM (SELECT id FROM %s WHERE id > ? ORDER BY id LIMIT ?)`, table))
		o.read[table] = prepare(selectOld(table, columns))
	}
	o.read["window"] = prepare(selectOld("window", windowColumns))
	if err != nil {
		return err
	}
	if o.copied, err = s.meta("copied"); err != nil {
		return err
	}
	if o.rows, err = s.meta("copied_rows"); err != nil {
		return err
	}
	const ends = `SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM (SELECT min(id) AS id FROM listed UNION ALL SELECT max(id) FROM listed
		UNION ALL SELECT min(id) FROM unlisted UNION ALL SELECT max(id) FROM unlisted)`
	return o.query(ends, func(stmt *sqlite3.Stmt) error {
		o.first, o.last = stmt.ColumnInt64(0), stmt.ColumnInt64(1)
		return nil
	})
}

func (o *oldStore) close() error {
	for _, stmts := range []map[string]*sqlite3.Stmt{o.read, o.behind} {
		for _, stmt := range stmts {
			stmt.Close()
		}
	}
	return o.conn.Close()
}

// takeTables copies what is not rows: where the old store's windows end, its
// totals and what else it knows.
func (s *store) takeTables(o *oldStore) error {
	position, err := o.number(`SELECT coalesce((SELECT value FROM meta WHERE key = 'position'), 0)`)
	if err != nil {
		return err
	}
	err = o.query(`SELECT key, value FROM meta WHERE key <> 'position'`, func(stmt *sqlite3.Stmt) error {
		return s.setMeta(stmt.ColumnText(0), stmt.ColumnInt64(1))
	})
	if err != nil {
		return err
	}
	if err := s.mapNumbers(o); err != nil {
		return err
	}
	add, _, err := s.conn.Prepare(`INSERT INTO hour VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET lookups = lookups + excluded.lookups`)
	if err != nil {
		return err
	}
	defer add.Close()
	err = o.query(`SELECT hour, node, device, lookups FROM hour`, func(stmt *sqlite3.Stmt) error {
		add.BindInt64(1, stmt.ColumnInt64(0))
		add.BindInt64(2, o.nodes[stmt.ColumnInt64(1)])
		add.BindText(3, stmt.ColumnText(2))
		add.BindInt64(4, stmt.ColumnInt64(3))
		return add.Exec()
	})
	if err != nil {
		return err
	}
	if s.position == 0 { // the rows that are copied are in no totals
		if err := s.setMeta(metaTotalsFrom, position+1); err != nil {
			return err
		}
	}
	s.position = max(s.position, position)
	return errors.Join(s.dropSums(), s.setMeta("position", s.position), s.setMeta("copied", 0), s.setMeta("copied_rows", 0), s.setMeta("migration", migrationRuns))
}

// mapNumbers gives nodes, lists, annotations and bindings of the old store
// numbers in the new one: the same each time, as the store knows them by what
// they are.
func (s *store) mapNumbers(o *oldStore) error {
	o.nodes, o.lists, o.annotations, o.bindings = map[int64]int64{0: 0}, map[int64]int64{0: 0}, map[int64]int64{0: 0}, map[int64]int64{}
	take := func(to map[int64]int64, sql string, number func(*sqlite3.Stmt) (int64, error)) error {
		return o.query(sql, func(stmt *sqlite3.Stmt) (err error) {
			to[stmt.ColumnInt64(0)], err = number(stmt)
			return err
		})
	}
	err := take(o.nodes, `SELECT id, name FROM node ORDER BY id`, func(stmt *sqlite3.Stmt) (int64, error) {
		return s.numbered("node", s.nodes, stmt.ColumnText(1))
	})
	if err != nil {
		return err
	}
	err = take(o.lists, `SELECT id, name FROM list ORDER BY id`, func(stmt *sqlite3.Stmt) (int64, error) {
		return s.list(stmt.ColumnText(1))
	})
	if err != nil {
		return err
	}
	err = take(o.annotations, `SELECT id, vendor, product, purpose, tier, region, source, breaks, since, confidence, software FROM annotation ORDER BY id`,
		func(stmt *sqlite3.Stmt) (int64, error) {
			var a format.Annotation
			for i, text := range annotationTexts(&a) {
				*text = stmt.ColumnText(i + 1)
			}
			return s.annotation(&a)
		})
	if err != nil {
		return err
	}
	return s.mapBindings(o)
}

// mapBindings copies the old store's bindings under their numbers. Where the
// number is another binding's (both programs wrote in turn), one takes the next
// that is free.
func (s *store) mapBindings(o *oldStore) error {
	have, next, err := s.bindings()
	if err != nil {
		return err
	}
	byID, byWhat := map[uint64]*devices.Binding{}, map[string]uint64{}
	for i := range have {
		byID[have[i].ID] = &have[i]
		byWhat[whatBinding(&have[i])] = have[i].ID
	}
	return o.query(selectBindings, func(stmt *sqlite3.Stmt) error {
		b := scanBinding(stmt)
		old := b.ID
		switch id, known := byWhat[whatBinding(&b)]; {
		case known:
			b.ID = id
		case byID[b.ID] != nil:
			b.ID = next
		}
		if b.ID != old {
			o.bindings[int64(old)] = int64(b.ID)
		}
		if byID[b.ID] != nil {
			return nil
		}
		byID[b.ID] = &b
		next = max(next, b.ID+1)
		return s.binding(&b)
	})
}

// whatBinding tells a binding from all others but by its number.
func whatBinding(b *devices.Binding) string {
	return fmt.Sprintf("%q %v %q %v %d %d", b.Device, b.Addr, b.MAC, b.Prefix, b.Source, b.From.UnixMilli())
}

// migrateStep copies the next rows of the old store, in about migrateStepTime,
// and reports whether there is more to do. Where the disk has no room for the
// copy it waits: both stores are read meanwhile.
func (s *store) migrateStep() (more bool, err error) {
	o := s.old
	if o == nil {
		return false, nil
	}
	if err := o.room(s); err != nil {
		return true, err
	}
	begun := time.Now()
	done, err := s.copyRows(o)
	if isCorrupt(err) && errors.Is(err, errOld) {
		s.closeOld()
		return false, s.leaveOld(o.path, err)
	}
	if err != nil {
		return true, fmt.Errorf("copying the store of version 1: %w", err)
	}
	if done {
		return false, s.finishOld()
	}
	took := max(time.Since(begun), time.Millisecond)
	o.limit = min(max(int(float64(o.limit)*float64(migrateStepTime)/float64(took)), migrateRowsMin), 2*o.limit, migrateRowsMax)
	return true, nil
}

// room fails where the rest of the copy would fill the disk.
func (o *oldStore) room(s *store) error {
	info, err := os.Stat(o.path)
	if err != nil {
		return err
	}
	size, err := s.size()
	if err != nil {
		return err
	}
	need := uint64(max(info.Size()-size, 0) + migrateSpare)
	if free := freeSpace(filepath.Dir(o.path)); free < need {
		return fmt.Errorf("copying the store of version 1 waits for room: %d MB are free and %d MB needed; it is read where it is meanwhile", free>>20, need>>20)
	}
	return nil
}

// copyRows copies up to o.limit rows of each table, all or none.
func (s *store) copyRows(o *oldStore) (done bool, err error) {
	end, done, err := o.stepEnd()
	if err != nil {
		return false, err
	}
	rows := o.rows
	err = s.transact(func() error {
		for _, table := range rowTables {
			n, err := s.copyTable(o, table, end)
			if err != nil {
				return err
			}
			rows += n
		}
		if err := s.copyLedger(o, end); err != nil {
			return err
		}
		if err := s.copyWindows(o, end); err != nil {
			return err
		}
		return errors.Join(s.setMeta("copied", end), s.setMeta("copied_rows", rows))
	})
	if err != nil {
		s.forget()
		return false, err
	}
	o.copied, o.rows = end, rows
	return done, nil
}

// stepEnd returns the number up to which all tables are copied next.
func (o *oldStore) stepEnd() (end int64, done bool, err error) {
	end, done = math.MaxInt64, true
	largest := o.copied
	for _, stmt := range o.behind {
		stmt.BindInt64(1, o.copied)
		stmt.BindInt64(2, int64(o.limit))
		if stmt.Step() {
			last, n := stmt.ColumnInt64(0), stmt.ColumnInt64(1)
			largest = max(largest, last)
			if n == int64(o.limit) {
				end, done = min(end, last), false
			}
		}
		if err := finished(stmt); err != nil {
			return 0, false, err
		}
	}
	return min(end, largest), done, nil
}

// copyTable copies the rows of a table up to a number.
func (s *store) copyTable(o *oldStore, table string, end int64) (n int64, err error) {
	stmt := o.read[table]
	stmt.BindInt64(1, o.copied)
	stmt.BindInt64(2, end)
	w := s.rows[table]
	defer func(own *nameTable) { w.names = own }(w.names)
	for stmt.Step() {
		w.begin(stmt.ColumnInt64(0), 0)
		w.names = o.names[table]
		if own := s.names[table]; own.known != nil && own.period == w.id>>periodRows {
			w.names = own // one of both gives the numbers of a period
		}
		for i := range o.plan {
			w.at = i
			o.plan[i].copy(w, o, value{stmt, o.plan[i].from})
		}
		if err = w.add(); err != nil {
			break
		}
		n++
	}
	if err == nil {
		err = s.flushRows()
	}
	return n, errors.Join(err, finished(stmt))
}

func (s *store) copyLedger(o *oldStore, end int64) error {
	return o.each("ledger", o.copied, end, func(stmt *sqlite3.Stmt) error {
		e := Event{Time: Time{fromMilli(stmt.ColumnInt64(2))}, Since: Time{fromMilli(stmt.ColumnInt64(3))}, Until: Time{fromMilli(stmt.ColumnInt64(4))},
			Kind: stmt.ColumnText(5), Subject: stmt.ColumnText(6), Detail: stmt.ColumnText(7)}
		return s.event(stmt.ColumnInt64(0), o.nodes[stmt.ColumnInt64(1)], &e)
	})
}

// copyWindows copies the windows that rows up to a number are of, one that is
// copied in part included: readers find rows by them.
func (s *store) copyWindows(o *oldStore, end int64) error {
	return o.each("window", o.copied>>rowBits-1, end>>rowBits, func(stmt *sqlite3.Stmt) error {
		return s.run("window", stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2), stmt.ColumnInt64(3), stmt.ColumnInt64(4))
	})
}

// each calls do with each row of a table between two numbers, the first one
// excluded.
func (o *oldStore) each(table string, after, end int64, do func(*sqlite3.Stmt) error) (err error) {
	stmt := o.read[table]
	stmt.BindInt64(1, after)
	stmt.BindInt64(2, end)
	for err == nil && stmt.Step() {
		err = do(stmt)
	}
	return errors.Join(err, finished(stmt))
}

// finished returns what ended a query of the old store, and makes it ready for
// the next time.
func finished(stmt *sqlite3.Stmt) error {
	err := stmt.Err()
	stmt.Reset() // gives the same error
	return ofOld(err)
}

// finishOld deletes the old store: all of it is in the new one, and on the disk
// once this transaction is, which synchronous FULL waits for.
func (s *store) finishOld() error {
	o := s.old
	if err := s.conn.Exec(`PRAGMA synchronous = FULL`); err != nil {
		return err
	}
	err := s.transact(func() error { return s.setMeta("migration", migrationDone) })
	if err = errors.Join(err, s.conn.Exec(`PRAGMA synchronous = NORMAL`)); err != nil {
		return err
	}
	s.closeOld()
	s.report(Event{Kind: KindMigration, Subject: oldStoreName, Detail: fmt.Sprintf("all %d rows of the store of version 1 are in %s; it is deleted", o.rows, storeName)})
	return removeStore(o.path)
}

// leaveOld gives up a store of version 1 that is damaged: what is copied stays,
// and so does the file.
func (s *store) leaveOld(path string, why error) error {
	to, err := setAside(path, time.Now(), "-wal", "-shm")
	if err != nil {
		return errors.Join(why, err)
	}
	rows, err := s.meta("copied_rows")
	s.report(Event{Kind: KindStore, Subject: filepath.Base(to),
		Detail: fmt.Sprintf("the store of version 1 is damaged and was set aside; %d of its rows were copied before: %v", rows, why)})
	return errors.Join(err, s.transact(func() error { return s.setMeta("migration", migrationDone) }))
}

func (s *store) closeOld() {
	if s.old != nil {
		s.old.close()
		s.old = nil
	}
}

// removeStore deletes a store's files.
func removeStore(path string) error {
	var all error
	for _, suffix := range storeSuffixes {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return all
}

// report keeps an event of the store's own for whoever writes the ledger.
func (s *store) report(e Event) { s.reported = append(s.reported, e) }

// takeReported returns the events since the last call.
func (s *store) takeReported() (events []Event) {
	events, s.reported = s.reported, nil
	return events
}

// A copyColumn says how a column of a row is made from one of version 1.
type copyColumn struct {
	from int // column of the old row; -1 for none
	copy func(*rowWriter, *oldStore, value)
}

// newCopyPlan returns one for each column that an insert binds.
func newCopyPlan() []copyColumn {
	var plan []copyColumn
	for i := range columns {
		name := columns[i].name
		if columns[i].bind == nil {
			continue
		}
		from := slices.IndexFunc(columns1, func(old string) bool { return cmp.Or(renamed1[old], old) == name })
		copy := copyInt
		switch {
		case name == "node":
			copy = func(w *rowWriter, o *oldStore, v value) { w.int(o.nodes[v.int()]) }
		case name == "list" || name == "attr_list":
			copy = func(w *rowWriter, o *oldStore, v value) { w.int(o.lists[v.int()]) }
		case name == "annotation":
			copy = func(w *rowWriter, o *oldStore, v value) { w.int(o.annotations[v.int()]) }
		case name == "binding":
			copy = copyBinding
		case name == "name" || name == "alias":
			copy = copyName
		case from < 0 && columns[i].sql == notNull:
			copy = func(w *rowWriter, _ *oldStore, _ value) { w.int(0) } // not known of old rows
		case from < 0:
			copy = func(w *rowWriter, _ *oldStore, _ value) { w.null() }
		case columns[i].sql == text:
			copy = copyText
		}
		plan = append(plan, copyColumn{from, copy})
	}
	return plan
}

func copyInt(w *rowWriter, _ *oldStore, v value) { w.int(v.int()) }

func copyText(w *rowWriter, _ *oldStore, v value) {
	if v.null() {
		w.null()
	} else {
		w.text(v.text())
	}
}

func copyBinding(w *rowWriter, o *oldStore, v value) {
	id := v.int()
	if other, ok := o.bindings[id]; ok {
		id = other
	}
	w.int(id)
}

func copyName(w *rowWriter, _ *oldStore, v value) {
	if v.null() {
		w.null()
	} else {
		w.numbered(w.names.number(w.id, v.stmt.ColumnRawText(v.i), textName))
	}
}

// errOld is in an error that reading the old store gave.
var errOld = errors.New("the store of version 1")

func ofOld(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errOld, err)
}

// query calls do with each row of a query of the old store.
func (o *oldStore) query(sql string, do func(*sqlite3.Stmt) error) error {
	stmt, _, err := o.conn.Prepare(sql)
	if err != nil {
		return ofOld(err)
	}
	defer stmt.Close()
	for err == nil && stmt.Step() {
		err = do(stmt)
	}
	return errors.Join(err, ofOld(stmt.Err()))
}

// number runs a query of the old store that gives one number.
func (o *oldStore) number(sql string) (n int64, err error) {
	err = o.query(sql, func(stmt *sqlite3.Stmt) error {
		n = stmt.ColumnInt64(0)
		return nil
	})
	return n, err
}
