package subscribe

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"slices"

	"telltale/blocklists/format"
)

// A Diff is what the last update of a list added and removed. Rules are in the
// list's own spelling; how they are annotated does not count.
type Diff struct {
	Added, Removed           []string // the first ones, at most MaxDiff of each
	AddedTotal, RemovedTotal int
}

// MaxDiff is how many rules a Diff holds of each kind.
const MaxDiff = 10_000

// Diff compares a list's copy with the one before it.
func (s *Subscriber) Diff(name string) (Diff, error) {
	d, err := s.compareFiles(name, s.previousPath(name), s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Diff{}, fmt.Errorf("list %s was not updated yet: there is nothing to compare", name)
	}
	return d, err
}

// HeldDiff compares the update that waits for Accept with the copy in place.
func (s *Subscriber) HeldDiff(name string) (Diff, error) {
	d, err := s.compareFiles(name, s.path(name), s.heldPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Diff{}, fmt.Errorf("list %s: no update is held back", name)
	}
	return d, err
}

// compareFiles compares two copies of a list, read as the list is configured.
func (s *Subscriber) compareFiles(name, before, after string) (Diff, error) {
	entries, err := s.named([]string{name})
	if err != nil {
		return Diff{}, err
	}
	s.mu.Lock()
	l := entries[0].list
	s.mu.Unlock()
	return s.compare(l, before, after)
}

// compare needs eight bytes for each rule of a list, not its text.
func (s *Subscriber) compare(l List, before, after string) (d Diff, err error) {
	seed := maphash.MakeSeed()
	had, err := s.hashes(seed, l, before)
	if err != nil {
		return d, err
	}
	has, err := s.hashes(seed, l, after)
	if err != nil {
		return d, err
	}
	d.Added, d.AddedTotal, err = s.missing(seed, l, after, had)
	if err != nil {
		return d, err
	}
	d.Removed, d.RemovedTotal, err = s.missing(seed, l, before, has)
	return d, err
}

// hashes returns the sorted hashes of a file's rules.
func (s *Subscriber) hashes(seed maphash.Seed, l List, path string) (all []uint64, err error) {
	err = s.eachRule(l, path, func(text []byte) { all = append(all, maphash.Bytes(seed, text)) })
	slices.Sort(all)
	return all, err
}

// missing returns the rules of a file whose hashes are not among all.
func (s *Subscriber) missing(seed maphash.Seed, l List, path string, all []uint64) (rules []string, total int, err error) {
	seen := map[uint64]bool{} // a rule that stands there twice was still added once
	err = s.eachRule(l, path, func(text []byte) {
		h := maphash.Bytes(seed, text)
		if _, found := slices.BinarySearch(all, h); found || seen[h] {
			return
		}
		seen[h] = true
		if total++; len(rules) < MaxDiff {
			rules = append(rules, string(text))
		}
	})
	return rules, total, err
}

// eachRule gives the text of each rule, valid until yield returns.
func (s *Subscriber) eachRule(l List, path string, yield func(text []byte)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := format.OpenLimit(f, 10*s.MaxSize)
	if err != nil {
		return err
	}
	var text []byte
	return format.Parse(r, l.options(), func(rule *format.Rule) {
		text = rule.AppendText(text[:0])
		yield(text)
	}).Err
}
