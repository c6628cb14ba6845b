package upstream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// waitForLetters waits until a probe has shown that the first upstream repeats letters.
func waitForLetters(t testing.TB, u *Client) {
	t.Helper()
	m := u.set.Load().all[0]
	dnstest.WaitFor(t, func() bool { return m.letters.areUsed(time.Now()) }, func() string { return "no probe has shown that letters are repeated" })
}

// namesHeard are the names as an upstream was asked for them.
type namesHeard struct {
	mu    sync.Mutex
	names []string
}

func (h *namesHeard) add(q *dns.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names = append(h.names, q.Question[0].Name)
}

func (h *namesHeard) last() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.names[len(h.names)-1]
}

func TestWhoRepeatsLettersIsAskedInRandomCase(t *testing.T) {
	dnstest.CheckLeaks(t)
	var heard namesHeard
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		heard.add(q)
		m := new(dns.Msg).SetReply(q)
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: []byte{192, 0, 2, 1}})
		m.Compress = strings.HasPrefix(q.Question[0].Name, "n1")
		w.WriteMsg(m)
	})
	up.Repeat.Store(true)
	a := newAsker(t, Options{}, up.Addr)
	waitForLetters(t, a.client)
	const names = 64
	for i := range names {
		a.ask(fmt.Sprintf("n%d.with-many-letters.example", i))
	}
	a.wait(names)
	heard.mu.Lock()
	capitals, letters := 0, 0
	for i, name := range heard.names {
		if want := strings.ToLower(name); !strings.HasPrefix(want, "n") || !strings.HasSuffix(want, ".with-many-letters.example.") {
			t.Errorf("the upstream was asked for %s", name)
		}
		for _, c := range name {
			if 'A' <= c && c <= 'Z' {
				capitals++
				letters++
			} else if 'a' <= c && c <= 'z' {
				letters++
			}
		}
		if i > 0 && heard.names[i-1][2:] == name[2:] && len(heard.names[i-1]) == len(name) {
			t.Errorf("asked twice in the same letters: %s", name)
		}
	}
	heard.mu.Unlock()
	if share := 100 * capitals / letters; share < 40 || share > 60 { // of 1,470 letters a half, give or take 1.3 %
		t.Errorf("%d %% of the letters are capitals", share)
	}
	a.mu.Lock()
	answers := len(a.answers)
	a.mu.Unlock()
	if answers != names || up.TCP.Load() != 0 {
		t.Errorf("%d answers and %d queries by TCP, want %d and none", answers, up.TCP.Load(), names)
	}
	answer, err := a.client.Exchange(t.Context(), questionOf(t, "alone.example", dnswire.TypeA), Start{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(answer.Wire, questionOf(t, "alone.example", dnswire.TypeA).Name.Wire()) {
		t.Errorf("an answer that is not in lower case: %q", answer.Wire)
	}
	answer.Release()
	if got := heard.last(); got == strings.ToLower(got) {
		t.Errorf("a query on a socket of its own went out as %s", got)
	}
	if got := a.client.Status()[0].Strays; got != 0 {
		t.Errorf("%d strays, want none", got)
	}
}

func TestAReplyWithOtherLettersIsAskedForByTCP(t *testing.T) {
	dnstest.CheckLeaks(t)
	for _, way := range []string{"a shared socket", "a socket of its own"} {
		t.Run(way, func(t *testing.T) {
			var heard namesHeard
			up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
				if w.LocalAddr().Network() == "tcp" {
					dnstest.AnswerA("192.0.2.1")(w, q)
					return
				}
				heard.add(q)
				q.Question[0].Name = strings.ToLower(q.Question[0].Name) // it is guessed
				dnstest.AnswerA("203.0.113.6")(w, q)
			})
			up.Repeat.Store(true)
			a := newAsker(t, Options{}, up.Addr)
			waitForLetters(t, a.client)
			const name = "many-letters-so-that-some-are-capitals.example"
			if way == "a shared socket" {
				a.ask(name)
				a.wait(1)
				a.mu.Lock()
				if len(a.fallback) != 1 || a.fallback[0].How != AskTCP {
					t.Errorf("answers %q, given to the fallback %+v; want to be asked by TCP", a.answers, a.fallback)
				}
				a.mu.Unlock()
			} else if got := lookupA(t, a.client, name); got != "NOERROR 192.0.2.1" {
				t.Errorf("got %s, want what came by TCP", got)
			}
			if got := heard.last(); got == strings.ToLower(got) {
				t.Errorf("asked for %s, want capitals", got)
			}
			if got := a.client.Status()[0].Strays; got != 1 {
				t.Errorf("%d strays, want 1", got)
			}
			if got := lookupA(t, a.client, name); got != "NOERROR 203.0.113.6" || heard.last() != name+"." {
				t.Errorf("then got %s for %s, want to ask in lower case", got, heard.last())
			}
			m := a.client.set.Load().all[0]
			if now := time.Now(); m.letters.areUsed(now.Add(rememberLetters-2*time.Second)) || !m.letters.areUsed(now.Add(rememberLetters+time.Second)) {
				t.Error("letters are not used again after ten minutes, or too soon")
			}
		})
	}
}

// A server that drops queries with capitals, but answers probes, is slow for a few names only.
func TestWhoDropsCapitalsIsSoonAskedInLowerCase(t *testing.T) {
	dnstest.CheckLeaks(t)
	for _, way := range []string{"a shared socket", "a socket of its own"} {
		t.Run(way, func(t *testing.T) {
			var heard namesHeard
			up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
				heard.add(q)
				if name := q.Question[0].Name; name == strings.ToLower(name) {
					dnstest.AnswerA("192.0.2.1")(w, q)
				}
			})
			up.Repeat.Store(true)
			a := newAsker(t, Options{Patience: 200 * time.Millisecond}, up.Addr)
			waitForLetters(t, a.client)
			for i := range mostIgnored + 1 {
				name := fmt.Sprintf("n%d.many-letters-so-that-some-are-capitals.example", i)
				var start Start
				if way == "a shared socket" {
					a.ask(name)
					a.wait(i + 1)
					a.mu.Lock()
					if i < len(a.fallback) {
						start = a.fallback[i]
					}
					a.mu.Unlock()
				}
				if way != "a shared socket" || start.Tried != nil {
					answer, err := a.client.Exchange(t.Context(), questionOf(t, name, dnswire.TypeA), start)
					if got := describe(t, answer, err); got != "NOERROR 192.0.2.1" {
						t.Errorf("%s: got %s", name, got)
					}
				}
				heard.mu.Lock()
				sendings := slices.DeleteFunc(slices.Clone(heard.names), func(s string) bool { return strings.ToLower(s) != name+"." })
				for k, got := range sendings {
					if got, want := got != strings.ToLower(got), k == 0 && i < mostIgnored; got != want {
						t.Errorf("sending %d of name %d has capitals: %v, want %v", k, i, got, want)
					}
				}
				heard.mu.Unlock()
			}
			if got := up.TCP.Load(); got != 0 {
				t.Errorf("%d queries by TCP, want none", got)
			}
			if m := a.client.set.Load().all[0]; !m.letters.repeated.Load() {
				t.Error("what the probe has shown is forgotten")
			}
		})
	}
}

// On a bad line queries get lost, in whatever case.
func TestLettersAreUsedOnWhereRepliesRepeatThemBetween(t *testing.T) {
	var l letters
	now := time.Now()
	l.repeated.Store(true)
	for range 3 {
		for range mostIgnored - 1 {
			l.ignored(now)
		}
		if !l.areUsed(now) {
			t.Fatal("letters are given up, and replies repeat them")
		}
		l.kept()
	}
	for range mostIgnored {
		l.ignored(now)
	}
	if l.areUsed(now) {
		t.Error("letters are used, and none of the queries that had them was answered")
	}
}

// A probe that is sent again is in lower case: its reply says nothing of letters.
func TestAReplyToAProbeInLowerCaseShowsNothing(t *testing.T) {
	m := &Upstream{health: &health{}, probing: true}
	q := questionOf(t, "abcdef.telltale-x.example", dnswire.TypeA)
	var b exchangeBuffer
	packet, asked := b.writeQuery(q, 1, modeFull, m)
	c := &conversation{member: m, letters: probeLetters, sent: make([]time.Time, 2)}
	for _, was := range []bool{true, false} {
		m.letters.repeated.Store(was)
		if got := c.repeatsLetters(packet, asked); !got || m.letters.repeated.Load() != was {
			t.Errorf("believed: %v; letters are repeated: %v, want %v as before", got, m.letters.repeated.Load(), was)
		}
	}
	m.letters.repeated.Store(true)
	if c.sent = c.sent[:1]; !c.repeatsLetters(packet, asked) || m.letters.repeated.Load() {
		t.Error("a reply in lower case to a query with capitals does not show that letters are not repeated")
	}
}

func TestWhoDoesNotRepeatLettersIsAskedInLowerCase(t *testing.T) {
	dnstest.CheckLeaks(t)
	var heard namesHeard
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		heard.add(q)
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	probed := make(chan struct{}, 64)
	up.SetProbes(func(w dns.ResponseWriter, q *dns.Msg) {
		dnstest.AnswerRcode(dns.RcodeNameError)(w, q)
		probed <- struct{}{}
	})
	u := startClient(t, Options{}, up.Addr)
	<-probed
	m := u.set.Load().all[0]
	dnstest.WaitFor(t, func() bool { return m.replies.Load() > 0 }, func() string { return "no probe was answered" })
	if got := lookupA(t, u, "many-letters.example"); got != "NOERROR 192.0.2.1" || heard.last() != "many-letters.example." {
		t.Errorf("got %s for %s", got, heard.last())
	}
}

// The first label of a probe shows how letters come back. The second stays as it is, as who
// reads a log knows probes by it.
func TestAProbeHasCapitalsInItsFirstLabel(t *testing.T) {
	dnstest.CheckLeaks(t)
	addr := dnstest.StartRaw(t, func([]byte, func([]byte)) {}, nil)
	u := startClient(t, Options{}, addr)
	for range 100 {
		_, q := u.probes.begin(u.set.Load().all[0].health)
		name := q.Name.Wire()
		first := name[:1+name[0]]
		mixLetters(first, probeLetters)
		if string(first) == strings.ToLower(string(first)) || !strings.HasPrefix(string(name[1+name[0]+1:]), probeLabel) {
			t.Errorf("%q", name)
		}
	}
}

func TestLettersAreThoseThatWereMixed(t *testing.T) {
	for range 2000 {
		var name dnswire.Name
		text := strings.Repeat("a", 1+rand.IntN(40)) + fmt.Sprintf("-%d.x_[`{@.example", rand.IntN(100))
		if err := name.Set(text); err != nil {
			t.Fatal(err)
		}
		lower, letters := name.Wire(), rand.Uint32()
		mixed := bytes.Clone(lower)
		mixLetters(mixed, letters)
		if !hasLetters(mixed, letters) || !isSameName(mixed, lower) {
			t.Fatalf("%q of %q", mixed, lower)
		}
		at := rand.IntN(len(mixed))
		if c := mixed[at] | 0x20; c < 'a' || c > 'z' || mixed[at] < 'A' {
			continue
		}
		if mixed[at] ^= 0x20; hasLetters(mixed, letters) {
			t.Fatalf("%q has the letters of %q", mixed, lower)
		}
	}
}
