package candidate

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/devices"
	"telltale/evidence/household"
	"telltale/querylog"
)

// keptLog has rows of a television of ten days, and of a phone of the last one.
type keptLog struct {
	homeLog
	begin time.Time
	bound []devices.Binding
}

func (l keptLog) Bindings(context.Context) ([]devices.Binding, error) { return l.bound, nil }

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
	log := keptLog{homeLog: homeLog{&household.Home{}}, begin: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
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
	if of, err := Find(t.Context(), log, Options{Since: log.begin, Until: log.begin.AddDate(0, 0, 10), Whose: querylog.Filter{Devices: []querylog.DeviceSpan{{Device: "tv"}}}, Discovered: map[string]time.Time{"tv": on}}); err != nil || !of.Unlisted.Equal(log.begin) {
		t.Errorf("rows of tv are said to be there since %v, %v", of.Unlisted, err)
	}
	if said := strings.Join(f.Caveats, "\n"); !strings.Contains(said, "discovery is on for tv since Sat 28 Feb 23:00") {
		t.Errorf("got %s", said)
	}
}

// A name is not new where lookups of the device were kept out of the log before, and that is said.
func TestANameIsNotNewAfterATimeThatIsNotLogged(t *testing.T) {
	log := keptLog{homeLog: homeLog{&household.Home{}}, begin: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	o := Options{Since: log.begin, Until: log.begin.AddDate(0, 0, 10), Discovered: map[string]time.Time{"tv": log.begin.Add(-time.Hour)}}
	for _, c := range []struct {
		since, until float64 // hours of the beginning in which log: false was set
		isNew        bool
		said         string
	}{
		{0, 0, true, ""},
		{24, 48, true, "lookups of tv were not recorded from Mon 2 Mar 00:00 to Tue 3 Mar 00:00"},
		{184, 191, false, "lookups of tv were not recorded from Sun 8 Mar 16:00 to Sun 8 Mar 23:00"},
	} {
		at := func(hours float64) time.Time { return log.begin.Add(time.Duration(hours * float64(time.Hour))) }
		log.bound = []devices.Binding{{Device: "tv", From: at(c.since), Until: at(c.until), NoLog: true}}
		f, err := Find(t.Context(), log, o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range f.Candidates {
			if k := &f.Candidates[i]; k.Name == "report.example.net" {
				if got := slices.ContainsFunc(k.Parts, func(p Part) bool { return p.What == "after-update" }); got != c.isNew {
					t.Errorf("%v to %v: it is new: %v, want %v", c.since, c.until, got, c.isNew)
				}
			}
		}
		if said := strings.Join(f.Caveats, "\n"); !strings.Contains(said, c.said) || c.said == "" && strings.Contains(said, "log: false") {
			t.Errorf("%v to %v: got %s", c.since, c.until, said)
		}
	}
}
