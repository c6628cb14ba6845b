//go:build e2e && linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// What the household asks in all, and each of its devices.
const (
	householdLookups = 10_200
	householdDevices = 6
	eachLookups      = householdLookups / householdDevices
	newAddressEvery  = 150 // lookups by IPv6 from one temporary address
)

// A member is a device of the household.
type member struct {
	name      string
	namespace string
	server    []string // whom it asks; by IPv6, too, where there are two
	prefix    string   // of its IPv6 addresses

	advertised bool // it makes itself temporary IPv6 addresses of a prefix that a router advertises

	mac      string            // now, as the row has it
	expected map[string]string // identity by name
	conns    map[string]net.Conn
	asked    int

	pauseAt int           // it asks so often, says so, and waits to be told to go on; 0: it does not
	paused  chan struct{} // closed then
	resume  chan struct{} // closed to let it go on
	ended   chan struct{} // closed when it asks no more
	err     error         // why, before it had asked often enough
}

// A real household: two devices whose leases are swapped while all ask, one that takes another MAC,
// one behind NAT, one behind a forwarder that says who asks, and one behind a forwarder that does not. DHCP
// is dnsmasq, Kea and ISC dhcpd, each on a network of its own; avahi announces a name, and somebody
// claims it. Each row must be under the device that sent the query to the server, or under the bare address that it had.
func TestE2EHousehold(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"dnsmasq", "kea-dhcp4", "dhcpd", "dhclient", "avahi-daemon", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("skipped: %s is not installed", program)
		}
	}
	h := newHousehold(t)
	for _, m := range h.members {
		go m.ask(&h.settled)
	}
	h.swapLeases()
	h.changeMAC()
	h.claimName()
	h.settled.Store(true)
	for _, m := range h.members {
		if <-m.ended; m.err != nil {
			t.Fatalf("%s: %v", m.name, m.err)
		}
	}
	h.p.stop() // in rows that are not stored yet it may not be known who asked
	h.judge()
}

// A household is the networks of the test, with the server.
type household struct {
	*network
	dir     string
	members []*member
	p       *process
	settled atomic.Bool // nothing is going to change any more
}

const (
	macSwapA, macSwapB     = "00:1a:11:00:00:0a", "00:1a:11:00:00:0b"
	macFirst, macSecond    = "00:1a:11:00:00:0c", "02:1a:11:00:00:cc" // of the one that takes another
	macNAT, macTeller      = "00:1a:11:00:01:01", "00:1a:11:00:01:02" // of routers: NAT, and forwarders
	macSilent, macBehind   = "00:1a:11:00:01:03", "00:1a:11:00:00:0e"
	addrTeller, addrSilent = "192.168.79.12", "192.168.79.13"
)

func newHousehold(t *testing.T) *household {
	h := &household{network: newNetwork(t), dir: t.TempDir()}
	for i, link := range []string{"br1", "br2"} {
		h.in(h.server, "ip link add "+link+" type bridge")
		h.in(h.server, fmt.Sprintf("ip addr add 192.168.%d.1/24 dev %s", 78+i, link))
		h.in(h.server, fmt.Sprintf("ip addr add fd%d::1/64 dev %s nodad", 78+i, link))
		h.in(h.server, "ip link set "+link+" up")
	}
	h.write("client.sh", `#!/bin/sh
case $reason in
BOUND|RENEW|REBIND|REBOOT) ip -4 addr flush dev $interface; ip -4 addr add $new_ip_address/24 dev $interface; ip neigh flush dev $interface;;
RELEASE|EXPIRE|FAIL|STOP) ip -4 addr flush dev $interface;;
esac
`)
	if err := os.Chmod(filepath.Join(h.dir, "client.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.write("client.conf", "timeout 20;\nretry 1;\ninitial-interval 1;\nbackoff-cutoff 2;\n")
	a := h.join("swap-a", 0, macSwapA, "br0")
	b := h.join("swap-b", 1, macSwapB, "br0")
	c := h.join("changing", 2, macFirst, "br1")
	nat, teller, silent := h.join("nat", 3, macNAT, "br2"), h.join("teller", 4, macTeller, "br2"), h.join("silent", 5, macSilent, "br2")
	h.serveDHCP()
	for _, m := range []*member{a, b, c, nat, teller, silent} {
		h.lease(m)
	}
	for _, m := range []*member{a, b} {
		h.until("a temporary IPv6 address of "+m.name, func() bool {
			out := h.in(m.namespace, "ip -6 -o addr show dev eth0 temporary -tentative")
			return strings.TrimSpace(out) != ""
		})
	}
	d := h.behind("behind-nat", 6, "00:1a:11:00:00:0d", nat)
	e := h.behind("behind-teller", 7, macBehind, teller)
	f := h.behind("behind-silent", 8, "00:1a:11:00:00:0f", silent)
	h.in(nat.namespace, "nft add table ip nat")
	h.run("ip", "netns", "exec", nat.namespace, "nft", "add chain ip nat out { type nat hook postrouting priority 100 ; }")
	h.in(nat.namespace, "nft add rule ip nat out oifname eth0 masquerade")
	d.server, d.mac = []string{"192.168.79.1"}, macNAT
	e.mac, f.mac = macBehind, macSilent
	forward := []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--bind-interfaces", "--listen-address=10.1.0.1", "--user=root", "--no-resolv", "--no-hosts", "--cache-size=0", "--server=192.168.79.1"}
	h.start(teller.namespace, append(forward, "--pid-file="+h.path("teller.pid"), "--add-mac")...)
	h.start(silent.namespace, append(forward, "--pid-file="+h.path("silent.pid"))...)
	a.server, b.server, c.server = []string{"192.168.77.1", "fd77::1"}, []string{"192.168.77.1", "fd77::1"}, []string{"192.168.78.1", "fd78::1"}
	a.prefix, b.prefix, c.prefix = "fd77::a:", "fd77::b:", "fd78::c:"
	a.advertised, b.advertised = true, true
	a.pauseAt, b.pauseAt, c.pauseAt = eachLookups/3, eachLookups/3, eachLookups/2
	h.members = []*member{a, b, c, d, e, f}

	h.write("lists/household.txt", "household.example\n")
	h.write("telltale.yaml", fmt.Sprintf(`identity:
  find_leases: false
  forwarders: [%s]
  leases:
    - path: %s
    - path: %s
    - path: %s
`, addrTeller, h.path("dnsmasq.leases"), h.path("kea.csv"), h.path("dhcpd.leases")))
	h.p = startProcess(t, h.dir, []string{"ip", "netns", "exec", h.server}, "--config", h.path("telltale.yaml"), "--listen-dns", "0.0.0.0:53,[::]:53")
	for _, m := range h.members {
		h.until(m.name+" is answered", func() bool { return m.try("ready") == nil })
	}
	h.write("avahi.conf", "[server]\nhost-name=bravia\nuse-ipv6=yes\nenable-dbus=no\nallow-interfaces=eth0\n[publish]\npublish-workstation=no\n[rlimits]\n")
	h.start(a.namespace, "sh", "-c", "mkdir -p /run/avahi-daemon && mount -t tmpfs tmpfs /run/avahi-daemon && exec avahi-daemon --no-drop-root --no-rlimits --no-chroot --file="+h.path("avahi.conf"))
	return h
}

// serveDHCP starts a DHCP server on each bridge: dnsmasq beside Telltale, the others on machines of their own, whose
// files Telltale reads.
func (h *household) serveDHCP() {
	kea, isc := h.join("kea", 9, "00:1a:11:00:02:01", "br1"), h.join("isc", 10, "00:1a:11:00:02:02", "br2")
	h.in(kea.namespace, "ip addr add 192.168.78.2/24 dev eth0")
	h.in(isc.namespace, "ip addr add 192.168.79.2/24 dev eth0")
	h.write("hosts", macSwapA+",192.168.77.101\n"+macSwapB+",192.168.77.102\n")
	h.start(h.server, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=br0", "--bind-interfaces", "--user=root", "--no-ping", "--pid-file="+h.path("dnsmasq.pid"),
		"--dhcp-leasefile="+h.path("dnsmasq.leases"), "--dhcp-range=192.168.77.100,192.168.77.150,10m", "--dhcp-hostsfile="+h.path("hosts"), "--dhcp-authoritative",
		"--enable-ra", "--dhcp-range=fd77::,ra-only,64,10m")
	h.write("kea.conf", `{"Dhcp4":{"interfaces-config":{"interfaces":["eth0"]},"lease-database":{"type":"memfile","persist":true,"name":"`+h.path("kea.csv")+`","lfc-interval":0},"valid-lifetime":600,
"subnet4":[{"subnet":"192.168.78.0/24","interface":"eth0","pools":[{"pool":"192.168.78.100-192.168.78.101"}]}]}}`)
	h.start(kea.namespace, "env", "KEA_LOCKFILE_DIR="+h.dir, "KEA_PIDFILE_DIR="+h.dir, "kea-dhcp4", "-c", h.path("kea.conf"))
	h.write("dhcpd.conf", "authoritative;\ndefault-lease-time 600;\nping-check false;\nsubnet 192.168.79.0 netmask 255.255.255.0 { range 192.168.79.100 192.168.79.150; }\n"+
		"host teller { hardware ethernet "+macTeller+"; fixed-address "+addrTeller+"; }\nhost silent { hardware ethernet "+macSilent+"; fixed-address "+addrSilent+"; }\n")
	h.write("dhcpd.leases", "")
	h.start(isc.namespace, "dhcpd", "-f", "-4", "-cf", h.path("dhcpd.conf"), "-lf", h.path("dhcpd.leases"), "-pf", h.path("dhcpd.pid"), "eth0")
}

func (h *household) newMember(name string, i int) *member {
	m := &member{name: name, namespace: fmt.Sprintf("%sd%d", h.name, i), expected: map[string]string{}, conns: map[string]net.Conn{}}
	m.paused, m.resume, m.ended = make(chan struct{}), make(chan struct{}), make(chan struct{})
	return m
}

// join makes a member on a bridge, without an IPv4 address as yet.
func (h *household) join(name string, i int, mac, bridge string) *member {
	m := h.newMember(name, i)
	m.mac = mac
	h.namespace(m.namespace)
	h.run("ip", "-n", m.namespace, "link", "add", "eth0", "type", "veth", "peer", "name", fmt.Sprint("p", i), "netns", h.server)
	h.in(h.server, fmt.Sprintf("ip link set p%d master %s up", i, bridge))
	h.in(m.namespace, "ip link set eth0 address "+mac)
	h.run("ip", "netns", "exec", m.namespace, "sh", "-c", "echo 2 > /proc/sys/net/ipv6/conf/eth0/use_tempaddr; echo 1 > /proc/sys/net/ipv4/ip_forward")
	h.in(m.namespace, "ip link set eth0 up")
	h.t.Cleanup(m.close)
	return m
}

// behind makes a member that reaches the server by way of a router alone.
func (h *household) behind(name string, i int, mac string, router *member) *member {
	m := h.newMember(name, i)
	m.server = []string{"10.1.0.1"}
	h.namespace(m.namespace)
	h.run("ip", "-n", m.namespace, "link", "add", "eth0", "type", "veth", "peer", "name", "lan0", "netns", router.namespace)
	h.in(router.namespace, "ip addr add 10.1.0.1/24 dev lan0")
	h.in(router.namespace, "ip link set lan0 up")
	h.in(m.namespace, "ip link set eth0 address "+mac)
	h.in(m.namespace, "ip addr add 10.1.0.2/24 dev eth0")
	h.in(m.namespace, "ip link set eth0 up")
	h.in(m.namespace, "ip route add default via 10.1.0.1")
	h.t.Cleanup(m.close)
	return m
}

// lease lets a member get an address by DHCP.
func (h *household) lease(m *member) {
	h.t.Helper()
	h.until(m.name+" has an address", func() bool { h.dhclient(m, "-1"); return h.address(m) != "" })
	h.t.Cleanup(func() {
		_ = exec.Command("ip", append([]string{"netns", "exec", m.namespace}, h.client(m, "-x")...)...).Run()
	})
}

// release lets a member give its address back.
func (h *household) release(m *member) {
	h.t.Helper()
	h.dhclient(m, "-r")
}

// dhclient runs the DHCP client of a member. It may fail on a machine that has no time for it.
func (h *household) dhclient(m *member, how string) {
	words := append([]string{"netns", "exec", m.namespace}, h.client(m, how)...)
	if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
		h.t.Logf("%s: dhclient %s: %v\n%s", m.name, how, err, out)
	}
}

func (h *household) client(m *member, how string) []string {
	file := h.path("client-" + m.name)
	return []string{"dhclient", "-4", how, "-cf", h.path("client.conf"), "-sf", h.path("client.sh"), "-lf", file + ".leases", "-pf", file + ".pid", "eth0"}
}

// address returns the IPv4 address of a member.
func (h *household) address(m *member) string {
	h.t.Helper()
	words := strings.Fields(h.in(m.namespace, "ip -4 -o addr show dev eth0"))
	if len(words) < 4 {
		return ""
	}
	a, _, _ := strings.Cut(words[3], "/")
	return a
}

// swapLeases lets two members that ask all the time get each other's address.
func (h *household) swapLeases() {
	h.t.Helper()
	a, b := h.members[0], h.members[1]
	h.write("hosts", macSwapA+",192.168.77.102\n"+macSwapB+",192.168.77.101\n")
	for _, m := range []*member{a, b} {
		h.pause(m)
		h.release(m)
	}
	h.run("sh", "-c", "kill -HUP $(cat "+h.path("dnsmasq.pid")+")")
	h.until("the leases are swapped", func() bool {
		h.dhclient(a, "-1")
		h.dhclient(b, "-1")
		if h.address(a) == "192.168.77.102" && h.address(b) == "192.168.77.101" {
			return true
		}
		h.release(a)
		h.release(b)
		return false
	})
	h.known(a)
	h.known(b)
	close(a.resume)
	close(b.resume)
}

// pause waits until a member waits to be told to go on.
func (h *household) pause(m *member) {
	h.t.Helper()
	select {
	case <-m.paused:
	case <-m.ended:
		h.t.Fatalf("%s: %v", m.name, m.err)
	}
	m.close()
}

// changeMAC lets a member take another MAC, as phones do, and get an address with it.
func (h *household) changeMAC() {
	h.t.Helper()
	m := h.members[2]
	h.pause(m)
	h.release(m)
	h.in(m.namespace, "ip link set eth0 down")
	h.in(m.namespace, "ip link set eth0 address "+macSecond)
	h.in(m.namespace, "ip link set eth0 up")
	m.mac, m.prefix = macSecond, "fd78::cc:"
	h.until(m.name+" has an address", func() bool { h.dhclient(m, "-1"); return h.address(m) != "" })
	h.known(m)
	close(m.resume)
}

// known waits until the server knows that a member has its address. The member makes itself known as it
// would by its first packet, which is none that is in the log.
func (h *household) known(m *member) {
	h.t.Helper()
	at := h.address(m)
	c, err := m.dial("192.168.77.1:9", "")
	if strings.HasPrefix(at, "192.168.78.") {
		c, err = m.dial("192.168.78.1:9", "")
	}
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	h.until(fmt.Sprintf("%s has %s", m.mac, at), func() bool {
		_, _ = c.Write(nil)
		for _, d := range h.devices() {
			for _, b := range d.Bindings {
				if b.Addr == at && b.MAC == m.mac && b.Until == "" {
					return true
				}
			}
		}
		return false
	})
}

type knownDevice struct {
	Device, Name string
	Bindings     []struct {
		Addr, MAC, Until string
		Announced        *struct {
			Names  []string
			Claims []struct{ Name, Holder string }
		}
	}
}

// devices returns what `telltale devices --json` prints.
func (h *household) devices() (all []knownDevice) {
	h.t.Helper()
	var out, errs lockedBuffer
	if exit := command(context.Background(), append([]string{"devices", "--json"}, h.p.args...), &out, &errs, nil); exit != 0 {
		h.t.Fatalf("devices: %s", errs.String())
	}
	for line := range strings.Lines(out.String()) {
		var d knownDevice
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			h.t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// claimName waits until the name that avahi announces is shown, and lets another member claim it.
func (h *household) claimName() {
	h.t.Helper()
	const shown = "bravia (00:00:0a)"
	h.until("the first is shown as "+shown, func() bool {
		return slices.ContainsFunc(h.devices(), func(d knownDevice) bool { return d.Device == "mac:"+macSwapA && d.Name == shown })
	})
	liar := h.members[2]
	reply := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Answer: []dns.RR{
		&dns.A{Hdr: dns.RR_Header{Name: "bravia.local.", Rrtype: dns.TypeA, Class: 0x8001, Ttl: 120}, A: net.ParseIP(h.address(liar)).To4()}}}
	packet, err := reply.Pack()
	if err != nil {
		h.t.Fatal(err)
	}
	c, err := liar.dial("224.0.0.251:5353", h.address(liar))
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	if err := ipv4.NewPacketConn(c.(net.PacketConn)).SetMulticastTTL(255); err != nil {
		h.t.Fatal(err)
	}
	h.until("the claim is shown", func() bool {
		_, _ = c.Write(packet)
		for _, d := range h.devices() {
			for _, b := range d.Bindings {
				if d.Device == "mac:"+macSecond && b.Announced != nil && len(b.Announced.Claims) > 0 {
					if strings.HasPrefix(d.Name, "bravia") || b.Announced.Claims[0].Holder != "mac:"+macSwapA {
						h.t.Fatalf("who claims a name is %+v", d)
					}
					return true
				}
			}
		}
		return false
	})
}

// judge looks at each row.
func (h *household) judge() {
	h.t.Helper()
	expected, of := map[string]string{}, map[string]string{}
	for _, m := range h.members {
		for name, device := range m.expected {
			expected[name], of[name] = device, m.name
		}
	}
	type tally struct{ right, unknown, unbound, wrong int } // unbound are those of unknown that have no binding, and so no reason
	seen, tallies := map[string]bool{}, map[string]*tally{}
	for _, m := range h.members {
		tallies[m.name] = new(tally)
	}
	for _, row := range h.p.rows() {
		name, device := row["name"].(string), row["device"].(string)
		want, ok := expected[name]
		if !ok {
			continue // those by which it was found out that a member is answered
		}
		seen[name] = true
		switch n := tallies[of[name]]; {
		case device == want:
			n.right++
		case row["binding_source"] == "bare-address" && row["binding_confidence"] == "low" && device == fmt.Sprint("addr:", row["client"]):
			n.unknown++
		case row["binding_source"] == nil && device == fmt.Sprint("addr:", row["client"]): // there was no time to ask
			n.unknown++
			n.unbound++
		default:
			if n.wrong++; n.wrong <= 5 {
				h.t.Errorf("%s, asked by %s, is under %s: %v", name, want, device, row)
			}
		}
	}
	if len(expected) < householdLookups || len(seen) != len(expected) {
		h.t.Errorf("%d lookups, of which %d are in the log; want %d", len(expected), len(seen), householdLookups)
	}
	for _, m := range h.members {
		n := tallies[m.name]
		h.t.Logf("%-13s %d right, %d unknown (%d of them without a binding), %d wrong", m.name, n.right, n.unknown, n.unbound, n.wrong)
		if n.right < 4*n.unknown {
			h.t.Errorf("%s: %d of its rows are under it, and %d under bare addresses, of which %d have no binding", m.name, n.right, n.unknown, n.unbound)
		}
	}
}

// ask asks for names that nobody else asks for, as often as a member does, and on, more slowly, until nothing
// is going to change any more.
func (m *member) ask(settled *atomic.Bool) {
	defer close(m.ended)
	for m.err == nil && (m.asked < eachLookups || !settled.Load()) {
		if m.asked++; m.asked > eachLookups {
			time.Sleep(5 * time.Millisecond)
		}
		m.err = m.try(fmt.Sprintf("n%d", m.asked))
		if m.asked == m.pauseAt && m.err == nil {
			close(m.paused)
			<-m.resume
		}
	}
}

// try asks for a name of its own until it is answered.
func (m *member) try(label string) error {
	name := fmt.Sprintf("%s.%s.household.example", label, m.name)
	if label != "ready" {
		m.expected[name] = "mac:" + m.mac
	}
	query, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA).Pack()
	if err != nil {
		return err
	}
	server := m.server[m.asked%len(m.server)]
	reply := make([]byte, 1500)
	wait := 500 * time.Millisecond
	for end := time.Now().Add(patience); ; wait = min(2*wait, 8*time.Second) {
		c, err := m.connection(server)
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(wait))
			if _, err = c.Write(query); err == nil {
				for err == nil {
					var n int
					if n, err = c.Read(reply); err == nil && n > 2 && bytes.Equal(reply[:2], query[:2]) {
						return nil
					}
				}
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s at %s: %w", name, server, err)
		}
		if label == "ready" {
			return err
		}
	}
}

// connection returns the socket by which it asks a server, a new one from another address of its own from time to
// time by IPv6.
func (m *member) connection(server string) (net.Conn, error) {
	from, key := "", server
	if strings.Contains(server, ":") && (m.asked > 2*newAddressEvery || !m.advertised) {
		from = fmt.Sprintf("%s%x", m.prefix, m.asked/(2*newAddressEvery))
		key += " " + from
	}
	if c := m.conns[key]; c != nil {
		return c, nil
	}
	if from != "" {
		out, err := exec.Command("ip", "-n", m.namespace, "addr", "replace", from+"/64", "dev", "eth0", "nodad").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
	}
	c, err := m.dial(net.JoinHostPort(server, "53"), from)
	if err == nil {
		m.conns[key] = c
	}
	return c, err
}

// dial connects by UDP from inside the member's namespace.
func (m *member) dial(to, from string) (c net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var ns *os.File
		if ns, err = os.Open(filepath.Join("/var/run/netns", m.namespace)); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		var d net.Dialer
		if from != "" {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
		}
		c, err = d.Dial("udp", to)
	}()
	<-done
	return c, err
}

func (m *member) close() {
	for _, c := range m.conns {
		c.Close()
	}
	clear(m.conns)
}

func (h *household) path(name string) string { return filepath.Join(h.dir, name) }

func (h *household) write(name, text string) {
	h.t.Helper()
	writeFile(h.t, h.path(name), text)
}

// start runs a program in a namespace until the test ends.
func (h *household) start(namespace string, words ...string) {
	h.t.Helper()
	var out lockedBuffer
	cmd := exec.Command("ip", append([]string{"netns", "exec", namespace}, words...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if h.t.Failed() {
			h.t.Logf("%s said\n%s", words[0], out.String())
		}
	})
}

func (h *household) until(what string, true func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !true(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
