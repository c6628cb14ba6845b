package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const smallMachine = 128 << 20 // bytes

// small runs Telltale with the first size of names on as little memory as a
// small machine has, all that the kernel keeps for it included: a start from
// text, a cache, a load, and its whole list read again.
func (b *bench) small() error {
	group, err := newMemoryGroup(smallMachine)
	if err != nil {
		b.report.missing = append(b.report.missing, fmt.Sprintf("a control group of 128 MB (%v)", err))
		return nil
	}
	defer os.Remove(group.dir)
	c, files, at, err := b.firstSite()
	if err != nil {
		return err
	}
	at.group = group.dir
	lost, asked := 0, 0
	measured := func() error {
		s, err := b.open("telltale", c, at, b.set.serverCore)
		if err != nil {
			return err
		}
		defer b.shut(s)
		if err := errors.Join(b.letCompile(s), b.warm(s, files["warm"])); err != nil {
			return err
		}
		for n := range 2 {
			got, err := b.measure(s, func() (cost, time.Duration, error) { return b.dnsperf(s.port, files["mix"], 2) })
			if err != nil {
				return err
			}
			lost, asked = lost+got.Lost, asked+got.Lost+got.Queries
			if _, err := b.reload(s, at, n); err != nil {
				return err
			}
		}
		return b.letCompile(s)
	}
	err = measured()
	if b.ctx.Err() != nil {
		return err
	}
	killed, peak := group.killed(), group.peak()
	said := fmt.Sprintf("at most %d MB of %d MB in use, %d of %s queries lost, %d processes killed for want of memory", peak>>20, smallMachine>>20,
		lost, thousands(asked), killed)
	if err != nil {
		said += "; " + err.Error()
	}
	b.keepCheck("small", check{
		command: "a control group of 128 MB: a start from text, 20,000 answers cached, the mix, and the whole list read again, twice",
		held:    err == nil && killed == 0 && lost*1000 <= asked, said: said, short: said,
	})
	return nil
}

// A memoryGroup is a control group with a limit of memory, of version 1 or 2.
type memoryGroup struct{ dir string }

func newMemoryGroup(limit int64) (memoryGroup, error) {
	name := fmt.Sprintf("telltale-bench-%d", os.Getpid())
	root, file := "/sys/fs/cgroup", "memory.max"
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	} else {
		os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0) // it may be on already
	}
	g := memoryGroup{filepath.Join(root, name)}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return g, err
	}
	if err := os.WriteFile(filepath.Join(g.dir, file), fmt.Append(nil, limit), 0); err != nil {
		os.Remove(g.dir)
		return g, err
	}
	return g, nil
}

// killed is how many processes were ended for want of memory.
func (g memoryGroup) killed() int {
	for _, file := range []string{"memory.oom_control", "memory.events"} {
		text, _ := os.ReadFile(filepath.Join(g.dir, file))
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "oom_kill "); ok {
				n, _ := strconv.Atoi(strings.TrimSpace(rest))
				return n
			}
		}
	}
	return 0
}

// peak is the most it has used, in bytes.
func (g memoryGroup) peak() int64 {
	for _, file := range []string{"memory.max_usage_in_bytes", "memory.peak"} {
		if text, err := os.ReadFile(filepath.Join(g.dir, file)); err == nil {
			n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			return n
		}
	}
	return 0
}
