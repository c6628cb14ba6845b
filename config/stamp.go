package config

import (
	"encoding/base64"
	"strings"
)

// Kinds of DNS stamps, their first octet.
const (
	stampPlain = 0x00
	stampHTTPS = 0x02
	stampTLS   = 0x03
	stampQUIC  = 0x04
)

// otherStamps are the kinds of stamps that cannot be used, and why.
var otherStamps = map[byte]string{
	0x01: "a stamp of another kind: this one is for DNSCrypt, which Telltale does not speak. Many servers also have one for DNS over HTTPS or TLS",
	0x05: "a stamp of another kind: this one is for Oblivious DoH, which Telltale does not speak",
	0x81: "the stamp of a server: this one is of a relay for DNSCrypt",
	0x85: "the stamp of a server: this one is of a relay for Oblivious DoH",
}

const (
	badStamp = "a whole DNS stamp: sdns:// and what its server's page shows behind it"

	maxStamp     = 4096 // characters
	propertySize = 8
	hashSize     = 32
)

// parseStamp reads a DNS stamp (draft-denis-dns-stamps) behind sdns://. What it says of
// the server's properties is nobody's promise to us, and it may name resolvers to look its
// name up with, which the settings choose: neither is taken. Of a text that cannot be used,
// it returns what was expected.
func parseStamp(text string) (a ServerAddress, expected string) {
	if len(text) > maxStamp {
		return a, badStamp
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(payload) == 0 {
		return a, badStamp
	}
	if why := otherStamps[payload[0]]; why != "" {
		return a, why
	}
	if len(payload) < 1+propertySize {
		return a, badStamp
	}
	r := stampReader{rest: payload[1+propertySize:]}
	where := r.text()
	switch payload[0] {
	case stampPlain:
		if r.bad || len(r.rest) > 0 || where == "" {
			return a, badStamp
		}
		return parsePlainServer("", where)
	case stampHTTPS:
		a.Transport = "https"
	case stampTLS:
		a.Transport = "tls"
	case stampQUIC:
		a.Transport = "quic"
	default:
		return a, badStamp
	}
	a.Hashes = r.hashes()
	name := r.text()
	if a.Transport == "https" {
		path, ok := "", false
		if _, path, ok = cutPath(r.text()); !ok || strings.HasSuffix(path, byGET) {
			return ServerAddress{}, badStamp
		}
		a.Path = path
	}
	if r.bad || !a.placeStamp(where, name) {
		return ServerAddress{}, badStamp
	}
	return a, ""
}

// placeStamp sets where a stamp's server is: its address, or else its name, either of
// which may have the port.
func (a *ServerAddress) placeStamp(where, name string) (ok bool) {
	host, named, ok := parseHostPort(name, transportPorts[a.Transport])
	if !ok {
		at, isAddress := parseAddrPort(name, transportPorts[a.Transport])
		if !isAddress {
			return false
		}
		host, named = "", at
	}
	if where == "" {
		a.Host, a.AddrPort = host, named
		return true
	}
	a.Name = host
	a.AddrPort, ok = parseAddrPort(where, named.Port())
	return ok && (host != "" || a.Addr() == named.Addr())
}

// A stampReader reads the fields of a stamp.
type stampReader struct {
	rest []byte
	bad  bool // what is left is no field
}

// text reads a field of text.
func (r *stampReader) text() string {
	if len(r.rest) == 0 || int(r.rest[0]) >= len(r.rest) {
		r.bad = true
		return ""
	}
	n := 1 + int(r.rest[0])
	text := string(r.rest[1:n])
	r.rest = r.rest[n:]
	return text
}

// hashes reads a set of hashes: all but the last have the highest bit of their length set.
func (r *stampReader) hashes() (all string) {
	for more := true; more && !r.bad; {
		if len(r.rest) == 0 {
			r.bad = true
			return ""
		}
		more = r.rest[0]&0x80 != 0
		r.rest[0] &^= 0x80
		hash := r.text()
		r.bad = r.bad || hash != "" && len(hash) != hashSize
		all += hash
	}
	return all
}
