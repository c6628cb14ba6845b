package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A section is a part of the page: it measures and adds to the report.
type section struct {
	name    string
	measure func(*bench) error
}

// sections in the order in which they are run and printed.
var sections = []section{
	{"servers", (*bench).servers},
	{"saturated", (*bench).saturated},
	{"log", (*bench).logCost},
	{"memory", (*bench).memoryOfNames},
	{"latency", (*bench).latency},
	{"day", (*bench).day},
	{"idle", (*bench).idle},
	{"instructions", (*bench).instructions},
}

// compare runs the sections and writes the page. One that fails is named on
// the page and does not stop the others.
func (b *bench) compare() error {
	if err := b.describe(); err != nil {
		return err
	}
	var errs []error
	for _, s := range sections {
		if len(b.set.sections) > 0 && !slices.Contains(b.set.sections, s.name) {
			continue
		}
		if err := s.measure(b); err != nil {
			err = fmt.Errorf("%s: %w", s.name, err)
			b.say("FAILED %v", err)
			b.report.failed = append(b.report.failed, err.Error())
			errs = append(errs, err)
		}
		if b.ctx.Err() != nil {
			break
		}
	}
	page := b.page()
	fmt.Print("\n", page)
	errs = append(errs, b.keepRaw())
	if b.ctx.Err() != nil {
		errs = append(errs, b.keepText("partial", ".md", page)) // what stands in the page's place stays
	} else {
		errs = append(errs, os.WriteFile(b.set.page, []byte(page), 0o644))
	}
	return errors.Join(errs...)
}

// keepRaw writes every single figure behind the medians.
func (b *bench) keepRaw() error {
	text, err := json.MarshalIndent(map[string]any{
		"machine": b.machine.String(), "rounds": b.report.rounds, "footprints": b.report.footprints, "days": b.report.days,
	}, "", " ")
	if err != nil {
		return err
	}
	return b.keepText("compare", ".json", string(text)+"\n")
}

// keepText writes a file of this run beside those of others.
func (b *bench) keepText(what, ending, text string) error {
	if err := os.MkdirAll(b.set.results, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.set.results, what+"-"+b.begun.UTC().Format("20060102-150405")+ending), []byte(text), 0o644)
}

var loadNames = []string{"blocked", "cached", "mix", "miss"}

// A round is one server, started anew and put under each load once.
type round struct {
	Section, Server string
	Size, Run       int
	Ready, Again    time.Duration // to the first right answer: from text, and at the second start
	Start, End      memory        // before and after the loads
	Loads           map[string]cost
}

// servers puts every server under every load, one after another and then
// again, so that what disturbs one disturbs all.
func (b *bench) servers() error {
	var errs []error
	for _, size := range b.set.sizes {
		c, files, err := b.names(size)
		if err != nil {
			return err
		}
		for run := range b.set.runs {
			for _, name := range b.serverNames() {
				r, err := b.round(name, c, files)
				if err != nil {
					errs = append(errs, fmt.Errorf("%s with %d names: %w", name, size, err))
					b.say("FAILED %s: %v", name, err)
					if b.ctx.Err() != nil {
						return errors.Join(errs...)
					}
					continue
				}
				r.Section, r.Size, r.Run = "servers", size, run
				b.report.rounds = append(b.report.rounds, r)
			}
		}
	}
	return errors.Join(errs...)
}

func (b *bench) serverNames() []string {
	return append([]string{"echo", "telltale"}, b.set.peers...)
}

func (b *bench) round(name string, c *catalogue, files loads) (r round, err error) {
	r = round{Server: name, Loads: map[string]cost{}}
	s, at, err := b.fresh(name, c)
	if err != nil {
		return r, err
	}
	r.Ready = s.ready
	if name == "telltale" {
		if err := b.letCompile(s); err != nil {
			b.shut(s)
			return r, err
		}
		b.shut(s)
		if s, err = b.open(name, c, at, b.set.serverCore); err != nil {
			return r, fmt.Errorf("second start: %w", err)
		}
		r.Again = s.ready
	}
	defer b.shut(s)
	if r.Start, err = s.memory(); err != nil {
		return r, err
	}
	for _, load := range loadNames {
		if load == "cached" {
			if err := b.warm(s, files["cached"]); err != nil {
				return r, err
			}
		}
		got, err := b.measure(s, func() (cost, time.Duration, error) { return b.dnsperf(s.port, files[load], b.set.seconds) })
		if err != nil {
			return r, fmt.Errorf("%s: %w", load, err)
		}
		r.Loads[load] = got
	}
	r.End, err = s.memory()
	b.say("%-14s %8d names: first answer %5.2f s, RSS %4d MB, thousand queries per CPU-second: blocked %.0f, cached %.0f, mix %.0f, miss %.0f",
		name, c.size, r.Ready.Seconds(), r.End.RSS>>20, r.Loads["blocked"].perCPUSecond()/1e3, r.Loads["cached"].perCPUSecond()/1e3,
		r.Loads["mix"].perCPUSecond()/1e3, r.Loads["miss"].perCPUSecond()/1e3)
	return r, err
}

// warm asks for each name of a file twice: what was dropped the first time is
// in the cache after the second.
func (b *bench) warm(s *server, file string) error {
	for range 2 {
		if _, _, err := b.dnsperf(s.port, file, -1, "-q", "100"); err != nil {
			return fmt.Errorf("warming the cache: %w", err)
		}
	}
	return nil
}

// letCompile waits until a server that has just started has no work left, so
// that its lists are compiled.
func (b *bench) letCompile(s *server) error {
	const quiet, longest = 300 * time.Millisecond, 20 * time.Second
	last, err := s.cpu()
	for begun := time.Now(); err == nil && time.Since(begun) < longest; {
		time.Sleep(quiet)
		now, failed := s.cpu()
		if now-last <= tick || failed != nil {
			return failed
		}
		last = now
	}
	return err
}

// saturated asks the servers without pause, so that batches form.
func (b *bench) saturated() error {
	size := b.set.sizes[0]
	c, files, err := b.names(size)
	if err != nil {
		return err
	}
	for run := range b.set.runs {
		for _, name := range b.serverNames() {
			s, _, err := b.fresh(name, c)
			if err != nil {
				return err
			}
			r := round{Section: "saturated", Server: name, Size: size, Run: run, Loads: map[string]cost{}}
			err = b.saturate(s, files, r.Loads)
			b.shut(s)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			b.say("%-14s saturated, thousand queries per CPU-second: blocked %.0f, cached %.0f, mix %.0f", name,
				r.Loads["blocked"].perCPUSecond()/1e3, r.Loads["cached"].perCPUSecond()/1e3, r.Loads["mix"].perCPUSecond()/1e3)
			b.report.rounds = append(b.report.rounds, r)
		}
	}
	return nil
}

func (b *bench) saturate(s *server, files loads, into map[string]cost) error {
	if err := errors.Join(b.letCompile(s), b.warm(s, files["cached"])); err != nil {
		return err
	}
	for _, load := range []string{"blocked", "cached", "mix"} {
		got, err := b.measure(s, func() (cost, time.Duration, error) {
			return b.blast(s.port, files[load], "-t", fmt.Sprint(b.set.seconds))
		})
		if err != nil {
			return err
		}
		into[load] = got
	}
	return nil
}

// logCost asks long enough that the log writes what it has gathered.
func (b *bench) logCost() error {
	const window = 10 // seconds, in which the log folds
	size := b.set.sizes[0]
	c, files, err := b.names(size)
	if err != nil {
		return err
	}
	seconds := max(b.set.seconds, min(window+1, 4*b.set.seconds))
	for run := range b.set.runs {
		for _, name := range []string{"telltale", "telltale-nolog"} {
			s, _, err := b.fresh(name, c)
			if err != nil {
				return err
			}
			r := round{Section: "log", Server: name, Size: size, Run: run, Loads: map[string]cost{}}
			err = errors.Join(b.letCompile(s), b.warm(s, files["cached"]))
			for _, load := range []string{"blocked", "cached"} {
				if err != nil {
					break
				}
				r.Loads[load], err = b.measure(s, func() (cost, time.Duration, error) { return b.dnsperf(s.port, files[load], seconds) })
			}
			b.shut(s)
			if err != nil {
				return err
			}
			b.say("%-14s %.0f s each, thousand queries per CPU-second: blocked %.0f, cached %.0f", name, seconds,
				r.Loads["blocked"].perCPUSecond()/1e3, r.Loads["cached"].perCPUSecond()/1e3)
			b.report.rounds = append(b.report.rounds, r)
		}
	}
	return nil
}
