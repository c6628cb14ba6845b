// Package seal is the form of the sealed log: what a leaf is, how leaves make a
// Merkle tree (RFC 9162), and how its head and its keys are signed (C2SP signed
// notes). It is pure: where leaves come from and are kept is querylog's.
// docs/seals.md is this package for who writes a verifier, and
// testdata/vectors.json has an example of each thing.
package seal

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"hash"

	"golang.org/x/mod/sumdb/tlog"
)

// A Hash is a leaf's or a node's.
type Hash = tlog.Hash

// SecretSize is the length of a secret, and of a salt.
const SecretSize = 32

// A Secret is what salts of the rows of one device and day are made from.
type Secret [SecretSize]byte

// A Salt is what is hashed before a line, so that a line cannot be guessed.
type Salt [SecretSize]byte

// Most of what a verifier accepts.
const (
	MaxLeaves = 1 << 48
	maxLine   = 16 << 20 // octets: a removal may have many numbers
)

// RowSalt returns the salt of the row with this number: HMAC-SHA-256 of "row"
// and the number. It is written out so that nothing is allocated.
func RowSalt(secret *Secret, id int64) Salt {
	const block = 64
	var inner [block + len("row") + 8]byte
	var outer [block + sha256.Size]byte
	copy(inner[:], innerPad)
	copy(outer[:], outerPad)
	subtle.XORBytes(inner[:SecretSize], inner[:SecretSize], secret[:])
	subtle.XORBytes(outer[:SecretSize], outer[:SecretSize], secret[:])
	copy(inner[block:], "row")
	binary.BigEndian.PutUint64(inner[block+len("row"):], uint64(id))
	sum := sha256.Sum256(inner[:])
	copy(outer[block:], sum[:])
	return sha256.Sum256(outer[:])
}

// A Salter makes the salts of RowSalt for the rows of one secret. It has hashed already what
// is the same for all of them, so a salt takes two blocks of SHA-256 and not four. One
// goroutine uses it.
type Salter struct {
	inner, outer []byte // the state of SHA-256 behind the secret and what HMAC adds to it
	digest       hash.Hash
	state        encoding.BinaryUnmarshaler // of digest
	message      [len("row") + 8]byte
	sum          Salt
}

// NewSalter returns the Salter of a secret.
func NewSalter(secret *Secret) *Salter {
	s := &Salter{digest: sha256.New()}
	s.state = s.digest.(encoding.BinaryUnmarshaler) // crypto/sha256 says that it is one
	copy(s.message[:], "row")
	s.inner, s.outer = s.behind(secret, innerPad), s.behind(secret, outerPad)
	return s
}

// behind returns the state of SHA-256 behind a secret with its padding.
func (s *Salter) behind(secret *Secret, pad string) []byte {
	key := []byte(pad)
	subtle.XORBytes(key, key, secret[:])
	s.digest.Reset()
	s.digest.Write(key)
	state, err := s.digest.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("the state of SHA-256: " + err.Error()) // its MarshalBinary returns none
	}
	return state
}

// Row returns the salt of the row with this number.
func (s *Salter) Row(id int64) Salt {
	binary.BigEndian.PutUint64(s.message[len("row"):], uint64(id))
	s.state.UnmarshalBinary(s.inner)
	s.digest.Write(s.message[:])
	s.digest.Sum(s.sum[:0])
	s.state.UnmarshalBinary(s.outer)
	s.digest.Write(s.sum[:])
	s.digest.Sum(s.sum[:0])
	return s.sum
}

// What HMAC adds to a key (RFC 2104), for a block of SHA-256.
const (
	innerPad = "6666666666666666666666666666666666666666666666666666666666666666"
	outerPad = `\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\`
)

// Day returns the day whose secrets are those of the row with this number: days
// since 1970 by the number of its window, which is about the time in seconds.
func Day(id int64) int64 { return (id >> rowBits) / (24 * 60 * 60) }

// rowBits is how many bits of a row's number its place in the window takes.
const rowBits = 20

// LeafHash returns the hash of a leaf.
func LeafHash(salt *Salt, line []byte) Hash {
	l := newLeaf(make([]byte, 0, leafHead+len(line)), salt)
	return sha256.Sum256(append(l, line...))
}

const leafHead = 1 + SecretSize

// newLeaf appends to an empty slice what a line stands behind in its leaf.
func newLeaf(b []byte, salt *Salt) []byte { return append(append(b[:0], 0), salt[:]...) }

// A Leaf makes leaves one after the other, in the same memory.
type Leaf struct{ b []byte }

// Line returns the line of the leaf at hand, until the next one is made.
func (l *Leaf) Line() []byte { return l.b[leafHead:] }

// Salt returns the salt of the leaf at hand.
func (l *Leaf) Salt() Salt { return Salt(l.b[1:leafHead]) }

// Row makes the leaf of a row.
func (l *Leaf) Row(salt *Salt, r *Row) Hash {
	l.b = r.Append(newLeaf(l.b, salt))
	return sha256.Sum256(l.b)
}

// Ledger makes the leaf of a line of the ledger.
func (l *Leaf) Ledger(salt *Salt, e *LedgerLine) Hash {
	l.b = e.Append(newLeaf(l.b, salt))
	return sha256.Sum256(l.b)
}

// Statement makes the leaf of a statement.
func (l *Leaf) Statement(s Statement) Hash {
	l.b = s.Append(newLeaf(l.b, new(Salt)))
	return sha256.Sum256(l.b)
}
