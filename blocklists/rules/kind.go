package rules

import (
	"reflect"

	"telltale/blocklists/format"
	"telltale/blocklists/matcher"
)

// An ID names a rule within one index; 0 is no rule.
type ID uint32

// A Kind is what a rule wants, in the low bits of its payload in an index, so
// that nothing else need be looked at for nearly all rules.
type Kind uint8

const (
	BlockSubtree Kind = iota // the name and what is below
	BlockExact
	BlockBelow
	ReplySubtree // as the three above, and answers as the set's Reply says
	ReplyExact
	ReplyBelow
	AllowSubtree
	AllowExact
	AllowBelow
	AllowScoped // as AllowSubtree, limited by more specific blocks of its list
	Detailed    // the list's details say
	kindBits    = 4
	kindMask    = 1<<kindBits - 1
)

// IsScoped reports whether an exception written in form is limited by more
// specific blocks of the same list, as in the programs the form comes from.
func IsScoped(form format.Form) bool {
	switch form {
	case format.Dnsmasq, format.DnsmasqAddress, format.Unbound, format.Zone:
		return true
	}
	return false
}

// Payload is what an index has for a rule.
func Payload(id ID, k Kind) matcher.Payload {
	return matcher.Payload(id)<<kindBits | matcher.Payload(k)
}

// Split returns the rule that an index's payload names, and its kind.
func Split(p matcher.Payload) (ID, Kind) { return ID(p >> kindBits), Kind(p & kindMask) }

// kindOf returns the kind of a rule in a set whose common reply is reply.
func kindOf(r *format.Rule, reply format.Reply) Kind {
	if r.Match > format.Below || r.Annotation != nil || r.Important {
		return Detailed
	}
	switch {
	case r.Action == format.Block && r.Extra == nil:
		return BlockSubtree + Kind(r.Match)
	case r.Action == format.Block && isReply(r.Extra) && r.Extra.Reply == reply:
		return ReplySubtree + Kind(r.Match)
	case r.Action != format.Allow || r.Extra != nil:
		return Detailed
	case !IsScoped(r.Form):
		return AllowSubtree + Kind(r.Match)
	case r.Match == format.Subtree:
		return AllowScoped
	}
	return Detailed
}

// isReply reports whether a rule's extra says how to answer and nothing else.
func isReply(x *format.Extra) bool {
	return x != nil && x.Reply != format.Default && x.Reply != format.Records && reflect.DeepEqual(*x, format.Extra{Reply: x.Reply})
}

// IsReply reports whether a rule of the kind answers as the set's Reply says.
func (k Kind) IsReply() bool { return k >= ReplySubtree && k <= ReplyBelow }

// Detail returns what a plain rule of this kind says.
func (k Kind) Detail(rule uint32, form format.Form) Detail {
	d := Detail{Rule: rule, Form: form}
	switch {
	case k == AllowScoped:
		d.Action = format.Allow
	case k >= AllowSubtree:
		d.Action, d.Match = format.Allow, format.Match(k-AllowSubtree)
	case k >= ReplySubtree:
		d.Match = format.Match(k - ReplySubtree)
	default:
		d.Match = format.Match(k)
	}
	return d
}
