package upstream

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"time"

	"telltale/dnswire"
)

// Whose letters a server repeats as they were sent is asked with letters in random
// case (draft-vixie-dnsext-dns0x20): a spoofer who has found out the port must guess
// them beside the id. Each bit of a number is the case of a letter, 32 letters long and
// then from the beginning; 0 is lower case throughout.

// rememberLetters is how long an upstream is asked in lower case after a reply with
// letters of another case.
const rememberLetters = 10 * time.Minute

// mostIgnored is how many replies in a row that came only to a query in lower case, after
// one with capitals that had none, show that the upstream drops capitals. Fewer may be
// of a line that loses packets.
const mostIgnored = 3

// probeLetters are the letters of a probe, which finds out whether the upstream repeats them.
// The first of a name is a capital.
const probeLetters = 0x55555555

// letters is what is known of an upstream's letters. Any goroutine may use it.
type letters struct {
	repeated   atomic.Bool  // a probe's were
	lowerUntil atomic.Int64 // Unix second until which they are not used all the same
	notHeard   atomic.Int32 // replies in a row that came only to lower case
}

// areUsed reports whether the upstream is asked with letters in random case.
func (l *letters) areUsed(now time.Time) bool {
	return l.repeated.Load() && l.lowerUntil.Load() <= now.Unix()
}

// changed takes in that a reply had other letters than its query. Either the upstream
// does not repeat all of them, or somebody has guessed all but these.
func (l *letters) changed(now time.Time) { l.lowerUntil.Store(now.Add(rememberLetters).Unix()) }

// ignored takes in that a query with letters was silent, and the same in lower case was not.
func (l *letters) ignored(now time.Time) {
	if l.notHeard.Add(1) >= mostIgnored {
		l.notHeard.Store(mostIgnored)
		l.changed(now)
	}
}

// kept takes in that a reply had the letters of its query.
func (l *letters) kept() {
	if l.notHeard.Load() != 0 {
		l.notHeard.Store(0)
	}
}

// nextLetters returns the letters of the next query that u is sent by UDP.
func (u *Upstream) nextLetters(now time.Time) uint32 {
	switch {
	case u.probing:
		return u.probeLetters
	case !u.letters.areUsed(now):
		return 0
	}
	var random [4]byte
	rand.Read(random[:])
	return binary.BigEndian.Uint32(random[:])
}

// mixLetters gives the letters of a name, in lower-case wire form, the case that letters says.
func mixLetters(name []byte, letters uint32) {
	for i, c := range name { // lengths of labels are below 64, and so no letters
		if c-'a' < 26 {
			name[i] = c - byte(letters&1)<<5
			letters = bits.RotateLeft32(letters, -1)
		}
	}
}

// hasLetters reports whether a name has the case that mixLetters gave it.
func hasLetters(name []byte, letters uint32) bool {
	for _, c := range name {
		if c|0x20-'a' < 26 && c >= 'A' {
			if c&0x20 != byte(letters&1^1)<<5 {
				return false
			}
			letters = bits.RotateLeft32(letters, -1)
		}
	}
	return true
}

// lowerLetters writes a reply's question, and the owners that repeat it letter by letter,
// in lower case, as clients and log are to see it. asked is the question as in checkReply.
func lowerLetters(packet, asked []byte) {
	lower := asked[dnswire.HeaderLen : len(asked)-4]
	copy(packet[dnswire.HeaderLen:], lower)
	off := len(asked)
	for section := range 3 {
		for range binary.BigEndian.Uint16(packet[6+2*section:]) {
			end := skipOwner(packet, off)
			if end == 0 || end+10 > len(packet) {
				return // what checkReply has taken has none such
			}
			if end-off == len(lower) && isSameName(packet[off:end], lower) {
				copy(packet[off:], lower)
			}
			if off = end + 10 + int(binary.BigEndian.Uint16(packet[end+8:])); off > len(packet) {
				return
			}
		}
	}
}

// repeatsLetters reports whether a reply that fits asked repeats the letters of its query too,
// and writes them in lower case where it does. A failure without question has none.
func repeatsLetters(packet, asked []byte, letters uint32) bool {
	if letters == 0 || packet[5] == 0 {
		return true
	}
	if !hasLetters(packet[dnswire.HeaderLen:len(asked)-4], letters) {
		return false
	}
	lowerLetters(packet, asked)
	return true
}
