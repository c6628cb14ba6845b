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
