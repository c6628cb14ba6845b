package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/querylog"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// A home is a log in memory, and who its devices are.
type home struct {
	mu       sync.Mutex
	rows     []querylog.Row
	coverage querylog.Coverage
	ledger   []querylog.Event
	names    map[string]string // identity -> the device of today
	ignored  map[string]bool
	fails    error
}

func (h *home) Rows(_ context.Context, f querylog.Filter) iter.Seq2[querylog.Row, error] {
	return func(yield func(querylog.Row, error) bool) {
		h.mu.Lock()
		rows := slices.Clone(h.rows)
		err := h.fails
		h.mu.Unlock()
		if err != nil {
			yield(querylog.Row{}, err)
			return
		}
		rows = slices.DeleteFunc(rows, func(r querylog.Row) bool { return r.ID <= f.After || r.Last.Before(f.Since) })
		if f.Limit > 0 {
			rows = rows[max(0, len(rows)-f.Limit):]
		}
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (h *home) Sums(_ context.Context, f querylog.SumFilter) iter.Seq2[*querylog.Sum, error] {
	return func(yield func(*querylog.Sum, error) bool) {
		h.mu.Lock()
		rows := slices.Clone(h.rows)
		h.mu.Unlock()
		for _, r := range rows {
			if of := f.Devices; of != nil && !querylog.AnyHas(of, r.Device, r.Time.Time) {
				continue
			}
			if !r.Time.Before(f.Since) && r.Time.Before(f.Until) && !yield(&querylog.Sum{Row: r}, nil) {
				return
			}
		}
	}
}

func (h *home) Begun(_ context.Context, f querylog.Filter, listed bool) iter.Seq2[*querylog.Row, error] {
	return func(yield func(*querylog.Row, error) bool) {
		for _, r := range h.rows {
			if (!listed || r.Attribution == "rule") && r.Attempts > 0 && !r.Time.Before(f.Since) && r.Time.Before(f.Until) && !yield(&r, nil) {
				return
			}
		}
	}
}

func (h *home) Coverage(_ context.Context, since, until time.Time) (querylog.Coverage, error) {
	c := h.coverage
	c.AttemptGap = 30 * time.Second
	c.AttemptsSince = querylog.Time{Time: noon.AddDate(-1, 0, 0)}
	c.Since, c.Until = querylog.Time{Time: since}, querylog.Time{Time: until}
	return c, nil
}

func (h *home) Bindings(context.Context) ([]devices.Binding, error) { return nil, nil }

func (h *home) Ledger(_ context.Context, since, _ time.Time) ([]querylog.Event, error) {
	return slices.DeleteFunc(slices.Clone(h.ledger), func(e querylog.Event) bool { return e.Time.Before(since) }), nil
}

func (h *home) Totals(_ context.Context, f querylog.TotalsFilter) iter.Seq2[querylog.Total, error] {
	return func(yield func(querylog.Total, error) bool) {
		for _, r := range h.rows {
			if (f.Devices == nil || slices.Contains(f.Devices, r.Device)) && !yield(querylog.Total{Hour: querylog.Time{Time: r.Time.Truncate(time.Hour)}, Device: r.Device, First: r.Time, Lookups: r.Count}, nil) {
				return
			}
		}
	}
}

// asked adds a row.
func (h *home) asked(at time.Time, device, vendor, name string, change ...func(*querylog.Row)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := querylog.Row{
		Time: querylog.Time{Time: at}, Last: querylog.Time{Time: at.Add(time.Second)}, Count: 1, Device: device, Name: name, Vendor: vendor, Tier: "telemetry", Attribution: "rule", AttributionList: "ads",
		Attempts: 1, Verdict: "block", Rcode: "NOERROR", Store: "s", ID: int64(len(h.rows) + 1), Binding: 1,
	}
	for _, c := range change {
		c(&r)
	}
	h.rows = append(h.rows, r)
}

// A mailbox is a place that keeps what it takes.
type mailbox struct {
	mu   sync.Mutex
	got  []*Message
	fail error
}

func (b *mailbox) send(_ context.Context, m *Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.got = append(b.got, m)
	return nil
}

func (b *mailbox) texts() (all []string) {
	for _, m := range b.got {
		for i := range m.Alerts {
			all = append(all, m.Alerts[i].Text)
		}
	}
	return all
}

// A desk is a Teller with one place, whose clock the test moves.
type desk struct {
	t    *testing.T
	home *home
	box  *mailbox
	path string
	s    Settings
	from time.Time // when the next server begins
	*Teller
}

func newDesk(t *testing.T, tell ...string) *desk {
	d := &desk{t: t, home: &home{names: map[string]string{}, ignored: map[string]bool{}}, box: &mailbox{}, path: filepath.Join(t.TempDir(), "alerts.json")}
	d.s = Settings{Tell: tell, AtOnce: tell, Coverage: 95, Next: func(at time.Time) time.Time { return at.Truncate(24 * time.Hour).Add(32 * time.Hour) }, Places: []Place{{Name: "webhook", To: "https://x", Send: d.box.send}}}
	d.start()
	return d
}

// start is that of another server with the same file.
func (d *desk) start() {
	d.Teller = New(Options{Path: d.path, Node: "attic", Began: d.from, Zone: time.UTC, Logger: slog.New(slog.DiscardHandler), Settings: func() Settings { return d.s }, Open: func(context.Context) (*Source, error) {
		today := func(identity string, _ time.Time) string {
			if name := d.home.names[identity]; name != "" {
				return name
			}
			return identity
		}
		return &Source{Log: d.home, Today: today, Name: func(device string) string { return device }, Ignored: func(device string) bool { return d.home.ignored[device] }, Planned: func(identity string, at time.Time) (string, string, []querylog.DeviceSpan) {
			return today(identity, at), identity, []querylog.DeviceSpan{{Device: identity}, {Device: today(identity, at)}}
		}, Close: func() error { return nil }}, nil
	}})
}

func (d *desk) wants(texts ...string) {
	d.t.Helper()
	got := d.box.texts()
	ok := len(got) == len(texts)
	for i := range min(len(got), len(texts)) {
		ok = ok && strings.Contains(got[i], texts[i])
	}
	if !ok {
		d.t.Errorf("got %q, want %q", got, texts)
	}
}

// The first look may be late, on a busy machine: what came since the server began is new.
func TestWhatCameBeforeTheFirstLookIsTold(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.from = noon
	d.start()
	d.home.asked(noon.Add(-time.Hour), "tv", "Acme", "old.example")
	d.home.asked(noon.Add(time.Second), "tv", "Borealis", "new.example")
	d.home.fails = errors.New("the disk sleeps")
	d.round(t.Context(), noon.Add(10*time.Second))
	d.home.fails = nil
	d.round(t.Context(), noon.Add(20*time.Second))
	d.wants("tv asked for new.example")
	d.s.Tell, d.s.AtOnce = []string{FirstLookup, WentAround}, []string{FirstLookup, WentAround}
	d.home.asked(noon.Add(30*time.Second), "tv", "Lookaway", "doh.example", func(r *querylog.Row) { r.Purpose = "dns-bypass" })
	d.round(t.Context(), noon.Add(40*time.Second)) // it is watched from now on
	d.wants("tv asked for new.example")
}

// What was not watched when a server began is watched from when somebody wanted it.
func TestASettingOfLaterIsOfLater(t *testing.T) {
	d := newDesk(t)
	d.from = noon
	d.start()
	d.round(t.Context(), noon.Add(time.Second))
	d.home.asked(noon.Add(2*time.Second), "tv", "Acme", "before.example")
	d.s.Tell, d.s.AtOnce = []string{FirstLookup}, []string{FirstLookup}
	d.round(t.Context(), noon.Add(10*time.Second))
	d.wants()
}

// An open row of no device is looked at again, though a closed one came behind it.
func TestAnOpenRowIsWaitedFor(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.round(t.Context(), noon)
	d.home.asked(noon.Add(time.Second), "", "Acme", "open.example", func(r *querylog.Row) { r.Open, r.Binding = true, 0 })
	d.home.asked(noon.Add(2*time.Second), "phone", "Borealis", "closed.example")
	d.round(t.Context(), noon.Add(10*time.Second))
	d.home.rows[0].Open, d.home.rows[0].Binding, d.home.rows[0].Device = false, 1, "tv"
	d.round(t.Context(), noon.Add(20*time.Second))
	d.wants("phone asked for closed.example", "tv asked for open.example")
}

func TestEachDeviceAndVendorIsToldOnce(t *testing.T) {
	d := newDesk(t, FirstLookup, WentAround)
	d.home.asked(noon.Add(-time.Hour), "tv", "Acme", "old.example")
	d.round(t.Context(), noon)
	d.wants() // what the log has when it begins is not new
	d.home.asked(noon.Add(time.Second), "tv", "Acme", "other.example")
	d.home.asked(noon.Add(2*time.Second), "tv", "Borealis", "first.example", func(r *querylog.Row) { r.Purpose = "telemetry" }) // as the tier
	d.home.asked(noon.Add(3*time.Second), "tv", "Borealis", "second.example")
	d.home.asked(noon.Add(4*time.Second), "phone", "Acme", "phone.example", func(r *querylog.Row) { r.Verdict, r.ObservedBy = "observe", "tier" })
	d.home.asked(noon.Add(5*time.Second), "phone", "Acme", "phone.example", func(r *querylog.Row) { r.Tier = "essential"; r.Vendor = "Cumulus" })
	d.home.asked(noon.Add(6*time.Second), "phone", "Owner Inc.", "any.example", func(r *querylog.Row) { r.Attribution = "owner" })
	d.home.asked(noon.Add(7*time.Second), "phone", "Lookaway", "doh.example", func(r *querylog.Row) { r.Purpose, r.Product, r.Verdict = "dns-bypass", "Lookaway DNS", "pass" })
	d.home.asked(noon.Add(8*time.Second), "phone", "Lookaway", "doh2.example", func(r *querylog.Row) { r.Purpose, r.Product = "dns-bypass", "Lookaway DNS" })
	want := []string{
		"tv asked for first.example, which the list ads has as Borealis's (telemetry); it was blocked",
		"phone asked for phone.example, which the list ads has as Acme's (telemetry); it was answered, as names of tier mixed are not blocked for it. The",
		"phone asked for doh.example, a name of another resolver (Lookaway DNS), and it was answered: what it asks there is not in this log",
	}
	d.round(t.Context(), noon.Add(10*time.Second))
	d.wants(want...)
	d.round(t.Context(), noon.Add(20*time.Second))
	d.start()
	d.round(t.Context(), noon.Add(30*time.Second))
	d.wants(want...)
	if got := d.box.got[0].Alerts[0].Command; got != "telltale log --device tv --vendor Borealis --since 2026-11-28T12:00:02Z --until 2026-11-28T12:00:04Z" {
		t.Errorf("got %q", got)
	}
}

// Imported rows are numbered by the time of their lookups: they may come below rows that
// were looked at.
func TestWhatWasImportedIsEarlier(t *testing.T) {
	d := newDesk(t, FirstLookup, WentAround)
	d.home.names["mac:1"] = "tv"
	number := func(id int64) func(*querylog.Row) { return func(r *querylog.Row) { r.ID = id } }
	d.round(t.Context(), noon)
	d.home.asked(noon.Add(time.Second), "tv", "Acme", "a.example", number(1000))
	d.round(t.Context(), noon.Add(10*time.Second))
	d.wants("tv asked for a.example")
	d.home.asked(noon.AddDate(0, 0, -5), "mac:1", "Borealis", "b.example", number(10), func(r *querylog.Row) { r.Imported = "pihole" })
	d.home.asked(noon.AddDate(0, 0, -5), "mac:1", "Cumulus", "doh.example", number(11), func(r *querylog.Row) { r.Imported, r.Purpose, r.Product = "pihole", "dns-bypass", "A" })
	d.home.asked(noon.Add(11*time.Second), "tv", "Borealis", "b.example", number(1001))
	d.home.asked(noon.Add(12*time.Second), "phone", "Borealis", "b.example", number(1002))                                                                   // another device
	d.home.asked(noon.Add(13*time.Second), "tv", "Cumulus", "c.example", number(1003))                                                                       // was no first lookup of telemetry
	d.home.asked(noon.Add(14*time.Second), "tv", "Cumulus", "doh.example", number(1004), func(r *querylog.Row) { r.Purpose, r.Product = "dns-bypass", "B" }) // another product
	d.round(t.Context(), noon.Add(20*time.Second))
	d.wants("tv asked for a.example", "phone asked for b.example", "tv asked for c.example", "tv asked for doh.example")
}

// A row that has no device yet gets one until it is closed.
func TestARowWithoutADeviceIsLookedAtWhenItIsClosed(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.round(t.Context(), noon)
	d.home.asked(noon.Add(time.Second), "addr:192.0.2.7", "Acme", "x.example", func(r *querylog.Row) { r.Open, r.Binding = true, 0 })
	d.round(t.Context(), noon.Add(2*time.Second))
	d.wants()
	d.home.rows[0].Open, d.home.rows[0].Device, d.home.rows[0].Binding = false, "tv", 1
	d.round(t.Context(), noon.Add(time.Minute))
	d.wants("tv asked for x.example")
}

func TestWhatIsNotTold(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.round(t.Context(), noon)
	d.home.ignored["guest"] = true
	d.home.names["mac:02:00:5e:10:00:01"] = "tv"
	d.home.asked(noon.Add(time.Second), "mac:02:00:5e:10:00:01", "Acme", "x.example")
	d.home.asked(noon.Add(2*time.Second), "guest", "Acme", "guest.example")
	d.home.asked(noon.Add(3*time.Second), "old", "Acme", "old.example", func(r *querylog.Row) { r.Imported = "pihole" })
	d.round(t.Context(), noon.Add(10*time.Second))
	d.home.asked(noon.Add(11*time.Second), "tv", "Acme", "named.example") // the same device, which got a name
	d.home.asked(noon.Add(12*time.Second), "old", "Acme", "now.example")  // it asked before
	d.round(t.Context(), noon.Add(20*time.Second))
	d.wants("tv asked for x.example")
	d.s.Tell = nil
	d.home.asked(noon.Add(21*time.Second), "tv", "Borealis", "meanwhile.example")
	d.round(t.Context(), noon.Add(30*time.Second))
	d.s.Tell = []string{FirstLookup}
	d.round(t.Context(), noon.Add(40*time.Second)) // what came while it was off is not new
	d.home.asked(noon.Add(41*time.Second), "tv", "Cumulus", "again.example")
	d.round(t.Context(), noon.Add(50*time.Second))
	d.wants("tv asked for x.example", "tv asked for again.example")
}

// A store that was put in another's place, or an older copy of it, begins with lower numbers.
func TestAnotherStoreIsReadFromItsBeginning(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.round(t.Context(), noon)
	for i := range 20 {
		d.home.asked(noon.Add(time.Duration(i)*time.Second), "tv", "Acme", "x.example")
	}
	d.round(t.Context(), noon.Add(time.Minute))
	d.home.rows = nil
	d.home.asked(noon.Add(2*time.Minute), "tv", "Acme", "x.example", func(r *querylog.Row) { r.Store = "other" })
	d.home.asked(noon.Add(2*time.Minute), "phone", "Acme", "y.example", func(r *querylog.Row) { r.Store = "other" })
	d.round(t.Context(), noon.Add(3*time.Minute))
	d.home.rows = d.home.rows[:1]
	d.home.asked(noon.Add(4*time.Minute), "fridge", "Acme", "z.example", func(r *querylog.Row) { r.Store = "other" })
	d.home.rows[1].ID = 1
	d.round(t.Context(), noon.Add(5*time.Minute))
	d.wants("tv asked for x.example", "phone asked for y.example", "fridge asked for z.example")
}

func TestTheDigestWaits(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.s.AtOnce = nil
	d.round(t.Context(), noon)
	for i := range 3 {
		d.home.asked(noon.Add(time.Duration(i)*time.Hour), fmt.Sprintf("tv-%d", i), "Acme", "x.example")
		d.round(t.Context(), noon.Add(time.Duration(i)*time.Hour+time.Minute))
	}
	d.round(t.Context(), noon.Add(19*time.Hour+59*time.Minute))
	d.wants()
	d.round(t.Context(), noon.Add(20*time.Hour)) // eight o'clock
	d.wants("tv-0 asked", "tv-1 asked", "tv-2 asked")
	if len(d.box.got) != 1 || d.box.got[0].Title() != "Telltale: 3 alerts" {
		t.Errorf("got %d messages, the first %q", len(d.box.got), d.box.got[0].Title())
	}
	text := d.box.got[0].Text(time.UTC)
	for _, want := range []string{"Sat 28 Nov 12:00  tv-0 asked for x.example", "\n    telltale log --device tv-0 --vendor Acme", "on which Telltale runs (attic)", "no proof that a connection was made"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// What a place has not taken is kept over restarts, and sent again with the same ids.
func TestAtLeastOnce(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.round(t.Context(), noon)
	d.box.fail = errors.New("no route to host")
	d.home.asked(noon, "tv", "Acme", "x.example")
	d.round(t.Context(), noon.Add(time.Minute))
	st := d.Status()[0]
	if st.Problem != "no route to host" || st.Waiting != 1 || st.Late || st.Since.IsZero() {
		t.Errorf("got %+v", st)
	}
	d.box.fail = nil
	d.round(t.Context(), noon.Add(time.Minute)) // it is tried again after a minute by the real clock
	d.wants()
	d.start()
	d.round(t.Context(), noon.Add(2*time.Minute))
	d.wants("tv asked for x.example")
	if st := d.Status()[0]; st.Problem != "" || st.Waiting != 0 || st.Time.IsZero() {
		t.Errorf("got %+v", st)
	}
	told, err := Read(d.path)
	if err != nil || len(told) != 1 || len(told[0].Waits) != 0 || told[0].ID != d.box.got[0].Alerts[0].ID {
		t.Errorf("got %+v, %v", told, err)
	}
}

// A server that ends after a place has taken a message, and before that is kept, tells it
// again: by the same ids.
func TestTwiceRatherThanNotAtAll(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.round(t.Context(), noon)
	d.home.asked(noon, "tv", "Acme", "x.example")
	d.box.fail = errors.New("not yet")
	d.round(t.Context(), noon.Add(time.Minute))
	before, err := os.ReadFile(d.path)
	if err != nil {
		t.Fatal(err)
	}
	d.box.fail = nil
	for range 2 {
		if err := os.WriteFile(d.path, before, 0o600); err != nil {
			t.Fatal(err)
		}
		d.start()
		d.round(t.Context(), noon.Add(2*time.Minute))
	}
	if len(d.box.got) != 2 || d.box.got[0].ID != d.box.got[1].ID || d.box.got[0].Alerts[0].ID != d.box.got[1].Alerts[0].ID {
		t.Errorf("got %+v", d.box.got)
	}
}

// A place that hangs holds up neither the others nor the end of the server.
func TestAPlaceThatHangs(t *testing.T) {
	d := newDesk(t, FirstLookup)
	other := &mailbox{}
	d.s.Places = []Place{{Name: "smtp", Send: func(ctx context.Context, _ *Message) error { <-ctx.Done(); return ctx.Err() }}, {Name: "webhook", Send: other.send}}
	d.round(t.Context(), noon)
	d.home.asked(noon, "tv", "Acme", "x.example")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.round(ctx, noon.Add(time.Minute)) }()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		other.mu.Lock()
		n := len(other.got)
		other.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the other place is not told")
		}
	}
	stop()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end with the server")
	}
	if told, err := Read(d.path); err != nil || !slices.Equal(told[0].Waits, []string{"smtp"}) {
		t.Errorf("got %+v, %v", told, err)
	}
}

func TestManyAlerts(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.round(t.Context(), noon)
	d.box.fail = errors.New("away")
	for i := range mostKept + 50 {
		d.home.asked(noon.Add(time.Second), fmt.Sprintf("mac-%d", i), "Acme", "x.example")
	}
	d.round(t.Context(), noon.Add(time.Minute))
	d.box.fail = nil
	d.start()
	d.round(t.Context(), noon.Add(2*time.Minute))
	if len(d.box.got) != mostKept/mostInOne || d.box.got[0].Dropped != 50 || d.box.got[1].Dropped != 0 || len(d.box.texts()) != mostKept || d.box.got[0].More != mostKept-mostInOne {
		t.Errorf("got %d messages with %d alerts, the first %d dropped, %d more", len(d.box.got), len(d.box.texts()), d.box.got[0].Dropped, d.box.got[0].More)
	}
	if short := short(d.box.got[0], ntfyMost, time.UTC); len(short) > ntfyMost || !strings.Contains(string(short), " more: telltale alerts\n") {
		t.Errorf("got %d octets that end in %q", len(short), short[max(0, len(short)-60):])
	}
	if info, err := os.Stat(d.path); err != nil || info.Size() > 2<<20 || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
}

func TestLessWasRecorded(t *testing.T) {
	d := newDesk(t, Coverage)
	gap := func(since, until time.Time) {
		d.home.coverage.Gaps = []querylog.Gap{{Since: querylog.Time{Time: since}, Until: querylog.Time{Time: until}, Effect: querylog.Unrecorded, Kind: querylog.GapDown}}
	}
	gap(noon.Add(-3*time.Hour), noon)
	d.round(t.Context(), noon) // before it is watched
	d.wants()
	gap(noon, noon.Add(72*time.Minute))
	d.round(t.Context(), noon.Add(2*time.Hour)) // 5 % of a day are missing
	d.wants()
	gap(noon, noon.Add(90*time.Minute))
	for range 3 {
		d.round(t.Context(), noon.Add(3*time.Hour))
		d.start()
	}
	d.wants("1 h 30 m of the last 24 hours were not recorded: whether anything was asked then is not in the log (wanted are 95 % of a day, alerts.coverage). The longest gap: no server ran Sat 28 Nov 12:00 to 13:30 (1 h 30 m).")
	gap(noon, noon.Add(time.Minute))
	d.round(t.Context(), noon.Add(30*time.Hour))
	gap(noon.Add(31*time.Hour), noon.Add(35*time.Hour))
	d.start()
	d.round(t.Context(), noon.Add(36*time.Hour))
	d.wants("1 h 30 m of", "4 h of")
}

// Where all of a day is wanted, what is shorter than a second is not told, and a second is.
func TestAllOfADayIsWanted(t *testing.T) {
	d := newDesk(t, Coverage)
	d.s.Coverage = 100
	d.round(t.Context(), noon)
	for i, missing := range []time.Duration{time.Second - time.Millisecond, time.Second} {
		since := noon.Add(time.Hour)
		d.home.coverage.Gaps = []querylog.Gap{{Since: querylog.Time{Time: since}, Until: querylog.Time{Time: since.Add(missing)}, Effect: querylog.Unrecorded, Kind: querylog.GapDown}}
		d.round(t.Context(), noon.Add(time.Duration(i+2)*time.Hour))
		if got := len(d.box.texts()); got != i {
			t.Errorf("%v are missing: %d alerts: %q", missing, got, d.box.texts())
		}
	}
	d.wants("1 s of the last 24 hours were not recorded")
}

func TestANameThatMoved(t *testing.T) {
	d := newDesk(t, DestinationMoved)
	event := func(at time.Time, kind, name, detail string) {
		d.home.ledger = append(d.home.ledger, querylog.Event{Time: querylog.Time{Time: at}, Node: "attic", Kind: kind, Subject: name, Detail: detail})
	}
	event(noon.Add(-time.Hour), "destination-moved", "before.example", "country: SG, was IN")
	d.round(t.Context(), noon)
	d.wants() // what the log has when it begins is not told
	event(noon.Add(time.Minute), "destination-moved", "x.example", "country: SG, was IN (by c.mmdb of 2026-06-17)")
	event(noon.Add(time.Minute), "destination-moved", "y.example", "operator: Acme\x1b, was Borealis")
	event(noon.Add(time.Minute), "destination", "z.example", "aliases: none, was z.cdn.example")
	d.round(t.Context(), noon.Add(2*time.Minute))
	d.wants() // the ledger is looked at every ten minutes
	for i := range 3 {
		d.round(t.Context(), noon.Add(11*time.Minute+time.Duration(i)*ledgerEvery))
		d.start()
	}
	want := []string{
		"x.example leads elsewhere than when it was last asked for: country: SG, was IN (by c.mmdb of 2026-06-17). That is what databases say of its addresses here; where data goes from there, is not in DNS.",
		"y.example leads elsewhere than when it was last asked for: operator: Acme?, was Borealis. That",
	}
	d.wants(want...)
	if a := d.box.got[0].Alerts[0]; a.Command != "telltale destinations x.example --history" || a.Name != "x.example" || a.title() != "x.example: leads to another operator or country" || !a.Time.Equal(noon.Add(time.Minute)) {
		t.Errorf("got %+v", a)
	}
	event(noon.Add(24*time.Hour), "destination-moved", "x.example", "country: IN, was SG")
	for _, days := range []int{1, 40} {
		d.round(t.Context(), noon.Add(time.Duration(24*days)*time.Hour+time.Minute))
		d.start()
	}
	d.wants(append(want, "country: IN, was SG")...)
	if len(d.kept(t).Seen) != 0 {
		t.Errorf("what is too old to be told is still kept: %+v", d.kept(t).Seen)
	}
}

// kept is what the file has.
func (d *desk) kept(t *testing.T) *state {
	st, err := readState(d.path)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestForgottenDevices(t *testing.T) {
	d := newDesk(t, FirstLookup)
	d.round(t.Context(), noon)
	d.box.fail = errors.New("away")
	d.home.asked(noon, "mac:02:00:5e:10:00:01", "Acme", "x.example")
	d.home.asked(noon, "phone", "Acme", "anna-phone.x.example")
	d.home.asked(noon, "fridge", "Acme", "x.example")
	d.round(t.Context(), noon.Add(time.Minute))
	d.start()
	if err := d.Forget(map[string]bool{"mac:02:00:5e:10:00:01": true}, []string{"anna-phone"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(d.path)
	if err != nil || strings.Contains(string(text), "02:00:5e") || strings.Contains(string(text), "anna-phone") || !strings.Contains(string(text), "fridge") {
		t.Errorf("got %s, %v", text, err)
	}
}

// Whatever is wrong with the file or the log, it is not written over, and nobody is told
// what is not kept.
func TestWhatCannotBeRead(t *testing.T) {
	d := newDesk(t, FirstLookup)
	for _, text := range []string{"{", `{"version":2}`} {
		if err := os.WriteFile(d.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d.start()
		d.home.asked(noon, "tv", "Acme", "x.example")
		d.round(t.Context(), noon)
		if got, _ := os.ReadFile(d.path); string(got) != text || d.unreadable == "" {
			t.Errorf("got %s, %q", got, d.unreadable)
		}
	}
	if err := os.Remove(d.path); err != nil {
		t.Fatal(err)
	}
	d.round(t.Context(), noon.Add(500*time.Millisecond))
	d.home.fails = errors.New("disk I/O error")
	d.home.asked(noon.Add(time.Second), "phone", "Acme", "y.example")
	d.round(t.Context(), noon.Add(time.Minute))
	if d.unreadable != "disk I/O error" {
		t.Errorf("got %q", d.unreadable)
	}
	d.home.fails = nil
	d.round(t.Context(), noon.Add(2*time.Minute))
	d.wants("phone asked for y.example")
}

// The keys never change.
func TestTheKeysOfAMessage(t *testing.T) {
	m := newMessage("attic", []Alert{{ID: "i", Kind: FirstLookup, Time: querylog.Time{Time: noon}, Found: querylog.Time{Time: noon}, Node: "attic", Device: "d", Label: "l", Vendor: "v", Name: "n", Text: "t", Command: "c"}}, 1, 2, noon)
	m.ID = "m"
	const want = `{"version":1,"id":"m","node":"attic","made":"2026-11-28T12:00:00.000Z","alerts":[{"id":"i","kind":"first-lookup","time":"2026-11-28T12:00:00.000Z","found":"2026-11-28T12:00:00.000Z","node":"attic","device":"d","label":"l","vendor":"v","name":"n","text":"t","command":"c"}],"more":1,"dropped":2}`
	if got, err := json.Marshal(m); string(got) != want || err != nil {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestWordsOfACommand(t *testing.T) {
	for word, want := range map[string]string{"tv": "tv", "Anna's TV": `'Anna'\''s TV'`, "$(reboot)": "'$(reboot)'", "": "''", "mac:02:00:5e:10:00:01": "mac:02:00:5e:10:00:01", "--force": "--force"} {
		if got := quote(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
	if got := plain("tv\n\x1b[31m\u202e" + strings.Repeat("x", 300)); strings.ContainsAny(got, "\n\x1b\u202e") || len(got) != 253 {
		t.Errorf("got %q", got)
	}
}

// That there is no such name, or that nobody knew, is no answer.
func TestWhatBecameOfALookup(t *testing.T) {
	for _, c := range []struct {
		row  querylog.Row
		want string
	}{
		{querylog.Row{Verdict: "block", Rcode: "NXDOMAIN"}, "it was blocked"},
		{querylog.Row{Verdict: "pass", Rcode: "NOERROR"}, "it was answered"},
		{querylog.Row{Verdict: "pass", Rcode: "NXDOMAIN"}, "it was not blocked, and the reply was NXDOMAIN"},
		{querylog.Row{Verdict: "pass"}, "it was not blocked, and had no reply"},
		{querylog.Row{Verdict: "observe", ObservedBy: "pause", Rcode: "SERVFAIL"}, "it was not blocked, as blocking was paused, and the reply was SERVFAIL"},
		{querylog.Row{Verdict: "observe", ObservedBy: "pause", Rcode: "NOERROR"}, "it was answered, as blocking was paused"},
	} {
		if got := answered(&c.row); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.row.Verdict, c.row.Rcode, got, c.want)
		}
	}
}

// An alert gives the reason that the log has, whichever it is.
func TestEachReasonForObservingHasWords(t *testing.T) {
	for by := blocklists.ObservedBy(1); by.String() != "unknown"; by++ {
		if observedAs[by.String()] == "" {
			t.Errorf("%s has no words", by)
		}
	}
}
