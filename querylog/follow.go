package querylog

import (
	"cmp"
	"context"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// followEvery is how often Follow looks. An open row is shown within a second
// of its lookup: the journal is written every 100 ms.
const followEvery = 500 * time.Millisecond

// Follow calls fn with the rows f chooses, then with those to come, until ctx
// is done or fn fails. Each row comes once when it is closed; before that it
// comes marked open, when it is new and whenever it has grown, at most every
// half second. Rows that are imported meanwhile come too where they are of the last minutes: those
// of a capture that is under way. The error is ctx's or fn's, or says what could not be read.
func (r *Reader) Follow(ctx context.Context, f Filter, fn func(Row) error) error {
	w := r.Follower(f)
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		if err := w.Look(ctx, fn); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// IDAt returns what is below the number of every row of a window that begins at a time or later.
func IDAt(t time.Time) int64 { return max(t.Unix(), 0) << rowBits }

// A Follower is Follow for who says when to look. One goroutine alone may use it.
type Follower struct {
	r       *Reader
	f       Filter
	after   int64            // the last closed row shown
	shown   map[int64]uint64 // counts of open rows
	imports importsShown
	tails   map[int64]*tail
}

// Follower returns one of the rows that f chooses.
func (r *Reader) Follower(f Filter) *Follower {
	return &Follower{r: r, f: f, shown: map[int64]uint64{}, tails: map[int64]*tail{}}
}

// Look calls fn with what has come since the last time; at the first time with the rows that are
// there.
func (w *Follower) Look(ctx context.Context, fn func(Row) error) error {
	err := w.look(ctx, fn)
	w.f.Limit = 0 // holds for what was there at first
	if err != nil {
		return cmp.Or(ctx.Err(), err) // an interrupted query has an error of its own
	}
	return nil
}

func (w *Follower) look(ctx context.Context, fn func(Row) error) error {
	s, err := w.r.look(ctx, w.tails)
	if err != nil {
		return err
	}
	defer s.close()
	f, err := w.f.normal()
	if err != nil {
		return err
	}
	if err := w.imports.begin(s); err != nil {
		return err
	}
	var failed error
	err = s.rows(f, w.after, func(row Row) bool {
		if row.Open && w.shown[row.ID] == row.Count {
			return true
		}
		failed = fn(row)
		w.shown[row.ID] = row.Count
		if row.Imported != "" {
			w.imports.windows[row.ID>>rowBits] = true
		}
		return failed == nil
	})
	if err == nil && failed == nil {
		failed = w.imports.rows(s, &f, fn)
	}
	end := (s.position + 1) << rowBits
	for id := range w.shown {
		if id < end {
			delete(w.shown, id)
		}
	}
	for window := range w.tails {
		if window <= s.position {
			delete(w.tails, window)
		}
	}
	w.after = max(w.after, end-1)
	return cmp.Or(failed, err)
}

// importsAge is how old an imported lookup may be to be followed.
const importsAge = 10 * time.Minute

// importsShown are the windows of imported rows of the last minutes that were shown, or were
// there at first. Their numbers are about the time of their lookups, so they come before others that
// were shown already.
type importsShown struct{ windows map[int64]bool }

// begin takes over those that are there at first.
func (i *importsShown) begin(s *snapshot) error {
	if i.windows != nil {
		return nil
	}
	i.windows = map[int64]bool{}
	all, err := i.recent(s)
	for _, w := range all {
		i.windows[w] = true
	}
	return err
}

// recent returns the windows of imported rows of the last minutes, in order.
func (i *importsShown) recent(s *snapshot) (all []int64, err error) {
	if s.store == nil || s.store.version < versionOfImports {
		return nil, nil
	}
	err = s.store.query(`SELECT id FROM window WHERE last >= ? AND imported <> 0 ORDER BY id`, []any{time.Now().Add(-importsAge).UnixMilli()}, func(stmt *sqlite3.Stmt) bool {
		all = append(all, stmt.ColumnInt64(0))
		return true
	})
	return all, err
}

// rows calls fn with the rows that f chooses of the windows that were not shown yet.
func (i *importsShown) rows(s *snapshot, f *Filter, fn func(Row) error) error {
	all, err := i.recent(s)
	if err != nil {
		return err
	}
	there := make(map[int64]bool, len(all))
	for _, w := range all {
		if there[w] = true; i.windows[w] {
			continue
		}
		c := &cursorOfRows{db: s.store, f: f, store: s.id, spans: []span{{after: w<<rowBits - 1, end: (w + 1) << rowBits}}}
		for {
			if err := c.fill(); err != nil {
				return err
			}
			if len(c.page) == 0 {
				break
			}
			row := c.page[0]
			c.page = c.page[1:]
			if err := fn(row); err != nil {
				return err
			}
		}
	}
	i.windows = there
	return nil
}
