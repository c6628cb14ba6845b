package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/blocklists/catalog"
	"telltale/config"
	"telltale/devices/corrections"
	"telltale/fleet"
	"telltale/querylog"
	"telltale/web"
)

// A selection is the flags that choose rows of the log.
type selection struct {
	period
	device, vendor, name, verdict string
	limit                         int
	after                         int64
	ignored                       bool
}

func (s *selection) add(cl *cli, c *cobra.Command, since string) {
	s.period.add(c, since)
	s.addWhich(cl, c)
	c.Flags().IntVar(&s.limit, "limit", 0, "the newest so many; 0 for all")
}

// addWhich adds the flags that say whose rows are meant, and of what.
func (s *selection) addWhich(cl *cli, c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.device, "device", "", "of one device: its name, identity, MAC or address")
	f.StringVar(&s.vendor, "vendor", "", "of one vendor")
	f.StringVar(&s.name, "name", "", "names that contain this; with * or ? a pattern of the whole name; .NAME with those below it; =NAME it alone")
	f.StringVar(&s.verdict, "verdict", "", "pass, allow, block, observe, answer, or unknown (of imported lookups)")
	f.BoolVar(&s.ignored, "ignored", false, "also of devices that are ignored ('telltale devices ignore')")
	complete(c, "verdict", "pass", "allow", "block", "observe", "answer", "unknown")
	completeBy(c, "device", cl.deviceWords)
	completeBy(c, "vendor", cl.vendorWords)
}

// filter makes the flags a filter, and checks them.
func (s *selection) filter(now time.Time) (f querylog.Filter, err error) {
	f = querylog.Filter{Device: s.device, Vendor: s.vendor, Verdict: s.verdict, After: s.after, Limit: s.limit}
	if f.Since, f.Until, err = s.read(now); err != nil {
		return f, err
	}
	if f.Name, err = parseNamePart(s.name); err != nil {
		return f, usage("--name: %v", err)
	}
	switch s.verdict {
	case "", "pass", "allow", "block", "observe", "answer", "unknown":
	default:
		return f, usage("--verdict: %q is none of pass, allow, block, observe, answer, unknown", s.verdict)
	}
	if s.after < 0 {
		return f, usage("--after: %d is no id of a row", s.after)
	}
	if s.limit < 0 {
		return f, usage("--limit: %d is below 0", s.limit)
	}
	return f, nil
}

// logFlags say which rows are shown, in which form, and where they go.
type logFlags struct {
	selection
	display
	format, out string
	follow      bool
	force       bool
	pseudonyms  bool
}

// logFormats are the forms of rows, in the order in which they are shown.
var logFormats = []string{"table", "json", "csv"}

func (cl *cli) newLog() *cobra.Command {
	var s logFlags
	c := cl.addJSON(&cobra.Command{
		Use:   "log",
		Short: "Show who asked for what, which vendor's it is, and why it was blocked",
		Long: `Show the query log up to now, the newest row last. A row is the lookups of one
name by one device that were decided and answered alike within some seconds,
with their count. It works with the server stopped, too.

On a terminal it is the newest 100 rows, unless --since or --limit says
otherwise; with --json, or in a pipe, all. A device is all that it was known by:
its name, the names it had before, and its MAC.

Times are said as people do: 24h and 7d before now, yesterday, "mon 18:00" for the
last one, 20:10 for the last time a clock showed it, a date, or RFC 3339; in the
machine's zone, or that of --tz. A day begins at midnight and has 23 to 25 hours.

With --follow, each row is printed once when it is closed, and while it is open
once a second, marked open; it begins with the newest 100. Rows that are imported
meanwhile come where they are of the last ten minutes, as those of watch-capture
are. With --all-nodes, too, nodes of a fleet hand their rows on as they come, and
which node is away is said beside. With --json, a row is
one JSON object on one line; docs/querylog.md says what each field means. Columns
of --format csv are called as these; text that a spreadsheet would take for a
formula has an apostrophe in front.

With -o, rows go to a file, however many there are; the form goes by its ending,
csv or json. It is put in place whole when all rows are in it. Rows that are still
open are left out, so that the next file, with --after and the number that is
printed at the end, goes on where this one ended.

With --pseudonyms, devices, addresses and names of the home are device-1, host-1
and so on, the same ones in all of what is printed, and others the next time.`,
		Example: `  telltale log
  telltale log --since yesterday --vendor Xiaomi
  telltale log --since "mon 18:00" --until "mon 20:00" --tz Europe/Berlin
  telltale log --device living-room-tv --verdict block --json
  telltale log --follow
  telltale log -o all.csv
  telltale log --last 30d --pseudonyms -o for-a-study.csv`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := s.filter(time.Now())
			if err == nil {
				err = s.check(&cl.json)
			}
			if err != nil {
				return err
			}
			chosen := c.Flags().Changed("limit") || f.After > 0 || f.Since != (time.Time{})
			if s.follow && cl.allNodes {
				return cl.followNodes(c.Context(), &s, f, chosen)
			}
			l, err := cl.openLog(c.Context())
			if err != nil {
				return err
			}
			defer l.Close()
			if err := l.choose(&f, s.ignored); err != nil {
				return err
			}
			if s.pseudonyms {
				s.hide = newPseudonyms(l)
			}
			s.display.zone = s.period.zone
			switch {
			case s.out != "":
				return cl.exportRows(c.Context(), l, f, &s)
			case s.follow:
				if err := l.checkVendor(c.Context(), f.Vendor); err != nil {
					return err
				}
				if !chosen {
					f.Limit = 100
				}
				p := newRowPrinter(cl.out, l.ids, s.display)
				return ignoreCancel(c.Context(), l.own.Follow(c.Context(), f, func(r querylog.Row) error { return errors.Join(p.print(&r), p.flush()) }))
			case !chosen && s.as == "table" && isTerminal(cl.out):
				return cl.showNewest(c.Context(), l, f, s.display, 100)
			}
			return cl.showRows(c.Context(), l, f, s.display)
		},
	})
	s.add(cl, c, "")
	fl := c.Flags()
	fl.BoolVarP(&s.follow, "follow", "f", false, "go on printing as lookups come")
	fl.BoolVar(&s.upstreams, "answered-by", false, "say which upstream gave an answer")
	fl.Int64Var(&s.after, "after", 0, "rows behind the one with this id")
	fl.StringVar(&s.format, "format", "", "table, json or csv (default: by the ending of the file, else table)")
	fl.StringVarP(&s.out, "output", "o", "", "write rows to this file, which must not exist")
	fl.BoolVar(&s.force, "force", false, "replace the file if it exists")
	fl.BoolVar(&s.pseudonyms, "pseudonyms", false, "with other words for devices, addresses and names of the home")
	complete(c, "format", logFormats...)
	cl.addAllNodes(c)
	return c
}

// check completes the flags, and says which do not go together. json is whether --json
// is given, and then whether rows are JSON.
func (s *logFlags) check(json *bool) error {
	if s.follow && s.out != "" {
		return usage("--follow has no end, and -o writes a file when all is in it: leave out one of them")
	}
	ending := strings.TrimPrefix(strings.ToLower(filepath.Ext(s.out)), ".")
	switch {
	case *json && s.format != "" && s.format != "json":
		return usage("--json is another way to write --format json: give one of them")
	case *json:
		s.as = "json"
	case s.format != "":
		s.as = s.format
	case ending == "csv" || ending == "json":
		s.as = ending
	case ending == "jsonl" || ending == "ndjson":
		s.as = "json"
	default:
		s.as = "table"
	}
	if !slices.Contains(logFormats, s.as) {
		return usage("--format: %q is none of %s", printable(s.format), strings.Join(logFormats, ", "))
	}
	*json = s.as == "json"
	return nil
}

// exportRows writes all closed rows that f chooses to a file, with nothing under its
// name until all are in it.
func (cl *cli) exportRows(ctx context.Context, l *openedLog, f querylog.Filter, s *logFlags) error {
	if err := checkNew(s.out, s.force); err != nil {
		return err
	}
	if err := l.checkVendor(ctx, f.Vendor); err != nil {
		return err
	}
	n, last := 0, int64(0)
	err := writeNew(s.out, s.force, func(w io.Writer) (err error) {
		n, last, err = cl.copyRows(ctx, l, f, w, s.display)
		return err
	})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s is written: %s", printable(s.out), number(uint64(n), "row"))
	if n > 0 {
		text += fmt.Sprintf("; --after %d goes on behind the last one", last)
	}
	_, err = fmt.Fprintln(cl.err, text)
	return err
}

// copyRows writes the closed rows that f chooses, and returns how many and the last
// one's ID. A person sees how far it is.
func (cl *cli) copyRows(ctx context.Context, l *openedLog, f querylog.Filter, w io.Writer, as display) (n int, last int64, err error) {
	buffered := bufio.NewWriterSize(w, 1<<16)
	p := newRowPrinter(buffered, l.ids, as)
	bar := cl.newProgress("Writing rows")
	defer bar.end()
	var first time.Time
	end := time.Now()
	if !f.Until.IsZero() && f.Until.Before(end) {
		end = f.Until
	}
	for row, err := range l.Rows(ctx, f) {
		if err == nil && !row.Open {
			err = p.print(&row)
			n, last = n+1, row.ID
		}
		if err != nil {
			return n, last, err
		}
		if first.IsZero() {
			first = row.Time.Time
		}
		if n%1000 == 0 {
			bar.show(float64(row.Time.Sub(first))/float64(max(end.Sub(first), 1)), number(uint64(n), "row"))
		}
	}
	return n, last, errors.Join(p.flush(), buffered.Flush())
}

// showRows prints all rows that f chooses.
func (cl *cli) showRows(ctx context.Context, l *openedLog, f querylog.Filter, as display) error {
	p, n := newRowPrinter(cl.out, l.ids, as), 0
	for row, err := range l.Rows(ctx, f) {
		if err == nil {
			err = p.print(&row)
		}
		if err != nil {
			return err
		}
		n++
	}
	if err := p.flush(); err != nil || n > 0 {
		return err
	}
	if err := l.checkVendor(ctx, f.Vendor); err != nil {
		return err
	}
	if as.as == "table" {
		fmt.Fprintln(cl.err, "no rows: nobody asked yet, or the flags leave none")
	}
	return nil
}

// showNewest prints the newest n rows that f chooses, and says when there are more.
func (cl *cli) showNewest(ctx context.Context, l *openedLog, f querylog.Filter, as display, n int) error {
	f.Limit = n + 1
	var rows []querylog.Row
	for row, err := range l.Rows(ctx, f) {
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if len(rows) <= n {
		f.Limit = n
		return cl.showRows(ctx, l, f, as)
	}
	p := newRowPrinter(cl.out, l.ids, as)
	for _, row := range rows[len(rows)-n:] {
		if err := p.print(&row); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(cl.err, "these are the newest %d rows; there are older ones: --since 1d, or --limit 0 for all\n", n)
	return err
}

// isTerminal reports whether a person sees w as it is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}

// An openedLog is the log of the settings, and who is in it.
type openedLog struct {
	fleet.Reader
	own    *querylog.Reader // the same where it is in a directory; nil where a merged log is in ClickHouse
	done   func()           // gives back what the reader holds, where own is nil
	cfg    *config.Config
	ids    *identities
	caller web.Caller // may see some devices alone, by the API

	known func() (*catalog.Catalog, error) // the shipped lists in force; nil: they are read from files
}

// Close ends the reader.
func (l *openedLog) Close() error {
	if l.own != nil {
		return l.own.Close()
	}
	if l.done != nil {
		l.done()
	}
	return nil
}

// catalog returns the shipped lists in force.
func (l *openedLog) catalog() (*catalog.Catalog, error) {
	if l.known != nil {
		return l.known()
	}
	edition, _ := editionInForce(l.cfg) // doctor says why it is not the fetched one
	return edition.Load()
}

// openLog opens the log of the settings for reading, up to now: a running server
// is asked to write down what it has. One that does not answer is no obstacle.
func (cl *cli) openLog(ctx context.Context) (*openedLog, error) {
	l, err := cl.openMoment(ctx)
	if err != nil || l.own == nil {
		return l, err
	}
	l.Close()
	if l.own, err = querylog.OpenReader(cl.logDir(l.cfg)); err != nil {
		return nil, err
	}
	l.Reader = l.own
	return l, nil
}

// addAllNodes adds the flag of commands that read the merged log of a fleet as well.
func (cl *cli) addAllNodes(c *cobra.Command) {
	c.Flags().BoolVar(&cl.allNodes, "all-nodes", false, "read the log of all nodes of the fleet, on the machine that is its center")
}

// mergedLogDir is where a center's log is, where that is SQLite.
func mergedLogDir(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "log") }

// logDir returns the directory of the log that is read.
func (cl *cli) logDir(cfg *config.Config) string {
	if cl.allNodes {
		return mergedLogDir(cfg)
	}
	return cfg.Data.Dir
}

// openMoment opens the log as openLog does, for all to be answered from one moment and one
// opening of its files.
func (cl *cli) openMoment(ctx context.Context) (*openedLog, error) {
	cfg, err := cl.load()
	if err != nil {
		return nil, err
	}
	if cl.allNodes && cfg.Center.Store != "" {
		return openElsewhere(ctx, cfg)
	}
	if !cl.allNodes {
		asked, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		newClient(cfg).do(asked, http.MethodPost, "/log/flush", nil, nil)
	}
	r, err := querylog.OpenReader(cl.logDir(cfg))
	switch {
	case errors.Is(err, fs.ErrNotExist) && cl.allNodes:
		return nil, fmt.Errorf("%w: no center has kept a log there: run this on the machine of 'telltale center'", err)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: no server has kept a log there; --config or --data-dir say where another one is", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: the log is another user's; run this as root, or as that user", err)
	case err != nil:
		return nil, err
	}
	if r, err = r.AtOnce(ctx); err != nil {
		return nil, err
	}
	return openedOf(ctx, &openedLog{Reader: r, own: r, cfg: cfg})
}

// openedOf says who is in a log. Where that fails, it is closed.
func openedOf(ctx context.Context, l *openedLog) (*openedLog, error) {
	bindings, err := l.Bindings(ctx)
	if err == nil {
		var corrected []corrections.Correction
		corrected, err = corrections.Read(correctionsPath(l.cfg))
		l.ids = newIdentities(l.cfg, bindings, corrected)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// choose gives f all that the device was which it names; where it names none, it
// leaves ignored devices out, unless they are wanted. A caller who may see some devices alone gets
// no other.
func (l *openedLog) choose(f *querylog.Filter, ignored bool) (err error) {
	if l.caller.Limited {
		return l.chooseAllowed(f)
	}
	if f.Device == "" {
		if !ignored {
			f.Without = l.ids.ignored()
		}
		return nil
	}
	f.Devices, err = l.ids.find(f.Device)
	if _, none := netip.ParseAddr(f.Device); none != nil && len(f.Devices) > 0 {
		f.Device = "" // its words may be of rows that are another device's by now
	}
	return err
}

// checkVendor fails where nobody knows a vendor: neither the shipped lists nor a
// row of the log.
func (l *openedLog) checkVendor(ctx context.Context, vendor string) error {
	if vendor == "" {
		return nil
	}
	shipped, err := l.catalog()
	if err != nil {
		return err
	}
	known := vendorsOf(shipped)
	is := func(k string) bool { return strings.EqualFold(k, vendor) }
	if slices.ContainsFunc(known, is) { // the log need not be looked through
		return nil
	}
	var whose querylog.Filter
	if err := l.choose(&whose, true); err != nil {
		return err
	}
	one := whose
	one.Vendor = vendor
	if rows, _, err := l.Page(ctx, one, 1, false); err == nil && len(rows) > 0 && (rows[0].Attribution == "rule" || rows[0].Attribution == "list") {
		return nil // the busiest of all need not be counted
	}
	seen, err := l.Top(ctx, "vendors", whose, 0)
	if err != nil {
		return err
	}
	for i := range seen {
		known = append(known, seen[i].Key)
	}
	if slices.ContainsFunc(known, is) {
		return nil
	}
	return unknown("vendor", vendor, known, "telltale catalog")
}

// A display is how rows are printed.
type display struct {
	as        string         // a word of logFormats
	zone      *time.Location // of times for people
	upstreams bool           // with the upstream that answered
	hide      *pseudonyms    // nil: everything is called as it is
}

// A rowPrinter prints rows. flush is to be called behind the last.
type rowPrinter struct {
	print func(*querylog.Row) error
	flush func() error
}

func newRowPrinter(w io.Writer, ids *identities, as display) rowPrinter {
	p := rowPrinter{flush: func() error { return nil }}
	var show func(*web.Row) error
	switch as.as {
	case "json":
		enc := jsonEncoder(w)
		show = func(r *web.Row) error { return enc.Encode(r) }
	case "csv":
		show, p.flush = rowsCSV(w)
	default:
		show = func(r *web.Row) error {
			who := cmp.Or(r.DeviceName, r.Client)
			if r.Corrected != nil {
				who = r.Corrected.Name
			}
			return printRow(w, who, &r.Row, as)
		}
	}
	p.print = func(r *querylog.Row) error {
		if as.hide != nil {
			hidden := as.hide.row(r)
			return show(&web.Row{Row: hidden})
		}
		return show(rowOf(r, ids))
	}
	return p
}

// rowOf returns a row as the API and --json have it.
func rowOf(r *querylog.Row, ids *identities) *web.Row {
	return &web.Row{Row: *r, Corrected: ids.corrected(r)}
}

// printRow prints a row as one line: when, who, what was decided, what was asked
// and how often, whose it is, and the rule.
func printRow(w io.Writer, who string, r *querylog.Row, as display) error {
	name := r.Name
	if r.Folded {
		name = "(several names)"
	}
	line := fmt.Sprintf("%s  %-20s %-7s %-5s %s", r.Time.In(as.zone).Format("2006-01-02 15:04:05"), printable(who), printable(r.Verdict), printable(r.Type), printable(name))
	if r.Count > 1 {
		line += " ×" + strconv.FormatUint(r.Count, 10)
		if r.Attempts > 1 {
			line += fmt.Sprintf(" (%d attempts)", r.Attempts)
		}
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
	if r.ObservedBy != "" {
		line += "  (observed: " + printable(r.ObservedBy) + ")"
	}
	switch r.AnsweredFrom {
	case "error", "failure", "rebind", "shed":
		line += "  (" + printable(r.AnsweredFrom) + ")"
	}
	if as.upstreams && r.Upstream != "" {
		line += "  (by " + printable(r.Upstream) + ")"
	}
	if r.Imported != "" {
		line += "  (imported: " + printable(r.Imported) + ")"
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
