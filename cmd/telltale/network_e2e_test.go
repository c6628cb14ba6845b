//go:build e2e && linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"telltale/resolver/dnstest"
	"telltale/web"
)

// need skips a test whose program is not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("skipped: %s is not installed", p)
		}
	}
}

// background starts a program in a namespace, which ends with the test.
func (n *network) background(namespace string, words ...string) (said func() string) {
	n.t.Helper()
	var out lockedBuffer
	c := exec.Command("ip", append([]string{"netns", "exec", namespace}, words...)...)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return out.String
}

// doctor runs the doctor in a namespace, with the settings of a server below dir.
func (n *network) doctor(namespace, dir string, more ...string) (string, map[string]web.Finding) {
	n.t.Helper()
	words := append([]string{"netns", "exec", namespace, os.Args[0], "doctor", "--json"}, more...)
	c := exec.Command("ip", words...)
	c.Env = append(os.Environ(), asTelltale+"=1", "XDG_RUNTIME_DIR="+dir)
	out, _ := c.Output() // its exit status is a finding's
	found := map[string]web.Finding{}
	for code, f := range findingsOf(n.t, string(out)) {
		found[code] = f
	}
	return string(out), found
}

// until waits until the doctor says something.
func (n *network) until(what string, says func() (string, bool)) {
	n.t.Helper()
	var out string
	dnstest.WaitFor(n.t, func() (ok bool) { out, ok = says(); return ok }, func() string { return "not so: " + what + "; got\n" + out })
}

// A DHCP server and a router that hand out another DNS server than Telltale are found by who
// asks as root, and by nobody else.
func TestE2EForeignServersAreFound(t *testing.T) {
	t.Parallel()
	need(t, "dnsmasq")
	n, dir := newNetwork(t), t.TempDir()
	rogue := n.device(0, "00:1a:11:00:00:01")
	said := n.background(rogue, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces", "--user=root",
		"--pid-file="+filepath.Join(dir, "pid"), "--dhcp-leasefile="+filepath.Join(dir, "leases"), "--dhcp-range=192.168.77.100,192.168.77.150,10m", "--dhcp-option=option:dns-server,9.9.9.9",
		"--enable-ra", "--dhcp-range=fd77::,ra-stateless", "--dhcp-option=option6:dns-server,[2620:fe::fe]")
	n.until("all three ways are found", func() (string, bool) {
		out, _ := n.doctor(n.server, dir, "--network", "--data-dir", filepath.Join(dir, "data"), "--lists-dir", filepath.Join(dir, "lists"))
		all := strings.Contains(out, `"9.9.9.9 by DHCP"`) && strings.Contains(out, `"2620:fe::fe by DHCPv6"`) && strings.Contains(out, `"2620:fe::fe by router advertisement"`) &&
			strings.Contains(out, "192.168.77.10 (00:1a:11:00:00:01) on br0 hands out 9.9.9.9 as DNS server, by DHCP")
		return out + said(), all
	})
	if leases, err := os.ReadFile(filepath.Join(dir, "leases")); err != nil || strings.Contains(string(leases), "192.168.77.1") {
		t.Errorf("an address was taken: %s %v", leases, err)
	}

	// radvd, too, on another device.
	if _, err := exec.LookPath("radvd"); err == nil {
		router := n.device(1, "00:1a:11:00:00:02")
		conf := filepath.Join(dir, "radvd.conf")
		if err := os.WriteFile(conf, []byte("interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; RDNSS fd77::99 { }; };\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		n.in(router, "sysctl -qw net.ipv6.conf.all.forwarding=1")
		said := n.background(router, "radvd", "-n", "-m", "stderr", "-C", conf, "-p", filepath.Join(dir, "radvd.pid"))
		n.until("what radvd announces is found", func() (string, bool) {
			out, _ := n.doctor(n.server, dir, "--network", "--data-dir", filepath.Join(dir, "data"), "--lists-dir", filepath.Join(dir, "lists"))
			return out + said(), strings.Contains(out, `"fd77::99 by router advertisement"`) && strings.Contains(out, "00:1a:11:00:00:02")
		})
	} else {
		t.Log("radvd is not installed: it is not tried")
	}

	need(t, "setpriv")
	c := exec.Command("ip", "netns", "exec", n.server, "setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw",
		os.Args[0], "doctor", "--json", "--network", "--data-dir", filepath.Join(dir, "data"), "--lists-dir", filepath.Join(dir, "lists"))
	c.Env = append(os.Environ(), asTelltale+"=1", "XDG_RUNTIME_DIR="+dir)
	out, _ := c.Output()
	if f := findingsOf(t, string(out))["network-unasked"]; !strings.Contains(f.Says, "it needs raw sockets") || !strings.Contains(f.Cure, "sudo telltale doctor --network") {
		t.Errorf("without privileges: got\n%s", out)
	}
}

// The recipes of docs/routers.md hand out the address of Telltale's machine.
func TestE2EADHCPServerBesideTelltale(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(tree, "docs", "routers.md"))
	if err != nil {
		t.Fatal(err)
	}
	recipe := func(language, dir string) string {
		_, text, ok := strings.Cut(string(page), "\n```"+language+"\n")
		text, _, ends := strings.Cut(text, "\n```")
		if !ok || !ends {
			t.Fatalf("docs/routers.md has no recipe for %s", language)
		}
		return strings.NewReplacer("192.168.1.200", "192.168.77.150", "192.168.1.100", "192.168.77.100", "192.168.1.0/24", "192.168.77.0/24", "192.168.1.2", server4, "192.168.1.1", "192.168.77.254",
			"eth0", "br0", "/var/lib/kea/", dir+"/").Replace(text) + "\n"
	}
	for _, c := range []struct{ language, program string }{{"dnsmasq", "dnsmasq"}, {"kea", "kea-dhcp4"}} {
		t.Run(c.program, func(t *testing.T) {
			need(t, c.program)
			n, dir := newNetwork(t), t.TempDir()
			device := n.device(0, "00:1a:11:00:00:01")
			conf := filepath.Join(dir, "conf")
			if err := os.WriteFile(conf, []byte(recipe(c.language, dir)), 0o644); err != nil {
				t.Fatal(err)
			}
			words := []string{"env", "KEA_LOCKFILE_DIR=" + dir, "KEA_PIDFILE_DIR=" + dir, "kea-dhcp4", "-c", conf}
			if c.program == "dnsmasq" {
				words = []string{"dnsmasq", "--keep-in-foreground", "--conf-file=" + conf, "--user=root", "--pid-file=" + filepath.Join(dir, "pid"), "--dhcp-leasefile=" + filepath.Join(dir, "leases")}
			}
			said := n.background(n.server, words...)
			n.until("the device is told to ask Telltale's machine, and nobody else", func() (string, bool) {
				out, _ := n.doctor(device, dir, "--network", "--data-dir", filepath.Join(dir, "data"), "--lists-dir", filepath.Join(dir, "lists"))
				return out + said(), strings.Contains(out, server4+" (") && strings.Contains(out, "hands out "+server4+" as DNS server, by DHCP") && strings.Count(out, "hands out") == 1
			})
		})
	}
}

// In a home where all is well doctor finds nothing. Then what can go wrong goes wrong: a
// firewall, clients of a VPN, a router that forwards for all.
func TestE2EAHealthyHomeIsQuietAndASickOneIsNot(t *testing.T) {
	t.Parallel()
	need(t, "unbound", "dig", "dnsmasq")
	n, dir := newNetwork(t), t.TempDir()
	router, phone := n.device(0, "00:1a:11:00:00:01"), n.device(1, "00:1a:11:00:00:02")
	conf := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(conf, []byte(`server:
 interface: 127.0.0.1@5399
 do-daemonize: no
 username: ""
 chroot: ""
 pidfile: ""
 use-syslog: no
 local-zone: "." static
 local-data: ". NS a.root-servers.net."
 local-zone: "example." redirect
 local-data: "example. 60 A 192.0.2.1"
`), 0o644); err != nil {
		t.Fatal(err)
	}
	n.background(n.server, "unbound", "-d", "-c", conf)
	settings := filepath.Join(dir, "telltale.yaml")
	if err := os.WriteFile(settings, []byte("upstreams: [\"127.0.0.1:5399\"]\nidentity: {find_leases: false}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.in(n.server, "ip route add default via 192.168.77.10")
	p := startProcess(t, dir, []string{"ip", "netns", "exec", n.server}, "--config", settings, "--listen-dns", "0.0.0.0:53,[::]:53")
	ask := func(namespace string, options ...string) string {
		out, _ := exec.Command("ip", append([]string{"netns", "exec", namespace, "dig", "+time=5", "+tries=3"}, options...)...).CombinedOutput()
		return string(out)
	}
	for _, device := range []string{router, phone} {
		if out := ask(device, "@"+server4, "www.example", "A", "+short"); !strings.Contains(out, "192.0.2.1") {
			t.Fatalf("got %s", out)
		}
	}
	args := append([]string{"--fail-on", "warning"}, p.args...)
	n.until("nothing is found but what this machine's clock is", func() (string, bool) {
		out, found := n.doctor(n.server, dir, args...)
		quiet := strings.Contains(out, "Telltale answers") && strings.Contains(out, "it answers itself at "+server4)
		for code, f := range found {
			quiet = quiet && (f.State == stateOK || code == "clock-unsynchronised" || code == "store-full")
		}
		return out, quiet
	})

	// A client of a Tailscale network.
	n.in(phone, "ip addr add 100.101.1.9/32 dev eth0")
	n.in(n.server, "ip route add 100.64.0.0/10 via 192.168.77.11")
	if out := ask(phone, "-b", "100.101.1.9", "@"+server4, "www.example", "A"); !strings.Contains(out, "REFUSED") {
		t.Errorf("got %s", out)
	}
	if out, found := n.doctor(n.server, dir, args...); !strings.Contains(found["access-shared"].Says, "the last from 100.101.1.9") {
		t.Errorf("got\n%s", out)
	}

	// A firewall that lets this machine not even ask itself.
	if _, err := exec.LookPath("nft"); err == nil {
		rules := filepath.Join(dir, "closed.nft")
		if err := os.WriteFile(rules, []byte("table inet closed {\nchain input {\ntype filter hook input priority 0\nip daddr "+server4+" udp dport 53 drop\n}\n}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		n.in(n.server, "nft -f "+rules)
		if out, found := n.doctor(n.server, dir, args...); !strings.Contains(found["reach-failed"].Says, server4+":53") {
			t.Errorf("got\n%s", out)
		}
		n.in(n.server, "nft delete table inet closed")
	} else {
		t.Log("nft is not installed: the firewall is not tried")
	}
	p.stop()

	// A router that forwards for all devices, of a kind that is known.
	n.background(router, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file="+filepath.Join(dir, "router.pid"), "--no-resolv", "--no-hosts", "--cache-size=0",
		"--server="+server4, "--address=/fritz.box/192.168.77.10", "--listen-address=192.168.77.10", "--bind-interfaces")
	hidden := t.TempDir()
	q := startProcess(t, hidden, []string{"ip", "netns", "exec", n.server}, "--config", settings, "--listen-dns", "0.0.0.0:53,[::]:53")
	batch := filepath.Join(dir, "batch")
	var names strings.Builder
	for i := range 150 {
		fmt.Fprintf(&names, "n%d.example A\n", i)
	}
	if err := os.WriteFile(batch, []byte(names.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	n.until("the router is answered for", func() (string, bool) {
		out := ask(phone, "@192.168.77.10", "www.example", "A", "+short")
		return out, strings.Contains(out, "192.0.2.1")
	})
	ask(phone, "@192.168.77.10", "-f", batch, "+short")
	n.until("the router hides the devices", func() (string, bool) {
		out, found := n.doctor(n.server, hidden, q.args...)
		f := found["clients-one-address"]
		return out, f.Subject == "192.168.77.10" && strings.Contains(f.Says, "the router") && strings.Contains(f.Cure, "docs/routers.md#fritzbox") && strings.Contains(f.Cure, "server="+server4)
	})
	q.stop()
}

// The stub of systemd-resolved is called by its name.
func TestE2EDoctorKnowsTheStub(t *testing.T) {
	t.Parallel()
	n, dir := newNetwork(t), t.TempDir()
	stub := filepath.Join(dir, "systemd-resolve")
	if err := os.Symlink(os.Args[0], stub); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "stub"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("ip", "netns", "exec", n.server, stub, "serve", "--listen-dns", "127.0.0.53:53", "--data-dir", filepath.Join(dir, "stub"), "--lists-dir", filepath.Join(dir, "lists"))
	c.Env = append(os.Environ(), asTelltale+"=1", "XDG_RUNTIME_DIR="+filepath.Join(dir, "stub"))
	c.Stdout, c.Stderr = t.Output(), t.Output() // shown where it fails
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	n.until("the stub is recognised", func() (string, bool) {
		out, found := n.doctor(n.server, dir, "--listen-dns", "0.0.0.0:53", "--data-dir", filepath.Join(dir, "data"), "--lists-dir", filepath.Join(dir, "lists"))
		return out, strings.Contains(found["port-taken"].Says, "the stub of systemd-resolved") && strings.Contains(found["port-taken"].Cure, "DNSStubListener=no")
	})
}

// The rules for nftables are valid, and stop devices but not Telltale.
func TestE2EFirewallRulesHold(t *testing.T) {
	t.Parallel()
	need(t, "nft", "dig", "unbound")
	r := &firewallRules{}
	if err := r.setServers([]string{"192.168.77.11", "fd77::11"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "telltale.nft")
	for _, macs := range [][]string{{"00:1a:11:00:00:01", "00:1a:11:00:00:02"}, nil} {
		r.macs = macs
		if err := os.WriteFile(file, []byte(nftablesRules(r)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("nft", "-c", "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, nftablesRules(r))
		}
	}
	n := newNetwork(t) // its server is the router here
	device, telltale := n.device(0, "00:1a:11:00:00:01"), n.device(1, "00:1a:11:00:00:02")
	outside := n.name + "o"
	n.namespace(outside)
	n.run("ip", "-n", outside, "link", "add", "eth0", "type", "veth", "peer", "name", "wan", "netns", n.server)
	n.in(n.server, "ip addr add 192.0.2.1/24 dev wan")
	n.in(n.server, "ip link set wan up")
	n.in(n.server, "sysctl -qw net.ipv4.ip_forward=1")
	n.in(outside, "ip addr add 192.0.2.53/24 dev eth0")
	n.in(outside, "ip link set eth0 up")
	n.in(outside, "ip route add default via 192.0.2.1")
	conf := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(conf, []byte("server:\n interface: 192.0.2.53@53\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n local-zone: \".\" redirect\n local-data: \". A 203.0.113.7\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.background(outside, "unbound", "-d", "-c", conf)
	asks := func(namespace string) string {
		out, _ := exec.Command("ip", "netns", "exec", namespace, "dig", "@192.0.2.53", "www.example", "+short", "+time=2", "+tries=2").CombinedOutput()
		return string(out)
	}
	for _, namespace := range []string{device, telltale} {
		n.in(namespace, "ip route add default via "+server4)
		n.until("without rules it asks outside", func() (string, bool) { out := asks(namespace); return out, strings.Contains(out, "203.0.113.7") })
	}
	n.in(n.server, "nft -f "+file)
	if out := asks(device); strings.Contains(out, "203.0.113.7") {
		t.Errorf("the device still asks outside: %s", out)
	}
	if out := asks(telltale); !strings.Contains(out, "203.0.113.7") {
		t.Errorf("Telltale's machine cannot ask: %s", out)
	}
	n.in(n.server, "nft delete table inet telltale")
	n.until("without rules it asks again", func() (string, bool) { out := asks(device); return out, strings.Contains(out, "203.0.113.7") })
}

// An upstream that is a Telltale itself is told from others.
func TestE2EAnUpstreamThatIsATelltale(t *testing.T) {
	t.Parallel()
	first := startProcess(t, t.TempDir(), nil, "--listen-dns", "127.0.0.1:0")
	srv := startTestServer(t, t.TempDir(), first.addr, "")
	var out string
	found := func() bool {
		out, _ = srv.run("doctor", "--json")
		return findingsOf(t, out)["upstreams-telltale"].Subject == first.addr.String()
	}
	dnstest.WaitFor(t, found, func() string { return "got\n" + out })
	first.stop()
}
