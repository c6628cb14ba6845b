package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A machine is what the figures were measured on.
type machine struct {
	processor, system, kernel string
	cores                     int
	ram                       int64
	loadBefore                string
}

func readMachine() machine {
	m := machine{cores: countOf("/proc/cpuinfo", "processor"), loadBefore: loadAverage()}
	m.processor = valueOf("/proc/cpuinfo", "model name", ":")
	m.system = strings.Trim(valueOf("/etc/os-release", "PRETTY_NAME", "="), `"`)
	if ram, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.ram = kilobytes(ram, "MemTotal:")
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.kernel = unix.ByteSliceToString(u.Release[:])
	}
	return m
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], " ")
}

// countOf counts the lines of a key, where runtime.NumCPU would count only the
// cores that the bench itself is pinned to.
func countOf(path, key string) int {
	text, _ := os.ReadFile(path)
	n := 0
	for line := range strings.Lines(string(text)) {
		if k, _, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			n++
		}
	}
	return n
}

func valueOf(path, key, separator string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, separator); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores (%s), %s MiB of memory, %s, Linux %s, built with %s",
		m.cores, m.processor, thousands(int(m.ram>>20)), m.system, m.kernel, runtime.Version())
}

// beginNoise begins to watch how busy the machine is. The function it returns
// says what share of all cores others took than s, the upstream, this program
// and a load that took loadCPU.
func (b *bench) beginNoise(s *server) func(loadCPU time.Duration) float64 {
	busy, all := machineTime()
	ours := b.ourTime(s)
	return func(loadCPU time.Duration) float64 {
		busyNow, allNow := machineTime()
		if allNow == all {
			return 0
		}
		others := (busyNow - busy) - (b.ourTime(s) - ours) - loadCPU
		return max(0, others.Seconds()/(allNow-all).Seconds())
	}
}

func (b *bench) ourTime(s *server) time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	sum := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	for _, one := range []*server{s, b.upstream} {
		if used, err := one.cpu(); err == nil {
			sum += used
		}
	}
	return sum
}

// machineTime is how long all cores together have been busy, and have been.
func machineTime() (busy, all time.Duration) {
	text, _ := os.ReadFile("/proc/stat")
	first, _, _ := strings.Cut(string(text), "\n")
	const idle, wait, guest = 4, 5, 9 // guest time is also counted as user time
	for i, field := range strings.Fields(first) {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil || i >= guest {
			continue
		}
		all += time.Duration(ticks) * tick
		if i != idle && i != wait {
			busy += time.Duration(ticks) * tick
		}
	}
	return busy, all
}
