package sorting

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// A pair is compared by its key alone: its place tells equal ones apart.
type pair struct{ key, place int }

func byKey(a, b pair) int { return cmp.Compare(a.key, b.key) }

func TestAgreesWithSlices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 400 {
		var s []pair
		for i := range n {
			s = append(s, pair{r.IntN(1 + n/3), i})
		}
		for _, c := range []struct {
			what      string
			got, want func([]pair, func(a, b pair) int)
		}{
			{"By", By[pair], slices.SortFunc[[]pair]},
			{"StableBy", StableBy[pair], slices.SortStableFunc[[]pair]},
		} {
			got, want := slices.Clone(s), slices.Clone(s)
			c.got(got, byKey)
			c.want(want, byKey)
			if !slices.Equal(got, want) {
				t.Fatalf("%s of %d: got %v, want %v", c.what, n, got, want)
			}
		}
	}
}
