package resolver

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
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

func setProbes(s *loopbackUpstream, h dns.HandlerFunc) { s.probes.Store(&h) }

func TestLoopIsFoundAndMended(t *testing.T) {
	checkLeaks(t)
	var u atomic.Pointer[upstreams]
	looped := startUpstream(t, answerA("192.0.2.1"))
	// It forwards to us: the question comes back before its reply.
	setProbes(looped, func(w dns.ResponseWriter, q *dns.Msg) {
		var name dnswire.Name
		if err := name.Set(q.Question[0].Name); err != nil {
			t.Error(err)
		}
		if u := u.Load(); u != nil && !u.isProbe(name.Wire()) {
			t.Errorf("%s is not known as a probe", q.Question[0].Name)
		}
		answerRcode(dns.RcodeNameError)(w, q)
	})
	second := startUpstream(t, answerA("192.0.2.2"))
	var said reports
	up := startUpstreams(t, UpstreamOptions{Report: said.report}, looped.addr, second.addr)
	u.Store(up)
	up.setServers([]Upstream{{Addr: looped.addr}, {Addr: second.addr}}) // a change probes all again

	waitState(t, up, looped.addr, UpstreamLooped)
	if !said.has("upstream-looped " + looped.addr.String()) {
		t.Error("the loop was not reported")
	}
	looped.asked.Store(0)
	if got := lookupA(t, up, "www.example"); got != "NOERROR 192.0.2.2" || looped.asked.Load() != 0 {
		t.Errorf("got %s, the looped one asked %d times; want the second's answer and 0", got, looped.asked.Load())
	}
	up.setServers([]Upstream{{Addr: looped.addr}})
	waitState(t, up, looped.addr, UpstreamLooped)
	if got := lookupA(t, up, "www.example"); !strings.Contains(got, whyLooped) {
		t.Errorf("got %s, want why", got)
	}

	setProbes(looped, answerRcode(dns.RcodeNameError)) // its owner has mended it
	waitState(t, up, looped.addr, UpstreamUp)
	if got := lookupA(t, up, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("mended: got %s", got)
	}
}

func TestProbesAreTellingQuestions(t *testing.T) {
	checkLeaks(t)
	seen := make(chan dns.Question, 100)
	s := startUpstream(t, answerA("192.0.2.1"))
	setProbes(s, func(w dns.ResponseWriter, q *dns.Msg) {
		seen <- q.Question[0]
		answerRcode(dns.RcodeNameError)(w, q)
	})
	u := startUpstreams(t, UpstreamOptions{}, s.addr)
	first := <-seen
	u.setServers([]Upstream{{Addr: s.addr}})
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
	u := startUpstreams(t, UpstreamOptions{ResolvConf: t.TempDir() + "/resolv.conf"})
	for _, name := range []string{
		".", "example", "www.example", "0123456789abcdef.example-0123456789abcdef",
		"0123456789abcdef.telltale-0123456789abcdef", "a.0123456789abcdef.telltale-0123456789abcdef",
	} {
		if u.isProbe(questionOf(t, name, dnswire.TypeHINFO).Name.Wire()) {
			t.Errorf("%s was taken for a probe of ours", name)
		}
	}
	if u.isProbe(nil) {
		t.Error("nothing was taken for a probe of ours")
	}
	h := &health{nudge: make(chan struct{}, 1)}
	_, q := u.probes.begin(h)
	for range len(u.probes.latest) - 1 { // a late one is still known
		u.probes.begin(&health{})
	}
	if !u.isProbe(q.Name.Wire()) || !h.is(UpstreamLooped) {
		t.Error("the probe was not known, or its upstream not dropped")
	}
	if n := testing.AllocsPerRun(100, func() { u.isProbe(q.Name.Wire()[:30]) }); n != 0 {
		t.Errorf("%v allocations for a name that is no probe, want 0", n)
	}
}

func TestHealth(t *testing.T) {
	for _, test := range []struct {
		name  string
		probe dns.HandlerFunc
		want  UpstreamState
	}{
		{"any answer will do", answerRcode(dns.RcodeNameError), UpstreamUp},
		{"one that implements no HINFO is up", answerRcode(dns.RcodeNotImplemented), UpstreamUp},
		{"one that refuses is failing", answerRcode(dns.RcodeRefused), UpstreamFailing},
		{"one that fails is failing", answerRcode(dns.RcodeServerFailure), UpstreamFailing},
		{"one that is silent is down", silence, UpstreamDown},
		{"one that drops HINFO but knows A is up", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Qtype == dns.TypeA {
				answerRcode(dns.RcodeNameError)(w, q)
			}
		}, UpstreamUp},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkLeaks(t)
			s := startUpstream(t, answerA("192.0.2.1"))
			setProbes(s, test.probe)
			u := startUpstreams(t, UpstreamOptions{Patience: 300 * time.Millisecond}, s.addr)
			h := u.set.Load().all[0].health
			if got, why := u.probe(t.Context(), h); got != test.want {
				t.Errorf("got %v (%s), want %v", got, why, test.want)
			}
			waitState(t, u, s.addr, test.want)
			setProbes(s, answerRcode(dns.RcodeSuccess))
			u.setServers([]Upstream{{Addr: s.addr}})
			waitState(t, u, s.addr, UpstreamUp)
		})
	}
}

// What clients ask for cannot take an upstream down: it is silent about one
// name, as resolvers are whose own questions go unanswered, but not about others.
func TestDeadNamesTakeNobodyDown(t *testing.T) {
	checkLeaks(t)
	s := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name != "dead.example." {
			answerA("192.0.2.1")(w, q)
		}
	})
	var said reports
	var probes atomic.Int64
	setProbes(s, func(w dns.ResponseWriter, q *dns.Msg) { probes.Add(1); answerRcode(dns.RcodeNameError)(w, q) })
	u := startUpstreams(t, UpstreamOptions{Patience: 300 * time.Millisecond, Budget: 700 * time.Millisecond, Report: said.report}, s.addr)
	waitFor(t, func() bool { return probes.Load() == 1 }, func() string { return "not probed at the start" })
	for range 2 {
		if got := lookupA(t, u, "dead.example"); !strings.HasPrefix(got, "error: ") {
			t.Errorf("got %s", got)
		}
	}
	waitFor(t, func() bool { return probes.Load() >= 2 }, func() string { return "not suspected" })
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
	if st := u.status()[0]; st.State != UpstreamUp || said.has("upstream-down "+s.addr.String()) {
		t.Errorf("state %v; it answered every probe", st.State)
	}
}

func TestDownUpstreamsAreNotAskedUntilTheyAnswer(t *testing.T) {
	checkLeaks(t)
	first, second := startUpstream(t, silence), startUpstream(t, answerA("192.0.2.2"))
	setProbes(first, silence)
	var said reports
	u := startUpstreams(t, UpstreamOptions{Patience: 100 * time.Millisecond, Report: said.report}, first.addr, second.addr)
	st := waitState(t, u, first.addr, UpstreamDown)
	if st.Why != "was silent" || !said.has("upstream-down "+first.addr.String()) {
		t.Errorf("why %q, reported %v", st.Why, said.lines)
	}
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.2" || first.asked.Load() != 0 {
		t.Errorf("got %s, the first asked %d times; want the second's answer and 0", got, first.asked.Load())
	}

	u.setServers([]Upstream{{Addr: first.addr}})
	got := lookupA(t, u, "www.example")
	if got != "error: all upstreams are down: "+first.addr.String()+" was silent" || first.asked.Load() != 0 {
		t.Errorf("got %s, the first asked %d times", got, first.asked.Load())
	}

	setProbes(first, answerRcode(dns.RcodeNameError))
	waitState(t, u, first.addr, UpstreamUp)
	if !said.has("upstream-up " + first.addr.String()) {
		t.Error("its return was not reported")
	}
}

// A query that finds all upstreams down hastens the next probe, so that the
// first who asks after an outage does not wait for the longest pause.
func TestDemandHastensProbes(t *testing.T) {
	u := &upstreams{}
	down, looped := &health{nudge: make(chan struct{}, 1)}, &health{nudge: make(chan struct{}, 1)}
	down.state.Store(uint32(UpstreamDown))
	looped.state.Store(uint32(UpstreamLooped))
	for range 3 {
		if _, err := u.ask(t.Context(), questionOf(t, "www.example", dnswire.TypeA), []*upstream{{health: down}, {health: looped}}, nil); err == nil {
			t.Error("got an answer")
		}
	}
	if len(down.nudge) != 1 || len(looped.nudge) != 0 {
		t.Errorf("%d and %d probes wanted, want 1 and 0", len(down.nudge), len(looped.nudge))
	}
	if !down.rest(t.Context(), quick, time.Hour) || len(down.nudge) != 0 {
		t.Error("the pause was not cut short")
	}
}

func TestFailingUpstreamsAreAskedLast(t *testing.T) {
	checkLeaks(t)
	first, second := startUpstream(t, answerA("192.0.2.1")), startUpstream(t, answerA("192.0.2.2"))
	setProbes(first, answerRcode(dns.RcodeRefused))
	u := startUpstreams(t, UpstreamOptions{}, first.addr, second.addr)
	waitState(t, u, first.addr, UpstreamFailing)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.2" {
		t.Errorf("got %s, want the second's answer", got)
	}
	u.setServers([]Upstream{{Addr: first.addr}})
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("alone: got %s, want its answer all the same", got)
	}
}
