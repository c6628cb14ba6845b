package breakage

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// A household is a table with the devices that ask, and a clock.
type household struct {
	*Table
	at     time.Time
	policy *blocklists.Policy
}

const list = `#@ vendor=Acme purpose=content tier=telemetry breaks="pictures of the calendar"
pictures.example
#@
ads.example
`

func newHousehold(t testing.TB) *household {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "acme.txt"), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	lists, err := blocklists.Open(blocklists.Options{Dir: dir, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lists.Close() })
	h := &household{at: noon, policy: lists.Current()}
	h.Table = NewTable(func(addr netip.Addr, _ string) *devices.Binding {
		if addr == netip.MustParseAddr("192.0.2.7") {
			return &devices.Binding{Device: "mac:02:00:5e:10:00:07"}
		}
		return nil
	}, func() time.Time { return h.at })
	return h
}

// asks is a lookup of a device at the household's time.
func (h *household) asks(t testing.TB, device, name string) querylog.Record {
	t.Helper()
	n, err := dnswire.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	r := querylog.Record{Time: h.at, Client: netip.MustParseAddr("192.0.2.9"), Name: slices.Clone(n.Wire()), Type: 1, Verdict: h.policy.Decide(&n, 1, 0)}
	if device != "" {
		r.Binding = &devices.Binding{Device: device}
	}
	return r
}

func spansOf(device string) []querylog.DeviceSpan { return []querylog.DeviceSpan{{Device: device}} }

func names(all []Blocked) (names []string) {
	for i := range all {
		names = append(names, all[i].Name)
	}
	slices.Sort(names)
	return names
}

func TestATableHasWhatWasBlockedOfADevice(t *testing.T) {
	h := newHousehold(t)
	h.Append([]querylog.Record{h.asks(t, "tv", "x.pictures.example"), h.asks(t, "tv", "passed.example"), h.asks(t, "phone", "ads.example")})
	h.at = noon.Add(30 * time.Second)
	h.Append([]querylog.Record{h.asks(t, "tv", "x.pictures.example")})
	h.at = noon.Add(10 * time.Minute)
	h.Append([]querylog.Record{h.asks(t, "tv", "x.pictures.example"), h.asks(t, "tv", "_8443._https.x.pictures.example")})

	all, missed := h.Of(spansOf("tv"), noon.Add(-5*time.Minute))
	if got := names(all); !slices.Equal(got, []string{"x.pictures.example"}) || missed != 0 {
		t.Fatalf("got %q and %d missed, want the one blocked name of this device alone", got, missed)
	}
	b := all[0]
	if b.Lookups != 4 || b.Burst != 2 || !b.First.Equal(noon) || !b.Last.Equal(h.at) {
		t.Errorf("got %d lookups, %d within a minute, %s to %s; want 4, 2, noon to ten minutes past", b.Lookups, b.Burst, b.First, b.Last)
	}
	if b.List != "acme" || b.Line != 2 || b.Vendor != "Acme" || b.Tier != "telemetry" || b.Breaks != "pictures of the calendar" || !b.Annotated || b.Own {
		t.Errorf("got %+v, want what the list says", b.Says)
	}
	all, _ = h.Of(spansOf("tv"), noon.Add(5*time.Minute))
	if len(all) != 1 || all[0].Lookups != 2 || all[0].Before != 1 {
		t.Errorf("got %+v, want the two lookups of the period, and one minute of before", all)
	}
	if all, _ := h.Of(spansOf("tv"), noon.Add(11*time.Minute)); len(all) != 0 {
		t.Errorf("got %q of a period in which nothing was asked", names(all))
	}
	if all, _ := h.Of(spansOf("phone"), noon); len(all) != 1 || all[0].Annotated {
		t.Errorf("got %+v, want a name that nobody says anything of", all)
	}
}

func TestALookupOfAnUnknownDeviceIsAskedAbout(t *testing.T) {
	h := newHousehold(t)
	r, s := h.asks(t, "", "ads.example"), h.asks(t, "", "ads.example")
	r.Client = netip.MustParseAddr("192.0.2.7")
	h.Append([]querylog.Record{r, s})
	for device, want := range map[string]int{"mac:02:00:5e:10:00:07": 1, "addr:192.0.2.9": 1, "": 0} {
		if all, _ := h.Of(spansOf(device), noon); len(all) != want {
			t.Errorf("%q: got %q, want %d names", device, names(all), want)
		}
	}
}

func TestATableIsBounded(t *testing.T) {
	h := newHousehold(t)
	h.at = noon.Add(-time.Second)
	h.Append([]querylog.Record{h.asks(t, "tv", "old.ads.example")})
	h.at = noon
	for i := range 2 * maxNames {
		h.Append([]querylog.Record{h.asks(t, "tv", fmt.Sprintf("a%d.ads.example", i))})
		h.take()
	}
	all, _ := h.Of(spansOf("tv"), noon.Add(-time.Minute))
	if len(all) != maxNames || slices.Contains(names(all), "old.ads.example") {
		t.Errorf("got %d names of a device, want %d and not the one asked for longest ago", len(all), maxNames)
	}
	for device := range maxTotal/maxNames + 3 {
		for i := range maxNames {
			h.Append([]querylog.Record{h.asks(t, fmt.Sprint("d", device), fmt.Sprintf("a%d.ads.example", i))})
			if i%200 == 0 {
				h.take()
			}
		}
		h.take()
	}
	n := 0
	for _, of := range h.devices {
		n += len(of)
	}
	if n != h.total || n > maxTotal {
		t.Errorf("got %d names, counted as %d, want at most %d", n, h.total, maxTotal)
	}
}

func TestWhatThereIsNoRoomForIsCounted(t *testing.T) {
	h := newHousehold(t)
	for i := range maxWaiting + 5 {
		h.Append([]querylog.Record{h.asks(t, "tv", fmt.Sprintf("a%d.ads.example", i))})
	}
	if _, missed := h.Of(spansOf("tv"), noon); missed != 5 {
		t.Errorf("got %d missed, want 5", missed)
	}
}

// A flood of names is not worth reading the rule of each: what waits is taken once a second
// then, and at once again when the flood is over.
func TestAFloodIsTakenLessOften(t *testing.T) {
	h := newHousehold(t)
	synctest.Test(t, func(t *testing.T) {
		h.Table = NewTable(nil, func() time.Time { return h.at })
		ctx, stop := context.WithCancel(t.Context())
		go h.Run(ctx)
		waiting := func() int {
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.waiting.lookups)
		}
		ask := func(n int, of string) {
			for i := range n {
				h.Append([]querylog.Record{h.asks(t, "tv", fmt.Sprintf("n%d.%s.ads.example", i, of))})
			}
		}
		h.taking.Lock() // Run does not take what waits until all of it does
		ask(maxWaiting+1, "flood")
		h.taking.Unlock()
		if got := waiting(); got != 0 {
			t.Fatalf("%d wait, want none: they are taken as they come", got)
		}
		ask(1, "then")
		time.Sleep(takeFull - time.Millisecond)
		if got := waiting(); got != 1 {
			t.Errorf("%d wait shortly after a flood, want 1", got)
		}
		time.Sleep(2 * time.Millisecond)
		if got := waiting(); got != 0 {
			t.Errorf("%d wait a second after a flood, want none", got)
		}
		ask(1, "later")
		time.Sleep(takeEvery + time.Millisecond)
		if got := waiting(); got != 0 {
			t.Errorf("%d wait when the flood is over, want none", got)
		}
		stop()
		synctest.Wait()
	})
}

func TestATableForgets(t *testing.T) {
	h := newHousehold(t)
	h.Append([]querylog.Record{h.asks(t, "tv", "ads.example"), h.asks(t, "phone", "ads.example")})
	h.Forget(spansOf("tv")) // also what waits
	if all, _ := h.Of(spansOf("tv"), noon); len(all) != 0 || len(h.devices["tv"]) != 0 {
		t.Errorf("got %q of a device that was forgotten", names(all))
	}
	if all, _ := h.Of(spansOf("phone"), noon); len(all) != 1 {
		t.Errorf("got %q of another device, want its name", names(all))
	}
	h.at = noon.Add(Kept + time.Second)
	h.expire()
	if len(h.devices) != 0 || h.total != 0 {
		t.Errorf("after %s there are %d devices and %d names, want none", Kept, len(h.devices), h.total)
	}
}

func TestATableFollowsTheLists(t *testing.T) {
	h := newHousehold(t)
	h.Append([]querylog.Record{h.asks(t, "tv", "ads.example")})
	h.take()
	other := newHousehold(t)
	h.policy = other.policy
	h.Append([]querylog.Record{h.asks(t, "tv", "ads.example"), h.asks(t, "tv", "ads.example")})
	if len(h.waiting.lookups) != 1 {
		t.Errorf("got %d waiting, want one: the rule of another policy is read once", len(h.waiting.lookups))
	}
	all, _ := h.Of(spansOf("tv"), noon)
	if len(all) != 1 || all[0].Lookups != 3 {
		t.Errorf("got %+v, want each lookup counted once", all)
	}
}

// A lookup that tells of another policy may come when there is no room for it: the next one tells it.
func TestATableFollowsTheListsAfterAFlood(t *testing.T) {
	h := newHousehold(t)
	h.Append([]querylog.Record{h.asks(t, "tv", "ads.example")})
	h.take()
	h.policy = newHousehold(t).policy
	for i := range maxWaiting {
		h.Append([]querylog.Record{h.asks(t, "phone", fmt.Sprintf("a%d.ads.example", i))})
	}
	h.Append([]querylog.Record{h.asks(t, "tv", "ads.example")})
	h.take()
	h.Append([]querylog.Record{h.asks(t, "tv", "ads.example")})
	all, missed := h.Of(spansOf("tv"), noon)
	if len(all) != 1 || all[0].Lookups != 3 || missed != 0 {
		t.Errorf("got %+v and %d missed, want each lookup counted once", all, missed)
	}
	for _, b := range h.devices["tv"] {
		if got, want := b.generation, h.policy.Generation(); got != want {
			t.Errorf("got the rule of policy %d, want that of %d: it is read when there is room again", got, want)
		}
	}
}

func TestATableRuns(t *testing.T) {
	h := newHousehold(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	h.Append([]querylog.Record{h.asks(t, "tv", "ads.example")})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		h.mu.Lock()
		n := h.total
		h.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what waits is not taken")
		}
	}
	stop()
	<-done
}

// Append is called where queries are answered.
func TestAppendAllocatesNothing(t *testing.T) {
	h := newHousehold(t)
	known := []querylog.Record{h.asks(t, "tv", "passed.example"), h.asks(t, "tv", "ads.example")}
	fresh := []querylog.Record{h.asks(t, "tv", "new.ads.example")}
	h.Append(known)
	h.take()
	for what, recs := range map[string][]querylog.Record{"a known name": known, "a new name": fresh} {
		if n := testing.AllocsPerRun(1000, func() { h.Append(recs) }); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	h := newHousehold(b)
	recs := []querylog.Record{h.asks(b, "tv", "ads.example")}
	h.Append(recs)
	h.take()
	b.ReportAllocs()
	for b.Loop() {
		h.Append(recs)
	}
}

// The counts agree with a list of all times, whatever the order and however long the
// pauses.
func TestMinutesAgreeWithTheirSlowTwin(t *testing.T) {
	base := minuteOf(noon)
	for seed := range int64(50) {
		var m minutes
		counts := map[int64]int{}
		last, at := int64(0), base
		for i := range int64(200) {
			at += (i*7919+seed*104729)%9 - 2
			if (i+seed)%67 == 0 {
				at += 45
			}
			minute := at
			m.add(minute)
			if minute >= last+hour {
				clear(counts)
			}
			last = max(last, minute)
			for c := range counts {
				if c <= last-hour {
					delete(counts, c)
				}
			}
			counts[minute]++
			from := last - (i % hour)
			sum, most, first, before := 0, 0, last, 0
			for c, n := range counts {
				if c < from {
					before++
					continue
				}
				sum, most, first = sum+n, max(most, n), min(first, c)
			}
			if gotSum, gotMost, gotFirst := m.since(from, last); gotSum != sum || gotMost != most || gotFirst != first || m.used(from) != before {
				t.Fatalf("seed %d, step %d: got %d, %d, %d and %d before; want %d, %d, %d and %d", seed, i, gotSum, gotMost, gotFirst-base, m.used(from), sum, most, first-base, before)
			}
		}
	}
	var none minutes
	if sum, most, first := none.since(0, base); sum+most != 0 || first != base || none.used(base) != 0 {
		t.Error("where nothing was counted there is something")
	}
}
