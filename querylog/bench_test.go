package querylog

import (
	"fmt"
	"testing"
	"time"
)

// batches makes records of n names, in batches as a reader of packets has them.
func batches(b testing.TB, n int) [][]Record {
	p := policy(b, "tracker.example\n")
	all := make([][]Record, n/32)
	for i := range all {
		all[i] = make([]Record, 32)
		for j := range all[i] {
			name := fmt.Sprintf("host%d.some.tracker.example", i*32+j)
			if j%3 == 0 {
				name = fmt.Sprintf("host%d.some.site.example", i*32+j)
			}
			all[i][j] = lookup(b, p, time.Now(), phone(1), name)
		}
	}
	return all
}

func TestAppendDoesNotAllocate(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir()})
	defer l.Close()
	all := batches(t, 320)
	at := 0
	once := func() {
		l.Append(all[at%len(all)])
		at++
	}
	for range 100 {
		once()
	}
	if n := testing.AllocsPerRun(1000, once); n > 0.1 { // the journal's buffer grows, rarely
		t.Errorf("got %v allocations for a batch, want none", n)
	}
}

// BenchmarkAppend is the cost of a lookup to who answers it, journal and store
// running beside it.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{32, 10_016, 99_968} {
		b.Run(fmt.Sprintf("%d-names", n), func(b *testing.B) {
			all := batches(b, n)
			l := open(b, Options{Dir: b.TempDir()})
			defer l.Close()
			now := time.Now()
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				batch := all[i/32%len(all)]
				batch[i%32].Time = now
				if i%32 == 31 {
					l.Append(batch)
					now = time.Now()
				}
				i++
			}
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	all := batches(b, 49_984)
	s, err := openStore(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	f := newFold(time.Now())
	for _, batch := range all {
		for i := range batch {
			f.add(&batch[i], batch[i].Time.UnixMilli(), byName, 1<<30)
		}
	}
	n := int64(0)
	for b.Loop() {
		n++
		if _, _, err := s.commit(&windowData{number: n, node: "n", entries: f.entries}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(f.rows))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	size, _ := s.size()
	b.ReportMetric(float64(size)/float64(len(f.rows)*b.N), "B/row")
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	l := open(b, Options{Dir: dir, MaxMemory: 32 << 20})
	for _, batch := range batches(b, 49_984) {
		l.Append(batch)
	}
	closeLog(b, l)
	for b.Loop() {
		if got := len(rows(b, dir, Filter{})); got != 49_984 {
			b.Fatalf("got %d rows", got)
		}
	}
	b.ReportMetric(49_984*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
