package blocklists

import (
	"reflect"

	"telltale/blocklists/format"
)

// A kind is what a rule wants, in the low bits of its payload in an index, so
// that nothing else need be looked at for nearly all rules.
type kind uint8

const (
	blockBelowToo kind = iota // the name and what is below
	blockExact
	blockBelow
	replyBelowToo // blocks likewise, and answers as the set's Reply says
	replyExact
	replyBelow
	allowBelowToo
	allowExact
	allowBelow
	allowScoped // as allowBelowToo, limited by more specific blocks of its list
	notPlain    // the list's details say
	kindBits    = 4
	kindMask    = 1<<kindBits - 1
)

// isScoped reports whether an exception written in form is limited by more
// specific blocks of the same list, as in the programs the form comes from.
func isScoped(form format.Form) bool {
	switch form {
	case format.Dnsmasq, format.DnsmasqAddress, format.Unbound, format.Zone:
		return true
	}
	return false
}

// kindOf returns the kind of a rule in a set whose common reply is reply.
func kindOf(r *format.Rule, reply format.Reply) kind {
	if r.Match > format.Below || r.Note != nil || r.Important {
		return notPlain
	}
	switch {
	case r.Action == format.Block && r.Extra == nil:
		return blockBelowToo + kind(r.Match)
	case r.Action == format.Block && isReply(r.Extra) && r.Extra.Reply == reply:
		return replyBelowToo + kind(r.Match)
	case r.Action != format.Allow || r.Extra != nil:
		return notPlain
	case !isScoped(r.Form):
		return allowBelowToo + kind(r.Match)
	case r.Match == format.Subtree:
		return allowScoped
	}
	return notPlain
}

// isReply reports whether a rule's extra says how to answer and nothing else.
func isReply(x *format.Extra) bool {
	return x != nil && x.Reply != format.Default && x.Reply != format.Records && reflect.DeepEqual(*x, format.Extra{Reply: x.Reply})
}

func (k kind) isReply() bool { return k >= replyBelowToo && k <= replyBelow }

// detail returns what a plain rule of this kind says.
func (k kind) detail(rule uint32, form format.Form) detail {
	d := detail{rule: rule, form: form}
	switch {
	case k == allowScoped:
		d.action = format.Allow
	case k >= allowBelowToo:
		d.action, d.match = format.Allow, format.Match(k-allowBelowToo)
	case k >= replyBelowToo:
		d.match = format.Match(k - replyBelowToo)
	default:
		d.match = format.Match(k)
	}
	return d
}
