package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A check is something that holds or does not, beside what it said.
type check struct {
	command string
	held    bool
	said    string // all of it
	short   string // what of it is in the table of goals
}

func (b *bench) keepCheck(name string, c check) {
	if b.report.checks == nil {
		b.report.checks = map[string]check{}
	}
	b.report.checks[name] = c
	b.say("%s: holds: %v: %s", name, c.held, c.short)
}

const overloadScript = "bench/overload.sh"

// overload holds Telltale to a quarter of a core by a control group, and asks
// more than it can answer; then one client asks for more than its share.
func (b *bench) overload() error {
	if _, err := exec.LookPath(overloadScript); err != nil {
		b.report.missing = append(b.report.missing, overloadScript)
		return nil
	}
	ctx, cancel := context.WithTimeout(b.ctx, 4*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, overloadScript)
	cmd.Env = append(os.Environ(), "OVERLOAD_TELLTALE="+b.set.telltale)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) } // it cleans up
	cmd.WaitDelay = 20 * time.Second
	// What it starts may run on other cores than ours.
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, last(out.String(), 300))
	}
	c, err := readOverload(out.String())
	if err != nil {
		return err
	}
	b.keepCheck("overload", c)
	return nil
}

const (
	overloadInTime = 0.80 // of the most that can be answered
	fairInTime     = 0.95 // of what the others ask
)

// readOverload reads what bench/overload.sh prints: text, and a line of JSON.
func readOverload(out string) (check, error) {
	out = strings.TrimSpace(out)
	text, line := "", out
	if at := strings.LastIndexByte(out, '\n'); at >= 0 {
		text, line = out[:at], out[at+1:]
	}
	type noisy struct {
		Others float64 `json:"others_in_time"`
	}
	var said struct {
		One struct {
			Asked  float64 `json:"asked"`
			InTime float64 `json:"in_time"`
		} `json:"one"`
		Noisy3  noisy `json:"noisy_3"`
		Noisy10 noisy `json:"noisy_10"`
	}
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		return check{}, fmt.Errorf("%s: %w in %q", overloadScript, err, line)
	}
	if said.One.Asked == 0 {
		return check{}, errors.New(overloadScript + " measured nothing")
	}
	return check{
		command: overloadScript, said: text,
		held: said.One.InTime >= overloadInTime && min(said.Noisy3.Others, said.Noisy10.Others) >= fairInTime,
		short: fmt.Sprintf("%.2f in time when asked %.1f times as much; of the others' queries %.2f and %.2f, beside one that asks 3 and 10 times as much",
			said.One.InTime, said.One.Asked, said.Noisy3.Others, said.Noisy10.Others),
	}, nil
}
