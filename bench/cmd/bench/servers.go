package main

import (
	"errors"
	"fmt"
	"time"
)

var loadNames = []string{"blocked", "cached", "mix", "miss"}

// noLogRounds is in how many rounds Telltale is also measured without its log.
const noLogRounds = 3

// Most that a load is worth, in seconds, to those whose cost a query is the
// same from the first on: the echo, and peers, which keep no log.
const (
	echoSeconds = 2
	peerSeconds = 5
)

// A round is one server, started anew and put under each load once.
type round struct {
	Section, Server string
	Size, Run       int
	Ready, Again    time.Duration // to the first right answer: from text, and at the second start
	Start, End      memory        // before and after the loads
	Loads           map[string]cost
}

// servers puts the echo and Telltale under every load, one after the other.
func (b *bench) servers(size, run int) error {
	names := []string{"echo", "telltale"}
	if size == b.set.sizes[0] && run < noLogRounds {
		names = append(names, "telltale-nolog")
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, b.serve(name, size, run))
	}
	return errors.Join(errs...)
}

// serve measures one server and keeps the round.
func (b *bench) serve(name string, size, run int) error {
	c, files, err := b.names(size)
	if err != nil {
		return err
	}
	r, err := b.round(name, c, files)
	if err != nil {
		return fmt.Errorf("%s with %d names: %w", name, size, err)
	}
	r.Section, r.Size, r.Run = "servers", size, run
	b.report.rounds = append(b.report.rounds, r)
	return nil
}

// loadSeconds is how long a server is under each load.
func (b *bench) loadSeconds(name string, size int) float64 {
	s := b.set.secondsOf(size)
	switch name {
	case "echo":
		return min(s, echoSeconds)
	case "telltale", "telltale-nolog":
		return s
	default:
		return min(s, peerSeconds)
	}
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
	seconds := b.loadSeconds(name, c.size)
	for _, load := range loadNames {
		if name == "telltale-nolog" && load != "blocked" && load != "cached" {
			continue
		}
		if load == "cached" {
			if err := b.warm(s, files["cached"]); err != nil {
				return r, err
			}
		}
		got, err := b.measure(s, func() (cost, time.Duration, error) { return b.dnsperf(s.port, files[load], seconds) })
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

// saturated asks the echo and Telltale without pause, so that batches form.
func (b *bench) saturated(run int) error {
	return errors.Join(b.saturate("echo", run), b.saturate("telltale", run))
}

var saturatedLoads = []string{"blocked", "cached", "mix"}

// saturate asks a server without pause. Telltale is asked for longer: what is
// new to its log must not be most of it.
func (b *bench) saturate(name string, run int) error {
	size := b.set.sizes[0]
	c, files, err := b.names(size)
	if err != nil {
		return err
	}
	seconds := min(1.5, b.set.secondsOf(size))
	if name == "telltale" {
		seconds = min(3, b.set.secondsOf(size))
	}
	s, _, err := b.fresh(name, c)
	if err != nil {
		return err
	}
	defer b.shut(s)
	if err := errors.Join(b.letCompile(s), b.warm(s, files["cached"])); err != nil {
		return err
	}
	r := round{Section: "saturated", Server: name, Size: size, Run: run, Loads: map[string]cost{}}
	for _, load := range saturatedLoads {
		got, err := b.measure(s, func() (cost, time.Duration, error) {
			return b.blast(s.port, files[load], "-t", fmt.Sprint(seconds))
		})
		if err != nil {
			return fmt.Errorf("%s: %w", load, err)
		}
		r.Loads[load] = got
	}
	b.say("%-14s saturated, thousand queries per CPU-second: blocked %.0f, cached %.0f, mix %.0f", name,
		r.Loads["blocked"].perCPUSecond()/1e3, r.Loads["cached"].perCPUSecond()/1e3, r.Loads["mix"].perCPUSecond()/1e3)
	b.report.rounds = append(b.report.rounds, r)
	return nil
}
