package querylog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// A Reader reads a log, whether a server is writing it or not. It holds no
// files between calls, and any number of goroutines may use it; one of AtOnce is
// different in both, and one of Log.Reader in the first.
type Reader struct {
	dir  string
	kept *keptStores // of Log.Reader; nil: each call opens the store
	held *snapshot   // of AtOnce; nil: each call takes its own
}

// OpenReader returns a Reader of the log in a data directory.
func OpenReader(dir string) (*Reader, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("reading the query log: %w", err)
	}
	return &Reader{dir: dir}, nil
}

// AtOnce returns a reader of the log as it is at this moment: all that it is asked is
// answered from one opening of the files, until it is closed. One goroutine alone may use
// it. While it is open the store's write-ahead log does not get shorter.
func (r *Reader) AtOnce(ctx context.Context) (*Reader, error) {
	s, err := r.lookAt(ctx, nil, true)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	s.held = true
	return &Reader{dir: r.dir, kept: r.kept, held: s}, nil
}

// Close ends the reader.
func (r *Reader) Close() error {
	if s := r.held; s != nil {
		r.held, s.held = nil, false
		s.close()
	}
	return nil
}

// Rows returns the rows f chooses, the newest last: what is in the store, then
// what is still in the journal, marked open. They are those of one moment, the
// beginning of the iteration. After an error there is no further row.
func (r *Reader) Rows(ctx context.Context, f Filter) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		s, err := r.look(ctx, nil)
		if err == nil {
			defer s.close()
			if f, err = f.normal(); err == nil {
				err = s.rows(f, 0, func(row Row) bool { return yield(row, nil) })
			}
		}
		if err != nil {
			yield(Row{}, cmp.Or(ctx.Err(), err)) // an interrupted query has an error of its own
		}
	}
}

// Newest calls each with the newest n of the rows f chooses, the newest first, those that are open among them, until it
// returns false. A row is valid until the next call: unlike with f.Limit of Rows, no more than a page of them is in memory.
func (r *Reader) Newest(ctx context.Context, f Filter, n int, each func(*Row) bool) error {
	s, err := r.look(ctx, nil)
	if err == nil {
		defer s.close()
		if f, err = f.normal(); err == nil {
			err = s.newest(f, n, each)
		}
	}
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	return nil
}

// Page returns up to n of the rows f chooses, and whether there are more: the newest first, those
// that are open among them; or with oldest the oldest first, and no open ones, so that who goes on
// behind the last row gets every row once. f.After and f.Before are where to go on; f.Limit has no
// effect.
func (r *Reader) Page(ctx context.Context, f Filter, n int, oldest bool) (rows []Row, more bool, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, false, cmp.Or(ctx.Err(), err)
	}
	defer s.close()
	if f, err = f.normal(); err != nil {
		return nil, false, err
	}
	f.Limit, f.page = n+1, n+1
	if oldest {
		f.Limit = 0
	}
	err = s.rows(f, 0, func(row Row) bool {
		if oldest && row.Open {
			return false
		}
		rows = append(rows, row)
		return len(rows) <= n
	})
	if err != nil {
		return nil, false, cmp.Or(ctx.Err(), err)
	}
	if !oldest {
		slices.Reverse(rows)
	}
	if more = len(rows) > n; more {
		rows = rows[:n]
	}
	return rows, more, nil
}

// A snapshot is the log at one moment.
type snapshot struct {
	store    *database // nil where there is none yet
	old      *database // the store of version 1 while it is copied; nil for none
	id       string    // of the store
	position int64     // what is in the store, whatever is added later
	copied   int64     // rows of old up to this one are in store
	begun    bool      // all of old but rows, ledger and windows is in store
	open     []*replay // the windows behind the position, in order
	held     bool      // a reader of AtOnce has it, and closes it
}

// look takes a snapshot. The journals are opened before the store is asked for
// its position: a window that is stored in between is then in the store, and
// none is missed. tails, where not nil, keeps what was read of a journal from
// one look to the next.
func (r *Reader) look(ctx context.Context, tails map[int64]*tail) (*snapshot, error) {
	if r.held != nil && tails == nil {
		return r.held, nil
	}
	return r.lookAt(ctx, tails, false)
}

// lookAt is look; with fixed, what is committed later is not seen in the stores.
func (r *Reader) lookAt(ctx context.Context, tails map[int64]*tail, fixed bool) (s *snapshot, err error) {
	windows, files, err := openJournals(r.dir)
	defer closeFiles(files)
	if err != nil {
		return nil, err
	}
	s = &snapshot{}
	if err := s.openStores(ctx, r, fixed); err != nil {
		s.close()
		return nil, err
	}
	for _, n := range windows {
		if f := files[n]; f != nil && n > s.position {
			p, err := readTail(f, n, tails)
			if err != nil {
				s.close()
				return nil, err
			}
			p.window = n
			s.open = append(s.open, p)
		}
	}
	return s, nil
}

// openJournals opens the journals there are. What it opened is to be closed, also
// where there is an error.
func openJournals(dir string) (windows []int64, files map[int64]*os.File, err error) {
	windows, err = segments(dir)
	if err != nil {
		return nil, nil, err
	}
	files = make(map[int64]*os.File, len(windows))
	for _, n := range windows {
		f, err := os.Open(segmentPath(dir, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // stored and deleted just now
		}
		if err != nil {
			return windows, files, err
		}
		files[n] = f
	}
	return windows, files, nil
}

func closeFiles(files map[int64]*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// openStores opens the store, and that of version 1 where it is not copied yet.
// The old one is opened first: it is deleted when all of it is in the other.
func (s *snapshot) openStores(ctx context.Context, r *Reader, fixed bool) (err error) {
	if s.old, err = openDatabase(ctx, filepath.Join(r.dir, oldStoreName), &layout1); err != nil {
		return err
	}
	if s.store, err = r.kept.open(ctx, filepath.Join(r.dir, storeName), &layout2); err != nil {
		return err
	}
	for _, db := range s.databases() {
		if !fixed {
			break
		}
		if err := db.conn.Exec(`BEGIN`); err != nil {
			return err
		}
		if _, err := db.number(`SELECT count(*) FROM meta`); err != nil { // BEGIN alone fixes nothing
			return err
		}
	}
	var state int64
	if s.store != nil {
		err = s.store.query(`SELECT (SELECT value FROM meta WHERE key = 'store'), (SELECT value FROM meta WHERE key = 'position'),
			(SELECT value FROM meta WHERE key = 'migration'), (SELECT value FROM meta WHERE key = 'copied')`, nil, func(stmt *sqlite3.Stmt) bool {
			s.id, s.position, state, s.copied = stmt.ColumnText(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2), stmt.ColumnInt64(3)
			return true
		})
		if err != nil {
			return err
		}
	}
	if s.old == nil {
		return nil
	}
	if s.begun = state == migrationRuns; s.begun {
		return nil
	}
	if state == migrationDone && s.old.version > 1 { // left over, to be deleted
		s.old.close()
		s.old = nil
		return nil
	}
	s.copied = 0
	position, err := s.old.number(`SELECT coalesce((SELECT value FROM meta WHERE key = 'position'), 0)`)
	s.position = max(s.position, position)
	return err
}

func (s *snapshot) close() {
	if s.held {
		return
	}
	for _, db := range s.databases() {
		db.close()
	}
}

// databases returns the stores there are.
func (s *snapshot) databases() (all []*database) {
	for _, db := range []*database{s.old, s.store} {
		if db != nil {
			all = append(all, db)
		}
	}
	return all
}

// A database is a store that is open for reading.
type database struct {
	conn    *sqlite3.Conn
	layout  *layout
	version int64
	stmts   map[string]*sqlite3.Stmt
	rows    rowReader
	windows map[windowBound]int64 // what bounds has found

	kept    *keptStores // where it waits for the next call; nil: it is closed
	file    keptFile
	failed  bool      // a query did, or was interrupted: it is not kept
	waits   time.Time // since when
	changes int64     // differs where another connection has changed the store
}

// openDatabase opens a store, or returns nil where there is none. Beside one
// without a write-ahead log no file is made: it would belong to who reads, who
// may be another user than the server's.
func openDatabase(ctx context.Context, path string, l *layout) (*database, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	uri := "file:" + (&url.URL{Path: path}).EscapedPath()
	var conn *sqlite3.Conn
	_, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		conn, err = openSQLite(uri+"?immutable=1", sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
	} else {
		conn, err = openSQLite(uri, sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db := &database{conn: conn, layout: l, stmts: map[string]*sqlite3.Stmt{}}
	db.rows.db = db
	if err := db.prepare(ctx, path); err != nil {
		db.close()
		return nil, err
	}
	if db.version == 0 { // being made just now
		db.close()
		return nil, nil
	}
	if l == &layout2 { // the file of version 1 says 2 while it is copied
		own := layout2
		own.version = int(db.version)
		db.layout = &own
	}
	return db, nil
}

func (db *database) prepare(ctx context.Context, path string) error {
	db.conn.BusyTimeout(5 * time.Second)
	db.conn.SetInterrupt(ctx)
	_, err := db.conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true) // who reads leaves the files as they are
	if err == nil {
		err = db.conn.Exec(`PRAGMA query_only = ON; PRAGMA cache_size = -1024`)
	}
	if err == nil {
		err = db.conn.CreateFunction("unicode_name", 1, sqlite3.DETERMINISTIC, unicodeNameSQL)
	}
	if err == nil {
		db.version, err = db.number(`PRAGMA user_version`)
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	if db.version > schemaVersion {
		return &NewerError{filepath.Base(path), int(db.version), schemaVersion}
	}
	return nil
}

// begin begins a transaction, in which all is read of one moment, and returns what ends it. A reader
// of AtOnce is in one already.
func (db *database) begin() (commit func(), err error) {
	if !db.conn.GetAutocommit() {
		return func() {}, nil
	}
	return func() { db.conn.Exec(`COMMIT`) }, db.conn.Exec(`BEGIN`)
}

// close ends the use of a connection.
func (db *database) close() {
	if db.kept == nil || !db.kept.put(db) {
		db.closeFile()
	}
}

func (db *database) closeFile() {
	for _, stmt := range db.stmts {
		stmt.Close()
	}
	db.conn.Close()
}

func (db *database) number(sql string, args ...any) (n int64, err error) {
	err = db.query(sql, args, func(stmt *sqlite3.Stmt) bool {
		n = stmt.ColumnInt64(0)
		return false
	})
	return n, err
}

// query calls each with each row until it returns false. A statement is kept
// for the next time: each must not run the same one.
func (db *database) query(sql string, args []any, each func(*sqlite3.Stmt) bool) (err error) {
	defer func() { db.failed = db.failed || err != nil }()
	stmt := db.stmts[sql]
	if stmt == nil {
		if stmt, _, err = db.conn.Prepare(sql); err != nil {
			return err
		}
		db.stmts[sql] = stmt
	}
	for i, a := range args {
		switch a := a.(type) {
		case int64:
			err = stmt.BindInt64(i+1, a)
		case string:
			err = stmt.BindText(i+1, a)
		}
		if err != nil {
			return err
		}
	}
	for stmt.Step() {
		if !each(stmt) {
			return stmt.Reset()
		}
	}
	err = stmt.Err()
	return errors.Join(err, stmt.Reset())
}

// A tail is what was read so far of a journal that grows.
type tail struct {
	replay replay
	file   fs.FileInfo
	read   int64
}

// readTail reads a journal: what was added to it since it was last read, where
// tails has it.
func readTail(f *os.File, window int64, tails map[int64]*tail) (*replay, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	t := tails[window]
	if t == nil || !os.SameFile(t.file, info) || info.Size() < t.read {
		t = &tail{replay: replay{window: window}}
	}
	t.file = info
	b, err := io.ReadAll(io.NewSectionReader(f, t.read, info.Size()-t.read))
	if err != nil {
		return nil, err
	}
	t.read += int64(t.replay.feed(b))
	if tails != nil {
		tails[window] = t
	}
	return &t.replay, nil
}
