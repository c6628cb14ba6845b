package devices

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A namespace is a network namespace of this test.
type namespace struct{ file *os.File }

// newNamespace makes one, or skips the test where that is not allowed.
func newNamespace(t *testing.T) namespace {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped: ip of iproute2 is not installed")
	}
	var ns namespace
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			ns.file, err = os.Open("/proc/thread-self/ns/net")
		}
	}()
	<-done
	if err != nil {
		t.Skipf("skipped: a network namespace needs root: %v", err)
	}
	t.Cleanup(func() { ns.file.Close() })
	return ns
}

// do calls f on a thread inside the namespace, as are the processes f starts.
func (ns namespace) do(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// ip runs ip(8) commands, one a line.
func (ns namespace) ip(t *testing.T, commands string, args ...any) {
	t.Helper()
	for line := range strings.Lines(fmt.Sprintf(commands, args...)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		ns.do(t, func() error {
			cmd := exec.Command("ip", strings.Fields(line)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", line, err, out)
			}
			return nil
		})
	}
}

// home is a bridge with the server's addresses, and devices behind it.
type home struct {
	server  namespace
	devices []namespace
	unable  bool // to make a bridge
}

// newHome links n devices to the server. Their MACs are 02:00:00:00:00:0N, their
// addresses 192.168.77.1N and 2001:db8:77::1N.
func newHome(t *testing.T, n int) home {
	t.Helper()
	h := home{server: newNamespace(t)}
	h.server.do(t, func() error {
		if out, err := exec.Command("ip", "link", "add", "br0", "type", "bridge").CombinedOutput(); err != nil {
			t.Logf("ip link add br0 type bridge: %v: %s", err, out)
			h.unable = true
		}
		return nil
	})
	if h.unable {
		t.Skip("skipped: this kernel has no bridges")
	}
	h.server.ip(t, `link set lo up
		link set br0 address 00:1b:21:00:00:77
		link set br0 up
		addr add 192.168.77.1/24 dev br0
		addr add 2001:db8:77::1/64 dev br0 nodad`)
	for i := 1; i <= n; i++ {
		device := newNamespace(t)
		h.devices = append(h.devices, device)
		h.server.ip(t, `link add v%d type veth peer name d%d
			link set v%d master br0 up
			link set d%d netns /proc/%d/fd/%d`, i, i, i, i, os.Getpid(), device.file.Fd())
		device.ip(t, `link set lo up
			link set d%d name eth0 address 02:00:00:00:00:0%d
			link set eth0 up
			addr add 192.168.77.1%d/24 dev eth0
			addr add 2001:db8:77::1%d/64 dev eth0 nodad`, i, i, i, i)
	}
	return h
}

// link returns the index of one of the server's interfaces.
func (h home) link(t *testing.T, name string) (index string) {
	t.Helper()
	h.server.do(t, func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			index = strconv.Itoa(i.Index)
		}
		return err
	})
	return index
}

// send sends a datagram from a device to the server, from where the server's
// kernel learns the device's MAC as it does with any query.
func (h home) send(t *testing.T, device int, from, to string) {
	t.Helper()
	h.devices[device].do(t, func() error {
		local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
		remote := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(to), 5300))
		c, err := net.DialUDP("udp", local, remote)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("?"))
		return err
	})
}

// eventually waits for what the kernel does in its own time.
func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !true(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func TestThreeDevicesWithTwoFamilies(t *testing.T) {
	h := newHome(t, 3)
	k := &kernel{namespace: int(h.server.file.Fd())}
	l, reported := open(t, k, Options{Devices: []Device{{Name: "tv", MACs: []string{"02:00:00:00:00:01"}}}})

	want := []string{"tv", "mac:02:00:00:00:00:02", "mac:02:00:00:00:00:03"}
	for i, device := range want {
		v4, v6 := fmt.Sprintf("192.168.77.1%d", i+1), fmt.Sprintf("2001:db8:77::1%d", i+1)
		h.send(t, i, v4, "192.168.77.1")
		h.send(t, i, v6, "2001:db8:77::1")
		for _, a := range []string{v4, v6} {
			eventually(t, a+" is "+device, func() bool { return l.who(a) == device })
			if b := l.Lookup(addr(a)); b.Confidence != Medium {
				t.Errorf("%s: got %v confidence, want medium for a locally administered MAC", a, b.Confidence)
			}
		}
	}

	before := *l.Lookup(addr("192.168.77.12"))
	h.devices[1].ip(t, `addr del 192.168.77.12/24 dev eth0
		addr add 192.168.77.99/24 dev eth0`)
	h.send(t, 1, "192.168.77.99", "192.168.77.1")
	eventually(t, "a device that changed its address is the same", func() bool { return l.who("192.168.77.99") == want[1] })

	// Another device takes the address left. It asks for the server's MAC, as a
	// device new to the network does; the server's kernel learns by that.
	h.devices[2].ip(t, `addr add 192.168.77.12/24 dev eth0
		neigh flush all`)
	h.send(t, 2, "192.168.77.12", "192.168.77.1")
	eventually(t, "another device at the address left", func() bool { return l.who("192.168.77.12") == want[2] })
	for _, b := range reported.at("192.168.77.12") {
		if b.ID == before.ID && (b.Device != before.Device || b.MAC != before.MAC || !b.From.Equal(before.From)) {
			t.Errorf("history was relabelled: got %+v, want %+v", b, before)
		}
	}
}

func TestAskTheKernel(t *testing.T) {
	h := newHome(t, 1)
	h.server.ip(t, `neigh add 192.168.77.50 lladdr 00:1b:21:00:00:50 dev br0 nud stale
		neigh add 2001:db8:77::50 lladdr 00:1b:21:00:00:50 dev br0 nud stale
		neigh add fe80::50 lladdr 00:1b:21:00:00:50 dev br0 nud stale
		neigh add 10.9.9.9 lladdr 00:1b:21:00:00:51 dev br0 nud stale
		route add default via 192.168.77.11`)
	k := &kernel{namespace: int(h.server.file.Fd())}
	l, _ := open(t, k, Options{})
	eventually(t, "the bridge has its link-local prefix", func() bool { links := k.linkLocal.Load(); return links != nil && len(*links) > 0 })
	for _, c := range []struct {
		name, addr, want string
	}{
		{"an IPv4 neighbour", "192.168.77.50", "00:1b:21:00:00:50"},
		{"an IPv6 neighbour", "2001:db8:77::50", "00:1b:21:00:00:50"},
		{"a link-local neighbour without a zone", "fe80::50", "00:1b:21:00:00:50"},
		{"nobody has the address", "192.168.77.51", ""},
		{"an address behind the router is no neighbour", "10.9.9.9", ""},
		{"this machine", "192.168.77.1", ""},
		{"a zone by number", "fe80::50%" + h.link(t, "br0"), "00:1b:21:00:00:50"},
		{"a zone where it is not", "fe80::50%" + h.link(t, "lo"), ""},
		{"a zone that is none", "fe80::50%nowhere", ""},
	} {
		if e, ok := k.Ask(t.Context(), addr(c.addr)); ok != (c.want != "") || e.MAC != c.want {
			t.Errorf("%s: got %+v, %v, want %q", c.name, e, ok, c.want)
		}
	}
	if b := l.Ask(addr("192.168.77.50")); b.Device != "mac:00:1b:21:00:00:50" || b.Confidence != High {
		t.Errorf("got %+v", b)
	}
}

func TestLinksAreFollowed(t *testing.T) {
	h := newHome(t, 1)
	var moved atomic.Int64
	l, _ := open(t, &kernel{namespace: int(h.server.file.Fd())}, Options{RouterMoved: func() { moved.Add(1) }})
	local := func(a string, want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("Local(%s) is %v", a, want), func() bool { return l.Local(addr(a)) == want })
	}
	local("2001:db8:77::99", true)
	local("2001:db8:78::99", false)
	h.server.ip(t, `addr add 2001:db8:78::1/64 dev br0 nodad`)
	local("2001:db8:78::99", true)
	h.server.ip(t, `addr del 2001:db8:78::1/64 dev br0`)
	local("2001:db8:78::99", false)
	h.server.ip(t, `-6 route add 2001:db8:79::/64 dev br0 proto ra`)
	local("2001:db8:79::99", true)
	h.server.ip(t, `-6 route add 2000::/4 dev br0
		-6 route add 2001:db8:80::/64 dev br0 proto static`)
	local("2001:db8:80::99", false)
	local("2001:db8:ffff::1", false)

	h.server.ip(t, `route add default via 192.168.77.11
		-6 route add default via 2001:db8:77::11`)
	eventually(t, "the gateways are known", func() bool {
		return fmt.Sprint(l.Gateways()) == "[192.168.77.11 2001:db8:77::11]"
	})
	router := func(want string) {
		t.Helper()
		eventually(t, "the router is "+want, func() bool { return l.Router().String() == want && moved.Swap(0) > 0 })
	}
	router("192.168.77.11")
	h.server.ip(t, `route add default via 192.168.77.12 metric 5
		route del default via 192.168.77.11`)
	router("192.168.77.12")
	h.server.ip(t, `route add default via 192.168.77.11 metric 1`)
	router("192.168.77.11")
	h.server.ip(t, `route del default via 192.168.77.11
		route del default via 192.168.77.12`)
	router("2001:db8:77::11")
	h.server.ip(t, `-6 route del default
		-6 route add default via fe80::11 dev br0`)
	router("fe80::11%br0")
	h.server.ip(t, `-6 route del default`)
	router("invalid IP")
	h.server.ip(t, `route add default via 192.168.77.11`)
	router("192.168.77.11")
	h.send(t, 0, "192.168.77.11", "192.168.77.1")
	eventually(t, "the gateway is of low confidence", func() bool {
		b := l.Lookup(addr("192.168.77.11"))
		return b != nil && b.Confidence == Low
	})
	if got := l.who("192.168.77.1"); got != "this-host" {
		t.Errorf("the server's own address: got %q", got)
	}
}

// TestLostKernelEvents overflows the socket for real: the callback holds the
// reader up while the table changes more often than the socket can hold.
func TestLostKernelEvents(t *testing.T) {
	h := newHome(t, 1)
	k := &kernel{namespace: int(h.server.file.Fd())}
	hold, resume := make(chan struct{}), make(chan struct{})
	slow := &slowTable{kernel: k, at: addr("192.168.77.50"), hold: hold, resume: resume}
	l, reported := open(t, slow, Options{})
	h.server.ip(t, "neigh add 192.168.77.50 lladdr 00:1b:21:00:00:50 dev br0 nud stale")
	<-hold // the reader is in the callback
	var batch strings.Builder
	for i := range 16_000 {
		fmt.Fprintf(&batch, "neigh replace 192.168.77.51 lladdr 00:1b:21:00:%02x:%02x dev br0 nud stale\n", i>>8&0xff, i&0xff)
	}
	h.server.do(t, func() error {
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(batch.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	h.server.ip(t, "neigh replace 192.168.77.52 lladdr 00:1b:21:00:00:52 dev br0 nud stale")
	close(resume)
	eventually(t, "the table is read again", func() bool { return l.who("192.168.77.52") == "mac:00:1b:21:00:00:52" })
	eventually(t, "the loss is reported", func() bool { return reported.reports("neighbours-lost") > 0 })
}

// slowTable is the kernel, read by somebody who stops once at a change of one address. Changes
// of links come on another goroutine.
type slowTable struct {
	*kernel
	at           netip.Addr
	once         sync.Once
	hold, resume chan struct{}
}

func (s *slowTable) Follow(ctx context.Context, change func(Change)) error {
	return s.kernel.Follow(ctx, func(c Change) {
		if slices.ContainsFunc(c.Entries, func(e Entry) bool { return e.Addr == s.at }) {
			s.once.Do(func() {
				close(s.hold)
				<-s.resume
			})
		}
		change(c)
	})
}
