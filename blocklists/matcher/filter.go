package matcher

import "encoding/binary"

// filterBits is how many bits of filter a name has. With five of them set in
// one word, about one name in a hundred passes that is not there.
const filterBits = 12

// A filter says of most hashes that are not in an image that they are not, at
// the price of one word read. It is 64-bit words, little endian; never empty.
type filter []byte

// newFilter returns a filter for n names.
func newFilter(n int) filter { return make(filter, 8*(n*filterBits/64+1)) }

// has reports whether the hash may have been added.
func (f filter) has(h uint64) bool {
	want := filterMask(h)
	at := reduce(h, uint64(len(f)/8)) * 8
	return binary.LittleEndian.Uint64(f[at:])&want == want
}

func (f filter) add(h uint64) {
	word := f[reduce(h, uint64(len(f)/8))*8:]
	binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)|filterMask(h))
}

// filterMask has five bits, chosen by the lower half of the hash; the upper
// half chooses the word.
func filterMask(h uint64) uint64 {
	return 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63) | 1<<(h>>18&63) | 1<<(h>>24&63)
}
