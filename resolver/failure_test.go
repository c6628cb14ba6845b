package resolver

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// A network that was down and is back must not go on failing from memory.
func TestFailuresEndWhenUpstreamsComeUp(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if broken.Load() {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
			return
		}
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	var ahead atomic.Int64
	s, recorded := startServer(t, Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}, up)
	rows := 0
	ask := func(want querylog.Source) *dns.Msg {
		r := ask(t, s, "udp", "www.example.", dns.TypeA)
		rows++
		if got := recorded.last(t, rows).Source; got != want {
			t.Errorf("lookup %d logged from %v, want %v", rows, got, want)
		}
		return r
	}
	for range 7 { // until it is remembered as long as it may be
		ask(querylog.FromUpstream)
		ahead.Add(int64(30 * time.Second))
	}
	ask(querylog.FromUpstream)
	ahead.Add(int64(29 * time.Second))
	ask(querylog.FromCache)
	broken.Store(false)
	s.epoch.Add(1) // an upstream has come up
	if r := ask(querylog.FromUpstream); data(r) != "A 192.0.2.1" {
		t.Errorf("after the upstream is back: %v", r)
	}
}

// Where nobody was asked there is nothing to spare upstreams, and nothing to
// remember.
func TestNobodyToAskIsNotRemembered(t *testing.T) {
	s, recorded := startServer(t, Options{})
	for i := range 2 {
		ask(t, s, "udp", "www.example.", dns.TypeA)
		if row := recorded.last(t, i+1); row.Source != querylog.FromError {
			t.Errorf("logged from %v", row.Source)
		}
	}
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	s.SetUpstreams([]upstream.Server{{Addr: up.Addr}})
	if r := ask(t, s, "udp", "www.example.", dns.TypeA); data(r) != "A 192.0.2.1" {
		t.Errorf("%v", r)
	}
}

// A failure served from memory says so in the log.
func TestFailureFromMemory(t *testing.T) {
	dead := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeHINFO {
			dnstest.AnswerA("192.0.2.1")(w, q) // it is up
			return
		}
		w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
	})
	s, recorded := startServer(t, Options{}, dead)
	for i, want := range []querylog.Source{querylog.FromError, querylog.FromFailure} {
		r := ask(t, s, "udp", "www.example.", dns.TypeA)
		if row := recorded.last(t, i+1); row.Source != want || r.Rcode != dns.RcodeServerFailure {
			t.Errorf("%d: %s, logged from %v, want %v", i, dns.RcodeToString[r.Rcode], row.Source, want)
		}
	}
}
