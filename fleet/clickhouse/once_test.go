package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale/fleet"
	"telltale/fleet/clickhouse/servertest"
	"telltale/fleet/storetest"
	"telltale/querylog"
)

// shipped are nodes with what they have stored, in batches.
func shipped(t *testing.T, nodes, windows, names int) (batches [][]*fleet.Batch, want map[fleet.Key]querylog.Row) {
	t.Helper()
	want = map[fleet.Key]querylog.Row{}
	for i := range nodes {
		n := storetest.NewNode(t, fmt.Sprintf("node-%d", i%(nodes-1))) // two have the same name
		for w := range windows {
			var lookups []storetest.Lookup
			for k := range names {
				lookups = append(lookups, storetest.Lookup{Device: 1 + (i+k)%5, Name: fmt.Sprintf("n%d-%d.metrics.aurora.example", w, k), Times: 1 + k%2})
			}
			n.Store(lookups...)
		}
		batches = append(batches, n.Batches(0, 1, true))
		for _, row := range n.Rows(querylog.Filter{}) {
			want[fleet.Key{Store: row.Store, ID: row.ID}] = row
		}
	}
	return batches, want
}

// wantRows compares what a store has with what nodes have stored, by key and content.
func wantRows(t *testing.T, s *Store, want map[fleet.Key]querylog.Row) {
	t.Helper()
	ctx := context.Background()
	keys := 0
	if err := s.Keys(ctx, func(k fleet.Key) error { keys++; return nil }); err != nil {
		t.Fatal(err)
	}
	r, done, err := s.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	seen := map[fleet.Key]bool{}
	for row, err := range r.Rows(ctx, querylog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		key := fleet.Key{Store: row.Store, ID: row.ID}
		if had, ok := want[key]; !ok || fmt.Sprintf("%+v", row) != fmt.Sprintf("%+v", had) {
			t.Fatalf("got  %+v\nwant %+v", row, had)
		}
		if seen[key] {
			t.Fatalf("a row is told twice: %+v", row)
		}
		seen[key] = true
	}
	if keys != len(want) || len(seen) != len(want) {
		t.Errorf("got %d keys and %d rows, want %d", keys, len(seen), len(want))
	}
	states, err := s.Nodes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rows := int64(0)
	for _, n := range states {
		rows += n.Rows
	}
	if rows != int64(len(want)) {
		t.Errorf("nodes are said to have %d rows, want %d", rows, len(want))
	}
}

func TestRowsAreThereOnceWhenBatchesComeAgainAndTheServerIsKilled(t *testing.T) {
	srv := servertest.Start(t, servertest.Options{})
	batches, want := shipped(t, 8, 3, 30)
	s := open(t, addressOf(t, t.Name(), srv.Host), querylog.Retention{})
	defer s.Close()
	total := 0
	for _, of := range batches {
		total += len(of)
	}
	var acknowledged, again atomic.Int64
	half, restarted := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	for i, of := range batches {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(3, uint64(i)))
			for n := 0; n < len(of); {
				got, err := s.Append(context.Background(), of[n:n+1])
				switch {
				case errors.Is(err, fleet.ErrUnavailable):
					again.Add(1)
					<-restarted
					continue
				case err != nil || got[0].Err != nil || got[0].Upto < of[n].To:
					t.Errorf("batch %d of node %d: %+v, %v", n, i, got, err)
					return
				}
				if r.IntN(20) == 0 { // the acknowledgement gets lost
					again.Add(1)
					continue
				}
				if n++; acknowledged.Add(1) == int64(total/2) {
					close(half)
				}
			}
		})
	}
	<-half
	srv.Kill()
	srv.Restart()
	close(restarted)
	wait.Wait()
	t.Logf("%d batches, %d sent again", total, again.Load())
	wantRows(t, s, want)
}

// A centre that ends between two inserts of a batch has stored a part of it: the node sends it again.
func TestABatchThatWasCutShortIsStoredOnce(t *testing.T) {
	srv := servertest.Start(t, servertest.Options{})
	batches, want := shipped(t, 2, 2, 10)
	ctx := context.Background()
	a := addressOf(t, t.Name(), srv.Host)
	s := open(t, a, querylog.Retention{})
	for _, of := range batches {
		id, err := storeNumber(of[0].Store)
		if err != nil {
			t.Fatal(err)
		}
		l := &load{}
		s.add(l, of[0], &node{store: id}, map[windowKey]window{})
		for _, rest := range []int{loadLedger, loadBinding, loadTotal, loadNode} {
			l.rows[rest].b = nil
		}
		if err := s.insert(ctx, s.client.shards[0], l); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = open(t, a, querylog.Retention{})
	defer s.Close()
	other := *batches[0][0]
	other.Windows = append([]querylog.BatchWindow(nil), other.Windows...)
	other.Windows[0].Lookups++
	got, err := s.Append(ctx, []*fleet.Batch{&other})
	var apart *fleet.DivergedError
	if err != nil || !errors.As(got[0].Err, &apart) {
		t.Errorf("a copy of a store that goes on by itself behind a batch that was cut short: %+v, %v", got, err)
	}
	for _, of := range batches {
		if got, err := s.Append(ctx, of); err != nil || got[0].Err != nil {
			t.Fatal(got, err)
		}
	}
	wantRows(t, s, want)
}

func TestAShardThatIsAwayIsAnErrorAndNeverASmallerNumber(t *testing.T) {
	one, two := servertest.Start(t, servertest.Options{}), servertest.Start(t, servertest.Options{})
	batches, want := shipped(t, 6, 1, 10)
	ctx := context.Background()
	a := addressOf(t, t.Name(), one.Host, two.Host)
	s := open(t, a, querylog.Retention{})
	defer s.Close()
	on := map[int]int{}
	for _, of := range batches {
		if _, err := s.Append(ctx, of); err != nil {
			t.Fatal(err)
		}
		on[a.ShardOf(of[0].Store)]++
	}
	wantRows(t, s, want)
	r, done, err := s.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	top, err := r.Top(ctx, "names", querylog.Filter{}, 0)
	lookups := uint64(0)
	for _, line := range top {
		lookups += line.Count
	}
	all := uint64(0)
	for _, row := range want {
		all += row.Count
	}
	if err != nil || lookups != all {
		t.Errorf("got %d lookups of both shards, %v; want %d", lookups, err, all)
	}
	two.Kill()
	for what, ask := range map[string]func() error{
		"rows": func() (err error) {
			for _, err = range r.Rows(ctx, querylog.Filter{}) {
				if err != nil {
					break
				}
			}
			return err
		},
		"a page":   func() error { _, _, err := r.Page(ctx, querylog.Filter{}, 5, false); return err },
		"top":      func() error { _, err := r.Top(ctx, "devices", querylog.Filter{}, 1); return err },
		"ledger":   func() error { _, err := r.Ledger(ctx, time.Time{}, time.Time{}); return err },
		"bindings": func() error { _, err := r.Bindings(ctx); return err },
		"coverage": func() error { _, err := r.Coverage(ctx, storetest.Began, time.Now()); return err },
		"totals": func() (err error) {
			for _, err = range r.Totals(ctx, querylog.TotalsFilter{}) {
				if err != nil {
					break
				}
			}
			return err
		},
		"nodes": func() error { _, err := s.Nodes(ctx); return err },
	} {
		if err := ask(); err == nil {
			t.Errorf("%s of one shard alone are taken for all", what)
		}
	}
	for _, of := range batches { // nodes of the other shard go on
		_, err := s.Append(ctx, of)
		if away := a.ShardOf(of[0].Store) == 1; away != errors.Is(err, fleet.ErrUnavailable) || !away && err != nil {
			t.Errorf("appending to shard %d while 1 is away: %v", a.ShardOf(of[0].Store), err)
		}
	}
	t.Logf("stores on shards: %v", on)
}
