package resolver

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/rebind"
	"telltale/resolver/upstream"
)

// A Story is how a question is answered now, and why: what Explain saw when it
// went the way of a query.
type Story struct {
	Lists   blocklists.Verdict // what lists decide of the question's own name
	Verdict blocklists.Verdict // what was decided in the end
	Special Special            // what the server makes of the name by itself

	Redirects []string   // where rules of the user's own lead, by aliases
	Leads     []string   // the names that the answer leads to, also where it is not given
	Alias     string     // the one of Redirects and Leads that decided; "" for none
	Address   netip.Addr // the address in the answer that decided, where none of the names did

	Server string // the name or address of the zone's server that decided, where nothing else did

	Private []netip.Addr  // private addresses in the answer
	Rebind  rebind.Reason // why the name may lead to them, or may not

	Source querylog.Source // where the reply is from

	Upstream string // the ID of the one that was asked and gave the answer; "" for none
	Rcode    uint8
	EDE      dnswire.EDE // that goes with it
	Answer   []string    // its records in presentation form

	Took   time.Duration
	Cached bool             // the cache had something that could be served
	Age    time.Duration    // how long it was there
	Looked time.Duration    // when that was known, since the beginning
	Asked  bool             // upstreams were asked
	Began  time.Time        // the beginning
	Events []upstream.Event // of asking them
}

// An Asker is whose question is explained, and of whom it is asked.
type Asker struct {
	Binding  *devices.Binding // nil: nobody that is known
	Client   netip.Addr
	Upstream string // the ID or address of the one upstream to ask, instead of the cache; empty: as it comes
}

// ErrNoUpstream means that there is no upstream of the name that was given.
var ErrNoUpstream = errors.New("no such upstream")

// Explain answers a question as that of a client: by the policy, the cache and the
// upstreams. It is no lookup: nothing is logged or counted.
func (s *Server) Explain(ctx context.Context, name *dnswire.Name, qtype uint16, by Asker) (*Story, error) {
	if by.Upstream != "" && s.upstreams.Find(by.Upstream) == nil {
		return nil, ErrNoUpstream
	}
	q := &query{policy: s.policy(), binding: by.Binding, received: s.now(), transport: querylog.UDP, explained: true}
	q.path.Client = netip.AddrPortFrom(by.Client, 0)
	if err := q.setQuestion(name, qtype); err != nil {
		return nil, err
	}
	story := &Story{Began: time.Now(), Lists: q.policy.Decide(&q.Name, q.Type, q.memberOf())}
	story.Special = s.Special(&q.Name, q.Type, story.Lists.Action, q.device())
	reply, source := s.answerNow(nil, q)
	e, ok := s.fromCache(q.asked(), q.received, nil)
	if !ok {
		e = nil
	}
	story.Looked = time.Since(story.Began)
	story.Cached = source == querylog.FromCache || source == querylog.FromFailure || source == querylog.FromStale
	if story.Cached && by.Upstream != "" {
		story.Cached, source, q.verdict, q.alias, q.translation = false, 0, story.Lists, nil, nil
	}
	if story.Cached && e != nil {
		story.Age = max(e.Age, 0)
	}
	for source == 0 { // twice where addresses are made of others
		story.Asked = true
		start := upstream.Start{Only: by.Upstream, Trace: func(e upstream.Event) { story.Events = append(story.Events, e) }}
		var from *upstream.Upstream
		var err error
		if e, from, err = s.resolveFor(ctx, q.asked(), q.private, start); err != nil {
			return nil, err
		}
		if story.Upstream = ""; from != nil {
			story.Upstream = from.ID()
		}
		reply, source = s.answerFrom(nil, q, e, freshSource(e))
	}
	story.Took = time.Since(story.Began)
	story.Verdict, story.Source = q.verdict, source
	if q.alias != nil {
		story.Alias = string(dnswire.AppendText(nil, q.alias))
	}
	s.addRedirects(story, q)
	if e != nil && story.Special.Rule == 0 && (story.Lists.Action != blocklists.Block || len(story.Redirects) > 0) {
		s.addEntry(story, q, e)
	}
	story.addReply(reply)
	return story, nil
}

// setQuestion makes q a question as clients send it: over UDP, with EDNS.
func (q *query) setQuestion(name *dnswire.Name, qtype uint16) error {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name.String()), qtype).SetEdns0(dnswire.PayloadSize, false)
	packet, err := m.Pack()
	if err != nil {
		return err
	}
	return dnswire.ParseQuestion(packet, &q.Question)
}

// addRedirects notes where rules lead q.
func (s *Server) addRedirects(story *Story, q *query) {
	if !redirects(q.policy, story.Lists, q.Type) {
		return
	}
	before := q.verdict
	q.verdict = story.Lists
	r, _ := s.follow(q)
	q.verdict = before
	for _, a := range r.aliases {
		story.Redirects = append(story.Redirects, string(dnswire.AppendText(nil, a.target)))
	}
}

// addEntry notes what e, the answer to q before it was decided, leads to.
func (s *Server) addEntry(story *Story, q *query, e *cache.Entry) {
	story.Leads = append(story.Leads, aliasesOf(e)...)
	if story.Alias == "" && story.Redirects == nil {
		_, by := decideAnswer(e, q.policy, q.group, story.Lists, q.asked())
		story.Address, story.Server = by.addr, by.server
	}
	for a := range e.Addresses {
		if rebind.IsPrivate(a) {
			story.Private = append(story.Private, a)
		}
	}
	if e.Private {
		story.Rebind = s.mayLeadInside(q, &q.asked().Name, e)
	}
}

// addReply notes what the client gets.
func (story *Story) addReply(reply []byte) {
	var m dns.Msg
	if len(reply) == 0 || m.Unpack(reply) != nil {
		return
	}
	story.Rcode = uint8(m.Rcode)
	for _, rr := range m.Answer {
		story.Answer = append(story.Answer, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				story.EDE = dnswire.EDE{Code: e.InfoCode, Text: e.ExtraText}
			}
		}
	}
}
