package resolver

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// A turning is an upstream that handles queries in one way until it is told to handle
// them in another.
type turning struct {
	now atomic.Pointer[dns.HandlerFunc]
}

func (u *turning) set(h dns.HandlerFunc) { u.now.Store(&h) }
func (u *turning) handle(w dns.ResponseWriter, q *dns.Msg) {
	(*u.now.Load())(w, q)
}

// A staleBench is a server whose upstream changes, with a clock that can be put on.
type staleBench struct {
	t        *testing.T
	s        *Server
	up       *dnstest.Upstream
	way      turning
	ahead    atomic.Int64
	recorded *recorder
	rows     int
}

func newStaleBench(t *testing.T, o Options, zoneText string) *staleBench {
	t.Helper()
	b := &staleBench{t: t}
	b.way.set(zone(t, zoneText))
	b.up = dnstest.Start(t, b.way.handle)
	if o.Settings.Stale == 0 {
		o.Settings.Stale = time.Hour
	}
	if o.stalePatience == 0 {
		o.stalePatience = time.Minute // what is silent needs less
	}
	o.Now = func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }
	o.Upstreams.Now = time.Now // they wait by it
	b.s, b.recorded = startServer(t, o, b.up)
	return b
}

// ask asks, and checks where the log says that the answer is from.
func (b *staleBench) ask(name string, typ uint16, want querylog.Source, change ...func(*dns.Msg)) *dns.Msg {
	b.t.Helper()
	r := ask(b.t, b.s, "udp", name, typ, change...)
	b.rows++
	if row := b.recorded.last(b.t, b.rows); row.Source != want {
		b.t.Errorf("%s: logged from %v, want %v", name, row.Source, want)
	} else if want == querylog.FromStale && row.TTL != 30 {
		b.t.Errorf("%s: logged with a TTL of %d, want the 30 that was served", name, row.TTL)
	}
	return r
}

// checkStale checks that r is stale, and says so.
func (b *staleBench) checkStale(r *dns.Msg, want string, code uint16) {
	b.t.Helper()
	if got, _, _ := ede(r); data(r) != want || got != code {
		b.t.Errorf("%q with EDE %d, want %q with %d", data(r), got, want, code)
	}
	for _, rr := range append(r.Answer, r.Ns...) {
		if rr.Header().Ttl != 30 {
			b.t.Errorf("a TTL that is not 30: %v", rr)
		}
	}
}

const staleZone = "www.example. 60 IN A 192.0.2.1\nalias.example. 60 IN CNAME www.example.\n"

// Who waits for an upstream that is silent is answered with what it said last; the
// question goes on, and its answer is kept.
func TestStaleAfterSomeTimeWithoutAnAnswer(t *testing.T) {
	dnstest.CheckLeaks(t)
	b := newStaleBench(t, Options{stalePatience: 50 * time.Millisecond}, staleZone)
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.ahead.Store(int64(61 * time.Second))
	release := make(chan struct{})
	b.way.set(func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		dnstest.AnswerA("192.0.2.2")(w, q)
	})
	b.checkStale(b.ask("www.example.", dns.TypeA, querylog.FromStale), "A 192.0.2.1", 3)
	for range 3 { // at once, and without asking again
		b.checkStale(b.ask("www.example.", dns.TypeA, querylog.FromStale), "A 192.0.2.1", 3)
	}
	if n := b.s.flights.count(); n != 0 {
		t.Errorf("%d queries wait", n)
	}
	close(release)
	dnstest.WaitFor(t, func() bool { return data(ask(t, b.s, "udp", "www.example.", dns.TypeA)) == "A 192.0.2.2" }, says("the late answer is served"))
	if got := b.s.Stats().Stale; got < 4 {
		t.Errorf("%d stale answers counted, want the 4 and those until the late one came", got)
	}
}

// An upstream that fails gives no answer, whatever way it does.
func TestStaleInPlaceOfAFailure(t *testing.T) {
	for name, way := range map[string]dns.HandlerFunc{
		"SERVFAIL": dnstest.AnswerRcode(dns.RcodeServerFailure), "REFUSED": dnstest.AnswerRcode(dns.RcodeRefused),
		"NOTAUTH": dnstest.AnswerRcode(dns.RcodeNotAuth),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newStaleBench(t, Options{}, staleZone)
			b.up.SetProbes(dnstest.AnswerRcode(dns.RcodeNameError)) // it is up
			b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
			b.ask("nothing.example.", dns.TypeA, querylog.FromUpstream)
			b.ahead.Store(int64(10 * time.Minute))
			b.way.set(way)
			b.checkStale(b.ask("www.example.", dns.TypeA, querylog.FromStale), "A 192.0.2.1", 3)
			asked := b.up.Asked.Load()
			b.checkStale(b.ask("www.example.", dns.TypeA, querylog.FromStale), "A 192.0.2.1", 3)
			if got := b.up.Asked.Load(); got != asked {
				t.Errorf("asked again %d times within 30 s", got-asked)
			}
			b.ahead.Add(int64(31 * time.Second))
			b.ask("www.example.", dns.TypeA, querylog.FromStale)
			if b.up.Asked.Load() == asked {
				t.Error("not asked again after 30 s")
			}
			b.way.set(dnstest.AnswerA("192.0.2.9"))
			b.ask("www.example.", dns.TypeA, querylog.FromStale)
			b.s.epoch.Add(1) // an upstream has come up
			if r := b.ask("www.example.", dns.TypeA, querylog.FromUpstream); data(r) != "A 192.0.2.9" {
				t.Errorf("%v", r)
			}
		})
	}
}

func TestStaleNegativeAnswers(t *testing.T) {
	b := newStaleBench(t, Options{}, staleZone)
	b.way.set(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Name == "nothing.example." {
			m.Rcode = dns.RcodeNameError
		}
		soa, _ := dns.NewRR("example. 60 IN SOA ns.example. host.example. 1 2 3 4 60")
		m.Ns = append(m.Ns, soa)
		w.WriteMsg(m)
	})
	b.ask("nothing.example.", dns.TypeA, querylog.FromUpstream)
	b.ask("www.example.", dns.TypeAAAA, querylog.FromUpstream)
	b.ahead.Store(int64(10 * time.Minute))
	b.way.set(dnstest.AnswerRcode(dns.RcodeServerFailure))
	if r := b.ask("nothing.example.", dns.TypeA, querylog.FromStale); r.Rcode != dns.RcodeNameError {
		t.Errorf("%v", r)
	} else {
		b.checkStale(r, "", 19)
	}
	if r := b.ask("nothing.example.", dns.TypeMX, querylog.FromStale); r.Rcode != dns.RcodeNameError { // it is of all types
		t.Errorf("%v", r)
	}
	if r := b.ask("www.example.", dns.TypeAAAA, querylog.FromStale); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%v", r)
	} else {
		b.checkStale(r, "", 3)
	}
}

// What lists say today counts, for aliases as for names, also after the wait.
func TestStaleIsNeverWhatAListBlocks(t *testing.T) {
	var rules atomic.Pointer[blocklists.Policy]
	b := newStaleBench(t, Options{Policy: rules.Load, stalePatience: 50 * time.Millisecond}, staleZone)
	b.ask("alias.example.", dns.TypeA, querylog.FromUpstream)
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.ahead.Store(int64(10 * time.Minute))
	b.way.set(dnstest.Silence)
	b.ask("alias.example.", dns.TypeA, querylog.FromStale)
	rules.Store(openLists(t, blocklists.Options{}, map[string]string{"ads.txt": "www.example\n"}))
	for _, name := range []string{"alias.example.", "www.example."} {
		if r := b.ask(name, dns.TypeA, querylog.FromPolicy); data(r) != "A 0.0.0.0" {
			t.Errorf("%s: %v", name, r)
		}
	}
	b.ahead.Add(int64(time.Minute)) // not at once, but after another wait
	if r := b.ask("alias.example.", dns.TypeA, querylog.FromPolicy); data(r) != "A 0.0.0.0" {
		t.Errorf("%v", r)
	}
}

func TestWhatIsTooOldIsNotServed(t *testing.T) {
	for _, test := range []struct {
		stale, after time.Duration
		want         querylog.Source
	}{
		{time.Hour, 59 * time.Minute, querylog.FromStale},
		{time.Hour, 62 * time.Minute, querylog.FromError},
		{-1, 61 * time.Second, querylog.FromError}, // none is served
	} {
		t.Run(fmt.Sprint(test.stale, test.after), func(t *testing.T) {
			t.Parallel()
			patience := 400 * time.Millisecond
			b := newStaleBench(t, Options{
				Settings: Settings{Stale: test.stale}, stalePatience: patience,
				Upstreams: upstream.Options{Patience: patience, Budget: 4 * time.Second},
			}, staleZone)
			b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
			b.ahead.Store(int64(test.after))
			b.way.set(dnstest.Silence)
			b.ask("www.example.", dns.TypeA, test.want)
		})
	}
}

// A validator's verdict is the answer: what was there before it is not served.
func TestVerdictOfAValidatorIsNotStale(t *testing.T) {
	b := newStaleBench(t, Options{}, staleZone)
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.ahead.Store(int64(61 * time.Second))
	b.way.set(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure).SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus}}
		w.WriteMsg(m)
	})
	for _, from := range []querylog.Source{querylog.FromUpstream, querylog.FromCache} {
		if r := b.ask("www.example.", dns.TypeA, from); r.Rcode != dns.RcodeServerFailure {
			t.Errorf("%v", r)
		}
	}
}

// What one with DO asked for serves who does not, also when it is stale.
func TestStaleWithoutTheSignaturesOfAnother(t *testing.T) {
	b := newStaleBench(t, Options{}, staleZone)
	do := func(m *dns.Msg) { m.IsEdns0().SetDo() }
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream, do)
	b.ahead.Store(int64(61 * time.Second))
	b.way.set(dnstest.AnswerRcode(dns.RcodeServerFailure))
	b.checkStale(b.ask("www.example.", dns.TypeA, querylog.FromStale), "A 192.0.2.1", 3)
	b.checkStale(b.ask("www.example.", dns.TypeA, querylog.FromStale, do), "A 192.0.2.1", 3)
}

// With no upstream that is up, what is cached is served at once.
func TestStaleAtOnceWhereAllAreDown(t *testing.T) {
	b := newStaleBench(t, Options{Upstreams: upstream.Options{Patience: 50 * time.Millisecond, Budget: 2 * time.Second}}, staleZone)
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.ahead.Store(int64(61 * time.Second))
	b.way.set(dnstest.Silence)
	b.up.SetProbes(dnstest.Silence)
	dnstest.WaitFor(t, func() bool {
		b.rows++
		_, text, _ := ede(ask(t, b.s, "udp", strings.Repeat("x", b.rows)+".example.", dns.TypeA))
		return strings.Contains(text, "all upstreams are down")
	}, says("down"))
	b.recorded.last(t, b.rows) // those of lookups that failed may come after their replies
	b.checkStale(b.ask("www.example.", dns.TypeA, querylog.FromStale), "A 192.0.2.1", 3)
}

// A query for which there is no room to wait is answered from what is stale, if it can be.
func TestStaleInsteadOfShedding(t *testing.T) {
	b := newStaleBench(t, Options{Waiting: 1}, staleZone)
	b.ask("www.example.", dns.TypeA, querylog.FromUpstream)
	b.ahead.Store(int64(61 * time.Second))
	release := make(chan struct{})
	b.way.set(func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		dnstest.AnswerA("192.0.2.2")(w, q)
	})
	waiting := make(chan *dns.Msg)
	go func() { waiting <- ask(t, b.s, "udp", "other.example.", dns.TypeA) }()
	dnstest.WaitFor(t, func() bool { return b.s.flights.count() == 1 }, says("another waits"))
	b.checkStale(b.ask("www.example.", dns.TypeA, querylog.FromStale), "A 192.0.2.1", 3)
	if n := b.s.Stats().Shed; n != 0 {
		t.Errorf("%d were shed", n)
	}
	close(release)
	<-waiting
}

// Where a rule leads to a name that is stale, the reply says so.
func TestStaleAtTheEndOfARulesAlias(t *testing.T) {
	b := newStaleBench(t, Options{Policy: withPolicy(openLists(t, blocklists.Options{}, map[string]string{"own.txt": "||search.example^$dnsrewrite=www.example\n"}))}, staleZone)
	b.ask("search.example.", dns.TypeA, querylog.FromPolicy)
	b.ahead.Store(int64(61 * time.Second))
	b.way.set(dnstest.AnswerRcode(dns.RcodeServerFailure))
	r := b.ask("search.example.", dns.TypeA, querylog.FromPolicy)
	if code, _, _ := ede(r); code != 3 || len(r.Answer) != 2 || r.Answer[1].Header().Ttl != 30 {
		t.Errorf("%v", r)
	}
}
