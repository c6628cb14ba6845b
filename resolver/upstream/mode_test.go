package upstream

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// silentToEDNS answers no query with EDNS by UDP.
func silentToEDNS(h dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() == nil || w.LocalAddr().Network() == "tcp" {
			h(w, q)
		}
	}
}

// losesLong is a path on which replies of more than 512 octets get lost, which
// nobody is told who offers more. The reply is long where its name says so.
func losesLong(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	if strings.HasPrefix(q.Question[0].Name, "long") {
		for range 4 {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{strings.Repeat("x", 200)}})
		}
	}
	offered := 512
	if opt := q.IsEdns0(); opt != nil {
		offered = int(opt.UDPSize())
		m.SetEdns0(1232, false)
	}
	if w.LocalAddr().Network() != "tcp" && m.Len() > 512 {
		if offered > 512 {
			return
		}
		m.Answer, m.Truncated = nil, true
	}
	w.WriteMsg(m)
}

func TestUpstreamSilentToEDNS(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := dnstest.Start(t, silentToEDNS(dnstest.AnswerA("192.0.2.1")))
	s.SetProbes(silentToEDNS(dnstest.AnswerRcode(dns.RcodeNameError)))
	u := startClient(t, Options{Patience: 50 * time.Millisecond}, s.Addr)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
	waitMode(t, u, modePlain)
	s.Asked.Store(0)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" || s.Asked.Load() != 1 {
		t.Errorf("got %s for %d queries, want 1: what works is remembered", got, s.Asked.Load())
	}
	if st := u.Status()[0]; st.State != Up {
		t.Errorf("%+v", st)
	}
}

// On a bad line a query without EDNS may be answered when those with it were lost:
// that says nothing about EDNS.
func TestLossIsNotTakenForSilenceToEDNS(t *testing.T) {
	dnstest.CheckLeaks(t)
	var left atomic.Int64
	left.Store(2) // packets to lose
	s := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if left.Add(-1) < 0 {
			dnstest.AnswerA("192.0.2.1")(w, q)
		}
	})
	s.SetProbes(dnstest.Silence) // so that EDNS is not known to work
	u := startClient(t, Options{Patience: 50 * time.Millisecond, Budget: time.Second}, s.Addr)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
	m := u.set.Load().all[0]
	dnstest.WaitFor(t, func() bool { return m.modes.knowsEDNS(time.Now()) }, func() string { return "nobody found out" })
	time.Sleep(100 * time.Millisecond)
	if got := m.modes.current(time.Now()); got != modeFull {
		t.Errorf("it is asked in mode %d", got)
	}
}

func TestPathThatLosesLongReplies(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := dnstest.Start(t, losesLong)
	u := startClient(t, Options{Patience: 50 * time.Millisecond}, s.Addr)
	ask := func() {
		t.Helper()
		a, err := u.Exchange(t.Context(), questionOf(t, "long.example", dnswire.TypeTXT), Start{})
		if err != nil || len(a.Wire) < 800 {
			t.Errorf("got %d octets, %v", len(a.Wire), err)
		}
		a.Release()
	}
	ask()
	waitMode(t, u, modeSmall)
	s.Asked.Store(0)
	s.TCP.Store(0)
	ask()
	if s.Asked.Load() != 2 || s.TCP.Load() != 1 {
		t.Errorf("asked %d times, %d of them by TCP; want once each: what works is remembered", s.Asked.Load(), s.TCP.Load())
	}
	u.set.Load().all[0].modes.until.Store(time.Now().Unix()) // after a while
	ask()
}

// Where UDP does not pass at all, TCP is tried and remembered.
func TestPathWithoutUDP(t *testing.T) {
	dnstest.CheckLeaks(t)
	tcpOnly := func(w dns.ResponseWriter, q *dns.Msg) {
		if w.LocalAddr().Network() == "tcp" {
			dnstest.AnswerA("192.0.2.1")(w, q)
		}
	}
	s := dnstest.Start(t, tcpOnly)
	s.SetProbes(tcpOnly)
	u := startClient(t, Options{Patience: 50 * time.Millisecond}, s.Addr)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
	waitMode(t, u, modeTCP)
	s.Asked.Store(0)
	if got := lookupA(t, u, "www.example"); got != "NOERROR 192.0.2.1" || s.Asked.Load() != 1 {
		t.Errorf("got %s after asking %d times", got, s.Asked.Load())
	}
	if st := waitState(t, u, s.Addr, Up); st.Failures != 0 {
		t.Errorf("%+v", st)
	}
}

func TestTimeoutsFollowWhatIsMeasured(t *testing.T) {
	var m timing
	m.begin(400*time.Millisecond, 0)
	now := time.Unix(1e9, 0)
	took := func(ago ...time.Duration) {
		var sent []time.Time
		for _, d := range ago {
			sent = append(sent, now.Add(-d))
		}
		m.replied(sent, now)
	}
	if got := m.current(); got != 400*time.Millisecond {
		t.Errorf("of nothing known: %v", got)
	}
	for range 50 {
		took(900 * time.Millisecond)
	}
	if got := m.current(); got < 900*time.Millisecond || got > 950*time.Millisecond {
		t.Errorf("after 50 answers in 900 ms: %v", got)
	}
	took(905*time.Millisecond, 5*time.Millisecond) // sent again 5 ms before the first was answered
	if got := m.srtt(); got < 890*time.Millisecond || got > 910*time.Millisecond {
		t.Errorf("a late answer is taken for a quick one: %v", got)
	}
	for i := range 50 {
		took(time.Duration(500+i%2*800) * time.Millisecond)
	}
	if got := m.current(); got < 1500*time.Millisecond {
		t.Errorf("of answers in 500 and 1300 ms: %v, no room for their spread", got)
	}
	for range 60 {
		took(time.Millisecond)
	}
	if got := m.current(); got != leastTimeout {
		t.Errorf("after quick answers: %v", got)
	}
	took(801*time.Millisecond, 701*time.Millisecond, 501*time.Millisecond, time.Millisecond) // three were lost
	if got := m.srtt(); got > 5*time.Millisecond {
		t.Errorf("loss is taken for slowness: %v", got)
	}
	for range 10 { // ten queries at once
		m.timedOut(leastTimeout)
	}
	if got := m.current(); got != 2*leastTimeout {
		t.Errorf("after time-outs at one time: %v, want it doubled once", got)
	}
	for range 10 {
		m.timedOut(m.current())
	}
	if got := m.current(); got != mostTimeout {
		t.Errorf("after many in a row: %v", got)
	}
}

func TestPauseBetweenSendings(t *testing.T) {
	for _, test := range []struct {
		timeout time.Duration
		sent    int
		want    time.Duration
	}{
		{100 * time.Millisecond, 1, 100 * time.Millisecond},
		{100 * time.Millisecond, 2, 200 * time.Millisecond},
		{100 * time.Millisecond, 3, 400 * time.Millisecond},
		{100 * time.Millisecond, 4, 600 * time.Millisecond},
		{100 * time.Millisecond, 12, 600 * time.Millisecond},
		{2 * time.Second, 1, 2 * time.Second},
		{2 * time.Second, 5, 2 * time.Second},
	} {
		if got := resendAfter(test.timeout, test.sent); got != test.want {
			t.Errorf("%v, sent %d times: %v, want %v", test.timeout, test.sent, got, test.want)
		}
	}
}
