package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// instructions counts them by the processor's counter, where there is one; and by
// valgrind, whose figures are the same on every machine and are compared with those
// that are kept.
func (b *bench) instructions() error {
	said, perfErr := b.countByPerf()
	counted, err := b.countByValgrind()
	switch {
	case err != nil && perfErr != nil:
		said = fmt.Sprintf("not counted: %v; %v", perfErr, err)
	case err == nil && perfErr == nil:
		said += "; " + counted
	case err == nil:
		said = counted
	}
	b.report.instructions = said
	b.say("instructions a query: %s", said)
	return b.ctx.Err()
}

// keptInstructions are those that a query took when somebody looked last, by load.
type keptInstructions map[string]float64

// parseKept reads bench/instructions.txt.
func parseKept(text string) keptInstructions {
	kept := keptInstructions{}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] != "#" {
			kept[fields[0]], _ = strconv.ParseFloat(fields[1], 64)
		}
	}
	return kept
}

// compare says what was counted, and beside it what is kept; it is not held where it is
// more. Two in a hundred may be another compiler's.
func (k keptInstructions) compare(load string, got float64) (said string, held bool) {
	said = fmt.Sprintf("%s %.0f", load, got)
	was := k[load]
	if was == 0 {
		return said, true
	}
	switch more := got/was - 1; {
	case more > 0.02:
		return fmt.Sprintf("%s (kept: %.0f, %s more)", said, was, percent(more)), false
	case more < -0.02:
		return fmt.Sprintf("%s (kept: %.0f, %s fewer: keep the new figure in bench/instructions.txt)", said, was, percent(-more)), true
	}
	return fmt.Sprintf("%s (kept: %.0f)", said, was), true
}

// countByPerf counts those of the whole server, the kernel's included.
func (b *bench) countByPerf() (string, error) {
	if _, err := exec.LookPath("perf"); err != nil {
		return "", errors.New("there is no perf (Debian: linux-perf)")
	}
	c, files, err := b.names(b.set.sizes[0])
	if err != nil {
		return "", err
	}
	s, _, err := b.fresh("telltale", c)
	if err != nil {
		return "", err
	}
	defer b.shut(s)
	if err := b.warm(s, files["cached"]); err != nil {
		return "", err
	}
	var said []string
	for _, load := range []string{"blocked", "cached"} {
		n, got, err := b.count(s, files[load])
		if err != nil {
			return "", err
		}
		said = append(said, fmt.Sprintf("%s %.0f", load, float64(n)/float64(got.Queries)))
	}
	return strings.Join(said, ", ") + ", the kernel's included", nil
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

// countByValgrind counts those that a Go benchmark of the whole way of a packet
// takes in user mode: the difference between a short run and a long one, so that
// what the start takes does not count.
func (b *bench) countByValgrind() (string, error) {
	if _, err := exec.LookPath("valgrind"); err != nil {
		return "", errors.New("there is no valgrind")
	}
	program := filepath.Join(b.set.tools, "resolver.test")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("bench/build.sh has made no %s", filepath.Base(program))
	}
	const few, many = 10_000, 60_000
	text, err := os.ReadFile("bench/instructions.txt")
	if err != nil {
		return "", err
	}
	kept := parseKept(string(text))
	b.report.kept = true
	var said []string
	for _, load := range []string{"blocked", "cached"} {
		var counted [2]int64
		for i, queries := range []int{few, many} {
			n, err := b.valgrind(program, "^BenchmarkBatch$/^"+load+"$", queries)
			if err != nil {
				return "", err
			}
			counted[i] = n
		}
		one, held := kept.compare(load, float64(counted[1]-counted[0])/(many-few))
		b.report.moreThanKept = b.report.moreThanKept || !held
		said = append(said, one)
	}
	return strings.Join(said, ", ") + " in user mode, from receiving to sending in batches of 32, without the log (`BenchmarkBatch` of the resolver under valgrind)", nil
}

var instructionsCounted = regexp.MustCompile(`I +refs: +([\d,]+)`)

func (b *bench) valgrind(program, benchmark string, queries int) (int64, error) {
	cmd := exec.CommandContext(b.ctx, "valgrind", "--tool=cachegrind", "--cache-sim=no", "--fair-sched=yes", "--cachegrind-out-file=/dev/null",
		program, "-test.run=^$", "-test.bench="+benchmark, fmt.Sprintf("-test.benchtime=%dx", queries))
	// One processor and no garbage collector: neither is what is counted. Valgrind does not
	// know the instruction by which the runtime reads the processor's clock.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GODEBUG=cpu.rdtscp=off")
	out, err := cmd.CombinedOutput()
	found := instructionsCounted.FindStringSubmatch(string(out))
	if err != nil || found == nil {
		return 0, fmt.Errorf("valgrind does not count: %v: %s", err, last(string(out), 200))
	}
	return strconv.ParseInt(strings.ReplaceAll(found[1], ",", ""), 10, 64)
}
