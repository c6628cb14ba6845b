package resolver

import (
	"bytes"

	"telltale/blocklists"
	"telltale/dnswire"
)

// Special is SpecialOf by what is in force now, for a device by its settings.
func (s *Server) Special(name *dnswire.Name, qtype uint16, lists blocklists.Action, device uint16) Special {
	if isOrdinary(name) {
		return Special{}
	}
	return SpecialOf(name, qtype, lists, &s.settings.Load().Settings, s.upstreams.HasPrivate(device), s.Zones(device))
}

// answerSpecial appends the reply to a name that has a meaning of its own, and
// sets the verdict to say so.
func (s *Server) answerSpecial(dst []byte, q *query) (reply []byte, ok bool) {
	if q.Type == dnswire.TypeHINFO && s.upstreams.IsProbe(q.Name.Wire()) {
		return s.negative(dst, q, blocklists.SpecialServer, dnswire.NXDomain), true
	}
	switch special := s.Special(&q.Name, q.Type, q.verdict.Action, q.device()); special.Reply {
	case NameError:
		return s.negative(dst, q, special.Rule, q.nameError()), true
	case NoData:
		return s.negative(dst, q, special.Rule, dnswire.Success), true
	case Loopback:
		return s.loopback(dst, q), true
	case Health:
		return s.health(dst, q), true
	case Designated:
		if reply, ok := s.designate(dst, q); ok {
			return reply, true
		}
		return s.negative(dst, q, special.Rule, dnswire.Success), true
	case IPv4Only:
		return s.ipv4Only(dst, q)
	case PrivateOnly:
		q.private, q.View = true, s.viewOf(q, &q.Name, true)
	}
	return dst, false
}

// loopback answers localhost and all below it (RFC 6761, 6.3), and its reverse.
func (s *Server) loopback(dst []byte, q *query) []byte {
	q.ttl = s.decideSpecial(q, blocklists.SpecialLocalhost)
	cookie := s.cookies.answer(q)
	r := dnswire.Begin(dst, &q.Question, dnswire.Success)
	switch q.Type {
	case dnswire.TypeA:
		r.Answer(dnswire.TypeA, q.ttl, []byte{127, 0, 0, 1})
	case dnswire.TypeAAAA:
		r.Answer(dnswire.TypeAAAA, q.ttl, []byte{15: 1})
	case dnswire.TypePTR:
		if bytes.Equal(q.Name.Suffix(1), wireArpa) {
			r.Answer(dnswire.TypePTR, q.ttl, wireLocalhost)
			break
		}
		fallthrough
	default:
		r.SOA(q.ttl)
	}
	return r.End(cookie, dnswire.EDE{})
}

// HealthText is the TXT of HealthName. It says no version: anybody may ask.
const HealthText = "telltale"

// health answers the question by which a health check knows this server.
func (s *Server) health(dst []byte, q *query) []byte {
	q.ttl = s.decideSpecial(q, blocklists.SpecialServer)
	r := dnswire.Begin(dst, &q.Question, dnswire.Success)
	r.Answer(dnswire.TypeTXT, 0, append([]byte{byte(len(HealthText))}, HealthText...))
	return r.End(s.cookies.answer(q), dnswire.EDE{})
}

// negative answers NXDOMAIN or NODATA by a built-in rule.
func (s *Server) negative(dst []byte, q *query, rule blocklists.RuleID, rcode uint16) []byte {
	q.ttl = s.decideSpecial(q, rule)
	return dnswire.AppendNegative(dst, &q.Question, rcode, q.ttl, s.cookies.answer(q), dnswire.EDE{})
}

// decideSpecial makes rule the deciding one, and returns the TTL to serve.
func (s *Server) decideSpecial(q *query, rule blocklists.RuleID) uint32 {
	q.verdict = q.policy.DecideSpecial(q.verdict, rule)
	return q.policy.TTL()
}
