package querylog

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
)

// A slowAttempts tells attempts apart as docs/querylog.md says, with texts.
type slowAttempts struct {
	gap  time.Duration
	last map[string]time.Time

	border map[time.Duration]int // lookups that came so much after the gap was over
}

func (s *slowAttempts) begins(device, name string, at time.Time) bool {
	name = slowAttemptName(name)
	key := device + " " + name
	before, known := s.last[key]
	if over := at.Sub(before) - s.gap; known && over.Abs() <= time.Millisecond {
		s.border[over]++
	}
	if !known || at.Sub(before).Abs() >= s.gap {
		s.last[key] = at
		return true
	}
	if at.After(before) {
		s.last[key] = at
	}
	return false
}

func slowAttemptName(name string) string {
	for _, suffix := range []string{"lan", "home", "local", "localdomain", "internal", "intranet", "private", "corp", "home.arpa", "fritz.box"} {
		if rest, ok := strings.CutSuffix(name, "."+suffix); ok && strings.Contains(rest, ".") {
			return slowAttemptName(rest)
		}
	}
	return name
}

// askers make lookups as devices do: both families, retries, search suffixes,
// pauses about as long as the gap.
type askers struct {
	rng     *rand.Rand
	gap     time.Duration
	names   []string
	devices []*devices.Binding
	waiting []Record // of the burst at hand
	now     time.Time

	device *devices.Binding // of the burst before
	name   string
	last   time.Time // its latest lookup
}

func newAskers(seed uint64, gap time.Duration, now time.Time) *askers {
	h := &askers{rng: rand.New(rand.NewPCG(seed, 8)), gap: gap, now: now}
	for i := range 40 {
		h.names = append(h.names, fmt.Sprintf("n%d.vendor%d.example", i, i%7))
	}
	h.names = append(h.names, "nas.lan", "example", "a.b.home.arpa", "tracker.example")
	for i := range 6 {
		b := phone(uint64(1 + i))
		b.Device, b.Addr = fmt.Sprintf("device %d", i/2), netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}) // two addresses each
		h.devices = append(h.devices, b)
	}
	return h
}

// next returns the next lookup. Its time is never much before that of the last one.
func (h *askers) next(p *blocklists.Policy) Record {
	if len(h.waiting) == 0 {
		h.burst(p)
	}
	r := h.waiting[0]
	h.waiting = h.waiting[1:]
	return r
}

func (h *askers) burst(p *blocklists.Policy) {
	b, name := h.devices[h.rng.IntN(len(h.devices))], h.names[h.rng.IntN(len(h.names))]
	exact := true // the first lookup comes when it should
	switch h.rng.IntN(8) {
	case 0: // the same device and name, when the gap is over but for a millisecond, or is just over
		if h.device != nil {
			b, name = h.device, h.name
			h.now = h.last.Add(h.gap + time.Duration(h.rng.IntN(3)-1)*time.Millisecond)
		}
	case 1:
		h.now = h.now.Add(time.Duration(h.rng.Int64N(int64(3 * h.gap))))
		exact = false
	case 2:
		h.now = h.now.Add(time.Duration(h.rng.Int64N(int64(h.gap / 4))))
		exact = false
	case 3: // the same again, while the window that began with the burst before ends
		if h.device != nil && h.rng.IntN(4) == 0 {
			b, name = h.device, h.name
			h.now = h.last.Add(windowMin + time.Duration(h.rng.IntN(200)-100)*time.Millisecond)
		}
	default:
		h.now = h.now.Add(time.Duration(h.rng.IntN(400)) * time.Millisecond)
		exact = false
	}
	h.now = h.now.Truncate(time.Millisecond) // as the log has times
	h.device, h.name, h.last = b, name, h.now
	forms := []string{name}
	if h.rng.IntN(5) == 0 {
		forms = append(forms, name+"."+[]string{"lan", "fritz.box", "home.arpa", "example"}[h.rng.IntN(4)])
	}
	for _, form := range forms {
		for _, typ := range []uint16{dnswire.TypeA, dnswire.TypeAAAA, 65, 64}[:1+h.rng.IntN(4)] {
			for range 1 + h.rng.IntN(3)/2 {
				n, err := dnswire.ParseName(form)
				if err != nil {
					panic(err)
				}
				late := time.Duration(h.rng.IntN(30)-10) * time.Millisecond
				if len(h.waiting) == 0 && exact {
					late = 0
				}
				if at := h.now.Add(late); at.After(h.last) && slowAttemptName(form) == slowAttemptName(name) {
					h.last = at
				}
				r := Record{Time: h.now.Add(late), Client: b.Addr, Binding: b, Name: n.Wire(), Type: typ, Source: FromCache, Transport: UDP, Verdict: p.Decide(&n, typ, 0)}
				if !exact && h.rng.IntN(20) == 0 {
					r.Binding, r.Client = nil, netip.AddrFrom4([4]byte{10, 0, 1, byte(h.rng.IntN(3))})
				}
				h.waiting = append(h.waiting, r)
			}
		}
	}
}

// TestAttemptsAgreeWithTheirSlowTwin: sums over rows are attempts exactly, for each
// device and name, over windows, restarts and kills. QUERYLOG_ATTEMPTS says how many
// lookups in all.
func TestAttemptsAgreeWithTheirSlowTwin(t *testing.T) {
	t.Parallel()
	const seeds = 10
	n := envNumber(t, "QUERYLOG_ATTEMPTS", 10_000) / seeds
	p := policy(t, testList)
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			gap := []time.Duration{DefaultAttempt, time.Second, 5 * time.Minute}[seed%3]
			time.Sleep(23*time.Hour + 50*time.Minute) // midnight is soon
			h := newAskers(seed, gap, time.Now())
			slow := slowAttempts{gap, map[string]time.Time{}, map[time.Duration]int{}}
			want := map[string]int{}
			dir := t.TempDir()
			var started time.Time
			start := func() *Log {
				started = time.Now()
				return open(t, Options{Dir: dir, AttemptGap: gap, Retention: Retention{Listed: -1, Unlisted: -1, MaxBytes: -1}})
			}
			l := start()
			for i := range n {
				r := h.next(p)
				if d := time.Until(r.Time); d > 0 {
					time.Sleep(d)
				}
				if r.Time.Before(started) { // no server was there to be asked
					r.Time = started
				}
				l.Append([]Record{r})
				name := string(dnswire.AppendText(nil, r.Name))
				if slow.begins(deviceOf(r.Client, r.Binding), name, r.Time) {
					want[deviceOf(r.Client, r.Binding)+" "+name]++
				}
				switch {
				case i%(n/4) == n/8:
					time.Sleep(200 * time.Millisecond) // what is in memory alone would be lost
					dir = killed(t, l, dir)
					l = start()
				case i%(n/4) == n/4-1:
					closeLog(t, l)
					l = start()
				}
			}
			closeLog(t, l)
			got, as := map[string]int{}, uint32(0)
			for _, r := range rows(t, dir, Filter{}) {
				if as += r.AsLookups; r.Attempts > 0 {
					got[r.Device+" "+r.Name] += int(r.Attempts)
				}
			}
			if as > 0 {
				t.Errorf("seed %d: got %d attempts that are lookups, want none", seed, as)
			}
			for key, w := range want {
				if got[key] != w {
					t.Errorf("seed %d: %s: got %d attempts, want %d", seed, key, got[key], w)
				}
				delete(got, key)
			}
			if len(got) > 0 {
				t.Errorf("seed %d: got %v, want none of these", seed, got)
			}
			for over := -time.Millisecond; over <= time.Millisecond; over += time.Millisecond {
				if slow.border[over] < n/1000 {
					t.Errorf("seed %d: %d lookups came %v after the gap: the traffic tests little", seed, slow.border[over], over)
				}
			}
			if sum := sumOf(want); sum < n/40 || sum > n/2 {
				t.Errorf("seed %d: %d attempts in %d lookups: the traffic tests little", seed, sum, n)
			}
		})
	}
}

func sumOf(m map[string]int) (sum int) {
	for _, n := range m {
		sum += n
	}
	return sum
}

// The counter's table agrees with a map, however it grows, forgets and gives back.
func TestTheCounterOfAttemptsAgreesWithAMap(t *testing.T) {
	for seed := range uint64(few(5)) {
		rng := rand.New(rand.NewPCG(seed, 4))
		const gap = 30_000
		a := newAttemptCounter(gap, 1<<20)
		last := map[uint64]int64{}
		at := int64(1_700_000_000_000)
		for i := range 20_000 {
			switch {
			case rng.IntN(5000) == 0:
				at += 2 * gap
				a.giveBack(at)
			default:
				at += rng.Int64N(20)
			}
			key := 1 + rng.Uint64N(uint64(1+i/4))<<40
			ms := at - rng.Int64N(3000)
			before, known := last[key]
			want := !known || distance(ms, before) >= gap
			if last[key] = ms; !want {
				last[key] = max(before, ms)
			}
			place, ok := a.place(key, ms)
			if !ok {
				t.Fatalf("seed %d: no room for %d keys in %d bytes", seed, len(last), a.memory())
			}
			if got := a.begins(place, key, ms); got != want {
				t.Fatalf("seed %d, lookup %d: got an attempt that begins %v, want %v", seed, i, got, want)
			}
		}
		if a.memory() > 1<<20 {
			t.Errorf("got %d bytes, want at most a mebibyte", a.memory())
		}
		if a.giveBack(at + time.Hour.Milliseconds()); a.memory() > 64<<10 {
			t.Errorf("got %d bytes while nobody asks", a.memory())
		}
	}
}

// A full table is not gone through for each lookup that has no room in it: many names
// would cost as many steps each as there are places.
func TestAFullTableOfAttemptsIsSweptOnceInAWhile(t *testing.T) {
	const gap, begun = 1000, 1_700_000_000_000
	over := int64(begun + gap + attemptDeadline)
	a := newAttemptCounter(gap, 1<<14)
	key := uint64(0)
	fits := func(at int64) bool {
		key += 1 << 40
		place, ok := a.place(key, at)
		if ok {
			a.begins(place, key, at)
		}
		return ok
	}
	for fits(begun) {
	}
	if len(a.table) != a.most || a.memory() != 1<<14 {
		t.Fatalf("got %d places in %d bytes", len(a.table), a.memory())
	}
	for _, c := range []struct {
		at   int64
		want bool
	}{{over - 500, false}, {over, false}, {over + 499, false}, {over + 500, true}} {
		if got := fits(c.at); got != c.want {
			t.Errorf("%d ms after all are over: got room %v, want %v", c.at-over, got, c.want)
		}
	}
}

// A clock that is set back by the gap ends an attempt: else it would last until the
// clock is there again.
func TestAClockThatIsSetBackEndsAnAttempt(t *testing.T) {
	a := newAttemptCounter(1000, 1<<20)
	place, _ := a.place(1, 50_000)
	var got []bool
	for _, at := range []int64{50_000, 49_001, 50_999, 49_999, 49_000, 50_999} {
		got = append(got, a.begins(place, 1, at))
	}
	if want := []bool{true, false, false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Where memory for attempts is short, each lookup without room counts as one; rows
// and the ledger say so, and a kill loses nothing of that.
func TestAttemptsAreLookupsWhereMemoryIsShort(t *testing.T) {
	t.Parallel()
	p := policy(t, "tracker.example\n")
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, attemptMemory: 1})
		names := 2_000
		each := func() {
			for i := range names {
				l.Append([]Record{lookup(t, p, time.Now(), phone(1), fmt.Sprintf("n%d.tracker.example", i))})
			}
			l.Flush()
		}
		each()
		time.Sleep(time.Second)
		each()
		sums := func(dir string) (count, attempts, as uint64) {
			for _, r := range rows(t, dir, Filter{}) {
				count += r.Count
				attempts += uint64(r.Attempts)
				as += uint64(r.AsLookups)
				if r.AsLookups > r.Attempts || r.Folded {
					t.Fatalf("got %+v", r)
				}
			}
			return count, attempts, as
		}
		count, attempts, as := sums(dir)
		if count != 4000 || attempts != 2000+as/2 || as == 0 || as > 4000-300 {
			t.Errorf("got %d lookups, %d attempts, of them %d lookups", count, attempts, as)
		}
		left := killed(t, l, dir)
		l = open(t, Options{Dir: left})
		closeLog(t, l)
		if c, a, s := sums(left); c != count || a != attempts || s != as {
			t.Errorf("got %d lookups, %d attempts, of them %d lookups behind a kill, want %d, %d, %d", c, a, s, count, attempts, as)
		}
		if !slices.ContainsFunc(events(t, dir), func(e Event) bool {
			return e.Kind == KindAttempts && strings.HasPrefix(e.Detail, fmt.Sprintf("%d of 4000 lookups are each counted", as))
		}) {
			t.Errorf("got ledger %v, want a line that says so", events(t, dir))
		}
	})
}

// A change of the gap is a line of the ledger, and so is the first count in a store
// that has rows.
func TestTheGapOfAttemptsIsInTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, gap := range []time.Duration{0, DefaultAttempt, time.Minute, time.Minute, 0} {
			l := open(t, Options{Dir: dir, AttemptGap: gap})
			time.Sleep(time.Second)
			closeLog(t, l)
		}
		c := coverage(t, dir, time.Now().Add(-time.Hour), time.Now())
		if c.AttemptGap != DefaultAttempt || c.AttemptsSince.UnixMilli() != c.Begin.UnixMilli() {
			t.Errorf("got attempts counted since %v, by a gap of %v; the log begins %v", c.AttemptsSince, c.AttemptGap, c.Begin)
		}
		var got []string
		for _, e := range events(t, dir) {
			if e.Kind == KindAttempts {
				got = append(got, e.Detail)
			}
		}
		if want := []string{"a silence of 1m0s ends an attempt from now on, and did after 30s before", "a silence of 30s ends an attempt from now on, and did after 1m0s before"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
