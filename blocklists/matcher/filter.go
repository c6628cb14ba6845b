package matcher

import "encoding/binary"

// A filter says of most hashes that were not added that they were not, for the
// price of reading one 64-bit word. A hash sets five bits of its word; with
// groupSize hashes a word on average, one in a hundred passes that was not added.
//
// An image has one word for each group, beside the group's offset, so that a
// name that is there needs only one more distant read: the group. A Set has one
// for all its overlays, of words alone.
type filter []byte

// newFilter returns a filter for n hashes; it is never empty.
func newFilter(n int) filter { return make(filter, 8*(n/groupSize+1)) }

// has reports whether the hash may have been added.
func (f filter) has(h uint64) bool {
	return passes(binary.LittleEndian.Uint64(f[8*reduce(h, uint64(len(f)/8)):]), h)
}

func (f filter) add(h uint64) {
	word := f[8*reduce(h, uint64(len(f)/8)):]
	binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)|fiveBits(h))
}

// passes reports whether all bits of the hash are set in its word.
func passes(word, h uint64) bool { return fiveBits(h)&^word == 0 }

// fiveBits are chosen by the lower half of the hash; the upper half chooses the
// word.
func fiveBits(h uint64) uint64 {
	return 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63) | 1<<(h>>18&63) | 1<<(h>>24&63)
}
