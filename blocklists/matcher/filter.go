package matcher

import "encoding/binary"

// A filter says of most hashes that were not added that they were not, for the
// price of reading one 64-bit word. A hash sets three bits of its word; with
// perWord hashes a word on average, one in 12 passes that was not added. So it is
// small: that it stays in the processor's caches is worth more than that it lets
// fewer pass.
//
// An image has one; what passes is looked for in the image's index, which has 32
// more bits for each group. A Set has one for all its overlays, too.
type filter []byte

const (
	wordSize = 8
	perWord  = 12
)

// newFilter returns a filter for n hashes; it is never empty.
func newFilter(n int) filter { return make(filter, wordSize*(n/perWord+1)) }

func (f filter) words() uint64 { return uint64(len(f) / wordSize) }

// has reports whether the hash may have been added to a filter of so many words.
func (f filter) has(h, words uint64) bool {
	return threeBits(h)&^binary.LittleEndian.Uint64(f[wordSize*reduce(h, words):]) == 0
}

func (f filter) add(h uint64) {
	word := f[wordSize*reduce(h, f.words()):]
	binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)|threeBits(h))
}

// threeBits and groupBits are chosen by the lower half of the hash; the upper half
// chooses the word and the group.
func threeBits(h uint64) uint64 { return 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63) }

func groupBits(h uint64) uint32 { return 1<<(h>>18&31) | 1<<(h>>23&31) | 1<<(h>>28&31) }
