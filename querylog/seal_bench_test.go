//go:build unix

package querylog

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog/seal"
)

// BenchmarkSealing is what a lookup costs all of the writer with and without a seal: in a
// home, and where every name is new and listed.
func BenchmarkSealing(b *testing.B) {
	home := homeBatches(b, false)
	for _, c := range []struct {
		name string
		all  [][]Record
	}{{"home", home}, {"listed", homeBatches(b, true)}} {
		for _, off := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/sealed=%v", c.name, !off), func(b *testing.B) {
				lookups, rows := 0, uint64(0)
				var spent time.Duration
				size := int64(0)
				for b.Loop() {
					dir := b.TempDir()
					l := open(b, Options{Dir: dir, Unsealed: off, window: time.Second / 4})
					begun := cpu()
					for _, batch := range c.all {
						for i := range batch {
							batch[i].Time = time.Now()
						}
						l.Append(batch)
						lookups += len(batch)
						if err := l.endWindow(context.Background()); err != nil {
							b.Fatal(err)
						}
					}
					closeLog(b, l)
					spent += cpu() - begun
					stats := l.Stats()
					rows += stats.Rows
					s := openForTest(b, dir)
					n, _ := s.size()
					size += n
					s.close()
				}
				b.ReportMetric(float64(spent)/float64(lookups), "cpu-ns/lookup")
				b.ReportMetric(float64(spent)/float64(rows), "cpu-ns/row")
				b.ReportMetric(float64(size)/float64(rows), "B/row")
				b.ReportMetric(float64(rows)/float64(b.N), "rows")
			})
		}
	}
}

// homeBatches are the lookups of windows, of 500 each, as a home makes them, or of listed
// names alone that are asked once.
func homeBatches(b *testing.B, listed bool) [][]Record {
	p := policy(b, "#@ vendor=Vendor product=TV purpose=analytics tier=telemetry source=https://vendor.example/privacy\n=metrics.vendor.example\ntracker.example\n")
	who := make([]*devices.Binding, 20)
	for i := range who {
		d := *phone(uint64(i + 1))
		d.Device, d.MAC = fmt.Sprintf("mac:02:00:00:00:00:%02x", i), fmt.Sprintf("02:00:00:00:00:%02x", i)
		who[i] = &d
	}
	all := make([][]Record, 200)
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
