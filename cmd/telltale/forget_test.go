package main

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists/catalog"
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

// Names that are asked for of upstreams that never answer do not keep a device from being
// forgotten, and nothing is kept of them.
func TestForgettingEndsWhatIsAskedOfDestinations(t *testing.T) {
	upstream, err := net.ListenPacket("udp", "127.0.0.1:0") // which never answers
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	srv := startTestServer(t, t.TempDir(), netip.MustParseAddrPort(upstream.LocalAddr().String()), "")
	known, err := srv.app.edition.Load().Load()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, e := range known.Entries() {
		if e.Tier != "telemetry" || asked == 3*destinationsAsking {
			continue
		}
		m := new(dns.Msg).SetQuestion(dns.Fqdn(e.Name), dns.TypeA)
		if _, _, err := (&dns.Client{Timeout: patience}).Exchange(m, srv.addr.String()); err != nil {
			t.Fatal(err)
		}
		asked++
	}
	srv.app.log.Flush()
	done := make(chan error, 1)
	go func() {
		_, err := srv.app.askDestinations(context.Background())
		done <- err
	}()
	about := known.Entries()
	packet := make([]byte, 512)
	for { // until one of the names is asked for
		n, _, err := upstream.ReadFrom(packet)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if m.Unpack(packet[:n]) == nil && slices.ContainsFunc(about, func(e catalog.Entry) bool { return dns.Fqdn(e.Name) == m.Question[0].Name }) {
			break
		}
	}
	begun := time.Now()
	forgetWords(t, srv.app, "192.168.1.2")
	if took := time.Since(begun); took > 2*destinationTimeout {
		t.Errorf("forgetting took %v", took)
	}
	if err := <-done; !errors.Is(err, errAskedWhileForgetting) {
		t.Errorf("got %v", err)
	}
}
