package dnswire

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// HeaderLen is the size of a DNS header.
const HeaderLen = 12

var (
	// ErrNotQuery means that the packet cannot be answered at all: it is
	// shorter than a header, or a response. Drop it.
	ErrNotQuery = errors.New("not a query")
	// ErrUnusual means that the packet may be legal but is not of the plain
	// shape ParseQuestion accepts; give it to a full parser.
	ErrUnusual = errors.New("unusual query")
	// ErrFormat means that the packet is a query that RFC 1035, 6891, 7873 or
	// 9619 call malformed; answer FORMERR.
	ErrFormat = errors.New("malformed query")
	// ErrOpcode means an opcode other than QUERY; answer NOTIMP.
	ErrOpcode = errors.New("opcode not implemented")
	// ErrVersion means an EDNS version above 0; answer BADVERS (RFC 6891,
	// 6.1.3). The question is complete.
	ErrVersion = errors.New("EDNS version not implemented")
	// ErrCookieOnly means a query without question that carries a COOKIE option
	// (RFC 7873, 5.4).
	ErrCookieOnly = errors.New("cookie-only query")
)

// minUDPSize is what every client can receive over UDP (RFC 1035, 2.3.4).
const minUDPSize = 512

// EDNS option codes.
const (
	optionCookie    = 10 // RFC 7873
	optionKeepalive = 11 // RFC 7828
	optionPadding   = 12 // RFC 7830
	optionEDE       = 15 // RFC 8914
)

// A Question is the part of a query that decides its answer.
type Question struct {
	ID      uint16
	Name    Name
	Type    uint16
	Class   uint16
	UDPSize uint16 // what the client can receive; 512 without EDNS
	EDNS    bool   // the client sent an OPT record, so the reply must have one
	DO      bool   // client wants DNSSEC records (RFC 3225)
	CD      bool   // client validates itself (RFC 4035)
	AD      bool   // client wants to know of validation (RFC 6840)
	RD      bool

	AsksKeepalive bool // the client sent edns-tcp-keepalive (RFC 7828)
	HasPadding    bool // the query was padded, so the reply may be (RFC 7830)

	// Forwarding is the options of the OPT record where some say whose query a forwarder
	// passes on, for ReadForwarded; else nil. It is part of the packet, also after Detach.
	Forwarding []byte

	// What the reply to a client with EDNS has in its OPT beside the cookie and the
	// error. ParseQuestion clears both.
	Keepalive uint16 // how long the connection may be idle, in units of 100 ms; 0: not said
	PadTo     uint16 // the reply's size is made a multiple of it; 0: not padded

	// View is the number of the servers that answer the client where those are not the ones
	// that everybody is answered by; 0: they are. No packet says it: ParseQuestion clears it.
	View uint8

	cookie    [40]byte // the COOKIE option as sent
	cookieLen uint8
	raw       []byte // the question section as sent, so a reply can echo its case
}

// Detach makes q independent of the packet it was parsed from.
func (q *Question) Detach() { q.raw = bytes.Clone(q.raw) }

// Cookie returns the client's COOKIE option (RFC 7873), 8 or 16 to 40 octets;
// nil if it sent none.
func (q *Question) Cookie() []byte { return q.cookie[:q.cookieLen] }

// ParseQuestion fills q from packet, and keeps referring to packet until
// Detach is called. On ErrFormat, ErrOpcode, ErrVersion and ErrCookieOnly, q
// holds what AppendError needs.
func ParseQuestion(packet []byte, q *Question) error {
	if len(packet) < HeaderLen || packet[2]&0x80 != 0 {
		return ErrNotQuery
	}
	q.ID = binary.BigEndian.Uint16(packet)
	q.RD = packet[2]&1 != 0
	q.AD, q.CD = packet[3]&0x20 != 0, packet[3]&0x10 != 0
	q.UDPSize, q.EDNS, q.DO, q.cookieLen = minUDPSize, false, false, 0
	q.AsksKeepalive, q.HasPadding, q.Keepalive, q.PadTo, q.View = false, false, 0, 0, 0
	q.raw, q.Forwarding, q.Type, q.Class = nil, nil, 0, 0

	if packet[2]>>3&0xf != 0 {
		return ErrOpcode
	}
	qd, an := binary.BigEndian.Uint16(packet[4:]), binary.BigEndian.Uint16(packet[6:])
	ns, ar := binary.BigEndian.Uint16(packet[8:]), binary.BigEndian.Uint16(packet[10:])
	switch {
	case qd == 0 && an == 0 && ns == 0 && ar == 1:
		if err := q.parseOPT(packet[HeaderLen:]); err != nil || q.cookieLen == 0 {
			return ErrFormat
		}
		return ErrCookieOnly
	case qd != 1:
		return ErrFormat // RFC 9619
	case an != 0 || ns != 0 || ar > 1:
		return ErrUnusual
	}
	off, err := q.Name.Read(packet, HeaderLen)
	if err != nil {
		return ErrUnusual
	}
	if len(packet) < off+4 {
		return ErrFormat
	}
	q.Type = binary.BigEndian.Uint16(packet[off:])
	q.Class = binary.BigEndian.Uint16(packet[off+2:])
	q.raw = packet[HeaderLen : off+4]
	if ar == 0 {
		if len(packet) != off+4 {
			return ErrUnusual
		}
		return nil
	}
	return q.parseOPT(packet[off+4:])
}

// parseOPT accepts one OPT record and nothing behind it (RFC 6891, 6.1.2).
// Options not known here are checked for their framing and ignored.
func (q *Question) parseOPT(rest []byte) error {
	if len(rest) < 11 || rest[0] != 0 || binary.BigEndian.Uint16(rest[1:]) != TypeOPT {
		return ErrUnusual
	}
	if len(rest) != 11+int(binary.BigEndian.Uint16(rest[9:])) {
		return ErrUnusual
	}
	q.EDNS = true
	q.UDPSize = max(minUDPSize, binary.BigEndian.Uint16(rest[3:]))
	q.DO = rest[7]&0x80 != 0
	if rest[6] != 0 {
		return ErrVersion
	}
	options := rest[11:]
	for rest = options; len(rest) > 0; {
		if len(rest) < 4 {
			return ErrFormat
		}
		code, n := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+n {
			return ErrFormat
		}
		switch {
		case code == optionCookie && q.cookieLen == 0: // of several, the first counts
			if n != 8 && (n < 16 || n > 40) {
				return ErrFormat
			}
			q.cookieLen = uint8(copy(q.cookie[:], rest[4:4+n]))
		case code == optionKeepalive:
			q.AsksKeepalive = true
		case code == optionPadding:
			q.HasPadding = true
		case code == optionSubnet || code == optionMAC || code == optionMACText || code == optionCPE:
			q.Forwarding = options
		}
		rest = rest[4+n:]
	}
	return nil
}
