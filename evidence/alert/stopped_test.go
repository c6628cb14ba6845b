package alert

import (
	"strings"
	"testing"
	"time"

	"telltale/evidence/experiment"
	"telltale/querylog"
)

// experimented writes the lines of an experiment that began two days before noon, and what
// a television asked for in it: stops.example in the first condition alone, and
// stays.example in all.
func (d *desk) experimented(template string, s experiment.Settings) (end time.Time) {
	d.t.Helper()
	templates, err := experiment.Templates()
	if err != nil {
		d.t.Fatal(err)
	}
	begin := noon.Add(-48 * time.Hour)
	for _, c := range templates {
		if c.Name != template {
			continue
		}
		p, err := c.Fill(s)
		if err != nil {
			d.t.Fatal(err)
		}
		line, err := experiment.PlanEvent("tv-1", p, nil)
		if err != nil {
			d.t.Fatal(err)
		}
		line.Time = querylog.Time{Time: begin.Add(-time.Hour)}
		d.home.ledger = append(d.home.ledger, line)
		end = begin
		d.line(querylog.KindExperimentStarted, begin)
		for i := range p.Phases {
			if i > 0 {
				d.line(querylog.KindExperimentMarked, end)
			}
			since := end
			end = end.Add(p.Phases[i].Length())
			for at := since; at.Before(end); at = at.Add(5 * time.Minute) {
				if p.Phases[i].Condition == "A" {
					d.home.asked(at, "mac:02:00:5e:10:00:01", "Acme", "stops.example")
				}
				d.home.asked(at.Add(time.Minute), "mac:02:00:5e:10:00:01", "Acme", "stays.example")
			}
		}
		d.line(querylog.KindExperimentStopped, end)
	}
	return end
}

func (d *desk) line(kind string, at time.Time) {
	detail := `{"v":1}`
	if kind == querylog.KindExperimentMarked {
		detail = `{"v":1,"says":"opted out","next":true}`
	}
	d.home.ledger = append(d.home.ledger, querylog.Event{Time: querylog.Time{Time: at}, Node: "attic", Kind: kind, Subject: "tv-1", Detail: detail})
}

var ofTV = experiment.Settings{Devices: []experiment.Device{{Device: "mac:02:00:5e:10:00:01", Name: "tv"}}}

func TestTelemetryAfterItHadStopped(t *testing.T) {
	d := newDesk(t, StoppedTelemetry)
	d.home.names["mac:02:00:5e:10:00:01"] = "tv" // it got a name meanwhile
	d.round(t.Context(), noon.Add(-72*time.Hour))
	end := d.experimented("opt-out", ofTV)
	d.round(t.Context(), end.Add(time.Minute)) // the last rows may still change
	if got := d.kept(t).Stopped; len(got) != 0 {
		t.Errorf("got %+v", got)
	}
	d.home.asked(end.Add(3*time.Minute), "tv", "Acme", "stays.example")
	d.home.asked(end.Add(3*time.Minute), "phone", "Acme", "stops.example")                                              // another device
	d.home.asked(end.Add(4*time.Minute), "tv", "Acme", "stops.example", func(r *querylog.Row) { r.Attempts = 0 })       // goes on with an attempt
	d.home.asked(end.Add(5*time.Minute), "tv", "Acme", "stops.example", func(r *querylog.Row) { r.Imported = "other" }) // of another log
	d.round(t.Context(), end.Add(12*time.Minute))
	d.wants()
	if got := d.kept(t).Stopped; len(got) != 1 || len(got[0].Names) != 1 || got[0].Names[0] != "stops.example" {
		t.Fatalf("got %+v", got)
	}
	d.home.asked(end.Add(-time.Second), "tv", "Acme", "stops.example", func(r *querylog.Row) { r.Last.Time = end.Add(time.Minute) }) // began before the end
	d.home.asked(end.Add(13*time.Minute), "tv", "Acme", "stops.example")
	d.home.asked(end.Add(14*time.Minute), "tv", "Acme", "stops.example")
	const want = "tv asked for stops.example, and it was blocked. It had stopped in experiment tv-1 (after the opt-out), which ended Mon 30 Nov 12:00: 'telltale experiment report tv-1'. That is of the experiment's own hours"
	for i := range 3 {
		d.start()
		d.round(t.Context(), end.Add(time.Duration(i+2)*12*time.Minute))
		d.wants(want)
	}
	a := d.box.got[0].Alerts[0]
	if a.Command != "telltale log --device tv --name stops.example --since 2026-11-30T12:00:00Z --until 2026-11-30T12:13:02Z" || a.title() != "tv: asks again for what had stopped" || a.Vendor != "Acme" || a.Device != "tv" {
		t.Errorf("got %+v", a)
	}
	if err := d.Forget(map[string]bool{"mac:02:00:5e:10:00:01": true, "tv": true}, nil); err != nil {
		t.Fatal(err)
	}
	if st := d.kept(t); len(st.Stopped) != 0 || len(st.Alerts) != 0 {
		t.Errorf("got %+v", st)
	}
}

// What the log has when it begins to be watched is not told, and an experiment that was over
// before is looked after all the same.
func TestAnExperimentThatWasOverBefore(t *testing.T) {
	d := newDesk(t, StoppedTelemetry)
	end := d.experimented("opt-out", ofTV)
	d.home.asked(end.Add(time.Hour), "mac:02:00:5e:10:00:01", "Acme", "stops.example")
	d.round(t.Context(), end.Add(2*time.Hour))
	d.round(t.Context(), end.Add(3*time.Hour))
	d.wants()
	d.home.asked(end.Add(3*time.Hour), "mac:02:00:5e:10:00:01", "Acme", "stops.example")
	d.round(t.Context(), end.Add(4*time.Hour))
	d.wants("mac:02:00:5e:10:00:01 asked for stops.example")
	d.s.Tell = nil
	d.round(t.Context(), end.Add(5*time.Hour))
	if st := d.kept(t); len(st.Stopped) != 0 || len(st.Seen) != 0 || !st.StoppedTo.IsZero() {
		t.Errorf("got %+v", st)
	}
}

// While no server ran the end passed, and what was asked for afterwards.
func TestAnEndThatNobodySaw(t *testing.T) {
	d := newDesk(t, StoppedTelemetry)
	d.round(t.Context(), noon.Add(-72*time.Hour))
	end := d.experimented("opt-out", ofTV)
	d.home.asked(end.Add(time.Hour), "mac:02:00:5e:10:00:01", "Acme", "stops.example", func(r *querylog.Row) { r.Verdict = "pass" })
	d.state.StoppedTo = end.Add(2 * time.Hour)
	d.round(t.Context(), end.Add(48*time.Hour))
	d.wants("mac:02:00:5e:10:00:01 asked for stops.example, and it was answered. It")
}

// A condition that ended with its experiment promises nothing.
func TestConditionsThatEndWithTheirExperiment(t *testing.T) {
	back := ofTV
	back.Return = true
	for template, s := range map[string]experiment.Settings{"opt-out": back, "standby": ofTV, "incognito": ofTV} {
		d := newDesk(t, StoppedTelemetry)
		d.round(t.Context(), noon.Add(-72*time.Hour))
		end := d.experimented(template, s)
		d.round(t.Context(), end.Add(time.Hour))
		d.home.asked(end.Add(2*time.Hour), "mac:02:00:5e:10:00:01", "Acme", "stops.example")
		d.round(t.Context(), end.Add(3*time.Hour))
		d.wants()
		if got := d.kept(t).Stopped; len(got) != 1 || got[0].Names != nil {
			t.Errorf("%s: got %+v", template, got)
		}
	}
}

// A plan that cannot be read keeps nothing else from being told.
func TestAnExperimentOfAForgottenDevice(t *testing.T) {
	d := newDesk(t, StoppedTelemetry, FirstLookup)
	d.round(t.Context(), noon.Add(-72*time.Hour))
	end := d.experimented("opt-out", ofTV)
	d.home.ledger[0].Detail = strings.ReplaceAll(d.home.ledger[0].Detail, "mac:02:00:5e:10:00:01", "(forgotten)")
	d.home.rows = nil
	d.home.asked(end.Add(2*time.Hour), "phone", "Acme", "x.example")
	d.round(t.Context(), end.Add(3*time.Hour))
	d.wants("phone asked for x.example")
}
