package catalog

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// An Edition is the text of a catalogue as it was published: the one that is in the
// program, or one that was fetched. It never changes.
type Edition struct {
	files   fs.FS
	name    string // a date, with a number where there are several of a day
	shipped bool
	version func() string

	mu     sync.Mutex  // held while the entries are read
	loaded lastEntries // as they were read last, for as long as somebody has them
}

// Shipped returns the edition that is in the program.
func Shipped() *Edition {
	program.once.Do(func() {
		e := newEdition(FS(), "")
		e.shipped = true
		if text, err := fs.ReadFile(FS(), editionFile); err == nil { // the package's tests find it missing
			e.name = strings.TrimSpace(string(text))
		}
		program.edition = e
	})
	return program.edition
}

var program struct {
	once    sync.Once
	edition *Edition
}

func newEdition(files fs.FS, name string) *Edition {
	return &Edition{files: files, name: name, version: sync.OnceValue(func() string { return versionOf(files) })}
}

// FS returns the list files, one NAME.txt per vendor or set, and the tables they
// refer to.
func (e *Edition) FS() fs.FS { return e.files }

// Name is the edition's date, with a number where there are several of a day.
func (e *Edition) Name() string { return e.name }

// Version identifies the text: a part of its SHA-256.
func (e *Edition) Version() string { return e.version() }

// IsShipped reports whether it is the one that is in the program.
func (e *Edition) IsShipped() bool { return e.shipped }

// IsNewer reports whether e was published after another edition.
func (e *Edition) IsNewer(than *Edition) bool { return compareEditions(e.name, than.name) > 0 }

// String is what reports say of the edition: its name, and what identifies its text.
func (e *Edition) String() string { return e.Name() + " (" + e.Version() + ")" }

// Load reads the entries, unless somebody still has those that were read before: it returns
// the same then.
func (e *Edition) Load() (*Catalog, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.loaded.Value(); c != nil {
		return c, nil
	}
	c, err := read(e.files, e.Version())
	if err != nil {
		return nil, err
	}
	e.loaded = makeLast(c)
	return c, nil
}

// Claims returns the function by which the edition's lists are read. It holds all
// their sources in memory.
func (e *Edition) Claims() format.Claims {
	sources, err := ReadSources(e.files)
	if err != nil {
		return func(string, string) (source, confidence, problem string) { return "", "", err.Error() }
	}
	return sources.Reader()
}

// Names tells the names of the lists as lists write them, whether they stand in a
// line that blocks, and their tier. It costs a server less at its start than Load,
// since nothing else is kept.
func (e *Edition) Names(tell func(name string, listed bool, tier string)) error {
	names, err := fs.Glob(e.files, "*.txt")
	if err != nil {
		return err
	}
	for _, file := range names {
		text, err := fs.ReadFile(e.files, file)
		if err != nil {
			return err
		}
		report := format.Parse(bytes.NewReader(text), format.Options{}, func(r *format.Rule) {
			e := Entry{Name: string(dnswire.AppendText(nil, r.Name)), Exact: r.Match == format.Exact}
			tier := ""
			if r.Annotation != nil {
				tier = r.Annotation.Tier
			}
			tell(e.String(), r.Action == format.Block, tier)
		})
		if report.Err != nil {
			return report.Err
		}
	}
	return nil
}

// count returns how many entries the lists have, and how many of them block.
func (e *Edition) count() (entries, blocks int, err error) {
	err = e.Names(func(_ string, listed bool, _ string) {
		entries++
		if listed {
			blocks++
		}
	})
	return entries, blocks, err
}

// A Judgement is what is to be done with an edition that was fetched.
type Judgement struct {
	Entries int
	Problem string // why it can never be put in force; "" where it can
	Refusal string // why it waits until a person accepts it; "" where it does not
}

// Judge compares an edition with the one that is in force, and checks all of it as
// 'telltale catalog check' does.
func (e *Edition) Judge(inForce *Edition) (Judgement, error) {
	switch order := compareEditions(e.name, inForce.name); {
	case order < 0:
		return Judgement{Problem: fmt.Sprintf("is the edition %s, older than %s, which is in force: whoever publishes it puts a later one in its place", e.name, inForce.name)}, nil
	case order == 0 && e.Version() != inForce.Version():
		return Judgement{Problem: fmt.Sprintf("is called edition %s, as the one in force is, and has another text: whoever publishes it gives it a later name", e.name)}, nil
	}
	problems, err := Check(e.files)
	if err != nil {
		return Judgement{}, err
	}
	if len(problems) > 0 {
		more := ""
		if n := len(problems) - 1; n > 0 {
			more = fmt.Sprintf(" (and %d mistakes more)", n)
		}
		return Judgement{Problem: fmt.Sprintf("has a mistake, or was written for a newer Telltale: %s%s", problems[0], more)}, nil
	}
	var j Judgement
	var blocks int
	if j.Entries, blocks, err = e.count(); err != nil {
		return j, err
	}
	had, blocked, err := inForce.count()
	switch {
	case err != nil:
		return j, err
	case j.Entries < had/2:
		j.Refusal = fmt.Sprintf("shrank from %d entries to %d", had, j.Entries)
	case blocks < blocked/2:
		j.Refusal = fmt.Sprintf("shrank from %d entries that block to %d", blocked, blocks)
	}
	return j, nil
}

var editionName = regexp.MustCompile(`^((?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))(?:\.([1-9]\d{0,5}))?$`)

// checkEditionName says what is wrong with an edition's name; "" for nothing.
func checkEditionName(name string) string {
	if !editionName.MatchString(name) {
		return fmt.Sprintf("%q is no name of an edition: write the day on which it is published, such as 2026-11-27, and 2026-11-27.1 for a second one of that day", name)
	}
	return ""
}

// compareEditions compares names of editions; one that is none is older than all.
func compareEditions(a, b string) int {
	x, y := editionName.FindStringSubmatch(a), editionName.FindStringSubmatch(b)
	if x == nil || y == nil {
		return cmp.Compare(len(x), len(y))
	}
	number := func(text string) int {
		n, _ := strconv.Atoi(text) // six digits at most, or none
		return n
	}
	return cmp.Or(cmp.Compare(x[1], y[1]), cmp.Compare(number(x[2]), number(y[2])))
}

func versionOf(fsys fs.FS) string {
	h, buf := sha256.New(), make([]byte, 32<<10)
	fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := fsys.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", name, info.Size())
		_, err = io.CopyBuffer(h, f, buf)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:6])
}
