package clickhouse

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"telltale/fleet/clickhouse/servertest"
	"telltale/querylog"
)

const (
	benchNodes   = 1000
	benchDevices = 2 // of each
	benchDays    = 30
	benchBlock   = 100_000 // rows that the centre joins
	asks         = 5
)

// benchBegin is a Monday.
var benchBegin = time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)

// A benchLog makes up rows as a thousand nodes ship them: names by a Zipf distribution, of which 31 in a hundred are listed.
type benchLog struct {
	r      *rand.Rand
	zipf   *rand.Zipf
	step   time.Duration // between rows
	at     time.Time
	n      int
	places []int64 // of the next row of each node within its window
	hours  map[total]*total
}

func newBenchLog(rows int) *benchLog {
	r := rand.New(rand.NewPCG(1, 2))
	return &benchLog{r: r, zipf: rand.NewZipf(r, 1.1, 8, 200_000), step: benchDays * 24 * time.Hour / time.Duration(rows), at: benchBegin, places: make([]int64, benchNodes), hours: map[total]*total{}}
}

func (b *benchLog) next(l *lookup) {
	node := b.r.IntN(benchNodes)
	device := node*benchDevices + b.r.IntN(benchDevices)
	name := int(b.zipf.Uint64())
	b.at = b.at.Add(b.step)
	b.places[node]++
	*l = lookup{store: uint64(node+1) * 0x9e3779b97f4a7c15}
	l.Node = fmt.Sprintf("node-%d", node)
	l.ID = b.at.Unix()/10*10<<rowBits | b.places[node]&(1<<rowBits-1)
	l.Time = querylog.Time{Time: b.at}
	l.Last = querylog.Time{Time: b.at.Add(time.Duration(b.r.IntN(9000)) * time.Millisecond)}
	l.Count, l.Attempts = uint64(1+b.r.IntN(3)), uint32(b.r.IntN(2))
	mac := fmt.Sprintf("02:00:00:00:%02x:%02x", device>>8, device&255)
	l.Device, l.DeviceName, l.MAC = "mac:"+mac, fmt.Sprintf("device %d", device), mac
	l.Client = fmt.Sprintf("192.168.%d.%d", device&31, 2+device%250)
	l.Binding, l.BindingSource, l.BindingConfidence = uint64(device), "neighbour", "high"
	l.Type = [...]string{"A", "AAAA", "HTTPS"}[b.r.IntN(3)]
	l.Name = fmt.Sprintf("h%d.s%d.example", name*7919%1_000_003, name%5003)
	l.Verdict, l.Rcode, l.AnsweredFrom, l.Transport, l.TTL = "pass", "NOERROR", "cache", "udp", 300
	l.Elapsed = float64(b.r.IntN(40_000)) / 1000
	if name%100 < 31 {
		l.listed = true
		l.Verdict, l.Reason, l.AnsweredFrom, l.TTL = "block", "block", "policy", 10
		l.List, l.Line, l.Rule = "telemetry", name%30_000, l.Name
		vendor := name % 60
		l.Vendor, l.Product, l.Purpose, l.Tier = fmt.Sprintf("vendor %d", vendor), fmt.Sprintf("product %d", vendor), "analytics", "telemetry"
		l.Source, l.Confidence, l.Attribution, l.AttributionList, l.AttributionLine = "https://vendor.example/privacy", "vendor-documents", "rule", "telemetry", l.Line
	}
	b.count(l)
}

// count adds a row to the totals of its hour.
func (b *benchLog) count(l *lookup) {
	key := total{store: l.store, Total: querylog.Total{Hour: querylog.Time{Time: b.at.Truncate(time.Hour)}, Node: l.Node, Device: l.Device, Vendor: l.Vendor, Product: l.Product, Purpose: l.Purpose, Tier: l.Tier, Verdict: l.Verdict}}
	t := b.hours[key]
	if t == nil {
		one := key
		one.First, one.Last = l.Time, l.Last
		t = &one
		b.hours[key] = t
	}
	t.Lookups += l.Count
	t.Attempts += uint64(l.Attempts)
	t.Names++
}

// cpu is the processor time of this process.
func cpu(b testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCentre fills a server as a centre does, and asks it. BENCH_CLICKHOUSE_ROWS says with how many rows; 10,000,000 take some minutes.
func BenchmarkCentre(b *testing.B) {
	rows, _ := strconv.Atoi(os.Getenv("BENCH_CLICKHOUSE_ROWS"))
	if rows == 0 {
		b.Skip("BENCH_CLICKHOUSE_ROWS is not set")
	}
	srv := servertest.Start(b, servertest.Options{})
	for _, plain := range []bool{true, false} {
		rows := rows
		if plain {
			rows = min(rows, 300_000) // for comparison
		}
		b.Run(fmt.Sprintf("rows=%d/plain=%v", rows, plain), func(b *testing.B) {
			a := addressOf(b, fmt.Sprint(plain), srv.Host)
			a.Plain = plain
			s := open(b, a, querylog.Retention{})
			defer s.Close()
			fillServer(b, s, srv, rows)
			b.ReportMetric(0, "ns/op")
			if !plain {
				askServer(b, s, srv)
			}
		})
	}
}

func fillServer(b *testing.B, s *Store, srv *servertest.Server, rows int) {
	ctx := context.Background()
	log := newBenchLog(rows)
	var ours, wall time.Duration
	before := srv.CPU()
	sh := s.client.shards[0]
	block := make([]lookup, benchBlock)
	for done := 0; done < rows; done += benchBlock {
		for i := range block {
			log.next(&block[i])
		}
		var ended []total
		for key, t := range log.hours {
			if done+benchBlock >= rows || t.Hour.Before(log.at.Truncate(time.Hour)) {
				ended = append(ended, *t)
				delete(log.hours, key)
			}
		}
		began, used := time.Now(), cpu(b)
		l := &load{}
		for i := range block {
			add(&l.rows[loadLookup], lookups, &block[i])
		}
		for i := range ended {
			add(&l.rows[loadTotal], totals, &ended[i])
		}
		if done == 0 {
			add(&l.rows[loadNode], nodes, &node{store: 1, name: "node-0", upto: uint64(benchBegin.AddDate(0, 0, benchDays).Unix())})
		}
		if err := s.insert(ctx, sh, l); err != nil {
			b.Fatal(err)
		}
		ours += cpu(b) - used
		wall += time.Since(began)
	}
	for { // merges go on behind
		var n uint64
		err := s.client.do(ctx, sh.hosts[0], &statement{sql: `SELECT toUInt64(count()) FROM system.merges FORMAT RowBinary`}, func(r *rowReader) error {
			n = r.u64()
			return r.err
		})
		if err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	theirs := srv.CPU() - before
	b.ReportMetric(float64(rows)/wall.Seconds(), "rows/s")
	b.ReportMetric(float64(ours.Microseconds())/float64(rows), "µs-ours/row")
	b.ReportMetric(float64(theirs.Microseconds())/float64(rows), "µs-server/row")
}

func askServer(b *testing.B, s *Store, srv *servertest.Server) {
	ctx := context.Background()
	sh := s.client.shards[0]
	for _, t := range []string{"lookup", "total"} {
		if err := s.client.do(ctx, sh.hosts[0], &statement{sql: `OPTIMIZE TABLE ` + t + ` FINAL`}, nil); err != nil {
			b.Fatal(err)
		}
		var rows, octets uint64
		err := s.client.do(ctx, sh.hosts[0], &statement{sql: `SELECT toUInt64(sum(rows)), toUInt64(sum(bytes_on_disk)) FROM system.parts WHERE active AND database = ` + quote(s.o.Address.Database) + ` AND table = ` + quote(t) + ` FORMAT RowBinary`}, func(r *rowReader) error {
			rows, octets = r.u64(), r.u64()
			return r.err
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("table %s: %d rows, %.1f octets a row", t, rows, float64(octets)/float64(max(rows, 1)))
	}
	r, done, err := s.Open(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer done()
	device := []querylog.DeviceSpan{{Device: "mac:02:00:00:00:01:02"}}
	since, until := benchBegin, benchBegin.AddDate(0, 0, benchDays)
	for _, q := range []struct {
		name string
		ask  func() (int, error)
	}{
		{"last 100 rows of a device", func() (n int, err error) {
			rows, _, err := r.Page(ctx, querylog.Filter{Devices: device}, 100, false)
			return len(rows), err
		}},
		{"last 100 rows of all", func() (n int, err error) {
			rows, _, err := r.Page(ctx, querylog.Filter{}, 100, false)
			return len(rows), err
		}},
		{"last 100 rows of a vendor", func() (n int, err error) {
			rows, _, err := r.Page(ctx, querylog.Filter{Vendor: "vendor 7"}, 100, false)
			return len(rows), err
		}},
		{"top names of a week", func() (n int, err error) {
			top, err := r.Top(ctx, "names", querylog.Filter{Since: until.AddDate(0, 0, -7)}, 50)
			return len(top), err
		}},
		{"top vendors of a device", func() (n int, err error) {
			top, err := r.Top(ctx, "vendors", querylog.Filter{Devices: device}, 50)
			return len(top), err
		}},
		{"totals of a device, 30 days", func() (n int, err error) {
			for _, err := range r.Totals(ctx, querylog.TotalsFilter{Devices: []string{device[0].Device}}) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}},
		{"vendors by device, 30 days, of totals", func() (n int, err error) {
			all, err := r.(*Reader).Vendors(ctx, since, until)
			return len(all), err
		}},
	} {
		var took []time.Duration
		n := 0
		theirs, ours := srv.CPU(), cpu(b)
		for range asks {
			began := time.Now()
			if n, err = q.ask(); err != nil {
				b.Fatal(q.name, err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		b.Logf("%-40s %6d lines, fastest of %d %v, processor %v at the server and %v here", q.name, n, asks, took[0].Round(time.Millisecond),
			((srv.CPU() - theirs) / asks).Round(time.Millisecond), ((cpu(b) - ours) / asks).Round(100*time.Microsecond))
	}
}
