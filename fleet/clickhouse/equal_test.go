package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"telltale/evidence"
	"telltale/evidence/household"
	"telltale/evidence/rhythm"
	"telltale/fleet"
	"telltale/fleet/clickhouse/servertest"
	"telltale/querylog"
)

// A made-up home is shipped to a centre, and everything that is asked of both logs is the same, to the octet.
func TestAMergedLogSaysWhatTheNodesOwnSays(t *testing.T) {
	srv := servertest.Start(t, servertest.Options{})
	ctx := context.Background()
	h := household.New(household.Options{Seed: 5, Days: 4, Pace: 0.1, KeepAll: true})
	dir := t.TempDir()
	h.Write(t, dir)
	own, err := querylog.OpenReader(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, addressOf(t, t.Name(), srv.Host), querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1})
	defer s.Close()
	for from := int64(0); ; {
		b, err := own.Batch(ctx, from, querylog.BatchOptions{Rows: 5000, Unlisted: true})
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			break
		}
		for range 2 { // all of it twice
			if got, err := s.Append(ctx, []*fleet.Batch{b}); err != nil || got[0].Err != nil {
				t.Fatal(got, err)
			}
		}
		from = b.To
	}
	merged, done, err := s.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	same := func(what string, ask func(r fleet.Reader) (any, error)) {
		t.Helper()
		var texts [2]string
		for i, r := range []fleet.Reader{merged, own} {
			v, err := ask(r)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			b, err := json.MarshalIndent(v, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			texts[i] = string(b)
		}
		if texts[0] != texts[1] {
			t.Errorf("%s differ:\n%s", what, difference(texts[0], texts[1]))
		} else if len(texts[0]) < 50 {
			t.Errorf("%s: %s shows nothing", what, texts[0])
		}
	}
	phone := h.Devices[0].Was[0].Device
	for what, f := range map[string]querylog.Filter{
		"all": {}, "listed": {Listed: true}, "a device": {Device: phone}, "blocked": {Verdict: "block", Limit: 40}, "a span": {Devices: []querylog.DeviceSpan{{Device: phone, From: h.Begin.AddDate(0, 0, 1), Until: h.Begin.AddDate(0, 0, 3)}}},
		"below a name": {Name: ".example"}, "a part of a name": {Name: "telemetry"}, "a pattern": {Name: "*.example"}, "of a day": {Since: h.Begin.AddDate(0, 0, 2), Until: h.Begin.AddDate(0, 0, 3)},
	} {
		same("rows of "+what, func(r fleet.Reader) (any, error) {
			var all []querylog.Row
			for row, err := range r.Rows(ctx, f) {
				if err != nil {
					return nil, err
				}
				all = append(all, row)
			}
			return all, nil
		})
		for _, by := range []string{"names", "devices", "vendors", "purposes"} {
			if what != "all" && what != "listed" && what != "a span" {
				continue
			}
			same("top "+by+" of "+what, func(r fleet.Reader) (any, error) { return r.Top(ctx, by, f, 0) })
		}
	}
	same("pages", func(r fleet.Reader) (any, error) {
		var all [][]querylog.Row
		f := querylog.Filter{}
		for range 20 {
			page, more, err := r.Page(ctx, f, 37, false)
			if all = append(all, page); err != nil || !more {
				return all, err
			}
			f.Before = page[len(page)-1].ID
		}
		return all, nil
	})
	same("totals", func(r fleet.Reader) (any, error) {
		var all []querylog.Total
		for total, err := range r.Totals(ctx, querylog.TotalsFilter{}) {
			if err != nil {
				return nil, err
			}
			all = append(all, total)
		}
		sortTotals(all)
		return all, nil
	})
	same("presence", func(r fleet.Reader) (any, error) { return r.Presence(ctx, h.Begin, h.End()) })
	same("the ledger", func(r fleet.Reader) (any, error) { return r.Ledger(ctx, h.Begin, h.End()) })
	same("bindings", func(r fleet.Reader) (any, error) { return r.Bindings(ctx) })
	same("coverage", func(r fleet.Reader) (any, error) { return r.Coverage(ctx, h.Begin, h.End()) })
	same("rhythms", func(r fleet.Reader) (any, error) {
		return rhythm.Make(ctx, r, rhythm.Options{Since: h.Begin, Until: h.End(), Unlisted: true})
	})
	for what, o := range map[string]evidence.Options{
		"a report of all":           {Since: h.Begin, Until: h.End(), Changes: nil},
		"a report that compares":    {Since: h.Begin.AddDate(0, 0, 2), Until: h.End(), Compare: true},
		"a report of a device":      {Since: h.Begin, Until: h.End(), Device: phone, Whose: querylog.Filter{Devices: []querylog.DeviceSpan{{Device: phone}}}},
		"a report of a few hours":   {Since: h.Begin.AddDate(0, 0, 1).Add(3 * 3600e9), Until: h.Begin.AddDate(0, 0, 1).Add(9 * 3600e9)},
		"a report of before and on": {Since: h.Begin.AddDate(0, 0, -3), Until: h.Begin.AddDate(0, 0, 2)},
	} {
		o.Now = h.End()
		same(what, func(r fleet.Reader) (any, error) { return evidence.Make(ctx, r, o) })
	}
}

func sortTotals(all []querylog.Total) {
	key := func(t *querylog.Total) string {
		return fmt.Sprint(t.Hour, t.Node, t.Device, t.Vendor, t.Product, t.Purpose, t.Tier, t.Verdict)
	}
	for i := 1; i < len(all); i++ {
		for j := i; j > 0 && key(&all[j]) < key(&all[j-1]); j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
}

// difference returns where two texts begin to differ.
func difference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	part := func(s string) string { return s[max(0, min(i, len(s))-200):min(len(s), i+300)] }
	return fmt.Sprintf("got  ...%s...\nwant ...%s...", part(got), part(want))
}
