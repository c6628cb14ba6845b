package resolver

import (
	"cmp"

	"telltale/blocklists"
	"telltale/dnswire"
)

// answerPolicy appends the reply that q's verdict asks for: how a blocked name
// is answered, or a local record.
func (s *Server) answerPolicy(dst []byte, q *query) (reply []byte, ok bool) {
	v := &q.verdict
	q.ttl = q.policy.TTL()
	cookie, ede := s.cookies.answer(q), dnswire.EDE{}
	if v.Action == blocklists.Block && q.EDNS {
		ede = dnswire.EDE{Code: dnswire.EDEBlocked, Text: q.policy.ListName(v.Rule)}
	}
	switch v.Mode {
	case blocklists.Null:
		return dnswire.AppendNull(dst, &q.Question, q.ttl, cookie, ede), true
	case blocklists.NXDomain:
		return dnswire.AppendNegative(dst, &q.Question, q.nameError(), q.ttl, cookie, ede), true
	case blocklists.NoData:
		return dnswire.AppendNegative(dst, &q.Question, dnswire.Success, q.ttl, cookie, ede), true
	case blocklists.Refuse:
		q.ttl = 0
		return dnswire.AppendEmpty(dst, &q.Question, dnswire.Refused, cookie, ede), true
	case blocklists.Custom:
		return s.answerCustom(dst, q, cookie, ede), true
	case blocklists.Drop:
		q.ttl = 0
		return dst[:0], true
	case blocklists.Truncate:
		q.ttl = 0
		return dnswire.AppendTruncated(dst, &q.Question, cookie), true
	case blocklists.Records:
		return s.answerRecords(dst, q, cookie, ede), true
	}
	return dst, false
}

// answerCustom appends the configured addresses.
func (s *Server) answerCustom(dst []byte, q *query, cookie []byte, ede dnswire.EDE) []byte {
	v4, v6 := q.policy.Custom(q.verdict)
	r := dnswire.Begin(dst, &q.Question, dnswire.Success)
	switch {
	case q.Type == dnswire.TypeA && v4.IsValid():
		r.Answer(dnswire.TypeA, q.ttl, v4.AsSlice())
	case q.Type == dnswire.TypeAAAA && v6.IsValid():
		r.Answer(dnswire.TypeAAAA, q.ttl, v6.AsSlice())
	default:
		r.SOA(q.ttl)
	}
	return r.End(cookie, ede)
}

// answerRecords appends the records the deciding rule has for q's type.
func (s *Server) answerRecords(dst []byte, q *query, cookie []byte, ede dnswire.EDE) (reply []byte) {
	records := q.policy.Records(q.verdict, q.Type)
	at := len(dst)
	r := dnswire.Begin(dst, &q.Question, dnswire.Success)
	for i := range records {
		ttl := cmp.Or(records[i].TTL, q.policy.TTL())
		r.Answer(records[i].Type, ttl, records[i].Data)
		q.ttl = max(q.ttl, ttl)
	}
	if len(records) == 0 {
		r.SOA(q.ttl)
	}
	reply = r.End(cookie, ede)
	if len(reply)-at > q.limit() {
		return s.truncate(dst, q, cookie)
	}
	return reply
}

// truncate appends the reply that sends the client to TCP.
func (s *Server) truncate(dst []byte, q *query, cookie []byte) []byte {
	s.stats.truncated.Add(1)
	q.ttl = 0
	return dnswire.AppendTruncated(dst, &q.Question, cookie)
}

// appendMinimalANY answers ANY with one small record (RFC 8482, 4.2).
func (s *Server) appendMinimalANY(dst []byte, q *query) []byte {
	const ttl = 3600
	q.ttl = ttl
	r := dnswire.Begin(dst, &q.Question, dnswire.Success)
	r.Answer(dnswire.TypeHINFO, ttl, []byte("\x07RFC8482\x00"))
	return r.End(s.cookies.answer(q), dnswire.EDE{})
}
