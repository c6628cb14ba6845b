package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// quick is a pace for tests: many probes, no waiting.
var quick = pace{least: time.Millisecond, most: 5 * time.Millisecond, loop: 5 * time.Millisecond, poll: 5 * time.Millisecond, quiet: time.Millisecond}

// startClient starts upstreams of these servers, with a budget that a loaded machine
// cannot use up.
func startClient(t testing.TB, o Options, servers ...netip.AddrPort) *Client {
	t.Helper()
	for _, s := range servers {
		o.Servers = append(o.Servers, Server{Addr: s})
	}
	if o.Budget == 0 {
		o.Budget = 20 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.pace == (pace{}) {
		o.pace = quick
	}
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func questionOf(t testing.TB, name string, typ uint16) *dnswire.Question {
	t.Helper()
	q := &dnswire.Question{ID: 1, Type: typ, Class: dnswire.ClassIN, RD: true}
	if err := q.Name.Set(name); err != nil {
		t.Fatal(err)
	}
	return q
}

// lookup asks for the A records of name and returns what came, as text.
func lookupA(t testing.TB, u *Client, name string) string {
	t.Helper()
	a, err := u.Exchange(t.Context(), questionOf(t, name, dnswire.TypeA), Start{})
	return describe(t, a, err)
}

func describe(t testing.TB, a Answer, err error) string {
	t.Helper()
	if err != nil {
		return "error: " + err.Error()
	}
	defer a.Release()
	var m dns.Msg
	if err := m.Unpack(a.Wire); err != nil {
		t.Fatalf("answer does not unpack: %v", err)
	}
	text := dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		text += " " + rr.(*dns.A).A.String()
	}
	return text
}

// waitState waits until an upstream is in a state.
func waitState(t testing.TB, u *Client, addr netip.AddrPort, want State) Status {
	t.Helper()
	var last Status
	dnstest.WaitFor(t, func() bool {
		for _, s := range u.Status() {
			if s.Addr == addr {
				last = s
			}
		}
		return last.State == want
	}, func() string { return fmt.Sprintf("upstream %v is %+v, want %v", addr, last, want) })
	return last
}

func TestChoiceOfUpstream(t *testing.T) {
	withEDE := func(code uint16) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: code})
			w.WriteMsg(m)
		}
	}
	referral := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Ns = append(m.Ns, &dns.NS{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: "ns.example."})
		w.WriteMsg(m)
	}
	cutTCP := func(w dns.ResponseWriter, q *dns.Msg) {
		if w.LocalAddr().Network() == "tcp" {
			w.Close()
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.Truncated = true
		w.WriteMsg(m)
	}
	for _, test := range []struct {
		name          string
		first, second dns.HandlerFunc
		want          string
		wantSecond    int64 // how often the second is asked
	}{
		{"the first answers, the second is not asked", dnstest.AnswerA("192.0.2.1"), dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.1", 0},
		{"NXDOMAIN is an answer", dnstest.AnswerRcode(dns.RcodeNameError), dnstest.AnswerA("192.0.2.2"), "NXDOMAIN", 0},
		{"YXDOMAIN is an answer", dnstest.AnswerRcode(dns.RcodeYXDomain), dnstest.AnswerA("192.0.2.2"), "YXDOMAIN", 0},
		{"the second is asked when the first refuses", dnstest.AnswerRcode(dns.RcodeRefused), dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"the second is asked when the first implements nothing", dnstest.AnswerRcode(dns.RcodeNotImplemented), dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"the second is asked when the first finds a format error", dnstest.AnswerRcode(dns.RcodeFormatError), dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"the second is asked when the first is not authoritative", dnstest.AnswerRcode(dns.RcodeNotAuth), dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"the second is asked when the first only refers", referral, dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"the second is asked when the first fails", dnstest.AnswerRcode(dns.RcodeServerFailure), dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"the second is asked when the first is silent", dnstest.Silence, dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"the second is asked when the first breaks off TCP", cutTCP, dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"a validator's verdict is the answer: bogus", withEDE(dns.ExtendedErrorCodeDNSBogus), dnstest.AnswerA("192.0.2.2"), "SERVFAIL", 0},
		{"a validator's verdict is the answer: algorithm", withEDE(dns.ExtendedErrorCodeUnsupportedDNSKEYAlgorithm), dnstest.AnswerA("192.0.2.2"), "SERVFAIL", 0},
		{"a validator's verdict is the answer: NSEC missing", withEDE(dns.ExtendedErrorCodeNSECMissing), dnstest.AnswerA("192.0.2.2"), "SERVFAIL", 0},
		{"an EDE of another kind is a failure: stale", withEDE(dns.ExtendedErrorCodeStaleAnswer), dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"an EDE of another kind is a failure: no authority", withEDE(dns.ExtendedErrorCodeNoReachableAuthority), dnstest.AnswerA("192.0.2.2"), "NOERROR 192.0.2.2", 1},
		{"if all fail, a failure is the answer", withEDE(dns.ExtendedErrorCodeNoReachableAuthority), dnstest.AnswerRcode(dns.RcodeServerFailure), "SERVFAIL", 1},
		{"a failure is the answer if the others refuse", dnstest.AnswerRcode(dns.RcodeServerFailure), dnstest.AnswerRcode(dns.RcodeRefused), "SERVFAIL", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			first, second := dnstest.Start(t, test.first), dnstest.Start(t, test.second)
			o := Options{}
			if test.name == "the second is asked when the first is silent" {
				o.Patience = 200 * time.Millisecond
			}
			u := startClient(t, o, first.Addr, second.Addr)
			if got := lookupA(t, u, "www.example"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := second.Asked.Load(); got != test.wantSecond {
				t.Errorf("second asked %d times, want %d", got, test.wantSecond)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	closed := func() netip.AddrPort { // a port that nobody listens on
		udp, tcp := dnstest.ListenBoth(t)
		udp.Close()
		tcp.Close()
		return udp.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	for _, test := range []struct {
		name    string
		handle  dns.HandlerFunc // nil: a closed port
		code    uint16
		text    string
		atMost  int64
		atLeast int64
	}{
		{"a silent one is asked again while the budget lasts", dnstest.Silence, dnswire.EDENoReachable, "was silent", maxSilent + 1, 2},
		{"one that refuses is asked once", dnstest.AnswerRcode(dns.RcodeRefused), dnswire.EDENoReachable, "refused", 1, 1},
		{"one that cannot read the query is asked with and without EDNS", dnstest.AnswerRcode(dns.RcodeFormatError), dnswire.EDENoReachable, "could not read", 2, 2},
		{"nobody there", nil, dnswire.EDENetworkError, "is unreachable", 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			s := &dnstest.Upstream{}
			if test.handle == nil {
				s.Addr = closed()
			} else {
				s = dnstest.Start(t, test.handle)
			}
			patience, budget := 5*time.Second, 20*time.Second
			if test.atLeast < test.atMost {
				patience, budget = 100*time.Millisecond, 350*time.Millisecond
			}
			// No probe after the first: this is about queries.
			u := startClient(t, Options{
				Patience: patience, Budget: budget,
				pace: pace{least: time.Hour, most: time.Hour, loop: time.Hour, poll: time.Hour},
			}, s.Addr)
			if test.handle == nil {
				waitState(t, u, s.Addr, Down)
				u.set.Load().all[0].state.Store(uint32(Up)) // not yet known
			}
			dnstest.WaitFor(t, func() bool { // a machine that stands still has no budget: then another query is asked
				s.Asked.Store(0)
				_, err := u.Exchange(t.Context(), questionOf(t, "www.example", dnswire.TypeA), Start{})
				var why *Error
				if !errors.As(err, &why) || why.Code != test.code || !strings.Contains(why.Text, test.text) || !strings.Contains(why.Text, s.Addr.String()) {
					t.Errorf("got %#v, want code %d and %q", err, test.code, s.Addr.String()+" "+test.text)
				}
				for range 50 {
					if s.Asked.Load() >= test.atLeast {
						return true
					}
					time.Sleep(10 * time.Millisecond) // it has not read all yet
				}
				return false
			}, func() string { return fmt.Sprintf("asked %d times, want %d at least", s.Asked.Load(), test.atLeast) })
			if got := s.Asked.Load(); got > test.atMost {
				t.Errorf("asked %d times, want %d at most", got, test.atMost)
			}
		})
	}
}

func TestEveryUpstreamIsAskedWithinTheBudget(t *testing.T) {
	dnstest.CheckLeaks(t)
	var servers []*dnstest.Upstream
	var addrs []netip.AddrPort
	for range 6 {
		s := dnstest.Start(t, dnstest.Silence)
		servers, addrs = append(servers, s), append(addrs, s.Addr)
	}
	u := startClient(t, Options{Budget: 1800 * time.Millisecond}, addrs...)
	var asked []int64
	dnstest.WaitFor(t, func() bool { // a machine that stands still has no budget: then another query is asked
		for _, s := range servers {
			s.Asked.Store(0)
		}
		if got := lookupA(t, u, "www.example"); !strings.HasPrefix(got, "error: ") {
			t.Errorf("got %s, want an error", got)
		}
		for range 50 {
			asked = asked[:0]
			for _, s := range servers {
				asked = append(asked, s.Asked.Load())
			}
			if slices.Min(asked) > 0 {
				return true
			}
			time.Sleep(10 * time.Millisecond) // they have it, but have not read it yet
		}
		return false
	}, func() string { return fmt.Sprintf("the servers were asked %d times, want each once at least", asked) })
}

// One that never replied is sent three packets, as RFC 9520 has it, and asked by TCP
// once.
func TestPacketsOfOneQueryAreBounded(t *testing.T) {
	dnstest.CheckLeaks(t)
	silent := func(w dns.ResponseWriter, q *dns.Msg) {
		if w.LocalAddr().Network() == "tcp" {
			w.Close()
		}
	}
	first, second, third := dnstest.Start(t, silent), dnstest.Start(t, silent), dnstest.Start(t, silent)
	for _, servers := range [][]*dnstest.Upstream{{first}, {first, second, third}} {
		var addrs []netip.AddrPort
		for _, s := range servers {
			s.SetProbes(dnstest.Silence)
			s.Asked.Store(0)
			s.TCP.Store(0)
			addrs = append(addrs, s.Addr)
		}
		u := startClient(t, Options{Patience: 50 * time.Millisecond, Budget: 3 * time.Second, pace: pace{least: time.Hour}}, addrs...)
		if got := lookupA(t, u, "www.example"); !strings.HasPrefix(got, "error: ") {
			t.Errorf("got %s", got)
		}
		for i, s := range servers {
			if st := u.Status()[i]; st.Queries != 1 || st.Failures != 1 {
				t.Errorf("%d upstreams: %d queries and %d failures of the %dth, want 1 and 1: it was one query", len(servers), st.Queries, st.Failures, i)
			}
			if udp, tcp := s.Asked.Load()-s.TCP.Load(), s.TCP.Load(); udp > maxSilent || tcp > 1 || len(servers) == 1 && (udp < maxSilent || tcp == 0) {
				t.Errorf("%d upstreams: %d packets and %d connections to the %dth", len(servers), udp, tcp, i)
			}
		}
	}
}

func TestPrivateUpstreams(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := dnstest.Start(t, dnstest.AnswerA("192.168.1.9"))
	u := startClient(t, Options{}, s.Addr)
	q := questionOf(t, "nas.home.arpa", dnswire.TypeA)
	a, err := u.ExchangePrivate(t.Context(), q, Start{})
	if !a.Upstream.Private() || a.Upstream.addr != s.Addr || !u.HasPrivate(0) {
		t.Errorf("got private %t from %v, want true from %v", a.Upstream.Private(), a.Upstream.addr, s.Addr)
	}
	if got := describe(t, a, err); got != "NOERROR 192.168.1.9" {
		t.Errorf("got %s", got)
	}

	// A public upstream never hears of such a name.
	old := u.set.Load()
	public := *old.all[0]
	public.private = false
	u.set.Store(&serverSet{all: []*Upstream{&public}, none: old.none})
	if _, err := u.ExchangePrivate(t.Context(), q, Start{}); err != ErrNoPrivate || u.HasPrivate(0) {
		t.Errorf("got %v, want ErrNoPrivate", err)
	}
	if got := s.Asked.Load(); got != 1 {
		t.Errorf("asked %d times, want 1", got)
	}
	u.set.Store(old)

	for addr, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "10.0.0.1": true, "192.168.1.1": true, "fd00::1": true, "fe80::1%eth0": true,
		"100.64.0.1": false, "9.9.9.9": false, "2620:fe::fe": false, "172.32.0.1": false,
	} {
		if got := isLocalServer(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: private %t, want %t", addr, got, want)
		}
	}
}

// A reply that leaves a query hanging must not hang others: 200 queries wait for
// a slow name, and another name is answered meanwhile.
func TestSlowNamesHoldUpNobody(t *testing.T) {
	dnstest.CheckLeaks(t)
	free := make(chan struct{})
	s := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if strings.HasPrefix(q.Question[0].Name, "slow") {
			<-free
		}
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	u := startClient(t, Options{}, s.Addr)
	let := sync.OnceFunc(func() { close(free) })
	defer let()
	var slow sync.WaitGroup
	const many = 200
	for i := range many {
		slow.Go(func() {
			if got := lookupA(t, u, fmt.Sprintf("slow%d.example", i)); got != "NOERROR 192.0.2.1" {
				t.Errorf("slow: got %s", got)
			}
		})
	}
	dnstest.WaitFor(t, func() bool { return s.Asked.Load() >= many }, func() string { return "the slow ones were not asked for" })
	if got := lookupA(t, u, "fast.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("fast: got %s", got)
	}
	let()
	slow.Wait()
}

func TestExchangeEndsWithItsContext(t *testing.T) {
	dnstest.CheckLeaks(t)
	asked := make(chan struct{}, maxSendings)
	s := dnstest.Start(t, func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	u := startClient(t, Options{Patience: time.Hour, Budget: time.Hour}, s.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := u.Exchange(ctx, questionOf(t, "www.example", dnswire.TypeA), Start{}); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if got := u.Status()[0].Failures; got != 0 {
		t.Errorf("%d failures, want 0: the client went away, the upstream did nothing wrong", got)
	}
}

func TestUpstreamQuery(t *testing.T) {
	dnstest.CheckLeaks(t)
	var last atomic.Pointer[dns.Msg]
	s := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		last.Store(q.Copy())
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	for _, test := range []struct {
		name                   string
		do, cd, ad             bool
		trustAD                bool
		wantDO, wantCD, wantAD bool
	}{
		{name: "plain"},
		{name: "DO is copied", do: true, wantDO: true},
		{name: "CD is copied", cd: true, wantCD: true},
		{name: "AD of a client means nothing to an upstream that is not trusted", ad: true},
		{name: "a trusted validator is asked for AD whoever asks", trustAD: true, wantAD: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := startClient(t, Options{Servers: []Server{{Addr: s.Addr, TrustAD: test.trustAD}}})
			q := questionOf(t, "WWW.Example", dnswire.TypeA)
			q.DO, q.CD, q.AD = test.do, test.cd, test.ad
			a, err := u.Exchange(t.Context(), q, Start{})
			if err != nil {
				t.Fatal(err)
			}
			if a.Upstream.TrustAD() != test.trustAD {
				t.Errorf("answer trusted %t, want %t", a.Upstream.TrustAD(), test.trustAD)
			}
			a.Release()
			got := last.Load()
			opt := got.IsEdns0()
			if opt == nil || opt.UDPSize() != 1232 || opt.Version() != 0 || len(opt.Option) != 0 {
				t.Fatalf("OPT %v, want one of 1232 octets without options", opt)
			}
			if opt.Do() != test.wantDO || got.CheckingDisabled != test.wantCD || got.AuthenticatedData != test.wantAD {
				t.Errorf("DO %t CD %t AD %t, want %t %t %t", opt.Do(), got.CheckingDisabled, got.AuthenticatedData, test.wantDO, test.wantCD, test.wantAD)
			}
			if !got.RecursionDesired || got.Question[0] != (dns.Question{Name: "www.example.", Qtype: dns.TypeA, Qclass: dns.ClassINET}) {
				t.Errorf("RD %t, question %v", got.RecursionDesired, got.Question)
			}
		})
	}
}

// The longest name fits the query buffer, so that it is never reallocated.
func TestLongestQueryFits(t *testing.T) {
	label := strings.Repeat("a", 63)
	q := questionOf(t, strings.Join([]string{label, label, label, label[:61]}, "."), dnswire.TypeA)
	var b exchangeBuffer
	m := &Upstream{subnet: subnetOption(netip.MustParsePrefix("2001:db8::/128"))}
	query, asked := b.writeQuery(q, 1, modeFull, m)
	if len(query) != maxQuery-2 || &query[0] != &b.query[2] || len(asked) != len(query)-11-maxSubnetOption {
		t.Errorf("query of %d octets, asked %d, want %d and 35 less, in place", len(query), len(asked), maxQuery-2)
	}
}

// refusesEDNS answers queries with EDNS with a code, and all others.
func refusesEDNS(code int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() == nil {
			dnstest.AnswerA("192.0.2.1")(w, q)
			return
		}
		m := new(dns.Msg).SetRcode(q, code)
		if code == dns.RcodeBadVers {
			m.SetEdns0(1232, false)
		}
		w.WriteMsg(m)
	}
}

func TestServerWithoutEDNS(t *testing.T) {
	for _, code := range []int{dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers} {
		t.Run(dns.RcodeToString[code], func(t *testing.T) {
			dnstest.CheckLeaks(t)
			var refused atomic.Int64 // queries for the second name that were sent with EDNS
			s := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
				if q.IsEdns0() != nil && strings.EqualFold(q.Question[0].Name, "second.example.") {
					refused.Add(1)
				}
				refusesEDNS(code)(w, q)
			})
			s.SetProbes(refusesEDNS(code))
			u := startClient(t, Options{}, s.Addr)
			if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
				t.Errorf("got %s", got)
			}
			waitMode(t, u, modePlain)
			if got := lookupA(t, u, "second.example"); got != "NOERROR 192.0.2.1" || refused.Load() != 0 {
				t.Errorf("got %s, and %d queries with EDNS, want none: what works is known", got, refused.Load())
			}
		})
	}
}

// That a server cannot read EDNS may become known while it is asked with it: then the query
// goes out again without.
func TestEDNSIsGivenUpWhileAQueryIsUnderWay(t *testing.T) {
	dnstest.CheckLeaks(t)
	var u atomic.Pointer[Client]
	s := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			u.Load().set.Load().all[0].modes.learn(modePlain, time.Now())
		}
		refusesEDNS(dns.RcodeFormatError)(w, q)
	})
	s.SetProbes(dnstest.Silence)
	u.Store(startClient(t, Options{Patience: 5 * time.Second}, s.Addr))
	if got := lookupA(t, u.Load(), "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
}

func waitMode(t testing.TB, u *Client, want mode) {
	t.Helper()
	m := u.set.Load().all[0]
	dnstest.WaitFor(t, func() bool { return m.modes.current(time.Now()) == want }, func() string {
		return fmt.Sprintf("it is asked in mode %d, want %d", m.modes.current(time.Now()), want)
	})
}

// A server that cannot read one name's query with EDNS is asked with EDNS for others.
func TestFormatErrorOfOneName(t *testing.T) {
	dnstest.CheckLeaks(t)
	var others atomic.Int64
	s := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == "odd.example." {
			refusesEDNS(dns.RcodeFormatError)(w, q)
			return
		}
		if q.IsEdns0() == nil {
			others.Add(1)
		}
		dnstest.AnswerA("192.0.2.2")(w, q)
	})
	u := startClient(t, Options{}, s.Addr)
	for i := range 5 {
		if got := lookupA(t, u, "odd.example"); got != "NOERROR 192.0.2.1" {
			t.Errorf("got %s", got)
		}
		time.Sleep(5 * time.Millisecond) // for a probe to learn the wrong thing
		if got := lookupA(t, u, fmt.Sprintf("n%d.example", i)); got != "NOERROR 192.0.2.2" {
			t.Errorf("got %s", got)
		}
	}
	if n := others.Load(); n != 0 {
		t.Errorf("%d queries for other names came without EDNS", n)
	}
}

func TestHeaderOnlyFailureIsAFailure(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() == nil {
			dnstest.AnswerA("192.0.2.1")(w, q)
			return
		}
		w.WriteMsg(&dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Rcode: dns.RcodeFormatError}})
	})
	u := startClient(t, Options{}, s.Addr)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
}

func TestSetServers(t *testing.T) {
	dnstest.CheckLeaks(t)
	first, second := dnstest.Start(t, dnstest.AnswerA("192.0.2.1")), dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
	u := startClient(t, Options{}, first.Addr)
	if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("before: got %s", got)
	}
	u.SetServers([]Server{{Addr: second.Addr, TrustAD: true}, {Addr: first.Addr}, {Addr: second.Addr}})
	if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.2" {
		t.Errorf("after: got %s", got)
	}
	list := u.Status()
	if len(list) != 2 || list[0].Addr != second.Addr || !list[0].TrustAD || list[1].Queries != 1 {
		t.Errorf("got %+v, want the second, then the first with its count kept, each once", list)
	}
}

func TestImpossibleUpstreams(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:53", "[::]:53", "192.0.2.1:0", "224.0.0.1:53"} {
		if _, err := New(Options{Servers: []Server{{Addr: netip.MustParseAddrPort(addr)}}}); err == nil {
			t.Errorf("%s was taken", addr)
		}
	}
	if _, err := New(Options{Servers: []Server{{}}}); err == nil {
		t.Error("the zero address was taken")
	}
}

func TestCandidates(t *testing.T) {
	member := func(s State) *Upstream {
		h := &health{}
		h.state.Store(uint32(s))
		return &Upstream{health: h}
	}
	down, failing, up1, looped, up2 := member(Down), member(Failing), member(Up), member(Looped), member(Up)
	var got []*Upstream
	for _, c := range appendCandidates(nil, []*Upstream{down, failing, up1, looped, up2}) {
		got = append(got, c.Upstream)
	}
	if want := []*Upstream{up1, up2, failing}; !slices.Equal(got, want) {
		t.Errorf("got %v, want those up, then those failing", got)
	}
	up1.silences.Store(suspectAfter)
	if got := appendCandidates(nil, []*Upstream{up1, failing, up2}); got[0].Upstream != up2 || got[1].Upstream != up1 {
		t.Errorf("got %v, want one that was silent lately behind one that was not", got)
	}
}

// An upstream whose rank changes while a list of candidates is made is in it once.
func TestEachUpstreamIsACandidateOnce(t *testing.T) {
	m := &Upstream{health: &health{}}
	var changing sync.WaitGroup
	stop := make(chan struct{})
	changing.Go(func() {
		for i := int32(0); ; i++ {
			select {
			case <-stop:
				return
			default:
				m.silences.Store(i % 2 * suspectAfter)
			}
		}
	})
	for range 200_000 {
		if n := len(appendCandidates(nil, []*Upstream{m})); n != 1 {
			t.Errorf("it is listed %d times", n)
			break
		}
	}
	close(stop)
	changing.Wait()
}

func BenchmarkExchange(b *testing.B) {
	s := dnstest.Start(b, dnstest.AnswerA("192.0.2.1"))
	u := startClient(b, Options{pace: pace{least: time.Hour}}, s.Addr)
	q := &dnswire.Question{Type: dnswire.TypeA, Class: dnswire.ClassIN}
	if err := q.Name.Set("www.example.com"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		a, err := u.Exchange(context.Background(), q, Start{})
		if err != nil {
			b.Fatal(err)
		}
		a.Release()
	}
}

// An upstream is told a subnet only where it is set, and by all ways the same.
func TestClientSubnet(t *testing.T) {
	for _, test := range []struct{ set, want string }{{"198.51.100.0/22", "198.51.100.0/22/0"}, {"2001:db8:1:200::/56", "[2001:db8:1:200::]/56/0"}} {
		var last atomic.Pointer[dns.Msg]
		seen := func(query []byte) []byte {
			m := new(dns.Msg)
			if err := m.Unpack(query); err != nil {
				t.Errorf("the query does not unpack: %v", err)
			}
			last.Store(m)
			return dnstest.AnswerTo(query, "192.0.2.1")
		}
		check := func(t *testing.T, u *Client, options int) {
			t.Helper()
			if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
				t.Fatalf("got %q", got)
			}
			opt := last.Load().IsEdns0()
			if opt == nil || len(opt.Option) != options || opt.Option[0].String() != test.want {
				t.Errorf("OPT: got %v, want %d options, the first %s", opt, options, test.want)
			}
		}
		subnet := netip.MustParsePrefix(test.set)
		t.Run("udp", func(t *testing.T) {
			dnstest.CheckLeaks(t)
			addr := dnstest.StartRaw(t, func(query []byte, send func([]byte)) { send(seen(query)) }, nil)
			check(t, startClient(t, Options{Servers: []Server{{Addr: addr, Subnet: subnet}}}), 1)
		})
		t.Run("tls", func(t *testing.T) {
			dnstest.CheckLeaks(t)
			c := dnstest.NewCertificate(t, never(), "127.0.0.1")
			s := dnstest.StartStream(t, c, dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) { send(seen(query)) }))
			check(t, startClient(t, Options{Roots: c.Roots, Servers: []Server{{Addr: s.Addr, Transport: TLS, Subnet: subnet}}}), 2)
		})
		eachRequestTransport(t, func(query []byte) []byte {
			if len(query)%paddingBlock != 0 {
				t.Errorf("a query of %d octets", len(query))
			}
			return seen(query)
		}, func(t *testing.T, c *dnstest.Certificate, s requestServer) {
			s.to.Subnet = subnet
			check(t, startClient(t, Options{Roots: c.Roots, Servers: []Server{s.to}}), 2)
		})
	}
}
