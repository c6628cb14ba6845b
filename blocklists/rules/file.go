package rules

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists/format"
)

// A Stamp says which file a Set was read from, and how.
type Stamp struct {
	Size     int64
	Modified int64  // Unix nanoseconds
	Inode    uint64 // 0 where there are none
	Hash     uint64 // of the content
	Settings uint64 // hash of the settings that change what lines mean
}

const (
	setMagic  = "TLrules4"
	setHeader = 8 + 8*12
)

// inMemory is the most octets of records that are kept in memory.
const inMemory = 256 << 10

// loadSmall reads the records of a small set into memory, so that it holds no file
// open.
func (s *Set) loadSmall() error {
	if s.recordsSize > inMemory {
		return nil
	}
	b := make([]byte, s.recordsSize)
	if _, err := s.body.ReadAt(b, 0); err != nil && err != io.EOF {
		return err
	}
	s.body, s.file = bytes.NewReader(b), nil
	return nil
}

// tail returns what follows the records in a file.
func (s *Set) tail() ([]byte, error) {
	meta, err := json.Marshal(&s.Meta)
	return append(s.binaryTail(), meta...), err
}

// addTail adds to the sum of a set that is kept in memory what tail returns of others,
// without making JSON of its annotations: a shipped list has one for nearly each name.
func (s *Set) addTail(sum *xxhash.Digest) error {
	rest := s.Meta
	rest.Annotations = nil
	meta, err := json.Marshal(&rest)
	sum.Write(s.binaryTail())
	sum.Write(meta)
	for _, a := range s.Annotations {
		addAnnotation(sum, a)
	}
	return err
}

func addAnnotation(sum *xxhash.Digest, a *format.Annotation) {
	for _, text := range [...]string{
		a.Vendor, a.Product, a.Purpose, a.Tier, a.Region, a.Source, a.Breaks, a.Since, a.Confidence, a.Software, a.Claims,
	} {
		sum.WriteString(text)
		sum.Write([]byte{0})
	}
	var until [8]byte
	binary.LittleEndian.PutUint64(until[:], uint64(a.Until.Unix()))
	sum.Write(until[:])
}

// binaryTail returns the part of tail that is no JSON.
func (s *Set) binaryTail() []byte {
	tail := make([]byte, 0, 8*len(s.marks)+detailSize*len(s.Details)+1024)
	for _, m := range s.marks {
		tail = binary.LittleEndian.AppendUint32(tail, m.off)
		tail = binary.LittleEndian.AppendUint32(tail, m.line)
	}
	for _, d := range s.Details {
		tail = d.append(tail)
	}
	return tail
}

// writeTo completes the file that has the records already.
func (s *Set) writeTo(f *os.File, tail []byte, st Stamp) error {
	meta := len(tail) - 8*len(s.marks) - detailSize*len(s.Details)
	head := append(make([]byte, 0, setHeader), setMagic...)
	for _, v := range [...]uint64{
		programStamp(), uint64(st.Size), uint64(st.Modified), st.Inode, st.Hash, st.Settings,
		uint64(s.count), uint64(s.recordsSize), uint64(len(s.Details)), uint64(meta), s.sum,
	} {
		head = binary.LittleEndian.AppendUint64(head, v)
	}
	head = binary.LittleEndian.AppendUint64(head, xxhash.Sum64(head))
	if _, err := f.WriteAt(tail, setHeader+s.recordsSize); err != nil {
		return err
	}
	_, err := f.WriteAt(head, 0)
	return err
}

const detailSize = 16

func (d Detail) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, d.Rule)
	b = le.AppendUint32(b, d.Annotation)
	b = le.AppendUint32(b, d.Extra)
	flags := byte(d.Form)
	if d.Important {
		flags |= 0x40
	}
	if d.Synthetic {
		flags |= 0x80
	}
	return append(b, byte(d.Match), byte(d.Action), flags, 0)
}

func readDetail(b []byte) Detail {
	le := binary.LittleEndian
	return Detail{
		Rule: le.Uint32(b), Annotation: le.Uint32(b[4:]), Extra: le.Uint32(b[8:]),
		Match: format.Match(b[12]), Action: format.Action(b[13]), Form: format.Form(b[14] & 0x3f),
		Important: b[14]&0x40 != 0, Synthetic: b[14]&0x80 != 0,
	}
}

var errNotCompiled = errors.New("not a compiled list of this program")

// Open reads a compiled list. It returns errNotCompiled, or what is wrong,
// for whatever is not wholly as this very program wrote it.
func Open(path string) (set *Set, st Stamp, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, st, err
	}
	defer func() {
		if err != nil || set.recordsSize <= inMemory {
			f.Close()
		}
	}()
	head := make([]byte, setHeader)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, st, errNotCompiled
	}
	le := binary.LittleEndian
	if string(head[:8]) != setMagic || xxhash.Sum64(head[:setHeader-8]) != le.Uint64(head[setHeader-8:]) {
		return nil, st, errNotCompiled
	}
	word := func(i int) uint64 { return le.Uint64(head[8+8*i:]) }
	if word(0) != programStamp() {
		return nil, st, errNotCompiled
	}
	st = Stamp{Size: int64(word(1)), Modified: int64(word(2)), Inode: word(3), Hash: word(4), Settings: word(5)}
	set = &Set{count: int(word(6)), recordsSize: int64(word(7))}
	details, meta := int(word(8)), int64(word(9))
	marks := (set.count + markEvery - 1) / markEvery
	tailSize := int64(marks)*8 + int64(details)*detailSize + meta
	info, err := f.Stat()
	if err != nil {
		return nil, st, err
	}
	if info.Size() != setHeader+set.recordsSize+tailSize {
		return nil, st, errCut
	}
	sum := xxhash.New()
	if _, err := io.CopyBuffer(sum, io.NewSectionReader(f, setHeader, set.recordsSize), make([]byte, 128<<10)); err != nil {
		return nil, st, err
	}
	set.recordsSum = sum.Sum64()
	tail := make([]byte, tailSize)
	if _, err := f.ReadAt(tail, setHeader+set.recordsSize); err != nil {
		return nil, st, err
	}
	sum.Write(tail)
	if set.sum = sum.Sum64(); set.sum != word(10) {
		return nil, st, errors.New("compiled list is damaged")
	}
	set.marks = make([]mark, marks)
	for i := range set.marks {
		set.marks[i] = mark{off: le.Uint32(tail[8*i:]), line: le.Uint32(tail[8*i+4:])}
	}
	tail = tail[8*marks:]
	set.Details = make([]Detail, details)
	for i := range set.Details {
		set.Details[i] = readDetail(tail[detailSize*i:])
	}
	if err := json.Unmarshal(tail[detailSize*details:], &set.Meta); err != nil {
		return nil, st, err
	}
	set.body, set.file, set.memory = io.NewSectionReader(f, setHeader, set.recordsSize), f, costOf(set)
	return set, st, set.loadSmall()
}
