package resolver

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/rebind"
)

// setEntry makes e the sanitized reply of an upstream to a question of type typ. It
// is not kept longer than the reply allows; a failure, not at all unless
// KeepFailure says so.
func setEntry(e *cache.Entry, c *dnswire.Sanitized, typ uint16, trustAD, inside bool, now time.Time) {
	*e = cache.Entry{
		Stored: c.Stored, At: now, Life: time.Duration(c.TTL) * time.Second,
		MaxTTL: c.Served, Aliases: c.Aliases, HasAddresses: len(c.Addresses) > 0, Servers: c.Servers, Inside: inside,
	}
	e.AD = c.AD && trustAD
	if typ == dnswire.TypeSVCB || typ == dnswire.TypeHTTPS {
		e.Hints = c.Addresses
	}
	e.Private = slices.ContainsFunc(c.Addresses, rebind.IsPrivate)
}

// clamp keeps the TTLs of e, which has just come, within the bounds of the settings.
func (s *settings) clamp(e *cache.Entry, negative bool) {
	least, most := s.MinTTL, s.MaxTTL
	if negative {
		least = 0
		if s.NegativeTTL > 0 && (most == 0 || s.NegativeTTL < most) {
			most = s.NegativeTTL
		}
	}
	if least == 0 && most == 0 || e.IsFailure() {
		return
	}
	within := func(seconds uint32) uint32 {
		seconds = max(seconds, uint32(least/time.Second))
		if most > 0 {
			seconds = min(seconds, uint32(most/time.Second))
		}
		return seconds
	}
	for _, off := range e.TTLs {
		binary.BigEndian.PutUint32(e.Wire[off:], within(binary.BigEndian.Uint32(e.Wire[off:])))
	}
	if e.MaxTTL = within(e.MaxTTL); e.Life > 0 || !negative {
		e.Life = time.Duration(within(uint32(e.Life/time.Second))) * time.Second
	}
}

// fromCache returns what the cache has for q, in into if that is not nil. A question
// without DO is served also by what one with DO brought. What is to be served only
// if upstreams give no answer is returned with false.
func (s *Server) fromCache(q *dnswire.Question, now time.Time, into *cache.Entry) (*cache.Entry, bool) {
	e, ok := s.cache.Get(q, now, into)
	if ok || q.DO {
		return e, ok
	}
	signed, ok := s.cache.GetSigned(q, now)
	if signed == nil || !ok && e != nil {
		return e, false
	}
	if unsigned := s.keepUnsigned(q, signed); unsigned != nil {
		return unsigned, ok
	}
	return e, false
}

// staleFor returns what is served as the answer to q where upstreams give none; nil
// for nothing.
func (s *Server) staleFor(q *dnswire.Question) *cache.Entry {
	e := s.cache.GetStale(q, s.now())
	if e != nil || q.DO {
		return e
	}
	signed := *q
	signed.DO = true
	if e = s.cache.GetStale(&signed, s.now()); e == nil {
		return nil
	}
	return s.keepUnsigned(q, e)
}

// orStale returns e, or what is served in its place where it is a failure.
func (s *Server) orStale(q *dnswire.Question, e *cache.Entry) *cache.Entry {
	if !e.IsFailure() || e.IsVerdict() {
		return e
	}
	if stale := s.staleFor(q); stale != nil && !stale.IsFailure() {
		return stale
	}
	return e
}

// keepUnsigned makes of a signed answer the one to q, without DNSSEC records, and
// keeps it for the next who asks, unless it is stale. It returns nil for a failure.
func (s *Server) keepUnsigned(q *dnswire.Question, signed *cache.Entry) *cache.Entry {
	if signed.IsFailure() {
		return nil
	}
	sz := sanitizerPool.Get().(*dnswire.Sanitizer)
	defer sanitizerPool.Put(sz)
	c, err := sz.Sanitize(signed.Wire, q)
	if err != nil {
		return nil
	}
	c.AD, c.Servers = signed.AD, slices.Clone(signed.Servers)
	e := new(cache.Entry)
	setEntry(e, &c, q.Type, true, signed.Inside, signed.At)
	e.Age = signed.Age
	if e.Stale = signed.Stale; e.Stale {
		e.EDE = signed.EDE
		return e
	}
	s.cache.Put(q, e)
	return e
}

// freshSource and cachedSource say where a reply from e came from.
func freshSource(e *cache.Entry) querylog.Source {
	switch {
	case e.Unanswered:
		return querylog.FromError
	case e.Stale:
		return querylog.FromStale
	}
	return querylog.FromUpstream
}

func cachedSource(e *cache.Entry) querylog.Source {
	switch {
	case e.Unanswered:
		return querylog.FromFailure
	case e.Stale:
		return querylog.FromStale
	}
	return querylog.FromCache
}

// appendEntry appends e as the reply to q, or what sends the client to TCP if it does
// not fit.
func (s *Server) appendEntry(dst []byte, q *query, e *cache.Entry) []byte {
	cookie := s.cookies.answer(q)
	s.countStale(q, e)
	switch {
	case e.Wire == nil:
		q.ttl = 0
		return dnswire.AppendEmpty(dst, &q.Question, e.Rcode, cookie, e.EDE)
	case len(e.Wire) > q.limit(): // without copying it first
		return s.truncate(dst, q, cookie)
	}
	if q.stripsECH() {
		if reply, ok := s.appendWithoutECH(dst, q, e); ok {
			return reply
		}
	}
	age := ageOf(e)
	q.ttl = e.MaxTTL - min(e.MaxTTL, age)
	at := len(dst)
	dst = dnswire.AppendStored(dst, &q.Question, &e.Stored, age, cookie)
	if len(dst)-at > q.limit() {
		return s.truncate(dst[:at], q, cookie)
	}
	return dst
}

// ageOf returns how old e is, in seconds.
func ageOf(e *cache.Entry) uint32 {
	return uint32(max(e.Age, 0) / time.Second)
}

// packRoom has room for one record each.
var packRoom = sync.Pool{New: func() any { return new([dnswire.MaxMessage]byte) }}

// appendAnswers appends records of e to a reply, as old as e is.
func (q *query) appendAnswers(reply *dnswire.Reply, records []dns.RR, e *cache.Entry) {
	age := ageOf(e)
	buf := packRoom.Get().(*[dnswire.MaxMessage]byte)
	defer packRoom.Put(buf)
	for _, rr := range records {
		h := rr.Header()
		h.Ttl -= min(h.Ttl, age)
		q.ttl = max(q.ttl, h.Ttl)
		if n, err := dns.PackRR(rr, buf[:], 0, nil, false); err == nil {
			reply.AnswerPacked(buf[:n])
		}
	}
}

func (s *Server) countStale(q *query, e *cache.Entry) {
	if e.Stale && !q.explained {
		s.stats.stale.Add(1)
	}
}

// decideAnswer decides q together with the names and addresses that e leads to, and
// reports whether that blocks it.
func (q *query) decideAnswer(e *cache.Entry) (blocked bool) {
	if isPassed(e, q.policy, q.group) { // nearly every answer, without a verdict to copy
		return false
	}
	v, by := decideAnswer(e, q.policy, q.group, q.verdict, &q.Question)
	if v != q.verdict {
		q.verdict = v
		q.setAlias(by.alias)
	}
	return v.Action == blocklists.Block
}

// isPassed reports whether nothing that e leads to can decide a question of group's,
// as it leads to nothing or was looked at before.
func isPassed(e *cache.Entry, p *blocklists.Policy, group blocklists.Group) bool {
	return len(e.Aliases) == 0 && !e.HasAddresses && len(e.Servers) == 0 || p == nil || e.Passed == passedBy(p, group)
}

func passedBy(p *blocklists.Policy, group blocklists.Group) uint64 {
	return uint64(p.Generation())<<32 | uint64(group)
}

// A cause is what in an answer decided a question; zero where its own name did.
type cause struct {
	alias  []byte // a wire name within the entry
	addr   netip.Addr
	server string // the name or address of a server of its zone
}

// decideAnswer decides a question, so far v, together with the names and addresses
// that its answer e leads to.
func decideAnswer(e *cache.Entry, p *blocklists.Policy, group blocklists.Group, v blocklists.Verdict, q *dnswire.Question) (_ blocklists.Verdict, by cause) {
	if isPassed(e, p, group) {
		return v, by
	}
	before := v
	var alias dnswire.Name
	for off := 0; off < len(e.Aliases); {
		end, err := alias.Read(e.Aliases, off)
		if err != nil {
			break
		}
		decides := false
		if v, decides = p.DecideAlias(v, &q.Name, &alias, q.Type, group); decides {
			by = cause{alias: e.Aliases[off:end]}
		}
		if v.Action == blocklists.Block {
			return v, by
		}
		off = end
	}
	if e.HasAddresses {
		for addr := range e.Addresses {
			decides := false
			if v, decides = p.DecideAddress(v, &q.Name, addr, q.Type, group); decides {
				by = cause{addr: addr}
			}
			if v.Action == blocklists.Block {
				return v, by
			}
		}
	}
	if len(e.Servers) > 0 && p.HasServerRules() {
		dnswire.EachServer(e.Servers, func(name *dnswire.Name, addr netip.Addr) bool {
			decides := false
			if v, decides = p.DecideServer(v, &q.Name, name, addr, q.Type, group); decides {
				by = cause{server: addr.String()}
				if name != nil {
					by.server = name.String()
				}
			}
			return v.Action != blocklists.Block
		})
		if v.Action == blocklists.Block {
			return v, by
		}
	}
	if v == before {
		e.SetPassed(passedBy(p, group))
	}
	return v, by
}
