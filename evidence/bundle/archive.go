package bundle

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strings"
)

// The container is a zip that every unzip program opens, and of whose octets none is
// free: given the names, their order and the contents, all of it follows. Nothing is
// compressed, times are 1 January 1980, there are no extra fields, comments, data
// descriptors, directories or zip64 records. So a reader builds each header again and
// compares octets.
const (
	localSize   = 30
	centralSize = 46
	endSize     = 22

	localSignature   = 0x04034b50
	centralSignature = 0x02014b50
	endSignature     = 0x06054b50

	zipVersion = 10       // 1.0: stored entries alone
	zipDate    = 1<<5 | 1 // 1 January 1980, the first day that a zip can say

	// maxSize is how large a bundle can be without zip64.
	maxSize = 1<<32 - 1
	// maxEntries and maxName bound what is read of a directory that somebody made up.
	maxEntries = 64
	maxName    = 64
)

// errTooLarge is what a writer says; the command says what to do.
var errTooLarge = errors.New("the bundle would be larger than 4 GiB, which is as large as one can be: choose a shorter period, or one device")

// A header is what the zip says of an entry.
type header struct {
	name   string
	crc    uint32
	size   int64
	offset int64 // of its local header
}

// common appends what both headers of an entry have in common.
func (h *header) common(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, zipVersion)
	b = binary.LittleEndian.AppendUint16(b, 0) // flags
	b = binary.LittleEndian.AppendUint16(b, 0) // stored
	b = binary.LittleEndian.AppendUint16(b, 0) // midnight
	b = binary.LittleEndian.AppendUint16(b, zipDate)
	b = binary.LittleEndian.AppendUint32(b, h.crc)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.size))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.size))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.name)))
	return binary.LittleEndian.AppendUint16(b, 0) // no extra field
}

// local appends the header that stands before an entry.
func (h *header) local(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, localSignature)
	return append(h.common(b), h.name...)
}

// central appends the header in the directory at the end.
func (h *header) central(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, centralSignature)
	b = binary.LittleEndian.AppendUint16(b, zipVersion) // made by
	b = h.common(b)
	b = append(b, make([]byte, 10)...) // comment, disk, attributes: none
	b = binary.LittleEndian.AppendUint32(b, uint32(h.offset))
	return append(b, h.name...)
}

// directory appends all that follows the last entry, which begins at offset.
func directory(b []byte, entries []header, offset int64) []byte {
	begin := len(b)
	for i := range entries {
		b = entries[i].central(b)
	}
	size := len(b) - begin
	b = binary.LittleEndian.AppendUint32(b, endSignature)
	b = binary.LittleEndian.AppendUint32(b, 0) // one disk
	b = binary.LittleEndian.AppendUint16(b, uint16(len(entries)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(entries)))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint32(b, uint32(offset))
	return binary.LittleEndian.AppendUint16(b, 0) // no comment
}

// A file is what an archive is written to.
type file interface {
	io.Writer
	io.WriterAt
}

// An archiver writes an archive in constant memory. A header is written when the size
// and the sum of its entry are known.
type archiver struct {
	f       file
	out     *bufio.Writer
	offset  int64
	entries []header
}

func newArchiver(f file) *archiver { return &archiver{f: f, out: bufio.NewWriterSize(f, 1<<16)} }

// add adds an entry, whose content write writes. sum, where not nil, is fed with it.
func (a *archiver) add(name string, sum hash.Hash, write func(io.Writer) error) error {
	if len(a.entries) >= maxEntries || !isName(name) {
		return fmt.Errorf("%q cannot be an entry of a bundle", name)
	}
	h := header{name: name, offset: a.offset}
	if _, err := a.out.Write(h.local(nil)); err != nil { // to be written again
		return err
	}
	e := &entryWriter{out: a.out, sum: sum, left: maxSize - a.offset - localSize - int64(len(name))}
	if err := write(e); err != nil {
		return err
	}
	if err := a.out.Flush(); err != nil {
		return err
	}
	h.crc, h.size = e.crc, e.size
	if _, err := a.f.WriteAt(h.local(nil), h.offset); err != nil {
		return err
	}
	a.offset += localSize + int64(len(name)) + h.size
	a.entries = append(a.entries, h)
	return nil
}

// finish writes the directory.
func (a *archiver) finish() error {
	b := directory(nil, a.entries, a.offset)
	if a.offset+int64(len(b)) > maxSize {
		return errTooLarge
	}
	_, err := a.f.Write(b)
	return err
}

type entryWriter struct {
	out  io.Writer
	sum  hash.Hash
	crc  uint32
	size int64
	left int64
}

func (e *entryWriter) Write(b []byte) (int, error) {
	if int64(len(b)) > e.left {
		return 0, errTooLarge
	}
	n, err := e.out.Write(b)
	e.crc = crc32.Update(e.crc, crc32.IEEETable, b[:n])
	if e.sum != nil {
		e.sum.Write(b[:n])
	}
	e.size += int64(n)
	e.left -= int64(n)
	return n, err
}

// isName reports whether a name can be that of an entry: a file beside the others,
// whatever unpacks it.
func isName(name string) bool {
	if name == "" || len(name) > maxName || name[0] == '.' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

// An archive is one that is open for reading, and whose headers are those that follow
// from names, order and contents.
type archive struct {
	r       io.ReaderAt
	entries []header
}

// openArchive reads the headers of an archive, all of which it checks. What entries hold
// is checked as they are read.
func openArchive(r io.ReaderAt, size int64) (*archive, error) {
	var start [4]byte
	if n, err := r.ReadAt(start[:], 0); err != nil && err != io.EOF {
		return nil, err
	} else if n < 4 || binary.LittleEndian.Uint32(start[:]) != localSignature {
		return nil, errors.New("this is no bundle: it does not begin as a zip file does")
	}
	if size > maxSize {
		return nil, fmt.Errorf("this is no bundle: it has %d octets, and a bundle has at most %d", size, int64(maxSize))
	}
	entries, at, err := readDirectory(r, size)
	if err != nil {
		return nil, err
	}
	a := &archive{r: r, entries: entries}
	if err := a.compare(size, at); err != nil {
		return nil, err
	}
	return a, nil
}

// readDirectory reads names, sizes and sums from the end of an archive, and where its
// directory begins. What it does not look at is compared later.
func readDirectory(r io.ReaderAt, size int64) (entries []header, at int64, err error) {
	end := make([]byte, endSize)
	if size < endSize {
		return nil, 0, errCut
	}
	if _, err := r.ReadAt(end, size-endSize); err != nil {
		return nil, 0, fmt.Errorf("reading its end: %w", err)
	}
	if binary.LittleEndian.Uint32(end) != endSignature {
		return nil, 0, errCut
	}
	n := int(binary.LittleEndian.Uint16(end[10:]))
	length, at := int64(binary.LittleEndian.Uint32(end[12:])), int64(binary.LittleEndian.Uint32(end[16:]))
	if n > maxEntries || length > maxEntries*(centralSize+maxName) || at+length+endSize != size {
		return nil, 0, errors.New("the directory at its end is not that of a bundle: it was changed or packed again")
	}
	b := make([]byte, length)
	if _, err := r.ReadAt(b, at); err != nil {
		return nil, 0, fmt.Errorf("reading its directory: %w", err)
	}
	seen := map[string]bool{}
	for range n {
		if len(b) < centralSize || binary.LittleEndian.Uint32(b) != centralSignature {
			return nil, 0, errors.New("the directory at its end is broken")
		}
		length := int(binary.LittleEndian.Uint16(b[28:]))
		if len(b) < centralSize+length {
			return nil, 0, errors.New("the directory at its end is broken")
		}
		h := header{
			name: string(b[centralSize : centralSize+length]), crc: binary.LittleEndian.Uint32(b[16:]),
			size: int64(binary.LittleEndian.Uint32(b[24:])), offset: int64(binary.LittleEndian.Uint32(b[42:])),
		}
		switch {
		case !isName(h.name):
			return nil, 0, fmt.Errorf("it has an entry %.80q, which is no name of a file in a bundle: do not unpack it", h.name)
		case seen[h.name]:
			return nil, 0, fmt.Errorf("it has %s twice", h.name)
		}
		seen[h.name] = true
		entries = append(entries, h)
		b = b[centralSize+length:]
	}
	return entries, at, nil
}

var errCut = errors.New("its end is missing, or something stands behind it: it was cut short or changed; get it again")

// compare builds all headers again and compares octets.
func (a *archive) compare(size, at int64) error {
	var offset int64
	for i := range a.entries {
		h := a.entries[i]
		h.offset = offset
		want := h.local(nil)
		if offset+int64(len(want))+h.size > at {
			return fmt.Errorf("%s does not fit where it is said to be: it was changed or packed again", h.name)
		}
		if err := a.sameAt(want, offset); err != nil {
			return fmt.Errorf("the header of %s %w", h.name, err)
		}
		a.entries[i].offset = offset
		offset += int64(len(want)) + h.size
	}
	if offset != at {
		return errors.New("there is something between its last entry and its directory")
	}
	if err := a.sameAt(directory(nil, a.entries, offset), offset); err != nil {
		return fmt.Errorf("the directory at its end %w", err)
	}
	return nil
}

var errNotCanonical = errors.New("is not as Telltale writes it: it was changed or packed again")

func (a *archive) sameAt(want []byte, offset int64) error {
	got := make([]byte, len(want))
	if _, err := a.r.ReadAt(got, offset); err != nil && err != io.EOF {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if !bytes.Equal(got, want) {
		return errNotCanonical
	}
	return nil
}

// content returns a reader of an entry's content.
func (a *archive) content(h *header) *io.SectionReader {
	return io.NewSectionReader(a.r, h.offset+localSize+int64(len(h.name)), h.size)
}
