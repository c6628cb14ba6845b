package upstream

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// hearRefusals says whether reading from a socket that is not connected ends when the network
// says that nobody is at a port that was written to (ICMP, ip(7) IP_RECVERR). Only a handshake is
// ended by that: whoever guesses the port could end a connection so, since the message need not come from the server.
func hearRefusals(socket *net.UDPConn, from netip.Addr, hear bool) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return // then it takes its time-out
	}
	on := 0
	if hear {
		on = 1
	}
	raw.Control(func(fd uintptr) { // a socket for both families has both options
		if from.Unmap().Is4() {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, on)
		}
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, on)
	})
}
