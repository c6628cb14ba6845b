package listen

import (
	"net/netip"
	"time"
)

// A Transport is how a query came.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
	TLS
	HTTPS
	QUIC
)

// An Arrival is how the messages of a connection, or of a request, came.
type Arrival struct {
	Client     netip.AddrPort // who asks: unmapped, with its zone
	Transport  Transport
	ServerName string // of this server as the client calls it (SNI), in lower case; "" for none
	ClientID   string // what the client calls itself; "" for nothing
	// Idle is how long the connection may wait for a query, which a client may be told
	// (RFC 7828); 0 where that is not said by DNS.
	Idle time.Duration
}

// Encrypted reports whether nobody on the way can read what is sent.
func (t Transport) Encrypted() bool { return t >= TLS }

// A Correspondent sends messages one by one, and takes the replies: a connection, or
// one request of HTTP or stream of QUIC. Any goroutine may call its methods.
type Correspondent interface {
	// Arrival returns how its messages come. It never changes.
	Arrival() *Arrival
	// Send takes the reply to one message; an empty one says that there is none. It
	// does not wait, and does not keep the reply.
	Send(reply []byte)
}
