package resolver

import (
	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/rebind"
)

// serve answers one packet: parse, decide, answer, finish. It never waits; a
// query that must wait is copied, and goes on in answerLater.
func (s *Server) serve(packet []byte, q *query, dst []byte, now, later replyWriter) {
	if reply, ok := s.parse(packet, q, dst); !ok {
		now.send(q, reply) // counted, but no lookup: it is not logged
		return
	}
	if s.tap.Load() != nil {
		q.packet = packet
	}
	if s.mayIdentify(q) && s.identify(q, later) {
		return // it goes on elsewhere, when its client is known
	}
	reply, source := s.answerNow(dst, q)
	if source == 0 {
		s.wait(q, now, later) // it goes on elsewhere
		return
	}
	s.finish(q, reply, source, now)
}

// answerNow appends the reply to q if it can be had without waiting; otherwise
// it returns source 0.
func (s *Server) answerNow(dst []byte, q *query) (reply []byte, source querylog.Source) {
	q.group = q.memberOf()
	q.verdict = q.policy.DecideIn(q.lookups, q.slot, &q.Name, q.Type, q.group)
	q.View = s.viewOf(q, &q.Name, false)
	if q.Type == dnswire.TypePTR {
		if r := s.reverse64(q); r != nil {
			return s.answerBy(dst, q, r)
		}
	}
	if reply, ok := s.answerSpecial(dst, q); ok {
		return reply, querylog.FromPolicy
	}
	switch q.verdict.Action {
	case blocklists.Block, blocklists.Answer:
		if q.verdict.Mode == blocklists.Records && redirects(q.policy, q.verdict, q.Type) {
			return s.answerRedirect(dst, q)
		}
		if reply, ok := s.answerPolicy(dst, q); ok {
			return reply, querylog.FromPolicy
		}
	}
	if q.Type == dnswire.TypeANY {
		return s.appendMinimalANY(dst, q), querylog.FromPolicy
	}
	e, ok := s.fromCache(&q.Question, q.received, q.cached)
	if ok {
		reply, source = s.answerFrom(dst, q, e, cachedSource(e))
		if e.Due && source == querylog.FromCache {
			s.prefetch(q)
		}
		return reply, source
	}
	q.expired = e != nil
	return dst, 0
}

// answerLater asks an upstream once for all who wait for the same question, and
// answers each of them by its own policy.
func (s *Server) answerLater(f *flight) {
	e, from := s.resolve(f)
	s.deliver(f, e, from, (*waiter).writer, s.release)
}

// answerFrom appends e as the reply to q, unless a name or an address that e
// leads to is blocked. e holds what an upstream said, never what lists say: they
// are asked each time it is served. It returns source 0 where q has to wait for the
// answer to another question.
func (s *Server) answerFrom(dst []byte, q *query, e *cache.Entry, source querylog.Source) ([]byte, querylog.Source) {
	switch {
	case q.redirection != nil:
		return s.answerRedirected(dst, q, q.redirection, e)
	case q.translation != nil:
		return s.answerTranslated(dst, q, e, source)
	}
	if q.decideAnswer(e) {
		if reply, ok := s.answerPolicy(dst, q); ok {
			return reply, querylog.FromPolicy
		}
	}
	if e.Private && s.mayLeadInside(q, &q.Name, e) == rebind.Refused {
		return s.refuseRebind(dst, q), querylog.FromRebind
	}
	if e.Rcode == dnswire.NXDomain && q.policy.HasAnswersBelow(&q.Name) {
		q.ttl = q.policy.TTL()
		return dnswire.AppendNegative(dst, &q.Question, dnswire.Success, q.ttl, s.cookies.answer(q), dnswire.EDE{}), source
	}
	if q.Type == dnswire.TypeAAAA {
		return s.answerAAAA(dst, q, e, source)
	}
	return s.appendEntry(dst, q, e), source
}

// finish sends reply and logs q. Every query that was understood ends here, also
// one that is shed or dropped: then reply is empty. What Telltale asks itself, its
// health and whether it is its own upstream, is no lookup of anybody's.
func (s *Server) finish(q *query, reply []byte, source querylog.Source, out replyWriter) {
	out.send(q, reply)
	if q.verdict.Rule != blocklists.SpecialServer {
		out.log(q, reply, source)
		if tap := s.tap.Load(); tap != nil && q.packet != nil { // no packet: nobody wanted it when it came
			(*tap)(q.record(reply, source, s.now()), q.path.Client, q.packet, reply)
		}
	}
}
