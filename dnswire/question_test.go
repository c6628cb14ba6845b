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
