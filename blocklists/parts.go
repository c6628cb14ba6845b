package blocklists

// A part is a run of a list's rules whose ids follow one another. A list is one
// part until it is edited: then only what has changed gets new ids and goes into
// a small image, and the names before and behind it stay where they are.
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
	for i := len(parts) - 1; i > 0; i-- {
		if parts[i].Rule <= rule {
			return parts[i].ID + RuleID(rule-parts[i].Rule)
		}
	}
	return parts[0].ID + RuleID(rule)
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
	maxParts   = 24     // of a list; from then on it is built again
	patchFrom  = 5_000  // rules of a list that is worth it
	mostToSkip = 50_000 // rules that may change in a list that is patched
)

// patch returns the parts of a list of which only the middle is new: same says
// how many rules at its two ends are those of a list that has the given parts and
// so many rules. It returns nil where it is not worth it.
func patch(parts []part, before, now int, same ends) []part {
	changed := now - same.head - same.tail
	if now < patchFrom || len(parts) >= maxParts || same.head+same.tail < now/2 || changed > mostToSkip {
		return nil
	}
	fresh := cut(parts, 0, uint32(same.head), 0)
	if changed > 0 {
		fresh = append(fresh, part{Rule: uint32(same.head), Count: uint32(changed)})
	}
	return append(fresh, cut(parts, uint32(before-same.tail), uint32(same.tail), uint32(now-same.tail))...)
}

// ends says how many rules at the beginning and the end of two lists are equal.
type ends struct{ head, tail int }
