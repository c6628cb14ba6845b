package blocklists

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// changes returns how many rules the new set has that the old one has not, and
// the other way round, and how much of both is the same at their ends. A rule is
// the same on whatever line it stands.
func changes(old, set *ruleSet) (added, removed int, same ends) {
	if old == nil {
		return set.Rules, 0, ends{}
	}
	was, is := old.hashes(), set.hashes()
	all := len(was) == old.records && len(is) == set.records
	for len(was) > 0 && len(is) > 0 && was[0] == is[0] { // most edits are local
		was, is = was[1:], is[1:]
		same.head++
	}
	for len(was) > 0 && len(is) > 0 && was[len(was)-1] == is[len(is)-1] {
		was, is = was[:len(was)-1], is[:len(is)-1]
		same.tail++
	}
	if !all {
		same = ends{} // what is not counted is in between
	}
	slices.Sort(was)
	slices.Sort(is)
	for len(was) > 0 && len(is) > 0 {
		switch {
		case was[0] == is[0]:
			was, is = was[1:], is[1:]
		case was[0] < is[0]:
			removed++
			was = was[1:]
		default:
			added++
			is = is[1:]
		}
	}
	return added + len(is), removed + len(was), same
}

// hashes returns a hash of each rule, in the order of the file. What cannot be
// read is left out: this is for counting.
func (s *ruleSet) hashes() []uint64 {
	all := make([]uint64, 0, s.records)
	b := make([]byte, 0, 512)
	_ = s.each(func(r record) error {
		b = append(b[:0], seed()...)
		b = append(b, r.name...)
		b = append(b, byte(r.form), byte(r.kind))
		if r.kind.isReply() {
			b = append(b, byte(s.Reply))
		}
		if r.kind == notPlain {
			d, _ := s.detail(r.rule)
			if d.synthetic {
				return nil
			}
			b = append(b, byte(d.match), byte(d.action), boolByte(d.important))
			if x := s.extraOf(d); x != nil {
				b = append(b, x.Text...)
			}
			if n := s.noteOf(d); n != nil {
				b = append(b, n.Tier...)
				b = binary.LittleEndian.AppendUint64(b, uint64(n.Until.Unix()))
			}
		}
		all = append(all, xxhash.Sum64(b))
		return nil
	})
	return all
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// seed makes the hashes other ones in each process, so that no list can be
// written whose rules are taken for each other.
var seed = sync.OnceValue(func() []byte {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return b
})
