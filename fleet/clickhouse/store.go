// Package clickhouse keeps a centre's merged log in ClickHouse, over its HTTP interface.
//
// Every table keeps one row of a key, and one that is there twice is read once: a batch that was sent
// again, to whichever replica, is counted once. A store of a node is always on one shard. All
// shards are asked, and one that does not answer is an error. docs/clickhouse.md has the tables.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale/fleet"
	"telltale/querylog"
)

// Options say which servers keep the log, and how long.
type Options struct {
	Address Address
	Keep    querylog.Retention
	Now     func() time.Time // nil for time.Now
}

// A Store is a centre's log in ClickHouse.
type Store struct {
	o       Options
	client  *client
	old     []bool // by shard: one of its servers deletes by mutations alone
	mu      sync.Mutex
	known   map[string]*node      // stores as this process has left them; one that is missing is asked for
	gone    []querylog.DeviceSpan // forgotten
	uneven  bool                  // metaUneven is set
	writing []sync.Mutex          // by shard: batches of a store come in order
}

// Open opens the log. Its tables are made where there are none; those of another version
// are left alone.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{o: o, client: newClient(o.Address), known: map[string]*node{}}
	s.writing = make([]sync.Mutex, len(s.client.shards))
	if err := s.open(ctx); err != nil {
		s.client.close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	servers, err := s.client.migrate(ctx, false)
	if err != nil {
		return err
	}
	s.old = make([]bool, len(s.client.shards))
	for i, sh := range s.client.shards {
		for _, at := range servers {
			s.old[i] = s.old[i] || slices.Contains(sh.hosts, at.host) && at.isOld()
		}
	}
	if s.uneven, err = s.client.isUneven(ctx); err != nil {
		return err
	}
	return s.readForgotten(ctx)
}

// Migrate brings the tables of all servers to this version. What is there stays.
func Migrate(ctx context.Context, a Address) error {
	c := newClient(a)
	defer c.close()
	_, err := c.migrate(ctx, true)
	return err
}

// Close ends the store.
func (s *Store) Close() error {
	s.client.close()
	return nil
}

// isUneven reports whether rows may be that are not about the time of their number.
func (c *client) isUneven(ctx context.Context) (uneven bool, err error) {
	for _, sh := range c.shards {
		err = errors.Join(err, c.anyOf(ctx, sh, &statement{sql: `SELECT toUInt64(count()) FROM meta WHERE key = ` + quote(metaUneven) + ` FORMAT RowBinary`, table: "meta"}, func(r *rowReader) error {
			uneven = r.u64() > 0 || uneven
			return r.err
		}))
	}
	return uneven, err
}

func (s *Store) readForgotten(ctx context.Context) error {
	var all []querylog.DeviceSpan
	for _, sh := range s.client.shards {
		var of []querylog.DeviceSpan
		err := s.client.anyOf(ctx, sh, &statement{sql: `SELECT device, since, until FROM forgotten FORMAT RowBinary`, table: "forgotten"}, func(r *rowReader) error {
			of = of[:0]
			for r.more() {
				of = append(of, querylog.DeviceSpan{Device: r.text(), From: fromMilli(r.i64()), Until: fromMilli(r.i64())})
			}
			return r.err
		})
		if err != nil {
			return err
		}
		all = append(all, of...)
	}
	s.gone = all
	return nil
}

// isForgotten reports whether what a device asked at a node is to be left out at a time.
func (s *Store) isForgotten(node, device string, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.gone) > 0 && (querylog.AnyHas(s.gone, device, at) || querylog.AnyHas(s.gone, querylog.RefusedAt(node, device), at))
}

// A load is rows of all tables on their way to a shard.
type load struct {
	rows   [6]rowWriter // in the order of loadTables
	uneven bool
}

// loadTables are the tables that a batch has rows of, in the order in which they are
// inserted. That a window is told first makes a copy of the store that goes on by itself known, also
// when what follows is cut short; that a store has come so far is told last, when all else is there.
var loadTables = [...]struct{ name, columns string }{
	{"window", namesOf(windows)}, {"lookup", namesOf(lookups)}, {"ledger", namesOf(lines)}, {"binding", namesOf(bindings)}, {"total", namesOf(totals)}, {"node", namesOf(nodes)},
}

const (
	loadWindow = iota
	loadLookup
	loadLedger
	loadBinding
	loadTotal
	loadNode
)

// Append stores batches.
func (s *Store) Append(ctx context.Context, batches []*fleet.Batch) ([]fleet.Stored, error) {
	stored := make([]fleet.Stored, len(batches))
	of := make([][]int, len(s.client.shards)) // places of the batches of each shard
	for i, b := range batches {
		if _, err := storeNumber(b.Store); err != nil {
			stored[i].Err = err
			continue
		}
		n := s.o.Address.ShardOf(b.Store)
		of[n] = append(of[n], i)
	}
	var failed []error
	for n, places := range of {
		if len(places) == 0 {
			continue
		}
		if err := s.appendTo(ctx, n, batches, places, stored); err != nil {
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", fleet.ErrUnavailable, err)
	}
	return stored, nil
}

// appendTo stores the batches of one shard.
func (s *Store) appendTo(ctx context.Context, n int, batches []*fleet.Batch, places []int, stored []fleet.Stored) error {
	s.writing[n].Lock()
	defer s.writing[n].Unlock()
	sh := s.client.shards[n]
	states, err := s.states(ctx, sh, batches, places)
	if err != nil {
		return err
	}
	there, err := s.windowsThere(ctx, sh, batches, places, states)
	if err != nil {
		return err
	}
	l := &load{}
	changed := map[string]*node{}
	for _, i := range places {
		st := states[batches[i].Store]
		if stored[i].Err, err = s.refuse(ctx, sh, batches[i], st, there); err != nil {
			return err
		}
		if stored[i].Err == nil && len(batches[i].Windows) > 0 {
			stored[i].Rows = s.add(l, batches[i], st, there)
			changed[batches[i].Store] = st
		}
		stored[i].Upto = int64(st.upto)
	}
	for _, st := range changed {
		add(&l.rows[loadNode], nodes, st)
	}
	s.forgetStates(states) // until all of it is there
	if l.uneven {
		if err := s.tellUneven(ctx, sh); err != nil {
			return err
		}
	}
	if err := s.insert(ctx, sh, l); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, st := range changed {
		s.known[id] = st
	}
	return nil
}

func (s *Store) forgetStates(states map[string]*node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range states {
		delete(s.known, id)
	}
}

// states returns how far the stores of batches have come: as this process knows it where
// batches go on there, else as the shard says.
func (s *Store) states(ctx context.Context, sh *shard, batches []*fleet.Batch, places []int) (map[string]*node, error) {
	states := map[string]*node{}
	var ask []string
	s.mu.Lock()
	for _, i := range places {
		b := batches[i]
		if states[b.Store] != nil {
			continue
		}
		id, _ := storeNumber(b.Store)
		st := &node{store: id, name: b.Node}
		if known := s.known[b.Store]; known != nil && int64(known.upto) == b.From {
			*st = *known
		} else {
			ask = append(ask, fmt.Sprint(id))
		}
		states[b.Store] = st
	}
	s.mu.Unlock()
	if len(ask) == 0 {
		return states, nil
	}
	var all []node
	err := s.client.anyOf(ctx, sh, &statement{sql: `SELECT ` + namesOf(nodes) + ` FROM node FINAL WHERE store IN (` + strings.Join(ask, ", ") + `) FORMAT RowBinary`, table: "node", settings: s.reading()}, func(r *rowReader) (err error) {
		all, err = readAll(r, nodes)
		return err
	})
	for i := range all {
		*states[storeText(all[i].store)] = all[i]
	}
	return states, err
}

// A windowKey is the key of a window.
type windowKey struct {
	store  uint64
	number int64
}

// windowsThere returns the windows of batches that the shard has already. A batch that goes on
// where this process has left its store has none.
func (s *Store) windowsThere(ctx context.Context, sh *shard, batches []*fleet.Batch, places []int, states map[string]*node) (map[windowKey]window, error) {
	there := map[windowKey]window{}
	var where []string
	s.mu.Lock()
	for _, i := range places {
		b := batches[i]
		if known := s.known[b.Store]; known != nil && int64(known.upto) <= b.From {
			continue
		}
		where = append(where, fmt.Sprintf("store = %d AND number > %d AND number <= %d", states[b.Store].store, b.From, b.To))
	}
	s.mu.Unlock()
	for part := range slices.Chunk(where, 500) { // a statement has at most 256 KB
		err := s.client.anyOf(ctx, sh, &statement{sql: `SELECT ` + namesOf(windows) + ` FROM window WHERE (` + strings.Join(part, ") OR (") + `) FORMAT RowBinary`, table: "window", settings: s.reading()}, func(r *rowReader) error {
			all, err := readAll(r, windows)
			for _, w := range all {
				there[windowKey{w.store, w.number}] = w
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return there, nil
}

// refuse says what is wrong with a batch. The error err is of the server.
func (s *Store) refuse(ctx context.Context, sh *shard, b *fleet.Batch, st *node, there map[windowKey]window) (wrong, err error) {
	if b.From > max(int64(st.upto), b.Begin) {
		return &fleet.GapError{Store: b.Store, From: b.From, Have: int64(st.upto)}, nil
	}
	if st.windows > 0 && st.name != b.Node && len(b.Windows) > 0 {
		return &fleet.DivergedError{Store: b.Store, Window: b.Windows[0].Number, Node: st.name}, nil
	}
	missing := false
	for i := range b.Windows {
		w := &b.Windows[i]
		have, ok := there[windowKey{st.store, w.Number}]
		if ok && (have.first != w.First || have.last != w.Last || have.rows != w.RowsStored || have.lookups != w.Lookups) {
			return &fleet.DivergedError{Store: b.Store, Window: w.Number}, nil
		}
		missing = missing || !ok && w.Number <= int64(st.upto)
	}
	if !missing {
		return nil, nil
	}
	first, err := s.firstMissing(ctx, sh, b, st, there)
	if err != nil || first == 0 {
		return nil, err
	}
	return &fleet.DivergedError{Store: b.Store, Window: first}, nil
}

// firstMissing returns the first window of a batch that is on no replica though an earlier and a later one of its store are there: a copy
// of the store has sent these. 0 is none.
func (s *Store) firstMissing(ctx context.Context, sh *shard, b *fleet.Batch, st *node, there map[windowKey]window) (first int64, err error) {
	oldest, have := int64(st.upto), map[int64]bool{}
	for key := range there { // also of batches of the same call
		if key.store == st.store {
			oldest, have[key.number] = min(oldest, key.number), true
		}
	}
	sql := fmt.Sprintf(`SELECT number FROM window WHERE store = %[1]d AND number > %[2]d AND number <= %[3]d UNION ALL SELECT min(number) FROM window WHERE store = %[1]d AND number <= %[4]d FORMAT RowBinary`,
		st.store, b.From, b.To, oldest)
	for _, host := range sh.hosts { // one that is behind must not make a store another one
		err := s.client.do(ctx, host, &statement{sql: sql, table: "window", settings: s.reading()}, func(r *rowReader) error {
			for r.more() {
				if number := r.i64(); number > 0 {
					oldest, have[number] = min(oldest, number), true
				}
			}
			return r.err
		})
		if err != nil {
			return 0, err
		}
	}
	for i := range b.Windows {
		if number := b.Windows[i].Number; number > oldest && number <= int64(st.upto) && !have[number] {
			return number, nil
		}
	}
	return 0, nil
}

// add adds to a load what a batch has behind the last window of its store, and returns how many rows it is.
func (s *Store) add(l *load, b *fleet.Batch, st *node, there map[windowKey]window) (rows int) {
	from := int64(st.upto)
	of := map[int64]int64{}
	b.Rows(func(r *querylog.BatchRow) bool {
		if number := r.ID >> rowBits; number > from {
			of[number]++
			if rows++; !s.isForgotten(b.Node, r.Device, r.Time.Time) {
				one := lookup{r.Row, st.store, r.Listed}
				add(&l.rows[loadLookup], lookups, &one)
				l.uneven = l.uneven || isUneven(&r.Row)
			}
		}
		return true
	})
	b.Lines(func(line *querylog.LedgerLine) bool {
		if line.ID>>rowBits > from {
			add(&l.rows[loadLedger], lines, &ledgerLine{*line, st.store})
		}
		return true
	})
	for i := range b.Windows {
		w := &b.Windows[i]
		if w.Number <= from {
			continue
		}
		add(&l.rows[loadWindow], windows, &window{st.store, w.Number, w.First, w.Last, w.RowsStored, w.Lookups, of[w.Number]})
		st.upto, st.last = uint64(w.Number), w.Last
		st.windows++
		st.rows += of[w.Number]
		there[windowKey{st.store, w.Number}] = window{st.store, w.Number, w.First, w.Last, w.RowsStored, w.Lookups, 0}
	}
	for i := range b.Bindings {
		if bound := &b.Bindings[i]; !s.isForgotten(b.Node, bound.Device, bound.From) {
			add(&l.rows[loadBinding], bindings, &binding{Binding: *bound, store: st.store})
		}
	}
	for i := range b.Totals {
		if t := &b.Totals[i]; !s.isForgotten(b.Node, t.Device, t.First.Time) {
			one := total{Total: *t, store: st.store}
			one.Node = b.Node
			add(&l.rows[loadTotal], totals, &one)
		}
	}
	st.name, st.heard = b.Node, s.o.Now().UnixMilli()
	return rows
}

// rowBits is how many bits of a row's number its place in the window takes.
const rowBits = 20

// evenness is how far a row's time may be from what its number says, and how long it may
// last, where reading may leave partitions out by time.
const evenness = int64(dayMilli)

// isUneven reports whether a row is not about the time of its window's number, which is Unix seconds unless a
// clock was set back.
func isUneven(r *querylog.Row) bool {
	first := r.Time.UnixMilli()
	away := r.ID>>rowBits*1000 - first
	return away > evenness || -away > evenness || r.Last.UnixMilli()-first > evenness
}

func (s *Store) tellUneven(ctx context.Context, sh *shard) error {
	s.mu.Lock()
	known := s.uneven
	s.mu.Unlock()
	if known {
		return nil
	}
	err := s.client.anyOf(ctx, sh, &statement{sql: `INSERT INTO meta (key, value) VALUES (` + quote(metaUneven) + `, '1')`, table: "meta", settings: s.inserting(sh)}, nil)
	if err == nil {
		s.mu.Lock()
		s.uneven = true
		s.mu.Unlock()
	}
	return err
}

// reading are the settings of what is read.
func (s *Store) reading() map[string]string { return readingSettings(&s.o.Address) }

func readingSettings(a *Address) map[string]string {
	settings := map[string]string{"optimize_move_to_prewhere": "0", "max_query_size": "4194304", "max_read_buffer_size": "65536"} // with FINAL, a row that is replaced must not be chosen first
	if a.Quorum > 1 {
		settings["select_sequential_consistency"] = "1" // a replica that lags behind says so
	}
	return settings
}

// inserting are the settings of what is inserted.
func (s *Store) inserting(sh *shard) map[string]string {
	settings := map[string]string{}
	if q := s.o.Address.Quorum; q > 1 {
		settings["insert_quorum"] = fmt.Sprint(q)
		settings["insert_quorum_timeout"] = "30000"
	}
	if !s.old[sh.number] {
		settings["async_insert"] = "0" // it is acknowledged when it is there
		settings["max_partitions_per_insert_block"] = "0"
		if s.o.Address.Quorum > 1 {
			settings["insert_quorum_parallel"] = "0" // which select_sequential_consistency needs
		}
	}
	return settings
}

// insert inserts a load, one table after the other.
func (s *Store) insert(ctx context.Context, sh *shard, l *load) error {
	sh.inserting.Lock()
	defer sh.inserting.Unlock()
	settings := s.inserting(sh)
	for i, t := range loadTables {
		rows := l.rows[i].b
		if len(rows) == 0 {
			continue
		}
		st := &statement{sql: `INSERT INTO ` + t.name + ` (` + t.columns + `) FORMAT RowBinary`, body: rows, table: t.name, settings: settings}
		if !s.o.Address.Plain {
			st.body, st.packed = pack(rows), true
		}
		if err := s.client.anyOf(ctx, sh, st, nil); err != nil {
			return err
		}
	}
	return nil
}

// Cursor returns the last window of a store that is stored.
func (s *Store) Cursor(ctx context.Context, store string) (upto int64, err error) {
	id, err := storeNumber(store)
	if err != nil {
		return 0, err
	}
	sh := s.client.shards[s.o.Address.ShardOf(store)]
	err = s.client.anyOf(ctx, sh, &statement{sql: fmt.Sprintf(`SELECT toInt64(max(upto)) FROM node WHERE store = %d FORMAT RowBinary`, id), table: "node", settings: s.reading()}, func(r *rowReader) error {
		upto = 0
		if r.more() {
			upto = r.i64()
		}
		return r.err
	})
	return upto, err
}

// Nodes returns how far each store has come.
func (s *Store) Nodes(ctx context.Context) (all []fleet.NodeState, err error) {
	for _, sh := range s.client.shards {
		var of []node
		err := s.client.anyOf(ctx, sh, &statement{sql: `SELECT ` + namesOf(nodes) + ` FROM node FINAL ORDER BY node, store FORMAT RowBinary`, table: "node", settings: s.reading()}, func(r *rowReader) (err error) {
			of, err = readAll(r, nodes)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, n := range of {
			all = append(all, fleet.NodeState{Node: n.name, Store: storeText(n.store), Upto: int64(n.upto), Last: fromMilli(n.last), Heard: fromMilli(n.heard), Windows: n.windows, Rows: n.rows})
		}
	}
	return all, nil
}

// Keys calls each with the keys of all rows.
func (s *Store) Keys(ctx context.Context, each func(fleet.Key) error) error {
	for _, sh := range s.client.shards {
		var failed error
		err := s.client.anyOf(ctx, sh, &statement{sql: `SELECT store, id FROM lookup FINAL FORMAT RowBinary`, table: "lookup", settings: s.reading(), once: true}, func(r *rowReader) error {
			for r.more() && failed == nil {
				key := fleet.Key{Store: storeText(r.u64()), ID: r.i64()}
				if r.err == nil {
					failed = each(key)
				}
			}
			return r.err
		})
		if err = cmpErr(failed, err); err != nil {
			return err
		}
	}
	return nil
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Open returns a reader of the log.
func (s *Store) Open(context.Context) (fleet.Reader, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Reader{client: s.client, uneven: s.uneven, now: s.o.Now}, func() {}, nil
}

// Forget deletes what is kept of devices or of a node, and returns how many rows it was. Once something was deleted the ledger says so,
// also where the error says that not all of it was.
func (s *Store) Forget(ctx context.Context, f fleet.Forgetting) (rows int64, err error) {
	if f.Node == "" && len(f.Devices) == 0 {
		return 0, errors.New("neither a node nor a device is said that is to be forgotten")
	}
	for _, d := range f.Devices { // told first, so that nothing comes back between
		refused := f.Refused(d, s.o.Now())
		refused.Device = querylog.RefusedAt(f.Node, d.Device)
		sql := fmt.Sprintf(`INSERT INTO forgotten (device, since, until) VALUES (%s, %d, %d)`, quote(refused.Device), milli(refused.From), milli(refused.Until))
		for _, sh := range s.client.shards {
			if err := s.client.anyOf(ctx, sh, &statement{sql: sql, table: "forgotten", settings: s.inserting(sh)}, nil); err != nil {
				return 0, err
			}
		}
		s.mu.Lock()
		s.gone = append(s.gone, refused)
		s.mu.Unlock()
	}
	var failed error
	begun := false
	for _, sh := range s.client.shards {
		n, tables, err := s.forgetOn(ctx, sh, &f)
		begun = begun || len(tables) > 0
		rows += n
		if failed = errors.Join(failed, err); err != nil {
			break
		}
		if s.old[sh.number] {
			failed = errors.Join(failed, s.awaitReplicas(ctx, sh, tables))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if failed != nil && !begun {
		return 0, failed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellingWait) // what was deleted is told also where nobody waits for it
	defer cancel()
	return rows, errors.Join(failed, s.tellForgotten(ctx, &f, rows, failed == nil))
}

const tellingWait = 30 * time.Second

// centerStore is the store of lines that the center has itself; no node's store has that number.
const centerStore = 1<<64 - 1

// tellForgotten says in the ledger that something was forgotten, and not what.
func (s *Store) tellForgotten(ctx context.Context, f *fleet.Forgetting, rows int64, all bool) error {
	what := "a device was forgotten"
	switch {
	case len(f.Devices) == 0:
		what = "what node " + f.Node + " sent was forgotten"
	case f.Node != "":
		what = "what node " + f.Node + " sent of a device was forgotten"
	}
	now := s.o.Now()
	how := "were deleted"
	if !all {
		how = "were to be deleted, and an error said that some may be there yet"
	}
	line := ledgerLine{store: centerStore}
	line.ID = querylog.IDAt(now) + int64(now.Nanosecond()/1000)
	line.Event = querylog.Event{Time: querylog.Time{Time: now}, Node: "center", Kind: querylog.KindForgotten, Detail: fmt.Sprintf("%s: %d rows, and bindings and hourly totals of it, %s", what, rows, how)}
	var l load
	add(&l.rows[loadLedger], lines, &line)
	return s.insert(ctx, s.client.shards[0], &l)
}

// forgetOn deletes on a shard. tables are those of which something may have been deleted, also where an error comes with them.
func (s *Store) forgetOn(ctx context.Context, sh *shard, f *fleet.Forgetting) (rows int64, tables []string, err error) {
	s.writing[sh.number].Lock() // a batch that is on its way was chosen before
	defer s.writing[sh.number].Unlock()
	stores := []string{"0"} // of the node
	if f.Node != "" {
		err := s.client.anyOf(ctx, sh, &statement{sql: `SELECT DISTINCT store FROM node WHERE node = ` + quote(f.Node) + ` FORMAT RowBinary`, table: "node", settings: s.reading()}, func(r *rowReader) error {
			stores = stores[:1]
			for r.more() {
				stores = append(stores, fmt.Sprint(r.u64()))
			}
			return r.err
		})
		if err != nil {
			return 0, nil, err
		}
	}
	of := func(column string) string {
		var all []string
		for i := range f.Devices {
			all = append(all, spanSQL(&f.Devices[i], column))
		}
		sql := `1`
		if len(all) > 0 {
			sql = `(` + strings.Join(all, ` OR `) + `)`
		}
		if f.Node != "" {
			sql += ` AND store IN (` + strings.Join(stores, `, `) + `)`
		}
		return sql
	}
	where := of("first")
	err = s.client.anyOf(ctx, sh, &statement{sql: `SELECT toInt64(count()) FROM lookup FINAL WHERE ` + where + ` FORMAT RowBinary`, table: "lookup", settings: s.reading()}, func(r *rowReader) error {
		rows = r.i64()
		return r.err
	})
	if err != nil {
		return 0, nil, err
	}
	deletions := []struct{ table, where string }{{"lookup", where}, {"total", where}, {"binding", of("since")}}
	if len(f.Devices) == 0 {
		deletions = append(deletions, struct{ table, where string }{"ledger", where})
	}
	for _, d := range deletions {
		begun, err := s.delete(ctx, sh, d.table, d.where)
		if begun {
			tables = append(tables, d.table)
		}
		if err != nil {
			if len(tables) == 0 {
				rows = 0
			}
			return rows, tables, err
		}
	}
	return rows, tables, nil
}

// awaitReplicas returns when each replica of a shard has done what was to be deleted of tables, after deletionWait at the latest. Those
// that do not answer or are late are in the error: they do it when they are back, or go on.
func (s *Store) awaitReplicas(ctx context.Context, sh *shard, tables []string) (err error) {
	if len(sh.hosts) < 2 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, deletionWait, fmt.Errorf("not done after %v", deletionWait))
	defer cancel()
	for _, table := range tables {
		err = errors.Join(err, s.awaitTable(ctx, sh, table))
	}
	return err
}

func (s *Store) awaitTable(ctx context.Context, sh *shard, table string) error {
	of := ` FROM system.mutations WHERE database = ` + quote(s.o.Address.Database) + ` AND table = ` + quote(table)
	last := "" // the numbers of replicated mutations are of one length, and the same on all replicas
	if err := s.client.anyOf(ctx, sh, &statement{sql: `SELECT max(mutation_id)` + of + ` FORMAT RowBinary`, table: table}, func(r *rowReader) error {
		last = r.text()
		return r.err
	}); err != nil {
		return err
	}
	var errs []error
	for _, host := range sh.hosts {
		for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			var known, left int64
			err := s.client.do(ctx, host, &statement{sql: `SELECT toInt64(countIf(mutation_id = ` + quote(last) + `)), toInt64(countIf(is_done = 0))` + of + ` FORMAT RowBinary`, table: table}, func(r *rowReader) error {
				known, left = r.i64(), r.i64()
				return r.err
			})
			if err == nil && known > 0 && left == 0 {
				break
			}
			if ctx.Err() != nil {
				errs = append(errs, fmt.Errorf("%s goes on with it: %w", host, context.Cause(ctx)))
				break
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s deletes it when it is back: %w", host, err))
				break
			}
			select {
			case <-ctx.Done(): // asked once more
			case <-time.After(wait):
			}
		}
	}
	if errs != nil {
		return fmt.Errorf("deleted of table %s, but not on all replicas: %w", table, errors.Join(errs...))
	}
	return nil
}

// delete deletes rows of a table on a shard, and returns when the server that was asked does not show them any more.
// begun is whether some may be deleted, also with an error.
func (s *Store) delete(ctx context.Context, sh *shard, table, where string) (begun bool, err error) {
	if !s.old[sh.number] {
		err := s.client.anyOf(ctx, sh, &statement{sql: `DELETE FROM ` + table + ` WHERE ` + where, table: table}, nil)
		if err != nil {
			return ctx.Err() != nil, err // one that was cut off may be done
		}
		// Rows that are deleted so stay in the files until they are merged; a mutation takes them out.
		return true, s.client.anyOf(ctx, sh, &statement{sql: `ALTER TABLE ` + table + ` DELETE WHERE ` + where, table: table, settings: map[string]string{"mutations_sync": "0"}}, nil)
	}
	before, _, err := s.mutations(ctx, sh, table)
	if err != nil {
		return false, err
	}
	if err := s.client.anyOf(ctx, sh, &statement{sql: `ALTER TABLE ` + table + ` DELETE WHERE ` + where, table: table}, nil); err != nil {
		return ctx.Err() != nil, err
	}
	if err := s.copyRow(ctx, sh, table, where); err != nil {
		return true, err
	}
	end := s.o.Now().Add(deletionWait)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		last, left, err := s.mutations(ctx, sh, table)
		if err != nil || left == 0 && last != before { // a server with replicas learns of its own mutation from ZooKeeper
			return true, err
		}
		if s.o.Now().After(end) {
			return true, fmt.Errorf("ClickHouse has not deleted all of table %s after %v, and goes on with it: system.mutations says how far it is", table, deletionWait)
		}
		select { // a mutation tells nobody that it is done
		case <-ctx.Done():
			return true, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// mutations returns the last mutation of a table, as far as the server knows, and how many are not done.
func (s *Store) mutations(ctx context.Context, sh *shard, table string) (last string, left int64, err error) {
	sql := `SELECT mutation_id, toUInt8(is_done) FROM system.mutations WHERE database = ` + quote(s.o.Address.Database) + ` AND table = ` + quote(table) + ` FORMAT RowBinary`
	err = s.client.anyOf(ctx, sh, &statement{sql: sql, table: table}, func(r *rowReader) error {
		last, left = "", 0
		for r.more() {
			id, done := r.text(), r.u8()
			if len(id) > len(last) || len(id) == len(last) && id > last { // they are counted
				last = id
			}
			if done == 0 {
				left++
			}
		}
		return r.err
	})
	return last, left, err
}

// deletionWait is how long a deletion may take in ClickHouse until an error says that it goes on.
const deletionWait = 2 * time.Minute

// copyRow inserts a row once more that stays, where batches are inserted with a quorum: servers of this age delete nothing from the part
// that was inserted last with one. A key that is there twice is read once. deleted are the rows of a mutation that the server may not
// know of yet.
func (s *Store) copyRow(ctx context.Context, sh *shard, table, deleted string) error {
	if s.o.Address.Quorum < 2 {
		return nil
	}
	const deletes = "DELETE WHERE "
	stays := ""
	sql := `SELECT command FROM system.mutations WHERE database = ` + quote(s.o.Address.Database) + ` AND table = ` + quote(table) + ` AND is_done = 0 FORMAT RowBinary`
	err := s.client.anyOf(ctx, sh, &statement{sql: sql, table: table}, func(r *rowReader) error {
		stays = `NOT (` + deleted + `)`
		for r.more() {
			if of, ok := strings.CutPrefix(r.text(), deletes); ok {
				stays += ` AND NOT (` + of + `)`
			}
		}
		return r.err
	})
	if err != nil {
		return err
	}
	settings := s.inserting(sh)
	settings["insert_deduplicate"] = "0" // the same row may have been copied before
	return s.client.anyOf(ctx, sh, &statement{sql: `INSERT INTO ` + table + ` SELECT * FROM ` + table + ` WHERE ` + stays + ` LIMIT 1`, table: table, settings: settings}, nil)
}

// Retain deletes what is older than it may be: whole partitions, and within one what is
// older by a part of the age, so that it is not rewritten every hour.
func (s *Store) Retain(ctx context.Context, now time.Time) error {
	for _, sh := range s.client.shards {
		for _, of := range []struct {
			table, column, where string
			keep, usual, slack   time.Duration
		}{
			{"lookup", "first", "listed = 1", s.o.Keep.Listed, querylog.DefaultListed, 24 * time.Hour},
			{"lookup", "first", "listed = 0", s.o.Keep.Unlisted, querylog.DefaultUnlisted, time.Hour},
			{"total", "hour", "1", s.o.Keep.Totals, querylog.DefaultTotals, 24 * time.Hour},
		} {
			if of.keep < 0 {
				continue
			}
			if of.keep == 0 {
				of.keep = of.usual
			}
			if err := s.retainOn(ctx, sh, of.table, of.column, of.where, now.Add(-of.keep).UnixMilli(), of.slack.Milliseconds()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) retainOn(ctx context.Context, sh *shard, table, column, where string, before, slack int64) error {
	type part struct {
		id           string
		oldest, last int64
	}
	var old []part
	sql := fmt.Sprintf(`SELECT p, min(f), max(f) FROM (SELECT %[5]s AS p, toInt64(%[1]s) AS f FROM %[2]s WHERE %[3]s AND %[1]s < %[4]d) GROUP BY p FORMAT RowBinary`, column, table, where, before, partitionText(table))
	err := s.client.anyOf(ctx, sh, &statement{sql: sql, table: table, settings: s.reading()}, func(r *rowReader) error {
		old = old[:0]
		for r.more() {
			old = append(old, part{r.text(), r.i64(), r.i64()})
		}
		return r.err
	})
	if err != nil {
		return err
	}
	within := false
	for _, p := range old {
		if partitionEnd(table, where, p.last) <= before {
			if err := s.client.anyOf(ctx, sh, &statement{sql: `ALTER TABLE ` + table + ` DROP PARTITION ` + p.id, table: table}, nil); err != nil {
				return err
			}
			continue
		}
		within = within || p.oldest < before-slack
	}
	if !within {
		return nil
	}
	_, err = s.delete(ctx, sh, table, fmt.Sprintf(`%s AND %s < %d`, where, column, before))
	return err
}

// partitionText is the partition of a row as ALTER has it.
func partitionText(table string) string {
	if table == "lookup" {
		return fmt.Sprintf(`concat('(', toString(listed), ', ', toString(if(listed = 1, intDiv(first + %d, %d), intDiv(first, %d))), ')')`, monday, weekMilli, dayMilli)
	}
	return fmt.Sprintf(`toString(intDiv(hour + %d, %d))`, monday, weekMilli)
}

// partitionEnd returns when the partition of a time ends.
func partitionEnd(table, where string, at int64) int64 {
	if table == "lookup" && where == "listed = 0" {
		return at - at%dayMilli + dayMilli
	}
	return at - (at+monday)%weekMilli + weekMilli
}
