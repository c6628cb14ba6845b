package upstream

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
)

// still is a pace for tests of queries: nobody is probed after the start.
var still = pace{least: time.Hour, most: time.Hour, loop: time.Hour, poll: time.Hour}

// A switchedUpstream answers with an address, and names that begin with "hold" only once
// it is let.
type switchedUpstream struct {
	*dnstest.Upstream
	free chan struct{}
}

func startSwitched(t *testing.T, address string) *switchedUpstream {
	s := &switchedUpstream{free: make(chan struct{})}
	answer := dnstest.AnswerA(address)
	s.Upstream = dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if strings.HasPrefix(q.Question[0].Name, "hold") {
			<-s.free
		}
		answer(w, q)
	})
	t.Cleanup(s.let)
	return s
}

func (s *switchedUpstream) let() {
	select {
	case <-s.free:
	default:
		close(s.free)
	}
}

// knowUsual has a client know how long its first upstream usually takes.
func knowUsual(u *Client, usual time.Duration) {
	t := &u.set.Load().all[0].timing
	t.longest.Store(int64(usual))
	t.timeout.Store(int64(mostTimeout))
}

// A query whose upstream is later than usual goes to the next one, too, long before its
// time-out.
func TestALateQueryIsHedged(t *testing.T) {
	dnstest.CheckLeaks(t)
	first, second := startSwitched(t, "192.0.2.1"), dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	u := startClient(t, Options{pace: still, Patience: mostTimeout}, first.Addr, second.Addr)
	if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" || second.Asked.Load() != 0 {
		t.Errorf("got %s, the second asked %d times: want the first's answer alone", got, second.Asked.Load())
	}
	knowUsual(u, time.Millisecond)
	if got := lookupA(t, u, "hold.example"); got != "NOERROR 192.0.2.2" {
		t.Errorf("got %s, want the second's answer", got)
	}
	st := u.Status()[0]
	if n := u.Hedged(); n != st.Hedged {
		t.Errorf("%d hedged in all, want %d", n, st.Hedged)
	}
	if st.Hedged != 1 || st.Failures != 0 {
		t.Errorf("%d hedged, %d failures; want 1 and 0: the first may answer yet", st.Hedged, st.Failures)
	}
	u.SetChoice(Choice{NoHedging: true})
	first.let()
	if got := lookupA(t, u, "hold2.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("without hedging: got %s", got)
	}
}

// Whoever may be asked for what another is late for is of its kind where the order
// counts: no name leaves the network, and none goes in clear, that would not otherwise.
func TestWhoMayHedge(t *testing.T) {
	member := func(private bool, transport Transport) *Upstream {
		return &Upstream{health: &health{server: Server{Transport: transport}}, private: private}
	}
	router, other := member(true, UDP), member(true, UDP)
	plain, secure, secure2 := member(false, UDP), member(false, TLS), member(false, TLS)
	down := member(true, UDP)
	down.state.Store(uint32(Down))
	for _, test := range []struct {
		name           string
		late, to       *Upstream
		inOrder, other bool
	}{
		{"itself", router, router, false, false},
		{"two in the network", router, other, true, true},
		{"one that is down", router, down, false, false},
		{"from the network to the public", router, plain, false, true},
		{"from the public into the network", plain, router, false, true},
		{"from encrypted to clear", secure, plain, false, true},
		{"from clear to encrypted", plain, secure, true, true},
		{"two that are encrypted", secure, secure2, true, true},
	} {
		for s, want := range map[Strategy]bool{InOrder: test.inOrder, Fastest: test.other, Parallel: test.other} {
			if got := (&Choice{Strategy: s}).mayHedge(test.late, test.to); got != want {
				t.Errorf("%s, strategy %d: %t, want %t", test.name, s, got, want)
			}
		}
	}
}

// In order, that there is no such name is the first's to say, if it says anything in
// time: it may be the only one that knows it.
func TestADenialOfAHedgeWaitsForTheFirst(t *testing.T) {
	for _, test := range []struct {
		name     string
		strategy Strategy
		answers  bool // the first does
		want     string
	}{
		{"the first answers", InOrder, true, "NOERROR 192.0.2.1"},
		{"the first does not answer in time", InOrder, false, "NXDOMAIN"},
		{"where all know the same, nobody waits", Parallel, false, "NXDOMAIN"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			first := startSwitched(t, "192.0.2.1")
			second := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
				if test.answers {
					first.let() // after the denial, most of the time
				}
				dnstest.AnswerRcode(dns.RcodeNameError)(w, q)
			})
			u := startClient(t, Options{pace: still, Patience: mostTimeout, Choice: Choice{Strategy: test.strategy}}, first.Addr, second.Addr)
			waitMeasured(t, u)
			knowUsual(u, time.Millisecond)
			if !test.answers {
				u.set.Load().all[0].timing.timeout.Store(int64(300 * time.Millisecond))
			}
			if got := lookupA(t, u, "hold.example"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// waitMeasured waits until the first probes have been answered, which change time-outs.
func waitMeasured(t *testing.T, u *Client) {
	t.Helper()
	dnstest.WaitFor(t, func() bool {
		for _, st := range u.Status() {
			if st.SRTT == 0 {
				return false
			}
		}
		return true
	}, func() string { return fmt.Sprintf("not measured: %+v", u.Status()) })
	time.Sleep(20 * time.Millisecond) // a probe has two questions
}

// A network that has become slow is not asked twice as much.
func TestHedgesAreFew(t *testing.T) {
	var h hedges
	n, queries := 0, uint64(0)
	for range 10_000 {
		queries++
		if h.take(queries) {
			n++
		}
	}
	if want := 10_000/hedgeShare + mostHedges; n > want || n < want-1 || h.taken() != uint64(n) {
		t.Errorf("%d of 10,000 late queries went out twice, want %d", n, want)
	}
	queries += 1_000_000 // on time
	n = 0
	for range 100 {
		if queries++; h.take(queries) {
			n++
		}
	}
	if want := mostHedges + 100/hedgeShare; n > want {
		t.Errorf("%d of 100 after a million on time, want %d: no more is saved up", n, want)
	}
}

// The fastest is asked, one that has become slow is not for long, and now and then
// another is asked, so that it is known.
func TestTheFastestIsAsked(t *testing.T) {
	dnstest.CheckLeaks(t)
	var slow [2]atomic.Bool
	var servers [2]*dnstest.Upstream
	var addrs []netip.AddrPort
	for i := range servers {
		servers[i] = dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
			if slow[i].Load() {
				time.Sleep(60 * time.Millisecond) // far more than anything else takes
			}
			dnstest.AnswerA(fmt.Sprintf("192.0.2.%d", i+1))(w, q)
		})
		addrs = append(addrs, servers[i].Addr)
	}
	u := startClient(t, Options{pace: still, Choice: Choice{Strategy: Fastest}}, addrs...)
	waitMeasured(t, u)
	slow[0].Store(true)
	n := 0
	moreTo := func(which int) bool { // of the last 40
		before := [2]int64{servers[0].Asked.Load(), servers[1].Asked.Load()}
		for range 40 {
			n++
			lookupA(t, u, fmt.Sprintf("n%d.example", n))
		}
		a, b := servers[which].Asked.Load()-before[which], servers[1-which].Asked.Load()-before[1-which]
		return a > 3*b && b > 0
	}
	dnstest.WaitFor(t, func() bool { return moreTo(1) }, func() string { return "the second, which is faster, is not asked most" })
	slow[0].Store(false)
	slow[1].Store(true)
	dnstest.WaitFor(t, func() bool { return moreTo(0) }, func() string { return "the first, which has become faster, is not asked most" })
}

// In parallel all are asked, and who answers first has answered: silence of the others
// costs nothing.
func TestInParallelAllAreAsked(t *testing.T) {
	dnstest.CheckLeaks(t)
	first, second, third := startSwitched(t, "192.0.2.1"), dnstest.Start(t, dnstest.AnswerA("192.0.2.2")), dnstest.Start(t, dnstest.AnswerRcode(dns.RcodeRefused))
	u := startClient(t, Options{pace: still, Patience: mostTimeout, Choice: Choice{Strategy: Parallel}}, first.Addr, second.Addr, third.Addr)
	waitMeasured(t, u)
	if got := lookupA(t, u, "hold.example"); got != "NOERROR 192.0.2.2" {
		t.Errorf("got %s, want the second's answer: the others do not answer", got)
	}
	for i, s := range []*dnstest.Upstream{first.Upstream, second, third} {
		dnstest.WaitFor(t, func() bool { return s.Asked.Load() >= 1 }, func() string {
			return fmt.Sprintf("the %dth was asked %d times", i, s.Asked.Load())
		})
	}
}

// A person can have one upstream asked, whatever its state; that counts for nothing. What
// only a server of this network may hear of goes to no other, even so.
func TestOneUpstreamIsAskedByHand(t *testing.T) {
	dnstest.CheckLeaks(t)
	first, second := dnstest.Start(t, dnstest.AnswerA("192.0.2.1")), dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	u := startClient(t, Options{pace: still}, first.Addr, second.Addr)
	waitMeasured(t, u)
	members := u.set.Load().all
	members[1].state.Store(uint32(Down))
	var told []Event
	start := Start{Only: second.Addr.String(), Trace: func(e Event) { told = append(told, e) }}
	a, err := u.Exchange(t.Context(), questionOf(t, "www.example", dns.TypeA), start)
	if got := describe(t, a, err); got != "NOERROR 192.0.2.2" {
		t.Errorf("got %s, want the second's answer", got)
	}
	if len(told) != 2 || told[0].Kind != Sent || told[1].Kind != Replied || !told[1].Fits || told[1].Upstream != start.Only {
		t.Errorf("told %+v, want what was sent and what came", told)
	}
	for _, st := range u.Status() {
		if st.Queries+st.Answers+st.Failures != 0 || st.Latency.Answers != 0 {
			t.Errorf("%+v, want nothing counted", st)
		}
	}
	if first.Asked.Load() != 0 {
		t.Error("the first was asked, too")
	}
	members[1].private = false
	if _, err := u.ExchangePrivate(t.Context(), questionOf(t, "1.168.192.in-addr.arpa", dns.TypePTR), start); err != ErrNoPrivate {
		t.Errorf("a private name of a public upstream: %v, want ErrNoPrivate", err)
	}
	if _, err := u.Exchange(t.Context(), questionOf(t, "www.example", dns.TypeA), Start{Only: "192.0.2.9:53"}); err == nil {
		t.Error("an upstream that there is not has answered")
	}
}
