package matcher

import (
	"encoding/binary"
	"math/bits"

	"telltale/dnswire"
)

// slack is how many readable octets, whatever they hold, follow a name that is
// hashed or compared: both read whole words.
const slack = 16

// A key makes hashes that nobody can predict who does not know it, so that no
// list can be written whose names all fall into one group. Both factors of
// each product depend on it, or a chosen label could make a product zero.
type key struct{ seed, mix uint64 }

func keyFrom(b []byte) key {
	return key{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func (k key) append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, k.seed), k.mix)
}

// root is the hash of the root, with which the hash of every name begins.
func (k key) root() uint64 { return k.seed }

// keep masks what of two words belongs to a label of so many octets, its length
// octet not counted.
var keep = func() (m [16][2]uint64) {
	for n := range m {
		for i := range m[n] {
			if have := 1 + n - 8*i; have >= 8 {
				m[n][i] = ^uint64(0)
			} else if have > 0 {
				m[n][i] = 1<<(8*have) - 1
			}
		}
	}
	return m
}()

// label returns the hash of a name from that of its parent h and its first
// label, whose length octet is w[at] and which slack octets follow.
func (k key) label(h uint64, w []byte, at int) uint64 {
	b := (*[16]byte)(w[at:])
	if b[0] >= 16 {
		return k.longLabel(h, w, at)
	}
	m := &keep[b[0]]
	return fold(h^binary.LittleEndian.Uint64(b[:])&m[0], k.mix^binary.LittleEndian.Uint64(b[8:])&m[1])
}

// longLabel is label for what is longer than two words.
func (k key) longLabel(h uint64, w []byte, at int) uint64 {
	n := int(w[at]) + 1
	for ; n > 16; at, n = at+16, n-16 {
		h = fold(h^binary.LittleEndian.Uint64(w[at:]), k.mix^binary.LittleEndian.Uint64(w[at+8:]))
	}
	m := &keep[n-1]
	return fold(h^binary.LittleEndian.Uint64(w[at:])&m[0], k.mix^binary.LittleEndian.Uint64(w[at+8:])&m[1])
}

// name returns the hash of the wire name w[:n].
func (k key) name(w []byte, n int) uint64 {
	var starts [128]uint8
	labels := 0
	for at := 0; at < n-1; at += 1 + int(w[at]) {
		starts[labels&127] = uint8(at)
		labels++
	}
	h := k.root()
	for labels > 0 {
		labels--
		h = k.label(h, w, int(starts[labels&127]))
	}
	return h
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// reduce maps a hash to 0..n-1, monotonically.
func reduce(h, n uint64) uint64 {
	hi, _ := bits.Mul64(h, n)
	return hi
}

// checkName reports whether w is one whole wire name.
func checkName(w []byte) error {
	if len(w) > dnswire.MaxName {
		return dnswire.ErrName
	}
	for at := 0; at < len(w); at += 1 + int(w[at]) {
		if w[at] > 63 {
			return dnswire.ErrName
		}
		if w[at] == 0 {
			if at != len(w)-1 {
				return dnswire.ErrName
			}
			return nil
		}
	}
	return dnswire.ErrName
}
