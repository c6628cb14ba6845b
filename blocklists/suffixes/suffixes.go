// Package suffixes says fast of nearly every name that it is no public suffix.
// It holds a filter of the list in golang.org/x/net/publicsuffix, which has the
// last word.
package suffixes

//go:generate go run ./gen

import (
	_ "embed"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/net/publicsuffix"

	"telltale/dnswire"
)

//go:embed filter.bin
var filter string

// Is reports whether a name, in wire form and lower case, is a public suffix: a
// name under which unrelated people have theirs, such as co.uk or github.io. A
// top-level name that no rule knows, such as lan, is none.
func Is(wire []byte) bool {
	if len(wire) < 2 || !maybe(wire) {
		return false
	}
	var room [4 * dnswire.MaxName]byte
	name := string(dnswire.AppendText(room[:0], wire))
	suffix, icann := publicsuffix.PublicSuffix(name)
	if len(suffix) != len(name) {
		return false
	}
	return icann || int(wire[0])+2 < len(wire) // a single label that no rule knows
}

// maybe reports whether a name may be a suffix: by a rule for it, or by one for
// all that is below its parent.
func maybe(wire []byte) bool {
	return has(Hash(wire)) || has(^Hash(wire[1+wire[0]:]))
}

// Hash is where in the filter a name is; its complement is where a rule for all
// names below is.
func Hash(wire []byte) uint64 { return xxhash.Sum64(wire) }

// Probes are the bits of a hash in a filter of size octets.
func Probes(hash uint64, size int) [3]uint32 {
	bits := uint64(size) * 8
	const each = 21
	return [3]uint32{
		uint32(hash & (1<<each - 1) % bits),
		uint32(hash >> each & (1<<each - 1) % bits),
		uint32(hash >> (2 * each) & (1<<each - 1) % bits),
	}
}

func has(hash uint64) bool {
	for _, bit := range Probes(hash, len(filter)) {
		if filter[bit>>3]>>(bit&7)&1 == 0 {
			return false
		}
	}
	return true
}
