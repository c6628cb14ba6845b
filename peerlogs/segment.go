package peerlogs

import (
	"encoding/binary"
	"net/netip"
)

// Link types whose packets are read, by their numbers (tcpdump.org/linktypes.html).
const (
	linkNull     = 0 // BSD loopback
	linkEthernet = 1
	linkRaw12    = 12 // raw IP, where systems differ in its number
	linkRaw14    = 14
	linkRaw      = 101
	linkLoop     = 108 // OpenBSD loopback
	linkSLL      = 113 // Linux cooked capture, of tcpdump -i any
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276 // the same, version 2
)

var linkTypes = map[uint32]bool{
	linkNull: true, linkEthernet: true, linkRaw12: true, linkRaw14: true, linkRaw: true, linkLoop: true, linkSLL: true, linkIPv4: true, linkIPv6: true, linkSLL2: true,
}

const linkNames = "Ethernet (1), raw IP (101), Linux cooked capture (113, 276) and loopback (0, 108)"

// A segment is what a packet has of UDP or TCP from or to port 53.
type segment struct {
	src, dst      netip.AddrPort
	tcp           bool
	seq           uint32
	syn, fin, rst bool
	data          []byte
	missing       int // octets of it that were not captured
}

// What a packet is.
type packetKind uint8

const (
	ours packetKind = iota
	notOurs
	laterFragment
)

// Numbers of protocols.
const (
	etherIPv4, etherIPv6   = 0x0800, 0x86dd
	etherVLAN, etherQinQ   = 0x8100, 0x88a8
	etherOldQinQ           = 0x9100
	etherPPPoE             = 0x8864
	pppIPv4, pppIPv6       = 0x0021, 0x0057
	protoTCP, protoUDP     = 6, 17
	protoHopByHop          = 0
	protoRouting           = 43
	protoFragment          = 44
	protoAuthentication    = 51
	protoDestination       = 60
	extensionsMost         = 8 // headers before UDP or TCP
	tagsMost               = 4 // of VLANs
	flagFIN, flagSYN       = 0x01, 0x02
	flagRST                = 0x04
	fragmentOffset, ipMore = 0x1fff, 0x2000
)

// read takes a packet apart. What is not IP, or not port 53, is not ours; neither is what is
// too short to be that.
func (s *segment) read(p *packet) packetKind {
	b := p.data
	s.missing = p.all - len(b)
	switch p.link {
	case linkEthernet:
		if len(b) < 14 {
			return notOurs
		}
		return s.ether(binary.BigEndian.Uint16(b[12:]), b[14:])
	case linkSLL:
		if len(b) < 16 {
			return notOurs
		}
		return s.ether(binary.BigEndian.Uint16(b[14:]), b[16:])
	case linkSLL2:
		if len(b) < 20 {
			return notOurs
		}
		return s.ether(binary.BigEndian.Uint16(b), b[20:])
	case linkNull, linkLoop: // the family, in some order of octets: the packet says it, too
		if len(b) < 4 {
			return notOurs
		}
		b = b[4:]
	}
	return s.ip(b)
}

// ether takes apart what follows a type of Ethernet.
func (s *segment) ether(kind uint16, b []byte) packetKind {
	for range tagsMost {
		switch kind {
		case etherVLAN, etherQinQ, etherOldQinQ:
			if len(b) < 4 {
				return notOurs
			}
			kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
			continue
		case etherPPPoE:
			if len(b) < 8 {
				return notOurs
			}
			kind, b = binary.BigEndian.Uint16(b[6:]), b[8:]
			if kind != pppIPv4 && kind != pppIPv6 {
				return notOurs
			}
			return s.ip(b)
		case etherIPv4, etherIPv6:
			return s.ip(b)
		}
		break
	}
	return notOurs
}

func (s *segment) ip(b []byte) packetKind {
	if len(b) < 20 {
		return notOurs
	}
	switch b[0] >> 4 {
	case 4:
		return s.ipv4(b)
	case 6:
		return s.ipv6(b)
	}
	return notOurs
}

// within cuts off what is behind a packet of a size, as Ethernet fills up short ones. 0 is
// a size that the network card was to fill in.
func (s *segment) within(b []byte, size int) []byte {
	switch {
	case size == 0:
	case size <= len(b):
		b, s.missing = b[:size], 0
	default:
		s.missing = size - len(b)
	}
	return b
}

func (s *segment) ipv4(b []byte) packetKind {
	head := int(b[0]&0x0f) * 4
	b = s.within(b, int(binary.BigEndian.Uint16(b[2:])))
	if head < 20 || len(b) < head {
		return notOurs
	}
	if binary.BigEndian.Uint16(b[6:])&fragmentOffset != 0 {
		return fragmentOf(b[9])
	}
	return s.transport(b[9], b[12:16], b[16:20], b[head:])
}

// fragmentOf says what a fragment behind the first is: the ports are in the first.
func fragmentOf(proto byte) packetKind {
	if proto == protoUDP || proto == protoTCP {
		return laterFragment
	}
	return notOurs
}

func (s *segment) ipv6(b []byte) packetKind {
	if len(b) < 40 {
		return notOurs
	}
	if size := int(binary.BigEndian.Uint16(b[4:])); size > 0 {
		b = s.within(b, 40+size)
	}
	if len(b) < 40 {
		return notOurs
	}
	proto, src, dst := b[6], b[8:24], b[24:40]
	b = b[40:]
	for range extensionsMost {
		size := 0
		switch proto {
		case protoUDP, protoTCP:
			return s.transport(proto, src, dst, b)
		case protoHopByHop, protoRouting, protoDestination:
			if len(b) < 8 {
				return notOurs
			}
			size = 8 + 8*int(b[1])
		case protoAuthentication:
			if len(b) < 8 {
				return notOurs
			}
			size = 8 + 4*int(b[1])
		case protoFragment:
			if len(b) < 8 {
				return notOurs
			}
			if binary.BigEndian.Uint16(b[2:])>>3 != 0 {
				return fragmentOf(b[0])
			}
			size = 8
		default:
			return notOurs
		}
		if len(b) < size {
			return notOurs
		}
		proto, b = b[0], b[size:]
	}
	return notOurs
}

func (s *segment) transport(proto byte, src, dst, b []byte) packetKind {
	head := 8
	switch {
	case proto == protoUDP && len(b) >= 8:
	case proto == protoTCP && len(b) >= 20:
		if head = int(b[12]>>4) * 4; head < 20 || len(b) < head {
			return notOurs
		}
	default:
		return notOurs
	}
	s.src = addrPort(src, binary.BigEndian.Uint16(b))
	s.dst = addrPort(dst, binary.BigEndian.Uint16(b[2:]))
	if s.src.Port() != dnsPort && s.dst.Port() != dnsPort {
		return notOurs
	}
	if proto == protoTCP {
		s.tcp, s.seq = true, binary.BigEndian.Uint32(b[4:])
		s.syn, s.fin, s.rst = b[13]&flagSYN != 0, b[13]&flagFIN != 0, b[13]&flagRST != 0
	}
	s.data = b[head:]
	return ours
}
