package listen

import (
	"encoding/binary"
	"sync"

	"telltale/dnswire"
	"telltale/resolver/packets"
)

// framing cuts what a connection sends into messages, each behind its length (RFC
// 1035, 4.2.2; RFC 7858, 3.3). It has a large buffer only while a message, or many
// at once, need one: a connection that waits has next to nothing.
type framing struct {
	small      [smallBuffer]byte
	large      *[]byte // from largeBuffers, in place of small; nil for none
	start, end int     // what has come and is not cut
	skip       int     // octets to come of a message that is too long
	long       [dnswire.HeaderLen]byte
	isLong     bool // long is the beginning of a message that is being skipped
}

const (
	smallBuffer = 2 + 510 // nearly every query, and some at once
	largeBuffer = 2 + packets.MaxSize
)

var largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}

func (f *framing) buffer() []byte {
	if f.large != nil {
		return *f.large
	}
	return f.small[:]
}

// space returns where what comes next is to be read to, which is never empty once
// next has returned false.
func (f *framing) space() []byte { return f.buffer()[f.end:] }

// add says that n octets have been read to space. Where they fill it, more is there
// than it takes.
func (f *framing) add(n int) {
	f.end += n
	if f.end == smallBuffer && f.large == nil {
		f.grow()
	}
}

func (f *framing) grow() {
	f.large = largeBuffers.Get().(*[]byte)
	f.end = copy(*f.large, f.small[f.start:f.end])
	f.start = 0
}

// release gives the large buffer back, once nothing is left in it. Space must not be in use.
func (f *framing) release() {
	if f.large != nil && !f.partial() {
		largeBuffers.Put(f.large)
		f.large, f.start, f.end = nil, 0, 0
	}
}

// partial reports whether a message has begun to come that is not yet there.
func (f *framing) partial() bool { return f.end > f.start || f.isLong }

// next returns the next message; it is good until space is used. Of one that is
// longer than any query only the beginning is kept, which is enough to say FORMERR.
func (f *framing) next() (packet []byte, ok bool) {
	if f.isLong {
		return f.skipLong()
	}
	b := f.buffer()[f.start:f.end]
	if len(b) < 2 {
		f.moveToFront()
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > packets.MaxSize {
		if len(b) < 2+dnswire.HeaderLen {
			f.moveToFront()
			return nil, false
		}
		f.start += 2 + copy(f.long[:], b[2:])
		f.isLong, f.skip = true, n-dnswire.HeaderLen
		return f.skipLong()
	}
	if len(b) < 2+n {
		if f.large == nil && 2+n > smallBuffer {
			f.grow()
		}
		f.moveToFront()
		return nil, false
	}
	f.start += 2 + n
	return b[2 : 2+n : 2+n], true
}

// skipLong drops what has come of a message that is too long. Its counts promise
// more than its header: FORMERR.
func (f *framing) skipLong() (packet []byte, ok bool) {
	n := min(f.skip, f.end-f.start)
	f.start += n
	if f.skip -= n; f.skip > 0 {
		f.moveToFront()
		return nil, false
	}
	f.isLong = false
	return f.long[:], true
}

// moveToFront makes space behind what has come.
func (f *framing) moveToFront() {
	b := f.buffer()
	f.end = copy(b, b[f.start:f.end])
	f.start = 0
}
