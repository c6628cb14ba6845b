package config

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"telltale/sorting"
)

// A Mistake is one thing wrong with the settings.
type Mistake struct {
	Key      string // "blocking.mode", "devices[1].mac"; "" where it concerns the whole file
	Where    string // "/etc/telltale/telltale.yaml:12", "TELLTALE_BLOCKING_MODE", "--listen-dns"; "" where unknown
	Found    string // what was there, quoted where it is a value
	Expected string // what would be right
	Nearest  string // the known key, or word, that was probably meant; "" for none
}

// String returns the mistake as one line, the place first.
func (m Mistake) String() string {
	var b strings.Builder
	if m.Where != "" {
		b.WriteString(m.Where + ": ")
	}
	if m.Key != "" && m.Key != m.Where {
		b.WriteString(m.Key + ": ")
	}
	b.WriteString(m.Found)
	if m.Expected != "" {
		b.WriteString("; expected " + m.Expected)
	}
	if m.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %s?", m.Nearest)
	}
	return b.String()
}

// Mistakes is the error of Load: everything that is wrong, not just the first.
type Mistakes []Mistake

// Error returns the mistakes, one a line.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

const maxMistakes = 100 // enough for a person; a file of noise has more

func (m *Mistakes) add(one Mistake) {
	one.Key = withoutPassword(one.Key)
	switch {
	case len(*m) < maxMistakes:
		*m = append(*m, one)
	case len(*m) == maxMistakes:
		*m = append(*m, Mistake{Found: "more mistakes, not shown"})
	}
}

// sort puts the mistakes in the order of the file's lines, those of variables
// and flags last.
func (m Mistakes) sort() {
	line := func(m Mistake) int {
		n, err := strconv.Atoi(m.Where[strings.LastIndexByte(m.Where, ':')+1:])
		if err != nil {
			return math.MaxInt
		}
		return n
	}
	sorting.StableBy(m, func(a, b Mistake) int { return cmp.Compare(line(a), line(b)) })
}

// nearest returns the one of known that word was probably meant to be, or "":
// one letter off, else the only one that ends in the same word (log.level:
// messages.level), else a third of its letters off at most.
func nearest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	word = strings.ToLower(word)
	best, bestDistance := "", max(len(word)/3, 1)+1
	for _, k := range known {
		if d := distance(word, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if bestDistance == 1 {
		return best
	}
	same := func(k string) bool { return lastWord(k) == lastWord(word) }
	if i := slices.IndexFunc(known, same); i >= 0 && !slices.ContainsFunc(known[i+1:], same) {
		return known[i]
	}
	return best
}

// lastWord is what a key or a variable ends in.
func lastWord(key string) string { return key[strings.LastIndexAny(key, "._")+1:] }

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make a into b (optimal string alignment).
func distance(a, b string) int {
	before, above := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := above[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}

var credentials = regexp.MustCompile(`(?s)//.*@`)

// withoutPassword returns text without the user and password of a URL in it: a
// message may be read by others than the settings.
func withoutPassword(text string) string { return credentials.ReplaceAllString(text, "//***@") }

// withoutPath returns a URL without what may be a secret: its path, and what follows it.
func withoutPath(text string) string {
	text = withoutPassword(text)
	host := strings.Index(text, "//") + 2
	if host < 2 {
		host = 0
	}
	if i := strings.IndexAny(text[host:], "/?#"); i >= 0 {
		return text[:host+i]
	}
	return text
}

// quote returns text for a message, shortened where it is long.
func quote(text string) string {
	text = withoutPassword(text)
	if len(text) > 80 {
		return fmt.Sprintf("%q and %d bytes more", text[:80], len(text)-80)
	}
	return fmt.Sprintf("%q", text)
}

// oneOf returns "a, b or c".
func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// Mistake returns what is wrong with the value of a key of c, for what only others
// can know. Known are the words that may have been meant.
func (c *Config) Mistake(key, found, expected string, known []string) Mistake {
	return Mistake{Key: key, Where: c.origin.where[key], Found: "found " + quote(found), Expected: expected, Nearest: nearest(found, known)}
}
