// Package sorting sorts slices where speed does not matter, in little code: of
// slices.SortFunc the compiler makes a copy of some 15 kB for each type that is
// sorted, and all that is sorted here goes through one. It imports nothing of ours.
package sorting

import (
	"reflect"
	"sort"
)

// By sorts s by a comparison, as slices.SortFunc does.
func By[T any](s []T, compare func(a, b T) int) { sort.Sort(of(s, compare)) }

// StableBy sorts s by a comparison and keeps the order of equal elements, as
// slices.SortStableFunc does.
func StableBy[T any](s []T, compare func(a, b T) int) { sort.Stable(of(s, compare)) }

// A list is a slice of any type.
type list struct {
	n        int
	less     func(i, j int) bool
	exchange func(i, j int)
}

func of[T any](s []T, compare func(a, b T) int) list {
	return list{
		len(s),
		func(i, j int) bool { return compare(s[i], s[j]) < 0 },
		reflect.Swapper(s), // one for all types
	}
}

func (l list) Len() int           { return l.n }
func (l list) Less(i, j int) bool { return l.less(i, j) }
func (l list) Swap(i, j int)      { l.exchange(i, j) }
