package upstream

import (
	"encoding/binary"
	"slices"

	"telltale/dnswire"
)

// A replyKind is what checkReply makes of a packet.
type replyKind uint8

const (
	replyStray       replyKind = iota // not the reply to this query, or not a message: wait on
	replyTruncated                    // ask again by TCP
	replyGood                         // an answer, also a negative one or a validator's verdict
	replyServFail                     // any other SERVFAIL
	replyRefused                      // REFUSED, a referral, or a code that is no answer
	replyUnsupported                  // FORMERR, NOTIMP or BADVERS: perhaps it knows no EDNS
)

// Bits of the third and fourth octet of a header (RFC 1035, 4.1.1).
const (
	bitQR      = 0x80
	bitAA      = 0x04
	bitTC      = 0x02
	bitRD      = 0x01
	bitRA      = 0x80
	bitAD      = 0x20
	bitCD      = 0x10
	bitsOpcode = 0x78
)

const yxDomain = 6 // a DNAME made the name too long (RFC 6672, 2.2): an answer

// checkReply says what packet is to a query whose header and question are asked,
// where the message in it ends, and whether it has an OPT. It checks id, QR, opcode and question, that
// the records fill the message as its counts say, and that there is one OPT at
// most. It follows no pointers, so its cost is linear in the packet.
//
// A reply without question fits only if it is nothing but a failure, as servers
// send that could not read the query.
func checkReply(packet, asked []byte) (kind replyKind, end int, opt bool) {
	if len(packet) < dnswire.HeaderLen || packet[0] != asked[0] || packet[1] != asked[1] ||
		packet[2]&bitQR == 0 || packet[2]&bitsOpcode != 0 {
		return replyStray, 0, false
	}
	rcode := uint16(packet[3] & 0xf)
	end = dnswire.HeaderLen
	switch binary.BigEndian.Uint16(packet[4:]) {
	case 1:
		if !sameQuestion(packet, asked) {
			return replyStray, 0, false
		}
		end = len(asked)
	case 0:
		records := packet[6:dnswire.HeaderLen] // their counts, of all three sections
		if slices.Max(records) != 0 || kindOf(rcode) == replyGood {
			return replyStray, 0, false
		}
	default:
		return replyStray, 0, false
	}
	if packet[2]&bitTC != 0 {
		return replyTruncated, end, false // it may end in the middle of a record
	}
	var seen seenRecords
	if end = seen.read(packet, end); end == 0 {
		return replyStray, 0, false
	}
	rcode |= uint16(seen.extendedRcode) << 4
	kind = kindOf(rcode)
	switch {
	case kind == replyServFail && seen.verdict:
		kind = replyGood
	case rcode == dnswire.Success && seen.referral && packet[2]&bitAA == 0 && packet[3]&bitRA == 0:
		kind = replyRefused
	}
	return kind, end, seen.opts > 0
}

// isReplyTo reports whether packet, which may be cut anywhere behind its question,
// is the beginning of the reply to a query.
func isReplyTo(packet, asked []byte) bool {
	return len(packet) >= len(asked) && packet[0] == asked[0] && packet[1] == asked[1] && packet[2]&bitQR != 0 &&
		packet[2]&bitsOpcode == 0 && binary.BigEndian.Uint16(packet[4:]) == 1 && sameQuestion(packet, asked)
}

func kindOf(rcode uint16) replyKind {
	switch rcode {
	case dnswire.Success, dnswire.NXDomain, yxDomain:
		return replyGood
	case dnswire.ServFail:
		return replyServFail
	case dnswire.FormErr, dnswire.NotImp, dnswire.BadVers:
		return replyUnsupported
	}
	return replyRefused
}

// sameQuestion reports whether packet repeats the question asked, in any case
// (RFC 4343).
func sameQuestion(packet, asked []byte) bool {
	if len(packet) < len(asked) {
		return false
	}
	name := len(asked) - 4
	return isSameName(packet[dnswire.HeaderLen:name], asked[dnswire.HeaderLen:name]) && string(packet[name:len(asked)]) == string(asked[name:])
}

// seenRecords is what the records of a reply say to checkReply.
type seenRecords struct {
	extendedRcode byte // the upper eight bits (RFC 6891, 6.1.3)
	verdict       bool // an EDE with which a validator explains its SERVFAIL
	referral      bool // no answer, and NS but no SOA in the authority section
	opts          int
}

// read reads the records from off on and returns where they end; 0 if they do
// not fit the counts or the packet.
func (s *seenRecords) read(packet []byte, off int) int {
	var ns, soa bool
	for section := range 3 {
		for range binary.BigEndian.Uint16(packet[6+2*section:]) {
			if off = skipOwner(packet, off); off == 0 || off+10 > len(packet) {
				return 0
			}
			typ := binary.BigEndian.Uint16(packet[off:])
			data := off + 10
			end := data + int(binary.BigEndian.Uint16(packet[off+8:]))
			if end > len(packet) {
				return 0
			}
			switch {
			case typ == dnswire.TypeOPT:
				if s.opts++; s.opts > 1 || section != 2 {
					return 0
				}
				s.extendedRcode = packet[off+4]
				s.verdict = hasVerdict(packet[data:end])
			case section == 1 && typ == dnswire.TypeNS:
				ns = true
			case section == 1 && typ == dnswire.TypeSOA:
				soa = true
			}
			off = end
		}
	}
	s.referral = binary.BigEndian.Uint16(packet[6:]) == 0 && ns && !soa
	return off
}

// isSameName reports whether name is lower, which is as long and in lower case, in any case (RFC 4343).
func isSameName(name, lower []byte) bool {
	for i, c := range name {
		// Length octets are below 64, so folding does not touch them.
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// skipOwner returns the offset behind the name at off; 0 if there is none.
func skipOwner(packet []byte, off int) int {
	for start := off; off < len(packet) && off-start < dnswire.MaxName; {
		switch l := int(packet[off]); {
		case l == 0:
			return off + 1
		case l < 64:
			off += 1 + l
		case l >= 0xc0 && off+2 <= len(packet):
			return off + 2
		default:
			return 0
		}
	}
	return 0
}

// hasVerdict reports whether the EDNS options hold an EDE that a validator gives
// with its SERVFAIL. Another upstream that does not validate must not be asked to
// overrule it.
func hasVerdict(options []byte) bool {
	const optionEDE = 15
	for len(options) >= 4 {
		code, size := binary.BigEndian.Uint16(options), int(binary.BigEndian.Uint16(options[2:]))
		if options = options[4:]; size > len(options) {
			return false
		}
		if code == optionEDE && size >= 2 {
			if e := (dnswire.EDE{Code: binary.BigEndian.Uint16(options)}); e.IsVerdict() {
				return true
			}
		}
		options = options[size:]
	}
	return false
}
