package resolver

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
)

// A harness is a server without sockets: packets are handed to serve one by one,
// and upstreams say what they are taught.
type harness struct {
	t      testing.TB
	s      *Server
	q      query
	client netip.AddrPort
	udp    bool
	now    time.Time
	dst    []byte
	reply  []byte
	sent   int
	rows   []querylog.Record
}

func newHarness(t testing.TB, o Options) *harness {
	t.Helper()
	o.Upstreams.ResolvConf = t.TempDir() + "/none"
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &harness{t: t, s: s, q: query{cached: new(cache.Entry)}, client: netip.MustParseAddrPort("127.0.0.1:5000"), udp: true, now: time.Now(), dst: make([]byte, 0, replySpace)}
}

func (d *harness) send(q *query, reply []byte) {
	d.sent++
	d.reply = reply
}

func (d *harness) log(q *query, reply []byte, source querylog.Source) {
	d.rows = append(d.rows[:0], q.record(reply, source, d.now))
}

// serve serves one packet and returns the reply, which lives until the next.
func (d *harness) serve(packet []byte) []byte {
	d.q.path.Client, d.q.transport = d.client, querylog.TCP
	if d.udp {
		d.q.transport = querylog.UDP
	}
	d.reply, d.sent, d.rows = nil, 0, d.rows[:0]
	d.s.prepare(&d.q, d.s.policy(), d.now)
	d.s.serve(packet, &d.q, d.dst, d, d)
	return d.reply
}

// last returns the record of the query served last.
func (d *harness) last() querylog.Record {
	d.t.Helper()
	if len(d.rows) != 1 {
		d.t.Fatalf("%d records, want 1", len(d.rows))
	}
	return d.rows[0]
}

// ask serves a question that can be answered at once.
func (d *harness) ask(name string, typ uint16, change ...func(*dns.Msg)) *dns.Msg {
	d.t.Helper()
	packet := packetOf(d.t, name, typ, change...)
	var r dns.Msg
	if err := r.Unpack(d.serve(packet)); err != nil {
		d.t.Fatalf("%s: reply %x: %v", name, d.reply, err)
	}
	return &r
}

func packetOf(t testing.TB, name string, typ uint16, change ...func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), typ).SetEdns0(1232, false)
	m.Id = 7
	for _, f := range change {
		f(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// teach puts an upstream's reply into the cache: records of the answer section,
// and behind a line "--" of the authority section.
func (d *harness) teach(name string, typ uint16, records string, private bool, change ...func(*dns.Msg)) *cache.Entry {
	d.t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), typ)
	m.Response, m.RecursionAvailable = true, true
	section := &m.Answer
	for line := range strings.Lines(records) {
		if line = strings.TrimSpace(line); line == "--" {
			section = &m.Ns
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			d.t.Fatal(err)
		}
		*section = append(*section, rr)
	}
	for _, f := range change {
		f(m)
	}
	wire, err := m.Pack()
	if err != nil {
		d.t.Fatal(err)
	}
	q := dnswire.Question{Type: typ, Class: dnswire.ClassIN, DO: m.IsEdns0() != nil && m.IsEdns0().Do(), CD: m.CheckingDisabled}
	if err := q.Name.Set(name); err != nil {
		d.t.Fatal(err)
	}
	clean, err := new(dnswire.Sanitizer).Sanitize(wire, &q)
	if err != nil {
		d.t.Fatal(err)
	}
	e := new(cache.Entry)
	setEntry(e, &clean, typ, true, private, d.now)
	d.s.cache.Put(&q, e)
	return e
}

// dialerFrom returns a dialer from another address of this machine.
func dialerFrom(ip, network string) *net.Dialer {
	if network == "tcp" {
		return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	}
	return &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(ip)}}
}

// says is what waitFor says in vain.
func says(text string) func() string { return func() string { return "in vain: " + text } }
