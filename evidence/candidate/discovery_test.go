package candidate

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/evidence/household"
	"telltale/querylog"
)

// keptLog has rows of a television of ten days, and of a phone of the last one.
type keptLog struct {
	homeLog
	begin time.Time
}

func (l keptLog) Begun(context.Context, querylog.Filter, bool) iter.Seq2[*querylog.Row, error] {
	return func(yield func(*querylog.Row, error) bool) {
		ask := func(device, name string, hours float64) bool {
			at := l.begin.Add(time.Duration(hours * float64(time.Hour)))
			return yield(&querylog.Row{Time: querylog.Time{Time: at}, Device: device, Name: name, Attempts: 1, Verdict: "pass"}, nil)
		}
		for day := range 10 {
			for hour := range 24 {
				at := float64(24*day + hour)
				if !ask("tv", "tv.example.com", at) || day == 9 && !ask("phone", "www.example.org", at) {
					return
				}
				switch {
				case day >= 8 && !ask("tv", "report.example.net", at+0.2),
					day == 7 && hour == 20 && !ask("tv", "ota.example.net", at),
					day == 9 && hour > 1 && !ask("phone", "report.example.org", at+0.2),
					day == 9 && hour == 1 && !ask("phone", "ota.example.org", at):
					return
				}
			}
		}
	}
}

func (l keptLog) Coverage(_ context.Context, since, until time.Time) (querylog.Coverage, error) {
	return querylog.Coverage{Since: querylog.Time{Time: since}, Until: querylog.Time{Time: until}, Unlisted: querylog.Time{Time: l.begin.AddDate(0, 0, 9)}}, nil
}

// A name of a device whose rows are kept for a day is not new because those of another
// device are kept for longer.
func TestEachDeviceHasRowsOfItsOwnTime(t *testing.T) {
	log := keptLog{homeLog{&household.Home{}}, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	on := log.begin.Add(-time.Hour)
	f, err := Find(t.Context(), log, Options{Since: log.begin, Until: log.begin.AddDate(0, 0, 10), Discovered: map[string]time.Time{"tv": on}})
	if err != nil {
		t.Fatal(err)
	}
	new := map[string]bool{}
	for _, c := range f.Candidates {
		new[c.Name] = slices.ContainsFunc(c.Parts, func(p Part) bool { return p.What == "after-update" })
	}
	if !new["report.example.net"] || new["report.example.org"] || len(f.Candidates) < 2 {
		t.Errorf("got %v of %+v", new, f.Candidates)
	}
	if !f.Unlisted.Equal(log.begin.AddDate(0, 0, 9)) {
		t.Errorf("rows of all are said to be there since %v", f.Unlisted)
	}
	if said := strings.Join(f.Caveats, "\n"); !strings.Contains(said, "discovery is on for tv since Sat 28 Feb 23:00") {
		t.Errorf("got %s", said)
	}
}
