package blocklists

import (
	"net/netip"
	"slices"
	"strings"

	"telltale/blocklists/format"
)

// groupsOf returns the groups for which a rule with $client or $ctag holds. Who
// has no group has no name and no tag: such a rule holds for them only when it
// does nothing but exclude others.
func groupsOf(x *format.Extra, groups []GroupSettings) groupSet {
	in := make(groupSet, len(groups)+1)
	for i := range in {
		var s GroupSettings
		if i > 0 {
			s = groups[i-1]
		}
		in[i] = chosen(x.Clients, s.isClient) && chosen(x.Tags, s.hasTag) && !s.mayBeExcluded(x.Clients)
	}
	return in
}

// chosen reports whether a list of values, where ~ excludes, takes something in.
func chosen(values []string, is func(string) bool) bool {
	wanted, only := false, false
	for _, v := range values {
		if v, no := strings.CutPrefix(v, "~"); no {
			if is(v) {
				return false
			}
			continue
		}
		only = true
		wanted = wanted || is(v)
	}
	return wanted || !only
}

// mayBeExcluded reports whether values exclude addresses, and the group's are not
// known: then a rule must not hold for it, lest it hold for whom it excludes.
func (s *GroupSettings) mayBeExcluded(values []string) bool {
	return len(s.Addresses) == 0 && slices.ContainsFunc(values, func(v string) bool {
		v, no := strings.CutPrefix(v, "~")
		_, addr := netip.ParseAddr(v)
		_, prefix := netip.ParsePrefix(v)
		return no && (addr == nil || prefix == nil)
	})
}

func (s *GroupSettings) isClient(v string) bool {
	if prefix, err := netip.ParsePrefix(v); err == nil {
		return s.isWithin(prefix)
	}
	if addr, err := netip.ParseAddr(v); err == nil {
		return s.isWithin(netip.PrefixFrom(addr, addr.BitLen()))
	}
	if strings.EqualFold(v, s.Name) && s.Name != "" {
		return true
	}
	for _, name := range s.ClientNames {
		if strings.EqualFold(v, name) {
			return true
		}
	}
	return false
}

// isWithin reports whether all of one of the group's address ranges is in prefix.
func (s *GroupSettings) isWithin(prefix netip.Prefix) bool {
	for _, own := range s.Addresses {
		if prefix.Bits() <= own.Bits() && prefix.Contains(own.Addr()) {
			return true
		}
	}
	return false
}

func (s *GroupSettings) hasTag(v string) bool {
	for _, tag := range s.Tags {
		if strings.EqualFold(v, tag) {
			return true
		}
	}
	return false
}
