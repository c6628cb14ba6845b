package resolver

import (
	"bytes"
	"context"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/dns64"
	"telltale/resolver/rebind"
	"telltale/resolver/upstream"
)

// DNS64 (RFC 6147): a name that has no IPv6 address gets one by which a translator
// leads to its IPv4 address. It is made when it is served: the cache holds what
// upstreams said, of which lists decide each time.

// DNS64 says whether and how that is done. The zero value is not at all.
type DNS64 struct {
	Prefix  netip.Prefix   // of the translator; where it is not valid, Find
	Find    bool           // the prefix is that which a router announces (RFC 8781), else that of upstreams (RFC 7050)
	Exclude []netip.Prefix // IPv6 addresses that count as none, beside IPv4-mapped ones
}

// IsOn reports whether addresses are made at all.
func (d *DNS64) IsOn() bool { return d.Prefix.IsValid() || d.Find }

// A translation is a query for IPv6 addresses that goes on with the IPv4 ones of its name.
type translation struct {
	question dnswire.Question // for those
	prefix   netip.Prefix
	most     uint32 // the largest TTL, seconds: that of the denial (RFC 6147, 5.1.7)
}

// unprovenTTL is that largest TTL where the denial has no SOA (RFC 6147, 5.1.7).
const unprovenTTL = 600

// prefix64 returns the prefix in force; an invalid one for none.
func (s *Server) prefix64() netip.Prefix {
	d := &s.settings.Load().DNS64
	if !d.Find || d.Prefix.IsValid() {
		return d.Prefix
	}
	if announced := s.announced64.Load(); announced != nil { // before what upstreams use (RFC 8781, 5.1)
		return *announced
	}
	if found := s.found64.Load(); found != nil {
		return *found
	}
	return netip.Prefix{}
}

// isExcluded reports whether an IPv6 address counts as none.
func (d *DNS64) isExcluded(a netip.Addr) bool {
	if a.Is4() || dns64.Mapped.Contains(a) {
		return true
	}
	for _, p := range d.Exclude {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// answerAAAA appends e as the reply to q, which asks for IPv6 addresses, or makes some of
// the IPv4 ones of its name. Where it cannot without waiting it returns source 0.
func (s *Server) answerAAAA(dst []byte, q *query, e *cache.Entry, source querylog.Source) ([]byte, querylog.Source) {
	prefix := s.prefix64()
	if !prefix.IsValid() || q.CD || e.Rcode == dnswire.NXDomain || e.IsVerdict() {
		return s.appendEntry(dst, q, e), source // CD: who asks validates, and makes them itself (RFC 6147, 5.5)
	}
	d := &s.settings.Load().DNS64
	usable, excluded := 0, 0
	for a := range e.Addresses {
		if d.isExcluded(a) {
			excluded++
		} else {
			usable++
		}
	}
	switch {
	case usable == 0 && s.translates(q, e):
		return s.answerTranslation(dst, q, prefix, e)
	case excluded > 0:
		return s.appendUsable(dst, q, d, e), source
	}
	return s.appendEntry(dst, q, e), source
}

// translates reports whether q, which is answered with e and so has no IPv6 address,
// gets some made.
func (s *Server) translates(q *query, e *cache.Entry) bool {
	if q.DO && isSigned(e) {
		return false // who asks for signatures refuses what they deny
	}
	v := q.policy.Decide(&q.Name, dnswire.TypeA, q.group)
	return v.Action != blocklists.Block && v.Action != blocklists.Answer // what it has for A leads nowhere, or is all there is
}

// appendUsable appends e as the reply to q without the addresses that count as none.
func (s *Server) appendUsable(dst []byte, q *query, d *DNS64, e *cache.Entry) []byte {
	var m dns.Msg
	if m.Unpack(e.Wire) != nil {
		return s.appendEntry(dst, q, e)
	}
	kept := m.Answer[:0]
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.AAAA:
			if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); !ok || d.isExcluded(a) {
				continue
			}
		case *dns.RRSIG:
			if rr.TypeCovered == dns.TypeAAAA {
				continue // it signs them all
			}
		}
		kept = append(kept, rr)
	}
	q.ttl = 0
	s.countStale(q, e)
	reply := dnswire.Begin(dst, &q.Question, e.Rcode)
	q.appendAnswers(&reply, kept, e)
	if len(kept) == 0 {
		q.ttl = q.policy.TTL()
		reply.SOA(q.ttl)
	}
	return s.fitted(reply.End(s.cookies.answer(q), e.EDE), dst, q)
}

// isSigned reports whether an answer has signatures.
func isSigned(e *cache.Entry) bool {
	for _, off := range e.TTLs {
		if e.Wire[off-4] == 0 && e.Wire[off-3] == dnswire.TypeRRSIG {
			return true
		}
	}
	return false
}

// answerTranslation appends the reply to q by the IPv4 addresses of its name, if they
// can be had without waiting; otherwise it returns source 0, and q waits for them. e says
// that there is no IPv6 address.
func (s *Server) answerTranslation(dst []byte, q *query, prefix netip.Prefix, e *cache.Entry) ([]byte, querylog.Source) {
	q.translation = &translation{
		question: dnswire.Question{Name: q.Name, Type: dnswire.TypeA, Class: dnswire.ClassIN, RD: true, DO: q.DO, View: q.View},
		prefix:   prefix, most: unprovenTTL,
	}
	if e.MaxTTL > 0 && !e.IsFailure() && !e.HasAddresses {
		q.translation.most = e.MaxTTL - min(e.MaxTTL, ageOf(e))
	}
	v4, ok := s.fromCache(&q.translation.question, q.received, nil)
	if ok {
		return s.answerTranslated(dst, q, v4, cachedSource(v4))
	}
	q.expired = v4 != nil
	return dst, 0
}

// answerTranslated appends the reply to q made of e, what there is of IPv4 addresses.
// What e leads to is decided as for who asks for those.
func (s *Server) answerTranslated(dst []byte, q *query, e *cache.Entry, source querylog.Source) ([]byte, querylog.Source) {
	t := q.translation
	v, by := decideAnswer(e, q.policy, q.group, q.verdict, &t.question)
	if v != q.verdict {
		q.verdict = v
		q.setAlias(by.alias)
	}
	if v.Action == blocklists.Block {
		if reply, ok := s.answerPolicy(dst, q); ok {
			return reply, querylog.FromPolicy
		}
	}
	if e.Private && s.mayLeadInside(q, &q.Name, e) == rebind.Refused {
		return s.refuseRebind(dst, q), querylog.FromRebind
	}
	q.ttl = 0
	s.countStale(q, e)
	if e.IsFailure() {
		return dnswire.AppendEmpty(dst, &q.Question, e.Rcode, s.cookies.answer(q), e.EDE), source
	}
	var m dns.Msg
	if m.Unpack(e.Wire) != nil {
		m.Answer = nil
	}
	records, made := t.translate(m.Answer, ageOf(e), q.DO && isSigned(e))
	reply := dnswire.Begin(dst, &q.Question, dnswire.Success)
	q.appendAnswers(&reply, records, e)
	if !made {
		q.ttl = max(q.ttl, q.policy.TTL())
		reply.SOA(q.policy.TTL())
	}
	return s.fitted(reply.End(s.cookies.answer(q), e.EDE), dst, q), source
}

// translate returns the aliases among records, which are age seconds old, and an IPv6
// address for each IPv4 one that the translator leads to; made is false where there is
// none.
func (t *translation) translate(records []dns.RR, age uint32, signed bool) (all []dns.RR, made bool) {
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.CNAME, *dns.DNAME:
			all = append(all, rr)
		case *dns.A:
			a, ok := netip.AddrFromSlice(rr.A.To4())
			if !ok || signed || !dns64.Translates(t.prefix, a) {
				continue
			}
			h := rr.Hdr
			h.Rrtype, h.Ttl = dns.TypeAAAA, min(h.Ttl, t.most+age)
			all = append(all, &dns.AAAA{Hdr: h, AAAA: dns64.Embed(t.prefix, a).AsSlice()})
			made = true
		}
	}
	return all, made
}

// reverse64 returns where a question for the name (PTR) of a translated address leads:
// to that of the address that it stands for (RFC 6147, 5.3.1); nil for any other.
func (s *Server) reverse64(q *query) *redirection {
	if q.Name.Labels() != 34 || !bytes.Equal(q.Name.Suffix(2), []byte("\x03ip6\x04arpa\x00")) {
		return nil
	}
	prefix := s.prefix64()
	if !prefix.IsValid() || q.verdict.Action == blocklists.Block || q.verdict.Action == blocklists.Answer {
		return nil
	}
	var b [16]byte
	for i := range 32 {
		v, ok := reverseNibble(&q.Name, 3+i)
		if !ok {
			return nil
		}
		b[i/2] = b[i/2]<<4 | byte(v)
	}
	v4, ok := dns64.Extract(prefix, netip.AddrFrom16(b))
	if !ok || dns64.Embed(prefix, v4) != netip.AddrFrom16(b) {
		return nil
	}
	text, err := dns.ReverseAddr(v4.String())
	if err != nil {
		return nil
	}
	target, err := dnswire.AppendName(nil, text)
	if err != nil {
		return nil
	}
	r := newRedirection(q)
	if !s.lead(q, r, target, q.policy.TTL()) {
		return nil
	}
	return r
}

var wireIPv4Only = []byte("\x08ipv4only\x04arpa\x00")

// isIPv4Only reports whether a name is that by which clients find the prefix, or the
// name of one of its addresses (RFC 8880, 7).
func isIPv4Only(name *dnswire.Name) bool {
	w := name.Wire()
	return bytes.Equal(w, wireIPv4Only) || bytes.HasSuffix(w, []byte("\x010\x010\x03192\x07in-addr\x04arpa\x00")) &&
		name.Labels() == 6 && (bytes.HasPrefix(w, []byte("\x03170")) || bytes.HasPrefix(w, []byte("\x03171")))
}

// ipv4Only answers such a name. Addresses are made of its own where the prefix is known.
func (s *Server) ipv4Only(dst []byte, q *query) (reply []byte, ok bool) {
	name := bytes.Equal(q.Name.Wire(), wireIPv4Only)
	prefix := s.prefix64()
	if name && q.Type == dnswire.TypeAAAA && !prefix.IsValid() {
		return dst, false // the upstream may know
	}
	q.ttl = s.decideSpecial(q, blocklists.SpecialIPv4Only)
	r := dnswire.Begin(dst, &q.Question, dnswire.Success)
	switch {
	case name && q.Type == dnswire.TypeA:
		for _, a := range dns64.Known {
			r.Answer(dnswire.TypeA, q.ttl, a.AsSlice())
		}
	case name && q.Type == dnswire.TypeAAAA:
		for _, a := range dns64.Known {
			r.Answer(dnswire.TypeAAAA, q.ttl, dns64.Embed(prefix, a).AsSlice())
		}
	case !name && q.Type == dnswire.TypePTR:
		r.Answer(dnswire.TypePTR, q.ttl, wireIPv4Only)
	default:
		r.SOA(q.ttl)
	}
	return r.End(s.cookies.answer(q), dnswire.EDE{}), true
}

// How often the prefix is looked for: while there is none, and then to see that it is
// the same.
const (
	firstFind64 = 5 * time.Second
	lastFind64  = 5 * time.Minute
	keepFind64  = 4 * time.Minute
)

// followPrefix64 finds the prefix of the network, where the settings say so, until the
// server stops.
func (s *Server) followPrefix64() {
	wait := firstFind64
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var stop context.CancelFunc // of followAnnounced64, while that runs
	for {
		timer.Stop()
		d := &s.settings.Load().DNS64
		find := d.Find && !d.Prefix.IsValid()
		switch {
		case find && stop == nil:
			var ctx context.Context
			ctx, stop = context.WithCancel(s.ctx)
			s.work.Go(func() { s.followAnnounced64(ctx) })
		case !find && stop != nil:
			stop()
			stop = nil
		}
		if find {
			if s.find64() {
				wait = keepFind64
			}
			timer.Reset(wait)
			wait = min(2*wait, lastFind64)
		}
		select {
		case <-s.ctx.Done():
			if stop != nil {
				stop()
			}
			return
		case <-s.refind64: // other settings, or other upstreams
			wait = firstFind64
		case <-timer.C:
		}
	}
}

// find64 asks upstreams once, and reports whether they have a prefix. While none of them
// answers, the last one stays.
func (s *Server) find64() bool {
	ctx, cancel := context.WithTimeout(s.ctx, exchangeBudget)
	defer cancel()
	q := &dnswire.Question{Type: dnswire.TypeAAAA, Class: dnswire.ClassIN, RD: true}
	if q.Name.Set("ipv4only.arpa") != nil {
		return false
	}
	e, _, err := s.resolveFor(ctx, q, false, upstream.Start{})
	if err != nil || e.IsFailure() {
		return false
	}
	var addrs []netip.Addr
	for a := range e.Addresses {
		addrs = append(addrs, a)
	}
	before := s.found64.Load()
	prefix, ok := dns64.Find(addrs)
	switch {
	case ok && (before == nil || *before != prefix):
		s.found64.Store(&prefix)
		s.logger.Info("DNS64: the upstreams' prefix is used", "prefix", prefix)
	case !ok && before != nil:
		s.found64.Store(nil)
		s.logger.Warn("DNS64: the upstreams have no prefix any more, and no addresses are made", "before", *before)
	case !ok:
		s.logger.Debug("DNS64: the upstreams have no prefix")
	}
	return ok
}

// lookAgain64 has the prefix looked for at once.
func (s *Server) lookAgain64() {
	select {
	case s.refind64 <- struct{}{}:
	default:
	}
}
