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

	"telltale/devices"
)

// A Reader reads a log, whether a server is writing it or not. It holds no
// files between calls, and any number of goroutines may use it.
type Reader struct{ dir string }

// OpenReader returns a Reader of the log in a data directory.
func OpenReader(dir string) (*Reader, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("reading the query log: %w", err)
	}
	return &Reader{dir}, nil
}

// Close ends the reader.
func (r *Reader) Close() error { return nil }

// Rows returns the rows f chooses, the newest last: what is in the store, then
// what is still in the journal, marked open. They are those of one moment, the
// beginning of the iteration. After an error there is no further row.
func (r *Reader) Rows(ctx context.Context, f Filter) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		f, err := f.normal()
		if err != nil {
			yield(Row{}, err)
			return
		}
		s, err := r.look(ctx, nil)
		if err == nil {
			defer s.close()
			err = s.rows(f, 0, func(row Row) bool { return yield(row, nil) })
		}
		if err != nil {
			yield(Row{}, cmp.Or(ctx.Err(), err)) // an interrupted query has an error of its own
		}
	}
}

// A snapshot is the log at one moment.
type snapshot struct {
	conn     *sqlite3.Conn // nil where there is no store yet
	position int64         // what is in the store, whatever is added later
	open     []*replay     // the windows behind it, in order
}

// look takes a snapshot. The journals are opened before the store is asked for
// its position: a window that is stored in between is then in the store, and
// none is missed. tails, where not nil, keeps what was read of a journal from
// one look to the next.
func (r *Reader) look(ctx context.Context, tails map[int64]*tail) (s *snapshot, err error) {
	windows, err := segments(r.dir)
	if err != nil {
		return nil, err
	}
	files := make(map[int64]*os.File, len(windows))
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, n := range windows {
		f, err := os.Open(segmentPath(r.dir, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // stored and deleted just now
		}
		if err != nil {
			return nil, err
		}
		files[n] = f
	}
	s = &snapshot{}
	if s.conn, err = openForReading(ctx, filepath.Join(r.dir, storeName)); err != nil {
		return nil, err
	}
	if s.position, err = s.readPosition(); err != nil {
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

func (s *snapshot) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

// openForReading opens the store, or returns nil where there is none. Beside
// a store without a write-ahead log no file is made: it would belong to who
// reads, who may be another user than the server's.
func openForReading(ctx context.Context, path string) (*sqlite3.Conn, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	uri := "file:" + (&url.URL{Path: path}).EscapedPath()
	var conn *sqlite3.Conn
	_, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		conn, err = sqlite3.OpenFlags(uri+"?immutable=1", sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
	} else {
		conn, err = sqlite3.OpenFlags(uri, sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	conn.BusyTimeout(5 * time.Second)
	conn.SetInterrupt(ctx)
	if err := conn.Exec(`PRAGMA query_only = ON; PRAGMA cache_size = -1024`); err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return conn, nil
}

func (s *snapshot) readPosition() (int64, error) {
	if s.conn == nil {
		return 0, nil
	}
	version, err := s.number(`PRAGMA user_version`)
	if err != nil {
		return 0, err
	}
	if version == 0 { // being made just now
		s.close()
		s.conn = nil
		return 0, nil
	}
	if version != schemaVersion {
		return 0, &NewerError{storeName, int(version), schemaVersion}
	}
	return s.number(`SELECT coalesce((SELECT value FROM meta WHERE key = 'position'), 0)`)
}

func (s *snapshot) number(sql string, args ...any) (n int64, err error) {
	err = s.query(sql, args, func(stmt *sqlite3.Stmt) bool {
		n = stmt.ColumnInt64(0)
		return false
	})
	return n, err
}

// query calls each with each row until it returns false.
func (s *snapshot) query(sql string, args []any, each func(*sqlite3.Stmt) bool) error {
	stmt, _, err := s.conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer stmt.Close()
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
			return nil
		}
	}
	return stmt.Err()
}

// pageRows are read in one transaction: the writer must not wait for whoever
// looks at the rows.
const pageRows = 1000

// rows calls each with the rows f chooses whose id is above after, in order,
// until it returns false.
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

// storedRows is rows for those in the store. open is how many follow.
func (s *snapshot) storedRows(f *Filter, after int64, open int, each func(Row) bool) (more bool, err error) {
	end := (s.position + 1) << rowBits
	if s.conn == nil || f.Limit > 0 && open >= f.Limit {
		return true, nil
	}
	low, high, err := s.bounds(f)
	if err != nil {
		return false, err
	}
	after, end = max(after, low-1), min(end, high)
	if f.Limit > 0 {
		page, err := s.page(f, after, end, "DESC", f.Limit-open)
		slices.Reverse(page)
		for i := range page {
			if !each(page[i]) {
				return false, err
			}
		}
		return err == nil, err
	}
	for {
		page, err := s.page(f, after, end, "ASC", pageRows)
		for i := range page {
			if !each(page[i]) {
				return false, err
			}
		}
		if err != nil || len(page) < pageRows {
			return err == nil, err
		}
		after = page[len(page)-1].ID
	}
}

// bounds returns the ids between which the rows of f's time can be.
func (s *snapshot) bounds(f *Filter) (low, end int64, err error) {
	end = 1<<63 - 1
	if !f.Since.IsZero() {
		if low, err = s.number(`SELECT coalesce(min(id), (SELECT max(id) + 1 FROM window), 0) FROM window WHERE last >= ?`, f.Since.UnixMilli()); err != nil {
			return 0, 0, err
		}
		low <<= rowBits
	}
	if !f.Until.IsZero() {
		if end, err = s.number(`SELECT coalesce((SELECT id FROM window WHERE first <= ? ORDER BY id DESC LIMIT 1), 0) + 1`, f.Until.UnixMilli()); err != nil {
			return 0, 0, err
		}
		end <<= rowBits
	}
	return low, end, nil
}

const selectRow = `SELECT r.id, r.first, r.last, r.count, n.name, coalesce(r.client, b.addr), r.name, r.type, r.verdict,
	u.name, r.line, CASE WHEN r.list <> 0 THEN coalesce(r.rule, r.name) END, a.vendor, a.product, a.purpose, a.tier, a.source, r.rcode, r.source, r.transport, r.ttl, r.elapsed,
	a.region, a.confidence, a.breaks, r.level, t.name, r.attr_line, r.alias, ` + deviceSQL + `, b.name, b.mac, r.binding, b.source, b.confidence,
	r.folded`

const joins = `
	LEFT JOIN node n ON n.id = r.node
	LEFT JOIN binding b ON b.id = r.binding
	LEFT JOIN list u ON u.id = r.list
	LEFT JOIN list t ON t.id = r.attr_list
	LEFT JOIN annotation a ON a.id = r.note
	WHERE r.id > ? AND r.id < ?`

// page returns up to n rows between two ids, both excluded.
func (s *snapshot) page(f *Filter, after, end int64, order string, n int) (page []Row, err error) {
	where, args := f.where()
	args = append([]any{after, end}, args...)
	sql := fmt.Sprintf(`%[1]s FROM listed r %[2]s %[3]s UNION ALL %[1]s FROM unlisted r %[2]s %[3]s ORDER BY 1 %[4]s LIMIT %[5]d`,
		selectRow, joins, where, order, n)
	err = s.query(sql, append(args, args...), func(stmt *sqlite3.Stmt) bool {
		page = append(page, scanRow(stmt))
		return true
	})
	return page, err
}

// openRows returns the rows of the journal that f chooses, in order.
func (s *snapshot) openRows(f *Filter) (open []Row) {
	for _, p := range s.open {
		for i, e := range p.entries {
			row := e.row(p.window<<rowBits|int64(i), p.node)
			if f.matches(&row) {
				open = append(open, row)
			}
		}
	}
	return open
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

// Ledger returns the quality ledger's lines between two times, in order; a zero
// time is no bound.
func (r *Reader) Ledger(ctx context.Context, since, until time.Time) (events []Event, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.conn != nil {
		err = s.query(`SELECT l.time, n.name, l.kind, l.subject, l.detail, l.since, l.until FROM ledger l
			LEFT JOIN node n ON n.id = l.node WHERE l.id < ? ORDER BY l.id`, []any{(s.position + 1) << rowBits}, func(stmt *sqlite3.Stmt) bool {
			events = append(events, Event{
				Time: Time{time.UnixMilli(stmt.ColumnInt64(0))}, Node: stmt.ColumnText(1), Kind: stmt.ColumnText(2),
				Subject: stmt.ColumnText(3), Detail: stmt.ColumnText(4),
				Since: Time{fromMilli(stmt.ColumnInt64(5))}, Until: Time{fromMilli(stmt.ColumnInt64(6))},
			})
			return true
		})
	}
	for _, p := range s.open {
		events = append(events, p.events...)
	}
	events = slices.DeleteFunc(events, func(e Event) bool {
		return !since.IsZero() && e.Time.Before(since) || !until.IsZero() && e.Time.After(until)
	})
	return events, err
}

// Bindings returns every binding the log knows, in the order of their numbers.
func (r *Reader) Bindings(ctx context.Context) (all []devices.Binding, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	known := map[uint64]int{} // place in all
	add := func(b devices.Binding) {
		if i, ok := known[b.ID]; !ok {
			known[b.ID] = len(all)
			all = append(all, b)
		} else if !b.Until.IsZero() {
			all[i].Until, all[i].Seen = b.Until, b.Seen
		}
	}
	if s.conn != nil {
		err = s.query(selectBindings, nil,
			func(stmt *sqlite3.Stmt) bool {
				add(scanBinding(stmt))
				return true
			})
	}
	for _, p := range s.open {
		for _, b := range p.bindings {
			add(b)
		}
		for _, c := range p.clients {
			if c.binding != nil {
				add(*c.binding)
			}
		}
	}
	slices.SortFunc(all, func(a, b devices.Binding) int { return cmp.Compare(a.ID, b.ID) })
	return all, err
}

// An Hour is what remains of the unlisted rows of one device and hour once
// their time is over.
type Hour struct {
	Hour    Time   `json:"hour"` // its beginning
	Node    string `json:"node"`
	Device  string `json:"device"`
	Lookups uint64 `json:"lookups"`
}

// Hours returns the totals of unlisted lookups whose rows are deleted, between
// two times; a zero time is no bound.
func (r *Reader) Hours(ctx context.Context, since, until time.Time) (hours []Hour, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.conn == nil {
		return nil, nil
	}
	end := int64(1<<63 - 1)
	if !until.IsZero() {
		end = until.UnixMilli()
	}
	err = s.query(`SELECT h.hour, n.name, h.device, h.lookups FROM hour h LEFT JOIN node n ON n.id = h.node
		WHERE h.hour >= ? AND h.hour <= ? ORDER BY h.hour, h.device`, []any{milli(since), end}, func(stmt *sqlite3.Stmt) bool {
		hours = append(hours, Hour{Time{time.UnixMilli(stmt.ColumnInt64(0))}, stmt.ColumnText(1), stmt.ColumnText(2), uint64(stmt.ColumnInt64(3))})
		return true
	})
	return hours, err
}
