package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale/evidence"
	"telltale/evidence/experiment"
)

func (cl *cli) showExperiment(_ context.Context, l *openedLog, e *experiment.Experiment, zone *time.Location) error {
	if cl.json {
		return cl.encoder().Encode(experimentOf(e))
	}
	p := &e.Plan
	line := func(format string, args ...any) { fmt.Fprintf(cl.out, format+"\n", args...) }
	line("%s: %s", printable(e.Name), e.State())
	if e.Problem != "" {
		line("%s", printable(e.Problem))
		return nil
	}
	of := printable(l.experimentDevices(e))
	if p.Vendor != "" {
		of += ", names of " + printable(p.Vendor)
	}
	line("%s\nof        %s\ntemplate  %s", printable(p.Question), of, printable(p.Template))
	if len(p.Exclude) > 0 {
		line("without   %s", strings.TrimSpace(wordsIn(printables(p.Exclude), 78, "          ")))
	}
	line("planned   %s", whenIn(e.Planned.Time, zone))
	for i := range p.Phases {
		line("          phase %d  %s  %-5s %s", i+1, p.Phases[i].Condition, spanText(p.Phases[i].Length()), printable(p.Phases[i].Says))
	}
	line("%s", wordsIn(strings.Fields(planText(p)), 78, "          "))
	if p.Settings != "" {
		line("settings  %s  (a hash of those by which names are answered)", printable(p.Settings))
	}
	if !e.Started.IsZero() {
		line("started   %s", whenIn(e.Started.Time, zone))
	}
	for i := range e.Marks {
		next := ""
		if e.Marks[i].Next {
			next = "  (next phase)"
		}
		line("marked    %s  %s%s", whenIn(e.Marks[i].At.Time, zone), printable(e.Marks[i].Says), next)
	}
	if !e.Stopped.IsZero() {
		line("stopped   %s", whenIn(e.Stopped.Time, zone))
	}
	if !e.Cancelled.IsZero() {
		line("cancelled %s  %s", whenIn(e.Cancelled.Time, zone), printable(e.Why))
	}
	switch e.State() {
	case experiment.Planned:
		line("Then:     telltale experiment start %s", e.Name)
	case experiment.Running:
		since, now := e.PhaseSince(), e.Phase()
		line("now       %s, since %s, planned until %s", phaseText(p, now), whenIn(since, zone), whenIn(since.Add(p.Phases[now].Length()), zone))
		line("%s", strings.Replace(then(e), "  ", "", 1))
	case experiment.Stopped:
		line("Then:     telltale experiment report %s", e.Name)
	}
	return nil
}

func printables(words []string) (all []string) {
	for _, w := range words {
		all = append(all, printable(w))
	}
	return all
}

func (cl *cli) showExperimentReport(r *experiment.Report, zone *time.Location) error {
	p := &printedReport{zone: zone, unit: r.Unit, a: "A", b: "B"}
	if plan := &r.Experiment.Plan; plan.Compare == experiment.Devices { // by what each is called in the plan
		p.a, p.b = printable(plan.Devices[0].Name), printable(plan.Devices[1].Name)
	}
	e := r.Experiment
	p.line("%s (experiment %s, %s)", printable(e.Plan.Question), printable(e.Name), r.State)
	p.line("")
	p.line("The plan was in the ledger at %s, before the first phase.", whenIn(e.Planned.Time, zone))
	for i := range r.Phases {
		p.phase(i, &r.Phases[i])
	}
	for _, m := range e.Marks {
		p.line("  %s  marked: %s", whenIn(m.At.Time, zone), printable(m.Says))
	}
	if n := len(e.Plan.Exclude); n > 0 {
		p.line("  not compared: %s, and what is below them", strings.TrimSpace(wordsIn(printables(e.Plan.Exclude), 78, "                ")))
	}
	for i := range r.Devices {
		p.device(&r.Devices[i], &e.Plan)
	}
	p.list("Otherwise than planned", r.Departures)
	if len(r.Departures) == 0 {
		p.line("\nIt was done as planned.")
	}
	p.list("What may have changed how names were answered", r.Changed)
	if len(r.Changed) == 0 {
		p.line("\nNothing in the ledger says that names were answered otherwise in one phase than in another.")
	}
	p.list("To be taken into account", r.Caveats)
	p.list("What this does not show", r.Limits)
	_, err := fmt.Fprint(cl.out, p.text.String())
	return err
}

// A printedReport is a report as text.
type printedReport struct {
	text strings.Builder
	zone *time.Location
	unit string
	a, b string // what is compared: conditions, or two devices
}

func (p *printedReport) line(format string, args ...any) { fmt.Fprintf(&p.text, format+"\n", args...) }

func (p *printedReport) list(title string, all []string) {
	if len(all) == 0 {
		return
	}
	p.line("\n%s", title)
	for _, text := range all {
		lines := wordsIn(strings.Fields(printable(text)), 78, "    ")
		p.line("  - %s", strings.TrimSpace(lines))
	}
}

func (p *printedReport) phase(i int, s *experiment.PhaseSeen) {
	p.line("  phase %d  %s  %s, %s: %s", i+1, s.Condition, evidence.From(s.Since.Time, s.Until.Time, p.zone), evidence.Length(time.Duration(s.Lasted)*time.Second), printable(s.Says))
	for _, x := range s.Excluded {
		of := ""
		if x.Device != "" {
			of = printable(x.Device) + ": "
		}
		p.line("              left out: %s%s, %s", of, x.Why, evidence.Length(time.Duration(x.Seconds)*time.Second))
	}
}

// printedNames are shown of each part; --json has all.
const printedNames = 20

func (p *printedReport) device(d *experiment.DeviceResult, plan *experiment.Plan) {
	p.line("\n%s: %s", printable(d.Name), p.verdict(&d.Total))
	what := "all listed names"
	if plan.Vendor != "" {
		what = "names of " + printable(plan.Vendor)
	}
	if plan.Compare == experiment.Devices {
		p.line("  %s, %s an hour by %s (A) and by %s (B):", what, p.unit, p.a, p.b)
	} else {
		p.line("  %s, %s an hour in A and in B:", what, p.unit)
	}
	p.comparison("all together", &d.Total)
	p.part("By purpose", d.Purposes)
	p.part("By product", d.Products)
	p.part("By name", d.Names)
	for _, gone := range []struct {
		title string
		names []string
	}{{"Asked for in A and not in B", d.Vanished}, {"Asked for in B and not in A", d.Appeared}} {
		if len(gone.names) > 0 {
			p.line("  %s: %s", gone.title, strings.TrimSpace(wordsIn(printables(gone.names[:min(printedNames, len(gone.names))]), 78, "    ")))
		}
	}
}

// verdict is the answer in one line.
func (p *printedReport) verdict(c *experiment.Comparison) string {
	if c.Verdict == "" {
		return "no verdict yet"
	}
	text := c.Verdict
	if of, ok := ofDevices[c.Verdict]; ok && p.b != "B" {
		text += fmt.Sprintf(" (%s asked %s %s)", p.b, of, p.a)
	}
	if c.Verdict == experiment.NoChange {
		text += fmt.Sprintf(" (a halving would have been found with %d %%)", int(100*c.Power))
	}
	if c.Why != "" {
		text += " (" + c.Why + ")"
	}
	if c.Back != nil && c.Back.Verdict != "" {
		text += "; back in the first condition: " + c.Back.Verdict
	}
	return text
}

// ofDevices are the words of a verdict where B is no later time but another device.
var ofDevices = map[string]string{experiment.HasStopped: "for none of it, unlike", experiment.Fell: "less often than", experiment.Rose: "more often than"}

func (p *printedReport) part(title string, all []experiment.Comparison) {
	all = slices.DeleteFunc(slices.Clone(all), func(c experiment.Comparison) bool { return c.A.Count+c.B.Count == 0 })
	if len(all) == 0 {
		return
	}
	p.line("  %s", title)
	for i := range all[:min(printedNames, len(all))] {
		what := printable(all[i].What)
		if what == "" {
			what = "(none)"
		}
		p.comparison(what, &all[i])
	}
	if more := len(all) - printedNames; more > 0 {
		p.line("    and %d more: --json has them", more)
	}
}

func (p *printedReport) comparison(what string, c *experiment.Comparison) {
	p.line("    %-38s %s to %s   %s", what, rateText(c.A), rateText(c.B), ratioText(c))
	if c.Verdict != "" {
		p.line("      %s", p.verdict(c))
	}
	if c.Note != "" {
		p.line("      %s", c.Note)
	}
	if b := c.Back; b != nil && b.A.Count+b.B.Count > 0 {
		p.line("      B to C: %s to %s   %s", rateText(b.A), rateText(b.B), ratioText(b))
		if b.Note != "" {
			p.line("      B to C: %s", strings.NewReplacer("in A", "in B", "in B", "in C").Replace(b.Note))
		}
	}
}

func rateText(r experiment.Rate) string {
	if r.Hours == 0 {
		return "not observed"
	}
	return fmt.Sprintf("%.2f (%.0f in %s)", r.PerHour, r.Count, evidence.Length(time.Duration(r.Hours*float64(time.Hour))))
}

// ratioText is how many times as often, with the interval.
func ratioText(c *experiment.Comparison) string {
	low, high := "0", "any"
	if c.Low != nil {
		low = fmt.Sprintf("%.2f", *c.Low)
	}
	if c.High != nil {
		high = fmt.Sprintf("%.2f", *c.High)
	}
	if c.A.Count+c.B.Count == 0 || low == "0.00" && c.High == nil {
		return ""
	}
	if c.Ratio == nil {
		return fmt.Sprintf("x %s at least", low)
	}
	return fmt.Sprintf("x %.2f (%s to %s)", *c.Ratio, low, high)
}
