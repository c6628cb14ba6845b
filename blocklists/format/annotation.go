package format

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Tiers are the values of tier=.
var Tiers = []string{"telemetry", "mixed", "essential", "owner"}

// Ended is the end of a rule whose until= cannot be read: it is not in force,
// rather than in force for ever.
var Ended = time.Unix(0, 0)

// maxValue is the longest value of a key, in octets.
const maxValue = 1000

// annotationKey finds an annotation again that many lines carry.
type annotationKey struct {
	block *Annotation
	text  string
}

// comment reads a line that begins with "#".
func (p *parser) comment(s string) {
	if !isAnnotation(s) {
		p.head(s)
		return
	}
	pairs, name := p.pairs(s[2:])
	if name != "" {
		if p.current = p.block; p.current == nil || len(pairs) > 0 {
			p.current = p.annotation(pairs, p.block)
		}
		p.known(name)
		return
	}
	p.block = nil
	if len(pairs) > 0 {
		p.block = p.annotation(pairs, nil)
	}
}

// isAnnotation reports whether a comment is "#@ key=value ...".
func isAnnotation(s string) bool {
	return s == "#@" || strings.HasPrefix(s, "#@ ") || strings.HasPrefix(s, "#@\t")
}

// known emits the rule of "#@ name=NAME ...": a name that is known but not
// blocked. It inherits what the annotation above it says, which stays in force.
func (p *parser) known(name string) {
	r := Rule{Form: Comment, Action: Known}
	switch {
	case strings.HasPrefix(name, "="):
		r.Match, name = Exact, name[1:]
	case strings.HasPrefix(name, "*."):
		name = name[2:]
	}
	p.putName(r, name, oneLabel)
}

// annotate reads what stands behind a rule: its keys override those of the
// annotation above.
func (p *parser) annotate(comment string) {
	if !isAnnotation(comment) {
		return
	}
	key := annotationKey{p.block, comment}
	if a, ok := p.seen[key]; ok {
		p.current = a
		return
	}
	mistakes := p.report.BadTotal
	pairs, name := p.pairs(comment[2:])
	if name != "" {
		p.bad(BadAnnotation, comment, "name= behind a rule: it belongs on a line of its own")
	}
	p.current = p.annotation(pairs, p.block)
	if mistakes == p.report.BadTotal { // a mistake is reported each time
		if p.seen == nil || len(p.seen) >= 4096 {
			p.seen = map[annotationKey]*Annotation{}
		}
		key.text = strings.Clone(comment)
		p.seen[key] = p.current
	}
}

// annotation returns a copy of base (nil for none) with pairs set in it.
func (p *parser) annotation(pairs []pair, base *Annotation) *Annotation {
	a := &Annotation{}
	if base != nil {
		*a = *base
	}
	claims := slices.ContainsFunc(pairs, func(kv pair) bool { return kv.key == "claims" })
	if claims {
		a.Source, a.Confidence = "", ""
	}
	for _, kv := range pairs {
		if problem := a.set(kv.key, p.text(kv.key, kv.value), p.location()); problem != "" {
			p.bad(BadAnnotation, kv.key+"="+kv.value, "%s", problem)
		}
	}
	if claims && p.Claims != nil {
		var problem string
		if a.Source, a.Confidence, problem = p.Claims(a.Claims, a.Confidence); problem != "" {
			p.bad(BadAnnotation, "claims="+a.Claims, "%s", problem)
		}
		a.Claims = ""
	}
	return a
}

// text returns a copy of a value, which others that say the same share: a list says
// the same vendor and purpose of most of its names. Claims are not kept as they are.
func (p *parser) text(key, value string) string {
	if key == "claims" && p.Claims != nil {
		return value
	}
	text, ok := p.texts[value]
	if !ok {
		if p.texts == nil || len(p.texts) >= 4096 {
			p.texts = map[string]string{}
		}
		text = strings.Clone(value)
		p.texts[text] = text
	}
	return text
}

type pair struct{ key, value string }

// pairs reads key=value pairs; that of name= is returned apart. A value with
// spaces stands in double quotes, with \" and \\ inside.
func (p *parser) pairs(s string) (pairs []pair, name string) {
	pairs = p.pairsOf[:0]
	defer func() { p.pairsOf = pairs }()
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == '#' {
			if isAnnotation(s) {
				p.bad(BadAnnotation, s, "a second #@ in a line is a comment, and says nothing: write its keys behind the first")
			}
			return pairs, name
		}
		end := strings.IndexAny(s, "= \t")
		if end < 0 || s[end] != '=' {
			word, rest, _ := strings.Cut(s, " ")
			p.bad(BadAnnotation, s, "%s has no value: write key=value, or key=\"several words\"", printable(word))
			s = rest
			continue
		}
		key := s[:end]
		var value string
		var ok bool
		if value, s, ok = cutValue(s[end+1:]); !ok {
			p.bad(BadAnnotation, key, "the quote behind %s= is not closed: close it", printable(key))
			s = ""
		}
		if key == "name" {
			if name != "" {
				p.bad(BadAnnotation, key+"="+name, "a second name= in a line: write a line for each name")
			}
			name = value
			continue
		}
		pairs = append(pairs, pair{key, value})
	}
}

// cutValue cuts a value off s; ok is false where its quote is not closed.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexAny(s, " \t"); i >= 0 {
			return s[:i], s[i:], true
		}
		return s, "", true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), "", false
}

// set gives a field its value, or says what is wrong with it.
func (a *Annotation) set(key, value string, at *time.Location) (problem string) {
	if len(value) > maxValue {
		if key == "until" {
			a.Until = Ended
		}
		return printable(key) + "= has " + strconv.Itoa(len(value)) + " octets, over the limit of " + strconv.Itoa(maxValue) + ", and is not taken: shorten it"
	}
	switch key {
	case "vendor":
		a.Vendor = value
	case "product":
		a.Product = value
	case "purpose":
		a.Purpose = value
	case "region":
		a.Region = value
	case "source":
		a.Source = value
	case "breaks":
		a.Breaks = value
	case "since":
		a.Since = value
	case "claims":
		a.Claims = value
	case "confidence":
		a.Confidence = value
	case "software":
		a.Software = value
	case "tier":
		for _, t := range Tiers {
			if value == t {
				a.Tier = value
				return ""
			}
		}
		return "tier=" + printable(value) + " is unknown: write telemetry, mixed, essential or owner"
	case "until":
		var ok bool
		if a.Until, ok = parseUntil(value, at); !ok {
			return "until=" + printable(value) + " is no date, and the rule is not in force: write until=2026-12-31, or a time such as 2026-12-31T18:00:00Z"
		}
	default:
		return "the key " + printable(key) + " is unknown: known are vendor, product, purpose, tier, region, source, breaks, since, confidence, claims, software, until and name"
	}
	return ""
}

// parseUntil reads a date, which is in force to its end, or a time by RFC 3339.
func parseUntil(s string, at *time.Location) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, true
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		t, err := time.ParseInLocation(layout, s, at)
		if err != nil {
			continue
		}
		if layout == time.DateOnly {
			t = t.AddDate(0, 0, 1)
		}
		return t, true
	}
	return Ended, false
}

func (p *parser) location() *time.Location {
	if p.Location != nil {
		return p.Location
	}
	return time.Local
}
