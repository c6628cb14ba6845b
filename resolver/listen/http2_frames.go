package listen

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// The frames of HTTP/2 (RFC 9113, 4 and 6).
const (
	http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // what a client sends first

	frameHeader = 9
	maxFrame    = 16 << 10 // octets of a frame's payload, of both sides: the default
	maxWindow   = 1<<31 - 1
	firstWindow = 1<<16 - 1 // octets that may be sent before the receiver asks for more
)

// Kinds of frames.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameRSTStream    = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9
)

// Flags of frames.
const (
	flagAck        = 0x1 // of SETTINGS and PING
	flagEndStream  = 0x1 // of DATA and HEADERS
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings (RFC 9113, 6.5.2).
const (
	settingTableSize     = 0x1
	settingPush          = 0x2
	settingStreams       = 0x3
	settingWindow        = 0x4
	settingFrameSize     = 0x5
	settingHeaderList    = 0x6
	settingsOfOneFrame   = 100 // at most
	tableSize            = 4096
	longestFrameSetting  = 1<<24 - 1
	settingLen, pingLen  = 6, 8
	windowLen, resetLen  = 4, 4
	priorityLen          = 5
	shortestGoAway       = 8
	streamBits           = 1<<31 - 1 // of a stream's number; the one above is reserved
	headersPriorityFirst = 5         // octets of HEADERS before its fields, with flagPriority
)

// An http2Error is an error code (RFC 9113, 7): why a connection or a stream ends.
type http2Error uint32

const (
	noError          http2Error = 0x0
	protocolError    http2Error = 0x1
	flowControlError http2Error = 0x3
	streamClosed     http2Error = 0x5
	frameSizeError   http2Error = 0x6
	refusedStream    http2Error = 0x7
	cancelled        http2Error = 0x8
	compressionError http2Error = 0x9
	enhanceYourCalm  http2Error = 0xb
)

func (e http2Error) Error() string { return fmt.Sprintf("HTTP/2 error %#x", uint32(e)) }

// A frame is one of those that came. Its payload is good until more is read.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// unpad takes the padding off the payload of DATA and HEADERS; false where it is longer
// than what there is.
func (f *frame) unpad() bool {
	if !f.has(flagPadded) {
		return true
	}
	if len(f.payload) == 0 || int(f.payload[0]) >= len(f.payload) {
		return false
	}
	f.payload = f.payload[1 : len(f.payload)-int(f.payload[0])]
	return true
}

// frameBuffer cuts what a connection sends into frames. It has a large buffer only
// while a long frame, or many at once, need one.
type frameBuffer struct {
	small      [smallFrames]byte // some requests
	large      *[]byte           // from longFrames, in place of small; nil for none
	start, end int               // what has come and is not cut
}

const smallFrames = 2048

var longFrames = sync.Pool{New: func() any { b := make([]byte, frameHeader+maxFrame); return &b }}

func (f *frameBuffer) buffer() []byte {
	if f.large != nil {
		return *f.large
	}
	return f.small[:]
}

// space returns where what comes next is to be read to, which is never empty once next
// has returned false.
func (f *frameBuffer) space() []byte { return f.buffer()[f.end:] }

// add says that n octets have been read to space. Where they fill it, more is there than
// it takes.
func (f *frameBuffer) add(n int) {
	f.end += n
	if f.end == smallFrames && f.large == nil {
		f.grow()
	}
}

func (f *frameBuffer) grow() {
	f.large = longFrames.Get().(*[]byte)
	f.end = copy(*f.large, f.small[f.start:f.end])
	f.start = 0
}

// release gives the large buffer back, once nothing is left in it.
func (f *frameBuffer) release() {
	if f.large != nil && !f.partial() {
		longFrames.Put(f.large)
		f.large, f.start, f.end = nil, 0, 0
	}
}

// partial reports whether a frame has begun to come that is not yet there.
func (f *frameBuffer) partial() bool { return f.end > f.start }

// cut returns the next n octets; false where they are not yet there. n is at most that of
// the longest frame.
func (f *frameBuffer) cut(n int) (octets []byte, ok bool) {
	if f.end-f.start < n {
		if f.large == nil && n > smallFrames {
			f.grow()
		}
		f.moveToFront()
		return nil, false
	}
	f.start += n
	return f.buffer()[f.start-n : f.start], true
}

// next returns the next frame; ok is false where it is not yet there, and err an error of
// the whole connection.
func (f *frameBuffer) next() (fr frame, ok bool, err error) {
	b := f.buffer()[f.start:f.end]
	if len(b) < frameHeader {
		f.moveToFront()
		return fr, false, nil
	}
	n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	if n > maxFrame {
		return fr, false, frameSizeError
	}
	octets, ok := f.cut(frameHeader + n)
	if !ok {
		return fr, false, nil
	}
	return frame{octets[3], octets[4], binary.BigEndian.Uint32(octets[5:]) & streamBits, octets[frameHeader:]}, true, nil
}

// moveToFront makes space behind what has come.
func (f *frameBuffer) moveToFront() {
	if f.start == 0 {
		return
	}
	b := f.buffer()
	f.end = copy(b, b[f.start:f.end])
	f.start = 0
}

// appendFrame appends the header of a frame, behind which n octets follow.
func appendFrame(dst []byte, n int, kind, flags byte, stream uint32) []byte {
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return binary.BigEndian.AppendUint32(dst, stream)
}

// appendNumber appends a frame whose payload is one number.
func appendNumber(dst []byte, kind byte, stream, number uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(dst, 4, kind, 0, stream), number)
}

func appendSetting(dst []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, id), value)
}
