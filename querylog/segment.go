package querylog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	journalDir    = "journal"
	journalEnding = ".journal"
	journalMax    = 64 << 20 // bytes at which a journal is written anew, without what is repeated in it
)

// A segment is the journal of one window. The writer owns it.
type segment struct {
	f    *os.File
	path string
	size int64 // of the whole frames in it
	enc  *encoder
	rows int // rows of the fold written so far

	named bool // it has its later name
}

func segmentPath(dir string, window int64) string {
	return filepath.Join(dir, journalDir, fmt.Sprintf("%016d%s", window, journalEnding))
}

// segments returns the windows that have a journal, in order.
func segments(dir string) ([]int64, error) {
	files, err := os.ReadDir(filepath.Join(dir, journalDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []int64
	for _, f := range files {
		digits, ok := strings.CutSuffix(f.Name(), journalEnding)
		if n, e := strconv.ParseInt(digits, 10, 64); ok && e == nil && n > 0 && n <= maxWindow {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, err
}

// maxWindow is the largest number of a window.
const maxWindow = 1<<(63-rowBits) - 1

// createSegment makes the journal of a window under a name that readers and
// later starts do not look at, until rename.
func createSegment(dir string, window int64) (*segment, error) {
	if err := os.MkdirAll(filepath.Join(dir, journalDir), 0o700); err != nil {
		return nil, err
	}
	path := segmentPath(dir, window)
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	s := &segment{f: f, path: path, enc: newEncoder(window)}
	if err := s.write([]byte(journalMagic)); err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// rename gives the segment its name, in place of an earlier one of the window.
func (s *segment) rename() error {
	err := os.Rename(s.path+".new", s.path)
	s.named = err == nil
	return err
}

// write appends to the file, or leaves it as it was.
func (s *segment) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := s.f.WriteAt(b, s.size)
	if err != nil {
		if n > 0 {
			s.f.Truncate(s.size)
		}
		return err
	}
	s.size += int64(n)
	return nil
}

func (s *segment) close() { s.f.Close() }

// discard closes the file, and removes it where it has not got its name.
func (s *segment) discard() {
	s.f.Close()
	if !s.named {
		os.Remove(s.path + ".new")
	}
}

// linked reports whether the file is still there under its name: a journal whose
// directory was removed survives nothing.
func (s *segment) linked() bool {
	if s == nil {
		return false
	}
	have, err := s.f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(s.path)
	return err == nil && os.SameFile(have, named)
}

// readSegment reads the journal of a window, a part at a time.
func readSegment(dir string, window int64) (*replay, error) {
	f, err := os.Open(segmentPath(dir, window))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &replay{window: window}
	var b []byte
	for err == nil {
		var n int
		b = slices.Grow(b, readPart)
		n, err = f.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		b = append(b[:0], b[p.feed(b):]...)
		if len(b) > 2*(frameHeader+maxFrame) { // no frame begins in its first half, and is whole
			p.bad += len(b) / 2
			b = append(b[:0], b[len(b)/2:]...)
		}
	}
	if err != io.EOF {
		return nil, err
	}
	p.end(b)
	return p, nil
}

const readPart = 256 << 10
