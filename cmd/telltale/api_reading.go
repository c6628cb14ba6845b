package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"telltale/blocklists/catalog"
	"telltale/evidence"
	"telltale/evidence/candidate"
	"telltale/evidence/experiment"
	"telltale/evidence/rhythm"
	"telltale/querylog"
	"telltale/web"
)

// What the API answers from the log. The functions on openedLog are those that the commands use.

func (a *app) apiReading() web.Reading {
	return web.Reading{
		Log: a.logPage, LogRow: a.logRow, FollowLog: a.followLog, Overview: a.overview, Report: a.report, Coverage: a.coverage, Top: a.top, TopSlots: a.topSlots,
		Vendors: a.vendors, Vendor: a.vendor, Name: a.nameStory, Device: a.deviceStory, Catalog: a.searchCatalog,
		Ledger: a.ledgerPage, Rhythm: a.rhythm, Destinations: a.destinations, Candidates: a.candidates,
		Experiments: a.experimentList, Experiment: a.experiment, ExperimentReport: a.experimentReport, Templates: experimentTemplates,
		Observe: a.observe, Propose: a.propose, Alerts: a.toldAlerts, Checkpoints: a.checkpoints, ExportEvidence: a.exportEvidence, BundleFile: a.bundleFile,
	}
}

const (
	mostReads = 4                // answers that read the log at once
	ownReads  = 2                // of these, for one account or token
	readWait  = 10 * time.Second // for one of these to end
	readTime  = time.Minute      // that an answer may take
)

// readsOf returns what each answer to a caller that reads the log holds beside a.reads.
func (a *app) readsOf(by web.Caller) chan struct{} {
	if by.IsSocket() {
		return make(chan struct{}, 1) // as many as there are
	}
	own, ok := a.owned.Load(by.Name)
	if !ok {
		own, _ = a.owned.LoadOrStore(by.Name, make(chan struct{}, ownReads)) // only an administrator makes names
	}
	return own.(chan struct{})
}

// readLog lets an answer be read from the log: few at once, in a bounded time. Errors that do not
// say themselves what they mean are of the log, which cannot be read now.
func (a *app) readLog(ctx context.Context, answer func(context.Context, *openedLog) error) error {
	wait := time.NewTimer(readWait)
	defer wait.Stop()
	for _, places := range []chan struct{}{a.readsOf(web.CallerOf(ctx)), a.reads} {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		case <-ctx.Done():
			return web.Unavailable(ctx.Err())
		case <-wait.C:
			return web.Unavailable(fmt.Errorf("the log is being read for %d other requests, and none ended in %d seconds: try again", cap(places), int(readWait.Seconds())))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	l, err := a.openLog(ctx, a.cfg.Load())
	if err == nil {
		l.caller, l.known = web.CallerOf(ctx), a.catalog
		err = answer(ctx, l)
		l.Close()
	}
	var newer *querylog.NewerError
	switch {
	case err == nil || web.IsMarked(err):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return web.Unavailable(fmt.Errorf("reading the log took longer than %d seconds: ask for a shorter time, or for less", int(readTime.Seconds())))
	case errors.As(err, &newer):
		return web.Unavailable(fmt.Errorf("the log cannot be read: %w", err))
	}
	return web.Unavailable(fmt.Errorf("the log cannot be read now: %w; 'telltale doctor' says more", err))
}

// chooseAllowed is choose for a caller who may see some devices alone.
func (l *openedLog) chooseAllowed(f *querylog.Filter) error {
	who := f.Device
	f.Device, f.Devices = "", nil
	if who != "" {
		today, ok := l.ids.device(who)
		if !ok || !l.maySee(today) {
			return errNotYours
		}
		f.Devices = l.ids.of[today]
	} else {
		for _, identity := range l.caller.Devices {
			f.Devices = append(f.Devices, l.ids.of[l.ids.last(identity)]...)
		}
	}
	if len(f.Devices) == 0 { // which would be all that there are
		return web.Forbidden(errors.New("no device that was ever here is assigned to you"))
	}
	return nil
}

var errNotYours = web.Forbidden(errors.New("this is not one of the devices that you may see"))

// maySee reports whether the caller may see a device of today. What was assigned is an identity
// of some time.
func (l *openedLog) maySee(today string) bool {
	return !l.caller.Limited || slices.ContainsFunc(l.caller.Devices, func(identity string) bool { return l.ids.last(identity) == today })
}

// readPeriod reads a period of a request; fallback is how far back it goes where nothing is said.
func readPeriod(q *web.Period, fallback string) (since, until time.Time, zone *time.Location, err error) {
	p := period{since: q.From, until: q.Until, tz: q.Zone, fallback: fallback, api: true}
	since, until, err = p.read(time.Now())
	if err != nil {
		err = web.Invalid(err)
	}
	return since, until, p.zone, err
}

// readPast is readPeriod of what can be recorded already.
func readPast(q *web.Period, fallback string) (since, until time.Time, zone *time.Location, err error) {
	now := time.Now()
	since, until, zone, err = readPeriod(q, fallback)
	if until.IsZero() || until.After(now) {
		until = now.In(cmp.Or(zone, time.Local))
	}
	return since, until, zone, err
}

// filterOf makes a request a filter; whose devices it is about is left to choose.
func filterOf(w *web.Which, fallback string) (f querylog.Filter, err error) {
	f = querylog.Filter{Device: w.Device, Vendor: w.Vendor, Verdict: w.Verdict}
	if f.Since, f.Until, _, err = readPeriod(&w.Period, fallback); err != nil {
		return f, err
	}
	if f.Name, err = parseNamePart(w.Name); err != nil {
		err = web.Invalid(fmt.Errorf("name: %w", err))
	}
	return f, err
}

// missing makes an error of a word that nobody knows one of what is not there.
func missing(err error) error {
	if err == nil || web.IsMarked(err) {
		return err
	}
	return web.NotFound(err)
}

func (a *app) logPage(ctx context.Context, q web.LogQuery) (page web.LogPage, err error) {
	page.Rows = []web.Row{}
	f, err := filterOf(&q.Which, "")
	if err != nil {
		return page, err
	}
	f.Listed = q.Listed
	oldest := q.Order == "oldest"
	at, err := readCursor(q.Cursor)
	if err != nil {
		return page, err
	}
	if oldest {
		f.After = at
	} else {
		f.Before = at
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		if err := l.choose(&f, q.Ignored); err != nil {
			return missing(err)
		}
		rows, more, err := l.Page(ctx, f, q.Limit, oldest)
		if err != nil {
			return err
		}
		page.More, page.Next = more, q.Cursor
		for i := range rows {
			page.Rows = append(page.Rows, *rowOf(&rows[i], l.ids))
			page.Next = strconv.FormatInt(rows[i].ID, 10)
		}
		if len(rows) == 0 && q.Cursor == "" {
			return missing(l.checkVendor(ctx, f.Vendor))
		}
		return nil
	})
	return page, err
}

// readCursor reads the number of a row or line; 0 for none.
func readCursor(cursor string) (at int64, err error) {
	if cursor == "" {
		return 0, nil
	}
	if at, err = strconv.ParseInt(cursor, 10, 64); err != nil || at < 1 {
		return 0, web.Invalid(fmt.Errorf("cursor: %q is none: it is what next was of the page before", printable(cursor)))
	}
	return at, nil
}

func (a *app) logRow(ctx context.Context, id int64) (story web.RowStory, err error) {
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		f := querylog.Filter{After: id - 1, Before: id + 1}
		if err := l.choose(&f, true); err != nil {
			return err
		}
		rows, _, err := l.Page(ctx, f, 1, false)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return web.NotFound(fmt.Errorf("there is no row %d: it may be deleted by now (log.retention)", id))
		}
		row := &rows[0]
		story.Row = *rowOf(row, l.ids)
		story.Device = l.ids.now(row.Device, row.Time.Time)
		story.Called = l.ids.called(story.Device)
		story.Entries = a.entriesOf(cmp.Or(row.Alias, row.Name))
		if row.Name == "" || row.Type == "" {
			return nil
		}
		q := web.Question{Name: row.Name, Type: row.Type, Device: cmp.Or(strings.TrimPrefix(story.Device, "addr:"), row.Client), Offline: true}
		e, _, err := a.explainAs(ctx, q, "")
		if errors.Is(err, web.ErrNotFound) && row.Client != "" { // the device is not known any more, and its address may be
			q.Device = row.Client
			e, _, err = a.explainAs(ctx, q, "")
		}
		if err == nil { // names of some rows, and types without a word, cannot be judged
			story.Today = &e
		}
		return nil
	})
	return story, err
}

// entriesOf returns the catalogue's entries of a name, the most specific first.
func (a *app) entriesOf(name string) []web.CatalogEntry {
	all := []web.CatalogEntry{}
	known, err := a.catalog()
	if err != nil || name == "" {
		return all
	}
	entries := known.Name(name)
	for i := range entries {
		all = append(all, catalogEntry(&entries[i]))
	}
	return all
}

func (a *app) report(ctx context.Context, q web.ReportQuery) (made *evidence.Report, err error) {
	of := &reportOf{device: q.Device, vendor: q.Vendor, ignored: q.Ignored, compare: q.Compare == "before"}
	if of.since, of.until, of.zone, err = readPast(&q.Period, "7d"); err != nil {
		return nil, err
	}
	if web.CallerOf(ctx).Limited && q.Device == "" {
		return nil, web.Forbidden(errors.New("a report of all devices is about more than those that you may see: ask for one device"))
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		if err := l.checkWho(ctx, q.Whose); err != nil {
			return err
		}
		made, err = l.wholeReport(ctx, of, q.Rhythm)
		return err
	})
	return made, err
}

// checkWho fails for a device or a vendor that nobody knows.
func (l *openedLog) checkWho(ctx context.Context, w web.Whose) error {
	f := querylog.Filter{Device: w.Device}
	if err := l.choose(&f, true); err != nil {
		return missing(err)
	}
	return missing(l.checkVendor(ctx, w.Vendor))
}

func (a *app) coverage(ctx context.Context, q web.Period) (out evidence.Coverage, err error) {
	since, until, zone, err := readPast(&q, "7d")
	if err != nil {
		return out, err
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		c, err := l.Coverage(ctx, since, until)
		if err == nil {
			out = evidence.NewCoverage(&c, zone)
		}
		return err
	})
	return out, err
}

func (a *app) top(ctx context.Context, q web.TopQuery) (lines []web.TopLine, err error) {
	f, err := filterOf(&q.Which, "24h")
	if err != nil {
		return nil, err
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		if err := l.choose(&f, q.Ignored); err != nil {
			return missing(err)
		}
		if lines, err = l.top(ctx, q.Of, f); err == nil && len(lines) == 0 {
			lines, err = []web.TopLine{}, missing(l.checkVendor(ctx, f.Vendor))
		}
		return err
	})
	return busiest(lines, q.Limit), err
}

func (a *app) topSlots(ctx context.Context, q web.SlotsQuery) (slots []evidence.CountSlot, err error) {
	slots = []evidence.CountSlot{}
	f, err := filterOf(&q.Which, "24h")
	if err != nil {
		return slots, err
	}
	since, until, zone, err := readPast(&q.Period, "24h")
	if err != nil {
		return slots, err
	}
	f.Since, f.Until = since, until
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		o, err := l.slotOptions(q.Of, q.By, f, q.Ignored, zone)
		if err != nil {
			return missing(err)
		}
		all := slotAnswer{slots: slots, limit: q.Limit}
		_, err = evidence.EachSlot(ctx, l.Reader, o, all.add)
		slots = all.slots
		if errors.Is(err, evidence.ErrManySlots) {
			return web.Invalid(err)
		}
		if err == nil && all.lines == 0 {
			err = missing(l.checkVendor(ctx, f.Vendor))
		}
		return err
	})
	return slots, err
}

// busiest returns the first n lines; all for 0.
func busiest(lines []web.TopLine, n int) []web.TopLine {
	if lines == nil {
		lines = []web.TopLine{}
	}
	if n > 0 && len(lines) > n {
		return lines[:n]
	}
	return lines
}

func (a *app) searchCatalog(word string) (web.CatalogAnswer, error) {
	known, err := a.catalog()
	if err != nil {
		return web.CatalogAnswer{}, err
	}
	found := known.Search(word)
	if len(found) == 0 {
		return web.CatalogAnswer{}, web.NotFound(unknownWord(known, word))
	}
	return web.CatalogAnswer{Found: found, Entries: catalogEntries(found)}, nil
}

func (a *app) ledgerPage(ctx context.Context, q web.LedgerQuery) (page web.LedgerPage, err error) {
	page.Events = []querylog.Event{}
	since, until, _, err := readPeriod(&q.Period, "")
	if err != nil {
		return page, err
	}
	at, err := readCursor(q.Cursor)
	if err != nil {
		return page, err
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		lines, err := l.ledgerLines(ctx, since, until, q.Kinds)
		if err != nil {
			return missing(err)
		}
		oldest := q.Order == "oldest"
		if !oldest {
			slices.Reverse(lines)
		}
		page.Next = q.Cursor
		for i := range lines {
			switch e := &lines[i]; {
			case at > 0 && (oldest && e.ID <= at || !oldest && e.ID >= at):
			case len(page.Events) == q.Limit:
				page.More = true
				return nil
			default:
				page.Events = append(page.Events, e.Event)
				page.Next = strconv.FormatInt(e.ID, 10)
			}
		}
		return nil
	})
	return page, err
}

func (a *app) rhythm(ctx context.Context, q web.RhythmQuery) (found *rhythm.Findings, err error) {
	of := &reportOf{device: q.Device, vendor: q.Vendor, ignored: q.Ignored}
	if of.since, of.until, of.zone, err = readPast(&q.Period, "7d"); err != nil {
		return nil, err
	}
	if q.Vendor != "" && q.Unlisted {
		return nil, web.Invalid(errors.New("unlisted is of names that are no vendor's: leave out vendor, or unlisted"))
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		if err := l.checkWho(ctx, q.Whose); err != nil {
			return err
		}
		found, err = l.rhythms(ctx, of, q.Unlisted)
		return err
	})
	return found, err
}

func (a *app) destinations(ctx context.Context, q web.DestinationsQuery) (all []web.Destination, err error) {
	all = []web.Destination{}
	known, err := a.catalog()
	if err != nil {
		return all, err
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		if err := l.checkWho(ctx, web.Whose{Vendor: q.Vendor}); err != nil {
			return err
		}
		lines, err := l.destinationLines(ctx, known, q.History)
		if err != nil {
			return err
		}
		lines, _ = chooseDestinations(lines, known, strings.ToLower(strings.TrimSuffix(q.Name, ".")), q.Vendor)
		all = append(all, lines...)
		return nil
	})
	return all, err
}

func (a *app) candidates(ctx context.Context, q web.CandidatesQuery) (found *candidate.Found, err error) {
	of := &candidatesOf{device: q.Device, ignored: q.Ignored, aliases: func(name string) []string {
		all, err := a.cached(name)
		if err != nil {
			return nil
		}
		return aliasesIn(all)
	}}
	if of.since, of.until, of.zone, err = readPast(&q.Period, "7d"); err != nil {
		return nil, err
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		if err := l.checkWho(ctx, web.Whose{Device: q.Device}); err != nil {
			return err
		}
		found, err = l.candidates(ctx, of)
		return err
	})
	return found, err
}

func (a *app) experimentList(ctx context.Context) (all []web.Experiment, err error) {
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		events, err := l.Ledger(ctx, time.Time{}, time.Time{})
		all = experimentsOf(experiment.All(events))
		return err
	})
	return all, err
}

// findExperiment returns an experiment of the log by its name.
func (l *openedLog) findExperiment(ctx context.Context, name string) (*experiment.Experiment, error) {
	events, err := l.Ledger(ctx, time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	all := experiment.All(events)
	if e := experiment.Find(all, name); e != nil {
		return e, nil
	}
	return nil, web.NotFound(unknown("experiment", name, experimentNames(all), "telltale experiment list"))
}

func (a *app) experiment(ctx context.Context, name string) (out web.Experiment, err error) {
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		e, err := l.findExperiment(ctx, name)
		if err == nil {
			out = experimentOf(e)
		}
		return err
	})
	return out, err
}

func (a *app) experimentReport(ctx context.Context, name, tz string) (made *experiment.Report, err error) {
	zone, err := parseZone(tz)
	if err != nil {
		return nil, web.Invalid(fmt.Errorf("tz: %w", err))
	}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		e, err := l.findExperiment(ctx, name)
		if err != nil {
			return err
		}
		made, err = experiment.Make(ctx, l.Reader, e, experiment.Options{Now: time.Now(), Zone: zone, Device: l.plannedDevice})
		if refused := new(experiment.CannotSay); errors.As(err, &refused) {
			return web.Conflict(err)
		}
		return err
	})
	return made, err
}

// catalogKept is for how long the catalogue stays in memory after it was read last.
const catalogKept = time.Minute

// A keptCatalog is the catalogue as it was read last: reading it takes a third of a second, and
// some megabytes of memory. Its zero value is ready.
type keptCatalog struct {
	mu    sync.Mutex
	of    *catalog.Edition
	known *catalog.Catalog
	drop  *time.Timer
}

// catalog returns the catalogue in force. Nobody may change it.
func (a *app) catalog() (*catalog.Catalog, error) {
	k, edition := &a.kept, a.edition.Load()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || k.of != edition {
		known, err := edition.Load()
		if err != nil {
			return nil, err
		}
		k.of, k.known = edition, known
	}
	if k.drop == nil {
		k.drop = time.AfterFunc(catalogKept, func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.of, k.known = nil, nil
		})
	}
	k.drop.Reset(catalogKept)
	return k.known, nil
}
