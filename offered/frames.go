// Package offered asks a network which DNS servers it hands out to its devices: by DHCP
// (RFC 2131), DHCPv6 (RFC 8415) and router advertisements (RFC 8106). It asks as a device
// that joins does, and takes nothing: no address is requested.
//
// It needs raw sockets, and so root. No part of the server uses it.
package offered

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// A Way is how a DNS server is handed out.
type Way uint8

const (
	DHCP Way = iota
	DHCPv6
	RouterAdvertisement
)

// String returns the words for it.
func (w Way) String() string {
	return [...]string{"DHCP", "DHCPv6", "router advertisement"}[w]
}

// A Server is a DNS server that somebody hands out.
type Server struct {
	Addr      netip.Addr // without a zone
	Way       Way
	From      netip.Addr // who hands it out
	MAC       string     // of that
	Interface string     // on which it was heard
}

// A client is who asks.
type client struct {
	mac  net.HardwareAddr
	link netip.Addr // link-local; not valid where the interface has none
	xid  [4]byte    // DHCPv6 uses the last three
}

const (
	etherLen  = 14
	ipv4Len   = 20
	ipv6Len   = 40
	udpLen    = 8
	typeIPv4  = 0x0800
	typeIPv6  = 0x86dd
	protoUDP  = 17
	protoICMP = 58 // for IPv6

	bootpLen   = 236 // before the magic cookie
	icmpRS     = 133
	icmpRA     = 134
	optionDNS4 = 6  // of DHCP
	optionDNS6 = 23 // of DHCPv6
	optionRA   = 25 // RDNSS

	portDHCPServer, portDHCPClient     = 67, 68
	portDHCPv6Server, portDHCPv6Client = 547, 546
)

var (
	magicCookie = []byte{99, 130, 83, 99}
	broadcast   = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allRouters  = netip.MustParseAddr("ff02::2")
	allServers6 = netip.MustParseAddr("ff02::1:2")
)

// questions are the frames that ask.
func (c *client) questions() [][]byte {
	all := [][]byte{c.discover()}
	if c.link.IsValid() {
		all = append(all, c.solicitRouters(), c.askInformation())
	}
	return all
}

// discover asks all DHCP servers for an offer, to everybody.
func (c *client) discover() []byte {
	b := make([]byte, bootpLen)
	b[0], b[1], b[2] = 1, 1, 6 // a request, Ethernet, six octets
	copy(b[4:], c.xid[:])
	b[10] = 0x80 // answer to everybody: this client has no address yet
	copy(b[28:], c.mac)
	b = append(b, magicCookie...)
	b = append(b, 53, 1, 1)                     // DHCPDISCOVER
	b = append(b, 61, 7, 1)                     // client identifier
	b = append(b, c.mac...)                     //
	b = append(b, 55, 3, 1, 3, optionDNS4, 255) // mask, router, DNS servers
	for len(b) < 300 {                          // as BOOTP had it, and some servers want it
		b = append(b, 0)
	}
	ip := make([]byte, ipv4Len, ipv4Len+udpLen+len(b))
	ip[0], ip[8], ip[9] = 0x45, 64, protoUDP
	binary.BigEndian.PutUint16(ip[2:], uint16(ipv4Len+udpLen+len(b)))
	copy(ip[16:], []byte{255, 255, 255, 255})
	binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip))
	ip = binary.BigEndian.AppendUint16(ip, portDHCPClient)
	ip = binary.BigEndian.AppendUint16(ip, portDHCPServer)
	ip = binary.BigEndian.AppendUint16(ip, uint16(udpLen+len(b)))
	ip = append(ip, 0, 0) // no checksum, as RFC 768 lets
	return c.frame(broadcast, typeIPv4, append(ip, b...))
}

// solicitRouters asks all routers to advertise themselves.
func (c *client) solicitRouters() []byte {
	b := []byte{icmpRS, 0, 0, 0, 0, 0, 0, 0, 1, 1} // source link-layer address
	return c.packet6(allRouters, protoICMP, 255, append(b, c.mac...), 2)
}

// askInformation asks all DHCPv6 servers for what they tell beside addresses.
func (c *client) askInformation() []byte {
	b := []byte{11, c.xid[1], c.xid[2], c.xid[3]} // INFORMATION-REQUEST
	b = append(b, 0, 1, 0, 10, 0, 3, 0, 1)        // client identifier: DUID-LL, Ethernet
	b = append(b, c.mac...)
	b = append(b, 0, 8, 0, 2, 0, 0)          // elapsed time
	b = append(b, 0, 6, 0, 2, 0, optionDNS6) // option request
	udp := binary.BigEndian.AppendUint16(nil, portDHCPv6Client)
	udp = binary.BigEndian.AppendUint16(udp, portDHCPv6Server)
	udp = binary.BigEndian.AppendUint16(udp, uint16(udpLen+len(b)))
	udp = append(udp, 0, 0)
	return c.packet6(allServers6, protoUDP, 1, append(udp, b...), 6)
}

// packet6 puts a payload, whose checksum is at a place in it, into a packet to a group.
func (c *client) packet6(to netip.Addr, proto, hops byte, payload []byte, checksum int) []byte {
	from, group := c.link.As16(), to.As16()
	pseudo := append(from[:], group[:]...)
	pseudo = append(pseudo, 0, 0, byte(len(payload)>>8), byte(len(payload)), 0, 0, 0, proto)
	total := ^sum(sum(0, pseudo), payload)
	if total == 0 {
		total = 0xffff
	}
	binary.BigEndian.PutUint16(payload[checksum:], total)
	ip := make([]byte, 8, ipv6Len+len(payload))
	ip[0], ip[6], ip[7] = 0x60, proto, hops
	binary.BigEndian.PutUint16(ip[4:], uint16(len(payload)))
	ip = append(append(append(ip, from[:]...), group[:]...), payload...)
	return c.frame(net.HardwareAddr{0x33, 0x33, group[12], group[13], group[14], group[15]}, typeIPv6, ip)
}

func (c *client) frame(to net.HardwareAddr, kind uint16, packet []byte) []byte {
	b := append(append(make([]byte, 0, etherLen+len(packet)), to...), c.mac...)
	return append(binary.BigEndian.AppendUint16(b, kind), packet...)
}

// sum adds 16-bit words to a checksum in ones' complement (RFC 1071).
func sum(of uint16, b []byte) uint16 {
	total := uint32(of)
	for ; len(b) > 1; b = b[2:] {
		total += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		total += uint32(b[0]) << 8
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}

// read returns the DNS servers that a frame hands out to this client or to everybody.
func (c *client) read(frame []byte) []Server {
	if len(frame) < etherLen || bytes.Equal(frame[6:12], c.mac) {
		return nil
	}
	mac, packet := net.HardwareAddr(frame[6:12]).String(), frame[etherLen:]
	var all []Server
	switch binary.BigEndian.Uint16(frame[12:]) {
	case typeIPv4:
		all = c.readIPv4(packet)
	case typeIPv6:
		all = c.readIPv6(packet)
	}
	for i := range all {
		all[i].MAC = mac
	}
	return all
}

// readIPv4 reads an offer of DHCP.
func (c *client) readIPv4(packet []byte) []Server {
	if len(packet) < ipv4Len || packet[0]>>4 != 4 || packet[9] != protoUDP || binary.BigEndian.Uint16(packet[6:])&0x3fff != 0 { // a fragment
		return nil
	}
	header := int(packet[0]&15) * 4
	if header < ipv4Len || len(packet) < header+udpLen {
		return nil
	}
	from := netip.AddrFrom4([4]byte(packet[12:16]))
	udp := packet[header:]
	if binary.BigEndian.Uint16(udp) != portDHCPServer || binary.BigEndian.Uint16(udp[2:]) != portDHCPClient {
		return nil
	}
	b := udp[udpLen:]
	if len(b) < bootpLen+len(magicCookie) || b[0] != 2 || !bytes.Equal(b[4:8], c.xid[:]) || !bytes.Equal(b[28:34], c.mac) || !bytes.Equal(b[bootpLen:bootpLen+4], magicCookie) {
		return nil
	}
	var servers []byte
	for b = b[bootpLen+4:]; len(b) > 0 && b[0] != 255; {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			break
		}
		value := b[2 : 2+int(b[1])]
		switch b[0] {
		case optionDNS4:
			servers = value
		case 54:
			if len(value) == 4 {
				from = netip.AddrFrom4([4]byte(value))
			}
		}
		b = b[2+len(value):]
	}
	return appendServers(nil, from, DHCP, servers, 4)
}

// readIPv6 reads a reply of DHCPv6, or a router advertisement.
func (c *client) readIPv6(packet []byte) []Server {
	if len(packet) < ipv6Len || packet[0]>>4 != 6 {
		return nil
	}
	from := netip.AddrFrom16([16]byte(packet[8:24]))
	b := packet[ipv6Len:]
	if size := int(binary.BigEndian.Uint16(packet[4:])); size < len(b) {
		b = b[:size]
	}
	switch packet[6] {
	case protoUDP:
		if len(b) < udpLen+4 || binary.BigEndian.Uint16(b) != portDHCPv6Server || binary.BigEndian.Uint16(b[2:]) != portDHCPv6Client || b[8] != 7 || !bytes.Equal(b[9:12], c.xid[1:]) {
			return nil
		}
		return readReply(from, b[udpLen+4:])
	case protoICMP:
		if len(b) < 16 || b[0] != icmpRA || b[1] != 0 || packet[7] != 255 || !from.IsLinkLocalUnicast() { // RFC 4861, 6.1.2
			return nil
		}
		return readAdvertisement(from, b[16:])
	}
	return nil
}

// readReply reads the options of DHCPv6.
func readReply(from netip.Addr, b []byte) (all []Server) {
	for len(b) >= 4 {
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+size {
			break
		}
		if kind == optionDNS6 {
			all = appendServers(all, from, DHCPv6, b[4:4+size], 16)
		}
		b = b[4+size:]
	}
	return all
}

// readAdvertisement reads the options of a router advertisement.
func readAdvertisement(from netip.Addr, b []byte) (all []Server) {
	for len(b) >= 8 {
		size := int(b[1]) * 8
		if size == 0 || len(b) < size {
			break
		}
		if b[0] == optionRA && binary.BigEndian.Uint32(b[4:]) != 0 { // 0: not any more
			all = appendServers(all, from, RouterAdvertisement, b[8:size], 16)
		}
		b = b[size:]
	}
	return all
}

// appendServers appends the addresses, of size octets each, that b has.
func appendServers(all []Server, from netip.Addr, way Way, b []byte, size int) []Server {
	for ; len(b) >= size; b = b[size:] {
		addr, _ := netip.AddrFromSlice(b[:size])
		all = append(all, Server{Addr: addr.Unmap(), Way: way, From: from})
	}
	return all
}
