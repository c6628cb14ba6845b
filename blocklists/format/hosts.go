package format

import (
	"net/netip"
	"strconv"
	"strings"

	"telltale/dnswire"
)

// hosts reads the names of a hosts line. With an address that leads nowhere
// each is blocked, alone; with any other it is a local record, which only the
// user's own file may hold.
func (p *parser) hosts(r Rule, addr netip.Addr, names []string) {
	r.Form, r.Match = Hosts, Exact
	pointed := false // one PTR a line, to the first name
	for _, s := range names {
		switch {
		case isSystemName(s):
			p.report.Ignored++
		case isNowhere(addr) && strings.HasPrefix(s, "*."):
			at := ""
			if r.Action == Allow {
				at = "@@"
			}
			p.bad(NotAName, addr.String()+" "+s, "a hosts line names no subtree: write %s%s alone", at, printable(s))
		case isNowhere(addr):
			var how nameRules
			if p.Own {
				how = oneLabel
			}
			p.putName(r, s, how)
		case strings.HasPrefix(s, "*.") && !strings.Contains(s[2:], "*"):
			p.bad(NotAName, addr.String()+" "+s, "a hosts line names no subtree: write address=/%s/%s", printable(s[2:]), addr)
		case r.Action == Allow:
			p.bad(NotARule, s, "an exception with an address: write @@%s", s)
		case !p.Own && !p.Answers:
			p.bad(OwnAnswer, addr.String()+" "+s, "an answer of the list's own (%s for %s): only own.txt, or a list with answers: true, may give one", addr, printable(s))
		case addr.Zone() != "":
			p.bad(NotHonoured, addr.String(), "an address with a zone cannot be answered: leave out %%%s", addr.Zone())
		default:
			pointed = p.localRecord(s, addr, !pointed) || pointed
		}
	}
}

// localRecord emits the address of a name and, for the first name of a line, the
// name of the address.
func (p *parser) localRecord(s string, addr netip.Addr, pointer bool) bool {
	name, ok := p.name(s, oneLabel)
	if !ok {
		return false
	}
	target := append([]byte(nil), name...)
	p.put(Rule{Form: Hosts, Match: Exact, Action: Answer, Name: target,
		Extra: &Extra{Text: addr.String() + " " + s, Reply: Records, Records: []Record{addressRecord(addr)}}})
	if pointer {
		p.put(Rule{Form: Hosts, Match: Exact, Action: Answer, Name: reverseName(addr),
			Extra: &Extra{Text: addr.String() + " " + s, Reply: Records, Records: []Record{{Type: dnswire.TypePTR, Data: target}}}})
	}
	return true
}

func addressRecord(a netip.Addr) Record {
	if a.Is4() {
		return Record{Type: dnswire.TypeA, Data: a.AsSlice()}
	}
	return Record{Type: dnswire.TypeAAAA, Data: a.AsSlice()}
}

// reverseName is the wire name below which an address is looked up (RFC 1035,
// 3.5; RFC 3596, 2.5).
func reverseName(a netip.Addr) []byte {
	const digits = "0123456789abcdef"
	b := a.AsSlice()
	var s strings.Builder
	for i := len(b) - 1; i >= 0; i-- {
		if a.Is4() {
			s.WriteString(strconv.Itoa(int(b[i])))
			s.WriteByte('.')
			continue
		}
		s.Write([]byte{digits[b[i]&15], '.', digits[b[i]>>4], '.'})
	}
	if a.Is4() {
		s.WriteString("in-addr.arpa")
	} else {
		s.WriteString("ip6.arpa")
	}
	wire, err := dnswire.AppendName(nil, s.String())
	if err != nil {
		panic("format: a reverse name is always a name")
	}
	return wire
}

// isSystemName knows the names that a system's own hosts file gives to itself,
// and the "0.0.0.0 0.0.0.0" that a well-known list begins with. They are neither
// rules nor mistakes.
func isSystemName(s string) bool {
	switch strings.ToLower(strings.TrimSuffix(s, ".")) {
	case "localhost", "localhost.localdomain", "localhost4", "localhost4.localdomain4", "localhost6", "localhost6.localdomain6",
		"local", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix",
		"ip6-allnodes", "ip6-allrouters", "ip6-allhosts", "0.0.0.0", "::", "::1", "127.0.0.1":
		return true
	}
	return false
}
