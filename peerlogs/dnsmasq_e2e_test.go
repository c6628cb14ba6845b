//go:build e2e && linux

package peerlogs

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

	"telltale/resolver/dnstest"
)

// A real dnsmasq is asked, and what it logs is read: each lookup once, with what came of
// it, in both of its forms.
func TestE2EDnsmasqIsRead(t *testing.T) {
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Skip("skipped: dnsmasq is not installed")
	}
	for _, form := range []string{"--log-queries", "--log-queries=extra"} {
		t.Run(form, func(t *testing.T) {
			dir := t.TempDir()
			upstream := serveZone(t)
			port := freePort(t)
			log := filepath.Join(dir, "dnsmasq.log")
			hosts := filepath.Join(dir, "hosts")
			if err := os.WriteFile(hosts, []byte("192.168.1.9 nas.lan\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			c := exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces", "--user=root",
				"--pid-file="+filepath.Join(dir, "pid"), "--addn-hosts="+hosts, fmt.Sprintf("--port=%d", port), "--server="+strings.Replace(upstream, ":", "#", 1),
				"--address=/tracker.example/0.0.0.0", "--local=/tracker.example/", "--log-facility="+log, form)
			var said strings.Builder
			c.Stdout, c.Stderr = &said, &said
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				c.Process.Kill()
				c.Wait()
			}()
			addr := fmt.Sprintf("127.0.0.1:%d", port)
			ask := func(name string, typ uint16) {
				t.Helper()
				client := dns.Client{Timeout: 2 * time.Second}
				for end := time.Now().Add(20 * time.Second); ; {
					if _, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, typ), addr); err == nil {
						return
					} else if time.Now().After(end) {
						t.Fatalf("%s: %v\n%s", name, err, said.String())
					}
					time.Sleep(50 * time.Millisecond)
				}
			}
			for _, q := range []struct {
				name string
				typ  uint16
			}{{"shop.example.", dns.TypeA}, {"shop.example.", dns.TypeA}, {"none.example.", dns.TypeAAAA}, {"tracker.example.", dns.TypeAAAA}, {"tracker.example.", dns.TypeA}, {"nas.lan.", dns.TypeA}, {"shop.example.", dns.TypeHTTPS}} {
				ask(q.name, q.typ)
			}
			found := func() string {
				all := map[string]bool{}
				l, err := Open(log, Options{})
				if err != nil {
					return err.Error()
				}
				defer l.Close()
				for {
					u, err := l.Next()
					if err != nil {
						break
					}
					if age := time.Since(u.Time); age < -time.Minute || age > 10*time.Minute || u.Client.String() != "127.0.0.1" {
						t.Fatalf("got %s", show(u))
					}
					all[fmt.Sprintf("%s %d verdict %d rcode %d from %d", u.Name.String(), u.Type, u.Verdict, u.Rcode, u.Source)] = true
				}
				var missing []string
				for _, want := range []string{
					"shop.example 1 verdict 0 rcode 0 from 3", "shop.example 1 verdict 0 rcode 0 from 2", "none.example 28 verdict 0 rcode 3 from 3",
					"tracker.example 1 verdict 2 rcode 0 from 1", "tracker.example 28 verdict 2 rcode 0 from 1", "nas.lan 1 verdict 3 rcode 0 from 1",
				} {
					if !all[want] {
						missing = append(missing, want)
					}
				}
				if len(missing) == 0 {
					return ""
				}
				return fmt.Sprintf("missing %q among %v", missing, all)
			}
			last := ""
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if last = found(); last == "" {
					return
				}
			}
			text, _ := os.ReadFile(log)
			t.Errorf("%s\n%s", last, text)
		})
	}
}

// serveZone serves shop.example, and nothing else, until the test is over.
func serveZone(t *testing.T) (addr string) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		switch {
		case q.Question[0].Name != "shop.example.":
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			rr, _ := dns.NewRR("shop.example. 300 A 192.0.2.1")
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ActivateAndServe()
	}()
	t.Cleanup(func() {
		s.Shutdown()
		<-done
	})
	return c.LocalAddr().String()
}

// freePort is a port that nobody has now, for UDP and TCP.
func freePort(t *testing.T) int {
	t.Helper()
	udp, tcp := dnstest.ListenBoth(t)
	defer udp.Close()
	defer tcp.Close()
	return udp.LocalAddr().(*net.UDPAddr).Port
}
