package devices

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"sort"

	"telltale/sorting"
)

// prefixTable finds the longest prefix that holds an address, by binary search
// in the address space cut into spans. It never changes; the zero value is
// empty.
type prefixTable[V any] struct {
	v4, v6 []span[V]
}

// A span reaches from its first address to the next span's.
type span[V any] struct {
	first point
	value V
	held  bool // false: no prefix holds these addresses
}

// A point is an address as a number, an IPv4 address in its mapped form.
type point struct{ hi, lo uint64 }

func pointOf(a netip.Addr) point {
	b := a.As16()
	return point{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (p point) less(q point) bool { return p.hi < q.hi || p.hi == q.hi && p.lo < q.lo }

// next returns the point after p; last is true where there is none.
func (p point) next() (q point, last bool) {
	q = point{p.hi, p.lo + 1}
	if q.lo == 0 {
		q.hi++
	}
	return q, q == point{}
}

// end returns the last address of p.
func end(p netip.Prefix) point {
	q := pointOf(p.Masked().Addr())
	host := p.Addr().BitLen() - p.Bits() // number of bits that vary
	if host >= 64 {
		q.lo = ^uint64(0)
		q.hi |= 1<<(host-64) - 1
		return q
	}
	q.lo |= 1<<host - 1
	return q
}

// makePrefixTable builds the table of entries, whose prefixes are masked.
func makePrefixTable[V any](entries map[netip.Prefix]V) prefixTable[V] {
	var v4, v6 []netip.Prefix
	for p := range entries {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return prefixTable[V]{spans(v4, entries), spans(v6, entries)}
}

// spans cuts the address space at each prefix's first address and behind its
// last. Prefixes nest or are apart, so a stack holds the open ones.
func spans[V any](prefixes []netip.Prefix, entries map[netip.Prefix]V) []span[V] {
	sorting.By(prefixes, func(p, q netip.Prefix) int {
		return cmp.Or(p.Addr().Compare(q.Addr()), cmp.Compare(p.Bits(), q.Bits()))
	})
	var out []span[V]
	cut := func(s span[V]) {
		if n := len(out); n > 0 && out[n-1].first == s.first {
			out[n-1] = s
			return
		}
		out = append(out, s)
	}
	var open []netip.Prefix
	closeUpTo := func(limit point, all bool) {
		for len(open) > 0 {
			last := end(open[len(open)-1])
			if !all && !last.less(limit) {
				return
			}
			open = open[:len(open)-1]
			after, none := last.next()
			switch {
			case none:
			case len(open) > 0:
				cut(span[V]{after, entries[open[len(open)-1]], true})
			default:
				cut(span[V]{first: after})
			}
		}
	}
	for _, p := range prefixes {
		first := pointOf(p.Addr())
		closeUpTo(first, false)
		cut(span[V]{first, entries[p], true})
		open = append(open, p)
	}
	closeUpTo(point{}, true)
	return out
}

// find returns the value of the longest prefix that holds a, which is unmapped.
func (t *prefixTable[V]) find(a netip.Addr) (v V, ok bool) {
	in := t.v6
	if a.Is4() {
		in = t.v4
	}
	if len(in) == 0 {
		return v, false
	}
	at := pointOf(a)
	i := sort.Search(len(in), func(i int) bool { return at.less(in[i].first) })
	if i == 0 {
		return v, false
	}
	return in[i-1].value, in[i-1].held
}
