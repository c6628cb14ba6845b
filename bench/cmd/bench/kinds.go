package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A kind is a server program and how it is set up: blocking a list, with a
// cache, forwarding all else to the upstream, without validation, on one core.
type kind struct {
	program string                                         // looked for in PATH
	version []string                                       // arguments that print it
	setup   func(at site) (words, env []string, err error) // writes its files
	load    func(out *bytes.Buffer, name string)           // the list in its words, where it has a file of its own
}

// A site is where a server is set up.
type site struct {
	dir            string // its own, empty at first
	list           string // the names, in the server's words
	port, upstream int
	telltale       string  // the program
	tools          string  // where echo is
	settings       string  // Telltale's file, where it has one
	profile        string  // what Telltale writes a profile of itself to, where it is to
	group          string  // the directory of the control group it is in, where it is in one
	secure         *secure // where it answers over TLS and HTTPS, too; nil: it does not
}

// peers are the servers of Debian that Telltale is measured beside.
var peers = []string{"unbound", "dnsmasq", "dnsdist", "knot-resolver", "pdns-recursor"}

// kinds are all servers that can be measured, by name.
var kinds = map[string]kind{
	"telltale":       {setup: setupTelltale, version: []string{"version"}},
	"telltale-nolog": {setup: setupTelltaleWithoutLog, version: []string{"version"}},
	earlier:          {setup: setupTelltale},
	"echo":           {setup: setupEcho},
	"unbound": {
		program: "unbound", version: []string{"-V"}, setup: setupUnbound,
		load: func(out *bytes.Buffer, name string) { fmt.Fprintf(out, "local-zone: \"%s\" always_null\n", name) },
	},
	"dnsmasq": {
		program: "dnsmasq", version: []string{"--version"}, setup: setupDnsmasq,
		load: func(out *bytes.Buffer, name string) { fmt.Fprintf(out, "address=/%s/0.0.0.0\n", name) },
	},
	"dnsdist":       {program: "dnsdist", version: []string{"--version"}, setup: setupDnsdist},
	"knot-resolver": {program: "kresd", version: []string{"--version"}, setup: setupKresd, load: zoneRule},
	"pdns-recursor": {program: "pdns_recursor", version: []string{"--version"}, setup: setupRecursor, load: zoneRule},
}

// zoneRule is a rule of a response policy zone. Only the name itself is
// listed: twice the rules would be needed for what is below it.
func zoneRule(out *bytes.Buffer, name string) { fmt.Fprintf(out, "%s CNAME .\n", name) }

const zoneHead = "$ORIGIN block.bench.\n$TTL 3600\n@ SOA ns.bench. host.bench. 1 3600 600 86400 60\n@ NS ns.bench.\n"

// listFor writes the list in the kind's own words, once.
func (k kind) listFor(name string, c *catalogue) (string, error) {
	if k.load == nil {
		return c.list, nil
	}
	path := filepath.Join(c.dir, name+".list")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	text, err := os.ReadFile(c.list)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if name == "knot-resolver" || name == "pdns-recursor" {
		out.WriteString(zoneHead)
	}
	for line := range bytes.Lines(text) {
		k.load(&out, string(bytes.TrimSpace(line)))
	}
	return path, os.WriteFile(path, out.Bytes(), 0o644)
}

// look finds the program and its version.
func (k kind) look(s *settings) (version string, err error) {
	program := k.program
	if program == "" {
		program = s.telltale
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", err
	}
	if k.version == nil {
		return "", nil
	}
	out, _ := exec.Command(path, k.version...).CombinedOutput()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if k.program == "" {
		return strings.Fields(first + " unknown")[1], nil // "telltale VERSION ..."
	}
	for word := range strings.FieldsSeq(first) {
		if strings.ContainsAny(word, "0123456789") && (strings.Contains(word, ".") || strings.Contains(word, "-")) {
			return strings.Trim(word, ",()"), nil
		}
	}
	return first, nil
}

func setupTelltale(at site) (words, env []string, err error) {
	lists := filepath.Join(at.dir, "lists.d")
	if err := os.MkdirAll(lists, 0o755); err != nil {
		return nil, nil, err
	}
	// A second start finds the list as it was, so that what it has compiled holds.
	if _, err := os.Stat(filepath.Join(lists, "names.txt")); err != nil {
		text, err := os.ReadFile(at.list)
		if err != nil {
			return nil, nil, err
		}
		if err := os.WriteFile(filepath.Join(lists, "names.txt"), text, 0o644); err != nil {
			return nil, nil, err
		}
	}
	data := filepath.Join(at.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, nil, err
	}
	words = []string{
		at.telltale, "serve", "--lists-dir", lists, "--data-dir", data,
		"--listen-dns", fmt.Sprintf("127.0.0.1:%d", at.port), "--upstreams", fmt.Sprintf("127.0.0.1:%d", at.upstream),
	}
	if at.secure != nil {
		if at.settings, err = at.secure.telltale(at); err != nil {
			return nil, nil, err
		}
	}
	if at.settings != "" {
		words = append(words, "--config", at.settings)
	}
	if at.profile != "" {
		words = append(words, "--cpuprofile", at.profile)
	}
	if at.group != "" {
		words = append([]string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, at.group}, words...)
	}
	return words, nil, nil
}

func setupTelltaleWithoutLog(at site) (words, env []string, err error) {
	words, _, err = setupTelltale(at)
	return words, []string{"TELLTALE_LOG_ENABLED=false"}, err
}

func setupEcho(at site) (words, env []string, err error) {
	return []string{filepath.Join(at.tools, "echo"), fmt.Sprint(at.port), "2"}, nil, nil
}

func setupUnbound(at site) (words, env []string, err error) {
	conf, err := at.write("unbound.conf", `server:
  interface: 127.0.0.1
  port: %d
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "%s"
  pidfile: ""
  use-syslog: no
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  msg-cache-size: 16m
  rrset-cache-size: 32m
  include: "%s"
%sforward-zone:
  name: "."
  forward-addr: 127.0.0.1@%d
remote-control:
  control-enable: no
`, at.port, at.dir, at.list, at.secure.unbound(), at.upstream)
	return []string{"unbound", "-d", "-c", conf}, nil, err
}

func setupDnsmasq(at site) (words, env []string, err error) {
	user := ""
	if os.Getuid() == 0 {
		user = "user=root\n" // it would change to an account that may not read the list
	}
	conf, err := at.write("dnsmasq.conf", `port=%d
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
pid-file=
server=127.0.0.1#%d
cache-size=25000
dns-forward-max=1000
conf-file=%s
%s`, at.port, at.upstream, at.list, user)
	return []string{"dnsmasq", "--keep-in-foreground", "--conf-file=" + conf}, nil, err
}

func setupDnsdist(at site) (words, env []string, err error) {
	conf, err := at.write("dnsdist.conf", `setLocal("127.0.0.1:%d")
setSecurityPollSuffix("")
%snewServer({address="127.0.0.1:%d", healthCheckMode="up"})
getPool(""):setCache(newPacketCache(100000))
names = newSuffixMatchNode()
for line in io.lines("%s") do names:add(newDNSName(line)) end
addAction(SuffixMatchNodeRule(names), SpoofAction("0.0.0.0"))
getServer(0):setUp()
`, at.port, at.secure.dnsdist(), at.upstream, at.list)
	return []string{"dnsdist", "--supervised", "--disable-syslog", "-C", conf}, nil, err
}

func setupKresd(at site) (words, env []string, err error) {
	conf, err := at.write("kresd.conf", `net.listen('127.0.0.1', %d)
%smodules.load('policy')
trust_anchors.remove('.')
cache.size = 100 * MB
policy.add(policy.rpz(policy.DENY, '%s'))
policy.add(policy.all(policy.FORWARD('127.0.0.1@%d')))
`, at.port, at.secure.kresd(), at.list, at.upstream)
	return []string{"kresd", "--noninteractive", "--config=" + conf, at.dir}, nil, err
}

func setupRecursor(at site) (words, env []string, err error) {
	if _, err := at.write("rpz.lua", "rpzFile(\"%s\", {defpol=Policy.NXDOMAIN})\n", at.list); err != nil {
		return nil, nil, err
	}
	_, err = at.write("recursor.conf", `local-address=127.0.0.1
local-port=%d
forward-zones-recurse=.=127.0.0.1:%d
dnssec=off
threads=1
dont-query=
daemon=no
write-pid=no
disable-syslog=yes
security-poll-suffix=
setuid=
setgid=
socket-dir=%s
lua-config-file=%s
`, at.port, at.upstream, at.dir, filepath.Join(at.dir, "rpz.lua"))
	return []string{"pdns_recursor", "--config-dir=" + at.dir}, nil, err
}

// setupKnot is an authoritative server for the root with one wildcard, as the
// upstream of all others.
func setupKnot(at site) (words []string, err error) {
	if _, err := at.write("root.zone", `. 3600 SOA ns.bench. host.bench. 1 3600 600 86400 60
. 3600 NS ns.bench.
*. 3600 A %s
`, upstreamA); err != nil {
		return nil, err
	}
	conf, err := at.write("knot.conf", `server:
  listen: 127.0.0.1@%d
  rundir: "%s"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "%s"
zone:
  - domain: .
    storage: "%s"
    file: root.zone
`, at.port, at.dir, at.dir, at.dir)
	return []string{"knotd", "-c", conf}, err
}

func (at site) write(name, format string, args ...any) (path string, err error) {
	path = filepath.Join(at.dir, name)
	return path, os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o644)
}
