package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// latency holds the load at a rate that no server here is strained by, half of
// it blocked names and half cached ones.
func (b *bench) latency() error {
	largest := b.set.sizes[len(b.set.sizes)-1]
	for run := range b.set.runs {
		for _, name := range append(b.serverNames(), "reloading") {
			size := b.set.sizes[0]
			if name == "reloading" {
				size = largest
			}
			got, reloads, err := b.heldRate(name, size)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			b.report.rounds = append(b.report.rounds, round{
				Section: "latency", Server: name, Size: size, Run: run, Loads: map[string]cost{"half": got},
			})
			b.report.reloads += reloads
			b.say("%-14s at %d/s: 99 %% within %v, half within %v, longest %v, %d lost", name, b.set.rate, got.P99, got.P50, got.Max, got.Lost)
		}
	}
	return nil
}

// heldRate measures a server; "reloading" is Telltale, whose whole list is
// reloaded again and again meanwhile.
func (b *bench) heldRate(name string, size int) (got cost, reloads int, err error) {
	c, files, err := b.names(size)
	if err != nil {
		return got, 0, err
	}
	kind := name
	if name == "reloading" {
		kind = "telltale"
	}
	s, at, err := b.fresh(kind, c)
	if err != nil {
		return got, 0, err
	}
	defer b.shut(s)
	if err := b.warm(s, files["cached"]); err != nil {
		return got, 0, err
	}
	if err := b.letCompile(s); err != nil {
		return got, 0, err
	}
	ctx, stop := context.WithCancel(b.ctx)
	var editing sync.WaitGroup
	var failed error
	if name == "reloading" {
		editing.Go(func() {
			for failed == nil && ctx.Err() == nil {
				if _, failed = b.reload(s, at, reloads); failed == nil {
					reloads++
				}
			}
		})
	}
	got, err = b.measure(s, func() (cost, time.Duration, error) {
		return b.blast(s.port, files["half"], "-r", strconv.Itoa(b.set.rate), "-t", fmt.Sprint(b.set.seconds))
	})
	stop()
	editing.Wait()
	if err == nil {
		err = failed
	}
	return got, reloads, err
}

// instructions counts them by the processor's counter, where there is one.
func (b *bench) instructions() error {
	if _, err := exec.LookPath("perf"); err != nil {
		b.report.instructions = "not counted: there is no perf (Debian: linux-perf)"
		return nil
	}
	c, files, err := b.names(b.set.sizes[0])
	if err != nil {
		return err
	}
	s, _, err := b.fresh("telltale", c)
	if err != nil {
		return err
	}
	defer b.shut(s)
	if err := b.warm(s, files["cached"]); err != nil {
		return err
	}
	var said []string
	for _, load := range []string{"blocked", "cached"} {
		n, got, err := b.count(s, files[load])
		if err != nil {
			b.report.instructions = "not counted: " + err.Error()
			b.say("instructions %s", b.report.instructions)
			return nil
		}
		said = append(said, fmt.Sprintf("%s %.0f", load, float64(n)/float64(got.Queries)))
	}
	b.report.instructions = strings.Join(said, ", ")
	b.say("instructions a query: %s", b.report.instructions)
	return nil
}

func (b *bench) count(s *server, file string) (instructions int64, got cost, err error) {
	perf := exec.CommandContext(b.ctx, "perf", "stat", "-x,", "-e", "instructions", "-p", strconv.Itoa(s.pid()))
	var out strings.Builder
	perf.Stderr = &out
	if err := perf.Start(); err != nil {
		return 0, got, err
	}
	time.Sleep(100 * time.Millisecond)
	got, _, err = b.blast(s.port, file, "-t", "1")
	perf.Process.Signal(os.Interrupt)
	perf.Wait()
	if err != nil {
		return 0, got, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(out.String()), ",")
	if instructions, err = strconv.ParseInt(first, 10, 64); err != nil || got.Queries == 0 {
		return 0, got, fmt.Errorf("this machine offers no counter of instructions (perf stat says %q)", strings.TrimSpace(first))
	}
	return instructions, got, nil
}
