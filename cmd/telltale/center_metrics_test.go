//go:build !small

package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"telltale/config"
	"telltale/fleet"
	"telltale/fleet/authority"
	"telltale/fleet/roster"
	"telltale/metrics"
)

// Each node that ever reported is on a center's page, at most 1,000 of them, and none that was revoked.
func TestNodesOnThePageOfACenter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var members []authority.Member
	var entries []roster.Entry
	add := func(name string, e *roster.Entry) *authority.Member {
		members = append(members, authority.Member{Node: name})
		if e != nil {
			e.Node = name
			entries = append(entries, *e)
		}
		return &members[len(members)-1]
	}
	behind := &roster.Entry{Seen: now.Add(-5 * time.Second), From: "198.51.100.7:4711", Ahead: 10}
	behind.State = roster.State{Policy: "p1", Shipped: roster.Shipping{Until: now.Add(-50 * time.Second), Waiting: 3}}
	add("attic", behind)
	add("cellar", nil)
	add("gone", &roster.Entry{Seen: now}).Revoked = now
	add("kitchen", &roster.Entry{Seen: now.Add(-time.Hour), Changed: "shorter"})
	page := func() string {
		var p metrics.Page
		st := fleet.ReceiverStats{Last: map[string]time.Time{"attic": now.Add(-time.Minute)}}
		writeNodeMetrics(&p, linesOf(&config.Config{}, members, entries, "p2", "p2", now), &st, now)
		return string(p.Bytes())
	}
	got := page()
	for _, want := range []string{
		`telltale_center_nodes{state="behind"} 1`, `telltale_center_nodes{state="waiting"} 1`, `telltale_center_nodes{state="silent"} 1`, `telltale_center_nodes{state="revoked"} 1`, `telltale_center_nodes{state="current"} 0`,
		fmt.Sprintf(`telltale_center_node_seen_seconds{node="attic"} %d`, now.Unix()-5), fmt.Sprintf(`telltale_center_node_batch_seconds{node="attic"} %d`, now.Unix()-60), `telltale_center_node_batch_seconds{node="kitchen"} 0`,
		`telltale_center_node_lag_seconds{node="attic"} 60`, `telltale_center_node_lag_seconds{node="kitchen"} 0`, `telltale_center_node_waiting_windows{node="attic"} 3`,
		`telltale_center_node_clock_ahead_seconds{node="attic"} 10`, `telltale_center_node_changed{node="kitchen"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("got\n%s\nwant in it %s", got, want)
		}
	}
	for _, not := range []string{"198.51.100.7", `node="gone"`, `node="cellar"`} {
		if strings.Contains(got, not) {
			t.Errorf("%s is on the page", not)
		}
	}
	for i := range 1200 {
		add(fmt.Sprintf("n%d", i), &roster.Entry{Seen: now})
	}
	if n := strings.Count(page(), "telltale_center_node_seen_seconds{"); n != mostMetricNodes {
		t.Errorf("got %d nodes on the page, want %d", n, mostMetricNodes)
	}
}

// A center answers Prometheus and probes where center.metrics says, and only what they ask.
func TestACenterAnswersPrometheus(t *testing.T) {
	t.Parallel()
	file := centerSettings(t, "center: {listen: [\"127.0.0.1:0\"], metrics: \"127.0.0.1:0\"}\n")
	var said lockedBuffer
	cl := &cli{out: &said, err: &said}
	cl.root = cl.newRoot()
	if err := cl.root.PersistentFlags().Set("config", file); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	at, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- cl.serveCenter(ctx, func(c *center) { at <- c.metricsAddrs[0].String() })
	}()
	var address string
	select {
	case address = <-at:
	case err := <-ended:
		t.Fatal(err, said.String())
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: patience}
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n", "/metrics": "telltale_center_batches_total 0\n", "/v1/rows": "404"} {
		resp, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		resp.Write(&got)
		resp.Body.Close()
		if !strings.Contains(got.String(), want) {
			t.Errorf("%s: got %s, want in it %q", path, got.String(), want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
