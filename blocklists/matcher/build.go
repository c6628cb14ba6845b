package matcher

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path/filepath"
	"slices"

	"telltale/atomicfile"
)

const (
	// groupSize is how many entries a group has on average: more of them make
	// the index smaller, the filter weaker and the search in a group longer.
	groupSize = 4

	// ownSymbols is how many names an image needs to be worth symbols of its
	// own when those of another can be had.
	ownSymbols = 50_000
)

// Options of a Builder. The zero value works.
type Options struct {
	// Like gives its hash key to the new image. All images of a Set need the
	// same key: overlays are built like their base, and a new base like the old
	// one when overlays are to be kept. Small images take its symbols too,
	// which saves the time of finding their own.
	Like *Image

	// Dir is where what has been added waits when it does not fit into a
	// buffer of 1 MiB; nothing stays there. Empty keeps all in memory.
	Dir string
}

// A Builder collects entries for an image. It is for one goroutine.
type Builder struct {
	opts   Options
	key    key
	runs   runs
	sample sample
	meta   []byte
	count  int
	octets uint64
	max    Payload
	padded [255 + slack]byte
}

// NewBuilder returns an empty Builder.
func NewBuilder(o Options) *Builder {
	b := &Builder{opts: o, runs: runs{dir: o.Dir}}
	if o.Like != nil {
		b.key = o.Like.key
	} else {
		var seed [16]byte
		rand.Read(seed[:]) // never fails
		b.key = keyFrom(seed[:])
	}
	return b
}

// Add adds an entry. The name is in wire form, lower case, root label included;
// it is copied. Equal names are kept in the order of Add. The error is
// dnswire.ErrName for what is not a name, or that of writing to Options.Dir.
func (b *Builder) Add(name []byte, p Payload) error {
	if err := checkName(name); err != nil {
		return err
	}
	if b.count == math.MaxInt32 {
		return fmt.Errorf("%w: more than %d entries", ErrBuild, math.MaxInt32)
	}
	h := b.key.name(b.padded[:], copy(b.padded[:], name))
	if err := b.runs.add(h, name, p); err != nil {
		return err
	}
	b.sample.offer(name, h)
	b.count++
	b.octets += uint64(len(name))
	b.max = max(b.max, p)
	return nil
}

// SetMeta gives the image octets of the caller's own, see Image.Meta.
func (b *Builder) SetMeta(meta []byte) { b.meta = bytes.Clone(meta) }

// Close frees what an unfinished build holds. After Build and WriteFile it does
// nothing.
func (b *Builder) Close() { b.runs.close() }

// Build makes an image in memory and ends the builder's use.
func (b *Builder) Build() (*Image, error) {
	defer b.Close()
	var out memory
	if err := b.write(&out); err != nil {
		return nil, err
	}
	return fromBytes(slices.Clone(out.b)) // without the room it grew into
}

// WriteFile writes the image to a new file, which is then renamed to path, so that
// whoever has an old one mapped keeps it, and ends the builder's use. It returns the
// image, mapped. Any number of builders may write to a path: the last one that ends
// is found there.
func (b *Builder) WriteFile(path string) (*Image, error) {
	defer b.Close()
	f, err := atomicfile.Create(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if err := b.write(f); err != nil {
		atomicfile.Discard(f)
		return nil, err
	}
	// Not synced: what a power cut leaves has a wrong checksum, and is built again.
	err = atomicfile.Rename(f, path)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	im, err := open(f)
	if err != nil {
		_ = f.Close()
	}
	return im, err
}

// memory is a file in memory.
type memory struct{ b []byte }

func (m *memory) Write(p []byte) (int, error) {
	m.b = append(m.b, p...)
	return len(p), nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) { return copy(m.b[off:], p), nil }

// A writer counts and sums what it writes behind the header.
type writer struct {
	*bufio.Writer
	off uint64
	sum uint32
}

func (w *writer) write(p []byte) error {
	w.off += uint64(len(p))
	w.sum = crc32.Update(w.sum, castagnoli, p)
	_, err := w.Write(p)
	return err
}

// section writes a section from the next aligned place on.
func (w *writer) section(s *section, body func() error) error {
	if err := w.write(make([]byte, -w.off&(align-1))); err != nil {
		return err
	}
	s.off = w.off
	err := body()
	s.len = w.off - s.off
	return err
}

// write writes the whole image.
func (b *Builder) write(f interface {
	io.Writer
	io.WriterAt
}) error {
	if _, err := f.Write(make([]byte, headerSize)); err != nil {
		return err
	}
	h := &header{key: b.key, width: 1}
	for h.width < 8 && b.max>>(8*h.width) != 0 {
		h.width++
	}
	m := newMaker(b, h)
	w := &writer{Writer: bufio.NewWriterSize(f, 64<<10), off: headerSize}
	bodies := [sectionCount]func() error{
		symbolSection: func() error { return w.write(m.table.append(nil)) },
		recordSection: func() error { return m.records(w) },
		filterSection: func() error { return w.write(m.filter) },
		indexSection:  func() error { return w.write(m.index) },
		metaSection:   func() error { return w.write(b.meta) },
	}
	for i, body := range bodies {
		if err := w.section(&h.sections[i], body); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	h.body, h.size = w.sum, w.off
	_, err := f.WriteAt(h.append(nil), 0)
	return err
}

// A maker turns runs into records and an index.
type maker struct {
	*Builder
	header *header
	table  *symbols
	enc    *encoder
	filter filter
	index  []byte
	bits   uint32 // of the index, for the group being written
	list   []pending
	out    []byte
}

func newMaker(b *Builder, h *header) *maker {
	table := b.table()
	// A multiple of the parts, so that no group is in two of them.
	groups := (b.count/groupSize/partCount + 1) * partCount
	if b.count < partCount*groupSize {
		groups = b.count/groupSize + 1 // one part
	}
	h.groups = uint64(groups)
	return &maker{
		Builder: b,
		header:  h,
		table:   table,
		enc:     newEncoder(table),
		filter:  newFilter(b.count),
		index:   make([]byte, 0, (groups+1)*cellSize),
	}
}

func (b *Builder) table() *symbols {
	if b.opts.Like != nil && b.count < ownSymbols && b.opts.Like.entries > 0 {
		return b.opts.Like.symbols
	}
	return train(&b.sample)
}

// records writes the record section.
func (m *maker) records(w *writer) error {
	start := w.off
	if len(m.runs.all) == 0 {
		if err := m.part(m.runs.buffer, 0, m.header.groups, w, start); err != nil {
			return err
		}
	} else if err := m.parts(w, start); err != nil {
		return err
	}
	m.cell(0, w.off-start)
	m.header.entries, m.header.octets = uint64(m.count), m.octets
	return w.write(make([]byte, tail))
}

func (m *maker) parts(w *writer, start uint64) error {
	if err := m.runs.flush(); err != nil {
		return err
	}
	each := m.header.groups / partCount
	var buf []byte
	for i := range partCount {
		var err error
		if buf, err = m.runs.part(i, buf); err != nil {
			return err
		}
		if err := m.part(buf, uint64(i)*each, uint64(i+1)*each, w, start); err != nil {
			return err
		}
	}
	return nil
}

// A pending entry has a place in a group.
type pending struct {
	hash uint64
	at   uint32 // among the entries of the part
}

// part writes the records of the groups from..to, to which the entries belong.
func (m *maker) part(entries []byte, from, to uint64, w *writer, start uint64) error {
	m.list = m.list[:0]
	for e := (reader{b: entries}); e.next(); {
		m.list = append(m.list, pending{e.hash(), uint32(e.start)})
	}
	ends := make([]uint32, to-from+1) // of each group in sorted, when all are in
	for _, e := range m.list {
		ends[reduce(e.hash, m.header.groups)-from+1]++
	}
	for i := range to - from {
		ends[i+1] += ends[i]
	}
	sorted := make([]pending, len(m.list))
	for _, e := range m.list {
		g := reduce(e.hash, m.header.groups) - from
		sorted[ends[g]] = e
		ends[g]++
	}
	begin := uint32(0)
	for g := range to - from {
		if w.off-start > math.MaxUint32-tail {
			return fmt.Errorf("%w: its records are over 4 GiB", ErrBuild)
		}
		off := w.off - start
		if err := m.group(entries, sorted[begin:ends[g]], w); err != nil {
			return err
		}
		m.cell(m.bits, off)
		begin = ends[g]
	}
	return nil
}

// group writes the records of one group: equal names together.
func (m *maker) group(entries []byte, group []pending, w *writer) error {
	sortGroup(entries, group)
	m.out, m.bits = m.out[:0], 0
	var last []byte // the name before
	for i, e := range group {
		name, p := entryAt(entries, e.at)
		same := i > 0 && group[i-1].hash == e.hash && bytes.Equal(last, name)
		if !same {
			m.filter.add(e.hash)
			m.bits |= groupBits(e.hash)
		}
		last = name
		m.record(name, p, same)
	}
	return w.write(m.out)
}

// sortGroup puts equal names beside each other, in the order they were added.
func sortGroup(entries []byte, group []pending) {
	if len(group) > 20 {
		slices.SortStableFunc(group, func(a, b pending) int { return compare(entries, a, b) })
		return
	}
	for i := 1; i < len(group); i++ {
		for j := i; j > 0 && compare(entries, group[j], group[j-1]) < 0; j-- {
			group[j], group[j-1] = group[j-1], group[j]
		}
	}
}

func compare(entries []byte, a, b pending) int {
	if a.hash != b.hash {
		return cmp.Compare(a.hash, b.hash)
	}
	one, _ := entryAt(entries, a.at)
	other, _ := entryAt(entries, b.at)
	return bytes.Compare(one, other)
}

// record appends a record to out.
func (m *maker) record(name []byte, p Payload, same bool) {
	if same {
		m.out = append(m.out, sameName)
	} else {
		at := len(m.out)
		m.out = m.enc.encode(append(m.out, 0), name)
		if n := len(m.out) - at - 1; n < longRecord {
			m.out[at] = byte(n)
		} else {
			m.out = slices.Insert(m.out, at+1, byte(n), byte(n>>8))
			m.out[at] = longRecord
		}
	}
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], uint64(p))
	m.out = append(m.out, word[:m.header.width]...)
}

// cell adds a group to the index: its bits, and where it begins.
func (m *maker) cell(bits uint32, off uint64) {
	m.index = binary.LittleEndian.AppendUint32(m.index, bits)
	m.index = binary.LittleEndian.AppendUint32(m.index, uint32(off))
}
