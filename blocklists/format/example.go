package format

import (
	"regexp/syntax"
	"strings"
)

// maxExample is the longest text that Example makes: no name is longer.
const maxExample = 253

// Example returns a text that a regular expression matches, a short one that has
// no dot at its ends, so that it can be said what a pattern may be about. ok is
// false where none was found.
func Example(re string) (text string, ok bool) {
	tree, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	if !example(&b, tree) || b.Len() == 0 {
		return "", false
	}
	text = b.String()
	if text[0] == '.' { // no name begins with a dot, but a label may stand before it
		text = "x" + text
	}
	if strings.HasSuffix(text, ".") {
		text += "x"
	}
	return text, true
}

func example(b *strings.Builder, re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(strings.ToLower(string(re.Rune)))
	case syntax.OpCharClass:
		if len(re.Rune) == 0 {
			return false
		}
		b.WriteRune(nameRune(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		if b.Len() == 0 || strings.HasSuffix(b.String(), ".") {
			b.WriteByte('x')
		} else { // what authors who do not escape dots mean
			b.WriteByte('.')
		}
	case syntax.OpCapture, syntax.OpPlus:
		return example(b, re.Sub[0])
	case syntax.OpRepeat:
		for range re.Min {
			if b.Len() > maxExample || !example(b, re.Sub[0]) {
				return false
			}
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !example(b, sub) {
				return false
			}
		}
	case syntax.OpAlternate:
		return example(b, re.Sub[0])
	case syntax.OpNoMatch:
		return false
	}
	return b.Len() <= maxExample
}

// nameRune returns a rune of a class, given by its ranges: one that a name may
// have, where there is one.
func nameRune(ranges []rune) rune {
	const preferred = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	for _, c := range preferred {
		for i := 0; i < len(ranges); i += 2 {
			if ranges[i] <= c && c <= ranges[i+1] {
				return c
			}
		}
	}
	return ranges[0]
}
