package format

import (
	"bytes"
	"net/netip"
)

// Nearly every line of a large list is one of a few spellings of one lower-case
// ASCII name. fast reads those in one pass over the bytes and without
// allocation; whatever it does not know for certain it leaves to general, which
// reads the same lines to the same rules.

// What stands around a name in unbound's most frequent line.
const (
	zoneBefore = `local-zone: "`
	zoneAfter  = `" always_null`
)

// lowered holds, for each octet that stands for itself in a name, its lower
// case; 0 for all others.
var lowered = func() (t [256]byte) {
	for c := byte('a'); c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = c, c
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] = c
	}
	t['-'], t['_'] = '-', '_'
	return t
}()

// fast reads a line and reports whether it could.
func (p *parser) fast(text []byte) bool {
	n := len(text)
	if n == 0 {
		return true
	}
	form, match := Domain, Subtree
	switch c := text[0]; c {
	case '#', '!':
		return p.fastComment(text)
	case '|':
		if n < 3 || text[1] != '|' || text[n-1] != '^' {
			return false
		}
		text, form = text[2:n-1], AdBlock
	case '*':
		if n < 2 || text[1] != '.' {
			return false
		}
		text, form = text[2:], Wildcard
	case '0', '1', ':':
		if names, ok := cutNowhere(text); ok {
			return p.fastHosts(names)
		}
	case 'l':
		switch {
		case n > 7 && string(text[:7]) == "local=/":
			if text[n-1] != '/' {
				return false
			}
			text, form = text[7:n-1], Dnsmasq
		case n > len(zoneBefore)+len(zoneAfter) && text[5] == '-' && string(text[:len(zoneBefore)]) == zoneBefore:
			name, ok := bytes.CutSuffix(text[len(zoneBefore):], []byte(zoneAfter))
			if !ok || p.redirect != nil || p.transparent != nil {
				return false
			}
			text, form = bytes.TrimSuffix(name, []byte(".")), Unbound
		}
	}
	if form == Domain && p.Exact {
		match = Exact
	}
	name := p.fastName(text)
	if name == nil {
		return false
	}
	p.fastPut(form, match, name)
	return true
}

// fastPut emits a plain block.
func (p *parser) fastPut(form Form, match Match, name []byte) {
	p.rule.Line, p.rule.Form, p.rule.Match, p.rule.Action = p.line, form, match, Block
	p.rule.Important, p.rule.Name, p.rule.Annotation = false, name, p.block
	if p.rule.Extra != nil || p.rule.Regex != "" {
		p.rule.Extra, p.rule.Regex, p.rule.Literal = nil, "", ""
	}
	p.report.Rules++
	p.report.Forms[form]++
	p.emit(&p.rule)
}

// cutNowhere cuts off the three addresses that hosts lists begin lines with.
func cutNowhere(text []byte) (names []byte, ok bool) {
	n := 2 // ::
	switch text[0] {
	case '0':
		n = len("0.0.0.0")
	case '1':
		n = len("127.0.0.1")
	}
	if len(text) <= n || text[n] != ' ' && text[n] != '\t' {
		return nil, false
	}
	switch string(text[:n]) {
	case "0.0.0.0", "127.0.0.1", "::":
		return text[n:], true
	}
	return nil, false
}

// fastHosts reads the names of a hosts line that holds nothing else. Those it
// does not know are judged on the general path, one by one.
func (p *parser) fastHosts(names []byte) bool {
	if name := p.fastName(names[1:]); name != nil && !isLocaldomain(name) { // one name, as nearly always
		p.fastPut(Hosts, Exact, name)
		return true
	}
	for _, c := range names {
		if lowered[c] == 0 && c != '.' && c != ' ' && c != '\t' {
			return false // a comment, Unicode, an escape, a mistake
		}
	}
	found := false
	for len(names) > 0 {
		if names[0] == ' ' || names[0] == '\t' {
			names = names[1:]
			continue
		}
		end := 1
		for end < len(names) && names[end] != ' ' && names[end] != '\t' {
			end++
		}
		word := names[:end]
		names, found = names[end:], true
		if name := p.fastName(word); name != nil && !isLocaldomain(name) {
			p.fastPut(Hosts, Exact, name)
			continue
		}
		p.current = p.block
		p.hosts(Rule{}, netip.IPv4Unspecified(), []string{string(word)})
	}
	return found
}

// fastName writes the wire form of a name of at least two labels of letters,
// digits, hyphens and underscores, the last of which does not begin with a
// digit; nil for any other text.
func (p *parser) fastName(text []byte) []byte {
	if len(text) > 253 {
		return nil
	}
	buf := &p.buf
	label, at := uint8(0), uint8(1) // offsets of the label's length and of its next octet
	for _, c := range text {
		l := lowered[c]
		if l == 0 {
			n := at - label - 1
			if c != '.' || n == 0 || n > 63 {
				return nil
			}
			buf[label] = n
			label, l = at, 0
		}
		buf[at] = l
		at++
	}
	n := at - label - 1
	if n == 0 || n > 63 || label == 0 || buf[label+1]-'0' < 10 {
		return nil
	}
	buf[label] = n
	buf[at] = 0
	return buf[:int(at)+1]
}

// isLocaldomain knows the "localhost.localdomain" of a system's hosts file.
func isLocaldomain(wire []byte) bool {
	const end = "\x0blocaldomain\x00"
	return len(wire) > len(end) && string(wire[len(wire)-len(end):]) == end
}

// fastComment reports whether the line is a comment that says nothing to us.
func (p *parser) fastComment(text []byte) bool {
	if len(text) > 1 && text[1] == '@' {
		return false
	}
	for _, c := range text {
		if c == '\r' || c == ':' { // another line in it; a head such as "Number of entries: 5"
			return false
		}
	}
	return true
}
