package querylog

import (
	"cmp"
	"context"
	"time"
)

// followEvery is how often Follow looks. An open row is shown within a second
// of its lookup: the journal is written every 100 ms.
const followEvery = 500 * time.Millisecond

// Follow calls fn with the rows f chooses, then with those to come, until ctx
// is done or fn fails. Each row comes once when it is closed; before that it
// comes marked open, when it is new and whenever it has grown, at most every
// half second. The error is ctx's or fn's, or says what could not be read.
func (r *Reader) Follow(ctx context.Context, f Filter, fn func(Row) error) error {
	var err error
	var after int64 // the last closed row shown
	shown := map[int64]uint64{}
	tails := map[int64]*tail{}
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		if after, err = r.followOnce(ctx, f, after, shown, tails, fn); err != nil {
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

func (r *Reader) followOnce(ctx context.Context, f Filter, after int64, shown map[int64]uint64, tails map[int64]*tail,
	fn func(Row) error) (int64, error) {
	s, err := r.look(ctx, tails)
	if err != nil {
		return after, err
	}
	defer s.close()
	if f, err = f.normal(); err != nil {
		return after, err
	}
	var failed error
	err = s.rows(f, after, func(row Row) bool {
		if row.Open && shown[row.ID] == row.Count {
			return true
		}
		failed = fn(row)
		shown[row.ID] = row.Count
		return failed == nil
	})
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
