package evidence_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"telltale/evidence"
	"telltale/evidence/logtest"
	"telltale/querylog"
)

func makeReport(t *testing.T, home *logtest.Home, o evidence.Options) *evidence.Report {
	t.Helper()
	o.Zone, o.ZoneName, o.Now = home.Zone, "Europe/Berlin", home.End
	o.Name = func(device string) string { // as it is called today, also where no row is left
		for _, d := range home.Devices {
			if d.Identity == device {
				return d.Label
			}
		}
		return device
	}
	r, err := evidence.Make(context.Background(), home, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A truth is how many lookups and attempts there were, each counted by itself.
type truth map[string]evidence.Count

func (all truth) add(key string, c evidence.Count) {
	sum := all[key]
	sum.Lookups += c.Lookups
	sum.Attempts += c.Attempts
	if sum.Lookups > 0 {
		all[key] = sum
	}
}

func isListed(l *logtest.Lookup) bool {
	return l.Name.Attribution == "rule" || l.Name.Attribution == "list"
}

// truthOf counts the lookups of a time. days says whether the timeline is of days.
func truthOf(home *logtest.Home, since time.Time, days bool) truth {
	all := truth{}
	for i := range home.Lookups {
		l := &home.Lookups[i]
		one := evidence.Count{Lookups: 1}
		if l.Begins {
			one.Attempts = 1
		}
		if l.Time.Before(since) {
			if isListed(l) {
				all.add("before", one)
			}
			continue
		}
		all.add("all", one)
		if !isListed(l) {
			continue
		}
		at := l.Time.In(home.Zone)
		keys := []string{
			"listed", "tier " + l.Name.Tier, "decided " + l.Verdict, "vendor " + l.Name.Vendor, "device " + l.Device.Identity,
			"flow " + l.Device.Label + " " + l.Name.Vendor + " " + l.Name.Purpose, "vendor of " + l.Device.Identity + " " + l.Name.Vendor,
			fmt.Sprintf("hour %d %d", (int(at.Weekday())+6)%7, at.Hour()),
		}
		if days {
			keys = append(keys, "day "+at.Format("2 Jan"))
		}
		if at.Hour() < 6 {
			keys = append(keys, "night")
		}
		for _, key := range keys {
			all.add(key, one)
		}
	}
	return all
}

// sumsOf are those of a report, by the keys of truthOf.
func sumsOf(home *logtest.Home, r *evidence.Report, days bool) truth {
	all := truth{}
	all.add("all", r.Asked.Count)
	all.add("listed", r.Listed.Count)
	if r.Before != nil {
		all.add("before", r.Before.Listed)
	}
	all.add("night", r.Night.Count)
	all.add("decided block", r.Listed.Blocked)
	all.add("decided observe", r.Listed.Observed)
	all.add("decided pass", r.Listed.Passed)
	for _, x := range r.Tiers {
		all.add("tier "+x.Tier, x.Count)
	}
	for _, x := range r.Devices {
		all.add("device "+x.Device, x.Listed.Count)
		for _, v := range x.Vendors {
			all.add("vendor of "+x.Device+" "+v.Vendor, v.Count)
		}
	}
	for _, x := range r.Flows {
		all.add("flow "+x.Device+" "+x.Vendor+" "+x.Purpose, x.Count)
	}
	for _, x := range r.Vendors {
		all.add("vendor "+x.Vendor, x.Counts.Count)
	}
	for _, x := range r.Hours {
		all.add(fmt.Sprintf("hour %d %d", x.Weekday, x.Hour), x.Count)
	}
	for _, x := range r.Timeline.Slots {
		if days {
			all.add("day "+x.Since.In(home.Zone).Format("2 Jan"), x.Count)
		}
	}
	return all
}

func sameTruth(t *testing.T, what string, got, want truth) {
	t.Helper()
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%s: %s: got %v, want %v", what, key, got[key], n)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s is in the report and nobody asked", what, key)
		}
	}
}

// Sums of a report are those of the lookups that the household made, each counted by
// itself.
func TestSumsAreTheTruth(t *testing.T) {
	for seed := range uint64(5) {
		home := logtest.New(seed)
		since := home.Begin.AddDate(0, 0, 7)
		r := makeReport(t, home, evidence.Options{Since: since, Until: home.End, Compare: true})
		what := fmt.Sprintf("seed %d", seed)
		want := truthOf(home, since, true)
		sameTruth(t, what, sumsOf(home, r, true), want)
		names, asked := truth{}, truth{}
		for i := range home.Lookups {
			if l := &home.Lookups[i]; !l.Time.Before(since) && isListed(l) {
				asked.add(l.Name.Name, evidence.Count{Lookups: 1, Attempts: map[bool]uint64{true: 1}[l.Begins]})
			}
		}
		for _, v := range r.Vendors {
			for _, n := range v.Names {
				names.add(n.Name, n.Counts.Count)
			}
		}
		sameTruth(t, what+", names", names, asked)
		// A week with a change of clocks has 169 hours, of which the home knows gaps of 1 h 48 m and 1 h.
		recorded := 169*3600 - 6480 - 3600
		if int(r.Coverage.Recorded) != recorded || r.Coverage.Length != 169*3600 {
			t.Errorf("seed %d: recorded %d of %d", seed, r.Coverage.Recorded, r.Coverage.Length)
		}
		if want := float64(want["listed"].Attempts) / (float64(recorded) / 3600); math.Abs(r.PerHour-want) > 1e-9 {
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

// Where rows are gone, and where the period is too long for them, totals give the same
// sums. Names are those of the rows that there are, and the rest is counted together.
func TestTotalsSayWhatRowsSaid(t *testing.T) {
	for seed := range uint64(3) {
		home := logtest.New(seed)
		week := home.Begin.AddDate(0, 0, 7)
		for what, c := range map[string]struct {
			since, rows time.Time
			why         string
		}{
			"no row is left":            {week, home.End, "deleted"},
			"rows since within an hour": {week, home.Begin.AddDate(0, 0, 10).Add(17*time.Hour + 21*time.Minute), "deleted"},
			"rows since a full hour":    {week, home.Begin.AddDate(0, 0, 10), "deleted"},
			"all rows are left":         {week, home.Begin, "none"},
			"a long period":             {home.End.AddDate(0, 0, -120), home.Begin, "long"},
			"a long period without row": {home.End.AddDate(0, 0, -120).Add(7 * time.Minute), home.End, "long"},
			"between full hours":        {week.Add(23 * time.Minute), home.Begin, "none"},
		} {
			old := *home
			old.RowsFrom = c.rows
			what = fmt.Sprintf("seed %d, %s", seed, what)
			r := makeReport(t, &old, evidence.Options{Since: c.since, Until: home.End, Compare: true})
			if r.Totals.Why != c.why {
				t.Errorf("%s: totals are read: %s, want %s", what, r.Totals.Why, c.why)
			}
			days := r.Timeline.Step == "day"
			want := truthOf(home, c.since, days)
			sameTruth(t, what, sumsOf(home, r, days), want)
			asRows := makeReport(t, home, evidence.Options{Since: latestOf(c.since, home.Begin), Until: home.End})
			if r.Silent == nil || *r.Silent != *asRows.Silent {
				t.Errorf("%s: otherwise silent: got %v, want %v", what, r.Silent, asRows.Silent)
			}
			for i := range r.Vendors {
				v, sum := &r.Vendors[i], evidence.Count{}
				for _, n := range v.Names {
					sum.Lookups, sum.Attempts = sum.Lookups+n.Counts.Lookups, sum.Attempts+n.Counts.Attempts
					if c.why == "long" && n.Name != "" {
						t.Errorf("%s: %s has the name %s, which is one of an hour", what, v.Vendor, n.Name)
					}
				}
				if sum != v.Counts.Count {
					t.Errorf("%s: names of %s have %v, the vendor %v", what, v.Vendor, sum, v.Counts.Count)
				}
				if w := &asRows.Vendors[i]; !v.First.Equal(w.First.Time) || !v.Last.Equal(w.Last.Time) || v.Night != w.Night {
					t.Errorf("%s: %s from %s to %s, %v at night; want %s to %s, %v", what, v.Vendor, v.First, v.Last, v.Night, w.First, w.Last, w.Night)
				}
			}
			said := strings.Contains(strings.Join(r.Caveats, "\n"), "hourly totals: ") || strings.Contains(strings.Join(r.Caveats, "\n"), "from hourly totals, ")
			if said != (c.why != "none") {
				t.Errorf("%s: the caveats are %q", what, r.Caveats)
			}
		}
	}
}

func latestOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Totals do not say what of them is imported. What is of hours in which nothing was recorded
// here is in no rate, nor are hours in which there may be both; the report says how much.
func TestTotalsWithImportedLookupsAreToldApartByTheirHours(t *testing.T) {
	home := logtest.New(1)
	since, began := home.Begin, home.Begin.Add(91*time.Hour+20*time.Minute)
	home.RowsFrom = home.End
	home.Gaps = []querylog.Gap{{Since: querylog.Time{Time: since}, Until: querylog.Time{Time: began}, Effect: querylog.Unrecorded, Kind: querylog.GapDown}}
	home.Imports = []querylog.ImportedLog{{Format: "pi-hole", First: querylog.Time{Time: since}, Last: querylog.Time{Time: began}}}
	elsewhere, both, own := 0, 0, 0
	for i := range home.Lookups {
		switch l := &home.Lookups[i]; {
		case l.Time.Before(began.Truncate(time.Hour)):
			elsewhere++
		case l.Time.Before(began.Truncate(time.Hour).Add(time.Hour)):
			both++
		case isListed(l) && l.Begins:
			own++
		}
	}
	r := makeReport(t, home, evidence.Options{Since: since, Until: home.End})
	said := strings.Join(r.Caveats, "\n")
	for _, want := range []string{evidence.Number(uint64(elsewhere)) + " lookups that are counted from hourly totals are of hours in which nothing was recorded here: they were imported",
		evidence.Number(uint64(both)) + " lookups that are counted from hourly totals are of hours in which lookups were recorded here and others imported"} {
		if both == 0 || !strings.Contains(said, want) || strings.Count(said, "(pi-hole)") != 2 {
			t.Errorf("want %q in %q", want, r.Caveats)
		}
	}
	recorded := home.End.Sub(began).Hours() - 40.0/60
	if want := float64(own) / recorded; math.Abs(r.PerHour-want) > 1e-9 {
		t.Errorf("got %v an hour, want %v", r.PerHour, want)
	}
	home.Imports = nil
	r = makeReport(t, home, evidence.Options{Since: began, Until: home.End})
	if strings.Contains(strings.Join(r.Caveats, "\n"), "imported") {
		t.Errorf("nothing is imported: %q", r.Caveats)
	}
}

// In an hour in which some lookups were recorded here and others imported, rows say which are
// which, and rates are of all that was recorded here. Where some of its rows are deleted,
// totals do not say it, and the hour is in no rate.
func TestRatesOfAnHourWithOwnAndImportedLookups(t *testing.T) {
	home := logtest.New(1)
	var first time.Time // the fourth row of listed names in an hour
	ofAll := map[time.Time]int{}
	for r := range home.Rows(context.Background(), querylog.Filter{Since: home.Begin, Until: home.End}) {
		if hour := r.Time.Truncate(time.Hour); r.Attribution == "rule" {
			if ofAll[hour]++; ofAll[hour] == 4 {
				first = r.Time.Time
				break
			}
		}
	}
	hour := first.Truncate(time.Hour)
	ofHour := func(r *querylog.Row) bool { return r.Time.Truncate(time.Hour).Equal(hour) }
	home.Imports = []querylog.ImportedLog{{Format: "capture", First: querylog.Time{Time: hour}, Last: querylog.Time{Time: hour.Add(time.Minute)}}}
	home.Imported = func(r *querylog.Row) string { return map[bool]string{true: "capture"}[ofHour(r) && r.ID%3 == 0] }
	for what, c := range map[string]struct {
		rows, until time.Time
		rated       time.Duration
	}{
		"all rows, that hour alone":  {hour, hour.Add(time.Hour), time.Hour},
		"all rows, a week":           {hour, hour.AddDate(0, 0, 7), 7 * 24 * time.Hour},
		"rows deleted, that hour":    {first, hour.Add(time.Hour), 0},
		"rows deleted, also of week": {first, hour.AddDate(0, 0, 7), 7*24*time.Hour - time.Hour},
	} {
		home.RowsFrom = c.rows
		own := 0.0
		for r := range home.Rows(context.Background(), querylog.Filter{Since: hour, Until: c.until}) {
			if r.Imported == "" && (r.Attribution == "rule" || r.Attribution == "list") && !r.Time.Before(hour) && r.Time.Before(c.until) && (c.rows.Equal(hour) || !ofHour(&r)) {
				own += float64(r.Attempts)
			}
		}
		r := makeReport(t, home, evidence.Options{Since: hour, Until: c.until})
		if want := own / max(1, c.rated.Hours()); r.Rated != int64(c.rated.Seconds()) || math.Abs(r.PerHour-want) > 1e-9 || c.rated > 0 && want == 0 {
			t.Errorf("%s: got %v an hour of %d s, want %v of %s", what, r.PerHour, r.Rated, want, c.rated)
		}
	}
}

// What does not say which lookups were blocked is not taken to say that none was: its lookups are
// counted apart, of rows and of totals.
func TestAReportCountsWhatHasNoVerdictApart(t *testing.T) {
	for _, rowsKept := range []bool{true, false} {
		for format, unknown := range map[string]bool{"capture": true, "pi-hole": false} {
			home := logtest.New(1)
			home.Imported = func(*querylog.Row) string { return format }
			home.Imports = []querylog.ImportedLog{{Format: format, First: querylog.Time{Time: home.Begin}, Last: querylog.Time{Time: home.End}}}
			if !rowsKept {
				home.RowsFrom = home.End
			}
			want := uint64(0)
			if unknown {
				want = home.WithoutVerdicts()
			}
			r := makeReport(t, home, evidence.Options{Since: home.Begin, Until: home.End})
			c := &r.Asked
			if c.Unknown.Lookups != want || c.Passed.Lookups+c.Blocked.Lookups+c.Observed.Lookups+c.Allowed.Lookups+c.Answered.Lookups+want != c.Lookups {
				t.Errorf("%s, rows kept %v: %d lookups have no verdict, want %d; %+v", format, rowsKept, c.Unknown.Lookups, want, c)
			}
			said := strings.Contains(strings.Join(r.Caveats, "\n"), fmt.Sprintf("of %s lookups it is not known whether they were blocked: the log of another server that they were imported from does not say (%s)", evidence.Number(want), format))
			if said != unknown {
				t.Errorf("%s, rows kept %v: the caveats are %q", format, rowsKept, r.Caveats)
			}
		}
	}
}

// dnsmasq may block one type of a name alone: a report with its lookups says how many were blocked, too.
func TestAReportOfDnsmasqSaysHowManyLookupsWereBlocked(t *testing.T) {
	for _, format := range []string{"dnsmasq", "pi-hole", ""} {
		home := logtest.New(1)
		home.Imported = func(*querylog.Row) string { return format }
		r := makeReport(t, home, evidence.Options{Since: home.Begin, Until: home.End})
		want := fmt.Sprintf("of the %s lookups of listed names, %s were blocked", evidence.Number(r.Listed.Lookups), evidence.Number(r.Listed.Blocked.Lookups))
		if said := strings.Contains(strings.Join(r.Caveats, "\n"), want); said != (format == "dnsmasq") {
			t.Errorf("%q: the caveats are %q", format, r.Caveats)
		}
	}
}

// A device of which another was made within an hour keeps that hour's totals, and the
// report says so. A total of other hours is that of who it was then.
func TestASplitWithinAnHourIsSaid(t *testing.T) {
	home := logtest.New(1)
	home.RowsFrom = home.End
	var within, full time.Time // a time in the middle of a total, and the hour's end
	for total := range home.Totals(context.Background(), querylog.TotalsFilter{Since: home.Begin.AddDate(0, 0, 9), Until: home.End}) {
		if total.Device == "living-room-tv" && total.Last.Sub(total.First.Time) > time.Minute {
			within, full = total.First.Add(time.Minute), total.Hour.Add(time.Hour)
			break
		}
	}
	for _, c := range []struct {
		at   time.Time
		said bool
	}{{within, true}, {full, false}} {
		today := func(identity string, at time.Time) string {
			if identity == "living-room-tv" && !at.Before(c.at) {
				return "the neighbour's"
			}
			return identity
		}
		r := makeReport(t, home, evidence.Options{Since: home.Begin, Until: home.End, Today: today})
		old, young := evidence.Device{}, evidence.Device{}
		for _, d := range r.Devices {
			switch d.Device {
			case "living-room-tv":
				old = d
			case "the neighbour's":
				young = d
			}
		}
		if old.Asked.Lookups == 0 || young.Asked.Lookups == 0 || !old.First.Before(c.at) || young.First.Before(c.at) {
			t.Errorf("split at %s: got %+v and %+v", c.at, old, young)
		}
		if said := strings.Contains(strings.Join(r.Caveats, "\n"), "within an hour"); said != c.said {
			t.Errorf("split at %s: %q", c.at, r.Caveats)
		}
	}
}

// That there was no lookup is said where the record has no gap, and nowhere else.
func TestNoAbsenceOverAGap(t *testing.T) {
	home := logtest.New(1)
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
	all := []querylog.Effect{querylog.Unrecorded, querylog.Incomplete, querylog.Unnamed, querylog.Removed, querylog.Undated, querylog.Unbound, querylog.Uncounted, querylog.Unblocked}
	for i, effect := range all {
		with := *home
		with.Gaps = []querylog.Gap{{Since: querylog.Time{Time: home.Begin.Add(time.Hour)}, Until: querylog.Time{Time: home.Begin.Add(time.Hour + time.Second)}, Effect: effect}}
		for device, may := range map[string]bool{"": i >= 5, "phone": i >= 6} { // of another device it may be
			r := makeReport(t, &with, evidence.Options{Since: home.Begin, Until: week, Vendor: "Nobody", Device: device})
			if got := r.NoneText(); strings.Contains(got, "No lookup") != may {
				t.Errorf("%s, device %q: %s", effect, device, got)
			}
		}
	}
}

// A report of a device that asked for nothing is called as the device is today.
func TestADeviceWithoutRowsHasItsNameOfToday(t *testing.T) {
	home := logtest.New(1)
	names := func(device string) string { return map[string]string{"attic": "Lamp", "": "nobody"}[device] }
	for _, c := range []struct {
		what, device string
		name         func(string) string
		want         string
	}{
		{"a device, where nobody knows names", "attic", nil, "attic"},
		{"a device with a name", "attic", names, "Lamp"},
		{"all devices", "", names, ""},
	} {
		r, err := evidence.Make(t.Context(), home, evidence.Options{Since: home.Begin, Until: home.Begin.Add(time.Hour), Now: home.End, Device: c.device, Name: c.name})
		if err != nil {
			t.Fatal(err)
		}
		if r.About.Label != c.want {
			t.Errorf("a report of %s is called %q, want %q", c.what, r.About.Label, c.want)
		}
		if c.device != "" && len(r.Devices) != 0 {
			t.Errorf("a report of %s has rows of %d devices, want none", c.what, len(r.Devices))
		}
	}
}
