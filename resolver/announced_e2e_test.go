//go:build e2e && linux

package resolver

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"telltale/resolver/dns64"
	"telltale/resolver/dnstest"
)

// The prefix that a router announces (RFC 8781) is used, and not any more when the router says so, or
// when the link to it is down. It runs in a network of its own, without privileges outside of it.
func TestE2EAnnouncedPrefix(t *testing.T) {
	t.Parallel() // it mostly waits
	if !dnstest.InOwnNetwork(t) {
		return
	}
	dnstest.CheckLeaks(t)
	const script = `set -e
ip link set lo up
ip link add server type veth peer name router
for setting in server/accept_ra=2 server/accept_ra_from_local=1 server/accept_dad=0 router/accept_dad=0 router/accept_ra=0; do
	echo "${setting#*=}" > "/proc/sys/net/ipv6/conf/${setting%=*}"
done
ip link set server up
ip link set router up`
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Skipf("skipped: no such network here: %v %s", err, out)
	}
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { // addresses of IPv4 alone, and no prefix of its own
		r := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			rr, _ := dns.NewRR(q.Question[0].Name + " 0 A 192.0.2.1")
			r.Answer = append(r.Answer, rr)
		}
		w.WriteMsg(r)
	})
	s, _ := startServer(t, Options{Settings: Settings{DNS64: DNS64{Find: true}}}, up)
	asked := 0
	wait := func(what, want string, announce ...dns64.Announcement) {
		t.Helper()
		got := ""
		dnstest.WaitFor(t, func() bool {
			for _, a := range announce {
				advertise(t, "router", a)
			}
			c := dialStream(t, s)
			defer c.Close()
			asked++
			r, _ := exchange(t, c, fmt.Sprintf("n%d.example.", asked), dns.TypeAAAA)
			got = data(r)
			return got == want
		}, func() string { return fmt.Sprintf("%s: got %q, want %q", what, got, want) })
	}
	prefix := netip.MustParsePrefix("2001:db8:64::/96")
	wait("nothing is announced", "")
	wait("announced", "AAAA 2001:db8:64::c000:201", dns64.Announcement{Prefix: prefix, Lifetime: 1 << 15})
	wait("over", "", dns64.Announcement{Prefix: prefix})
	wait("announced for the shortest time there is", "AAAA 2001:db8:64::c000:201", dns64.Announcement{Prefix: prefix, Lifetime: 1})
	wait("the time is over", "")
	wait("announced again", "AAAA 2001:db8:64::c000:201", dns64.Announcement{Prefix: prefix, Lifetime: 1 << 15})
	if out, err := exec.Command("ip", "link", "set", "router", "down").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	wait("the link is down", "")
}

// advertise sends what a router announces; lifetimes are in units of 8 s.
func advertise(t *testing.T, link string, a dns64.Announcement) {
	t.Helper()
	from, err := net.InterfaceByName(link)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255)
	message := make([]byte, 16, 32) // RFC 4861, 4.2
	message[0] = 134
	message = append(message, 38, 2)
	message = binary.BigEndian.AppendUint16(message, uint16(min(a.Lifetime, 8191))<<3) // and the code of 96 bits
	b := a.Prefix.Addr().As16()
	message = append(message, b[:12]...)
	unix.Sendto(fd, message, 0, &unix.SockaddrInet6{ZoneId: uint32(from.Index), Addr: netip.MustParseAddr("ff02::1").As16()}) // what is lost is sent again
}
