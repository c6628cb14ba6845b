package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/net/publicsuffix"

	"telltale/bench/names"
	"telltale/dnswire"
)

const (
	blockedNames = 100_000 // asked for in the load "blocked"
	cachedNames  = 10_000  // asked for in the load "cached"
	warmNames    = 20_000  // in the cache when memory is read
)

// A catalogue is so many listed names, and the loads that go with them.
type catalogue struct {
	size  int
	list  string // a file, one name a line
	dir   string
	shape shape

	listed   []string // some of those in the list, in random order
	unlisted []string // some that are not, nor anything above them

	source *names.Generator
	inList map[string]struct{}
}

// makeCatalogue writes the list. The same size gives the same names.
func makeCatalogue(dir string, size int) (*catalogue, error) {
	c := &catalogue{
		size: size, dir: dir, list: filepath.Join(dir, "names.txt"),
		source: names.New(1), inList: make(map[string]struct{}, size),
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for range size {
		name := string(c.source.Next())
		c.inList[name] = struct{}{}
		c.listed = append(c.listed, name)
		c.shape.add(name)
		out.WriteString(name)
		out.WriteByte('\n')
	}
	rng := rand.New(rand.NewPCG(2, 0))
	rng.Shuffle(size, func(i, j int) { c.listed[i], c.listed[j] = c.listed[j], c.listed[i] })
	c.listed = append([]string(nil), c.listed[:min(blockedNames, size)]...)
	c.unlisted = c.freshNames(warmNames)
	return c, os.WriteFile(c.list, out.Bytes(), 0o644)
}

// freshNames returns names that are neither listed, below a listed one, nor
// have been returned before.
func (c *catalogue) freshNames(n int) []string {
	fresh := make([]string, 0, n)
	for len(fresh) < n {
		if name := string(c.source.Next()); !c.covered(name) {
			fresh = append(fresh, name)
		}
	}
	return fresh
}

func (c *catalogue) covered(name string) bool {
	for more := true; more; _, name, more = strings.Cut(name, ".") {
		if _, ok := c.inList[name]; ok {
			return true
		}
	}
	return false
}

// loads are the files of queries for the loads, by name.
type loads map[string]string

// writeLoads writes files long enough that no server here gets to ask for a
// miss twice in so many seconds.
func (c *catalogue) writeLoads(seconds float64) (loads, error) {
	cached := c.unlisted[:cachedNames]
	files := map[string][]string{
		"blocked":  c.listed,
		"repeated": c.listed[:1],
		"cached":   cached,
		"warm":     c.unlisted,
		"miss":     c.freshNames(int(75_000*seconds) + 10_000),
		"mix":      c.mix(int(200_000*seconds)+10_000, cached),
		"half":     half(c.listed[:min(cachedNames, len(c.listed))], cached),
		"fresh":    half(c.listed, cached),
		"day":      c.mix(86_400, cached),
	}
	written := loads{}
	for name, lines := range files {
		written[name] = filepath.Join(c.dir, name+".queries")
		if err := writeQueries(written[name], lines); err != nil {
			return nil, err
		}
	}
	return written, nil
}

// mix is 30 % listed names, 60 % known ones with some far more popular than
// others, and 10 % that nobody has asked for.
func (c *catalogue) mix(n int, known []string) []string {
	rng := rand.New(rand.NewPCG(3, 0))
	popular := rand.NewZipf(rng, 1.1, 10, uint64(len(known)-1))
	fresh := c.freshNames(n / 10)
	lines := make([]string, 0, n)
	for i := range n {
		switch p := i % 10; {
		case p == 0 && len(fresh) > 0:
			lines, fresh = append(lines, fresh[0]), fresh[1:]
		case p <= 3:
			lines = append(lines, c.listed[rng.IntN(len(c.listed))])
		default:
			lines = append(lines, known[popular.Uint64()])
		}
	}
	rng.Shuffle(n, func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	return lines
}

// half is one listed name, one cached one, and so on, until all listed names
// have had their turn.
func half(listed, known []string) []string {
	lines := make([]string, 0, 2*len(listed))
	for i, name := range listed {
		lines = append(lines, name, known[i%len(known)])
	}
	return lines
}

func writeQueries(path string, lines []string) error {
	var out bytes.Buffer
	for _, name := range lines {
		out.WriteString(name)
		out.WriteString(" A\n")
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// A shape is what matters of names to those who store them.
type shape struct {
	names, octets, registrable int
}

func (s *shape) add(name string) {
	wire, err := dnswire.AppendName(nil, name)
	if err != nil {
		return
	}
	s.names++
	s.octets += len(wire)
	if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil && domain == name {
		s.registrable++
	}
}

func (s shape) String() string {
	return fmt.Sprintf("%s names, %.2f octets on the wire on average, %.1f %% registrable domains",
		thousands(s.names), float64(s.octets)/float64(s.names), 100*float64(s.registrable)/float64(s.names))
}

// describeFiles prints the shape of plain domain lists, each name counted once.
func describeFiles(paths []string) error {
	if len(paths) == 0 {
		return errors.New("names: say which files, one domain a line")
	}
	var s shape
	seen := map[string]bool{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		for in := bufio.NewScanner(f); in.Scan(); {
			name := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(in.Text())), "*.")
			if name == "" || seen[name] || strings.ContainsAny(name, "#! \t|/") || !strings.Contains(name, ".") {
				continue
			}
			seen[name] = true
			s.add(name)
		}
		f.Close()
	}
	if s.names == 0 {
		return errors.New("names: no domains there")
	}
	fmt.Println(s)
	return nil
}
