package upstream

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

var (
	never    = func() time.Time { return time.Now().Add(24 * time.Hour) }
	answerIt = dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) { send(dnstest.AnswerTo(query, "192.0.2.1")) })
)

// startStreamClient starts a client of a server by its stream.
func startStreamClient(t testing.TB, o Options, c *dnstest.Certificate, s *dnstest.StreamServer, name string) *Client {
	t.Helper()
	to := Server{Addr: s.Addr, Transport: TCP}
	if c != nil {
		to.Transport, to.Name = TLS, name
		if o.Roots == nil {
			o.Roots = c.Roots
		}
	}
	o.Servers = append([]Server{to}, o.Servers...)
	return startClient(t, o)
}

// eachTransport runs a test by TCP and by TLS.
func eachTransport(t *testing.T, test func(t *testing.T, c *dnstest.Certificate)) {
	t.Run("tcp", func(t *testing.T) { test(t, nil) })
	t.Run("tls", func(t *testing.T) { test(t, dnstest.NewCertificate(t, never(), "dns.example")) })
}

// askMany asks for so many names at the same time, and returns how often each answer
// came.
func askMany(t testing.TB, u *Client, n int) map[string]int {
	t.Helper()
	var tasks sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for i := range n {
		tasks.Go(func() {
			text := lookupA(t, u, fmt.Sprintf("n%d.example", i))
			mu.Lock()
			defer mu.Unlock()
			got[text]++
		})
	}
	tasks.Wait()
	return got
}

func TestStreamIsShared(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *dnstest.Certificate) {
		dnstest.CheckLeaks(t)
		s := dnstest.StartStream(t, c, answerIt)
		u := startStreamClient(t, Options{}, c, s, "dns.example")
		for range 3 {
			if got := askMany(t, u, 500); got["NOERROR 192.0.2.1"] != 500 {
				t.Errorf("answers: got %v, want 500 of them", got)
			}
		}
		if n := s.Connections.Load(); n != 1 {
			t.Errorf("connections: got %d, want one for all queries", n)
		}
		if n := s.Plain.Load(); n != 0 {
			t.Errorf("%d packets by UDP, want none", n)
		}
		if st := u.Status()[0]; st.State != Up || st.SRTT == 0 || st.Queries != 1500 || st.Failures != 0 {
			t.Errorf("status: got %+v", st)
		}
	})
}

func TestStreamAnswersComeInAnyOrder(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *dnstest.Certificate) {
		dnstest.CheckLeaks(t)
		const n = 32
		var mu sync.Mutex
		var held [][]byte
		s := dnstest.StartStream(t, c, dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) {
			mu.Lock()
			defer mu.Unlock()
			if held = append(held, query); len(held) < n {
				return
			}
			slices.Reverse(held)
			for _, q := range held {
				var m dns.Msg
				m.Unpack(q)
				var i int
				fmt.Sscanf(m.Question[0].Name, "n%d.", &i)
				send(dnstest.AnswerTo(q, fmt.Sprintf("192.0.2.%d", i)))
			}
		}))
		u := startStreamClient(t, Options{}, c, s, "dns.example")
		got := askMany(t, u, n)
		for i := range n {
			if want := fmt.Sprintf("NOERROR 192.0.2.%d", i); got[want] != 1 {
				t.Errorf("%s: got %d, want 1", want, got[want])
			}
		}
	})
}

func TestStreamIsDialledAgainWithItsQueries(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(c net.Conn, query []byte, send func([]byte), asked int64)
	}{
		{"closed after each answer", func(c net.Conn, query []byte, send func([]byte), _ int64) {
			send(dnstest.AnswerTo(query, "192.0.2.1"))
			c.Close()
		}},
		{"closed once before an answer", func(c net.Conn, query []byte, send func([]byte), asked int64) {
			if asked == 1 {
				c.Close()
				return
			}
			send(dnstest.AnswerTo(query, "192.0.2.1"))
		}},
		{"closed after ten", func(c net.Conn, query []byte, send func([]byte), asked int64) {
			if send(dnstest.AnswerTo(query, "192.0.2.1")); asked%10 == 0 {
				c.Close()
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, c *dnstest.Certificate) {
				dnstest.CheckLeaks(t)
				var asked atomic.Int64
				s := dnstest.StartStream(t, c, dnstest.EachQuery(func(c net.Conn, query []byte, send func([]byte)) {
					test.serve(c, query, send, asked.Add(1))
				}))
				u := startStreamClient(t, Options{}, c, s, "dns.example")
				if got := askMany(t, u, 60); got["NOERROR 192.0.2.1"] != 60 {
					t.Errorf("answers: got %v, want 60 of them", got)
				}
			})
		})
	}
}

func TestStreamThatClosesWithoutAnswers(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *dnstest.Certificate) {
		dnstest.CheckLeaks(t)
		var asked atomic.Int64
		s := dnstest.StartStream(t, c, dnstest.EachQuery(func(c net.Conn, _ []byte, _ func([]byte)) {
			asked.Add(1)
			c.Close()
		}))
		u := startStreamClient(t, Options{}, c, s, "dns.example")
		if got := lookupA(t, u, "a.example"); !strings.HasSuffix(got, " ended the connection") {
			t.Errorf("got %q, want that it ended the connection", got)
		}
		if n := asked.Load(); n != maxStreamEnds {
			t.Errorf("asked %d times, want %d", n, maxStreamEnds)
		}
	})
}

// What does not come within the time that the upstream needs is asked of the next.
func TestStreamThatIsNoUse(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(net.Conn)
	}{
		{"never answers", dnstest.EachQuery(func(net.Conn, []byte, func([]byte)) {})},
		{"answers with a wrong id", dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) {
			send(dnstest.Changed(dnstest.AnswerTo(query, "192.0.2.66"), 1, func(b byte) byte { return b + 1 }))
		})},
		{"answers a wrong question", dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) {
			send(dnstest.Changed(dnstest.AnswerTo(query, "192.0.2.66"), 14, func(b byte) byte { return b + 1 }))
		})},
		{"answers in clear text nonsense", dnstest.EachQuery(func(_ net.Conn, _ []byte, send func([]byte)) { send([]byte("HTTP/1.1 400 Bad Request")) })},
		{"refuses", dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) { send(dnstest.ReplyTo(query, dns.RcodeRefused)) })},
		{"truncates", dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) {
			send(dnstest.Changed(dnstest.ReplyTo(query, 0), 2, func(b byte) byte { return b | bitTC }))
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, c *dnstest.Certificate) {
				dnstest.CheckLeaks(t)
				s := dnstest.StartStream(t, c, test.serve)
				next := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
				u := startStreamClient(t, Options{Patience: 50 * time.Millisecond, Servers: []Server{{Addr: next.Addr}}}, c, s, "dns.example")
				if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.2" {
					t.Errorf("got %q, want the next upstream's answer", got)
				}
				if n := s.Plain.Load(); n != 0 {
					t.Errorf("%d packets by UDP, want none", n)
				}
			})
		})
	}
}

func TestStreamThatStrays(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	s := dnstest.StartStream(t, c, dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) {
		for range maxStrays {
			send(dnstest.Changed(dnstest.AnswerTo(query, "192.0.2.66"), 1, func(b byte) byte { return b + 1 }))
		}
	}))
	u := startStreamClient(t, Options{}, c, s, "dns.example")
	if got := lookupA(t, u, "a.example"); !strings.HasSuffix(got, " sent replies that do not fit the query") {
		t.Errorf("got %q, want that its replies do not fit", got)
	}
	if n := u.Status()[0].Strays; n < maxStrays {
		t.Errorf("strays: got %d, want them counted", n)
	}
}

// A far end that takes nothing more holds up nobody: the writer alone waits for it.
func TestStreamThatReadsNothing(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *dnstest.Certificate) {
		dnstest.CheckLeaks(t)
		stop := make(chan struct{})
		s := dnstest.StartStream(t, c, func(net.Conn) { <-stop })
		t.Cleanup(func() { close(stop) })
		next := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
		u := startStreamClient(t, Options{Patience: 50 * time.Millisecond, Servers: []Server{{Addr: next.Addr}}}, c, s, "dns.example")
		if got := askMany(t, u, 1000); got["NOERROR 192.0.2.2"] != 1000 {
			t.Errorf("answers: got %v, want 1000 of the next upstream", got)
		}
	})
}

// A server that reads an octet at a time gets all queries, and its answers are taken.
func TestStreamThatReadsSlowly(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	s := dnstest.StartStream(t, c, func(conn net.Conn) { answerIt(octets{conn}) })
	u := startStreamClient(t, Options{}, c, s, "dns.example")
	if got := askMany(t, u, 300); got["NOERROR 192.0.2.1"] != 300 {
		t.Errorf("answers: got %v, want 300 of them", got)
	}
}

// octets reads and writes an octet at a time.
type octets struct{ net.Conn }

func (o octets) Read(b []byte) (int, error) { return o.Conn.Read(b[:1]) }
func (o octets) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := o.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func TestStreamWhoseAnswerIsLate(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	release := make(chan struct{})
	s := dnstest.StartStream(t, c, dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) {
		<-release
		send(dnstest.AnswerTo(query, "192.0.2.1"))
	}))
	late := make(chan string, 16)
	o := Options{Late: func(q *dnswire.Question, a *Answer) {
		if q.Type == dnswire.TypeA {
			late <- q.Name.String()
		}
	}}
	u := startStreamClient(t, o, c, s, "dns.example")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := u.Exchange(ctx, questionOf(t, "a.example", dnswire.TypeA), Start{})
		done <- err
	}()
	stream := u.set.Load().all[0].carrier.(*stream)
	dnstest.WaitFor(t, func() bool {
		stream.mu.Lock()
		defer stream.mu.Unlock()
		return slices.ContainsFunc(valuesOf(stream.pending), func(q *streamQuery) bool { return strings.Contains(string(q.message), "\x07example") })
	}, func() string { return "the query was not sent" })
	cancel()
	<-done
	close(release)
	if got := <-late; !strings.HasPrefix(got, "a.example") {
		t.Errorf("late answer to %q, want to a.example", got)
	}
}

// Replies to queries that were given up for good are no strays: they do not end the connection
// for those who wait on it.
func TestRepliesToQueriesGivenUpDoNotEndAStream(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *dnstest.Certificate) {
		dnstest.CheckLeaks(t)
		const n = 2 * maxStrays
		var mu sync.Mutex
		var held [][]byte
		s := dnstest.StartStream(t, c, dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(string(query), "\x04slow") {
				held = append(held, query)
				return
			}
			for _, q := range held {
				send(dnstest.AnswerTo(q, "192.0.2.66"))
			}
			held = nil
			send(dnstest.AnswerTo(query, "192.0.2.1"))
		}))
		u := startStreamClient(t, Options{Patience: 10 * time.Second}, c, s, "dns.example")
		lookupA(t, u, "first.example")
		ctx, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		for i := range n {
			asking.Go(func() { u.Exchange(ctx, questionOf(t, fmt.Sprintf("n%d.slow", i), dnswire.TypeA), Start{}) })
		}
		dnstest.WaitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(held) == n }, func() string { return "the queries have not come" })
		cancel()
		asking.Wait()
		stream := u.set.Load().all[0].carrier.(*stream)
		stream.mu.Lock()
		stream.expired = time.Time{}
		for _, q := range stream.pending {
			if q.late != nil {
				q.sent = q.sent.Add(-lateWithin)
			}
		}
		stream.mu.Unlock()
		for i := range 2 {
			if got := lookupA(t, u, fmt.Sprintf("n%d.example", i)); got != "NOERROR 192.0.2.1" {
				t.Errorf("query %d: got %q", i, got)
			}
		}
		if st := u.Status()[0]; s.Connections.Load() != 1 || st.Strays != 0 {
			t.Errorf("%d connections, %d strays, want one and none", s.Connections.Load(), st.Strays)
		}
	})
}

// What is remembered of queries that were given up is bounded, and the newest of it is.
func TestQueriesGivenUpAreForgottenInTime(t *testing.T) {
	var s stream
	const n = 5 * maxPending
	for id := range uint16(n) {
		s.rememberLocked(id)
	}
	if got := len(s.givenUp[0]) + len(s.givenUp[1]); got > 2*maxPending {
		t.Errorf("%d ids are remembered, want %d at most", got, 2*maxPending)
	}
	for id := uint16(n - maxPending); id < n; id++ {
		if !s.wasGivenUpLocked(id) {
			t.Fatalf("%d of %d is forgotten", id, n)
		}
	}
	if s.wasGivenUpLocked(n) || s.wasGivenUpLocked(0) {
		t.Error("an id is remembered that nobody gave up, or the first of many")
	}
}

func valuesOf[K comparable, V any](m map[K]V) (all []V) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

func TestIdleStreamIsClosed(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	var ended atomic.Int64
	s := dnstest.StartStream(t, c, func(conn net.Conn) { answerIt(conn); ended.Add(1) })
	u := startStreamClient(t, Options{Patience: 400 * time.Millisecond, streamIdle: 20 * time.Millisecond}, c, s, "dns.example")
	for i := range 2 { // each takes as long as the upstream may be silent
		if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
			t.Fatalf("query %d: got %q", i, got)
		}
		dnstest.WaitFor(t, func() bool { return ended.Load() > int64(i) && ended.Load() == s.Connections.Load() },
			func() string { return "an idle connection is still open" })
	}
}

func TestStreamEndsWithItsUpstream(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	var ended atomic.Int64
	s := dnstest.StartStream(t, c, func(conn net.Conn) { answerIt(conn); ended.Add(1) })
	next := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	u := startStreamClient(t, Options{}, c, s, "dns.example")
	lookupA(t, u, "a.example")
	u.SetServers([]Server{{Addr: next.Addr}})
	dnstest.WaitFor(t, func() bool { return ended.Load() == s.Connections.Load() }, func() string { return "the connection is still open" })
	if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.2" {
		t.Errorf("got %q, want the new upstream's answer", got)
	}
}

func TestQueriesByTLSArePadded(t *testing.T) {
	dnstest.CheckLeaks(t)
	var sizes sync.Map
	c := dnstest.NewCertificate(t, never(), "dns.example")
	s := dnstest.StartStream(t, c, dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) {
		var m dns.Msg
		if err := m.Unpack(query); err != nil || m.IsEdns0() == nil || len(m.IsEdns0().Option) != 1 {
			t.Errorf("query does not unpack, or has no one option: %v %v", err, &m)
		}
		sizes.Store(m.Question[0].Name, len(query))
		send(dnstest.AnswerTo(query, "192.0.2.1"))
	}))
	u := startStreamClient(t, Options{}, c, s, "dns.example")
	label := strings.Repeat("a", 63)
	for _, name := range []string{"a.example", label + ".example", strings.Repeat(label+".", 3) + "example"} {
		for extra := range 30 {
			name := strings.Repeat("b", extra+1) + "." + name
			if got := lookupA(t, u, name); got != "NOERROR 192.0.2.1" {
				t.Fatalf("%s: got %q", name, got)
			}
		}
	}
	n := 0
	sizes.Range(func(name, size any) bool {
		n++
		if size.(int)%paddingBlock != 0 {
			t.Errorf("%s: %d octets, want a multiple of %d", name, size, paddingBlock)
		}
		return true
	})
	if n != 90 {
		t.Errorf("%d queries seen, want 90", n)
	}
}

func TestCertificates(t *testing.T) {
	good := dnstest.NewCertificate(t, never(), "dns.example", "127.0.0.1")
	for _, test := range []struct {
		name   string
		server *dnstest.Certificate // nil: no TLS at all
		trust  *dnstest.Certificate
		asked  string
		want   string // what status says; empty: it is up
	}{
		{"the name is right", good, good, "dns.example", ""},
		{"the address is right", good, good, "", ""},
		{"another name", good, good, "other.example", "has a certificate for dns.example, 127.0.0.1 and not for other.example"},
		{"not for the address", dnstest.NewCertificate(t, never(), "dns.example"), nil, "", "has a certificate for dns.example and not for 127.0.0.1"},
		{"expired", dnstest.NewCertificate(t, time.Now().Add(-time.Hour), "dns.example"), nil, "dns.example", "check this machine's clock"},
		{"not valid yet", dnstest.NewCertificate(t, time.Now().Add(300*time.Hour), "dns.example"), nil, "dns.example", "check this machine's clock"},
		{"an unknown authority", good, dnstest.NewCertificate(t, never(), "dns.example"), "dns.example", "an authority that this machine does not trust"},
		{"no TLS", nil, good, "dns.example", "offers no TLS that can be used"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			handle := answerIt
			if test.server == nil {
				handle = func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }
			}
			s := dnstest.StartStream(t, test.server, handle)
			trust := test.trust
			if trust == nil {
				trust = test.server
			}
			var said counts
			u := startStreamClient(t, Options{Report: said.report}, trust, s, test.asked)
			if test.want == "" {
				if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
					t.Errorf("got %q", got)
				}
				return
			}
			st := waitState(t, u, s.Addr, Down)
			if !strings.Contains(st.Why, test.want) {
				t.Errorf("status: got %q, want %q", st.Why, test.want)
			}
			before := s.Connections.Load()
			dnstest.WaitFor(t, func() bool { return s.Connections.Load() > before+3 }, func() string { return "it is not probed" })
			if n := said.of("upstream-down"); n != 1 {
				t.Errorf("said %d times, want once", n)
			}
			if got := lookupA(t, u, "a.example"); !strings.Contains(got, test.want) {
				t.Errorf("a query: got %q, want %q", got, test.want)
			}
			if n := s.Plain.Load(); n != 0 {
				t.Errorf("%d packets by UDP, want none", n)
			}
		})
	}
}

// counts counts what was reported, by kind.
type counts struct {
	mu sync.Mutex
	by map[string]int
}

func (c *counts) report(kind, _, _ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]int{}
	}
	c.by[kind]++
}

func (c *counts) of(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[kind]
}

func TestLoopIsFoundByTLS(t *testing.T) {
	dnstest.CheckLeaks(t)
	var u atomic.Pointer[Client]
	c := dnstest.NewCertificate(t, never(), "dns.example")
	s := dnstest.StartStream(t, c, func(conn net.Conn) {
		for query := dnstest.ReadMessage(conn); query != nil; query = dnstest.ReadMessage(conn) {
			end := 12
			for query[end] != 0 {
				end += 1 + int(query[end])
			}
			if u := u.Load(); u != nil {
				u.IsProbe(query[12 : end+1])
			}
			conn.Write(dnstest.Framed(dnstest.ReplyTo(query, dns.RcodeNameError)))
		}
	})
	client := startStreamClient(t, Options{}, c, s, "dns.example")
	u.Store(client)
	client.SetServers([]Server{{Addr: s.Addr, Transport: TLS, Name: "dns.example"}}) // it is probed again
	waitState(t, client, s.Addr, Looped)
}

func TestServersDifferByTransport(t *testing.T) {
	c := dnstest.NewCertificate(t, never(), "dns.example")
	s := dnstest.StartStream(t, c, answerIt)
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{
		{Addr: s.Addr, Transport: TLS, Name: "dns.example"}, {Addr: s.Addr, Transport: TLS}, {Addr: s.Addr, Transport: TCP}, {Addr: s.Addr},
		{Addr: s.Addr, Transport: TLS, Name: "dns.example"},
	}})
	var got []string
	for _, st := range u.Status() {
		got = append(got, st.ID)
	}
	a := s.Addr.String()
	want := []string{"tls://" + a + "#dns.example", "tls://" + a, "tcp://" + a, a}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The first session's ticket spares the second connection a full handshake.
func TestTLSSessionsAreResumed(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	var resumed atomic.Int64
	s := dnstest.StartStream(t, c, dnstest.EachQuery(func(conn net.Conn, query []byte, send func([]byte)) {
		if conn.(*tls.Conn).ConnectionState().DidResume {
			resumed.Add(1)
		}
		send(dnstest.AnswerTo(query, "192.0.2.1"))
		conn.Close()
	}))
	u := startStreamClient(t, Options{}, c, s, "dns.example")
	askMany(t, u, 20)
	if resumed.Load() == 0 {
		t.Error("no session was resumed")
	}
}

func BenchmarkMissByTLS(b *testing.B) {
	c := dnstest.NewCertificate(b, never(), "dns.example")
	s := dnstest.StartStream(b, c, dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) {
		query[2] |= 0x80
		binary.BigEndian.PutUint16(query[10:], 0)
		end := 12
		for query[end] != 0 {
			end += 1 + int(query[end])
		}
		send(query[:end+5])
	}))
	u := startStreamClient(b, Options{}, c, s, "dns.example")
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

// A server that ends every connection has failed for all who wait, and not for one of
// them after another.
func TestStreamThatResetsAll(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := dnstest.StartStream(t, nil, dnstest.EachQuery(func(c net.Conn, _ []byte, _ func([]byte)) { c.Close() }))
	u := startStreamClient(t, Options{}, nil, s, "")
	waitMeasured(t, u)
	before := s.Connections.Load()
	const many = 200
	for text := range askMany(t, u, many) {
		if !strings.HasSuffix(text, " ended the connection") {
			t.Errorf("got %q, want that it ended the connection", text)
		}
	}
	if n := s.Connections.Load() - before; n > many {
		t.Errorf("%d connections for %d queries", n, many)
	}
}
