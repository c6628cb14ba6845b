package blocklists

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"time"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// A ruleSet is the rules of one list in a compact form: a byte or two and the
// name for a plain rule, in the order of the file. It is kept in the cache
// directory and read from there when a rule is to be shown or names are merged
// into an index; only what is not plain is in memory. It never changes.
//
// Rules are numbered from 0 in the order in which they were added. The file is
// a header, the records, the details, and a JSON object with the rest.
type ruleSet struct {
	records     int
	recordsSize int64
	sum         uint64 // of all of it: equal sets have equal sums
	marks       []mark
	details     []detail // in ascending order of their rule
	setMeta

	body io.ReaderAt // the records; a file stays open even when it is replaced
}

// A mark says where every markEvery-th record begins.
type mark struct{ off, line uint32 }

const markEvery = 64

// A detail is what a rule has that is not plain: it is no rule for a name and
// perhaps what is below, to block or allow, and nothing else.
type detail struct {
	rule      uint32
	note      uint32 // in notes, from 1; 0 for none
	extra     uint32 // in extras, from 1; 0 for none
	match     format.Match
	action    format.Action
	form      format.Form
	important bool
	synthetic bool // the PTR of a local record, which nobody wrote
}

// setMeta is the part of a ruleSet that is kept as JSON.
type setMeta struct {
	Rules    int // without synthetic ones
	Forms    map[format.Form]int
	Bad      []BadLine
	BadSeen  int
	Notes    []*format.Annotation
	Extras   []*format.Extra
	Patterns []patternRule
	Reply    format.Reply // of all rules whose kind says that they reply
}

// A patternRule is a rule with a regular expression instead of a name.
type patternRule struct {
	Rule    uint32
	Regex   string
	Literal string // that every name it matches contains; "" for none known
}

// A record is one rule as a ruleSet holds it.
type record struct {
	rule uint32
	line int
	name []byte // wire form; empty for Pattern and Address; valid until the next record
	form format.Form
	kind kind
}

// detailOf returns what any rule says, plain or not.
func (s *ruleSet) detailOf(r *record) detail {
	if r.kind != notPlain {
		return r.kind.detail(r.rule, r.form)
	}
	d, _ := s.detail(r.rule)
	return d
}

// replyOf returns how a rule wants its names answered.
func (s *ruleSet) replyOf(k kind, d detail) format.Reply {
	if k.isReply() {
		return s.Reply
	}
	if x := s.extraOf(d); x != nil {
		return x.Reply
	}
	return format.Default
}

// detail returns what is not plain about a rule.
func (s *ruleSet) detail(rule uint32) (d detail, ok bool) {
	i := sort.Search(len(s.details), func(i int) bool { return s.details[i].rule >= rule })
	if i == len(s.details) || s.details[i].rule != rule {
		return detail{}, false
	}
	return s.details[i], true
}

func (s *ruleSet) noteOf(d detail) *format.Annotation {
	if d.note == 0 {
		return nil
	}
	return s.Notes[d.note-1]
}

func (s *ruleSet) extraOf(d detail) *format.Extra {
	if d.extra == 0 {
		return nil
	}
	return s.Extras[d.extra-1]
}

// pattern returns the expression of a rule that is one.
func (s *ruleSet) pattern(rule uint32) (p patternRule, ok bool) {
	i := sort.Search(len(s.Patterns), func(i int) bool { return s.Patterns[i].Rule >= rule })
	if i == len(s.Patterns) || s.Patterns[i].Rule != rule {
		return patternRule{}, false
	}
	return s.Patterns[i], true
}

// regex is pattern, for its text alone.
func (s *ruleSet) regex(rule uint32) string {
	p, _ := s.pattern(rule)
	return p.Regex
}

// record reads one rule. The name is the caller's.
func (s *ruleSet) record(rule uint32) (record, error) {
	if int64(rule) >= int64(s.records) {
		return record{}, fmt.Errorf("no rule %d among %d", rule, s.records)
	}
	m := s.marks[rule/markEvery]
	r := s.readerAt(int64(m.off), 4096)
	r.next, r.line = rule/markEvery*markEvery, int(m.line)
	for {
		rec, err := r.read()
		if err != nil || rec.rule == rule {
			return rec, err
		}
	}
}

// each calls yield with every record in turn.
func (s *ruleSet) each(yield func(record) error) error {
	return s.eachOf(0, uint32(s.records), yield)
}

// eachOf calls yield with count records from rule from on.
func (s *ruleSet) eachOf(from, count uint32, yield func(record) error) error {
	if count == 0 {
		return nil
	}
	m := s.marks[from/markEvery]
	r := s.readerAt(int64(m.off), 64<<10)
	r.next, r.line = from/markEvery*markEvery, int(m.line)
	for r.next < from+count {
		rec, err := r.read()
		if err != nil {
			return err
		}
		if rec.rule < from {
			continue
		}
		if err := yield(rec); err != nil {
			return err
		}
	}
	return nil
}

// A setReader reads records one after another.
type setReader struct {
	r    *bufio.Reader
	next uint32
	line int
	name [dnswire.MaxName]byte
}

func (s *ruleSet) readerAt(off int64, buffer int) *setReader {
	return &setReader{r: bufio.NewReaderSize(io.NewSectionReader(s.body, off, s.recordsSize-off), buffer)}
}

var errCut = errors.New("compiled list is cut short")

func (r *setReader) read() (record, error) {
	delta, err := binary.ReadUvarint(r.r)
	if err != nil {
		return record{}, errCut
	}
	head, err := r.r.ReadByte()
	if err != nil {
		return record{}, errCut
	}
	size, err := r.r.ReadByte()
	if err != nil {
		return record{}, errCut
	}
	if _, err := io.ReadFull(r.r, r.name[:size]); err != nil {
		return record{}, errCut
	}
	r.line += int(delta)
	rec := record{
		rule: r.next,
		line: r.line,
		name: r.name[:size],
		form: format.Form(head >> kindBits),
		kind: kind(head & kindMask),
	}
	r.next++
	return rec, nil
}

// A stamp says which file a ruleSet was read from, and how.
type stamp struct {
	Size     int64
	Modified int64  // Unix nanoseconds
	Inode    uint64 // 0 where there are none
	Hash     uint64 // of the content
	Settings uint64 // hash of the settings that change what lines mean
}

const (
	setMagic  = "TLrules3"
	setHeader = 8 + 8*12
)

// A setWriter makes a ruleSet. Records go to a file as they come where there is
// one, so that a large list is never on the heap.
type setWriter struct {
	file    *os.File // nil: in memory
	memory  bytes.Buffer
	w       *bufio.Writer
	sum     *xxhash.Digest
	set     ruleSet
	line    int
	noteOf  map[*format.Annotation]uint32
	replies [format.Records]uint32 // the extra that says so and nothing else
	scratch [binary.MaxVarintLen64 + 2]byte
	err     error
}

func newSetWriter(file *os.File) *setWriter {
	w := &setWriter{file: file, sum: xxhash.New(), noteOf: map[*format.Annotation]uint32{}}
	w.set.Forms = map[format.Form]int{}
	if file == nil {
		w.w = bufio.NewWriterSize(&w.memory, 4096)
		return w
	}
	_, w.err = file.Seek(setHeader, io.SeekStart)
	w.w = bufio.NewWriterSize(file, 128<<10)
	return w
}

// add appends a rule. It copies what it keeps.
func (w *setWriter) add(r *format.Rule) {
	if w.err != nil {
		return
	}
	if w.set.records%markEvery == 0 {
		w.set.marks = append(w.set.marks, mark{off: uint32(w.set.recordsSize), line: uint32(w.line)})
	}
	rule, synthetic := uint32(w.set.records), isReverse(r)
	if w.set.Reply == format.Default && isReply(r.Extra) {
		w.set.Reply = r.Extra.Reply
	}
	k := kindOf(r, w.set.Reply)
	if k == notPlain {
		w.set.details = append(w.set.details, detail{
			rule: rule, note: w.note(r.Note), extra: w.extra(r.Extra),
			match: r.Match, action: r.Action, form: r.Form, important: r.Important, synthetic: synthetic,
		})
	}
	if r.Match == format.Pattern {
		w.set.Patterns = append(w.set.Patterns, patternRule{Rule: rule, Regex: r.Regex, Literal: r.Literal})
	}
	b := binary.AppendUvarint(w.scratch[:0], uint64(max(0, r.Line-w.line)))
	w.line = max(w.line, r.Line)
	b = append(b, byte(r.Form)<<kindBits|byte(k), byte(len(r.Name)))
	w.write(b)
	w.write(r.Name)
	w.set.recordsSize += int64(len(b) + len(r.Name))
	w.set.records++
	if w.set.recordsSize > maxSet {
		w.err = fmt.Errorf("over %d MB of rules", maxSet>>20)
	}
	if synthetic {
		return
	}
	w.set.Rules++
	w.set.Forms[r.Form]++
}

// maxSet is the most octets of rules that one list may have.
const maxSet = 1 << 30

func (w *setWriter) write(b []byte) {
	w.sum.Write(b)
	if _, err := w.w.Write(b); err != nil && w.err == nil {
		w.err = err
	}
}

func (w *setWriter) note(n *format.Annotation) uint32 {
	if n == nil {
		return 0
	}
	if i, ok := w.noteOf[n]; ok {
		return i
	}
	w.set.Notes = append(w.set.Notes, n)
	i := uint32(len(w.set.Notes))
	w.noteOf[n] = i
	return i
}

func (w *setWriter) extra(x *format.Extra) uint32 {
	if x == nil {
		return 0
	}
	if isReply(x) && w.replies[x.Reply] != 0 {
		return w.replies[x.Reply]
	}
	w.set.Extras = append(w.set.Extras, x)
	i := uint32(len(w.set.Extras))
	if isReply(x) {
		w.replies[x.Reply] = i
	}
	return i
}

// bad notes a line that is no rule; the first maxBad are kept.
func (w *setWriter) bad(b BadLine) {
	w.set.BadSeen++
	if len(w.set.Bad) < maxBad {
		w.set.Bad = append(w.set.Bad, b)
	}
}

const maxBad = 200

// finish returns the set. Where there is a file, it holds the whole set.
func (w *setWriter) finish(st stamp) (*ruleSet, error) {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	if w.err != nil {
		return nil, w.err
	}
	set := w.set
	tail, err := set.tail()
	if err != nil {
		return nil, err
	}
	w.sum.Write(tail)
	set.sum = w.sum.Sum64()
	if w.file == nil {
		set.body = bytes.NewReader(bytes.Clone(w.memory.Bytes()))
		return &set, nil
	}
	if err := set.writeTo(w.file, tail, st); err != nil {
		return nil, err
	}
	set.body = io.NewSectionReader(w.file, setHeader, set.recordsSize)
	return &set, set.settle()
}

const settled = 256 << 10

// settle reads the records of a small set into memory, so that it holds no file
// open.
func (s *ruleSet) settle() error {
	if s.recordsSize > settled {
		return nil
	}
	b := make([]byte, s.recordsSize)
	if _, err := s.body.ReadAt(b, 0); err != nil && err != io.EOF {
		return err
	}
	s.body = bytes.NewReader(b)
	return nil
}

// tail returns what follows the records in a file.
func (s *ruleSet) tail() ([]byte, error) {
	tail := make([]byte, 0, 8*len(s.marks)+detailSize*len(s.details)+1024)
	for _, m := range s.marks {
		tail = binary.LittleEndian.AppendUint32(tail, m.off)
		tail = binary.LittleEndian.AppendUint32(tail, m.line)
	}
	for _, d := range s.details {
		tail = d.append(tail)
	}
	meta, err := json.Marshal(&s.setMeta)
	return append(tail, meta...), err
}

// writeTo completes the file that has the records already.
func (s *ruleSet) writeTo(f *os.File, tail []byte, st stamp) error {
	meta := len(tail) - 8*len(s.marks) - detailSize*len(s.details)
	head := append(make([]byte, 0, setHeader), setMagic...)
	for _, v := range [...]uint64{
		buildStamp(), uint64(st.Size), uint64(st.Modified), st.Inode, st.Hash, st.Settings,
		uint64(s.records), uint64(s.recordsSize), uint64(len(s.details)), uint64(meta), s.sum,
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

func (d detail) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, d.rule)
	b = le.AppendUint32(b, d.note)
	b = le.AppendUint32(b, d.extra)
	flags := byte(d.form)
	if d.important {
		flags |= 0x40
	}
	if d.synthetic {
		flags |= 0x80
	}
	return append(b, byte(d.match), byte(d.action), flags, 0)
}

func readDetail(b []byte) detail {
	le := binary.LittleEndian
	return detail{
		rule: le.Uint32(b), note: le.Uint32(b[4:]), extra: le.Uint32(b[8:]),
		match: format.Match(b[12]), action: format.Action(b[13]), form: format.Form(b[14] & 0x3f),
		important: b[14]&0x40 != 0, synthetic: b[14]&0x80 != 0,
	}
}

var errNotCompiled = errors.New("not a compiled list of this program")

// openSet reads a compiled list. It returns errNotCompiled, or what is wrong,
// for whatever is not wholly as this very program wrote it.
func openSet(path string) (set *ruleSet, st stamp, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, st, err
	}
	defer func() {
		if err != nil || set.recordsSize <= settled {
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
	if word(0) != buildStamp() {
		return nil, st, errNotCompiled
	}
	st = stamp{Size: int64(word(1)), Modified: int64(word(2)), Inode: word(3), Hash: word(4), Settings: word(5)}
	set = &ruleSet{records: int(word(6)), recordsSize: int64(word(7))}
	details, meta := int(word(8)), int64(word(9))
	marks := (set.records + markEvery - 1) / markEvery
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
	set.details = make([]detail, details)
	for i := range set.details {
		set.details[i] = readDetail(tail[detailSize*i:])
	}
	if err := json.Unmarshal(tail[detailSize*details:], &set.setMeta); err != nil {
		return nil, st, err
	}
	set.body = io.NewSectionReader(f, setHeader, set.recordsSize)
	return set, st, set.settle()
}

// nextUntil returns when the first rule after now ends by its annotation; zero
// for never.
func (s *ruleSet) nextUntil(now time.Time) (first time.Time) {
	for _, n := range s.Notes {
		if n.Until.After(now) && (first.IsZero() || n.Until.Before(first)) {
			first = n.Until
		}
	}
	return first
}
