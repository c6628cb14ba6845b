//go:build unix

package querylog

import (
	"fmt"
	"testing"
)

// BenchmarkNewName is what a name that is new to the log costs the store: a row, the
// name, and a name of its hour's total.
func BenchmarkNewName(b *testing.B) {
	const rows = 50_000 // of a window
	h, s := newSizeHome(0), (*store)(nil)
	window, name, stored := int64(sizeFirstTime), 0, 0
	var spent int64
	for b.Loop() {
		if s == nil || stored >= 20*rows {
			var err error
			if s, err = openStore(b.TempDir()); err != nil {
				b.Fatal(err)
			}
			defer s.close()
			stored = 0
		}
		names := make([][]byte, rows)
		for i := range names {
			names[i] = wire(b, fmt.Sprintf("host%d.some.site%d.example", name+i, i%100))
		}
		name += rows
		begun := cpu()
		_, _, err := s.commit(&windowData{number: window, node: "n", clock: clockMark{wall: window * 1000}, entries: func(yield func(int, *entry) bool) {
			for i, n := range names {
				var e *entry
				h.window(window, 1)(func(_ int, one *entry) bool { e = one; return true })
				e.Binding, e.Addr, e.Name = h.devices[0], h.devices[0].Addr, n
				if !yield(i, e) {
					return
				}
			}
		}})
		if err != nil {
			b.Fatal(err)
		}
		spent += int64(cpu() - begun)
		window += 60
		stored += rows
	}
	b.ReportMetric(float64(spent)/float64(b.N)/rows, "cpu-ns/name")
}
