//go:build e2e

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
)

// startEncrypted starts a server with a local authority, and returns the address by
// TLS and the file of its root.
func startEncrypted(t *testing.T, settings string, more ...string) (p *process, addr netip.AddrPort, root string) {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "ads.example\n")
	file := filepath.Join(dir, "telltale.yaml")
	writeFile(t, file, "listen:\n  dns: [\"127.0.0.1:0\"]\n  tls: [\"127.0.0.1:0\"]\n"+settings)
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	p = startProcess(t, dir, nil, append([]string{"--config", file, "--upstreams", up.Addr.String()}, more...)...)
	addr = p.encrypted(t)
	out := p.run("certificate", "root")
	root = filepath.Join(dir, "root.pem")
	writeFile(t, root, out)
	return p, addr, root
}

// encrypted returns where a server answers by TLS.
func (p *process) encrypted(t *testing.T) (addr netip.AddrPort) {
	t.Helper()
	var st struct{ Listen []string }
	if err := json.Unmarshal([]byte(p.run("status", "--json")), &st); err != nil {
		t.Fatal(err)
	}
	for _, on := range st.Listen {
		if text, ok := strings.CutPrefix(on, "tls://"); ok {
			return netip.MustParseAddrPort(text)
		}
	}
	t.Fatalf("the server does not say where it answers by TLS: %v", st.Listen)
	return addr
}

// run runs another command with the server's settings.
func (p *process) run(args ...string) string {
	p.t.Helper()
	var out, errs lockedBuffer
	command(context.Background(), append(args, p.args...), &out, &errs, []string{"XDG_RUNTIME_DIR=" + p.dir})
	if errs.String() != "" {
		p.t.Fatalf("%s: %s", strings.Join(args, " "), errs.String())
	}
	return out.String()
}

// HAProxy passes connections of DNS over TLS and TCP on, and the client's address stays.
func TestE2EHAProxyInFront(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("haproxy is not installed (haproxy of Debian)")
	}
	for _, version := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run(version, func(t *testing.T) {
			p, addr, root := startEncrypted(t, "  proxy_protocol: [127.0.0.9]\ntls: {authority: local, names: [dns.example]}\n")
			text, err := os.ReadFile(root)
			if err != nil {
				t.Fatal(err)
			}
			trusted := x509.NewCertPool()
			trusted.AppendCertsFromPEM(text)
			fronts := map[string]netip.AddrPort{}
			settings := "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 20s\n  timeout client 60s\n  timeout server 60s\n"
			for name, behind := range map[string]netip.AddrPort{"tls": addr, "tcp": p.addr} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				fronts[name] = l.Addr().(*net.TCPAddr).AddrPort()
				l.Close()
				settings += fmt.Sprintf("listen %s\n  bind %s\n  source 127.0.0.9\n  server telltale %s %s\n", name, fronts[name], behind, version)
			}
			file := filepath.Join(t.TempDir(), "haproxy.cfg")
			writeFile(t, file, settings)
			cmd := exec.Command("haproxy", "-db", "-f", file)
			var said lockedBuffer
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
			for name, from := range map[string]string{"tls": "127.0.0.21", "tcp": "127.0.0.22"} {
				c := dns.Client{Net: "tcp", Timeout: patience, Dialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}}
				if name == "tls" {
					c.Net, c.TLSConfig = "tcp-tls", &tls.Config{RootCAs: trusted, ServerName: "dns.example"}
				}
				dnstest.WaitFor(t, func() bool {
					r, _, err := c.Exchange(new(dns.Msg).SetQuestion("by-"+name+".example.", dns.TypeA), fronts[name].String())
					return err == nil && len(r.Answer) == 1
				}, func() string { return "no answer by HAProxy: " + said.String() })
				dnstest.WaitFor(t, func() bool {
					return slices.ContainsFunc(p.rows(), func(row map[string]any) bool {
						return row["name"] == "by-"+name+".example" && row["client"] == from && row["transport"] == name
					})
				}, func() string { return fmt.Sprintf("the log does not have the client %s: %v", from, p.rows()) })
			}
		})
	}
}

// kdig of Knot asks the real program by DNS over TLS, and the log has it.
func TestE2EKdigByTLS(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("kdig"); err != nil {
		t.Skip("kdig is not installed (knot-dnsutils of Debian)")
	}
	p, addr, root := startEncrypted(t, "tls: {authority: local, names: [dns.example]}\n")
	kdig := func(args ...string) string {
		args = append([]string{"@" + addr.Addr().String(), "-p", strconv.Itoa(int(addr.Port())), "+timeout=20", "+tls-ca=" + root}, args...)
		out, err := exec.Command("kdig", args...).CombinedOutput()
		if err != nil {
			t.Logf("kdig %s: %v", strings.Join(args, " "), err)
		}
		return string(out)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"+tls-hostname=dns.example", "www.example", "A"}, []string{"192.0.2.1", "(TLS1.3)", "The certificate is trusted."}},
		{[]string{"+tls-hostname=dns.example", "+padding", "+keepopen", "ads.example", "A", "www.example", "A"}, []string{"0.0.0.0", "192.0.2.1", "PADDING"}},
		{[]string{"+tls-hostname=other.example", "www.example", "A"}, []string{"The certificate is NOT trusted."}},
	} {
		out := kdig(append(c.args, "-d")...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("kdig %v: no %q in\n%s", c.args, want, out)
			}
		}
		if strings.Contains(c.want[0], "NOT") && strings.Contains(out, "192.0.2.1") {
			t.Errorf("answered, and not trusted:\n%s", out)
		}
	}
	dnstest.WaitFor(t, func() bool {
		got := map[string]string{}
		for _, row := range p.rows() {
			got[row["name"].(string)] = row["transport"].(string)
		}
		return got["www.example"] == "tls" && got["ads.example"] == "tls"
	}, func() string { return "the log does not say transport=tls" })
}
