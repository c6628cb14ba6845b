package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A check is a program of its own that says whether something holds.
type check struct {
	command string
	held    bool
	said    string // the last of what it printed
}

// small runs Telltale with 600,000 names on as little memory as a small machine
// has, by a cgroup.
func (b *bench) small() error { return b.runCheck("small", smallCheck, 3*time.Minute) }

// overload holds Telltale to a quarter of a core, by a cgroup, and asks more
// than it can answer; then one client asks for more than its share.
func (b *bench) overload() error { return b.runCheck("overload", overloadCheck, 4*time.Minute) }

var (
	smallCheck    = []string{"bench/small.sh"}
	overloadCheck = []string{"bench/overload.sh"}
)

// runCheck keeps what a check says. That it does not hold is a figure; only
// that it cannot be run is an error.
func (b *bench) runCheck(name string, command []string, longest time.Duration) error {
	if _, err := exec.LookPath(command[0]); err != nil {
		b.report.missing = append(b.report.missing, command[0])
		return nil
	}
	ctx, cancel := context.WithTimeout(b.ctx, longest)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "BENCH_TELLTALE="+b.set.telltale, "BENCH_BUILT=yes")
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && (ctx.Err() != nil || !errors.As(err, &failed)) {
		return fmt.Errorf("%w: %s", err, last(out.String(), 300))
	}
	if b.report.checks == nil {
		b.report.checks = map[string]check{}
	}
	b.report.checks[name] = check{command: strings.Join(command, " "), held: err == nil, said: last(out.String(), 4000)}
	b.say("%s: holds: %v", name, err == nil)
	return nil
}
