package fleet_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"telltale/fleet"
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

// withFrames makes a batch whose first window has these frames, and says that it has so many rows and ledger lines.
func withFrames(t *testing.T, frames []byte, rows, events uint64) []byte {
	t.Helper()
	n := storetest.NewNode(t, "attic")
	n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example"})
	text := n.Batches(0, 0, true)[0].Append(nil)
	const magic = len("TELLTALE BATCH 1\n")
	_, k := binary.Uvarint(text[magic:])
	out := slices.Clone(text[:magic+k])
	for _, s := range []string{"store", "attic"} {
		out = append(binary.AppendUvarint(out, uint64(len(s))), s...)
	}
	for _, v := range []int64{0, 5, 0} { // from, to, begin
		out = binary.AppendVarint(out, v)
	}
	out = binary.AppendUvarint(out, 1)
	for _, v := range []int64{5, 1000, 2000, 1 << 40, 1 << 40} { // number, first, last, rows, lookups
		out = binary.AppendVarint(out, v)
	}
	for _, v := range []uint64{rows, events, uint64(len(frames))} {
		out = binary.AppendUvarint(out, v)
	}
	return append(out, frames...)
}

// What is no frame is not searched for the next one, which takes time that grows with the square of the text.
func TestABatchOfBrokenFramesIsRefusedAtTheFirst(t *testing.T) {
	text := withFrames(t, bytes.Repeat([]byte("\xf7TJ\x01\x00\x00\x10\x00\x00\x00\x00\x00"), 4<<20/12), 0, 0)
	packed := pack(t, text)
	ended := make(chan error, 1)
	go func() {
		_, err := fleet.Unpack(t.Context(), packed)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it is taken")
		}
	case <-time.After(20 * time.Second): // it takes milliseconds, and took minutes
		t.Fatalf("a batch of %d octets is not read in 20 s", len(packed))
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	n := storetest.NewNode(t, "attic")
	n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example"})
	if _, err := querylog.ParseBatch(ctx, n.Batches(0, 0, true)[0].Append(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v for a sender who is gone, want that it ended", err)
	}
}

// A text that is small on its way takes no more memory than a batch may.
func TestABatchSaysBeforeHowMuchItHas(t *testing.T) {
	n := storetest.NewNode(t, "attic")
	n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example"})
	b := n.Batches(0, 0, true)[0]
	w := &b.Windows[0]
	many := func(events int) []byte {
		own := *b
		own.Windows = slices.Clone(b.Windows)
		own.Windows[0].Events = slices.Repeat(w.Events[:1], events)
		return own.Append(nil)
	}
	read := func(text []byte) (octets uint64, err error) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = querylog.ParseBatch(t.Context(), text)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc, err
	}
	if _, err := read(many(1000)); err != nil {
		t.Errorf("a batch with 1000 ledger lines in a window: %v", err)
	}
	text := many(20_000)
	says := binary.AppendUvarint(nil, 20_000)
	if bytes.Count(text, says) != 1 {
		t.Fatal("the number of ledger lines is there more than once")
	}
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"more ledger lines than it says", bytes.Replace(text, says, []byte{10}, 1)},
		{"more ledger lines than a window may have", withFrames(t, nil, 0, 1<<20)},
		{"more rows than a batch may have", withFrames(t, nil, 1<<30, 0)},
	} {
		if octets, err := read(c.text); err == nil || octets > 1<<20 {
			t.Errorf("%s: reading it took %d octets of memory, want at most 1 MiB, and %v", c.name, octets, err)
		}
	}
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
		b, err := querylog.ParseBatch(t.Context(), text)
		if err != nil {
			return
		}
		again, err := querylog.ParseBatch(t.Context(), b.Append(nil))
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if got, want := again.Append(nil), b.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("got\n%q\nwant\n%q", got, want)
		}
	})
}
