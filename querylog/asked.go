package querylog

import (
	"cmp"
	"context"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// An Asking says that a device asked for a name.
type Asking struct {
	Device string // its identity, as rows have it
	Name   string
	Last   time.Time // when last
}

// Asked returns which devices asked for which of some names, each in a form of Filter.Name, since
// a time. Their order is not defined.
func (r *Reader) Asked(ctx context.Context, since time.Time, names []string) ([]Asking, error) {
	if len(names) == 0 {
		return nil, nil
	}
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	f, err := (&Filter{Since: since, Names: names}).normal()
	if err != nil {
		return nil, err
	}
	type key struct{ device, name string }
	last := map[key]time.Time{}
	add := func(device, name string, at time.Time) {
		if k := (key{device, name}); at.After(last[k]) {
			last[k] = at
		}
	}
	err = s.eachSpan(&f, func(db *database, in span) error {
		for _, table := range rowTables {
			where, args := f.where(db.layout, table, in)
			sql := `SELECT ` + deviceSQL + `, coalesce(` + db.layout.name() + `, ''), max(` + db.layout.named("last") + `)` + db.layout.from(table, where) + ` GROUP BY 1, 2`
			err := db.query(sql, append([]any{in.after, in.end}, args...), func(stmt *sqlite3.Stmt) bool {
				add(stmt.ColumnText(0), stmt.ColumnText(1), fromMilli(stmt.ColumnInt64(2)))
				return true
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	for _, row := range s.openRows(&f) {
		add(row.Device, row.Name, row.Last.Time)
	}
	var all []Asking
	for k, at := range last {
		all = append(all, Asking{k.device, k.name, at})
	}
	return all, nil
}
