package main

import (
	"strings"
	"testing"
	"time"

	"telltale/querylog"
)

// status shows the gaps that a report has, but for the time before the log began.
func TestStatusHasTheGapsOfReports(t *testing.T) {
	begin := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	gap := func(from, to time.Duration, effect querylog.Effect, kind string) querylog.Gap {
		return querylog.Gap{Since: querylog.Time{Time: begin.Add(from)}, Until: querylog.Time{Time: begin.Add(to)}, Effect: effect, Kind: kind}
	}
	c := querylog.Coverage{Begin: querylog.Time{Time: begin}, Gaps: []querylog.Gap{
		gap(-time.Hour, 0, querylog.Unrecorded, querylog.GapUnknown), gap(time.Second, 5*time.Second, querylog.Unrecorded, querylog.KindRestored),
		gap(5*time.Second, 33*time.Second, querylog.Unrecorded, querylog.GapDown), gap(time.Minute, 2*time.Minute, querylog.Unblocked, "pause"),
	}}
	o := overview{Gaps: missingIn(&c)}
	var b strings.Builder
	o.printGaps(&b)
	if got := b.String(); len(o.Gaps) != 2 || !strings.Contains(got, "(4 s)") || !strings.Contains(got, "no server ran") || strings.Contains(got, "pause") {
		t.Errorf("got %q of %d gaps", got, len(o.Gaps))
	}
	o.Gaps = missingIn(&querylog.Coverage{Begin: c.Begin, Gaps: c.Gaps[:1]})
	b.Reset()
	if o.printGaps(&b); !strings.Contains(b.String(), "none in the log") {
		t.Errorf("the time before the log is a gap: %q", b.String())
	}
}
