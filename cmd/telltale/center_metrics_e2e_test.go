//go:build e2e && !small

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Debian's Prometheus takes the metrics of a center with a node, and has a result for the query of each panel of its dashboard.
func TestE2EPrometheusOfACenter(t *testing.T) {
	t.Parallel()
	needPrometheus(t)
	at := freeAddress(t)
	c := startCenterWith(t, ", metrics: "+at)
	dir := t.TempDir()
	data, lists := filepath.Join(dir, "data"), filepath.Join(dir, "lists")
	writeFile(t, filepath.Join(lists, "ads.txt"), "tracker.example\n")
	c.join("attic", c.addr, data)
	node := startServe(t, dir, nil, "--data-dir", data, "--lists-dir", lists, "--listen-dns", "127.0.0.1:0", "--upstreams", "127.0.0.1:1")
	if err := node.ask("one.tracker.example."); err != nil {
		t.Fatal(err)
	}
	_, page := fetched(t, "http://"+at+"/metrics")
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(page)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	prometheus := startPrometheus(t, fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: telltale-center, static_configs: [{targets: [%q]}]}]\n", at))
	n := 0
	queries := prometheus.hasEachPanel("telltale-center.json", func() { n++; node.ask(fmt.Sprintf("n%d.tracker.example.", n)) })
	if queries < 20 {
		t.Errorf("the dashboard has %d queries", queries)
	}
	if found, got := prometheus.has(`telltale_center_rows_total > 0 and on () telltale_center_nodes{state="current"} == 1`); !found {
		t.Errorf("the center has no rows of its node: %s", got)
	}
}
