package resolver

import (
	"cmp"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/rebind"
)

// A rule may answer with an alias: $dnsrewrite=other.example, or a CNAME in a
// policy zone (a walled garden). Stub resolvers do not follow it themselves, so
// the alias's own answer has to come along. Each name on the way is decided as any
// name is: a name of the home is asked of nobody.

// A redirection is where rules lead a query: the aliases on the way, and at their
// end a question for the cache or an upstream, or an answer of our own.
type redirection struct {
	aliases  []alias
	question dnswire.Question
	verdict  blocklists.Verdict // of question's name
	special  Special            // what the server makes of that name by itself
	private  bool               // only upstreams with a private address may be asked
}

// An alias is a CNAME record's target and TTL.
type alias struct {
	target []byte
	ttl    uint32
}

// redirects reports whether v answers a question of type typ by an alias that must
// be followed.
func redirects(p *blocklists.Policy, v blocklists.Verdict, typ uint16) bool {
	if v.Action != blocklists.Answer || v.Mode != blocklists.Records || typ == dnswire.TypeCNAME {
		return false
	}
	records := p.Records(v, typ)
	return len(records) == 1 && records[0].Type == dnswire.TypeCNAME
}

// follow returns where q's verdict, which redirects, leads; false where its aliases
// lead nowhere.
func (s *Server) follow(q *query) (*redirection, bool) {
	r, record := newRedirection(q), q.policy.Records(q.verdict, q.Type)[0]
	return r, s.lead(q, r, record.Data, cmp.Or(record.TTL, q.policy.TTL()))
}

func newRedirection(q *query) *redirection {
	return &redirection{question: dnswire.Question{Type: q.Type, Class: dnswire.ClassIN, RD: true, CD: q.CD}}
}

// lead has r lead to target, and from there wherever rules lead; false where that is
// nowhere.
func (s *Server) lead(q *query, r *redirection, target []byte, ttl uint32) bool {
	for range dnswire.MaxAliases {
		if _, err := r.question.Name.Read(target, 0); err != nil {
			return false
		}
		r.aliases = append(r.aliases, alias{target, ttl})
		r.verdict = q.policy.Decide(&r.question.Name, q.Type, q.group)
		r.special = s.Special(&r.question.Name, q.Type, r.verdict.Action, q.device())
		if r.special.Rule != 0 || !redirects(q.policy, r.verdict, q.Type) {
			r.private = r.special.Reply == PrivateOnly
			r.question.View = s.viewOf(q, &r.question.Name, r.private)
			return true
		}
		record := q.policy.Records(r.verdict, q.Type)[0]
		target, ttl = record.Data, cmp.Or(record.TTL, q.policy.TTL())
	}
	return false
}

// answerRedirect appends the reply to q, whose verdict is an alias, if it can be had
// without waiting; otherwise it returns source 0, and q waits for the answer to
// another question.
func (s *Server) answerRedirect(dst []byte, q *query) ([]byte, querylog.Source) {
	r, ok := s.follow(q)
	if !ok {
		q.ttl = 0
		return dnswire.AppendEmpty(dst, &q.Question, dnswire.ServFail, s.cookies.answer(q),
			dnswire.EDE{Code: dnswire.EDEOther, Text: "the alias of a rule leads nowhere"}), querylog.FromPolicy
	}
	return s.answerBy(dst, q, r)
}

// answerBy is answerRedirect for what r says.
func (s *Server) answerBy(dst []byte, q *query, r *redirection) ([]byte, querylog.Source) {
	switch {
	case r.special.Rule != 0:
		return s.appendSpecialRedirect(dst, q, r), querylog.FromPolicy
	case r.verdict.Action == blocklists.Answer:
		reply := s.beginRedirect(dst, q, r, dnswire.Success)
		return s.endRedirect(&reply, dst, q, r, q.policy.Records(r.verdict, q.Type)), querylog.FromPolicy
	case r.verdict.Action == blocklists.Block:
		return s.blockRedirect(dst, q, r.verdict, r.question.Name.Wire()), querylog.FromPolicy
	}
	e, ok := s.fromCache(&r.question, q.received, nil)
	if ok {
		return s.answerRedirected(dst, q, r, e)
	}
	q.redirection, q.private, q.expired = r, r.private, e != nil
	return dst, 0
}

// appendSpecialRedirect appends an alias to a name that the server answers by itself.
func (s *Server) appendSpecialRedirect(dst []byte, q *query, r *redirection) []byte {
	rcode, records := uint16(dnswire.Success), []blocklists.Record(nil)
	switch r.special.Reply {
	case NameError:
		rcode = dnswire.NXDomain
	case Loopback:
		switch q.Type {
		case dnswire.TypeA:
			records = []blocklists.Record{{Type: q.Type, Data: []byte{127, 0, 0, 1}}}
		case dnswire.TypeAAAA:
			records = []blocklists.Record{{Type: q.Type, Data: []byte{15: 1}}}
		}
	}
	reply := s.beginRedirect(dst, q, r, rcode)
	return s.endRedirect(&reply, dst, q, r, records)
}

// blockRedirect appends the reply to q whose alias is blocked by v.
func (s *Server) blockRedirect(dst []byte, q *query, v blocklists.Verdict, alias []byte) []byte {
	q.verdict = v
	q.setAlias(alias)
	reply, _ := s.answerPolicy(dst, q)
	return reply
}

// answerRedirected appends the reply to q of its aliases and of e, what the cache or
// an upstream has for the question they lead to.
func (s *Server) answerRedirected(dst []byte, q *query, r *redirection, e *cache.Entry) ([]byte, querylog.Source) {
	v, by := decideAnswer(e, q.policy, q.group, r.verdict, &r.question)
	if v.Action == blocklists.Block {
		return s.blockRedirect(dst, q, v, by.alias), querylog.FromPolicy
	}
	if q.verdict.Class != blocklists.OwnRule && e.Private && s.mayLeadInside(q, &r.question.Name, e) == rebind.Refused {
		return s.refuseRebind(dst, q), querylog.FromRebind
	}
	if e.IsFailure() {
		q.ttl = 0
		return dnswire.AppendEmpty(dst, &q.Question, e.Rcode, s.cookies.answer(q), e.EDE), freshSource(e)
	}
	reply := s.beginRedirect(dst, q, r, e.Rcode)
	var m dns.Msg
	ede := dnswire.EDE{}
	if m.Unpack(e.Wire) == nil {
		if q.stripsECH() && stripECH(m.Answer) {
			ede = echLeftOut
		}
		q.appendAnswers(&reply, m.Answer, e)
	}
	if len(m.Answer) == 0 {
		reply.SOA(q.policy.TTL())
	}
	if s.countStale(q, e); e.Stale {
		ede = e.EDE
	}
	return s.fitted(reply.End(s.cookies.answer(q), ede), dst, q), querylog.FromPolicy
}

// beginRedirect begins a reply to q with its aliases.
func (s *Server) beginRedirect(dst []byte, q *query, r *redirection, rcode uint16) dnswire.Reply {
	q.ttl = 0
	reply := dnswire.Begin(dst, &q.Question, rcode)
	owner := q.Name.Wire()
	for _, a := range r.aliases {
		reply.AnswerOf(owner, dnswire.TypeCNAME, a.ttl, a.target)
		q.ttl = max(q.ttl, a.ttl)
		owner = a.target
	}
	return reply
}

// endRedirect ends a reply with records of the last alias, or says that there are
// none.
func (s *Server) endRedirect(reply *dnswire.Reply, dst []byte, q *query, r *redirection, records []blocklists.Record) []byte {
	for i := range records {
		ttl := cmp.Or(records[i].TTL, q.policy.TTL())
		reply.AnswerOf(r.question.Name.Wire(), records[i].Type, ttl, records[i].Data)
		q.ttl = max(q.ttl, ttl)
	}
	if len(records) == 0 {
		reply.SOA(q.policy.TTL())
	}
	return s.fitted(reply.End(s.cookies.answer(q), dnswire.EDE{}), dst, q)
}

// fitted returns reply, which was appended to dst, or what sends the client to TCP
// where it does not fit.
func (s *Server) fitted(reply, dst []byte, q *query) []byte {
	if len(reply)-len(dst) > q.limit() {
		return s.truncate(dst, q, s.cookies.answer(q))
	}
	return reply
}
