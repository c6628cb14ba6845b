// Package dnstap is the wire form of dnstap: messages in protocol buffers (dnstap.proto), in
// Frame Streams (farsightsec/fstrm). The few fields that are wanted are read and written here: a
// library for all of protocol buffers would be larger than all that uses it.
package dnstap

import (
	"encoding/binary"
	"errors"
	"time"
)

// Kinds of control frames.
const (
	ControlAccept = 1
	ControlStart  = 2
	ControlStop   = 3
	ControlReady  = 4
	ControlFinish = 5
)

// Bounds of frames, in octets.
const (
	MaxControl = 512
	MaxFrame   = 1 << 20
)

// Content is the type of what dnstap has in Frame Streams.
const Content = "protobuf:dnstap.Dnstap"

// AppendControl appends a control frame, with a content type unless that is "".
func AppendControl(b []byte, kind uint32, content string) []byte {
	size := 4
	if content != "" {
		size += 4 + 4 + len(content)
	}
	b = append(b, 0, 0, 0, 0) // the escape, which is no length of a frame
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = binary.BigEndian.AppendUint32(b, kind)
	if content != "" {
		b = binary.BigEndian.AppendUint32(b, 1) // the field that a content type is
		b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
		b = append(b, content...)
	}
	return b
}

// AppendFrame appends a data frame.
func AppendFrame(b, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(body))), body...)
}

// Kinds of messages: those between a server and its clients.
const (
	ClientQuery    = 5
	ClientResponse = 6
)

// Protocols of messages.
const (
	UDP  = 1
	TCP  = 2
	TLS  = 3
	HTTP = 4
	QUIC = 7
)

// A Message is what is read and written of a message. Zero fields are not there.
type Message struct {
	Identity, Version, Extra []byte

	Kind, Protocol       uint64
	Client               []byte // 4 or 16 octets
	ClientPort           uint64
	QueryTime, ReplyTime time.Time
	Query, Reply         []byte
}

// The numbers of fields.
const (
	fieldIdentity = 1
	fieldVersion  = 2
	fieldExtra    = 3
	fieldMessage  = 14
	fieldType     = 15

	messageKind      = 1
	messageFamily    = 2
	messageProtocol  = 3
	messageClient    = 4
	messagePort      = 6
	messageQuerySec  = 8
	messageQueryNsec = 9
	messageQuery     = 10
	messageReplySec  = 12
	messageReplyNsec = 13
	messageReply     = 14
)

// Append appends the message in protocol buffers.
func (m *Message) Append(b []byte) []byte {
	b = appendText(b, fieldIdentity, m.Identity)
	b = appendText(b, fieldVersion, m.Version)
	b = appendText(b, fieldExtra, m.Extra)
	b = appendNumber(b, fieldType, 1) // a message
	inner := appendNumber(nil, messageKind, m.Kind)
	switch len(m.Client) {
	case 4:
		inner = appendNumber(inner, messageFamily, 1)
	case 16:
		inner = appendNumber(inner, messageFamily, 2)
	}
	inner = appendNumber(inner, messageProtocol, m.Protocol)
	inner = appendText(inner, messageClient, m.Client)
	inner = appendNumber(inner, messagePort, m.ClientPort)
	inner = appendTime(inner, messageQuerySec, messageQueryNsec, m.QueryTime)
	inner = appendText(inner, messageQuery, m.Query)
	inner = appendTime(inner, messageReplySec, messageReplyNsec, m.ReplyTime)
	inner = appendText(inner, messageReply, m.Reply)
	return appendText(b, fieldMessage, inner)
}

// What a field's value is, beside its number.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireLength  = 2
	wireFixed32 = 5
)

func appendNumber(b []byte, field int, n uint64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(field)<<3|wireVarint), n)
}

func appendText(b []byte, field int, text []byte) []byte {
	if len(text) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<3|wireLength)
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendTime(b []byte, seconds, nanoseconds int, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = appendNumber(b, seconds, uint64(t.Unix()))
	b = binary.AppendUvarint(b, uint64(nanoseconds)<<3|wireFixed32)
	return binary.LittleEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

// ErrDamaged means that a message is no protocol buffers.
var ErrDamaged = errors.New("the message is damaged")

// Parse reads a message, which refers to body's memory.
func Parse(body []byte) (m Message, err error) {
	var times [2][2]uint64
	err = eachField(body, func(field int, number uint64, text []byte) error {
		switch field {
		case fieldIdentity:
			m.Identity = text
		case fieldVersion:
			m.Version = text
		case fieldExtra:
			m.Extra = text
		case fieldMessage:
			return eachField(text, func(field int, number uint64, text []byte) error {
				m.take(field, number, text, &times)
				return nil
			})
		}
		return nil
	})
	m.QueryTime, m.ReplyTime = timeOf(times[0]), timeOf(times[1])
	return m, err
}

func timeOf(t [2]uint64) time.Time {
	if t[0] == 0 {
		return time.Time{}
	}
	return time.Unix(int64(t[0]), int64(t[1]))
}

// take takes over a field of a message.
func (m *Message) take(field int, number uint64, text []byte, times *[2][2]uint64) {
	switch field {
	case messageKind:
		m.Kind = number
	case messageProtocol:
		m.Protocol = number
	case messageClient:
		m.Client = text
	case messagePort:
		m.ClientPort = number
	case messageQuerySec:
		times[0][0] = number
	case messageQueryNsec:
		times[0][1] = number
	case messageQuery:
		m.Query = text
	case messageReplySec:
		times[1][0] = number
	case messageReplyNsec:
		times[1][1] = number
	case messageReply:
		m.Reply = text
	}
}

// eachField calls do with each field of a message in protocol buffers: a number, or what
// has a length.
func eachField(b []byte, do func(field int, number uint64, text []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
			return ErrDamaged
		}
		b = b[n:]
		var number uint64
		var text []byte
		switch tag & 7 {
		case wireVarint:
			if number, n = binary.Uvarint(b); n <= 0 {
				return ErrDamaged
			}
			b = b[n:]
		case wireFixed64:
			if len(b) < 8 {
				return ErrDamaged
			}
			number, b = binary.LittleEndian.Uint64(b), b[8:]
		case wireLength:
			size, n := binary.Uvarint(b)
			if n <= 0 || size > uint64(len(b)-n) {
				return ErrDamaged
			}
			text, b = b[n:n+int(size)], b[n+int(size):]
		case wireFixed32:
			if len(b) < 4 {
				return ErrDamaged
			}
			number, b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
		default:
			return ErrDamaged
		}
		if err := do(int(tag>>3), number, text); err != nil {
			return err
		}
	}
	return nil
}
