package blocklists

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists/format"
	"telltale/blocklists/suffixes"
	"telltale/dnswire"
)

// maxFile is the most octets of one list file that are read, packed or not.
const maxFile = format.MaxExpanded

// A look is what can be seen of a file without reading it. A file whose look
// has not changed is not read again.
type look struct {
	size     int64
	modified int64 // Unix nanoseconds
	inode    uint64
	mode     fs.FileMode
	err      string // why it cannot be seen
}

func lookAt(path string) look {
	info, err := os.Stat(path)
	if err != nil {
		return look{err: reason(err)}
	}
	return lookOf(info)
}

func lookOf(info fs.FileInfo) look {
	return look{size: info.Size(), modified: info.ModTime().UnixNano(), inode: inodeOf(info), mode: info.Mode()}
}

// reason returns an error's words without the path, which stands before it.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// openList opens a list file without ever waiting for a FIFO, and refuses what
// is no regular file and what others may write to.
func openList(path string) (*os.File, look, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, look{}, errors.New(reason(err))
	}
	if err := readable(info); err != nil {
		return nil, look{}, err
	}
	f, err := openNow(path)
	if err != nil {
		return nil, look{}, errors.New(reason(err))
	}
	if info, err = f.Stat(); err == nil {
		err = readable(info)
	}
	if err != nil {
		f.Close()
		return nil, look{}, err
	}
	return f, lookOf(info), nil
}

func readable(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case info.Size() > maxFile && mode.IsRegular():
		return fmt.Errorf("is over %d MB: split it", maxFile>>20)
	case mode.IsDir():
		return errors.New("is a directory, not a list: move its files up or remove it")
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("is a FIFO, not a list: remove it")
	case !mode.IsRegular():
		return fmt.Errorf("is not a regular file (%v): remove it", mode.Type())
	}
	return mayTrust(info)
}

// mayTrust refuses what others may write to: whoever may write to a directory can
// put lists there, whatever the modes of those that are there.
func mayTrust(info fs.FileInfo) error {
	if info.Mode().Perm()&0o002 != 0 {
		return errors.New("can be written by every user of this machine: run chmod o-w on it")
	}
	return nil
}

// readDir returns what is in a directory that only its owner and group may write to.
func readDir(dir string) ([]fs.DirEntry, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if err := mayTrust(info); err != nil {
		return nil, fmt.Errorf("%s %w", dir, err)
	}
	return os.ReadDir(dir)
}

// A reading is what came of reading a list.
type reading struct {
	set     *ruleSet
	stamp   stamp
	content format.Content
	missing int      // entries that the list says it has beside those that were found
	file    *os.File // where set is kept, under a name for the time being; nil for in memory
}

// readList reads a list's text into a new set. Rules that would block a public
// suffix are left out and noted as bad lines, unless the list may have them.
func readList(text io.Reader, o format.Options, anySuffix bool, into *os.File, st stamp) (reading, error) {
	sum := xxhash.New()
	limited := &io.LimitedReader{R: text, N: maxFile + 1}
	r, err := format.Open(io.TeeReader(limited, sum))
	if err != nil {
		return reading{}, err
	}
	w := newSetWriter(into)
	anySuffix = anySuffix || o.Own
	report := format.Parse(r, o, func(rule *format.Rule) {
		if !anySuffix && isWide(rule) {
			w.bad(BadLine{Line: rule.Line, Text: dnswireText(rule.Name), Why: "would block a public suffix, all names under which belong to others: set suffixes: true for this list if that is meant"})
			return
		}
		w.add(rule)
	})
	if report.Err != nil {
		return reading{}, report.Err
	}
	if err := drain(sum, limited); err != nil {
		return reading{}, err
	}
	if limited.N <= 0 {
		return reading{}, fmt.Errorf("is over %d MB: split it", maxFile>>20)
	}
	if report.Content != format.Text && report.Content != format.Empty {
		w.bad(BadLine{Text: report.Content.String(), Why: fmt.Sprintf("the file is %v, not a list", report.Content)})
	}
	held := w.set.BadSeen
	for _, b := range report.Bad {
		w.bad(BadLine{Line: b.Line, Text: b.Text, Why: b.Problem})
	}
	w.set.BadSeen = held + report.BadTotal
	st.Hash = sum.Sum64()
	set, err := w.finish(st)
	got := reading{set: set, stamp: st, content: report.Content}
	if report.EndsEarly() {
		got.missing = report.Declared - report.Rules - report.BadTotal
	}
	return got, err
}

// drain reads what the parser left, so that the hash is of the whole file.
func drain(sum hash.Hash, r io.Reader) error {
	_, err := io.Copy(sum, r)
	return err
}

// isWide reports whether a rule blocks a public suffix: a name under which
// unrelated people have theirs.
func isWide(r *format.Rule) bool {
	if r.Action != format.Block || r.Match != format.Subtree && r.Match != format.Below {
		return false
	}
	return suffixes.Is(r.Name)
}

func dnswireText(wire []byte) string { return string(dnswire.AppendText(nil, wire)) }
