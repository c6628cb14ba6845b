package querylog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// Where names of the catalogue lead, by upstreams that were asked for it and not by a
// device's lookup, is kept beside the rows: what was found, and when it was first and last
// found so without anything else in between. It has no part in rows, totals or coverage.

// createDestinations is the table of it.
const createDestinations = `CREATE TABLE destination ( -- where a name of the catalogue led when Telltale itself asked
	name  TEXT NOT NULL,
	first INTEGER NOT NULL, -- time this was first found
	last  INTEGER NOT NULL, -- and last, with nothing else in between
	times INTEGER NOT NULL, -- how often
	found TEXT NOT NULL,    -- JSON, see docs/evidence.md
	PRIMARY KEY (name, first)
) STRICT, WITHOUT ROWID;
`

// keptDestinations is how many different answers in a row are kept of a name, the newest.
const keptDestinations = 60

// A Destination is where a name led, from a first time to a last.
type Destination struct {
	Name  string `json:"name"`
	First Time   `json:"first"`
	Last  Time   `json:"last"`
	Times int64  `json:"times"`
	Found string `json:"found"` // JSON; the same text is the same finding
}

// KeepDestinations keeps where names led at a time.
func (l *Log) KeepDestinations(ctx context.Context, at time.Time, found map[string]string) error {
	return l.importing(ctx, func(s *storer) error {
		if s.store == nil {
			return errNoStore
		}
		return s.store.transact(func() error {
			for name, text := range found {
				if err := s.store.destination(name, at.UnixMilli(), text); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// ForgetDestinations deletes where names led, but for those that keep returns true for.
func (l *Log) ForgetDestinations(ctx context.Context, keep func(name string) bool) error {
	return l.importing(ctx, func(s *storer) error {
		if s.store == nil {
			return errNoStore
		}
		var gone []string
		err := s.store.texts(`SELECT DISTINCT name FROM destination`, func(stmt *sqlite3.Stmt) {
			if name := stmt.ColumnText(0); !keep(name) {
				gone = append(gone, name)
			}
		})
		if err != nil || len(gone) == 0 {
			return err
		}
		return s.store.transact(func() error {
			for _, name := range gone {
				if err := s.store.texts(`DELETE FROM destination WHERE name = ?`, nil, name); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// destination keeps one finding, or that the last one still holds.
func (s *store) destination(name string, at int64, text string) error {
	first, last, before := int64(0), int64(0), ""
	err := s.texts(`SELECT first, last, found FROM destination WHERE name = ? ORDER BY first DESC LIMIT 1`, func(stmt *sqlite3.Stmt) {
		first, last, before = stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnText(2)
	}, name)
	if err != nil {
		return err
	}
	if before == text {
		return s.texts(`UPDATE destination SET last = ?, times = times + 1 WHERE name = ? AND first = ?`, nil, max(last, at), name, first)
	}
	if at <= last { // the clock was set back: the order in which it was found stays
		at = last + 1
	}
	return errors.Join(
		s.texts(`INSERT INTO destination VALUES (?, ?, ?, 1, ?)`, nil, name, at, at, text),
		s.texts(fmt.Sprintf(`DELETE FROM destination WHERE name = ?1 AND first <= (SELECT first FROM destination WHERE name = ?1 ORDER BY first DESC LIMIT 1 OFFSET %d)`, keptDestinations), nil, name),
	)
}

// Destinations returns where names led, by name, and the oldest first: of one name, or
// of all where it is "".
func (r *Reader) Destinations(ctx context.Context, name string) (all []Destination, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.store == nil || s.store.version < versionOfDestinations {
		return nil, nil
	}
	err = s.store.query(`SELECT name, first, last, times, found FROM destination WHERE ?1 = '' OR name = ?1 ORDER BY name, first`, []any{name}, func(stmt *sqlite3.Stmt) bool {
		all = append(all, Destination{stmt.ColumnText(0), Time{fromMilli(stmt.ColumnInt64(1))}, Time{fromMilli(stmt.ColumnInt64(2))}, stmt.ColumnInt64(3), stmt.ColumnText(4)})
		return true
	})
	return all, cmp.Or(ctx.Err(), err)
}
