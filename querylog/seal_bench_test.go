//go:build unix

package querylog

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog/seal"
)

// BenchmarkSealing is what a lookup costs all of the writer (fold, journal, store) with and
// without a seal: in a home, in one where every lookup is a row, and where every lookup is a row
// of a listed name, one that the log knows or one that is new to it. Two logs take the same lookups
// by turns; what is told are medians, as other programs take the processor's caches meanwhile.
func BenchmarkSealing(b *testing.B) {
	for _, c := range []struct {
		name string
		all  [][]Record
	}{{"home", foldingBatches(b)}, {"rows", homeBatches(b, false)}, {"known", listedBatches(b, 1)}, {"new", listedBatches(b, sealWindows)}} {
		b.Run(c.name, func(b *testing.B) {
			var spent [2][]float64 // nanoseconds a lookup
			var size [2]float64    // octets a row
			var more []float64
			for n := 0; b.Loop(); n++ {
				for i := range spent {
					i = (i + n) % 2
					var took float64
					took, size[i] = sealCost(b, c.all, i == 0)
					spent[i] = append(spent[i], took)
				}
				more = append(more, 100*(spent[1][n]/spent[0][n]-1))
			}
			for i, what := range []string{"unsealed", "sealed"} {
				b.ReportMetric(middle(spent[i]), what+"-cpu-ns/lookup")
				b.ReportMetric(size[i], what+"-B/row")
			}
			b.ReportMetric(middle(more), "%more-cpu")
		})
	}
}

// sealCost returns the processor time that a log takes for a lookup, in nanoseconds, and the
// octets of its store for a row.
func sealCost(b *testing.B, all [][]Record, unsealed bool) (took, size float64) {
	dir := b.TempDir()
	runtime.GC()
	l := open(b, Options{Dir: dir, Unsealed: unsealed, window: time.Second / 4})
	lookups, begun := 0, cpu()
	for n, batch := range all {
		for i := range batch {
			batch[i].Time = time.Now()
		}
		l.Append(batch)
		lookups += len(batch)
		if err := l.endWindow(b.Context()); err != nil {
			b.Fatal(err)
		}
		if n%windowsOfMinute == windowsOfMinute-1 {
			minuteIsOver(b, l)
		}
	}
	closeLog(b, l)
	took = float64(cpu()-begun) / float64(lookups)
	s := openForTest(b, dir)
	n, err := s.size()
	if err != nil {
		b.Fatal(err)
	}
	s.close()
	return took, float64(n) / float64(l.Stats().Rows)
}

// windowsOfMinute is how many windows a minute has.
const windowsOfMinute = 6

// minuteIsOver has the store do what it does once a minute: move pages, and sign every second time.
func minuteIsOver(b *testing.B, l *Log) {
	if err := l.importing(b.Context(), func(s *storer) error {
		s.signer.at = s.signer.at.Add(-checkpointEvery)
		s.checkpointNow()
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}

func middle(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// sealWindows is how many windows the batches below are.
const sealWindows = 100

// listedBatches are the lookups of windows, of 500 each, of listed names alone: of so many
// times 500 names in turn.
func listedBatches(b *testing.B, names int) [][]Record {
	p, who := sealHome(b)
	all := make([][]Record, sealWindows)
	for w := range all {
		for i := range 500 {
			r := lookup(b, p, time.Now(), who[i%len(who)], fmt.Sprintf("n%d.w%d.tracker.example", i, w%names))
			r.Type = []uint16{dnswire.TypeA, dnswire.TypeAAAA}[i%2]
			all[w] = append(all[w], r)
		}
	}
	return all
}

// sealHome returns the policy and the devices of the batches.
func sealHome(b *testing.B) (*blocklists.Policy, []*devices.Binding) {
	p := policy(b, "#@ vendor=Vendor product=TV purpose=analytics tier=telemetry source=https://vendor.example/privacy\n=metrics.vendor.example\ntracker.example\n")
	who := make([]*devices.Binding, 20)
	for i := range who {
		d := *phone(uint64(i + 1))
		d.Device, d.MAC = fmt.Sprintf("mac:02:00:00:00:00:%02x", i), fmt.Sprintf("02:00:00:00:00:%02x", i)
		who[i] = &d
	}
	return p, who
}

// foldingBatches are the lookups of windows as a home makes them (homeWindows): every fifth name
// is listed, frequent names come again, and some lookups of a window are of one row.
func foldingBatches(b *testing.B) [][]Record {
	p, who := sealHome(b)
	rng := rand.New(rand.NewPCG(4, 2))
	names := rand.NewZipf(rng, 1.1, 4, 6_000)
	all := make([][]Record, 4*sealWindows)
	for w := range all {
		for range 10 + rng.IntN(40) {
			n := names.Uint64()
			name := fmt.Sprintf("edge%d.some-service%d.example.net", n, n%700)
			if n%5 == 0 {
				name = fmt.Sprintf("n%d.w%d.tracker.example", n%300, n%20)
			}
			r := lookup(b, p, time.Now(), who[rng.IntN(len(who))], name)
			for _, t := range []uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeHTTPS}[:1+rng.IntN(3)] {
				r.Type = t
				for all[w] = append(all[w], r); rng.IntN(3) == 0; {
					all[w] = append(all[w], r)
				}
			}
		}
	}
	return all
}

// homeBatches are the lookups of windows, of 500 each, as a home makes them, or of listed
// names alone that are asked once.
func homeBatches(b *testing.B, listed bool) [][]Record {
	p, who := sealHome(b)
	all := make([][]Record, sealWindows)
	for w := range all {
		for i := range 500 {
			name := fmt.Sprintf("edge%d.some-service%d.example.net", (w*7+i)%3000, i%70)
			if listed || i%5 == 0 {
				name = fmt.Sprintf("n%d.w%d.tracker.example", i, w%40)
			}
			r := lookup(b, p, time.Now(), who[i%len(who)], name)
			r.Type = []uint16{dnswire.TypeA, dnswire.TypeAAAA}[i%2]
			all[w] = append(all[w], r)
		}
	}
	return all
}

// BenchmarkAudit walks a log of 100,000 rows, or of as many as AUDIT_ROWS says. AUDIT_DIR
// keeps it, so that another process can show what the walk alone takes.
func BenchmarkAudit(b *testing.B) {
	rows := 100_000
	if n, err := strconv.Atoi(os.Getenv("AUDIT_ROWS")); err == nil {
		rows = n
	}
	dir := cmp.Or(os.Getenv("AUDIT_DIR"), b.TempDir())
	s, err := openStore(dir)
	if err != nil {
		b.Fatal(err)
	}
	if s.position > 0 {
		rows = 0
	} else if err := s.transact(func() error {
		return s.seal.state(&seal.Start{Time: 1, Origin: seal.OriginOf(s.id), From: 1 << rowBits})
	}); err != nil {
		b.Fatal(err)
	}
	s.seal.on, s.seal.from = true, 1<<rowBits
	batches := homeBatches(b, true)
	folds := make([]*fold, len(batches))
	for i, batch := range batches {
		folds[i] = foldOf(batch)
	}
	for n, number := 0, int64(1_760_000_000); n < rows; number += 10 {
		f := folds[int(number/10)%len(folds)]
		if _, _, err := s.commit(&windowData{number: number, node: "n", entries: f.entries}); err != nil {
			b.Fatal(err)
		}
		n += len(f.rows)
	}
	s.close()
	runtime.GC()
	b.ResetTimer()
	begun := cpu()
	var report *SealReport
	for b.Loop() {
		report = audit(b, dir, SealAudit{})
	}
	b.ReportMetric(float64(cpu()-begun)/float64(b.N)/float64(report.Leaves), "cpu-ns/leaf")
	b.ReportMetric(float64(report.Rows), "rows")
	info, _ := os.Stat(s.path)
	b.ReportMetric(float64(info.Size())/float64(report.Rows), "B/row")
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for _, line := range strings.Split(string(status), "\n") {
			if len(line) > 6 && line[:6] == "VmHWM:" {
				b.Logf("peak %s", line[6:])
			}
		}
	}
}
