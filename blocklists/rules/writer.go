package rules

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists/format"
	"telltale/dnswire"
	"telltale/sorting"
)

// A writer makes a Set. Records go to a file as they come where there is
// one, so that a large list is never on the heap.
type writer struct {
	file     *os.File // nil: in memory
	memory   bytes.Buffer
	w        *bufio.Writer
	sum      *xxhash.Digest
	set      Set
	line     int
	noted    map[*format.Annotation]uint32
	repeats  *repeats
	open     map[uint64]struct{}    // see Meta.Open
	replies  [format.Records]uint32 // the extra that says so and nothing else
	budget   budget
	subtrees *Subtrees // nil for none
	large    func()    // nil where it was called
	scratch  [binary.MaxVarintLen64 + 2]byte
	err      error
}

// newWriter begins a set of a text of so many octets; 0 for unknown.
func newWriter(file *os.File, size int) *writer {
	w := &writer{file: file, sum: xxhash.New(), noted: map[*format.Annotation]uint32{}, open: map[uint64]struct{}{}, repeats: newRepeats(size)}
	w.set.Forms = map[format.Form]int{}
	if file == nil {
		w.w = bufio.NewWriterSize(&w.memory, 4096)
		return w
	}
	_, err := file.Seek(setHeader, io.SeekStart)
	w.err = writeError(err)
	w.w = bufio.NewWriterSize(file, 128<<10)
	return w
}

// add appends a rule. It copies what it keeps.
func (w *writer) add(r *format.Rule) {
	if w.err != nil {
		return
	}
	if w.repeats.isOver(r) {
		w.bad(overRepeated(r))
		return
	}
	if !w.fits(r) {
		return
	}
	w.near(r)
	if w.set.count%markEvery == 0 {
		w.set.marks = append(w.set.marks, mark{off: uint32(w.set.recordsSize), line: uint32(w.line)})
	}
	rule, synthetic := uint32(w.set.count), IsReverse(r)
	if w.set.Reply == format.Default && isReply(r.Extra) {
		w.set.Reply = r.Extra.Reply
	}
	if r.Action == format.Allow {
		w.openAbove(r.Name)
	}
	k := kindOf(r, w.set.Reply)
	if k == Detailed {
		w.set.Details = append(w.set.Details, Detail{
			Rule: rule, Annotation: w.annotation(r.Annotation), Extra: w.extra(r.Extra),
			Match: r.Match, Action: r.Action, Form: r.Form, Important: r.Important, Synthetic: synthetic,
		})
	}
	if r.Match == format.Pattern {
		w.set.Patterns = append(w.set.Patterns, PatternRule{Rule: rule, Regex: r.Regex, Literal: r.Literal})
	}
	b := binary.AppendVarint(w.scratch[:0], int64(r.Line-w.line)) // a rule may wait for the end of its file
	w.line = r.Line
	b = append(b, byte(r.Form)<<kindBits|byte(k), byte(len(r.Name)))
	w.write(b)
	w.write(r.Name)
	w.set.recordsSize += int64(len(b) + len(r.Name))
	w.set.count++
	if w.set.recordsSize > maxSet {
		w.err = fmt.Errorf("over %d MB of rules", maxSet>>20)
	}
	if synthetic {
		return
	}
	w.set.Rules++
	w.set.Forms[r.Form]++
}

// mostOpen is below how many names with exceptions below them a set tells apart.
const mostOpen = 20_000

// openAbove notes the names above an exception.
func (w *writer) openAbove(name []byte) {
	if w.set.OpenMany || len(name) == 0 {
		return
	}
	for name = parent(name); len(name) > 1; name = parent(name) {
		w.open[openHash(name)] = struct{}{}
	}
	if len(w.open) > mostOpen {
		w.set.OpenMany, w.open = true, nil
	}
}

// parent returns the wire name above another one; the root's is empty.
func parent(name []byte) []byte { return name[1+name[0]:] }

func openHash(name []byte) uint64 { return xxhash.Sum64(name) }

// ExceptsBelow reports whether the set may have an exception for a name below one
// in wire form.
func (s *Set) ExceptsBelow(name []byte) bool {
	if s.OpenMany {
		return true
	}
	_, found := slices.BinarySearch(s.Open, openHash(name))
	return found
}

// largeList is from how much memory on a list is a large one, in octets.
const largeList = 8 << 20

// fits reports whether there is memory for a rule.
func (w *writer) fits(r *format.Rule) bool {
	if w.err = w.budget.takeRule(); w.err != nil {
		return false
	}
	if r.Annotation != nil || r.Extra != nil {
		_, noted := w.noted[r.Annotation]
		if !w.budget.fits(r, noted, isReply(r.Extra)) {
			return false
		}
	}
	if w.large != nil && w.budget.used > largeList {
		w.large()
		w.large = nil
	}
	return true
}

// maxSet is the most octets of rules that one list may have.
const maxSet = 1 << 30

func (w *writer) write(b []byte) {
	w.sum.Write(b)
	if _, err := w.w.Write(b); err != nil && w.err == nil {
		w.err = writeError(err)
	}
}

// ErrWrite is what a set's file could not be written for. In memory there may be
// room for it.
var ErrWrite = errors.New("the compiled list cannot be written")

func writeError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrWrite, err)
}

func (w *writer) annotation(n *format.Annotation) uint32 {
	if n == nil {
		return 0
	}
	if i, ok := w.noted[n]; ok {
		return i
	}
	w.set.Annotations = append(w.set.Annotations, n)
	i := uint32(len(w.set.Annotations))
	w.noted[n] = i
	return i
}

func (w *writer) extra(x *format.Extra) uint32 {
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
func (w *writer) bad(b BadLine) {
	w.set.BadSeen++
	if len(w.set.Bad) < maxBad {
		w.set.Bad = append(w.set.Bad, b)
	}
}

const maxBad = 200

// finish returns the set. Where there is a file, it holds the whole set.
func (w *writer) finish(st Stamp) (*Set, error) {
	if w.err == nil {
		w.err = writeError(w.w.Flush())
	}
	if w.err != nil {
		return nil, w.err
	}
	set := w.set
	set.Open = slices.Sorted(maps.Keys(w.open))
	sorting.StableBy(set.Bad, func(a, b BadLine) int { return a.Line - b.Line })
	set.memory, set.recordsSum = w.budget.used, w.sum.Sum64()
	if w.file == nil {
		err := set.addTail(w.sum)
		set.sum, set.body = w.sum.Sum64(), bytes.NewReader(bytes.Clone(w.memory.Bytes()))
		return &set, err
	}
	tail, err := set.tail()
	if err != nil {
		return nil, err
	}
	w.sum.Write(tail)
	set.sum = w.sum.Sum64()
	if err := set.writeTo(w.file, tail, st); err != nil {
		return nil, writeError(err)
	}
	set.body, set.file = io.NewSectionReader(w.file, setHeader, set.recordsSize), w.file
	return &set, set.loadSmall()
}

// IsReverse reports whether a rule is the PTR record that comes with a local
// record, and not a rule that anybody wrote.
func IsReverse(r *format.Rule) bool {
	return r.Form == format.Hosts && r.Action == format.Answer && r.Extra != nil && len(r.Extra.Records) > 0 &&
		r.Extra.Records[0].Type == dnswire.TypePTR
}
