package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A network is a bridge in a namespace of its own, where the server runs, and a
// namespace for each device, as a home has it.
type network struct {
	t      *testing.T
	name   string
	server string // the namespace
}

var networks atomic.Int64 // that were made: each has a name of its own

const (
	server4, server6 = "192.168.77.1", "fd77::1"
)

func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Getuid() != 0 {
		skipUnlessCI(t, "network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		skipUnlessCI(t, "ip is not installed (Debian: iproute2)")
	}
	n := &network{t: t, name: fmt.Sprintf("tt%dn%d", os.Getpid(), networks.Add(1))}
	n.server = n.name + "s"
	n.namespace(n.server)
	n.in(n.server, "ip link add br0 type bridge")
	n.in(n.server, "ip addr add "+server4+"/24 dev br0")
	n.in(n.server, "ip addr add "+server6+"/64 dev br0 nodad")
	n.in(n.server, "ip link set br0 up")
	return n
}

// namespace makes a namespace that goes with the test. What lies in
// /etc/netns/NAME is seen in /etc by processes in it.
func (n *network) namespace(name string) {
	n.t.Helper()
	n.run("ip", "netns", "add", name)
	n.t.Cleanup(func() { exec.Command("ip", "netns", "delete", name).Run() })
	n.in(name, "ip link set lo up")
}

// device makes a device with an address of each family on the bridge.
func (n *network) device(i int, mac string) (namespace string) {
	n.t.Helper()
	namespace = fmt.Sprintf("%sd%d", n.name, i)
	n.namespace(namespace)
	port := fmt.Sprintf("p%d", i)
	n.run("ip", "-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", n.server)
	n.in(n.server, "ip link set "+port+" master br0 up")
	n.in(namespace, "ip link set eth0 address "+mac)
	n.in(namespace, fmt.Sprintf("ip addr add 192.168.77.%d/24 dev eth0", 10+i))
	n.in(namespace, fmt.Sprintf("ip addr add fd77::%d/64 dev eth0 nodad", 10+i))
	n.in(namespace, "ip link set eth0 up")
	etc := filepath.Join("/etc/netns", namespace)
	if err := os.MkdirAll(etc, 0o755); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { os.RemoveAll(etc) })
	n.nameserver(namespace, server4)
	return namespace
}

// nameserver sets whom a device's resolver asks.
func (n *network) nameserver(namespace, addr string) {
	n.t.Helper()
	conf := "nameserver " + addr + "\noptions timeout:10 attempts:1\n"
	if err := os.WriteFile(filepath.Join("/etc/netns", namespace, "resolv.conf"), []byte(conf), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) in(namespace, command string) string {
	n.t.Helper()
	return n.run(append([]string{"ip", "netns", "exec", namespace}, strings.Fields(command)...)...)
}

func (n *network) run(words ...string) string {
	n.t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%q: %v\n%s", words, err, out)
	}
	return string(out)
}

// TestDevicesOfANetwork has three devices ask with their own resolver library
// (getaddrinfo) for names of the catalogue, over both families, and wants every
// lookup under the right device and vendor, also when one changes its address.
func TestDevicesOfANetwork(t *testing.T) {
	n := newNetwork(t)
	macs := []string{"00:1a:11:00:00:01", "00:1a:11:00:00:02", "00:1a:11:00:00:03"}
	names := []string{"data.mistat.xiaomi.com", "log-config.samsungacr.com", "firebaselogging.googleapis.com"}
	vendors := []string{"Xiaomi", "Samsung", "Google"}
	var devices []string
	for i, mac := range macs {
		devices = append(devices, n.device(i, mac))
	}
	dir := t.TempDir()
	cfg := filepath.Join(dir, "telltale.yaml")
	if err := os.WriteFile(cfg, []byte("devices:\n  - {name: tv, mac: \""+macs[1]+"\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, dir, []string{"ip", "netns", "exec", n.server}, "--config", cfg, "--listen-dns", "0.0.0.0:53,[::]:53")
	lookup := func(i int, nameserver string) {
		t.Helper()
		n.nameserver(devices[i], nameserver)
		// ahosts asks for A and AAAA through getaddrinfo.
		if out := n.in(devices[i], "getent ahosts "+names[i]); !strings.Contains(out, "0.0.0.0") {
			t.Errorf("device %d via %s: %q, want the null address", i, nameserver, out)
		}
	}
	for i := range devices {
		lookup(i, server4)
		lookup(i, server6)
	}
	n.in(devices[2], "ip addr del 192.168.77.12/24 dev eth0")
	n.in(devices[2], "ip addr add 192.168.77.99/24 dev eth0")
	lookup(2, server4)

	want := []string{"mac:" + macs[0], "tv", "mac:" + macs[2]}
	var seen map[string]map[string]bool // device to client addresses
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		seen = map[string]map[string]bool{}
		for _, row := range p.rows() {
			device, client := row["device"].(string), row["client"].(string)
			i := strings.Index(strings.Join(names, " ")+" ", row["name"].(string)+" ")
			at := strings.Count((strings.Join(names, " ") + " ")[:max(i, 0)], " ")
			if device != want[at] || row["vendor"] != vendors[at] || row["verdict"] != "block" {
				t.Errorf("%s asked by %s: device %s, vendor %v, want %s, %s", row["name"], client, device, row["vendor"], want[at], vendors[at])
			}
			if seen[device] == nil {
				seen[device] = map[string]bool{}
			}
			seen[device][client] = true
		}
		if len(seen) == 3 && len(seen[want[0]]) == 2 && len(seen[want[1]]) == 2 && len(seen[want[2]]) == 3 {
			break
		}
		if time.Now().After(end) || t.Failed() {
			t.Fatalf("seen %v", seen)
		}
	}
	p.stop()
}

// TestRepliesLeaveFromTheAddressAsked asks a wildcard listener at each of
// several addresses; a client that is connected takes a reply from no other.
func TestRepliesLeaveFromTheAddressAsked(t *testing.T) {
	n := newNetwork(t)
	device := n.device(0, "00:1a:11:00:00:01")
	n.in(n.server, "ip addr add 192.168.77.2/24 dev br0")
	n.in(n.server, "ip addr add fd77::2/64 dev br0 nodad")
	p := startProcess(t, t.TempDir(), []string{"ip", "netns", "exec", n.server}, "--listen-dns", "0.0.0.0:53,[::]:53")
	for _, at := range []string{server4, "192.168.77.2", server6, "fd77::2"} {
		for _, transport := range []string{"+notcp", "+tcp"} {
			out := n.in(device, "dig +short +tries=1 +time=10 "+transport+" @"+at+" data.mistat.xiaomi.com")
			if strings.TrimSpace(out) != "0.0.0.0" {
				t.Errorf("asked at %s, %s: %q", at, transport, out)
			}
		}
	}
	if link := strings.Fields(n.in(n.server, "ip -6 -o addr show dev br0 scope link")); len(link) > 3 {
		at, _, _ := strings.Cut(link[3], "/")
		if out := n.in(device, "dig +short +tries=1 +time=10 @"+at+"%eth0 data.mistat.xiaomi.com"); strings.TrimSpace(out) != "0.0.0.0" {
			t.Errorf("asked at %s: %q", at, out)
		}
	} else {
		t.Error("the bridge has no link-local address")
	}
	p.stop()
}

// TestTheFirstQueryFromANewAddress has a device of known MAC, with a rule of its
// own, take new addresses as phones do, and ask from each at once: it must never
// be answered as a stranger, which here gets an address. Its lookups are under its
// name.
func TestTheFirstQueryFromANewAddress(t *testing.T) {
	n := newNetwork(t)
	const mac = "00:1b:21:aa:bb:01"
	device := n.device(0, mac)
	dir := t.TempDir()
	cfg := filepath.Join(dir, "telltale.yaml")
	if err := os.WriteFile(cfg, []byte("devices:\n  - {name: tablet, mac: \""+mac+"\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "lists"), 0o755); err != nil {
		t.Fatal(err)
	}
	own := "||game.example^$client='tablet',important\n||game.example^$dnsrewrite=192.168.77.7\n"
	if err := os.WriteFile(filepath.Join(dir, "lists", "own.txt"), []byte(own), 0o644); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, dir, []string{"ip", "netns", "exec", n.server}, "--config", cfg, "--listen-dns", "0.0.0.0:53,[::]:53")
	ask := func(from, at string, options ...string) string {
		t.Helper()
		return strings.TrimSpace(n.in(device, "dig +short +tries=1 +time=10 "+strings.Join(options, " ")+" -b "+from+" @"+at+" game.example"))
	}
	for i := range 4 {
		for family, at := range map[string]string{"192.168.77.%d/24": server4, "fd77::%d/64": server6} {
			address := fmt.Sprintf(family, 100+i)
			n.in(device, "ip addr add "+address+" dev eth0 nodad")
			from, _, _ := strings.Cut(address, "/")
			transport := []string{"+notcp", "+tcp"}[i%2]
			if got := ask(from, at, transport); got != "0.0.0.0" {
				t.Errorf("the first query from %s, %s: %q, want the null address", from, transport, got)
			}
		}
	}
	for _, row := range p.rows() {
		if row["device"] != "tablet" {
			t.Errorf("a lookup from %v is under %v, want tablet", row["client"], row["device"])
		}
	}
	p.stop()
}

// TestAnAddressThatComesLate starts the server before the machine has one of its
// addresses, as at boot: it answers on the other, and on this one once it is there.
func TestAnAddressThatComesLate(t *testing.T) {
	n := newNetwork(t)
	device := n.device(1, "00:1a:11:00:00:01")
	n.in(n.server, "ip addr add 192.168.77.2/24 dev br0")
	startProcess(t, t.TempDir(), []string{"ip", "netns", "exec", n.server}, "--listen-dns", "192.168.77.2:53,192.168.77.3:53")
	ask := func(server string) string {
		n.nameserver(device, server)
		out, _ := exec.Command("ip", "netns", "exec", device, "timeout", "2", "getent", "ahostsv4", "data.mistat.xiaomi.com").CombinedOutput()
		return string(out)
	}
	if got := ask("192.168.77.2"); !strings.Contains(got, "0.0.0.0") {
		t.Errorf("on the address that is there: got %q", got)
	}
	if got := ask("192.168.77.3"); strings.Contains(got, "0.0.0.0") {
		t.Fatalf("an address that nobody has: got %q", got)
	}
	n.in(n.server, "ip addr add 192.168.77.3/24 dev br0")
	for end := time.Now().Add(patience); !strings.Contains(ask("192.168.77.3"), "0.0.0.0"); {
		if time.Now().After(end) {
			t.Fatal("no answer on the address that came late")
		}
	}
}
