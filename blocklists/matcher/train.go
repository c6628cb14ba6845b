package matcher

import (
	"cmp"
	"slices"
)

const (
	sampleSize  = 8192 // names that symbols are chosen by
	trainRounds = 6
)

// An encoder writes names in the codes of a table: always the longest symbol
// that fits. It finds it in a trie over classes of octets.
type encoder struct {
	table   *symbols
	class   [256]uint16 // of an octet; 0 is in no symbol
	classes int
	next    []uint16        // node*classes+class: the node below; 0 is none
	code    []uint8         // of a node; escape is none
	single  [256]uint8      // code of a symbol of one octet
	pair    [1 << 16]uint16 // the node below two octets, little endian
}

func newEncoder(t *symbols) *encoder {
	e := &encoder{table: t, classes: 1}
	for c := range e.single {
		e.single[c] = escape
	}
	for i := range maxSymbols {
		for j := range t[i].n {
			if c := byte(t[i].word >> (8 * j)); e.class[c] == 0 {
				e.class[c] = uint16(e.classes)
				e.classes++
			}
		}
	}
	e.grow()
	for i := range maxSymbols {
		e.insert(uint8(i), t[i])
	}
	return e
}

func (e *encoder) grow() uint16 {
	e.next = append(e.next, make([]uint16, e.classes)...)
	e.code = append(e.code, escape)
	return uint16(len(e.code) - 1)
}

func (e *encoder) insert(code uint8, s symbol) {
	node := 0
	for j := range s.n {
		at := node*e.classes + int(e.class[byte(s.word>>(8*j))])
		if e.next[at] == 0 {
			node := e.grow() // moves e.next
			e.next[at] = node
		}
		node = int(e.next[at])
		if j == 1 {
			e.pair[uint16(s.word)] = uint16(node)
		}
	}
	e.code[node] = code
	if s.n == 1 {
		e.single[byte(s.word)] = code
	}
}

// encode appends the codes of name.
func (e *encoder) encode(dst, name []byte) []byte {
	for at := 0; at < len(name); {
		code, n := e.longest(name[at:])
		dst = append(dst, code)
		if code == escape {
			dst = append(dst, name[at])
		}
		at += n
	}
	return dst
}

// longest returns the code of the longest symbol that b begins with, and its
// length; escape and 1 when there is none.
func (e *encoder) longest(b []byte) (code uint8, n int) {
	code, n = e.single[b[0]], 1
	if len(b) < 2 {
		return code, n
	}
	node := int(e.pair[uint16(b[0])|uint16(b[1])<<8])
	for i := 2; node != 0; i++ {
		if c := e.code[node]; c != escape {
			code, n = c, i
		}
		if i == len(b) {
			break
		}
		class := e.class[b[i]]
		if class == 0 {
			break
		}
		node = int(e.next[node*e.classes+int(class)])
	}
	return code, n
}

// A sample keeps up to sampleSize names, evenly from all that are offered: those
// whose hash ends in enough zeros.
type sample struct {
	names []byte // length octet, name
	hash  []uint64
	mask  uint64
}

func (s *sample) offer(name []byte, h uint64) {
	if h&s.mask != 0 {
		return
	}
	s.names = append(append(s.names, byte(len(name))), name...)
	s.hash = append(s.hash, h)
	for len(s.hash) > sampleSize {
		s.mask = s.mask<<1 | 1
		s.thin()
	}
}

// thin drops what no longer passes the mask.
func (s *sample) thin() {
	names, hash := s.names[:0], s.hash[:0]
	at := 0
	for _, h := range s.hash {
		end := at + 1 + int(s.names[at])
		if h&s.mask == 0 {
			names = append(names, s.names[at:end]...)
			hash = append(hash, h)
		}
		at = end
	}
	s.names, s.hash = names, hash
}

// train chooses symbols for a sample: it begins with single octets, writes the
// sample with what it has, and keeps of the symbols, and of pairs that followed
// each other, those which saved most; several times over.
func train(s *sample) *symbols {
	table := singles(s.names)
	for range trainRounds {
		table = retrain(newEncoder(table), s.names)
	}
	return table
}

func singles(names []byte) *symbols {
	var count [256]int
	eachName(names, func(name []byte) {
		for _, c := range name {
			count[c]++
		}
	})
	gains := map[symbol]int{}
	for c, n := range count {
		if n > 0 {
			gains[newSymbol(uint64(c), 1)] = n
		}
	}
	return best(gains)
}

func retrain(e *encoder, names []byte) *symbols {
	var alone [256]int
	pairs := make([]uint32, 1<<16)
	var octets [256]int // escaped
	var codes []byte
	eachName(names, func(name []byte) {
		codes = e.encode(codes[:0], name)
		last := -1
		for i := 0; i < len(codes); i++ {
			c := int(codes[i])
			if c == escape {
				i++
				octets[codes[i]]++
				last = -1
				continue
			}
			alone[c]++
			if last >= 0 {
				pairs[last<<8|c]++
			}
			last = c
		}
	})

	gains := map[symbol]int{}
	for c, n := range octets {
		if n > 0 {
			gains[newSymbol(uint64(c), 1)] += singleGain * n
		}
	}
	for c, n := range alone {
		if n == 0 {
			continue
		}
		s := e.table[c]
		if s.n == 1 {
			n *= singleGain
		}
		gains[s] += n * int(s.n)
	}
	for p, n := range pairs {
		if n < 3 {
			continue
		}
		a, b := e.table[p>>8], e.table[p&255]
		if a.n == 8 {
			continue
		}
		s := newSymbol(a.word|b.word<<(8*a.n), min(8, int(a.n+b.n)))
		gains[s] += int(n) * int(s.n)
	}
	return best(gains)
}

// singleGain prefers single octets: without them an octet costs two, and what
// follows is cut off from what came before.
const singleGain = 8

// best returns the table of the symbols with the largest gains. Unused codes
// repeat the first symbol, so that each has a length.
func best(gains map[symbol]int) *symbols {
	type candidate struct {
		symbol
		gain int
	}
	all := make([]candidate, 0, len(gains))
	for s, g := range gains {
		all = append(all, candidate{s, g})
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.gain, a.gain), cmp.Compare(a.n, b.n), cmp.Compare(a.word, b.word))
	})
	t := new(symbols)
	for i := range maxSymbols {
		switch {
		case i < len(all):
			t[i] = all[i].symbol
		case len(all) > 0:
			t[i] = all[0].symbol
		default:
			t[i] = newSymbol(0, 1)
		}
	}
	return t
}

func eachName(names []byte, f func(name []byte)) {
	for at := 0; at < len(names); {
		end := at + 1 + int(names[at])
		f(names[at+1 : end])
		at = end
	}
}
