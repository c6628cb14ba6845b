package dnswire

import (
	"encoding/binary"
	"net/netip"
)

// collectSVCB reads the target and the address hints of an SVCB or HTTPS record
// (RFC 9460, 2.2).
func (s *Sanitizer) collectSVCB(data []byte) error {
	if len(data) < 3 {
		return ErrReply
	}
	off, err := s.name.Read(data, 2)
	if err != nil {
		return ErrReply
	}
	if s.name.Labels() > 0 {
		s.out.Aliases = append(s.out.Aliases, s.name.Wire()...)
	}
	const ipv4hint, ipv6hint = 4, 6
	for data = data[off:]; len(data) >= 4; {
		key, n := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if len(data) < 4+n {
			return ErrReply
		}
		size := 0
		switch key {
		case ipv4hint:
			size = 4
		case ipv6hint:
			size = 16
		}
		for v := data[4 : 4+n]; size > 0 && len(v) >= size; v = v[size:] {
			a, _ := netip.AddrFromSlice(v[:size])
			s.out.Addresses = append(s.out.Addresses, a)
		}
		data = data[4+n:]
	}
	if len(data) != 0 {
		return ErrReply
	}
	return nil
}

// checkNames checks the names in r's data that may be compressed, so that none
// is passed on that a client could stumble over.
func (s *Sanitizer) checkNames(r *record) error {
	off, names, behind, ok := s.namesIn(r)
	if !ok {
		return ErrReply
	}
	for range names {
		var err error
		if off, err = readName(s.msg, off, &s.name); err != nil {
			return ErrReply
		}
	}
	if names > 0 && off+behind != r.end {
		return ErrReply
	}
	return nil
}

// namesIn returns where in r's data the names begin that may be compressed
// (RFC 3597, 4), how many there are, and how many octets follow them.
func (s *Sanitizer) namesIn(r *record) (off, names, behind int, ok bool) {
	before := 0
	switch r.typ {
	case TypeNS, TypeCNAME, TypePTR, TypeDNAME, 3, 4, 7, 8, 9: // ..., MD, MF, MB, MG, MR
		names = 1
	case TypeSOA:
		names, behind = 2, 5*4
	case 14, 17: // MINFO, RP
		names = 2
	case TypeMX, 18, 21, 36: // AFSDB, RT, KX
		before, names = 2, 1
	case TypeSRV:
		before, names = 6, 1
	case 26: // PX
		before, names = 2, 2
	case 35: // NAPTR: order, preference, then three strings
		before, names = 4, 1
		for range 3 {
			if r.data+before >= r.end {
				return 0, 0, 0, false
			}
			before += 1 + int(s.msg[r.data+before])
		}
	}
	off = r.data + before
	return off, names, behind, off <= r.end
}
