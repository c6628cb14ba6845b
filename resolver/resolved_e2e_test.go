//go:build e2e

package resolver

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale/querylog"
	"telltale/resolver/dnstest"
)

// resolvedScript starts systemd-resolved with files of its own below /run and /etc/systemd,
// and with our certificate alone to trust, as a user who may do nothing else.
const resolvedScript = `set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/resolve /run/systemd/netif/links
chown -R 65534:65534 /run/systemd
mount -t tmpfs none /etc/systemd
cp "$SETTINGS" /etc/systemd/resolved.conf
mount --bind "$CA" /etc/ssl/certs/ca-certificates.crt
caps=-all,+setpcap,+net_raw,+net_bind_service # those of its unit
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=$caps --ambient-caps=$caps env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$RESOLVED"
`

// systemd-resolved asks by DNS over TLS under the server's name, whose certificate it checks;
// under another name it gets no answer from us.
func TestE2ESystemdResolved(t *testing.T) {
	resolved := os.Getenv("SYSTEMD_RESOLVED")
	for _, path := range []string{"/usr/lib/systemd/systemd-resolved", "/lib/systemd/systemd-resolved"} {
		if _, err := os.Stat(path); resolved == "" && err == nil {
			resolved = path
		}
	}
	if resolved == "" || os.Geteuid() != 0 {
		t.Skip("skipped: it needs systemd-resolved (or its path in SYSTEMD_RESOLVED), and root for a namespace of files")
	}
	if out, err := exec.Command("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/run").CombinedOutput(); err != nil {
		t.Skipf("skipped: no namespace of files here: %s", out)
	}
	dnstest.CheckLeaks(t)
	s, ca := clientServer(t, Options{}, "www.example. 300 A 192.0.2.1")
	const stub = "127.0.0.71"
	free, err := net.ListenPacket("udp", stub+":0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.LocalAddr().String())
	free.Close()
	for _, c := range []struct {
		name   string
		answer bool
		within time.Duration
	}{{serverName, true, 2 * time.Minute}, {"wrong.example", false, 10 * time.Second}} { // what must not come is waited for in vain
		stop := startResolved(t, resolved, ca, fmt.Sprintf("[Resolve]\nDNS=%s#%s\nFallbackDNS=\nDomains=~.\nDNSOverTLS=yes\nDNSSEC=no\nLLMNR=no\nMulticastDNS=no\nCache=no\nDNSStubListener=no\nDNSStubListenerExtra=udp:%s:%s\n", s.TLSAddrs()[0], c.name, stub, port))
		answered := false
		for deadline := time.Now().Add(c.within); !answered && time.Now().Before(deadline); {
			out, err := runClient(t, "dig", "@"+stub, "-p", port, "+tries=1", "+timeout=5", "www.example.", "A")
			answered = err == nil && strings.Contains(out, "192.0.2.1")
			if !answered {
				time.Sleep(50 * time.Millisecond)
			}
		}
		said := stop()
		if answered != c.answer {
			t.Fatalf("by the name %s: answered %v; systemd-resolved said:\n%s", c.name, answered, said)
		}
	}
	// The wrong name asked nothing, so the last lookups are the right one's; it may ask for more than we do.
	if row := s.recorded.last(t, 1); row.Transport != querylog.TLS {
		t.Errorf("the last lookup came by %v", row.Transport)
	}
}

// startResolved starts systemd-resolved; stop ends it and returns what it said.
func startResolved(t *testing.T, resolved, ca, settings string) (stop func() string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolved.conf")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", resolvedScript)
	c.Env = append(os.Environ(), "SETTINGS="+file, "CA="+ca, "RESOLVED="+resolved, "SYSTEMD_LOG_LEVEL=info", "SYSTEMD_LOG_TARGET=console")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		cancel()
		t.Skip("skipped: ", err)
	}
	return func() string {
		cancel()
		c.Wait()
		return said.String()
	}
}
