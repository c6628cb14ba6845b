package format

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// BenchmarkParse reads 100,000 lines of each rendering; the figure to look at
// is ns/line.
func BenchmarkParse(b *testing.B) {
	names := madeUp(100_000)
	for _, bench := range []struct{ name, before, after string }{
		{"domains", "", ""},
		{"hosts", "0.0.0.0 ", ""},
		{"adblock", "||", "^"},
		{"wildcard", "*.", ""},
		{"dnsmasq", "local=/", "/"},
		{"unbound", `local-zone: "`, `." always_null`},
		{"rpz", "", " CNAME ."},
		{"annotated", "", "  #@ purpose=ads"},
	} {
		var text bytes.Buffer
		if bench.name == "rpz" {
			text.WriteString("$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\n")
		}
		for _, name := range names {
			fmt.Fprintf(&text, "%s%s%s\n", bench.before, name, bench.after)
		}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(text.Len()))
			for b.Loop() {
				rules := 0
				Parse(bytes.NewReader(text.Bytes()), Options{}, func(*Rule) { rules++ })
				if rules != len(names) {
					b.Fatalf("%d rules of %d lines", rules, len(names))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(names)), "ns/line")
		})
	}
}

// madeUp returns names of about 21 octets.
func madeUp(n int) []string {
	random := rand.New(rand.NewPCG(1, 2))
	label := func(least, more int) string {
		var s strings.Builder
		for range least + random.IntN(more) {
			s.WriteByte("abcdefghijklmnopqrstuvwxyz0123456789-"[random.IntN(37)])
		}
		return s.String()
	}
	names := make([]string, n)
	for i := range names {
		names[i] = label(3, 8) + "." + label(6, 8) + "." + []string{"com", "net", "org", "co.uk", "example"}[random.IntN(5)]
	}
	return names
}
