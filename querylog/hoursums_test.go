package querylog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// An hourTrial asks a reader that knows hours and one that reads rows the same.
type hourTrial struct {
	t          *testing.T
	known, all *Reader
}

func (h *hourTrial) topsAgree(what string, f Filter) {
	h.t.Helper()
	top := func(r *Reader) map[string]TopRow {
		rows, err := r.Top(h.t.Context(), what, f, 0)
		if err != nil {
			h.t.Fatal(err)
		}
		byKey := map[string]TopRow{}
		for _, row := range rows {
			byKey[row.Key] = row
		}
		return byKey
	}
	if got, want := top(h.known), top(h.all); !reflect.DeepEqual(got, want) {
		h.t.Errorf("top %s of %+v: got\n%+v\nwant\n%+v", what, f, got, want)
	}
}

// sumsOf adds up the sums of a filter by what reports tell apart.
func (h *hourTrial) sumsOf(r *Reader, f SumFilter) map[string][4]int64 {
	h.t.Helper()
	all := map[string][4]int64{}
	for s, err := range r.Sums(h.t.Context(), f) {
		if err != nil {
			h.t.Fatal(err)
		}
		if s.Part == Named {
			continue
		}
		key := fmt.Sprint(s.Time.Unix()/3600, s.Device, s.Client, s.Vendor, s.Product, s.Attribution, s.Verdict, s.Imported, s.BindingConfidence, s.DeviceName)
		n, ok := all[key]
		if !ok {
			n = [4]int64{0, 0, s.Time.UnixMilli(), s.Last.UnixMilli()}
		}
		all[key] = [4]int64{n[0] + int64(s.Count), n[1] + int64(s.Attempts), min(n[2], s.Time.UnixMilli()), max(n[3], s.Last.UnixMilli())}
	}
	return all
}

func (h *hourTrial) sumsAgree(f SumFilter) {
	h.t.Helper()
	if got, want := h.sumsOf(h.known, f), h.sumsOf(h.all, f); !reflect.DeepEqual(got, want) {
		h.t.Errorf("sums of %+v: got\n%v\nwant\n%v", f, got, want)
	}
}

// agree asks for many periods, devices and vendors.
func (h *hourTrial) agree(rng *rand.Rand, begin, end int64) {
	h.t.Helper()
	for range 4 {
		a, b := begin*1000+rng.Int64N((end-begin)*1000), begin*1000+rng.Int64N((end-begin+3600)*1000)
		if rng.IntN(2) == 0 {
			a -= a % hourMilli
		}
		if rng.IntN(3) == 0 {
			b -= b % hourMilli
		}
		since, until := time.UnixMilli(min(a, b)), time.UnixMilli(max(a, b))
		if rng.IntN(4) == 0 {
			until = until.Add(time.Duration(rng.IntN(1_000_000)))
		}
		f := Filter{Since: since, Until: until, Verdict: []string{"", "", "block", "pass"}[rng.IntN(4)], Vendor: []string{"", "", "vendor 3"}[rng.IntN(3)]}
		var of []DeviceSpan
		switch rng.IntN(4) {
		case 0:
			of = []DeviceSpan{{Device: "mac:02:00:00:00:00:07"}}
		case 1:
			of = []DeviceSpan{{Device: "mac:02:00:00:00:00:07", From: since.Add(time.Hour)}, {Device: "mac:02:00:00:00:00:03", Until: until.Truncate(time.Hour)}}
		}
		sums := SumFilter{Since: since, Until: until, Vendor: f.Vendor, Apart: []time.Time{}}
		if rng.IntN(2) == 0 {
			f.Devices, sums.Devices = of, of
		} else {
			f.Without, sums.Without = of, of
		}
		if rng.IntN(5) == 0 {
			sums.Apart = []time.Time{since.Add(90 * time.Minute)}
		}
		h.sumsAgree(sums)
		if rng.IntN(4) == 0 {
			f.Until = time.Time{}
		}
		h.topsAgree("devices", f)
		h.topsAgree("vendors", f)
	}
}

func TestHoursThatAreKnownAgreeWithRows(t *testing.T) {
	dir := t.TempDir()
	s := openForTest(t, dir)
	rng := rand.New(rand.NewPCG(3, 9))
	home := newSizeHome(40)
	at, first := int64(sizeFirstTime), int64(sizeFirstTime)
	fill := func(windows, rows int) {
		for range windows {
			if _, _, err := s.commit(&windowData{number: at, node: "home", clock: clockMark{steady: at * 1000, wall: at * 1000}, entries: home.window(at, rows)}); err != nil {
				t.Fatal(err)
			}
			at += sizeWindow
		}
	}
	fill(150, 6)
	known := &Reader{dir: dir, kept: &keptStores{}}
	defer known.kept.close()
	h := &hourTrial{t, known, &Reader{dir: dir}}
	h.agree(rng, first, at)
	if len(known.kept.hours.hours) == 0 {
		t.Fatal("no hour is known")
	}
	fill(5, 6) // a few windows are added to the hours that are known
	h.agree(rng, first, at)
	fill(hoursBehind+5, 3)
	h.agree(rng, first, at)

	for _, table := range rowTables { // the oldest rows are deleted, as by retention
		end := (first + 70*sizeWindow) << rowBits
		if _, err := s.deleteChunk(table, end, 1000, nil); err != nil {
			t.Fatal(err)
		}
		known.kept.hours.rowsChanged(end)
	}
	h.agree(rng, first, at)
	if err := s.exec(`DELETE FROM unlisted WHERE binding = 4`); err != nil { // and from the middle, as by forgetting
		t.Fatal(err)
	}
	known.kept.hours.rowsChanged(1<<63 - 1)
	h.agree(rng, first, at)
}

func TestHoursOfARunningLogHaveWhatComes(t *testing.T) {
	dir, p, a := t.TempDir(), policy(t, testList), phone(6)
	l := open(t, Options{Dir: dir})
	h := &hourTrial{t, l.Reader(), &Reader{dir: dir}}
	since := time.Now().Truncate(time.Hour).Add(-time.Hour)
	for _, name := range []string{"one.example", "x.tracker.example", "two.example", "one.example"} {
		l.Append([]Record{lookup(t, p, time.Now(), a, name)})
		l.Flush()
		h.topsAgree("devices", Filter{Since: since})
		h.topsAgree("vendors", Filter{Since: since})
		h.sumsAgree(SumFilter{Since: since, Until: time.Now().Add(time.Hour), Apart: []time.Time{}})
	}
	closeLog(t, l)
	h.topsAgree("devices", Filter{Since: since})
}

func TestHoursAreNotKeptWhereTheyAreMany(t *testing.T) {
	dir := t.TempDir()
	s := openForTest(t, dir)
	home := newSizeHome(40)
	if _, _, err := s.commit(&windowData{number: sizeFirstTime, node: "home", clock: clockMark{wall: sizeFirstTime * 1000}, entries: home.window(sizeFirstTime, 30)}); err != nil {
		t.Fatal(err)
	}
	r := &Reader{dir: dir, kept: &keptStores{}}
	defer r.kept.close()
	end := time.Unix(sizeFirstTime, 0).Add(2 * time.Hour)
	for _, since := range []time.Time{{}, end.Add(-(hoursAtOnce + 5) * time.Hour)} {
		if _, err := r.Top(context.Background(), "devices", Filter{Since: since, Until: end}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.kept.hours.hours); n > 2 {
		t.Errorf("got %d hours that are known, want none of a time that is not bounded", n)
	}
}
