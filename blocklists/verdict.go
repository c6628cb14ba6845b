// Package blocklists turns list files into a Policy, and keeps the current
// Policy in step with the files and subscriptions. It knows names and rules,
// not packets. A question is decided by Decide, and by DecideAlias and
// DecideAddress for what its answer leads to, and nowhere else.
package blocklists

import (
	"telltale/blocklists/format"
	"telltale/blocklists/rules"
)

// A Group is who asks and how, as far as rules care. The lower half is the number
// of their settings in Options.Groups, from 1, 0 for everyone without; the upper
// half says which addresses that rules name theirs is among (Policy.GroupOf), and
// its highest bit that the question came over a stream (Group.OverStream).
type Group uint32

const overStream Group = 1 << 31

// OverStream returns the group of the same client asking over TCP, TLS, HTTPS or
// QUIC: it cannot be sent to TCP any more.
func (g Group) OverStream() Group { return g | overStream }

// Action is what to do with a query.
type Action uint8

const (
	Pass    Action = iota // no enforcing rule matched
	Allow                 // an exception decided; Verdict.Overrode says whether over a block
	Block                 // answered by us as Verdict.Mode says
	Observe               // would be blocked; answered normally, and recorded
	Answer                // a local record or a special name: Policy.Records has the data
)

// String returns the action as the query log writes it.
func (a Action) String() string {
	switch a {
	case Pass:
		return "pass"
	case Allow:
		return "allow"
	case Block:
		return "block"
	case Observe:
		return "observe"
	case Answer:
		return "answer"
	}
	return "unknown"
}

// A Mode is how a blocked name is answered.
type Mode uint8

const (
	Null     Mode = iota // 0.0.0.0 and ::, NODATA for other types
	NXDomain             // NXDOMAIN with an SOA
	NoData               // NOERROR without records, with an SOA
	Refuse               // REFUSED
	Custom               // the addresses of Settings.Custom; NODATA where there is none of the family
	Drop                 // no answer at all (RPZ's rpz-drop)
	Truncate             // TC over UDP, normal over TCP (RPZ's rpz-tcp-only)
	Records              // the records of Policy.Records
)

// String returns the mode as the configuration writes it.
func (m Mode) String() string {
	switch m {
	case Null:
		return "null"
	case NXDomain:
		return "nxdomain"
	case NoData:
		return "nodata"
	case Refuse:
		return "refused"
	case Custom:
		return "custom"
	case Drop:
		return "drop"
	case Truncate:
		return "truncate"
	case Records:
		return "records"
	}
	return "unknown"
}

// A Level says how specific an attribution is. It is never shown as stronger
// than it is.
type Level uint8

const (
	Unattributed Level = iota
	ByOwner            // who owns the registrable domain; says nothing about telemetry
	ByList             // the annotation of a whole list
	ByRule             // an annotation of this very rule
)

// String returns the level as the query log writes it; "" for none.
func (l Level) String() string {
	switch l {
	case ByOwner:
		return "owner"
	case ByList:
		return "list"
	case ByRule:
		return "rule"
	}
	return ""
}

// A RuleID names a rule within one Policy; 0 is no rule.
type RuleID = rules.ID

// A Verdict is a Policy's decision with its reason. It is a small value without
// text: Policy.Rule makes the text where it is shown. Only this package makes
// verdicts; nobody edits one.
type Verdict struct {
	Policy *Policy // nil where nothing was decided by lists
	Rule   RuleID  // the deciding rule; for Observe the rule that would block
	Attr   RuleID  // the attributing rule; 0 with ByList: the deciding rule's list
	Action Action
	Mode   Mode  // for Block (and Answer: Records)
	Level  Level // of the attribution

	Class      Class      // of the deciding rule
	ObservedBy ObservedBy // for Observe: what made it so

	// Overrode says of an Allow that there was a block, enforced or observed,
	// that the exception won over.
	Overrode bool
}

// Listed reports whether the lookup is of a listed name, whose rows are kept
// for long: verdict block or observe, an allow that overrode a block, or an
// attribution by rule or list.
func (v *Verdict) Listed() bool {
	return v.Action == Block || v.Action == Observe || v.Action == Allow && v.Overrode || v.Level >= ByList
}

// DecideSpecial returns the verdict for a name that the server answers by itself,
// by a built-in rule. Lists is what lists decide of the name: what they attribute
// it to stays.
func (p *Policy) DecideSpecial(lists Verdict, rule RuleID) Verdict {
	v := Verdict{Policy: p, Rule: rule, Attr: lists.Attr, Level: lists.Level, Action: Answer, Class: SpecialName}
	if v.Level == ByList && v.Attr == 0 {
		v.Attr = lists.Rule // the deciding rule's list, while it decides
	}
	return v
}

// A Rule is a rule of a policy, made for showing.
type Rule struct {
	List       string             // name of the list: the file name without its ending
	Line       int                // from 1; 0 for built-in rules
	Text       string             // as its author wrote it, or in canonical spelling: "||ads.example^"; a line, or several
	Annotation *format.Annotation // nil for none
}

// A Record is one resource record that a local answer is made of.
type Record struct {
	Type uint16
	TTL  uint32 // seconds
	Data []byte // RDATA, names in it uncompressed
}
