package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale/resolver/dnstest"
)

// Where the kernel can be listened to no longer, it is listened to anew.
func TestAnnouncedPrefixesAreFollowedAfterAnError(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _ := startServer(t, Options{})
	kernels := make(chan *os.File, 3)
	opened := 0
	open := func() (*os.File, error) {
		if opened++; opened == 2 {
			return nil, errors.New("no socket now")
		}
		socket, kernel, err := os.Pipe()
		if err == nil {
			kernels <- kernel
		}
		return socket, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.followAnnouncedOf(ctx, open, time.Millisecond); close(done) }()
	for _, prefix := range []string{"2001:db8:1::/96", "2001:db8:2::/96"} {
		kernel := <-kernels
		kernel.Write(announcedByKernel(7, netip.MustParsePrefix(prefix)))
		dnstest.WaitFor(t, func() bool { p := s.announced64.Load(); return p != nil && p.String() == prefix },
			func() string { return fmt.Sprintf("got %v, want %s", s.announced64.Load(), prefix) })
		kernel.Write(linkDown(7))
		dnstest.WaitFor(t, func() bool { return s.announced64.Load() == nil }, says("its link is down"))
		kernel.Close() // an error for who reads
	}
	last := <-kernels
	cancel()
	<-done
	last.Close()
}

// announcedByKernel is what the kernel says of a prefix that was announced for an hour.
func announcedByKernel(link uint32, prefix netip.Prefix) []byte {
	option := binary.BigEndian.AppendUint16([]byte{38, 2}, 3600)
	addr := prefix.Addr().As16()
	option = append(option, addr[:12]...)
	data := binary.NativeEndian.AppendUint16([]byte{unix.AF_INET6, 0}, uint16(len(option)))
	data = binary.NativeEndian.AppendUint32(data, link)
	return netlinkMessage(unix.RTM_NEWNDUSEROPT, append(append(data, make([]byte, 8)...), option...))
}

func linkDown(link uint32) []byte {
	data := binary.NativeEndian.AppendUint32(make([]byte, 4), link)
	return netlinkMessage(unix.RTM_NEWLINK, append(data, make([]byte, 8)...))
}

func netlinkMessage(kind uint16, data []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(append(b, make([]byte, 10)...), data...)
}
