package access

import (
	"net/netip"
	"time"
)

// How log-ins that fail are slowed down. The longest wait is short, so that nobody can
// keep an owner out for long; a browser that was logged in before does not wait for
// what strangers did.
const (
	freeFailures = 5
	maxWait      = time.Minute
	forgetAfter  = time.Hour // without a failure
	maxLimited   = 4096      // keys that are remembered
)

// failures are those of one key: an address, an account, or a browser.
type failures struct {
	count int
	next  time.Time // before which no more is tried
	last  time.Time
}

// limits count failures by key. The Store's lock guards them.
type limits map[string]*failures

// wait returns how long a key must wait still.
func (l limits) wait(key string, now time.Time) time.Duration {
	f := l[key]
	if f == nil || now.Sub(f.last) > forgetAfter {
		return 0
	}
	return min(max(0, f.next.Sub(now)), maxWait) // a clock that was set back keeps nobody out
}

// begin counts an attempt as failed until it is known to have succeeded, so that many
// at once are not more than one.
func (l limits) begin(key string, now time.Time) {
	f := l[key]
	if f == nil || now.Sub(f.last) > forgetAfter {
		if f == nil && len(l) >= maxLimited {
			l.evict(now)
		}
		f = &failures{}
		l[key] = f
	}
	f.count++
	f.last = now
	if over := f.count - freeFailures; over >= 0 {
		f.next = now.Add(min(maxWait, time.Second<<min(over, 6)))
	}
}

// undo takes back what begin counted, for an attempt that was not looked at. What is
// to be waited stays: else those that are not looked at would end it for others.
func (l limits) undo(key string) {
	if f := l[key]; f != nil && f.count > 0 {
		f.count--
	}
}

// evict forgets those that failed longest ago, an eighth of all.
func (l limits) evict(now time.Time) {
	age := forgetAfter
	for len(l) > maxLimited*7/8 {
		for key, f := range l {
			if now.Sub(f.last) > age || age == 0 && len(l) > maxLimited*7/8 {
				delete(l, key)
			}
		}
		if age /= 2; age < time.Second {
			age = 0
		}
	}
}

// addressKey is the key of an address: of an IPv6 one its prefix of 64 bits, since a
// host has all of it.
func addressKey(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return "address " + p.String()
	}
	return "address " + a.String()
}
