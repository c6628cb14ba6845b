package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/bench/zone"
	"telltale/config"
	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/web"
)

// A server makes reports of the settings when they are due, once each, keeps so many,
// takes up changed settings, and says what goes wrong.
func TestReportsAreMadeWhenDue(t *testing.T) {
	handle, err := zone.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	upstream, stop, err := zone.Serve(netip.MustParseAddrPort("127.0.0.1:0"), handle)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	dir := t.TempDir()
	reports := filepath.Join(dir, "reports")
	srv := startTestServer(t, dir, upstream, "")
	if _, err := srv.ask([]string{"data.mistat.xiaomi.com", "A"}); err != nil {
		t.Fatal(err)
	}
	files := func() (names []string) {
		entries, _ := os.ReadDir(reports)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	// This one has the server's log, and a clock of its own.
	ctx, a := context.Background(), &app{log: srv.app.log, corrected: srv.app.corrected, logger: srv.app.logger}
	day := config.Report{Name: "day", Format: "json", Keep: 2, Dir: reports, When: config.Recurrence{Text: "daily 00:00", Every: "day"}}
	set := func() {
		cfg := *srv.app.cfg.Load()
		cfg.Reports = []config.Report{day}
		a.cfg.Store(&cfg)
	}
	set()
	today := time.Now()
	after := func(days int) time.Time { // a minute past midnight: today is the day before, or of earlier
		return time.Date(today.Year(), today.Month(), today.Day()+days, 0, 1, 0, 0, today.Location())
	}
	a.makeDueReports(ctx, after(-400))
	if got := files(); got != nil {
		t.Errorf("a report of a time without a record: %q", got)
	}
	name := func(days int) string { return "day-" + after(days).Format(time.DateOnly) + ".json" }
	a.makeDueReports(ctx, after(1))
	if got := files(); !slices.Equal(got, []string{name(1)}) {
		t.Fatalf("got %q, want %s", got, name(1))
	}
	first := filepath.Join(reports, name(1))
	text, err := os.ReadFile(first)
	if err != nil || !strings.Contains(string(text), `"kind": "household"`) {
		t.Errorf("%v: %s", err, text)
	}
	if info, _ := os.Stat(first); info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
	a.makeDueReports(ctx, after(1).Add(time.Hour))
	if again, _ := os.ReadFile(first); string(again) != string(text) {
		t.Error("it was made a second time")
	}

	// Older files go, others stay.
	for _, file := range []string{"day-2020-01-01.json", "day-2020-01-02.json", "day-2020-01-01.html", "daylight-2020-01-01.json", "day-notes.json"} {
		writeFile(t, filepath.Join(reports, file), "x")
	}
	os.Remove(first)
	a.reports.state = nil
	a.makeDueReports(ctx, after(1))
	if got, want := files(), []string{"day-2020-01-01.html", "day-2020-01-02.json", name(1), "day-notes.json", "daylight-2020-01-01.json"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	// What goes wrong is said once, in the ledger and by doctor, and tried again.
	day.Device, day.Dir = "nobody", reports+"2"
	set()
	a.reports.state = nil
	for range 3 {
		a.makeDueReports(ctx, after(1))
	}
	failures := func() (n int) {
		a.log.Flush()
		r, err := querylog.OpenReader(filepath.Join(dir, "data"))
		if err != nil {
			t.Fatal(err)
		}
		events, err := r.Ledger(ctx, time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == "report-failed" && e.Subject == "day" && strings.Contains(e.Detail, "nobody") {
				n++
			}
		}
		return n
	}
	dnstest.WaitFor(t, func() bool { return failures() == 1 }, func() string { return "the ledger does not say once that the report failed" })
	status := a.reportStatus()
	if len(status) != 1 || !strings.Contains(status[0].Problem, "nobody") || !status[0].Next.After(time.Now()) {
		t.Errorf("got %+v", status)
	}
	d := &doctor{}
	st := web.Status{Reports: status}
	if d.reports(&st); len(d.findings) != 1 || d.findings[0].State != stateWarning {
		t.Errorf("doctor says %+v", d.findings)
	}
	day.Device, day.Pseudonyms = "", true
	set()
	a.makeDueReports(ctx, after(1).Add(time.Minute))
	if _, err := os.Stat(filepath.Join(reports+"2", name(1))); err == nil {
		t.Error("it was tried again at once")
	}
	a.makeDueReports(ctx, after(1).Add(reportRetry))
	text, err = os.ReadFile(filepath.Join(reports+"2", name(1)))
	if err != nil || strings.Contains(string(text), "this-host") || !strings.Contains(string(text), "device-1") {
		t.Errorf("%v: %s", err, text)
	}
	if status := a.reportStatus(); status[0].Problem != "" || status[0].File == "" {
		t.Errorf("got %+v", status)
	}

	// A server takes up reports without a restart.
	if got := srv.app.reportStatus(); len(got) != 0 {
		t.Errorf("got %+v without settings", got)
	}
	writeFile(t, filepath.Join(dir, "telltale.yaml"), "reports:\n  - {name: week, when: mon 06:00, keep: 3}\n")
	if err := srv.app.reload(); err != nil {
		t.Fatal(err)
	}
	if got := srv.app.reportStatus(); len(got) != 1 || got[0].Name != "week" || got[0].When != "mon 06:00" || got[0].Dir != filepath.Join(dir, "data", "reports") {
		t.Errorf("got %+v", got)
	}
}

// A report that is made has not failed where older ones cannot be removed.
func TestAReportThatIsMadeHasNotFailed(t *testing.T) {
	a, r, due := &app{}, config.Report{Name: "week"}, time.Now()
	a.cfg.Store(&config.Config{Reports: []config.Report{r}})
	if untold := a.reports.keep(&r, due, due, "week.html", os.ErrPermission); untold {
		t.Error("it counts as a failure")
	}
	if got := a.reportStatus(); got[0].Problem != "" || got[0].File != "week.html" {
		t.Errorf("got %+v", got)
	}
}
