package config

import (
	"encoding/base64"
	"strings"
	"testing"
)

// stampOf makes a stamp of a kind, without properties, of fields that have their lengths in
// front.
func stampOf(kind byte, fields ...string) string {
	return "sdns://" + base64.RawURLEncoding.EncodeToString([]byte(string(kind)+strings.Repeat("\x00", propertySize)+strings.Join(fields, "")))
}

func lp(text string) string { return string(rune(len(text))) + text }

func TestStamps(t *testing.T) {
	one, two := strings.Repeat("\x11", hashSize), strings.Repeat("\x22", hashSize)
	for _, test := range []struct {
		name, stamp string
		want        string // "": it is refused
		hashes      string
	}{
		// The first is the draft's example.
		{"plain", "sdns://AAEAAAAAAAAACjE5Mi4wLjIuNTM", "192.0.2.53:53", ""},
		{"plain, IPv6", stampOf(0, lp("[2001:db8::1]")), "[2001:db8::1]:53", ""},
		{"plain with a port", stampOf(0, lp("192.0.2.1:5353")), "192.0.2.1:5353", ""},
		{"HTTPS by name", stampOf(2, lp(""), lp(""), lp("dns.example.com"), lp("/dns-query")), "https://dns.example.com:443/dns-query", ""},
		{"HTTPS with an address", stampOf(2, lp("192.0.2.1"), lp(""), lp("dns.example.com"), lp("/q")), "https://192.0.2.1:443/q#dns.example.com", ""},
		{"HTTPS with an address and a port", stampOf(2, lp("192.0.2.1:8443"), lp(""), lp("dns.example.com"), lp("/q")), "https://192.0.2.1:8443/q#dns.example.com", ""},
		{"the port is the name's", stampOf(2, lp("192.0.2.1"), lp(""), lp("dns.example.com:8443"), lp("/q")), "https://192.0.2.1:8443/q#dns.example.com", ""},
		{"hashes", stampOf(2, lp(""), "\xa0"+one, "\x20"+two, lp("dns.example.com"), lp("/dns-query")), "https://dns.example.com:443/dns-query", one + two},
		{"with resolvers for its name", stampOf(2, lp(""), lp(""), lp("dns.example.com"), lp("/dns-query"), lp("192.0.2.9")), "https://dns.example.com:443/dns-query", ""},
		{"TLS", stampOf(3, lp("[2001:db8::1]"), lp(one), lp("dns.example.com")), "tls://[2001:db8::1]:853#dns.example.com", one},
		{"TLS for an address", stampOf(3, lp("192.0.2.1"), lp(""), lp("192.0.2.1")), "tls://192.0.2.1:853", ""},
		{"QUIC", stampOf(4, lp(""), lp(""), lp("dns.example.com:8853")), "quic://dns.example.com:8853", ""},
		{"a name that is not ASCII", stampOf(3, lp("192.0.2.1"), lp(""), lp("bücher.example")), "tls://192.0.2.1:853#xn--bcher-kva.example", ""},
		{"DNSCrypt", stampOf(1, lp("192.0.2.1"), lp(one), lp("2.dnscrypt-cert.example.com")), "", ""},
		{"Oblivious DoH", stampOf(5, lp("dns.example.com"), lp("/dns-query")), "", ""},
		{"a relay", "sdns://gQ4xOTIuMC4yLjE6NDQz", "", ""},
		{"a kind that there is not", stampOf(9, lp("192.0.2.1")), "", ""},
		{"nothing", "sdns://", "", ""},
		{"no base64", "sdns://!!!!", "", ""},
		{"cut", stampOf(2, lp(""), lp(""), lp("dns.example.com"), "\x0a/dns"), "", ""},
		{"a short hash", stampOf(3, lp("192.0.2.1"), lp("abc"), lp("dns.example.com")), "", ""},
		{"hashes without an end", stampOf(3, lp("192.0.2.1"), "\xa0"+one), "", ""},
		{"no path", stampOf(2, lp(""), lp(""), lp("dns.example.com"), lp("")), "https://dns.example.com:443/dns-query", ""},
		{"a name for an address", stampOf(3, lp("other.example"), lp(""), lp("dns.example.com")), "", ""},
		{"two addresses", stampOf(3, lp("192.0.2.1"), lp(""), lp("192.0.2.2")), "", ""},
		{"no name", stampOf(3, lp("192.0.2.1"), lp(""), lp("")), "", ""},
		{"something behind", stampOf(0, lp("192.0.2.1"), lp("x")), "", ""},
		{"too long", "sdns://" + strings.Repeat("A", maxStamp+1), "", ""},
	} {
		a, expected := parseServerAddress(test.stamp)
		if test.want == "" {
			if expected == "" || a.IsSet() {
				t.Errorf("%s: got %v, want it refused", test.name, a)
			}
			continue
		}
		if expected != "" || a.String() != test.want || a.Hashes != test.hashes {
			t.Errorf("%s: got %v with hashes %x (expected %q), want %s with %x", test.name, a, a.Hashes, expected, test.want, test.hashes)
		}
	}
}

// What is read can be written, and read again as the same.
func FuzzServerAddress(f *testing.F) {
	for _, text := range []string{
		"192.0.2.1", "[2001:db8::1]:5353", "tls://192.0.2.1#dns.example", "https://dns.example/dns-query{?dns}", "quic://dns.example:8853", "h3://[fe80::1%25eth0]/q",
		"sdns://AAEAAAAAAAAACjE5Mi4wLjIuNTM", stampOf(2, lp(""), lp(strings.Repeat("\x11", hashSize)), lp("dns.example.com"), lp("/dns-query")),
		stampOf(3, lp("192.0.2.1"), lp(""), lp("dns.example.com")),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, expected := parseServerAddress(text)
		if (expected == "") != a.IsSet() {
			t.Fatalf("%q: got %+v, but expected %q", text, a, expected)
		}
		if expected != "" {
			return
		}
		again, expected := parseServerAddress(a.String())
		again.Hashes = a.Hashes
		if expected != "" || again != a {
			t.Fatalf("%q is %q, which is %+v (expected %q), want %+v", text, a, again, expected, a)
		}
	})
}
