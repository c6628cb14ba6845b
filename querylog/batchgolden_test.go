package querylog

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A batch of this version of the form is read and written as it was when its golden file was made. -update makes another one, which a
// center that is updated after its nodes must be able to read.
func TestABatchIsReadAndWrittenAsItWas(t *testing.T) {
	t.Parallel()
	const file = "testdata/batch.golden"
	if *update {
		p := policy(t, testList)
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, Options{Dir: dir, Node: "attic", Program: "a test", Retention: Retention{Listed: -1, Unlisted: -1, Totals: -1}})
			l.KeepBinding(*phone(6))
			l.Append([]Record{lookup(t, p, time.Now(), phone(6), "tracker.example"), lookup(t, p, time.Now(), nil, "shop.example")})
			text, _ := shippedOf(t, l, dir, BatchOptions{Unlisted: true})
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBatch(context.Background(), text)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Append(nil); !bytes.Equal(got, text) {
		t.Errorf("it is written as\n%q\nand was\n%q", got, text)
	}
	var rows []BatchRow
	var lines []LedgerLine
	b.Rows(func(r *BatchRow) bool { rows = append(rows, *r); return true })
	b.Lines(func(l *LedgerLine) bool { lines = append(lines, *l); return true })
	if len(rows) != 2 || len(lines) == 0 || len(b.Bindings) != 1 || len(b.Totals) != 2 {
		t.Errorf("got %d rows, %d lines, %d bindings and %d totals, which shows too little", len(rows), len(lines), len(b.Bindings), len(b.Totals))
	}
	for i := range b.Totals { // by the zone of no machine
		t := &b.Totals[i]
		t.Hour, t.First, t.Last = Time{t.Hour.UTC()}, Time{t.First.UTC()}, Time{t.Last.UTC()}
	}
	got, err := json.MarshalIndent(map[string]any{"store": len(b.Store), "node": b.Node, "windows": len(b.Windows), "rows": rows, "lines": lines, "totals": b.Totals}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "batch.json.golden", string(got)+"\n")
}
