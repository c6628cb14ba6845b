package rules

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSharedRunsAreWhatBothHave edits made-up lists in many places and holds the
// runs found against what they must be.
func TestSharedRunsAreWhatBothHave(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for round := range 400 {
		was := make([]uint64, r.IntN(3000))
		values := uint64(1 + r.IntN(100_000)) // few of them: lines that are there many times
		for i := range was {
			was[i] = r.Uint64N(values)
		}
		is := slices.Clone(was)
		for range r.IntN(6) {
			at := r.IntN(len(is) + 1)
			switch to := min(len(is), at+r.IntN(200)); r.IntN(4) {
			case 0:
				is = slices.Delete(is, at, to)
			case 1:
				is = slices.Insert(is, at, slices.Clone(is[at:to])...)
			case 2:
				is = slices.Insert(is, at, r.Uint64(), r.Uint64())
			case 3: // a paragraph moves
				moved := slices.Clone(is[at:to])
				is = slices.Insert(slices.Delete(is, at, to), r.IntN(len(is)-len(moved)+1), moved...)
			}
		}
		last := Run{}
		for _, run := range sharedRuns(was, is) {
			if run.was < last.was+last.count || run.is < last.is+last.count || run.count < 1 {
				t.Fatalf("round %d: %v after %v", round, run, last)
			}
			if !slices.Equal(was[run.was:run.was+run.count], is[run.is:run.is+run.count]) {
				t.Fatalf("round %d: %v is not equal in both", round, run)
			}
			last = run
		}
		// Counting by the runs and counting all agree.
		a, b := differences(slices.Clone(was), slices.Clone(is))
		gone, come := slices.Clone(was), slices.Clone(is)
		for _, run := range slices.Backward(sharedRuns(was, is)) {
			gone, come = slices.Delete(gone, run.was, run.was+run.count), slices.Delete(come, run.is, run.is+run.count)
		}
		if c, d := differences(gone, come); a != c || b != d {
			t.Fatalf("round %d: got %d come and %d gone, want %d and %d", round, c, d, a, b)
		}
	}
}

func TestDistantEditsShareWhatIsBetween(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	was := make([]uint64, 100_000)
	for i := range was {
		was[i] = r.Uint64()
	}
	for _, c := range []struct {
		fact  string
		edit  func(is []uint64) []uint64
		least int
	}{
		{"nothing has changed", func(is []uint64) []uint64 { return is }, 100_000},
		{"a line comes", func(is []uint64) []uint64 { return slices.Insert(is, 500, 1) }, 100_000},
		{"lines far apart change", func(is []uint64) []uint64 { is[0], is[40_000], is[99_999] = 1, 2, 3; return is }, 99_000},
		{"the first goes and one comes at the end", func(is []uint64) []uint64 { return append(is[1:], 7) }, 99_000},
		{"the last paragraph becomes the first", func(is []uint64) []uint64 {
			return slices.Concat(is[99_000:], is[:99_000])
		}, 98_000},
		{"a hundred lines change", func(is []uint64) []uint64 {
			for i := range 100 {
				is[i*991] = uint64(i)
			}
			return is
		}, 85_000},
	} {
		kept := 0
		for _, run := range sharedRuns(was, c.edit(slices.Clone(was))) {
			kept += run.count
		}
		if kept < c.least {
			t.Errorf("%s: got %d rules that are shared, want %d or more", c.fact, kept, c.least)
		}
	}
}
