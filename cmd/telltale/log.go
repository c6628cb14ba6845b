package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/querylog"
)

// A selection is the flags that choose rows of the log.
type selection struct {
	since, until, device, vendor, name, verdict string
	limit                                       int
}

func (s *selection) add(c *cobra.Command, since string, limit int) {
	f := c.Flags()
	f.StringVar(&s.since, "since", since, "from then on: 2h, 7d, 15:04, 2006-01-02 or RFC 3339")
	f.StringVar(&s.until, "until", "", "until then")
	f.StringVar(&s.device, "device", "", "of one device: its name, identity, MAC or address")
	f.StringVar(&s.vendor, "vendor", "", "of one vendor")
	f.StringVar(&s.name, "name", "", "names that contain this; with * or ? a pattern of the whole name")
	f.StringVar(&s.verdict, "verdict", "", "pass, allow, block, observe or answer")
	f.IntVar(&s.limit, "limit", limit, "the newest so many; 0 for all")
	complete(c, "verdict", "pass", "allow", "block", "observe", "answer")
}

// filter makes the flags a filter, and checks them.
func (s *selection) filter(now time.Time) (f querylog.Filter, err error) {
	f = querylog.Filter{Device: s.device, Vendor: s.vendor, Name: strings.ToLower(strings.TrimSuffix(s.name, ".")), Verdict: s.verdict, Limit: s.limit}
	if f.Since, err = parseTime(s.since, now); err != nil {
		return f, usage("--since: %v", err)
	}
	if f.Until, err = parseTime(s.until, now); err != nil {
		return f, usage("--until: %v", err)
	}
	switch s.verdict {
	case "", "pass", "allow", "block", "observe", "answer":
	default:
		return f, usage("--verdict: %q is none of pass, allow, block, observe, answer", s.verdict)
	}
	if s.limit < 0 {
		return f, usage("--limit: %d is below 0", s.limit)
	}
	return f, nil
}

func (cl *cli) newLog() *cobra.Command {
	var s selection
	follow := false
	c := cl.addJSON(&cobra.Command{
		Use:   "log",
		Short: "Show who asked for what, which vendor's it is, and why it was blocked",
		Long: `Show the query log up to now, the newest row last. A row is the lookups of one
name by one device that were decided and answered alike within some seconds,
with their count. It works with the server stopped, too.

With --follow, each row is printed once when it is closed, and while it is open
once a second, marked open. With --json, a row is one JSON object on one line;
docs/querylog.md says what each field means.`,
		Example: `  telltale log
  telltale log --since 1d --vendor Xiaomi
  telltale log --device living-room-tv --verdict block --json
  telltale log --follow`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := s.filter(time.Now())
			if err != nil {
				return err
			}
			r, err := cl.openLog(c.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			print := cl.rowPrinter()
			if follow {
				return ignoreCancel(c.Context(), r.Follow(c.Context(), f, print))
			}
			n := 0
			for row, err := range r.Rows(c.Context(), f) {
				if err == nil {
					err = print(row)
				}
				if err != nil {
					return err
				}
				n++
			}
			if n == 0 && !cl.json {
				fmt.Fprintln(cl.err, "no rows: nobody asked yet, or the flags leave none")
			}
			return nil
		},
	})
	s.add(c, "", 100)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing as lookups come")
	return c
}

// openLog opens the log of the settings for reading, up to now: a running server
// is asked to write down what it has. One that does not answer is no obstacle.
func (cl *cli) openLog(ctx context.Context) (*querylog.Reader, error) {
	cfg, err := cl.load()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	newClient(cfg).post(ctx, "/log/flush", order{})
	return querylog.OpenReader(cfg.Data.Dir)
}

// rowPrinter prints rows for people, or as JSON.
func (cl *cli) rowPrinter() func(querylog.Row) error {
	if cl.json {
		enc := json.NewEncoder(cl.out)
		enc.SetEscapeHTML(false)
		return func(r querylog.Row) error { return enc.Encode(r) }
	}
	return func(r querylog.Row) error { return printRow(cl.out, &r) }
}

// printRow prints a row as one line: when, who, what was decided, what was asked
// and how often, whose it is, and the rule.
func printRow(w io.Writer, r *querylog.Row) error {
	who := r.DeviceName
	if who == "" {
		who = r.Client
	}
	name := r.Name
	if r.Folded {
		name = "(several names)"
	}
	line := fmt.Sprintf("%s  %-20s %-7s %-5s %s", r.Time.Local().Format("2006-01-02 15:04:05"), printable(who), r.Verdict, r.Type, printable(name))
	if r.Count > 1 {
		line += " ×" + strconv.FormatUint(r.Count, 10)
	}
	if r.Alias != "" {
		line += " → " + printable(r.Alias)
	}
	if about := about(r); about != "" {
		line += "  " + about
	}
	if r.Rule != "" {
		line += "  [" + printable(place(r.List, r.Line)+" "+r.Rule) + "]"
	}
	switch r.AnsweredFrom {
	case "error", "failure", "rebind", "shed":
		line += "  (" + r.AnsweredFrom + ")"
	}
	if r.Open {
		line += "  (open)"
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// about says whose a name is, and never more than the attribution's level does.
func about(r *querylog.Row) string {
	if r.Vendor == "" {
		return ""
	}
	if r.Attribution == "owner" {
		return "owner: " + printable(r.Vendor)
	}
	parts := []string{r.Vendor}
	for _, p := range []string{r.Product, r.Purpose, r.Tier} {
		if p != "" && p != parts[len(parts)-1] { // the word telemetry is a purpose and a tier
			parts = append(parts, p)
		}
	}
	text := strings.Join(parts, " · ")
	if r.Attribution == "list" {
		text += " (by list)"
	}
	return printable(text)
}

// place names a rule's line.
func place(list string, line int) string {
	if line == 0 {
		return list + ":"
	}
	return list + ":" + strconv.Itoa(line)
}

// printable keeps what others chose (names, rules) from controlling a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n': // between the lines of a rule that takes several
			return ' '
		case !strconv.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}
