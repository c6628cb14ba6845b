package format

import (
	"net/netip"
	"strconv"
	"strings"
)

// general reads a line of any form. The order of its questions is what decides
// which form a line has: what no name can begin with comes first.
func (p *parser) general(s string) {
	s = strings.TrimSpace(strings.TrimPrefix(s, "\ufeff"))
	if s == "" {
		return
	}
	if i := strings.IndexFunc(s, isControl); i >= 0 {
		p.bad(ControlBytes, s, "control byte 0x%02x: remove it", s[i])
		return
	}
	switch {
	case p.System:
		p.hostsFile(s)
	case s[0] == '#':
		p.comment(s)
	case s[0] == '!', s[0] == ';', strings.HasPrefix(s, "// "), s == "//":
		p.head(s)
	case startsZone(s):
		p.startZone()
		p.zone.line(p.whole)
	case p.Format == "regex":
		p.piholeRegex(s)
	case strings.HasPrefix(s, "/") && strings.IndexByte(s[1:], '/') > 0,
		strings.HasPrefix(s, "@@/") && strings.IndexByte(s[3:], '/') > 0:
		p.slashRegex(s)
	case p.dnsmasq(s), p.unbound(s):
	case s[0] == '[':
		p.bracket(s)
	default:
		p.named(s)
	}
}

// named reads the forms that are a name and something around it: domain, exact,
// wildcard, hosts and AdBlock lines, each also behind "@@".
func (p *parser) named(s string) {
	if p.Own && isOwnRecord(strings.Fields(s)) {
		p.ownRecord(s)
		return
	}
	s, comment, ok := p.cutComment(s)
	if !ok || s == "" {
		return
	}
	p.annotate(comment)
	r := Rule{Action: Block}
	if rest, exception := strings.CutPrefix(s, "@@"); exception {
		r.Action = Allow
		if s = strings.TrimSpace(rest); s == "" {
			p.bad(NotAName, "@@", "nothing stands behind @@: write the name it is to allow")
			return
		}
	}
	fields := strings.Fields(s)
	switch {
	case len(fields) > 1:
		p.words(r, s, fields)
	case s[0] == '=':
		r.Form, r.Match = Exactly, Exact
		p.putName(r, s[1:], oneLabel)
	case strings.HasPrefix(s, "*.") && !strings.ContainsAny(s[2:], "*|^$/:"):
		r.Form = Wildcard
		p.putName(r, s[2:], oneLabel)
	case s[0] == '.' && len(s) > 1 && !strings.ContainsAny(s, "*|^$/:"):
		r.Form = Wildcard
		p.putName(r, s[1:], 0)
	case strings.ContainsAny(s, "*|^$"):
		p.adBlock(r, s)
	default:
		r.Form = Domain
		if p.Exact {
			r.Match = Exact
		}
		p.putName(r, s, 0)
	}
}

// words reads a line of several words: a hosts line, or a zone's record that
// stands outside a zone.
func (p *parser) words(r Rule, s string, fields []string) {
	addr, err := parseAddr(fields[0])
	switch {
	case err == nil:
		p.hosts(r, addr, fields[1:])
	case r.Action == Block && isRecord(fields):
		z := &zoneReader{p: p}
		z.line(s)
		z.end()
	case strings.ContainsAny(fields[0], "|^$*"):
		p.adBlock(r, s)
	default:
		p.bad(NotARule, s, "several words, and the first is no address: write one name a line, or # before a comment")
	}
}

// putName emits r for the name in s.
func (p *parser) putName(r Rule, s string, how nameRules) {
	name, ok := p.name(s, how)
	if !ok {
		return
	}
	r.Name = name
	p.put(r)
}

// cutComment cuts off a comment behind a rule; ok is false where the line is a
// cosmetic rule, whose "##" is none. A "#" may follow the name at once, as most
// parsers have it; "!", ";" and "//" need a space before them.
func (p *parser) cutComment(s string) (rule, comment string, ok bool) {
	for i := 0; i < len(s); i++ {
		spaced := i > 0 && (s[i-1] == ' ' || s[i-1] == '\t')
		switch {
		case s[i] == '#' && !spaced && isCosmetic(s[i:]):
			p.bad(Cosmetic, s, "hides parts of a page: a DNS server sees only names, use it in a browser")
			return "", "", false
		case s[i] == '#', spaced && (s[i] == '!' || s[i] == ';' || strings.HasPrefix(s[i:], "//")):
			return strings.TrimSpace(s[:i]), s[i:], true
		}
	}
	return s, "", true
}

// isCosmetic knows ##, #@#, #$#, #?#, #%# and their mixtures.
func isCosmetic(s string) bool {
	return strings.HasPrefix(strings.TrimLeft(s[1:], "@$?%"), "#")
}

// head reads a comment line, of which only one thing matters: how many entries
// the author says there are.
func (p *parser) head(s string) {
	key, value, ok := strings.Cut(strings.TrimLeft(s, "#!;/ \t"), ":")
	if !ok || p.report.Declared > 0 || p.report.Rules > 0 {
		return
	}
	switch strings.ToLower(strings.TrimSpace(key)) {
	case "number of entries", "entries", "total entries", "number of unique domains":
		value = strings.NewReplacer(",", "", ".", "", " ", "").Replace(value)
		if n, err := strconv.Atoi(value); err == nil && n > 0 {
			p.report.Declared = n
		}
	}
}

// bracket reads "[Adblock Plus 3.1]" and the like.
func (p *parser) bracket(s string) {
	if strings.HasSuffix(s, "]") {
		p.report.Ignored++
		return
	}
	p.bad(NotARule, s, "begins with a bracket: write the name alone")
}

func isControl(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// parseAddr reads an address as hosts files have it: with a zone, or "0".
func parseAddr(s string) (netip.Addr, error) {
	if s == "0" {
		return netip.IPv4Unspecified(), nil
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err
}

// isNowhere reports whether an answer with the address blocks a name: the
// unspecified and loopback addresses of both families, and broadcast.
func isNowhere(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
