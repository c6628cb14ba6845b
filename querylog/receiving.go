package querylog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
	"telltale/devices"
)

// A centre keeps the logs of its nodes in a store like its own: rows are in windows of the centre about the time of the node's, several
// nodes' in one, each node's behind the others'. So a row's number differs from the node's, but for its place counted from
// where the node's begin: shipped_window has both.

// createShipped are the tables of a centre, made with the first batch.
const createShipped = `CREATE TABLE IF NOT EXISTS shipped_store ( -- a store of a node
	id      INTEGER PRIMARY KEY,
	store   TEXT NOT NULL UNIQUE,
	node    TEXT NOT NULL,
	upto    INTEGER NOT NULL, -- its last window that is here
	last    INTEGER NOT NULL, -- of that window's lookups
	heard   INTEGER NOT NULL, -- when a batch came last
	windows INTEGER NOT NULL,
	rows    INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS shipped_window ( -- a window of it
	store   INTEGER NOT NULL,
	window  INTEGER NOT NULL,
	first   INTEGER NOT NULL, -- this and the next three as the node has them
	last    INTEGER NOT NULL,
	rows    INTEGER NOT NULL,
	lookups INTEGER NOT NULL,
	here    INTEGER NOT NULL, -- the window that its rows are in
	place   INTEGER NOT NULL, -- where they begin in it
	places  INTEGER NOT NULL, -- how many places they take
	PRIMARY KEY (store, window)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shipped_here ON shipped_window (here);
CREATE TABLE IF NOT EXISTS shipped_forgotten ( -- what is not taken any more
	device BLOB NOT NULL,    -- SHA-256 of its identity; of what one node sent: of the node, a zero and its identity
	since  INTEGER NOT NULL, -- by a row's first lookup
	until  INTEGER NOT NULL,
	PRIMARY KEY (device, since, until)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shipped_total ( -- what a store of a node has counted in a total, which has the sums of the node's stores; of different names the larger number, as they may be the same
	total      INTEGER NOT NULL,
	store      INTEGER NOT NULL,
	lookups    INTEGER NOT NULL,
	attempts   INTEGER NOT NULL,
	as_lookups INTEGER NOT NULL,
	PRIMARY KEY (total, store)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shipped_counted ( -- of a total of an hour of which a part is forgotten, what rows have counted: the total has this, or what stores have counted, whichever is larger
	total      INTEGER PRIMARY KEY,
	lookups    INTEGER NOT NULL,
	attempts   INTEGER NOT NULL,
	as_lookups INTEGER NOT NULL,
	names      INTEGER NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS shipped_counted_deleted AFTER DELETE ON total BEGIN
	DELETE FROM shipped_counted WHERE total = old.id;
END;
CREATE TRIGGER IF NOT EXISTS shipped_total_deleted AFTER DELETE ON total BEGIN
	DELETE FROM shipped_total WHERE total = old.id;
END;
`

// windowShipped is window.imported of windows of nodes' rows.
const windowShipped = 2

// A Received says what became of a batch.
type Received struct {
	Upto     int64  // the last window of its store that is here
	Rows     int    // that are new
	Gap      bool   // it leaves out what is between Upto and its beginning: nothing of it is stored
	Diverged int64  // a window that is here and says something else, or of another node's store: nothing of it is stored; 0 for none
	Refused  error  // what is wrong with it alone: nothing of it is stored
	Owner    string // whose the store is, where the batch is another node's
}

// Receive stores batches of nodes, all in one transaction.
func (l *Log) Receive(ctx context.Context, batches []*Batch) (got []Received, err error) {
	tries := 0
	err = l.importing(ctx, func(s *storer) (err error) {
		tries++
		got, err = s.receive(batches, tries == 1)
		return err
	})
	return got, err
}

// windowFresh is how old the last window of a centre may be when others' rows come, in seconds: they are in windows before it.
const windowFresh = 30

func (s *storer) receive(batches []*Batch, first bool) (got []Received, err error) {
	if s.store == nil {
		return nil, errNoStore
	}
	if s.store.old != nil {
		return nil, errMigrating
	}
	if s.store.position == 0 || first && s.store.position < s.l.o.Now().Unix()-windowFresh {
		return nil, errNoWindow
	}
	waiting, err := segments(s.l.o.Dir)
	if err != nil {
		return nil, err
	}
	r := receiving{s: s.store, now: s.l.o.Now(), taken: map[int64]bool{}}
	for _, n := range waiting {
		r.taken[n] = true
	}
	err = s.store.transact(func() error {
		if err := s.store.conn.Exec(createShipped); err != nil {
			return err
		}
		for _, b := range batches {
			one, err := r.alone(b)
			if err != nil {
				return err
			}
			got = append(got, one)
		}
		if err := s.store.sumDaysAgain(r.days); err != nil {
			return err
		}
		return s.store.exec(`DELETE FROM shipped_window WHERE here < (SELECT coalesce(min(id), 0) FROM window)`) // of what retention deleted
	})
	if err != nil {
		s.store.forget() // what the transaction made is gone
		return nil, fmt.Errorf("storing what nodes have sent: %w", err)
	}
	s.imports++
	s.uncheckpointed = true
	return got, nil
}

// receiving is batches on their way into a store.
type receiving struct {
	s     *store
	now   time.Time
	taken map[int64]bool // numbers of windows that are in a journal
	days  map[int64]rowRange
	spans map[[sha256.Size]byte][]DeviceSpan // of forgotten devices; nil until they are read

	store int64 // shipped_store.id of the batch at hand
	node  int64
}

// shippedBindings is the bit of a binding's number from which on the number of its store stands.
const shippedBindings = 44

// bindingHere is the number that a node's binding has here: above those of imported rows.
func (r *receiving) bindingHere(id uint64) uint64 {
	return importedBindings + uint64(r.store)<<shippedBindings | id&(1<<shippedBindings-1)
}

// alone stores a batch, or leaves the store as it was where what is wrong is the batch's own: others of the transaction are stored.
func (r *receiving) alone(b *Batch) (got Received, err error) {
	if err := r.s.conn.Exec(`SAVEPOINT batch`); err != nil {
		return got, err
	}
	days := maps.Clone(r.days)
	got, err = r.batch(b)
	if err != nil && !isOfBatch(err) {
		return got, err
	}
	if err != nil {
		if err := r.s.conn.Exec(`ROLLBACK TO batch`); err != nil {
			return got, err
		}
		r.s.forget() // what it made is gone
		got, r.days = Received{Upto: got.Upto, Refused: err}, days
	}
	return got, r.s.conn.Exec(`RELEASE batch`)
}

// What a node's batch may have too much of.
var (
	errNoRoom = errors.New("there is no room for rows")
	errStores = errors.New("there are too many stores of nodes")
)

// isOfBatch reports whether an error is of what a batch has, and not of the store's file or of who waits.
func isOfBatch(err error) bool {
	for _, of := range []error{errNoRoom, errStores, errNames, sqlite3.CONSTRAINT, sqlite3.MISMATCH, sqlite3.TOOBIG} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

func (r *receiving) batch(b *Batch) (got Received, err error) {
	known, owner, err := r.begin(b)
	if err != nil {
		return got, err
	}
	got.Upto = known
	switch {
	case b.From > max(known, b.Begin):
		got.Gap = true
		return got, nil
	case len(b.Windows) == 0:
		return got, nil
	case owner != b.Node:
		got.Diverged, got.Owner = b.Windows[0].Number, owner
		return got, nil
	}
	fresh, diverged, err := r.fresh(b, known)
	if err != nil || diverged != 0 {
		got.Diverged = diverged
		return got, err
	}
	if r.node, err = r.s.numbered("node", r.s.nodes, b.Node); err != nil {
		return got, err
	}
	if err := r.bindings(b); err != nil {
		return got, err
	}
	for _, t := range r.s.importNames {
		t.forget()
	}
	last := int64(0)
	for _, w := range fresh {
		rows, err := r.window(w, b.Node)
		if err != nil {
			return got, err
		}
		got.Rows += rows
		last = w.Last
	}
	if err := r.s.flushRows(); err != nil {
		return got, err
	}
	if err := r.s.totals.flushCounted(); err != nil {
		return got, err
	}
	if err := r.totals(b); err != nil {
		return got, err
	}
	got.Upto = max(known, b.Windows[len(b.Windows)-1].Number)
	return got, r.s.texts(`INSERT INTO shipped_store VALUES (?1,?2,?3,?4,?5,?6,?7,?8)
		ON CONFLICT DO UPDATE SET upto = excluded.upto, last = max(last, excluded.last), heard = excluded.heard, windows = windows + excluded.windows, rows = rows + excluded.rows`, nil,
		r.store, b.Store, b.Node, got.Upto, last, r.now.UnixMilli(), int64(len(fresh)), int64(got.Rows))
}

// begin finds the batch's store, and returns its last window that is here, and the node whose it is.
func (r *receiving) begin(b *Batch) (known int64, owner string, err error) {
	r.store, owner = 0, b.Node
	err = r.s.texts(`SELECT id, upto, node FROM shipped_store WHERE store = ?`, func(stmt *sqlite3.Stmt) {
		r.store, known, owner = stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnText(2)
	}, b.Store)
	if err == nil && r.store == 0 {
		r.store, err = r.s.number(`SELECT coalesce(max(id), 0) + 1 FROM shipped_store`)
	}
	if err == nil && r.store >= 1<<18 {
		err = errStores
	}
	return known, owner, err
}

// fresh returns the windows of a batch that are not here. diverged is one that is, and says something else.
func (r *receiving) fresh(b *Batch, known int64) (all []*BatchWindow, diverged int64, err error) {
	oldest, err := r.s.number(`SELECT coalesce(min(window), 0) FROM shipped_window WHERE store = ?`, r.store)
	if err != nil {
		return nil, 0, err
	}
	for i := range b.Windows {
		w := &b.Windows[i]
		if w.Number > known {
			all = append(all, w)
			continue
		}
		here, same := false, false
		err := r.s.texts(`SELECT first, last, rows, lookups FROM shipped_window WHERE store = ? AND window = ?`, func(stmt *sqlite3.Stmt) {
			n := stmt.ColumnInt64
			here, same = true, n(0) == w.First && n(1) == w.Last && n(2) == w.RowsStored && n(3) == w.Lookups
		}, r.store, w.Number)
		if err != nil {
			return nil, 0, err
		}
		if here && !same || !here && w.Number > oldest && oldest > 0 { // what is before was deleted by age
			return nil, w.Number, nil
		}
	}
	return all, 0, nil
}

// bindings keeps the bindings of a batch under the numbers that they have here.
func (r *receiving) bindings(b *Batch) error {
	for i := range b.Bindings {
		bound := b.Bindings[i]
		forgotten, err := r.isForgotten(b.Node, bound.Device, bound.From.UnixMilli(), bound.From.UnixMilli()+1)
		if err != nil {
			return err
		}
		if forgotten {
			continue
		}
		bound.ID = r.bindingHere(bound.ID)
		if err := r.s.binding(&bound); err != nil {
			return err
		}
	}
	return nil
}

// window stores the rows and ledger lines of a window, and returns how many rows it were.
func (r *receiving) window(w *BatchWindow, node string) (rows int, err error) {
	places := int64(len(w.Events))
	for i := range w.entries {
		places = max(places, w.entries[i].place+1)
	}
	if err := r.s.flushRows(); err != nil { // those of the window before
		return 0, err
	}
	here, place, err := r.room(w.Number, places)
	if err != nil {
		return 0, err
	}
	first, last, lookups := w.First, w.Last, uint64(0)
	base := here<<rowBits | place
	defer func() { r.s.uncounted = false }()
	bound := map[uint64]*devices.Binding{}
	for i := range w.entries {
		e := w.entries[i].entry
		device, hour := deviceOf(e.Addr, e.Binding), hourOf(e.First)
		forgotten, err := r.isForgotten(node, device, e.First, e.First+1)
		if err != nil {
			return 0, err
		}
		if forgotten {
			continue
		}
		inPart, err := r.isForgotten(node, device, hour, hour+hourMilli)
		if err != nil {
			return 0, err
		}
		r.s.uncounted = !inPart // the node's totals come beside; those of this hour may be refused
		if b := e.Binding; b != nil {
			if bound[b.ID] == nil {
				own := *b
				own.ID = r.bindingHere(b.ID)
				bound[b.ID] = &own
			}
			e.Binding = bound[b.ID]
		}
		if err := r.s.importedRow(base+w.entries[i].place, r.node, &e); err != nil {
			return 0, err
		}
		r.storedRow(base+w.entries[i].place, &e)
		lookups += e.Count
		rows++
	}
	for i := range w.Events {
		if err := r.s.event(base+int64(i), r.node, &w.Events[i]); err != nil {
			return 0, err
		}
	}
	err = r.s.exec(`INSERT INTO window VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last), rows = rows + excluded.rows, lookups = lookups + excluded.lookups`,
		here, first, last, int64(rows), int64(lookups), windowShipped)
	if err != nil {
		return 0, err
	}
	return rows, r.s.exec(`INSERT INTO shipped_window VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)`, r.store, w.Number, w.First, w.Last, w.RowsStored, w.Lookups, here, place, places)
}

// storedRow says that an entry is stored as a row.
func (r *receiving) storedRow(id int64, e *entry) {
	if !e.listed() {
		return
	}
	if r.days == nil {
		r.days = map[int64]rowRange{}
	}
	day := dayOf(e.First)
	in, known := r.days[day]
	if !known {
		in.low = id
	}
	r.days[day] = rowRange{min(in.low, id), max(in.high, id)}
}

// roomAlone is how many windows about a time are tried for one that has no rows yet: who follows the log sees each window once.
const roomAlone = 8

// room returns a window of the centre about one of a node's that has room for so many rows, and where in it. It is none of the
// centre's own, and none to come.
func (r *receiving) room(window, places int64) (here, place int64, err error) {
	newest := min(window, r.s.position)
	for here = newest; here > max(newest-roomAlone, 0); here-- {
		used, err := r.s.number(`SELECT EXISTS (SELECT 1 FROM window WHERE id = ?1)`, here)
		if err != nil || used == 0 && !r.taken[here] {
			return here, 0, err
		}
	}
	for here = newest; here > max(newest-windowsSearched, 0); here-- {
		own, err := r.s.number(`SELECT EXISTS (SELECT 1 FROM window WHERE id = ?1 AND imported <> ?2)`, here, windowShipped)
		if err != nil {
			return 0, 0, err
		}
		if own != 0 || r.taken[here] {
			continue
		}
		place, err = r.s.number(`SELECT coalesce(max(place + places), 0) FROM shipped_window WHERE here = ?1`, here)
		if err != nil || place+places <= 1<<rowBits {
			return here, place, err
		}
	}
	return 0, 0, fmt.Errorf("%w of %v", errNoRoom, time.Unix(window, 0).UTC())
}

// totals keeps the larger numbers of a batch's totals and those that came of its store before. A total that has lookups of a time that is
// forgotten is refused: rows that are kept of its hour are counted instead.
func (r *receiving) totals(b *Batch) error {
	for i := range b.Totals {
		t := &b.Totals[i]
		begin := t.Hour.UnixMilli()
		forgotten, err := r.isForgotten(b.Node, t.Device, t.First.UnixMilli(), min(t.Last.UnixMilli()+1, begin+hourMilli))
		if err != nil {
			return err
		}
		if forgotten {
			continue
		}
		hour := begin / hourMilli
		key, err := r.s.totals.id(&totalOf{r.node, t.Device, t.Vendor, t.Product, t.Purpose, t.Tier, blocklists.Action(verdictWords.number(t.Verdict))}, hour)
		if err != nil {
			return err
		}
		id := totalID(hour, key)
		before, err := r.s.shippedSums(id)
		if err != nil {
			return err
		}
		err = r.s.exec(`INSERT INTO shipped_total VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET
			lookups = max(lookups, excluded.lookups), attempts = max(attempts, excluded.attempts), as_lookups = max(as_lookups, excluded.as_lookups)`,
			id, r.store, int64(t.Lookups), int64(t.Attempts), int64(t.AsLookups))
		if err != nil {
			return err
		}
		after, err := r.s.shippedSums(id)
		if err != nil {
			return err
		}
		if err := r.s.run("total_late", id, after.lookups-before.lookups, after.attempts-before.attempts, after.asLookups-before.asLookups, int64(t.Names), t.First.UnixMilli()-begin, t.Last.UnixMilli()-begin); err != nil {
			return err
		}
	}
	return nil
}

// shippedSums are the numbers that a total has of nodes.
type shippedSums struct{ lookups, attempts, asLookups int64 }

// shippedSums returns what a total has of nodes: what their stores have counted, or what rows have, whichever is larger.
func (s *store) shippedSums(total int64) (n shippedSums, err error) {
	err = s.texts(`SELECT max(coalesce(sum(t.lookups), 0), coalesce(max(c.lookups), 0)), max(coalesce(sum(t.attempts), 0), coalesce(max(c.attempts), 0)), max(coalesce(sum(t.as_lookups), 0), coalesce(max(c.as_lookups), 0))
		FROM (SELECT 1) LEFT JOIN shipped_total t ON t.total = ?1 LEFT JOIN shipped_counted c ON c.total = ?1`, func(stmt *sqlite3.Stmt) {
		n = shippedSums{stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2)}
	}, total)
	return n, err
}

// flushCounted stores the sums of rows of an hour of which a part is forgotten. Totals that nodes send of it have the same rows: the larger
// numbers count.
func (t *totaller) flushCounted() error { return t.flushBy(t.storeCounted) }

func (t *totaller) storeCounted(hour int64, sum *windowSum) error {
	key, err := t.id(&sum.of, hour)
	if err != nil {
		return err
	}
	id, have := totalID(hour, key), `SELECT coalesce((SELECT names FROM total WHERE id = ?), 0)`
	before, err := t.s.shippedSums(id)
	if err != nil {
		return err
	}
	names, err := t.s.number(have, id)
	if err != nil {
		return err
	}
	if err := t.store(hour, sum); err != nil {
		return err
	}
	fresh, err := t.s.number(have, id)
	if err != nil {
		return err
	}
	err = t.s.exec(`INSERT INTO shipped_counted VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET lookups = lookups + excluded.lookups, attempts = attempts + excluded.attempts,
		as_lookups = as_lookups + excluded.as_lookups, names = names + excluded.names`, id, int64(sum.lookups), int64(sum.attempts), int64(sum.asLookups), fresh-names)
	if err != nil {
		return err
	}
	after, err := t.s.shippedSums(id)
	if err != nil {
		return err
	}
	return t.s.exec(`UPDATE total SET lookups = lookups - ?2, attempts = attempts - ?3, as_lookups = as_lookups - ?4, names = max(?5, (SELECT names FROM shipped_counted WHERE total = ?1)) WHERE id = ?1`,
		id, int64(sum.lookups)-(after.lookups-before.lookups), int64(sum.attempts)-(after.attempts-before.attempts), int64(sum.asLookups)-(after.asLookups-before.asLookups), names)
}

// isForgotten reports whether something that a device asked at a node from a time on, up to another, is not to be kept.
func (r *receiving) isForgotten(node, device string, begin, end int64) (bool, error) {
	if r.spans == nil {
		r.spans = map[[sha256.Size]byte][]DeviceSpan{}
		err := r.s.texts(`SELECT device, since, until FROM shipped_forgotten`, func(stmt *sqlite3.Stmt) {
			var sum [sha256.Size]byte
			copy(sum[:], stmt.ColumnRawBlob(0))
			r.spans[sum] = append(r.spans[sum], DeviceSpan{From: fromMilli(stmt.ColumnInt64(1)), Until: fromMilli(stmt.ColumnInt64(2))})
		})
		if err != nil {
			return false, err
		}
	}
	if len(r.spans) == 0 {
		return false, nil
	}
	for _, key := range []string{device, RefusedAt(node, device)} {
		for _, span := range r.spans[sha256.Sum256([]byte(key))] {
			if (span.From.IsZero() || span.From.UnixMilli() < end) && (span.Until.IsZero() || begin < span.Until.UnixMilli()) {
				return true, nil
			}
		}
	}
	return false, nil
}

// RefusedAt is what stands for a device of which one node's rows alone are refused; "" for the node is all nodes.
func RefusedAt(node, device string) string {
	if node == "" {
		return device
	}
	return node + "\x00" + device
}

// RefuseDevice has what a node sends of a device in the time of a span not be kept any more; "" is all nodes.
func (l *Log) RefuseDevice(ctx context.Context, node string, d DeviceSpan) error {
	return l.importing(ctx, func(s *storer) error {
		if s.store == nil {
			return errNoStore
		}
		sum := sha256.Sum256([]byte(RefusedAt(node, d.Device)))
		return s.store.transact(func() error {
			if err := s.store.conn.Exec(createShipped); err != nil {
				return err
			}
			stmt, _, err := s.store.conn.Prepare(`INSERT OR IGNORE INTO shipped_forgotten VALUES (?,?,?)`)
			if err != nil {
				return err
			}
			defer stmt.Close()
			stmt.BindBlob(1, sum[:])
			stmt.BindInt64(2, milli(d.From))
			stmt.BindInt64(3, milli(d.Until))
			return stmt.Exec()
		})
	})
}

// Retain deletes what is too old now, instead of within the hour. It returns why nothing is deleted by age, "" where it is.
func (l *Log) Retain(ctx context.Context) (held string, err error) {
	err = l.importing(ctx, func(s *storer) error {
		if s.store == nil {
			return errNoStore
		}
		s.beginRetention()
		held = s.retention.held
		for len(s.retention.steps) > 0 && ctx.Err() == nil {
			if !s.retain() {
				break
			}
		}
		return ctx.Err()
	})
	return held, err
}

// A ShippedStore is how far a store of a node has come.
type ShippedStore struct {
	Store, Node string
	Upto        int64 // its last window that is here
	Last        Time  // of that window's lookups
	Heard       Time  // when a batch came last
	Windows     int64
	Rows        int64
}

// hasShipped reports whether the store is a centre's.
func (s *snapshot) hasShipped() (bool, error) {
	if s.store == nil {
		return false, nil
	}
	return s.store.hasShipped()
}

func (db *database) hasShipped() (bool, error) {
	n, err := db.number(`SELECT count(*) FROM sqlite_schema WHERE name = 'shipped_window'`)
	return n > 0, err
}

// ShippedStores returns the stores of nodes that have come, by node.
func (r *Reader) ShippedStores(ctx context.Context) (all []ShippedStore, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if ok, err := s.hasShipped(); err != nil || !ok {
		return nil, err
	}
	err = s.store.query(`SELECT store, node, upto, last, heard, windows, rows FROM shipped_store ORDER BY node, id`, nil, func(stmt *sqlite3.Stmt) bool {
		n := stmt.ColumnInt64
		all = append(all, ShippedStore{stmt.ColumnText(0), stmt.ColumnText(1), n(2), Time{fromMilli(n(3))}, Time{fromMilli(n(4))}, n(5), n(6)})
		return true
	})
	return all, err
}

// ShippedKeys calls each with the keys that rows of nodes have at these.
func (r *Reader) ShippedKeys(ctx context.Context, each func(store string, id int64) error) error {
	s, err := r.look(ctx, nil)
	if err != nil {
		return err
	}
	defer s.close()
	if ok, err := s.hasShipped(); err != nil || !ok {
		return err
	}
	var failed error
	for _, table := range rowTables {
		err := s.store.query(fmt.Sprintf(`SELECT s.store, w.window << %[1]d | (r.id & %[2]d) - w.place FROM shipped_window w JOIN shipped_store s ON s.id = w.store
			JOIN %[3]s r ON r.id >= (w.here << %[1]d | w.place) AND r.id < (w.here << %[1]d | w.place) + w.places`, rowBits, 1<<rowBits-1, table), nil, func(stmt *sqlite3.Stmt) bool {
			failed = each(stmt.ColumnText(0), stmt.ColumnInt64(1))
			return failed == nil
		})
		if err == nil {
			err = failed
		}
		if err != nil {
			return err
		}
	}
	return nil
}
