package querylog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/devices"
	"telltale/sorting"
)

// BatchOptions say how much of a log goes into a batch.
type BatchOptions struct {
	Rows     int   // at which no further window is added; 0 for 50,000
	To       int64 // the last window that is in it: that of a batch that is made again; 0 for any
	Unlisted bool  // also rows of names that no list has
}

const (
	batchRows = 50_000
	batchMost = 4096 // windows of a batch
)

// Batch returns what the store has behind a window, as much as a batch may have; nil where there is nothing. What is in the
// journal alone is in none yet, and imported rows never are. It reads in one transaction, which is short.
func (r *Reader) Batch(ctx context.Context, from int64, o BatchOptions) (*Batch, error) {
	s := &snapshot{}
	defer s.close()
	if err := s.openStores(ctx, r, true); err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	switch {
	case s.old != nil:
		return nil, errMigrating
	case s.store == nil || s.store.version < schemaVersion:
		return nil, nil
	}
	b, err := s.batch(from, o)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	return b, nil
}

func (s *snapshot) batch(from int64, o BatchOptions) (*Batch, error) {
	b := &Batch{From: from}
	end := s.position
	if o.To > 0 {
		end = min(end, o.To)
	}
	var below int64 // the first window of another store
	var err error
	if b.Store, b.Begin, below, err = s.storeOf(from + 1); err != nil {
		return nil, err
	}
	if below > 0 {
		end = min(end, below-1)
	}
	if err := s.batchWindows(b, end, o); err != nil {
		return nil, err
	}
	if len(b.Windows) == 0 {
		if below > 0 && end == below-1 && end > from { // nothing is left of the store before
			return s.batch(end, o)
		}
		return nil, nil
	}
	b.To = b.Windows[len(b.Windows)-1].Number
	if b.Node, err = s.nodeOf(b); err != nil {
		return nil, err
	}
	if err := s.batchLines(b, o.Unlisted); err != nil {
		return nil, err
	}
	if err := s.batchTotals(b, below); err != nil {
		return nil, err
	}
	return b, s.batchBindings(b)
}

// batchWindows adds windows with their rows, up to one.
func (s *snapshot) batchWindows(b *Batch, end int64, o BatchOptions) error {
	err := s.store.query(`SELECT id, first, last, rows, lookups FROM window WHERE id > ? AND id <= ? AND imported = 0 ORDER BY id LIMIT ?`, []any{b.From, end, int64(batchMost)}, func(stmt *sqlite3.Stmt) bool {
		n := stmt.ColumnInt64
		b.Windows = append(b.Windows, BatchWindow{Number: n(0), First: n(1), Last: n(2), RowsStored: n(3), Lookups: n(4)})
		return true
	})
	if err != nil {
		return err
	}
	rows, most := 0, cmp.Or(o.Rows, batchRows)
	for i := range b.Windows {
		w := &b.Windows[i]
		if err := s.batchRows(w, o.Unlisted); err != nil {
			return err
		}
		if rows += len(w.entries); o.To == 0 && rows > most && i > 0 {
			b.Windows = b.Windows[:i]
			break
		}
	}
	return nil
}

// batchRows reads the rows of a window.
func (s *snapshot) batchRows(w *BatchWindow, unlisted bool) error {
	db := s.store
	for table, name := range rowTables {
		if name == "unlisted" && !unlisted {
			continue
		}
		var loaded []*column
		var exprs []string
		for i := range columns {
			if c := &columns[i]; c.load != nil {
				loaded = append(loaded, c)
				exprs = append(exprs, db.layout.column(c))
			}
		}
		db.rows.table, db.rows.says = table, allColumns
		sql := `SELECT ` + strings.Join(exprs, `, `) + ` FROM ` + name + ` r WHERE r.id >= ? AND r.id < ? AND r.import = 0 ORDER BY r.id`
		var failed error
		err := db.query(sql, []any{w.Number << rowBits, (w.Number + 1) << rowBits}, func(stmt *sqlite3.Stmt) bool {
			var e batchEntry
			for i, c := range loaded {
				c.load(&db.rows, value{stmt, i}, &e.entry)
			}
			e.place = db.rows.id & (1<<rowBits - 1)
			e.Overrode = name == "listed" && !e.listed()
			w.entries = append(w.entries, e)
			failed = db.rows.err
			return failed == nil
		})
		if err := cmp.Or(err, failed); err != nil {
			return err
		}
	}
	return nil
}

// nodeOf returns the node whose the windows of a batch are.
func (s *snapshot) nodeOf(b *Batch) (node string, err error) {
	err = s.store.query(`SELECT n.name FROM node n WHERE n.id = coalesce((SELECT node FROM ledger WHERE id < ? ORDER BY id DESC LIMIT 1), (SELECT node FROM ledger ORDER BY id LIMIT 1),
		(SELECT node FROM listed ORDER BY id DESC LIMIT 1))`, []any{(b.To + 1) << rowBits}, func(stmt *sqlite3.Stmt) bool {
		node = stmt.ColumnText(0)
		return false
	})
	return node, err
}

// mayNameNames are kinds of lines that say for which name of DNS a person made a rule, whether a list has it or not.
var mayNameNames = map[string]bool{"rule": true, "rule-ended": true, "change": true}

// batchLines adds the lines of the ledger; of those that may say a name that no list has, what they say only with the rows of such names.
func (s *snapshot) batchLines(b *Batch, unlisted bool) error {
	at := map[int64]*BatchWindow{}
	for i := range b.Windows {
		at[b.Windows[i].Number] = &b.Windows[i]
	}
	return s.store.query(`SELECT time, kind, subject, detail, since, until, id FROM ledger WHERE id >= ? AND id < ? ORDER BY id`, []any{(b.From + 1) << rowBits, (b.To + 1) << rowBits}, func(stmt *sqlite3.Stmt) bool {
		if w := at[stmt.ColumnInt64(6)>>rowBits]; w != nil {
			e := Event{Time: Time{time.UnixMilli(stmt.ColumnInt64(0))}, Node: b.Node, Kind: stmt.ColumnText(1), Subject: stmt.ColumnText(2), Detail: stmt.ColumnText(3),
				Since: Time{fromMilli(stmt.ColumnInt64(4))}, Until: Time{fromMilli(stmt.ColumnInt64(5))}}
			if !unlisted && mayNameNames[e.Kind] {
				e.Subject, e.Detail = "", keptAtNode
			}
			w.Events = append(w.Events, e)
		}
		return true
	})
}

// keptAtNode stands for what a line says that is not shipped.
const keptAtNode = "what it says is in the ledger of the node alone (fleet.unlisted)"

// bindingSlack is how long before the lookups of a window a binding may have begun or ended that is stored with it.
const bindingSlack = 10 * time.Minute

// batchBindings adds the bindings that rows name, those of devices with lookups that began or ended since shortly before, and those in force of devices of which
// totals begin. What is known of a device that never asked anything, or whose lookups are not logged, stays at the node.
func (s *snapshot) batchBindings(b *Batch) error {
	named := map[uint64]bool{}
	for i := range b.Windows {
		for j := range b.Windows[i].entries {
			if bound := b.Windows[i].entries[j].Binding; bound != nil {
				named[bound.ID] = true
			}
		}
	}
	changed := b.Windows[0].First - bindingSlack.Milliseconds()
	asks := map[string]bool{}
	for i := range b.Totals {
		asks[b.Totals[i].Device] = asks[b.Totals[i].Device] || b.Totals[i].First.UnixMilli() >= changed
	}
	// There may be many that are over: SQLite passes over them, and they are not read.
	err := s.store.query(bindingColumns+`WHERE id < ?1 AND nolog = 0 AND (since >= ?2 OR until >= ?2 OR until = 0)`, []any{int64(importedBindings), changed}, func(stmt *sqlite3.Stmt) bool {
		if bound := scanBinding(stmt); !named[bound.ID] {
			b.Bindings = append(b.Bindings, bound)
		}
		return true
	})
	if err != nil {
		return err
	}
	counted := map[string]bool{}
	isCounted := func(device string) bool {
		if _, known := counted[device]; !known && err == nil {
			counted[device], err = s.store.hasTotals(device)
		}
		return counted[device]
	}
	b.Bindings = slices.DeleteFunc(b.Bindings, func(bound devices.Binding) bool {
		news := bound.From.UnixMilli() >= changed || !bound.Until.IsZero() && bound.Until.UnixMilli() >= changed
		return !(news && isCounted(bound.Device) || bound.Until.IsZero() && asks[bound.Device])
	})
	for id := range named {
		if err == nil && id < importedBindings {
			err = s.store.query(selectBinding, []any{int64(id)}, func(stmt *sqlite3.Stmt) bool {
				b.Bindings = append(b.Bindings, scanBinding(stmt))
				return false
			})
		}
	}
	sorting.By(b.Bindings, func(x, y devices.Binding) int { return cmp.Compare(x.ID, y.ID) })
	return err
}

// hasTotals reports whether there is a total of a device.
func (db *database) hasTotals(device string) (is bool, err error) {
	err = db.query(`SELECT 1 FROM node n JOIN total_key k ON k.node = n.id WHERE k.device = ? LIMIT 1`, []any{device}, func(*sqlite3.Stmt) bool {
		is = true
		return false
	})
	return is, err
}

// batchTotals adds the totals of the hours that the windows are in. below is the first window of the next store; 0 for none.
func (s *snapshot) batchTotals(b *Batch, below int64) error {
	hours := map[int64]bool{}
	for i := range b.Windows {
		w := &b.Windows[i]
		if w.RowsStored == 0 || w.Last-w.First > dayMilli { // the clock was set: the hours of both ends have some
			hours[hourOf(w.First)/hourMilli], hours[hourOf(w.Last)/hourMilli] = true, true
			continue
		}
		for h := hourOf(w.First); h <= w.Last; h += hourMilli {
			hours[h/hourMilli] = true
		}
	}
	before, behind, err := s.storesBeside(b.Begin, below)
	if err != nil {
		return err
	}
	of := map[totalKey]int{} // places: a node may have got another name
	add := func(t *Total) {
		own := *t
		own.Node = b.Node
		if i, known := of[keyOfTotal(&own)]; known {
			b.Totals[i].merge(&own)
			return
		}
		of[keyOfTotal(&own)] = len(b.Totals)
		b.Totals = append(b.Totals, own)
	}
	var keys totalKeys
	for _, h := range sortedKeys(hours) {
		if h*hourMilli <= before || (h+1)*hourMilli > behind {
			err = s.totalsOfRows(h, b.Begin, below, add)
		} else {
			err = s.store.storedTotals(&TotalsFilter{}, h, h+1, &keys, func(k keptTotal) { add(k.total()) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// storesBeside returns when the last window of the store before one ends, and when the first of the next store begins: stored totals of
// hours about these are of both.
func (s *snapshot) storesBeside(begin, below int64) (before, behind int64, err error) {
	before, behind = math.MinInt64, math.MaxInt64
	for _, one := range []struct {
		window int64
		sql    string
		to     *int64
	}{{begin, `SELECT last FROM window WHERE id <= ? AND imported = 0 ORDER BY id DESC LIMIT 1`, &before}, {below, `SELECT first FROM window WHERE id >= ? AND imported = 0 ORDER BY id LIMIT 1`, &behind}} {
		if one.window == 0 {
			continue
		}
		err := s.store.query(one.sql, []any{one.window}, func(stmt *sqlite3.Stmt) bool {
			*one.to = stmt.ColumnInt64(0)
			return false
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return before, behind, nil
}

// totalsOfRows counts an hour by the rows that are left of windows behind one, and before another (0 for any).
func (s *snapshot) totalsOfRows(hour, behind, below int64, add func(*Total)) error {
	all := Filter{Since: fromMilli(hour * hourMilli), Until: fromMilli((hour+1)*hourMilli - 1)}
	f, err := all.normal()
	if err != nil {
		return err
	}
	sums := totalSums{}
	_, err = s.storedRows(&f, 0, 0, func(r Row) bool {
		if window := r.ID >> rowBits; window > behind && (below == 0 || window < below) && r.Imported == "" && hourOf(r.Time.UnixMilli()) == hour*hourMilli {
			sums.add(&r)
		}
		return true
	})
	if err != nil {
		return err
	}
	var totals []Total
	for _, sum := range sums {
		totals = append(totals, sum.Total)
	}
	sorting.By(totals, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Vendor, b.Vendor), cmp.Compare(a.Product, b.Product), cmp.Compare(a.Purpose, b.Purpose),
			cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Verdict, b.Verdict))
	})
	for i := range totals {
		add(&totals[i])
	}
	return nil
}

// metaStores is the key of the stores that this one was before, in the meta table: lines of a window and the id that rows of
// windows below it have.
const metaStores = "stores"

// storeOf returns the id of the store that a window is of, the window before its first one, and the first window that is another's; 0 for none.
func (s *snapshot) storeOf(window int64) (id string, begin, below int64, err error) {
	text := ""
	err = s.store.query(`SELECT value FROM meta WHERE key = '`+metaStores+`'`, nil, func(stmt *sqlite3.Stmt) bool {
		text = stmt.ColumnText(0)
		return false
	})
	for line := range strings.Lines(text) {
		var first int64
		var before string
		if n, _ := fmt.Sscan(line, &first, &before); n == 2 {
			if window < first {
				return before, begin, first, err
			}
			begin = first - 1
		}
	}
	return s.id, begin, 0, err
}

// becomeOther makes a store another one from a window on, within a transaction.
func (s *store) becomeOther(from int64, id string) error {
	before, err := s.metaText(metaStores)
	if err != nil {
		return err
	}
	if err := s.setMetaText(metaStores, fmt.Sprintf("%s%d %s\n", before, from, s.id)); err != nil {
		return err
	}
	return s.setMetaText("store", id)
}

// A Cursor is how far a log is shipped to a centre.
type Cursor struct {
	Shipped int64 // the last window that the centre has
	Sending int64 // the last window of the batch that may be on its way; 0 for none
}

// Keys of a Cursor in the meta table.
const (
	metaShipped = "shipped"
	metaSending = "sending"
)

// Cursor returns how far the log is shipped.
func (l *Log) Cursor(ctx context.Context) (c Cursor, err error) {
	err = l.importing(ctx, func(s *storer) (err error) {
		if s.store == nil {
			return errNoStore
		}
		if c.Shipped, err = s.store.meta(metaShipped); err != nil {
			return err
		}
		c.Sending, err = s.store.meta(metaSending)
		return err
	})
	return c, err
}

// SetCursor keeps how far the log is shipped. Rows behind it that retention deletes are told in the ledger from then on.
func (l *Log) SetCursor(ctx context.Context, c Cursor) error {
	return l.importing(ctx, func(s *storer) error {
		if s.store == nil {
			return errNoStore
		}
		return s.store.transact(func() error {
			return errors.Join(s.store.setMeta(metaShipped, c.Shipped), s.store.setMeta(metaSending, c.Sending))
		})
	})
}

// Shipped returns how far the log is shipped to a centre, for who reads it beside its server.
func (r *Reader) Shipped(ctx context.Context) (c Cursor, err error) {
	s := &snapshot{}
	defer s.close()
	if err := s.openStores(ctx, r, false); err != nil || s.store == nil {
		return c, err
	}
	err = s.store.query(`SELECT key, value FROM meta WHERE key IN ('`+metaShipped+`', '`+metaSending+`')`, nil, func(stmt *sqlite3.Stmt) bool {
		if stmt.ColumnText(0) == metaShipped {
			c.Shipped = stmt.ColumnInt64(1)
		} else {
			c.Sending = stmt.ColumnInt64(1)
		}
		return true
	})
	return c, err
}

// UnshippedMost is up to how many windows Unshipped counts: there may be millions after a long outage.
const UnshippedMost = 10_000

// Unshipped returns how many windows there are behind one, UnshippedMost at most, and when the lookups of the first of them began.
func (r *Reader) Unshipped(ctx context.Context, behind int64) (windows int64, oldest time.Time, err error) {
	s := &snapshot{}
	defer s.close()
	if err := s.openStores(ctx, r, false); err != nil || s.store == nil || s.store.version < versionOfImports {
		return 0, oldest, err
	}
	err = s.store.query(`SELECT count(*), coalesce(min(first), 0) FROM (SELECT first FROM window WHERE id > ? AND imported = 0 ORDER BY id LIMIT ?)`, []any{behind, int64(UnshippedMost)}, func(stmt *sqlite3.Stmt) bool {
		windows, oldest = stmt.ColumnInt64(0), fromMilli(stmt.ColumnInt64(1))
		return false
	})
	return windows, oldest, err
}

// BecomeOther makes the log another store from a window on: a copy of it goes on elsewhere under the id that it had. The key that signs
// from then on is vouched for by the one before.
func (l *Log) BecomeOther(ctx context.Context, window int64) error {
	return l.importing(ctx, func(s *storer) error {
		if s.store == nil {
			return errNoStore
		}
		before, id := s.store.id, newStoreID()
		if err := s.store.transact(func() error { return s.store.becomeOther(window, id) }); err != nil {
			return err
		}
		s.store.id = id
		s.l.addEvent(Event{Kind: KindCopied, Subject: before,
			Detail: fmt.Sprintf("a copy of store %s goes on elsewhere: from number %d on this is store %s", before, window<<rowBits, id)})
		s.l.o.Logger.Warn("query log: another server goes on with a copy of this log; from here on this is another store", "before", before, "store", id)
		return s.openSeal()
	})
}

// Shipping says which rows of a log are shipped.
type Shipping int

const (
	NothingShipped Shipping = iota
	ListedShipped           // those of listed names
	AllShipped
)

func (s Shipping) has(table string) bool {
	return s == AllShipped || s == ListedShipped && table == "listed"
}

// Ship says which rows of the log are shipped from now on.
func (l *Log) Ship(ctx context.Context, what Shipping) error {
	return l.importing(ctx, func(s *storer) error {
		s.shipping = what
		return nil
	})
}

// Shipping returns which rows of the log are shipped, as Ship said last.
func (l *Log) Shipping(ctx context.Context) (what Shipping, err error) {
	err = l.importing(ctx, func(s *storer) error {
		what = s.shipping
		return nil
	})
	return what, err
}

// An unshippedSum is rows that were deleted before they were shipped.
type unshippedSum struct {
	rows        int64
	first, last int64 // Unix milliseconds
}

// countUnshipped adds the rows that are deleted next and that no centre has.
func (s *store) countUnshipped(table string, end int64, most int, u *unshippedSum) error {
	shipped, err := s.meta(metaShipped)
	if err != nil {
		return err
	}
	return s.texts(fmt.Sprintf(`SELECT count(*), coalesce(min(first), 0), coalesce(max(last), 0) FROM (SELECT r.id, r.first, `+lastOfRow+` AS last FROM %s r WHERE id < ?1 AND import = 0 ORDER BY id LIMIT ?2) WHERE id >= ?3`, table), func(stmt *sqlite3.Stmt) {
		n := stmt.ColumnInt64
		if n(0) == 0 {
			return
		}
		if u.rows == 0 {
			u.first = n(1)
		}
		u.rows, u.first, u.last = u.rows+n(0), min(u.first, n(1)), max(u.last, n(2))
	}, end, int64(most), (shipped+1)<<rowBits)
}

// tellUnshipped puts what was deleted before it was shipped into the ledger.
func (s *storer) tellUnshipped() {
	u := &s.retention.unshipped
	if u.rows > 0 {
		s.l.addEvent(Event{Kind: KindUnshipped, Since: Time{fromMilli(u.first)}, Until: Time{fromMilli(u.last)},
			Detail: fmt.Sprintf("%d rows were deleted by age or size before they were shipped to the centre", u.rows)})
	}
	*u = unshippedSum{}
}
