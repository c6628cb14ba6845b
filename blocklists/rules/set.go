package rules

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"sort"
	"sync"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// A Set is the rules of one list in a compact form: a byte or two and the
// name for a plain rule, in the order of the file. It is kept in the cache
// directory and read from there when a rule is to be shown or names are merged
// into an index; only what is not plain is in memory. It never changes.
//
// Rules are numbered from 0 in the order in which they were added. The file is
// a header, the records, the details, and a JSON object with the rest.
type Set struct {
	Details []Detail // in ascending order of their rule
	Meta

	count       int
	recordsSize int64
	sum         uint64 // of all of it: equal sets have equal sums
	recordsSum  uint64 // of the records alone
	marks       []mark
	memory      int64 // see Memory

	body    io.ReaderAt // the records; a file stays open even when it is replaced
	file    *os.File    // that body reads; nil where the records are in memory
	checked fileState   // of file when its records were last found to be whole
}

// Len returns the number of rules, synthetic ones counted.
func (s *Set) Len() int { return s.count }

// Equal reports whether both sets hold the same rules.
func (s *Set) Equal(o *Set) bool { return s.sum == o.sum }

// IsInFile reports whether the records are read from the set's file, and not
// from memory.
func (s *Set) IsInFile() bool { return s.recordsSize > inMemory }

// A mark says where every markEvery-th record begins.
type mark struct{ off, line uint32 }

const markEvery = 64

// A Detail is what a rule has that is not plain: it is no rule for a name and
// perhaps what is below, to block or allow, and nothing else.
type Detail struct {
	Rule       uint32
	Annotation uint32 // in Meta.Annotations, from 1; 0 for none
	Extra      uint32 // in Meta.Extras, from 1; 0 for none
	Match      format.Match
	Action     format.Action
	Form       format.Form
	Important  bool
	Synthetic  bool // the PTR of a local record, which nobody wrote
}

// Meta is the part of a Set that is kept as JSON.
type Meta struct {
	Rules       int // without synthetic ones
	Forms       map[format.Form]int
	Bad         []BadLine // the first of them
	BadSeen     int       // how many there are
	Annotations []*format.Annotation
	Extras      []*format.Extra
	Patterns    []PatternRule
	Near        []string     // names below ReadOptions.Subtrees that rules block; the first of them
	Reply       format.Reply // of all rules whose kind says that they reply

	Open     []uint64 // hashes of the names below which there is an exception, ascending
	OpenMany bool     // they are too many to keep: below any name there may be one
}

// A BadLine is a line that is no rule.
type BadLine struct {
	Line int    `json:"line"` // 0 for the file as a whole
	Text string `json:"text"` // the beginning of the line, for showing
	Why  string `json:"why"`
}

// A PatternRule is a rule with a regular expression instead of a name.
type PatternRule struct {
	Rule    uint32
	Regex   string
	Literal string // that every name it matches contains; "" for none known
}

// A Record is one rule as a Set holds it.
type Record struct {
	Rule uint32
	Line int
	Name []byte // wire form; empty for patterns and addresses; valid until the next record
	Form format.Form
	Kind Kind
}

// DetailOf returns what any rule says, plain or not.
func (s *Set) DetailOf(r *Record) Detail {
	if r.Kind != Detailed {
		return r.Kind.Detail(r.Rule, r.Form)
	}
	d, _ := s.Detail(r.Rule)
	return d
}

// ReplyOf returns how a rule wants its names answered.
func (s *Set) ReplyOf(k Kind, d Detail) format.Reply {
	if k.IsReply() {
		return s.Reply
	}
	if x := s.ExtraOf(d); x != nil {
		return x.Reply
	}
	return format.Default
}

// Detail returns what is not plain about a rule.
func (s *Set) Detail(rule uint32) (d Detail, ok bool) {
	i := sort.Search(len(s.Details), func(i int) bool { return s.Details[i].Rule >= rule })
	if i == len(s.Details) || s.Details[i].Rule != rule {
		return Detail{}, false
	}
	return s.Details[i], true
}

// AnnotationOf returns what is said about a rule; nil for nothing.
func (s *Set) AnnotationOf(d Detail) *format.Annotation {
	if d.Annotation == 0 {
		return nil
	}
	return s.Annotations[d.Annotation-1]
}

// ExtraOf returns the conditions and the reply of a rule; nil for none.
func (s *Set) ExtraOf(d Detail) *format.Extra {
	if d.Extra == 0 {
		return nil
	}
	return s.Extras[d.Extra-1]
}

// Pattern returns the expression of a rule that is one.
func (s *Set) Pattern(rule uint32) (p PatternRule, ok bool) {
	i := sort.Search(len(s.Patterns), func(i int) bool { return s.Patterns[i].Rule >= rule })
	if i == len(s.Patterns) || s.Patterns[i].Rule != rule {
		return PatternRule{}, false
	}
	return s.Patterns[i], true
}

// regex is Pattern, for its text alone.
func (s *Set) regex(rule uint32) string {
	p, _ := s.Pattern(rule)
	return p.Regex
}

// Record reads one rule. The name is the caller's.
func (s *Set) Record(rule uint32) (r Record, err error) {
	s.RecordsOf([]uint32{rule}, func(_ int, found Record, e error) {
		r, err = found, e
		r.Name = bytes.Clone(r.Name)
	})
	return r, err
}

// Sizes by which RecordsOf reads.
const (
	readGap = 8 << 10 // what is read in vain rather than by another call
	readMax = 64 << 10
)

// RecordsOf calls yield with the record of each of some rules, which ascend,
// and its place among them. Those that are near each other are read at once.
func (s *Set) RecordsOf(rules []uint32, yield func(i int, r Record, err error)) {
	block := oneBlock.Get().(*[]byte)
	defer oneBlock.Put(block)
	for i := 0; i < len(rules); {
		n := s.near(rules[i:])
		s.readNear(rules[i:i+n], block, func(k int, r Record, err error) { yield(i+k, r, err) })
		i += n
	}
}

// near returns how many of some rules are to be read at once, the first one
// at least.
func (s *Set) near(rules []uint32) int {
	begin, end := s.markedAt(rules[0]/markEvery), s.markedAt(rules[0]/markEvery+1)
	for i, rule := range rules[1:] {
		mark := rule / markEvery
		next := s.markedAt(mark + 1)
		if s.markedAt(mark)-end > readGap || next-begin > readMax {
			return i + 1
		}
		end = next
	}
	return len(rules)
}

// markedAt returns where the records from a mark on begin.
func (s *Set) markedAt(mark uint32) int64 {
	if int64(mark) < int64(len(s.marks)) {
		return int64(s.marks[mark].off)
	}
	return s.recordsSize
}

// readNear is RecordsOf for rules that are near each other.
func (s *Set) readNear(rules []uint32, block *[]byte, yield func(i int, r Record, err error)) {
	first, last := rules[0]/markEvery, rules[len(rules)-1]/markEvery
	begin := s.markedAt(first)
	size := int(s.markedAt(last+1) - begin)
	*block = slices.Grow((*block)[:0], size)[:size]
	n, err := s.body.ReadAt(*block, begin)
	if n == size {
		err = nil
	}
	b, at := *block, cursor{next: first * markEvery}
	if int(first) < len(s.marks) {
		at.line = int(s.marks[first].line)
	}
	var rec Record
	for i, rule := range rules {
		for err == nil && at.next <= rule {
			if rec, n = at.read(b); n == 0 {
				err = errCut
			}
			b = b[n:]
		}
		if err != nil {
			rec = Record{}
		}
		yield(i, rec, err)
	}
}

// oneBlock are buffers for records.
var oneBlock = sync.Pool{New: func() any { return new([]byte) }}

// Each calls yield with every record in turn.
func (s *Set) Each(yield func(Record) error) error {
	return s.eachFrom(0, uint32(s.count), yield)
}

// eachFrom calls yield with count records from rule from on.
func (s *Set) eachFrom(from, count uint32, yield func(Record) error) error {
	if count == 0 {
		return nil
	}
	m := s.marks[from/markEvery]
	size := s.recordsSize - int64(m.off)
	r := bufio.NewReaderSize(io.NewSectionReader(s.body, int64(m.off), size), int(min(64<<10, max(size, maxRecord))))
	at := cursor{next: from / markEvery * markEvery, line: int(m.line)}
	for at.next < from+count {
		b, _ := r.Peek(maxRecord) // less at the end
		rec, n := at.read(b)
		if n == 0 {
			return errCut
		}
		r.Discard(n)
		if rec.Rule < from {
			continue
		}
		if err := yield(rec); err != nil {
			return err
		}
	}
	return nil
}

var errCut = errors.New("compiled list is cut short")

// maxRecord is the most that a record takes.
const maxRecord = binary.MaxVarintLen64 + 2 + dnswire.MaxName

// A cursor is where a reader of records stands: at a rule, behind a line.
type cursor struct {
	next uint32
	line int
}

// read returns the record that b begins with, its name within b, and its
// length; 0 if b is cut short.
func (c *cursor) read(b []byte) (rec Record, n int) {
	delta, n := binary.Varint(b)
	if n <= 0 || len(b) < n+2 {
		return Record{}, 0
	}
	head, size := b[n], int(b[n+1])
	n += 2
	if len(b) < n+size {
		return Record{}, 0
	}
	c.line += int(delta)
	rec = Record{
		Rule: c.next,
		Line: c.line,
		Name: b[n : n+size],
		Form: format.Form(head >> kindBits),
		Kind: Kind(head & kindMask),
	}
	c.next++
	return rec, n + size
}

// Compiled returns the expression of a pattern, and what every name it matches
// contains; nil for what is no pattern.
func (s *Set) Compiled(rule uint32) (re *regexp.Regexp, literal []byte) {
	r, ok := s.Pattern(rule)
	if !ok {
		return nil, nil
	}
	re, err := regexp.Compile(r.Regex)
	if err != nil {
		return nil, nil // the parser has compiled it: it cannot happen
	}
	return re, []byte(r.Literal)
}
