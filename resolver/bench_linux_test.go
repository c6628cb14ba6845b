package resolver

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/listen"
	"telltale/resolver/packets"
)

// A bursts is a reader with a real socket, and a client that sends it as many
// packets as it takes at once. Both belong to one goroutine, so that each burst
// is one batch and nothing depends on time.
type bursts struct {
	conn    *listen.UDPConn
	reader  *reader
	client  int // file descriptor
	packets [packets.BatchSize][]byte
	buf     []byte
}

// socketPair returns a bound socket and a client connected to it.
func socketPair(t testing.TB, address string) (*listen.UDPConn, *net.UDPConn) {
	t.Helper()
	c, bound, err := listen.BindUDP(netip.MustParseAddrPort(address), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if bound.Addr().IsUnspecified() {
		bound = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), bound.Port())
	}
	client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(bound))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return c, client
}

// newBursts returns a rig that asks for name, spelt out by a number where it has
// a verb for that, with log as its log.
func newBursts(t testing.TB, name string, log func([]querylog.Record)) *bursts {
	t.Helper()
	d := newHarness(t, Options{Policy: withPolicy(everyMode(t)), Log: log})
	r := &bursts{buf: make([]byte, 2048)}
	for i := range r.packets {
		asked := fmt.Sprintf(name, i)
		d.teach(asked, dns.TypeA, asked+" 300 IN A 192.0.2.1", true)
		r.packets[i] = packetOf(t, asked, dns.TypeA, func(m *dns.Msg) { m.Extra = nil })
		binary.BigEndian.PutUint16(r.packets[i], uint16(i))
	}
	conn, client := socketPair(t, "127.0.0.1:0")
	file, err := client.File() // blocking, and not of the poller
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	r.conn, r.reader, r.client = conn, d.s.newReader(conn), int(file.Fd())
	wait := unix.NsecToTimeval((10 * time.Second).Nanoseconds())
	if err := unix.SetsockoptTimeval(r.client, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		t.Fatal(err)
	}
	return r
}

// round sends a burst, has it answered, and takes the replies.
func (r *bursts) round() error {
	for _, p := range r.packets {
		if _, err := unix.Write(r.client, p); err != nil {
			return err
		}
	}
	for left := packets.BatchSize; left > 0; {
		n, err := r.conn.Receive()
		if err != nil {
			return err
		}
		r.reader.ServeBatch(n)
		left -= n
	}
	for range r.packets {
		if n, err := unix.Read(r.client, r.buf); err != nil || n < 12 {
			return fmt.Errorf("no reply: %d octets, %w", n, err)
		}
	}
	return nil
}

var burstNames = []struct{ load, name string }{
	{"blocked", "host%d.null.example."},
	{"cached", "host%d.site.example."},
}

// BenchmarkBatch is the whole way of a query that is answered at once, through
// the real system calls and without the log; the client's part is in it.
func BenchmarkBatch(b *testing.B) {
	for _, test := range burstNames {
		b.Run(test.load, func(b *testing.B) {
			r := newBursts(b, test.name, func([]querylog.Record) {})
			b.ReportAllocs()
			b.ResetTimer()
			for range (b.N + packets.BatchSize - 1) / packets.BatchSize {
				if err := r.round(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkForward is the whole way of a query that no one has asked before: to
// an upstream, which answers at once, and back. 32 are under way at a time; the
// client's and the upstream's parts are in it.
func BenchmarkForward(b *testing.B) {
	s, _ := startServer(b, Options{Readers: 1, CacheSize: -1}, dnstest.StartBare(b))
	client := newAsker(b, s.Addrs()[0])
	client.conn.SetReadDeadline(time.Now().Add(time.Minute))
	b.ReportAllocs()
	for range packets.BatchSize {
		client.ask()
	}
	for b.Loop() {
		if !client.receive() {
			b.Fatal("no answer")
		}
		client.ask()
	}
}
