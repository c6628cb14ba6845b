// Package dnstest has real DNS servers on loopback for tests to ask, and what
// tests of several packages do with packets.
package dnstest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

// ProbeLabel begins the top-level label of Telltale's probes for loops.
const ProbeLabel = "telltale-"

// An Upstream is a DNS server on UDP and TCP of one loopback port. It answers
// probes with NXDOMAIN without counting them, unless SetProbes says otherwise, and in
// lower case, so that it is asked in lower case.
type Upstream struct {
	Addr   netip.AddrPort
	Repeat atomic.Bool  // it repeats the letters of probes, and so is asked with letters in random case
	Asked  atomic.Int64 // queries but for probes, UDP and TCP
	TCP    atomic.Int64 // those by TCP
	probes atomic.Pointer[dns.HandlerFunc]
}

// SetProbes lets h answer probes from now on.
func (u *Upstream) SetProbes(h dns.HandlerFunc) { u.probes.Store(&h) }

// Silence leaves a query unanswered.
func Silence(dns.ResponseWriter, *dns.Msg) {}

// AnswerRcode answers every query with a response code.
func AnswerRcode(code int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, code)) }
}

// AnswerA answers every query with an A record.
func AnswerA(a string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(a),
		})
		w.WriteMsg(m)
	}
}

// isProbe reports whether q is one of Telltale's own: for a loop, or for the root.
func isProbe(q *dns.Msg) bool {
	return len(q.Question) == 1 && (strings.Contains(q.Question[0].Name, "."+ProbeLabel) || q.Question[0].Name == "." && q.Question[0].Qtype == dns.TypeNS)
}

// Start starts an upstream that handles queries, until the test ends.
func Start(t testing.TB, handle dns.HandlerFunc) *Upstream {
	t.Helper()
	u := &Upstream{}
	mux := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if isProbe(q) {
			if !u.Repeat.Load() {
				q.Question[0].Name = strings.ToLower(q.Question[0].Name)
			}
			if h := u.probes.Load(); h != nil {
				(*h)(w, q)
			} else {
				AnswerRcode(dns.RcodeNameError)(w, q)
			}
			return
		}
		u.Asked.Add(1)
		if w.LocalAddr().Network() == "tcp" {
			u.TCP.Add(1)
		}
		handle(w, q)
	})
	udp, tcp := ListenBoth(t)
	u.Addr = udp.LocalAddr().(*net.UDPAddr).AddrPort()
	serve(t, &dns.Server{PacketConn: udp, Handler: mux})
	serve(t, &dns.Server{Listener: tcp, Handler: mux})
	return u
}

// ListenBoth opens the same loopback port for UDP and TCP.
func ListenBoth(t testing.TB) (*net.UDPConn, *net.TCPListener) {
	t.Helper()
	for range 20 {
		tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Addr().(*net.TCPAddr).Port})
		if err == nil {
			return udp, tcp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

func serve(t testing.TB, s *dns.Server) {
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	var done sync.WaitGroup
	done.Go(func() { s.ActivateAndServe() })
	<-started
	t.Cleanup(func() { s.Shutdown(); done.Wait() })
}

// StartRaw starts an upstream that hands each UDP packet that is not a probe to
// handle, whose packets go back to where it came from, and each TCP connection to
// stream; nil closes them.
func StartRaw(t testing.TB, handle func(query []byte, send func([]byte)), stream func(net.Conn)) netip.AddrPort {
	t.Helper()
	udp, tcp := ListenBoth(t)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for b := make([]byte, 4096); ; {
			n, from, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			query := bytes.Clone(b[:n])
			send := func(p []byte) { udp.WriteToUDPAddrPort(p, from) }
			if bytes.Contains(query, []byte(ProbeLabel)) || isRootQuery(query) {
				send(ReplyTo(query, dns.RcodeNameError))
				continue
			}
			handle(query, send)
		}
	})
	tasks.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			if stream == nil {
				c.Close()
				continue
			}
			tasks.Go(func() { defer c.Close(); stream(c) })
		}
	})
	t.Cleanup(func() { udp.Close(); tcp.Close(); tasks.Wait() })
	return udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

// isRootQuery reports whether query asks for the servers of the root.
func isRootQuery(query []byte) bool { return len(query) > 14 && string(query[12:15]) == "\x00\x00\x02" }

// StartBare starts an upstream that costs as little as can be, so that what is
// counted and measured beside it is ours: it allocates nothing, and answers each
// plain question for an address with 192.0.2.1 and all others with NXDOMAIN.
func StartBare(t testing.TB) *Upstream {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-stopped
	})
	go func() {
		defer close(stopped)
		packet := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(packet)
			if err != nil {
				return
			}
			if reply := bareReply(packet, n); reply != nil {
				conn.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
	return &Upstream{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// bareReply makes the query of n octets in packet its reply; nil if it is none.
func bareReply(packet []byte, n int) []byte {
	end := 12
	for end < n && packet[end] != 0 {
		end += 1 + int(packet[end])
	}
	if end += 5; n < 12 || end > n {
		return nil
	}
	reply := packet[:end]
	reply[2], reply[3] = 0x81, 0x83 // QR, RD; RA, NXDOMAIN
	clear(reply[6:12])
	if binary.BigEndian.Uint16(reply[end-4:]) == dns.TypeA {
		reply[3], reply[7] = 0x80, 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1)
	}
	return reply
}

// ReplyTo makes a query its reply: header, question and OPT, no records. That to a probe
// does not repeat its letters, so that the server is asked in lower case.
func ReplyTo(query []byte, rcode byte) []byte {
	b := bytes.Clone(query)
	if bytes.Contains(b, []byte(ProbeLabel)) && len(b) > 12+1+16 {
		copy(b[12:], bytes.ToLower(b[12:12+1+16]))
	}
	b[2] |= 0x80                    // QR
	b[3] = b[3]&0xf0 | 0x80 | rcode // RA
	return b
}

// AnswerTo is a reply with one A record.
func AnswerTo(query []byte, a string) []byte {
	var m dns.Msg
	if err := m.Unpack(query); err != nil {
		panic(err)
	}
	r := new(dns.Msg).SetReply(&m)
	r.Answer = append(r.Answer, &dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(a)})
	r.Compress = true
	b, err := r.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// Changed returns b with one octet changed.
func Changed(b []byte, at int, to func(byte) byte) []byte {
	b = bytes.Clone(b)
	b[at] = to(b[at])
	return b
}

// ServeTCP answers one query of a connection.
func ServeTCP(a string) func(net.Conn) {
	return func(c net.Conn) {
		if query := ReadMessage(c); query != nil {
			c.Write(Framed(AnswerTo(query, a)))
		}
	}
}

// ReadMessage reads a message with its length in front; nil if there is none.
func ReadMessage(c io.Reader) []byte {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return nil
	}
	return b
}

// Framed returns b with its length in front.
func Framed(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

// CheckLeaks fails the test if it leaves goroutines behind. Call it first. It waits longer than
// goleak does by itself, which is less than half a second.
func CheckLeaks(t testing.TB) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		var err error
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if err = goleak.Find(before); err == nil {
				return
			}
		}
		t.Error(err)
	})
}

// WaitFor waits for what other goroutines bring about. Its limit is for a test
// that would never end, not a measure.
func WaitFor(t testing.TB, done func() bool, otherwise func() string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(otherwise())
		}
	}
}

// Allocs returns how many allocations a call of f costs. What other goroutines of the test's
// process allocate meanwhile is counted, too: so it is the least of some measurements.
func Allocs(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 9 {
		if least == 0 {
			break
		}
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}
