// Package packets receives and sends UDP packets in batches, as few system calls
// as the kernel allows. It knows nothing of what is in them.
package packets

import "net/netip"

const (
	// BatchSize is how many packets are received or sent together at most.
	BatchSize = 32
	// MaxSize is the largest packet that is received whole, in octets. A question
	// with an OPT of padding and cookies takes some hundreds.
	MaxSize = 4096
)

// A Path is where a packet came from, and so where its reply goes.
type Path struct {
	Client    netip.AddrPort // unmapped; with its zone
	Local     netip.Addr     // the address the packet came to, where the socket is a wildcard
	Interface uint32         // and its index, for link-local addresses
}

// A Reply is what goes back to where a packet of the batch came from.
type Reply struct {
	Slot int // the packet's place in the batch
	Data []byte
}
