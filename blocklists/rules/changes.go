package rules

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Changes returns how many rules the new set has that the old one has not, and
// the other way round, and which runs of rules both have. A rule is the same on
// whatever line it stands.
func Changes(old, set *Set) (added, removed int, same []Run) {
	if old == nil {
		return set.Rules, 0, nil
	}
	was, is := old.hashes(), set.hashes()
	all := len(was) == old.count && len(is) == set.count
	same = sharedRuns(was, is)
	var gone, come []uint64
	i, j := 0, 0
	for _, r := range append(slices.Clone(same), Run{len(was), len(is), 0}) {
		gone, come = append(gone, was[i:r.was]...), append(come, is[j:r.is]...)
		i, j = r.was+r.count, r.is+r.count
	}
	added, removed = differences(gone, come)
	if !all {
		same = nil // what is not counted is in between
	}
	return added, removed, same
}

// differences returns how many of come are not in gone, and the other way round,
// as often as they are there. It puts both in order.
func differences(gone, come []uint64) (added, removed int) {
	slices.Sort(gone)
	slices.Sort(come)
	for len(gone) > 0 && len(come) > 0 {
		switch {
		case gone[0] == come[0]:
			gone, come = gone[1:], come[1:]
		case gone[0] < come[0]:
			removed++
			gone = gone[1:]
		default:
			added++
			come = come[1:]
		}
	}
	return added + len(come), removed + len(gone)
}

// A Run run of count rules begins at rule was of a list's old set, and at rule
// is of its new one.
type Run struct{ was, is, count int }

const (
	anchorMask = 63 // one rule in 64 is an anchor
	anchorsTry = 32 // of which the nearest is taken
)

// sharedRuns returns runs of equal hashes, ascending in both and apart. It need not
// find all: after a difference both are in step again at an anchor, a hash that
// is rare by its value and unique in was, so that the time it takes grows with
// the length alone.
func sharedRuns(was, is []uint64) (runs []Run) {
	add := func(i, j, n int) {
		if n > 0 {
			runs = append(runs, Run{i, j, n})
		}
	}
	i := alike(was, is)
	j := i
	add(0, 0, i)
	tail := 0
	for tail < min(len(was), len(is))-i && was[len(was)-1-tail] == is[len(is)-1-tail] {
		tail++
	}
	ends := Run{len(was) - tail, len(is) - tail, tail}
	was, is = was[:ends.was], is[:ends.is]
	anchors := anchorsOf(was, i)
	for {
		var ok bool
		if i, j, ok = nextMeeting(anchors, is, i, j); !ok {
			break
		}
		back := 0
		for last := end(runs); i-back > last.was && j-back > last.is && was[i-back-1] == is[j-back-1]; {
			back++
		}
		i, j = i-back, j-back
		n := alike(was[i:], is[j:])
		add(i, j, n)
		i, j = i+n, j+n
	}
	add(ends.was, ends.is, ends.count)
	return runs
}

// end returns where both are behind the last run.
func end(runs []Run) Run {
	if len(runs) == 0 {
		return Run{}
	}
	r := runs[len(runs)-1]
	return Run{was: r.was + r.count, is: r.is + r.count}
}

// alike returns how many hashes are equal at the beginning of both.
func alike(a, b []uint64) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// anchorsOf returns where the anchors of all from from on are.
func anchorsOf(all []uint64, from int) map[uint64]int {
	at := map[uint64]int{}
	for i := from; i < len(all); i++ {
		if h := all[i]; h&anchorMask == 0 {
			if _, twice := at[h]; twice {
				at[h] = -1
			} else {
				at[h] = i
			}
		}
	}
	return at
}

// nextMeeting returns the place of the anchor that is nearest to i and j, and
// behind both.
func nextMeeting(anchors map[uint64]int, is []uint64, i, j int) (atWas, atIs int, ok bool) {
	nearest := math.MaxInt
	for k, tried := j, 0; k < len(is) && k-j < nearest && tried < anchorsTry; k++ {
		if is[k]&anchorMask != 0 {
			continue
		}
		at, known := anchors[is[k]]
		if !known || at < i {
			continue
		}
		tried++
		if far := at - i + k - j; far < nearest {
			nearest, atWas, atIs, ok = far, at, k, true
		}
	}
	return atWas, atIs, ok
}

// hashes returns a hash of each rule, in the order of the file. What cannot be
// read is left out: this is for counting.
func (s *Set) hashes() []uint64 {
	all := make([]uint64, 0, s.count)
	b := make([]byte, 0, 512)
	_ = s.Each(func(r Record) error {
		b = append(b[:0], seed()...)
		b = append(b, r.Name...)
		b = append(b, byte(r.Form), byte(r.Kind))
		if r.Kind.IsReply() {
			b = append(b, byte(s.Reply))
		}
		if r.Kind == Detailed {
			d, _ := s.Detail(r.Rule)
			if d.Synthetic {
				return nil
			}
			b = append(b, byte(d.Match), byte(d.Action), boolByte(d.Important))
			if x := s.ExtraOf(d); x != nil {
				b = append(b, x.Text...)
			}
			if n := s.AnnotationOf(d); n != nil {
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
