package evidence

import (
	"slices"
	"strconv"
	"strings"
)

// ObservedList is the list of names that a person observes as candidates: it says nothing of
// whose a name is. ObservedVendor, with the domain behind it, is what stands there as vendor.
const (
	ObservedList   = "candidates"
	ObservedVendor = "candidate "
)

// IsObserved reports whether a name is listed because a person observes it.
func (n *Name) IsObserved() bool {
	list, _, _ := strings.Cut(n.ListedBy, ":")
	return list == ObservedList
}

// IsObserved reports whether a vendor is none that a list has: its names are those that a person observes.
func (v *Vendor) IsObserved() bool {
	return strings.HasPrefix(v.Vendor, ObservedVendor) && !slices.ContainsFunc(v.Names, func(n Name) bool { return n.Name != "" && !n.IsObserved() })
}

// Observed returns what of the listed names is of those that a person observes.
func (r *Report) Observed() (c Count) {
	for i := range r.Vendors {
		v := &r.Vendors[i]
		if v.IsObserved() {
			c.add(v.Counts.Count)
			continue
		}
		for j := range v.Names {
			if n := &v.Names[j]; n.IsObserved() {
				c.add(n.Counts.Count)
			}
		}
	}
	return c
}

// Plural writes a number of what has a plural in s: 1 device, 12,345 devices.
func Plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return Number(n) + " " + what + "s"
}

// Number writes a number as people do: 12,345.
func Number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// proves are what a report's rows show, and limits what they cannot.
var (
	proves = []string{
		"A device that held an address asked this server for a name at a time, so often, and was answered so. Who held the address is as sure as the confidence says.",
		"That a name is listed as telemetry is what the named lists and documents say of it. The sources are given so that they can be read.",
	}
	limits = []string{
		"Not that a connection was made, nor what it would have carried.",
		"Not which app on the device asked, nor whether a person was using it.",
		"Silence proves nothing: devices keep answers, have addresses built in, ask other servers, or use mobile data.",
		"Blocked names are asked for again and again because they are blocked: lookups of blocked and of answered names do not compare. Attempts compare better.",
		"A difference between two periods may be chance, or a difference in use. No test of significance is made here.",
	}
)
