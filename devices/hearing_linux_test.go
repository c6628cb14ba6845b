package devices

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// settle waits until the link-local addresses of a home can be used.
func (h home) settle(t *testing.T) {
	t.Helper()
	h.server.settled(t, "br0")
	for _, d := range h.devices {
		d.settled(t, "eth0")
	}
}

// settled waits until all addresses of a link can be used.
func (ns namespace) settled(t *testing.T, link string) {
	t.Helper()
	eventually(t, "the addresses are not tentative", func() (settled bool) {
		ns.do(t, func() error {
			links, err := exec.Command("ip", "-6", "addr", "show", "dev", link, "scope", "link").Output()
			tentative, _ := exec.Command("ip", "-6", "addr", "show", "dev", link, "tentative").Output()
			settled = len(bytes.TrimSpace(links)) > 0 && len(bytes.TrimSpace(tentative)) == 0
			return err
		})
		return settled
	})
}

// reuse lets others have the port, too.
func reuse(_, _ string, c syscall.RawConn) (err error) {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
}

// sendTo sends a packet with a hop limit, from inside the first device of a home.
func sendTo(to string, packet []byte, hops int) error {
	var d net.Dialer
	at := netip.MustParseAddrPort(to)
	if at.Addr().Is4() { // there is no route to groups
		d.LocalAddr = &net.UDPAddr{IP: net.IPv4(192, 168, 77, 11)}
	}
	if zone := at.Addr().Zone(); zone != "" { // net remembers for a minute the number of a link of this name in another namespace
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return err
		}
		to = netip.AddrPortFrom(at.Addr().WithZone(strconv.Itoa(link.Index)), at.Port()).String()
	}
	c, err := d.Dial("udp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	if at.Addr().Is4() {
		p := ipv4.NewConn(c)
		_ = p.SetTTL(hops)
		err = ipv4.NewPacketConn(c.(*net.UDPConn)).SetMulticastTTL(hops)
	} else {
		p := ipv6.NewConn(c)
		_ = p.SetHopLimit(hops)
		err = ipv6.NewPacketConn(c.(*net.UDPConn)).SetMulticastHopLimit(hops)
	}
	if err != nil {
		return err
	}
	_, err = c.Write(packet)
	return err
}

func TestPacketsToTheGroupsAreHeardAndNothingElse(t *testing.T) {
	home := newHome(t, 1)
	home.settle(t)
	home.server.ip(t, "link set br0 type bridge mcast_snooping 0") // else the bridge learns of the groups within 10 s
	l, _ := open(t, &kernel{namespace: int(home.server.file.Fd())}, Options{})
	h := newHearing(l)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { h.closeAll(); stop(); h.running.Wait() })
	home.server.do(t, func() error { h.listen(ctx, linksNow); return nil })
	if h.status.Problem != "" || !slices.Contains(h.status.Links, "br0") {
		t.Fatalf("got %+v", h.status)
	}
	// Another program has the ports, too: what is sent to this machine alone is its.
	var others []net.PacketConn
	home.server.do(t, func() error {
		c, err := (&net.ListenConfig{Control: reuse}).ListenPacket(t.Context(), "udp", ":5353")
		others = append(others, c)
		return err
	})
	defer others[0].Close()
	send := func(to, name, at string, hops int) {
		t.Helper()
		home.devices[0].do(t, func() error { return sendTo(to, announcementOf(t, name, at), hops) })
	}
	for _, c := range []struct{ to, at string }{{"224.0.0.251:5353", "192.168.77.11"}, {"[ff02::fb%eth0]:5353", "fe80::ff:fe00:1"}} {
		eventually(t, c.to+" is heard", func() bool {
			send(c.to, "low", c.at, 7)
			send("192.168.77.1:5353", "unicast", "192.168.77.11", 255)
			send("[2001:db8:77::1]:5353", "unicast", "192.168.77.11", 255)
			send(c.to, "set-1", c.at, 255)
			n, ok := l.Announced()[addr(c.at)]
			if ok && (len(n.Names) != 1 || n.Names[0] != "set-1") {
				t.Fatalf("%s said %+v", c.at, n)
			}
			return ok
		})
	}
	packet := make([]byte, 1500)
	_ = others[0].SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		n, _, err := others[0].ReadFrom(packet)
		if err != nil {
			t.Fatalf("the other program does not get what is sent to this machine alone: %v", err)
		}
		var m dns.Msg
		if m.Unpack(packet[:n]) == nil && m.Answer[0].Header().Name == "unicast.local." {
			break
		}
	}
	eventually(t, "those of a lower hop limit are counted", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.status.Foreign > 0 })
}
