package dnswire

import (
	"testing"

	"github.com/miekg/dns"
)

func BenchmarkParseQuestion(b *testing.B) {
	for _, edns := range []bool{false, true} {
		m := new(dns.Msg).SetQuestion("www.ads.tracker.example.", dns.TypeA)
		name := "plain"
		if edns {
			m.SetEdns0(1232, false)
			name = "EDNS"
		}
		packet, err := m.Pack()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			var q Question
			b.ReportAllocs()
			for b.Loop() {
				if err := ParseQuestion(packet, &q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	q := question(b, "www.ads.example.", dns.TypeA, false)
	kept, err := new(Sanitizer).Sanitize(message(b, "www.ads.example.", dns.TypeA, true,
		"www.ads.example. 300 IN CNAME a.cdn.example.\na.cdn.example. 300 IN A 192.0.2.1\na.cdn.example. 300 IN A 192.0.2.2\n--\n--\n"), q)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, PayloadSize)
	for _, test := range []struct {
		name string
		f    func() []byte
	}{
		{"blocked", func() []byte { return AppendNull(dst, q, 10, nil, EDE{Code: EDEBlocked, Text: "list"}) }},
		{"negative", func() []byte { return AppendNegative(dst, q, NXDomain, 10, nil, EDE{}) }},
		{"stored", func() []byte { return AppendStored(dst, q, &kept.Stored, 5, nil) }},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if len(test.f()) == 0 {
					b.Fatal("nothing appended")
				}
			}
		})
	}
}

func BenchmarkSanitize(b *testing.B) {
	q := question(b, "www.ads.example.", dns.TypeA, false)
	reply := message(b, "www.ads.example.", dns.TypeA, true,
		"www.ads.example. 300 IN CNAME a.cdn.example.\na.cdn.example. 300 IN A 192.0.2.1\na.cdn.example. 300 IN A 192.0.2.2\n--\n--\n")
	var s Sanitizer
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sanitize(reply, q); err != nil {
			b.Fatal(err)
		}
	}
}
