//go:build unix

package querylog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"telltale/devices"
	"telltale/dnswire"
)

// homeWindows returns windows as a home makes them: some devices ask for names
// of which few are frequent and most are rare, for A, AAAA and HTTPS.
func homeWindows(b testing.TB, windows int) []*fold {
	var list strings.Builder
	for i := range 300 {
		fmt.Fprintf(&list, "metrics%d.vendor%d.example\n", i, i%20)
	}
	p := policy(b, list.String())
	rng := rand.New(rand.NewPCG(4, 2))
	names := rand.NewZipf(rng, 1.1, 4, 6_000)
	who := make([]*devices.Binding, 20)
	for i := range who {
		d := *phone(uint64(i + 1))
		d.Device, d.MAC = fmt.Sprintf("device%d", i), fmt.Sprintf("02:00:00:00:00:%02x", i)
		who[i] = &d
	}
	folds := make([]*fold, windows)
	at := time.UnixMilli(1_760_000_000_000)
	for w := range folds {
		folds[w] = newFold(at)
		for range 10 + rng.IntN(40) {
			n := names.Uint64()
			name := fmt.Sprintf("edge%d.some-service%d.example.net", n, n%700)
			if n%5 == 0 {
				name = fmt.Sprintf("metrics%d.vendor%d.example", n%300, n%300%20)
			}
			r := lookup(b, p, at, who[rng.IntN(len(who))], name)
			for _, t := range []uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeHTTPS}[:1+rng.IntN(3)] {
				r.Type, r.Time = t, at.Add(time.Duration(rng.IntN(10_000))*time.Millisecond)
				row := &folds[w].rows[folds[w].add(&r, r.Time.UnixMilli(), byName, 1<<30)]
				row.elapsed, row.ttl = max(row.elapsed, 100+uint32(rng.IntN(30_000))), max(row.ttl, uint32(rng.IntN(3_600)))
			}
		}
		at = at.Add(10 * time.Second)
	}
	return folds
}

// BenchmarkHome is the cost of a home's windows to the store, and what looking
// for a rare name in a day of them costs.
func BenchmarkHome(b *testing.B) {
	folds := homeWindows(b, 8_640)
	rows := 0
	for _, f := range folds {
		rows += len(f.rows)
	}
	outer, dir := b, ""
	b.Run("commit", func(b *testing.B) {
		for range b.N {
			dir = outer.TempDir()
			s, err := openStore(dir)
			if err != nil {
				b.Fatal(err)
			}
			begun := cpu()
			for i, f := range folds {
				if _, _, err := s.commit(&windowData{number: 1_760_000_000 + 10*int64(i), node: "n", entries: f.entries}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu()-begun)/float64(rows), "cpu-ns/row")
			size, _ := s.size()
			b.ReportMetric(float64(size)/float64(rows), "B/row")
			b.ReportMetric(float64(rows), "rows")
			s.close()
		}
	})
	for _, c := range []struct {
		name string
		f    Filter
	}{
		{"all", Filter{}}, {"newest", Filter{Limit: 20}}, {"rare-name", Filter{Name: "edge5871.some"}}, {"frequent-name", Filter{Name: "metrics5.vendor"}},
		{"vendor-none", Filter{Vendor: "nobody"}}, {"device", Filter{Device: "device7", Verdict: "block"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, err := openStore(dir) // a server that is there, so that there is a write-ahead log
			if err != nil {
				b.Fatal(err)
			}
			defer s.close()
			begun, n := cpu(), 0
			for b.Loop() {
				n = 0
				r, _ := OpenReader(dir)
				for _, err := range r.Rows(b.Context(), c.f) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(cpu()-begun)/1e6/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(n), "rows")
		})
	}
}
