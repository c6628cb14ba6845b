package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"telltale/evidence/experiment"
	homes "telltale/evidence/household"
	"telltale/querylog"
)

// past puts a log in place of the server's, and the home's list beside its lists: that of a
// made-up home, which ends with the last midnight. Lines say what is in it beside what its
// devices do anyway; times are such as 2d6h after it begins:
//
//	days N                              how long it is
//	only DEVICE...                      other devices ask for nothing, beside a television, which makes it faster
//	habit DEVICE NAME PERDAY [UNTIL]    a device asks for a name of the home's list so often a day while it is used
//	beat DEVICE NAME EVERY SINCE        a device begins to ask for a name of the home's list by the clock
//	watched CONDITION AT                alerts of a condition are told since then
//	plan NAME TEMPLATE DEVICE AT        an experiment is planned
//	start NAME AT, mark NAME AT TEXT, stop NAME AT
func (s *scene) past(text string) error {
	o := homes.Options{Seed: 15, Pace: 0.2, Planted: map[string][]homes.Habit{}}
	var steps [][]string
	for line := range strings.Lines(text) {
		switch w := strings.Fields(line); w[0] {
		case "days":
			o.Days, _ = strconv.Atoi(w[1])
		case "only":
			o.Only = w[1:]
		default:
			steps = append(steps, w)
		}
	}
	now := time.Now().UTC()
	o.Begin = time.Date(now.Year(), now.Month(), now.Day()-o.Days, 0, 0, 0, 0, time.UTC)
	names := map[string]*homes.Name{}
	for _, n := range homes.Names() {
		names[n.Name] = n
	}
	identity := map[string]experiment.Device{}
	for _, d := range homes.New(o).Devices {
		identity[d.Label] = experiment.Device{Device: d.Was[0].Device, Name: d.Label}
	}
	var ledger []querylog.Event
	watched := map[string]time.Time{}
	for _, w := range steps {
		switch w[0] {
		case "habit", "beat":
			h, err := habitLine(w, names, o.Begin)
			if err != nil {
				return fmt.Errorf("%q: %w", w, err)
			}
			o.Planted[w[1]] = append(o.Planted[w[1]], h)
			continue
		case "watched":
			watched[w[1]] = o.Begin.Add(sinceBegin(w[2]))
			continue
		}
		ev, at, err := experimentLine(w, experiment.All(ledger), identity, o.Begin)
		if err != nil {
			return fmt.Errorf("%q: %w", w, err)
		}
		ev.Time = querylog.Time{Time: o.Begin.Add(at)}
		ledger = append(ledger, ev)
		o.Said = append(o.Said, homes.Line{After: at, Kind: ev.Kind, Subject: ev.Subject, Detail: ev.Detail})
	}
	dir, data := filepath.Join(s.dir, "past"), filepath.Join(s.dir, "data")
	homes.New(o).Write(s.t, dir)
	s.srv.stop()
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "store"), data); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "lists.d", "home.txt"), filepath.Join(s.dir, "lists", "home.txt")); err != nil {
		return err
	}
	if len(watched) > 0 {
		text, err := json.Marshal(map[string]any{"version": 1, "watched": watched})
		if err != nil {
			return err
		}
		s.write("data/alerts.json", string(text))
	}
	s.srv.start()
	return nil
}

// habitLine is a habit that a device has beside its own.
func habitLine(w []string, names map[string]*homes.Name, begin time.Time) (h homes.Habit, err error) {
	if h.Name = names[w[2]]; h.Name == nil {
		return h, errors.New("the home's list does not have the name")
	}
	if w[0] == "beat" {
		h.Asleep, h.Jitter, h.Since = true, time.Minute, begin.Add(sinceBegin(w[4]))
		h.Every, err = time.ParseDuration(w[3])
		return h, err
	}
	if len(w) > 4 {
		h.Until = begin.Add(sinceBegin(w[4]))
	}
	h.PerDay, err = strconv.ParseFloat(w[3], 64)
	return h, err
}

// experimentLine is a step of an experiment as the server writes it, and when it was.
func experimentLine(w []string, all []*experiment.Experiment, identity map[string]experiment.Device, begin time.Time) (ev querylog.Event, at time.Duration, err error) {
	if w[0] == "plan" {
		t, err := templateNamed(w[2])
		if err != nil {
			return ev, 0, err
		}
		p, err := t.Fill(experiment.Settings{Devices: []experiment.Device{identity[w[3]]}})
		if err != nil {
			return ev, 0, err
		}
		ev, err = experiment.PlanEvent(w[1], p, all)
		return ev, sinceBegin(w[4]), err
	}
	at = sinceBegin(w[2])
	ev, err = experiment.Find(all, w[1]).Event(experiment.Step{Do: w[0], Says: strings.Join(w[3:], " ")}, begin.Add(at))
	return ev, at, err
}

// sinceBegin reads a time such as 2d6h.
func sinceBegin(text string) time.Duration {
	days, hours, _ := strings.Cut(text, "d")
	n, _ := strconv.Atoi(days)
	h, _ := time.ParseDuration(hours)
	return time.Duration(n)*24*time.Hour + h
}
