package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/atomicfile"
	"telltale/devices/corrections"
	"telltale/evidence"
	"telltale/evidence/render"
	"telltale/querylog"
	"telltale/sorting"
)

// reportFormats are what writes a report, by the word of --format.
var reportFormats = map[string]func(io.Writer, *evidence.Report) error{
	"text": render.Text,
	"html": writeHTML,
	"md":   writeMarkdown,
	"csv":  writeCSV,
	"json": func(w io.Writer, r *evidence.Report) error { return render.JSON(&jsonWriter{out: w}, r) },
}

// writeHTML writes a report as a page.
func writeHTML(w io.Writer, r *evidence.Report) error {
	if small {
		return errAbsent("reports as HTML")
	}
	return render.HTML(w, r)
}

// writeMarkdown writes a report as text of Markdown.
func writeMarkdown(w io.Writer, r *evidence.Report) error {
	if small {
		return errAbsent("reports as Markdown")
	}
	return render.Markdown(w, r)
}

// writeCSV writes a report as lines of CSV.
func writeCSV(w io.Writer, r *evidence.Report) error {
	if small {
		return errAbsent("reports as CSV")
	}
	return render.CSV(w, r)
}

// formatWords are in the order in which they are shown.
var formatWords = []string{"text", "html", "json", "csv", "md"}

// reportFlags say what a report is about, and in which form.
type reportFlags struct {
	period
	device, vendor, compare string
	format, out             string
	all, force, ignored     bool
	pseudonyms, rhythm      bool
}

func (cl *cli) newReport() *cobra.Command {
	var r reportFlags
	c := cl.addJSON(&cobra.Command{
		Use:   "report [DEVICE]",
		Short: "Say which devices asked for which vendors' names, how often, and who says what these are for",
		Long: `Say what the log shows of a period, the last 7 days unless --since says otherwise:
of one device, of one vendor (--vendor), or of all devices (--all, or nothing).

A report opens with how much of the period was recorded. It has the vendors whose
listed names were asked for, with products, purposes, names, and who lists them as
what; how often, how many of that was blocked, at night, by day and by hour of the
week; how that compares with the period before, and which names are new and which
were not seen again; how surely the device is known; what else happened; and what
DNS can show and what it cannot. Of one device it also has the rhythm of each name
('telltale rhythm'). It never says that a name was not asked for where
the record has a gap.

Attempts lead where they were counted: the lookups of one name by one device that
belong together. Rates are per hour recorded.

--format html is one page that needs no network, to read or to print; json is
described by docs/report.schema.json; csv has a line for each name; md is for
wikis. With -o the form goes by the file's ending (.txt, .html, .json, .csv, .md); one
that no report is written as is refused. --pseudonyms puts device-1, address-1 and so
on for devices, addresses and names of the home.

A period of more than 100 days, and one whose rows are deleted, is read from hourly
totals: they have no names, and the report says so.`,
		Example: `  telltale report
  telltale report living-room-tv --last 24h
  telltale report phone --since "tue 09:00"
  telltale report --vendor Xiaomi --last 30d
  telltale report --all -o week.html`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("one device is expected at most; --all is all devices")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				r.device = args[0]
			}
			return cl.report(c.Context(), &r)
		},
	})
	cl.completeDevices(c)
	r.period.add(c, "7d")
	f := c.Flags()
	f.BoolVar(&r.all, "all", false, "of all devices, which it is of where no device is given")
	f.StringVar(&r.vendor, "vendor", "", "of one vendor")
	f.StringVar(&r.compare, "compare", "before", "with the period of the same length before: before; or with none")
	f.StringVar(&r.format, "format", "", "text, html, json, csv or md (default: by the ending of the file, else text)")
	f.StringVarP(&r.out, "output", "o", "", "write it to this file, which must not exist")
	f.BoolVar(&r.force, "force", false, "replace the file if it exists")
	f.BoolVar(&r.ignored, "ignored", false, "with ignored devices")
	f.BoolVar(&r.pseudonyms, "pseudonyms", false, "with other words for devices, addresses and names of the home")
	f.BoolVar(&r.rhythm, "rhythm", false, "say by which rhythm names are asked for; a report of one device and of 8 days at most does so anyway")
	complete(c, "compare", "before", "none")
	complete(c, "format", formatWords...)
	completeBy(c, "vendor", cl.vendorWords)
	cl.addAllNodes(c)
	return c
}

// check completes the flags, and says which do not go together.
func (r *reportFlags) check(json bool) error {
	if r.all && r.device != "" {
		return usage("--all is a report of all devices: leave out %q, or --all", printable(r.device))
	}
	if r.compare != "before" && r.compare != "none" {
		return usage("--compare: %q is none of before, none", printable(r.compare))
	}
	if json {
		if r.format != "" && r.format != "json" {
			return usage("--json is another way to write --format json: give one of them")
		}
		r.format = "json"
	}
	if r.format == "" {
		var ok bool
		if r.format, ok = formatOf(r.out); !ok {
			return usage("-o: no report is written as %s: name the file .txt, .html, .json, .csv or .md, or say --format (a page of --format html can be printed as PDF)", printable(filepath.Ext(r.out)))
		}
	}
	if reportFormats[r.format] == nil {
		return usage("--format: %q is none of %s", printable(r.format), strings.Join(formatWords, ", "))
	}
	return nil
}

// formatOf returns the form that a file's ending stands for, text for none; false where no
// report is written so.
func formatOf(path string) (format string, ok bool) {
	ending := strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
	switch ending {
	case "", "txt":
		return "text", true
	case "htm":
		return "html", true
	case "markdown":
		return "md", true
	}
	return ending, reportFormats[ending] != nil
}

func (cl *cli) report(ctx context.Context, r *reportFlags) error {
	if err := r.check(cl.json); err != nil {
		return err
	}
	now := time.Now()
	since, until, err := r.readPast(now)
	if err != nil {
		return err
	}
	if r.out != "" {
		if err := checkNew(r.out, r.force); err != nil {
			return err
		}
	}
	l, err := cl.openLog(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	of := &reportOf{since: since, until: until, zone: r.zone, device: r.device, vendor: r.vendor, ignored: r.ignored, compare: r.compare == "before"}
	if r.pseudonyms {
		of.hide = newPseudonyms(l)
	}
	made, err := l.wholeReport(ctx, of, r.rhythm)
	if err != nil {
		return err
	}
	write := func(w io.Writer) error { return reportFormats[r.format](w, made) }
	if r.out == "" {
		return write(cl.out)
	}
	if err := writeNew(r.out, r.force, write); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cl.err, "%s is written: %s recorded\n", printable(r.out), printable(made.Coverage.Text))
	return err
}

// rhythmAnyway is how long the period of a device's report is at most that has rhythms
// without being told: they are read from rows, and not from sums.
const rhythmAnyway = 8 * 24 * time.Hour

// A reportOf says what a report is about.
type reportOf struct {
	since, until   time.Time
	zone           *time.Location
	device, vendor string
	ignored        bool
	compare        bool
	hide           *pseudonyms // nil: everything is called as it is
}

// wholeReport makes a report with rhythms, where they are wanted or it has them anyway. It fails
// for a vendor that nobody knows.
func (l *openedLog) wholeReport(ctx context.Context, r *reportOf, rhythm bool) (*evidence.Report, error) {
	made, err := l.makeReport(ctx, r)
	if err != nil {
		return nil, err
	}
	if l.caller.Limited {
		redactGaps(made.Coverage.Gaps)
	}
	if rhythm || r.device != "" && r.until.Sub(r.since) <= rhythmAnyway {
		if made.Rhythm, err = l.rhythms(ctx, r, false); err != nil {
			return nil, err
		}
	}
	if len(made.Vendors) == 0 && len(made.Owners) == 0 {
		err = l.checkVendor(ctx, r.vendor)
	}
	return made, err
}

// makeReport makes a report of the log.
func (l *openedLog) makeReport(ctx context.Context, r *reportOf) (*evidence.Report, error) {
	o := evidence.Options{
		Since: r.since, Until: r.until, Zone: r.zone, ZoneName: zoneName(r.zone, r.until), Vendor: r.vendor, Compare: r.compare, Now: time.Now(),
		Program: "telltale " + buildVersion() + ", catalogue " + l.edition(), Today: l.ids.now, Changes: l.ids.view.Splits(), Name: l.ids.called, Notes: l.notes(r.device),
	}
	o.Discovered = l.ids.discovered()
	if err := l.whose(&o, r.device, r.ignored); err != nil {
		return nil, err
	}
	if r.hide != nil {
		r.hide.options(&o)
	}
	made, err := evidence.Make(ctx, l.Reader, o)
	if err != nil {
		return nil, err
	}
	if err := l.addDestinations(ctx, made); err != nil {
		return nil, err
	}
	if r.hide != nil {
		r.hide.report(made)
	}
	return made, nil
}

// whose makes a report one of a device, or of all but those that are ignored.
func (l *openedLog) whose(o *evidence.Options, device string, ignored bool) error {
	o.Whose = querylog.Filter{Device: device}
	if err := l.choose(&o.Whose, ignored); err != nil {
		return err
	}
	if device != "" {
		o.Device = device
		if today, ok := l.ids.device(device); ok {
			o.Device = today
		}
	}
	return nil
}

// called returns what a device of today is called; a bare address is enough for one
// that has no name.
func (ids *identities) called(device string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ids.name(device), "addr:"), "mac:")
}

// edition names the shipped lists in force.
func (l *openedLog) edition() string {
	edition, _ := editionInForce(l.cfg) // doctor says why it is not the fetched one
	return edition.Name()
}

// notes are what people noted of a device and of the household, or of all. Those of the household
// are not for a caller who may see some devices alone.
func (l *openedLog) notes(device string) (all []evidence.Marker) {
	only, _ := l.ids.device(device)
	add := func(notes []corrections.Correction, of string) {
		for i := range notes {
			all = append(all, evidence.Marker{Time: querylog.Time{Time: notes[i].When()}, Kind: string(corrections.Note), Text: "noted" + of + ": " + notes[i].Text})
		}
	}
	if !l.caller.Limited {
		add(l.ids.view.Notes(""), "")
	}
	for today := range l.ids.of {
		if device == "" || today == only {
			add(l.ids.view.Notes(today), " of "+l.ids.called(today))
		}
	}
	sorting.By(all, func(a, b evidence.Marker) int {
		return cmp.Or(a.Time.Compare(b.Time.Time), cmp.Compare(a.Text, b.Text))
	})
	return all
}

// checkNew fails where a file exists that is not to be replaced, or its directory
// does not.
func checkNew(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return fmt.Errorf("writing %s: %w", printable(path), err)
		}
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file that could be replaced: give another name", printable(path))
	case !force:
		return fmt.Errorf("%s exists: give another name, or --force to replace it", printable(path))
	}
	return nil
}

// writeNew writes a file whole or not at all. Only its user may read it: it says what
// a household does.
func writeNew(path string, force bool, write func(io.Writer) error) error {
	f, err := atomicfile.Create(filepath.Dir(path))
	if err == nil {
		if err = errors.Join(write(f), checkNew(path, force)); err != nil { // it may have come meanwhile
			atomicfile.Discard(f)
		} else {
			err = atomicfile.Commit(f, path)
		}
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", printable(path), err)
	}
	return nil
}
