package querylog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
)

// Lookups that another server logged are rows like all others, but for what they say
// they are imported from. They are in windows of their own, a minute each, whose numbers
// are about the time of the lookups: so rows are in the order of their times, and grow
// old by them. What the log's retention would delete at once is counted in totals and
// not kept.
//
// They come in batches. A batch says from which position of the other log it goes on,
// and up to which: rows and position are stored in one transaction, so that a batch is
// taken once, however the process ends and however often it is sent.

// UnknownRcode is the response code of a lookup of which another server did not keep it.
const UnknownRcode = 255

// UnknownVerdict is the verdict of a lookup of which another server did not keep it.
const UnknownVerdict blocklists.Action = 5

// Between which times lookups are taken: windows are numbered by them.
const (
	importOldest = 631152000000 // 1990, Unix milliseconds
	importAhead  = 10 * time.Minute
)

// MostImported is how many lookups a batch may have.
const MostImported = 20_000

// importedBindings is the first number of a binding that is made of what another server
// logged: the ledger of devices, which counts from 1, never comes as far.
const importedBindings = 1 << 48

// An ImportSource is a log of another server, whatever its file is called.
type ImportSource struct {
	Key    string // what tells it from all others
	Format string // which kind of log it is, a word
	File   string // as a person knows it
	Lost   string // what this kind of log does not say
}

// An ImportedLookup is one lookup that another server logged. Zero fields are what it
// did not say.
type ImportedLookup struct {
	Time       time.Time
	Client     netip.Addr
	ClientID   string // by which the client named itself
	ClientName string // what the other server called it
	Name       []byte // wire form, lower case
	Type       uint16
	Action     blocklists.Action // what the other server decided, or UnknownVerdict
	Rule       string            // by which of its rules
	Alias      []byte            // the alias in the answer that decided; wire form
	Rcode      uint8             // or UnknownRcode
	Source     Source
	Transport  Transport
	Elapsed    time.Duration
	Upstream   string
}

// An ImportBatch is lookups on their way into the log, in the order in which the other
// server logged them.
type ImportBatch struct {
	Source   ImportSource
	From, To int64  // positions in the other log
	Sum      string // of all of it up to To
	Lookups  []ImportedLookup
	End      bool // what is stored of the source is told in the ledger

	Policy   *blocklists.Policy                 // by which names are attributed
	Edition  string                             // of the catalogue that is in it
	OptedOut func(a netip.Addr, id string) bool // nothing is kept of such a client; nil: of nobody
}

// Imported says what became of a batch.
type Imported struct {
	Lookups  uint64 `json:"lookups"`   // taken
	Rows     uint64 `json:"rows"`      // that they made
	Totals   uint64 `json:"totals"`    // lookups that are counted in totals alone, because of their age
	TooOld   uint64 `json:"too_old"`   // lookups of which nothing is kept any more
	OptedOut uint64 `json:"opted_out"` // lookups of clients of which nothing is kept
}

// Add adds what became of another batch.
func (i *Imported) Add(j Imported) {
	i.Lookups += j.Lookups
	i.Rows += j.Rows
	i.Totals += j.Totals
	i.TooOld += j.TooOld
	i.OptedOut += j.OptedOut
}

// An ImportMark says that a source is imported up to a position, and what it was like.
type ImportMark struct {
	Position int64  `json:"position"`
	Sum      string `json:"sum"`
}

// ErrImportPosition means that a batch does not go on where the log is.
var ErrImportPosition = errors.New("the log has another part of it already")

// Import stores a batch, or returns why it did not.
func (l *Log) Import(ctx context.Context, b *ImportBatch) (got Imported, err error) {
	err = l.importing(ctx, func(s *storer) (err error) {
		got, err = s.importBatch(b)
		return err
	})
	return got, err
}

// An importRun is work of the store's goroutine for somebody who waits.
type importRun struct {
	do   func(*storer) error
	done chan error // of one
}

// importing runs do on the store's goroutine, behind the windows that wait.
func (l *Log) importing(ctx context.Context, do func(*storer) error) error {
	select {
	case l.importTurn <- struct{}{}:
		defer func() { <-l.importTurn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := l.runImport(ctx, do)
	if errors.Is(err, errNoWindow) {
		if err := l.endWindow(ctx); err != nil {
			return err
		}
		err = l.runImport(ctx, do)
	}
	return err
}

// errNoWindow means that a store has no window yet: there is no number that no window to
// come will have.
var errNoWindow = errors.New("the log has no window yet: try again in a minute")

func (l *Log) runImport(ctx context.Context, do func(*storer) error) error {
	r := &importRun{do: do, done: make(chan error, 1)}
	l.storer.importing.Store(r)
	wake(l.storer.q.more)
	var err error
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.stopped:
		err = errClosed
	}
	if l.storer.importing.CompareAndSwap(r, nil) {
		return err
	}
	return <-r.done // the store's goroutine has taken it, and what do writes is the caller's
}

// runImport does what is to be imported, and reports whether there was something.
func (s *storer) runImport() bool {
	r := s.importing.Swap(nil)
	if r == nil {
		return false
	}
	err := r.do(s)
	if isCorrupt(err) {
		if e := s.replaceStore(err); e != nil {
			err = errors.Join(err, e)
		}
	}
	r.done <- err
	return true
}

// An importCounter tells attempts apart from one batch of a source to the next.
type importCounter struct {
	source   string
	position int64 // behind the last batch
	attempts *attemptCounter
}

func (s *storer) importBatch(b *ImportBatch) (got Imported, err error) {
	if len(b.Lookups) > MostImported {
		return got, fmt.Errorf("a batch of %d lookups is too large", len(b.Lookups))
	}
	if b.To < b.From || b.To == b.From && len(b.Lookups) > 0 {
		return got, fmt.Errorf("a batch of %d lookups goes from position %d to %d: sent again, it would be taken again", len(b.Lookups), b.From, b.To)
	}
	if s.store.old != nil {
		return got, errors.New("the store of version 1 is being copied: try again when 'telltale status' does not speak of it any more")
	}
	if s.store.position == 0 {
		return got, errNoWindow
	}
	counter := s.importCounter
	if counter == nil || counter.source != b.Source.Key || counter.position != b.From {
		counter = &importCounter{source: b.Source.Key, attempts: newAttemptCounter(s.l.o.AttemptGap.Milliseconds(), s.l.o.MaxMemory/4)}
	}
	s.importCounter = nil
	i := &importing{s: s.store, b: b, counter: counter, now: s.l.o.Now(), got: &got}
	i.keep, i.noUnlisted = s.l.o.Retention, s.l.o.NoUnlisted
	waiting, err := segments(s.l.o.Dir)
	if err != nil {
		return got, err
	}
	i.taken = map[int64]bool{}
	for _, n := range waiting {
		i.taken[n] = true
	}
	var told *Event
	err = s.store.transact(func() error {
		if err := i.store(s.l.o.Node); err != nil {
			return err
		}
		told, err = i.end()
		return err
	})
	if err != nil {
		s.store.forget() // what the transaction made is gone
		return Imported{}, err
	}
	s.imports++
	counter.position = b.To
	s.importCounter = counter
	if got.Rows+got.Totals > 0 {
		s.uncheckpointed = true
	}
	if told != nil {
		s.l.addEvent(*told)
	}
	return got, nil
}

// importing is a batch on its way into a store.
type importing struct {
	s          *store
	b          *ImportBatch
	counter    *importCounter
	now        time.Time
	keep       Retention
	noUnlisted bool
	taken      map[int64]bool // numbers of windows that are in a journal
	got        *Imported

	run      int64 // import.id
	node     int64
	nodeName string
	entries  []entry
	minutes  map[int64][]int // the entries that begin in each
	byKey    map[importKey]int
	bindings map[string]*devices.Binding
	span     wallSpan
	days     map[int64]rowRange // rows of listed names that are stored, by their day
}

// An importKey is what lookups of one row have in common.
type importKey struct {
	minute                                  int64
	client                                  netip.Addr
	id, called, name, alias, rule, upstream string
	qtype                                   uint16
	action                                  blocklists.Action
	rcode                                   uint8
	source                                  Source
	transport                               Transport
}

const minuteMilli = int64(time.Minute / time.Millisecond)

// store stores the batch, within a transaction.
func (i *importing) store(node string) (err error) {
	have, err := i.s.importMarks(i.b.Source.Key)
	if err != nil {
		return err
	}
	at := int64(0)
	if len(have) > 0 {
		at = have[len(have)-1].Position
	}
	if at != i.b.From {
		return fmt.Errorf("%w: up to %d, and this goes on from %d", ErrImportPosition, at, i.b.From)
	}
	i.nodeName = node
	if i.node, err = i.s.numbered("node", i.s.nodes, node); err != nil {
		return err
	}
	if err := i.begin(); err != nil {
		return err
	}
	if err := i.fold(); err != nil {
		return err
	}
	if err := i.storeEntries(); err != nil {
		return err
	}
	if err := i.endBindings(); err != nil {
		return err
	}
	if err := i.s.texts(`UPDATE import SET lookups = lookups + ?, first = CASE WHEN first = 0 OR first > ?2 THEN ?2 ELSE first END, last = max(last, ?3) WHERE id = ?4 AND ?3 <> 0`, nil,
		int64(i.got.Lookups), i.span.first, i.span.last, i.run); err != nil {
		return err
	}
	if err := i.s.sumDaysAgain(i.days); err != nil {
		return err
	}
	return i.s.addImportMark(i.b.Source.Key, have, ImportMark{i.b.To, i.b.Sum})
}

// begin finds the line of what rows are imported from, or makes it.
func (i *importing) begin() error {
	src := &i.b.Source
	err := i.s.texts(`INSERT INTO import (source, format, file, edition, began, first, last, lookups, told) VALUES (?,?,?,?,?,0,0,0,0)
		ON CONFLICT DO UPDATE SET file = excluded.file RETURNING id`, func(stmt *sqlite3.Stmt) { i.run = stmt.ColumnInt64(0) },
		src.Key, src.Format, src.File, i.b.Edition, i.now.UnixMilli())
	if err != nil {
		return err
	}
	from, err := i.s.meta(metaRecordedFrom)
	if err != nil || from != 0 {
		return err
	}
	first, err := i.s.number(`SELECT coalesce(min(id), 0) FROM window`)
	if err != nil {
		return err
	}
	return i.s.setMeta(metaRecordedFrom, max(first, 1))
}

// metaRecordedFrom is the key of the first window that this server recorded, in the
// store's meta table, where others have been imported.
const metaRecordedFrom = "recorded_from"

// fold makes entries of the lookups.
func (i *importing) fold() error {
	i.minutes, i.byKey, i.bindings = map[int64][]int{}, map[importKey]int{}, map[string]*devices.Binding{}
	if err := i.restoreAttempts(); err != nil {
		return err
	}
	oldest := int64(-1) << 62
	if i.keep.Totals >= 0 {
		oldest = i.now.Add(-i.keep.Totals).UnixMilli()
	}
	for n := range i.b.Lookups {
		u := &i.b.Lookups[n]
		ms := u.Time.UnixMilli()
		if ms < importOldest || u.Time.After(i.now.Add(importAhead)) || len(u.Name) == 0 {
			return fmt.Errorf("lookup %d of the batch: %s is no time of a lookup that another server logged, or it has no name", n+1, u.Time.UTC().Format(time.RFC3339))
		}
		switch {
		case i.b.OptedOut != nil && i.b.OptedOut(u.Client, u.ClientID):
			i.got.OptedOut++
			continue
		case ms < oldest:
			i.got.TooOld++
			continue
		}
		i.got.Lookups++
		i.span.add(wallSpan{ms, ms})
		if err := i.add(u, ms); err != nil {
			return err
		}
	}
	return nil
}

func (i *importing) add(u *ImportedLookup, ms int64) error {
	minute := ms - (ms%minuteMilli+minuteMilli)%minuteMilli
	key := importKey{minute, u.Client, u.ClientID, u.ClientName, string(u.Name), string(u.Alias), u.Rule, u.Upstream, u.Type, u.Action, u.Rcode, u.Source, u.Transport}
	at, known := i.byKey[key]
	if !known {
		at = len(i.entries)
		e, err := i.entry(u, ms)
		if err != nil {
			return err
		}
		i.entries = append(i.entries, e)
		i.byKey[key] = at
		i.minutes[minute] = append(i.minutes[minute], at)
	}
	e := &i.entries[at]
	e.Count++
	e.First, e.Last = min(e.First, ms), max(e.Last, ms)
	e.Elapsed = max(e.Elapsed, uint32(min(max(u.Elapsed.Microseconds(), 0), 1<<32-1)))
	a := i.counter.attempts
	attempt := a.key(a.device(deviceOf(e.Addr, e.Binding)), e.Name)
	place, ok := a.place(attempt, ms)
	switch {
	case !ok:
		e.AsLookups++
		e.Attempts++
	case a.begins(place, attempt, ms):
		e.Attempts++
	}
	if b := e.Binding; b != nil && u.Time.After(b.Seen) {
		b.Seen = u.Time
	} else if b != nil && u.Time.Before(b.From) {
		b.From = u.Time
	}
	return nil
}

// entry returns the entry of a lookup, without counts. Whose name it is says the policy
// of today; what was decided says the other server.
func (i *importing) entry(u *ImportedLookup, ms int64) (e entry, err error) {
	e = entry{
		First: ms, Last: ms, Addr: u.Client, ClientID: u.ClientID, Name: u.Name, Alias: u.Alias, Type: u.Type, Rcode: u.Rcode, Action: u.Action,
		Source: u.Source, Transport: u.Transport, Upstream: u.Upstream, Overrode: u.Action == blocklists.Allow,
	}
	if u.Rule != "" {
		e.Rule = ruleText{List: i.b.Source.Format, Text: u.Rule}
	}
	if e.Binding, err = i.binding(u); err != nil {
		return e, err
	}
	name, err := dnswire.ParseName(nameText(u.Name))
	if err != nil || i.b.Policy == nil {
		return e, err
	}
	v := i.b.Policy.Decide(&name, u.Type, 0)
	e.Level = v.Level
	if v.Attr != 0 {
		r := i.b.Policy.Rule(v.Attr)
		e.Attr = ruleText{List: r.List, Line: r.Line, Text: r.Text}
	}
	describeRule(i.b.Policy, &e, v.Rule, v.Attr)
	return e, nil
}

// binding returns the binding of a client, made where there is none yet.
func (i *importing) binding(u *ImportedLookup) (*devices.Binding, error) {
	b := &devices.Binding{Device: "addr:" + u.Client.String(), Name: cmp.Or(u.ClientName, u.Client.String()), Addr: u.Client, Source: devices.BareAddress, Confidence: devices.Imported, From: u.Time}
	switch {
	case devices.IsClientID(u.ClientID):
		b.Device, b.Name, b.Addr, b.Source = "id:"+u.ClientID, cmp.Or(u.ClientName, u.ClientID), netip.Addr{}, devices.ClientID
	case !u.Client.IsValid():
		return nil, nil
	}
	key := b.Device + "\x00" + b.Name
	if known := i.bindings[key]; known != nil {
		return known, nil
	}
	err := i.s.texts(`SELECT id FROM binding WHERE id >= ? AND device = ? AND name = ? LIMIT 1`, func(stmt *sqlite3.Stmt) { b.ID = uint64(stmt.ColumnInt64(0)) },
		int64(importedBindings), b.Device, b.Name)
	if err == nil && b.ID == 0 {
		var last int64
		last, err = i.s.number(`SELECT coalesce(max(id), 0) FROM binding WHERE id >= ? AND id < ?`, importedBindings, importedBindings+1<<shippedBindings)
		b.ID = uint64(max(last+1, importedBindings))
		if err == nil {
			err = i.s.binding(b)
		}
	}
	i.s.bound[b.ID] = true
	i.bindings[key] = b
	return b, err
}

// endBindings keeps until when clients are known to have asked.
func (i *importing) endBindings() error {
	for _, b := range i.bindings {
		ended := *b
		ended.Until = b.Seen
		if ended.Until.IsZero() {
			continue
		}
		if err := i.s.binding(&ended); err != nil {
			return err
		}
	}
	return nil
}

// restoreAttempts takes over the attempts that were not over when the batch before was
// stored, where an earlier process stored it.
func (i *importing) restoreAttempts() error {
	if i.counter.position != 0 || i.b.From == 0 || len(i.b.Lookups) == 0 {
		return nil
	}
	a, now := i.counter.attempts, i.b.Lookups[0].Time.UnixMilli()
	first := (now - a.gap - minuteMilli) / 1000
	for _, table := range rowTables {
		err := i.s.texts(`SELECT `+deviceSQL+`, m.name, max(`+lastOfRow+`)`+layout2.from(table, ` AND `+lastOfRow+` > ? AND r.first <= ? AND r.import <> 0 AND m.name IS NOT NULL GROUP BY 1, 2`),
			func(stmt *sqlite3.Stmt) {
				if n, err := dnswire.ParseName(stmt.ColumnText(1)); err == nil {
					a.restore(stmt.ColumnText(0), n.Wire(), stmt.ColumnInt64(2), now)
				}
			}, first<<rowBits, (now/1000+2*60)<<rowBits, now-a.gap, now)
		if err != nil {
			return err
		}
	}
	return nil
}

// storeEntries stores the entries, by minute.
func (i *importing) storeEntries() error {
	minutes := make([]int64, 0, len(i.minutes))
	for m := range i.minutes {
		minutes = append(minutes, m)
	}
	slices.Sort(minutes)
	for _, t := range i.s.importNames {
		t.forget() // others have stored names meanwhile
	}
	for _, w := range i.s.rows {
		w.imported = i.run
	}
	defer func() {
		for _, w := range i.s.rows {
			w.imported = 0
		}
	}()
	i.s.totals.now = i.now.UnixMilli() / hourMilli
	for _, m := range minutes {
		if err := i.storeMinute(m, i.minutes[m]); err != nil {
			return err
		}
	}
	if err := i.s.flushRows(); err != nil {
		return err
	}
	return i.s.totals.flush()
}

// storeMinute stores the entries of a minute as the rows of a window. Those that are too
// old for rows are counted in totals alone.
func (i *importing) storeMinute(minute int64, all []int) error {
	window, place := int64(0), int64(0)
	var span wallSpan
	lookups := uint64(0)
	for _, at := range all {
		e := &i.entries[at]
		if !i.isKept(e) {
			if err := i.count(e); err != nil {
				return err
			}
			continue
		}
		if window == 0 {
			var err error
			if window, err = i.freeWindow(minute / 1000); err != nil {
				return err
			}
		}
		if err := i.s.importedRow(window<<rowBits|place, i.node, e); err != nil {
			return err
		}
		if err := i.s.seal.entry(window<<rowBits|place, i.nodeName, e, i.b.Source.Format); err != nil {
			return err
		}
		i.storedRow(window<<rowBits|place, e)
		place++
		span.add(wallSpan{e.First, e.Last})
		lookups += e.Count
		i.got.Rows++
	}
	if window == 0 {
		return nil
	}
	return i.s.run("window_imported", window, span.first, span.last, place, int64(lookups))
}

// storedRow says that an entry is stored as a row.
func (i *importing) storedRow(id int64, e *entry) {
	if e.table() != "listed" {
		return
	}
	if i.days == nil {
		i.days = map[int64]rowRange{}
	}
	day := dayOf(e.First)
	r, known := i.days[day]
	if !known {
		r.low = id
	}
	i.days[day] = rowRange{min(r.low, id), max(r.high, id)}
}

// isKept reports whether an entry becomes a row: retention would keep it.
func (i *importing) isKept(e *entry) bool {
	keep := i.keep.Unlisted
	if e.listed() {
		keep = i.keep.Listed
	} else if i.noUnlisted {
		return false
	}
	return keep < 0 || e.Last >= i.now.Add(-keep).UnixMilli()
}

// count counts an entry in the totals that retention would leave of it.
func (i *importing) count(e *entry) error {
	i.got.Totals += e.Count
	annotation, err := i.s.annotation(e.Annotation)
	if err != nil {
		return err
	}
	i.s.totals.add(i.node, e, annotation)
	return nil
}

// windowsSearched is how many numbers of windows are tried on each side of a time.
const windowsSearched = 1 << 16

// freeWindow returns the number nearest to a time, in seconds, that no window has and no
// window to come will have.
func (i *importing) freeWindow(at int64) (int64, error) {
	for d := range int64(windowsSearched) {
		for _, n := range [2]int64{at + d, at - d} {
			if n < 1 || n > i.s.position || i.taken[n] {
				continue
			}
			used, err := i.s.number(`SELECT EXISTS (SELECT 1 FROM window WHERE id = ?)`, n)
			if err != nil {
				return 0, err
			}
			if used == 0 {
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("there are too many windows about %v", time.Unix(at, 0).UTC())
}

// importedRow is row for one that is imported: names of its time may be numbered by
// another table's goroutine at hand, which then gives the number.
func (s *store) importedRow(id, node int64, e *entry) error {
	table := e.table()
	w, own := s.rows[table], s.names[table]
	if own.known == nil || own.period != id>>periodRows {
		w.names = s.importNames[table]
	}
	defer func() { w.names = own }()
	return s.row(id, node, e)
}

// end returns the line of the ledger that says what is imported, nil where it has been
// said.
func (i *importing) end() (*Event, error) {
	if !i.b.End {
		return nil, nil
	}
	var lookups, told, first, last int64
	err := i.s.texts(`SELECT lookups, told, first, last FROM import WHERE id = ?`, func(stmt *sqlite3.Stmt) {
		lookups, told, first, last = stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2), stmt.ColumnInt64(3)
	}, i.run)
	if err != nil || lookups == told {
		return nil, err
	}
	src := &i.b.Source
	detail := fmt.Sprintf("%d lookups were imported from %s; names are attributed by %s", lookups-told, src.Format, cmp.Or(i.b.Edition, "no list"))
	if src.Lost != "" {
		detail += "; not known of them: " + src.Lost
	}
	return &Event{Kind: KindImported, Subject: src.File, Detail: detail, Since: Time{fromMilli(first)}, Until: Time{fromMilli(last)}},
		i.s.exec(`UPDATE import SET told = lookups WHERE id = ?`, i.run)
}

// importMarks returns how far a source is imported, in order.
func (s *store) importMarks(key string) (marks []ImportMark, err error) {
	err = s.texts(`SELECT position, sum FROM import_mark WHERE source = ? ORDER BY position`, func(stmt *sqlite3.Stmt) {
		marks = append(marks, ImportMark{stmt.ColumnInt64(0), stmt.ColumnText(1)})
	}, key)
	return marks, err
}

// addImportMark adds the last mark of a source. The one before is kept where it is the
// first of its sixteenth of a power of two: by them an older copy is known again.
func (s *store) addImportMark(key string, have []ImportMark, m ImportMark) error {
	if n := len(have); n > 0 {
		before := have[n-1].Position
		if before == m.Position {
			return nil
		}
		shift := max(bits.Len64(uint64(before))-5, 0)
		if n > 1 && have[n-2].Position>>shift == before>>shift {
			if err := s.texts(`DELETE FROM import_mark WHERE source = ? AND position = ?`, nil, key, before); err != nil {
				return err
			}
		}
	}
	return s.texts(`INSERT INTO import_mark VALUES (?,?,?)`, nil, key, m.Position, m.Sum)
}
