package querylog

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"
)

// Asked agrees with all rows gone through one by one.
func TestAskedAgreesWithTheSlowWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, start, l := some(t)
		defer l.Close()
		type key struct{ device, name string }
		for _, names := range [][]string{{".xiaomi.com"}, {"a", "nobody"}, {".example", "*.com", "e"}, {"no such name"}} {
			for _, since := range []time.Time{{}, start.Add(50 * time.Second)} {
				want := map[key]int64{}
				for _, row := range rows(t, dir, Filter{Since: since}) {
					for _, name := range names {
						f := newNameFilter(name)
						if f.matches(row.Name) || f.matches(row.Alias) {
							k := key{row.Device, row.Name}
							want[k] = max(want[k], row.Last.UnixMilli())
						}
					}
				}
				r, err := OpenReader(dir)
				if err != nil {
					t.Fatal(err)
				}
				all, err := r.Asked(context.Background(), since, names)
				r.Close()
				got := map[key]int64{}
				for _, a := range all {
					got[key{a.Device, a.Name}] = a.Last.UnixMilli()
				}
				if err != nil || len(got) != len(all) || !maps.Equal(got, want) {
					t.Errorf("%v since %v: got %v, %v, want %v", names, since, all, err, want)
				}
			}
		}
		for _, f := range []Filter{{Names: []string{".xiaomi.com", "a"}}, {Names: []string{"nobody"}}} {
			var want []Row
			for _, row := range rows(t, dir, Filter{}) {
				if one, _ := f.normal(); one.matches(&row) {
					want = append(want, row)
				}
			}
			if got := rows(t, dir, f); len(got) != len(want) {
				t.Errorf("%v: %d rows, want %d", f.Names, len(got), len(want))
			}
		}
	})
}
