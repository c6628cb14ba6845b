package listen

import (
	"net/netip"
	"testing"
	"time"

	"telltale/resolver/dnstest"
)

func TestWhoGetsAReplyWhileTheSendBufferIsFull(t *testing.T) {
	n := &neighbours{
		known:  map[netip.Addr]struct{}{netip.MustParseAddr("192.168.1.9"): {}, netip.MustParseAddr("fe80::9"): {}},
		onLink: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("fe80::/64")},
	}
	for addr, want := range map[string]bool{
		"192.168.1.9": true, "fe80::9": true, // neighbours
		"192.168.1.77": false, "fe80::77": false, // nobody
		"192.0.2.1": true, "2001:db8::1": true, // behind a router, which is one
	} {
		if got := n.mayReply(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	n.left.Store(2)
	replies := 0
	for range 10 {
		if n.mayReply(netip.MustParseAddr("192.168.1.77")) {
			replies++
		}
	}
	if replies != 2 {
		t.Errorf("%d replies to strangers, want 2", replies)
	}
}

func TestReachabilityIsReadWhileTheSendBufferIsFull(t *testing.T) {
	dnstest.CheckLeaks(t)
	r := newReachability()
	defer r.close()
	loopback := netip.MustParseAddr("127.0.0.1")
	if r.isActive() || !r.mayReply(loopback) {
		t.Error("it is active though there was room")
	}
	r.sendBufferFull()
	dnstest.WaitFor(t, func() bool { return r.neighbours.Load() != nil }, func() string { return "the neighbours are not read" })
	if !r.isActive() || !r.mayReply(loopback) {
		t.Error("this machine is no neighbour of itself")
	}
	r.until.Store(time.Now().UnixNano())
	dnstest.WaitFor(t, func() bool { return !r.isActive() }, func() string { return "it has no end" })
}
