package querylog

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/sorting"
)

// An Effect is what a gap means for who reads the log.
type Effect string

// The words are in JSON and never change.
const (
	Unrecorded Effect = "unrecorded" // no lookup of this time was recorded, whether there were any or not
	Incomplete Effect = "incomplete" // some lookups of this time are in no row
	Unnamed    Effect = "unnamed"    // some lookups of this time are in rows without their names
	Undated    Effect = "undated"    // the clock was set: lookups may be dated earlier or later than they came
	Uncounted  Effect = "uncounted"  // some lookups of this time were each counted as an attempt
	Unblocked  Effect = "unblocked"  // the lists were not in force as they usually are: verdicts differ from those of other times
	Unbound    Effect = "unbound"    // some lookups of this time may be another device's
	Removed    Effect = "removed"    // some rows of listed names of this time were deleted; their totals are kept
)

// A Gap is an interval in which the record is not whole, and why.
type Gap struct {
	Since   Time   `json:"since"`
	Until   Time   `json:"until"`
	Effect  Effect `json:"effect"`
	Kind    string `json:"kind"` // of the ledger's event, or: down, unknown, off
	Subject string `json:"subject,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// Kinds of gaps that are not kinds of events.
const (
	GapDown    = "down"    // no server ran: it was stopped, or has ended without notice and not been started since
	GapUnknown = "unknown" // before the first, or behind the last, that the log knows of
	GapOff     = "off"     // a server ran that was set not to keep lookups

	GapNotLogged = "not-logged" // of one device alone: log: false was set for it
)

// Coverage is what was recorded of an interval, what not, and why.
type Coverage struct {
	Since Time  `json:"since"`
	Until Time  `json:"until"`
	Gaps  []Gap `json:"gaps"` // by their beginnings; they may overlap

	Begin    Time `json:"begin,omitzero"`    // of the whole log; zero where it has nothing
	Listed   Time `json:"listed,omitzero"`   // the oldest row of a listed name; zero for none
	Unlisted Time `json:"unlisted,omitzero"` // the oldest row of any other name from which on there are those of all devices; zero for none
	Totals   Time `json:"totals,omitzero"`   // the hour from which on there are totals of all that was recorded; zero for none

	OldestListed   Time `json:"-"` // Listed and Unlisted of all rows, also of those that were imported
	OldestUnlisted Time `json:"-"`

	Imports []ImportedLog `json:"-"` // logs of other servers of which lookups of the interval were imported

	AttemptGap    time.Duration `json:"attempt_gap"`             // the silence that ends an attempt, as it is set now; 0 where attempts are not counted
	AttemptsSince Time          `json:"attempts_since,omitzero"` // from when on attempts are counted; zero where they are not
}

// An ImportedLog is a log of another server, and from when to when it has lookups. Not
// all of its time need be recorded.
type ImportedLog struct {
	Format      string // which kind of log it is, a word
	First, Last Time
}

// Length is how long the interval is.
func (c *Coverage) Length() time.Duration { return c.Until.Sub(c.Since.Time) }

// Recorded is for how long of the interval a server recorded lookups.
func (c *Coverage) Recorded() time.Duration { return c.RecordedIn(c.Since.Time, c.Until.Time) }

// RecordedIn is Recorded of a part of the interval, such as one hour.
func (c *Coverage) RecordedIn(since, until time.Time) time.Duration {
	return c.without(since, until, Unrecorded)
}

// Whole is for how long of the interval no lookup is known to be missing.
func (c *Coverage) Whole() time.Duration {
	return c.without(c.Since.Time, c.Until.Time, Unrecorded, Incomplete)
}

// IsWhole reports whether between two times no lookup is known to be missing: only
// then may it be said that there was none.
func (c *Coverage) IsWhole(since, until time.Time) bool {
	return !since.Before(c.Since.Time) && !until.After(c.Until.Time) && c.without(since, until, Unrecorded, Incomplete) == until.Sub(since)
}

// without is how much of a time no gap of these effects touches.
func (c *Coverage) without(since, until time.Time, effects ...Effect) time.Duration {
	rest := max(until.Sub(since), 0)
	at := since
	for _, g := range c.Gaps { // by their beginnings
		if !slices.Contains(effects, g.Effect) {
			continue
		}
		from, to := g.Since.Time, g.Until.Time
		if from.Before(at) {
			from = at
		}
		if to.After(until) {
			to = until
		}
		if to.After(from) {
			rest -= to.Sub(from)
			at = to
		}
	}
	return rest
}

// aliveGrace is how long after its last sign of life a server is taken to run.
const aliveGrace = 3 * heartbeatEvery

// Coverage returns what the log recorded between two times, what not, and why. A
// zero until, and one that is still to come, is now.
func (r *Reader) Coverage(ctx context.Context, since, until time.Time) (c Coverage, err error) {
	now := time.Now()
	if until.IsZero() || until.After(now) {
		until = now
	}
	if since.After(until) {
		since = until
	}
	c.Since, c.Until = Time{since}, Time{until}
	events, err := r.Ledger(ctx, time.Time{}, time.Time{})
	if err != nil {
		return c, err
	}
	if err := r.ends(ctx, &c); err != nil {
		return c, err
	}
	if len(events) > 0 && (c.Begin.IsZero() || events[0].Time.Before(c.Begin.Time)) {
		c.Begin = events[0].Time
	}
	nodes, err := r.ShippedStores(ctx)
	if err != nil {
		return c, err
	}
	if len(nodes) == 0 {
		c.AddGaps(events, aliveIn(r.dir, now), now)
	} else {
		c.addGapsOfNodes(events, nodes, now)
	}
	return c, nil
}

// AddGaps adds the gaps that the ledger of one node tells, whose events are in order. alive is the last sign of
// life of its server, zero where none is known. Begin and Listed are set before.
func (c *Coverage) AddGaps(events []Event, alive, now time.Time) {
	w := gapWalk{c: c, open: map[string]Gap{}}
	for i := range events {
		w.event(&events[i])
	}
	w.end(alive, now)
	c.SortGaps()
}

// SortGaps puts gaps in their one order, whoever added them.
func (c *Coverage) SortGaps() {
	sorting.StableBy(c.Gaps, func(a, b Gap) int {
		return cmp.Or(a.Since.Compare(b.Since.Time), a.Until.Compare(b.Until.Time), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Detail, b.Detail))
	})
}

// addGapsOfNodes adds the gaps of each node of a centre. What the centre does itself is none: nodes keep what it does not take.
func (c *Coverage) addGapsOfNodes(events []Event, nodes []ShippedStore, now time.Time) {
	of, alive := map[string][]Event{}, map[string]time.Time{}
	for i := range nodes {
		n := &nodes[i]
		of[n.Node] = nil
		if alive[n.Node].Before(n.Last.Time) {
			alive[n.Node] = n.Last.Time
		}
	}
	for _, e := range events {
		if all, known := of[e.Node]; known {
			of[e.Node] = append(all, e)
			if alive[e.Node].Before(e.Time.Time) {
				alive[e.Node] = e.Time.Time
			}
		}
	}
	for node, its := range of {
		sorting.StableBy(its, func(a, b Event) int { return a.Time.Compare(b.Time.Time) })
		own := *c
		own.Gaps = nil
		if len(its) > 0 {
			own.Begin = its[0].Time
		}
		own.AddGaps(its, alive[node], now)
		for _, g := range own.Gaps {
			if len(of) > 1 {
				g.Detail = "node " + node + ": " + g.Detail
			}
			c.Gaps = append(c.Gaps, g)
		}
	}
	c.SortGaps()
}

// ends fills in where the log's parts begin.
func (r *Reader) ends(ctx context.Context, c *Coverage) error {
	listed, unlisted, err := r.OldestRows(ctx)
	if err != nil {
		return err
	}
	c.Listed, c.Unlisted = Time{listed}, Time{unlisted}
	s, err := r.look(ctx, nil)
	if err != nil {
		return err
	}
	defer s.close()
	earlier := func(at time.Time) {
		if !at.IsZero() && (c.Begin.IsZero() || at.Before(c.Begin.Time)) {
			c.Begin = Time{at}
		}
	}
	earlier(listed)
	earlier(unlisted)
	for _, db := range s.databases() {
		first, err := db.firstRecorded(`window`, 0, `imported`)
		if err != nil {
			return err
		}
		earlier(fromMilli(first))
	}
	c.OldestListed, c.OldestUnlisted = c.Listed, c.Unlisted
	for i, t := range []*Time{&c.OldestListed, &c.OldestUnlisted} {
		for _, db := range s.databases() {
			first, err := db.number(`SELECT coalesce((SELECT first FROM ` + rowTables[i] + ` ORDER BY id LIMIT 1), 0)`)
			if err != nil {
				return err
			}
			if at := fromMilli(first); !at.IsZero() && (t.IsZero() || at.Before(t.Time)) {
				*t = Time{at}
			}
		}
	}
	if c.Totals, err = s.totalsBegan(); err != nil {
		return err
	}
	if c.Imports, err = s.importsOf(c.Since.Time, c.Until.Time); err != nil {
		return err
	}
	return s.attemptsOf(c)
}

// importsOf returns the logs of other servers that have lookups between two times.
func (s *snapshot) importsOf(since, until time.Time) (all []ImportedLog, err error) {
	if s.store == nil || s.store.version < versionOfImports {
		return nil, nil
	}
	err = s.store.query(`SELECT format, first, last FROM import WHERE lookups > 0 AND last >= ? AND first < ? ORDER BY first, id`, []any{since.UnixMilli(), until.UnixMilli()},
		func(stmt *sqlite3.Stmt) bool {
			all = append(all, ImportedLog{stmt.ColumnText(0), Time{fromMilli(stmt.ColumnInt64(1))}, Time{fromMilli(stmt.ColumnInt64(2))}})
			return true
		})
	return all, err
}

// totalsBegan returns the hour from which on there are totals of all that was recorded.
func (s *snapshot) totalsBegan() (Time, error) {
	if !s.hasTotals() {
		return Time{}, nil
	}
	from, err := s.store.number(`SELECT coalesce((SELECT value FROM meta WHERE key = '` + metaTotalsFrom + `'), 0)`)
	if err != nil {
		return Time{}, err
	}
	first := int64(0)
	if from > 0 { // the store had none before; what is imported may be older
		if first, err = s.store.number(`SELECT coalesce((SELECT value FROM meta WHERE key = '`+metaTotalsBegan+`'), (SELECT first FROM window WHERE id >= ? ORDER BY id LIMIT 1), 0)`, from); err != nil {
			return Time{}, err
		}
	} else {
		hour, err := s.store.number(fmt.Sprintf(`SELECT coalesce(min(id) >> %d, 0) FROM total`, totalKeyBits))
		if err != nil {
			return Time{}, err
		}
		first = hour * hourMilli
	}
	if first == 0 {
		return Time{}, nil
	}
	return Time{fromMilli(hourOf(first))}, nil
}

// AttemptsSince returns from when on rows have attempts, and by which silence one ends
// now; zero where none have.
func (r *Reader) AttemptsSince(ctx context.Context) (since time.Time, gap time.Duration, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return since, 0, err
	}
	defer s.close()
	var c Coverage
	err = s.attemptsOf(&c)
	return c.AttemptsSince.Time, c.AttemptGap, cmp.Or(ctx.Err(), err)
}

// attemptsOf fills in how attempts are counted.
func (s *snapshot) attemptsOf(c *Coverage) error {
	if s.store == nil {
		return nil
	}
	for key, set := range map[string]func(int64){
		metaAttemptGap:    func(ms int64) { c.AttemptGap = time.Duration(ms) * time.Millisecond },
		metaAttemptsSince: func(ms int64) { c.AttemptsSince = Time{fromMilli(ms)} },
	} {
		ms, err := s.store.number(`SELECT coalesce((SELECT value FROM meta WHERE key = ?), 0)`, key)
		if err != nil {
			return err
		}
		set(ms)
	}
	if ok, err := s.hasShipped(); err != nil || !ok {
		return err
	}
	// Nodes counted them before the center was there.
	first, err := s.store.number(`SELECT min(coalesce((SELECT min(first) FROM shipped_window), ?1), coalesce((SELECT min(time) FROM ledger WHERE node IN (SELECT n.id FROM node n JOIN shipped_store s ON s.node = n.name)), ?1))`, int64(math.MaxInt64))
	if err == nil && first < math.MaxInt64 {
		c.AttemptsSince = Time{fromMilli(first)}
	}
	return err
}

// aliveIn returns the last sign of life of a server in a data directory, as far as
// its lock and its journals say, zero for none.
func aliveIn(dir string, now time.Time) time.Time {
	b, err := os.ReadFile(filepath.Join(dir, "lock"))
	if err != nil {
		return time.Time{}
	}
	alive := fromMilli(parseLock(b).alive)
	if written := lastWritten(dir); written.After(alive) && written.Before(now) {
		return written
	}
	return alive
}

const downText = "no server ran: it was stopped"

// A gapWalk makes gaps of the ledger's events, in their order.
type gapWalk struct {
	c       *Coverage
	started bool
	off     Time           // since when the server at hand keeps no lookups; zero where it does
	stopped Time           // when the last server stopped; zero while one runs
	last    Time           // of the event before
	removed Gap            // of rows of listed names
	open    map[string]Gap // that have begun, by what ends them
}

// add adds what of a gap is within the interval.
func (w *gapWalk) add(g Gap) {
	if g.Since.Before(w.c.Since.Time) {
		g.Since = w.c.Since
	}
	if w.c.Until.Before(g.Until.Time) {
		g.Until = w.c.Until
	}
	if g.Since.Before(g.Until.Time) {
		w.c.Gaps = append(w.c.Gaps, g)
	}
}

// spanOf returns the time an event speaks of. Where its beginning is not known, that
// is as early as the log's.
func (w *gapWalk) spanOf(e *Event) (since, until Time) {
	since, until = e.Since, e.Until
	if until.IsZero() {
		until = e.Time
	}
	if since.IsZero() {
		since = w.c.Begin
	}
	if until.Before(since.Time) { // the clock was set back
		since, until = until, since
	}
	return since, until
}

func (w *gapWalk) span(e *Event, effect Effect) {
	since, until := w.spanOf(e)
	w.add(Gap{since, until, effect, e.Kind, e.Subject, e.Detail})
}

// effects are those of events that speak of an interval.
var effects = map[string]Effect{
	KindSuspended: Unrecorded, KindLost: Incomplete, KindFolded: Unnamed, KindAttempts: Uncounted,
	KindUnshipped: Removed,
}

// beginnings are events from which on something was not as usual, and what ends it:
// a kind, and the same subject where perSubject has it.
var beginnings = map[string]struct {
	effect     Effect
	ends       string
	perSubject bool
}{
	"pause":                  {Unblocked, "resume", true},
	"observe":                {Unblocked, "observe-ended", true},
	"list-failed":            {Unblocked, kindListRecovered, true},
	"reload-failed":          {Unblocked, "reload", false},
	"list-held":              {Unblocked, "list-accepted", true},
	"mac-shared":             {Unbound, KindStart, true},
	"neighbours-unavailable": {Unbound, "neighbours-back", false},
}

func (w *gapWalk) event(e *Event) {
	switch e.Kind {
	case KindStart:
		w.start(e)
	case KindStop:
		w.endRun(e.Time)
		w.stopped = e.Time
	case KindCrash:
		w.crash(e)
	case KindRestored:
		w.restored(e)
	case KindStore:
		if !e.Until.IsZero() { // its rows are in a file that is not the log's any more
			w.span(e, Incomplete)
		}
	case KindClock:
		if !e.Since.IsZero() {
			w.span(e, Undated)
		}
	case KindRetention:
		w.removed = Gap{w.c.Begin, w.c.Listed, Removed, e.Kind, e.Subject, e.Detail} // the last one says it for all
		if w.c.Listed.IsZero() {
			w.removed.Until = e.Time
		}
	case "overload":
		if since, until, ok := overloadSpan(e.Detail); ok {
			w.add(Gap{since, until, Incomplete, e.Kind, e.Subject, e.Detail})
		}
	case "address-contested", "bindings-evicted", "bindings-limited", "neighbours-lost":
		w.add(Gap{e.Time, Time{e.Time.Add(time.Second)}, Unbound, e.Kind, e.Subject, e.Detail})
	default:
		if effect, ok := effects[e.Kind]; ok && !e.Until.IsZero() {
			w.span(e, effect)
		}
	}
	w.change(e)
	w.last = e.Time
}

// change begins and ends gaps that last from one event to another.
func (w *gapWalk) change(e *Event) {
	for _, ending := range []string{e.Kind, e.Kind + " " + e.Subject} {
		if g, ok := w.open[ending]; ok {
			g.Until = e.Time
			w.add(g)
			delete(w.open, ending)
		}
	}
	b, ok := beginnings[e.Kind]
	if !ok {
		return
	}
	ending := b.ends
	if b.perSubject {
		ending += " " + e.Subject
	}
	if _, ok := w.open[ending]; !ok {
		w.open[ending] = Gap{e.Time, Time{}, b.effect, e.Kind, e.Subject, e.Detail}
	}
}

// start is that of a server.
func (w *gapWalk) start(e *Event) {
	switch {
	case !w.stopped.IsZero():
		w.add(Gap{w.stopped, e.Time, Unrecorded, GapDown, "", downText})
	case !w.started:
		w.add(Gap{w.c.Since, w.c.Begin, Unrecorded, GapUnknown, "", "the log begins later"})
	}
	w.endRun(e.Time)
	for ending, g := range w.open { // what is still so is said again
		if g.Kind != "pause" && g.Kind != "observe" {
			g.Until = e.Time
			w.add(g)
			delete(w.open, ending)
		}
	}
	w.started, w.stopped = true, Time{}
	if strings.HasSuffix(e.Detail, detailOff) {
		w.off = e.Time
	}
}

// endRun ends what began with the server that ran.
func (w *gapWalk) endRun(at Time) {
	if !w.off.IsZero() {
		w.add(Gap{w.off, at, Unrecorded, GapOff, "", "log.enabled was off: no lookups were kept"})
	}
	w.off = Time{}
}

// crash is an end of a server that is known by the next one's start.
func (w *gapWalk) crash(e *Event) {
	g := Gap{e.Since, e.Until, Unrecorded, e.Kind, e.Subject, e.Detail}
	if g.Since.IsZero() { // nobody knows when: not before the event before it
		g.Since = w.last
	}
	if g.Until.Before(g.Since.Time) {
		g.Since, g.Until = g.Until, g.Since
	}
	w.endRun(g.Since)
	w.add(g)
	w.stopped = Time{}
}

// restored is the beginning of a log that is a copy of another.
func (w *gapWalk) restored(e *Event) {
	if !w.stopped.IsZero() {
		w.add(Gap{w.stopped, e.Since, Unrecorded, GapDown, "", downText})
	}
	w.endRun(e.Since)
	w.span(e, Unrecorded)
	w.stopped = e.Until
}

// end adds what lasts, and the time since the last server's end.
func (w *gapWalk) end(alive, now time.Time) {
	switch {
	case !w.started && w.c.Begin.IsZero():
		w.add(Gap{w.c.Since, w.c.Until, Unrecorded, GapUnknown, "", "the log has nothing"})
	case !w.started:
		w.add(Gap{w.c.Since, w.c.Begin, Unrecorded, GapUnknown, "", "the log begins later"})
	case !w.stopped.IsZero():
		w.add(Gap{w.stopped, w.c.Until, Unrecorded, GapDown, "", downText})
	case !alive.IsZero() && now.Sub(alive) > aliveGrace:
		w.add(Gap{Time{alive}, w.c.Until, Unrecorded, GapDown, "", "no server runs: it ended without notice"})
	}
	w.endRun(w.c.Until)
	w.add(w.removed)
	for _, g := range w.open {
		g.Until = w.c.Until
		w.add(g)
	}
}

var overloadTimes = regexp.MustCompile(` between (\S+) and (\S+): `)

// overloadSpan returns the times that the detail of an overload names.
func overloadSpan(detail string) (since, until Time, ok bool) {
	m := overloadTimes.FindStringSubmatch(detail)
	if m == nil {
		return since, until, false
	}
	from, err1 := time.Parse(time.RFC3339, m[1])
	to, err2 := time.Parse(time.RFC3339, m[2])
	return Time{from}, Time{to.Add(time.Second)}, err1 == nil && err2 == nil // they are whole seconds
}

// firstRecorded returns the time of the first row of a table that is not imported, which
// a column says; 0 for none. shift is how many bits of a row's number are its place in the
// window. Of unlisted rows it is the first from which on there are those of all devices.
func (db *database) firstRecorded(table string, shift int, column string) (int64, error) {
	if db.layout != &layout1 && db.version >= versionOfImports {
		from, err := db.number(`SELECT coalesce((SELECT value FROM meta WHERE key = '` + metaRecordedFrom + `'), -1)`)
		if err != nil {
			return 0, err
		}
		from <<= shift
		if table == "unlisted" {
			whole, err := db.number(`SELECT coalesce((SELECT value FROM meta WHERE key = '` + metaUnlistedFrom + `'), 0)`)
			if err != nil {
				return 0, err
			}
			from = max(from, whole)
		}
		return db.number(`SELECT coalesce((SELECT first FROM `+table+` WHERE id >= ? AND `+column+` = 0 ORDER BY id LIMIT 1), 0)`, from)
	}
	return db.number(`SELECT coalesce((SELECT first FROM ` + table + ` ORDER BY id LIMIT 1), 0)`)
}

// OldestRows returns the time of the oldest row of listed names and of all others;
// zero where there is none. What was asked before is not, or no longer, in rows.
func (r *Reader) OldestRows(ctx context.Context) (listed, unlisted time.Time, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return listed, unlisted, err
	}
	defer s.close()
	for i, t := range []*time.Time{&listed, &unlisted} {
		for _, db := range s.databases() {
			first, err := db.firstRecorded(rowTables[i], rowBits, `import`)
			if err != nil {
				return listed, unlisted, cmp.Or(ctx.Err(), err)
			}
			if at := fromMilli(first); t.IsZero() || !at.IsZero() && at.Before(*t) {
				*t = at
			}
		}
	}
	for _, p := range s.open {
		for _, e := range p.entries {
			t := &unlisted
			if e.listed() {
				t = &listed
			}
			if first := fromMilli(e.First); t.IsZero() || first.Before(*t) {
				*t = first
			}
		}
	}
	return listed, unlisted, nil
}
