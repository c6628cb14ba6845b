package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A cost is what a load took out of a server.
type cost struct {
	Queries, Lost int
	Wrong         int           // neither NOERROR nor NXDOMAIN
	Took          time.Duration // of the load
	CPU           time.Duration // of the server, user and system
	Latency       time.Duration // average, closed loop
	P50, P99      time.Duration // where blast measured
	P999, Max     time.Duration // where blast measured
	Noise         float64       // share of both cores that others took
}

func (c cost) perCPUSecond() float64 {
	if c.CPU == 0 {
		return 0
	}
	return float64(c.Queries) / c.CPU.Seconds()
}

func (c cost) perSecond() float64 { return float64(c.Queries) / c.Took.Seconds() }

// measure puts a load on a server and reads what it cost.
func (b *bench) measure(s *server, load func() (cost, time.Duration, error)) (cost, error) {
	before, err := s.cpu()
	if err != nil {
		return cost{}, err
	}
	quiet := b.beginNoise(s)
	c, loadCPU, err := load()
	if err != nil {
		return c, err
	}
	after, err := s.cpu()
	if err != nil {
		return c, fmt.Errorf("%s ended under load: %s", s.name, s.lastMessages())
	}
	c.CPU = after - before
	c.Noise = quiet(loadCPU)
	return c, nil
}

// dnsperf asks through a file for so long; a negative time means once through.
func (b *bench) dnsperf(port int, file string, seconds float64, more ...string) (cost, time.Duration, error) {
	args := []string{"-c", b.set.loadCore, "dnsperf", "-s", "127.0.0.1", "-p", strconv.Itoa(port), "-d", file, "-c", "8", "-T", "1", "-q", "200", "-t", "2"}
	if seconds < 0 {
		args = append(args, "-n", "1")
	} else {
		args = append(args, "-l", strconv.FormatFloat(max(seconds, 1), 'f', 0, 64)) // dnsperf takes whole seconds
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute+time.Duration(seconds*float64(time.Second)))
	defer cancel()
	out, used, err := runLoad(ctx, append(args, more...))
	if err != nil {
		return cost{}, 0, err
	}
	c, err := parseDnsperf(out)
	return c, used, err
}

var dnsperfLines = map[string]*regexp.Regexp{
	"completed": regexp.MustCompile(`Queries completed:\s+(\d+)`),
	"lost":      regexp.MustCompile(`Queries lost:\s+(\d+)`),
	"took":      regexp.MustCompile(`Run time \(s\):\s+([\d.]+)`),
	"latency":   regexp.MustCompile(`Average Latency \(s\):\s+([\d.]+)`),
	"longest":   regexp.MustCompile(`Average Latency \(s\):.* max ([\d.]+)`),
}

var rcodeCounts = regexp.MustCompile(`(NOERROR|NXDOMAIN) (\d+)`)

func parseDnsperf(out string) (cost, error) {
	values := map[string]float64{}
	for key, re := range dnsperfLines {
		found := re.FindStringSubmatch(out)
		if found == nil {
			continue
		}
		values[key], _ = strconv.ParseFloat(found[1], 64)
	}
	c := cost{
		Queries: int(values["completed"]), Lost: int(values["lost"]), Took: fromSeconds(values["took"]),
		Latency: fromSeconds(values["latency"]), Max: fromSeconds(values["longest"]),
	}
	if c.Took <= 0 {
		return c, fmt.Errorf("dnsperf says no run time: %s", strings.TrimSpace(out))
	}
	c.Wrong = c.Queries
	for _, found := range rcodeCounts.FindAllStringSubmatch(out, -1) {
		n, _ := strconv.Atoi(found[2])
		c.Wrong -= n
	}
	return c, nil
}

func fromSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// blast runs our own generator: see bench/blast.c.
func (b *bench) blast(port int, file string, more ...string) (cost, time.Duration, error) {
	args := append([]string{"-c", b.set.loadCore, filepath.Join(b.set.tools, "blast")}, more...)
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Minute)
	defer cancel()
	out, used, err := runLoad(ctx, append(args, strconv.Itoa(port), file))
	if err != nil {
		return cost{}, 0, err
	}
	var said struct {
		Seconds                           float64
		Received, Lost, NoError, NXDomain int
		P50                               float64 `json:"p50_us"`
		P99                               float64 `json:"p99_us"`
		P999                              float64 `json:"p999_us"`
		Max                               float64 `json:"max_us"`
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil {
		return cost{}, 0, fmt.Errorf("blast: %w in %q", err, out)
	}
	return cost{
		Queries: said.Received, Lost: said.Lost, Wrong: said.Received - said.NoError - said.NXDomain, Took: fromSeconds(said.Seconds),
		P50: fromSeconds(said.P50 / 1e6), P99: fromSeconds(said.P99 / 1e6), P999: fromSeconds(said.P999 / 1e6), Max: fromSeconds(said.Max / 1e6),
	}, used, nil
}

// runLoad runs a load pinned by taskset, whose arguments args are. When ctx
// ends, the load is asked to finish.
func runLoad(ctx context.Context, args []string) (out string, used time.Duration, err error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "taskset", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	if cmd.ProcessState != nil {
		used = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", args[2], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), used, err
}
