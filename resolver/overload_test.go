package resolver

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/devices"
)

func TestFairShareIsWhatDealingOutOneByOneGives(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		asked := make([]wish, rng.IntN(8))
		for i := range asked {
			asked[i] = wish{packets: float64(rng.IntN(200))}
		}
		slices.SortFunc(asked, func(a, b wish) int { return int(b.packets - a.packets) })
		capacity := rng.IntN(600)
		got := fairShare(asked, 0, float64(capacity))
		want := dealOut(asked, capacity)
		if math.IsInf(got, 1) && want == -1 {
			continue
		}
		if math.Abs(max(got, 0)-float64(max(want, capacity/maxHeavy))) > 1 {
			t.Fatalf("share %v, want %d, of %d for %v", got, want, capacity, asked)
		}
	}
}

// dealOut gives each client a packet in turn until there are no more, and returns
// how many the one with most has; -1 where all have what they asked for.
func dealOut(asked []wish, capacity int) (most int) {
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

func TestHeavyClientsAreNeverCountedTooHigh(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	l := newLoad(128)
	l.begin(time.Time{})
	exact := map[netip.Addr]int{}
	for range 50_000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(8)), byte(rng.ExpFloat64() * 20)})
		l.count(a)
		exact[a]++
		if len(l.heavy) > maxHeavy {
			t.Fatalf("%d clients are counted", len(l.heavy))
		}
	}
	for a, n := range exact {
		if got := l.heavy[a]; got > n || got < n-l.taken/(maxHeavy+1) {
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
		if got := clientOf(netip.MustParseAddr(c.a), c.bits).String(); got != c.want {
			t.Errorf("%s by %d bits is %s, want %s", c.a, c.bits, got, c.want)
		}
	}
	if got := clientOf(netip.Addr{}, 64); got.IsValid() {
		t.Errorf("no address is %s", got)
	}
}

// A street is a reader with a queue of its own and clients that send at even
// rates, in a time of its own: what the kernel and the readers do together.
type street struct {
	rng      *rand.Rand
	l        load
	now      time.Time
	rate     int   // packets a second that the reader can answer
	quota    int   // per cent of each tenth of a second in which it runs, that much faster; 0: always
	room     int   // packets
	coming   []int // clients, as the next two
	queue    []int
	drops    uint32
	clients  []resident
	limited  map[netip.Addr]bool // was thinned at any time
	filter   []thinning
	longest  time.Duration // that a packet waited
	arrivals []time.Time   // of those in the queue
}

type resident struct {
	addr           netip.Addr
	rate           int // packets a second
	sent, answered int
}

func newStreet(seed uint64, rate int, clients ...resident) *street {
	return &street{rng: rand.New(rand.NewPCG(seed, 5)), l: newLoad(128), now: time.Unix(1e9, 0), rate: rate, room: 2 * receiveBufferForTests / queryRoom,
		clients: clients, limited: map[netip.Addr]bool{}}
}

const receiveBufferForTests = 1 << 20

// run lets time pass in steps of a millisecond.
func (s *street) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(time.Millisecond)
		s.come()
		packets, able := len(s.coming), s.share(s.speed())
		for done := 0; len(s.coming) > 0 || done < able && len(s.queue) > 0; {
			for n := min(batchSize, len(s.coming)); n > 0; n-- {
				s.arrive(s.coming[0])
				s.coming = s.coming[1:]
			}
			// As much of what can be read as of what comes.
			for len(s.queue) > 0 && done < able && done*packets <= (packets-len(s.coming))*able {
				done += s.batch(min(able-done, batchSize))
			}
		}
		if s.l.active && s.now.Sub(s.l.began) >= turnTime {
			s.endTurn()
		}
	}
}

// speed is how many packets a second the reader can answer at this moment.
func (s *street) speed() int {
	switch {
	case s.quota == 0:
		return s.rate
	case s.now.UnixMilli()%100 < int64(s.quota):
		return s.rate * 100 / s.quota
	}
	return 0
}

// come makes up, in random order, who sends in this millisecond.
func (s *street) come() {
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
func (s *street) share(rate int) int {
	n := rate / 1000
	if s.rng.IntN(1000) < rate%1000 {
		n++
	}
	return n
}

// arrive queues a packet, or drops it, as the kernel does.
func (s *street) arrive(client int) {
	for _, t := range s.filter {
		if t.client == s.clients[client].addr && s.rng.Float64() > t.pass {
			s.drops++
			return
		}
	}
	if len(s.queue) >= s.room {
		s.drops++
		return
	}
	s.queue, s.arrivals = append(s.queue, client), append(s.arrivals, s.now)
}

func (s *street) backlog() backlog {
	return backlog{used: uint32(len(s.queue)) * queryRoom, room: uint32(s.room) * queryRoom, drops: s.drops}
}

// batch reads at most n packets as a reader would, and returns how many.
func (s *street) batch(n int) int {
	n = min(n, len(s.queue))
	full := n == batchSize || len(s.queue) > n // the reader would have taken more
	look := s.backlog()
	if full && s.l.look(look, s.now) || s.l.active {
		s.l.busy = s.l.busy && full
		for _, c := range s.queue[:n] {
			s.l.count(s.clients[c].addr)
		}
	}
	for _, c := range s.queue[:n] {
		s.clients[c].answered++
	}
	s.longest = max(s.longest, s.now.Sub(s.arrivals[0]))
	s.queue, s.arrivals = s.queue[n:], s.arrivals[n:]
	return n
}

func (s *street) endTurn() {
	s.l.look(s.backlog(), s.now)
	room, changed := s.l.end(s.now)
	s.room = room / queryRoom
	if changed {
		s.filter = slices.Clone(s.l.thinned)
	}
	for _, t := range s.filter {
		s.limited[t.client] = true
	}
	if s.l.over(s.now) {
		s.l.close(s.now)
	}
}

// forget begins to count anew, what came of an overload's beginning apart.
func (s *street) forget() {
	s.longest = 0
	for i := range s.clients {
		s.clients[i].sent, s.clients[i].answered = 0, 0
	}
}

func residents(from byte, n, rate int) (all []resident) {
	for i := range n {
		all = append(all, resident{addr: netip.AddrFrom4([4]byte{10, 0, from, byte(i)}), rate: rate})
	}
	return all
}

// others returns how many queries all but the first client sent, and how many of
// them were answered.
func (s *street) others() (sent, answered int) {
	for _, c := range s.clients[1:] {
		sent, answered = sent+c.sent, answered+c.answered
	}
	return sent, answered
}

func TestOneNoisyClientLeavesTheOthersTheirs(t *testing.T) {
	for _, times := range []int{2, 3, 30} {
		for _, n := range []int{1, 20, 100} {
			t.Run(fmt.Sprintf("%d times beside %d", times, n), func(t *testing.T) {
				const capacity = 20_000
				quiet := residents(1, n, capacity/3/n)
				s := newStreet(uint64(times), capacity, append(residents(0, 1, times*capacity), quiet...)...)
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

// TestWhoSendsLessThanAnEqualPartIsNeverThinned makes up all kinds of streets. The
// margin is that of chance: what a client sent is known by what came through.
func TestWhoSendsLessThanAnEqualPartIsNeverThinned(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 7))
	for round := range 60 {
		capacity := 5000 + rng.IntN(20_000)
		n := 2 + rng.IntN(80)
		noisy := 1 + rng.IntN(min(n-1, 5))
		var clients []resident
		for i := range n {
			rate := rng.IntN(capacity * 7 / 10 / n)
			if i < noisy {
				rate = capacity/n + rng.IntN(4*capacity)
			}
			clients = append(clients, resident{addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), rate: rate})
		}
		s := newStreet(uint64(round), capacity, clients...)
		s.run(3 * time.Second)
		for _, c := range clients[noisy:] {
			if s.limited[c.addr] {
				t.Errorf("round %d: one of %d with %d packets a second of %d was thinned", round, n, c.rate, capacity)
			}
		}
	}
}

// TestSharesWhereTheProcessorIsTakenAway has a CPU quota, by which the queue is
// empty at times though more comes than can be answered.
func TestSharesWhereTheProcessorIsTakenAway(t *testing.T) {
	for _, quota := range []int{5, 25, 80} {
		for _, room := range []int{smallRoom, 2 * receiveBufferForTests, 8 << 20} {
			const capacity = 10_000
			s := newStreet(1, capacity, append(residents(0, 1, 3*capacity), residents(1, 20, capacity/100)...)...)
			s.quota, s.room = quota, room/queryRoom
			s.run(3 * time.Second)
			s.forget()
			s.run(5 * time.Second)
			sent, answered := s.others()
			if float64(answered) < .95*float64(sent) {
				t.Errorf("%d %%, room %d: the others got %d answers for %d queries", quota, room, answered, sent)
			}
			if all := answered + s.clients[0].answered; all < 5*capacity*80/100 {
				t.Errorf("%d %%, room %d: %d were answered in all, of %d that could have been", quota, room, all, 5*capacity)
			}
		}
	}
}

func TestNobodyIsThinned(t *testing.T) {
	for name, clients := range map[string][]resident{
		"while all send alike":           residents(0, 30, 2000),
		"while there is one alone":       residents(0, 1, 60_000),
		"while all can be answered":      append(residents(0, 1, 12_000), residents(1, 5, 1000)...),
		"because it is this machine":     append([]resident{{addr: netip.MustParseAddr("127.0.0.1"), rate: 60_000}}, residents(1, 5, 100)...),
		"without an address":             append([]resident{{rate: 60_000}}, residents(1, 5, 100)...),
		"among more than can be counted": residents(0, 200, 300),
	} {
		s := newStreet(1, 20_000, clients...)
		s.run(3 * time.Second)
		if len(s.limited) > 0 {
			t.Errorf("%s: %d were thinned", name, len(s.limited))
		}
	}
}

func TestAnswersComeInTimeHoweverSlowTheMachine(t *testing.T) {
	for _, rate := range []int{3000, 10_000, 50_000, 300_000} {
		s := newStreet(1, rate, residents(0, 1, 3*rate)...)
		s.run(2 * time.Second)
		s.forget()
		s.run(2 * time.Second)
		if limit := max(queueTime, smallRoom/queryRoom*time.Second/time.Duration(rate)) + 50*time.Millisecond; s.longest > limit {
			t.Errorf("%d a second: one waited %v, want at most %v", rate, s.longest, limit)
		}
		if got := s.clients[0].answered; got < 2*rate*95/100 {
			t.Errorf("%d a second: %d answers in 2 s", rate, got)
		}
	}
}

func TestThinningEndsWithTheNoise(t *testing.T) {
	s := newStreet(1, 20_000, append(residents(0, 1, 100_000), residents(1, 5, 1000)...)...)
	s.run(3 * time.Second)
	if len(s.filter) != 1 {
		t.Fatalf("%d are thinned", len(s.filter))
	}
	s.clients[0].rate = 500
	s.run(3 * turnTime)
	if len(s.filter) != 0 {
		t.Errorf("%v are thinned for what they did before", s.filter)
	}
	s.run(spellTime + turnTime)
	if s.l.active {
		t.Error("the overload has no end")
	}
}

func TestAnOverloadIsNoted(t *testing.T) {
	s := newStreet(1, 20_000, append(residents(0, 1, 100_000), residents(1, 5, 1000)...)...)
	s.run(3 * time.Second)
	s.l.look(backlog{room: 1, drops: s.drops}, s.now)
	sent, answered := s.clients[0].sent, s.clients[0].answered
	got := s.l.close(s.now)
	if len(got) != 2 || got[1].subject != "10.0.0.0" || !strings.HasPrefix(got[0].detail, fmt.Sprint(s.drops, " queries were dropped unread between 2001-09-09T01:46:")) {
		t.Fatalf("noted %q", got)
	}
	var about int
	fmt.Sscanf(got[1].detail, "about %d of its queries", &about)
	if lost := sent - answered; about > lost || about < lost/2 {
		t.Errorf("noted about %d of %d", about, lost)
	}
	if again := s.l.close(s.now); len(again) != 0 {
		t.Errorf("noted again: %q", again)
	}
}

// TestOverloadKeepsOptedOutDevicesToItself: nothing is written of a device that
// opted out of the log, also not in the quality ledger.
func TestOverloadKeepsOptedOutDevicesToItself(t *testing.T) {
	out, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var noted []string
	s, err := New(Options{
		Binding: func(a netip.Addr) *devices.Binding { return &devices.Binding{Addr: a, NoLog: a == out} },
		Report:  func(_, subject, _ string) { noted = append(noted, subject) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &reader{srv: s, load: newLoad(128)}
	r.load.active = true
	r.load.spell = spell{dropped: 9, by: map[netip.Addr]float64{out: 5, other: 4}}
	r.noteOverload()
	if want := []string{"", other.String()}; !slices.Equal(noted, want) {
		t.Errorf("noted %q, want %q", noted, want)
	}
}
