package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/devices"
)

// startStreams is startServer with bounds on streams that a test can wait for.
func startStreams(t *testing.T, o Options, bounds func(*streams), upstreams ...*loopbackUpstream) (*Server, *logbook) {
	t.Helper()
	book := &logbook{}
	o.Listen, o.Log = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, book.append
	for _, u := range upstreams {
		o.Upstreams.Servers = append(o.Upstreams.Servers, Upstream{Addr: u.addr})
	}
	if len(upstreams) == 0 {
		o.Upstreams.ResolvConf = t.TempDir() + "/none"
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	bounds(s.streams)
	s.Start()
	t.Cleanup(func() { s.Close() })
	return s, book
}

func dialStream(t *testing.T, s *Server) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

func readFramed(c io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

func TestSlowWritersAreCut(t *testing.T) {
	checkLeaks(t)
	for name, sent := range map[string][]byte{
		"half a length":   {0},
		"half a query":    framed(packetOf(t, "localhost.", dns.TypeA))[:20],
		"a large promise": {0xff, 0xff, 1, 2, 3},
	} {
		s, _ := startStreams(t, Options{}, func(b *streams) { b.query = 50 * time.Millisecond })
		c := dialStream(t, s)
		c.Write(sent)
		if _, err := readFramed(c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v, want the connection closed", name, err)
		}
		waitFor(t, func() bool { return s.Stats().Streams == 0 }, says(name))
		if got := s.Stats().StreamsCut; got != 1 {
			t.Errorf("%s: %d streams cut, want 1", name, got)
		}
		s.Close()
	}
}

func TestIdleStreamsAreClosed(t *testing.T) {
	checkLeaks(t)
	s, _ := startStreams(t, Options{}, func(b *streams) { b.idle = 50 * time.Millisecond })
	silent, once := dialStream(t, s), dialStream(t, s)
	once.Write(framed(packetOf(t, "localhost.", dns.TypeA)))
	if _, err := readFramed(once); err != nil {
		t.Error(err)
	}
	for _, c := range []net.Conn{silent, once} {
		if _, err := readFramed(c); !errors.Is(err, io.EOF) {
			t.Errorf("%v, want the connection closed", err)
		}
	}
	waitFor(t, func() bool { return s.Stats().Streams == 0 }, says("closed"))
	if got := s.Stats().StreamsCut; got != 0 {
		t.Errorf("%d streams cut: who is idle does nothing wrong", got)
	}
}

// A client that asks for much and reads nothing costs its connection, and
// nobody else anything.
func TestSlowReadersAreCut(t *testing.T) {
	checkLeaks(t)
	var big strings.Builder
	for i := range 200 {
		fmt.Fprintf(&big, "big.example. 300 IN TXT \"%d%s\"\n", i, strings.Repeat("x", 250))
	}
	up := startUpstream(t, zone(t, big.String()))
	s, _ := startStreams(t, Options{}, func(b *streams) { b.write = 200 * time.Millisecond }, up)
	ask(t, s, "tcp", "big.example.", dns.TypeTXT)
	greedy := dialStream(t, s)
	greedy.SetReadBuffer(4096)
	query := framed(packetOf(t, "big.example.", dns.TypeTXT))
	go func() {
		for {
			if _, err := greedy.Write(query); err != nil {
				return
			}
		}
	}()
	waitFor(t, func() bool { return s.Stats().StreamsCut == 1 }, says("cut"))
	if r := ask(t, s, "tcp", "big.example.", dns.TypeTXT); len(r.Answer) != 200 {
		t.Errorf("another client: %d records", len(r.Answer))
	}
	waitFor(t, func() bool { return s.Stats().Streams == 0 }, says("its place is free"))
	if got := s.Stats().Waiting; got != 0 {
		t.Errorf("%d queries wait", got)
	}
}

func TestAnswersOwedAreBounded(t *testing.T) {
	d := newDesk(t, Options{})
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	st := &stream{srv: d.s, conn: c.(*net.TCPConn), answers: make(chan []byte, streamInFlight), slots: make(chan struct{}, streamInFlight)}
	reply := make([]byte, 60_000)
	for range streamInFlight { // and nobody writes
		st.send(nil, reply)
	}
	if got := st.owed.Load(); got > streamOwed+int64(len(reply))+2 {
		t.Errorf("%d octets are kept for one client, want about %d", got, streamOwed)
	}
	if len(st.answers) != streamInFlight {
		t.Errorf("%d slots come back, want %d", len(st.answers), streamInFlight)
	}
}

func TestHalfClosedClientsGetTheirAnswers(t *testing.T) {
	checkLeaks(t)
	open := make(chan struct{})
	up := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; answerA("192.0.2.1")(w, q) })
	s, _ := startStreams(t, Options{}, func(*streams) {}, up)
	c := dialStream(t, s)
	for i := range 5 {
		c.Write(framed(packetOf(t, fmt.Sprintf("n%d.example.", i), dns.TypeA)))
	}
	c.CloseWrite()
	waitFor(t, func() bool { return s.Stats().Waiting == 5 }, says("all wait"))
	close(open)
	for i := range 5 {
		if b, err := readFramed(c); err != nil || len(b) < 12 {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	if _, err := readFramed(c); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want the end", err)
	}
}

func TestMorePipelinedQueriesThanSlots(t *testing.T) {
	checkLeaks(t)
	s, _ := startStreams(t, Options{}, func(*streams) {}, startUpstream(t, answerA("192.0.2.1")))
	c := dialStream(t, s)
	const queries = 5 * streamInFlight
	go func() {
		for i := range queries {
			b := packetOf(t, fmt.Sprintf("n%d.example.", i), dns.TypeA)
			binary.BigEndian.PutUint16(b, uint16(i))
			c.Write(framed(b))
		}
	}()
	seen := map[uint16]bool{}
	for len(seen) < queries {
		b, err := readFramed(c)
		if err != nil {
			t.Fatalf("after %d answers: %v", len(seen), err)
		}
		seen[binary.BigEndian.Uint16(b)] = true
	}
}

func TestCloseTellsThoseWhoWait(t *testing.T) {
	checkLeaks(t)
	open := make(chan struct{})
	up := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; answerA("192.0.2.1")(w, q) })
	s, book := startStreams(t, Options{}, func(*streams) {}, up)
	c := dialStream(t, s)
	c.Write(framed(packetOf(t, "tcp.example.", dns.TypeA)))
	u, err := dns.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.WriteMsg(new(dns.Msg).SetQuestion("udp.example.", dns.TypeA))
	waitFor(t, func() bool { return s.Stats().Waiting == 2 }, says("both wait"))
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	// Close ends the exchange: both are told so, and logged.
	b, err := readFramed(c)
	if err != nil || b[3]&0xf != dns.RcodeServerFailure {
		t.Errorf("over TCP: %x, %v, want SERVFAIL", b, err)
	}
	u.SetReadDeadline(time.Now().Add(10 * time.Second))
	if r, err := u.ReadMsg(); err != nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("over UDP: %v, %v, want SERVFAIL", r, err)
	}
	<-closed
	close(open)
	book.last(t, 2)
}

// A panic while a stream's query is served must not cost a slot, or after 64 of
// them its goroutine waits for ever.
func TestADefectEndsItsStream(t *testing.T) {
	checkLeaks(t)
	var defective atomic.Bool
	defective.Store(true)
	s, _ := startStreams(t, Options{Binding: func(netip.Addr) *devices.Binding {
		if defective.Load() {
			panic("a defect")
		}
		return nil
	}}, func(b *streams) { b.write = time.Millisecond })
	c := dialStream(t, s)
	for range streamInFlight + 1 {
		c.Write(framed(packetOf(t, "localhost.", dns.TypeA)))
	}
	if b, err := readFramed(c); err == nil {
		t.Errorf("answered %x", b)
	}
	waitFor(t, func() bool { return s.Stats().Streams == 0 }, says("its place is free"))
	if got := s.Stats().Defects; got != 1 {
		t.Errorf("%d defects, want 1", got)
	}
	defective.Store(false)
	if r := ask(t, s, "tcp", "localhost.", dns.TypeA); data(r) != "A 127.0.0.1" {
		t.Errorf("afterwards: %v", r)
	}
}

// All who may not ask share what one client may have.
func TestStrangersShareOneClientsStreams(t *testing.T) {
	checkLeaks(t)
	s, _ := startStreams(t, Options{Streams: 8, Allowed: func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }}, func(*streams) {})
	for i := range 6 {
		dialer := dialerFrom(fmt.Sprintf("127.0.0.%d", 10+i), "tcp")
		c, err := dialer.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Skip("this machine has 127.0.0.1 alone: ", err)
		}
		defer c.Close()
	}
	waitFor(t, func() bool { return s.Stats().StreamsRefused == 4 }, says("refused"))
	if got := s.Stats().Streams; got != 2 {
		t.Errorf("%d streams of strangers, want 2", got)
	}
	if r := ask(t, s, "tcp", "localhost.", dns.TypeA); data(r) != "A 127.0.0.1" {
		t.Errorf("a client of the network: %v", r)
	}
}

// FuzzStreamFraming cuts octets into messages as a stream does.
func FuzzStreamFraming(f *testing.F) {
	f.Add(framed([]byte("0123456789ab")))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 1, 2})
	f.Add(append(framed(make([]byte, maxPacket+1)), framed([]byte("second"))...))
	f.Fuzz(func(t *testing.T, octets []byte) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skip(err)
		}
		defer l.Close()
		go func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return
			}
			defer c.Close()
			c.Write(octets)
		}()
		c, err := l.Accept()
		if err != nil {
			t.Skip(err)
		}
		defer c.Close()
		st := &stream{srv: &Server{streams: newStreams(4)}, conn: c.(*net.TCPConn)}
		buf := make([]byte, maxPacket)
		for rest := octets; ; {
			packet, err := st.next(buf)
			want := -1
			if len(rest) >= 2 && len(rest)-2 >= int(binary.BigEndian.Uint16(rest)) {
				want = int(binary.BigEndian.Uint16(rest))
			}
			if (err == nil) != (want >= 0) {
				t.Fatalf("%v, with %d octets of %d", err, len(rest)-2, want)
			}
			if err != nil {
				return
			}
			whole := rest[2 : 2+want]
			rest = rest[2+want:]
			if want > maxPacket {
				whole = whole[:12]
			}
			if string(packet) != string(whole) {
				t.Fatalf("%x, want %x", packet, whole)
			}
		}
	})
}
