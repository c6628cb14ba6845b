package querylog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
)

func TestALookupIsReadBack(t *testing.T) {
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, Node: "attic"})
		at := time.Date(2026, 5, 1, 12, 0, 0, 123_000_000, time.UTC)
		r := lookup(t, p, at, phone(7), "a.tracker.example")
		l.Append([]Record{r})
		r.Time, r.Elapsed = at.Add(2*time.Second), 2500*time.Microsecond
		l.Append([]Record{r})

		check := func(when string, open bool) {
			t.Helper()
			got := rows(t, dir, Filter{})
			if len(got) != 1 {
				t.Fatalf("%s: got %d rows, want 1: %v", when, len(got), got)
			}
			want := Row{
				Time: Time{at}, Last: Time{at.Add(2 * time.Second)}, Count: 2, Node: "attic",
				Device: "mac:02:00:00:00:00:01", Client: "192.168.1.23", Name: "a.tracker.example", Type: "A",
				Verdict: "block", Reason: got[0].Reason, List: "ads", Line: 2, Rule: "tracker.example",
				Vendor: "Xiaomi", Product: "MIUI", Purpose: "analytics", Tier: "telemetry", Source: "https://example.org/claims",
				Rcode: "NOERROR", AnsweredFrom: "policy", Transport: "udp", TTL: 10, Elapsed: 2.5, Region: "intl",
				Attribution: "rule", AttributionList: "ads", AttributionLine: 2,
				DeviceName: "phone", MAC: "02:00:00:00:00:01", Binding: 7, BindingSource: "neighbour", BindingConfidence: "high",
				Attempts: 1, Open: open, Store: got[0].Store, ID: got[0].ID,
			}
			if len(want.Store) != 16 {
				t.Errorf("%s: got store %q, want 16 digits", when, want.Store)
			}
			got[0].Time, got[0].Last = Time{got[0].Time.UTC()}, Time{got[0].Last.UTC()}
			if got[0] != want {
				t.Errorf("%s:\n got %+v\nwant %+v", when, got[0], want)
			}
		}
		time.Sleep(150 * time.Millisecond)
		synctest.Wait()
		check("after the journal is written", true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		check("after the window", false)
		closeLog(t, l)
		check("with the server stopped", false)
		if got := kinds(events(t, dir)); got != "start stop" {
			t.Errorf("got ledger %q, want start and stop", got)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "journal", "*")); len(left) != 0 {
			t.Errorf("got journal files %v after a clean stop, want none", left)
		}
	})
}

func TestJSONHasTheKeysThatAreDocumented(t *testing.T) {
	b, err := json.Marshal(Row{Time: Time{time.Date(2026, 5, 1, 14, 0, 0, 5_000_000, time.FixedZone("", 7200))}})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Fields(`time last count node device client name type verdict list line rule vendor product purpose tier
		source rcode answered_from transport`) {
		if !strings.Contains(string(b), `"`+key+`":`) {
			t.Errorf("got %s, want a key %q", b, key)
		}
	}
	if !strings.HasPrefix(string(b), `{"time":"2026-05-01T12:00:00.005Z"`) {
		t.Errorf("got %s, want the time in UTC with milliseconds", b)
	}
}

func TestWhatFoldsIntoOneRow(t *testing.T) {
	p := policy(t, testList)
	at := time.Now().Truncate(time.Millisecond)
	with := func(change func(*Record)) Record {
		r := lookup(t, p, at, phone(1), "a.tracker.example")
		change(&r)
		return r
	}
	other := phone(2)
	other.Addr = netip.MustParseAddr("fe80::1")
	for _, c := range []struct {
		name string
		r    Record
		rows int
	}{
		{"the same again", with(func(*Record) {}), 1},
		{"later, slower and with another TTL", with(func(r *Record) { r.Time, r.Elapsed, r.TTL = at.Add(time.Second), time.Second, 9 }), 1},
		{"another name", with(func(r *Record) { r.Name = wire(t, "b.tracker.example") }), 2},
		{"another type", with(func(r *Record) { r.Type = dnswire.TypeAAAA }), 2},
		{"another source", with(func(r *Record) { r.Source = FromCache }), 2},
		{"another code", with(func(r *Record) { r.Rcode = dnswire.NXDomain }), 2},
		{"another transport", with(func(r *Record) { r.Transport = TCP }), 2},
		{"another verdict", with(func(r *Record) { r.Verdict.Action = blocklists.Observe }), 2},
		{"an alias that decided", with(func(r *Record) { r.Alias = wire(t, "tracker.example") }), 2},
		{"another address of the device", with(func(r *Record) { r.Binding, r.Client = other, other.Addr }), 2},
	} {
		f := newFold(at)
		for _, r := range []Record{with(func(*Record) {}), c.r} {
			f.add(&r, r.Time.UnixMilli(), byName, 1<<20)
		}
		if got := len(f.rows); got != c.rows {
			t.Errorf("%s: got %d rows, want %d", c.name, got, c.rows)
		}
	}
}

func TestAListEditInAWindowKeepsBothRules(t *testing.T) {
	before, after := policy(t, "tracker.example\n"), policy(t, "# moved\n\ntracker.example\n")
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	now := time.Now()
	l.Append([]Record{lookup(t, before, now, phone(1), "tracker.example"), lookup(t, after, now, phone(1), "tracker.example")})
	closeLog(t, l)
	var got []string
	for _, r := range rows(t, dir, Filter{}) {
		got = append(got, brief(r))
	}
	want := "mac:02:00:00:00:00:01 tracker.example A block ads:1 x1\nmac:02:00:00:00:00:01 tracker.example A block ads:3 x1"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestAnAddressWithoutBindingIsAskedFor(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	for _, c := range []struct {
		name string
		bind func(netip.Addr, string) *devices.Binding
		want string
		out  uint64
	}{
		{"nobody to ask", nil, "addr:192.168.1.23 tracker.example A block ads:2 x3", 0},
		{"nobody knows", func(netip.Addr, string) *devices.Binding { return nil }, "addr:192.168.1.23 tracker.example A block ads:2 x3", 0},
		{"the kernel knows", func(netip.Addr, string) *devices.Binding { return phone(9) },
			"mac:02:00:00:00:00:01 tracker.example A block ads:2 x3", 0},
		{"the device has opted out", func(netip.Addr, string) *devices.Binding {
			b := phone(9)
			b.NoLog = true
			return b
		}, "", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				l := open(t, Options{Dir: dir, Bind: c.bind})
				r := lookup(t, p, time.Now(), phone(0), "tracker.example")
				r.Binding = nil
				for range 3 { // each time the journal is written in between
					l.Append([]Record{r})
					time.Sleep(200 * time.Millisecond)
				}
				check := func(when string) {
					var got []string
					for _, r := range rows(t, dir, Filter{}) {
						got = append(got, brief(r))
					}
					if strings.Join(got, "; ") != c.want {
						t.Errorf("%s: got %q, want %q", when, got, c.want)
					}
				}
				check("from the journal")
				closeLog(t, l)
				check("from the store")
				if got := l.Stats().OptedOut; got != c.out {
					t.Errorf("got %d opted out, want %d", got, c.out)
				}
			})
		})
	}
}

func TestABindingThatComesLateMovesTheRow(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, Bind: func(netip.Addr, string) *devices.Binding { return phone(9) }})
		with := lookup(t, p, time.Now(), phone(9), "tracker.example")
		without := with
		without.Binding = nil
		l.Append([]Record{with})
		l.Append([]Record{without, without})
		time.Sleep(time.Second)
		synctest.Wait()
		for _, when := range []string{"from the journal", "from the store"} {
			got := rows(t, dir, Filter{})
			if len(got) != 1 || got[0].Count != 3 {
				t.Errorf("%s: got %v, want one row of 3", when, got)
			}
			l.Close()
		}
	})
}

// A row that is written cannot move: clients that come while the writer asks for
// another's binding are asked for as well before their rows are written.
func TestABindingIsAskedForBeforeARowIsWritten(t *testing.T) {
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		known := lookup(t, p, time.Now(), phone(9), "tracker.example")
		unknown := known
		unknown.Binding = nil
		stranger := lookup(t, p, time.Now(), nil, "tracker.example")
		var l *Log
		l = open(t, Options{Dir: dir, Bind: func(a netip.Addr, _ string) *devices.Binding {
			if a == stranger.Client {
				l.Append([]Record{known, unknown, unknown})
				return nil
			}
			return phone(9)
		}})
		l.Append([]Record{stranger})
		time.Sleep(time.Second)
		synctest.Wait()
		for _, when := range []string{"from the journal", "from the store"} {
			got := rows(t, dir, Filter{Device: "phone"})
			if len(got) != 1 || got[0].Count != 3 {
				t.Errorf("%s: got %v, want one row of 3", when, got)
			}
			l.Close()
		}
	})
}

// Who is asked about may keep the writer waiting; those behind it are bound by what is known.
func TestAClientThatCannotBeAskedForInTimeIsBoundUnasked(t *testing.T) {
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		asked := 0
		l := open(t, Options{Dir: dir, Bind: func(a netip.Addr, _ string) *devices.Binding {
			asked++
			time.Sleep(250 * time.Millisecond)
			return &devices.Binding{ID: 1, Device: "mac:02:00:00:00:00:01", Addr: a, Source: devices.Neighbour, Confidence: devices.High}
		}, BindNow: func(a netip.Addr, _ string) *devices.Binding {
			return &devices.Binding{ID: 2, Device: "addr:" + a.String(), Addr: a, Source: devices.BareAddress, Confidence: devices.Low}
		}})
		first := lookup(t, p, time.Now(), nil, "tracker.example")
		second := first
		first.Client, second.Client = netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("192.168.1.2")
		l.Append([]Record{first, second})
		time.Sleep(time.Second)
		synctest.Wait()
		for _, when := range []string{"from the journal", "from the store"} {
			var got []string
			for _, r := range rows(t, dir, Filter{}) {
				got = append(got, r.Client+" "+r.BindingSource+" "+r.BindingConfidence)
			}
			slices.Sort(got)
			if want := "192.168.1.1 neighbour high; 192.168.1.2 bare-address low"; strings.Join(got, "; ") != want || asked != 1 {
				t.Errorf("%s: got %q after %d questions, want %q after 1", when, got, asked, want)
			}
			l.Close()
		}
	})
}

func TestOptedOutDevicesAndTheLogSwitchedOff(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	b := phone(1)
	b.NoLog = true
	for _, c := range []struct {
		name string
		o    Options
		r    Record
		want string
	}{
		{"a device that opted out", Options{}, lookup(t, p, time.Now(), b, "tracker.example"), ""},
		{"the log is off", Options{Off: true}, lookup(t, p, time.Now(), phone(1), "tracker.example"), ""},
		{"unlisted names are not kept", Options{NoUnlisted: true}, lookup(t, p, time.Now(), phone(1), "private.example"),
			"mac:02:00:00:00:00:01   pass :0 x1"},
		{"listed ones are", Options{NoUnlisted: true}, lookup(t, p, time.Now(), phone(1), "tracker.example"),
			"mac:02:00:00:00:00:01 tracker.example A block ads:2 x1"},
	} {
		c.o.Dir = t.TempDir()
		l := open(t, c.o)
		l.Append([]Record{c.r})
		closeLog(t, l)
		var got []string
		for _, r := range rows(t, c.o.Dir, Filter{}) {
			got = append(got, brief(r))
		}
		if strings.Join(got, ";") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		files, _ := filepath.Glob(filepath.Join(c.o.Dir, "*"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			if strings.Contains(string(b), "private.example") || c.want == "" && strings.Contains(string(b), "tracker.example") {
				t.Errorf("%s: %s holds the name", c.name, f)
			}
		}
	}
}

func TestFilesAreTheServersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l := open(t, Options{Dir: dir})
	defer l.Close()
	l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "x.example")})
	time.Sleep(150 * time.Millisecond)
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a journal that was needed no longer
		}
		want := os.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: got mode %o, want %o", path, got, want)
		}
		return err
	})
}

func TestTwoServersInOneDirectory(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	var said bytes.Buffer
	_, err := Open(Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	used, ok := err.(*InUseError)
	if !ok || used.PID != os.Getpid() {
		t.Errorf("got %v, want the first one's process id %d", err, os.Getpid())
	}
	if said.Len() > 0 {
		t.Errorf("the caller tells of the error, and the log said, too:\n%s", said.String())
	}
	closeLog(t, l)
	closeLog(t, open(t, Options{Dir: dir}))
}

func TestBindingsAreKept(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	if kept, next, err := l.Bindings(); len(kept) != 0 || next != 1 || err != nil {
		t.Errorf("got %v, %d, %v from a new log, want none and 1", kept, next, err)
	}
	b := phone(41)
	b.NoLog = true
	l.KeepBinding(*b)
	l.KeepBinding(*b)
	closeLog(t, l)
	l = open(t, Options{Dir: dir})
	defer l.Close()
	kept, next, err := l.Bindings()
	if err != nil || next != 42 || len(kept) != 1 || !kept[0].From.Equal(b.From) {
		t.Fatalf("got %v, %d, %v, want the binding and 42", kept, next, err)
	}
	kept[0].From = b.From
	if kept[0] != *b {
		t.Errorf("got %+v, want %+v", kept[0], *b)
	}
}

// TestEndsOfBindingsAreKept ends a binding that is in the store, and reads it
// back from the journal of a server that was killed, then from the store.
func TestEndsOfBindingsAreKept(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	b := *phone(7)
	b.Prefix = netip.MustParsePrefix("192.168.1.0/24")
	l.KeepBinding(b)
	closeLog(t, l)

	l = open(t, Options{Dir: dir})
	b.Until, b.Seen = b.From.Add(2*time.Hour), b.From.Add(time.Hour)
	l.KeepBinding(b)
	l.Flush()
	killed := t.TempDir()
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	for name, dir := range map[string]string{"journal": killed, "store": dir} {
		l := open(t, Options{Dir: dir})
		kept, next, err := l.Bindings()
		if err != nil || next != 8 || len(kept) != 1 {
			t.Fatalf("%s: got %v, %d, %v, want one binding and 8", name, kept, next, err)
		}
		if k := kept[0]; !k.Until.Equal(b.Until) || !k.Seen.Equal(b.Seen) || k.Prefix != b.Prefix || k.Device != b.Device {
			t.Errorf("%s: got %+v, want %+v", name, k, b)
		}
		closeLog(t, l)
	}
}

// TestAnEndedBindingStaysEnded logs a lookup with a binding as it was before it
// ended, as one does that waited for an upstream meanwhile. It must not open the
// binding again, neither in the store nor from the journal of a killed server.
func TestAnEndedBindingStaysEnded(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"store", "journal"} {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		b := *phone(7)
		ended := b
		ended.Until, ended.Seen = b.From.Add(2*time.Hour), b.From.Add(time.Hour)
		l.KeepBinding(b)
		l.KeepBinding(ended)
		closeLog(t, l)

		l = open(t, Options{Dir: dir})
		l.Append([]Record{lookup(t, nil, b.From, &b, "x.example")})
		l.Flush()
		if where == "journal" {
			killed := t.TempDir()
			if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			closeLog(t, l)
			dir = killed
		} else {
			closeLog(t, l)
		}
		for start := range 2 { // the first one reads the journal
			l = open(t, Options{Dir: dir})
			kept, _, err := l.Bindings()
			if err != nil || len(kept) != 1 || !kept[0].Until.Equal(ended.Until) || !kept[0].Seen.Equal(ended.Seen) {
				t.Errorf("%s, start %d: got %+v, %v, want it ended", where, start, kept, err)
			}
			closeLog(t, l)
		}
	}
}

func TestFlushedLookupsAreReadAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	for i := range 5 {
		l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "x.example")})
		l.Flush()
		if got := total(rows(t, dir, Filter{}))["x.example"]; got != uint64(i+1) {
			t.Errorf("got %d lookups, want %d", got, i+1)
		}
	}
	closeLog(t, l)
	l.Flush() // of a closed log does nothing
}

func TestAnAddressSeenJustBeforeTheEndIsAskedForToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, Bind: func(netip.Addr, string) *devices.Binding { return phone(9) }})
	r := lookup(t, nil, time.Now(), phone(9), "x.example")
	l.Append([]Record{r})
	r.Binding = nil
	f := l.fold
	j := &journaler{l: l}
	l.mu.Lock() // as the writer does between asking and taking the fold
	f.add(&r, r.Time.UnixMilli(), byName, l.limit)
	b := batch{old: f, fold: f.header()}
	j.resolveClosed(&b)
	l.mu.Unlock()
	closeLog(t, l)
	got := rows(t, dir, Filter{})
	if len(got) != 1 || got[0].Count != 2 || got[0].Binding != 9 {
		t.Errorf("got %v, want one row of the device", got)
	}
}

func TestAWindowOfManyRowsLastsLonger(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	for _, c := range []struct {
		name string
		rows int
		open time.Duration // until so long after the first lookup
	}{
		{"a few", 100, 10 * time.Second},
		{"many", 500, 20 * time.Second},
		{"very many", 1600, 60 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := open(t, Options{Dir: t.TempDir(), perRow: time.Millisecond})
			defer l.Close()
			for i := range c.rows {
				l.Append([]Record{lookup(t, p, time.Now(), phone(1), fmt.Sprintf("n%d.example", i))})
			}
			time.Sleep(c.open - time.Second)
			synctest.Wait()
			if got := l.Stats(); got.Rows != 0 {
				t.Errorf("%s: got %d rows stored after %v, want none", c.name, got.Rows, c.open-time.Second)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := l.Stats(); got.Rows != uint64(c.rows) {
				t.Errorf("%s: got %d rows stored after %v, want %d", c.name, got.Rows, c.open+time.Second, c.rows)
			}
		})
	}
}
