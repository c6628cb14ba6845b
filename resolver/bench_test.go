package resolver

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
)

// BenchmarkServe is parse, decide, answer and finish, without sockets and log.
func BenchmarkServe(b *testing.B) {
	d := newHarness(b, Options{Policy: withPolicy(everyMode(b))})
	d.teach("www.site.example.", dns.TypeA, "www.site.example. 300 IN A 192.0.2.1", true)
	d.teach("alias.site.example.", dns.TypeA, "alias.site.example. 300 IN CNAME www.cdn.example.\nwww.cdn.example. 300 IN A 192.0.2.1", true)
	for _, test := range []struct{ load, name string }{
		{"blocked", "host.null.example."}, {"cached", "www.site.example."}, {"alias", "alias.site.example."},
	} {
		b.Run(test.load, func(b *testing.B) {
			packet := packetOf(b, test.name, dns.TypeA)
			r := &countingWriter{records: make([]querylog.Record, 0, 1)}
			d.q.path.Client, d.q.transport = d.client, querylog.UDP
			b.ReportAllocs()
			for b.Loop() {
				r.records = r.records[:0]
				d.s.prepare(&d.q, d.s.policy(), d.now)
				d.s.serve(packet, &d.q, d.dst, r, r)
			}
			if len(r.records) != 1 {
				b.Fatal("not answered at once")
			}
		})
	}
}

// BenchmarkCache finds and keeps answers among a hundred thousand.
func BenchmarkCache(b *testing.B) {
	const answers = 100_000
	now := time.Now()
	d := newHarness(b, Options{CacheSize: 256 << 20})
	questions, entries := make([]dnswire.Question, answers), make([]*cache.Entry, answers)
	for i := range questions {
		questions[i] = dnswire.Question{Type: dnswire.TypeA, Class: dnswire.ClassIN}
		name := fmt.Sprintf("host%d.site%d.example.", i, i%97)
		if err := questions[i].Name.Set(name); err != nil {
			b.Fatal(err)
		}
		entries[i] = d.teach(name, dns.TypeA, name+" 300 IN A 192.0.2.1", true)
	}
	const step = 7919 // prime, so that none comes after its neighbour
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		into := new(cache.Entry)
		for i := 0; b.Loop(); i = (i + step) % answers {
			if _, ok := d.s.cache.Get(&questions[i], now, into); !ok {
				b.Fatal("an answer is gone")
			}
		}
	})
	b.Run("put", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i = (i + step) % answers {
			d.s.cache.Put(&questions[i], entries[i])
		}
	})
}
