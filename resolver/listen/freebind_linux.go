package listen

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindEarly lets a socket be bound to an address that this machine does not have
// yet: it often comes some seconds after the start. It is best effort.
func bindEarly(fd int, addr netip.Addr) {
	if addr.IsUnspecified() || addr.IsLoopback() {
		return
	}
	if addr.Is6() {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1) // since Linux 4.15
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
}

// controlEarly is bindEarly for net.ListenConfig.
func controlEarly(addr netip.Addr) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { bindEarly(int(fd), addr) })
	}
}
