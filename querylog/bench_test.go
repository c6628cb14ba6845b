//go:build unix

package querylog

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpu is the time the process has had, user and system: what a benchmark beside
// other programs can be compared by.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// listed makes records of n names that are rules of a list each.
func listed(b testing.TB, n int) []Record {
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, "host%d.some.tracker.example\n", i)
	}
	p := policy(b, list.String())
	recs := make([]Record, n)
	for i := range recs {
		j := i * 7919 % n // neither list nor log are asked in order
		recs[i] = lookup(b, p, time.Now(), phone(1), fmt.Sprintf("host%d.some.tracker.example", j))
	}
	return recs
}

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

// BenchmarkAttempts is what the journal's goroutine adds to a lookup to tell whether
// an attempt begins with it.
func BenchmarkAttempts(b *testing.B) {
	for _, names := range []int{32, 10_000, 40_000} {
		b.Run(fmt.Sprintf("%d-names", names), func(b *testing.B) {
			l := &Log{fold: newFold(time.Now()), limit: 1 << 30}
			l.hits.reset(l.fold.start)
			for i := range 40_000 {
				n := i % names
				r := lookup(b, nil, time.Now(), phone(1), fmt.Sprintf("host%d.some.site.example", n))
				l.addLocked(&r)
			}
			a := newAttemptCounter(DefaultAttempt.Milliseconds(), 6<<20)
			header := l.fold.header()
			a.countAttempts(l.fold, &header, &l.hits)
			begun, lookups := cpu(), 0
			for b.Loop() {
				a.countAttempts(l.fold, &header, &l.hits)
				lookups += 40_000
			}
			b.ReportMetric(float64(cpu()-begun)/float64(lookups), "cpu-ns/lookup")
		})
	}
}

// BenchmarkFold is the cost of counting a lookup: names come again and again,
// more of them than have room in the last case.
func BenchmarkFold(b *testing.B) {
	recs := listed(b, 100_000)
	for _, c := range []struct {
		name         string
		names, limit int
	}{{"32-names", 32, 1 << 30}, {"10000-names", 10_000, 1 << 30}, {"100000-names", 100_000, 1 << 30}, {"full", 100_000, DefaultMaxMemory}} {
		b.Run(c.name, func(b *testing.B) {
			f := newFold(time.Now())
			for i := range c.names {
				f.add(&recs[i], recs[i].Time.UnixMilli(), byName, c.limit)
			}
			i, begun := 0, cpu()
			for b.Loop() {
				r := &recs[i]
				if i++; i == c.names {
					i = 0
				}
				f.add(r, 0, byName, c.limit)
			}
			b.ReportMetric(float64(cpu()-begun)/float64(b.N), "cpu-ns/lookup")
			b.ReportMetric(float64(f.memory())/float64(len(f.rows)), "B/row")
		})
	}
}

// BenchmarkBatch is BenchmarkFold as a reader of packets counts: 32 lookups together.
func BenchmarkBatch(b *testing.B) {
	recs := listed(b, 100_000)
	for _, names := range []int{32, 10_000, 100_000} {
		l := &Log{fold: newFold(time.Now()), limit: 1 << 30}
		add := func(f func([]Record)) (lookups int) {
			for from := 0; from+countedMost <= names; from += countedMost {
				f(recs[from : from+countedMost])
				lookups += countedMost
				l.hits.reset(l.fold.start)
			}
			return lookups
		}
		oneByOne := func(recs []Record) {
			for i := range recs {
				l.addLocked(&recs[i])
			}
		}
		for _, c := range []struct {
			name string
			add  func([]Record)
		}{{"alone", oneByOne}, {"together", l.addAllLocked}} {
			b.Run(fmt.Sprintf("%d-names/%s", names, c.name), func(b *testing.B) {
				add(c.add)
				begun, lookups := cpu(), 0
				for b.Loop() {
					lookups += add(c.add)
				}
				b.ReportMetric(float64(cpu()-begun)/float64(lookups), "cpu-ns/lookup")
			})
		}
	}
}

// BenchmarkJournal is the cost of a new row to the writer, before it is stored.
func BenchmarkJournal(b *testing.B) {
	recs := listed(b, 50_000)
	f := foldOf(recs)
	begun := cpu()
	var size int
	for b.Loop() {
		f.texts.forget()
		enc := newEncoder(9)
		size = 0
		for i := range f.rows {
			enc.row(f, i, false)
			if len(enc.out) > frameFull {
				size += len(enc.take())
			}
		}
		size += len(enc.take())
	}
	b.ReportMetric(float64(cpu()-begun)/float64(len(recs)*b.N), "cpu-ns/row")
	b.ReportMetric(float64(size)/float64(len(recs)), "B/row")
}

func foldOf(recs []Record) *fold {
	f := newFold(time.Now())
	for i := range recs {
		f.add(&recs[i], recs[i].Time.UnixMilli(), byName, 1<<30)
	}
	return f
}

// BenchmarkCommit is the cost of a row to the store, where few rules decided
// all and where each row has its own.
func BenchmarkCommit(b *testing.B) {
	few := slices.Concat(batches(b, 49_984)...)
	for _, c := range []struct {
		name string
		recs []Record
	}{{"few-rules", few}, {"a-rule-each", listed(b, 50_000)}} {
		b.Run(c.name, func(b *testing.B) {
			s, err := openStore(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer s.close()
			f := foldOf(c.recs)
			n, begun := int64(0), cpu()
			for b.Loop() {
				n++
				if _, _, err := s.commit(&windowData{number: n, node: "n", entries: f.entries}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu()-begun)/float64(len(f.rows)*b.N), "cpu-ns/row")
			size, _ := s.size()
			b.ReportMetric(float64(size)/float64(len(f.rows)*b.N), "B/row")
		})
	}
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

// BenchmarkCurve is what depends on how many rows the store has: a window of
// 1000 rows more, the newest 20 rows, and a name looked for in all of them.
func BenchmarkCurve(b *testing.B) {
	few := slices.Concat(batches(b, 49_984)...)
	window := foldOf(few[:1000])
	for _, rows := range []int{10_000, 100_000, 1_000_000} {
		dir := b.TempDir()
		s, err := openStore(dir)
		if err != nil {
			b.Fatal(err)
		}
		number := int64(0)
		commit := func(f *fold) {
			number++
			if _, _, err := s.commit(&windowData{number: number, node: "n", entries: f.entries}); err != nil {
				b.Fatal(err)
			}
		}
		for have := 0; have < rows; have += 10_000 {
			commit(foldOf(few[:10_000]))
		}
		measure := func(what string, do func()) {
			b.Run(fmt.Sprintf("%s/%d-rows", what, rows), func(b *testing.B) {
				begun := cpu()
				for b.Loop() {
					do()
				}
				b.ReportMetric(float64(cpu()-begun)/1e3/float64(b.N), "cpu-us/op")
			})
		}
		measure("commit", func() { commit(window) })
		measure("newest", func() { read(b, dir, Filter{Limit: 20}) })
		measure("search", func() { read(b, dir, Filter{Name: "host77.some", Limit: 20}) })
		s.close()
	}
}

func read(b *testing.B, dir string, f Filter) {
	if got := len(rows(b, dir, f)); got == 0 {
		b.Fatal("no rows")
	}
}
