package main

import (
	"cmp"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A profile is where the time of one load went.
type profile struct {
	load  string
	total time.Duration
	parts []share  // of whom, largest first
	lines []string // of pprof's own table
}

type share struct {
	name string
	time time.Duration
}

// profile has Telltale write a profile of itself under a saturating load, for
// blocked and for cached names.
func (b *bench) profile() error {
	return errors.Join(b.profileOf("blocked"), b.profileOf("cached"))
}

func (b *bench) profileOf(load string) error {
	c, files, at, err := b.firstSite()
	if err != nil {
		return err
	}
	at.profile = filepath.Join(at.dir, "cpu.prof")
	s, err := b.open("telltale", c, at, b.set.serverCore)
	if err != nil {
		return err
	}
	err = errors.Join(b.letCompile(s), b.warm(s, files["cached"]))
	if err == nil {
		_, _, err = b.blast(s.port, files[load], "-t", fmt.Sprint(min(4, b.set.secondsOf(b.set.sizes[0]))))
	}
	b.shut(s)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(b.ctx, "go", "tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0", "-unit=ms", at.profile).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pprof: %w: %s", err, last(string(out), 300))
	}
	p := readTop(string(out))
	p.load = load
	b.report.profiles = append(b.report.profiles, p)
	if len(p.parts) > 0 {
		b.say("profile of %s: %.0f %% %s", load, 100*p.parts[0].time.Seconds()/p.total.Seconds(), p.parts[0].name)
	}
	return nil
}

// topLine is a line of `pprof -top -unit=ms`: flat, its share, the sum, cum, its
// share, and the function.
var topLine = regexp.MustCompile(`^\s*([\d.]+)(?:ms)?\s+[\d.]+%\s+[\d.]+%\s+[\d.]+(?:ms)?\s+[\d.]+%\s+(\S+)`)

func readTop(text string) profile {
	const shown = 25
	p := profile{}
	sums := map[string]time.Duration{}
	for line := range strings.Lines(text) {
		found := topLine.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		ms, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			continue
		}
		took := fromSeconds(ms / 1e3)
		p.total += took
		sums[partOf(found[2])] += took
		if len(p.lines) < shown {
			p.lines = append(p.lines, strings.TrimRight(line, "\n"))
		}
	}
	for name, took := range sums {
		p.parts = append(p.parts, share{name, took})
	}
	slices.SortFunc(p.parts, func(a, b share) int { return cmp.Or(cmp.Compare(b.time, a.time), cmp.Compare(a.name, b.name)) })
	return p
}

// partOf says whose a function is: the time of a system call's instruction is
// the kernel's.
func partOf(function string) string {
	pkg := function
	if slash := strings.LastIndexByte(pkg, '/'); slash >= 0 {
		if dot := strings.IndexByte(pkg[slash:], '.'); dot >= 0 {
			pkg = pkg[:slash+dot]
		}
	} else if dot := strings.IndexByte(pkg, '.'); dot >= 0 {
		pkg = pkg[:dot]
	}
	switch {
	case strings.HasSuffix(function, "yscall6") && strings.Contains(pkg, "syscall"):
		return "the kernel (system calls)"
	case function == "runtime.futex" || function == "runtime.epollwait" || function == "runtime.usleep" || function == "runtime.write1" ||
		function == "runtime.madvise" || function == "runtime.tgkill" || function == "runtime.osyield":
		return "the kernel, for Go's scheduler"
	case strings.HasPrefix(pkg, "runtime") || strings.HasPrefix(pkg, "internal/") || pkg == "sync" || strings.HasPrefix(pkg, "sync/") ||
		pkg == "memeqbody" || pkg == "aeshashbody" || pkg == "gogo" || pkg == "gcWriteBarrier" || pkg == "indexbytebody" || pkg == "cmpbody":
		return "Go's runtime"
	case strings.HasPrefix(pkg, "telltale/"):
		return strings.TrimPrefix(pkg, "telltale/")
	case strings.Contains(pkg, "sqlite") || strings.Contains(pkg, "wasm") || strings.Contains(pkg, "wazero"):
		return "SQLite"
	default:
		return "others"
	}
}
