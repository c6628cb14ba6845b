package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"telltale/blocklists"
	"telltale/blocklists/subscribe"
	"telltale/config"
	"telltale/metrics"
	"telltale/querylog"
	"telltale/resolver/upstream"
	"telltale/web"
)

// What Prometheus is answered. Most of it is what the parts count anyway, read when somebody
// asks.

// metricsConnections bounds those of all who ask for metrics, at each address.
const metricsConnections = 32

// newMetrics returns what answers on the addresses of metrics.listen: on none yet.
func (a *app) newMetrics() *httpListeners {
	host, _ := os.Hostname()
	handler := metrics.Handler(host, a.writeMetrics, a.newProber(http.NotFoundHandler()))
	return &httpListeners{
		setting: "metrics.listen", logger: a.logger, answered: map[netip.AddrPort]*answeredAddress{},
		open: func(l net.Listener) net.Listener { return netutil.LimitListener(l, metricsConnections) },
		server: func() *http.Server {
			return &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
		},
	}
}

// countLookups has lookups counted where somebody may ask for metrics, anew where devices are
// told apart and were not, or the other way round.
func (a *app) countLookups(was, is config.Metrics) {
	switch {
	case len(is.Listen) == 0:
		a.counts.Store(nil)
	case a.counts.Load() == nil || was.Devices != is.Devices:
		a.counts.Store(metrics.NewCounts(is.Devices))
	}
}

func (a *app) writeMetrics(ctx context.Context, p *metrics.Page) {
	cfg := a.cfg.Load()
	p.Add(&metrics.BuildInfo, 1, buildVersion(), a.edition.Load().Name())
	p.Add(&metrics.StartTime, unixSeconds(a.started))
	p.Add(&metrics.Refused, oneIf(a.refusal() != ""))
	temporary := map[string]int{}
	for _, t := range a.lists.Current().Temporary() {
		temporary[string(t.Kind)]++
	}
	for _, kind := range []blocklists.TemporaryKind{blocklists.Pause, blocklists.Observing} {
		p.Add(&metrics.Temporary, float64(temporary[string(kind)]), string(kind))
	}
	if counts := a.counts.Load(); counts != nil { // who asks may have come before the address is not answered on any more
		counts.Write(p)
	}
	a.writeServerMetrics(p, cfg)
	writeUpstreamMetrics(p, a.server.Upstreams())
	p.Add(&metrics.UpstreamInvalid, float64(a.server.Stats().Invalid))
	writeListMetrics(p, a.listStatus(), a.subscriptions.Status())
	a.writeLogMetrics(ctx, p, cfg)
	if tap := a.tap.Load(); tap != nil {
		st := tap.Stats()
		p.Add(&metrics.DnstapSent, float64(st.Sent))
		p.Add(&metrics.DnstapDropped, float64(st.Dropped))
		p.Add(&metrics.DnstapConnected, oneIf(st.Connected))
	}
	metrics.AddProcess(p)
}

func (a *app) writeServerMetrics(p *metrics.Page, cfg *config.Config) {
	st := a.server.Stats()
	p.Add(&metrics.Received, float64(st.Queries))
	for _, of := range []struct {
		reason string
		count  uint64
	}{
		{"no-query", st.Dropped}, {"malformed", st.Malformed}, {"not-implemented", st.NotImplemented}, {"refused", st.Refused},
		{"unread", st.Unread}, {"bad-request", st.RequestsBad}, {"too-many-requests", st.RequestsRefused},
	} {
		p.Add(&metrics.Rejected, float64(of.count), of.reason)
	}
	readers := a.server.Readers()
	for i := range readers {
		p.Add(&metrics.ReaderPackets, float64(readers[i].Packets), strconv.Itoa(i))
	}
	for i := range readers {
		p.Add(&metrics.ReaderBatches, float64(readers[i].Batches), strconv.Itoa(i))
	}
	p.Add(&metrics.Waiting, float64(st.Waiting))
	p.Add(&metrics.WaitingLimit, float64(cfg.Limits.Waiting))
	p.Add(&metrics.Truncated, float64(st.Truncated))
	p.Add(&metrics.Unsent, float64(st.Unsent))
	p.Add(&metrics.Prefetches, float64(st.Prefetched))
	p.Add(&metrics.InternalErrors, float64(st.InternalErrors))
	p.Add(&metrics.OptionsIgnored, float64(st.OptionsIgnored))
	p.Add(&metrics.Connections, float64(st.Streams))
	for _, of := range []struct {
		reason string
		count  uint64
	}{{"refused", st.StreamsRefused}, {"replaced", st.StreamsReplaced}, {"cut", st.StreamsCut}, {"accept-failed", st.AcceptsFailed}, {"proxy-refused", st.ProxiesRefused}} {
		p.Add(&metrics.ConnectionEnds, float64(of.count), of.reason)
	}
	p.Add(&metrics.Handshakes, float64(st.Handshakes-min(st.HandshakesResumed, st.Handshakes)), "full")
	p.Add(&metrics.Handshakes, float64(st.HandshakesResumed), "resumed")
	p.Add(&metrics.Handshakes, float64(st.HandshakesFailed), "failed")
	for i, c := range a.certificateStatus() {
		p.Add(&metrics.CertificateEnd, unixSeconds(c.NotAfter), strconv.Itoa(i+1))
	}
	cache := a.server.CacheTotals()
	p.Add(&metrics.CacheEntries, float64(cache.Entries))
	p.Add(&metrics.CacheBytes, float64(cache.Bytes))
	p.Add(&metrics.CacheLimit, float64(cache.Size))
	p.Add(&metrics.CacheEvicted, float64(cache.Evicted))
}

// mostUpstreams bounds those that are told.
const mostUpstreams = 200

// writeUpstreamMetrics tells upstreams apart by how the settings call them, without the path of
// a URL: it may be an account's.
func writeUpstreamMetrics(p *metrics.Page, all []upstream.Status) {
	all = all[:min(len(all), mostUpstreams)]
	labels := upstreamLabels(all)
	each := func(add func(u *upstream.Status, label string)) {
		for i := range all {
			add(&all[i], labels[i])
		}
	}
	each(func(u *upstream.Status, label string) {
		p.Add(&metrics.UpstreamUp, oneIf(u.State == upstream.Up), label)
	})
	each(func(u *upstream.Status, label string) {
		p.Add(&metrics.UpstreamQueries, float64(u.Queries), label)
	})
	each(func(u *upstream.Status, label string) {
		for _, k := range u.ByKind {
			p.Add(&metrics.UpstreamFailures, float64(k.Count), label, k.Kind)
		}
	})
	each(func(u *upstream.Status, label string) { p.Add(&metrics.UpstreamHedged, float64(u.Hedged), label) })
	each(func(u *upstream.Status, label string) { p.Add(&metrics.UpstreamStrays, float64(u.Strays), label) })
	each(func(u *upstream.Status, label string) {
		var quantiles []metrics.Quantile
		if l := u.Latency; l.Answers > 0 {
			quantiles = []metrics.Quantile{{Of: 0.5, Value: l.P50.Seconds()}, {Of: 0.9, Value: l.P90.Seconds()}, {Of: 0.99, Value: l.P99.Seconds()}}
		}
		p.AddSummary(&metrics.UpstreamTime, quantiles, u.Time.Seconds(), u.Timed, label)
	})
}

// upstreamLabels returns a label for each upstream, no two the same.
func upstreamLabels(all []upstream.Status) []string {
	labels, seen := make([]string, len(all)), map[string]int{}
	for i := range all {
		label := withoutPath(all[i].ID)
		if seen[label]++; seen[label] > 1 {
			label = fmt.Sprintf("%s (%d)", label, seen[label])
		}
		labels[i] = label
	}
	return labels
}

// withoutPath returns the name of an upstream without the path of its URL.
func withoutPath(id string) string {
	scheme, rest, isURL := strings.Cut(id, "://")
	if !isURL {
		return id
	}
	rest, name, named := strings.Cut(rest, "#")
	host, _, _ := strings.Cut(rest, "/")
	if named {
		host += "#" + name
	}
	return scheme + "://" + host
}

// mostLists bounds those that are told.
const mostLists = 1000

func writeListMetrics(p *metrics.Page, all []web.List, subscribed []subscribe.Status) {
	all = slices.DeleteFunc(all, func(l web.List) bool { return l.Unread })
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(l web.List) bool {
		again := seen[l.Name]
		seen[l.Name] = true
		return again
	})
	all = all[:min(len(all), mostLists)]
	each := func(f *metrics.Family, value func(l *web.List) float64) {
		for i := range all {
			p.Add(f, value(&all[i]), all[i].Name)
		}
	}
	each(&metrics.ListRules, func(l *web.List) float64 { return float64(l.Rules) })
	each(&metrics.ListBad, func(l *web.List) float64 { return float64(l.BadLines) })
	each(&metrics.ListModified, func(l *web.List) float64 { return unixSeconds(l.Modified) })
	for i := range subscribed[:min(len(subscribed), mostLists)] {
		p.Add(&metrics.ListChecked, unixSeconds(subscribed[i].Checked), subscribed[i].Name)
	}
	each(&metrics.ListHeld, func(l *web.List) float64 { return oneIf(l.Held != "") })
	each(&metrics.ListFailed, func(l *web.List) float64 { return oneIf(cmp.Or(l.Failed, l.Missing) != "") })
}

func (a *app) writeLogMetrics(ctx context.Context, p *metrics.Page, cfg *config.Config) {
	st := a.log.Stats()
	p.Add(&metrics.LogLookups, float64(st.Appended))
	p.Add(&metrics.LogStored, float64(st.Stored))
	p.Add(&metrics.LogLost, float64(st.GivenUp))
	p.Add(&metrics.LogUnnamed, float64(st.Folded))
	p.Add(&metrics.LogOptedOut, float64(st.OptedOut))
	p.Add(&metrics.LogRows, float64(st.Rows))
	p.Add(&metrics.LogOpenRows, float64(st.OpenRows))
	p.Add(&metrics.LogJournal, float64(st.Journal))
	p.Add(&metrics.LogBytes, float64(st.Bytes))
	p.Add(&metrics.LogLimit, float64(cfg.Log.Size))
	p.Add(&metrics.LogLastCommit, unixSeconds(st.LastCommit))
	p.Add(&metrics.LogFailing, oneIf(st.LastError != ""))
	if c := a.recorded.of(ctx, a.readRecorded); c != nil {
		p.Add(&metrics.LogRecorded, c.ratio)
		for _, effect := range gapEffects {
			p.Add(&metrics.LogGaps, float64(c.gaps[effect]), string(effect))
		}
	}
}

// gapEffects are those that a page has, also where there is no such gap.
var gapEffects = [...]querylog.Effect{querylog.Unrecorded, querylog.Incomplete, querylog.Unnamed, querylog.Undated, querylog.Uncounted, querylog.Unblocked, querylog.Unbound, querylog.Removed}

// A recordedDay is how far the last 24 hours are in the log.
type recordedDay struct {
	ratio float64
	gaps  map[querylog.Effect]int
}

// readRecorded reads it from the ledger, which is read whole. nil: there is no log yet.
func (a *app) readRecorded(ctx context.Context) (*recordedDay, error) {
	now := time.Now()
	since := now.Add(-24 * time.Hour)
	c, err := a.log.Reader().Coverage(ctx, since, now)
	if err != nil || c.Begin.IsZero() || !c.Begin.Before(now) {
		return nil, err
	}
	if c.Begin.After(since) {
		since = c.Begin.Time // the time before a log begins is no gap
	}
	day := &recordedDay{ratio: float64(c.RecordedIn(since, now)) / float64(now.Sub(since)), gaps: map[querylog.Effect]int{}}
	for _, g := range c.Gaps {
		if g.Until.After(since) {
			day.gaps[g.Effect]++
		}
	}
	return day, nil
}

// recordedFor is how long what was read holds.
const recordedFor = 10 * time.Minute

// A recordedState is what was read last. Any goroutine may use it.
type recordedState struct {
	reading sync.Mutex // held while the ledger is read

	mu   sync.Mutex
	last *recordedDay
	at   time.Time
}

// of returns what was read last, read anew where that is too long ago. Who comes while it is
// read gets what was read before.
func (s *recordedState) of(ctx context.Context, read func(context.Context) (*recordedDay, error)) *recordedDay {
	s.mu.Lock()
	last, isNew := s.last, time.Since(s.at) < recordedFor
	s.mu.Unlock()
	if isNew || !s.reading.TryLock() {
		return last
	}
	defer s.reading.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // who asks waits for ten
	defer cancel()
	if c, err := read(ctx); err == nil {
		s.mu.Lock()
		s.last, s.at, last = c, time.Now(), c
		s.mu.Unlock()
	}
	return last
}

// unixSeconds returns a time as metrics have it; 0 for none.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
