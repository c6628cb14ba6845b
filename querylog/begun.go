package querylog

import (
	"cmp"
	"context"
	"iter"
)

// Begun returns the rows that f chooses in which an attempt begins: of listed names alone
// where listed is set. Of each it has when, which device and which name, what is said of
// the name, what was decided, and the TTL that was served; all else is empty. A Row is
// valid until the next.
func (r *Reader) Begun(ctx context.Context, f Filter, listed bool) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		s, err := r.look(ctx, nil)
		if err == nil {
			defer s.close()
			if f, err = f.normal(); err == nil {
				f.begun, f.says = true, begunColumns
				if listed {
					f.only = "listed"
				}
				err = s.rows(f, 0, func(row Row) bool { return yield(&row, nil) })
			}
		}
		if err != nil {
			yield(nil, cmp.Or(ctx.Err(), err))
		}
	}
}
