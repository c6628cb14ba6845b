package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"telltale/dnswire"
	"telltale/peerlogs"
	"telltale/querylog"
)

// A logOfLookups is a log that a test makes.
type logOfLookups struct{ peerlogs.Log }

func (logOfLookups) Sum() string          { return "" }
func (logOfLookups) Read() (int64, int64) { return 0, 0 }

// No batch ends where it begins, however many lookups have one position.
func TestImportStopsAtTooManyLookupsOfOneTime(t *testing.T) {
	var sent []*querylog.ImportBatch
	im := &importer{send: func(_ context.Context, b *querylog.ImportBatch) (querylog.Imported, error) {
		sent = append(sent, b)
		return querylog.Imported{}, nil
	}}
	r := &reading{im: im, log: logOfLookups{}, out: &importedFile{}, told: func(_, _ int64, _ uint64) {}}
	name, err := dnswire.ParseName("shop.example")
	if err != nil {
		t.Fatal(err)
	}
	u := &peerlogs.Lookup{Position: 1, Place: "line 1", Time: time.Unix(1_700_000_000, 0), Name: name}
	lookup := func(n int) (err error) {
		for range n {
			if err = r.lookup(context.Background(), u, false); err != nil {
				break
			}
		}
		return err
	}
	if err := lookup(lookupsAtOnce); err != nil {
		t.Fatal(err)
	}
	u.Position = 2
	if err := lookup(querylog.MostImported); err != nil {
		t.Fatal(err)
	}
	if err := lookup(1); err == nil || !strings.Contains(err.Error(), "the same time (2023-11-14T22:13:20Z)") {
		t.Errorf("got %v", err)
	}
	if len(sent) != 1 || sent[0].To != 1 || len(sent[0].Lookups) != lookupsAtOnce {
		t.Errorf("got %d batches sent", len(sent))
	}
}
