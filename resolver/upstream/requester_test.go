package upstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// A requestServer is a server for a transport of requests.
type requestServer struct {
	to                Server
	connections, open *atomic.Int64
}

// requestTransports starts, for each transport of requests, a server that hands queries that
// are no probes to answer, whose reply it sends; nil: it resets the request.
var requestTransports = map[string]func(t testing.TB, c *dnstest.Certificate, answer func(query []byte) []byte) requestServer{
	"https": func(t testing.TB, c *dnstest.Certificate, answer func([]byte) []byte) requestServer {
		s := dnstest.StartHTTPS(t, c, func(w http.ResponseWriter, _ *http.Request, query []byte) {
			if reply := answer(query); reply != nil {
				dnstest.WriteReply(w, reply)
				return
			}
			panic(http.ErrAbortHandler)
		})
		return requestServer{httpsServer(s), &s.Connections, &s.Open}
	},
	"h3": func(t testing.TB, c *dnstest.Certificate, answer func([]byte) []byte) requestServer {
		s := dnstest.StartHTTP3(t, c, func(w http.ResponseWriter, _ *http.Request, query []byte) {
			if reply := answer(query); reply != nil {
				dnstest.WriteReply(w, reply)
				return
			}
			panic(http.ErrAbortHandler)
		})
		to := httpsServer(&s.HTTPServer)
		to.Transport = H3
		return requestServer{to, &s.Connections, &s.Open}
	},
	"quic": func(t testing.TB, c *dnstest.Certificate, answer func([]byte) []byte) requestServer {
		s := dnstest.StartQUIC(t, c, func(_ *quic.Conn, query []byte) []byte { return answer(query) })
		return requestServer{Server{Addr: s.Addr, Transport: QUIC, Name: "dns.example"}, &s.Connections, &s.Open}
	},
}

func httpsServer(s *dnstest.HTTPServer) Server {
	return Server{Addr: s.Addr, Transport: HTTPS, Name: "dns.example", Path: "/dns-query"}
}

// eachRequestTransport runs a test by each of them, with a server that answers so.
func eachRequestTransport(t *testing.T, answer func(query []byte) []byte, test func(t *testing.T, c *dnstest.Certificate, s requestServer)) {
	startEachRequestTransport(t, func(t *testing.T, c *dnstest.Certificate, start func(answer func([]byte) []byte) requestServer) {
		test(t, c, start(answer))
	})
}

// startEachRequestTransport lets a test start its server.
func startEachRequestTransport(t *testing.T, test func(t *testing.T, c *dnstest.Certificate, start func(answer func([]byte) []byte) requestServer)) {
	for name, start := range requestTransports {
		t.Run(name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			c := dnstest.NewCertificate(t, never(), "dns.example")
			test(t, c, func(answer func([]byte) []byte) requestServer { return start(t, c, answer) })
		})
	}
}

func answerOne(query []byte) []byte { return dnstest.AnswerTo(query, "192.0.2.1") }

func TestRequestsShareAConnection(t *testing.T) {
	eachRequestTransport(t, answerOne, func(t *testing.T, c *dnstest.Certificate, s requestServer) {
		u := startClient(t, Options{Roots: c.Roots, Servers: []Server{s.to}})
		for range 3 {
			if got := askMany(t, u, 300); got["NOERROR 192.0.2.1"] != 300 {
				t.Errorf("answers: got %v, want 300 of them", got)
			}
		}
		if n := s.connections.Load(); n != 1 {
			t.Errorf("connections: got %d, want one for all queries", n)
		}
		if st := u.Status()[0]; st.State != Up || st.SRTT == 0 || st.Queries != 900 || st.Failures != 0 {
			t.Errorf("status: got %+v", st)
		}
	})
}

// One slow name holds up no other.
func TestRequestsAreAnsweredInAnyOrder(t *testing.T) {
	startEachRequestTransport(t, func(t *testing.T, c *dnstest.Certificate, start func(func([]byte) []byte) requestServer) {
		var others sync.WaitGroup
		others.Add(20)
		s := start(func(query []byte) []byte {
			if strings.Contains(string(query), "\x04slow") {
				others.Wait()
			}
			return answerOne(query)
		})
		u := startClient(t, Options{Roots: c.Roots, Servers: []Server{s.to}})
		slow := make(chan string)
		go func() { slow <- lookupA(t, u, "slow.example") }()
		for i := range 20 {
			if got := lookupA(t, u, fmt.Sprintf("n%d.example", i)); got != "NOERROR 192.0.2.1" {
				t.Errorf("got %q", got)
			}
			others.Done()
		}
		if got := <-slow; got != "NOERROR 192.0.2.1" {
			t.Errorf("the slow one: got %q", got)
		}
	})
}

// What a server sends that is no answer makes the next be asked, and is never believed.
func TestRequestsThatAreNoUse(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(query []byte) []byte
	}{
		{"a wrong id", func(q []byte) []byte {
			return dnstest.Changed(dnstest.AnswerTo(q, "192.0.2.66"), 1, func(b byte) byte { return b + 1 })
		}},
		{"a wrong question", func(q []byte) []byte {
			return dnstest.Changed(dnstest.AnswerTo(q, "192.0.2.66"), 14, func(b byte) byte { return b + 1 })
		}},
		{"nonsense", func([]byte) []byte { return []byte("HTTP/1.1 400 Bad Request") }},
		{"nothing", func([]byte) []byte { return []byte{} }},
		{"the query itself", func(q []byte) []byte { return q }},
		{"a reset", func([]byte) []byte { return nil }},
		{"refused", func(q []byte) []byte { return dnstest.ReplyTo(q, dns.RcodeRefused) }},
		{"truncated", func(q []byte) []byte {
			return dnstest.Changed(dnstest.ReplyTo(q, 0), 2, func(b byte) byte { return b | bitTC })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachRequestTransport(t, test.answer, func(t *testing.T, c *dnstest.Certificate, s requestServer) {
				next := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
				u := startClient(t, Options{Roots: c.Roots, Servers: []Server{s.to, {Addr: next.Addr}}})
				if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.2" {
					t.Errorf("got %q, want the next upstream's answer", got)
				}
				if st := u.Status()[0]; st.State != Up || st.Failures == 0 {
					t.Errorf("status: got %+v, want it up with a failure", st)
				}
			})
		})
	}
}

// A server that resets a request, as one that closes a connection or is short of something may,
// is asked again: that is not yet a failure.
func TestResetRequestsAreAskedAgain(t *testing.T) {
	startEachRequestTransport(t, func(t *testing.T, c *dnstest.Certificate, start func(func([]byte) []byte) requestServer) {
		var resets atomic.Int64
		s := start(func(q []byte) []byte {
			if bytes.Contains(q, []byte("\x07example")) && resets.Add(1) < maxStreamEnds { // no probe
				return nil
			}
			return answerOne(q)
		})
		u := startClient(t, Options{Roots: c.Roots, Servers: []Server{s.to}})
		if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
			t.Errorf("got %q", got)
		}
		if st := u.Status()[0]; st.Failures != 0 || resets.Load() != maxStreamEnds {
			t.Errorf("asked %d times, want %d; status: got %+v", resets.Load(), maxStreamEnds, st)
		}
	})
}

// A server that never answers holds up nobody for long, and is asked again on another
// connection.
func TestRequestsThatAreNeverAnswered(t *testing.T) {
	startEachRequestTransport(t, func(t *testing.T, c *dnstest.Certificate, start func(func([]byte) []byte) requestServer) {
		stop := make(chan struct{})
		s := start(func([]byte) []byte { <-stop; return nil })
		t.Cleanup(func() { close(stop) })
		next := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
		u := startClient(t, Options{Roots: c.Roots, Patience: 50 * time.Millisecond, Servers: []Server{s.to, {Addr: next.Addr}}})
		if got := askMany(t, u, 50); got["NOERROR 192.0.2.2"] != 50 {
			t.Errorf("answers: got %v, want 50 of the next upstream", got)
		}
	})
}

func TestRequestAnsweredLate(t *testing.T) {
	startEachRequestTransport(t, func(t *testing.T, c *dnstest.Certificate, start func(func([]byte) []byte) requestServer) {
		release, asked := make(chan struct{}), make(chan struct{}, 16)
		s := start(func(q []byte) []byte {
			if bytes.Contains(q, []byte("\x07example")) { // no probe
				asked <- struct{}{}
			}
			<-release
			return answerOne(q)
		})
		late := make(chan string, 16)
		u := startClient(t, Options{Roots: c.Roots, Servers: []Server{s.to}, Late: func(q *dnswire.Question, a *Answer) {
			if q.Type == dnswire.TypeA {
				late <- q.Name.String()
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := u.Exchange(ctx, questionOf(t, "a.example", dnswire.TypeA), Start{})
			done <- err
		}()
		r := u.set.Load().all[0].carrier.(*requester)
		dnstest.WaitFor(t, func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.current != nil && r.current.waiting > 0 && u.Status()[0].Queries == 1
		}, func() string { return "the query was not sent" })
		<-asked // what is not with the server yet is taken back
		cancel()
		<-done
		close(release)
		if got := <-late; !strings.HasPrefix(got, "a.example") {
			t.Errorf("late answer to %q, want to a.example", got)
		}
	})
}

func TestIdleRequestConnectionIsClosed(t *testing.T) {
	eachRequestTransport(t, answerOne, func(t *testing.T, c *dnstest.Certificate, s requestServer) {
		u := startClient(t, Options{Roots: c.Roots, Servers: []Server{s.to}, streamIdle: 20 * time.Millisecond})
		for i := range 3 {
			if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
				t.Fatalf("query %d: got %q", i, got)
			}
			dnstest.WaitFor(t, func() bool { return s.connections.Load() > int64(i) && s.open.Load() == 0 },
				func() string { return "an idle connection is still open" })
		}
	})
}

func TestRequestConnectionEndsWithItsUpstream(t *testing.T) {
	eachRequestTransport(t, answerOne, func(t *testing.T, c *dnstest.Certificate, s requestServer) {
		next := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
		u := startClient(t, Options{Roots: c.Roots, Servers: []Server{s.to}})
		lookupA(t, u, "a.example")
		u.SetServers([]Server{{Addr: next.Addr}})
		dnstest.WaitFor(t, func() bool { return s.open.Load() == 0 }, func() string { return "the connection is still open" })
		if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.2" {
			t.Errorf("got %q, want the new upstream's answer", got)
		}
	})
}

// Queries say nothing of who asks, and their length nothing of the name.
func TestRequestsArePadded(t *testing.T) {
	var wrong atomic.Int64
	answer := func(query []byte) []byte {
		var m dns.Msg
		if err := m.Unpack(query); err != nil || m.Id != 0 || m.IsEdns0() == nil || len(m.IsEdns0().Option) != 1 || len(query)%paddingBlock != 0 {
			wrong.Add(1)
		}
		return answerOne(query)
	}
	eachRequestTransport(t, answer, func(t *testing.T, c *dnstest.Certificate, s requestServer) {
		u := startClient(t, Options{Roots: c.Roots, Servers: []Server{s.to}})
		for n := range 30 {
			if got := lookupA(t, u, strings.Repeat("b", n+1)+".example"); got != "NOERROR 192.0.2.1" {
				t.Fatalf("got %q", got)
			}
		}
		if n := wrong.Load(); n > 0 {
			t.Errorf("%d queries without id 0, or not padded to %d octets", n, paddingBlock)
		}
	})
}

func TestRequestCertificates(t *testing.T) {
	good := dnstest.NewCertificate(t, never(), "dns.example")
	for name, start := range requestTransports {
		for _, test := range []struct {
			name   string
			server *dnstest.Certificate
			trust  *dnstest.Certificate
			asked  string
			want   string // what status says; empty: it is up
		}{
			{"the name is right", good, good, "dns.example", ""},
			{"another name", good, good, "other.example", "has a certificate for dns.example and not for other.example"},
			{"expired", dnstest.NewCertificate(t, time.Now().Add(-time.Hour), "dns.example"), nil, "dns.example", "check this machine's clock"},
			{"an unknown authority", good, dnstest.NewCertificate(t, never(), "dns.example"), "dns.example", "an authority that this machine does not trust"},
		} {
			t.Run(name+" "+test.name, func(t *testing.T) {
				dnstest.CheckLeaks(t)
				s := start(t, test.server, answerOne)
				if test.trust == nil {
					test.trust = test.server
				}
				s.to.Name = test.asked
				u := startClient(t, Options{Roots: test.trust.Roots, Servers: []Server{s.to}})
				if test.want == "" {
					if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
						t.Errorf("got %q", got)
					}
					return
				}
				if st := waitState(t, u, s.to.Addr, Down); !strings.Contains(st.Why, test.want) {
					t.Errorf("status: got %q, want %q", st.Why, test.want)
				}
				if got := lookupA(t, u, "a.example"); !strings.Contains(got, test.want) {
					t.Errorf("a query: got %q, want %q", got, test.want)
				}
			})
		}
	}
}

// A server by name is asked at all of its addresses, the ones where nobody is among them.
func TestServerByName(t *testing.T) {
	eachRequestTransport(t, answerOne, func(t *testing.T, c *dnstest.Certificate, s requestServer) {
		to := s.to
		to.Name, to.Host = "", "dns.example"
		to.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.99"), to.Addr.Addr()}
		to.Addr = netip.AddrPortFrom(netip.Addr{}, to.Addr.Port())
		u := startClient(t, Options{Roots: c.Roots, Servers: []Server{to}})
		if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
			t.Errorf("got %q", got)
		}
		want := fmt.Sprintf("%s://dns.example:%d%s", to.Transport, to.Addr.Port(), to.Path)
		if got := u.Status()[0].ID; got != want {
			t.Errorf("its name: got %s, want %s", got, want)
		}
	})
}

func TestPins(t *testing.T) {
	known, strange, expired := dnstest.NewCertificate(t, never(), "dns.example"), dnstest.NewCertificate(t, never(), "dns.example"),
		dnstest.NewCertificate(t, time.Now().Add(-time.Hour), "other.example")
	key := func(c *dnstest.Certificate) Pin { return KeyPin(c.TLS.Leaf) }
	whole := func(c *dnstest.Certificate) Pin { return Pin{true, sha256Of(c.TLS.Leaf.RawTBSCertificate)} }
	for _, test := range []struct {
		name   string
		server *dnstest.Certificate
		trust  *dnstest.Certificate
		pins   []Pin
		want   string // what status says; empty: it is up
	}{
		{"its key, with a valid certificate", known, known, []Pin{key(known)}, ""},
		{"its key among others", known, known, []Pin{key(strange), key(known)}, ""},
		{"its key, of no authority", known, strange, []Pin{key(known)}, ""},
		{"its key, whatever else the certificate says", expired, strange, []Pin{key(expired)}, ""},
		{"another key", known, known, []Pin{key(strange)}, "has none of the keys or certificates that the settings name"},
		{"another key, of no authority", known, strange, []Pin{key(strange)}, "has none of the keys or certificates"},
		{"its certificate", known, known, []Pin{whole(known)}, ""},
		{"its certificate, of no authority", known, strange, []Pin{whole(known)}, "an authority that this machine does not trust"},
		{"another certificate", known, known, []Pin{whole(strange)}, "has none of the keys or certificates that the settings name"},
		{"a certificate's sum is no key's", known, known, []Pin{{false, whole(known).Sum}, {true, key(known).Sum}}, "has none of the keys"},
	} {
		for name, start := range requestTransports {
			t.Run(test.name+" "+name, func(t *testing.T) {
				dnstest.CheckLeaks(t)
				s := start(t, test.server, answerOne)
				s.to.Pins = test.pins
				u := startClient(t, Options{Roots: test.trust.Roots, Servers: []Server{s.to}, streamIdle: time.Millisecond})
				if test.want != "" {
					if st := waitState(t, u, s.to.Addr, Down); !strings.Contains(st.Why, test.want) {
						t.Errorf("status: got %q, want %q", st.Why, test.want)
					}
					return
				}
				for range 3 { // also with a session that is resumed
					if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
						t.Errorf("got %q", got)
					}
					dnstest.WaitFor(t, func() bool { return s.open.Load() == 0 }, func() string { return "an idle connection is still open" })
				}
			})
		}
	}
}

// benchmarkRequests measures misses by a transport of requests.
func benchmarkRequests(b *testing.B, transport string) {
	c := dnstest.NewCertificate(b, never(), "dns.example")
	s := requestTransports[transport](b, c, func(query []byte) []byte {
		query[2] |= 0x80
		binary.BigEndian.PutUint16(query[10:], 0)
		end := 12
		for query[end] != 0 {
			end += 1 + int(query[end])
		}
		return query[:end+5]
	})
	u := startClient(b, Options{Roots: c.Roots, Servers: []Server{s.to}})
	b.SetParallelism(64)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		q := questionOf(b, "a.example", dnswire.TypeA)
		for pb.Next() {
			a, err := u.Exchange(b.Context(), q, Start{})
			if err != nil {
				b.Error(err)
			}
			a.Release()
		}
	})
}

func BenchmarkMissByHTTPS(b *testing.B) { benchmarkRequests(b, "https") }
func BenchmarkMissByHTTP3(b *testing.B) { benchmarkRequests(b, "h3") }
func BenchmarkMissByQUIC(b *testing.B)  { benchmarkRequests(b, "quic") }

func TestServersDifferByAllTheySay(t *testing.T) {
	a := netip.MustParseAddrPort("127.0.0.1:1")
	pin := Pin{Sum: [32]byte{1}}
	u := startClient(t, Options{Servers: []Server{
		{Addr: a, Transport: HTTPS, Name: "dns.example", Path: "/a"}, {Addr: a, Transport: HTTPS, Name: "dns.example", Path: "/b"},
		{Addr: a, Transport: HTTPS, Name: "dns.example", Path: "/a", Pins: []Pin{pin}}, {Addr: a, Transport: HTTPS, Name: "dns.example", Path: "/a", TrustAD: true},
	}})
	var got []string
	for _, st := range u.Status() {
		got = append(got, st.ID)
	}
	want := []string{"https://127.0.0.1:1/a#dns.example", "https://127.0.0.1:1/b#dns.example", "https://127.0.0.1:1/a#dns.example"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A connection takes no more queries when a request has failed with it, and only then: one that nobody waited
// for, or that was given up, says nothing of it.
func TestWhichRequestsEndAConnection(t *testing.T) {
	for name, c := range map[string]struct {
		err           error
		answers, lost int
	}{
		"an answer":                          {nil, 1, 0},
		"an answer by an error of HTTP":      {&requestError{err: errors.New("status 500")}, 1, 0},
		"one that was given up":              {context.Canceled, 0, 0},
		"one that took too long":             {fmt.Errorf("reading: %w", context.DeadlineExceeded), 0, 0},
		"the end of the connection":          {io.EOF, 0, 1},
		"a reset of it":                      {syscall.ECONNRESET, 0, 1},
		"a time-out of the connection's own": {os.ErrDeadlineExceeded, 0, 1},
	} {
		r := &requester{}
		conn := &openConn{wake: make(chan struct{}, 1), open: 1, waiting: 1, unanswered: time.Now()}
		r.current = conn
		rq := &request{requester: r, conn: conn}
		r.give(conn, rq, c.err)
		if conn.answers != c.answers || conn.lost != c.lost || conn.isOver != (c.lost > 0) || (r.current == nil) != conn.isOver {
			t.Errorf("%s: %d answers, %d lost, over: %v", name, conn.answers, conn.lost, conn.isOver)
		}
		if conn.open != 0 || conn.waiting != 0 || rq.conn != nil || !conn.unanswered.IsZero() || len(conn.wake) != 1 {
			t.Errorf("%s: %+v: it is still on the connection", name, conn)
		}
	}
}

// A fakeCarrier is asked, and never answers.
type fakeCarrier struct{ isConnected bool }

func (f *fakeCarrier) ask(*Upstream, *dnswire.Question, mode, int, chan<- result) sending { return f }
func (f *fakeCarrier) connected() bool                                                    { return f.isConnected }
func (f *fakeCarrier) lastProblem() string                                                { return "" }
func (f *fakeCarrier) leave(func(*Answer), func())                                        {}

// Where there is no connection yet, there is time for one before the next upstream is asked.
func TestAConnectionThatIsToBeMadeHasItsTime(t *testing.T) {
	for _, c := range []struct {
		timeout   time.Duration
		connected bool
		want      time.Duration
	}{
		{time.Second, true, time.Second}, {time.Second, false, 4 * time.Second}, {100 * time.Millisecond, true, 100 * time.Millisecond}, {100 * time.Millisecond, false, steadyResend},
	} {
		h := &health{carrier: &fakeCarrier{c.connected}}
		h.timing.timeout.Store(int64(c.timeout))
		x := (&Client{budget: time.Minute}).newExchange(questionOf(t, "a.example", dnswire.TypeA), []candidate{{Upstream: &Upstream{health: h}}})
		if got := x.askCarrier(0); got != c.want {
			t.Errorf("%v, connected: %v: it has %v, want %v", c.timeout, c.connected, got, c.want)
		}
	}
}
