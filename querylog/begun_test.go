package querylog

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Begun tells the rows in which an attempt begins, from the store and from the journal, and
// of them what it says it does.
func TestBegunIsTheRowsInWhichAttemptsBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		p := policy(t, vendorList)
		h := newAskers(5, DefaultAttempt, time.Now())
		for i := range 300 {
			rec := lookup(t, p, time.Now(), h.devices[i%3], h.names[i%7])
			rec.TTL = uint32(i)
			l.Append([]Record{rec, lookup(t, p, time.Now(), h.devices[i%3], "x.example")})
			time.Sleep(time.Duration(i%50) * time.Second)
		}
		l.Flush()
		text := func(r *Row) string {
			return fmt.Sprint(r.Time, r.Last, r.Count, r.Attempts, r.Device, r.DeviceName, r.Name, r.Verdict, r.Vendor, r.Tier, r.Attribution, r.AttributionList, r.AttributionLine, r.TTL, r.Imported)
		}
		check := func(when string) {
			r, err := OpenReader(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []Filter{{}, {Device: "device 1"}, {Vendor: "xiaomi"}, {Since: time.Now().Add(-10 * time.Minute)}} {
				for _, listed := range []bool{false, true} {
					var got, want []string
					for row, err := range r.Begun(context.Background(), f, listed) {
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, text(row))
					}
					for row, err := range r.Rows(context.Background(), f) {
						if err != nil {
							t.Fatal(err)
						}
						if row.Attempts > 0 && (!listed || row.Vendor != "") {
							want = append(want, text(&row))
						}
					}
					if !slices.Equal(got, want) || len(got) == 0 {
						t.Errorf("%s, %+v, listed %v: got %d rows, want %d", when, f, listed, len(got), len(want))
					}
				}
			}
		}
		check("while the server runs")
		closeLog(t, l)
		check("after it stopped")
	})
}
