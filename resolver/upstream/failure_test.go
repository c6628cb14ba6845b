package upstream

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
)

// Whatever an upstream does instead of answering, the next one is asked, and the
// failure is counted as what it was.
func TestFailuresAreCountedByKind(t *testing.T) {
	wrong := func(spoil func([]byte) []byte) func(t *testing.T) Server {
		return func(t *testing.T) Server {
			return Server{Addr: dnstest.StartRaw(t, func(query []byte, send func([]byte)) { send(spoil(query)) }, nil)}
		}
	}
	answers := func(handle dns.HandlerFunc) func(t *testing.T) Server {
		return func(t *testing.T) Server { return Server{Addr: dnstest.Start(t, handle).Addr} }
	}
	secure := func(c *dnstest.Certificate, handle func(net.Conn)) func(t *testing.T) Server {
		return func(t *testing.T) Server {
			return Server{Addr: dnstest.StartStream(t, c, handle).Addr, Transport: TLS, Name: "dns.example"}
		}
	}
	good := dnstest.NewCertificate(t, never(), "dns.example")
	closes := dnstest.EachQuery(func(c net.Conn, _ []byte, _ func([]byte)) { c.Close() })
	for _, test := range []struct {
		name, kind string
		start      func(t *testing.T) Server
		last       string
	}{
		{"SERVFAIL", "servfail", answers(dnstest.AnswerRcode(dns.RcodeServerFailure)), "answered SERVFAIL"},
		{"REFUSED", "refused", answers(dnstest.AnswerRcode(dns.RcodeRefused)), "refused"},
		{"FORMERR", "format", answers(dnstest.AnswerRcode(dns.RcodeFormatError)), "could not read the query"},
		{"NOTIMP", "format", answers(dnstest.AnswerRcode(dns.RcodeNotImplemented)), "could not read the query"},
		{"silence", "timeout", answers(dnstest.Silence), "was silent"},
		{"another id", "wrong-reply", wrong(func(q []byte) []byte {
			return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), 1, func(c byte) byte { return c + 1 })
		}), "do not fit the query"},
		{"another question", "wrong-reply", wrong(func(q []byte) []byte {
			return dnstest.Changed(dnstest.AnswerTo(q, "203.0.113.6"), 13, func(byte) byte { return 'x' })
		}), "do not fit the query"},
		{"nobody there", "network", func(t *testing.T) Server {
			udp, tcp := dnstest.ListenBoth(t)
			udp.Close()
			tcp.Close()
			return Server{Addr: udp.LocalAddr().(*net.UDPAddr).AddrPort()}
		}, "is unreachable"},
		{"the connection ends", "connection", secure(good, closes), "ended the connection"},
		{"a certificate for another name", "certificate", secure(dnstest.NewCertificate(t, never(), "other.example"), answerIt), "certificate"},
		{"an expired certificate", "certificate", secure(dnstest.NewCertificate(t, time.Now().Add(-time.Hour), "dns.example"), answerIt), "certificate"},
		{"no TLS", "tls", secure(nil, func(c net.Conn) { c.Write([]byte("220 hello\r\n")) }), "TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			second := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
			patience := 100 * time.Millisecond
			if test.kind != "timeout" && test.kind != "wrong-reply" { // it says so itself
				patience = 5 * time.Second
			}
			// No probe after the first: what queries meet is counted, and nobody goes down before.
			u := startClient(t, Options{
				Servers: []Server{test.start(t), {Addr: second.Addr}}, Roots: good.Roots, Patience: patience,
				pace: pace{least: time.Hour, most: time.Hour, loop: time.Hour, poll: time.Hour},
			})
			first := u.set.Load().all[0]
			first.state.Store(uint32(Up)) // also after the first probe
			counted := func() map[string]uint64 {
				all := map[string]uint64{}
				for _, k := range u.Status()[0].ByKind {
					all[k.Kind] = k.Count
				}
				return all
			}
			n := 0
			dnstest.WaitFor(t, func() bool {
				n++
				first.state.Store(uint32(Up))
				first.silences.Store(0)
				if got := lookupA(t, u, fmt.Sprintf("n%d.example", n)); got != "NOERROR 192.0.2.2" {
					t.Errorf("got %s, want the second's answer", got)
				}
				return counted()[test.kind] > 0
			}, func() string { return fmt.Sprintf("counted %v, want %s", counted(), test.kind) })
			st, kinds := u.Status()[0], counted()
			if test.kind == "wrong-reply" {
				delete(kinds, "timeout") // that of a slow machine
			}
			if st.Failures > st.Queries || len(kinds) != 1 || !strings.Contains(st.LastError, test.last) || time.Since(st.LastAt) > time.Minute {
				t.Errorf("got %d failures of %d queries, %v, the last %q at %v; want one kind and %q", st.Failures, st.Queries, counted(), st.LastError, st.LastAt, test.last)
			}
		})
	}
}

// One that fails whatever it is asked is asked last. It is asked first again as soon as
// it answers a client, however seldom it is probed.
func TestAFailingUpstreamIsUpOnceItAnswers(t *testing.T) {
	dnstest.CheckLeaks(t)
	var works atomic.Bool
	serve := func(w dns.ResponseWriter, q *dns.Msg) {
		if works.Load() {
			dnstest.AnswerA("192.0.2.1")(w, q)
			return
		}
		dnstest.AnswerRcode(dns.RcodeServerFailure)(w, q)
	}
	s := dnstest.Start(t, serve)
	s.SetProbes(serve)
	u := startClient(t, Options{pace: pace{least: time.Millisecond, most: time.Hour, loop: time.Hour, poll: time.Hour}}, s.Addr)
	waitState(t, u, s.Addr, Failing)
	u.set.Load().all[0].requestProbe() // its pause grows past any test
	works.Store(true)
	dnstest.WaitFor(t, func() bool {
		lookupA(t, u, "www.example")
		return u.Status()[0].State == Up
	}, func() string { return "it is still failing" })
}

// One that was silent is up soon after it is back, while somebody asks; by the pace of
// the program and not that of tests.
func TestADownUpstreamIsProbedOften(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	var probes atomic.Int64
	s.SetProbes(func(dns.ResponseWriter, *dns.Msg) { probes.Add(1) })
	u := startClient(t, Options{Budget: time.Hour, pace: pace{least: 10 * time.Millisecond, most: 10 * time.Millisecond}}, s.Addr)
	h := u.set.Load().all[0]
	h.state.Store(uint32(Down))
	for range 6 {
		h.timing.timedOut(mostTimeout) // it was silent for long
	}
	h.requestProbe()
	before := time.Now()
	u.probe(t.Context(), h.health)
	if took := time.Since(before); took > time.Minute { // a budget is an hour
		t.Errorf("a probe of one that is down took %v", took)
	}
	if probes.Load() == 0 {
		t.Error("it was not probed")
	}
}
