package resolver

import (
	"encoding/binary"
	"net/netip"
	"time"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
)

// An entry is what an upstream said, kept as bytes, or that none said anything.
// It is policy-free: what the lists say about it is decided each time it is
// served. One goroutine has it.
type entry struct {
	dnswire.Stored
	stored  time.Time
	dies    time.Time    // served from the cache until then
	served  uint32       // the largest TTL in it when stored, seconds
	aliases []byte       // the names the answer leads to, one wire name after another
	hints   []netip.Addr // the addresses in SVCB and HTTPS records
	private bool         // a public upstream gave a private address
	lan     bool         // and one that is not of 127.0.0.0/8
	addrs   bool         // it holds addresses
	failure bool         // no upstream gave an answer (RFC 9520)
	failed  uint8        // how many times in a row it was a resolution failure
	weather uint32       // what upstreams.weather was when they were asked

	// passed is the policy and the group by which nothing the answer leads to is
	// blocked or observed: 0 for none, else generation<<32 | group.
	passed uint64

	kept keptAt // where the cache has it
	room []byte // what the cache puts it in
	text string // the last that was in EDE
}

// Failures are remembered for 1 s, doubled each time in a row up to 30 s
// (RFC 9520, 3.2).
const (
	firstFailure = time.Second
	lastFailure  = 30 * time.Second
)

// set makes e the scrubbed reply of an upstream to a question of type typ. It is
// not kept longer than the reply allows; a failure, not at all unless keepFailure
// says so.
func (e *entry) set(c *dnswire.Clean, a *answer, typ uint16, now time.Time) {
	*e = entry{
		Stored: c.Stored, stored: now, dies: now.Add(time.Duration(c.TTL) * time.Second),
		served: c.Served, aliases: c.Aliases, addrs: len(c.Addresses) > 0,
	}
	e.AD = c.AD && a.trustAD
	if typ == dnswire.TypeSVCB || typ == dnswire.TypeHTTPS {
		e.hints = c.Addresses
	}
	for _, addr := range c.Addresses {
		if !a.private && isPrivate(addr) {
			e.private, e.lan = true, e.lan || !addr.Is4() || !addr.IsLoopback()
		}
	}
}

// newFailure makes an entry that says why there is no answer.
func newFailure(ede dnswire.EDE, now time.Time) *entry {
	e := &entry{stored: now, dies: now, failure: true}
	e.Rcode, e.EDE = dnswire.ServFail, ede
	return e
}

// isFailure reports whether e is a resolution failure (RFC 9520, 2), as no
// answer or as an answer.
func (e *entry) isFailure() bool {
	return e.failure || e.Rcode != dnswire.Success && e.Rcode != dnswire.NXDomain
}

// keepFailure gives e the lifetime of a resolution failure under the weather
// there was when upstreams were asked. last is what the cache held before, if
// anything.
func (e *entry) keepFailure(last *entry, weather uint32) {
	e.failed, e.weather = 1, weather
	if last != nil && last.failed > 0 && last.weather == weather && e.stored.Sub(last.dies) < lastFailure {
		e.failed = min(last.failed+1, 6)
	}
	e.dies = e.stored.Add(min(firstFailure<<(e.failed-1), lastFailure))
}

// fresh and cached say where a reply from e came from.
func (e *entry) fresh() querylog.Source {
	if e.failure {
		return querylog.FromError
	}
	return querylog.FromUpstream
}

func (e *entry) cached() querylog.Source {
	if e.failure {
		return querylog.FromFailure
	}
	return querylog.FromCache
}

// append appends e as the reply to q, or what sends the client to TCP if it does
// not fit.
func (e *entry) append(dst []byte, q *query, s *Server) []byte {
	cookie := s.cookies.answer(q)
	switch {
	case e.Wire == nil:
		q.ttl = 0
		return dnswire.AppendEmpty(dst, &q.Question, e.Rcode, cookie, e.EDE)
	case len(e.Wire) > q.limit(): // without copying it first
		return s.truncate(dst, q, cookie)
	}
	age := uint32(max(q.received.Sub(e.stored), 0) / time.Second)
	q.ttl = e.served - min(e.served, age)
	at := len(dst)
	dst = dnswire.AppendStored(dst, &q.Question, &e.Stored, age, cookie)
	if len(dst)-at > q.limit() {
		return s.truncate(dst[:at], q, cookie)
	}
	return dst
}

// judge reports whether a name or an address that e leads to is blocked for q,
// and if so makes that q's verdict. An alias that is only observed makes the
// verdict observe where the name itself passed.
func (e *entry) judge(q *query) (blocked bool) {
	if len(e.aliases) == 0 && !e.addrs || q.policy == nil {
		return false
	}
	group := q.group()
	by := uint64(q.policy.Generation())<<32 | uint64(group)
	if e.passed == by {
		return false
	}
	clean := true
	consider := func(v blocklists.Verdict, alias []byte) bool {
		switch {
		case v.Action == blocklists.Block:
			q.verdict = v
			q.setAlias(alias)
			return true
		case v.Action == blocklists.Observe:
			if clean = false; q.verdict.Action == blocklists.Pass {
				q.verdict = v
				q.setAlias(alias)
			}
		}
		return false
	}
	var name dnswire.Name
	for off := 0; off < len(e.aliases); {
		end, err := name.Read(e.aliases, off)
		if err != nil {
			break
		}
		if consider(q.policy.Decide(&name, q.Type, group), e.aliases[off:end]) {
			return true
		}
		off = end
	}
	if e.addrs {
		for addr := range e.addresses {
			if consider(q.policy.DecideAddress(addr, group), nil) {
				return true
			}
		}
	}
	if clean {
		e.passed = by
		e.kept.pass(by)
	}
	return false
}

// addresses yields the addresses of e's records.
func (e *entry) addresses(yield func(netip.Addr) bool) {
	for _, a := range e.hints {
		if !yield(a) {
			return
		}
	}
	for _, off := range e.TTLs {
		size := int(binary.BigEndian.Uint16(e.Wire[off+4:]))
		data := e.Wire[int(off)+6 : int(off)+6+size]
		switch binary.BigEndian.Uint16(e.Wire[off-4:]) {
		case dnswire.TypeA, dnswire.TypeAAAA:
			if a, ok := netip.AddrFromSlice(data); ok && !yield(a) {
				return
			}
		}
	}
}
