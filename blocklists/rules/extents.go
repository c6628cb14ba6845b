package rules

import (
	"cmp"
	"slices"
)

// An Extent is a run of a list's rules whose ids follow one another. A list is one
// extent until it is edited: then only what has changed, in any number of places, gets
// new ids and goes into a small image; all other names stay where they are.
type Extent struct {
	Rule  uint32 // its first
	Count uint32
	ID    ID // of its first; 0 for not placed yet
}

// End returns the id behind the last. An empty list has an id of its own, too.
func (e Extent) End() ID { return e.ID + ID(max(1, e.Count)) }

// wholeList is the only extent of a list that is not placed yet.
func wholeList(set *Set) []Extent { return []Extent{{Count: uint32(set.count)}} }

// IDOf returns the id of a rule.
func IDOf(extents []Extent, rule uint32) ID {
	at, found := slices.BinarySearchFunc(extents, rule, func(e Extent, rule uint32) int { return cmp.Compare(e.Rule, rule) })
	if !found && at > 0 {
		at--
	}
	return extents[at].ID + ID(rule-extents[at].Rule)
}

// cut returns the extents of count rules from rule from on, renumbered so that the
// first of them is rule to.
func cut(extents []Extent, from, count, to uint32) (found []Extent) {
	for _, e := range extents {
		lo, hi := max(e.Rule, from), min(e.Rule+e.Count, from+count)
		if lo < hi {
			found = append(found, Extent{Rule: lo - from + to, Count: hi - lo, ID: e.ID + ID(lo-e.Rule)})
		}
	}
	return found
}

const (
	maxExtents = 128    // of a list; with more of them it is built again
	patchFrom  = 5_000  // rules of a list for which it is worth the time
	mostToSkip = 50_000 // rules that may change in a list that is patched
)

// patch returns the extents of a list of now rules, which shares runs with one that
// has the given extents. It returns nil where building the list anew costs no more.
func patch(extents []Extent, now int, same []Run) []Extent {
	kept := 0
	for _, r := range same {
		kept += r.count
	}
	if now < patchFrom || kept < now/2 || now-kept > mostToSkip || len(same) > maxExtents {
		return nil
	}
	var fresh []Extent
	next := 0 // the first rule that has no extent yet
	for _, r := range append(slices.Clone(same), Run{is: now}) {
		if r.is > next {
			fresh = append(fresh, Extent{Rule: uint32(next), Count: uint32(r.is - next)})
		}
		fresh = append(fresh, cut(extents, uint32(r.was), uint32(r.count), uint32(r.is))...)
		next = r.is + r.count
	}
	if len(fresh) > maxExtents {
		return nil
	}
	return fresh
}
