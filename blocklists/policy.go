package blocklists

import (
	"net/netip"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// A Policy decides which names to block. It never changes, and any number of
// goroutines may use it. A nil Policy passes everything.
type Policy struct{}

// Decide judges the question (name, qtype) asked by a member of g.
func (p *Policy) Decide(name *dnswire.Name, qtype uint16, g Group) Verdict { return Verdict{Policy: p} }

// DecideAddress judges an address that an answer holds, by the lists' rules on
// addresses (RPZ's rpz-ip). It passes nearly always, and fast.
func (p *Policy) DecideAddress(addr netip.Addr, g Group) Verdict { return Verdict{Policy: p} }

// Generation is a number no other policy of this process has; 0 for a nil Policy.
func (p *Policy) Generation() uint32 { return 0 }

// TTL returns the TTL of blocked answers, in seconds.
func (p *Policy) TTL() uint32 { return 10 }

// Custom returns the addresses a verdict with Mode Custom is answered with.
func (p *Policy) Custom(v Verdict) (v4, v6 netip.Addr) { return }

// Rule returns the rule that id names, for showing.
func (p *Policy) Rule(id RuleID) Rule { r, _ := special(id); return r }

// ListName returns the name of the list that a rule is in; "" for no rule. It
// does not allocate.
func (p *Policy) ListName(id RuleID) string { return "" }

// Records returns the records a verdict with Mode Records is answered with:
// those of type qtype, or else a CNAME. It does not allocate.
func (p *Policy) Records(v Verdict, qtype uint16) []Record { return nil }

// Attribution returns the annotation behind v.Attr and v.Level; nil for none.
func (p *Policy) Attribution(v Verdict) *format.Annotation { return nil }
