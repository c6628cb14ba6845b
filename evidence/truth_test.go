package evidence_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"telltale/evidence"
	"telltale/evidence/household"
	"telltale/querylog"
)

func makeReport(t *testing.T, home *household.Home, o evidence.Options) *evidence.Report {
	t.Helper()
	o.Zone, o.ZoneName, o.Now = home.Zone, "Europe/Berlin", home.End
	r, err := evidence.Make(context.Background(), home, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Sums of a report are those of the lookups that the household made, each counted by
// itself.
func TestSumsAreTheTruth(t *testing.T) {
	for seed := range uint64(5) {
		home := household.New(seed)
		since := home.Begin.AddDate(0, 0, 7)
		r := makeReport(t, home, evidence.Options{Since: since, Until: home.End, Compare: true})
		truth, got := map[string]evidence.Count{}, map[string]evidence.Count{}
		add := func(key string, l *household.Lookup) {
			c := truth[key]
			c.Lookups++
			if l.Begins {
				c.Attempts++
			}
			truth[key] = c
		}
		for i := range home.Lookups {
			l := &home.Lookups[i]
			listed := l.Name.Attribution == "rule" || l.Name.Attribution == "list"
			if l.Time.Before(since) {
				if listed {
					add("before", l)
				}
				continue
			}
			add("all", l)
			if !listed {
				continue
			}
			at := l.Time.In(home.Zone)
			for _, key := range []string{
				"listed", "tier " + l.Name.Tier, "decided " + l.Verdict, "vendor " + l.Name.Vendor, "name " + l.Name.Name, "device " + l.Device.Identity,
				fmt.Sprintf("hour %d %d", (int(at.Weekday())+6)%7, at.Hour()), "day " + at.Format("2 Jan"),
			} {
				add(key, l)
			}
			if at.Hour() < 6 {
				add("night", l)
			}
		}
		put := func(key string, c evidence.Count) {
			if c.Lookups > 0 {
				got[key] = c
			}
		}
		put("all", r.Asked.Count)
		put("listed", r.Listed.Count)
		put("before", r.Before.Listed)
		put("night", r.Night.Count)
		put("decided block", r.Listed.Blocked)
		put("decided observe", r.Listed.Observed)
		put("decided pass", r.Listed.Passed)
		for _, x := range r.Tiers {
			put("tier "+x.Tier, x.Count)
		}
		for _, x := range r.Devices {
			put("device "+x.Device, x.Listed.Count)
		}
		for _, x := range r.Vendors {
			put("vendor "+x.Vendor, x.Counts.Count)
			for _, n := range x.Names {
				put("name "+n.Name, n.Counts.Count)
			}
		}
		for _, x := range r.Hours {
			put(fmt.Sprintf("hour %d %d", x.Weekday, x.Hour), x.Count)
		}
		for _, x := range r.Timeline.Slots {
			put("day "+x.Since.In(home.Zone).Format("2 Jan"), x.Count)
		}
		for key, want := range truth {
			if got[key] != want {
				t.Errorf("seed %d: %s: got %v, want %v", seed, key, got[key], want)
			}
		}
		for key := range got {
			if _, ok := truth[key]; !ok {
				t.Errorf("seed %d: %s is in the report and nobody asked", seed, key)
			}
		}
		// A week with a change of clocks has 169 hours, of which the home knows gaps of 1 h 48 m and 1 h.
		recorded := 169*3600 - 6480 - 3600
		if int(r.Coverage.Recorded) != recorded || r.Coverage.Length != 169*3600 {
			t.Errorf("seed %d: recorded %d of %d", seed, r.Coverage.Recorded, r.Coverage.Length)
		}
		if want := float64(truth["listed"].Attempts) / (float64(recorded) / 3600); math.Abs(r.PerHour-want) > 1e-9 {
			t.Errorf("seed %d: got %v an hour, want %v", seed, r.PerHour, want)
		}
		sum := int64(0)
		for _, c := range r.Hours {
			sum += c.Recorded
		}
		if sum != r.Coverage.Recorded {
			t.Errorf("seed %d: hours of the week have %d s recorded, the period %d", seed, sum, r.Coverage.Recorded)
		}
		if r.Before.Coverage.Length != 168*3600 || !r.Before.Coverage.Whole {
			t.Errorf("seed %d: the week before is %v", seed, r.Before.Coverage)
		}
	}
}

// That there was no lookup is said where the record has no gap, and nowhere else.
func TestNoAbsenceOverAGap(t *testing.T) {
	home := household.New(1)
	nobody := func(since, until time.Time) string {
		return makeReport(t, home, evidence.Options{Since: since, Until: until, Vendor: "Nobody"}).NoneText()
	}
	week := home.Begin.AddDate(0, 0, 7)
	if got := nobody(home.Begin, week); !strings.HasPrefix(got, "No lookup of") {
		t.Errorf("without a gap: %s", got)
	}
	for name, since := range map[string]time.Time{"a gap within": week, "before the log begins": home.Begin.Add(-time.Hour)} {
		if got := nobody(since, home.End); strings.Contains(got, "No lookup") {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, effect := range []querylog.Effect{querylog.Incomplete, querylog.Unnamed, querylog.Removed} {
		with := *home
		with.Gaps = []querylog.Gap{{Since: querylog.Time{Time: home.Begin.Add(time.Hour)}, Until: querylog.Time{Time: home.Begin.Add(time.Hour + time.Second)}, Effect: effect}}
		r := makeReport(t, &with, evidence.Options{Since: home.Begin, Until: week, Vendor: "Nobody"})
		if got := r.NoneText(); strings.Contains(got, "No lookup") {
			t.Errorf("%s: %s", effect, got)
		}
	}
}
