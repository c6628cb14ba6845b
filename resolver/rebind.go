package resolver

import (
	"fmt"
	"net/netip"
	"slices"

	"telltale/dnswire"
	"telltale/resolver/cache"
	"telltale/resolver/dns64"
	"telltale/resolver/rebind"
)

// settings are Settings as the query path uses them. They never change.
type settings struct {
	Settings
	rebind     *rebind.Policy
	forwarders []netip.Prefix // whose word who asks counts
}

func newSettings(o Settings) (*settings, error) {
	p, err := rebind.New(o.RebindAllow)
	if err != nil {
		return nil, err
	}
	if p := o.DNS64.Prefix; p.IsValid() && !dns64.IsPrefix(p) {
		return nil, fmt.Errorf("DNS64: %v can hold no IPv4 addresses", p)
	}
	return &settings{o, p, slices.Clone(o.Forwarders)}, nil
}

// mayLeadInside returns why name, for who asks q, may lead to the private addresses in e.
func (s *Server) mayLeadInside(q *query, name *dnswire.Name, e *cache.Entry) rebind.Reason {
	if s.Zones(q.device()).Find(name) != nil {
		return rebind.Forwarded
	}
	return s.settings.Load().rebind.Judge(name, e.Addresses, e.Inside)
}

// refuseRebind appends the refusal of a private address.
func (s *Server) refuseRebind(dst []byte, q *query) []byte {
	if !q.explained {
		s.stats.rebound.Add(1)
	}
	q.ttl = 0
	return dnswire.AppendEmpty(dst, &q.Question, dnswire.ServFail, s.cookies.answer(q),
		dnswire.EDE{Code: dnswire.EDEFiltered, Text: "private address in a public name (rebind.allow)"})
}
