package evidence

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/devices"
	"telltale/evidence/experiment"
	"telltale/querylog"
)

// A historyLog has a ledger alone.
type historyLog struct {
	Log
	events []querylog.Event
}

func (l *historyLog) Ledger(_ context.Context, since, until time.Time) (all []querylog.Event, _ error) {
	for _, e := range l.events {
		if !e.Time.Before(since) && (until.IsZero() || e.Time.Before(until)) {
			all = append(all, e)
		}
	}
	return all, nil
}

func (l *historyLog) Bindings(context.Context) ([]devices.Binding, error) { return nil, nil }

// A report of one device has nothing of experiments at others.
func TestExperimentsOfOneDevice(t *testing.T) {
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	templates, err := experiment.Templates()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(templates, func(c *experiment.Template) bool { return c.Name == "opt-out" })
	l := &historyLog{}
	add := func(e querylog.Event, at time.Time) {
		e.Time = querylog.Time{Time: at}
		l.events = append(l.events, e)
	}
	for name, device := range map[string]string{"p-1": "name:phone", "t-1": "name:tv", "u-1": "id:old"} {
		plan, err := templates[i].Fill(experiment.Settings{Devices: []experiment.Device{{Device: device, Name: "x"}}})
		if err != nil {
			t.Fatal(err)
		}
		line, err := experiment.PlanEvent(name, plan, nil)
		if err != nil {
			t.Fatal(err)
		}
		add(line, noon.Add(-time.Hour)) // before the period of the report
		add(querylog.Event{Kind: querylog.KindExperimentStarted, Subject: name, Detail: `{"v":1}`}, noon)
	}
	add(querylog.Event{Kind: querylog.KindExperimentStarted, Subject: "without-a-plan", Detail: `{"v":1}`}, noon)
	add(querylog.Event{Kind: "note", Subject: "t-1", Detail: "of no experiment"}, noon)
	for _, name := range []string{"p-1", "t-1"} {
		add(querylog.Event{Kind: querylog.KindExperimentCancelled, Subject: name, Detail: `{"v":1,"says":"sold"}`}, noon)
	}
	for _, c := range []struct {
		device string
		spans  []querylog.DeviceSpan
		given  []string // up
		want   []string
	}{
		{"", nil, []string{"p-1: sold", "t-1: sold"}, []string{"p-1", "t-1", "t-1", "u-1", "without-a-plan"}},
		{"name:phone", []querylog.DeviceSpan{{Device: "name:phone"}, {Device: "id:old"}}, []string{"p-1: sold"}, []string{"p-1", "t-1", "u-1", "without-a-plan"}},
		{"name:tv", []querylog.DeviceSpan{{Device: "name:tv"}, {Device: "id:old", From: noon}}, []string{"t-1: sold"}, []string{"t-1", "t-1", "without-a-plan"}},
	} {
		r, now := &Report{}, &reading{since: noon.Add(-time.Minute), until: noon.Add(time.Hour), o: &Options{Device: c.device, Whose: querylog.Filter{Devices: c.spans}}}
		if err := addHistory(t.Context(), l, r, now); err != nil {
			t.Fatal(err)
		}
		var got, given []string
		for _, m := range r.Markers {
			if m.Kind == querylog.KindExperimentCancelled {
				_, name, _ := strings.Cut(m.Text, ": ")
				given = append(given, name)
			}
			for _, name := range []string{"p-1", "t-1", "u-1", "without-a-plan"} {
				if m.Text == "an experiment began: "+name || m.Text == "note: "+name+": of no experiment" {
					got = append(got, name)
				}
			}
		}
		if !slices.Equal(given, c.given) {
			t.Errorf("%q: given up are %v, want %v", c.device, given, c.given)
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.device, got, c.want)
		}
	}
}

// A report of one device has nothing of pauses of others.
func TestPausesOfOneDevice(t *testing.T) {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	o := &Options{
		Zone: time.UTC, Device: "tv", Whose: querylog.Filter{Devices: []querylog.DeviceSpan{{Device: "tv"}, {Device: "mac:1"}}},
		Today: func(identity string, _ time.Time) string { return map[string]string{"id:old": "tv"}[identity] },
	}
	for _, c := range []struct {
		kind, subject string
		others        bool
	}{
		{"pause", "device handset", true}, {"resume", "device handset", true}, {"observe", "device handset", true}, {"observe-ended", "device handset", true},
		{"pause", "device tv", false}, {"pause", "device TV", false}, {"pause", "device mac:1", false}, {"pause", "device id:old", false},
		{"pause", "everything", false}, {"pause", "group kids", false}, {"pause", "", false}, {"list-failed", "device handset", false},
	} {
		if got := o.pausesOther(c.kind, c.subject, at); got != c.others {
			t.Errorf("%s of %q: got %v, want %v", c.kind, c.subject, got, c.others)
		}
		if (&Options{}).pausesOther(c.kind, c.subject, at) {
			t.Errorf("%s of %q is not in a report of all", c.kind, c.subject)
		}
		event := querylog.Event{Time: querylog.Time{Time: at}, Kind: c.kind, Subject: c.subject}
		r, now := &Report{}, &reading{since: at, until: at.Add(time.Hour), o: o}
		if err := addHistory(t.Context(), &historyLog{events: []querylog.Event{event}}, r, now); err != nil || len(r.Markers) > 0 == c.others {
			t.Errorf("%s of %q: got %v and %v", c.kind, c.subject, r.Markers, err)
		}
		gap := querylog.Gap{Since: querylog.Time{Time: at}, Effect: querylog.Unblocked, Kind: c.kind, Subject: c.subject}
		made, err := newReading(t.Context(), gapLog{gap: gap}, o, at, at.Add(time.Hour))
		if err != nil || len(made.coverage.Gaps) > 0 == c.others {
			t.Errorf("%s of %q: got %v and %v", c.kind, c.subject, made.coverage.Gaps, err)
		}
	}
}

// A gapLog has one gap alone, and bindings.
type gapLog struct {
	Log
	gap   querylog.Gap
	bound []devices.Binding
}

func (l gapLog) Bindings(context.Context) ([]devices.Binding, error) { return l.bound, nil }

func (l gapLog) Coverage(_ context.Context, since, until time.Time) (querylog.Coverage, error) {
	return querylog.Coverage{Since: querylog.Time{Time: since}, Until: querylog.Time{Time: until}, Gaps: []querylog.Gap{l.gap}}, nil
}

// Where log: false was set for a device, its record has a gap: that it asked for nothing then is not known.
func TestADeviceThatIsNotLoggedHasAGap(t *testing.T) {
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	at := func(hours float64) time.Time { return noon.Add(time.Duration(hours * float64(time.Hour))) }
	bound := func(device, addr string, from, until time.Time, noLog bool) devices.Binding {
		return devices.Binding{Device: device, Addr: netip.MustParseAddr(addr), From: from, Until: until, NoLog: noLog}
	}
	l := gapLog{
		gap: querylog.Gap{Since: querylog.Time{Time: at(7)}, Until: querylog.Time{Time: at(8)}, Effect: querylog.Unrecorded, Kind: querylog.GapDown},
		bound: []devices.Binding{
			bound("mac:2", "192.0.2.2", at(-9), at(1), false),
			bound("mac:2", "192.0.2.2", at(2), at(4), true), bound("mac:2", "2001:db8::2", at(3), at(5), true), // joined
			bound("mac:2", "192.0.2.2", at(9), time.Time{}, true), // goes on
			bound("mac:3", "192.0.2.3", at(1), time.Time{}, true),
		},
	}
	for _, c := range []struct {
		device string
		gaps   []float64 // hours of noon from which on and up to which
	}{
		{"mac:2", []float64{2, 5, 7, 8, 9, 10}},
		{"mac:3", []float64{1, 10, 7, 8}},
		{"mac:4", []float64{7, 8}},
		{"", []float64{7, 8}},
	} {
		o := &Options{Device: c.device, Whose: querylog.Filter{Devices: []querylog.DeviceSpan{{Device: c.device}}}, Zone: time.UTC, Today: func(identity string, _ time.Time) string { return identity }}
		made, err := newReading(t.Context(), l, o, noon, at(10))
		if err != nil {
			t.Fatal(err)
		}
		var got []float64
		for _, g := range made.coverage.Gaps {
			got = append(got, g.Since.Sub(noon).Hours(), g.Until.Sub(noon).Hours())
		}
		if !slices.Equal(got, c.gaps) {
			t.Errorf("%q: got gaps of the hours %v, want %v", c.device, got, c.gaps)
		}
		if newCoverage(&made.coverage, o).Whole {
			t.Errorf("%q: its record is said to be whole", c.device)
		}
	}
	l.gap.Effect = querylog.Uncounted // a gap that hides nothing
	o := &Options{Device: "mac:3", Whose: querylog.Filter{Devices: []querylog.DeviceSpan{{Device: "mac:3"}}}, Zone: time.UTC}
	made, err := newReading(t.Context(), l, o, noon, at(10))
	if err != nil {
		t.Fatal(err)
	}
	if c := newCoverage(&made.coverage, o); c.Whole || c.Recorded != 3600 || !strings.Contains(c.Text, "1 gap: lookups of the device were not recorded (log: false) ") {
		t.Errorf("got %+v, want an hour of ten", c)
	}
}
