package upstream

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// Reports remember what was reported.
type reports struct {
	mu    sync.Mutex
	lines []string
}

func (l *reports) report(kind, subject, detail string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, kind+" "+subject)
}

func (l *reports) has(line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, have := range l.lines {
		if have == line {
			return true
		}
	}
	return false
}

func TestLoopIsFoundAndRepaired(t *testing.T) {
	dnstest.CheckLeaks(t)
	var u atomic.Pointer[Client]
	looped := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	// It forwards to us: the question comes back before its reply.
	looped.SetProbes(func(w dns.ResponseWriter, q *dns.Msg) {
		var name dnswire.Name
		if err := name.Set(q.Question[0].Name); err != nil {
			t.Error(err)
		}
		if u := u.Load(); u != nil && !u.IsProbe(name.Wire()) {
			t.Errorf("%s is not known as a probe", q.Question[0].Name)
		}
		dnstest.AnswerRcode(dns.RcodeNameError)(w, q)
	})
	second := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	var said reports
	up := startClient(t, Options{Report: said.report}, looped.Addr, second.Addr)
	u.Store(up)
	up.SetServers([]Server{{Addr: looped.Addr}, {Addr: second.Addr}}) // a change probes all again

	waitState(t, up, looped.Addr, Looped)
	if !said.has("upstream-looped " + looped.Addr.String()) {
		t.Error("the loop was not reported")
	}
	looped.Asked.Store(0)
	if got := lookupA(t, up, "www.example"); got != "NOERROR 192.0.2.2" || looped.Asked.Load() != 0 {
		t.Errorf("got %s, the looped one asked %d times; want the second's answer and 0", got, looped.Asked.Load())
	}
	up.SetServers([]Server{{Addr: looped.Addr}})
	waitState(t, up, looped.Addr, Looped)
	if got := lookupA(t, up, "www.example"); !strings.Contains(got, whyLooped) {
		t.Errorf("got %s, want why", got)
	}

	looped.SetProbes(dnstest.AnswerRcode(dns.RcodeNameError)) // its owner has repaired it
	waitState(t, up, looped.Addr, Up)
	if got := lookupA(t, up, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("repaired: got %s", got)
	}
}

func TestProbesAreTellingQuestions(t *testing.T) {
	dnstest.CheckLeaks(t)
	seen := make(chan dns.Question, 100)
	s := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	s.SetProbes(func(w dns.ResponseWriter, q *dns.Msg) {
		seen <- q.Question[0]
		dnstest.AnswerRcode(dns.RcodeNameError)(w, q)
	})
	u := startClient(t, Options{}, s.Addr)
	first := <-seen
	u.SetServers([]Server{{Addr: s.Addr}})
	second := <-seen
	for _, q := range []dns.Question{first, second} {
		if q.Qtype != dns.TypeHINFO || dns.CountLabel(q.Name) != 2 {
			t.Errorf("%v, want the HINFO of a name below a top-level label", q)
		}
	}
	a, b := dns.SplitDomainName(first.Name), dns.SplitDomainName(second.Name)
	if a[0] == b[0] || a[1] == b[1] {
		t.Errorf("%s and %s: both labels must be new each time", first.Name, second.Name)
	}
}

func TestIsProbe(t *testing.T) {
	u := startClient(t, Options{ResolvConf: t.TempDir() + "/resolv.conf"})
	for _, name := range []string{
		".", "example", "www.example", "0123456789abcdef.example-0123456789abcdef",
		"0123456789abcdef.telltale-0123456789abcdef", "a.0123456789abcdef.telltale-0123456789abcdef",
	} {
		if u.IsProbe(questionOf(t, name, dnswire.TypeHINFO).Name.Wire()) {
			t.Errorf("%s was taken for a probe of ours", name)
		}
	}
	if u.IsProbe(nil) {
		t.Error("nothing was taken for a probe of ours")
	}
	h := &health{wanted: make(chan struct{}, 1)}
	_, q := u.probes.begin(h)
	for range len(u.probes.latest) - 1 { // a late one is still known
		u.probes.begin(&health{})
	}
	if !u.IsProbe(q.Name.Wire()) || !h.is(Looped) {
		t.Error("the probe was not known, or its upstream not dropped")
	}
	if n := dnstest.Allocs(100, func() { u.IsProbe(q.Name.Wire()[:30]) }); n != 0 {
		t.Errorf("%v allocations for a name that is no probe, want 0", n)
	}
}

func TestHealth(t *testing.T) {
	aOnly := func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA || q.Question[0].Qtype == dns.TypeNS {
			dnstest.AnswerRcode(dns.RcodeNameError)(w, q)
		}
	}
	for _, test := range []struct {
		name          string
		loops, others dns.HandlerFunc // questions for loops, and all others
		want          State
	}{
		{"any answer will do", dnstest.AnswerRcode(dns.RcodeNameError), dnstest.Silence, Up},
		{"one that implements no HINFO is up", dnstest.AnswerRcode(dns.RcodeNotImplemented), dnstest.Silence, Up},
		{"one that refuses all is failing", dnstest.AnswerRcode(dns.RcodeRefused), dnstest.AnswerRcode(dns.RcodeRefused), Failing},
		{"one that fails all is failing", dnstest.AnswerRcode(dns.RcodeServerFailure), dnstest.AnswerRcode(dns.RcodeServerFailure), Failing},
		{"one that is silent to all is down", dnstest.Silence, dnstest.Silence, Down},
		{"one that refuses made-up names is up", dnstest.AnswerRcode(dns.RcodeRefused), aOnly, Up},
		{"one that fails for made-up names is up", dnstest.AnswerRcode(dns.RcodeServerFailure), aOnly, Up},
		{"one that drops made-up names is up", dnstest.Silence, aOnly, Up},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			s := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
			s.SetProbes(func(w dns.ResponseWriter, q *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeHINFO {
					test.loops(w, q)
				} else {
					test.others(w, q)
				}
			})
			u := startClient(t, Options{Patience: 50 * time.Millisecond, Budget: 600 * time.Millisecond}, s.Addr)
			h := u.set.Load().all[0].health
			if got, why := u.probe(t.Context(), h); got != test.want {
				t.Errorf("got %v (%s), want %v", got, why, test.want)
			}
			waitState(t, u, s.Addr, test.want)
			s.SetProbes(dnstest.AnswerRcode(dns.RcodeSuccess))
			u.SetServers([]Server{{Addr: s.Addr}})
			waitState(t, u, s.Addr, Up)
		})
	}
}

// What clients ask for cannot take an upstream down: it is silent about one
// name, as resolvers are whose own questions go unanswered, but not about others.
func TestDeadNamesTakeNobodyDown(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name != "dead.example." {
			dnstest.AnswerA("192.0.2.1")(w, q)
		}
	})
	var said reports
	var probes atomic.Int64
	s.SetProbes(func(w dns.ResponseWriter, q *dns.Msg) { probes.Add(1); dnstest.AnswerRcode(dns.RcodeNameError)(w, q) })
	u := startClient(t, Options{Patience: 100 * time.Millisecond, Budget: 700 * time.Millisecond, Report: said.report}, s.Addr)
	dnstest.WaitFor(t, func() bool { return probes.Load() == 1 }, func() string { return "not probed at the start" })
	for range 2 {
		if got := lookupA(t, u, "dead.example"); !strings.HasPrefix(got, "error: ") {
			t.Errorf("got %s", got)
		}
	}
	dnstest.WaitFor(t, func() bool { return probes.Load() >= 2 }, func() string { return "not suspected" })
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
	if st := u.Status()[0]; st.State != Up || said.has("upstream-down "+s.Addr.String()) {
		t.Errorf("state %v; it answered every probe", st.State)
	}
}

func TestDownUpstreamsAreNotAskedUntilTheyAnswer(t *testing.T) {
	dnstest.CheckLeaks(t)
	first, second := dnstest.Start(t, dnstest.Silence), dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	first.SetProbes(dnstest.Silence)
	var said reports
	u := startClient(t, Options{Patience: 50 * time.Millisecond, Budget: 600 * time.Millisecond, Report: said.report}, first.Addr, second.Addr)
	st := waitState(t, u, first.Addr, Down)
	if st.Why != "was silent" || !said.has("upstream-down "+first.Addr.String()) {
		t.Errorf("why %q, reported %v", st.Why, said.lines)
	}
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.2" || first.Asked.Load() != 0 {
		t.Errorf("got %s, the first asked %d times; want the second's answer and 0", got, first.Asked.Load())
	}

	u.SetServers([]Server{{Addr: first.Addr}})
	got := lookupA(t, u, "www.example")
	if got != "error: all upstreams are down: "+first.Addr.String()+" was silent" || first.Asked.Load() != 0 {
		t.Errorf("got %s, the first asked %d times", got, first.Asked.Load())
	}

	first.SetProbes(dnstest.AnswerRcode(dns.RcodeNameError))
	waitState(t, u, first.Addr, Up)
	if !said.has("upstream-up " + first.Addr.String()) {
		t.Error("its return was not reported")
	}
}

// A query that finds all upstreams down hastens the next probe, so that the
// first who asks after an outage does not wait for the longest pause.
func TestDemandHastensProbes(t *testing.T) {
	u := &Client{}
	u.SetChoice(Choice{})
	down, looped := &health{wanted: make(chan struct{}, 1)}, &health{wanted: make(chan struct{}, 1)}
	down.state.Store(uint32(Down))
	looped.state.Store(uint32(Looped))
	for range 3 {
		if _, err := u.ask(t.Context(), questionOf(t, "www.example", dnswire.TypeA), &serverSet{}, []*Upstream{{health: down}, {health: looped}}, Start{}); err == nil {
			t.Error("got an answer")
		}
	}
	if len(down.wanted) != 1 || len(looped.wanted) != 0 {
		t.Errorf("%d and %d probes wanted, want 1 and 0", len(down.wanted), len(looped.wanted))
	}
	if !down.waitForProbe(t.Context(), quick, time.Hour) || len(down.wanted) != 0 {
		t.Error("the pause was not cut short")
	}
}

func TestFailingUpstreamsAreAskedLast(t *testing.T) {
	dnstest.CheckLeaks(t)
	first := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	second := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	first.SetProbes(dnstest.AnswerRcode(dns.RcodeRefused))
	u := startClient(t, Options{}, first.Addr, second.Addr)
	waitState(t, u, first.Addr, Failing)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.2" {
		t.Errorf("got %s, want the second's answer", got)
	}
	u.SetServers([]Server{{Addr: first.Addr}})
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("alone: got %s, want its answer all the same", got)
	}
}
