package subscribe

import (
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists/format"
)

// A reading is what a download turned out to be.
type reading struct {
	report format.Report
	size   int64
	hash   uint64   // of all bytes
	impact *impact  // what it does to names that are known; nil where it is no block list
	other  *Content // what it is instead of a block list; nil for one
}

// inspect reads a file as the list it claims to be.
func (s *Subscriber) inspect(path string, l List) (reading, error) {
	f, err := os.Open(path)
	if err != nil {
		return reading{}, err
	}
	defer f.Close()
	var r reading
	if r.size, r.hash, err = contentOf(f); err != nil {
		return reading{}, err
	}
	if s.Read != nil {
		c, err := s.Read(path, l)
		r.other, r.report.Rules = &c, c.Rules
		return r, err
	}
	known, err := s.knownNames()
	if err != nil {
		return reading{}, err
	}
	r.impact = newImpact(known)
	text, err := format.OpenLimit(f, 10*s.MaxSize)
	if err != nil {
		r.report.Err = err
		return r, nil
	}
	r.report = format.Parse(text, l.options(), r.impact.add)
	return r, nil
}

// contentOf returns the size and the hash of a file, which is then read from its
// start again.
func contentOf(f *os.File) (size int64, hash uint64, err error) {
	sum := xxhash.New()
	if size, err = io.Copy(sum, f); err != nil {
		return 0, 0, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return size, sum.Sum64(), err
}

func (l *List) options() format.Options {
	return format.Options{Name: l.Name, Format: l.Format, Exact: l.Exact, Answers: l.Answers}
}

// readAs says how its lines are read, to be compared.
func (l *List) readAs() string { return fmt.Sprintf("%q %v %v%s", l.Format, l.Exact, l.Answers, l.Key) }

// problem says why a file is no list at all; "" if it is one.
func (r *reading) problem() string {
	switch {
	case r.other != nil:
		return r.other.Problem
	case r.report.Err != nil:
		return fmt.Sprintf("cannot be read: %v", r.report.Err)
	case r.report.Content == format.Empty:
		return "is empty"
	case r.report.Content != format.Text:
		return fmt.Sprintf("is no list but %s", r.report.Content)
	case r.report.Rules == 0 && r.report.BadTotal > 0:
		return fmt.Sprintf("has no line that can be read as a rule (%d bad lines, the first: %s)", r.report.BadTotal, r.report.Bad[0].Problem)
	case r.report.Rules == 0:
		return "has no rules"
	}
	return ""
}

// refusal says why an update is not put in place of a copy with so many rules;
// "" if it is.
func (r *reading) refusal(have int) string {
	if p := r.problem(); p != "" {
		return p
	}
	switch {
	case r.other != nil:
		return r.other.Refusal
	case r.report.EndsEarly():
		return fmt.Sprintf("says that it has %d entries but ends after %d: cut short", r.report.Declared, r.report.Rules+r.report.BadTotal)
	case have > 0 && r.report.Rules < have/10:
		return fmt.Sprintf("shrank from %d rules to %d", have, r.report.Rules)
	}
	return ""
}
