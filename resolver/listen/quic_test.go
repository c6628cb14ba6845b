//go:build !small

package listen

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"telltale/resolver/dnstest"
)

// A client that greets by QUIC has a place like that of any connection: it is as old as it is when one has to
// make room, and is left when the greeting fails.
func TestAClientThatGreetsByQUICHasAPlace(t *testing.T) {
	l := &Listeners{options: Options{Allowed: func(netip.Addr) bool { return true }, ClientPrefix: 64}}
	l.streams = newStreams(100, unhurried, &l.stats)
	ql := &quicListener{l: l}
	greeting, fails := context.WithCancel(t.Context())
	before := time.Now().UnixNano()
	ctx, err := ql.admit(greeting, &quic.ClientInfo{RemoteAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000}})
	if err != nil {
		t.Fatal(err)
	}
	c := ctx.Value(quicKey{}).(*quicConn)
	if used := c.used.Load(); c.opened < before || c.opened > time.Now().UnixNano() || used != c.opened {
		t.Errorf("opened %d ns after it greeted, and used %d ns after that", c.opened-before, used-c.opened)
	}
	if l.streams.count() != 1 || ql.greeting.Load() != 1 || !c.waits() {
		t.Errorf("%d connections, %d greet", l.streams.count(), ql.greeting.Load())
	}
	fails()
	dnstest.WaitFor(t, func() bool {
		return l.streams.count() == 0 && ql.greeting.Load() == 0 && l.stats.handshakesFailed.Load() == 1
	},
		func() string { return "its place is not left, or not counted" })
}
