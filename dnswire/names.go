package dnswire

// maxJumps bounds the compression pointers of one name. A name in ip6.arpa may
// need 34; without a bound, pointers to pointers would make a reply of 64 KiB
// cost millions of steps.
const maxJumps = 64

// checkName returns the offset behind the name at off. It is an error where
// readName would find one: a message with a name that leads nowhere is malformed
// wherever it stands.
func checkName(msg []byte, off int) (end int, err error) {
	size, limit, jumps := 0, off, 0
	for off < len(msg) {
		switch l := int(msg[off]); {
		case l == 0:
			if end == 0 {
				end = off + 1
			}
			return end, nil
		case l < 64:
			if size += 1 + l; off+1+l > len(msg) || size >= MaxName {
				return 0, ErrReply
			}
			off += 1 + l
		case l >= 0xc0 && off+1 < len(msg):
			to := l&0x3f<<8 | int(msg[off+1])
			if end == 0 {
				end = off + 2
				if to == HeaderLen && size == 0 && limit > to {
					return end, nil // the question's name, which was checked before
				}
			}
			if jumps++; to >= limit || jumps > maxJumps {
				return 0, ErrReply
			}
			off, limit = to, to
		default:
			return 0, ErrReply
		}
	}
	return 0, ErrReply
}

// readName sets n to the name at off, following compression pointers, which must
// point to before where the name they belong to begins, and returns the offset
// behind it. So a name costs at most MaxName octets and maxJumps jumps, whatever
// the message.
func readName(msg []byte, off int, n *Name) (end int, err error) {
	var flat [MaxName]byte
	size, end, err := Flatten(msg, off, &flat)
	if err == nil {
		_, err = n.Read(flat[:size], 0)
	}
	if err != nil {
		return 0, ErrReply
	}
	return end, nil
}

// Flatten puts the name at off into flat, uncompressed and in the case in which it was sent, and returns
// its size and the offset behind it. It follows compression pointers as readName does.
func Flatten(msg []byte, off int, flat *[MaxName]byte) (size, end int, err error) {
	limit, jumps := off, 0
	for off < len(msg) {
		switch l := int(msg[off]); {
		case l == 0:
			flat[size] = 0
			if end == 0 {
				end = off + 1
			}
			return size + 1, end, nil
		case l < 64:
			if off+1+l > len(msg) || size+1+l >= MaxName {
				return 0, 0, ErrReply
			}
			size += copy(flat[size:], msg[off:off+1+l])
			off += 1 + l
		case l >= 0xc0 && off+1 < len(msg):
			to := l&0x3f<<8 | int(msg[off+1])
			if jumps++; to >= limit || jumps > maxJumps {
				return 0, 0, ErrReply
			}
			if end == 0 {
				end = off + 2
			}
			off, limit = to, to
		default:
			return 0, 0, ErrReply
		}
	}
	return 0, 0, ErrReply
}

// readsTo is readName for when only success matters.
func readsTo(msg []byte, off int, n *Name) bool {
	_, err := readName(msg, off, n)
	return err == nil
}

// equalName reports whether the name at off is wire, a lower-cased name.
func equalName(msg []byte, off int, wire []byte) bool {
	limit, jumps := off, 0
	for len(wire) > 0 && off < len(msg) {
		l := int(msg[off])
		if l >= 0xc0 {
			if off+1 >= len(msg) {
				return false
			}
			to := l&0x3f<<8 | int(msg[off+1])
			if jumps++; to >= limit || jumps > maxJumps {
				return false
			}
			off, limit = to, to
			continue
		}
		if l > 63 || l != int(wire[0]) || off+1+l > len(msg) {
			return false
		}
		if l == 0 {
			return true
		}
		for i, c := range msg[off+1 : off+1+l] {
			if c-'A' < 26 {
				c += 'a' - 'A'
			}
			if c != wire[1+i] {
				return false
			}
		}
		off += 1 + l
		wire = wire[1+l:]
	}
	return false
}

// isBelow reports whether n is a proper subdomain of zone.
func isBelow(n, zone *Name) bool {
	return n.Labels() > zone.Labels() && string(n.Suffix(zone.Labels())) == string(zone.Wire())
}
