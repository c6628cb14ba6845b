package querylog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
)

// elsewhere is a lookup that another server logged.
func elsewhere(t testing.TB, at time.Time, client, name string, action blocklists.Action) ImportedLookup {
	t.Helper()
	return ImportedLookup{Time: at, Client: netip.MustParseAddr(client), Name: wire(t, name), Type: dnswire.TypeA, Action: action, Rcode: UnknownRcode}
}

// importOf is a batch of a log that begins with these lookups.
func importOf(t testing.TB, from int64, lookups ...ImportedLookup) *ImportBatch {
	to := from + int64(len(lookups))
	return &ImportBatch{
		Source: ImportSource{Key: "adguard-home:1", Format: "adguard-home", File: "querylog.json", Lost: "the TTL"},
		From:   from, To: to, Sum: fmt.Sprint("sum ", to), Lookups: lookups, Policy: policy(t, testList), Edition: "catalogue 2026-11-01",
	}
}

func imports(t testing.TB, l *Log, b *ImportBatch) Imported {
	t.Helper()
	got, err := l.Import(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// hourAgo is a time an hour ago, at the beginning of a minute.
func hourAgo() time.Time { return time.Now().Add(-time.Hour).Truncate(time.Minute) }

// Who reads totals learns of which time lookups were imported: totals do not say so.
func TestCoverageSaysOfWhichTimeLookupsAreImported(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	at := hourAgo()
	imports(t, l, importOf(t, 0, elsewhere(t, at, "192.168.1.7", "shop.example", blocklists.Pass), elsewhere(t, at.Add(5*time.Minute), "192.168.1.7", "data.tracker.example", blocklists.Block)))
	closeLog(t, l)
	for _, c := range []struct {
		since, until time.Duration
		want         int
	}{{-time.Hour, 0, 0}, {-time.Hour, time.Minute, 1}, {5 * time.Minute, time.Hour, 1}, {6 * time.Minute, time.Hour, 0}} {
		got := coverage(t, dir, at.Add(c.since), at.Add(c.until)).Imports
		if len(got) != c.want || c.want > 0 && (got[0].Format != "adguard-home" || !got[0].First.Equal(at) || !got[0].Last.Equal(at.Add(5*time.Minute))) {
			t.Errorf("from %v to %v: got %v, want %d", c.since, c.until, got, c.want)
		}
	}
}

func TestImportedLookupsAreRows(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, Node: "attic"})
	now := time.Now()
	l.Append([]Record{lookup(t, policy(t, testList), now, nil, "here.example")})
	at := hourAgo()
	blocked := elsewhere(t, at.Add(2*time.Second), "192.168.1.7", "data.tracker.example", blocklists.Block)
	blocked.Rule, blocked.ClientName, blocked.Rcode, blocked.Source = "||tracker.example^", "kitchen", dnswire.Success, FromPolicy
	phone := elsewhere(t, at.Add(70*time.Second), "192.168.1.7", "shop.example", blocklists.Pass)
	phone.Client, phone.ClientID, phone.Transport = netip.Addr{}, "phone", HTTPS
	b := importOf(t, 0, elsewhere(t, at, "192.168.1.7", "shop.example", blocklists.Pass), blocked, elsewhere(t, at.Add(3*time.Second), "192.168.1.7", "shop.example", blocklists.Pass), phone)
	b.End = true
	if got, want := imports(t, l, b), (Imported{Lookups: 4, Rows: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := l.Import(context.Background(), b); !errors.Is(err, ErrImportPosition) {
		t.Errorf("got %v for the same batch", err)
	}
	closeLog(t, l)

	all := rows(t, dir, Filter{})
	var got []string
	for _, r := range all {
		got = append(got, fmt.Sprintf("%s | imported=%q rcode=%q from=%q by=%q attempts=%d vendor=%q rule=%q node=%s %s", brief(r), r.Imported, r.Rcode, r.AnsweredFrom, r.BindingConfidence, r.Attempts, r.Vendor, r.Rule, r.Node, r.DeviceName))
	}
	want := []string{
		`addr:192.168.1.7 shop.example A pass :0 x2 | imported="adguard-home" rcode="" from="" by="imported" attempts=1 vendor="" rule="" node=attic 192.168.1.7`,
		`addr:192.168.1.7 data.tracker.example A block adguard-home:0 x1 | imported="adguard-home" rcode="NOERROR" from="policy" by="imported" attempts=1 vendor="Xiaomi" rule="||tracker.example^" node=attic kitchen`,
		`id:phone shop.example A pass :0 x1 | imported="adguard-home" rcode="" from="" by="imported" attempts=1 vendor="" rule="" node=attic phone`,
		`addr:192.168.1.7 here.example A pass :0 x1 | imported="" rcode="NOERROR" from="upstream" by="" attempts=1 vendor="" rule="" node=attic `,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	for _, f := range []struct {
		f    Filter
		want int
	}{
		{Filter{Since: at.Add(-time.Minute), Until: at.Add(time.Minute)}, 2}, {Filter{Until: at.Add(-time.Minute)}, 0}, {Filter{Device: "kitchen"}, 1},
		{Filter{Vendor: "xiaomi"}, 1}, {Filter{Name: "shop"}, 2}, {Filter{Limit: 1}, 1}, {Filter{Since: now.Add(-time.Minute)}, 1},
	} {
		if got := len(rows(t, dir, f.f)); got != f.want {
			t.Errorf("got %d rows by %+v, want %d", got, f.f, f.want)
		}
	}
	var told []Event
	for _, e := range events(t, dir) {
		if e.Kind == KindImported {
			told = append(told, e)
		}
	}
	if len(told) != 1 || told[0].Detail != "4 lookups were imported from adguard-home; names are attributed by catalogue 2026-11-01; not known of them: the TTL" || !told[0].Since.Equal(at) {
		t.Errorf("got %+v", told)
	}
}

// Who follows the log sees what a capture brings as it comes, each row once, and not what
// is imported of long ago.
func TestFollowShowsImportedRowsThatAreNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		p := policy(t, testList)
		batch, from := "first", int64(0)
		capture := func(at time.Time) {
			t.Helper()
			b := importOf(t, from, elsewhere(t, at, "192.168.1.7", batch+".tracker.example", UnknownVerdict), elsewhere(t, at, "192.168.1.7", batch+".example", UnknownVerdict))
			from = b.To
			imports(t, l, b)
		}
		own := func() {
			l.Append([]Record{lookup(t, p, time.Now(), phone(1), "own.example")})
			time.Sleep(15 * time.Second)
		}
		own()
		capture(time.Now().Add(-5 * time.Second))
		ctx, cancel := context.WithCancel(context.Background())
		done, got := make(chan error), map[string]int{}
		r, _ := OpenReader(dir)
		go func() {
			done <- r.Follow(ctx, Filter{Name: "tracker", Limit: 10}, func(row Row) error { got[row.Name]++; return nil })
		}()
		time.Sleep(time.Second)
		want := map[string]int{"first.tracker.example": 1}
		for i := range 6 {
			batch = fmt.Sprint("batch", i)
			want[batch+".tracker.example"] = 1
			capture(time.Now().Add(-5 * time.Second))
			if i%2 == 0 {
				own()
			}
			time.Sleep(time.Second)
		}
		batch = "old"
		capture(time.Now().Add(-time.Hour))
		time.Sleep(time.Second)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		closeLog(t, l)
	})
}

// Where another server's log does not say what was decided, no row, total or sum says that it passed.
func TestImportedLookupsWithoutAVerdictAreNotSaidToPass(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	at := hourAgo()
	imports(t, l, importOf(t, 0, elsewhere(t, at, "192.168.1.7", "data.tracker.example", UnknownVerdict), elsewhere(t, at, "192.168.1.7", "shop.example", UnknownVerdict),
		elsewhere(t, at, "192.168.1.7", "other.example", blocklists.Pass)))
	closeLog(t, l)
	got := map[string]string{}
	for _, r := range rows(t, dir, Filter{Verdict: "unknown"}) {
		got[r.Name] = r.Verdict
	}
	if want := map[string]string{"data.tracker.example": "unknown", "shop.example": "unknown"}; !maps.Equal(got, want) {
		t.Errorf("got rows %v, want %v", got, want)
	}
	byVerdict := map[string]uint64{}
	for _, total := range totals(t, dir, TotalsFilter{}) {
		byVerdict[total.Verdict] += total.Lookups
	}
	if want := map[string]uint64{"unknown": 2, "pass": 1}; !maps.Equal(byVerdict, want) {
		t.Errorf("got totals %v, want %v", byVerdict, want)
	}
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	top, err := r.Top(context.Background(), "devices", Filter{}, 0)
	if err != nil || len(top) != 1 || top[0].Unknown != 2 || top[0].Imported != 3 {
		t.Errorf("got %+v, %v; want 2 of 3 lookups without a verdict", top, err)
	}
}

// What another server recorded is not what this one did: of that time it cannot be said
// that nothing was asked.
func TestImportedTimeIsNotRecorded(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	began := time.Now().Add(-time.Minute)
	at := hourAgo()
	imports(t, l, importOf(t, 0, elsewhere(t, at, "192.168.1.7", "tracker.example", blocklists.Block), elsewhere(t, at, "192.168.1.7", "shop.example", blocklists.Pass)))
	closeLog(t, l)
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Coverage(context.Background(), at.Add(-time.Hour), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c.Begin.Before(began) || c.RecordedIn(at.Add(-time.Minute), at.Add(time.Minute)) != 0 || c.IsWhole(at, at.Add(time.Minute)) {
		t.Errorf("got %+v, want nothing recorded about %v", c, at)
	}
	if !c.Listed.IsZero() || !c.Unlisted.IsZero() {
		t.Errorf("rows begin at %v and %v, and none was recorded", c.Listed, c.Unlisted)
	}
}

// Whatever the parts in which a log comes, and whenever the process ends in between, each
// lookup is counted once, and each attempt.
func TestAnImportInPartsIsTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 13))
	at := hourAgo()
	const n = 600
	all := make([]ImportedLookup, n)
	attempts, counts := map[string]uint64{}, map[string]uint64{}
	last := map[string]time.Time{}
	for i := range all {
		at = at.Add(time.Duration(rng.IntN(4000)) * time.Millisecond)
		client, name := fmt.Sprintf("192.168.1.%d", 1+rng.IntN(3)), fmt.Sprintf("n%d.example", rng.IntN(4))
		if rng.IntN(3) == 0 {
			name = "tracker.example"
		}
		all[i] = elsewhere(t, at, client, name, blocklists.Pass)
		key := "addr:" + client + " " + name
		if before, ok := last[key]; !ok || at.Sub(before) >= DefaultAttempt {
			attempts[key]++
		}
		last[key] = at
		counts[key]++
	}
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	for from := 0; from < n; {
		to := min(from+1+rng.IntN(120), n)
		b := importOf(t, int64(from), all[from:to]...)
		imports(t, l, b)
		if _, err := l.Import(context.Background(), b); !errors.Is(err, ErrImportPosition) {
			t.Fatalf("got %v for the same part", err)
		}
		if rng.IntN(3) == 0 {
			l.Append([]Record{lookup(t, nil, time.Now(), nil, "tracker.example")})
			closeLog(t, l)
			l = open(t, Options{Dir: dir})
		}
		from = to
	}
	closeLog(t, l)
	gotCounts, gotAttempts := map[string]uint64{}, map[string]uint64{}
	before := time.Time{}
	for _, r := range rows(t, dir, Filter{}) {
		if r.Imported == "" {
			continue
		}
		if r.Time.Before(before.Add(-time.Minute)) {
			t.Fatalf("a row of %v stands behind one of %v", r.Time, before)
		}
		before = r.Time.Time
		key := r.Device + " " + r.Name
		gotCounts[key] += r.Count
		gotAttempts[key] += uint64(r.Attempts)
	}
	for key := range counts {
		if gotCounts[key] != counts[key] || gotAttempts[key] != attempts[key] {
			t.Errorf("%s: got %d lookups and %d attempts, want %d and %d", key, gotCounts[key], gotAttempts[key], counts[key], attempts[key])
		}
	}
	r, _ := OpenReader(dir)
	marks, err := r.ImportMarks(context.Background(), "adguard-home:1")
	if err != nil || len(marks) < 2 || marks[len(marks)-1] != (ImportMark{n, fmt.Sprint("sum ", n)}) {
		t.Errorf("got marks %v, %v", marks, err)
	}
	totals := uint64(0)
	for total, err := range r.Totals(context.Background(), TotalsFilter{Until: time.Now().Add(time.Hour)}) {
		if err != nil {
			t.Fatal(err)
		}
		if total.Device != "" {
			totals += total.Lookups
		}
	}
	here := uint64(0)
	for _, r := range rows(t, dir, Filter{}) {
		here += r.Count
	}
	if totals != here {
		t.Errorf("totals have %d lookups, rows %d", totals, here)
	}
}

// What retention would delete is counted, and not kept.
func TestOldLookupsAreCountedInTotals(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	now := time.Now()
	old := now.Add(-48 * time.Hour).Truncate(time.Hour)
	b := importOf(t, 0,
		elsewhere(t, now.Add(-5*365*24*time.Hour), "192.168.1.7", "tracker.example", blocklists.Block),
		elsewhere(t, now.Add(-2*365*24*time.Hour), "192.168.1.7", "tracker.example", blocklists.Block),
		elsewhere(t, old, "192.168.1.7", "shop.example", blocklists.Pass),
		elsewhere(t, old, "192.168.1.7", "tracker.example", blocklists.Pass),
		elsewhere(t, old, "192.168.1.66", "tracker.example", blocklists.Pass))
	b.OptedOut = func(a netip.Addr, _ string) bool { return a == netip.MustParseAddr("192.168.1.66") }
	if got, want := imports(t, l, b), (Imported{Lookups: 3, Rows: 1, Totals: 2, TooOld: 1, OptedOut: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	closeLog(t, l)
	if got := rows(t, dir, Filter{}); len(got) != 1 || got[0].Name != "tracker.example" || got[0].Verdict != "pass" || got[0].Vendor != "Xiaomi" {
		t.Errorf("got %+v", got)
	}
	r, _ := OpenReader(dir)
	hours, err := r.Hours(context.Background(), time.Time{}, time.Time{})
	if err != nil || len(hours) != 0 {
		t.Errorf("got hours %+v, %v: a report would count them and totals", hours, err)
	}
	others := uint64(0)
	for total, err := range r.Totals(context.Background(), TotalsFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if total.Vendor == "" && total.Hour.Equal(old) {
			others += total.Lookups
		}
	}
	if others != 1 {
		t.Errorf("got %d lookups of nobody's names in totals, want 1", others)
	}
	blocked := uint64(0)
	for total, err := range r.Totals(context.Background(), TotalsFilter{Vendor: "Xiaomi"}) {
		if err != nil {
			t.Fatal(err)
		}
		blocked += total.Lookups
	}
	if blocked != 2 {
		t.Errorf("got %d lookups of the vendor in totals, want 2", blocked)
	}
}

// Rows that grow old are left to totals in every store, which count them from the first.
func TestDeletedImportedRowsAreInTotalsAlone(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	imports(t, l, importOf(t, 0, elsewhere(t, hourAgo(), "192.168.1.7", "shop.example", blocklists.Pass)))
	closeLog(t, l)
	s := openForTest(t, dir)
	if n, err := s.deleteChunk("unlisted", 1<<63-1, 10, nil); n != 1 || err != nil {
		t.Fatalf("got %d rows deleted, %v", n, err)
	}
	if n, err := s.number(`SELECT count(*) FROM hour`); n != 0 || err != nil {
		t.Errorf("got %d hours, %v", n, err)
	}
}

// A batch that does not move the position would be taken each time it is sent.
func TestAnImportGoesOn(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	defer closeLog(t, l)
	u := elsewhere(t, hourAgo(), "192.168.1.7", "a.example", blocklists.Pass)
	imports(t, l, importOf(t, 0, u, u))
	for _, to := range []int64{2, 1} {
		b := importOf(t, 2, u)
		if b.To = to; to < b.From {
			b.Lookups = nil
		}
		if _, err := l.Import(context.Background(), b); err == nil {
			t.Errorf("a batch from 2 to %d was taken", to)
		}
	}
	b := importOf(t, 2)
	b.End = true
	imports(t, l, b)
}

// Who gives up waits for work that the store has begun, and not for his turn.
func TestAnImportThatIsTakenIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{Dir: t.TempDir()})
		defer closeLog(t, l)
		ctx, cancel := context.WithCancel(context.Background())
		var turn error
		err := l.importing(ctx, func(*storer) error {
			cancel()
			synctest.Wait() // the caller has seen it
			turn = l.importing(ctx, func(*storer) error { return nil })
			return nil
		})
		if err != nil || !errors.Is(turn, context.Canceled) {
			t.Errorf("got %v, and %v without a turn", err, turn)
		}
	})
}

// Whatever is imported first, a client's binding is of all its lookups. It is deleted
// with the last row, and is not what keeps or deletes one that was recorded here.
func TestImportedBindingsSpanTheirLookups(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	first, last := hourAgo(), hourAgo().Add(10*time.Minute)
	for i, at := range []time.Time{last, first.Add(time.Minute), first} {
		imports(t, l, importOf(t, int64(i), elsewhere(t, at, "192.168.1.7", "shop.example", blocklists.Pass)))
	}
	closeLog(t, l)
	s := openForTest(t, dir)
	span := func(id int64) (got [3]int64) {
		if err := s.texts(`SELECT since, until, seen FROM binding WHERE id = ?`, func(stmt *sqlite3.Stmt) {
			got = [3]int64{stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2)}
		}, id); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got, want := span(importedBindings), [3]int64{first.UnixMilli(), last.UnixMilli(), last.UnixMilli()}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	own := devices.Binding{ID: 7, Device: "addr:192.168.1.7", Addr: netip.MustParseAddr("192.168.1.7"), From: first}
	if err := s.binding(&own); err != nil {
		t.Fatal(err)
	}
	if err := s.exec(`DELETE FROM unlisted`); err != nil {
		t.Fatal(err)
	}
	step, done := deleteBindings(time.Now()), false
	for w := (&storer{store: s}); !done; {
		var err error
		if done, err = step(w); err != nil {
			t.Fatal(err)
		}
	}
	if span(importedBindings) != [3]int64{} || span(7) == [3]int64{} {
		t.Errorf("got %v of the imported binding, which no row has, and %v of the last one", span(importedBindings), span(7))
	}
}

// Rows that are imported while bindings are looked through may come before those that were
// looked at: the bindings that they refer to stay.
func TestABindingThatIsImportedAgainMeanwhileStays(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	first, later := hourAgo(), hourAgo().Add(10*time.Minute)
	imports(t, l, importOf(t, 0, elsewhere(t, first, "192.168.1.7", "shop.example", blocklists.Pass)))
	var page []ImportedLookup
	for n := range bindingsPage {
		page = append(page, elsewhere(t, later, "192.168.1.8", fmt.Sprintf("n%d.example", n), blocklists.Pass))
	}
	imports(t, l, importOf(t, 1, page...))
	closeLog(t, l)
	w := &storer{store: openForTest(t, dir), l: l}
	if err := w.store.exec(`DELETE FROM unlisted WHERE binding = ?`, importedBindings); err != nil {
		t.Fatal(err)
	}
	step, done := deleteBindings(time.Now()), false
	for n := 0; !done; n++ {
		if n == 2 { // a page is looked at, and the rows that follow are before it
			if _, err := w.importBatch(importOf(t, 1+bindingsPage, elsewhere(t, first, "192.168.1.7", "late.example", blocklists.Pass))); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if done, err = step(w); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := w.store.number(`SELECT count(*) FROM unlisted WHERE binding NOT IN (SELECT id FROM binding)`)
	if err != nil || rows != 0 {
		t.Errorf("%d rows have no binding, %v", rows, err)
	}
}

// Times that no log can have number no window.
func TestAnImportOfWrongTimes(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir()})
	defer closeLog(t, l)
	for _, at := range []time.Time{time.Unix(0, 0), time.Now().Add(time.Hour)} {
		if _, err := l.Import(context.Background(), importOf(t, 0, elsewhere(t, at, "192.168.1.7", "a.example", blocklists.Pass))); err == nil {
			t.Errorf("a lookup of %v was taken", at)
		}
	}
	if got := imports(t, l, importOf(t, 0, elsewhere(t, hourAgo(), "192.168.1.7", "a.example", blocklists.Pass))); got.Rows != 1 {
		t.Errorf("got %+v behind them", got)
	}
}

// Imported rows are forgotten with their device, and their bindings are nobody's who asks
// here.
func TestImportedDevicesAreForgotten(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	imports(t, l, importOf(t, 0, elsewhere(t, hourAgo(), "192.168.1.7", "tracker.example", blocklists.Block), elsewhere(t, hourAgo(), "192.168.1.8", "tracker.example", blocklists.Block)))
	if _, err := l.Forget(context.Background(), Forgetting{Devices: []DeviceSpan{{Device: "addr:192.168.1.7"}}}); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	if got := rows(t, dir, Filter{}); len(got) != 1 || got[0].Device != "addr:192.168.1.8" {
		t.Errorf("got %+v", got)
	}
	if report := audit(t, dir, SealAudit{}); report.Removed != 1 {
		t.Errorf("%d removals of sealed rows are stated, want 1", report.Removed)
	}
	l = open(t, Options{Dir: dir})
	defer closeLog(t, l)
	kept, next, err := l.Bindings()
	if err != nil || len(kept) != 0 || next != 1 {
		t.Errorf("got bindings %v, next %d, %v", kept, next, err)
	}
}
