package bundle

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"telltale/querylog/seal"
)

// What is kept of a bundle that somebody made up does not grow with it.
const (
	maxClaims    = 1 << 20 // removals that are still to come
	maxOff       = 1 << 10 // times that sealing was switched off
	maxHandovers = 1 << 10
	maxStamps    = 100
	maxDeletions = 8 // kinds of them; a log has six
	maxWhy       = 64
)

var (
	accountLine = regexp.MustCompile(`^(0|[1-9][0-9]{0,14}) ([1-9][0-9]{0,14}) ((row|ledger|statement|outside|withheld|deleted)( (0|[1-9][0-9]{0,14}))?)$`)
	shownLine   = regexp.MustCompile(`^\{"leaf":(0|[1-9][0-9]{0,14}),"salt":"([0-9a-f]{64})","line":$`)
)

// readAccount reads a line of leaves.txt, which goes on at a leaf.
func readAccount(line []byte, next int64) (a account, err error) {
	m := accountLine.FindSubmatch(line)
	if m == nil || (string(m[4]) == string(Deleted)) != (len(m[5]) > 0) {
		return a, fmt.Errorf("%.80q is no line of it", line)
	}
	a.first, _ = strconv.ParseInt(string(m[1]), 10, 64)
	a.count, _ = strconv.ParseInt(string(m[2]), 10, 64)
	a.what = string(m[4])
	if a.first != next {
		return a, fmt.Errorf("it goes on at leaf %d, where leaf %d is next", a.first, next)
	}
	if len(m[6]) > 0 {
		a.removal, _ = strconv.ParseInt(string(m[6]), 10, 64)
		if a.removal < a.first+a.count {
			return a, errors.New("leaves are said to be deleted before they were written")
		}
	}
	return a, nil
}

// readRun reads leaves of which the bundle has the same.
func (v *verifier) readRun(run *account) error {
	what := What(run.what)
	if what == Deleted {
		v.claims[run.removal] += run.count
		if len(v.claims) > maxClaims {
			return errors.New("leaves.txt names more deletions than there can be")
		}
	}
	for range run.count {
		n := v.tree.Size()
		var leaf seal.Hash
		if err := v.files[leavesEntry].fill(leaf[:]); err != nil {
			return fmt.Errorf("leaves.bin: %w", err)
		}
		if entry := shownIn[what]; entry != "" {
			if err := v.readShown(n, leaf, what, entry); err != nil {
				return fmt.Errorf("leaf %d: %w", n, err)
			}
		}
		v.tree.Add(leaf)
		v.Counts[what]++
		v.compareStamps()
		if v.Given != nil && v.Given.Size == v.tree.Size() {
			v.compared.size, v.compared.root, v.RowsBefore = v.tree.Size(), v.tree.Root(), v.Counts[Row]
		}
	}
	return nil
}

// readShown reads the line of a leaf.
func (v *verifier) readShown(n int64, leaf seal.Hash, what What, entry string) error {
	text, err := v.files[entry].next()
	if err != nil && err != io.EOF {
		return err
	}
	const head = len(`,"salt":"","line":`) + 64
	i := bytes.IndexByte(text, ',')
	if i < 0 || len(text) < i+head+1 || text[len(text)-1] != '}' {
		return fmt.Errorf("it is not in %s, or not as it must be: a line was removed or changed", entry)
	}
	m := shownLine.FindSubmatch(text[:i+head])
	if m == nil || string(m[1]) != strconv.FormatInt(n, 10) {
		return fmt.Errorf("it is not in %s at its place: a line was removed, doubled or moved", entry)
	}
	var salt seal.Salt
	if _, err := hex.Decode(salt[:], m[2]); err != nil {
		return err
	}
	line := text[i+head : len(text)-1]
	if seal.LeafHash(&salt, line) != leaf {
		return fmt.Errorf("it is not what was sealed: the line in %s was changed", entry)
	}
	kind, values, err := readLine(line)
	if err != nil {
		return err
	}
	if n == 0 && kind != seal.KindStart {
		return errors.New("the log does not begin with its start")
	}
	if isStatement(kind) != (what == Statement) || what != Statement && kind != string(what) {
		return fmt.Errorf("a line of kind %s is in %s", kind, entry)
	}
	switch what {
	case Row:
		return v.readRow(n, values)
	case Ledger:
		return nil
	}
	if salt != (seal.Salt{}) {
		return errors.New("a statement has a salt")
	}
	return v.readStatement(n, line)
}

func (v *verifier) readRow(n int64, row map[string]string) error {
	ofTime, ofDevice := v.About.isOf(row)
	if !ofTime {
		return errors.New("it is not of the bundle's period")
	}
	if !ofDevice {
		return errors.New("it is another device's")
	}
	if err := v.checkNumber(row); err != nil {
		return err
	}
	first, last := number(row, "first"), number(row, "last")
	if first <= 0 || first >= maxTime || last < 0 || last >= maxTime {
		return errors.New("its times cannot be")
	}
	if v.First == 0 || first < v.First {
		v.First = first
	}
	v.Last = max(v.Last, last)
	if got, err := v.files[csvEntry].next(); err != nil || string(got)+"\n" != string(appendCSV(nil, n, row)) {
		return errors.New("rows.csv is not what rows.jsonl says")
	}
	return nil
}

// checkNumber checks that rows are sealed in the order of their numbers. Imported ones have
// numbers of the time they speak of.
func (v *verifier) checkNumber(row map[string]string) error {
	id := number(row, "id")
	switch {
	case id <= 0 || id >= maxNumber:
		return errors.New("its number cannot be")
	case row["imported"] != "":
		return nil
	case id <= v.native:
		return fmt.Errorf("row %d was put in later: before it stands what was written when numbers were at %d, and rows that are not imported are sealed in the order of their numbers", id, v.native)
	}
	v.native = id
	return nil
}

// maxNumber is what the number of a row is below.
const maxNumber = 1 << 53

// maxTime is the year 10000.
const maxTime = 253402300800000

func (v *verifier) readStatement(n int64, line []byte) error {
	s, err := seal.ParseStatement(line)
	if err != nil {
		return err
	}
	var at int64
	switch s := s.(type) {
	case *seal.Start:
		at = s.Time
	case *seal.End:
		at = s.Time
	case *seal.Removal:
		at = s.Time
	case *seal.HandoverLine:
		at = s.Time
	}
	if at < 0 || at >= maxTime {
		return errors.New("its time cannot be")
	}
	switch s := s.(type) {
	case *seal.End:
		if len(v.Off) >= maxOff {
			return fmt.Errorf("sealing was switched off more than %d times", maxOff)
		}
		v.Off = append(v.Off, Off{From: s.Time})
		v.native = max(v.native, max(s.From, 1)-1)
	case *seal.Start:
		v.native = max(v.native, max(s.From, 1)-1)
		if i := len(v.Off) - 1; i >= 0 && v.Off[i].Until == 0 {
			v.Off[i].Until = s.Time
		}
		if n == 0 {
			v.Began = s.Time
		}
		if n == 0 && s.Previous != "" {
			previous, err := openCheckpoint([]byte(s.Previous))
			if err != nil && !errors.Is(err, seal.ErrUnknownKey) {
				return fmt.Errorf("the checkpoint before the log's start: %w", err)
			}
			v.previous = &previous
		}
	case *seal.Removal:
		claimed := v.claims[n]
		delete(v.claims, n)
		if claimed > s.Count {
			return fmt.Errorf("%d leaves are said to be deleted by it, which is a removal of %d", claimed, s.Count)
		}
		if claimed > 0 {
			v.addDeletion(n, s, claimed)
		}
	case *seal.HandoverLine:
		return v.readHandover(n, s.Note)
	}
	return nil
}

// addDeletion counts leaves that are said to be deleted by a removal.
func (v *verifier) addDeletion(n int64, s *seal.Removal, claimed int64) {
	of, why := s.Of, s.Why
	if len(of) > maxWhy || len(why) > maxWhy {
		of, why = "", ""
	}
	i := slices.IndexFunc(v.Deletions, func(d Deletion) bool { return d.Of == of && d.Why == why })
	if i < 0 {
		i = min(len(v.Deletions), maxDeletions-1)
	}
	if i == len(v.Deletions) {
		v.Deletions = append(v.Deletions, Deletion{Of: of, Why: why, First: n})
	}
	d := &v.Deletions[i]
	if d.Of != of || d.Why != why {
		d.Of, d.Why = "", "" // several, of a log that is none of ours
	}
	d.Last, d.Leaves, d.Statements = n, d.Leaves+claimed, d.Statements+1
}

func (v *verifier) readHandover(n int64, text string) error {
	if len(v.Handovers) >= maxHandovers {
		return fmt.Errorf("keys took over more than %d times", maxHandovers)
	}
	h, err := seal.OpenHandover([]byte(text))
	if err != nil {
		return err
	}
	if err := errors.Join(CheckKey(h.Old), CheckKey(h.New)); err != nil {
		return err
	}
	size, root := n, v.tree.Root()
	if n == 1 && v.previous != nil {
		size, root = v.previous.Size, v.previous.Root
	}
	switch {
	case h.Size != size || h.Root != root:
		return errors.New("the hand-over is of another log, or of another place")
	case len(v.keys) == 0:
		v.keys = []signer{{h.Old, false, -1}}
	case v.keys[len(v.keys)-1].public != h.Old:
		return errors.New("the hand-over is from a key that did not sign then")
	}
	v.keys = append(v.keys, signer{h.New, h.SignedByOld, n})
	v.Handovers = append(v.Handovers, n)
	return nil
}

// A lineReader reads an entry line by line.
type lineReader struct{ in *bufio.Reader }

func newLineReader(r io.Reader) *lineReader { return &lineReader{bufio.NewReaderSize(r, 1<<14)} }

// next returns a line without its end, until the next one is read.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		long := bytes.Clone(line)
		for err == bufio.ErrBufferFull && len(long) < maxText {
			line, err = l.in.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	switch {
	case err == nil && len(line) <= maxText:
		return line[:len(line)-1], nil
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err == nil, err == io.EOF, err == bufio.ErrBufferFull:
		return nil, errors.New("a line has no end, or is too long")
	}
	return nil, err
}

func (l *lineReader) fill(b []byte) error {
	_, err := io.ReadFull(l.in, b)
	return err
}
