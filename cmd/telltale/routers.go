package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"telltale/dnswire"
)

// A routerKind is a kind of router by a name that it answers with its own address. Its
// section in docs/routers.md is called like it.
type routerKind struct {
	section string
	names   []string
}

// routerKinds are the routers whose own name is known. docs/routers.md has the sources.
var routerKinds = []routerKind{
	{"fritzbox", []string{"fritz.box"}},
	{"asus", []string{"router.asus.com"}},
	{"netgear", []string{"routerlogin.net"}},
	{"tp-link", []string{"tplinkwifi.net"}},
	{"speedport", []string{"speedport.ip"}},
	{"freebox", []string{"mafreebox.freebox.fr"}},
	{"openwrt", []string{"openwrt.lan"}},
}

// routerKindAt asks a router for the names that kinds of routers answer with their own
// address, until ctx ends, and returns the section of docs/routers.md that is about it; ""
// for unknown.
func routerKindAt(ctx context.Context, router netip.AddrPort) string {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", router.String())
	if err != nil {
		return ""
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	kinds := map[uint16]string{} // by the number of the query
	for _, k := range routerKinds {
		for _, name := range k.names {
			query, number := addressQuery(name)
			if _, err := conn.Write(query); err != nil {
				return ""
			}
			kinds[number] = k.section
		}
	}
	reply := make([]byte, 1500)
	for range kinds {
		n, err := conn.Read(reply)
		if err != nil {
			return ""
		}
		if n < dnswire.HeaderLen || reply[2]&0x80 == 0 {
			continue
		}
		if kind, ok := kinds[binary.BigEndian.Uint16(reply)]; ok && slices.Contains(answeredAddresses(reply[:n]), router.Addr()) {
			return kind
		}
	}
	return ""
}

// listedName is a name that shipped lists block, and so do others.
const listedName = "app-measurement.com"

// askAddresses asks a server for a name's IPv4 addresses; none where it does not say.
func askAddresses(ctx context.Context, server netip.AddrPort, name string) []netip.Addr {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", server.String())
	if err != nil {
		return nil
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	query, number := addressQuery(name)
	if _, err := conn.Write(query); err != nil {
		return nil
	}
	for reply := make([]byte, 1500); ; {
		n, err := conn.Read(reply)
		if err != nil {
			return nil
		}
		if n >= dnswire.HeaderLen && reply[2]&0x80 != 0 && binary.BigEndian.Uint16(reply) == number {
			return answeredAddresses(reply[:n])
		}
	}
}

// nowhere returns those of addresses that lead nowhere, as blocked names have them.
func nowhere(all []netip.Addr) (text []string) {
	for _, a := range all {
		if a.IsUnspecified() || a.IsLoopback() {
			text = append(text, a.String())
		}
	}
	return text
}

// addressQuery makes a question for a name's IPv4 addresses.
func addressQuery(name string) (query []byte, number uint16) {
	b := make([]byte, dnswire.HeaderLen, 64)
	rand.Read(b[:2])
	b[2], b[5] = 1, 1 // recursion desired, one question
	b, _ = dnswire.AppendName(b, name)
	b = binary.BigEndian.AppendUint16(b, dnswire.TypeA)
	return binary.BigEndian.AppendUint16(b, dnswire.ClassIN), binary.BigEndian.Uint16(b)
}

// answeredAddresses returns the IPv4 addresses of a reply's answer section.
func answeredAddresses(reply []byte) (all []netip.Addr) {
	questions, answers := binary.BigEndian.Uint16(reply[4:]), binary.BigEndian.Uint16(reply[6:])
	at := dnswire.HeaderLen
	for range questions {
		if at = dnswire.SkipName(reply, at) + 4; at > len(reply) {
			return nil
		}
	}
	for range answers {
		at = dnswire.SkipName(reply, at)
		if at+10 > len(reply) {
			return all
		}
		size := int(binary.BigEndian.Uint16(reply[at+8:]))
		data := at + 10
		if data+size > len(reply) {
			return all
		}
		if binary.BigEndian.Uint16(reply[at:]) == dnswire.TypeA && size == 4 {
			all = append(all, netip.AddrFrom4([4]byte(reply[data:data+4])))
		}
		at = data + size
	}
	return all
}
