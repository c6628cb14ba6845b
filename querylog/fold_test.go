package querylog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/devices"
	"telltale/dnswire"
)

// slowFold is the obvious fold: a map by everything that tells rows apart.
type slowFold map[string]*entry

func (f slowFold) add(r *Record) {
	id := uint64(0)
	if r.Binding != nil {
		id = r.Binding.ID
	}
	key := fmt.Sprint(r.Client, id, r.Name, r.Alias, r.Type, r.Rcode, r.Source, r.Transport, r.Upstream,
		r.Verdict.Action, r.Verdict.Level, r.Verdict.Rule, r.Verdict.Attr)
	e := f[key]
	ms := r.Time.UnixMilli()
	if e == nil {
		e = &entry{First: ms, Last: ms, Upstream: r.Upstream}
		f[key] = e
	}
	e.Count++
	e.First, e.Last = min(e.First, ms), max(e.Last, ms)
	e.Elapsed, e.TTL = max(e.Elapsed, uint32(r.Elapsed.Microseconds())), max(e.TTL, r.TTL)
}

func sums(entries func(func(int, *entry) bool)) map[string]int {
	all := map[string]int{}
	for _, e := range entries {
		all[fmt.Sprint(e.Count, e.First, e.Last, e.Elapsed, e.TTL, e.Upstream)]++
	}
	return all
}

// somebody makes lookups of few names by few devices, so that many fold.
func somebody(rng *rand.Rand, p *blocklists.Policy, at time.Time) Record {
	names := []string{"tracker.example", "a.tracker.example", "allowed.tracker.example", "exact.example", "x.example", "y.example"}
	name, _ := dnswire.ParseName(names[rng.IntN(len(names))])
	b := &devices.Binding{ID: uint64(1 + rng.IntN(3)), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(3))})}
	b.Device = fmt.Sprint("device", b.ID)
	r := Record{Time: at.Add(time.Duration(rng.IntN(5000)) * time.Millisecond), Elapsed: time.Duration(rng.IntN(1e6)) * time.Microsecond,
		Client: b.Addr, Binding: b, Name: name.Wire(), Type: uint16(1 + 27*rng.IntN(2)), Rcode: uint8(rng.IntN(2)),
		Source: Source(1 + rng.IntN(3)), Transport: Transport(1 + rng.IntN(2)), TTL: uint32(rng.IntN(100))}
	r.Verdict = p.Decide(&name, r.Type, 0)
	if rng.IntN(10) == 0 {
		r.Alias = []byte("\x07tracker\x07example\x00")
	}
	if r.Source == FromUpstream {
		r.Upstream = fmt.Sprintf("192.0.2.%d:53", rng.IntN(2))
	}
	return r
}

// What different upstreams answered is told apart, and a folded row says none of them.
func TestRowsOfUpstreams(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_700_000_000_000)
	name, _ := dnswire.ParseName("x.example")
	f := newFold(at)
	add := func(upstream string, g granularity) entry {
		r := Record{Time: at, Client: netip.MustParseAddr("10.0.0.1"), Name: name.Wire(), Type: 1, Source: FromUpstream, Transport: UDP, Upstream: upstream}
		return f.describe(int(f.add(&r, at.UnixMilli(), g, 1<<30)))
	}
	for _, want := range []string{"192.0.2.1:53", "192.0.2.2:53", "", "router", "192.0.2.1:53"} {
		if got := add(want, byName).Upstream; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if len(f.rows) != 4 {
		t.Errorf("%d rows of four answers", len(f.rows))
	}
	for _, g := range []granularity{byRule, byDevice, byNobody} {
		if got := add("192.0.2.1:53", g).Upstream; got != "" {
			t.Errorf("a row that is folded by %d says %q", g, got)
		}
	}
	before := len(f.rows)
	for i := range 400 { // more than have a number: those are counted, and not named
		if got, want := add(fmt.Sprint("tls://", i), byName).Upstream, fmt.Sprint("tls://", i); got != want && got != "" {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if n := len(f.rows) - before; n < 250 || n > 256 || f.lookups != 408 {
		t.Errorf("%d rows more, %d lookups", n, f.lookups)
	}
}

// Lookups that are counted together are counted as they are one by one, in the same rows and
// with the same journal.
func TestABatchIsCountedAsItsLookupsAre(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	forgotten := &devices.Binding{ID: 7, Device: "tv"}
	optedOut := &devices.Binding{ID: 8, Device: "phone", NoLog: true}
	for seed := range uint64(few(20)) {
		rng := rand.New(rand.NewPCG(seed, 2))
		at := time.UnixMilli(1_700_000_000_000)
		newLog := func() *Log {
			l := &Log{fold: newFold(at), limit: 1 << 30, forgotten: map[uint64]bool{forgotten.ID: true}}
			l.o.NoUnlisted = seed%2 == 1
			l.hits.reset(l.fold.start)
			return l
		}
		together, alone := newLog(), newLog()
		alone.fold.seed = together.fold.seed
		for range 60 {
			recs := make([]Record, 1+rng.IntN(70))
			for i := range recs {
				recs[i] = somebody(rng, p, at)
				switch rng.IntN(20) {
				case 0:
					recs[i].Binding = forgotten
				case 1:
					recs[i].Binding = optedOut
				}
				alone.addLocked(&recs[i])
			}
			for rest := recs; len(rest) > 0; {
				n := min(len(rest), countedMost)
				together.addAllLocked(rest[:n])
				rest = rest[n:]
			}
		}
		if !slices.Equal(together.fold.rows, alone.fold.rows) || !bytes.Equal(together.fold.keys, alone.fold.keys) {
			t.Fatalf("seed %d: other rows", seed)
		}
		if !bytes.Equal(together.hits.buf, alone.hits.buf) || together.fold.lookups != alone.fold.lookups || together.stats != alone.stats {
			t.Errorf("seed %d: got %d octets, %d lookups, %d opted out, want %d, %d, %d", seed, len(together.hits.buf), together.fold.lookups, together.stats.OptedOut,
				len(alone.hits.buf), alone.fold.lookups, alone.stats.OptedOut)
		}
	}
}

func TestFoldAgreesWithItsSlowTwin(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	for seed := range uint64(few(20)) {
		rng := rand.New(rand.NewPCG(seed, 1))
		at := time.UnixMilli(1_700_000_000_000)
		fast, slow := newFold(at), slowFold{}
		enc := newEncoder(9)
		var h hitBuffer
		h.reset(fast.start)
		enc.window(fast.start, "n")
		file := []byte(journalMagic)
		written := 0
		for i := range 1 + rng.IntN(4000) {
			r := somebody(rng, p, at)
			slow.add(&r)
			l := Log{fold: fast, limit: 1 << 30, hits: h}
			l.addLocked(&r)
			h = l.hits
			if i%97 == 0 {
				for ; written < len(fast.rows); written++ {
					enc.row(fast, written, false)
				}
				enc.hits(&h, fast.start)
				h.reset(fast.start)
				file = append(file, enc.take()...)
			}
		}
		for ; written < len(fast.rows); written++ {
			enc.row(fast, written, false)
		}
		enc.hits(&h, fast.start)
		file = append(file, enc.take()...)

		want := map[string]int{}
		for _, e := range slow {
			want[fmt.Sprint(e.Count, e.First, e.Last, e.Elapsed, e.TTL, e.Upstream)]++
		}
		if got := sums(fast.entries); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
		read := replay{window: 9}
		if n := read.feed(file); n != len(file) || read.bad != 0 || read.lost != 0 {
			t.Fatalf("seed %d: got %d of %d bytes, %d bad, %d lost", seed, n, len(file), read.bad, read.lost)
		}
		if got := sums(read.entries); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: got %v from the journal, want %v", seed, got, want)
		}
		compareEntries(t, fast, &read)
	}
}

// compareEntries checks that a journal says of each row what the fold says.
func compareEntries(t *testing.T, f *fold, p *replay) {
	t.Helper()
	want := map[int]string{}
	for i, e := range f.entries {
		want[i] = fmt.Sprintf("%+v", e.row(0, ""))
	}
	for i, e := range p.entries {
		if got := fmt.Sprintf("%+v", e.row(0, "")); got != want[i] {
			t.Fatalf("row %d: got %s\nwant %s", i, got, want[i])
		}
		delete(want, i)
	}
	if len(want) != 0 {
		t.Fatalf("got no rows %v", want)
	}
}

func TestAFullFoldCountsMoreCoarselyAndStaysBounded(t *testing.T) {
	t.Parallel()
	p := policy(t, "tracker.example\n")
	const limit, n = 256 << 10, 60_000
	for _, c := range []struct {
		name    string
		lookup  func(i int) Record
		bounded bool
	}{
		{"one device, ever new names below a listed one", func(i int) Record {
			return lookup(t, p, time.Now(), phone(1), fmt.Sprintf("n%d.tracker.example", i))
		}, true},
		{"one device, ever new unlisted names", func(i int) Record {
			return lookup(t, p, time.Now(), phone(1), fmt.Sprintf("n%d.example", i))
		}, true},
		{"ever new addresses", func(i int) Record {
			r := lookup(t, p, time.Now(), nil, "tracker.example")
			r.Client = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			return r
		}, true},
		{"known addresses, when there is no room for more", func(i int) Record {
			name := "tracker.example"
			if i >= 1200 {
				name = fmt.Sprintf("n%d.example", i)
			}
			r := lookup(t, p, time.Now(), nil, name)
			r.Client = netip.AddrFrom4([4]byte{10, 0, byte(i % 1200 >> 8), byte(i % 1200)})
			return r
		}, true},
		{"ever new rules", func(i int) Record {
			r := lookup(t, p, time.Now(), phone(1), fmt.Sprintf("n%d.tracker.example", i))
			r.Verdict.Rule = blocklists.RuleID(i + 1)
			return r
		}, true},
	} {
		f := newFold(time.Now())
		listed := uint64(0)
		for i := range n {
			r := c.lookup(i)
			if r.Verdict.Listed() {
				listed++
			}
			f.add(&r, r.Time.UnixMilli(), byName, limit)
		}
		var count, countListed uint64
		for i := range f.rows {
			k := f.keyOf(&f.rows[i])
			v := blocklists.Verdict{Action: blocklists.Action(k[16] >> 4), Level: blocklists.Level(k[16] & 15)}
			count += f.rows[i].count
			if granularity(k[19]) == byNobody && binary.LittleEndian.Uint32(k) != 0 {
				t.Errorf("%s: a row of all devices together is of the %dth", c.name, binary.LittleEndian.Uint32(k))
			}
			if v.Listed() {
				countListed += f.rows[i].count
			}
		}
		if count != n || countListed != listed {
			t.Errorf("%s: got %d lookups, %d of them listed, want %d and %d", c.name, count, countListed, n, listed)
		}
		if got := f.memory(); got > limit+64<<10 {
			t.Errorf("%s: got %d bytes, want about %d", c.name, got, limit)
		}
		if f.coarse == 0 {
			t.Errorf("%s: nothing was folded", c.name)
		}
	}
}

// The limit falls while a window is open, below what its names take: lookups go to a
// row of their rule all the same, not to one of their device or of nobody.
func TestALimitThatFallsLeavesRoomForRules(t *testing.T) {
	const limit = 64 << 10
	p := policy(t, "tracker.example\n")
	f := newFold(time.Now())
	for i := range 2000 {
		now := limit
		if f.memory() >= limit/2 {
			now = limit / 4
		}
		r := lookup(t, p, time.Now(), phone(1), fmt.Sprintf("n%d.tracker.example", i))
		at := f.add(&r, r.Time.UnixMilli(), byName, now)
		if g := granularity(f.keyOf(&f.rows[at])[19]); g > byRule {
			t.Fatalf("lookup %d is in a row of granularity %d, want %d at most", i, g, byRule)
		}
	}
	if f.coarse == 0 || f.memory() > limit {
		t.Errorf("%d lookups in coarser rows, %d bytes; want some, and %d at most", f.coarse, f.memory(), limit)
	}
}

func TestFoldedLookupsAreInTheLedger(t *testing.T) {
	p := policy(t, "tracker.example\n")
	synctest.Test(t, func(t *testing.T) { // in no time: the window does not end meanwhile
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, MaxMemory: 64 << 10})
		for i := range 2000 {
			l.Append([]Record{lookup(t, p, time.Now(), phone(1), fmt.Sprintf("n%d.tracker.example", i))})
		}
		closeLog(t, l)
		var count, folded uint64
		for _, r := range rows(t, dir, Filter{Verdict: "block"}) {
			count += r.Count
			if r.Folded {
				folded += r.Count
				if r.Name != "" || r.List != "ads" || r.Rule != "tracker.example" {
					t.Errorf("got %+v, want a row of the rule without a name", r)
				}
			}
		}
		if count != 2000 || folded == 0 || folded != l.Stats().Folded {
			t.Errorf("got %d lookups, %d folded; Stats say %d", count, folded, l.Stats().Folded)
		}
		if got := kinds(events(t, dir)); got != "start stop folded" {
			t.Errorf("got ledger %q, want a line that lookups were folded", got)
		}
	})
}

// TestManyNewAddressesCostOnePass resolves as many clients at once as a flood of
// made-up addresses brings. The work is linear: ten times as many clients take
// about ten times as long, and not a hundred times.
func TestManyNewAddressesCostOnePass(t *testing.T) {
	work := func(n int) time.Duration {
		f := newFold(time.Now())
		bindings := make([]*devices.Binding, n)
		for i := range n {
			r := lookup(t, nil, time.Now(), nil, "x.example")
			r.Client = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			f.add(&r, r.Time.UnixMilli(), byName, 1<<30)
			bindings[i] = &devices.Binding{ID: uint64(1 + i/2), Addr: r.Client}
		}
		slots := f.unresolved
		begun := threadTime()
		f.resolve(slots, bindings, 0)
		return threadTime() - begun
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	few, many := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for range 5 { // the best of five: others use the machine too
		few, many = min(few, work(2_000)), min(many, work(20_000))
	}
	if many > 40*few {
		t.Errorf("got %v for 2,000 clients and %v for 20,000, want about ten times as much", few, many)
	}
}

// TestReleasedPoliciesLeaveTheirTexts changes the lists ever again while the
// window cannot be closed: rows keep their rules, and the fold none of the
// policies but the newest.
func TestReleasedPoliciesLeaveTheirTexts(t *testing.T) {
	f := newFold(time.Now())
	var want []string
	var policies []*blocklists.Policy
	for i := range 10 {
		policies = append(policies, policy(t, fmt.Sprintf("#@ vendor=V%d purpose=analytics source=s\n%stracker.example\n||ads.example^\n", i, strings.Repeat("\n", i))))
	}
	for i := range 300 { // one that comes back is another to the fold
		p := policies[i%10]
		for _, name := range []string{"tracker.example", "a.ads.example"} {
			r := lookup(t, p, time.Now(), phone(1), name)
			f.add(&r, r.Time.UnixMilli(), byName, 1<<30)
			v := p.Rule(r.Verdict.Rule)
			want = append(want, fmt.Sprintf("%s:%d %s V%d", v.List, v.Line, v.Text, i%10))
		}
		f.release(f.textsOf(f.closePolicies(false)))
	}
	if got := f.held(); got != 1 {
		t.Errorf("got %d policies held, want the newest alone", got)
	}
	i := 0
	for _, e := range f.entries {
		if got := fmt.Sprintf("%s:%d %s %s", e.Rule.List, e.Rule.Line, e.Rule.Text, e.Annotation.Vendor); got != want[i] {
			t.Errorf("row %d: got %s, want %s", i, got, want[i])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("got %d rows, want %d", i, len(want))
	}
	if f.released == 0 {
		t.Error("the texts that are kept do not count towards the fold's memory")
	}
}

// TestReleasedPoliciesLeaveTheNamesOfLists does so with what is said of a whole list.
func TestReleasedPoliciesLeaveTheNamesOfLists(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ads.txt"), []byte("tracker.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := blocklists.OpenReadOnly(blocklists.Options{Dir: dir, Lists: []blocklists.ListSettings{{Name: "ads", Annotation: &format.Annotation{Vendor: "Acme"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r := lookup(t, store.Current(), time.Now(), phone(1), "tracker.example")
	if r.Verdict.Level != blocklists.ByList {
		t.Fatalf("attributed by %v, want by its list", r.Verdict.Level)
	}
	f := newFold(time.Now())
	f.add(&r, r.Time.UnixMilli(), byName, 1<<30)
	f.release(f.textsOf(f.closePolicies(true)))
	if got := f.held(); got != 0 {
		t.Fatalf("got %d policies held, want none", got)
	}
	for _, e := range f.entries {
		if e.Attr.List != "ads" || e.Annotation == nil || e.Annotation.Vendor != "Acme" {
			t.Errorf("got attribution %+v, %+v, want Acme by the list ads", e.Attr, e.Annotation)
		}
	}
}

// TestAnAllowThatOverrodeABlockIsListed: an exception that spared a name from a
// block is of a listed name, one that nothing would have blocked is not.
func TestAnAllowThatOverrodeABlockIsListed(t *testing.T) {
	p := policy(t, "blocked.example\n@@spared.blocked.example\n@@harmless.example\n")
	f := foldOf([]Record{lookup(t, p, time.Now(), phone(1), "spared.blocked.example"), lookup(t, p, time.Now(), phone(1), "harmless.example")})
	var got []bool
	for _, e := range f.entries {
		got = append(got, e.listed())
	}
	if fmt.Sprint(got) != "[true false]" {
		t.Errorf("got listed %v, want only the one that overrode a block", got)
	}
}
