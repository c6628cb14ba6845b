package matcher

import (
	"encoding/binary"
	"os"
)

// What is added waits as plain entries (hash, length octet, name, payload as a
// varint) in a buffer of fixed size. A full buffer is put in order of parts,
// by the upper bits of the hash, and set aside as a run: in a file, so that the
// memory needed does not grow with the number of names, or in memory where
// there is no directory for it. The image is then made part by part.
const (
	runSize   = 1 << 20
	partBits  = 6
	partCount = 1 << partBits
)

// A run is entries in order of parts.
type run struct {
	data  []byte // nil when in the file
	off   int64  // in the file
	parts [partCount + 1]uint32
}

type runs struct {
	dir    string
	file   *os.File
	size   int64
	all    []run
	buffer []byte
	spare  []byte // for the next run to be written to the file
}

// add appends an entry.
func (r *runs) add(h uint64, name []byte, p Payload) error {
	if len(r.buffer)+9+len(name)+binary.MaxVarintLen64 > runSize {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.buffer = binary.LittleEndian.AppendUint64(r.buffer, h)
	r.buffer = append(r.buffer, byte(len(name)))
	r.buffer = append(r.buffer, name...)
	r.buffer = binary.AppendUvarint(r.buffer, uint64(p))
	return nil
}

// flush sets the buffer aside as a run.
func (r *runs) flush() error {
	var n run
	for e := (reader{b: r.buffer}); e.next(); {
		n.parts[e.part()+1] += uint32(e.end - e.start)
	}
	for i := range partCount {
		n.parts[i+1] += n.parts[i]
	}
	to := n.parts
	sorted := r.sorted(len(r.buffer))
	for e := (reader{b: r.buffer}); e.next(); {
		part := e.part()
		to[part] += uint32(copy(sorted[to[part]:], r.buffer[e.start:e.end]))
	}
	r.buffer = r.buffer[:0]
	if r.dir == "" {
		n.data = sorted
		r.all = append(r.all, n)
		return nil
	}
	if r.file == nil {
		f, err := os.CreateTemp(r.dir, "names-*.tmp")
		if err != nil {
			return err
		}
		// Without a name it is gone when we are. Where that cannot be, close
		// removes it.
		_ = os.Remove(f.Name())
		r.file = f
	}
	if _, err := r.file.WriteAt(sorted, r.size); err != nil {
		return err
	}
	n.off = r.size
	r.size += int64(len(sorted))
	r.all = append(r.all, n)
	return nil
}

// part returns the entries of one part, in the order they were added: in buf,
// which it may grow.
func (r *runs) part(i int, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for j := range r.all {
		n := &r.all[j]
		from, to := int(n.parts[i]), int(n.parts[i+1])
		if n.data != nil {
			buf = append(buf, n.data[from:to]...)
			continue
		}
		at := len(buf)
		buf = append(buf, make([]byte, to-from)...)
		if _, err := r.file.ReadAt(buf[at:], n.off+int64(from)); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

func (r *runs) close() {
	if r.file != nil {
		_ = r.file.Close() // nothing in it is needed any more
		_ = os.Remove(r.file.Name())
	}
	*r = runs{}
}

// sorted returns memory for a run: the same again when runs go to a file.
func (r *runs) sorted(n int) []byte {
	if r.dir == "" {
		return make([]byte, n)
	}
	if r.spare == nil {
		r.spare = make([]byte, runSize)
	}
	return r.spare[:n]
}

// A reader goes through plain entries.
type reader struct {
	b          []byte
	start, end int // of the entry
}

func (e *reader) next() bool {
	e.start = e.end
	if e.start >= len(e.b) {
		return false
	}
	at := e.start + 9 + int(e.b[e.start+8])
	for e.b[at] >= 0x80 {
		at++
	}
	e.end = at + 1
	return true
}

// part is which part the entry belongs to.
func (e *reader) part() int { return int(e.hash() >> (64 - partBits)) }

func (e *reader) hash() uint64 { return binary.LittleEndian.Uint64(e.b[e.start:]) }

// entryAt returns the name and the payload of the entry at an offset.
func entryAt(b []byte, at uint32) (name []byte, p Payload) {
	b = b[at+8:]
	n := 1 + int(b[0])
	word, _ := binary.Uvarint(b[n:])
	return b[1:n], Payload(word)
}
