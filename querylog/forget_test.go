package querylog

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/devices"
)

// written returns rows as they were written, a text each.
func written(rows []Row) (all []string) {
	for _, r := range rows {
		r.Open, r.Store = false, "" // which its window's end sets
		text, _ := json.Marshal(r)
		all = append(all, string(text))
	}
	return all
}

func TestAForgottenDeviceIsInNoFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		defer l.Close()
		p := policy(t, testList)
		gone, stays := phone(6), phone(7)
		stays.Device, stays.MAC, stays.Name, stays.Addr = "mac:02:00:00:00:00:02", "02:00:00:00:00:02", "tablet-of-ben", netip.MustParseAddr("192.168.1.24")
		gone.Name = "phone-of-anna"
		ask := func(b *devices.Binding, names ...string) {
			for _, n := range names {
				l.Append([]Record{lookup(t, p, time.Now(), b, n)})
			}
		}
		for i := range 20 {
			ask(gone, "tracker.example", "both.example", fmt.Sprintf("only%d.example", i))
			ask(stays, "tracker.example", "both.example", fmt.Sprintf("stays%d.example", i))
			l.KeepBinding(*gone)
			l.Report("mac-shared", gone.MAC, "it answers for "+gone.Addr.String()+", said "+gone.Name)
			time.Sleep(time.Minute)
		}
		time.Sleep(DefaultUnlisted + 2*time.Hour) // there are hourly totals
		ask(gone, "late.example")
		ask(stays, "late.example")
		aside := filepath.Join(dir, "lookups.db"+asideMark+"20260101T000000.000Z")
		other := filepath.Join(dir, "lookups.db"+asideMark+"20260102T000000.000Z")
		for path, text := range map[string]string{aside: "x" + gone.MAC, other: "x" + stays.MAC} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l.Flush()
		want := slices.DeleteFunc(rows(t, dir, Filter{}), func(r Row) bool { return r.Device == gone.Device })
		r, _ := OpenReader(dir)
		hours, err := r.Hours(context.Background(), time.Time{}, time.Time{})
		if err != nil || !slices.ContainsFunc(hours, func(h Hour) bool { return h.Device == gone.Device }) {
			t.Fatalf("no totals to forget: %v, %v", hours, err)
		}
		words := []string{gone.Device, gone.MAC, gone.Addr.String(), gone.Name}
		got, err := l.Forget(context.Background(), Forgetting{Devices: []DeviceSpan{{Device: gone.Device}}, Words: words, Bindings: []uint64{gone.ID}})
		if err != nil {
			t.Fatal(err)
		}
		if got.Rows != 21 || got.Lookups != 21 || got.Bindings != 1 || got.Hours == 0 || got.Lines == 0 || !slices.Equal(got.Files, []string{filepath.Base(aside)}) {
			t.Errorf("forgot %+v", got)
		}
		ask(gone, "toolate.example") // a query that was under way
		ask(stays, "after.example")
		time.Sleep(15 * time.Second)
		synctest.Wait()
		for _, w := range append(words, "only7.example", "toolate.example") {
			if inFiles(t, dir, w) {
				t.Errorf("%q is still in a file", w)
			}
		}
		for _, w := range []string{stays.MAC, stays.Device, "after.example", forgottenWord} {
			if !inFiles(t, dir, w) {
				t.Errorf("%q is in no file any more", w)
			}
		}
		now := slices.DeleteFunc(rows(t, dir, Filter{}), func(r Row) bool { return r.Name == "after.example" })
		if !slices.Equal(written(now), written(want)) {
			t.Errorf("rows of others changed: got %d, want %d", len(now), len(want))
		}
		if after, _ := r.Hours(context.Background(), time.Time{}, time.Time{}); len(after) == 0 || slices.ContainsFunc(after, func(h Hour) bool { return h.Device == gone.Device }) {
			t.Errorf("totals are %v", after)
		}
		closeLog(t, l)
	})
}

// TestForgettingASpanLeavesTheRest compares with the rows that are not in the span.
func TestForgettingASpanLeavesTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, start, l := some(t)
		defer l.Close()
		if _, err := l.Forget(context.Background(), Forgetting{Devices: []DeviceSpan{{Device: "nobody"}}}); err != nil { // all rows are stored then
			t.Fatal(err)
		}
		for _, spans := range [][]DeviceSpan{
			{{Device: "device1", From: start.Add(30 * time.Second), Until: start.Add(60 * time.Second)}},
			{{Device: "device2", From: start.Add(60 * time.Second)}, {Device: "addr:10.0.0.1", Until: start.Add(50 * time.Second)}},
		} {
			want := slices.DeleteFunc(rows(t, dir, Filter{}), func(r Row) bool { return AnyHas(spans, r.Device, r.Time.Time) })
			if _, err := l.Forget(context.Background(), Forgetting{Devices: spans}); err != nil {
				t.Fatal(err)
			}
			if got := rows(t, dir, Filter{}); !slices.Equal(written(got), written(want)) {
				t.Errorf("%v: got %d rows, want %d", spans, len(got), len(want))
			}
		}
	})
}

// Hours of which a part is forgotten have the totals, and pages the rows, of what is left.
func TestForgettingAPartOfAnHourLeavesTheRestOfIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, p := t.TempDir(), policy(t, testList)
		l := open(t, Options{Dir: dir})
		defer l.Close()
		a, b := phone(6), phone(7)
		b.Device, b.MAC, b.Name, b.Addr = "mac:02:00:00:00:00:02", "02:00:00:00:00:02", "tablet", netip.MustParseAddr("192.168.1.24")
		start := time.Now()
		a.From, b.From = start, start
		for i := range 40 { // of four hours
			for _, by := range []*devices.Binding{a, b, nil} {
				l.Append([]Record{lookup(t, p, time.Now(), by, []string{"tracker.example", "a.tracker.example", "shop.example"}[i%3])})
			}
			time.Sleep(6 * time.Minute)
		}
		l.Flush()
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range []DeviceSpan{
			{Device: a.Device, Until: start.Add(125 * time.Minute)},
			{Device: b.Device, From: start.Add(95 * time.Minute), Until: start.Add(105 * time.Minute)}, // in an hour
			{Device: b.Device, From: start.Add(185 * time.Minute)},
			{Device: "addr:192.168.1.7", From: start.Add(61 * time.Minute), Until: start.Add(121 * time.Minute)},
		} {
			before := rows(t, dir, Filter{})
			if _, err := l.Forget(t.Context(), Forgetting{Devices: []DeviceSpan{span}}); err != nil {
				t.Fatal(err)
			}
			left := rows(t, dir, Filter{})
			if len(left) == len(before) {
				t.Errorf("%+v: nothing is forgotten", span)
			}
			want := totalSums{}
			for i := range left {
				want.add(&left[i])
			}
			for got, err := range r.Totals(t.Context(), TotalsFilter{}) {
				if err != nil {
					t.Fatal(err)
				}
				got.Alike = 0
				if w := want[keyOfTotal(&got)]; w == nil || fmt.Sprint(got) != fmt.Sprint(w.Total) {
					t.Errorf("%+v: got total\n%+v, want\n%+v", span, got, w)
				}
				delete(want, keyOfTotal(&got))
			}
			if len(want) > 0 {
				t.Errorf("%+v: %d totals are missing", span, len(want))
			}
			var paged []Row
			for _, device := range []string{a.Device, b.Device, "addr:192.168.1.7"} {
				paged = append(paged, pageRowsOf(t, dir, Filter{Devices: []DeviceSpan{{Device: device}}}, 10)...)
			}
			if len(paged) != len(left) {
				t.Errorf("%+v: pages have %d rows, want %d", span, len(paged), len(left))
			}
		}
		closeLog(t, l)
	})
}

func TestWordsAreTakenOutWholeOnly(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1 and 10.0.0.12, 110.0.0.1, (10.0.0.1)": "X and 10.0.0.12, 110.0.0.1, (X)",
		"tv, tvguide, smart-tv":                         "X, tvguide, smart-X",
		"":                                              "",
		"tvtvtv tv":                                     "tvtvtv X",
	} {
		if got := strings.ReplaceAll(withoutWords(text, spelled([]string{"10.0.0.1", "tv", ""})), forgottenWord, "X"); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestWordsAreFoundAsJSONHasThem(t *testing.T) {
	for _, word := range []string{"Tom & Anna's phone", `the "blue" <tv>`, `C:\tv`, "tv"} {
		quoted, err := json.Marshal(map[string]string{"name": word})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := withoutWords(string(quoted), spelled([]string{word})), `{"name":"`+forgottenWord+`"}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if !HasWord(string(quoted), []string{word}) {
			t.Errorf("%s is not found to have %s", quoted, word)
		}
	}
}

func TestLongWordsAreTakenOutBeforeShortOnesInThem(t *testing.T) {
	for _, words := range [][]string{{"tv", "tv kitchen"}, {"tv kitchen", "tv"}} {
		if got, want := withoutWords("tv kitchen joined", spelled(words)), forgottenWord+" joined"; got != want {
			t.Errorf("%q: got %q, want %q", words, got, want)
		}
	}
}

// They have what other nodes sent, too. A directory's name may have any signs in it.
func TestWhatOneNodeForgetsRemovesNoFileSetAside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "tell[tale]")
		l := open(t, Options{Dir: dir})
		defer l.Close()
		aside := filepath.Join(dir, "lookups.db"+asideMark+"20260101T000000.000Z")
		if err := os.WriteFile(aside, []byte("SQLite format 3"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, node := range []string{"attic", ""} {
			got, err := l.Forget(t.Context(), Forgetting{Node: node, Devices: []DeviceSpan{{Device: "nobody"}}, Words: []string{"SQLite format 3"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(aside); (err == nil) != (node != "") || (len(got.Files) == 0) != (node != "") {
				t.Errorf("node %q: removed %v, %v", node, got.Files, err)
			}
		}
		closeLog(t, l)
	})
}

// Each has a span of its own, which is a condition more.
func TestRowsOfManyDevicesAreFoundAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, start, l := some(t)
		closeLog(t, l)
		spans := []DeviceSpan{{Device: "device1"}, {Device: "addr:10.0.0.1", Until: start.Add(50 * time.Second)}}
		for i := range 1100 {
			spans = append(spans, DeviceSpan{Device: fmt.Sprintf("addr:10.1.%d.%d", i/250, i%250), Until: start.Add(time.Duration(i) * time.Second)})
		}
		st, err := openStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer st.close()
		found := func(spans []DeviceSpan) (ids []int64) {
			r := &forgetRun{Forgetting: Forgetting{Devices: spans}}
			if _, err := r.findBindings(&storer{store: st}); err != nil {
				t.Fatal(err)
			}
			for _, table := range rowTables {
				err := st.texts(fmt.Sprintf(`SELECT id FROM %[1]s WHERE id IN (SELECT id FROM %[1]s ORDER BY id LIMIT 40) AND (%[2]s)`, table, r.where), func(stmt *sqlite3.Stmt) { ids = append(ids, stmt.ColumnInt64(0)) }, r.args...)
				if err != nil {
					t.Fatal(err)
				}
			}
			return ids
		}
		if got, want := found(spans), found(spans[:2]); !slices.Equal(got, want) || len(got) == 0 {
			t.Errorf("found rows %v, want %v", got, want)
		}
	})
}

func TestAStepThatCannotBeDoneEndsTheForgetting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, _, l := some(t)
		defer l.Close()
		l.Flush()
		wrong := &forgetRun{ended: make(chan struct{})}
		wrong.steps = append(wrong.steps, func(_ *forgetRun, s *storer) (bool, error) { return false, s.store.exec(`SELECT nothing`) })
		l.storer.forgetting.Store(wrong)
		wake(l.storer.q.more)
		<-wrong.ended
		if wrong.err == nil {
			t.Error("it ended without an error")
		}
		if _, err := l.Forget(t.Context(), Forgetting{Devices: []DeviceSpan{{Device: "nobody"}}}); err != nil {
			t.Errorf("the next is not forgotten: %v", err)
		}
		closeLog(t, l)
	})
}
