package evidence

import (
	"context"
	"slices"
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
	for _, c := range []struct {
		device string
		spans  []querylog.DeviceSpan
		want   []string
	}{
		{"", nil, []string{"p-1", "t-1", "t-1", "u-1", "without-a-plan"}},
		{"name:phone", []querylog.DeviceSpan{{Device: "name:phone"}, {Device: "id:old"}}, []string{"p-1", "t-1", "u-1", "without-a-plan"}},
		{"name:tv", []querylog.DeviceSpan{{Device: "name:tv"}, {Device: "id:old", From: noon}}, []string{"t-1", "t-1", "without-a-plan"}},
	} {
		r, now := &Report{}, &reading{since: noon.Add(-time.Minute), until: noon.Add(time.Hour), o: &Options{Device: c.device, Whose: querylog.Filter{Devices: c.spans}}}
		if err := addHistory(t.Context(), l, r, now); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range r.Markers {
			for _, name := range []string{"p-1", "t-1", "u-1", "without-a-plan"} {
				if m.Text == "an experiment began: "+name || m.Text == "note: "+name+": of no experiment" {
					got = append(got, name)
				}
			}
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.device, got, c.want)
		}
	}
}
