package upstream

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// Each of these packets has the right source, and most the right id. None may be
// taken, and none may end the wait for the reply behind it.
var strays = []struct {
	name  string
	spoil func(query []byte) []byte
}{
	{"nothing", func([]byte) []byte { return nil }},
	{"less than a header", func(q []byte) []byte { return dnstest.AnswerTo(q, "203.0.113.6")[:11] }},
	{"another id", func(q []byte) []byte {
		return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), 1, func(c byte) byte { return c + 1 })
	}},
	{"a query, not a response", func(q []byte) []byte {
		return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), 2, func(c byte) byte { return c &^ bitQR })
	}},
	{"another opcode", func(q []byte) []byte {
		return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), 2, func(c byte) byte { return c | 5<<3 })
	}},
	{"another name", func(q []byte) []byte {
		return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), 13, func(byte) byte { return 'x' })
	}},
	{"a longer name", func(q []byte) []byte {
		b := dnstest.AnswerTo(q, "203.0.113.6")
		return append(append(bytes.Clone(b[:12]), "\x01x"...), b[12:]...)
	}},
	{"another type", func(q []byte) []byte {
		return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), bytes.Index(q, []byte("example\x00"))+9, func(byte) byte { return dnswire.TypeNS })
	}},
	{"another class", func(q []byte) []byte {
		return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), bytes.Index(q, []byte("example\x00"))+11, func(byte) byte { return 3 })
	}},
	{"no question, but an answer", func(q []byte) []byte {
		return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), 5, func(byte) byte { return 0 })
	}},
	{"no question and NOERROR", func(q []byte) []byte { return []byte{q[0], q[1], 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0} }},
	{"no question and NXDOMAIN", func(q []byte) []byte { return []byte{q[0], q[1], 0x81, 0x83, 0, 0, 0, 0, 0, 0, 0, 0} }},
	{"no question, and a truncation mark", func(q []byte) []byte { return []byte{q[0], q[1], 0x83, 0x80, 0, 0, 0, 0, 0, 0, 0, 0} }},
	{"two questions", func(q []byte) []byte {
		return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), 5, func(byte) byte { return 2 })
	}},
	{"two questions counted, none there, and a failure", func(q []byte) []byte { return []byte{q[0], q[1], 0x81, 0x82, 0, 2, 0, 0, 0, 0, 0, 0} }},
	{"a question cut short", func(q []byte) []byte { return dnstest.ReplyTo(q, 0)[:20] }},
	{"an answer cut short", func(q []byte) []byte { b := dnstest.AnswerTo(q, "203.0.113.6"); return b[:len(b)-1] }},
	{"more answers counted than there are", func(q []byte) []byte {
		return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), 7, func(byte) byte { return 200 })
	}},
	{"65535 records counted in each section", func(q []byte) []byte {
		b := dnstest.ReplyTo(q, 0)
		copy(b[6:12], "\xff\xff\xff\xff\xff\xff")
		return b
	}},
	{"two OPTs", func(q []byte) []byte {
		b := dnstest.ReplyTo(q, 0)
		return dnstest.Changed(append(b, b[len(b)-11:]...), 11, func(byte) byte { return 2 })
	}},
	{"an OPT among the answers", func(q []byte) []byte {
		return dnstest.Changed(dnstest.Changed(dnstest.ReplyTo(q, 0), 7, func(byte) byte { return 1 }), 11, func(byte) byte { return 0 })
	}},
	{"a label of a kind that does not exist", func(q []byte) []byte {
		b := dnstest.AnswerTo(q, "203.0.113.6")
		b[bytes.Index(b, []byte("example\x00"))+12] = 0x80
		return b
	}},
}

func TestStraysAreWaitedPast(t *testing.T) {
	for _, test := range strays {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			addr := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
				send(test.spoil(query))
				send(dnstest.AnswerTo(query, "192.0.2.1"))
			}, nil)
			u := startClient(t, Options{}, addr)
			if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
				t.Errorf("got %s", got)
			}
			if got := u.Status()[0].Strays; got != 1 {
				t.Errorf("%d strays counted, want 1", got)
			}
		})
	}
}

func TestManyStraysTurnToTCP(t *testing.T) {
	dnstest.CheckLeaks(t)
	addr := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
		for i := range byte(maxStrays) { // somebody guesses ids
			send(dnstest.Changed(dnstest.AnswerTo(query, "203.0.113.6"), 0, func(c byte) byte { return c + 1 + i }))
		}
		send(dnstest.AnswerTo(query, "203.0.113.6")) // and at last finds the right one
	}, dnstest.ServeTCP("192.0.2.1"))
	u := startClient(t, Options{}, addr)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s, want the answer that came by TCP", got)
	}
}

func TestAnswersFromElsewhereAreNotSeen(t *testing.T) {
	dnstest.CheckLeaks(t)
	for _, from := range []string{"127.0.0.1:0", "127.0.0.2:0"} { // another port, another address
		spoofer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)))
		if err != nil {
			t.Skip("no second loopback address here:", err)
		}
		defer spoofer.Close()
		var queries, tries atomic.Int64
		udp, tcp := dnstest.ListenBoth(t)
		tcp.Close()
		var task sync.WaitGroup
		task.Go(func() {
			for b := make([]byte, 4096); ; {
				n, client, err := udp.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				if bytes.Contains(b[:n], []byte(probeLabel)) {
					udp.WriteToUDPAddrPort(dnstest.ReplyTo(b[:n], dns.RcodeNameError), client)
					continue
				}
				queries.Add(1)
				if _, err := spoofer.WriteToUDPAddrPort(dnstest.AnswerTo(b[:n], "203.0.113.6"), client); err == nil {
					tries.Add(1)
				}
				udp.WriteToUDPAddrPort(dnstest.AnswerTo(b[:n], "192.0.2.1"), client)
			}
		})
		u := startClient(t, Options{}, udp.LocalAddr().(*net.UDPAddr).AddrPort())
		if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
			t.Errorf("from %s: got %s", from, got)
		}
		if got := u.Status()[0].Strays; queries.Load() != 1 || got != 0 {
			t.Errorf("from %s: %d queries and %d strays, want 1 and 0: the kernel drops it", from, queries.Load(), got)
		}
		udp.Close()
		task.Wait()
	}
}

// Ports and ids are drawn anew for each query, the second try of one query
// included. With 300 draws of each, a counter or a small range shows.
func TestPortsAndIDsAreRandom(t *testing.T) {
	dnstest.CheckLeaks(t)
	var mu sync.Mutex
	ports, ids := map[uint16]int{}, map[uint16]int{}
	inOrder, lastPort := 0, uint16(0)
	udp, tcp := dnstest.ListenBoth(t)
	tcp.Close()
	var task sync.WaitGroup
	task.Go(func() {
		for b := make([]byte, 4096); ; {
			n, client, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			mu.Lock()
			ports[client.Port()]++
			ids[binary.BigEndian.Uint16(b)]++
			if client.Port() > lastPort {
				inOrder++
			}
			lastPort = client.Port()
			mu.Unlock()
			udp.WriteToUDPAddrPort(dnstest.ReplyTo(b[:n], dns.RcodeNameError), client)
		}
	})
	u := startClient(t, Options{}, udp.LocalAddr().(*net.UDPAddr).AddrPort())
	const draws = 300
	for range draws {
		if got := lookupA(t, u, "www.example"); got != "NXDOMAIN" {
			t.Fatalf("got %s", got)
		}
	}
	udp.Close()
	task.Wait()
	// Of 300 draws, 0.8 pairs of ports and 0.7 of ids are expected to meet.
	if len(ports) < draws-10 || len(ids) < draws-10 {
		t.Errorf("%d ports and %d ids in %d queries", len(ports), len(ids), draws)
	}
	low, high := uint16(0xffff), uint16(0)
	for p := range ports {
		low, high = min(low, p), max(high, p)
	}
	if low < firstPort || low > 16000 || high < 60000 {
		t.Errorf("ports from %d to %d, want nearly all of %d to 65535", low, high, firstPort)
	}
	if inOrder < draws/3 || inOrder > draws*2/3 {
		t.Errorf("%d of %d ports are above the one before", inOrder, draws)
	}
}

func TestTruncatedAnswersComeByTCP(t *testing.T) {
	truncated := func(query []byte, send func([]byte)) {
		send(dnstest.Changed(dnstest.ReplyTo(query, 0), 2, func(c byte) byte { return c | bitTC }))
	}
	for _, test := range []struct {
		name string
		udp  func(query []byte, send func([]byte))
		tcp  func(net.Conn)
		want string
	}{
		{"TC", truncated, dnstest.ServeTCP("192.0.2.1"), "NOERROR 192.0.2.1"},
		{"TC in the middle of a record", func(query []byte, send func([]byte)) {
			b := dnstest.AnswerTo(query, "203.0.113.6")
			send(dnstest.Changed(b[:len(b)-3], 2, func(c byte) byte { return c | bitTC }))
		}, dnstest.ServeTCP("192.0.2.1"), "NOERROR 192.0.2.1"},
		{"larger than we can receive", func(query []byte, send func([]byte)) {
			send(append(dnstest.AnswerTo(query, "203.0.113.6"), make([]byte, receiveSize)...))
		}, dnstest.ServeTCP("192.0.2.1"), "NOERROR 192.0.2.1"},
		{"octet by octet", truncated, func(c net.Conn) {
			for _, b := range dnstest.Framed(dnstest.AnswerTo(dnstest.ReadMessage(c), "192.0.2.1")) {
				c.Write([]byte{b})
			}
		}, "NOERROR 192.0.2.1"},
		{"behind a stray", truncated, func(c net.Conn) {
			query := dnstest.ReadMessage(c)
			c.Write(dnstest.Framed(dnstest.Changed(dnstest.AnswerTo(query, "203.0.113.6"), 0, func(b byte) byte { return b + 1 })))
			c.Write(dnstest.Framed(dnstest.AnswerTo(query, "192.0.2.1")))
		}, "NOERROR 192.0.2.1"},
		{"strays without end", truncated, func(c net.Conn) {
			query := dnstest.ReadMessage(c)
			for {
				if _, err := c.Write(dnstest.Framed(dnstest.Changed(dnstest.AnswerTo(query, "203.0.113.6"), 0, func(b byte) byte { return b + 1 }))); err != nil {
					return
				}
			}
		}, "NOERROR 192.0.2.2"},
		{"empty messages without end", truncated, func(c net.Conn) {
			for dnstest.ReadMessage(c); ; {
				if _, err := c.Write([]byte{0, 0}); err != nil {
					return
				}
			}
		}, "NOERROR 192.0.2.2"},
		{"TC by TCP too", truncated, func(c net.Conn) {
			c.Write(dnstest.Framed(dnstest.Changed(dnstest.AnswerTo(dnstest.ReadMessage(c), "203.0.113.6"), 2, func(b byte) byte { return b | bitTC })))
		}, "NOERROR 192.0.2.2"},
		{"closed at once", truncated, func(c net.Conn) {}, "NOERROR 192.0.2.2"},
		{"closed in the middle", truncated, func(c net.Conn) {
			b := dnstest.Framed(dnstest.AnswerTo(dnstest.ReadMessage(c), "203.0.113.6"))
			c.Write(b[:len(b)/2])
		}, "NOERROR 192.0.2.2"},
		{"of 64 KiB, all pointers", truncated, func(c net.Conn) {
			query := dnstest.ReadMessage(c)
			b := dnstest.ReplyTo(query, 0)
			b = b[:len(b)-11]
			n := 0
			for ; len(b)+12 <= 0xffff; n++ { // the owner is a pointer, and there is no data
				b = append(b, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 0)
			}
			binary.BigEndian.PutUint16(b[6:], uint16(n))
			binary.BigEndian.PutUint16(b[10:], 0)
			c.Write(dnstest.Framed(b))
		}, "64 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			second := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
			u := startClient(t, Options{}, dnstest.StartRaw(t, test.udp, test.tcp), second.Addr)
			if test.want == "64 KiB" {
				// It is well-formed as far as is checked here; the sanitizer refuses it.
				a, err := u.Exchange(t.Context(), questionOf(t, "www.example", dnswire.TypeA), Start{})
				if err != nil || len(a.Wire) < 65000 {
					t.Errorf("got %d octets, %v", len(a.Wire), err)
				}
				a.Release()
				return
			}
			if got := lookupA(t, u, "www.example"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := u.Status()[0].Strays; got > maxStrays {
				t.Errorf("%d strays were read, want %d at most", got, maxStrays)
			}
		})
	}
}

func TestSilentTCP(t *testing.T) {
	dnstest.CheckLeaks(t)
	stop := make(chan struct{})
	first := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
		send(dnstest.Changed(dnstest.ReplyTo(query, 0), 2, func(c byte) byte { return c | bitTC }))
	}, func(c net.Conn) { dnstest.ReadMessage(c); <-stop })
	t.Cleanup(func() { close(stop) }) // before the upstream waits for its connections
	second := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	u := startClient(t, Options{Patience: 200 * time.Millisecond}, first, second.Addr)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.2" {
		t.Errorf("got %s, want the second upstream's answer", got)
	}
}

// What stands behind the counted records is cut off: nothing else must see it.
func TestTrailingOctetsAreCut(t *testing.T) {
	dnstest.CheckLeaks(t)
	addr := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
		send(append(dnstest.AnswerTo(query, "192.0.2.1"), "rubbish"...))
	}, nil)
	u := startClient(t, Options{}, addr)
	a, err := u.Exchange(t.Context(), questionOf(t, "www.example", dnswire.TypeA), Start{})
	if err != nil || strings.Contains(string(a.Wire), "rubbish") {
		t.Errorf("got %q, %v", a.Wire, err)
	}
	a.Release()
}
