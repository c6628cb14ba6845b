//go:build e2e

package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

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

// kdig of Knot asks the real program by DNS over TLS, and the log has it.
func TestE2EKdigByTLS(t *testing.T) {
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
