// Package names makes up domain names that look like those of block lists, for
// benchmarks and tests: any number, always the same for the same seed. Lengths,
// numbers of labels, endings and the share of registrable domains (one in two)
// follow what 283,000 names of public lists showed; the mean is 21 to 22 octets
// on the wire. None is taken from a list, though some may exist.
package names

import (
	"bufio"
	"io"
	"math/rand/v2"
	"strconv"
)

// Generate writes n different names to w, one a line, in random order.
func Generate(n int, seed uint64, w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	g := New(seed)
	for range n {
		out.Write(g.Next())
		out.WriteByte('\n') // Flush returns the error of any write
	}
	return out.Flush()
}

// A Generator makes names, all different.
type Generator struct {
	rng    *rand.Rand
	seen   map[uint64]struct{}
	shared []string // domains that many names are below, as those of CDNs
	name   []byte
}

// New returns the generator of a seed.
func New(seed uint64) *Generator {
	g := &Generator{rng: rand.New(rand.NewPCG(seed, 0x6e616d6573)), seen: map[uint64]struct{}{}}
	for range 300 {
		g.name = g.name[:0]
		g.registrable()
		g.shared = append(g.shared, string(g.name))
	}
	return g
}

// Next returns the next name, in presentation form without trailing dot. It is
// valid until the next call.
func (g *Generator) Next() []byte {
	for {
		g.make()
		h := uint64(14695981039346656037) // FNV-1a
		for _, c := range g.name {
			h = (h ^ uint64(c)) * 1099511628211
		}
		if _, ok := g.seen[h]; !ok {
			g.seen[h] = struct{}{}
			return g.name
		}
	}
}

func (g *Generator) make() {
	g.name = g.name[:0]
	for range g.sublabels() {
		g.sub()
		g.name = append(g.name, '.')
	}
	if len(g.name) > 0 && g.rng.IntN(6) == 0 {
		// The further up the list, the more names are below it.
		i := g.rng.IntN(len(g.shared))
		g.name = append(g.name, g.shared[g.rng.IntN(i+1)]...)
		return
	}
	g.registrable()
}

// sublabels is how many labels are before the registrable domain.
func (g *Generator) sublabels() int {
	switch p := g.rng.IntN(1000); {
	case p < 515:
		return 0
	case p < 880:
		return 1
	case p < 970:
		return 2
	case p < 993:
		return 3
	default:
		return 4 + g.rng.IntN(3)
	}
}

func (g *Generator) sub() {
	switch p := g.rng.IntN(100); {
	case p < 52:
		// The first ones are the frequent ones.
		i := g.rng.IntN(len(hosts))
		g.name = append(g.name, hosts[g.rng.IntN(i+1)]...)
	case p < 72:
		g.word()
	case p < 80:
		g.word()
		g.name = append(g.name, '-')
		g.word()
	case p < 86:
		g.name = append(g.name, hosts[g.rng.IntN(len(hosts))]...)
		g.digits(1 + g.rng.IntN(3))
	case p < 94:
		g.letters(2 + g.rng.IntN(5))
	default:
		g.hex(8 + g.rng.IntN(13))
	}
}

func (g *Generator) registrable() {
	start := len(g.name)
	switch p := g.rng.IntN(100); {
	case p < 22:
		g.word()
		g.word()
	case p < 36:
		g.word()
		g.syllables(1 + g.rng.IntN(2))
	case p < 60:
		g.syllables(2 + g.rng.IntN(4))
	case p < 69:
		g.word()
		g.digits(1 + g.rng.IntN(4))
	case p < 72:
		g.word()
		g.name = append(g.name, '-')
		g.word()
	case p < 91:
		g.word()
		g.word()
		g.word()
	case p < 96:
		g.letters(4 + g.rng.IntN(9))
	default:
		g.hex(8 + g.rng.IntN(7))
	}
	if len(g.name)-start > 63 {
		g.name = g.name[:start+63]
	}
	g.name = append(g.name, '.')
	g.name = append(g.name, ending(g.rng.IntN(endingsTotal))...)
}

func (g *Generator) word() { g.name = append(g.name, words[g.rng.IntN(len(words))]...) }

func (g *Generator) syllables(n int) {
	for range n {
		g.name = append(g.name, onsets[g.rng.IntN(len(onsets))]...)
		g.name = append(g.name, nuclei[g.rng.IntN(len(nuclei))]...)
		if g.rng.IntN(2) == 0 {
			g.name = append(g.name, codas[g.rng.IntN(len(codas))])
		}
	}
}

func (g *Generator) digits(n int) {
	limit := 1
	for range n {
		limit *= 10
	}
	g.name = strconv.AppendInt(g.name, int64(g.rng.IntN(limit)), 10)
}

func (g *Generator) letters(n int) {
	for range n {
		g.name = append(g.name, byte('a'+g.rng.IntN(26)))
	}
}

func (g *Generator) hex(n int) {
	for range n {
		g.name = append(g.name, "0123456789abcdef"[g.rng.IntN(16)])
	}
}

// ending returns the ending whose weights begin at or before at.
func ending(at int) string {
	for _, e := range endings {
		if at -= e.weight; at < 0 {
			return e.name
		}
	}
	panic("weights end before endingsTotal")
}
