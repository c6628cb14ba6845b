//go:build e2e && linux

package peerlogs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// What a real tcpdump captures of real lookups on the loopback interface, by each kind of
// head that it writes, is read: each lookup once, as it was asked and answered.
func TestE2ECapturesOfTcpdumpAreRead(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("skipped: tcpdump is not installed")
	}
	const server = "127.77.0.53:53"
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if strings.HasPrefix(q.Question[0].Name, "none") {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})
	for _, network := range []string{"udp", "tcp"} {
		ready, failed := make(chan struct{}), make(chan error, 1)
		s := &dns.Server{Addr: server, Net: network, Handler: handler, NotifyStartedFunc: func() { close(ready) }}
		go func() { failed <- s.ListenAndServe() }()
		select {
		case <-ready:
			defer s.Shutdown()
		case err := <-failed:
			t.Skipf("skipped: a server cannot be at %s: %v", server, err)
		}
	}
	for _, args := range [][]string{
		{"-i", "lo"},
		{"-i", "any"},
		{"-i", "any", "-y", "LINUX_SLL"},
		{"-i", "lo", "--time-stamp-precision=nano", "-s", "128"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			c := exec.Command("tcpdump", append(args, "-Z", "root", "-U", "-n", "-w", "-", "host 127.77.0.53 and port 53")...)
			stdout, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			stderr, err := c.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer c.Wait()
			defer c.Process.Kill()
			said := bufio.NewScanner(stderr)
			for said.Scan() && !strings.Contains(said.Text(), "listening on") {
			}
			go io.Copy(io.Discard, stderr)

			// A copy goes into a file, which is read when all is in it.
			path := write(t, "tcpdump.pcap", nil)
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			l, err := OpenStream(io.TeeReader(stdout, f), nil, Options{})
			if err != nil {
				t.Fatal(err)
			}
			lookups, ended := make(chan string, 1000), make(chan struct{})
			go func() {
				defer close(ended)
				for {
					u, err := l.Next()
					if err != nil {
						return
					}
					lookups <- fmt.Sprintf("%s %s %d rcode %d", []string{"", "udp", "tcp"}[u.Transport], u.Name.String(), u.Type, u.Rcode)
				}
			}()
			var want []string
			for i, network := range []string{"udp", "tcp", "udp", "tcp"} {
				name, rcode := fmt.Sprintf("n%d.example", i), dns.RcodeSuccess
				if i > 1 {
					name, rcode = fmt.Sprintf("none%d.example", i), dns.RcodeNameError
				}
				client := dns.Client{Net: network, Timeout: 10 * time.Second}
				if _, _, err := client.Exchange(new(dns.Msg).SetQuestion(name+".", dns.TypeAAAA), server); err != nil {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprintf("%s %s 28 rcode %d", network, name, rcode))
			}
			var got []string
			deadline := time.After(30 * time.Second)
			for len(got) < len(want) {
				select {
				case u := <-lookups:
					got = append(got, u)
				case <-deadline:
					t.Fatalf("got %q, want %q", got, want)
				}
			}
			c.Process.Signal(os.Interrupt)
			<-ended
			if !slices.Equal(got, want) || len(lookups) > 0 {
				t.Errorf("got %q and %d more, want %q", got, len(lookups), want)
			}
			if lines := readFile(t, path, Options{}); len(lines) != 1+len(want) {
				t.Errorf("the file has %q", lines)
			}
		})
	}
}
