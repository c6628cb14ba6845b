package matcher

import (
	"encoding/binary"
	"runtime"
	"runtime/debug"

	"telltale/dnswire"
)

// MaxBatch is how many names are looked up together at most.
const MaxBatch = 32

// A Batch is names that are looked up together, and what was found of each. It
// belongs to one goroutine, which uses it again and again.
type Batch struct {
	hits  []Hit             // grows to what names need, and stays
	first [MaxBatch + 1]int // of each name in hits, and behind the last

	// Of all names, in their order, the shortest suffix first. The room is for all
	// suffixes of names that are not long, and one more, which is written to in vain.
	filtered [MaxBatch*fewLabels + 1]suffix
	passed   [MaxBatch*fewLabels + 1]located
}

// A suffix is one that the filters let pass.
type suffix struct {
	hash             uint64
	name, at, labels uint8
	base, over       bool
}

// A located is a candidate, and of which name.
type located struct {
	candidate
	name uint8
}

// Hits returns what was found of the i-th name, as Lookup does. It is valid until b is
// used again.
func (b *Batch) Hits(i int) []Hit { return b.hits[b.first[i]:b.first[i+1]:b.first[i+1]] }

// LookupAll is Lookup for up to MaxBatch names. A name alone waits for memory at each
// step: the filter, the index, the records. Here each step is taken for all names before
// the next one, without a branch that depends on what was read, so that the processor
// fetches what all of them need at once.
func (s *Set) LookupAll(names []*dnswire.Name, b *Batch) {
	if s.mapped {
		s.guardedAll(names, b)
		return
	}
	s.lookupAll(names, b)
}

// guardedAll is lookupAll where reading can fail, see guard.
func (s *Set) guardedAll(names []*dnswire.Name, b *Batch) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			s.failed(faultError(r))
			s.lookupEach(names, b) // what can be read is found
		}
	}()
	s.lookupAll(names, b)
}

// lookupEach is LookupAll, name by name.
func (s *Set) lookupEach(names []*dnswire.Name, b *Batch) {
	b.hits = b.hits[:0]
	for i, n := range names {
		b.first[i] = len(b.hits)
		b.hits = s.Lookup(n, b.hits)
	}
	b.first[len(names)] = len(b.hits)
}

func (s *Set) lookupAll(names []*dnswire.Name, b *Batch) {
	passed := s.locateAll(b, s.filterAll(names, b))
	b.hits = b.hits[:0]
	for i, n := range names {
		b.first[i] = len(b.hits)
		if isLong(n) {
			b.hits = s.lookupLong(n, b.hits)
			continue
		}
		ofName := 0
		for ofName < len(passed) && int(passed[ofName].name) == i {
			ofName++
		}
		wire := n.Wire()
		w := wire[:len(wire)+slack]
		for k := ofName - 1; k >= 0; k-- {
			b.hits = s.collectOne(&passed[k].candidate, w, len(wire), b.hits)
		}
		passed = passed[ofName:]
		if s.root.base || s.root.over {
			root := s.root
			root.at = uint8(len(wire) - 1)
			b.hits = s.collectOne(&root, w, len(wire), b.hits)
		}
	}
	b.first[len(names)] = len(b.hits)
	runtime.KeepAlive(s)
}

// isLong reports whether a name is for lookupLong.
func isLong(n *dnswire.Name) bool {
	return n.Labels() >= fewLabels || cap(n.Wire()) < len(n.Wire())+slack
}

// filterAll returns the suffixes of all names that the filters let pass, but the root.
func (s *Set) filterAll(names []*dnswire.Name, b *Batch) []suffix {
	base, over := s.base.filter, s.over
	baseWords, overWords, overlaid := base.words(), over.words(), len(s.layers.Overlays) > 0
	n := 0
	for i, name := range names {
		if isLong(name) {
			continue
		}
		wire, h, starts := name.Wire(), s.key.root(), name.Starts()
		w := wire[:len(wire)+slack]
		for k := len(starts) - 1; k >= 0; k-- {
			h = s.key.label(h, w, int(starts[k]))
			inBase, inOver := base.has(h, baseWords), false
			if overlaid {
				inOver = over.has(h, overWords)
			}
			b.filtered[n] = suffix{h, uint8(i), starts[k], uint8(len(starts) - k), inBase, inOver}
			n += one(inBase || inOver)
		}
	}
	return b.filtered[:n]
}

// locateAll returns those of the suffixes that the index lets pass too, and has the
// processor fetch the records of their groups.
func (s *Set) locateAll(b *Batch, filtered []suffix) []located {
	index, records, groups, n := s.base.index, s.base.records, s.base.groups, 0
	for i := range filtered {
		f := &filtered[i]
		g := reduce(f.hash, groups)
		cells := index[cellSize*g : cellSize*g+2*cellSize]
		in := f.base && groupBits(f.hash)&^binary.LittleEndian.Uint32(cells) == 0
		group := s.base.within(uint64(binary.LittleEndian.Uint32(cells[4:])), uint64(binary.LittleEndian.Uint32(cells[cellSize+4:])))
		c := &b.passed[n]
		c.hash, c.group, c.at, c.labels, c.base, c.over, c.name = f.hash, group, f.at, f.labels, in, f.over, f.name
		c.touched = records[group.off] + records[(group.off+group.end)/2] + records[group.end]
		n += one(in || f.over)
	}
	return b.passed[:n]
}

// one is 1 for true, without a branch.
func one(is bool) (n int) {
	if is {
		n = 1
	}
	return n
}
