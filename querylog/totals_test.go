package querylog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"telltale/blocklists"
)

func totals(t *testing.T, dir string, f TotalsFilter) (all []Total) {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	for total, err := range r.Totals(context.Background(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, total)
	}
	if !slices.IsSortedFunc(all, func(a, b Total) int { return a.Hour.Compare(b.Hour.Time) }) {
		t.Error("totals are not in the order of their hours")
	}
	slices.SortFunc(all, compareTotals)
	return all
}

func compareTotals(a, b Total) int {
	return cmp.Or(a.Hour.Compare(b.Hour.Time), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Vendor, b.Vendor),
		cmp.Compare(a.Product, b.Product), cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Verdict, b.Verdict))
}

// totalsOfRows are what totals must be, made of all rows.
func totalsOfRows(t *testing.T, dir string, f TotalsFilter) (all []Total) {
	sums := totalSums{}
	for _, r := range rows(t, dir, Filter{}) {
		sums.add(&r)
	}
	for _, sum := range sums {
		if f.matches(&sum.Total) {
			all = append(all, sum.Total)
		}
	}
	slices.SortFunc(all, compareTotals)
	return all
}

func sameTotals(t *testing.T, when string, got, want []Total) {
	t.Helper()
	text := func(a Total) string {
		return fmt.Sprintf("%s %s %s/%s/%s/%s %s: %d lookups, %d attempts, %d names, %s to %s", a.Hour, a.Device, a.Vendor, a.Product, a.Purpose, a.Tier, a.Verdict,
			a.Lookups, a.Attempts, a.Names, a.First, a.Last)
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("%s: %d: got nothing, want %s", when, i, text(want[i]))
		case i >= len(want):
			t.Errorf("%s: %d: got %s, want nothing", when, i, text(got[i]))
		case text(got[i]) != text(want[i]):
			t.Errorf("%s: %d: got %s\nwant %s", when, i, text(got[i]), text(want[i]))
		default:
			continue
		}
		return
	}
}

const vendorList = `#@ vendor=Xiaomi product=MIUI tier=telemetry source=https://example.org/claims
n1.vendor1.example #@ purpose=analytics
n8.vendor1.example #@ purpose=analytics
n2.vendor2.example #@ purpose=ads
#@ vendor=Samsung product=TV tier=mixed source=https://example.org/claims
n3.vendor3.example #@ purpose=updates
vendor4.example #@ purpose=analytics
`

// Totals are the sums of rows by hour, also of what is not stored yet, behind kills
// and restarts, with each name counted once.
func TestTotalsAreTheSumsOfRows(t *testing.T) {
	t.Parallel()
	p := policy(t, vendorList)
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			keep := Options{Dir: dir, Retention: Retention{Listed: -1, Unlisted: -1, MaxBytes: -1}}
			l := open(t, keep)
			h := newAskers(seed, 2*time.Minute, time.Now())
			rng := rand.New(rand.NewPCG(seed, 9))
			begun := time.Now()
			for range 8 {
				for range 30 + rng.IntN(100) {
					r := h.next(p)
					if d := time.Until(r.Time); d > 0 {
						time.Sleep(d)
					}
					l.Append([]Record{r})
				}
				switch rng.IntN(4) {
				case 0:
					closeLog(t, l)
					l = open(t, keep)
				case 1:
					time.Sleep(time.Second)
					keep.Dir = killed(t, l, keep.Dir)
					l = open(t, keep)
				case 2:
					time.Sleep(90 * time.Minute)
					h.now = time.Now()
				}
				l.Flush()
				since := begun.Add(time.Duration(rng.Int64N(int64(10 * time.Hour))))
				f := []TotalsFilter{{}, {Since: since, Until: since.Add(3 * time.Hour)}, {Devices: []string{"device 1", "none"}}, {Vendor: "xiaomi"}}[rng.IntN(4)]
				sameTotals(t, fmt.Sprintf("seed %d, %+v", seed, f), totals(t, keep.Dir, f), totalsOfRows(t, keep.Dir, f))
			}
			closeLog(t, l)
			got := totals(t, keep.Dir, TotalsFilter{})
			sameTotals(t, "at the end", got, totalsOfRows(t, keep.Dir, TotalsFilter{}))
			if len(got) < 20 {
				t.Errorf("got %d totals: the traffic tests little", len(got))
			}
		})
	}
}

// Totals stay when rows go, and go themselves after their time. Names of unlisted
// rows, and whose domain they are, are in none.
func TestTotalsOutliveRows(t *testing.T) {
	t.Parallel()
	p := policy(t, vendorList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, Retention: Retention{Listed: time.Hour, Unlisted: time.Hour, Totals: 72 * time.Hour}})
		for range 4 {
			l.Append([]Record{lookup(t, p, time.Now(), phone(1), "n1.vendor1.example"), lookup(t, p, time.Now(), phone(1), "private.example")})
			time.Sleep(2 * time.Hour)
		}
		l.Flush()
		before := totals(t, dir, TotalsFilter{})
		if len(before) != 8 {
			t.Fatalf("got %d totals, want 8", len(before))
		}
		time.Sleep(28 * time.Hour)
		if n := len(rows(t, dir, Filter{})); n != 0 {
			t.Errorf("got %d rows, want none", n)
		}
		sameTotals(t, "when the rows are gone", totals(t, dir, TotalsFilter{}), before)
		time.Sleep(40 * time.Hour)
		if got := totals(t, dir, TotalsFilter{}); len(got) == 0 || len(got) > 6 {
			t.Errorf("got %d totals, want those of the last three days", len(got))
		}
		time.Sleep(8 * time.Hour)
		closeLog(t, l)
		s := openForTest(t, dir)
		for _, table := range []string{"total", "total_key", "total_name"} {
			if n, err := s.number(`SELECT count(*) FROM ` + table); n != 0 || err != nil {
				t.Errorf("got %d lines in %s, %v, want none", n, table, err)
			}
		}
	})
}

func openForTest(t testing.TB, dir string) *store {
	t.Helper()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	return s
}

// A store of version 2 gets totals for what comes from then on; what is from before is
// counted from its rows, once.
func TestAStoreWithoutTotalsGetsThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, storeName), unpack(t, "store-2.db.gz"), 0o600); err != nil {
		t.Fatal(err)
	}
	sameTotals(t, "as it is", totals(t, dir, TotalsFilter{}), totalsOfRows(t, dir, TotalsFilter{}))
	l := open(t, Options{Dir: dir, Retention: Retention{Listed: -1, Unlisted: -1, MaxBytes: -1}})
	l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "x.example")})
	closeLog(t, l)
	got := totals(t, dir, TotalsFilter{})
	sameTotals(t, "brought forward", got, totalsOfRows(t, dir, TotalsFilter{}))
	if last := got[len(got)-1]; last.Attempts != 1 || last.Names != 1 || last.Lookups != 1 {
		t.Errorf("got %+v of the new lookup", last)
	}
	if !slices.ContainsFunc(events(t, dir), func(e Event) bool { return e.Kind == KindAttempts }) {
		t.Error("the ledger does not say that attempts are counted from now on")
	}
	s := openForTest(t, dir)
	if n, err := s.number(`SELECT count(*) FROM total`); n != 1 || err != nil {
		t.Errorf("got %d stored totals, %v, want the new one", n, err)
	}
}

// What is imported into a store of version 2 is in its totals once: the windows of it
// have numbers below those of the rows that are in no totals.
func TestAnImportIntoAStoreWithoutTotalsCountsOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, storeName), unpack(t, "store-2.db.gz"), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := rows(t, dir, Filter{})[0].Time.Time
	l := open(t, Options{Dir: dir, Retention: Retention{Listed: -1, Unlisted: -1, Totals: -1, MaxBytes: -1}})
	imports(t, l, importOf(t, 0, elsewhere(t, begin.Add(-time.Hour), "192.168.1.7", "shop.example", blocklists.Pass), elsewhere(t, begin, "192.168.1.7", "shop.example", blocklists.Pass)))
	closeLog(t, l)
	sameTotals(t, "behind the import", totals(t, dir, TotalsFilter{}), totalsOfRows(t, dir, TotalsFilter{}))
}

// Totals have a quarter of the store's largest size before rows of listed names go
// for it.
func TestTotalsHaveTheirPlaceInTheSize(t *testing.T) {
	dir := t.TempDir()
	s := openForTest(t, dir)
	if err := s.transact(func() error {
		return s.exec(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 39999) INSERT INTO total SELECT (400000 + i) << 24 | 1, 1, 1, 0, 1, 0, 0 FROM n`)
	}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.commit(&windowData{number: 1, node: "attic", entries: foldOf(listed(t, 4000)).entries}); err != nil {
		t.Fatal(err)
	}
	size, err := s.size()
	if err != nil {
		t.Fatal(err)
	}
	st := &storer{store: s, l: &Log{o: Options{Now: time.Now}}}
	st.retention.batch = 500
	limit := size - 4096
	for i, step := range []func(*storer) (bool, error){deleteTotalsOverLimit(limit, totalsShare), deleteOverLimit("listed", limit)} {
		for done := false; !done; {
			if done, err = step(st); err != nil {
				t.Fatal(i, err)
			}
		}
	}
	left, _ := s.number(`SELECT count(*) FROM total`)
	rows, _ := s.number(`SELECT count(*) FROM listed`)
	if left < limit/totalsShare/totalBytes || left >= 40000 || rows != 4000 || st.retention.deleted.totals != 40001-left { // one is of the rows
		t.Errorf("got %d totals and %d rows left of a store of %d bytes", left, rows, size)
	}
}

// What a device asked is in no total once it is forgotten; others' are left.
func TestForgottenTotals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		other := phone(2)
		other.Device = "tv"
		for range 3 {
			l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "x.example"), lookup(t, nil, time.Now(), other, "x.example")})
			time.Sleep(time.Hour)
		}
		closeLog(t, l)
		s := openForTest(t, dir)
		for done, n := false, 0; !done; n++ {
			var err error
			if _, done, err = s.forgetTotals(&DeviceSpan{Device: "mac:02:00:00:00:00:01"}, 0, 2); err != nil || n > 5 {
				t.Fatal(err)
			}
		}
		if got := totals(t, dir, TotalsFilter{}); len(got) != 3 || got[0].Device != "tv" {
			t.Errorf("got %+v, want three of the TV", got)
		}
		if n, _ := s.number(`SELECT count(*) FROM total_name`); n > 3 {
			t.Errorf("got %d names, want those of the TV", n)
		}
		tv := totals(t, dir, TotalsFilter{})
		span := &DeviceSpan{Device: "tv", From: tv[0].Hour.Add(time.Minute), Until: tv[2].Hour.Time}
		if n, done, err := s.forgetTotals(span, 0, 10); n != 1 || !done || err != nil {
			t.Errorf("forgot %d totals of a span, %v, %v", n, done, err)
		}
		if got := totals(t, dir, TotalsFilter{}); len(got) != 2 || got[0] != tv[0] || got[1] != tv[2] {
			t.Errorf("got %+v, want the first and the last hour of the TV", got)
		}
	})
}

// A device is present in the hours in which it asked, whatever it asked.
func TestPresenceIsTheHoursInWhichADeviceAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + time.Minute)))
		begun := time.Now()
		p := policy(t, vendorList)
		l.Append([]Record{lookup(t, p, begun, phone(1), "n1.vendor1.example"), lookup(t, p, begun, phone(1), "x.example")})
		time.Sleep(2 * time.Hour)
		l.Append([]Record{lookup(t, p, time.Now(), phone(1), "x.example"), lookup(t, p, time.Now(), nil, "x.example")})
		closeLog(t, l)
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		all, err := r.Presence(context.Background(), begun, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range all {
			got = append(got, fmt.Sprintf("%v %s %d", p.Hour.Sub(begun.Truncate(time.Hour)), p.Device, p.Lookups))
		}
		if want := []string{"0s mac:02:00:00:00:00:01 2", "2h0m0s addr:192.168.1.7 1", "2h0m0s mac:02:00:00:00:00:01 1"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// What is added from rows to a page of stored totals is of the page's hours alone: the hour at which it ends is
// the next page's.
func TestAPageOfTotalsEndsBeforeItsEnd(t *testing.T) {
	rest := totalSums{}
	for hour := range int64(5) {
		rest.add(&Row{Time: Time{time.UnixMilli(hour*hourMilli + 1)}, Last: Time{time.UnixMilli(hour*hourMilli + 1)}, Count: 1, Device: "tv", Verdict: "block"})
	}
	var got []int64
	for _, page := range []totalPage{{low: 1, end: 2}, {low: 2, end: 4}} {
		page.each(&TotalsFilter{}, rest, func(t *Total) bool { got = append(got, t.Hour.UnixMilli()/hourMilli); return true })
	}
	if !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("got totals of hours %d, want 1, 2, 3, each once", got)
	}
}

// A store that had no totals at first says when they began, also when the windows of that time are deleted.
func TestWhenTotalsBeganOutlivesWindows(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		began := time.Now().Add(3 * time.Hour)
		run := func(hours int) {
			l := open(t, Options{Dir: dir, Retention: Retention{Listed: 24 * time.Hour}})
			for range hours {
				l.Append([]Record{lookup(t, p, time.Now(), phone(6), "tracker.example")})
				time.Sleep(time.Hour)
			}
			closeLog(t, l)
		}
		run(6)
		s, err := openStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		from, err := s.number(`SELECT min(id) FROM window WHERE first >= ?`, began.UnixMilli())
		if err := errors.Join(err, s.setMeta(metaTotalsFrom, from), s.close()); err != nil { // as if an earlier program had written all before
			t.Fatal(err)
		}
		totalsOf := func() time.Time {
			r, err := OpenReader(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			c, err := r.Coverage(t.Context(), began, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return c.Totals.Time
		}
		want := totalsOf()
		if !want.Equal(began.Truncate(time.Hour)) {
			t.Errorf("totals began %v, want %v", want, began)
		}
		run(24*2 + 20)
		if left := rows(t, dir, Filter{Until: began.Add(time.Hour)}); len(left) != 0 {
			t.Fatalf("%d rows are left of the time in which totals began", len(left))
		}
		if got := totalsOf(); !got.Equal(want) {
			t.Errorf("with its windows deleted, totals began %v, want %v", got, want)
		}
	})
}

// What a number stands for is read again where another process has written since: it may be another device's
// after one was forgotten. A reader of one moment has the totals of that moment.
func TestTotalsAreOfWhatTheirNumberStandsFor(t *testing.T) {
	dir := t.TempDir()
	s := openForTest(t, dir)
	node, err := s.numbered("node", s.nodes, "n")
	if err != nil {
		t.Fatal(err)
	}
	const first = sizeFirstTime / 3600
	err = s.transact(func() error {
		err := s.setMeta(metaTotalsFrom, 1)
		for _, hour := range []int64{first, first + totalsPage - 1, first + 3*totalsPage} { // the first two are of one page
			begin := hour * hourMilli
			sum := &windowSum{of: totalOf{node: node, device: "phone", verdict: 2}, lookups: 1, first: begin, last: begin}
			err = cmp.Or(err, s.totals.store(hour, sum))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	moment, err := r.AtOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer moment.Close()
	read := func(r *Reader, meanwhile string) (all []Total) {
		for total, err := range r.Totals(t.Context(), TotalsFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if all = append(all, total); len(all) == 1 {
				if err := s.exec(meanwhile); err != nil {
					t.Fatal(err)
				}
			}
		}
		return all
	}
	got := read(r, `UPDATE total_key SET device = 'tv'`)
	if len(got) != 3 || got[0].Device != "phone" || got[1].Device != "phone" || got[2].Device != "tv" {
		t.Errorf("got %+v, want two of the phone and one of the TV", got)
	} else if got[0].Alike != got[1].Alike || got[1].Alike == got[2].Alike {
		t.Errorf("alike are %d, %d and %d, want the first two alone", got[0].Alike, got[1].Alike, got[2].Alike)
	}
	if got := read(moment, `UPDATE total_key SET device = 'lamp'`); len(got) != 3 || got[0].Device != "phone" || got[2].Device != "phone" {
		t.Errorf("of one moment: got %+v, want three of the phone", got)
	}
}
