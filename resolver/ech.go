package resolver

import (
	"slices"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/cache"
)

// HTTPS and SVCB records may say how to hide a server's name from the network when
// connecting to it (Encrypted Client Hello). Answers leave that alone, but for groups
// whose settings say otherwise.

var echLeftOut = dnswire.EDE{Code: dnswire.EDEForgedAnswer, Text: "ech is left out (groups.strip_ech)"}

// stripsECH reports whether q's answer must not say how to hide a server's name.
func (q *query) stripsECH() bool {
	return (q.Type == dnswire.TypeHTTPS || q.Type == dnswire.TypeSVCB) && q.policy.StripsECH(q.group)
}

// appendWithoutECH appends e as the reply to q without ECH; false where e has none.
func (s *Server) appendWithoutECH(dst []byte, q *query, e *cache.Entry) ([]byte, bool) {
	var m dns.Msg
	if e.Rcode != dnswire.Success || m.Unpack(e.Wire) != nil || !stripECH(m.Answer) {
		return dst, false
	}
	q.ttl = 0
	reply := dnswire.Begin(dst, &q.Question, dnswire.Success)
	q.appendAnswers(&reply, slices.DeleteFunc(m.Answer, isServiceSignature), e)
	return s.fitted(reply.End(s.cookies.answer(q), echLeftOut), dst, q), true
}

// isServiceSignature reports whether rr signs records that ECH was taken from.
func isServiceSignature(rr dns.RR) bool {
	sig, ok := rr.(*dns.RRSIG)
	return ok && (sig.TypeCovered == dns.TypeHTTPS || sig.TypeCovered == dns.TypeSVCB)
}

// stripECH takes the parameter ech out of HTTPS and SVCB records, and reports whether any
// had it.
func stripECH(records []dns.RR) (found bool) {
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.HTTPS:
			found = stripECHOf(&rr.SVCB) || found
		case *dns.SVCB:
			found = stripECHOf(rr) || found
		}
	}
	return found
}

// stripECHOf is stripECH for one record. What made ech mandatory goes, too (RFC 9460, 8).
func stripECHOf(svcb *dns.SVCB) bool {
	before := len(svcb.Value)
	svcb.Value = slices.DeleteFunc(svcb.Value, func(kv dns.SVCBKeyValue) bool { return kv.Key() == dns.SVCB_ECHCONFIG })
	if len(svcb.Value) == before {
		return false
	}
	svcb.Value = slices.DeleteFunc(svcb.Value, func(kv dns.SVCBKeyValue) bool {
		m, ok := kv.(*dns.SVCBMandatory)
		if ok {
			m.Code = slices.DeleteFunc(m.Code, func(k dns.SVCBKey) bool { return k == dns.SVCB_ECHCONFIG })
		}
		return ok && len(m.Code) == 0
	})
	return true
}
