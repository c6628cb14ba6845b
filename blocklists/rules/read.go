package rules

import (
	"bytes"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists/format"
	"telltale/blocklists/suffixes"
	"telltale/dnswire"
)

// A Reading is what came of reading a list.
type Reading struct {
	Set     *Set
	Stamp   Stamp
	Content format.Content
	Missing int // entries that the list says it has beside those that were found
}

// MaxFile is the most octets of one list file that are read, packed or not.
const MaxFile = format.MaxExpanded

// ReadOptions say how a list is read.
type ReadOptions struct {
	Format    format.Options
	AnySuffix bool      // rules may block public suffixes
	Plain     bool      // the text is not packed
	Into      *os.File  // for the set; nil keeps it in memory
	Stamp     Stamp     // of the text; Read fills in the hash
	Memory    int64     // that the list may take, in octets; 0 for any
	Subtrees  *Subtrees // below which names are kept in Meta.Near; may be nil
	Large     func()    // called once, when the list turns out to be a large one; may be nil
}

// open returns the text to read, unpacked.
func (o *ReadOptions) open(text, read io.Reader) (io.Reader, error) {
	if b, ok := text.(*bytes.Reader); ok && o.Plain {
		return sized{read, b}, nil
	}
	return format.Open(read)
}

// A sized is a text whose length is known: it is read with a buffer no larger.
type sized struct {
	io.Reader
	text *bytes.Reader
}

// Len is how much of the text is left.
func (s sized) Len() int { return s.text.Len() }

// Read reads a list's text into a new set. Rules that would block a public
// suffix are left out and noted as bad lines, unless the list may have them.
func Read(text io.Reader, o ReadOptions) (Reading, error) {
	sum := xxhash.New()
	limited := &io.LimitedReader{R: text, N: MaxFile + 1}
	r, err := o.open(text, io.TeeReader(limited, sum))
	if err != nil {
		return Reading{}, err
	}
	size := 0
	if text, ok := r.(sized); ok {
		size = text.Len()
	}
	w := newWriter(o.Into, size)
	w.budget.most, w.large, w.subtrees = o.Memory, o.Large, o.Subtrees
	anySuffix := o.AnySuffix || o.Format.Own
	report := format.Parse(r, o.Format, func(rule *format.Rule) {
		if !anySuffix && isWide(rule) {
			w.bad(BadLine{Line: rule.Line, Text: wideText(rule), Why: wide(rule)})
			return
		}
		w.add(rule)
	})
	if report.Err != nil {
		return Reading{}, report.Err
	}
	if err := drain(sum, limited); err != nil {
		return Reading{}, err
	}
	if limited.N <= 0 {
		return Reading{}, fmt.Errorf("is over %d MB: split it", MaxFile>>20)
	}
	if report.Content != format.Text && report.Content != format.Empty {
		w.bad(BadLine{Text: report.Content.String(), Why: fmt.Sprintf("the file is %v, not a list", report.Content)})
	}
	held := w.set.BadSeen
	for _, b := range report.Bad {
		w.bad(BadLine{Line: b.Line, Text: b.Text, Why: b.Problem})
	}
	w.set.BadSeen = held + report.BadTotal
	if why := w.budget.problem(); why != "" {
		w.bad(BadLine{Line: w.budget.line, Why: why})
	}
	o.Stamp.Hash = sum.Sum64()
	set, err := w.finish(o.Stamp)
	got := Reading{Set: set, Stamp: o.Stamp, Content: report.Content}
	if report.EndsEarly() {
		got.Missing = report.Declared - report.Rules - report.BadTotal
	}
	return got, err
}

// drain reads what the parser left, so that the hash is of the whole file.
func drain(sum hash.Hash, r io.Reader) error {
	_, err := io.CopyBuffer(sum, r, make([]byte, 512)) // most often nothing is left
	return err
}

// isWide reports whether a rule blocks or excepts a public suffix: a name under which
// unrelated people have theirs.
func isWide(r *format.Rule) bool {
	switch {
	case r.Action != format.Block && r.Action != format.Allow && r.Action != format.Unanswer:
		return false
	case r.Match == format.Server:
		return r.Extra.Servers && suffixes.Is(r.Extra.Server)
	case r.Match != format.Subtree && r.Match != format.Below:
		return false
	}
	isRoot := len(r.Name) == 1
	return suffixes.Is(r.Name) || isRoot && r.Action != format.Block
}

// wide says why a rule that is too wide is left out.
func wide(r *format.Rule) string {
	does := "block"
	if r.Action != format.Block {
		does = "except"
	}
	return "would " + does + " a public suffix, all names under which belong to others: set suffixes: true for this list if that is meant"
}

// wideText returns the name of a rule that is left out.
func wideText(r *format.Rule) string {
	if r.Match == format.Server {
		return r.Extra.Text
	}
	return nameText(r.Name)
}

func nameText(wire []byte) string { return string(dnswire.AppendText(nil, wire)) }
