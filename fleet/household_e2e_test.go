//go:build e2e

package fleet_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/evidence"
	"telltale/evidence/household"
	"telltale/fleet"
	"telltale/querylog"
)

// What the log of a home shows is the same where it was shipped to a centre.
func TestE2EAReportOfTheMergedLogIsThatOfTheNode(t *testing.T) {
	h := household.New(household.Options{Days: 4, Pace: 0.1})
	dir := filepath.Join(t.TempDir(), "home")
	h.Write(t, dir)
	node, err := querylog.OpenReader(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	store := openSQLite(t, t.TempDir(), querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1})
	defer store.Close()
	ctx := context.Background()
	for from := int64(0); ; {
		b, err := node.Batch(ctx, from, querylog.BatchOptions{Unlisted: true, Rows: 2000})
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			break
		}
		got, err := store.Append(ctx, []*fleet.Batch{b})
		if err != nil || got[0].Err != nil {
			t.Fatal(got, err)
		}
		from = b.To
	}
	merged, done, err := store.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	now := time.Now()
	report := func(log evidence.Log) []string {
		r, err := evidence.Make(ctx, log, evidence.Options{Since: h.Begin, Until: h.End(), Now: now})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(text), "\n")
	}
	want, got := report(node), report(merged)
	for i, line := range want {
		if i >= len(got) || got[i] != line {
			t.Fatalf("line %d of %d differs:\n got %s\nwant %s", i+1, len(want), strings.Join(got[max(0, i-8):min(len(got), i+8)], "\n"), strings.Join(want[max(0, i-8):min(len(want), i+8)], "\n"))
		}
	}
	if len(want) < 1000 || len(got) != len(want) {
		t.Errorf("got a report of %d lines, want %d", len(got), len(want))
	}
}
