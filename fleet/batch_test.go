package fleet_test

import (
	"bytes"
	"compress/gzip"
	"testing"

	"telltale/fleet/storetest"
	"telltale/querylog"
)

func TestABatchHasWhatTheNodeReads(t *testing.T) {
	n := storetest.NewNode(t, "attic")
	n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example", Times: 3}, storetest.Lookup{Device: 2, Name: "allowed.aurora.example"}, storetest.Lookup{Name: "shop.example"})
	want := map[int64]querylog.Row{}
	for _, r := range n.Rows(querylog.Filter{}) {
		want[r.ID] = r
	}
	got := 0
	for _, b := range n.Batches(0, 0, true) {
		for r := range b.Rows {
			got++
			if r.Row != want[r.ID] {
				t.Errorf("got\n%+v\nwant\n%+v", r.Row, want[r.ID])
			}
		}
	}
	if got != len(want) || got != 3 {
		t.Errorf("got %d rows, want %d", got, len(want))
	}
}

func pack(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Whatever text comes, a batch that is read says the same when it is written and read again.
func FuzzParseBatch(f *testing.F) {
	n := storetest.NewNode(f, "attic")
	n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example", Times: 3}, storetest.Lookup{Device: 2, Name: "allowed.aurora.example"}, storetest.Lookup{Name: "shop.example"})
	for _, b := range n.Batches(0, 0, true) {
		f.Add(b.Append(nil))
	}
	f.Add([]byte("TELLTALE BATCH 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := querylog.ParseBatch(text)
		if err != nil {
			return
		}
		again, err := querylog.ParseBatch(b.Append(nil))
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if got, want := again.Append(nil), b.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("got\n%q\nwant\n%q", got, want)
		}
	})
}
