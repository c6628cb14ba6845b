package offered

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
)

var asks = &client{mac: net.HardwareAddr{2, 0, 0, 0, 0, 1}, link: netip.MustParseAddr("fe80::1"), xid: [4]byte{1, 2, 3, 4}}

// answer turns a question around: it comes from another machine, with other ports.
func answer(question []byte, from netip.Addr, payload []byte) []byte {
	b := slices.Clone(question)
	copy(b[0:], asks.mac)
	copy(b[6:], net.HardwareAddr{2, 0, 0, 0, 0, 9})
	if binary.BigEndian.Uint16(b[12:]) == typeIPv4 {
		copy(b[etherLen+12:], from.AsSlice())
		binary.BigEndian.PutUint16(b[etherLen+ipv4Len:], portDHCPServer)
		binary.BigEndian.PutUint16(b[etherLen+ipv4Len+2:], portDHCPClient)
		return append(b[:etherLen+ipv4Len+udpLen], payload...)
	}
	copy(b[etherLen+8:], from.AsSlice())
	b = b[:etherLen+ipv6Len]
	if b[etherLen+6] == protoUDP {
		b = binary.BigEndian.AppendUint16(b, portDHCPv6Server)
		b = binary.BigEndian.AppendUint16(b, portDHCPv6Client)
		b = append(b, 0, 0, 0, 0)
	}
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[etherLen+4:], uint16(len(b)-etherLen-ipv6Len))
	return b
}

func offer(options ...byte) []byte {
	b := slices.Clone(asks.discover()[etherLen+ipv4Len+udpLen:])
	b[0] = 2
	return append(append(b[:bootpLen+4], options...), 255)
}

func advertisement(options ...byte) []byte {
	return append([]byte{icmpRA, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, options...)
}

func address16(text string) []byte { return netip.MustParseAddr(text).AsSlice() }

func TestReadsWhatIsHandedOut(t *testing.T) {
	router4, router6 := netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("fe80::9")
	rdnss := append([]byte{25, 5, 0, 0, 0, 0, 7, 8}, append(address16("fd00::53"), address16("fe80::9")...)...)
	over := slices.Clone(rdnss)
	over[6], over[7] = 0, 0
	reply := append([]byte{7, 2, 3, 4, 0, 23, 0, 16}, address16("2001:db8::53")...)
	for name, c := range map[string]struct {
		frame []byte
		want  []Server
	}{
		"an offer": {answer(asks.discover(), router4, offer(53, 1, 2, 54, 4, 192, 168, 1, 254, 6, 8, 192, 168, 1, 2, 8, 8, 8, 8)),
			[]Server{{Addr: netip.MustParseAddr("192.168.1.2"), From: netip.MustParseAddr("192.168.1.254")}, {Addr: netip.MustParseAddr("8.8.8.8"), From: netip.MustParseAddr("192.168.1.254")}}},
		"an offer without a DNS server": {answer(asks.discover(), router4, offer(53, 1, 2)), nil},
		"one that is cut":               {answer(asks.discover(), router4, offer(53, 1, 2, 6, 8, 192))[:etherLen+ipv4Len+udpLen+bootpLen+4+6], nil},
		"a router advertisement": {answer(asks.solicitRouters(), router6, advertisement(append([]byte{1, 1, 2, 0, 0, 0, 0, 9}, rdnss...)...)),
			[]Server{{Addr: netip.MustParseAddr("fd00::53"), Way: RouterAdvertisement, From: router6}, {Addr: router6, Way: RouterAdvertisement, From: router6}}},
		"one that takes it back":         {answer(asks.solicitRouters(), router6, advertisement(over...)), nil},
		"an option of no length":         {answer(asks.solicitRouters(), router6, advertisement(25, 0, 0, 0, 0, 0, 7, 8)), nil},
		"one from beyond the link":       {answer(asks.solicitRouters(), netip.MustParseAddr("2001:db8::1"), advertisement(rdnss...)), nil},
		"a reply of DHCPv6":              {answer(asks.askInformation(), router6, reply), []Server{{Addr: netip.MustParseAddr("2001:db8::53"), Way: DHCPv6, From: router6}}},
		"one to another":                 {answer(asks.askInformation(), router6, append([]byte{7, 9, 9, 9}, reply[4:]...)), nil},
		"a question of somebody's":       {answer(asks.discover(), router4, asks.discover()[etherLen+ipv4Len+udpLen:]), nil},
		"this client's own question":     {asks.discover(), nil},
		"nothing that has to do with it": {[]byte("short"), nil},
	} {
		got := asks.read(c.frame)
		for i := range got {
			if got[i].MAC != "02:00:00:00:00:09" {
				t.Errorf("%s: MAC %q", name, got[i].MAC)
			}
			got[i].MAC = ""
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// Each packet that is sent has the checksums that its receiver computes.
func TestChecksums(t *testing.T) {
	if ip := asks.discover()[etherLen : etherLen+ipv4Len]; sum(0, ip) != 0xffff {
		t.Errorf("IPv4 header: %x", sum(0, ip))
	}
	for _, frame := range [][]byte{asks.solicitRouters(), asks.askInformation()} {
		ip, payload := frame[etherLen:etherLen+ipv6Len], frame[etherLen+ipv6Len:]
		pseudo := append(slices.Clone(ip[8:40]), 0, 0, 0, byte(len(payload)), 0, 0, 0, ip[6])
		if got := sum(sum(0, pseudo), payload); got != 0xffff {
			t.Errorf("protocol %d: %x", ip[6], got)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(answer(asks.discover(), netip.MustParseAddr("192.168.1.1"), offer(6, 4, 8, 8, 8, 8)))
	f.Add(answer(asks.solicitRouters(), netip.MustParseAddr("fe80::9"), advertisement(25, 3, 0, 0, 0, 0, 7, 8)))
	f.Add(answer(asks.askInformation(), netip.MustParseAddr("fe80::9"), []byte{7, 2, 3, 4, 0, 23, 0, 0}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		for _, s := range asks.read(frame) {
			if !s.Addr.IsValid() || !s.From.IsValid() || s.MAC == "" {
				t.Errorf("%v", s)
			}
		}
	})
}
