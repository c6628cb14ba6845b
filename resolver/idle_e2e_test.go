//go:build e2e

package resolver

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
	"telltale/resolver/listen"
)

// idleClients connects n times to addr, asks one question on each connection, and
// holds them all until its standard input ends. It runs in a process of its own: what
// a client takes is not what the server takes.
func idleClients(addr string, n int) error {
	var all []net.Conn
	query := packetFor("localhost.")
	for i := range n {
		raw, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(i/200), byte(i%200+1))}}).Dial("tcp", addr)
		if err != nil {
			return err
		}
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}})
		if _, err := c.Write(dnstest.Framed(query)); err != nil {
			return err
		}
		if _, err := readFramed(c); err != nil {
			return err
		}
		all = append(all, c)
	}
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
	for _, c := range all {
		c.Close()
	}
	return nil
}

func packetFor(name string) []byte {
	b, _ := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	return b
}

func TestE2EIdleClients(t *testing.T) {
	addr := os.Getenv("TELLTALE_IDLE_CLIENTS")
	if addr == "" {
		t.Skip("it is started by TestE2EIdleConnectionsAreCheap")
	}
	n, err := strconv.Atoi(os.Getenv("TELLTALE_IDLE_COUNT"))
	if err != nil {
		t.Fatal(err)
	}
	if err := idleClients(addr, n); err != nil {
		t.Fatal(err)
	}
}

// A waiting connection of TLS takes at most 30 kB of this process, all counted.
func TestE2EIdleConnectionsAreCheap(t *testing.T) {
	const connections = 1000
	s, _, _ := startTLS(t, Options{Streams: connections + 100, Allowed: func(netip.Addr) bool { return true }},
		listen.StreamTimes{IdleTLS: 10 * time.Minute, Handshake: time.Minute})
	resident := func() int {
		runtime.GC()
		debug.FreeOSMemory()
		text, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			t.Skip(err)
		}
		pages, err := strconv.Atoi(strings.Fields(string(text))[1])
		if err != nil {
			t.Fatal(err)
		}
		return pages * os.Getpagesize()
	}
	before := resident()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestE2EIdleClients$", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), "TELLTALE_IDLE_CLIENTS="+s.TLSAddrs()[0].String(), "TELLTALE_IDLE_COUNT="+strconv.Itoa(connections))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stdin.Close(); cmd.Wait() }()
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "connected\n" {
		t.Fatalf("the clients said %q", line)
	}
	if got := s.Stats().Streams; got != connections {
		t.Fatalf("%d connections, want %d", got, connections)
	}
	each := (resident() - before) / connections
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d octets for each connection; stacks %d, heap %d", each, int(m.StackInuse)/connections, int(m.HeapInuse)/connections)
	if each > 30_000 {
		t.Errorf("%d octets for each connection, want at most 30000", each)
	}
}
