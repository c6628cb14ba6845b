package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// earlier is the name of Telltale as it was at settings.base.
const earlier = "telltale-earlier"

// ownLoads are those of which it is said what a query costs beyond the echo: the
// arguments of blast, and the most that it may be to the earlier commit's.
var ownLoads = []struct {
	name, file string
	queries    int  // once through so many; 0: for a time, again and again
	warm       bool // once the cache is filled
	most       float64
	says       string
}{
	{"first", "blocked", blockedNames, false, 0.5, "listed, not in the log yet"},
	{"blocked", "blocked", 0, false, 0.65, "listed"},
	{"repeated", "repeated", 0, false, 0.5, "one listed name again and again"},
	{"cached", "cached", 0, true, 0.65, "cached"},
	{"mix", "mix", 0, true, 0.6, "30 % listed, 60 % cached, 10 % misses"},
	{"miss", "miss", 50_000, false, 0.75, "misses"},
}

// own measures the echo, Telltale and an earlier commit of it in one round. Which goes
// first changes from round to round.
func (b *bench) own(run int) error {
	names := []string{"echo", "telltale"}
	if b.set.base != "" {
		names = append(names, earlier)
	}
	var errs []error
	for i := range names {
		errs = append(errs, b.ownOf(names[(i+run)%len(names)], run))
	}
	return errors.Join(errs...)
}

func (b *bench) ownOf(name string, run int) error {
	size := b.set.sizes[0]
	c, files, err := b.names(size)
	if err != nil {
		return err
	}
	at, err := b.site(name, c)
	if err != nil {
		return err
	}
	r := round{Section: "own", Server: name, Size: size, Run: run, Loads: map[string]cost{}}
	var said []string
	for _, load := range ownLoads {
		limit := []string{"-t", fmt.Sprint(min(ownSeconds, b.set.secondsOf(size)))}
		if load.queries > 0 {
			limit = []string{"-n", fmt.Sprint(load.queries)}
		}
		cached := ""
		if load.warm {
			cached = files["cached"]
		}
		got, err := b.wholeCost(name, c, at, cached, files[load.file], limit)
		if err != nil {
			return fmt.Errorf("%s: %w", load.name, err)
		}
		r.Loads[load.name] = got
		said = append(said, load.name+" "+perQuery(got.perQuery()))
	}
	b.say("%-16s µs of CPU a query: %s", name, strings.Join(said, ", "))
	b.report.rounds = append(b.report.rounds, r)
	return nil
}

// ownSeconds is how long a load lasts. The log writes a name once in a window, which is
// longer where there is room: a load that is short makes the log dearer than it is.
const ownSeconds = 5

// wholeCost measures one load of a server that is started for it and stopped after it: what
// the log puts off, a server that stops must do. The names of the file cached are asked
// before; "" for none.
func (b *bench) wholeCost(name string, c *catalogue, at site, cached, file string, limit []string) (cost, error) {
	s, err := b.open(name, c, at, b.set.serverCore)
	if err != nil {
		return cost{}, err
	}
	defer func() { b.shut(s) }()
	err = b.letCompile(s)
	if err == nil && cached != "" {
		err = errors.Join(b.warm(s, cached), b.letCompile(s))
	}
	if err != nil {
		return cost{}, err
	}
	before, err := s.cpuSoFar()
	if err != nil {
		return cost{}, err
	}
	got, _, err := b.blast(s.port, file, limit...)
	if err != nil {
		return cost{}, err
	}
	b.shut(s)
	got.CPU = s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime() - before
	return got, nil
}

func (c cost) perQuery() time.Duration {
	if c.Queries == 0 {
		return 0
	}
	return c.CPU / time.Duration(c.Queries)
}

// cpuSoFar is cpu to the nanosecond, by the clock that the kernel keeps of a process.
func (s *server) cpuSoFar() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^s.pid()<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("the processor time of process %d: %w", s.pid(), err)
	}
	return time.Duration(t.Nano()), nil
}

// ownCost is the median over rounds of what a query costs a server beyond the echo, in µs.
func (r *report) ownCost(name, load string) (µs float64, ok bool) {
	var all []float64
	for _, one := range r.of("own", name, 0) {
		for _, echo := range r.of("own", "echo", 0) {
			if echo.Run == one.Run {
				all = append(all, float64(one.Loads[load].perQuery()-echo.Loads[load].perQuery())/1e3)
			}
		}
	}
	return median(all), len(all) > 0
}

// ownRatio is the median over rounds of Telltale's own cost to the earlier commit's.
func (r *report) ownRatio(load string) (ratio float64, ok bool) {
	var all []float64
	for _, one := range r.of("own", "telltale", 0) {
		for _, was := range r.of("own", earlier, 0) {
			for _, echo := range r.of("own", "echo", 0) {
				limit := echo.Loads[load].perQuery()
				if before := was.Loads[load].perQuery() - limit; was.Run == one.Run && echo.Run == one.Run && before > 0 {
					all = append(all, float64(one.Loads[load].perQuery()-limit)/float64(before))
				}
			}
		}
	}
	return median(all), len(all) > 0
}

func (b *bench) pageOwn(p *strings.Builder) {
	if len(b.report.of("own", "telltale", 0)) == 0 {
		return
	}
	fmt.Fprintf(p, "## What a query costs beyond the kernel\n\nOwn cost: microseconds of CPU a query (all that the log writes of it included, until the server has stopped) less the echo's in the same round, without pause (`bench/blast.c`), "+
		"%s names, the log on. The ratio to the echo changes with the machine, as the kernel's share does; this does not hide there.", thousands(b.set.sizes[0]))
	if b.set.base != "" {
		fmt.Fprintf(p, " \"then\" is commit %s, built from the repository's own history (`bench/base.sh`) and measured in the same rounds.", b.set.baseHash())
	}
	fmt.Fprint(p, "\n\n")
	table(p, "load", "echo µs", "then: own µs", "now: own µs", "now to then", "at most")
	for _, load := range ownLoads {
		echo := middle(b.report.of("own", "echo", 0), func(r round) float64 { return float64(r.Loads[load.name].perQuery()) / 1e3 })
		now, _ := b.report.ownCost("telltale", load.name)
		cells := []string{load.name + " (" + load.says + ")", fmt.Sprintf("%.2f", echo), "-", fmt.Sprintf("%.2f", now), "-", fmt.Sprintf("%.2f", load.most)}
		if then, ok := b.report.ownCost(earlier, load.name); ok {
			cells[2] = fmt.Sprintf("%.2f", then)
		}
		if ratio, ok := b.report.ownRatio(load.name); ok {
			cells[4] = fmt.Sprintf("%.2f", ratio)
		}
		row(p, cells...)
	}
	fmt.Fprintln(p)
}

// ownFigures are the goals of a load.
func (b *bench) ownFigures(load string, most float64) []figure {
	ratio, ok := b.report.ownRatio(load)
	if !ok {
		return nil
	}
	return []figure{atMost(fmt.Sprintf("%.2f", ratio), ratio, most)}
}
