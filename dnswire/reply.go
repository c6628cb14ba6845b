package dnswire

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// PayloadSize is the UDP payload size this server offers and never exceeds
// (DNS flag day 2020).
const PayloadSize = 1232

// MaxMessage is the largest message there can be: TCP counts it in two octets
// (RFC 1035, 4.2.2).
const MaxMessage = 0xffff

// An EDE is an Extended DNS Error (RFC 8914). The zero value is none.
type EDE struct {
	Code uint16 // info-code; with no Text and Code 0 there is no option
	Text string // UTF-8; cut to what maxEDEText allows
}

// Extended DNS Error codes this server gives (RFC 8914, 4).
const (
	EDEOther         = 0
	EDEStale         = 3
	EDEForgedAnswer  = 4
	EDENotReady      = 14
	EDEBlocked       = 15
	EDECensored      = 16
	EDEFiltered      = 17
	EDEProhibited    = 18
	EDEStaleNXDomain = 19
	EDENotSupported  = 21
	EDENoReachable   = 22
	EDENetworkError  = 23
	EDEInvalidData   = 24
	EDEInvalidType   = 30
	maxCookieOption  = 40
	optHeader        = 11
	flagQR           = 0x80
	flagTC           = 0x02
	flagRD           = 0x01
	flagRA           = 0x80
	flagAD           = 0x20
	flagCD           = 0x10
	compressQuestion = 0xc000 | HeaderLen // a pointer to the question's name
)

// IsVerdict reports whether a validator explains its SERVFAIL by e: unsupported
// algorithm or digest (1, 2), or 5 to 12, the states of validation (RFC 8914, 4).
func (e EDE) IsVerdict() bool { return e.Code == 1 || e.Code == 2 || e.Code >= 5 && e.Code <= 12 }

// maxEDEText bounds the text of an EDE so that no reply of ours without records
// of others is above 512 octets, what every client can receive: header, longest
// question, SOA, OPT, cookie and EDE with this text are 506 (RFC 8914, 3: the
// text must not be what truncates a reply).
const maxEDEText = 128

// maxOPT is more than an OPT of ours takes.
const maxOPT = optHeader + 4 + maxCookieOption + keepaliveOption + 6 + maxEDEText + 1

const keepaliveOption = 4 + 2

// A Reply is a message being appended to a slice: Begin, then records in the
// order of the sections, then End. The slice stays the caller's.
type Reply struct {
	q      *Question
	buf    []byte
	start  int
	rcode  uint16
	counts [3]uint16 // answer, authority, additional
}

// Begin appends the header and the question of a reply to q, with the case the
// client used (it may be checking).
func Begin(dst []byte, q *Question, rcode uint16) Reply {
	flags := byte(flagQR)
	if q.RD {
		flags |= flagRD
	}
	low := byte(flagRA) | byte(rcode&0xf)
	if q.CD {
		low |= flagCD
	}
	r := Reply{q: q, start: len(dst), rcode: rcode}
	questions := byte(1)
	if q.raw == nil {
		questions = 0
	}
	dst = append(dst, byte(q.ID>>8), byte(q.ID), flags, low, 0, questions, 0, 0, 0, 0, 0, 0)
	r.buf = append(dst, q.raw...)
	return r
}

// Answer appends a record of the question's name to the answer section. Names in
// data are uncompressed.
func (r *Reply) Answer(typ uint16, ttl uint32, data []byte) {
	r.counts[0]++
	r.buf = appendRecord(r.buf, typ, ttl, len(data))
	r.buf = append(r.buf, data...)
}

// AnswerOf appends a record of owner, a wire name, to the answer section.
func (r *Reply) AnswerOf(owner []byte, typ uint16, ttl uint32, data []byte) {
	if bytes.Equal(owner, r.q.Name.Wire()) {
		r.Answer(typ, ttl, data)
		return
	}
	r.counts[0]++
	r.buf = append(r.buf, owner...)
	r.buf = appendFixed(r.buf, typ, ttl, len(data))
	r.buf = append(r.buf, data...)
}

// AnswerPacked appends a complete record, its names uncompressed, to the answer
// section.
func (r *Reply) AnswerPacked(record []byte) {
	r.counts[0]++
	r.buf = append(r.buf, record...)
}

// soaNames are MNAME and RNAME of the SOA in our own negative answers.
const soaNames = "\x08telltale\x07invalid\x00\x0ahostmaster\xc0"

// SOA appends to the authority section the SOA that lets a client cache a
// negative answer for ttl seconds (RFC 2308, 3 and 5). Its owner is the root: a
// cache may take the owner for a name that exists. dnsmasq 2.90 does, and turns a
// later NXDOMAIN for this name, or for one above it, into NODATA.
func (r *Reply) SOA(ttl uint32) {
	const fixed = len("\x08telltale\x07invalid\x00"+"\x0ahostmaster") + 2 + 5*4
	r.counts[1]++
	r.buf = appendFixed(append(r.buf, 0), TypeSOA, ttl, fixed)
	mname := len(r.buf) - r.start
	r.buf = append(r.buf, soaNames[:len(soaNames)-1]...)
	r.buf = append(r.buf, 0xc0|byte(mname>>8), byte(mname))
	for _, v := range [5]uint32{1, 3600, 600, 86400, ttl} { // serial, refresh, retry, expire, minimum
		r.buf = binary.BigEndian.AppendUint32(r.buf, v)
	}
}

// End completes the message: counts, and for a client with EDNS an OPT record
// made anew (RFC 6891, 7) with cookie, if the client sent one, and ede.
func (r *Reply) End(cookie []byte, ede EDE) []byte {
	if r.q.EDNS {
		r.buf = appendOPT(r.buf, r.start, r.q, r.rcode, cookie, ede)
		r.counts[2]++
	}
	head := r.buf[r.start : r.start+HeaderLen]
	binary.BigEndian.PutUint16(head[6:], r.counts[sectionAnswer])
	binary.BigEndian.PutUint16(head[8:], r.counts[sectionAuthority])
	binary.BigEndian.PutUint16(head[10:], r.counts[sectionAdditional])
	return r.buf
}

// AppendEmpty appends a reply to q that has no records.
func AppendEmpty(dst []byte, q *Question, rcode uint16, cookie []byte, ede EDE) []byte {
	r := Begin(dst, q, rcode)
	return r.End(cookie, ede)
}

// AppendNull appends the reply of a sinkhole: 0.0.0.0 or ::, for other types no
// data with an SOA.
func AppendNull(dst []byte, q *Question, ttl uint32, cookie []byte, ede EDE) []byte {
	var zero [16]byte
	r := Begin(dst, q, Success)
	switch q.Type {
	case TypeA:
		r.Answer(TypeA, ttl, zero[:4])
	case TypeAAAA:
		r.Answer(TypeAAAA, ttl, zero[:])
	default:
		r.SOA(ttl)
	}
	return r.End(cookie, ede)
}

// AppendNegative appends an answer without records of our own: NXDOMAIN, or
// NODATA with rcode Success.
func AppendNegative(dst []byte, q *Question, rcode uint16, ttl uint32, cookie []byte, ede EDE) []byte {
	r := Begin(dst, q, rcode)
	r.SOA(ttl)
	return r.End(cookie, ede)
}

// AppendTruncated appends the reply that sends a client to TCP.
func AppendTruncated(dst []byte, q *Question, cookie []byte) []byte {
	at := len(dst)
	dst = AppendEmpty(dst, q, Success, cookie, EDE{})
	dst[at+2] |= flagTC
	return dst
}

// AppendError appends the reply to a packet whose question could not be read:
// a header, with no question but that of q, and an OPT if one was understood.
func AppendError(dst []byte, q *Question, opcode byte, rcode uint16) []byte {
	at := len(dst)
	dst = AppendEmpty(dst, q, rcode, nil, EDE{})
	dst[at+2] |= opcode & 0xf << 3
	return dst
}

// Opcode returns the opcode of a packet that has a header.
func Opcode(packet []byte) byte { return packet[2] >> 3 & 0xf }

// A Stored is a complete reply without OPT, to be served again.
type Stored struct {
	Wire     []byte
	Question int      // size of its question section
	TTLs     []uint16 // offsets of the TTL fields in Wire
	Rcode    uint16
	AD       bool // the upstream vouched for it (RFC 6840)
	EDE      EDE
}

// AppendStored appends s as the reply to q, with every TTL lowered by age
// seconds and a new OPT. The question of s must be q's but for its case. Where
// there is no room within MaxMessage, the OPT goes without what it may hold, or is
// left out: a client on TCP has nowhere to turn to for the answer.
func AppendStored(dst []byte, q *Question, s *Stored, age uint32, cookie []byte) []byte {
	at := len(dst)
	dst = append(dst, s.Wire...)
	reply := dst[at:]
	reply[0], reply[1] = byte(q.ID>>8), byte(q.ID)
	reply[2] = flagQR
	if q.RD {
		reply[2] |= flagRD
	}
	reply[3] = flagRA | byte(s.Rcode&0xf)
	if q.CD {
		reply[3] |= flagCD
	}
	if s.AD && (q.AD || q.DO) {
		reply[3] |= flagAD
	}
	copy(reply[HeaderLen:], q.raw) // same length: same name, type and class
	if age > 0 {
		for _, off := range s.TTLs {
			ttl := binary.BigEndian.Uint32(reply[off:])
			binary.BigEndian.PutUint32(reply[off:], ttl-min(ttl, age))
		}
	}
	if q.EDNS {
		ede := s.EDE
		if room := MaxMessage - len(s.Wire); room < maxOPT {
			if room < optHeader {
				return dst
			}
			if room < optHeader+4+len(cookie)+keepaliveOption+6+len(ede.Text) {
				cookie, ede, q.Keepalive = nil, EDE{}, 0
			}
		}
		dst = appendOPT(dst, at, q, s.Rcode, cookie, ede)
		dst[at+11]++ // additional: the stored count is below 255, see Sanitize
	}
	return dst
}

// appendRecord appends a record of the question's name up to its data.
func appendRecord(dst []byte, typ uint16, ttl uint32, size int) []byte {
	return append(dst, compressQuestion>>8, compressQuestion&0xff, byte(typ>>8), byte(typ), 0, ClassIN,
		byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), byte(size>>8), byte(size))
}

// appendFixed appends what stands between a record's owner and its data.
func appendFixed(dst []byte, typ uint16, ttl uint32, size int) []byte {
	return append(dst, byte(typ>>8), byte(typ), 0, ClassIN,
		byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), byte(size>>8), byte(size))
}

// cutText cuts text to maxEDEText octets, not within a character.
func cutText(text string) string {
	if len(text) <= maxEDEText {
		return text
	}
	end := maxEDEText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// paddingOf returns how many octets of padding make a message of size octets, with
// the option's header, a multiple of to, or as large as there can be one; -1 where
// there is no room for the option.
func paddingOf(size, to int) int {
	size += 4
	if size > MaxMessage {
		return -1
	}
	return min((size+to-1)/to*to, MaxMessage) - size
}

// appendOPT appends the OPT record that ends the reply to q, which begins at start.
func appendOPT(dst []byte, start int, q *Question, rcode uint16, cookie []byte, ede EDE) []byte {
	size := 0
	if len(cookie) > 0 {
		size += 4 + len(cookie)
	}
	text := cutText(ede.Text)
	hasEDE := ede.Code != 0 || text != ""
	if hasEDE {
		size += 6 + len(text)
	}
	if q.Keepalive > 0 {
		size += keepaliveOption
	}
	padding := -1 // no such option
	if q.PadTo > 0 {
		if padding = paddingOf(len(dst)-start+optHeader+size, int(q.PadTo)); padding >= 0 {
			size += 4 + padding
		}
	}
	do := byte(0)
	if q.DO {
		do = 0x80 // RFC 3225, 3
	}
	dst = append(dst, 0, 0, TypeOPT, PayloadSize>>8, PayloadSize&0xff, byte(rcode>>4), 0, do, 0, byte(size>>8), byte(size))
	if len(cookie) > 0 {
		dst = append(dst, 0, optionCookie, 0, byte(len(cookie)))
		dst = append(dst, cookie...)
	}
	if hasEDE {
		n := 2 + len(text)
		dst = append(dst, 0, optionEDE, byte(n>>8), byte(n), byte(ede.Code>>8), byte(ede.Code))
		dst = append(dst, text...)
	}
	if q.Keepalive > 0 {
		dst = append(dst, 0, optionKeepalive, 0, 2, byte(q.Keepalive>>8), byte(q.Keepalive))
	}
	if padding >= 0 {
		dst = append(dst, 0, optionPadding, byte(padding>>8), byte(padding))
		var zeros [64]byte
		for ; padding > 0; padding -= min(padding, len(zeros)) {
			dst = append(dst, zeros[:min(padding, len(zeros))]...)
		}
	}
	return dst
}
