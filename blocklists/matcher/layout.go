package matcher

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// The file begins with a header of fixed size; docs/matcher.md has the table.
const (
	magic      = "TTnames\n"
	version    = 2
	headerSize = 192
	align      = 64 // sections begin at multiples of it

	// cellSize is what the index has for each group: 32 bits that say which hashes
	// may be in it, and 32 bits of where its records begin.
	cellSize = 8

	// tail is how many zero octets follow the last record, so that a payload
	// can be read as a word.
	tail = 8
)

// Sections, in the order of the file.
const (
	symbolSection = iota
	recordSection
	filterSection
	indexSection
	metaSection
	sectionCount
)

// A record begins with the number of its codes, or with one of these.
const (
	longRecord = 127 // the number follows, 16 bits
	sameName   = 128 // no codes: the name of the record before
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type section struct{ off, len uint64 }

// A header is what an image's first octets say, all little endian.
type header struct {
	key      key
	entries  uint64
	groups   uint64
	octets   uint64 // of all names
	width    uint32 // octets of a payload
	body     uint32 // CRC-32C of all behind the header
	sections [sectionCount]section
	size     uint64 // of the file
}

func (h *header) append(b []byte) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = append(b, magic...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, 0) // the header's own checksum
	b = h.key.append(b)
	b = le.AppendUint64(b, h.entries)
	b = le.AppendUint64(b, h.groups)
	b = le.AppendUint64(b, h.octets)
	b = le.AppendUint32(b, h.width)
	b = le.AppendUint32(b, h.body)
	for _, s := range h.sections {
		b = le.AppendUint64(b, s.off)
		b = le.AppendUint64(b, s.len)
	}
	b = le.AppendUint64(b, h.size)
	b = append(b, make([]byte, headerSize-(len(b)-start))...)
	le.PutUint32(b[start+12:], crc32.Checksum(b[start:], castagnoli))
	return b
}

// readHeader reads and checks a header; what it returns can be relied on but
// for the contents of the sections.
func readHeader(b []byte, size int64) (*header, error) {
	bad := func(what string) (*header, error) { return nil, fmt.Errorf("%w: %s", ErrFile, what) }
	if len(b) < headerSize {
		return bad("it is cut short")
	}
	le := binary.LittleEndian
	if string(b[:8]) != magic {
		return bad("it does not begin like one")
	}
	if v := le.Uint32(b[8:]); v != version {
		return bad(fmt.Sprintf("its version is %d, not %d", v, version))
	}
	sum := crc32.Checksum(b[:12], castagnoli)
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	if crc32.Update(sum, castagnoli, b[16:headerSize]) != le.Uint32(b[12:]) {
		return bad("the header's checksum is wrong")
	}
	h := &header{
		key:     keyFrom(b[16:]),
		entries: le.Uint64(b[32:]),
		groups:  le.Uint64(b[40:]),
		octets:  le.Uint64(b[48:]),
		width:   le.Uint32(b[56:]),
		body:    le.Uint32(b[60:]),
	}
	for i := range h.sections {
		h.sections[i] = section{le.Uint64(b[64+16*i:]), le.Uint64(b[72+16*i:])}
	}
	h.size = le.Uint64(b[64+16*sectionCount:])
	if h.size != uint64(size) || size > math.MaxInt {
		return bad("it is not as long as it says")
	}
	end := uint64(headerSize)
	for _, s := range h.sections {
		if s.off%align != 0 || s.off < end || s.len > h.size || s.off > h.size-s.len {
			return bad("a section is out of place")
		}
		end = s.off + s.len
	}
	records, index, filter := h.sections[recordSection].len, h.sections[indexSection].len, h.sections[filterSection].len
	switch {
	case h.width < 1 || h.width > 8,
		h.entries > records/uint64(1+h.width) || h.entries > math.MaxInt32,
		h.sections[symbolSection].len != symbolsSize,
		records < tail || records > math.MaxUint32,
		h.groups < 1 || h.groups > math.MaxUint32 || index != cellSize*(h.groups+1),
		filter < wordSize || filter%wordSize != 0:
		return bad("a size is wrong")
	}
	return h, nil
}
