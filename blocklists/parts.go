package blocklists

import (
	"cmp"
	"slices"
)

// A part is a run of a list's rules whose ids follow one another. A list is one
// part until it is edited: then only what has changed, in any number of places, gets
// new ids and goes into a small image; all other names stay where they are.
type part struct {
	Rule  uint32 // its first
	Count uint32
	ID    RuleID // of its first; 0 for not placed yet
}

// end returns the id behind the last. An empty list has an id of its own, too.
func (p part) end() RuleID { return p.ID + RuleID(max(1, p.Count)) }

// whole is the only part of a list that is not placed yet.
func whole(set *ruleSet) []part { return []part{{Count: uint32(set.records)}} }

// idOf returns the id of a rule.
func idOf(parts []part, rule uint32) RuleID {
	at, found := slices.BinarySearchFunc(parts, rule, func(p part, rule uint32) int { return cmp.Compare(p.Rule, rule) })
	if !found && at > 0 {
		at--
	}
	return parts[at].ID + RuleID(rule-parts[at].Rule)
}

// cut returns the parts of count rules from rule from on, renumbered so that the
// first of them is rule to.
func cut(parts []part, from, count, to uint32) (found []part) {
	for _, p := range parts {
		lo, hi := max(p.Rule, from), min(p.Rule+p.Count, from+count)
		if lo < hi {
			found = append(found, part{Rule: lo - from + to, Count: hi - lo, ID: p.ID + RuleID(lo-p.Rule)})
		}
	}
	return found
}

const (
	maxParts   = 128    // of a list; with more of them it is built again
	patchFrom  = 5_000  // rules of a list that is worth it
	mostToSkip = 50_000 // rules that may change in a list that is patched
)

// patch returns the parts of a list of now rules, which shares runs with one that
// has the given parts. It returns nil where it is not worth it.
func patch(parts []part, now int, same []shared) []part {
	kept := 0
	for _, r := range same {
		kept += r.count
	}
	if now < patchFrom || kept < now/2 || now-kept > mostToSkip || len(same) > maxParts {
		return nil
	}
	var fresh []part
	next := 0 // the first rule that has no place yet
	for _, r := range append(slices.Clone(same), shared{is: now}) {
		if r.is > next {
			fresh = append(fresh, part{Rule: uint32(next), Count: uint32(r.is - next)})
		}
		fresh = append(fresh, cut(parts, uint32(r.was), uint32(r.count), uint32(r.is))...)
		next = r.is + r.count
	}
	if len(fresh) > maxParts {
		return nil
	}
	return fresh
}
