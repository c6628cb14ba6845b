package blocklists

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"telltale/bench/names"
	"telltale/blocklists/matcher"
	"telltale/dnswire"
)

// benchNames is how many names the lists of a benchmark have together.
const benchNames = 1_200_000

// benchLists writes lists of made-up names to a directory, 1 in 20 of them in two
// lists, and returns the names.
func benchLists(b *testing.B, dir string, lists, n int) []string {
	b.Helper()
	var out []*bufio.Writer
	for i := range lists {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("list%d.txt", i)))
		check(b, err)
		defer f.Close()
		out = append(out, bufio.NewWriter(f))
	}
	gen, all := names.New(1), make([]string, 0, n)
	for i := range n {
		name := string(gen.Next())
		all = append(all, name)
		fmt.Fprintln(out[i%lists], name)
		if i%20 == 0 {
			fmt.Fprintln(out[(i+1)%lists], name)
		}
	}
	for _, w := range out {
		check(b, w.Flush())
	}
	return all
}

// benchQuestions returns names of three or four labels in random order: listed
// ones or what is below them, or such as look like listed ones and are not.
func benchQuestions(all []string, in func(*dnswire.Name) bool, want bool) (wires []byte) {
	rng := rand.New(rand.NewPCG(5, 6))
	subs := []string{"www", "api", "cdn", "img", "mail", "static", "m", "ads", "login", "edge-a", "s3", "assets", "telemetry"}
	for n := 200_000; n > 0; {
		s := all[rng.IntN(len(all))]
		if !want {
			at := rng.IntN(len(s))
			s = s[:at] + string(byte('a'+rng.IntN(26))) + s[at:]
		}
		q, err := dnswire.ParseName(s)
		for labels := 3 + rng.IntN(2); err == nil && q.Labels() < labels; {
			s = subs[rng.IntN(len(subs))] + "." + s
			q, err = dnswire.ParseName(s)
		}
		if err == nil && q.Labels() <= 4 && in(&q) == want {
			wires = append(append(wires, byte(len(q.Wire()))), q.Wire()...)
			n--
		}
	}
	return wires
}

// askAll measures f for the names of a pool, in rounds shorter than a time slice:
// the tenth percentile of them counts where others use the machine, too. What
// reading the names takes is subtracted.
func askAll(b *testing.B, pool []byte, f func(n *dnswire.Name)) {
	const perRound = 5000
	var n dnswire.Name
	at := 0
	measure := func(rounds int, f func(*dnswire.Name)) (tenth, median float64) {
		var took []float64
		for range rounds {
			start := time.Now()
			for range perRound {
				if at == len(pool) {
					at = 0
				}
				end, _ := n.Read(pool, at+1)
				f(&n)
				at = end
			}
			took = append(took, float64(time.Since(start).Nanoseconds())/perRound)
		}
		slices.Sort(took)
		return took[len(took)/10], took[len(took)/2]
	}
	reading, _ := measure(50, func(*dnswire.Name) {})
	measure(40, f) // a mapped file becomes resident
	tenth, median := measure(max(b.N/perRound, 50), f)
	b.ReportMetric(median-reading, "median-ns")
	b.ReportMetric(tenth-reading, "p10-ns")
}

// BenchmarkDecide measures whole decisions over eight lists and the shipped
// catalogue, beside a Go map asked suffix by suffix.
func BenchmarkDecide(b *testing.B) {
	dir := b.TempDir()
	all := benchLists(b, dir, 8, benchNames)
	cache := b.TempDir()
	s := openStoreT(b, Options{Dir: dir, CacheDir: cache, Shipped: os.DirFS("catalog"), Poll: -1})
	defer s.Close()
	p, m := s.Current(), make(map[string]uint64, len(all))
	for i, name := range all {
		n, err := dnswire.ParseName(name)
		check(b, err)
		m[string(n.Wire())] = uint64(i)
	}
	inMap := func(n *dnswire.Name) bool {
		for k := n.Labels(); k > 0; k-- {
			if _, ok := m[string(n.Suffix(k))]; ok {
				return true
			}
		}
		return false
	}
	inPolicy := func(n *dnswire.Name) bool { return p.Decide(n, dnswire.TypeA, 0).Action == Block }
	hits := make([]matcher.Hit, 0, 24)
	for _, kind := range []string{"unlisted", "listed"} {
		pool := benchQuestions(all, inPolicy, kind == "listed")
		b.Run(kind+"/policy", func(b *testing.B) {
			askAll(b, pool, func(n *dnswire.Name) { p.Decide(n, dnswire.TypeA, 0) })
			image, err := os.Stat(filepath.Join(cache, "names.image"))
			check(b, err)
			b.ReportMetric(float64(image.Size())/float64(len(all)), "B/name")
		})
		b.Run(kind+"/names", func(b *testing.B) {
			askAll(b, pool, func(n *dnswire.Name) { hits = p.names.Lookup(n, hits[:0]) })
		})
		b.Run(kind+"/map", func(b *testing.B) { askAll(b, pool, func(n *dnswire.Name) { inMap(n) }) })
	}
}
