//go:build !small

package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/netutil"

	"telltale/fleet"
	"telltale/metrics"
)

// What Prometheus is answered by a center. It has names of nodes, and neither names nor addresses of clients.

// mostMetricNodes bounds the nodes that are told apart.
const mostMetricNodes = 1000

// nodeStates are the words of nodeLine.Is that a joined node may have, in the order of a page.
var nodeStates = [...]string{"current", "behind", "refuses", "silent", "unknown", "waiting", "revoked"}

// serveMetrics answers on the addresses of center.metrics. What it returns ends that.
func (c *center) serveMetrics() (end func(), err error) {
	var listeners []net.Listener
	for _, addr := range c.cfg.Center.Metrics {
		l, err := net.Listen(networkOf(addr), addr.String())
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, fmt.Errorf("center.metrics: %w (take another address or port, or end what has it)", err)
		}
		listeners = append(listeners, netutil.LimitListener(l, metricsConnections))
	}
	host, _ := os.Hostname()
	s := &http.Server{
		Handler:           metrics.Handler(host, c.writeMetrics, http.HandlerFunc(c.serveProbes)),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan struct{}, len(listeners))
	for _, l := range listeners {
		go func() {
			defer func() { done <- struct{}{} }()
			s.Serve(l)
		}()
		c.metricsAddrs = append(c.metricsAddrs, l.Addr())
	}
	return func() {
		s.Close()
		for range listeners {
			<-done
		}
	}, nil
}

// serveProbes answers /healthz, and /readyz with whether batches are stored.
func (c *center) serveProbes(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if r.URL.Path == "/readyz" && c.receiver != nil && c.receiver.Stats().Failing {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "store: it takes nothing; the messages of 'telltale center' say why\n")
		return
	}
	io.WriteString(w, "ok\n")
}

func (c *center) writeMetrics(_ context.Context, p *metrics.Page) {
	now := time.Now()
	p.Add(&metrics.BuildInfo, 1, buildVersion(), "")
	p.Add(&metrics.StartTime, unixSeconds(c.started))
	role := c.role.get()
	p.Add(&metrics.CenterLeads, oneIf(role.leads()))
	if c.receiver != nil { // it leads
		c.writeLeading(p, now)
	}
	metrics.AddProcess(p)
}

func (c *center) writeLeading(p *metrics.Page, now time.Time) {
	st := c.receiver.Stats()
	if lines, err := c.lines(now); err == nil { // where it cannot be read, nothing is said of nodes
		writeNodeMetrics(p, lines, &st, now)
	}
	writeReceiverMetrics(p, &st)
	p.Add(&metrics.CenterRefused, float64(c.strangersRefused.Load()))
	p.Add(&metrics.CenterPolicyRefused, oneIf(c.isPolicyRefused.Load()))
}

// lines returns how all nodes stand, by name.
func (c *center) lines(now time.Time) ([]nodeLine, error) {
	members, err := c.authority.Members()
	if err != nil {
		return nil, err
	}
	latest, all := c.policy.Versions()
	return linesOf(c.cfg, members, c.roster.Entries(), latest, all, now), nil
}

func writeNodeMetrics(p *metrics.Page, lines []nodeLine, st *fleet.ReceiverStats, now time.Time) {
	states := map[string]int{}
	var told []*nodeLine // those that ever reported
	for i := range lines {
		l := &lines[i]
		states[l.Is]++
		if l.Entry != nil && l.Revoked == nil && len(told) < mostMetricNodes {
			told = append(told, l)
		}
	}
	for _, state := range nodeStates {
		p.Add(&metrics.CenterNodes, float64(states[state]), state)
	}
	each := func(f *metrics.Family, value func(l *nodeLine) float64) {
		for _, l := range told {
			p.Add(f, value(l), l.Node)
		}
	}
	each(&metrics.CenterNodeSeen, func(l *nodeLine) float64 { return unixSeconds(l.Seen) })
	each(&metrics.CenterNodeBatch, func(l *nodeLine) float64 { return unixSeconds(st.Last[l.Node]) })
	each(&metrics.CenterNodeLag, func(l *nodeLine) float64 { return l.lag(now).Seconds() })
	each(&metrics.CenterNodeWaiting, func(l *nodeLine) float64 { return float64(l.State.Shipped.Waiting) })
	each(&metrics.CenterNodeClock, func(l *nodeLine) float64 { return float64(l.Ahead) })
	each(&metrics.CenterNodeChanged, func(l *nodeLine) float64 { return oneIf(l.Changed != "") })
}

// lag returns how old the oldest lookups are that the node has, by what it said last, and the center has not.
func (l *nodeLine) lag(now time.Time) time.Duration {
	if l.State.Shipped.Waiting == 0 || l.State.Shipped.Until.IsZero() {
		return 0
	}
	byNode := now.Add(time.Duration(float64(l.Ahead) * float64(time.Second)))
	return max(byNode.Sub(l.State.Shipped.Until), 0)
}

func writeReceiverMetrics(p *metrics.Page, st *fleet.ReceiverStats) {
	p.Add(&metrics.CenterBatches, float64(st.Batches))
	p.Add(&metrics.CenterBytes, float64(st.Bytes))
	p.Add(&metrics.CenterRows, float64(st.Rows))
	for _, why := range fleet.Refusals {
		p.Add(&metrics.CenterBatchRefused, float64(st.Refused[why]), why)
	}
	p.AddHistogram(&metrics.CenterInsertTime, fleet.InsertBounds[:], st.Inserts[:], st.InsertTime)
	p.Add(&metrics.CenterStoreErrors, float64(st.StoreErrors))
	p.Add(&metrics.CenterStoreFailing, oneIf(st.Failing))
	p.Add(&metrics.CenterWaiting, float64(st.Waiting))
}
