package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A report is what has been measured.
type report struct {
	versions     map[string]string
	binary       int64 // octets of the program
	rounds       []round
	footprints   []footprint
	days         []memory
	idleFor      time.Duration
	idleCPU      time.Duration
	reloads      int
	instructions string
	kept         bool // instructions are compared with those that are kept
	moreThanKept bool
	growth       []point
	store        []string // lines of sizeBenchmark
	secured      []secured
	profiles     []profile
	checks       map[string]check
	failed       []string
	missing      []string // peers that are not here
	cuts         []string // what the time limit took
}

// cut notes that a part ended after so many rounds.
func (r *report) cut(name string, rounds int) {
	if rounds > 0 {
		name = fmt.Sprintf("%s (after %d rounds)", name, rounds)
	}
	r.cuts = append(r.cuts, name)
}

// describe finds all programs before anything is measured.
func (b *bench) describe() error {
	b.report.versions = map[string]string{"echo": "recvmmsg, sendmmsg"}
	for _, name := range append([]string{"telltale"}, b.set.peers...) {
		version, err := kinds[name].look(b.set)
		if err == nil {
			b.report.versions[name] = version
			continue
		}
		if name == "telltale" {
			return err
		}
		b.say("%s is not here: %v", name, err)
		b.report.missing = append(b.report.missing, name)
	}
	b.set.peers = slices.DeleteFunc(b.set.peers, func(name string) bool { return slices.Contains(b.report.missing, name) })
	if info, err := os.Stat(b.set.telltale); err == nil {
		b.report.binary = info.Size()
	}
	b.say("%v; load average %s", b.machine, b.machine.loadBefore)
	return nil
}

// page is docs/benchmarks.md.
func (b *bench) page() string {
	var p strings.Builder
	b.pageHead(&p)
	b.pageReach(&p)
	for _, size := range b.set.sizes {
		b.pageServers(&p, size)
	}
	b.pageSaturated(&p)
	b.pageOwn(&p)
	b.pageEncrypted(&p)
	b.pageLog(&p)
	b.pageMemory(&p)
	b.pageLatency(&p)
	b.pageGrowth(&p)
	b.pageStore(&p)
	b.pageProfiles(&p)
	b.pageChecks(&p)
	b.pageRest(&p)
	return p.String()
}

func (b *bench) pageHead(p *strings.Builder) {
	fmt.Fprint(p, `# Benchmarks

This page is written by `+"`make bench`"+`. It says how fast Telltale is and what it occupies beside other servers, and how near that is to the
limit of the machine: a program that sends every packet back as a reply and does nothing else ("echo"). **Queries per CPU-second** of the
server (user and system time) come first: they do not depend on how fast the load is, and little on what else the machine is doing. Ratios are
taken within one round and hold better than absolute figures.

At home nobody notices the speed of queries: a household asks some ten a second, and one core of the machine below answers more than 140,000 of any
mix, of which a Raspberry Pi 4, whose cores are some six times slower (an estimate, not measured here), leaves more than 20,000. What a phone notices
is the time of one answer: a listed or cached name is answered within 0.03 ms of its arrival, which is little beside the milliseconds that Wi-Fi takes.

`)
	fmt.Fprintf(p, "- Machine: %v.\n", b.machine)
	fmt.Fprintf(p, "- When: %s, %.0f minutes. Load average before %s, after %s; \"noise\" is the share of all cores that others took\n"+
		"  meanwhile. Where there is much of it, queries per second, latency, losses and times to the first answer say little.\n",
		b.begun.UTC().Format("2006-01-02 15:04 MST"), time.Since(b.begun).Minutes(), b.machine.loadBefore, loadAverage())
	fmt.Fprintf(p, "- Telltale %s, %.1f MB (10^6) as a stripped binary, its settings left as they are, query log on unless said otherwise.\n",
		b.report.versions["telltale"], float64(b.report.binary)/1e6)
	fmt.Fprintf(p, "- Server on core %s; load (dnsperf %s, `-c 8 -T 1 -q 200`) and upstream (%s) on core %s. UDP on 127.0.0.1, without EDNS.\n",
		b.set.serverCore, dnsperfVersion(), b.answers, b.set.loadCore)
	fmt.Fprintf(p, "- Loads of %s s (with %s names): *blocked*, %s listed names; *cached*, %s unlisted ones, asked before; *mix*, 30 %% listed,\n"+
		"  60 %% asked before with some far more popular than others, 10 %% new; *miss*, new ones only. Of the echo %d s at most and of other servers\n"+
		"  %d s: a query costs them the same from the first on, while a name that is new to Telltale's log costs more than one it has a row for.\n",
		join(b.set.seconds), joinThousands(b.set.sizes), thousands(blockedNames), thousands(cachedNames), echoSeconds, peerSeconds)
	fmt.Fprintf(p, "- Medians of %d rounds for the echo and Telltale, in each of which both are started anew; %d for Telltale without its log, memory and\n"+
		"  latency; one for the other servers, beside the first round of the echo.\n", b.set.runs, min(b.set.runs, noLogRounds))
	for _, size := range b.set.sizes {
		if c, ok := b.catalogues[size]; ok {
			fmt.Fprintf(p, "- Lists: made-up names (`bench/names`): %v.\n", c.shape)
		}
	}
	fmt.Fprint(p, corpusShape, `- Others: unbound with `+"`local-zone: always_null`"+`; dnsmasq with `+"`address=/NAME/0.0.0.0`"+` and a cache of 25,000; dnsdist (a balancer, not a
  resolver) with a SuffixMatchNode and a packet cache; pdns-recursor and knot-resolver with a response policy zone of the names alone. No
  validation, no log of queries. `+"`bench/cmd/bench/kinds.go`"+` has their settings.

To measure again: `+"`make bench`"+`, or a part of it, such as

`+"```sh\n"+`BENCH_SIZES=20000 BENCH_SECONDS=1 BENCH_RUNS=1 BENCH_PEERS=unbound BENCH_PAGE=/tmp/page.md make bench
BENCH_SECTIONS="saturated profile" make bench
BENCH_SECTIONS=idle BENCH_IDLE=600 make bench
`+"```"+`

`+"`bench/run.sh`"+` lists all settings. It takes two cores, dnsperf and the servers named (installed from Debian's packages by root), a C compiler and Go.

**Left out**: DNS over TCP and QUIC; IPv6; EDNS; a real network, whose interrupts and driver would be added to every
server alike; more than one core for the server; names that peers treat differently (below a listed one). dnsperf with one thread does not
saturate the fastest servers: their batches stay at one packet, and so do the echo's. A part of the work that the log does falls into the time after a
load, and into the next.

`)
	for _, f := range b.report.failed {
		fmt.Fprintf(p, "**Failed**: %s\n\n", f)
	}
	if len(b.report.missing) > 0 {
		fmt.Fprintf(p, "**Not here**: %s.\n\n", strings.Join(b.report.missing, ", "))
	}
	if len(b.report.cuts) > 0 {
		fmt.Fprintf(p, "**Cut off** by the limit of %s: %s.\n\n", b.set.limit, strings.Join(b.report.cuts, ", "))
	}
}

// corpusShape is what `bench names` printed for a collection of public lists.
const corpusShape = `- For comparison, 432,743 different names of public lists in all formats: 22.60 octets on average, 49.6 % registrable domains.
`

func dnsperfVersion() string {
	out, _ := exec.Command("dnsperf", "-h").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(line, "Version "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// of returns the rounds of one server in one section.
func (r *report) of(section, server string, size int) []round {
	var found []round
	for _, one := range r.rounds {
		if one.Section == section && one.Server == server && (size == 0 || one.Size == size) {
			found = append(found, one)
		}
	}
	return found
}

// middle is the median of a figure over rounds.
func middle[R any](rounds []R, figure func(R) float64) float64 {
	var all []float64
	for _, r := range rounds {
		all = append(all, figure(r))
	}
	return median(all)
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.SortFunc(all, cmp.Compare)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// ratio is the median over rounds of a server's figure to that of another in
// the same round.
func (r *report) ratio(section, server, to string, size int, figure func(round) float64) float64 {
	var all []float64
	for _, one := range r.of(section, server, size) {
		for _, other := range r.of(section, to, 0) {
			if other.Run == one.Run && (other.Size == one.Size || size == 0) && figure(other) > 0 {
				all = append(all, figure(one)/figure(other))
				break
			}
		}
	}
	return median(all)
}

// noise is that of the load with the most.
func (r round) noise() float64 {
	most := 0.0
	for _, c := range r.Loads {
		most = max(most, c.Noise)
	}
	return most
}

func perCPU(load string) func(round) float64 {
	return func(r round) float64 { return r.Loads[load].perCPUSecond() }
}

// serverNames are those of the tables of servers.
func (b *bench) serverNames() []string {
	return append([]string{"echo", "telltale"}, b.set.peers...)
}

func (b *bench) pageServers(p *strings.Builder, size int) {
	if len(b.report.of("servers", "telltale", size)) == 0 {
		return
	}
	fmt.Fprintf(p, "## %s names\n\nQueries per CPU-second, thousands, and the ratio to the echo:\n\n", thousands(size))
	table(p, "server", "version", "blocked", "cached", "mix", "miss", "ratio blocked", "cached", "mix", "miss", "noise")
	for _, name := range b.serverNames() {
		rounds := b.report.of("servers", name, size)
		if len(rounds) == 0 {
			continue
		}
		cells := []string{name, b.report.versions[name]}
		for _, load := range loadNames {
			cells = append(cells, kilo(middle(rounds, perCPU(load))))
		}
		for _, load := range loadNames {
			cells = append(cells, fmt.Sprintf("%.2f", b.report.ratio("servers", name, "echo", size, perCPU(load))))
		}
		row(p, append(cells, percent(middle(rounds, round.noise)))...)
	}
	fmt.Fprint(p, "\nQueries per second, thousands; the share of queries without answer; time from exec to the first right answer; memory in MB (2^20) "+
		"after all loads:\n\n")
	table(p, "server", "blocked", "cached", "mix", "miss", "lost", "other codes", "first answer s", "RSS", "PSS", "RssAnon", "VmHWM")
	for _, name := range b.serverNames() {
		rounds := b.report.of("servers", name, size)
		if len(rounds) == 0 {
			continue
		}
		cells := []string{name}
		for _, load := range loadNames {
			cells = append(cells, kilo(middle(rounds, func(r round) float64 { return r.Loads[load].perSecond() })))
		}
		first := fmt.Sprintf("%.2f", middle(rounds, func(r round) float64 { return r.Ready.Seconds() }))
		if name == "telltale" {
			first += fmt.Sprintf("; %.2f compiled", middle(rounds, func(r round) float64 { return r.Again.Seconds() }))
		}
		row(p, append(cells, lostShare(rounds, func(c cost) int { return c.Lost }), lostShare(rounds, func(c cost) int { return c.Wrong }), first,
			mega(middle(rounds, func(r round) float64 { return float64(r.End.RSS) })), mega(middle(rounds, func(r round) float64 { return float64(r.End.PSS) })),
			mega(middle(rounds, func(r round) float64 { return float64(r.End.Anon) })), mega(middle(rounds, func(r round) float64 { return float64(r.End.Peak) })))...)
	}
	fmt.Fprint(p, "\nThe first answer is from text; Telltale starts a second time from the lists it has compiled, and is then put under load.\n\n")
}

func (b *bench) pageSaturated(p *strings.Builder) {
	if len(b.report.of("saturated", "telltale", 0)) == 0 {
		return
	}
	fmt.Fprintf(p, "## Saturated\n\n%s names, `bench/blast.c` (sendmmsg, 512 outstanding). Queries per CPU-second, thousands, and the ratio to the echo:\n\n",
		thousands(b.set.sizes[0]))
	table(p, "server", "blocked", "cached", "mix", "ratio blocked", "cached", "mix", "queries per second, cached")
	for _, name := range b.serverNames() {
		rounds := b.report.of("saturated", name, 0)
		if len(rounds) == 0 {
			continue
		}
		cells := []string{name}
		for _, load := range loadNames[:3] {
			cells = append(cells, kilo(middle(rounds, perCPU(load))))
		}
		for _, load := range loadNames[:3] {
			cells = append(cells, fmt.Sprintf("%.2f", b.report.ratio("saturated", name, "echo", b.set.sizes[0], perCPU(load))))
		}
		row(p, append(cells, kilo(middle(rounds, func(r round) float64 { return r.Loads["cached"].perSecond() })))...)
	}
	fmt.Fprintln(p)
}

func (b *bench) pageLog(p *strings.Builder) {
	size := b.set.sizes[0]
	if len(b.report.of("servers", "telltale-nolog", size)) == 0 {
		return
	}
	fmt.Fprintf(p, "## What the log costs\n\nQueries per CPU-second, thousands, with %s names, in the rounds in which Telltale was also measured without its log:\n\n",
		thousands(size))
	table(p, "", "blocked", "cached")
	for _, name := range []string{"telltale", "telltale-nolog"} {
		rounds := slices.DeleteFunc(b.report.of("servers", name, size), func(r round) bool { return r.Run >= noLogRounds })
		row(p, map[string]string{"telltale": "log on", "telltale-nolog": "log off"}[name], kilo(middle(rounds, perCPU("blocked"))), kilo(middle(rounds, perCPU("cached"))))
	}
	row(p, "more CPU for a query", percent(b.logShare("blocked")), percent(b.logShare("cached")))
	fmt.Fprintln(p)
}

func (b *bench) pageMemory(p *strings.Builder) {
	if len(b.report.footprints) == 0 {
		return
	}
	fmt.Fprintf(p, "## Memory\n\nTelltale with its log on and %s answers in its cache, in MB (2^20). The peak is VmHWM, set back before a line is added to the "+
		"large list, so that all of it is read and compiled again under way:\n\n", thousands(warmNames))
	table(p, "names", "RSS from text", "RSS from compiled", "of it anonymous", "PSS", "peak while reloading", "to RSS before", "in force after s")
	for _, size := range b.set.sizes {
		all := b.report.footprintsOf(size)
		if len(all) == 0 {
			continue
		}
		row(p, thousands(size),
			mega(middle(all, func(f footprint) float64 { return float64(f.Text.RSS) })), mega(middle(all, func(f footprint) float64 { return float64(f.Compiled.RSS) })),
			mega(middle(all, func(f footprint) float64 { return float64(f.Compiled.Anon) })), mega(middle(all, func(f footprint) float64 { return float64(f.Compiled.PSS) })),
			mega(middle(all, func(f footprint) float64 { return float64(f.Reloading.Peak) })),
			fmt.Sprintf("%.2f", middle(all, func(f footprint) float64 { return float64(f.Reloading.Peak) / float64(f.Compiled.RSS) })),
			fmt.Sprintf("%.2f", middle(all, func(f footprint) float64 { return f.InForce.Seconds() })))
	}
	fmt.Fprintln(p)
}

func (b *bench) pageLatency(p *strings.Builder) {
	if len(b.report.of("latency", "telltale", 0)) == 0 {
		return
	}
	fmt.Fprintf(p, "## Latency at %s queries a second\n\nHalf blocked, half cached, evenly spaced (`blast -r`), from before the query is sent to the kernel's stamp on its "+
		"reply. \"telltale\" has a row in its log for each name; \"%s\" gets %s names that are new to it; \"%s\" reads and compiles a list of %s names %d times "+
		"meanwhile:\n\n", thousands(b.set.rate), writing, thousands(blockedNames), reloading, thousands(b.set.sizes[len(b.set.sizes)-1]), b.report.reloads)
	table(p, "server", "half within µs", "99 % within µs", "99.9 % within µs", "longest ms", "lost", "99 % to the echo's", "noise")
	for _, name := range append([]string{"echo", "telltale", writing, reloading}, b.set.peers...) {
		rounds := b.report.of("latency", name, 0)
		if len(rounds) == 0 {
			continue
		}
		half := func(figure func(cost) float64) func(round) float64 {
			return func(r round) float64 { return figure(r.Loads["half"]) }
		}
		micro := func(figure func(cost) time.Duration) string {
			return fmt.Sprintf("%.0f", 1e6*middle(rounds, half(func(c cost) float64 { return figure(c).Seconds() })))
		}
		row(p, name, micro(func(c cost) time.Duration { return c.P50 }), micro(func(c cost) time.Duration { return c.P99 }),
			micro(func(c cost) time.Duration { return c.P999 }), fmt.Sprintf("%.1f", 1e3*middle(rounds, half(func(c cost) float64 { return c.Max.Seconds() }))),
			lostShare(rounds, func(c cost) int { return c.Lost }), fmt.Sprintf("%.2f", b.report.ratio("latency", name, "echo", 0, p99OfHalf)),
			percent(middle(rounds, half(func(c cost) float64 { return c.Noise }))))
	}
	fmt.Fprintln(p)
}

func (b *bench) pageRest(p *strings.Builder) {
	fmt.Fprint(p, "## And\n\n")
	if more, ok := b.report.secondReader(); ok {
		rounds := b.report.of("readers", "two readers", 0)
		fmt.Fprintf(p, "- Two readers on one core (started on two, then held to one): %s thousand queries per CPU-second against %s with one, %s more CPU a query.\n",
			kilo(middle(rounds, perCPU("half"))), kilo(middle(b.report.of("readers", "one reader", 0), perCPU("half"))), percent(more))
	}
	if d := b.report.days; len(d) > 1 {
		first, last := d[0], d[len(d)-1]
		fmt.Fprintf(p, "- 86,400 queries of the mix at full speed, once and then %d times more: RSS %.1f MB, then %.1f MB; anonymous %.1f MB, then %.1f MB.\n",
			len(d)-1, megabytes(first.RSS), megabytes(last.RSS), megabytes(first.Anon), megabytes(last.Anon))
	}
	if b.report.idleFor > 0 {
		fmt.Fprintf(p, "- One query a second for %.0f s: %.2f %% of one core.\n", b.report.idleFor.Seconds(), 100*b.report.idleCPU.Seconds()/b.report.idleFor.Seconds())
	}
	if b.report.instructions != "" {
		fmt.Fprintf(p, "- Instructions a query: %s.\n", b.report.instructions)
	}
	fmt.Fprint(p, "- Go benchmarks of each hot function: `bench/micro.sh`, against `bench/baseline.txt`.\n"+
		"- Lists edited under load, nothing lost and nothing wrong: `bench/edits.sh`.\n")
}

func join(all []float64) string {
	var words []string
	for _, v := range all {
		words = append(words, fmt.Sprintf("%g", v))
	}
	return strings.Join(words, " and ")
}

func joinThousands(all []int) string {
	var words []string
	for _, v := range all {
		words = append(words, thousands(v))
	}
	return strings.Join(words, " and ")
}

func table(p *strings.Builder, columns ...string) {
	row(p, columns...)
	row(p, slices.Repeat([]string{"---"}, len(columns))...)
}

func row(p *strings.Builder, cells ...string) {
	fmt.Fprintf(p, "| %s |\n", strings.Join(cells, " | "))
}

// lostShare of queries over all loads, per cent.
func lostShare(rounds []round, figure func(cost) int) string {
	part, all := 0, 0
	for _, r := range rounds {
		for _, c := range r.Loads {
			part += figure(c)
			all += c.Queries + c.Lost
		}
	}
	if part == 0 || all == 0 {
		return "0"
	}
	return fmt.Sprintf("%.3f %%", 100*float64(part)/float64(all))
}

func kilo(v float64) string          { return fmt.Sprintf("%.1f", v/1e3) }
func megabytes(octets int64) float64 { return float64(octets) / (1 << 20) }
func mega(octets float64) string     { return fmt.Sprintf("%.1f", octets/(1<<20)) }
func percent(v float64) string       { return fmt.Sprintf("%.1f %%", 100*v) }

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
