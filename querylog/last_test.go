package querylog

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// Rows of before have the time of their last lookup, and later ones how long after the first it came:
// both are read alike.
func TestTheLastLookupOfARowIsReadAsItIsKept(t *testing.T) {
	t.Parallel()
	later, before := t.TempDir(), t.TempDir()
	s, err := openStore(later)
	if err != nil {
		t.Fatal(err)
	}
	h, at := newSizeHome(30), int64(sizeFirstTime)
	if _, _, err := s.commit(&windowData{number: 100, node: "attic", entries: h.window(100, 200)}); err != nil { // the clock stood at 1970
		t.Fatal(err)
	}
	for range 20 {
		if _, _, err := s.commit(&windowData{number: at, node: "attic", clock: clockMark{wall: at * 1000}, entries: h.window(at, 200)}); err != nil {
			t.Fatal(err)
		}
		at += 10 * sizeWindow
	}
	if n, err := s.number(`SELECT count(*) FROM lookup WHERE last > time`); err != nil || n < 500 {
		t.Fatalf("%d rows have lookups that came again, %v: they test little", n, err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(before, os.DirFS(later)); err != nil {
		t.Fatal(err)
	}
	conn, err := openSQLite(filepath.Join(before, storeName), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range rowTables {
		if err := conn.Exec(`UPDATE ` + table + ` SET last = first - last`); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	middle := time.Unix(sizeFirstTime+100*sizeWindow, 500e6)
	for _, f := range []Filter{{}, {Since: middle}, {Until: middle}, {Since: middle, Until: middle.Add(time.Hour)}} {
		got, want := rows(t, later, f), rows(t, before, f)
		if len(want) < 500 || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: got %d rows, others than the %d of before", f, len(got), len(want))
		}
	}
	answers := func(dir string) (all []any) {
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ctx := context.Background()
		for _, what := range []string{"names", "devices", "vendors"} {
			top, err := r.Top(ctx, what, Filter{Since: middle}, 1000)
			if err != nil || len(top) < 10 {
				t.Fatalf("%d %s, %v", len(top), what, err)
			}
			all = append(all, top)
		}
		asked, err := r.Asked(ctx, middle, []string{"vendor3.example", "edge1.some-service1.example.net"})
		if err != nil {
			t.Fatal(err)
		}
		when := map[Asking]bool{}
		for _, a := range asked {
			when[a] = true
		}
		all = append(all, when)
		if len(when) < 10 {
			t.Fatalf("%d devices and names were asked for", len(when))
		}
		var sums []Sum
		for sum, err := range r.Sums(ctx, SumFilter{Since: middle}) {
			if err != nil {
				t.Fatal(err)
			}
			sums = append(sums, *sum)
		}
		b, err := r.Batch(ctx, 0, BatchOptions{Unlisted: true})
		if err != nil || len(b.Windows) != 21 {
			t.Fatalf("%d windows, %v", len(b.Windows), err)
		}
		return append(all, sums, b)
	}
	got, want := answers(later), answers(before)
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("answer %d: got %.500v, and before %.500v", i, got[i], want[i])
		}
	}
}
