package querylog

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Rows behind an ID are all that came later, each once, stored or not.
func TestRowsBehindAnID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		for range 5 {
			l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "a.example"), lookup(t, nil, time.Now(), phone(1), "b.example")})
			time.Sleep(2 * time.Minute)
		}
		l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "c.example")})
		time.Sleep(time.Second)
		all := rows(t, dir, Filter{})
		if len(all) != 11 || !all[10].Open {
			t.Fatalf("got %d rows", len(all))
		}
		for i := range all {
			for _, limit := range []int{0, 3} {
				want := all[i+1:]
				if limit > 0 {
					want = want[max(0, len(want)-limit):]
				}
				if got := rows(t, dir, Filter{After: all[i].ID, Limit: limit}); !slices.Equal(got, want) {
					t.Errorf("behind row %d, at most %d: got %d rows, want %d", i, limit, len(got), len(want))
				}
			}
		}
		closeLog(t, l)
	})
}
