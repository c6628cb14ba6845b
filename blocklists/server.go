package blocklists

import (
	"net/netip"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// serverRules are the rules on the servers of the zone that an answer is from (RPZ's
// rpz-nsdname and rpz-nsip).
type serverRules struct {
	names     map[string][]RuleID // by the server's name, in wire form
	below     map[string][]RuleID // by a name above the server's
	addresses *addressRules
}

func (s *serverRules) add(x *format.Extra, id RuleID) {
	switch {
	case x.Server == nil:
		s.addresses.add(x.Prefix, id)
	case x.Servers:
		s.below[string(x.Server)] = append(s.below[string(x.Server)], id)
	default:
		s.names[string(x.Server)] = append(s.names[string(x.Server)], id)
	}
}

// HasServerRules reports whether any rule is on the servers of zones, so that they are
// to be kept with answers.
func (p *Policy) HasServerRules() bool { return p != nil && p.servers != nil }

// DecideServer decides a question together with a server of the zone that its answer is
// from, as DecideAlias does: by the server's name, or else its address.
func (p *Policy) DecideServer(v Verdict, name, server *dnswire.Name, addr netip.Addr, qtype uint16, g Group) (Verdict, bool) {
	if !p.HasServerRules() {
		return v, false
	}
	var room [24]match
	ms := room[:0]
	take := func(ids []RuleID, rank int) {
		for _, id := range ids {
			if m, _, ok := p.matchInAnswer(id, uint16(rank), g); ok {
				ms = append(ms, m)
			}
		}
	}
	if server == nil {
		p.servers.addresses.each(addr, func(id RuleID, bits int) { take([]RuleID{id}, bits<<2) })
		return p.decideWith(v, name, ms, qtype, g)
	}
	take(p.servers.names[string(server.Wire())], server.Labels()<<2|2)
	for above := server.Labels() - 1; above > 0; above-- {
		take(p.servers.below[string(server.Suffix(above))], above<<2|1)
	}
	return p.decideWith(v, name, ms, qtype, g)
}
