package querylog

import (
	"cmp"
	"context"

	"github.com/ncruces/go-sqlite3"
)

// ImportMarks returns how far a log of another server is imported, the last mark last;
// none for one that never was.
func (r *Reader) ImportMarks(ctx context.Context, key string) (marks []ImportMark, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.store == nil || s.store.version < versionOfImports {
		return nil, nil
	}
	err = s.store.query(`SELECT position, sum FROM import_mark WHERE source = ? ORDER BY position`, []any{key}, func(stmt *sqlite3.Stmt) bool {
		marks = append(marks, ImportMark{stmt.ColumnInt64(0), stmt.ColumnText(1)})
		return true
	})
	return marks, cmp.Or(ctx.Err(), err)
}
