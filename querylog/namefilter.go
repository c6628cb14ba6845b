package querylog

import (
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// A nameFilter chooses names: by a part, by a pattern of the whole (with * and
// ?), where it begins with a dot, a name and all that is below it, or, with an equals sign, that name alone. One that
// has letters beyond ASCII is compared with names as people write them. That name alone is the question's: so it
// chooses what a number beside a name has counted. All others choose by the alias, too.
type nameFilter struct {
	kind nameKind
	text string
	wide bool // compared with names in Unicode

	anyOf []nameFilter // of nameAnyOf
}

type nameKind uint8

const (
	anyName nameKind = iota
	namePart
	namePattern
	nameSuffix
	nameAnyOf
	nameExact // text is without the sign
)

// noName chooses no name.
var noName = nameFilter{kind: nameAnyOf}

func newNameFilter(s string) nameFilter {
	s = norm.NFC.String(strings.ToLower(s))
	if s == "=." { // the root: all other names are without the dot at their end
		return nameFilter{kind: nameExact, text: "."}
	}
	s = strings.TrimSuffix(s, ".")
	f := nameFilter{kind: namePart, text: s}
	for i := range len(s) {
		f.wide = f.wide || s[i] >= 0x80
	}
	switch {
	case s == "":
		f.kind = anyName
	case len(s) > 1 && s[0] == '=':
		f.kind, f.text = nameExact, s[1:]
	case strings.ContainsAny(s, "*?"):
		f.kind = namePattern
	case strings.HasPrefix(s, "."):
		f.kind = nameSuffix
	}
	return f
}

func (f *nameFilter) empty() bool { return f.kind == anyName }

// ofAlias returns the filter that aliases are compared with.
func (f *nameFilter) ofAlias() nameFilter {
	switch f.kind {
	case nameExact:
		return noName
	case nameAnyOf:
		of := noName
		for _, one := range f.anyOf {
			if one.kind != nameExact {
				of.anyOf = append(of.anyOf, one)
			}
		}
		return of
	}
	return *f
}

func (f *nameFilter) matches(name string) bool {
	if f.kind == anyName {
		return true
	}
	if name == "" {
		return false
	}
	if f.kind == nameAnyOf {
		return slices.ContainsFunc(f.anyOf, func(one nameFilter) bool { return one.matches(name) })
	}
	if f.wide {
		name = unicodeName(name)
	}
	switch f.kind {
	case namePattern:
		return glob(f.text, name)
	case nameExact:
		return name == f.text
	case nameSuffix:
		return name == f.text[1:] || strings.HasSuffix(name, f.text)
	}
	return strings.Contains(name, f.text)
}

// where returns the condition on an expression that is a name.
func (f *nameFilter) where(expr string) (sql string, args []any) {
	if f.kind == nameAnyOf {
		all := []string{`0`}
		for i := range f.anyOf {
			one, a := f.anyOf[i].where(expr)
			all, args = append(all, one), append(args, a...)
		}
		return `(` + strings.Join(all, ` OR `) + `)`, args
	}
	if f.wide {
		expr = `unicode_name(` + expr + `)`
	}
	switch f.kind {
	case namePattern:
		return expr + ` GLOB ?`, []any{strings.ReplaceAll(f.text, "[", "[[]")} // SQLite has classes of characters
	case nameExact:
		return expr + ` = ?`, []any{f.text}
	case nameSuffix:
		return `(` + expr + ` = ? OR substr(` + expr + `, -length(?)) = ?)`, []any{f.text[1:], f.text, f.text}
	}
	return `instr(` + expr + `, ?) > 0`, []any{f.text}
}

// unicodeName returns a name as people write it: labels in Punycode decoded.
func unicodeName(name string) string {
	if !strings.Contains(name, "xn--") {
		return name
	}
	wide, _ := idna.Punycode.ToUnicode(name) // with what can be decoded, also beside an error
	return norm.NFC.String(wide)
}

// unicodeNameSQL is unicodeName as a function of SQL.
func unicodeNameSQL(ctx sqlite3.Context, args ...sqlite3.Value) {
	ctx.ResultText(unicodeName(args[0].Text()))
}

// glob matches * to any run of octets and ? to any one.
func glob(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
