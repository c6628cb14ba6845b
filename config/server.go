package config

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A ServerAddress is where a resolver is, and how it is asked.
type ServerAddress struct {
	netip.AddrPort        // of one with a Host only the port
	Router         bool   // it is the default gateway, and AddrPort has the port alone
	Transport      string // "" (UDP, and TCP where that is needed), "tcp", "tls", "https", "h3" or "quic"
	Host           string // its name, where the setting has no address; "" else
	Name           string // what its certificate must be for; "": Host, or the address
	Path           string // of https and h3: path and query, perhaps with {?dns} at the end
	Hashes         string // of a stamp: SHA-256 of certificates, 32 octets each, one of which must be there; "" for any
}

// String returns what parseServerAddress reads. Hashes have no place in it.
func (a ServerAddress) String() string {
	where := a.AddrPort.String()
	if a.Router {
		where = routerWord
		if a.Port() != 53 {
			where += ":" + strconv.Itoa(int(a.Port()))
		}
	}
	if a.Host != "" {
		where = a.Host + ":" + strconv.Itoa(int(a.Port()))
	}
	if a.Transport == "" {
		return where
	}
	text := a.Transport + "://" + where + a.Path
	if a.Name != "" {
		text += "#" + a.Name
	}
	return text
}

// MarshalJSON returns a with all its fields. AddrPort's MarshalText, which would be used else, has only its own.
func (a ServerAddress) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Server string
		Hashes []byte `json:",omitempty"`
	}{a.String(), []byte(a.Hashes)})
}

// IsSet reports whether there is an address or a name.
func (a ServerAddress) IsSet() bool { return a.IsValid() || a.Host != "" || a.Router }

// routerWord stands for the address of the default gateway.
const routerWord = "router"

// transportPorts are the ports of transports by encryption (RFC 7858, RFC 8484, RFC 9114, RFC 9250).
var transportPorts = map[string]uint16{"tls": 853, "https": 443, "h3": 443, "quic": 853}

// serverForms are the ways to write a server.
const serverForms = "ADDRESS:PORT such as 192.0.2.1:53 or [2001:db8::1]:53, router for the default gateway, or a URL such as tcp://ADDRESS, tls://ADDRESS#NAME, tls://NAME, https://NAME/dns-query, h3://NAME/dns-query, quic://NAME or sdns://STAMP"

// parseServerAddress reads ADDRESS:PORT, or a URL: udp://ADDRESS:PORT, tcp://ADDRESS:PORT,
// tls:// or quic:// with ADDRESS:PORT#NAME or NAME:PORT, https:// or h3:// with the same and
// a path before #, or a stamp. Of a text that cannot be one, it returns what was expected.
func parseServerAddress(text string) (a ServerAddress, expected string) {
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		return parsePlainServer("", text)
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "udp":
		return parsePlainServer("", rest)
	case "tcp":
		return parsePlainServer(scheme, rest)
	case "sdns":
		return parseStamp(rest)
	}
	port, known := transportPorts[scheme]
	if !known {
		return a, serverForms
	}
	a.Transport = scheme
	rest, name, named := strings.Cut(rest, "#")
	ok := true
	if scheme == "https" || scheme == "h3" {
		if rest, a.Path, ok = cutPath(rest); !ok {
			return ServerAddress{}, "a path of printable ASCII such as /dns-query, or /dns-query{?dns} to ask by GET"
		}
	}
	if a.AddrPort, ok = parseAddrPort(rest, port); !ok {
		if named {
			return ServerAddress{}, "an address before #, as in " + scheme + "://192.0.2.1" + a.Path + "#NAME; a NAME alone needs no #"
		}
		if a.Host, a.AddrPort, ok = parseHostPort(rest, port); !ok {
			return ServerAddress{}, serverForms
		}
	}
	if named {
		if a.Name, ok = parseServerName(name); !ok {
			return ServerAddress{}, "behind # the name that the server's certificate is for"
		}
	}
	return a, ""
}

func parsePlainServer(transport, text string) (a ServerAddress, expected string) {
	var ok bool
	if host, where, isName := parseHostPort(text, 53); isName && host == routerWord {
		return ServerAddress{AddrPort: where, Router: true, Transport: transport}, ""
	}
	if a.AddrPort, ok = parseAddrPort(text, 53); !ok {
		return ServerAddress{}, serverForms
	}
	a.Transport = transport
	return a, ""
}

// parseHostPort reads NAME or NAME:PORT. The address of the result is not one.
func parseHostPort(text string, port uint16) (host string, where netip.AddrPort, ok bool) {
	if name, number, has := strings.Cut(text, ":"); has {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return "", where, false
		}
		text, port = name, uint16(n)
	}
	host, ok = parseServerName(text)
	return host, netip.AddrPortFrom(netip.Addr{}, port), ok
}

// parseServerName reads a domain other than the root, whose A-labels can be read again.
func parseServerName(text string) (string, bool) {
	name, ok := parseDomain(text)
	again, readable := parseDomain(name)
	return name, ok && readable && again == name && name != "."
}

// byGET at the end of a path is a template (RFC 8484, 3): the query goes there.
const byGET = "{?dns}"

// cutPath cuts a URL without its scheme at the path. Without one it is /dns-query.
func cutPath(text string) (where, path string, ok bool) {
	at := strings.IndexByte(text, '/')
	if at < 0 || text[at:] == "/" {
		return strings.TrimSuffix(text, "/"), "/dns-query", true
	}
	where, path = text[:at], text[at:]
	printable := !strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' })
	plain := strings.TrimSuffix(path, byGET)
	_, err := url.ParseRequestURI(plain)
	return where, path, printable && err == nil && len(path) <= 1000 && !strings.ContainsAny(plain, "{}") && !(plain != path && strings.Contains(plain, "?"))
}

// A Pin is the SHA-256 of the public key of a certificate (SPKI, RFC 7858, 4.2).
type Pin [32]byte

// String returns what parsePin reads.
func (p Pin) String() string { return pinPrefix + base64.StdEncoding.EncodeToString(p[:]) }

const pinPrefix = "sha256/"

func parsePin(text string) (p Pin, ok bool) {
	b64, ok := strings.CutPrefix(text, pinPrefix)
	sum, err := base64.StdEncoding.DecodeString(b64)
	if !ok || err != nil || len(sum) != len(p) {
		return Pin{}, false
	}
	return Pin(sum), true
}

// subnetBits is how much of a client's address may be told, by whether it is of IPv6 (RFC 7871,
// 11.1).
var subnetBits = map[bool]int{false: 24, true: 56}

// checkUpstreams finds what is wrong with the upstreams.
func (c *Config) checkUpstreams(d *decoding) {
	first := make(map[string]string)
	for i := range c.Upstreams {
		u, key := &c.Upstreams[i], fmt.Sprintf("upstreams[%d]", i)
		if !u.Address.IsSet() {
			d.missing(key, "address")
			continue
		}
		if !c.checkServer(d, u.Address, u.Addresses, key) {
			continue
		}
		unique(d, first, u.Address.String(), key, "address")
		_, encrypted := transportPorts[u.Address.Transport]
		if len(u.Pins) > 0 && !encrypted {
			d.mistake(key+".pins", "pins of a server that is asked without TLS", "pins only with tls://, https://, h3:// or quic://")
		}
		if p := u.Subnet; p.IsValid() && (p.Bits() > subnetBits[p.Addr().Is6()] || p.Addr().IsPrivate() || p.Addr().IsLoopback()) {
			d.mistake(key+".client_subnet", fmt.Sprintf("found %q", p), "a public prefix of at most 24 bits, or 56 of IPv6: a longer one points at a household")
		}
		if len(u.Addresses) > 0 && u.Address.Host == "" {
			d.mistake(key+".addresses", "addresses beside the one in "+quote(u.Address.String()), "addresses only where address has a name, as in tls://dns.example")
		}
	}
	clear(first)
	for i, a := range c.Bootstrap {
		key := fmt.Sprintf("upstream_bootstrap[%d]", i)
		switch {
		case !a.IsValid():
		case !isServer(a):
			d.mistake(key, fmt.Sprintf("found %q", a), "the address and port of a resolver")
		case c.isListening(a):
			d.mistake(key, fmt.Sprintf("found %q, where this server itself listens (listen.dns)", a), "another server: this one would wait for itself")
		default:
			unique(d, first, a.String(), key, "address")
		}
	}
}

// checkServer reports whether a server can be asked, and reports it as a mistake if not.
func (c *Config) checkServer(d *decoding, a ServerAddress, addresses []netip.Addr, key string) bool {
	if a.Router && !followsRouter {
		d.mistake(key, "found "+quote(routerWord)+", and this system does not tell which is the default gateway", "its address")
		return false
	}
	if a.Host == "" && !a.Router {
		if !isServer(a.AddrPort) {
			d.mistake(key, fmt.Sprintf("found %q", a), "the address and port of a resolver")
			return false
		}
		return true
	}
	if a.Router {
		return true
	}
	if len(addresses) == 0 && len(c.Bootstrap) == 0 && !d.wrong(key) && !d.wrong("upstream_bootstrap") {
		d.mistake(key, fmt.Sprintf("found %q, a name that nobody is there to look up", a),
			"addresses: [ADDRESS] in this entry, or upstream_bootstrap: [ADDRESS] with a resolver that is asked for such names")
		return false
	}
	if slices.ContainsFunc(addresses, func(x netip.Addr) bool { return x.IsValid() && !isServer(netip.AddrPortFrom(x, a.Port())) }) {
		d.mistake(key+".addresses", "an address that no server has", "the addresses of "+a.Host)
		return false
	}
	return true
}

// isServer reports whether a server can be there.
func isServer(a netip.AddrPort) bool {
	return a.IsValid() && a.Port() != 0 && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast()
}
