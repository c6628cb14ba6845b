package dnswire

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/miekg/dns"
)

// message makes a reply of records in presentation form; a line "--" begins the
// next section.
func message(t testing.TB, name string, typ uint16, compress bool, text string) []byte {
	t.Helper()
	m := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion(name, typ))
	m.Compress = compress
	sections := []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "--" {
			sections = sections[1:]
			continue
		} else if line == "" {
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		*sections[0] = append(*sections[0], rr)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func question(t testing.TB, name string, typ uint16, do bool) *Question {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, typ).SetEdns0(1232, do)
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := new(Question)
	if err := ParseQuestion(b, q); err != nil {
		t.Fatal(err)
	}
	return q
}

// lines writes the records of a message, one a line.
func lines(m *dns.Msg) string {
	var b strings.Builder
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		if i > 0 {
			b.WriteString("--\n")
		}
		for _, rr := range section {
			if rr.Header().Rrtype != dns.TypeOPT {
				b.WriteString(strings.ReplaceAll(rr.String(), "\t", " ") + "\n")
			}
		}
	}
	return b.String()
}

func TestSanitizeKeepsTheAnswerAlone(t *testing.T) {
	const soa = "example. 60 IN SOA ns.example. host.example. 1 2 3 4 60\n"
	for _, test := range []struct {
		name, reply string
		qname       string
		typ         uint16
		do          bool
		want        string // as lines writes it; "" as reply
		ttl         uint32
		aliases     string
		err         error
	}{
		{name: "a plain answer stays", qname: "www.example.", typ: dns.TypeA, ttl: 300,
			reply: "www.example. 300 IN A 192.0.2.1\nwww.example. 300 IN A 192.0.2.2\n--\n--\n"},
		{name: "an RRset has one TTL, the least (RFC 2181, 5.2)", qname: "www.example.", typ: dns.TypeA, ttl: 200, do: true,
			reply: "www.example. 300 IN A 192.0.2.1\nwww.example. 200 IN A 192.0.2.2\nwww.example. 400 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 example. AAAA\n--\n--\n",
			want:  "www.example. 200 IN A 192.0.2.1\nwww.example. 200 IN A 192.0.2.2\nwww.example. 200 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 example. AAAA\n--\n--\n"},
		{name: "a chain stays, and its least TTL counts", qname: "www.example.", typ: dns.TypeA, ttl: 20, aliases: "a.example b.example",
			reply: "www.example. 300 IN CNAME a.example.\na.example. 20 IN CNAME b.example.\nb.example. 60 IN A 192.0.2.1\n--\n--\n"},
		{name: "a chain out of order is put in order", qname: "www.example.", typ: dns.TypeA, ttl: 20, aliases: "a.example b.example",
			reply: "b.example. 60 IN A 192.0.2.1\na.example. 20 IN CNAME b.example.\nwww.example. 300 IN CNAME a.example.\n--\n--\n",
			want:  "www.example. 300 IN CNAME a.example.\na.example. 20 IN CNAME b.example.\nb.example. 60 IN A 192.0.2.1\n--\n--\n"},
		{name: "a DNAME stands before what it makes, each before its signature", qname: "www.old.example.", typ: dns.TypeA, ttl: 60, aliases: "www.new.example", do: true,
			reply: "www.new.example. 60 IN A 192.0.2.1\nwww.old.example. 300 IN CNAME www.new.example.\nold.example. 300 IN RRSIG DNAME 8 2 300 20300101000000 20200101000000 1 example. AAAA\n" +
				"www.new.example. 60 IN RRSIG A 8 3 60 20300101000000 20200101000000 1 example. AAAA\nold.example. 300 IN DNAME new.example.\n--\n--\n",
			want: "old.example. 300 IN RRSIG DNAME 8 2 300 20300101000000 20200101000000 1 example. AAAA\nold.example. 300 IN DNAME new.example.\nwww.old.example. 300 IN CNAME www.new.example.\n" +
				"www.new.example. 60 IN A 192.0.2.1\nwww.new.example. 60 IN RRSIG A 8 3 60 20300101000000 20200101000000 1 example. AAAA\n--\n--\n"},
		{name: "of two aliases of a name, only the one that is followed stays", qname: "www.example.", typ: dns.TypeA, ttl: 60, aliases: "a.example",
			reply: "www.example. 300 IN CNAME a.example.\nwww.example. 300 IN CNAME evil.example.\na.example. 60 IN A 192.0.2.1\nevil.example. 60 IN A 192.0.2.66\n--\n--\n",
			want:  "www.example. 300 IN CNAME a.example.\na.example. 60 IN A 192.0.2.1\n--\n--\n"},
		{name: "signatures of what is not asked for go", qname: "www.example.", typ: dns.TypeA, ttl: 60, do: true,
			reply: "www.example. 60 IN A 192.0.2.1\nwww.example. 60 IN RRSIG TXT 8 2 300 20300101000000 20200101000000 1 example. AAAA\n--\n--\n",
			want:  "www.example. 60 IN A 192.0.2.1\n--\n--\n"},
		{name: "what nobody asked for goes", qname: "www.example.", typ: dns.TypeA, ttl: 300,
			reply: "evil.example. 300 IN A 192.0.2.66\nwww.example. 300 IN A 192.0.2.1\nbank.example. 9 IN A 192.0.2.66\n--\nexample. 300 IN NS ns.evil.\n--\nns.evil. 300 IN A 192.0.2.66\n",
			want:  "www.example. 300 IN A 192.0.2.1\n--\n--\n"},
		{name: "another type of the name goes", qname: "www.example.", typ: dns.TypeA, ttl: 300,
			reply: "www.example. 300 IN A 192.0.2.1\nwww.example. 5 IN TXT \"x\"\n--\n--\n", want: "www.example. 300 IN A 192.0.2.1\n--\n--\n"},
		{name: "a DNAME of the chain stays", qname: "www.old.example.", typ: dns.TypeA, ttl: 60, aliases: "www.new.example",
			reply: "old.example. 300 IN DNAME new.example.\nwww.old.example. 300 IN CNAME www.new.example.\nwww.new.example. 60 IN A 192.0.2.1\n--\n--\n"},
		{name: "a DNAME elsewhere goes", qname: "www.example.", typ: dns.TypeA, ttl: 60,
			reply: "com. 300 IN DNAME evil.\nwww.example. 60 IN A 192.0.2.1\n--\n--\n", want: "www.example. 60 IN A 192.0.2.1\n--\n--\n"},
		{name: "no data keeps its SOA", qname: "www.example.", typ: dns.TypeA, ttl: 60, reply: "--\n" + soa + "--\n"},
		{name: "an SOA counts down from its MINIMUM (RFC 2308)", qname: "www.example.", typ: dns.TypeA, ttl: 60,
			reply: "--\nexample. 86400 IN SOA ns.example. host.example. 1 2 3 4 60\n--\n", want: "--\n" + soa + "--\n"},
		{name: "a negative answer is kept for three hours at most", qname: "www.example.", typ: dns.TypeA, ttl: 10800,
			reply: "--\nexample. 86400 IN SOA ns.example. host.example. 1 2 3 4 86400\n--\n",
			want:  "--\nexample. 10800 IN SOA ns.example. host.example. 1 2 3 4 86400\n--\n"},
		{name: "MINIMUM 0 is not kept", qname: "www.example.", typ: dns.TypeA, ttl: 0,
			reply: "--\nexample. 0 IN SOA ns.example. host.example. 1 2 3 4 0\n--\n"},
		{name: "an SOA of another zone goes, and then nothing is kept", qname: "www.example.", typ: dns.TypeA, ttl: 0,
			reply: "--\nevil. 300 IN SOA ns.evil. host.evil. 1 2 3 4 60\n--\n", want: "--\n--\n"},
		{name: "no data at the end of a chain", qname: "www.example.", typ: dns.TypeA, ttl: 20, aliases: "a.example",
			reply: "www.example. 20 IN CNAME a.example.\n--\n" + soa + "--\n"},
		{name: "an SOA beside an answer goes", qname: "www.example.", typ: dns.TypeA, ttl: 300,
			reply: "www.example. 300 IN A 192.0.2.1\n--\n" + soa + "--\n", want: "www.example. 300 IN A 192.0.2.1\n--\n--\n"},
		{name: "a question for the alias itself is not followed", qname: "www.example.", typ: dns.TypeCNAME, ttl: 300,
			reply: "www.example. 300 IN CNAME a.example.\na.example. 20 IN A 192.0.2.1\n--\n--\n", want: "www.example. 300 IN CNAME a.example.\n--\n--\n"},
		{name: "TTL 0 is not kept", qname: "www.example.", typ: dns.TypeA, ttl: 0, reply: "www.example. 0 IN A 192.0.2.1\n--\n--\n"},
		{name: "a TTL of days is bounded", qname: "www.example.", typ: dns.TypeA, ttl: 86400, reply: "www.example. 999999 IN A 192.0.2.1\n--\n--\n",
			want: "www.example. 86400 IN A 192.0.2.1\n--\n--\n"},
		{name: "a TTL of 2^31-1 is bounded", qname: "www.example.", typ: dns.TypeA, ttl: 86400, reply: "www.example. 2147483647 IN A 192.0.2.1\n--\n--\n",
			want: "www.example. 86400 IN A 192.0.2.1\n--\n--\n"},
		{name: "a TTL with its highest bit set is a large one (RFC 8767, 4)", qname: "www.example.", typ: dns.TypeA, ttl: 86400, reply: "www.example. 2147483649 IN A 192.0.2.1\n--\n--\n",
			want: "www.example. 86400 IN A 192.0.2.1\n--\n--\n"},
		{name: "signatures stay with DO", qname: "www.example.", typ: dns.TypeA, do: true, ttl: 300,
			reply: "www.example. 300 IN A 192.0.2.1\nwww.example. 300 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 example. AAAA\n--\n--\n"},
		{name: "signatures go without DO", qname: "www.example.", typ: dns.TypeA, ttl: 300, want: "www.example. 300 IN A 192.0.2.1\n--\n--\n",
			reply: "www.example. 300 IN A 192.0.2.1\nwww.example. 300 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 example. AAAA\n--\n--\n"},
		{name: "targets of HTTPS records are aliases", qname: "www.example.", typ: dns.TypeHTTPS, ttl: 300, aliases: "svc.example",
			reply: "www.example. 300 IN HTTPS 1 svc.example. alpn=\"h2\" ipv4hint=\"192.0.2.1\"\n--\n--\n"},
		{name: "mail and service records are written out when moved", qname: "example.", typ: dns.TypeMX, ttl: 300,
			reply: "x.example. 300 IN A 192.0.2.66\nexample. 300 IN MX 10 mail.example.\n--\n--\n", want: "example. 300 IN MX 10 mail.example.\n--\n--\n"},
		{name: "a loop is refused", qname: "www.example.", typ: dns.TypeA, err: ErrChain,
			reply: "www.example. 300 IN CNAME a.example.\na.example. 300 IN CNAME www.example.\n--\n--\n"},
		{name: "a chain of 13 is refused", qname: "n0.example.", typ: dns.TypeA, err: ErrChain, reply: chainOf(13)},
		{name: "a chain of 12 is not", qname: "n0.example.", typ: dns.TypeA, ttl: 60, reply: chainOf(12),
			aliases: "n1.example n2.example n3.example n4.example n5.example n6.example n7.example n8.example n9.example n10.example n11.example n12.example"},
	} {
		for _, compress := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				q := question(t, test.qname, test.typ, test.do)
				var s Sanitizer
				got, err := s.Sanitize(message(t, test.qname, test.typ, compress, test.reply), q)
				if err != test.err {
					t.Fatalf("error %v, want %v", err, test.err)
				}
				if err != nil {
					return
				}
				var m dns.Msg
				if err := m.Unpack(AppendStored(nil, q, &got.Stored, 0, nil)); err != nil {
					t.Fatalf("%v: %x", err, got.Wire)
				}
				want := test.want
				if want == "" {
					want = test.reply
				}
				if lines(&m) != want {
					t.Errorf("kept\n%swant\n%s", lines(&m), want)
				}
				if got.TTL != test.ttl {
					t.Errorf("TTL %d, want %d", got.TTL, test.ttl)
				}
				if aliases := textOf(got.Aliases); aliases != test.aliases {
					t.Errorf("aliases %q, want %q", aliases, test.aliases)
				}
			})
		}
	}
}

// A reply that is nearly full must fit when it is written anew: as it came, its
// names were compressed.
func TestAFullReplyIsRewrittenWithinItsSize(t *testing.T) {
	for _, test := range []struct {
		name string
		typ  uint16
		line string
	}{
		{"name servers", dns.TypeNS, "a-rather-long-label-of-a-zone.example. 300 IN NS ns%d.a-rather-long-label-of-a-zone.example.\n"},
		{"mail servers", dns.TypeMX, "a-rather-long-label-of-a-zone.example. 300 IN MX 10 mx%d.a-rather-long-label-of-a-zone.example.\n"},
		{"addresses", dns.TypeA, "a-rather-long-label-of-a-zone.example. 300 IN A 192.0.%d.1\n"},
	} {
		var text strings.Builder
		text.WriteString("stray.example. 300 IN A 192.0.2.66\n")
		n := 2800
		if test.typ == dns.TypeA {
			n = 250
		}
		for i := range n {
			fmt.Fprintf(&text, test.line, i)
		}
		const qname = "a-rather-long-label-of-a-zone.example."
		reply := message(t, qname, test.typ, true, text.String()+"--\n--\n")
		var s Sanitizer
		got, err := s.Sanitize(reply, question(t, qname, test.typ, false))
		if err != nil {
			t.Errorf("%s: %d octets: %v", test.name, len(reply), err)
			continue
		}
		var m dns.Msg
		if err := m.Unpack(got.Wire); err != nil || len(m.Answer) != n || len(got.Wire) > len(reply) {
			t.Errorf("%s: %d octets became %d, %d records: %v", test.name, len(reply), len(got.Wire), len(m.Answer), err)
		}
	}
}

// A pointer reaches 16 KiB: names that are first written behind that are written
// out each time.
func TestNamesBeyondThePointersReach(t *testing.T) {
	var text strings.Builder
	text.WriteString("stray.example. 300 IN A 192.0.2.66\n")
	for i := range 900 {
		fmt.Fprintf(&text, "a.example. 300 IN MX 10 mx%d.a.example.\n", i)
	}
	for i := range 300 {
		fmt.Fprintf(&text, "a.example. 300 IN MX 20 mx%d.another.zone.\n", i)
	}
	reply := message(t, "a.example.", dns.TypeMX, true, text.String()+"--\n--\n")
	var s Sanitizer
	got, err := s.Sanitize(reply, question(t, "a.example.", dns.TypeMX, false))
	if err != nil || len(got.Wire) < 0x4000+3000 {
		t.Fatalf("%d octets, %v, want more than a pointer reaches", len(got.Wire), err)
	}
	var before, after dns.Msg
	if err := errors.Join(before.Unpack(reply), after.Unpack(got.Wire)); err != nil {
		t.Fatal(err)
	}
	for i, rr := range after.Answer {
		if want := before.Answer[i+1]; rr.String() != want.String() {
			t.Fatalf("record %d is %v, want %v", i, rr, want)
		}
	}
}

// A name that leads nowhere makes the whole message malformed, whether or not its
// record would be kept: an answer that cannot be read is not an empty one.
func TestNamesThatLeadNowhere(t *testing.T) {
	q := question(t, "www.example.", dns.TypeA, false)
	head := append([]byte{0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, q.raw...)
	at := len(head)
	fixed := []byte{0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1}
	for _, test := range []struct {
		name  string
		owner []byte
		err   error
	}{
		{"the question's name by a pointer", []byte{0xc0, HeaderLen}, nil},
		{"a pointer to itself", []byte{0xc0, byte(at)}, ErrReply},
		{"a pointer forwards", []byte{0xc0, byte(at + 4)}, ErrReply},
		{"a label and a pointer to it", []byte{1, 'x', 0xc0, byte(at)}, ErrReply},
		{"a label of an unknown kind", []byte{0x80, 1, 0}, ErrReply},
		{"a pointer into the header, to what is no name", []byte{0xc0, 2}, ErrReply},
	} {
		for section := range 3 {
			reply := append(append(head[:len(head):len(head)], test.owner...), fixed...)
			reply[7], reply[7+2*section] = 0, 1
			var s Sanitizer
			if _, err := s.Sanitize(reply, q); err != test.err {
				t.Errorf("%s in section %d: error %v, want %v", test.name, section, err, test.err)
			}
		}
	}
}

// slowAnswer is the answer section that Sanitize must keep, made of parsed records by
// the definition alone.
func slowAnswer(m *dns.Msg) (kept []string) {
	q := m.Question[0]
	at := strings.ToLower(q.Name)
	for range MaxAliases + 1 {
		var set []dns.RR
		least := uint32(maxTTL)
		for _, rr := range m.Answer {
			if strings.ToLower(rr.Header().Name) == at && rr.Header().Rrtype == q.Qtype {
				set, least = append(set, rr), min(least, rr.Header().Ttl)
			}
		}
		for _, rr := range set {
			rr.Header().Ttl = least
			kept = append(kept, strings.ToLower(rr.String()))
		}
		next := ""
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAME); ok && strings.ToLower(c.Hdr.Name) == at && next == "" {
				c.Hdr.Ttl = min(c.Hdr.Ttl, maxTTL)
				kept, next = append(kept, strings.ToLower(c.String())), strings.ToLower(c.Target)
			}
		}
		if at = next; next == "" {
			return kept
		}
	}
	return kept
}

// TestAnswersAgreeWithASlowTwin shuffles chains among strays, and compares.
func TestAnswersAgreeWithASlowTwin(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 2000 {
		var rrs []string
		links := random.IntN(6)
		for i := range links {
			rrs = append(rrs, fmt.Sprintf("N%d.example. %d IN CNAME n%d.example.\n", i, random.Uint32(), i+1))
		}
		for i := range 1 + random.IntN(4) {
			rrs = append(rrs, fmt.Sprintf("n%d.Example. %d IN MX %d mail.n%d.example.\n", links, random.IntN(90000), i, i))
		}
		for range random.IntN(4) {
			rrs = append(rrs, fmt.Sprintf("stray%d.example. 60 IN MX 5 n0.example.\n", random.IntN(3)))
		}
		random.Shuffle(len(rrs), func(i, j int) { rrs[i], rrs[j] = rrs[j], rrs[i] })
		reply := message(t, "n0.example.", dns.TypeMX, round%2 == 0, strings.Join(rrs, "")+"--\n--\n")
		q := question(t, "n0.example.", dns.TypeMX, false)
		var s Sanitizer
		got, err := s.Sanitize(reply, q)
		if err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(rrs, ""))
		}
		var before, after dns.Msg
		if err := errors.Join(before.Unpack(reply), after.Unpack(got.Wire)); err != nil {
			t.Fatal(err)
		}
		var kept []string
		for _, rr := range after.Answer {
			kept = append(kept, strings.ToLower(rr.String()))
		}
		if want := slowAnswer(&before); !slices.Equal(kept, want) {
			t.Fatalf("of\n%s\ngot\n%s\nwant\n%s", strings.Join(rrs, ""), strings.Join(kept, "\n"), strings.Join(want, "\n"))
		}
	}
}

func chainOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "n%d.example. 60 IN CNAME n%d.example.\n", i, i+1)
	}
	return b.String() + "n" + strconv.Itoa(n) + ".example. 60 IN A 192.0.2.1\n--\n--\n"
}

// textOf writes wire names that follow each other.
func textOf(wire []byte) string {
	var out []string
	for off := 0; off < len(wire); {
		var n Name
		end, err := n.Read(wire, off)
		if err != nil {
			return err.Error()
		}
		out, off = append(out, n.String()), end
	}
	return strings.Join(out, " ")
}

// FuzzSanitize checks that nothing of an upstream's reply but the answer gets
// through, whatever the octets: what is kept must be readable by miekg/dns, hold
// only names of the chain, and cost no more than the reply did.
func FuzzSanitize(f *testing.F) {
	for _, text := range []string{
		"www.example. 300 IN A 192.0.2.1\n--\n--\n",
		"www.example. 300 IN CNAME a.example.\nx.example. 1 IN A 192.0.2.66\na.example. 20 IN A 192.0.2.1\n--\n--\n",
		"--\nexample. 300 IN SOA ns.example. host.example. 1 2 3 4 60\n--\n",
		"www.example. 300 IN A 192.0.2.1\n--\nexample. 60 IN NS ns.example.\n--\nns.example. 60 IN A 192.0.2.53\nns.example. 60 IN AAAA 2001:db8::53\n",
	} {
		f.Add(message(f, "www.example.", dns.TypeA, true, text), uint16(dns.TypeA), true)
	}
	f.Add(message(f, "www.example.", dns.TypeHTTPS, true, "www.example. 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1\n--\n--\n"), uint16(dns.TypeHTTPS), false)
	f.Fuzz(func(t *testing.T, reply []byte, typ uint16, do bool) {
		q := question(t, "www.example.", typ, do)
		head := append([]byte{0, 1, 0x81, 0x80, 0, 1}, make([]byte, 6)...)
		copy(head[6:], reply[min(len(reply), 6):min(len(reply), 12)])
		reply = append(append(head, q.raw...), reply[min(len(reply), HeaderLen+len(q.raw)):]...)
		s := Sanitizer{Servers: true}
		got, err := s.Sanitize(reply, q)
		if err != nil {
			return
		}
		size := 0
		EachServer(got.Servers, func(name *Name, addr netip.Addr) bool {
			if size++; name == nil {
				size += addr.BitLen() / 8
			} else {
				size += len(name.Wire())
			}
			return true
		})
		if size != len(got.Servers) {
			t.Fatalf("servers %x: %d octets read", got.Servers, size)
		}
		if len(got.Wire) > 0xffff || len(got.Aliases) > (MaxAliases+len(reply)/12)*MaxName {
			t.Fatalf("%d octets became %d, aliases %d", len(reply), len(got.Wire), len(got.Aliases))
		}
		for _, off := range got.TTLs {
			if int(off)+6 > len(got.Wire) {
				t.Fatalf("TTL at %d of %d", off, len(got.Wire))
			}
		}
		served := AppendStored(nil, q, &got.Stored, 1, nil)
		if !bytes.Equal(served[HeaderLen:HeaderLen+len(q.raw)], q.raw) {
			t.Fatal("the question changed")
		}
	})
}

// TestNamesOfPointers sanitizes 64 KiB of names that are all pointers to pointers.
func TestNamesOfPointers(t *testing.T) {
	q := question(t, "www.example.", dns.TypeA, false)
	b := append([]byte{0, 1, 0x81, 0x80, 0, 1, 0xff, 0xff, 0, 0, 0, 0}, q.raw...)
	at := HeaderLen
	for len(b) < 0x3ff0 {
		b = append(b, 0xc0|byte(at>>8), byte(at), 0, 1, 0, 1, 0, 0, 0, 1, 0, 0)
		at = len(b) - 12
	}
	var s Sanitizer
	if _, err := s.Sanitize(b, q); err != ErrReply {
		t.Errorf("error %v, want %v: the counts promise more than there is", err, ErrReply)
	}
	b[6], b[7] = byte((len(b)-HeaderLen-len(q.raw))/12>>8), byte((len(b)-HeaderLen-len(q.raw))/12)
	if got, err := s.Sanitize(b, q); err == nil && len(got.Wire) > len(b) {
		t.Errorf("%d octets became %d", len(b), len(got.Wire))
	}
}

func TestRepliesOfOurOwn(t *testing.T) {
	for _, test := range []struct {
		name string
		typ  uint16
		make func(q *Question) []byte
		want string
	}{
		{"a null answer to A", dns.TypeA, func(q *Question) []byte { return AppendNull(nil, q, 10, nil, EDE{}) }, "ads.example. 10 IN A 0.0.0.0\n--\n--\n"},
		{"a null answer to AAAA", dns.TypeAAAA, func(q *Question) []byte { return AppendNull(nil, q, 10, nil, EDE{}) }, "ads.example. 10 IN AAAA ::\n--\n--\n"},
		{"a null answer to HTTPS is no data", dns.TypeHTTPS, func(q *Question) []byte { return AppendNull(nil, q, 10, nil, EDE{}) },
			"--\n. 10 IN SOA telltale.invalid. hostmaster.telltale.invalid. 1 3600 600 86400 10\n--\n"},
		{"NXDOMAIN", dns.TypeA, func(q *Question) []byte {
			return AppendNegative(nil, q, NXDomain, 10, nil, EDE{Code: EDEBlocked, Text: "list"})
		},
			"--\n. 10 IN SOA telltale.invalid. hostmaster.telltale.invalid. 1 3600 600 86400 10\n--\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := question(t, "ads.example.", test.typ, true)
			var m dns.Msg
			if err := m.Unpack(test.make(q)); err != nil {
				t.Fatal(err)
			}
			if lines(&m) != test.want {
				t.Errorf("got\n%swant\n%s", lines(&m), test.want)
			}
			if opt := m.IsEdns0(); opt == nil || !opt.Do() || opt.UDPSize() != PayloadSize {
				t.Errorf("OPT %v", opt)
			}
		})
	}
}

// Names in data that lead nowhere would make clients stumble; they are refused
// also where the record is copied as it stands.
func TestNamesInDataAreChecked(t *testing.T) {
	q := question(t, "a.example.", dns.TypeMX, false)
	head := message(t, "a.example.", dns.TypeMX, false, "--\n--\n")
	head[7] = 1
	rr := func(typ uint16, data ...byte) []byte {
		q.Type = typ
		b := append(head[:len(head):len(head)], 0xc0, 12, byte(typ>>8), byte(typ), 0, 1, 0, 0, 1, 0, 0, byte(len(data)))
		b[len(head)-4], b[len(head)-3] = byte(typ>>8), byte(typ)
		return append(b, data...)
	}
	for _, test := range []struct {
		name string
		msg  []byte
		err  error
	}{
		{"a mail server by a pointer", rr(dns.TypeMX, 0, 10, 0xc0, 12), nil},
		{"a mail server that points at itself", rr(dns.TypeMX, 0, 10, 0xc0, byte(len(head)+14)), ErrReply},
		{"a mail server that points forwards", rr(dns.TypeMX, 0, 10, 0xc1, 0), ErrReply},
		{"a mail server with octets behind it", rr(dns.TypeMX, 0, 10, 0xc0, 12, 0), ErrReply},
		{"a name server that points at itself", rr(dns.TypeNS, 0xc0, byte(len(head)+12)), ErrReply},
		{"a service without a target", rr(dns.TypeSRV, 0, 1, 0, 1, 0, 80), ErrReply},
		{"a service cut short", rr(dns.TypeSRV, 0, 1), ErrReply},
		{"an SOA without its numbers", rr(dns.TypeSOA, 0xc0, 12, 0xc0, 12), ErrReply},
		{"a NAPTR whose strings are longer than it", rr(dns.TypeNAPTR, 0, 1, 0, 1, 200, 1), ErrReply},
		{"an address of three octets", rr(dns.TypeA, 1, 2, 3), ErrReply},
	} {
		var s Sanitizer
		q.Type = uint16(test.msg[len(head)-4])<<8 | uint16(test.msg[len(head)-3])
		if _, err := s.Sanitize(test.msg, q); err != test.err {
			t.Errorf("%s: error %v, want %v", test.name, err, test.err)
		}
	}
}

// What is said beside an answer must not be what sends a client to TCP
// (RFC 8914, 3).
func TestRepliesOfOurOwnFitEveryClient(t *testing.T) {
	label := strings.Repeat("x", 63)
	q := question(t, label+"."+label+"."+label+"."+label[:61]+".", dns.TypeHTTPS, true)
	if len(q.Name.Wire()) != MaxName {
		t.Fatalf("a name of %d octets, want %d", len(q.Name.Wire()), MaxName)
	}
	cookie := make([]byte, 24)
	for _, text := range []string{"list", strings.Repeat("a long name of a list ", 20), strings.Repeat("ü", 150), "x" + strings.Repeat("ü", 150)} {
		b := AppendNull(nil, q, 10, cookie, EDE{Code: EDEBlocked, Text: text})
		if len(b) > minUDPSize {
			t.Errorf("%d octets, want at most %d", len(b), minUDPSize)
		}
		var m dns.Msg
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		for _, o := range m.IsEdns0().Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok && (!utf8.ValidString(e.ExtraText) || !strings.HasPrefix(text, e.ExtraText) || len(e.ExtraText) < min(len(text), maxEDEText-1)) {
				t.Errorf("text %q of %q", e.ExtraText, text)
			}
		}
	}
}

// An answer that fills a message by itself is served whole: the OPT is what
// gives way.
func TestAFullAnswerIsServedWhole(t *testing.T) {
	q := question(t, "www.example.", dns.TypeTXT, true)
	cookie := make([]byte, 24)
	for _, test := range []struct {
		left int // octets of the message that the answer leaves
		opt  bool
		ede  bool
	}{{0, false, false}, {optHeader - 1, false, false}, {optHeader, true, false}, {60, true, true}} {
		q.Keepalive, q.PadTo = 100, 468
		if test.left == optHeader { // there is room for an empty option of padding behind it, and for no other
			q.PadTo = 0
		}
		s := Stored{Wire: make([]byte, MaxMessage-test.left), EDE: EDE{Code: EDEOther, Text: "x"}}
		got := AppendStored([]byte{1, 2, 3}, q, &s, 0, cookie)[3:]
		switch opt := got[len(s.Wire):]; {
		case len(got) > MaxMessage:
			t.Errorf("%d octets left: %d octets, want at most %d", test.left, len(got), MaxMessage)
		case got[11] == 1 != test.opt || len(opt) > 0 != test.opt:
			t.Errorf("%d octets left: an OPT of %d, counted %d, want %v", test.left, len(opt), got[11], test.opt)
		case len(opt) > optHeader != test.ede:
			t.Errorf("%d octets left: an OPT of %d octets, want what it may hold: %v", test.left, len(opt), test.ede)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	q := question(t, "www.ads.example.", dns.TypeA, false)
	packet, _ := new(dns.Msg).SetQuestion("www.ads.example.", dns.TypeA).SetEdns0(1232, false).Pack()
	var s Sanitizer
	stored, err := s.Sanitize(message(t, "www.ads.example.", dns.TypeA, true, "www.ads.example. 300 IN A 192.0.2.1\n--\n--\n"), q)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, PayloadSize)
	for name, f := range map[string]func(){
		"ParseQuestion":  func() { ParseQuestion(packet, q) },
		"AppendNull":     func() { AppendNull(dst, q, 10, nil, EDE{Code: EDEBlocked, Text: "list"}) },
		"AppendNegative": func() { AppendNegative(dst, q, NXDomain, 10, nil, EDE{}) },
		"AppendStored":   func() { AppendStored(dst, q, &stored.Stored, 5, nil) },
		"AppendStored, padded": func() {
			q.PadTo, q.Keepalive = 468, 100
			AppendStored(dst, q, &stored.Stored, 5, nil)
		},
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzNamesInMessages checks that a name is accepted exactly where it can be read,
// and that what is written of it is the same name.
func FuzzNamesInMessages(f *testing.F) {
	head := "\x00\x01\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01"
	f.Add([]byte(head+"\xc0\x0c"), len(head))
	f.Add([]byte(head+"\x01X\xc0\x10\x02yy\xc0\x1d"), len(head)+4)
	f.Fuzz(func(t *testing.T, msg []byte, off int) {
		var n Name
		if len(msg) <= HeaderLen || off < 0 || off > len(msg) {
			return
		}
		if _, err := readName(msg, HeaderLen, &n); err != nil {
			return // checkName is for messages whose question can be read
		}
		end, err := checkName(msg, off)
		readEnd, readErr := readName(msg, off, &n)
		if (err == nil) != (readErr == nil) || end != readEnd {
			t.Fatalf("checked %d %v, read %d %v", end, err, readEnd, readErr)
		}
		if err != nil {
			return
		}
		var s Sanitizer
		s.written.reset()
		s.msg, s.out.Wire = msg, append([]byte(nil), head[:HeaderLen]...)
		for range 2 { // the second time by a pointer
			at := len(s.out.Wire)
			if _, err := s.appendName(off, true); err != nil {
				t.Fatal(err)
			}
			var again Name
			if _, err := readName(s.out.Wire, at, &again); err != nil || !again.Equal(&n) {
				t.Fatalf("%s became %s: %v", n.String(), again.String(), err)
			}
		}
	})
}
