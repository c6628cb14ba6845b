package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"telltale/evidence/experiment"
	"telltale/querylog"
	"telltale/web"
)

func (cl *cli) newExperiment() *cobra.Command {
	c := &cobra.Command{
		Use:   "experiment",
		Short: "Compare what a device asks for before and after something is done, such as opting out",
		Long: `Compare how often a device asks for listed names before and after something is done:
opting out, a reset of the advertising id, another browser, an update. What is
compared, for how long and by which test is written into the sealed log before the
first phase, so that nobody chooses afterwards what to look at. A report says
"stopped", "fell", "no change seen", "rose" or "too little data to say", with a
95 % interval, and where the run was another one than the plan.

  telltale experiment templates opt-out                       what to do, step by step
  telltale experiment new tv-1 --template opt-out --device tv
  telltale experiment start                                   the first phase begins
  telltale experiment mark "opted out"                        the next phase begins
  telltale experiment stop
  telltale experiment report

docs/evidence.md has the method and how often it is wrong.`,
	}
	c.AddCommand(cl.newExperimentTemplates(), cl.newExperimentNew(), cl.newExperimentStart(), cl.newExperimentMark(), cl.newExperimentStop(), cl.newExperimentCancel(),
		cl.newExperimentList(), cl.newExperimentShow(), cl.newExperimentReport())
	return c
}

// templateNamed returns a shipped template.
func templateNamed(name string) (*experiment.Template, error) {
	all, err := experiment.Templates()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range all {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return nil, unknown("template", name, names, "telltale experiment templates")
}

func templateWords() (names []string, err error) {
	all, err := experiment.Templates()
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names, err
}

func (cl *cli) newExperimentTemplates() *cobra.Command {
	c := cl.addJSON(&cobra.Command{
		Use:     "templates [TEMPLATE]",
		Short:   "List the templates, or say of one what to do at the device and what its result can show",
		Long:    "List the templates, or say of one what to do at the device, step by step, and what\nits result can show and cannot.",
		Example: "  telltale experiment templates\n  telltale experiment templates incognito",
		Args:    args("one template at most", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := experiment.Templates()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				t, err := templateNamed(args[0])
				if err != nil {
					return err
				}
				all = []*experiment.Template{t}
			}
			switch {
			case cl.json:
				return cl.encoder().Encode(all)
			case len(args) == 1:
				return cl.showTemplate(all[0])
			}
			w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
			for _, t := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\n", t.Name, spanText(t.Plan.Length()), t.Plan.Question)
			}
			return w.Flush()
		},
	})
	c.ValidArgsFunction = completion(templateWords)
	return c
}

func (cl *cli) showTemplate(t *experiment.Template) error {
	p := &t.Plan
	fmt.Fprintf(cl.out, "%s\n\n", p.Question)
	for i := range p.Phases {
		fmt.Fprintf(cl.out, "  phase %d  %s  %-4s %s\n", i+1, p.Phases[i].Condition, spanText(p.Phases[i].Length()), p.Phases[i].Says)
	}
	fmt.Fprintf(cl.out, "\n%s\n", planText(p))
	if len(t.Sites) > 0 {
		fmt.Fprintf(cl.out, "\nThe sites, whose own names are not compared:\n%s\n", wordsIn(t.Sites, 78, "  "))
	}
	for _, part := range []struct{ title, text string }{{"What to do", t.Do}, {"What its result can show", t.Shows}, {"What it cannot show", t.ShowNot}} {
		fmt.Fprintf(cl.out, "\n%s\n\n", part.title)
		for line := range strings.Lines(part.text) {
			fmt.Fprintf(cl.out, "%s\n", wordsIn(strings.Fields(line), 78, "  "))
		}
	}
	devices := "--device DEVICE"
	if p.Compare == experiment.Devices {
		devices += " --device OTHER"
	}
	_, err := fmt.Fprintf(cl.out, "\n  telltale experiment new NAME --template %s %s [--vendor VENDOR]\n\nWithout --vendor, listed names of all vendors are compared.\n", t.Name, devices)
	return err
}

// planText says in words how a plan compares.
func planText(p *experiment.Plan) string {
	match := map[string]string{experiment.ByHour: "the same hours of the day with one another", experiment.ByPair: "each phase with its neighbour", experiment.Plainly: "the phases as they are"}[p.Match]
	text := fmt.Sprintf("Attempts are counted in stretches of %s, and what is compared is %s. The first %s of a phase are left out.", spanText(time.Duration(p.Block)*time.Second), match, spanText(time.Duration(p.Settle)*time.Second))
	if p.Present == experiment.Always {
		return text + " The device is taken to be there all the time."
	}
	return text + " So are times in which the device asked for nothing at all for three hours or more: it may have been off."
}

// spanText writes a length for people: 48h, 30m.
func spanText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// wordsIn breaks words into lines of at most so many characters.
func wordsIn(words []string, width int, indent string) string {
	var b strings.Builder
	column := 0
	for _, w := range words {
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+len([]rune(w)) > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(w)
		column += len([]rune(w))
	}
	return b.String()
}

func (cl *cli) newExperimentNew() *cobra.Command {
	var n web.NewExperiment
	length := ""
	c := cl.addJSON(&cobra.Command{
		Use:   "new NAME",
		Short: "Plan an experiment: what is compared, for how long and by which test goes into the sealed log",
		Long: `Plan an experiment. The plan is a line of the ledger, which is sealed like the log,
before anything is measured: nothing of it can be changed afterwards. 'start' begins
the first phase.

Several devices are each compared for themselves: one at which nothing is done shows
what changes by itself. A template for two devices compares the first with the second.
--vendor compares the names of one vendor alone; without it, all listed ones.`,
		Example: `  telltale experiment new tv-1 --template tv-recognition --device living-room-tv
  telltale experiment new phone-1 --template opt-out --device phone --device tablet --vendor Xiaomi --return
  telltale experiment new week --template opt-out --device phone --length 7d`,
		Args: oneArg("name for the experiment"),
		RunE: func(c *cobra.Command, args []string) error {
			n.Name = args[0]
			switch {
			case n.Template == "":
				return usage("--template is expected: 'telltale experiment templates' lists them")
			case len(n.Devices) == 0:
				return usage("--device is expected: whose lookups are compared")
			}
			if err := experiment.CheckName(n.Name); err != nil {
				return usage("%v", err)
			}
			if length != "" {
				d, err := parseAge(length)
				if err != nil || d <= 0 {
					return usage("--length: %q is no length of a phase; 48h and 7d are", printable(length))
				}
				if err := experiment.CheckLength(d); err != nil {
					return usage("--length: %v", err)
				}
				n.Seconds = seconds(d)
			}
			if n.Vendor != "" {
				l, err := cl.openLog(c.Context())
				if err != nil {
					return err
				}
				err = l.checkVendor(c.Context(), n.Vendor)
				l.Close()
				if err != nil {
					return err
				}
			}
			return cl.experimentLine(c.Context(), "/experiments", &n)
		},
	})
	f := c.Flags()
	f.StringVar(&n.Template, "template", "", "what is done, and how it is compared: a word of 'telltale experiment templates'")
	f.StringArrayVar(&n.Devices, "device", nil, "whose lookups: name, identity, MAC or address; again for another one")
	f.StringVar(&n.Vendor, "vendor", "", "names of this vendor alone")
	f.StringVar(&length, "length", "", "of each phase, such as 72h or 7d, 60d at most (default: the template's)")
	f.BoolVar(&n.Return, "return", false, "with a third phase in which the first condition is come back to")
	f.BoolVar(&n.AlwaysOn, "always-on", false, "the device is there also while it asks for nothing at all: its silence counts")
	f.StringArrayVar(&n.Exclude, "exclude", nil, "leave out a name, and those below it; again for another one")
	completeBy(c, "template", templateWords)
	completeBy(c, "device", cl.deviceWords)
	completeBy(c, "vendor", cl.vendorWords)
	return c
}

// experimentLine has the server write a line, and says what it says.
func (cl *cli) experimentLine(ctx context.Context, path string, body any) error {
	if s, ok := body.(*web.ExperimentStep); ok {
		if err := experiment.CheckText(s.Says); err != nil {
			return usage("%v", err)
		}
	}
	cfg, err := cl.load()
	if err != nil {
		return err
	}
	var line web.ExperimentLine
	if err := newClient(cfg).do(ctx, http.MethodPost, path, body, &line); err != nil {
		return err
	}
	if cl.json {
		return cl.encoder().Encode(&line)
	}
	l, err := cl.openLog(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	events, err := l.Ledger(ctx, time.Time{}, time.Time{})
	if err != nil {
		return err
	}
	e := experiment.Find(experiment.All(events), line.Name)
	if e == nil {
		return fmt.Errorf("experiment %s is not in the ledger any more", line.Name)
	}
	_, err = fmt.Fprintf(cl.out, "%s\n", nextText(e, line.Kind))
	return err
}

// phaseText names a phase of a plan.
func phaseText(p *experiment.Plan, i int) string {
	return fmt.Sprintf("phase %d of %d (%s: %s)", i+1, len(p.Phases), p.Phases[i].Condition, printable(p.Phases[i].Says))
}

// nextText says what a line did, and what comes next.
func nextText(e *experiment.Experiment, kind string) string {
	p := &e.Plan
	at := func(i int) string {
		return fmt.Sprintf("%s, planned to last %s", phaseText(p, i), spanText(p.Phases[i].Length()))
	}
	switch kind {
	case querylog.KindExperimentPlanned:
		return fmt.Sprintf("experiment %s is planned, and the plan is in the ledger: %s, %s in all.\nWhat to do: telltale experiment templates %s\nBegin:      telltale experiment start %s", e.Name, number(uint64(len(p.Phases)), "phase"), spanText(p.Length()), p.Template, e.Name)
	case querylog.KindExperimentStarted:
		return fmt.Sprintf("experiment %s has begun: %s.\n%s", e.Name, at(0), then(e))
	case querylog.KindExperimentMarked:
		m := &e.Marks[len(e.Marks)-1]
		if !m.Next {
			return fmt.Sprintf("marked %q; %s goes on.", printable(m.Says), at(e.Phase()))
		}
		return fmt.Sprintf("marked %q: %s begins.\n%s", printable(m.Says), at(e.Phase()), then(e))
	case querylog.KindExperimentStopped:
		return fmt.Sprintf("experiment %s is over: telltale experiment report %s", e.Name, e.Name)
	}
	return fmt.Sprintf("experiment %s is cancelled; its lines stay in the ledger.", e.Name)
}

func then(e *experiment.Experiment) string {
	if e.Phase()+1 < len(e.Plan.Phases) {
		return fmt.Sprintf("Then:       telltale experiment mark %s \"what was done\"", e.Name)
	}
	return "Then:       telltale experiment stop " + e.Name
}

// newStep makes a command that goes on with an experiment.
func (cl *cli) newStep(c *cobra.Command, s *web.ExperimentStep) *cobra.Command {
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 {
			s.Name = args[0]
		}
		return cl.experimentLine(c.Context(), "/experiments/step", s)
	}
	c.Args = args("the name of one experiment at most", 0, 1)
	c.ValidArgsFunction = completion(cl.experimentWords)
	return cl.addJSON(c)
}

func (cl *cli) experimentWords() ([]string, error) {
	l, err := cl.openLog(context.Background())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	events, err := l.Ledger(context.Background(), time.Time{}, time.Time{})
	return experimentNames(experiment.All(events)), err
}

func (cl *cli) newExperimentStart() *cobra.Command {
	return cl.newStep(&cobra.Command{
		Use: "start [NAME]", Short: "Begin the first phase of a planned experiment",
		Long:    "Begin the first phase of a planned experiment: of the one that is named, or of the\nonly one that has not begun.",
		Example: "  telltale experiment start tv-1",
	}, &web.ExperimentStep{Do: experiment.Start})
}

func (cl *cli) newExperimentStop() *cobra.Command {
	return cl.newStep(&cobra.Command{
		Use: "stop [NAME]", Short: "End the last phase: the report then has a verdict",
		Long:    "End an experiment: the one that is named, or the only one that is running. The report\nthen has a verdict. What was not done as planned is said in it.",
		Example: "  telltale experiment stop",
	}, &web.ExperimentStep{Do: experiment.Stop})
}

func (cl *cli) newExperimentCancel() *cobra.Command {
	s := &web.ExperimentStep{Do: experiment.Cancel}
	c := cl.newStep(&cobra.Command{
		Use: "cancel [NAME]", Short: "Give an experiment up: there will be no verdict, and its lines stay in the ledger",
		Long:    "Give an experiment up, planned or running: there will be no verdict. Its lines stay in\nthe ledger, so that nobody can try until a result pleases and show that alone.",
		Example: "  telltale experiment cancel tv-1 --why \"the TV was replaced\"",
	}, s)
	c.Flags().StringVar(&s.Says, "why", "", "why it is given up")
	return c
}

func (cl *cli) newExperimentMark() *cobra.Command {
	s := &web.ExperimentStep{Do: experiment.DoMark}
	at := ""
	c := cl.addJSON(&cobra.Command{
		Use:   "mark [NAME] TEXT",
		Short: "Say what was done at the device: the next phase begins with it",
		Long: `Say what was done at the device, in a few words between quotes. The next phase begins
with it, now or at --at; with --stay the phase goes on, and the mark is in the report.
Without a name it is of the only experiment that is running.`,
		Example: "  telltale experiment mark \"opted out\"\n  telltale experiment mark tv-1 \"guests came\" --stay\n  telltale experiment mark \"opted out\" --at 12:00",
		Args:    args("a text, or the name of an experiment and a text,", 1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			s.Says = args[len(args)-1]
			if len(args) == 2 {
				s.Name = args[0]
			}
			if at != "" {
				when, err := parseTime(at, time.Now(), false)
				if err != nil {
					return usage("--at: %v", err)
				}
				s.At = when.UTC()
			}
			return cl.experimentLine(c.Context(), "/experiments/step", s)
		},
	})
	c.Flags().StringVar(&at, "at", "", `when it was: 2h, "mon 18:00", 15:04 or RFC 3339 (default: now); the report says that it was told later`)
	c.Flags().BoolVar(&s.Stay, "stay", false, "the phase goes on")
	return c
}

func (cl *cli) newExperimentList() *cobra.Command {
	tz := ""
	c := cl.addJSON(&cobra.Command{
		Use: "list", Short: "List all experiments, also those that were given up",
		Long:    "List all experiments of the ledger, also those that were given up. It works with the\nserver stopped, too.",
		Example: "  telltale experiment list",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			zone, err := parseZone(tz)
			if err != nil {
				return usage("--tz: %v", err)
			}
			l, all, err := cl.openExperiments(c.Context())
			if err != nil {
				return err
			}
			defer l.Close()
			if cl.json {
				return cl.encoder().Encode(experimentsOf(all))
			}
			w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
			for _, e := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(e.Name), e.State(), whenIn(e.Planned.Time, zone), printable(e.Plan.Template), printable(l.experimentDevices(e)))
			}
			if len(all) == 0 {
				fmt.Fprintln(cl.err, "no experiments: 'telltale experiment new' plans one")
			}
			return w.Flush()
		},
	})
	c.Flags().StringVar(&tz, "tz", "", "the zone in which times are shown (default: the machine's)")
	return c
}

// experimentOf returns an experiment as the API and --json have it.
func experimentOf(e *experiment.Experiment) web.Experiment {
	return web.Experiment{Experiment: e, State: e.State()}
}

func experimentsOf(all []*experiment.Experiment) []web.Experiment {
	out := []web.Experiment{}
	for _, e := range all {
		out = append(out, experimentOf(e))
	}
	return out
}

// openExperiments opens the log, and returns the experiments of its ledger.
func (cl *cli) openExperiments(ctx context.Context) (*openedLog, []*experiment.Experiment, error) {
	l, err := cl.openLog(ctx)
	if err != nil {
		return nil, nil, err
	}
	events, err := l.Ledger(ctx, time.Time{}, time.Time{})
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return l, experiment.All(events), nil
}

// experimentDevices are the devices of an experiment by their names of today.
func (l *openedLog) experimentDevices(e *experiment.Experiment) string {
	var names []string
	for _, d := range e.Plan.Devices {
		_, name, _ := l.plannedDevice(d.Device, e.Planned.Time)
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// plannedDevice returns which device it is today that had an identity at a time, what it
// is called, and all that it was.
func (l *openedLog) plannedDevice(identity string, at time.Time) (today, name string, was []querylog.DeviceSpan) {
	today = l.ids.now(identity, at)
	return today, l.ids.called(today), l.ids.was(today)
}

// experimentFlags are those of show and report.
func (cl *cli) newExperimentView(c *cobra.Command, view func(context.Context, *openedLog, *experiment.Experiment, *time.Location) error) *cobra.Command {
	tz := ""
	c.Args = args("the name of one experiment at most", 0, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		zone, err := parseZone(tz)
		if err != nil {
			return usage("--tz: %v", err)
		}
		l, all, err := cl.openExperiments(c.Context())
		if err != nil {
			return err
		}
		defer l.Close()
		e, err := experimentMeant(all, strings.Join(args, ""), c.Name())
		if err != nil {
			return err
		}
		return view(c.Context(), l, e, zone)
	}
	c.ValidArgsFunction = completion(cl.experimentWords)
	cl.addJSON(c)
	c.Flags().StringVar(&tz, "tz", "", "the zone in which times are shown, and hours of the day compared, such as Europe/Berlin (default: the machine's)")
	return c
}

func (cl *cli) newExperimentShow() *cobra.Command {
	return cl.newExperimentView(&cobra.Command{
		Use: "show [NAME]", Short: "Show the plan of an experiment, what was done, and what comes next",
		Long:    "Show the plan of an experiment as it is in the ledger, what was done, and what comes\nnext: of the one that is named, or of the newest. It works with the server stopped, too.",
		Example: "  telltale experiment show tv-1",
	}, cl.showExperiment)
}

func (cl *cli) newExperimentReport() *cobra.Command {
	return cl.newExperimentView(&cobra.Command{
		Use: "report [NAME]", Short: "Say what an experiment shows, how sure that is, and what it cannot show",
		Long: `Say what an experiment shows: of the one that is named, or of the newest. For all names
together, and by purpose, product and name: attempts an hour in both conditions, how
many times as often in the second with a 95 % interval, and a verdict:

  stopped                 asked for in the first condition and not in the second
  fell, rose              less or more often than chance explains
  no change seen          and a halving would have been seen with at least 80 %
  too little data to say  with how much longer it would take

Verdicts take account of how many names are compared. Before the end there is none.
Hours with gaps, pauses or a clock that was set are left out. Where the run was another
one than the plan, and what may have changed answers meanwhile, is said.`,
		Example: "  telltale experiment report\n  telltale experiment report tv-1 --json",
	}, func(ctx context.Context, l *openedLog, e *experiment.Experiment, zone *time.Location) error {
		r, err := experiment.Make(ctx, l.Reader, e, experiment.Options{Now: time.Now(), Zone: zone, Device: l.plannedDevice})
		if err != nil {
			return err
		}
		if cl.json {
			return cl.encoder().Encode(r)
		}
		return cl.showExperimentReport(r, zone)
	})
}
