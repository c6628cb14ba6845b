package candidate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/evidence/household"
	"telltale/querylog"
)

// A name that a person observes is marked, stands behind all others, and keeps its figures,
// also those of rows that its list has; one that is observed no more is a candidate again.
func TestObservedNamesAreMarked(t *testing.T) {
	since := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	log := rowsLog{Log: homeLog{&household.Home{}}}
	for _, name := range []string{"metrics.one.example", "a.telemetry.two.example", "report.three.example", "telemetry.acme.example"} {
		for i := range 4 {
			r := querylog.Row{Time: querylog.Time{Time: since.Add(time.Duration(i) * 3 * time.Hour)}, Device: "tv", Name: name, Attempts: 1, Verdict: "pass"}
			if i > 0 && name != "report.three.example" { // since they are observed
				r.Verdict, r.Vendor, r.Tier, r.Attribution, r.AttributionList = "observe", "candidate "+Domain(name), "mixed", "rule", "candidates"
			}
			if name == "telemetry.acme.example" {
				r.Vendor, r.Attribution, r.AttributionList = "Acme", "rule", "ads"
			}
			log.rows = append(log.rows, r)
		}
	}
	log.rows = append(log.rows, querylog.Row{Time: querylog.Time{Time: since}, Device: "tv", Name: "plain.four.example", Attempts: 4, Verdict: "pass"}) // nothing speaks for it
	for _, c := range []struct {
		observed []string
		want     []string
	}{
		{nil, []string{"a.telemetry.two.example false", "metrics.one.example false", "report.three.example false"}},
		{[]string{"metrics.one.example", "one.example", "two.example", "four.example", "nobody.example"}, []string{"a.telemetry.two.example true two.example", "metrics.one.example true", "plain.four.example true four.example", "report.three.example false"}},
	} {
		f, err := Find(t.Context(), log, Options{Since: since, Until: since.AddDate(0, 0, 1), Observed: c.observed})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, k := range f.Candidates {
			got = append(got, strings.TrimSpace(fmt.Sprint(k.Name, " ", k.Observed, " ", k.ObservedBelow)))
			if k.Attempts != 4 || k.Vendor != "" || i > 0 && f.Candidates[i-1].Observed && !k.Observed {
				t.Errorf("got %+v", k)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.observed, got, c.want)
		}
		if !f.Unlisted.Equal(since) {
			t.Errorf("got rows since %v", f.Unlisted)
		}
	}
}
