package main

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"telltale/config"
	"telltale/web"
)

// forgetWords forgets a device of which there are so many words.
func forgetWords(t *testing.T, a *app, words ...string) web.Forgotten {
	t.Helper()
	writeFile(t, forgettingPath(a.cfg.Load()), "{}")
	got, err := a.finishForgetting(context.Background(), &forgetting{Words: words})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// What the next examination would say is over has no word of a device that is forgotten.
func TestForgettingReachesMarks(t *testing.T) {
	a := startTestServer(t, t.TempDir(), netip.MustParseAddrPort("127.0.0.1:1"), "").app
	a.marked = map[string]string{"clients-one-address 192.168.1.2": "x", "devices-unknown": "as 192.168.1.2 is", "clients-one-address 192.168.1.20": "x"}
	a.markedNetwork = map[string]string{foreignDNS + " 192.168.1.2 by DHCP": "x", foreignDNS + " 192.168.1.3 by DHCP": "192.168.1.3 (02:00:5e:10:00:02)"}
	forgetWords(t, a, "192.168.1.2", "02:00:5e:10:00:02")
	if got := slices.Collect(maps.Keys(a.marked)); len(got) != 1 || a.marked["clients-one-address 192.168.1.20"] == "" || len(a.markedNetwork) != 0 {
		t.Errorf("got %v and %v", a.marked, a.markedNetwork)
	}
}

// Reports that the server made below data.dir go with a device that is in them.
func TestForgettingReachesReports(t *testing.T) {
	dir := t.TempDir()
	a := startTestServer(t, dir, netip.MustParseAddrPort("127.0.0.1:1"), "").app
	data, cfg := filepath.Join(dir, "data"), *a.cfg.Load()
	cfg.Reports = []config.Report{{Name: "tv", Dir: filepath.Join(data, "mine")}, {Name: "out", Dir: filepath.Join(dir, "out")}}
	a.cfg.Store(&cfg)
	a.reports.mu.Lock() // of a report that the settings do not have: the server looks after those
	a.reports.state = map[string]*reportState{"old": {file: filepath.Join(data, "reports", "old-2026-11-23.html")}}
	a.reports.mu.Unlock()
	gone := map[string]string{
		"data/mine/tv-2026-11-23.json": `{"name": "Tom \u0026 Anna"}`, "data/reports/old-2026-11-23.html": "Tom &amp; Anna", "data/reports/week-2026-11-23.md": "02:00:5e:10:00:01,", "data/reports/week-2026-11-24.csv": "192.168.1.2,",
	}
	stays := map[string]string{
		"data/mine/other-2026-11-23.json": "192.168.1.2", "data/reports/week-2026-11-23.html": "192.168.1.20", "data/reports/notes.html": "192.168.1.2", "out/out-2026-11-23.html": "192.168.1.2",
	}
	for _, files := range []map[string]string{gone, stays} {
		for name, text := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, name), text)
		}
	}
	got := forgetWords(t, a, "192.168.1.2", "02:00:5e:10:00:01", "Tom & Anna").Files
	slices.Sort(got)
	if want := []string{"mine/tv-2026-11-23.json", "reports/old-2026-11-23.html", "reports/week-2026-11-23.md", "reports/week-2026-11-24.csv"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for name := range stays {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	for name := range gone {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	a.reports.mu.Lock()
	defer a.reports.mu.Unlock()
	if a.reports.state["old"] != nil {
		t.Error("a report that was removed is not made anew")
	}
}
