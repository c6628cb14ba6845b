// Package dnswire reads questions from, and writes replies to, DNS packets
// without allocating. It knows the framing of RFC 1035, RFC 6891 and RFC 8914
// and nothing about policy.
package dnswire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxName is the longest domain name on the wire, the root label included
// (RFC 1035, 3.1).
const MaxName = 255

// ErrName means that a name is not a legal domain name: a label is empty or
// over 63 octets, the whole is over 255, or an escape is not RFC 1035's.
var ErrName = errors.New("not a domain name")

// A Name is a lower-cased, uncompressed wire-format domain name, held by value
// so that it costs no allocation. Its zero value is not a name. Compare two
// names by Equal, never by ==: what lies behind the last label is left over
// from earlier use.
type Name struct {
	len    uint8
	labels uint8
	starts [128]uint8 // offset of each label's length octet, the root's excluded
	buf    [MaxName]byte
}

// Root returns the name of the root.
func Root() Name { return Name{len: 1} }

// Wire returns the name's octets, including the final root label. They stay
// valid until n is set again.
func (n *Name) Wire() []byte { return n.buf[:n.len] }

// Labels returns the number of labels, the root not counted.
func (n *Name) Labels() int { return int(n.labels) }

// Starts returns where in Wire each label begins, the root's excluded.
func (n *Name) Starts() []uint8 { return n.starts[:n.labels] }

// Suffix returns the wire form of the last k labels and the root.
func (n *Name) Suffix(k int) []byte {
	if k >= int(n.labels) {
		return n.Wire()
	}
	if k <= 0 {
		return n.buf[n.len-1 : n.len]
	}
	return n.buf[n.starts[int(n.labels)-k]:n.len]
}

// PortOwner returns NAME of _PORT._https.NAME, by which HTTPS and SVCB records for
// another port than the usual one are asked for (RFC 9460, 2.3); ok is false for
// every other name.
func (n *Name) PortOwner() (owner Name, ok bool) {
	const https = "\x06_https"
	w := n.Wire()
	if w[0] < 2 || w[1] != '_' || n.Labels() < 3 {
		return owner, false
	}
	for _, c := range w[2 : 1+w[0]] {
		if c < '0' || c > '9' {
			return owner, false
		}
	}
	rest := w[1+w[0]:]
	if !bytes.HasPrefix(rest, []byte(https)) {
		return owner, false
	}
	_, err := owner.Read(rest, len(https))
	return owner, err == nil
}

// Equal reports whether both are the same name.
func (n *Name) Equal(m *Name) bool { return bytes.Equal(n.Wire(), m.Wire()) }

// String returns the name in presentation form, in lower case and without the
// trailing dot; the root is ".".
func (n *Name) String() string { return string(AppendText(nil, n.Wire())) }

// Set reads a name in presentation form (RFC 1035, 5.1, with its escapes); a
// trailing dot is optional.
func (n *Name) Set(s string) error {
	b, err := AppendName(n.buf[:0:0], s)
	if err != nil {
		return err
	}
	_, err = n.Read(b, 0)
	return err
}

// ParseName is Set on a new Name.
func ParseName(s string) (n Name, err error) {
	err = n.Set(s)
	return n, err
}

// Read sets n to the uncompressed name that begins at packet[off] and returns
// the offset behind it. A compression pointer, as well as a name that is cut
// short or too long, is ErrName.
func (n *Name) Read(packet []byte, off int) (end int, err error) {
	start, labels := off, 0
	for off < len(packet) {
		l := int(packet[off])
		if l == 0 {
			size := off - start + 1
			n.len, n.labels = uint8(size), uint8(labels)
			n.setLower(packet[start:], size)
			return off + 1, nil
		}
		if l > 63 || off+1+l > len(packet) || off+1+l-start >= MaxName {
			return 0, ErrName
		}
		n.starts[labels] = uint8(off - start)
		labels++
		off += 1 + l
	}
	return 0, ErrName
}

// setLower copies size octets of a name, in lower case, and what follows them as far as a
// word of eight octets reaches. No length of a label is a letter.
func (n *Name) setLower(from []byte, size int) {
	i := 0
	for ; i < size && i+8 <= len(from) && i+8 <= len(n.buf); i += 8 {
		binary.LittleEndian.PutUint64(n.buf[i:], lowerWord(binary.LittleEndian.Uint64(from[i:])))
	}
	for ; i < size; i++ {
		c := from[i]
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		n.buf[i] = c
	}
}

// lowerWord makes those of eight octets that are capital letters of ASCII small ones.
func lowerWord(w uint64) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	low := w &^ high
	// The highest bit of each octet says whether it is 'A' or above, and above 'Z'.
	capital := (low + ones*(0x80-'A')) &^ (low + ones*(0x80-'Z'-1)) & ^w & high
	return w | capital>>2
}

// AppendName appends the wire form of a name in presentation form, lower-cased,
// with the root label.
func AppendName(dst []byte, s string) ([]byte, error) {
	if s == "." {
		return append(dst, 0), nil
	}
	start, at := len(dst), len(dst)
	dst = append(dst, 0) // the first label's length, known at its end
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			if l := len(dst) - at - 1; l == 0 || l > 63 {
				return dst, fmt.Errorf("%w: %q has a label of %d octets", ErrName, s, l)
			}
			dst[at] = byte(len(dst) - at - 1)
			at = len(dst)
			dst = append(dst, 0)
			continue
		case c == '\\':
			if i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]) {
				v := int(s[i+1]-'0')*100 + int(s[i+2]-'0')*10 + int(s[i+3]-'0')
				if v > 255 {
					return dst, fmt.Errorf("%w: %q has a bad escape", ErrName, s)
				}
				c = byte(v)
				i += 3
			} else if i+1 < len(s) && !isDigit(s[i+1]) {
				i++
				c = s[i]
			} else {
				return dst, fmt.Errorf("%w: %q has a bad escape", ErrName, s)
			}
		}
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	if l := len(dst) - at - 1; l > 63 || l == 0 && at == start {
		return dst, fmt.Errorf("%w: %q has a label of %d octets", ErrName, s, l)
	} else if l > 0 { // no trailing dot
		dst[at] = byte(l)
		dst = append(dst, 0)
	}
	if len(dst)-start > MaxName {
		return dst, fmt.Errorf("%w: %q is over 255 octets", ErrName, s)
	}
	return dst, nil
}

// AppendText appends the presentation form of an uncompressed wire-format name,
// without trailing dot; the root is ".". Octets that are not printable ASCII,
// and dots and backslashes within a label, are escaped (RFC 4343, 2.1). Of a
// wire that is not a name, it appends as much as can be read.
func AppendText(dst, wire []byte) []byte {
	if len(wire) == 0 || wire[0] == 0 {
		return append(dst, '.')
	}
	for off := 0; off < len(wire) && wire[off] != 0; {
		if off > 0 {
			dst = append(dst, '.')
		}
		end := min(off+1+int(wire[off]), len(wire))
		for _, c := range wire[off+1 : end] {
			switch {
			case c == '.' || c == '\\':
				dst = append(dst, '\\', c)
			case c <= ' ' || c >= 0x7f:
				dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
			default:
				dst = append(dst, c)
			}
		}
		off = end
	}
	return dst
}

func isDigit(c byte) bool { return c-'0' < 10 }
