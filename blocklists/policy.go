package blocklists

import "telltale/dnswire"

// A Policy decides which names to block. It never changes.
type Policy struct{}

// Decide judges the question (name, qtype) asked by a member of g.
func (p *Policy) Decide(name *dnswire.Name, qtype uint16, g Group) Verdict { return Verdict{Policy: p} }

// Generation is a number no other policy of this process has.
func (p *Policy) Generation() uint32 { return 0 }

// Rule returns the rule that id names, for showing.
func (p *Policy) Rule(id RuleID) Rule { return Rule{} }

// Records returns the records a verdict with Mode Records is answered with.
func (p *Policy) Records(v Verdict, qtype uint16) []Record { return nil }
