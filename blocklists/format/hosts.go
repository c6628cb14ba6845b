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

// hostsFile reads a line of a system's hosts file (hosts(5)). Names of loopback
// addresses are this machine's for itself alone: Debian has its host name at 127.0.1.1.
func (p *parser) hostsFile(s string) {
	s, _, _ = strings.Cut(s, "#")
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return
	}
	addr, err := parseAddr(fields[0])
	switch {
	case err != nil || len(fields) == 1:
		p.bad(NotARule, s, "no line of a hosts file: write an address and its names; other rules go into own.txt")
	case addr.IsLoopback():
		p.report.Ignored++
	default:
		p.hosts(Rule{Action: Block}, addr, fields[1:])
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
		p.pointer(addr, target, 0, addr.String()+" "+s)
	}
	return true
}

// pointer emits the name of an address, which follows from the rule of text. Target is
// kept.
func (p *parser) pointer(addr netip.Addr, target []byte, ttl uint32, text string) {
	p.put(Rule{Form: Hosts, Match: Exact, Action: Answer, Name: reverseName(addr),
		Extra: &Extra{Text: text, Reply: Records, Records: []Record{{Type: dnswire.TypePTR, TTL: ttl, Data: target}}}})
}

// pointers emits the names of the addresses of a rule for a single name.
func (p *parser) pointers(name []byte, records []Record, text string) {
	var target []byte
	for _, rec := range records {
		if a, ok := recordAddr(rec); ok {
			if target == nil {
				target = append(target, name...)
			}
			p.pointer(a.Unmap(), target, rec.TTL, text)
		}
	}
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
