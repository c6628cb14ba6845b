//go:build e2e

package resolver

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// A faulty is an upstream that can fail in one way, also towards probes.
type faulty struct {
	server upstream.Server
	fails  atomic.Bool
}

// startFaulty starts an upstream that fails in a way while it is told to.
func startFaulty(t *testing.T, way string, good, bad *dnstest.Certificate) *faulty {
	t.Helper()
	f := &faulty{}
	udp, tcp := dnstest.ListenBoth(t)
	f.server.Addr = udp.LocalAddr().(*net.UDPAddr).AddrPort()
	if way == "reset" {
		f.server.Transport = upstream.TCP
	}
	if way == "bad certificate" {
		f.server.Transport, f.server.Name = upstream.TLS, "dns.example"
	}
	var tasks sync.WaitGroup
	ended := make(chan struct{})
	reply := func(query []byte, send func([]byte)) {
		answer := dnstest.AnswerTo(query, "192.0.2.1")
		if !f.fails.Load() {
			send(answer)
			return
		}
		switch way {
		case "refused":
			send(dnstest.ReplyTo(query, dns.RcodeRefused))
		case "SERVFAIL":
			send(dnstest.ReplyTo(query, dns.RcodeServerFailure))
		case "wrong id":
			send(dnstest.Changed(answer, 1, func(c byte) byte { return c + 1 }))
		case "wrong question":
			send(dnstest.Changed(answer, 13, func(c byte) byte { return c + 1 })) // another name, or type
		case "slow":
			tasks.Go(func() {
				select {
				case <-time.After(6 * time.Second):
					send(answer)
				case <-ended:
				}
			})
		}
	}
	tasks.Go(func() {
		for b := make([]byte, 4096); ; {
			n, from, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			reply(slices.Clone(b[:n]), func(p []byte) { udp.WriteToUDPAddrPort(p, from) })
		}
	})
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	tasks.Go(func() {
		for {
			c, err := tcp.AcceptTCP()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			tasks.Go(func() {
				defer func() { mu.Lock(); delete(open, c); mu.Unlock(); c.Close() }()
				serveFaulty(c, f, way, good, bad, reply)
			})
		}
	})
	t.Cleanup(func() {
		close(ended)
		udp.Close()
		tcp.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		tasks.Wait()
	})
	return f
}

// serveFaulty serves one connection.
func serveFaulty(c *net.TCPConn, f *faulty, way string, good, bad *dnstest.Certificate, reply func([]byte, func([]byte))) {
	conn := net.Conn(c)
	switch way {
	case "bad certificate":
		with := good
		if f.fails.Load() {
			with = bad
		}
		secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{with.TLS}, NextProtos: []string{"dot"}})
		if secure.Handshake() != nil {
			return
		}
		conn = secure
	case "silent":
		if f.fails.Load() {
			return
		}
	}
	var mu sync.Mutex
	for query := dnstest.ReadMessage(conn); query != nil; query = dnstest.ReadMessage(conn) {
		if f.fails.Load() && (way == "reset" || way == "bad certificate") {
			c.SetLinger(0)
			return
		}
		reply(query, func(p []byte) { mu.Lock(); defer mu.Unlock(); conn.Write(dnstest.Framed(p)) })
	}
}

// An asked is how a query went.
type asked struct {
	rcode int // -1: no reply
	took  time.Duration
}

// askOnce asks as a stub resolver does: again after 5 s without a reply, as a packet to a busy
// server may get lost, and three times in all.
func askOnce(conn *net.UDPConn, name string) (a asked) {
	m := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false)
	packet, err := m.Pack()
	if err != nil {
		panic(err)
	}
	began := time.Now()
	b := make([]byte, 4096)
	for range 3 {
		conn.Write(packet)
		conn.SetReadDeadline(time.Now().Add(7 * time.Second))
		for {
			n, err := conn.Read(b)
			if err != nil {
				break
			}
			var r dns.Msg
			if r.Unpack(b[:n]) == nil && r.Id == m.Id && len(r.Question) == 1 && r.Question[0].Name == name {
				if r.Rcode == dns.RcodeSuccess && len(r.Answer) == 0 {
					r.Rcode = -2
				}
				return asked{r.Rcode, time.Since(began)}
			}
		}
	}
	return asked{-1, time.Since(began)}
}

func dialServer(t *testing.T, s *Server) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.Addrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// load asks so many queries a second for so long, each for a name of its own, and returns
// how they went, the quickest first.
func load(t *testing.T, s *Server, prefix string, rate int, lasts time.Duration) []asked {
	t.Helper()
	const clients = 200
	var mu sync.Mutex
	var all []asked
	var tasks sync.WaitGroup
	for k := range clients {
		conn := dialServer(t, s)
		tasks.Go(func() {
			defer conn.Close()
			time.Sleep(time.Duration(k) * time.Second * clients / time.Duration(rate) / clients)
			ticks := time.NewTicker(time.Second * clients / time.Duration(rate))
			defer ticks.Stop()
			for i, end := 0, time.Now().Add(lasts); time.Now().Before(end); i++ {
				a := askOnce(conn, fmt.Sprintf("%s-%d-%d.many.example.", prefix, k, i))
				mu.Lock()
				all = append(all, a)
				mu.Unlock()
				<-ticks.C
			}
		})
	}
	tasks.Wait()
	slices.SortFunc(all, func(a, b asked) int { return int(a.took - b.took) })
	return all
}

// TestE2EFailingUpstreams lets two of three upstreams fail, in each way that there is,
// while clients ask 2,000 names a second: each has its answer. Then all fail: who asks
// is told within the budget, and at once where they are known to be down. Then they
// work again, and so do the names.
func TestE2EFailingUpstreams(t *testing.T) {
	addr := dnstest.StartProgram(t, dnstest.Unbound(`local-zone: "many.example." redirect
local-data: "many.example. 300 IN A 192.0.2.2"
`, ""))
	works := upstream.Server{Addr: netip.MustParseAddrPort(addr)}
	good := dnstest.NewCertificate(t, time.Now().Add(24*time.Hour), "dns.example")
	expired := dnstest.NewCertificate(t, time.Now().Add(-time.Hour), "dns.example")
	for _, way := range []string{"silent", "refused", "SERVFAIL", "reset", "bad certificate", "slow", "wrong id", "wrong question"} {
		t.Run(strings.ReplaceAll(way, " ", "-"), func(t *testing.T) {
			first, second := startFaulty(t, way, good, expired), startFaulty(t, way, good, expired)
			s, _ := startServer(t, Options{Upstreams: upstream.Options{
				Servers: []upstream.Server{first.server, second.server, works}, Roots: good.Roots, Budget: usualBudget,
			}})
			conn := dialServer(t, s)
			defer conn.Close()
			for i := range 100 {
				if a := askOnce(conn, fmt.Sprintf("warm%d.many.example.", i)); a.rcode != dns.RcodeSuccess {
					t.Fatalf("before anything fails: %s", dns.RcodeToString[a.rcode])
				}
			}

			first.fails.Store(true)
			second.fails.Store(true)
			all := load(t, s, "two", 2000, 2*time.Second)
			failed := 0
			for _, a := range all {
				if a.rcode != dns.RcodeSuccess {
					failed++
				}
			}
			p99 := all[len(all)*99/100].took
			t.Logf("two of three fail: %d queries, half of them within %v, 99 in 100 within %v, the slowest %v", len(all), all[len(all)/2].took, p99, all[len(all)-1].took)
			if failed > 0 {
				t.Errorf("%d of %d queries failed", failed, len(all))
			}
			if p99 > 10*time.Second {
				t.Errorf("99 in 100 queries took up to %v", p99)
			}

			s.SetUpstreams([]upstream.Server{first.server, second.server})
			all = load(t, s, "none", 200, 200*time.Millisecond)
			slowest := all[len(all)-1].took
			for _, a := range all {
				if a.rcode != dns.RcodeServerFailure {
					t.Errorf("while all fail: got %s", dns.RcodeToString[a.rcode])
				}
			}
			t.Logf("all fail: told within %v", slowest)
			if slowest > 6500*time.Millisecond { // 5 s, and the machine's own
				t.Errorf("told only after %v", slowest)
			}
			if way != "slow" { // who answers, however late, is not down
				dnstest.WaitFor(t, func() bool {
					askOnce(conn, fmt.Sprintf("known%d.many.example.", time.Now().UnixNano()))
					return !slices.ContainsFunc(s.Upstreams(), func(st upstream.Status) bool { return st.State == upstream.Up })
				}, func() string { return fmt.Sprintf("it is not known that they fail: %+v", s.Upstreams()) })
				quickest := time.Hour
				for i := range 10 {
					quickest = min(quickest, askOnce(conn, fmt.Sprintf("down%d.many.example.", i)).took)
				}
				t.Logf("known to fail: told within %v", quickest)
				if quickest > time.Second {
					t.Errorf("known to fail, and told only after %v", quickest)
				}
			}
			before := askOnce(conn, "again.many.example.")
			first.fails.Store(false)
			second.fails.Store(false)
			back := time.Now()
			for i := 0; ; i++ {
				again, another := askOnce(conn, "again.many.example."), askOnce(conn, fmt.Sprintf("back%d.many.example.", i))
				if again.rcode == dns.RcodeSuccess && another.rcode == dns.RcodeSuccess {
					break
				}
				if time.Since(back) > 30*time.Second {
					t.Fatalf("not resolved again: %s (%s before) and %s", dns.RcodeToString[again.rcode], dns.RcodeToString[before.rcode], dns.RcodeToString[another.rcode])
				}
				time.Sleep(50 * time.Millisecond)
			}
			took := time.Since(back)
			t.Logf("back: resolved after %v", took)
			if took > 8*time.Second { // 5 s, and the machine's own
				t.Errorf("resolved again only after %v", took)
			}
			for _, st := range s.Upstreams() {
				t.Logf("%s: %s, %d queries, %d failed %v, last: %s", st.ID, st.State, st.Queries, st.Failures, st.ByKind, st.LastError)
			}
		})
	}
}
