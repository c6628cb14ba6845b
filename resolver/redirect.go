package resolver

import (
	"cmp"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
)

// A rule may answer with an alias: $dnsrewrite=other.example, or a CNAME in a
// policy zone (a walled garden). Stub resolvers do not follow it themselves, so
// the alias's own answer has to come along.

// maxRedirects bounds the redirected queries that wait at a time. They are few:
// only rules of the user's own, or of a list that may answer, redirect.
const maxRedirects = 64

// redirects reports whether q's verdict is an alias that must be followed.
func (q *query) redirects() bool {
	if q.verdict.Mode != blocklists.Records || q.Type == dnswire.TypeCNAME {
		return false
	}
	records := q.policy.Records(q.verdict, q.Type)
	return len(records) == 1 && records[0].Type == dnswire.TypeCNAME
}

// redirect answers q, which waits, with its alias and what that leads to.
func (s *Server) redirect(q *query, now, later replyWriter) {
	select {
	case s.redirecting <- struct{}{}:
	default:
		s.stats.shed.Add(1)
		s.finish(q, nil, querylog.Shed, now)
		return
	}
	w := newWaiter(q, later)
	s.work.Go(func() {
		defer func() { <-s.redirecting }()
		s.guard(func() {
			reply, source := s.answerRedirect(w.dst[:0], &w.query)
			w.answered = true
			s.finish(&w.query, reply, source, w.out)
		})
		s.release(w)
	})
}

// answerRedirect appends the alias that q's verdict is, and what it leads to.
func (s *Server) answerRedirect(dst []byte, q *query) ([]byte, querylog.Source) {
	alias := q.policy.Records(q.verdict, q.Type)[0]
	cookie := s.cookies.answer(q)
	asked := &dnswire.Question{Type: q.Type, Class: dnswire.ClassIN, RD: true, CD: q.CD}
	if _, err := asked.Name.Read(alias.Data, 0); err != nil {
		return dnswire.AppendEmpty(dst, &q.Question, dnswire.ServFail, cookie, dnswire.EDE{Code: dnswire.EDEOther, Text: err.Error()}), querylog.FromError
	}
	e, ok := s.cache.Get(asked, q.received, nil)
	if !ok {
		e = s.resolve(&flight{question: asked})
		s.cache.Put(asked, e)
	}
	if e.IsFailure() {
		q.ttl = 0
		return dnswire.AppendEmpty(dst, &q.Question, e.Rcode, cookie, e.EDE), freshSource(e)
	}
	return s.appendRedirect(dst, q, cmp.Or(alias.TTL, q.policy.TTL()), alias.Data, e, cookie), querylog.FromPolicy
}

// appendRedirect appends an alias and the answer e that it leads to.
func (s *Server) appendRedirect(dst []byte, q *query, ttl uint32, alias []byte, e *cache.Entry, cookie []byte) []byte {
	at := len(dst)
	q.ttl = ttl
	r := dnswire.Begin(dst, &q.Question, e.Rcode)
	r.Answer(dnswire.TypeCNAME, ttl, alias)
	var m dns.Msg
	if m.Unpack(e.Wire) == nil {
		age := uint32(max(q.received.Sub(e.StoredAt), 0) / time.Second)
		buf := make([]byte, 0xffff)
		for _, rr := range m.Answer {
			h := rr.Header()
			h.Ttl -= min(h.Ttl, age)
			q.ttl = max(q.ttl, h.Ttl)
			if n, err := dns.PackRR(rr, buf, 0, nil, false); err == nil {
				r.AnswerPacked(buf[:n])
			}
		}
	}
	if len(m.Answer) == 0 {
		r.SOA(ttl)
	}
	reply := r.End(cookie, dnswire.EDE{})
	if len(reply)-at > q.limit() {
		return s.truncate(dst, q, cookie)
	}
	return reply
}
