package breakage

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// find searches with a device that works when it has one name; -1 for one that never
// does.
func find(t *testing.T, weights []float64, needs int) (found, questions int) {
	t.Helper()
	s := NewSearch(weights)
	for len(s.Trial()) > 0 {
		n, most := s.Question()
		if n > most {
			t.Fatalf("question %d of at most %d", n, most)
		}
		works := false
		for _, i := range s.Trial() {
			works = works || i == needs
		}
		s.Answer(works)
	}
	found, over := s.Over()
	if !over {
		t.Fatal("there is no trial, and it is not over")
	}
	return found, s.Asked()
}

// Done 5 of issue 12: the one name of 40 in at most 6 questions, wherever it stands and
// whatever the weights are.
func TestASearchFindsTheOneNameOf40InSixQuestions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		weights := make([]float64, 40)
		w := 1.0
		for i := range weights {
			weights[i] = w
			switch round % 3 {
			case 0: // all alike
			case 1:
				w *= r.Float64()
			case 2:
				w -= w / 10 * r.Float64()
			}
		}
		for needs := -1; needs < len(weights); needs++ {
			if found, questions := find(t, weights, needs); found != needs || questions > 6 {
				t.Fatalf("round %d: found %d by %d questions, want %d by at most 6", round, found, questions, needs)
			}
		}
	}
}

func TestASearchAsksNoMoreThanItMust(t *testing.T) {
	for n := 1; n <= maxNames; n++ {
		weights := make([]float64, n)
		for i := range weights {
			weights[i] = 1 / float64(i+1)
		}
		for needs := -1; needs < n; needs += max(1, n/5) {
			if found, questions := find(t, weights, needs); found != needs || questions > bits.Len(uint(n)) {
				t.Fatalf("%d names: found %d by %d questions, want %d by at most %d", n, found, questions, needs, bits.Len(uint(n)))
			}
		}
	}
}

func TestALikelySuspectIsFoundSooner(t *testing.T) {
	weights := make([]float64, 32)
	for i := range weights {
		weights[i] = 1
	}
	weights[0] = 200
	_, likely := find(t, weights, 0)
	_, unlikely := find(t, weights, 31)
	if likely >= unlikely {
		t.Errorf("%d questions for the likeliest, %d for the last", likely, unlikely)
	}
}

func TestASearchAmongNone(t *testing.T) {
	s := NewSearch(nil)
	if found, over := s.Over(); !over || found != -1 || len(s.Trial()) != 0 {
		t.Error("a search among no names is over, and has found none")
	}
	s.Answer(true)
	if s.Asked() != 0 {
		t.Error("an answer to no question counts")
	}
}
