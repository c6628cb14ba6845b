//go:build e2e

package catalog

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestE2EOthersBlockWhatIsExported asks dnsmasq and unbound that read the formats
// made for them.
func TestE2EOthersBlockWhatIsExported(t *testing.T) {
	for _, test := range []struct {
		format  Format
		program string
		config  string // PORT and FILE are filled in
		args    []string
	}{
		{"dnsmasq", "dnsmasq", "port=PORT\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=\naddress=/#/192.0.2.1\nconf-file=FILE\n", []string{"--keep-in-foreground", "--pid-file=", "--conf-file=CONFIG"}},
		{"unbound", "unbound", "server:\n\tport: PORT\n\tinterface: 127.0.0.1\n\tdo-daemonize: no\n\tpidfile: \"\"\n\tchroot: \"\"\n\tusername: \"\"\n\tuse-syslog: no\n\tmodule-config: iterator\n\tlocal-data: \"a.alone.example A 192.0.2.1\"\n\tlocal-data: \"known.example A 192.0.2.1\"\n\tlocal-data: \"other.example A 192.0.2.1\"\ninclude: \"FILE\"\n", []string{"-d", "-c", "CONFIG"}},
	} {
		t.Run(test.program, func(t *testing.T) {
			program, err := exec.LookPath(test.program)
			if err != nil {
				t.Skipf("skipped: there is no %s", test.program)
			}
			socket, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := socket.LocalAddr().String()
			_, port, _ := net.SplitHostPort(addr)
			socket.Close()
			dir := t.TempDir()
			file, config := filepath.Join(dir, "list"), filepath.Join(dir, "config")
			fill := strings.NewReplacer("PORT", port, "FILE", file, "CONFIG", config)
			for path, text := range map[string]string{file: exportText(t, test.format, exported, false), config: fill.Replace(test.config)} {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var args []string
			for _, arg := range test.args {
				args = append(args, fill.Replace(arg))
			}
			server := exec.Command(program, args...)
			var said strings.Builder
			server.Stdout, server.Stderr = &said, &said
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { server.Process.Kill(); server.Wait() }()
			for name, want := range map[string]string{
				"ads.example.": "blocked", "a.ads.example.": "blocked", "alone.example.": "blocked",
				"a.alone.example.": "192.0.2.1", "known.example.": "192.0.2.1", "other.example.": "192.0.2.1",
			} {
				got, err := answer(addr, name)
				if err != nil {
					t.Fatalf("%s: %v\n%s", name, err, said.String())
				}
				if got != want {
					t.Errorf("%s: got %s, want %s", name, got, want)
				}
			}
		})
	}
}

// answer asks until somebody answers: "blocked", or the address.
func answer(addr, name string) (got string, err error) {
	c := dns.Client{Timeout: time.Second}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var reply *dns.Msg
		if reply, _, err = c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), addr); err != nil {
			continue
		}
		for _, rr := range reply.Answer {
			if a, ok := rr.(*dns.A); ok && a.A.String() != "0.0.0.0" {
				return a.A.String(), nil
			}
		}
		if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
			return "", fmt.Errorf("rcode %s", dns.RcodeToString[reply.Rcode])
		}
		return "blocked", nil
	}
	return "", err
}
