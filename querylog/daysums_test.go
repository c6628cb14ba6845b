package querylog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/devices"
	"telltale/dnswire"
)

// A sumsTrial is a store to which things happen, and what asks for names.
type sumsTrial struct {
	t      *testing.T
	rng    *rand.Rand
	dir    string
	s      *store
	window int64
	who    []*devices.Binding
	claims []*format.Annotation
	entry  entry
}

const sumsBegin = 1_760_000_000 // Unix seconds

func newSumsTrial(t *testing.T, seed uint64) *sumsTrial {
	h := &sumsTrial{t: t, rng: rand.New(rand.NewPCG(seed, 5)), dir: t.TempDir(), window: sumsBegin}
	for i := range 4 {
		b := *phone(uint64(i + 1))
		b.Device, b.Addr, b.Confidence = fmt.Sprintf("device%d", i%3), netip.AddrFrom4([4]byte{192, 168, 1, byte(i)}), devices.Confidence(1+i%3)
		h.who = append(h.who, &b)
	}
	h.who = append(h.who, nil)
	for i := range 4 {
		h.claims = append(h.claims, &format.Annotation{Vendor: fmt.Sprint("Vendor ", i%2), Product: fmt.Sprint("P", i%3), Purpose: "analytics", Tier: "telemetry", Confidence: fmt.Sprint("word", i)})
	}
	var err error
	if h.s, err = openStore(h.dir); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *sumsTrial) fail(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// add stores a window of up to so many rows, at times that mostly go on.
func (h *sumsTrial) add(most int) {
	h.window += 1 + int64(h.rng.IntN(4*3600))
	at := h.window*1000 + int64(h.rng.IntN(3))*int64(h.rng.IntN(40*3600_000)-30*3600_000)/2
	_, _, err := h.s.commit(&windowData{number: h.window, node: "n", entries: func(yield func(int, *entry) bool) {
		for i := range 1 + h.rng.IntN(most) {
			e := &h.entry
			*e = entry{Count: 1 + uint64(h.rng.IntN(5)), Attempts: uint32(h.rng.IntN(3)), First: at + int64(h.rng.IntN(60_000)), Binding: h.who[h.rng.IntN(len(h.who))],
				Addr: netip.AddrFrom4([4]byte{192, 168, 1, byte(h.rng.IntN(5))}), Type: dnswire.TypeA, Source: FromPolicy, Transport: UDP, Name: wire(h.t, fmt.Sprintf("n%d.example", h.rng.IntN(5)))}
			if e.Binding != nil && h.rng.IntN(9) > 0 {
				e.Addr = e.Binding.Addr
			}
			e.Last = e.First + int64(h.rng.IntN(30_000))
			if h.rng.IntN(3) > 0 {
				e.Level, e.Annotation = blocklists.Level(1+h.rng.IntN(3)), h.claims[h.rng.IntN(2)]
				e.Attr = ruleText{"ads", 1 + h.rng.IntN(2), "rule"}
			}
			if h.rng.IntN(3) > 0 {
				e.Action, e.Rule = blocklists.Block, ruleText{"ads", 1, "rule"}
			}
			if h.rng.IntN(9) == 0 {
				e.Alias = wire(h.t, "alias.example")
			}
			if h.rng.IntN(40) == 0 {
				e.Name, e.Granularity = nil, byRule
			}
			if !yield(i, e) {
				return
			}
		}
	}})
	h.fail(err)
}

// addBefore stores up to so many rows in a window that has a number before others, as an import does.
func (h *sumsTrial) addBefore(most int) {
	window := h.window - int64(h.rng.IntN(1+int(h.window-sumsBegin)))
	for used := int64(1); used != 0; {
		window--
		var err error
		used, err = h.s.number(`SELECT EXISTS (SELECT 1 FROM window WHERE id = ?)`, window)
		h.fail(err)
	}
	i := &importing{s: h.s}
	h.fail(h.s.transact(func() error {
		for place := range int64(1 + h.rng.IntN(most)) {
			at := window*1000 + int64(h.rng.IntN(60_000))
			e := &entry{Count: 1, Attempts: 1, First: at, Last: at, Binding: h.who[0], Level: blocklists.ByRule, Annotation: h.claims[0], Attr: ruleText{"ads", 1, "rule"},
				Action: blocklists.Block, Name: wire(h.t, fmt.Sprintf("n%d.example", h.rng.IntN(5)))}
			id := window<<rowBits | place
			if err := h.s.importedRow(id, 1, e); err != nil {
				return err
			}
			i.storedRow(id, e)
		}
		return errors.Join(h.s.flushRows(), h.s.run("window_imported", window, window*1000, window*1000+60_000, int64(most), int64(most)), h.s.sumDaysAgain(i.days))
	}))
	if h.rng.IntN(2) == 0 {
		clear(h.s.sumsTouched) // two minutes later
	}
}

// A sumsLine is what a report makes of lookups.
type sumsLine struct {
	lookups, attempts uint64
	first, last       int64
	id                int64  // of the last row of a name; 0 of an hour
	says              string // what that row says
}

type sumsLines map[string]*sumsLine

func (l sumsLines) add(key string, r *Row, named bool) {
	s := l[key]
	if s == nil {
		s = &sumsLine{first: r.Time.UnixMilli()}
		l[key] = s
	}
	s.lookups += r.Count
	s.attempts += uint64(r.Attempts)
	s.first, s.last = min(s.first, r.Time.UnixMilli()), max(s.last, r.Last.UnixMilli())
	if named {
		if r.ID >= s.id {
			s.id, s.says = r.ID, fmt.Sprint(r.Product, r.Confidence, r.AttributionList, r.AttributionLine, r.Alias)
		}
	}
}

func (l sumsLines) hour(r *Row) {
	l.add(fmt.Sprint("hour ", r.Time.UTC().Truncate(time.Hour), r.Device, r.DeviceName, r.Vendor, r.Product, r.Purpose, r.Tier, r.Attribution, r.Verdict, r.BindingConfidence, r.Imported), r, false)
}

func (l sumsLines) name(r *Row) {
	if r.Attribution == "rule" || r.Attribution == "list" {
		l.add(fmt.Sprint("name ", r.Name, " of ", r.Vendor), r, true)
		l.add(fmt.Sprint("name ", r.Name, " of ", r.Vendor, " by ", r.Device, r.Verdict), r, false)
	}
}

// check compares sums of a period with those of its rows.
func (h *sumsTrial) check(what string) (summed int) {
	h.t.Helper()
	since := time.UnixMilli(sumsBegin*1000 + int64(h.rng.IntN(1+int(h.window-sumsBegin)))*1000 - 86400_000)
	f := SumFilter{Since: since, Until: since.Add(time.Duration(h.rng.IntN(30*24)) * time.Hour)}
	if h.rng.IntN(3) == 0 {
		f.Since, f.Until = f.Since.Truncate(24*time.Hour), f.Until.Truncate(24*time.Hour)
	}
	switch h.rng.IntN(4) {
	case 0:
		f.Devices = []DeviceSpan{{Device: "device1"}, {Device: "addr:192.168.1.3", From: since.Add(40 * time.Hour)}}
	case 1:
		for i := range 3 {
			f.Without = append(f.Without, DeviceSpan{Device: fmt.Sprint("device", i), Until: since.Add(time.Duration(h.rng.IntN(90*60)) * time.Minute)})
		}
	case 2:
		f.Vendor = "vendor 1"
	}
	got, want, alike := sumsLines{}, sumsLines{}, map[int]string{}
	r, _ := OpenReader(h.dir)
	for sum, err := range r.Sums(context.Background(), f) {
		h.fail(err)
		common := fmt.Sprint(sum.Device, sum.DeviceName, sum.Client, sum.Vendor, sum.Product, sum.Purpose, sum.Tier, sum.Attribution, sum.Verdict, sum.BindingConfidence, sum.Imported)
		if was, known := alike[sum.Alike]; sum.Alike != 0 && known && was != common || (sum.Alike == 0) != (sum.Part == Single) {
			h.t.Fatalf("%s: sums alike are of %s and of %s", what, was, common)
		}
		alike[sum.Alike] = common
		if sum.Part != Single {
			summed++
		}
		if sum.Part != Named {
			got.hour(&sum.Row)
		}
		if sum.Part != Hourly {
			got.name(&sum.Row)
		}
	}
	for row, err := range r.Rows(context.Background(), Filter{Since: f.Since, Until: f.Until, Devices: f.Devices, Without: f.Without, Vendor: f.Vendor}) {
		h.fail(err)
		if !row.Time.Before(f.Since) && row.Time.Before(f.Until) {
			want.hour(&row)
			want.name(&row)
		}
	}
	for key, s := range want {
		if g := got[key]; g == nil || *g != *s {
			h.t.Fatalf("%s: %s: got %+v, want %+v (%v to %v)", what, key, g, s, f.Since, f.Until)
		}
	}
	if len(got) != len(want) {
		h.t.Fatalf("%s: got %d sums, want the %d of the rows", what, len(got), len(want))
	}
	return summed
}

// Sums by day, with the rows that are not in them yet, are the sums of all rows, whatever
// happens to these.
func TestSumsAreThoseOfRows(t *testing.T) {
	t.Parallel()
	happened := map[string]int{}
	for seed := range uint64(few(6)) {
		h := newSumsTrial(t, seed)
		defer h.s.close()
		for range 50 {
			what := "rows are added"
			switch n := h.rng.IntN(23); {
			case n < 10:
				h.add(40)
			case n < 16:
				what = "some rows are summed"
				_, err := h.s.sumStep(1+h.rng.IntN(60), math.MaxInt64)
				h.fail(err)
			case n < 18:
				what = "the oldest rows are deleted"
				_, err := h.s.deleteChunk("listed", 1<<62, 1+h.rng.IntN(25), nil)
				h.fail(err)
			case n == 18 && h.rng.IntN(2) == 0:
				what = "all sums are dropped"
				h.fail(h.s.transact(h.s.dropSums))
			case n == 18:
				what = "a sum is damaged"
				h.fail(h.s.exec(`UPDATE day_sum SET sums = substr(sums, 1, length(sums) - 1) WHERE id = (SELECT id FROM day_sum ORDER BY id * ? % 17 LIMIT 1)`, int64(h.rng.IntN(1000))))
			case n == 19 || n == 20:
				what = "rows are imported"
				h.addBefore(8)
			default:
				what = "the store is opened again"
				h.fail(h.s.close())
				var err error
				h.s, err = openStore(h.dir)
				h.fail(err)
			}
			happened[what]++
			if h.rng.IntN(2) == 0 {
				happened["sums read"] += h.check(fmt.Sprintf("seed %d: %s", seed, what))
			}
		}
	}
	if happened["sums read"] == 0 {
		t.Error("no sum was read")
	}
}

// The server sums rows as they come, what is imported with them, and forgets a device
// with its sums.
func TestSumsFollowTheirRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		defer l.Close()
		p := policy(t, testList)
		gone, stays := phone(6), phone(7)
		stays.Device, stays.MAC, stays.Addr = "mac:02:00:00:00:00:02", "02:00:00:00:00:02", netip.MustParseAddr("192.168.1.24")
		ask := func() {
			for range 30 {
				l.Append([]Record{lookup(t, p, time.Now(), gone, "only.tracker.example"), lookup(t, p, time.Now(), stays, "other.tracker.example")})
				time.Sleep(2 * time.Hour)
			}
		}
		r, _ := OpenReader(dir)
		begun := time.Now()
		f := SumFilter{Since: begun, Until: begun.AddDate(0, 0, 30)}
		check := func(what string, want map[string]uint64) {
			t.Helper()
			time.Sleep(sumEvery + time.Minute)
			got, summed := map[string]uint64{}, 0
			for sum, err := range r.Sums(context.Background(), f) {
				if err != nil {
					t.Fatal(err)
				}
				if sum.Part != Hourly {
					got[sum.Name] += sum.Count
				}
				if sum.Part == Named {
					summed++
				}
			}
			if !maps.Equal(got, want) || summed == 0 {
				t.Errorf("%s: got %v, want %v; %d sums", what, got, want, summed)
			}
		}
		ask()
		check("asked for", map[string]uint64{"only.tracker.example": 30, "other.tracker.example": 30})
		f.Without = []DeviceSpan{{Device: gone.Device, Until: begun.Add(13 * time.Hour)}} // within a day
		check("asked for, without a device until noon", map[string]uint64{"only.tracker.example": 23, "other.tracker.example": 30})
		f.Without = []DeviceSpan{{Device: gone.Device, From: begun.Add(13 * time.Hour)}}
		check("asked for, without a device from noon on", map[string]uint64{"only.tracker.example": 7, "other.tracker.example": 30})
		f.Without = nil
		b := importOf(t, 0, elsewhere(t, begun.Add(5*time.Hour), "192.168.1.7", "old.tracker.example", blocklists.Block))
		b.End = true
		imports(t, l, b)
		check("imported", map[string]uint64{"only.tracker.example": 30, "other.tracker.example": 30, "old.tracker.example": 1})
		if _, err := l.Forget(context.Background(), Forgetting{Devices: []DeviceSpan{{Device: gone.Device}}, Words: []string{gone.Device}}); err != nil {
			t.Fatal(err)
		}
		if inFiles(t, dir, "only.tracker.example") {
			t.Error("a name that the forgotten device alone asked for is still in a file")
		}
		check("forgotten", map[string]uint64{"other.tracker.example": 30, "old.tracker.example": 1})
		ask()
		check("asked for again", map[string]uint64{"only.tracker.example": 30, "other.tracker.example": 60, "old.tracker.example": 1})
	})
}

// No sum is made of rows of a device while it is forgotten, and where there is one all are
// dropped with its rows.
func TestNoSumsAreMadeWhileADeviceIsForgotten(t *testing.T) {
	t.Parallel()
	h := newSumsTrial(t, 3)
	defer h.s.close()
	h.add(40)
	h.add(40)
	l := &storer{l: &Log{o: Options{Now: time.Now}}, store: h.s}
	r := &forgetRun{where: `binding = 1`, periods: map[string]map[int64]bool{"listed": {}}}
	l.forgetting.Store(r)
	l.addSums()
	if got := h.meta(metaSummed); got != 0 {
		t.Errorf("while a device is forgotten, rows up to %d are summed", got)
	}
	_, err := h.s.sumStep(1000, math.MaxInt64)
	h.fail(err)
	_, err = r.deleteRows("listed")(r, l)
	h.fail(err)
	if got := h.meta(metaSummed); r.result.Rows == 0 || got != sumsGone {
		t.Errorf("%d rows are deleted, and sums are those up to %d", r.result.Rows, got)
	}
}

func (h *sumsTrial) meta(key string) int64 {
	h.t.Helper()
	n, err := h.s.meta(key)
	h.fail(err)
	return n
}

// Where a binding has more sums in a day than are kept, rows are read.
func TestADayOfTooManyNamesIsReadFromRows(t *testing.T) {
	t.Parallel()
	h := newSumsTrial(t, 1)
	defer h.s.close()
	for n := range 3 {
		_, _, err := h.s.commit(&windowData{number: sumsBegin + int64(n), node: "n", entries: func(yield func(int, *entry) bool) {
			for i := range 2_000 {
				e := &entry{Count: 1, First: sumsBegin*1000 + int64(n), Last: sumsBegin*1000 + int64(n), Binding: h.who[0], Level: blocklists.ByRule, Annotation: h.claims[0],
					Action: blocklists.Block, Name: wire(t, fmt.Sprintf("n%d-%d.example", n, i))}
				if !yield(i, e) {
					return
				}
			}
		}})
		h.fail(err)
		for more := true; more; {
			more, err = h.s.sumStep(700, math.MaxInt64)
			h.fail(err)
		}
	}
	h.window += 86400
	if got := h.check("too many names"); got != 0 {
		t.Errorf("got %d sums of a day that has none", got)
	}
	n, err := h.s.number(`SELECT count(*) FROM day_sum`)
	if h.fail(err); n != 0 {
		t.Errorf("%d sums are kept", n)
	}
}

// manySums stores made-up sums of so many bindings on a day, about 300,000 octets each, as
// those of all rows so far.
func (h *sumsTrial) manySums(day int64, bindings int) {
	h.t.Helper()
	last, err := h.s.number(`SELECT max(id) FROM listed`)
	h.fail(err)
	d := daySum{}
	for i := range 4_000 {
		d.names = append(d.names, nameSum{name: fmt.Sprintf("a-long-name-that-a-client-makes-up-%025d.example", i), sumKind: sumKind{level: blocklists.ByList}, sumCount: sumCount{1, 1, day * dayMilli, day * dayMilli}})
	}
	b := d.encode(day)
	h.fail(h.s.transact(func() error {
		for i := range bindings {
			h.fail(h.s.storeSum(day, int64(i+1), b))
		}
		return errors.Join(h.s.exec(`INSERT INTO summed_day VALUES (?,?,?,1,0)`, day, last, last), h.s.setMeta(metaSummed, last))
	}))
}

// rowsOf stores a window with a row of a listed name of each of so many bindings.
func (h *sumsTrial) rowsOf(bindings int) {
	h.t.Helper()
	h.window += 600
	_, _, err := h.s.commit(&windowData{number: h.window, node: "n", entries: func(yield func(int, *entry) bool) {
		for i := range bindings {
			at := h.window*1000 + int64(i)
			e := &entry{Count: 1, First: at, Last: at, Binding: phone(uint64(i + 1)), Level: blocklists.ByRule, Annotation: h.claims[0], Action: blocklists.Block, Name: wire(h.t, "n.example")}
			if !yield(i, e) {
				return
			}
		}
	}})
	h.fail(err)
}

// A step ends where it has read many sums, however few rows are left.
func TestAStepReadsFewSums(t *testing.T) {
	t.Parallel()
	h := newSumsTrial(t, 1)
	defer h.s.close()
	h.rowsOf(1)
	h.manySums(dayOf(sumsBegin*1000), 10)
	h.rowsOf(10)
	h.rowsOf(1)
	h.s.sumsRead = -1 // and of those that are there, none is read
	steps := 0
	for more := true; more; steps++ {
		before := h.meta(metaSummed)
		var err error
		more, err = h.s.sumStep(1000, math.MaxInt64)
		if h.fail(err); more && h.meta(metaSummed) == before {
			t.Fatal("a step sums no row")
		}
	}
	if steps != 4 { // the last has nothing to do
		t.Errorf("10 rows, each of sums of 300,000 octets, take %d steps, want 4", steps)
	}
	if n, err := h.s.number(`SELECT whole FROM summed_day`); err != nil || n != 1 {
		t.Errorf("the day is not whole: %d, %v", n, err)
	}
}

// Where a day has many octets of sums, rows are read.
func TestADayOfTooManySumsIsReadFromRows(t *testing.T) {
	t.Parallel()
	h := newSumsTrial(t, 1)
	defer h.s.close()
	h.rowsOf(1)
	h.manySums(dayOf(sumsBegin*1000), 20)
	h.rowsOf(1)
	h.rowsOf(1)
	for more := true; more; {
		var err error
		more, err = h.s.sumStep(1000, math.MaxInt64)
		h.fail(err)
	}
	if n, err := h.s.number(`SELECT (SELECT count(*) FROM day_sum) + (SELECT whole FROM summed_day)`); err != nil || n != 0 {
		t.Errorf("a day with sums of 6 MB keeps them: %d, %v", n, err)
	}
}

// What is known from one sum to the next is bounded, however many names a period has.
func TestSumsReadKeepFewTexts(t *testing.T) {
	r := sumReader{known: map[string]string{}}
	for day := range int64(20) {
		d := daySum{}
		for i := range 1_000 {
			d.names = append(d.names, nameSum{name: fmt.Sprint("n", day, "-", i)})
		}
		if err := r.decode(1, d.encode(day), day); err != nil || r.sums[0].names[999].name != fmt.Sprint("n", day, "-999") {
			t.Fatalf("%v: got %+v", err, r.sums[0].names[999])
		}
		r.read = 0
		if len(r.known) > readerKnows+1_001 {
			t.Fatalf("%d texts are kept", len(r.known))
		}
	}
}

// A reader of one moment reads sums, more than once and between rows.
func TestAReaderOfOneMomentReadsSums(t *testing.T) {
	t.Parallel()
	h := newSumsTrial(t, 2)
	defer h.s.close()
	for range 8 {
		h.window += 6 * 3600
		h.add(40)
	}
	_, err := h.s.sumStep(1000, math.MaxInt64)
	h.fail(err)
	ctx := context.Background()
	all, _ := OpenReader(h.dir)
	r, err := all.AtOnce(ctx)
	h.fail(err)
	defer r.Close()
	f := SumFilter{Since: time.Unix(sumsBegin-40*3600, 0), Until: time.Unix(h.window+40*3600, 0)}
	for range 2 {
		want, got, summed := uint64(0), uint64(0), 0
		for row, err := range r.Rows(ctx, Filter{}) {
			h.fail(err)
			want += row.Count
		}
		for sum, err := range r.Sums(ctx, f) {
			if h.fail(err); sum.Part != Named {
				got += sum.Count
			}
			if sum.Part != Single {
				summed++
			}
		}
		if got != want || summed == 0 {
			t.Errorf("got %d lookups, want %d; %d sums", got, want, summed)
		}
	}
}

func FuzzDecodeDaySum(f *testing.F) {
	d := daySum{}
	for i := range int64(3) {
		d.add(&summedRow{id: i, name: nameSum{name: fmt.Sprint("n", i), sumKind: sumKind{level: blocklists.ByRule, annotation: i}, sumCount: sumCount{1, 1, i * 3_600_000, i*3_600_000 + 5}}})
	}
	f.Add(d.encode(0))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, again daySum
		if got.decode(b, 3, map[string]string{}) != nil {
			return
		}
		if err := again.decode(got.encode(3), 3, map[string]string{}); err != nil || !slices.Equal(again.hours, got.hours) || !slices.Equal(again.names, got.names) {
			t.Errorf("%v: got %+v, want %+v", err, again, got)
		}
	})
}

// sumAll sums all rows, as far as there are steps to do.
func (h *sumsTrial) sumAll() (steps int) {
	h.t.Helper()
	for more := true; more; steps++ {
		var err error
		more, err = h.s.sumStep(1000, math.MaxInt64)
		h.fail(err)
	}
	return steps
}

// An import into a day makes the sums of that day again, and no others; rows behind those
// that are summed change none.
func TestAnImportMakesTheSumsOfItsDaysAgain(t *testing.T) {
	t.Parallel()
	h := newSumsTrial(t, 1)
	defer h.s.close()
	for range 6 {
		h.window += 86400
		h.rowsOf(3)
	}
	h.sumAll()
	whole := func() int64 {
		n, err := h.s.number(`SELECT count(*) FROM summed_day WHERE whole = 1 AND EXISTS (SELECT 1 FROM day_sum WHERE day_sum.day = summed_day.day)`)
		h.fail(err)
		return n
	}
	if got := whole(); got != 6 {
		t.Fatalf("%d days have sums, want 6", got)
	}
	day := dayOf((sumsBegin + 3*86400) * 1000)
	first := (day*dayMilli/1000 + 7) << rowBits
	h.fail(h.s.transact(func() error {
		return h.s.sumDaysAgain(map[int64]rowRange{day: {first, first}, day + 100: {1 << 62, 1 << 62}})
	}))
	if got := whole(); got != 5 {
		t.Errorf("%d days have sums after a row came to one, want 5", got)
	}
	h.sumAll()
	if got := whole(); got != 5 {
		t.Errorf("sums are made again at once, though more rows may come: %d days have sums", got)
	}
	h.s.sumsTouched[day] = time.Now().Add(-sumAge)
	h.sumAll()
	if got := whole(); got != 6 {
		t.Errorf("%d days have sums when those of the day are made again, want 6", got)
	}
	h.window += 86400
	h.check("made again")
}

// What came less than two minutes ago is not summed: rows of a capture come as late.
func TestRowsOfLessThanTwoMinutesAreNotSummed(t *testing.T) {
	t.Parallel()
	h := newSumsTrial(t, 1)
	defer h.s.close()
	h.rowsOf(1)
	old := h.window
	h.rowsOf(1)
	now := time.Unix(h.window, 0).Add(sumAge)
	s := &storer{l: &Log{o: Options{Now: func() time.Time { return now }}}, store: h.s}
	s.addSums()
	if got := h.meta(metaSummed) >> rowBits; got != old {
		t.Errorf("rows up to window %d are summed, want %d", got, old)
	}
	s.sumAt, now = time.Time{}, now.Add(time.Second)
	s.addSums()
	if got := h.meta(metaSummed) >> rowBits; got != h.window {
		t.Errorf("rows up to window %d are summed, want %d", got, h.window)
	}
}

// Where the oldest row of a day goes, its sums are not deleted in that transaction, but in
// steps, and are not read meanwhile.
func TestSumsOfADayAreDeletedInSteps(t *testing.T) {
	t.Parallel()
	h := newSumsTrial(t, 1)
	defer h.s.close()
	h.rowsOf(1)
	h.manySums(dayOf(sumsBegin*1000), 10)
	h.rowsOf(1)
	_, err := h.s.deleteChunk("listed", 1<<62, 1, nil)
	h.fail(err)
	left := func() int64 {
		n, err := h.s.number(`SELECT count(*) FROM day_sum`)
		h.fail(err)
		return n
	}
	if got := left(); got != 10 {
		t.Errorf("%d sums are left when their rows are deleted, want 10: the writer waits for what deletes 3 MB", got)
	}
	h.check("not deleted yet")
	steps := 0
	for s := (&storer{store: h.s}); ; steps++ {
		before := left()
		done, err := s.deleteUnusedSums()
		if h.fail(err); done {
			break
		}
		if got := left(); got == before || got < before-5 {
			t.Errorf("a step deletes sums of 300,000 octets down to %d of %d", got, before)
		}
	}
	if left() != 0 || steps < 2 {
		t.Errorf("%d sums are left after %d steps", left(), steps)
	}
}

// A sum that cannot be read keeps nobody from reading its day, and is made again.
func TestASumThatCannotBeReadIsMadeAgain(t *testing.T) {
	t.Parallel()
	h := newSumsTrial(t, 1)
	defer h.s.close()
	for range 3 {
		h.window += 86400
		h.rowsOf(3)
	}
	h.sumAll()
	h.fail(h.s.exec(`UPDATE day_sum SET sums = x'0101' WHERE binding = 3 AND day = (SELECT min(day) + 1 FROM summed_day)`))
	window := h.window
	h.window += 86400
	for range 20 {
		h.check("one cannot be read")
	}
	h.window = window
	var told strings.Builder
	s := &storer{l: &Log{o: Options{Logger: slog.New(slog.NewTextHandler(&told, nil))}}, store: h.s}
	for _, how := range []string{"a row is added to it", "all are read after a start"} {
		if how == "a row is added to it" {
			h.rowsOf(3)
			h.fail(h.s.exec(`UPDATE day_sum SET sums = x'0101' WHERE binding = 3`))
		} else {
			h.s.sumsRead = 0
		}
		h.sumAll()
		s.tellUnreadable()
		if n, err := h.s.number(`SELECT count(*) FROM summed_day WHERE whole = 1`); err != nil || n < 1 || !strings.Contains(told.String(), "cannot be read") {
			t.Errorf("%s: %d days have sums, %v; said: %q", how, n, err, told.String())
		}
		told.Reset()
	}
	if n, err := h.s.number(`SELECT count(*) FROM day_sum WHERE sums = x'0101'`); err != nil || n != 0 {
		t.Errorf("%d sums are not made again, %v", n, err)
	}
	h.window += 86400
	for range 20 {
		h.check("made again")
	}
}
