package blocklists

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// An answer is the records of a rule that answers, in order of their type.
type answer struct{ all []Record }

// newAnswer makes an answer of a rule's records; those without a TTL get ttl.
func newAnswer(records []format.Record, ttl uint32) *answer {
	a := &answer{}
	for _, r := range records {
		a.add(Record{Type: r.Type, TTL: cmp.Or(r.TTL, ttl), Data: r.Data})
	}
	return a
}

func (a *answer) add(r Record) {
	for _, have := range a.all {
		if have.Type == r.Type && string(have.Data) == string(r.Data) {
			return
		}
	}
	at, _ := slices.BinarySearchFunc(a.all, r.Type+1, func(r Record, t uint16) int { return cmp.Compare(r.Type, t) })
	a.all = slices.Insert(a.all, at, r)
}

// records returns the records of type qtype, or else the CNAME.
func (a *answer) records(qtype uint16) []Record {
	if a == nil {
		return nil
	}
	if found := a.ofType(qtype); len(found) > 0 {
		return found
	}
	return a.ofType(dnswire.TypeCNAME)
}

func (a *answer) ofType(t uint16) []Record {
	for i := range a.all {
		if a.all[i].Type != t {
			continue
		}
		end := i + 1
		for end < len(a.all) && a.all[end].Type == t {
			end++
		}
		return a.all[i:end:end]
	}
	return nil
}

// mergeAnswers gives each rule that answers the records of all rules of its
// list for the same name: an address of each family is a line of its own.
func (p *Policy) mergeAnswers() {
	type key struct {
		list  int
		match format.Match
		name  string
	}
	merged := map[key]*answer{}
	for i := range p.lists {
		l := &p.lists[i]
		for _, d := range l.set.details {
			id := l.first + RuleID(d.rule)
			a := p.answers[id]
			if a == nil {
				continue
			}
			rec, err := l.set.record(d.rule)
			if err != nil {
				continue
			}
			k := key{i, d.match, string(rec.name)}
			first := merged[k]
			if first == nil {
				merged[k] = a
				continue
			}
			if d.synthetic {
				p.answers[id] = first // an address has one name: the first
				continue
			}
			for _, r := range a.all {
				first.add(r)
			}
			p.answers[id] = first
		}
	}
}

// reverse returns the PTR rules of a local record's addresses.
func reverse(r *format.Rule) []format.Rule {
	var rules []format.Rule
	for _, rec := range r.Extra.Records {
		addr, ok := netip.AddrFromSlice(rec.Data)
		if !ok || rec.Type != dnswire.TypeA && rec.Type != dnswire.TypeAAAA {
			continue
		}
		ptr := format.Record{Type: dnswire.TypePTR, TTL: rec.TTL, Data: slices.Clone(r.Name)}
		rules = append(rules, format.Rule{
			Line: r.Line, Form: r.Form, Match: format.Exact, Action: format.Answer,
			Name:  reverseName(addr),
			Extra: &format.Extra{Text: r.Extra.Text, Reply: format.Records, Records: []format.Record{ptr}},
			Note:  r.Note,
		})
	}
	return rules
}

// reverseName returns the wire name under in-addr.arpa or ip6.arpa of an address
// (RFC 1035, 3.5; RFC 3596, 2.5).
func reverseName(addr netip.Addr) []byte {
	var wire []byte
	if addr.Is4() {
		b := addr.As4()
		for _, octet := range slices.Backward(b[:]) {
			digits := strconv.Itoa(int(octet))
			wire = append(append(wire, byte(len(digits))), digits...)
		}
		return append(wire, "\x07in-addr\x04arpa\x00"...)
	}
	b := addr.As16()
	const hex = "0123456789abcdef"
	for _, octet := range slices.Backward(b[:]) {
		wire = append(wire, 1, hex[octet&15], 1, hex[octet>>4])
	}
	return append(wire, "\x03ip6\x04arpa\x00"...)
}
