package matcher

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"telltale/bench/names"
	"telltale/dnswire"
)

var many = flag.Int("names", namesToTry(), "how many names the parity test uses")

func namesToTry() int {
	if raced {
		return 60_000 // enough for symbols of their own; "make test" runs all without the race detector
	}
	return 200_000
}

// A twin is the slow and obvious matcher: a map.
type twin map[string][]Payload

func (m twin) add(name []byte, p Payload) { m[string(name)] = append(m[string(name)], p) }

// lookup returns what Set.Lookup should, without refs.
func (m twin) lookup(n *dnswire.Name, hits []Hit) []Hit {
	for k := n.Labels(); k >= 0; k-- {
		for _, p := range m[string(n.Suffix(k))] {
			hits = append(hits, Hit{Payload: p, Labels: uint8(k)})
		}
	}
	return hits
}

func name(t testing.TB, s string) *dnswire.Name {
	t.Helper()
	n, err := dnswire.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return &n
}

func add(t testing.TB, b *Builder, s string, p Payload) {
	t.Helper()
	if err := b.Add(name(t, s).Wire(), p); err != nil {
		t.Fatal(err)
	}
}

func build(t testing.TB, b *Builder) *Image {
	t.Helper()
	im, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func newSet(t testing.TB, l Layers) *Set {
	t.Helper()
	s, err := NewSet(l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLookup(t *testing.T) {
	b := NewBuilder(Options{})
	add(t, b, "example.com", 10)
	add(t, b, "ads.example.com", 11)
	add(t, b, "example.com", 20)
	add(t, b, "a.b.c.d.e.f.g.h.i.example.net", 30)
	add(t, b, "net", 31)
	add(t, b, `\000\255.\046.example.org`, 40)
	base := build(t, b)

	b = NewBuilder(Options{Like: base})
	add(t, b, "ads.example.com", 5)
	add(t, b, "new.example", 6)
	one := build(t, b)
	b = NewBuilder(Options{Like: base})
	add(t, b, "example.com", 7)
	two := build(t, b)

	all := newSet(t, Layers{Base: base, Overlays: []*Image{one, nil, two}})
	none := newSet(t, Layers{})
	over := newSet(t, Layers{Overlays: []*Image{one}})

	for _, c := range []struct {
		fact string
		set  *Set
		name string
		want []Hit
	}{
		{"a name below matches, equal names in the order added", all, "www.Example.COM", []Hit{{10, 2}, {20, 2}, {7, 2}}},
		{"the most specific comes first, the base before overlays", all, "x.ads.example.com",
			[]Hit{{11, 3}, {5, 3}, {10, 2}, {20, 2}, {7, 2}}},
		{"a sibling does not match", all, "notexample.com", nil},
		{"a parent does not match", all, "com", nil},
		{"the root does not match", all, ".", nil},
		{"a long name matches", all, "z.a.b.c.d.e.f.g.h.i.example.net", []Hit{{30, 11}, {31, 1}}},
		{"a name of odd octets matches", all, `x.\000\255.\046.example.org`, []Hit{{40, 4}}},
		{"no images, no hits", none, "example.com", nil},
		{"overlays need no base", over, "new.example", []Hit{{6, 2}}},
	} {
		got := c.set.Lookup(name(t, c.name), nil)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %s: got %v, want %v", c.fact, c.name, got, c.want)
		}
	}
}

func TestAnEntryForTheRootMatchesEverything(t *testing.T) {
	b := NewBuilder(Options{})
	add(t, b, ".", 1)
	s := newSet(t, Layers{Base: build(t, b)})
	for _, n := range []string{".", "com", "a.b.c"} {
		if got := s.Lookup(name(t, n), nil); len(got) != 1 || got[0].Labels != 0 || got[0].Payload != 1 {
			t.Errorf("%s: got %v", n, got)
		}
	}
}

func TestLayersThatDoNotBelongTogetherAreRefused(t *testing.T) {
	one, other := build(t, NewBuilder(Options{})), build(t, NewBuilder(Options{}))
	if _, err := NewSet(Layers{Base: one, Overlays: []*Image{other}}); err == nil {
		t.Error("an overlay with another key is taken")
	}
	if _, err := NewSet(Layers{Overlays: []*Image{one, other}}); err == nil {
		t.Error("overlays of two keys are taken")
	}
	if _, err := NewSet(Layers{Base: one, Overlays: make([]*Image, MaxOverlays+1)}); err == nil {
		t.Error("more overlays than allowed are taken")
	}
	like := build(t, NewBuilder(Options{Like: one}))
	if _, err := NewSet(Layers{Base: one, Overlays: []*Image{nil, like}}); err != nil {
		t.Error(err)
	}
}

// mixed calls f with names that are in the set, below, beside and above those
// that are, and nearly those.
func mixed(listed []string, n int, rng *rand.Rand, f func(*dnswire.Name)) {
	for i := range n {
		s := listed[rng.IntN(len(listed))]
		switch i % 8 {
		case 0:
		case 1:
			s = "www." + s
		case 2:
			s = "x" + s
		case 3:
			s = mutated(s, rng)
		case 4:
			s = "zq9" + s[max(0, indexDot(s)):]
		case 5:
			s = s[indexDot(s)+1:]
		case 6:
			s = "a.b." + mutated(s, rng)
		case 7:
			s = s[1+rng.IntN(3):]
		}
		if q, err := dnswire.ParseName(s); err == nil {
			f(&q)
		}
	}
}

func indexDot(s string) int { return slices.Index([]byte(s), '.') }

// mutated replaces letters of the label before the last.
func mutated(s string, rng *rand.Rand) string {
	b := []byte(s)
	for range 3 {
		if i := rng.IntN(len(b)); b[i] != '.' {
			b[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[rng.IntN(36)]
		}
	}
	return string(b)
}

// A together is names that are looked up at once, up to a random number of them, and
// what is to be found of each.
type together struct {
	batch Batch
	names [MaxBatch]dnswire.Name
	wants [MaxBatch][]Hit
	n     int
	size  int
}

func (a *together) add(t *testing.T, s *Set, n *dnswire.Name, want []Hit) {
	t.Helper()
	a.names[a.n], a.wants[a.n] = *n, append(a.wants[a.n][:0], want...)
	if a.n++; a.n <= a.size {
		return
	}
	var names []*dnswire.Name
	for i := range a.n {
		names = append(names, &a.names[i])
	}
	s.LookupAll(names, &a.batch)
	for i := range names {
		if got := a.batch.Hits(i); !slices.Equal(got, a.wants[i]) {
			t.Fatalf("%s, one of %d: got %v, want %v", names[i], a.n, got, a.wants[i])
		}
	}
	a.n, a.size = 0, (a.size+11)%MaxBatch
}

// TestTheMapAgrees checks a large base, built in memory and by way of a file,
// with and without overlays and masks, against a map for names of all kinds.
func TestTheMapAgrees(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	gen := names.New(3)
	dir := t.TempDir()
	inMemory := NewBuilder(Options{})
	toFile := NewBuilder(Options{Dir: dir})
	base := twin{}
	var listed []string
	for i := range *many {
		s := string(gen.Next())
		if i%9 == 8 { // again, from another list
			s = listed[rng.IntN(len(listed))]
		}
		listed = append(listed, s)
		p := Payload(i)<<6 | Payload(rng.IntN(64))
		base.add(name(t, s).Wire(), p)
		add(t, inMemory, s, p)
		add(t, toFile, s, p)
	}
	built := build(t, inMemory)
	mapped, err := toFile.WriteFile(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("got %v, %v, want the image alone", left, err)
	}

	var overlays []*Image
	var overs []twin
	for i := range 3 {
		b, m := NewBuilder(Options{Like: mapped}), twin{}
		for j := range 2000 {
			s := string(gen.Next())
			if j%3 == 0 {
				s = listed[rng.IntN(len(listed))]
			}
			listed = append(listed, s)
			m.add(name(t, s).Wire(), Payload(i*10_000+j))
			add(t, b, s, Payload(i*10_000+j))
		}
		overlays, overs = append(overlays, build(t, b)), append(overs, m)
	}

	for _, c := range []struct {
		what   string
		layers Layers
	}{
		{"in memory", Layers{Base: built}},
		{"mapped", Layers{Base: mapped}},
		{"mapped, overlays", Layers{Base: mapped, Overlays: overlays}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := newSet(t, c.layers)
			var got, want []Hit
			found := 0
			var together together
			mixed(listed, *many, rng, func(n *dnswire.Name) {
				got = s.Lookup(n, got[:0])
				want = base.lookup(n, want[:0])
				for i := range c.layers.Overlays {
					want = overs[i].lookup(n, want)
				}
				slices.SortStableFunc(want, func(a, b Hit) int { return int(b.Labels) - int(a.Labels) })
				found += len(got)
				if !slices.Equal(got, want) {
					t.Fatalf("%s: got %v, want %v", n, got, want)
				}
				together.add(t, s, n, want)
			})
			if found == 0 {
				t.Error("nothing was found at all")
			}
		})
	}

	t.Run("each", func(t *testing.T) {
		for _, im := range []*Image{built, mapped} {
			seen := twin{}
			count := 0
			if err := im.Each(func(name []byte, p Payload) bool {
				seen.add(name, p)
				count++
				return true
			}); err != nil {
				t.Fatal(err)
			}
			if count != *many || im.Len() != *many {
				t.Errorf("%d entries, Len %d, want %d", count, im.Len(), *many)
			}
			for name, want := range base {
				if !slices.Equal(seen[name], want) {
					t.Fatalf("%q: got %v, want %v", name, seen[name], want)
				}
			}
		}
	})
}

func TestPayloadsOfEveryWidth(t *testing.T) {
	for width := range 9 {
		b := NewBuilder(Options{})
		max := Payload(1)<<(8*width) - 1 // all ones where width is 8
		if width == 0 {
			max = 0
		}
		add(t, b, "a.example", max)
		add(t, b, "a.example", 0)
		got := newSet(t, Layers{Base: build(t, b)}).Lookup(name(t, "a.example"), nil)
		if len(got) != 2 || got[0].Payload != max || got[1].Payload != 0 {
			t.Errorf("%d octets: got %v, want %d and 0", width, got, max)
		}
	}
}

func TestWhatIsNoNameIsRefused(t *testing.T) {
	b := NewBuilder(Options{})
	for _, wire := range []string{"", "\x03com", "\x03co\x00", "\x03com\x00\x00", "\xc0\x0c",
		"\x40" + fmt.Sprintf("%064d", 0) + "\x00"} {
		if err := b.Add([]byte(wire), 1); err == nil {
			t.Errorf("%q is taken for a name", wire)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	b := NewBuilder(Options{})
	long := "a.b.c.d.e.f.g.h.i.j.k.example.com"
	for n := long; indexDot(n) > 0; n = n[indexDot(n)+1:] {
		add(t, b, n, 1)
	}
	path := filepath.Join(t.TempDir(), "image")
	base, err := b.WriteFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newSet(t, Layers{Base: base})
	hits := make([]Hit, 0, 16)
	for _, s2 := range []string{"www.example.com", long, "x.test", "."} {
		n := name(t, s2)
		if got := testing.AllocsPerRun(1000, func() { hits = s.Lookup(n, hits[:0]) }); got != 0 {
			t.Errorf("%s: %v allocations", s2, got)
		}
	}
	var batch Batch
	all := []*dnswire.Name{name(t, "www.example.com"), name(t, long), name(t, "x.test"), name(t, ".")}
	s.LookupAll(all, &batch)
	if got := testing.AllocsPerRun(1000, func() { s.LookupAll(all, &batch) }); got != 0 {
		t.Errorf("together: %v allocations", got)
	}
}
