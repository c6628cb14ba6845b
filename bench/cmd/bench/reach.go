package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A goal is a line of the table at the top of the page.
type goal struct {
	what, least string
	got         string // as measured
	held        bool
}

// goals are what Telltale is to reach, and what this run found. What the run did
// not measure is left out.
func (b *bench) goals() []goal {
	var all []goal
	add := func(what, least string, figures []figure) {
		if len(figures) == 0 {
			return
		}
		g := goal{what: what, least: least, held: true}
		var got []string
		for _, f := range figures {
			got = append(got, f.text)
			g.held = g.held && f.held
		}
		g.got = strings.Join(got, "; ")
		all = append(all, g)
	}
	r := &b.report
	add("blocked answers, log on, ratio to the echo", "0.85", b.ratios("servers", "blocked", 0.85))
	add("cached answers, log on, ratio to the echo", "0.85", b.ratios("servers", "cached", 0.85))
	add("blocked, saturated", "0.80", b.ratios("saturated", "blocked", 0.80))
	add("cached, saturated", "0.80", b.ratios("saturated", "cached", 0.80))
	add("mix of 30 % blocked, 60 % cached, 10 % misses", "0.60", b.ratios("servers", "mix", 0.60))
	add("misses", "0.32", b.ratios("servers", "miss", 0.32))
	for _, load := range ownLoads {
		add(fmt.Sprintf("own cost of a query, %s, to %s's", load.name, b.set.baseHash()), fmt.Sprintf("%.2f", load.most), b.ownFigures(load.name, load.most))
	}
	if r.instructions != "" && r.kept {
		add("instructions a query, to the figures in bench/instructions.txt", "2 % more", []figure{{r.instructions, !r.moreThanKept}})
	}
	add("more CPU a query with the log on", "at most 8 %", b.logFigures())
	add("latency at 20,000 queries/s, 99th percentile, to the echo's", "at most 1.5", b.latencyFigures())
	for i, size := range []int{600_000, 1_200_000} {
		most := []float64{48, 72}[i]
		if found := r.footprintsOf(size); len(found) > 0 {
			mb := max(middle(found, func(f footprint) float64 { return float64(f.Text.RSS) }), middle(found, func(f footprint) float64 { return float64(f.Compiled.RSS) })) / (1 << 20)
			add(fmt.Sprintf("RSS with %s names, log on, 20,000 answers cached", thousands(size)), fmt.Sprintf("at most %.0f MB", most),
				[]figure{atMost(fmt.Sprintf("%.1f MB", mb), mb, most)})
		}
	}
	var anonymous, peak []figure
	for _, size := range b.set.sizes {
		if found := r.footprintsOf(size); len(found) > 0 {
			mb := middle(found, func(f footprint) float64 { return float64(f.Compiled.Anon) }) / (1 << 20)
			anonymous = append(anonymous, atMost(fmt.Sprintf("%.1f MB with %s names", mb, thousands(size)), mb, 22))
			times := middle(found, func(f footprint) float64 { return float64(f.Reloading.Peak) / float64(f.Compiled.RSS) })
			peak = append(peak, atMost(fmt.Sprintf("%.2f with %s names", times, thousands(size)), times, 1.5))
		}
	}
	add("of it anonymous, lists mapped", "below 22 MB", anonymous)
	add("peak RSS during a full reload, to RSS before", "at most 1.5", peak)
	if found := r.of("servers", "telltale", b.set.sizes[0]); len(found) > 0 {
		names := thousands(b.set.sizes[0]) + " names"
		text, again := middle(found, func(r round) float64 { return r.Ready.Seconds() }), middle(found, func(r round) float64 { return r.Again.Seconds() })
		add("exec to first right blocked answer, from text, "+names, "0.5 s", []figure{atMost(fmt.Sprintf("%.2f s", text), text, 0.5)})
		add("exec to first right blocked answer, from compiled lists", "0.1 s", []figure{atMost(fmt.Sprintf("%.2f s", again), again, 0.1)})
	}
	if more, ok := r.secondReader(); ok {
		add("more CPU a query with two readers on one core", "at most 5 %", []figure{atMost(percent(more), more, 0.05)})
	}
	if grown, ok := r.dayGrowth(); ok {
		add("growth of anonymous memory after 86,400 queries and more", "none (2 % is noise)", []figure{atMost(percent(grown), grown, 0.02)})
	}
	if r.idleFor > 0 {
		used := r.idleCPU.Seconds() / r.idleFor.Seconds()
		add(fmt.Sprintf("%.0f s at one query a second", r.idleFor.Seconds()), "0.5 % of one core", []figure{atMost(fmt.Sprintf("%.2f %%", 100*used), used, 0.005)})
	}
	for _, name := range []string{"small", "overload"} {
		if c, ok := r.checks[name]; ok {
			add(checkGoals[name], checkLeast[name], []figure{{c.short, c.held}})
		}
	}
	if r.binary > 0 {
		mb := float64(r.binary) / 1e6
		add("binary, stripped", "25 MB (10^6)", []figure{atMost(fmt.Sprintf("%.1f MB", mb), mb, 25)})
	}
	return all
}

var (
	checkGoals = map[string]string{
		"small":    "a machine of 128 MB with 600,000 names",
		"overload": "a quarter of a core, asked three times what it can answer; then by one noisy client beside others",
	}
	checkLeast = map[string]string{
		"small":    "serves; no process killed",
		"overload": fmt.Sprintf("%.2f of the most in time; %.2f of the others' queries", overloadInTime, fairInTime),
	}
)

// A figure is a part of what a goal is measured by.
type figure struct {
	text string
	held bool
}

func atMost(text string, got, most float64) figure { return figure{text, got <= most} }

// ratios of Telltale to the echo in a section, for each size there.
func (b *bench) ratios(section, load string, least float64) (all []figure) {
	for _, size := range b.set.sizes {
		if len(b.report.of(section, "telltale", size)) == 0 || len(b.report.of(section, "echo", size)) == 0 {
			continue
		}
		ratio := b.report.ratio(section, "telltale", "echo", size, perCPU(load))
		all = append(all, figure{fmt.Sprintf("%.2f with %s names", ratio, thousands(size)), ratio >= least})
	}
	return all
}

func (b *bench) logFigures() (all []figure) {
	if len(b.report.of("servers", "telltale-nolog", 0)) == 0 {
		return nil
	}
	for _, load := range []string{"blocked", "cached"} {
		more := b.logShare(load)
		all = append(all, atMost(fmt.Sprintf("%s %s", percent(more), load), more, 0.08))
	}
	return all
}

// logShare is how much more CPU a query takes with the log on.
func (b *bench) logShare(load string) float64 {
	ratio := b.report.ratio("servers", "telltale", "telltale-nolog", b.set.sizes[0], perCPU(load))
	if ratio == 0 {
		return 0
	}
	return 1/ratio - 1
}

func (b *bench) latencyFigures() (all []figure) {
	if len(b.report.of("latency", "echo", 0)) == 0 {
		return nil
	}
	for _, name := range []string{"telltale", writing, reloading} {
		if len(b.report.of("latency", name, 0)) == 0 {
			continue
		}
		times := b.report.ratio("latency", name, "echo", 0, p99OfHalf)
		state := strings.TrimPrefix(strings.TrimPrefix(name, "telltale"), ", ")
		all = append(all, atMost(strings.TrimSpace(fmt.Sprintf("%.2f %s", times, state)), times, 1.5))
	}
	return all
}

func p99OfHalf(r round) float64 { return r.Loads["half"].P99.Seconds() }

func (r *report) footprintsOf(size int) (found []footprint) {
	for _, f := range r.footprints {
		if f.Size == size {
			found = append(found, f)
		}
	}
	return found
}

// secondReader is how much more CPU a query takes with two readers on a core.
func (r *report) secondReader() (more float64, ok bool) {
	ratio := r.ratio("readers", "one reader", "two readers", 0, perCPU("half"))
	return ratio - 1, ratio > 0
}

// dayGrowth is by how much anonymous memory has grown between the first times
// that a day's queries were asked and the last.
func (r *report) dayGrowth() (grown float64, ok bool) {
	if len(r.days) < 6 {
		return 0, false
	}
	anonymous := func(m memory) float64 { return float64(m.Anon) }
	third := len(r.days) / 3
	return middle(r.days[len(r.days)-third:], anonymous)/middle(r.days[:third], anonymous) - 1, true
}

func (b *bench) pageReach(p *strings.Builder) {
	goals := b.goals()
	if len(goals) == 0 {
		return
	}
	reached := len(goals) - len(slices.DeleteFunc(slices.Clone(goals), func(g goal) bool { return g.held }))
	fmt.Fprintf(p, "## Goals\n\n%d of %d reached. Ratios are of queries per CPU-second; figures are medians of %d rounds, fewer where it is said below.\n\n",
		reached, len(goals), b.set.runs)
	table(p, "what", "goal", "measured", "reached")
	for _, g := range goals {
		row(p, g.what, g.least, g.got, map[bool]string{true: "yes", false: "**no**"}[g.held])
	}
	fmt.Fprintln(p)
}

// perQuery is a duration as microseconds.
func perQuery(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e3) }
