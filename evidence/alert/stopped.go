package alert

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"telltale/evidence/experiment"
	"telltale/querylog"
)

// A stopped is a device of an experiment that is over, and the names of which the report
// says that it stopped asking for them.
type stopped struct {
	Experiment string    `json:"experiment"`
	Device     string    `json:"device"`  // its identity when the experiment was planned; "" for nothing that stopped
	Planned    time.Time `json:"planned"` // when that was
	End        time.Time `json:"end"`     // of the experiment
	Says       string    `json:"says"`    // what its last phase was
	Names      []string  `json:"names,omitempty"`
}

// settled is how long after its end an experiment is reported of: its rows are closed then.
const settled = 2 * time.Minute

// lookAtStopped makes an alert of the first attempt of a device at each name that stopped
// in an experiment, after its end.
func (t *Teller) lookAtStopped(ctx context.Context, src *Source, _ *Settings, now time.Time) (alerts []Alert, err error) {
	st, watched := t.state, t.state.Watched[StoppedTelemetry]
	since := watched
	if to := st.StoppedTo.Add(-overlap); to.After(since) {
		since = to
	}
	events, err := src.Log.Ledger(ctx, time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	for _, e := range experiment.All(events) {
		if e.State() != experiment.Stopped || now.Sub(e.Stopped.Time) < settled || slices.ContainsFunc(st.Stopped, func(s stopped) bool { return s.Experiment == e.Name }) {
			continue
		}
		what, err := whatStopped(ctx, src, e, now)
		if err != nil {
			return nil, err
		}
		st.Stopped = append(st.Stopped, what...)
		if from := e.Stopped.Time; from.Before(since) { // it was not looked for from its end on
			since = from
		}
	}
	if since.Before(watched) {
		since = watched
	}
	wanted := map[deed][]*stopped{}
	for i := range st.Stopped {
		s := &st.Stopped[i]
		for _, name := range s.Names {
			key := deed{StoppedTelemetry, src.Today(s.Device, s.Planned), name}
			wanted[key] = append(wanted[key], s)
		}
	}
	if len(wanted) > 0 {
		if alerts, err = t.againAfter(ctx, src, wanted, since, now); err != nil {
			return nil, err
		}
	}
	st.StoppedTo = now
	return alerts, nil
}

// whatStopped returns what stopped in an experiment that is over, by device; one without
// names where nothing did. Conditions that end with the experiment are left out: those that
// take turns within hours, and those after which the first one is come back to.
func whatStopped(ctx context.Context, src *Source, e *experiment.Experiment, now time.Time) ([]stopped, error) {
	none := []stopped{{Experiment: e.Name, Planned: e.Planned.Time, End: e.Stopped.Time}}
	p := &e.Plan
	if e.Problem != "" || e.Stopped.Before(e.Started.Time) || p.Compare != experiment.Phases || p.Match != experiment.ByHour {
		return none, nil
	}
	last := &p.Phases[e.Phase()]
	if last.Condition != "B" {
		return none, nil
	}
	r, err := experiment.Make(ctx, src.Log, e, experiment.Options{Now: now, Device: src.Planned})
	if err != nil {
		return nil, fmt.Errorf("experiment %s: %w", e.Name, err)
	}
	var all []stopped
	for i := range r.Devices {
		s := stopped{Experiment: e.Name, Device: r.Devices[i].Planned, Planned: e.Planned.Time, End: e.Stopped.Time, Says: last.Says}
		for k := range r.Devices[i].Names {
			if c := &r.Devices[i].Names[k]; c.Verdict == experiment.HasStopped && c.What != "" {
				s.Names = append(s.Names, c.What)
			}
		}
		if len(s.Names) > 0 {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return none, nil
	}
	return all, nil
}

// againAfter makes alerts of attempts at names that had stopped.
func (t *Teller) againAfter(ctx context.Context, src *Source, wanted map[deed][]*stopped, since, now time.Time) (alerts []Alert, err error) {
	known := t.known(src)
	for r, err := range src.Log.Rows(ctx, querylog.Filter{Listed: true, Since: since}) {
		if err != nil {
			return nil, err
		}
		if r.Attempts == 0 || r.Imported != "" || r.Time.Before(since) || r.Open && r.Binding == 0 {
			continue
		}
		device := src.Today(r.Device, r.Time.Time)
		for _, s := range wanted[deed{StoppedTelemetry, device, r.Name}] {
			if r.Time.After(s.End) && t.isNew(src, known, seen{Kind: StoppedTelemetry, Device: r.Device, About: s.Experiment + "\n" + r.Name, Time: r.Time.Time}) && !src.Ignored(device) {
				alerts = append(alerts, t.ofStopped(&r, s, plain(src.Name(device)), now))
			}
		}
	}
	return alerts, nil
}

func (t *Teller) ofStopped(r *querylog.Row, s *stopped, label string, now time.Time) Alert {
	name := plain(r.Name)
	return Alert{
		ID: id(StoppedTelemetry, r.Store, r.Device, s.Experiment, r.Name, r.Time.String()), Kind: StoppedTelemetry, Time: r.Time, Found: querylog.Time{Time: now}, Node: t.o.Node,
		Device: r.Device, Label: label, Vendor: plain(r.Vendor), Name: name,
		Text: fmt.Sprintf("%s asked for %s, and %s. It had stopped in experiment %s (%s), which ended %s: 'telltale experiment report %s'. That is of the experiment's own hours; whether what was done then still holds, only you know.",
			label, name, answered(r), plain(s.Experiment), plain(s.Says), s.End.In(t.o.Zone).Format("Mon 2 Jan 15:04"), quote(plain(s.Experiment))),
		Command: fmt.Sprintf("telltale log --device %s --name %s --since %s --until %s", quote(cmp.Or(label, r.Device)), quote(name), second(s.End), second(r.Last.Add(time.Second))),
	}
}
