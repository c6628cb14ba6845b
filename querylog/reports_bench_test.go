//go:build unix

package querylog_test

import (
	"syscall"
	"testing"
	"time"

	"telltale/evidence"
	"telltale/querylog"
)

// BenchmarkReports is what a report of a home's log takes: of thirty days of rows of listed names, and of a year,
// which is read from hourly totals.
func BenchmarkReports(b *testing.B) {
	month, year := b.TempDir(), b.TempDir()
	inMonth := time.Unix(querylog.FillMonth(b, month), 0).Truncate(time.Hour)
	begin, totals := querylog.FillYear(b, year)
	inYear := time.Unix(begin, 0)
	device := querylog.Filter{Devices: []querylog.DeviceSpan{{Device: "mac:02:00:00:00:00:07"}}}
	for _, c := range []struct {
		name, dir string
		o         evidence.Options
	}{
		{"30-days", month, evidence.Options{Since: inMonth, Until: inMonth.Add(30 * 24 * time.Hour)}},
		{"30-days-of-a-device", month, evidence.Options{Since: inMonth, Until: inMonth.Add(30 * 24 * time.Hour), Device: device.Devices[0].Device, Whose: device}},
		{"year", year, evidence.Options{Since: inYear, Until: inYear.Add(365 * 24 * time.Hour)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r, err := querylog.OpenReader(c.dir)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			begun := used(b)
			for b.Loop() {
				made, err := evidence.Make(b.Context(), r, c.o)
				if err != nil {
					b.Fatal(err)
				}
				if n := made.Totals.Listed.Lookups; c.dir == year && made.Totals.Asked.Lookups < uint64(10*totals) || c.dir == month && len(made.Vendors) < 3 {
					b.Fatalf("%d vendors, %d lookups", len(made.Vendors), n)
				}
			}
			b.ReportMetric(float64(used(b)-begun)/1e6/float64(b.N), "cpu-ms/op")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// used returns the processor time of the process so far.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
