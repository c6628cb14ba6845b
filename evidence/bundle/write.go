package bundle

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"telltale/querylog/seal"
)

// Contents are what a bundle is made of.
type Contents struct {
	About      About
	Leaves     iter.Seq2[Leaf, error] // all leaves that the checkpoint is of, in their order
	Checkpoint []byte                 // signed by the key
	Key        *seal.Key

	// Each writes an entry; one that is nil leaves it empty. Lists, bindings and
	// witnesses may rest on the rows: they are called when all leaves were read.
	Lists, Bindings, HTML, Report, Witnesses func(io.Writer) error
}

// ErrLog means that a log's leaves are not those that its checkpoint is of.
var ErrLog = errors.New("the sealed log is not what its checkpoint says: 'telltale evidence audit' says where")

// Write writes a bundle to an empty file. What it needs beside is in files in dir that
// nobody else sees, as large as the bundle together, and in constant memory.
func Write(f *os.File, dir string, c *Contents) error {
	s, err := newSpools(dir)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.fill(c); err != nil {
		return err
	}
	return writeEntries(newArchiver(f), c, s)
}

func writeEntries(a *archiver, c *Contents, s *spools) error {
	about, err := c.About.text()
	if err != nil {
		return err
	}
	origin, _, _ := strings.Cut(c.Key.Public, "+")
	manifest := fmt.Sprintf("telltale bundle %d\n%s\n", Format, origin)
	for _, name := range entryNames[:len(entryNames)-1] {
		var write func(io.Writer) error
		switch name {
		case readmeEntry:
			write = text(readme)
		case aboutEntry:
			write = text(about)
		case listsEntry:
			write = c.Lists
		case bindingsEntry:
			write = c.Bindings
		case htmlEntry:
			write = c.HTML
		case reportEntry:
			write = c.Report
		case witnessesEntry:
			write = c.Witnesses
		case keyEntry:
			write = text(c.Key.Public + "\n")
		case checkpointEntry:
			write = text(string(c.Checkpoint))
		default:
			write = s.of[name].copy
		}
		if write == nil {
			write = text("")
		}
		sum := sha256.New()
		if err := a.add(name, sum, write); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		manifest += manifestLine(sum, a.entries[len(a.entries)-1].size, name)
	}
	signer, err := note.NewSigner(c.Key.Private)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: manifest}, signer)
	if err != nil {
		return err
	}
	if err := a.add(manifestEntry, nil, text(string(signed))); err != nil {
		return err
	}
	return a.finish()
}

func manifestLine(sum hash.Hash, size int64, name string) string {
	return fmt.Sprintf("%x %d %s\n", sum.Sum(nil), size, name)
}

// Spools are the entries that are made of the leaves, in files without names: each is
// written before what stands before it in the bundle is known.
type spools struct {
	of  map[string]*spool
	run account
}

type spool struct {
	f   *os.File
	out *bufio.Writer
}

func newSpools(dir string) (*spools, error) {
	s := &spools{of: map[string]*spool{}}
	for _, name := range []string{statementsEntry, ledgerEntry, rowsEntry, csvEntry, accountEntry, leavesEntry} {
		f, err := os.CreateTemp(dir, ".new-*")
		if err != nil {
			s.close()
			return nil, err
		}
		os.Remove(f.Name())
		s.of[name] = &spool{f, bufio.NewWriterSize(f, 1<<16)}
	}
	return s, nil
}

func (s *spools) close() {
	for _, one := range s.of {
		one.f.Close()
	}
}

func (s *spool) copy(w io.Writer) error {
	if err := s.out.Flush(); err != nil {
		return err
	}
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, s.f)
	return err
}

// An account is leaves one after the other of which the bundle has the same.
type account struct {
	first, count int64
	what         string
	removal      int64 // of Deleted, when it is read
}

func (a *account) line() string { return fmt.Sprintf("%d %d %s\n", a.first, a.count, a.what) }

// fill reads all leaves.
func (s *spools) fill(c *Contents) error {
	s.of[csvEntry].out.WriteString(csvHead())
	var tree seal.Tree
	var b []byte
	for leaf, err := range c.Leaves {
		if err != nil {
			return err
		}
		n := tree.Size()
		what := string(leaf.What)
		if leaf.What == Deleted {
			what += fmt.Sprintf(" %d", leaf.Removal)
		}
		if what != s.run.what {
			s.endRun()
			s.run = account{first: n, what: what}
		}
		s.run.count++
		if entry := shownIn[leaf.What]; entry != "" {
			if seal.LeafHash(&leaf.Salt, leaf.Line) != leaf.Hash {
				return fmt.Errorf("%w (leaf %d)", ErrLog, n)
			}
			b = fmt.Appendf(b[:0], `{"leaf":%d,"salt":"%x","line":%s}`+"\n", n, leaf.Salt[:], leaf.Line)
			s.of[entry].out.Write(b) // the error stays until it is flushed
		}
		if leaf.What == Row {
			_, row, err := readLine(leaf.Line)
			if err != nil {
				return fmt.Errorf("%w (leaf %d)", err, n)
			}
			b = appendCSV(b[:0], n, row)
			s.of[csvEntry].out.Write(b)
		}
		s.of[leavesEntry].out.Write(leaf.Hash[:])
		tree.Add(leaf.Hash)
	}
	s.endRun()
	head, err := seal.OpenCheckpoint(c.Checkpoint, c.Key.Public)
	if err != nil {
		return err
	}
	if head.Size != tree.Size() || head.Root != tree.Root() {
		return fmt.Errorf("%w (its %d leaves have another root, or are not %d)", ErrLog, tree.Size(), head.Size)
	}
	return nil
}

func (s *spools) endRun() {
	if s.run.count > 0 {
		s.of[accountEntry].out.WriteString(s.run.line())
	}
}

// readme is the first file of each bundle.
var readme = strings.TrimLeft(`
This is a bundle of Telltale: part of a sealed log of which device on a network
asked for which names, and what shows that nobody changed it since.

report.html      a summary, to read in a browser
rows.csv         the rows, for a spreadsheet
rows.jsonl       the same rows as they were sealed, each with its place in the log
ledger.jsonl     what bears on how far the log can be relied on: starts, gaps
statements.jsonl what the log says of itself: deletions, keys that took over
leaves.bin       the hash of every sealed line, also of those that are not shown
leaves.txt       what is shown of which lines, and why others are not
checkpoint.txt   the head of the log, signed
key.txt          the key that signed it
manifest.txt     the sums of all these files, signed
about.json, lists.json, bindings.jsonl, report.json, witnesses.jsonl
                 of what, by which program and settings; the lists in force; which
                 addresses the device had; the report as data; who else has seen
                 the log's head

To check it, either
  telltale evidence verify FILE --key KEY         (the program)
  python3 verify.py FILE --key KEY                (300 lines that you can read)
KEY is the log's key as its owner gave it to you by another way than this file.
Without it nobody can say whose log this is.

What it cannot show: that a row was true when it was written, that a connection was
made, what was sent, or what stands in the lines that are withheld. The report may
count rows that are not in this file: those that were never sealed, and those that
were not yet signed when it was made.
`, "\n")
