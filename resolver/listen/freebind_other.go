//go:build !linux

package listen

import (
	"net/netip"
	"syscall"
)

// controlEarly does nothing: where the kernel binds no address that is not there
// yet, a start fails, and the service manager starts again.
func controlEarly(netip.Addr) func(network, address string, c syscall.RawConn) error { return nil }
