package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The PROXY protocol (haproxy.org, "The PROXY protocol", versions 1 and 2): a proxy
// says in front of a connection whose it is. It is believed from trusted proxies
// alone, and they must say it: a connection of theirs without a header is refused, and
// so whoever can use a proxy that says nothing cannot pass for it.

const (
	proxyV1        = "PROXY "
	proxyV1Longest = 107 // octets, with the end of the line
	proxyV2        = "\r\n\r\n\x00\r\nQUIT\n"
	proxyV2Fixed   = 16   // octets up to the addresses
	proxyV2Longest = 4096 // octets of addresses and what else is said of a connection
)

var errProxy = errors.New("no valid header of the PROXY protocol")

// readProxyHeader reads a header, and not an octet more. client is whose connection it
// is; not valid where the proxy says that it is its own.
func readProxyHeader(r io.Reader) (client netip.AddrPort, err error) {
	var room [proxyV1Longest]byte
	head := room[:len(proxyV2)] // shorter than any header
	if _, err := io.ReadFull(r, head); err != nil {
		return client, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(proxyV1)):
		for n := len(head); !bytes.HasSuffix(room[:n], []byte("\r\n")); n++ {
			if n == len(room) {
				return client, fmt.Errorf("%w: a line without an end", errProxy)
			}
			if _, err := io.ReadFull(r, room[n:n+1]); err != nil {
				return client, err
			}
			head = room[:n+1]
		}
		return parseProxyV1(string(head[:len(head)-2]))
	case string(head) == proxyV2:
		if _, err := io.ReadFull(r, room[len(head):proxyV2Fixed]); err != nil {
			return client, err
		}
		n := int(binary.BigEndian.Uint16(room[14:]))
		if n > proxyV2Longest {
			return client, fmt.Errorf("%w: %d octets", errProxy, n)
		}
		rest := make([]byte, n)
		if _, err := io.ReadFull(r, rest); err != nil {
			return client, err
		}
		return parseProxyV2(room[12], room[13], rest)
	}
	return client, errProxy
}

// parseProxyV1 reads a line such as "PROXY TCP4 192.0.2.1 192.0.2.2 50000 853".
func parseProxyV1(line string) (client netip.AddrPort, err error) {
	words := strings.Split(line, " ")
	if len(words) >= 2 && words[1] == "UNKNOWN" {
		return client, nil // what follows is to be ignored
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return client, errProxy
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		addr, err := netip.ParseAddr(words[2+i])
		port, ok := parseProxyPort(words[4+i])
		if err != nil || !ok || addr.Zone() != "" || addr.Is4() != (words[1] == "TCP4") {
			return client, errProxy
		}
		ends[i] = netip.AddrPortFrom(addr.Unmap(), port)
	}
	return ends[0], nil
}

func parseProxyPort(text string) (port uint16, ok bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err == nil && text == strconv.FormatUint(n, 10)
}

// parseProxyV2 reads what follows the signature: version and command, family and
// transport, and the addresses with what else there is.
func parseProxyV2(versionCommand, family byte, rest []byte) (client netip.AddrPort, err error) {
	const local, proxied = 0x20, 0x21
	if versionCommand != local && versionCommand != proxied {
		return client, errProxy
	}
	if versionCommand == local {
		return client, nil // the proxy asks whether we are alive
	}
	size := 0
	switch family {
	case 0x11:
		size = 4
	case 0x21:
		size = 16
	case 0x00:
		return client, nil // it does not know
	default:
		return client, fmt.Errorf("%w: a family %#02x, which is not TCP", errProxy, family)
	}
	if len(rest) < 2*(size+2) {
		return client, errProxy
	}
	addr, _ := netip.AddrFromSlice(rest[:size])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(rest[2*size:])), nil
}

// hasProxyHeader reports whether connections from an address begin with a header.
func (l *Listeners) hasProxyHeader(addr netip.Addr) bool {
	return isAmong(l.options.ProxyProtocol, addr)
}

// proxyAccount is what connections count for of which it is not known yet whose they
// are. It is nobody's address.
var proxyAccount = netip.IPv4Unspecified()

// takeProxied reads whose a proxy's connection is, and then takes it as that one's.
func (l *Listeners) takeProxied(conn *net.TCPConn, from netip.AddrPort, take func(*net.TCPConn, netip.AddrPort)) {
	p := new(place)
	p.init(conn, func() bool { return false })
	p.account, p.isProxy = proxyAccount, true
	if !l.streams.admit(p) {
		l.stats.streamsRefused.Add(1)
		p.close()
		return
	}
	l.readers.Add(1)
	l.writers.Go(func() {
		defer l.readers.Done()
		conn.SetReadDeadline(time.Now().Add(l.streams.times.Query))
		client, err := from, errStopped
		if !l.streams.stopped.Load() {
			client, err = readProxyHeader(conn)
		}
		conn.SetReadDeadline(time.Time{})
		l.streams.remove(p)
		if err != nil {
			l.stats.proxiesRefused.Add(1)
			conn.Close()
			return
		}
		if !client.IsValid() {
			client = from
		}
		take(conn, client)
	})
}

var errStopped = errors.New("the server stops")
