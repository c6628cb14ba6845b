//go:build unix

package querylog

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkAppendOverRows is the cost of a lookup, all that the writer does with
// it included, where the store has ever more rows.
func BenchmarkAppendOverRows(b *testing.B) {
	const each = 49_984
	all := batches(b, each)
	rowsOfOne := foldOf(slices.Concat(all...))
	dir := b.TempDir()
	stored := 0
	for _, rows := range []int{0, 2 * each, 20 * each} {
		for ; stored < rows; stored += each {
			fill(b, dir, rowsOfOne)
		}
		b.Run(fmt.Sprintf("%d-rows", rows), func(b *testing.B) {
			l := open(b, Options{Dir: dir})
			asked := all[:10_016/32]
			begun := cpu()
			for i := 0; b.Loop(); i++ {
				if i%32 != 0 {
					continue
				}
				batch := asked[i/32%len(asked)]
				for j := range batch {
					batch[j].Time = time.Now()
				}
				l.Append(batch)
			}
			closeLog(b, l) // stores what it has
			b.ReportMetric(float64(cpu()-begun)/float64(b.N), "cpu-ns/lookup")
		})
	}
}

// fill stores the rows of one window.
func fill(b *testing.B, dir string, f *fold) {
	b.Helper()
	s, err := openStore(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	rows, _, err := s.commit(&windowData{number: s.position + 1, node: "filled", entries: f.entries})
	if err != nil || int(rows) != len(f.rows) {
		b.Fatalf("%d rows stored, %v, want %d", rows, err, len(f.rows))
	}
}
