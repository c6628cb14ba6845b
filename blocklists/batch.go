package blocklists

import (
	"telltale/blocklists/matcher"
	"telltale/dnswire"
)

// MaxBatch is how many questions are looked up together at most.
const MaxBatch = matcher.MaxBatch

// A Batch is questions whose names one policy has looked up together, so that each can be
// decided without waiting for memory. It belongs to one goroutine, which uses it again and
// again.
type Batch struct {
	policy *Policy
	found  matcher.Batch
	room   []match // of the question at hand
}

// LookUp looks up the names of up to MaxBatch questions, for DecideIn.
func (p *Policy) LookUp(names []*dnswire.Name, b *Batch) {
	if b.policy = nil; p != nil && p.names != nil {
		p.names.LookupAll(names, &b.found)
		b.policy = p
	}
}

// Forget lets go of the policy.
func (b *Batch) Forget() { b.policy = nil }

// DecideIn is Decide for the question whose name is the i-th that p.LookUp was given. Where
// b is of another policy, or of none, the name is looked up now.
func (p *Policy) DecideIn(b *Batch, i int, name *dnswire.Name, qtype uint16, g Group) Verdict {
	if p == nil || b == nil || b.policy != p || isService(name, qtype) {
		return p.Decide(name, qtype, g)
	}
	hits := b.found.Hits(i)
	if len(hits) == 0 && len(p.patterns) == 0 {
		return Verdict{Policy: p} // nearly every name
	}
	b.room = p.matchesOf(hits, name, qtype, g, b.room[:0])
	if len(b.room) == 0 {
		return Verdict{Policy: p}
	}
	return p.decideAmong(b.room, g)
}
