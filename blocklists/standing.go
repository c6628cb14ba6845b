package blocklists

import (
	"telltale/blocklists/format"
)

// standing returns whether a block rule with the given annotation is enforced.
func (l *policyList) standing(n *format.Annotation) standing {
	if n == nil {
		n = l.note
	}
	if n != nil && l.kind != OwnList {
		switch n.Tier {
		case "mixed":
			if !l.mixed {
				return observing
			}
		case "essential", "owner":
			if l.kind == Shipped {
				return silent
			}
		}
	}
	if l.observe {
		return observing
	}
	return enforced
}

// exceptions returns the standing of the list's exceptions.
func (l *policyList) exceptions() standing {
	if l.observe {
		return observing
	}
	return enforced
}
