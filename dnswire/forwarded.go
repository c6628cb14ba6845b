package dnswire

import (
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/netip"
)

// EDNS options by which a forwarder says whose query it passes on. The last three have
// numbers of the range for local use (RFC 6891, 9), as dnsmasq sends them.
const (
	optionSubnet  = 8     // RFC 7871
	optionMAC     = 65001 // a MAC as six octets
	optionMACText = 65073 // a MAC as text, in hexadecimal or in base64
	optionCPE     = 65074 // what the forwarder calls itself
)

// A Forwarded is what a forwarder says of the client whose query it passes on.
type Forwarded struct {
	MAC    [6]byte
	HasMAC bool
	Addr   netip.Addr // the client's whole address; not valid where none was said
	CPE    []byte     // what the forwarder calls itself; it refers to the packet
}

// ReadForwarded reads Question.Forwarding. Of several options of a kind the first counts,
// and what is malformed is left out.
func ReadForwarded(options []byte) (f Forwarded) {
	for len(options) >= 4 {
		code, n := binary.BigEndian.Uint16(options), int(binary.BigEndian.Uint16(options[2:]))
		if len(options) < 4+n {
			return f
		}
		f.add(code, options[4:4+n])
		options = options[4+n:]
	}
	return f
}

func (f *Forwarded) add(code uint16, b []byte) {
	switch {
	case code == optionMAC && !f.HasMAC && len(b) == 6:
		f.HasMAC = copy(f.MAC[:], b) == 6
	case code == optionMACText && !f.HasMAC:
		f.HasMAC = readMAC(&f.MAC, b)
	case code == optionSubnet && !f.Addr.IsValid():
		f.Addr = wholeSubnet(b)
	case code == optionCPE && f.CPE == nil && len(b) <= 63:
		f.CPE = b
	}
}

// readMAC reads a MAC in hexadecimal with separators, or in base64.
func readMAC(mac *[6]byte, text []byte) bool {
	if len(text) == base64.StdEncoding.EncodedLen(6) {
		n, err := base64.StdEncoding.Decode(mac[:], text)
		return err == nil && n == 6
	}
	if len(text) != len("00:00:00:00:00:00") {
		return false
	}
	hw, err := net.ParseMAC(string(text))
	return err == nil && copy(mac[:], hw) == 6
}

// wholeSubnet returns the address of a client subnet that is one.
func wholeSubnet(b []byte) netip.Addr {
	if len(b) < 4 {
		return netip.Addr{}
	}
	family, bits := binary.BigEndian.Uint16(b), int(b[2])
	addr, ok := netip.AddrFromSlice(b[4:])
	if !ok || bits != addr.BitLen() || addr.Is4() != (family == 1) || !addr.Is4() && family != 2 || addr.Is4In6() {
		return netip.Addr{}
	}
	return addr
}
