package resolver

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/cache"
	"telltale/sorting"
)

// A CachedAnswer is what the cache has of a question, for people.
type CachedAnswer struct {
	Question dnswire.Question // Type is 0 where it is the answer for all types of the name
	For      []string         // for whom alone it is, see upstream.Forward; none: everybody
	State    cache.State
	Left     time.Duration // until its time is over; negative: since then
	Stored   time.Time
	Hits     int // since it came, up to 15
	Rcode    uint16
	EDE      dnswire.EDE
	Answer   []string // in presentation form, with the TTLs that are left
}

// Cached returns what the cache has of a name, by type.
func (s *Server) Cached(name *dnswire.Name) []CachedAnswer {
	now := s.now()
	var all []CachedAnswer
	s.cache.Items(name, now, func(it *cache.Item) bool {
		a := CachedAnswer{Question: it.Question, For: s.upstreams.For(it.Question.View), State: it.State, Left: it.Left, Stored: it.StoredAt(), Hits: it.Hits, Rcode: it.Rcode, EDE: it.EDE}
		age := ageOf(&it.Entry)
		for _, off := range it.TTLs {
			ttl := binary.BigEndian.Uint32(it.Wire[off:])
			binary.BigEndian.PutUint32(it.Wire[off:], ttl-min(ttl, age))
		}
		var m dns.Msg
		if it.Wire != nil && m.Unpack(it.Wire) == nil {
			for _, rr := range slices.Concat(m.Answer, m.Ns) {
				a.Answer = append(a.Answer, strings.ReplaceAll(rr.String(), "\t", " "))
			}
		}
		all = append(all, a)
		return true
	})
	sorting.By(all, func(a, b CachedAnswer) int {
		return cmp.Or(cmp.Compare(a.Question.Type, b.Question.Type), cmp.Compare(a.Question.View, b.Question.View), cmp.Compare(dnssecBits(&a.Question), dnssecBits(&b.Question)))
	})
	return all
}

func dnssecBits(q *dnswire.Question) (n int) {
	if q.DO {
		n++
	}
	if q.CD {
		n += 2
	}
	return n
}

// CacheUsage returns what the cache holds.
func (s *Server) CacheUsage() cache.Usage { return s.cache.Look(s.now()) }

// CacheTotals returns what the cache holds, without the states of entries, at little cost.
func (s *Server) CacheTotals() cache.Usage { return s.cache.Totals() }

// FlushCache forgets all answers, also those that are kept for the next start and those
// under way, and returns how many entries that were.
func (s *Server) FlushCache() (n int) {
	n, _ = s.cache.InUse()
	s.forgetAnswers()
	s.forgetKept()
	return n
}

// FlushName forgets what there is of a name, and returns how many entries that were.
func (s *Server) FlushName(name *dnswire.Name) (n int) {
	n = s.cache.FlushName(name)
	s.forgetKept()
	return n
}

// forgetKept sees to it that the file of answers has no more than the cache.
func (s *Server) forgetKept() {
	if s.answersFile != "" {
		s.flushed.Store(true)
		s.saveAnswers()
	}
}
