package format

import (
	"errors"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strings"

	"telltale/dnswire"
)

// slashRegex reads /regex/ and @@/regex/, with AdBlock modifiers or a comment
// behind it.
func (p *parser) slashRegex(s string) {
	r := Rule{Form: RegexForm}
	body, exception := strings.CutPrefix(s, "@@")
	if exception {
		r.Action = Allow
	}
	end := closingSlash(body)
	if end < 0 {
		if strings.HasPrefix(s, "//") { // //example.com^
			p.named(s)
			return
		}
		if flags := flagsBehind(body); flags != "" {
			p.bad(BadRegex, s, "flags behind a pattern (%s) are not read: leave them out (upper and lower case are the same in any case)", flags)
			return
		}
		p.bad(URLPart, s, "a path, or a regular expression without its closing slash: close it")
		return
	}
	re, rest := body[1:end], body[end+1:]
	s = s[:len(s)-len(rest)]
	if modifiers, ok := strings.CutPrefix(rest, "$"); ok {
		modifiers, comment, ok := p.cutComment(modifiers)
		if !ok {
			return
		}
		p.annotate(comment)
		s += "$" + modifiers
		if !p.modifiers(&r, s, modifiers) {
			return
		}
		if r.Extra != nil {
			r.Extra.Text = strings.Clone(s)
		}
	} else if rest = strings.TrimSpace(rest); rest != "" {
		p.annotate(rest)
	}
	p.regex(r, s, re)
}

// closingSlash finds the slash that ends a pattern: the last one that is
// followed by nothing, by modifiers or by a comment.
func closingSlash(s string) int {
	for i := len(s) - 1; i > 1; i-- {
		if s[i] != '/' || s[i-1] == '\\' {
			continue
		}
		rest := s[i+1:]
		after := strings.TrimLeft(rest, " \t")
		if rest == "" || rest[0] == '$' || len(after) < len(rest) && (after == "" || after[0] == '#') {
			return i
		}
	}
	return -1
}

// flagsBehind returns what stands behind the last slash of a pattern, where that
// is one or more of the flags that JavaScript and Perl have there.
func flagsBehind(s string) string {
	i := strings.LastIndexByte(s, '/')
	flags, _, _ := strings.Cut(s[i+1:], "$")
	if i < 2 || s[i-1] == '\\' || len(flags) > 6 || strings.Trim(flags, "dgimnsuvxy") != "" {
		return ""
	}
	return flags
}

// piholeRegex reads a line of a list of patterns: bare, or between slashes, with
// Pi-hole's extensions behind ";".
func (p *parser) piholeRegex(s string) {
	if strings.HasPrefix(s, "/") && closingSlash(s) > 0 {
		p.slashRegex(s)
		return
	}
	if i := strings.Index(s, " #"); i >= 0 {
		p.annotate(strings.TrimSpace(s[i:]))
		s = strings.TrimSpace(s[:i])
	}
	r := Rule{Form: RegexForm}
	re, extensions, found := strings.Cut(s, ";")
	re, exception := strings.CutPrefix(re, "@@")
	if exception {
		r.Action = Allow
	}
	if approximate.MatchString(re) {
		p.bad(BadRegex, s, "approximate matching ({...}) is not in RE2: write the pattern without it")
		return
	}
	if found {
		x := &Extra{Text: strings.Clone(s)}
		for e := range strings.SplitSeq(extensions, ";") {
			if !p.extension(x, s, e) {
				return
			}
		}
		r.Extra = x
		if x.Reply == Records {
			r.Action = Answer
		}
	}
	p.regex(r, s, re)
}

// approximate finds TRE's {#1}, {+1}, {~2} and the like, which RE2 would take for
// ordinary text.
var approximate = regexp.MustCompile(`[^\\]\{[#+~-]`)

// extension reads one of Pi-hole's ";key=value".
func (p *parser) extension(x *Extra, whole, s string) bool {
	key, value, _ := strings.Cut(strings.TrimSpace(s), "=")
	switch strings.ToLower(key) {
	case "invert":
		x.Invert = true
		return true
	case "querytype":
		x.Types, x.NotTypes = nil, nil
		value, not := strings.CutPrefix(value, "!")
		for s := range strings.SplitSeq(value, ",") {
			t, ok := dnswire.ParseType(strings.TrimSpace(s))
			if !ok {
				p.bad(Modifier, whole, "querytype=%s is no record type that can be told apart: write A, AAAA, HTTPS, or TYPE and a number", printable(s))
				return false
			}
			if not {
				x.NotTypes = append(x.NotTypes, t)
			} else {
				x.Types = append(x.Types, t)
			}
		}
		return true
	case "reply":
		return p.piholeReply(x, whole, value)
	}
	p.bad(Modifier, whole, ";%s is not honoured: known are querytype, invert and reply", printable(key))
	return false
}

func (p *parser) piholeReply(x *Extra, whole, value string) bool {
	switch strings.ToUpper(value) {
	case "NODATA":
		x.Reply = NoData
	case "NXDOMAIN":
		x.Reply = NXDomain
	case "REFUSED":
		x.Reply = Refuse
	case "NONE":
		x.Reply = Drop
	case "IP":
		p.bad(NotHonoured, whole, "reply=IP is not honoured: write the address that is to be answered")
		return false
	default:
		return p.replyWith(x, whole, "reply="+value, value)
	}
	return true
}

// replyWith makes an address, or "CNAME,name", the answer of a rule.
func (p *parser) replyWith(x *Extra, whole, said, value string) bool {
	if a, err := netip.ParseAddr(value); err == nil && a.Zone() == "" {
		return p.reply(x, whole, addressRecord(a.Unmap()), p.mayAnswer())
	}
	target, ok := strings.CutPrefix(value, "CNAME,")
	wire, _, problem := appendName(nil, target, oneLabel)
	if !ok || problem != "" {
		p.bad(Modifier, whole, "%s is no answer: write NXDOMAIN, NODATA, REFUSED, an address or CNAME,example.com", printable(said))
		return false
	}
	return p.reply(x, whole, Record{Type: dnswire.TypeCNAME, Data: wire}, p.mayAnswer())
}

// regex checks a pattern and emits its rule.
func (p *parser) regex(r Rule, whole, re string) {
	if re == "" {
		p.bad(BadRegex, whole, "an empty pattern matches every name: write one")
		return
	}
	if hasUpper(re) {
		re = "(?i)" + re // patterns are written without regard to case, names are lower
	}
	p.putPattern(r, whole, strings.Clone(re), "")
}

// putPattern emits a rule with a regular expression, if it is one RE2 knows, is
// not too dear, and leaves some names alone.
func (p *parser) putPattern(r Rule, whole, re, literal string) {
	tree, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		p.bad(BadRegex, whole, "%s", regexProblem(err))
		return
	}
	if literal == "" {
		literal = requiredLiteral(tree)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		p.bad(BadRegex, whole, "not a regular expression: %v", err)
		return
	}
	cost := len(prog.Inst)
	switch {
	case cost > p.limits.Regex:
		p.bad(TooManyRegexes, whole, "a pattern of %d steps, over the limit of %d: make it simpler", cost, p.limits.Regex)
		return
	case p.regexes >= p.limits.Regexes, p.cost+cost > p.limits.Cost:
		p.bad(TooManyRegexes, whole, "one pattern too many (%d taken, %d steps): patterns are slow, write names", p.regexes, p.cost)
		return
	case !p.Own:
		if problem := p.tooBroad(re, literal, r.Extra != nil && r.Extra.Invert); problem != "" {
			p.bad(EveryName, whole, "%s", problem)
			return
		}
	}
	if r.Extra == nil {
		r.Extra = &Extra{Text: strings.Clone(whole)}
	}
	p.regexes++
	p.cost += cost
	r.Match, r.Regex, r.Literal = Pattern, re, literal
	p.put(r)
}

// regexProblem says in a person's words what RE2 lacks.
func regexProblem(err error) string {
	var e *syntax.Error
	if !errors.As(err, &e) {
		return "not a regular expression: " + err.Error()
	}
	switch {
	case e.Code == syntax.ErrInvalidPerlOp || e.Code == "invalid or unsupported Perl syntax":
		return printable(e.Expr) + " is not in RE2 (no look-around, no comments): write the pattern without it"
	case e.Code == syntax.ErrInvalidEscape && strings.Trim(e.Expr, `\0123456789`) == "":
		return printable(e.Expr) + " is not in RE2 (no back-references): write the pattern without it"
	case e.Code == syntax.ErrInvalidEscape:
		return printable(e.Expr) + " is not in RE2: write the pattern without it"
	case e.Code == syntax.ErrInvalidRepeatSize || e.Code == syntax.ErrLarge || e.Code == syntax.ErrNestingDepth:
		return "a pattern that is too large (" + printable(e.Expr) + "): make it simpler"
	}
	return "not a regular expression, " + string(e.Code) + " at " + printable(e.Expr) + ": correct it"
}

func hasUpper(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c >= 'A' && c <= 'Z' })
}

// requiredLiteral returns the longest text that each match must contain; ""
// where none is known.
func requiredLiteral(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return strings.ToLower(string(re.Rune))
	case syntax.OpCapture, syntax.OpPlus:
		return requiredLiteral(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return requiredLiteral(re.Sub[0])
		}
	case syntax.OpConcat:
		longest := ""
		for _, sub := range re.Sub {
			if l := requiredLiteral(sub); len(l) > len(longest) {
				longest = l
			}
		}
		return longest
	}
	return ""
}
