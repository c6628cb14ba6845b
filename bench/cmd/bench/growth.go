package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"telltale/bench/names"
)

// A point is what queries cost with so many of something.
type point struct {
	Curve           string
	At              int
	Blocked, Cached time.Duration // CPU a query
	Memory          memory
	Ready           time.Duration // from exec to the first right answer, from text
	Text            string        // of a Go benchmark, instead
}

// growth measures how the cost of a query grows with what there is more of.
func (b *bench) growth() error {
	return errors.Join(b.growNames(), b.growClients(), b.growDevices(), b.growCache(), b.growLog())
}

const (
	growthNames   = 10_000 // asked for, blocked and cached
	growthSeconds = 0.5    // of each load, of which the median of three counts
)

// A ground is a list and loads that are made in one pass, however many names
// there are.
type ground struct {
	catalogue
	files loads
}

// newGround makes a list of size names. Names to be cached end in what no made-up
// name ends in.
func (b *bench) newGround(size int) (*ground, error) {
	g := &ground{catalogue: catalogue{size: size, dir: filepath.Join(b.dir, fmt.Sprint("growth-", size))}, files: loads{}}
	g.list = filepath.Join(g.dir, "names.txt")
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(g.list)
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	source, rng := names.New(1), rand.New(rand.NewPCG(4, 0))
	for i := range size {
		name := source.Next()
		if len(g.listed) < growthNames {
			g.listed = append(g.listed, string(name))
		} else if k := rng.IntN(i + 1); k < growthNames {
			g.listed[k] = string(name)
		}
		out.Write(name)
		out.WriteByte('\n')
	}
	if err := errors.Join(out.Flush(), f.Close()); err != nil {
		return nil, err
	}
	for i := range growthNames {
		g.unlisted = append(g.unlisted, fmt.Sprintf("host%d.site%d.example", i, i%97))
	}
	for load, lines := range map[string][]string{"blocked": g.listed, "cached": g.unlisted} {
		g.files[load] = filepath.Join(g.dir, load+".queries")
		if err := writeQueries(g.files[load], lines); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// costs asks for names that were asked for before: what is new to the log is
// not what grows here.
func (b *bench) costs(p *point, s *server, files loads, more ...string) error {
	for _, load := range []string{"blocked", "cached"} {
		known := append([]string{"-n", strconv.Itoa(2 * growthNames)}, more...)
		if _, _, err := b.blast(s.port, files[load], known...); err != nil {
			return err
		}
		var each []float64
		for range 3 {
			got, err := b.measure(s, func() (cost, time.Duration, error) {
				return b.blast(s.port, files[load], append([]string{"-t", fmt.Sprint(growthSeconds)}, more...)...)
			})
			if err != nil {
				return err
			}
			if got.Queries == 0 {
				return fmt.Errorf("%s at %d: no query was answered", p.Curve, p.At)
			}
			each = append(each, float64(got.CPU)/float64(got.Queries))
		}
		if middle := time.Duration(median(each)); load == "blocked" {
			p.Blocked = middle
		} else {
			p.Cached = middle
		}
	}
	var err error
	p.Memory, err = s.memory()
	return err
}

func (b *bench) add(p point) {
	b.report.growth = append(b.report.growth, p)
	b.say("%-8s %9d: CPU a query %v blocked, %v cached; RSS %d MB", p.Curve, p.At, p.Blocked, p.Cached, p.Memory.RSS>>20)
}

// growNames puts ever longer lists in force. Ten million take gigabytes here,
// not in Telltale.
func (b *bench) growNames() error {
	const here = 200 // bytes a name in this program
	for _, size := range b.set.growth {
		if int64(size)*here > b.machine.ram/2 {
			b.report.cut(fmt.Sprintf("growth to %s names, for want of memory", thousands(size)), 0)
			continue
		}
		if err := b.pointOf(size, func(s *server, g *ground) error {
			p := point{Curve: "names", At: size, Ready: s.ready}
			err := b.costs(&p, s, g.files)
			if err == nil {
				b.add(p)
			}
			return err
		}); err != nil {
			return fmt.Errorf("%d names: %w", size, err)
		}
	}
	return nil
}

// pointOf runs Telltale with so many names, and removes them afterwards.
func (b *bench) pointOf(size int, measure func(*server, *ground) error) error {
	g, err := b.newGround(size)
	if err != nil {
		return err
	}
	defer os.RemoveAll(g.dir)
	s, at, err := b.fresh("telltale", &g.catalogue)
	if err != nil {
		return err
	}
	defer os.RemoveAll(at.dir)
	defer b.shut(s)
	if err := b.letCompile(s); err != nil {
		return err
	}
	return measure(s, g)
}

// growClients asks from ever more addresses of 127.0.0.0/8.
func (b *bench) growClients() error {
	return b.pointOf(b.set.growth[0], func(s *server, g *ground) error {
		for _, clients := range []int{1, 100, 10_000, 100_000} {
			p := point{Curve: "clients", At: clients}
			// Each of them is known before it is measured.
			if _, _, err := b.blast(s.port, g.files["blocked"], "-c", strconv.Itoa(clients), "-n", strconv.Itoa(2*clients)); err != nil {
				return err
			}
			if err := b.costs(&p, s, g.files, "-c", strconv.Itoa(clients)); err != nil {
				return err
			}
			b.add(p)
		}
		return nil
	})
}

// growDevices names ever more devices in the settings, and asks from their
// addresses.
func (b *bench) growDevices() error {
	g, err := b.newGround(b.set.growth[0])
	if err != nil {
		return err
	}
	defer os.RemoveAll(g.dir)
	for _, devices := range []int{1, 100, 1000, 10_000} {
		at, err := b.site("telltale", &g.catalogue)
		if err != nil {
			return err
		}
		if at.settings, err = at.write("telltale.yaml", "%s", deviceSettings(devices)); err != nil {
			return err
		}
		s, err := b.open("telltale", &g.catalogue, at, b.set.serverCore)
		if err != nil {
			return err
		}
		p := point{Curve: "devices", At: devices}
		err = errors.Join(b.letCompile(s), b.costs(&p, s, g.files, "-c", strconv.Itoa(devices)))
		b.shut(s)
		if err != nil {
			return err
		}
		b.add(p)
	}
	return nil
}

// deviceSettings names the first n of blast's source addresses.
func deviceSettings(n int) string {
	var out strings.Builder
	out.WriteString("devices:\n")
	for i := range n {
		fmt.Fprintf(&out, "  - {name: device %d, address: 127.%d.%d.%d}\n", i, 1+i>>16, i>>8&255, i&255)
	}
	return out.String()
}

// growCache fills a large cache with ever more answers.
func (b *bench) growCache() error {
	g, err := b.newGround(b.set.growth[0])
	if err != nil {
		return err
	}
	defer os.RemoveAll(g.dir)
	at, err := b.site("telltale", &g.catalogue)
	if err != nil {
		return err
	}
	if at.settings, err = at.write("telltale.yaml", "cache:\n  size: 1GiB\n"); err != nil {
		return err
	}
	s, err := b.open("telltale", &g.catalogue, at, b.set.serverCore)
	if err != nil {
		return err
	}
	defer b.shut(s)
	rng := rand.New(rand.NewPCG(5, 0))
	for _, answers := range []int{1000, 10_000, 100_000, 1_000_000} {
		lines := make([]string, answers)
		for i := range lines {
			lines[i] = fmt.Sprintf("host%d.site%d.example", i, i%997)
		}
		rng.Shuffle(answers, func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		files := loads{"blocked": g.files["blocked"], "cached": filepath.Join(g.dir, "answers.queries")}
		if err := writeQueries(files["cached"], lines); err != nil {
			return err
		}
		if _, _, err := b.blast(s.port, files["cached"], "-o", "256", "-n", strconv.Itoa(answers)); err != nil {
			return err
		}
		p := point{Curve: "cache", At: answers}
		if err := errors.Join(b.letCompile(s), b.costs(&p, s, files)); err != nil {
			return err
		}
		b.add(p)
	}
	return nil
}

// growLog runs the Go benchmark of a lookup's cost to who appends it, over the
// rows that the log has.
func (b *bench) growLog() error {
	program := filepath.Join(b.set.tools, "querylog.test")
	out, err := exec.CommandContext(b.ctx, "taskset", "-c", b.set.serverCore, program, "-test.run=^$", "-test.bench=^"+logBenchmark+"$", "-test.benchtime=200000x").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", logBenchmark, err, last(string(out), 600))
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, logBenchmark+"/") {
			b.report.growth = append(b.report.growth, point{Curve: "rows", Text: strings.TrimSpace(line)})
			b.say("%s", strings.TrimSpace(line))
		}
	}
	return nil
}

// logBenchmark is the benchmark of querylog that has a sub-benchmark for each
// number of rows.
const logBenchmark = "BenchmarkAppendOverRows"

// storeAtSize runs the Go benchmark of what a store of many rows takes and how soon it
// answers, beside Pi-hole's schema and AdGuard Home's lines.
func (b *bench) storeAtSize() error {
	program, err := filepath.Abs(filepath.Join(b.set.tools, "querylog.test"))
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return err
	}
	c := exec.CommandContext(b.ctx, program, "-test.run=^$", "-test.bench=^"+sizeBenchmark+"$", "-test.benchtime=1x")
	c.Dir = "querylog" // where the schema of Pi-hole is found from
	c.Env = append(os.Environ(), fmt.Sprint("QUERYLOG_ROWS=", b.set.rows), "QUERYLOG_SIZE_DIR="+filepath.Join(dir, "store"))
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", sizeBenchmark, err, last(string(out), 600))
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, sizeBenchmark+"/") {
			b.report.store = append(b.report.store, strings.TrimSpace(line))
			b.say("%s", strings.TrimSpace(line))
		}
	}
	return os.RemoveAll(filepath.Join(dir, "store"))
}

// sizeBenchmark is the benchmark of querylog of a store of many rows.
const sizeBenchmark = "BenchmarkStoreAtSize"

func last(text string, n int) string {
	return strings.TrimSpace(text[max(0, len(text)-n):])
}
