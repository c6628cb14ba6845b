package overload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFairShareIsWhatDealingOutOneByOneGives(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		asked := make([]demand, rng.IntN(8))
		for i := range asked {
			asked[i] = demand{packets: float64(rng.IntN(200))}
		}
		slices.SortFunc(asked, func(a, b demand) int { return int(b.packets - a.packets) })
		capacity := rng.IntN(600)
		got := fairShare(asked, 0, float64(capacity))
		want := dealOut(asked, capacity)
		if math.IsInf(got, 1) && want == -1 {
			continue
		}
		if math.Abs(max(got, 0)-float64(max(want, capacity/maxTopClients))) > 1 {
			t.Fatalf("share %v, want %d, of %d for %v", got, want, capacity, asked)
		}
	}
}

// dealOut gives each client a packet in turn until there are no more, and returns
// how many the one with most has; -1 where all have what they asked for.
func dealOut(asked []demand, capacity int) (most int) {
	has := make([]int, len(asked))
	for served := true; served; {
		served = false
		for i, w := range asked {
			if float64(has[i]) == w.packets {
				continue
			}
			if capacity == 0 {
				return most
			}
			has[i]++
			capacity--
			most = max(most, has[i])
			served = true
		}
	}
	return -1
}

func TestTopClientsAreNeverCountedTooHigh(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	l := NewMonitor(Options{Prefix6: 128})
	l.beginInterval(time.Time{})
	exact := map[netip.Addr]int{}
	for range 50_000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(8)), byte(rng.ExpFloat64() * 20)})
		l.count(a)
		exact[a]++
		if len(l.topClients) > maxTopClients {
			t.Fatalf("%d clients are counted", len(l.topClients))
		}
	}
	for a, n := range exact {
		if got := l.topClients[a]; got > n || got < n-l.taken/(maxTopClients+1) {
			t.Errorf("%s counted %d times, was there %d times", a, got, n)
		}
	}
}

func TestClientsByPrefix(t *testing.T) {
	for _, c := range []struct {
		a    string
		bits int
		want string
	}{
		{"192.0.2.7", 64, "192.0.2.7"},
		{"2001:db8::7", 128, "2001:db8::7"},
		{"2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"},
		{"2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::"},
		{"fe80::7%eth0", 128, "fe80::7"},
	} {
		if got := ClientOf(netip.MustParseAddr(c.a), c.bits).String(); got != c.want {
			t.Errorf("%s by %d bits is %s, want %s", c.a, c.bits, got, c.want)
		}
	}
	if got := ClientOf(netip.Addr{}, 64); got.IsValid() {
		t.Errorf("no address is %s", got)
	}
}

// A link is a reader with a queue of its own and clients that send at even
// rates, in a time of its own: what the kernel and the readers do together.
type link struct {
	rng      *rand.Rand
	m        *Monitor
	now      time.Time
	rate     int   // packets a second that the reader can answer
	quota    int   // per cent of each tenth of a second in which it runs, that much faster; 0: always
	buffer   int   // packets
	coming   []int // clients, as the next two
	queue    []int
	drops    uint32
	clients  []client
	limited  map[netip.Addr]bool // was limited at any time
	filter   []RateLimit
	longest  time.Duration // that a packet waited
	arrivals []time.Time   // of those in the queue
}

type client struct {
	addr           netip.Addr
	rate           int // packets a second
	sent, answered int
}

func newLink(seed uint64, rate int, clients ...client) *link {
	return &link{rng: rand.New(rand.NewPCG(seed, 5)), m: NewMonitor(Options{Prefix6: 128}), now: time.Unix(1e9, 0), rate: rate, buffer: 2 * receiveBufferForTests / queryMemory,
		clients: clients, limited: map[netip.Addr]bool{}}
}

const (
	receiveBufferForTests = 1 << 20
	batchSize             = 32
)

// run lets time pass in steps of a millisecond.
func (s *link) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(time.Millisecond)
		s.come()
		packets, able := len(s.coming), s.share(s.speed())
		for done := 0; len(s.coming) > 0 || done < able && len(s.queue) > 0; {
			for n := min(batchSize, len(s.coming)); n > 0; n-- {
				s.enqueue(s.coming[0])
				s.coming = s.coming[1:]
			}
			// As much of what can be read as of what comes.
			for len(s.queue) > 0 && done < able && done*packets <= (packets-len(s.coming))*able {
				done += s.batch(min(able-done, batchSize))
			}
		}
		if s.m.active && s.now.Sub(s.m.began) >= interval {
			s.endInterval()
		}
	}
}

// speed is how many packets a second the reader can answer at this moment.
func (s *link) speed() int {
	switch {
	case s.quota == 0:
		return s.rate
	case s.now.UnixMilli()%100 < int64(s.quota):
		return s.rate * 100 / s.quota
	}
	return 0
}

// come makes up, in random order, who sends in this millisecond.
func (s *link) come() {
	s.coming = s.coming[:0]
	for i, c := range s.clients {
		for range s.share(c.rate) {
			s.clients[i].sent++
			s.coming = append(s.coming, i)
		}
	}
	s.rng.Shuffle(len(s.coming), func(i, j int) { s.coming[i], s.coming[j] = s.coming[j], s.coming[i] })
}

// share returns how many of rate fall into a millisecond.
func (s *link) share(rate int) int {
	n := rate / 1000
	if s.rng.IntN(1000) < rate%1000 {
		n++
	}
	return n
}

// enqueue queues a packet, or drops it, as the kernel does.
func (s *link) enqueue(client int) {
	for _, t := range s.filter {
		if t.Client == s.clients[client].addr && s.rng.Float64() > t.Pass {
			s.drops++
			return
		}
	}
	if len(s.queue) >= s.buffer {
		s.drops++
		return
	}
	s.queue, s.arrivals = append(s.queue, client), append(s.arrivals, s.now)
}

func (s *link) backlog() Backlog {
	return Backlog{Used: uint32(len(s.queue)) * queryMemory, Buffer: uint32(s.buffer) * queryMemory, Drops: s.drops}
}

// batch reads at most n packets as a reader would, and returns how many.
func (s *link) batch(n int) int {
	n = min(n, len(s.queue))
	full := n == batchSize || len(s.queue) > n // the reader would have taken more
	look := s.backlog()
	if full && s.m.observe(look, s.now) || s.m.active {
		s.m.busy = s.m.busy && full
		for _, c := range s.queue[:n] {
			s.m.count(s.clients[c].addr)
		}
	}
	for _, c := range s.queue[:n] {
		s.clients[c].answered++
	}
	s.longest = max(s.longest, s.now.Sub(s.arrivals[0]))
	s.queue, s.arrivals = s.queue[n:], s.arrivals[n:]
	return n
}

func (s *link) endInterval() {
	s.m.observe(s.backlog(), s.now)
	buffer, changed := s.m.endInterval(s.now)
	s.buffer = buffer / queryMemory
	if changed {
		s.filter = slices.Clone(s.m.limits)
	}
	for _, t := range s.filter {
		s.limited[t.Client] = true
	}
	if s.m.isOver(s.now) {
		s.m.endEpisode(s.now)
	}
}

// forget begins to count anew, what came of an overload's beginning apart.
func (s *link) forget() {
	s.longest = 0
	for i := range s.clients {
		s.clients[i].sent, s.clients[i].answered = 0, 0
	}
}

func clientsOf(from byte, n, rate int) (all []client) {
	for i := range n {
		all = append(all, client{addr: netip.AddrFrom4([4]byte{10, 0, from, byte(i)}), rate: rate})
	}
	return all
}

// others returns how many queries all but the first client sent, and how many of
// them were answered.
func (s *link) others() (sent, answered int) {
	for _, c := range s.clients[1:] {
		sent, answered = sent+c.sent, answered+c.answered
	}
	return sent, answered
}

// rounds is how many of n random rounds a test makes: all, or an eighth of them with
// the race detector, which has nothing to find in one goroutine. `make test` runs all
// of them without it.
func rounds(n int) int {
	if raced {
		return max(n/8, 1)
	}
	return n
}

// fewer returns the cases to try, in the same way: with the race detector the first.
func fewer(cases ...int) []int { return cases[:rounds(len(cases))] }

func TestOneNoisyClientLeavesTheOthersTheirs(t *testing.T) {
	for _, times := range fewer(2, 3, 30) {
		for _, n := range fewer(1, 20, 100) {
			t.Run(fmt.Sprintf("%d times beside %d", times, n), func(t *testing.T) {
				const capacity = 20_000
				quiet := clientsOf(1, n, capacity/3/n)
				s := newLink(uint64(times), capacity, append(clientsOf(0, 1, times*capacity), quiet...)...)
				s.run(2 * time.Second)
				s.forget()
				s.run(6 * time.Second)
				sent, answered := s.others()
				if float64(answered) < .98*float64(sent) {
					t.Errorf("the others got %d answers for %d queries", answered, sent)
				}
				if all := answered + s.clients[0].answered; all < 6*capacity*80/100 {
					t.Errorf("%d were answered in all, of %d that could have been", all, 6*capacity)
				}
			})
		}
	}
}

// TestWhoSendsLessThanAnEqualPartIsNeverLimited makes up all kinds of links. The
// margin is that of chance: what a client sent is known by what came through.
func TestWhoSendsLessThanAnEqualPartIsNeverLimited(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 7))
	for round := range rounds(60) {
		capacity := 5000 + rng.IntN(20_000)
		n := 2 + rng.IntN(80)
		noisy := 1 + rng.IntN(min(n-1, 5))
		var clients []client
		for i := range n {
			rate := rng.IntN(capacity * 7 / 10 / n)
			if i < noisy {
				rate = capacity/n + rng.IntN(4*capacity)
			}
			clients = append(clients, client{addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), rate: rate})
		}
		s := newLink(uint64(round), capacity, clients...)
		s.run(3 * time.Second)
		for _, c := range clients[noisy:] {
			if s.limited[c.addr] {
				t.Errorf("round %d: one of %d with %d packets a second of %d was limited", round, n, c.rate, capacity)
			}
		}
	}
}

// TestSharesWhereTheProcessorIsTakenAway has a CPU quota, by which the queue is
// empty at times though more comes than can be answered.
func TestSharesWhereTheProcessorIsTakenAway(t *testing.T) {
	for _, quota := range fewer(5, 25, 80) {
		for _, buffer := range []int{minReceiveBuffer, 2 * receiveBufferForTests, 8 << 20} {
			const capacity = 10_000
			s := newLink(1, capacity, append(clientsOf(0, 1, 3*capacity), clientsOf(1, 20, capacity/100)...)...)
			s.quota, s.buffer = quota, buffer/queryMemory
			s.run(3 * time.Second)
			s.forget()
			s.run(5 * time.Second)
			sent, answered := s.others()
			if float64(answered) < .95*float64(sent) {
				t.Errorf("%d %%, buffer %d: the others got %d answers for %d queries", quota, buffer, answered, sent)
			}
			if all := answered + s.clients[0].answered; all < 5*capacity*80/100 {
				t.Errorf("%d %%, buffer %d: %d were answered in all, of %d that could have been", quota, buffer, all, 5*capacity)
			}
		}
	}
}

func TestNobodyIsLimited(t *testing.T) {
	for name, clients := range map[string][]client{
		"while all send alike":           clientsOf(0, 30, 2000),
		"while there is one alone":       clientsOf(0, 1, 60_000),
		"while all can be answered":      append(clientsOf(0, 1, 12_000), clientsOf(1, 5, 1000)...),
		"because it is this machine":     append([]client{{addr: netip.MustParseAddr("127.0.0.1"), rate: 60_000}}, clientsOf(1, 5, 100)...),
		"without an address":             append([]client{{rate: 60_000}}, clientsOf(1, 5, 100)...),
		"among more than can be counted": clientsOf(0, 200, 300),
	} {
		s := newLink(1, 20_000, clients...)
		s.run(3 * time.Second)
		if len(s.limited) > 0 {
			t.Errorf("%s: %d were limited", name, len(s.limited))
		}
	}
}

func TestAnswersComeInTimeHoweverSlowTheMachine(t *testing.T) {
	for _, rate := range fewer(3000, 10_000, 50_000, 300_000) {
		s := newLink(1, rate, clientsOf(0, 1, 3*rate)...)
		s.run(2 * time.Second)
		s.forget()
		s.run(2 * time.Second)
		if limit := max(queueTime, minReceiveBuffer/queryMemory*time.Second/time.Duration(rate)) + 50*time.Millisecond; s.longest > limit {
			t.Errorf("%d a second: one waited %v, want at most %v", rate, s.longest, limit)
		}
		if got := s.clients[0].answered; got < 2*rate*95/100 {
			t.Errorf("%d a second: %d answers in 2 s", rate, got)
		}
	}
}

func TestLimitingEndsWithTheNoise(t *testing.T) {
	s := newLink(1, 20_000, append(clientsOf(0, 1, 100_000), clientsOf(1, 5, 1000)...)...)
	s.run(3 * time.Second)
	if len(s.filter) != 1 {
		t.Fatalf("%d are limited", len(s.filter))
	}
	s.clients[0].rate = 500
	s.run(3 * interval)
	if len(s.filter) != 0 {
		t.Errorf("%v are limited for what they did before", s.filter)
	}
	s.run(episodeQuiet + interval)
	if s.m.active {
		t.Error("the overload has no end")
	}
}

func TestAnOverloadIsReported(t *testing.T) {
	s := newLink(1, 20_000, append(clientsOf(0, 1, 100_000), clientsOf(1, 5, 1000)...)...)
	s.run(3 * time.Second)
	s.m.observe(Backlog{Buffer: 1, Drops: s.drops}, s.now)
	sent, answered := s.clients[0].sent, s.clients[0].answered
	got := s.m.endEpisode(s.now)
	if len(got) != 2 || got[1].client != "10.0.0.0" || !strings.HasPrefix(got[0].detail, fmt.Sprint(s.drops, " queries were dropped unread between 2001-09-09T01:46:")) {
		t.Fatalf("reported %q", got)
	}
	var about int
	fmt.Sscanf(got[1].detail, "about %d of its queries", &about)
	if lost := sent - answered; about > lost || about < lost/2 {
		t.Errorf("reported about %d of %d", about, lost)
	}
	if again := s.m.endEpisode(s.now); len(again) != 0 {
		t.Errorf("reported again: %q", again)
	}
}

// Nothing is written of a device that opted out of the log, also not in the
// quality ledger.
func TestClientsThatMustNotBeNamedAreNot(t *testing.T) {
	out, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var named []string
	m := NewMonitor(Options{
		Unnamed: func(a netip.Addr) bool { return a == out },
		Report:  func(client, _ string) { named = append(named, client) },
	})
	m.active = true
	m.episode = episode{dropped: 9, by: map[netip.Addr]float64{out: 5, other: 4}}
	m.reportEpisode(time.Time{})
	if want := []string{"", other.String()}; !slices.Equal(named, want) {
		t.Errorf("reported %q, want %q", named, want)
	}
}

// There is an overload from when a queue is half full, or packets were dropped since it was looked at last.
func TestAnOverloadBeginsWithAHalfFullQueueOrADrop(t *testing.T) {
	for name, c := range map[string]struct {
		looks []Backlog
		want  []bool
	}{
		"an empty queue":       {[]Backlog{{Buffer: 1000}, {Buffer: 1000}}, []bool{false, false}},
		"nearly half":          {[]Backlog{{Buffer: 1000, Used: 499}}, []bool{false}},
		"half":                 {[]Backlog{{Buffer: 1000, Used: 500}, {Buffer: 1000}}, []bool{true, true}},
		"drops":                {[]Backlog{{Buffer: 1000, Used: 1, Drops: 1}}, []bool{true}},
		"nothing, then a drop": {[]Backlog{{Buffer: 1000}, {Buffer: 1000, Drops: 7}}, []bool{false, true}},
	} {
		m := NewMonitor(Options{})
		for i, look := range c.looks {
			if got := m.observe(look, time.Unix(1000, 0)); got != c.want[i] || m.active != c.want[i] {
				t.Errorf("%s: look %d: %v, want %v", name, i+1, got, c.want[i])
			}
		}
	}
}
