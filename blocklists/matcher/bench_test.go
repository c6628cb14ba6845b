//go:build unix

package matcher

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale/bench/names"
	"telltale/dnswire"
)

var benchSizes = flag.Int("benchmax", 1_200_000, "largest number of names that is measured")

// wires returns n names in wire form, one behind the other, each after its
// length.
func wires(n int) []byte {
	gen := names.New(1)
	b := make([]byte, 0, 24*n)
	var w []byte
	for range n {
		w, _ = dnswire.AppendName(w[:0], string(gen.Next()))
		b = append(append(b, byte(len(w))), w...)
	}
	return b
}

func eachWire(b []byte, f func(w []byte)) {
	for at := 0; at < len(b); at += 1 + int(b[at]) {
		f(b[at+1 : at+1+int(b[at])])
	}
}

// questions returns n names of three or four labels in random order, in the form
// of wires: below listed ones, or such as look like listed ones and are not.
func questions(listed []byte, in func(*dnswire.Name) bool, want bool, n int) []byte {
	rng := rand.New(rand.NewPCG(5, uint64(n)))
	subs := []string{"www", "api", "cdn", "img", "mail", "static", "m", "ads", "login", "edge-a", "s3", "assets", "telemetry"}
	var offsets []int
	for at := 0; at < len(listed); at += 1 + int(listed[at]) {
		offsets = append(offsets, at)
	}
	var out []byte
	for n > 0 {
		at := offsets[rng.IntN(len(offsets))]
		s := string(dnswire.AppendText(nil, listed[at+1:at+1+int(listed[at])]))
		if !want {
			s = mutated(s, rng)
		}
		q, err := dnswire.ParseName(s)
		for labels := 3 + rng.IntN(2); err == nil && q.Labels() < labels; {
			s = subs[rng.IntN(len(subs))] + "." + s
			q, err = dnswire.ParseName(s)
		}
		if err == nil && q.Labels() <= 4 && in(&q) == want {
			out = append(append(out, byte(len(q.Wire()))), q.Wire()...)
			n--
		}
	}
	return out
}

// ask measures f for the names of a pool, and subtracts what reading them takes.
// It goes through the pool in rounds that are shorter than a time slice and
// reports the median and the tenth percentile of them: the latter is what counts
// where others use the machine, too.
func ask(b *testing.B, pool []byte, f func(n *dnswire.Name)) {
	const perRound = 5000
	var n dnswire.Name
	at := 0
	round := func(f func(n *dnswire.Name)) float64 {
		start := time.Now()
		for range perRound {
			if at == len(pool) {
				at = 0
			}
			end, _ := n.Read(pool, at+1)
			f(&n)
			at = end
		}
		return float64(time.Since(start).Nanoseconds()) / perRound
	}
	measure := func(rounds int, f func(*dnswire.Name)) (tenth, median float64) {
		var took []float64
		for range rounds {
			took = append(took, round(f))
		}
		slices.Sort(took)
		return took[len(took)/10], took[len(took)/2]
	}
	reading, _ := measure(50, func(*dnswire.Name) {})
	measure(len(pool)/25/perRound, f) // a mapped file becomes resident
	at = 0
	tenth, median := measure(max(b.N/perRound, 50), f)
	b.ReportMetric(median-reading, "median-ns")
	b.ReportMetric(tenth-reading, "p10-ns")
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func sizes() (s []int) {
	for _, n := range []int{10_000, 100_000, 600_000, 1_200_000, 10_000_000} {
		if n <= *benchSizes {
			s = append(s, n)
		}
	}
	return s
}

const benchQuestions = 200_000

// BenchmarkLookup measures random listed and unlisted names against mapped
// images of growing size, and a Go map of strings looked up suffix by suffix.
func BenchmarkLookup(b *testing.B) {
	for _, size := range sizes() {
		listed := wires(size)
		dir := b.TempDir()
		builder := NewBuilder(Options{Dir: dir})
		m := make(map[string]uint64, size)
		line := uint64(0)
		eachWire(listed, func(w []byte) {
			line++
			m[string(w)] = line << 6
			if err := builder.Add(w, Payload(line<<6)); err != nil {
				b.Fatal(err)
			}
		})
		im, err := builder.WriteFile(filepath.Join(dir, "image"))
		if err != nil {
			b.Fatal(err)
		}
		s := newSet(b, Layers{Base: im})
		var over []*Image
		gen := names.New(9)
		for range MaxOverlays {
			o := NewBuilder(Options{Like: im})
			for i := range 10_000 {
				w, _ := dnswire.AppendName(nil, string(gen.Next()))
				_ = o.Add(w, Payload(i))
			}
			over = append(over, build(b, o))
		}
		layered := newSet(b, Layers{Base: im, Overlays: over})
		inMap := func(n *dnswire.Name) bool {
			for k := n.Labels(); k > 0; k-- {
				if _, ok := m[string(n.Suffix(k))]; ok {
					return true
				}
			}
			return false
		}
		for _, kind := range []string{"unlisted", "listed"} {
			q := questions(listed, inMap, kind == "listed", benchQuestions)
			hits := make([]Hit, 0, 64)
			b.Run(fmt.Sprintf("names=%d/%s/image", size, kind), func(b *testing.B) {
				ask(b, q, func(n *dnswire.Name) { hits = s.Lookup(n, hits[:0]) })
				b.ReportMetric(float64(im.Bytes())/float64(size), "B/name")
			})
			b.Run(fmt.Sprintf("names=%d/%s/16overlays", size, kind), func(b *testing.B) {
				ask(b, q, func(n *dnswire.Name) { hits = layered.Lookup(n, hits[:0]) })
			})
			b.Run(fmt.Sprintf("names=%d/%s/map", size, kind), func(b *testing.B) {
				ask(b, q, func(n *dnswire.Name) { inMap(n) })
			})
		}
	}
}

// BenchmarkBuild measures a build from wire names to a mapped file.
func BenchmarkBuild(b *testing.B) {
	for _, size := range sizes() {
		listed := wires(size)
		b.Run(fmt.Sprintf("names=%d", size), func(b *testing.B) {
			dir := b.TempDir()
			start := cpuTime()
			for b.Loop() {
				builder := NewBuilder(Options{Dir: dir})
				line := 0
				eachWire(listed, func(w []byte) {
					line++
					_ = builder.Add(w, Payload(line<<6))
				})
				if _, err := builder.WriteFile(filepath.Join(dir, "image")); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime()-start).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
	b.Run("overlay=10000", func(b *testing.B) {
		listed := wires(100_000)
		base := NewBuilder(Options{})
		eachWire(listed, func(w []byte) { _ = base.Add(w, 1) })
		im := build(b, base)
		listed = wires(10_000)
		for b.Loop() {
			builder := NewBuilder(Options{Like: im})
			eachWire(listed, func(w []byte) { _ = builder.Add(w, 1) })
			newSet(b, Layers{Base: im, Overlays: []*Image{build(b, builder)}})
		}
	})
}

// BenchmarkOpen measures opening a file, checksum included.
func BenchmarkOpen(b *testing.B) {
	for _, size := range sizes() {
		dir := b.TempDir()
		path := filepath.Join(dir, "image")
		builder := NewBuilder(Options{Dir: dir})
		eachWire(wires(size), func(w []byte) { _ = builder.Add(w, 1) })
		if _, err := builder.WriteFile(path); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("names=%d", size), func(b *testing.B) {
			for b.Loop() {
				if _, err := Open(path); err != nil {
					b.Fatal(err)
				}
			}
		})
		runtime.GC()
		_ = os.Remove(path)
	}
}

// BenchmarkTogether measures random listed names one by one, and in batches of MaxBatch, in
// processor time: the machine may have other work.
func BenchmarkTogether(b *testing.B) {
	for _, size := range sizes() {
		builder := NewBuilder(Options{Dir: b.TempDir()})
		listed := wires(size)
		line := uint64(0)
		eachWire(listed, func(w []byte) {
			line++
			if err := builder.Add(w, Payload(line<<6)); err != nil {
				b.Fatal(err)
			}
		})
		im, err := builder.WriteFile(filepath.Join(b.TempDir(), "image"))
		if err != nil {
			b.Fatal(err)
		}
		s := newSet(b, Layers{Base: im})
		pool := questions(listed, func(n *dnswire.Name) bool { return len(s.Lookup(n, nil)) > 0 }, true, 100_000)
		var asked [MaxBatch]dnswire.Name
		var names []*dnswire.Name
		for i := range asked {
			names = append(names, &asked[i])
		}
		run := func(what string, f func(names []*dnswire.Name)) {
			b.Run(fmt.Sprintf("%d/%s", size, what), func(b *testing.B) {
				begun, n, at := cpuTime(), 0, 0
				for b.Loop() { // with reading the names, which are not in the processor's caches either
					for i := range asked {
						if at == len(pool) {
							at = 0
						}
						at, _ = asked[i].Read(pool, at+1)
					}
					f(names)
					n += MaxBatch
				}
				b.ReportMetric(float64((cpuTime()-begun).Nanoseconds())/float64(n), "cpu-ns/name")
			})
		}
		hits := make([]Hit, 0, 16)
		run("reading", func([]*dnswire.Name) {})
		run("alone", func(names []*dnswire.Name) {
			for _, n := range names {
				hits = s.Lookup(n, hits[:0])
			}
		})
		batch := new(Batch)
		run("together", func(names []*dnswire.Name) { s.LookupAll(names, batch) })
	}
}
