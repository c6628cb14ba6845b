package resolver

import (
	"slices"
	"time"

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
		Stored: c.Stored, StoredAt: now, ExpiresAt: now.Add(time.Duration(c.TTL) * time.Second),
		MaxTTL: c.Served, Aliases: c.Aliases, HasAddresses: len(c.Addresses) > 0, Inside: inside,
	}
	e.AD = c.AD && trustAD
	if typ == dnswire.TypeSVCB || typ == dnswire.TypeHTTPS {
		e.Hints = c.Addresses
	}
	e.Private = slices.ContainsFunc(c.Addresses, rebind.IsPrivate)
}

// freshSource and cachedSource say where a reply from e came from.
func freshSource(e *cache.Entry) querylog.Source {
	if e.Unanswered {
		return querylog.FromError
	}
	return querylog.FromUpstream
}

func cachedSource(e *cache.Entry) querylog.Source {
	if e.Unanswered {
		return querylog.FromFailure
	}
	return querylog.FromCache
}

// appendEntry appends e as the reply to q, or what sends the client to TCP if it does
// not fit.
func (s *Server) appendEntry(dst []byte, q *query, e *cache.Entry) []byte {
	cookie := s.cookies.answer(q)
	switch {
	case e.Wire == nil:
		q.ttl = 0
		return dnswire.AppendEmpty(dst, &q.Question, e.Rcode, cookie, e.EDE)
	case len(e.Wire) > q.limit(): // without copying it first
		return s.truncate(dst, q, cookie)
	}
	age := uint32(max(q.received.Sub(e.StoredAt), 0) / time.Second)
	q.ttl = e.MaxTTL - min(e.MaxTTL, age)
	at := len(dst)
	dst = dnswire.AppendStored(dst, &q.Question, &e.Stored, age, cookie)
	if len(dst)-at > q.limit() {
		return s.truncate(dst[:at], q, cookie)
	}
	return dst
}

// decideAnswer decides q together with the names and addresses that e leads to, and
// reports whether that blocks it.
func decideAnswer(e *cache.Entry, q *query) (blocked bool) {
	if len(e.Aliases) == 0 && !e.HasAddresses || q.policy == nil {
		return false
	}
	group := q.group()
	by := uint64(q.policy.Generation())<<32 | uint64(group)
	if e.Passed == by {
		return false
	}
	before := q.verdict
	var alias dnswire.Name
	for off := 0; off < len(e.Aliases); {
		end, err := alias.Read(e.Aliases, off)
		if err != nil {
			break
		}
		v, decides := q.policy.DecideAlias(q.verdict, &q.Name, &alias, q.Type, group)
		if q.verdict = v; decides {
			q.setAlias(e.Aliases[off:end])
		}
		if v.Action == blocklists.Block {
			return true
		}
		off = end
	}
	if e.HasAddresses {
		for addr := range e.Addresses {
			v, decides := q.policy.DecideAddress(q.verdict, &q.Name, addr, q.Type, group)
			if q.verdict = v; decides {
				q.setAlias(nil)
			}
			if v.Action == blocklists.Block {
				return true
			}
		}
	}
	clean := q.verdict == before
	if clean {
		e.SetPassed(by)
	}
	return false
}
