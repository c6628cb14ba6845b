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
	"telltale/resolver/upstream"
)

// The kernel hands on what it does not use itself of router advertisements that it accepts,
// RFC 8781's option among it, to who listens by netlink. That takes no privilege.
const (
	neighbourOptions = 1 << (20 - 1) // RTNLGRP_ND_USEROPT, as RTMGRP has it
	netlinkFixed     = 16            // octets of struct nduseroptmsg, and of struct ifinfomsg
)

// When the kernel is listened to anew after an error; each time in vain takes twice as long.
const (
	announcedRetry    = time.Second
	announcedRetryMax = time.Minute
)

// followAnnounced64 uses the prefix that a router announces, until ctx is done.
func (s *Server) followAnnounced64(ctx context.Context) {
	s.followAnnouncedOf(ctx, func() (*os.File, error) { return upstream.OpenNetlink(neighbourOptions | unix.RTMGRP_LINK) }, announcedRetry)
}

// followAnnouncedOf follows what the sockets say that open returns, one after the other. Where there is none at
// first, there will not be one later.
func (s *Server) followAnnouncedOf(ctx context.Context, open func() (*os.File, error), retry time.Duration) {
	defer s.announced64.Store(nil)
	var heard dns64.Announced
	socket, err := open()
	if err != nil {
		s.logger.Debug("DNS64: prefixes that routers announce are not seen", "error", err)
		return
	}
	for wait := retry; ; {
		if err == nil {
			var read bool
			if read, err = s.readAnnounced64(ctx, socket, &heard); read {
				wait = retry
			}
		}
		if ctx.Err() != nil {
			return
		}
		s.logger.Warn("DNS64: what routers announce cannot be read; it is tried again", "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, announcedRetryMax)
		socket, err = open()
	}
}

// readAnnounced64 uses what a socket says, closes it once it can be read no longer or ctx is done, and returns whether
// it could be read at all.
func (s *Server) readAnnounced64(ctx context.Context, socket *os.File, heard *dns64.Announced) (read bool, err error) {
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.SetReadDeadline(time.Unix(1, 0)) })()
	for b := make([]byte, 1<<16); ; {
		prefix, until := heard.InForce(time.Now())
		s.useAnnounced64(prefix)
		socket.SetReadDeadline(until)
		if ctx.Err() != nil { // the deadline may have been set after its
			return read, ctx.Err()
		}
		n, err := socket.Read(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ENOBUFS): // the next advertisement says it again
		case err != nil:
			return read, err
		default:
			read = true
			hearAnnounced64(heard, b[:n], time.Now())
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
		if len(m.Data) < netlinkFixed {
			continue
		}
		link := int(int32(binary.NativeEndian.Uint32(m.Data[4:]))) // in both structs
		switch m.Header.Type {
		case unix.RTM_NEWNDUSEROPT:
			options := m.Data[netlinkFixed:]
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
