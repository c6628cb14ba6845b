package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

// topFlags say what is counted, and in which form it is shown.
type topFlags struct {
	selection
	by, format, as string
	pseudonymous   bool
}

func (cl *cli) newTop() *cobra.Command {
	var s topFlags
	kinds := []string{"names", "devices", "vendors", "purposes"}
	c := cl.addJSON(&cobra.Command{
		Use:   "top names|devices|vendors|purposes",
		Short: "Count attempts and lookups by name, device, vendor or purpose",
		Long: `Count attempts and lookups by name, device, vendor or purpose in a period: the last 24
hours, unless --since says otherwise. An attempt is the lookups of one name by one
device that belong together: types, retries, search suffixes, until none came for
log.attempt_gap. All but the first column count lookups. What the lists call telemetry, mixed or essential is
counted apart: essential names, such as connectivity checks, are the vendor's, but
not its telemetry. Rows of names that no list has are kept for a day; where the
period goes back further, only their number by device and hour is left, and
'top devices' counts it.

On a terminal it is the first 10; with --json, or in a pipe, all. --pseudonyms puts
device-1, host-1 and so on for devices and names of the home.`,
		Example: `  telltale top vendors
  telltale top names --device living-room-tv --since 7d --limit 20
  telltale top purposes --vendor Xiaomi --last 30d`,
		ValidArgs: kinds,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(kinds, args[0]) {
				return usage("one of names, devices, vendors and purposes is expected")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			f, err := s.filter(time.Now())
			if err == nil && !small {
				err = s.check(&cl.json)
			}
			if err != nil {
				return err
			}
			limit := f.Limit
			if !c.Flags().Changed("limit") && !cl.json && isTerminal(cl.out) {
				limit = 10
			}
			l, err := cl.openMoment(c.Context())
			if err != nil {
				return err
			}
			defer l.Close()
			if !small && s.by != "" {
				return cl.showSlots(c.Context(), l, &s, args[0], f, c.Flags().Changed("limit"))
			}
			if err := l.choose(&f, s.ignored); err != nil {
				return err
			}
			more := 0
			lines, err := l.top(c.Context(), args[0], f)
			if err != nil {
				return err
			}
			if len(lines) == 0 {
				if err := l.checkVendor(c.Context(), f.Vendor); err != nil {
					return err
				}
			}
			if limit > 0 && len(lines) > limit {
				more = len(lines) - limit
				lines = lines[:limit]
			}
			if s.pseudonymous {
				hide, err := l.topHider(c.Context(), args[0], f)
				if err != nil {
					return err
				}
				for i := range lines {
					hide(&lines[i])
				}
			}
			return cl.showTop(c.Context(), l, args[0], f, lines, more, s.zone)
		},
	})
	s.add(cl, c, "24h")
	if !small {
		c.Long += "\n\n" + slotsHelp
		c.Example += "\n" + slotsExample
		c.Flags().StringVar(&s.by, "by", "", "count by hour or by day of the zone")
		c.Flags().StringVar(&s.format, "format", "", "table, json or csv (default: table); csv is of --by")
		complete(c, "by", "hour", "day")
		complete(c, "format", logFormats...)
	}
	c.Flags().BoolVar(&s.pseudonymous, "pseudonyms", false, "with other words for devices and names of the home")
	c.Flags().Lookup("limit").Usage = "the busiest so many; 0 for all"
	cl.addAllNodes(c)
	return c
}

// top counts what f chooses. A device is one line, whatever it was known by.
func (l *openedLog) top(ctx context.Context, what string, f querylog.Filter) ([]web.TopLine, error) {
	if what == "devices" {
		return l.topDevices(ctx, f)
	}
	rows, err := l.Top(ctx, what, f, 0)
	if err != nil {
		return nil, err
	}
	lines := make([]web.TopLine, len(rows))
	for i := range rows {
		lines[i].TopRow = rows[i]
	}
	return lines, l.sortTop(ctx, &f, lines)
}

// topDevices counts by device. Identities that are one device for a time and another
// one later are counted span by span.
func (l *openedLog) topDevices(ctx context.Context, f querylog.Filter) ([]web.TopLine, error) {
	whole := f
	var several []querylog.DeviceSpan
	for _, spans := range l.ids.of {
		for _, s := range spans {
			if s.From.IsZero() && s.Until.IsZero() {
				continue
			}
			whole.Without = append(slices.Clip(whole.Without), querylog.DeviceSpan{Device: s.Device})
			if f.Devices == nil && f.Device == "" || slices.Contains(f.Devices, s) {
				several = append(several, s)
			}
		}
	}
	rows, err := l.Top(ctx, "devices", whole, 0)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].Key = l.ids.last(rows[i].Key)
	}
	for _, s := range several {
		part := f
		part.Device, part.Devices = "", []querylog.DeviceSpan{s}
		of, err := l.Top(ctx, "devices", part, 0)
		if err != nil {
			return nil, err
		}
		for _, r := range of {
			r.Key = l.ids.now(s.Device, s.From)
			rows = append(rows, r)
		}
	}
	all := map[string]*web.TopLine{}
	for _, r := range rows {
		if have := all[r.Key]; have != nil {
			have.Add(r)
		} else {
			all[r.Key] = &web.TopLine{TopRow: r}
		}
	}
	if err := l.addHours(ctx, f, all); err != nil {
		return nil, err
	}
	lines := make([]web.TopLine, 0, len(all))
	for key, line := range all {
		if name := l.ids.name(key); name != key { // as it is called today
			line.Label = name
		} else if !strings.HasPrefix(key, "mac:") && !strings.HasPrefix(key, "addr:") {
			line.Label = key // a name is shown as it is today
		}
		lines = append(lines, *line)
	}
	return lines, l.sortTop(ctx, &f, lines)
}

// topHider returns what puts other words for devices and names of the home.
func (l *openedLog) topHider(ctx context.Context, what string, f querylog.Filter) (func(*web.TopLine), error) {
	hide, local := newPseudonyms(l), map[string]bool{}
	if what == "names" { // a name that was answered here is the home's, whatever it looks like
		f.Verdict = "answer"
		rows, err := l.Top(ctx, what, f, 0)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			local[rows[i].Key] = true
		}
	}
	return func(t *web.TopLine) {
		switch {
		case what == "devices":
			t.Key, t.Label = hide.of("device", t.Key), ""
		case what == "names" && local[t.Key]:
			t.Key = hide.name(t.Key, "answer")
		case what == "names":
			t.Key = hide.name(t.Key, "")
		}
	}, nil
}

// sortTop puts the lines with the most attempts first; those with the most lookups
// where the period has rows of before attempts were counted.
func (l *openedLog) sortTop(ctx context.Context, f *querylog.Filter, lines []web.TopLine) error {
	uncounted, err := l.attemptsMissing(ctx, f)
	if err != nil {
		return err
	}
	sorting.By(lines, func(a, b web.TopLine) int {
		attempts := cmp.Compare(b.Attempts, a.Attempts)
		if !uncounted.IsZero() {
			attempts = 0
		}
		return cmp.Or(attempts, cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	return nil
}

// attemptsMissing returns from when on attempts are counted, where f's period has rows
// of before; else zero.
func (l *openedLog) attemptsMissing(ctx context.Context, f *querylog.Filter) (time.Time, error) {
	since, _, err := l.AttemptsSince(ctx)
	if err != nil || !f.Since.Before(since) {
		return time.Time{}, err
	}
	listed, unlisted, err := l.OldestRows(ctx)
	for _, oldest := range []time.Time{listed, unlisted} {
		if !oldest.IsZero() && oldest.Before(since) {
			return since, err
		}
	}
	return time.Time{}, err
}

// addHours adds the hourly totals of lookups whose rows are deleted. They have no
// name, vendor or verdict.
func (l *openedLog) addHours(ctx context.Context, f querylog.Filter, all map[string]*web.TopLine) error {
	if f.Name != "" || f.Vendor != "" || f.Verdict != "" {
		return nil
	}
	hours, err := l.Hours(ctx, f.Since, f.Until)
	if err != nil {
		return err
	}
	for _, h := range hours {
		if (f.Device != "" || f.Devices != nil) && !querylog.AnyHas(f.Devices, h.Device, h.Hour.Time) || querylog.AnyHas(f.Without, h.Device, h.Hour.Time) {
			continue
		}
		key := l.ids.now(h.Device, h.Hour.Time)
		t := querylog.TopRow{Key: key, Count: h.Lookups, First: h.Hour, Last: querylog.Time{Time: h.Hour.Add(time.Hour)}}
		if have := all[key]; have != nil {
			have.Add(t)
		} else {
			all[key] = &web.TopLine{TopRow: t}
		}
		all[key].Totals += h.Lookups
	}
	return nil
}

// topHeads are what tables call the things that are counted.
var topHeads = map[string]string{"names": "NAME", "devices": "DEVICE", "vendors": "VENDOR", "purposes": "PURPOSE"}

// topLabel is what a line is called in a table.
func topLabel(what string, t *web.TopLine) string {
	none := "(names not kept)"
	if what == "purposes" {
		none = "(no purpose is said)"
	}
	return printable(cmp.Or(t.Label, t.Key, none))
}

// ofVendors reports whether only lookups of names are counted of which a rule or a list says whose they are.
func ofVendors(what string) bool { return what == "vendors" || what == "purposes" }

func (cl *cli) showTop(ctx context.Context, l *openedLog, what string, f querylog.Filter, lines []web.TopLine, more int, zone *time.Location) error {
	if cl.json {
		enc := cl.encoder()
		for i := range lines {
			if err := enc.Encode(&lines[i]); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ATTEMPTS\tLOOKUPS\tBLOCKED\tTELEMETRY\tMIXED\tESSENTIAL\tLAST\t"+topHeads[what])
	totals, asLookups, imported, unknown := uint64(0), uint64(0), uint64(0), uint64(0)
	for i := range lines {
		t := &lines[i]
		totals += t.Totals
		asLookups += t.AsLookups
		imported += t.Imported
		unknown += t.Unknown
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", t.Attempts, t.Count, t.Blocked, t.Tiers.Telemetry, t.Tiers.Mixed, t.Tiers.Essential,
			whenIn(t.Last.Time, zone), topLabel(what, t))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(cl.err, "and %d more: --limit 0 shows all\n", more)
	}
	if totals > 0 {
		fmt.Fprintf(cl.err, "%d lookups are of names that no list has; %s\n", totals, attemptsOfHours())
	}
	if imported > 0 {
		fmt.Fprintf(cl.err, "%d lookups were imported from the log of another server\n", imported)
	}
	if unknown > 0 {
		fmt.Fprintf(cl.err, "of %d lookups it is not known whether they were blocked: the log that they were imported from does not say\n", unknown)
	}
	if asLookups > 0 {
		fmt.Fprintf(cl.err, "%d of the attempts are lookups that each counted as one: there was no memory, or no name, to tell which belong together\n", asLookups)
	}
	since, err := l.attemptsMissing(ctx, &f)
	if err != nil {
		return err
	}
	if !since.IsZero() {
		fmt.Fprintf(cl.err, "attempts are counted since %s; lines are in the order of lookups\n", whenIn(since, zone))
	}
	return cl.sayPeriod(ctx, l, what, &f, zone)
}

// sayPeriod says which period was counted, and where rows do not go back as far.
func (cl *cli) sayPeriod(ctx context.Context, l *openedLog, what string, f *querylog.Filter, zone *time.Location) error {
	listed, unlisted, err := l.OldestRows(ctx)
	if err != nil {
		return err
	}
	end := "now"
	if !f.Until.IsZero() {
		end = whenIn(f.Until, zone)
	}
	text := fmt.Sprintf("from %s to %s", whenIn(f.Since, zone), end)
	if f.Since.IsZero() {
		text = "up to " + end
	}
	late := func(t time.Time) bool { return t.IsZero() || t.After(f.Since.Add(time.Minute)) }
	switch {
	case listed.IsZero() && unlisted.IsZero():
		text += "; there are no rows yet"
	case ofVendors(what) && late(listed):
		text += "; " + begin("rows of listed names", listed, zone)
	case !ofVendors(what) && (late(listed) || late(unlisted)):
		text += "; " + begin("rows of listed names", listed, zone) + "; " + begin("rows of other names", unlisted, zone)
	}
	if !small && strings.Contains(text, ";") && mayHaveTotals(what, f) {
		c, err := l.Coverage(ctx, f.Since, f.Until)
		if err != nil {
			return err
		}
		if totals := c.Totals.Time; !totals.IsZero() && (listed.IsZero() || totals.Before(listed.Truncate(time.Hour))) {
			text += "; --by day counts hourly totals of before as well"
		}
	}
	_, err = fmt.Fprintln(cl.err, text)
	return err
}

// attemptsOfHours says of the lookups that 'top devices' adds what is not known of them.
func attemptsOfHours() string {
	if small {
		return "only their hour and device are kept, and their attempts are not counted here"
	}
	return "only their hour and device are kept, and their attempts are not counted here: --by day has those of hourly totals"
}

// mayHaveTotals reports whether 'top --by' reads hourly totals of what is counted: they have no names and no addresses. Of devices
// the lookups are counted without it.
func mayHaveTotals(what string, f *querylog.Filter) bool {
	return ofVendors(what) && f.Name == "" && f.Device == ""
}

// begin says when rows begin, of which there may be none.
func begin(rows string, t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return "there are no " + rows
	}
	return "the " + rows + " begin " + whenIn(t, zone)
}
