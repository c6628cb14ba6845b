package main

import (
	"fmt"
	"slices"
	"strings"
)

// curves in the order of the page: the name of what grows, and what it says
// where a curve is not flat.
var curves = []struct{ name, title, why string }{
	{"names", "names listed", "A name is found in a table by its hash: with more names than the processor's caches hold, each lookup waits once or twice for memory."},
	{"clients", "client addresses", "Who asks is looked up for each query, and each address has rows of its own in the log: more of both than the processor's caches hold."},
	{"devices", "devices in the settings, each asking", "As many addresses ask as there are devices: it grows as with client addresses."},
	{"cache", "answers in the cache", "More answers than the processor's caches hold: each waits for memory."},
}

func (b *bench) pageGrowth(p *strings.Builder) {
	if len(b.report.growth) == 0 {
		return
	}
	fmt.Fprintf(p, "## How the cost grows\n\nMicroseconds of CPU a query, asked by `bench/blast.c` without pause for %s names blocked and as many cached, all asked before; "+
		"memory in MB (2^20). \"times\" is the cost to that of the first line, the greater of the two.\n\n", thousands(growthNames))
	for _, curve := range curves {
		points := slices.DeleteFunc(slices.Clone(b.report.growth), func(p point) bool { return p.Curve != curve.name })
		if len(points) == 0 {
			continue
		}
		columns := []string{curve.title, "blocked µs", "cached µs", "times", "RSS", "RssAnon"}
		if curve.name == "names" {
			columns = append(columns, "first answer from text s")
		}
		table(p, columns...)
		most := 0.0
		for _, one := range points {
			times := max(float64(one.Blocked)/float64(points[0].Blocked), float64(one.Cached)/float64(points[0].Cached))
			most = max(most, times)
			cells := []string{thousands(one.At), perQuery(one.Blocked), perQuery(one.Cached), fmt.Sprintf("%.2f", times), mega(float64(one.Memory.RSS)), mega(float64(one.Memory.Anon))}
			if curve.name == "names" {
				cells = append(cells, fmt.Sprintf("%.2f", one.Ready.Seconds()))
			}
			row(p, cells...)
		}
		if most <= flat {
			fmt.Fprintf(p, "\nFlat: at most %.2f times.\n\n", most)
		} else {
			fmt.Fprintf(p, "\nUp to %.2f times. %s\n\n", most, curve.why)
		}
	}
	var rows []string
	for _, one := range b.report.growth {
		if one.Text != "" {
			rows = append(rows, one.Text)
		}
	}
	if len(rows) > 0 {
		fmt.Fprintf(p, "Rows that the log has, and what a lookup costs (ns/op: who appends it; cpu-ns/lookup: with all that the writer does once "+
			"a window and at the end, of which storing into a larger file is the part that grows; `go test -bench %s ./querylog`):\n\n```\n%s\n```\n\n", logBenchmark, strings.Join(rows, "\n"))
	}
}

func (b *bench) pageStore(p *strings.Builder) {
	if len(b.report.store) == 0 {
		return
	}
	fmt.Fprintf(p, "## The log at size\n\nA store of %s rows of 25 devices, a fifth of them of listed names; what is asked of it; and the lookups of these rows in Pi-hole's schema, "+
		"in the sqlite3 that is installed, and in AdGuard Home's lines, of which one in twenty is written and times of those that are read to the end are taken twenty times "+
		"(`BENCH_ROWS=%d BENCH_SECTIONS=store make bench`):\n\n```\n%s\n```\n\n", thousands(b.set.rows), b.set.rows, strings.Join(b.report.store, "\n"))
}

// flat is what a curve may grow by and still be called flat: figures of loads so
// short differ by as much.
const flat = 1.25

func (b *bench) pageProfiles(p *strings.Builder) {
	if len(b.report.profiles) == 0 {
		return
	}
	fmt.Fprint(p, "## Where the time goes\n\nTelltale's own profile (`serve --cpuprofile`) under `bench/blast.c` without pause. The kernel's share is the limit that the echo shows; "+
		"the rest is ours.\n\n")
	for _, one := range b.report.profiles {
		fmt.Fprintf(p, "### %s\n\n", one.load)
		table(p, "part", "share", "CPU s")
		for _, part := range one.parts {
			if share := part.time.Seconds() / one.total.Seconds(); share >= 0.001 {
				row(p, part.name, percent(share), fmt.Sprintf("%.2f", part.time.Seconds()))
			}
		}
		fmt.Fprintf(p, "\n```\n      flat  flat%%   sum%%        cum   cum%%\n%s\n```\n\n", strings.Join(one.lines, "\n"))
	}
}

func (b *bench) pageChecks(p *strings.Builder) {
	for _, one := range []struct{ name, title string }{{"small", "A small machine"}, {"overload", "Overload"}} {
		if c, ok := b.report.checks[one.name]; ok {
			fmt.Fprintf(p, "## %s\n\n%s: %s. What was found:\n\n```\n%s\n```\n\n", one.title, upperFirst(checkGoals[one.name]), c.command, c.said)
		}
	}
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
