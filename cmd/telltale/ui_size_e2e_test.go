//go:build e2e && !small

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/resolver/dnstest"
)

// How soon the pages of the console are there over a log at size: CONSOLE_STORE is a directory with one, such as
// BenchmarkStoreAtSize of querylog makes, and CONSOLE_UI as for TestE2EConsole. web/ui/e2e/times.mjs measures.
func TestE2EConsoleAtSize(t *testing.T) {
	store, dir := os.Getenv("CONSOLE_STORE"), os.Getenv("CONSOLE_UI")
	if store == "" || dir == "" {
		t.Skip("skipped: it takes minutes, and needs CONSOLE_STORE and CONSOLE_UI")
	}
	chrome, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("skipped: chromium is not installed")
	}
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "lists.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	upstream := dnstest.Start(t, dnstest.AnswerA("203.0.113.80"))
	settings := filepath.Join(home, "telltale.yaml")
	writeFile(t, settings, fmt.Sprintf("listen: {dns: [\"127.0.0.1:0\"]}\nupstreams: [%q]\nlists: {dir: lists.d}\ndata: {dir: %q}\nlog: {listed: 36500d, unlisted: 36500d, totals: 36500d}\nweb: {listen: [%q]}\n", upstream.Addr, store, address))
	p := startServe(t, home, nil, "--config", settings)
	defer p.stop()
	var made struct{ URLs []string }
	if err := json.Unmarshal([]byte((&homeTest{t: t, dir: home}).run("web", "link", "--json")), &made); err != nil || len(made.URLs) == 0 {
		t.Fatal(err)
	}
	end := time.Unix(1_760_000_000, 0).UTC().AddDate(0, 0, 40).Truncate(24 * time.Hour) // of BenchmarkStoreAtSize
	console, err := json.Marshal(map[string]any{
		"link": made.URLs[0], "pid": p.cmd.Process.Pid, "chrome": chrome, "rounds": 5,
		"period": map[string]string{"from": end.AddDate(0, 0, -7).Format(time.RFC3339), "until": end.Format(time.RFC3339)},
		"pages": [][2]string{
			{"overview", "#/"}, {"log", "#/log"}, {"log of a vendor", "#/log?vendor=Vendor%203"}, {"devices", "#/devices"}, {"device", "#/devices/mac%3A02%3A00%3A00%3A00%3A00%3A03"},
			{"vendors", "#/vendors"}, {"vendor", "#/vendors/Vendor%203"}, {"names", "#/names"}, {"name", "#/names/metrics3.vendor3.example"}, {"evidence", "#/evidence"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	says := filepath.Join(home, "console.json")
	writeFile(t, says, string(console))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	measure := exec.CommandContext(ctx, "node", filepath.Join(dir, "e2e", "times.mjs"))
	measure.Env = append(os.Environ(), "CONSOLE="+says)
	said, err := measure.CombinedOutput()
	t.Logf("%s", said)
	if err != nil || !strings.Contains(string(said), "IDLE ") {
		t.Errorf("%v; the server says:\n%s", err, p.errs.String())
	}
}
