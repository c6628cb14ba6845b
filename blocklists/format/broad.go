package format

import (
	"regexp"
	"slices"
	"strings"
)

// strangers are names that no list means: a pattern that matches all of them, or
// all but one, matches nearly everything.
var strangers = []string{"a", "localhost", "xq-7.example", "0.9.in-addr.arpa", "www.z_k.museum", "b.c.d.e.f.g.h.j", "example-0.co.uk"}

// A name begins with every letter and digit, and none has a word that lists look
// for. A pattern that matches one of them below every suffix is about letters
// and not about names; one that matches all of them below one suffix blocks that
// suffix.
var strangeNames = [...]string{
	"a.kijhu", "brovik", "czelmo", "dwyckel", "elbrwyno", "f-grwnt", "gyrulq", "hyfty.dwyck", "ixolme", "jwmbrek", "kolvurt", "lemwynu",
	"mirquez", "n1k0.ulvr3", "ow9.zwompos", "pelvrig", "quazeo", "rulmek", "sylvkoth", "t54.e8-6zoo2", "uvfryn", "vonkwyp", "wexlynd",
	"x7jy", "ybrynt", "zovndryk", "0plim", "1xuv", "2kresh", "3mavo", "4gwynd", "5tohl", "6brolq", "7wylde", "8fnyck", "9jarp",
}

var strangeSuffixes = []string{
	"com", "net", "org", "info", "biz", "io", "de", "fr", "nl", "ru", "cn", "jp", "co.uk", "com.br", "in", "it", "pl", "es", "eu",
	"us", "me", "tv", "app", "dev", "xyz", "cloud", "online", "top", "site", "ch", "se", "no", "cz", "ca", "com.au", "co", "ai",
}

// tooBroad says why a pattern of somebody else's list matches more than a list
// may mean; "" where it does not. Literal is what each name it matches contains.
func (p *parser) tooBroad(re, literal string, invert bool) string {
	if !invert && literal != "" && !inStrange(literal) {
		return "" // nearly all patterns
	}
	x, err := regexp.Compile(re)
	if err != nil {
		return "not a regular expression: " + err.Error()
	}
	hits := 0
	for _, s := range strangers {
		if x.MatchString(s) != invert {
			hits++
		}
	}
	if hits >= len(strangers)-1 {
		return "matches every name, or nearly: only own.txt may hold such a pattern"
	}
	var everywhere [len(strangeNames)]int // below how many suffixes a name matches
	whole := ""                           // a suffix below which all match
	for _, suffix := range strangeSuffixes {
		hits := 0
		for i, name := range strangeNames {
			if x.MatchString(name+"."+suffix) != invert {
				hits++
				everywhere[i]++
			}
		}
		if hits == len(strangeNames) && whole == "" {
			whole = suffix
		}
	}
	switch {
	case slices.Max(everywhere[:]) > len(strangeSuffixes)/2:
		return "matches by a letter or two, whatever the name: only own.txt may hold such a pattern"
	case whole != "" && !p.Suffixes:
		return "matches every name below " + whole + ": set suffixes: true for this list if that is meant"
	}
	return ""
}

// inStrange reports whether a literal is in any of the names that tooBroad looks
// at.
func inStrange(literal string) bool {
	for _, s := range strangers {
		if strings.Contains(s, literal) {
			return true
		}
	}
	for _, name := range strangeNames {
		for _, suffix := range strangeSuffixes {
			if strings.Contains(name+"."+suffix, literal) {
				return true
			}
		}
	}
	return false
}
