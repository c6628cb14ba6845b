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

	"telltale/resolver/dnstest"
	"telltale/resolver/listen"
)

// unhurried are for tests in which no connection is to end for its age.
var unhurried = listen.StreamTimes{Idle: 10 * time.Minute, Query: 10 * time.Minute, Write: 10 * time.Minute}

// startStreams is startServer with bounds on connections that a test can wait for.
func startStreams(t *testing.T, o Options, times listen.StreamTimes, upstreams ...*dnstest.Upstream) (*Server, *recorder) {
	t.Helper()
	o.streamTimes = times
	return startServer(t, o, upstreams...)
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
	dnstest.CheckLeaks(t)
	for name, sent := range map[string][]byte{
		"half a length":   {0},
		"half a query":    dnstest.Framed(packetOf(t, "localhost.", dns.TypeA))[:20],
		"a large promise": {0xff, 0xff, 1, 2, 3},
	} {
		s, _ := startStreams(t, Options{}, listen.StreamTimes{Query: 50 * time.Millisecond})
		c := dialStream(t, s)
		c.Write(sent)
		if _, err := readFramed(c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v, want the connection closed", name, err)
		}
		dnstest.WaitFor(t, func() bool { return s.Stats().Streams == 0 }, says(name))
		if got := s.Stats().StreamsCut; got != 1 {
			t.Errorf("%s: %d streams cut, want 1", name, got)
		}
		s.Close()
	}
}

func TestIdleStreamsAreClosed(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _ := startStreams(t, Options{}, listen.StreamTimes{Idle: 200 * time.Millisecond})
	silent := dialStream(t, s)
	var once *net.TCPConn
	dnstest.WaitFor(t, func() bool { // a connection may be idle for too long before a slow test asks
		once = dialStream(t, s)
		return isServed(t, once, "localhost.")
	}, says("served"))
	for _, c := range []net.Conn{silent, once} {
		if _, err := readFramed(c); !errors.Is(err, io.EOF) {
			t.Errorf("%v, want the connection closed", err)
		}
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Streams == 0 }, says("closed"))
	if got := s.Stats().StreamsCut; got != 0 {
		t.Errorf("%d streams cut: who is idle does nothing wrong", got)
	}
}

// A client that asks for much and reads nothing costs its connection, and
// nobody else anything.
func TestSlowReadersAreCut(t *testing.T) {
	dnstest.CheckLeaks(t)
	var big strings.Builder
	for i := range 200 {
		fmt.Fprintf(&big, "big.example. 300 IN TXT \"%d%s\"\n", i, strings.Repeat("x", 250))
	}
	up := dnstest.Start(t, zone(t, big.String()))
	s, _ := startStreams(t, Options{}, listen.StreamTimes{Write: time.Second}, up)
	ask(t, s, "tcp", "big.example.", dns.TypeTXT)
	greedy := dialStream(t, s)
	greedy.SetReadBuffer(4096)
	query := dnstest.Framed(packetOf(t, "big.example.", dns.TypeTXT))
	go func() {
		for {
			if _, err := greedy.Write(query); err != nil {
				return
			}
		}
	}()
	dnstest.WaitFor(t, func() bool { return s.Stats().StreamsCut == 1 }, says("cut"))
	if r := ask(t, s, "tcp", "big.example.", dns.TypeTXT); len(r.Answer) != 200 {
		t.Errorf("another client: %d records", len(r.Answer))
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Streams == 0 }, says("its place is free"))
	if got := s.Stats().Waiting; got != 0 {
		t.Errorf("%d queries wait", got)
	}
}

func TestHalfClosedClientsGetTheirAnswers(t *testing.T) {
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; dnstest.AnswerA("192.0.2.1")(w, q) })
	s, _ := startStreams(t, Options{}, listen.StreamTimes{}, up)
	c := dialStream(t, s)
	for i := range 5 {
		c.Write(dnstest.Framed(packetOf(t, fmt.Sprintf("n%d.example.", i), dns.TypeA)))
	}
	c.CloseWrite()
	dnstest.WaitFor(t, func() bool { return s.Stats().Waiting == 5 }, says("all wait"))
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
	dnstest.CheckLeaks(t)
	s, _ := startStreams(t, Options{}, listen.StreamTimes{}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
	c := dialStream(t, s)
	const queries = 5 * 64
	go func() {
		for i := range queries {
			b := packetOf(t, fmt.Sprintf("n%d.example.", i), dns.TypeA)
			binary.BigEndian.PutUint16(b, uint16(i))
			c.Write(dnstest.Framed(b))
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
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; dnstest.AnswerA("192.0.2.1")(w, q) })
	s, recorded := startStreams(t, Options{}, listen.StreamTimes{}, up)
	c := dialStream(t, s)
	c.Write(dnstest.Framed(packetOf(t, "tcp.example.", dns.TypeA)))
	u, err := dns.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.WriteMsg(new(dns.Msg).SetQuestion("udp.example.", dns.TypeA))
	dnstest.WaitFor(t, func() bool { return s.Stats().Waiting == 2 }, says("both wait"))
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
	recorded.last(t, 2)
}

// A panic while a stream's query is served must not cost a slot, or after 64 of
// them its goroutine waits for ever.
func TestADefectEndsItsStream(t *testing.T) {
	dnstest.CheckLeaks(t)
	var defective atomic.Bool
	defective.Store(true)
	s, _ := startStreams(t, Options{Binding: func(netip.Addr) *devices.Binding {
		if defective.Load() {
			panic("a defect")
		}
		return nil
	}}, listen.StreamTimes{Write: time.Millisecond, Answer: time.Millisecond})
	c := dialStream(t, s)
	for range 64 + 1 {
		c.Write(dnstest.Framed(packetOf(t, "localhost.", dns.TypeA)))
	}
	if b, err := readFramed(c); err == nil {
		t.Errorf("answered %x", b)
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Streams == 0 }, says("its place is free"))
	if got := s.Stats().InternalErrors; got != 1 {
		t.Errorf("%d defects, want 1", got)
	}
	defective.Store(false)
	// A reply may take longer than a millisecond to be written, and cost its connection.
	dnstest.WaitFor(t, func() bool { return isServed(t, dialStream(t, s), "localhost.") }, says("another is served afterwards"))
}

// All who may not ask share what one client may have.
func TestStrangersShareOneClientsStreams(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _ := startStreams(t, Options{Streams: 8, Allowed: func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }}, unhurried)
	for i := range 6 {
		dialer := dialerFrom(fmt.Sprintf("127.0.0.%d", 10+i), "tcp")
		c, err := dialer.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Skip("this machine has 127.0.0.1 alone: ", err)
		}
		defer c.Close()
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().StreamsReplaced == 4 }, says("replaced"))
	if got := s.Stats().Streams; got != 2 {
		t.Errorf("%d streams of strangers, want 2", got)
	}
	if r := ask(t, s, "tcp", "localhost.", dns.TypeA); data(r) != "A 127.0.0.1" {
		t.Errorf("a client of the network: %v", r)
	}
}

// dialFrom connects from another address of this machine.
func dialFrom(t *testing.T, s *Server, from string) *net.TCPConn {
	t.Helper()
	c, err := dialerFrom(from, "tcp").Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// isServed reports whether a query on a connection is answered.
func isServed(t *testing.T, c *net.TCPConn, name string) bool {
	t.Helper()
	c.Write(dnstest.Framed(packetOf(t, name, dns.TypeA)))
	_, err := readFramed(c)
	return err == nil
}

// A client that has as many connections as it may gets a new one for its longest
// idle one.
func TestAClientsOldestIdleConnectionGoes(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _ := startStreams(t, Options{Streams: 8}, unhurried) // 2 of them for one client
	first, second := dialStream(t, s), dialStream(t, s)
	for _, c := range []*net.TCPConn{second, first} { // the second was used before the first
		if !isServed(t, c, "localhost.") {
			t.Fatal("not served")
		}
	}
	// A client has its answer a moment before the server takes that down: on a busy machine
	// the second would seem to be used last, or to wait. The first is used until that is over.
	for range 20 {
		time.Sleep(20 * time.Millisecond)
		if !isServed(t, first, "localhost.") {
			t.Fatal("not served")
		}
	}
	third := dialStream(t, s)
	if !isServed(t, third, "localhost.") {
		t.Error("the new connection is not served")
	}
	if _, err := readFramed(second); err == nil {
		t.Error("the longest idle one is still there")
	}
	if !isServed(t, first, "localhost.") {
		t.Error("the other is not served any more")
	}
	if got := s.Stats(); got.Streams != 2 || got.StreamsReplaced != 1 || got.StreamsRefused != 0 || got.StreamsCut != 0 {
		t.Errorf("%+v", got)
	}
}

// Who waits for answers keeps its connections: a new one is refused.
func TestConnectionsThatWaitForAnswersStay(t *testing.T) {
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; dnstest.AnswerA("192.0.2.1")(w, q) })
	s, _ := startStreams(t, Options{Streams: 8}, unhurried, up)
	var waiting []*net.TCPConn
	for i := range 2 {
		c := dialStream(t, s)
		c.Write(dnstest.Framed(packetOf(t, fmt.Sprintf("n%d.example.", i), dns.TypeA)))
		c.CloseWrite() // half-closed, it counts all the same
		waiting = append(waiting, c)
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Waiting == 2 }, says("both wait"))
	if _, err := readFramed(dialStream(t, s)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a third connection: %v, want it closed", err)
	}
	if got := s.Stats(); got.Streams != 2 || got.StreamsRefused != 1 {
		t.Errorf("%+v, want 2 streams, half-closed ones counted, and one refused", got)
	}
	close(open)
	for _, c := range waiting {
		if _, err := readFramed(c); err != nil {
			t.Errorf("no answer: %v", err)
		}
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Streams == 0 }, says("their places are free"))
}

// Who connects and asks nothing makes room before who has asked, however many come.
func TestConnectionsThatAskedStay(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _ := startStreams(t, Options{Streams: 8}, unhurried)
	asked := dialFrom(t, s, "127.0.0.10")
	if !isServed(t, asked, "localhost.") {
		t.Fatal("not served")
	}
	for i := range 32 {
		dialFrom(t, s, fmt.Sprintf("127.0.0.%d", 50+i))
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().StreamsReplaced == 25 }, says("the rest made room"))
	if !isServed(t, asked, "localhost.") {
		t.Error("a connection that was used made room for those that ask nothing")
	}
}

// When all connections are taken, who has most of them makes room.
func TestWhoHasMostConnectionsMakesRoom(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _ := startStreams(t, Options{Streams: 16}, unhurried)
	var greedy []*net.TCPConn
	for i := range 4 { // four addresses take all
		for range 4 {
			greedy = append(greedy, dialFrom(t, s, fmt.Sprintf("127.0.0.%d", 10+i)))
		}
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Streams == 16 }, says("all are taken"))
	for i := range 8 {
		if c := dialFrom(t, s, fmt.Sprintf("127.0.0.%d", 50+i)); !isServed(t, c, "localhost.") {
			t.Errorf("the %dth of the others is not served", i)
		}
	}
	served := 0
	for _, c := range greedy {
		if isServed(t, c, "localhost.") {
			served++
		}
	}
	if served != 8 {
		t.Errorf("%d connections of those who had most are left, want 8", served)
	}
}
