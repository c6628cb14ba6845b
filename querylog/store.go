package querylog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists/format"
	"telltale/devices"
)

// storeName is the store's file. Version 1 of the schema had another, so that
// both can be there while one is copied to the other: see migrate.go.
const storeName = "lookups.db"

// A store is the writing connection to the SQLite file. One goroutine owns it.
type store struct {
	conn     *sqlite3.Conn
	path     string
	id       string // random, made with the store: with a row's number its key among the rows of all stores
	position int64  // the last window that is in it
	opened   int64  // position when this process opened it
	created  bool   // by this open
	frames   int    // in the write-ahead log at the last commit, where countFrames was called

	busyTimeout time.Duration // how long to wait for another process that holds the lock
	busySince   time.Time

	insert      map[string]*sqlite3.Stmt
	nodes       map[string]int64
	lists       map[string]int64
	upstreams   map[string]int64
	annotations map[format.Annotation]int64
	bound       map[uint64]bool       // bindings known to be in it
	names       map[string]*nameTable // by the table whose rows have them
	importNames map[string]*nameTable // the same, of imported rows
	old         *oldStore             // the store of version 1 while it is copied; nil for none
	rows        map[string]*rowWriter // by table
	totals      *totaller
	uncounted   bool // rows that are added are in totals of a node's, which come beside
	seal        *sealer
	reported    []Event // that no ledger has yet

	nameSets    int64               // the last period that has sets of names
	staleSets   map[string]int64    // by table: no set of a period before is to be made again; math.MaxInt64: none at all
	sumsTouched map[int64]time.Time // days to whose summed rows others came, and when
	sumsRead    int64               // day_sum.id of the last sums that were read, once after the store was opened; -1: all
	unreadable  []int64             // days of sums that could not be read, to be told

	begin, end *sqlite3.Stmt // of a transaction
}

// openStore opens the store in dir, made if it is not there, and brings its
// schema up to date. The error is a *NewerError where that cannot be done.
func openStore(dir string) (*store, error) {
	path := filepath.Join(dir, storeName)
	made, err := makeStore(path)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", path, err)
	}
	s, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	s.created = s.created || made
	if err := s.prepare(); err != nil {
		s.close()
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return s, nil
}

// makeStore makes the store where there is none, under another name until it is
// whole: what a full disk or a kill cuts short is never taken for a store.
func makeStore(path string) (made bool, err error) {
	if info, err := os.Stat(path); err == nil && info.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	unfinished := path + ".new"
	if err := removeStore(unfinished); err != nil {
		return false, err
	}
	for _, suffix := range storeSuffixes[1:] { // of a store that is gone
		os.Remove(path + suffix)
	}
	s, err := openFile(unfinished)
	if err == nil {
		err = s.close()
	}
	if _, e := os.Stat(unfinished + "-wal"); err == nil && e == nil {
		err = errors.New("what is in its write-ahead log could not be moved to the main file")
	}
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		removeStore(unfinished)
	}
	return err == nil, err
}

// storeSuffixes are of the files that a store may have.
var storeSuffixes = []string{"", "-journal", "-wal", "-shm"}

// openFile opens a store, made if it is not there, and brings its schema up to
// date.
func openFile(path string) (*store, error) {
	s := &store{path: path}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite would make it readable by others
	if err != nil {
		return nil, err
	}
	f.Close()
	if s.conn, err = openSQLite(s.path, 0); err != nil {
		return nil, err
	}
	if err := s.bringUpToDate(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// bringUpToDate makes the connection ready, and the schema the present one.
func (s *store) bringUpToDate() error {
	if err := s.conn.BusyHandler(s.waitLonger); err != nil {
		return err
	}
	s.busyTimeout = busyTimeout
	version, err := s.number(`PRAGMA user_version`)
	if err != nil {
		return err
	}
	if version > schemaVersion {
		return &NewerError{s.path, int(version), schemaVersion}
	}
	s.created = version == 0
	if s.created {
		if err := s.conn.Exec(`PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL`); err != nil {
			return err
		}
	}
	err = s.conn.Exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -512;
		PRAGMA journal_size_limit = 4194304; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY`)
	if err != nil {
		return err
	}
	if s.begin, _, err = s.conn.PrepareFlags(`BEGIN IMMEDIATE`, sqlite3.PREPARE_PERSISTENT); err != nil {
		return err
	}
	if s.end, _, err = s.conn.PrepareFlags(`COMMIT`, sqlite3.PREPARE_PERSISTENT); err != nil {
		return err
	}
	return s.bringForward(version)
}

// prepare makes ready what is used to write rows.
func (s *store) prepare() (err error) {
	s.forget()
	if s.insert, err = s.statements(); err != nil {
		return err
	}
	s.names, s.importNames, s.rows = map[string]*nameTable{}, map[string]*nameTable{}, map[string]*rowWriter{}
	s.staleSets = map[string]int64{} // all are to be looked at
	for _, table := range rowTables {
		s.names[table], s.importNames[table] = newNameTable(s, table), newNameTable(s, table)
		s.rows[table] = newRowWriter(s, table)
	}
	s.totals = newTotaller(s)
	if err := s.loadSeal(); err != nil {
		return err
	}
	for _, suffix := range []string{"-wal", "-shm"} { // the library makes them readable by others
		os.Chmod(s.path+suffix, 0o600)
	}
	if s.id, err = s.metaText("store"); err != nil {
		return err
	}
	if s.position, err = s.meta(metaPosition); err != nil {
		return err
	}
	if s.nameSets, err = s.meta(metaNameSets); err != nil {
		return err
	}
	if err := s.knowDeletedTotals(); err != nil {
		return err
	}
	return s.openOld()
}

// waitLonger waits a while for another process that holds the lock, and reports
// whether to try again. It waits longer each time: SQLite's own way would try a
// thousand times a second.
func (s *store) waitLonger(ctx context.Context, count int) (retry bool) {
	if count == 0 {
		s.busySince = time.Now()
	}
	rest := s.busyTimeout - time.Since(s.busySince)
	if rest <= 0 || ctx.Err() != nil {
		return false
	}
	wait := time.NewTimer(min(time.Millisecond<<min(count, 5), rest))
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// countFrames makes the store count what is in the write-ahead log, and never
// move it by itself.
func (s *store) countFrames() {
	s.conn.WALHook(func(_ *sqlite3.Conn, _ string, frames int) error {
		s.frames = frames
		return nil
	})
}

// bringForward makes the tables of a new store, or changes those of an older
// version, a step in each transaction.
func (s *store) bringForward(version int64) error {
	if s.created {
		return s.transact(func() error {
			return s.conn.Exec(schema() + `INSERT INTO meta VALUES ('store', '` + newStoreID() + `'), ('` + metaTotalsDeleted + `', 0)`)
		})
	}
	for ; version < schemaVersion; version++ {
		err := s.transact(func() error {
			return s.conn.Exec(addColumns(columns[:], int(version)+1) + otherSteps[version+1] + fmt.Sprintf(`PRAGMA user_version = %d`, version+1))
		})
		if err != nil {
			return fmt.Errorf("schema %d: %w", version+1, err)
		}
	}
	return nil
}

// newStoreID returns the random id of a new store.
func newStoreID() string { return fmt.Sprintf("%016x", rand.Uint64()) }

func (s *store) statements() (map[string]*sqlite3.Stmt, error) {
	all, statements := map[string]*sqlite3.Stmt{}, maps.Clone(totalStatements)
	maps.Copy(statements, sealStatements)
	for name, sql := range map[string]string{
		"listed":         insertRows("listed", 1),
		"listed_many":    insertRows("listed", rowsAtOnce),
		"unlisted":       insertRows("unlisted", 1),
		"unlisted_many":  insertRows("unlisted", rowsAtOnce),
		"listed_name":    `INSERT INTO listed_name VALUES (?,?)`,
		"unlisted_name":  `INSERT INTO unlisted_name VALUES (?,?)`,
		"listed_names":   `INSERT INTO listed_name VALUES ` + strings.Repeat(`,(?,?)`, namesAtOnce)[1:],
		"unlisted_names": `INSERT INTO unlisted_name VALUES ` + strings.Repeat(`,(?,?)`, namesAtOnce)[1:],
		"listed_last":    lastName("listed"),
		"unlisted_last":  lastName("unlisted"),
		"listed_stale":   staleNameSet("listed"),
		"unlisted_stale": staleNameSet("unlisted"),
		"list":           `INSERT INTO list (name) VALUES (?) ON CONFLICT DO UPDATE SET name = name RETURNING id`,
		"upstream":       `INSERT INTO upstream (name) VALUES (?) ON CONFLICT DO UPDATE SET name = name RETURNING id`,
		"annotation": `INSERT INTO annotation (vendor, product, purpose, tier, region, source, breaks, since, confidence, software)
			VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET vendor = vendor RETURNING id`,
		"node": `INSERT INTO node (name) VALUES (?) ON CONFLICT DO UPDATE SET name = name RETURNING id`,
		"binding": `INSERT INTO binding VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)
			ON CONFLICT DO UPDATE SET since = CASE WHEN id < 1 << 48 THEN since ELSE min(since, excluded.since) END,
			until = CASE WHEN id < 1 << 48 THEN excluded.until ELSE max(until, excluded.until) END,
			seen = CASE WHEN id < 1 << 48 THEN excluded.seen ELSE max(seen, excluded.seen) END WHERE excluded.until <> 0`, // importedBindings
		"ledger":          `INSERT OR IGNORE INTO ledger VALUES (?,?,?,?,?,?,?,?)`,
		"window":          `INSERT OR IGNORE INTO window VALUES (?,?,?,?,?,0)`,
		"window_imported": `INSERT INTO window VALUES (?,?,?,?,?,1)`,
		"meta":            `INSERT INTO meta VALUES (?,?) ON CONFLICT DO UPDATE SET value = excluded.value`,
		"stored": fmt.Sprintf(`INSERT INTO meta VALUES ('%s',?),('%s',?),('%s',?),('%s',?),('%s',?),('%s',?)
			ON CONFLICT DO UPDATE SET value = excluded.value + CASE key WHEN '%[2]s' THEN value ELSE 0 END`,
			metaPosition, metaLookups, metaSteady, metaWall, metaSynced, metaDoubted),
	} {
		statements[name] = sql
	}
	for name, sql := range statements {
		stmt, _, err := s.conn.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
		if err != nil {
			return nil, err
		}
		all[name] = stmt
	}
	return all, nil
}

// forget drops what is remembered from earlier transactions, one of which may
// have been undone.
func (s *store) forget() {
	s.nodes, s.lists, s.upstreams = map[string]int64{}, map[string]int64{}, map[string]int64{}
	s.annotations, s.bound = map[format.Annotation]int64{}, map[uint64]bool{}
	for _, w := range s.rows {
		w.drop()
	}
	if s.totals != nil {
		s.totals.forget()
	}
	if s.seal != nil {
		s.seal.forget()
	}
	s.forgetNames()
}

// forgetBindings makes bindings be stored again with the rows that need them.
func (s *store) forgetBindings() {
	s.bound = map[uint64]bool{}
	s.seal.forget()
}

// forgetNames makes all names to come be stored again.
func (s *store) forgetNames() {
	for _, t := range s.names {
		t.forget()
	}
	for _, t := range s.importNames {
		t.forget()
	}
	if s.old != nil {
		for _, t := range s.old.names {
			t.forget()
		}
	}
}

func (s *store) close() error {
	s.closeOld()
	for _, stmt := range slices.Collect(s.conn.Stmts()) { // a connection with one left would stay open
		stmt.Close()
	}
	return s.conn.Close()
}

// transact runs do in one transaction, or leaves the store as it was.
func (s *store) transact(do func() error) error {
	if err := s.begin.Exec(); err != nil {
		return err
	}
	err := do()
	if err == nil && s.seal != nil {
		err = s.seal.flush()
	}
	if err == nil {
		err = s.end.Exec()
	}
	if err != nil && !s.conn.GetAutocommit() {
		interrupt := s.conn.SetInterrupt(context.Background()) // what was interrupted is undone, too
		s.conn.Exec(`ROLLBACK`)
		s.conn.SetInterrupt(interrupt)
	}
	if s.seal != nil {
		s.seal.end(err == nil)
	}
	return err
}

// number runs a query that gives one number.
func (s *store) number(sql string, args ...int64) (int64, error) {
	stmt, _, err := s.conn.Prepare(sql)
	if err != nil {
		return 0, err
	}
	defer stmt.Close()
	for i, a := range args {
		stmt.BindInt64(i+1, a)
	}
	var n int64
	if stmt.Step() {
		n = stmt.ColumnInt64(0)
	}
	return n, stmt.Err()
}

// exec runs a statement with numbers as its arguments.
func (s *store) exec(sql string, args ...int64) error {
	_, err := s.number(sql, args...)
	return err
}

// A windowData is a window on its way into the store.
type windowData struct {
	number   int64
	alias    int64 // the number of its journal, where that is another; 0 for none
	clock    clockMark
	node     string
	entries  iter.Seq2[int, *entry]
	events   []Event
	bindings []devices.Binding

	span wallSpan // of its lookups; commit sets it
}

// commit stores a window and the position behind it in one transaction. A
// window that is in the store already is left as it is.
func (s *store) commit(w *windowData) (rows, lookups uint64, err error) {
	if w.number <= s.position {
		return 0, 0, nil
	}
	if len(s.lists)+len(s.upstreams) > remembered || len(s.annotations) > remembered || len(s.bound) > 4*remembered {
		s.forget()
	}
	err = s.transact(func() (err error) {
		rows, lookups, err = s.write(w)
		return err
	})
	if err != nil {
		s.forget() // what the transaction made is gone
		return 0, 0, err
	}
	s.position = w.number
	return rows, lookups, nil
}

func (s *store) write(w *windowData) (rows, lookups uint64, err error) {
	node, err := s.numbered("node", s.nodes, w.node)
	if err != nil {
		return 0, 0, err
	}
	for i := range w.bindings {
		if err := s.binding(&w.bindings[i]); err != nil {
			return 0, 0, err
		}
	}
	var first, last int64
	s.totals.now = w.clock.wall / hourMilli
	for i, e := range w.entries {
		id := w.number<<rowBits | int64(i)
		if err := s.row(id, node, e); err != nil {
			return 0, 0, err
		}
		if err := s.seal.entry(id, w.node, e, ""); err != nil {
			return 0, 0, err
		}
		if rows == 0 {
			first, last = e.First, e.Last
		}
		first, last = min(first, e.First), max(last, e.Last)
		rows++
		lookups += e.Count
	}
	if err := s.flushRows(); err != nil {
		return 0, 0, err
	}
	if err := s.totals.flush(); err != nil {
		return 0, 0, err
	}
	for i := range w.events {
		id := w.number<<rowBits | int64(i)
		if err := s.event(id, node, &w.events[i]); err != nil {
			return 0, 0, err
		}
		if err := s.seal.event(ledgerLine(id, w.node, &w.events[i])); err != nil {
			return 0, 0, err
		}
	}
	if rows == 0 {
		first, last = w.clock.wall, w.clock.wall
	}
	w.span = wallSpan{first, last}
	if err := s.run("window", w.number, first, last, int64(rows), int64(lookups)); err != nil {
		return 0, 0, err
	}
	if w.alias != 0 { // so that has knows the journal again
		if err := s.run("window", w.alias, first, last, 0, 0); err != nil {
			return 0, 0, err
		}
	}
	return rows, lookups, s.saveState(w.number, lookups, w.clock)
}

// saveState keeps which window was stored last, so many lookups more, and the clock.
func (s *store) saveState(position int64, lookups uint64, c clockMark) error {
	synced := int64(0)
	if c.synced {
		synced = 1
	}
	return s.run("stored", position, int64(lookups), c.steady, c.wall, synced, c.doubted)
}

// lookups returns how many lookups the store has taken since it was made.
func (s *store) lookups() (uint64, error) {
	n, err := s.meta(metaLookups)
	return uint64(n), err
}

// has reports whether a window that the store's position is behind was stored.
// Windows without lookups have no line of their own in older stores.
func (s *store) has(window int64) (bool, error) {
	sql := fmt.Sprintf(`SELECT EXISTS (SELECT 1 FROM window WHERE id = %[1]d) OR EXISTS (SELECT 1 FROM ledger WHERE id >= %[1]d << %[2]d AND id < (%[1]d + 1) << %[2]d)`,
		window, rowBits)
	n, err := s.number(sql)
	if err == nil && n == 0 && s.old != nil { // stored by an earlier version, and not copied yet
		n, err = s.old.number(sql)
	}
	return n == 1, err
}

// run executes a prepared insert with numbers as its first arguments; the rest
// is bound already.
func (s *store) run(name string, args ...int64) error {
	stmt := s.insert[name]
	for i, a := range args {
		stmt.BindInt64(i+1, a)
	}
	return stmt.Exec()
}

func (s *store) setMeta(key string, value int64) error {
	stmt := s.insert["meta"]
	stmt.BindText(1, key)
	stmt.BindInt64(2, value)
	return stmt.Exec()
}

func (s *store) setMetaText(key, value string) error {
	stmt := s.insert["meta"]
	stmt.BindText(1, key)
	stmt.BindText(2, value)
	return stmt.Exec()
}

func (s *store) metaText(key string) (string, error) {
	stmt, _, err := s.conn.Prepare(`SELECT value FROM meta WHERE key = '` + key + `'`)
	if err != nil {
		return "", err
	}
	defer stmt.Close()
	var text string
	if stmt.Step() {
		text = stmt.ColumnText(0)
	}
	return text, stmt.Err()
}

func (s *store) meta(key string) (int64, error) {
	return s.number(`SELECT coalesce((SELECT value FROM meta WHERE key = '` + key + `'), 0)`)
}

// bindings returns the bindings kept and the first id never given out. Those of imported
// rows are nobody's who asks here.
func (s *store) bindings() (kept []devices.Binding, next uint64, err error) {
	stmt, _, err := s.conn.Prepare(fmt.Sprintf(bindingColumns+`WHERE id < %d ORDER BY id`, int64(importedBindings)))
	if err != nil {
		return nil, 0, err
	}
	defer stmt.Close()
	next = 1
	for stmt.Step() {
		b := scanBinding(stmt)
		kept = append(kept, b)
		next = b.ID + 1
	}
	return kept, next, stmt.Err()
}

// allBindings returns all bindings, in their order.
func (s *store) allBindings() (all []devices.Binding, err error) {
	stmt, _, err := s.conn.Prepare(selectBindings)
	if err != nil {
		return nil, err
	}
	defer stmt.Close()
	for stmt.Step() {
		all = append(all, scanBinding(stmt))
	}
	return all, stmt.Err()
}

const (
	bindingColumns = `SELECT id, device, name, addr, mac, prefix, source, confidence, since, until, seen, grp, nolog FROM binding `
	selectBindings = bindingColumns + `ORDER BY id`
	selectBinding  = bindingColumns + `WHERE id = ?`
)

func scanBinding(stmt *sqlite3.Stmt) devices.Binding {
	addr, _ := netip.ParseAddr(stmt.ColumnText(3))
	prefix, _ := netip.ParsePrefix(stmt.ColumnText(5))
	return devices.Binding{
		ID: uint64(stmt.ColumnInt64(0)), Device: stmt.ColumnText(1), Name: stmt.ColumnText(2), Addr: addr, MAC: stmt.ColumnText(4), Prefix: prefix,
		Source: devices.Source(stmt.ColumnInt(6)), Confidence: devices.Confidence(stmt.ColumnInt(7)),
		From: time.UnixMilli(stmt.ColumnInt64(8)), Until: fromMilli(stmt.ColumnInt64(9)), Seen: fromMilli(stmt.ColumnInt64(10)),
		Group: uint16(stmt.ColumnInt(11)), NoLog: stmt.ColumnBool(12),
	}
}

// size returns the bytes of the store that are in use.
func (s *store) size() (int64, error) {
	return s.number(`SELECT (page_count - freelist_count) * page_size
		FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()`)
}

// isCorrupt reports whether err says that the file is not a sound database.
func isCorrupt(err error) bool {
	return errors.Is(err, sqlite3.CORRUPT) || errors.Is(err, sqlite3.NOTADB) || errors.Is(err, errMixed)
}

// setAside gives a damaged file a name that says so and since when, together
// with the files that belong to it.
func setAside(path string, now time.Time, with ...string) (to string, err error) {
	to = path + asideMark + now.UTC().Format("20060102T150405.000Z")
	err = os.Rename(path, to)
	for _, suffix := range with {
		if e := os.Rename(path+suffix, to+suffix); e != nil && !os.IsNotExist(e) {
			err = errors.Join(err, e)
		}
	}
	return to, err
}

// asideMark is in the names of files that are set aside.
const asideMark = ".corrupt-"

// IsSetAside reports whether a name in a data directory is that of a damaged file that
// was set aside.
func IsSetAside(name string) bool { return strings.Contains(name, asideMark) }

// joinClose closes f and joins its error to err.
func joinClose(err error, f *os.File) error { return errors.Join(err, f.Close()) }
