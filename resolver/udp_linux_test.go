package resolver

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/listen"
	"telltale/resolver/upstream"
)

// A batch by the real system calls allocates nothing, from the first octet
// received to the last sent.
func TestBatchesAllocateNothing(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		d := newHarness(t, Options{Policy: withPolicy(everyMode(t)), Log: func([]querylog.Record) {}})
		d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.1", true)
		c, client := socketPair(t, address)
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
					n, err := c.Receive()
					if err != nil {
						t.Error(err)
						return
					}
					r.ServeBatch(n)
					got += n
				}
				for range packets {
					if n, err := unix.Read(int(fd), buf); err == nil && n > 12 {
						answered++
					}
				}
			}
			if n := dnstest.Allocs(200, round); n != 0 {
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
		s, _ := startServer(t, o, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
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
	dnstest.CheckLeaks(t)
	s, _ := startServer(t, Options{Readers: 4}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
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
	s.Close() // again, and nothing happens
}

func TestPortTaken(t *testing.T) {
	for _, readers := range []int{1, 2} {
		s, _ := startServer(t, Options{Readers: readers})
		_, err := New(Options{Listen: s.Addrs(), Readers: readers, Upstreams: upstream.Options{ResolvConf: t.TempDir() + "/none"}})
		var taken *listen.PortError
		if !errors.As(err, &taken) || !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("%v, want a listen.PortError", err)
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
	if _, err := New(Options{Listen: []netip.AddrPort{at}, Upstreams: upstream.Options{ResolvConf: t.TempDir() + "/none"}}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("taken for TCP alone: %v", err)
	}
}
