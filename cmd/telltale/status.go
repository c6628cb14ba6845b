package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/evidence"
	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

const gapDays = 7

func (cl *cli) newStatus() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "status",
		Short: "Show on one screen how Telltale does: today's lookups, gaps, what needs attention",
		Long: `Show since when the server runs, how many lookups of how many devices there were
today and how many were blocked, whose telemetry was asked for, gaps of the log in
the last 7 days, and what 'telltale doctor' finds that needs attention. Exit status
1 if no server runs, or if something is wrong.`,
		Example: "  telltale status\n  telltale status --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := cl.overview(c.Context())
			if err != nil {
				return err
			}
			if cl.json {
				err = cl.encoder().Encode(o)
			} else {
				err = o.print(cl.out)
			}
			wrong := func(f web.Finding) bool { return f.State == stateWrong }
			if err == nil && (!o.Running || slices.ContainsFunc(o.Attention, wrong)) {
				return errSilent
			}
			return err
		},
	})
}

// An overview is what status says, on one screen.
type overview web.Overview

// overview asks the server; where none runs, it says what its files show. The program for small machines has no such
// route, and reads the log here.
func (cl *cli) overview(ctx context.Context) (*overview, error) {
	cfg, err := cl.load()
	if err != nil {
		return nil, err
	}
	client := newClient(cfg)
	if !small {
		var o web.Overview
		if err := client.get(ctx, "/overview", &o); err == nil {
			return (*overview)(&o), nil
		}
	}
	edition, _ := editionInForce(cfg) // doctor says why it is not the fetched one
	o := newOverview()
	o.Settings, o.Catalogue = cfg.File, edition.Name()
	var st web.Status
	if err := client.get(ctx, "/status", &st); err == nil {
		o.of(&st)
	} else if !errors.Is(err, errStopped) {
		return nil, err
	}
	d := &doctor{}
	d.examine(ctx, cl, false)
	o.attend(d.findings)
	if l, err := cl.openLog(ctx); err == nil { // else doctor says why not
		defer l.Close()
		err = o.read(ctx, l, time.Now())
		return o, err
	}
	return o, nil
}

func newOverview() *overview {
	return &overview{Temporary: []web.Temporary{}, Ending: []web.EndingRule{}, Discovery: []web.Discovery{}, Vendors: []web.TopLine{}, Gaps: []querylog.Gap{}, Attention: []web.Finding{}}
}

// of takes what is said of a server that runs.
func (o *overview) of(st *web.Status) {
	o.Running, o.Version, o.PID, o.Started, o.Listen, o.Console = true, st.Version, st.PID, st.Started, st.Listen, st.Console.URLs
	o.Settings, o.Catalogue, o.Temporary, o.Ending, o.Discovery = st.Settings.File, st.Catalogue.Edition, st.Temporary, st.Ending, st.Discovery
	for i := range st.Upstreams {
		if st.Upstreams[i].Source == "forward" {
			o.Forward = append(o.Forward, st.Upstreams[i])
		}
	}
}

// attend takes the findings that need attention.
func (o *overview) attend(all []web.Finding) {
	for _, f := range all {
		if f.State != stateOK && f.Code != "server-stopped" {
			o.Attention = append(o.Attention, f)
		}
	}
	byUrgency(o.Attention)
}

// overview is what status prints. Where the log cannot be read, a finding says so.
func (a *app) overview(ctx context.Context) (web.Overview, error) {
	o, st := newOverview(), a.status()
	o.of(&st)
	o.attend(a.findings(ctx, false))
	err := a.readLog(ctx, func(ctx context.Context, l *openedLog) error { return o.read(ctx, l, time.Now()) })
	if slices.ContainsFunc(o.Attention, func(f web.Finding) bool { return f.Code == "clients-unread" }) {
		err = nil
	}
	return web.Overview(*o), err
}

// read counts what the log has of today, and its gaps.
func (o *overview) read(ctx context.Context, l *openedLog, now time.Time) error {
	y, m, d := now.Date()
	midnight := time.Date(y, m, d, 0, 0, 0, 0, now.Location())
	devices, err := l.top(ctx, "devices", querylog.Filter{Since: midnight})
	if err != nil {
		return err
	}
	o.Today = &web.DayCounts{Since: midnight.UTC(), Devices: len(devices)}
	for i := range devices {
		o.Today.Count += devices[i].Count
		o.Today.Blocked += devices[i].Blocked
	}
	vendors, err := l.top(ctx, "vendors", querylog.Filter{Since: midnight})
	if err != nil {
		return err
	}
	o.Vendors = append(o.Vendors, vendors...)
	coverage, err := l.Coverage(ctx, now.AddDate(0, 0, -gapDays), now)
	o.Gaps = append(o.Gaps, missingIn(&coverage)...)
	return err
}

// byUrgency orders what needs attention: what is wrong, then a pause, which somebody
// may have forgotten, then the rest.
func byUrgency(all []web.Finding) {
	urgency := func(f web.Finding) int {
		switch {
		case f.State == stateWrong:
			return 0
		case f.What == string(blocklists.Pause), f.What == string(blocklists.Observing):
			return 1
		}
		return 2
	}
	sorting.StableBy(all, func(a, b web.Finding) int { return cmp.Compare(urgency(a), urgency(b)) })
}

// missingIn returns the gaps in which lookups may be missing, or were counted without what
// they asked for: the time before a log begins is none.
func missingIn(c *querylog.Coverage) []querylog.Gap {
	return slices.DeleteFunc(slices.Clone(c.Gaps), func(g querylog.Gap) bool {
		switch g.Effect {
		case querylog.Unrecorded, querylog.Incomplete, querylog.Unnamed:
			return g.Kind == querylog.GapUnknown && !g.Until.After(c.Begin.Time)
		}
		return true
	})
}

// print writes the overview for a person, the longest lists cut.
func (o *overview) print(w io.Writer) error {
	var b strings.Builder
	if o.Running {
		fmt.Fprintf(&b, "Telltale %s answers on %s since %s (process %d).\n", o.Version, strings.Join(o.Listen, ", "), when(o.Started), o.PID)
	} else {
		b.WriteString("No server is running with these settings.\n")
	}
	if len(o.Console) > 0 {
		fmt.Fprintf(&b, "Console    %s\n", o.Console[0])
	}
	fmt.Fprintf(&b, "Settings   %s\n", cmp.Or(o.Settings, "no file: the defaults, the environment and the flags"))
	fmt.Fprintf(&b, "Catalogue  edition %s\n", printable(o.Catalogue))
	for i := range o.Forward {
		u := &o.Forward[i]
		fmt.Fprintf(&b, "%-10s %s: %s is %s\n", headed("Forward", i), forwardedTo(u), u.Addr, u.State)
	}
	for i := range o.Ending {
		e := &o.Ending[i]
		fmt.Fprintf(&b, "%-10s %s (%s) until %s\n", headed("For now", i), printable(e.Rule), printable(place(e.List, e.Line)), when(e.Until))
	}
	for i := range o.Discovery {
		on := &o.Discovery[i]
		fmt.Fprintf(&b, "%-10s %s since %s\n", headed("Discovery", i), printable(on.Name), when(on.Since))
	}
	if t := o.Today; t != nil {
		fmt.Fprintf(&b, "Today      %s of %s, %d blocked%s\n", number(t.Count, "lookup"), number(uint64(t.Devices), "device"), t.Blocked, share(t.Blocked, t.Count))
	}
	o.printVendors(&b)
	o.printGaps(&b)
	if len(o.Attention) == 0 {
		b.WriteString("Attention  nothing needs any\n")
	}
	for i := range o.Attention {
		f := &o.Attention[i]
		fmt.Fprintf(&b, "%-10s %s: %s: %s\n", headed("Attention", i), f.State, f.What, findingText(f, 11))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *overview) printVendors(b *strings.Builder) {
	const most = 5
	shown := 0
	for i := range o.Vendors {
		v := &o.Vendors[i]
		if v.Tiers.Telemetry == 0 {
			continue
		}
		if shown == most {
			fmt.Fprintf(b, "%-10s and more: 'telltale top vendors'\n", "")
			return
		}
		fmt.Fprintf(b, "%-10s %s: %s of names listed as telemetry\n", headed("Vendors", shown), printable(v.Key), number(v.Tiers.Telemetry, "lookup"))
		shown++
	}
	if shown == 0 {
		b.WriteString("Vendors    nobody asked for a name listed as telemetry today\n")
	}
}

func (o *overview) printGaps(b *strings.Builder) {
	const most = 3
	if len(o.Gaps) == 0 {
		fmt.Fprintf(b, "Gaps       none in the log of the last %d days\n", gapDays)
	}
	newest := o.Gaps[max(0, len(o.Gaps)-most):]
	for i := range newest {
		fmt.Fprintf(b, "%-10s %s\n", headed("Gaps", i), printable(evidence.GapText(&newest[i], time.Local)))
	}
	if more := len(o.Gaps) - len(newest); more > 0 {
		fmt.Fprintf(b, "%-10s and %d more in the last %d days: 'telltale ledger'\n", "", more, gapDays)
	}
}

// headed returns a heading for the first of several lines.
func headed(text string, i int) string {
	if i > 0 {
		return ""
	}
	return text
}

func number(n uint64, what string) string {
	if n != 1 {
		if what == "query" {
			what = "querie"
		}
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func share(part, whole uint64) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.0f%%)", 100*float64(part)/float64(whole))
}
