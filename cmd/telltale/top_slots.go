package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"telltale/evidence"
	"telltale/evidence/render"
	"telltale/querylog"
	"telltale/web"
)

// Top lists by hour or day.

const slotsHelp = `With --by hour or --by day, each line is an hour or a day of the zone, with how much
of it was recorded, and its three busiest; --limit says how many, and --format json or
csv has all. A row is in the hour in which its first lookup came. Where nothing is
recorded there is no number: a 0 means that nobody asked. Devices, vendors and
purposes are read from hourly totals where rows of them are deleted, and in periods
of more than 100 days; names, and what --name chooses, from rows alone.`

const slotsExample = `  telltale top vendors --by day --last 7d --tz Europe/Berlin
  telltale top names --device living-room-tv --by hour --format csv`

// slotsShown is how many lines of each hour or day a table has unless --limit says otherwise.
const slotsShown = 3

// check completes the flags, and says which do not go together. json is whether --json is given, and then whether lines are JSON.
func (t *topFlags) check(json *bool) error {
	switch {
	case *json && t.format != "" && t.format != "json":
		return usage("--json is another way to write --format json: give one of them")
	case t.by != "" && t.by != "hour" && t.by != "day":
		return usage("--by: %q is none of hour, day", printable(t.by))
	case *json:
		t.as = "json"
	default:
		t.as = cmp.Or(t.format, "table")
	}
	if !slices.Contains(logFormats, t.as) {
		return usage("--format: %q is none of %s", printable(t.format), strings.Join(logFormats, ", "))
	}
	if t.as == "csv" && t.by == "" {
		return usage("--format csv is of --by hour and --by day; --json prints an object a line of all else")
	}
	*json = t.as == "json"
	return nil
}

// slotOptions say what is counted by hour or day.
func (l *openedLog) slotOptions(of, by string, f querylog.Filter, ignored bool, zone *time.Location) (evidence.SlotOptions, error) {
	o := evidence.SlotOptions{
		Options: evidence.Options{
			Since: f.Since, Until: f.Until, Zone: zone, Vendor: f.Vendor, Today: l.ids.now, Changes: l.ids.view.Splits(), Name: l.ids.called, Discovered: l.ids.discovered(),
		},
		Of: of, Step: by, Name: f.Name, Verdict: f.Verdict,
	}
	return o, l.whose(&o.Options, f.Device, ignored)
}

// busiestOf leaves the first n lines of a slot; all for 0.
func busiestOf(s *evidence.CountSlot, n int) *evidence.CountSlot {
	if n > 0 && len(s.Lines) > n {
		s.Lines = slices.Clone(s.Lines[:n]) // the others are not kept
	}
	return s
}

// mostSlotLines is how many lines of all slots together an answer has at most: it is made in memory.
const mostSlotLines = 100_000

// A slotAnswer gathers slots, of each so many lines; all for 0.
type slotAnswer struct {
	slots []evidence.CountSlot
	lines int
	limit int
}

func (a *slotAnswer) add(s *evidence.CountSlot) error {
	a.slots = append(a.slots, *busiestOf(s, a.limit))
	if a.lines += len(a.slots[len(a.slots)-1].Lines); a.lines > mostSlotLines {
		return fmt.Errorf("%w: it has more than %s lines, which an answer has at most; choose a shorter one, or a limit of lines of each hour or day", evidence.ErrManySlots, evidence.Number(mostSlotLines))
	}
	return nil
}

// showSlots prints what is counted by hour or day.
func (cl *cli) showSlots(ctx context.Context, l *openedLog, t *topFlags, of string, f querylog.Filter, limited bool) error {
	if f.Until.IsZero() || f.Until.After(time.Now()) {
		f.Until = time.Now()
	}
	o, err := l.slotOptions(of, t.by, f, t.ignored, t.zone)
	if err != nil {
		return err
	}
	hide := func(*web.TopLine) {}
	if t.pseudonymous {
		chosen := f
		if err = l.choose(&chosen, t.ignored); err != nil {
			return err
		}
		if hide, err = l.topHider(ctx, of, chosen); err != nil {
			return err
		}
	}
	limit := t.limit
	if t.as == "table" && !limited {
		limit = slotsShown
	}
	p := newSlotPrinter(cl, t, of, limit)
	sum := evidence.SlotLine{}
	c, err := evidence.EachSlot(ctx, l.Reader, o, func(s *evidence.CountSlot) error {
		if s.Asked != nil {
			sum.Count += s.Asked.Count
			sum.Totals += s.Asked.Totals
			sum.Unknown += s.Asked.Unknown
			sum.Imported += s.Asked.Imported
		}
		for i := range s.Lines {
			line := web.TopLine{TopRow: querylog.TopRow{Key: s.Lines[i].Key, Label: s.Lines[i].Label}}
			hide(&line)
			s.Lines[i].Key, s.Lines[i].Label = line.Key, line.Label
		}
		return p.print(s)
	})
	if err == nil {
		err = p.flush()
	}
	if err == nil && sum.Count == 0 {
		err = l.checkVendor(ctx, f.Vendor)
	}
	if err != nil || t.as != "table" {
		return err
	}
	return cl.saySlots(ctx, l, o, &c, &sum)
}

// saySlots says what of a period was recorded, and what its numbers rest on.
func (cl *cli) saySlots(ctx context.Context, l *openedLog, o evidence.SlotOptions, c *evidence.Coverage, sum *evidence.SlotLine) error {
	if sum.Totals > 0 {
		fmt.Fprintf(cl.err, "%d lookups are read from hourly totals\n", sum.Totals)
	}
	if sum.Imported > 0 {
		fmt.Fprintf(cl.err, "%d lookups were imported from the log of another server\n", sum.Imported)
	}
	if sum.Unknown > 0 {
		fmt.Fprintf(cl.err, "of %d lookups it is not known whether they were blocked: the log that they were imported from does not say\n", sum.Unknown)
	}
	since, err := l.attemptsMissing(ctx, &querylog.Filter{Since: o.Since})
	if err != nil {
		return err
	}
	if !since.IsZero() {
		fmt.Fprintf(cl.err, "attempts are counted since %s; lines are in the order of lookups\n", whenIn(since, o.Zone))
	}
	_, err = fmt.Fprintf(cl.err, "from %s to %s, recorded: %s\n", whenIn(o.Since, o.Zone), whenIn(o.Until, o.Zone), printable(c.Text))
	return err
}

// A slotPrinter prints slots. flush is to be called behind the last.
type slotPrinter struct {
	print func(*evidence.CountSlot) error
	flush func() error
}

func newSlotPrinter(cl *cli, t *topFlags, of string, limit int) slotPrinter {
	switch t.as {
	case "json":
		enc := cl.encoder()
		return slotPrinter{func(s *evidence.CountSlot) error { return enc.Encode(busiestOf(s, limit)) }, func() error { return nil }}
	case "csv":
		return slotsCSV(cl.out, limit)
	}
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(t.by)+"\tRECORDED\tATTEMPTS\tLOOKUPS\tBLOCKED\t"+topHeads[of]+" (ATTEMPTS)")
	return slotPrinter{func(s *evidence.CountSlot) error {
		counts := "-\t-\t-"
		if s.Asked != nil {
			counts = fmt.Sprintf("%d\t%d\t%d", s.Asked.Attempts, s.Asked.Count, s.Asked.Blocked)
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", slotTime(s, t.by, t.zone), slotRecorded(s), counts, slotLines(s, of, limit))
		return err
	}, w.Flush}
}

// slotTime is when a slot begins: the day, and the time of it where that is not its beginning.
func slotTime(s *evidence.CountSlot, by string, zone *time.Location) string {
	at := s.Since.In(zone)
	text := at.Format("2006-01-02 Mon")
	clock := at.Format("15:04")
	if by == "day" && clock == "00:00" {
		return text
	}
	for _, d := range []time.Duration{-time.Hour, time.Hour} {
		if by == "hour" && at.Add(d).Format("2006-01-02 15:04") == at.Format("2006-01-02 15:04") { // clocks show it twice
			return text + " " + at.Format("15:04 MST")
		}
	}
	return text + " " + clock
}

// slotRecorded says how much of a slot was recorded.
func slotRecorded(s *evidence.CountSlot) string {
	length := s.Until.Sub(s.Since.Time)
	recorded := time.Duration(s.Recorded) * time.Second
	switch {
	case s.Whole:
		return "all"
	case s.Recorded == 0:
		return "not recorded"
	case recorded < length.Truncate(time.Second):
		return evidence.Length(recorded)
	}
	return "in part"
}

// slotLines names the busiest lines of a slot.
func slotLines(s *evidence.CountSlot, of string, limit int) string {
	var all []string
	for i := range s.Lines {
		if limit > 0 && i == limit {
			all = append(all, fmt.Sprintf("and %d more", len(s.Lines)-limit))
			break
		}
		line := &s.Lines[i]
		all = append(all, fmt.Sprintf("%s %d", topLabel(of, &web.TopLine{TopRow: querylog.TopRow{Key: line.Key, Label: line.Label}}), line.Attempts))
	}
	return strings.Join(all, ", ")
}

// slotColumns are never renamed; new ones come at the end. Those of a slot without a number are empty.
var slotColumns = []string{
	"since", "until", "recorded", "whole", "key", "label", "count", "attempts", "blocked", "unknown", "telemetry", "mixed", "essential", "imported", "totals", "first", "last",
}

// slotsCSV writes a line for each of a slot, and of one without any a line that has 0, or nothing where it is not known.
func slotsCSV(w io.Writer, limit int) slotPrinter {
	out := csv.NewWriter(w)
	err := out.Write(slotColumns)
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	print := func(s *evidence.CountSlot) error {
		head := []string{s.Since.String(), s.Until.String(), strconv.FormatInt(s.Recorded, 10), strconv.FormatBool(s.Whole)}
		if len(s.Lines) == 0 {
			none := ""
			if s.Asked != nil {
				none = "0"
			}
			line := append(head, "", "")
			for range 9 {
				line = append(line, none)
			}
			return cmp.Or(err, out.Write(append(line, "", "")))
		}
		for i := range busiestOf(s, limit).Lines {
			l := &s.Lines[i]
			line := append(head[:4:4], render.CSVField(l.Key), render.CSVField(l.Label), n(l.Count), n(l.Attempts), n(l.Blocked), n(l.Unknown),
				n(l.Tiers.Telemetry), n(l.Tiers.Mixed), n(l.Tiers.Essential), n(l.Imported), n(l.Totals), l.First.String(), l.Last.String())
			if err = cmp.Or(err, out.Write(line)); err != nil {
				return err
			}
		}
		return nil
	}
	return slotPrinter{print, func() error {
		out.Flush()
		return cmp.Or(err, out.Error())
	}}
}
