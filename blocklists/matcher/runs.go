package matcher

import (
	"encoding/binary"
	"os"
)

// What is added waits as plain entries (length octet, name, payload as a
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
}

// add appends an entry.
func (r *runs) add(k key, name []byte, p Payload) error {
	if len(r.buffer)+1+len(name)+binary.MaxVarintLen64+slack > runSize {
		if err := r.flush(k); err != nil {
			return err
		}
	}
	r.buffer = append(r.buffer, byte(len(name)))
	r.buffer = append(r.buffer, name...)
	r.buffer = binary.AppendUvarint(r.buffer, uint64(p))
	return nil
}

// flush sets the buffer aside as a run.
func (r *runs) flush(k key) error {
	entries := padded(r.buffer)
	var n run
	parts := make([]uint8, 0, len(entries)/16)
	for e := (reader{b: entries}); e.next(); {
		part := k.name(e.name, e.n) >> (64 - partBits)
		parts = append(parts, uint8(part))
		n.parts[part+1] += uint32(e.end - e.start)
	}
	for i := range partCount {
		n.parts[i+1] += n.parts[i]
	}
	to := n.parts
	sorted := make([]byte, len(entries))
	i := 0
	for e := (reader{b: entries}); e.next(); i++ {
		to[parts[i]] += uint32(copy(sorted[to[parts[i]]:], entries[e.start:e.end]))
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

// padded returns b with slack octets behind it in its capacity.
func padded(b []byte) []byte {
	var zero [slack]byte
	return append(b, zero[:]...)[:len(b)]
}

// A reader goes through plain entries. Slack follows them in the capacity.
type reader struct {
	b          []byte
	start, end int    // of the entry
	name       []byte // of n octets, with slack behind it
	n          int
	payload    Payload
}

func (e *reader) next() bool {
	if e.end >= len(e.b) {
		return false
	}
	e.start = e.end
	e.n = int(e.b[e.start])
	at := e.start + 1
	e.name = e.b[at : at+e.n+slack]
	p, size := binary.Uvarint(e.b[at+e.n:])
	e.payload = Payload(p)
	e.end = at + e.n + size
	return true
}
