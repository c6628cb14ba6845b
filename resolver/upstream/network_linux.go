package upstream

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// OpenNetlink returns a socket by which the kernel tells of its network; groups are unix.RTMGRP_ of what is to be told.
func OpenNetlink(groups uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// followNetwork tells when addresses or routes of this machine change, until the client is closed. Without
// it, upstreams that are down are found again by their probes alone.
func (u *Client) followNetwork() {
	socket, err := OpenNetlink(unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE)
	if err != nil {
		u.log.Debug("changes of the network are not seen", "error", err)
		return
	}
	u.tasks.Go(func() {
		<-u.ctx.Done()
		socket.Close()
	})
	u.tasks.Go(func() {
		for message := make([]byte, 1<<16); ; {
			// What is said does not matter; that more was said than could be kept is a change, too.
			if _, err := socket.Read(message); err != nil && !errors.Is(err, unix.ENOBUFS) {
				if u.ctx.Err() == nil {
					u.log.Warn("changes of the network are not seen any more: upstreams that are down are found again by their probes alone", "error", err)
				}
				return
			}
			u.networkChanged()
		}
	})
}
