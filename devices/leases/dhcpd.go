package leases

import (
	"net/netip"
	"strings"
	"time"
)

// dhcpd reads the files of ISC dhcpd, for IPv4 and IPv6, as dhcpd.leases(5) describes
// them: declarations in braces, statements that end in a semicolon. Of several
// declarations of an address the last one holds.
type dhcpd struct{}

func (dhcpd) looksLike(line string) bool {
	for _, start := range []string{"# The format of this file is documented in the dhcpd.leases(5)", "# This lease file was written by isc-dhcp",
		"authoring-byte-order ", "server-duid ", "lease ", "ia-na ", "ia-ta ", "ia-pd ", "failover peer ", "host "} {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return false
}

func (dhcpd) read(text string, r *reading) {
	s := &scanner{text: text, line: 1}
	for {
		words, opens, ok := s.statement()
		switch {
		case !ok:
			r.Incomplete = r.Incomplete || len(words) > 0
			return
		case !opens:
			r.understood = r.understood || len(words) > 0 && (words[0] == "server-duid" || words[0] == "authoring-byte-order")
			continue
		}
		ok = true
		switch at := s.line; {
		case len(words) == 2 && words[0] == "lease":
			ok = r.dhcpdLease(s, words[1], at)
		case len(words) == 2 && (words[0] == "ia-na" || words[0] == "ia-ta"):
			ok = r.dhcpdIA(s, words[1])
		default:
			ok = s.skip()
		}
		if !ok {
			r.Incomplete = true
			return
		}
	}
}

// dhcpdLease reads the statements of a declaration of an IPv4 address. It returns false
// where the text ends before it does.
func (r *reading) dhcpdLease(s *scanner, address string, at int) bool {
	addr, err := netip.ParseAddr(address)
	l := Lease{Addr: addr}
	var id []byte
	active := true
	ok := s.block(func(w []string) {
		switch {
		case w[0] == "starts":
			l.From = dhcpdTime(w[1:])
		case w[0] == "ends":
			l.Until = dhcpdTime(w[1:])
		case len(w) == 3 && w[0] == "binding" && w[1] == "state":
			active = w[2] == "active"
		case len(w) == 3 && w[0] == "hardware":
			l.MAC = parseMAC(w[2])
		case len(w) == 2 && w[0] == "uid":
			id = []byte(w[1])
		case len(w) == 2 && w[0] == "client-hostname":
			l.Host = r.host(w[1])
		case len(w) == 4 && w[0] == "set" && w[1] == "vendor-class-identifier" && w[2] == "=":
			l.Class = Shown(w[3])
		}
	}, nil)
	switch {
	case !ok:
		return false
	case err != nil:
		r.bad(at)
	case !active:
		r.end(addr)
	default:
		r.client(id, l.MAC)
		r.set(l)
	}
	return true
}

// dhcpdIA reads a declaration of the IPv6 addresses of a client, whose IAID and DUID is
// id. It returns false where the text ends before it does.
func (r *reading) dhcpdIA(s *scanner, id string) bool {
	duid, from := "", time.Time{}
	if len(id) > 4 {
		duid = id[4:]
	}
	return s.block(func(w []string) {
		if w[0] == "cltt" {
			from = dhcpdTime(w[1:])
		}
	}, func(w []string) bool {
		if len(w) != 2 || w[0] != "iaaddr" {
			return s.skip()
		}
		at := s.line
		addr, err := netip.ParseAddr(w[1])
		l := Lease{Addr: addr, From: from, duid: duid}
		active := true
		if !s.block(func(w []string) {
			switch {
			case w[0] == "ends":
				l.Until = dhcpdTime(w[1:])
			case len(w) == 3 && w[0] == "binding" && w[1] == "state":
				active = w[2] == "active"
			}
		}, nil) {
			return false
		}
		switch {
		case err != nil:
			r.bad(at)
		case !active:
			r.end(addr)
		default:
			r.set(l)
		}
		return true
	})
}

// dhcpdTime reads a date: a day of the week, a date and a time, in UTC; or "epoch" and
// seconds. "never", and what is no date, is the zero time.
func dhcpdTime(w []string) (t time.Time) {
	switch {
	case len(w) == 2 && w[0] == "epoch":
		t, _ = seconds(w[1])
	case len(w) == 3:
		t, _ = time.Parse("2006/01/02 15:04:05", w[1]+" "+w[2])
	}
	return t
}

// A scanner cuts the text of dhcpd into statements.
type scanner struct {
	text string
	at   int
	line int
}

const (
	maxWords = 64 // of a statement; further ones are not kept
	maxDepth = 16 // of braces; deeper ones are no lease file's
)

// statement returns the words of the next statement, and whether it opens a block. A
// block that ends is a statement without words. It returns false at the end of the
// text, with the words there are.
func (s *scanner) statement() (words []string, opens, ok bool) {
	keep := func(w string) {
		if len(words) < maxWords {
			words = append(words, w)
		}
	}
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case '\n':
			s.line++
			s.at++
		case ' ', '\t', '\r':
			s.at++
		case '#':
			end := strings.IndexByte(s.text[s.at:], '\n')
			if end < 0 {
				s.at = len(s.text)
				return words, false, false
			}
			s.at += end
		case ';':
			s.at++
			return words, false, true
		case '{':
			s.at++
			return words, true, true
		case '}':
			if len(words) > 0 {
				return words, false, true // a statement without its semicolon
			}
			s.at++
			return nil, false, true
		case '"':
			text, complete := s.quoted()
			if !complete {
				return append(words, text), false, false
			}
			keep(text)
		default:
			start := s.at
			for s.at < len(s.text) && !strings.ContainsRune(" \t\r\n;{}\"#", rune(s.text[s.at])) {
				s.at++
			}
			keep(s.text[start:s.at])
		}
	}
	return words, false, false
}

// quoted reads a string; a backslash stands before three octal digits, or before a
// character that means itself. It returns false where the text ends within.
func (s *scanner) quoted() (string, bool) {
	var b strings.Builder
	for s.at++; s.at < len(s.text); s.at++ {
		c := s.text[s.at]
		switch {
		case c == '"':
			s.at++
			return b.String(), true
		case c == '\n':
			s.line++
			b.WriteByte(c)
		case c == '\\' && s.at+3 < len(s.text) && isOctal(s.text[s.at+1:s.at+4]):
			d := s.text[s.at+1:]
			b.WriteByte((d[0]-'0')<<6 | (d[1]-'0')<<3 | (d[2] - '0'))
			s.at += 3
		case c == '\\' && s.at+1 < len(s.text):
			s.at++
			b.WriteByte(s.text[s.at])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), false
}

func isOctal(text string) bool { return strings.Trim(text, "01234567") == "" && text[0] < '4' }

// block calls each with the statements of the block that was opened, and inner with what
// opens a block within it, which inner must read; nil: it is skipped. It returns false
// where the text ends first.
func (s *scanner) block(each func([]string), inner func([]string) bool) bool {
	for {
		before := s.at
		words, opens, ok := s.statement()
		switch {
		case !ok:
			return false
		case opens && inner != nil:
			if !inner(words) {
				return false
			}
		case opens:
			if !s.skip() {
				return false
			}
		case len(words) > 0:
			each(words)
		case s.text[s.at-1] == '}' && s.at > before:
			return true
		}
	}
}

// skip reads to the end of the block that was opened.
func (s *scanner) skip() bool {
	for depth := 1; depth > 0 && depth < maxDepth; {
		words, opens, ok := s.statement()
		switch {
		case !ok:
			return false
		case opens:
			depth++
		case len(words) == 0 && s.text[s.at-1] == '}':
			depth--
		}
	}
	return true
}
