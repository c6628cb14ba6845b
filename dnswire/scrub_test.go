package dnswire

import (
	"bytes"
	"fmt"
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

func TestScrubKeepsTheAnswerAlone(t *testing.T) {
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
			reply: "www.example. 300 IN A 192.0.2.1\nwww.example. 400 IN A 192.0.2.2\n--\n--\n"},
		{name: "a chain stays, and its least TTL counts", qname: "www.example.", typ: dns.TypeA, ttl: 20, aliases: "a.example b.example",
			reply: "www.example. 300 IN CNAME a.example.\na.example. 20 IN CNAME b.example.\nb.example. 60 IN A 192.0.2.1\n--\n--\n"},
		{name: "a chain out of order stays", qname: "www.example.", typ: dns.TypeA, ttl: 20, aliases: "a.example b.example",
			reply: "b.example. 60 IN A 192.0.2.1\na.example. 20 IN CNAME b.example.\nwww.example. 300 IN CNAME a.example.\n--\n--\n"},
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
		{name: "a TTL of days is bounded", qname: "www.example.", typ: dns.TypeA, ttl: 86400, reply: "www.example. 999999 IN A 192.0.2.1\n--\n--\n"},
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
				var s Scrubber
				got, err := s.Scrub(message(t, test.qname, test.typ, compress, test.reply), q)
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

// FuzzScrub checks that nothing of an upstream's reply but the answer gets
// through, whatever the octets: what is kept must be readable by miekg/dns, hold
// only names of the chain, and cost no more than the reply did.
func FuzzScrub(f *testing.F) {
	for _, text := range []string{
		"www.example. 300 IN A 192.0.2.1\n--\n--\n",
		"www.example. 300 IN CNAME a.example.\nx.example. 1 IN A 192.0.2.66\na.example. 20 IN A 192.0.2.1\n--\n--\n",
		"--\nexample. 300 IN SOA ns.example. host.example. 1 2 3 4 60\n--\n",
	} {
		f.Add(message(f, "www.example.", dns.TypeA, true, text), uint16(dns.TypeA), true)
	}
	f.Add(message(f, "www.example.", dns.TypeHTTPS, true, "www.example. 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1\n--\n--\n"), uint16(dns.TypeHTTPS), false)
	f.Fuzz(func(t *testing.T, reply []byte, typ uint16, do bool) {
		q := question(t, "www.example.", typ, do)
		head := append([]byte{0, 1, 0x81, 0x80, 0, 1}, make([]byte, 6)...)
		copy(head[6:], reply[min(len(reply), 6):min(len(reply), 12)])
		reply = append(append(head, q.raw...), reply[min(len(reply), HeaderLen+len(q.raw)):]...)
		var s Scrubber
		got, err := s.Scrub(reply, q)
		if err != nil {
			return
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

// TestNamesOfPointers scrubs 64 KiB of names that are all pointers to pointers.
func TestNamesOfPointers(t *testing.T) {
	q := question(t, "www.example.", dns.TypeA, false)
	b := append([]byte{0, 1, 0x81, 0x80, 0, 1, 0xff, 0xff, 0, 0, 0, 0}, q.raw...)
	at := HeaderLen
	for len(b) < 0x3ff0 {
		b = append(b, 0xc0|byte(at>>8), byte(at), 0, 1, 0, 1, 0, 0, 0, 1, 0, 0)
		at = len(b) - 12
	}
	var s Scrubber
	if _, err := s.Scrub(b, q); err != ErrReply {
		t.Errorf("error %v, want %v: the counts promise more than there is", err, ErrReply)
	}
	b[6], b[7] = byte((len(b)-HeaderLen-len(q.raw))/12>>8), byte((len(b)-HeaderLen-len(q.raw))/12)
	if got, err := s.Scrub(b, q); err == nil && len(got.Wire) > len(b) {
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
			"--\nads.example. 10 IN SOA telltale.invalid. hostmaster.telltale.invalid. 1 3600 600 86400 10\n--\n"},
		{"NXDOMAIN", dns.TypeA, func(q *Question) []byte {
			return AppendNegative(nil, q, NXDomain, 10, nil, EDE{Code: EDEBlocked, Text: "list"})
		},
			"--\nads.example. 10 IN SOA telltale.invalid. hostmaster.telltale.invalid. 1 3600 600 86400 10\n--\n"},
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
		var s Scrubber
		q.Type = uint16(test.msg[len(head)-4])<<8 | uint16(test.msg[len(head)-3])
		if _, err := s.Scrub(test.msg, q); err != test.err {
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

func TestNoAllocation(t *testing.T) {
	q := question(t, "www.ads.example.", dns.TypeA, false)
	packet, _ := new(dns.Msg).SetQuestion("www.ads.example.", dns.TypeA).SetEdns0(1232, false).Pack()
	var s Scrubber
	stored, err := s.Scrub(message(t, "www.ads.example.", dns.TypeA, true, "www.ads.example. 300 IN A 192.0.2.1\n--\n--\n"), q)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, PayloadSize)
	for name, f := range map[string]func(){
		"ParseQuestion":  func() { ParseQuestion(packet, q) },
		"AppendNull":     func() { AppendNull(dst, q, 10, nil, EDE{Code: EDEBlocked, Text: "list"}) },
		"AppendNegative": func() { AppendNegative(dst, q, NXDomain, 10, nil, EDE{}) },
		"AppendStored":   func() { AppendStored(dst, q, &stored.Stored, 5, nil) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
