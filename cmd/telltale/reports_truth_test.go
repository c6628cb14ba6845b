package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/evidence"
	homes "telltale/evidence/household"
	"telltale/querylog"
)

// Reports of a made-up home, asked for as a person does, say what its devices looked up,
// counted lookup by lookup: see docs/household.md.
func TestReportsOfAHouseholdAreTheTruth(t *testing.T) {
	h := homes.New(homes.Options{Days: 4, Pace: 0.5, Seed: 7})
	newHomeTest(t, h).check(1, 4)
}

// A homeTest compares reports of a home with the truth.
type homeTest struct {
	t     *testing.T
	h     *homes.Home
	dir   string
	zone  *time.Location
	alive time.Time // the last sign of life before the crash, as the log has it
}

func newHomeTest(t *testing.T, h *homes.Home) *homeTest {
	dir, err := os.MkdirTemp("/dev/shm", "household") // where a disk need not be waited for thousands of times
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h.Write(t, dir)
	if t.Failed() {
		t.FailNow()
	}
	return &homeTest{t: t, h: h, dir: dir, zone: h.Begin.Location()}
}

// run runs a command with the home's settings.
func (x *homeTest) run(args ...string) string {
	x.t.Helper()
	var out, errs bytes.Buffer
	line := append(args, "--config", filepath.Join(x.dir, "telltale.yaml"))
	if exit := command(context.Background(), line, &out, &errs, nil); exit != 0 {
		x.t.Fatalf("telltale %s: exit status %d\n%s", strings.Join(line, " "), exit, errs.String())
	}
	return out.String()
}

// A homePeriod is a time of which reports are made.
type homePeriod struct {
	what         string
	since, until time.Time
}

func (x *homeTest) periods() []homePeriod {
	h, day := x.h, 24*time.Hour
	hour := func(t time.Time) time.Time { return t.Truncate(time.Hour) }
	crash := h.Downs[1].Since
	return []homePeriod{
		{"all", h.Begin, h.End()},
		{"the last week", h.End().AddDate(0, 0, -7), h.End()},
		{"since the phone opted out", h.OptedOut, h.End()},
		{"from before the log begins", h.Begin.Add(-day), h.Begin.Add(2 * day)},
		{"hours with a stop", hour(h.Downs[0].Since).Add(-5 * time.Hour), hour(h.Downs[0].Until).Add(4 * time.Hour)},
		{"while no server ran", h.Downs[0].Since.Add(time.Minute), h.Downs[0].Until.Add(-time.Minute)},
		{"hours with the crash", hour(crash).Add(-2 * time.Hour), hour(crash).Add(3 * time.Hour)},
		{"an hour in which the clock was set forward", hour(h.Steps[0].From), hour(h.Steps[0].From).Add(time.Hour)},
		{"an hour in which it was set back", hour(h.Steps[1].From), hour(h.Steps[1].From).Add(time.Hour)},
		{"a quiet night", h.Begin.AddDate(0, 0, 1).Add(3 * time.Hour), h.Begin.AddDate(0, 0, 1).Add(5 * time.Hour)},
	}
}

// check compares reports of all periods. Of the first many of them those of devices and
// vendors, too, of every so many.
func (x *homeTest) check(many, every int) {
	for i, p := range x.periods() {
		x.compare(p, nil, "")
		of := x.h.Devices[:1]
		if i < many {
			of = nil
			for j, d := range x.h.Devices {
				if j%every == 0 {
					of = append(of, d)
					x.compare(p, d, "")
				}
			}
			for j, vendor := range homeVendors() {
				if j%every == 0 {
					x.compare(p, nil, vendor)
				}
			}
			x.compare(p, x.h.Devices[0], "aurora")
		}
		x.absences(p, of)
		x.slots(p, "devices", "hour")
		x.slots(p, "purposes", "day")
	}
	x.presence()
	x.rows()
}

func homeVendors() (all []string) {
	seen := map[string]bool{}
	for _, n := range homes.Names() {
		if !seen[n.Vendor] {
			seen[n.Vendor] = true
			all = append(all, n.Vendor)
		}
	}
	return all
}

func (x *homeTest) reportArgs(p homePeriod, d *homes.Device, vendor string) []string {
	args := []string{"report", "--since", p.since.UTC().Format(time.RFC3339), "--until", p.until.UTC().Format(time.RFC3339), "--tz", x.zone.String()}
	if d != nil {
		args = append(args, deviceArg(d))
	}
	if vendor != "" {
		args = append(args, "--vendor", vendor)
	}
	return args
}

// deviceArg is how a report of a device is asked for: by what it is called. A bare address is
// asked for as a device, since of whoever held it, totals know nothing.
func deviceArg(d *homes.Device) string {
	if d.Was[0].MAC == "" {
		return d.Was[0].Device
	}
	return d.Label
}

// compare makes a report and compares it with the truth.
func (x *homeTest) compare(p homePeriod, d *homes.Device, vendor string) {
	t, what := x.t, p.what
	if d != nil {
		what += ", " + d.Label
	}
	if vendor != "" {
		what += ", " + vendor
	}
	var r evidence.Report
	if err := json.Unmarshal([]byte(x.run(append(x.reportArgs(p, d, vendor), "--json")...)), &r); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	x.coverage(what, p, &r)
	if r.Unit != evidence.UnitAttempts {
		t.Errorf("%s: the unit is %s", what, r.Unit)
	}
	want, got := x.truth(p, d, vendor), sumsOfReport(x.zone, &r)
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%s: %s: got %v, want %v", what, key, got[key], n)
		}
	}
	for key, n := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s: got %v, and nobody asked", what, key, n)
		}
	}
	if recorded := float64(r.Coverage.Recorded) / 3600; recorded > 0 {
		if want := float64(want["listed"].Attempts) / recorded; math.Abs(r.PerHour-want) > 1e-3*want {
			t.Errorf("%s: got %v an hour, want %v", what, r.PerHour, want)
		}
	}
}

// isListed reports whether the home's list has the name that was asked for.
func isListed(l *homes.Lookup) bool { return l.Name.Vendor != "" && l.Suffix == "" }

// today is the identity of a device: what it was first, whatever it was later.
func today(d *homes.Device) string { return d.Was[0].Device }

type counts map[string]evidence.Count

func (c counts) add(key string, l *homes.Lookup) {
	n := c[key]
	n.Lookups++
	if l.Begins {
		n.Attempts++
	}
	c[key] = n
}

// truth counts the lookups of a period, one by one.
func (x *homeTest) truth(p homePeriod, d *homes.Device, vendor string) counts {
	all := counts{}
	before := p.since.Add(-p.until.Sub(p.since))
	if days := p.until.Sub(p.since).Hours() / 24; p.since.AddDate(0, 0, int(math.Round(days))).Equal(p.until) && days > 0.9 {
		before = p.since.AddDate(0, 0, -int(math.Round(days)))
	}
	type hour struct {
		device string
		at     int64
	}
	other, alone := map[hour]bool{}, map[hour]counts{}
	for i := range x.h.Lookups {
		l := &x.h.Lookups[i]
		if d != nil && l.Device != d || vendor != "" && (!isListed(l) || !strings.EqualFold(l.Name.Vendor, vendor)) {
			continue
		}
		if l.Time.Before(p.since) || !l.Time.Before(p.until) {
			if isListed(l) && !l.Time.Before(before) && l.Time.Before(p.since) {
				all.add("before", l)
			}
			continue
		}
		at := l.Time.In(x.zone)
		all.add("all", l)
		all.add("asked by "+today(l.Device), l)
		h := hour{today(l.Device), l.Time.Unix() / 3600}
		if !isListed(l) {
			other[h] = true
			continue
		}
		if alone[h] == nil {
			alone[h] = counts{}
		}
		alone[h].add("", l)
		n := l.Name
		keys := []string{
			"listed", "tier " + n.Tier, "decided " + n.Verdict(), "vendor " + n.Vendor, "name " + n.Name, "device " + today(l.Device), "purpose " + n.Vendor + " " + n.Purpose + " " + n.Tier,
			"vendor of " + today(l.Device) + " " + n.Vendor, "flow " + l.Device.Label + " " + n.Vendor + " " + n.Purpose,
			fmt.Sprintf("hour %d %d", (int(at.Weekday())+6)%7, at.Hour()),
		}
		switch length := p.until.Sub(p.since); {
		case length <= 50*time.Hour:
			keys = append(keys, "slot "+at.Truncate(time.Hour).Format("2 Jan 15:04"))
		case length <= 120*24*time.Hour:
			slot := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, x.zone)
			if slot.Before(p.since) {
				slot = p.since.In(x.zone)
			}
			keys = append(keys, "slot "+slot.Format("2 Jan 15:04"))
		}
		if at.Hour() < evidence.NightEnd {
			keys = append(keys, "night")
		}
		for _, key := range keys {
			all.add(key, l)
		}
	}
	if vendor != "" {
		return all
	}
	silent, n := evidence.Count{}, 0
	for h, c := range alone {
		if !other[h] {
			silent.Attempts += c[""].Attempts
			silent.Lookups += c[""].Lookups
			n++
		}
	}
	if n > 0 {
		all["silent"], all["silent hours"] = silent, evidence.Count{Lookups: uint64(n)}
	}
	return all
}

// sumsOfReport are those of a report, by the keys of truth.
func sumsOfReport(zone *time.Location, r *evidence.Report) counts {
	all := counts{}
	set := func(key string, c evidence.Count) {
		if c.Lookups > 0 {
			n := all[key]
			n.Attempts, n.Lookups = n.Attempts+c.Attempts, n.Lookups+c.Lookups
			all[key] = n
		}
	}
	set("all", r.Asked.Count)
	set("listed", r.Listed.Count)
	set("decided block", r.Listed.Blocked)
	set("decided observe", r.Listed.Observed)
	set("decided pass", r.Listed.Passed)
	set("night", r.Night.Count)
	if r.Before != nil {
		set("before", r.Before.Listed)
	}
	if r.Silent != nil {
		set("silent", r.Silent.Count)
		set("silent hours", evidence.Count{Lookups: uint64(r.Silent.Hours)})
	}
	for _, x := range r.Tiers {
		set("tier "+x.Tier, x.Count)
	}
	for _, v := range r.Vendors {
		set("vendor "+v.Vendor, v.Counts.Count)
		for _, n := range v.Names {
			set("name "+n.Name, n.Counts.Count)
		}
		for _, u := range v.Purposes {
			set("purpose "+v.Vendor+" "+u.Purpose+" "+u.Tier, u.Count)
		}
	}
	for _, d := range r.Devices {
		set("asked by "+d.Device, d.Asked.Count)
		set("device "+d.Device, d.Listed.Count)
		for _, v := range d.Vendors {
			set("vendor of "+d.Device+" "+v.Vendor, v.Count)
		}
	}
	for _, f := range r.Flows {
		set("flow "+f.Device+" "+f.Vendor+" "+f.Purpose, f.Count)
	}
	for _, c := range r.Hours {
		set(fmt.Sprintf("hour %d %d", c.Weekday, c.Hour), c.Count)
	}
	for _, s := range r.Timeline.Slots {
		set("slot "+s.Since.In(zone).Format("2 Jan 15:04"), s.Count)
	}
	return all
}

// inside is how much of a time is in a period.
func inside(p homePeriod, since, until time.Time) time.Duration {
	if since.Before(p.since) {
		since = p.since
	}
	if until.After(p.until) {
		until = p.until
	}
	return max(until.Sub(since), 0)
}

// gapless reports whether nothing is missing in a period, and the clock was not set in it.
func (x *homeTest) gapless(p homePeriod) bool {
	for _, d := range x.h.Downs {
		since := d.Since
		if d.Crash {
			since = since.Add(-10 * time.Second) // its last sign of life may be so old
		}
		if inside(p, since, d.Until) > 0 {
			return false
		}
	}
	for _, s := range x.h.Steps {
		from, to := s.From, s.To
		if to.Before(from) {
			from, to = to, from
		}
		if inside(p, from, to) > 0 {
			return false
		}
	}
	return !p.since.Before(x.h.Begin)
}

// coverage compares what a report says of the record with what happened.
func (x *homeTest) coverage(what string, p homePeriod, r *evidence.Report) {
	t := x.t
	for _, g := range r.Coverage.Gaps {
		if g.Kind == querylog.KindCrash && x.alive.IsZero() {
			x.alive = g.Since.Time
		}
	}
	recorded := p.until.Sub(p.since) - inside(p, p.since, x.h.Begin)
	for _, d := range x.h.Downs {
		since := d.Since
		if d.Crash && inside(p, since, d.Until) > 0 {
			since = x.alive
			if since.After(d.Since) || d.Since.Sub(since) > 10*time.Second {
				t.Errorf("%s: the server was killed at %v, and its last sign of life was at %v", what, d.Since, since)
			}
		}
		recorded -= inside(p, since, d.Until)
	}
	if want := int64(recorded.Round(time.Second) / time.Second); r.Coverage.Recorded != want {
		t.Errorf("%s: %d s are recorded, want %d: %s", what, r.Coverage.Recorded, want, r.Coverage.Text)
	}
	if want := x.gapless(p); r.Coverage.Whole != want {
		t.Errorf("%s: the record is whole: %v, want %v", what, r.Coverage.Whole, want)
	}
	for _, s := range x.h.Steps {
		if inside(p, s.From, s.To)+inside(p, s.To, s.From) == 0 {
			continue
		}
		found := false
		for _, g := range r.Coverage.Gaps {
			late := g.Since.Sub(earlierOf(s.From, s.To)) // the clock is looked at every 10 s
			found = found || g.Effect == querylog.Undated && (late >= 0 && late <= 10*time.Second && g.Until.Sub(g.Since.Time) == s.To.Sub(s.From).Abs() || g.Since.Time.Equal(p.since))
		}
		if !found {
			t.Errorf("%s: no gap says that the clock was set from %v to %v", what, s.From, s.To)
		}
	}
}

func earlierOf(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// absences looks whether a report says that there was no lookup only where there was none
// and the record has no gap.
func (x *homeTest) absences(p homePeriod, devices []*homes.Device) {
	for _, d := range devices {
		for _, vendor := range []string{"Aurora", "Kestrel"} {
			text := strings.Join(strings.Fields(x.run(append(x.reportArgs(p, d, vendor), "--compare", "none")...)), " ")
			said := strings.Contains(strings.ToLower(text), "no lookup of")
			if want := x.gapless(p) && x.truth(p, d, vendor)["all"].Lookups == 0; said != want {
				x.t.Errorf("%s, %s, %s: \"No lookup of\" is said: %v, want %v", p.what, d.Label, vendor, said, want)
			}
		}
	}
}

// slots compares what is counted by hour or day with the truth.
func (x *homeTest) slots(p homePeriod, of, by string) {
	got, want := counts{}, counts{}
	args := append([]string{"top", of, "--by", by, "--ignored", "--limit", "0", "--json"}, x.reportArgs(p, nil, "")[1:]...)
	var slots []evidence.CountSlot
	for line := range strings.Lines(x.run(args...)) {
		var s evidence.CountSlot
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			x.t.Fatal(err)
		}
		for _, l := range s.Lines {
			got[fmt.Sprintf("%d %s", len(slots), l.Key)] = evidence.Count{Lookups: l.Count, Attempts: l.Attempts}
		}
		if during := (homePeriod{since: s.Since.Time, until: s.Until.Time}); s.Asked == nil && x.gapless(during) || s.Asked != nil && s.Asked.Count == 0 && !x.gapless(during) {
			x.t.Errorf("%s, %s by %s, from %v: got %+v, and that nothing is missing there is %v", p.what, of, by, s.Since, s.Asked, x.gapless(during))
		}
		slots = append(slots, s)
	}
	for i := range x.h.Lookups {
		l := &x.h.Lookups[i]
		key := map[string]string{"devices": today(l.Device), "purposes": l.Name.Purpose}[of]
		if l.Time.Before(p.since) || !l.Time.Before(p.until) || of == "purposes" && !isListed(l) {
			continue
		}
		at := slices.IndexFunc(slots, func(s evidence.CountSlot) bool { return l.Time.Before(s.Until.Time) })
		want.add(fmt.Sprintf("%d %s", at, key), l)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		for key, n := range want {
			if got[key] != n {
				x.t.Errorf("%s, %s by %s: %s: got %v, want %v", p.what, of, by, key, got[key], n)
			}
		}
		x.t.Errorf("%s, %s by %s: got %d numbers, want %d", p.what, of, by, len(got), len(want))
	}
}

// presence compares the hours in which devices were there.
func (x *homeTest) presence() {
	type hour struct {
		device string
		at     int64
	}
	want := map[hour]uint64{}
	for i := range x.h.Lookups {
		l := &x.h.Lookups[i]
		want[hour{l.Was.Device, l.Time.Unix() / 3600}]++
	}
	r, err := querylog.OpenReader(filepath.Join(x.dir, "store"))
	if err != nil {
		x.t.Fatal(err)
	}
	all, err := r.Presence(context.Background(), time.Time{}, time.Time{})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, p := range all {
		h := hour{p.Device, p.Hour.Unix() / 3600}
		if p.Lookups != want[h] {
			x.t.Errorf("%s at %v: got %d lookups, want %d", p.Device, p.Hour, p.Lookups, want[h])
		}
		delete(want, h)
	}
	for h, n := range want {
		x.t.Errorf("%s at %v: got none, want %d lookups", h.device, time.Unix(3600*h.at, 0).UTC(), n)
	}
}

// rows compares the sums of rows of listed names, which are all kept.
func (x *homeTest) rows() {
	got, want := counts{}, counts{}
	for i := range x.h.Lookups {
		if l := &x.h.Lookups[i]; isListed(l) {
			want.add(l.Was.Device+" "+l.Asked(), l)
		}
	}
	for line := range strings.Lines(x.run("log", "--json", "--ignored")) {
		var row querylog.Row
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			x.t.Fatal(err)
		}
		if row.Vendor != "" {
			n := got[row.Device+" "+row.Name]
			n.Attempts, n.Lookups = n.Attempts+uint64(row.Attempts), n.Lookups+row.Count
			got[row.Device+" "+row.Name] = n
		}
	}
	for key, n := range want {
		if got[key] != n {
			x.t.Errorf("rows of %s: got %v, want %v", key, got[key], n)
		}
	}
}
