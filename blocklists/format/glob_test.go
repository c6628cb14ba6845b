package format

import (
	"regexp"
	"strings"
	"testing"
)

// A shape that is taken matches at least one name: one that cannot is a bad line,
// and never a rule that is counted and does nothing.
func TestEveryShapeThatIsTakenMatchesAName(t *testing.T) {
	var names []string
	for n := range 4 {
		names = append(names, sequences([]string{"a", "aa", "aaa", "aaaa", "aaaaaa"}, n+1, ".")...)
	}
	for n := range 5 {
		for _, glob := range sequences([]string{"a", "*", "."}, n+1, "") {
			for _, around := range []string{"%", "@@%", "||%", "||%^", "|%", "%^", "local=/%/"} {
				line := strings.ReplaceAll(around, "%", glob)
				rules, _ := ParseLine(line, Options{Own: true})
				for _, r := range rules {
					if r.Match == Pattern && !anyMatches(r.Regex, names) {
						t.Errorf("%s: no name matches %s", line, r.Regex)
					}
				}
			}
		}
	}
}

// sequences returns all sequences of n of the words.
func sequences(words []string, n int, sep string) []string {
	if n == 1 {
		return words
	}
	var all []string
	for _, rest := range sequences(words, n-1, sep) {
		for _, w := range words {
			all = append(all, w+sep+rest)
		}
	}
	return all
}

func anyMatches(re string, names []string) bool {
	x := regexp.MustCompile(re)
	for _, name := range names {
		if x.MatchString(name) {
			return true
		}
	}
	return false
}
