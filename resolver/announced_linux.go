package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"telltale/resolver/dns64"
)

// The kernel hands on what it does not use itself of router advertisements that it accepts,
// RFC 8781's option among it, to who listens by netlink. That takes no privilege.
const (
	neighbourOptions     = 1 << (20 - 1) // RTNLGRP_ND_USEROPT, as RTMGRP has it
	neighbourOptionsSize = 16            // struct nduseroptmsg
	linkSize             = 16            // struct ifinfomsg
)

// followAnnounced64 uses the prefix that a router announces, until ctx is done.
func (s *Server) followAnnounced64(ctx context.Context) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: neighbourOptions | unix.RTMGRP_LINK}); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		s.logger.Debug("DNS64: prefixes that routers announce are not seen", "error", err)
		return
	}
	socket := os.NewFile(uintptr(fd), "netlink")
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.SetReadDeadline(time.Unix(1, 0)) })()
	defer s.announced64.Store(nil)
	var heard dns64.Announced
	for b := make([]byte, 1<<16); ; {
		prefix, until := heard.InForce(time.Now())
		s.useAnnounced64(prefix)
		socket.SetReadDeadline(until)
		if ctx.Err() != nil { // the deadline may have been set after its
			return
		}
		n, err := socket.Read(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ENOBUFS): // the next advertisement says it again
		case err != nil:
			return
		default:
			hearAnnounced64(&heard, b[:n], time.Now())
		}
	}
}

// useAnnounced64 makes addresses by a prefix that a router announces; by none, if it is not
// valid.
func (s *Server) useAnnounced64(prefix netip.Prefix) {
	before := s.announced64.Load()
	switch {
	case prefix.IsValid() && (before == nil || *before != prefix):
		s.announced64.Store(&prefix)
		s.logger.Info("DNS64: the prefix that a router announces is used", "prefix", prefix)
	case !prefix.IsValid() && before != nil:
		s.announced64.Store(nil)
		s.logger.Warn("DNS64: no router announces a prefix any more", "before", *before)
	}
}

// hearAnnounced64 takes in what the kernel says.
func hearAnnounced64(heard *dns64.Announced, b []byte, now time.Time) {
	all, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return
	}
	for _, m := range all {
		if len(m.Data) < linkSize {
			continue
		}
		link := int(int32(binary.NativeEndian.Uint32(m.Data[4:]))) // in both structs
		switch m.Header.Type {
		case unix.RTM_NEWNDUSEROPT:
			options := m.Data[neighbourOptionsSize:]
			if size := int(binary.NativeEndian.Uint16(m.Data[2:])); m.Data[0] == unix.AF_INET6 && size <= len(options) {
				for _, one := range dns64.Announcements(options[:size]) {
					heard.Add(link, one, now)
				}
			}
		case unix.RTM_DELLINK:
			heard.Forget(link)
		case unix.RTM_NEWLINK:
			if binary.NativeEndian.Uint32(m.Data[8:])&unix.IFF_RUNNING == 0 {
				heard.Forget(link)
			}
		}
	}
}
