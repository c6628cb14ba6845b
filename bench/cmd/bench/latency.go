package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Telltale is held to the rate in three ways: with names its log has a row for,
// with each name new to its log, and while its lists are reloaded.
const (
	writing   = "telltale, log writing"
	reloading = "telltale, reloading"
)

// latency holds the load at a rate that no server here is strained by, half of
// it blocked names and half cached ones.
func (b *bench) latency(run int) error {
	var errs []error
	for _, name := range []string{"echo", "telltale", writing, reloading} {
		errs = append(errs, b.holdRate(name, run))
	}
	return errors.Join(errs...)
}

func (b *bench) holdRate(name string, run int) error {
	size := b.set.sizes[0]
	if name == reloading {
		size = b.set.sizes[len(b.set.sizes)-1]
	}
	got, reloads, err := b.heldRate(name, size)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.report.rounds = append(b.report.rounds, round{
		Section: "latency", Server: name, Size: size, Run: run, Loads: map[string]cost{"half": got},
	})
	b.report.reloads += reloads
	b.say("%-22s at %d/s: half within %v, 99 %% within %v, 99.9 %% within %v, longest %v, %d lost", name, b.set.rate, got.P50, got.P99, got.P999, got.Max, got.Lost)
	return nil
}

// heldRate measures a server. Its log has the names already, save where it is
// to be busy.
func (b *bench) heldRate(name string, size int) (got cost, reloads int, err error) {
	c, files, err := b.names(size)
	if err != nil {
		return got, 0, err
	}
	kind, _, _ := strings.Cut(name, ",")
	s, at, err := b.fresh(kind, c)
	if err != nil {
		return got, 0, err
	}
	defer b.shut(s)
	load := "half"
	warmed := files["half"]
	if name == writing {
		load, warmed = "fresh", files["cached"]
	}
	if err := errors.Join(b.warm(s, warmed), b.letCompile(s)); err != nil {
		return got, 0, err
	}
	ctx, stop := context.WithCancel(b.ctx)
	var editing sync.WaitGroup
	var failed error
	if name == reloading {
		editing.Go(func() {
			for failed == nil && ctx.Err() == nil {
				if _, failed = b.reload(s, at, reloads); failed == nil {
					reloads++
				}
			}
		})
	}
	got, err = b.measure(s, func() (cost, time.Duration, error) {
		return b.blast(s.port, files[load], "-r", strconv.Itoa(b.set.rate), "-t", fmt.Sprint(min(3, b.set.secondsOf(size))))
	})
	stop()
	editing.Wait()
	if err == nil {
		err = failed
	}
	return got, reloads, err
}
