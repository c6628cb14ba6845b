package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	"telltale/blocklists/catalog"
	"telltale/evidence"
	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

func (a *app) vendors(ctx context.Context, q web.VendorsQuery) (all []web.VendorLine, err error) {
	all = []web.VendorLine{}
	since, until, _, err := readPeriod(&q.Period, "7d")
	if err != nil {
		return all, err
	}
	known, err := a.catalog()
	if err != nil {
		return all, err
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		f := querylog.Filter{Since: since, Until: until}
		if err := l.choose(&f, false); err != nil {
			return err
		}
		lines, err := l.top(ctx, "vendors", f)
		if err != nil {
			return err
		}
		asked := map[string]*web.TopLine{}
		for i := range lines {
			asked[lines[i].Key] = &lines[i]
		}
		for _, n := range known.Vendors() {
			line := web.VendorLine{Count: n, Asked: asked[n.Vendor]}
			delete(asked, n.Vendor)
			if line.Asked != nil || !q.Asked {
				all = append(all, line)
			}
		}
		for i := range lines { // of lists of the person's own, and of earlier editions
			if of := asked[lines[i].Key]; of != nil {
				all = append(all, web.VendorLine{Count: catalog.Count{Vendor: of.Key}, Asked: of})
			}
		}
		sorting.By(all, func(x, y web.VendorLine) int {
			return cmp.Compare(strings.ToLower(x.Vendor), strings.ToLower(y.Vendor))
		})
		return nil
	})
	return all, err
}

func (a *app) vendor(ctx context.Context, vendor string, q web.PartQuery) (out web.Vendor, err error) {
	since, until, _, err := readPeriod(&q.Period, "7d")
	if err != nil {
		return out, err
	}
	known, err := a.catalog()
	if err != nil {
		return out, err
	}
	out.Vendor, out.Brands, out.Entries = vendor, append([]catalog.Brand{}, known.Brands(vendor)...), []web.CatalogEntry{}
	entries := known.Vendor(vendor)
	for i := range entries {
		out.Vendor = entries[i].Vendor
		out.Entries = append(out.Entries, catalogEntry(&entries[i]))
	}
	if k, ok := known.Company(vendor); ok {
		of := companyOf(known, k)
		out.Vendor, out.Company = k.Vendor, &of
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		if err := l.checkWho(ctx, web.Whose{Vendor: vendor}); err != nil {
			return err
		}
		f := querylog.Filter{Since: since, Until: until, Vendor: vendor}
		if err := l.choose(&f, false); err != nil {
			return err
		}
		lines, err := l.top(ctx, "vendors", f)
		if err != nil {
			return err
		}
		out.Asked = first(lines)
		if lines, err = l.top(ctx, "devices", f); err != nil {
			return err
		}
		out.Devices = busiest(lines, q.Limit)
		if lines, err = l.top(ctx, "names", f); err != nil {
			return err
		}
		out.Names = busiest(lines, q.Limit)
		return nil
	})
	return out, err
}

// first returns the first of some lines; nil for none.
func first(lines []web.TopLine) *web.TopLine {
	if len(lines) == 0 {
		return nil
	}
	return &lines[0]
}

func (a *app) nameStory(ctx context.Context, text string, q web.PartQuery) (out web.NameStory, err error) {
	since, until, zone, err := readPast(&q.Period, "30d")
	if err != nil {
		return out, err
	}
	name, err := parseName(text)
	if err != nil {
		return out, web.Invalid(err)
	}
	out.Name, out.Leads = name.String(), []web.Destination{}
	out.Entries = a.entriesOf(out.Name)
	if out.Today, _, err = a.explainAs(ctx, web.Question{Name: out.Name, Type: "A", Offline: true}, ""); err != nil {
		return out, err
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		f := querylog.Filter{Since: since, Until: until, Name: "." + out.Name}
		if err := l.choose(&f, false); err != nil {
			return err
		}
		lines, err := l.topDevices(ctx, f)
		if err != nil {
			return err
		}
		out.Devices = busiest(lines, q.Limit)
		if len(lines) > 0 {
			sum := web.TopLine{TopRow: querylog.TopRow{Key: out.Name, First: lines[0].First, Last: lines[0].Last}}
			for i := range lines {
				sum.Add(lines[i].TopRow)
			}
			sum.Label = ""
			out.Asked = &sum
		}
		times, err := l.times(ctx, f, zone)
		if err != nil {
			return err
		}
		out.Times = *times
		known, err := a.catalog()
		if err != nil {
			return err
		}
		leads, err := l.leadsOf(ctx, known, out.Name, len(lines) > 0)
		out.Leads = append(out.Leads, leads...)
		return err
	})
	return out, err
}

// times says when the rows that f chooses came.
func (l *openedLog) times(ctx context.Context, f querylog.Filter, zone *time.Location) (*evidence.Times, error) {
	c, err := l.Coverage(ctx, f.Since, f.Until)
	if err != nil {
		return nil, err
	}
	t := evidence.NewTimes(f.Since, f.Until, zone, &c)
	if l.caller.Limited {
		redactGaps(t.Coverage.Gaps)
	}
	for row, err := range l.Rows(ctx, f) {
		if err != nil {
			return nil, err
		}
		t.Add(&row)
	}
	return t, nil
}

// leadsOf returns where a name leads. That it leads anywhere says that somebody asks for it: a caller
// who may see some devices alone gets it where these have asked.
func (l *openedLog) leadsOf(ctx context.Context, known *catalog.Catalog, name string, asked bool) ([]web.Destination, error) {
	if l.caller.Limited && !asked {
		return nil, nil
	}
	leads, err := l.destinationLines(ctx, known, false)
	if err == nil {
		leads, _ = chooseDestinations(leads, known, name, "")
	}
	return leads, err
}

func (a *app) deviceStory(ctx context.Context, who string, q web.PartQuery) (out web.DeviceStory, err error) {
	since, until, _, err := readPeriod(&q.Period, "7d")
	if err != nil {
		return out, err
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		if today, ok := l.ids.device(who); l.caller.Limited && (!ok || !l.maySee(today)) {
			return errNotYours
		}
		if out.History, err = a.history(ctx, who); err != nil {
			return err
		}
		f := querylog.Filter{Since: since, Until: until, Device: out.Device.Device}
		if err := l.choose(&f, true); err != nil {
			return missing(err)
		}
		lines, err := l.topDevices(ctx, f)
		if err != nil {
			return err
		}
		out.Asked = first(lines)
		if lines, err = l.top(ctx, "vendors", f); err != nil {
			return err
		}
		out.Vendors = busiest(lines, q.Limit)
		if lines, err = l.top(ctx, "names", f); err != nil {
			return err
		}
		out.Names = busiest(lines, q.Limit)
		return nil
	})
	return out, err
}
