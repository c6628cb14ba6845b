package main

import (
	"archive/zip"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"telltale/devices"
	"telltale/devices/corrections"
	"telltale/evidence/render"
	"telltale/querylog"
)

// An exportFile is a file that is made of the log of a period, of a device or of all.
type exportFile struct {
	period
	device, out string
	force       bool
}

// add adds the flags; last is the period if none is given, whose says which device, and
// name is what the file is called, before its date.
func (e *exportFile) add(cl *cli, c *cobra.Command, last, whose, name string) {
	e.period.add(c, last)
	f := c.Flags()
	f.StringVar(&e.device, "device", "", whose)
	f.StringVarP(&e.out, "output", "o", "", "the file, which must not exist (default: "+name+"-DATE.zip)")
	f.BoolVar(&e.force, "force", false, "replace the file if it exists")
	completeBy(c, "device", cl.deviceWords)
}

// An exportSource is what an exportFile is made of.
type exportSource struct {
	ctx          context.Context
	cl           *cli
	l            *openedLog
	since, until time.Time // since may be zero
	whose        querylog.Filter
}

// open reads the flags and opens the log, which the caller closes; name is as in add.
func (e *exportFile) open(ctx context.Context, cl *cli, now time.Time, name string) (s exportSource, err error) {
	s = exportSource{ctx: ctx, cl: cl, whose: querylog.Filter{Device: e.device}}
	if s.since, s.until, err = e.readPast(now); err != nil {
		return s, err
	}
	if e.out == "" {
		e.out = name + "-" + now.Format(time.DateOnly) + ".zip"
	}
	if err := checkNew(e.out, e.force); err != nil {
		return s, err
	}
	if s.l, err = cl.openLog(ctx); err != nil {
		return s, err
	}
	if err := s.l.choose(&s.whose, true); err != nil {
		s.l.Close()
		return s, err
	}
	return s, nil
}

// An export is what is copied of a device, and where to.
type export struct {
	exportFile
	pseudonyms bool
}

const exportName = "telltale-copy"

func (cl *cli) newExport() *cobra.Command {
	var e export
	c := &cobra.Command{
		Use:   "export --device DEVICE",
		Short: "Copy all that was recorded of one device into a file, for whose it is",
		Long: `Copy all that was recorded of one device into one file (.zip): each row of the log,
hourly totals of what is older, which addresses it had, what people said of it, and
a report to read. It is for the person whose device it is, and has nothing of other
devices. README.txt in it says what each file is.

--pseudonyms puts other words for the device, addresses and names of the home, the
same ones in all files, so that the copy can be handed on.`,
		Example: "  telltale export --device \"Anna's phone\"\n  telltale export --device tv --last 30d --pseudonyms -o tv.zip",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if e.device == "" {
				return usage("--device says whose data is copied")
			}
			return cl.export(c.Context(), &e)
		},
	}
	e.add(cl, c, "", "the device: its name, identity, MAC or address", exportName)
	c.Flags().BoolVar(&e.pseudonyms, "pseudonyms", false, "with other words for the device, addresses and names of the home")
	return c
}

func (cl *cli) export(ctx context.Context, e *export) error {
	source, err := e.open(ctx, cl, time.Now(), exportName)
	if err != nil {
		return err
	}
	defer source.l.Close()
	d := &deviceCopy{exportSource: source, zone: e.zone, device: e.device}
	if e.pseudonyms {
		d.hide = newPseudonyms(d.l)
	}
	if err := writeNew(e.out, e.force, d.write); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cl.err, "%s is written: %s. It says who asked for what; keep it private.\n", printable(e.out), number(uint64(d.rows), "row"))
	return err
}

// A deviceCopy is the copy of what was recorded of a device, in the making.
type deviceCopy struct {
	exportSource
	zone   *time.Location
	device string // as a person named it
	hide   *pseudonyms
	zip    *zip.Writer
	rows   int
}

// write writes the copy.
func (d *deviceCopy) write(w io.Writer) error {
	d.zip = zip.NewWriter(w)
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"README.txt", d.readme}, {"report.html", d.report}, {"log.csv", d.log}, {"totals.csv", d.totals}, {"addresses.csv", d.addresses}, {"corrections.csv", d.corrections},
	} {
		entry, err := d.zip.CreateHeader(&zip.FileHeader{Name: file.name, Method: zip.Deflate, Modified: d.until})
		if err == nil {
			err = file.write(entry)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file.name, err)
		}
	}
	return d.zip.Close()
}

const copyReadme = `What this Telltale server recorded of one device, %s.

report.html      a summary, to read in a browser
log.csv          each row of the query log: the lookups of one name that were
                 decided and answered alike within some seconds. The columns are
                 explained in docs/querylog.md
totals.csv       how many lookups there were in each hour, by vendor, product,
                 purpose, tier and what was decided. Totals are kept longer than
                 rows and have no names. They count the rows, too
addresses.csv    which addresses the device had when, and what that rests on
corrections.csv  what people said of the device: names, notes, which devices are one

Rows of names that no list has are deleted after a day unless the settings say
otherwise. What is deleted is not here. A row says that the device asked for a
name, and not that it connected, nor what it would have sent.
`

func (d *deviceCopy) readme(w io.Writer) error {
	period := "up to " + whenIn(d.until, d.zone)
	if !d.since.IsZero() {
		period = "from " + whenIn(d.since, d.zone) + " " + period
	}
	_, err := fmt.Fprintf(w, copyReadme, period+" ("+zoneName(d.zone, d.until)+")")
	return err
}

func (d *deviceCopy) report(w io.Writer) error {
	since := d.since
	if since.IsZero() {
		c, err := d.l.Coverage(d.ctx, d.since, d.until)
		if err != nil {
			return err
		}
		if since = c.Begin.Time; since.IsZero() || !c.Totals.IsZero() && c.Totals.Before(since) {
			since = c.Totals.Time
		}
	}
	if !since.Before(d.until) || since.IsZero() { // the log has nothing
		since = d.until.Add(-time.Hour)
	}
	made, err := d.l.makeReport(d.ctx, &reportOf{since: since, until: d.until, zone: d.zone, device: d.device, ignored: true, hide: d.hide})
	if err != nil {
		return err
	}
	return writeHTML(w, made)
}

func (d *deviceCopy) log(w io.Writer) (err error) {
	f := d.whose
	f.Since, f.Until = d.since, d.until
	d.rows, _, err = d.cl.copyRows(d.ctx, d.l, f, w, display{as: "csv", zone: d.zone, hide: d.hide})
	return err
}

// lines writes lines of CSV, the names of their columns first.
func (d *deviceCopy) lines(w io.Writer, heads []string, each func(put func(...string) error) error) error {
	out := csv.NewWriter(w)
	if err := out.Write(heads); err != nil {
		return err
	}
	err := each(func(line ...string) error {
		for i := range line {
			line[i] = render.CSVField(line[i])
		}
		return out.Write(line)
	})
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

func (d *deviceCopy) totals(w io.Writer) error {
	heads := []string{"hour", "device", "vendor", "product", "purpose", "tier", "verdict", "lookups", "attempts", "names", "first", "last"}
	return d.lines(w, heads, func(put func(...string) error) error {
		f := querylog.TotalsFilter{Since: d.since, Until: d.until}
		for _, s := range d.whose.Devices {
			f.Devices = append(f.Devices, s.Device)
		}
		if len(f.Devices) == 0 {
			return nil // totals have no addresses
		}
		n := func(v uint64) string { return strconv.FormatUint(v, 10) }
		for t, err := range d.l.Totals(d.ctx, f) {
			if err != nil {
				return err
			}
			if !querylog.AnyHas(d.whose.Devices, t.Device, t.First.Time) {
				continue
			}
			device := t.Device
			if d.hide != nil {
				device = d.hide.device(device, t.First.Time)
			}
			if err := put(t.Hour.String(), device, t.Vendor, t.Product, t.Purpose, t.Tier, t.Verdict, n(t.Lookups), n(t.Attempts), n(t.Names), t.First.String(), t.Last.String()); err != nil {
				return err
			}
		}
		return nil
	})
}

// isAnyOf reports whether a binding is of the device that a filter chooses, at any time
// of it.
func isAnyOf(whose querylog.Filter, b *devices.Binding) bool {
	return slices.ContainsFunc(whose.Devices, func(s querylog.DeviceSpan) bool {
		return s.Device == b.Device && (s.Until.IsZero() || b.From.Before(s.Until)) && (s.From.IsZero() || b.Until.IsZero() || b.Until.After(s.From))
	}) || whose.Device != "" && b.Addr.String() == whose.Device
}

func (d *deviceCopy) addresses(w io.Writer) error {
	return d.lines(w, []string{"from", "until", "device", "name", "covers", "mac", "rests_on", "confidence"}, func(put func(...string) error) error {
		bindings, err := d.l.Bindings(d.ctx)
		if err != nil {
			return err
		}
		for i := range bindings {
			b := &bindings[i]
			if !isAnyOf(d.whose, b) {
				continue
			}
			until, device, name, covers, mac := "", b.Device, b.Name, b.Covers(), b.MAC
			if !b.Until.IsZero() {
				until = querylog.Time{Time: b.Until}.String()
			}
			if d.hide != nil {
				device, covers, mac = d.hide.device(b.Device, b.From), d.hide.covers(covers), d.hide.of("mac", mac)
				name = device
			}
			if err := put(querylog.Time{Time: b.From}.String(), until, device, name, covers, mac, b.Source.String(), b.Confidence.String()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *deviceCopy) corrections(w io.Writer) error {
	return d.lines(w, []string{"time", "kind", "device", "name", "other", "from", "text"}, func(put func(...string) error) error {
		all, err := corrections.Read(correctionsPath(d.l.cfg))
		if err != nil {
			return err
		}
		today, ok := d.l.ids.device(d.device)
		if !ok || d.hide != nil { // people write names in them
			return nil
		}
		in := corrections.InForce(all)
		for i := range in {
			c := &in[i]
			if !d.l.ids.view.About(c, today) && corrections.SplitDevice(c.ID) != today {
				continue
			}
			from := ""
			if !c.From.IsZero() {
				from = querylog.Time{Time: c.From}.String()
			}
			if err := put(querylog.Time{Time: c.Time}.String(), string(c.Kind), c.Device, c.Name, c.Other, from, c.Text); err != nil {
				return err
			}
		}
		return nil
	})
}
