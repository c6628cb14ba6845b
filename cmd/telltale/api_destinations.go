package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"telltale/config"
	"telltale/evidence/destination"
	"telltale/evidence/geo"
	"telltale/querylog"
	"telltale/web"
)

const (
	destinationsOf     = 30 * 24 * time.Hour // names that were asked for so lately are asked for
	destinationsMost   = 2000                // names
	destinationTimeout = 20 * time.Second    // of one name
	destinationsAsking = 4                   // names at once
)

// nightHour and nightMinute are when names are asked for every night, by this machine's clock.
const nightHour, nightMinute = 3, 17

// askDestinationsNightly asks where names lead every night, where the settings say so, until
// ctx ends. What was due while no server ran, or while no upstream answered, is done later.
func (a *app) askDestinationsNightly(ctx context.Context) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	var tried time.Time
	for {
		if now := time.Now(); a.cfg.Load().Destinations.Nightly && now.Sub(tried) >= reportRetry && a.destinationsDue(ctx, now) {
			tried = now
			if _, err := a.askDestinations(ctx); err != nil && err != errAskedWhileForgetting && ctx.Err() == nil {
				a.logger.Warn("where names lead is not known today", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// nightBefore is when names were due last.
func nightBefore(now time.Time) time.Time {
	due := time.Date(now.Year(), now.Month(), now.Day(), nightHour, nightMinute, 0, 0, now.Location())
	if due.After(now) {
		due = time.Date(now.Year(), now.Month(), now.Day()-1, nightHour, nightMinute, 0, 0, now.Location())
	}
	return due
}

// destinationsDue reports whether no name was asked for since the night began.
func (a *app) destinationsDue(ctx context.Context, now time.Time) bool {
	events, err := a.log.Reader().Ledger(ctx, nightBefore(now), time.Time{})
	return err == nil && !slices.ContainsFunc(events, func(e querylog.Event) bool { return e.Kind == "destinations-asked" })
}

// geoFiles are the databases of the settings, or those that were fetched.
func geoFiles(cfg *config.Config) geo.Files {
	d := &cfg.Destinations
	files := geo.Files{geo.ASN: d.ASN, geo.Country: d.Country, geo.Registered: d.Registered}
	for _, name := range geo.CloudFiles {
		path := filepath.Join(cfg.Data.Dir, "geo", name)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			files[geo.Cloud] = append(files[geo.Cloud], path)
		}
	}
	slices.Sort(files[geo.Cloud])
	if len(d.ASN)+len(d.Country)+len(d.Registered) > 0 {
		return files
	}
	for _, kind := range geo.Kinds {
		path := geoPath(cfg, kind)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			files[kind] = []string{path}
		}
	}
	return files
}

// geoPath is where a database is kept that was fetched.
func geoPath(cfg *config.Config, kind geo.Kind) string {
	return filepath.Join(cfg.Data.Dir, "geo", string(kind)+".mmdb")
}

// askDestinations asks upstreams where names of the catalogue lead that devices asked for.
func (a *app) askDestinations(ctx context.Context) (asked web.DestinationsAsked, err error) {
	a.askingDestinations.Lock()
	defer a.askingDestinations.Unlock()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	a.stopAsking.Store(&stop)
	defer a.stopAsking.Store(nil)
	if a.forgettingRuns.Load() { // else forgetDestinations sees what is stored above
		return asked, errAskedWhileForgetting
	}
	defer func() {
		if context.Cause(ctx) == errAskedWhileForgetting {
			err = errAskedWhileForgetting
		}
	}()
	now := time.Now()
	cfg := a.cfg.Load()
	l, err := a.openLog(ctx, cfg)
	if err != nil {
		return asked, err
	}
	defer l.Close()
	names, err := a.destinationNames(ctx, l, now.Add(-destinationsOf), now)
	if err != nil {
		return asked, err
	}
	before, err := lastFound(ctx, l)
	if err != nil {
		return asked, err
	}
	set, err := geo.Open(geoFiles(cfg))
	asked.Problems = set.Caveats(now)
	if err != nil {
		asked.Problems = append(asked.Problems, err.Error())
		a.logger.Warn("an address database cannot be used", "error", err)
	}
	if len(names) > destinationsMost {
		asked.Problems = append(asked.Problems, fmt.Sprintf("of %d names the first %d are asked for", len(names), destinationsMost))
		names = names[:destinationsMost]
	}
	found, damaged := a.findDestinations(ctx, names, set)
	if damaged != nil {
		asked.Problems = append(asked.Problems, damaged.Error())
	}
	if ctx.Err() != nil {
		return asked, ctx.Err()
	}
	if len(found) == 0 && len(names) > 0 {
		return asked, fmt.Errorf("none of %d names has an answer: what is known is of before; 'telltale upstreams' says how the upstreams do", len(names))
	}
	asked.Names, asked.Failed = len(names), len(names)-len(found)
	texts := map[string]string{}
	for name, f := range found {
		texts[name] = f.Text()
	}
	if err := a.log.KeepDestinations(ctx, now, texts); err != nil {
		return asked, fmt.Errorf("what was found could not be kept: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		a.tellDestination(name, before[name], found[name], &asked)
	}
	a.log.Report("destinations-asked", "", fmt.Sprintf("%d names: %d as before, %d changed, %d for the first time, %d without an answer", asked.Names, asked.Same, asked.Changed, asked.First, asked.Failed))
	return asked, nil
}

// errAskedWhileForgetting says that nothing was found out, since what is asked for may be of
// the device.
var errAskedWhileForgetting = errors.New("a device is being forgotten, which ends what is asked for: ask again afterwards")

// tellDestination counts a finding, and records it where it is another than before.
func (a *app) tellDestination(name string, before, now *destination.Found, asked *web.DestinationsAsked) {
	kind, detail := destination.Compare(before, now)
	switch {
	case before == nil:
		asked.First++
	case kind == "":
		asked.Same++
	default:
		asked.Changed++
	}
	switch kind {
	case destination.KindMoved:
		asked.Moved++
		a.log.Report("destination-moved", name, detail)
	case destination.KindFound:
		a.log.Report("destination", name, detail)
	}
}

// destinationNames are the names of the catalogue by which what devices asked for is
// telemetry.
func (a *app) destinationNames(ctx context.Context, l *openedLog, since, until time.Time) ([]string, error) {
	known, err := a.edition.Load().Load()
	if err != nil {
		return nil, err
	}
	var failed error
	names := destination.Names(known, func(yield func(string) bool) {
		for sum, err := range l.Sums(ctx, querylog.SumFilter{Since: since, Until: until}) {
			if err != nil {
				failed = err
				return
			}
			if sum.Tier == "" {
				continue
			}
			for _, name := range []string{sum.Name, sum.Alias} {
				if name != "" && !yield(name) {
					return
				}
			}
		}
	})
	return names, failed
}

// lastFound returns what was found last of each name.
func lastFound(ctx context.Context, l *openedLog) (map[string]*destination.Found, error) {
	all, err := l.own.Destinations(ctx, "")
	if err != nil {
		return nil, err
	}
	last := map[string]*destination.Found{}
	for i := range all {
		f, err := destination.Parse(all[i].Found)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", all[i].Name, err)
		}
		last[all[i].Name] = &f
	}
	return last, nil
}

// findDestinations asks for names, some at once. Those without an answer are not in the
// result. damaged is what is wrong with a database.
func (a *app) findDestinations(ctx context.Context, names []string, set *geo.Set) (found map[string]*destination.Found, damaged error) {
	var mu sync.Mutex
	r := &destination.Resolver{
		Geo: set,
		Ask: func(ctx context.Context, name string, typ uint16) (destination.Answer, error) {
			got, err := a.server.Resolve(ctx, name, typ)
			return destination.Answer(got), err
		},
		Problem: func(err error) { mu.Lock(); defer mu.Unlock(); damaged = err },
	}
	found = map[string]*destination.Found{}
	queue := make(chan string)
	var work sync.WaitGroup
	for range destinationsAsking {
		work.Go(func() {
			for name := range queue {
				one, cancel := context.WithTimeout(ctx, destinationTimeout)
				f, err := r.Find(one, name)
				cancel()
				if err == nil {
					mu.Lock()
					found[name] = &f
					mu.Unlock()
				}
			}
		})
	}
	for _, name := range names {
		select {
		case queue <- name:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	work.Wait()
	return found, damaged
}

// forgetDestinations deletes where names lead that no row of the log is of any more: that
// they are known says that somebody asked.
func (a *app) forgetDestinations(ctx context.Context) error {
	if stop := a.stopAsking.Load(); stop != nil { // it may take hours where upstreams are silent
		(*stop)(errAskedWhileForgetting)
	}
	a.askingDestinations.Lock() // what is asked for now is of what was recorded before
	defer a.askingDestinations.Unlock()
	l, err := a.openLog(ctx, a.cfg.Load())
	if err != nil {
		return err
	}
	defer l.Close()
	kept, err := l.own.Destinations(ctx, "")
	if err != nil || len(kept) == 0 {
		return err
	}
	names, err := a.destinationNames(ctx, l, time.Time{}, time.Now())
	if err != nil {
		return err
	}
	return a.log.ForgetDestinations(ctx, func(name string) bool { return slices.Contains(names, name) })
}
