package resolver

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"telltale/querylog"
)

// socketPair returns a bound batchConn and a client connected to it.
func socketPair(t testing.TB, s *Server, address string) (*batchConn, *net.UDPConn) {
	t.Helper()
	c, bound, err := bindUDP(netip.MustParseAddrPort(address), false)
	if err != nil {
		t.Fatal(err)
	}
	c.srv = s
	t.Cleanup(c.close)
	to := bound
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
	}
	client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return c, client
}

func TestOneUnreachableClientCostsNoOtherItsReply(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		for _, bad := range [][]int{{0}, {2}, {31}, {0, 1, 30, 31}, {5, 6, 7, 20}} {
			c, client := socketPair(t, &Server{}, address)
			for i := range batchSize {
				client.Write([]byte{byte(i), 1, 2, 3})
			}
			n, err := c.batch.receive(c.fd)
			if err != nil || n != batchSize {
				t.Fatalf("received %d, %v", n, err)
			}
			queries := make([]query, batchSize)
			var out []outgoing
			for i := range n {
				if _, ok := c.packet(i, &queries[i]); !ok {
					t.Fatalf("packet %d is none", i)
				}
				queries[i].slot = i
				out = append(out, outgoing{&queries[i], append([]byte("reply to"), byte(i))})
			}
			isBad := map[int]bool{}
			for _, i := range bad {
				c.batch.names[i].Port = 0 // EINVAL
				isBad[i] = true
			}
			if sent := c.batch.send(c.fd, out, c.wildcard); sent != n-len(bad) {
				t.Errorf("%s without %v: %d sent, want %d", address, bad, sent, n-len(bad))
			}
			client.SetReadDeadline(time.Now().Add(10 * time.Second))
			buf := make([]byte, 64)
			for i := range n {
				if isBad[i] {
					continue
				}
				m, err := client.Read(buf)
				if want := append([]byte("reply to"), byte(i)); err != nil || !bytes.Equal(buf[:m], want) {
					t.Fatalf("%s without %v: %q, %v, want %q", address, bad, buf[:m], err, want)
				}
			}
		}
	}
}

func TestPacketsThatAreNone(t *testing.T) {
	c, client := socketPair(t, &Server{}, "127.0.0.1:0")
	client.Write(nil)
	client.Write(make([]byte, maxPacket))
	client.Write(make([]byte, maxPacket+1))
	client.Write([]byte("from nowhere"))
	client.Write([]byte("a packet"))
	n, err := c.batch.receive(c.fd)
	if err != nil || n != 5 {
		t.Fatalf("received %d, %v", n, err)
	}
	c.batch.names[3].Port = 0
	for i, want := range []bool{false, true, false, false, true} {
		var q query
		packet, ok := c.packet(i, &q)
		if ok != want {
			t.Errorf("packet %d of %d octets: %v, want %v", i, len(packet), ok, want)
		}
		if ok && q.client != client.LocalAddr().(*net.UDPAddr).AddrPort() {
			t.Errorf("packet %d from %v", i, q.client)
		}
	}
}

// A batch by the real system calls allocates nothing, from the first octet
// received to the last sent.
func TestBatchesAllocateNothing(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		d := newDesk(t, Options{Policy: withPolicy(everyMode(t)), Log: func([]querylog.Record) {}})
		d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.1", true)
		c, client := socketPair(t, d.s, address)
		raw, err := client.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		r := d.s.newReader(c)
		cookie := func(m *dns.Msg) {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 10, Data: []byte("01234567")}}
		}
		packets := [][]byte{packetOf(t, "null.example.", dns.TypeA, cookie), packetOf(t, "www.example.", dns.TypeA, cookie), packetOf(t, "nx.example.", dns.TypeA)}
		buf := make([]byte, 2048)
		answered := 0
		raw.Control(func(fd uintptr) {
			round := func() {
				for _, p := range packets {
					unix.Write(int(fd), p)
				}
				for got := 0; got < len(packets); {
					n, err := c.batch.receive(c.fd)
					if err != nil {
						t.Error(err)
						return
					}
					r.batch(n)
					got += n
				}
				for range packets {
					if n, err := unix.Read(int(fd), buf); err == nil && n > 12 {
						answered++
					}
				}
			}
			if n := testing.AllocsPerRun(200, round); n != 0 {
				t.Errorf("%s: %v allocations in a round of %d", address, n, len(packets))
			}
		})
		if answered < 200*len(packets) {
			t.Errorf("%s: %d answers of %d", address, answered, 201*len(packets))
		}
		for i := range r.queries {
			if r.queries[i].policy != nil || r.queries[i].verdict.Policy != nil {
				t.Fatal("a reader that has nothing to do keeps a policy in memory")
			}
		}
		for _, rec := range r.records[:cap(r.records)] {
			if rec.Verdict.Policy != nil {
				t.Fatal("a reader that has nothing to do keeps a policy in memory, in its records")
			}
		}
	}
}

// Replies leave from the address their query came to, at once and later.
func TestRepliesLeaveFromWhereTheirQueryCame(t *testing.T) {
	for _, test := range []struct{ listen, ask string }{
		{"0.0.0.0:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.77"}, {"[::]:0", "::1"}, {"127.0.0.1:0", "127.0.0.1"},
	} {
		listen := netip.MustParseAddrPort(test.listen)
		o := Options{Listen: []netip.AddrPort{listen}, Allowed: func(netip.Addr) bool { return true }}
		if l, err := net.Listen("tcp", net.JoinHostPort(test.ask, "0")); err != nil {
			t.Logf("skipped: this machine has no %s", test.ask)
			continue
		} else {
			l.Close()
		}
		s, _ := startServer(t, o, startUpstream(t, answerA("192.0.2.1")))
		to := net.JoinHostPort(test.ask, fmt.Sprint(s.Addrs()[0].Port()))
		for i := range 2 { // from the upstream, then from the cache
			c := dns.Client{Timeout: 5 * time.Second} // its socket is connected: it hears nobody else
			if r, _, err := c.Exchange(new(dns.Msg).SetQuestion("www.example.", dns.TypeA), to); err != nil || data(r) != "A 192.0.2.1" {
				t.Errorf("%s asked at %s, %d: %v, %v", test.listen, test.ask, i, r, err)
			}
		}
	}
}

// A client whose port is closed answers with ICMP; the socket must not care.
func TestClosedClientsDisturbNobody(t *testing.T) {
	s, _ := startServer(t, Options{Readers: 1})
	for range 20 {
		c, err := net.Dial("udp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			c.Write(packetOf(t, "localhost.", dns.TypeA))
		}
		c.Close()
		if r := ask(t, s, "udp", "localhost.", dns.TypeA); data(r) != "A 127.0.0.1" {
			t.Fatalf("%v", r)
		}
	}
}

func TestSeveralReadersShareAnAddress(t *testing.T) {
	checkLeaks(t)
	s, _ := startServer(t, Options{Readers: 4}, startUpstream(t, answerA("192.0.2.1")))
	if got := len(s.listeners[0].udp); got != 4 {
		t.Fatalf("%d sockets, want 4", got)
	}
	var clients sync.WaitGroup
	for i := range 40 { // from as many ports
		clients.Go(func() {
			if r := ask(t, s, "udp", fmt.Sprintf("n%d.example.", i), dns.TypeA); data(r) != "A 192.0.2.1" {
				t.Errorf("%v", r)
			}
		})
	}
	clients.Wait()
	s.Close()
	for _, c := range s.listeners[0].udp {
		if c.fd != -1 {
			t.Error("a socket is still open")
		}
	}
	s.Close() // again, and nothing happens
}

func TestPortTaken(t *testing.T) {
	for _, readers := range []int{1, 2} {
		s, _ := startServer(t, Options{Readers: readers})
		_, err := New(Options{Listen: s.Addrs(), Readers: readers, Upstreams: UpstreamOptions{ResolvConf: t.TempDir() + "/none"}})
		var taken *PortError
		if !errors.As(err, &taken) || !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("%v, want a PortError", err)
		}
		if want := fmt.Sprintf("(process %d)", unix.Getpid()); !bytes.Contains([]byte(err.Error()), []byte(want)) ||
			!bytes.Contains([]byte(err.Error()), []byte(s.Addrs()[0].String())) {
			t.Errorf("%q names not who holds which port", err)
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	if _, err := New(Options{Listen: []netip.AddrPort{at}, Upstreams: UpstreamOptions{ResolvConf: t.TempDir() + "/none"}}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("taken for TCP alone: %v", err)
	}
}

func TestPortErrorsSayTheWayOut(t *testing.T) {
	at := netip.MustParseAddrPort("0.0.0.0:53")
	for _, test := range []struct {
		err  PortError
		want []string
	}{
		{PortError{Addr: at, Err: syscall.EACCES}, []string{"0.0.0.0:53", "CAP_NET_BIND_SERVICE", "ip_unprivileged_port_start", "listen.dns"}},
		{PortError{Addr: at, Err: syscall.EADDRINUSE, Holder: "dnsmasq (process 812)"}, []string{"0.0.0.0:53", "held by dnsmasq (process 812)"}},
		{PortError{Addr: at, Err: syscall.EADDRINUSE, Holder: "systemd-resolve (process 99)"}, []string{"DNSStubListener=no", "listen.dns"}},
		{PortError{Addr: at, Err: syscall.EADDRNOTAVAIL}, []string{"0.0.0.0:53", "cannot assign"}},
	} {
		if held := test.err.Holder; held != "" && !strings.HasPrefix(held, "systemd") && strings.Contains(test.err.Error(), "systemd-resolved") {
			t.Errorf("%q blames systemd-resolved", test.err.Error())
		}
		for _, want := range test.want {
			if got := test.err.Error(); !bytes.Contains([]byte(got), []byte(want)) {
				t.Errorf("%q does not say %q", got, want)
			}
		}
	}
}
