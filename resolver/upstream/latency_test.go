package upstream

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"telltale/resolver/dnstest"
)

// Percentiles agree with those of a sorted list, but for an eighth too much.
func TestPercentilesOfLatencies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 99, 100, 101, latencyWindow, 5 * latencyWindow} {
		var l latencies
		var all []time.Duration
		for range n {
			took := time.Duration(rng.ExpFloat64() * float64(30*time.Millisecond))
			l.add(took)
			all = append(all, took)
		}
		if most := 2 * latencyWindow; n > most && l.count() > most || n <= most && l.count() != n {
			t.Errorf("%d answers: it rests on %d", n, l.count())
		}
		last := slices.Clone(all[n-l.count():])
		slices.Sort(last)
		for _, p := range []int{50, 90, 99} {
			want := last[(len(last)*p+99)/100-1]
			if got := l.percentile(p); got < want || got > want+want/latencySteps+2*time.Microsecond {
				t.Errorf("%d answers, %d%%: got %v, want %v or an eighth more", n, p, got, want)
			}
		}
	}
	var none latencies
	if got := none.percentile(99); got != 0 {
		t.Errorf("without answers: %v", got)
	}
}

// Each time is of one size, whose bound is the first one above it.
func TestSizesOfLatencies(t *testing.T) {
	for us := range 1 << 20 {
		took := time.Duration(us) * time.Microsecond
		size := latencySize(took)
		if bound := latencyBound(size); bound <= took || size > 0 && latencyBound(size-1) > took {
			t.Fatalf("%v is of size %d, up to %v", took, size, bound)
		}
	}
	if got := latencySize(time.Hour); got != latencySizes-1 {
		t.Errorf("an hour is of size %d, want the last", got)
	}
	if latencySize(-time.Second) != 0 {
		t.Error("a clock that was set back")
	}
}

// What clients ask for is measured, and what the watcher asks is not.
func TestLatencyIsOfClientsQueries(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	u := startClient(t, Options{}, s.Addr)
	h := u.set.Load().all[0]
	u.probe(t.Context(), h.health)
	if got := u.Status()[0]; got.Latency != (Latency{}) || got.SRTT == 0 {
		t.Errorf("after probes: %+v, want that they are measured for the time-out alone", got)
	}
	for range 3 {
		lookupA(t, u, "www.example")
	}
	if got := u.Status()[0]; got.Latency.Answers != 3 || got.Latency.P50 == 0 || got.Latency.P99 < got.Latency.P50 || got.Answers != 3 {
		t.Errorf("after 3 answers: %+v", got)
	}
}
