package offered

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// askAgain is when the questions are sent a second time: one may get lost.
const askAgain = time.Second

// Ask asks the network of one interface, and listens until ctx ends. Each server is
// returned once for each who hands it out and each way.
func Ask(ctx context.Context, i net.Interface) (found []Server, err error) {
	if len(i.HardwareAddr) != 6 {
		return nil, errors.New("it is no Ethernet")
	}
	every := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(every))
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	at := &unix.SockaddrLinklayer{Protocol: every, Ifindex: i.Index}
	if err := unix.Bind(fd, at); err != nil {
		return nil, err
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		return nil, err
	}
	c := &client{mac: i.HardwareAddr, link: linkLocal(i)}
	rand.Read(c.xid[:])
	asked, began := 0, time.Now()
	buffer := make([]byte, 64<<10)
	for ctx.Err() == nil {
		if asked == 0 || asked == 1 && time.Since(began) > askAgain {
			asked++
			for _, q := range c.questions() {
				if err := unix.Sendto(fd, q, 0, at); err != nil && !isPassing(err) {
					return found, err
				}
			}
		}
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		switch {
		case err != nil && isPassing(err):
			continue
		case err != nil:
			return found, err
		}
		for _, s := range c.read(buffer[:n]) {
			if s.Interface = i.Name; !slices.Contains(found, s) {
				found = append(found, s)
			}
		}
	}
	return found, nil
}

// isPassing reports whether a socket may be used again after an error.
func isPassing(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS)
}

// linkLocal returns the link-local address of an interface.
func linkLocal(i net.Interface) netip.Addr {
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			return p.Addr().WithZone("")
		}
	}
	return netip.Addr{}
}
