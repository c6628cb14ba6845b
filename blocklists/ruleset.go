package blocklists

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sort"
	"sync"
	"time"

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
func (s *ruleSet) record(rule uint32) (r record, err error) {
	s.recordsOf([]uint32{rule}, func(_ int, found record, e error) {
		r, err = found, e
		r.name = bytes.Clone(r.name)
	})
	return r, err
}

// Sizes by which recordsOf reads.
const (
	readGap = 8 << 10 // what is read in vain rather than by another call
	readMax = 64 << 10
)

// recordsOf calls yield with the record of each of some rules, which ascend,
// and its place among them. Those that are near each other are read at once.
func (s *ruleSet) recordsOf(rules []uint32, yield func(i int, r record, err error)) {
	block := oneBlock.Get().(*[]byte)
	defer oneBlock.Put(block)
	for i := 0; i < len(rules); {
		n := s.near(rules[i:])
		s.readNear(rules[i:i+n], block, func(k int, r record, err error) { yield(i+k, r, err) })
		i += n
	}
}

// near returns how many of some rules are to be read at once, the first one
// at least.
func (s *ruleSet) near(rules []uint32) int {
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
func (s *ruleSet) markedAt(mark uint32) int64 {
	if int64(mark) < int64(len(s.marks)) {
		return int64(s.marks[mark].off)
	}
	return s.recordsSize
}

// readNear is recordsOf for rules that are near each other.
func (s *ruleSet) readNear(rules []uint32, block *[]byte, yield func(i int, r record, err error)) {
	first, last := rules[0]/markEvery, rules[len(rules)-1]/markEvery
	begin := s.markedAt(first)
	size := int(s.markedAt(last+1) - begin)
	*block = slices.Grow((*block)[:0], size)[:size]
	n, err := s.body.ReadAt(*block, begin)
	if n == size {
		err = nil
	}
	b, at := *block, place{next: first * markEvery}
	if int(first) < len(s.marks) {
		at.line = int(s.marks[first].line)
	}
	var rec record
	for i, rule := range rules {
		for err == nil && at.next <= rule {
			if rec, n = at.read(b); n == 0 {
				err = errCut
			}
			b = b[n:]
		}
		if err != nil {
			rec = record{}
		}
		yield(i, rec, err)
	}
}

// oneBlock are buffers for records.
var oneBlock = sync.Pool{New: func() any { return new([]byte) }}

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
	r := bufio.NewReaderSize(io.NewSectionReader(s.body, int64(m.off), s.recordsSize-int64(m.off)), 64<<10)
	at := place{next: from / markEvery * markEvery, line: int(m.line)}
	for at.next < from+count {
		b, _ := r.Peek(maxRecord) // less at the end
		rec, n := at.read(b)
		if n == 0 {
			return errCut
		}
		r.Discard(n)
		if rec.rule < from {
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

// A place is where a reader of records stands: at a rule, behind a line.
type place struct {
	next uint32
	line int
}

// read returns the record that b begins with, its name within b, and its
// length; 0 if b is cut short.
func (p *place) read(b []byte) (rec record, n int) {
	delta, n := binary.Uvarint(b)
	if n <= 0 || len(b) < n+2 {
		return record{}, 0
	}
	head, size := b[n], int(b[n+1])
	n += 2
	if len(b) < n+size {
		return record{}, 0
	}
	p.line += int(delta)
	rec = record{
		rule: p.next,
		line: p.line,
		name: b[n : n+size],
		form: format.Form(head >> kindBits),
		kind: kind(head & kindMask),
	}
	p.next++
	return rec, n + size
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
