package format

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"telltale/dnswire"
)

// nameRules are what a form allows beyond a plain name.
type nameRules uint8

const (
	oneLabel nameRules = 1 << iota // a name of one label
)

// lookup turns Unicode into A-labels by IDNA 2008 (RFC 5891), with the mapping
// of UTS 46 and without its transitional part. Underscores and outer hyphens
// stay legal: names in lists are DNS names, not host names.
var lookup = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(),
	idna.StrictDomainName(false), idna.CheckHyphens(false))

// name reads a name in presentation form into its wire form, valid until the
// next call, and reports what is wrong with it.
func (p *parser) name(s string, how nameRules) (wire []byte, ok bool) {
	wire, why, problem := appendName(p.buf[:0], s, how)
	if problem != "" {
		p.bad(why, s, "%s", problem)
		return nil, false
	}
	return wire, true
}

// appendName is name without a parser.
func appendName(dst []byte, s string, how nameRules) (wire []byte, why Reason, problem string) {
	if !isASCII(s) {
		a, err := lookup.ToASCII(s)
		if err != nil {
			return nil, NotAName, "not an internationalised domain name (IDNA 2008): write it as its xn-- form"
		}
		s = a
	}
	if strings.IndexByte("0123456789abcdefABCDEF:", firstOf(s)) >= 0 {
		if _, err := netip.ParseAddr(s); err == nil {
			return nil, IPAddress, "an address, not a name: to block answers that lead there write ||" + s + "^"
		}
	}
	if why, problem = badOctet(s); problem != "" {
		return nil, why, problem
	}
	wire, err := dnswire.AppendName(dst, s)
	if err != nil {
		return nil, NotAName, longOrEmpty(s)
	}
	first := int(wire[0])
	if first == 0 {
		return nil, EveryName, "this is every name: name what is to be blocked"
	}
	if wire[1+first] == 0 && how&oneLabel == 0 {
		l := strings.TrimSuffix(s, ".")
		return nil, SingleLabel, "a single label: write =" + l + " for this name alone, ||" + l + "^ for everything below it"
	}
	if isNumber(lastLabel(wire)) {
		return nil, IPAddress, "ends in a number like an address: no name does"
	}
	return wire, "", ""
}

// badOctet looks for what cannot stand in a name unless it is escaped.
func badOctet(s string) (Reason, string) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case lowered[c] != 0 || c == '.':
		case c == '\\':
			i++ // AppendName judges the escape
		case c == '/':
			return URLPart, "a path or a URL: a DNS server sees only names, write the name"
		case c == ':' && isRouterSyntax(s[:i]):
			return NotARule, "a line of v2ray's lists: subscribe to the list's plain rendering"
		case c == ':':
			return URLPart, "a port or a scheme: a DNS server sees only names, write the name"
		case c == '*':
			return NotAName, "a star within a name: write *.example.com, or a pattern between slashes"
		case c == '"' || c == ',' || c == '\'' || c == '(' || c == '{' || c == '[':
			return NotARule, "not a list's line (JSON, CSV or a program?): subscribe to the list's plain rendering"
		default:
			return NotAName, "the character " + printable(s[i:i+1]) + " cannot stand in a name: remove it"
		}
	}
	return "", ""
}

// isRouterSyntax knows the words that v2ray's domain lists begin lines with.
func isRouterSyntax(key string) bool {
	switch key {
	case "domain", "full", "keyword", "regexp", "include":
		return true
	}
	return false
}

// longOrEmpty says why AppendName refused a name.
func longOrEmpty(s string) string {
	if s == "" {
		return "no name: write one"
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		switch {
		case label == "":
			return "an empty label: remove the extra dot"
		case len(label) > 63 && !strings.Contains(label, `\`):
			return "a label of over 63 octets: no name has one"
		}
	}
	if len(s) > 253 {
		return "a name of over 255 octets: no name is so long"
	}
	return `not a domain name: escapes are \. and \046`
}

func firstOf(s string) byte {
	if s == "" {
		return 0
	}
	return s[0]
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// lastLabel returns the top-level label of a wire name.
func lastLabel(wire []byte) []byte {
	for {
		n := int(wire[0])
		if n == 0 || wire[1+n] == 0 {
			return wire[1 : 1+n]
		}
		wire = wire[1+n:]
	}
}

func isNumber(b []byte) bool {
	for _, c := range b {
		if c-'0' > 9 {
			return false
		}
	}
	return len(b) > 0
}

// ASCII returns a name as it stands in a packet: one in other letters as its
// A-labels (IDNA 2008), any other as it is.
func ASCII(name string) (string, error) {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return lookup.ToASCII(name)
		}
	}
	return name, nil
}
