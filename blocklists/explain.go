package blocklists

import (
	"telltale/blocklists/format"
	"telltale/dnswire"
)

// An Explanation says why a name is judged as it is.
type Explanation struct {
	Name    string
	Type    string
	Verdict Verdict
	Why     string             // one sentence: why the decider won
	Matches []Match            // every rule that matches, the most weighty first
	Decider *Match             // in Matches; nil where nothing decided
	Attr    *Match             // in Matches: the rule that attributes; nil for none
	Shipped *format.Annotation // what the shipped lists say of the name; nil for nothing
	User    *format.Annotation // what the user's lists say; nil for nothing
}

// A Match is one rule that matches a name.
type Match struct {
	ID        RuleID
	Rule      Rule
	Path      string // of the list's file; "" for a shipped list
	Action    format.Action
	Important bool
	Enforced  bool // false where the rule only observes, or attributes
	Shipped   bool
	Note      string // why it has no say, where it has none
}

// Explain judges the question like Decide, and says why.
func (p *Policy) Explain(name *dnswire.Name, qtype uint16, g Group) Explanation {
	return Explanation{Name: name.String(), Type: dnswire.TypeString(qtype), Verdict: p.Decide(name, qtype, g)}
}
