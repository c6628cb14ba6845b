package main

import (
	"strings"
	"testing"
	"time"

	"telltale/querylog"
	"telltale/web"
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

// Status names the vendors whose telemetry was asked for today, five of them at most, or that there was none.
func TestVendorsOfStatus(t *testing.T) {
	vendor := func(name string, telemetry uint64) web.TopLine {
		l := web.TopLine{}
		l.Key, l.Tiers.Telemetry = name, telemetry
		return l
	}
	none := "Vendors    nobody asked for a name listed as telemetry today\n"
	line := func(name string) string { return name + ": 2 lookups of names listed as telemetry\n" }
	five := []web.TopLine{vendor("A", 2), vendor("B", 2), vendor("C", 2), vendor("D", 2), vendor("E", 2)}
	for name, c := range map[string]struct {
		vendors []web.TopLine
		want    []string
		lines   int
	}{
		"none":           {nil, []string{none}, 1},
		"others alone":   {[]web.TopLine{vendor("A", 0)}, []string{none}, 1},
		"one and others": {[]web.TopLine{vendor("A", 0), vendor("B", 2)}, []string{"Vendors    " + line("B")}, 1},
		"five":           {append(five, vendor("F", 0)), []string{"Vendors    " + line("A"), "           " + line("E")}, 5},
		"six":            {append(five, vendor("F", 2)), []string{line("E"), "and more: 'telltale top vendors'\n"}, 6},
	} {
		var b strings.Builder
		(&overview{Vendors: c.vendors}).printVendors(&b)
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, b.String())
			}
		}
		if n := strings.Count(b.String(), "\n"); n != c.lines {
			t.Errorf("%s: %d lines, want %d:\n%s", name, n, c.lines, b.String())
		}
	}
}
