package dns64

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// An Announcement is a prefix in a router advertisement (RFC 8781, 4).
type Announcement struct {
	Prefix   netip.Prefix
	Lifetime time.Duration // 0: it is not to be used any more
}

// optionPrefix64 is the option of router advertisements that has such a prefix.
const optionPrefix64 = 38

// Announcements returns the prefixes in options of a router advertisement (RFC 4861, 4.6).
// Those that can hold no IPv4 address are left out, as are options that are cut off.
func Announcements(options []byte) (all []Announcement) {
	for len(options) >= 2 {
		size := 8 * int(options[1])
		if size == 0 || size > len(options) {
			return all
		}
		if options[0] == optionPrefix64 && size == 16 {
			said := binary.BigEndian.Uint16(options[2:])
			var b [16]byte
			copy(b[:12], options[4:16])
			if code := int(said & 7); code < len(lengths) { // which stands for a length, in this order
				p := netip.PrefixFrom(netip.AddrFrom16(b), lengths[code]).Masked()
				if IsPrefix(p) {
					all = append(all, Announcement{p, time.Duration(said&^7) * time.Second}) // in units of 8 s
				}
			}
		}
		options = options[size:]
	}
	return all
}

// Announced are the prefixes that routers have announced and that still hold, the one that has
// been there for longest first. The zero value has none. One goroutine may use it.
type Announced struct{ all []announced }

type announced struct {
	link   int // the interface where it was heard
	prefix netip.Prefix
	until  time.Time
}

// maxOfLink bounds what is kept of a link: whoever is on it can announce. It takes nothing from other links.
const maxOfLink = 2

// Add takes in what was heard on a link. Where the link has its part, that which ends first goes.
func (a *Announced) Add(link int, heard Announcement, now time.Time) {
	at := slices.IndexFunc(a.all, func(one announced) bool { return one.link == link && one.prefix == heard.Prefix })
	switch {
	case at >= 0:
		a.all[at].until = now.Add(heard.Lifetime)
	case heard.Lifetime > 0:
		a.makeRoom(link)
		a.all = append(a.all, announced{link, heard.Prefix, now.Add(heard.Lifetime)})
	}
}

// makeRoom drops what of a link ends first, where there is no room for another of that.
func (a *Announced) makeRoom(link int) {
	count, first := 0, 0
	for i, one := range a.all {
		if one.link != link {
			continue
		}
		if count++; count == 1 || one.until.Before(a.all[first].until) {
			first = i
		}
	}
	if count >= maxOfLink {
		a.all = slices.Delete(a.all, first, first+1)
	}
}

// Forget drops what was heard on a link that is down.
func (a *Announced) Forget(link int) {
	a.all = slices.DeleteFunc(a.all, func(one announced) bool { return one.link == link })
}

// InForce returns the prefix to be used, and until when that holds; an invalid one for none.
func (a *Announced) InForce(now time.Time) (p netip.Prefix, until time.Time) {
	a.all = slices.DeleteFunc(a.all, func(one announced) bool { return !one.until.After(now) })
	if len(a.all) == 0 {
		return p, until
	}
	return a.all[0].prefix, a.all[0].until
}
