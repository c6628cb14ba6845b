package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"telltale/fleet"
	"telltale/querylog"
)

// An Opener opens the store of an engine that is in a directory (of a database, one named after it), made if it is not
// there. It is closed before the same is opened again, and by the end of the test.
type Opener func(t testing.TB, dir string, keep querylog.Retention) fleet.Store

// Run runs the suite.
func Run(t *testing.T, open Opener) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *bench)
	}{
		{"what a node has stored is read back as it reads it", readsBack},
		{"a batch that comes twice is stored once", twice},
		{"batches that overlap are stored once", overlapping},
		{"rows of two nodes with the same numbers are both kept", sameNumbers},
		{"a batch that leaves something out is refused", gap},
		{"a copy that goes on by itself is refused", diverged},
		{"a copy that is behind is refused", copyBehind},
		{"a store that another node names is not taken from the one that began it", taken},
		{"what is stored is there when the store is opened again", reopened},
		{"filters choose as they do at a node", filters},
		{"pages have the rows of a node whose totals did not come", pages},
		{"top lists are those of all nodes together", top},
		{"attempts are counted since the first node began", attemptsSince},
		{"totals are the largest that came", totals},
		{"totals of a node whose store was replaced are those of both", totalsOfBoth},
		{"the ledger has every line once, with its node", ledger},
		{"a device is forgotten, and stays so", forget},
		{"a device that is forgotten whole keeps no binding", forgetWhole},
		{"what one node sent of a device is forgotten alone", forgetAtNode},
		{"totals of the hour of a forgetting are those that the node goes on with", forgetWithinHour},
		{"what a node sent is forgotten, and it goes on", forgetNode},
		{"what is too old is deleted", retention},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{T: t, open: open, dir: t.TempDir(), keep: querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1}}
			b.reopen()
			t.Cleanup(b.close)
			c.test(t, b)
		})
	}
}

// A bench has the store that is tested.
type bench struct {
	*testing.T
	open  Opener
	dir   string
	keep  querylog.Retention
	store fleet.Store
}

func (b *bench) close() {
	if b.store != nil {
		if err := b.store.Close(); err != nil {
			b.Error(err)
		}
		b.store = nil
	}
}

func (b *bench) reopen() {
	b.close()
	b.store = b.open(b.T, b.dir, b.keep)
}

// append appends batches, all of which must be stored.
func (b *bench) append(batches ...*fleet.Batch) (rows int) {
	b.Helper()
	got, err := b.store.Append(context.Background(), batches)
	if err != nil {
		b.Fatal(err)
	}
	for i, s := range got {
		if s.Err != nil {
			b.Fatalf("batch %d is refused: %v", i, s.Err)
		}
		if s.Upto < batches[i].To {
			b.Errorf("batch %d up to %d is stored up to %d", i, batches[i].To, s.Upto)
		}
		rows += s.Rows
	}
	return rows
}

// reader returns a reader of the merged log.
func (b *bench) reader() fleet.Reader {
	b.Helper()
	r, done, err := b.store.Open(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(done)
	return r
}

func (b *bench) rows(f querylog.Filter) []querylog.Row {
	b.Helper()
	return readRows(b.T, b.reader(), f)
}

// keys returns the keys that the store has, sorted.
func (b *bench) keys() (all []fleet.Key) {
	b.Helper()
	if err := b.store.Keys(context.Background(), func(k fleet.Key) error { all = append(all, k); return nil }); err != nil {
		b.Fatal(err)
	}
	return sortKeys(all)
}

func sortKeys(all []fleet.Key) []fleet.Key {
	slices.SortFunc(all, func(a, b fleet.Key) int { return cmp.Or(cmp.Compare(a.Store, b.Store), cmp.Compare(a.ID, b.ID)) })
	return all
}

func keysOf(rows []querylog.Row) (all []fleet.Key) {
	for _, r := range rows {
		all = append(all, fleet.Key{Store: r.Store, ID: r.ID})
	}
	return sortKeys(all)
}

// alike is a row without what only tells where it is kept.
func alike(r querylog.Row) querylog.Row {
	r.Store, r.ID, r.Binding = "", 0, 0
	return r
}

// wantAlike compares rows but for their keys and order.
func wantAlike(t *testing.T, got, want []querylog.Row) {
	t.Helper()
	texts := func(rows []querylog.Row) (all []string) {
		for _, r := range rows {
			all = append(all, fmt.Sprintf("%+v", alike(r)))
		}
		slices.Sort(all)
		return all
	}
	g, w := texts(got), texts(want)
	if !slices.Equal(g, w) {
		t.Errorf("got  %d rows:\n%s\nwant %d rows:\n%s", len(g), joined(g), len(w), joined(w))
	}
}

func joined(all []string) (text string) {
	for _, s := range all {
		text += "\t" + s + "\n"
	}
	return text
}

var usual = []Lookup{
	{Device: 1, Name: "metrics.aurora.example", Times: 3}, {Device: 1, Name: "viewing.brightline.example"}, {Device: 2, Name: "a.metrics.aurora.example"},
	{Device: 2, Name: "allowed.aurora.example"}, {Name: "metrics.aurora.example"}, {Device: 1, Name: "shop.example", Times: 2},
}

// home is a node that has stored the usual lookups in several windows.
func home(t testing.TB, name string) *Node {
	n := NewNode(t, name)
	for range 3 {
		n.Store(usual...)
	}
	return n
}

func readsBack(t *testing.T, b *bench) {
	n := home(t, "attic")
	want := n.Rows(querylog.Filter{})
	if len(want) < 15 {
		t.Fatalf("the node has %d rows, which shows nothing", len(want))
	}
	if got := b.append(n.Batches(0, 0, true)...); got != len(want) {
		t.Errorf("%d rows are said to be new, want %d", got, len(want))
	}
	wantAlike(t, b.rows(querylog.Filter{}), want)
	if got, want := b.keys(), keysOf(want); !slices.Equal(got, want) {
		t.Errorf("got keys %v, want %v", got, want)
	}
	listed := n.Rows(querylog.Filter{Listed: true})
	wantAlike(t, b.rows(querylog.Filter{Listed: true}), listed)
}

func twice(t *testing.T, b *bench) {
	n := home(t, "attic")
	batches := n.Batches(0, 0, true)
	b.append(batches...)
	if got := b.append(batches...); got != 0 {
		t.Errorf("%d rows are said to be new the second time", got)
	}
	got, err := b.store.Append(context.Background(), append(batches, batches...)) // in one call, too
	if err != nil || got[0].Err != nil || got[1].Err != nil {
		t.Fatal(got, err)
	}
	wantAlike(t, b.rows(querylog.Filter{}), n.Rows(querylog.Filter{}))
	if got, want := b.keys(), keysOf(n.Rows(querylog.Filter{})); !slices.Equal(got, want) {
		t.Errorf("got keys %v, want %v", got, want)
	}
}

func overlapping(t *testing.T, b *bench) {
	n := home(t, "attic")
	small := n.Batches(0, 1, true)
	if len(small) < 3 {
		t.Fatalf("%d batches, want several", len(small))
	}
	b.append(small[0])
	b.append(n.Batches(0, 0, true)...)
	b.append(small[1:]...)
	wantAlike(t, b.rows(querylog.Filter{}), n.Rows(querylog.Filter{}))
}

func sameNumbers(t *testing.T, b *bench) {
	one, two := home(t, "attic"), home(t, "cellar")
	b.append(append(one.Batches(0, 2, true), two.Batches(0, 3, true)...)...)
	wantAlike(t, b.rows(querylog.Filter{}), append(one.Rows(querylog.Filter{}), two.Rows(querylog.Filter{})...))
	seen := map[fleet.Key]bool{}
	for _, r := range b.rows(querylog.Filter{}) {
		if k := (fleet.Key{Store: r.Store, ID: r.ID}); seen[k] {
			t.Errorf("two rows have the key %v", k)
		} else {
			seen[k] = true
		}
	}
	if got, want := b.keys(), sortKeys(append(keysOf(one.Rows(querylog.Filter{})), keysOf(two.Rows(querylog.Filter{}))...)); !slices.Equal(got, want) {
		t.Errorf("got keys %v, want %v", got, want)
	}
	nodes, err := b.store.Nodes(context.Background())
	if err != nil || len(nodes) != 2 {
		t.Fatalf("got nodes %+v, %v", nodes, err)
	}
	for _, s := range nodes {
		if at, err := b.store.Cursor(context.Background(), s.Store); err != nil || at != s.Upto || at == 0 {
			t.Errorf("store %s of %s is at %d (%v), and its cursor at %d", s.Store, s.Node, s.Upto, err, at)
		}
	}
}

func gap(t *testing.T, b *bench) {
	n := home(t, "attic")
	small := n.Batches(0, 1, true)
	b.append(small[0])
	got, err := b.store.Append(context.Background(), small[2:3])
	var missing *fleet.GapError
	if err != nil || !errors.As(got[0].Err, &missing) || missing.Have != small[0].To {
		t.Fatalf("got %+v, %v; want a gap behind %d", got, err, small[0].To)
	}
	b.append(small[1:]...)
	wantAlike(t, b.rows(querylog.Filter{}), n.Rows(querylog.Filter{}))
}

func diverged(t *testing.T, b *bench) {
	n := home(t, "attic")
	batches := n.Batches(0, 0, true)
	b.append(batches...)
	other := *batches[0]
	other.Windows = slices.Clone(other.Windows)
	other.Windows[len(other.Windows)-1].Lookups++
	got, err := b.store.Append(context.Background(), []*fleet.Batch{&other})
	var apart *fleet.DivergedError
	if err != nil || !errors.As(got[0].Err, &apart) {
		t.Fatalf("got %+v, %v; want that it diverged", got, err)
	}
	wantAlike(t, b.rows(querylog.Filter{}), n.Rows(querylog.Filter{}))
}

// A copy that was off meanwhile has come to a later window: what the other one stored between is not there.
func copyBehind(t *testing.T, b *bench) {
	one := home(t, "attic")
	common := one.Batches(0, 0, true)
	at := common[len(common)-1].To
	other := one.Copy("attic")
	other.Now = other.Now.Add(time.Hour)
	other.Store(usual...)
	one.Store(usual...)
	b.append(common...)
	b.append(other.Batches(at, 0, true)...)
	want := b.keys()
	got, err := b.store.Append(context.Background(), one.Batches(at, 0, true)[:1])
	var apart *fleet.DivergedError
	if err != nil || !errors.As(got[0].Err, &apart) || apart.Window <= at {
		t.Fatalf("got %+v, %v; want that a window behind %d diverged", got, err, at)
	}
	if got := b.keys(); !slices.Equal(got, want) {
		t.Errorf("got keys %v, want %v", got, want)
	}
	b.append(common...) // what is there is still known
}

func taken(t *testing.T, b *bench) {
	attic, cellar := home(t, "attic"), home(t, "cellar")
	batches := attic.Batches(0, 1, true)
	b.append(batches[0])
	for _, c := range []struct {
		name string
		make func() *fleet.Batch
	}{
		{"a window that is there", func() *fleet.Batch { one := *batches[0]; return &one }},
		{"the next window", func() *fleet.Batch { one := *batches[1]; return &one }},
		{"windows of its own", func() *fleet.Batch {
			one := *cellar.Batches(0, 0, true)[0]
			one.Store, one.From, one.Begin = batches[0].Store, 0, 0
			return &one
		}},
	} {
		other := c.make()
		other.Node = "cellar"
		for _, reopened := range []bool{false, true} {
			if reopened {
				b.reopen()
			}
			got, err := b.store.Append(context.Background(), []*fleet.Batch{other})
			var apart *fleet.DivergedError
			if err != nil || !errors.As(got[0].Err, &apart) || apart.Node != "attic" || apart.Window != other.Windows[0].Number {
				t.Fatalf("%s: got %+v, %v; want that the store is the attic's", c.name, got, err)
			}
		}
	}
	// Without windows there is nothing to take, however far it says that it has come.
	got, err := b.store.Append(context.Background(), []*fleet.Batch{{Store: batches[0].Store, Node: "attic", From: batches[0].To, To: 1 << 32}, {Store: batches[0].Store, Node: "cellar", From: batches[0].To, To: 1 << 32}})
	if err != nil || got[0].Upto != batches[0].To || got[1].Upto != batches[0].To {
		t.Errorf("got %+v, %v; want that the store stays at %d", got, err, batches[0].To)
	}
	b.append(batches[1:]...)
	wantAlike(t, b.rows(querylog.Filter{}), attic.Rows(querylog.Filter{}))
	nodes, err := b.store.Nodes(context.Background())
	if err != nil || len(nodes) != 1 || nodes[0].Node != "attic" {
		t.Errorf("got nodes %+v, %v", nodes, err)
	}
}

func reopened(t *testing.T, b *bench) {
	n := home(t, "attic")
	first := n.Batches(0, 0, true)
	b.append(first...)
	b.reopen()
	n.Store(usual...)
	b.append(first...)
	b.append(n.Batches(first[len(first)-1].To, 0, true)...)
	b.reopen()
	wantAlike(t, b.rows(querylog.Filter{}), n.Rows(querylog.Filter{}))
}

func filters(t *testing.T, b *bench) {
	n := home(t, "attic")
	n.Store(Lookup{Device: 2, Name: "shop.example", Alias: "metrics.aurora.example"}, Lookup{Device: 1, Name: "."})
	b.append(n.Batches(0, 0, true)...)
	for _, f := range []querylog.Filter{
		{Name: "=metrics.aurora.example"}, {Name: "=."}, {Name: ".metrics.aurora.example"}, {Names: []string{"=metrics.aurora.example", "viewing*"}},
		{Device: "device 1"}, {Device: "mac:02:00:00:00:00:02"}, {Device: "192.168.1.200"}, {Vendor: "brightline"}, {Verdict: "block"}, {Name: "aurora.example"},
		{Since: Began.Add(time.Minute)}, {Until: Began.Add(time.Minute)}, {Listed: true, Device: "device 2"}, {Without: []querylog.DeviceSpan{{Device: "mac:02:00:00:00:00:01"}}},
	} {
		want := n.Rows(f)
		if len(want) == 0 {
			t.Errorf("the filter %+v shows nothing", f)
		}
		wantAlike(t, b.rows(f), want)
	}
	if got := b.rows(querylog.Filter{Limit: 4}); len(got) != 4 {
		t.Errorf("got %d rows, want the newest 4", len(got))
	}
	page, more, err := b.reader().Page(context.Background(), querylog.Filter{}, 5, false)
	if err != nil || len(page) != 5 || !more {
		t.Errorf("got a page of %d rows, more %v, %v", len(page), more, err)
	}
}

func pages(t *testing.T, b *bench) {
	one, two := NewNode(t, "attic"), NewNode(t, "cellar")
	for range 6 {
		one.Store(Lookup{Device: 1, Name: "metrics.aurora.example"})
		two.Store(Lookup{Device: 2, Name: "shop.example"})
		one.Now, two.Now = one.Now.Add(24*time.Minute), two.Now.Add(24*time.Minute)
	}
	batches := one.Batches(0, 0, true)
	for _, batch := range batches {
		batch.Totals = nil
	}
	b.append(append(batches, two.Batches(0, 0, true)...)...)
	for _, f := range []querylog.Filter{{Devices: []querylog.DeviceSpan{{Device: Binding(1).Device}}}, {Vendor: "Aurora"}, {Verdict: "block"}, {Verdict: "pass"}} {
		page, more, err := b.reader().Page(context.Background(), f, 100, false)
		if err != nil || more || len(page) != 6 {
			t.Errorf("%+v: got a page of %d rows, more %v, %v; want all 6", f, len(page), more, err)
		}
	}
}

func top(t *testing.T, b *bench) {
	one, two := home(t, "attic"), home(t, "cellar")
	b.append(append(one.Batches(0, 0, true), two.Batches(0, 0, true)...)...)
	got, err := b.reader().Top(context.Background(), "names", querylog.Filter{}, 1)
	if err != nil || len(got) != 1 || got[0].Count != 24 {
		t.Errorf("got %+v, %v; want metrics.aurora.example 24 times", got, err)
	}
}

func attemptsSince(t *testing.T, b *bench) {
	if since, _, err := b.reader().AttemptsSince(context.Background()); err != nil || since.After(time.Now()) {
		t.Errorf("of an empty log: %v, %v", since, err)
	}
	b.append(home(t, "attic").Batches(0, 0, true)...)
	since, gap, err := b.reader().AttemptsSince(context.Background())
	if err != nil || !since.Equal(Began) || gap != querylog.DefaultAttempt {
		t.Errorf("got %v, %v, %v; want %v, %v", since, gap, err, Began, querylog.DefaultAttempt)
	}
}

func totals(t *testing.T, b *bench) {
	n := home(t, "attic")
	early := n.Batches(0, 0, false)
	n.Store(usual...)
	late := n.Batches(0, 0, false)
	b.append(early...)
	b.append(late...)
	b.append(early...)
	sum := func(r fleet.Reader) (lookups uint64) {
		for total, err := range r.Totals(context.Background(), querylog.TotalsFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if total.Node != "attic" {
				t.Errorf("a total of node %q", total.Node)
			}
			lookups += total.Lookups
		}
		return lookups
	}
	if got := sum(b.reader()); got != 4*9 {
		t.Errorf("got totals of %d lookups, want %d, those of unlisted names among them", got, 4*9)
	}
}

func totalsOfBoth(t *testing.T, b *bench) {
	before, after := home(t, "attic"), NewNode(t, "attic")
	after.Store(usual...)
	first, second := before.Batches(0, 0, true), after.Batches(0, 0, true)
	b.append(append(first, second...)...)
	b.append(first...)
	b.append(second...)
	lookups, names := uint64(0), uint64(0)
	for total, err := range b.reader().Totals(context.Background(), querylog.TotalsFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		lookups += total.Lookups
		names += total.Names
	}
	if lookups != 4*9 || names != 6 { // the second store has no name that the first has not
		t.Errorf("got totals of %d lookups and %d names, want %d and 6", lookups, names, 4*9)
	}
}

func ledger(t *testing.T, b *bench) {
	one, two := home(t, "attic"), home(t, "cellar")
	for range 2 {
		b.append(append(one.Batches(0, 0, false), two.Batches(0, 0, false)...)...)
	}
	lines, err := b.reader().Ledger(context.Background(), time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	starts := map[string]int{}
	for _, e := range lines {
		if e.Kind == querylog.KindStart {
			starts[e.Node]++
		}
	}
	if starts["attic"] != 3 || starts["cellar"] != 3 {
		t.Errorf("got starts %v, want 3 of each node", starts)
	}
}

func forget(t *testing.T, b *bench) {
	n := home(t, "attic")
	small := n.Batches(0, 1, true)
	b.append(small[0])
	if _, err := b.store.Forget(context.Background(), fleet.Forgetting{Devices: []querylog.DeviceSpan{{Device: "mac:02:00:00:00:00:01", Until: time.Now()}}}); err != nil {
		t.Fatal(err)
	}
	b.append(small...)
	for _, r := range b.rows(querylog.Filter{}) {
		if r.Device == "mac:02:00:00:00:00:01" {
			t.Fatalf("a row of the device is there: %+v", r)
		}
	}
	if got := b.rows(querylog.Filter{Device: "device 2"}); len(got) == 0 {
		t.Error("rows of another device are gone, too")
	}
}

func forgetWhole(t *testing.T, b *bench) {
	n := home(t, "attic")
	b.append(n.Batches(0, 0, true)...)
	gone := Binding(1).Device
	if rows, err := b.store.Forget(context.Background(), fleet.Forgetting{Devices: []querylog.DeviceSpan{{Device: gone}}}); err != nil || rows == 0 {
		t.Fatal(rows, err)
	}
	bound, err := b.reader().Bindings(context.Background())
	if err != nil || len(bound) == 0 {
		t.Fatalf("got bindings %v, %v; want those of the other device", bound, err)
	}
	for _, one := range bound {
		if one.Device == gone {
			t.Errorf("a binding is kept: %+v", one)
		}
	}
}

// told returns how many lookups the totals of a node have, of a device where it is not "".
func (b *bench) told(node, device string) (lookups uint64) {
	b.Helper()
	for total, err := range b.reader().Totals(context.Background(), querylog.TotalsFilter{}) {
		if err != nil {
			b.Fatal(err)
		}
		if total.Node == node && (device == "" || total.Device == device) {
			lookups += total.Lookups
		}
	}
	return lookups
}

func forgetAtNode(t *testing.T, b *bench) {
	attic, cellar := home(t, "attic"), home(t, "cellar")
	gone := Binding(1).Device
	batches := append(attic.Batches(0, 0, true), cellar.Batches(0, 0, true)...)
	b.append(batches...)
	rows, err := b.store.Forget(context.Background(), fleet.Forgetting{Node: "attic", Devices: []querylog.DeviceSpan{{Device: gone}}})
	if want := int64(len(attic.Rows(querylog.Filter{Device: gone}))); err != nil || rows != want {
		t.Errorf("%d rows are said to be forgotten, want %d (%v)", rows, want, err)
	}
	b.append(batches...)
	fresh := NewNode(t, "attic") // a store that was restored, with rows of before
	fresh.Store(usual...)
	b.append(fresh.Batches(0, 0, true)...)
	for _, r := range b.rows(querylog.Filter{}) {
		if r.Device == gone && r.Node == "attic" {
			t.Fatalf("a row is there: %+v", r)
		}
	}
	if got, want := len(b.rows(querylog.Filter{Device: gone})), len(cellar.Rows(querylog.Filter{Device: gone})); got != want {
		t.Errorf("the other node has %d rows of the device, want %d", got, want)
	}
	if got, want := b.told("attic", gone), uint64(0); got != want {
		t.Errorf("its totals have %d lookups, want %d", got, want)
	}
	if got := b.told("cellar", gone); got != 3*6 {
		t.Errorf("totals of the other node have %d lookups, want %d", got, 3*6)
	}
	bound, err := b.reader().Bindings(context.Background())
	of := 0
	for i := range bound {
		if bound[i].Device == gone {
			of++
		}
	}
	if err != nil || of != 1 {
		t.Errorf("%d bindings of the device are there, want that of the other node alone (%v)", of, err)
	}
}

func forgetWithinHour(t *testing.T, b *bench) {
	attic := home(t, "attic")
	gone := Binding(1).Device
	before := attic.Batches(0, 0, false)
	at := before[len(before)-1].To
	b.append(before...)
	attic.Forget(gone)
	if _, err := b.store.Forget(context.Background(), fleet.Forgetting{Node: "attic", Devices: []querylog.DeviceSpan{{Device: gone}}, At: attic.Now}); err != nil {
		t.Fatal(err)
	}
	b.append(before...) // was on its way, with totals of what is forgotten
	if got := b.told("attic", gone); got != 0 {
		t.Errorf("totals of before have %d lookups, want none", got)
	}
	for range 3 {
		attic.Store(usual...)
	}
	after := attic.Batches(at, 1, false) // totals of the first have the rows of the later ones, too
	if len(after) < 3 {
		t.Fatalf("got %d batches, which shows nothing", len(after))
	}
	for i := range after {
		b.append(after[i])
		b.append(after[max(i-1, 0)])
		if got, want := b.told("attic", gone), uint64(3*6); got != want { // of names that no list has, too
			t.Errorf("after batch %d: totals have %d lookups, want %d", i, got, want)
		}
	}
	if got, want := b.told("attic", Binding(2).Device), uint64(6*2); got != want {
		t.Errorf("totals of another device have %d lookups, want %d", got, want)
	}
	for total, err := range b.reader().Totals(context.Background(), querylog.TotalsFilter{Devices: []string{gone}}) {
		if err != nil || total.Names != 1 {
			t.Errorf("got %d names in %+v, want 1 (%v)", total.Names, total, err)
		}
	}
}

func forgetNode(t *testing.T, b *bench) {
	attic, cellar := home(t, "attic"), home(t, "cellar")
	batches := attic.Batches(0, 0, true)
	b.append(append(batches, cellar.Batches(0, 0, true)...)...)
	if _, err := b.store.Forget(context.Background(), fleet.Forgetting{}); err == nil {
		t.Error("nothing was said that is to be forgotten, and it was")
	}
	rows, err := b.store.Forget(context.Background(), fleet.Forgetting{Node: "attic"})
	if want := int64(len(attic.Rows(querylog.Filter{}))); err != nil || rows != want {
		t.Errorf("%d rows are said to be forgotten, want %d (%v)", rows, want, err)
	}
	wantAlike(t, b.rows(querylog.Filter{}), cellar.Rows(querylog.Filter{}))
	if attics, cellars := b.told("attic", ""), b.told("cellar", ""); attics != 0 || cellars != 3*9 {
		t.Errorf("totals have %d lookups of the node and %d of the other, want 0 and %d", attics, cellars, 3*9)
	}
	lines, err := b.reader().Ledger(context.Background(), time.Time{}, time.Time{})
	for _, e := range lines {
		if err != nil || e.Node == "attic" {
			t.Fatalf("a line is there: %+v (%v)", e, err)
		}
	}
	at := batches[len(batches)-1].To
	attic.Store(usual...)
	b.append(attic.Batches(at, 0, true)...)
	if got, want := len(b.rows(querylog.Filter{}))-len(cellar.Rows(querylog.Filter{})), len(usual); got != want {
		t.Errorf("the node sent %d rows after it, want %d", got, want)
	}
}

func retention(t *testing.T, b *bench) {
	old := NewNode(t, "attic")
	old.Now = time.Now().Add(-400 * 24 * time.Hour)
	old.Store(usual...)
	recent := home(t, "cellar")
	b.keep = querylog.Retention{Listed: 365 * 24 * time.Hour, Unlisted: -1, Totals: -1}
	b.reopen()
	b.append(append(old.Batches(0, 0, false), recent.Batches(0, 0, false)...)...)
	err := b.store.Retain(context.Background(), time.Now())
	if errors.Is(err, fleet.ErrNotRetained) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := b.rows(querylog.Filter{Until: time.Now().Add(-366 * 24 * time.Hour)}); len(got) != 0 {
		t.Errorf("%d rows of 400 days ago are there", len(got))
	}
	wantAlike(t, b.rows(querylog.Filter{}), recent.Rows(querylog.Filter{Listed: true}))
}
