package resolver

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/clock"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/dnstest"
)

// A keepBench is a server that keeps its answers in a file, and can be stopped and
// started again, on a machine of which the clocks are the test's.
type keepBench struct {
	t     *testing.T
	up    *dnstest.Upstream
	path  string
	clock atomic.Pointer[clock.Reading]
	said  lockedText
	s     *Server
	rows  *recorder
	n     int
}

// A lockedText takes what a server says.
type lockedText struct {
	text atomic.Pointer[string]
}

func (l *lockedText) Write(p []byte) (int, error) {
	for {
		was := l.text.Load()
		now := string(p)
		if was != nil {
			now = *was + now
		}
		if l.text.CompareAndSwap(was, &now) {
			return len(p), nil
		}
	}
}

func (l *lockedText) String() string {
	if s := l.text.Load(); s != nil {
		return *s
	}
	return ""
}

const keptZone = `www.example. 3600 IN A 192.0.2.1
alias.example. 3600 IN CNAME www.example.
short.example. 60 IN A 192.0.2.2
`

func newKeepBench(t *testing.T) *keepBench {
	b := &keepBench{t: t, up: dnstest.Start(t, zone(t, keptZone)), path: filepath.Join(t.TempDir(), "answers")}
	b.clock.Store(&clock.Reading{Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Boot: "first", SinceBoot: time.Hour, Synchronised: true})
	return b
}

func (b *keepBench) start(ups ...*dnstest.Upstream) {
	if ups == nil {
		ups = []*dnstest.Upstream{b.up}
	}
	b.s, b.rows = startServer(b.t, Options{
		Keep: b.path, clocks: func() clock.Reading { return *b.clock.Load() }, keptRetry: 10 * time.Millisecond, Settings: Settings{Stale: 24 * time.Hour},
		Logger: slog.New(slog.NewTextHandler(&b.said, nil)),
	}, ups...)
	b.n = 0
}

func (b *keepBench) ask(name string, typ uint16, want querylog.Source, change ...func(*dns.Msg)) *dns.Msg {
	b.t.Helper()
	r := ask(b.t, b.s, "udp", name, typ, change...)
	b.n++
	if row := b.rows.last(b.t, b.n); row.Source != want {
		b.t.Errorf("%s: from %v, want %v", name, row.Source, want)
	}
	return r
}

// settled waits until it is clear what becomes of the file.
func (b *keepBench) settled() Kept {
	b.t.Helper()
	dnstest.WaitFor(b.t, func() bool { k, _ := b.s.Kept(); return k.Restored > 0 || k.Unused != "" }, says("the file is used, or not"))
	k, _ := b.s.Kept()
	return k
}

// Answers are there after a restart, with the time that has gone by taken off, however
// long the stop was.
func TestAnswersAreKeptOverARestart(t *testing.T) {
	dnstest.CheckLeaks(t)
	b := newKeepBench(t)
	b.start()
	do := func(m *dns.Msg) { m.IsEdns0().SetDo() }
	for name, typ := range map[string]uint16{"www.example.": dns.TypeA, "alias.example.": dns.TypeA, "short.example.": dns.TypeA, "none.example.": dns.TypeMX} {
		b.ask(name, typ, querylog.FromUpstream)
	}
	b.ask("www.example.", dns.TypeAAAA, querylog.FromUpstream)
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream, do)
	b.s.Close()
	if info, err := os.Stat(b.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	now := *b.clock.Load()
	for _, test := range []struct {
		name  string
		now   clock.Reading
		least uint32 // of the TTL of www.example
		most  uint32
		short querylog.Source
	}{
		{"at once", now, 3500, 3600, querylog.FromCache},
		{"half an hour later, the clock set back meanwhile", clock.Reading{Wall: now.Wall.AddDate(-1, 0, 0), Boot: "first", SinceBoot: now.SinceBoot + 30*time.Minute}, 1700, 1800, querylog.FromUpstream},
		{"after the machine was started anew", clock.Reading{Wall: now.Wall.Add(50 * time.Minute), Boot: "second", SinceBoot: time.Minute, Synchronised: true}, 500, 600, querylog.FromUpstream},
	} {
		kept, err := os.ReadFile(b.path)
		if err != nil {
			t.Fatal(err)
		}
		b.clock.Store(&test.now)
		b.start()
		if k := b.settled(); k.Restored != 6 || k.Unused != "" {
			t.Fatalf("%s: %+v", test.name, k)
		}
		r := b.ask("alias.example.", dns.TypeA, querylog.FromCache)
		if data(r) != "CNAME www.example., A 192.0.2.1" {
			t.Errorf("%s: %v", test.name, r)
		}
		if r = b.ask("www.example.", dns.TypeA, querylog.FromCache); r.Answer[0].Header().Ttl > test.most || r.Answer[0].Header().Ttl < test.least {
			t.Errorf("%s: %v", test.name, r)
		}
		b.ask("www.example.", dns.TypeA, querylog.FromCache, do)
		b.ask("short.example.", dns.TypeA, test.short)
		b.s.Close()
		if err := os.WriteFile(b.path, kept, 0o600); err != nil { // as the first wrote it
			t.Fatal(err)
		}
	}
	b.clock.Store(&clock.Reading{Wall: now.Wall.Add(3 * time.Hour), Boot: "first", SinceBoot: now.SinceBoot + 3*time.Hour})
	b.start()
	b.settled() // all is over by now, and stale where nobody answers
	if e := b.s.staleFor(questionOf(t, "www.example.", dns.TypeA)); e == nil || !e.Stale {
		t.Errorf("three hours later: %+v", e)
	}
}

func questionOf(t testing.TB, name string, typ uint16) *dnswire.Question {
	q := &dnswire.Question{Type: typ, Class: dnswire.ClassIN}
	if err := q.Name.Set(name); err != nil {
		t.Fatal(err)
	}
	return q
}

// A machine without a clock of its own: nothing is used until it is set.
func TestKeptAnswersWaitForTheClock(t *testing.T) {
	b := newKeepBench(t)
	b.start()
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.s.Close()
	was := *b.clock.Load()
	b.clock.Store(&clock.Reading{Wall: was.Wall.Add(time.Second), Boot: "second", SinceBoot: time.Minute})
	b.start()
	dnstest.WaitFor(t, func() bool { k, _ := b.s.Kept(); return k.Waiting != "" }, says("it waits"))
	b.s.Close() // what is there stays there
	b.start()
	dnstest.WaitFor(t, func() bool { k, _ := b.s.Kept(); return k.Waiting != "" }, says("it waits again"))
	b.clock.Store(&clock.Reading{Wall: was.Wall.Add(10 * time.Minute), Boot: "second", SinceBoot: 2 * time.Minute, Synchronised: true})
	if k := b.settled(); k.Restored != 1 || k.Age != 10*time.Minute {
		t.Fatalf("%+v", k)
	}
	if r := b.ask("www.example.", dns.TypeA, querylog.FromCache); r.Answer[0].Header().Ttl > 3000 {
		t.Errorf("%v", r)
	}
}

// A name that was asked for before the answers of before were in use, and for which nobody
// answered, has its answer from then on.
func TestKeptAnswersTakeThePlaceOfFailures(t *testing.T) {
	b := newKeepBench(t)
	var failing atomic.Bool
	answers := zone(t, keptZone)
	b.up = dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if failing.Load() {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
			return
		}
		answers(w, q)
	})
	b.start()
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.s.Close()
	was := *b.clock.Load()
	b.clock.Store(&clock.Reading{Wall: was.Wall.Add(time.Second), Boot: "second", SinceBoot: time.Minute})
	failing.Store(true)
	b.start()
	dnstest.WaitFor(t, func() bool { k, _ := b.s.Kept(); return k.Waiting != "" }, says("it waits"))
	if r := ask(t, b.s, "udp", "www.example.", dns.TypeA); r.Rcode != dns.RcodeServerFailure {
		t.Fatalf("%v", r)
	}
	b.clock.Store(&clock.Reading{Wall: was.Wall.Add(10 * time.Minute), Boot: "second", SinceBoot: 2 * time.Minute, Synchronised: true})
	dnstest.WaitFor(t, func() bool { k, _ := b.s.Kept(); return k.Waiting == "" }, says("the file is used"))
	if k, _ := b.s.Kept(); k.Restored != 1 {
		t.Errorf("%+v", k)
	}
	if r := ask(t, b.s, "udp", "www.example.", dns.TypeA); data(r) != "A 192.0.2.1" {
		t.Errorf("%v", r)
	}
}

// Answers of other upstreams are not used.
func TestKeptAnswersAreOfTheSameUpstreams(t *testing.T) {
	b := newKeepBench(t)
	b.start()
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.s.Close()
	other := dnstest.Start(t, dnstest.AnswerA("192.0.2.9"))
	b.start(other)
	dnstest.WaitFor(t, func() bool { k, _ := b.s.Kept(); return strings.Contains(k.Waiting, "other upstreams") }, says("it waits"))
	if r := b.ask("www.example.", dns.TypeA, querylog.FromUpstream); data(r) != "A 192.0.2.9" {
		t.Errorf("%v", r)
	}
}

// What is forgotten is forgotten in the file, too, also where that waits to be used.
func TestFlushForgetsWhatIsKept(t *testing.T) {
	b := newKeepBench(t)
	b.start()
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.ask("short.example.", dns.TypeA, querylog.FromUpstream)
	if n := b.s.FlushName(&questionOf(t, "www.example.", dns.TypeA).Name); n != 1 {
		t.Errorf("%d entries forgotten, want 1", n)
	}
	names := func() (names []string) {
		k, err := readKept(b.path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var sz dnswire.Sanitizer
		if err := k.each(func(a *keptAnswer) {
			q, _, _ := a.entry(&sz, time.Now())
			names = append(names, q.Name.String())
		}); err != nil {
			t.Fatal(err)
		}
		return names
	}
	if got := fmt.Sprint(names()); got != "[short.example.]" && got != "[short.example]" {
		t.Errorf("the file has %s", got)
	}
	b.s.Close()
	was := *b.clock.Load()
	b.clock.Store(&clock.Reading{Wall: was.Wall, Boot: "second", SinceBoot: time.Minute})
	b.start()
	dnstest.WaitFor(t, func() bool { k, _ := b.s.Kept(); return k.Waiting != "" }, says("it waits"))
	b.s.FlushCache()
	b.clock.Store(&clock.Reading{Wall: was.Wall.Add(time.Second), Boot: "second", SinceBoot: time.Hour, Synchronised: true})
	dnstest.WaitFor(t, func() bool { k, _ := b.s.Kept(); return k.Waiting == "" }, says("it waits no more"))
	if k, _ := b.s.Kept(); k.Restored != 0 || len(names()) != 0 {
		t.Errorf("%+v, and %v in the file", k, names())
	}
}

// A damaged file is not used, and that is said; the next one is good again.
func TestDamagedFileOfAnswers(t *testing.T) {
	b := newKeepBench(t)
	b.start()
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.s.Close()
	good, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	resealed := func(text []byte) []byte {
		sum := sha256.Sum256(text)
		return append(slices.Clone(text), sum[:]...)
	}
	for name, text := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-1], "longer": append(slices.Clone(good), 0), "another file": []byte(strings.Repeat("nothing of ours\n", 100)),
		"another version": resealed([]byte("telltale answers 1\n")), "a head alone": resealed([]byte(keptMagic)),
		"no end": resealed(good[:len(good)-sha256.Size-1]), "too long": bytes.Repeat([]byte{0}, 1<<21),
	} {
		b.said.text.Store(nil)
		if err := os.WriteFile(b.path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		b.s, b.rows = startServer(t, Options{Keep: b.path, CacheSize: 1 << 20, clocks: func() clock.Reading { return *b.clock.Load() }, Logger: slog.New(slog.NewTextHandler(&b.said, nil))}, b.up)
		b.n = 0
		dnstest.WaitFor(t, func() bool { k, _ := b.s.Kept(); return k.Unused != "" }, says("it is not used"))
		if !strings.Contains(b.said.String(), "are not used") || !strings.Contains(b.said.String(), b.path) {
			t.Errorf("%s: said %q", name, b.said.String())
		}
		b.ask("short.example.", dns.TypeA, querylog.FromUpstream)
		b.s.Close()
		if k, err := readKept(b.path, 1<<20); err != nil || len(k.answers) < 20 {
			t.Errorf("%s: what it wrote is no good: %v", name, err)
		}
	}
}

// Every octet of a file that is another is found out.
func TestEveryDamageOfAFileIsSeen(t *testing.T) {
	b := newKeepBench(t)
	b.start()
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.s.Close()
	good, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if err := os.WriteFile(b.path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readKept(b.path, 1<<20); err == nil {
			t.Fatalf("octet %d of %d", i, len(good))
		}
	}
}

// The machine sleeps while the server runs.
func TestSleepEndsAnswers(t *testing.T) {
	var slept atomic.Int64
	up := dnstest.Start(t, zone(t, keptZone))
	s, _ := startServer(t, Options{slept: func() time.Duration { return time.Duration(slept.Load()) }}, up)
	ask(t, s, "udp", "www.example.", dns.TypeA)
	if r := ask(t, s, "udp", "www.example.", dns.TypeA); r.Answer[0].Header().Ttl < 3000 {
		t.Errorf("%v", r)
	}
	slept.Store(int64(50 * time.Minute))
	dnstest.WaitFor(t, func() bool { return ask(t, s, "udp", "www.example.", dns.TypeA).Answer[0].Header().Ttl <= 600 }, says("older by the sleep"))
	slept.Store(int64(61 * time.Minute))
	dnstest.WaitFor(t, func() bool { return ask(t, s, "udp", "www.example.", dns.TypeA).Answer[0].Header().Ttl > 3000 }, says("asked for anew"))
}

// What a file says can be served, whatever it says, or is not taken.
func FuzzKeptAnswers(f *testing.F) {
	h := newHarness(f, Options{})
	h.teach("www.example.", dns.TypeA, "www.example. 300 IN CNAME a.example.\na.example. 300 IN A 192.0.2.1", true)
	h.teach("none.example.", dns.TypeMX, "--\nexample. 300 IN SOA ns.example. host.example. 1 2 3 4 60", false, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError })
	h.teach("www.example.", dns.TypeHTTPS, `www.example. 300 IN HTTPS 1 . ipv4hint="192.0.2.1"`, false)
	var b []byte
	h.s.cache.Items(nil, h.now, func(it *cache.Item) bool {
		b = append(b, appendKept(nil, it, 0)...)
		return true
	})
	f.Add(b)
	f.Add(append(b, keptEnd))
	f.Add([]byte{keptEnd})
	head := append([]byte(keptMagic), make([]byte, 8+8+1)...)
	head = append(append(head, 0), make([]byte, sha256.Size)...)
	f.Add(append(head, b...))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := parseKept(text)
		if err != nil {
			k = &keptFile{answers: text}
		}
		c := cache.New(1<<20, new(atomic.Uint32))
		c.SetStale(time.Hour)
		var sz dnswire.Sanitizer
		now := time.Now()
		k.each(func(a *keptAnswer) {
			q, e, ok := a.entry(&sz, now.Add(-min(a.age, maxKeptAge)))
			if !ok {
				return
			}
			c.Put(&q, e)
			if got := c.GetStale(&q, now); got != nil {
				for range got.Addresses {
				}
				dnswire.AppendStored(nil, &q, &got.Stored, 7, nil)
			}
		})
		c.Items(nil, now, func(it *cache.Item) bool {
			_ = fmt.Sprint(it.Question.Name.String(), it.State)
			return true
		})
	})
}

// Of a file of answers, those are left that are too old, of the future, or of the servers of a place that there
// is not.
func TestKeptAnswersBeyondWhatCanBeAreLeft(t *testing.T) {
	first := newHarness(t, Options{})
	first.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.1", true)
	var answer []byte
	first.s.cache.Items(nil, first.now, func(it *cache.Item) bool {
		answer = append(appendKept(nil, it, 0), keptEnd)
		return false
	})
	for name, c := range map[string]struct {
		place byte
		age   time.Duration
		down  time.Duration
		want  int
	}{
		"as it was":            {0, 0, 0, 1},
		"the oldest":           {0, time.Hour, maxKeptAge - time.Hour, 1},
		"older":                {0, time.Hour, maxKeptAge - time.Hour + time.Millisecond, 0},
		"much older":           {0, 1 << 62, 0, 0},
		"older than can be":    {0, 1 << 62, 1 << 62, 0},
		"of the future":        {0, 0, -time.Second, 0},
		"of a place":           {1, 0, 0, 0},
		"of the last place":    {255, 0, 0, 0},
		"old and of a place":   {1, time.Hour, maxKeptAge, 0},
		"to come and of place": {1, 0, -time.Second, 0},
	} {
		b := bytes.Clone(answer)
		b[1] = c.place
		binary.LittleEndian.PutUint64(b[2:], uint64(c.age/time.Millisecond))
		if n, err := newHarness(t, Options{}).s.restore(&keptFile{answers: b}, c.down); n != c.want || err != nil {
			t.Errorf("%s: %d are taken, %v, want %d", name, n, err, c.want)
		}
	}
}
