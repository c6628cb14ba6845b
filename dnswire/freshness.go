package dnswire

import "encoding/binary"

// Freshness returns for how many seconds a complete reply may be kept by who holds it as
// a whole, as an HTTP cache does (RFC 8484, 5.1): the smallest TTL of its answer, and
// that of a negative answer by its SOA (RFC 2308, 5). ok is false where it must not be
// kept: failures, truncated replies, and what has no record that says for how long.
func Freshness(reply []byte) (seconds uint32, ok bool) {
	if len(reply) < HeaderLen || reply[2]&flagTC != 0 {
		return 0, false
	}
	if rcode := reply[3] & 0xf; rcode != Success && rcode != NXDomain {
		return 0, false
	}
	off := HeaderLen
	for range binary.BigEndian.Uint16(reply[4:]) {
		if off = SkipName(reply, off) + 4; off > len(reply) {
			return 0, false
		}
	}
	answers, authorities := int(binary.BigEndian.Uint16(reply[6:])), int(binary.BigEndian.Uint16(reply[8:]))
	for i := range answers + authorities {
		fixed := SkipName(reply, off)
		if fixed+10 > len(reply) {
			return 0, false
		}
		end := fixed + 10 + int(binary.BigEndian.Uint16(reply[fixed+8:]))
		if end > len(reply) {
			return 0, false
		}
		ttl := binary.BigEndian.Uint32(reply[fixed+4:])
		isSOA := i >= answers && binary.BigEndian.Uint16(reply[fixed:]) == TypeSOA && end-fixed >= 14
		if isSOA {
			ttl = min(ttl, binary.BigEndian.Uint32(reply[end-4:])) // MINIMUM is its last field
		}
		if (i < answers || isSOA) && (!ok || ttl < seconds) {
			seconds, ok = ttl, true
		}
		off = end
	}
	return seconds, ok
}

// SkipName returns where the name at off ends; beyond the message where it does not.
func SkipName(msg []byte, off int) int {
	for off < len(msg) {
		switch n := int(msg[off]); {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			return off + 2
		default:
			off += 1 + n
		}
	}
	return len(msg) + 1
}
