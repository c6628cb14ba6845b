package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// twoReaders asks Telltale with one reader and with two, both on one core. It
// has a reader for each core it finds at its start, so the second starts on two
// cores and is then held to one.
func (b *bench) twoReaders(run int) error {
	var errs []error
	for _, name := range []string{"one reader", "two readers"} {
		errs = append(errs, b.withReaders(name, run))
	}
	return errors.Join(errs...)
}

func (b *bench) withReaders(name string, run int) error {
	c, files, at, err := b.firstSite()
	if err != nil {
		return err
	}
	cores := b.set.serverCore
	if name == "two readers" {
		cores = b.set.serverCore + "," + b.set.loadCore
	}
	s, err := b.open("telltale", c, at, cores)
	if err != nil {
		return err
	}
	defer b.shut(s)
	if err := errors.Join(s.hold(b.set.serverCore), b.letCompile(s), b.warm(s, files["half"])); err != nil {
		return err
	}
	got, err := b.measure(s, func() (cost, time.Duration, error) {
		return b.dnsperf(s.port, files["half"], min(4, b.set.secondsOf(b.set.sizes[0])))
	})
	if err != nil {
		return err
	}
	b.report.rounds = append(b.report.rounds, round{Section: "readers", Server: name, Size: b.set.sizes[0], Run: run, Loads: map[string]cost{"half": got}})
	b.say("%-14s on one core, thousand queries per CPU-second: %.0f", name, got.perCPUSecond()/1e3)
	return nil
}

// hold moves all threads of the process to one core.
func (s *server) hold(core string) error {
	n, err := strconv.Atoi(core)
	if err != nil {
		return fmt.Errorf("%q is not one core: %w", core, err)
	}
	var set unix.CPUSet
	set.Set(n)
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.pid()))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}
