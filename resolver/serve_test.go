package resolver

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/dnstest"
	"telltale/resolver/packets"
)

// A blocked or cached answer costs no allocation, whatever the client sent.
func TestAnswersAtOnceAllocateNothing(t *testing.T) {
	d := newHarness(t, Options{Policy: withPolicy(everyMode(t))})
	d.teach("www.example.", dns.TypeA, "www.example. 300 IN CNAME a.example.\na.example. 300 IN A 192.0.2.1", true)
	d.teach("www.example.", dns.TypeAAAA, "--\nexample. 300 IN SOA ns.example. host.example. 1 2 3 4 60", true)
	d.teach("watched.example.", dns.TypeA, "watched.example. 300 IN A 192.0.2.1", true)
	d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.1", true, func(m *dns.Msg) { m.SetEdns0(1232, true) })
	r := &countingWriter{records: make([]querylog.Record, 0, 1)}
	plain := func(m *dns.Msg) { m.Extra = nil }
	cookie := func(m *dns.Msg) {
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 10, Data: []byte("01234567")}}
	}
	do := func(m *dns.Msg) { m.IsEdns0().SetDo() }
	for _, test := range []struct {
		name   string
		typ    uint16
		change func(*dns.Msg)
	}{
		{"x.null.example.", dns.TypeA, plain}, {"x.null.example.", dns.TypeA, cookie}, {"x.null.example.", dns.TypeAAAA, do},
		{"null.example.", dns.TypeHTTPS, cookie}, {"nx.example.", dns.TypeA, cookie}, {"nodata.example.", dns.TypeA, cookie},
		{"refused.example.", dns.TypeA, cookie}, {"custom.example.", dns.TypeA, cookie}, {"drop.example.", dns.TypeA, cookie},
		{"tcp.example.", dns.TypeA, cookie}, {"nas.lan.", dns.TypeA, cookie}, {"localhost.", dns.TypeA, cookie}, {"x.onion.", dns.TypeA, cookie},
		{"4.3.2.10.in-addr.arpa.", dns.TypePTR, cookie}, {"www.example.", dns.TypeANY, cookie},
		{"www.example.", dns.TypeA, plain}, {"www.example.", dns.TypeA, cookie}, {"www.example.", dns.TypeA, do},
		{"www.example.", dns.TypeAAAA, cookie}, {"watched.example.", dns.TypeA, cookie}, {"Www.eXample.", dns.TypeA, cookie},
	} {
		packet := packetOf(t, test.name, test.typ, test.change)
		d.q.path.Client, d.q.transport = d.client, querylog.UDP
		serve := func() {
			r.records = r.records[:0]
			d.s.prepare(&d.q, d.s.policy(), d.now)
			d.s.serve(packet, &d.q, d.dst, r, r)
		}
		serve()
		if len(r.records) != 1 || r.records[0].Source == querylog.FromError {
			t.Fatalf("%s: not answered at once", test.name)
		}
		if n := dnstest.Allocs(500, serve); n != 0 {
			t.Errorf("%s %s: %v allocations", test.name, dns.TypeToString[test.typ], n)
		}
	}
}

// A countingWriter is a reader's without its socket.
type countingWriter struct{ records []querylog.Record }

func (c *countingWriter) send(q *query, reply []byte) {}
func (c *countingWriter) log(q *query, reply []byte, source querylog.Source) {
	c.records = append(c.records, q.record(reply, source, q.received))
}

// A legal query of a shape that the strict parser does not take gets the same
// verdict, answer and record as the plain one.
func TestUnusualSharesTheMiddle(t *testing.T) {
	d := newHarness(t, Options{Policy: withPolicy(everyMode(t))})
	d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.1", true)
	soa, _ := dns.NewRR("example. 300 IN SOA ns.example. host.example. 1 2 3 4 60")
	sig := &dns.TSIG{Hdr: dns.RR_Header{Name: "key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: dns.HmacSHA256, TimeSigned: 1, Fudge: 300}
	compressed := func(b []byte) []byte {
		return append(bytes.Clone(b), 0xde, 0xad) // octets behind the message
	}
	for _, name := range []string{"x.null.example.", "NX.example.", "nodata.example.", "refused.example.", "custom.example.", "tcp.example.",
		"nas.lan.", "localhost.", "www.EXAMPLE.", "x.onion."} {
		for _, edns := range []bool{false, true} {
			plain := packetOf(t, name, dns.TypeA, func(m *dns.Msg) {
				if m.CheckingDisabled = false; !edns {
					m.Extra = nil
				}
			})
			want := bytes.Clone(d.serve(plain))
			row := d.last()
			for what, packet := range map[string][]byte{
				"with an SOA":   packetOf(t, name, dns.TypeA, func(m *dns.Msg) { m.Ns = []dns.RR{soa}; dropEDNS(m, edns) }),
				"with TSIG":     packetOf(t, name, dns.TypeA, func(m *dns.Msg) { dropEDNS(m, edns); m.Extra = append(m.Extra, sig) }),
				"with a record": packetOf(t, name, dns.TypeA, func(m *dns.Msg) { m.Answer = []dns.RR{soa}; dropEDNS(m, edns) }),
				"with a tail":   compressed(plain),
			} {
				var strict dnswire.Question
				if err := dnswire.ParseQuestion(packet, &strict); err != dnswire.ErrUnusual {
					t.Fatalf("%s: the strict parser says %v", what, err)
				}
				got := d.serve(packet)
				if what == "with a tail" && got != nil && got[3]&0xf == dns.RcodeFormatError {
					continue // miekg/dns refuses it, too
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s %s, EDNS %v:\n%x, want\n%x", name, what, edns, got, want)
				}
				if r := d.last(); r.Verdict != row.Verdict || r.Source != row.Source || r.TTL != row.TTL || !bytes.Equal(r.Name, row.Name) {
					t.Errorf("%s %s: logged %+v, want %+v", name, what, r, row)
				}
			}
		}
	}
}

func dropEDNS(m *dns.Msg, keep bool) {
	if !keep {
		m.Extra = nil
	}
}

// Strangers get the same for whatever they send, and no more octets than that.
func TestStrangersLearnNothing(t *testing.T) {
	d := newHarness(t, Options{Allowed: func(netip.Addr) bool { return false }, Policy: withPolicy(everyMode(t))})
	long := strings.Repeat("x.", 127)
	for name, packet := range map[string][]byte{
		"a listed name":   packetOf(t, "null.example.", dns.TypeA, func(m *dns.Msg) { m.Extra = nil }),
		"with EDNS":       packetOf(t, "null.example.", dns.TypeA),
		"the longest":     packetOf(t, long, dns.TypeA),
		"ANY":             packetOf(t, "null.example.", dns.TypeANY, func(m *dns.Msg) { m.Extra = nil }),
		"class CHAOS":     packetOf(t, "version.bind.", dns.TypeTXT, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
		"NOTIFY":          packetOf(t, "example.", dns.TypeSOA, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
		"EDNS version 1":  packetOf(t, "example.", dns.TypeSOA, func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }),
		"no question":     packetOf(t, "example.", dns.TypeSOA, func(m *dns.Msg) { m.Question = nil }),
		"two questions":   packetOf(t, "example.", dns.TypeSOA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
		"a header alone":  {0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a broken name":   {0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 64, 0},
		"a pointer":       {0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 1, 0, 1},
		"the health name": packetOf(t, HealthName, dns.TypeTXT),
	} {
		reply := d.serve(packet)
		if len(reply) < dnswire.HeaderLen || reply[3]&0xf != dns.RcodeRefused || reply[2]&0x80 == 0 || reply[1] != 7 {
			t.Errorf("%s: %x, want REFUSED", name, reply)
		}
		if len(reply) > len(packet) {
			t.Errorf("%s: %d octets for %d", name, len(reply), len(packet))
		}
		if len(d.rows) != 0 {
			t.Errorf("%s: logged", name)
		}
	}
}

// What an unproven source gets is little more than what it sent.
func TestAmplification(t *testing.T) {
	d := newHarness(t, Options{Policy: withPolicy(everyMode(t))})
	var big strings.Builder
	for i := range 200 {
		fmt.Fprintf(&big, "big.example. 300 IN A 198.51.100.%d\n", i)
	}
	d.teach("big.example.", dns.TypeA, big.String(), true)
	for _, test := range []struct {
		name string
		typ  uint16
		most int // octets beyond the query's
	}{
		{"big.example.", dns.TypeANY, 40}, {"big.example.", dns.TypeA, 0}, {"x.null.example.", dns.TypeA, 40}, {"nx.example.", dns.TypeA, 100},
		{"localhost.", dns.TypeA, 40}, {"x.onion.", dns.TypeA, 80}, {HealthName, dns.TypeTXT, 40},
	} {
		for _, size := range []uint16{512, 4096, 65535} {
			packet := packetOf(t, test.name, test.typ, func(m *dns.Msg) { m.IsEdns0().SetUDPSize(size) })
			if reply := d.serve(packet); len(reply) == 0 || len(reply) > len(packet)+test.most {
				t.Errorf("%s %s: %d octets for %d: %x", test.name, dns.TypeToString[test.typ], len(reply), len(packet), reply)
			}
		}
	}
	// The large answer is not even copied to find that out.
	packet := packetOf(t, "big.example.", dns.TypeA)
	if n := dnstest.Allocs(100, func() { d.serve(packet) }); n > 0 {
		t.Errorf("%v allocations for an answer that is too large", n)
	}
}

// DNSSEC: AD only where the upstream is trusted and the client asked, DO only
// from what was asked with DO, CD copied.
func TestDNSSECBits(t *testing.T) {
	d := newHarness(t, Options{})
	const sig = "www.example. 300 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 example. AAAA"
	authentic := func(m *dns.Msg) { m.AuthenticatedData = true }
	do := func(m *dns.Msg) { m.SetEdns0(1232, true) }
	cd := func(m *dns.Msg) { m.CheckingDisabled = true }
	d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.1\n"+sig, true, authentic)
	d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.2\n"+sig, true, authentic, do)
	d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.3", true, cd)
	for _, test := range []struct {
		name       string
		ad, do, cd bool
		data       string
		wantAD     bool
	}{
		{"plain", false, false, false, "A 192.0.2.1", false},
		{"AD", true, false, false, "A 192.0.2.1", true},
		{"DO", false, true, false, "A 192.0.2.2, RRSIG A 8 2 300 20300101000000 20200101000000 1 example. AAAA", true},
		{"CD", true, false, true, "A 192.0.2.3", false},
	} {
		r := d.ask("www.example.", dns.TypeA, func(m *dns.Msg) {
			m.AuthenticatedData, m.CheckingDisabled = test.ad, test.cd
			m.SetEdns0(1232, test.do)
			m.Extra = m.Extra[1:]
		})
		if data(r) != test.data || r.AuthenticatedData != test.wantAD || r.CheckingDisabled != test.cd || r.IsEdns0().Do() != test.do {
			t.Errorf("%s: %v", test.name, r)
		}
	}
	clean := dnswire.Sanitized{Stored: dnswire.Stored{AD: true}}
	e := new(cache.Entry)
	if setEntry(e, &clean, dns.TypeA, false, false, time.Now()); e.AD {
		t.Error("AD of an upstream that is not trusted is kept")
	}
}

// A panic is a defect; it costs its own query and nobody else's.
func TestADefectCostsOneQuery(t *testing.T) {
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	defective := netip.MustParseAddr("127.0.0.66")
	s, _ := startServer(t, Options{
		Readers: 1,
		Allowed: func(a netip.Addr) bool {
			if a == defective {
				panic("a defect")
			}
			return true
		},
	}, up)
	from := func(ip string, network string) *dns.Conn {
		dialer := dialerFrom(ip, network)
		c, err := dialer.Dial(network, s.Addrs()[0].String())
		if err != nil {
			t.Skip("this machine has 127.0.0.1 alone: ", err)
		}
		t.Cleanup(func() { c.Close() })
		return &dns.Conn{Conn: c}
	}
	bad, good := from("127.0.0.66", "udp"), from("127.0.0.1", "udp")
	for range 20 {
		bad.WriteMsg(new(dns.Msg).SetQuestion("localhost.", dns.TypeA))
		good.WriteMsg(new(dns.Msg).SetQuestion("localhost.", dns.TypeA))
	}
	for i := range 20 {
		good.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := good.ReadMsg(); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	for s.Stats().InternalErrors < 20 {
		time.Sleep(time.Millisecond)
	}
}

// FuzzServe hands any octets to the server's front door.
func FuzzServe(f *testing.F) {
	d := newHarness(f, Options{Policy: withPolicy(everyMode(f))})
	d.teach("www.example.", dns.TypeA, "www.example. 300 IN CNAME a.example.\na.example. 300 IN A 192.0.2.1", true)
	var big strings.Builder
	for i := range 200 {
		fmt.Fprintf(&big, "big.example. 300 IN A 198.51.100.%d\n", i)
	}
	d.teach("big.example.", dns.TypeA, big.String(), true)
	for _, name := range []string{"www.example.", "big.example.", "null.example.", "nas.lan.", "localhost.", HealthName, "miss.example.", strings.Repeat("x.", 127)} {
		for _, typ := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeANY} {
			f.Add(packetOf(f, name, typ), true)
			f.Add(packetOf(f, name, typ, func(m *dns.Msg) { m.Extra = nil }), false)
		}
	}
	f.Add(packetOf(f, "null.example.", dns.TypeA, func(m *dns.Msg) {
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 10, Data: make([]byte, 40)}}
	}), true)
	f.Fuzz(func(t *testing.T, packet []byte, udp bool) {
		if len(packet) > packets.MaxSize {
			return
		}
		later := &harness{t: t} // what must wait is not what is tested here
		d.udp = udp
		d.q.path.Client, d.q.transport = d.client, querylog.TCP
		if udp {
			d.q.transport = querylog.UDP
		}
		d.reply, d.sent, d.rows = nil, 0, d.rows[:0]
		d.s.prepare(&d.q, d.s.policy(), d.now)
		if reply, ok := d.s.parse(packet, &d.q, d.dst); !ok {
			checkFuzzed(t, packet, reply, d.q.limit())
			return
		}
		reply, source := d.s.answerNow(d.dst, &d.q)
		if source == 0 {
			return
		}
		d.s.finish(&d.q, reply, source, later)
		rows := 1
		if d.q.verdict.Rule == blocklists.SpecialServer {
			rows = 0 // our own question
		}
		if later.sent != 1 || len(later.rows) != rows {
			t.Fatalf("%d replies, %d records", later.sent, len(later.rows))
		}
		checkFuzzed(t, packet, reply, d.q.limit())
	})
}

func checkFuzzed(t *testing.T, packet, reply []byte, limit int) {
	t.Helper()
	if len(reply) == 0 {
		return
	}
	var m dns.Msg
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("reply %x: %v", reply, err)
	}
	if !m.Response || reply[0] != packet[0] || reply[1] != packet[1] {
		t.Errorf("not a reply to it: %x", reply)
	}
	if len(reply) > limit {
		t.Errorf("%d octets, the client can take %d", len(reply), limit)
	}
}

func TestRandomPacketsGetTheRFCsAnswerOrNone(t *testing.T) {
	d := newHarness(t, Options{Policy: withPolicy(everyMode(t))})
	random := rand.New(rand.NewPCG(1, 2))
	seed := packetOf(t, "x.null.example.", dns.TypeA)
	for range 20000 {
		packet := bytes.Clone(seed)
		for range 1 + random.IntN(4) {
			packet[random.IntN(len(packet))] = byte(random.Uint32())
		}
		packet = packet[:random.IntN(len(packet)+1)]
		d.s.prepare(&d.q, d.s.policy(), d.now)
		d.q.transport = querylog.UDP
		if reply, ok := d.s.parse(packet, &d.q, d.dst); !ok {
			checkFuzzed(t, packet, reply, d.q.limit())
		}
	}
}

// Who waits for an answer that an internal error prevents is told so, and a stream gets
// its slot back.
func TestWhoWaitsOutADefectIsTold(t *testing.T) {
	d := newHarness(t, Options{})
	f := &flight{}
	w := &waiter{out: d, dst: make([]byte, 0, 512)}
	if err := dnswire.ParseQuestion(packetOf(t, "www.example.", dns.TypeA), &w.Question); err != nil {
		t.Fatal(err)
	}
	w.Detach()
	f.waiters, f.question, f.key = []*waiter{w}, w.Question, cache.NewKey(&w.Question)
	broken := &cache.Entry{HasAddresses: true, Private: true, At: d.now}
	broken.Wire, broken.TTLs = []byte{0}, []uint16{9} // reads beyond its end
	w.policy = everyMode(t)
	d.s.flights.waiting, d.s.flights.clients[w.path.Client.Addr()] = 1, 1
	d.s.deliver(f, broken, nil, (*waiter).writer, d.s.release)
	if d.sent != 1 || len(d.reply) < 4 || d.reply[3]&0xf != dns.RcodeServerFailure || d.last().Source != querylog.FromError {
		t.Errorf("%d replies: %x, want SERVFAIL", d.sent, d.reply)
	}
	if got := d.s.Stats(); got.InternalErrors != 1 || got.Waiting != 0 {
		t.Errorf("%d defects, %d waiting", got.InternalErrors, got.Waiting)
	}
}
