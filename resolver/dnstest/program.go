package dnstest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A Program is a DNS server of others, and how it is started. PORT, DIR (a folder of
// its own) and CONFIG (the file with Config) are filled in.
type Program struct {
	Name   string
	Config string
	Args   []string
	Files  map[string]string // others in DIR
}

// StartProgram runs a DNS server of others on a loopback port until the test ends, and
// returns its address once it answers. Without the program the test is skipped: to
// install one may start it as a service of the machine, so no script does.
func StartProgram(t testing.TB, p Program) (addr string) {
	t.Helper()
	program, err := exec.LookPath(p.Name)
	if err != nil {
		t.Skipf("skipped: there is no %s", p.Name)
	}
	udp, tcp := ListenBoth(t)
	port := udp.LocalAddr().(*net.UDPAddr).Port
	udp.Close()
	tcp.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	fill := strings.NewReplacer("PORT", strconv.Itoa(port), "CONFIG", config, "DIR", dir)
	files := map[string]string{"config": p.Config}
	for name, text := range p.Files {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := exec.Command(program)
	for _, arg := range p.Args {
		server.Args = append(server.Args, fill.Replace(arg))
	}
	var said output
	server.Dir, server.Stdout, server.Stderr = dir, &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.Name, said.String())
		}
	})
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	c := dns.Client{Timeout: time.Second}
	WaitFor(t, func() bool {
		// No cache keeps the answer to it.
		version := new(dns.Msg).SetQuestion("version.bind.", dns.TypeTXT)
		version.Question[0].Qclass = dns.ClassCHAOS
		_, _, err := c.Exchange(version, addr)
		return err == nil
	}, func() string { return p.Name + " does not answer:\n" + said.String() })
	return addr
}

// An output keeps what a program says while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Dnsmasq is dnsmasq with a configuration.
func Dnsmasq(config string) Program {
	return Program{
		Name:   "dnsmasq",
		Config: "port=PORT\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=\n" + config,
		Args:   []string{"--keep-in-foreground", "--log-facility=-", "--pid-file=", "--conf-file=CONFIG"},
	}
}

// Unbound is unbound with lines of its clause "server", and further clauses.
func Unbound(server, clauses string) Program {
	return Program{
		Name: "unbound",
		Config: "server:\nport: PORT\ninterface: 127.0.0.1\ndo-daemonize: no\npidfile: \"\"\nchroot: \"\"\nusername: \"\"\nuse-syslog: no\n" +
			"do-not-query-localhost: no\n" + server + "remote-control:\ncontrol-enable: no\n" + clauses,
		Args: []string{"-d", "-c", "CONFIG"},
	}
}

// Named is BIND's named with lines of its options, and further clauses.
func Named(options, clauses string) Program {
	return Program{
		Name: "named",
		Config: "options {\ndirectory \"DIR\"; pid-file none; session-keyfile none; recursion yes; empty-zones-enable no;\n" +
			"listen-on port PORT { 127.0.0.1; }; listen-on-v6 { none; };\n" + options + "};\ncontrols {};\n" + clauses,
		Args: []string{"-g", "-n", "1", "-c", "CONFIG"},
	}
}

// Knot is Knot Resolver with lines of its configuration.
func Knot(config string) Program {
	return Program{
		Name:   "kresd",
		Config: "net.listen('127.0.0.1', PORT, { kind = 'dns' })\ntrust_anchors.remove('.')\nmodules = { 'policy' }\ncache.size = 10 * MB\n" + config,
		Args:   []string{"-n", "-c", "CONFIG", "DIR"},
	}
}
