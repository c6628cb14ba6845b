package listen

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// neighbourMessage is an entry of the kernel's table of neighbours with these
// attributes.
func neighbourMessage(kind, state uint16, attributes ...[]byte) *syscall.NetlinkMessage {
	data := make([]byte, unix.SizeofNdMsg)
	binary.NativeEndian.PutUint16(data[8:], state)
	return &syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: append(data, slices.Concat(attributes...)...)}
}

// attribute is a struct rtattr with its padding.
func attribute(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestNeighbourOfAMessage(t *testing.T) {
	mac := attribute(unix.NDA_LLADDR, 2, 0, 0, 0, 0, 1) // six octets: padded
	four := attribute(unix.NDA_DST, 192, 0, 2, 7)
	six := attribute(unix.NDA_DST, netip.MustParseAddr("2001:db8::7").AsSlice()...)
	mapped := attribute(unix.NDA_DST, netip.MustParseAddr("::ffff:192.0.2.7").AsSlice()...)
	cut := neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_REACHABLE)
	cut.Data = cut.Data[:unix.SizeofNdMsg-1]
	for _, test := range []struct {
		name    string
		message *syscall.NetlinkMessage
		want    string // "" for none
	}{
		{"IPv4", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_REACHABLE, four), "192.0.2.7"},
		{"IPv6 behind another attribute", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_STALE, mac, six), "2001:db8::7"},
		{"IPv4 in IPv6", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_PERMANENT, mapped), "192.0.2.7"},
		{"without a state", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_NONE, four), ""},
		{"asked for and not found yet", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_INCOMPLETE, four), ""},
		{"not found", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_FAILED, four), ""},
		{"another message", neighbourMessage(unix.RTM_DELNEIGH, unix.NUD_REACHABLE, four), ""},
		{"without an address", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_REACHABLE, mac), ""},
		{"an address of five octets", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_REACHABLE, attribute(unix.NDA_DST, 1, 2, 3, 4, 5)), ""},
		{"an attribute longer than the message", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_REACHABLE, four[:6]), ""},
		{"an attribute shorter than its head", neighbourMessage(unix.RTM_NEWNEIGH, unix.NUD_REACHABLE, []byte{1, 0, 1, 0}, four), ""},
		{"cut", cut, ""},
	} {
		addr, ok := neighbourOf(test.message)
		got := ""
		if ok {
			got = addr.String()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
