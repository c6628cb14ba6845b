package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale/devices"
	"telltale/evidence/stats"
	"telltale/querylog"
)

// A home is a log in memory.
type home struct {
	rows    []querylog.Row
	gaps    []querylog.Gap
	events  []querylog.Event
	imports []querylog.ImportedLog
	bound   []devices.Binding
	late    bool // attempts were not counted from the beginning
}

func (h *home) Sums(_ context.Context, f querylog.SumFilter) iter.Seq2[*querylog.Sum, error] {
	return func(yield func(*querylog.Sum, error) bool) {
		for i := range h.rows {
			r := &h.rows[i]
			if r.Time.Before(f.Since) || !r.Time.Before(f.Until) || !querylog.AnyHas(f.Devices, r.Device, r.Time.Time) || f.Vendor != "" && f.Vendor != r.Vendor {
				continue
			}
			if !yield(&querylog.Sum{Row: *r}, nil) {
				return
			}
		}
	}
}

func (h *home) Ledger(_ context.Context, since, until time.Time) (all []querylog.Event, _ error) {
	for _, e := range h.events {
		if (since.IsZero() || !e.Time.Before(since)) && (until.IsZero() || !e.Time.After(until)) {
			all = append(all, e)
		}
	}
	return all, nil
}

func (h *home) Coverage(_ context.Context, since, until time.Time) (querylog.Coverage, error) {
	c := querylog.Coverage{Since: at(since), Until: at(until), Gaps: h.gaps, Imports: h.imports, AttemptsSince: at(begin.AddDate(0, -1, 0))}
	if h.late {
		c.AttemptsSince = at(begin.Add(time.Hour))
	}
	return c, nil
}

func (h *home) Totals(_ context.Context, f querylog.TotalsFilter) iter.Seq2[querylog.Total, error] {
	return func(yield func(querylog.Total, error) bool) {
		for i := range h.rows {
			r := &h.rows[i]
			if slices.Contains(f.Devices, r.Device) && !yield(querylog.Total{Hour: at(r.Time.Truncate(time.Hour)), Device: r.Device, First: r.Time, Lookups: r.Count}, nil) {
				return
			}
		}
	}
}

func (h *home) Bindings(context.Context) ([]devices.Binding, error) { return h.bound, nil }

func at(t time.Time) querylog.Time { return querylog.Time{Time: t} }

// begin is a Monday's midnight in winter.
var begin = time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC)

// ask adds attempts of a name, so many an hour.
func (h *home) ask(r *rand.Rand, device, name, verdict string, since, until time.Time, perHour float64) {
	for t := since; ; {
		if t = t.Add(time.Duration(r.ExpFloat64() / perHour * float64(time.Hour))); !t.Before(until) {
			return
		}
		h.rows = append(h.rows, querylog.Row{
			Time: at(t), Last: at(t), Count: 2, Attempts: 1, Device: device, Name: name, Vendor: "Acme", Product: "TV", Purpose: "analytics", Tier: "telemetry", Attribution: "rule", Verdict: verdict,
		})
	}
}

// browse has a device ask for something else, so that it is there.
func (h *home) browse(device string, since, until time.Time) {
	for t := since; t.Before(until); t = t.Add(30 * time.Minute) {
		h.rows = append(h.rows, querylog.Row{Time: at(t), Last: at(t), Count: 1, Attempts: 1, Device: device, Verdict: "pass"})
	}
}

func (h *home) gap(effect querylog.Effect, kind, subject string, since, until time.Time) {
	h.gaps = append(h.gaps, querylog.Gap{Since: at(since), Until: at(until), Effect: effect, Kind: kind, Subject: subject})
}

// planned returns the experiment of a template, as its line says.
func planned(t *testing.T, template string, s Settings) *Experiment {
	t.Helper()
	line := planLine(t, template, s)
	all := All([]querylog.Event{line})
	if len(all) != 1 || all[0].Problem != "" {
		t.Fatalf("%+v", all)
	}
	return all[0]
}

func planLine(t *testing.T, template string, s Settings) querylog.Event {
	t.Helper()
	all, err := Templates()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Name == template {
			p, err := c.Fill(s)
			if err != nil {
				t.Fatal(err)
			}
			line, err := PlanEvent("x", p, nil)
			if err != nil {
				t.Fatal(err)
			}
			line.Time = at(begin.Add(-time.Hour))
			return line
		}
	}
	t.Fatalf("no template %s", template)
	return querylog.Event{}
}

// run begins an experiment at begin, and goes through its phases as planned.
func (e *Experiment) run() *Experiment {
	now := begin
	e.Started = at(now)
	for i := range e.Plan.Phases {
		now = now.Add(e.Plan.Phases[i].Length())
		if i < len(e.Plan.Phases)-1 {
			e.Marks = append(e.Marks, Mark{Said: at(now), At: at(now), Says: "done", Next: true})
		}
	}
	e.Stopped = at(now)
	return e
}

func (h *home) report(t *testing.T, e *Experiment, o Options) *Report {
	t.Helper()
	o.Now = begin.AddDate(1, 0, 0)
	r, err := Make(context.Background(), h, e, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	phone  = Device{"mac:02:00:5e:00:00:01", "phone"}
	tablet = Device{"mac:02:00:5e:00:00:02", "tablet"}
	noon   = begin.Add(48 * time.Hour) // when phase B begins
	end    = begin.Add(96 * time.Hour)
)

// optedOut is a home in which a phone asks less for one name, and stops asking for another.
func optedOut(seed uint64) *home {
	h, r := &home{}, rand.New(rand.NewPCG(seed, 15))
	for _, d := range []Device{phone, tablet} {
		h.browse(d.Device, begin.Add(-4*time.Hour), end.Add(4*time.Hour))
	}
	h.ask(r, phone.Device, "log.acme.example", "block", begin, noon, 4)
	h.ask(r, phone.Device, "log.acme.example", "block", noon, end, 1.6)
	h.ask(r, phone.Device, "id.acme.example", "block", begin, noon, 1)
	h.ask(r, phone.Device, "same.acme.example", "block", begin, end, 5)
	h.ask(r, phone.Device, "rare.acme.example", "block", begin, end, 0.1)
	h.ask(r, phone.Device, "new.acme.example", "block", noon, end, 1)
	h.ask(r, tablet.Device, "log.acme.example", "block", begin, end, 5)
	return h
}

func verdicts(list []Comparison) map[string]string {
	all := map[string]string{}
	for i := range list {
		all[list[i].What] = list[i].Verdict
	}
	return all
}

func TestAnOptOut(t *testing.T) {
	h := optedOut(1)
	r := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone, tablet}}).run(), Options{})
	d := &r.Devices[0]
	got := verdicts(d.Names)
	for name, want := range map[string]string{
		"log.acme.example": Fell, "id.acme.example": HasStopped, "same.acme.example": NoChange, "rare.acme.example": TooLittle, "new.acme.example": Rose,
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	if r.Unit != "attempts" || len(r.Departures) != 0 || !slices.Equal(d.Vanished, []string{"id.acme.example"}) || !slices.Equal(d.Appeared, []string{"new.acme.example"}) {
		t.Errorf("%s, %v, vanished %v, appeared %v", r.Unit, r.Departures, d.Vanished, d.Appeared)
	}
	if other := r.Devices[1].Total; other.Verdict != NoChange {
		t.Errorf("the tablet: %+v", other)
	}
	for _, c := range d.Names {
		if c.What == "rare.acme.example" && !strings.Contains(c.Why, "a halving would be seen with about") && !strings.Contains(c.Why, "too seldom") {
			t.Errorf("nothing says how much longer it takes: %q", c.Why)
		}
		if c.What == "log.acme.example" && (c.Ratio == nil || *c.Low > 0.4 || *c.High < 0.4 || c.A.Hours != 47 || c.B.Hours != 47) {
			t.Errorf("%+v", c)
		}
	}
}

// Settings by which names are answered are recorded with each step, and a change of them is
// a departure, also where the ledger says nothing of it.
func TestSettingsThatBecameOthersAreADeparture(t *testing.T) {
	said := func(plan, start, mark, stop string) []string {
		line := planLine(t, "opt-out", Settings{Devices: []Device{phone}})
		e := All([]querylog.Event{line})[0]
		e.Plan.Settings = plan
		ledger := []querylog.Event{}
		planned, err := PlanEvent("x", &e.Plan, nil)
		if err != nil {
			t.Fatal(err)
		}
		planned.Time = line.Time
		ledger = append(ledger, planned)
		for _, s := range []struct {
			at   time.Time
			step Step
		}{
			{begin, Step{Do: Start, Settings: start}}, {noon, Step{Do: DoMark, Says: "opted out", Settings: mark}}, {end, Step{Do: Stop, Settings: stop}},
		} {
			ev, err := Find(All(ledger), "x").Event(s.step, s.at)
			if err != nil {
				t.Fatal(err)
			}
			ev.Time = at(s.at)
			ledger = append(ledger, ev)
		}
		return optedOut(1).report(t, Find(All(ledger), "x"), Options{}).Departures
	}
	for _, c := range []struct {
		plan, start, mark, stop string
		want                    []string
	}{
		{"a", "a", "a", "a", nil},
		{"", "", "", "", nil},
		{"a", "", "a", "", nil},
		{"a", "b", "b", "b", []string{"when it was planned and when it was started"}},
		{"a", "a", "b", "b", []string{`when it was started and when 'opted out' was marked`}},
		{"a", "a", "b", "a", []string{`when it was started and when 'opted out' was marked`, `when 'opted out' was marked and when it was stopped`}},
	} {
		got := said(c.plan, c.start, c.mark, c.stop)
		same := len(got) == len(c.want)
		for i := range c.want {
			same = same && strings.Contains(got[i], c.want[i])
		}
		if !same {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

func TestARunningExperimentHasNoVerdict(t *testing.T) {
	e := planned(t, "opt-out", Settings{Devices: []Device{phone}}).run()
	e.Stopped = querylog.Time{}
	r := optedOut(1).report(t, e, Options{})
	if got := r.Devices[0].Total.Verdict; got != "" || len(r.Departures) == 0 {
		t.Errorf("verdict %q, %v", got, r.Departures)
	}
	e.Cancelled, e.Why = at(end), "sold"
	if r = optedOut(1).report(t, e, Options{}); r.Devices[0].Total.Verdict != "" || !strings.Contains(r.Departures[0], "sold") {
		t.Errorf("cancelled: %q, %v", r.Devices[0].Total.Verdict, r.Departures)
	}
}

// Hours with gaps, pauses and a clock that was set are not compared; a pause of another
// device, and one that lasts throughout, change nothing.
func TestHoursThatAreLeftOut(t *testing.T) {
	h := optedOut(2)
	for i, c := range []struct {
		effect        querylog.Effect
		kind, subject string
		hours         float64 // that are left out of A
	}{
		{querylog.Unrecorded, "crash", "", 2}, {querylog.Undated, "clock", "", 2}, {querylog.Incomplete, "lost", "", 2}, {querylog.Unblocked, "pause", "everything", 2},
		{querylog.Unblocked, "pause", "device phone", 2}, {querylog.Unblocked, "pause", "device tablet", 0}, {querylog.Unblocked, "observe", "vendor Else", 2},
		{querylog.Unblocked, "list-failed", "acme", 0}, {querylog.Unbound, "mac-shared", "", 0},
	} {
		h.gaps = nil
		h.gap(c.effect, c.kind, c.subject, begin.Add(10*time.Hour+45*time.Minute), begin.Add(12*time.Hour+15*time.Minute))
		r := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{})
		if got := 47 - r.Devices[0].Total.A.Hours; got != c.hours {
			t.Errorf("%d: %s %s: %v hours are left out", i, c.effect, c.subject, got)
		}
	}
	h.gaps = nil
	h.gap(querylog.Unblocked, "observe", "device phone", begin.Add(-time.Hour), end.Add(time.Hour))
	if r := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}); r.Devices[0].Total.A.Hours != 47 {
		t.Errorf("observed throughout: %+v", r.Phases)
	}
}

// A device that asked for nothing at all may have been off: that it asked for no telemetry
// says nothing then, unless a person says that it was there.
func TestADeviceThatWasAway(t *testing.T) {
	h, r := &home{}, rand.New(rand.NewPCG(1, 1))
	h.browse(phone.Device, begin.Add(-4*time.Hour), noon)
	h.ask(r, phone.Device, "log.acme.example", "block", begin, noon, 4)
	got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}).Devices[0].Total
	if got.Verdict != TooLittle || got.B.Hours > 3 {
		t.Errorf("away: %+v", got)
	}
	got = h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}, AlwaysOn: true}).run(), Options{}).Devices[0].Total
	if got.Verdict != HasStopped {
		t.Errorf("there all the time: %+v", got)
	}
	got = (&home{}).report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}).Devices[0].Total
	if got.Verdict != TooLittle || got.Ratio != nil {
		t.Errorf("never seen: %+v", got)
	}
}

// A device whose lookups are not recorded has not stopped asking, whoever says that it was
// there all the time.
func TestADeviceThatIsNotRecordedHasNotStopped(t *testing.T) {
	off := func(device string, since, until time.Time) devices.Binding {
		return devices.Binding{Device: device, NoLog: true, From: since, Until: until}
	}
	const on = " on: it, or a group of it, had log: false"
	for name, c := range map[string]struct {
		bound   []devices.Binding
		verdict string
		hours   float64 // of B that are compared
		caveat  string
	}{
		"recorded":           {nil, HasStopped, 47, ""},
		"not from B on":      {[]devices.Binding{off(phone.Device, noon, time.Time{})}, TooLittle, 0, "Lookups of phone were not recorded from Wed 4 Feb 00:00" + on},
		"since before":       {[]devices.Binding{off(phone.Device, begin.Add(-time.Hour), time.Time{})}, TooLittle, 0, "from Mon 2 Feb 00:00" + on},
		"of two addresses":   {[]devices.Binding{off(phone.Device, noon.Add(time.Hour), time.Time{}), off(phone.Device, noon, time.Time{})}, TooLittle, 0, "from Wed 4 Feb 00:00" + on},
		"for two hours":      {[]devices.Binding{off(phone.Device, noon.Add(9*time.Hour+45*time.Minute), noon.Add(11*time.Hour))}, HasStopped, 45, "from Wed 4 Feb 09:45 to Wed 4 Feb 11:00: "},
		"another device":     {[]devices.Binding{off(tablet.Device, noon, time.Time{})}, HasStopped, 47, ""},
		"after the end":      {[]devices.Binding{off(phone.Device, end, time.Time{})}, HasStopped, 47, ""},
		"it is recorded now": {[]devices.Binding{{Device: phone.Device, From: noon}}, HasStopped, 47, ""},
	} {
		h, r := &home{bound: c.bound}, rand.New(rand.NewPCG(1, 1))
		h.ask(r, phone.Device, "log.acme.example", "block", begin, noon, 4)
		got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}, AlwaysOn: true}).run(), Options{})
		caveats := strings.Join(got.Caveats, "\n")
		if d := got.Devices[0]; d.Total.Verdict != c.verdict || d.Total.B.Hours != c.hours || !strings.Contains(caveats, c.caveat) || (c.caveat == "") != (caveats == "") || (len(d.Vanished) == 0) != (c.verdict == TooLittle) {
			t.Errorf("%s: got %q with %v h of B, vanished %v, %q, want %q with %v h, %q", name, d.Total.Verdict, d.Total.B.Hours, d.Vanished, caveats, c.verdict, c.hours, c.caveat)
		}
		excluded := slices.ContainsFunc(got.Phases[1].Excluded, func(x Excluded) bool {
			return x.Why == "lookups of the device were not recorded (log: false)" && x.Device == "phone" && x.Seconds == int64(3600*(47-c.hours))
		})
		if excluded != (c.hours < 47) {
			t.Errorf("%s: got %+v", name, got.Phases[1].Excluded)
		}
	}
	h := &home{}
	for i := range 7 {
		h.bound = append(h.bound, off(phone.Device, noon.Add(time.Duration(2*i)*time.Hour), noon.Add(time.Duration(2*i+1)*time.Hour)))
	}
	if got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}).Caveats; len(got) != 1 || !strings.Contains(got[0], "to Wed 4 Feb 09:00, and 2 more times: ") {
		t.Errorf("seven times: got %q", got)
	}
}

// That a name was not asked for is not said of a phase that was not observed, nor of one
// that is not over.
func TestNamesAreMissedOnlyInWhatWasObserved(t *testing.T) {
	e := planned(t, "opt-out", Settings{Devices: []Device{phone}}).run()
	for i, since := range []time.Time{begin, noon} { // the server did not run in A, then in B
		h := optedOut(1)
		h.rows = slices.DeleteFunc(h.rows, func(r querylog.Row) bool {
			return !r.Time.Before(since) && r.Time.Before(since.Add(48*time.Hour))
		})
		h.gap(querylog.Unrecorded, "crash", "", since, since.Add(48*time.Hour))
		if d := h.report(t, e, Options{}).Devices[0]; len(d.Vanished)+len(d.Appeared) > 0 {
			t.Errorf("%d: vanished %v, appeared %v", i, d.Vanished, d.Appeared)
		}
	}
	e.Stopped = querylog.Time{}
	if d := optedOut(1).report(t, e, Options{}).Devices[0]; len(d.Vanished)+len(d.Appeared) > 0 {
		t.Errorf("running: vanished %v, appeared %v", d.Vanished, d.Appeared)
	}
}

// What a device asked for in the last minutes of a phase is in no block, and yet it has not
// stopped asking. What it asked for just after it opted out is another matter.
func TestWhatIsNotComparedHasNotStopped(t *testing.T) {
	for _, c := range []struct {
		since, until time.Time
		want         string
	}{
		{noon, noon.Add(25 * time.Minute), HasStopped},
		{end.Add(-25 * time.Minute), end, Fell},
	} {
		h, r := &home{}, rand.New(rand.NewPCG(1, 1))
		h.browse(phone.Device, begin.Add(-4*time.Hour), end.Add(4*time.Hour))
		h.ask(r, phone.Device, "log.acme.example", "block", begin, noon, 4)
		h.ask(r, phone.Device, "log.acme.example", "block", c.since, c.until, 60)
		got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}).Devices[0].Total
		if got.Verdict != c.want || got.B.Count != 0 || (got.Note == "") != (c.want == HasStopped) {
			t.Errorf("%v to %v: %+v", c.since, c.until, got)
		}
	}
}

// A device that asks another server, whose log was imported, was not observed here.
func TestADeviceThatAskedAnotherServer(t *testing.T) {
	h, r := &home{}, rand.New(rand.NewPCG(1, 1))
	h.ask(r, phone.Device, "log.acme.example", "block", begin.Add(-4*time.Hour), end.Add(4*time.Hour), 4)
	here := noon.Add(90 * time.Minute) // two hours of B have rows that were recorded here
	for i := range h.rows {
		if row := &h.rows[i]; row.Time.After(here) {
			row.Imported = "pihole"
		}
	}
	h.imports = []querylog.ImportedLog{{Format: "pihole", First: at(noon.Add(10 * time.Minute)), Last: at(end.Add(24 * time.Hour))}}
	got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{})
	if c := got.Devices[0].Total; c.Verdict == HasStopped || c.B.Hours < 1 || c.B.Hours > 2 || c.B.Count == 0 || len(got.Caveats) != 1 {
		t.Errorf("%+v, %v", c, got.Caveats)
	}
}

// Phases over a change of clocks compare hours as clocks showed them.
func TestPhasesOverAChangeOfClocks(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	spring := time.Date(2026, 3, 27, 0, 0, 0, 0, zone) // clocks go forward on the 29th
	h := &home{}
	for day := range 6 { // at 20:10 by the clock, and all the time else
		evening := time.Date(2026, 3, 27+day, 20, 10, 0, 0, zone)
		for i := range 20 {
			one := evening.Add(time.Duration(i) * time.Minute)
			h.rows = append(h.rows, querylog.Row{Time: at(one), Last: at(one), Count: 1, Attempts: 1, Device: phone.Device, Name: "log.acme.example", Vendor: "Acme", Attribution: "rule", Verdict: "block"})
		}
	}
	h.browse(phone.Device, spring.Add(-4*time.Hour), spring.AddDate(0, 0, 6))
	e := planned(t, "opt-out", Settings{Devices: []Device{phone}})
	e.Started = at(spring)
	e.Marks = []Mark{{Said: at(spring.AddDate(0, 0, 2)), At: at(spring.AddDate(0, 0, 2)), Says: "x", Next: true}}
	e.Stopped = at(spring.AddDate(0, 0, 4))
	r := h.report(t, e, Options{Zone: zone})
	c := r.Devices[0].Total
	if c.A.Count != 40 || c.B.Count != 40 || c.Ratio == nil || math.Abs(*c.Ratio-1) > 0.05 || c.Spread != 1 || len(r.Caveats) != 1 {
		t.Errorf("%+v, %v", c, r.Caveats)
	}
}

// A device that was renamed, got another MAC, or was merged is followed; one that was
// forgotten is not.
func TestDevicesThatBecameOthers(t *testing.T) {
	h := optedOut(3)
	for i := range h.rows {
		if r := &h.rows[i]; r.Device == phone.Device && !r.Time.Before(noon) {
			r.Device = "mac:02:00:5e:00:00:99"
		}
	}
	o := Options{Device: func(identity string, when time.Time) (string, string, []querylog.DeviceSpan) {
		if identity != phone.Device || !when.Equal(begin.Add(-time.Hour)) {
			t.Errorf("asked for %s at %v", identity, when)
		}
		return identity, "Anna's phone", []querylog.DeviceSpan{{Device: phone.Device}, {Device: "mac:02:00:5e:00:00:99"}}
	}}
	r := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), o)
	if got := verdicts(r.Devices[0].Names); got["same.acme.example"] != NoChange || r.Devices[0].Name != "Anna's phone" {
		t.Errorf("%v", got)
	}
	line := planLine(t, "opt-out", Settings{Devices: []Device{phone}})
	line.Detail = strings.ReplaceAll(line.Detail, phone.Device, "(forgotten)")
	e := All([]querylog.Event{line})[0]
	if _, err := Make(context.Background(), h, e, Options{Now: end}); err == nil || !strings.Contains(err.Error(), "was forgotten") {
		t.Errorf("forgotten: %v", err)
	}
	if _, err := e.Event(Step{Do: Start}, begin); err == nil {
		t.Error("an experiment without its device begins")
	}
	if _, err := e.Event(Step{Do: Cancel}, begin); err != nil {
		t.Errorf("it cannot be cancelled: %v", err)
	}
}

// Devices that a person said are one are not compared with one another, and are shown once.
func TestDevicesThatBecameOne(t *testing.T) {
	h := optedOut(3)
	o := Options{Now: end.AddDate(0, 0, 1), Device: func(string, time.Time) (string, string, []querylog.DeviceSpan) {
		return phone.Device, "Anna's phone", []querylog.DeviceSpan{{Device: phone.Device}, {Device: tablet.Device}}
	}}
	both := Settings{Devices: []Device{phone, tablet}}
	_, err := Make(context.Background(), h, planned(t, "side-by-side", both).run(), o)
	if err == nil || !strings.Contains(err.Error(), "phone and tablet of the plan are one device today, Anna's phone") {
		t.Errorf("side by side: got %v", err)
	}
	r := h.report(t, planned(t, "opt-out", both).run(), o)
	if len(r.Devices) != 1 || r.Devices[0].Planned != phone.Device || len(r.Caveats) != 1 || !strings.Contains(r.Caveats[0], "it is shown once") {
		t.Errorf("got %d devices, %q", len(r.Devices), r.Caveats)
	}
}

// Each device that became another is said to be one with that one, by the names of the plan.
func TestDevicesThatBecameTwo(t *testing.T) {
	console, tv := Device{"mac:02:00:5e:00:00:03", "console"}, Device{"mac:02:00:5e:00:00:04", "TV"}
	o := Options{Device: func(identity string, _ time.Time) (string, string, []querylog.DeviceSpan) {
		today := map[string]Device{phone.Device: phone, tablet.Device: phone, console.Device: console, tv.Device: console}[identity]
		return today.Device, today.Name + " today", []querylog.DeviceSpan{{Device: today.Device}}
	}}
	h := optedOut(3)
	r := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone, tablet, console, tv}}).run(), o)
	if len(r.Devices) != 2 || len(r.Caveats) < 2 {
		t.Fatalf("got %d devices, %q, want two of each", len(r.Devices), r.Caveats)
	}
	for i, want := range []string{"phone and tablet of the plan are one device today, phone today", "console and TV of the plan are one device today, console today"} {
		if got := r.Caveats[i]; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAnExperimentThatWasCancelledBeforeItBegan(t *testing.T) {
	e := planned(t, "opt-out", Settings{Devices: []Device{phone}})
	e.Cancelled = at(begin)
	if _, err := Make(context.Background(), &home{}, e, Options{Now: end}); err == nil || !strings.Contains(err.Error(), "was cancelled before it began") {
		t.Errorf("got %v", err)
	}
}

func TestAnswersThatChanged(t *testing.T) {
	h, r := &home{}, rand.New(rand.NewPCG(1, 1))
	h.browse(phone.Device, begin, end)
	h.ask(r, phone.Device, "log.acme.example", "observe", begin, noon, 4)
	h.ask(r, phone.Device, "log.acme.example", "block", noon, end, 4)
	h.events = []querylog.Event{{Time: at(noon), Kind: "reload", Subject: "acme", Detail: "1 rule added"}, {Time: at(noon), Kind: "pause", Subject: "device tablet"}, {Time: at(noon), Kind: "upstream-down"}}
	got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{})
	if n := got.Devices[0].Names[0]; !strings.Contains(n.Note, "0 % blocked in A, 100 % in B") {
		t.Errorf("%+v", n)
	}
	if len(got.Changed) != 1 || !strings.Contains(got.Changed[0], "a list changed: acme") {
		t.Errorf("%v", got.Changed)
	}
}

// A purpose of two names, one of which is never blocked, is not answered otherwise for the
// reason that the other is asked for more; where one of its names is, it is said which.
func TestAnotherMixOfNamesIsNoOtherAnswer(t *testing.T) {
	h, r := &home{}, rand.New(rand.NewPCG(1, 1))
	for _, d := range []Device{phone, tablet} {
		h.browse(d.Device, begin, end)
	}
	h.ask(r, phone.Device, "log.acme.example", "block", begin, noon, 1)
	h.ask(r, phone.Device, "log.acme.example", "block", noon, end, 8)
	h.ask(r, phone.Device, "check.acme.example", "pass", begin, end, 4)
	h.ask(r, tablet.Device, "check.acme.example", "pass", begin, end, 4)
	got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}).Devices[0]
	for _, c := range append([]Comparison{got.Total}, slices.Concat(got.Purposes, got.Products, got.Names)...) {
		if c.Note != "" {
			t.Errorf("%q: got %q, and each name was answered as before", c.What, c.Note)
		}
	}
	side := planned(t, "side-by-side", Settings{Devices: []Device{phone, tablet}}).run()
	if c := h.report(t, side, Options{}).Devices[0].Total; c.Note != "" {
		t.Errorf("side by side: got %q, and the name that both asked for was answered alike", c.Note)
	}
	h.ask(r, phone.Device, "new.acme.example", "observe", begin, noon, 2)
	h.ask(r, phone.Device, "new.acme.example", "block", noon, end, 2)
	got = h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}).Devices[0]
	want := "new.acme.example was answered otherwise: 0 % blocked in A, 100 % in B"
	if got.Total.Note != want || got.Purposes[0].Note != want {
		t.Errorf("got %q and %q, want %q", got.Total.Note, got.Purposes[0].Note, want)
	}
	h.ask(r, phone.Device, "more.acme.example", "observe", begin, noon, 2)
	h.ask(r, phone.Device, "more.acme.example", "block", noon, end, 2)
	got = h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}).Devices[0]
	if !strings.Contains(got.Total.Note, "2 of its names were answered otherwise") {
		t.Errorf("got %q", got.Total.Note)
	}
}

// How long it takes is said by the clock where a device is there for a part of the day: 50
// hours that can be compared are weeks of a television.
func TestHowLongItTakesIsByTheClock(t *testing.T) {
	h, r := &home{}, rand.New(rand.NewPCG(1, 1))
	for day := range 4 {
		evening := begin.Add(time.Duration(24*day+18) * time.Hour)
		h.browse(phone.Device, evening, evening.Add(5*time.Hour))
		h.ask(r, phone.Device, "log.acme.example", "block", evening, evening.Add(5*time.Hour), 1)
	}
	got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}).Devices[0].Total
	var compared, clock float64
	if n, _ := fmt.Sscanf(got.Why, "a halving would be seen with about %f h of each that can be compared, which takes %f h here", &compared, &clock); n != 2 {
		t.Fatalf("got %q of %v and %v h", got.Why, got.A.Hours, got.B.Hours)
	}
	if want := compared * 48 / min(got.A.Hours, got.B.Hours); math.Abs(clock-want) > 0.05*want {
		t.Errorf("got %v h by the clock, want about %v: %v of 48 h were compared", clock, want, got.A.Hours)
	}
}

// All listed names count, of whichever tier; others do not.
func TestTiersThatCount(t *testing.T) {
	h := &home{}
	h.browse(phone.Device, begin, end)
	for i, c := range []struct{ tier, attribution string }{{"telemetry", "rule"}, {"mixed", "rule"}, {"essential", "list"}, {"", "owner"}} {
		h.rows = append(h.rows, querylog.Row{Time: at(begin.Add(time.Duration(i+2) * time.Hour)), Device: phone.Device, Name: "a.acme.example", Vendor: "Acme", Tier: c.tier, Attribution: c.attribution, Verdict: "pass", Count: 1, Attempts: 1})
	}
	r := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{})
	if got := r.Devices[0].Total.A.Count; got != 3 {
		t.Errorf("%v attempts count, want 3", got)
	}
	if said := strings.Join(r.Caveats, "\n"); !strings.Contains(said, "Of all together, 1 attempt of phone at names that it needs (tier essential") {
		t.Errorf("nothing says that a name of tier essential counts: %s", said)
	}
	if template, err := Templates(); err != nil || slices.ContainsFunc(template, func(c *Template) bool { return strings.Contains(c.Plan.Question, "telemetry") }) {
		t.Errorf("a question is of telemetry, where all listed names are compared (%v)", err)
	}
}

// Attempts at names that a device needs are said to count where they do: not in blocks that are not compared, nor where the other side has none of their hour.
func TestNamesThatADeviceNeedsCountInComparedBlocksAlone(t *testing.T) {
	rows := func(h *home, hours ...int) *home {
		h.browse(phone.Device, begin.Add(-4*time.Hour), end.Add(4*time.Hour))
		for _, hour := range hours {
			h.rows = append(h.rows, querylog.Row{Time: at(begin.Add(time.Duration(hour)*time.Hour + 30*time.Minute)), Device: phone.Device, Name: "a.acme.example", Vendor: "Acme", Tier: "essential", Attribution: "list", Verdict: "pass", Count: 1, Attempts: 1})
		}
		return h
	}
	for what, c := range map[string]struct {
		gaps [][2]time.Duration
		want string
	}{
		"no gap":                    {nil, "Of all together, 3 attempts of phone"},
		"a gap in one of A":         {[][2]time.Duration{{6, 7}}, "Of all together, 2 attempts of phone"},
		"B has no block of an hour": {[][2]time.Duration{{48 + 5, 48 + 8}, {72 + 5, 72 + 8}}, "Of all together, 2 attempts of phone"},
		"gaps in all":               {[][2]time.Duration{{5, 9}, {33, 37}, {60, 64}}, ""},
	} {
		h := rows(&home{}, 6, 34, 61)
		for _, g := range c.gaps {
			h.gap(querylog.Unrecorded, querylog.GapDown, "", begin.Add(g[0]*time.Hour), begin.Add(g[1]*time.Hour))
		}
		r := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{})
		if said := strings.Join(r.Caveats, "\n"); !strings.Contains(said, c.want) || c.want == "" && strings.Contains(said, "Of all together") {
			t.Errorf("%s: %q is not in %s", what, c.want, said)
		}
		if got := r.Devices[0].Total.A.Count + r.Devices[0].Total.B.Count; c.want != "" && !strings.Contains(c.want, fmt.Sprintf(" %v attempts", got)) {
			t.Errorf("%s: %v attempts count in all, and %q is said", what, got, c.want)
		}
	}
}

// Too little data is said for the reason that holds: too few stretches, counts that are
// uneven, or names that are seldom asked for.
func TestWhyThereIsTooLittleData(t *testing.T) {
	counts := func(n int, each func(i int) float64) (all []float64) {
		for i := range n {
			all = append(all, each(i))
		}
		return all
	}
	always := func(n float64) func(int) float64 { return func(int) float64 { return n } }
	once := func(n float64) func(int) float64 {
		return func(i int) float64 {
			if i == 1 {
				return n
			}
			return 0
		}
	}
	for _, c := range []struct {
		a, b  []float64
		hours int // of the day that are told apart
		want  string
	}{
		{counts(1, always(5)), counts(1, always(5)), 1, "1 stretch of A and 1 stretch of B are compared, too few to know how much its number varies by itself: it takes 10 h of each at least"},
		{counts(2, always(40)), counts(1, always(40)), 2, "1 stretch of A and 1 stretch of B are compared, too few to know how much its number varies by itself: it takes 3 h of each at least"},
		{counts(48, always(2)), counts(4, always(2)), 1, "h more of B"},
		{counts(48, once(5000)), counts(48, once(5000)), 1, "it is asked for too unevenly"},
		{counts(24, once(1)), counts(24, once(0)), 1, "it is asked for too seldom: two months"},
	} {
		r := &reading{e: &Experiment{Plan: Plan{Block: 3600, Match: Plainly}}, phases: []phase{{Phase: Phase{Condition: "A"}, since: begin, until: begin.Add(time.Duration(len(c.a)) * time.Hour)}, {Phase: Phase{Condition: "B"}, since: begin, until: begin.Add(time.Duration(len(c.b)) * time.Hour)}}}
		var blocks []stats.Block
		for i, n := range slices.Concat(c.a, c.b) {
			blocks = append(blocks, stats.Block{At: i, Stratum: i % c.hours, B: i >= len(c.a), Hours: 1, Count: n})
		}
		ratio := stats.Compare(blocks)
		if got := r.whyTooLittle(&ratio, 1, []side{{nil, "A"}, {nil, "B"}}); !strings.Contains(got, c.want) {
			t.Errorf("%v and %v: got %q, want %q", c.a, c.b, got, c.want)
		}
	}
}

// What was changed while the server was stopped has no line of its own.
func TestAServerThatStartedMayAnswerOtherwise(t *testing.T) {
	h := &home{}
	h.browse(phone.Device, begin, end)
	h.events = []querylog.Event{{Time: at(noon), Kind: querylog.KindStop, Subject: "telltale 1.0"}, {Time: at(noon), Kind: querylog.KindStart, Subject: "telltale 1.0", Detail: "process 4711"}, {Time: at(noon), Kind: "config-last-good", Subject: "settings"}}
	got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{})
	if len(got.Changed) != 2 || !strings.Contains(got.Changed[0], "the server started, perhaps with other settings or lists") || !strings.Contains(got.Changed[1], "earlier settings came into force") {
		t.Errorf("%v", got.Changed)
	}
}

// Lists that were not as they should be are told, as reports tell them.
func TestListsThatFailedAreTold(t *testing.T) {
	h := &home{}
	h.browse(phone.Device, begin, end)
	for _, kind := range []string{"list-failed", "list-held", "reload-failed", "list-recovered"} {
		h.events = append(h.events, querylog.Event{Time: at(noon), Kind: kind, Subject: "ads", Detail: "no such host"})
	}
	if got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{}); len(got.Changed) != 4 {
		t.Errorf("%v", got.Changed)
	}
}

func TestANameIsNoTextOfAMark(t *testing.T) {
	all := []*Experiment{{Name: "tv-1"}}
	if err := CheckMark(all, "tv-1"); err == nil || !strings.Contains(err.Error(), `telltale experiment mark tv-1 "opted out"`) {
		t.Errorf("got %v", err)
	}
	for _, says := range []string{"tv-2", "tv-1 is off", "opted out"} {
		if err := CheckMark(all, says); err != nil {
			t.Errorf("%q: %v", says, err)
		}
	}
}

func TestNoExperimentsAreAnEmptyList(t *testing.T) {
	if got, err := json.Marshal(All(nil)); string(got) != "[]" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestBoundsAreSaidAsAPersonMeetsThem(t *testing.T) {
	for what, c := range map[string]struct {
		err  error
		want string
	}{
		"a second": {errors.New(lengthOf(time.Second)), "1 s"},
		"60 days":  {CheckLength(60 * 24 * time.Hour), ""},
		"61 days":  {CheckLength(61 * 24 * time.Hour), "a phase lasts 60 days at most, not 1464 h"},
		"300":      {CheckText(strings.Repeat("ä", 300)), ""},
		"301":      {CheckText(strings.Repeat("ä", 301)), "the text has 301 characters, and 300 are possible"},
	} {
		if (c.err == nil) != (c.want == "") || c.err != nil && !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", what, c.err, c.want)
		}
	}
}

// What was blocked in hours that are not compared is in no figure, and in no note.
func TestBlocksOfHoursThatAreNotCompared(t *testing.T) {
	h, r := &home{}, rand.New(rand.NewPCG(1, 1))
	h.browse(phone.Device, begin.Add(-4*time.Hour), end.Add(4*time.Hour))
	for day := range 4 { // blocked until noon, answered after it
		morning := begin.Add(time.Duration(day) * 24 * time.Hour)
		h.ask(r, phone.Device, "log.acme.example", "block", morning, morning.Add(12*time.Hour), 4)
		h.ask(r, phone.Device, "log.acme.example", "pass", morning.Add(12*time.Hour), morning.Add(24*time.Hour), 4)
	}
	for day := range 2 { // of B there are afternoons alone
		h.gap(querylog.Unrecorded, "crash", "", noon.Add(time.Duration(day)*24*time.Hour), noon.Add(time.Duration(day)*24*time.Hour+12*time.Hour))
	}
	e := planned(t, "opt-out", Settings{Devices: []Device{phone}}).run()
	if c := h.report(t, e, Options{}).Devices[0].Total; c.A.Count == 0 || c.A.Blocked != 0 || c.B.Blocked != 0 || c.Note != "" {
		t.Errorf("afternoons: %+v", c)
	}
	h.gap(querylog.Unrecorded, "crash", "", noon, end)
	if c := h.report(t, e, Options{}).Devices[0].Total; c.A != (Rate{}) || c.B != (Rate{}) {
		t.Errorf("nothing: %+v", c)
	}
}

// A vendor is said of names and products alone, and a product is one vendor's.
func TestVendorsAndPurposesOfWhatTheyAreOf(t *testing.T) {
	h := optedOut(1)
	for i := range h.rows {
		if r := &h.rows[i]; r.Name == "same.acme.example" {
			r.Vendor, r.Purpose = "Other", "ads"
		}
	}
	d := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}, Return: true}).run(), Options{}).Devices[0]
	for _, c := range append([]Comparison{d.Total}, d.Purposes...) {
		if c.Vendor+c.Purpose != "" {
			t.Errorf("%q: vendor %q, purpose %q", c.What, c.Vendor, c.Purpose)
		}
	}
	if p := d.Products; len(p) != 2 || p[0].What != "TV" || p[1].What != "TV" || p[0].Vendor == p[1].Vendor || p[0].Purpose != "" || p[0].Back.Vendor != p[0].Vendor || p[1].Back.Vendor != p[1].Vendor {
		t.Errorf("products: %+v", p)
	}
	for _, c := range d.Names {
		if other := c.What == "same.acme.example"; (c.Vendor == "Other") != other || (c.Purpose == "ads") != other {
			t.Errorf("%+v", c)
		}
	}
}

func TestComingBack(t *testing.T) {
	h, r := &home{}, rand.New(rand.NewPCG(1, 1))
	last := end.Add(48 * time.Hour)
	h.browse(phone.Device, begin.Add(-4*time.Hour), last.Add(4*time.Hour))
	h.ask(r, phone.Device, "log.acme.example", "block", begin, noon, 4)
	h.ask(r, phone.Device, "log.acme.example", "block", noon, end, 1)
	h.ask(r, phone.Device, "log.acme.example", "block", end, last, 4)
	got := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}, Return: true}).run(), Options{}).Devices[0]
	if got.Total.Verdict != Fell || got.Total.Back == nil || got.Total.Back.Verdict != Rose || got.Names[0].Back == nil {
		t.Errorf("%+v", got.Total)
	}
}

func TestTwoDevicesSideBySide(t *testing.T) {
	h, r := &home{}, rand.New(rand.NewPCG(1, 1))
	last := begin.Add(72 * time.Hour)
	h.ask(r, phone.Device, "log.acme.example", "block", begin, last, 4)
	h.ask(r, tablet.Device, "log.other.example", "block", begin, last, 1)
	got := h.report(t, planned(t, "side-by-side", Settings{Devices: []Device{phone, tablet}, AlwaysOn: true}).run(), Options{}).Devices
	if len(got) != 1 || got[0].Total.Verdict != Fell || got[0].Name != "phone and tablet" || got[0].Purposes[0].Verdict != Fell || got[0].Purposes[0].A.Count < 200 {
		t.Errorf("%+v", got)
	}
}

// Phases that take turns are compared with their neighbours; the sites' own names are not
// counted.
func TestPhasesThatTakeTurns(t *testing.T) {
	h, r := &home{}, rand.New(rand.NewPCG(1, 1))
	e := planned(t, "incognito", Settings{Devices: []Device{phone}}).run()
	for i := range e.Plan.Phases {
		since := begin.Add(time.Duration(i) * 30 * time.Minute)
		h.ask(r, phone.Device, "log.acme.example", "block", since, since.Add(30*time.Minute), []float64{40, 4}[i%2])
		h.ask(r, phone.Device, "stats.wikipedia.org", "block", since, since.Add(30*time.Minute), 60)
	}
	got := h.report(t, e, Options{}).Devices[0]
	if got.Total.Verdict != Fell || len(got.Names) != 1 || got.Total.A.Hours != 1.25 {
		t.Errorf("%+v, %d names", got.Total, len(got.Names))
	}
}

func TestLookupsWhereAttemptsWereNotCounted(t *testing.T) {
	h := optedOut(4)
	h.late = true
	r := h.report(t, planned(t, "opt-out", Settings{Devices: []Device{phone}}).run(), Options{})
	if r.Unit != "lookups" || len(r.Caveats) == 0 || r.Devices[0].Total.Ratio == nil {
		t.Errorf("%s, %v", r.Unit, r.Caveats)
	}
}

func TestDeparturesFromThePlan(t *testing.T) {
	e := planned(t, "opt-out", Settings{Devices: []Device{phone}})
	e.Started, e.Stopped = at(begin), at(noon.Add(10*time.Hour))
	e.Marks = []Mark{{Said: at(noon.Add(time.Hour)), At: at(noon), Says: "opted out", Next: true}}
	got := strings.Join(optedOut(1).report(t, e, Options{}).Departures, "\n")
	for _, want := range []string{"Phase 2 (B) lasted 10 h, and 48 h were planned.", `"opted out" of 2026-02-04T00:00:00.000Z was said 1 h later.`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	e.Marks = nil
	if got := optedOut(1).report(t, e, Options{}); !strings.Contains(strings.Join(got.Departures, "\n"), "1 of 2 planned phases never began.") || got.Devices[0].Total.Verdict != TooLittle {
		t.Errorf("%v %+v", got.Departures, got.Devices[0].Total)
	}
}

// Each template is whole: a plan that can be registered, instructions, and limits.
func TestTemplates(t *testing.T) {
	all, err := Templates()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 10 {
		t.Errorf("%d templates", len(all))
	}
	for _, c := range all {
		s := Settings{Devices: []Device{phone, tablet}}
		p, err := c.Fill(s)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if text, _ := json.Marshal(p); len(text) > 4000 {
			t.Errorf("%s: a plan of %d octets", c.Name, len(text))
		}
		if !strings.Contains(c.Do, "telltale experiment stop") || !strings.Contains(c.Do, "1. ") || len(c.ShowNot) < 100 || p.Compare == Phases && !strings.Contains(c.Do, "telltale experiment mark") {
			t.Errorf("%s: instructions are missing", c.Name)
		}
		if n := len(c.Sites); n != 0 && n != 20 {
			t.Errorf("%s: %d sites", c.Name, n)
		}
	}
	for text, want := range map[string]string{
		"question: x\nfoo: 1\n": "2: foo: no such key", "phase: A 1h\n": "1: phase: a condition", "-- do --\nx\n": "missing", "question\n": "1: a key", "block: x\n": "1: block", "-- x --\n": "no part",
		"question: x\nphase: A 1h a\nphase: B 48h b\n-- do --\nx\n-- shows --\nx\n-- shows not --\nx\n": "24h at least",
	} {
		if _, err := parseTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestPlansThatAreRefused(t *testing.T) {
	all, err := Templates()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]*Template{}
	for _, c := range all {
		by[c.Name] = c
	}
	many := make([]Device, 9)
	for i := range many {
		many[i].Device = strconv.Itoa(i)
	}
	for _, c := range []struct {
		template string
		s        Settings
		want     string
	}{
		{"opt-out", Settings{}, "1 to 8 devices"}, {"opt-out", Settings{Devices: many}, "1 to 8 devices"}, {"opt-out", Settings{Devices: []Device{phone, phone}}, "twice"},
		{"opt-out", Settings{Devices: []Device{phone}, Length: time.Second}, "compares nothing"}, {"opt-out", Settings{Devices: []Device{phone}, Length: 2000 * time.Hour}, "is the most"},
		{"opt-out", Settings{Devices: []Device{phone}, Exclude: []string{"a b"}}, "no domain name"}, {"opt-out", Settings{Devices: []Device{phone}, Exclude: []string{""}}, "no domain name"},
		{"side-by-side", Settings{Devices: []Device{phone, tablet}, Return: true}, "leave out --return"}, {"incognito", Settings{Devices: []Device{phone}, Return: true}, "leave out --return"},
	} {
		if _, err := by[c.template].Fill(c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v, want %s", c.template, c.s, err, c.want)
		}
	}
}

// Each bound of a plan is itself possible, and nothing beyond it.
func TestBoundsOfPlans(t *testing.T) {
	day, hour := int64(86400), int64(3600)
	devices := func(n int) (all []Device) {
		for i := range n {
			all = append(all, Device{Device: strconv.Itoa(i)})
		}
		return all
	}
	phases := func(n int, seconds int64) (all []Phase) {
		for range n {
			all = append(all, Phase{Condition: "A", Seconds: seconds})
		}
		return all
	}
	umlauts := strings.Repeat("ä", maxText)
	for name, c := range map[string]struct {
		change func(p *Plan)
		fails  bool
	}{
		"as it is":                  {func(*Plan) {}, false},
		"ten minutes":               {func(p *Plan) { p.Phases = phases(2, 600) }, false},
		"less than ten minutes":     {func(p *Plan) { p.Phases = phases(2, 599) }, true},
		"sixty days":                {func(p *Plan) { p.Phases = phases(2, 60*day) }, false},
		"more than sixty days":      {func(p *Plan) { p.Phases = phases(2, 60*day+1) }, true},
		"a day, by hour":            {func(p *Plan) { p.Match, p.Block, p.Phases = ByHour, hour, phases(2, day) }, false},
		"less than a day, by hour":  {func(p *Plan) { p.Match, p.Block, p.Phases = ByHour, hour, phases(2, day-1) }, true},
		"half an hour, by hour":     {func(p *Plan) { p.Match, p.Block, p.Phases = ByHour, hour/2, phases(2, day) }, true},
		"half is settled":           {func(p *Plan) { p.Settle, p.Phases = 300, phases(2, 600) }, false},
		"more than half is settled": {func(p *Plan) { p.Settle, p.Phases = 301, phases(2, 600) }, true},
		"less than none is settled": {func(p *Plan) { p.Settle = -1 }, true},
		"blocks of a minute":        {func(p *Plan) { p.Block = 60 }, false},
		"of less":                   {func(p *Plan) { p.Block = 59 }, true},
		"blocks of an hour":         {func(p *Plan) { p.Block = hour }, false},
		"of more":                   {func(p *Plan) { p.Block = hour + 1 }, true},
		"one phase":                 {func(p *Plan) { p.Phases = phases(1, day) }, true},
		"one, of two devices":       {func(p *Plan) { p.Compare, p.Devices, p.Phases = Devices, devices(2), phases(1, day) }, false},
		"of one device":             {func(p *Plan) { p.Compare, p.Devices, p.Phases = Devices, devices(1), phases(1, day) }, true},
		"most phases":               {func(p *Plan) { p.Phases = phases(maxPhases, day) }, false},
		"more phases":               {func(p *Plan) { p.Phases = phases(maxPhases+1, day) }, true},
		"most devices":              {func(p *Plan) { p.Devices = devices(maxOf) }, false},
		"more devices":              {func(p *Plan) { p.Devices = devices(maxOf + 1) }, true},
		"no device":                 {func(p *Plan) { p.Devices = nil }, true},
		"most names":                {func(p *Plan) { p.Exclude = make([]string, maxNames) }, false},
		"more names":                {func(p *Plan) { p.Exclude = make([]string, maxNames+1) }, true},
		"a long text":               {func(p *Plan) { p.Question, p.Vendor = strings.Repeat("x", maxText), strings.Repeat("x", maxText) }, false},
		"of two octets each":        {func(p *Plan) { p.Question, p.Vendor, p.Phases[0].Says = umlauts, umlauts, umlauts }, false},
		"a longer question":         {func(p *Plan) { p.Question = strings.Repeat("x", maxText+1) }, true},
		"a longer vendor":           {func(p *Plan) { p.Vendor = strings.Repeat("x", maxText+1) }, true},
		"condition C":               {func(p *Plan) { p.Phases[0].Condition = "C" }, false},
		"condition D":               {func(p *Plan) { p.Phases[0].Condition = "D" }, true},
		"a long phase's text":       {func(p *Plan) { p.Phases[0].Says = strings.Repeat("x", maxText) }, false},
		"a longer phase's text":     {func(p *Plan) { p.Phases[0].Says = strings.Repeat("x", maxText+1) }, true},
		"another level":             {func(p *Plan) { p.Level = 0.9 }, true},
		"another alpha":             {func(p *Plan) { p.Alpha = 0.1 }, true},
		"another power":             {func(p *Plan) { p.Power = 0.9 }, true},
		"another test":              {func(p *Plan) { p.Test = "t" }, true},
		"another version":           {func(p *Plan) { p.Version++ }, true},
	} {
		p := Plan{Version: planVersion, Question: "Less?", Compare: Phases, Devices: devices(1), Phases: phases(2, day), Block: 600, Match: Plainly, Present: Asked,
			Test: TheTest, Level: Level, Alpha: Alpha, Power: Power}
		c.change(&p)
		if err := p.check(); (err != nil) != c.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What stands in the ledger never changes its meaning: these lines are of version 1.
func TestLinesOfTheLedgerAreReadAsEver(t *testing.T) {
	line := func(kind, detail string, hours int) querylog.Event {
		return querylog.Event{Kind: kind, Subject: "tv-1", Detail: detail, Time: at(begin.Add(time.Duration(hours) * time.Hour))}
	}
	plan := `{"v":1,"template":"opt-out","question":"Less?","compare":"phases","devices":[{"device":"mac:02:00:5e:00:00:01","name":"phone"}],"vendor":"Acme","phases":[{"condition":"A","says":"before","seconds":172800},` +
		`{"condition":"B","says":"after","seconds":172800}],"block":3600,"match":"hour","settle":1800,"present":"asked","test":"rate-ratio-1","level":0.95,"alpha":0.05,"power":0.8}`
	all := All([]querylog.Event{
		line("experiment-started", `{"v":1}`, -3), // of nothing
		line("experiment-planned", plan, -2),
		line("experiment-planned", `{"v":2}`, -1), // the first plan is the plan
		line("experiment-marked", `{"v":1,"says":"too early","next":true}`, -1),
		line("experiment-started", `{"v":1}`, 0),
		line("experiment-started", `{"v":1}`, 1),
		line("experiment-marked", `{"v":1,"says":"guests"}`, 2),
		line("experiment-marked", `{"v":1,"says":"before it began","at":"2026-02-01T23:00:00.000Z","next":true}`, 3),
		line("experiment-marked", `{"v":1,"says":"opted out","at":"2026-02-04T00:00:00.000Z","next":true}`, 49),
		line("experiment-marked", `{"v":1,"says":"again","next":true}`, 50), // there is no third phase
		line("experiment-marked", `no json`, 51),
		line("experiment-stopped", `{"v":1}`, 96),
		line("experiment-cancelled", `{"v":1,"says":"late"}`, 97),
	})
	if len(all) != 1 {
		t.Fatalf("%d experiments", len(all))
	}
	e := all[0]
	if e.State() != Stopped || !e.Started.Equal(begin) || !e.Stopped.Equal(end) || e.Problem != "" || e.Plan.Vendor != "Acme" || e.Phase() != 1 {
		t.Errorf("%+v", e)
	}
	var says []string
	for _, m := range e.Marks {
		says = append(says, m.Says+strconv.FormatBool(m.Next))
	}
	if got := strings.Join(says, " "); got != "guestsfalse opted outtrue againfalse" {
		t.Errorf("marks: %s", got)
	}
	if again, _ := json.Marshal(e.Plan); string(again) != plan {
		t.Errorf("written anew:\n%s\n%s", again, plan)
	}
}

// Lines that somebody else wrote, or that are damaged, do no harm.
func FuzzLinesOfTheLedger(f *testing.F) {
	f.Add(`{"v":1,"template":"x"}`, `{"v":1,"at":"2026-02-04T00:00:00.000Z","next":true}`, int64(3600))
	f.Add(`{"v":1,"question":"Less?","compare":"phases","devices":[{"device":"a","name":"b"}],"phases":[{"condition":"A","says":"","seconds":600},{"condition":"B","says":"","seconds":600}],`+
		`"block":60,"match":"none","settle":0,"present":"asked","test":"rate-ratio-1","level":0.95,"alpha":0.05,"power":0.8}`, `{}`, int64(600))
	h := optedOut(1)
	f.Fuzz(func(t *testing.T, plan, step string, after int64) {
		after = min(max(after, 0), 1e7)
		lines := []querylog.Event{{Kind: querylog.KindExperimentPlanned, Detail: plan, Time: at(begin)}}
		for i, kind := range []string{querylog.KindExperimentStarted, querylog.KindExperimentMarked, querylog.KindExperimentMarked, querylog.KindExperimentStopped} {
			lines = append(lines, querylog.Event{Kind: kind, Detail: step, Time: at(begin.Add(time.Duration(after) * time.Second * time.Duration(i)))})
		}
		for _, e := range All(lines) {
			if r, err := Make(context.Background(), h, e, Options{Now: end}); err == nil {
				if _, err := json.Marshal(r); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// runs is how many experiments are made up for each figure: few in make test.
func runs(few int) int {
	if n, err := strconv.Atoi(os.Getenv("FINDINGS_RUNS")); err == nil && n > 0 {
		return n
	}
	return few
}

// counted is an experiment of so many names of one device, each with a rate in A and in B,
// in counts by the hour.
func counted(t *testing.T, e *Experiment, r *rand.Rand, names int, burst int, perHour, ratio float64) map[string]string {
	t.Helper()
	reading := &reading{e: e, zone: time.UTC, until: e.Stopped.Time, over: true, unit: unitAttempts, phases: phasesOf(e, e.Stopped.Time)}
	reading.blocks = reading.blocksOf()
	d := newDevice(phone, begin, &Options{}, len(reading.blocks))
	reading.devices = []*deviceReading{d}
	var counters []*counter
	for n := range names {
		c := d.counter(d.names, strconv.Itoa(n), len(reading.blocks))
		for i := range reading.blocks {
			rate := perHour / float64(burst)
			if reading.blocks[i].condition == "B" && n == 0 {
				rate *= ratio
			}
			for left := r.ExpFloat64(); left < rate; left += r.ExpFloat64() {
				c.counts[i]++
				for burst > 1 && r.Float64() > 1/float64(burst) {
					c.counts[i]++
				}
			}
		}
		counters = append(counters, c)
	}
	return verdicts(reading.family(counters, []side{{d, "A"}, {d, "B"}}))
}

// With ten names of which none changes, a false "fell" or "stopped" of any comes in at most
// 5 % of experiments; a halving of one of ten is found in 80 %, and one that is not found
// is not taken for no change.
func TestErrorsOfVerdicts(t *testing.T) {
	n := runs(60)
	e := planned(t, "opt-out", Settings{Devices: []Device{phone}}).run()
	e.Plan.Settle = 0
	for _, c := range []struct {
		burst   int
		perHour float64
		ratio   float64
		names   int
	}{{1, 4, 1, 10}, {1, 0.3, 1, 10}, {2, 4, 1, 10}, {4, 4, 1, 10}, {1, 4, 0.5, 1}, {1, 4, 0.5, 10}, {2, 4, 0.5, 1}, {4, 4, 0.5, 1}, {1, 1, 0.5, 1}} {
		r := rand.New(rand.NewPCG(17, uint64(c.burst)))
		wrong, found, missed, unsaid := 0, 0, 0, 0
		for range n {
			got := counted(t, e, r, c.names, c.burst, c.perHour, c.ratio)
			bad := false
			for name, v := range got {
				bad = bad || (name != "0" || c.ratio == 1) && (v == Fell || v == HasStopped)
			}
			if bad {
				wrong++
			}
			switch got["0"] {
			case Fell, HasStopped:
				found++
			case NoChange:
				missed++
			case TooLittle:
				unsaid++
			}
		}
		part := func(k int) float64 { return float64(k) / float64(n) }
		t.Logf("%2d names, bursts of %d, %v an hour, the first times %v: false \"fell\" or \"stopped\" in %.1f %%; of the first: found %.1f %%, \"no change seen\" %.1f %%, \"too little data\" %.1f %%",
			c.names, c.burst, c.perHour, c.ratio, 100*part(wrong), 100*part(found), 100*part(missed), 100*part(unsaid))
		slack := 3 * math.Sqrt(0.05*0.95/float64(n))
		if n >= 1000 {
			slack = 0
		}
		if part(wrong) > 0.05+slack {
			t.Errorf("a change is seen where there is none in %.1f %%", 100*part(wrong))
		}
		if c.ratio == 0.5 && part(missed) > 0.2+3*math.Sqrt(0.2*0.8/float64(n)) {
			t.Errorf("a halving is taken for no change in %.1f %%", 100*part(missed))
		}
		if c.ratio == 0.5 && c.burst == 1 && c.perHour == 4 && part(found) < 0.8 {
			t.Errorf("a halving is found in %.1f %%", 100*part(found))
		}
	}
}
