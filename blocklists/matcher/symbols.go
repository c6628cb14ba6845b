package matcher

import (
	"encoding/binary"
	"fmt"
)

// Names are stored in codes of one octet, each for a symbol of one to eight
// octets that is frequent in them (FSST: Boncz, Neumann, Leis, VLDB 2020). An
// octet in no symbol is written as escape and itself.
const (
	maxSymbols = 255
	escape     = 255

	symbolsSize = maxSymbols * 9 // in a file: the lengths, then the octets of all
)

// A symbol is the first n octets of a little-endian word; mask covers them.
type symbol struct {
	word, mask uint64
	n          uint8
}

func newSymbol(word uint64, n int) symbol {
	mask := ^uint64(0) >> (64 - 8*n)
	return symbol{word & mask, mask, uint8(n)}
}

// symbols is a table by code. That of escape matches everything and has no
// length.
type symbols [256]symbol

func readSymbols(b []byte) (*symbols, error) {
	t := new(symbols)
	for i, n := range b[:maxSymbols] {
		if n < 1 || n > 8 {
			return nil, fmt.Errorf("%w: symbol %d has %d octets", ErrFile, i, n)
		}
		t[i] = newSymbol(binary.LittleEndian.Uint64(b[maxSymbols+8*i:]), int(n))
	}
	return t, nil
}

func (t *symbols) append(b []byte) []byte {
	for i := range maxSymbols {
		b = append(b, t[i].n)
	}
	for i := range maxSymbols {
		b = binary.LittleEndian.AppendUint64(b, t[i].word)
	}
	return b
}

// equal reports whether codes stand for exactly w[at:end]; slack follows.
func (t *symbols) equal(codes, w []byte, at, end int) bool {
	for i := 0; i < len(codes); i++ {
		if at >= end {
			return false
		}
		if codes[i] == escape {
			i++
			if i == len(codes) || w[at] != codes[i] {
				return false
			}
			at++
			continue
		}
		s := &t[codes[i]]
		if (binary.LittleEndian.Uint64(w[at:])^s.word)&s.mask != 0 {
			return false
		}
		at += int(s.n)
	}
	return at == end
}

// decode appends what codes stand for, but never more than max octets.
func (t *symbols) decode(dst, codes []byte, max int) ([]byte, bool) {
	end := len(dst) + max
	for i := 0; i < len(codes); i++ {
		if codes[i] == escape {
			i++
			if i == len(codes) || len(dst)+1 > end {
				return dst, false
			}
			dst = append(dst, codes[i])
			continue
		}
		s := &t[codes[i]]
		if len(dst)+int(s.n) > end {
			return dst, false
		}
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], s.word)
		dst = append(dst, word[:s.n]...)
	}
	return dst, true
}
