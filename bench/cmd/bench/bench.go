package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// A bench has an upstream on the core of the load, the lists, and every
// process it has started, until it is closed.
type bench struct {
	ctx      context.Context
	set      *settings
	dir      string
	begun    time.Time
	upstream *server
	answers  string // which program the upstream is
	running  []*server
	sites    int

	end  time.Time                // by when all should be measured
	took map[string]time.Duration // a round of each part, at most

	catalogues map[int]*catalogue
	loads      map[int]loads
	machine    machine
	report     report
}

func newBench(ctx context.Context, set *settings) (*bench, error) {
	for _, path := range []*string{&set.telltale, &set.base, &set.tools, &set.page, &set.results} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return nil, err
		}
		*path = absolute
	}
	dir, err := os.MkdirTemp("", "telltale-bench-")
	if err != nil {
		return nil, err
	}
	end, _ := ctx.Deadline()
	b := &bench{
		end: end,
		ctx: ctx, set: set, dir: dir, begun: time.Now(), machine: readMachine(),
		took: map[string]time.Duration{}, catalogues: map[int]*catalogue{}, loads: map[int]loads{},
	}
	if err := errors.Join(os.Chmod(dir, 0o755), b.checkPrograms(), b.startUpstream()); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// close ends what was started and removes the files.
func (b *bench) close() {
	for _, s := range b.running {
		s.stop()
	}
	b.running = nil
	os.RemoveAll(b.dir)
}

func (b *bench) checkPrograms() error {
	var errs []error
	for _, program := range []string{"taskset", "dnsperf", b.set.telltale, filepath.Join(b.set.tools, "echo"), filepath.Join(b.set.tools, "blast")} {
		if _, err := exec.LookPath(program); err != nil {
			errs = append(errs, fmt.Errorf("%w (bench/run.sh installs and builds what is needed)", err))
		}
	}
	for _, core := range []string{b.set.serverCore, b.set.loadCore} {
		if err := exec.Command("taskset", "-c", core, "true").Run(); err != nil {
			errs = append(errs, fmt.Errorf("there is no core %s: at least two are needed, see BENCH_SERVER_CORE and BENCH_LOAD_CORE", core))
		}
	}
	return errors.Join(errs...)
}

// startUpstream starts knotd, or the echo that answers where there is none.
func (b *bench) startUpstream() error {
	at, err := b.site("upstream", nil)
	if err != nil {
		return err
	}
	words := []string{filepath.Join(b.set.tools, "echo"), fmt.Sprint(at.port), "1", "answer"}
	b.answers = "bench/echo.c, which answers"
	if _, err := exec.LookPath("knotd"); err == nil {
		b.answers = "knotd, a wildcard zone"
		if words, err = setupKnot(at); err != nil {
			return err
		}
	}
	b.upstream, err = b.start("upstream", at.port, b.set.loadCore, at.dir, words, nil)
	if err != nil {
		return err
	}
	return b.upstream.await(b.ctx, time.Now(), func() bool {
		a, err := ask(at.port, "anything.example", 50*time.Millisecond)
		return err == nil && a.passed()
	})
}

// site makes a directory and finds a port.
func (b *bench) site(name string, c *catalogue) (site, error) {
	b.sites++
	at := site{dir: filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.sites)), telltale: b.set.telltale, tools: b.set.tools}
	if name == earlier {
		at.telltale = b.set.base
	}
	if c != nil {
		at.list = c.list
	}
	if b.upstream != nil {
		at.upstream = b.upstream.port
	}
	port, err := freePort()
	at.port = port
	return at, errors.Join(err, os.MkdirAll(at.dir, 0o755))
}

// firstSite returns the first size of names, and a place for Telltale with them.
func (b *bench) firstSite() (c *catalogue, files loads, at site, err error) {
	if c, files, err = b.names(b.set.sizes[0]); err != nil {
		return nil, nil, site{}, err
	}
	at, err = b.site("telltale", c)
	return c, files, at, err
}

func (b *bench) start(name string, port int, cores, dir string, words, env []string) (*server, error) {
	s, err := start(name, port, cores, dir, words, env)
	if err == nil {
		b.running = append(b.running, s)
	}
	return s, err
}

// open starts a server of a kind with the names of c, and waits until it
// answers for them. A site that was used before is found as it was left.
func (b *bench) open(name string, c *catalogue, at site, cores string) (s *server, err error) {
	k := kinds[name]
	if at.list, err = k.listFor(name, c); err != nil {
		return nil, err
	}
	words, env, err := k.setup(at)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if s, err = b.start(name, at.port, cores, at.dir, words, env); err != nil {
		return nil, err
	}
	probes := []string{c.listed[0], c.listed[len(c.listed)/2], c.listed[len(c.listed)-1]}
	err = s.await(b.ctx, begun, func() bool {
		for _, name := range probes {
			a, err := ask(at.port, name, 50*time.Millisecond)
			if err != nil || !a.blocked() && s.name != "echo" {
				return false
			}
		}
		return true
	})
	if err != nil {
		b.shut(s)
		return nil, err
	}
	return s, nil
}

// fresh starts a server in a directory of its own.
func (b *bench) fresh(name string, c *catalogue) (*server, site, error) {
	at, err := b.site(name, c)
	if err != nil {
		return nil, at, err
	}
	s, err := b.open(name, c, at, b.set.serverCore)
	return s, at, err
}

// shut stops a server.
func (b *bench) shut(s *server) {
	s.stop()
	b.running = slices.DeleteFunc(b.running, func(r *server) bool { return r == s })
}

// names returns the list of a size and its loads, made once.
func (b *bench) names(size int) (*catalogue, loads, error) {
	if c, ok := b.catalogues[size]; ok {
		return c, b.loads[size], nil
	}
	b.say("making %d names", size)
	c, err := makeCatalogue(filepath.Join(b.dir, fmt.Sprint("names-", size)), size)
	if err != nil {
		return nil, nil, err
	}
	b.say("%v", c.shape)
	l, err := c.writeLoads(b.set.secondsOf(size))
	b.catalogues[size], b.loads[size] = c, l
	return c, l, err
}

// say prints progress.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("%5.0fs  %s\n", time.Since(b.begun).Seconds(), fmt.Sprintf(format, args...))
}
