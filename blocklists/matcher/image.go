package matcher

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"slices"

	"telltale/dnswire"
)

// An Image is a set of entries, in memory or mapped from a file. It never
// changes, may be used by all goroutines, and is unmapped when nothing refers to
// it any more.
type Image struct {
	*header
	symbols *symbols
	data    []byte // all of it; the next four are parts
	filter  filter // of all names
	index   []byte // a cell for each group, and one for the last one's end
	records []byte
	meta    []byte
	mapped  bool
	file    *os.File // of a mapped image, to be checked; closed when nothing refers to it any more
}

// Open maps the image at path, or reads it where files cannot be mapped. Any
// error means to build it again; it is ErrFile when the file could be read and
// is not an intact image of this version.
func Open(path string) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	im, err := open(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return im, nil
}

// open returns the image in f, which it keeps open, or closes if it is not needed.
func open(f *os.File) (*Image, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is not a regular file", ErrFile)
	}
	var first [headerSize + symbolsSize]byte
	n, err := f.ReadAt(first[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	h, err := readHeader(first[:n], info.Size())
	if err != nil {
		return nil, err
	}
	// By read(2) and not through the map: what is only checked need not become
	// resident.
	sum := crc32.New(castagnoli)
	body := io.NewSectionReader(f, headerSize, info.Size()-headerSize)
	if _, err := io.CopyBuffer(sum, body, make([]byte, 64<<10)); err != nil {
		return nil, err
	}
	if sum.Sum32() != h.body {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrFile)
	}
	data, mapped, err := mapFile(f, int(info.Size()))
	if err != nil {
		return nil, err
	}
	var im *Image
	fault := guard(func() { im, err = newImage(h, data) })
	if fault != nil {
		err = fault
	}
	if err != nil {
		unmap(data)
		return nil, err
	}
	if !mapped {
		f.Close()
		return im, nil
	}
	im.mapped, im.file = true, f // os closes what is not used any more
	runtime.AddCleanup(im, unmap, data)
	return im, nil
}

// Check reads a mapped image again, a block at a time, and says whether it is as it
// was written. It reads the file and not the map, so that what is only checked does
// not become resident. pause is called between two blocks; its error ends the check.
func (im *Image) Check(pause func() error) error {
	if im.file == nil {
		return nil
	}
	sum := crc32.New(castagnoli)
	head := make([]byte, headerSize)
	if _, err := im.file.ReadAt(head, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	info, err := im.file.Stat()
	if err != nil {
		return err
	}
	if h, err := readHeader(head, info.Size()); err != nil || h.body != im.header.body {
		return fmt.Errorf("%w: it was changed", ErrFile)
	}
	size := info.Size()
	for at := int64(headerSize); at < size; at += checkBlock {
		block := io.NewSectionReader(im.file, at, min(checkBlock, size-at))
		if n, err := io.Copy(sum, block); err != nil || n != block.Size() {
			return fmt.Errorf("%w: it was cut: %w", ErrFile, cmp.Or(err, io.ErrUnexpectedEOF))
		}
		if err := pause(); err != nil {
			return err
		}
	}
	if sum.Sum32() != im.header.body {
		return fmt.Errorf("%w: its checksum is wrong", ErrFile)
	}
	return nil
}

const checkBlock = 256 << 10

// File returns the file of a mapped image; nil for one in memory. It is not to be
// closed.
func (im *Image) File() *os.File { return im.file }

// fromBytes returns the image that data holds, without copying it.
func fromBytes(data []byte) (*Image, error) {
	h, err := readHeader(data, int64(len(data)))
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(data[headerSize:], castagnoli) != h.body {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrFile)
	}
	return newImage(h, data)
}

// newImage returns the image of a checked header.
func newImage(h *header, data []byte) (*Image, error) {
	part := func(i int) []byte {
		s := h.sections[i]
		return data[s.off : s.off+s.len : s.off+s.len]
	}
	table, err := readSymbols(part(symbolSection))
	if err != nil {
		return nil, err
	}
	return &Image{
		header:  h,
		symbols: table,
		data:    data,
		records: part(recordSection),
		meta:    part(metaSection),
		filter:  part(filterSection),
		index:   part(indexSection),
	}, nil
}

// Len returns the number of entries.
func (im *Image) Len() int { return int(im.entries) }

// Bytes returns the size of the image, whether in memory or mapped.
func (im *Image) Bytes() int { return len(im.data) }

// Meta returns a copy of the octets given to Builder.SetMeta.
func (im *Image) Meta() (meta []byte, err error) {
	err = guard(func() { meta = slices.Clone(im.meta) })
	runtime.KeepAlive(im)
	return meta, err
}

// name appends the wire name that codes stand for.
func (im *Image) name(buf, codes []byte) ([]byte, bool) {
	name, ok := im.symbols.decode(buf, codes, dnswire.MaxName)
	return name, ok && checkName(name[len(buf):]) == nil
}

// Each calls yield with all entries, equal names together and in the order they
// were added, until it returns false. The name is valid until yield returns. The
// error is that the file can no longer be read, or holds what is not a name.
func (im *Image) Each(yield func(name []byte, p Payload) bool) (err error) {
	// What yield panics with is its caller's: only reading is guarded, a group
	// at a time.
	type entry struct {
		from, to int // of names
		payload  Payload
	}
	var entries []entry
	var names []byte
	for g := range im.groups {
		entries, names = entries[:0], names[:0]
		bad := false
		fault := guard(func() {
			from := 0
			for r := im.cursor(im.span(g)); r.next(); {
				if !r.same {
					var ok bool
					from = len(names)
					if names, ok = im.name(names, r.codes); !ok {
						bad = true
						return
					}
				}
				entries = append(entries, entry{from, len(names), r.load()})
			}
		})
		if fault != nil {
			return fault
		}
		if bad {
			return fmt.Errorf("%w: it holds what is not a name", ErrFile)
		}
		for _, e := range entries {
			if !yield(names[e.from:e.to], e.payload) {
				return nil
			}
		}
	}
	runtime.KeepAlive(im)
	return nil
}

// start returns where the records of group g begin.
func (im *Image) start(g uint64) uint64 {
	return uint64(binary.LittleEndian.Uint32(im.index[cellSize*g+4:]))
}

// has reports whether there may be a name of this hash in group g, which is its.
func (im *Image) has(h, g uint64) bool {
	return groupBits(h)&^binary.LittleEndian.Uint32(im.index[cellSize*g:]) == 0
}

// A span is where the records of a group are.
type span struct{ off, end uint32 }

// span returns that of group g.
func (im *Image) span(g uint64) span { return im.within(im.start(g), im.start(g+1)) }

// within returns the span from off to end, as the index has them. The index is not
// trusted: of what is not within the records, there is none.
func (im *Image) within(off, end uint64) span {
	if off > end || end > uint64(len(im.records)-tail) {
		return span{}
	}
	return span{uint32(off), uint32(end)}
}

// find appends the entries of group g whose name is w[at:end]; slack follows. It
// goes through the group as a cursor does, and is written out because much of a
// listed lookup's time is spent here.
func (im *Image) find(hits []Hit, g span, w []byte, at, end int) []Hit {
	first := binary.LittleEndian.Uint64(w[at:])
	r := im.cursor(g)
	for {
		off := r.off
		if off >= r.end {
			return hits
		}
		n := int(r.records[off])
		if n == 0 || n >= longRecord { // for the cursor
			if !r.next() {
				return hits
			}
			if r.same || !im.symbols.equal(r.codes, w, at, end) {
				continue
			}
			break
		}
		payload := off + 1 + n
		r.off = payload + r.width
		if r.off > r.end {
			return hits
		}
		if s := &im.symbols[r.records[off+1]]; (first^s.word)&s.mask != 0 {
			continue
		}
		if im.symbols.equal(r.records[off+1:payload], w, at, end) {
			r.payload = payload
			break
		}
	}
	hits = append(hits, Hit{Payload: r.load()})
	for r.next() && r.same {
		hits = append(hits, Hit{Payload: r.load()})
	}
	return hits
}

// A cursor goes through the records of a group.
type cursor struct {
	records []byte // of the image
	width   int    // of a payload
	off     int    // of the record after this one
	end     int    // of the group

	same    bool // the name is that of the record before
	codes   []byte
	payload int // offset
}

// cursor returns one before the first record of a group.
func (im *Image) cursor(g span) cursor {
	return cursor{records: im.records, width: int(im.width), off: int(g.off), end: int(g.end)}
}

// next goes to the next record, and returns false where there is none.
func (r *cursor) next() bool {
	off := r.off
	if off >= r.end {
		return false
	}
	n := int(r.records[off])
	off++
	r.same = n == sameName
	switch {
	case n < longRecord:
	case n == sameName:
		n = 0
	case n == longRecord:
		n = int(binary.LittleEndian.Uint16(r.records[off:])) // within tail, if not within the group
		off += 2
	default:
		return false
	}
	if off+n+r.width > r.end {
		return false
	}
	r.codes = r.records[off : off+n]
	r.payload = off + n
	r.off = off + n + r.width
	return true
}

// load returns the payload of the record.
func (r *cursor) load() Payload {
	word := binary.LittleEndian.Uint64(r.records[r.payload:]) // tail makes the last whole
	return Payload(word & (^uint64(0) >> (64 - 8*r.width)))
}
