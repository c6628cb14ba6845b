package upstream

import (
	"sync/atomic"
	"time"
)

// A mode is how an upstream is asked. The first works nearly everywhere; others are
// tried where it brings no answer (RFC 6891, 6.2.2; RFC 9715, 3).
type mode uint8

const (
	modeFull  mode = iota // with EDNS, offering queryPayload
	modeSmall             // with EDNS, offering no more than every path carries
	modePlain             // without EDNS
	modeTCP
)

// rememberMode is how long it is remembered that another mode than the first works.
const rememberMode = 10 * time.Minute

// aliveWithin is how long after its last reply an upstream that is silent to a query
// is taken to be there all the same, and the path to have lost it. To one that is
// not, a query is sent maxSilent times (RFC 9520, 3.1).
const (
	aliveWithin = 30 * time.Second
	maxSilent   = 3
)

// modes is what is known of how an upstream can be asked. Any goroutine may use it.
type modes struct {
	learned   atomic.Uint32 // a mode that works where modeFull does not
	until     atomic.Int64  // Unix second at which that is forgotten
	lastReply atomic.Int64  // Unix seconds: by UDP, of any kind
	lastEDNS  atomic.Int64  // to a query with EDNS
	lastLong  atomic.Int64  // more than 512 octets by UDP
}

// current returns the mode to begin with.
func (m *modes) current(now time.Time) mode {
	if m.until.Load() <= now.Unix() {
		return modeFull
	}
	return mode(m.learned.Load())
}

func (m *modes) learn(which mode, now time.Time) {
	m.learned.Store(uint32(which))
	m.until.Store(now.Add(rememberMode).Unix())
}

func (m *modes) forget() { m.until.Store(0) }

func (m *modes) isAlive(now time.Time) bool { return isRecent(&m.lastReply, now, aliveWithin) }

// knowsEDNS reports whether the upstream has shown that it answers queries with EDNS.
func (m *modes) knowsEDNS(now time.Time) bool { return isRecent(&m.lastEDNS, now, rememberMode) }

// passesLong reports whether long replies have come through.
func (m *modes) passesLong(now time.Time) bool { return isRecent(&m.lastLong, now, rememberMode) }

func isRecent(at *atomic.Int64, now time.Time, within time.Duration) bool {
	ago := now.Unix() - at.Load()
	return ago >= 0 && ago <= int64(within/time.Second)
}

// forSending returns the mode in which a query is sent by UDP that was sent so many
// times already.
func (m *modes) forSending(sent int, now time.Time) mode {
	first := m.current(now)
	if first == modeTCP {
		first = modeFull
	}
	if first == modePlain {
		return modePlain
	}
	switch sent % 3 {
	case 1:
		if m.passesLong(now) {
			return first
		}
		return modeSmall
	case 2:
		if !m.knowsEDNS(now) {
			return modePlain
		}
	}
	return first
}

// replied takes in a reply of so many octets by UDP to a query that was sent in
// these modes; opt says whether it had an OPT. It reports whether EDNS may be in the
// way: sendings with it had no reply before one without was sent.
func (m *modes) replied(sent []mode, kind replyKind, opt bool, size int, now time.Time) (doubtful bool) {
	store(&m.lastReply, now)
	if kind == replyUnsupported {
		return false
	}
	plain, small := false, false
	for _, s := range sent {
		plain = plain || s == modePlain
		small = small || s == modeSmall
	}
	if opt || !plain {
		store(&m.lastEDNS, now)
	}
	if size > smallPayload {
		store(&m.lastLong, now)
	}
	switch current := m.current(now); {
	case current == modeTCP, current == modeSmall && size > smallPayload, current == modePlain && opt:
		m.forget()
	case small && kind == replyTruncated && sent[0] == modeFull && !m.passesLong(now):
		m.learn(modeSmall, now)
	}
	return plain && !opt && len(sent) > 1 && sent[0] != modePlain
}

// store is for what is written far more often than it changes.
func store(at *atomic.Int64, now time.Time) {
	if s := now.Unix(); at.Load() != s {
		at.Store(s)
	}
}
