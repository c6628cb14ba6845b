package resolver

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	benchzone "telltale/bench/zone"
	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// zone answers from records in presentation form.
func zone(t testing.TB, text string) dns.HandlerFunc {
	t.Helper()
	handle, err := benchzone.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return handle
}

// A recorder keeps records with their texts, for tests to read.
type recorder struct {
	mu   sync.Mutex
	rows []logged
}

type logged struct {
	querylog.Record
	name, alias string
}

func (l *recorder) append(recs []querylog.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range recs {
		name, _, _ := dns.UnpackDomainName(r.Name, 0)
		alias := ""
		if r.Alias != nil {
			alias, _, _ = dns.UnpackDomainName(r.Alias, 0)
		}
		r.Name, r.Alias = nil, nil
		l.rows = append(l.rows, logged{r, name, alias})
	}
}

// last returns the newest row, once there are at least n.
func (l *recorder) last(t testing.TB, n int) logged {
	t.Helper()
	for range 2000 {
		l.mu.Lock()
		if len(l.rows) >= n {
			defer l.mu.Unlock()
			return l.rows[len(l.rows)-1]
		}
		l.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no %d rows in the log", n)
	return logged{}
}

// startServer starts a server on a loopback port of its own. Unless a test says otherwise,
// upstreams may be silent for as long as a loaded machine takes before they are asked again.
func startServer(t testing.TB, o Options, upstreams ...*dnstest.Upstream) (*Server, *recorder) {
	t.Helper()
	recorded := &recorder{}
	if o.Listen == nil {
		o.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	}
	o.Log = recorded.append
	if o.Upstreams.Patience == 0 && o.Upstreams.Budget == 0 {
		o.Upstreams.Patience, o.Upstreams.Budget = 5*time.Second, 20*time.Second
	}
	for _, u := range upstreams {
		o.Upstreams.Servers = append(o.Upstreams.Servers, upstream.Server{Addr: u.Addr})
	}
	if len(upstreams) == 0 {
		o.Upstreams.ResolvConf = t.TempDir() + "/none"
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Close() })
	return s, recorded
}

// ask sends a question over UDP or TCP and returns the reply.
func ask(t testing.TB, s *Server, network, name string, typ uint16, change ...func(*dns.Msg)) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), typ).SetEdns0(1232, false)
	for _, f := range change {
		f(m)
	}
	c := dns.Client{Net: network, Timeout: 10 * time.Second, UDPSize: 4096}
	r, _, err := c.Exchange(m, s.Addrs()[0].String())
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[typ], err)
	}
	return r
}

// ede returns the Extended DNS Error of a reply.
func ede(m *dns.Msg) (code uint16, text string, ok bool) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return e.InfoCode, e.ExtraText, true
			}
		}
	}
	return 0, "", false
}

func data(m *dns.Msg) string {
	var out []string
	for _, rr := range m.Answer {
		out = append(out, dns.TypeToString[rr.Header().Rrtype]+" "+strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return strings.Join(out, ", ")
}

func TestAnswersFromUpstreamThenCache(t *testing.T) {
	dnstest.CheckLeaks(t)
	up := dnstest.Start(t, zone(t, "www.example. 300 IN A 192.0.2.1"))
	s, recorded := startServer(t, Options{}, up)
	for i, want := range []querylog.Source{querylog.FromUpstream, querylog.FromCache, querylog.FromCache} {
		name := []string{"www.example.", "WwW.example.", "www.EXAMPLE."}[i]
		r := ask(t, s, []string{"udp", "udp", "tcp"}[i], name, dns.TypeA)
		if got := data(r); got != "A 192.0.2.1" {
			t.Errorf("answer %q", got)
		}
		if got := r.Question[0].Name; got != name {
			t.Errorf("question %s, want its case kept: %s", got, name)
		}
		if !r.RecursionAvailable || r.Authoritative || r.AuthenticatedData {
			t.Errorf("flags %v", r.MsgHdr)
		}
		row := recorded.last(t, i+1)
		if row.Source != want || row.name != "www.example." || row.TTL == 0 || row.TTL > 300 {
			t.Errorf("logged %+v, want source %v", row, want)
		}
	}
}

func TestTTLsCountDown(t *testing.T) {
	up := dnstest.Start(t, zone(t, "www.example. 300 IN CNAME a.example.\na.example. 100 IN A 192.0.2.1"))
	var clock struct {
		sync.Mutex
		ahead time.Duration
	}
	now := func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return time.Now().Add(clock.ahead)
	}
	s, recorded := startServer(t, Options{Now: now}, up)
	ask(t, s, "udp", "www.example.", dns.TypeA)
	recorded.last(t, 1)
	for i, test := range []struct {
		ahead  time.Duration
		ttl    uint32
		source querylog.Source
	}{{0, 100, querylog.FromCache}, {40 * time.Second, 60, querylog.FromCache}, {99 * time.Second, 1, querylog.FromCache}, {101 * time.Second, 100, querylog.FromUpstream}} {
		clock.Lock()
		clock.ahead = test.ahead
		clock.Unlock()
		r := ask(t, s, "udp", "www.example.", dns.TypeA)
		if got := r.Answer[1].Header().Ttl; got > test.ttl || got+1 < test.ttl {
			t.Errorf("after %v: TTL %d, want %d", test.ahead, got, test.ttl)
		}
		if got := recorded.last(t, i+2).Source; got != test.source {
			t.Errorf("after %v: got it from %v, want %v", test.ahead, got, test.source)
		}
	}
}

func TestSpecialNames(t *testing.T) {
	var heard sync.Map // the names that the upstream was asked for
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		heard.Store(strings.ToLower(q.Question[0].Name), true)
		dnstest.AnswerA("192.0.2.1")(w, q) // a public name's answer, for whatever is asked
	})
	s, _ := startServer(t, Options{}, up)
	for _, test := range []struct {
		name  string
		typ   uint16
		rcode int
		data  string
		asked bool
	}{
		{"localhost.", dns.TypeA, dns.RcodeSuccess, "A 127.0.0.1", false},
		{"a.b.LocalHost.", dns.TypeAAAA, dns.RcodeSuccess, "AAAA ::1", false},
		{"localhost.", dns.TypeMX, dns.RcodeSuccess, "", false},
		{"1.0.0.127.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "PTR localhost.", false},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.", dns.TypePTR, dns.RcodeSuccess, "PTR localhost.", false},
		{"x.localhost.", dns.TypePTR, dns.RcodeSuccess, "", false},
		{"x.invalid.", dns.TypeA, dns.RcodeNameError, "", false},
		{"facebookcorewwwi.onion.", dns.TypeA, dns.RcodeNameError, "", false},
		{"x.alt.", dns.TypeA, dns.RcodeNameError, "", false},
		{"x.test.", dns.TypeA, dns.RcodeNameError, "", false},
		{"printer.local.", dns.TypeA, dns.RcodeNameError, "", false},
		{"_dns.resolver.arpa.", dns.TypeSVCB, dns.RcodeSuccess, "", false},
		{"use-application-dns.net.", dns.TypeA, dns.RcodeNameError, "", false},
		{"mask.icloud.com.", dns.TypeA, dns.RcodeNameError, "", false},
		{"mask-h2.icloud.com.", dns.TypeAAAA, dns.RcodeNameError, "", false},
		{"health.telltale.invalid.", dns.TypeTXT, dns.RcodeSuccess, `TXT "telltale"`, false},
		{"mylocalhost.", dns.TypeA, dns.RcodeSuccess, "A 192.0.2.1", true},
		{"test.example.", dns.TypeA, dns.RcodeSuccess, "A 192.0.2.1", true},
		{"nas.home.arpa.", dns.TypeA, dns.RcodeSuccess, "A 192.0.2.1", true}, // the upstream is on loopback: private
		{"www.example.", dns.TypeANY, dns.RcodeSuccess, `HINFO "RFC8482" ""`, false},
	} {
		t.Run(fmt.Sprint(test.name, dns.TypeToString[test.typ]), func(t *testing.T) {
			r := ask(t, s, "udp", test.name, test.typ)
			if r.Rcode != test.rcode || data(r) != test.data {
				t.Errorf("%s %q, want %s %q", dns.RcodeToString[r.Rcode], data(r), dns.RcodeToString[test.rcode], test.data)
			}
			if _, asked := heard.Load(strings.ToLower(test.name)); asked != test.asked {
				t.Errorf("asked upstream: %v, want %v", asked, test.asked)
			}
			if len(r.Answer) == 0 {
				if len(r.Ns) != 1 || r.Ns[0].Header().Rrtype != dns.TypeSOA || r.Ns[0].(*dns.SOA).Minttl != r.Ns[0].Header().Ttl {
					t.Errorf("authority %v, want an SOA whose TTL is its MINIMUM", r.Ns)
				}
			}
		})
	}
}

func TestReverseZonesOfPrivateAddresses(t *testing.T) {
	for name, want := range map[string]bool{
		"10.in-addr.arpa": true, "4.3.2.10.in-addr.arpa": true, "16.172.in-addr.arpa": true, "15.172.in-addr.arpa": false,
		"172.in-addr.arpa": false, "1.1.168.192.in-addr.arpa": true, "192.in-addr.arpa": false, "8.8.8.8.in-addr.arpa": false,
		"254.169.in-addr.arpa": true, "1.0.0.127.in-addr.arpa": true, "64.100.in-addr.arpa": true, "128.100.in-addr.arpa": false,
		"255.255.255.255.in-addr.arpa": true, "1.1.1.255.in-addr.arpa": false, "1.2.3.0.in-addr.arpa": true, "x.255.255.255.in-addr.arpa": false,
		"x.10.in-addr.arpa": true, "010.in-addr.arpa": true, "2.0.192.in-addr.arpa": true, "113.0.203.in-addr.arpa": true,
		"d.f.ip6.arpa": true, "c.f.ip6.arpa": true, "8.e.f.ip6.arpa": true, "7.e.f.ip6.arpa": false, "f.ip6.arpa": false,
		"8.b.d.0.1.0.0.2.ip6.arpa": true, "1.0.0.2.ip6.arpa": false, "in-addr.arpa": false,
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa": true,
		"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa": false,
	} {
		var q query
		if err := q.Name.Set(name); err != nil {
			t.Fatal(err)
		}
		if got := isPrivateReverse(&q.Name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// exchangeRaw sends any octets over UDP and returns the reply, nil for none.
func exchangeRaw(t testing.TB, s *Server, packet []byte) []byte {
	t.Helper()
	c, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(packet)
	// A second query tells when the first had its chance: one reader, in order.
	health, _ := new(dns.Msg).SetQuestion(HealthName+".", dns.TypeTXT).Pack()
	health[0], health[1] = 0xbe, 0xef
	c.Write(health)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if buf[0] == 0xbe && buf[1] == 0xef {
		return nil
	}
	return buf[:n]
}

func TestUnfitPackets(t *testing.T) {
	s, recorded := startServer(t, Options{Readers: 1}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
	ask(t, s, "udp", "www.example.", dns.TypeA) // from now on answered at once, from the cache
	query := func(change func(*dns.Msg)) []byte {
		m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
		m.Id = 7
		change(m)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	edns := func(m *dns.Msg) *dns.OPT { return m.SetEdns0(1232, false).IsEdns0() }
	cookie := func(size int) []byte {
		b := query(func(m *dns.Msg) {
			edns(m).Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 10, Data: make([]byte, size)}}
		})
		return b
	}
	manyPointers := func() []byte {
		b := query(func(*dns.Msg) {})
		b[7] = 0xff // 255 answers, all of them pointers to the name
		for range 255 {
			b = append(b, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0)
		}
		return b
	}
	for _, test := range []struct {
		name   string
		packet []byte
		want   int // rcode; -1: no reply
	}{
		{"a response is never answered", query(func(m *dns.Msg) { m.Response = true }), -1},
		{"eleven octets are nothing", make([]byte, 11), -1},
		{"nothing is nothing", nil, -1},
		{"opcode STATUS", query(func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }), dns.RcodeNotImplemented},
		{"opcode NOTIFY is not forwarded", query(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), dns.RcodeNotImplemented},
		{"opcode UPDATE is not forwarded", query(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		{"two questions", query(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		{"no question", query(func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		{"no question, but an OPT without cookie", query(func(m *dns.Msg) { m.Question = nil; edns(m) }), dns.RcodeFormatError},
		{"class CHAOS", query(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		{"class ANY", query(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }), dns.RcodeRefused},
		{"type OPT", query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeOPT }), dns.RcodeFormatError},
		{"type NXNAME", query(func(m *dns.Msg) { m.Question[0].Qtype = 128 }), dns.RcodeFormatError},
		{"type 0", query(func(m *dns.Msg) { m.Question[0].Qtype = 0 }), dns.RcodeFormatError},
		{"type TKEY", query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTKEY }), dns.RcodeNotImplemented},
		{"type TSIG", query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTSIG }), dns.RcodeNotImplemented},
		{"type MAILB", query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMAILB }), dns.RcodeNotImplemented},
		{"type RRSIG", query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeRRSIG }), dns.RcodeRefused},
		{"a zone transfer", query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), dns.RcodeRefused},
		{"EDNS version 1", query(func(m *dns.Msg) { edns(m).SetVersion(1) }), dns.RcodeBadVers},
		{"two OPTs", query(func(m *dns.Msg) { edns(m); m.Extra = append(m.Extra, m.Extra[0]) }), dns.RcodeFormatError},
		{"a cookie of 7 octets", cookie(7), dns.RcodeFormatError},
		{"a cookie of 12 octets", cookie(12), dns.RcodeFormatError},
		{"a cookie of 41 octets", cookie(41), dns.RcodeFormatError},
		{"a cookie of 8 octets", cookie(8), dns.RcodeSuccess},
		{"names that are all pointers", manyPointers(), dns.RcodeFormatError},
		{"a name that points to itself", []byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1}, dns.RcodeFormatError},
		{"a label of 64 octets", append([]byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 64}, make([]byte, 69)...), dns.RcodeFormatError},
		{"a name without end", []byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'w', 'w', 'w'}, dns.RcodeFormatError},
		{"a plain query", query(func(*dns.Msg) {}), dns.RcodeSuccess},
	} {
		t.Run(test.name, func(t *testing.T) {
			reply := exchangeRaw(t, s, test.packet)
			if reply == nil {
				if test.want != -1 {
					t.Errorf("no reply, want %s", dns.RcodeToString[test.want])
				}
				return
			}
			var m dns.Msg
			if err := m.Unpack(reply); err != nil {
				t.Fatalf("reply %x: %v", reply, err)
			}
			rcode := m.Rcode
			if opt := m.IsEdns0(); opt != nil && test.want == dns.RcodeBadVers {
				rcode |= int(opt.ExtendedRcode()) &^ 0xf
			}
			if rcode != test.want || m.Id != 7 || !m.Response {
				t.Errorf("%v, want %s", &m, dns.RcodeToString[test.want])
			}
		})
	}
	s.Close()
	for _, row := range recorded.rows {
		if row.name != "www.example." && row.name != HealthName+"." {
			t.Errorf("logged %+v", row)
		}
	}
}

func TestCookies(t *testing.T) {
	s, _ := startServer(t, Options{Readers: 1})
	m := new(dns.Msg).SetQuestion("localhost.", dns.TypeA)
	opt := m.SetEdns0(1232, false).IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
	for _, question := range []bool{true, false} {
		if !question {
			m.Question = nil // RFC 7873, 5.4
		}
		b, _ := m.Pack()
		var r dns.Msg
		if err := r.Unpack(exchangeRaw(t, s, b)); err != nil {
			t.Fatal(err)
		}
		got := ""
		if opt := r.IsEdns0(); opt != nil && len(opt.Option) == 1 {
			got = opt.Option[0].String()
		}
		if r.Rcode != dns.RcodeSuccess || !strings.HasPrefix(got, "0123456789abcdef01000000") || len(got) != 48 {
			t.Errorf("with question %v: %s, cookie %q", question, dns.RcodeToString[r.Rcode], got)
		}
	}
}

func TestTruncation(t *testing.T) {
	var zoneText strings.Builder
	for i := range 100 {
		fmt.Fprintf(&zoneText, "big.example. 300 IN A 192.0.2.%d\n", i)
	}
	s, _ := startServer(t, Options{}, dnstest.Start(t, zone(t, zoneText.String())))
	for range 2 { // from the upstream and from the cache
		r := ask(t, s, "udp", "big.example.", dns.TypeA)
		if !r.Truncated || len(r.Answer) != 0 || r.Len() > 1232 {
			t.Errorf("with EDNS: TC %v, %d answers", r.Truncated, len(r.Answer))
		}
		r = ask(t, s, "udp", "big.example.", dns.TypeA, func(m *dns.Msg) { m.Extra = nil })
		if !r.Truncated || r.Len() > 512 || r.IsEdns0() != nil {
			t.Errorf("without EDNS: %v", r)
		}
		if r = ask(t, s, "tcp", "big.example.", dns.TypeA); r.Truncated || len(r.Answer) != 100 {
			t.Errorf("over TCP: TC %v, %d answers", r.Truncated, len(r.Answer))
		}
	}
}

func TestStrangersAreRefused(t *testing.T) {
	var strangers atomic.Bool
	s, recorded := startServer(t, Options{Allowed: func(netip.Addr) bool { return !strangers.Load() }}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
	for _, network := range []string{"udp", "tcp"} {
		strangers.Store(false)
		if r := ask(t, s, network, "a.example.", dns.TypeA); r.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: %s", network, dns.RcodeToString[r.Rcode])
		}
		strangers.Store(true)
		if r := ask(t, s, network, "a.example.", dns.TypeA); r.Rcode != dns.RcodeRefused || len(r.Answer) != 0 {
			t.Errorf("%s: %s", network, dns.RcodeToString[r.Rcode])
		}
	}
	if got := s.Stats().Refused; got != 2 {
		t.Errorf("counted %d refusals, want 2", got)
	}
	recorded.last(t, 2)
	s.Close()
	if got := len(recorded.rows); got != 2 {
		t.Errorf("logged %d lookups, want the 2 that were answered", got)
	}
}

func TestWithoutUpstreamSaysWhy(t *testing.T) {
	s, recorded := startServer(t, Options{})
	r := ask(t, s, "udp", "www.example.", dns.TypeA)
	_, text, ok := ede(r)
	if r.Rcode != dns.RcodeServerFailure || !ok || !strings.Contains(text, "upstreams") {
		t.Errorf("%s, EDE %q", dns.RcodeToString[r.Rcode], text)
	}
	if row := recorded.last(t, 1); row.Source != querylog.FromError || row.Rcode != dns.RcodeServerFailure {
		t.Errorf("logged %+v", row)
	}
}

func TestQueriesInFlightShareOneUpstreamQuery(t *testing.T) {
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		<-open
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	s, _ := startServer(t, Options{}, up)
	var done sync.WaitGroup
	const clients = 50
	for i := range clients {
		done.Go(func() {
			r := ask(t, s, "udp", "www.example.", dns.TypeA, func(m *dns.Msg) {
				if i%2 == 0 { // options of clients split nothing (RebirthDay)
					opt := m.IsEdns0()
					opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte{byte(i)}},
						&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(192, 0, 2, byte(i))})
				}
			})
			if data(r) != "A 192.0.2.1" {
				t.Errorf("answer %q", data(r))
			}
		})
	}
	for s.Stats().Waiting < clients {
		time.Sleep(time.Millisecond)
	}
	close(open)
	done.Wait()
	if got := up.Asked.Load(); got > clients/4 { // it may be asked again where it is slow
		t.Errorf("asked upstream %d times for %d clients, want one question", got, clients)
	}
}

func TestTooManyWaitingAreShedAndCounted(t *testing.T) {
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; dnstest.AnswerA("192.0.2.1")(w, q) })
	s, recorded := startServer(t, Options{Waiting: 8, Readers: 1}, up) // 2 of them for one client
	c, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 5 {
		b, _ := new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.example.", i), dns.TypeA).Pack()
		c.Write(b)
	}
	row := recorded.last(t, 3)
	if got := s.Stats(); got.Shed != 3 || got.Waiting != 2 {
		t.Errorf("shed %d, waiting %d, want 3 and 2", got.Shed, got.Waiting)
	}
	if row.Source != querylog.Shed || row.name != "n4.example." {
		t.Errorf("logged %+v", row)
	}
	close(open)
	recorded.last(t, 5)
}

func TestTCPAnswersOutOfOrder(t *testing.T) {
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if strings.HasPrefix(q.Question[0].Name, "slow") {
			<-open
		}
		dnstest.AnswerA("192.0.2.1")(w, q)
	})
	s, _ := startServer(t, Options{}, up)
	c, err := dns.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"slow.example.", "fast.example."} {
		c.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeA))
	}
	for i, want := range []string{"fast.example.", "slow.example."} {
		r, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Question[0].Name; got != want {
			t.Errorf("answer %d is for %s, want %s", i, got, want)
		}
		if i == 0 {
			close(open)
		}
	}
}

func TestOversizedTCPQuery(t *testing.T) {
	s, _ := startServer(t, Options{})
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, _ := new(dns.Msg).SetQuestion("localhost.", dns.TypeA).Pack()
	b[7] = 0xff
	for len(b) < 0xffff-12 {
		b = append(b, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0)
	}
	c.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if err != nil || n < 14 || buf[5]&0xf != dns.RcodeFormatError {
		t.Errorf("%x, %v, want FORMERR", buf[:n], err)
	}
}

func TestServfailWithValidatorsVerdictIsTheAnswer(t *testing.T) {
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		opt := m.SetEdns0(1232, false).IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "bad\x07 signature"})
		w.WriteMsg(m)
	})
	s, _ := startServer(t, Options{}, up)
	r := ask(t, s, "udp", "bogus.example.", dns.TypeA)
	if code, text, _ := ede(r); r.Rcode != dns.RcodeServerFailure || code != dns.ExtendedErrorCodeDNSBogus || text != "bad? signature" {
		t.Errorf("%s, EDE %d %q", dns.RcodeToString[r.Rcode], code, text)
	}
	if ask(t, s, "udp", "bogus.example.", dns.TypeA); up.Asked.Load() != 1 {
		t.Errorf("asked %d times: a resolution failure is cached (RFC 9520)", up.Asked.Load())
	}
}
