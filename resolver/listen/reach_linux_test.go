package listen

import (
	"net/netip"
	"testing"
	"time"

	"telltale/resolver/dnstest"
	"telltale/resolver/packets"
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

// A reply that is held back, or that there is no room for, is counted as not sent.
func TestRepliesThatAreNotSentAreCounted(t *testing.T) {
	c, client := socketPair(t, "127.0.0.1:0")
	for _, known := range []bool{true, false} {
		c.stats, c.reach = new(counters), newReachability()
		n := &neighbours{known: map[netip.Addr]struct{}{}, onLink: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
		if known {
			n.known[netip.MustParseAddr("127.0.0.1")] = struct{}{}
		}
		c.reach.until.Store(time.Now().Add(time.Hour).UnixNano())
		c.reach.neighbours.Store(n)
		if _, err := client.Write([]byte("query")); err != nil {
			t.Fatal(err)
		}
		c.SetTimeout(10 * time.Second)
		if got, err := c.Receive(); got != 1 || err != nil {
			t.Fatal(got, err)
		}
		c.SendReplies([]packets.Reply{{Slot: 0, Data: []byte("reply")}})
		want := uint64(1)
		if known {
			want = 0
		}
		if got := c.stats.unsent.Load(); got != want {
			t.Errorf("to a neighbour: %v: %d replies are counted as not sent, want %d", known, got, want)
		}
		c.reach.close()
	}
}
