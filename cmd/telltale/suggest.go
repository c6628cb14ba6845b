package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"telltale/sorting"
)

// nearest returns the known word that a person may have meant by word, or "" when
// none is near.
func nearest(word string, known []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, remove, change or swap with their
// neighbour to make one word of another.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			change := 1
			if x[i-1] == y[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(x)][len(y)]
}

// unknown is the error of a word that names nothing: it says which word may have
// been meant, and the command that lists them.
func unknown(what, word string, known []string, listing string) error {
	meant := ""
	if near := nearest(word, known); near != "" {
		meant = fmt.Sprintf(": did you mean %q?", near)
	}
	return fmt.Errorf("no %s %q is known%s ('%s' shows them)", what, printable(word), meant, listing)
}

// sorted returns words in order, each once, without the empty one.
func sorted(words []string) []string {
	words = slices.Clone(words)
	sorting.By(words, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
	})
	words = slices.Compact(words)
	return slices.DeleteFunc(words, func(w string) bool { return w == "" })
}
