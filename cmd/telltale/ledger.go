package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/evidence/experiment"
	"telltale/querylog"
)

func (cl *cli) newLedger() *cobra.Command {
	var p period
	kinds, pseudonymous := []string(nil), false
	c := cl.addJSON(&cobra.Command{
		Use:   "ledger",
		Short: "Show what bears on how far the log can be relied on: gaps, pauses, lists that failed",
		Long: `Show the quality ledger: starts and crashes, lookups that were lost or counted
without their names, clocks that jumped, lists that were reloaded, failed or are
held back, pauses, changed settings. docs/querylog.md explains each kind. It works
with the server stopped, too. With --pseudonyms an event is what happened and when,
and not to whom: lists, servers and devices are left out.`,
		Example: `  telltale ledger
  telltale ledger --last 7d --kind crash,lost,overload
  telltale ledger --json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, to, err := p.read(time.Now())
			if err != nil {
				return err
			}
			l, err := cl.openLog(c.Context())
			if err != nil {
				return err
			}
			defer l.Close()
			lines, err := l.ledgerLines(c.Context(), from, to, kinds)
			if err != nil {
				return err
			}
			var events []querylog.Event
			for i := range lines {
				events = append(events, lines[i].Event)
			}
			if pseudonymous {
				hide := newPseudonyms(l)
				for i := range events {
					events[i] = hide.event(&events[i])
				}
			}
			return cl.showEvents(events, p.zone)
		},
	})
	p.add(c, "")
	f := c.Flags()
	f.StringSliceVar(&kinds, "kind", nil, "of these kinds alone, such as crash,lost")
	f.BoolVar(&pseudonymous, "pseudonyms", false, "without what events were about")
	complete(c, "kind", querylog.Kinds...)
	return c
}

// ledgerLines returns the lines of some kinds, or of all, of a time.
func (l *openedLog) ledgerLines(ctx context.Context, from, to time.Time, kinds []string) ([]querylog.LedgerLine, error) {
	lines, err := l.own.LedgerLines(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkKinds(kinds, lines); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(lines, func(e querylog.LedgerLine) bool {
		return len(kinds) > 0 && !slices.Contains(kinds, e.Kind) ||
			!from.IsZero() && e.Time.Before(from) || !to.IsZero() && e.Time.After(to)
	}), nil
}

// checkKinds fails for a kind that is neither known nor in the ledger.
func checkKinds(kinds []string, events []querylog.LedgerLine) error {
	known := slices.Clone(querylog.Kinds)
	for i := range events {
		known = append(known, events[i].Kind)
	}
	known = sorted(known)
	for _, k := range kinds {
		if !slices.Contains(known, k) {
			return unknown("kind of event", k, known, "telltale ledger")
		}
	}
	return nil
}

func (cl *cli) showEvents(events []querylog.Event, zone *time.Location) error {
	if cl.json {
		enc := cl.encoder()
		for i := range events {
			if err := enc.Encode(&events[i]); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range events {
		if _, err := fmt.Fprintln(cl.out, ledgerText(&events[i], zone)); err != nil {
			return err
		}
	}
	if len(events) == 0 {
		fmt.Fprintln(cl.err, "no events: nothing happened in that time, or the flags leave none")
	}
	return nil
}

// ledgerText writes an event for the ledger: the lists that a start loaded are many,
// and take as many lines as they need.
func ledgerText(e *querylog.Event, zone *time.Location) string {
	text := eventText(e, zone)
	if e.Kind == "lists-loaded" {
		text = wrapped(text, 100, 36)
	}
	return text
}

// wrapped breaks a text behind commas, so that its lines have at most width columns, and
// indents each line but the first.
func wrapped(text string, width, indent int) string {
	var b strings.Builder
	column := 0
	for i, part := range strings.Split(text, ", ") {
		switch {
		case i == 0:
		case column+len(", ")+len(part)+len(",") > width:
			b.WriteString(",\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteString(", ")
			column += len(", ")
		}
		b.WriteString(part)
		column += len(part)
	}
	return b.String()
}

// eventText writes an event as one line: when, what, about what, and which time
// it speaks of, in a zone.
func eventText(e *querylog.Event, zone *time.Location) string {
	var parts []string
	for _, p := range []string{e.Subject, experiment.LineText(e)} {
		if p != "" {
			parts = append(parts, printable(p))
		}
	}
	text := fmt.Sprintf("%s  %-14s %s", whenIn(e.Time.Time, zone), e.Kind, strings.Join(parts, ": "))
	switch {
	case !e.Since.IsZero() && !e.Until.IsZero():
		text += fmt.Sprintf("  (from %s to %s)", whenIn(e.Since.Time, zone), whenIn(e.Until.Time, zone))
	case !e.Since.IsZero():
		text += fmt.Sprintf("  (since %s)", whenIn(e.Since.Time, zone))
	case !e.Until.IsZero():
		text += fmt.Sprintf("  (until %s)", whenIn(e.Until.Time, zone))
	}
	return strings.TrimRight(text, " ")
}
