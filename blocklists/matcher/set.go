package matcher

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"telltale/dnswire"
)

// MaxOverlays is how many overlays a Set can have.
const MaxOverlays = 16

// Layers are what a Set is made of.
type Layers struct {
	Base     *Image   // nil for none
	Overlays []*Image // small images with the hash key of Base; nil ones are skipped

	// Fault is called once, by the goroutine that was looking up, when a
	// mapped file can no longer be read. It must not wait.
	Fault func(error)
}

// A Set looks names up in one large image and some small ones at once. It never
// changes and may be used by all goroutines.
type Set struct {
	layers Layers
	key    key
	mapped bool
	base   *Image // never nil
	over   filter // of all overlays together
	root   candidate
	fault  atomic.Pointer[error]
}

// nothing is an image without entries, which stands for a base that is missing.
var nothing = &Image{
	header:  &header{groups: 1, width: 1},
	symbols: new(symbols),
	records: make([]byte, tail),
	index:   make([]byte, 2*cellSize),
	filter:  newFilter(0),
}

// NewSet returns the set of the given layers. The error is that an image was
// built with another hash key, that there are too many, or that one of them can
// no longer be read.
func NewSet(l Layers) (*Set, error) {
	if len(l.Overlays) > MaxOverlays {
		return nil, fmt.Errorf("%d overlays, at most %d", len(l.Overlays), MaxOverlays)
	}
	l.Overlays = slices.Clone(l.Overlays)
	s := &Set{layers: l, base: nothing, over: newFilter(0)}
	var first *Image
	entries := 0
	for i, im := range append([]*Image{l.Base}, l.Overlays...) {
		if im == nil {
			continue
		}
		if first == nil {
			first, s.key = im, im.key
		}
		if im.key != s.key {
			return nil, fmt.Errorf("overlay %d has another hash key than its base", i-1)
		}
		s.mapped = s.mapped || im.mapped
		if i > 0 {
			entries += im.Len()
		}
	}
	if l.Base != nil {
		s.base = l.Base
	}
	if entries > 0 {
		s.over = newFilter(4 * entries) // what passes is looked for in every overlay: few may
	}
	var padded [dnswire.MaxName + slack]byte
	for _, im := range l.Overlays {
		if im == nil {
			continue
		}
		err := im.Each(func(name []byte, _ Payload) bool {
			s.over.add(s.key.name(padded[:], copy(padded[:], name)))
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	// A file that was cut short is found here, not by the first question.
	h := s.key.root()
	s.root = candidate{hash: h, over: s.over.has(h, s.over.words())}
	err := guard(func() {
		s.root.touched = s.base.records[len(s.base.records)-1]
		if s.base.filter.has(h, s.base.filter.words()) {
			s.root.base, s.root.group = true, s.base.span(reduce(h, s.base.groups))
		}
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Lookup appends all entries that equal n or a name above it, up to the root:
// the most specific first, of equal names the base's before the overlays', and
// within an image in the order they were added. It allocates nothing when hits
// has room. When a file can no longer be read it appends nothing, and Layers.Fault
// is told: build from text again.
func (s *Set) Lookup(n *dnswire.Name, hits []Hit) []Hit {
	if s.mapped {
		return s.guarded(n, hits)
	}
	return s.lookup(n, hits)
}

// guarded is lookup where reading can fail, see guard.
func (s *Set) guarded(n *dnswire.Name, hits []Hit) (found []Hit) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	found = hits
	defer func() {
		if r := recover(); r != nil {
			s.failed(faultError(r))
		}
	}()
	return s.lookup(n, hits)
}

func (s *Set) failed(err error) {
	if s.fault.CompareAndSwap(nil, &err) && s.layers.Fault != nil {
		s.layers.Fault(err)
	}
}

func (s *Set) lookup(n *dnswire.Name, hits []Hit) []Hit {
	wire := n.Wire()
	if cap(wire) < len(wire)+slack || n.Labels() >= fewLabels {
		return s.lookupLong(n, hits)
	}
	var room [fewLabels]candidate
	w := wire[:len(wire)+slack]
	passed := s.walk(n, w, len(wire), room[:0])
	if len(passed) == 0 {
		return hits // nearly every name
	}
	return s.collect(passed, w, len(wire), hits)
}

// fewLabels is more than nearly all names have.
const fewLabels = 8

// lookupLong is lookup for all names.
func (s *Set) lookupLong(n *dnswire.Name, hits []Hit) []Hit {
	var padded [dnswire.MaxName + slack]byte
	var room [128]candidate // 127 labels and the root
	end := copy(padded[:], n.Wire())
	return s.collect(s.walk(n, padded[:], end, room[:0]), padded[:], end, hits)
}

// A candidate is a suffix of the name that may be in an image.
type candidate struct {
	hash       uint64
	group      span // of the base
	touched    uint8
	at, labels uint8
	base, over bool
}

// walk appends the suffixes of the name w[:end], whose labels n knows, that may be
// in an image, the shortest first. There must be room in passed for every suffix.
func (s *Set) walk(n *dnswire.Name, w []byte, end int, passed []candidate) []candidate {
	if s.root.base || s.root.over {
		passed = append(passed, s.root)
		passed[0].at = uint8(end - 1)
	}
	base, over := s.base.filter, s.over
	baseWords, overWords, overlaid := base.words(), over.words(), len(s.layers.Overlays) > 0
	h := s.key.root()
	for k, labels := 1, n.Labels(); k <= labels; k++ {
		at := end - len(n.Suffix(k))
		h = s.key.label(h, w, at)
		inBase, inOver := base.has(h, baseWords), overlaid && over.has(h, overWords)
		if !inBase && !inOver {
			continue
		}
		c := candidate{hash: h, at: uint8(at), labels: uint8(k), over: inOver}
		if inBase {
			if g := reduce(h, s.base.groups); s.base.has(h, g) {
				c.base, c.group = true, s.base.span(g)
			} else if !inOver {
				continue
			}
		}
		passed = append(passed, c)
	}
	return passed
}

// collect appends the entries of the suffixes that passed, the longest first.
func (s *Set) collect(passed []candidate, w []byte, end int, hits []Hit) []Hit {
	for i := range passed {
		if c := &passed[i]; c.base {
			// Read now, so that the processor fetches all groups at once.
			b := s.base.records
			c.touched = b[c.group.off] + b[(c.group.off+c.group.end)/2] + b[c.group.end]
		}
	}
	for i := len(passed) - 1; i >= 0; i-- {
		hits = s.collectOne(&passed[i], w, end, hits)
	}
	runtime.KeepAlive(s)
	return hits
}

// collectOne appends the entries of all images for one suffix.
func (s *Set) collectOne(c *candidate, w []byte, end int, hits []Hit) []Hit {
	if c.base {
		from := len(hits)
		hits = s.base.find(hits, c.group, w, int(c.at), end)
		for j := from; j < len(hits); j++ {
			hits[j].Labels = c.labels
		}
	}
	if c.over {
		for _, im := range s.layers.Overlays {
			if im == nil {
				continue
			}
			g := reduce(c.hash, im.groups)
			if !im.has(c.hash, g) {
				continue
			}
			from := len(hits)
			hits = im.find(hits, im.span(g), w, int(c.at), end)
			for j := from; j < len(hits); j++ {
				hits[j].Labels = c.labels
			}
		}
	}
	return hits
}
