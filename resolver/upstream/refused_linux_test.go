//go:build !small

package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"telltale/resolver/dnstest"
)

// A handshake with a port at which nobody is ends by what the network says, and not by its time-out.
func TestAClosedPortEndsAQUICHandshake(t *testing.T) {
	dnstest.CheckLeaks(t)
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		closed, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
		if err != nil {
			t.Logf("skipped: %v", err)
			continue
		}
		addr := closed.LocalAddr().(*net.UDPAddr).AddrPort()
		closed.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		_, err = dialOneQUIC(ctx, addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"doq"}}, &quic.Config{HandshakeIdleTimeout: 20 * time.Second})
		cancel()
		if !errors.Is(err, syscall.ECONNREFUSED) || outcomeOf(err) != unreachable {
			t.Errorf("%s: got %v (%v), want that nobody is there", addr, err, outcomeOf(err))
		}
	}
}
