//go:build e2e && linux

package devices

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A dhcpServer is a real one, with what it is run by and where it keeps its leases. In
// what is written of it, {dir} is a directory of the test.
type dhcpServer struct {
	program, kind string
	files         map[string]string // by name, written before it is started
	args          []string
	leases        string
	ipv6          bool
	hook          string // a library that it loads, {hook} in its files; "" for none
}

const (
	keaHook   = "libdhcp_lease_cmds.so"
	keaSocket = `"interfaces-config":{"interfaces":["br0"]},"lease-database":{"type":"memfile","persist":false},"valid-lifetime":600,` +
		`"control-socket":{"socket-type":"unix","socket-name":"{dir}/kea.sock"},"hooks-libraries":[{"library":"{hook}"}],`
	keaStart = `"interfaces-config":{"interfaces":["br0"]},"lease-database":{"type":"memfile","persist":true,"name":"{dir}/kea.csv","lfc-interval":0},"valid-lifetime":600,`
	ipv6Pool = "2001:db8:77::100 2001:db8:77::1ff"
)

var dhcpServers = []dhcpServer{
	{program: "dnsmasq", kind: "dnsmasq", leases: "dnsmasq.leases", args: []string{"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=br0", "--bind-interfaces", "--user=root",
		"--pid-file={dir}/pid", "--dhcp-leasefile={dir}/dnsmasq.leases", "--dhcp-range=192.168.77.100,192.168.77.150,10m", "--dhcp-authoritative"}},
	{program: "dnsmasq", kind: "dnsmasq", leases: "dnsmasq.leases", ipv6: true, args: []string{"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=br0", "--bind-interfaces", "--user=root",
		"--pid-file={dir}/pid", "--dhcp-leasefile={dir}/dnsmasq.leases", "--dhcp-range=2001:db8:77::100,2001:db8:77::1ff,64,10m"}},
	{program: "dhcpd", kind: "dhcpd", leases: "dhcpd.leases", files: map[string]string{
		"dhcpd.conf": "authoritative;\ndefault-lease-time 600;\nsubnet 192.168.77.0 netmask 255.255.255.0 { range 192.168.77.100 192.168.77.150; }\n", "dhcpd.leases": ""},
		args: []string{"-f", "-4", "-cf", "{dir}/dhcpd.conf", "-lf", "{dir}/dhcpd.leases", "-pf", "{dir}/pid", "br0"}},
	{program: "dhcpd", kind: "dhcpd", leases: "dhcpd.leases", ipv6: true, files: map[string]string{
		"dhcpd.conf": "default-lease-time 600;\nsubnet6 2001:db8:77::/64 { range6 " + ipv6Pool + "; }\n", "dhcpd.leases": ""},
		args: []string{"-f", "-6", "-cf", "{dir}/dhcpd.conf", "-lf", "{dir}/dhcpd.leases", "-pf", "{dir}/pid", "br0"}},
	{program: "kea-dhcp4", kind: "kea", leases: "kea.csv", files: map[string]string{
		"kea.conf": `{"Dhcp4":{` + keaStart + `"subnet4":[{"subnet":"192.168.77.0/24","interface":"br0","pools":[{"pool":"192.168.77.100-192.168.77.150"}]}]}}`},
		args: []string{"-c", "{dir}/kea.conf"}},
	{program: "kea-dhcp6", kind: "kea", leases: "kea.csv", ipv6: true, files: map[string]string{
		"kea.conf": `{"Dhcp6":{"data-directory":"{dir}","preferred-lifetime":300,` + keaStart + `"subnet6":[{"subnet":"2001:db8:77::/64","interface":"br0","pools":[{"pool":"2001:db8:77::100-2001:db8:77::1ff"}]}]}}`},
		args: []string{"-c", "{dir}/kea.conf"}},
	{program: "kea-dhcp4", kind: "kea", leases: "kea.sock", hook: keaHook, files: map[string]string{
		"kea.conf": `{"Dhcp4":{` + keaSocket + `"subnet4":[{"subnet":"192.168.77.0/24","interface":"br0","pools":[{"pool":"192.168.77.100-192.168.77.150"}]}]}}`},
		args: []string{"-c", "{dir}/kea.conf"}},
	{program: "kea-dhcp6", kind: "kea", leases: "kea.sock", ipv6: true, hook: keaHook, files: map[string]string{
		"kea.conf": `{"Dhcp6":{"data-directory":"{dir}","preferred-lifetime":300,` + keaSocket + `"subnet6":[{"subnet":"2001:db8:77::/64","interface":"br0","pools":[{"pool":"2001:db8:77::100-2001:db8:77::1ff"}]}]}}`},
		args: []string{"-c", "{dir}/kea.conf"}},
}

// Real DHCP servers give addresses to real clients, and their files say whose they are.
func TestE2ELeasesOfRealServers(t *testing.T) {
	for _, s := range dhcpServers {
		name := s.program
		if s.ipv6 {
			name += "-ipv6"
		}
		if s.hook != "" {
			name += "-socket"
		}
		t.Run(name, func(t *testing.T) {
			for _, program := range []string{s.program, "dhclient"} {
				if _, err := exec.LookPath(program); err != nil {
					t.Skipf("skipped: %s is not installed", program)
				}
			}
			if found, _ := filepath.Glob("/usr/lib/*/kea/hooks/" + s.hook); s.hook != "" && len(found) == 0 {
				t.Skipf("skipped: Kea's hook %s is not installed", s.hook)
			} else if s.hook != "" {
				s.files = map[string]string{"kea.conf": strings.ReplaceAll(s.files["kea.conf"], "{hook}", found[0])}
			}
			s.run(t)
		})
	}
}

func (s *dhcpServer) run(t *testing.T) {
	h, dir := newHome(t, 2), t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range s.files {
		write(t, filepath.Join(dir, name), strings.ReplaceAll(text, "{dir}", dir))
	}
	k := &kernel{namespace: int(h.server.file.Fd())}
	path := filepath.Join(dir, s.leases)
	l, _ := open(t, k, Options{Leases: []LeaseFile{{Path: path}}, LeasePoll: 200 * time.Millisecond})
	var args []string
	for _, a := range s.args {
		args = append(args, strings.ReplaceAll(a, "{dir}", dir))
	}
	h.settle(t)
	said := start(t, h.server, s.program, args, "KEA_LOCKFILE_DIR="+dir, "KEA_PIDFILE_DIR="+dir)
	for i, device := range h.devices {
		conf := filepath.Join(dir, fmt.Sprintf("client%d.conf", i))
		write(t, conf, fmt.Sprintf("send host-name \"set-%d\";\nsend fqdn.fqdn \"set-%d.\";\ntimeout 60;\nretry 1;\ninitial-interval 1;\n", i+1, i+1))
		family := "-4"
		if s.ipv6 {
			family = "-6"
		}
		start(t, device, "dhclient", []string{"-d", family, "-cf", conf, "-lf", conf + ".leases", "-pf", conf + ".pid", "-sf", "/bin/true", "eth0"})
	}
	for i := range h.devices {
		mac := fmt.Sprintf("02:00:00:00:00:0%d", i+1)
		var got Binding
		deadline := time.Now().Add(60 * time.Second)
		for got.Source == 0 {
			for _, d := range l.List() {
				for _, b := range d.Bindings {
					// dnsmasq puts the address of a client into the neighbour table.
					leased := b.Source == Lease || b.Source == Neighbour && l.Leases()[b.Addr].MAC == mac
					if b.MAC == mac && leased && b.Until.IsZero() {
						got = b
					}
				}
			}
			if time.Now().After(deadline) {
				text, _ := os.ReadFile(path)
				t.Fatalf("%s has no lease after a minute; the server said\n%s\nits file:\n%s\n%+v", mac, said(), text, l.LeaseStatus())
			}
			time.Sleep(50 * time.Millisecond)
		}
		want := Medium
		if s.ipv6 && got.Source == Lease {
			want = Low // the MAC is that of the DUID
		}
		if got.Device != "mac:"+mac || got.Confidence != want || got.Addr.Is6() != s.ipv6 {
			t.Errorf("got %+v, want mac:%s with %v confidence", got, mac, want)
		}
		if host := fmt.Sprintf("set-%d (00:00:0%d)", i+1, i+1); !s.ipv6 && got.Name != host {
			t.Errorf("shown as %q, want %q", got.Name, host)
		}
	}
	if st := l.LeaseStatus(); len(st) != 1 || st[0].Kind != s.kind || st[0].Problem != "" || st[0].Leases != 2 {
		t.Errorf("got %+v", st)
	}
}

// start runs a program in a namespace until the test ends, and returns what it said.
func start(t *testing.T, ns namespace, program string, args []string, env ...string) (said func() string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, append(os.Environ(), env...)
	ns.do(t, cmd.Start)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return func() string {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return out.String()
	}
}
