//go:build !linux

package upstream

import (
	"net"
	"net/netip"
)

// hearRefusals does nothing: a handshake with a closed port takes its time-out.
func hearRefusals(*net.UDPConn, netip.Addr, bool) {}
