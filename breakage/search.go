package breakage

import "math/bits"

// A Search finds by trying which one of some suspects a device needs: half of them by
// weight is allowed, a person says whether it works now, and so on. It counts with none
// of them being the one, and with exactly one otherwise. It belongs to one goroutine.
type Search struct {
	weights []float64
	left    []int // those that it may be, in the order of the suspects
	none    bool  // it may be none of them
	asked   int
	most    int // questions
	trial   []int
}

// noneWeight is how likely it is none, against the sum of all weights.
const noneWeight = 0.1

// NewSearch returns a search among suspects with some weights, the likeliest first.
func NewSearch(weights []float64) *Search {
	s := &Search{weights: weights, none: true, most: bits.Len(uint(len(weights)))}
	for i := range weights {
		s.left = append(s.left, i)
	}
	s.trial = s.next()
	return s
}

// Trial returns the suspects to be allowed now; none once the search is over.
func (s *Search) Trial() []int { return s.trial }

// Left returns the suspects that it may still be.
func (s *Search) Left() []int { return s.left }

// Question returns the number of the question that Trial is for, from 1, and how many
// there are at most.
func (s *Search) Question() (n, most int) {
	return s.asked + 1, min(s.asked+s.outcomes()-1, s.most)
}

// Asked returns how many questions were answered.
func (s *Search) Asked() int { return s.asked }

// Answer takes whether it works with the suspects of Trial allowed.
func (s *Search) Answer(works bool) {
	if len(s.trial) == 0 {
		return
	}
	s.asked++
	if works {
		s.left, s.none = s.trial, false
	} else {
		s.left = s.left[len(s.trial):]
	}
	s.trial = s.next()
}

// Over reports whether the search is over, and which suspect it is; -1 for none of them.
func (s *Search) Over() (found int, over bool) {
	switch {
	case len(s.trial) > 0:
		return -1, false
	case len(s.left) == 1:
		return s.left[0], true
	}
	return -1, true
}

// outcomes returns how many outcomes there still are.
func (s *Search) outcomes() int {
	if s.none {
		return len(s.left) + 1
	}
	return len(s.left)
}

// next returns the likeliest of those left which together have half of the weight, as
// far as either answer leaves no more outcomes than the questions that remain tell apart.
func (s *Search) next() []int {
	n := s.outcomes()
	if n < 2 {
		return nil
	}
	sum := 0.0
	for _, i := range s.left {
		sum += s.weights[i]
	}
	if s.none {
		sum += noneWeight * sum
	}
	k, have := 0, 0.0
	for k < len(s.left) && have < sum/2 {
		have += s.weights[s.left[k]]
		k++
	}
	half := 1 << max(s.most-s.asked-1, 0)
	k = min(max(k, n-half, 1), half, n-1)
	return s.left[:k:k]
}
