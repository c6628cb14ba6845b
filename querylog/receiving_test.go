package querylog

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// One node's batch that cannot be stored is refused alone: those of others, before it and behind it, are stored.
func TestABatchThatCannotBeStoredIsRefusedAlone(t *testing.T) {
	t.Parallel()
	p, ctx := policy(t, testList), context.Background()
	node := func(name string) *Batch {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, Node: name})
		for _, of := range []string{"tracker.example", "a.tracker.example"} {
			l.Append([]Record{lookup(t, p, time.Now(), phone(6), of)})
		}
		closeLog(t, l)
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.Batch(ctx, 0, BatchOptions{})
		if err != nil || b == nil || b.Len() != 2 {
			t.Fatalf("got %+v, %v", b, err)
		}
		return b
	}
	full := func(store string) *Batch { // the window takes all places of the only one that is about its time
		b := node("cellar")
		b.Store, b.To, b.Windows = store, 1, slices.Clone(b.Windows[:1])
		b.Windows[0].Number, b.Windows[0].entries[0].place = 1, 1<<rowBits-1
		return b
	}
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, Unsealed: true})
	defer closeLog(t, l)
	batches := []*Batch{node("attic"), full("one"), full("two"), node("cabin")}
	got, err := l.Receive(ctx, batches)
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range got {
		if refused := errors.Is(g.Refused, errNoRoom); refused != (i == 2) || (g.Rows == 0) != (i == 2) || (g.Upto == 0) != (i == 2) {
			t.Errorf("batch %d: got %+v", i, g)
		}
	}
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	if err := r.ShippedKeys(ctx, func(store string, _ int64) error { rows[store]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if rows[batches[0].Store] != 2 || rows["one"] == 0 || rows["two"] != 0 || rows[batches[3].Store] != 2 {
		t.Errorf("got rows %v, want those of the three others", rows)
	}
	names := 0
	for row, err := range r.Rows(ctx, Filter{}) { // a name that was numbered in what was undone is stored again
		if err != nil {
			t.Fatal(err)
		}
		if row.Name == "tracker.example" || row.Name == "a.tracker.example" {
			names++
		}
	}
	if want := 4 + rows["one"]; names != want {
		t.Errorf("got %d rows with their names, want %d", names, want)
	}
}
