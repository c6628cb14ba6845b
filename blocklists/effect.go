package blocklists

import (
	"telltale/blocklists/format"
)

// blockEffect returns the effect of a block rule with the given annotation.
func (l *policyList) blockEffect(n *format.Annotation) effect {
	if n == nil {
		n = l.annotation
	}
	if n != nil && !l.kind.isOwn() {
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

// exceptionEffect returns the effect of the list's exceptions.
func (l *policyList) exceptionEffect() effect {
	if l.observe {
		return observing
	}
	return enforced
}
