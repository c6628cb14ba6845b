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
	var err error
	var after int64 // the last closed row shown
	shown := map[int64]uint64{}
	var imports importsShown
	tails := map[int64]*tail{}
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		if after, err = r.followOnce(ctx, f, after, shown, &imports, tails, fn); err != nil {
			return cmp.Or(ctx.Err(), err) // an interrupted query has an error of its own
		}
		f.Limit = 0 // holds for what was there at first
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (r *Reader) followOnce(ctx context.Context, f Filter, after int64, shown map[int64]uint64, imports *importsShown, tails map[int64]*tail,
	fn func(Row) error) (int64, error) {
	s, err := r.look(ctx, tails)
	if err != nil {
		return after, err
	}
	defer s.close()
	if f, err = f.normal(); err != nil {
		return after, err
	}
	if err := imports.begin(s); err != nil {
		return after, err
	}
	var failed error
	err = s.rows(f, after, func(row Row) bool {
		if row.Open && shown[row.ID] == row.Count {
			return true
		}
		failed = fn(row)
		shown[row.ID] = row.Count
		if row.Imported != "" {
			imports.windows[row.ID>>rowBits] = true
		}
		return failed == nil
	})
	if err == nil && failed == nil {
		failed = imports.rows(s, &f, fn)
	}
	end := (s.position + 1) << rowBits
	for id := range shown {
		if id < end {
			delete(shown, id)
		}
	}
	for window := range tails {
		if window <= s.position {
			delete(tails, window)
		}
	}
	if failed != nil {
		err = failed
	}
	return max(after, end-1), err
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
	err = s.store.query(`SELECT id FROM window WHERE last >= ? AND imported = 1 ORDER BY id`, []any{time.Now().Add(-importsAge).UnixMilli()}, func(stmt *sqlite3.Stmt) bool {
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
		c := &cursorOfRows{db: s.store, f: f, store: s.id, spans: []span{{w<<rowBits - 1, (w + 1) << rowBits}}}
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
