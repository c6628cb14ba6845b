package blocklists

import (
	"telltale/blocklists/format"
)

// blockEffect returns the effect of a block rule with the given annotation, where rules
// of tier mixed are enforced, or are observed.
func (l *policyList) blockEffect(n *format.Annotation, mixed bool) effect {
	if n == nil {
		n = l.annotation
	}
	if n != nil && !l.kind.isOwn() {
		switch n.Tier {
		case "mixed":
			if !mixed {
				return observing
			}
		case "essential", "owner":
			if l.kind == Shipped {
				return silent
			}
		}
	}
	if l.by != NotObserved {
		return observing
	}
	return enforced
}

// enforcesMixed reports whether the list's rules of tier mixed are enforced for a group.
func (l *policyList) enforcesMixed(g *policyGroup) bool {
	if g.hasTier {
		return g.mixed
	}
	return l.mixed
}

// plainBlockFor returns the effect of the list's plain blocks for a group.
func (l *policyList) plainBlockFor(g *policyGroup) effect {
	if l.enforcesMixed(g) {
		return l.plainBlock[1]
	}
	return l.plainBlock[0]
}

// whyObserving says why a rule for a member of g only observes.
func (l *policyList) whyObserving(n *format.Annotation, g *policyGroup, is listState) ObservedBy {
	switch {
	case l.by == ByListObserve:
		return ByListObserve
	case l.by != NotObserved && !l.isMixed(n, g):
		return l.by
	case is == listObserves && !l.isMixed(n, g):
		return ByListObserve
	}
	return ByTier
}

// isMixed reports whether a rule with the given annotation is of tier mixed, which is not
// enforced for a group.
func (l *policyList) isMixed(n *format.Annotation, g *policyGroup) bool {
	if n == nil {
		n = l.annotation
	}
	return n != nil && !l.kind.isOwn() && n.Tier == "mixed" && !l.enforcesMixed(g)
}

// exceptionEffect returns the effect of the list's exceptions.
func (l *policyList) exceptionEffect() effect {
	if l.by == ByListObserve || l.by == ByListWindow {
		return observing
	}
	return enforced
}
