//go:build !unix

package devices

import (
	"errors"
	"net"
	"net/netip"
)

func bindGroup(netip.AddrPort, int) (net.PacketConn, error) {
	return nil, errors.New("this system is not supported")
}
