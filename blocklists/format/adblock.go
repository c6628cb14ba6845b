package format

import (
	"net/netip"
	"regexp"
	"strings"
)

// adBlock reads a rule of the AdBlock syntax as DNS blockers read it: a pattern
// for the name, and modifiers behind "$". A pattern that can only match part of
// a URL, and a rule with a modifier that is not honoured, are refused: without
// that part they would match more than their author wrote.
func (p *parser) adBlock(r Rule, s string) {
	r.Form = AdBlock
	if r.Action == Allow {
		s = "@@" + s
	}
	pattern, modifiers, found := strings.Cut(strings.TrimPrefix(s, "@@"), "$")
	if found && !p.modifiers(&r, s, modifiers) {
		return
	}
	pattern = strings.TrimSpace(pattern)
	if strings.ContainsAny(pattern, " \t") {
		p.bad(NotARule, s, "several words: write one rule a line, or # before a comment")
		return
	}
	if r.Extra != nil {
		r.Extra.Text = strings.Clone(s)
	}
	p.pattern(r, s, pattern)
}

// anchor says where in a name a pattern must begin.
type anchor uint8

const (
	anywhere anchor = iota
	atStart         // |x
	atLabel         // ||x
)

// pattern reads what stands before "$" and emits the rule.
func (p *parser) pattern(r Rule, whole, s string) {
	written := s
	s, from := cutAnchor(s)
	s, ends := cutEnd(s)
	if a := strings.Trim(s, "[]"); from == atLabel && strings.Contains(a, ":") && isIPv6(a) {
		p.address(r, whole, a) // ||2001:db8::1^
		return
	}
	if strings.ContainsAny(s, "/:^|") {
		p.bad(URLPart, whole, "matches a path, a port or a scheme: a DNS server sees only names, write ||example.com^")
		return
	}
	if strings.HasPrefix(s, "*") && !strings.HasPrefix(s, "*.") {
		from = anywhere
	}
	if from == anywhere && !ends && written == s && strings.Contains(s, "*") {
		p.glob(r, whole, s) // no sign of AdBlock syntax but a star: "ads*.example.com"
		return
	}
	bare := strings.Trim(s, "*")
	switch {
	case bare == "" || bare == ".":
		p.everyName(r, whole)
	case isAddressPart(bare):
		p.address(r, whole, bare)
	case from == atLabel && strings.HasPrefix(s, "*.") && ends && !strings.Contains(s[2:], "*"):
		r.Match = Below // ||*.example.com^
		p.putName(r, s[2:], oneLabel)
	case strings.Contains(bare, "*"), len(bare) < len(s), startsOpen(bare, from), !ends && endsOpen(bare):
		p.wildcard(r, whole, s, from, ends)
	case from == anywhere && ends && bare[0] == '.':
		r.Match = Below // .example.com^
		p.putName(r, bare[1:], oneLabel)
	default:
		if from == atStart {
			r.Match = Exact
		}
		var how nameRules
		if ends && from != anywhere {
			how = oneLabel // ||zip^
		}
		p.putName(r, bare, how)
	}
}

// cutAnchor cuts off the beginning of a pattern. A scheme stands before a name,
// as "|" does.
func cutAnchor(s string) (rest string, from anchor) {
	if rest, ok := strings.CutPrefix(s, "||"); ok {
		return rest, atLabel
	}
	rest, ok := strings.CutPrefix(s, "|")
	if ok {
		from = atStart
	}
	for _, scheme := range []string{"https://", "http://", "://", "//"} {
		if r, ok := strings.CutPrefix(rest, scheme); ok {
			return r, atStart
		}
	}
	return rest, from
}

// cutEnd cuts off what stands for the end of a name: "^", "|", "^|", "^*", and
// "/", which means every page of a host.
func cutEnd(s string) (rest string, ends bool) {
	t := strings.TrimSuffix(s, "|")
	ends = t != s
	t = strings.TrimSuffix(t, "*")
	if r, ok := strings.CutSuffix(t, "^"); ok {
		return r, true
	}
	if r, ok := strings.CutSuffix(s, "/"); ok {
		return r, true
	}
	return strings.TrimSuffix(s, "|"), ends
}

// startsOpen and endsOpen report whether a text cannot be a whole name at that
// side: "||discord-give." is the beginning of many names.
func startsOpen(s string, from anchor) bool { return from == anywhere && s[0] == '-' }
func endsOpen(s string) bool                { return s[len(s)-1] == '.' || s[len(s)-1] == '-' }

// address emits a rule for answers that lead to an address.
func (p *parser) address(r Rule, whole, s string) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		p.bad(IPAddress, whole, "part of an address: write the whole, such as ||192.0.2.1^")
		return
	}
	if r.Extra == nil {
		r.Extra = &Extra{Text: strings.Clone(whole)}
	}
	a = a.Unmap()
	r.Match, r.Extra.Prefix = Address, netip.PrefixFrom(a, a.BitLen())
	p.put(r)
}

// everyName takes a rule for all names, which only the user's own file may hold.
func (p *parser) everyName(r Rule, whole string) {
	if p.Own {
		p.putPattern(r, whole, ".", "")
		return
	}
	p.bad(EveryName, whole, "matches every name: name what is to be blocked")
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// isAddressPart reports whether a pattern is made of digits and dots, as no
// name is.
func isAddressPart(s string) bool {
	return strings.Trim(s, "0123456789.*") == ""
}

// wildcard emits a pattern with stars, or one that is open at an end.
func (p *parser) wildcard(r Rule, whole, s string, from anchor, ends bool) {
	var re strings.Builder
	if !strings.HasPrefix(s, "*") {
		re.WriteString([]string{anywhere: "", atStart: "^", atLabel: `(?:^|\.)`}[from])
	}
	tied := from != anywhere && !strings.HasPrefix(s, "*")
	literal, ok := p.globText(&re, whole, strings.TrimLeft(s, "*"), tied, ends)
	if !ok {
		return
	}
	p.putPattern(r, whole, re.String(), literal)
}

// glob emits a star within a bare name: the whole name must fit, and a leading
// "*." or "." may be missing. Each further "*." stands for a label at least.
func (p *parser) glob(r Rule, whole, s string) {
	r.Form = Wildcard
	var re strings.Builder
	rest, open := strings.CutPrefix(s, "*.")
	if !open {
		rest, open = strings.CutPrefix(s, ".")
	}
	bare := strings.TrimLeft(rest, "*")
	switch {
	case strings.Trim(bare, "*.") == "":
		p.everyName(r, whole)
		return
	case open && strings.HasPrefix(rest, "*."):
		bare = "." + rest
	case rest[0] == '*':
	case open:
		re.WriteString(`(?:^|\.)`)
	default:
		re.WriteByte('^')
	}
	literal, ok := p.globText(&re, whole, bare, rest[0] != '*', true)
	if !ok {
		return
	}
	p.putPattern(r, whole, re.String(), literal)
}

// globText writes the expression for a text whose stars stand for anything, and
// returns the longest part between them. tied says that a label begins where the
// text does, ends that it reaches to the end of the name, unless a star does.
// What no name can match is refused: it has an empty label.
func (p *parser) globText(re *strings.Builder, whole, s string, tied, ends bool) (literal string, ok bool) {
	s = strings.ToLower(s)
	if strings.Contains(s, "..") || tied && s[0] == '.' {
		p.bad(NotAName, whole, "an empty label: remove the extra dot")
		return "", false
	}
	if ends {
		s = strings.TrimSuffix(s, ".")
	}
	open := strings.TrimRight(s, "*")
	ends = ends && open == s
	s = open
	for i := range len(s) {
		if lowered[s[i]] == 0 && s[i] != '.' && s[i] != '*' {
			p.bad(NotAName, whole, "the character %s cannot stand in a pattern with stars: write a regular expression between slashes", printable(s[i:i+1]))
			return "", false
		}
	}
	for i, part := range strings.FieldsFunc(s, func(c rune) bool { return c == '*' }) {
		if i > 0 {
			re.WriteString(".*")
		}
		re.WriteString(regexp.QuoteMeta(part))
		if len(part) > len(literal) {
			literal = part
		}
	}
	if ends {
		re.WriteByte('$')
	}
	return literal, true
}
