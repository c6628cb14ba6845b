package dnswire

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzParseQuestion checks the fast parser against miekg/dns: whatever it
// accepts, the library must accept too, and both must read the same question.
// Refusing more than the library does is fine; the query just goes slower.
func FuzzParseQuestion(f *testing.F) {
	for _, name := range []string{".", "example.org.", "WwW.ExAmPlE.org.", `a\.b\000\255.example.`} {
		m := new(dns.Msg).SetQuestion(name, dns.TypeAAAA)
		plain, _ := m.Pack()
		f.Add(plain)
		m.SetEdns0(1232, true)
		edns, _ := m.Pack()
		f.Add(edns)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"},
			&dns.EDNS0_PADDING{Padding: make([]byte, 20)})
		options, _ := m.Pack()
		f.Add(options)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		var q Question
		switch err := ParseQuestion(packet, &q); err {
		case nil:
		case ErrNotQuery, ErrUnusual, ErrFormat, ErrOpcode, ErrVersion, ErrCookieOnly:
			return
		default:
			t.Fatalf("unexpected error %v", err)
		}
		var m dns.Msg
		if err := m.Unpack(packet); err != nil {
			if strings.Contains(err.Error(), "OPT") {
				return // the library reads inside options that do not concern a question
			}
			t.Fatalf("accepted a packet miekg/dns rejects: %v\n%x", err, packet)
		}
		want := make([]byte, 255)
		n, err := dns.PackDomainName(strings.ToLower(m.Question[0].Name), want, 0, nil, false)
		if err != nil || string(want[:n]) != string(q.Name.Wire()) {
			t.Fatalf("name %q, want %q (%v)", q.Name.Wire(), want[:n], err)
		}
		if got := q.Name.Labels(); got != dns.CountLabel(m.Question[0].Name) {
			t.Fatalf("%d labels, want %d", got, dns.CountLabel(m.Question[0].Name))
		}
		if q.Type != m.Question[0].Qtype || q.Class != m.Question[0].Qclass || q.ID != m.Id || q.RD != m.RecursionDesired ||
			q.CD != m.CheckingDisabled || q.AD != m.AuthenticatedData {
			t.Fatalf("got %+v, want %v", q, m.Question[0])
		}
		size, do := uint16(512), false
		if opt := m.IsEdns0(); opt != nil {
			size, do = max(size, opt.UDPSize()), opt.Do()
		}
		if q.UDPSize != size || q.DO != do || q.EDNS != (m.IsEdns0() != nil) {
			t.Fatalf("EDNS %d %v, want %d %v", q.UDPSize, q.DO, size, do)
		}
	})
}

// FuzzName checks that a name survives the way to text and back, and that both
// readers of text agree.
func FuzzName(f *testing.F) {
	for _, s := range []string{".", "example.com", "Example.COM.", `a\.b.c`, `\255\000x.y`, "a..b", "", strings.Repeat("a", 64), `a\`, `a\25`, `\256.x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		back, err := ParseName(n.String())
		if err != nil || !back.Equal(&n) {
			t.Fatalf("%q became %q became %q (%v)", s, n.String(), back.String(), err)
		}
		wire := make([]byte, 300)
		if k, err := dns.PackDomainName(dns.Fqdn(s), wire, 0, nil, false); err == nil && isASCII(s) && !strings.Contains(s, `\`) {
			if want := strings.ToLower(string(wire[:k])); want != string(n.Wire()) {
				t.Fatalf("%q: wire %q, want %q", s, n.Wire(), want)
			}
		}
		for k := 0; k <= n.Labels(); k++ {
			var suffix Name
			if _, err := suffix.Read(n.Suffix(k), 0); err != nil || suffix.Labels() != k {
				t.Fatalf("%q: suffix %d is %q", s, k, n.Suffix(k))
			}
		}
	})
}

func isASCII(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 }

func TestNamesThatAreNone(t *testing.T) {
	for _, s := range []string{"", "..", ".a", "a..b", strings.Repeat("a", 64) + ".b", strings.Repeat("a.", 128) + "b",
		strings.Repeat(strings.Repeat("a", 63)+".", 4), `a\`, `a\1`, `a\12.b`, `\256`} {
		if n, err := ParseName(s); err == nil {
			t.Errorf("%q was read as %q", s, n.String())
		}
	}
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 61)
	if n, err := ParseName(long); err != nil || len(n.Wire()) != 255 {
		t.Errorf("a name of 255 octets: %d, %v", len(n.Wire()), err)
	}
}

func TestTypesAndTheirNames(t *testing.T) {
	for typ, want := range dns.TypeToString {
		switch typ {
		case dns.TypeNone, dns.TypeReserved, dns.TypeNXNAME:
			continue
		}
		if got, ok := ParseType(want); ok && got != typ {
			t.Errorf("%s is %d, want %d", want, got, typ)
		}
		if got, ok := ParseType(TypeString(typ)); !ok || got != typ {
			t.Errorf("%d became %q became %d", typ, TypeString(typ), got)
		}
	}
}

// A client that says so over a connection is told how long it may wait (RFC 7828),
// and its replies are padded (RFC 7830), where the server wants that.
func TestOptionsOfConnections(t *testing.T) {
	m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA).SetEdns0(1232, false)
	plain, _ := m.Pack()
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}, &dns.EDNS0_PADDING{Padding: make([]byte, 3)}}
	both, _ := m.Pack()
	var q Question
	if err := ParseQuestion(both, &q); err != nil || !q.AsksKeepalive || !q.HasPadding {
		t.Fatalf("%v: keepalive %v, padding %v", err, q.AsksKeepalive, q.HasPadding)
	}
	stored := Stored{Wire: AppendEmpty(nil, &Question{raw: q.raw}, Success, nil, EDE{})}
	q.Keepalive, q.PadTo = 300, 468
	for name, reply := range map[string][]byte{
		"a null answer":    AppendNull([]byte("before"), &q, 10, nil, EDE{Code: EDEBlocked, Text: "list"})[6:],
		"a stored answer":  AppendStored([]byte("before"), &q, &stored, 0, make([]byte, 24))[6:],
		"one without data": AppendEmpty(nil, &q, BadVers, nil, EDE{}),
	} {
		var r dns.Msg
		if err := r.Unpack(reply); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(reply) != 468 {
			t.Errorf("%s: %d octets, want 468", name, len(reply))
		}
		keepalive, padding := uint16(0), 0
		for _, o := range r.IsEdns0().Option {
			switch o := o.(type) {
			case *dns.EDNS0_TCP_KEEPALIVE:
				keepalive = o.Timeout
			case *dns.EDNS0_PADDING:
				padding++
				if strings.Trim(string(o.Padding), "\x00") != "" {
					t.Errorf("%s: padding %x, want zeros", name, o.Padding)
				}
			}
		}
		if keepalive != 300 || padding != 1 {
			t.Errorf("%s: keepalive %d, %d times padding", name, keepalive, padding)
		}
	}
	if err := ParseQuestion(plain, &q); err != nil || q.AsksKeepalive || q.HasPadding || q.Keepalive != 0 || q.PadTo != 0 {
		t.Errorf("%v: the options of the query before: %+v", err, q)
	}
	if r := AppendNull(nil, &q, 10, nil, EDE{}); len(r) == 468 {
		t.Error("padded, and nobody asked")
	}
}

func TestPaddingHasItsBounds(t *testing.T) {
	for _, c := range []struct{ size, to, want int }{
		{100, 468, 364}, {463, 468, 1}, {464, 468, 0}, {465, 468, 467}, {65520, 468, 11}, {65531, 468, 0}, {65532, 468, -1}, {65535, 468, -1},
	} {
		if got := paddingOf(c.size, c.to); got != c.want {
			t.Errorf("%d octets to a multiple of %d: %d, want %d", c.size, c.to, got, c.want)
		}
	}
}
