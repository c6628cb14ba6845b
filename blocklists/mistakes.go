package blocklists

import (
	"cmp"
	"io"
	"os"
	"slices"

	"telltale/blocklists/format"
	"telltale/sorting"
)

// Mistakes returns the bad lines of a list as its text has them now, the first so many, and
// how many there are; ok is false where there is no such list. It reads the text again, as a
// list in force keeps its first bad lines alone.
func (s *Store) Mistakes(name string, most int) (bad []BadLine, all int, ok bool, err error) {
	src, o, ok := s.sourceNamed(name)
	if !ok {
		return nil, 0, false, nil
	}
	bad = src.bad
	if src.path == "" {
		return bad[:min(len(bad), most)], src.seen, true, nil
	}
	f, err := OpenList(src.path)
	if err != nil {
		return nil, 0, true, &os.PathError{Op: "read", Path: src.path, Err: err}
	}
	defer f.Close()
	text, err := format.Open(io.LimitReader(f, format.MaxExpanded))
	if err != nil {
		return nil, 0, true, err
	}
	o.Limits.Bad = most
	report := format.Parse(text, o, func(*format.Rule) {})
	if report.Err != nil {
		return nil, 0, true, report.Err
	}
	// Rules that are too wide are no mistakes of the format: those in force know them.
	for _, b := range report.Bad {
		if !slices.ContainsFunc(bad, func(known BadLine) bool { return known.Line == b.Line && known.Why == b.Problem }) {
			bad = append(bad, BadLine{Line: b.Line, Text: b.Text, Why: b.Problem})
		}
	}
	sorting.StableBy(bad, func(a, b BadLine) int { return cmp.Compare(a.Line, b.Line) })
	return bad[:min(len(bad), most)], max(len(bad), report.BadTotal, src.seen), true, nil
}

// A namedSource is what Mistakes needs of a source.
type namedSource struct {
	path string
	bad  []BadLine
	seen int
}

func (s *Store) sourceNamed(name string) (n namedSource, o format.Options, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, src := range s.sources {
		if src.name != name {
			continue
		}
		n.path = src.path
		if src.set != nil {
			n.bad, n.seen = slices.Clone(src.set.Bad), src.set.BadSeen
		}
		return n, src.settings.FormatOptions(src.name, src.kind), true
	}
	return n, o, false
}
