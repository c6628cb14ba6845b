//go:build unix

package querylog

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
)

// onlyThere are those of some rows whose device is there.
func onlyThere(rows iter.Seq2[int, *entry], there func(device uint64) bool) iter.Seq2[int, *entry] {
	return func(yield func(int, *entry) bool) {
		n := 0
		for _, e := range rows {
			if there(e.Binding.ID) {
				if !yield(n, e) {
					return
				}
				n++
			}
		}
	}
}

// both are the rows of one and then those of another.
func both(one, other iter.Seq2[int, *entry]) iter.Seq2[int, *entry] {
	return func(yield func(int, *entry) bool) {
		n := 0
		for _, rows := range []iter.Seq2[int, *entry]{one, other} {
			for _, e := range rows {
				if !yield(n, e) {
					return
				}
				n++
			}
		}
	}
}

// What the index of hours leaves out has no row that is chosen: pages are those of the slow way, also while
// totals are being deleted, and in a store that counts totals since some window only.
func TestPagesByTheIndexOfHoursAgreeWithTheSlowWay(t *testing.T) {
	t.Parallel()
	const hours = 48
	home, dir := newSizeHome(30), t.TempDir()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	at := int64(sizeFirstTime)
	for range hours * 4 { // a window in each quarter of an hour
		hour := uint64(at / 3600)
		there := func(device uint64) bool { return device == 1 || device <= 5 && hour%(device*3) == 0 }
		if _, _, err := s.commit(&windowData{number: at, node: "home", clock: clockMark{steady: at * 1000, wall: at * 1000}, entries: onlyThere(home.window(at, 40), there)}); err != nil {
			t.Fatal(err)
		}
		at += 900
	}
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	of := func(devices ...int) (all []DeviceSpan) {
		for _, d := range devices {
			all = append(all, DeviceSpan{Device: home.devices[d].Device})
		}
		return all
	}
	filters := []Filter{
		{Devices: of(0)}, {Devices: of(3)}, {Devices: of(4)}, {Devices: of(2, 4)}, {Devices: of(9)}, {Devices: of(4), Verdict: "block"}, {Verdict: "pass"}, {Verdict: "answer"},
		{Vendor: "vendor 3"}, {Vendor: "Vendor 3", Devices: of(4)}, {Vendor: "nobody"}, {Devices: of(3), Name: ".vendor1.example"}, {Devices: of(3), Until: time.Unix(at-20*3600, 0)},
		{Devices: []DeviceSpan{{Device: home.devices[3].Device, From: time.Unix(at-30*3600, 0)}}},
	}
	walk := func(f Filter) (ids []int64) {
		for more := true; more; {
			var page []Row
			if page, more, err = r.Page(t.Context(), f, 70, false); err != nil {
				t.Fatal(err)
			}
			for i := range page {
				ids = append(ids, page[i].ID)
				f.Before = page[i].ID
			}
		}
		return ids
	}
	check := func(what string) {
		t.Helper()
		some := 0
		for _, f := range filters {
			got := walk(f)
			slow := f
			slow.scan = true
			if want := walk(slow); !slices.Equal(got, want) {
				t.Errorf("%s: %+v: got %d rows, want %d", what, f, len(got), len(want))
			}
			some += min(len(got), 1)
		}
		if some < 9 {
			t.Errorf("%s: %d of %d filters choose rows: the test shows little", what, some, len(filters))
		}
	}
	looked := func(f Filter) (part float64) {
		t.Helper()
		snapshot, err := r.look(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer snapshot.close()
		n, err := f.normal()
		if err != nil {
			t.Fatal(err)
		}
		x, err := newHourIndex(snapshot.store, &n)
		if err != nil {
			t.Fatal(err)
		}
		all := span{after: int64(sizeFirstTime)<<rowBits - 1, end: at << rowBits}
		if x == nil {
			return 1
		}
		spans, err := x.spans(all)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range spans {
			part += float64(p.end-p.after) / float64(all.end-all.after)
		}
		return part
	}
	check("all totals")
	// The clock is set back by hours, and by days in the middle of a window.
	for i, back := range []int64{0, 7 * 3600, 7*3600 - 60, 0} {
		entries := onlyThere(home.window(at-back, 40), func(device uint64) bool { return device <= 5 })
		if i == 2 {
			entries = both(entries, home.window(at-50*3600, 40))
		}
		if _, _, err := s.commit(&windowData{number: at, node: "home", clock: clockMark{steady: at * 1000, wall: at * 1000}, entries: entries}); err != nil {
			t.Fatal(err)
		}
		at += 900
	}
	check("a clock that is set")
	for _, c := range []struct {
		f    Filter
		most float64
	}{{Filter{Devices: of(9)}, 0.05}, {Filter{Devices: of(4)}, 0.25}, {Filter{Verdict: "answer"}, 0.05}, {Filter{Vendor: "nobody"}, 0.05}} {
		if got := looked(c.f); got > c.most {
			t.Errorf("%+v: %.2f of the rows are looked at, want %v at most", c.f, got, c.most)
		}
	}
	// Totals go from the oldest hour on, in the middle of one; their key goes with the last of it.
	middle := int64(sizeFirstTime)/3600 + hours/3
	if err := s.exec(`DELETE FROM total WHERE id < ?`, totalID(middle, 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.exec(`DELETE FROM total WHERE id IN (SELECT id FROM total WHERE id < ? ORDER BY id LIMIT 3)`, totalID(middle+1, 0)); err != nil {
		t.Fatal(err)
	}
	check("some totals are deleted")
	if err := s.exec(`DELETE FROM total_key WHERE id NOT IN (SELECT id & ? FROM total)`, totalKeyMask); err != nil {
		t.Fatal(err)
	}
	check("and their keys")
	// The owner of a domain is in rows, and in no totals.
	if err := s.exec(`UPDATE annotation SET tier = 'owner' WHERE vendor = 'Vendor 3'`); err != nil {
		t.Fatal(err)
	}
	if err := s.exec(`UPDATE total_key SET vendor = '' WHERE vendor = 'Vendor 3'`); err != nil {
		t.Fatal(err)
	}
	check("a vendor that owns domains")
	if err := s.exec(`DELETE FROM total WHERE id < ?`, totalID(int64(sizeFirstTime)/3600+hours/2, 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.setMeta(metaTotalsFrom, int64(sizeFirstTime)+hours/2*3600); err != nil {
		t.Fatal(err)
	}
	check("totals since a window")
}

// An import brings totals of hours whose own were deleted: pages have the rows of all of them, by whatever the totals were deleted, and
// in a store of a program that did not keep up to which hour.
func TestPagesHaveRowsOfHoursWhoseTotalsWereDeletedBeforeAnImport(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		remove func(s *storer, at time.Time) error
		most   int64 // of the hours deleted, from the first on, that are kept as such
	}{
		"by age": {func(s *storer, at time.Time) error {
			for {
				if done, err := deleteTotals(at)(s); done || err != nil {
					return err
				}
			}
		}, 12},
		"for size": {func(s *storer, at time.Time) error {
			for s.retention.batch = 20; ; {
				if done, err := deleteTotalsOverLimit(1, 0)(s); done || err != nil {
					return err
				}
				if oldest, err := s.store.number(`SELECT min(id) FROM total`); err != nil || oldest >= totalID(at.UnixMilli()/hourMilli, 0) {
					return err
				}
			}
		}, 20},
		"by an earlier program": {func(s *storer, at time.Time) error {
			return errors.Join(s.store.exec(`DELETE FROM total WHERE id < ?`, totalID(at.UnixMilli()/hourMilli, 0)), s.store.exec(`DELETE FROM meta WHERE key = '`+metaTotalsDeleted+`'`))
		}, 25},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, dir := newSizeHome(30), t.TempDir()
			st, err := openStore(dir)
			if err != nil {
				t.Fatal(err)
			}
			start, at := time.Unix(sizeFirstTime, 0), int64(sizeFirstTime)
			for range 24 * 4 { // a window in each quarter of an hour
				if _, _, err := st.commit(&windowData{number: at, node: "home", clock: clockMark{steady: at * 1000, wall: at * 1000}, entries: home.window(at, 40)}); err != nil {
					t.Fatal(err)
				}
				at += 900
			}
			f := Filter{Devices: []DeviceSpan{{Device: home.devices[3].Device}}}
			want := len(pageRowsOf(t, dir, f, 10))
			check := func(what string) {
				t.Helper()
				if got := len(pageRowsOf(t, dir, f, 10)); got != want || want < 24 {
					t.Errorf("%s: got %d rows, want %d", what, got, want)
				}
			}
			s := &storer{store: st, l: &Log{o: Options{Now: time.Now}}}
			s.retention.batch = 500
			before, _ := st.number(`SELECT count(*) FROM total`)
			if err := c.remove(s, start.Add(12*time.Hour)); err != nil {
				t.Fatal(err)
			}
			if after, _ := st.number(`SELECT count(*) FROM total`); after >= before {
				t.Fatalf("got %d totals of %d, want fewer", after, before)
			}
			st.close()
			check("totals deleted")
			l := open(t, Options{Dir: dir, Retention: Retention{Listed: -1, Unlisted: -1, Totals: -1}})
			var in []ImportedLookup
			for h := range 6 {
				in = append(in, elsewhere(t, start.Add(time.Duration(h+2)*time.Hour+10*time.Minute), "192.168.1.7", "shop.example", blocklists.Pass))
			}
			imports(t, l, importOf(t, 0, in...))
			closeLog(t, l)
			check("imported")
			if st, err = openStore(dir); err != nil {
				t.Fatal(err)
			}
			defer st.close()
			first := start.UnixMilli() / hourMilli
			if got, err := st.meta(metaTotalsDeleted); err != nil || got < first || got >= first+c.most {
				t.Errorf("got hour %d as the last of which totals were deleted, %v, want one of 0 to %d", got-first, err, c.most-1)
			}
		})
	}
}

// pageRowsOf are the rows of all pages that f chooses.
func pageRowsOf(t testing.TB, dir string, f Filter, n int) (all []Row) {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		var page []Row
		if page, more, err = r.Page(t.Context(), f, n, false); err != nil {
			t.Fatal(err)
		}
		for i := range page {
			all = append(all, page[i])
			f.Before = page[i].ID
		}
	}
	return all
}

// What is known of windows is kept as long as rows of listed names.
func TestPagesHaveRowsThatAreKeptLongerThanTheirWindows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, p, a := t.TempDir(), policy(t, testList), phone(6)
		l := open(t, Options{Dir: dir, Retention: Retention{Listed: 24 * time.Hour, Unlisted: 30 * 24 * time.Hour, Totals: 1000 * 24 * time.Hour}})
		defer l.Close()
		start := time.Now()
		const asked = 16
		for range asked {
			l.Append([]Record{lookup(t, p, time.Now(), a, "shop.example")})
			time.Sleep(6 * time.Hour)
		}
		l.Flush()
		early := start.Add(27 * time.Hour)
		for _, c := range []struct {
			f    Filter
			want int
		}{
			{Filter{}, asked}, {Filter{Verdict: "pass"}, asked}, {Filter{Devices: []DeviceSpan{{Device: a.Device}}}, asked}, {Filter{Verdict: "block"}, 0}, {Filter{Devices: []DeviceSpan{{Device: "nobody"}}}, 0},
			{Filter{Since: start.Add(time.Hour), Until: early, Verdict: "pass"}, 4}, {Filter{Until: early}, 5}, {Filter{Since: early}, asked - 5},
		} {
			if got := len(pageRowsOf(t, dir, c.f, 10)); got != c.want {
				t.Errorf("%+v: got %d rows, want %d", c.f, got, c.want)
			}
			if got := len(rows(t, dir, c.f)); got != c.want {
				t.Errorf("%+v, upwards: got %d rows, want %d", c.f, got, c.want)
			}
		}
		closeLog(t, l)
	})
}

// BenchmarkPagesAtSize is what a page of 100 rows takes of a large store, which is made where QUERYLOG_SIZE_DIR
// has none. QUERYLOG_ROWS says how many rows it gets. Beside each is the slow way.
func BenchmarkPagesAtSize(b *testing.B) {
	dir := b.TempDir()
	if root := os.Getenv("QUERYLOG_SIZE_DIR"); root != "" {
		dir = filepath.Join(root, "telltale")
	}
	t := &sizeTrial{b: b, home: newSizeHome(20), dir: dir, at: sizeFirstTime}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	var err error
	if t.s, err = openStore(dir); err != nil {
		b.Fatal(err)
	}
	defer t.s.close()
	if rows, err := strconv.Atoi(os.Getenv("QUERYLOG_ROWS")); t.s.position == 0 {
		if err != nil {
			rows = 100_000
		}
		t.fill(rows)
	}
	for more := true; more; { // as a running log makes them
		if more, err = t.s.nameSetStep(); err != nil {
			b.Fatal(err)
		}
	}
	const longGone, never, daily = "mac:02:ff:00:00:00:01", "mac:02:ff:00:00:00:02", "mac:02:ff:00:00:00:03"
	if n, err := t.s.number(`SELECT count(*) FROM binding WHERE id = 1000`); err == nil && n == 0 { // a device that asked at the beginning alone
		err = t.s.transact(func() error {
			if err := t.s.texts(`INSERT INTO binding SELECT 1000, ?, 'gone', '192.168.1.250', '', '', source, confidence, since, until, seen, grp, nolog FROM binding LIMIT 1`, nil, longGone); err != nil {
				return err
			}
			return t.s.exec(`UPDATE unlisted SET binding = 1000 WHERE id IN (SELECT id FROM unlisted ORDER BY id LIMIT 50)`)
		})
		if err == nil {
			err = t.s.texts(`INSERT INTO total_key (node, device, vendor, product, purpose, tier, verdict, last) SELECT 1, ?, '', '', '', '', 0, min(id) >> 24 FROM total`, nil, longGone)
		}
		if err == nil {
			err = t.s.exec(`INSERT INTO total SELECT (min(id) >> 24) << 24 | (SELECT max(id) FROM total_key), 50, 50, 0, 1, 0, 1 FROM total`)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if n, err := t.s.number(`SELECT count(*) FROM binding WHERE id = 1001`); err == nil && n == 0 { // a device that asks once a day
		err = t.s.transact(func() error {
			if err := t.s.texts(`INSERT INTO binding SELECT 1001, ?, 'daily', '192.168.1.251', '', '', source, confidence, since, until, seen, grp, nolog FROM binding LIMIT 1`, nil, daily); err != nil {
				return err
			}
			if err := t.s.exec(`UPDATE unlisted SET binding = 1001 WHERE id IN (SELECT max(id) FROM unlisted GROUP BY (id >> 20) / 86400)`); err != nil {
				return err
			}
			return t.s.texts(`INSERT INTO total_key (node, device, vendor, product, purpose, tier, verdict, last) SELECT 1, ?, '', '', '', '', 0, max(id) >> 24 FROM total`, nil, daily)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	err = t.s.texts(`INSERT OR REPLACE INTO total SELECT (first / 3600000) << 24 | (SELECT id FROM total_key WHERE device = ?), count, 1, 0, 1, first % 3600000, first % 3600000 + CASE WHEN last > 0 THEN last - first ELSE -last END FROM unlisted WHERE binding = 1001`, nil, daily)
	if err != nil {
		b.Fatal(err)
	}
	r, err := OpenReader(dir)
	if err != nil {
		b.Fatal(err)
	}
	device := func(name string) []DeviceSpan { return []DeviceSpan{{Device: name}} }
	middle := int64(0)
	if err := t.s.texts(`SELECT id FROM window ORDER BY id LIMIT 1 OFFSET (SELECT count(*) / 2 FROM window)`, func(stmt *sqlite3.Stmt) { middle = stmt.ColumnInt64(0) << rowBits }); err != nil {
		b.Fatal(err)
	}
	for _, q := range []struct {
		what string // that ends with -never: there are no such rows
		f    Filter
	}{
		{"newest", Filter{}}, {"middle", Filter{Before: middle}}, {"device", Filter{Devices: device(t.home.devices[7].Device)}}, {"device-long-gone", Filter{Devices: device(longGone)}},
		{"device-never", Filter{Devices: device(never)}}, {"device-daily", Filter{Devices: device(daily)}}, {"vendor", Filter{Vendor: "Vendor 3"}}, {"vendor-never", Filter{Vendor: "Vendor 9999"}}, {"verdict-block", Filter{Verdict: "block"}},
		{"verdict-never", Filter{Verdict: "answer"}}, {"device-vendor-verdict", Filter{Devices: device(t.home.devices[7].Device), Vendor: "Vendor 21", Verdict: "block"}},
		{"device-vendor-never", Filter{Devices: device(t.home.devices[7].Device), Vendor: "Vendor 9"}}, {"name", Filter{Name: "=metrics5.vendor5.example"}}, {"name-never", Filter{Name: "=nobody.example"}},
	} {
		for _, scan := range []bool{false, true} {
			f := q.f
			f.scan = scan
			if scan && os.Getenv("QUERYLOG_SLOW") == "" {
				continue
			}
			b.Run(fmt.Sprintf("%s/scan=%v", q.what, scan), func(b *testing.B) {
				begun, n := cpu(), 0
				for b.Loop() {
					rows, _, err := r.Page(b.Context(), f, 100, false)
					if err != nil {
						b.Fatal(err)
					}
					n = len(rows)
				}
				b.ReportMetric(float64(cpu()-begun)/1e6/float64(b.N), "cpu-ms/page")
				b.ReportMetric(float64(n), "rows")
				if (n == 0) != strings.HasSuffix(q.what, "-never") {
					b.Errorf("got %d rows", n)
				}
			})
		}
	}
}
