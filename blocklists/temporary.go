package blocklists

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"telltale/blocklists/format"
	"telltale/sorting"
)

// A Temporary is a change that ends by itself: until then what it is of blocks
// nothing, and what would be blocked is answered normally and recorded as observed.
type Temporary struct {
	Kind  TemporaryKind
	Of    Scope
	Name  string // of the list or the vendor, GroupSettings.Name, or one of GroupSettings.Groups; "" for Everything
	Shown string // what people call it; Name where empty
	Until time.Time
}

// A TemporaryKind is why nothing is blocked. The words are stored and never change.
type TemporaryKind string

const (
	Pause     TemporaryKind = "pause"   // something does not work, and is to work for now
	Observing TemporaryKind = "observe" // what is asked where nothing is blocked is to be seen
)

// A Scope is what a Temporary is of. The words are stored and never change.
type Scope string

const (
	Everything Scope = "everything"
	OfDevice   Scope = "device"
	OfGroup    Scope = "group"
	OfList     Scope = "list"   // Pause leaves its exceptions in force; Observing is as ListSettings.Observe
	OfVendor   Scope = "vendor" // names that are attributed to it, by any level
)

// String returns what t is of, for showing: "everything", or "group kids".
func (t *Temporary) String() string {
	if t.Of == Everything {
		return string(Everything)
	}
	return string(t.Of) + " " + cmp.Or(t.Shown, t.Name)
}

// by returns the reason that a verdict has because of t.
func (t *Temporary) by() ObservedBy {
	reasons := [...]ObservedBy{ByPause, ByDevicePause, ByGroupPause, ByListPause, ByVendorPause}
	if t.Kind == Observing {
		reasons = [...]ObservedBy{ByWindow, ByDeviceWindow, ByGroupWindow, ByListWindow, ByVendorWindow}
	}
	switch t.Of {
	case OfDevice:
		return reasons[1]
	case OfGroup:
		return reasons[2]
	case OfList:
		return reasons[3]
	case OfVendor:
		return reasons[4]
	}
	return reasons[0]
}

// is reports whether t is of a scope and a name. Vendors are one in any case.
func (t *Temporary) is(of Scope, name string) bool {
	return t.Of == of && (t.Name == name || of == OfVendor && strings.EqualFold(t.Name, name))
}

// addTemporary puts in force which of the temporary changes have not ended, pauses
// first.
func (p *Policy) addTemporary(o *Options, now *instant) {
	for _, t := range o.Temporary {
		left := now.remaining(t.Until)
		if left <= 0 {
			continue
		}
		if left < t.Until.Sub(now.wall)-time.Second {
			t.Until = now.wall.Add(left) // the clock was set back, and not only trimmed
		}
		p.temporary = append(p.temporary, t)
		p.vendors = p.vendors || t.Of == OfVendor
	}
	sorting.StableBy(p.temporary, func(a, b Temporary) int { return -cmp.Compare(a.Kind, b.Kind) })
}

// temporaryBy returns the reason of the temporary change that is of a scope and a name;
// NotObserved where there is none.
func (p *Policy) temporaryBy(of Scope, name string) ObservedBy {
	for i := range p.temporary {
		if t := &p.temporary[i]; t.is(of, name) {
			return t.by()
		}
	}
	return NotObserved
}

// temporaryFor returns the reason of the temporary change that is of a device, or of one
// of its groups; NotObserved where there is none.
func (p *Policy) temporaryFor(s *GroupSettings) ObservedBy {
	if by := p.temporaryBy(OfDevice, s.Name); by != NotObserved && s.Name != "" {
		return by
	}
	for _, name := range s.Groups {
		if by := p.temporaryBy(OfGroup, name); by != NotObserved {
			return by
		}
	}
	return NotObserved
}

// vendorBy returns the reason of the temporary change that is of the vendor to whom a
// verdict is attributed; NotObserved where there is none.
func (p *Policy) vendorBy(v *Verdict) ObservedBy {
	if !p.vendors {
		return NotObserved
	}
	a := p.Attribution(*v)
	if a == nil || a.Vendor == "" {
		return NotObserved
	}
	return p.temporaryBy(OfVendor, a.Vendor)
}

// Temporary returns the temporary changes in force, pauses first. Where the clock was
// set back since one began, it ends as much earlier.
func (p *Policy) Temporary() []Temporary {
	if p == nil {
		return nil
	}
	return slices.Clone(p.temporary)
}

// Because says what ObservedBy leaves open of a verdict for a member of g: which pause
// or window it is, and until when, or what the schedule says. "" for other verdicts.
func (p *Policy) Because(v Verdict, g Group) string {
	if p == nil {
		return ""
	}
	if v.ObservedBy == BySchedule {
		return p.group(g).outside
	}
	groups := p.group(g).groups
	for i := range p.temporary {
		t := &p.temporary[i]
		if t.by() != v.ObservedBy {
			continue
		}
		switch {
		case t.Of == OfList && t.Name != p.ListName(v.Rule):
		case t.Of == OfVendor && p.vendorBy(&v) != t.by():
		case t.Of == OfGroup && !slices.Contains(groups, t.Name):
		case t.Of == OfDevice && t.Name != p.group(g).device:
		default:
			return fmt.Sprintf("%s, until %s", t, t.Until.Local().Format("2006-01-02 15:04:05"))
		}
	}
	return ""
}

// Vendors returns the vendors that lists attribute names to, in order.
func (p *Policy) Vendors() []string {
	if p == nil {
		return nil
	}
	all := map[string]struct{}{}
	add := func(a *format.Annotation) {
		if a != nil && a.Vendor != "" {
			all[a.Vendor] = struct{}{}
		}
	}
	for i := range p.lists {
		add(p.lists[i].annotation)
		for _, a := range p.lists[i].set.Annotations {
			add(a)
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// endTemporaryLocked tells which temporary changes have ended.
func (s *Store) endTemporaryLocked(now *instant) {
	left := s.opts.Temporary[:0:0]
	for _, t := range s.opts.Temporary {
		if now.isBefore(t.Until) {
			left = append(left, t)
		} else if s.opts.Ended != nil {
			s.opts.Ended(t)
		}
	}
	s.opts.Temporary = left
}
