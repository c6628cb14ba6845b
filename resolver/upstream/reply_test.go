package upstream

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// askedFor returns header and question as sent for name A.
func askedFor(name string) []byte {
	q := dnswire.Question{Type: dnswire.TypeA, Class: dnswire.ClassIN}
	if err := q.Name.Set(name); err != nil {
		panic(err)
	}
	var b exchangeBuffer
	_, asked := b.writeQuery(&q, 0x1234, modeFull, &Upstream{})
	return bytes.Clone(asked)
}

// The question may come back in any case: it was sent in lower case, and there
// is nothing to learn from what became of it.
func TestQuestionInAnotherCase(t *testing.T) {
	asked := askedFor("www.example")
	packet := bytes.ReplaceAll(dnstest.AnswerTo(asked[:len(asked):len(asked)], "192.0.2.1"), []byte("www"), []byte("wWW"))
	if kind, end, _ := checkReply(packet, asked); kind != replyGood || end != len(packet) {
		t.Errorf("got %d and %d, want %d and %d", kind, end, replyGood, len(packet))
	}
}

func TestCheckReplyAllocatesNothing(t *testing.T) {
	asked := askedFor("www.example")
	b := dnstest.ReplyTo(asked, 0)
	n := 0
	for ; len(b)+12 <= 0xffff; n++ {
		b = append(b, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 0)
	}
	binary.BigEndian.PutUint16(b[6:], uint16(n))
	binary.BigEndian.PutUint16(b[10:], 0)
	if kind, _, _ := checkReply(b, asked); kind != replyGood {
		t.Fatalf("got %d, want %d", kind, replyGood)
	}
	if n := dnstest.Allocs(100, func() { checkReply(b, asked) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestVerdictsOfValidators(t *testing.T) {
	option := func(code, size uint16, data ...byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, code)
		return append(binary.BigEndian.AppendUint16(b, size), data...)
	}
	for _, test := range []struct {
		name    string
		options []byte
		want    bool
	}{
		{"no option", nil, false},
		{"bogus", option(15, 2, 0, 6), true},
		{"bogus with a text", option(15, 5, 0, 6, 'b', 'a', 'd'), true},
		{"behind a cookie", append(option(10, 8, make([]byte, 8)...), option(15, 2, 0, 12)...), true},
		{"behind another EDE", append(option(15, 2, 0, 22), option(15, 2, 0, 7)...), true},
		{"forged answer is none", option(15, 2, 0, 4), false},
		{"cached error is none", option(15, 2, 0, 13), false},
		{"code 262 is none", option(15, 2, 1, 6), false},
		{"an EDE of one octet", option(15, 1, 6), false},
		{"an option longer than the rest", option(15, 9, 0, 6), false},
		{"three octets", []byte{0, 15, 0}, false},
	} {
		if got := hasVerdict(test.options); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}

// BenchmarkReply is what reading a reply costs: once for what it is, and once for
// what of it is kept.
func BenchmarkReply(b *testing.B) {
	asked := askedFor("www.example")
	q := dnswire.Question{Type: dnswire.TypeA, Class: dnswire.ClassIN}
	if err := q.Name.Set("www.example"); err != nil {
		b.Fatal(err)
	}
	reply := dnstest.AnswerTo(asked, "192.0.2.1")
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if kind, _, _ := checkReply(reply, asked); kind != replyGood {
				b.Fatal(kind)
			}
		}
	})
	b.Run("sanitize", func(b *testing.B) {
		b.ReportAllocs()
		var s dnswire.Sanitizer
		for b.Loop() {
			if _, err := s.Sanitize(reply, &q); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Against a full parser: what is taken as a reply is one, to this very question,
// and its records can be walked to where we say they end. What the sanitizer reads in
// it afterwards is of the same kind.
func FuzzCheckReply(f *testing.F) {
	asked := askedFor("www.example")
	query := append(bytes.Clone(asked), 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0)
	query[11] = 1
	for _, s := range strays {
		f.Add(s.spoil(query))
	}
	f.Add(dnstest.AnswerTo(query, "192.0.2.1"))
	f.Add(dnstest.ReplyTo(query, dns.RcodeServerFailure))
	f.Add([]byte{0x12, 0x34, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, packet []byte) {
		before := bytes.Clone(packet)
		kind, end, opt := checkReply(packet, asked)
		if !bytes.Equal(packet, before) {
			t.Fatal("the packet was changed")
		}
		if kind != replyStray && packet[5] == 1 {
			lowerLetters(packet, asked)
			if !bytes.Equal(bytes.ToLower(packet), bytes.ToLower(before)) {
				t.Fatal("more than letters was changed")
			}
			if again, at, _ := checkReply(packet, asked); again != kind || at != end {
				t.Fatalf("in lower case it is %v that ends at %d, before %v and %d", again, at, kind, end)
			}
		}
		if kind == replyStray || kind == replyTruncated {
			if opt {
				t.Fatal("an OPT in what was not read")
			}
			return
		}
		if end < dnswire.HeaderLen || end > len(packet) {
			t.Fatalf("it ends at %d of %d", end, len(packet))
		}
		var p dnsmessage.Parser
		h, err := p.Start(packet[:end])
		if err != nil || h.ID != 0x1234 || !h.Response || h.OpCode != 0 || h.Truncated {
			t.Fatalf("header %+v, %v", h, err)
		}
		qs, err := p.AllQuestions()
		if err != nil {
			t.Fatal(err)
		}
		if len(qs) == 0 {
			if kind == replyGood || end != dnswire.HeaderLen {
				t.Fatalf("no question, kind %d, end %d", kind, end)
			}
			return
		}
		if len(qs) != 1 || !strings.EqualFold(qs[0].Name.String(), "www.example.") || qs[0].Type != dnsmessage.TypeA || qs[0].Class != dnsmessage.ClassINET {
			t.Fatalf("question %v", qs)
		}
		for _, skip := range []func() error{p.SkipAllAnswers, p.SkipAllAuthorities, p.SkipAllAdditionals} {
			if err := skip(); err != nil {
				t.Fatalf("kind %d, %v", kind, err)
			}
		}
		q := dnswire.Question{Type: dnswire.TypeA, Class: dnswire.ClassIN}
		if err := q.Name.Set("www.example"); err != nil {
			t.Fatal(err)
		}
		read, err := new(dnswire.Sanitizer).Sanitize(packet[:end], &q)
		switch of := kindOf(read.Rcode); {
		case err != nil, kind == of:
		case of == replyServFail && kind == replyGood: // a validator's verdict, in any of its EDEs
		case read.Rcode == dnswire.Success && kind == replyRefused && len(read.TTLs) == 0: // a referral
		default:
			t.Fatalf("kind %d, but the sanitizer reads response code %d, EDE %d, %d records", kind, read.Rcode, read.EDE.Code, len(read.TTLs))
		}
	})
}
