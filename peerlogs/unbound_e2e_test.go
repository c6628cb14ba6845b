//go:build e2e && linux

package peerlogs

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// startUnbound starts an unbound that sends dnstap to a socket, and returns its address, what
// stops it, and what it says.
func startUnbound(t *testing.T, dir, socket, bidirectional string) (addr string, stop func(), said *strings.Builder) {
	t.Helper()
	port := freePort(t)
	conf := filepath.Join(dir, "unbound.conf")
	text := fmt.Sprintf(`server:
	interface: 127.0.0.1@%d
	username: ""
	chroot: ""
	directory: %q
	pidfile: "pid"
	do-daemonize: no
	use-syslog: no
	module-config: "iterator"
	local-zone: "shop.example." static
	local-data: "shop.example. 300 A 192.0.2.1"
dnstap:
	dnstap-enable: yes
	dnstap-bidirectional: %s
	dnstap-socket-path: %q
	dnstap-log-client-query-messages: yes
	dnstap-log-client-response-messages: yes
remote-control:
	control-enable: no
`, port, dir, bidirectional, socket)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("unbound", "-d", "-c", conf)
	said = &strings.Builder{}
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port), func() {
		c.Process.Signal(os.Interrupt)
		c.Wait()
	}, said
}

func needUnbound(t *testing.T) {
	t.Helper()
	if version, err := exec.Command("unbound", "-V").Output(); err != nil || !strings.Contains(string(version), "--enable-dnstap") {
		t.Skip("skipped: unbound with dnstap is not installed")
	}
}

// askUnbound asks for what it has, and for what it has not.
func askUnbound(addr string) {
	client := dns.Client{Timeout: time.Second}
	for _, name := range []string{"shop.example.", "none.shop.example."} {
		client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), addr) // until it is up, and until what it wrote has come
	}
}

// A real unbound that waits for an answer before it sends (Frame Streams in both directions)
// is read as it sends.
func TestE2EUnboundSendsAsItIsAsked(t *testing.T) {
	needUnbound(t)
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lookups, ended := make(chan string, 10_000), make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer c.Close()
		log, err := OpenStream(c, c, Options{})
		if err != nil {
			ended <- err
			return
		}
		for {
			u, err := log.Next()
			if err != nil {
				ended <- err
				return
			}
			lookups <- fmt.Sprintf("%s %d rcode %d", u.Name.String(), u.Type, u.Rcode)
		}
	}()
	addr, stop, said := startUnbound(t, dir, filepath.Join(dir, "s"), "yes")
	missing := map[string]bool{"shop.example 1 rcode 0": true, "none.shop.example 1 rcode 3": true}
	for end := time.Now().Add(30 * time.Second); len(missing) > 0 && time.Now().Before(end); {
		askUnbound(addr)
		select {
		case u := <-lookups:
			delete(missing, u)
		case <-time.After(100 * time.Millisecond):
		}
	}
	stop()
	if err := <-ended; err != io.EOF {
		t.Errorf("its stream ended with %v", err)
	}
	if len(missing) > 0 {
		t.Errorf("missing: %v\n%s", missing, said)
	}
}

// A real unbound is asked, and what it writes as dnstap is read: each lookup once, with
// the response code.
func TestE2EUnboundsDnstapIsRead(t *testing.T) {
	needUnbound(t)
	dir := t.TempDir()
	socket, path := filepath.Join(dir, "s"), filepath.Join(dir, "unbound.dnstap")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(f, c)
	}()
	addr, end, said := startUnbound(t, dir, socket, "no")
	stop := func() {
		end()
		l.Close()
		<-copied
		f.Close()
	}
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	want := []string{"shop.example 1 rcode 0", "none.shop.example 1 rcode 3"}
	missing := func() string {
		l, err := Open(path, Options{})
		if err != nil {
			return err.Error()
		}
		defer l.Close()
		var all []string
		for {
			u, err := l.Next()
			if err != nil {
				break
			}
			if age := time.Since(u.Time); age < -time.Minute || age > 10*time.Minute || u.Client.String() != "127.0.0.1" {
				t.Fatalf("got %s", show(u))
			}
			all = append(all, fmt.Sprintf("%s %d rcode %d", u.Name.String(), u.Type, u.Rcode))
		}
		for _, w := range want {
			if !strings.Contains(strings.Join(all, "\n"), w) {
				return fmt.Sprintf("no %q in %q", w, all)
			}
		}
		return ""
	}
	last := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		askUnbound(addr)
		if last = missing(); last == "" {
			break
		}
	}
	if last != "" {
		stopped = true
		stop()
		t.Errorf("%s\n%s", last, said.String())
	}
}
