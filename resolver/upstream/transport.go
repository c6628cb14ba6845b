package upstream

import "net/netip"

// A Transport is how queries go to a server.
type Transport uint8

const (
	UDP Transport = iota // and by TCP where a reply is truncated, or UDP does not get through
	TCP                  // on a connection that stays open
	TLS                  // DNS over TLS (RFC 7858), never in clear
)

var transportNames = []string{"udp", "tcp", "tls"}

func (t Transport) String() string { return transportNames[t] }

// MarshalText returns what String returns.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// IsEncrypted reports whether nobody on the way can read the queries.
func (t Transport) IsEncrypted() bool { return t >= TLS }

// defaultID names a server by its address, with the transport where that is not UDP.
func (s *Server) defaultID(addr netip.AddrPort) string {
	if s.Transport == UDP {
		return addr.String()
	}
	id := s.Transport.String() + "://" + addr.String()
	if s.Name != "" {
		id += "#" + s.Name
	}
	return id
}
