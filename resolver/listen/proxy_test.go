package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
)

// v2 returns a header of version 2.
func v2(versionCommand, family byte, rest ...byte) string {
	b := append([]byte(proxyV2), versionCommand, family)
	return string(append(binary.BigEndian.AppendUint16(b, uint16(len(rest))), rest...))
}

var (
	v2IPv4 = []byte{192, 0, 2, 1, 192, 0, 2, 2, 0xc3, 0x50, 3, 0x55}
	v2IPv6 = append(append(netip.MustParseAddr("2001:db8::1").AsSlice(), netip.MustParseAddr("2001:db8::2").AsSlice()...), 0xc3, 0x50, 3, 0x55)
)

func TestProxyHeaders(t *testing.T) {
	longest := "PROXY UNKNOWN " + strings.Repeat("f", proxyV1Longest-len("PROXY UNKNOWN \r\n")) + "\r\n"
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.1 192.0.2.2 50000 853\r\n":             "192.0.2.1:50000",
		"PROXY TCP6 2001:db8::1 2001:db8::2 50000 853\r\n":         "[2001:db8::1]:50000",
		"PROXY TCP6 ::ffff:192.0.2.1 ::1 0 65535\r\n":              "192.0.2.1:0",
		"PROXY UNKNOWN\r\n":                                        "own",
		longest:                                                    "own",
		v2(0x21, 0x11, v2IPv4...):                                  "192.0.2.1:50000",
		v2(0x21, 0x21, v2IPv6...):                                  "[2001:db8::1]:50000",
		v2(0x21, 0x11, append(bytes.Clone(v2IPv4), 4, 0, 1, 0)...): "192.0.2.1:50000", // and a TLV
		v2(0x20, 0x00):                                             "own",
		v2(0x20, 0x11, v2IPv4...):                                  "own", // LOCAL: addresses are to be ignored
		v2(0x21, 0x00):                                             "own",

		"PROXY TCP4 192.0.2.1 192.0.2.2 50000\r\n":              "refused",
		"PROXY TCP4 192.0.2.1 192.0.2.2 50000 853 1\r\n":        "refused",
		"PROXY TCP4  192.0.2.1 192.0.2.2 50000 853\r\n":         "refused",
		"PROXY TCP4 192.0.2.1 192.0.2.2 050000 853\r\n":         "refused",
		"PROXY TCP4 192.0.2.1 192.0.2.2 65536 853\r\n":          "refused",
		"PROXY TCP4 192.0.2.1 192.0.2.2 -1 853\r\n":             "refused",
		"PROXY TCP4 192.0.2.1 x 50000 853\r\n":                  "refused",
		"PROXY TCP4 2001:db8::1 192.0.2.2 50000 853\r\n":        "refused",
		"PROXY TCP6 fe80::1%eth0 2001:db8::2 50000 853\r\n":     "refused",
		"PROXY UDP4 192.0.2.1 192.0.2.2 50000 853\r\n":          "refused",
		"PROXY TCP4 192.0.2.1 192.0.2.2 50000 853\n" + "PROXY ": "refused",
		"PROXY \r\nPROXY ":                                     "refused",
		strings.Replace(longest, "f", "ff", 1):                 "refused",
		v2(0x11, 0x11, v2IPv4...):                              "refused", // version 1 in the form of 2
		v2(0x22, 0x11, v2IPv4...):                              "refused",
		v2(0x21, 0x12, v2IPv4...):                              "refused", // UDP
		v2(0x21, 0x31, make([]byte, 216)...):                   "refused", // a Unix socket
		v2(0x21, 0x11, v2IPv4[:11]...):                         "refused",
		v2(0x21, 0x21, v2IPv4...):                              "refused",
		v2(0x21, 0x11, make([]byte, proxyV2Longest+1)...):      "refused",
		"\x00\x1d\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00": "refused", // a query
	} {
		r := strings.NewReader(header + "behind")
		client, err := readProxyHeader(r)
		got := "refused"
		if err == nil {
			got = "own"
			if client.IsValid() {
				got = client.String()
			}
			if left, _ := io.ReadAll(r); string(left) != "behind" {
				t.Errorf("%q: behind it is %q", header, left)
			}
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", header, got, err, want)
		}
	}
}

// FuzzProxyHeader finds that a header is read alone, and no part of one is taken for
// the whole; and that what is read is what was written.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 50000 853\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(0x21, 0x11, v2IPv4...)))
	f.Add([]byte(v2(0x21, 0x21, append(bytes.Clone(v2IPv6), 1, 2, 3)...)))
	f.Fuzz(func(t *testing.T, octets []byte) {
		r := bytes.NewReader(octets)
		client, err := readProxyHeader(r)
		if err != nil {
			if client.IsValid() {
				t.Fatalf("%v, and it is %v", err, client)
			}
			return
		}
		header := octets[:len(octets)-r.Len()]
		again, err := readProxyHeader(bytes.NewReader(header))
		if err != nil || again != client {
			t.Fatalf("alone it is %v, %v, and was %v", again, err, client)
		}
		if _, err := readProxyHeader(bytes.NewReader(header[:len(header)-1])); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Fatalf("without its last octet: %v", err)
		}
		if !client.IsValid() {
			return
		}
		if client.Addr().Is4In6() || client.Addr().Zone() != "" {
			t.Fatalf("%v is not plain", client)
		}
		family, code := "TCP6", byte(0x21)
		if client.Addr().Is4() {
			family, code = "TCP4", 0x11
		}
		rest := append(client.Addr().AsSlice(), client.Addr().AsSlice()...)
		rest = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(rest, client.Port()), 853)
		for _, written := range []string{fmt.Sprintf("PROXY %s %v %[2]v %d 853\r\n", family, client.Addr(), client.Port()), v2(0x21, code, rest...)} {
			if got, err := readProxyHeader(strings.NewReader(written)); err != nil || got != client {
				t.Fatalf("%q is %v, %v, want %v", written, got, err, client)
			}
		}
	})
}
