package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale/devices"
	"telltale/evidence/experiment"
	"telltale/querylog"
	"telltale/web"
)

// planExperiment writes the plan of an experiment into the ledger.
func (a *app) planExperiment(ctx context.Context, n web.NewExperiment) (web.ExperimentLine, error) {
	a.experimenting.Lock()
	defer a.experimenting.Unlock()
	t, err := templateNamed(n.Template)
	if err != nil {
		return web.ExperimentLine{}, web.Invalid(err)
	}
	s := experiment.Settings{Vendor: n.Vendor, Length: time.Duration(n.Seconds) * time.Second, Return: n.Return, AlwaysOn: n.AlwaysOn, Exclude: n.Exclude}
	for _, who := range n.Devices {
		d, ids, err := a.findKnown(ctx, who)
		if err != nil {
			return web.ExperimentLine{}, err
		}
		if err := a.isRecorded(&d, ids.called(d.Device)); err != nil {
			return web.ExperimentLine{}, web.Conflict(err)
		}
		s.Devices = append(s.Devices, experiment.Device{Device: d.Device, Name: ids.called(d.Device)})
	}
	p, err := t.Fill(s)
	if err != nil {
		return web.ExperimentLine{}, web.Invalid(err)
	}
	p.Settings = a.answering()
	all, err := a.experiments(ctx)
	if err != nil {
		return web.ExperimentLine{}, err
	}
	line, err := experiment.PlanEvent(n.Name, p, all)
	if err != nil {
		return web.ExperimentLine{}, web.Invalid(err)
	}
	return a.writeExperiment(ctx, line)
}

// stepExperiment writes a step of an experiment into the ledger.
func (a *app) stepExperiment(ctx context.Context, s web.ExperimentStep) (web.ExperimentLine, error) {
	a.experimenting.Lock()
	defer a.experimenting.Unlock()
	all, err := a.experiments(ctx)
	if err != nil {
		return web.ExperimentLine{}, err
	}
	if s.Do == experiment.DoMark && s.Name == "" {
		if err := experiment.CheckMark(all, s.Says); err != nil {
			return web.ExperimentLine{}, web.Invalid(err)
		}
	}
	e, err := experimentMeant(all, s.Name, s.Do)
	if err != nil {
		return web.ExperimentLine{}, web.NotFound(err)
	}
	if s.Do == experiment.Start {
		for _, of := range e.Plan.Devices {
			if d, _, err := a.findKnown(ctx, of.Device); err == nil {
				if err := a.isRecorded(&d, of.Name); err != nil {
					return web.ExperimentLine{}, web.Conflict(err)
				}
			}
		}
	}
	line, err := e.Event(experiment.Step{Do: s.Do, Says: s.Says, At: s.At, Stay: s.Stay, Settings: a.answering()}, time.Now())
	if err != nil {
		return web.ExperimentLine{}, err
	}
	return a.writeExperiment(ctx, line)
}

// isRecorded says why nothing is recorded of a device: days later there would be nothing to
// compare.
func (a *app) isRecorded(d *devices.DeviceStatus, name string) error {
	switch {
	case !a.cfg.Load().Log.Enabled:
		return errors.New("nothing is recorded: log.enabled is false in the settings; there would be nothing to compare")
	case d.NoLog:
		return fmt.Errorf("nothing is recorded of %s: it, or a group of it, has log: false in the settings; there would be nothing to compare", name)
	}
	return nil
}

// answering returns a hash of the settings in force by which names are answered.
func (a *app) answering() string { return a.cfg.Load().Answering() }

// writeExperiment writes a line, and looks whether it is in the ledger.
func (a *app) writeExperiment(ctx context.Context, line querylog.Event) (web.ExperimentLine, error) {
	begun := time.Now().Add(-time.Second)
	a.log.Report(line.Kind, line.Subject, line.Detail)
	events, err := a.ledgerNow(ctx)
	if err != nil {
		return web.ExperimentLine{}, err
	}
	for _, e := range slices.Backward(events) {
		if e.Kind == line.Kind && e.Subject == line.Subject && e.Detail == line.Detail && e.Time.After(begun) {
			return web.ExperimentLine{Name: e.Subject, Time: e.Time.Time, Kind: e.Kind, Detail: e.Detail}, nil
		}
	}
	return web.ExperimentLine{}, errors.New("the ledger does not have the line: the log cannot be written, as 'telltale status' says; try again when it can")
}

// experiments are those of the ledger.
func (a *app) experiments(ctx context.Context) ([]*experiment.Experiment, error) {
	events, err := a.ledgerNow(ctx)
	return experiment.All(events), err
}

func (a *app) ledgerNow(ctx context.Context) ([]querylog.Event, error) {
	a.log.Flush()
	return a.log.Reader().Ledger(ctx, time.Time{}, time.Time{})
}

// experimentMeant returns the experiment that a person means: that of a name, or the only
// one that something can be done with.
func experimentMeant(all []*experiment.Experiment, name, do string) (*experiment.Experiment, error) {
	if name != "" {
		if e := experiment.Find(all, name); e != nil {
			return e, nil
		}
		return nil, unknown("experiment", name, experimentNames(all), "telltale experiment list")
	}
	var fit []*experiment.Experiment
	for _, e := range all {
		state := e.State()
		switch do {
		case experiment.Start:
			if state == experiment.Planned {
				fit = append(fit, e)
			}
		case experiment.DoMark, experiment.Stop:
			if state == experiment.Running {
				fit = append(fit, e)
			}
		case experiment.Cancel:
			if state == experiment.Running || state == experiment.Planned {
				fit = append(fit, e)
			}
		default:
			fit = []*experiment.Experiment{e} // the last one
		}
	}
	switch len(fit) {
	case 1:
		return fit[0], nil
	case 0:
		return nil, fmt.Errorf("there is no experiment to %s ('telltale experiment list' shows all; 'telltale experiment new' plans one)", do)
	}
	return nil, fmt.Errorf("there are several experiments to %s: name one of %s", do, strings.Join(experimentNames(fit), ", "))
}

func experimentNames(all []*experiment.Experiment) (names []string) {
	for _, e := range all {
		names = append(names, e.Name)
	}
	return names
}
