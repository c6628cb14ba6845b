package format

import (
	"net/netip"
	"strings"

	"telltale/dnswire"
)

// Replies that many rules share, so that a zone of a million names does not hold
// a million of them. Nobody writes to an Extra once it was emitted.
var (
	repliesNXDomain = &Extra{Reply: NXDomain}
	repliesNoData   = &Extra{Reply: NoData}
	repliesRefuse   = &Extra{Reply: Refuse}
	repliesDrop     = &Extra{Reply: Drop}
	repliesTruncate = &Extra{Reply: Truncate}
)

// dnsRewrite reads $dnsrewrite: a keyword, an address or a name, or
// RCODE;TYPE;VALUE. An exception takes an answer back and may name any.
func (p *parser) dnsRewrite(x *Extra, whole, value string, action Action) bool {
	if value == "" {
		if action == Allow { // takes back every rewrite
			return true
		}
		p.bad(Modifier, whole, "$dnsrewrite says no answer: write $dnsrewrite=NXDOMAIN or $dnsrewrite=192.0.2.1")
		return false
	}
	may := p.mayAnswer() || action == Allow
	parts := strings.SplitN(value, ";", 3)
	if len(parts) == 2 {
		p.bad(Modifier, whole, "$dnsrewrite=%s has two parts: write RCODE;TYPE;VALUE", printable(value))
		return false
	}
	if len(parts) == 1 || parts[0] != "NOERROR" {
		return p.shortRewrite(x, whole, parts[0], may)
	}
	typ, data := parts[1], parts[2]
	if typ == "" && data == "" {
		x.Reply = NoData
		return true
	}
	t, ok := dnswire.ParseType(typ)
	if !ok {
		p.bad(Modifier, whole, "$dnsrewrite: %s is no record type: write A, AAAA, CNAME, TXT or the like", printable(typ))
		return false
	}
	fields := []string{data}
	if t != dnswire.TypeTXT {
		fields = strings.Fields(data)
	}
	rdata, err := appendRDATA(nil, t, fields, "")
	if err != nil {
		p.bad(Modifier, whole, "$dnsrewrite: %s record: %v", dnswire.TypeString(t), err)
		return false
	}
	return p.reply(x, whole, Record{Type: t, Data: rdata}, may)
}

// shortRewrite reads the short form: an upper-case keyword, an address or a
// name.
func (p *parser) shortRewrite(x *Extra, whole, value string, may bool) bool {
	switch value {
	case "NXDOMAIN":
		x.Reply = NXDomain
		return true
	case "REFUSED":
		x.Reply = Refuse
		return true
	case "NOERROR":
		x.Reply = NoData
		return true
	case "SERVFAIL", "FORMERR", "NOTIMP", "NOTIMPL", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE":
		p.bad(NotHonoured, whole, "$dnsrewrite=%s is not honoured: write NXDOMAIN, REFUSED or NOERROR", value)
		return false
	}
	if a, err := netip.ParseAddr(value); err == nil && a.Zone() == "" {
		return p.reply(x, whole, addressRecord(a.Unmap()), may)
	}
	wire, _, problem := appendName(nil, value, oneLabel)
	if problem != "" {
		p.bad(Modifier, whole, "$dnsrewrite=%s: %s", printable(value), problem)
		return false
	}
	return p.reply(x, whole, Record{Type: dnswire.TypeCNAME, Data: wire}, may)
}

// reply makes a record the answer of a rule. An address that leads nowhere is
// no answer but a block, which any list may ask for.
func (p *parser) reply(x *Extra, whole string, rec Record, may bool) bool {
	if a, ok := recordAddr(rec); ok && a.IsUnspecified() && x.Reply != Records {
		x.Reply = NullIP
		return true
	}
	if !may {
		p.refuseAnswer(whole)
		return false
	}
	x.Reply = Records
	x.Records = append(x.Records, rec)
	return true
}

// mayAnswer reports whether the list may answer with data of its own.
func (p *parser) mayAnswer() bool { return p.Own || p.Answers }

func (p *parser) refuseAnswer(whole string) {
	p.bad(OwnAnswer, whole, "an answer of the list's own: only own.txt, or a list with answers: true, may give one")
}

// recordAddr returns the address of an A or AAAA record.
func recordAddr(rec Record) (netip.Addr, bool) {
	if rec.Type != dnswire.TypeA && rec.Type != dnswire.TypeAAAA {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(rec.Data)
}
