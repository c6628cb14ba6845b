package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale/config"
	"telltale/querylog"
	"telltale/web"
)

// reportRetry is how long after a failure a report is tried again.
const reportRetry = 15 * time.Minute

// A reportFiles keeps what became of the reports of the settings, by their names.
type reportFiles struct {
	making sync.Mutex // a file is made, or those of a forgotten device are removed

	mu    sync.Mutex
	state map[string]*reportState
}

// A reportState is what became of one report.
type reportState struct {
	due    time.Time // of the last try
	at     time.Time // when that was
	file   string    // that was made last since the start; "" for none
	failed error     // of the last try; nil: it is made, or there was nothing to say
}

// makeReports makes reports of the settings when they are due, until ctx ends. One that
// was due while no server ran is made when one runs again.
func (a *app) makeReports(ctx context.Context) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		a.makeDueReports(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// makeDueReports makes each report that was due last and has no file yet.
func (a *app) makeDueReports(ctx context.Context, now time.Time) {
	cfg := a.cfg.Load()
	for i := range cfg.Reports {
		r := &cfg.Reports[i]
		due := r.When.Latest(now)
		if a.reports.isDone(r, due, now) {
			continue
		}
		file, err := a.makeReportFile(ctx, cfg, r, due)
		if ctx.Err() != nil {
			return
		}
		if a.reports.keep(r, due, now, file, err) {
			a.logger.Error("a report of the settings could not be made", "report", r.Name, "error", err)
			a.log.Report("report-failed", r.Name, err.Error())
		} else if file != "" {
			if err != nil {
				a.logger.Warn("older files of a report could not be removed", "report", r.Name, "error", err)
			}
			a.logger.Info("a report is written", "report", r.Name, "file", file)
		}
	}
}

// isDone reports whether nothing is to be done of a report now: its file is there, or it
// was tried already.
func (f *reportFiles) isDone(r *config.Report, due, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state[r.Name]
	if s != nil && s.due.Equal(due) && (s.failed == nil || now.Sub(s.at) < reportRetry && !now.Before(s.at)) {
		return true
	}
	_, err := os.Lstat(reportPath(r, due))
	return err == nil
}

// keep keeps what became of a try, and reports whether it is a failure that nobody was
// told of. Where there is a file it is made, and older ones could not be removed.
func (f *reportFiles) keep(r *config.Report, due, now time.Time, file string, err error) (untold bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == nil {
		f.state = map[string]*reportState{}
	}
	s := f.state[r.Name]
	if s == nil {
		s = &reportState{}
		f.state[r.Name] = s
	}
	if file != "" {
		err = nil
	}
	untold = err != nil && (s.failed == nil || s.failed.Error() != err.Error())
	s.due, s.at, s.failed = due, now, err
	s.file = cmp.Or(file, s.file)
	return untold
}

// reportPath is where the report goes that is due at a time.
func reportPath(r *config.Report, due time.Time) string {
	return filepath.Join(r.Dir, r.Name+"-"+due.Format(time.DateOnly)+"."+reportEnding(r))
}

func reportEnding(r *config.Report) string {
	if r.Format == "text" {
		return "txt"
	}
	return r.Format
}

// makeReportFile makes a report and removes the oldest ones beyond those that are kept.
// Of a time of which nothing is recorded none is made. With a file, the error is of the
// removal.
func (a *app) makeReportFile(ctx context.Context, cfg *config.Config, r *config.Report, due time.Time) (file string, err error) {
	a.reports.making.Lock() // what it reads now is not written after it was forgotten
	defer a.reports.making.Unlock()
	l, err := a.openLog(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer l.Close()
	since, until := r.When.Period(due)
	if c, err := l.Coverage(ctx, since, until); err != nil || c.Recorded() == 0 {
		return "", err
	}
	of := &reportOf{since: since, until: until, zone: due.Location(), device: r.Device, vendor: r.Vendor, compare: true}
	if r.Pseudonyms {
		of.hide = newPseudonyms(l)
	}
	made, err := l.makeReport(ctx, of)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return "", err
	}
	file = reportPath(r, due)
	if err := writeNew(file, false, func(w io.Writer) error { return reportFormats[r.Format](w, made) }); err != nil {
		return "", err
	}
	return file, removeOldReports(r)
}

// removeOldReports removes the oldest files of a report beyond those that are kept. A
// file is one of them by its whole name.
func removeOldReports(r *config.Report) error {
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return err
	}
	var of []string
	for _, e := range entries {
		day, ok := strings.CutPrefix(e.Name(), r.Name+"-")
		day, ends := strings.CutSuffix(day, "."+reportEnding(r))
		if _, err := time.Parse(time.DateOnly, day); ok && ends && err == nil && e.Type().IsRegular() {
			of = append(of, e.Name())
		}
	}
	slices.Sort(of) // by their days
	var errs []error
	for _, name := range of[:max(0, len(of)-r.Keep)] {
		errs = append(errs, os.Remove(filepath.Join(r.Dir, name)))
	}
	return errors.Join(errs...)
}

// forgetReports removes the files of reports below data.dir in which a device is, and
// returns their names there. The report that was due last is made anew without it.
func (a *app) forgetReports(words []string) (removed []string, err error) {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !querylog.IsTelling(w) })
	cfg := a.cfg.Load()
	all := []string{filepath.Join(cfg.Data.Dir, "reports", "*")} // of earlier settings, too
	for i := range cfg.Reports {
		all = append(all, filepath.Join(cfg.Reports[i].Dir, cfg.Reports[i].Name+"-*"))
	}
	a.reports.making.Lock()
	defer a.reports.making.Unlock()
	for _, pattern := range all {
		files, _ := filepath.Glob(pattern)
		for _, path := range files {
			name, err := filepath.Rel(cfg.Data.Dir, path)
			if err != nil || !filepath.IsLocal(name) || !isReportFile(path) {
				continue
			}
			text, err := os.ReadFile(path)
			if err == nil && !hasSpelled(string(text), words) {
				continue
			}
			if err = errors.Join(err, os.Remove(path)); err != nil {
				return removed, err
			}
			removed = append(removed, name)
			a.reports.mu.Lock()
			maps.DeleteFunc(a.reports.state, func(_ string, s *reportState) bool { return s.file == path })
			a.reports.mu.Unlock()
		}
	}
	return removed, nil
}

// isReportFile reports whether a file is called as those of reports are: NAME-DAY.FORMAT.
func isReportFile(path string) bool {
	ending := strings.TrimPrefix(filepath.Ext(path), ".")
	stem := strings.TrimSuffix(filepath.Base(path), "."+ending)
	day := stem[max(0, len(stem)-len(time.DateOnly)):]
	_, err := time.Parse(time.DateOnly, day)
	info, gone := os.Lstat(path)
	return err == nil && (ending == "txt" || reportFormats[ending] != nil) && gone == nil && info.Mode().IsRegular()
}

// hasSpelled reports whether a word is in a report, in the spelling of one of its formats.
func hasSpelled(text string, words []string) bool {
	plain := html.UnescapeString(text)
	return querylog.HasWord(text, words) || querylog.HasWord(plain, words) || querylog.HasWord(strings.ReplaceAll(plain, `\`, ""), words)
}

// openLog opens the log that this server keeps, with what it has up to now.
func (a *app) openLog(ctx context.Context, cfg *config.Config) (*openedLog, error) {
	a.log.Flush()
	r := a.log.Reader()
	bindings, err := r.Bindings(ctx)
	if err != nil {
		return nil, err
	}
	return &openedLog{Reader: r, own: r, cfg: cfg, ids: newIdentities(cfg, bindings, a.corrected.All())}, nil
}

// reportStatus says when each report of the settings is made, and what became of the
// last one.
func (a *app) reportStatus() []web.Report {
	a.reports.mu.Lock()
	defer a.reports.mu.Unlock()
	all := []web.Report{}
	cfg := a.cfg.Load()
	for i := range cfg.Reports {
		r := &cfg.Reports[i]
		out := web.Report{Name: r.Name, When: r.When.String(), Next: r.When.Next(time.Now()).UTC(), Dir: r.Dir}
		if s := a.reports.state[r.Name]; s != nil {
			out.File = s.file
			if s.failed != nil {
				out.Problem = s.failed.Error()
			}
		}
		all = append(all, out)
	}
	return all
}

// reports says which reports of the settings could not be made.
func (d *doctor) reports(st *web.Status) {
	for i := range st.Reports {
		r := &st.Reports[i]
		if r.Problem == "" {
			d.says("reports", "%s (%s), next %s, in %s", r.Name, r.When, when(r.Next), r.Dir)
			continue
		}
		d.finds(stateWarning, "reports-failed", r.Name, fmt.Sprintf("%s could not be made: %s", r.Name, r.Problem),
			fmt.Sprintf("put that right, in the settings (reports) or in %s: it is tried again every %d minutes", r.Dir, int(reportRetry.Minutes())))
	}
}
