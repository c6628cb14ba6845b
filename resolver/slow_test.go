package resolver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// after lets h answer so much later.
func after(d time.Duration, h dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		time.Sleep(d)
		h(w, q)
	}
}

// askAll asks for names at once, and returns how many are answered with an address.
func askAll(t *testing.T, s *Server, name string, n int) (answered int) {
	var got atomic.Int64
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if data(ask(t, s, "udp", fmt.Sprintf(name, i), dns.TypeA)) == "A 192.0.2.1" {
				got.Add(1)
			}
		})
	}
	all.Wait()
	return int(got.Load())
}

// An upstream that needs longer than is waited at first is used, and never down; how
// long it needs is learnt, so that it is asked once for a question.
func TestSlowUpstreamIsUsed(t *testing.T) {
	for _, delay := range []time.Duration{900 * time.Millisecond, 2 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			up := dnstest.Start(t, after(delay, dnstest.AnswerA("192.0.2.1")))
			up.SetProbes(after(delay, dnstest.AnswerRcode(dns.RcodeNameError)))
			var down atomic.Int64
			s, _ := startServer(t, Options{Upstreams: upstream.Options{Patience: 400 * time.Millisecond, Budget: 20 * time.Second}, Report: func(kind, _, _ string) {
				if kind == "upstream-down" {
					down.Add(1)
				}
			}}, up)
			if got := askAll(t, s, "first%d.example.", 8); got != 8 {
				t.Errorf("%d of 8 answered", got)
			}
			rounds := 0
			dnstest.WaitFor(t, func() bool { // a machine that stands still for a time may ask all of them twice
				rounds++
				up.Asked.Store(0)
				if got := askAll(t, s, fmt.Sprintf("r%d.n%%d.example.", rounds), 8); got != 8 {
					t.Errorf("%d of 8 answered", got)
				}
				return up.Asked.Load() < 16
			}, says("it is asked once"))
			if st := s.Upstreams()[0]; st.State != upstream.Up || down.Load() != 0 || st.SRTT < delay/2 || st.Strays != 0 || st.Failures != 0 || st.Queries >= uint64(8*(rounds+2)) {
				t.Errorf("%+v, reported down %d times", st, down.Load())
			}
		})
	}
}

// An answer that comes when its client has been told that there is none is kept: who
// asks again has it.
func TestAnswersThatComeTooLateAreKept(t *testing.T) {
	dnstest.CheckLeaks(t)
	release := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	s, recorded := startServer(t, Options{Upstreams: upstream.Options{Patience: 300 * time.Millisecond, Budget: 300 * time.Millisecond}}, up)
	if r := ask(t, s, "udp", "www.example.", dns.TypeA); r.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", r)
	}
	dnstest.WaitFor(t, func() bool { return up.Asked.Load() > 0 }, says("it is asked"))
	asked := up.Asked.Load()
	close(release)
	rows := 1
	dnstest.WaitFor(t, func() bool {
		rows++
		return data(ask(t, s, "udp", "www.example.", dns.TypeA)) == "A 192.0.2.1"
	}, says("the late answer is served"))
	recorded.last(t, rows) // that of a lookup that failed may come after the last one's
	recorded.mu.Lock()
	cached := slices.ContainsFunc(recorded.rows, func(row logged) bool { return row.Source == querylog.FromCache })
	recorded.mu.Unlock()
	if !cached {
		t.Error("no row says that the late answer came from the cache")
	}
	if got := up.Asked.Load(); got != asked {
		t.Errorf("asked again %d times", got-asked)
	}
	if st := s.Upstreams()[0]; st.Strays != 0 || st.Queries != 1 || st.Failures != 1 {
		t.Errorf("%+v, want one query that failed, and no stray", st)
	}
}

// An upstream that drops made-up names, or takes long for them, is up.
func TestUpstreamThatKnowsOnlyRealNames(t *testing.T) {
	for name, probes := range map[string]dns.HandlerFunc{
		"drops":  dnstest.Silence,
		"delays": after(2*time.Second, dnstest.AnswerRcode(dns.RcodeNameError)),
		"fails":  dnstest.AnswerRcode(dns.RcodeServerFailure),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
			up.SetProbes(probes)
			s, _ := startServer(t, Options{Upstreams: upstream.Options{Patience: 400 * time.Millisecond, Budget: 20 * time.Second}}, up)
			for i := range 20 {
				if got := data(ask(t, s, "udp", fmt.Sprintf("n%d.example.", i), dns.TypeA)); got != "A 192.0.2.1" {
					t.Errorf("answer %q", got)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if st := s.Upstreams()[0]; st.State != upstream.Up {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A down upstream that comes back is up with the first question that it answers,
// though it never answers probes.
func TestDownUpstreamComesBackByAClientsQuestion(t *testing.T) {
	var back atomic.Bool
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if back.Load() {
			dnstest.AnswerA("192.0.2.1")(w, q)
		}
	})
	up.SetProbes(dnstest.Silence)
	s, _ := startServer(t, Options{Upstreams: upstream.Options{Patience: 50 * time.Millisecond, Budget: 6 * time.Second}}, up)
	n := 0
	next := func() *dns.Msg { n++; return ask(t, s, "udp", fmt.Sprintf("n%d.example.", n), dns.TypeA) }
	dnstest.WaitFor(t, func() bool { next(); return s.Upstreams()[0].State == upstream.Down }, says("down"))
	began := time.Now()
	if _, text, _ := ede(next()); !strings.Contains(text, "all upstreams are down") {
		t.Errorf("EDE %q", text)
	} else if took := time.Since(began); took > 5*time.Second { // less than the budget
		t.Errorf("told after %v: it is known at once", took)
	}
	back.Store(true)
	dnstest.WaitFor(t, func() bool { return data(next()) == "A 192.0.2.1" }, says("it is up again"))
}

// lossy loses part of what comes and of what goes.
func lossy(part float64, seed uint64, h dns.HandlerFunc) dns.HandlerFunc {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		there, back := rng.Float64(), rng.Float64()
		mu.Unlock()
		if there >= part && back >= part {
			h(w, q)
		}
	}
}

// A query is sent again until it is answered, as long as the upstream answers others.
func TestLostPacketsAreSentAgain(t *testing.T) {
	for upstreams, names := range map[int]int{1: 60, 2: 30} {
		t.Run(fmt.Sprint(upstreams), func(t *testing.T) {
			t.Parallel()
			var ups []*dnstest.Upstream
			for i := range upstreams {
				up := dnstest.Start(t, lossy(.3, uint64(i), dnstest.AnswerA("192.0.2.1")))
				up.SetProbes(lossy(.3, uint64(i)+7, dnstest.AnswerRcode(dns.RcodeNameError)))
				ups = append(ups, up)
			}
			s, _ := startServer(t, Options{Upstreams: upstream.Options{Patience: 100 * time.Millisecond, Budget: 9 * time.Second}}, ups...)
			if got := askAll(t, s, "n%d.example.", names); got*10 < names*9 { // TestE2ELoss has the real bound, where time is given
				t.Errorf("%d of %d answered where three in ten packets are lost each way", got, names)
			}
		})
	}
}
