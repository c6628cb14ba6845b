package resolver

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/querylog"
	"telltale/resolver/dnstest"
)

const popularZone = "www.example. 6000 IN A 192.0.2.1\n"

// A popular name is asked for again before its answer ends; the log has no lookup of
// it, and clients never wait.
func TestPopularNamesAreAskedForInTime(t *testing.T) {
	dnstest.CheckLeaks(t)
	b := newStaleBench(t, Options{Settings: Settings{Prefetch: true, Stale: time.Hour}}, popularZone)
	for i := range prefetchCost { // what clients ask for pays for it
		b.ask(fmt.Sprintf("n%d.example.", i), dns.TypeA, querylog.FromUpstream)
	}
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	for range 3 {
		b.ask("www.example.", dns.TypeA, querylog.FromCache)
	}
	asked := b.up.Asked.Load()
	b.ahead.Store(int64(5000 * time.Second)) // not in the last tenth yet
	b.ask("www.example.", dns.TypeA, querylog.FromCache)
	if got := b.up.Asked.Load(); got != asked || b.s.Stats().Prefetched != 0 {
		t.Fatalf("asked %d times too soon", got-asked)
	}
	b.way.set(dnstest.AnswerA("192.0.2.2"))
	b.ahead.Store(int64(5500 * time.Second))
	for range 3 {
		b.ask("www.example.", dns.TypeA, querylog.FromCache)
	}
	dnstest.WaitFor(t, func() bool { b.rows++; return data(ask(t, b.s, "udp", "www.example.", dns.TypeA)) == "A 192.0.2.2" }, says("there before its end"))
	if n := b.s.Stats().Prefetched; n != 1 {
		t.Errorf("%d prefetched, want 1", n)
	}
	b.recorded.last(t, b.rows)
	b.recorded.mu.Lock()
	defer b.recorded.mu.Unlock()
	if got := len(b.recorded.rows); got != b.rows {
		t.Errorf("%d rows in the log, want one for each of %d lookups", got, b.rows)
	}
}

// What few ask for is not, and nothing is where it is off, or where clients have asked
// for too little.
func TestWhatIsNotAskedForInTime(t *testing.T) {
	for name, test := range map[string]struct {
		off   bool
		first int // names that clients ask for before
		hits  int
	}{
		"off": {true, 20, 10}, "seldom asked for": {false, 20, 1}, "more than a tenth": {false, prefetchCost - 2, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newStaleBench(t, Options{Settings: Settings{Prefetch: !test.off, Stale: time.Hour}}, popularZone)
			for i := range test.first {
				b.ask(fmt.Sprintf("n%d.example.", i), dns.TypeA, querylog.FromUpstream)
			}
			b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
			for range test.hits {
				b.ask("www.example.", dns.TypeA, querylog.FromCache)
			}
			b.ahead.Store(int64(5500 * time.Second))
			asked := b.up.Asked.Load()
			b.ask("www.example.", dns.TypeA, querylog.FromCache)
			b.ask("last.example.", dns.TypeA, querylog.FromUpstream)
			if got := b.up.Asked.Load(); got != asked+1 || b.s.Stats().Prefetched != 0 {
				t.Errorf("asked for %d more", got-asked-1)
			}
		})
	}
}

// An upstream that fails when asked in time takes no answer away.
func TestFailedPrefetchTakesNothingAway(t *testing.T) {
	b := newStaleBench(t, Options{Settings: Settings{Prefetch: true, Stale: time.Hour}}, popularZone)
	for i := range prefetchCost {
		b.ask(fmt.Sprintf("n%d.example.", i), dns.TypeA, querylog.FromUpstream)
	}
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	for range 3 {
		b.ask("www.example.", dns.TypeA, querylog.FromCache)
	}
	b.way.set(dnstest.AnswerRcode(dns.RcodeServerFailure))
	b.ahead.Store(int64(5500 * time.Second))
	asked := b.up.Asked.Load()
	b.ask("www.example.", dns.TypeA, querylog.FromCache)
	dnstest.WaitFor(t, func() bool {
		b.s.flights.mu.Lock()
		defer b.s.flights.mu.Unlock()
		return len(b.s.flights.current) == 0 && b.up.Asked.Load() > asked
	},
		says("it has failed"))
	if r := b.ask("www.example.", dns.TypeA, querylog.FromCache); data(r) != "A 192.0.2.1" {
		t.Errorf("%v", r)
	}
}

// However clients ask, at most a tenth of what upstreams are asked is ours.
func TestPrefetchesAreATenthAtMost(t *testing.T) {
	var p prefetches
	random := rand.New(rand.NewPCG(1, 2))
	theirs, ours := 0, 0
	for range 100_000 {
		if random.IntN(3) > 0 {
			p.earn()
			theirs++
		} else if p.spend() {
			ours++
		}
		if ours*10 > theirs+ours {
			t.Fatalf("%d of %d", ours, theirs+ours)
		}
	}
	if ours*11 < theirs {
		t.Errorf("%d of %d: far less than allowed", ours, theirs+ours)
	}
	for range 100_000 {
		p.earn()
	}
	for ours = 0; p.spend(); ours++ {
	}
	if ours != maxPrefetchCredit/prefetchCost {
		t.Errorf("%d at once after a quiet time, want %d", ours, maxPrefetchCredit/prefetchCost)
	}
}

// TTLs are kept within the bounds of the settings, in the reply, the cache and the log.
func TestBoundsOfTTLs(t *testing.T) {
	const text = `short.example. 5 IN A 192.0.2.1
long.example. 7200 IN A 192.0.2.1
zero.example. 0 IN A 192.0.2.1
chain.example. 5 IN CNAME long.example.
`
	const whole = time.Hour * 24
	for _, test := range []struct {
		settings Settings
		name     string
		want     []uint32
		life     time.Duration // until when the cache has it
	}{
		{Settings{}, "short.example.", []uint32{5}, 5 * time.Second},
		{Settings{}, "zero.example.", []uint32{0}, 0},
		{Settings{}, "none.example.", []uint32{60}, time.Minute},
		{Settings{MinTTL: time.Minute}, "short.example.", []uint32{60}, time.Minute},
		{Settings{MinTTL: time.Minute}, "zero.example.", []uint32{60}, time.Minute},
		{Settings{MinTTL: time.Minute}, "long.example.", []uint32{7200}, 2 * time.Hour},
		{Settings{MinTTL: time.Minute}, "chain.example.", []uint32{60, 7200}, time.Minute},
		{Settings{MinTTL: time.Hour}, "none.example.", []uint32{60}, time.Minute},
		{Settings{MaxTTL: 10 * time.Minute}, "long.example.", []uint32{600}, 10 * time.Minute},
		{Settings{MaxTTL: 10 * time.Minute}, "short.example.", []uint32{5}, 5 * time.Second},
		{Settings{MaxTTL: 10 * time.Second}, "none.example.", []uint32{10}, 10 * time.Second},
		{Settings{NegativeTTL: 20 * time.Second}, "none.example.", []uint32{20}, 20 * time.Second},
		{Settings{NegativeTTL: 20 * time.Second}, "long.example.", []uint32{7200}, 2 * time.Hour},
		{Settings{NegativeTTL: whole}, "none.example.", []uint32{60}, time.Minute},
	} {
		t.Run(fmt.Sprintf("%s %+v", test.name, test.settings), func(t *testing.T) {
			b := newStaleBench(t, Options{Settings: test.settings}, text)
			b.s.cache.SetStale(0)
			r := b.ask(test.name, dns.TypeA, querylog.FromUpstream)
			var got []uint32
			most := uint32(0)
			for _, rr := range append(r.Answer, r.Ns...) {
				got = append(got, rr.Header().Ttl)
				most = max(most, rr.Header().Ttl)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("TTLs %v, want %v", got, test.want)
			}
			if row := b.recorded.last(t, 1); row.TTL != most {
				t.Errorf("logged with %d, served with %d", row.TTL, most)
			}
			if test.life > 0 {
				b.ahead.Store(int64(test.life / 2))
				b.ask(test.name, dns.TypeA, querylog.FromCache)
			}
			b.ahead.Store(int64(test.life + time.Second))
			b.ask(test.name, dns.TypeA, querylog.FromUpstream)
		})
	}
}
