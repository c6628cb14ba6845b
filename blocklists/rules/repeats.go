package rules

import (
	"fmt"
	"hash/maphash"

	"telltale/blocklists/format"
)

// MostSame is how many rules of one list for one name are in force: each of them is
// looked at whenever the name is asked for. Exceptions and what takes rules back
// are counted apart from blocks.
const MostSame = 1000

// repeats counts how often a list comes back to a name, in a memory that does not
// grow with the list. Each slot counts for one name until others have had the slot
// as often: so what a list is full of is counted, and the count of a name is never
// more than the rules for it.
type repeats struct {
	seed  maphash.Seed // nobody can write a list for it
	slots []repeated
}

type repeated struct {
	hash  uint64
	count uint32
}

// newRepeats makes the memory for a text of so many octets; 0 for unknown. One of
// that size can say hardly more names too often than there are slots for it.
func newRepeats(size int) *repeats {
	const most = 1 << 12
	slots := most
	if size > 0 {
		slots = min(max(size/64, 16), most)
	}
	return &repeats{seed: maphash.MakeSeed(), slots: make([]repeated, slots)}
}

// isOver reports whether a list has too many rules for a rule's name already.
func (r *repeats) isOver(rule *format.Rule) bool {
	if len(rule.Name) == 0 {
		return false // patterns and addresses have limits of their own
	}
	h := maphash.Bytes(r.seed, rule.Name)
	if rule.Action != format.Block {
		h = ^h
	}
	s := &r.slots[h%uint64(len(r.slots))]
	switch {
	case s.hash == h:
		s.count++
	case s.count > 1:
		s.count--
	default:
		*s = repeated{h, 1}
	}
	return s.hash == h && s.count > MostSame
}

func overRepeated(rule *format.Rule) BadLine {
	return BadLine{
		Line: rule.Line, Text: nameText(rule.Name),
		Why: fmt.Sprintf("one of over %d rules for %s: remove what repeats itself", MostSame, nameText(rule.Name)),
	}
}
