// Package experiment compares how often devices ask for names before and after something
// is done: opting out, another browser, an update. What is compared, how, and for how long
// is written into the sealed ledger before the first phase; so is each step. Nothing else
// is kept: an experiment is what its lines in the ledger say. docs/evidence.md has the
// method, and how often it is wrong.
package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"telltale/querylog"
)

// A Plan says what an experiment compares, and how. It is the detail of the ledger's line
// that plans one: its keys never change.
type Plan struct {
	Version  int      `json:"v"`
	Template string   `json:"template"`
	Question string   `json:"question"`
	Compare  string   `json:"compare"` // Phases or Devices
	Devices  []Device `json:"devices"`
	Vendor   string   `json:"vendor,omitempty"` // whose names alone are compared; "" for all listed ones
	Phases   []Phase  `json:"phases"`
	Block    int64    `json:"block"`             // seconds: attempts are counted in stretches of this length
	Match    string   `json:"match"`             // ByHour, ByPair or Plainly
	Settle   int64    `json:"settle"`            // seconds at the beginning of each phase that are not compared
	Present  string   `json:"present"`           // Asked or Always
	Exclude  []string `json:"exclude,omitempty"` // names that are not compared, with those below them
	Test     string   `json:"test"`
	Level    float64  `json:"level"` // of the intervals
	Alpha    float64  `json:"alpha"` // a change that comes by chance less often than that is one
	Power    float64  `json:"power"` // to see a halving; with less, it is not said that nothing changed

	Settings string `json:"settings,omitempty"` // a hash of the settings by which names were answered when it was planned; "" where nobody said
}

// A Device of a plan, and what it was called then.
type Device struct {
	Device string `json:"device"`
	Name   string `json:"name"`
}

// A Phase is a time in which one condition holds.
type Phase struct {
	Condition string `json:"condition"` // A, B, or C where the first is come back to
	Says      string `json:"says"`
	Seconds   int64  `json:"seconds"`
}

// Length is how long the phase is to last.
func (p *Phase) Length() time.Duration { return time.Duration(p.Seconds) * time.Second }

// What plans say. The words are in the ledger and never change.
const (
	Phases  = "phases"  // phases of the same devices, each for itself
	Devices = "devices" // the first device and the second, at the same time

	ByHour  = "hour" // hours of a day with the same hours of other days
	ByPair  = "pair" // each phase with its neighbour
	Plainly = "none"

	Asked  = "asked"  // a device is there while it asks for something
	Always = "always" // a person says that it is there throughout

	// TheTest is the one that Compare of package stats makes: another method gets another name.
	TheTest = "rate-ratio-1"
)

const planVersion = 1

// Length is how long all phases are to last.
func (p *Plan) Length() (sum time.Duration) {
	for i := range p.Phases {
		sum += p.Phases[i].Length()
	}
	return sum
}

// Bounds of a plan.
const (
	maxText   = 300 // characters of a text of a person
	minPhase  = 10 * time.Minute
	maxPhase  = 60 * 24 * time.Hour
	maxPhases = 40
	maxOf     = 8 // devices
	maxNames  = 200
)

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,39}$`)

// CheckName says what is wrong with the name of an experiment.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%q is no name for an experiment: small letters, digits, '-' and '.' are, at most 40, such as tv-optout-1", name)
	}
	return nil
}

// CheckText says what is wrong with what a person says of a step.
func CheckText(says string) error {
	if n := utf8.RuneCountInString(says); n > maxText {
		return fmt.Errorf("the text has %d characters, and %d are possible: say it in fewer", n, maxText)
	}
	return nil
}

// CheckLength says what is wrong with the length that a person wants of each phase.
func CheckLength(d time.Duration) error {
	if d > maxPhase {
		return fmt.Errorf("a phase lasts 60 days at most, not %s", lengthOf(d))
	}
	return nil
}

// check says what is wrong with a plan.
func (p *Plan) check() error {
	switch {
	case p.Version != planVersion:
		return fmt.Errorf("its plan is of version %d, and this program knows %d", p.Version, planVersion)
	case p.Test != TheTest:
		return fmt.Errorf("its test is %q, and this program knows %s", p.Test, TheTest)
	case p.Compare != Phases && p.Compare != Devices:
		return fmt.Errorf("it compares %q, which is neither %s nor %s", p.Compare, Phases, Devices)
	case p.Match != ByHour && p.Match != ByPair && p.Match != Plainly:
		return fmt.Errorf("it matches by %q, which is none of %s, %s, %s", p.Match, ByHour, ByPair, Plainly)
	case p.Present != Asked && p.Present != Always:
		return fmt.Errorf("a device is taken to be there %q, which is neither %s nor %s", p.Present, Asked, Always)
	case len(p.Devices) == 0 || len(p.Devices) > maxOf:
		return fmt.Errorf("1 to %d devices are expected, not %d", maxOf, len(p.Devices))
	case p.Compare == Devices && len(p.Devices) != 2:
		return fmt.Errorf("this template compares two devices, not %d: give two", len(p.Devices))
	case len(p.Exclude) > maxNames:
		return fmt.Errorf("%d names are excluded, of at most %d", len(p.Exclude), maxNames)
	case utf8.RuneCountInString(p.Question) > maxText || utf8.RuneCountInString(p.Vendor) > maxText:
		return errors.New("a text in it is too long")
	case p.Level != Level || p.Alpha != Alpha || p.Power != Power:
		return fmt.Errorf("its level, alpha and power are %v, %v and %v, and this program has %v, %v and %v", p.Level, p.Alpha, p.Power, Level, Alpha, Power)
	}
	for i := range p.Devices {
		if slices.ContainsFunc(p.Devices[:i], func(d Device) bool { return d.Device == p.Devices[i].Device }) {
			return fmt.Errorf("%s is given twice, perhaps by two of its names", p.Devices[i].Name)
		}
	}
	return p.checkPhases()
}

func (p *Plan) checkPhases() error {
	want := 2
	if p.Compare == Devices {
		want = 1
	}
	if len(p.Phases) < want || len(p.Phases) > maxPhases {
		return fmt.Errorf("%d phases are expected at least and %d at most, not %d", want, maxPhases, len(p.Phases))
	}
	if p.Block < 60 || p.Block > 3600 || p.Match == ByHour && p.Block != 3600 {
		return fmt.Errorf("blocks of %d s: 60 to 3600 are possible, and 3600 alone where hours of the day are compared", p.Block)
	}
	for i := range p.Phases {
		f := &p.Phases[i]
		switch {
		case f.Length() < minPhase:
			return fmt.Errorf("phase %d would last %v: %v is the least. A phase without a length compares nothing", i+1, f.Length(), minPhase)
		case f.Length() > maxPhase:
			return fmt.Errorf("phase %d would last %v: %v is the most", i+1, f.Length(), maxPhase)
		case p.Match == ByHour && f.Length() < 24*time.Hour:
			return fmt.Errorf("phase %d would last %v: this template compares the same hours of different days, so each phase lasts 24h at least", i+1, f.Length())
		case p.Settle < 0 || 2*p.Settle > f.Seconds:
			return fmt.Errorf("phase %d: of its %v the first %v are not compared, which is more than half", i+1, f.Length(), time.Duration(p.Settle)*time.Second)
		case f.Condition != "A" && f.Condition != "B" && f.Condition != "C" || utf8.RuneCountInString(f.Says) > maxText:
			return fmt.Errorf("phase %d is of condition %q, which is none of A, B, C, or its text is too long", i+1, f.Condition)
		}
	}
	return nil
}

// A Mark is something that a person did.
type Mark struct {
	Said querylog.Time `json:"said"` // when it was told
	At   querylog.Time `json:"at"`   // when it was
	Says string        `json:"says"`
	Next bool          `json:"next"` // the next phase begins with it

	Settings string `json:"settings,omitempty"` // see Plan; when it was told
}

// An Experiment is what the ledger says of one.
type Experiment struct {
	Name      string        `json:"name"`
	Plan      Plan          `json:"plan"`
	Planned   querylog.Time `json:"planned"`
	Started   querylog.Time `json:"started,omitzero"`
	Marks     []Mark        `json:"marks"`
	Stopped   querylog.Time `json:"stopped,omitzero"`
	Cancelled querylog.Time `json:"cancelled,omitzero"`
	Why       string        `json:"why,omitempty"`     // it was cancelled
	Problem   string        `json:"problem,omitempty"` // why nothing can be said of it: its plan cannot be read

	StartedWith string `json:"started_with,omitempty"` // settings, see Plan
	StoppedWith string `json:"stopped_with,omitempty"`
}

// States of an experiment.
const (
	Planned   = "planned"
	Running   = "running"
	Stopped   = "stopped"
	Cancelled = "cancelled"
)

// State returns how far it is.
func (e *Experiment) State() string {
	switch {
	case !e.Cancelled.IsZero():
		return Cancelled
	case !e.Stopped.IsZero():
		return Stopped
	case !e.Started.IsZero():
		return Running
	}
	return Planned
}

// Phase returns the number of the phase that it is in, from 0 on.
func (e *Experiment) Phase() (n int) {
	for i := range e.Marks {
		if e.Marks[i].Next {
			n++
		}
	}
	return n
}

// PhaseSince returns when the phase that it is in began.
func (e *Experiment) PhaseSince() time.Time {
	since := e.Started.Time
	for i := range e.Marks {
		if e.Marks[i].Next {
			since = e.Marks[i].At.Time
		}
	}
	return since
}

// A step is the detail of a line that goes on with an experiment. Its keys never change.
type step struct {
	Version int           `json:"v"`
	Says    string        `json:"says,omitempty"`
	At      querylog.Time `json:"at,omitzero"`
	Next    bool          `json:"next,omitempty"`

	Settings string `json:"settings,omitempty"` // see Plan
}

// All returns the experiments that a ledger tells of, in the order of their plans. Lines
// that do not follow from those before are left out: nobody wrote them by a command.
func All(ledger []querylog.Event) (all []*Experiment) {
	all = []*Experiment{} // none is [] in JSON
	known := map[string]*Experiment{}
	for i := range ledger {
		ev := &ledger[i]
		e := known[ev.Subject]
		if ev.Kind == querylog.KindExperimentPlanned {
			if e == nil {
				e = &Experiment{Name: ev.Subject, Planned: ev.Time, Marks: []Mark{}}
				e.readPlan(ev.Detail)
				known[ev.Subject] = e
				all = append(all, e)
			}
			continue
		}
		if e != nil {
			e.follow(ev)
		}
	}
	return all
}

func (e *Experiment) readPlan(detail string) {
	err := json.Unmarshal([]byte(detail), &e.Plan)
	if err == nil {
		err = e.Plan.check()
	}
	switch {
	case strings.Contains(detail, forgotten):
		e.Problem = "a device of it was forgotten"
	case err != nil:
		e.Problem = fmt.Sprintf("its plan cannot be read: %v", err)
	}
}

// forgotten is what stands in lines of the ledger where a device was.
const forgotten = "(forgotten)"

// follow goes on with the experiment as a line says.
func (e *Experiment) follow(ev *querylog.Event) {
	var s step
	if json.Unmarshal([]byte(ev.Detail), &s) != nil && ev.Detail != "" {
		return
	}
	if s.At.IsZero() {
		s.At = ev.Time
	}
	switch state := e.State(); {
	case ev.Kind == querylog.KindExperimentStarted && state == Planned:
		e.Started, e.StartedWith = ev.Time, s.Settings
	case ev.Kind == querylog.KindExperimentMarked && state == Running && !s.At.Before(e.last()) && !s.At.After(ev.Time.Time):
		e.Marks = append(e.Marks, Mark{Said: ev.Time, At: s.At, Says: s.Says, Next: s.Next && e.Phase()+1 < len(e.Plan.Phases), Settings: s.Settings})
	case ev.Kind == querylog.KindExperimentStopped && state == Running:
		e.Stopped, e.StoppedWith = ev.Time, s.Settings
	case ev.Kind == querylog.KindExperimentCancelled && (state == Running || state == Planned):
		e.Cancelled, e.Why = ev.Time, s.Says
	}
}

// last returns when the last thing of it was.
func (e *Experiment) last() time.Time {
	if n := len(e.Marks); n > 0 {
		return e.Marks[n-1].At.Time
	}
	return e.Started.Time
}

// Find returns an experiment by its name; nil for none.
func Find(all []*Experiment, name string) *Experiment {
	for _, e := range all {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// CheckMark says what is wrong with the text of a mark that is given without a name: the
// name of an experiment is no text.
func CheckMark(all []*Experiment, says string) error {
	if e := Find(all, says); e != nil {
		return fmt.Errorf("%s is the name of an experiment; say what was done, too: telltale experiment mark %s \"opted out\"", e.Name, e.Name)
	}
	return nil
}

// A Step is what a person wants to do with an experiment.
type Step struct {
	Do   string // Start, DoMark, Stop or Cancel
	Says string // of DoMark, what was done; of Cancel, why
	At   time.Time
	Stay bool // DoMark: the phase goes on

	Settings string // a hash of the settings by which names are answered now, see Plan
}

// What can be done.
const (
	Start  = "start"
	DoMark = "mark"
	Stop   = "stop"
	Cancel = "cancel"
)

// Event returns the line of the ledger that is a step, or says why it cannot be done now.
func (e *Experiment) Event(s Step, now time.Time) (querylog.Event, error) {
	state := e.State()
	if e.Problem != "" && s.Do != Cancel {
		return querylog.Event{}, fmt.Errorf("experiment %s: %s; cancel it", e.Name, e.Problem)
	}
	if err := CheckText(s.Says); err != nil {
		return querylog.Event{}, err
	}
	line := step{Version: planVersion, Says: s.Says, Settings: s.Settings}
	kind := ""
	switch {
	case s.Do == Start && state == Planned:
		kind = querylog.KindExperimentStarted
	case s.Do == DoMark && state == Running:
		if err := e.mark(&line, &s, now); err != nil {
			return querylog.Event{}, err
		}
		kind = querylog.KindExperimentMarked
	case s.Do == Stop && state == Running:
		kind = querylog.KindExperimentStopped
	case s.Do == Cancel && (state == Running || state == Planned):
		kind = querylog.KindExperimentCancelled
	case s.Do == Start && state == Running:
		return querylog.Event{}, fmt.Errorf("experiment %s is running since %s", e.Name, querylog.Time{Time: e.Started.Time})
	case state == Planned:
		return querylog.Event{}, fmt.Errorf("experiment %s has not begun: 'telltale experiment start %s' begins it", e.Name, e.Name)
	default:
		return querylog.Event{}, fmt.Errorf("experiment %s is %s: what is in the ledger is not changed any more; 'telltale experiment new' plans another one", e.Name, state)
	}
	return event(kind, e.Name, &line)
}

func (e *Experiment) mark(line *step, s *Step, now time.Time) error {
	if strings.TrimSpace(s.Says) == "" {
		return errors.New("say what was done: telltale experiment mark \"opted out\"")
	}
	line.Next = !s.Stay
	if line.Next && e.Phase()+1 >= len(e.Plan.Phases) {
		return fmt.Errorf("experiment %s is in the last of its %d phases: 'telltale experiment stop' ends it; with --stay the mark is kept, and the phase goes on", e.Name, len(e.Plan.Phases))
	}
	at := s.At
	if at.IsZero() {
		at = now
	}
	if at.After(now) {
		return fmt.Errorf("%s is still to come", querylog.Time{Time: at})
	}
	if at.Before(e.last()) {
		return fmt.Errorf("%s is before %s, when the phase began that the mark ends", querylog.Time{Time: at}, querylog.Time{Time: e.last()})
	}
	if !s.At.IsZero() {
		line.At = querylog.Time{Time: at}
	}
	return nil
}

// PlanEvent returns the line of the ledger that plans an experiment, or says what is wrong
// with it.
func PlanEvent(name string, p *Plan, all []*Experiment) (querylog.Event, error) {
	if err := CheckName(name); err != nil {
		return querylog.Event{}, err
	}
	if e := Find(all, name); e != nil {
		return querylog.Event{}, fmt.Errorf("there is an experiment %s already, planned at %s: its lines stay in the ledger, so take another name", name, e.Planned)
	}
	if err := p.check(); err != nil {
		return querylog.Event{}, err
	}
	return event(querylog.KindExperimentPlanned, name, p)
}

func event(kind, name string, detail any) (querylog.Event, error) {
	text, err := json.Marshal(detail)
	return querylog.Event{Kind: kind, Subject: name, Detail: string(text)}, err
}

// LineText returns the detail of a line of the ledger for people: what an experiment's line
// says, or the detail as it is.
func LineText(ev *querylog.Event) string {
	switch ev.Kind {
	case querylog.KindExperimentPlanned:
		e := Experiment{}
		if e.readPlan(ev.Detail); e.Problem != "" {
			return e.Problem
		}
		return e.Plan.text()
	case querylog.KindExperimentStarted, querylog.KindExperimentMarked, querylog.KindExperimentStopped, querylog.KindExperimentCancelled:
		var s step
		if json.Unmarshal([]byte(ev.Detail), &s) != nil {
			return ev.Detail
		}
		text := s.Says
		if !s.At.IsZero() {
			text += fmt.Sprintf(" (at %s)", s.At)
		}
		if s.Next {
			text += "; the next phase begins"
		}
		return text
	}
	return ev.Detail
}

// text says in a line what is planned.
func (p *Plan) text() string {
	var devices, phases []string
	for _, d := range p.Devices {
		devices = append(devices, d.Name)
	}
	for i := range p.Phases {
		phases = append(phases, fmt.Sprintf("%s %s", p.Phases[i].Condition, lengthOf(p.Phases[i].Length())))
	}
	of := "all listed names"
	if p.Vendor != "" {
		of = "names of " + p.Vendor
	}
	return fmt.Sprintf("%s of %s, by template %s: %s; test %s", of, strings.Join(devices, " and "), p.Template, strings.Join(phases, ", "), p.Test)
}
