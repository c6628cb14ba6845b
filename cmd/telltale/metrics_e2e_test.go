//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/resolver/dnstest"
)

// freeAddress returns an address of loopback by TCP that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startScraped starts a server with metrics and a device of the settings.
func startScraped(t *testing.T) (p *process, metrics string) {
	t.Helper()
	dir := t.TempDir()
	metrics = freeAddress(t)
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "#@ vendor=Acme tier=telemetry source=https://example.org\nads.example\n")
	file := filepath.Join(dir, "telltale.yaml")
	writeFile(t, file, "listen: {dns: [\"127.0.0.1:0\"]}\nmetrics: {listen: \""+metrics+"\", devices: true}\ndevices: [{name: box, address: 127.0.0.1}]\n")
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	return startProcess(t, dir, nil, "--config", file, "--upstreams", up.Addr.String()), metrics
}

func fetched(t *testing.T, at string) (status int, text string) {
	t.Helper()
	client := http.Client{Timeout: patience}
	resp, err := client.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Debian's Prometheus takes the metrics, takes the rules for alerts, and has a result for the
// query of each panel of the dashboard.
func TestE2EPrometheus(t *testing.T) {
	t.Parallel()
	needPrometheus(t)
	p, at := startScraped(t)
	if err := p.ask("ads.example."); err != nil {
		t.Fatal(err)
	}
	if err := p.ask("www.example."); err != nil {
		t.Fatal(err)
	}
	_, page := fetched(t, "http://"+at+"/metrics")
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(page)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	alerts, err := filepath.Abs("../../packaging/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", filepath.Join(alerts, "alerts.yaml")}, {"test", "rules", filepath.Join(alerts, "alerts_test.yaml")}} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	prometheus := startPrometheus(t, fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs: [{job_name: telltale, static_configs: [{targets: [%q]}]}]
`, filepath.Join(alerts, "alerts.yaml"), at))
	names := []string{"ads.example.", "www.example.", "a.example.", "b.example."}
	queries := prometheus.hasEachPanel("telltale.json", func() { p.ask(names[time.Now().Second()%len(names)]) })
	if queries < 30 {
		t.Errorf("the dashboard has %d queries", queries)
	}
	if found, got := prometheus.has(`count(ALERTS) or vector(0) == 0`); !found {
		t.Errorf("alerts of a server that is well: %s", got)
	}
	p.stop()
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		if found, got := prometheus.has(`ALERTS{alertname="TelltaleDown"}`); found {
			break
		} else if time.Now().After(end) {
			t.Fatalf("nothing is told of a server that has stopped: %s", got)
		}
	}
}

// A prometheus is one of Debian's.
type prometheus struct {
	t  *testing.T
	at string
}

func startPrometheus(t *testing.T, settings string) *prometheus {
	t.Helper()
	dir, p := t.TempDir(), &prometheus{t, freeAddress(t)}
	writeFile(t, filepath.Join(dir, "prometheus.yml"), settings)
	cmd := exec.Command("prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", p.at)
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus said\n%s", said.String())
		}
	})
	return p
}

// has reports whether a query has a result that is a number.
func (p *prometheus) has(query string) (ok bool, got string) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.at + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return false, string(text)
	}
	for _, r := range answer.Data.Result {
		if r.Value[1] != "NaN" {
			return true, string(text)
		}
	}
	return false, string(text)
}

// needPrometheus skips where Prometheus is not installed; .ci/tools sees to it that it is.
func needPrometheus(t *testing.T) {
	t.Helper()
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s (Debian: prometheus)", program)
		}
	}
}

// hasEachPanel fails unless the query of each panel of a dashboard gets a result. between is called while one has none, and
// returns how many queries there are.
func (p *prometheus) hasEachPanel(file string, between func()) (queries int) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join("../../packaging/grafana", file))
	if err != nil {
		p.t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		p.t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "1m", "$job", ".+", "$instance", ".+")
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries++
			var got string
			found := false
			for end := time.Now().Add(2 * patience); !found && time.Now().Before(end); {
				if found, got = p.has(fill.Replace(target.Expr)); !found {
					between()
					time.Sleep(200 * time.Millisecond)
				}
			}
			if !found {
				p.t.Errorf("%s: %s\nhas no result: %s", panel.Title, target.Expr, got)
			}
		}
	}
	return queries
}
